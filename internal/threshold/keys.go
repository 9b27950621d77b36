package threshold

import (
	"encoding/binary"
	"fmt"
)

const keysVersion = 1

// Keys is everything public about the collective key in one epoch: what the ledger stores, what readers and wallets check
// against. Verification[i] belongs to custodian i+1.
type Keys struct {
	Generation   uint32
	Epoch        uint32
	N            int // custodians
	T            int // Threshold(N)
	Public       PublicKey
	Verification []VerificationKey
}

// Key returns the verification key of a custodian.
func (k *Keys) Key(index int) (VerificationKey, error) {
	if index < 1 || index > len(k.Verification) {
		return VerificationKey{}, fmt.Errorf("%w: index %d of %d custodians", ErrLimit, index, len(k.Verification))
	}
	return k.Verification[index-1], nil
}

// Bytes encodes the keys: version, generation u32, epoch u32, n u16, the public point, n verification points.
func (k *Keys) Bytes() []byte {
	b := make([]byte, 0, 1+4+4+2+pointBytes*(1+len(k.Verification)))
	b = append(b, keysVersion)
	b = appendPlace(b, k.Generation, k.Epoch, k.N)
	b = append(b, k.Public.y.raw[:]...)
	for i := range k.Verification {
		b = append(b, k.Verification[i].v.raw[:]...)
	}
	return b
}

// ParseKeys decodes what Keys.Bytes wrote. It checks form, not that the keys belong together: take them from a proven
// state.
func ParseKeys(b []byte) (*Keys, error) {
	const head = 1 + 4 + 4 + 2
	if len(b) < head+pointBytes || b[0] != keysVersion {
		return nil, fmt.Errorf("%w: keys", ErrEncoding)
	}
	generation, epoch, n := parsePlace(b[1:])
	k := &Keys{Generation: generation, Epoch: epoch, N: n, T: Threshold(n)}
	if k.T == 0 || len(b) != head+pointBytes*(1+n) {
		return nil, fmt.Errorf("%w: keys of %d custodians in %d bytes", ErrEncoding, n, len(b))
	}
	y, err := parsePoint(b[head : head+pointBytes])
	if err != nil {
		return nil, err
	}
	k.Public = PublicKey{generation: generation, y: y}
	k.Verification = make([]VerificationKey, n)
	for i := range k.Verification {
		at := head + pointBytes*(1+i)
		v, err := parsePoint(b[at : at+pointBytes])
		if err != nil {
			return nil, fmt.Errorf("verification key %d: %w", i+1, err)
		}
		k.Verification[i] = VerificationKey{Generation: generation, Epoch: epoch, Index: i + 1, v: v}
	}
	return k, nil
}

// validate checks that the parts say the same; Params.Previous comes from callers.
func (k *Keys) validate() error {
	if k.T == 0 || k.T != Threshold(k.N) || len(k.Verification) != k.N {
		return fmt.Errorf("%w: %d keys for %d custodians, threshold %d", ErrMismatch, len(k.Verification), k.N, k.T)
	}
	if k.Public.generation != k.Generation || !k.Public.y.valid() {
		return fmt.Errorf("%w: public key of generation %d", ErrMismatch, k.Public.generation)
	}
	for i, v := range k.Verification {
		if v.Generation != k.Generation || v.Epoch != k.Epoch || v.Index != i+1 || !v.v.valid() {
			return fmt.Errorf("%w: verification key %d", ErrMismatch, i+1)
		}
	}
	return nil
}

func appendU16(b []byte, n int) []byte { return binary.BigEndian.AppendUint16(b, uint16(n)) }

func parseU16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }
