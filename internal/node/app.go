package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// app is the ledger as the engine sees it. It implements consensus.Application.
type app struct {
	ledger   *ledger.Ledger
	verifier *protocol.Verifier
	own      ownVerified
	changed  broadcast // woken after each commit that changed state
	pending  *ledger.Applied
	records  bool          // the block applied holds records
	onFiles  func()        // called after a block with records; may be nil
	due      atomic.Uint64 // NextDue as of the last commit; 0: nothing
}

// AtOnce runs two functions at the same time and returns when both have.
func AtOnce(one, two func()) {
	var other sync.WaitGroup
	other.Go(two)
	one()
	other.Wait()
}

// keysRemembered bounds the expanded public keys that the verifier keeps.
const keysRemembered = 4096

func newApp(l *ledger.Ledger) *app {
	a := &app{ledger: l, verifier: protocol.NewVerifier(keysRemembered)}
	a.look()
	return a
}

func (a *app) Head() (uint64, [32]byte, uint64) {
	h := a.ledger.Head()
	return h.Height, h.AppHash, h.Time
}

func (a *app) InitChain(genesis []byte) ([32]byte, error) {
	h, err := a.ledger.Begin(genesis)
	return h.AppHash, err
}

// parcel is Check's handle: a parcel whose envelopes are all verified.
type parcel []*protocol.Verified

// Check verifies parcels in one signature batch, except for the envelopes that this node's own gateway verified just before.
func (a *app) Check(raw [][]byte) []consensus.Checked {
	out := make([]consensus.Checked, len(raw))
	var todo [][]byte
	var place []struct{ parcel, envelope int }
	parcels := make([]parcel, len(raw))
	for i, r := range raw {
		envelopes, err := protocol.DecodeParcel(r)
		if err != nil {
			out[i].Err = err
			continue
		}
		parcels[i] = make(parcel, len(envelopes))
		for j, e := range envelopes {
			if v := a.own.take(e); v != nil {
				parcels[i][j] = v
				continue
			}
			todo = append(todo, e)
			place = append(place, struct{ parcel, envelope int }{i, j})
		}
	}
	verified, errs := a.verifier.Verify(todo)
	for n, at := range place {
		if errs[n] != nil {
			out[at.parcel].Err = errs[n]
			continue
		}
		parcels[at.parcel][at.envelope] = verified[n]
	}
	for i := range out {
		if out[i].Err == nil {
			out[i].Parcel, out[i].Envelopes = parcels[i], len(parcels[i])
		}
	}
	return out
}

func (a *app) Apply(height, timeMillis uint64, handles []any) ([][]byte, [32]byte, error) {
	b := ledger.Block{Height: height, Time: timeMillis, Tick: len(handles) == 0}
	a.records = false
	for _, h := range handles {
		b.Parcels = append(b.Parcels, h.(parcel))
		a.records = a.records || slices.ContainsFunc(h.(parcel), addsRecords)
	}
	applied, err := a.ledger.Apply(b)
	if err != nil {
		return nil, [32]byte{}, err
	}
	a.pending = applied
	results := make([][]byte, len(applied.Results))
	for i, r := range applied.Results {
		results[i] = protocol.Encode(r)
	}
	return results, applied.Head.AppHash, nil
}

// Execute executes a block of a stopped node's chain as the node does, having held the app hash in its header against the ledger's.
func Execute(l *ledger.Ledger, verifier *protocol.Verifier, b consensus.Block) error {
	if h := l.Head(); b.AppHash != [32]byte(h.AppHash) {
		return fmt.Errorf("its header says app hash %x, the blocks before it make %s", b.AppHash, h.AppHash)
	}
	in := ledger.Block{Height: b.Height, Time: b.TimeMillis, Tick: len(b.Parcels) == 0}
	for i, raw := range b.Parcels {
		envelopes, err := protocol.DecodeParcel(raw)
		if err != nil {
			return fmt.Errorf("parcel %d: %w", i, err)
		}
		verified, errs := verifier.Verify(envelopes)
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("parcel %d: %w", i, err)
		}
		in.Parcels = append(in.Parcels, verified)
	}
	if _, err := l.Apply(in); err != nil {
		return err
	}
	return l.Commit()
}

func (a *app) Commit() error {
	if err := a.ledger.Commit(); err != nil {
		return err
	}
	if a.pending != nil && a.pending.Changed {
		a.look()
		a.changed.wake()
		if (a.records || a.pending.Erased) && a.onFiles != nil {
			a.onFiles()
		}
	}
	a.pending = nil
	return nil
}

func addsRecords(v *protocol.Verified) bool {
	return slices.ContainsFunc(v.Actions, func(x protocol.Action) bool { return x.ActionType() == protocol.TypeAddRecord })
}

func (a *app) look() {
	at, ok := a.ledger.NextDue()
	if !ok {
		at = 0
	}
	a.due.Store(at)
}

func (a *app) NextDue() (uint64, bool) {
	at := a.due.Load()
	return at, at != 0
}

// reach waits until the ledger has at least size entries, but no longer than most.
func (a *app) reach(ctx context.Context, size uint64, most time.Duration) {
	if a.ledger.Head().Size >= size {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	changed, done := a.changed.subscribe()
	defer done()
	for a.ledger.Head().Size < size {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// ownVerified holds envelopes that this node's gateway has verified and is about to submit, so that this node does not check the same
// signature twice. Nothing in it comes from another node.
type ownVerified struct {
	mu sync.Mutex
	m  map[[32]byte]*protocol.Verified
}

const ownVerifiedMax = 1 << 16

func (o *ownVerified) put(v *protocol.Verified) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.m == nil || len(o.m) >= ownVerifiedMax {
		o.m = make(map[[32]byte]*protocol.Verified)
	}
	o.m[sha256.Sum256(v.Envelope)] = v
}

func (o *ownVerified) take(envelope []byte) *protocol.Verified {
	o.mu.Lock()
	empty := len(o.m) == 0
	o.mu.Unlock()
	if empty {
		return nil
	}
	key := sha256.Sum256(envelope)
	o.mu.Lock()
	defer o.mu.Unlock()
	v := o.m[key]
	delete(o.m, key)
	return v
}

// broadcast wakes everybody who waits for the next change.
type broadcast struct {
	mu   sync.Mutex
	subs []chan struct{}
}

// subscribe returns a channel that gets a value after changes; a slow reader misses some, never the last.
func (b *broadcast) subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = append(b.subs, ch)
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for i, c := range b.subs {
			if c == ch {
				b.subs = append(b.subs[:i:i], b.subs[i+1:]...)
				return
			}
		}
	}
}

func (b *broadcast) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
