// Package state is the ledger's state: an authenticated map (Map) from keys to values over an ordered key-value store
// (Store), of which there are two, Pebble and memory.
//
// # Use
//
//	m, err := OpenMap(store)
//	tx := m.Begin()                        // an overlay on the head, for one goroutine
//	mark := tx.Mark(); tx.Set(k, v); …     // tx.Revert(mark) takes back an envelope that failed half-way
//	b := store.NewBatch()
//	root, err := m.Stage(tx, height, b)    // adds the new version to b; others add their rows to the same batch
//	err = b.Commit(durable)                // everything of the block, or nothing
//	m.Advance()                            // the new version is the head
//
// Keys are kept as they are, so that Scan goes over a table in order; the tree over their hashes (protocol/smt has its rules)
// gives each version a root, and Prove shows a key present or absent under the root of any version not pruned. The root
// depends on keys and values alone: not on order, batches, versions, restarts or the store.
//
// The map's rows begin with the bytes 0x00 to 0x0f in the store; whoever shares the store (log tiles, entry bodies) begins
// keys at SharedPrefixMin, 0x10. docs/spec/state-map.md describes proofs and rows byte for byte.
//
// # Crashes
//
// A version is one batch. After a crash the store holds some version entirely, no older than the last durable one; the
// engine then applies again the blocks above Map.Version, and comes to the same roots. After Commit(true) has failed, the
// head must be taken as unknown: close, reopen, look.
//
// # What an update costs
//
// The tree is kept in pages of four binary levels above buckets of up to 32 leaves. An update writes its value row, a leaf
// row of 65 bytes and its share of an undo row, which keeps what it replaced; the hashes of buckets are not stored at all,
// and those of pages are written every 65,536 updates or 256 versions and replayed from the undo rows on opening. Undo rows
// begin with the version: written in order, deleted from the front. Old versions are thus cheap to keep, and dear to prove
// from in proportion to the versions between: keep hundreds or thousands, not millions.
//
// # Limits
//
// Keys to 1 KiB, values to 16 MiB (long values are copied a lot: keep them elsewhere, by hash). Leaves and values of up to
// 256 bytes stay in memory up to 384 MiB a map. Nothing here starts goroutines, reads clocks or depends on map order; Pebble
// does so below, where nothing that is agreed on can see it.
package state

import "errors"

// Errors that callers tell apart. All of them wrap with %w where a detail helps.
var (
	ErrLocked  = errors.New("state: folder in use by another process") // OpenPebble: retry once the other has stopped
	ErrClosed  = errors.New("state: closed")                           // use after Close
	ErrPruned  = errors.New("state: version pruned")                   // Prove: older than what Prune kept
	ErrFuture  = errors.New("state: version not reached")              // Prove: newer than the head
	ErrStale   = errors.New("state: transaction overtaken by Advance") // Tx: the head moved since Begin
	ErrVersion = errors.New("state: version out of order")             // Stage: not above the head's version
	ErrCorrupt = errors.New("state: corrupt")                          // a row that cannot be what was written; see Fault
	ErrLimit   = errors.New("state: key or value too long")            // beyond KeyBytesMax or ValueBytesMax
)

// Limits.
const (
	KeyBytesMax   = 1 << 10
	ValueBytesMax = 16 << 20
)

// Reader reads an ordered key-value space: a store, a snapshot of one, the head of a map, a view. It is safe for concurrent
// use.
type Reader interface {
	// Get returns the value of key and whether it has one. The caller must not change the value, and may keep it.
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan calls fn for each key in [lo, hi), ascending bytewise, until fn returns false or an error, which Scan returns.
	// A nil hi means no upper bound. key and value are valid only during the call. fn may read from the same Reader.
	Scan(lo, hi []byte, fn func(key, value []byte) (more bool, err error)) error
}

// Store is the ordered key-value store under the ledger. Durability: what Commit(true) returned nil for, and every batch
// before it, survives a crash of the process and of the machine; what Commit(false) returned nil for is read at once and
// survives Close, and may be lost, newest batches first and each as a whole, in a crash of either. Concurrency: all methods
// are safe for concurrent use; a reader sees each batch entirely or not at all. Implementations: OpenPebble, NewMemory.
type Store interface {
	Reader
	// NewBatch returns an empty batch, for one goroutine.
	NewBatch() Batch
	// Snapshot returns the store as it is now; it costs little, and holds back the reclaiming of space until closed.
	Snapshot() (Snapshot, error)
	// Close closes the store; batches and snapshots must be closed before.
	Close() error
}

// Snapshot is a store at one moment, unmoved by later batches.
type Snapshot interface {
	Reader
	Close() error
}

// Batch gathers writes that take effect together, in the order they were made. Keys and values are copied by each call.
type Batch interface {
	Set(key, value []byte) error
	Delete(key []byte) error
	// DeleteRange deletes all keys in [lo, hi), both given.
	DeleteRange(lo, hi []byte) error
	// Commit applies the batch; see Store for what durable means. After an error from Commit(true) the batch may have been
	// applied nevertheless: the caller must stop, reopen and look.
	Commit(durable bool) error
	// Close releases the batch; without a Commit before, nothing happened. It may be called twice.
	Close() error
}
