// Package wiretest holds structures that encode themselves (protocol.Canonical) to the general encoder: the same bytes, the same values,
// the same refusals.
package wiretest

import (
	"bytes"
	"math/rand"
	"reflect"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

const rounds = 500

// Agree checks a structure's own encoder and decoder with random values and spoiled bytes. An array of one is a type without methods, so
// that protocol.Encode and protocol.Decode treat its item by reflection.
func Agree[V any](t *testing.T, _ V) {
	t.Helper()
	var zero V
	if _, ok := any(&zero).(protocol.Canonical); !ok {
		t.Fatalf("%T has no encoder of its own", zero)
	}
	dice := rand.New(rand.NewSource(1))
	for range rounds {
		var v V
		fill(reflect.ValueOf(&v).Elem(), dice)
		general := protocol.Encode([1]V{v})[1:]
		if own := protocol.Encode(v); !bytes.Equal(own, general) {
			t.Fatalf("%+v is encoded as %x, not %x", v, own, general)
		}
		agree[V](t, general)
		spoiled := bytes.Clone(general)
		spoiled[dice.Intn(len(spoiled))] ^= byte(1 + dice.Intn(255))
		agree[V](t, spoiled)
		agree[V](t, general[:dice.Intn(len(general))])
		agree[V](t, append(bytes.Clone(general), 0))
	}
}

func agree[V any](t *testing.T, data []byte) {
	t.Helper()
	var own V
	var general [1]V
	ownErr := protocol.Decode(data, &own)
	err := protocol.Decode(append([]byte{0x81}, data...), &general)
	if (ownErr == nil) != (err == nil) {
		t.Fatalf("%x: own %v, general %v", data, ownErr, err)
	}
	if err == nil && !reflect.DeepEqual(own, general[0]) {
		t.Fatalf("%x reads as %+v, not %+v", data, own, general[0])
	}
}

// fill draws numbers of every length of encoding.
func fill(v reflect.Value, r *rand.Rand) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				fill(v.Field(i), r)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), r)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.Intn(30), 30))
		for i := range v.Len() {
			fill(v.Index(i), r)
		}
	case reflect.Bool:
		v.SetBool(r.Intn(2) == 0)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> (64 - v.Type().Bits()) >> r.Intn(v.Type().Bits()))
	}
}
