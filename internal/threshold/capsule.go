package threshold

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// AlgorithmTDH2 is the first byte of a capsule: TDH2, ristretto255, SHA-512.
const AlgorithmTDH2 = 1

// Layout of a capsule. All of it but e and f goes into the challenge, and e and f follow from that.
const (
	capsuleTagBytes = 16 // zeros behind the secret, which tell a right key from a wrong one
	maskBytes       = SecretBytesMax + capsuleTagBytes
	offGeneration   = 1
	offLength       = offGeneration + 4
	offC            = offLength + 1
	offU            = offC + maskBytes
	offUbar         = offU + pointBytes
	offE            = offUbar + pointBytes
	offF            = offE + scalarBytes

	// CapsuleBytes is the size of every capsule.
	CapsuleBytes = offF + scalarBytes
)

// Capsule is a secret of up to SecretBytesMax bytes, sealed to the collective key of one generation and bound to a label.
// It is immutable. The zero value is not a capsule: use Seal or ParseCapsule.
type Capsule struct {
	raw     [CapsuleBytes]byte
	u, ubar point
	e, f    scalar.Scalar
	hash    [sha256.Size]byte
}

// VerifiedCapsule is a capsule whose proof held against a label. Only [Capsule.Verify] makes one, and [Release] takes
// nothing else: a share of an unverified capsule would hand an attacker a decryption oracle.
type VerifiedCapsule struct {
	capsule *Capsule
}

// Capsule returns the capsule that was verified.
func (v VerifiedCapsule) Capsule() *Capsule { return v.capsule }

// Seal encrypts a secret of 1..SecretBytesMax bytes to the collective key, bound to label (1..LabelBytesMax bytes).
// The label itself is not stored in the capsule and need not be secret.
func Seal(rand io.Reader, pk *PublicKey, secret, label []byte) (*Capsule, error) {
	if pk == nil || !pk.y.valid() {
		return nil, fmt.Errorf("%w: no public key", ErrPoint)
	}
	if len(secret) < 1 || len(secret) > SecretBytesMax {
		return nil, fmt.Errorf("%w: secret of %d bytes", ErrLimit, len(secret))
	}
	if err := checkLabel(label); err != nil {
		return nil, err
	}
	r, err := randomScalar(rand)
	if err != nil {
		return nil, err
	}
	defer r.Zero()
	s, err := randomScalar(rand)
	if err != nil {
		return nil, err
	}
	defer s.Zero()

	var c Capsule
	c.u = newPoint(mulG(r))
	c.ubar = newPoint(mulGbar(r))
	c.raw[0] = AlgorithmTDH2
	binary.BigEndian.PutUint32(c.raw[offGeneration:], pk.generation)
	c.raw[offLength] = byte(len(secret))
	mask := capsuleMask(pk.generation, &c.u, pk.mul(r))
	defer clear(mask[:])
	masked := c.raw[offC:offU]
	copy(masked, secret)
	subtle.XORBytes(masked, masked, mask[:])
	copy(c.raw[offU:], c.u.raw[:])
	copy(c.raw[offUbar:], c.ubar.raw[:])
	c.e.Set(c.challenge(label, mulG(s), mulGbar(s)))
	c.f.Add(s, c.f.Mul(r, &c.e))
	appendScalar(c.raw[:offE], &c.e)
	appendScalar(c.raw[:offF], &c.f)
	c.hash = hashCapsule(&c.raw)
	return &c, nil
}

// ParseCapsule decodes CapsuleBytes bytes strictly: known algorithm, possible length, canonical points that are not the
// identity, canonical scalars. It does not say that the capsule's proof holds: that is Verify.
func ParseCapsule(b []byte) (*Capsule, error) {
	if len(b) != CapsuleBytes {
		return nil, fmt.Errorf("%w: capsule of %d bytes", ErrEncoding, len(b))
	}
	if b[0] != AlgorithmTDH2 {
		return nil, fmt.Errorf("%w: capsule algorithm %d", ErrEncoding, b[0])
	}
	if n := b[offLength]; n < 1 || n > SecretBytesMax {
		return nil, fmt.Errorf("%w: capsule for a secret of %d bytes", ErrEncoding, n)
	}
	var c Capsule
	var err error
	copy(c.raw[:], b)
	if c.u, err = parsePoint(b[offU:offUbar]); err != nil {
		return nil, err
	}
	if c.ubar, err = parsePoint(b[offUbar:offE]); err != nil {
		return nil, err
	}
	if _, err = c.e.SetCanonicalBytes(b[offE:offF]); err != nil {
		return nil, fmt.Errorf("%w: challenge of capsule", ErrScalar)
	}
	if _, err = c.f.SetCanonicalBytes(b[offF:]); err != nil {
		return nil, fmt.Errorf("%w: response of capsule", ErrScalar)
	}
	c.hash = hashCapsule(&c.raw)
	return &c, nil
}

// Bytes returns the canonical encoding, CapsuleBytes long.
func (c *Capsule) Bytes() []byte { return append([]byte(nil), c.raw[:]...) }

// Generation is the key generation the capsule was sealed to.
func (c *Capsule) Generation() uint32 { return binary.BigEndian.Uint32(c.raw[offGeneration:]) }

// Hash names the capsule: SHA-256 over a domain string and the encoding. Entries and proofs use it.
func (c *Capsule) Hash() [sha256.Size]byte { return c.hash }

// Verify checks the capsule's proof against a label: that its maker knew the secret, and that neither was changed since.
// The error wraps ErrCapsule when the proof does not hold.
func (c *Capsule) Verify(label []byte) (VerifiedCapsule, error) {
	if c == nil || !c.u.valid() {
		return VerifiedCapsule{}, fmt.Errorf("%w: empty capsule", ErrCapsule)
	}
	if err := checkLabel(label); err != nil {
		return VerifiedCapsule{}, err
	}
	var minusE scalar.Scalar
	minusE.Neg(&c.e)
	w := mulAddG(&minusE, &c.u.p, &c.f)
	wbar := new(curve.RistrettoPoint).ExpandedMultiscalarMulVartime(
		[]*scalar.Scalar{&c.f}, []*curve.ExpandedRistrettoPoint{gbarExpanded},
		[]*scalar.Scalar{&minusE}, []*curve.RistrettoPoint{&c.ubar.p})
	if c.challenge(label, w, wbar).Equal(&c.e) != 1 {
		return VerifiedCapsule{}, ErrCapsule
	}
	return VerifiedCapsule{c}, nil
}

// VerifyCapsule is Capsule.Verify for those who release nothing, such as a vault at upload.
func VerifyCapsule(c *Capsule, label []byte) error {
	_, err := c.Verify(label)
	return err
}

// open takes the mask off, given the collective product y^r. It reports false when the product was wrong.
func (c *Capsule) open(yr *curve.RistrettoPoint) ([]byte, bool) {
	plain := capsuleMask(c.Generation(), &c.u, yr)
	subtle.XORBytes(plain[:], plain[:], c.raw[offC:offU])
	n := int(c.raw[offLength])
	var zeros [maskBytes]byte
	if subtle.ConstantTimeCompare(plain[n:], zeros[n:]) != 1 {
		clear(plain[:])
		return nil, false
	}
	secret := append([]byte(nil), plain[:n]...)
	clear(plain[:])
	return secret, true
}

// challenge is TDH2's H2: header, masked secret, label, u, w, ubar, wbar.
func (c *Capsule) challenge(label []byte, w, wbar *curve.RistrettoPoint) *scalar.Scalar {
	t := newTranscript(sha512.New(), domainCapsule)
	t.bytes(c.raw[:offU])
	t.bytes(label)
	t.point(&c.u)
	t.element(w)
	t.point(&c.ubar)
	t.element(wbar)
	return t.toScalar()
}

// capsuleMask is TDH2's H1: the pad for secret and tag, from generation, u and y^r.
func capsuleMask(generation uint32, u *point, yr *curve.RistrettoPoint) [maskBytes]byte {
	t := newTranscript(sha512.New(), domainMask)
	t.u32(generation)
	t.point(u)
	t.element(yr)
	var wide [sha512.Size]byte
	t.h.Sum(wide[:0])
	defer clear(wide[:])
	return [maskBytes]byte(wide[:maskBytes])
}

func hashCapsule(raw *[CapsuleBytes]byte) [sha256.Size]byte {
	t := newTranscript(sha256.New(), domainHash)
	t.bytes(raw[:])
	return t.sum256()
}

func mulGbar(s *scalar.Scalar) *curve.RistrettoPoint {
	return new(curve.RistrettoPoint).MulBasepoint(gbarTable, s)
}

func checkLabel(label []byte) error {
	if len(label) < 1 || len(label) > LabelBytesMax {
		return fmt.Errorf("%w: label of %d bytes", ErrLimit, len(label))
	}
	return nil
}
