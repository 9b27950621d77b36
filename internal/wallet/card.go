package wallet

import (
	"crypto/rand"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// ErrCard means that a card's sealed handle does not open with this code: it is another card's, or damaged.
var ErrCard = errors.New("this is not the card of that code")

const domainCard = "anamnesis/card/v1"

// cardKeys are what an emergency card's code gives on one network: the card's name, and the key that its handle is sealed under.
func (c Code) cardKeys(chain string) (protocol.CardID, []byte) {
	k := c.derive(64, domainCard+"\x00"+chain)
	name := protocol.Digest(domainCard, k[:32])
	return protocol.CardID(name[:16]), k[32:]
}

// CardID is the name under which the ledger holds the card of this code. It says nothing about the code or the journal.
func (c Code) CardID(chain string) protocol.CardID {
	id, key := c.cardKeys(chain)
	clear(key)
	return id
}

// SealCard makes the action that sets an emergency card: the handle, sealed under the code (XChaCha20-Poly1305, the card's name as
// additional data, the nonce before the ciphertext).
func (c Code) SealCard(chain string, h protocol.Handle) *protocol.SetCard {
	id, key := c.cardKeys(chain)
	defer clear(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic("wallet: " + err.Error()) // only for a key of another length
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce)
	return &protocol.SetCard{Card: id, Sealed: aead.Seal(nonce, nonce, []byte(h.String()), id[:])}
}

// OpenCard opens a card's sealed handle. The error wraps ErrCard.
func (c Code) OpenCard(chain string, sealed []byte) (protocol.Handle, error) {
	id, key := c.cardKeys(chain)
	defer clear(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil || len(sealed) < aead.NonceSize() || len(sealed) > protocol.CardBytesMax {
		return protocol.Handle{}, ErrCard
	}
	text, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], id[:])
	if err != nil {
		return protocol.Handle{}, ErrCard
	}
	h, err := protocol.ParseHandle(string(text))
	if err != nil {
		return protocol.Handle{}, ErrCard
	}
	return h, nil
}
