package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

// clock is the rule of time. A block's time is the median of the votes on the block before it, so after a pause it
// lags by the whole pause. No parcel may be decided by such a time.
type clock struct{ now func() time.Time }

var (
	errStaleTime  = errors.New("parcels under a stale block time")
	errFutureTime = errors.New("block time is ahead of our clock")
)

// stale tells a proposer to leave its block empty.
func (c clock) stale(block time.Time) bool {
	return c.now().Sub(block) > StaleMillisMax*time.Millisecond
}

// judge is a validator's view of a proposed block's time; fresh if it must not lag.
func (c clock) judge(block time.Time, fresh bool) error {
	behind := c.now().Sub(block)
	switch {
	case behind < -AheadMillisMax*time.Millisecond:
		return fmt.Errorf("%w by %v", errFutureTime, -behind)
	case fresh && behind > BehindMillisMax*time.Millisecond:
		return fmt.Errorf("%w, %v behind", errStaleTime, behind)
	}
	return nil
}

// polkas knows the blocks of the current height that over two thirds of the power prevoted in one round.
//
// A lock may keep such a block for many rounds while its time grows stale. Whoever refused it then, having met it
// late, would keep the network from ever deciding. The prevotes prove that it was fresh in honest eyes.
type polkas struct {
	validators func(height int64) (*types.ValidatorSet, error)

	mu     sync.Mutex
	height int64
	set    *types.ValidatorSet
	votes  map[prevoted]map[int32]bool
	proven map[hash]bool
}

type prevoted struct {
	round int32
	block hash
}

func newPolkas(validators func(int64) (*types.ValidatorSet, error)) *polkas {
	return &polkas{validators: validators, votes: map[prevoted]map[int32]bool{}, proven: map[hash]bool{}}
}

func (p *polkas) has(block hash) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proven[block]
}

// add counts a prevote whose signature the engine has verified.
func (p *polkas) add(v *types.Vote) {
	if v.Type != cmtproto.PrevoteType || len(v.BlockID.Hash) != len(hash{}) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if v.Height < p.height {
		return
	}
	if v.Height > p.height {
		set, err := p.validators(v.Height)
		if err != nil {
			return // without it nothing can be proven; the block is then judged by the clock
		}
		p.height, p.set = v.Height, set
		clear(p.votes)
		clear(p.proven)
	}
	k := prevoted{round: v.Round}
	copy(k.block[:], v.BlockID.Hash)
	if p.votes[k] == nil {
		p.votes[k] = map[int32]bool{}
	}
	p.votes[k][v.ValidatorIndex] = true
	var power int64
	for i := range p.votes[k] {
		if _, val := p.set.GetByIndex(i); val != nil {
			power += val.VotingPower
		}
	}
	if power*3 > p.set.TotalVotingPower()*2 {
		p.proven[k.block] = true
	}
}

// follow reads votes off the engine's bus until it closes or ctx ends.
func (p *polkas) follow(ctx context.Context, bus *types.EventBus) error {
	sub, err := bus.SubscribeUnbuffered(ctx, "polkas", types.EventQueryVote)
	if err != nil {
		return err
	}
	go func() {
		for {
			select {
			case m := <-sub.Out():
				if d, ok := m.Data().(types.EventDataVote); ok {
					p.add(d.Vote)
				}
			case <-sub.Canceled():
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return nil
}
