package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

func appendUint64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func comparePaths(a, b change) int { return bytes.Compare(a.leaf.Path[:], b.leaf.Path[:]) }

// recoverTree returns the tree of a store whose page rows may be behind its leaf rows: it takes the pages of the version
// that was flushed, and applies the versions since then one by one, just as Stage did.
func recoverTree(r Reader, at meta) (tree subtree, d dirty, err error) {
	d.flushed = at.flushed
	log, err := readLog(r, at.flushed, at.version)
	if err != nil {
		return tree, d, err
	}
	tree.info = at.root
	if len(log) > 0 {
		tree.info = log[0].root
	}
	if tree.info.isPage() {
		var top smt.Hash
		if tree.page, err = readPage(r, tree.info, &top, 0); err != nil {
			return tree, d, err
		}
	}
	past, err := newPast(r, log)
	if err != nil {
		return tree, d, err
	}
	for i := range log {
		g := &grower{rows: r, leaves: past.leavesUnder, version: log[i].version}
		if tree, err = g.apply(tree, 0, log[i].changes); err != nil {
			return tree, d, err
		}
		want := at.root
		if i+1 < len(log) {
			want = log[i+1].root
		}
		if tree.info != want {
			return tree, d, fmt.Errorf("%w: replay of version %d gives another root", ErrCorrupt, log[i].version)
		}
		d.leaves += len(log[i].changes)
		d.versions++
		d.merged = append(d.merged, g.merged...)
	}
	return tree, d, nil
}

// logged is one version: the root before it and the leaves it changed, first as they were before, later as they were after.
type logged struct {
	version uint64
	root    nodeInfo
	changes []change
}

// readLog returns the versions in (from, to] that changed something, oldest first, with the leaves before, by path.
func readLog(r Reader, from, to uint64) (log []logged, err error) {
	if from >= to {
		return nil, nil
	}
	var headers []undoHeader
	err = r.Scan(undoKey(from+1), append(undoKey(to), 0xff, 0xff, 0xff), func(key, row []byte) (bool, error) {
		if len(key) != 9 {
			return true, nil
		}
		h, err := parseUndoHeader(key, row)
		headers = append(headers, h)
		return true, err
	})
	for _, h := range headers {
		if err != nil {
			break
		}
		l := logged{version: h.version, root: h.root}
		var top smt.Hash
		err = h.leaves(r, &top, 0, func(it *undoItem) {
			c := change{leaf: smt.Leaf{Path: it.path}, deleted: !it.had}
			if it.had {
				c.leaf.Value = smt.Value(it.value)
			}
			l.changes = append(l.changes, c)
		})
		log = append(log, l)
	}
	return log, err
}

// past shows leaf rows as they were some versions ago. Replay needs no more: a bucket that a version changed is loaded.
type past struct {
	rows  Reader
	paths []smt.Hash          // that changed since, sorted
	state map[smt.Hash]change // each of them as it was
}

// newPast goes back to before log, and turns log's changes from what was before into what was after.
func newPast(r Reader, log []logged) (*past, error) {
	p := &past{rows: r, state: map[smt.Hash]change{}}
	for i := len(log) - 1; i >= 0; i-- {
		for j := range log[i].changes {
			before := log[i].changes[j]
			after, ok := p.state[before.leaf.Path]
			if !ok {
				var err error
				if after, err = readLeaf(r, before.leaf.Path); err != nil {
					return nil, err
				}
				p.paths = append(p.paths, before.leaf.Path)
			}
			p.state[before.leaf.Path] = before
			log[i].changes[j] = after
		}
	}
	slices.SortFunc(p.paths, func(a, b smt.Hash) int { return bytes.Compare(a[:], b[:]) })
	return p, nil
}

func readLeaf(r Reader, path smt.Hash) (change, error) {
	row, ok, err := r.Get(leafKey(&path))
	c := change{leaf: smt.Leaf{Path: path}, deleted: !ok}
	if ok && copy(c.leaf.Value[:], row) != len(row) {
		err = fmt.Errorf("%w: leaf row %x", ErrCorrupt, path)
	}
	return c, err
}

// leavesUnder is grower.leaves.
func (p *past) leavesUnder(path *smt.Hash, depth int) (*bucket, error) {
	now, err := readLeaves(p.rows)(path, depth)
	if err != nil {
		return nil, err
	}
	prefix := prefixOf(path, depth)
	at, _ := slices.BinarySearchFunc(p.paths, prefix, func(a, b smt.Hash) int { return bytes.Compare(a[:], b[:]) })
	var changes []change
	for ; at < len(p.paths) && prefixOf(&p.paths[at], depth) == prefix; at++ {
		changes = append(changes, p.state[p.paths[at]])
	}
	return now.merge(changes), nil
}
