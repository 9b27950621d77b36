package journal

import (
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// checkErased holds an erased record against its places: among those whose files go, under the erasure that its tie names, or else on hold.
func checkErased(r state.Reader, id protocol.RecordID, row RecordRow) error {
	tie, err := TieOf(r, id)
	if err != nil {
		return err
	}
	_, isGone, err := r.Get(gone.Key(row.Journal[:], tie.Erasure[:], id[:]))
	if err != nil {
		return err
	}
	_, isHeld, err := r.Get(heldBack.Key(row.Journal[:], id[:]))
	if err != nil {
		return err
	}
	if isGone == isHeld || isGone == tie.Erasure.IsZero() {
		return fmt.Errorf("erased record %s: among those gone: %v, on hold: %v, its erasure %s", id, isGone, isHeld, tie.Erasure)
	}
	if isGone {
		e, ok, err := ErasureOf(r, tie.Erasure)
		if err != nil || !ok || e.Journal != row.Journal {
			return fmt.Errorf("erased record %s names erasure %s: %w", id, tie.Erasure, cause(err))
		}
	}
	return nil
}

// checkForgetting holds the erasures, holds and amendments against their queues and counts.
func checkForgetting(r state.Reader) error {
	for _, check := range []func(state.Reader) error{checkErasures, checkGone, checkAgenda, checkStatements} {
		if err := check(r); err != nil {
			return err
		}
	}
	return nil
}

func checkErasures(r state.Reader) error {
	pending, open := 0, 0
	var fault error
	err := erasures.ReadAll(r, erasures.Key(), func(key []byte, e Erasure) bool {
		id := protocol.ErasureID(key[1:])
		taken, said := 0, 0
		err := gone.ReadAll(r, gone.Key(e.Journal[:], id[:]), func([]byte, mark) bool { taken++; return true })
		if err == nil {
			err = attestations.ReadAll(r, attestations.Key(id[:]), func([]byte, attested) bool { said++; return true })
		}
		at, queued, err2 := underWay.Read(r, underWay.Key(e.Journal[:], exec.Uint64(e.Seq)))
		queued = queued && at.Erasure == id
		_, awaited, err3 := r.Get(unattested.Key(id[:]))
		if queued {
			pending++
		}
		if awaited {
			open++
		}
		for _, err := range []error{err, err2, err3} {
			if err != nil {
				fault = err
				return false
			}
		}
		switch {
		case taken != int(e.Count) || said != int(e.Attested):
			fault = fmt.Errorf("erasure %s counts %d records and %d attestations; there are %d and %d", id, e.Count, e.Attested, taken, said)
		case queued == (e.Done != 0):
			fault = fmt.Errorf("erasure %s is through at %d, and under way: %v", id, e.Done, queued)
		case awaited != (e.Done != 0 && e.Count > 0 && e.Attested != e.Nodes):
			fault = fmt.Errorf("erasure %s has %d attestations of %d, and awaits more: %v", id, e.Attested, e.Nodes, awaited)
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	queued, err := count(r, underWay)
	if err != nil || queued != pending {
		return first(err, fmt.Errorf("%d erasures are under way and %d queued", pending, queued))
	}
	awaited, err := count(r, unattested)
	if err != nil || awaited != open {
		return first(err, fmt.Errorf("%d erasures await attestations and %d are listed", open, awaited))
	}
	return nil
}

// checkGone finds rows of erased records that are none.
func checkGone(r state.Reader) error {
	var fault error
	err := gone.ReadAll(r, gone.Key(), func(key []byte, _ mark) bool {
		row, ok, err := records.Read(r, records.Key(key[33:]))
		tie, err2 := TieOf(r, protocol.RecordID(key[33:]))
		if err != nil || err2 != nil || !ok || row.Erased == 0 || tie.Erasure != protocol.ErasureID(key[17:33]) {
			fault = fmt.Errorf("record %x is listed as erased: %w", key[33:], cause(first(err, err2)))
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	err = heldBack.ReadAll(r, heldBack.Key(), func(key []byte, _ mark) bool {
		row, ok, err := records.Read(r, records.Key(key[17:]))
		if err != nil || !ok || row.Erased == 0 {
			fault = fmt.Errorf("record %x is listed as held back: %w", key[17:], cause(err))
		}
		return fault == nil
	})
	return first(err, fault)
}

// checkAgenda holds holds and requests to amend against what is due.
func checkAgenda(r state.Reader) error {
	due := 0
	var fault error
	want := func(key []byte, what any) bool {
		due++
		if _, ok, err := agenda.Read(r, key); err != nil || !ok {
			fault = fmt.Errorf("%+v is not on the agenda: %w", what, cause(err))
		}
		return fault == nil
	}
	err := holds.ReadAll(r, holds.Key(), func(key []byte, h Hold) bool {
		return want(agendaKey(h.Until, dueHold, protocol.JournalID(key[1:17]), protocol.HoldID(key[17:])), h)
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	err = amendments.ReadAll(r, amendments.Key(), func(key []byte, a Amendment) bool {
		return a.State != AmendmentAsked || want(agendaKey(a.Due, dueAmendment, a.Journal, protocol.RecordID(key[1:])), a)
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	if n, err := count(r, agenda); err != nil || n != due {
		return first(err, fmt.Errorf("%d things are due and %d on the agenda", due, n))
	}
	return nil
}

// checkStatements holds statements and versions against what they are about.
func checkStatements(r state.Reader) error {
	listedOnes := 0
	var fault error
	err := statements.ReadAll(r, statements.Key(), func(key []byte, l listed) bool {
		listedOnes++
		row, ok, err := records.Read(r, records.Key(l.Record[:]))
		tie, err2 := TieOf(r, l.Record)
		if err != nil || err2 != nil || !ok || row.Relation != protocol.RelationStatement || tie.About != protocol.RecordID(key[1:17]) {
			fault = fmt.Errorf("record %s is listed as a statement: %w", l.Record, cause(first(err, err2)))
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	err = records.ReadAll(r, records.Key(), func(key []byte, row RecordRow) bool {
		if row.Relation == protocol.RelationNone {
			return true
		}
		id := protocol.RecordID(key[1:])
		tie, err := TieOf(r, id)
		if err != nil {
			fault = err
			return false
		}
		about, ok, err := Record(r, tie.About)
		if err != nil || !ok || about.Journal != row.Journal || about.Label != row.Label {
			fault = fmt.Errorf("record %s is about %s: %w", id, tie.About, cause(err))
			return false
		}
		if row.Relation == protocol.RelationStatement {
			listedOnes--
			return true
		}
		other, err := TieOf(r, tie.About)
		if err != nil || other.Next != id || about.Member != row.Member {
			fault = fmt.Errorf("record %s does not supersede %s: %w", id, tie.About, cause(err))
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	if listedOnes != 0 {
		return fmt.Errorf("statements and their list differ by %d", listedOnes)
	}
	return nil
}

func count[V any](r state.Reader, t exec.Table[V]) (n int, err error) {
	err = t.ReadAll(r, t.Key(), func([]byte, V) bool { n++; return true })
	return n, err
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
