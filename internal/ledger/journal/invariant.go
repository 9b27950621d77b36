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
	return checkForgetting(r)
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
