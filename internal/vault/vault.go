// Package vault keeps the encrypted files of records by the SHA-256 of their ciphertext, and keeps them on enough members.
//
// A [Vault] is one member's store: files in a bucket of gocloud.dev/blob, a folder of this machine by default, an S3-compatible
// service at scale. What Put acknowledged is on stable storage under its own hash, whole; nothing else ever has that name. What Get
// returns has been hashed on the way out: a copy that does not match is put aside, reported as [ErrCorrupt] and asked for again.
// Delete is for good: a tombstone stays, and an erased hash is neither stored nor served nor listed again.
//
// A [Replicator] puts a file on the members that [Placement] names, fetches what is missing here, checks what is held, repairs what is
// corrupt, and hands on what belongs elsewhere. It keeps no queue on disk: what should exist is read off an [Index] (the ledger), so
// that whatever a crash forgot, the next walk finds.
//
// The package is mechanism alone: who may read a file or upload one is decided before it is called. One process owns a bucket. A bucket
// with object versioning switched on breaks erasure: switch it off. Memory grows by about 100 bytes for every erased file.
package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/sync/errgroup"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Hash names a file: SHA-256 of its ciphertext.
type Hash = protocol.Hash

// MemberID names a member that keeps files.
type MemberID = protocol.MemberID

// Limits.
const (
	FileBytesMax   = protocol.RecordFileBytesMax // the largest file
	HeaderBytesMax = 64 << 10                    // how much of a file's beginning Options.Admit is shown
	BufferBytesMax = 1 << 20                     // files up to here are checked in memory, larger ones are read twice
	HashesMax      = 1024                        // hashes in one Held or Peer.Has
	ListFilesMax   = 4096                        // files in one page of List
	DeleteFilesMax = 4096                        // files of one DeleteAll
	lockStripes    = 64
	parallelMax    = 16
)

// What can go wrong; every error of the package wraps one of these, or the bucket's or the caller's own error.
var (
	ErrNotFound = errors.New("vault: no such file")
	ErrErased   = errors.New("vault: the file is erased")
	ErrCorrupt  = errors.New("vault: the stored copy is corrupt")
	ErrHash     = errors.New("vault: the content does not have that hash")
	ErrSize     = errors.New("vault: not an acceptable size")
	ErrRefused  = errors.New("vault: the file was not admitted")
	ErrNoSpace  = errors.New("vault: no space left")
	ErrNotReady = errors.New("vault: erasures are still to be applied")
)

// Options of a vault. The zero value is a vault that admits every file and serves at once.
type Options struct {
	// Admit looks at the first bytes (at most HeaderBytesMax) of a file that Put is given and refuses it with an error.
	// It must not keep header. size is the whole file's.
	Admit func(ctx context.Context, header []byte, size int64) error
	// AwaitErasures refuses everything but Delete, with ErrNotReady, until Serve is called: a node that may have been restored from a
	// backup first applies the erasures that its ledger knows of (Replicator.Recover does both).
	AwaitErasures bool
	// FileBytesMax lowers the limit on a file; 0 means the package's.
	FileBytesMax int64
	// Now is the clock of Sweep; nil means time.Now.
	Now func() time.Time
}

// Vault is one member's store. Its methods may be called concurrently.
type Vault struct {
	store *store
	opts  Options
	locks [lockStripes]sync.Mutex // by hash: publishing, removing and putting aside one file exclude each other

	lately lately // added to and dropped from under the file's lock

	burying sync.Mutex // held through a DeleteAll, so that two with the same files do the work once

	mu          sync.RWMutex // guards what follows
	erased      map[Hash]erasure
	quarantined map[Hash]struct{}
	serving     bool
	onCorrupt   func(Hash)

	corrupt atomic.Uint64
}

// erasure is how far the erasure of one file has come.
type erasure uint8

const (
	erasing    erasure = iota + 1 // refused from now on; nothing durable yet
	tombstoned                    // the tombstone is durable; bytes may remain
	gone                          // no bytes remain
)

// Open opens the vault in a folder (a path or a file:// URL), which is created when missing, or in the bucket that any other gocloud.dev
// URL names (s3://…; the program must link that driver). Erasures that a crash interrupted are finished before it returns.
func Open(ctx context.Context, bucketURL string, opts Options) (*Vault, error) {
	s, err := openStore(ctx, bucketURL)
	if err != nil {
		return nil, err
	}
	return open(ctx, s, opts)
}

// New is Open on a bucket that the caller opened; the vault closes it. For a folder use Open, which also makes writes durable.
func New(ctx context.Context, bucket *blob.Bucket, opts Options) (*Vault, error) {
	return open(ctx, &store{bucket: bucket}, opts)
}

func open(ctx context.Context, s *store, opts Options) (*Vault, error) {
	if opts.FileBytesMax <= 0 || opts.FileBytesMax > FileBytesMax {
		opts.FileBytesMax = FileBytesMax
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	v := &Vault{store: s, opts: opts, serving: !opts.AwaitErasures}
	if err := v.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("vault: opening: %w", err), s.close())
	}
	return v, nil
}

// Close closes the bucket. Calls under way fail.
func (v *Vault) Close() error { return v.store.close() }

// Serve ends the wait that Options.AwaitErasures began.
func (v *Vault) Serve() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.serving = true
}

// Has tells whether a copy is held. It does not look inside: Verify does.
func (v *Vault) Has(ctx context.Context, hash Hash) (bool, error) {
	if err := v.usable(hash); err != nil {
		if errors.Is(err, ErrErased) {
			return false, nil
		}
		return false, err
	}
	ok, err := v.store.exists(ctx, fileKey(hash))
	if err != nil {
		return false, fmt.Errorf("vault: looking for %s: %w", hash, err)
	}
	return ok, nil
}

// Held tells for up to HashesMax files, in their order, whether a good copy is held: each is read and hashed as in Verify, since the
// member that asks may let go of its own copy upon the answer. It is what answers Peer.Has.
func (v *Vault) Held(ctx context.Context, hashes []Hash) ([]bool, error) {
	if len(hashes) > HashesMax {
		return nil, fmt.Errorf("%w: %d hashes asked for at once, %d are allowed", ErrSize, len(hashes), HashesMax)
	}
	return v.forEach(ctx, hashes, func(ctx context.Context, h Hash) (bool, error) {
		_, err := v.Verify(ctx, h)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrErased) || errors.Is(err, ErrCorrupt) {
			return false, nil
		}
		return err == nil, err
	})
}

// forEach asks about many files at a time.
func (v *Vault) forEach(ctx context.Context, hashes []Hash, ask func(context.Context, Hash) (bool, error)) ([]bool, error) {
	answers := make([]bool, len(hashes))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelMax)
	for i, h := range hashes {
		group.Go(func() (err error) {
			answers[i], err = ask(ctx, h)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return answers, nil
}

// Get returns a file and its size; the caller closes the reader. All of the content has been checked against the hash before Get returns;
// a file over BufferBytesMax is checked once more while it is read, and its end is withheld should it have changed in between.
// Errors: ErrNotFound, ErrErased, ErrNotReady; ErrCorrupt, after which the copy is gone from under its hash.
func (v *Vault) Get(ctx context.Context, hash Hash) (io.ReadCloser, int64, error) {
	if err := v.usable(hash); err != nil {
		return nil, 0, err
	}
	body, size, err := v.store.readChecked(ctx, fileKey(hash), hash, v.opts.FileBytesMax)
	if errors.Is(err, ErrCorrupt) {
		if err = v.quarantine(ctx, hash); err == nil { // healed since
			body, size, err = v.store.readChecked(ctx, fileKey(hash), hash, v.opts.FileBytesMax)
		}
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", hash, err)
	}
	return body, size, nil
}

// Verify hashes the stored copy. A corrupt one is put aside: ErrCorrupt. It returns the file's size.
func (v *Vault) Verify(ctx context.Context, hash Hash) (int64, error) {
	if err := v.usable(hash); err != nil {
		return 0, err
	}
	size, err := v.store.verify(ctx, fileKey(hash), hash, v.opts.FileBytesMax)
	if errors.Is(err, ErrCorrupt) {
		err = v.quarantine(ctx, hash)
	}
	if err != nil {
		return size, fmt.Errorf("verifying %s: %w", hash, err)
	}
	return size, nil
}

// usable tells whether hash may be read or written at all.
func (v *Vault) usable(hash Hash) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.erased[hash] != 0 {
		return fmt.Errorf("%w: %s", ErrErased, hash)
	}
	if !v.serving {
		return ErrNotReady
	}
	return nil
}

func (v *Vault) lock(hash Hash) *sync.Mutex { return &v.locks[hash[0]%lockStripes] }

// quarantine puts the copy of hash aside and returns ErrCorrupt, having made sure under the lock that it is still a corrupt one: nil when a
// good one has replaced it since the caller looked.
func (v *Vault) quarantine(ctx context.Context, hash Hash) error {
	ctx = context.WithoutCancel(ctx) // half of this would be worse than a late answer
	err := v.setAside(ctx, hash)
	if errors.Is(err, ErrNotFound) {
		return ErrCorrupt // another caller was faster
	}
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	v.mu.RLock()
	notify := v.onCorrupt
	v.mu.RUnlock()
	if notify != nil {
		notify(hash)
	}
	return ErrCorrupt
}

func (v *Vault) setAside(ctx context.Context, hash Hash) error {
	lock := v.lock(hash)
	lock.Lock()
	defer lock.Unlock()
	_, err := v.store.verify(ctx, fileKey(hash), hash, v.opts.FileBytesMax)
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	v.corrupt.Add(1)
	// The bytes are kept until a good copy is back: of a file that is corrupt everywhere they may be all there is. When they cannot be
	// copied (a full disk, an unreadable sector), being rid of a wrong copy matters more.
	if err := v.store.bucket.Copy(ctx, quarantineKey(hash), fileKey(hash), nil); err == nil {
		v.mu.Lock()
		v.quarantined[hash] = struct{}{}
		v.mu.Unlock()
	}
	v.lately.drop(hash)
	if _, err := v.store.remove(ctx, fileKey(hash)); err != nil {
		return fmt.Errorf("putting the corrupt copy aside: %w", err)
	}
	return ErrCorrupt
}

func isNotFound(err error) bool { return gcerrors.Code(err) == gcerrors.NotFound }
