package state

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
	"pgregory.net/rapid"
)

// wantScan is what a scan of [lo, hi) over kv gives; hi "" means no bound.
func wantScan(kv map[string]string, lo, hi string) (out []string) {
	for _, k := range slices.Sorted(maps.Keys(kv)) {
		if k >= lo && (hi == "" || k < hi) {
			out = append(out, k+"="+kv[k])
		}
	}
	return out
}

// TestTx drives a transaction with savepoints against a plain map.
func TestTx(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewMemory()
		m, err := OpenMap(s)
		must(t, err)
		key := func() string { return rapid.SampledFrom([]string{"", "a", "b", "ba", "c", "d", "e"}).Draw(t, "key") }
		kv := map[string]string{}
		for range rapid.IntRange(0, 6).Draw(t, "base") {
			kv[key()] = "base"
		}
		writeVersion(t, s, m, kv, false)
		base := maps.Clone(kv)
		tx := m.Begin()
		type mark struct {
			at int
			kv map[string]string
		}
		var marks []mark
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			k := key()
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0:
				tx.Delete([]byte(k))
				delete(kv, k)
			case 1:
				marks = append(marks, mark{tx.Mark(), maps.Clone(kv)})
			case 2:
				if n := len(marks); n > 0 {
					i := rapid.IntRange(0, n-1).Draw(t, "mark")
					tx.Revert(marks[i].at)
					kv, marks = maps.Clone(marks[i].kv), marks[:i]
				}
			case 3:
				v, ok, err := tx.Get([]byte(k))
				must(t, err)
				want, has := kv[k]
				if ok != has || string(v) != want {
					t.Fatalf("get %q: %q %v, want %q %v", k, v, ok, want, has)
				}
			case 4:
				lo, hi := key(), key()
				var bound []byte
				if hi != "" {
					bound = []byte(hi)
				}
				var got []string
				must(t, tx.Scan([]byte(lo), bound, func(k, v []byte) (bool, error) {
					got = append(got, string(k)+"="+string(v))
					return true, nil
				}))
				if want := wantScan(kv, lo, hi); !slices.Equal(got, want) {
					t.Fatalf("scan [%q, %q): %v, want %v", lo, hi, got, want)
				}
			default:
				v := rapid.SampledFrom([]string{"base", "x", "y"}).Draw(t, "value")
				tx.Set([]byte(k), []byte(v))
				kv[k] = v
			}
		}
		check(t, "changed", tx.Changed(), !maps.Equal(kv, base))
		b := s.NewBatch()
		root, err := m.Stage(tx, 2, b)
		must(t, err)
		check(t, "root", root, modelRoot(kv))
	})
}

// TestScanWhileWriting: the drain of a queue, which deletes what it is shown and adds what comes later.
func TestScanWhileWriting(t *testing.T) {
	s := NewMemory()
	m, err := OpenMap(s)
	must(t, err)
	writeVersion(t, s, m, map[string]string{"q1": "x", "q3": "x", "q5": "x"}, false)
	tx := m.Begin()
	tx.Set([]byte("q2"), []byte("y"))
	var seen []string
	must(t, tx.Scan([]byte("q"), []byte("r"), func(k, _ []byte) (bool, error) {
		seen = append(seen, string(k))
		tx.Delete(k)
		if string(k) == "q3" {
			tx.Set([]byte("q4"), []byte("z"))
			tx.Delete([]byte("q5"))
			tx.Set([]byte("q0"), []byte("behind"))
		}
		return true, nil
	}))
	if fmt.Sprint(seen) != "[q1 q2 q3 q4]" {
		t.Errorf("saw %v", seen)
	}
	seen = nil
	must(t, tx.Scan(nil, nil, func(k, _ []byte) (bool, error) {
		seen = append(seen, string(k))
		return false, nil
	}))
	if fmt.Sprint(seen) != "[q0]" {
		t.Errorf("left %v", seen)
	}
	boom := errors.New("boom")
	if err := tx.Scan(nil, nil, func(_, _ []byte) (bool, error) { return true, boom }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}

func TestTxOwnsItsBytes(t *testing.T) {
	s := NewMemory()
	m, err := OpenMap(s)
	must(t, err)
	tx := m.Begin()
	k, v := []byte("key"), []byte("value")
	tx.Set(k, v)
	k[0], v[0] = 'x', 'x'
	got, ok, err := tx.Get([]byte("key"))
	if err != nil || !ok || string(got) != "value" {
		t.Errorf("%q %v %v", got, ok, err)
	}
}

func TestRefusals(t *testing.T) {
	s := NewMemory()
	m, err := OpenMap(s)
	must(t, err)
	early := m.Begin()
	early.Set([]byte("late"), nil)
	for i := range 5 {
		writeVersion(t, s, m, map[string]string{"k": fmt.Sprint(i)}, false)
	}
	stage := func(tx *Tx, version uint64) error {
		_, err := m.Stage(tx, version, s.NewBatch())
		return err
	}
	if err := stage(early, 6); !errors.Is(err, ErrStale) {
		t.Errorf("stale: %v", err)
	}
	if _, _, err := early.Get([]byte("k")); !errors.Is(err, ErrStale) {
		t.Errorf("stale get: %v", err)
	}
	if err := early.Scan(nil, nil, nil); !errors.Is(err, ErrStale) {
		t.Errorf("stale scan: %v", err)
	}
	if err := stage(m.Begin(), 5); !errors.Is(err, ErrVersion) {
		t.Errorf("version: %v", err)
	}
	for _, kv := range [][2]int{{KeyBytesMax + 1, 1}, {1, ValueBytesMax + 1}} {
		tx := m.Begin()
		tx.Set(make([]byte, kv[0]), make([]byte, kv[1]))
		if err := stage(tx, 6); !errors.Is(err, ErrLimit) {
			t.Errorf("limit: %v", err)
		}
	}
	m.Advance() // nothing staged
	if _, _, _, err := m.Prove(nil, 6); !errors.Is(err, ErrFuture) || m.Version() != 5 {
		t.Errorf("future: %v, version %d", err, m.Version())
	}
	view, err := m.View()
	must(t, err)
	must(t, view.Close())
	must(t, view.Close())
	if _, _, err := view.Get(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed view: %v", err)
	}
	must(t, m.Close())
	if _, _, err := m.Get(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed map: %v", err)
	}
	if _, err := m.View(); !errors.Is(err, ErrClosed) {
		t.Errorf("view of a closed map: %v", err)
	}
}

// TestPrune: pruning goes up to the last version with page rows, a bounded number of rows a call, and leaves a sound store.
func TestPrune(t *testing.T) {
	s := NewMemory()
	m, err := OpenMap(s)
	must(t, err)
	roots := map[uint64]smt.Hash{}
	for v := uint64(1); v <= 3000; v++ {
		roots[v] = writeVersion(t, s, m, map[string]string{fmt.Sprintf("k%d", v%50): fmt.Sprint(v)}, false)
	}
	prune := func(from uint64) (floor uint64) {
		b := s.NewBatch()
		must(t, m.Prune(from, b))
		must(t, b.Commit(false))
		floor, err := readFloor(s)
		must(t, err)
		return floor
	}
	if floor := prune(2000); floor == 0 || floor > pruneRowsMax {
		t.Errorf("first call pruned to %d", floor)
	}
	for prune(2000) < 2000 {
	}
	must(t, Check(s))
	if _, _, _, err := m.Prove([]byte("k1"), 1999); err != nil {
		t.Errorf("a head from before the pruning still reads it: %v", err)
	}
	writeVersion(t, s, m, map[string]string{"k1": "new"}, false)
	if _, _, _, err := m.Prove([]byte("k1"), 1999); !errors.Is(err, ErrPruned) {
		t.Errorf("pruned: %v", err)
	}
	value, ok, p, err := m.Prove([]byte("k1"), 2000)
	if err != nil || !ok || p.Verify(roots[2000], []byte("k1"), value) != nil || string(value) != "1951" {
		t.Errorf("oldest kept: %q %v %v", value, ok, err)
	}
	for range 10 {
		prune(1 << 60)
	}
	floor, err := readFloor(s)
	if must(t, err); floor != m.dirty.flushed || floor < 3000-flushVersionsMax {
		t.Errorf("pruned to %d, pages of %d", floor, m.dirty.flushed)
	}
	must(t, Check(s))
	m, err = OpenMap(s)
	must(t, err)
	check(t, "version", m.Version(), 3001)
}
