package consent

import (
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Check holds the tables against each other: the queue of ends against the active contracts, the deadlines against the accesses, uses
// against their limits; and every policy against the compiler.
func Check(r state.Reader, cache *Cache) error {
	active, kept := 0, 0
	var last protocol.JournalID
	var fault error
	err := contracts.ReadAll(r, contracts.Key(), func(key []byte, row ContractRow) bool {
		journal, id := protocol.JournalID(key[1:17]), protocol.ContractID(key[17:])
		if kept++; journal != last {
			last, kept = journal, 1
		}
		if row.State == StateActive {
			active++
		}
		fault = checkContract(r, cache, journal, id, row)
		if fault == nil && kept > contractsKeptMax {
			fault = fmt.Errorf("journal %s keeps more than %d contracts", journal, contractsKeptMax)
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	if queued, err := rows(r, ends); err != nil || queued != active {
		return first(err, fmt.Errorf("%d contracts are active and %d are queued to end", active, queued))
	}
	return checkAccesses(r)
}

func checkContract(r state.Reader, cache *Cache, journal protocol.JournalID, id protocol.ContractID, row ContractRow) error {
	_, queued, err := ends.Read(r, ends.Key(exec.Uint64(row.NotAfter), journal[:], id[:]))
	switch {
	case err != nil:
		return err
	case queued != (row.State == StateActive), row.State < StateActive || row.State > StateRevoked, (row.Over == 0) != (row.State == StateActive):
		return fmt.Errorf("contract %s is in state %d, over at %d, queued to end: %v", id, row.State, row.Over, queued)
	case row.UsesMax > 0 && row.Uses > row.UsesMax:
		return fmt.Errorf("contract %s was used %d times of %d", id, row.Uses, row.UsesMax)
	}
	_, err = cache.Compile(row.Policy)
	return err
}

func checkAccesses(r state.Reader) error {
	n := 0
	var fault error
	err := accesses.ReadAll(r, accesses.Key(), func(key []byte, row AccessRow) bool {
		n++
		id := protocol.AccessID(key[1:])
		_, queued, err := deadlines.Read(r, deadlines.Key(exec.Uint64(row.Deadline), id[:]))
		if err != nil || !queued || len(row.Grounds) == 0 {
			fault = first(err, fmt.Errorf("access %s has no deadline in the queue, or no grounds", id))
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	if queued, err := rows(r, deadlines); err != nil || queued != n {
		return first(err, fmt.Errorf("%d accesses and %d deadlines", n, queued))
	}
	return nil
}

func rows(r state.Reader, t exec.Table[endRow]) (n int, err error) {
	err = t.ReadAll(r, t.Key(), func([]byte, endRow) bool { n++; return true })
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
