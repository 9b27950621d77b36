package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// noun tells the kinds of identifier apart at compile time, and names them in errors.
type noun interface{ noun() string }

type (
	member       struct{}
	practitioner struct{}
	journal      struct{}
	record       struct{}
	contract     struct{}
	access       struct{}
	label        struct{}
	card         struct{}
	erasure      struct{}
	hold         struct{}
	recovery     struct{}
)

func (member) noun() string       { return "member" }
func (practitioner) noun() string { return "practitioner" }
func (journal) noun() string      { return "journal" }
func (record) noun() string       { return "record" }
func (contract) noun() string     { return "contract" }
func (access) noun() string       { return "access" }
func (label) noun() string        { return "label" }
func (card) noun() string         { return "card" }
func (erasure) noun() string      { return "erasure" }
func (hold) noun() string         { return "hold" }
func (recovery) noun() string     { return "recovery" }

// ID is a 128-bit name. Its text form, in JSON, URLs and Cedar, is 32 lowercase hexadecimal digits.
type ID[N noun] [16]byte

// The nouns of the ledger. Journal, record, practitioner and label ids say nothing by themselves; contract and access ids are
// derived from the action that made them (DerivedID); a member's id is derived from its first key (MemberIDOf).
type (
	MemberID       = ID[member]
	PractitionerID = ID[practitioner]
	JournalID      = ID[journal]
	RecordID       = ID[record]
	ContractID     = ID[contract]
	AccessID       = ID[access]
	Label          = ID[label]
	CardID         = ID[card]
	ErasureID      = ID[erasure]
	HoldID         = ID[hold]
	RecoveryID     = ID[recovery]
)

// String is the text form.
func (id ID[N]) String() string { return hex.EncodeToString(id[:]) }

// IsZero tells whether the id names nothing.
func (id ID[N]) IsZero() bool { return id == ID[N]{} }

// MarshalText implements encoding.TextMarshaler.
func (id ID[N]) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it takes the text form only, capitals refused.
func (id *ID[N]) UnmarshalText(text []byte) error {
	var n N
	if len(text) != 2*len(id) {
		return fmt.Errorf("%w: a %s id has %d hexadecimal digits, this has %d characters", ErrBadID, n.noun(), 2*len(id), len(text))
	}
	if !isLowerHex(text) {
		return fmt.Errorf("%w: a %s id is lowercase hexadecimal", ErrBadID, n.noun())
	}
	_, err := hex.Decode(id[:], text)
	return err
}

// ParseID reads the text form: ParseID[...] is spelled through the type, as in ParseMemberID.
func parseID[N noun](s string) (id ID[N], err error) {
	err = id.UnmarshalText([]byte(s))
	return id, err
}

// ParseMemberID and its siblings read an id's text form; the error wraps ErrBadID.
func ParseMemberID(s string) (MemberID, error)             { return parseID[member](s) }
func ParsePractitionerID(s string) (PractitionerID, error) { return parseID[practitioner](s) }
func ParseJournalID(s string) (JournalID, error)           { return parseID[journal](s) }
func ParseRecordID(s string) (RecordID, error)             { return parseID[record](s) }
func ParseContractID(s string) (ContractID, error)         { return parseID[contract](s) }
func ParseAccessID(s string) (AccessID, error)             { return parseID[access](s) }
func ParseLabel(s string) (Label, error)                   { return parseID[label](s) }
func ParseCardID(s string) (CardID, error)                 { return parseID[card](s) }
func ParseErasureID(s string) (ErasureID, error)           { return parseID[erasure](s) }
func ParseHoldID(s string) (HoldID, error)                 { return parseID[hold](s) }
func ParseRecoveryID(s string) (RecoveryID, error)         { return parseID[recovery](s) }

// Hash is a SHA-256 digest.
type Hash [32]byte

// ActionID names a signed envelope: SHA-256 of the structure that was signed, never of the bytes received.
type ActionID = Hash

// String is 64 lowercase hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero tells whether the hash is unset.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) || !isLowerHex(text) {
		return fmt.Errorf("%w: a hash is %d lowercase hexadecimal digits", ErrBadID, 2*len(h))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// ParseHash reads a hash's text form; the error wraps ErrBadID.
func ParseHash(s string) (h Hash, err error) { err = h.UnmarshalText([]byte(s)); return h, err }

func isLowerHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Digest is SHA-256 over a domain string and the parts, each preceded by its length as 8 bytes big-endian, so that no two lists of parts collide.
func Digest(domain string, parts ...[]byte) Hash {
	h := sha256.New()
	var n [8]byte
	put := func(b []byte) {
		putUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	put([]byte(domain))
	for _, p := range parts {
		put(p)
	}
	var out Hash
	h.Sum(out[:0])
	return out
}

func putUint64(b []byte, v uint64) {
	_ = b[7]
	for i := range 8 {
		b[i] = byte(v >> (56 - 8*i))
	}
}

// MemberIDOf derives a member's id from the first key it registers with.
func MemberIDOf(key PublicKey) MemberID {
	return MemberID(short(Digest("anamnesis/member/v1", key[:])))
}

// DerivedContractID and DerivedAccessID name what the i-th action of an envelope made.
func DerivedContractID(a ActionID, i int) ContractID {
	return ContractID(short(Digest("anamnesis/contract/v1", a[:], []byte{byte(i)})))
}

// DerivedAccessID: see DerivedContractID.
func DerivedAccessID(a ActionID, i int) AccessID {
	return AccessID(short(Digest("anamnesis/access/v1", a[:], []byte{byte(i)})))
}

// DerivedErasureID names what the i-th action of an envelope erases.
func DerivedErasureID(a ActionID, i int) ErasureID {
	return ErasureID(short(Digest("anamnesis/erasure/v1", a[:], []byte{byte(i)})))
}

// DerivedHoldID names the hold that the i-th action of an envelope sets.
func DerivedHoldID(a ActionID, i int) HoldID {
	return HoldID(short(Digest("anamnesis/hold/v1", a[:], []byte{byte(i)})))
}

// ReleaseID names the erasure that the end of a hold sets going: of what was closed before and kept for the hold alone.
func ReleaseID(h HoldID) ErasureID { return ErasureID(short(Digest("anamnesis/release/v1", h[:]))) }

// DerivedRecoveryID: see DerivedContractID.
func DerivedRecoveryID(a ActionID, i int) RecoveryID {
	return RecoveryID(short(Digest("anamnesis/recovery/v1", a[:], []byte{byte(i)})))
}

// ConstitutionJournal is the journal in which the rules that reach everybody are chained: members, parameters, keys of the custodians.
func ConstitutionJournal(chain string) JournalID {
	return JournalID(short(Digest("anamnesis/constitution/v1", []byte(chain))))
}

func short(h Hash) (b [16]byte) { copy(b[:], h[:]); return b }
