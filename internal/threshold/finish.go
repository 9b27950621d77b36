package threshold

import (
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// Finish computes the keys that the deals of the qualified dealers make. The deals come sorted by dealer, each once; those
// with an unanswered complaint are left out by the caller, the same way on every node. A fresh key takes T of them at
// least, a resharing as many as the previous epoch's T. The error wraps ErrQualified or what VerifyDeal found.
//
// The last dealer to speak can choose among contributions and so bias some bits of a fresh public key. That does not help
// it: the proofs of knowledge mean that the key is unknown as long as one qualified dealer is honest.
func Finish(params *Params, deals []*Deal) (*Keys, error) {
	weights, err := qualify(params, deals)
	if err != nil {
		return nil, err
	}
	return sumKeys(params, deals, weights)
}

func sumKeys(params *Params, deals []*Deal, weights []*scalar.Scalar) (*Keys, error) {
	sum := make([]*curve.RistrettoPoint, params.T)
	terms := make([]*curve.RistrettoPoint, len(deals))
	for k := range sum {
		for i, d := range deals {
			terms[i] = &d.commitments[k].p
		}
		if weights == nil {
			sum[k] = new(curve.RistrettoPoint).Sum(terms)
		} else {
			sum[k] = new(curve.RistrettoPoint).MultiscalarMulVartime(weights, terms)
		}
	}
	keys := &Keys{Generation: params.Generation, Epoch: params.Epoch, N: params.N, T: params.T}
	keys.Public = PublicKey{generation: params.Generation, y: newPoint(sum[0])}
	if !keys.Public.y.valid() {
		return nil, fmt.Errorf("%w: the key is the identity", ErrQualified)
	}
	if params.Previous != nil && params.Previous.Public.y.raw != keys.Public.y.raw {
		return nil, fmt.Errorf("%w: the key is not the previous one", ErrQualified)
	}
	for j := 1; j <= params.N; j++ {
		v := newPoint(evaluateCommitments(sum, j))
		if !v.valid() {
			return nil, fmt.Errorf("%w: verification key %d is the identity", ErrQualified, j)
		}
		keys.Verification = append(keys.Verification, VerificationKey{Generation: params.Generation, Epoch: params.Epoch, Index: j, v: v})
	}
	return keys, nil
}

// FinishShare adds up the portions a receiver got from the qualified dealers, one of each in any order, and checks the
// result against the receiver's verification key.
func FinishShare(params *Params, deals []*Deal, receiver int, portions []*Portion) (*Share, error) {
	weights, err := qualify(params, deals)
	if err != nil {
		return nil, err
	}
	keys, err := sumKeys(params, deals, weights)
	if err != nil {
		return nil, err
	}
	key, err := keys.Key(receiver)
	if err != nil {
		return nil, err
	}
	x := new(scalar.Scalar)
	defer x.Zero()
	for i, d := range deals {
		s, err := portionOf(params, d, receiver, portions)
		if err != nil {
			return nil, err
		}
		if weights == nil {
			x.Add(x, s)
			continue
		}
		x.Add(x, new(scalar.Scalar).Mul(weights[i], s))
	}
	share, err := newShare(params.Generation, params.Epoch, receiver, x)
	if err != nil {
		return nil, err
	}
	if !share.VerificationKey().Equal(key) {
		return nil, fmt.Errorf("%w: portions do not add up to verification key %d", ErrMismatch, receiver)
	}
	return share, nil
}

// portionOf finds the one portion from the deal's dealer and checks that it is the committed one.
func portionOf(params *Params, d *Deal, receiver int, portions []*Portion) (*scalar.Scalar, error) {
	var found *Portion
	for _, p := range portions {
		if p == nil || p.Dealer != d.Dealer {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: two portions from dealer %d", ErrMismatch, d.Dealer)
		}
		found = p
	}
	if found == nil || found.s.get() == nil {
		return nil, fmt.Errorf("%w: no portion from dealer %d", ErrMismatch, d.Dealer)
	}
	if found.Generation != params.Generation || found.Epoch != params.Epoch || found.Receiver != receiver ||
		!d.holds(receiver, found.s.get()) {
		return nil, fmt.Errorf("%w: portion from dealer %d", ErrMismatch, d.Dealer)
	}
	return found.s.get(), nil
}

// qualify checks the deals and returns the weights by which they are summed: nil for a fresh key, Lagrange coefficients
// for a resharing.
func qualify(params *Params, deals []*Deal) ([]*scalar.Scalar, error) {
	if err := params.Validate(); err != nil {
		return nil, err
	}
	if len(deals) < params.quorum() || len(deals) > params.dealers() {
		return nil, fmt.Errorf("%w: %d deals, %d needed", ErrQualified, len(deals), params.quorum())
	}
	digest := params.digest()
	indices := make([]int, len(deals))
	for i, d := range deals {
		if err := verifyDeal(params, digest, d); err != nil {
			return nil, err
		}
		if i > 0 && d.Dealer <= indices[i-1] {
			return nil, fmt.Errorf("%w: deals not sorted by dealer", ErrQualified)
		}
		indices[i] = d.Dealer
	}
	if params.Previous == nil {
		return nil, nil
	}
	return lagrange(indices)
}
