package consent

import (
	"fmt"
	"slices"

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
	return first(checkAccesses(r), checkDelegations(r), checkSessions(r), checkCards(r))
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
	if row.State == StateActive && !row.By.IsZero() {
		by, ok, err := Delegation(r, journal, row.By)
		if err != nil || !ok || row.NotAfter > by.NotAfter || !slices.Equal(row.Within, by.Labels) {
			return first(err, fmt.Errorf("contract %s goes beyond the delegation that granted it", id))
		}
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
		byContract := row.Reader.Kind == protocol.ActorMember || row.Reader.Kind == protocol.ActorPractitioner
		if err != nil || !queued || byContract == (len(row.Grounds) == 0) {
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

// checkDelegations: each is queued to end, and stays within the one that it comes from.
func checkDelegations(r state.Reader) error {
	n := 0
	var fault error
	err := delegations.ReadAll(r, delegations.Key(), func(key []byte, row DelegationRow) bool {
		n++
		in := protocol.JournalID(key[1:])
		_, queued, err := delegationEnds.Read(r, delegationEnds.Key(exec.Uint64(row.NotAfter), in[:], row.Key[:]))
		fault = err
		if err == nil && (!queued || protocol.PublicKey(key[1+16:]) != row.Key || row.Depth == 0 || row.Depth > protocol.DelegationDepthMax) {
			fault = fmt.Errorf("delegate %s of journal %s is not queued to end, or too deep", row.Key, in)
		}
		if fault == nil && !row.Parent.IsZero() {
			parent, ok, err := Delegation(r, in, row.Parent)
			if err != nil || !ok || parent.Depth+1 != row.Depth || !parent.mayGive(row, max(row.NotBefore, parent.NotBefore)) {
				fault = first(err, fmt.Errorf("delegate %s of journal %s has more than the one who delegated", row.Key, in))
			}
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	if queued, err := rows(r, delegationEnds); err != nil || queued != n {
		return first(err, fmt.Errorf("%d delegations, and %d are queued to end", n, queued))
	}
	return nil
}

// checkSessions: each is queued for its review until that is done or missed.
func checkSessions(r state.Reader) error {
	awaited := 0
	var fault error
	err := sessions.ReadAll(r, sessions.Key(), func(key []byte, row SessionRow) bool {
		in, who := protocol.JournalID(key[1:]), protocol.PractitionerID(key[1+16:])
		_, queued, err := reviews.Read(r, reviewKey(row, in, who))
		if queued {
			awaited++
		}
		if waits := row.Reviewed == 0 && !row.Missed; err != nil || queued != waits || row.Accesses == 0 || (row.Reviewed == 0) != (row.Verdict == 0) {
			fault = first(err, fmt.Errorf("session %s: queued for review: %v, reviewed at %d", row.ID, queued, row.Reviewed))
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	if queued, err := rows(r, reviews); err != nil || queued != awaited {
		return first(err, fmt.Errorf("%d sessions wait for a review and %d are queued", awaited, queued))
	}
	return nil
}

// checkCards: cards and journals name each other.
func checkCards(r state.Reader) error {
	n, named := 0, 0
	var fault error
	err := cards.ReadAll(r, cards.Key(), func(key []byte, row CardRow) bool {
		n++
		id, ok, err := HasCard(r, row.Journal)
		if err != nil || !ok || id != protocol.CardID(key[1:]) {
			fault = first(err, fmt.Errorf("card %x is not its journal's", key[1:]))
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return first(err, fault)
	}
	err = cardNames.ReadAll(r, cardNames.Key(), func([]byte, cardOf) bool { named++; return true })
	if err == nil && named != n {
		err = fmt.Errorf("%d cards and %d journals with one", n, named)
	}
	return err
}
