package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"
)

// Block is one block of a node's chain as it was decided.
type Block struct {
	Height     uint64
	TimeMillis uint64
	Hash       [32]byte
	AppHash    [32]byte // of the state before this block
	Parcels    [][]byte
	Offences   int // proofs in it that a validator signed twice
}

// Chain reads the blocks of a stopped node's folder and checks them.
type Chain struct {
	db     *database
	blocks *store.BlockStore
	set    *types.ValidatorSet
	chain  string
	began  time.Time
}

// Blocks opens the folder read-only. The node must be stopped.
//
// Errors: ErrLocked, ErrOtherNetwork, ErrConfig, ErrBroken if the store cannot be read.
func Blocks(dir string, g Genesis) (*Chain, error) {
	if err := g.validate(); err != nil {
		return nil, err
	}
	doc, err := g.doc()
	if err != nil {
		return nil, err
	}
	db, err := openPebble(filepath.Join(dir, storeDir), true)
	switch {
	case errors.Is(err, ErrLocked):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: store: %w", ErrBroken, err)
	}
	want, err := genesisHash(doc)
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	if have, err := newKV(db, prefixOwn, true).Get(genesisKey); err != nil || !bytes.Equal(have, want) {
		_ = db.Close()
		if err != nil {
			return nil, fmt.Errorf("%w: store: %w", ErrBroken, err)
		}
		return nil, ErrOtherNetwork
	}
	c := &Chain{db: db, chain: g.ChainID, set: validators(doc), began: doc.GenesisTime}
	if err := guard(func() error { c.blocks = store.NewBlockStore(newKV(db, prefixBlocks, true)); return nil }); err != nil {
		_ = db.Close()
		return nil, err
	}
	return c, nil
}

func validators(doc *types.GenesisDoc) *types.ValidatorSet {
	vals := make([]*types.Validator, len(doc.Validators))
	for i, v := range doc.Validators {
		vals[i] = types.NewValidator(v.PubKey, v.Power)
	}
	return types.NewValidatorSet(vals)
}

// DecidedBytesMax bounds what CheckDecided takes: the signatures of all validators.
const DecidedBytesMax = 256 + ValidatorsMax*160

// CheckDecided is the height whose block the signatures in proof show to be decided. Errors: ErrConfig, ErrBroken if they do not.
func CheckDecided(g Genesis, proof []byte) (height uint64, err error) {
	if err := g.validate(); err != nil {
		return 0, err
	}
	doc, err := g.doc()
	if err != nil {
		return 0, err
	}
	err = guard(func() error {
		if len(proof) > DecidedBytesMax {
			return errors.New("too large")
		}
		var raw cmtproto.Commit
		if err := raw.Unmarshal(proof); err != nil {
			return err
		}
		commit, err := types.CommitFromProto(&raw)
		if err != nil {
			return err
		}
		if err := commit.ValidateBasic(); err != nil {
			return err
		}
		height = uint64(commit.Height)
		return validators(doc).VerifyCommit(g.ChainID, commit.BlockID, commit.Height, commit)
	})
	if err != nil {
		return 0, fmt.Errorf("%w: a block that is said to be decided: %w", ErrBroken, err)
	}
	return height, nil
}

// guard turns the engine's panics over unreadable bytes into errors.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrBroken, r)
		}
	}()
	return f()
}

// Close ends reading.
func (c *Chain) Close() error { return c.db.Close() }

// Height is the last block's. A node's application may be at this height or, after a crash, below it; above it
// blocks were lost.
func (c *Chain) Height() uint64 { return uint64(c.blocks.Height()) }

// All goes through the blocks from the first and ends after the first that fails a check: its bytes against its
// hashes, its header against the block before, and the signatures of over two thirds of the genesis's validators.
func (c *Chain) All() iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		var before *types.Block
		var id types.BlockID
		for h := int64(1); h <= c.blocks.Height(); h++ {
			var b Block
			var block *types.Block
			err := guard(func() (err error) {
				block, id, err = c.load(h, before, id)
				return err
			})
			if err == nil {
				b = publicBlock(block)
			}
			if !yield(b, err) || err != nil {
				return
			}
			before = block
		}
	}
}

func publicBlock(b *types.Block) Block {
	out := Block{Height: uint64(b.Height), TimeMillis: uint64(b.Time.UnixMilli()), Parcels: b.Txs.ToSliceOfBytes(), Offences: len(b.Evidence.Evidence)}
	copy(out.Hash[:], b.Hash())
	copy(out.AppHash[:], b.AppHash)
	return out
}

// load reads and checks block h; before and beforeID are block h-1.
func (c *Chain) load(h int64, before *types.Block, beforeID types.BlockID) (*types.Block, types.BlockID, error) {
	var none types.BlockID
	meta, block := c.blocks.LoadBlockMeta(h), c.blocks.LoadBlock(h)
	if meta == nil || block == nil {
		return nil, none, fmt.Errorf("%w: block %d is missing", ErrBroken, h)
	}
	parts, err := block.MakePartSet(types.BlockPartSizeBytes)
	if err != nil {
		return nil, none, fmt.Errorf("%w: block %d: %w", ErrBroken, h, err)
	}
	id := types.BlockID{Hash: block.Hash(), PartSetHeader: parts.Header()}
	if !id.Equals(meta.BlockID) || block.Height != h {
		return nil, none, fmt.Errorf("%w: block %d is not what its hash says", ErrBroken, h)
	}
	if err := block.ValidateBasic(); err != nil {
		return nil, none, fmt.Errorf("%w: block %d: %w", ErrBroken, h, err)
	}
	if err := c.follows(block, before, beforeID); err != nil {
		return nil, none, fmt.Errorf("%w: block %d: %w", ErrBroken, h, err)
	}
	commit := c.blocks.LoadBlockCommit(h)
	if h == c.blocks.Height() {
		commit = c.blocks.LoadSeenCommit(h)
	}
	if commit == nil {
		return nil, none, fmt.Errorf("%w: block %d has no signatures", ErrBroken, h)
	}
	if err := c.set.VerifyCommit(c.chain, id, h, commit); err != nil {
		return nil, none, fmt.Errorf("%w: block %d: %w", ErrBroken, h, err)
	}
	return block, id, nil
}

// follows checks a header against the genesis and the block before it.
func (c *Chain) follows(b, before *types.Block, beforeID types.BlockID) error {
	set := c.set.Hash()
	switch {
	case b.ChainID != c.chain:
		return fmt.Errorf("chain %q", b.ChainID)
	case !bytes.Equal(b.ValidatorsHash, set) || !bytes.Equal(b.NextValidatorsHash, set):
		return fmt.Errorf("validators are not the genesis's")
	case before == nil:
		if !b.Time.Equal(c.began) {
			return fmt.Errorf("time is not the genesis's")
		}
		return nil
	case !b.LastBlockID.Equals(beforeID):
		return fmt.Errorf("does not follow the block before")
	case !b.Time.After(before.Time):
		return fmt.Errorf("time does not advance")
	case !bytes.Equal(b.LastResultsHash, sm.TxResultsHash(lastResponse(len(before.Txs), [32]byte{}).TxResults)):
		return fmt.Errorf("results are not of the block before")
	}
	return nil
}

// CheckFiles reads every byte of the store against its checksums, and the validator's memory of what it signed.
func (c *Chain) CheckFiles(dir string) error {
	it, err := c.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("%w: store: %w", ErrBroken, err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if _, err := it.ValueAndErr(); err != nil {
			break
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("%w: store: %w", ErrBroken, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, signStateFile))
	if err != nil {
		return fmt.Errorf("consensus: sign state: %w", err)
	}
	if len(raw) != 2*slotBytes {
		return fmt.Errorf("%w: sign state has %d bytes", ErrBroken, len(raw))
	}
	for i := range 2 {
		if _, ok := decodeSlot(raw[i*slotBytes : (i+1)*slotBytes]); !ok {
			return fmt.Errorf("%w: slot %d of the sign state is damaged", ErrBroken, i)
		}
	}
	return nil
}
