// Package threshold keeps the keys of records in the hands of many custodians and of none.
//
// A record's file key is sealed into a [Capsule] under one collective public key. Any t of the n
// custodians can together open it; t-1 of them learn nothing. The scheme is TDH2 (Shoup and Gennaro,
// "Securing Threshold Cryptosystems against Chosen Ciphertext Attack", J. Cryptology 15, 2002, section 5)
// over ristretto255 (RFC 9496), used as a key encapsulation: a capsule proves that its maker knew what is in it
// and is bound to a label, so that it cannot be bent or moved to another record.
//
//	Seal             author:    secret and label → capsule
//	Capsule.Verify   custodian: capsule and label → VerifiedCapsule, the only thing Release takes
//	Release          custodian: its Share, many capsules of one access → Partials with one proof for all
//	Combine          reader:    exactly t Partials → the secrets
//	FindLiars        reader:    who sent a wrong share, when Combine says that something was wrong
//
// The collective key comes from a distributed key generation (Feldman commitments with proofs of knowledge)
// in message steps: [NewDealing], [VerifyDeal], [OpenShare], [VerifyReveal], [Finish], [FinishShare]. The same steps
// with [Params.Previous] set pass the same key on to another set of custodians (resharing).
// Nowhere, not in one step of any of it, is the collective secret computed.
//
// Bytes are specified in docs/spec/threshold.md; the vectors beside it are run by this package's tests.
//
// # Limits
//
// The package is pure: no clock, network, files or goroutines. Randomness comes from the io.Reader passed in, except that
// HPKE encapsulation (crypto/hpke) reads the runtime's own source. Functions without a reader are deterministic and
// safe to run on the ledger. It is not quantum-safe: a capsule harvested today can be opened by whoever breaks
// ristretto255 later. The channel that carries key generation shares is hybrid (X-Wing).
//
// Operations on secrets run in constant time as far as the group implementation does. Wiping ([Share.Wipe],
// [Dealing.Wipe], [Portion.Wipe]) is best effort: Go's garbage collector and its stacks may have copied a value before
// it was wiped, and intermediate results inside the group implementation are not reachable from here.
package threshold

import (
	"errors"
	"fmt"
)

// Limits of everything this package takes in.
const (
	CustodiansMax      = 64   // members of one epoch, dealers of one key generation
	CapsulesMax        = 1024 // capsules in one release
	SecretBytesMax     = 32   // what a capsule can carry; an age file key has 16
	LabelBytesMax      = 1024
	ChainBytesMax      = 128
	OneTimeKeyBytesMax = 2048 // an X-Wing public key has 1216
)

// Sentinels of what can be wrong with input. Errors of this package wrap one of them.
var (
	ErrEncoding   = errors.New("threshold: malformed encoding")
	ErrPoint      = errors.New("threshold: not a canonical group element, or the identity")
	ErrScalar     = errors.New("threshold: not a canonical scalar, or zero")
	ErrLimit      = errors.New("threshold: outside limits")
	ErrCapsule    = errors.New("threshold: capsule does not verify against this label")
	ErrProof      = errors.New("threshold: proof does not hold")
	ErrMismatch   = errors.New("threshold: values of different keys, epochs or sizes")
	ErrShares     = errors.New("threshold: not exactly t distinct shares")
	ErrRandomness = errors.New("threshold: source of randomness failed")
	ErrDeal       = errors.New("threshold: deal does not verify")
	ErrQualified  = errors.New("threshold: qualified deals do not make a key")
)

// Threshold is the number of custodians it takes to open a capsule among n of them: ⌊2n/3⌋+1.
// It is 0 when n is outside 1..CustodiansMax.
func Threshold(n int) int {
	if n < 1 || n > CustodiansMax {
		return 0
	}
	return 2*n/3 + 1
}

// WrongSharesError tells which capsules a set of shares failed to open: at least one share was wrong.
type WrongSharesError struct {
	Capsules []int // positions in the list given to Combine, ascending
}

func (e *WrongSharesError) Error() string {
	return fmt.Sprintf("threshold: the shares do not open %d capsule(s), the first at position %d", len(e.Capsules), e.Capsules[0])
}
