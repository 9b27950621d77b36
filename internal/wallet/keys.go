package wallet

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"filippo.io/age"
	"github.com/tyler-smith/go-bip39"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Domain strings of the derivation tree; docs/spec/wallet.md draws it.
const (
	domainTree       = "anamnesis/wallet/v1"
	domainWalletID   = "wallet-id"
	domainJournalID  = "journal-id"
	domainJournalKey = "journal-signing-key"
	domainJournalAge = "journal-age-identity"
	domainLabelKey   = "journal-label-key"
)

// ErrWords means that recovery words were mistyped: wrong number, an unknown word, or a checksum that does not match.
var ErrWords = errors.New("not valid recovery words")

// Seed is the one secret that every key of a wallet derives from.
type Seed struct{ secret Secret }

// SeedBytes is the length of a seed: 256 bits, 24 words.
const SeedBytes = 32

func newSeed() Seed {
	b := make([]byte, SeedBytes)
	_, _ = rand.Read(b) // never fails: crypto/rand crashes the program instead
	defer clear(b)
	return Seed{NewSecret(b)}
}

// ParseWords reads 24 recovery words (BIP-39, English); case and white space do not matter. The error wraps ErrWords, says which word
// is unknown by its place, and never repeats a word.
func ParseWords(words string) (Seed, error) {
	list := strings.Fields(strings.ToLower(words))
	if len(list) != 24 {
		return Seed{}, fmt.Errorf("%w: there are %d, not 24", ErrWords, len(list))
	}
	for i, w := range list {
		if _, ok := bip39.GetWordIndex(w); !ok {
			return Seed{}, fmt.Errorf("%w: word %d is not in the list", ErrWords, i+1)
		}
	}
	entropy, err := bip39.EntropyFromMnemonic(strings.Join(list, " "))
	if err != nil || len(entropy) != SeedBytes {
		return Seed{}, fmt.Errorf("%w: the checksum does not match, so a word is wrong or two are swapped", ErrWords)
	}
	defer clear(entropy)
	return Seed{NewSecret(entropy)}, nil
}

// Words are the seed's 24 recovery words. Whoever has them has the wallet.
func (s Seed) Words() string {
	words, err := bip39.NewMnemonic(s.secret.Reveal())
	if err != nil {
		return "" // only a zero Seed has another length
	}
	return words
}

// String and friends hide the seed; see Secret.
func (s Seed) String() string               { return redacted }
func (s Seed) GoString() string             { return redacted }
func (s Seed) Format(f fmt.State, v rune)   { s.secret.Format(f, v) }
func (s Seed) MarshalText() ([]byte, error) { return s.secret.MarshalText() }
func (s Seed) LogValue() slog.Value         { return s.secret.LogValue() }

// derive is HKDF-SHA-256 (RFC 5869): extract with the tree's domain as salt, expand with name ‖ 0x00 ‖ parameters.
func (s Seed) derive(length int, name string, parameters ...[]byte) []byte {
	prk, err := hkdf.Extract(sha256.New, s.secret.Reveal(), []byte(domainTree))
	if err != nil {
		panic("wallet: HKDF extract: " + err.Error()) // only in FIPS mode with a short key, which a Seed is not
	}
	info := name + "\x00"
	for _, p := range parameters {
		info += string(p)
	}
	out, err := hkdf.Expand(sha256.New, prk, info, length)
	if err != nil {
		panic("wallet: HKDF expand: " + err.Error()) // only for more than 255 blocks
	}
	clear(prk)
	return out
}

// JournalID is the id of the wallet's index-th own journal.
func (s Seed) JournalID(index uint32) protocol.JournalID {
	return protocol.JournalID(s.derive(16, domainJournalID, be32(index)))
}

// walletID names the wallet on its own device; it goes nowhere else.
func (s Seed) walletID() [16]byte { return [16]byte(s.derive(16, domainWalletID)) }

// JournalKeys are all keys of one journal. Those of two journals have nothing in common that anyone without the seed could see.
type JournalKeys struct {
	Journal  protocol.JournalID
	Signing  *SigningKey
	Identity *Identity

	labelKey   Secret
	labelEpoch uint8
	past       []*Identity // of earlier key epochs, newest first
	hidden
}

// Identities are the journal's identity and those before it, newest first: what was sealed to them still opens.
func (k *JournalKeys) Identities() []*Identity { return append([]*Identity{k.Identity}, k.past...) }

// Handle names the journal's data; see protocol.Handle.
func (k *JournalKeys) Handle() protocol.Handle {
	return protocol.Handle{Journal: k.Journal, Key: protocol.LabelKey(k.labelKey.Reveal()), Epoch: k.labelEpoch}
}

// journalKeys derives the keys of a journal. The key epoch counts changes of signing key and identity, the label epoch changes of handle.
func (s Seed) journalKeys(id protocol.JournalID, keyEpoch, labelEpoch uint8) (*JournalKeys, error) {
	signing := s.derive(ed25519.SeedSize, domainJournalKey, id[:], []byte{keyEpoch})
	scalar := s.derive(32, domainJournalAge, id[:], []byte{keyEpoch})
	defer clear(signing)
	defer clear(scalar)
	identity, err := newIdentity(scalar)
	if err != nil {
		return nil, err
	}
	return &JournalKeys{
		Journal: id, Signing: newSigningKey(signing), Identity: identity,
		labelKey: NewSecret(s.derive(16, domainLabelKey, id[:], []byte{labelEpoch})), labelEpoch: labelEpoch,
	}, nil
}

// SigningKey is an Ed25519 private key (RFC 8032) that no printer shows.
type SigningKey struct {
	private Secret // 64 bytes, as crypto/ed25519 has them
	public  protocol.PublicKey
	hidden
}

func newSigningKey(seed []byte) *SigningKey {
	private := ed25519.NewKeyFromSeed(seed)
	defer clear(private)
	return &SigningKey{private: NewSecret(private), public: protocol.PublicKey(private[ed25519.SeedSize:])}
}

// GenerateSigningKey makes a random key.
func GenerateSigningKey() *SigningKey {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed)
	defer clear(seed)
	return newSigningKey(seed)
}

// Public is the public key.
func (k *SigningKey) Public() protocol.PublicKey { return k.public }

// Sign signs a message (pure Ed25519).
func (k *SigningKey) Sign(message []byte) []byte {
	private := k.private.Reveal()
	defer clear(private)
	return ed25519.Sign(private, message)
}

// seed returns the 32 bytes that the key is made from.
func (k *SigningKey) seed() []byte { return k.private.Reveal()[:ed25519.SeedSize] }

// Recipient is the public half of an age X25519 identity: a Curve25519 point (RFC 7748). Text form: age1….
type Recipient [32]byte

// String is age's text form.
func (r Recipient) String() string { return bech32("age", r[:]) }

// age returns the recipient as age knows it.
func (r Recipient) age() (*age.X25519Recipient, error) { return age.ParseX25519Recipient(r.String()) }

// Identity is an age X25519 identity that no printer shows. It implements age.Identity.
type Identity struct {
	inner  veil[age.X25519Identity]
	public Recipient
	hidden
}

func newIdentity(scalar []byte) (*Identity, error) {
	private, err := ecdh.X25519().NewPrivateKey(scalar)
	if err != nil {
		return nil, errors.New("wallet: an age identity has 32 bytes")
	}
	inner, err := age.ParseX25519Identity(strings.ToUpper(bech32("age-secret-key-", scalar)))
	if err != nil {
		return nil, errors.New("wallet: age refuses the identity") // without age's own message, which may quote it
	}
	return &Identity{inner: veiled(inner), public: Recipient(private.PublicKey().Bytes())}, nil
}

// Recipient is the public half, to which files are encrypted.
func (i *Identity) Recipient() Recipient { return i.public }

// Unwrap implements age.Identity.
func (i *Identity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	return i.inner.get().Unwrap(stanzas)
}

// Reveal is the text form for the stock age command, AGE-SECRET-KEY-1…. Whoever has it reads every file of the journal they get hold of.
func (i *Identity) Reveal() string { return i.inner.get().String() }
