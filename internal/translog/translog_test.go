package translog

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

// kv is a store whose batches apply whole or not at all.
type kv struct {
	mu   sync.RWMutex
	data map[string][]byte
}

func newKV() *kv { return &kv{data: make(map[string][]byte)} }

func (s *kv) Get(key []byte) ([]byte, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.data[string(key)]
	return bytes.Clone(v), ok, nil
}

func (s *kv) batch() *batch { return &batch{store: s, sets: make(map[string][]byte)} }

type batch struct {
	store *kv
	sets  map[string][]byte
	bytes int
}

func (b *batch) Set(key, value []byte) error {
	b.sets[string(key)] = bytes.Clone(value)
	b.bytes += len(key) + len(value)
	return nil
}

func (b *batch) commit() {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	maps.Copy(b.store.data, b.sets)
}

var prefix = []byte("log/")

func leafAt(i uint64) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("leaf"), i))
}

func leavesFrom(from, to uint64) (leaves [][32]byte) {
	for i := from; i < to; i++ {
		leaves = append(leaves, leafAt(i))
	}
	return leaves
}

func open(t testing.TB, s Reader, size uint64, root Hash) *Tree {
	t.Helper()
	tree, err := Open(s, prefix, size, root)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// grow appends leaves up to size in one block.
func grow(t testing.TB, tree *Tree, s *kv, size uint64) {
	t.Helper()
	b := s.batch()
	got, root, err := tree.Stage(leavesFrom(tree.Size(), size), b)
	if err != nil {
		t.Fatal(err)
	}
	b.commit()
	tree.Advance()
	if n, r := tree.Head(); n != size || got != size || r != root {
		t.Fatalf("grew to %d, staged %d, want %d", n, got, size)
	}
}

// naive is x/mod's own way to keep a log: every hash in a slice.
type naive struct{ hashes []tlog.Hash }

func (n *naive) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = n.hashes[x]
	}
	return out, nil
}

func (n *naive) add(t testing.TB, i uint64) {
	leaf := leafAt(i)
	hs, err := tlog.StoredHashes(int64(i), leaf[:], n)
	if err != nil {
		t.Fatal(err)
	}
	n.hashes = append(n.hashes, hs...)
}

func (n *naive) root(t testing.TB, size uint64) Hash {
	if size == 0 {
		return c2sp.EmptyRoot()
	}
	root, err := tlog.TreeHash(int64(size), n)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// Every inclusion proof of every size, and every consistency proof, against
// the naive log; from one tree at its final size, so that older sizes are
// served too.
func TestAllProofsToSize600(t *testing.T) {
	const sizes = 600
	s, model := newKV(), &naive{}
	tree := open(t, s, 0, c2sp.EmptyRoot())
	roots := []Hash{c2sp.EmptyRoot()}
	for size := uint64(1); size <= sizes; size++ {
		model.add(t, size-1)
		grow(t, tree, s, size)
		roots = append(roots, model.root(t, size))
		if tree.Root() != roots[size] {
			t.Fatalf("root at %d", size)
		}
	}
	for size := uint64(1); size <= sizes; size++ {
		if root, err := tree.RootAt(size); err != nil || root != roots[size] {
			t.Fatalf("RootAt(%d): %v", size, err)
		}
		h := tree.head.Load()
		r := tree.reader(h) // shared here alone, to keep the test fast
		for index := range size {
			got, err := tlog.ProveRecord(int64(size), int64(index), r)
			if err != nil {
				t.Fatal(err)
			}
			leaf := leafAt(index)
			if err := c2sp.CheckInclusion(c2sp.LeafHash(leaf[:]), index, size, roots[size], got); err != nil {
				t.Fatal(err)
			}
			if index > 0 {
				p, err := tlog.ProveTree(int64(size), int64(index), r)
				if err != nil {
					t.Fatal(err)
				}
				if err := c2sp.CheckConsistency(checkpoint(index, roots[index]), checkpoint(size, roots[size]), p); err != nil {
					t.Fatal(err)
				}
			}
		}
		index := size * 7 % size
		p, err := tree.Prove(index, size)
		want, _ := tlog.ProveRecord(int64(size), int64(index), model)
		if err != nil || !slices.Equal(p, []Hash(want)) {
			t.Fatalf("Prove(%d, %d): %v", index, size, err)
		}
		older := size * 3 / 7
		c, err := tree.Consistency(older, size)
		if err != nil {
			t.Fatal(err)
		}
		if err := c2sp.CheckConsistency(checkpoint(older, roots[older]), checkpoint(size, roots[size]), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := Check(s, prefix, sizes, roots[sizes]); err != nil {
		t.Fatal(err)
	}
}

func checkpoint(size uint64, root Hash) c2sp.Checkpoint {
	return c2sp.Checkpoint{Origin: "anamnesis.example/log", Size: size, Root: root}
}

// Any way of cutting the log into blocks, dropping stages, crashing and
// reopening gives the tree that the naive log says, and a store that checks.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, model := newKV(), &naive{}
		tree := open(t, s, 0, c2sp.EmptyRoot())
		var size uint64
		for range rapid.IntRange(1, 12).Draw(rt, "blocks") {
			n := rapid.OneOf(rapid.IntRange(0, 5), rapid.IntRange(200, 300), rapid.IntRange(500, 1500)).Draw(rt, "leaves")
			b := s.batch()
			if rapid.IntRange(0, 3).Draw(rt, "drop") == 0 {
				var junk [][32]byte
				for i := range n + 3 {
					junk = append(junk, [32]byte{0xbb, byte(i)})
				}
				if _, _, err := tree.Stage(junk, s.batch()); err != nil {
					rt.Fatal(err)
				}
			}
			got, root, err := tree.Stage(leavesFrom(size, size+uint64(n)), b)
			if err != nil {
				rt.Fatal(err)
			}
			if before, _ := tree.Head(); before != size {
				rt.Fatalf("head moved to %d before Advance", before)
			}
			for range n {
				model.add(t, size)
				size++
			}
			if got != size || root != model.root(t, size) {
				rt.Fatalf("staged %d %x, want %d %x", got, root[:], size, model.root(t, size))
			}
			b.commit()
			if rapid.Bool().Draw(rt, "reopen") {
				tree = open(t, s, size, root) // crashed between commit and Advance
			} else {
				tree.Advance()
			}
		}
		if size == 0 {
			return
		}
		older := rapid.Uint64Range(1, size).Draw(rt, "older")
		index := rapid.Uint64Range(0, older-1).Draw(rt, "index")
		p, err := tree.Prove(index, older)
		if want, _ := tlog.ProveRecord(int64(older), int64(index), model); err != nil || !slices.Equal(p, []Hash(want)) {
			rt.Fatalf("Prove(%d, %d): %v", index, older, err)
		}
		if leaf, err := tree.Leaf(index); err != nil || leaf != leafAt(index) {
			rt.Fatalf("Leaf(%d): %v", index, err)
		}
		if err := Check(s, prefix, size, tree.Root()); err != nil {
			rt.Fatal(err)
		}
		if _, err := Open(s, prefix, older, model.root(t, older)); err != nil {
			rt.Fatalf("opening at %d of %d: %v", older, size, err)
		}
	})
}

// A crash loses the last batches: the log reopens at the size the store has,
// and grows on another way.
func TestLostTail(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 250)
	grow(t, tree, s, 255)
	size, root := tree.Head()
	durable := maps.Clone(s.data)
	grow(t, tree, s, 256)
	grow(t, tree, s, 259)
	grow(t, tree, s, 700)

	s.data = durable
	tree = open(t, s, size, root)
	grow(t, tree, s, 258)
	grow(t, tree, s, 600)
	model := &naive{}
	for i := range uint64(600) {
		model.add(t, i)
	}
	if tree.Root() != model.root(t, 600) {
		t.Fatal("root differs after the lost tail")
	}
	reopened := open(t, s, 600, tree.Root())
	if err := Check(s, prefix, 600, reopened.Root()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s, prefix, 700, root); !errors.As(err, new(ErrCorrupt)) {
		t.Errorf("a size the store does not have: %v", err)
	}
	if _, err := Open(s, prefix, 600, root); !errors.As(err, new(ErrCorrupt)) {
		t.Errorf("another root: %v", err)
	}
}

func TestEmptyStageChangesNothing(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	for _, at := range []uint64{0, 3, 256, 300} {
		grow(t, tree, s, at)
		b := s.batch()
		size, root, err := tree.Stage(nil, b)
		if err != nil || size != at || root != tree.Root() || len(b.sets) != 0 {
			t.Fatalf("at %d: size %d, %d writes, %v", at, size, len(b.sets), err)
		}
		tree.Advance()
		tree.Advance() // nothing staged
	}
}

type brokenWriter struct{ after int }

func (w *brokenWriter) Set(key, value []byte) error {
	if w.after--; w.after < 0 {
		return errors.New("disk full")
	}
	return nil
}

func TestFailedStageLeavesTheTree(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 100)
	size, root := tree.Head()
	for after := range 4 {
		if _, _, err := tree.Stage(leavesFrom(100, 101), s.batch()); err != nil { // dropped
			t.Fatal(err)
		}
		if _, _, err := tree.Stage(leavesFrom(100, 900), &brokenWriter{after}); err == nil {
			t.Fatal("no error from a full disk")
		}
		tree.Advance()
		if n, r := tree.Head(); n != size || r != root {
			t.Fatal("a failed stage moved the head")
		}
	}
	grow(t, tree, s, 900)
	if err := Check(s, prefix, 900, tree.Root()); err != nil {
		t.Fatal(err)
	}
}

// Small blocks must not rewrite what is there: 1 leaf a block costs a small
// multiple of its 32 bytes.
func TestWriteAmplification(t *testing.T) {
	for _, block := range []uint64{1, 10, 1000} {
		s := newKV()
		tree := open(t, s, 0, c2sp.EmptyRoot())
		total := 0
		for size := block; size <= 5000; size += block {
			b := s.batch()
			if _, _, err := tree.Stage(leavesFrom(size-block, size), b); err != nil {
				t.Fatal(err)
			}
			total += b.bytes
			b.commit()
			tree.Advance()
		}
		per := float64(total) / 5000
		t.Logf("%d leaves a block: %.1f bytes written a leaf, %.1f kept", block, per, float64(s.bytes())/5000)
		if per > 100 {
			t.Errorf("%d leaves a block: %.1f bytes written a leaf", block, per)
		}
	}
}

func (s *kv) bytes() (n int) {
	for k, v := range s.data {
		n += len(k) + len(v)
	}
	return n
}

// A dropped stage that filled tiles of several levels has not touched what the
// head's readers see.
func TestDroppedStageAcrossTiles(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 65_000)
	root := tree.Root()
	if _, _, err := tree.Stage(make([][32]byte, 2000), s.batch()); err != nil {
		t.Fatal(err)
	}
	for _, index := range []uint64{0, 300, 64_900, 64_999} {
		p, err := tree.Prove(index, 65_000)
		if err != nil {
			t.Fatal(err)
		}
		leaf := leafAt(index)
		if err := c2sp.CheckInclusion(c2sp.LeafHash(leaf[:]), index, 65_000, root, p); err != nil {
			t.Fatal(err)
		}
	}
	grow(t, tree, s, 66_000)
	if err := Check(s, prefix, 66_000, tree.Root()); err != nil {
		t.Fatal(err)
	}
}

// Readers prove against whatever head they see while the log grows.
func TestReadersWhileWriting(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 10)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for i := uint64(0); ; i++ {
				size, root := tree.Head()
				index := i * 31 % size
				p, err := tree.Prove(index, size)
				leaf := leafAt(index)
				if err == nil {
					err = c2sp.CheckInclusion(c2sp.LeafHash(leaf[:]), index, size, root, p)
				}
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for size := uint64(20); size < 3000; size += 37 {
		if _, _, err := tree.Stage(leavesFrom(size, size+100), s.batch()); err != nil { // dropped
			t.Fatal(err)
		}
		grow(t, tree, s, size)
	}
	close(done)
	readers.Wait()
}

func TestOutOfRange(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 5)
	check := func(name string, err error) {
		if !errors.As(err, new(ErrNotFound)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := tree.Prove(5, 5)
	check("Prove(5, 5)", err)
	_, err = tree.Prove(0, 6)
	check("Prove(0, 6)", err)
	_, err = tree.Prove(0, 0)
	check("Prove(0, 0)", err)
	_, err = tree.Prove(1<<63, 1<<63+1)
	check("Prove(huge)", err)
	_, err = tree.Consistency(3, 6)
	check("Consistency(3, 6)", err)
	_, err = tree.Consistency(4, 3)
	check("Consistency(4, 3)", err)
	_, err = tree.RootAt(6)
	check("RootAt(6)", err)
	_, err = tree.Leaf(5)
	check("Leaf(5)", err)
	if p, err := tree.Consistency(0, 5); err != nil || len(p) != 0 {
		t.Errorf("Consistency(0, 5): %v %v", p, err)
	}
	if root, err := tree.RootAt(0); err != nil || root != c2sp.EmptyRoot() {
		t.Errorf("RootAt(0): %v", err)
	}
	if _, err := Open(s, prefix, 1<<60, Hash{}); err != ErrFull {
		t.Errorf("Open(2^60): %v", err)
	}
	if err := Check(s, prefix, 1<<60, Hash{}); err != ErrFull {
		t.Errorf("Check(2^60): %v", err)
	}
}

// Two logs in one store do not touch.
func TestPrefixes(t *testing.T) {
	s := newKV()
	a, err := Open(s, []byte("a"), 0, c2sp.EmptyRoot())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(s, []byte("b"), 0, c2sp.EmptyRoot())
	if err != nil {
		t.Fatal(err)
	}
	grow(t, a, s, 300)
	grow(t, b, s, 700)
	for _, tree := range []*Tree{a, b} {
		size, root := tree.Head()
		if err := Check(s, tree.store.prefix, size, root); err != nil {
			t.Fatal(err)
		}
	}
}

func signingKey(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(label))
	return ed25519.NewKeyFromSeed(seed[:])
}
