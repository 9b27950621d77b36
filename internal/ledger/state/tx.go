package state

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/btree"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// Tx is an overlay on the head: it gathers the writes of one block, and reads see them. It belongs to one goroutine, and
// lives until the next Advance; after that its methods that return an error return ErrStale. Drop it to abandon its writes.
type Tx struct {
	m       *Map
	base    *head
	entries map[string]*entry     // every key read or written
	written []*entry              // those ever written, in that order; what was reverted is no longer set
	sorted  *btree.BTreeG[*entry] // written[:indexed] by key, for scans; nil until the first
	indexed int
	journal []journalEntry // what Revert undoes
	room    []entry        // for new entries
}

// entry is what a Tx knows about one key.
type entry struct {
	key     string
	value   []byte // as written; nil if deleted
	set     bool   // written: value counts
	listed  bool   // stands in Tx.written
	deleted bool   // written, by Delete
	net     bool   // filled in by Stage: the head changes
	known   bool   // base and has are filled in
	has     bool   // the head has the key
	base    []byte // its value there
	path    smt.Hash
	hashed  bool // path is filled in
}

// journalEntry is an entry as it was before a write.
type journalEntry struct {
	e            *entry
	value        []byte
	set, deleted bool
}

func entryLess(a, b *entry) bool { return a.key < b.key }

// newTx makes room for as many keys as the last transaction that was staged had.
func newTx(m *Map, base *head) *Tx {
	return &Tx{m: m, base: base, entries: make(map[string]*entry, m.usual), journal: make([]journalEntry, 0, m.usual), written: make([]*entry, 0, m.usual)}
}

const roomEntries = 256 // made at once

func (t *Tx) at(key []byte) *entry {
	e := t.entries[string(key)]
	if e == nil {
		if len(t.room) == 0 {
			t.room = make([]entry, roomEntries)
		}
		e, t.room = &t.room[0], t.room[1:]
		e.key = string(key)
		t.entries[e.key] = e
	}
	return e
}

// load fills in what the head has for e.
func (t *Tx) load(e *entry) (err error) {
	if e.known {
		return nil
	}
	if t.m.head.Load() != t.base {
		return ErrStale
	}
	var held bool
	if e.base, e.has, held = t.base.recall(e.place()); !held {
		e.base, e.has, err = t.base.get([]byte(e.key))
	}
	e.known = err == nil
	return err
}

// place is where the entry's key stands in the tree.
func (e *entry) place() *smt.Hash {
	if !e.hashed {
		e.path, e.hashed = smt.Path([]byte(e.key)), true
	}
	return &e.path
}

// Get returns the value of key as this transaction sees it. The caller must not change it, and may keep it.
func (t *Tx) Get(key []byte) (value []byte, ok bool, err error) {
	e := t.at(key)
	if e.set {
		return e.value, !e.deleted, nil
	}
	if err := t.load(e); err != nil {
		return nil, false, err
	}
	return e.base, e.has, nil
}

// Set gives key a value; both are copied. Stage refuses, with ErrLimit, keys over KeyBytesMax and values over ValueBytesMax.
func (t *Tx) Set(key, value []byte) {
	t.write(key, append(make([]byte, 0, len(value)), value...), false)
}

// Delete takes key's value away, if it has one.
func (t *Tx) Delete(key []byte) { t.write(key, nil, true) }

func (t *Tx) write(key, value []byte, deleted bool) {
	e := t.at(key)
	t.journal = append(t.journal, journalEntry{e, e.value, e.set, e.deleted})
	if !e.listed {
		t.written, e.listed = append(t.written, e), true
	}
	e.value, e.set, e.deleted = value, true, deleted
}

// Mark returns a savepoint for Revert.
func (t *Tx) Mark() int { return len(t.journal) }

// Revert undoes every write since the Mark that returned mark. Savepoints taken since then are void; a mark that no Mark
// returned undoes nothing.
func (t *Tx) Revert(mark int) {
	for len(t.journal) > max(mark, 0) {
		last := len(t.journal) - 1
		j := t.journal[last]
		t.journal[last] = journalEntry{}
		t.journal = t.journal[:last]
		j.e.value, j.e.set, j.e.deleted = j.value, j.set, j.deleted
	}
}

// Scan is Reader.Scan over the head with this transaction's writes on top. fn may read and write through t: writes to keys
// past the current one are seen by the rest of the scan.
func (t *Tx) Scan(lo, hi []byte, fn func(key, value []byte) (more bool, err error)) error {
	if t.m.head.Load() != t.base {
		return ErrStale
	}
	s := merged{t: t, next: string(lo), hi: hi, fn: fn}
	err := t.base.scan(lo, hi, func(key, value []byte) (bool, error) {
		if more, err := s.overlay(key, false); err != nil || !more {
			return false, err
		}
		if e := t.entries[string(key)]; e != nil && e.set {
			return s.overlay(key, true)
		}
		s.next = string(key) + "\x00"
		return s.emit(key, value)
	})
	if err != nil || s.stopped {
		return err
	}
	_, err = s.overlay(hi, false)
	return err
}

// merged is the state of one Tx.Scan: overlay entries below next are done with.
type merged struct {
	t       *Tx
	next    string
	hi      []byte
	fn      func(key, value []byte) (bool, error)
	stopped bool
}

func (s *merged) emit(key, value []byte) (bool, error) {
	more, err := s.fn(key, value)
	s.stopped = s.stopped || !more
	return more, err
}

// overlay emits the written entries from s.next up to bound (nil: no bound), and bound itself if inclusive. It seeks anew
// for each, since fn may write.
func (s *merged) overlay(bound []byte, inclusive bool) (bool, error) {
	for {
		var e *entry
		s.t.byKey().AscendGreaterOrEqual(&entry{key: s.next}, func(x *entry) bool {
			e = x
			return !x.set
		})
		if e != nil && !e.set {
			return true, nil // all that follow were reverted
		}
		if e == nil {
			return true, nil
		}
		if c := bytes.Compare([]byte(e.key), bound); bound != nil && (c > 0 || c == 0 && !inclusive) {
			return true, nil
		}
		s.next = e.key + "\x00"
		if e.deleted {
			continue
		}
		if more, err := s.emit([]byte(e.key), e.value); err != nil || !more {
			return more, err
		}
	}
}

// byKey brings the index of what was written up to date.
func (t *Tx) byKey() *btree.BTreeG[*entry] {
	if t.sorted == nil {
		t.sorted = btree.NewG(32, entryLess)
	}
	for _, e := range t.written[t.indexed:] {
		t.sorted.ReplaceOrInsert(e)
	}
	t.indexed = len(t.written)
	return t.sorted
}

// Changed reports whether committing would change the map: a write of the value that is there already does not. A read
// error counts as a change; Stage then returns it.
func (t *Tx) Changed() bool {
	return slices.ContainsFunc(t.written, func(e *entry) bool { return e.set && (t.load(e) != nil || e.differs()) })
}

// differs reports whether a loaded entry differs from the head.
func (e *entry) differs() bool {
	if e.deleted {
		return e.has
	}
	return !e.has || !bytes.Equal(e.value, e.base)
}

// check holds a written entry to the limits.
func (e *entry) check() error {
	if len(e.key) > KeyBytesMax || len(e.value) > ValueBytesMax {
		return fmt.Errorf("%w: key %d, value %d bytes", ErrLimit, len(e.key), len(e.value))
	}
	return nil
}
