package protocol

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

// The keys of those rows and of journals' heads (Head) in the state map: a prefix byte and the id.
func StateKeyMember(id MemberID) []byte             { return append([]byte{'m'}, id[:]...) }
func StateKeyPractitioner(id PractitionerID) []byte { return append([]byte{'p'}, id[:]...) }
func StateKeyHead(id JournalID) []byte              { return append([]byte{'h'}, id[:]...) }
