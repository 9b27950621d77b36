package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Delete erases a file for good, held or not: a durable tombstone first, then the bytes, a corrupt copy put aside included. From the
// moment it is called the file is refused everywhere. When it returns nil no bytes of the file are left here and none can come back.
// It works before Serve too, and twice.
func (v *Vault) Delete(ctx context.Context, hash Hash) error {
	lock := v.lock(hash)
	lock.Lock()
	defer lock.Unlock()
	stage := v.stage(hash)
	if stage == gone {
		return nil
	}
	if stage != tombstoned {
		v.setStage(hash, erasing)
		if err := v.entomb(ctx, hash); err != nil {
			return fmt.Errorf("erasing %s: %w", hash, err)
		}
		v.setStage(hash, tombstoned)
	}
	if err := v.expunge(ctx, hash); err != nil {
		return fmt.Errorf("erasing %s: %w", hash, err)
	}
	v.setStage(hash, gone)
	return nil
}

// entomb makes the tombstone durable. On a full disk the bytes go first, which makes the room; should a crash come in between, the ledger
// still says that the file is erased.
func (v *Vault) entomb(ctx context.Context, hash Hash) error {
	err := v.store.write(ctx, tombstoneKey(hash), tombstoneBody(hash))
	if !errors.Is(err, ErrNoSpace) {
		return err
	}
	if err := v.expunge(ctx, hash); err != nil {
		return err
	}
	return v.store.write(ctx, tombstoneKey(hash), tombstoneBody(hash))
}

// tombstoneBody is for whoever looks into the bucket; what counts is the key.
func tombstoneBody(hash Hash) []byte {
	return []byte("anamnesis/vault/tombstone/v1 " + hash.String() + "\n")
}

// DeleteAll is Delete of at most DeleteFilesMax files for the price of a few: one durable list of tombstones for all, then the bytes of all, then
// one sync of each directory. From the moment it is called all are refused; when it returns nil all are gone. Killed in between, or failed, it
// has made tombstones for all or for none, and what has one is finished at the next try or start.
func (v *Vault) DeleteAll(ctx context.Context, hashes []Hash) error {
	if len(hashes) > DeleteFilesMax {
		return fmt.Errorf("%w: %d files to erase at once, %d are allowed", ErrSize, len(hashes), DeleteFilesMax)
	}
	if len(hashes) == 0 {
		return nil // without waiting for those who have some
	}
	v.burying.Lock()
	defer v.burying.Unlock()
	open, fresh := v.condemn(hashes)
	if len(open) == 0 {
		return nil
	}
	if err := v.entombAll(ctx, fresh); err != nil {
		return fmt.Errorf("erasing %d files: %w", len(open), err)
	}
	for _, h := range fresh {
		v.setStage(h, tombstoned)
	}
	if err := v.bury(ctx, open); err != nil {
		return fmt.Errorf("erasing %d files: %w", len(open), err)
	}
	return nil
}

// condemn has the files refused from now on, and says which are not gone yet, and of these which have no tombstone. Whoever was giving one of them its name
// has done so when it returns.
func (v *Vault) condemn(hashes []Hash) (open, fresh []Hash) {
	hashes = slices.Clone(hashes)
	slices.SortFunc(hashes, compareHashes)
	for _, h := range slices.Compact(hashes) {
		lock := v.lock(h)
		lock.Lock()
		stage := v.stage(h)
		if stage < tombstoned {
			v.setStage(h, erasing)
			fresh = append(fresh, h)
		}
		if stage != gone {
			open = append(open, h)
		}
		lock.Unlock()
	}
	return open, fresh
}

// entombAll makes the tombstones of many files durable: all of them or, if it fails, none. On a full disk see entomb.
func (v *Vault) entombAll(ctx context.Context, hashes []Hash) error {
	switch len(hashes) {
	case 0:
		return nil
	case 1:
		lock := v.lock(hashes[0])
		lock.Lock()
		defer lock.Unlock()
		return v.entomb(ctx, hashes[0])
	}
	list := graveList(hashes)
	name := graveKey(sha256.Sum256(list))
	err := v.store.write(ctx, name, list)
	if !errors.Is(err, ErrNoSpace) {
		return err
	}
	if err := v.expungeAll(ctx, hashes); err != nil {
		return err
	}
	return v.store.write(ctx, name, list)
}

// bury removes all bytes of files whose tombstones are durable.
func (v *Vault) bury(ctx context.Context, hashes []Hash) error {
	if err := v.expungeAll(ctx, hashes); err != nil {
		return err
	}
	for _, h := range hashes {
		v.setStage(h, gone)
	}
	return nil
}

// expungeAll removes all bytes of files, durably. Each is removed under its lock, so that nobody puts a copy aside that is looked at just then.
func (v *Vault) expungeAll(ctx context.Context, hashes []Hash) error {
	keys := make([]string, len(hashes))
	var mu sync.Mutex // guards aside
	var aside []string
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(parallelMax)
	for i, h := range hashes {
		keys[i] = fileKey(h) // its directory is synced whether or not there is a file: an earlier try may have come this far
		group.Go(func() error {
			if err := within.Err(); err != nil {
				return err
			}
			lock := v.lock(h)
			lock.Lock()
			defer lock.Unlock()
			v.lately.drop(h)
			if _, err := v.store.drop(within, fileKey(h)); err != nil {
				return err
			}
			was, err := v.store.drop(within, quarantineKey(h))
			if was {
				mu.Lock()
				aside = append(aside, quarantineKey(h))
				mu.Unlock()
			}
			if err == nil && v.isQuarantined(h) {
				v.mu.Lock()
				delete(v.quarantined, h)
				v.mu.Unlock()
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return v.store.settleAll(slices.Concat(keys, aside))
}

// A list of tombstones is a line that says what it is, and a line for each file. Its name is its hash.
const (
	graveHeader   = "anamnesis/vault/tombstones/v1\n"
	graveBytesMax = int64(len(graveHeader) + DeleteFilesMax*(2*len(Hash{})+1))
)

func graveList(hashes []Hash) []byte {
	list := []byte(graveHeader)
	for _, h := range hashes {
		list = append(list, h.String()...)
		list = append(list, '\n')
	}
	return list
}

// gravesIn reads a list of tombstones. Of one that is damaged, what can be read counts; the ledger says the rest again.
func gravesIn(list []byte) (out []Hash) {
	for line := range strings.Lines(string(list)) {
		var h Hash
		if h.UnmarshalText([]byte(strings.TrimSuffix(line, "\n"))) == nil {
			out = append(out, h)
		}
	}
	return out
}

func compareHashes(a, b Hash) int { return bytes.Compare(a[:], b[:]) }

// expunge removes all bytes of a file. The caller holds its lock, or is alone.
func (v *Vault) expunge(ctx context.Context, hash Hash) error {
	v.lately.drop(hash)
	if _, err := v.store.remove(ctx, fileKey(hash)); err != nil {
		return err
	}
	if _, err := v.store.remove(ctx, quarantineKey(hash)); err != nil {
		return err
	}
	v.mu.Lock()
	delete(v.quarantined, hash)
	v.mu.Unlock()
	return nil
}

func (v *Vault) stage(hash Hash) erasure {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.erased[hash]
}

// setStage brings the erasure of a file further; it never goes back.
func (v *Vault) setStage(hash Hash, s erasure) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.erased[hash] = max(v.erased[hash], s)
}

// Intact tells whether the bytes of a file held are those that its hash names. It works before Serve. Errors: ErrNotFound, ErrErased.
func (v *Vault) Intact(ctx context.Context, hash Hash) (bool, error) {
	if v.stage(hash) != 0 {
		return false, fmt.Errorf("%w: %s", ErrErased, hash)
	}
	body, _, err := v.store.readChecked(ctx, fileKey(hash), hash, v.opts.FileBytesMax)
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrNotFound) && v.isQuarantined(hash):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading %s: %w", hash, err)
	}
	return true, body.Close()
}

// Header returns the first bytes of a file held, at most HeaderBytesMax, as they lie there: nothing is checked. It works before Serve. Errors:
// ErrNotFound, ErrErased; ErrCorrupt when nothing but a corrupt copy is left.
func (v *Vault) Header(ctx context.Context, hash Hash) ([]byte, error) {
	if v.stage(hash) != 0 {
		return nil, fmt.Errorf("%w: %s", ErrErased, hash)
	}
	r, err := v.store.openObject(ctx, fileKey(hash), v.opts.FileBytesMax)
	if errors.Is(err, ErrNotFound) && v.isQuarantined(hash) {
		err = ErrCorrupt
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", hash, err)
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(io.LimitReader(r, HeaderBytesMax))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", hash, damaged(err))
	}
	return b, nil
}

// Serving tells whether the wait that Options.AwaitErasures began is over.
func (v *Vault) Serving() bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.serving
}

// Erased tells whether a file is erased here, down to its last byte: what a node attests.
func (v *Vault) Erased(hash Hash) bool { return v.stage(hash) == gone }

// load reads tombstones and finds what is put aside, and finishes erasures that were interrupted. Open calls it, alone.
func (v *Vault) load(ctx context.Context) error {
	v.erased, v.quarantined = map[Hash]erasure{}, map[Hash]struct{}{}
	if err := v.store.each(ctx, tombstones, func(h Hash) { v.erased[h] = tombstoned }); err != nil {
		return err
	}
	var lists []Hash
	if err := v.store.each(ctx, graves, func(h Hash) { lists = append(lists, h) }); err != nil {
		return err
	}
	for _, name := range lists {
		raw, err := v.store.readSmall(ctx, graveKey(name), graveBytesMax)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return fmt.Errorf("tombstones %s: %w", name, err)
		}
		for _, h := range gravesIn(raw) {
			v.erased[h] = tombstoned
		}
	}
	if err := v.store.each(ctx, quarantine, func(h Hash) { v.quarantined[h] = struct{}{} }); err != nil {
		return err
	}
	return v.bury(ctx, slices.SortedFunc(maps.Keys(v.erased), compareHashes))
}

// Info describes a stored file.
type Info struct {
	Hash   Hash
	Size   int64     // bytes
	Stored time.Time // when it was last put, by the bucket's clock
}

// List returns up to limit (at most ListFilesMax) files held, in the order of their hashes, after the one that cursor names ("" for the
// first page), and the next page's cursor, "" after the last page. A file put or removed meanwhile may or may not be listed.
func (v *Vault) List(ctx context.Context, cursor string, limit int) ([]Info, string, error) {
	if err := v.usable(Hash{}); err != nil {
		return nil, "", err
	}
	if limit < 1 || limit > ListFilesMax {
		return nil, "", fmt.Errorf("%w: a page of %d files, 1 to %d are allowed", ErrSize, limit, ListFilesMax)
	}
	var after *Hash
	if cursor != "" {
		h := new(Hash)
		if err := h.UnmarshalText([]byte(cursor)); err != nil {
			return nil, "", fmt.Errorf("vault: cursor: %w", err)
		}
		after = h
	}
	var page []Info
	for info, err := range v.store.ordered(ctx, files, after) {
		if err != nil {
			return nil, "", fmt.Errorf("vault: listing: %w", err)
		}
		if v.stage(info.Hash) != 0 {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].Hash.String(), nil
		}
		page = append(page, info)
	}
	return page, "", nil
}

// all yields every file that List would, in one pass.
func (v *Vault) all(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := v.usable(Hash{}); err != nil {
			yield(Info{}, err)
			return
		}
		for info, err := range v.store.ordered(ctx, files, nil) {
			if err != nil {
				yield(Info{}, fmt.Errorf("vault: listing: %w", err))
				return
			}
			if v.stage(info.Hash) == 0 && !yield(info, nil) {
				return
			}
		}
	}
}

// Swept says what Sweep removed.
type Swept struct {
	Files int
	Bytes int64
}

// Sweep removes files that the ledger never came to name: those that keep does not claim and that were last put longer than olderThan ago,
// copies put aside included. No tombstone is left. keep is asked right before a file goes; an upload must therefore be on the ledger
// within olderThan.
func (v *Vault) Sweep(ctx context.Context, keep func(Hash) bool, olderThan time.Duration) (Swept, error) {
	var swept Swept
	orphan := func(i Info) bool { return i.Stored.Before(v.opts.Now().Add(-olderThan)) && !keep(i.Hash) }
	for info, err := range v.all(ctx) {
		if err != nil {
			return swept, err
		}
		if !orphan(info) {
			continue
		}
		removed, err := v.drop(ctx, fileKey(info.Hash), info.Hash, orphan)
		if err != nil {
			return swept, err
		}
		if removed {
			swept.Files++
			swept.Bytes += info.Size
		}
	}
	return swept, v.sweepQuarantine(ctx, orphan)
}

func (v *Vault) sweepQuarantine(ctx context.Context, orphan func(Info) bool) error {
	v.mu.RLock()
	aside := slices.Collect(maps.Keys(v.quarantined))
	v.mu.RUnlock()
	for _, h := range aside {
		removed, err := v.drop(ctx, quarantineKey(h), h, orphan)
		if err != nil {
			return err
		}
		if removed {
			v.mu.Lock()
			delete(v.quarantined, h)
			v.mu.Unlock()
		}
	}
	return nil
}

// drop removes an object of a file without a tombstone if, looked at again under the file's lock, it should still go.
func (v *Vault) drop(ctx context.Context, key string, hash Hash, still func(Info) bool) (bool, error) {
	lock := v.lock(hash)
	lock.Lock()
	defer lock.Unlock()
	attrs, err := v.store.bucket.Attributes(ctx, key)
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("vault: looking at %s: %w", hash, err)
	}
	if !still(Info{Hash: hash, Size: attrs.Size, Stored: attrs.ModTime}) {
		return false, nil
	}
	v.lately.drop(hash)
	removed, err := v.store.remove(ctx, key)
	if err != nil {
		return false, fmt.Errorf("vault: removing %s: %w", hash, err)
	}
	return removed, nil
}
