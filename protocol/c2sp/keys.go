package c2sp

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// KeyType is the signature type byte of a verifier key (c2sp.org/signed-note,
// "Signature types").
type KeyType byte

const (
	// KeyEd25519 signs the note's text as it is: log keys.
	KeyEd25519 KeyType = 0x01
	// KeyCosignatureV1 signs the text with a time before it: cosigner keys.
	KeyCosignatureV1 KeyType = 0x04
	// KeyMLDSA44 is the post-quantum cosignature. Its place is reserved:
	// [ParseVerifierKey] refuses it with [ErrKeyType].
	KeyMLDSA44 KeyType = 0x06
)

// VerifierKey is a named public key with its type: the vkey of
// c2sp.org/signed-note. It is comparable.
type VerifierKey struct {
	Name   string
	Type   KeyType
	public string // raw key bytes, as a string to stay comparable
}

// NewVerifierKey names an Ed25519 public key for a type that uses one
// ([KeyEd25519] or [KeyCosignatureV1]).
func NewVerifierKey(name string, t KeyType, public ed25519.PublicKey) (VerifierKey, error) {
	k := VerifierKey{Name: name, Type: t, public: string(public)}
	return k, k.validate()
}

func (k VerifierKey) validate() error {
	if err := checkKeyName(k.Name); err != nil {
		return err
	}
	if k.Type != KeyEd25519 && k.Type != KeyCosignatureV1 {
		return ErrKeyType{Type: k.Type, Role: "verifier"}
	}
	if len(k.public) != ed25519.PublicKeySize {
		return malformed("verifier key", 0, "public key of %d bytes, want %d", len(k.public), ed25519.PublicKeySize)
	}
	return nil
}

// ParseVerifierKey reads a vkey, `name+hex key id+base64(type ‖ key)`. It
// accepts only the spelling that [VerifierKey.String] writes.
func ParseVerifierKey(vkey string) (VerifierKey, error) {
	name, rest, ok1 := strings.Cut(vkey, "+")
	id, key64, ok2 := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(key64)
	if !ok1 || !ok2 || err != nil || len(raw) < 2 || len(key64) > 2048 {
		return VerifierKey{}, malformed("verifier key", 0, "want name+id+base64")
	}
	k := VerifierKey{Name: name, Type: KeyType(raw[0]), public: string(raw[1:])}
	if err := k.validate(); err != nil {
		return VerifierKey{}, err
	}
	if want := fmt.Sprintf("%08x", k.ID()); id != want {
		return VerifierKey{}, malformed("verifier key", 0, "key id %s is not the key's (%s)", strconv.Quote(id), want)
	}
	if k.String() != vkey { // base64 with line breaks inside
		return VerifierKey{}, malformed("verifier key", 0, "not in canonical form")
	}
	return k, nil
}

// String writes the vkey.
func (k VerifierKey) String() string {
	raw := append([]byte{byte(k.Type)}, k.public...)
	return fmt.Sprintf("%s+%08x+%s", k.Name, k.ID(), base64.StdEncoding.EncodeToString(raw))
}

// ID is the key id that signature lines carry: the first four bytes of
// SHA-256(name ‖ "\n" ‖ type ‖ key).
func (k VerifierKey) ID() uint32 {
	sum := sha256.Sum256([]byte(k.Name + "\n" + string([]byte{byte(k.Type)}) + k.public))
	return binary.BigEndian.Uint32(sum[:])
}

// PublicKey returns a copy of the raw key.
func (k VerifierKey) PublicKey() []byte { return []byte(k.public) }

// verifier is what golang.org/x/mod/sumdb/note asks to check a signature of k.
func (k VerifierKey) verifier() note.Verifier { return verifier{k} }

type verifier struct{ VerifierKey }

func (v verifier) Name() string    { return v.VerifierKey.Name }
func (v verifier) KeyHash() uint32 { return v.ID() }

func (v verifier) Verify(text, sig []byte) bool {
	switch v.Type {
	case KeyEd25519:
		return ed25519.Verify(ed25519.PublicKey(v.public), text, sig)
	case KeyCosignatureV1:
		return verifyCosignature(ed25519.PublicKey(v.public), text, sig)
	default:
		return false
	}
}

// checkKeyName holds a name to c2sp.org/signed-note: not empty, UTF-8, no
// Unicode space, no plus; and to ours: no control characters, bounded, and no
// "#", which some policy parsers take for a comment.
func checkKeyName(name string) error {
	bad := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '+' || r == '#' }
	if name == "" || len(name) > KeyNameBytesMax || !utf8.ValidString(name) || strings.IndexFunc(name, bad) >= 0 {
		return malformed("key name", 0, "%s is empty, too long, or holds a space, control character, + or #", strconv.Quote(name[:min(len(name), 64)]))
	}
	return nil
}
