package consensus

import "time"

// Bounds that are the same in every node. Those of Limits are a node's own.
const (
	ValidatorsMax     = 128
	ValidatorPowerMax = 1 << 20
	PeersMax          = 256

	ParcelBytesMax = 512 << 10 // one parcel; refused at admission, in gossip and in a proposal
	BlockBytesMax  = 4 << 20   // one block: a consensus parameter, fixed by the genesis

	// The rule of time; see docs/spec/consensus.md.
	StaleMillisMax  = 1_000 // a proposer whose block time lags more proposes no parcels
	BehindMillisMax = 2_000 // a validator refuses parcels under a block time that lags more
	AheadMillisMax  = 2_000 // a validator refuses any block whose time is further ahead
)

// Limits of one node; zero fields take the value of DefaultLimits.
type Limits struct {
	PoolParcelsMax    int           // parcels admitted and not yet committed
	PoolBytesMax      int           // their bytes
	SourcePercentMax  int           // of the pool, for one peer or for this node's own clients
	BlockEnvelopesMax int           // envelopes this node puts into one proposal
	PoolAgeMax        time.Duration // then a waiting parcel is dropped
	RememberMax       int           // outcomes remembered after commit, to answer repeats
	LingerMax         time.Duration // an empty proof block waits this long for a parcel to carry; 1 ns: none
	CheckParcelsMax   int           // parcels in one batch for Application.Check
	CheckBytesMax     int           // bytes in one batch
}

// DefaultLimits suit a node with two cores.
func DefaultLimits() Limits {
	return Limits{
		PoolParcelsMax:    20_000,
		PoolBytesMax:      64 << 20,
		SourcePercentMax:  50,
		BlockEnvelopesMax: 4_096,
		PoolAgeMax:        10 * time.Minute,
		RememberMax:       32_768,
		LingerMax:         20 * time.Millisecond,
		CheckParcelsMax:   1_024,
		CheckBytesMax:     512 << 10,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ have, def *int }{
		{&l.PoolParcelsMax, &d.PoolParcelsMax}, {&l.PoolBytesMax, &d.PoolBytesMax},
		{&l.SourcePercentMax, &d.SourcePercentMax}, {&l.BlockEnvelopesMax, &d.BlockEnvelopesMax},
		{&l.RememberMax, &d.RememberMax}, {&l.CheckParcelsMax, &d.CheckParcelsMax},
		{&l.CheckBytesMax, &d.CheckBytesMax},
	} {
		if *f.have <= 0 {
			*f.have = *f.def
		}
	}
	if l.PoolAgeMax <= 0 {
		l.PoolAgeMax = d.PoolAgeMax
	}
	if l.LingerMax <= 0 {
		l.LingerMax = d.LingerMax
	}
	return l
}

const (
	refusedRememberMax = 4_096    // hashes of parcels that Check refused
	rememberBytesMax   = 16 << 20 // results remembered after commit
	waitersMax         = 256      // Submit calls that wait for the same bytes
	gossipBytesMax     = 256 << 10
	relayAfter         = 150 * time.Millisecond // a peer's parcel goes on to others only if not committed by then, and later where all wait longer
	repeatAfter        = 2 * time.Second        // a peer is told again of what waits if no block comes for so long
	gatherFor          = time.Millisecond       // a busy verifier waits this long for its batch to grow
	gatherReadyFor     = 8 * time.Millisecond   // and this long if there is enough to propose meanwhile: larger batches cost less
	peerInvalidMax     = 64                     // then a peer's parcels are ignored for muteFor
	muteFor            = 30 * time.Second
)
