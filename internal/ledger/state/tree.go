package state

import (
	"bytes"
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

// change is one leaf that differs from the tree it is applied to.
type change struct {
	leaf    smt.Leaf
	deleted bool
	entry   *entry // of the transaction; nil when replaying
}

// grower applies changes to a tree, copying what changes: the old tree stays whole, and readable beside it.
type grower struct {
	rows    Reader                               // pages and leaves as of the tree it starts from
	leaves  func(*smt.Hash, int) ([]leaf, error) // the leaves under a node not loaded yet
	version uint64
	undo    *undoWriter
	merged  []place // pages that became buckets: their rows, if any, have to go
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
	p := old.clone()
	dirty := uint16(0)
	for len(changes) > 0 {
		k := nibble(&changes[0].leaf.Path, depth)
		n := sort.Search(len(changes), func(i int) bool { return nibble(&changes[i].leaf.Path, depth) > k })
		child, err := g.apply(p.at(k), depth+1, changes[:n])
		if err != nil {
			return s, err
		}
		p.put(k, child)
		dirty |= 1 << k
		changes = changes[n:]
	}
	count, _ := p.total()
	if count <= bucketLeavesMax {
		g.undo.page(path, depth, 0xffff, old)
		return g.merge(p, path, depth)
	}
	g.undo.page(path, depth, dirty, old)
	return subtree{info: nodeInfo{p.rehash(dirty), count, g.version}, page: p}, nil
}

// merge makes a bucket of a page that has become too small. All its children are buckets by now.
func (g *grower) merge(p *page, path *smt.Hash, depth int) (subtree, error) {
	var leaves []leaf
	for k := range p.children {
		child := p.at(k)
		if child.info.count == 0 {
			continue
		}
		at := prefixOf(path, depth)
		at[depth>>1] |= byte(k) << (4 * (1 - depth&1))
		b, err := g.load(child, &at, depth+1)
		if err != nil {
			return subtree{}, err
		}
		leaves = append(leaves, b.leaves...)
	}
	g.merged = append(g.merged, place{prefixOf(path, depth), depth})
	return g.bucket(leaves, depth), nil
}

func (g *grower) applyBucket(s subtree, depth int, changes []change) (subtree, error) {
	old, err := g.load(s, &changes[0].leaf.Path, depth)
	if err != nil {
		return s, err
	}
	leaves, dirty, same := mergeLeaves(old.leaves, changes)
	if len(leaves) > bucketLeavesMax {
		return g.build(leaves, depth), nil
	}
	if !same {
		return g.bucket(leaves, depth), nil
	}
	b := &bucket{leaves: leaves, inner: slices.Clone(old.inner)}
	hash := b.rehash(depth*nibbleBits, dirty, false)
	return subtree{info: nodeInfo{hash, uint64(len(leaves)), g.version}, bucket: b}, nil
}

// mergeLeaves returns old with changes made, the indices that changed, and whether the paths stayed the same.
func mergeLeaves(old []leaf, changes []change) (leaves []leaf, dirty []int, same bool) {
	leaves = make([]leaf, 0, len(old)+len(changes))
	dirty = make([]int, 0, len(changes))
	same = true
	for len(old) > 0 || len(changes) > 0 {
		order := -1
		if len(old) == 0 {
			order = 1
		} else if len(changes) > 0 {
			order = bytes.Compare(old[0].path[:], changes[0].leaf.Path[:])
		}
		if order < 0 {
			leaves, old = append(leaves, old[0]), old[1:]
			continue
		}
		c := &changes[0]
		changes = changes[1:]
		same = same && order == 0 && !c.deleted
		if order == 0 {
			old = old[1:]
		}
		if !c.deleted {
			dirty = append(dirty, len(leaves))
			leaves = append(leaves, leaf{c.leaf.Path, c.leaf.Hash()})
		}
	}
	return leaves, dirty, same
}

// bucket makes a bucket of leaves, which it takes over.
func (g *grower) bucket(leaves []leaf, depth int) subtree {
	b := newBucket(leaves)
	hash := b.rehash(depth*nibbleBits, nil, true)
	return subtree{info: nodeInfo{hash, uint64(len(leaves)), g.version}, bucket: b}
}

// build makes the node for any number of leaves. All its children count as changed in this version, also the empty ones.
func (g *grower) build(leaves []leaf, depth int) subtree {
	if len(leaves) <= bucketLeavesMax {
		return g.bucket(slices.Clone(leaves), depth)
	}
	p := &page{}
	total := uint64(len(leaves))
	for k := range p.children {
		n := sort.Search(len(leaves), func(i int) bool { return nibble(&leaves[i].path, depth) > k })
		p.put(k, g.build(leaves[:n], depth+1))
		leaves = leaves[n:]
	}
	return subtree{info: nodeInfo{p.rehash(0xffff), total, g.version}, page: p}
}

// load returns the bucket of a node that is one, from its rows if need be, held against what its parent says of it.
func (g *grower) load(s subtree, path *smt.Hash, depth int) (*bucket, error) {
	if s.bucket != nil {
		return s.bucket, nil
	}
	if s.info.count == 0 {
		return newBucket(nil), nil
	}
	leaves, err := g.leaves(path, depth)
	if err != nil {
		return nil, err
	}
	b := newBucket(leaves)
	if len(leaves) > bucketLeavesMax || uint64(len(leaves)) != s.info.count ||
		b.rehash(depth*nibbleBits, nil, true) != s.info.hash {
		return nil, errNode("leaf rows differ from their parent", path, depth)
	}
	return b, nil
}

// readLeaves is grower.leaves over rows that are up to date.
func readLeaves(r Reader) func(*smt.Hash, int) ([]leaf, error) {
	return func(path *smt.Hash, depth int) (leaves []leaf, err error) {
		err = scanLeaves(r, path, depth, func(l smt.Leaf) error {
			leaves = append(leaves, leaf{l.Path, l.Hash()})
			return nil
		})
		return leaves, err
	}
}
