package c2sp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is a tree head (c2sp.org/tlog-checkpoint): the root of the first
// Size leaves of the log named Origin. Extension lines do not exist here.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   Hash
}

// Text is the note text that is signed: three lines, each ended by a newline.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

func (c Checkpoint) validate() error {
	// The origin is also the log's key name, so it keeps to the same rules.
	if len(c.Origin) > OriginBytesMax {
		return malformed("checkpoint", 1, "origin over %d bytes", OriginBytesMax)
	}
	if err := checkKeyName(c.Origin); err != nil {
		return malformed("checkpoint", 1, "origin: %v", err)
	}
	if c.Size > TreeSizeMax {
		return malformed("checkpoint", 2, "size over 2^56")
	}
	if c.Size == 0 && c.Root != EmptyRoot() {
		return malformed("checkpoint", 3, "root of an empty tree is not the empty hash")
	}
	return nil
}

// ParseCheckpoint reads a checkpoint's text, without signatures. It accepts
// exactly what [Checkpoint.Text] writes.
func ParseCheckpoint(text string) (Checkpoint, error) {
	if len(text) > CheckpointBytesMax {
		return Checkpoint{}, malformed("checkpoint", 0, "over %d bytes", CheckpointBytesMax)
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, malformed("checkpoint", 0, "want three lines: origin, size, root")
	}
	size, err := parseDecimal(lines[1])
	if err != nil {
		return Checkpoint{}, malformed("checkpoint", 2, "size: %v", err)
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return Checkpoint{}, malformed("checkpoint", 3, "root: %v", err)
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: root}
	if err := c.validate(); err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

// Assemble writes a signed checkpoint: the text, a blank line and the
// signatures in the order given, with duplicates of a key reduced to the one
// with the latest time (a note may carry a key once). It verifies none of them:
// give it verified ones only, for one wrong signature of a known key makes
// readers refuse the whole.
func Assemble(c Checkpoint, sigs ...Signature) ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if len(sigs) == 0 || len(sigs) > signaturesMax {
		return nil, malformed("checkpoint", 0, "%d signatures, want 1 to %d", len(sigs), signaturesMax)
	}
	var b strings.Builder
	b.WriteString(c.Text())
	b.WriteByte('\n')
	for _, s := range latestOfEachKey(sigs) {
		b.WriteString(Line(s))
	}
	signed := []byte(b.String())
	if back, _, err := Unverified(signed); err != nil {
		return nil, err
	} else if back != c {
		return nil, malformed("checkpoint", 0, "a signature line holds more than a signature")
	}
	return signed, nil
}

// signaturesMax is the most that golang.org/x/mod/sumdb/note opens.
const signaturesMax = 100

// Line is a signature as the line that stands in a note, newline included.
func Line(s Signature) string { return "— " + s.Name + " " + s.Base64 + "\n" }

func latestOfEachKey(sigs []Signature) []Signature {
	var out []Signature
	for _, s := range sigs {
		i := slices.IndexFunc(out, func(o Signature) bool { return o.Name == s.Name && o.Hash == s.Hash })
		if i < 0 {
			out = append(out, s)
			continue
		}
		was, err1 := CosignatureTime(out[i])
		is, err2 := CosignatureTime(s)
		if err1 == nil && err2 == nil && is > was {
			out[i] = s
		}
	}
	return out
}

// Unverified splits a signed checkpoint into tree head and signatures and
// verifies nothing: for routing, and for adding signatures with [Assemble].
func Unverified(signed []byte) (Checkpoint, []Signature, error) {
	n, err := openNote(signed, nil)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	c, err := ParseCheckpoint(n.Text)
	return c, n.UnverifiedSigs, err
}

// Open reads a signed checkpoint and verifies the signatures of the keys given;
// signatures by other keys are ignored. At least one key must have signed.
// Errors: [ErrMalformed], [ErrSignature], [ErrNoLogSignature].
func Open(signed []byte, keys ...VerifierKey) (Checkpoint, []Signature, error) {
	n, err := openNote(signed, keys)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if len(n.Sigs) == 0 {
		return Checkpoint{}, nil, ErrNoLogSignature
	}
	return c, n.Sigs, nil
}

// openNote opens a signed note, translating the library's errors into ours. A
// note none of whose signers is known is no error here.
func openNote(signed []byte, keys []VerifierKey) (*note.Note, error) {
	if len(signed) > CheckpointBytesMax {
		return nil, malformed("checkpoint", 0, "over %d bytes", CheckpointBytesMax)
	}
	verifiers := make([]note.Verifier, len(keys))
	for i, k := range keys {
		verifiers[i] = k.verifier()
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	if unknown := (*note.UnverifiedNoteError)(nil); errors.As(err, &unknown) {
		return unknown.Note, nil
	}
	if bad := (*note.InvalidSignatureError)(nil); errors.As(err, &bad) {
		return nil, ErrSignature{Name: bad.Name, KeyID: bad.Hash}
	}
	if err != nil {
		return nil, malformed("checkpoint", 0, "%v", err)
	}
	return n, nil
}

// parseDecimal reads an ASCII decimal without sign or leading zeros, up to
// TreeSizeMax.
func parseDecimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, errors.New("not a plain decimal number")
	}
	if n > TreeSizeMax {
		return 0, errors.New("over 2^56")
	}
	return n, nil
}

// parseHash reads 32 bytes of strict standard base64.
func parseHash(s string) (Hash, error) {
	if len(s) != base64.StdEncoding.EncodedLen(tlog.HashSize) {
		return Hash{}, errors.New("not base64 of 32 bytes")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != tlog.HashSize {
		return Hash{}, errors.New("not base64 of 32 bytes")
	}
	return Hash(b), nil
}
