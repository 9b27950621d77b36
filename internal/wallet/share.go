package wallet

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Errors of the share channel.
var (
	ErrOneTimeKey = errors.New("not a usable one-time key")
	ErrShare      = errors.New("the sealed share does not open")
)

const domainShare = "anamnesis/share/v1"

// ShareInfo is what a sealed share is bound to: it opens only for the same values.
type ShareInfo struct {
	Chain      string
	Access     protocol.AccessID
	Custodian  protocol.MemberID
	Generation uint32
	Epoch      uint32
	OneTime    [32]byte // the public key in the access entry
	KEM        uint16   // and its KEM, as in the entry
}

// info is HPKE's info: Digest("anamnesis/share/v1", KEM, chain, access, custodian, generation, epoch, one-time key), integers big-endian.
func (i ShareInfo) info() []byte {
	kem := binary.BigEndian.AppendUint16(nil, i.KEM)
	d := protocol.Digest(domainShare, kem, []byte(i.Chain), i.Access[:], i.Custodian[:], be32(i.Generation), be32(i.Epoch), i.OneTime[:])
	return d[:]
}

// OneTimeKey is a reader's HPKE key for one access. It prints as "[secret]".
type OneTimeKey struct {
	private veil[hpke.PrivateKey]
	public  [32]byte
	hidden
}

// NewOneTimeKey draws a key.
func NewOneTimeKey() (*OneTimeKey, error) {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	defer clear(b)
	return ParseOneTimeKey(NewSecret(b))
}

// ParseOneTimeKey restores a key from what Reveal returned, for a reader whose request and reading are two processes.
func ParseOneTimeKey(s Secret) (*OneTimeKey, error) {
	private, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(s.Reveal())
	if err != nil {
		return nil, fmt.Errorf("%w: a private key has 32 bytes", ErrOneTimeKey)
	}
	return &OneTimeKey{private: veiled(&private), public: [32]byte(private.PublicKey().Bytes())}, nil
}

// Public goes into the access request.
func (k *OneTimeKey) Public() [32]byte { return k.public }

// KEM goes there too: the key's HPKE KEM id (RFC 9180 §7.1).
func (k *OneTimeKey) KEM() uint16 { return (*k.private.get()).KEM().ID() }

// Reveal is the private key, for ParseOneTimeKey.
func (k *OneTimeKey) Reveal() (Secret, error) {
	b, err := (*k.private.get()).Bytes()
	if err != nil {
		return Secret{}, fmt.Errorf("%w: %w", ErrOneTimeKey, err)
	}
	defer clear(b)
	return NewSecret(b), nil
}

// SealShare is the custodian's side: it seals an answer to the one-time key in info. HPKE base mode, DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256, ChaCha20-Poly1305; the result is enc ‖ ciphertext. Errors wrap ErrOneTimeKey or ErrLimit.
func SealShare(info ShareInfo, answer []byte) ([]byte, error) {
	if info.KEM != protocol.OneTimeX25519 {
		return nil, fmt.Errorf("%w: KEM 0x%04x", ErrOneTimeKey, info.KEM)
	}
	if len(answer) > ShareAnswerBytesMax {
		return nil, fmt.Errorf("%w: an answer of %d bytes, at most %d", ErrLimit, len(answer), ShareAnswerBytesMax)
	}
	public, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(info.OneTime[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOneTimeKey, err)
	}
	sealed, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info.info(), answer)
	if err != nil { // a point of small order
		return nil, fmt.Errorf("%w: %w", ErrOneTimeKey, err)
	}
	return sealed, nil
}

// OpenShare opens a custodian's sealed answer. info's one-time key and KEM are the key's own. Errors wrap ErrShare.
func (k *OneTimeKey) OpenShare(info ShareInfo, sealed []byte) ([]byte, error) {
	if len(sealed) > ShareAnswerBytesMax+shareOverheadBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrShare, len(sealed))
	}
	info.OneTime, info.KEM = k.public, k.KEM()
	answer, err := hpke.Open(*k.private.get(), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info.info(), sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: it was made for another key, access, custodian or epoch, or changed on its way", ErrShare)
	}
	return answer, nil
}

const shareOverheadBytes = 32 + 16 // enc, tag
