package consensus

import (
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/types"
)

// wake is the engine's mempool reduced to what we need of it: the signal that there is something to propose. Parcels
// never pass through it; PrepareProposal takes them from the pool.
//
// The engine acts on the signal only while it waits for one between two heights, and drops it otherwise, so it is
// given again after each commit for as long as wanted says so.
type wake struct {
	signal chan struct{}
	wanted func() bool
}

var _ mempool.Mempool = (*wake)(nil)

func newWake(wanted func() bool) *wake { return &wake{signal: make(chan struct{}, 1), wanted: wanted} }

func (w *wake) fire() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (w *wake) TxsAvailable() <-chan struct{} { return w.signal }

// Update runs after each commit, before the engine enters the next height.
func (w *wake) Update(int64, types.Txs, []*abci.ExecTxResult, mempool.PreCheckFunc, mempool.PostCheckFunc) error {
	if w.wanted() {
		w.fire()
	}
	return nil
}

func (w *wake) CheckTx(types.Tx, func(*abci.ResponseCheckTx), mempool.TxInfo) error {
	return mempool.ErrNotImplemented
}
func (w *wake) RemoveTxByKey(types.TxKey) error         { return nil }
func (w *wake) ReapMaxBytesMaxGas(_, _ int64) types.Txs { return nil }
func (w *wake) ReapMaxTxs(int) types.Txs                { return nil }
func (w *wake) Lock()                                   {}
func (w *wake) Unlock()                                 {}
func (w *wake) FlushAppConn() error                     { return nil }
func (w *wake) Flush()                                  {}
func (w *wake) EnableTxsAvailable()                     {}
func (w *wake) Size() int                               { return 0 }
func (w *wake) SizeBytes() int64                        { return 0 }
