package wallet

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// ErrReason means that a sealed reason does not open for this reader, or is none.
var ErrReason = errors.New("not a sealed reason for this reader")

// Limits on a sealed reason.
const (
	ReasonTextBytesMax = 1000
	ReviewersMax       = 8 // that one reason is sealed to
)

// ReasonFile is a sealed reason: an age file of exactly protocol.ReasonFileBytes, whatever was written, and its hash for the ledger.
type ReasonFile struct {
	File []byte
	Hash protocol.Hash
}

// SealReason seals why the glass is broken to the patient and to the reviewers of the reader's member. Reviewers are named by their signing
// keys, as SSH keys of type ssh-ed25519 are to age: the stock program opens it with such a key.
func SealReason(text string, patient Recipient, reviewers []protocol.PublicKey) (ReasonFile, error) {
	if text = strings.TrimSpace(text); text == "" || len(text) > ReasonTextBytesMax || !utf8.ValidString(text) {
		return ReasonFile{}, fmt.Errorf("%w: a reason has 1 to %d bytes", ErrText, ReasonTextBytesMax)
	}
	to, err := patient.age()
	if err != nil {
		return ReasonFile{}, err
	}
	recipients := []age.Recipient{to}
	for _, key := range reviewers[:min(len(reviewers), ReviewersMax)] {
		r, err := reviewer(key)
		if err != nil {
			return ReasonFile{}, err
		}
		recipients = append(recipients, r)
	}
	empty, err := ageEncrypt(nil, recipients...)
	if err != nil {
		return ReasonFile{}, err
	}
	plain := make([]byte, protocol.ReasonFileBytes-len(empty)) // padded with zeros: the length tells nothing
	copy(plain, text)
	file, err := ageEncrypt(plain, recipients...)
	if err != nil || len(file) != protocol.ReasonFileBytes {
		return ReasonFile{}, fmt.Errorf("wallet: sealing a reason: %d bytes: %w", len(file), errors.Join(err, ErrReason))
	}
	return ReasonFile{File: file, Hash: sha256.Sum256(file)}, nil
}

func reviewer(key protocol.PublicKey) (age.Recipient, error) {
	public, err := ssh.NewPublicKey(ed25519.PublicKey(key[:]))
	if err != nil {
		return nil, err
	}
	return agessh.NewEd25519Recipient(public)
}

// OpenReason opens a sealed reason as the patient: identity is the journal's, or one of its earlier ones. Errors wrap ErrReason.
func OpenReason(file []byte, hash protocol.Hash, identity age.Identity) (string, error) {
	if len(file) != protocol.ReasonFileBytes || sha256.Sum256(file) != hash {
		return "", fmt.Errorf("%w: the file is not the one that the ledger names", ErrReason)
	}
	r, err := age.Decrypt(bytes.NewReader(file), identity)
	if err != nil {
		return "", ErrReason
	}
	plain, err := io.ReadAll(io.LimitReader(r, protocol.ReasonFileBytes))
	if err != nil {
		return "", ErrReason
	}
	text := string(bytes.TrimRight(plain, "\x00"))
	if text == "" || len(text) > ReasonTextBytesMax || !utf8.ValidString(text) {
		return "", fmt.Errorf("%w: there is no text in it", ErrReason)
	}
	return text, nil
}

// ReviewIdentity is the identity with which an administrator opens the reasons that were sealed to the signing key.
func (a *Actor) ReviewIdentity() (age.Identity, error) {
	private := a.Key.private.Reveal()
	defer clear(private)
	return agessh.NewEd25519Identity(ed25519.PrivateKey(private))
}

// LooksLikeReason tells vaults whether a file without a capsule may be a sealed reason: an age file of that very size.
func LooksLikeReason(header []byte, size int64) bool {
	return size == protocol.ReasonFileBytes && bytes.HasPrefix(header, []byte("age-encryption.org/v1\n-> "))
}
