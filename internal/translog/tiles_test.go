package translog

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"filippo.io/torchwood"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
	"golang.org/x/mod/sumdb/tlog"
)

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

func FuzzTilePath(f *testing.F) {
	s := newKV()
	tree, _ := Open(s, prefix, 0, c2sp.EmptyRoot())
	b := s.batch()
	if _, _, err := tree.Stage(leavesFrom(0, 600), b); err != nil {
		f.Fatal(err)
	}
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
