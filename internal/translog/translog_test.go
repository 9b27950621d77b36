package translog

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"filippo.io/torchwood"
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

// big is a log with three levels of tiles.
var big = sync.OnceValues(func() (*kv, *Tree) {
	s := newKV()
	tree, err := Open(s, prefix, 0, c2sp.EmptyRoot())
	if err != nil {
		panic(err)
	}
	for _, size := range []uint64{1, 60_000, 65_536, 65_537, 140_000, 140_010} {
		b := s.batch()
		if _, _, err := tree.Stage(leavesFrom(tree.Size(), size), b); err != nil {
			panic(err)
		}
		b.commit()
		tree.Advance()
	}
	return s, tree
})

// tiles lists every tile of a tree of some size as the specification has it.
func tilePaths(size uint64) (paths []string) {
	for _, tile := range tlog.NewTiles(tileHeight, 0, int64(size)) {
		paths = append(paths, torchwood.TilePath(tile))
		if tile.L == 0 {
			tile.L = -1
			paths = append(paths, torchwood.TilePath(tile))
		}
	}
	return paths
}

// Someone else's client reads our tiles: torchwood's, over files, checks every
// entry against the root; and x/mod's tile reader proves from them.
func TestTorchwoodClientReadsOurTiles(t *testing.T) {
	_, tree := big()
	files := fstest.MapFS{}
	for _, size := range []uint64{140_010, 65_537, 140_000} {
		for _, path := range tilePaths(size) {
			data, err := tree.Tile(path)
			if err != nil {
				t.Fatal(err)
			}
			files[path] = &fstest.MapFile{Data: data}
		}
	}
	tiles, err := torchwood.NewTileFS(files)
	if err != nil {
		t.Fatal(err)
	}
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{65_537, 140_000, 140_010} {
		root, err := tree.RootAt(size)
		if err != nil {
			t.Fatal(err)
		}
		th := tlog.Tree{N: int64(size), Hash: root}
		count := uint64(0)
		for i, entry := range client.AllEntries(context.Background(), th, 0) {
			if want := leafAt(uint64(i)); !bytes.Equal(entry, want[:]) {
				t.Fatalf("entry %d differs", i)
			}
			count++
		}
		if client.Err() != nil || count != size {
			t.Fatalf("%d of %d entries: %v", count, size, client.Err())
		}
		entry, proof, err := client.Entry(context.Background(), th, 65_000)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := tree.Prove(65_000, size)
		if err != nil || !slices.Equal(ours, []Hash(proof)) {
			t.Fatalf("our proof differs from torchwood's: %v", err)
		}
		if err := c2sp.CheckInclusion(c2sp.LeafHash(entry), 65_000, size, root, ours); err != nil {
			t.Fatal(err)
		}
	}
	// A flipped bit in any tile is seen by them.
	for _, path := range []string{"tile/entries/x000/x000/000", "tile/0/000", "tile/1/000", "tile/2/000.p/2"} {
		data, ok := files[path]
		if !ok {
			continue
		}
		data.Data[5] ^= 1
		for range client.AllEntries(context.Background(), tlog.Tree{N: 140_010, Hash: tree.Root()}, 0) {
		}
		if client.Err() == nil {
			t.Errorf("torchwood does not see a flipped bit in %s", path)
		}
		data.Data[5] ^= 1
	}
}

func TestTilePaths(t *testing.T) {
	_, tree := big() // 140,010: 546 full tiles and 234, two tiles of level 1 and 34, 2 of level 2
	for path, want := range map[string]int{
		"tile/0/000":              256 * 32,
		"tile/0/000.p/17":         17 * 32,
		"tile/0/546.p/234":        234 * 32,
		"tile/0/546.p/1":          32,
		"tile/1/001":              256 * 32,
		"tile/1/002.p/34":         34 * 32,
		"tile/2/000.p/2":          2 * 32,
		"tile/entries/545":        256 * 34,
		"tile/entries/546.p/234":  234 * 34,
		"tile/entries/000.p/255":  255 * 34,
		"tile/0/546.p/235":        -1,
		"tile/0/546":              -1,
		"tile/0/547.p/1":          -1,
		"tile/1/002":              -1,
		"tile/2/000.p/3":          -1,
		"tile/3/000.p/1":          -1,
		"tile/63/000":             -1,
		"tile/0/x999/x999/999":    -1,
		"tile/entries/x001/000":   -1,
		"tile/64/000":             -2,
		"tile/-1/000":             -2,
		"tile/data/000":           -2,
		"tile/0/00":               -2,
		"tile/0/000.p/0":          -2,
		"tile/0/000.p/256":        -2,
		"tile/0/000.p/01":         -2,
		"tile/00/000":             -2,
		"tile/0/x000/000":         -2,
		"tile/0/../0/000":         -2,
		"/tile/0/000":             -2,
		"tile/0/000/":             -2,
		"tile/8/0/000":            -2,
		"":                        -2,
		"tile/0/" + nines(20):     -2,
		strings.Repeat("t", 9999): -2,
	} {
		data, err := tree.Tile(path)
		switch want {
		case -1:
			if err != (ErrNotFound{What: path, Size: 140_010}) {
				t.Errorf("%q: %v, want not found", path, err)
			}
		case -2:
			if !errors.As(err, new(ErrTilePath)) {
				t.Errorf("%.40q: %v, want a bad path", path, err)
			}
		default:
			if err != nil || len(data) != want {
				t.Errorf("%q: %d bytes, want %d, %v", path, len(data), want, err)
			}
		}
	}
}

func nines(n int) string { return strings.Repeat("x999/", n) + "999" }

// Every bit of every stored value matters, and Check names the tile.
func TestCheckNamesTheBadTile(t *testing.T) {
	s, tree := big()
	size, root := tree.Head()
	if err := Check(s, prefix, size, root); err != nil {
		t.Fatal(err)
	}
	l := layout{r: s, prefix: prefix}
	for _, tc := range []struct {
		key  []byte
		tile string
	}{
		{l.tileKey(0, 0), "tile/entries/000"},
		{l.tileKey(0, 545), "tile/entries/545"},
		{l.tileKey(1, 0), "tile/1/000"},
		{l.tileKey(1, 1), "tile/1/001"},
		{l.edgeKey(0), "tile/entries/546.p/234"},
		{l.edgeKey(224), "tile/entries/546.p/234"},
	} {
		good, ok := s.data[string(tc.key)]
		if !ok {
			t.Fatalf("no value for %s", tc.tile)
		}
		for name, bad := range map[string][]byte{
			"first bit": flip(good, 0), "middle": flip(good, len(good)/2), "last": flip(good, len(good)-1),
			"truncated": good[:len(good)-1], "empty": {}, "missing": nil,
		} {
			if s.data[string(tc.key)] = bad; bad == nil {
				delete(s.data, string(tc.key))
			}
			var e ErrCorrupt
			if err := Check(s, prefix, size, root); !errors.As(err, &e) || e.Tile != tc.tile {
				t.Errorf("%s, %s: %v", tc.tile, name, err)
			}
		}
		s.data[string(tc.key)] = good
	}
	// A tile forged with a fitting subtree hash betrays itself one level up.
	key := string(l.tileKey(0, 7))
	good := s.data[key]
	forged := make([]Hash, tileWidth)
	b := s.batch()
	if err := l.writeTile(b, 0, 7, forged, newPyramid(hashLeaves(forged)).top()); err != nil {
		t.Fatal(err)
	}
	b.commit()
	var e ErrCorrupt
	if err := Check(s, prefix, size, root); !errors.As(err, &e) || e.Tile != "tile/1/000" || !strings.Contains(e.Reason, "tile/entries/007") {
		t.Errorf("forged tile: %v", err)
	}
	s.data[key] = good
	other := root
	other[31] ^= 1
	if err := Check(s, prefix, size, other); !errors.As(err, &e) || e.Tile != "" {
		t.Errorf("wrong root: %v", err)
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// Damage is reported by the read that meets it; no proof comes of it.
func TestDamageIsSeenOnRead(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 600)
	key := string(tree.store.tileKey(0, 1))
	s.data[key] = flip(s.data[key], 100)
	if _, err := tree.Prove(300, 600); err != (ErrCorrupt{Tile: "tile/entries/001", Reason: "content does not hash to its subtree hash"}) {
		t.Errorf("Prove: %v", err)
	}
	if _, err := tree.Leaf(300); !errors.As(err, new(ErrCorrupt)) {
		t.Errorf("Leaf: %v", err)
	}
	if _, err := tree.Tile("tile/0/001"); !errors.As(err, new(ErrCorrupt)) {
		t.Errorf("Tile: %v", err)
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

func FuzzTilePath(f *testing.F) {
	s := newKV()
	tree, _ := Open(s, prefix, 0, c2sp.EmptyRoot())
	b := s.batch()
	tree.Stage(leavesFrom(0, 600), b)
	b.commit()
	tree.Advance()
	for _, path := range []string{"tile/0/000", "tile/entries/002.p/88", "tile/1/000.p/2", "tile/data/000", "tile/0/x001/000", "tile/63/000.p/255"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		tile, err := parseTilePath(path)
		if err == nil && torchwood.TilePath(tile) != path {
			t.Fatalf("%q is also %q", path, torchwood.TilePath(tile))
		}
		data, err := tree.Tile(path)
		if err == nil && len(data) == 0 {
			t.Fatalf("%q is empty", path)
		}
	})
}

func signingKey(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(label))
	return ed25519.NewKeyFromSeed(seed[:])
}

func ExampleTree() {
	store := newKV()
	tree, _ := Open(store, []byte("log/"), 0, c2sp.EmptyRoot())
	block := store.batch()
	size, root, _ := tree.Stage([][32]byte{{1}, {2}, {3}}, block)
	block.commit()
	tree.Advance()
	proof, _ := tree.Prove(1, size)
	leaf := [32]byte{2}
	fmt.Println(size, c2sp.CheckInclusion(c2sp.LeafHash(leaf[:]), 1, size, root, proof))
	// Output: 3 <nil>
}
