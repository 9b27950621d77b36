package state

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrDiskFull: less than PebbleOptions.ReserveBytes would be left free, so Commit did nothing. Free some space and go on.
var ErrDiskFull = errors.New("state: disk full")

// PebbleOptions tunes OpenPebble; the zero value is a sound default.
type PebbleOptions struct {
	CacheBytes    int64                // block cache; 0: 64 MiB
	MemtableBytes uint64               // one memtable, of at most four; 0: 64 MiB
	ReserveBytes  uint64               // free disk space below which Commit refuses; 0: 128 MiB
	ReadOnly      bool                 // refuse writes, as fsck wants; the folder must exist
	Logf          func(string, ...any) // Pebble's own errors; nil: dropped

	fs vfs.FS // tests put one that crashes
}

// pebbleFormat is the on-disk format, raised on purpose and never by upgrading the library.
const pebbleFormat = pebble.FormatColumnarBlocks

type pebbleStore struct {
	db      *pebble.DB
	lock    *pebble.Lock
	fs      vfs.FS
	dir     string
	reserve uint64       // bytes
	usual   atomic.Int64 // bytes of the last batch

	mu        sync.RWMutex // guards closed, snapshots, and ops.Add against ops.Wait
	closed    bool
	snapshots []*pebbleSnapshot // open ones: few
	ops       sync.WaitGroup
}

// OpenPebble opens the store in folder dir, creating it if need be. ErrLocked if another process, or this one, has it open.
func OpenPebble(dir string, o PebbleOptions) (Store, error) {
	if o.fs == nil {
		o.fs = vfs.Default
	}
	if o.ReadOnly {
		if _, err := o.fs.Stat(dir); err != nil {
			return nil, fmt.Errorf("state: open: %w", err)
		}
	} else if err := o.fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state: open: %w", err)
	}
	lock, err := pebble.LockDirectory(dir, o.fs)
	if err != nil {
		// Pebble has no typed error for a folder that this very process holds.
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "lock held") {
			return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
		}
		return nil, fmt.Errorf("state: lock %s: %w", dir, err)
	}
	cache := pebble.NewCache(orDefault(o.CacheBytes, 64<<20))
	defer cache.Unref()
	options := pebbleOptions(o, cache)
	options.Lock = lock
	db, err := pebble.Open(dir, options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("state: open %s: %w", dir, err), lock.Close())
	}
	return &pebbleStore{db: db, lock: lock, fs: o.fs, dir: dir, reserve: orDefault(o.ReserveBytes, 128<<20)}, nil
}

func pebbleOptions(o PebbleOptions, cache *pebble.Cache) *pebble.Options {
	options := &pebble.Options{
		FS:                          o.fs,
		Cache:                       cache,
		MemTableSize:                orDefault(o.MemtableBytes, 64<<20),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       1000,
		LBaseMaxBytes:               128 << 20,
		BytesPerSync:                1 << 20,
		FormatMajorVersion:          pebbleFormat,
		ReadOnly:                    o.ReadOnly,
		ErrorIfNotExists:            o.ReadOnly,
		Logger:                      pebbleLogger{o.Logf},
		// Without a listener Pebble ends the process over a bad checksum; the read that met it returns an error too.
		EventListener:              &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}},
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// Most of a row is hashes, and what lies in the first level is soon written again: compressing it there costs more than it saves.
	options.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	return options
}

func orDefault[T int64 | uint64](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// pebbleLogger drops Pebble's chatter. Fatalf is what Pebble calls when a write of its log failed half-way: nothing read
// from the process after that could be trusted, so it stops.
type pebbleLogger struct{ logf func(string, ...any) }

func (l pebbleLogger) Infof(string, ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	if l.logf != nil {
		l.logf(format, args...)
	}
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "anamnesis: storage failed, stopping: "+format+"\n", args...)
	os.Exit(1)
}

// enter keeps Close waiting until the matching ops.Done.
func (s *pebbleStore) enter() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	s.ops.Add(1)
	return nil
}

func (s *pebbleStore) Get(key []byte) ([]byte, bool, error) {
	return s.get(s.db, key)
}

func (s *pebbleStore) get(r pebble.Reader, key []byte) ([]byte, bool, error) {
	if err := s.enter(); err != nil {
		return nil, false, err
	}
	defer s.ops.Done()
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("state: get: %w", err)
	}
	value = append(make([]byte, 0, len(value)), value...)
	return value, true, closer.Close()
}

func (s *pebbleStore) Scan(lo, hi []byte, fn func(key, value []byte) (bool, error)) error {
	return s.scan(s.db, lo, hi, fn)
}

func (s *pebbleStore) scan(r pebble.Reader, lo, hi []byte, fn func(key, value []byte) (bool, error)) (err error) {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.ops.Done()
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return fmt.Errorf("state: scan: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("state: scan: %w", err)
		}
		if more, err := fn(it.Key(), value); err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// NewBatch makes room for as much as the last batch held.
func (s *pebbleStore) NewBatch() Batch {
	return &pebbleBatch{store: s, b: s.db.NewBatchWithSize(int(s.usual.Load()))}
}

func (s *pebbleStore) Snapshot() (Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	p := &pebbleSnapshot{store: s, s: s.db.NewSnapshot()}
	s.snapshots = append(s.snapshots, p)
	return p, nil
}

// Close waits for running reads and commits, closes snapshots left open, and flushes. A second Close does nothing.
func (s *pebbleStore) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.ops.Wait()
	var errs []error
	for _, p := range s.snapshots {
		errs = append(errs, p.s.Close())
	}
	s.snapshots = nil
	errs = append(errs, s.db.Close(), s.lock.Close())
	return errors.Join(errs...)
}

type pebbleSnapshot struct {
	store *pebbleStore
	s     *pebble.Snapshot
}

func (p *pebbleSnapshot) Get(key []byte) ([]byte, bool, error) { return p.store.get(p.s, key) }

func (p *pebbleSnapshot) Scan(lo, hi []byte, fn func(key, value []byte) (bool, error)) error {
	return p.store.scan(p.s, lo, hi, fn)
}

// Close must not run beside reads of the same snapshot; later ones must not follow.
func (p *pebbleSnapshot) Close() error {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	i := slices.Index(p.store.snapshots, p)
	if i < 0 {
		return nil
	}
	p.store.snapshots = slices.Delete(p.store.snapshots, i, i+1)
	return p.s.Close()
}

type pebbleBatch struct {
	store *pebbleStore
	b     *pebble.Batch // nil once closed
}

func (b *pebbleBatch) Set(key, value []byte) error {
	if b.b == nil {
		return ErrClosed
	}
	return b.b.Set(key, value, nil)
}

func (b *pebbleBatch) Delete(key []byte) error {
	if b.b == nil {
		return ErrClosed
	}
	return b.b.Delete(key, nil)
}

func (b *pebbleBatch) DeleteRange(lo, hi []byte) error {
	if b.b == nil {
		return ErrClosed
	}
	return b.b.DeleteRange(lo, hi, nil)
}

func (b *pebbleBatch) Commit(durable bool) error {
	if b.b == nil {
		return ErrClosed
	}
	if err := b.store.enter(); err != nil {
		return err
	}
	defer b.store.ops.Done()
	if err := b.store.checkSpace(uint64(b.b.Len())); err != nil {
		return err
	}
	option := pebble.NoSync
	if durable {
		option = pebble.Sync
	}
	b.store.usual.Store(min(int64(b.b.Len())+int64(b.b.Len())/8, batchRoomMax))
	if err := b.b.Commit(option); err != nil {
		return fmt.Errorf("state: commit: %w", err)
	}
	return b.Close()
}

// batchRoomMax bounds the room made for a batch, in bytes.
const batchRoomMax = 8 << 20

// checkSpace refuses a commit while Pebble still has room to stop cleanly, instead of letting it fail half-way.
func (s *pebbleStore) checkSpace(batchBytes uint64) error {
	usage, err := s.fs.GetDiskUsage(s.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("state: free space: %w", err)
	}
	if usage.AvailBytes < s.reserve+batchBytes {
		return fmt.Errorf("%w: %d MiB free in %s", ErrDiskFull, usage.AvailBytes>>20, s.dir)
	}
	return nil
}

func (b *pebbleBatch) Close() error {
	if b.b == nil {
		return nil
	}
	err := b.b.Close()
	b.b = nil
	return err
}
