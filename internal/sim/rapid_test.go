package sim

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// rolls makes rapid the source of chance, so that it shrinks what fails.
type rolls struct{ t *rapid.T }

func (r rolls) n(max int) int { return rapid.IntRange(0, max-1).Draw(r.t, "") }

// founded is a network with a key, to start each case from: memory stores are copied by Crash.
func founded(t testing.TB, n int, change func(*protocol.Genesis)) (*state.Memory, *ledgertest.World) {
	t.Helper()
	m := state.NewMemory()
	l, err := ledger.Open(m)
	if err != nil {
		t.Fatal(err)
	}
	w := ledgertest.Begin(t, l, n, change)
	w.Keygen()
	return m, w
}

func open(t testing.TB, s state.Store) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The ledger does what the model says, whatever it is sent, restarts and dropped blocks included, and its invariants hold.
func TestModel(t *testing.T) {
	base, w := founded(t, 3, func(g *protocol.Genesis) { g.Params.QuotaMemberMinute, g.Params.QuotaJournalMinute = 4, 2 })
	rapid.Check(t, func(rt *rapid.T) {
		store := base.Crash(false)
		world := *w
		world.L, world.Members = open(t, store), nil
		for _, m := range w.Members {
			who := *m
			world.Members = append(world.Members, &who)
		}
		town := newTown(rolls{rt}, &world, false)
		town.T = failing{t, rt}
		for range rapid.IntRange(1, 12).Draw(rt, "blocks") {
			switch town.n(6) {
			case 0:
				store = store.Crash(false)
				town.L = open(t, store)
			case 1: // a block that is never committed
				before := town.L.Head()
				parcel := []*protocol.Verified{town.envelope()}
				if _, err := town.L.Apply(ledger.Block{Height: before.Height + 1, Time: town.Time, Parcels: [][]*protocol.Verified{parcel}}); err != nil {
					rt.Fatal(err)
				}
				if town.L.Head() != before {
					rt.Fatal("applying moved the head")
				}
			}
			town.next()
		}
		if err := town.L.Check(); err != nil {
			rt.Fatal(err)
		}
	})
}

// failing sends a world's failures to rapid.
type failing struct {
	testing.TB
	rt *rapid.T
}

func (f failing) Fatal(args ...any)                 { f.rt.Fatal(args...) }
func (f failing) Fatalf(format string, args ...any) { f.rt.Fatalf(format, args...) }
