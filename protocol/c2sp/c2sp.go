// Package c2sp speaks the transparency-log formats of the Community
// Cryptography Specification Project (https://c2sp.org): checkpoints, log
// signatures, cosignatures, trust policies and inclusion proofs. It is what a
// wallet, a browser or an auditor needs to check an Anamnesis ledger with no
// network and no trust in who served the bytes.
//
// # The roles
//
// Every node of the network runs the same log under one origin. Each has two
// Ed25519 keys of its own: a log key (signature type 0x01, key name = origin)
// with which it publishes checkpoints, and a cosigner key (type 0x04, key name
// = the node's) with which it states, with the time, that a checkpoint is the
// largest consistent tree it has seen. A [Policy] lists all of them and the
// quorum of cosigners that makes a checkpoint count. [Policy.Check] is the one
// door through which a checkpoint becomes trusted.
//
// # What is checked
//
// One log signature by any listed log key, and valid cosignatures that satisfy
// the quorum, each recent enough and none from the future; the policy's own
// end date. Every failure is an error type of its own that says what failed.
//
// # Limits
//
// Parsers are strict: they accept one spelling, bound every length and count
// (limits.go), and never panic. Checkpoint extension lines are refused.
// ML-DSA-44 cosignatures (type 0x06) are recognised by their type and refused
// until this package can verify them. The formats are those of signed-note,
// tlog-checkpoint, tlog-cosignature, tlog-policy, tlog-proof and tlog-witness;
// docs/spec/log.md pins them down and says where we are narrower.
//
// The package imports the standard library and golang.org/x/mod/sumdb alone:
// filippo.io/torchwood brings net/http, 2 MB more for a browser to load, takes
// its cosignature time from the clock, and reads several log lines as "all must
// sign" where the specification says "any"; it serves as the other
// implementation in the tests.
package c2sp

import (
	"crypto/sha256"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a node of an RFC 6962 Merkle tree: SHA-256, 32 bytes. It is an
// array, so a [32]byte can be used wherever a Hash is asked for.
type Hash = tlog.Hash

// EmptyRoot is the root of the tree without leaves: SHA-256 of nothing
// (RFC 6962 section 2.1).
func EmptyRoot() Hash { return sha256.Sum256(nil) }

// LeafHash is the tree's hash of one leaf: SHA-256(0x00 ‖ leaf)
// (RFC 6962 section 2.1).
func LeafHash(leaf []byte) Hash { return tlog.RecordHash(leaf) }

// NodeHash is the tree's hash of two siblings: SHA-256(0x01 ‖ left ‖ right)
// (RFC 6962 section 2.1).
func NodeHash(left, right Hash) Hash {
	var buf [1 + 2*tlog.HashSize]byte
	buf[0] = 1
	copy(buf[1:], left[:])
	copy(buf[1+tlog.HashSize:], right[:])
	return sha256.Sum256(buf[:])
}
