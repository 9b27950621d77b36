package proof

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// What Kind tells apart.
const (
	KindExport  = "export"
	KindReceipt = "receipt"
)

// KindBytes is how much of a file Kind wants to see.
const KindBytes = block

const receiptHeader = "c2sp.org/tlog-proof@v1\n"

// Kind tells from a file's beginning whether it looks like an export or a receipt; "" for neither.
func Kind(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte(receiptHeader)):
		return KindReceipt
	case len(head) >= block && bytes.HasPrefix(head, []byte(dirPrefix)) && bytes.HasPrefix(head[257:], []byte("ustar\x00")):
		return KindExport
	}
	return ""
}

// Receipt writes the receipt of an entry whose Proof leads to the signed checkpoint's root: a C2SP tlog-proof whose extra data is the salt
// (16 bytes) and the entry.
func Receipt(e api.Entry, checkpoint []byte) ([]byte, error) {
	if len(e.Salt) != 16 {
		return nil, fmt.Errorf("proof: a salt has 16 bytes")
	}
	p := c2sp.Proof{Index: e.Index, Extra: append(bytes.Clone(e.Salt), e.Raw...), Checkpoint: checkpoint}
	for _, h := range e.Proof {
		p.Hashes = append(p.Hashes, c2sp.Hash(h))
	}
	return p.Text()
}

// ReceiptReport is the outcome of verifying a receipt.
type ReceiptReport struct {
	OK           bool       `json:"ok"`
	Chain        string     `json:"chain"`
	Index        uint64     `json:"index"`
	Checkpoint   Checkpoint `json:"checkpoint"`
	TrustRoot    TrustRoot  `json:"trust_root"`
	Entry        *LogLine   `json:"entry"` // what the receipt says; proven only if OK
	Failures     []Failure  `json:"failures"`
	FailuresMore int        `json:"failures_more,omitempty"`
}

func (r *ReceiptReport) fail(code Code, where, format string, args ...any) {
	addFailure(&r.Failures, &r.FailuresMore, code, where, format, args...)
}

// VerifyReceipt checks a receipt: that its entry stands in a log whose checkpoint the policy's quorum cosigned. Options.Policy is needed,
// for a receipt names no trust root of its own; Options.Journal, if set, must be the entry's. The error is ErrNotProof, as in Verify.
func VerifyReceipt(text []byte, o Options) (*ReceiptReport, error) {
	r := &ReceiptReport{Failures: []Failure{}, Checkpoint: Checkpoint{Cosigners: []Cosigner{}}}
	err := verifyReceipt(text, o, r)
	r.OK = len(r.Failures) == 0
	return r, err
}

func verifyReceipt(text []byte, o Options, r *ReceiptReport) error {
	if Kind(text) != KindReceipt {
		r.fail(CodeUnreadable, "file", "%v", ErrNotProof)
		return ErrNotProof
	}
	p, err := c2sp.ParseProof(text)
	if err != nil {
		r.fail(CodeMalformed, "receipt", "%v", err)
		return nil
	}
	r.Index = p.Index
	policy := receiptPolicy(o, r)
	at, status, ok := checkCheckpoint(p.Checkpoint, policy, o, func(code Code, format string, args ...any) {
		r.fail(code, "checkpoint", format, args...)
	})
	if !ok {
		return nil
	}
	r.Checkpoint = reportCheckpoint(at, status)
	r.Chain, _ = strings.CutPrefix(at.Origin, Origin(""))
	if policy != nil {
		if err := strictNote(p.Checkpoint, policy); err != nil {
			r.fail(CodeUncanonical, "checkpoint", "%v", err)
		}
	}
	receiptPin(o, at, r)
	receiptEntry(p, at, o, r)
	return nil
}

func receiptPolicy(o Options, r *ReceiptReport) *c2sp.Policy {
	if o.Policy == nil {
		r.fail(CodeNoTrustRoot, "receipt", "a receipt is verified against the network's policy, which must be given")
		return nil
	}
	r.TrustRoot.Given = true
	policy, err := c2sp.ParsePolicy(o.Policy)
	if err != nil {
		r.fail(CodePolicy, "the policy given", "%v", err)
		return nil
	}
	if d, err := policy.Digest(); err == nil {
		r.TrustRoot.Digest = d
	}
	return policy
}

func receiptPin(o Options, at c2sp.Checkpoint, r *ReceiptReport) {
	if o.Pin == nil || o.Pin.Size != at.Size {
		return // a receipt may well be older than what was seen since
	}
	if c2sp.Hash(o.Pin.Root) != at.Root {
		r.fail(CodeForked, "checkpoint", "another root at size %d was seen before: the network shows two histories", at.Size)
	}
}

// receiptEntry ties the extra data to the leaf, and says what it is.
func receiptEntry(p c2sp.Proof, at c2sp.Checkpoint, o Options, r *ReceiptReport) {
	if len(p.Extra) < 16 {
		r.fail(CodeExtra, "entry", "its extra data is not a salt and an entry")
		return
	}
	salt, raw := [16]byte(p.Extra), p.Extra[16:]
	leaf := protocol.Commit(salt, raw)
	if err := c2sp.CheckInclusion(c2sp.LeafHash(leaf[:]), p.Index, at.Size, at.Root, p.Hashes); err != nil {
		r.fail(CodeNotInLog, "entry", "%v", err)
	}
	var e protocol.Entry
	if err := protocol.Decode(raw, &e); err != nil {
		r.fail(CodeExtra, "entry", "%v", err)
		return
	}
	if !o.Journal.IsZero() && e.Journal != o.Journal {
		r.fail(CodeJournal, "entry", "it belongs to journal %s, not %s", e.Journal, o.Journal)
	}
	lines, err := Log([]api.Entry{{Index: p.Index, Salt: salt[:], Raw: raw}}, LogOptions{})
	if err != nil {
		r.fail(CodeExtra, "entry", "%v", err)
		return
	}
	r.Entry = &lines[0]
}
