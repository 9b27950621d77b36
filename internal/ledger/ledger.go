// Package ledger is the centre: it executes blocks of signed actions, the same everywhere.
//
//	Apply(block) → results, app hash          pure: the block and the state are its only inputs
//	Commit()                                  makes the block's rows durable, in one batch
//	View()                                    a consistent snapshot for queries, proofs and custodians
//
// A block goes through four steps. Contracts whose time is over end (each end is an entry). Envelopes execute in their order, each all or
// nothing: admission (network, version, times), the replay set, the signer's standing, the quota, then its actions by family. Whatever
// became an entry is chained in its journal and appended to the log. If anything changed, the block is sealed: the last leaf holds the
// state map's root, so that one checkpoint of the log covers both.
//
// There is no clock, network, goroutine, float, map ranging or randomness here; a test bans them. Failures are of three kinds, see
// package exec; Apply returns an error only for what must stop the node.
//
// The store holds, besides the state map and the log's tiles, these rows:
//
//	'E' ‖ index         salt (16 bytes) ‖ entry
//	'J' ‖ journal ‖ seq index in the log
//	'N' ‖ action id     index of its first entry ‖ number of entries ‖ version, not-after and signature of the envelope
//	'H'                 the head: height, time, size and root of the log, app hash
//	'G'                 genesis
//
// They derive from the blocks; Check recomputes them.
package ledger

import (
	"errors"
	"fmt"
	"sync"

	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/translog"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// Block is what the engine agreed on: the envelopes in their order, already checked (protocol.Verify), each parcel by itself.
type Block struct {
	Height  uint64
	Time    uint64 // UTC ms
	Parcels [][]*protocol.Verified
	Tick    bool // the block also asks to move time
}

// Applied is what a block did.
type Applied struct {
	Results [][]protocol.Result // as Block.Parcels
	Head    Head
	Changed bool
	Entries int  // leaves added, seal included
	Erased  bool // an erasure is through: the nodes delete its files
}

// Head is where the ledger stands.
type Head struct {
	_       struct{} `cbor:",toarray"`
	Height  uint64   // of the last block, changed or not
	Time    uint64   // UTC ms of the last block that changed state
	Size    uint64   // entries in the log
	Root    protocol.Hash
	AppHash protocol.Hash
}

// Ledger executes blocks over a store. Apply and Commit belong to one goroutine; everything else may be called from any.
type Ledger struct {
	store   state.Store
	states  *state.Map
	log     *translog.Tree
	genesis protocol.Genesis
	replay  *replay
	// contracts remembers compiled contracts; compiling is pure, so this shows in no result
	contracts *consent.Cache
	docket    *consent.Docket
	staged    *block // between Apply and Commit

	mu   sync.RWMutex // guards head and the moment in which map, log and head move together
	head Head
}

// The prefixes of the store's rows.
var (
	rowEntry    = []byte{'E'}
	rowJournal  = []byte{'J'}
	rowEnvelope = []byte{'N'}
	rowHead     = []byte{'H'}
	rowGenesis  = []byte{'G'}
	rowLog      = []byte{'T'}
)

// Errors of opening and beginning.
var (
	ErrOtherNetwork = errors.New("ledger: the folder holds another network's ledger")
	ErrNotBegun     = errors.New("ledger: no genesis yet")
	ErrOrder        = errors.New("ledger: blocks must come in the order of height and time, each committed before the next")
)

// Open opens the ledger in a store; an empty store gives a ledger that waits for Begin.
func Open(store state.Store) (*Ledger, error) {
	l := &Ledger{store: store, replay: newReplay(), contracts: consent.NewCache(compiledMax), head: Head{Root: protocol.Hash(c2sp.EmptyRoot())}}
	l.docket = consent.NewDocket(l.contracts)
	raw, begun, err := store.Get(rowHead)
	if err != nil {
		return nil, err
	}
	if begun {
		if err := protocol.Decode(raw, &l.head); err != nil {
			return nil, fmt.Errorf("ledger: head: %w", err)
		}
		g, _, err := store.Get(rowGenesis)
		if err != nil {
			return nil, err
		}
		if err := protocol.Decode(g, &l.genesis); err != nil {
			return nil, fmt.Errorf("ledger: genesis: %w", err)
		}
	}
	if l.states, err = state.OpenMap(store); err != nil {
		return nil, err
	}
	if l.log, err = translog.Open(store, rowLog, l.head.Size, l.head.Root); err != nil {
		return nil, err
	}
	return l, l.replay.load(l.states)
}

// Begin executes the genesis (canonical encoding). Called again with the same genesis before the first block, it changes nothing.
func (l *Ledger) Begin(raw []byte) (Head, error) {
	var g protocol.Genesis
	if err := protocol.Decode(raw, &g); err != nil {
		return Head{}, fmt.Errorf("genesis: %w", err)
	}
	if err := g.Validate(); err != nil {
		return Head{}, fmt.Errorf("genesis: %w", err)
	}
	if l.genesis.Chain != "" {
		if string(protocol.Encode(l.genesis)) != string(raw) || l.Head().Height != 0 {
			return Head{}, ErrOtherNetwork
		}
		return l.Head(), nil
	}
	l.genesis = g
	b := l.begin(Block{Time: g.Time})
	err := b.run(func() { b.found(g) })
	if err == nil {
		err = b.stage()
	}
	if err == nil {
		err = b.batch.Set(rowGenesis, raw)
	}
	if err != nil {
		l.genesis = protocol.Genesis{}
		return Head{}, errors.Join(err, b.batch.Close())
	}
	l.staged = b
	return b.head, l.Commit()
}

// Apply executes a block. The state is unchanged until Commit; calling Apply again instead drops what was applied.
func (l *Ledger) Apply(in Block) (*Applied, error) {
	if l.genesis.Chain == "" {
		return nil, ErrNotBegun
	}
	if in.Height != l.head.Height+1 || in.Time < l.head.Time {
		return nil, fmt.Errorf("%w: block %d of %d after %d of %d", ErrOrder, in.Height, in.Time, l.head.Height, l.head.Time)
	}
	l.drop()
	b := l.begin(in)
	out := &Applied{Results: make([][]protocol.Result, len(in.Parcels))}
	err := b.run(func() {
		b.endContracts()
		for i, parcel := range in.Parcels {
			out.Results[i] = make([]protocol.Result, len(parcel))
			for j, v := range parcel {
				out.Results[i][j] = b.execute(v)
			}
		}
		b.advanceKeygen()
		b.advanceErasures()
	})
	if err == nil {
		err = b.stage()
	}
	if err != nil {
		l.docket.Clear()
		return nil, err
	}
	l.staged = b
	out.Head, out.Changed, out.Entries, out.Erased = b.head, b.changed, len(b.leaves), b.erased
	return out, nil
}

// Commit makes the applied block the ledger's head. The batch need not reach the disk at once: after a crash the engine, which keeps
// the blocks durably, applies again what was lost. After an error the ledger must be reopened.
func (l *Ledger) Commit() error {
	b := l.staged
	if b == nil {
		return fmt.Errorf("%w: nothing was applied", ErrOrder)
	}
	if err := b.batch.Commit(b.in.Height%durableEvery == 0); err != nil {
		return err
	}
	l.mu.Lock()
	if b.changed {
		l.states.Advance()
		l.log.Advance()
	}
	l.head = b.head
	l.replay.commit(b.remembered, b.forgotten)
	l.mu.Unlock()
	l.staged = nil
	return b.batch.Close()
}

// compiledMax bounds the contracts kept compiled.
const compiledMax = 4096

// durableEvery bounds how many blocks the engine applies again after a power failure.
const durableEvery = 64

// Close lets go of the store, which the caller closes afterwards. Views must be closed before; the ledger is of no use then.
func (l *Ledger) Close() error {
	l.drop()
	return l.states.Close()
}

func (l *Ledger) drop() {
	if l.staged != nil {
		_ = l.staged.batch.Close()
		l.staged = nil
		l.docket.Clear()
	}
}

// RunBoth lets large blocks use two cores where the order of the work shows in nothing: see state.Both. Call it before the first block.
func (l *Ledger) RunBoth(b state.Both) { l.states.RunBoth(b) }

// Head is the last committed block's.
func (l *Ledger) Head() Head {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head
}

// Genesis is what the network began with; ok is false before Begin.
func (l *Ledger) Genesis() (g protocol.Genesis, ok bool) { return l.genesis, l.genesis.Chain != "" }

// Chain is the network's id.
func (l *Ledger) Chain() string { return l.genesis.Chain }

// run turns a Broken panic into an error.
func (b *block) run(do func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			broken, ok := p.(exec.Broken)
			if !ok {
				panic(p)
			}
			err = broken
		}
	}()
	do()
	return nil
}
