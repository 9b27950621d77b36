package state

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// Prove returns the value that key had at a version, whether it had one, and the proof of either under that version's root
// (smt.Proof.Verify or VerifyAbsent). ErrPruned or ErrFuture if the version is out of reach. The head costs some 50 µs; an
// older version some microseconds more for each version since then that changed anything.
func (m *Map) Prove(key []byte, version uint64) (value []byte, ok bool, p smt.Proof, err error) {
	h := m.acquire()
	defer h.release()
	return h.prove(key, version)
}

func (h *head) prove(key []byte, version uint64) (value []byte, ok bool, p smt.Proof, err error) {
	if version > h.meta.version {
		return nil, false, p, fmt.Errorf("%w: %d, head is %d", ErrFuture, version, h.meta.version)
	}
	floor, err := readFloor(h)
	if err != nil {
		return nil, false, p, err
	}
	if version < floor {
		return nil, false, p, fmt.Errorf("%w: %d, kept from %d", ErrPruned, version, floor)
	}
	if value, ok, err = h.get(key); err != nil {
		return nil, false, p, err
	}
	s := &spine{rows: h, path: smt.Path(key), root: h.meta.root, value: value, has: ok}
	if err := s.descend(h); err != nil {
		return nil, false, p, err
	}
	if err := s.back(version); err != nil {
		return nil, false, p, err
	}
	if p, err = s.proof(); err != nil {
		return nil, false, p, err
	}
	// What was read must hang together before anybody relies on it.
	if s.has {
		err = p.Verify(s.root.hash, key, s.value)
	} else {
		err = p.VerifyAbsent(s.root.hash, key)
	}
	if err != nil {
		return nil, false, p, fmt.Errorf("%w: version %d: %w", ErrCorrupt, version, err)
	}
	return s.value, s.has, p, nil
}

// spine is the way from the root to where a key stands, at one version; back moves it to an older one.
type spine struct {
	rows  Reader
	path  smt.Hash
	root  nodeInfo
	pages []*page // pages[d] stands at depth d; clones, with children alone right
	value []byte
	has   bool
	end   place    // where the proof ends: a bucket below the last page, the key's own or that of the one leaf beside it
	tail  nodeInfo // of that bucket
	undo  []visit  // versions undone, newest first
}

// visit is a version undone, and how deep it changed the spine; bottom: down to a bucket.
type visit struct {
	undoHeader
	depth  int
	bottom bool
}

func (s *spine) info(depth int) nodeInfo {
	if depth == 0 {
		return s.root
	}
	return s.pages[depth-1].children[nibble(&s.path, depth-1)]
}

// descend fills in the pages of the head, from memory or rows.
func (s *spine) descend(h *head) error {
	at := h.tree
	for depth := 0; s.info(depth).isPage(); depth++ {
		if depth > 0 {
			slot := &at.pages[nibble(&s.path, depth-1)]
			next := slot.Load()
			if next == nil {
				var err error
				if next, err = readPage(s.rows, s.info(depth), &s.path, depth); err != nil {
					return err
				}
				if !slot.CompareAndSwap(nil, next) {
					next = slot.Load()
				}
			}
			at = next
		}
		s.pages = append(s.pages, &page{children: at.children})
	}
	return nil
}

// back undoes, newest first, every version above the given one that changed the map.
func (s *spine) back(version uint64) error {
	for s.root.mod > version {
		h, err := readUndo(s.rows, s.root.mod)
		if err != nil {
			return err
		}
		if err := s.undoOne(h); err != nil {
			return err
		}
	}
	return s.undoValue()
}

// undoOne takes the spine from just after version h to just before it.
func (s *spine) undoOne(h undoHeader) error {
	v := visit{undoHeader: h}
	defer func() { s.undo = append(s.undo, v) }()
	s.root = h.root
	for ; ; v.depth++ {
		if !s.info(v.depth).isPage() { // a bucket before
			s.pages = s.pages[:v.depth]
			v.bottom = true
			return nil
		}
		item, err := h.page(s.rows, &s.path, v.depth)
		if err != nil {
			return err
		}
		if v.depth == len(s.pages) { // a page before, a bucket after: all children are listed
			if item.set != 0xffff || v.depth >= depthMax {
				return errNode("children missing to undo", &s.path, v.depth)
			}
			s.pages = append(s.pages, &page{})
		}
		for k := range item.children {
			if item.set>>k&1 == 1 {
				s.pages[v.depth].children[k] = item.children[k]
			}
		}
		if item.set>>nibble(&s.path, v.depth)&1 == 0 {
			return nil
		}
	}
}

// undoValue takes the value back through the versions visited.
func (s *spine) undoValue() error {
	for _, v := range s.undo {
		if !v.bottom {
			continue
		}
		err := v.leaves(s.rows, &s.path, depthMax, func(it *undoItem) { s.value, s.has = bytes.Clone(it.value), it.had })
		if err != nil {
			return err
		}
	}
	return nil
}

// proof builds the proof at the version reached.
func (s *spine) proof() (p smt.Proof, err error) {
	s.end, s.tail = place{s.path, 0}, s.root
	for depth, pg := range s.pages {
		pg.rehash(0xffff)
		k := 0
		p.Siblings, k = pg.siblings(nibble(&s.path, depth), p.Siblings)
		s.tail = pg.children[k]
		if k != nibble(&s.path, depth) {
			s.end.prefix = childPrefix(prefixOf(&s.path, depth), depth, k)
		}
		s.end.depth = depth + 1
	}
	leaves, err := s.leaves()
	if err != nil {
		return p, err
	}
	return p, s.bottom(&p, leaves)
}

// leaves returns the leaves at the end of the spine at the version reached.
func (s *spine) leaves() ([]smt.Leaf, error) {
	path, depth := &s.end.prefix, s.end.depth
	state := map[smt.Hash]change{}
	var paths []smt.Hash
	put := func(c change) {
		if _, ok := state[c.leaf.Path]; !ok {
			paths = append(paths, c.leaf.Path)
		}
		state[c.leaf.Path] = c
	}
	err := scanLeaves(s.rows, path, depth, func(l smt.Leaf) error {
		put(change{leaf: l})
		return nil
	})
	for _, v := range s.undo {
		if err != nil {
			return nil, err
		}
		if v.depth < depth-1 && !v.bottom { // it left the last page alone
			continue
		}
		err = v.leaves(s.rows, path, depth, func(it *undoItem) {
			c := change{leaf: smt.Leaf{Path: it.path}, deleted: !it.had}
			if it.had {
				c.leaf.Value = smt.Value(it.value)
			}
			put(c)
		})
	}
	slices.SortFunc(paths, func(a, b smt.Hash) int { return bytes.Compare(a[:], b[:]) })
	var leaves []smt.Leaf
	for _, path := range paths {
		if c := state[path]; !c.deleted {
			leaves = append(leaves, c.leaf)
		}
	}
	return leaves, err
}

// bottom finishes a proof below the last page, whose child towards the key has these leaves.
func (s *spine) bottom(p *smt.Proof, leaves []smt.Leaf) error {
	if uint64(len(leaves)) != s.tail.count {
		return errNode("leaf rows differ from their parent", &s.end.prefix, s.end.depth)
	}
	for depth := s.end.depth * nibbleBits; len(leaves) > 1; depth++ {
		split := sort.Search(len(leaves), func(i int) bool { return smt.Bit(&leaves[i].Path, depth) == 1 })
		ours, beside := leaves[:split], leaves[split:]
		if smt.Bit(&s.path, depth) == 1 {
			ours, beside = beside, ours
		}
		p.Siblings = append(p.Siblings, bucketHash(beside, depth+1))
		leaves = ours
	}
	switch {
	case len(leaves) == 0:
		p.Kind = smt.EmptySlot
	case leaves[0].Path == s.path:
		p.Kind = smt.Present
	default:
		p.Kind, p.Other = smt.OtherLeaf, leaves[0]
	}
	return nil
}

// bucketHash is the hash of a node at depth (in bits) with few leaves.
func bucketHash(leaves []smt.Leaf, depth int) smt.Hash {
	b := newBucket(len(leaves))
	for _, l := range leaves {
		b.add(l.Path, l.Hash(), nil)
	}
	return b.finish(depth)
}
