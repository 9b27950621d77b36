package protocol

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// ActionType numbers the actions; the numbers are consensus data. docs/adding-an-action.md says how to add one.
type ActionType uint16

// The actions, by family. Numbers from EventSeal on are events: entries that the ledger writes by itself, which nobody can sign.
const (
	// Members and their practitioners.
	TypeProposeMember   ActionType = 10
	TypeProposeRemoval  ActionType = 11
	TypeApprove         ActionType = 12
	TypeRotateMemberKey ActionType = 13
	TypeSetPractitioner ActionType = 20

	// Journals, records, and who controls them.
	TypeVetoRecovery     ActionType = 28
	TypeOpenJournal      ActionType = 30
	TypeAddRecord        ActionType = 31
	TypeClaimJournal     ActionType = 32
	TypeReissueClaim     ActionType = 33
	TypeAddDevice        ActionType = 34
	TypeRevokeDevice     ActionType = 35
	TypeRotateController ActionType = 36
	TypeSetGuardians     ActionType = 37
	TypeProposeRecovery  ActionType = 38
	TypeApproveRecovery  ActionType = 39

	// Contracts, cards, delegation.
	TypeGrant         ActionType = 40
	TypeRevoke        ActionType = 41
	TypeSetCard       ActionType = 42
	TypeDelegate      ActionType = 43
	TypeEndDelegation ActionType = 44

	// Reading.
	TypeRequestAccess    ActionType = 50
	TypeReviewBreakGlass ActionType = 52

	// The custodians' key.
	TypeOfferReceiverKey ActionType = 60
	TypeDeal             ActionType = 61
	TypeAcceptDeals      ActionType = 62
	TypeComplain         ActionType = 63
	TypeReveal           ActionType = 64

	// Forgetting and correcting.
	TypeErase            ActionType = 70
	TypeAttestErasure    ActionType = 71
	TypeSetHold          ActionType = 72
	TypeRequestAmendment ActionType = 73
	TypeAnswerAmendment  ActionType = 74
	TypeLiftHold         ActionType = 75

	EventSeal             ActionType = 1000
	EventGenesis          ActionType = 1001
	EventMemberJoined     ActionType = 1010
	EventMemberRemoved    ActionType = 1011
	EventRecoveryWaiting  ActionType = 1030
	EventJournalRecovered ActionType = 1031
	EventRecoveryExpired  ActionType = 1032
	EventContractEnded    ActionType = 1040
	EventContractUsedUp   ActionType = 1041
	EventDelegationEnded  ActionType = 1042
	EventBreakGlassOpened ActionType = 1050
	EventReviewMissed     ActionType = 1052
	EventKeyActivated     ActionType = 1060
	EventDealerExcluded   ActionType = 1061
	EventRecordsErased    ActionType = 1070
	EventHoldEnded        ActionType = 1071
	EventAmendmentOverdue ActionType = 1072
)

var typeNames = map[ActionType]string{
	TypeProposeMember: "propose-member", TypeProposeRemoval: "propose-removal", TypeApprove: "approve", TypeRotateMemberKey: "rotate-member-key",
	TypeSetPractitioner: "set-practitioner", TypeOpenJournal: "open-journal", TypeAddRecord: "add-record", TypeGrant: "grant", TypeRevoke: "revoke",
	TypeRequestAccess: "request-access", TypeOfferReceiverKey: "offer-receiver-key", TypeDeal: "deal", TypeAcceptDeals: "accept-deals",
	TypeComplain: "complain", TypeReveal: "reveal",
	TypeSetCard: "set-card", TypeDelegate: "delegate", TypeEndDelegation: "end-delegation", TypeReviewBreakGlass: "review-break-glass",
	EventDelegationEnded: "delegation-ended", EventBreakGlassOpened: "break-glass-opened", EventReviewMissed: "review-missed",
	TypeErase: "erase", TypeAttestErasure: "attest-erasure", TypeSetHold: "set-hold", TypeLiftHold: "lift-hold",
	TypeRequestAmendment: "request-amendment", TypeAnswerAmendment: "answer-amendment",
	EventRecordsErased: "records-erased", EventHoldEnded: "hold-ended", EventAmendmentOverdue: "amendment-overdue",
	TypeClaimJournal: "claim-journal", TypeReissueClaim: "reissue-claim", TypeAddDevice: "add-device", TypeRevokeDevice: "revoke-device",
	TypeRotateController: "rotate-controller", TypeSetGuardians: "set-guardians", TypeProposeRecovery: "propose-recovery",
	TypeApproveRecovery: "approve-recovery", TypeVetoRecovery: "veto-recovery",
	EventRecoveryWaiting: "recovery-waiting", EventJournalRecovered: "journal-recovered", EventRecoveryExpired: "recovery-expired",
	EventSeal: "seal", EventGenesis: "genesis", EventMemberJoined: "member-joined", EventMemberRemoved: "member-removed",
	EventContractEnded: "contract-ended", EventContractUsedUp: "contract-used-up", EventKeyActivated: "key-activated", EventDealerExcluded: "dealer-excluded",
}

// String is the action's name as in the spec and in listings.
func (t ActionType) String() string {
	if n, ok := typeNames[t]; ok {
		return n
	}
	return fmt.Sprintf("unknown(%d)", uint16(t))
}

// MarshalText implements encoding.TextMarshaler.
func (t ActionType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// OfJournal tells whether an action belongs to a patient's journal: its envelope names it, and its entry is chained there.
func (t ActionType) OfJournal() bool {
	return t == TypeVetoRecovery || t >= 30 && t < 60 || t >= 70 && t < 80
}

// NewAction is an empty action of the type, to decode into; nil if nobody can sign one.
func NewAction(t ActionType) Action { return newAction(t) }

// Action is one thing that somebody asks the ledger to do. Validate checks what can be checked without any state.
type Action interface {
	ActionType() ActionType
	Validate() error
}

// newAction is the list of what can be signed.
func newAction(t ActionType) Action {
	switch t {
	case TypeProposeMember:
		return new(ProposeMember)
	case TypeProposeRemoval:
		return new(ProposeRemoval)
	case TypeApprove:
		return new(Approve)
	case TypeRotateMemberKey:
		return new(RotateMemberKey)
	case TypeSetPractitioner:
		return new(SetPractitioner)
	case TypeOpenJournal:
		return new(OpenJournal)
	case TypeAddRecord:
		return new(AddRecord)
	case TypeGrant:
		return new(Grant)
	case TypeRevoke:
		return new(Revoke)
	case TypeRequestAccess:
		return new(RequestAccess)
	case TypeClaimJournal:
		return new(ClaimJournal)
	case TypeReissueClaim:
		return new(ReissueClaim)
	case TypeAddDevice:
		return new(AddDevice)
	case TypeRevokeDevice:
		return new(RevokeDevice)
	case TypeRotateController:
		return new(RotateController)
	case TypeSetGuardians:
		return new(SetGuardians)
	case TypeProposeRecovery:
		return new(ProposeRecovery)
	case TypeApproveRecovery:
		return new(ApproveRecovery)
	case TypeVetoRecovery:
		return new(VetoRecovery)
	case TypeOfferReceiverKey:
		return new(OfferReceiverKey)
	case TypeDeal:
		return new(Deal)
	case TypeAcceptDeals:
		return new(AcceptDeals)
	case TypeComplain:
		return new(Complain)
	case TypeReveal:
		return new(Reveal)
	case TypeSetCard:
		return new(SetCard)
	case TypeDelegate:
		return new(Delegate)
	case TypeEndDelegation:
		return new(EndDelegation)
	case TypeReviewBreakGlass:
		return new(ReviewBreakGlass)
	case TypeErase:
		return new(Erase)
	case TypeAttestErasure:
		return new(AttestErasure)
	case TypeSetHold:
		return new(SetHold)
	case TypeLiftHold:
		return new(LiftHold)
	case TypeRequestAmendment:
		return new(RequestAmendment)
	case TypeAnswerAmendment:
		return new(AnswerAmendment)
	}
	return nil
}

// Member is an organisation of the consortium as it joins. Its names are public: the organisations are, the patients never.
type Member struct {
	_    struct{} `cbor:",toarray"`
	Kind MemberKind
	Name string    // at most NameBytesMax bytes
	Key  PublicKey // signs the member's actions; the member's id derives from the first one
	Node NodeKeys  // zero for a member that runs no node
}

// NodeKeys are the keys of a member's node, one for each use.
type NodeKeys struct {
	_         struct{}  `cbor:",toarray"`
	Validator PublicKey // votes on blocks
	Log       PublicKey // signs checkpoints
	Cosigner  PublicKey // cosigns the others' checkpoints
	Peer      PublicKey // TLS between nodes
}

// ID is the member's id.
func (m Member) ID() MemberID { return MemberIDOf(m.Key) }

// HasNode tells whether the member runs a node.
func (m Member) HasNode() bool { return m.Node != NodeKeys{} }

func (m Member) validate() error {
	if !m.Kind.Valid() || m.Key.IsZero() {
		return errors.New("a member has a kind and a key")
	}
	if len(m.Name) == 0 || len(m.Name) > NameBytesMax || !utf8.ValidString(m.Name) {
		return fmt.Errorf("a member's name has 1 to %d bytes", NameBytesMax)
	}
	for _, r := range m.Name {
		if r < ' ' || r == 0x7f {
			return errors.New("a member's name has no control characters")
		}
	}
	if n := m.Node; m.HasNode() && (n.Validator.IsZero() || n.Log.IsZero() || n.Cosigner.IsZero() || n.Peer.IsZero()) {
		return errors.New("a node has four keys")
	}
	return nil
}

// ProposeMember asks the members to admit an organisation; the proposer's own approval is included.
type ProposeMember struct {
	_      struct{} `cbor:",toarray"`
	Member Member
}

// ProposeRemoval asks the members to remove one of them.
type ProposeRemoval struct {
	_      struct{} `cbor:",toarray"`
	Member MemberID
}

// Approve is a member's vote for a proposal, named by the envelope that made it. More than two thirds of the members carry it.
type Approve struct {
	_        struct{} `cbor:",toarray"`
	Proposal ActionID
}

// RotateMemberKey replaces the signing member's key; Proof is the new key's signature over KeyProofMessage.
type RotateMemberKey struct {
	_     struct{} `cbor:",toarray"`
	Key   PublicKey
	Proof []byte
}

// PractitionerStatus is the standing of a practitioner.
type PractitionerStatus uint8

// The standings. Revoked is final.
const (
	PractitionerActive PractitionerStatus = 1 + iota
	PractitionerSuspended
	PractitionerRevoked
)

// SetPractitioner registers, rotates, suspends or revokes a practitioner of the signing member: it states what holds from now on.
// Commitment is Digest("anamnesis/practitioner/v1", salt, name, speciality, licence): the ledger never sees
// those.
type SetPractitioner struct {
	_            struct{} `cbor:",toarray"`
	Practitioner PractitionerID
	Key          PublicKey
	Role         Role
	Status       PractitionerStatus
	ValidUntil   uint64 // UTC ms; the credential's end
	Commitment   Hash
}

// OpenJournal opens the journal named in the envelope, which is signed with the journal's own key. Sponsor is the member that carries its
// quota, and agreed by signing SponsorMessage. With a Claim the journal is provisional: the sponsor's program controls it until the patient
// claims it (see ClaimJournal).
type OpenJournal struct {
	_          struct{} `cbor:",toarray"`
	Recipient  [32]byte // age X25519 public key of this journal: authors seal to it
	Guardians  Hash     // commitment to guardians; zero: none yet
	LabelEpoch uint8
	Sponsor    MemberID
	Agreement  []byte // the sponsor's signature
	Claim      Hash   // ClaimCommitment of the one-time code's key; zero: the signer is the patient
}

// AddRecord enters a record into the journal. The bytes it commits to lie in the members' vaults.
type AddRecord struct {
	_          struct{} `cbor:",toarray"`
	Record     RecordID // random, chosen by the author
	Label      Label
	Ciphertext Hash   // SHA-256 of the encrypted file
	Size       uint64 // of the encrypted file, in bytes; padded
	Capsule    Hash   // SHA-256 of the capsule in the file's header
	Generation uint32 // of the custodians' key
	Manifest   Hash   // salted hash of the author's manifest
	Root       Hash   // Merkle root over the salted hashes of the resources
	Relation   Relation
	About      RecordID // zero without a relation
}

// Grant makes a contract: canonical Cedar, a window and a limit of uses.
type Grant struct {
	_         struct{} `cbor:",toarray"`
	Template  uint8    // which template it came from, 0 for own Cedar; for display, no effect
	Policy    []byte   // canonical Cedar, at most ContractBytesMax bytes
	NotBefore uint64   // UTC ms, inclusive; 0: at once
	NotAfter  uint64   // UTC ms, exclusive
	UsesMax   uint32   // 0: no limit
}

// Revoke ends a contract at once, and with it the pending accesses that stand on it.
type Revoke struct {
	_        struct{} `cbor:",toarray"`
	Contract ContractID
}

// RequestAccess asks to read. Either labels or records are named. The entry that it becomes, permitted or refused, stays for good.
type RequestAccess struct {
	_          struct{} `cbor:",toarray"`
	Labels     []Label
	Records    []RecordID
	Purpose    Purpose
	OneTime    [32]byte // X25519 public key to which custodians seal their shares; used for this access alone
	OneTimeKEM uint16   // HPKE KEM id of OneTime: 0x0020 DHKEM(X25519, HKDF-SHA256)
	Reason     Hash     // SHA-256 of the sealed reason for breaking the glass; zero: the glass stays whole
}

// OneTimeX25519 is the only KEM that RequestAccess takes today (RFC 9180 §7.1).
const OneTimeX25519 = 0x0020

// OfferReceiverKey publishes the one-epoch key under which dealers seal this custodian's shares.
type OfferReceiverKey struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32
	Epoch      uint32
	Key        []byte // X-Wing encapsulation key, ReceiverKeyBytes
}

// Deal is one custodian's part of key generation: see internal/threshold. Message is threshold.Deal's canonical form, without any share.
type Deal struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32
	Epoch      uint32
	Message    []byte
}

// AcceptDeals says that the signing custodian holds valid shares from the dealers whose indices are listed, ascending.
type AcceptDeals struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32
	Epoch      uint32
	Dealers    []uint16
}

// Complain says that a dealer's share for the signing custodian is missing or wrong: the dealer must reveal it, or is out.
type Complain struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32
	Epoch      uint32
	Dealer     uint16
}

// Reveal answers a complaint with the share itself.
type Reveal struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32
	Epoch      uint32
	Receiver   uint16
	Share      []byte
}

// ActionType implements Action.
func (*ProposeMember) ActionType() ActionType    { return TypeProposeMember }
func (*ProposeRemoval) ActionType() ActionType   { return TypeProposeRemoval }
func (*Approve) ActionType() ActionType          { return TypeApprove }
func (*RotateMemberKey) ActionType() ActionType  { return TypeRotateMemberKey }
func (*SetPractitioner) ActionType() ActionType  { return TypeSetPractitioner }
func (*OpenJournal) ActionType() ActionType      { return TypeOpenJournal }
func (*AddRecord) ActionType() ActionType        { return TypeAddRecord }
func (*Grant) ActionType() ActionType            { return TypeGrant }
func (*Revoke) ActionType() ActionType           { return TypeRevoke }
func (*RequestAccess) ActionType() ActionType    { return TypeRequestAccess }
func (*OfferReceiverKey) ActionType() ActionType { return TypeOfferReceiverKey }
func (*Deal) ActionType() ActionType             { return TypeDeal }
func (*AcceptDeals) ActionType() ActionType      { return TypeAcceptDeals }
func (*Complain) ActionType() ActionType         { return TypeComplain }
func (*Reveal) ActionType() ActionType           { return TypeReveal }
