package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/gateway"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// backend is this node as its gateway sees it.
func (n *Node) backend() gateway.Backend {
	gateways := map[protocol.MemberID]string{n.member: n.cfg.Self.Gateway}
	for id, a := range n.cfg.Addresses {
		gateways[id] = a.Gateway
	}
	b := gateway.Backend{Ledger: n.ledger, Member: n.member, Policy: n.policy, Gateways: gateways, Now: n.now, Log: n.log,
		SubmitEnvelope: n.SubmitEnvelope, SubmitParcel: n.SubmitParcel, Shares: n.Shares, SetName: n.book.setName, Name: n.name, Health: n.Health, Fault: fault, Desk: n.desk,
		Notices: n.notices, Changed: n.app.changed.subscribe, Stopping: n.ctx.Done(),
		ReadFile: func(ctx context.Context, h protocol.Hash) (io.ReadCloser, int64, error) {
			return n.replicator.Get(ctx, h)
		},
	}
	if !n.cfg.Gather {
		b.SubmitEnvelope = n.submitAlone
	}
	b.Checkpoint = func(ctx context.Context, size, maxAge uint64) ([]byte, uint64, error) {
		c, err := n.witness.checkpoint(ctx, size, maxAge)
		return c.note, c.size, err
	}
	b.Sponsor = func(journal protocol.JournalID, controller protocol.PublicKey) []byte {
		return ed25519.Sign(n.keys.Member, protocol.SponsorMessage(n.ledger.Chain(), n.member, journal, controller))
	}
	b.AgreeClaim = func(journal protocol.JournalID, controller protocol.PublicKey, recipient [32]byte) []byte {
		return ed25519.Sign(n.keys.Member, protocol.ClaimMessage(n.ledger.Chain(), journal, controller, recipient))
	}
	b.StoreFile = func(ctx context.Context, h protocol.Hash, r io.Reader, size int64) (string, error) {
		s, err := n.replicator.Store(ctx, h, r, size)
		return s.Note, err
	}
	return b
}

// fault sorts the engine's errors for the gateway.
func fault(err error) gateway.Fault {
	var refused *consensus.RefusedError
	switch {
	case errors.Is(err, consensus.ErrPoolFull):
		return gateway.FaultBusy
	case errors.Is(err, consensus.ErrStopped):
		return gateway.FaultStopped
	case errors.Is(err, consensus.ErrTooLarge), errors.As(err, &refused), errors.Is(err, ErrUnverified):
		return gateway.FaultRefused
	case errors.Is(err, consensus.ErrExpired):
		return gateway.FaultDropped
	}
	return gateway.FaultOther
}

// submitAlone sends an envelope as a parcel of its own.
func (n *Node) submitAlone(ctx context.Context, envelope []byte) (protocol.Result, error) {
	results, err := n.SubmitParcel(ctx, protocol.EncodeParcel([][]byte{envelope}))
	if err != nil {
		return protocol.Result{}, err
	}
	return results[0], nil
}

// shareHedge is how long the gateway waits for a threshold of custodians before it asks the rest.
const shareHedge = 150 * time.Millisecond

// Shares asks the custodians for their answers to an access: this node's own and enough others for a threshold first, the rest when one
// refuses or is slow, or all at once if the reader wants every answer.
func (n *Node) Shares(ctx context.Context, access protocol.AccessID, r api.ShareRequest) []api.Share {
	call := shareCall{Access: access, Size: n.ledger.Head().Size, ShareRequest: r}
	peers := n.peerList()
	need := threshold.Threshold(len(n.cluster()))
	answers := make(chan api.Share, len(peers)+1)
	asked := 1
	go func() { answers <- n.ownShare(ctx, call) }()
	ask := func() bool {
		if asked > len(peers) {
			return false
		}
		p := peers[(asked-1+int(access[0]))%len(peers)]
		asked++
		go func() {
			s, err := p.shares(ctx, call)
			if err != nil {
				s = api.Share{Custodian: n.custodianOf(p.id), Detail: "this custodian could not be reached", Retry: true}
			}
			answers <- s
		}()
		return true
	}
	for asked < need || r.All {
		if !ask() {
			break
		}
	}
	var out []api.Share
	good := 0
	hedge := time.NewTimer(shareHedge)
	defer hedge.Stop()
	for len(out) < asked && (r.All || good < need) {
		select {
		case s := <-answers:
			out = append(out, s)
			if s.Sealed != nil {
				good++
			} else {
				ask()
			}
		case <-hedge.C:
			for ask() {
			}
		case <-ctx.Done():
			return out
		}
	}
	return out
}

func (n *Node) cluster() []protocol.MemberID { return cluster{n}.Members() }

func (n *Node) custodianOf(id protocol.MemberID) uint16 {
	for i, m := range n.cluster() {
		if m == id {
			return uint16(i + 1)
		}
	}
	return 0
}

// name asks a member who its practitioner is.
func (n *Node) name(ctx context.Context, of protocol.MemberID, id protocol.PractitionerID) (api.PractitionerName, bool) {
	if of == n.member {
		name, ok, err := n.book.name(id)
		return name, ok && err == nil
	}
	p := n.peers[of]
	if p == nil {
		return api.PractitionerName{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	name, err := p.practitionerName(ctx, id)
	return name, err == nil
}

// Health says whether the node serves, and what is wrong if not.
func (n *Node) Health() api.Health {
	h := api.Health{Height: n.ledger.Head().Height, Peers: n.engine.Peers(), Problems: []string{}}
	if n.engine.Err() != nil {
		h.Problems = append(h.Problems, "the node has stopped taking part; its log says why")
	}
	view, err := n.ledger.View()
	if err != nil {
		h.Problems = append(h.Problems, "the ledger cannot be read")
		return h
	}
	defer view.Close()
	generation, err := keygen.ActiveGeneration(view)
	switch {
	case err != nil:
		h.Problems = append(h.Problems, "the ledger cannot be read")
	case generation == 0:
		h.Problems = append(h.Problems, "the custodians' key is being generated")
	default:
		h.Custodian = n.custodian.Holds(generation)
	}
	if problem, held := n.regained.problem(len(n.cluster())); held {
		h.Problems = append(h.Problems, problem)
	} else if !n.vault.Serving() {
		h.Problems = append(h.Problems, "the vault waits for what was erased in the meantime")
	}
	if n.engine.Syncing() {
		h.Problems = append(h.Problems, "the node is catching up")
	}
	switch nodes := len(n.cluster()); {
	case h.Peers+1 < threshold.Threshold(nodes):
		h.Problems = append(h.Problems, "too few nodes are connected to agree on anything")
	case h.Peers+1 < nodes:
		h.Problems = append(h.Problems, "not all other nodes are connected")
	}
	h.OK = len(h.Problems) == 0
	return h
}
