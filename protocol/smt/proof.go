package smt

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of proofs. ErrMalformed: the bytes are no canonical proof. ErrMismatch: the proof is well-formed and does not show
// what was asked under that root. Both are final: asking again with the same bytes gives the same answer.
var (
	ErrMalformed = errors.New("smt: malformed proof")
	ErrMismatch  = errors.New("smt: proof does not hold")
)

// Kind says what stands at the end of a proof's path.
type Kind byte

// The kinds of proof.
const (
	Present   Kind = 1 // the key's own leaf: the key has a value
	EmptySlot Kind = 2 // nothing: the key is absent
	OtherLeaf Kind = 3 // the leaf of another key, alone where this key's leaf would stand: the key is absent
)

// Proof shows that a key has a value, or none, under a root.
type Proof struct {
	Kind  Kind
	Other Leaf // of OtherLeaf alone; else zero
	// Siblings are the hashes beside the path, from the root down: Siblings[i] hangs at depth i+1. Empty ones are kept here
	// and left out of the encoding. At most DepthBitsMax; the last one is never Empty, else the leaf would stand higher.
	Siblings []Hash
}

// Verify returns nil if p shows that the map with this root gives key exactly this value; else ErrMalformed or ErrMismatch.
func (p Proof) Verify(root Hash, key, value []byte) error {
	if err := p.check(); err != nil {
		return err
	}
	if p.Kind != Present {
		return fmt.Errorf("%w: it shows absence", ErrMismatch)
	}
	path := Path(key)
	return p.climb(root, &path, Leaf{path, Value(value)}.Hash())
}

// VerifyAbsent returns nil if p shows that the map with this root has no value for key; else ErrMalformed or ErrMismatch.
func (p Proof) VerifyAbsent(root Hash, key []byte) error {
	if err := p.check(); err != nil {
		return err
	}
	path := Path(key)
	switch p.Kind {
	case EmptySlot:
		return p.climb(root, &path, Empty)
	case OtherLeaf:
		if p.Other.Path == path {
			return fmt.Errorf("%w: the leaf shown is the key's own", ErrMismatch)
		}
		for i := range p.Siblings {
			if Bit(&p.Other.Path, i) != Bit(&path, i) {
				return fmt.Errorf("%w: the leaf shown is not in the key's place", ErrMismatch)
			}
		}
		return p.climb(root, &path, p.Other.Hash())
	}
	return fmt.Errorf("%w: it shows presence", ErrMismatch)
}

// climb hashes from the bottom of the proof up to the root.
func (p Proof) climb(root Hash, path *Hash, node Hash) error {
	for i := len(p.Siblings) - 1; i >= 0; i-- {
		if Bit(path, i) == 0 {
			node = Inner(&node, &p.Siblings[i])
		} else {
			node = Inner(&p.Siblings[i], &node)
		}
	}
	if node != root {
		return fmt.Errorf("%w: wrong root", ErrMismatch)
	}
	return nil
}

// check holds a proof to its canonical form, so that one fact under one root has one proof.
func (p Proof) check() error {
	depth := len(p.Siblings)
	switch {
	case p.Kind != Present && p.Kind != EmptySlot && p.Kind != OtherLeaf:
		return fmt.Errorf("%w: kind %d", ErrMalformed, p.Kind)
	case p.Kind != OtherLeaf && p.Other != Leaf{}:
		return fmt.Errorf("%w: a leaf that its kind has no use for", ErrMalformed)
	case depth > DepthBitsMax:
		return fmt.Errorf("%w: depth %d", ErrMalformed, depth)
	case depth > 0 && p.Siblings[depth-1] == Empty:
		return fmt.Errorf("%w: deepest sibling empty", ErrMalformed)
	}
	return nil
}

// AppendBinary appends the canonical encoding to b:
//
//	kind u8 ‖ depth u16 BE ‖ [other path 32 ‖ other value hash 32] ‖ bitmap ⌈depth/8⌉ ‖ siblings 32 each
//
// Bit i of the bitmap (most significant first) is set if the sibling at depth i+1 is not Empty; only those are listed, from
// the root down; unused bits are zero. It returns ErrMalformed for a Proof not in canonical form.
func (p Proof) AppendBinary(b []byte) ([]byte, error) {
	if err := p.check(); err != nil {
		return b, err
	}
	b = append(b, byte(p.Kind))
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Siblings)))
	if p.Kind == OtherLeaf {
		b = append(append(b, p.Other.Path[:]...), p.Other.Value[:]...)
	}
	at := len(b)
	b = append(b, make([]byte, (len(p.Siblings)+7)/8)...)
	for i := range p.Siblings {
		if p.Siblings[i] != Empty {
			b[at+i>>3] |= 0x80 >> (i & 7)
			b = append(b, p.Siblings[i][:]...)
		}
	}
	return b, nil
}

// MarshalBinary is AppendBinary to a new slice of at most ProofBytesMax bytes.
func (p Proof) MarshalBinary() ([]byte, error) { return p.AppendBinary(nil) }

// UnmarshalBinary is ParseProof into p.
func (p *Proof) UnmarshalBinary(b []byte) (err error) {
	*p, err = ParseProof(b)
	return err
}

// ParseProof reads exactly one proof. Anything but the canonical encoding (trailing bytes, stray bits, an Empty sibling
// written out) is ErrMalformed. The result does not refer to b.
func ParseProof(b []byte) (Proof, error) {
	if len(b) < 3 || len(b) > ProofBytesMax {
		return Proof{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	p := Proof{Kind: Kind(b[0])}
	depth := int(binary.BigEndian.Uint16(b[1:]))
	b = b[3:]
	if depth > DepthBitsMax {
		return Proof{}, fmt.Errorf("%w: depth %d", ErrMalformed, depth)
	}
	if p.Kind == OtherLeaf {
		if len(b) < 64 {
			return Proof{}, fmt.Errorf("%w: cut short", ErrMalformed)
		}
		copy(p.Other.Path[:], b)
		copy(p.Other.Value[:], b[32:])
		b = b[64:]
	}
	siblings, err := parseSiblings(b, depth)
	if err != nil {
		return Proof{}, err
	}
	p.Siblings = siblings
	if err := p.check(); err != nil {
		return Proof{}, err
	}
	return p, nil
}

// parseSiblings reads the bitmap and the hashes it announces; they must fill b exactly.
func parseSiblings(b []byte, depth int) ([]Hash, error) {
	n := (depth + 7) / 8
	if len(b) < n {
		return nil, fmt.Errorf("%w: cut short", ErrMalformed)
	}
	bitmap, b := b[:n], b[n:]
	if depth&7 != 0 && bitmap[n-1]<<(depth&7) != 0 {
		return nil, fmt.Errorf("%w: stray bits", ErrMalformed)
	}
	if depth == 0 {
		if len(b) != 0 {
			return nil, fmt.Errorf("%w: trailing bytes", ErrMalformed)
		}
		return nil, nil
	}
	siblings := make([]Hash, depth)
	for i := range siblings {
		if bitmap[i>>3]&(0x80>>(i&7)) == 0 {
			continue
		}
		if len(b) < 32 {
			return nil, fmt.Errorf("%w: cut short", ErrMalformed)
		}
		copy(siblings[i][:], b)
		b = b[32:]
		if siblings[i] == Empty {
			return nil, fmt.Errorf("%w: empty sibling written out", ErrMalformed)
		}
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%w: trailing bytes", ErrMalformed)
	}
	return siblings, nil
}
