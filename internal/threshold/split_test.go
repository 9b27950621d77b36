package threshold

import (
	"fmt"
	"io"
)

// split deals shares of a key made on the spot: a quick stand-in for key generation in the tests of capsules and releases.
func split(rand io.Reader, generation, epoch uint32, n int) (*Keys, []*Share, error) {
	t := Threshold(n)
	if t == 0 {
		return nil, nil, fmt.Errorf("%w: %d custodians", ErrLimit, n)
	}
	poly, err := randomPolynomial(rand, t)
	if err != nil {
		return nil, nil, err
	}
	defer poly.wipe()
	shares := make([]*Share, n)
	keys := &Keys{Generation: generation, Epoch: epoch, N: n, T: t}
	keys.Public = PublicKey{generation: generation, y: newPoint(mulG(&poly[0]))}
	for i := range shares {
		if shares[i], err = newShare(generation, epoch, i+1, poly.at(i+1)); err != nil {
			return nil, nil, err
		}
		keys.Verification = append(keys.Verification, shares[i].VerificationKey())
	}
	return keys, shares, nil
}
