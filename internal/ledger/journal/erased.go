package journal

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// NamedErasure is an erasure with its id.
type NamedErasure struct {
	ID  protocol.ErasureID
	Row Erasure
}

// ErasureOf reads an erasure.
func ErasureOf(r state.Reader, id protocol.ErasureID) (Erasure, bool, error) {
	return erasures.Read(r, erasures.Key(id[:]))
}

// Attested tells whether a member has attested an erasure.
func Attested(r state.Reader, id protocol.ErasureID, by protocol.MemberID) (bool, error) {
	_, ok, err := r.Get(attestations.Key(id[:], by[:]))
	return ok, err
}

// Attesters lists the members that have attested an erasure.
func Attesters(r state.Reader, id protocol.ErasureID) (out []protocol.MemberID, err error) {
	err = attestations.ReadAll(r, attestations.Key(id[:]), func(key []byte, _ attested) bool {
		out = append(out, protocol.MemberID(key[17:]))
		return true
	})
	return out, err
}

// ToAttest lists the erasures that are through and that a member has not attested, at most most of those that are open anywhere.
func ToAttest(r state.Reader, by protocol.MemberID, most int) (out []NamedErasure, err error) {
	var ids []protocol.ErasureID
	err = unattested.ReadAll(r, unattested.Key(), func(key []byte, _ mark) bool {
		ids = append(ids, protocol.ErasureID(key[1:]))
		return true
	})
	for _, id := range ids {
		done, err := Attested(r, id, by)
		if err != nil {
			return nil, err
		}
		if done {
			continue
		}
		row, _, err := ErasureOf(r, id)
		if err != nil {
			return nil, err
		}
		if out = append(out, NamedErasure{id, row}); len(out) == most {
			break
		}
	}
	return out, err
}

// ErasedBy lists records whose files an erasure lets go, by id, those after the one given, at most most.
func ErasedBy(r state.Reader, id protocol.ErasureID, journal protocol.JournalID, after protocol.RecordID, most int) ([]Named, error) {
	prefix := gone.Key(journal[:], id[:])
	var ids []protocol.RecordID
	err := gone.ReadAll(r, prefix, func(key []byte, _ mark) bool {
		one := protocol.RecordID(key[33:])
		if after.IsZero() || slices.Compare(one[:], after[:]) > 0 {
			ids = append(ids, one)
		}
		return len(ids) < most
	})
	if err != nil {
		return nil, err
	}
	return named(r, ids)
}

// offShelf lists a journal's erased records, on hold or not.
func offShelf(r state.Reader, journal protocol.JournalID) ([]Named, error) {
	var ids []protocol.RecordID
	err := gone.ReadAll(r, gone.Key(journal[:]), func(key []byte, _ mark) bool { ids = append(ids, protocol.RecordID(key[33:])); return true })
	if err != nil {
		return nil, err
	}
	err = heldBack.ReadAll(r, heldBack.Key(journal[:]), func(key []byte, _ mark) bool { ids = append(ids, protocol.RecordID(key[17:])); return true })
	if err != nil {
		return nil, err
	}
	return named(r, ids)
}

// Gone is the erasure by which a record's file goes; zero for one whose file stays, be it that it is not erased or on hold.
func Gone(r state.Reader, n Named) (protocol.ErasureID, error) {
	if n.Row.Erased == 0 {
		return protocol.ErasureID{}, nil
	}
	tie, err := TieOf(r, n.ID)
	return tie.Erasure, err
}
