package c2sp

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
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

// One fresh cosigner cannot make up for stale ones: the quorum's time is the
// third latest, and a second signature of one key counts once.
func TestQuorumTimeIsTheThresholdthLatest(t *testing.T) {
	nodes, policy := network(t, 4, 3)
	_, c := newLog(t, 3)
	var sigs []Signature
	l, _ := nodes[2].log.Sign(c)
	sigs = append(sigs, l)
	for i, age := range []uint64{1000, 100_000, 50_000, 200_000} {
		s, _ := nodes[i].cos.Cosign(c, now-age)
		sigs = append(sigs, s)
	}
	again, _ := nodes[0].cos.Cosign(c, now)
	signed, err := Assemble(c, append(sigs, again)...)
	if err != nil {
		t.Fatal(err)
	}
	_, status, err := policy.Check(signed, now, time.Minute)
	if want := (ErrStale{Age: 100 * time.Second, Max: time.Minute}); err != want {
		t.Fatalf("got %v, want %v", err, want)
	}
	if status.QuorumTime != now-100_000 || status.Have != 4 || status.Need != 3 || status.Cosigners[0].Time != now {
		t.Fatalf("status %+v", status)
	}
	if len(status.LogKeys) != 1 || status.LogKeys[0] != nodes[2].log.Verifier() {
		t.Fatalf("log keys %v", status.LogKeys)
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

func TestNestedGroups(t *testing.T) {
	nodes, flat := network(t, 5, 3)
	w := func(i int) string { return flat.Witnesses[i].Name }
	text, _ := flat.Text()
	nested := strings.NewReplacer(
		"group nodes 3 "+strings.Join([]string{w(0), w(1), w(2), w(3), w(4)}, " "),
		fmt.Sprintf("group X all %s %s\n\tgroup Y any %s %s\ngroup both all X Y %s", w(0), w(1), w(2), w(3), w(4)),
		"quorum nodes", " quorum\tboth ").Replace(string(text))
	policy, err := ParsePolicy([]byte(nested))
	if err != nil {
		t.Fatal(err)
	}
	_, c := newLog(t, 3)
	for mask := range 32 {
		var who []node
		for i, n := range nodes {
			if mask>>i&1 == 1 {
				who = append(who, n)
			}
		}
		_, _, err := policy.Check(sign(t, c, now, nodes[:1], who...), now, 0)
		if want := mask&3 == 3 && mask&12 != 0 && mask&16 != 0; (err == nil) != want {
			t.Errorf("cosigners %05b: %v", mask, err)
		}
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

// Another implementation reads what we write: torchwood verifies our receipts
// against our policy file, and ours verifies what torchwood writes.
func TestTorchwoodReadsUs(t *testing.T) {
	nodes, policy := network(t, 4, 3)
	l, c := newLog(t, 700)
	signed := sign(t, c, now, nodes[1:2], nodes[:3]...)
	p := receipt(t, l, c, 42, signed)
	text, _ := p.Text()

	one, err := policy.ForSigners(signed)
	if err != nil {
		t.Fatal(err)
	}
	file, err := one.Text()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := torchwood.ParsePolicy(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := torchwood.VerifyProof(theirs, tlog.RecordHash(leafAt(42)), text); err != nil {
		t.Fatalf("torchwood: %v", err)
	}
	if err := torchwood.VerifyProof(theirs, tlog.RecordHash(leafAt(43)), text); err == nil {
		t.Fatal("torchwood accepts another leaf")
	}
	if got := torchwood.FormatProof(42, tlog.RecordProof(p.Hashes), signed); string(got) != string(text) {
		t.Fatalf("torchwood writes\n%s\nwe write\n%s", got, text)
	}
	tooFew, _ := receipt(t, l, c, 42, sign(t, c, now, nodes[1:2], nodes[:2]...)).Text()
	if err := torchwood.VerifyProof(theirs, tlog.RecordHash(leafAt(42)), tooFew); err == nil {
		t.Fatal("torchwood accepts two cosigners of three")
	}
	// The whole policy serves torchwood where every node's log key signed.
	all, _ := policy.Text()
	if theirs, err = torchwood.ParsePolicy(all); err != nil {
		t.Fatal(err)
	}
	if _, _, err := torchwood.VerifyCheckpoint(sign(t, c, now, nodes, nodes...), theirs); err != nil {
		t.Fatalf("torchwood with all log keys: %v", err)
	}
}

func TestWeReadTorchwood(t *testing.T) {
	_, c := newLog(t, 9)
	theirs, err := torchwood.NewCosignatureSigner("node0.example", key("cosigner 0"))
	if err != nil {
		t.Fatal(err)
	}
	ours := newNode(t, 0)
	if got, want := ours.cos.Verifier().String(), theirs.Verifier().String(); got != want {
		t.Fatalf("vkey %s, torchwood has %s", got, want)
	}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, theirs)
	if err != nil {
		t.Fatal(err)
	}
	got, sigs, err := Open(signed, ours.cos.Verifier())
	if err != nil || got != c || len(sigs) != 1 {
		t.Fatalf("%v %v %v", got, sigs, err)
	}
	theirTime, _ := torchwood.CosignatureTimestamp(sigs[0])
	if ms, err := CosignatureTime(sigs[0]); err != nil || ms != uint64(theirTime)*1000 {
		t.Fatalf("time %d %v", ms, err)
	}
}

func TestPolicyRefuses(t *testing.T) {
	_, policy := network(t, 2, 2)
	raw, _ := policy.Text()
	good := string(raw)
	lines := strings.SplitAfter(good, "\n")
	w0, w1 := lines[3], lines[4]
	renamed, _ := NewVerifierKey("node1.example", KeyCosignatureV1, policy.Witnesses[0].Key.PublicKey())
	logAsCosigner, _ := NewVerifierKey("node1.example", KeyCosignatureV1, policy.Logs[1].Key.PublicKey())
	mutate := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the policy", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, text := range map[string]string{
		"no end date":              strings.Join(lines[1:], ""),
		"two end dates":            lines[0] + good,
		"misspelt end date":        mutate("# anamnesis-not-after ", "# anamnesis-notafter "),
		"end date without a space": mutate("# anamnesis-not-after ", "#anamnesis-not-after "),
		"end date indented":        " " + good,
		"end date without zone":    mutate("Z\n", "\n"),
		"end date in fractions":    mutate("Z\n", ".5Z\n"),
		"no log":                   lines[0] + w0 + w1 + lines[5] + lines[6],
		"no witness in group":      mutate(w0, ""),
		"quorum none":              mutate("quorum nodes", "quorum none"),
		"no quorum":                mutate("quorum nodes\n", ""),
		"two quorums":              good + "quorum nodes\n",
		"undefined quorum":         mutate("quorum nodes", "quorum others"),
		"group before its members": lines[0] + lines[1] + lines[5] + w0 + w1 + lines[6],
		"threshold zero":           mutate("group nodes 2", "group nodes 0"),
		"threshold over members":   mutate("group nodes 2", "group nodes 3"),
		"threshold with zero":      mutate("group nodes 2", "group nodes 02"),
		"member twice":             mutate("node0.example node1.example\n", "node0.example node0.example\n"),
		"group named none":         strings.NewReplacer("group nodes", "group none", "quorum nodes", "quorum none").Replace(good),
		"witness twice":            mutate(w1, w0),
		"same key, other name":     mutate(w1, "witness node1.example "+renamed.String()+"\n"),
		"cosigner key signs too":   mutate(w1, "witness node1.example "+logAsCosigner.String()+"\n"),
		"unknown keyword":          good + "wombat\n",
		"hash inside a line":       mutate("quorum nodes", "quorum nodes # really"),
		"hash in a URL":            mutate("\nwitness", " https://a.example/#1\nwitness"),
		"control character":        mutate("quorum nodes", "quorum nodes\r"),
		"no newline at the end":    strings.TrimSuffix(good, "\n"),
		"log key as witness":       mutate(w1, "witness node1.example "+policy.Logs[1].Key.String()+"\n"),
		"wrong key id":             mutate(fmt.Sprintf("%08x", policy.Logs[0].Key.ID()), "00000000"),
		"empty":                    "",
	} {
		if _, err := ParsePolicy([]byte(text)); err == nil {
			t.Errorf("%s: accepted\n%s", name, text)
		} else if !errors.As(err, new(ErrMalformed)) && !errors.As(err, new(ErrKeyType)) {
			t.Errorf("%s: untyped error %v", name, err)
		}
	}
	var kt ErrKeyType
	pq := VerifierKey{Name: "node9.example", Type: KeyMLDSA44, public: strings.Repeat("k", 1312)}
	if _, err := ParseVerifierKey(pq.String()); !errors.As(err, &kt) || kt.Type != KeyMLDSA44 {
		t.Errorf("ML-DSA-44 key: %v", err)
	}
}

func TestPolicyAllowsWhatTheSpecificationAllows(t *testing.T) {
	_, policy := network(t, 3, 3)
	policy.Logs[1].URL, policy.Witnesses[2].URL = "https://node1.example/log", "https://node2.example/witness"
	raw, err := policy.Text()
	if err != nil {
		t.Fatal(err)
	}
	loose := "\t # a comment — with UTF-8\n\n" + strings.NewReplacer("group nodes 3", "group  nodes\tall", "\nquorum", "\n  \n\tquorum").Replace(string(raw))
	got, err := ParsePolicy([]byte(loose))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := got.Text()
	if string(again) != string(raw) {
		t.Fatalf("canonical form changed:\n%s\n%s", raw, again)
	}
	d1, _ := policy.Digest()
	if d2, _ := got.Digest(); d1 != d2 {
		t.Fatal("spacing changes the digest")
	}
	got.NotAfter += 1000
	if d3, _ := got.Digest(); d1 == d3 {
		t.Fatal("the end date does not change the digest")
	}
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

func dataDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("ANAMNESIS_DATA"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if at := filepath.Join(filepath.Dir(dir), "shared", "data"); isDir(at) {
			return at
		}
	}
	t.Skip("SKIPPED: no shared/data beside the repository and no ANAMNESIS_DATA")
	return ""
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Vectors of transparency-dev/merkle.
func TestVectorsRFC6962(t *testing.T) {
	dir := filepath.Join(dataDir(t), "vectors", "merkle-rfc6962")
	var v struct {
		LeafIdx, TreeSize, Size1, Size2 uint64
		Root, LeafHash, Root1, Root2    Hash
		Proof                           []Hash
		WantErr                         bool
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	if len(files) < 3 {
		t.Fatalf("%d vectors in %s", len(files), dir)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v.Proof = nil
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(filepath.Base(file), "inclusion") {
			err = CheckInclusion(v.LeafHash, v.LeafIdx, v.TreeSize, v.Root, v.Proof)
		} else {
			err = CheckConsistency(Checkpoint{origin, v.Size1, v.Root1}, Checkpoint{origin, v.Size2, v.Root2}, v.Proof)
		}
		if (err != nil) != v.WantErr {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

// A log that Tessera wrote: its checkpoints verify with us, its tiles make
// their roots, and each extends the one before.
func TestVectorsTessera(t *testing.T) {
	dir := filepath.Join(dataDir(t), "vectors", "tlog-tessera")
	vkey, err := ParseVerifierKey("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")
	if err != nil {
		t.Fatal(err)
	}
	tile, err := os.ReadFile(filepath.Join(dir, "tile", "0", "000.p", "15"))
	if err != nil {
		t.Fatal(err)
	}
	l := &memoryLog{}
	var last Checkpoint
	for size := range 16 {
		if size > 0 {
			l.add(t, int64(size-1), Hash(tile[(size-1)*32:][:32]))
		}
		signed, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("checkpoint.%d", size)))
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := Open(signed, vkey)
		if err != nil {
			t.Fatalf("checkpoint.%d: %v", size, err)
		}
		root := EmptyRoot()
		if size > 0 {
			root, _ = tlog.TreeHash(int64(size), l)
		}
		if c.Size != uint64(size) || c.Root != root {
			t.Fatalf("checkpoint.%d: size %d root %x, tiles say %x", size, c.Size, c.Root[:], root[:])
		}
		var p tlog.TreeProof
		if size > 1 {
			p, _ = tlog.ProveTree(int64(size), int64(size-1), l)
		}
		if last.Origin != "" {
			if err := CheckConsistency(last, c, p); err != nil {
				t.Fatal(err)
			}
		}
		last = c
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
