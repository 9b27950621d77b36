package proof

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

const anyAge = c2sp.AnyAge

// Check verifies a journal's proof as a gateway serves it, without any files: they count neither as present nor as missing.
func Check(p *api.JournalProof, o Options) *Report {
	r := newReport()
	check(p, o, r)
	return r.done()
}

func newReport() *Report {
	return &Report{Counts: Counts{ByType: map[string]int{}}, Missing: []MissingFile{}, Failures: []Failure{}, Erasures: []Erasure{}, Erased: []ErasedRecord{},
		Checkpoint: Checkpoint{Cosigners: []Cosigner{}}}
}

// content is what the checks have read, for what comes after them: files, records, the log in words.
type content struct {
	proof   *api.JournalProof
	genesis protocol.Genesis
	journal []parsed
	records []added
	members map[protocol.MemberID]protocol.MemberRow
	people  map[protocol.PractitionerID]person
	erased  map[protocol.RecordID]bool // by the journal's own entries
}

type person struct {
	row  protocol.PractitionerRow
	name *api.PractitionerName // that opens the commitment
}

// added is a record as its entry has it.
type added struct {
	where    string
	index    uint64
	recorded uint64 // UTC ms
	author   protocol.Signer
	action   protocol.AddRecord
}

// parsed is an entry that decodes.
type parsed struct {
	where string
	index uint64
	salt  [16]byte
	entry protocol.Entry
}

// checker is one verification. Each step adds its failures to the report, and leaves to later steps what it learnt.
type checker struct {
	*content
	o Options
	r *Report

	derived    *c2sp.Policy // from the genesis
	policy     *c2sp.Policy // what is trusted
	checkpoint c2sp.Checkpoint
	rooted     bool // the checkpoint could be read
	seal       protocol.Seal
	sealed     bool                          // the seal could be read
	envelopes  map[protocol.ActionID]*signed // that hold
	order      []*signed                     // the same, as they stand
	keys       map[protocol.MemberID][]keyChange
	proposed   map[protocol.MemberID]protocol.PublicKey
	known      map[protocol.RecordID]bool
}

type signed struct {
	*protocol.Verified
	where string
	used  bool
}

func check(p *api.JournalProof, o Options, r *Report) {
	c := &checker{o: o, r: r, envelopes: map[protocol.ActionID]*signed{}, keys: map[protocol.MemberID][]keyChange{}, known: map[protocol.RecordID]bool{},
		proposed: map[protocol.MemberID]protocol.PublicKey{},
		content:  &content{proof: p, members: map[protocol.MemberID]protocol.MemberRow{}, people: map[protocol.PractitionerID]person{}}}
	r.content, r.Journal = c.content, p.Journal.ID
	if !o.Journal.IsZero() && o.Journal != p.Journal.ID {
		r.fail(CodeJournal, "journal", "this is journal %s, not %s", p.Journal.ID, o.Journal)
	}
	c.readGenesis()
	c.trust()
	c.checkCheckpoint()
	c.checkPin()
	c.checkSeal()
	c.openEnvelopes()
	c.checkJournal(&p.Constitution, constitution)
	r.Counts.Constitution = len(p.Constitution.Entries)
	c.journal = c.checkJournal(&p.Journal, own)
	c.checkOwn(c.journal)
	c.checkUsed()
	c.checkMembers()
	c.checkPractitioners()
	c.checkForgetting(c.journal)
}

// readGenesis finds the network's beginning, from which its policy derives.
func (c *checker) readGenesis() {
	const where = "constitution entry 0"
	entries := c.proof.Constitution.Entries
	if len(entries) == 0 {
		c.r.fail(CodeGenesis, where, "the constitution has no entries")
		return
	}
	var e protocol.Entry
	err := protocol.Decode(entries[0].Raw, &e)
	if err == nil && (e.Type != protocol.EventGenesis || entries[0].Index != 0) {
		err = errors.New("it is not the genesis, the log's first entry")
	}
	if err == nil {
		err = protocol.Decode(e.Action, &c.genesis)
	}
	if err == nil {
		err = c.genesis.Validate()
	}
	if err == nil {
		c.derived, err = NetworkPolicy(c.genesis)
	}
	if err != nil {
		c.genesis = protocol.Genesis{}
		c.r.fail(CodeGenesis, where, "%v", err)
		return
	}
	c.r.Chain = c.genesis.Chain
	if want := protocol.ConstitutionJournal(c.genesis.Chain); c.proof.Constitution.ID != want {
		c.r.fail(CodeGenesis, "constitution", "it is journal %s; the network's constitution is %s", c.proof.Constitution.ID, want)
	}
	for _, m := range c.genesis.Members {
		c.keys[m.ID()] = []keyChange{{key: m.Key}}
	}
}

// trust settles which policy counts: the verifier's own if given. The export's own must follow from the genesis, and equal the one given.
func (c *checker) trust() {
	const where = "policy.txt"
	own, err := c2sp.ParsePolicy([]byte(c.proof.Policy))
	if err != nil {
		c.r.fail(CodePolicy, where, "%v", err)
		own = nil
	} else if !samePolicy(own, c.derived) {
		c.r.fail(CodePolicy, where, "it is not the policy that follows from the network's genesis")
	}
	c.policy = own
	if c.o.Policy != nil {
		c.r.TrustRoot.Given = true
		given, err := c2sp.ParsePolicy(c.o.Policy)
		if err != nil {
			c.r.fail(CodePolicy, "the policy given", "%v", err)
			given = nil
		} else if !samePolicy(own, given) {
			c.r.fail(CodeWrongPolicy, where, "it is not the policy that was given to verify with: another network, or a forged one")
		}
		c.policy = given
	}
	if c.policy == nil {
		c.r.fail(CodeNoTrustRoot, where, "without a policy no checkpoint counts")
		return
	}
	if d, err := c.policy.Digest(); err == nil {
		c.r.TrustRoot.Digest = d
	}
}

func samePolicy(a, b *c2sp.Policy) bool {
	if a == nil || b == nil {
		return false
	}
	x, err1 := a.Digest()
	y, err2 := b.Digest()
	return err1 == nil && err2 == nil && x == y
}

func (c *checker) checkCheckpoint() {
	at, status, ok := checkCheckpoint([]byte(c.proof.Checkpoint), c.policy, c.o, func(code Code, format string, args ...any) {
		c.r.fail(code, "checkpoint.txt", format, args...)
	})
	c.checkpoint, c.rooted = at, ok
	c.r.Checkpoint = reportCheckpoint(at, status)
}

// checkCheckpoint reads a signed checkpoint and judges it by a policy (nil: only read). ok means that it could be read, not that it holds.
func checkCheckpoint(note []byte, policy *c2sp.Policy, o Options, fail func(code Code, format string, args ...any)) (at c2sp.Checkpoint, s c2sp.CosignStatus, ok bool) {
	at, _, err := c2sp.Unverified(note)
	if err != nil {
		fail(CodeCheckpoint, "%v", err)
		return at, s, false
	}
	if policy == nil {
		return at, s, true
	}
	_, s, err = policy.Check(note, o.Now, o.maxAge())
	if err != nil {
		fail(checkpointCode(err), "%v", err)
	}
	counted := 0
	for _, x := range s.Cosigners {
		if !x.Future {
			counted++
		}
	}
	if few := (c2sp.ErrTooFewCosigners{}); counted < o.MinCosigners && !errors.As(err, &few) {
		fail(CodeCosigners, "%d nodes cosigned, %d are asked for", counted, o.MinCosigners)
	}
	return at, s, true
}

func checkpointCode(err error) Code {
	var (
		expired c2sp.ErrPolicyExpired
		few     c2sp.ErrTooFewCosigners
		stale   c2sp.ErrStale
	)
	switch {
	case errors.As(err, &expired):
		return CodePolicyExpired
	case errors.As(err, &few):
		return CodeCosigners
	case errors.As(err, &stale):
		return CodeStale
	}
	return CodeCheckpoint
}

func reportCheckpoint(at c2sp.Checkpoint, s c2sp.CosignStatus) Checkpoint {
	out := Checkpoint{Origin: at.Origin, Size: at.Size, Root: protocol.Hash(at.Root), Time: s.QuorumTime, Have: s.Have, Need: s.Need,
		Cosigners: []Cosigner{}}
	for _, x := range s.Cosigners {
		if !x.Future {
			out.Cosigners = append(out.Cosigners, Cosigner{Name: x.Witness, Time: x.Time})
		}
	}
	return out
}

func (c *checker) checkPin() {
	pin := c.o.Pin
	if pin == nil || !c.rooted {
		return
	}
	const where = "checkpoint.txt"
	older := c2sp.Checkpoint{Origin: c.checkpoint.Origin, Size: pin.Size, Root: c2sp.Hash(pin.Root)}
	switch {
	case pin.Size > c.checkpoint.Size:
		c.r.fail(CodeRollback, where, "it has %d entries; %d were seen before", c.checkpoint.Size, pin.Size)
	case pin.Size == c.checkpoint.Size && older != c.checkpoint:
		c.r.fail(CodeForked, where, "another root at size %d was seen before: the network shows two histories", pin.Size)
	case pin.Size == c.checkpoint.Size:
		c.r.Checkpoint.Pin = "same"
	case pin.Proof == nil:
		c.r.Checkpoint.Pin = "unchecked"
	default:
		proof := make([]c2sp.Hash, len(pin.Proof))
		for i, h := range pin.Proof {
			proof[i] = c2sp.Hash(h)
		}
		if err := c2sp.CheckConsistency(older, c.checkpoint, proof); err != nil {
			c.r.fail(CodeForked, where, "%v", err)
			return
		}
		c.r.Checkpoint.Pin = "extended"
	}
}

// checkSeal reads the log's last entry, which holds the state map's root.
func (c *checker) checkSeal() {
	const where = "seal.cbor"
	fail := func(format string, args ...any) { c.r.fail(CodeSeal, where, format, args...) }
	s := c.proof.Seal
	var e protocol.Entry
	if err := protocol.Decode(s.Raw, &e); err != nil {
		fail("%v", err)
		return
	}
	if err := protocol.Decode(e.Action, &c.seal); err != nil {
		fail("%v", err)
		return
	}
	c.sealed = true
	want := protocol.Entry{Type: protocol.EventSeal, Height: c.seal.Height, Time: c.seal.Time, Action: e.Action, Outcome: protocol.NoOutcome}
	if string(protocol.Encode(want)) != string(s.Raw) {
		fail("it is not a seal")
	}
	if len(s.Salt) != 16 || [16]byte(s.Salt) != [16]byte{} {
		fail("the salt of a seal is zero")
	}
	if !c.rooted {
		return
	}
	if s.Index+1 != c.checkpoint.Size {
		fail("it is entry %d; the checkpoint ends with entry %d", s.Index, c.checkpoint.Size-1)
	}
	if err := c.included(protocol.Commit([16]byte{}, s.Raw), s.Index, s.Proof); err != nil {
		fail("%v", err)
	}
	if c.genesis.Chain != "" && c.checkpoint.Origin != Origin(c.genesis.Chain) {
		c.r.fail(CodeCheckpoint, "checkpoint.txt", "it is of log %q; the network's is %q", c.checkpoint.Origin, Origin(c.genesis.Chain))
	}
}

func (c *checker) included(leaf protocol.Hash, index uint64, path []protocol.Hash) error {
	proof := make([]c2sp.Hash, len(path))
	for i, h := range path {
		proof[i] = c2sp.Hash(h)
	}
	return c2sp.CheckInclusion(c2sp.LeafHash(leaf[:]), index, c.checkpoint.Size, c.checkpoint.Root, proof)
}

// inMap checks a row of the state map; without a seal there is nothing to check against, and the seal is the failure.
func (c *checker) inMap(key, value, proof []byte) error {
	p, err := smt.ParseProof(proof)
	if err != nil || !c.sealed {
		return err
	}
	return p.Verify(smt.Hash(c.seal.MapRoot), key, value)
}

// openEnvelopes checks every signature.
func (c *checker) openEnvelopes() {
	for i, v := range verifyEnvelopes(c.proof.Envelopes) {
		where := fmt.Sprintf("envelope %d", i)
		switch {
		case errors.Is(v.err, protocol.ErrSignature):
			c.r.fail(CodeSignature, where, "its signature does not hold")
		case v.err != nil:
			c.r.fail(CodeEnvelope, where, "%v", v.err)
		case c.envelopes[v.ID] != nil:
			c.r.fail(CodeEnvelope, where, "it is there twice")
		default:
			s := &signed{Verified: v.Verified, where: where}
			c.envelopes[v.ID], c.order = s, append(c.order, s)
			c.r.Counts.Signatures++
		}
	}
}

// checkUsed finds envelopes that no entry names.
func (c *checker) checkUsed() {
	for _, s := range c.order {
		if !s.used {
			c.r.fail(CodeEnvelope, s.where, "no entry comes from it")
		}
	}
}

// checkMembers compares the members' rows with the state map and with what the constitution says.
func (c *checker) checkMembers() {
	var last []byte
	for i, m := range c.proof.Members {
		where := fmt.Sprintf("member %x", m.ID)
		var row protocol.MemberRow
		if len(m.ID) != 16 {
			c.r.fail(CodeMember, fmt.Sprintf("member row %d", i), "an id has 16 bytes")
			continue
		}
		id := protocol.MemberID(m.ID)
		if i > 0 && string(last) >= string(m.ID) {
			c.r.fail(CodeMember, where, "members are listed by id, each once")
		}
		last = m.ID
		if err := protocol.Decode(m.Row, &row); err != nil {
			c.r.fail(CodeMember, where, "%v", err)
			continue
		}
		if err := c.inMap(protocol.StateKeyMember(id), m.Row, m.Proof); err != nil {
			c.r.fail(CodeMember, where, "%v", err)
			continue
		}
		c.members[id] = row
		c.r.Counts.Members++
		c.compareMember(where, id, row)
	}
	missing := make([]string, 0)
	for id := range c.keys {
		if _, ok := c.members[id]; !ok {
			missing = append(missing, id.String())
		}
	}
	slices.Sort(missing)
	for _, id := range missing {
		c.r.fail(CodeMember, "member "+id, "the constitution names it, and there is no proven row of it")
	}
}

func (c *checker) compareMember(where string, id protocol.MemberID, row protocol.MemberRow) {
	changes := c.keys[id]
	if len(changes) == 0 {
		c.r.fail(CodeMember, where, "the constitution does not know it")
		return
	}
	last := changes[len(changes)-1]
	if last.removed != row.Removed || !last.removed && last.key != row.Member.Key {
		c.r.fail(CodeMember, where, "its row does not say what the constitution does")
	}
}

// checkPractitioners wants the proven rows of exactly those who sign in the journal.
func (c *checker) checkPractitioners() {
	signs := map[protocol.PractitionerID]bool{}
	for _, e := range c.journal {
		if e.entry.Signer.Kind == protocol.ActorPractitioner {
			signs[protocol.PractitionerID(e.entry.Signer.ID)] = true
		}
	}
	var last []byte
	for i, p := range c.proof.Practitioners {
		where := fmt.Sprintf("practitioner %x", p.ID)
		if len(p.ID) != 16 {
			c.r.fail(CodePractice, fmt.Sprintf("practitioner row %d", i), "an id has 16 bytes")
			continue
		}
		id := protocol.PractitionerID(p.ID)
		switch {
		case i > 0 && string(last) >= string(p.ID):
			c.r.fail(CodePractice, where, "practitioners are listed by id, each once")
		case !signs[id]:
			c.r.fail(CodePractice, where, "signs nothing in this journal")
		}
		last = p.ID
		delete(signs, id)
		c.checkPractitioner(where, id, p)
	}
	missing := make([]string, 0, len(signs))
	for id := range signs {
		missing = append(missing, id.String())
	}
	slices.Sort(missing)
	for _, id := range missing {
		c.r.fail(CodePractice, "practitioner "+id, "signs in the journal, and there is no proven row of them")
	}
}

func (c *checker) checkPractitioner(where string, id protocol.PractitionerID, p api.ProvenPractitioner) {
	var row protocol.PractitionerRow
	if err := protocol.Decode(p.Row, &row); err != nil {
		c.r.fail(CodePractice, where, "%v", err)
		return
	}
	if err := c.inMap(protocol.StateKeyPractitioner(id), p.Row, p.Proof); err != nil {
		c.r.fail(CodePractice, where, "%v", err)
		return
	}
	if _, ok := c.members[row.Member]; !ok {
		c.r.fail(CodePractice, where, "belongs to member %s, of whom there is no proven row", row.Member)
	}
	known := person{row: row}
	if p.Name != nil {
		if p.Name.Commitment() == row.Commitment {
			known.name = p.Name
		} else {
			c.r.fail(CodeName, where, "the name given does not open the commitment in the registry")
		}
	}
	c.people[id] = known
	c.r.Counts.Practitioners++
}

// timeText is a time for people, UTC.
func timeText(ms uint64) string {
	if ms == 0 || ms > 1<<53 {
		return "never"
	}
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02 15:04:05 UTC")
}
