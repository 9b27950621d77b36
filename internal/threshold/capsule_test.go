package threshold

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"pgregory.net/rapid"
)

var testLabel = []byte("chain|generation|journal|label|record")

func testKeys(t testing.TB, n int) (*Keys, []*Share) {
	t.Helper()
	keys, shares, err := split(rand.Reader, 7, 3, n)
	if err != nil {
		t.Fatal(err)
	}
	return keys, shares
}

func testSeal(t testing.TB, pk *PublicKey, secret []byte) *Capsule {
	t.Helper()
	c, err := Seal(rand.Reader, pk, secret, testLabel)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testVerified(t testing.TB, c *Capsule) VerifiedCapsule {
	t.Helper()
	v, err := c.Verify(testLabel)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCapsuleOpensForEverySizeOfSecret(t *testing.T) {
	keys, shares := testKeys(t, 4)
	for size := 1; size <= SecretBytesMax; size++ {
		secret := make([]byte, size)
		rand.Read(secret)
		sealed := testSeal(t, &keys.Public, secret)
		c, err := ParseCapsule(sealed.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if c.Hash() != sealed.Hash() || c.Generation() != 7 {
			t.Fatal("parsed capsule differs from the sealed one")
		}
		got, err := Combine(keys.T, []*Capsule{c}, testAnswers(t, shares[:3], testBinding(), testVerified(t, c)))
		if err != nil || !bytes.Equal(got[0], secret) {
			t.Fatalf("size %d: %x, %v; want %x", size, got, err, secret)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	keys, _ := testKeys(t, 4)
	long := make([]byte, LabelBytesMax+1)
	for _, tc := range []struct {
		name          string
		rand          io.Reader
		pk            *PublicKey
		secret, label []byte
		want          error
	}{
		{"empty secret", rand.Reader, &keys.Public, nil, testLabel, ErrLimit},
		{"long secret", rand.Reader, &keys.Public, long[:33], testLabel, ErrLimit},
		{"no label", rand.Reader, &keys.Public, long[:16], nil, ErrLimit},
		{"long label", rand.Reader, &keys.Public, long[:16], long, ErrLimit},
		{"no key", rand.Reader, nil, long[:16], testLabel, ErrPoint},
		{"zero key", rand.Reader, &PublicKey{}, long[:16], testLabel, ErrPoint},
		{"no randomness", nil, &keys.Public, long[:16], testLabel, ErrRandomness},
		{"short randomness", bytes.NewReader(long[:100]), &keys.Public, long[:16], testLabel, ErrRandomness},
		{"zero randomness", bytes.NewReader(long[:200]), &keys.Public, long[:16], testLabel, ErrRandomness},
	} {
		if _, err := Seal(tc.rand, tc.pk, tc.secret, tc.label); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

// Any changed bit either fails to parse or fails to verify.
func TestCapsuleEveryBitCounts(t *testing.T) {
	keys, _ := testKeys(t, 4)
	raw := testSeal(t, &keys.Public, make([]byte, 16)).Bytes()
	for bit := range 8 * len(raw) {
		bent := bytes.Clone(raw)
		bent[bit/8] ^= 1 << (bit % 8)
		c, err := ParseCapsule(bent)
		if err != nil {
			continue
		}
		if err := VerifyCapsule(c, testLabel); !errors.Is(err, ErrCapsule) {
			t.Fatalf("bit %d flipped: %v, want ErrCapsule", bit, err)
		}
	}
}

func TestCapsuleIsBoundToItsLabel(t *testing.T) {
	keys, _ := testKeys(t, 4)
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "label")
		other := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "other")
		c, err := Seal(rand.Reader, &keys.Public, make([]byte, 16), label)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyCapsule(c, label); err != nil {
			t.Fatal(err)
		}
		if err := VerifyCapsule(c, other); !bytes.Equal(label, other) && !errors.Is(err, ErrCapsule) {
			t.Fatalf("another label verifies: %v", err)
		}
	})
	c := testSeal(t, &keys.Public, make([]byte, 16))
	if err := VerifyCapsule(c, nil); !errors.Is(err, ErrLimit) {
		t.Fatalf("empty label: %v", err)
	}
	if err := VerifyCapsule(&Capsule{}, testLabel); !errors.Is(err, ErrCapsule) {
		t.Fatalf("zero capsule: %v", err)
	}
	if err := VerifyCapsule(nil, testLabel); !errors.Is(err, ErrCapsule) {
		t.Fatalf("no capsule: %v", err)
	}
}

// A capsule whose ubar has another exponent than u, made by someone who knows both, must not verify:
// it is the check that makes TDH2 secure against chosen ciphertexts.
func TestCapsuleWithUnequalLogarithmsIsRefused(t *testing.T) {
	keys, _ := testKeys(t, 4)
	r, r2, s, s2 := mustScalar(t), mustScalar(t), mustScalar(t), mustScalar(t)
	c := testSeal(t, &keys.Public, make([]byte, 16))
	forged := *c
	forged.u = newPoint(mulG(r))
	forged.ubar = newPoint(mulGbar(r2))
	copy(forged.raw[offU:], forged.u.raw[:])
	copy(forged.raw[offUbar:], forged.ubar.raw[:])
	forged.e.Set(forged.challenge(testLabel, mulG(s), mulGbar(s2)))
	forged.f.Add(s, forged.f.Mul(r, &forged.e))
	appendScalar(forged.raw[:offE], &forged.e)
	appendScalar(forged.raw[:offF], &forged.f)
	parsed, err := ParseCapsule(forged.raw[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyCapsule(parsed, testLabel); !errors.Is(err, ErrCapsule) {
		t.Fatalf("forged capsule: %v", err)
	}
}

func TestParseCapsuleRefuses(t *testing.T) {
	keys, _ := testKeys(t, 4)
	raw := testSeal(t, &keys.Public, make([]byte, 16)).Bytes()
	change := func(at int, with ...byte) []byte {
		b := bytes.Clone(raw)
		copy(b[at:], with)
		return b
	}
	for _, tc := range []struct {
		name string
		b    []byte
		want error
	}{
		{"empty", nil, ErrEncoding},
		{"short", raw[:CapsuleBytes-1], ErrEncoding},
		{"long", append(bytes.Clone(raw), 0), ErrEncoding},
		{"algorithm", change(0, 2), ErrEncoding},
		{"no secret", change(offLength, 0), ErrEncoding},
		{"long secret", change(offLength, SecretBytesMax+1), ErrEncoding},
		{"u is the identity", change(offU, make([]byte, 32)...), ErrPoint},
		{"ubar is the identity", change(offUbar, make([]byte, 32)...), ErrPoint},
		{"u above the field", change(offU, fieldPlus(3)...), ErrPoint},
		{"ubar is negative", change(offUbar, append([]byte{1}, make([]byte, 31)...)...), ErrPoint},
		{"e not reduced", change(offE, groupOrder()...), ErrScalar},
		{"f not reduced", change(offF, bytes.Repeat([]byte{0xff}, 32)...), ErrScalar},
	} {
		if _, err := ParseCapsule(tc.b); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

// Bad encodings from RFC 9496 appendix A.2, and the identity, which we refuse too.
func TestParsePointRefusesBadEncodings(t *testing.T) {
	for _, h := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000", // identity
		"00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", // not canonical
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0100000000000000000000000000000000000000000000000000000000000000", // negative
		"01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
		"c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
		"c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78",
		"47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24",
		"f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72",
		"87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309",
		"26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371", // x²  not a square
		"4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
		"de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad87",
		"bcab477be20861e01e4a0e295284146a510150d9817763caf1a6f4b422d67042",
		"2a292df7e32cababbd9de088d1d1abec9fc0440f637ed2fba145094dc14bea08",
		"f4a9e534fc0d216c44b218fa0c42d99635a0127ee2e53c712f70609649fdff22",
		"8268436f8c4126196cf64b3c7ddbda90746a378625f9813dd9b8457077256731",
		"2810e5cbc2cc4d4eece54f61c6f69758e289aa7ab440b3cbeaa21995c2f4232b",
		"3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e", // negative xy
		"a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220",
		"d483fe813c6ba647ebbfd3ec41adca1c6130c2beeee9d9bf065c8d151c5f396e",
		"8a2e1d30050198c65a54483123960ccc38aef6848e1ec8f5f780e8523769ba32",
		"32888462f8b486c68ad7dd9610be5192bbeaf3b443951ac1a8118419d9fa097b",
		"227142501b9d4355ccba290404bde41575b037693cef1f438c47f8fbf35d1165",
		"5c37cc491da847cfeb9281d407efc41e15144c876e0170b499a96a22ed31e01e",
		"445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // s = -1, y = 0
	} {
		if _, err := parsePoint(unhex(t, h)); !errors.Is(err, ErrPoint) {
			t.Errorf("%s: %v, want ErrPoint", h, err)
		}
	}
	for _, size := range []int{0, 31, 33} {
		if _, err := parsePoint(make([]byte, size)); !errors.Is(err, ErrPoint) {
			t.Errorf("%d bytes: %v, want ErrPoint", size, err)
		}
	}
}

func mustScalar(t testing.TB) *scalar.Scalar {
	t.Helper()
	s, err := randomScalar(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func groupOrder() []byte {
	b := make([]byte, 32)
	_ = scalar.BASEPOINT_ORDER.ToBytes(b)
	return b
}

// fieldPlus encodes 2^255-19+n, which is not canonical.
func fieldPlus(n byte) []byte {
	b := bytes.Repeat([]byte{0xff}, 32)
	b[0], b[31] = 0xed+n, 0x7f
	return b
}
