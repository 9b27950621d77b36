package threshold

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"slices"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

const (
	partialsVersion = 1
	partialsHead    = 1 + 4 + 4 + 2 + 2
	weightBytes     = 16
)

// Binding is what a release is for. A proof made for one binding does not hold for another.
type Binding struct {
	Chain      string   // chain id, 1..ChainBytesMax bytes
	Access     [16]byte // id of the access entry
	OneTimeKey []byte   // the reader's public key of that entry, 1..OneTimeKeyBytesMax bytes
}

// Partials is one custodian's answer to one access: u^x for each capsule in the order asked, and one proof for all that
// x is the share behind its verification key. It is not secret towards the reader, but it must reach nobody else: t
// custodians' Partials open the capsules. The zero value is not an answer: use Release or ParsePartials.
type Partials struct {
	Generation uint32
	Epoch      uint32
	Index      int // the custodian
	points     []point
	c, s       scalar.Scalar // proof: challenge and response
}

// Release computes a custodian's answer for 1..CapsulesMax capsules of one access.
// The caller has decided that the access may happen; Release makes sure that capsules were verified and are of the
// share's generation.
func Release(rand io.Reader, share *Share, items []VerifiedCapsule, binding Binding) (*Partials, error) {
	if share == nil || share.x.get() == nil || !share.vk.valid() {
		return nil, fmt.Errorf("%w: no share", ErrMismatch)
	}
	capsules := make([]*Capsule, len(items))
	for i := range items {
		if items[i].capsule == nil {
			return nil, fmt.Errorf("%w: capsule %d was not verified", ErrCapsule, i)
		}
		capsules[i] = items[i].capsule
	}
	if err := checkRequest(capsules, share.Generation, binding); err != nil {
		return nil, err
	}
	p := &Partials{Generation: share.Generation, Epoch: share.Epoch, Index: share.Index}
	p.points = make([]point, len(capsules))
	x := share.x.get()
	for i, c := range capsules {
		p.points[i] = newPoint(new(curve.RistrettoPoint).Mul(&c.u.p, x))
	}
	seed := releaseSeed(share.VerificationKey(), capsules, binding, p.points)
	base := new(curve.RistrettoPoint).MultiscalarMulVartime(weights(seed, len(capsules)), capsulePoints(capsules))
	nonce, err := nonceScalar(rand, x, seed[:])
	if err != nil {
		return nil, err
	}
	defer nonce.Zero()
	p.c.Set(releaseChallenge(seed, mulG(nonce), new(curve.RistrettoPoint).Mul(base, nonce)))
	p.s.Sub(nonce, p.s.Mul(&p.c, x))
	return p, nil
}

// VerifyPartials checks a custodian's answer against its verification key, the capsules asked for in their order, and
// the binding. The error wraps ErrProof when the answer is a lie, ErrMismatch when it answers something else.
func VerifyPartials(key VerificationKey, capsules []*Capsule, binding Binding, p *Partials) error {
	if err := checkRequest(capsules, key.Generation, binding); err != nil {
		return err
	}
	if p == nil || len(p.points) != len(capsules) || !key.v.valid() ||
		p.Generation != key.Generation || p.Epoch != key.Epoch || p.Index != key.Index {
		return fmt.Errorf("%w: answer of another custodian, epoch or size", ErrMismatch)
	}
	seed := releaseSeed(key, capsules, binding, p.points)
	n := len(capsules)
	scalars := make([]*scalar.Scalar, 0, 2*n)
	points := make([]*curve.RistrettoPoint, 0, 2*n)
	ws := weights(seed, n)
	for i, w := range ws {
		scalars = append(scalars, new(scalar.Scalar).Mul(w, &p.s))
		points = append(points, &capsules[i].u.p)
	}
	for i, w := range ws {
		scalars = append(scalars, new(scalar.Scalar).Mul(w, &p.c))
		points = append(points, &p.points[i].p)
	}
	a := mulAddG(&p.c, &key.v.p, &p.s)
	b := new(curve.RistrettoPoint).MultiscalarMulVartime(scalars, points)
	if releaseChallenge(seed, a, b).Equal(&p.c) != 1 {
		return fmt.Errorf("%w: custodian %d", ErrProof, p.Index)
	}
	return nil
}

// FindLiars returns the indices of the custodians, ascending, whose answers do not verify against their key in keys.
// An answer that claims an index which keys does not have counts under the index it claims.
func FindLiars(keys *Keys, capsules []*Capsule, binding Binding, answers []*Partials) []int {
	var liars []int
	for _, p := range answers {
		if p == nil {
			continue
		}
		key, err := keys.Key(p.Index)
		if err == nil {
			err = VerifyPartials(key, capsules, binding, p)
		}
		if err != nil {
			liars = append(liars, p.Index)
		}
	}
	slices.Sort(liars)
	return slices.Compact(liars)
}

// Len is the number of capsules answered.
func (p *Partials) Len() int { return len(p.points) }

// Bytes encodes the answer: version, generation u32, epoch u32, index u16, count u16, the points, challenge, response.
func (p *Partials) Bytes() []byte {
	b := make([]byte, 0, partialsHead+pointBytes*len(p.points)+2*scalarBytes)
	b = append(b, partialsVersion)
	b = appendPlace(b, p.Generation, p.Epoch, p.Index)
	b = appendU16(b, len(p.points))
	for i := range p.points {
		b = append(b, p.points[i].raw[:]...)
	}
	return appendScalar(appendScalar(b, &p.c), &p.s)
}

// ParsePartials decodes strictly what Partials.Bytes wrote; it does not check the proof.
func ParsePartials(b []byte) (*Partials, error) {
	if len(b) < partialsHead || b[0] != partialsVersion {
		return nil, fmt.Errorf("%w: partials", ErrEncoding)
	}
	p := new(Partials)
	p.Generation, p.Epoch, p.Index = parsePlace(b[1:])
	if err := checkIndex(p.Index); err != nil {
		return nil, err
	}
	n := parseU16(b[partialsHead-2:])
	if n < 1 || n > CapsulesMax {
		return nil, fmt.Errorf("%w: %d partials", ErrLimit, n)
	}
	rest := b[partialsHead:]
	if len(rest) != n*pointBytes+2*scalarBytes {
		return nil, fmt.Errorf("%w: %d partials in %d bytes", ErrEncoding, n, len(b))
	}
	if _, err := p.c.SetCanonicalBytes(rest[n*pointBytes:][:scalarBytes]); err != nil {
		return nil, fmt.Errorf("%w: challenge of partials", ErrScalar)
	}
	if _, err := p.s.SetCanonicalBytes(rest[n*pointBytes+scalarBytes:]); err != nil {
		return nil, fmt.Errorf("%w: response of partials", ErrScalar)
	}
	p.points = make([]point, n)
	for i := range p.points {
		var err error
		if p.points[i], err = parsePoint(rest[i*pointBytes:][:pointBytes]); err != nil {
			return nil, fmt.Errorf("partial %d: %w", i, err)
		}
	}
	return p, nil
}

func checkRequest(capsules []*Capsule, generation uint32, binding Binding) error {
	if len(capsules) < 1 || len(capsules) > CapsulesMax {
		return fmt.Errorf("%w: %d capsules", ErrLimit, len(capsules))
	}
	for i, c := range capsules {
		if c == nil || c.Generation() != generation {
			return fmt.Errorf("%w: capsule %d is not of generation %d", ErrMismatch, i, generation)
		}
	}
	if err := checkChain(binding.Chain); err != nil {
		return err
	}
	if n := len(binding.OneTimeKey); n < 1 || n > OneTimeKeyBytesMax {
		return fmt.Errorf("%w: one-time key of %d bytes", ErrLimit, n)
	}
	return nil
}

func checkChain(chain string) error {
	if len(chain) < 1 || len(chain) > ChainBytesMax {
		return fmt.Errorf("%w: chain id of %d bytes", ErrLimit, len(chain))
	}
	return nil
}

func capsulePoints(capsules []*Capsule) []*curve.RistrettoPoint {
	points := make([]*curve.RistrettoPoint, len(capsules))
	for i, c := range capsules {
		points[i] = &c.u.p
	}
	return points
}

// releaseSeed hashes everything a release is about. Weights and challenge both come from it, so that no part of the
// answer can be chosen after the weights are known, and no proof fits another request.
func releaseSeed(key VerificationKey, capsules []*Capsule, binding Binding, points []point) [sha256.Size]byte {
	t := newTranscript(sha256.New(), domainRelease)
	t.bytes([]byte(binding.Chain))
	t.u32(key.Generation)
	t.u32(key.Epoch)
	t.u32(uint32(key.Index))
	t.point(&key.v)
	t.bytes(binding.Access[:])
	t.bytes(binding.OneTimeKey)
	t.u32(uint32(len(capsules)))
	for i, c := range capsules {
		t.bytes(c.hash[:])
		t.point(&c.u)
		t.point(&points[i])
	}
	return t.sum256()
}

// weights derives n weights of 128 bits, four from one SHA-512: enough that a false batch passes with probability 2^-128.
func weights(seed [sha256.Size]byte, n int) []*scalar.Scalar {
	const perBlock = sha512.Size / weightBytes
	ws := make([]*scalar.Scalar, n)
	var block [sha512.Size]byte
	for i := range ws {
		if i%perBlock == 0 {
			t := newTranscript(sha512.New(), domainWeight)
			t.bytes(seed[:])
			t.u32(uint32(i / perBlock))
			t.h.Sum(block[:0])
		}
		var wide [64]byte
		copy(wide[:weightBytes], block[i%perBlock*weightBytes:])
		ws[i] = wideScalar(&wide)
	}
	return ws
}

func releaseChallenge(seed [sha256.Size]byte, a, b *curve.RistrettoPoint) *scalar.Scalar {
	t := newTranscript(sha512.New(), domainChallenge)
	t.bytes(seed[:])
	t.element(a)
	t.element(b)
	return t.toScalar()
}
