package wallet

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/anamnesis-health/anamnesis/protocol"
)

const (
	domainResource = "anamnesis/resource/v1"
	domainRoot     = "anamnesis/resources/v1"
)

// ErrProof means that a resource is not what the ledger's entry commits to.
var ErrProof = errors.New("the resource is not proven")

// ResourceProof shows that one resource is the Index-th (from 0) of Count in a record, to somebody who has the ledger's entry of the
// record and none of its other resources. It reveals nothing about those but their number.
type ResourceProof struct {
	Record     protocol.RecordID `json:"record"`
	Index      uint32            `json:"index"`
	Count      uint32            `json:"count"`
	Salt       Salt              `json:"salt"`        // of the resource
	RecordSalt Salt              `json:"record_salt"` // of the manifest
	Path       []protocol.Hash   `json:"path"`        // RFC 6962 §2.1.1, from the leaf up
}

// Prove makes the proof of the i-th resource, from 0. It panics if there is no such resource, as indexing does.
func (r *Record) Prove(i int) ResourceProof {
	m := r.Manifest
	return ResourceProof{
		Record: m.Record, Index: uint32(i), Count: uint32(len(m.Resources)),
		Salt: m.Resources[i].Salt, RecordSalt: m.Salt, Path: treePath(leavesOf(m), i),
	}
}

// VerifyResource checks a proof against the root in the ledger's entry of the record. Errors wrap ErrProof.
func VerifyResource(root protocol.Hash, p ResourceProof, resource []byte) error {
	if p.Count > ResourcesRecordMax || p.Index >= p.Count {
		return fmt.Errorf("%w: resource %d of %d", ErrProof, p.Index, p.Count)
	}
	if len(p.Path) > bits.Len32(ResourcesRecordMax) {
		return fmt.Errorf("%w: its path is too long", ErrProof)
	}
	leaf := leafHash(resourceHash(p.Record, p.Index, p.Salt, resource))
	mth, ok := climb(leaf, uint64(p.Index), uint64(p.Count), p.Path)
	if !ok || recordRoot(p.Record, p.RecordSalt, p.Count, mth) != root {
		return fmt.Errorf("%w: it does not lead to the entry's root", ErrProof)
	}
	return nil
}

// resourceHash is the salted hash of one resource.
func resourceHash(record protocol.RecordID, index uint32, salt Salt, resource []byte) protocol.Hash {
	return protocol.Digest(domainResource, record[:], be32(index), salt[:], resource)
}

// recordRoot is what the ledger commits to: the tree's hash with the number of leaves, so that no proof can lie about it, and with the
// record's salt, so that a record of no resources does not show.
func recordRoot(record protocol.RecordID, salt Salt, count uint32, mth protocol.Hash) protocol.Hash {
	return protocol.Digest(domainRoot, record[:], salt[:], be32(count), mth[:])
}

func (m *Manifest) root() protocol.Hash {
	return recordRoot(m.Record, m.Salt, uint32(len(m.Resources)), treeHash(leavesOf(m)))
}

func leavesOf(m *Manifest) []protocol.Hash {
	leaves := make([]protocol.Hash, len(m.Resources))
	for i, r := range m.Resources {
		leaves[i] = leafHash(r.Hash)
	}
	return leaves
}

func leafHash(h protocol.Hash) protocol.Hash { return protocol.Hash(tlog.RecordHash(h[:])) }

func nodeHash(l, r protocol.Hash) protocol.Hash {
	return protocol.Hash(tlog.NodeHash(tlog.Hash(l), tlog.Hash(r)))
}

// treeHash is MTH of RFC 6962 §2.1 over leaf hashes.
func treeHash(leaves []protocol.Hash) protocol.Hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := split(n)
		return nodeHash(treeHash(leaves[:k]), treeHash(leaves[k:]))
	}
}

// treePath is PATH of RFC 6962 §2.1.1.
func treePath(leaves []protocol.Hash, i int) []protocol.Hash {
	if len(leaves) == 1 {
		return []protocol.Hash{}
	}
	k := split(len(leaves))
	if i < k {
		return append(treePath(leaves[:k], i), treeHash(leaves[k:]))
	}
	return append(treePath(leaves[k:], i-k), treeHash(leaves[:k]))
}

// split is the largest power of two below n, n > 1.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// climb is the verification of RFC 9162 §2.1.3.2.
func climb(leaf protocol.Hash, index, count uint64, path []protocol.Hash) (protocol.Hash, bool) {
	fn, sn, r := index, count-1, leaf
	for _, p := range path {
		if sn == 0 {
			return r, false
		}
		if fn&1 == 1 || fn == sn {
			r = nodeHash(p, r)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			r = nodeHash(r, p)
		}
		fn, sn = fn>>1, sn>>1
	}
	return r, sn == 0
}
