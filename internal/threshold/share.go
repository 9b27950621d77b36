package threshold

import (
	"encoding/binary"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// Share is one custodian's share of the collective key of a generation in one epoch. It is a secret: it prints as its
// name only, and Bytes is meant for encrypted storage. The zero value is not a share.
type Share struct {
	Generation uint32
	Epoch      uint32
	Index      int // 1..CustodiansMax
	x          hidden[scalar.Scalar]
	vk         point // g^x
}

const (
	shareVersion = 1

	// ShareBytes is the size of an encoded share.
	ShareBytes = 1 + 4 + 4 + 2 + scalarBytes

	// VerificationKeyBytes is the size of an encoded verification key.
	VerificationKeyBytes = 4 + 4 + 2 + pointBytes

	// PublicKeyBytes is the size of an encoded public key.
	PublicKeyBytes = 4 + pointBytes
)

func newShare(generation, epoch uint32, index int, x *scalar.Scalar) (*Share, error) {
	if err := checkIndex(index); err != nil {
		return nil, err
	}
	if isZero(x) {
		return nil, fmt.Errorf("%w: zero share", ErrScalar)
	}
	s := &Share{Generation: generation, Epoch: epoch, Index: index}
	s.x = hide(new(scalar.Scalar).Set(x))
	s.vk = newPoint(mulG(x))
	return s, nil
}

// Bytes encodes the share, secret included: version, generation u32, epoch u32, index u16, scalar. Encrypt it.
// The zero share has no encoding.
func (s *Share) Bytes() []byte {
	if s.x.get() == nil {
		return nil
	}
	b := make([]byte, 0, ShareBytes)
	b = append(b, shareVersion)
	b = appendPlace(b, s.Generation, s.Epoch, s.Index)
	return appendScalar(b, s.x.get())
}

// ParseShare decodes what Share.Bytes wrote.
func ParseShare(b []byte) (*Share, error) {
	if len(b) != ShareBytes || b[0] != shareVersion {
		return nil, fmt.Errorf("%w: share", ErrEncoding)
	}
	generation, epoch, index := parsePlace(b[1:])
	x, err := parseScalar(b[ShareBytes-scalarBytes:])
	if err != nil {
		return nil, err
	}
	defer x.Zero()
	return newShare(generation, epoch, index, x)
}

// VerificationKey is the public counterpart of the share.
func (s *Share) VerificationKey() VerificationKey {
	return VerificationKey{Generation: s.Generation, Epoch: s.Epoch, Index: s.Index, v: s.vk}
}

// Wipe overwrites the secret, best effort (see the package comment). The share is unusable afterwards.
func (s *Share) Wipe() {
	if x := s.x.get(); x != nil {
		x.Zero()
	}
	s.vk = point{}
}

// Format keeps the secret out of every fmt verb.
func (s Share) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "share %d of generation %d, epoch %d", s.Index, s.Generation, s.Epoch)
}

// VerificationKey is g^x of one custodian's share x: what its proofs are checked against.
type VerificationKey struct {
	Generation uint32
	Epoch      uint32
	Index      int
	v          point
}

// Bytes encodes the key: generation u32, epoch u32, index u16, point.
func (k VerificationKey) Bytes() []byte {
	b := make([]byte, 0, VerificationKeyBytes)
	b = appendPlace(b, k.Generation, k.Epoch, k.Index)
	return append(b, k.v.raw[:]...)
}

// Equal says whether two keys are the same key of the same custodian, epoch and generation.
func (k VerificationKey) Equal(o VerificationKey) bool {
	return k.Generation == o.Generation && k.Epoch == o.Epoch && k.Index == o.Index && k.v.raw == o.v.raw
}

// ParseVerificationKey decodes what VerificationKey.Bytes wrote.
func ParseVerificationKey(b []byte) (VerificationKey, error) {
	if len(b) != VerificationKeyBytes {
		return VerificationKey{}, fmt.Errorf("%w: verification key of %d bytes", ErrEncoding, len(b))
	}
	var k VerificationKey
	k.Generation, k.Epoch, k.Index = parsePlace(b)
	if err := checkIndex(k.Index); err != nil {
		return VerificationKey{}, err
	}
	v, err := parsePoint(b[VerificationKeyBytes-pointBytes:])
	if err != nil {
		return VerificationKey{}, err
	}
	k.v = v
	return k, nil
}

// PublicKey is the collective key of a generation: capsules are sealed to it. It outlives epochs.
type PublicKey struct {
	generation uint32
	y          point
	table      *curve.RistrettoBasepointTable // nil until Precompute
}

// Generation is the key generation.
func (k *PublicKey) Generation() uint32 { return k.generation }

// Bytes encodes the key: generation u32, point.
func (k *PublicKey) Bytes() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, PublicKeyBytes), k.generation)
	return append(b, k.y.raw[:]...)
}

// ParsePublicKey decodes what PublicKey.Bytes wrote.
func ParsePublicKey(b []byte) (*PublicKey, error) {
	if len(b) != PublicKeyBytes {
		return nil, fmt.Errorf("%w: public key of %d bytes", ErrEncoding, len(b))
	}
	y, err := parsePoint(b[4:])
	if err != nil {
		return nil, err
	}
	return &PublicKey{generation: binary.BigEndian.Uint32(b), y: y}, nil
}

// Precompute builds a table (about 30 kB) that makes Seal faster, for those who seal many capsules. Call it before
// sharing the key between goroutines.
func (k *PublicKey) Precompute() { k.table = curve.NewRistrettoBasepointTable(&k.y.p) }

// mul is the constant-time product of the key with a secret scalar.
func (k *PublicKey) mul(r *scalar.Scalar) *curve.RistrettoPoint {
	if k.table != nil {
		return new(curve.RistrettoPoint).MulBasepoint(k.table, r)
	}
	return new(curve.RistrettoPoint).Mul(&k.y.p, r)
}

func checkIndex(index int) error {
	if index < 1 || index > CustodiansMax {
		return fmt.Errorf("%w: index %d", ErrLimit, index)
	}
	return nil
}

func appendPlace(b []byte, generation, epoch uint32, index int) []byte {
	b = binary.BigEndian.AppendUint32(b, generation)
	b = binary.BigEndian.AppendUint32(b, epoch)
	return binary.BigEndian.AppendUint16(b, uint16(index))
}

func parsePlace(b []byte) (generation, epoch uint32, index int) {
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), int(binary.BigEndian.Uint16(b[8:]))
}
