package threshold

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/cloudflare/circl/group"
	"github.com/oasisprotocol/curve25519-voi/curve"
)

var benchLabel = []byte("chain, generation, journal, label and record")

func benchBinding() Binding { return Binding{Chain: "bench-1", OneTimeKey: make([]byte, 1216)} }

func benchCapsules(b *testing.B, keys *Keys, count int) ([]*Capsule, []VerifiedCapsule) {
	b.Helper()
	capsules, verified := make([]*Capsule, count), make([]VerifiedCapsule, count)
	for i := range capsules {
		c, err := Seal(rand.Reader, &keys.Public, make([]byte, 16), benchLabel)
		if err != nil {
			b.Fatal(err)
		}
		if capsules[i], err = ParseCapsule(c.Bytes()); err != nil {
			b.Fatal(err)
		}
		if verified[i], err = capsules[i].Verify(benchLabel); err != nil {
			b.Fatal(err)
		}
	}
	return capsules, verified
}

func benchKeys(b *testing.B, n int) (*Keys, []*Share) {
	b.Helper()
	keys, shares, err := split(rand.Reader, 1, 1, n)
	if err != nil {
		b.Fatal(err)
	}
	return keys, shares
}

func BenchmarkSeal(b *testing.B) {
	keys, _ := benchKeys(b, 4)
	pre := keys.Public
	pre.Precompute()
	for _, v := range []struct {
		name string
		pk   *PublicKey
	}{{"plain", &keys.Public}, {"precomputed", &pre}} {
		b.Run(v.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Seal(rand.Reader, v.pk, make([]byte, 16), benchLabel); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseVerify(b *testing.B) {
	keys, _ := benchKeys(b, 4)
	capsules, _ := benchCapsules(b, keys, 1)
	raw := capsules[0].Bytes()
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := ParseCapsule(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if err := VerifyCapsule(capsules[0], benchLabel); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkNode20 is all a custodian computes for an access to 20 records.
func BenchmarkNode20(b *testing.B) {
	keys, shares := benchKeys(b, 4)
	capsules, _ := benchCapsules(b, keys, 20)
	for b.Loop() {
		items := make([]VerifiedCapsule, len(capsules))
		for i, c := range capsules {
			parsed, err := ParseCapsule(c.raw[:])
			if err != nil {
				b.Fatal(err)
			}
			if items[i], err = parsed.Verify(benchLabel); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := Release(rand.Reader, shares[0], items, benchBinding()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRelease(b *testing.B) {
	keys, shares := benchKeys(b, 4)
	for _, n := range []int{1, 20, 200} {
		capsules, verified := benchCapsules(b, keys, n)
		p, err := Release(rand.Reader, shares[0], verified, benchBinding())
		if err != nil {
			b.Fatal(err)
		}
		raw := p.Bytes()
		b.Run(fmt.Sprintf("release-%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Release(rand.Reader, shares[0], verified, benchBinding()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("parse-%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := ParsePartials(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("verify-%d", n), func(b *testing.B) {
			for b.Loop() {
				if err := VerifyPartials(keys.Verification[0], capsules, benchBinding(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCombine(b *testing.B) {
	for _, n := range []int{4, 10} {
		keys, shares := benchKeys(b, n)
		for _, count := range []int{1, 20} {
			capsules, verified := benchCapsules(b, keys, count)
			var answers []*Partials
			for _, s := range shares[:keys.T] {
				p, err := Release(rand.Reader, s, verified, benchBinding())
				if err != nil {
					b.Fatal(err)
				}
				answers = append(answers, p)
			}
			b.Run(fmt.Sprintf("%d-of-%d/capsules-%d", keys.T, n, count), func(b *testing.B) {
				for b.Loop() {
					if _, err := Combine(keys.T, capsules, answers); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkGroup holds the group in use against circl's, operation by operation.
func BenchmarkGroup(b *testing.B) {
	s, err := randomScalar(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	p := mulG(s)
	raw := newPoint(p).raw
	cs, cp := toCirclScalar(b, s), toCirclPoint(b, p)
	cg := group.Ristretto255
	for _, v := range []struct {
		name string
		op   func()
	}{
		{"product/voi", func() { new(curve.RistrettoPoint).Mul(p, s) }},
		{"product/circl", func() { cg.NewElement().Mul(cp, cs) }},
		{"base-product/voi", func() { mulG(s) }},
		{"base-product/circl", func() { cg.NewElement().MulGen(cs) }},
		{"double-product/voi", func() { mulAddG(s, p, s) }},
		{"double-product/circl", func() { x := cg.NewElement().Mul(cp, cs); x.Add(x, cg.NewElement().MulGen(cs)) }},
		{"decode/voi", func() { _, _ = parsePoint(raw[:]) }},
		{"decode/circl", func() { _ = cg.NewElement().UnmarshalBinary(raw[:]) }},
		{"encode/voi", func() { newPoint(p) }},
		{"encode/circl", func() { _, _ = cp.MarshalBinary() }},
	} {
		b.Run(v.name, func(b *testing.B) {
			for b.Loop() {
				v.op()
			}
		})
	}
}

// BenchmarkKeygen is what the ledger and a dealer compute for ceremonies of 4 and of the largest size.
func BenchmarkKeygen(b *testing.B) {
	for _, n := range []int{4, CustodiansMax} {
		params := &Params{Chain: "bench-1", Generation: 1, Epoch: 1, N: n, T: Threshold(n)}
		receiver, err := NewReceiverKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		for range n {
			params.ReceiverKeys = append(params.ReceiverKeys, receiver.Public())
		}
		var deals []*Deal
		var last *Dealing
		for i := range n {
			if last, err = NewDealing(rand.Reader, params, i+1); err != nil {
				b.Fatal(err)
			}
			deals = append(deals, last.Deal)
		}
		for _, v := range []struct {
			name string
			op   func() error
		}{
			{"deal", func() error { _, err := NewDealing(rand.Reader, params, 1); return err }},
			{"verify-deal", func() error { return VerifyDeal(params, deals[0]) }},
			{"open-share", func() error {
				_, err := OpenShare(params, last.Deal, 1, receiver, last.Ciphertexts[0])
				return err
			}},
			{"finish", func() error { _, err := Finish(params, deals); return err }},
		} {
			b.Run(fmt.Sprintf("%s/n-%d", v.name, n), func(b *testing.B) {
				for b.Loop() {
					if err := v.op(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
