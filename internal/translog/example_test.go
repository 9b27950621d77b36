package translog

import (
	"fmt"

	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

func ExampleTree() {
	store := newKV()
	tree, _ := Open(store, []byte("log/"), 0, c2sp.EmptyRoot())
	block := store.batch()
	size, root, _ := tree.Stage([][32]byte{{1}, {2}, {3}}, block)
	block.commit()
	tree.Advance()
	proof, _ := tree.Prove(1, size)
	leaf := [32]byte{2}
	fmt.Println(size, c2sp.CheckInclusion(c2sp.LeafHash(leaf[:]), 1, size, root, proof))
	// Output: 3 <nil>
}
