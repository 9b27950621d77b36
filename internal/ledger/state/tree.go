package state

import (
	"bytes"
	"errors"
	"slices"
	"sort"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// subtree is a node with, once loaded, what is below it.
type subtree struct {
	info   nodeInfo
	page   *page
	bucket *bucket
}

func (p *page) at(k int) subtree {
	return subtree{p.children[k], p.pages[k].Load(), p.buckets[k]}
}

func (p *page) put(k int, s subtree) {
	p.children[k], p.buckets[k] = s.info, s.bucket
	p.pages[k].Store(s.page)
}

// change is a write to one leaf. apply finds out whether it changes anything, and what was there before.
type change struct {
	leaf    smt.Leaf
	value   []byte // if at hand
	deleted bool
	entry   *entry // of the transaction; nil when replaying

	net bool   // filled in: the leaf was different
	had bool   // filled in if net: there was a leaf
	old []byte // filled in if had: its value, if a grower has values
}

// grower applies changes to a tree, copying what changes: the old tree stays whole, and readable beside it.
type grower struct {
	rows    Reader                                // pages as of the tree it starts from
	leaves  func(*smt.Hash, int) (*bucket, error) // the leaves under a node not loaded yet, not finished
	values  func(*change) ([]byte, error)         // the value before; nil: nobody asks
	version uint64
	undo    *undoWriter
	merged  []place // pages that became buckets: their rows, if any, have to go
	both    Both    // nil: one after the other
}

// place is where a node stands.
type place struct {
	prefix smt.Hash
	depth  int
}

// apply returns s, a node at depth (in nibbles), with changes made; they are sorted by path and all lie under s.
func (g *grower) apply(s subtree, depth int, changes []change) (subtree, error) {
	if len(changes) == 0 {
		return s, nil
	}
	if s.info.isPage() {
		return g.applyPage(s, depth, changes)
	}
	return g.applyBucket(s, depth, changes)
}

func (g *grower) applyPage(s subtree, depth int, changes []change) (subtree, error) {
	path := &changes[0].leaf.Path
	old := s.page
	if old == nil {
		var err error
		if old, err = readPage(g.rows, s.info, path, depth); err != nil {
			return s, err
		}
	}
	var next [pageFan]subtree
	dirty, err := g.children(old, depth, changes, &next)
	if err != nil || dirty == 0 {
		return s, err
	}
	p := old.clone()
	for k := range next {
		if dirty>>k&1 == 1 {
			p.put(k, next[k])
		}
	}
	count, _ := p.total()
	if count <= bucketLeavesMax {
		g.undo.page(path, depth, 0xffff, old)
		return g.merge(p, path, depth)
	}
	g.undo.page(path, depth, dirty, old)
	return subtree{info: nodeInfo{p.rehash(dirty), count, g.version}, page: p}, nil
}

// children applies changes to the children of a page and returns which have changed.
func (g *grower) children(old *page, depth int, changes []change, next *[pageFan]subtree) (dirty uint16, err error) {
	if depth == 0 && g.both != nil && len(changes) >= bothChangesMin {
		return g.halves(old, changes, next)
	}
	for len(changes) > 0 {
		k := nibble(&changes[0].leaf.Path, depth)
		n := 1
		for n < len(changes) && nibble(&changes[n].leaf.Path, depth) == k {
			n++
		}
		before := old.at(k)
		if next[k], err = g.apply(before, depth+1, changes[:n]); err != nil {
			return 0, err
		}
		if next[k].info != before.info {
			dirty |= 1 << k
		}
		changes = changes[n:]
	}
	return dirty, nil
}

// bothChangesMin is how many changes are worth two goroutines. There are then at least two shards of undo rows, and no half writes into the
// other's.
const bothChangesMin = 8 * shardLeaves

// halves is children for the root page, its two halves perhaps at the same time. They have no node in common, and what they yield is put
// together in the order in which one after the other would have made it.
func (g *grower) halves(old *page, changes []change, next *[pageFan]subtree) (uint16, error) {
	mid := sort.Search(len(changes), func(i int) bool { return nibble(&changes[i].leaf.Path, 0) >= pageFan/2 })
	one, two := *g, *g
	one.both, two.both, two.merged = nil, nil, nil
	var dirty [2]uint16
	var errs [2]error
	g.both(
		func() { dirty[0], errs[0] = one.children(old, 0, changes[:mid], next) },
		func() { dirty[1], errs[1] = two.children(old, 0, changes[mid:], next) },
	)
	g.merged = append(one.merged, two.merged...)
	return dirty[0] | dirty[1], errors.Join(errs[0], errs[1])
}

// merge makes a bucket of a page that has become too small. All its children are buckets by now.
func (g *grower) merge(p *page, path *smt.Hash, depth int) (subtree, error) {
	all := newBucket(bucketLeavesMax)
	for k := range p.children {
		at := childPrefix(prefixOf(path, depth), depth, k)
		b, err := g.load(p.at(k), &at, depth+1)
		if err != nil {
			return subtree{}, err
		}
		all.addFrom(b, 0, len(b.paths))
	}
	g.merged = append(g.merged, place{prefixOf(path, depth), depth})
	return g.finish(all, depth), nil
}

func (g *grower) applyBucket(s subtree, depth int, changes []change) (subtree, error) {
	old, err := g.load(s, &changes[0].leaf.Path, depth)
	if err != nil {
		return s, err
	}
	var buf [bucketLeavesMax]int
	dirty, moved, err := g.compare(old, changes, buf[:0])
	switch {
	case err != nil:
		return s, err
	case moved:
		b := old.merge(changes)
		if len(b.paths) > bucketLeavesMax {
			return g.build(b, 0, len(b.paths), depth), nil
		}
		if added, ok := old.carryInner(b, changes); ok {
			return subtree{info: nodeInfo{b.rehash(depth*nibbleBits, added, false), uint64(len(b.paths)), g.version}, bucket: b}, nil
		}
		return g.finish(b, depth), nil
	case len(dirty) == 0:
		return s, nil
	}
	b := old.update(changes, dirty)
	return subtree{info: nodeInfo{b.rehash(depth*nibbleBits, dirty, false), s.info.count, g.version}, bucket: b}, nil
}

// compare fills in what changes do to the leaves of b. It returns the indices of the leaves whose values change, and whether
// leaves come or go.
func (g *grower) compare(b *bucket, changes []change, dirty []int) (_ []int, moved bool, err error) {
	at := 0
	for i := range changes {
		c := &changes[i]
		for at < len(b.paths) && bytes.Compare(b.paths[at][:], c.leaf.Path[:]) < 0 {
			at++
		}
		c.had = at < len(b.paths) && b.paths[at] == c.leaf.Path
		switch {
		case c.deleted:
			c.net = c.had
			moved = moved || c.net
		case !c.had:
			c.net, moved = true, true
		default:
			if c.net = c.leaf.Hash() != b.hashes[at]; c.net {
				dirty = append(dirty, at)
			}
		}
		if !c.net || !c.had || g.values == nil {
			continue
		}
		if c.old = b.values[at]; c.old == nil {
			if c.old, err = g.values(c); err != nil {
				return nil, false, err
			}
		}
	}
	return dirty, moved, nil
}

// update returns b with the values of the leaves in dirty replaced: those of the net changes, in order.
func (b *bucket) update(changes []change, dirty []int) *bucket {
	n := &bucket{paths: b.paths, hashes: slices.Clone(b.hashes), values: slices.Clone(b.values), inner: slices.Clone(b.inner), kept: b.kept}
	for i := range changes {
		if c := &changes[i]; c.net {
			at := dirty[0]
			dirty = dirty[1:]
			n.kept -= len(n.values[at])
			n.hashes[at], n.values[at] = c.leaf.Hash(), nil
			if len(c.value) <= valueKeptBytesMax {
				n.values[at] = c.value
				n.kept += len(c.value)
			}
		}
	}
	return n
}

// merge returns b with changes made, not finished.
func (b *bucket) merge(changes []change) *bucket {
	n := newBucket(len(b.paths) + len(changes))
	at := 0
	for i := range changes {
		c := &changes[i]
		from := at
		for at < len(b.paths) && bytes.Compare(b.paths[at][:], c.leaf.Path[:]) < 0 {
			at++
		}
		n.addFrom(b, from, at)
		if at < len(b.paths) && b.paths[at] == c.leaf.Path {
			at++
		}
		if !c.deleted {
			n.add(c.leaf.Path, c.leaf.Hash(), c.value)
		}
	}
	n.addFrom(b, at, len(b.paths))
	return n
}

// carryInner gives n, which is b with changes made, the inner hashes of b that still hold, and returns the indices of the leaves that are new
// or changed: above those, all has to be computed anew. A part of b without such a leaf stays the same node, split before the same leaf.
// ok is false when leaves have gone, too.
func (b *bucket) carryInner(n *bucket, changes []change) (dirty []int, ok bool) {
	if len(b.inner) == 0 {
		return nil, false
	}
	for i := range changes {
		if changes[i].net && changes[i].deleted {
			return nil, false
		}
	}
	n.inner = make([]smt.Hash, len(n.paths)-1)
	old := 0
	for at := range n.paths {
		if old == len(b.paths) || n.paths[at] != b.paths[old] {
			dirty = append(dirty, at)
			continue
		}
		if at > 0 && old > 0 {
			n.inner[at-1] = b.inner[old-1]
		}
		if n.hashes[at] != b.hashes[old] {
			dirty = append(dirty, at)
		}
		old++
	}
	return dirty, true
}

// finish makes a node of a bucket whose leaves are all there.
func (g *grower) finish(b *bucket, depth int) subtree {
	return subtree{info: nodeInfo{b.finish(depth * nibbleBits), uint64(len(b.paths)), g.version}, bucket: b}
}

// build makes the node for any number of leaves, [lo, hi) of b. All its children count as changed in this version, also the
// empty ones.
func (g *grower) build(b *bucket, lo, hi, depth int) subtree {
	if hi-lo <= bucketLeavesMax {
		own := newBucket(hi - lo)
		own.addFrom(b, lo, hi)
		return g.finish(own, depth)
	}
	p := &page{}
	total := uint64(hi - lo)
	for k := range p.children {
		mid := lo + sort.Search(hi-lo, func(i int) bool { return nibble(&b.paths[lo+i], depth) > k })
		p.put(k, g.build(b, lo, mid, depth+1))
		lo = mid
	}
	return subtree{info: nodeInfo{p.rehash(0xffff), total, g.version}, page: p}
}

// load returns the bucket of a node that is one, from its rows if need be, held against what its parent says of it.
func (g *grower) load(s subtree, path *smt.Hash, depth int) (*bucket, error) {
	if s.bucket != nil {
		return s.bucket, nil
	}
	if s.info.count == 0 {
		return newBucket(0), nil
	}
	b, err := g.leaves(path, depth)
	if err != nil {
		return nil, err
	}
	if n := len(b.paths); n > bucketLeavesMax || uint64(n) != s.info.count || b.finish(depth*nibbleBits) != s.info.hash {
		return nil, errNode("leaf rows differ from their parent", path, depth)
	}
	return b, nil
}

// readLeaves is grower.leaves over rows that are up to date.
func readLeaves(r Reader) func(*smt.Hash, int) (*bucket, error) {
	return func(path *smt.Hash, depth int) (*bucket, error) {
		b := newBucket(bucketLeavesMax)
		return b, scanLeaves(r, path, depth, func(l smt.Leaf) error {
			b.add(l.Path, l.Hash(), nil)
			return nil
		})
	}
}
