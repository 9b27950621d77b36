package wallet

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// ErrOffer means that a delegate's offer is not one, or is for another journal.
var ErrOffer = errors.New("not a valid offer of a delegate")

const offerPrefix = "anamnesis-delegate:"

// NewDelegate makes a key for somebody who will stand in for the patient of a journal.
func NewDelegate(n Network, journal protocol.JournalID, name string) *Actor {
	return &Actor{Network: n, Kind: protocol.ActorDelegate, ID: journal, Name: name, Key: GenerateSigningKey()}
}

// Offer is what a delegate gives to the patient: the key, and its proof for this journal alone. It is no secret.
func (a *Actor) Offer() string {
	key := a.Key.Public()
	proof := a.Key.Sign(protocol.DelegateProofMessage(a.Network.Chain, protocol.JournalID(a.ID), key))
	return offerPrefix + base64.RawURLEncoding.EncodeToString(append(append(a.ID[:len(a.ID):len(a.ID)], key[:]...), proof...))
}

// ParseOffer reads an offer for a journal and checks its proof. Errors wrap ErrOffer.
func ParseOffer(text, chain string, journal protocol.JournalID) (key protocol.PublicKey, proof []byte, err error) {
	coded, ok := strings.CutPrefix(strings.TrimSpace(text), offerPrefix)
	if !ok || len(coded) > 200 {
		return key, nil, fmt.Errorf("%w: it begins with %s", ErrOffer, offerPrefix)
	}
	raw, err := base64.RawURLEncoding.DecodeString(coded)
	if err != nil || len(raw) != 16+32+64 {
		return key, nil, fmt.Errorf("%w: it is cut off or changed", ErrOffer)
	}
	if protocol.JournalID(raw[:16]) != journal {
		return key, nil, fmt.Errorf("%w: it is for another journal", ErrOffer)
	}
	key, proof = protocol.PublicKey(raw[16:48]), raw[48:]
	if !protocol.VerifySignature(key, protocol.DelegateProofMessage(chain, journal, key), proof) {
		return key, nil, fmt.Errorf("%w: its proof does not hold; is it for another network?", ErrOffer)
	}
	return key, proof, nil
}
