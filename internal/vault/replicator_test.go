package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
)

// mood is how a member of the test network behaves towards the others.
type mood int

const (
	honest      mood = iota
	down             // every call fails at once
	silent           // no call is ever answered
	lying            // gives wrong bytes, claims to have everything, and to have stored what it threw away
	cutting          // ends every file early, without an error
	endless          // never stops sending
	dripping         // a byte a second
	failingHard      // breaks off in the middle
	moods
)

func (m mood) String() string {
	return [...]string{"honest", "down", "silent", "lying", "cutting", "endless", "dripping", "failing"}[m]
}

// network is a cluster in one process. Each member's bucket outlives its vault.
type network struct {
	t       failer
	opts    ReplicatorOptions
	mu      sync.Mutex
	nodes   map[MemberID]*node
	members []MemberID
	ledger  []File
}

// failer is a testing.TB or a rapid.T.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

type node struct {
	net    *network
	id     MemberID
	bucket *blob.Bucket

	alive sync.RWMutex // a restart waits for the calls of others
	vault *Vault
	rep   *Replicator

	mu   sync.Mutex
	mood mood
	gave int // fetches begun
}

func newNetwork(t failer, members int, opts ReplicatorOptions) *network {
	n := &network{t: t, opts: opts, nodes: map[MemberID]*node{}}
	for range members {
		n.join()
	}
	return n
}

func (n *network) join() *node {
	id := MemberID(sha256.New().Sum(fmt.Append(nil, "member ", len(n.nodes), "                "))[:16])
	x := &node{net: n, id: id, bucket: memblob.OpenBucket(nil)}
	x.start(Options{}) // before anybody can ask it
	n.mu.Lock()
	n.nodes[id] = x
	n.members = append(n.members, id)
	n.mu.Unlock()
	return x
}

func (x *node) start(o Options) {
	v, err := New(context.Background(), x.bucket, o)
	if err != nil {
		x.net.t.Fatal(err)
	}
	x.vault, x.rep = v, NewReplicator(v, x.net, view{x.net, x.id}, x.net.opts)
}

func (x *node) restart(o Options) {
	x.rep.Close()
	x.alive.Lock()
	defer x.alive.Unlock()
	x.start(o)
}

// GoString keeps rapid's log readable.
func (x *node) GoString() string { return x.id.String() }

func (x *node) be(m mood) { x.mu.Lock(); defer x.mu.Unlock(); x.mood = m }
func (x *node) is() mood  { x.mu.Lock(); defer x.mu.Unlock(); return x.mood }

func (n *network) close() {
	for _, x := range n.nodes {
		x.rep.Close()
	}
}

// at is the i-th member to have joined.
func (n *network) at(i int) *node { return n.nodes[n.members[i]] }

// commit puts a file on the ledger.
func (n *network) commit(h Hash, size int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ledger = append(n.ledger, File{Hash: h, Size: int64(size)})
}

func (n *network) erase(h Hash) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.ledger {
		if n.ledger[i].Hash == h {
			n.ledger[i].Erased = true
		}
	}
}

// Files makes the network an Index.
func (n *network) Files(_ context.Context, cursor string, limit int) ([]File, string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := 0
	if cursor != "" {
		from, _ = strconv.Atoi(cursor)
	}
	to := min(from+limit, len(n.ledger))
	return slices.Clone(n.ledger[from:to]), strconv.Itoa(to), nil
}

// view is the network as one member sees it: a Cluster.
type view struct {
	net  *network
	self MemberID
}

func (v view) Self() MemberID { return v.self }
func (v view) Members() []MemberID {
	v.net.mu.Lock()
	defer v.net.mu.Unlock()
	return slices.Clone(v.net.members)
}

func (v view) Peer(id MemberID) Peer {
	v.net.mu.Lock()
	defer v.net.mu.Unlock()
	if x := v.net.nodes[id]; x != nil {
		return x
	}
	return nil
}

func (x *node) ID() MemberID { return x.id }

var errDown = errors.New("connection refused")

// mind deals with the moods in which nothing is answered.
func (x *node) mind(ctx context.Context) error {
	switch x.is() {
	case down:
		return errDown
	case silent:
		<-ctx.Done()
		return ctx.Err()
	}
	return ctx.Err()
}

func (x *node) Has(ctx context.Context, hashes []Hash) ([]bool, error) {
	if err := x.mind(ctx); err != nil {
		return nil, err
	}
	if x.is() == lying {
		return slices.Repeat([]bool{true}, len(hashes)), nil
	}
	x.alive.RLock()
	defer x.alive.RUnlock()
	return x.vault.Held(ctx, hashes)
}

func (x *node) Push(ctx context.Context, h Hash, size int64, r io.Reader) error {
	if err := x.mind(ctx); err != nil {
		return err
	}
	switch x.is() {
	case lying:
		return nil
	case failingHard:
		_, _ = io.CopyN(io.Discard, r, size/2)
		return errDown
	}
	x.alive.RLock()
	defer x.alive.RUnlock()
	return x.vault.Put(ctx, h, r, size)
}

func (x *node) Fetch(ctx context.Context, h Hash) (io.ReadCloser, error) {
	if err := x.mind(ctx); err != nil {
		return nil, err
	}
	x.mu.Lock()
	x.gave++
	x.mu.Unlock()
	switch x.is() {
	case lying:
		return io.NopCloser(bytes.NewReader(content(-1, 5000))), nil
	case endless:
		return io.NopCloser(readerFunc(func(p []byte) (int, error) { return len(p), nil })), nil
	case dripping:
		return io.NopCloser(readerFunc(func(p []byte) (int, error) {
			if !pause(ctx, time.Second) {
				return 0, ctx.Err()
			}
			return copy(p, "x"), nil
		})), nil
	}
	x.alive.RLock()
	defer x.alive.RUnlock()
	body, size, err := x.vault.Get(ctx, h)
	if err != nil {
		return nil, err
	}
	switch x.is() {
	case cutting:
		return io.NopCloser(io.LimitReader(body, size-1)), nil
	case failingHard:
		return io.NopCloser(io.MultiReader(io.LimitReader(body, size/2), readerFunc(func([]byte) (int, error) { return 0, errDown }))), nil
	}
	return body, nil
}

// store stores a file through a member and puts it on the ledger.
func (x *node) store(b []byte) (Hash, Stored) {
	x.net.t.Helper()
	h := hashOfContent(b)
	s, err := x.rep.Store(context.Background(), h, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		x.net.t.Fatalf("store: %v", err)
	}
	x.net.commit(h, len(b))
	return h, s
}

// intact tells whether this member holds a good copy, without changing anything.
func (x *node) intact(h Hash) bool {
	_, err := x.vault.store.verify(context.Background(), fileKey(h), h, FileBytesMax)
	return err == nil
}

// holders are the members that hold a good copy, sorted like members.
func (n *network) holders(h Hash) (ids []MemberID) {
	for _, id := range n.members {
		if n.nodes[id].intact(h) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (n *network) walk() {
	n.t.Helper()
	for _, id := range n.members {
		if _, err := n.nodes[id].rep.Walk(context.Background()); err != nil {
			n.t.Fatalf("walk of %s: %v", id, err)
		}
	}
}

// wantPlaced: exactly the members that a file belongs to hold it.
func (n *network) wantPlaced(h Hash) {
	n.t.Helper()
	placed := Placement(h, n.members, 3)
	got := n.holders(h)
	if len(got) != len(placed) || slices.ContainsFunc(placed, func(m MemberID) bool { return !slices.Contains(got, m) }) {
		n.t.Fatalf("%s: held by %v, belongs on %v", h, got, placed)
	}
}

// inBubble runs a test with a clock of its own; the bubble also fails a test that leaves a goroutine behind.
func inBubble(t *testing.T, members int, f func(t *testing.T, n *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, members, ReplicatorOptions{})
		f(t, n)
		n.close()
	})
}

func TestStoreReachesItsMembers(t *testing.T) {
	inBubble(t, 5, func(t *testing.T, n *network) {
		for i := range 30 {
			h, s := n.at(i % 5).store(content(i, 100+i*1000))
			if s.Note != "" || s.Wanted != 2 || len(s.Holders) < 2 || s.Holders[0] != n.at(i%5).id {
				t.Fatalf("%+v", s)
			}
			if !slices.Equal(s.Placed, Placement(h, n.members, 3)) {
				t.Fatal("placed elsewhere", s.Placed)
			}
		}
		synctest.Wait()
		n.walk() // hands over what the gateways held for others
		for _, f := range n.ledger {
			n.wantPlaced(f.Hash)
		}
		var st Status
		for i := range 5 {
			s := n.at(i).rep.Status()
			st.Placed, st.Held, st.Missing, st.HandedOver = st.Placed+s.Placed, st.Held+s.Held, st.Missing+s.Missing, st.HandedOver+s.HandedOver
		}
		if st.Placed != 90 || st.Held != 90 || st.Missing != 0 || st.HandedOver == 0 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestStoreSaysWhenThereAreFewer(t *testing.T) {
	for _, m := range []mood{down, silent, failingHard} {
		t.Run(m.String(), func(t *testing.T) {
			inBubble(t, 4, func(t *testing.T, n *network) {
				for i := 1; i < 4; i++ {
					n.at(i).be(m)
				}
				begin := time.Now()
				h, s := n.at(0).store(content(1, 1000))
				if len(s.Holders) != 1 || !strings.Contains(s.Note, "1 of the 2") || time.Since(begin) > 5*time.Second {
					t.Fatalf("%+v after %s", s, time.Since(begin))
				}
				for i := 1; i < 4; i++ {
					n.at(i).be(honest)
				}
				time.Sleep(time.Minute) // of the bubble: the pushes are tried again
				synctest.Wait()
				if m != silent && len(n.holders(h)) < 3 {
					t.Fatalf("held by %v", n.holders(h))
				}
				n.walk()
				n.walk()
				n.wantPlaced(h)
			})
		})
	}
}

func TestStoreAlone(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *network) {
		if _, s := n.at(0).store(content(1, 1000)); s.Note != "" || s.Wanted != 1 || len(s.Holders) != 1 {
			t.Fatalf("%+v", s)
		}
		n.members = nil
		_, err := n.at2().rep.Store(t.Context(), Hash{}, nil, 1)
		wantError(t, err, ErrNoMembers)
	})
}

func (n *network) at2() *node {
	for _, x := range n.nodes {
		return x
	}
	return nil
}

// While the members are not known, nothing may look as if it belonged nowhere.
func TestNoMembersKeepsFiles(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, n *network) {
		x := n.at(0)
		h, _ := x.store(content(1, 1000))
		synctest.Wait()
		n.members = nil
		_, err := x.rep.Walk(t.Context())
		wantError(t, err, ErrNoMembers)
		if !x.intact(h) {
			t.Fatal("the file was let go of")
		}
	})
}

func TestRepairAroundBadMembers(t *testing.T) {
	for m := range moods {
		if m == honest {
			continue
		}
		t.Run(m.String(), func(t *testing.T) {
			inBubble(t, 5, func(t *testing.T, n *network) {
				h, s := n.at(0).store(content(1, 100_000))
				synctest.Wait()
				n.walk()
				placed := s.Placed
				// The first member asked is bad, the second is good, the third has lost its copy.
				n.nodes[placed[0]].be(m)
				x := n.nodes[placed[2]]
				if err := x.bucket.Delete(t.Context(), fileKey(h)); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				if _, err := x.rep.Walk(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); m == silent && took != 3*time.Second { // AnswerTimeout, by the bubble's clock
					t.Fatalf("a silent member cost %s", took)
				}
				st := x.rep.Status()
				if !x.intact(h) || st.Repaired != 1 || st.Missing != 0 {
					t.Fatalf("not repaired: %+v", st)
				}
				if wrong := m == lying || m == cutting || m == endless; wrong != (st.Lies == 1) {
					t.Fatalf("%d lies counted", st.Lies)
				}
				if st.BytesFetched > 1<<20 {
					t.Fatalf("%d bytes taken for a file of 100,000", st.BytesFetched)
				}
				// Next time the bad one is asked last.
				asked := n.nodes[placed[0]].gave
				if err := x.bucket.Delete(t.Context(), fileKey(h)); err != nil {
					t.Fatal(err)
				}
				if body, _, err := x.rep.Get(t.Context(), h); err != nil {
					t.Fatal(err)
				} else if b, err := io.ReadAll(body); err != nil || hashOfContent(b) != h {
					t.Fatal("wrong content", err)
				}
				if n.nodes[placed[0]].gave != asked {
					t.Fatal("the bad member was asked first again")
				}
			})
		})
	}
}

func TestNobodyHasIt(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, n *network) {
		b := content(1, 1000)
		h := hashOfContent(b)
		n.commit(h, len(b))
		n.walk()
		x := n.nodes[Placement(h, n.members, 3)[0]]
		if st := x.rep.Status(); st.Missing != 1 || st.Placed != 1 || st.Held != 0 {
			t.Fatalf("%+v", st)
		}
		_, _, err := x.rep.Get(t.Context(), h)
		wantError(t, err, ErrUnavailable)
		// It turns up on a member it does not belong to.
		put(t, n.nodes[Placement(h, n.members, 4)[3]].vault, b)
		n.walk()
		n.wantPlaced(h)
		if st := x.rep.Status(); st.Missing != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestGetHealsOrBorrows(t *testing.T) {
	for _, size := range []int{1000, BufferBytesMax + 1} {
		inBubble(t, 4, func(t *testing.T, n *network) {
			b := content(1, size)
			h, s := n.at(0).store(b)
			synctest.Wait()
			n.walk()
			here := n.nodes[s.Placed[1]]
			if err := here.bucket.WriteAll(t.Context(), fileKey(h), b[1:], nil); err != nil {
				t.Fatal(err)
			}
			away := n.nodes[Placement(h, n.members, 4)[3]]
			for _, x := range []*node{here, away} {
				body, got, err := x.rep.Get(t.Context(), h)
				if err != nil || got != int64(size) {
					t.Fatal(got, err)
				}
				if content, err := io.ReadAll(body); err != nil || !bytes.Equal(content, b) {
					t.Fatal("wrong content", err)
				}
				if err := body.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if !here.intact(h) || here.vault.isQuarantined(h) || here.rep.Status().Corrupt != 1 {
				t.Fatalf("%+v", here.rep.Status())
			}
			if away.intact(h) != (size > BufferBytesMax) {
				t.Fatal("a small file was kept, or a large one was not")
			}
			n.walk()
			n.wantPlaced(h)
		})
	}
}

// A member lets go of a file only for copies that are good: not for one that has rotted unnoticed where the file belongs.
func TestHandOverLooksInside(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, n *network) {
		b := content(1, 1000)
		h := hashOfContent(b)
		order := Placement(h, n.members, 4)
		n.commit(h, len(b))
		for _, id := range order[:3] {
			if err := n.nodes[id].bucket.WriteAll(t.Context(), fileKey(h), []byte("rot"), nil); err != nil {
				t.Fatal(err)
			}
		}
		last := n.nodes[order[3]]
		put(t, last.vault, b)
		n.nodes[order[0]].be(down)
		if st, err := last.rep.Walk(t.Context()); err != nil || st.Handover != 1 || !last.intact(h) {
			t.Fatalf("let go of the last good copy: %+v, %v", st, err)
		}
		n.nodes[order[0]].be(honest)
		if st, err := last.rep.Walk(t.Context()); err != nil || st.HandedOver != 1 {
			t.Fatalf("%+v, %v", st, err)
		}
		n.wantPlaced(h)
	})
}

func TestErasedIsNotFetched(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, n *network) {
		h, s := n.at(0).store(content(1, 1000))
		synctest.Wait()
		last := n.nodes[s.Placed[2]]
		n.erase(h)
		for _, id := range s.Placed[:2] {
			if _, err := n.nodes[id].rep.Walk(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		x := n.nodes[s.Placed[0]]
		_, _, err := x.rep.Get(t.Context(), h) // though one member still has it
		wantError(t, err, ErrErased)
		wantError(t, x.rep.pull(t.Context(), h, sizeUnknown), ErrErased)
		// That one was restored from a backup; it erases before it serves.
		last.restart(Options{AwaitErasures: true})
		_, _, err = last.vault.Get(t.Context(), h)
		if !errors.Is(err, ErrNotReady) {
			t.Fatal(err)
		}
		if err := last.rep.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, _, err = last.vault.Get(t.Context(), h)
		wantError(t, err, ErrErased)
		n.walk()
		if got := n.holders(h); len(got) != 0 || !last.vault.Erased(h) {
			t.Fatalf("still held by %v", got)
		}
	})
}

func TestMembersComeAndGo(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, n *network) {
		for i := range 40 {
			n.at(i % 4).store(content(i, 500))
		}
		synctest.Wait()
		n.walk()
		n.join()
		n.walk()
		n.walk()
		for _, f := range n.ledger {
			n.wantPlaced(f.Hash)
		}
		leaver := n.at(1)
		n.members = without(n.members, leaver.id)
		if _, err := leaver.rep.Walk(t.Context()); err != nil { // gives away all it has
			t.Fatal(err)
		}
		if keys := allKeys(t, leaver.bucket); len(keys) != 0 {
			t.Fatalf("the leaver keeps %d files", len(keys))
		}
		n.walk()
		for _, f := range n.ledger {
			n.wantPlaced(f.Hash)
		}
	})
}

// Run alone brings the network in order: files missing after a crash, a silent corruption, a new member, an erasure, a dead member back.
func TestRunKeepsTheNetworkInOrder(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, n *network) {
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		run := func(x *node) {
			running.Go(func() {
				if err := x.rep.Run(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("run ended with %v", err)
				}
			})
		}
		for i := range 4 {
			run(n.at(i))
		}
		n.at(3).be(down)
		for i := range 20 {
			n.at(i % 3).store(content(i, 700))
		}
		time.Sleep(time.Minute)
		n.at(3).be(honest)
		h := n.ledger[0].Hash
		bad := n.nodes[Placement(h, n.members, 3)[0]]
		if err := bad.bucket.WriteAll(ctx, fileKey(h), []byte("rot"), nil); err != nil {
			t.Fatal(err)
		}
		gone := n.ledger[1].Hash
		n.erase(gone)
		run(n.join())
		time.Sleep(25 * time.Hour) // a walk and a scrub
		for _, f := range n.ledger {
			if !f.Erased {
				n.wantPlaced(f.Hash)
			}
		}
		if len(n.holders(gone)) != 0 || bad.rep.Status().Corrupt != 1 {
			t.Fatal("not erased, or the corruption was not seen")
		}
		for _, id := range n.members {
			if st := n.nodes[id].rep.Status(); st.Missing != 0 || st.Handover != 0 || st.Quarantined != 0 || st.LastScrub.IsZero() {
				t.Fatalf("%+v", st)
			}
		}
		cancel()
		running.Wait()
	})
}

func TestCloseEndsRun(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, n *network) {
		n.at(1).be(silent)
		ended := make(chan error, 1)
		go func() { ended <- n.at(0).rep.Run(t.Context()) }()
		n.at(0).store(content(1, 100))
		synctest.Wait()
		n.at(0).rep.Close()
		wantError(t, <-ended, ErrClosed)
		_, err := n.at(0).rep.Store(t.Context(), Hash{}, nil, 1)
		wantError(t, err, ErrClosed)
		wantError(t, n.at(0).rep.pull(t.Context(), Hash{1}, 1), ErrClosed)
	})
}

// A caller that gives up does not spoil the fetch for the others who wait for it.
func TestPullIsShared(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, n *network) {
		h, s := n.at(0).store(content(1, 1000))
		synctest.Wait()
		n.walk()
		x, source := n.nodes[s.Placed[0]], n.nodes[s.Placed[1]]
		if err := x.bucket.Delete(t.Context(), fileKey(h)); err != nil {
			t.Fatal(err)
		}
		source.be(dripping)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		results := make(chan error, 5)
		go func() { wantedErr(t, x.rep.pull(impatient, h, 1000), context.DeadlineExceeded); results <- nil }()
		for range 4 {
			go func() { results <- x.rep.pull(t.Context(), h, 1000) }()
		}
		for range 5 {
			if err := <-results; err != nil {
				t.Fatal(err)
			}
		}
		if source.gave > 1 || x.rep.Status().Repaired != 1 || !x.intact(h) {
			t.Fatalf("asked %d times, %+v", source.gave, x.rep.Status())
		}
	})
}

func wantedErr(t *testing.T, err, want error) {
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// A member that does not take its files leaves a bounded queue behind, and nobody waits for it.
func TestSilentMemberBoundsItsQueue(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, n *network) {
		n.at(2).be(silent)
		begin := time.Now()
		for i := range PeerPushesMax + 50 {
			if _, s := n.at(0).store(content(i, 10)); s.Note != "" {
				t.Fatalf("%+v", s)
			}
		}
		if time.Since(begin) > 0 {
			t.Fatalf("a silent member cost %s", time.Since(begin))
		}
		if st := n.at(0).rep.Status(); st.PushesLeft != 50 {
			t.Fatalf("%+v", st)
		}
		n.at(2).be(honest)
		if _, err := n.at(2).rep.Walk(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st := n.at(2).rep.Status(); st.Held != PeerPushesMax+50 {
			t.Fatalf("%+v", st)
		}
	})
}

func TestScrubIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 1, ReplicatorOptions{ScrubBytesPerSecond: 1 << 20})
		defer n.close()
		for i := range 70 { // 70 MiB, of which 64 may be read at once
			put(t, n.at(0).vault, content(i, 1<<20))
		}
		begin := time.Now()
		s, err := n.at(0).rep.Scrub(t.Context())
		if took := time.Since(begin); err != nil || s.Files != 70 || took < 5*time.Second || took > 10*time.Second {
			t.Fatal(s, took, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := n.at(0).rep.Scrub(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}
