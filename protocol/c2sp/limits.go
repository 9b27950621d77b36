package c2sp

import "time"

// Limits of everything this package parses, units last.
const (
	// CheckpointBytesMax bounds a signed checkpoint. A hundred signature
	// lines, the most that golang.org/x/mod/sumdb/note reads, fit.
	CheckpointBytesMax = 64 << 10
	// OriginBytesMax and KeyNameBytesMax bound the names that are repeated in
	// every signature line (ML-DSA-44 cosignatures allow no more than 255).
	OriginBytesMax  = 255
	KeyNameBytesMax = 255
	// TreeSizeMax bounds a tree, so that sizes and indexes stay far from the
	// ends of int64 whatever is added to them.
	TreeSizeMax = 1 << 56
	// ProofHashesMax is the longest inclusion or consistency proof
	// (c2sp.org/tlog-witness: "MUST NOT send more than 63").
	ProofHashesMax = 63
	// ProofExtraBytesMax bounds the opaque extra data of a receipt.
	ProofExtraBytesMax = 64 << 10
	// ProofBytesMax bounds a whole receipt.
	ProofBytesMax = ProofExtraBytesMax*4/3 + ProofHashesMax*45 + CheckpointBytesMax + 128
	// PolicyBytesMax, PolicyLogsMax, PolicyWitnessesMax, PolicyGroupsMax and
	// PolicyURLBytesMax bound a policy; c2sp.org/tlog-policy asks for at least
	// 32 of each.
	PolicyBytesMax     = 256 << 10
	PolicyLogsMax      = 100
	PolicyWitnessesMax = 100
	PolicyGroupsMax    = 32
	PolicyURLBytesMax  = 1024
)

const (
	// ClockSkewMax is how far in the future a cosignature's time may lie and
	// still count. Beyond it the cosignature is left out of every count: a
	// time that has not come cannot show that a checkpoint is recent.
	ClockSkewMax = 60 * time.Second
	// AnyAge as a maximum age asks for valid cosignatures however old: right
	// for a receipt (it happened), wrong for a state (is it still so?).
	AnyAge = time.Duration(1<<63 - 1)
)
