// Package translog keeps an append-only Merkle log (RFC 6962, SHA-256) of
// 32-byte leaves as C2SP tiles (c2sp.org/tlog-tiles) in a caller's key-value
// store. The ledger's log of entries is one; members' streams are others.
//
// # Use
//
// [Open] a [Tree] over a [Reader]. For each block, [Tree.Stage] its leaves into
// the block's write batch, which yields the size and root to be; commit the
// batch; then [Tree.Advance]. A stage whose batch is dropped is forgotten by
// the next Stage. Any number of goroutines may read (proofs, tiles, roots of
// any size up to the head) while one stages and advances; a reader sees the
// head as it was when its call began.
//
// # Storage
//
// Keys are the caller's prefix, one byte of kind and an index; layout.go says
// which. A full tile is written once and never again. Per leaf the store holds
// 32 bytes and 1/256 of 32 more: hashes of level 0 are recomputed from the
// entries tile (25 µs), partial tiles of the upper levels live in memory and
// are rebuilt on Open. The leaves of the partial entries tile are written as one
// row per block, into at most 256 keys that each following tile overwrites.
// Every value carries the hash of its content: a damaged one is reported
// ([ErrCorrupt]) where it is read, and [Check] looks at all of them.
//
// # Limits
//
// No clock, no network, no goroutines. Sizes to 2^56. The package keeps no
// size or root of its own: the caller commits those in the same batch and gives
// them to Open, which refuses a store that does not lead to them.
package translog

import (
	"sync/atomic"

	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// LeafBytes is the length of every leaf.
const LeafBytes = 32

// Hash is a node of the Merkle tree.
type Hash = c2sp.Hash

// Reader is the store a log lies in. Get returns the value and whether there is
// one; the value must not change afterwards. It must be safe for concurrent use
// and show committed batches only.
type Reader interface {
	Get(key []byte) ([]byte, bool, error)
}

// Writer is a batch: all that is set is committed together or not at all. It
// must not keep the slices after Set returns.
type Writer interface {
	Set(key, value []byte) error
}

// Tree is a log. See the package comment for who may call what when.
type Tree struct {
	store  layout
	head   atomic.Pointer[head]
	staged *head // owned by the one goroutine that stages
}

// Size is the number of leaves at the head.
func (t *Tree) Size() uint64 { return t.head.Load().size }

// Root is the root at the head.
func (t *Tree) Root() Hash { return t.head.Load().root() }

// Head is Size and Root of one and the same moment.
func (t *Tree) Head() (size uint64, root Hash) {
	h := t.head.Load()
	return h.size, h.root()
}

// Stage appends leaves to what a batch will commit and returns the size and
// root that the log will have. The head does not move until [Tree.Advance].
// Staging again without Advance starts over from the head. On an error the
// batch must be dropped.
func (t *Tree) Stage(leaves [][LeafBytes]byte, w Writer) (size uint64, root Hash, err error) {
	t.staged = nil
	old := t.head.Load()
	if uint64(len(leaves)) > c2sp.TreeSizeMax-old.size {
		return 0, Hash{}, ErrFull
	}
	next := old.clone()
	if err := next.append(leaves, t.store, w); err != nil {
		return 0, Hash{}, err
	}
	t.staged = next
	return next.size, next.root(), nil
}

// Advance makes the staged size the head. Call it once the batch is committed
// and can be read. Without a stage it does nothing.
func (t *Tree) Advance() {
	if t.staged == nil {
		return
	}
	t.head.Store(t.staged)
	t.staged = nil
}
