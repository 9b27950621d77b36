package consensus

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	protomem "github.com/cometbft/cometbft/proto/tendermint/mempool"
)

// parcelChannel carries batches of parcels: the engine's own message for transactions, on a channel of ours.
const parcelChannel = byte(0x70)

// gossip tells every peer of every parcel admitted here, in batches, as soon as it is verified, and admits theirs.
type gossip struct {
	p2p.BaseReactor
	pool *pool

	mu    sync.Mutex
	wrong map[string]misdeeds
	now   func() time.Time
}

type misdeeds struct {
	invalid int
	muted   time.Time // until then the peer's parcels are ignored
}

func newGossip(p *pool) *gossip {
	g := &gossip{pool: p, wrong: map[string]misdeeds{}, now: time.Now}
	g.BaseReactor = *p2p.NewBaseReactor("Parcels", g)
	p.onRefused = g.blame
	return g
}

func (g *gossip) GetChannels() []*conn.ChannelDescriptor {
	return []*conn.ChannelDescriptor{{
		ID:                  parcelChannel,
		Priority:            4,
		SendQueueCapacity:   16,
		RecvBufferCapacity:  64 << 10,
		RecvMessageCapacity: ParcelBytesMax + gossipBytesMax + 64<<10,
		MessageType:         &protomem.Message{},
	}}
}

func (g *gossip) AddPeer(peer p2p.Peer) { go g.tell(peer) }

func (g *gossip) RemovePeer(peer p2p.Peer, _ any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w := g.wrong[string(peer.ID())]; g.now().After(w.muted) {
		delete(g.wrong, string(peer.ID()))
	}
}

// tell sends a peer what the pool has until one of both stops.
func (g *gossip) tell(peer p2p.Peer) {
	var c cursor
	for {
		before := c
		batch, changed, retry := g.pool.outgoing(string(peer.ID()), &c)
		if len(batch) > 0 {
			if !peer.Send(p2p.Envelope{ChannelID: parcelChannel, Message: &protomem.Txs{Txs: batch}}) {
				c = before
				changed, retry = nil, relayAfter // its queue is full, or it is going
			} else {
				continue
			}
		}
		if !g.pause(peer, changed, retry) {
			return
		}
	}
}

func (g *gossip) pause(peer p2p.Peer, changed <-chan struct{}, retry time.Duration) bool {
	var after <-chan time.Time
	if retry > 0 {
		t := time.NewTimer(retry)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-changed:
	case <-after:
	case <-peer.Quit():
		return false
	case <-g.Quit():
		return false
	}
	return true
}

// Receive admits a peer's parcels. What the pool has no room for is dropped: the peer still has it and proposes it.
func (g *gossip) Receive(e p2p.Envelope) {
	m, ok := e.Message.(*protomem.Txs)
	if !ok {
		g.Switch.StopPeerForError(e.Src, fmt.Errorf("unexpected message %T on the parcel channel", e.Message))
		return
	}
	from := string(e.Src.ID())
	if g.muted(from) {
		return
	}
	for _, parcel := range m.Txs {
		var refused *RefusedError
		if err := g.pool.add(parcel, from, nil); errors.Is(err, ErrTooLarge) || errors.As(err, &refused) {
			g.blame(from)
		}
	}
}

// blame counts an invalid parcel against its sender. Honest nodes send only what they verified; but a peer may run
// other rules during an upgrade, and the connection carries consensus too, so it is not cut: it is not listened to.
func (g *gossip) blame(source string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.wrong[source]
	if w.invalid++; w.invalid >= peerInvalidMax {
		w = misdeeds{muted: g.now().Add(muteFor)}
	}
	if len(g.wrong) < 2*PeersMax || g.wrong[source] != (misdeeds{}) {
		g.wrong[source] = w
	}
}

func (g *gossip) muted(source string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now().Before(g.wrong[source].muted)
}
