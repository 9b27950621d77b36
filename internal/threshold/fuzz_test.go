package threshold

import (
	"bytes"
	"crypto/rand"
	"testing"
)

// Every decoder: no panic, and what is accepted encodes to the same bytes.

func fuzzRoundTrip[T interface{ Bytes() []byte }](f *testing.F, parse func([]byte) (T, error), seeds ...[]byte) {
	f.Helper()
	for _, s := range seeds {
		f.Add(s)
		f.Add(s[:len(s)-1])
	}
	f.Add([]byte(nil))
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b)
		if err == nil && !bytes.Equal(v.Bytes(), b) {
			t.Fatalf("%x encodes as %x", b, v.Bytes())
		}
	})
}

func FuzzParseCapsule(f *testing.F) {
	keys, _ := testKeys(f, 4)
	f.Add(testSeal(f, &keys.Public, make([]byte, 16)).Bytes())
	f.Add(testSeal(f, &keys.Public, make([]byte, 32)).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCapsule(b)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Bytes(), b) {
			t.Fatalf("%x encodes as %x", b, c.Bytes())
		}
		_ = VerifyCapsule(c, testLabel)
		c.open(&c.u.p)
	})
}

func FuzzParsePartials(f *testing.F) {
	keys, shares := testKeys(f, 4)
	_, _, items := testAccess(f, keys, 2)
	fuzzRoundTrip(f, ParsePartials, testAnswers(f, shares[:1], testBinding(), items...)[0].Bytes(),
		testAnswers(f, shares[1:2], testBinding(), items[0])[0].Bytes())
}

func FuzzParseKeys(f *testing.F) {
	keys, _ := testKeys(f, 4)
	one, _ := testKeys(f, 1)
	fuzzRoundTrip(f, ParseKeys, keys.Bytes(), one.Bytes())
}

func FuzzParseShare(f *testing.F) {
	_, shares := testKeys(f, 4)
	fuzzRoundTrip(f, ParseShare, shares[3].Bytes())
}

func FuzzParseVerificationKey(f *testing.F) {
	keys, _ := testKeys(f, 4)
	fuzzRoundTrip(f, ParseVerificationKey, keys.Verification[2].Bytes())
}

func FuzzParsePublicKey(f *testing.F) {
	keys, _ := testKeys(f, 4)
	fuzzRoundTrip(f, ParsePublicKey, keys.Public.Bytes())
}

func FuzzParsePortion(f *testing.F) {
	p := &Portion{Generation: 1, Epoch: 2, Dealer: 3, Receiver: 4, s: hide(mustScalar(f))}
	fuzzRoundTrip(f, ParsePortion, p.Bytes())
}

func fuzzDealing(f *testing.F) *Dealing {
	f.Helper()
	params := &Params{Chain: "c", Generation: 1, Epoch: 1, N: 2, T: 2}
	for range params.N {
		k, err := NewReceiverKey(rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		params.ReceiverKeys = append(params.ReceiverKeys, k.Public())
	}
	g, err := NewDealing(rand.Reader, params, 2)
	if err != nil {
		f.Fatal(err)
	}
	return g
}

func FuzzParseDeal(f *testing.F) { fuzzRoundTrip(f, ParseDeal, fuzzDealing(f).Deal.Bytes()) }

func FuzzParseDealing(f *testing.F) { fuzzRoundTrip(f, ParseDealing, fuzzDealing(f).Bytes()) }
