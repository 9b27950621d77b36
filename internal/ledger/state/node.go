package state

import (
	"fmt"
	"math/bits"
	"sort"
	"sync/atomic"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// The tree is kept in pieces of four binary levels, so that storing a changed key rewrites few rows. A node stands at the
// start of each piece, at a depth that is a multiple of four bits. A node with more than bucketLeavesMax leaves is a page: the
// hashes of its 16 children. A smaller one is a bucket: its leaves are the rows under its prefix, its inner hashes are
// computed. Which nodes are pages follows from the set of keys alone.
const (
	nibbleBits      = 4
	pageFan         = 1 << nibbleBits
	depthMax        = smt.DepthBitsMax / nibbleBits
	bucketLeavesMax = 32
)

// nodeInfo is what a page knows of a child, and the meta row of the root.
type nodeInfo struct {
	hash  smt.Hash
	count uint64 // leaves below
	mod   uint64 // version that last changed a leaf below, or split the parent into a page
}

func (n nodeInfo) isPage() bool { return n.count > bucketLeavesMax }

// page is a node in memory. children and inner never change once the page is part of a tree; sub is a cache.
type page struct {
	children [pageFan]nodeInfo
	inner    [pageFan]smt.Hash             // heap order: inner[1] is the page's own hash, the children would be 16..31
	pages    [pageFan]atomic.Pointer[page] // children that are pages, once loaded; any goroutine
	buckets  [pageFan]*bucket              // children that are buckets, once loaded; the writer alone
}

// clone copies p for changing; the children loaded are shared.
func (p *page) clone() *page {
	n := &page{children: p.children, inner: p.inner, buckets: p.buckets}
	for i := range p.pages {
		n.pages[i].Store(p.pages[i].Load())
	}
	return n
}

func (p *page) total() (count, mod uint64) {
	for i := range p.children {
		count += p.children[i].count
		mod = max(mod, p.children[i].mod)
	}
	return count, mod
}

// rehash brings inner up to date after the children in the bit set dirty changed, and returns the page's hash.
func (p *page) rehash(dirty uint16) smt.Hash {
	hash, _ := p.rehashNode(1, 0, pageFan, dirty)
	return hash
}

// rehashNode does so for heap node i over the children [lo, hi).
func (p *page) rehashNode(i, lo, hi int, dirty uint16) (smt.Hash, uint64) {
	if hi-lo == 1 {
		return p.children[lo].hash, p.children[lo].count
	}
	if dirty>>lo&(1<<(hi-lo)-1) == 0 {
		count, _ := p.below(lo, hi)
		return p.inner[i], count
	}
	mid := (lo + hi) / 2
	l, lc := p.rehashNode(2*i, lo, mid, dirty)
	r, rc := p.rehashNode(2*i+1, mid, hi, dirty)
	p.inner[i] = join(&l, lc, &r, rc)
	return p.inner[i], lc + rc
}

// join is the collapse rule: a subtree with one leaf is that leaf, one with none is Empty.
func join(l *smt.Hash, lc uint64, r *smt.Hash, rc uint64) smt.Hash {
	switch {
	case lc == 0 && rc <= 1:
		return *r
	case rc == 0 && lc == 1:
		return *l
	}
	return smt.Inner(l, r)
}

// siblings appends the hashes beside child k, from the page's top down, ending early where the subtree towards k has one
// leaf or none. It returns the child to go on with: k, or the one that holds this one leaf.
func (p *page) siblings(k int, to []smt.Hash) ([]smt.Hash, int) {
	lo, hi, i := 0, pageFan, 1
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		beside := 2*i + 1
		if k >= mid {
			beside--
			lo, i = mid, 2*i+1
		} else {
			hi, i = mid, 2*i
		}
		if beside >= pageFan {
			to = append(to, p.children[beside-pageFan].hash)
		} else {
			to = append(to, p.inner[beside])
		}
		if count, holder := p.below(lo, hi); count == 1 {
			return to, holder
		} else if count == 0 {
			break
		}
	}
	return to, k
}

// below counts the leaves under the children [lo, hi), and returns the last one that has any.
func (p *page) below(lo, hi int) (count uint64, holder int) {
	for c := lo; c < hi; c++ {
		if n := p.children[c].count; n > 0 {
			count, holder = count+n, c
		}
	}
	return count, holder
}

// leaf is a leaf in memory: where it stands and its node hash.
type leaf struct{ path, hash smt.Hash }

// bucket is a small subtree in memory. Neither slice changes once the bucket is part of a tree.
type bucket struct {
	leaves []leaf     // by path
	inner  []smt.Hash // inner[s-1]: hash of the inner node whose right half begins with leaf s
}

const bucketLeafBytes = 96 // memory of one leaf in a bucket

// newBucket takes leaves over and computes their inner hashes.
func newBucket(leaves []leaf) *bucket {
	return &bucket{leaves: leaves, inner: make([]smt.Hash, max(len(leaves)-1, 0))}
}

// rehash recomputes what depends on the leaves with an index in dirty (ascending; all of them if all), and returns the hash
// of the bucket as a node at the given depth in bits.
func (b *bucket) rehash(depth int, dirty []int, all bool) smt.Hash {
	if len(b.leaves) == 0 {
		return smt.Empty
	}
	return b.rehashRange(0, len(b.leaves), depth, dirty, all)
}

func (b *bucket) rehashRange(lo, hi, depth int, dirty []int, all bool) smt.Hash {
	if hi-lo == 1 {
		return b.leaves[lo].hash
	}
	first := &b.leaves[lo].path
	at := commonBits(first, &b.leaves[hi-1].path)
	s := lo + sort.Search(hi-lo, func(i int) bool { return smt.Bit(&b.leaves[lo+i].path, at) == 1 })
	if all || len(dirty) > 0 {
		cut := sort.SearchInts(dirty, s)
		l := b.rehashRange(lo, s, at+1, dirty[:cut], all)
		r := b.rehashRange(s, hi, at+1, dirty[cut:], all)
		b.inner[s-1] = smt.Inner(&l, &r)
	}
	hash := b.inner[s-1]
	for at--; at >= depth; at-- { // halves without a leaf between depth and the split
		if smt.Bit(first, at) == 0 {
			hash = smt.Inner(&hash, &smt.Empty)
		} else {
			hash = smt.Inner(&smt.Empty, &hash)
		}
	}
	return hash
}

// commonBits counts the leading bits that two different paths share.
func commonBits(a, b *smt.Hash) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return i*8 + bits.LeadingZeros8(x)
		}
	}
	return smt.DepthBitsMax
}

// nibble returns the path's step below a node at depth (in nibbles).
func nibble(path *smt.Hash, depth int) int {
	return int(path[depth>>1]>>(4*(1-depth&1))) & 15
}

// prefixOf is path with everything below depth (in nibbles) zeroed.
func prefixOf(path *smt.Hash, depth int) (p smt.Hash) {
	copy(p[:depth>>1], path[:])
	if depth&1 == 1 {
		p[depth>>1] = path[depth>>1] & 0xf0
	}
	return p
}

// errNode names a node in an error.
func errNode(what string, path *smt.Hash, depth int) error {
	return fmt.Errorf("%w: %s at %d bits of %x", ErrCorrupt, what, depth*nibbleBits, prefixOf(path, depth))
}
