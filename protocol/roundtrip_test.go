package protocol

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// fillDrawn gives every field of a structure a random value of its type, by reflection, so that no new field is forgotten.
func fillDrawn(t *rapid.T, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Name != "_" {
				fillDrawn(t, v.Field(i), path+"."+f.Name)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(rapid.Byte().Draw(t, path)))
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 5).Draw(t, path+" length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fillDrawn(t, v.Index(i), path)
		}
	case reflect.String:
		v.SetString(rapid.StringN(0, 20, 40).Draw(t, path))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, path))
	default:
		v.SetUint(rapid.Uint64().Draw(t, path) & (1<<v.Type().Bits() - 1))
	}
}

// every type number that can be signed.
func signable() (out []ActionType) {
	for n := range ActionType(1000) {
		if newAction(n) != nil {
			out = append(out, n)
		}
	}
	return out
}

func TestEveryActionHasANameAndItsOwnNumber(t *testing.T) {
	if len(signable()) != 34 {
		t.Fatal("a new action? give it a place in the generators of internal/sim and in docs/spec/protocol.md, then count it here:", len(signable()))
	}
	for _, n := range signable() {
		if a := newAction(n); a.ActionType() != n || typeNames[n] == "" {
			t.Errorf("%d: %s", n, a.ActionType())
		}
	}
}

// What is encoded decodes to the same, and encodes to the same bytes; changing any byte gives another value or no value.
func TestActionsRoundTrip(t *testing.T) {
	for _, n := range signable() {
		t.Run(n.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				a, back := newAction(n), newAction(n)
				fillDrawn(t, reflect.ValueOf(a).Elem(), n.String())
				data := Encode(a)
				if err := Decode(data, back); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(a, back) {
					t.Fatalf("%+v\n%+v", a, back)
				}
				i := rapid.IntRange(0, len(data)-1).Draw(t, "byte")
				data[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				if err := Decode(data, back); err == nil && reflect.DeepEqual(a, back) {
					t.Fatal("two encodings of one value")
				}
			})
		})
	}
}

func FuzzDecodeParcel(f *testing.F) {
	f.Add(EncodeParcel([][]byte{{1}, {2, 3}}))
	f.Add(EncodeParcel([][]byte{bytes.Repeat([]byte{7}, 300)}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		envelopes, err := DecodeParcel(raw)
		if err == nil && !bytes.Equal(EncodeParcel(envelopes), raw) {
			t.Fatal("accepted, and not canonical")
		}
	})
}
