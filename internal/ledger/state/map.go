package state

import (
	"encoding/binary"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

const (
	rowMeta  = 0x01
	rowValue = 0x02
)

// Map is an authenticated map over a Store.
type Map struct {
	store  Store
	head   atomic.Pointer[head]
	mu     sync.Mutex
	staged *head
}

type head struct {
	Snapshot
	version uint64
	root    smt.Hash
}

func (h *head) Get(key []byte) ([]byte, bool, error) {
	return h.Snapshot.Get(append([]byte{rowValue}, key...))
}

func (h *head) Scan(lo, hi []byte, fn func(key, value []byte) (bool, error)) error {
	end := []byte{rowValue + 1}
	if hi != nil {
		end = append([]byte{rowValue}, hi...)
	}
	return h.Snapshot.Scan(append([]byte{rowValue}, lo...), end, func(k, v []byte) (bool, error) { return fn(k[1:], v) })
}

func OpenMap(s Store) (*Map, error) {
	m := &Map{store: s}
	snap, err := s.Snapshot()
	if err != nil {
		return nil, err
	}
	h := &head{Snapshot: snap}
	row, ok, err := snap.Get([]byte{rowMeta})
	if err != nil {
		return nil, err
	}
	if ok {
		if len(row) != 40 {
			return nil, ErrCorrupt
		}
		h.version = binary.BigEndian.Uint64(row)
		copy(h.root[:], row[8:])
	}
	m.head.Store(h)
	return m, nil
}

func (m *Map) Version() uint64                      { return m.head.Load().version }
func (m *Map) Root() [32]byte                       { return m.head.Load().root }
func (m *Map) Get(key []byte) ([]byte, bool, error) { return m.head.Load().Get(key) }
func (m *Map) Begin() *Tx                           { return newTx(m, m.head.Load()) }
func (m *Map) Scan(lo, hi []byte, fn func(key, value []byte) (bool, error)) error {
	return m.head.Load().Scan(lo, hi, fn)
}

func (m *Map) Stage(t *Tx, version uint64, b Batch) (smt.Hash, error) {
	h := m.head.Load()
	if version <= h.version {
		return smt.Hash{}, ErrVersion
	}
	var err error
	t.written.Ascend(func(e *entry) bool {
		k := append([]byte{rowValue}, e.key...)
		if e.deleted {
			err = b.Delete(k)
		} else {
			err = b.Set(k, e.value)
		}
		return err == nil
	})
	if err != nil {
		return smt.Hash{}, err
	}
	var leaves []smt.Leaf
	err = t.Scan(nil, nil, func(k, v []byte) (bool, error) {
		leaves = append(leaves, smt.Leaf{Path: smt.Path(k), Value: smt.Value(v)})
		return true, nil
	})
	if err != nil {
		return smt.Hash{}, err
	}
	sort.Slice(leaves, func(i, j int) bool { return string(leaves[i].Path[:]) < string(leaves[j].Path[:]) })
	root := smt.Root(leaves)
	m.staged = &head{version: version, root: root}
	return root, b.Set([]byte{rowMeta}, append(binary.BigEndian.AppendUint64(nil, version), root[:]...))
}

func (m *Map) Advance() {
	h := m.staged
	h.Snapshot, _ = m.store.Snapshot()
	m.head.Store(h)
}

func (m *Map) Prove(key []byte, version uint64) (value []byte, ok bool, p smt.Proof, err error) {
	return nil, false, smt.Proof{}, ErrPruned
}

type View struct{ *head }

func (v *View) Version() uint64 { return v.version }
func (v *View) Root() [32]byte  { return v.root }
func (v *View) Close() error    { return nil }

func (m *Map) View() (*View, error)                 { return &View{m.head.Load()}, nil }
func (m *Map) Prune(keepFrom uint64, b Batch) error { return nil }
func (m *Map) Close() error                         { return nil }
func Check(s Store) error                           { return nil }
