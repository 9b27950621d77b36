package ledger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/translog"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// View is the ledger at one committed block: state, log and head belong together, whatever is applied meanwhile. It reads tables through
// the families' query functions (registry.Member(v, …), journal.Get(v, …)). Close it soon; it holds back the reclaiming of space.
type View struct {
	*state.View
	Head Head
	l    *Ledger
}

// View opens a view of the head.
func (l *Ledger) View() (*View, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	v, err := l.states.View()
	if err != nil {
		return nil, err
	}
	return &View{View: v, Head: l.head, l: l}, nil
}

// Chain is the network's id.
func (v *View) Chain() string { return v.l.genesis.Chain }

// Params are the parameters in force.
func (v *View) Params() protocol.Params { return v.l.genesis.Params }

// Contracts is the cache of compiled contracts, for consent's queries.
func (v *View) Contracts() *consent.Cache { return v.l.contracts }

// Stored is an entry as the ledger keeps it.
type Stored struct {
	Index uint64
	Salt  [16]byte
	Raw   []byte // canonical bytes of Entry
	Entry protocol.Entry
}

// Leaf is the entry's commitment, as the log holds it.
func (s Stored) Leaf() protocol.Hash { return protocol.Commit(s.Salt, s.Raw) }

// Entry reads an entry of the view's log.
func (v *View) Entry(index uint64) (s Stored, err error) {
	if index >= v.Head.Size {
		return s, fmt.Errorf("ledger: entry %d of %d", index, v.Head.Size)
	}
	return v.l.entry(index)
}

func (l *Ledger) entry(index uint64) (s Stored, err error) {
	body, ok, err := l.store.Get(entryKey(index))
	if err != nil {
		return s, err
	}
	if !ok {
		return s, exec.Broken{Err: fmt.Errorf("ledger: entry %d is missing", index)}
	}
	return stored(index, body)
}

// stored takes an entry's row apart.
func stored(index uint64, body []byte) (s Stored, err error) {
	if len(body) < 16 {
		return s, exec.Broken{Err: fmt.Errorf("ledger: entry %d is cut off", index)}
	}
	s = Stored{Index: index, Salt: [16]byte(body), Raw: body[16:]}
	return s, protocol.Decode(s.Raw, &s.Entry)
}

// Entries visits the view's entries in the log's order, from index on, until fn returns false.
func (v *View) Entries(index uint64, fn func(Stored) bool) error {
	return v.l.store.Scan(entryKey(index), entryKey(v.Head.Size), func(key, body []byte) (bool, error) {
		s, err := stored(exec.ParseUint64(key[1:]), slices.Clone(body))
		return err == nil && fn(s), err
	})
}

// Journal visits a journal's entries in their order, from seq on, until fn returns false.
func (v *View) Journal(id protocol.JournalID, seq uint64, fn func(Stored) bool) error {
	prefix := append(append([]byte{}, rowJournal...), id[:]...)
	hi := append(append([]byte{}, prefix...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	return v.l.store.Scan(journalKey(id, seq), hi, func(_, value []byte) (bool, error) {
		index := exec.ParseUint64(value)
		if index >= v.Head.Size {
			return false, nil // written after the view was taken
		}
		s, err := v.l.entry(index)
		return err == nil && fn(s), err
	})
}

// Result is an envelope's result: for as long as the replay set remembers it, and afterwards if it was executed.
func (l *Ledger) Result(id protocol.ActionID) (protocol.Result, bool, error) {
	l.mu.RLock()
	r, ok := l.replay.results[id]
	l.mu.RUnlock()
	if ok {
		return r, true, nil
	}
	v, err := l.View()
	if err != nil {
		return protocol.Result{}, false, err
	}
	defer v.Close()
	first, _, ok, err := v.Located(id)
	if err != nil || !ok {
		return protocol.Result{}, false, err
	}
	s, err := v.Entry(first)
	return protocol.Result{ID: id, Height: s.Entry.Height, First: first}, err == nil, err
}

// StateProof is the value of a key in the state map at a seal, with its proof; absent keys are proven absent.
type StateProof struct {
	Value []byte
	OK    bool
	Proof smt.Proof
}

// ErrNoSeal says that the log has no seal just below a size: no block ended there.
var ErrNoSeal = errors.New("ledger: no block ends at this size")

// ProveState proves a key in the map as the seal at size-1 has it. The error wraps ErrNoSeal, or state.ErrPruned when that block is too
// long ago.
func (l *Ledger) ProveState(key []byte, size uint64) (p StateProof, err error) {
	if size == 0 || size > l.Head().Size {
		return p, fmt.Errorf("%w: size %d", ErrNoSeal, size)
	}
	s, err := l.entry(size - 1)
	if err != nil {
		return p, err
	}
	if s.Entry.Type != protocol.EventSeal {
		return p, fmt.Errorf("%w: size %d", ErrNoSeal, size)
	}
	p.Value, p.OK, p.Proof, err = l.states.Prove(key, s.Entry.Height+1)
	return p, err
}

// Log is the log of entries: proofs and tiles of any size up to the head's.
func (l *Ledger) Log() *translog.Tree { return l.log }

// NextDue is when something ends by itself next, in UTC ms: the node then asks for a block though nobody writes.
func (l *Ledger) NextDue() (at uint64, ok bool) {
	v, err := l.View()
	if err != nil {
		return 0, false
	}
	defer v.Close()
	at, ok, err = consent.NextEnd(v)
	if err != nil {
		return 0, false
	}
	if due, pending, err := journal.NextRecovery(v); err == nil && pending && (!ok || due < at) {
		at, ok = due, true
	}
	if due, any, err := journal.NextDue(v); err == nil && any && (!ok || due < at) {
		at, ok = due, true
	}
	if deadline, pending, err := keygen.NextDeadline(v); err == nil && pending && (!ok || deadline < at) {
		at, ok = deadline, true
	}
	return at, ok
}

// versionsKept is how many changed blocks back state can be proven; at 20 blocks a second, about a minute and a half.
const versionsKept = 2048

func (l *Ledger) prune(b *block) error {
	if version := b.in.Height + 1; version > versionsKept {
		return l.states.Prune(version-versionsKept, b.batch)
	}
	return nil
}
