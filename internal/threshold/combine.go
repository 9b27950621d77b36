package threshold

import (
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
)

// Combine opens capsules with the answers of exactly t distinct custodians of one epoch, each for the same capsules in
// the same order. It checks no proofs: shares that are wrong do not open a capsule (each secret carries a tag of 16
// bytes), and only then is FindLiars worth its time.
//
// The result has one secret per capsule. If some capsules do not open, their secrets are nil and the error is a
// *WrongSharesError that names them. Capsules should have been verified before shares were asked for; one that
// was not is safe to combine, but its secret may be anyone's choice.
func Combine(t int, capsules []*Capsule, answers []*Partials) ([][]byte, error) {
	indices, err := checkAnswers(t, capsules, answers)
	if err != nil {
		return nil, err
	}
	coefficients, err := lagrange(indices)
	if err != nil {
		return nil, err
	}
	secrets := make([][]byte, len(capsules))
	points := make([]*curve.RistrettoPoint, t)
	var wrong []int
	for i, c := range capsules {
		for j, p := range answers {
			points[j] = &p.points[i].p
		}
		yr := new(curve.RistrettoPoint).MultiscalarMulVartime(coefficients, points)
		secret, ok := c.open(yr)
		if !ok {
			wrong = append(wrong, i)
		}
		secrets[i] = secret
	}
	if wrong != nil {
		return secrets, &WrongSharesError{Capsules: wrong}
	}
	return secrets, nil
}

// checkAnswers returns the custodians' indices if the answers fit the capsules and each other.
func checkAnswers(t int, capsules []*Capsule, answers []*Partials) ([]int, error) {
	if len(capsules) < 1 || len(capsules) > CapsulesMax {
		return nil, fmt.Errorf("%w: %d capsules", ErrLimit, len(capsules))
	}
	if t < 1 || t > CustodiansMax || len(answers) != t {
		return nil, fmt.Errorf("%w: %d of %d", ErrShares, len(answers), t)
	}
	indices := make([]int, t)
	for j, p := range answers {
		if p == nil || len(p.points) != len(capsules) {
			return nil, fmt.Errorf("%w: answer %d is not for these %d capsules", ErrMismatch, j, len(capsules))
		}
		if p.Generation != answers[0].Generation || p.Epoch != answers[0].Epoch {
			return nil, fmt.Errorf("%w: answers of different epochs", ErrMismatch)
		}
		indices[j] = p.Index
	}
	for i, c := range capsules {
		if c == nil || !c.u.valid() || c.Generation() != answers[0].Generation {
			return nil, fmt.Errorf("%w: capsule %d is of another generation", ErrMismatch, i)
		}
	}
	return indices, nil
}
