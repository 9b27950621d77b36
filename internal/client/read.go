package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Access is a permitted access in the hands of its reader.
type Access struct {
	Decision api.AccessDecision
	OneTime  *wallet.OneTimeKey
	Reader   Identity
	Journal  protocol.JournalID
}

// Refused is a reading that a contract refused: it is logged, and the patient sees it.
type Refused struct {
	Decision api.AccessDecision
	Entry    uint64 // index of the refusal in the log
}

func (r *Refused) Error() string {
	return fmt.Sprintf("refused (%s): %s", r.Decision.Reason, r.Decision.Reason.Advice())
}

// RequestAccess asks to read labels or records of a journal. A refusal is *Refused.
func (c *Client) RequestAccess(ctx context.Context, by Identity, journal protocol.JournalID, purpose protocol.Purpose, labels []protocol.Label, records []protocol.RecordID) (*Access, error) {
	return c.requestAccess(ctx, by, journal, protocol.RequestAccess{Labels: sorted(labels), Records: sorted(records), Purpose: purpose})
}

func (c *Client) requestAccess(ctx context.Context, by Identity, journal protocol.JournalID, a protocol.RequestAccess) (*Access, error) {
	key, err := wallet.NewOneTimeKey()
	if err != nil {
		return nil, err
	}
	a.OneTime, a.OneTimeKEM = key.Public(), key.KEM()
	r, err := c.Do(ctx, by, journal, &a)
	if err != nil {
		return nil, err
	}
	if r.Access == nil {
		return nil, fmt.Errorf("%w: no decision in the result", ErrAnswer)
	}
	if !r.Access.Permitted {
		return nil, &Refused{Decision: *r.Access, Entry: r.First}
	}
	return &Access{Decision: *r.Access, OneTime: key, Reader: by, Journal: journal}, nil
}

func sorted[T ~[16]byte](ids []T) []T {
	out := slices.Clone(ids)
	slices.SortFunc(out, func(a, b T) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(out)
}

// ErrTooFewShares says that fewer custodians than the threshold gave their share.
var ErrTooFewShares = errors.New("too few custodians gave their share")

// Reading is what an access opened.
type Reading struct {
	Records []*wallet.Record // in the order of the access
	Rows    []api.Record     // of Records, at their places: what the ledger says of each
	Broken  []Broken
	Liars   []Liar
}

// Whole is an error if not everything opened.
func (r *Reading) Whole() error {
	if len(r.Broken) > 0 {
		return fmt.Errorf("record %s: %w", r.Broken[0].Record, r.Broken[0].Err)
	}
	return nil
}

// Broken is a record that did not open: it is damaged, its author made it wrongly or falsely, or it was closed meanwhile. It keeps nobody from
// reading the others.
type Broken struct {
	Record protocol.RecordID
	Err    error
}

// Read opens what an access permits: files and shares are fetched, shares combined, and every record checked against the ledger's entry.
// A custodian that answers falsely is found out, and the others are used. The error is for what concerns the whole: then nothing was opened.
// So it is if no record opens.
func (c *Client) Read(ctx context.Context, a *Access) (*Reading, error) {
	var view api.Access
	if err := c.get(ctx, a.Reader, path(api.PathAccess, a.Decision.ID.String()), &view); err != nil {
		return &Reading{}, err
	}
	r := &reader{c: c, a: a, rows: view.Records, errs: make([]error, len(view.Records)), keys: make([]age16, len(view.Records))}
	r.fetch(ctx)
	for _, group := range r.byGeneration() {
		if err := r.unlock(ctx, group); err != nil {
			return &Reading{Liars: r.liars}, err
		}
	}
	return r.open(ctx)
}

type age16 = [wallet.FileKeyBytes]byte

// reader is one call of Read. Each slice has a place for each record.
type reader struct {
	c     *Client
	a     *Access
	rows  []api.Record
	files [][]byte
	keys  []age16
	errs  []error
	liars []Liar
}

// fetch downloads the encrypted files.
func (r *reader) fetch(ctx context.Context) {
	r.files = make([][]byte, len(r.rows))
	var wait sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i, row := range r.rows {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			uri := path(api.PathFile, row.Ciphertext.String()) + "?access=" + r.a.Decision.ID.String()
			r.files[i], r.errs[i] = r.c.bytes(ctx, r.a.Reader, uri, protocol.RecordFileBytesMax)
		})
	}
	wait.Wait()
}

// open decrypts the files whose keys came.
func (r *reader) open(ctx context.Context) (*Reading, error) {
	out := &Reading{Liars: r.liars}
	var places []int
	var openings []wallet.Opening
	for i, row := range r.rows {
		if r.errs[i] == nil {
			places = append(places, i)
			openings = append(openings, wallet.Opening{File: r.files[i], Who: wallet.FileKey(r.keys[i]), Entry: r.c.entryOf(row)})
		}
	}
	for i, o := range wallet.OpenAll(ctx, openings) {
		r.errs[places[i]] = o.Err
		if o.Err == nil {
			out.Records, out.Rows = append(out.Records, o.Record), append(out.Rows, r.rows[places[i]])
		}
	}
	for i, err := range r.errs {
		if err != nil {
			out.Broken = append(out.Broken, Broken{Record: r.rows[i].ID, Err: err})
		}
	}
	if len(out.Records) == 0 && len(out.Broken) > 0 {
		return out, out.Whole()
	}
	return out, ctx.Err()
}

// byGeneration groups the places of the records whose files are here by the generation of the key they are sealed to.
func (r *reader) byGeneration() (groups [][]int) {
	var order []uint32
	at := map[uint32][]int{}
	for i, row := range r.rows {
		if r.errs[i] != nil {
			continue
		}
		if at[row.Generation] == nil {
			order = append(order, row.Generation)
		}
		at[row.Generation] = append(at[row.Generation], i)
	}
	for _, g := range order {
		groups = slices.AppendSeq(groups, slices.Chunk(at[g], custodian.CapsulesRequestMax))
	}
	return groups
}

// unlock gets the file keys of a group of records from the custodians. Records that they refuse, and those whose capsules are none, are left out,
// each with its reason.
func (r *reader) unlock(ctx context.Context, at []int) error {
	keys, err := r.c.keysOf(ctx, r.rows[at[0]].Generation)
	if err != nil {
		return err
	}
	capsules := make(map[int]*threshold.Capsule, len(at))
	for _, i := range at {
		capsule, err := wallet.CapsuleOf(r.files[i])
		if err == nil && (capsule == nil || protocol.Hash(capsule.Hash()) != r.rows[i].Capsule) {
			err = fmt.Errorf("%w: capsule", wallet.ErrCommitted)
		}
		capsules[i], r.errs[i] = capsule, err
	}
	for {
		at = slices.DeleteFunc(slices.Clone(at), func(i int) bool { return r.errs[i] != nil })
		if len(at) == 0 {
			return nil
		}
		q := question{request: api.ShareRequest{Generation: keys.Generation}}
		for _, i := range at {
			q.request.Records, q.request.Capsules = append(q.request.Records, r.rows[i].ID), append(q.request.Capsules, capsules[i].Bytes())
			q.capsules = append(q.capsules, capsules[i])
		}
		secrets, err := r.ask(ctx, keys, q)
		var some *refusedRecords
		if errors.As(err, &some) {
			for place, why := range some.why {
				r.errs[at[place]] = why
			}
			continue
		}
		if err != nil {
			return err
		}
		for place, i := range at {
			if len(secrets[place]) != len(r.keys[i]) {
				r.errs[i] = fmt.Errorf("%w: it holds no file key", wallet.ErrCapsule)
				continue
			}
			copy(r.keys[i][:], secrets[place])
		}
		return nil
	}
}

// question is what the custodians are asked at once.
type question struct {
	request  api.ShareRequest
	capsules []*threshold.Capsule // of its records
}

// ask combines the custodians' answers to secrets, one a capsule. Where all custodians are honest and a capsule does not open all the same, its
// author made it so: its secret is nil.
func (r *reader) ask(ctx context.Context, keys *threshold.Keys, q question) ([][]byte, error) {
	answers, err := r.c.shares(ctx, r.a, keys, q.request, q.capsules)
	if err != nil {
		return nil, err
	}
	secrets, err := threshold.Combine(keys.T, q.capsules, partialsOf(answers[:min(keys.T, len(answers))]))
	var wrong *threshold.WrongSharesError
	if errors.As(err, &wrong) {
		q.request.All = true
		if answers, err = r.c.shares(ctx, r.a, keys, q.request, q.capsules); err != nil {
			return nil, err
		}
		honest, liars := r.c.sortOut(r.a, keys, q.capsules, answers)
		r.liars = append(r.liars, liars...)
		if len(honest) < keys.T {
			return nil, fmt.Errorf("%w: %d honest ones of %d needed", ErrTooFewShares, len(honest), keys.T)
		}
		if secrets, err = threshold.Combine(keys.T, q.capsules, partialsOf(honest[:keys.T])); errors.As(err, &wrong) {
			return secrets, nil
		}
	}
	return secrets, err
}

// refusedRecords says which of the records asked for, by their places, the custodians refuse; they would not refuse the others for that.
type refusedRecords struct{ why map[int]error }

func (r *refusedRecords) Error() string {
	return fmt.Sprintf("the custodians refuse %d of the records", len(r.why))
}

// refusedBy finds the records that at least as many custodians refuse as it takes to keep a threshold from answering: at least one of so many
// is honest, if no more than the others lie. Refusals are not signed, and a gateway could make them up, as it could withhold a file.
func refusedBy(refused []api.Share, blocking, records int) *refusedRecords {
	votes := map[int]int{}
	why := map[int]error{}
	for _, s := range refused {
		seen := map[int]bool{}
		for _, place := range s.Records {
			if place < 0 || place >= records || seen[place] {
				continue
			}
			seen[place] = true
			if votes[place]++; votes[place] == blocking {
				why[place] = closed(s.Reason)
			}
		}
	}
	if len(why) == 0 {
		return nil
	}
	return &refusedRecords{why}
}

// answer is a custodian's opened answer, whose signature holds.
type answer struct {
	partials  *threshold.Partials
	raw       []byte
	signature []byte
}

func partialsOf(answers []answer) []*threshold.Partials {
	out := make([]*threshold.Partials, len(answers))
	for i, a := range answers {
		out[i] = a.partials
	}
	return out
}

// shares asks for the custodians' answers and opens those that came. Answers that do not open, are not signed by their custodian or are for
// something else count as not given.
func (c *Client) shares(ctx context.Context, a *Access, keys *threshold.Keys, req api.ShareRequest, capsules []*threshold.Capsule) ([]answer, error) {
	var got api.Shares
	if err := c.json(ctx, a.Reader, http.MethodPost, path(api.PathShares, a.Decision.ID.String()), req, &got); err != nil {
		return nil, err
	}
	var out []answer
	var refused []api.Share
	seen := map[uint16]bool{}
	for _, s := range got.Answers {
		if s.Sealed == nil {
			if !slices.ContainsFunc(refused, func(other api.Share) bool { return other.Custodian == s.Custodian }) {
				refused = append(refused, s)
			}
			continue
		}
		if opened, ok := c.open(a, keys, s, capsules); ok && !seen[s.Custodian] {
			seen[s.Custodian] = true
			out = append(out, opened)
		}
	}
	if len(out) < keys.T && !req.All && len(refused) <= keys.N-keys.T {
		req.All = true // the gateway cannot see into the answers: some were unusable, or it gave up early
		return c.shares(ctx, a, keys, req, capsules)
	}
	if len(out) < keys.T {
		if some := refusedBy(refused, keys.N-keys.T+1, len(capsules)); some != nil {
			return nil, some
		}
		errs := []error{fmt.Errorf("%w: %d of %d needed", ErrTooFewShares, len(out), keys.T)}
		for _, s := range refused {
			errs = append(errs, refusal(s))
		}
		return nil, errors.Join(errs...)
	}
	return out, nil
}

func refusal(s api.Share) error {
	err := fmt.Errorf("custodian %d: %s", s.Custodian, s.Detail)
	if s.Reason != protocol.Accepted {
		return fmt.Errorf("%w: %w", err, &protocol.Rejection{Reason: s.Reason})
	}
	return err
}

// closed is why the custodians give no shares for a record.
func closed(why protocol.Reason) error {
	if why == protocol.UnknownRecord {
		return fmt.Errorf("%w: the custodians refuse it", wallet.ErrCapsule)
	}
	return fmt.Errorf("the custodians refuse it: %w", &protocol.Rejection{Reason: why})
}

func (c *Client) open(a *Access, keys *threshold.Keys, s api.Share, capsules []*threshold.Capsule) (answer, bool) {
	m, ok := nodeOf(c.Genesis, s.Custodian)
	if !ok {
		return answer{}, false
	}
	plain, err := a.OneTime.OpenShare(wallet.ShareInfo{Chain: c.Network.Chain, Access: a.Decision.ID, Custodian: m.ID(), Generation: keys.Generation,
		Epoch: keys.Epoch}, s.Sealed)
	if err != nil || len(plain) < ed25519.SignatureSize {
		return answer{}, false
	}
	cut := len(plain) - ed25519.SignatureSize
	raw, signature := plain[:cut], plain[cut:]
	message := custodian.AnswerMessage(c.Network.Chain, a.Decision.ID, a.OneTime.Public(), capsules, raw)
	partials, err := threshold.ParsePartials(raw)
	if err != nil || partials.Index != int(s.Custodian) || !protocol.VerifySignature(m.Node.Peer, message, signature) {
		return answer{}, false
	}
	return answer{partials: partials, raw: raw, signature: signature}, true
}

// sortOut checks the proofs of all answers and parts the honest from the liars.
func (c *Client) sortOut(a *Access, keys *threshold.Keys, capsules []*threshold.Capsule, answers []answer) (honest []answer, liars []Liar) {
	oneTime := a.OneTime.Public()
	binding := threshold.Binding{Chain: c.Network.Chain, Access: a.Decision.ID, OneTimeKey: oneTime[:]}
	lying := threshold.FindLiars(keys, capsules, binding, partialsOf(answers))
	for _, x := range answers {
		if !slices.Contains(lying, x.partials.Index) {
			honest = append(honest, x)
			continue
		}
		l := Liar{Custodian: uint16(x.partials.Index), Access: a.Decision.ID, OneTime: oneTime[:], Partials: x.raw, Signature: x.signature}
		for _, k := range capsules {
			l.Capsules = append(l.Capsules, k.Bytes())
		}
		liars = append(liars, l)
	}
	return honest, liars
}

// keysOf is a generation's keys: today there is one active generation at a time.
func (c *Client) keysOf(ctx context.Context, generation uint32) (*threshold.Keys, error) {
	if c.keys == nil || c.keys.Generation != generation {
		if err := c.refresh(ctx); err != nil {
			return nil, err
		}
	}
	if c.keys == nil || c.keys.Generation != generation {
		return nil, fmt.Errorf("%w: no key of generation %d", ErrAnswer, generation)
	}
	return c.keys, nil
}

// entryOf is what the gateway says the ledger says of a record, for wallet.Open. A reader trusts the network's gateway for this, and no
// further: the file must match it in every respect. A patient who trusts nobody checks the journal's proof (internal/proof).
func (c *Client) entryOf(r api.Record) wallet.Entry {
	e := wallet.Entry{Chain: c.Network.Chain, Journal: r.Journal, Author: authorOf(r),
		Action: protocol.AddRecord{Record: r.ID, Label: r.Label, Ciphertext: r.Ciphertext, Size: r.Size, Capsule: r.Capsule,
			Generation: r.Generation, Manifest: r.Manifest, Root: r.Root, Relation: r.Relation}}
	if r.About != nil {
		e.Action.About = *r.About
	}
	return e
}

// authorOf is who signed a record's entry. What has no member is the patient's own, or a delegate's, and nobody else's.
func authorOf(r api.Record) protocol.Signer {
	switch {
	case r.Member.IsZero() && r.AuthorKind == protocol.ActorDelegate:
		return protocol.DelegateSigner(r.Journal, r.AuthorKey)
	case r.Member.IsZero():
		return protocol.PatientSigner(r.Journal, r.AuthorKey)
	case !r.Practitioner.IsZero():
		return protocol.PractitionerSigner(r.Practitioner, r.AuthorKey)
	}
	return protocol.MemberSigner(r.Member, r.AuthorKey)
}

// OpenRecords opens all of a patient's own records that are not erased, with the journal's identity.
func (c *Client) OpenRecords(ctx context.Context, k *wallet.JournalKeys, progress func(done, total int)) ([]*wallet.Record, error) {
	rows, err := c.Records(ctx, k)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r api.Record) bool { return r.Erased != 0 })
	out, errs := c.Open(ctx, k, rows, progress)
	return out, errors.Join(errs...)
}

func (c *Client) openOwn(ctx context.Context, k *wallet.JournalKeys, r api.Record) (*wallet.Record, error) {
	file, err := c.File(ctx, k, r.Ciphertext)
	if err != nil {
		return nil, err
	}
	for _, id := range k.Identities() {
		var out *wallet.Record
		if out, err = wallet.Open(file, id, c.entryOf(r)); !errors.Is(err, wallet.ErrRecipient) {
			return out, err
		}
	}
	return nil, err
}

// File gets a file of the patient's own journal.
func (c *Client) File(ctx context.Context, k *wallet.JournalKeys, hash protocol.Hash) ([]byte, error) {
	return c.bytes(ctx, Patient(k), path(api.PathFile, hash.String())+"?journal="+k.Journal.String(), protocol.RecordFileBytesMax)
}

// Records lists a patient's records as the ledger has them.
func (c *Client) Records(ctx context.Context, k *wallet.JournalKeys) (out []api.Record, err error) {
	return out, c.get(ctx, Patient(k), path(api.PathRecords, k.Journal.String()), &out)
}

// Contracts lists a patient's contracts.
func (c *Client) Contracts(ctx context.Context, k *wallet.JournalKeys) (out []api.Contract, err error) {
	return out, c.get(ctx, Patient(k), path(api.PathContracts, k.Journal.String()), &out)
}

// Proof gets everything that proves a journal complete.
func (c *Client) Proof(ctx context.Context, k *wallet.JournalKeys) (*api.JournalProof, error) {
	var p api.JournalProof
	return &p, c.get(ctx, Patient(k), path(api.PathProof, k.Journal.String()), &p)
}

// Receipt gets the receipt of an entry (C2SP tlog-proof).
func (c *Client) Receipt(ctx context.Context, by Identity, index uint64) ([]byte, error) {
	return c.bytes(ctx, by, path(api.PathReceipt, fmt.Sprint(index)), 64<<10)
}

// Accesses lists the reader's accesses that are still served.
func (c *Client) Accesses(ctx context.Context, by Identity) (out []api.Access, err error) {
	return out, c.get(ctx, by, api.PathAccesses, &out)
}
