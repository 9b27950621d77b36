package consensus

import (
	"sort"
	"time"
)

// cursor is how far a peer has been told of the ready list.
type cursor struct {
	own, relayed uint64
	began        time.Time // when it began at the front
}

// restart begins again if the chain stands still while parcels wait: somebody may have dropped them, and sleeps.
func (c *cursor) restart(now, moved time.Time) {
	if now.Sub(moved) > repeatAfter && now.Sub(c.began) > repeatAfter {
		*c = cursor{began: now}
	}
}

// outgoing gives the next parcels for a peer, at most gossipBytesMax: this node's own at once; those of other peers,
// who send to everybody themselves, only once they are relayAfter old. wait tells when to ask again if there is
// nothing: on changed, or after retry if that is positive.
func (p *pool) outgoing(peer string, c *cursor) (batch [][]byte, changed <-chan struct{}, retry time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ready) == 0 {
		return nil, p.changed, 0
	}
	now, relaying, bytes := p.now(), true, 0
	retry = repeatAfter
	c.restart(now, p.moved)
	from := sort.Search(len(p.ready), func(i int) bool { return p.ready[i].seq > min(c.own, c.relayed) })
	for _, it := range p.ready[from:] {
		own := it.source == localSource
		mark := &c.relayed
		if own {
			mark = &c.own
		}
		if it.seq <= *mark || (!own && !relaying) {
			continue
		}
		if age := now.Sub(it.added); !own && age < relayAfter {
			relaying, retry = false, relayAfter-age
			continue
		}
		if bytes > 0 && bytes+len(it.parcel) > gossipBytesMax {
			return batch, p.changed, 0
		}
		*mark = it.seq
		if it.source == peer {
			continue
		}
		bytes += len(it.parcel)
		batch = append(batch, it.parcel)
	}
	return batch, p.changed, retry
}
