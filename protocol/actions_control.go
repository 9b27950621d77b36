package protocol

import (
	"errors"
	"fmt"
)

// Who controls a journal, and how that changes hands: by a one-time code, by guardians, or because the patient says so.

// ClaimJournal hands a provisional journal to its patient, for good. It is signed with the new controller's key, which only this action
// may do. It takes two agreements beside: the key that the one-time code makes, and the sponsor's, which its gateway gives once the second
// factor fits. Both sign ClaimMessage.
type ClaimJournal struct {
	_         struct{}  `cbor:",toarray"`
	Code      PublicKey // the key that the code makes
	CodeProof []byte    // its signature
	Recipient [32]byte  // age X25519 public key: authors seal to it from now on
	Guardians Hash      // GuardianCommitment; zero: none yet
	Agreement []byte    // the sponsor's signature
}

// ReissueClaim replaces the one-time code of a provisional journal; the old one is dead.
type ReissueClaim struct {
	_     struct{} `cbor:",toarray"`
	Claim Hash     // ClaimCommitment
}

// AddDevice lets another key sign for the patient, but for what only the controller may do.
type AddDevice struct {
	_     struct{} `cbor:",toarray"`
	Key   PublicKey
	Name  Hash   // commitment to what the patient calls it: Digest("anamnesis/device-name/v1", salt, name)
	Proof []byte // the device's signature of DeviceMessage
}

// RevokeDevice cuts a device off at once. The controller may, and every other device.
type RevokeDevice struct {
	_   struct{} `cbor:",toarray"`
	Key PublicKey
}

// RotateController replaces the journal's keys by new ones of the same patient.
type RotateController struct {
	_          struct{} `cbor:",toarray"`
	Controller PublicKey
	Recipient  [32]byte
	Proof      []byte // the new key's signature of ControlMessage
}

// SetGuardians commits to those who together can recover the journal. Who they are stays hidden until they do.
type SetGuardians struct {
	_         struct{} `cbor:",toarray"`
	Guardians Hash     // GuardianCommitment; zero: none any more
}

// ProposeRecovery asks the guardians to give the journal a new controller, and is the first one's approval. It reveals the policy.
type ProposeRecovery struct {
	_          struct{} `cbor:",toarray"`
	Policy     []byte   // canonical encoding of GuardianPolicy
	Controller PublicKey
	Recipient  [32]byte
	Proof      []byte // the new key's signature of ControlMessage
}

// ApproveRecovery is another guardian's approval.
type ApproveRecovery struct {
	_        struct{} `cbor:",toarray"`
	Recovery RecoveryID
}

// VetoRecovery ends a recovery before it is completed.
type VetoRecovery struct {
	_        struct{} `cbor:",toarray"`
	Recovery RecoveryID
}

// GuardianPolicy says who can recover a journal: in every group, as many as it needs.
type GuardianPolicy struct {
	_           struct{} `cbor:",toarray"`
	Salt        [16]byte // random, so that the commitment tells nothing
	DelayMillis uint64   // between the last approval needed and the change of hands
	Groups      []GuardianGroup
}

// GuardianGroup is m of n guardians, such as two of three of the family.
type GuardianGroup struct {
	_    struct{} `cbor:",toarray"`
	Need uint8
	Keys []PublicKey // each once over all groups
}

// ParseGuardianPolicy reads a policy and checks it.
func ParseGuardianPolicy(raw []byte) (p GuardianPolicy, err error) {
	if err := Decode(raw, &p); err != nil {
		return p, err
	}
	return p, p.Validate()
}

// Validate checks shapes; errors are plain sentences.
func (p GuardianPolicy) Validate() error {
	if n := len(p.Groups); n == 0 || n > GuardianGroupsMax {
		return fmt.Errorf("guardians stand in 1 to %d groups", GuardianGroupsMax)
	}
	if p.DelayMillis > RecoveryDelayMillisMax {
		return errors.New("the delay of a recovery is at most 90 days")
	}
	seen := make(map[PublicKey]bool)
	for _, g := range p.Groups {
		if g.Need == 0 || int(g.Need) > len(g.Keys) {
			return errors.New("a group of guardians needs at least one of them, and at most all")
		}
		for _, k := range g.Keys {
			if k.IsZero() || seen[k] {
				return errors.New("each guardian stands in one group, once")
			}
			seen[k] = true
		}
	}
	if len(seen) > GuardiansMax {
		return fmt.Errorf("there are at most %d guardians", GuardiansMax)
	}
	return nil
}

// Has tells whether the key is a guardian's.
func (p GuardianPolicy) Has(key PublicKey) bool {
	for _, g := range p.Groups {
		for _, k := range g.Keys {
			if k == key {
				return true
			}
		}
	}
	return false
}

// Satisfied tells whether those who approved are enough in every group.
func (p GuardianPolicy) Satisfied(approved []PublicKey) bool {
	for _, g := range p.Groups {
		have := uint8(0)
		for _, k := range g.Keys {
			for _, a := range approved {
				if a == k {
					have++
					break
				}
			}
		}
		if have < g.Need {
			return false
		}
	}
	return len(p.Groups) > 0
}

// GuardianCommitment is what a journal holds of its guardians.
func GuardianCommitment(chain string, id JournalID, policy []byte) Hash {
	return Digest("anamnesis/guardians/v1", []byte(chain), id[:], policy)
}

// ClaimCommitment is what a provisional journal holds of its one-time code.
func ClaimCommitment(chain string, id JournalID, code PublicKey) Hash {
	return Digest("anamnesis/claim-key/v1", []byte(chain), id[:], code[:])
}

// NobodyRecipient is the X25519 recipient of a provisional journal, drawn from the journal's name so that nobody knows its private half: until the
// claim its records open through the custodians alone.
func NobodyRecipient(chain string, id JournalID) [32]byte {
	return Digest("anamnesis/nobody/v1", []byte(chain), id[:])
}

// ClaimMessage is what the code's key and the sponsor sign for a claim.
func ClaimMessage(chain string, id JournalID, controller PublicKey, recipient [32]byte) []byte {
	d := Digest("anamnesis/claim/v1", []byte(chain), id[:], controller[:], recipient[:])
	return d[:]
}

// ControlMessage is what a new controller's key signs to prove that its holder asks for the journal.
func ControlMessage(chain string, id JournalID, controller PublicKey, recipient [32]byte) []byte {
	d := Digest("anamnesis/control/v1", []byte(chain), id[:], controller[:], recipient[:])
	return d[:]
}

// DeviceMessage is what a device's key signs to prove that its holder asks to be added.
func DeviceMessage(chain string, id JournalID, device PublicKey, name Hash) []byte {
	d := Digest("anamnesis/device/v1", []byte(chain), id[:], device[:], name[:])
	return d[:]
}

// RecoveryEvent is the body of EventJournalRecovered and EventRecoveryExpired.
type RecoveryEvent struct {
	_        struct{} `cbor:",toarray"`
	Recovery RecoveryID
}

// RecoveryWaiting is the body of EventRecoveryWaiting: the guardians have approved, and the journal changes hands at Due unless somebody
// vetoes.
type RecoveryWaiting struct {
	_        struct{} `cbor:",toarray"`
	Recovery RecoveryID
	Due      uint64 // UTC ms
}

// GuardianSigner names a guardian of a journal.
func GuardianSigner(id JournalID, key PublicKey) Signer {
	return Signer{Kind: ActorGuardian, ID: id, Key: key}
}

// ActionType implements Action.
func (*ClaimJournal) ActionType() ActionType     { return TypeClaimJournal }
func (*ReissueClaim) ActionType() ActionType     { return TypeReissueClaim }
func (*AddDevice) ActionType() ActionType        { return TypeAddDevice }
func (*RevokeDevice) ActionType() ActionType     { return TypeRevokeDevice }
func (*RotateController) ActionType() ActionType { return TypeRotateController }
func (*SetGuardians) ActionType() ActionType     { return TypeSetGuardians }
func (*ProposeRecovery) ActionType() ActionType  { return TypeProposeRecovery }
func (*ApproveRecovery) ActionType() ActionType  { return TypeApproveRecovery }
func (*VetoRecovery) ActionType() ActionType     { return TypeVetoRecovery }

var errSignatureBytes = errors.New("a signature has 64 bytes")

// Validate implements Action.
func (a *ClaimJournal) Validate() error {
	if a.Code.IsZero() || a.Recipient == [32]byte{} {
		return errors.New("a claim brings the code's key and a recipient")
	}
	if len(a.CodeProof) != 64 || len(a.Agreement) != 64 {
		return errSignatureBytes
	}
	return nil
}

func (a *ReissueClaim) Validate() error { return nonzero("a code", a.Claim.IsZero()) }

func (a *AddDevice) Validate() error {
	if a.Key.IsZero() || a.Name.IsZero() {
		return errors.New("a device has a key and a commitment to its name")
	}
	if len(a.Proof) != 64 {
		return errSignatureBytes
	}
	return nil
}

func (a *RevokeDevice) Validate() error { return nonzero("a device", a.Key.IsZero()) }

func (a *RotateController) Validate() error {
	return validController(a.Controller, a.Recipient, a.Proof)
}

func validController(key PublicKey, recipient [32]byte, proof []byte) error {
	if key.IsZero() || recipient == [32]byte{} {
		return errors.New("a new controller has a key and a recipient")
	}
	if len(proof) != 64 {
		return errSignatureBytes
	}
	return nil
}

func (a *SetGuardians) Validate() error { return nil }

func (a *ProposeRecovery) Validate() error {
	if _, err := ParseGuardianPolicy(a.Policy); err != nil {
		return fmt.Errorf("the policy: %w", err)
	}
	return validController(a.Controller, a.Recipient, a.Proof)
}

func (a *ApproveRecovery) Validate() error { return nonzero("a recovery", a.Recovery.IsZero()) }

func (a *VetoRecovery) Validate() error { return nonzero("a recovery", a.Recovery.IsZero()) }
