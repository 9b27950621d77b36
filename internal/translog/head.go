package translog

import (
	"crypto/sha256"
	"math/bits"
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// head is the right edge of a tree of some size: all that appending and proving
// need beside the full tiles. It does not change once it is published.
type head struct {
	size uint64
	// peaks are the hashes of the perfect subtrees that the tree decomposes
	// into, left to right: one per set bit of size, the largest first.
	peaks []Hash
	// leaves of the partial entries tile: size mod 256.
	leaves []Hash
	// upper[i] is the partial hash tile of level i+1.
	upper [levelsMax][]Hash
}

func (h *head) clone() *head {
	next := &head{size: h.size}
	next.peaks = append(make([]Hash, 0, 64), h.peaks...)
	next.leaves = append(make([]Hash, 0, tileWidth), h.leaves...)
	for i, hashes := range h.upper {
		next.upper[i] = slices.Clone(hashes)
	}
	return next
}

// root folds the peaks (RFC 6962 section 2.1).
func (h *head) root() Hash {
	if h.size == 0 {
		return c2sp.EmptyRoot()
	}
	root := h.peaks[len(h.peaks)-1]
	for i := len(h.peaks) - 2; i >= 0; i-- {
		root = c2sp.NodeHash(h.peaks[i], root)
	}
	return root
}

// append adds leaves, writes the tiles that fill up, and the new leaves of the
// entries tile that stays partial.
func (h *head) append(leaves [][LeafBytes]byte, store layout, w Writer) error {
	rowStart := len(h.leaves)
	for _, leaf := range leaves {
		h.leaves = append(h.leaves, leaf)
		if err := h.push(leafHash(leaf), store, w); err != nil {
			return err
		}
		if len(h.leaves) == 0 {
			rowStart = 0
		}
	}
	if rowStart == len(h.leaves) {
		return nil
	}
	return store.writeEdge(w, h.size/tileWidth, rowStart, h.leaves[rowStart:])
}

// push adds the hash of the leaf that stands last in h.leaves. Each trailing
// zero of the new size merges two perfect subtrees; every eighth merge closes a
// tile, whose subtree hash goes into the tile above.
func (h *head) push(hash Hash, store layout, w Writer) error {
	h.size++
	for height := 1; height <= bits.TrailingZeros64(h.size); height++ {
		last := len(h.peaks) - 1
		hash = c2sp.NodeHash(h.peaks[last], hash)
		h.peaks = h.peaks[:last]
		if height%tileHeight != 0 {
			continue
		}
		if err := h.closeTile(height/tileHeight-1, hash, store, w); err != nil {
			return err
		}
	}
	h.peaks = append(h.peaks, hash)
	return nil
}

func (h *head) closeTile(level int, subtree Hash, store layout, w Writer) error {
	content := &h.leaves
	if level > 0 {
		content = &h.upper[level-1]
	}
	n := h.size>>(tileHeight*(level+1)) - 1
	if err := store.writeTile(w, level, n, *content, subtree); err != nil {
		return err
	}
	*content = (*content)[:0]
	h.upper[level] = append(h.upper[level], subtree)
	return nil
}

// partial is the partial tile of a level: for level 0 the leaves' hashes.
func (h *head) partial(level int) []Hash {
	if level == 0 {
		return hashLeaves(h.leaves)
	}
	return h.upper[level-1]
}

// setPeaks derives the peaks from the partial tiles: the set bits of a level's
// width are its perfect subtrees.
func (h *head) setPeaks() {
	h.peaks = make([]Hash, 0, 64)
	for level := levelsMax; level >= 0; level-- {
		nodes := newPyramid(h.partial(level))
		at := 0
		for height := tileHeight - 1; height >= 0; height-- {
			if width := len(nodes.rows[0]); width>>height&1 == 1 {
				h.peaks = append(h.peaks, nodes.rows[height][at>>height])
				at += 1 << height
			}
		}
	}
}

// pyramid is the tree over a tile: rows[0] are its hashes, rows[8] the one
// subtree hash of a full tile. Of a partial tile the rows hold the perfect
// subtrees.
type pyramid struct {
	rows [tileHeight + 1][]Hash
}

func newPyramid(hashes []Hash) *pyramid {
	p := &pyramid{}
	p.rows[0] = hashes
	for i := 1; i <= tileHeight; i++ {
		below := p.rows[i-1]
		p.rows[i] = make([]Hash, len(below)/2)
		for j := range p.rows[i] {
			p.rows[i][j] = c2sp.NodeHash(below[2*j], below[2*j+1])
		}
	}
	return p
}

// top is the subtree hash of a full tile.
func (p *pyramid) top() Hash { return p.rows[tileHeight][0] }

// leafHash is c2sp.LeafHash without allocation.
func leafHash(leaf [LeafBytes]byte) Hash {
	var buf [1 + LeafBytes]byte
	copy(buf[1:], leaf[:])
	return sha256.Sum256(buf[:])
}

func hashLeaves(leaves []Hash) []Hash {
	hashes := make([]Hash, len(leaves))
	for i, leaf := range leaves {
		hashes[i] = leafHash(leaf)
	}
	return hashes
}
