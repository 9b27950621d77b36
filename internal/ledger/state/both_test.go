package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// TestBothHalvesMakeTheSameRows: however the two halves of a large change are run, every row is the same. Values, deletions (so that pages
// become buckets again), flushes and pruning are in it.
func TestBothHalvesMakeTheSameRows(t *testing.T) {
	var calls int
	ways := map[string]Both{
		"one after the other": nil,
		"at the same time": func(one, two func()) {
			var other sync.WaitGroup
			other.Go(two)
			one()
			other.Wait()
		},
		"the second first": func(one, two func()) { calls++; two(); one() },
	}
	got := map[string][]string{}
	for name, both := range ways {
		dice := rand.New(rand.NewPCG(7, 7))
		store := NewMemory()
		m, err := OpenMap(store)
		must(t, err)
		m.RunBoth(both)
		for version := uint64(1); version <= 12; version++ {
			tx := m.Begin()
			for range []int{3000, 100, 2500}[version%3] {
				key := fmt.Appendf(nil, "k%d", dice.IntN(6000))
				if version > 6 && dice.IntN(3) > 0 {
					tx.Delete(key)
				} else {
					tx.Set(key, fmt.Appendf(nil, "v%d", dice.Uint64()))
				}
			}
			b := store.NewBatch()
			if version%4 == 0 {
				m.dirty.versions = flushVersionsMax
			}
			_, err := m.Stage(tx, version, b)
			must(t, err)
			if version > 5 {
				must(t, m.Prune(version-5, b))
			}
			must(t, b.Commit(true))
			m.Advance()
		}
		got[name] = rowsOf(t, store, nil, nil)
		must(t, m.Close())
	}
	if calls == 0 {
		t.Fatal("no change was large enough to be halved")
	}
	for name, rows := range got {
		if !slices.Equal(rows, got["one after the other"]) {
			t.Errorf("%s: other rows", name)
		}
	}
}
