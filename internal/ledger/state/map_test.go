package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
	"pgregory.net/rapid"
)

// model is a map and all its past, kept the plain way.
type model struct {
	now      map[string]string
	versions map[uint64]map[string]string // as of each version staged
	last     uint64
}

func newModel() *model {
	return &model{now: map[string]string{}, versions: map[uint64]map[string]string{0: {}}}
}

func (m *model) seal(version uint64) {
	m.last = version
	m.versions[version] = maps.Clone(m.now)
}

func modelRoot(kv map[string]string) smt.Hash {
	var leaves []smt.Leaf
	for k, v := range kv {
		leaves = append(leaves, smt.Leaf{Path: smt.Path([]byte(k)), Value: smt.Value([]byte(v))})
	}
	slices.SortFunc(leaves, func(a, b smt.Leaf) int { return bytes.Compare(a.Path[:], b.Path[:]) })
	return smt.Root(leaves)
}

// universe of keys small enough that keys come back and buckets split and merge.
func genKey(t *rapid.T) string { return fmt.Sprintf("k%d", rapid.IntRange(0, 400).Draw(t, "key")) }

func check[T comparable](t interface{ Fatalf(string, ...any) }, what string, got, want T) {
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func must(t interface{ Fatalf(string, ...any) }, err error) {
	if err != nil {
		t.Fatalf("%v", err)
	}
}

func proveAgainst(t *rapid.T, m *Map, key string, version uint64, kv map[string]string) {
	value, ok, p, err := m.Prove([]byte(key), version)
	must(t, err)
	want, has := kv[key]
	check(t, "has", ok, has)
	check(t, "value", string(value), want)
	b, err := p.MarshalBinary()
	must(t, err)
	p, err = smt.ParseProof(b)
	must(t, err)
	root := modelRoot(kv)
	if has {
		must(t, p.Verify(root, []byte(key), []byte(want)))
		if p.Verify(root, []byte(key), []byte(want+"x")) == nil || p.VerifyAbsent(root, []byte(key)) == nil {
			t.Fatalf("proof shows too much")
		}
	} else {
		must(t, p.VerifyAbsent(root, []byte(key)))
		if p.Verify(root, []byte(key), nil) == nil {
			t.Fatalf("proof of absence shows presence")
		}
	}
}

func TestModel(t *testing.T) { rapid.Check(t, modelTest) }

func modelTest(t *rapid.T) {
	store := NewMemory()
	m, err := OpenMap(store)
	must(t, err)
	m.cache = rapid.SampledFrom([]int{0, 20_000, 1 << 30}).Draw(t, "cache")
	ref := newModel()
	var floor uint64
	for range rapid.IntRange(1, 25).Draw(t, "blocks") {
		tx := m.Begin()
		before := maps.Clone(ref.now)
		big := rapid.IntRange(0, 9).Draw(t, "big") == 0
		n := rapid.IntRange(0, 12).Draw(t, "writes")
		if big {
			n = rapid.IntRange(100, 400).Draw(t, "many")
		}
		remove := rapid.Bool().Draw(t, "mostly delete")
		for range n {
			key := genKey(t)
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 != remove {
				tx.Delete([]byte(key))
				delete(ref.now, key)
			} else {
				value := fmt.Sprintf("v%d", rapid.IntRange(0, 5).Draw(t, "value"))
				tx.Set([]byte(key), []byte(value))
				ref.now[key] = value
			}
		}
		check(t, "changed", tx.Changed(), !maps.Equal(before, ref.now))
		b := store.NewBatch()
		version := ref.last + uint64(rapid.IntRange(1, 3).Draw(t, "step"))
		root, err := m.Stage(tx, version, b)
		must(t, err)
		if rapid.IntRange(0, 4).Draw(t, "drop") == 0 {
			must(t, b.Close())
			ref.now = before
			check(t, "root after drop", m.Root(), modelRoot(ref.now))
			continue
		}
		check(t, "staged root", root, modelRoot(ref.now))
		if rapid.IntRange(0, 3).Draw(t, "prune") == 0 {
			floor = max(floor, uint64(rapid.IntRange(0, int(ref.last)).Draw(t, "from")))
			must(t, m.Prune(floor, b))
		}
		must(t, b.Commit(false))
		m.Advance()
		ref.seal(version)
		check(t, "version", m.Version(), version)
		check(t, "root", m.Root(), root)
		if rapid.IntRange(0, 3).Draw(t, "flush") == 0 {
			m.dirty.versions = flushVersionsMax // the next Stage writes page rows
		}
		if rapid.IntRange(0, 5).Draw(t, "reopen") == 0 {
			cache := m.cache
			must(t, m.Close())
			if m, err = OpenMap(store); err != nil {
				t.Fatalf("reopen: %v", err)
			}
			m.cache = cache
		}
		for range 3 {
			v := uint64(rapid.IntRange(0, int(ref.last)).Draw(t, "at"))
			kv := ref.versions[v]
			for at := v; kv == nil; at-- {
				kv = ref.versions[at]
			}
			key := genKey(t)
			if _, _, _, err := m.Prove([]byte(key), v); v < floor && errors.Is(err, ErrPruned) {
				continue
			}
			proveAgainst(t, m, key, v, kv)
		}
	}
	must(t, Check(store))
	for v, kv := range ref.versions {
		if _, _, _, err := m.Prove([]byte("x"), v); v < floor && errors.Is(err, ErrPruned) {
			continue
		}
		for _, key := range []string{"k0", "k1", "k7", "k300", "absent"} {
			proveAgainst(t, m, key, v, kv)
		}
	}
}
