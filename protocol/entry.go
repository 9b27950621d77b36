package protocol

import (
	"crypto/sha256"

	"github.com/fxamacker/cbor/v2"
)

// Entry is one leaf of the ledger's log in full. The log's tiles publish only its commitment (Commit); the entry and its salt are served
// to those entitled: the journal's patient, the signer, the members.
type Entry struct {
	_       struct{} `cbor:",toarray"`
	Type    ActionType
	Height  uint64
	Time    uint64          // UTC ms, of the block
	Cause   ActionID        // the envelope behind it; for an event without one, the block's tick: zero
	Index   uint16          // which action of the envelope
	Signer  Signer          // who signed; the ledger's events name ActorLedger
	Journal JournalID       // zero: in no journal
	Seq     uint64          // place in the journal, from 0
	Action  cbor.RawMessage // as signed; for events, the event's own body
	Outcome cbor.RawMessage // what the ledger decided; an empty array where there is nothing to decide
}

// NoOutcome is the outcome of an action that the ledger simply accepted.
var NoOutcome = cbor.RawMessage{0x80}

// Head is a journal's summary in the state map: how many entries it has and the hash chain over them.
type Head struct {
	_     struct{} `cbor:",toarray"`
	Count uint64
	Chain Hash
}

// Next is the head after one more entry, whose leaf is given: SHA-256("anamnesis/journal/v1" ‖ chain ‖ leaf).
func (h Head) Next(leaf Hash) Head {
	d := sha256.New()
	d.Write([]byte("anamnesis/journal/v1"))
	d.Write(h.Chain[:])
	d.Write(leaf[:])
	next := Head{Count: h.Count + 1}
	d.Sum(next.Chain[:0])
	return next
}

// Seal is the body of EventSeal, the last leaf of each block that changes state. Its salt is zero: everybody may check it.
type Seal struct {
	_       struct{} `cbor:",toarray"`
	Height  uint64
	Time    uint64 // UTC ms
	MapRoot Hash   // of the state map after the block
}

// AppHash is what the engine agrees on after each block: SHA-256("anamnesis/app/v1" ‖ size as 8 bytes big-endian ‖ log root).
func AppHash(size uint64, logRoot Hash) Hash {
	h := sha256.New()
	h.Write([]byte("anamnesis/app/v1"))
	var n [8]byte
	putUint64(n[:], size)
	h.Write(n[:])
	h.Write(logRoot[:])
	var out Hash
	h.Sum(out[:0])
	return out
}

// AccessOutcome is the ledger's decision on RequestAccess.
type AccessOutcome struct {
	_         struct{} `cbor:",toarray"`
	Permitted bool
	Reason    Reason
	Contracts []ContractID // that decided, ascending
	Records   []RecordID   // what the access opens, in the journal's order; empty if refused
	Deadline  uint64       // UTC ms: custodians serve it before this time
}

// ContractEvent is the body of EventContractEnded (its window is over) and EventContractUsedUp (it permits no further access).
type ContractEvent struct {
	_        struct{} `cbor:",toarray"`
	Contract ContractID
}

// MemberEvent is the body of EventMemberJoined and EventMemberRemoved.
type MemberEvent struct {
	_      struct{} `cbor:",toarray"`
	Member MemberID
}

// KeyActivated is the body of EventKeyActivated: records may be sealed to this key from now on.
type KeyActivated struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32
	Epoch      uint32
	Public     []byte   // threshold.PublicKey's encoding
	Dealers    []uint16 // whose deals qualified
}

// DealerExcluded is the body of EventDealerExcluded.
type DealerExcluded struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32
	Epoch      uint32
	Dealer     uint16
}

// Result is what the sender of an envelope learns. A duplicate gets the first one's.
type Result struct {
	_      struct{} `cbor:",toarray"`
	ID     ActionID
	Reason Reason
	Height uint64
	First  uint64 // index in the log of the first action's entry; meaningless if rejected
}

// OK tells whether the envelope was executed. An access that was refused is executed: the refusal is its entry.
func (r Result) OK() bool { return r.Reason == Accepted }
