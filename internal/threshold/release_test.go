package threshold

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"pgregory.net/rapid"
)

func testBinding() Binding {
	return Binding{Chain: "test-1", Access: [16]byte{9, 15}, OneTimeKey: []byte("one-time key of the reader")}
}

func testAnswers(t testing.TB, shares []*Share, binding Binding, items ...VerifiedCapsule) []*Partials {
	t.Helper()
	var answers []*Partials
	for _, s := range shares {
		p, err := Release(rand.Reader, s, items, binding)
		if err != nil {
			t.Fatal(err)
		}
		if p, err = ParsePartials(p.Bytes()); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, p)
	}
	return answers
}

// testAccess seals count secrets and returns everything a reader and a custodian need.
func testAccess(t testing.TB, keys *Keys, count int) (secrets [][]byte, capsules []*Capsule, items []VerifiedCapsule) {
	t.Helper()
	for i := range count {
		secret := bytes.Repeat([]byte{byte(i + 1)}, 16)
		c := testSeal(t, &keys.Public, secret)
		secrets, capsules, items = append(secrets, secret), append(capsules, c), append(items, testVerified(t, c))
	}
	return secrets, capsules, items
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// subsets calls f with every subset of size k of 0..n-1.
func subsets(n, k int, f func([]int)) {
	var pick func(from int, chosen []int)
	pick = func(from int, chosen []int) {
		if len(chosen) == k {
			f(chosen)
			return
		}
		for i := from; i < n; i++ {
			pick(i+1, append(slices.Clone(chosen), i))
		}
	}
	pick(0, nil)
}

// For every n up to 7: each subset of t custodians opens, in any order; no subset of t-1 does, not even
// when it passes itself off as enough.
func TestEverySubset(t *testing.T) {
	for n := 1; n <= 7; n++ {
		keys, shares := testKeys(t, n)
		secrets, capsules, items := testAccess(t, keys, 2)
		answers := testAnswers(t, shares, testBinding(), items...)
		subsets(n, keys.T, func(chosen []int) {
			var some []*Partials
			for _, i := range chosen {
				some = append([]*Partials{answers[i]}, some...)
			}
			got, err := Combine(keys.T, capsules, some)
			if err != nil || !slices.EqualFunc(got, secrets, bytes.Equal) {
				t.Fatalf("n=%d, custodians %v: %v", n, chosen, err)
			}
		})
		if keys.T == 1 {
			continue
		}
		subsets(n, keys.T-1, func(chosen []int) {
			var some []*Partials
			for _, i := range chosen {
				some = append(some, answers[i])
			}
			if _, err := Combine(keys.T, capsules, some); !errors.Is(err, ErrShares) {
				t.Fatalf("n=%d, custodians %v: %v, want ErrShares", n, chosen, err)
			}
			got, err := Combine(keys.T-1, capsules, some)
			var wrong *WrongSharesError
			if !errors.As(err, &wrong) || !slices.Equal(wrong.Capsules, []int{0, 1}) || got[0] != nil || got[1] != nil {
				t.Fatalf("n=%d: %d custodians opened a capsule: %v", n, keys.T-1, err)
			}
		})
	}
}

// t-1 shares fit every possible key: for any secret key whatever there is a t-th share that completes them to it.
// That is what "they learn nothing" means for the sharing itself.
func TestTooFewSharesFitEveryKey(t *testing.T) {
	for n := 2; n <= 10; n++ {
		keys, shares := testKeys(t, n)
		indices := make([]int, keys.T)
		for i := range indices {
			indices[i] = i + 1
		}
		coefficients, err := lagrange(indices)
		if err != nil {
			t.Fatal(err)
		}
		partial := new(scalar.Scalar)
		for i := range keys.T - 1 {
			partial.Add(partial, new(scalar.Scalar).Mul(coefficients[i], shares[i].x.get()))
		}
		for range 3 {
			anyKey := mustScalar(t)
			last := new(scalar.Scalar).Sub(anyKey, partial)
			last.Mul(last, new(scalar.Scalar).Invert(coefficients[keys.T-1]))
			whole := new(scalar.Scalar).Add(partial, new(scalar.Scalar).Mul(coefficients[keys.T-1], last))
			if whole.Equal(anyKey) != 1 {
				t.Fatalf("n=%d: no share completes %d others to an arbitrary key", n, keys.T-1)
			}
		}
	}
}

func TestCombineRefuses(t *testing.T) {
	keys, shares := testKeys(t, 4)
	_, capsules, items := testAccess(t, keys, 2)
	a := testAnswers(t, shares, testBinding(), items...)
	fewer := testAnswers(t, shares[:1], testBinding(), items[0])
	otherEpoch := *a[2]
	otherEpoch.Epoch++
	otherGeneration := *a[2]
	otherGeneration.Generation++
	for _, tc := range []struct {
		name     string
		t        int
		capsules []*Capsule
		answers  []*Partials
		want     error
	}{
		{"same custodian twice", 3, capsules, []*Partials{a[0], a[1], a[0]}, ErrShares},
		{"too many", 3, capsules, a, ErrShares},
		{"too few", 3, capsules, a[:2], ErrShares},
		{"threshold zero", 0, capsules, nil, ErrShares},
		{"threshold over the limit", 65, capsules, make([]*Partials, 65), ErrShares},
		{"nil answer", 3, capsules, []*Partials{a[0], nil, a[1]}, ErrMismatch},
		{"nil capsule", 3, []*Capsule{capsules[0], nil}, a[:3], ErrMismatch},
		{"zero capsule", 3, []*Capsule{capsules[0], {}}, a[:3], ErrMismatch},
		{"no capsules", 3, nil, a[:3], ErrLimit},
		{"answer to fewer", 3, capsules, []*Partials{fewer[0], a[1], a[2]}, ErrMismatch},
		{"two epochs", 3, capsules, []*Partials{a[0], a[1], &otherEpoch}, ErrMismatch},
		{"two generations", 3, capsules, []*Partials{a[0], a[1], &otherGeneration}, ErrMismatch},
	} {
		if _, err := Combine(tc.t, tc.capsules, tc.answers); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestReleaseRefuses(t *testing.T) {
	keys, shares := testKeys(t, 4)
	_, _, items := testAccess(t, keys, 1)
	b := testBinding()
	other := *shares[0]
	other.Generation++
	noKey, longKey, noChain := b, b, b
	noKey.OneTimeKey, longKey.OneTimeKey, noChain.Chain = nil, make([]byte, OneTimeKeyBytesMax+1), ""
	wiped, err := ParseShare(shares[0].Bytes())
	if err != nil {
		t.Fatal(err)
	}
	wiped.Wipe()
	for _, tc := range []struct {
		name    string
		share   *Share
		items   []VerifiedCapsule
		binding Binding
		want    error
	}{
		{"nothing asked", shares[0], nil, b, ErrLimit},
		{"too much asked", shares[0], slices.Repeat(items, CapsulesMax+1), b, ErrLimit},
		{"not verified", shares[0], []VerifiedCapsule{{}}, b, ErrCapsule},
		{"other generation", &other, items, b, ErrMismatch},
		{"no share", nil, items, b, ErrMismatch},
		{"wiped share", wiped, items, b, ErrMismatch},
		{"no one-time key", shares[0], items, noKey, ErrLimit},
		{"long one-time key", shares[0], items, longKey, ErrLimit},
		{"no chain", shares[0], items, noChain, ErrLimit},
	} {
		if _, err := Release(rand.Reader, tc.share, tc.items, tc.binding); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, err := Release(nil, shares[0], items, b); !errors.Is(err, ErrRandomness) {
		t.Errorf("no randomness: %v", err)
	}
}

// A proof answers one request of one access by one custodian in one epoch, and nothing else.
func TestProofDoesNotReplay(t *testing.T) {
	keys, shares := testKeys(t, 4)
	_, capsules, items := testAccess(t, keys, 3)
	b := testBinding()
	p := testAnswers(t, shares[:1], b, items...)[0]
	key := keys.Verification[0]
	if err := VerifyPartials(key, capsules, b, p); err != nil {
		t.Fatal(err)
	}
	access, oneTime, chain := b, b, b
	access.Access[3] ^= 1
	oneTime.OneTimeKey = []byte("one-time key of another reader")
	chain.Chain = "test-2"
	nextEpoch, nextKey := *p, key
	nextEpoch.Epoch++
	nextKey.Epoch++
	asSecond, secondKey := *p, keys.Verification[1]
	asSecond.Index = 2
	sameVKIndex2 := key
	sameVKIndex2.Index = 2
	swapped := *p
	swapped.points = []point{p.points[1], p.points[0], p.points[2]}
	for _, tc := range []struct {
		name     string
		key      VerificationKey
		capsules []*Capsule
		binding  Binding
		p        *Partials
		want     error
	}{
		{"other access", key, capsules, access, p, ErrProof},
		{"other one-time key", key, capsules, oneTime, p, ErrProof},
		{"other chain", key, capsules, chain, p, ErrProof},
		{"other epoch", nextKey, capsules, b, &nextEpoch, ErrProof},
		{"epoch of answer differs", key, capsules, b, &nextEpoch, ErrMismatch},
		{"other custodian", secondKey, capsules, b, &asSecond, ErrProof},
		{"other index, same key", sameVKIndex2, capsules, b, &asSecond, ErrProof},
		{"capsules in another order", key, []*Capsule{capsules[1], capsules[0], capsules[2]}, b, p, ErrProof},
		{"capsules and answers in another order", key, []*Capsule{capsules[1], capsules[0], capsules[2]}, b, &swapped, ErrProof},
		{"a capsule fewer", key, capsules[:2], b, p, ErrMismatch},
		{"no answer", key, capsules, b, nil, ErrMismatch},
		{"zero key", VerificationKey{Generation: 7, Epoch: 3, Index: 1}, capsules, b, p, ErrMismatch},
	} {
		if err := VerifyPartials(tc.key, tc.capsules, tc.binding, tc.p); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

// A custodian that knew the weights before it fixed its answers could let errors cancel out and still prove the batch.
func TestErrorsThatCancelOutAreFound(t *testing.T) {
	keys, shares := testKeys(t, 4)
	_, capsules, items := testAccess(t, keys, 2)
	honest := testAnswers(t, shares[:1], testBinding(), items...)[0]
	w := weights(releaseSeed(keys.Verification[0], capsules, testBinding(), honest.points), 2)
	// Shifted by d/w0 and -d/w1 the answers have the same sum under the weights of the honest answer.
	d := mulG(mustScalar(t))
	shift0 := new(curve.RistrettoPoint).Mul(d, new(scalar.Scalar).Invert(w[0]))
	shift1 := new(curve.RistrettoPoint).Mul(d, new(scalar.Scalar).Invert(w[1]))
	lie := *honest
	lie.points = []point{
		newPoint(new(curve.RistrettoPoint).Add(&honest.points[0].p, shift0)),
		newPoint(new(curve.RistrettoPoint).Sub(&honest.points[1].p, shift1)),
	}
	seed := releaseSeed(keys.Verification[0], capsules, testBinding(), lie.points)
	base := new(curve.RistrettoPoint).MultiscalarMulVartime(weights(seed, 2), capsulePoints(capsules))
	nonce := mustScalar(t)
	lie.c.Set(releaseChallenge(seed, mulG(nonce), new(curve.RistrettoPoint).Mul(base, nonce)))
	lie.s.Sub(nonce, lie.s.Mul(&lie.c, shares[0].x.get()))
	if err := VerifyPartials(keys.Verification[0], capsules, testBinding(), &lie); !errors.Is(err, ErrProof) {
		t.Fatalf("cancelling errors: %v, want ErrProof", err)
	}
	lie.points = honest.points // the same construction over the truth does verify
	seed = releaseSeed(keys.Verification[0], capsules, testBinding(), lie.points)
	base.MultiscalarMulVartime(weights(seed, 2), capsulePoints(capsules))
	lie.c.Set(releaseChallenge(seed, mulG(nonce), new(curve.RistrettoPoint).Mul(base, nonce)))
	lie.s.Sub(nonce, lie.s.Mul(&lie.c, shares[0].x.get()))
	if err := VerifyPartials(keys.Verification[0], capsules, testBinding(), &lie); err != nil {
		t.Fatal(err)
	}
}

// Whatever a random set of custodians does to its answers, Combine notices, FindLiars names exactly them, and the honest
// ones, if enough, still open.
func TestLiarsAreFound(t *testing.T) {
	keys, shares := testKeys(t, 7)
	secrets, capsules, items := testAccess(t, keys, 3)
	honest := testAnswers(t, shares, testBinding(), items...)
	rapid.Check(t, func(t *rapid.T) {
		lying := rapid.SliceOfNDistinct(rapid.IntRange(1, 7), 1, 7, rapid.ID[int]).Draw(t, "lying")
		slices.Sort(lying)
		answers := slices.Clone(honest)
		var truthful []*Partials
		for i, p := range answers {
			if !slices.Contains(lying, i+1) {
				truthful = append(truthful, p)
				continue
			}
			lie := *p
			lie.points = slices.Clone(p.points)
			switch rapid.IntRange(0, 3).Draw(t, "lie") {
			case 0:
				lie.points[rapid.IntRange(0, 2).Draw(t, "at")] = newPoint(mulG(scalar.NewFromUint64(rapid.Uint64Min(1).Draw(t, "x"))))
			case 1:
				lie.points = honest[(i+1)%7].points
			case 2:
				lie.s.Add(&lie.s, scalar.One())
			case 3:
				lie.c.Add(&lie.c, scalar.One())
			}
			answers[i] = &lie
		}
		if got := FindLiars(keys, capsules, testBinding(), answers); !slices.Equal(got, lying) {
			t.Fatalf("found %v, want %v", got, lying)
		}
		if len(truthful) < keys.T {
			return
		}
		got, err := Combine(keys.T, capsules, truthful[:keys.T])
		if err != nil || !slices.EqualFunc(got, secrets, bytes.Equal) {
			t.Fatalf("the honest do not open: %v", err)
		}
	})
}

func TestOneWrongShareSpoilsItsCapsuleOnly(t *testing.T) {
	keys, shares := testKeys(t, 4)
	secrets, capsules, items := testAccess(t, keys, 3)
	answers := testAnswers(t, shares, testBinding(), items...)
	lie := *answers[1]
	lie.points = slices.Clone(lie.points)
	lie.points[1] = newPoint(mulG(mustScalar(t)))
	got, err := Combine(keys.T, capsules, []*Partials{answers[0], &lie, answers[2]})
	var wrong *WrongSharesError
	if !errors.As(err, &wrong) || !slices.Equal(wrong.Capsules, []int{1}) {
		t.Fatalf("error %v", err)
	}
	if !bytes.Equal(got[0], secrets[0]) || got[1] != nil || !bytes.Equal(got[2], secrets[2]) {
		t.Fatalf("secrets %x", got)
	}
	stranger := *answers[0]
	stranger.Index = 9
	if got := FindLiars(keys, capsules, testBinding(), []*Partials{&stranger, nil, &lie, answers[0]}); !slices.Equal(got, []int{2, 9}) {
		t.Fatalf("liars %v", got)
	}
}

func TestParsePartialsRefuses(t *testing.T) {
	keys, shares := testKeys(t, 4)
	_, _, items := testAccess(t, keys, 2)
	raw := testAnswers(t, shares[:1], testBinding(), items...)[0].Bytes()
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
		{"head only", raw[:partialsHead], ErrEncoding},
		{"short", raw[:len(raw)-1], ErrEncoding},
		{"long", append(bytes.Clone(raw), 0), ErrEncoding},
		{"version", change(0, 2), ErrEncoding},
		{"index 0", change(9, 0, 0), ErrLimit},
		{"index 65", change(9, 0, 65), ErrLimit},
		{"count 0", change(11, 0, 0), ErrLimit},
		{"count over the limit", change(11, 0x04, 0x01), ErrLimit},
		{"count wrong", change(11, 0, 3), ErrEncoding},
		{"identity", change(13, make([]byte, 32)...), ErrPoint},
		{"point not canonical", change(13, fieldPlus(2)...), ErrPoint},
		{"challenge not reduced", change(13+64, groupOrder()...), ErrScalar},
		{"response not reduced", change(13+96, bytes.Repeat([]byte{0xff}, 32)...), ErrScalar},
	} {
		if _, err := ParsePartials(tc.b); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestSharesAndKeysRoundTrip(t *testing.T) {
	keys, shares := testKeys(t, 5)
	parsed, err := ParseKeys(keys.Bytes())
	if err != nil || !bytes.Equal(parsed.Bytes(), keys.Bytes()) || parsed.T != 4 {
		t.Fatalf("keys: %v", err)
	}
	pk, err := ParsePublicKey(keys.Public.Bytes())
	if err != nil || pk.Generation() != 7 || !bytes.Equal(pk.Bytes(), keys.Public.Bytes()) {
		t.Fatalf("public key: %v", err)
	}
	for i, s := range shares {
		again, err := ParseShare(s.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		vk, err := ParseVerificationKey(again.VerificationKey().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		want, err := parsed.Key(i + 1)
		if err != nil || !vk.Equal(want) {
			t.Fatalf("share %d does not match its key: %v", i+1, err)
		}
	}
	for _, i := range []int{-1, 0, 6} {
		if _, err := keys.Key(i); !errors.Is(err, ErrLimit) {
			t.Errorf("key %d: %v", i, err)
		}
	}
	for _, index := range []byte{0, 65} {
		vk, share := keys.Verification[0].Bytes(), shares[0].Bytes()
		vk[9], share[10] = index, index
		if _, err := ParseVerificationKey(vk); !errors.Is(err, ErrLimit) {
			t.Errorf("verification key %d: %v", index, err)
		}
		if _, err := ParseShare(share); !errors.Is(err, ErrLimit) {
			t.Errorf("share %d: %v", index, err)
		}
	}
	zero := bytes.Clone(shares[0].Bytes())
	clear(zero[ShareBytes-32:])
	if _, err := ParseShare(zero); !errors.Is(err, ErrScalar) {
		t.Errorf("zero share: %v", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	_, shares := testKeys(t, 4)
	secret := shares[0].Bytes()[ShareBytes-32:]
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, out := range []string{fmt.Sprintf(format, shares[0]), fmt.Sprintf(format, *shares[0])} {
			if strings.Contains(out, hex.EncodeToString(secret[:6])) || strings.Contains(out, fmt.Sprintf("%d, %d", secret[0], secret[1])) ||
				strings.Contains(out, fmt.Sprintf("%d %d", secret[0], secret[1])) || !strings.HasPrefix(out, "share 1 of") {
				t.Errorf("%s prints %s", format, out)
			}
		}
		holder := struct{ share Share }{*shares[0]} // fmt calls no methods on unexported fields
		if out := fmt.Sprintf(format, holder); strings.Contains(out, hex.EncodeToString(secret[:6])) ||
			strings.Contains(out, fmt.Sprintf("%d %d %d", secret[0], secret[1], secret[2])) {
			t.Errorf("%s of a holder prints %s", format, out)
		}
	}
}
