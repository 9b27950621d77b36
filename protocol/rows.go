package protocol

import "encoding/binary"

// Rows of the state map that wallets and auditors read from proofs. Their keys in the map are StateKey….

// MemberRow is a member as it stands. A removed member's row stays: its old entries still name it.
type MemberRow struct {
	_         struct{} `cbor:",toarray"`
	Member    Member   // with the current key
	Joined    uint64   // height
	Removed   bool
	Custodian uint16 // index of its node among the custodians, from 1; 0 without a node
}

// PractitionerRow is a practitioner as the member last stated it.
type PractitionerRow struct {
	_          struct{} `cbor:",toarray"`
	Member     MemberID
	Key        PublicKey
	Role       Role
	Status     PractitionerStatus
	ValidUntil uint64 // UTC ms
	Commitment Hash
}

// JournalRow is a journal as it stands.
type JournalRow struct {
	_          struct{}  `cbor:",toarray"`
	Controller PublicKey // signs for the patient
	Recipient  [32]byte  // age X25519 public key: authors seal to it
	Guardians  Hash      // commitment; zero: none
	LabelEpoch uint8
	Sponsor    MemberID // carries the journal's quota
	Opened     uint64   // UTC ms
	Closed     uint64   // height at which it was erased as a whole; 0: it was not
	Claim      Hash     // commitment to the one-time code; zero unless provisional
	ClaimUntil uint64   // UTC ms, exclusive
	Due        uint64   // UTC ms at which the earliest satisfied recovery changes hands; 0: none waits
}

// Provisional tells whether the sponsor's program controls the journal until its patient claims it.
func (r JournalRow) Provisional() bool { return !r.Claim.IsZero() }

// CurrentKeyRow says which generation of the custodians' key serves new records, and whether one is being made.
type CurrentKeyRow struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32   // 0: none yet
	Pending    bool
}

// CustodyKeyRow is a generation's key in its active epoch.
type CustodyKeyRow struct {
	_       struct{} `cbor:",toarray"`
	Epoch   uint32
	Keys    []byte   // threshold.Keys
	Dealers []uint16 // whose deals made it
}

// The keys of those rows and of journals' heads (Head) in the state map: a prefix byte, and the id if there is one.
func StateKeyMember(id MemberID) []byte             { return append([]byte{'m'}, id[:]...) }
func StateKeyPractitioner(id PractitionerID) []byte { return append([]byte{'p'}, id[:]...) }
func StateKeyHead(id JournalID) []byte              { return append([]byte{'h'}, id[:]...) }
func StateKeyJournal(id JournalID) []byte           { return append([]byte{'j'}, id[:]...) }
func StateKeyCurrentKey() []byte                    { return []byte{'A'} }
func StateKeyCustodyKey(generation uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{'K'}, generation)
}
