package wallet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/anamnesis-health/anamnesis/protocol"
)

const (
	manifestFormat  = "anamnesis-record"
	manifestVersion = 1

	domainManifestSignature = "anamnesis/manifest/v1\n"
	domainManifestHash      = "anamnesis/manifest-hash/v1"
)

// Manifest is what the author of a record says about it, and signs. Its bytes are JSON in RFC 8785 canonical form (JCS).
// The fields are declared in the order of their JSON names, which is the canonical one.
type Manifest struct {
	Author    Author              `json:"author"`
	Chain     string              `json:"chain"`
	Class     string              `json:"class"` // what the record is about: lowercase letters, digits and inner hyphens
	Format    string              `json:"format"`
	Journal   protocol.JournalID  `json:"journal"`
	Label     protocol.Label      `json:"label"` // the class as the ledger sees it
	Record    protocol.RecordID   `json:"record"`
	Recorded  uint64              `json:"recorded"` // UTC ms; when the author recorded it
	Resources []ResourceStatement `json:"resources"`
	Salt      Salt                `json:"salt"` // hides manifest and resources behind their hashes on the ledger
	Source    Source              `json:"source"`
	Version   int                 `json:"version"`
}

// Author is who made the record and signed its manifest.
type Author struct {
	ID   ActorID            `json:"id"` // MemberID, PractitionerID, or of patient and delegate the JournalID
	Key  protocol.PublicKey `json:"key"`
	Kind protocol.ActorKind `json:"kind"`
}

// Own tells whether a record is the patient's own word, or a delegate's for them: an organisation's it is not, whatever its source says.
func (a Author) Own() bool {
	return a.Kind.ForPatient()
}

// Source is the organisation that the content comes from, which need not be the author.
type Source struct {
	Identifier string `json:"identifier"` // as the organisation is known by elsewhere, such as an NPI; may be empty
	Name       string `json:"name"`
}

// NewSource makes a Source of what foreign systems write: white space of any kind becomes single spaces, what is not printable goes, and
// what is too long is cut.
func NewSource(identifier, name string) Source {
	return Source{Identifier: tidy(identifier), Name: tidy(name)}
}

func tidy(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	s = strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
	if len(s) > TextBytesMax {
		s = strings.ToValidUTF8(s[:TextBytesMax], "")
	}
	return s
}

// ResourceStatement is the manifest's line about one resource.
type ResourceStatement struct {
	Bytes uint64        `json:"bytes"`
	Hash  protocol.Hash `json:"hash"` // salted: resourceHash
	Salt  Salt          `json:"salt"`
}

// Salt is 16 random bytes, ActorID 16 bytes that name an actor; in JSON, 32 lowercase hexadecimal digits.
type (
	Salt    [16]byte
	ActorID [16]byte
)

// MarshalText implements encoding.TextMarshaler.
func (s Salt) MarshalText() ([]byte, error)     { return hex.AppendEncode(nil, s[:]), nil }
func (id ActorID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Salt) UnmarshalText(text []byte) error     { return unhex(s[:], text) }
func (id *ActorID) UnmarshalText(text []byte) error { return unhex(id[:], text) }

// String is the text form.
func (id ActorID) String() string { return hex.EncodeToString(id[:]) }

func unhex(dst, text []byte) error {
	if len(text) != 2*len(dst) {
		return fmt.Errorf("%d hexadecimal digits are expected", 2*len(dst))
	}
	_, err := hex.Decode(dst, text)
	return err
}

// encode is the canonical form. Every string was checked to be printable, so that encoding/json escapes what RFC 8785 does and no more.
func (m *Manifest) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("wallet: manifest: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// parseManifest accepts the canonical form of a well-formed manifest and nothing else. Errors wrap ErrManifest.
func parseManifest(data []byte) (*Manifest, error) {
	m := new(Manifest)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("%w: not %s", ErrManifest, manifestFormat)
	}
	if m.Version > manifestVersion {
		return nil, fmt.Errorf("%w: manifest version %d, this program knows %d", ErrTooNew, m.Version, manifestVersion)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	again, err := m.encode()
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: it is not in canonical form", ErrManifest)
	}
	return m, nil
}

func (m *Manifest) check() error {
	if m.Version != manifestVersion {
		return errors.New("unknown version")
	}
	if !protocol.ValidClass(m.Class) {
		return fmt.Errorf("%w: a class has 1 to %d small letters, digits and inner hyphens", ErrText, protocol.ClassBytesMax)
	}
	switch m.Author.Kind {
	case protocol.ActorMember, protocol.ActorPractitioner, protocol.ActorPatient, protocol.ActorDelegate:
	default:
		return errors.New("an author is a member, a practitioner, a patient or a delegate")
	}
	if len(m.Chain) > protocol.ChainBytesMax || m.Journal.IsZero() || m.Record.IsZero() || m.Label.IsZero() || m.Author.Key.IsZero() || m.Author.ID == (ActorID{}) {
		return errors.New("a manifest names network, journal, label, record and author")
	}
	if m.Recorded/1000 > 1<<33-1 { // what a ustar header carries: until the year 2242
		return errors.New("the time of recording is out of range")
	}
	if m.Resources == nil || len(m.Resources) > ResourcesRecordMax {
		return fmt.Errorf("%w: a record has at most %d resources", ErrLimit, ResourcesRecordMax)
	}
	return errors.Join(checkText("a network's id", m.Chain, 1), checkText("the source's name", m.Source.Name, 0),
		checkText("the source's identifier", m.Source.Identifier, 0))
}

// manifestMessage is what the author signs.
func manifestMessage(manifest []byte) []byte {
	return append([]byte(domainManifestSignature), manifest...)
}

// manifestHash is the ledger's commitment to manifest and signature; the manifest's own salt hides it.
func manifestHash(manifest, signature []byte) protocol.Hash {
	return protocol.Digest(domainManifestHash, manifest, signature)
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
