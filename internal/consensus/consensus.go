// Package consensus runs the BFT engine (CometBFT v0.40, in process) for one node and is the only importer of it.
//
// It carries opaque parcels to an [Application]: admits them in signature batches, gossips them to the other nodes,
// puts them into blocks, and hands each committed block to the application exactly once and in order. [Start] gives a
// running [Node]; [Node.Submit] waits until a parcel is committed here; [Blocks] reads a stopped node's chain for fsck.
//
// What it promises:
//   - A parcel is verified once by each node (Application.Check, batched), then only its handle travels.
//   - No block enters the chain with an unverifiable parcel, or with parcels under a time that most nodes find stale.
//   - What Submit reported committed survives kill -9 and power loss: the block is on disk before the application runs.
//   - An idle network makes no blocks; a due end (Application.NextDue) makes one though nobody writes.
//
// Limits: at most one third of the voting power faulty; clocks of honest nodes within a second of each other; the
// validator set is the genesis's. The pool is in memory: a parcel whose Submit did not return may be lost in a crash.
//
// docs/spec/consensus.md has the bytes on the wire and the rule of time; docs/decisions/consensus-engine.md the reasons.
package consensus

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Application is the replicated state machine. internal/ledger through internal/node implements it.
//
// Apply, Commit, Head, NextDue and InitChain are called from one goroutine at a time; Check from many, also while
// Apply runs.
type Application interface {
	// Head is the last committed block: its height, the hash of the state after it and its time in UTC milliseconds.
	// Height is 0 until block 1 is committed, whatever InitChain did.
	Head() (height uint64, appHash [32]byte, timeMillis uint64)

	// InitChain makes the genesis state from the application's genesis bytes and returns its hash. It is called again
	// after a crash that came before block 1 was committed.
	InitChain(genesis []byte) ([32]byte, error)

	// Check verifies parcels: decoding, signatures, limits; pure, of the bytes alone, so that all nodes agree for ever.
	// It answers one Checked for each parcel, in order.
	Check(parcels [][]byte) []Checked

	// Apply executes a block: handles from Check in block order, none for a block that only moves time. It returns a
	// result for each parcel and the hash of the state after the block. Deterministic. An error is a broken
	// invariant: the node stops.
	Apply(height, timeMillis uint64, parcels []any) (results [][]byte, appHash [32]byte, err error)

	// Commit makes what Apply did durable before it returns.
	Commit() error

	// NextDue is the block time, UTC milliseconds, from which a block is due though nobody writes. Asked after Commit.
	NextDue() (timeMillis uint64, ok bool)
}

// Checked is Check's verdict on one parcel.
type Checked struct {
	Parcel    any   // the verified handle for Apply; meaningless if Err is set
	Envelopes int   // how many envelopes it holds: the unit of a block's size limit
	Err       error // why the parcel may never enter a block
}

// Offence is proven double signing by a validator, found by the engine and agreed on in a block.
type Offence struct {
	Validator  [20]byte // address of the validator's key: the first 20 bytes of its SHA-256
	Height     uint64   // where it double signed
	TimeMillis uint64   // block time of that height
}

// OffenceReceiver may be implemented by an Application that wants to know of double signing. Offences is called
// before Apply of the block that holds the evidence, and is part of the deterministic execution.
type OffenceReceiver interface {
	Offences(height uint64, offences []Offence)
}

// Validator is one vote of the consortium.
type Validator struct {
	Name  string
	Key   ed25519.PublicKey
	Power int64
}

// Genesis is what all nodes of a network must share bit by bit.
type Genesis struct {
	ChainID    string // at most 50 bytes
	Time       time.Time
	Validators []Validator
	App        []byte // handed to Application.InitChain
}

// Peer is another node: its transport key and TCP address. Connections from keys that are not listed are refused.
type Peer struct {
	Key     ed25519.PublicKey
	Address string // host:port
}

// Config of a node. Keys come decrypted from the caller and are never written by this package.
type Config struct {
	Dir          string             // the engine's folder, created if absent; one process at a time
	ValidatorKey ed25519.PrivateKey // signs votes; a key outside the validator set makes an observer
	NodeKey      ed25519.PrivateKey // identifies the node on the wire; not the validator key
	Listen       string             // host:port for the other nodes
	Peers        []Peer
	Genesis      Genesis
	Limits       Limits
	Logger       *slog.Logger     // nil: silent
	Clock        func() time.Time // nil: time.Now. Only the rule of time asks it; votes carry the system's time
	// Hold makes a node that signs nothing, no vote and no proposal, until Release: its folder may be older than what its key has signed.
	Hold bool
}

// Outcome of a committed parcel.
type Outcome struct {
	Height uint64
	Result []byte // as Apply returned it; not to be modified
}

var (
	ErrPoolFull     = errors.New("consensus: too many parcels are waiting; try again later")
	ErrTooLarge     = errors.New("consensus: parcel is empty or too large")
	ErrExpired      = errors.New("consensus: parcel waited too long and was dropped")
	ErrStopped      = errors.New("consensus: the node is stopped")
	ErrLocked       = errors.New("consensus: the folder is in use by another process")
	ErrOtherNetwork = errors.New("consensus: the folder belongs to another network")
	ErrDoubleSign   = errors.New("consensus: refusing to sign twice")
	ErrHeld         = errors.New("consensus: the folder was restored, and nothing is signed yet")
	ErrBroken       = errors.New("consensus: broken invariant")
	ErrConfig       = errors.New("consensus: configuration")
)

// RefusedError says why Application.Check refused a parcel. It is final for these bytes.
type RefusedError struct{ Reason error }

func (e *RefusedError) Error() string { return "consensus: parcel refused: " + e.Reason.Error() }
func (e *RefusedError) Unwrap() error { return e.Reason }

func (c *Config) validate() error {
	switch {
	case c.Dir == "":
		return fmt.Errorf("%w: no folder", ErrConfig)
	case len(c.ValidatorKey) != ed25519.PrivateKeySize || len(c.NodeKey) != ed25519.PrivateKeySize:
		return fmt.Errorf("%w: a key is missing or of the wrong size", ErrConfig)
	case c.Genesis.ChainID == "" || len(c.Genesis.ChainID) > 50:
		return fmt.Errorf("%w: chain id must have 1 to 50 bytes", ErrConfig)
	case len(c.Genesis.Validators) == 0 || len(c.Genesis.Validators) > ValidatorsMax:
		return fmt.Errorf("%w: 1 to %d validators", ErrConfig, ValidatorsMax)
	case len(c.Peers) > PeersMax:
		return fmt.Errorf("%w: at most %d peers", ErrConfig, PeersMax)
	}
	for _, p := range c.Peers {
		if len(p.Key) != ed25519.PublicKeySize || p.Key.Equal(c.NodeKey.Public()) {
			return fmt.Errorf("%w: peer %s has no valid key, or our own", ErrConfig, p.Address)
		}
	}
	return c.Genesis.validate()
}

func (g *Genesis) validate() error {
	seen := map[string]bool{}
	for _, v := range g.Validators {
		if len(v.Key) != ed25519.PublicKeySize || v.Power <= 0 || v.Power > ValidatorPowerMax || seen[string(v.Key)] {
			return fmt.Errorf("%w: validator %q has a bad or repeated key, or a power outside 1..%d",
				ErrConfig, v.Name, ValidatorPowerMax)
		}
		seen[string(v.Key)] = true
	}
	if g.Time.UnixMilli() <= 0 {
		return fmt.Errorf("%w: genesis has no time", ErrConfig)
	}
	return nil
}

// Submit hands in a parcel and waits until it is committed in a block on this node. The same bytes submitted twice
// share one outcome while the node remembers them; later the application decides what a repeat means.
//
// Errors: ErrPoolFull (try again), ErrTooLarge and *RefusedError (final), ErrExpired, ErrStopped, or ctx's: after the
// last three the parcel may still be committed.
func (n *Node) Submit(ctx context.Context, parcel []byte) (Outcome, error) {
	w := make(chan reply, 1)
	own := append([]byte(nil), parcel...)
	if err := n.pool.add(own, localSource, w); err != nil {
		return Outcome{}, err
	}
	select {
	case r := <-w:
		return r.outcome, r.err
	case <-ctx.Done():
		return Outcome{}, ctx.Err()
	}
}
