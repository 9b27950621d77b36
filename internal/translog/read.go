package translog

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"filippo.io/torchwood"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
	"golang.org/x/mod/sumdb/tlog"
)

// Open reads the right edge of a log of the given size and holds it to
// wantRoot. The store may hold more than size leaves. It costs up to 255 tiles a
// level, tens of milliseconds. Error: [ErrCorrupt], or the store's.
func Open(r Reader, prefix []byte, size uint64, wantRoot [32]byte) (*Tree, error) {
	if size > c2sp.TreeSizeMax {
		return nil, ErrFull
	}
	t := &Tree{store: layout{r: r, prefix: bytes.Clone(prefix)}}
	h := &head{size: size}
	var err error
	if h.leaves, err = t.store.readEdge(size/tileWidth, int(size%tileWidth)); err != nil {
		return nil, err
	}
	for level := 1; level <= levelsMax; level++ {
		count := size >> (tileHeight * level)
		for n := count - count%tileWidth; n < count; n++ {
			_, nodes, err := t.store.readTile(level-1, n)
			if err != nil {
				return nil, err
			}
			h.upper[level-1] = append(h.upper[level-1], nodes.top())
		}
	}
	h.setPeaks()
	if root := h.root(); root != wantRoot {
		return nil, ErrCorrupt{Reason: fmt.Sprintf("size %d has root %x, want %x", size, root[:], wantRoot[:])}
	}
	t.head.Store(h)
	return t, nil
}

// Leaf returns the leaf at index.
func (t *Tree) Leaf(index uint64) ([LeafBytes]byte, error) {
	h := t.head.Load()
	if index >= h.size {
		return [LeafBytes]byte{}, ErrNotFound{What: fmt.Sprintf("leaf %d", index), Size: h.size}
	}
	leaves, err := t.entries(h, index/tileWidth)
	if err != nil {
		return [LeafBytes]byte{}, err
	}
	return leaves[index%tileWidth], nil
}

// entries returns the leaves of entries tile n as far as h has them.
func (t *Tree) entries(h *head, n uint64) ([]Hash, error) {
	if n == h.size/tileWidth {
		return h.leaves, nil
	}
	leaves, _, err := t.store.readTile(0, n)
	return leaves, err
}

// RootAt is the root of the first size leaves.
func (t *Tree) RootAt(size uint64) (Hash, error) {
	h := t.head.Load()
	if size > h.size {
		return Hash{}, ErrNotFound{What: fmt.Sprintf("size %d", size), Size: h.size}
	}
	if size == h.size {
		return h.root(), nil
	}
	return tlog.TreeHash(int64(size), t.reader(h))
}

// Prove returns the inclusion proof of the leaf at index in the tree of the
// given size, which may be any up to the head's (RFC 6962 section 2.1.1; check
// it with [c2sp.CheckInclusion]).
func (t *Tree) Prove(index, size uint64) ([]Hash, error) {
	h := t.head.Load()
	if size > h.size || index >= size {
		return nil, ErrNotFound{What: fmt.Sprintf("leaf %d of size %d", index, size), Size: h.size}
	}
	return tlog.ProveRecord(int64(size), int64(index), t.reader(h))
}

// Consistency returns the proof that the tree of size newer extends the one of
// size older (RFC 6962 section 2.1.2; check it with [c2sp.CheckConsistency]).
// It is empty when the sizes are equal or older is 0.
func (t *Tree) Consistency(older, newer uint64) ([]Hash, error) {
	h := t.head.Load()
	if newer > h.size || older > newer {
		return nil, ErrNotFound{What: fmt.Sprintf("sizes %d and %d", older, newer), Size: h.size}
	}
	if older == 0 || older == newer {
		return nil, nil
	}
	return tlog.ProveTree(int64(newer), int64(older), t.reader(h))
}

// Tile serves a path of c2sp.org/tlog-tiles: `tile/<L>/<N>[.p/<W>]` or
// `tile/entries/<N>[.p/<W>]`, of the head or of any size before it. Entries are
// preceded by their length, two bytes, as the specification has it.
// Errors: [ErrTilePath], [ErrNotFound], [ErrCorrupt].
func (t *Tree) Tile(path string) ([]byte, error) {
	tile, err := parseTilePath(path)
	if err != nil {
		return nil, err
	}
	h := t.head.Load()
	level := max(tile.L, 0)
	n, count := uint64(tile.N), h.size>>(tileHeight*uint(level))
	if n > count/tileWidth || n*tileWidth+uint64(tile.W) > count {
		return nil, ErrNotFound{What: path, Size: h.size}
	}
	if tile.L < 0 {
		leaves, err := t.entries(h, n)
		if err != nil {
			return nil, err
		}
		return entryBundle(leaves[:tile.W]), nil
	}
	nodes, err := t.reader(h).tile(level, n)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, tile.W*hashBytes)
	for i := range tile.W {
		out = append(out, nodes.rows[0][i][:]...)
	}
	return out, nil
}

const tilePathBytesMax = 64

// parseTilePath accepts the one spelling that the library writes.
func parseTilePath(path string) (tlog.Tile, error) {
	if len(path) > tilePathBytesMax {
		return tlog.Tile{}, ErrTilePath{Path: path[:tilePathBytesMax] + "…"}
	}
	tile, err := torchwood.ParseTilePath(path)
	if err != nil || tile.L > 63 || tile.N < 0 || torchwood.TilePath(tile) != path {
		return tlog.Tile{}, ErrTilePath{Path: path}
	}
	return tile, nil
}

func entryBundle(leaves []Hash) []byte {
	out := make([]byte, 0, len(leaves)*(2+LeafBytes))
	for i := range leaves {
		out = binary.BigEndian.AppendUint16(out, LeafBytes)
		out = append(out, leaves[i][:]...)
	}
	return out
}

// reader serves the nodes of a tree to the proof algorithms. It reads each tile
// once and belongs to one call.
type reader struct {
	store layout
	head  *head
	tiles []readTile
}

type readTile struct {
	level int
	n     uint64
	nodes *pyramid
}

func (t *Tree) reader(h *head) *reader { return &reader{store: t.store, head: h} }

// tile returns the tree over a tile, full or partial at the reader's head.
func (r *reader) tile(level int, n uint64) (*pyramid, error) {
	for _, have := range r.tiles {
		if have.level == level && have.n == n {
			return have.nodes, nil
		}
	}
	var nodes *pyramid
	if n == r.head.size>>(tileHeight*(level+1)) {
		nodes = newPyramid(r.head.partial(level))
	} else {
		var err error
		if _, nodes, err = r.store.readTile(level, n); err != nil {
			return nil, err
		}
	}
	r.tiles = append(r.tiles, readTile{level, n, nodes})
	return nodes, nil
}

// ReadHashes implements [tlog.HashReader].
func (r *reader) ReadHashes(indexes []int64) ([]Hash, error) {
	out := make([]Hash, len(indexes))
	for i, index := range indexes {
		height, n := tlog.SplitStoredHashIndex(index)
		level, row := height/tileHeight, height%tileHeight
		inTile := tileHeight - row // a tile holds 2^inTile nodes of this row
		nodes, err := r.tile(level, uint64(n)>>inTile)
		if err != nil {
			return nil, err
		}
		at := int(n) & (1<<inTile - 1)
		if at >= len(nodes.rows[row]) {
			return nil, ErrCorrupt{Tile: tilePath(level, uint64(n)>>inTile, tileWidth), Reason: "too few hashes"}
		}
		out[i] = nodes.rows[row][at]
	}
	return out, nil
}
