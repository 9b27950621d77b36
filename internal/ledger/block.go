package ledger

import (
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// block is one block in execution, and then staged.
type block struct {
	l     *Ledger
	in    Block
	tx    *state.Tx
	batch state.Batch

	leaves     [][32]byte
	rows       []row // of the leaves, to be written outside the map
	remembered *replayBlock
	forgotten  int

	changed bool
	erased  bool // an erasure is through: its files are to be deleted
	head    Head
}

// row is what is kept of an entry outside the map.
type row struct {
	body    []byte // salt ‖ entry
	journal protocol.JournalID
	seq     uint64
	cause   protocol.ActionID
	signed  *protocol.Verified // with the first entry of its envelope: what the entries do not say of it is kept
	entries uint16
}

func (l *Ledger) begin(in Block) *block {
	return &block{l: l, in: in, tx: l.states.Begin(), batch: l.store.NewBatch(), remembered: &replayBlock{height: in.Height}}
}

// context is the block's part of an action's context.
func (b *block) context() *exec.Context {
	return &exec.Context{Tx: b.tx, Chain: b.l.genesis.Chain, Height: b.in.Height, Time: b.in.Time, Params: b.l.genesis.Params}
}

// found executes the genesis: the founders, and the first key of the custodians to be generated.
func (b *block) found(g protocol.Genesis) {
	c := b.context()
	registry.Begin(c, g.Members)
	nodes := 0
	for _, m := range g.Members {
		if m.HasNode() {
			nodes++
		}
	}
	keygen.Begin(c, nodes)
	b.entry(c, [16]byte{}, protocol.EventGenesis, protocol.ConstitutionJournal(g.Chain), protocol.Encode(g), protocol.NoOutcome)
}

// endContracts writes the ends that are due, and lets go of accesses past their deadline.
func (b *block) endContracts() {
	c := b.context()
	for _, e := range consent.EndDue(c, b.l.docket, protocol.EndsBlockMax) {
		at := b.context()
		at.Cause = e.Cause
		b.entry(at, e.Salt, protocol.EventContractEnded, e.Journal, protocol.Encode(protocol.ContractEvent{Contract: e.Contract}), protocol.NoOutcome)
	}
	for _, e := range consent.EndDelegations(c, b.l.docket, protocol.EndsBlockMax) {
		at := b.context()
		at.Cause = e.Row.Cause
		for _, event := range e.Events {
			b.emit(at, e.Row.Salt)(event)
		}
	}
	for _, m := range consent.MissedReviews(c, protocol.EndsBlockMax) {
		at := b.context()
		at.Cause = m.Cause
		b.emit(at, m.Salt)(exec.Event{Type: protocol.EventReviewMissed, Journal: m.Journal, Body: m.Event})
	}
	for _, e := range journal.Due(c, protocol.EndsBlockMax) {
		b.fallen(e)
	}
	for _, e := range journal.Settle(c, protocol.EndsBlockMax) {
		b.fallen(e)
	}
	if b.working() {
		consent.ForgetAccesses(c, protocol.EndsBlockMax)
	}
}

// fallen enters what fell due in a journal.
func (b *block) fallen(e journal.Event) {
	at := b.context()
	at.Cause, at.Index = e.Cause, int(e.Index)
	b.entry(at, e.Salt, e.Type, e.Journal, protocol.Encode(e.Body), protocol.NoOutcome)
}

// nodes counts the members that run a node.
func nodes(c *exec.Context) (n uint16) {
	for _, m := range must(registry.Members(c.Tx)) {
		if m.Custodian != 0 && !m.Removed {
			n++
		}
	}
	return n
}

// advanceErasures goes on with what the patients have erased.
func (b *block) advanceErasures() {
	c := b.context()
	for _, e := range journal.Advance(c, func() uint16 { return nodes(c) }, protocol.ErasedBlockMax) {
		b.fallen(e)
		b.erased = true
	}
}

// working tells whether the block has something to do anyway: only then is it worth clearing up, which by itself must not make an idle
// network go on.
func (b *block) working() bool { return len(b.in.Parcels) > 0 || len(b.leaves) > 0 || b.movesTime() }

// movesTime tells whether a tick is due: without it, anybody could keep an idle network busy with ticks.
func (b *block) movesTime() bool {
	return b.in.Tick && b.in.Time >= b.l.head.Time+protocol.TickMillisMin
}

func (b *block) advanceKeygen() {
	c := b.context()
	c.Emit = b.emit(c, [16]byte{})
	keygen.Advance(c)
}

// execute runs one envelope: all of its actions, or none.
func (b *block) execute(v *protocol.Verified) protocol.Result {
	r := protocol.Result{ID: v.ID, Height: b.in.Height}
	if r.Reason = b.admit(&v.Body); r.Reason != protocol.Accepted {
		return r
	}
	if first, dup := b.earlier(v.ID); dup {
		return first
	}
	c := b.context()
	c.Cause, c.Signer, c.Journal = v.ID, v.Body.Signer, v.Body.Journal
	by, reason := b.authenticate(c, v)
	if reason == protocol.Accepted {
		reason = charge(c, by)
	}
	if reason == protocol.Accepted {
		r.First, reason = b.act(c, v, by)
	}
	r.Reason = reason
	b.remembered.add(r, v.Body.NotAfter)
	return r
}

// admit checks what needs no memory. An envelope that fails here is not remembered: most can never pass, and one whose not-after lies too
// far ahead would have to be remembered for as long as its signer pleases. It may pass later, when its not-after has come near; whoever
// signed it has to reckon with that until then.
func (b *block) admit(body *protocol.Body) protocol.Reason {
	switch {
	case body.Version != protocol.Version:
		return protocol.WrongVersion
	case body.Chain != b.l.genesis.Chain:
		return protocol.WrongNetwork
	case body.NotAfter <= b.in.Time:
		return protocol.Expired
	case body.NotAfter > b.in.Time+protocol.NotAfterMillisMax:
		return protocol.NotAfterTooFar
	}
	return protocol.Accepted
}

func (b *block) earlier(id protocol.ActionID) (protocol.Result, bool) {
	if r, ok := b.remembered.find(id); ok {
		return r, true
	}
	r, ok := b.l.replay.results[id]
	return r, ok
}

// actor is who stands behind an envelope, and who pays for it.
type actor struct {
	registry.Actor                    // zero for a patient
	payer          protocol.MemberID  // whose quota the envelope costs
	sponsor        protocol.PublicKey // for OpenJournal and ClaimJournal: the sponsoring member's key
	opening        bool               // the envelope opens its journal, by a sponsor's leave
	revoking       bool               // a patient's envelope that does nothing but take back: revoke, erase, cut off, veto
	device         bool               // a patient's device, not the controller
	provisional    bool               // the controller of a journal that nobody has claimed: the sponsor's program
}

// authenticate finds the actor, and that the envelope names a journal exactly if its actions need one.
func (b *block) authenticate(c *exec.Context, v *protocol.Verified) (actor, protocol.Reason) {
	for _, a := range v.Actions {
		if a.ActionType().OfJournal() == c.Journal.IsZero() {
			return actor{}, protocol.WrongJournal
		}
	}
	switch c.Signer.Kind {
	case protocol.ActorPatient:
		return authenticatePatient(c, v.Actions)
	case protocol.ActorGuardian:
		j, reason := journal.AuthenticateGuardian(c, v.Actions[0])
		return actor{payer: j.Sponsor}, reason
	case protocol.ActorDelegate:
		return delegate(c)
	case protocol.ActorLedger, protocol.ActorMember, protocol.ActorPractitioner:
	}
	who, reason := registry.Authenticate(c)
	return actor{Actor: who, payer: who.Member}, reason
}

// delegate finds who stands in for the patient; the journal's sponsor pays.
func delegate(c *exec.Context) (actor, protocol.Reason) {
	if reason := consent.AuthenticateDelegate(c); reason != protocol.Accepted {
		return actor{}, reason
	}
	j, _, err := journal.Get(c.Tx, c.Journal)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	return actor{payer: j.Sponsor}, protocol.Accepted
}

// chainedIn is the journal that an entry is chained in: the patient's; the constitution's for rules that reach everybody; none for a
// member's own affairs.
func chainedIn(c *exec.Context, t protocol.ActionType) protocol.JournalID {
	switch {
	case t.OfJournal():
		return c.Journal
	case t == protocol.TypeSetPractitioner:
		return protocol.JournalID{}
	}
	return protocol.ConstitutionJournal(c.Chain)
}

// act executes an envelope's actions and enters each; a rejection undoes them all.
func (b *block) act(c *exec.Context, v *protocol.Verified, by actor) (first uint64, reason protocol.Reason) {
	mark, leaves := b.tx.Mark(), len(b.leaves)
	b.l.docket.Mark()
	first = b.l.head.Size + uint64(leaves)
	for i, a := range v.Actions {
		c.Index = i
		var events []exec.Event
		c.Emit = func(e exec.Event) { events = append(events, e) }
		outcome, reason := b.dispatch(c, by, a, v.Body.Nonce)
		if reason != protocol.Accepted {
			b.tx.Revert(mark)
			b.l.docket.Revert(c.Journal)
			b.leaves, b.rows = b.leaves[:leaves], b.rows[:leaves]
			return 0, reason
		}
		b.entry(c, v.Body.Nonce, a.ActionType(), chainedIn(c, a.ActionType()), []byte(v.Body.Actions[i].Body), outcome)
		for _, e := range events {
			b.emit(c, v.Body.Nonce)(e)
		}
	}
	b.rows[leaves].signed, b.rows[leaves].entries = v, uint16(len(b.leaves)-leaves)
	return first, protocol.Accepted
}

// dispatch hands an action to its family. What it returns beside the reason is the entry's outcome.
func (b *block) dispatch(c *exec.Context, by actor, action protocol.Action, salt [16]byte) ([]byte, protocol.Reason) {
	plain := func(r protocol.Reason) ([]byte, protocol.Reason) { return protocol.NoOutcome, r }
	forPatient := c.Signer.Kind.ForPatient()
	if reason := entitled(c, by, action.ActionType()); reason != protocol.Accepted {
		return plain(reason)
	}
	if controls(action.ActionType()) {
		return plain(control(c, by, action, salt))
	}
	switch a := action.(type) {
	case *protocol.ProposeMember:
		return plain(registry.ProposeMember(c, by.Actor, a))
	case *protocol.ProposeRemoval:
		return plain(registry.ProposeRemoval(c, by.Actor, a))
	case *protocol.Approve:
		return plain(registry.Approve(c, by.Actor, a))
	case *protocol.RotateMemberKey:
		return plain(registry.RotateMemberKey(c, by.Actor, a))
	case *protocol.SetPractitioner:
		return plain(registry.SetPractitioner(c, by.Actor, a))
	case *protocol.OpenJournal:
		return plain(journal.Open(c, a, by.sponsor))
	case *protocol.AddRecord:
		return plain(b.addRecord(c, by, a))
	case *protocol.Grant:
		if !forPatient {
			return plain(protocol.NotEntitled)
		}
		if reason := openFor(c); reason != protocol.Accepted {
			return plain(reason)
		}
		return plain(consent.Grant(c, b.l.docket, a, salt))
	case *protocol.Revoke:
		if !forPatient {
			return plain(protocol.NotEntitled)
		}
		return plain(consent.Revoke(c, b.l.docket, a))
	case *protocol.RequestAccess:
		return b.requestAccess(c, by, a, salt)
	case *protocol.SetCard, *protocol.Delegate, *protocol.EndDelegation, *protocol.ReviewBreakGlass:
		return plain(b.people(c, by, action, salt))
	case *protocol.OfferReceiverKey:
		return plain(keygen.Offer(c, by.Custodian, a))
	case *protocol.Deal:
		return plain(keygen.Deal(c, by.Custodian, a))
	case *protocol.AcceptDeals:
		return plain(keygen.Accept(c, by.Custodian, a))
	case *protocol.Complain:
		return plain(keygen.Complain(c, by.Custodian, a))
	case *protocol.Reveal:
		return plain(keygen.Reveal(c, by.Custodian, a))
	}
	if reason, ok := forget(c, by, action, salt); ok {
		return plain(reason)
	}
	exec.Break("ledger: action type %d is decoded and not dispatched", action.ActionType())
	return nil, 0
}

func (b *block) addRecord(c *exec.Context, by actor, a *protocol.AddRecord) protocol.Reason {
	own := c.Signer.Kind.ForPatient()
	if !own && a.Relation == protocol.RelationStatement {
		return protocol.NotEntitled
	}
	if reason := openFor(c); reason != protocol.Accepted {
		return reason
	}
	if own {
		if !consent.ActsFor(c, a.Label) {
			return protocol.BeyondDelegation
		}
		return journal.Add(c, journal.Author{}, a, true, keygen.Active(c))
	}
	permitted := consent.MayWrite(c, b.l.docket, principal(by.Actor), consent.Resource{
		Journal: c.Journal, Label: a.Label, Record: a.Record, Author: by.Member, Recorded: c.Time})
	return journal.Add(c, journal.Author{Member: by.Member, Practitioner: by.Practitioner}, a, permitted, keygen.Active(c))
}

func (b *block) requestAccess(c *exec.Context, by actor, a *protocol.RequestAccess, salt [16]byte) ([]byte, protocol.Reason) {
	if c.Signer.Kind == protocol.ActorPatient {
		return requestOwn(c, a)
	}
	if !isOpen(c) {
		return nil, protocol.UnknownJournal
	}
	if c.Signer.Kind == protocol.ActorDelegate {
		return protocol.Encode(consent.RequestAsDelegate(c, a, shelf{c})), protocol.Accepted
	}
	if !consent.ReasonIsNew(c, a) {
		return nil, protocol.ReasonReused
	}
	out := consent.RequestAccess(c, b.l.docket, principal(by.Actor), a, shelf{c}, salt)
	return protocol.Encode(out), protocol.Accepted
}

// isOpen tells whether the envelope's journal is there.
func isOpen(c *exec.Context) bool {
	ok, err := journal.Exists(c.Tx, c.Journal)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	return ok
}

func principal(by registry.Actor) consent.Principal {
	p := consent.Principal{Practitioner: by.Practitioner, Member: by.Member, Role: by.Role, Credential: consent.CredentialActive}
	if !by.Credential {
		p.Credential = consent.CredentialSuspended
	}
	return p
}

// shelf shows a journal's records to the contracts.
type shelf struct{ c *exec.Context }

func (s shelf) WithLabel(l protocol.Label, limit int) []consent.Item {
	veil := must(journal.Veil(s.c.Tx, s.c.Journal))
	found := must(journal.WithLabel(s.c.Tx, s.c.Journal, l, limit))
	out := make([]consent.Item, 0, len(found))
	for _, n := range found {
		if !must(veil.Closed(n)) {
			out = append(out, consent.Item{ID: n.ID, As: must(Resource(s.c.Tx, n))})
		}
	}
	return out
}

func (s shelf) Record(id protocol.RecordID) []consent.Item {
	row, ok, err := journal.Record(s.c.Tx, id)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	if !ok || row.Journal != s.c.Journal {
		return nil
	}
	n := journal.Named{ID: id, Row: row}
	as := must(Resource(s.c.Tx, n))
	if must(journal.Closed(s.c.Tx, n)) {
		return []consent.Item{{ID: id, As: as, Erased: true}}
	}
	out := []consent.Item{{ID: id, As: as}}
	for _, about := range must(journal.Statements(s.c.Tx, id)) {
		said, ok, err := journal.Record(s.c.Tx, about)
		if err != nil || !ok {
			exec.Break("ledger: statement %s has no row (%v)", about, err)
		}
		if !must(journal.Closed(s.c.Tx, journal.Named{ID: about, Row: said})) {
			out = append(out, consent.Item{ID: about, As: as})
		}
	}
	return out
}

// must is a query's answer while executing; a failure is Broken.
func must[T any](v T, err error) T {
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	return v
}

// Resource is a record as the contracts see it: a statement as the record that it is about, so that whoever opens that opens this too.
func Resource(r state.Reader, n journal.Named) (consent.Resource, error) {
	n, err := journal.Subject(r, n)
	return consent.Resource{Journal: n.Row.Journal, Label: n.Row.Label, Record: n.ID, Author: n.Row.Member, Recorded: n.Row.Recorded}, err
}

// emit returns what writes an event's entry; events take the salt of what caused them.
func (b *block) emit(c *exec.Context, salt [16]byte) func(exec.Event) {
	return func(e exec.Event) {
		at := *c
		at.Signer = protocol.Signer{}
		b.entry(&at, salt, e.Type, e.Journal, protocol.Encode(e.Body), protocol.NoOutcome)
	}
}

// entry appends an entry: chains it in its journal, and keeps it for the log.
func (b *block) entry(c *exec.Context, salt [16]byte, t protocol.ActionType, in protocol.JournalID, action, outcome []byte) {
	e := protocol.Entry{Type: t, Height: b.in.Height, Time: b.in.Time, Cause: c.Cause, Index: uint16(c.Index), Signer: c.Signer,
		Journal: in, Action: action, Outcome: outcome}
	add := func(protocol.Hash) {}
	if !in.IsZero() {
		e.Seq, add = journal.Chain(c, in)
	}
	body := append(salt[:], protocol.Encode(e)...)
	leaf := protocol.Commit(salt, body[16:])
	add(leaf)
	b.leaves = append(b.leaves, leaf)
	b.rows = append(b.rows, row{body: body, journal: in, seq: e.Seq, cause: c.Cause})
}

// stage writes the block's rows to the batch, sealed if anything changed.
func (b *block) stage() error {
	if b.working() {
		b.forget()
		if len(b.remembered.results) > 0 {
			b.tx.Set(replayKey(b.in.Height), b.remembered.encode())
		}
	}
	b.head = b.l.head
	b.head.Height = b.in.Height
	b.changed = b.tx.Changed() || len(b.leaves) > 0 || b.movesTime()
	if b.changed {
		if err := b.seal(); err != nil {
			return err
		}
	}
	return b.batch.Set(rowHead, protocol.Encode(b.head))
}

// forget drops the rows of the replay set whose envelopes have all expired, in their order.
func (b *block) forget() {
	for _, row := range b.l.replay.oldest {
		if row.until >= b.in.Time {
			return
		}
		b.tx.Delete(replayKey(row.height))
		b.forgotten++
	}
}

func (b *block) seal() error {
	root, err := b.l.states.Stage(b.tx, b.in.Height+1, b.batch)
	if err != nil {
		return err
	}
	c := b.context()
	b.entry(c, [16]byte{}, protocol.EventSeal, protocol.JournalID{},
		protocol.Encode(protocol.Seal{Height: b.in.Height, Time: b.in.Time, MapRoot: root}), protocol.NoOutcome)
	size, logRoot, err := b.l.log.Stage(b.leaves, b.batch)
	if err != nil {
		return err
	}
	for i, r := range b.rows {
		if err := b.keep(b.l.head.Size+uint64(i), r); err != nil {
			return err
		}
	}
	b.head.Time, b.head.Size, b.head.Root = b.in.Time, size, protocol.Hash(logRoot)
	b.head.AppHash = protocol.AppHash(size, b.head.Root)
	return b.l.prune(b)
}

func (b *block) keep(index uint64, r row) error {
	if err := b.batch.Set(entryKey(index), r.body); err != nil {
		return err
	}
	if !r.journal.IsZero() {
		if err := b.batch.Set(journalKey(r.journal, r.seq), exec.Uint64(index)); err != nil {
			return err
		}
	}
	if r.signed != nil {
		return b.batch.Set(envelopeKey(r.cause), envelopeRow(index, r.entries, r.signed))
	}
	return nil
}

func entryKey(index uint64) []byte {
	return append(append(make([]byte, 0, 9), rowEntry...), exec.Uint64(index)...)
}

func journalKey(id protocol.JournalID, seq uint64) []byte {
	return append(append(append(make([]byte, 0, 25), rowJournal...), id[:]...), exec.Uint64(seq)...)
}
