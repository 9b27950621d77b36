package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"
)

// lane is what this member knows of its dealings with another one.
type lane struct {
	queued chan struct{} // a slot for each push under way or waiting
	active chan struct{} // a slot for each push under way

	// Guarded by Replicator.mu.
	failures int
	rests    time.Time // until when it is asked last
}

func (r *Replicator) lane(id MemberID) *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.laneLocked(id)
}

func (r *Replicator) laneLocked(id MemberID) *lane {
	l := r.lanes[id]
	if l == nil {
		l = &lane{queued: make(chan struct{}, PeerPushesMax), active: make(chan struct{}, peerPushesActive)}
		r.lanes[id] = l
	}
	return l
}

// dealt remembers how an exchange with a member went.
func (r *Replicator) dealt(id MemberID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.laneLocked(id)
	if err == nil {
		l.failures, l.rests = 0, time.Time{}
		return
	}
	l.rests = time.Now().Add(r.backoff(l.failures))
	l.failures++
}

// backoff is the pause after so many failures before, spread by a quarter either way so that members do not come back in step.
func (r *Replicator) backoff(failures int) time.Duration {
	d := r.opts.BackoffMin << min(failures, 20)
	if d <= 0 || d > r.opts.BackoffMax {
		d = r.opts.BackoffMax
	}
	return d*3/4 + rand.N(d/2+1)
}

func (r *Replicator) exchangeTimeout(size int64) time.Duration {
	if size == sizeUnknown {
		size = r.vault.opts.FileBytesMax
	}
	return r.opts.PeerTimeout + time.Duration(size/slowestBytesPerS)*time.Second
}

// push gives a file to a member in the background, trying again after failures; first hears how the first try went, exactly once.
func (r *Replicator) push(id MemberID, hash Hash, first func(error)) {
	l := r.lane(id)
	select {
	case l.queued <- struct{}{}:
	default:
		r.count(func(s *Status) { s.PushesLeft++ })
		first(errors.New("too many pushes are waiting"))
		return
	}
	err := r.spawn(func() {
		defer func() { <-l.queued }()
		err := r.pushOnce(r.ctx, id, hash)
		first(err)
		for tries := 1; err != nil && tries < r.opts.PushAttempts && worthRepeating(err); tries++ {
			if !pause(r.ctx, r.backoff(tries-1)) {
				return
			}
			err = r.pushOnce(r.ctx, id, hash)
		}
		if err != nil {
			r.count(func(s *Status) { s.PushesLeft++ })
		}
	})
	if err != nil {
		<-l.queued
		first(err)
	}
}

// worthRepeating: not when the file is no longer here to be pushed, nor at the end.
func worthRepeating(err error) bool {
	return !errors.Is(err, ErrErased) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, context.Canceled)
}

func (r *Replicator) pushOnce(ctx context.Context, id MemberID, hash Hash) error {
	peer := r.cluster.Peer(id)
	if peer == nil {
		return fmt.Errorf("%w: member %s cannot be reached", ErrUnavailable, id)
	}
	l := r.lane(id)
	select {
	case l.active <- struct{}{}:
		defer func() { <-l.active }()
	case <-ctx.Done():
		return ctx.Err()
	}
	body, size, err := r.vault.Get(ctx, hash)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	ctx, cancel := context.WithTimeout(ctx, r.exchangeTimeout(size))
	defer cancel()
	err = peer.Push(ctx, hash, size, body)
	r.dealt(id, err)
	r.count(func(s *Status) {
		if err != nil {
			s.PushFailures++
			return
		}
		s.Pushed++
		s.BytesPushed += uint64(size)
	})
	if err != nil {
		return fmt.Errorf("pushing: %w", err)
	}
	return nil
}

// pause waits, and tells whether it was not cut short.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// flight is one pull that all who want the file wait for.
type flight struct {
	done chan struct{}
	err  error // set before done is closed
}

// pull fetches a file from other members into the vault. It goes on for the others who wait when ctx ends.
func (r *Replicator) pull(ctx context.Context, hash Hash, size int64) error {
	r.mu.Lock()
	f := r.flights[hash]
	if f == nil {
		if r.closed {
			r.mu.Unlock()
			return ErrClosed
		}
		f = &flight{done: make(chan struct{})}
		r.flights[hash] = f
		r.tasks.Go(func() { r.fly(f, hash, size) })
	}
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Replicator) fly(f *flight, hash Hash, size int64) {
	f.err = r.fetch(r.ctx, hash, size, func(ctx context.Context, body io.Reader) error {
		return r.vault.put(ctx, hash, body, size, nil) // the ledger or a reader named it: what it must contain is fixed by its hash
	})
	r.mu.Lock()
	delete(r.flights, hash)
	if f.err == nil {
		delete(r.missing, hash)
		r.status.Repaired++
	}
	r.mu.Unlock()
	close(f.done)
}

// errLarge: a file is too large to be checked in memory.
var errLarge = errors.New("vault: too large to borrow")

// borrow fetches a file that does not belong here into memory.
func (r *Replicator) borrow(ctx context.Context, hash Hash) (*bytes.Reader, error) {
	var content []byte
	err := r.fetch(ctx, hash, sizeUnknown, func(ctx context.Context, body io.Reader) error {
		all, err := io.ReadAll(io.LimitReader(untilDone{ctx, body}, BufferBytesMax+1))
		if err != nil {
			return err
		}
		if len(all) > BufferBytesMax {
			return errLarge
		}
		content, err = readWhole(bytes.NewReader(all), int64(len(all)), hash)
		if errors.Is(err, ErrCorrupt) {
			return ErrHash
		}
		return err
	})
	return bytes.NewReader(content), err
}

// fetch asks one member after the other until use takes what it gives. An error of use that is this member's own ends it.
func (r *Replicator) fetch(ctx context.Context, hash Hash, size int64, use func(context.Context, io.Reader) error) error {
	select {
	case r.transfers <- struct{}{}:
		defer func() { <-r.transfers }()
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
		return ErrClosed
	}
	var last error
	for _, peer := range r.sources(hash) {
		err := r.fetchFrom(ctx, peer, hash, size, use)
		if err == nil || ownFault(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ErrNotFound) {
			continue
		}
		last = fmt.Errorf("member %s: %w", peer.ID(), err)
		r.opts.Log.Info("fetching failed", "file", hash.String(), "member", peer.ID().String(), "error", err)
	}
	if last == nil {
		return fmt.Errorf("%w: %s: none has it", ErrUnavailable, hash)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, hash, last)
}

func ownFault(err error) bool {
	return errors.Is(err, ErrErased) || errors.Is(err, ErrNoSpace) || errors.Is(err, ErrNotReady) || errors.Is(err, errLarge)
}

// fetchFrom makes one exchange. A peer that does not begin to answer in time is left; one whose bytes are wrong has lied.
func (r *Replicator) fetchFrom(whole context.Context, peer Peer, hash Hash, size int64, use func(context.Context, io.Reader) error) (err error) {
	ctx, cancel := context.WithTimeout(whole, r.exchangeTimeout(size))
	defer cancel()
	impatience := time.AfterFunc(r.opts.AnswerTimeout, cancel)
	body, err := peer.Fetch(ctx, hash)
	impatience.Stop()
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			r.dealt(peer.ID(), nil)
		} else if whole.Err() == nil {
			r.dealt(peer.ID(), err)
		}
		return err
	}
	defer func() { _ = body.Close() }()
	counted := &countingReader{r: body}
	err = use(ctx, counted)
	if !ownFault(err) && whole.Err() == nil {
		r.dealt(peer.ID(), err)
	}
	r.count(func(s *Status) {
		s.BytesFetched += uint64(counted.n)
		if errors.Is(err, ErrHash) || errors.Is(err, ErrSize) {
			s.Lies++
		}
	})
	return err
}

// sources are the other members in the order in which to ask them: those the file belongs to first, and those that failed lately last.
func (r *Replicator) sources(hash Hash) []Peer {
	members := r.cluster.Members()
	order := without(Placement(hash, members, len(members)), r.cluster.Self())
	now := time.Now()
	r.mu.Lock()
	rests := func(id MemberID) int {
		if l := r.lanes[id]; l != nil && l.rests.After(now) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b MemberID) int { return rests(a) - rests(b) })
	r.mu.Unlock()
	peers := make([]Peer, 0, len(order))
	for _, id := range order {
		if p := r.cluster.Peer(id); p != nil {
			peers = append(peers, p)
		}
	}
	return peers
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
