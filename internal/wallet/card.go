package wallet

import (
	"errors"

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
	return &protocol.SetCard{Card: id, Sealed: sealHandle(key, newNonce(), id[:], h)}
}

// OpenCard opens a card's sealed handle. The error wraps ErrCard.
func (c Code) OpenCard(chain string, sealed []byte) (protocol.Handle, error) {
	id, key := c.cardKeys(chain)
	defer clear(key)
	h, ok := openHandle(key, id[:], sealed, protocol.CardBytesMax)
	if !ok {
		return h, ErrCard
	}
	return h, nil
}
