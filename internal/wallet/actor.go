package wallet

import (
	"crypto/ed25519"
	"fmt"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Actor is the signing key of a member, a practitioner, a delegate, or a provisional journal (kind ActorPatient), with what its holder needs to use it. It prints as "[secret]".
type Actor struct {
	Network Network
	Kind    protocol.ActorKind // ActorMember, ActorPractitioner, ActorDelegate or ActorPatient
	ID      [16]byte           // MemberID, PractitionerID or the JournalID
	Name    string             // as its holder wrote it; never sent anywhere
	Key     *SigningKey
	Handle  *protocol.Handle // of a provisional journal; else nil
	hidden
}

// NewMember makes a member's first key, from which its id derives.
func NewMember(n Network, name string) *Actor {
	key := GenerateSigningKey()
	return &Actor{Network: n, Kind: protocol.ActorMember, ID: protocol.MemberIDOf(key.Public()), Name: name, Key: key}
}

// NewPractitioner makes a key for a practitioner that a member registers under id.
func NewPractitioner(n Network, id protocol.PractitionerID, name string) *Actor {
	return &Actor{Network: n, Kind: protocol.ActorPractitioner, ID: id, Name: name, Key: GenerateSigningKey()}
}

// Signer is what the actor's envelopes and manifests name.
func (a *Actor) Signer() protocol.Signer {
	return protocol.Signer{Kind: a.Kind, ID: a.ID, Key: a.Key.Public()}
}

// Signer is what the journal's own envelopes name.
func (k *JournalKeys) Signer() protocol.Signer {
	return protocol.PatientSigner(k.Journal, k.Signing.Public())
}

func (a *Actor) check() error {
	switch a.Kind {
	case protocol.ActorMember, protocol.ActorPractitioner, protocol.ActorDelegate, protocol.ActorPatient:
	case protocol.ActorLedger, protocol.ActorGuardian:
		fallthrough
	default:
		return fmt.Errorf("%w: an actor's file is for a member, a practitioner, a delegate or a provisional journal", ErrText)
	}
	if a.ID == [16]byte{} || a.Key == nil {
		return fmt.Errorf("%w: an actor has an id and a key", ErrText)
	}
	return checkText("an actor's name", a.Name, 0)
}

// ActorFromKey makes an actor of a key that exists already, such as a node's.
func ActorFromKey(n Network, kind protocol.ActorKind, id [16]byte, name string, key ed25519.PrivateKey) *Actor {
	return &Actor{Network: n, Kind: kind, ID: id, Name: name, Key: newSigningKey(key.Seed())}
}
