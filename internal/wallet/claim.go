package wallet

import (
	"crypto/rand"
	"errors"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// ErrClaim means that a claim package does not open with this code: it is another's, or damaged.
var ErrClaim = errors.New("this code does not open what the organisation keeps for it")

const domainClaim = "anamnesis/claim-code/v1"

// ClaimBytesMax bounds a sealed claim package.
const ClaimBytesMax = 256

// ClaimKeys are what a one-time code gives on one network: the name under which the organisation keeps its package, the key that claims
// the journal, and the key that the package is sealed under.
type ClaimKeys struct {
	Lookup [16]byte
	Key    *SigningKey

	seal Secret
	hidden
}

// ClaimKeys derives a code's keys, by scrypt.
func (c Code) ClaimKeys(chain string) *ClaimKeys {
	k := c.derive(16+32+32, domainClaim+"\x00"+chain)
	defer clear(k)
	return &ClaimKeys{Lookup: [16]byte(k), Key: newSigningKey(k[16:48]), seal: NewSecret(k[48:])}
}

// Seal makes the package: the journal's handle (XChaCha20-Poly1305, the lookup name as additional data, the nonce before the ciphertext).
func (k *ClaimKeys) Seal(h protocol.Handle) []byte {
	key := k.seal.Reveal()
	defer clear(key)
	return sealHandle(key, newNonce(), k.Lookup[:], h)
}

// Open opens a package. The error wraps ErrClaim.
func (k *ClaimKeys) Open(sealed []byte) (protocol.Handle, error) {
	key := k.seal.Reveal()
	defer clear(key)
	h, ok := openHandle(key, k.Lookup[:], sealed, ClaimBytesMax)
	if !ok {
		return h, ErrClaim
	}
	return h, nil
}

// Provisional is a journal that an organisation opens for a patient without a wallet: a key that runs it until it is claimed, the handle,
// and a recipient whose identity nobody keeps, so that even the organisation reads the records only through the custodians, in the log.
type Provisional struct {
	Actor     *Actor
	Handle    protocol.Handle
	Recipient Recipient
}

// NewProvisional draws the keys of a provisional journal.
func NewProvisional(n Network, name string) *Provisional {
	p := &Provisional{Actor: &Actor{Network: n, Kind: protocol.ActorPatient, Name: name, Key: GenerateSigningKey()}}
	_, _ = rand.Read(p.Handle.Journal[:])
	_, _ = rand.Read(p.Handle.Key[:])
	p.Actor.ID, p.Actor.Handle = p.Handle.Journal, &p.Handle
	p.Recipient = protocol.NobodyRecipient(n.Chain, p.Handle.Journal)
	return p
}
