package threshold

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the vectors anew")

const vectorsDir = "../../docs/spec/vectors/"

// hexed is bytes that JSON shows as lowercase hex.
type hexed []byte

func (h hexed) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexed) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// expectations are the words of the vectors' expect field.
var expectations = map[string]error{
	"ok": nil, "encoding": ErrEncoding, "point": ErrPoint, "scalar": ErrScalar, "limit": ErrLimit, "capsule": ErrCapsule,
	"proof": ErrProof, "mismatch": ErrMismatch, "deal": ErrDeal,
}

func checkExpect(t *testing.T, name, expect string, err error) {
	t.Helper()
	var complaint *Complaint
	if errors.As(err, &complaint) {
		if expect != "complaint: "+complaint.Reason.String() {
			t.Errorf("%s: %v, want %s", name, err, expect)
		}
		return
	}
	want, known := expectations[expect]
	if !known || !errors.Is(err, want) {
		t.Errorf("%s: %v, want %s", name, err, expect)
	}
}

type capsuleVector struct {
	Name    string `json:"name"`
	Expect  string `json:"expect"`
	Label   hexed  `json:"label"`
	Secret  hexed  `json:"secret,omitempty"` // with rand: what Seal was given
	Rand    hexed  `json:"rand,omitempty"`
	Capsule hexed  `json:"capsule"`
	Hash    hexed  `json:"hash,omitempty"`
}

type releaseVector struct {
	Name            string  `json:"name"`
	Expect          string  `json:"expect"`
	Chain           string  `json:"chain"`
	Access          hexed   `json:"access"`
	OneTimeKey      hexed   `json:"one_time_key"`
	VerificationKey hexed   `json:"verification_key"`
	Capsules        []hexed `json:"capsules"`
	Share           hexed   `json:"share,omitempty"` // with rand: what Release was given
	Rand            hexed   `json:"rand,omitempty"`
	Partials        hexed   `json:"partials"`
}

type combineVector struct {
	Name     string  `json:"name"`
	T        int     `json:"t"`
	Capsules []hexed `json:"capsules"`
	Partials []hexed `json:"partials"`
	Secrets  []hexed `json:"secrets"` // empty: does not open
}

type thresholdVectors struct {
	About    string          `json:"about"`
	Gbar     hexed           `json:"gbar"`
	Keys     hexed           `json:"keys"`
	Shares   []hexed         `json:"shares"`
	Capsules []capsuleVector `json:"capsules"`
	Releases []releaseVector `json:"releases"`
	Combines []combineVector `json:"combines"`
}

// counter is a reader whose block i is SHA-512(seed ‖ i as u32): randomness for making vectors.
type counter struct {
	seed string
	n    uint32
	rest []byte
}

func (c *counter) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		block := sha512.Sum512(binary.BigEndian.AppendUint32([]byte(c.seed), c.n))
		c.rest = block[:]
		c.n++
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func take(t *testing.T, r io.Reader, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func makeThresholdVectors(t *testing.T) *thresholdVectors {
	r := &counter{seed: "anamnesis threshold vectors"}
	keys, shares, err := split(r, 7, 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	gbar := newPoint(gbarPoint)
	v := &thresholdVectors{About: "TDH2 capsules and releases, docs/spec/threshold.md. One failure each; the first word of what must happen is in expect.",
		Gbar: gbar.raw[:], Keys: keys.Bytes()}
	for _, s := range shares {
		v.Shares = append(v.Shares, s.Bytes())
	}
	v.makeCapsules(t, r, keys)
	v.makeReleases(t, r, keys, shares)
	return v
}

func (v *thresholdVectors) makeCapsules(t *testing.T, r io.Reader, keys *Keys) {
	for _, size := range []int{16, 32, 1} {
		c := capsuleVector{Name: "sealed", Expect: "ok", Label: testLabel, Secret: take(t, r, size), Rand: take(t, r, 128)}
		sealed, err := Seal(bytes.NewReader(c.Rand), &keys.Public, c.Secret, c.Label)
		if err != nil {
			t.Fatal(err)
		}
		hash := sealed.Hash()
		c.Capsule, c.Hash = sealed.Bytes(), hash[:]
		v.Capsules = append(v.Capsules, c)
	}
	good := v.Capsules[0].Capsule
	bad := func(name, expect string, at int, with ...byte) {
		b := bytes.Clone(good)
		copy(b[at:], with)
		v.Capsules = append(v.Capsules, capsuleVector{Name: name, Expect: expect, Label: testLabel, Capsule: b})
	}
	v.Capsules = append(v.Capsules,
		capsuleVector{Name: "another label", Expect: "capsule", Label: []byte("another label"), Capsule: good},
		capsuleVector{Name: "no label", Expect: "limit", Capsule: good},
		capsuleVector{Name: "truncated", Expect: "encoding", Label: testLabel, Capsule: good[:CapsuleBytes-1]},
		capsuleVector{Name: "trailing byte", Expect: "encoding", Label: testLabel, Capsule: append(bytes.Clone(good), 0)})
	bad("unknown algorithm", "encoding", 0, 2)
	bad("another generation", "capsule", offGeneration, 0, 0, 0, 8)
	bad("secret of 0 bytes", "encoding", offLength, 0)
	bad("secret of 33 bytes", "encoding", offLength, 33)
	bad("another length", "capsule", offLength, 15)
	bad("masked secret changed", "capsule", offC, good[offC]^1)
	bad("u is the identity", "point", offU, make([]byte, 32)...)
	bad("u is not canonical", "point", offU, fieldPlus(4)...)
	bad("u is another element", "capsule", offU, good[offUbar:offE]...)
	bad("ubar is the identity", "point", offUbar, make([]byte, 32)...)
	bad("ubar is another element", "capsule", offUbar, good[offU:offUbar]...)
	bad("challenge is not reduced", "scalar", offE, groupOrder()...)
	bad("challenge is zero", "capsule", offE, make([]byte, 32)...)
	bad("response is not reduced", "scalar", offF, groupOrder()...)
	bad("response changed", "capsule", offF, good[offF]^1)
}

func (v *thresholdVectors) makeReleases(t *testing.T, r io.Reader, keys *Keys, shares []*Share) {
	binding := Binding{Chain: "vectors-1", Access: [16]byte(take(t, r, 16)), OneTimeKey: take(t, r, 32)}
	asked := []hexed{v.Capsules[0].Capsule, v.Capsules[1].Capsule, v.Capsules[2].Capsule}
	capsules := parseCapsules(t, asked)
	var answers []hexed
	for i, s := range shares {
		rv := releaseVector{Name: "released", Expect: "ok", Chain: binding.Chain, Access: binding.Access[:], OneTimeKey: binding.OneTimeKey,
			VerificationKey: keys.Verification[i].Bytes(), Capsules: asked, Share: s.Bytes(), Rand: take(t, r, 64)}
		var items []VerifiedCapsule
		for _, c := range capsules {
			items = append(items, testVerified(t, c))
		}
		p, err := Release(bytes.NewReader(rv.Rand), s, items, binding)
		if err != nil {
			t.Fatal(err)
		}
		rv.Partials = p.Bytes()
		answers = append(answers, rv.Partials)
		v.Releases = append(v.Releases, rv)
	}
	bad := func(name, expect string, change func(*releaseVector)) {
		rv := v.Releases[0]
		rv.Name, rv.Expect, rv.Share, rv.Rand = name, expect, nil, nil
		rv.Partials = bytes.Clone(rv.Partials)
		change(&rv)
		v.Releases = append(v.Releases, rv)
	}
	set := func(at int, with ...byte) func(*releaseVector) {
		return func(rv *releaseVector) { copy(rv.Partials[at:], with) }
	}
	bad("another access", "proof", func(rv *releaseVector) { rv.Access = make([]byte, 16) })
	bad("another one-time key", "proof", func(rv *releaseVector) { rv.OneTimeKey = []byte{1} })
	bad("no one-time key", "limit", func(rv *releaseVector) { rv.OneTimeKey = nil })
	bad("another chain", "proof", func(rv *releaseVector) { rv.Chain = "vectors-2" })
	bad("another order", "proof", func(rv *releaseVector) { rv.Capsules = []hexed{asked[1], asked[0], asked[2]} })
	bad("fewer capsules", "mismatch", func(rv *releaseVector) { rv.Capsules = asked[:2] })
	bad("another custodian's key", "mismatch", func(rv *releaseVector) { rv.VerificationKey = keys.Verification[1].Bytes() })
	bad("another epoch", "mismatch", set(5, 0, 0, 0, 9))
	bad("answers swapped", "proof", func(rv *releaseVector) {
		swap := slices.Concat(rv.Partials[13+32:13+64], rv.Partials[13:13+32])
		copy(rv.Partials[13:], swap)
	})
	bad("answer is the identity", "point", set(13, make([]byte, 32)...))
	bad("challenge is not reduced", "scalar", set(13+96, groupOrder()...))
	bad("response is not reduced", "scalar", set(13+128, groupOrder()...))
	bad("response is zero", "proof", set(13+128, make([]byte, 32)...))
	bad("version", "encoding", set(0, 2))
	bad("custodian 0", "limit", set(9, 0, 0))
	bad("custodian 65", "limit", set(9, 0, 65))
	bad("count 0", "limit", set(11, 0, 0))
	bad("count 1025", "limit", set(11, 4, 1))
	bad("truncated", "encoding", func(rv *releaseVector) { rv.Partials = rv.Partials[:len(rv.Partials)-1] })

	secrets := []hexed{v.Capsules[0].Secret, v.Capsules[1].Secret, v.Capsules[2].Secret}
	v.Combines = []combineVector{
		{Name: "custodians 1, 2, 3", T: 3, Capsules: asked, Partials: answers[:3], Secrets: secrets},
		{Name: "custodians 4, 2, 1", T: 3, Capsules: asked, Partials: []hexed{answers[3], answers[1], answers[0]}, Secrets: secrets},
		{Name: "two custodians only", T: 2, Capsules: asked, Partials: answers[:2], Secrets: []hexed{nil, nil, nil}},
	}
}

func parseCapsules(t *testing.T, raw []hexed) []*Capsule {
	t.Helper()
	var capsules []*Capsule
	for _, b := range raw {
		c, err := ParseCapsule(b)
		if err != nil {
			t.Fatal(err)
		}
		capsules = append(capsules, c)
	}
	return capsules
}

// vectors reads a file of vectors, after writing it if asked to.
func vectors[T any](t *testing.T, file string, generate func(*testing.T) *T) *T {
	t.Helper()
	if *rewrite {
		b, err := json.MarshalIndent(generate(t), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorsDir+file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorsDir + file)
	if err != nil {
		t.Fatal(err)
	}
	v := new(T)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	v := vectors(t, "threshold.json", makeThresholdVectors)
	if len(v.Capsules) == 0 || len(v.Releases) == 0 || len(v.Combines) == 0 {
		t.Fatal("no vectors")
	}
	keys, err := ParseKeys(v.Keys)
	if err != nil {
		t.Fatal(err)
	}
	if gbar := newPoint(gbarPoint); !bytes.Equal(gbar.raw[:], v.Gbar) {
		t.Errorf("gbar %x", gbar.raw)
	}
	for i, b := range v.Shares {
		s, err := ParseShare(b)
		if err != nil || !s.VerificationKey().Equal(keys.Verification[i]) {
			t.Errorf("share %d: %v", i+1, err)
		}
	}
	for _, c := range v.Capsules {
		c.run(t, keys)
	}
	for _, r := range v.Releases {
		r.run(t)
	}
	for _, c := range v.Combines {
		c.run(t)
	}
}

func (v *capsuleVector) run(t *testing.T, keys *Keys) {
	c, err := ParseCapsule(v.Capsule)
	if err == nil {
		err = VerifyCapsule(c, v.Label)
	}
	checkExpect(t, v.Name, v.Expect, err)
	if v.Rand == nil {
		return
	}
	sealed, err := Seal(bytes.NewReader(v.Rand), &keys.Public, v.Secret, v.Label)
	if err != nil {
		t.Fatal(err)
	}
	if hash := sealed.Hash(); !bytes.Equal(sealed.Bytes(), v.Capsule) || !bytes.Equal(hash[:], v.Hash) {
		t.Errorf("%s: sealed %x, hash %x", v.Name, sealed.Bytes(), hash)
	}
}

func (v *releaseVector) run(t *testing.T) {
	binding := Binding{Chain: v.Chain, Access: [16]byte(v.Access), OneTimeKey: v.OneTimeKey}
	capsules := parseCapsules(t, v.Capsules)
	key, err := ParseVerificationKey(v.VerificationKey)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePartials(v.Partials)
	if err == nil {
		err = VerifyPartials(key, capsules, binding, p)
	}
	checkExpect(t, v.Name, v.Expect, err)
	if v.Rand == nil {
		return
	}
	share, err := ParseShare(v.Share)
	if err != nil {
		t.Fatal(err)
	}
	var items []VerifiedCapsule
	for _, c := range capsules {
		items = append(items, testVerified(t, c))
	}
	p, err = Release(bytes.NewReader(v.Rand), share, items, binding)
	if err != nil || !bytes.Equal(p.Bytes(), v.Partials) {
		t.Errorf("%s: released something else: %v", v.Name, err)
	}
}

func (v *combineVector) run(t *testing.T) {
	var answers []*Partials
	for _, b := range v.Partials {
		p, err := ParsePartials(b)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, p)
	}
	secrets, err := Combine(v.T, parseCapsules(t, v.Capsules), answers)
	opens := slices.ContainsFunc(v.Secrets, func(h hexed) bool { return len(h) > 0 })
	var wrong *WrongSharesError
	if (err == nil) != opens || (err != nil && !errors.As(err, &wrong)) {
		t.Errorf("%s: %v", v.Name, err)
	}
	for i := range secrets {
		if !bytes.Equal(secrets[i], v.Secrets[i]) {
			t.Errorf("%s: secret %d is %x", v.Name, i, secrets[i])
		}
	}
}
