package threshold

import "io"

// CheatingDealing is a dealer that knows what it does: it sends one receiver whatever ciphertext returns, commits to that and
// proves its deal properly.
func CheatingDealing(rand io.Reader, params *Params, dealer, receiver int, ciphertext func(info []byte) []byte) (*Dealing, []byte, error) {
	g, err := NewDealing(rand, params, dealer)
	if err != nil {
		return nil, nil, err
	}
	digest := params.digest()
	sealed := ciphertext(shareInfo(digest, dealer, receiver))
	d := g.Deal
	d.hashes[receiver-1] = hashCiphertext(sealed)
	nonce, err := randomScalar(rand)
	if err != nil {
		return nil, nil, err
	}
	d.c.Set(knowledgeChallenge(d.statement(digest), mulG(nonce)))
	d.s.Sub(nonce, d.s.Mul(&d.c, &(*g.poly.get())[0]))
	return g, sealed, nil
}

// CheatingResharing deals a random polynomial, whoever asks and whatever the ceremony wants as constant term.
func CheatingResharing(rand io.Reader, params *Params, dealer int) (*Dealing, error) {
	poly, err := randomPolynomial(rand, params.T)
	if err != nil {
		return nil, err
	}
	return newDealing(rand, params, dealer, poly)
}
