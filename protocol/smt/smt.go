// Package smt is the sparse Merkle tree behind the ledger's state map: its hash rules, and the proofs that a key has a
// value, or has none, under a root. It stores nothing; internal/ledger/state builds and keeps the trees.
//
// # The tree
//
// A key is placed by its path, SHA-256 of a domain string and the key: 256 bits, the first bit choosing at the root, 0 for
// left. The tree has the shape of Diem's Jellyfish tree: a subtree without leaves is Empty, a subtree with one leaf is that
// leaf itself wherever it stands (so a leaf sits at the shortest prefix of its path that no other leaf shares), and every
// other subtree is an inner node over its two halves, one of which may be Empty. The root therefore depends on the set of
// keys and values alone, never on the order or the batches in which they were written.
//
//	Path(key)      = SHA-256("anamnesis/smt/path/v1" ‖ key)
//	Value(value)   = SHA-256("anamnesis/smt/value/v1" ‖ value)
//	Leaf.Hash      = SHA-256("anamnesis/smt/leaf/v1" ‖ path ‖ value hash)
//	Inner(l, r)    = SHA-256("anamnesis/smt/inner/v1" ‖ l ‖ r)
//	Empty          = 32 zero bytes
//
// No domain string is a prefix of another, so no leaf can be read as an inner node. docs/spec/state-map.md says the
// same byte for byte, docs/spec/vectors/smt.json holds the vectors.
//
// # Limits
//
// A proof says nothing about how fresh its root is: roots come from a sealed, cosigned checkpoint. A proof that a key is
// absent may show another leaf's path and value hash; neither can be inverted for keys and values with enough entropy, and
// values of the ledger's tables hold no plain facts. Go 1.26, also GOOS=js GOARCH=wasm; no dependencies.
package smt

import "crypto/sha256"

// Hash is a SHA-256 output: a path, a value hash, a node hash or a root.
type Hash = [sha256.Size]byte

// Limits. A leaf can be no deeper than the path has bits.
const (
	DepthBitsMax  = 256
	ProofBytesMax = 3 + 64 + DepthBitsMax/8 + DepthBitsMax*32
)

const (
	domainPath  = "anamnesis/smt/path/v1"
	domainValue = "anamnesis/smt/value/v1"
	domainLeaf  = "anamnesis/smt/leaf/v1"
	domainInner = "anamnesis/smt/inner/v1"
)

// Empty is the hash of a subtree without leaves, and so the root of the empty map.
var Empty Hash

// Path returns where key stands in the tree.
func Path(key []byte) Hash { return sum(domainPath, key) }

// Value returns the hash of a value that a leaf commits to. An empty value is a value.
func Value(value []byte) Hash { return sum(domainValue, value) }

// Leaf is a key's place and the hash of its value.
type Leaf struct {
	Path  Hash
	Value Hash
}

// Hash returns the leaf's node hash.
func (l Leaf) Hash() Hash {
	var b [len(domainLeaf) + 64]byte
	n := copy(b[:], domainLeaf)
	n += copy(b[n:], l.Path[:])
	copy(b[n:], l.Value[:])
	return sha256.Sum256(b[:])
}

// Inner returns the hash of an inner node. It is the rule for nodes with at least two leaves below them; Join applies the
// collapse rules as well.
func Inner(left, right *Hash) Hash {
	var b [len(domainInner) + 64]byte
	n := copy(b[:], domainInner)
	n += copy(b[n:], left[:])
	copy(b[n:], right[:])
	return sha256.Sum256(b[:])
}

// Bit returns bit i of a path, 0 ≤ i < 256, most significant bit of the first byte first.
func Bit(path *Hash, i int) byte { return path[i>>3] >> (7 - i&7) & 1 }

// Root returns the root over leaves, which must be sorted by path and free of repeats: the definition of the tree in a
// dozen lines, for tests, checks and small maps.
func Root(leaves []Leaf) Hash { return subtree(leaves, 0) }

func subtree(leaves []Leaf, depth int) Hash {
	switch len(leaves) {
	case 0:
		return Empty
	case 1:
		return leaves[0].Hash()
	}
	split := 0
	for split < len(leaves) && Bit(&leaves[split].Path, depth) == 0 {
		split++
	}
	left, right := subtree(leaves[:split], depth+1), subtree(leaves[split:], depth+1)
	return Inner(&left, &right)
}

// sum hashes domain ‖ data without a heap allocation for short data.
func sum(domain string, data []byte) Hash {
	var short [256]byte
	b := append(append(short[:0], domain...), data...)
	return sha256.Sum256(b)
}
