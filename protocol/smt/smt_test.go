package smt_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
	"pgregory.net/rapid"
)

var rewrite = flag.Bool("rewrite", false, "write docs/spec/vectors/smt.json anew from this code")

const vectorsFile = "../../docs/spec/vectors/smt.json"

// pair is a key and its value, in hex.
type pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// vector is one proof over one map, and what must come of checking it.
type vector struct {
	Name   string `json:"name"`
	Map    []pair `json:"map,omitempty"`
	Root   string `json:"root"`
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"` // of inclusion
	Claim  string `json:"claim"`           // "present" or "absent"
	Proof  string `json:"proof"`
	Expect string `json:"expect"` // "ok", "malformed" or "mismatch"
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func leavesOf(t testing.TB, m []pair) []smt.Leaf {
	var leaves []smt.Leaf
	for _, p := range m {
		leaves = append(leaves, smt.Leaf{Path: smt.Path(unhex(t, p.Key)), Value: smt.Value(unhex(t, p.Value))})
	}
	sortLeaves(leaves)
	return leaves
}

func sortLeaves(leaves []smt.Leaf) {
	slices.SortFunc(leaves, func(a, b smt.Leaf) int { return bytes.Compare(a.Path[:], b.Path[:]) })
}

// prove builds a proof the slow and plain way: from the definition of the tree.
func prove(leaves []smt.Leaf, path smt.Hash) (p smt.Proof) {
	for depth := 0; len(leaves) > 1; depth++ {
		split := 0
		for split < len(leaves) && smt.Bit(&leaves[split].Path, depth) == 0 {
			split++
		}
		ours, beside := leaves[:split], leaves[split:]
		if smt.Bit(&path, depth) == 1 {
			ours, beside = beside, ours
		}
		p.Siblings = append(p.Siblings, rootBelow(beside, depth+1))
		leaves = ours
	}
	switch {
	case len(leaves) == 0:
		p.Kind = smt.EmptySlot
	case leaves[0].Path == path:
		p.Kind = smt.Present
	default:
		p.Kind, p.Other = smt.OtherLeaf, leaves[0]
	}
	return p
}

// rootBelow is written apart from smt.Root, from the words of the specification.
func rootBelow(leaves []smt.Leaf, depth int) smt.Hash {
	if len(leaves) == 0 {
		return smt.Hash{}
	}
	if len(leaves) == 1 {
		return leaves[0].Hash()
	}
	var half [2][]smt.Leaf
	for _, l := range leaves {
		b := l.Path[depth/8] >> (7 - depth%8) & 1
		half[b] = append(half[b], l)
	}
	left, right := rootBelow(half[0], depth+1), rootBelow(half[1], depth+1)
	return smt.Inner(&left, &right)
}

func run(t testing.TB, v vector) string {
	p, err := smt.ParseProof(unhex(t, v.Proof))
	if err == nil {
		root := smt.Hash(unhex(t, v.Root))
		if v.Claim == "present" {
			err = p.Verify(root, unhex(t, v.Key), unhex(t, v.Value))
		} else {
			err = p.VerifyAbsent(root, unhex(t, v.Key))
		}
	}
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, smt.ErrMalformed):
		return "malformed"
	case errors.Is(err, smt.ErrMismatch):
		return "mismatch"
	}
	return err.Error()
}

func TestVectors(t *testing.T) {
	if *rewrite {
		writeVectors(t)
	}
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 20 {
		t.Fatalf("%d vectors only", len(vectors))
	}
	for _, v := range vectors {
		t.Run(strings.ReplaceAll(v.Name, " ", "-"), func(t *testing.T) {
			if got := run(t, v); got != v.Expect {
				t.Errorf("got %s, want %s", got, v.Expect)
			}
			if v.Map != nil || v.Root == strings.Repeat("00", 32) {
				if got := hex.EncodeToString(rootOf(t, v.Map)); got != v.Root {
					t.Errorf("root %s, want %s", got, v.Root)
				}
			}
		})
	}
}

func rootOf(t testing.TB, m []pair) []byte {
	root := smt.Root(leavesOf(t, m))
	return root[:]
}

// writeVectors makes the corpus: good proofs over small maps, and one vector for each way to be wrong.
func writeVectors(t *testing.T) {
	var out []vector
	mapOf := func(n int) (m []pair) {
		for i := range n {
			m = append(m, pair{hex.EncodeToString(fmt.Appendf(nil, "key-%d", i)), hex.EncodeToString(fmt.Appendf(nil, "value-%d", i))})
		}
		return m
	}
	make1 := func(name string, m []pair, key, value string) vector {
		leaves := leavesOf(t, m)
		p := prove(leaves, smt.Path([]byte(key)))
		enc, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		v := vector{
			Name: name, Map: m, Root: hex.EncodeToString(rootOf(t, m)), Key: hex.EncodeToString([]byte(key)),
			Value: hex.EncodeToString([]byte(value)), Claim: "present", Proof: hex.EncodeToString(enc), Expect: "ok",
		}
		if p.Kind != smt.Present {
			v.Claim, v.Value = "absent", ""
		}
		return v
	}
	out = append(out,
		make1("empty map, absent", nil, "key-0", ""),
		make1("one leaf, present", mapOf(1), "key-0", "value-0"),
		make1("one leaf, other key absent", mapOf(1), "key-1", ""),
		make1("two leaves, present", mapOf(2), "key-1", "value-1"),
		make1("empty value", []pair{{"6b", ""}, {"6c", "00"}}, "k", ""),
		make1("empty key", []pair{{"", "01"}, {"6c", "00"}}, "", "\x01"),
	)
	for i := range 12 {
		out = append(out, make1(fmt.Sprintf("33 leaves, present %d", i), mapOf(33), fmt.Sprintf("key-%d", i), fmt.Sprintf("value-%d", i)))
	}
	var slot, other *vector
	for i := 100; i < 112; i++ {
		v := make1(fmt.Sprintf("33 leaves, absent %d", i), mapOf(33), fmt.Sprintf("key-%d", i), "")
		out = append(out, v)
		if v.Proof[:2] == "02" && slot == nil {
			slot = &v
		} else if v.Proof[:2] == "03" && other == nil {
			other = &v
		}
	}
	good := make1("", mapOf(33), "key-7", "value-7")
	bad := func(name, expect string, from vector, change func(*vector)) {
		v := from
		v.Name, v.Expect, v.Map = name, expect, nil
		change(&v)
		out = append(out, v)
	}
	proof := func(change func(b []byte) []byte) func(*vector) {
		return func(v *vector) { v.Proof = hex.EncodeToString(change(unhex(t, v.Proof))) }
	}
	bad("wrong value", "mismatch", good, func(v *vector) { v.Value += "00" })
	bad("wrong key", "mismatch", good, func(v *vector) { v.Key += "00" })
	bad("wrong root", "mismatch", good, func(v *vector) { v.Root = strings.Repeat("11", 32) })
	bad("absence claimed of a present key", "mismatch", good, func(v *vector) { v.Claim, v.Value = "absent", "" })
	bad("presence claimed of an empty slot", "mismatch", *slot, func(v *vector) { v.Claim = "present" })
	bad("presence claimed by another leaf", "mismatch", *other, func(v *vector) { v.Claim = "present" })
	bad("other leaf is the key's own", "mismatch", good, func(v *vector) {
		leaf := smt.Leaf{Path: smt.Path([]byte("key-7")), Value: smt.Value([]byte("value-7"))}
		b := unhex(t, v.Proof)
		v.Claim, v.Value = "absent", ""
		v.Proof = hex.EncodeToString(slices.Concat([]byte{3}, b[1:3], leaf.Path[:], leaf.Value[:], b[3:]))
	})
	bad("other leaf from elsewhere in the tree", "mismatch", good, func(v *vector) {
		// A genuine leaf with its genuine siblings, shown for an absent key whose place is not there.
		p := prove(leavesOf(t, mapOf(33)), smt.Path([]byte("key-3")))
		p.Kind, p.Other = smt.OtherLeaf, smt.Leaf{Path: smt.Path([]byte("key-3")), Value: smt.Value([]byte("value-3"))}
		enc, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		v.Claim, v.Value, v.Proof = "absent", "", hex.EncodeToString(enc)
		v.Key = hex.EncodeToString([]byte("key-7"))
	})
	bad("presence shown by the right siblings under another kind", "mismatch", good, proof(func(b []byte) []byte {
		return slices.Concat([]byte{3}, b[1:3], make([]byte, 64), b[3:])
	}))
	bad("other leaf misplaced under a crooked root", "mismatch", *other, func(v *vector) {
		path := smt.Path([]byte("key-7"))
		leaf := smt.Leaf{Path: path, Value: smt.Value(nil)}
		leaf.Path[0] ^= 0x80 // belongs in the other half
		hash, beside := leaf.Hash(), smt.Hash{1}
		root := smt.Inner(&hash, &beside)
		if smt.Bit(&path, 0) == 1 {
			root = smt.Inner(&beside, &hash)
		}
		v.Key, v.Root = hex.EncodeToString([]byte("key-7")), hex.EncodeToString(root[:])
		v.Proof = hex.EncodeToString(slices.Concat([]byte{3, 0, 1}, leaf.Path[:], leaf.Value[:], []byte{0x80}, beside[:]))
	})
	bad("empty", "malformed", good, func(v *vector) { v.Proof = "" })
	bad("kind 0", "malformed", good, proof(func(b []byte) []byte { b[0] = 0; return b }))
	bad("kind 4", "malformed", good, proof(func(b []byte) []byte { b[0] = 4; return b }))
	bad("trailing byte", "malformed", good, proof(func(b []byte) []byte { return append(b, 0) }))
	bad("last byte cut", "malformed", good, proof(func(b []byte) []byte { return b[:len(b)-1] }))
	bad("bitmap cut", "malformed", good, proof(func(b []byte) []byte { return b[:3] }))
	bad("other leaf cut", "malformed", *other, proof(func(b []byte) []byte { return b[:60] }))
	bad("depth 257", "malformed", good, proof(func(b []byte) []byte { b[1], b[2] = 1, 1; return b }))
	bad("stray bitmap bit", "malformed", out[3], proof(func(b []byte) []byte { b[3] |= 1; return b }))
	bad("deepest sibling empty", "malformed", good, proof(func(b []byte) []byte {
		return slices.Concat([]byte{1, 0, 2, 0x80}, b[len(b)-32:])
	}))
	bad("empty sibling written out", "malformed", good, proof(func(b []byte) []byte {
		return slices.Concat([]byte{1, 0, 2, 0xc0}, make([]byte, 32), b[len(b)-32:])
	}))
	bad("trailing byte at depth 0", "malformed", out[1], proof(func(b []byte) []byte { return append(b, 0) }))
	b, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorsFile, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func genLeaves(t *rapid.T) (leaves []smt.Leaf) {
	n := rapid.IntRange(0, 60).Draw(t, "n")
	// Paths made to share long prefixes, which hashes never do in tests: depth up to 256 is then exercised.
	base := smt.Path([]byte(rapid.String().Draw(t, "base")))
	seen := map[smt.Hash]bool{}
	for range n {
		path := smt.Path(rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(t, "key"))
		if rapid.Bool().Draw(t, "near") {
			path = base
			bit := rapid.IntRange(0, 255).Draw(t, "bit")
			path[bit/8] ^= 0x80 >> (bit % 8)
		}
		if !seen[path] {
			seen[path] = true
			leaves = append(leaves, smt.Leaf{Path: path, Value: smt.Value(fmt.Append(nil, len(leaves)))})
		}
	}
	sortLeaves(leaves)
	return leaves
}

func TestRootIsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves := genLeaves(t)
		if got, want := smt.Root(leaves), rootBelow(leaves, 0); got != want {
			t.Fatalf("root %x, want %x", got, want)
		}
	})
}

func TestProofsOfRandomMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kv := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "map")
		var leaves []smt.Leaf
		for k, v := range kv {
			leaves = append(leaves, smt.Leaf{Path: smt.Path([]byte(k)), Value: smt.Value([]byte(v))})
		}
		sortLeaves(leaves)
		root := smt.Root(leaves)
		probe := rapid.String().Draw(t, "probe")
		p := prove(leaves, smt.Path([]byte(probe)))
		enc, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if len(enc) > smt.ProofBytesMax {
			t.Fatalf("%d bytes", len(enc))
		}
		q, err := smt.ParseProof(enc)
		if err != nil {
			t.Fatal(err)
		}
		value, has := kv[probe]
		present, absent := q.Verify(root, []byte(probe), []byte(value)) == nil, q.VerifyAbsent(root, []byte(probe)) == nil
		if present != has || absent == has {
			t.Fatalf("has %v: present %v, absent %v", has, present, absent)
		}
		if at := rapid.IntRange(0, len(enc)*8-1).Draw(t, "flip"); true {
			enc[at/8] ^= 1 << (at % 8)
		}
		if q, err = smt.ParseProof(enc); err == nil &&
			(q.Verify(root, []byte(probe), []byte(value)) == nil || q.VerifyAbsent(root, []byte(probe)) == nil) {
			t.Fatal("a flipped bit is not noticed")
		}
	})
}

// TestDeepest proves beside a leaf that differs in the last bit alone: 256 siblings.
func TestDeepest(t *testing.T) {
	path := smt.Path([]byte("key"))
	twin := path
	twin[31] ^= 1
	leaves := []smt.Leaf{{Path: path, Value: smt.Value([]byte("v"))}, {Path: twin, Value: smt.Value([]byte("w"))}}
	sortLeaves(leaves)
	p := prove(leaves, path)
	if len(p.Siblings) != smt.DepthBitsMax {
		t.Fatalf("%d siblings", len(p.Siblings))
	}
	if err := p.Verify(smt.Root(leaves), []byte("key"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	enc, err := p.MarshalBinary()
	if err != nil || len(enc) != 3+32+32 {
		t.Fatalf("%d bytes, %v", len(enc), err)
	}
	for i := range p.Siblings {
		p.Siblings[i][0] = 1
	}
	p.Kind, p.Other = smt.OtherLeaf, leaves[0]
	if enc, err = p.MarshalBinary(); err != nil || len(enc) != smt.ProofBytesMax {
		t.Fatalf("largest proof: %d bytes, want %d, %v", len(enc), smt.ProofBytesMax, err)
	}
	p.Siblings = append(p.Siblings, p.Siblings[0])
	if _, err := p.MarshalBinary(); !errors.Is(err, smt.ErrMalformed) {
		t.Fatalf("257 siblings: %v", err)
	}
}

func FuzzProof(f *testing.F) {
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		f.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil {
		f.Fatal(err)
	}
	for _, v := range vectors {
		f.Add(unhex(f, v.Proof))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := smt.ParseProof(b)
		if err != nil {
			if !errors.Is(err, smt.ErrMalformed) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		again, err := p.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("parsed %x, wrote %x, %v", b, again, err)
		}
		if p.Verify(smt.Hash{1}, []byte("k"), nil) == nil || p.VerifyAbsent(smt.Hash{1}, []byte("k")) == nil {
			t.Fatal("holds under a made-up root")
		}
	})
}
