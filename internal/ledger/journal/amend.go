package journal

import (
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Tie is what a record has to do with others; a record without any has none.
type Tie struct {
	_       struct{}           `cbor:",toarray"`
	About   protocol.RecordID  // of a new version: the old one; of a statement: what it is about
	Next    protocol.RecordID  // the version that superseded it
	Erasure protocol.ErasureID // by which its file goes
}

// Amendment is what became of the last request to amend a record.
type Amendment struct {
	_         struct{} `cbor:",toarray"`
	Journal   protocol.JournalID
	Statement protocol.RecordID
	Member    protocol.MemberID // the record's author, who is to answer
	Asked     uint64            // UTC ms
	Due       uint64            // UTC ms
	State     AmendmentState
	Version   protocol.RecordID // if accepted
	Denial    protocol.Denial   // if denied
	Cause     protocol.ActionID
	Index     uint16
	Salt      [16]byte
}

// AmendmentState is how far a request to amend has come.
type AmendmentState uint8

// The states.
const (
	AmendmentAsked AmendmentState = 1 + iota
	AmendmentOverdue
	AmendmentAccepted
	AmendmentDenied
)

var amendmentStates = [...]string{AmendmentAsked: "open", AmendmentOverdue: "overdue", AmendmentAccepted: "accepted", AmendmentDenied: "denied"}

// String is the state's name.
func (s AmendmentState) String() string {
	if int(s) < len(amendmentStates) {
		return amendmentStates[s]
	}
	return ""
}

func (a Amendment) open() bool { return a.State == AmendmentAsked || a.State == AmendmentOverdue }

var (
	ties       = exec.Table[Tie]{Name: "ties of records", Prefix: 't'}             // record id
	statements = exec.Table[listed]{Name: "statements about records", Prefix: 's'} // record id ‖ seq
	amendments = exec.Table[Amendment]{Name: "amendments", Prefix: 'M'}            // record id
)

// relate checks what a new record is to another, and ties the two.
func relate(c *exec.Context, by Author, a *protocol.AddRecord) protocol.Reason {
	if a.Relation == protocol.RelationNone {
		return protocol.Accepted
	}
	about, ok := records.Get(c, records.Key(a.About[:]))
	if !ok || about.Journal != c.Journal || about.Label != a.Label || about.Relation == protocol.RelationStatement || mustClosed(c, a.About, about) {
		return protocol.BadRelation
	}
	tieKey := ties.Key(a.About[:])
	tie, _ := ties.Get(c, tieKey)
	if a.Relation == protocol.RelationSupersedes {
		if about.Member != by.Member || !tie.Next.IsZero() {
			return protocol.BadRelation
		}
		tie.Next = a.Record
		ties.Put(c, tieKey, tie)
	} else {
		if about.Member.IsZero() {
			return protocol.BadRelation // a new version says it
		}
		if len(mustStatements(c, a.About)) >= protocol.StatementsRecordMax {
			return protocol.TooManyStatements
		}
		head, _ := heads.Get(c, protocol.StateKeyHead(c.Journal))
		statements.Put(c, statements.Key(a.About[:], exec.Uint64(head.Count)), listed{Record: a.Record})
	}
	ties.Put(c, ties.Key(a.Record[:]), Tie{About: a.About})
	return protocol.Accepted
}

// Ask executes RequestAmendment by the patient, or a delegate whom the caller let.
func Ask(c *exec.Context, a *protocol.RequestAmendment, salt [16]byte) protocol.Reason {
	row, ok := records.Get(c, records.Key(a.Record[:]))
	if !ok || row.Journal != c.Journal {
		return protocol.UnknownRecord
	}
	if row.Member.IsZero() || mustClosed(c, a.Record, row) { // a statement, or the patient's own: nobody's to answer
		return protocol.BadRelation
	}
	said, ok := records.Get(c, records.Key(a.Statement[:]))
	tie, _ := ties.Get(c, ties.Key(a.Statement[:]))
	if !ok || said.Relation != protocol.RelationStatement || tie.About != a.Record || mustClosed(c, a.Statement, said) {
		return protocol.BadRelation
	}
	key := amendments.Key(a.Record[:])
	if old, ok := amendments.Get(c, key); ok && old.open() {
		return protocol.AmendmentOpen
	}
	due := c.Time + protocol.AmendmentMillis
	amendments.Put(c, key, Amendment{Journal: c.Journal, Statement: a.Statement, Member: row.Member, Asked: c.Time, Due: due, State: AmendmentAsked,
		Cause: c.Cause, Index: uint16(c.Index), Salt: salt})
	agenda.Put(c, agendaKey(due, dueAmendment, c.Journal, a.Record), mark{})
	return protocol.Accepted
}

// Answer executes AnswerAmendment by the author member.
func Answer(c *exec.Context, by protocol.MemberID, a *protocol.AnswerAmendment) protocol.Reason {
	key := amendments.Key(a.Record[:])
	row, ok := amendments.Get(c, key)
	if !ok || row.Journal != c.Journal {
		return protocol.UnknownAmendment
	}
	if row.Member != by {
		return protocol.NotTheAuthor
	}
	if !row.open() {
		return protocol.AmendmentAnswered
	}
	state := AmendmentDenied
	if !a.Version.IsZero() {
		version, ok := records.Get(c, records.Key(a.Version[:]))
		tie, _ := ties.Get(c, ties.Key(a.Version[:]))
		if !ok || version.Relation != protocol.RelationSupersedes || tie.About != a.Record || mustClosed(c, a.Version, version) {
			return protocol.BadRelation
		}
		state = AmendmentAccepted
	}
	if row.State == AmendmentAsked {
		agenda.Delete(c, agendaKey(row.Due, dueAmendment, row.Journal, a.Record))
	}
	row.State, row.Version, row.Denial = state, a.Version, a.Denial
	amendments.Put(c, key, row)
	return protocol.Accepted
}

// dropAmendment forgets the request to amend a record that is erased.
func dropAmendment(c *exec.Context, id protocol.RecordID) {
	key := amendments.Key(id[:])
	row, ok := amendments.Get(c, key)
	if !ok {
		return
	}
	if row.State == AmendmentAsked {
		agenda.Delete(c, agendaKey(row.Due, dueAmendment, row.Journal, id))
	}
	amendments.Delete(c, key)
}

// TieOf reads a record's tie; a record without one has the zero tie.
func TieOf(r state.Reader, id protocol.RecordID) (Tie, error) {
	t, _, err := ties.Read(r, ties.Key(id[:]))
	return t, err
}

// Statements lists the statements about a record, in their order.
func Statements(r state.Reader, id protocol.RecordID) (out []protocol.RecordID, err error) {
	err = statements.ReadAll(r, statements.Key(id[:]), func(_ []byte, l listed) bool { out = append(out, l.Record); return true })
	return out, err
}

// AmendmentOf reads the last request to amend a record.
func AmendmentOf(r state.Reader, id protocol.RecordID) (Amendment, bool, error) {
	return amendments.Read(r, amendments.Key(id[:]))
}

// must is a query's answer while executing; a failure is Broken.
func must[T any](v T, err error) T {
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	return v
}

func mustStatements(c *exec.Context, id protocol.RecordID) []protocol.RecordID {
	return must(Statements(c.Tx, id))
}

func mustClosed(c *exec.Context, id protocol.RecordID, row RecordRow) bool {
	return must(Closed(c.Tx, Named{ID: id, Row: row}))
}
