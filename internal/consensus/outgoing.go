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

// relayAge is how old a peer's parcel is before it is told to others: several times what parcels wait here for their block, or else a busy
// network, where all wait long, would send everything to everybody from everybody. Called with mu.
func (p *pool) relayAge() time.Duration { return min(max(relayAfter, 4*p.usualWait), repeatAfter) }

// outgoing gives the next parcels for a peer, at most gossipBytesMax: this node's own at once; those of other peers,
// who send to everybody themselves, only once they have waited unusually long. wait tells when to ask again if there is
// nothing: on changed, or after retry if that is positive.
func (p *pool) outgoing(peer string, c *cursor) (batch [][]byte, changed <-chan struct{}, retry time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ready) == 0 {
		return nil, p.changed, 0
	}
	now, relaying, bytes, relayAt := p.now(), true, 0, p.relayAge()
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
		if age := now.Sub(it.added); !own && age < relayAt {
			relaying, retry = false, relayAt-age
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
