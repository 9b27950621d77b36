package protocol

import "errors"

// Errors of reading what people and machines hand in. Each wraps its detail.
var (
	ErrBadID      = errors.New("not a valid id")
	ErrBadHandle  = errors.New("not a valid handle")
	ErrEncoding   = errors.New("not the canonical encoding") // CBOR or COSE that is malformed, non-minimal, of unknown shape, or too large
	ErrSignature  = errors.New("the signature does not verify")
	ErrWrongChain = errors.New("made for another network")
	ErrVersion    = errors.New("made for another protocol version")
)
