package threshold

import (
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

const dealingVersion = 1

// Dealing is a dealer's side of a ceremony: the public deal, the ciphertexts to send, and the polynomial, which it keeps
// until the epoch is active so that it can answer complaints. Then Wipe it.
type Dealing struct {
	Deal        *Deal
	Ciphertexts [][]byte // Ciphertexts[i] goes to receiver i+1, the dealer itself among them
	poly        hidden[polynomial]
}

// NewDealing makes a dealer's contribution to a fresh key. HPKE takes its randomness from the runtime, the rest comes from rand.
// Store Bytes before the deal is published: only this dealing can answer complaints about it, and a dealer that publishes a
// second one for the same ceremony, made after a crash, spends the secrecy of both.
func NewDealing(rand io.Reader, params *Params, dealer int) (*Dealing, error) {
	if err := params.Validate(); err != nil {
		return nil, err
	}
	if params.Previous != nil {
		return nil, fmt.Errorf("%w: a resharing is dealt with NewResharing", ErrMismatch)
	}
	if dealer < 1 || dealer > params.N {
		return nil, fmt.Errorf("%w: dealer %d of %d", ErrLimit, dealer, params.N)
	}
	poly, err := randomPolynomial(rand, params.T)
	if err != nil {
		return nil, err
	}
	return newDealing(rand, params, dealer, poly)
}

// NewResharing passes a custodian's share of the previous epoch on to the receivers of the next.
func NewResharing(rand io.Reader, params *Params, share *Share) (*Dealing, error) {
	if err := params.Validate(); err != nil {
		return nil, err
	}
	if params.Previous == nil || share == nil || share.x.get() == nil {
		return nil, fmt.Errorf("%w: no share or no previous epoch", ErrMismatch)
	}
	key, err := params.Previous.Key(share.Index)
	if err != nil {
		return nil, err
	}
	if !key.Equal(share.VerificationKey()) {
		return nil, fmt.Errorf("%w: share %d is not of the previous epoch", ErrMismatch, share.Index)
	}
	poly, err := randomPolynomial(rand, params.T)
	if err != nil {
		return nil, err
	}
	poly[0].Set(share.x.get())
	return newDealing(rand, params, share.Index, poly)
}

func newDealing(rand io.Reader, params *Params, dealer int, poly polynomial) (*Dealing, error) {
	digest := params.digest()
	d := &Deal{Dealer: dealer, generation: params.Generation, epoch: params.Epoch}
	g := &Dealing{Deal: d, poly: hide(&poly)}
	for i := range poly {
		d.commitments = append(d.commitments, newPoint(mulG(&poly[i])))
	}
	for i, public := range params.ReceiverKeys {
		sealed, err := sealShare(digest, dealer, i+1, public, poly.at(i+1))
		if err != nil {
			g.Wipe()
			return nil, err
		}
		g.Ciphertexts = append(g.Ciphertexts, sealed)
		d.hashes = append(d.hashes, hashCiphertext(sealed))
	}
	statement := d.statement(digest)
	nonce, err := nonceScalar(rand, &poly[0], statement[:])
	if err != nil {
		g.Wipe()
		return nil, err
	}
	defer nonce.Zero()
	d.c.Set(knowledgeChallenge(statement, mulG(nonce)))
	d.s.Sub(nonce, d.s.Mul(&d.c, &poly[0]))
	return g, nil
}

func sealShare(digest [sha256.Size]byte, dealer, receiver int, public []byte, s *scalar.Scalar) ([]byte, error) {
	defer s.Zero()
	key, err := hpke.MLKEM768X25519().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("%w: key of receiver %d: %w", ErrEncoding, receiver, err)
	}
	var plain [scalarBytes]byte
	defer clear(plain[:])
	sealed, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), shareInfo(digest, dealer, receiver), appendScalar(plain[:0], s))
	if err != nil {
		return nil, fmt.Errorf("%w: sealing to receiver %d: %w", ErrEncoding, receiver, err)
	}
	return sealed, nil
}

// Reveal returns the share of a receiver that complained, for publication: 32 bytes.
func (g *Dealing) Reveal(receiver int) ([]byte, error) {
	poly := g.poly.get()
	if poly == nil || len(*poly) == 0 {
		return nil, fmt.Errorf("%w: dealing was wiped", ErrMismatch)
	}
	if receiver < 1 || receiver > len(g.Ciphertexts) {
		return nil, fmt.Errorf("%w: receiver %d of %d", ErrLimit, receiver, len(g.Ciphertexts))
	}
	return appendScalar(nil, poly.at(receiver)), nil
}

// Wipe overwrites the polynomial, best effort (see the package comment), and lets go of the ciphertexts.
func (g *Dealing) Wipe() {
	if poly := g.poly.get(); poly != nil {
		poly.wipe()
		*poly = nil
	}
	g.Ciphertexts = nil
}

// Format keeps the secret out of every fmt verb.
func (g Dealing) Format(f fmt.State, _ rune) {
	if g.Deal == nil {
		fmt.Fprint(f, "dealing")
		return
	}
	fmt.Fprintf(f, "dealing of dealer %d", g.Deal.Dealer)
}

// Bytes encodes the dealing, secrets included, so that a dealer survives a restart: version, length of deal u32, deal, t scalars,
// n ciphertexts. Encrypt it. A wiped dealing has no encoding.
func (g *Dealing) Bytes() []byte {
	poly := g.poly.get()
	if poly == nil || len(*poly) == 0 {
		return nil
	}
	deal := g.Deal.Bytes()
	b := binary.BigEndian.AppendUint32([]byte{dealingVersion}, uint32(len(deal)))
	b = append(b, deal...)
	for i := range *poly {
		b = appendScalar(b, &(*poly)[i])
	}
	for _, c := range g.Ciphertexts {
		b = append(b, c...)
	}
	return b
}

// ParseDealing decodes what Dealing.Bytes wrote and checks that the parts fit each other.
func ParseDealing(b []byte) (*Dealing, error) {
	const head = 1 + 4
	if len(b) < head || b[0] != dealingVersion {
		return nil, fmt.Errorf("%w: dealing", ErrEncoding)
	}
	size, rest := binary.BigEndian.Uint32(b[1:]), b[head:]
	if uint64(size) > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: dealing", ErrEncoding)
	}
	deal, err := ParseDeal(rest[:size])
	if err != nil {
		return nil, err
	}
	rest = rest[size:]
	t, n := len(deal.commitments), len(deal.hashes)
	if len(rest) != t*scalarBytes+n*ShareCiphertextBytes {
		return nil, fmt.Errorf("%w: dealing of %d bytes", ErrEncoding, len(b))
	}
	poly := make(polynomial, t)
	g := &Dealing{Deal: deal, poly: hide(&poly)}
	for i := range poly {
		if _, err := poly[i].SetCanonicalBytes(rest[:scalarBytes]); err != nil {
			return nil, fmt.Errorf("%w: coefficient %d", ErrScalar, i)
		}
		if newPoint(mulG(&poly[i])).raw != deal.commitments[i].raw {
			return nil, fmt.Errorf("%w: coefficient %d is not the one committed to", ErrMismatch, i)
		}
		rest = rest[scalarBytes:]
	}
	for i := range n {
		sealed := append([]byte(nil), rest[:ShareCiphertextBytes]...)
		if hashCiphertext(sealed) != deal.hashes[i] {
			return nil, fmt.Errorf("%w: ciphertext %d is not the one committed to", ErrMismatch, i+1)
		}
		g.Ciphertexts = append(g.Ciphertexts, sealed)
		rest = rest[ShareCiphertextBytes:]
	}
	return g, nil
}
