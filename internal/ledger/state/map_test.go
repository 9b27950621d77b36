package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	size := rapid.SampledFrom([]int{30, 400, 2500}).Draw(t, "keys")
	ref := newModel()
	var floor uint64
	for range rapid.IntRange(1, 25).Draw(t, "blocks") {
		tx := m.Begin()
		before := maps.Clone(ref.now)
		drawWrites(t, tx, ref.now, size)
		check(t, "changed", tx.Changed(), !maps.Equal(before, ref.now))
		b := store.NewBatch()
		version := ref.last + uint64(rapid.IntRange(1, 3).Draw(t, "step"))
		if rapid.IntRange(0, 3).Draw(t, "flush") == 0 {
			m.dirty.versions = flushVersionsMax // this Stage writes page rows
		}
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
		if rapid.IntRange(0, 5).Draw(t, "reopen") == 0 {
			cache := m.cache
			must(t, m.Close())
			if m, err = OpenMap(store); err != nil {
				t.Fatalf("reopen: %v", err)
			}
			m.cache = cache
		}
		for range 3 {
			proveSomewhere(t, m, ref, floor, size)
		}
	}
	must(t, Check(store))
	for range 20 {
		proveSomewhere(t, m, ref, floor, size)
	}
}

// drawWrites makes scattered writes, and now and then one to a whole range of keys, so that pages split and merge.
func drawWrites(t *rapid.T, tx *Tx, now map[string]string, size int) {
	write := func(i int, value string) {
		key := fmt.Sprintf("k%d", i)
		if value == "" {
			tx.Delete([]byte(key))
			delete(now, key)
			return
		}
		tx.Set([]byte(key), []byte(value))
		now[key] = value
	}
	value := func() string { return rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "value") }
	if rapid.IntRange(0, 2).Draw(t, "bulk") == 0 {
		lo, v := rapid.IntRange(0, size).Draw(t, "lo"), value()
		hi := lo + rapid.IntRange(0, size).Draw(t, "many")
		for i := lo; i < hi; i++ {
			write(i, v)
		}
	}
	for range rapid.IntRange(0, 12).Draw(t, "writes") {
		write(rapid.IntRange(0, size).Draw(t, "key"), value())
	}
}

// proveSomewhere proves any key at any version that is not pruned.
func proveSomewhere(t *rapid.T, m *Map, ref *model, floor uint64, size int) {
	v := uint64(rapid.IntRange(0, int(ref.last)).Draw(t, "at"))
	key := fmt.Sprintf("k%d", rapid.IntRange(0, 2*size).Draw(t, "key"))
	if _, _, _, err := m.Prove([]byte(key), v); v < floor && errors.Is(err, ErrPruned) {
		return
	}
	at := v
	for ref.versions[at] == nil {
		at--
	}
	proveAgainst(t, m, key, v, ref.versions[at])
}

// TestSameValueIsNoChange: writing what is there already leaves no trace but the version.
func TestSameValueIsNoChange(t *testing.T) {
	for _, long := range []int{1, valueKeptBytesMax + 1} { // values kept in memory and not
		s := NewMemory()
		m, err := OpenMap(s)
		must(t, err)
		kv := map[string]string{}
		for i := range 100 {
			kv[fmt.Sprintf("k%d", i)] = strings.Repeat("v", long)
		}
		writeVersion(t, s, m, kv, false)
		root, before := m.head.Load().meta.root, rowsOf(t, s, []byte{rowMeta + 1}, nil)
		kv["absent"] = ""
		writeVersion(t, s, m, kv, false)
		check(t, "root", m.head.Load().meta.root, root)
		check(t, "version", m.Version(), 2)
		if after := rowsOf(t, s, []byte{rowMeta + 1}, nil); !slices.Equal(before, after) {
			t.Errorf("rows changed")
		}
		must(t, Check(s))
	}
}
