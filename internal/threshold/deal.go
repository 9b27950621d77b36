package threshold

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// Params is what all participants of one key generation or resharing agree on; the ledger knows it. Its hash goes into
// every proof and every share ciphertext, so that nothing of one ceremony counts in another.
type Params struct {
	Chain        string
	Generation   uint32
	Epoch        uint32
	N            int      // receivers 1..N, the custodians of the epoch
	T            int      // Threshold(N)
	ReceiverKeys [][]byte // ReceiverKeyBytes each; receiver i+1 opens what is sealed to ReceiverKeys[i]
	Previous     *Keys    // nil: a fresh key, dealt by the receivers. Else: reshare its key, dealt by its custodians
}

// dealers is the number of those who may deal.
func (p *Params) dealers() int {
	if p.Previous != nil {
		return p.Previous.N
	}
	return p.N
}

// quorum is how many qualified deals make a key: enough that one of them at least is honest (fresh key), or
// that the old key is determined (resharing).
func (p *Params) quorum() int {
	if p.Previous != nil {
		return p.Previous.T
	}
	return p.T
}

// RevealsMax is how many complaints a dealer may answer with a revealed share: n-t. A dealer with more against it is to be
// left out without revealing: shares revealed and shares that t-1 or fewer conspirators hold add up, and t of them
// are its polynomial, which in a resharing is its share of the previous epoch.
func (p *Params) RevealsMax() int { return p.N - p.T }

// Validate checks sizes and agreement of the parts. That receiver keys are keys is for CheckReceiverKey, when they are
// announced.
func (p *Params) Validate() error {
	if err := checkChain(p.Chain); err != nil {
		return err
	}
	if p.T == 0 || p.T != Threshold(p.N) || len(p.ReceiverKeys) != p.N {
		return fmt.Errorf("%w: threshold %d, %d receivers, %d keys", ErrLimit, p.T, p.N, len(p.ReceiverKeys))
	}
	for i, k := range p.ReceiverKeys {
		if len(k) != ReceiverKeyBytes {
			return fmt.Errorf("%w: key of receiver %d has %d bytes", ErrEncoding, i+1, len(k))
		}
	}
	if p.Previous == nil {
		return nil
	}
	if err := p.Previous.validate(); err != nil {
		return err
	}
	if p.Previous.Generation != p.Generation || p.Previous.Epoch >= p.Epoch {
		return fmt.Errorf("%w: generation %d, epoch %d cannot follow generation %d, epoch %d", ErrMismatch,
			p.Generation, p.Epoch, p.Previous.Generation, p.Previous.Epoch)
	}
	return nil
}

// digest is the hash of the ceremony's parameters.
func (p *Params) digest() [sha256.Size]byte {
	t := newTranscript(sha256.New(), domainParams)
	t.bytes([]byte(p.Chain))
	t.u32(p.Generation)
	t.u32(p.Epoch)
	t.u32(uint32(p.N))
	t.u32(uint32(p.T))
	for _, k := range p.ReceiverKeys {
		t.bytes(k)
	}
	if p.Previous != nil {
		t.bytes(p.Previous.Bytes())
	}
	return t.sum256()
}

// Deal is a dealer's public message, for the ledger: commitments to the coefficients of its polynomial, a proof that it
// knows the constant term, and the hashes of the ciphertexts it sends to the receivers. It is immutable.
type Deal struct {
	Dealer      int // 1..N, or in a resharing the index among the previous custodians
	generation  uint32
	epoch       uint32
	commitments []point // T of them, the constant term first
	hashes      [][sha256.Size]byte
	c, s        scalar.Scalar
}

const (
	dealVersion = 1
	dealHead    = 1 + 4 + 4 + 2 + 2 + 2
)

// CiphertextHash is the hash the dealer committed to for a receiver 1..N; the zero hash for others.
func (d *Deal) CiphertextHash(receiver int) (h [sha256.Size]byte) {
	if receiver < 1 || receiver > len(d.hashes) {
		return h
	}
	return d.hashes[receiver-1]
}

// Bytes encodes the deal: version, generation u32, epoch u32, dealer u16, t u16, n u16, t points, n hashes, challenge, response.
func (d *Deal) Bytes() []byte {
	b := make([]byte, 0, dealBytes(len(d.commitments), len(d.hashes)))
	b = append(b, dealVersion)
	b = appendPlace(b, d.generation, d.epoch, d.Dealer)
	b = appendU16(appendU16(b, len(d.commitments)), len(d.hashes))
	for i := range d.commitments {
		b = append(b, d.commitments[i].raw[:]...)
	}
	for i := range d.hashes {
		b = append(b, d.hashes[i][:]...)
	}
	return appendScalar(appendScalar(b, &d.c), &d.s)
}

func dealBytes(t, n int) int { return dealHead + t*pointBytes + n*sha256.Size + 2*scalarBytes }

// ParseDeal decodes strictly what Deal.Bytes wrote; VerifyDeal says whether it counts.
func ParseDeal(b []byte) (*Deal, error) {
	if len(b) < dealHead || b[0] != dealVersion {
		return nil, fmt.Errorf("%w: deal", ErrEncoding)
	}
	d := new(Deal)
	d.generation, d.epoch, d.Dealer = parsePlace(b[1:])
	t, n := parseU16(b[dealHead-4:]), parseU16(b[dealHead-2:])
	if err := checkIndex(d.Dealer); err != nil {
		return nil, err
	}
	if t == 0 || t != Threshold(n) || len(b) != dealBytes(t, n) {
		return nil, fmt.Errorf("%w: deal of %d commitments to %d receivers in %d bytes", ErrEncoding, t, n, len(b))
	}
	rest := b[dealHead:]
	d.commitments = make([]point, t)
	for i := range d.commitments {
		var err error
		if d.commitments[i], err = parsePoint(rest[:pointBytes]); err != nil {
			return nil, fmt.Errorf("commitment %d: %w", i, err)
		}
		rest = rest[pointBytes:]
	}
	d.hashes = make([][sha256.Size]byte, n)
	for i := range d.hashes {
		d.hashes[i] = [sha256.Size]byte(rest)
		rest = rest[sha256.Size:]
	}
	if _, err := d.c.SetCanonicalBytes(rest[:scalarBytes]); err != nil {
		return nil, fmt.Errorf("%w: challenge of deal", ErrScalar)
	}
	if _, err := d.s.SetCanonicalBytes(rest[scalarBytes:]); err != nil {
		return nil, fmt.Errorf("%w: response of deal", ErrScalar)
	}
	return d, nil
}

// VerifyDeal checks that a deal belongs to this ceremony, that its dealer knows the constant term, and in a resharing
// that the constant term is the dealer's share of the previous epoch. The error wraps ErrDeal.
// It says nothing about the ciphertexts: receivers complain about those.
func VerifyDeal(params *Params, deal *Deal) error {
	if err := params.Validate(); err != nil {
		return err
	}
	return verifyDeal(params, params.digest(), deal)
}

func verifyDeal(params *Params, digest [sha256.Size]byte, d *Deal) error {
	if d == nil || d.generation != params.Generation || d.epoch != params.Epoch ||
		len(d.commitments) != params.T || len(d.hashes) != params.N {
		return fmt.Errorf("%w: not of this ceremony", ErrDeal)
	}
	if d.Dealer < 1 || d.Dealer > params.dealers() {
		return fmt.Errorf("%w: dealer %d of %d", ErrDeal, d.Dealer, params.dealers())
	}
	if params.Previous != nil && params.Previous.Verification[d.Dealer-1].v.raw != d.commitments[0].raw {
		return fmt.Errorf("%w: dealer %d does not pass on its share", ErrDeal, d.Dealer)
	}
	r := mulAddG(&d.c, &d.commitments[0].p, &d.s)
	if knowledgeChallenge(d.statement(digest), r).Equal(&d.c) != 1 {
		return fmt.Errorf("%w: dealer %d does not prove knowledge of its constant term", ErrDeal, d.Dealer)
	}
	return nil
}

// statement hashes the ceremony, the dealer and the whole deal but for the proof.
func (d *Deal) statement(digest [sha256.Size]byte) [sha256.Size]byte {
	t := newTranscript(sha256.New(), domainDeal)
	t.bytes(digest[:])
	t.u32(uint32(d.Dealer))
	for i := range d.commitments {
		t.point(&d.commitments[i])
	}
	for i := range d.hashes {
		t.bytes(d.hashes[i][:])
	}
	return t.sum256()
}

func knowledgeChallenge(statement [sha256.Size]byte, r *curve.RistrettoPoint) *scalar.Scalar {
	t := newTranscript(sha512.New(), domainKnows)
	t.bytes(statement[:])
	t.element(r)
	return t.toScalar()
}

// holds says whether s is the value at receiver of the polynomial that the deal commits to.
func (d *Deal) holds(receiver int, s *scalar.Scalar) bool {
	want := evaluateCommitments(d.commitmentPoints(), receiver)
	return mulG(s).Equal(want) == 1
}

func (d *Deal) commitmentPoints() []*curve.RistrettoPoint {
	points := make([]*curve.RistrettoPoint, len(d.commitments))
	for i := range d.commitments {
		points[i] = &d.commitments[i].p
	}
	return points
}
