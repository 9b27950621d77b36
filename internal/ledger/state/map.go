package state

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// Limits of what a map holds back and keeps loaded.
const (
	// Page rows are written when this many leaves or versions have changed since they last were; OpenMap replays what came
	// after, which takes about a second at the most.
	flushLeavesMax   = 1 << 16
	flushVersionsMax = 256
	// Memory of the leaves and short values kept loaded; beyond, slices of the tree are forgotten at the next flush.
	cacheBytesMax = 384 << 20
	// Rows that one Prune deletes, but never part of a version.
	pruneRowsMax = 1 << 10
)

// Map is an authenticated map over a Store. One goroutine, the writer, calls Begin, Stage, Advance, Prune and Close; all
// other methods may be called by any goroutine at any time, and see the head as of the last Advance.
type Map struct {
	store Store
	head  atomic.Pointer[head]

	// Owned by the writer.
	staged  *staged
	dirty   dirty
	evictAt int // child of the root that is forgotten next
	cache   int // cacheBytesMax, or less in tests
	usual   int // keys that the last transaction touched
	both    Both
}

// Both runs two functions, in any order or at the same time, and returns when both have. What Stage yields does not depend on how.
type Both func(one, two func())

// RunBoth lets Stage work on the two halves of large trees at the same time; nil, as at first, one after the other. Starting goroutines is
// not for this package. Call it before the first Stage.
func (m *Map) RunBoth(b Both) { m.both = b }

// dirty is what has changed since the page rows were last written.
type dirty struct {
	flushed  uint64 // version of the page rows
	leaves   int
	versions int
	merged   []place
}

// staged is a head in waiting, with the dirty that goes with it.
type staged struct {
	meta  meta
	tree  subtree
	dirty dirty
}

// head is one version of the map: the store as of its commit, and its tree as far as loaded. Readers hold it by reference.
type head struct {
	Snapshot // of the whole store, rows under their prefixes
	meta     meta
	tree     *page // nil while the root is a bucket
	refs     atomic.Int64
}

// OpenMap opens the map in s, empty at version 0 if there is none. If the last page rows are older than the head, as after a
// crash or a plain stop, it replays what came after. Close the map before s.
func OpenMap(s Store) (*Map, error) {
	snapshot, err := s.Snapshot()
	if err != nil {
		return nil, err
	}
	m := &Map{store: s, cache: cacheBytesMax}
	at, err := readMeta(snapshot)
	if err != nil {
		return nil, errors.Join(err, snapshot.Close())
	}
	tree, d, err := recoverTree(snapshot, at)
	if err != nil {
		return nil, errors.Join(err, snapshot.Close())
	}
	m.dirty = d
	m.install(&head{Snapshot: snapshot, meta: at, tree: tree.page})
	return m, nil
}

// install makes h the head and lets go of the one before.
func (m *Map) install(h *head) {
	h.refs.Store(1)
	if old := m.head.Swap(h); old != nil {
		old.release()
	}
}

// acquire returns the head, which stays readable until released.
func (m *Map) acquire() *head {
	for {
		h := m.head.Load()
		if n := h.refs.Load(); n > 0 && h.refs.CompareAndSwap(n, n+1) {
			return h
		}
	}
}

func (h *head) release() {
	if h.refs.Add(-1) == 0 {
		h.Snapshot.Close()
	}
}

func (h *head) get(key []byte) ([]byte, bool, error) {
	if len(key) > KeyBytesMax {
		return nil, false, nil
	}
	var buf [128]byte
	return h.Snapshot.Get(append(append(buf[:0], rowValue), key...))
}

// recall answers from the tree as far as it is loaded: that a key is new, which most are that a block writes, and short values. It is for
// the writer alone, to whom buckets belong.
func (h *head) recall(path *smt.Hash) (value []byte, has, known bool) {
	p := h.tree
	for depth := 0; p != nil; depth++ {
		k := nibble(path, depth)
		switch info := &p.children[k]; {
		case info.count == 0:
			return nil, false, true
		case info.isPage():
			p = p.pages[k].Load()
		case p.buckets[k] == nil:
			return nil, false, false
		default:
			return p.buckets[k].recall(path)
		}
	}
	return nil, false, false
}

func (h *head) scan(lo, hi []byte, fn func(key, value []byte) (bool, error)) error {
	end := []byte{rowValue + 1}
	if hi != nil {
		end = valueKey(hi)
	}
	return h.Snapshot.Scan(valueKey(lo), end, func(key, value []byte) (bool, error) { return fn(key[1:], value) })
}

// Version returns the version of the head: that of the last Stage followed by Advance, 0 at first.
func (m *Map) Version() uint64 { return m.head.Load().meta.version }

// Root returns the root of the head, smt.Empty at first.
func (m *Map) Root() [32]byte { return m.head.Load().meta.root.hash }

// Get implements Reader at the head.
func (m *Map) Get(key []byte) (value []byte, ok bool, err error) {
	h := m.acquire()
	defer h.release()
	return h.get(key)
}

// Scan implements Reader at the head as it is when the scan starts.
func (m *Map) Scan(lo, hi []byte, fn func(key, value []byte) (more bool, err error)) error {
	h := m.acquire()
	defer h.release()
	return h.scan(lo, hi, fn)
}

// Begin returns a transaction on the head. Several may be open (say for a proposal and for the block decided); at most one
// of them can become the next version.
func (m *Map) Begin() *Tx { return newTx(m, m.head.Load()) }

// Stage adds to b what makes t the map's next version, and returns its root. The head stays as it is until b is committed
// and Advance called; a Stage not followed by both never happened. A later Stage replaces an earlier one. Versions may skip
// numbers; a skipped version reads as the one before it. Errors: ErrVersion, ErrStale, ErrLimit, ErrCorrupt, the store's;
// after an error b must be dropped.
func (m *Map) Stage(t *Tx, version uint64, b Batch) (root [32]byte, err error) {
	m.staged = nil
	h := m.head.Load()
	if t.m != m || t.base != h {
		return root, ErrStale
	}
	if version <= h.meta.version {
		return root, fmt.Errorf("%w: %d after %d", ErrVersion, version, h.meta.version)
	}
	m.usual = len(t.entries)
	changes, err := t.changes()
	if err != nil {
		return root, err
	}
	next := &staged{
		meta:  meta{version: version, root: h.meta.root},
		tree:  subtree{info: h.meta.root, page: h.tree},
		dirty: m.dirty,
	}
	if err := next.grow(t, changes, m.both, b); err != nil {
		return root, err
	}
	if err := next.finish(b); err != nil {
		return root, err
	}
	m.staged = next
	return next.meta.root.hash, nil
}

// changes returns the writes of t by path.
func (t *Tx) changes() (changes []change, err error) {
	changes = make([]change, 0, len(t.written))
	for _, e := range t.written {
		if !e.set {
			continue
		}
		if err = e.check(); err != nil {
			return nil, err
		}
		c := change{leaf: smt.Leaf{Path: *e.place()}, value: e.value, deleted: e.deleted, entry: e}
		if !e.deleted {
			c.leaf.Value = smt.Value(e.value)
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, comparePaths)
	return changes, err
}

// grow applies changes to the tree, and adds leaf, value and undo rows to b for those that change something.
func (s *staged) grow(t *Tx, changes []change, both Both, b Batch) error {
	h := t.base
	g := &grower{rows: h, leaves: readLeaves(h), values: t.before, version: s.meta.version, undo: newUndoWriter(len(changes)), both: both}
	tree, err := g.apply(s.tree, 0, changes)
	if err != nil || tree.info == s.tree.info {
		return err
	}
	s.tree, s.meta.root = tree, tree.info
	key := append(make([]byte, 0, 256), rowLeaf)
	for i := range changes {
		c := &changes[i]
		if c.entry.net = c.net; !c.net {
			continue
		}
		g.undo.leaf(&c.leaf.Path, c.old, c.had)
		if err := put(b, append(key[:1], c.leaf.Path[:]...), c.leaf.Value[:], c.deleted); err != nil {
			return err
		}
		s.dirty.leaves++
	}
	key[0] = rowValue
	for i := range changes {
		if e := changes[i].entry; e.net {
			if err := put(b, append(key[:1], e.key...), e.value, e.deleted); err != nil {
				return err
			}
		}
	}
	s.dirty.versions++
	s.dirty.merged = append(slices.Clip(s.dirty.merged), g.merged...)
	return g.undo.write(b, s.meta.version, &h.meta.root)
}

func put(b Batch, key, value []byte, deleted bool) error {
	if deleted {
		return b.Delete(key)
	}
	return b.Set(key, value)
}

// before is grower.values: the head has a leaf for c, so it must have a value.
func (t *Tx) before(c *change) ([]byte, error) {
	if err := t.load(c.entry); err != nil {
		return nil, err
	}
	if !c.entry.has {
		return nil, fmt.Errorf("%w: no value for leaf %x", ErrCorrupt, c.leaf.Path)
	}
	return c.entry.base, nil
}

// finish adds the page rows, if it is time, and the meta row to b.
func (s *staged) finish(b Batch) error {
	if s.dirty.leaves >= flushLeavesMax || s.dirty.versions >= flushVersionsMax {
		var prefix smt.Hash
		if err := writePages(b, s.tree, s.dirty.flushed, prefix, 0); err != nil {
			return err
		}
		for _, p := range s.dirty.merged {
			if s.tree.pageAt(p) {
				continue
			}
			if err := b.Delete(pageKey(&p.prefix, p.depth)); err != nil {
				return err
			}
		}
		s.dirty = dirty{flushed: s.meta.version}
	}
	s.meta.flushed = s.dirty.flushed
	key := []byte{rowMeta}
	return b.Set(key, s.meta.row(key))
}

// writePages writes the rows of the pages changed after version flushed; all of those are loaded.
func writePages(b Batch, s subtree, flushed uint64, prefix smt.Hash, depth int) error {
	if !s.info.isPage() || s.info.mod <= flushed {
		return nil
	}
	for k := range s.page.children {
		if err := writePages(b, s.page.at(k), flushed, childPrefix(prefix, depth, k), depth+1); err != nil {
			return err
		}
	}
	key := pageKey(&prefix, depth)
	return b.Set(key, pageRow(key, s.page))
}

// childPrefix is the prefix of child k of the node with this prefix at depth.
func childPrefix(prefix smt.Hash, depth, k int) smt.Hash {
	prefix[depth>>1] |= byte(k) << (4 * (1 - depth&1))
	return prefix
}

// pageAt reports whether a page stands at p, where one stood at some version after the last flush: what is on the way there
// and still a page is loaded.
func (s subtree) pageAt(p place) bool {
	for depth := 0; s.info.isPage(); depth++ {
		if depth == p.depth {
			return true
		}
		s = s.page.at(nibble(&p.prefix, depth))
	}
	return false
}

// Advance moves the head to what the last Stage made, whose batch must have been committed without an error. Without such
// a Stage it does nothing. If the store cannot be read any more, later reads say so.
func (m *Map) Advance() {
	s := m.staged
	if s == nil {
		return
	}
	m.staged = nil
	snapshot, err := m.store.Snapshot()
	if err != nil {
		snapshot = broken{err}
	}
	flushed := s.dirty.flushed != m.dirty.flushed
	m.dirty = s.dirty
	m.install(&head{Snapshot: snapshot, meta: s.meta, tree: s.tree.page})
	if flushed {
		m.evict(s.tree.page)
	}
}

// evict forgets slices of the tree until what is loaded fits the cache; right after a flush everything can be read back.
func (m *Map) evict(root *page) {
	if root == nil {
		return
	}
	for n := 0; n < pageFan && root.loaded() > m.cache; n++ {
		m.evictAt = (m.evictAt + 1) % pageFan
		root.pages[m.evictAt].Store(nil)
		root.buckets[m.evictAt] = nil
	}
}

// loaded is the memory of the buckets below p.
func (p *page) loaded() (bytes int) {
	for k := range p.children {
		if b := p.buckets[k]; b != nil {
			bytes += b.bytes()
		}
		if sub := p.pages[k].Load(); sub != nil {
			bytes += sub.loaded()
		}
	}
	return bytes
}

// Prune adds to b the deletion of what only versions below keepFrom need: those can no longer be proven once b is
// committed. Each call deletes a bounded number of rows; call it at each block. It never reaches past the last version with
// page rows, which is at most flushVersionsMax versions back. It may share a batch with Stage.
func (m *Map) Prune(keepFrom uint64, b Batch) error {
	at, err := readMeta(m.store)
	if err != nil {
		return err
	}
	floor, err := readFloor(m.store)
	if err != nil {
		return err
	}
	to := min(keepFrom, at.flushed)
	if to <= floor {
		return nil
	}
	rows, last := 0, floor
	err = m.store.Scan(undoKey(floor+1), undoKey(to+1), func(key, _ []byte) (bool, error) {
		c := cursor{b: key[1:]}
		version := c.u64()
		if version != last && rows >= pruneRowsMax {
			to = last // all of it is gone, and nothing up to version stands between
			return false, nil
		}
		rows, last = rows+1, version
		return true, b.Delete(key)
	})
	if err != nil {
		return err
	}
	key := []byte{rowFloor}
	return b.Set(key, seal(key, appendUint64(nil, to)))
}

// Close lets go of the store; views must be closed before. Reads then return ErrClosed.
func (m *Map) Close() error {
	m.staged = nil
	m.install(&head{Snapshot: broken{ErrClosed}})
	return nil
}

// broken is a snapshot that could not be had.
type broken struct{ err error }

func (b broken) Get([]byte) ([]byte, bool, error)                                 { return nil, false, b.err }
func (b broken) Scan([]byte, []byte, func(key, value []byte) (bool, error)) error { return b.err }
func (b broken) Close() error                                                     { return nil }

// View is the map at one version, unmoved by blocks applied meanwhile; safe for concurrent use until closed. It holds back
// the reclaiming of disk space, so it should live seconds, not hours.
type View struct {
	head   *head
	closed atomic.Bool
}

// View returns a view of the head.
func (m *Map) View() (*View, error) {
	v := &View{head: m.acquire()}
	if b, ok := v.head.Snapshot.(broken); ok {
		return nil, b.err
	}
	return v, nil
}

// Version returns the version the view was taken at.
func (v *View) Version() uint64 { return v.head.meta.version }

// Root returns its root.
func (v *View) Root() [32]byte { return v.head.meta.root.hash }

// Get implements Reader.
func (v *View) Get(key []byte) (value []byte, ok bool, err error) {
	if v.closed.Load() {
		return nil, false, ErrClosed
	}
	return v.head.get(key)
}

// Scan implements Reader.
func (v *View) Scan(lo, hi []byte, fn func(key, value []byte) (more bool, err error)) error {
	if v.closed.Load() {
		return ErrClosed
	}
	return v.head.scan(lo, hi, fn)
}

// Prove is Map.Prove for this view's version.
func (v *View) Prove(key []byte) (value []byte, ok bool, p smt.Proof, err error) {
	if v.closed.Load() {
		return nil, false, p, ErrClosed
	}
	return v.head.prove(key, v.head.meta.version)
}

// Close releases the view. A second Close does nothing; reads must have ended.
func (v *View) Close() error {
	if !v.closed.Swap(true) {
		v.head.release()
	}
	return nil
}
