package consensus

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/libs/service"
	"github.com/cometbft/cometbft/proxy"
)

// adapter is the application as the engine sees it. The engine calls it directly, with no client and no mutex
// between: consensus calls come from one goroutine at a time, Info only at start.
type adapter struct {
	app   Application
	pool  *pool
	clock clock
	log   *slog.Logger

	linger   time.Duration
	polkas   *polkas
	due      func()      // after each commit: look at NextDue again
	fail     func(error) // the node is broken
	syncing  func() bool // block sync applies the blocks, in a goroutine that must not be told of errors
	accepted map[hash]bool

	mu         sync.Mutex
	pending    *executed     // between FinalizeBlock and Commit
	committing chan struct{} // closed when the commit under way has ended; nil: none is
	cause      error         // what broke, for the handshake: the engine passes errors on as text
}

type executed struct {
	height  uint64
	hashes  []hash
	results [][]byte
}

var (
	_ proxy.AppConnConsensus = (*adapter)(nil)
	_ proxy.AppConnQuery     = (*adapter)(nil)
)

func newAdapter(app Application, p *pool, c clock, log *slog.Logger, linger time.Duration) *adapter {
	return &adapter{app: app, pool: p, clock: c, log: log, linger: linger, polkas: newPolkas(nil),
		due: func() {}, fail: func(error) {}, syncing: func() bool { return false }, accepted: map[hash]bool{}}
}

// appConns is what the handshake asks for: the adapter on every line that it uses.
type appConns struct {
	service.BaseService
	a *adapter
}

func (c *appConns) Mempool() proxy.AppConnMempool     { return nil }
func (c *appConns) Consensus() proxy.AppConnConsensus { return c.a }
func (c *appConns) Query() proxy.AppConnQuery         { return c.a }
func (c *appConns) Snapshot() proxy.AppConnSnapshot   { return nil }

func (a *adapter) Error() error { return nil }

func (a *adapter) Info(context.Context, *abci.RequestInfo) (*abci.ResponseInfo, error) {
	if err := a.settle(); err != nil {
		return nil, err
	}
	height, appHash, _ := a.app.Head()
	res := &abci.ResponseInfo{LastBlockHeight: int64(height)}
	if height > 0 {
		res.LastBlockAppHash = appHash[:]
	}
	return res, nil
}

func (a *adapter) Echo(_ context.Context, s string) (*abci.ResponseEcho, error) {
	return &abci.ResponseEcho{Message: s}, nil
}

func (a *adapter) InitChain(_ context.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	var genesis []byte
	err := json.Unmarshal(req.AppStateBytes, &genesis)
	if err != nil {
		return nil, err
	}
	appHash, err := a.app.InitChain(genesis)
	if err != nil {
		a.because(fmt.Errorf("%w: application refused the genesis: %w", ErrConfig, err))
		return nil, err
	}
	return &abci.ResponseInitChain{AppHash: appHash[:]}, nil
}

// PrepareProposal fills our own proposal from the pool, or leaves it empty if its time is too old to decide anything
// by: that block gives the next one a fresh time.
func (a *adapter) PrepareProposal(_ context.Context, req *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	if a.clock.stale(req.Time) {
		return &abci.ResponsePrepareProposal{}, nil
	}
	if a.linger > 0 {
		a.pool.awaitReady(a.linger)
	}
	return &abci.ResponsePrepareProposal{Txs: a.pool.propose(req.MaxTxBytes)}, nil
}

// ProcessProposal is this node's vote on somebody's block. Refusing is always safe and costs a round.
func (a *adapter) ProcessProposal(_ context.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	if err := a.judge(req); err != nil {
		a.log.Warn("refused a proposed block", "height", req.Height, "reason", err)
		return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
	}
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

func (a *adapter) judge(req *abci.RequestProcessProposal) error {
	var block hash
	copy(block[:], req.Hash)
	known := a.accepted[block] || a.polkas.has(block)
	if err := a.clock.judge(req.Time, len(req.Txs) > 0 && !known); err != nil {
		return err
	}
	hashes := make([]hash, len(req.Txs))
	twice := make(map[hash]struct{}, len(req.Txs))
	for i, tx := range req.Txs {
		if len(tx) == 0 || len(tx) > ParcelBytesMax {
			return ErrTooLarge
		}
		hashes[i] = sha256.Sum256(tx)
		if _, ok := twice[hashes[i]]; ok {
			return fmt.Errorf("parcel %x twice in one block", hashes[i][:8])
		}
		twice[hashes[i]] = struct{}{}
	}
	for i, c := range a.pool.resolve(req.Txs, hashes) {
		if c.Err != nil {
			return fmt.Errorf("parcel %x: %w", hashes[i][:8], c.Err)
		}
	}
	a.accepted[block] = true
	return nil
}

// FinalizeBlock executes a decided block. Results go to the waiters and, through the application, into its state;
// the engine only learns their number and the application's hash.
func (a *adapter) FinalizeBlock(_ context.Context, req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	done, appHash, err := a.execute(req)
	if err != nil {
		return nil, a.broken(err)
	}
	a.mu.Lock()
	a.pending = done
	a.mu.Unlock()
	return lastResponse(len(req.Txs), appHash), nil
}

// lastResponse is all the engine keeps of a block's execution: it follows from the block and the application's hash.
func lastResponse(parcels int, appHash [32]byte) *abci.ResponseFinalizeBlock {
	one := make([]abci.ExecTxResult, parcels)
	res := &abci.ResponseFinalizeBlock{AppHash: appHash[:], TxResults: make([]*abci.ExecTxResult, parcels)}
	for i := range one {
		res.TxResults[i] = &one[i]
	}
	return res
}

func (a *adapter) execute(req *abci.RequestFinalizeBlock) (*executed, [32]byte, error) {
	var none [32]byte
	if err := a.settle(); err != nil {
		return nil, none, err
	}
	head, _, _ := a.app.Head()
	if uint64(req.Height) != head+1 {
		return nil, none, fmt.Errorf("block %d after application height %d", req.Height, head)
	}
	done := &executed{height: uint64(req.Height), hashes: make([]hash, len(req.Txs))}
	for i, tx := range req.Txs {
		done.hashes[i] = sha256.Sum256(tx)
	}
	parcels := make([]any, len(req.Txs))
	for i, c := range a.pool.resolve(req.Txs, done.hashes) {
		if c.Err != nil {
			return nil, none, fmt.Errorf("block %d holds an unverifiable parcel %x: %w", req.Height, done.hashes[i][:8], c.Err)
		}
		parcels[i] = c.Parcel
	}
	a.tellOffences(req)
	results, appHash, err := a.app.Apply(done.height, uint64(req.Time.UnixMilli()), parcels)
	if err != nil {
		return nil, none, fmt.Errorf("block %d: %w", req.Height, err)
	}
	if len(results) != len(parcels) {
		return nil, none, fmt.Errorf("block %d: %d results for %d parcels", req.Height, len(results), len(parcels))
	}
	done.results = results
	return done, appHash, nil
}

func (a *adapter) tellOffences(req *abci.RequestFinalizeBlock) {
	to, ok := a.app.(OffenceReceiver)
	if !ok || len(req.Misbehavior) == 0 {
		return
	}
	out := make([]Offence, len(req.Misbehavior))
	for i, m := range req.Misbehavior {
		copy(out[i].Validator[:], m.Validator.Address)
		out[i].Height, out[i].TimeMillis = uint64(m.Height), uint64(m.Time.UnixMilli())
	}
	to.Offences(uint64(req.Height), out)
}

// Commit makes the block the application's head, then tells whoever waits. While more is ready to be proposed, the engine goes on and
// agrees on the next block meanwhile: its execution waits for this commit, and so does whoever waits for this block's results.
func (a *adapter) Commit(context.Context) (*abci.ResponseCommit, error) {
	a.mu.Lock()
	done := a.pending
	a.pending = nil
	a.mu.Unlock()
	if done == nil {
		return nil, a.broken(fmt.Errorf("commit without a block"))
	}
	answer := a.pool.committed(done.height, done.hashes, done.results)
	clear(a.accepted)
	if !a.pool.hasReady() {
		if err := a.commit(done, answer); err != nil {
			return nil, a.broken(err)
		}
		return &abci.ResponseCommit{}, nil
	}
	ended := make(chan struct{})
	a.mu.Lock()
	a.committing = ended
	a.mu.Unlock()
	go func() {
		defer close(ended)
		if err := a.commit(done, answer); err != nil {
			err = fmt.Errorf("%w: %w", ErrBroken, err)
			a.because(err)
			a.fail(err)
		}
	}()
	return &abci.ResponseCommit{}, nil
}

func (a *adapter) commit(done *executed, answer func(error)) error {
	if err := a.app.Commit(); err != nil {
		err = fmt.Errorf("commit of block %d: %w", done.height, err)
		answer(errors.Join(ErrStopped, err))
		return err
	}
	answer(nil)
	a.due()
	return nil
}

// settle waits for the commit under way, if one is, and returns why the node is broken, if it is.
func (a *adapter) settle() error {
	a.mu.Lock()
	committing := a.committing
	a.mu.Unlock()
	if committing != nil {
		<-committing
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.committing = nil
	return a.cause
}

// broken stops the node. The consensus goroutine survives an error: the engine halts there. Block sync would panic
// and take the whole process along, so its goroutine ends here.
func (a *adapter) broken(err error) error {
	err = fmt.Errorf("%w: %w", ErrBroken, err)
	a.because(err)
	a.fail(err)
	if a.syncing() {
		runtime.Goexit()
	}
	return err
}

func (a *adapter) because(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cause = err
}

var errUnused = fmt.Errorf("%w: the engine asked for vote extensions", ErrBroken)

func (a *adapter) ExtendVote(context.Context, *abci.RequestExtendVote) (*abci.ResponseExtendVote, error) {
	return nil, errUnused
}

func (a *adapter) VerifyVoteExtension(context.Context, *abci.RequestVerifyVoteExtension) (*abci.ResponseVerifyVoteExtension, error) {
	return nil, errUnused
}

func (a *adapter) Query(context.Context, *abci.RequestQuery) (*abci.ResponseQuery, error) {
	return nil, errUnused
}
