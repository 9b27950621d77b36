package proof

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Erasure is what the journal's own entries say of an erasure.
type Erasure struct {
	ID         protocol.ErasureID  `json:"id"`
	What       string              `json:"what"` // records, labels, author, everything, or release: what a hold had kept
	Time       uint64              `json:"time_ms"`
	Through    bool                `json:"through"` // what it took is settled
	Records    int                 `json:"records"` // whose files go
	Held       int                 `json:"held"`    // closed, and their files kept for as long as a hold lasts
	Nodes      int                 `json:"nodes"`   // whose attestations are expected
	AttestedBy []protocol.MemberID `json:"attested_by"`
}

// ErasedRecord is a record that the journal's entries say is erased.
type ErasedRecord struct {
	Record  protocol.RecordID   `json:"record"`
	Erasure *protocol.ErasureID `json:"erasure,omitempty"` // by which its file goes; none while it is held, or being taken off the shelves
	Held    bool                `json:"held,omitempty"`
	Text    string              `json:"text"` // such as «erased, 3 of 4 attestations»
}

// forgotten is a record as far as its erasure is concerned.
type forgotten struct {
	id         protocol.RecordID
	seq        uint64
	label      protocol.Label
	member     protocol.MemberID
	own        bool              // the patient's, or a delegate's
	about      protocol.RecordID // of a statement
	ciphertext protocol.Hash
	erased     bool
	taken      uint64 // place of the erasure that closed it
	held       bool
	by         *erasing
}

type erasing struct {
	report *Erasure
	seq    uint64
	what   protocol.Erase
	hold   protocol.HoldID // of a release
	count  uint32
	root   protocol.Hash
}

type holding struct {
	seq     uint64 // of the entry that set it
	member  protocol.MemberID
	records []protocol.RecordID
}

// forgetting replays a journal's erasures and holds by the ledger's rules (docs/spec/ledger.md), so that what the network says it erased is held
// against what the patient asked for.
type forgetting struct {
	*checker
	records    map[protocol.RecordID]*forgotten
	order      []*forgotten // by place
	statements map[protocol.RecordID][]*forgotten
	holds      map[protocol.HoldID]holding
	erasures   map[protocol.ErasureID]*erasing
	listed     []*erasing
}

func (c *checker) checkForgetting(entries []parsed) {
	f := &forgetting{checker: c, records: map[protocol.RecordID]*forgotten{}, statements: map[protocol.RecordID][]*forgotten{},
		holds: map[protocol.HoldID]holding{}, erasures: map[protocol.ErasureID]*erasing{}}
	for _, p := range entries {
		if err := f.entry(p); err != nil {
			c.r.fail(CodeErasure, p.where, "%v", err)
		}
	}
	for _, e := range f.listed {
		c.r.Erasures = append(c.r.Erasures, *e.report)
	}
	c.erased = map[protocol.RecordID]bool{}
	for _, r := range f.order {
		if !f.closed(r) {
			continue
		}
		c.erased[r.id] = true
		c.r.Erased = append(c.r.Erased, r.report())
	}
}

func (r *forgotten) report() ErasedRecord {
	out := ErasedRecord{Record: r.id, Held: r.held}
	switch {
	case r.held:
		out.Text = "erased, and kept from everybody until a hold is over"
	case r.by == nil:
		out.Text = "erased, its deletion is under way"
	default:
		out.Erasure = &r.by.report.ID
		out.Text = fmt.Sprintf("erased, %d of %d attestations", len(r.by.report.AttestedBy), r.by.report.Nodes)
	}
	return out
}

func (f *forgetting) entry(p parsed) error {
	e := p.entry
	switch e.Type {
	case protocol.TypeAddRecord:
		return f.added(e)
	case protocol.TypeRequestAccess:
		return f.access(e)
	case protocol.TypeSetHold:
		var a protocol.SetHold
		if err := protocol.Decode(e.Action, &a); err != nil {
			return err
		}
		f.holds[protocol.DerivedHoldID(e.Cause, int(e.Index))] = holding{e.Seq, protocol.MemberID(e.Signer.ID), a.Records}
	case protocol.TypeLiftHold:
		var a protocol.LiftHold
		if err := protocol.Decode(e.Action, &a); err != nil {
			return err
		}
		return f.ended(e, a.Hold)
	case protocol.EventHoldEnded:
		var a protocol.HoldEnded
		if err := protocol.Decode(e.Action, &a); err != nil {
			return err
		}
		return f.ended(e, a.Hold)
	case protocol.TypeErase:
		var a protocol.Erase
		if err := protocol.Decode(e.Action, &a); err != nil {
			return err
		}
		f.begin(protocol.DerivedErasureID(e.Cause, int(e.Index)), &erasing{seq: e.Seq, what: a}, e)
	case protocol.EventRecordsErased:
		return f.through(e)
	case protocol.TypeAttestErasure:
		return f.attested(e)
	}
	return nil
}

func (f *forgetting) added(e protocol.Entry) error {
	var a protocol.AddRecord
	if err := protocol.Decode(e.Action, &a); err != nil {
		return err
	}
	if f.records[a.Record] != nil {
		return nil // a failure already
	}
	r := &forgotten{id: a.Record, seq: e.Seq, label: a.Label, ciphertext: a.Ciphertext, own: e.Signer.Kind.ForPatient()}
	switch e.Signer.Kind {
	case protocol.ActorMember:
		r.member = protocol.MemberID(e.Signer.ID)
	case protocol.ActorPractitioner:
		r.member = f.people[protocol.PractitionerID(e.Signer.ID)].row.Member
	}
	if a.Relation == protocol.RelationStatement {
		r.about = a.About
		f.statements[a.About] = append(f.statements[a.About], r)
	}
	if about := f.records[a.About]; a.Relation != protocol.RelationNone && (about == nil || f.closed(about) || about.label != a.Label) {
		return fmt.Errorf("it is about record %s, which the journal did not have under this class, or which was erased", a.About)
	}
	f.records[a.Record] = r
	f.order = append(f.order, r)
	switch {
	case a.Relation == protocol.RelationStatement && !r.own:
		return errors.New("it is a statement, and neither the patient's nor a delegate's")
	case a.Relation == protocol.RelationStatement && f.records[a.About].own:
		return fmt.Errorf("it is a statement about record %s, which is the patient's own", a.About)
	case a.Relation == protocol.RelationSupersedes && r.own != f.records[a.About].own:
		return fmt.Errorf("it replaces record %s, which somebody else wrote", a.About)
	}
	return nil
}

// access finds accesses that open what was erased before.
func (f *forgetting) access(e protocol.Entry) error {
	var out protocol.AccessOutcome
	_ = protocol.Decode(e.Outcome, &out) // one that does not decode is a failure already, and opens nothing
	for _, id := range out.Records {
		if r := f.records[id]; r != nil && f.closed(r) {
			return fmt.Errorf("it opens record %s, which was erased before", id)
		}
	}
	return nil
}

// closed tells whether a record is erased by now: taken, or covered by an erasure that is under way.
func (f *forgetting) closed(r *forgotten) bool {
	return r.erased || slices.ContainsFunc(f.listed, func(e *erasing) bool { return !e.report.Through && f.covers(e, r) })
}

func (f *forgetting) covers(e *erasing, r *forgotten) bool {
	w := &e.what
	if r.seq >= e.seq || !e.hold.IsZero() {
		return false
	}
	if w.Everything || slices.Contains(w.Records, r.id) || slices.Contains(w.Labels, r.label) || !w.Author.IsZero() && w.Author == r.member {
		return true
	}
	about := f.records[r.about]
	return !r.about.IsZero() && about != nil && f.covers(e, about)
}

func (f *forgetting) begin(id protocol.ErasureID, e *erasing, at protocol.Entry) {
	e.report = &Erasure{ID: id, Time: at.Time, AttestedBy: []protocol.MemberID{}}
	switch w := &e.what; {
	case !e.hold.IsZero():
		e.report.What = "release"
	case len(w.Records) > 0:
		e.report.What = "records"
	case len(w.Labels) > 0:
		e.report.What = "labels"
	case !w.Author.IsZero():
		e.report.What = "author"
	default:
		e.report.What = "everything"
	}
	f.erasures[id] = e
	f.listed = append(f.listed, e)
}

func (f *forgetting) ended(e protocol.Entry, id protocol.HoldID) error {
	if _, ok := f.holds[id]; !ok {
		return fmt.Errorf("it ends hold %s, which the journal did not have", id)
	}
	delete(f.holds, id)
	if slices.ContainsFunc(f.order, func(r *forgotten) bool { return r.held }) {
		f.begin(protocol.ReleaseID(id), &erasing{seq: e.Seq, hold: id}, e)
	}
	return nil
}

func (f *forgetting) isHeld(r *forgotten) bool {
	for _, h := range f.holds {
		if h.member == r.member && (len(h.records) == 0 || slices.Contains(h.records, r.id)) && h.seq < r.taken {
			return true
		}
	}
	return false
}

// through takes what an erasure covers, in the ledger's order, and compares.
func (f *forgetting) through(e protocol.Entry) error {
	var said protocol.RecordsErased
	if err := protocol.Decode(e.Action, &said); err != nil {
		return err
	}
	x := f.erasures[said.Erasure]
	if x == nil || x.report.Through {
		return fmt.Errorf("it says that erasure %s is through, which the journal does not have, or not any more", said.Erasure)
	}
	held := uint32(0)
	for _, r := range f.taken(x) {
		if !r.erased {
			r.erased, r.taken = true, x.seq
		}
		if f.isHeld(r) {
			r.held = true
			held++
			continue
		}
		r.held, r.by = false, x
		x.count++
		x.root = protocol.ErasureRoot(x.root, r.id, r.ciphertext)
	}
	nodes := said.Nodes
	if x.report.Through = true; x.count == 0 && nodes != 0 {
		return fmt.Errorf("it expects attestations of an erasure that took nothing")
	}
	x.report.Records, x.report.Held, x.report.Nodes = int(x.count), int(held), int(nodes)
	if said.Count != x.count || said.Held != held || said.Root != x.root {
		return fmt.Errorf("it counts %d records erased and %d held; by the entries before it they are %d and %d, or others", said.Count, said.Held, x.count, held)
	}
	return nil
}

// taken lists what an erasure covers in the order in which the ledger goes through it.
func (f *forgetting) taken(x *erasing) (out []*forgotten) {
	if !x.hold.IsZero() {
		for _, r := range f.order {
			if r.held {
				out = append(out, r)
			}
		}
		slices.SortFunc(out, func(a, b *forgotten) int { return bytes.Compare(a.id[:], b.id[:]) })
		return out
	}
	if len(x.what.Records) > 0 {
		for _, id := range x.what.Records {
			r := f.records[id]
			if r == nil {
				continue
			}
			for _, one := range append([]*forgotten{r}, f.statements[id]...) {
				if !one.erased && !slices.Contains(out, one) {
					out = append(out, one)
				}
			}
		}
		return out
	}
	for _, r := range f.order {
		if !r.erased && f.covers(x, r) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b *forgotten) int {
		return cmp.Or(bytes.Compare(a.label[:], b.label[:]), cmp.Compare(a.seq, b.seq))
	})
	return out
}

func (f *forgetting) attested(e protocol.Entry) error {
	var a protocol.AttestErasure
	if err := protocol.Decode(e.Action, &a); err != nil {
		return err
	}
	x, by := f.erasures[a.Erasure], protocol.MemberID(e.Signer.ID)
	switch {
	case x == nil || !x.report.Through:
		return fmt.Errorf("it attests erasure %s, which is not through", a.Erasure)
	case a.Count != x.count || a.Root != x.root:
		return fmt.Errorf("it attests something else than was erased")
	case slices.Contains(x.report.AttestedBy, by):
		return fmt.Errorf("member %s has attested this before", by)
	}
	x.report.AttestedBy = append(x.report.AttestedBy, by)
	return nil
}
