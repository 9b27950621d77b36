package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/translog"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// witness signs this node's checkpoints, has them cosigned by the other nodes, and cosigns theirs. The newest one that a quorum has
// cosigned is what wallets and receipts rest on, and what tells this node's custodian that its copy of the ledger is fresh.
type witness struct {
	ledger   *ledger.Ledger
	cosigner *translog.Cosigner
	log      *c2sp.LogKey
	policy   *c2sp.Policy
	peers    func() []*peer
	now      func() uint64
	changed  *broadcast
	out      *slog.Logger
	held     func() bool // nothing is signed: what this node has cosigned is not known

	round sync.Mutex // one round of cosigning at a time

	mu     sync.RWMutex // guards newest
	newest cosigned
}

// cosigned is a checkpoint with a quorum.
type cosigned struct {
	note []byte
	size uint64
	at   uint64 // UTC ms: a quorum signed at or after it
}

const (
	cosignWait     = 1500 * time.Millisecond // how long a node waits for its own ledger to reach a peer's checkpoint
	freshEnough    = 20_000                  // ms; a younger checkpoint is not renewed for custodians
	freshWait      = 5 * time.Second         // how long a custodian tries to renew its checkpoint before it refuses
	cosignAttempts = 6
)

// newestCosigned is the last checkpoint with a quorum.
func (w *witness) newestCosigned() (cosigned, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.newest, w.newest.note != nil
}

// Fresh is custodian.Config.Fresh.
func (w *witness) Fresh() (size, at uint64, ok bool) {
	c, ok := w.newestCosigned()
	return c.size, c.at, ok
}

// ensureFresh renews the checkpoint if it is not young enough for a custodian.
func (w *witness) ensureFresh(ctx context.Context) {
	if c, ok := w.newestCosigned(); ok && c.at+freshEnough > w.now() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, freshWait)
	defer cancel()
	if _, err := w.checkpoint(ctx, 0, freshEnough); err != nil {
		w.out.Warn("no fresh checkpoint", "error", err)
	}
}

// checkpoint returns a checkpoint cosigned by a quorum that covers at least size entries and is at most maxAge ms old, making one if need be.
func (w *witness) checkpoint(ctx context.Context, size, maxAge uint64) (cosigned, error) {
	good := func() (cosigned, bool) {
		c, ok := w.newestCosigned()
		return c, ok && c.size >= size && c.at+maxAge >= w.now()
	}
	if c, ok := good(); ok {
		return c, nil
	}
	w.round.Lock()
	defer w.round.Unlock()
	if c, ok := good(); ok {
		return c, nil // somebody else's round served
	}
	var err error
	for attempt := range cosignAttempts {
		if attempt > 0 { // others were ahead, or behind: by now they may agree
			select {
			case <-ctx.Done():
				return cosigned{}, ctx.Err()
			case <-time.After(time.Duration(attempt) * 15 * time.Millisecond):
			}
		}
		if err = w.collect(ctx); err == nil {
			if c, ok := w.newestCosigned(); ok && c.size >= size {
				return c, nil
			}
			err = errors.New("the ledger has not reached that size")
		}
	}
	return cosigned{}, err
}

// collect signs the head and asks all peers for their cosignatures.
func (w *witness) collect(ctx context.Context) error {
	if w.held() {
		return ErrHeld
	}
	signed, err := w.cosigner.SignHead(w.ledger.Log(), w.log, w.now())
	if err != nil {
		return err
	}
	note := bytes.Clone(signed) // grows by cosignatures, while signed is still being sent
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	peers := w.peers()
	lines := make(chan []byte, len(peers))
	for _, p := range peers {
		go func() {
			line, err := p.cosign(ctx, signed)
			if err != nil {
				line = nil
			}
			lines <- line
		}()
	}
	for left := len(peers); ; left-- {
		checkpoint, status, err := w.policy.Check(note, w.now(), time.Hour)
		if err == nil {
			w.keep(cosigned{note: note, size: checkpoint.Size, at: status.QuorumTime})
			return nil
		}
		if left == 0 {
			return err
		}
		note = append(note, w.valid(checkpoint, <-lines)...)
	}
}

// valid passes on the signature lines that a peer sent if they are good ones by keys of the policy.
func (w *witness) valid(c c2sp.Checkpoint, lines []byte) []byte {
	if len(lines) == 0 {
		return nil
	}
	var keys []c2sp.VerifierKey
	for _, k := range w.policy.Witnesses {
		keys = append(keys, k.Key)
	}
	good, err := c2sp.ParseSignatureLines(c, lines, keys...)
	if err != nil {
		return nil
	}
	var out []byte
	for _, s := range good {
		out = append(out, c2sp.Line(s)...)
	}
	return out
}

func (w *witness) keep(c cosigned) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.size > w.newest.size || c.size == w.newest.size && c.at >= w.newest.at {
		w.newest = c
	}
}

// cosignFor cosigns a peer's checkpoint, once this node's own ledger has reached it.
func (w *witness) cosignFor(ctx context.Context, note []byte) ([]byte, error) {
	if w.held() {
		return nil, ErrHeld
	}
	ctx, cancel := context.WithTimeout(ctx, cosignWait)
	defer cancel()
	changed, done := w.changed.subscribe()
	defer done()
	var trusted []c2sp.VerifierKey
	for _, l := range w.policy.Logs {
		trusted = append(trusted, l.Key)
	}
	for {
		s, err := w.cosigner.CosignPeer(w.ledger.Log(), note, trusted, w.now())
		var behind translog.ErrBehind
		if err == nil {
			return []byte(c2sp.Line(s)), nil
		}
		if !errors.As(err, &behind) {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, err
		}
	}
}
