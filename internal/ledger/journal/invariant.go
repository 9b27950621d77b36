package journal

import (
	"errors"
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Check holds the tables against each other: each record is in an open journal and in the index under its label and place, and nothing
// else is indexed.
func Check(r state.Reader) error {
	n, indexed := 0, 0
	var fault error
	err := records.ReadAll(r, records.Key(), func(key []byte, row RecordRow) bool {
		n++
		id := protocol.RecordID(key[1:])
		if _, open, err := Get(r, row.Journal); err != nil || !open {
			fault = fmt.Errorf("record %s is of a journal that is not open: %w", id, cause(err))
		}
		at, ok, err := byLabel.Read(r, byLabel.Key(row.Journal[:], row.Label[:], exec.Uint64(row.Seq)))
		if row.Erased != 0 {
			n--
			if fault = checkErased(r, id, row); err != nil || ok {
				fault = fmt.Errorf("record %s is erased and in the index: %w", id, cause(err))
			}
			return fault == nil
		}
		if err != nil || !ok || at.Record != id {
			fault = fmt.Errorf("record %s is not in the index: %w", id, cause(err))
		}
		head, err := Head(r, row.Journal)
		if err != nil || row.Seq >= head.Count {
			fault = fmt.Errorf("record %s is entry %d of a journal with %d: %w", id, row.Seq, head.Count, cause(err))
		}
		return fault == nil
	})
	if err != nil {
		return err
	}
	if fault != nil {
		return fault
	}
	if err := byLabel.ReadAll(r, byLabel.Key(), func([]byte, listed) bool { indexed++; return true }); err != nil {
		return err
	}
	if indexed != n {
		return fmt.Errorf("%d records and %d rows in their index", n, indexed)
	}
	for _, check := range []func(state.Reader) error{checkOwn, checkForgetting, checkControl} {
		if err := check(r); err != nil {
			return err
		}
	}
	return nil
}

// checkOwn holds the counts of the patients' own records against the records.
func checkOwn(r state.Reader) error {
	there := map[protocol.JournalID]uint32{}
	err := records.ReadAll(r, records.Key(), func(_ []byte, row RecordRow) bool {
		if row.own() && row.Erased == 0 {
			there[row.Journal]++
		}
		return true
	})
	if err != nil {
		return err
	}
	var fault error
	err = owns.ReadAll(r, owns.Key(), func(key []byte, kept tally) bool {
		id := protocol.JournalID(key[1:])
		if kept.Count == 0 || there[id] != kept.Count {
			fault = fmt.Errorf("journal %s has %d own records and counts %d: %w", id, there[id], kept.Count, errContradiction)
		}
		delete(there, id)
		return fault == nil
	})
	if err == nil && fault == nil && len(there) > 0 {
		fault = fmt.Errorf("%d journals have own records and do not count them: %w", len(there), errContradiction)
	}
	return first(err, fault)
}

// checkControl holds journals, recoveries, their queue and devices against each other.
func checkControl(r state.Reader) error {
	open, queued := 0, 0
	var fault error
	err := journals.ReadAll(r, journals.Key(), func(key []byte, row Row) bool {
		id := protocol.JournalID(key[1:])
		n, err := checkJournal(r, id, row)
		open += n
		fault = err
		return fault == nil
	})
	if err == nil && fault == nil {
		err = dues.ReadAll(r, dues.Key(), func([]byte, mark) bool { queued++; return true })
	}
	if err == nil && fault == nil && open != queued {
		fault = fmt.Errorf("%d recoveries are open and %d are queued", open, queued)
	}
	return errors.Join(err, fault)
}

// checkJournal returns how many of a journal's recoveries are open.
func checkJournal(r state.Reader, id protocol.JournalID, row Row) (open int, err error) {
	all, err := Recoveries(r, id)
	if err != nil {
		return 0, err
	}
	due := uint64(0)
	for _, n := range all {
		_, queued, err := dues.Read(r, dueKey(n.Row.At, id, n.ID))
		if err != nil || queued != n.Row.open() {
			return 0, fmt.Errorf("recovery %s is %s, in the queue: %v: %w", n.ID, n.Row.State, queued, cause(err))
		}
		policy, err := protocol.ParseGuardianPolicy(n.Row.Policy)
		if err != nil || (n.Row.State == RecoveryWaiting) && !policy.Satisfied(n.Row.Approvals) {
			return 0, fmt.Errorf("recovery %s waits without the approvals it needs: %w", n.ID, cause(err))
		}
		if n.Row.open() {
			open++
		}
		if n.Row.State == RecoveryWaiting && (due == 0 || n.Row.At < due) {
			due = n.Row.At
		}
	}
	known, err := Devices(r, id)
	if err != nil {
		return 0, err
	}
	active := 0
	for _, d := range known {
		if d.Row.Revoked == 0 {
			active++
		}
		if d.Key == row.Controller {
			err = fmt.Errorf("a device of journal %s is its controller: %w", id, errContradiction)
		}
	}
	if due != row.Due || open > protocol.GuardiansMax || len(all) > recoveriesKeptMax || active > protocol.DevicesJournalMax || len(known) > devicesKeptMax {
		err = fmt.Errorf("journal %s is due at %d, its recoveries at %d; %d recoveries, %d devices: %w", id, row.Due, due, len(all), active, errContradiction)
	}
	return open, err
}

// Heads visits the heads of all journals that have entries, the constitution's among them, until fn returns false.
func Heads(r state.Reader, fn func(protocol.JournalID, protocol.Head) bool) error {
	return heads.ReadAll(r, heads.Key(), func(key []byte, h protocol.Head) bool { return fn(protocol.JournalID(key[1:]), h) })
}

var errContradiction = errors.New("the rows contradict each other")

// cause is the store's error, or else that the rows do not fit.
func cause(err error) error {
	if err == nil {
		return errContradiction
	}
	return err
}
