package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// Fault is one thing wrong with the rows of a map. It is an ErrCorrupt.
type Fault struct {
	What string // in words
	Row  []byte // key of the row in the store, if the fault is in one row
}

func (f *Fault) Error() string {
	if f.Row == nil {
		return "state: corrupt: " + f.What
	}
	return fmt.Sprintf("state: corrupt: %s: row %x", f.What, f.Row)
}

// Is makes every Fault an ErrCorrupt.
func (f *Fault) Is(target error) bool { return target == ErrCorrupt }

// faultsMax faults are reported; one flipped bit makes one to a few.
const faultsMax = 20

// Check recomputes the map in s from its value rows alone, and holds every other row of the map against that: leaves, pages,
// root, and, going back version by version, all that proofs of the versions kept rest on. It also finds rows that belong to
// nothing. The error joins up to 20 *Fault, or is the store's. It reads everything and holds about 200 bytes a key in
// memory; blocks may be applied meanwhile.
func Check(s Store) error {
	snapshot, err := s.Snapshot()
	if err != nil {
		return err
	}
	defer snapshot.Close()
	c := &checker{rows: snapshot}
	if err := c.run(); err != nil && !errors.Is(err, errFaults) {
		return err
	}
	return errors.Join(c.faults...)
}

var errFaults = errors.New("too many faults")

type checker struct {
	rows   Reader
	meta   meta
	floor  uint64
	leaves []smt.Leaf
	tree   subtree // all of it, at the version reached; its mods mean nothing
	faults []error
}

// fault notes a fault; its error ends the check once there are enough.
func (c *checker) fault(row []byte, format string, args ...any) error {
	c.faults = append(c.faults, &Fault{fmt.Sprintf(format, args...), bytes.Clone(row)})
	if len(c.faults) >= faultsMax {
		return errFaults
	}
	return nil
}

// note files a reading error as a fault if it is one, and returns it if not.
func (c *checker) note(err error) error {
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	return c.fault(nil, "%v", err)
}

func (c *checker) run() (err error) {
	if c.meta, err = readMeta(c.rows); err != nil {
		return errors.Join(c.note(err), errFaults) // nothing below makes sense without it
	}
	if c.floor, err = readFloor(c.rows); err != nil {
		return errors.Join(c.note(err), errFaults)
	}
	if c.floor > c.meta.flushed {
		err = c.fault([]byte{rowFloor}, "versions kept from %d, pages are of %d", c.floor, c.meta.flushed)
	}
	for _, step := range []func() error{c.strays, c.values, c.leafRows, c.head, c.replay, c.versions} {
		if err = errors.Join(err, step()); err != nil {
			return err
		}
	}
	return nil
}

// strays finds rows under the map's prefixes that are no map's. What is within the tables, the other steps look at.
func (c *checker) strays() error {
	single := func(key []byte) bool { return len(key) == 1 && (key[0] == rowMeta || key[0] == rowFloor) }
	for _, gap := range [][2]byte{{0, rowValue}, {rowUndo + 1, SharedPrefixMin}} {
		lo := []byte{gap[0]}
		if gap[0] == 0 {
			lo = nil // from the empty key on
		}
		err := c.rows.Scan(lo, []byte{gap[1]}, func(key, _ []byte) (bool, error) {
			if single(key) {
				return true, nil
			}
			return true, c.fault(key, "unknown row")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// values reads the value rows into leaves.
func (c *checker) values() error {
	err := c.rows.Scan([]byte{rowValue}, []byte{rowValue + 1}, func(key, value []byte) (bool, error) {
		c.leaves = append(c.leaves, smt.Leaf{Path: smt.Path(key[1:]), Value: smt.Value(value)})
		return true, nil
	})
	slices.SortFunc(c.leaves, func(a, b smt.Leaf) int { return bytes.Compare(a.Path[:], b.Path[:]) })
	return err
}

// leafRows holds the leaf rows against leaves.
func (c *checker) leafRows() error {
	want := c.leaves
	err := c.rows.Scan([]byte{rowLeaf}, []byte{rowLeaf + 1}, func(key, value []byte) (bool, error) {
		for len(want) > 0 && bytes.Compare(want[0].Path[:], key[1:]) < 0 {
			if err := c.fault(leafKey(&want[0].Path), "leaf missing"); err != nil {
				return false, err
			}
			want = want[1:]
		}
		if len(want) == 0 || !bytes.Equal(want[0].Path[:], key[1:]) {
			return true, c.fault(key, "leaf without a value")
		}
		leaf := want[0]
		want = want[1:]
		if !bytes.Equal(leaf.Value[:], value) {
			return true, c.fault(key, "leaf differs from its value")
		}
		return true, nil
	})
	for ; err == nil && len(want) > 0; want = want[1:] {
		err = c.fault(leafKey(&want[0].Path), "leaf missing")
	}
	return err
}

// head builds the tree and compares the root.
func (c *checker) head() error {
	all := newBucket(len(c.leaves))
	for _, l := range c.leaves {
		all.add(l.Path, l.Hash(), nil)
	}
	c.leaves = nil
	c.tree = (&grower{}).build(all, 0, len(all.paths), 0)
	return c.sameRoot(c.meta.root, c.meta.version, []byte{rowMeta})
}

func (c *checker) sameRoot(said nodeInfo, version uint64, row []byte) error {
	if said.hash != c.tree.info.hash || said.count != c.tree.info.count {
		return c.fault(row, "root of version %d is %x over %d leaves, computed %x over %d",
			version, said.hash, said.count, c.tree.info.hash, c.tree.info.count)
	}
	return nil
}

// replay opens the map as OpenMap would, down to the last page.
func (c *checker) replay() error {
	tree, _, err := recoverTree(c.rows, c.meta)
	if err != nil {
		return c.note(err)
	}
	return c.walk(tree, smt.Hash{}, 0)
}

func (c *checker) walk(s subtree, prefix smt.Hash, depth int) (err error) {
	if !s.info.isPage() {
		return nil
	}
	if s.page == nil {
		if s.page, err = readPage(c.rows, s.info, &prefix, depth); err != nil {
			return c.note(err)
		}
	}
	for k := range s.page.children {
		if err := c.walk(s.page.at(k), childPrefix(prefix, depth, k), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// versions goes back through the versions kept; on the way it passes the one that the page rows are of.
func (c *checker) versions() error {
	var headers []undoHeader
	expect := c.meta.root.mod
	err := c.rows.Scan([]byte{rowUndo}, []byte{rowUndo + 1}, func(key, row []byte) (bool, error) {
		var h undoHeader
		cur := cursor{b: key[1:]}
		version := cur.u64()
		switch {
		case len(key) != 9 && len(key) != 11, version <= c.floor, version > c.meta.version:
			return true, c.fault(key, "undo row outside the versions kept")
		case len(key) == 11:
			if n := len(headers); n == 0 || headers[n-1].version != version || int(cur.u16())>>headers[n-1].bits != 0 {
				return true, c.fault(key, "undo row without a header")
			}
			return true, nil
		}
		h, err := parseUndoHeader(key, row)
		if err != nil {
			return true, c.note(err)
		}
		headers = append(headers, h)
		return true, nil
	})
	for i := len(headers) - 1; i >= 0 && err == nil; i-- {
		if headers[i].version <= c.meta.flushed && (i == len(headers)-1 || headers[i+1].version > c.meta.flushed) {
			err = c.pageRows()
		}
		if h := headers[i]; err == nil && h.version != expect {
			return c.fault(undoKey(h.version), "version %d follows %d", expect, h.version)
		}
		if err == nil {
			err = c.undo(headers[i])
			expect = headers[i].root.mod
		}
	}
	if err == nil && expect > c.floor {
		err = c.fault(undoKey(expect), "undo row of version %d missing", expect)
	}
	if err == nil && (len(headers) == 0 || headers[0].version > c.meta.flushed) {
		err = c.pageRows()
	}
	return err
}

// pageRows holds the page rows against the tree.
func (c *checker) pageRows() error {
	rows := 0
	err := c.rows.Scan([]byte{rowPage}, []byte{rowPage + 1}, func(key, row []byte) (bool, error) {
		p, err := parsePage(key, row)
		if err != nil {
			return true, c.note(err)
		}
		at := place{depth: int(key[1])}
		copy(at.prefix[:], key[2:])
		want := c.tree.find(at)
		if want == nil || !bytes.Equal(key, pageKey(&at.prefix, at.depth)) {
			return true, c.fault(key, "page that no parent has")
		}
		rows++
		for k := range p.children {
			if a, b := &p.children[k], &want.children[k]; a.hash != b.hash || a.count != b.count {
				return true, c.fault(key, "child %d differs from the leaves below", k)
			}
		}
		return true, nil
	})
	if pages := c.tree.countPages(); err == nil && len(c.faults) == 0 && rows != pages {
		err = c.fault(nil, "%d page rows for %d pages", rows, pages)
	}
	return err
}

// find returns the page at p in a tree that is all loaded, or nil.
func (s subtree) find(p place) *page {
	for depth := 0; s.info.isPage(); depth++ {
		if depth == p.depth {
			return s.page
		}
		s = s.page.at(nibble(&p.prefix, depth))
	}
	return nil
}

func (s subtree) countPages() int {
	if !s.info.isPage() {
		return 0
	}
	n := 1
	for k := range s.page.children {
		n += s.page.at(k).countPages()
	}
	return n
}

// undo takes the tree from just after version h to just before it, and holds the items of h against the two.
func (c *checker) undo(h undoHeader) error {
	var changes []change
	items := map[place]undoItem{}
	for shard := range 1 << h.bits {
		err := h.eachItem(c.rows, shard, func(it *undoItem) error {
			if shardOf(&it.path, h.bits) != shard {
				return fmt.Errorf("%w: item in the wrong shard of version %d", ErrCorrupt, h.version)
			}
			if it.kind == undoPage {
				items[place{it.path, it.depth}] = *it
				return nil
			}
			ch := change{leaf: smt.Leaf{Path: it.path}, deleted: !it.had}
			if it.had {
				ch.leaf.Value = smt.Value(it.value)
			}
			changes = append(changes, ch)
			return nil
		})
		if err != nil {
			return errors.Join(c.note(err), errFaults) // older versions cannot be reached
		}
	}
	slices.SortStableFunc(changes, comparePaths)
	after := c.tree
	g := &grower{leaves: func(p *smt.Hash, depth int) (*bucket, error) { return nil, errNode("nothing loaded", p, depth) }}
	tree, err := g.apply(c.tree, 0, changes)
	if err != nil {
		return errors.Join(c.note(err), errFaults)
	}
	c.tree = tree
	if err := c.sameRoot(h.root, h.version-1, undoKey(h.version)); err != nil {
		return err
	}
	return c.undoPages(h, after, changes, items)
}

// undoPages holds the page items of h against the pages on the way to what it changed.
func (c *checker) undoPages(h undoHeader, after subtree, changes []change, items map[place]undoItem) error {
	want := map[place]uint16{}
	var places []place
	for i := range changes {
		path := &changes[i].leaf.Path
		for depth, s := 0, c.tree; s.info.isPage(); depth++ {
			at := place{prefixOf(path, depth), depth}
			if _, seen := want[at]; !seen {
				places = append(places, at)
			}
			if after.find(at) == nil {
				want[at] = 0xffff
			}
			want[at] |= 1 << nibble(path, depth)
			s = s.page.at(nibble(path, depth))
		}
	}
	sort.Slice(places, func(i, j int) bool { return places[i].depth < places[j].depth })
	for _, at := range places {
		item, p := items[at], c.tree.find(at)
		wrong := item.set != want[at]
		for k := range item.children {
			if said, is := item.children[k], p.children[k]; item.set>>k&1 == 1 {
				wrong = wrong || said.hash != is.hash || said.count != is.count || said.mod >= h.version
			}
		}
		if wrong {
			return c.fault(undoKey(h.version), "version %d says wrong what it replaced at %d bits of %x",
				h.version, at.depth*nibbleBits, at.prefix)
		}
	}
	if len(items) != len(places) {
		return c.fault(undoKey(h.version), "version %d has items for %d pages, changed %d", h.version, len(items), len(places))
	}
	return nil
}
