package translog

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// ProofFigures is what [MeasureProof] found. Times are medians.
type ProofFigures struct {
	Leaves           uint64
	Cosigners        int
	ReceiptBytes     int   // the longest receipt met
	ProveNanos       int64 // one inclusion proof out of the tiles
	VerifyNanos      int64 // one receipt: text to verdict, all signatures included
	StagedPerSecond  int64 // leaves, in blocks of 1,000
	StoredBytes      int64 // keys and values
	WrittenBytes     int64 // all that the blocks wrote
	ConsistencyBytes int   // longest consistency proof met
}

// MeasureProof builds a log in memory and measures its receipts: each carries
// one log signature and one cosignature of every cosigner, all of which the
// policy asks for. The clock is given in nanoseconds from any start.
func MeasureProof(leaves uint64, cosigners int, clock func() int64) (ProofFigures, error) {
	f := ProofFigures{Leaves: leaves, Cosigners: cosigners}
	if leaves == 0 || leaves > 1<<26 || cosigners < 1 || cosigners > 64 {
		return f, fmt.Errorf("translog: measuring %d leaves, %d cosigners", leaves, cosigners)
	}
	store := memoryStore{}
	tree, err := Open(store, []byte("measure/"), 0, c2sp.EmptyRoot())
	if err != nil {
		return f, err
	}
	start := clock()
	for size := uint64(0); size < leaves; size = tree.Size() {
		block := make([][LeafBytes]byte, min(1000, leaves-size))
		for i := range block {
			block[i] = measuredLeaf(size + uint64(i))
		}
		if _, _, err := tree.Stage(block, countingWriter{store, &f.WrittenBytes}); err != nil {
			return f, err
		}
		tree.Advance()
	}
	f.StagedPerSecond = int64(leaves) * 1e9 / max(clock()-start, 1)
	for k, v := range store {
		f.StoredBytes += int64(len(k) + len(v))
	}
	return f, f.measureReceipts(tree, clock)
}

const (
	measureRuns   = 200
	measureOrigin = "anamnesis.example/measure"
	measureTime   = 1_800_000_000_000
)

func (f *ProofFigures) measureReceipts(tree *Tree, clock func() int64) error {
	policy, signed, err := measuredCheckpoint(tree, f.Cosigners)
	if err != nil {
		return err
	}
	var prove, verify []int64
	for i := range uint64(measureRuns) {
		index := i * 7919 * 104729 % f.Leaves
		t0 := clock()
		hashes, err := tree.Prove(index, f.Leaves)
		if err != nil {
			return err
		}
		t1 := clock()
		text, err := c2sp.Proof{Index: index, Hashes: hashes, Checkpoint: signed}.Text()
		if err != nil {
			return err
		}
		leaf := measuredLeaf(index)
		t2 := clock()
		proof, err := c2sp.ParseProof(text)
		if err != nil {
			return err
		}
		if _, _, err := proof.Verify(policy, leaf[:], measureTime, c2sp.AnyAge); err != nil {
			return err
		}
		verify, prove = append(verify, clock()-t2), append(prove, t1-t0)
		f.ReceiptBytes = max(f.ReceiptBytes, len(text))
		consistency, err := tree.Consistency(index, f.Leaves)
		if err != nil {
			return err
		}
		f.ConsistencyBytes = max(f.ConsistencyBytes, len(consistency)*hashBytes)
	}
	slices.Sort(prove)
	slices.Sort(verify)
	f.ProveNanos, f.VerifyNanos = prove[len(prove)/2], verify[len(verify)/2]
	return nil
}

// measuredCheckpoint signs the tree's head with keys that mean nothing.
func measuredCheckpoint(tree *Tree, cosigners int) (*c2sp.Policy, []byte, error) {
	size, root := tree.Head()
	head := c2sp.Checkpoint{Origin: measureOrigin, Size: size, Root: root}
	var nodes []c2sp.NetworkNode
	var sigs []c2sp.Signature
	for i := range cosigners {
		name := fmt.Sprintf("node%d.anamnesis.example", i)
		log, err := c2sp.NewLogKey(measureOrigin, measuredKey("log of "+name))
		if err != nil {
			return nil, nil, err
		}
		key, err := c2sp.NewCosignKey(name, measuredKey("cosigner of "+name))
		if err != nil {
			return nil, nil, err
		}
		nodes = append(nodes, c2sp.NetworkNode{Log: log.Verifier(), Cosigner: key.Verifier()})
		if i == 0 {
			sig, err := log.Sign(head)
			if err != nil {
				return nil, nil, err
			}
			sigs = append(sigs, sig)
		}
		sig, err := key.Cosign(head, measureTime)
		if err != nil {
			return nil, nil, err
		}
		sigs = append(sigs, sig)
	}
	policy, err := c2sp.NetworkPolicy(nodes, cosigners, measureTime+1000)
	if err != nil {
		return nil, nil, err
	}
	signed, err := c2sp.Assemble(head, sigs...)
	return policy, signed, err
}

func measuredKey(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(label))
	return ed25519.NewKeyFromSeed(seed[:])
}

func measuredLeaf(i uint64) (leaf [LeafBytes]byte) {
	binary.BigEndian.PutUint64(leaf[:], i*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(leaf[24:], i)
	return leaf
}

// memoryStore holds the measured log; it knows one goroutine.
type memoryStore map[string][]byte

func (m memoryStore) Get(key []byte) ([]byte, bool, error) {
	v, ok := m[string(key)]
	return v, ok, nil
}

type countingWriter struct {
	store memoryStore
	bytes *int64
}

func (w countingWriter) Set(key, value []byte) error {
	w.store[string(key)] = bytes.Clone(value)
	*w.bytes += int64(len(key) + len(value))
	return nil
}
