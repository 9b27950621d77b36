package protocol

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Structures are CBOR arrays of a fixed length (the field order is the specification), integers in their shortest form, lengths definite.
// RFC 8949 §4.2.1; there are no maps, floats, tags or text besides the few declared strings.
var (
	encoder = must(cbor.EncOptions{Sort: cbor.SortBytewiseLexical, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty}.EncMode())
	decoder = must(cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, MaxNestedLevels: 8, MaxArrayElements: 4096, MaxMapPairs: 16,
		UTF8: cbor.UTF8RejectInvalid}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Encode is the canonical encoding of one of this package's structures.
func Encode(v any) []byte {
	if b, ok := encodeFast(v); ok {
		return b
	}
	return encodeGeneral(v)
}

// AppendEncoding appends the canonical encoding to memory that is at hand.
func AppendEncoding(b []byte, v any) []byte {
	if a, ok := v.(Appender); ok {
		return a.AppendCanonical(b)
	}
	return append(b, encodeGeneral(v)...)
}

func encodeGeneral(v any) []byte {
	b, err := encoder.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("protocol: a structure that cannot be encoded: %v", err)) // a fault of the program, never of input
	}
	return b
}

// Decode reads a structure, and refuses bytes that are not its canonical encoding; errors wrap ErrEncoding. Comparing with the
// re-encoding is what makes it strict in every respect at once: short arrays, long integers, missing and surplus fields, trailing bytes.
func Decode(data []byte, into any) error {
	if decodeFast(data, into) {
		return nil
	}
	return decodeGeneral(data, into)
}

func decodeGeneral(data []byte, into any) error {
	if err := decoder.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	if !bytes.Equal(encodeGeneral(into), data) {
		return fmt.Errorf("%w: another form of the same content is the canonical one", ErrEncoding)
	}
	return nil
}
