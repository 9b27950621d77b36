package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	dbm "github.com/cometbft/cometbft-db"
)

// The engine's stores share one Pebble database, each under a prefix byte. One write-ahead log makes their order
// certain: when a block is on disk, so is all that was written before it. That is why only the block store and the
// evidence need to sync; what the state store loses in a crash is rebuilt at start (see repairLastResponse).
const (
	prefixBlocks   = 'b'
	prefixState    = 's'
	prefixEvidence = 'e'
	prefixOwn      = 'a'
)

var errEmptyKey = errors.New("consensus: empty key or nil value")

type silentLogger struct{}

func (silentLogger) Infof(string, ...any)  {}
func (silentLogger) Errorf(string, ...any) {}
func (silentLogger) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("consensus store: "+format, args...))
}

// database is a Pebble database that outlives nobody. The engine leaves goroutines behind that read its stores up to
// two seconds after it was stopped, and panics over errors; a goroutine that comes after close ends there.
type database struct {
	*pebble.DB
	mu     sync.RWMutex
	closed bool
}

func (d *database) enter() {
	d.mu.RLock()
	if d.closed {
		d.mu.RUnlock()
		runtime.Goexit()
	}
}

func (d *database) leave() { d.mu.RUnlock() }

// Close waits for reads and writes under way.
func (d *database) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.DB.Close()
}

func openPebble(dir string, readOnly bool) (*database, error) {
	cache := pebble.NewCache(8 << 20)
	defer cache.Unref()
	db, err := pebble.Open(dir, &pebble.Options{
		Cache: cache,
		// Without a listener Pebble ends the process over a bad checksum; the read that met it returns an error too.
		EventListener:               &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}},
		ErrorIfNotExists:            readOnly,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      silentLogger{},
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		ReadOnly:                    readOnly,
	})
	if err != nil && (strings.Contains(err.Error(), "lock") || strings.Contains(err.Error(), "temporarily unavailable")) {
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	if err != nil {
		return nil, err
	}
	return &database{DB: db}, nil
}

// kv is one prefix of a Pebble database behind the engine's store interface.
type kv struct {
	db     *database
	prefix byte
	sync   *pebble.WriteOptions // what the engine's "sync" writes do
}

var _ dbm.DB = (*kv)(nil)

func newKV(db *database, prefix byte, durable bool) *kv {
	if durable {
		return &kv{db, prefix, pebble.Sync}
	}
	return &kv{db, prefix, pebble.NoSync}
}

func (s *kv) key(k []byte) []byte {
	out := make([]byte, 1+len(k))
	out[0] = s.prefix
	copy(out[1:], k)
	return out
}

func (s *kv) Get(k []byte) ([]byte, error) {
	if len(k) == 0 {
		return nil, errEmptyKey
	}
	s.db.enter()
	defer s.db.leave()
	v, closer, err := s.db.Get(s.key(k))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

func (s *kv) Has(k []byte) (bool, error) {
	v, err := s.Get(k)
	return v != nil, err
}

func (s *kv) set(k, v []byte, o *pebble.WriteOptions) error {
	if len(k) == 0 || v == nil {
		return errEmptyKey
	}
	s.db.enter()
	defer s.db.leave()
	return s.db.Set(s.key(k), v, o)
}

func (s *kv) Set(k, v []byte) error     { return s.set(k, v, pebble.NoSync) }
func (s *kv) SetSync(k, v []byte) error { return s.set(k, v, s.sync) }

func (s *kv) delete(k []byte, o *pebble.WriteOptions) error {
	if len(k) == 0 {
		return errEmptyKey
	}
	s.db.enter()
	defer s.db.leave()
	return s.db.Delete(s.key(k), o)
}

func (s *kv) Delete(k []byte) error     { return s.delete(k, pebble.NoSync) }
func (s *kv) DeleteSync(k []byte) error { return s.delete(k, s.sync) }

// Close leaves the shared database open; its owner closes it.
func (s *kv) Close() error             { return nil }
func (s *kv) Print() error             { return nil }
func (s *kv) Stats() map[string]string { return nil }

func (s *kv) bounds(start, end []byte) (lower, upper []byte, err error) {
	if (start != nil && len(start) == 0) || (end != nil && len(end) == 0) {
		return nil, nil, errEmptyKey
	}
	lower, upper = []byte{s.prefix}, []byte{s.prefix + 1}
	if start != nil {
		lower = s.key(start)
	}
	if end != nil {
		upper = s.key(end)
	}
	return lower, upper, nil
}

func (s *kv) Compact(start, end []byte) error {
	return nil // Pebble compacts by itself; the engine asks only after pruning, which we do not do
}

func (s *kv) Iterator(start, end []byte) (dbm.Iterator, error) { return s.iterate(start, end, false) }
func (s *kv) ReverseIterator(start, end []byte) (dbm.Iterator, error) {
	return s.iterate(start, end, true)
}

func (s *kv) iterate(start, end []byte, reverse bool) (dbm.Iterator, error) {
	lower, upper, err := s.bounds(start, end)
	if err != nil {
		return nil, err
	}
	s.db.enter()
	defer s.db.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	out := &kvIterator{it: it, start: start, end: end, reverse: reverse}
	if reverse {
		it.Last()
	} else {
		it.First()
	}
	return out, nil
}

type kvIterator struct {
	it         *pebble.Iterator
	start, end []byte
	reverse    bool
}

func (i *kvIterator) Domain() ([]byte, []byte) { return i.start, i.end }
func (i *kvIterator) Valid() bool              { return i.it.Valid() }
func (i *kvIterator) Key() []byte              { return bytes.Clone(i.it.Key()[1:]) }
func (i *kvIterator) Value() []byte            { return bytes.Clone(i.it.Value()) }
func (i *kvIterator) Error() error             { return i.it.Error() }
func (i *kvIterator) Close() error             { return i.it.Close() }
func (i *kvIterator) Next() {
	if i.reverse {
		i.it.Prev()
	} else {
		i.it.Next()
	}
}

func (s *kv) NewBatch() dbm.Batch {
	s.db.enter()
	defer s.db.leave()
	return &kvBatch{kv: s, b: s.db.NewBatch()}
}

type kvBatch struct {
	kv *kv
	b  *pebble.Batch // nil once written or closed
}

var errBatchDone = errors.New("consensus: batch was written or closed")

func (b *kvBatch) Set(k, v []byte) error {
	if b.b == nil {
		return errBatchDone
	}
	if len(k) == 0 || v == nil {
		return errEmptyKey
	}
	op := b.b.SetDeferred(1+len(k), len(v))
	op.Key[0] = b.kv.prefix
	copy(op.Key[1:], k)
	copy(op.Value, v)
	return op.Finish()
}

func (b *kvBatch) Delete(k []byte) error {
	if b.b == nil {
		return errBatchDone
	}
	if len(k) == 0 {
		return errEmptyKey
	}
	return b.b.Delete(b.kv.key(k), nil)
}

func (b *kvBatch) write(o *pebble.WriteOptions) error {
	if b.b == nil {
		return errBatchDone
	}
	b.kv.db.enter()
	defer b.kv.db.leave()
	err := b.b.Commit(o)
	return errors.Join(err, b.Close())
}

func (b *kvBatch) Write() error     { return b.write(pebble.NoSync) }
func (b *kvBatch) WriteSync() error { return b.write(b.kv.sync) }

func (b *kvBatch) Close() error {
	if b.b == nil {
		return nil
	}
	err := b.b.Close()
	b.b = nil
	return err
}
