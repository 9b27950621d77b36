package state

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/google/btree"
)

// Memory is a Store in memory, for tests, simulations and tools. It can be told to fail, and to crash: Crash returns what a
// machine that lost power would find. The zero value is not usable; call NewMemory.
type Memory struct {
	mu     sync.RWMutex
	rows   *btree.BTreeG[row] // guarded by mu; clones are read without it
	flush  *btree.BTreeG[row] // as of the last durable commit
	closed bool
	fail   func(durable bool) (persist bool, err error)
}

type row struct{ key, value []byte }

func rowLess(a, b row) bool { return bytes.Compare(a.key, b.key) < 0 }

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{rows: btree.NewG(32, rowLess), flush: btree.NewG(32, rowLess)}
}

// FailCommits makes every later Commit ask fail first (nil: stop failing). If fail returns an error, Commit returns it, and
// the batch is applied all the same if persist is true: "failed but persisted", the case that callers forget.
func (m *Memory) FailCommits(fail func(durable bool) (persist bool, err error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

// Crash returns a new store with what a crash leaves behind: with losePower the state as of the last durable commit,
// otherwise all that was committed. The old store stays usable, and apart.
func (m *Memory) Crash(losePower bool) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := m.rows
	if losePower {
		from = m.flush
	}
	return &Memory{rows: from.Clone(), flush: from.Clone()}
}

// Get implements Reader.
func (m *Memory) Get(key []byte) ([]byte, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, false, ErrClosed
	}
	r, ok := m.rows.Get(row{key: key})
	return r.value, ok, nil
}

// Scan implements Reader, over a snapshot taken when it starts.
func (m *Memory) Scan(lo, hi []byte, fn func(key, value []byte) (bool, error)) error {
	s, err := m.Snapshot()
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Scan(lo, hi, fn)
}

// NewBatch implements Store.
func (m *Memory) NewBatch() Batch { return &memoryBatch{store: m} }

// Snapshot implements Store.
func (m *Memory) Snapshot() (Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	return memorySnapshot{m.rows.Clone()}, nil
}

// Close implements Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

type memorySnapshot struct{ rows *btree.BTreeG[row] }

func (s memorySnapshot) Get(key []byte) ([]byte, bool, error) {
	r, ok := s.rows.Get(row{key: key})
	return r.value, ok, nil
}

func (s memorySnapshot) Scan(lo, hi []byte, fn func(key, value []byte) (bool, error)) (err error) {
	s.rows.AscendGreaterOrEqual(row{key: lo}, func(r row) bool {
		if hi != nil && bytes.Compare(r.key, hi) >= 0 {
			return false
		}
		var more bool
		more, err = fn(r.key, r.value)
		return more && err == nil
	})
	return err
}

func (s memorySnapshot) Close() error { return nil }

type memoryOp struct {
	kind       byte // 's'et, 'd'elete, delete 'r'ange
	key, value []byte
}

type memoryBatch struct {
	store *Memory
	ops   []memoryOp
	done  bool
}

func (b *memoryBatch) add(kind byte, key, value []byte) error {
	if b.done {
		return ErrClosed
	}
	b.ops = append(b.ops, memoryOp{kind, bytes.Clone(key), append([]byte{}, value...)})
	return nil
}

func (b *memoryBatch) Set(key, value []byte) error     { return b.add('s', key, value) }
func (b *memoryBatch) Delete(key []byte) error         { return b.add('d', key, nil) }
func (b *memoryBatch) DeleteRange(lo, hi []byte) error { return b.add('r', lo, hi) }

func (b *memoryBatch) Commit(durable bool) error {
	if b.done {
		return ErrClosed
	}
	b.done = true
	m := b.store
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	persist, err := true, error(nil)
	if m.fail != nil {
		if persist, err = m.fail(durable); err == nil {
			persist = true
		}
	}
	if persist {
		b.apply(m.rows)
		if durable {
			m.flush = m.rows.Clone()
		}
	}
	if err != nil {
		return fmt.Errorf("state: memory commit: %w", err)
	}
	return nil
}

func (b *memoryBatch) apply(rows *btree.BTreeG[row]) {
	for _, op := range b.ops {
		switch op.kind {
		case 's':
			rows.ReplaceOrInsert(row{op.key, op.value})
		case 'd':
			rows.Delete(row{key: op.key})
		case 'r':
			var gone []row
			rows.AscendRange(row{key: op.key}, row{key: op.value}, func(r row) bool {
				gone = append(gone, r)
				return true
			})
			for _, r := range gone {
				rows.Delete(r)
			}
		}
	}
}

func (b *memoryBatch) Close() error {
	b.done, b.ops = true, nil
	return nil
}
