package threshold

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

const (
	pointBytes  = curve.CompressedPointSize
	scalarBytes = scalar.ScalarSize

	domainGbar      = "anamnesis/threshold/v1/gbar"
	domainMask      = "anamnesis/threshold/v1/capsule-mask"
	domainCapsule   = "anamnesis/threshold/v1/capsule-challenge"
	domainHash      = "anamnesis/threshold/v1/capsule-hash"
	domainRelease   = "anamnesis/threshold/v1/release"
	domainWeight    = "anamnesis/threshold/v1/release-weights"
	domainChallenge = "anamnesis/threshold/v1/release-challenge"
	domainNonce     = "anamnesis/threshold/v1/nonce"
	domainParams    = "anamnesis/threshold/v1/keygen-params"
	domainDeal      = "anamnesis/threshold/v1/keygen-deal"
	domainKnows     = "anamnesis/threshold/v1/keygen-knowledge"
	domainShareInfo = "anamnesis/threshold/v1/keygen-share"
	domainSealed    = "anamnesis/threshold/v1/keygen-ciphertext"
)

// gbar is TDH2's second generator: a hash, so that nobody knows its logarithm to the base g. Fixed for all keys.
var (
	gbarPoint    = hashToPoint(domainGbar)
	gbarTable    = curve.NewRistrettoBasepointTable(gbarPoint)
	gbarExpanded = curve.NewExpandedRistrettoPoint(gbarPoint)
)

// hashToPoint is the one-way map of RFC 9496 section 4.3.4 applied to SHA-512 of the domain string.
func hashToPoint(domain string) *curve.RistrettoPoint {
	digest := sha512.Sum512([]byte(domain))
	p, err := new(curve.RistrettoPoint).SetUniformBytes(digest[:])
	if err != nil {
		panic("threshold: broken invariant: SHA-512 has 64 bytes: " + err.Error())
	}
	return p
}

// point is a group element together with its canonical encoding, so that neither is computed twice.
type point struct {
	p   curve.RistrettoPoint
	raw curve.CompressedRistretto
}

// parsePoint decodes strictly: 32 bytes, canonical, not the identity.
func parsePoint(b []byte) (point, error) {
	var pt point
	if len(b) != pointBytes {
		return pt, fmt.Errorf("%w: %d bytes", ErrPoint, len(b))
	}
	copy(pt.raw[:], b)
	if pt.raw == (curve.CompressedRistretto{}) {
		return pt, fmt.Errorf("%w: identity", ErrPoint)
	}
	if _, err := pt.p.SetCompressed(&pt.raw); err != nil {
		return pt, fmt.Errorf("%w: not canonical", ErrPoint)
	}
	return pt, nil
}

func newPoint(p *curve.RistrettoPoint) point {
	pt := point{p: *p}
	pt.raw.SetRistrettoPoint(p)
	return pt
}

func (pt *point) valid() bool { return pt.raw != (curve.CompressedRistretto{}) }

// mulG is the constant-time product of the base point with a (possibly secret) scalar.
func mulG(s *scalar.Scalar) *curve.RistrettoPoint {
	return new(curve.RistrettoPoint).MulBasepoint(curve.RISTRETTO_BASEPOINT_TABLE, s)
}

// mulAddG returns a·p + b·g in variable time: public values only.
func mulAddG(a *scalar.Scalar, p *curve.RistrettoPoint, b *scalar.Scalar) *curve.RistrettoPoint {
	return new(curve.RistrettoPoint).DoubleScalarMulBasepointVartime(a, p, b)
}

// parseScalar decodes strictly: 32 bytes, little-endian, below the group order. Zero is allowed.
func parseScalar(b []byte) (*scalar.Scalar, error) {
	s, err := scalar.NewFromCanonicalBytes(b)
	if err != nil {
		return nil, fmt.Errorf("%w: not canonical", ErrScalar)
	}
	return s, nil
}

func appendScalar(b []byte, s *scalar.Scalar) []byte {
	var raw [scalarBytes]byte
	if err := s.ToBytes(raw[:]); err != nil {
		panic("threshold: broken invariant: a scalar has 32 bytes: " + err.Error())
	}
	return append(b, raw[:]...)
}

func isZero(s *scalar.Scalar) bool { return s.Equal(new(scalar.Scalar)) == 1 }

// randomScalar draws a uniform non-zero scalar: 64 bytes reduced. Zero means a broken source.
func randomScalar(rand io.Reader) (*scalar.Scalar, error) {
	if rand == nil {
		return nil, fmt.Errorf("%w: none given", ErrRandomness)
	}
	var wide [scalar.ScalarWideSize]byte
	if _, err := io.ReadFull(rand, wide[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRandomness, err)
	}
	defer clear(wide[:])
	s := wideScalar(&wide)
	if isZero(s) {
		return nil, fmt.Errorf("%w: gave zero", ErrRandomness)
	}
	return s, nil
}

func wideScalar(wide *[64]byte) *scalar.Scalar {
	s, err := scalar.NewFromBytesModOrderWide(wide[:])
	if err != nil {
		panic("threshold: broken invariant: a wide scalar has 64 bytes: " + err.Error())
	}
	return s
}

// nonceScalar draws the nonce of a proof from the reader hedged with the secret and what is proven, so that a weak or
// repeating reader does not give the secret away.
func nonceScalar(rand io.Reader, secret *scalar.Scalar, proven []byte) (*scalar.Scalar, error) {
	fresh, err := randomScalar(rand)
	if err != nil {
		return nil, err
	}
	t := newTranscript(sha512.New(), domainNonce)
	t.scalar(fresh)
	t.scalar(secret)
	t.bytes(proven)
	return t.toScalar(), nil
}

// transcript hashes a sequence of fields, each preceded by its length (u32, big-endian), so that no two sequences of
// fields give the same bytes. The first field is the domain string.
type transcript struct {
	h hash.Hash
}

func newTranscript(h hash.Hash, domain string) transcript {
	t := transcript{h}
	t.bytes([]byte(domain))
	return t
}

func (t transcript) bytes(b []byte) {
	t.u32(uint32(len(b)))
	t.h.Write(b)
}

func (t transcript) u32(n uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	t.h.Write(b[:])
}

func (t transcript) point(p *point) { t.bytes(p.raw[:]) }

func (t transcript) element(p *curve.RistrettoPoint) {
	var raw curve.CompressedRistretto
	raw.SetRistrettoPoint(p)
	t.bytes(raw[:])
}

func (t transcript) scalar(s *scalar.Scalar) {
	var raw [scalarBytes]byte
	t.bytes(appendScalar(raw[:0], s))
	clear(raw[:])
}

// sum256 ends a transcript over SHA-256.
func (t transcript) sum256() (out [sha256.Size]byte) {
	t.h.Sum(out[:0])
	return out
}

// toScalar ends a transcript over SHA-512: 64 bytes reduced.
func (t transcript) toScalar() *scalar.Scalar {
	var wide [sha512.Size]byte
	t.h.Sum(wide[:0])
	defer clear(wide[:])
	return wideScalar(&wide)
}
