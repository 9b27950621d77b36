package wallet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"filippo.io/age"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// StanzaType is the type of the age stanza that holds a capsule:
//
//	-> anamnesis.tdh2 GENERATION      (decimal)
//	base64 of the capsule             (threshold.CapsuleBytes)
const StanzaType = "anamnesis.tdh2"

// FileKeyBytes is the length of age's file key, the secret inside a capsule.
const FileKeyBytes = 16

// CapsuleLabel is what a record's capsule is bound to, 32 bytes: Digest("anamnesis/capsule-label/v1", chain, generation as 4 bytes
// big-endian, journal, label, record). Custodians recompute it from their state.
func CapsuleLabel(chain string, generation uint32, journal protocol.JournalID, label protocol.Label, record protocol.RecordID) []byte {
	d := protocol.Digest("anamnesis/capsule-label/v1", []byte(chain), be32(generation), journal[:], label[:], record[:])
	return d[:]
}

// CapsuleOf returns the capsule in the header of a record's file; file may be the file's beginning, if the header is whole. At most
// HeaderBytesMax bytes are looked at. A file sealed to the patient alone has none: the capsule is nil. Errors wrap ErrHeader.
func CapsuleOf(file []byte) (*threshold.Capsule, error) {
	stanzas, err := stanzasOf(file)
	if err != nil {
		return nil, err
	}
	return capsuleIn(stanzas)
}

// capsuleIn demands the header of docs/spec/record.md: the patient's X25519 stanza, then at most one capsule.
func capsuleIn(stanzas []*age.Stanza) (*threshold.Capsule, error) {
	if len(stanzas) < 1 || len(stanzas) > 2 || stanzas[0].Type != "X25519" {
		return nil, fmt.Errorf("%w: it is not sealed to a patient and the custodians", ErrHeader)
	}
	if len(stanzas) == 1 {
		return nil, nil
	}
	s := stanzas[1]
	if s.Type != StanzaType || len(s.Args) != 1 {
		return nil, fmt.Errorf("%w: its second stanza is no capsule", ErrHeader)
	}
	c, err := threshold.ParseCapsule(s.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if s.Args[0] != strconv.FormatUint(uint64(c.Generation()), 10) {
		return nil, fmt.Errorf("%w: stanza and capsule name different generations", ErrHeader)
	}
	return c, nil
}

// stanzasOf parses an age header by asking age to decrypt it with an identity that only looks. Errors wrap ErrHeader.
func stanzasOf(file []byte) ([]*age.Stanza, error) {
	bounded := file[:min(len(file), HeaderBytesMax)]
	header, err := age.ExtractHeader(bytes.NewReader(bounded))
	if err != nil {
		return nil, fmt.Errorf("%w: no age header of at most %d bytes", ErrHeader, HeaderBytesMax)
	}
	var look looker
	if _, err = age.DecryptHeader(header, &look); look.stanzas == nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	return look.stanzas, nil
}

type looker struct{ stanzas []*age.Stanza }

func (l *looker) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	l.stanzas = stanzas
	return nil, age.ErrIncorrectIdentity
}

// custodians is the age recipient that seals the file key to the custodians' collective key.
type custodians struct {
	rand  io.Reader
	key   *threshold.PublicKey
	label []byte
	made  *threshold.Capsule // by the last Wrap
}

// Wrap implements age.Recipient.
func (c *custodians) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	capsule, err := threshold.Seal(c.rand, c.key, fileKey, c.label)
	if err != nil {
		return nil, err
	}
	c.made = capsule
	generation := strconv.FormatUint(uint64(capsule.Generation()), 10)
	return []*age.Stanza{{Type: StanzaType, Args: []string{generation}, Body: capsule.Bytes()}}, nil
}

// Combiner is an age.Identity for a reader: it hands the file's capsule to a function that obtains the custodians' shares and combines
// them into the file key. The function's errors come back from Open, wrapped.
type Combiner func(*threshold.Capsule) (fileKey []byte, err error)

// Unwrap implements age.Identity.
func (combine Combiner) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	capsule, err := capsuleIn(stanzas)
	if err != nil {
		return nil, err
	}
	if capsule == nil {
		return nil, fmt.Errorf("%w: the file is sealed to its patient alone", age.ErrIncorrectIdentity)
	}
	key, err := combine(capsule)
	if err != nil {
		return nil, err
	}
	if len(key) != FileKeyBytes {
		return nil, errors.New("a file key has 16 bytes")
	}
	return key, nil
}

// FileKey is an age.Identity for a file whose key the reader has combined already.
func FileKey(key [FileKeyBytes]byte) age.Identity {
	return Combiner(func(*threshold.Capsule) ([]byte, error) { return bytes.Clone(key[:]), nil })
}
