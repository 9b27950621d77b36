package wallet

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// TestTreeIsRFC6962 compares trees and paths of all small sizes with golang.org/x/mod's.
func TestTreeIsRFC6962(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range at {
			out = append(out, stored[i])
		}
		return out, nil
	})
	var leaves []protocol.Hash
	for n := range 40 {
		h := protocol.Digest("test", fmt.Append(nil, n))
		leaves = append(leaves, leafHash(h))
		stored = append(stored, must(tlog.StoredHashes(int64(n), h[:], reader))(t)...)
		root := must(tlog.TreeHash(int64(n+1), reader))(t)
		if treeHash(leaves) != protocol.Hash(root) {
			t.Fatalf("%d leaves: another root", n+1)
		}
		for i := range leaves {
			path := treePath(leaves, i)
			var proof tlog.RecordProof
			for _, p := range path {
				proof = append(proof, tlog.Hash(p))
			}
			if err := tlog.CheckRecord(proof, int64(n+1), root, int64(i), tlog.Hash(leaves[i])); err != nil {
				t.Fatalf("leaf %d of %d: %v", i, n+1, err)
			}
			if got, ok := climb(leaves[i], uint64(i), uint64(n+1), path); !ok || got != protocol.Hash(root) {
				t.Fatalf("leaf %d of %d: climbing leads elsewhere", i, n+1)
			}
		}
	}
	if treeHash(nil).String() != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Error("the empty tree")
	}
}

func TestSharedInclusionVector(t *testing.T) {
	var v struct {
		LeafIdx, TreeSize uint64
		Root, LeafHash    string
		Proof             []string
		WantErr           bool
	}
	raw := must(os.ReadFile(sharedData(t, "vectors/merkle-rfc6962/inclusion_1_happy-path.json")))(t)
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	decode := func(s string) protocol.Hash { return protocol.Hash(must(base64.StdEncoding.DecodeString(s))(t)) }
	var path []protocol.Hash
	for _, p := range v.Proof {
		path = append(path, decode(p))
	}
	if got, ok := climb(decode(v.LeafHash), v.LeafIdx, v.TreeSize, path); !ok || got != decode(v.Root) {
		t.Errorf("%s", got)
	}
}

func TestProofsHoldForNothingElse(t *testing.T) {
	d := newWorld(t)
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(r, "resources")
		var in [][]byte
		for i := range n {
			in = append(in, fmt.Appendf(nil, `{"n":%d}`, i))
		}
		s, err := Seal(d.input(in...), d.author.Key.Sign)
		if err != nil {
			r.Fatal(err)
		}
		rec := &Record{Manifest: s.Manifest, Resources: in}
		i := rapid.IntRange(0, n-1).Draw(r, "proven")
		root := s.Action.Root
		good := func() ResourceProof { return rec.Prove(i) }
		text, err := json.Marshal(good())
		if err != nil {
			r.Fatal(err)
		}
		var p ResourceProof
		if err := json.Unmarshal(text, &p); err != nil {
			r.Fatal(err)
		}
		if err := VerifyResource(root, p, in[i]); err != nil {
			r.Fatal(err)
		}
		bad := func(name string, p ResourceProof, root protocol.Hash, data []byte) {
			if err := VerifyResource(root, p, data); !errors.Is(err, ErrProof) {
				r.Fatalf("%s: %v", name, err)
			}
		}
		bad("another resource", good(), root, append([]byte(" "), in[i]...))
		bad("another root", good(), protocol.Hash{1}, in[i])
		spoilt := map[string]func(*ResourceProof){
			"record":      func(p *ResourceProof) { p.Record[0]++ },
			"index":       func(p *ResourceProof) { p.Index++ },
			"count":       func(p *ResourceProof) { p.Count++ },
			"count + 2³¹": func(p *ResourceProof) { p.Count += 1 << 31 },
			"salt":        func(p *ResourceProof) { p.Salt[0]++ },
			"record salt": func(p *ResourceProof) { p.RecordSalt[0]++ },
			"longer path": func(p *ResourceProof) { p.Path = append(p.Path, protocol.Hash{}) },
			"endless":     func(p *ResourceProof) { p.Path = make([]protocol.Hash, 1000) },
		}
		if n > 1 {
			spoilt["path"] = func(p *ResourceProof) { p.Path[0][0]++ }
			spoilt["shorter path"] = func(p *ResourceProof) { p.Path = p.Path[1:] }
		}
		for name, f := range spoilt {
			p := good()
			f(&p)
			bad(name, p, root, in[i])
		}
	})
}

// TestSaltsAreFresh: without salts, the hashes of a proof's path or of the ledger could be guessed from likely content.
func TestSaltsAreFresh(t *testing.T) {
	d := newWorld(t)
	seen := map[Salt]bool{{}: true}
	for range 3 {
		m := d.seal(t, []byte("{}"), []byte("{}")).Manifest
		for _, s := range []Salt{m.Salt, m.Resources[0].Salt, m.Resources[1].Salt} {
			if seen[s] {
				t.Errorf("salt %x is empty or used twice", s)
			}
			seen[s] = true
		}
	}
}

// TestCommitmentsTellNothing seals the same twice: no commitment on the ledger repeats, empty records included.
func TestCommitmentsTellNothing(t *testing.T) {
	d := newWorld(t)
	for _, in := range [][][]byte{nil, {[]byte("{}")}} {
		a, b := d.seal(t, in...).Action, d.seal(t, in...).Action
		if a.Root == b.Root || a.Manifest == b.Manifest || a.Ciphertext == b.Ciphertext || a.Capsule == b.Capsule {
			t.Errorf("%d resources: the same content shows", len(in))
		}
		if a.Size != b.Size {
			t.Errorf("%d resources: %d bytes and %d", len(in), a.Size, b.Size)
		}
	}
}
