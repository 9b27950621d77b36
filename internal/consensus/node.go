package consensus

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cometbft/cometbft/types"
)

// Node is one running member of the network. Its methods are safe for concurrent use.
type Node struct {
	app    Application
	pool   *pool
	clock  clock
	engine engine
	settle func() error // waits for the application's commit under way
	wake   *wake
	log    *slog.Logger

	dueAt  atomic.Uint64 // NextDue after the last commit, UTC milliseconds; 0: nothing
	dueSet chan struct{} // dueAt changed

	failOnce sync.Once
	failed   chan struct{}
	failure  error // set before failed closes

	stopOnce sync.Once
	stopping chan struct{}
	wg       sync.WaitGroup
}

// Start opens the folder, replays what the application has not seen, and joins the network. The application must
// stay open until Stop returns.
//
// Errors: ErrConfig, ErrLocked, ErrOtherNetwork, ErrBroken, or of the file system and the network.
func Start(cfg Config, app Application) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Node{
		app: app, clock: clock{cfg.Clock}, log: cfg.Logger,
		pool:     newPool(app.Check, cfg.Limits),
		settle:   func() error { return nil },
		dueSet:   make(chan struct{}, 1),
		failed:   make(chan struct{}),
		stopping: make(chan struct{}),
	}
	n.wake = newWake(n.wanted)
	n.pool.onReady = n.wake.fire
	n.engine.log = newEngineLogger(cfg.Logger)
	if err := n.start(&cfg); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

func (n *Node) start(cfg *Config) error {
	e := &n.engine
	doc, err := cfg.Genesis.doc()
	if err != nil {
		return err
	}
	if err := e.openStores(cfg, doc); err != nil {
		return err
	}
	e.bus = types.NewEventBusWithBufferCapacity(64)
	if err := e.bus.Start(); err != nil {
		return fmt.Errorf("consensus: event bus: %w", err)
	}
	a := newAdapter(n.app, n.pool, n.clock, n.log, cfg.Limits.LingerMax)
	a.fail, a.due, n.settle = n.fail, n.lookAtDue, a.settle
	state, err := e.handshake(doc, a)
	if err != nil {
		return err
	}
	g := newGossip(n.pool)
	a.polkas = newPolkas(e.states.LoadValidators)
	if err := a.polkas.follow(context.Background(), e.bus); err != nil {
		return fmt.Errorf("consensus: event bus: %w", err)
	}
	if err := e.assemble(cfg, state, a, n.wake, g); err != nil {
		return err
	}
	a.syncing = e.reactor.WaitSync
	n.lookAtDue()
	n.background(cfg)
	if err := e.run(); err != nil {
		return err
	}
	for _, p := range cfg.Peers {
		n.goDo(func() { e.dial(p, n.stopping) })
	}
	go n.watchHalt()
	return nil
}

// background starts the verifiers and the watch over due ends and ages.
func (n *Node) background(cfg *Config) {
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		n.goDo(n.pool.worker)
	}
	n.goDo(n.watchDue)
	n.goDo(func() {
		t := time.NewTicker(min(cfg.Limits.PoolAgeMax/4+1, 10*time.Second))
		defer t.Stop()
		for {
			select {
			case <-t.C:
				n.pool.expire()
			case <-n.stopping:
				return
			}
		}
	})
}

func (n *Node) goDo(f func()) {
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		f()
	}()
}

// wanted tells the engine whether to make a block.
func (n *Node) wanted() bool { return n.pool.hasReady() || n.isDue() }

func (n *Node) isDue() bool {
	at := n.dueAt.Load()
	return at != 0 && uint64(n.clock.now().UnixMilli()) >= at
}

// lookAtDue runs where the application may be asked: before the start and after each commit.
func (n *Node) lookAtDue() {
	at, ok := n.app.NextDue()
	if !ok {
		at = 0
	} else if at == 0 {
		at = 1
	}
	n.dueAt.Store(at)
	select {
	case n.dueSet <- struct{}{}:
	default:
	}
}

// watchDue wakes the engine when an end falls due though nobody writes.
func (n *Node) watchDue() {
	for {
		var timer <-chan time.Time
		if at := n.dueAt.Load(); at != 0 {
			wait := time.UnixMilli(int64(min(at, 1<<53))).Sub(n.clock.now())
			timer = time.After(min(max(wait, 0), time.Minute)) // clocks may be set
		}
		select {
		case <-timer:
			if n.isDue() {
				n.wake.fire()
				timer = nil
				select { // the engine says by a commit that it has acted
				case <-n.dueSet:
				case <-time.After(time.Second):
				case <-n.stopping:
					return
				}
			}
		case <-n.dueSet:
		case <-n.stopping:
			return
		}
	}
}

// watchHalt notices when the consensus goroutine ends by itself.
func (n *Node) watchHalt() {
	n.engine.state.Wait()
	select {
	case <-n.stopping:
	default:
		n.fail(fmt.Errorf("%w: the engine halted", ErrBroken))
	}
}

func (n *Node) fail(err error) {
	n.failOnce.Do(func() {
		n.log.Error("consensus stopped", "reason", err)
		n.failure = err
		close(n.failed)
		n.pool.close(errors.Join(ErrStopped, err))
	})
}

// Failed is closed when the node can no longer take part; Err then says why. The owner should Stop it.
func (n *Node) Failed() <-chan struct{} { return n.failed }

// Err is nil while the node works.
func (n *Node) Err() error {
	select {
	case <-n.failed:
		return n.failure
	default:
		return nil
	}
}

// Peers is the number of nodes connected now.
func (n *Node) Peers() int { return n.engine.sw.Peers().Size() }

// Syncing says that the node is fetching blocks that others decided, and does not vote.
func (n *Node) Syncing() bool { return n.engine.reactor.WaitSync() }

// Release ends a Hold: the validator signs from height+1 on, and nothing at or below. That is on disk before anything is signed.
func (n *Node) Release(height uint64) error {
	if height > math.MaxInt64 {
		return fmt.Errorf("%w: height %d", ErrBroken, height)
	}
	return n.engine.signer.release(int64(height))
}

// Instance tells this run of the node from others with the same keys: to the other nodes they are one, and only one of them is connected.
func (n *Node) Instance() string { return n.engine.instance }

// InstanceOf is the Instance of the node with this key that is connected to this one, "" if none is.
func (n *Node) InstanceOf(key ed25519.PublicKey) string { return n.engine.instanceOf(key) }

// Decided is the newest block that this node has: its height, and the signatures of over two thirds of the validators, which [CheckDecided]
// checks. Height 0 has none.
func (n *Node) Decided() (height uint64, proof []byte, err error) {
	err = guard(func() error {
		h := n.engine.blocks.Height()
		if h == 0 {
			return nil
		}
		commit := n.engine.blocks.LoadSeenCommit(h)
		if commit == nil { // it is just being written
			return fmt.Errorf("consensus: block %d has no signatures yet", h)
		}
		height = uint64(h)
		proof, err = commit.ToProto().Marshal()
		return err
	})
	return height, proof, err
}

// Waiting is how many parcels, and bytes of them, were admitted here and are not in a block.
func (n *Node) Waiting() (parcels, bytes int) { return n.pool.size() }

// Stop leaves the network and closes the folder. Submit calls that wait get ErrStopped.
func (n *Node) Stop() {
	n.stopOnce.Do(func() {
		close(n.stopping)
		n.pool.close(ErrStopped)
		n.engine.stop()
		_ = n.settle() // the application must not be committing when its owner closes it; what broke is known already
		n.wg.Wait()
	})
}
