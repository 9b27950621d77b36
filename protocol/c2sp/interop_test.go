package c2sp

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

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
