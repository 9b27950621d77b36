package translog

import (
	"fmt"
	"sync"

	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// CosignState keeps the last checkpoint that a [Cosigner] signed. There is one
// for each cosigner key and log; two processes must not share it.
type CosignState interface {
	// Load returns the last checkpoint saved, and false when there is none.
	Load() (c2sp.Checkpoint, bool, error)
	// Save replaces it. It returns only once the new one would survive a crash;
	// after an error either may be found.
	Save(c2sp.Checkpoint) error
}

// ErrConflict: the old size that a request names is not that of the last
// checkpoint cosigned (409 in c2sp.org/tlog-witness). Last is what to start
// from.
type ErrConflict struct{ Old, Last uint64 }

func (e ErrConflict) Error() string {
	return fmt.Sprintf("last cosigned size is %d, not %d", e.Last, e.Old)
}

// ErrRollback: the checkpoint is smaller than one already cosigned.
type ErrRollback struct{ Size, Last uint64 }

func (e ErrRollback) Error() string {
	return fmt.Sprintf("checkpoint of size %d is older than size %d, already cosigned", e.Size, e.Last)
}

// ErrBehind: the checkpoint is ahead of this node's own copy of the log, so
// that it cannot be judged yet.
type ErrBehind struct{ Size, Own uint64 }

func (e ErrBehind) Error() string {
	return fmt.Sprintf("checkpoint of size %d, own copy of the log has %d", e.Size, e.Own)
}

// Cosigner states, with a time, that a checkpoint is the largest consistent
// tree it has seen of one log (c2sp.org/tlog-cosignature). It never signs two
// trees of which one does not extend the other, nor a smaller one after a
// larger, across restarts: what it is about to sign is saved first. The last
// checkpoint may be cosigned again and again, each time with a fresh time.
// It is safe for concurrent use.
type Cosigner struct {
	origin string
	key    *c2sp.CosignKey
	state  CosignState

	mu        sync.Mutex
	last      c2sp.Checkpoint
	unsettled bool // a Save failed: it may or may not have happened
}

// NewCosigner takes up where state left off, for the log named origin.
func NewCosigner(origin string, key *c2sp.CosignKey, state CosignState) (*Cosigner, error) {
	c := &Cosigner{origin: origin, key: key, state: state}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Cosigner) load() error {
	last, ok, err := c.state.Load()
	if err != nil {
		return fmt.Errorf("translog: loading cosigner state: %w", err)
	}
	if !ok {
		last = c2sp.Checkpoint{Origin: c.origin, Root: c2sp.EmptyRoot()}
	}
	if last.Origin != c.origin {
		return c2sp.ErrOrigin{Have: last.Origin, Want: c.origin}
	}
	c.last, c.unsettled = last, false
	return nil
}

// settle finds out what a failed Save left behind. The caller holds the lock.
func (c *Cosigner) settle() error {
	if !c.unsettled {
		return nil
	}
	return c.load()
}

// Last is the last checkpoint signed; of size 0 when there is none.
func (c *Cosigner) Last() c2sp.Checkpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// SignHead publishes the head of the node's own log: a checkpoint with its log
// signature and its cosignature of time now (UTC milliseconds). The log key
// signs under the same rules as the cosigner's.
// Errors: [ErrRollback], [c2sp.ErrForked], [c2sp.ErrOrigin].
func (c *Cosigner) SignHead(t *Tree, log *c2sp.LogKey, now uint64) ([]byte, error) {
	size, root := t.Head()
	head := c2sp.Checkpoint{Origin: c.origin, Size: size, Root: root}
	cosignature, err := c.cosignOwn(t, head, now)
	if err != nil {
		return nil, err
	}
	signature, err := log.Sign(head)
	if err != nil {
		return nil, err
	}
	return c2sp.Assemble(head, signature, cosignature)
}

// CosignPeer cosigns another node's checkpoint, signed by one of the trusted
// log keys, if this node's own copy of the log has that very root at that size.
// Errors: those of [c2sp.Open], [c2sp.ErrOrigin], [ErrBehind], [ErrRollback],
// [c2sp.ErrForked].
func (c *Cosigner) CosignPeer(t *Tree, signed []byte, trusted []c2sp.VerifierKey, now uint64) (c2sp.Signature, error) {
	head, err := c.open(signed, trusted)
	if err != nil {
		return c2sp.Signature{}, err
	}
	return c.cosignOwn(t, head, now)
}

// cosignOwn signs a checkpoint whose truth this node's own log decides.
func (c *Cosigner) cosignOwn(t *Tree, head c2sp.Checkpoint, now uint64) (c2sp.Signature, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.settle(); err != nil {
		return c2sp.Signature{}, err
	}
	own := t.Size()
	if head.Size > own {
		return c2sp.Signature{}, ErrBehind{Size: head.Size, Own: own}
	}
	if head.Size < c.last.Size {
		return c2sp.Signature{}, ErrRollback{Size: head.Size, Last: c.last.Size}
	}
	root, err := t.RootAt(head.Size)
	if err != nil {
		return c2sp.Signature{}, err
	}
	if root != head.Root {
		return c2sp.Signature{}, c2sp.ErrForked{Old: c2sp.Checkpoint{Origin: c.origin, Size: head.Size, Root: root}, New: head}
	}
	proof, err := t.Consistency(c.last.Size, head.Size)
	if err != nil {
		return c2sp.Signature{}, err
	}
	return c.sign(head, proof, now)
}

// CosignWitness is the rule of c2sp.org/tlog-witness, add-checkpoint, for a log
// of which this node has no copy: the checkpoint is signed by a trusted log
// key, old is the last size cosigned, and proof leads from there.
// Errors: those of [c2sp.Open] (403), [c2sp.ErrOrigin] (404), [ErrRollback]
// (400), [ErrConflict] (409), [c2sp.ErrForked] (409 when the sizes are equal,
// else 422).
func (c *Cosigner) CosignWitness(signed []byte, old uint64, proof []Hash, trusted []c2sp.VerifierKey, now uint64) (c2sp.Signature, error) {
	head, err := c.open(signed, trusted)
	if err != nil {
		return c2sp.Signature{}, err
	}
	if old > head.Size {
		return c2sp.Signature{}, ErrRollback{Size: head.Size, Last: old}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.settle(); err != nil {
		return c2sp.Signature{}, err
	}
	if old != c.last.Size {
		return c2sp.Signature{}, ErrConflict{Old: old, Last: c.last.Size}
	}
	return c.sign(head, proof, now)
}

func (c *Cosigner) open(signed []byte, trusted []c2sp.VerifierKey) (c2sp.Checkpoint, error) {
	head, _, err := c2sp.Unverified(signed)
	if err != nil {
		return head, err
	}
	if head.Origin != c.origin {
		return head, c2sp.ErrOrigin{Have: head.Origin, Want: c.origin}
	}
	for _, k := range trusted {
		if k.Name != c.origin || k.Type != c2sp.KeyEd25519 {
			return head, c2sp.ErrKeyType{Type: k.Type, Role: "log"}
		}
	}
	head, _, err = c2sp.Open(signed, trusted...)
	return head, err
}

// Advance takes the head of the node's own log for the last checkpoint, as if it had been signed: nothing smaller is cosigned from then on. It
// is for a state that came back from a backup, once the log holds more than can have been cosigned before. It is saved before it returns.
// Errors: [ErrRollback], [c2sp.ErrForked].
func (c *Cosigner) Advance(t *Tree) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.settle(); err != nil {
		return err
	}
	size, root := t.Head()
	head := c2sp.Checkpoint{Origin: c.origin, Size: size, Root: root}
	if size < c.last.Size {
		return ErrRollback{Size: size, Last: c.last.Size}
	}
	proof, err := t.Consistency(c.last.Size, size)
	if err != nil {
		return err
	}
	return c.follow(head, proof)
}

// sign checks head against the last checkpoint, saves it and signs. The caller
// holds the lock, so that no other checkpoint comes between check and save.
func (c *Cosigner) sign(head c2sp.Checkpoint, proof []Hash, now uint64) (c2sp.Signature, error) {
	if err := c.follow(head, proof); err != nil {
		return c2sp.Signature{}, err
	}
	return c.key.Cosign(head, now)
}

// follow makes head the last checkpoint, if it extends the one before.
func (c *Cosigner) follow(head c2sp.Checkpoint, proof []Hash) error {
	if head.Size < c.last.Size {
		return ErrRollback{Size: head.Size, Last: c.last.Size}
	}
	if err := c2sp.CheckConsistency(c.last, head, proof); err != nil {
		return err
	}
	if head != c.last {
		if err := c.state.Save(head); err != nil {
			c.unsettled = true
			return fmt.Errorf("translog: saving cosigner state: %w", err)
		}
		c.last = head
	}
	return nil
}
