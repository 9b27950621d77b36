package c2sp

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// AddCheckpoint is the body of a request for a cosignature
// (c2sp.org/tlog-witness, add-checkpoint): a signed checkpoint and the proof
// that it extends the last one the witness cosigned, of size Old.
type AddCheckpoint struct {
	Old        uint64
	Proof      []Hash
	Checkpoint []byte // signed
}

// Text writes the request body.
func (a AddCheckpoint) Text() ([]byte, error) {
	if err := a.validate(); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "old %d\n", a.Old)
	for _, h := range a.Proof {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(a.Checkpoint)
	return []byte(b.String()), nil
}

func (a AddCheckpoint) validate() error {
	if len(a.Proof) > ProofHashesMax {
		return malformed("add-checkpoint request", 0, "over %d hashes", ProofHashesMax)
	}
	c, _, err := Unverified(a.Checkpoint)
	if err != nil {
		return err
	}
	if a.Old > c.Size {
		return malformed("add-checkpoint request", 1, "old size %d is above the checkpoint's %d", a.Old, c.Size)
	}
	return nil
}

// ParseAddCheckpoint reads a request body and verifies nothing. It accepts
// exactly what [AddCheckpoint.Text] writes.
func ParseAddCheckpoint(text []byte) (AddCheckpoint, error) {
	const what = "add-checkpoint request"
	if len(text) > CheckpointBytesMax+ProofHashesMax*45+64 {
		return AddCheckpoint{}, malformed(what, 0, "too long")
	}
	head, checkpoint, ok := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	old, found := strings.CutPrefix(lines[0], "old ")
	n, err := parseDecimal(old)
	if !ok || !found || err != nil {
		return AddCheckpoint{}, malformed(what, 1, "want an old size line, hashes, a blank line and a checkpoint")
	}
	a := AddCheckpoint{Old: n, Checkpoint: []byte(checkpoint)}
	if len(lines)-1 > ProofHashesMax {
		return AddCheckpoint{}, malformed(what, 0, "over %d hashes", ProofHashesMax)
	}
	for i, line := range lines[1:] {
		h, err := parseHash(line)
		if err != nil {
			return AddCheckpoint{}, malformed(what, i+2, "%v", err)
		}
		a.Proof = append(a.Proof, h)
	}
	return a, a.validate()
}

// ParseSignatureLines reads the answer to [AddCheckpoint]: signature lines of
// the checkpoint text of c, to be added with [Assemble]. Those of the given
// keys are returned, verified; other keys' are ignored. A known key's wrong
// signature is [ErrSignature].
func ParseSignatureLines(c Checkpoint, lines []byte, keys ...VerifierKey) ([]Signature, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	n, err := openNote(append([]byte(c.Text()+"\n"), lines...), keys)
	if err != nil {
		return nil, err
	}
	if n.Text != c.Text() {
		return nil, malformed("signature lines", 0, "more than signatures")
	}
	return n.Sigs, nil
}
