package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Errors of replication.
var (
	ErrUnavailable = errors.New("vault: no member gave the file")
	ErrNoMembers   = errors.New("vault: no members are known")
	ErrClosed      = errors.New("vault: closed")
)

// Limits of replication.
const (
	MissingFilesMax   = 1 << 16 // missing files remembered between walks; of more, the next walk finds the rest
	PeerPushesMax     = 256     // pushes to one member under way or waiting; of more, the member's own walk fetches the file
	peerPushesActive  = 4
	walkPageFiles     = DeleteFilesMax // so that what is erased together goes together
	handOverFiles     = 32             // files asked about at once, which the other member has to read
	retryFilesMax     = 256
	repairParallelMax = 4
	slowestBytesPerS  = 128 << 10 // a peer slower than this is given up on
)

// Peer is another member's vault, over the network. Its methods may be called concurrently, end with their context, and are not trusted: what
// Fetch yields is held against the hash.
type Peer interface {
	ID() MemberID
	// Has tells for each of at most HashesMax files whether a good copy is held: each has just been read and hashed (Vault.Held).
	Has(ctx context.Context, hashes []Hash) ([]bool, error)
	// Fetch returns a file, which the caller closes; reading ends with ctx too. An error that wraps ErrNotFound says that the peer is well
	// but has no copy.
	Fetch(ctx context.Context, hash Hash) (io.ReadCloser, error)
	// Push gives a file; nil means that the peer has it on stable storage.
	Push(ctx context.Context, hash Hash, size int64, r io.Reader) error
}

// File is what the ledger says of one file.
type File struct {
	Hash   Hash
	Size   int64 // bytes
	Erased bool  // of two entries for one hash, the erased one wins
	// Unwanted files are not kept by this entry, and not deleted for it either: they count as if the entry were not there.
	Unwanted bool
}

// Index is what should exist: the ledger's record entries. Its methods may be called concurrently.
type Index interface {
	// Files returns at most limit files after cursor ("" is the start) and where to go on. No files means that there are no more yet; next,
	// which may have moved over entries that hold none, goes on from there later. Files come in the order in which the ledger took them, so
	// that new ones are at the end.
	Files(ctx context.Context, cursor string, limit int) (page []File, next string, err error)
}

// Cluster is who keeps files, from the registry. Its methods may be called concurrently.
type Cluster interface {
	Self() MemberID
	// Members are those among whom files are placed: this one included, unless it is leaving.
	Members() []MemberID
	// Peer is another member's vault, nil when it cannot be reached in principle.
	Peer(MemberID) Peer
}

// ReplicatorOptions; zero fields mean what is said.
type ReplicatorOptions struct {
	Copies              int           // copies of a file; 3
	WriteCopies         int           // copies before Store acknowledges; 2 (never more than Copies or than there are members)
	AckTimeout          time.Duration // how long Store waits for them; 5 s
	AnswerTimeout       time.Duration // how long a peer may take to begin an answer; 3 s
	PeerTimeout         time.Duration // how long one exchange may take, and 1 s more for each 128 KiB; 30 s
	BackoffMin          time.Duration // the pause after a failure, doubling up to BackoffMax; 200 ms
	BackoffMax          time.Duration // 1 minute
	PushAttempts        int           // then the push is left to the peer's own walk; 5
	PullDelay           time.Duration // how long a new file may be on its way here before it counts as missing; 2 s
	FollowInterval      time.Duration // between looks at the end of the index; 2 s
	WalkInterval        time.Duration // between walks of the whole index; 1 h
	ScrubInterval       time.Duration // between checks of all files held; 24 h
	ScrubBytesPerSecond int           // 8 MiB
	TransfersMax        int           // fetches under way; 16
	Log                 *slog.Logger  // nil means none
}

func (o ReplicatorOptions) withDefaults() ReplicatorOptions {
	orInt := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	orTime := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	orInt(&o.Copies, 3)
	orInt(&o.WriteCopies, 2)
	orInt(&o.PushAttempts, 5)
	orInt(&o.ScrubBytesPerSecond, 8<<20)
	orInt(&o.TransfersMax, 16)
	orTime(&o.AckTimeout, 5*time.Second)
	orTime(&o.AnswerTimeout, 3*time.Second)
	orTime(&o.PeerTimeout, 30*time.Second)
	orTime(&o.BackoffMin, 200*time.Millisecond)
	orTime(&o.BackoffMax, time.Minute)
	orTime(&o.PullDelay, 2*time.Second)
	orTime(&o.FollowInterval, 2*time.Second)
	orTime(&o.WalkInterval, time.Hour)
	orTime(&o.ScrubInterval, 24*time.Hour)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Replicator keeps files on the members they belong to. Its methods may be called concurrently. What it knows is in the vault and in the
// index; everything else it may forget.
type Replicator struct {
	vault   *Vault
	index   Index
	cluster Cluster
	opts    ReplicatorOptions

	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	tasks     sync.WaitGroup
	transfers chan struct{} // a slot for each fetch under way
	wake      chan struct{}

	mu      sync.Mutex // guards what follows
	closed  bool
	lanes   map[MemberID]*lane
	flights map[Hash]*flight
	missing map[Hash]*want
	walk    uint64 // number of the walk of the whole index under way or last made
	status  Status
}

// Status is a replicator's state and what it has done since it was made.
type Status struct {
	Placed       int   // files that belong here, as of the last walk
	Held         int   // of those, how many were here
	HeldBytes    int64 // and their size
	Handover     int   // files here that belong elsewhere and are still needed
	Missing      int   // files that belong here and are known to be missing now
	Quarantined  int   // corrupt copies put aside, not yet repaired
	Erased       int   // tombstones
	Corrupt      uint64
	Repaired     uint64 // files fetched because they were missing or corrupt
	Lies         uint64 // fetches whose bytes were not the file
	Pushed       uint64
	PushFailures uint64
	PushesLeft   uint64 // pushes given up and left to the peer's own walk
	HandedOver   uint64
	BytesFetched uint64
	BytesPushed  uint64
	LastWalk     time.Time
	LastScrub    time.Time
}

// NewReplicator makes the replicator of a vault. Close it before the vault; Run does the work that nobody asks for.
func NewReplicator(v *Vault, index Index, cluster Cluster, opts ReplicatorOptions) *Replicator {
	opts = opts.withDefaults()
	r := &Replicator{
		vault: v, index: index, cluster: cluster, opts: opts,
		transfers: make(chan struct{}, opts.TransfersMax),
		wake:      make(chan struct{}, 1),
		lanes:     map[MemberID]*lane{},
		flights:   map[Hash]*flight{},
		missing:   map[Hash]*want{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	v.mu.Lock()
	v.onCorrupt = r.corruptHere
	v.mu.Unlock()
	return r
}

// Close ends all background work and waits for it.
func (r *Replicator) Close() {
	r.vault.mu.Lock()
	r.vault.onCorrupt = nil
	r.vault.mu.Unlock()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.tasks.Wait()
}

// spawn runs f in the background unless the replicator is closed.
func (r *Replicator) spawn(f func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.tasks.Go(f)
	return nil
}

// Wake tells Run that there is something new: files on the ledger, other members.
func (r *Replicator) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Status returns the state.
func (r *Replicator) Status() Status {
	r.mu.Lock()
	s := r.status
	s.Missing = len(r.missing)
	r.mu.Unlock()
	r.vault.mu.RLock()
	defer r.vault.mu.RUnlock()
	s.Quarantined, s.Erased = len(r.vault.quarantined), len(r.vault.erased)
	s.Corrupt = r.vault.corrupt.Load()
	return s
}

func (r *Replicator) count(f func(*Status)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.status)
}

func (r *Replicator) corruptHere(hash Hash) {
	r.opts.Log.Warn("corrupt copy put aside", "file", hash.String())
	if r.placedHere(hash) {
		r.noteMissing(hash, sizeUnknown, time.Now())
		r.Wake()
	}
}

// Stored says where a file is when Store returns.
type Stored struct {
	Placed  []MemberID // where it belongs
	Holders []MemberID // who has it on stable storage so far, this member first
	Wanted  int        // how many holders an acknowledgement wants
	Note    string     // "" or, when there are fewer, why
}

// Store puts a file here and on the members it belongs to. It returns once WriteCopies members hold it; the other pushes go on. When they
// cannot be had (each member has failed once, or AckTimeout is over) it returns what there is, with a Note: the caller decides whether
// that is enough; pushing goes on, and the walks of the members finish what pushing does not. A file that does not belong here stays
// until those it belongs to have it. Errors are those of Put, and ErrClosed.
func (r *Replicator) Store(ctx context.Context, hash Hash, body io.Reader, size int64) (Stored, error) {
	if r.ctx.Err() != nil {
		return Stored{}, ErrClosed
	}
	members := r.cluster.Members()
	if len(members) == 0 {
		return Stored{}, ErrNoMembers
	}
	if err := r.vault.Put(ctx, hash, body, size); err != nil {
		return Stored{}, err
	}
	self := r.cluster.Self()
	placed := Placement(hash, members, r.opts.Copies)
	targets := without(placed, self)
	s := Stored{Placed: placed, Holders: []MemberID{self}}
	s.Wanted = min(r.opts.WriteCopies, r.opts.Copies, 1+len(without(members, self)))
	answers := make(chan pushed, len(targets))
	for _, id := range targets {
		r.push(id, hash, func(err error) { answers <- pushed{id, err} })
	}
	return r.await(ctx, s, answers, len(targets))
}

// pushed is the outcome of the first try to push to a member.
type pushed struct {
	to  MemberID
	err error
}

func (r *Replicator) await(ctx context.Context, s Stored, answers <-chan pushed, open int) (Stored, error) {
	deadline := time.NewTimer(r.opts.AckTimeout)
	defer deadline.Stop()
	var why []string
	for len(s.Holders) < s.Wanted && open > 0 {
		select {
		case a := <-answers:
			open--
			if a.err == nil {
				s.Holders = append(s.Holders, a.to)
			} else {
				why = append(why, fmt.Sprintf("%s: %v", a.to, a.err))
			}
		case <-deadline.C:
			why = append(why, fmt.Sprintf("%d members did not answer within %s", open, r.opts.AckTimeout))
			open = 0
		case <-ctx.Done():
			return s, ctx.Err()
		case <-r.ctx.Done():
			return s, ErrClosed
		}
	}
	if len(s.Holders) < s.Wanted {
		s.Note = fmt.Sprintf("held by %d of the %d members wanted (%s)", len(s.Holders), s.Wanted, strings.Join(why, "; "))
	}
	return s, nil
}

func without(members []MemberID, one MemberID) []MemberID {
	return slices.DeleteFunc(slices.Clone(members), func(m MemberID) bool { return m == one })
}

// Get returns a file from here or, when it is missing or corrupt here, from another member, with the same guarantees as Vault.Get. A file
// that belongs here is kept, and one too large to check in memory too, until the next walk. Errors: ErrErased, ErrNotReady, ErrClosed;
// ErrUnavailable when no member gave it.
func (r *Replicator) Get(ctx context.Context, hash Hash) (io.ReadCloser, int64, error) {
	body, size, err := r.vault.Get(ctx, hash)
	if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
		return body, size, err
	}
	if errors.Is(err, ErrNotFound) && !r.placedHere(hash) {
		content, err := r.borrow(ctx, hash)
		if err == nil {
			return bytesBody{content}, content.Size(), nil
		}
		if !errors.Is(err, errLarge) {
			return nil, 0, err
		}
	}
	if err := r.pull(ctx, hash, sizeUnknown); err != nil {
		return nil, 0, err
	}
	return r.vault.Get(ctx, hash)
}

func (r *Replicator) placedHere(hash Hash) bool {
	return slices.Contains(Placement(hash, r.cluster.Members(), r.opts.Copies), r.cluster.Self())
}
