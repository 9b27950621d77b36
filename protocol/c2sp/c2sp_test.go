package c2sp

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

const (
	origin = "anamnesis.example/test"
	now    = uint64(1_800_000_000_000) // 2027-01-15T08:00:00Z
	day    = uint64(24 * 3600 * 1000)
)

// node is a member's two keys, derived from its number.
type node struct {
	log *LogKey
	cos *CosignKey
}

func key(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(label))
	return ed25519.NewKeyFromSeed(seed[:])
}

func newNode(t testing.TB, i int) node {
	t.Helper()
	l, err := NewLogKey(origin, key(fmt.Sprintf("log %d", i)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCosignKey(fmt.Sprintf("node%d.example", i), key(fmt.Sprintf("cosigner %d", i)))
	if err != nil {
		t.Fatal(err)
	}
	return node{l, c}
}

func network(t testing.TB, n, threshold int) ([]node, *Policy) {
	t.Helper()
	var nodes []node
	var entries []NetworkNode
	for i := range n {
		nodes = append(nodes, newNode(t, i))
		entries = append(entries, NetworkNode{Log: nodes[i].log.Verifier(), Cosigner: nodes[i].cos.Verifier()})
	}
	p, err := NetworkPolicy(entries, threshold, now+365*day)
	if err != nil {
		t.Fatal(err)
	}
	return nodes, p
}

// memoryLog is the naive log that proofs are made from: x/mod's own storage.
type memoryLog struct{ hashes []tlog.Hash }

func (l *memoryLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *memoryLog) add(t testing.TB, n int64, hash tlog.Hash) {
	t.Helper()
	hs, err := tlog.StoredHashesForRecordHash(n, hash, l)
	if err != nil {
		t.Fatal(err)
	}
	l.hashes = append(l.hashes, hs...)
}

func leafAt(i int) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "leaf %d", i))
	return sum[:]
}

func newLog(t testing.TB, size int) (*memoryLog, Checkpoint) {
	t.Helper()
	l := &memoryLog{}
	for i := range size {
		l.add(t, int64(i), LeafHash(leafAt(i)))
	}
	root, err := tlog.TreeHash(int64(size), l)
	if err != nil {
		t.Fatal(err)
	}
	return l, Checkpoint{Origin: origin, Size: uint64(size), Root: root}
}

func sign(t testing.TB, c Checkpoint, at uint64, log []node, cosign ...node) []byte {
	t.Helper()
	var sigs []Signature
	for _, n := range log {
		s, err := n.log.Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		sigs = append(sigs, s)
	}
	for _, n := range cosign {
		s, err := n.cos.Cosign(c, at)
		if err != nil {
			t.Fatal(err)
		}
		sigs = append(sigs, s)
	}
	signed, err := Assemble(c, sigs...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func receipt(t testing.TB, l *memoryLog, c Checkpoint, index int, signed []byte) Proof {
	t.Helper()
	p, err := tlog.ProveRecord(int64(c.Size), int64(index), l)
	if err != nil {
		t.Fatal(err)
	}
	return Proof{Index: uint64(index), Hashes: p, Checkpoint: signed}
}

func TestCheckSaysWhatFails(t *testing.T) {
	nodes, policy := network(t, 4, 3)
	_, c := newLog(t, 10)
	other := c
	other.Origin = "elsewhere.example/log"
	foreignLog, _ := NewLogKey(other.Origin, key("log 0"))
	foreignSig, _ := foreignLog.Sign(other)
	foreign, _ := Assemble(other, foreignSig)
	good := sign(t, c, now-5000, nodes[:1], nodes[:3]...)
	moved := strings.Replace(string(good), "\n10\n", "\n11\n", 1)

	check := func(signed []byte, at uint64, maxAge time.Duration) error {
		_, _, err := policy.Check(signed, at, maxAge)
		return err
	}
	if err := check(good, now, time.Minute); err != nil {
		t.Fatalf("good checkpoint: %v", err)
	}
	if err := check(good, now, 5*time.Second); err != nil {
		t.Fatalf("exactly as old as allowed: %v", err)
	}
	for name, tc := range map[string]struct {
		signed []byte
		at     uint64
		maxAge time.Duration
		want   error
	}{
		"two of three":       {sign(t, c, now, nodes[:1], nodes[:2]...), now, time.Minute, ErrTooFewCosigners{Have: 2, Need: 3}},
		"none":               {sign(t, c, now, nodes[:1]), now, AnyAge, ErrTooFewCosigners{Have: 0, Need: 3}},
		"stale":              {good, now, 4999 * time.Millisecond, ErrStale{Age: 5 * time.Second, Max: 4999 * time.Millisecond}},
		"zero age allowed":   {good, now, 0, ErrStale{Age: 5 * time.Second}},
		"no log signature":   {sign(t, c, now, nil, nodes[:4]...), now, time.Minute, ErrNoLogSignature},
		"other origin":       {foreign, now, time.Minute, ErrOrigin{Have: other.Origin, Want: origin}},
		"expired":            {good, policy.NotAfter, AnyAge, ErrPolicyExpired{NotAfter: policy.NotAfter, Now: policy.NotAfter}},
		"from the future":    {sign(t, c, now+61_000, nodes[:1], nodes...), now, time.Minute, ErrTooFewCosigners{Have: 0, Need: 3, FromFuture: 4}},
		"size changed":       {[]byte(moved), now, AnyAge, ErrSignature{Name: origin, KeyID: nodes[0].log.Verifier().ID()}},
		"not even a note":    {[]byte("x"), now, AnyAge, ErrMalformed{What: "checkpoint", Reason: "malformed note"}},
		"signed by stranger": {sign(t, c, now, []node{newNode(t, 9)}, nodes...), now, AnyAge, ErrNoLogSignature},
	} {
		if err := check(tc.signed, tc.at, tc.maxAge); err != tc.want {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
	if err := check(good, policy.NotAfter-1, AnyAge); err != nil {
		t.Errorf("the last millisecond of the policy: %v", err)
	}
	if err := check(sign(t, c, now+60_000, nodes[:1], nodes...), now, 0); err != nil {
		t.Errorf("a minute of clock skew: %v", err)
	}
}

func TestAssembleRefusesWhatIsNoSignature(t *testing.T) {
	_, c := newLog(t, 3)
	good, _ := newNode(t, 0).cos.Cosign(c, now)
	for name, s := range map[string]Signature{
		"name with lines": {Name: "x y\n\nz", Hash: good.Hash, Base64: good.Base64},
		"not base64":      {Name: good.Name, Hash: good.Hash, Base64: "?"},
		"text":            {Name: good.Name, Hash: good.Hash, Base64: good.Base64 + "\n\n— a " + good.Base64},
	} {
		if _, err := Assemble(c, s); err == nil {
			t.Errorf("%s: assembled", name)
		}
	}
	if _, err := Assemble(c); err == nil {
		t.Error("without signatures")
	}
}

// Every byte of a receipt matters: change any and verification fails, except
// within signatures that the quorum does not need.
func TestProofTampering(t *testing.T) {
	nodes, policy := network(t, 4, 4)
	l, c := newLog(t, 300)
	p := receipt(t, l, c, 77, sign(t, c, now, nodes[:1], nodes...))
	text, err := p.Text()
	if err != nil {
		t.Fatal(err)
	}
	verify := func(text, leaf []byte) error {
		p, err := ParseProof(text)
		if err != nil {
			return err
		}
		_, _, err = p.Verify(policy, leaf, now, time.Minute)
		return err
	}
	if err := verify(text, leafAt(77)); err != nil {
		t.Fatal(err)
	}
	for i := range text {
		for _, x := range []byte{1, 0x20, 0x80} {
			bent := append([]byte(nil), text...)
			bent[i] ^= x
			if verify(bent, leafAt(77)) == nil && !sameSignatures(text, bent) {
				t.Fatalf("byte %d (%q → %q) may change", i, text[i], bent[i])
			}
		}
		if verify(text[:i], leafAt(77)) == nil {
			t.Fatalf("truncated to %d bytes it still verifies", i)
		}
	}
	if err := verify(text, leafAt(78)); err != (ErrRoot{Index: 77, Size: 300}) {
		t.Fatalf("another leaf: %v", err)
	}
}

// sameSignatures: the base64 of a signature line has spare bits at its end,
// which golang.org/x/mod/sumdb/note does not look at.
func sameSignatures(a, b []byte) bool {
	pa, errA := ParseProof(a)
	pb, errB := ParseProof(b)
	if errA != nil || errB != nil {
		return false
	}
	ca, sa, _ := Unverified(pa.Checkpoint)
	cb, sb, _ := Unverified(pb.Checkpoint)
	if ca != cb || pa.Index != pb.Index || len(sa) != len(sb) || fmt.Sprint(pa.Hashes) != fmt.Sprint(pb.Hashes) {
		return false
	}
	for i := range sa {
		if decode(sa[i].Base64) != decode(sb[i].Base64) {
			return false
		}
	}
	return true
}

func TestReceiptOfAMillionFits(t *testing.T) {
	nodes, _ := network(t, 4, 3)
	c := Checkpoint{Origin: origin, Size: 1_000_000, Root: LeafHash(nil)}
	p := Proof{Index: 999_999 - 1<<18, Hashes: make([]Hash, 20), Checkpoint: sign(t, c, now, nodes[:1], nodes...)}
	text, err := p.Text()
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 2000 {
		t.Fatalf("receipt of %d bytes, want at most 2,000", len(text))
	}
	t.Logf("%d bytes", len(text))
}

func TestConsistencyAllSizes(t *testing.T) {
	const n = 40
	l := &memoryLog{}
	var heads []Checkpoint
	for i := 0; i <= n; i++ {
		root := EmptyRoot()
		if i > 0 {
			l.add(t, int64(i-1), LeafHash(leafAt(i-1)))
			root, _ = tlog.TreeHash(int64(i), l)
		}
		heads = append(heads, Checkpoint{Origin: origin, Size: uint64(i), Root: root})
	}
	for older := 1; older <= n; older++ {
		for newer := older; newer <= n; newer++ {
			p, err := tlog.ProveTree(int64(newer), int64(older), l)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckConsistency(heads[older], heads[newer], p); err != nil {
				t.Fatalf("%d → %d: %v", older, newer, err)
			}
			forked := heads[older]
			forked.Root[5] ^= 1
			if err := CheckConsistency(forked, heads[newer], p); err != (ErrForked{Old: forked, New: heads[newer]}) {
				t.Fatalf("%d → %d forked: %v", older, newer, err)
			}
		}
	}
	if err := CheckConsistency(heads[0], heads[7], nil); err != nil {
		t.Errorf("from the empty tree: %v", err)
	}
	if err := CheckConsistency(heads[0], heads[7], []Hash{{}}); err == nil {
		t.Error("a proof from the empty tree")
	}
	if err := CheckConsistency(heads[7], heads[6], nil); err == nil {
		t.Error("backwards")
	}
	other := heads[7]
	other.Origin = "other.example/log"
	if err := CheckConsistency(heads[7], other, nil); err != (ErrOrigin{Have: other.Origin, Want: origin}) {
		t.Errorf("another log: %v", err)
	}
}

func TestAddCheckpointRoundTrip(t *testing.T) {
	nodes, _ := network(t, 4, 3)
	l, c := newLog(t, 20)
	p, _ := tlog.ProveTree(20, 13, l)
	a := AddCheckpoint{Old: 13, Proof: p, Checkpoint: sign(t, c, now, nodes[:1])}
	text, err := a.Text()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseAddCheckpoint(text)
	if err != nil || fmt.Sprint(a) != fmt.Sprint(b) {
		t.Fatalf("%+v %v", b, err)
	}
	if _, err := ParseAddCheckpoint([]byte(strings.Replace(string(text), "old 13", "old 21", 1))); err == nil {
		t.Error("old size above the checkpoint's")
	}
	s, _ := nodes[1].cos.Cosign(c, now)
	x, _ := nodes[2].cos.Cosign(c, now)
	got, err := ParseSignatureLines(c, []byte(Line(x)+Line(s)), nodes[1].cos.Verifier())
	if err != nil || len(got) != 1 || got[0] != s {
		t.Fatalf("%v %v", got, err)
	}
	smuggled := c
	smuggled.Size++
	if _, err := ParseSignatureLines(smuggled, []byte(Line(s)), nodes[1].cos.Verifier()); err != (ErrSignature{Name: s.Name, KeyID: s.Hash}) {
		t.Errorf("cosignature of another checkpoint: %v", err)
	}
	// A true signature of a text that only begins like the checkpoint's.
	k := key("log 1")
	longer := c.Text() + "\nmore text\n"
	v, err := NewVerifierKey("node1.example", KeyEd25519, k.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	line := Line(signatureLine(v, ed25519.Sign(k, []byte(longer))))
	if _, err := ParseSignatureLines(c, []byte("more text\n\n"+line), v); !errors.As(err, new(ErrMalformed)) {
		t.Errorf("signature of a longer text: %v", err)
	}
	if _, err := ParseSignatureLines(c, []byte("more text\n\n"+Line(s)), nodes[1].cos.Verifier()); err == nil {
		t.Error("text before the lines")
	}
}

func TestCheckpointRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Checkpoint{
			Origin: rapid.StringMatching(`[a-zA-Z0-9./é-]{1,40}`).Draw(t, "origin"),
			Size:   rapid.Uint64Range(0, TreeSizeMax).Draw(t, "size"),
			Root:   Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "root")),
		}
		if c.Size == 0 {
			c.Root = EmptyRoot()
		}
		got, err := ParseCheckpoint(c.Text())
		if err != nil || got != c {
			t.Fatalf("%+v → %+v, %v", c, got, err)
		}
		theirs, err := torchwood.ParseCheckpoint(c.Text())
		if err != nil || theirs.String() != c.Text() {
			t.Fatalf("torchwood: %v", err)
		}
	})
}

func TestCheckpointRefuses(t *testing.T) {
	_, c := newLog(t, 12)
	good := c.Text()
	for name, text := range map[string]string{
		"leading zero":     strings.Replace(good, "\n12\n", "\n012\n", 1),
		"plus":             strings.Replace(good, "\n12\n", "\n+12\n", 1),
		"too large":        strings.Replace(good, "\n12\n", "\n72057594037927937\n", 1),
		"extension":        good + "more\n",
		"no last newline":  strings.TrimSuffix(good, "\n"),
		"empty origin":     strings.TrimPrefix(good, origin),
		"origin space":     strings.Replace(good, "/", " ", 1),
		"non-empty at 0":   strings.Replace(good, "\n12\n", "\n0\n", 1),
		"base64 spare bit": strings.Replace(good, "=\n", "x\n", 1),
	} {
		if _, err := ParseCheckpoint(text); !errors.As(err, new(ErrMalformed)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
