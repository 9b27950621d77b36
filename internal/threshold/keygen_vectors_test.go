package threshold

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/cryptotest"
)

type dealVector struct {
	Deal        hexed   `json:"deal"`
	Ciphertexts []hexed `json:"ciphertexts"`
	Reveals     []hexed `json:"reveals"` // the share of each receiver, as a dealer would publish it
}

type keygenVector struct {
	Name         string       `json:"name"`
	Chain        string       `json:"chain"`
	Generation   uint32       `json:"generation"`
	Epoch        uint32       `json:"epoch"`
	N            int          `json:"n"`
	T            int          `json:"t"`
	ReceiverKeys []hexed      `json:"receiver_private_keys"`
	Previous     hexed        `json:"previous,omitempty"`
	Params       hexed        `json:"params_hash"`
	Deals        []dealVector `json:"deals"`
	Keys         hexed        `json:"keys"`
	Shares       []hexed      `json:"shares"`
}

type badDealVector struct {
	Name       string `json:"name"`
	Expect     string `json:"expect"`
	Deal       hexed  `json:"deal"`
	Receiver   int    `json:"receiver,omitempty"`
	Ciphertext hexed  `json:"ciphertext,omitempty"` // to open
	Reveal     hexed  `json:"reveal,omitempty"`     // or to verify
}

type keygenVectors struct {
	About      string          `json:"about"`
	Ceremonies []keygenVector  `json:"ceremonies"`
	Bad        []badDealVector `json:"bad"` // in the first ceremony
}

func (v *keygenVector) params(t *testing.T) (*Params, []*ReceiverKey) {
	t.Helper()
	p := &Params{Chain: v.Chain, Generation: v.Generation, Epoch: v.Epoch, N: v.N, T: v.T}
	var keys []*ReceiverKey
	for _, b := range v.ReceiverKeys {
		k, err := ParseReceiverKey(b)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		p.ReceiverKeys = append(p.ReceiverKeys, k.Public())
	}
	if v.Previous != nil {
		previous, err := ParseKeys(v.Previous)
		if err != nil {
			t.Fatal(err)
		}
		p.Previous = previous
	}
	return p, keys
}

func makeKeygenVectors(t *testing.T) *keygenVectors {
	cryptotest.SetGlobalRandom(t, 1) // for HPKE
	r := &counter{seed: "anamnesis keygen vectors"}
	fresh := keygenVector{Name: "fresh key", Chain: "vectors-1", Generation: 1, Epoch: 1, N: 4, T: 3}
	shares := fresh.make(t, r, func(p *Params) (out []*Dealing) {
		for i := range p.N {
			g, err := NewDealing(r, p, i+1)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, g)
		}
		return out
	})
	next := keygenVector{Name: "resharing by custodians 1, 3, 4", Chain: "vectors-1", Generation: 1, Epoch: 2, N: 3, T: 3, Previous: fresh.Keys}
	next.make(t, r, func(p *Params) (out []*Dealing) {
		for _, i := range []int{0, 2, 3} {
			g, err := NewResharing(r, p, shares[i])
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, g)
		}
		return out
	})
	return &keygenVectors{About: "Key generation and resharing, docs/spec/threshold.md. Private keys and shares are here for checking only.",
		Ceremonies: []keygenVector{fresh, next}, Bad: makeBadDeals(t, &fresh)}
}

func (v *keygenVector) make(t *testing.T, r io.Reader, deal func(*Params) []*Dealing) []*Share {
	for range v.N {
		v.ReceiverKeys = append(v.ReceiverKeys, take(t, r, 32))
	}
	params, _ := v.params(t)
	digest := params.digest()
	v.Params = digest[:]
	for _, g := range deal(params) {
		d := dealVector{Deal: g.Deal.Bytes()}
		for j, c := range g.Ciphertexts {
			reveal, err := g.Reveal(j + 1)
			if err != nil {
				t.Fatal(err)
			}
			d.Ciphertexts, d.Reveals = append(d.Ciphertexts, c), append(d.Reveals, reveal)
		}
		v.Deals = append(v.Deals, d)
	}
	keys, shares := v.finish(t)
	v.Keys = keys.Bytes()
	for _, s := range shares {
		v.Shares = append(v.Shares, s.Bytes())
	}
	return shares
}

// finish takes the ceremony from its messages to its keys and shares.
func (v *keygenVector) finish(t *testing.T) (*Keys, []*Share) {
	t.Helper()
	params, receivers := v.params(t)
	if digest := params.digest(); !bytes.Equal(digest[:], v.Params) {
		t.Errorf("%s: hash of parameters %x", v.Name, digest)
	}
	var deals []*Deal
	portions := make([][]*Portion, v.N)
	for _, dv := range v.Deals {
		d, err := ParseDeal(dv.Deal)
		if err != nil {
			t.Fatal(err)
		}
		deals = append(deals, d)
		for j := range v.N {
			p, err := OpenShare(params, d, j+1, receivers[j], dv.Ciphertexts[j])
			if err != nil {
				t.Fatal(err)
			}
			revealed, err := VerifyReveal(params, d, j+1, dv.Reveals[j])
			if err != nil || !bytes.Equal(revealed.Bytes(), p.Bytes()) {
				t.Fatalf("%s: dealer %d reveals something else: %v", v.Name, d.Dealer, err)
			}
			portions[j] = append(portions[j], p)
		}
	}
	keys, err := Finish(params, deals)
	if err != nil {
		t.Fatal(err)
	}
	var shares []*Share
	for j := range v.N {
		s, err := FinishShare(params, deals, j+1, portions[j])
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, s)
	}
	return keys, shares
}

func makeBadDeals(t *testing.T, v *keygenVector) []badDealVector {
	good := v.Deals[1]
	bend := func(at int, with ...byte) hexed {
		b := bytes.Clone(good.Deal)
		copy(b[at:], with)
		return b
	}
	proof := len(good.Deal) - 64
	otherHash := bytes.Clone(good.Ciphertexts[2])
	otherHash[0] ^= 1
	params, _ := v.params(t)
	garbage, sealed, err := CheatingDealing(&counter{seed: "cheat"}, params, 2, 3, func([]byte) []byte { return make([]byte, ShareCiphertextBytes) })
	if err != nil {
		t.Fatal(err)
	}
	return []badDealVector{
		{Name: "deal", Expect: "ok", Deal: good.Deal},
		{Name: "proof of knowledge", Expect: "deal", Deal: bend(proof+32, good.Deal[proof+32]^1)},
		{Name: "challenge not reduced", Expect: "scalar", Deal: bend(proof, groupOrder()...)},
		{Name: "another dealer", Expect: "deal", Deal: bend(9, 0, 3)},
		{Name: "dealer 0", Expect: "limit", Deal: bend(9, 0, 0)},
		{Name: "another epoch", Expect: "deal", Deal: bend(5, 0, 0, 0, 9)},
		{Name: "commitment is the identity", Expect: "point", Deal: bend(dealHead, make([]byte, 32)...)},
		{Name: "commitments swapped", Expect: "deal", Deal: bend(dealHead+32, slices.Concat(good.Deal[dealHead+64:dealHead+96], good.Deal[dealHead+32:dealHead+64])...)},
		{Name: "ciphertext hash changed", Expect: "deal", Deal: bend(dealHead+96, make([]byte, 32)...)},
		{Name: "truncated", Expect: "encoding", Deal: good.Deal[:len(good.Deal)-1]},
		{Name: "ciphertext is not the committed one", Expect: "complaint: " + ReasonHash.String(), Deal: good.Deal, Receiver: 3, Ciphertext: otherHash},
		{Name: "ciphertext of another receiver", Expect: "complaint: " + ReasonHash.String(), Deal: good.Deal, Receiver: 3, Ciphertext: good.Ciphertexts[0]},
		{Name: "garbage, committed to", Expect: "complaint: " + ReasonUndecoded.String(), Deal: garbage.Deal.Bytes(), Receiver: 3, Ciphertext: sealed},
		{Name: "reveal", Expect: "ok", Deal: good.Deal, Receiver: 3, Reveal: good.Reveals[2]},
		{Name: "reveal of another receiver's share", Expect: "deal", Deal: good.Deal, Receiver: 3, Reveal: good.Reveals[1]},
		{Name: "reveal not reduced", Expect: "deal", Deal: good.Deal, Receiver: 3, Reveal: groupOrder()},
	}
}

func TestKeygenVectors(t *testing.T) {
	v := vectors(t, "threshold-keygen.json", makeKeygenVectors)
	if len(v.Ceremonies) == 0 || len(v.Bad) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range v.Ceremonies {
		keys, shares := c.finish(t)
		if !bytes.Equal(keys.Bytes(), c.Keys) || len(shares) != len(c.Shares) {
			t.Errorf("%s: keys %x", c.Name, keys.Bytes())
			continue
		}
		for i, s := range shares {
			if !bytes.Equal(s.Bytes(), c.Shares[i]) {
				t.Errorf("%s: share %d differs", c.Name, i+1)
			}
		}
	}
	params, receivers := v.Ceremonies[0].params(t)
	for _, b := range v.Bad {
		d, err := ParseDeal(b.Deal)
		if err == nil {
			err = VerifyDeal(params, d)
		}
		if err == nil && b.Ciphertext != nil {
			_, err = OpenShare(params, d, b.Receiver, receivers[b.Receiver-1], b.Ciphertext)
		}
		if err == nil && b.Reveal != nil {
			_, err = VerifyReveal(params, d, b.Receiver, b.Reveal)
		}
		checkExpect(t, b.Name, b.Expect, err)
	}
}
