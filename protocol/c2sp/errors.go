package c2sp

import (
	"errors"
	"fmt"
	"time"
)

// ErrNoLogSignature: no log key of the policy signed the checkpoint.
var ErrNoLogSignature = errors.New("no log key of the policy signed the checkpoint")

// ErrMalformed: bytes that are not the format they should be. Nothing was
// verified.
type ErrMalformed struct {
	What   string // checkpoint, policy, proof, verifier key, …
	Line   int    // 1-based; 0 when it is about the whole
	Reason string
}

func (e ErrMalformed) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("malformed %s, line %d: %s", e.What, e.Line, e.Reason)
	}
	return fmt.Sprintf("malformed %s: %s", e.What, e.Reason)
}

func malformed(what string, line int, format string, args ...any) error {
	return ErrMalformed{What: what, Line: line, Reason: fmt.Sprintf(format, args...)}
}

// ErrKeyType: a key of a signature type that its role does not allow, or that
// this version cannot verify.
type ErrKeyType struct {
	Type KeyType
	Role string // "log", "witness" or "verifier"
}

func (e ErrKeyType) Error() string {
	return fmt.Sprintf("signature type 0x%02x does not serve as a %s key here", byte(e.Type), e.Role)
}

// ErrSignature: a known key's signature does not verify: the checkpoint was
// changed after signing, or the signature was.
type ErrSignature struct {
	Name  string
	KeyID uint32
}

func (e ErrSignature) Error() string {
	return fmt.Sprintf("signature by %s (key %08x) does not verify", e.Name, e.KeyID)
}

// ErrOrigin: a checkpoint of another log.
type ErrOrigin struct{ Have, Want string }

func (e ErrOrigin) Error() string {
	return fmt.Sprintf("checkpoint of log %q, not of %q", e.Have, e.Want)
}

// ErrTooFewCosigners: the valid cosignatures do not make the quorum, whatever
// their age. Have and Need count members of the policy's quorum group;
// FromFuture cosigners were left out because their times have not come.
type ErrTooFewCosigners struct{ Have, Need, FromFuture int }

func (e ErrTooFewCosigners) Error() string {
	s := fmt.Sprintf("%d of the %d cosigners needed", e.Have, e.Need)
	if e.FromFuture > 0 {
		s += fmt.Sprintf(" (%d more carry a time in the future)", e.FromFuture)
	}
	return s
}

// ErrStale: a quorum cosigned, but too long ago. Age is the least maximum age
// at which the checkpoint would have passed.
type ErrStale struct{ Age, Max time.Duration }

func (e ErrStale) Error() string {
	return fmt.Sprintf("checkpoint cosigned by a quorum %v ago, more than %v", e.Age, e.Max)
}

// ErrPolicyExpired: the policy is past its end date and vouches for nothing.
// Times are UTC milliseconds.
type ErrPolicyExpired struct{ NotAfter, Now uint64 }

func (e ErrPolicyExpired) Error() string {
	return fmt.Sprintf("trust policy ended %s", formatTime(e.NotAfter))
}

// ErrRoot: an inclusion proof that does not lead from the leaf to the
// checkpoint's root: the leaf, its index, the proof or the root is not the
// logged one.
type ErrRoot struct{ Index, Size uint64 }

func (e ErrRoot) Error() string {
	return fmt.Sprintf("leaf %d is not proven in the tree of size %d", e.Index, e.Size)
}

// ErrForked: two checkpoints of one log of which the larger does not extend
// the smaller. When both carry valid signatures this is evidence against who
// signed them.
type ErrForked struct{ Old, New Checkpoint }

func (e ErrForked) Error() string {
	return fmt.Sprintf("log %s forked: size %d (root %x…) does not extend size %d (root %x…)",
		e.New.Origin, e.New.Size, e.New.Root[:4], e.Old.Size, e.Old.Root[:4])
}

func formatTime(ms uint64) string {
	return time.UnixMilli(int64(min(ms, timeMillisMax))).UTC().Format("2006-01-02T15:04:05Z")
}

// timeMillisMax is the last millisecond of year 9999, the end of RFC 3339.
const timeMillisMax = 253402300799999
