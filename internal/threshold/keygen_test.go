package threshold_test

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/threshold/thresholdtest"
	"pgregory.net/rapid"
)

var label = []byte("label of a record")

func binding() threshold.Binding {
	return threshold.Binding{Chain: "c", Access: [16]byte{1}, OneTimeKey: []byte("one-time")}
}

// mustOpen opens a capsule with the given custodians' shares.
func mustOpen(t testing.TB, keys *threshold.Keys, shares []*threshold.Share, c *threshold.Capsule) []byte {
	t.Helper()
	v, err := c.Verify(label)
	if err != nil {
		t.Fatal(err)
	}
	var answers []*threshold.Partials
	for _, s := range shares {
		p, err := threshold.Release(rand.Reader, s, []threshold.VerifiedCapsule{v}, binding())
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, p)
	}
	if liars := threshold.FindLiars(keys, []*threshold.Capsule{c}, binding(), answers); liars != nil {
		t.Fatalf("honest custodians called liars: %v", liars)
	}
	secrets, err := threshold.Combine(keys.T, []*threshold.Capsule{c}, answers)
	if err != nil {
		t.Fatal(err)
	}
	return secrets[0]
}

func mustSeal(t testing.TB, keys *threshold.Keys, secret string) *threshold.Capsule {
	t.Helper()
	c, err := threshold.Seal(rand.Reader, &keys.Public, []byte(secret), label)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKeyGeneration(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 7} {
		keys, shares := thresholdtest.Keys(t, "test-1", 2, n)
		c := mustSeal(t, keys, "file key of 16 b")
		for range 3 {
			slices.Reverse(shares)
			if got := mustOpen(t, keys, shares[:keys.T], c); string(got) != "file key of 16 b" {
				t.Fatalf("n=%d: opened %q", n, got)
			}
			shares = append(shares[1:], shares[0])
		}
	}
}

type ceremony struct {
	params    *threshold.Params
	receivers []*threshold.ReceiverKey
	dealings  []*threshold.Dealing
}

func newCeremony(t testing.TB, n int) *ceremony {
	t.Helper()
	c := new(ceremony)
	c.params, c.receivers = thresholdtest.Params(t, "test-1", 2, 1, n)
	for i := range n {
		g, err := threshold.NewDealing(rand.Reader, c.params, i+1)
		if err != nil {
			t.Fatal(err)
		}
		c.dealings = append(c.dealings, g)
	}
	return c
}

func (c *ceremony) deals(dealers ...int) (deals []*threshold.Deal) {
	for _, d := range dealers {
		deals = append(deals, c.dealings[d-1].Deal)
	}
	return deals
}

func (c *ceremony) open(dealer, receiver int, ciphertext []byte) (*threshold.Portion, error) {
	return threshold.OpenShare(c.params, c.dealings[dealer-1].Deal, receiver, c.receivers[receiver-1], ciphertext)
}

// cheat replaces dealer 2's dealing by one whose ciphertext to receiver is what ciphertext returns, and, as a cheating dealer would,
// proves it properly: the deal itself verifies, only the receiver notices.
func (c *ceremony) cheat(t testing.TB, receiver int, ciphertext func(info []byte) []byte) []byte {
	t.Helper()
	g, sealed, err := threshold.CheatingDealing(rand.Reader, c.params, 2, receiver, ciphertext)
	if err != nil {
		t.Fatal(err)
	}
	if err := threshold.VerifyDeal(c.params, g.Deal); err != nil {
		t.Fatal(err)
	}
	c.dealings[1] = g
	return sealed
}

func wantComplaint(t testing.TB, err error, dealer, receiver int, reason threshold.Reason) {
	t.Helper()
	var complaint *threshold.Complaint
	if !errors.As(err, &complaint) || *complaint != (threshold.Complaint{Dealer: dealer, Receiver: receiver, Reason: reason}) {
		t.Fatalf("%v, want complaint of %d against %d: %v", err, receiver, dealer, reason)
	}
}

func TestBadSharesAreComplainedAbout(t *testing.T) {
	seal := func(c *ceremony, plain []byte) func([]byte) []byte {
		return func(info []byte) []byte {
			key, err := hpke.MLKEM768X25519().NewPublicKey(c.params.ReceiverKeys[3-1])
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plain)
			if err != nil {
				t.Fatal(err)
			}
			return sealed
		}
	}
	for _, tc := range []struct {
		name   string
		cipher func(c *ceremony) func(info []byte) []byte
		reason threshold.Reason
	}{
		{"wrong share", func(c *ceremony) func([]byte) []byte { return seal(c, append(make([]byte, 31), 1)) }, threshold.ReasonWrongShare},
		{"not a scalar", func(c *ceremony) func([]byte) []byte { return seal(c, bytes.Repeat([]byte{0xff}, 32)) }, threshold.ReasonNotScalar},
		{"garbage", func(*ceremony) func([]byte) []byte {
			return func([]byte) []byte { return make([]byte, threshold.ShareCiphertextBytes) }
		}, threshold.ReasonUndecoded},
		{"wrong info", func(c *ceremony) func([]byte) []byte {
			return func([]byte) []byte { return seal(c, make([]byte, 32))([]byte("another ceremony")) }
		}, threshold.ReasonUndecoded},
		{"short", func(c *ceremony) func([]byte) []byte { return seal(c, make([]byte, 31)) }, threshold.ReasonHash},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCeremony(t, 4)
			sealed := c.cheat(t, 3, tc.cipher(c))
			_, err := c.open(2, 3, sealed)
			wantComplaint(t, err, 2, 3, tc.reason)
		})
	}
	c := newCeremony(t, 4)
	other := bytes.Clone(c.dealings[1].Ciphertexts[2])
	other[500] ^= 1
	_, err := c.open(2, 3, other)
	wantComplaint(t, err, 2, 3, threshold.ReasonHash)
	_, err = c.open(2, 3, nil)
	wantComplaint(t, err, 2, 3, threshold.ReasonHash)
}

// The whole course of a complaint: either the dealer reveals the right share and stays, or it is out and the rest go on.
func TestComplaintThenRevealOrOut(t *testing.T) {
	for _, answers := range []bool{true, false} {
		c := newCeremony(t, 4)
		sealed := c.cheat(t, 3, func([]byte) []byte { return make([]byte, threshold.ShareCiphertextBytes) })
		c.dealings[1].Ciphertexts[2] = sealed
		qualified := []int{1, 2, 3, 4}
		var revealed *threshold.Portion
		if answers {
			share, err := c.dealings[1].Reveal(3)
			if err != nil {
				t.Fatal(err)
			}
			if revealed, err = threshold.VerifyReveal(c.params, c.dealings[1].Deal, 3, share); err != nil {
				t.Fatal(err)
			}
		} else {
			qualified = []int{1, 3, 4}
		}
		deals := c.deals(qualified...)
		keys, err := threshold.Finish(c.params, deals)
		if err != nil {
			t.Fatal(err)
		}
		var shares []*threshold.Share
		for j := 1; j <= 4; j++ {
			var portions []*threshold.Portion
			for _, d := range qualified {
				p, err := c.open(d, j, c.dealings[d-1].Ciphertexts[j-1])
				if d == 2 && j == 3 {
					wantComplaint(t, err, 2, 3, threshold.ReasonUndecoded)
					p = revealed
				} else if err != nil {
					t.Fatal(err)
				}
				if p, err = threshold.ParsePortion(p.Bytes()); err != nil {
					t.Fatal(err)
				}
				portions = append(portions, p)
			}
			s, err := threshold.FinishShare(c.params, deals, j, portions)
			if err != nil {
				t.Fatal(err)
			}
			shares = append(shares, s)
		}
		if got := mustOpen(t, keys, shares[1:], mustSeal(t, keys, "kept")); string(got) != "kept" {
			t.Fatalf("opened %q", got)
		}
	}
}

// What may be revealed of one dealing stays below the threshold, with as many conspirators as there may be besides.
func TestRevealsStayBelowTheThreshold(t *testing.T) {
	for n := 1; n <= threshold.CustodiansMax; n++ {
		p := threshold.Params{N: n, T: threshold.Threshold(n)}
		if conspirators := (n - 1) / 3; p.RevealsMax()+conspirators >= p.T {
			t.Errorf("n=%d: %d reveals and %d conspirators make %d shares", n, p.RevealsMax(), conspirators, p.T)
		}
		if 3*p.T <= 2*n || 3*(p.T-1) > 2*n {
			t.Errorf("n=%d: threshold %d", n, p.T)
		}
	}
	for _, n := range []int{-1, 0, threshold.CustodiansMax + 1} {
		if threshold.Threshold(n) != 0 {
			t.Errorf("n=%d has a threshold", n)
		}
	}
}

func TestVerifyRevealRefuses(t *testing.T) {
	c := newCeremony(t, 4)
	right, err := c.dealings[0].Reveal(2)
	if err != nil {
		t.Fatal(err)
	}
	wrong := bytes.Clone(right)
	wrong[0] ^= 1
	for _, tc := range []struct {
		name     string
		dealer   int
		receiver int
		share    []byte
		want     error
	}{
		{"changed", 1, 2, wrong, threshold.ErrDeal},
		{"another receiver's", 1, 3, right, threshold.ErrDeal},
		{"another dealer's", 2, 2, right, threshold.ErrDeal},
		{"not canonical", 1, 2, bytes.Repeat([]byte{0xff}, 32), threshold.ErrDeal},
		{"short", 1, 2, right[:31], threshold.ErrDeal},
		{"empty", 1, 2, nil, threshold.ErrDeal},
		{"receiver 0", 1, 0, right, threshold.ErrLimit},
		{"receiver 5", 1, 5, right, threshold.ErrLimit},
	} {
		if _, err := threshold.VerifyReveal(c.params, c.dealings[tc.dealer-1].Deal, tc.receiver, tc.share); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, err := threshold.VerifyReveal(c.params, c.dealings[0].Deal, 2, right); err != nil {
		t.Error(err)
	}
}

// Any changed bit of a deal either fails to parse or fails to verify; so does any changed parameter.
func TestDealEveryBitAndParameterCounts(t *testing.T) {
	c := newCeremony(t, 3)
	deal := c.dealings[1].Deal
	raw := deal.Bytes()
	for bit := range 8 * len(raw) {
		bent := bytes.Clone(raw)
		bent[bit/8] ^= 1 << (bit % 8)
		d, err := threshold.ParseDeal(bent)
		if err != nil {
			continue
		}
		if err := threshold.VerifyDeal(c.params, d); !errors.Is(err, threshold.ErrDeal) {
			t.Fatalf("bit %d flipped: %v, want ErrDeal", bit, err)
		}
	}
	for name, change := range map[string]func(*threshold.Params){
		"chain":         func(p *threshold.Params) { p.Chain = "test-2" },
		"generation":    func(p *threshold.Params) { p.Generation++ },
		"epoch":         func(p *threshold.Params) { p.Epoch++ },
		"receiver key":  func(p *threshold.Params) { p.ReceiverKeys[0][7] ^= 1 },
		"receivers":     func(p *threshold.Params) { *p = *newCeremony(t, 4).params },
		"order of keys": func(p *threshold.Params) { slices.Reverse(p.ReceiverKeys) },
	} {
		p := *c.params
		p.ReceiverKeys = nil
		for _, k := range c.params.ReceiverKeys {
			p.ReceiverKeys = append(p.ReceiverKeys, bytes.Clone(k))
		}
		change(&p)
		if err := threshold.VerifyDeal(&p, deal); !errors.Is(err, threshold.ErrDeal) {
			t.Errorf("changed %s: %v, want ErrDeal", name, err)
		}
	}
	swapped := bytes.Clone(raw) // as many bytes, but 2 commitments to 4 receivers
	swapped[12], swapped[14] = 2, 4
	if _, err := threshold.ParseDeal(swapped); !errors.Is(err, threshold.ErrEncoding) {
		t.Errorf("too few commitments: %v", err)
	}
	extra, err := threshold.CheatingResharing(rand.Reader, c.params, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := threshold.VerifyDeal(c.params, extra.Deal); !errors.Is(err, threshold.ErrDeal) {
		t.Errorf("dealer 4 of 3: %v", err)
	}
	if err := threshold.VerifyDeal(c.params, nil); !errors.Is(err, threshold.ErrDeal) {
		t.Errorf("no deal: %v", err)
	}
}

// A dealer that copies another's commitments without knowing the constant term has no proof of its own.
func TestCopiedDealIsRefused(t *testing.T) {
	c := newCeremony(t, 4)
	copied := c.dealings[0].Deal.Bytes()
	copied[10] = 2 // dealer
	d, err := threshold.ParseDeal(copied)
	if err != nil {
		t.Fatal(err)
	}
	if err := threshold.VerifyDeal(c.params, d); !errors.Is(err, threshold.ErrDeal) {
		t.Fatalf("copied deal: %v", err)
	}
}

func TestFinishRefuses(t *testing.T) {
	c, other := newCeremony(t, 4), newCeremony(t, 4)
	for _, tc := range []struct {
		name  string
		deals []*threshold.Deal
		want  error
	}{
		{"none", nil, threshold.ErrQualified},
		{"too few", c.deals(1, 2), threshold.ErrQualified},
		{"not sorted", c.deals(2, 1, 3), threshold.ErrQualified},
		{"one twice", c.deals(1, 2, 2), threshold.ErrQualified},
		{"too many", c.deals(1, 2, 3, 4, 4), threshold.ErrQualified},
		{"of another ceremony", append(c.deals(1, 2), other.deals(3)...), threshold.ErrDeal},
		{"nil", append(c.deals(1, 2), nil), threshold.ErrDeal},
	} {
		if _, err := threshold.Finish(c.params, tc.deals); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestFinishShareRefuses(t *testing.T) {
	c := newCeremony(t, 4)
	deals := c.deals(1, 2, 3)
	portion := func(dealer, receiver int) *threshold.Portion {
		p, err := c.open(dealer, receiver, c.dealings[dealer-1].Ciphertexts[receiver-1])
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	moved := *portion(3, 2)
	moved.Receiver = 1
	for _, tc := range []struct {
		name     string
		receiver int
		portions []*threshold.Portion
		want     error
		blames   string
	}{
		{"one missing", 1, []*threshold.Portion{portion(1, 1), portion(2, 1)}, threshold.ErrMismatch, "dealer 3"},
		{"one twice", 1, []*threshold.Portion{portion(1, 1), portion(2, 1), portion(3, 1), portion(2, 1)}, threshold.ErrMismatch, "dealer 2"},
		{"another receiver's", 1, []*threshold.Portion{portion(1, 1), portion(2, 1), portion(3, 2)}, threshold.ErrMismatch, "dealer 3"},
		{"another receiver's, renamed", 1, []*threshold.Portion{portion(1, 1), portion(2, 1), &moved}, threshold.ErrMismatch, "dealer 3"},
		{"zero", 1, []*threshold.Portion{portion(1, 1), portion(2, 1), {Dealer: 3}, nil}, threshold.ErrMismatch, "dealer 3"},
		{"receiver 5", 5, []*threshold.Portion{portion(1, 1), portion(2, 1), portion(3, 1)}, threshold.ErrLimit, "index 5"},
	} {
		_, err := threshold.FinishShare(c.params, deals, tc.receiver, tc.portions)
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.blames) {
			t.Errorf("%s: %v, want %v of %s", tc.name, err, tc.want, tc.blames)
		}
	}
	all := []*threshold.Portion{portion(4, 1), portion(3, 1), portion(2, 1), portion(1, 1)} // order is free, extra dealers are ignored
	if _, err := threshold.FinishShare(c.params, deals, 1, all); err != nil {
		t.Error(err)
	}
}

func TestParamsRefuse(t *testing.T) {
	good, _ := thresholdtest.Params(t, "test-1", 2, 1, 4)
	for name, change := range map[string]func(*threshold.Params){
		"no chain":        func(p *threshold.Params) { p.Chain = "" },
		"long chain":      func(p *threshold.Params) { p.Chain = strings.Repeat("x", threshold.ChainBytesMax+1) },
		"low threshold":   func(p *threshold.Params) { p.T = 2 },
		"high threshold":  func(p *threshold.Params) { p.T = 4 },
		"nobody":          func(p *threshold.Params) { p.N, p.T, p.ReceiverKeys = 0, 0, nil },
		"too many":        func(p *threshold.Params) { p.N, p.T, p.ReceiverKeys = 65, 44, make([][]byte, 65) },
		"a key too few":   func(p *threshold.Params) { p.ReceiverKeys = p.ReceiverKeys[:3] },
		"a short key":     func(p *threshold.Params) { p.ReceiverKeys = append(slices.Clone(p.ReceiverKeys[:3]), []byte{1}) },
		"negative number": func(p *threshold.Params) { p.N = -4 },
	} {
		p := *good
		change(&p)
		if err := p.Validate(); err == nil {
			t.Errorf("%s passes", name)
		}
		if _, err := threshold.NewDealing(rand.Reader, &p, 1); err == nil {
			t.Errorf("%s: dealt", name)
		}
	}
	bad := *good
	bad.ReceiverKeys = append(slices.Clone(good.ReceiverKeys[:3]), bytes.Repeat([]byte{0xff}, threshold.ReceiverKeyBytes))
	if err := threshold.CheckReceiverKey(bad.ReceiverKeys[3]); !errors.Is(err, threshold.ErrEncoding) {
		t.Errorf("key of ones: %v", err)
	}
	if _, err := threshold.NewDealing(rand.Reader, &bad, 1); !errors.Is(err, threshold.ErrEncoding) {
		t.Errorf("dealing to a key of ones: %v", err)
	}
	for _, dealer := range []int{-1, 0, 5} {
		if _, err := threshold.NewDealing(rand.Reader, good, dealer); !errors.Is(err, threshold.ErrLimit) {
			t.Errorf("dealer %d: %v", dealer, err)
		}
	}
}

func TestDealingSurvivesARestart(t *testing.T) {
	c := newCeremony(t, 4)
	g := c.dealings[0]
	again, err := threshold.ParseDealing(g.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for j := 1; j <= 4; j++ {
		a, errA := g.Reveal(j)
		b, errB := again.Reveal(j)
		if errA != nil || errB != nil || !bytes.Equal(a, b) || !bytes.Equal(g.Ciphertexts[j-1], again.Ciphertexts[j-1]) {
			t.Fatal("dealing changed")
		}
	}
	if !bytes.Equal(again.Deal.Bytes(), g.Deal.Bytes()) {
		t.Fatal("deal changed")
	}
	raw := g.Bytes()
	rapid.Check(t, func(t *rapid.T) {
		bent := bytes.Clone(raw)
		bent[rapid.IntRange(0, len(raw)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		if d, err := threshold.ParseDealing(bent); err == nil && threshold.VerifyDeal(c.params, d.Deal) == nil {
			t.Fatal("changed dealing is accepted")
		}
	})
	g.Wipe()
	if _, err := g.Reveal(1); !errors.Is(err, threshold.ErrMismatch) || g.Bytes() != nil {
		t.Fatalf("wiped dealing reveals: %v", err)
	}
}

func TestKeygenSecretsDoNotPrint(t *testing.T) {
	c := newCeremony(t, 3)
	secret, err := c.dealings[0].Reveal(2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.open(1, 2, c.dealings[0].Ciphertexts[1])
	if err != nil {
		t.Fatal(err)
	}
	seed, err := c.receivers[0].Bytes()
	if err != nil {
		t.Fatal(err)
	}
	coefficient := c.dealings[0].Bytes()
	coefficient = coefficient[5+len(c.dealings[0].Deal.Bytes()):][:32]
	type holder struct {
		g threshold.Dealing
		p threshold.Portion
		k threshold.ReceiverKey
	}
	h := holder{*c.dealings[0], *p, *c.receivers[0]}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, v := range []any{h, &h, c.dealings[0], p, *p, c.receivers[0], []any{*c.dealings[0], *c.receivers[0]}} {
			out := fmt.Sprintf(format, v)
			for _, s := range [][]byte{secret, seed, coefficient} {
				if strings.Contains(out, hex.EncodeToString(s[:6])) || strings.Contains(out, fmt.Sprintf("%d %d %d", s[0], s[1], s[2])) ||
					strings.Contains(out, fmt.Sprintf("0x%x, 0x%x, 0x%x", s[0], s[1], s[2])) {
					t.Errorf("%s of %T prints a secret", format, v)
				}
			}
		}
	}
}
