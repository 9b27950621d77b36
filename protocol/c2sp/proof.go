package c2sp

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// Proof is a receipt: that a leaf stands in the log, checkable offline
// (c2sp.org/tlog-proof@v1).
type Proof struct {
	Index  uint64 // of the leaf, from 0
	Hashes []Hash // inclusion proof, from the leaf's sibling to the root's child
	// Extra is opaque and authenticated by nothing; nil when absent. Whoever
	// reads it must tie it to the leaf.
	Extra      []byte
	Checkpoint []byte // signed
}

const proofHeader = "c2sp.org/tlog-proof@v1"

// Text writes the proof. It fails on what [ParseProof] would refuse.
func (p Proof) Text() ([]byte, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(proofHeader + "\n")
	if len(p.Extra) > 0 {
		b.WriteString("extra " + base64.StdEncoding.EncodeToString(p.Extra) + "\n")
	}
	fmt.Fprintf(&b, "index %d\n", p.Index)
	for _, h := range p.Hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	return []byte(b.String()), nil
}

func (p Proof) validate() error {
	if p.Index >= TreeSizeMax {
		return malformed("proof", 0, "index over 2^56")
	}
	if len(p.Hashes) > ProofHashesMax {
		return malformed("proof", 0, "over %d hashes", ProofHashesMax)
	}
	if len(p.Extra) > ProofExtraBytesMax {
		return malformed("proof", 0, "extra data over %d bytes", ProofExtraBytesMax)
	}
	if p.Extra != nil && len(p.Extra) == 0 {
		return malformed("proof", 0, "extra data is present but empty")
	}
	c, _, err := Unverified(p.Checkpoint)
	if err != nil {
		return err
	}
	if p.Index >= c.Size {
		return malformed("proof", 0, "index %d is not in a tree of size %d", p.Index, c.Size)
	}
	return nil
}

// ParseProof reads a receipt and verifies nothing. It accepts exactly what
// [Proof.Text] writes.
func ParseProof(text []byte) (Proof, error) {
	if len(text) > ProofBytesMax {
		return Proof{}, malformed("proof", 0, "over %d bytes", ProofBytesMax)
	}
	head, checkpoint, ok := strings.Cut(string(text), "\n\n")
	if !ok {
		return Proof{}, malformed("proof", 0, "no blank line before the checkpoint")
	}
	lines := strings.Split(head, "\n")
	if lines[0] != proofHeader {
		return Proof{}, malformed("proof", 1, "want %s", proofHeader)
	}
	p := Proof{Checkpoint: []byte(checkpoint)}
	at := 1
	if len(lines) > at {
		if extra, found := strings.CutPrefix(lines[at], "extra "); found {
			raw, err := base64.StdEncoding.Strict().DecodeString(extra)
			if err != nil || len(raw) == 0 || base64.StdEncoding.EncodeToString(raw) != extra {
				return Proof{}, malformed("proof", at+1, "extra data is not canonical base64 of at least one byte")
			}
			p.Extra = raw
			at++
		}
	}
	if err := p.parseIndexAndHashes(lines, at); err != nil {
		return Proof{}, err
	}
	return p, p.validate()
}

func (p *Proof) parseIndexAndHashes(lines []string, at int) error {
	if len(lines) <= at {
		return malformed("proof", at+1, "want an index line")
	}
	index, found := strings.CutPrefix(lines[at], "index ")
	n, err := parseDecimal(index)
	if !found || err != nil {
		return malformed("proof", at+1, "want an index line")
	}
	p.Index = n
	if hashes := len(lines) - at - 1; hashes > ProofHashesMax {
		return malformed("proof", 0, "over %d hashes", ProofHashesMax)
	}
	for i, line := range lines[at+1:] {
		h, err := parseHash(line)
		if err != nil {
			return malformed("proof", at+2+i, "%v", err)
		}
		p.Hashes = append(p.Hashes, h)
	}
	return nil
}

// Verify checks the whole receipt against a trust policy: the checkpoint by
// [Policy.Check] at time now (UTC milliseconds) with the given maximum age, and
// that leaf (its bytes, not its hash) stands in that tree at p.Index.
// Errors: those of [Policy.Check], and [ErrRoot].
func (p Proof) Verify(policy *Policy, leaf []byte, now uint64, maxAge time.Duration) (Checkpoint, CosignStatus, error) {
	c, status, err := policy.Check(p.Checkpoint, now, maxAge)
	if err != nil {
		return c, status, err
	}
	return c, status, CheckInclusion(LeafHash(leaf), p.Index, c.Size, c.Root, p.Hashes)
}
