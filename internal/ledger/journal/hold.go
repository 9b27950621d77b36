package journal

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Hold is a member's reason to keep its own contributions for a while. It goes when it ends: the log keeps that it was.
type Hold struct {
	_       struct{} `cbor:",toarray"`
	Member  protocol.MemberID
	Records []protocol.RecordID // empty: all
	Until   uint64              // UTC ms
	Code    protocol.HoldCode
	Set     uint64 // UTC ms
	Height  uint64 // of the block that set it
	Cause   protocol.ActionID
	Index   uint16
	Salt    [16]byte
}

// keeps tells whether the hold is over a record. What was erased before the hold was set it does not keep, though another hold still does: none is
// set while an erasure is under way, so that in one block the hold came first.
func (h Hold) keeps(n Named) bool {
	return h.Member == n.Row.Member && (len(h.Records) == 0 || slices.Contains(h.Records, n.ID)) && (n.Row.Erased == 0 || h.Height <= n.Row.Erased)
}

// NamedHold is a hold with its id.
type NamedHold struct {
	ID  protocol.HoldID
	Row Hold
}

// mark is a row that only stands there.
type mark struct {
	_ struct{} `cbor:",toarray"`
}

var (
	holds  = exec.Table[Hold]{Name: "holds", Prefix: 'l'}              // journal id ‖ hold id
	agenda = exec.Table[mark]{Name: "agenda of journals", Prefix: 'I'} // time ‖ kind ‖ journal id ‖ id
)

// The kinds of things on the agenda.
const (
	dueHold byte = 1 + iota
	dueAmendment
)

func agendaKey[N ~[16]byte](at uint64, kind byte, journal protocol.JournalID, id N) []byte {
	b := [16]byte(id)
	return agenda.Key(exec.Uint64(at), []byte{kind}, journal[:], b[:])
}

func holdKey(journal protocol.JournalID, id protocol.HoldID) []byte {
	return holds.Key(journal[:], id[:])
}

// SetHold executes the action of a member, in an open journal. While an erasure is under way the journal's holds stay as they are, so that
// what it may take is settled by the journal's own order of entries.
func SetHold(c *exec.Context, by protocol.MemberID, a *protocol.SetHold, salt [16]byte) protocol.Reason {
	if len(mustPending(c)) > 0 {
		return protocol.ErasurePending
	}
	if a.Until <= c.Time || a.Until > c.Time+protocol.HoldMillisMax {
		return protocol.BadWindow
	}
	mine := 0
	for _, h := range must(Holds(c.Tx, c.Journal)) {
		if h.Row.Member == by {
			mine++
		}
	}
	if mine >= protocol.HoldsMemberMax {
		return protocol.TooManyHolds
	}
	for _, id := range a.Records {
		row, ok := records.Get(c, records.Key(id[:]))
		if !ok || row.Journal != c.Journal || row.Member != by || row.Erased != 0 {
			return protocol.NotTheAuthor
		}
	}
	id := protocol.DerivedHoldID(c.Cause, c.Index)
	holds.Put(c, holdKey(c.Journal, id), Hold{Member: by, Records: a.Records, Until: a.Until, Code: a.Code, Set: c.Time, Height: c.Height,
		Cause: c.Cause, Index: uint16(c.Index), Salt: salt})
	agenda.Put(c, agendaKey(a.Until, dueHold, c.Journal, id), mark{})
	return protocol.Accepted
}

// LiftHold executes the action: what only this hold kept goes from now on.
func LiftHold(c *exec.Context, by protocol.MemberID, a *protocol.LiftHold, salt [16]byte) protocol.Reason {
	row, ok := holds.Get(c, holdKey(c.Journal, a.Hold))
	if !ok || row.Member != by {
		return protocol.UnknownHold
	}
	if len(mustPending(c)) > 0 {
		return protocol.ErasurePending
	}
	row.Cause, row.Index, row.Salt = c.Cause, uint16(c.Index), salt
	endHold(c, c.Journal, a.Hold, row)
	return protocol.Accepted
}

// endHold takes a hold away, and sets going the erasure of what it kept.
func endHold(c *exec.Context, journal protocol.JournalID, id protocol.HoldID, row Hold) {
	holds.Delete(c, holdKey(journal, id))
	agenda.Delete(c, agendaKey(row.Until, dueHold, journal, id))
	kept := false
	heldBack.All(c, heldBack.Key(journal[:]), func([]byte, mark) bool { kept = true; return false })
	if !kept {
		return
	}
	head, _ := heads.Get(c, protocol.StateKeyHead(journal))
	begin(c, protocol.ReleaseID(id), Erasure{Journal: journal, Release: id, Height: c.Height, Time: c.Time, Seq: head.Count,
		Cause: row.Cause, Index: row.Index, Salt: row.Salt})
}

// Event is something that falls due in a journal, for its entry.
type Event struct {
	Journal protocol.JournalID
	Cause   protocol.ActionID
	Index   uint16
	Salt    [16]byte
	Type    protocol.ActionType
	Body    any
}

// Due carries out what has fallen due on the agenda, the earliest first, looking at no more than most things.
func Due(c *exec.Context, most int) (out []Event) {
	var keys [][]byte
	agenda.All(c, agenda.Key(), func(key []byte, _ mark) bool {
		if exec.ParseUint64(key[1:]) > c.Time || len(keys) == most {
			return false
		}
		keys = append(keys, slices.Clone(key))
		return true
	})
	for _, key := range keys {
		if e, ok := fallDue(c, key); ok {
			out = append(out, e)
		}
	}
	return out
}

func fallDue(c *exec.Context, key []byte) (Event, bool) {
	kind, journal, id := key[9], protocol.JournalID(key[10:26]), [16]byte(key[26:])
	if kind == dueHold {
		if len(must(pending(c.Tx, journal))) > 0 {
			return Event{}, false // it waits for the erasure to be through
		}
		row, ok := holds.Get(c, holdKey(journal, id))
		if !ok {
			exec.Break("journal: hold %x is due and has no row", id)
		}
		endHold(c, journal, id, row)
		return Event{journal, row.Cause, row.Index, row.Salt, protocol.EventHoldEnded, protocol.HoldEnded{Hold: id}}, true
	}
	row, ok := amendments.Get(c, amendments.Key(id[:]))
	if !ok || row.State != AmendmentAsked {
		exec.Break("journal: the amendment of record %x is due and was not asked for", id)
	}
	row.State = AmendmentOverdue
	amendments.Put(c, amendments.Key(id[:]), row)
	agenda.Delete(c, key)
	return Event{journal, row.Cause, row.Index, row.Salt, protocol.EventAmendmentOverdue, protocol.AmendmentOverdue{Record: id}}, true
}

// NextDue is when something falls due next, in UTC ms; what is under way is due at once.
func NextDue(r state.Reader) (at uint64, ok bool, err error) {
	err = underWay.ReadAll(r, underWay.Key(), func([]byte, ongoing) bool { ok = true; return false })
	if err != nil || ok {
		return 0, ok, err
	}
	err = agenda.ReadAll(r, agenda.Key(), func(key []byte, _ mark) bool {
		at, ok = exec.ParseUint64(key[1:]), true
		return false
	})
	return at, ok, err
}

// Holds lists the holds in a journal.
func Holds(r state.Reader, id protocol.JournalID) (out []NamedHold, err error) {
	err = holds.ReadAll(r, holds.Key(id[:]), func(key []byte, row Hold) bool {
		out = append(out, NamedHold{ID: protocol.HoldID(key[17:]), Row: row})
		return true
	})
	return out, err
}
