package protocol

import (
	"errors"
	"fmt"
)

// Validate implements Action: shapes, ranges and sizes, nothing that needs state.

func (a *ProposeMember) Validate() error { return a.Member.validate() }

func (a *ProposeRemoval) Validate() error { return nonzero("a member", a.Member.IsZero()) }

func (a *Approve) Validate() error { return nonzero("a proposal", a.Proposal.IsZero()) }

func (a *RotateMemberKey) Validate() error {
	if len(a.Proof) != 64 {
		return errors.New("the new key proves itself with a 64-byte signature")
	}
	return nonzero("a key", a.Key.IsZero())
}

func (a *SetPractitioner) Validate() error {
	if a.Practitioner.IsZero() || a.Key.IsZero() || a.Commitment.IsZero() {
		return errors.New("a practitioner has an id, a key and a commitment")
	}
	if !a.Role.Valid() {
		return errors.New("unknown role")
	}
	if a.Status < PractitionerActive || a.Status > PractitionerRevoked {
		return errors.New("unknown status")
	}
	return nil
}

func (a *OpenJournal) Validate() error {
	if a.Recipient == [32]byte{} || a.Sponsor.IsZero() {
		return errors.New("a journal has a recipient and a sponsor")
	}
	if len(a.Agreement) != 64 {
		return errors.New("the sponsor's agreement is a 64-byte signature")
	}
	if !a.Claim.IsZero() && !a.Guardians.IsZero() {
		return errors.New("a provisional journal has no guardians: its patient chooses them")
	}
	return nil
}

func (a *AddRecord) Validate() error {
	if a.Record.IsZero() || a.Label.IsZero() || a.Ciphertext.IsZero() || a.Manifest.IsZero() || a.Root.IsZero() {
		return errors.New("a record has an id, a label, and commitments to its file, manifest and resources")
	}
	if a.Size == 0 || a.Size > RecordFileBytesMax {
		return fmt.Errorf("a record's file has 1 to %d bytes", RecordFileBytesMax)
	}
	if a.Capsule.IsZero() || a.Generation == 0 {
		return errors.New("a record names its capsule and the generation of the custodians' key")
	}
	return a.validateRelation()
}

func (a *Grant) Validate() error {
	if len(a.Policy) == 0 || len(a.Policy) > ContractBytesMax {
		return fmt.Errorf("a contract has 1 to %d bytes of canonical Cedar", ContractBytesMax)
	}
	if a.NotAfter <= a.NotBefore {
		return errors.New("a contract ends after it begins")
	}
	if a.UsesMax > ContractUsesMax {
		return fmt.Errorf("a limit of uses is at most %d; 0 is no limit", ContractUsesMax)
	}
	return nil
}

func (a *Revoke) Validate() error { return nonzero("a contract", a.Contract.IsZero()) }

func (a *RequestAccess) Validate() error {
	if (len(a.Labels) == 0) == (len(a.Records) == 0) {
		return errors.New("a request names either labels or records")
	}
	if len(a.Labels) > LabelsRequestMax || len(a.Records) > RecordsRequestMax {
		return fmt.Errorf("a request names at most %d labels or %d records", LabelsRequestMax, RecordsRequestMax)
	}
	if !ascending(a.Labels) || !ascending(a.Records) {
		return errors.New("labels and records are listed in ascending order, each once")
	}
	if !a.Purpose.Valid() {
		return errors.New("unknown purpose")
	}
	if whole := a.Reason.IsZero(); whole && !a.Purpose.KeepsGlass() || !whole && !a.Purpose.BreaksGlass() {
		return errors.New("BTG names the reason for breaking the glass; ETREAT may, and no other purpose does")
	}
	if a.OneTime == [32]byte{} || a.OneTimeKEM != OneTimeX25519 {
		return errors.New("a request brings a one-time X25519 key")
	}
	return nil
}

func (a *OfferReceiverKey) Validate() error {
	if len(a.Key) != ReceiverKeyBytes {
		return fmt.Errorf("a receiver key has %d bytes", ReceiverKeyBytes)
	}
	return nonzero("a generation", a.Generation == 0)
}

func (a *Deal) Validate() error {
	if len(a.Message) == 0 || len(a.Message) > EnvelopeBytesMax {
		return errors.New("a deal has a message")
	}
	return nonzero("a generation", a.Generation == 0)
}

func (a *AcceptDeals) Validate() error {
	if n := len(a.Dealers); n == 0 || n > MembersMax {
		return fmt.Errorf("1 to %d dealers are listed", MembersMax)
	}
	for i, d := range a.Dealers {
		if d == 0 || d > MembersMax || i > 0 && d <= a.Dealers[i-1] {
			return errors.New("dealers are listed by index, ascending, each once")
		}
	}
	return nonzero("a generation", a.Generation == 0)
}

func (a *Complain) Validate() error {
	return nonzero("a generation and a dealer", a.Generation == 0 || a.Dealer == 0 || a.Dealer > MembersMax)
}

func (a *Reveal) Validate() error {
	if len(a.Share) != 32 {
		return errors.New("a share has 32 bytes")
	}
	return nonzero("a generation and a receiver", a.Generation == 0 || a.Receiver == 0 || a.Receiver > MembersMax)
}

func nonzero(what string, zero bool) error {
	if zero {
		return fmt.Errorf("%s must be named", what)
	}
	return nil
}

func ascending[N noun](ids []ID[N]) bool {
	for i := 1; i < len(ids); i++ {
		if string(ids[i-1][:]) >= string(ids[i][:]) {
			return false
		}
	}
	return true
}

// KeyProofMessage is what a new member key signs to prove that its holder asked for the rotation.
func KeyProofMessage(chain string, id MemberID, key PublicKey) []byte {
	d := Digest("anamnesis/key-proof/v1", []byte(chain), id[:], key[:])
	return d[:]
}

// SponsorMessage is what a sponsoring member signs for a new journal.
func SponsorMessage(chain string, sponsor MemberID, id JournalID, controller PublicKey) []byte {
	d := Digest("anamnesis/sponsor/v1", []byte(chain), sponsor[:], id[:], controller[:])
	return d[:]
}
