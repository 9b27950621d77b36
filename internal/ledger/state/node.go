package state

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
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

// bucket is a small subtree in memory: its leaves by path, in parallel slices, none of which changes once the bucket is part
// of a tree. Versions of a bucket share what they have in common.
type bucket struct {
	paths  []smt.Hash
	hashes []smt.Hash // of the leaves as nodes
	values [][]byte   // as far as kept in memory; else nil
	inner  []smt.Hash // inner[s-1]: hash of the inner node whose right half begins with leaf s
	kept   int        // bytes in values
}

const (
	valueKeptBytesMax = 256           // longer values are not kept in memory
	bucketLeafBytes   = 3*32 + 24 + 8 // memory of one leaf in a bucket, without its value
)

func newBucket(room int) *bucket {
	return &bucket{
		paths: make([]smt.Hash, 0, room), hashes: make([]smt.Hash, 0, room), values: make([][]byte, 0, room),
	}
}

// add appends a leaf; the caller calls finish after the last one.
func (b *bucket) add(path, hash smt.Hash, value []byte) {
	if len(value) > valueKeptBytesMax {
		value = nil
	}
	b.paths, b.hashes, b.values = append(b.paths, path), append(b.hashes, hash), append(b.values, value)
	b.kept += len(value)
}

// addFrom appends leaves [lo, hi) of another bucket.
func (b *bucket) addFrom(from *bucket, lo, hi int) {
	for i := lo; i < hi; i++ {
		b.add(from.paths[i], from.hashes[i], from.values[i])
	}
}

// finish computes all inner hashes, and returns the hash of the bucket as a node at the given depth in bits.
func (b *bucket) finish(depth int) smt.Hash {
	b.inner = make([]smt.Hash, max(len(b.paths)-1, 0))
	return b.rehash(depth, nil, true)
}

// recall tells whether there is a leaf, and its value if that is kept.
func (b *bucket) recall(path *smt.Hash) (value []byte, has, known bool) {
	i, has := slices.BinarySearchFunc(b.paths, path, func(x smt.Hash, p *smt.Hash) int { return bytes.Compare(x[:], p[:]) })
	if !has {
		return nil, false, true
	}
	return b.values[i], true, b.values[i] != nil
}

func (b *bucket) bytes() int { return len(b.paths)*bucketLeafBytes + b.kept }

// rehash recomputes what depends on the leaves with an index in dirty (ascending; all of them if all), and returns the hash
// of the bucket as a node at the given depth in bits.
func (b *bucket) rehash(depth int, dirty []int, all bool) smt.Hash {
	if len(b.paths) == 0 {
		return smt.Empty
	}
	return b.rehashRange(0, len(b.paths), depth, dirty, all)
}

func (b *bucket) rehashRange(lo, hi, depth int, dirty []int, all bool) smt.Hash {
	if hi-lo == 1 {
		return b.hashes[lo]
	}
	first := &b.paths[lo]
	at := commonBits(first, &b.paths[hi-1])
	s := b.split(lo, hi, at)
	if all || len(dirty) > 0 {
		cut := 0
		for cut < len(dirty) && dirty[cut] < s {
			cut++
		}
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

// split returns the first of the leaves [lo, hi) with a 1 at bit at.
func (b *bucket) split(lo, hi, at int) int {
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if smt.Bit(&b.paths[mid], at) == 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
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
