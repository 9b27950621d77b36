package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sameState waits until all running nodes are at the same height with the same hash, at least at height.
func (n *network) sameState(height uint64) {
	n.t.Helper()
	eventually(n.t, "all nodes in the same state", func() bool {
		var first [32]byte
		var at uint64
		for i, node := range n.nodes {
			if node == nil {
				continue
			}
			h, hash, _ := n.apps[i].Head()
			if at == 0 {
				at, first = h, hash
			}
			if h != at || hash != first || h < height {
				return false
			}
		}
		return true
	})
}

func (n *network) app(i int) *testApp { return n.apps[i].(*testApp) }

func TestOneNode(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, memoryApps, nil)
	if string(n.app(0).genesis) != string(n.configs[0].Genesis.App) {
		t.Fatalf("genesis arrived as %x", n.app(0).genesis)
	}
	for i := range 20 {
		parcel := fmt.Appendf(nil, "parcel %d", i)
		out := n.submit(0, parcel)
		if string(out.Result) != fmt.Sprint(i+1) || !n.app(0).has(parcel) {
			t.Fatalf("result %q of parcel %d", out.Result, i)
		}
		if again := n.submit(0, parcel); again.Height != out.Height || string(again.Result) != string(out.Result) {
			t.Fatalf("repeat gave %v, first was %v", again, out)
		}
	}
	var refused *RefusedError
	if _, err := n.nodes[0].Submit(context.Background(), []byte("bad")); !errors.As(err, &refused) || !errors.Is(err, errBadParcel) {
		t.Fatalf("bad parcel: %v", err)
	}
	if _, err := Start(n.configs[0], newTestApp("")); !errors.Is(err, ErrLocked) {
		t.Fatalf("two processes on one folder: %v", err)
	}
	n.stop(0)
	other := n.configs[0]
	other.Genesis.ChainID = "another"
	if _, err := Start(other, newTestApp("")); !errors.Is(err, ErrOtherNetwork) {
		t.Fatalf("another network's folder: %v", err)
	}
	// An application that lost everything is brought back by replay.
	before, _, _ := n.apps[0].Head()
	_, want, _ := n.apps[0].Head()
	n.apps[0] = newTestApp("")
	n.start(0)
	if h, got, _ := n.apps[0].Head(); h < before || got != want {
		t.Fatalf("replayed to %d %x, was %d %x", h, got, before, want)
	}
	n.submit(0, []byte("one more"))
}

// TestFourNodes walks one network through its life: load, invalid parcels, idling, restarts, one node down.
func TestFourNodes(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 4, memoryApps, nil)
	n.load("first", 400)
	n.sameState(2)
	for i := range n.nodes {
		for p := range 400 {
			if c := n.app(i).checked(fmt.Appendf(nil, "first %d", p)); c != 1 {
				t.Fatalf("node %d verified parcel %d %d times", i, p, c)
			}
		}
	}

	var refused *RefusedError
	if _, err := n.nodes[1].Submit(context.Background(), []byte("bad")); !errors.As(err, &refused) {
		t.Fatalf("bad parcel: %v", err)
	}

	// Idle: nothing wants a block once the last change is proven, so no node makes one.
	n.idle()

	for i := range n.nodes {
		n.stop(i)
		n.submit((i+1)%4, fmt.Appendf(nil, "while %d is down", i))
		n.start(i)
		if out := n.submit(i, fmt.Appendf(nil, "after restart of %d", i)); out.Height == 0 {
			t.Fatal("no height")
		}
	}
	n.stop(3)
	for i := range 6 { // enough blocks that node 3 must fetch them
		n.submit(i%3, fmt.Appendf(nil, "without three %d", i))
	}
	last := n.submit(0, []byte("last of three"))
	n.start(3)
	n.sameState(last.Height)
	for i := range n.nodes {
		if n.app(i).has([]byte("bad")) || !n.app(i).has([]byte("last of three")) {
			t.Fatalf("node %d has the wrong parcels", i)
		}
	}
}

// load commits count parcels by concurrent clients of all nodes.
func (n *network) load(name string, count int) {
	var wg sync.WaitGroup
	for c := range 40 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := c; i < count; i += 40 {
				if _, err := n.nodes[i%len(n.nodes)].Submit(context.Background(), fmt.Appendf(nil, "%s %d", name, i)); err != nil {
					n.t.Errorf("%s %d: %v", name, i, err)
				}
			}
		}()
	}
	wg.Wait()
}

// idle waits for the chain to come to rest, then sees whether it stays there for longer than any timer of the engine.
func (n *network) idle() {
	n.t.Helper()
	var height uint64
	since := time.Now()
	eventually(n.t, "the chain rests for a second", func() bool {
		h, _, _ := n.apps[0].Head()
		if h != height {
			height, since = h, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// Idle for a minute by the nodes' clocks: the parcel must not be decided by the time of before, and the block that
// refreshes the time must carry nothing.
func TestStaleTimeIsRefreshedFirst(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	n := newNetwork(t, 4, memoryApps, func(_ int, c *Config) {
		c.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	n.sameState(n.submit(0, []byte("before")).Height + 1) // with its proof block: now the chain rests
	before := map[int]int{}
	for i := range n.nodes {
		before[i] = len(n.app(i).applied())
	}
	// The engine's votes carry the system's time, so to the nodes the chain is a minute old until the first block.
	for i := range n.nodes {
		a := n.app(i)
		a.mu.Lock()
		a.onApply = func(_, _ uint64, parcels []any) error {
			if ahead.Swap(0) != 0 && len(parcels) > 0 {
				return errors.New("parcels under a stale time")
			}
			return nil
		}
		a.mu.Unlock()
	}
	ahead.Store(int64(time.Minute))
	n.submit(1, []byte("after the pause"))
	for i := range n.nodes {
		new := n.app(i).applied()[before[i]:]
		if len(new) > 0 && new[0].parcels != 0 || i == 1 && len(new) < 2 {
			t.Fatalf("node %d decided parcels first: %v", i, new)
		}
		if n.nodes[i].Err() != nil {
			t.Fatal(n.nodes[i].Err())
		}
	}
}

func TestDueEndMakesABlock(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 4, memoryApps, nil)
	due := uint64(time.Now().Add(1500 * time.Millisecond).UnixMilli())
	out := n.submit(0, binary.BigEndian.AppendUint64([]byte("due:"), due))
	ended := func() bool {
		for i := range n.nodes {
			a := n.app(i)
			a.mu.Lock()
			done := len(a.ends) == 1 && a.ends[0] >= due
			a.mu.Unlock()
			if !done {
				return false
			}
		}
		return true
	}
	eventually(t, "the end executed at its time on all nodes", ended)
	n.idle()
	if h, _, _ := n.apps[0].Head(); h > out.Height+6 {
		t.Fatalf("the end took %d blocks", h-out.Height)
	}
}

func TestPushback(t *testing.T) {
	t.Parallel()
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	n := newNetwork(t, 1, func(int) Application {
		a := newTestApp("")
		a.onApply = func(_, _ uint64, parcels []any) error {
			if len(parcels) > 0 {
				select {
				case entered <- struct{}{}:
				default:
				}
				<-gate
			}
			return nil
		}
		return a
	}, func(_ int, c *Config) { c.Limits.PoolParcelsMax = 8 })
	type answer struct {
		i   int
		err error
	}
	answers := make(chan answer, 20)
	send := func(i int) {
		go func() {
			_, err := n.nodes[0].Submit(context.Background(), fmt.Appendf(nil, "p%d", i))
			answers <- answer{i, err}
		}()
	}
	send(0)
	<-entered // the application is stuck in a block; what follows can only wait
	for i := 1; i < 10; i++ {
		send(i)
	}
	for range 6 { // one source may hold 4 of 8
		if a := <-answers; !errors.Is(a.err, ErrPoolFull) {
			t.Fatalf("parcel %d: %v", a.i, a.err)
		}
	}
	close(gate)
	for range 4 {
		if a := <-answers; a.err != nil {
			t.Fatalf("parcel %d: %v", a.i, a.err)
		}
	}
}

func TestBrokenApplicationStopsItsNodeOnly(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 4, func(i int) Application {
		a := newTestApp("")
		if i == 2 {
			a.onApply = func(_, _ uint64, parcels []any) error {
				if len(parcels) > 0 {
					return errors.New("invariant 7 does not hold")
				}
				return nil
			}
		}
		return a
	}, nil)
	n.submit(0, []byte("poison"))
	<-n.nodes[2].Failed()
	if err := n.nodes[2].Err(); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "invariant 7") {
		t.Fatalf("failure is %v", err)
	}
	if _, err := n.nodes[2].Submit(context.Background(), []byte("x")); !errors.Is(err, ErrStopped) {
		t.Fatalf("submit to a broken node: %v", err)
	}
	n.submit(0, []byte("the others go on"))
	// It cannot come back either: at start it meets the same block, and says so.
	n.stop(2)
	if _, err := Start(n.configs[2], n.apps[2]); !errors.Is(err, ErrBroken) {
		t.Fatalf("restart: %v", err)
	}
}

func TestDivergedApplicationIsNoticed(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 4, func(i int) Application {
		a := newTestApp("")
		if i == 1 {
			a.onApply = func(_, _ uint64, parcels []any) error {
				if len(parcels) > 0 {
					a.mu.Lock()
					a.hashSalt = 1
					a.mu.Unlock()
				}
				return nil
			}
		}
		return a
	}, nil)
	n.submit(0, []byte("one"))
	n.submit(0, []byte("two"))
	<-n.nodes[1].Failed()
	if err := n.nodes[1].Err(); !errors.Is(err, ErrBroken) {
		t.Fatalf("failure is %v", err)
	}
	n.submit(2, []byte("the others go on"))
}

func TestBlocksOfAStoppedNode(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, memoryApps, nil)
	want := map[string]bool{}
	for i := range 10 {
		p := fmt.Sprintf("parcel %d %s", i, strings.Repeat("x", 1000))
		n.submit(0, []byte(p))
		want[p] = true
	}
	n.stop(0)
	applied := n.app(0).applied()
	dir, g := n.configs[0].Dir, n.configs[0].Genesis
	read := func() (int, error) {
		c, err := Blocks(dir, g)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		count := 0
		for b, err := range c.All() {
			if err != nil {
				return count, err
			}
			if a := applied[count]; a.height != b.Height || a.time != b.TimeMillis || a.parcels != len(b.Parcels) {
				t.Fatalf("block %+v, applied %+v", b, a)
			}
			for _, p := range b.Parcels {
				delete(want, string(p))
			}
			count++
		}
		return count, c.CheckFiles(dir)
	}
	if count, err := read(); err != nil || count != len(applied) || len(want) != 0 {
		t.Fatalf("%d blocks of %d, %d parcels not found: %v", count, len(applied), len(want), err)
	}
	g.Validators = append([]Validator(nil), g.Validators...)
	g.Validators[0].Power++
	if _, err := read(); !errors.Is(err, ErrOtherNetwork) {
		t.Fatalf("with another genesis: %v", err)
	}
	g = n.configs[0].Genesis
	// Restart writes the memory table out, so that the blocks are in a table file.
	n.start(0)
	n.stop(0)
	applied = append(applied, n.app(0).applied()[len(applied):]...)
	flipped := 0
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || !(strings.HasSuffix(path, ".sst") || strings.HasSuffix(path, signStateFile)) {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, at := range []int{len(raw) / 10, len(raw) / 3} {
			raw[at] ^= 4
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				return err
			}
			if _, err := read(); !errors.Is(err, ErrBroken) {
				t.Errorf("a flipped bit at %d of %s: %v", at, filepath.Base(path), err)
			}
			raw[at] ^= 4
		}
		flipped++
		return os.WriteFile(path, raw, 0o600)
	})
	if err != nil || flipped < 2 {
		t.Fatalf("%d files flipped: %v", flipped, err)
	}
	if _, err := read(); err != nil {
		t.Fatalf("with all bits back: %v", err)
	}
}

// The engine's checksums aside: bytes that are consistent in the store but were never signed must not pass.
func TestForgedBlockIsFound(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, memoryApps, nil)
	n.submit(0, []byte("parcel"))
	n.stop(0)
	db, err := openPebble(filepath.Join(n.configs[0].Dir, storeDir), false)
	if err != nil {
		t.Fatal(err)
	}
	it, _ := newKV(db, prefixBlocks, true).Iterator(nil, nil)
	for ; it.Valid(); it.Next() {
		if v := it.Value(); strings.Contains(string(v), "parcel") {
			forged := strings.Replace(string(v), "parcel", "pencil", 1)
			if err := newKV(db, prefixBlocks, true).SetSync(it.Key(), []byte(forged)); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = it.Close()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := Blocks(n.configs[0].Dir, n.configs[0].Genesis)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, err = range c.All() {
	}
	if !errors.Is(err, ErrBroken) {
		t.Fatalf("forged block: %v", err)
	}
}
