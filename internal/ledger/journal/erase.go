package journal

import (
	"encoding/binary"
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// An erasure has three steps. Erase closes its records at once: whatever it covers (Closed) nobody opens from that block on. Advance then
// takes them off the shelves, a bounded number in each block, until the erasure is done and what it took is settled, with an entry. The nodes
// delete the files and say so (Attest).

// Erasure is what a patient had erased, or what the end of a hold set free.
type Erasure struct {
	_        struct{} `cbor:",toarray"`
	Journal  protocol.JournalID
	What     protocol.Erase  // empty for a release
	Release  protocol.HoldID // whose end set it going; zero: the patient
	Height   uint64          // from which its records are closed
	Time     uint64          // UTC ms, of that block
	Seq      uint64          // entries of the journal before it: it takes nothing that came later
	Done     uint64          // height at which it was through; 0 while under way
	Count    uint32          // records whose files go
	Held     uint32          // records whose files a hold keeps
	Root     protocol.Hash   // over the records whose files go: protocol.ErasureRoot
	Nodes    uint16          // whose attestations are expected
	Attested uint16
	At       []byte // where Advance goes on
	Cause    protocol.ActionID
	Index    uint16
	Salt     [16]byte
}

// ongoing is a row of the erasures under way.
type ongoing struct {
	_       struct{} `cbor:",toarray"`
	Erasure protocol.ErasureID
}

// attested is a node's word.
type attested struct {
	_      struct{} `cbor:",toarray"`
	Height uint64
}

var (
	erasures     = exec.Table[Erasure]{Name: "erasures", Prefix: 'z'}                  // erasure id
	attestations = exec.Table[attested]{Name: "attestations of erasures", Prefix: 'Z'} // erasure id ‖ member id
	underWay     = exec.Table[ongoing]{Name: "erasures under way", Prefix: 'E'}        // journal id ‖ seq
	unattested   = exec.Table[mark]{Name: "erasures to be attested", Prefix: 'i'}      // erasure id
	gone         = exec.Table[mark]{Name: "erased records", Prefix: 'X'}               // journal id ‖ erasure id ‖ record id
	heldBack     = exec.Table[mark]{Name: "erased records on hold", Prefix: 'W'}       // journal id ‖ record id
)

// Erase executes the action: only the journal's controller may, and neither a device nor a delegate.
func Erase(c *exec.Context, a *protocol.Erase, salt [16]byte) protocol.Reason {
	row, ok := journals.Get(c, key(c.Journal))
	if !ok || c.Signer.Kind != protocol.ActorPatient || row.Controller != c.Signer.Key {
		return protocol.NotEntitled
	}
	if row.Closed != 0 {
		return protocol.JournalClosed
	}
	if len(mustPending(c)) >= protocol.ErasuresPendingMax {
		return protocol.TooManyErasures
	}
	for _, id := range a.Records {
		r, ok := records.Get(c, records.Key(id[:]))
		if !ok || r.Journal != c.Journal {
			return protocol.UnknownRecord
		}
		if mustClosed(c, id, r) {
			return protocol.AlreadyErased
		}
	}
	if a.Everything {
		row.Closed = c.Height
		journals.Put(c, key(c.Journal), row)
	}
	head, _ := heads.Get(c, protocol.StateKeyHead(c.Journal))
	begin(c, protocol.DerivedErasureID(c.Cause, c.Index), Erasure{Journal: c.Journal, What: *a, Height: c.Height, Time: c.Time, Seq: head.Count,
		Cause: c.Cause, Index: uint16(c.Index), Salt: salt})
	return protocol.Accepted
}

func begin(c *exec.Context, id protocol.ErasureID, e Erasure) {
	erasures.Put(c, erasures.Key(id[:]), e)
	underWay.Put(c, underWay.Key(e.Journal[:], exec.Uint64(e.Seq)), ongoing{Erasure: id})
}

// pending lists a journal's erasures under way.
func pending(r state.Reader, journal protocol.JournalID) (out []Erasure, err error) {
	var ids []protocol.ErasureID
	err = underWay.ReadAll(r, underWay.Key(journal[:]), func(_ []byte, o ongoing) bool { ids = append(ids, o.Erasure); return true })
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		e, ok, err := erasures.Read(r, erasures.Key(id[:]))
		if err == nil && !ok {
			err = exec.Broken{Err: errMissing(id)}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func mustPending(c *exec.Context) []Erasure { return must(pending(c.Tx, c.Journal)) }

// Closed tells whether a record was erased: nobody opens it any more, whether or not its file is gone.
func Closed(r state.Reader, n Named) (bool, error) {
	if n.Row.Erased != 0 {
		return true, nil
	}
	open, err := Veil(r, n.Row.Journal)
	if err != nil {
		return false, err
	}
	return open.Closed(n)
}

// Curtain is what is being erased of a journal; most have none.
type Curtain struct {
	r       state.Reader
	pending []Erasure
}

// Veil reads what is being erased of a journal, to ask about many of its records.
func Veil(r state.Reader, journal protocol.JournalID) (Curtain, error) {
	p, err := pending(r, journal)
	return Curtain{r, p}, err
}

// Closed is the function Closed.
func (v Curtain) Closed(n Named) (bool, error) {
	if n.Row.Erased != 0 {
		return true, nil
	}
	for _, e := range v.pending {
		if covered, err := e.covers(v.r, n); err != nil || covered {
			return covered, err
		}
	}
	return false, nil
}

// covers tells whether an erasure takes a record: as it is named, or with the record that it is a statement about.
func (e Erasure) covers(r state.Reader, n Named) (bool, error) {
	if n.Row.Seq >= e.Seq || !e.Release.IsZero() {
		return false, nil
	}
	w := &e.What
	if w.Everything || slices.Contains(w.Records, n.ID) || slices.Contains(w.Labels, n.Row.Label) || !w.Author.IsZero() && w.Author == n.Row.Member {
		return true, nil
	}
	if n.Row.Relation != protocol.RelationStatement {
		return false, nil
	}
	about, err := Subject(r, n)
	if err != nil {
		return false, err
	}
	return e.covers(r, about)
}

// Subject is the record that a statement is about; of any other record, itself. Contracts decide on a statement as on its subject.
func Subject(r state.Reader, n Named) (Named, error) {
	if n.Row.Relation != protocol.RelationStatement {
		return n, nil
	}
	tie, err := TieOf(r, n.ID)
	if err != nil {
		return n, err
	}
	row, ok, err := Record(r, tie.About)
	if err == nil && !ok {
		err = exec.Broken{Err: errMissing(tie.About)}
	}
	return Named{ID: tie.About, Row: row}, err
}

// Advance goes on with the erasures under way, for at most most records, and says which are through. nodes counts the nodes that are to attest.
func Advance(c *exec.Context, nodes func() uint16, most int) (out []Event) {
	for most > 0 {
		var id protocol.ErasureID
		var at []byte
		underWay.All(c, underWay.Key(), func(key []byte, o ongoing) bool { id, at = o.Erasure, slices.Clone(key); return false })
		if at == nil {
			return out
		}
		e, ok := erasures.Get(c, erasures.Key(id[:]))
		if !ok {
			exec.Break("journal: erasure %s is under way and has no row", id)
		}
		a := advance{c: c, id: id, e: &e, holds: must(Holds(c.Tx, e.Journal)), left: most}
		through := a.run()
		most = a.left - 1
		if through {
			underWay.Delete(c, at)
			out = append(out, a.finish(nodes()))
		}
		erasures.Put(c, erasures.Key(id[:]), e)
	}
	return out
}

// advance is one step of one erasure.
type advance struct {
	c     *exec.Context
	id    protocol.ErasureID
	e     *Erasure
	holds []NamedHold
	left  int
}

// finish settles what was erased.
func (a *advance) finish(nodes uint16) Event {
	e := a.e
	e.Done, e.At = a.c.Height, []byte{}
	if e.Count > 0 {
		e.Nodes = nodes
		unattested.Put(a.c, unattested.Key(a.id[:]), mark{})
	}
	return Event{e.Journal, e.Cause, e.Index, e.Salt, protocol.EventRecordsErased,
		protocol.RecordsErased{Erasure: a.id, Count: e.Count, Held: e.Held, Root: e.Root, Nodes: e.Nodes}}
}

func (a *advance) run() (through bool) {
	switch w := &a.e.What; {
	case !a.e.Release.IsZero():
		return a.released()
	case len(w.Records) > 0:
		return a.listed()
	case len(w.Labels) > 0:
		for _, l := range w.Labels {
			if !a.shelf(byLabel.Key(a.e.Journal[:], l[:])) {
				return false
			}
		}
		return true
	}
	return a.shelf(byLabel.Key(a.e.Journal[:]))
}

// listed takes the records that are named, each with the statements about it. At is how many are done.
func (a *advance) listed() bool {
	done := 0
	if len(a.e.At) > 0 {
		done = int(binary.BigEndian.Uint32(a.e.At))
	}
	for _, id := range a.e.What.Records[done:] {
		if a.left <= 0 {
			a.e.At = binary.BigEndian.AppendUint32(nil, uint32(done))
			return false
		}
		for _, one := range append([]protocol.RecordID{id}, mustStatements(a.c, id)...) {
			if n := a.record(one); n.Row.Erased == 0 {
				a.take(n)
			}
			a.left--
		}
		done++
	}
	return true
}

func (a *advance) record(id protocol.RecordID) Named {
	row, ok := records.Get(a.c, records.Key(id[:]))
	if !ok {
		exec.Break("journal: record %s has no row", id)
	}
	return Named{ID: id, Row: row}
}

// shelf takes what the erasure covers of the records whose rows in the index begin with prefix. Rows that are taken are gone from the index;
// At is the last one that was looked at and left.
func (a *advance) shelf(prefix []byte) bool {
	var ids []protocol.RecordID
	var last []byte
	through := true
	from := a.e.At
	byLabel.All(a.c, prefix, func(key []byte, l listed) bool {
		if len(from) > 0 && slices.Compare(key, from) <= 0 {
			return true
		}
		if len(ids) == a.left {
			through = false
			return false
		}
		ids, last = append(ids, l.Record), slices.Clone(key)
		return true
	})
	for _, id := range ids {
		n := a.record(id)
		if must(a.e.covers(a.c.Tx, n)) {
			a.take(n)
		}
	}
	a.left -= len(ids)
	if !through {
		a.e.At = last
	}
	return through
}

// released takes what was held back, and is held by no other hold.
func (a *advance) released() bool {
	var ids []protocol.RecordID
	var last []byte
	through := true
	from := a.e.At
	heldBack.All(a.c, heldBack.Key(a.e.Journal[:]), func(key []byte, _ mark) bool {
		if len(from) > 0 && slices.Compare(key, from) <= 0 {
			return true
		}
		if len(ids) == a.left {
			through = false
			return false
		}
		ids, last = append(ids, protocol.RecordID(key[17:])), slices.Clone(key)
		return true
	})
	for _, id := range ids {
		if n := a.record(id); !a.held(n) {
			heldBack.Delete(a.c, heldBack.Key(a.e.Journal[:], id[:]))
			a.drop(n)
		} else {
			a.e.Held++
		}
	}
	a.left -= len(ids)
	if !through {
		a.e.At = last
	}
	return through
}

func (a *advance) held(n Named) bool {
	return slices.ContainsFunc(a.holds, func(h NamedHold) bool { return h.Row.keeps(n) })
}

// take takes a record off the shelf: its file goes, unless it is held.
func (a *advance) take(n Named) {
	c := a.c
	n.Row.Erased = a.e.Height
	records.Put(c, records.Key(n.ID[:]), n.Row)
	byLabel.Delete(c, byLabel.Key(n.Row.Journal[:], n.Row.Label[:], exec.Uint64(n.Row.Seq)))
	dropAmendment(c, n.ID)
	if n.Row.own() {
		dropOwn(c, n.Row.Journal)
	}
	if a.held(n) {
		heldBack.Put(c, heldBack.Key(n.Row.Journal[:], n.ID[:]), mark{})
		a.e.Held++
		return
	}
	a.drop(n)
}

// drop lets a record's file go.
func (a *advance) drop(n Named) {
	gone.Put(a.c, gone.Key(n.Row.Journal[:], a.id[:], n.ID[:]), mark{})
	key := ties.Key(n.ID[:])
	tie, _ := ties.Get(a.c, key)
	tie.Erasure = a.id
	ties.Put(a.c, key, tie)
	a.e.Count++
	a.e.Root = protocol.ErasureRoot(a.e.Root, n.ID, n.Row.Ciphertext)
}

// Attest executes AttestErasure of a member with a node.
func Attest(c *exec.Context, by protocol.MemberID, a *protocol.AttestErasure) protocol.Reason {
	e, ok := erasures.Get(c, erasures.Key(a.Erasure[:]))
	if !ok || e.Journal != c.Journal {
		return protocol.UnknownErasure
	}
	switch {
	case e.Done == 0:
		return protocol.ErasurePending
	case e.Count == 0 || a.Count != e.Count || a.Root != e.Root:
		return protocol.BadErasure
	}
	said := attestations.Key(a.Erasure[:], by[:])
	if attestations.Has(c, said) {
		return protocol.AlreadyDone
	}
	attestations.Put(c, said, attested{Height: c.Height})
	if e.Attested++; e.Attested == e.Nodes {
		unattested.Delete(c, unattested.Key(a.Erasure[:]))
	}
	erasures.Put(c, erasures.Key(a.Erasure[:]), e)
	return protocol.Accepted
}
