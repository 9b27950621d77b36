package protocol

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	mrand "math/rand"

	"pgregory.net/rapid"
)

// ownCodecs are the structures that encode and decode themselves.
var ownCodecs = []any{Signer{}, Body{}, AddRecord{}, Entry{}, Head{}, Result{}, Member{}, MemberRow{}, PractitionerRow{}, []Result{}}

// items are encoded items of the kinds that stand inside others: some that the fast reader takes, some that it leaves to the general one.
var items = [][]byte{{0x80}, {0x00}, {0x18, 0x20}, {0x41, 0xff}, {0xf5}, {0x82, 0x01, 0x40}, {0x81, 0x81, 0x81, 0x80}, {0x63, 'a', 'b', 'c'}, {0xa0}, {0xf6}}

// made is a random value of the type; what must hold for it to be encodable at all is put right.
func made(t reflect.Type, r *mrand.Rand) reflect.Value {
	p := reflect.New(t)
	fill(p.Elem(), r)
	repair(p.Interface(), r)
	return p
}

// fill draws numbers of every length of encoding.
func fill(v reflect.Value, r *mrand.Rand) {
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

func repair(v any, r *mrand.Rand) {
	item := func() []byte { return items[r.Intn(len(items))] }
	switch v := v.(type) {
	case *Body:
		v.Chain = "network"
		v.Actions = v.Actions[:min(len(v.Actions), EnvelopeActionsMax)]
		for i := range v.Actions {
			v.Actions[i].Body = item()
		}
	case *Entry:
		v.Action, v.Outcome = item(), item()
	case *Member:
		v.Name = "Näme"
	case *MemberRow:
		v.Member.Name = "Näme"
	}
}

func fast(data []byte, t reflect.Type) (any, bool) {
	p := reflect.New(t)
	ok := decodeFast(data, p.Interface())
	return p.Interface(), ok
}

// agree checks that what the fast decoder takes, the general one takes too, and reads the same.
func agree(t interface{ Fatalf(string, ...any) }, data []byte, of reflect.Type) (taken bool) {
	got, ok := fast(data, of)
	if !ok {
		return false
	}
	want := reflect.New(of)
	if err := decodeGeneral(data, want.Interface()); err != nil {
		t.Fatalf("%s: only the fast decoder takes %x: %v", of, data, err)
	}
	if !reflect.DeepEqual(got, want.Interface()) {
		t.Fatalf("%s: %x reads as %+v and %+v", of, data, got, want.Interface())
	}
	return true
}

func TestOwnCodecsAgreeWithTheGeneralOne(t *testing.T) {
	for _, sample := range ownCodecs {
		of := reflect.TypeOf(sample)
		t.Run(of.String(), func(t *testing.T) {
			taken := 0
			rapid.Check(t, func(t *rapid.T) {
				r := mrand.New(mrand.NewSource(rapid.Int64().Draw(t, "seed")))
				v := made(of, r)
				data := encodeGeneral(v.Interface())
				for _, form := range []any{v.Interface(), v.Elem().Interface()} {
					if own, ok := encodeFast(form); ok && !bytes.Equal(own, data) {
						t.Fatalf("encoded as %x, not %x", own, data)
					}
				}
				if agree(t, data, of) {
					taken++
				}
				agree(t, spoiled(t, data), of)
			})
			if taken == 0 {
				t.Fatal("the fast decoder took nothing")
			}
		})
	}
}

// spoiled is data with a byte changed, put in or taken out, or cut short.
func spoiled(t *rapid.T, data []byte) []byte {
	out := bytes.Clone(data)
	if len(out) == 0 {
		return out
	}
	i := rapid.IntRange(0, len(out)-1).Draw(t, "at")
	switch rapid.IntRange(0, 3).Draw(t, "how") {
	case 0:
		out[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
	case 1:
		out = append(out[:i], out[i+1:]...)
	case 2:
		out = append(out[:i], append([]byte{rapid.Byte().Draw(t, "new")}, out[i:]...)...)
	default:
		out = out[:i]
	}
	return out
}

// Every byte of a small structure takes every value: the fast decoder must not take anything that the general one refuses.
func TestOwnCodecsTakeNothingElse(t *testing.T) {
	r := mrand.New(mrand.NewSource(1))
	for _, sample := range ownCodecs {
		of := reflect.TypeOf(sample)
		data := encodeGeneral(made(of, r).Interface())
		for i := range data {
			was := data[i]
			for c := range 256 {
				data[i] = byte(c)
				agree(t, data, of)
			}
			data[i] = was
		}
	}
}

func FuzzOwnCodecs(f *testing.F) {
	r := mrand.New(mrand.NewSource(2))
	for i, sample := range ownCodecs {
		for range 3 {
			f.Add(byte(i), encodeGeneral(made(reflect.TypeOf(sample), r).Interface()))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		of := reflect.TypeOf(ownCodecs[int(which)%len(ownCodecs)])
		if agree(t, data, of) {
			v, _ := fast(data, of)
			if own, ok := encodeFast(v); ok && !bytes.Equal(own, data) {
				t.Fatalf("%s: %x is encoded again as %x", of, data, own)
			}
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	a := AddRecord{Record: RecordID{1}, Label: Label{2}, Ciphertext: Hash{3}, Size: 4096, Capsule: Hash{4}, Generation: 1, Manifest: Hash{5}, Root: Hash{6}}
	body := Body{Version: Version, Chain: "anamnesis-dev-00000000", Nonce: [16]byte{byte(rand.Uint32())}, NotAfter: 1 << 40, Signer: Signer{Kind: ActorMember}, Actions: Pack(&a)}
	data := Encode(body)
	for name, decode := range map[string]func([]byte, any) error{"own": Decode, "general": decodeGeneral} {
		b.Run("decode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var into Body
				if err := decode(data, &into); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, encode := range map[string]func(any) []byte{"own": Encode, "general": encodeGeneral} {
		b.Run("encode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				encode(&body)
			}
		})
	}
}
