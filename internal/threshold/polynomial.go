package threshold

import (
	"fmt"
	"io"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// polynomial holds secret coefficients, the constant term first.
type polynomial []scalar.Scalar

func randomPolynomial(rand io.Reader, terms int) (polynomial, error) {
	p := make(polynomial, terms)
	for i := range p {
		c, err := randomScalar(rand)
		if err != nil {
			p.wipe()
			return nil, err
		}
		p[i].Set(c)
		c.Zero()
	}
	return p, nil
}

// at evaluates the polynomial (Horner's rule).
func (p polynomial) at(x int) *scalar.Scalar {
	sx := scalar.NewFromUint64(uint64(x))
	y := new(scalar.Scalar)
	for i := len(p) - 1; i >= 0; i-- {
		y.Add(y.Mul(y, sx), &p[i])
	}
	return y
}

func (p polynomial) wipe() {
	for i := range p {
		p[i].Zero()
	}
}

// evaluateCommitments evaluates, in the exponent, the polynomial whose coefficients are committed to: Horner's rule with
// a small public x, so that each step is a few additions. Variable time.
func evaluateCommitments(commitments []*curve.RistrettoPoint, x int) *curve.RistrettoPoint {
	y := curve.NewRistrettoPoint()
	for i := len(commitments) - 1; i >= 0; i-- {
		y.Add(mulSmall(y, x), commitments[i])
	}
	return y
}

// mulSmall is p added to itself x times, 1 ≤ x ≤ CustodiansMax, by double-and-add.
func mulSmall(p *curve.RistrettoPoint, x int) *curve.RistrettoPoint {
	out := curve.NewRistrettoPoint()
	for bit := 7; bit >= 0; bit-- {
		out.Add(out, out)
		if x>>bit&1 == 1 {
			out.Add(out, p)
		}
	}
	return out
}

// lagrange returns the coefficients that carry values of a polynomial at the given distinct, non-zero points to its
// value at zero: λ_i = Π_{j≠i} x_j / (x_j − x_i).
func lagrange(indices []int) ([]*scalar.Scalar, error) {
	var seen [CustodiansMax + 1]bool
	for _, x := range indices {
		if err := checkIndex(x); err != nil {
			return nil, err
		}
		if seen[x] {
			return nil, fmt.Errorf("%w: index %d twice", ErrShares, x)
		}
		seen[x] = true
	}
	numerators := make([]*scalar.Scalar, len(indices))
	denominators := make([]*scalar.Scalar, len(indices))
	for i, xi := range indices {
		si := scalar.NewFromUint64(uint64(xi))
		numerators[i], denominators[i] = scalar.One(), scalar.One()
		for j, xj := range indices {
			if i == j {
				continue
			}
			sj := scalar.NewFromUint64(uint64(xj))
			numerators[i].Mul(numerators[i], sj)
			denominators[i].Mul(denominators[i], new(scalar.Scalar).Sub(sj, si))
		}
	}
	if len(indices) > 0 {
		new(scalar.Scalar).BatchInvert(denominators)
	}
	for i := range numerators {
		numerators[i].Mul(numerators[i], denominators[i])
	}
	return numerators, nil
}
