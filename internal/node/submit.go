package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// gatherFor is how long a lone envelope waits for company while other parcels are under way.
const gatherFor = 2 * time.Millisecond

// waiting is an envelope on its way into a parcel.
type waiting struct {
	envelope []byte
	done     chan submitted
}

type submitted struct {
	result protocol.Result
	err    error
}

// gatherer joins envelopes that come one by one into parcels: up to 64, or what came within gatherFor. With nothing under way an envelope
// goes at once.
type gatherer struct {
	n      *Node
	in     chan waiting
	flight chan struct{} // as many as parcels are under way
}

func newGatherer(n *Node) *gatherer {
	return &gatherer{n: n, in: make(chan waiting, 4*protocol.ParcelEnvelopesMax), flight: make(chan struct{}, 256)}
}

func (g *gatherer) run(ctx context.Context) {
	for {
		var batch []waiting
		select {
		case <-ctx.Done():
			return
		case w := <-g.in:
			batch = append(batch, w)
		}
		batch = g.gather(ctx, batch)
		select {
		case g.flight <- struct{}{}:
		case <-ctx.Done():
			return // those who wait hear of it from the node's context
		}
		g.n.tasks.Go(func() {
			defer func() { <-g.flight }()
			g.send(ctx, batch)
		})
	}
}

func (g *gatherer) gather(ctx context.Context, batch []waiting) []waiting {
	size := len(batch[0].envelope)
	var timer <-chan time.Time
	if len(g.flight) > 0 {
		timer = time.After(gatherFor)
	}
	for len(batch) < protocol.ParcelEnvelopesMax && size < protocol.ParcelBytesMax-2*protocol.EnvelopeBytesMax {
		var w waiting
		if timer == nil {
			select {
			case w = <-g.in:
			default:
				return batch
			}
		} else {
			select {
			case w = <-g.in:
			case <-timer:
				return batch
			case <-ctx.Done():
				return batch
			}
		}
		batch, size = append(batch, w), size+len(w.envelope)
	}
	return batch
}

// send verifies the envelopes in one batch and submits those that hold as a parcel.
func (g *gatherer) send(ctx context.Context, batch []waiting) {
	envelopes := make([][]byte, len(batch))
	for i, w := range batch {
		envelopes[i] = w.envelope
	}
	verified, errs := g.n.app.verifier.Verify(envelopes)
	good, passed := batch[:0], make([][]byte, 0, len(batch))
	for i, w := range batch {
		if errs[i] != nil {
			w.done <- submitted{err: fmt.Errorf("%w: %w", ErrUnverified, errs[i])}
			continue
		}
		good, passed = append(good, w), append(passed, w.envelope)
		g.n.app.own.put(verified[i])
	}
	if len(good) == 0 {
		return
	}
	results, err := g.n.SubmitParcel(ctx, protocol.EncodeParcel(passed))
	for i, w := range good {
		s := submitted{err: err}
		if err == nil {
			s.result = results[i]
		}
		w.done <- s
	}
}

// Errors of submitting, besides those of package consensus.
var (
	// ErrUnverified wraps what is wrong with an envelope that was submitted.
	ErrUnverified = errors.New("the envelope does not verify")
	// ErrNoQuorum says that too few nodes are connected to agree on a block. Nothing was taken.
	ErrNoQuorum = errors.New("too few nodes are connected to agree on anything")
)

// quorumWait is how long a submission waits for enough nodes to be connected: after a start, or a break of the network, that takes a moment.
const quorumWait = 3 * time.Second

// awaitQuorum returns ErrNoQuorum if this node sees too few others for any block to be decided. It saves who submits the long wait for an
// answer that cannot come; whether a quorum really takes part, only the block can say.
func (n *Node) awaitQuorum(ctx context.Context) error {
	need := threshold.Threshold(len(n.cluster())) // of votes: more than two thirds, as of shares
	if n.engine.Peers()+1 >= need {
		return nil
	}
	over := time.NewTimer(quorumWait)
	defer over.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if n.engine.Peers()+1 >= need {
				return nil
			}
		case <-over.C:
			have := n.engine.Peers() + 1
			if have >= need {
				return nil
			}
			return errors.Join(ErrNoQuorum, &api.Problem{Status: http.StatusServiceUnavailable, Code: "no-quorum",
				Title:  fmt.Sprintf("Only %d of the %d nodes that must agree are connected", have, need),
				Detail: "It was not taken. Send it again when more of the members' nodes are up; reading one's own journal works meanwhile."})
		case <-ctx.Done():
			return ctx.Err()
		case <-n.ctx.Done():
			return consensus.ErrStopped
		}
	}
}

// SubmitEnvelope verifies an envelope and executes it, in a parcel with others. The result says whether the ledger accepted it.
func (n *Node) SubmitEnvelope(ctx context.Context, envelope []byte) (protocol.Result, error) {
	if len(envelope) > protocol.EnvelopeBytesMax {
		return protocol.Result{}, fmt.Errorf("%w: %d bytes, at most %d", ErrUnverified, len(envelope), protocol.EnvelopeBytesMax)
	}
	if err := n.awaitQuorum(ctx); err != nil {
		return protocol.Result{}, err
	}
	w := waiting{envelope: envelope, done: make(chan submitted, 1)}
	select {
	case n.gather.in <- w:
	case <-ctx.Done():
		return protocol.Result{}, ctx.Err()
	case <-n.ctx.Done():
		return protocol.Result{}, consensus.ErrStopped
	}
	select {
	case s := <-w.done:
		return s.result, s.err
	case <-ctx.Done():
		return protocol.Result{}, ctx.Err()
	case <-n.ctx.Done():
		return protocol.Result{}, consensus.ErrStopped
	}
}

// SubmitParcel executes a parcel as one transaction and waits for its block. Errors are consensus's, or ErrNoQuorum.
func (n *Node) SubmitParcel(ctx context.Context, raw []byte) ([]protocol.Result, error) {
	if err := n.awaitQuorum(ctx); err != nil {
		return nil, err
	}
	out, err := n.engine.Submit(ctx, raw)
	if err != nil {
		return nil, err
	}
	var results []protocol.Result
	return results, protocol.Decode(out.Result, &results)
}

// Act signs actions with the member's key and executes them as one envelope.
func (n *Node) Act(ctx context.Context, actions ...protocol.Action) (protocol.Result, error) {
	return n.actIn(ctx, protocol.JournalID{}, actions...)
}

// actIn is Act in a journal.
func (n *Node) actIn(ctx context.Context, journal protocol.JournalID, actions ...protocol.Action) (protocol.Result, error) {
	b := protocol.Body{Version: protocol.Version, Chain: n.ledger.Chain(), NotAfter: n.now() + 60_000,
		Signer: protocol.MemberSigner(n.member, Public(n.keys.Member)), Journal: journal, Actions: protocol.Pack(actions...)}
	if _, err := rand.Read(b.Nonce[:]); err != nil {
		return protocol.Result{}, err
	}
	envelope, _ := protocol.Sign(b, func(m []byte) []byte { return ed25519.Sign(n.keys.Member, m) })
	return n.SubmitEnvelope(ctx, envelope)
}
