package threshold

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"slices"
	"testing"

	r255 "github.com/bwesterb/go-ristretto"
	"github.com/cloudflare/circl/group"
	circlpoly "github.com/cloudflare/circl/math/polynomial"
	"github.com/cloudflare/circl/secretsharing"
	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"pgregory.net/rapid"
)

// These tests hold the group implementation in use (curve25519-voi) against an independent one (circl, which uses
// bwesterb/go-ristretto): the same bytes for the same sums, or neither is what the specification says.

func toCirclScalar(t testing.TB, s *scalar.Scalar) group.Scalar {
	t.Helper()
	out := group.Ristretto255.NewScalar()
	if err := out.UnmarshalBinary(appendScalar(nil, s)); err != nil {
		t.Fatal(err)
	}
	return out
}

func toCirclPoint(t testing.TB, p *curve.RistrettoPoint) group.Element {
	t.Helper()
	pt := newPoint(p)
	out := group.Ristretto255.NewElement()
	if err := out.UnmarshalBinary(pt.raw[:]); err != nil {
		t.Fatal(err)
	}
	return out
}

func samePoint(t testing.TB, what string, ours *curve.RistrettoPoint, theirs group.Element) {
	t.Helper()
	want, err := theirs.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if pt := newPoint(ours); !bytes.Equal(pt.raw[:], want) {
		t.Fatalf("%s: %x, want %x", what, pt.raw, want)
	}
}

func TestGroupAgainstCircl(t *testing.T) {
	g := group.Ristretto255
	for _, count := range []int{1, 2, 3, 7, 40, 200} { // 200 makes voi take another algorithm
		scalars, points := make([]*scalar.Scalar, count), make([]*curve.RistrettoPoint, count)
		sum := g.Identity()
		for i := range scalars {
			scalars[i] = mustScalar(t)
			if i%3 == 1 {
				scalars[i] = weights([32]byte{byte(i)}, 1)[0]
			}
			points[i] = mulG(mustScalar(t))
			product := g.NewElement().Mul(toCirclPoint(t, points[i]), toCirclScalar(t, scalars[i]))
			samePoint(t, "product", new(curve.RistrettoPoint).Mul(points[i], scalars[i]), product)
			sum.Add(sum, product)
		}
		samePoint(t, "sum of products", new(curve.RistrettoPoint).MultiscalarMulVartime(scalars, points), sum)
	}
	a, b := mustScalar(t), mustScalar(t)
	p := mulG(mustScalar(t))
	samePoint(t, "base product", mulG(a), g.NewElement().MulGen(toCirclScalar(t, a)))
	samePoint(t, "product with gbar", mulGbar(a), g.NewElement().Mul(toCirclPoint(t, gbarPoint), toCirclScalar(t, a)))
	mixed := g.NewElement().Mul(toCirclPoint(t, p), toCirclScalar(t, a))
	samePoint(t, "double product", mulAddG(a, p, b), mixed.Add(mixed, g.NewElement().MulGen(toCirclScalar(t, b))))
	for _, x := range []int{1, 2, 3, 31, 32, 63, 64} {
		samePoint(t, "small product", mulSmall(p, x), g.NewElement().Mul(toCirclPoint(t, p), g.NewScalar().SetUint64(uint64(x))))
	}
}

func TestSecondGeneratorAgainstGoRistretto(t *testing.T) {
	digest := sha512.Sum512([]byte(domainGbar))
	var a, b r255.Point
	a.SetElligator((*[32]byte)(digest[:32]))
	b.SetElligator((*[32]byte)(digest[32:]))
	a.Add(&a, &b)
	pt := newPoint(gbarPoint)
	if !bytes.Equal(a.Bytes(), pt.raw[:]) {
		t.Fatalf("gbar is %x, go-ristretto says %x", pt.raw, a.Bytes())
	}
}

// Whether a string is an element must not depend on the implementation: nodes and wallets would split over it.
func TestDecodingAgainstCircl(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "raw")
		if rapid.Bool().Draw(t, "small") {
			raw[31], raw[0] = raw[31]&0x7f, raw[0]&0xfe // likelier to be an element
		}
		theirs := group.Ristretto255.NewElement()
		theirErr := theirs.UnmarshalBinary(raw)
		ours, err := parsePoint(raw)
		isIdentity := theirErr == nil && theirs.IsIdentity()
		if (err == nil) != (theirErr == nil && !isIdentity) {
			t.Fatalf("%x: ours %v, theirs %v", raw, err, theirErr)
		}
		if err == nil {
			if pt := newPoint(&ours.p); !bytes.Equal(pt.raw[:], raw) {
				t.Fatalf("%x encodes as %x", raw, pt.raw)
			}
		}
		theirScalar := group.Ristretto255.NewScalar().UnmarshalBinary(raw)
		if _, err := parseScalar(raw); (err == nil) != (theirScalar == nil) {
			t.Fatalf("scalar %x: ours %v, theirs %v", raw, err, theirScalar)
		}
	})
}

// Our shares are Shamir shares as circl understands them (its t is ours minus one), and our Lagrange coefficients circl's.
func TestSharingAgainstCircl(t *testing.T) {
	for n := 2; n <= 10; n++ {
		threshold := Threshold(n)
		poly, err := randomPolynomial(rand.Reader, threshold)
		if err != nil {
			t.Fatal(err)
		}
		var shares []secretsharing.Share
		var xs []group.Scalar
		var indices []int
		for i := n; len(shares) < threshold; i-- {
			x := group.Ristretto255.NewScalar().SetUint64(uint64(i))
			shares = append(shares, secretsharing.Share{ID: x, Value: toCirclScalar(t, poly.at(i))})
			xs, indices = append(xs, x), append(indices, i)
		}
		recovered, err := secretsharing.Recover(uint(threshold-1), shares)
		if err != nil || !recovered.IsEqual(toCirclScalar(t, &poly[0])) {
			t.Fatalf("n=%d: circl does not recover our secret: %v", n, err)
		}
		coefficients, err := lagrange(indices)
		if err != nil {
			t.Fatal(err)
		}
		for i := range coefficients {
			want := circlpoly.LagrangeBase(uint(i), xs, group.Ristretto255.NewScalar())
			if !toCirclScalar(t, coefficients[i]).IsEqual(want) {
				t.Fatalf("n=%d: coefficient %d differs", n, i)
			}
		}
		slices.Reverse(indices)
		if _, err := lagrange(append(indices, indices[0])); err == nil {
			t.Fatal("an index twice has coefficients")
		}
	}
}

// A capsule written down from the paper with circl's group and nothing of this package but the hashes' framing.
func TestCapsuleByTheBookWithCircl(t *testing.T) {
	g := group.Ristretto255
	keys, shares := testKeys(t, 4)
	h := toCirclPoint(t, &keys.Public.y.p)
	gbar := toCirclPoint(t, gbarPoint)
	r, s := g.RandomNonZeroScalar(rand.Reader), g.RandomNonZeroScalar(rand.Reader)
	enc := func(e group.Element) []byte {
		b, err := e.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	hash := func(fields ...[]byte) []byte {
		d := sha512.New()
		for _, f := range fields {
			d.Write([]byte{0, 0, byte(len(f) >> 8), byte(len(f))})
			d.Write(f)
		}
		return d.Sum(nil)
	}
	u, ubar := g.NewElement().MulGen(r), g.NewElement().Mul(gbar, r)
	w, wbar := g.NewElement().MulGen(s), g.NewElement().Mul(gbar, s)
	d := sha512.New() // the generation is a bare u32
	d.Write([]byte{0, 0, 0, byte(len(domainMask))})
	d.Write([]byte(domainMask))
	d.Write([]byte{0, 0, 0, 7, 0, 0, 0, 32})
	d.Write(enc(u))
	d.Write([]byte{0, 0, 0, 32})
	d.Write(enc(g.NewElement().Mul(h, r)))
	mask := d.Sum(nil)[:48]
	c := append([]byte("sixteen byte key"), make([]byte, 32)...)
	for i := range c {
		c[i] ^= mask[i]
	}
	head := append([]byte{1, 0, 0, 0, 7, 16}, c...)
	var wide [64]byte
	copy(wide[:], hash([]byte(domainCapsule), head, testLabel, enc(u), enc(w), enc(ubar), enc(wbar)))
	e := toCirclScalar(t, wideScalar(&wide))
	f := g.NewScalar().Mul(r, e)
	f.Add(f, s)
	raw := slices.Concat(head, enc(u), enc(ubar))
	for _, x := range []group.Scalar{e, f} {
		b, err := x.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, b...)
	}
	capsule, err := ParseCapsule(raw)
	if err != nil {
		t.Fatal(err)
	}
	answers := testAnswers(t, shares[1:], testBinding(), testVerified(t, capsule))
	secrets, err := Combine(keys.T, []*Capsule{capsule}, answers)
	if err != nil || string(secrets[0]) != "sixteen byte key" {
		t.Fatalf("%q, %v", secrets, err)
	}
}
