package sim

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// replica is a node's ledger behind a bad network, on a bad disk. Its engine keeps the blocks that arrived.
type replica struct {
	dice
	t     testing.TB
	name  string
	l     *ledger.Ledger
	m     *state.Memory // its disk; nil: Pebble in dir
	store state.Store
	dir   string
	held  *ledger.View // a reader that takes its time
}

func newReplica(d dice, t testing.TB, name, dir string) *replica {
	r := &replica{dice: d, t: t, name: name, dir: dir}
	if dir == "" {
		r.m = state.NewMemory()
	}
	r.start()
	return r
}

func (r *replica) fatalf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("%s at height %d: %s", r.name, r.l.Head().Height, fmt.Sprintf(format, args...))
}

func (r *replica) start() {
	r.store = r.m
	if r.m == nil {
		var err error
		if r.store, err = state.OpenPebble(r.dir, state.PebbleOptions{CacheBytes: 1 << 20, MemtableBytes: 1 << 20}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.l = open(r.t, r.store)
}

// stop ends the process, losing what is not durable if the power goes.
func (r *replica) stop(power bool) {
	r.release()
	if r.m != nil {
		r.m = r.m.Crash(power)
	} else if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// release looks once more at the view that was held: it must still be of one piece.
func (r *replica) release() {
	if r.held == nil {
		return
	}
	s, err := r.held.Entry(r.held.Head.Size - 1)
	if err != nil {
		r.fatalf("a view held open: %v", err)
	}
	var seal protocol.Seal
	if err := protocol.Decode(s.Entry.Action, &seal); err != nil || seal.MapRoot != protocol.Hash(r.held.Root()) {
		r.fatalf("a view held open does not fit its seal: %v", err)
	}
	if err := r.held.Close(); err != nil {
		r.fatalf("%v", err)
	}
	r.held = nil
}

// event is one thing that happens to a replica.
func (r *replica) event(history []step) {
	switch r.n(24) {
	case 0:
		r.stop(r.n(2) == 0)
		r.start()
	case 1: // a block that is not its turn
		if r.begun() {
			b := history[r.n(len(history))].block
			if b.Height != r.l.Head().Height+1 {
				if _, err := r.l.Apply(b); !errors.Is(err, ledger.ErrOrder) {
					r.fatalf("block %d out of order: %v", b.Height, err)
				}
			}
		}
	case 2: // applied, and dropped
		if s, ok := r.turn(history); ok {
			if _, err := r.l.Apply(s.block); err != nil {
				r.fatalf("%v", err)
			}
		}
	case 3:
		r.failCommit(history)
	case 4:
		r.release()
		if r.begun() {
			var err error
			if r.held, err = r.l.View(); err != nil {
				r.fatalf("%v", err)
			}
		}
	default:
		for range 1 + r.n(4) {
			r.deliver(history)
		}
	}
}

func (r *replica) begun() bool { _, ok := r.l.Genesis(); return ok }

// turn is the next block for this replica, if it has been made; the genesis comes first.
func (r *replica) turn(history []step) (step, bool) {
	if !r.begun() {
		return step{}, false
	}
	next := r.l.Head().Height // history[0] is block 1
	if next >= uint64(len(history)) {
		return step{}, false
	}
	return history[next], true
}

func (r *replica) deliver(history []step) {
	s, ok := r.turn(history)
	if !ok {
		return
	}
	applied, err := r.l.Apply(r.regrouped(s.block))
	if err != nil {
		r.fatalf("%v", err)
	}
	r.read() // between Apply and Commit, readers see the block before
	if err := r.l.Commit(); err != nil {
		r.fatalf("%v", err)
	}
	if got := fmt.Sprint(slices.Concat(applied.Results...)); r.l.Head() != s.head || got != s.results {
		r.fatalf("head %+v instead of %+v\n%s\n%s", r.l.Head(), s.head, got, s.results)
	}
}

// regrouped is the block with its envelopes in other parcels, now and then: parcels are how envelopes travel, and mean nothing.
func (r *replica) regrouped(b ledger.Block) ledger.Block {
	all := slices.Concat(b.Parcels...)
	if r.dice == nil || len(all) == 0 {
		return b
	}
	switch r.n(6) {
	case 0:
		b.Parcels = [][]*protocol.Verified{all}
	case 1:
		b.Parcels = nil
		for i := range all {
			b.Parcels = append(b.Parcels, all[i:i+1])
		}
	}
	return b
}

// failCommit lets a commit fail, with the batch written or not; the process stops, as it must, and what it finds is one of the two.
func (r *replica) failCommit(history []step) {
	s, ok := r.turn(history)
	if !ok || r.m == nil {
		return
	}
	persist := r.n(2) == 0
	r.m.FailCommits(func(bool) (bool, error) { return persist, errors.New("disk") })
	if _, err := r.l.Apply(s.block); err != nil {
		r.fatalf("%v", err)
	}
	if err := r.l.Commit(); err == nil {
		r.fatalf("a failed commit was not told")
	}
	before := s.block.Height - 1
	r.stop(false)
	r.start()
	if at := r.l.Head().Height; persist && at != before+1 || !persist && at != before {
		r.fatalf("after a failed commit, written: %v", persist)
	}
}

// read looks around; nothing that is read may show in what follows.
func (r *replica) read() {
	if r.n(4) > 0 {
		return
	}
	r.l.NextDue()
	v, err := r.l.View()
	if err != nil {
		r.fatalf("%v", err)
	}
	defer v.Close()
	if v.Head.Size == 0 {
		return
	}
	s, err := v.Entry(uint64(r.n(int(v.Head.Size))))
	if err != nil {
		r.fatalf("%v", err)
	}
	if _, err := r.l.ProveState(protocol.StateKeyHead(s.Entry.Journal), v.Head.Size); err != nil {
		r.fatalf("%v", err)
	}
	if _, err := r.l.Log().Prove(s.Index, v.Head.Size); err != nil {
		r.fatalf("%v", err)
	}
}
