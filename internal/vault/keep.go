package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// want is a file that is missing here.
type want struct {
	size  int64
	due   time.Time // when to try (again)
	tries int
	walk  uint64 // the last walk that found it missing
}

// noteMissing remembers a missing file, to be fetched when due.
func (r *Replicator) noteMissing(hash Hash, size int64, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.missing[hash]; w != nil {
		w.walk = r.walk
		return
	}
	if len(r.missing) < MissingFilesMax {
		r.missing[hash] = &want{size: size, due: due, walk: r.walk}
	}
}

func (r *Replicator) noLongerMissing(hash Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.missing, hash)
}

// Run does what nobody asks for, until ctx ends or the replicator is closed: it follows the index, fetches what is missing, walks the whole
// index at intervals and whenever the members change, and scrubs. It returns the cause of its end.
func (r *Replicator) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(ErrClosed) })()
	var loops sync.WaitGroup
	loops.Go(func() { r.keep(ctx) })
	loops.Go(func() { r.scrubLoop(ctx) })
	loops.Wait()
	return context.Cause(ctx)
}

func (r *Replicator) keep(ctx context.Context) {
	var (
		cursor  string
		members []MemberID
		due     time.Time // of the next walk of the whole
		failed  int       // walks in a row
	)
	for ctx.Err() == nil {
		now := r.cluster.Members()
		var err error
		if !time.Now().Before(due) || !slices.Equal(members, now) {
			var next string
			if next, err = r.walkAll(ctx); err == nil {
				cursor, members, due = next, now, time.Now().Add(r.opts.WalkInterval)
			}
		} else {
			cursor, err = r.follow(ctx, cursor)
		}
		r.retry(ctx)
		if err != nil && ctx.Err() == nil {
			r.opts.Log.Warn("walking the index failed", "error", err)
			pause(ctx, r.backoff(failed))
			failed++
			continue
		}
		failed = 0
		r.rest(ctx)
	}
}

// rest waits for the next look at the index, or for Wake.
func (r *Replicator) rest(ctx context.Context) {
	t := time.NewTimer(r.opts.FollowInterval)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.wake:
	case <-ctx.Done():
	}
}

// Walk goes through the whole index once: it erases what is erased, fetches what is missing, hands over what belongs elsewhere, and returns
// the status after it. Files that could not be had stay Missing; that is no error.
func (r *Replicator) Walk(ctx context.Context) (Status, error) {
	_, err := r.walkAll(ctx)
	return r.Status(), err
}

func (r *Replicator) walkAll(ctx context.Context) (cursor string, err error) {
	r.mu.Lock()
	r.walk++
	number := r.walk
	r.mu.Unlock()
	var seen census
	for {
		next, more, err := r.page(ctx, cursor, true, &seen)
		if err != nil {
			return cursor, err
		}
		cursor = next
		if !more {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Placed, r.status.Held, r.status.HeldBytes, r.status.Handover = seen.placed, seen.held, seen.heldBytes, seen.handover
	r.status.LastWalk = time.Now()
	maps.DeleteFunc(r.missing, func(_ Hash, w *want) bool { return w.tries > 0 && w.walk < number })
	return cursor, nil
}

// follow goes through what is new at the end of the index.
func (r *Replicator) follow(ctx context.Context, cursor string) (string, error) {
	for {
		next, more, err := r.page(ctx, cursor, false, new(census))
		if err != nil || !more {
			return next, err
		}
		cursor = next
	}
}

// census counts what a walk saw.
type census struct {
	placed, held, handover int
	heldBytes              int64
}

// page deals with one page of the index. As part of a walk of the whole it looks at each file and fetches what is missing at once; else what
// came not long ago is trusted to be here, and what is missing has PullDelay to arrive by itself.
func (r *Replicator) page(ctx context.Context, cursor string, whole bool, seen *census) (next string, more bool, err error) {
	list, next, err := r.index.Files(ctx, cursor, walkPageFiles)
	if err != nil {
		return cursor, false, fmt.Errorf("vault: reading the index: %w", err)
	}
	if next == "" {
		next = cursor
	}
	if len(list) == 0 {
		return next, false, nil
	}
	if next == cursor {
		return cursor, false, fmt.Errorf("vault: the index does not move on from %q", cursor)
	}
	members := r.cluster.Members()
	if len(members) == 0 {
		return cursor, false, ErrNoMembers // with nobody to place on, nothing would belong here
	}
	lacking, foreign, err := r.sort(ctx, list, members, whole, seen)
	if err != nil {
		return cursor, false, err
	}
	if err := r.supply(ctx, lacking, whole, seen); err != nil {
		return cursor, false, err
	}
	return next, true, r.handOver(ctx, foreign, members, seen)
}

// sort erases what is erased and tells apart the files that belong here and are missing, and those that are here, if only as a corrupt copy
// put aside, and belong elsewhere.
func (r *Replicator) sort(ctx context.Context, list []File, members []MemberID, whole bool, seen *census) (lacking, foreign []File, err error) {
	hashes := make([]Hash, len(list))
	for i, f := range list {
		hashes[i] = f.Hash
	}
	ask := r.vault.hasLately
	if whole {
		ask = func(ctx context.Context, hashes []Hash) ([]bool, error) {
			return r.vault.forEach(ctx, hashes, r.vault.Has)
		}
	}
	has, err := ask(ctx, hashes)
	if err != nil {
		return nil, nil, err
	}
	if err := r.vault.DeleteAll(ctx, erased(list)); err != nil {
		return nil, nil, err
	}
	for i, f := range list {
		if f.Erased {
			r.noLongerMissing(f.Hash)
			continue
		}
		if f.Unwanted {
			r.noLongerMissing(f.Hash)
			continue
		}
		held := has[i]
		here := slices.Contains(Placement(f.Hash, members, r.opts.Copies), r.cluster.Self())
		if held || !here {
			r.noLongerMissing(f.Hash) // another member pushed it, or now has to have it
		}
		switch {
		case here && held:
			seen.placed, seen.held, seen.heldBytes = seen.placed+1, seen.held+1, seen.heldBytes+f.Size
		case here:
			seen.placed++
			lacking = append(lacking, f)
		case held || r.vault.isQuarantined(f.Hash):
			foreign = append(foreign, f)
		}
	}
	return lacking, foreign, nil
}

// erased are the files of a page that must go.
func erased(list []File) (out []Hash) {
	for _, f := range list {
		if f.Erased {
			out = append(out, f.Hash)
		}
	}
	return out
}

// supply fetches files, or notes them for later.
func (r *Replicator) supply(ctx context.Context, lacking []File, now bool, seen *census) error {
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(repairParallelMax)
	for _, f := range lacking {
		if !now {
			r.noteMissing(f.Hash, f.Size, time.Now().Add(r.opts.PullDelay))
			continue
		}
		group.Go(func() error {
			err := r.pull(ctx, f.Hash, f.Size)
			if err == nil {
				mu.Lock()
				seen.held, seen.heldBytes = seen.held+1, seen.heldBytes+f.Size
				mu.Unlock()
				return nil
			}
			if !errors.Is(err, ErrErased) {
				r.noteMissing(f.Hash, f.Size, time.Now().Add(r.backoff(0)))
			}
			return fatalToWalk(err)
		})
	}
	return errors.Join(group.Wait(), ctx.Err())
}

// fatalToWalk keeps the errors that would meet every other file too.
func fatalToWalk(err error) error {
	if errors.Is(err, ErrNoSpace) || errors.Is(err, ErrNotReady) || errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

// handOver makes sure that the members to whom files belong have them, and then lets go of them here.
func (r *Replicator) handOver(ctx context.Context, foreign []File, members []MemberID, seen *census) error {
	if len(foreign) == 0 {
		return nil
	}
	byMember := map[MemberID][]File{}
	for _, f := range foreign {
		for _, id := range Placement(f.Hash, members, r.opts.Copies) {
			byMember[id] = append(byMember[id], f)
		}
	}
	var mu sync.Mutex
	holders := map[Hash]int{}
	var group errgroup.Group
	group.SetLimit(repairParallelMax)
	for id, list := range byMember {
		group.Go(func() error {
			confirmed := r.ensure(ctx, id, list)
			mu.Lock()
			defer mu.Unlock()
			for _, h := range confirmed {
				holders[h]++
			}
			return nil
		})
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return err
	}
	needed := len(Placement(Hash{}, members, r.opts.Copies))
	for _, f := range foreign {
		if holders[f.Hash] < needed {
			seen.handover++
			continue
		}
		dropped, err := r.vault.drop(ctx, fileKey(f.Hash), f.Hash, func(Info) bool { return true })
		if err != nil {
			return err
		}
		if err := r.vault.release(ctx, f.Hash); err != nil {
			return err
		}
		if dropped {
			r.count(func(s *Status) { s.HandedOver++ })
		}
	}
	return nil
}

// ensure returns those of the files that a member has, after pushing the others to it.
func (r *Replicator) ensure(ctx context.Context, id MemberID, list []File) (confirmed []Hash) {
	for part := range slices.Chunk(list, handOverFiles) {
		has := r.ask(ctx, id, part)
		if has == nil {
			return confirmed // the next walk asks again
		}
		for i, f := range part {
			if has[i] || r.pushOnce(ctx, id, f.Hash) == nil {
				confirmed = append(confirmed, f.Hash)
			}
		}
	}
	return confirmed
}

// ask returns nil when there is no answer.
func (r *Replicator) ask(ctx context.Context, id MemberID, list []File) []bool {
	peer := r.cluster.Peer(id)
	if peer == nil {
		return nil
	}
	var bytes int64
	hashes := make([]Hash, len(list))
	for i, f := range list {
		hashes[i] = f.Hash
		bytes += f.Size
	}
	asked, cancel := context.WithTimeout(ctx, r.exchangeTimeout(bytes))
	defer cancel()
	has, err := peer.Has(asked, hashes)
	if err == nil && len(has) != len(hashes) {
		err = fmt.Errorf("answers for %d of %d files", len(has), len(hashes))
	}
	if ctx.Err() == nil {
		r.dealt(id, err)
	}
	if err != nil {
		r.opts.Log.Info("asking for files failed", "member", id.String(), "error", err)
		return nil
	}
	return has
}

// retry tries again for the missing files that are due, the longest due first.
func (r *Replicator) retry(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(repairParallelMax)
	for _, hash := range r.dueNow() {
		group.Go(func() error {
			r.retryOne(ctx, hash)
			return nil
		})
	}
	_ = group.Wait() // the tasks return nothing
}

func (r *Replicator) dueNow() []Hash {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []Hash
	for h, w := range r.missing {
		if !w.due.After(now) {
			due = append(due, h)
		}
	}
	slices.SortFunc(due, func(a, b Hash) int { return r.missing[a].due.Compare(r.missing[b].due) })
	return due[:min(len(due), retryFilesMax)]
}

func (r *Replicator) retryOne(ctx context.Context, hash Hash) {
	r.mu.Lock()
	w := r.missing[hash]
	if w == nil {
		r.mu.Unlock()
		return
	}
	size := w.size
	r.mu.Unlock()
	held, err := r.vault.Has(ctx, hash)
	if err == nil && !held && r.placedHere(hash) {
		err = r.pull(ctx, hash, size)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || errors.Is(err, ErrErased) {
		delete(r.missing, hash)
		return
	}
	w.due = time.Now().Add(r.backoff(w.tries))
	w.tries++
}

// Recover applies the erasures that the index knows of, and then lets the vault serve: what a node does before anything else, since its
// vault may come from a backup that is older than an erasure.
func (r *Replicator) Recover(ctx context.Context) error {
	for cursor := ""; ; {
		list, next, err := r.index.Files(ctx, cursor, walkPageFiles)
		if err != nil {
			return fmt.Errorf("vault: reading the index: %w", err)
		}
		if len(list) == 0 {
			r.vault.Serve()
			return nil
		}
		if next == cursor {
			return fmt.Errorf("vault: the index does not move on from %q", cursor)
		}
		if err := r.vault.DeleteAll(ctx, erased(list)); err != nil {
			return err
		}
		cursor = next
	}
}

func (r *Replicator) scrubLoop(ctx context.Context) {
	for {
		if _, err := r.Scrub(ctx); err != nil && ctx.Err() == nil {
			r.opts.Log.Warn("scrubbing failed", "error", err)
		}
		if !pause(ctx, r.opts.ScrubInterval) {
			return
		}
	}
}

// Scrubbed says what Scrub found.
type Scrubbed struct {
	Files, Corrupt, Repaired int
	Bytes                    int64
}

// Scrub reads every file held, at most at ScrubBytesPerSecond, puts aside those that are corrupt and, where they belong here, fetches them from
// other members. One that no member gives stays Missing; that is no error.
func (r *Replicator) Scrub(ctx context.Context) (Scrubbed, error) {
	var found Scrubbed
	limiter := rate.NewLimiter(rate.Limit(r.opts.ScrubBytesPerSecond), FileBytesMax)
	for info, err := range r.vault.all(ctx) {
		if err != nil {
			return found, err
		}
		if err := limiter.WaitN(ctx, int(min(info.Size, FileBytesMax))); err != nil {
			return found, err
		}
		_, err := r.vault.Verify(ctx, info.Hash)
		switch {
		case errors.Is(err, ErrNotFound) || errors.Is(err, ErrErased): // removed since it was listed
			continue
		case errors.Is(err, ErrCorrupt):
			found.Corrupt++
			if r.placedHere(info.Hash) && r.pull(ctx, info.Hash, sizeUnknown) == nil {
				found.Repaired++
			}
		case err != nil:
			return found, err
		}
		found.Files++
		found.Bytes += info.Size
	}
	r.count(func(s *Status) { s.LastScrub = time.Now() })
	return found, nil
}
