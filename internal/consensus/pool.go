package consensus

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

type hash = [sha256.Size]byte

// localSource marks parcels of this node's own clients; peers are named by their node id.
const localSource = ""

// pool holds the parcels that were admitted here and are not yet in a block.
//
// An item is queued, then verifying, then ready (in arrival order, offered to proposals and peers), then gone.
// Verification happens in batches: by the pool's own workers, or by whoever needs the verdict now (resolve).
type pool struct {
	check  func([][]byte) []Checked
	limits Limits
	now    func() time.Time // the system's clock: ages only

	mu      sync.Mutex
	work    *sync.Cond // queue grew, or closed
	closed  error      // set once: why nothing is taken in any more
	items   map[hash]*item
	queue   []*item // state queued, some claimed meanwhile
	ready   []*item // ascending sequence
	next    uint64  // sequence of the next ready item
	bytes   int
	sources map[string]usage
	met     map[hash]Checked // verified because a proposal held them; until that height commits
	recent  outcomes
	refused outcomes
	changed chan struct{} // closed and replaced when ready grows
	moved   time.Time     // when the last block was committed

	usualWait time.Duration // of a parcel for its block, lately

	onReady   func()              // the engine should propose; called without mu
	onRefused func(source string) // a peer sent a parcel that Check refused; called without mu
}

type usage struct{ parcels, bytes int }

type itemState int

const (
	queued itemState = iota
	verifying
	readyState
	gone
)

type item struct {
	hash    hash
	parcel  []byte
	source  string
	added   time.Time
	state   itemState     // guarded by pool.mu, like all below
	done    chan struct{} // closed when verified or gone
	checked Checked       // once done is closed: the application's verdict, if judged
	judged  bool
	seq     uint64
	waiters []chan<- reply
}

type reply struct {
	outcome Outcome
	err     error
}

func newPool(check func([][]byte) []Checked, limits Limits) *pool {
	p := &pool{
		check: check, limits: limits, now: time.Now,
		items: map[hash]*item{}, sources: map[string]usage{}, met: map[hash]Checked{},
		recent: newOutcomes(limits.RememberMax), refused: newOutcomes(refusedRememberMax),
		changed: make(chan struct{}), next: 1,
		onReady: func() {}, onRefused: func(string) {},
	}
	p.work = sync.NewCond(&p.mu)
	return p
}

// add admits a parcel; the pool keeps the slice. w, if any, gets exactly one reply unless add fails; it must not block.
func (p *pool) add(parcel []byte, source string, w chan<- reply) error {
	if len(parcel) == 0 || len(parcel) > ParcelBytesMax {
		return ErrTooLarge
	}
	h := sha256.Sum256(parcel)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return p.closed
	}
	if r, ok := p.recent.get(h); ok {
		if w != nil {
			w <- r
		}
		return nil
	}
	if r, ok := p.refused.get(h); ok {
		return r.err
	}
	if it, ok := p.items[h]; ok {
		if w == nil {
			return nil
		}
		if len(it.waiters) >= waitersMax {
			return ErrPoolFull
		}
		it.waiters = append(it.waiters, w)
		return nil
	}
	if !p.fits(source, len(parcel)) {
		return ErrPoolFull
	}
	it := &item{hash: h, parcel: parcel, source: source, added: p.now(), done: make(chan struct{})}
	if w != nil {
		it.waiters = append(it.waiters, w)
	}
	p.items[h] = it
	p.account(it, +1)
	p.queue = append(p.queue, it)
	p.work.Signal()
	return nil
}

// fits keeps the whole and each source's share within bounds.
func (p *pool) fits(source string, n int) bool {
	l, u := p.limits, p.sources[source]
	return len(p.items) < l.PoolParcelsMax && p.bytes+n <= l.PoolBytesMax &&
		(u.parcels+1)*100 <= l.PoolParcelsMax*l.SourcePercentMax &&
		(u.bytes+n)*100 <= l.PoolBytesMax*l.SourcePercentMax
}

func (p *pool) account(it *item, sign int) {
	u := p.sources[it.source]
	u.parcels += sign
	u.bytes += sign * len(it.parcel)
	p.bytes += sign * len(it.parcel)
	if u.parcels == 0 {
		delete(p.sources, it.source)
		return
	}
	p.sources[it.source] = u
}

// worker verifies what is queued until the pool closes. While it is busy, arrivals gather into the next batch.
func (p *pool) worker() {
	var last time.Time
	for {
		p.mu.Lock()
		for len(p.queue) == 0 && p.closed == nil {
			p.work.Wait()
		}
		if p.closed != nil {
			p.mu.Unlock()
			return
		}
		if len(p.queue) < p.limits.CheckParcelsMax/4 && time.Since(last) < 2*gatherFor {
			wait := gatherFor
			if len(p.ready) > 0 {
				wait = gatherReadyFor
			}
			p.mu.Unlock()
			time.Sleep(wait)
			p.mu.Lock()
		}
		batch := p.takeQueued()
		p.mu.Unlock()
		p.verify(batch)
		last = time.Now()
	}
}

// takeQueued claims the next batch. Called with mu.
func (p *pool) takeQueued() []*item {
	var batch []*item
	bytes, taken := 0, 0
	for _, it := range p.queue {
		if len(batch) >= p.limits.CheckParcelsMax || (bytes > 0 && bytes+len(it.parcel) > p.limits.CheckBytesMax) {
			break
		}
		taken++
		if it.state != queued {
			continue // claimed by resolve
		}
		it.state = verifying
		bytes += len(it.parcel)
		batch = append(batch, it)
	}
	p.queue = p.queue[taken:]
	if len(p.queue) == 0 {
		p.queue = nil
	}
	return batch
}

// verify checks claimed items and moves them on. Called without mu.
func (p *pool) verify(batch []*item) {
	if len(batch) == 0 {
		return
	}
	parcels := make([][]byte, len(batch))
	for i, it := range batch {
		parcels[i] = it.parcel
	}
	verdicts := p.checkAll(parcels)
	p.settle(batch, verdicts)
}

var errShortCheck = errors.New("consensus: application answered too few verdicts")

func (p *pool) checkAll(parcels [][]byte) []Checked {
	if len(parcels) == 0 {
		return nil
	}
	got := p.check(parcels)
	if len(got) == len(parcels) {
		return got
	}
	out := make([]Checked, len(parcels))
	for i := range out {
		out[i].Err = errShortCheck
	}
	return out
}

func (p *pool) settle(batch []*item, verdicts []Checked) {
	var bad []string
	grew := false
	p.mu.Lock()
	for i, it := range batch {
		if it.state == gone {
			continue
		}
		it.checked, it.judged = verdicts[i], true
		if err := it.checked.Err; err != nil {
			r := reply{err: &RefusedError{err}}
			p.refused.put(it.hash, r)
			bad = append(bad, it.source)
			p.remove(it, r)
			continue
		}
		it.state, it.seq, grew = readyState, p.next, true
		p.next++
		p.ready = append(p.ready, it)
		close(it.done)
	}
	if grew {
		close(p.changed)
		p.changed = make(chan struct{})
	}
	p.mu.Unlock()
	for _, s := range bad {
		if s != localSource {
			p.onRefused(s)
		}
	}
	if grew {
		p.onReady()
	}
}

// remove takes an item out of everything but the ready list and answers its waiters. Called with mu.
func (p *pool) remove(it *item, r reply) {
	if it.state != readyState {
		close(it.done)
	}
	it.state = gone
	delete(p.items, it.hash)
	p.account(it, -1)
	for _, w := range it.waiters {
		w <- r
	}
	it.waiters = nil
}

// resolve gives the verdict on each parcel of a block, verifying here and now, in one batch, what nobody has.
func (p *pool) resolve(parcels [][]byte, hashes []hash) []Checked {
	out := make([]Checked, len(parcels))
	var claimed, awaited []*item
	var unknown, at []int // indices of parcels to check, and of awaited items
	p.mu.Lock()
	for i, h := range hashes {
		it, ok := p.items[h]
		switch {
		case ok && it.state == readyState:
			out[i] = it.checked
		case ok && it.state == verifying:
			awaited, at = append(awaited, it), append(at, i)
		case ok:
			it.state = verifying
			claimed, unknown = append(claimed, it), append(unknown, i)
		default:
			if c, seen := p.met[h]; seen {
				out[i] = c
			} else {
				claimed, unknown = append(claimed, nil), append(unknown, i)
			}
		}
	}
	p.mu.Unlock()

	batch := make([][]byte, len(unknown))
	for k, i := range unknown {
		batch[k] = parcels[i]
	}
	verdicts := p.checkAll(batch)
	p.mu.Lock()
	for k, i := range unknown {
		out[i] = verdicts[k]
		if claimed[k] == nil && len(p.met) < p.limits.PoolParcelsMax {
			p.met[hashes[i]] = verdicts[k]
		}
	}
	p.mu.Unlock()
	p.settleClaimed(claimed, verdicts)
	for k, it := range awaited {
		<-it.done
		out[at[k]] = it.checked
		if !it.judged { // it went for another reason, say because the node stops
			out[at[k]] = p.checkAll([][]byte{it.parcel})[0]
		}
	}
	return out
}

func (p *pool) settleClaimed(claimed []*item, verdicts []Checked) {
	var items []*item
	var their []Checked
	for k, it := range claimed {
		if it != nil {
			items, their = append(items, it), append(their, verdicts[k])
		}
	}
	if len(items) > 0 {
		p.settle(items, their)
	}
}

// propose lists ready parcels in order of arrival, within the engine's bytes and our own count of envelopes.
func (p *pool) propose(bytesMax int64) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out [][]byte
	var bytes int64
	envelopes := 0
	for _, it := range p.ready {
		n := blockBytesOf(len(it.parcel))
		e := max(it.checked.Envelopes, 1)
		if bytes+n > bytesMax || (len(out) > 0 && envelopes+e > p.limits.BlockEnvelopesMax) {
			break
		}
		bytes += n
		envelopes += e
		out = append(out, it.parcel)
	}
	return out
}

// blockBytesOf is what a parcel of n bytes takes in a block: a protobuf field tag, its length, itself.
func blockBytesOf(n int) int64 {
	var tmp [binary.MaxVarintLen64]byte
	return int64(1 + binary.PutUvarint(tmp[:], uint64(n)) + n)
}

// committed takes a block's parcels out, and forgets what only a proposal of that height held. Whoever waits for one of them is answered
// when the function returned is called: once the application has committed, or with why it could not.
func (p *pool) committed(height uint64, hashes []hash, results [][]byte) (answer func(error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiters := make([][]chan<- reply, len(hashes))
	for i, h := range hashes {
		if it, ok := p.items[h]; ok {
			p.usualWait += (p.now().Sub(it.added) - p.usualWait) / 16
			waiters[i], it.waiters = it.waiters, nil
			p.remove(it, reply{})
		}
	}
	clear(p.met)
	p.moved = p.now()
	p.sweep()
	return func(err error) { p.answer(height, hashes, results, waiters, err) }
}

func (p *pool) answer(height uint64, hashes []hash, results [][]byte, waiters [][]chan<- reply, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, h := range hashes {
		r := reply{outcome: Outcome{Height: height, Result: results[i]}}
		if err != nil {
			r = reply{err: err}
		} else {
			p.recent.put(h, r)
		}
		for _, w := range waiters[i] {
			w <- r
		}
	}
}

// sweep drops what is gone from the ready list, and what waited too long. Called with mu.
func (p *pool) sweep() {
	oldest := p.now().Add(-p.limits.PoolAgeMax)
	keep := p.ready[:0]
	for _, it := range p.ready {
		if it.state == readyState && it.added.Before(oldest) {
			p.remove(it, reply{err: ErrExpired})
		}
		if it.state == readyState {
			keep = append(keep, it)
		}
	}
	clear(p.ready[len(keep):])
	p.ready = keep
}

// expire drops what waited too long though no block comes.
func (p *pool) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep()
}

func (p *pool) hasReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ready) > 0
}

// awaitReady waits until a parcel is ready, at most d.
func (p *pool) awaitReady(d time.Duration) {
	p.mu.Lock()
	have, changed := len(p.ready) > 0 || p.closed != nil, p.changed
	p.mu.Unlock()
	if have {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	}
}

// close answers everybody with why and takes nothing in any more.
func (p *pool) close(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return
	}
	p.closed = why
	for _, it := range p.items {
		p.remove(it, reply{err: why})
	}
	p.queue, p.ready = nil, nil
	close(p.changed)
	p.changed = make(chan struct{})
	p.work.Broadcast()
}

func (p *pool) size() (parcels, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.items), p.bytes
}
