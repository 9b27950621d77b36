package translog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/spec/vectors/log-tiles.json anew")

// tileVectors pin roots, tiles, proofs and the rows in the store.
type tileVectors struct {
	Leaf   string        `json:"leaf"`   // how leaf i is made
	Blocks []uint64      `json:"blocks"` // sizes after each block
	Roots  []sizedRoot   `json:"roots"`
	Tiles  []hashedBytes `json:"tiles"` // path → SHA-256 of what is served
	Store  []hashedBytes `json:"store"` // key in hex, without the prefix → SHA-256 of the value
	Proofs []proofVector `json:"proofs"`
}

type sizedRoot struct {
	Size uint64 `json:"size"`
	Root string `json:"root"`
}

type hashedBytes struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

type proofVector struct {
	Kind   string   `json:"kind"` // inclusion of leaf A in size B, or consistency of size A with size B
	A      uint64   `json:"a"`
	B      uint64   `json:"b"`
	Hashes []string `json:"hashes"`
}

func TestTileVectors(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "spec", "vectors", "log-tiles.json")
	made := makeTileVectors(t)
	if *update {
		b, err := json.MarshalIndent(made, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file tileVectors
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(file, made); diff != "" {
		t.Fatalf("(-file +made)\n%s", diff)
	}
}

func makeTileVectors(t *testing.T) tileVectors {
	v := tileVectors{
		Leaf:   `SHA-256("leaf" ‖ index as 8 bytes, big-endian)`,
		Blocks: []uint64{1, 3, 250, 255, 70_000, 70_007},
	}
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	for _, size := range v.Blocks {
		grow(t, tree, s, size)
	}
	sum := func(name string, b []byte) hashedBytes {
		h := sha256.Sum256(b)
		return hashedBytes{Name: name, Bytes: len(b), SHA256: hex.EncodeToString(h[:])}
	}
	for _, size := range []uint64{0, 1, 2, 3, 255, 256, 257, 65_536, 70_007} {
		root := must(tree.RootAt(size))
		v.Roots = append(v.Roots, sizedRoot{size, hex.EncodeToString(root[:])})
	}
	for _, path := range []string{
		"tile/entries/000", "tile/entries/000.p/3", "tile/entries/273.p/119", "tile/0/000", "tile/0/000.p/255",
		"tile/0/273.p/119", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1",
	} {
		v.Tiles = append(v.Tiles, sum(path, must(tree.Tile(path))))
	}
	l := layout{}
	for _, key := range [][]byte{l.tileKey(0, 0), l.tileKey(0, 272), l.tileKey(1, 0), l.edgeKey(0), l.edgeKey(1), l.edgeKey(112)} {
		value, ok, _ := s.Get(slices.Concat(prefix, key))
		if !ok {
			t.Fatalf("no value at %x", key)
		}
		v.Store = append(v.Store, sum(hex.EncodeToString(key), value))
	}
	proof := func(kind string, a, b uint64, hashes []Hash, err error) {
		if err != nil {
			t.Fatal(err)
		}
		p := proofVector{Kind: kind, A: a, B: b, Hashes: []string{}}
		for _, h := range hashes {
			p.Hashes = append(p.Hashes, hex.EncodeToString(h[:]))
		}
		v.Proofs = append(v.Proofs, p)
	}
	for _, at := range [][2]uint64{{0, 1}, {2, 3}, {255, 257}, {69_999, 70_007}} {
		hashes, err := tree.Prove(at[0], at[1])
		proof("inclusion", at[0], at[1], hashes, err)
	}
	for _, at := range [][2]uint64{{1, 3}, {255, 256}, {65_536, 70_007}, {300, 70_007}} {
		hashes, err := tree.Consistency(at[0], at[1])
		proof("consistency", at[0], at[1], hashes, err)
	}
	return v
}
