package c2sp

import "golang.org/x/mod/sumdb/tlog"

// CheckInclusion verifies that the tree of the given size and root holds
// leafHash (see [LeafHash]) at index (RFC 6962 section 2.1.1). Proofs run from
// the leaf's sibling up. Error: [ErrRoot].
func CheckInclusion(leafHash Hash, index, size uint64, root Hash, proof []Hash) error {
	if index >= size || size > TreeSizeMax || len(proof) > ProofHashesMax {
		return ErrRoot{Index: index, Size: size}
	}
	if tlog.CheckRecord(proof, int64(size), root, int64(index), leafHash) != nil {
		return ErrRoot{Index: index, Size: size}
	}
	return nil
}

// CheckConsistency verifies that newer extends older: the same log, and
// older's leaves are newer's first (RFC 6962 section 2.1.2). The proof is empty
// when the sizes are equal or older is empty. Errors: [ErrOrigin], [ErrForked],
// and [ErrMalformed] when newer is the smaller one.
func CheckConsistency(older, newer Checkpoint, proof []Hash) error {
	if older.Origin != newer.Origin {
		return ErrOrigin{Have: newer.Origin, Want: older.Origin}
	}
	if err := older.validate(); err != nil {
		return err
	}
	if err := newer.validate(); err != nil {
		return err
	}
	if older.Size > newer.Size {
		return malformed("consistency", 0, "newer size %d is below older size %d", newer.Size, older.Size)
	}
	if older.Size == 0 {
		if len(proof) != 0 {
			return malformed("consistency", 0, "a proof from the empty tree has no hashes")
		}
		return nil // every tree extends the empty one
	}
	if len(proof) > ProofHashesMax ||
		tlog.CheckTree(proof, int64(newer.Size), newer.Root, int64(older.Size), older.Root) != nil {
		return ErrForked{Old: older, New: newer}
	}
	return nil
}
