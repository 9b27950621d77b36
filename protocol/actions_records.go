package protocol

import (
	"errors"
	"fmt"
)

// What happens to records after they were written: erasure, holds, amendment.

// Relation says what a record is to another one, which AddRecord names in About.
type Relation uint8

// The relations. A new version is written by the old one's author and takes its place; a statement is the patient's own, or a delegate's, and
// travels with what it is about.
const (
	RelationNone       Relation = iota
	RelationSupersedes          // a new version of About
	RelationStatement           // the patient disagrees with About, or asks for its amendment
	relationsEnd
)

var relationNames = [...]string{RelationNone: "none", RelationSupersedes: "supersedes", RelationStatement: "statement"}

// String is the relation's name.
func (r Relation) String() string { return enumName(relationNames[:], r) }

// MarshalText and UnmarshalText use the name.
func (r Relation) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Relation) UnmarshalText(b []byte) (err error) {
	*r, err = enumParse[Relation]("relation", relationNames[:], b)
	return err
}

// Erase makes the network forget: exactly one of the four says what. Whatever the journal has of it by now is closed to every reader from
// this block on, and the members delete its files, but for what an author holds. Everything also closes the journal.
type Erase struct {
	_          struct{} `cbor:",toarray"`
	Records    []RecordID
	Labels     []Label
	Author     MemberID
	Everything bool
}

// AttestErasure says that the signing member's node keeps no byte of an erasure's files. Count and Root are those of the erasure's entry.
type AttestErasure struct {
	_       struct{} `cbor:",toarray"`
	Erasure ErasureID
	Count   uint32
	Root    Hash
}

// HoldCode is why a record must be kept although its patient has it erased.
type HoldCode uint8

// The codes.
const (
	HoldLitigation HoldCode = 1 + iota
	HoldStatutory
	HoldPublicHealth
	holdCodesEnd
)

var holdCodeNames = [...]string{HoldLitigation: "litigation", HoldStatutory: "statutory", HoldPublicHealth: "public-health"}

// String is the code's name.
func (c HoldCode) String() string { return enumName(holdCodeNames[:], c) }

// Valid tells whether the number names something.
func (c HoldCode) Valid() bool { return c > 0 && c < holdCodesEnd }

// MarshalText and UnmarshalText use the name.
func (c HoldCode) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *HoldCode) UnmarshalText(b []byte) (err error) {
	*c, err = enumParse[HoldCode]("reason for a hold", holdCodeNames[:], b)
	return err
}

// SetHold has the signing member's own contributions kept until a time: an erasure closes them to every reader, but their files stay until
// the hold is over.
type SetHold struct {
	_       struct{}   `cbor:",toarray"`
	Records []RecordID // empty: all that the member has in the journal, and will have
	Until   uint64     // UTC ms
	Code    HoldCode
}

// LiftHold ends a hold of the signing member before its time.
type LiftHold struct {
	_    struct{} `cbor:",toarray"`
	Hold HoldID
}

// RequestAmendment asks a record's author to amend it (45 CFR 164.526); the statement, which the patient entered before or with it, says
// what is wrong. It is due after AmendmentMillis.
type RequestAmendment struct {
	_         struct{} `cbor:",toarray"`
	Record    RecordID
	Statement RecordID
}

// Denial is why an author does not amend a record (45 CFR 164.526 (a)(2)).
type Denial uint8

// The denials.
const (
	DeniedAccurate   Denial = 1 + iota // accurate and complete
	DeniedNotCreated                   // not created by this organisation
	DeniedNotInSet                     // not part of the designated record set
	DeniedNotOpen                      // not open to the patient's inspection
	denialsEnd
)

var denialNames = [...]string{DeniedAccurate: "accurate", DeniedNotCreated: "not-created-here", DeniedNotInSet: "not-in-record-set", DeniedNotOpen: "not-open-to-inspection"}

// String is the denial's name.
func (d Denial) String() string { return enumName(denialNames[:], d) }

// MarshalText and UnmarshalText use the name.
func (d Denial) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Denial) UnmarshalText(b []byte) (err error) {
	*d, err = enumParse[Denial]("reason for a denial", denialNames[:], b)
	return err
}

// AnswerAmendment is the author member's answer: accepted, with the version that supersedes the record; or denied, and why.
type AnswerAmendment struct {
	_       struct{} `cbor:",toarray"`
	Record  RecordID
	Version RecordID // zero: denied
	Denial  Denial   // 0: accepted
}

// RecordsErased is the body of EventRecordsErased: what an erasure, or the end of a hold, closed has been listed, and the members now delete it.
type RecordsErased struct {
	_       struct{} `cbor:",toarray"`
	Erasure ErasureID
	Count   uint32 // records whose files go
	Held    uint32 // records whose files a hold keeps
	Root    Hash   // over the records whose files go, in their order: ErasureRoot
	Nodes   uint16 // whose attestations are expected
}

// ErasureRoot is the hash chain over erased records, one step: SHA-256 digest of the chain so far, the record and its file's hash.
func ErasureRoot(before Hash, record RecordID, ciphertext Hash) Hash {
	return Digest("anamnesis/erased/v1", before[:], record[:], ciphertext[:])
}

// HoldEnded is the body of EventHoldEnded: its time is over.
type HoldEnded struct {
	_    struct{} `cbor:",toarray"`
	Hold HoldID
}

// AmendmentOverdue is the body of EventAmendmentOverdue: the author has let the time for an answer pass.
type AmendmentOverdue struct {
	_      struct{} `cbor:",toarray"`
	Record RecordID
}

// ActionType implements Action.
func (*Erase) ActionType() ActionType            { return TypeErase }
func (*AttestErasure) ActionType() ActionType    { return TypeAttestErasure }
func (*SetHold) ActionType() ActionType          { return TypeSetHold }
func (*LiftHold) ActionType() ActionType         { return TypeLiftHold }
func (*RequestAmendment) ActionType() ActionType { return TypeRequestAmendment }
func (*AnswerAmendment) ActionType() ActionType  { return TypeAnswerAmendment }

// Validate implements Action.
func (a *Erase) Validate() error {
	said := 0
	for _, is := range []bool{len(a.Records) > 0, len(a.Labels) > 0, !a.Author.IsZero(), a.Everything} {
		if is {
			said++
		}
	}
	if said != 1 {
		return errors.New("an erasure names records, labels, an author or everything: one of them")
	}
	if len(a.Records) > RecordsRequestMax || len(a.Labels) > LabelsRequestMax {
		return fmt.Errorf("an erasure names at most %d records or %d labels", RecordsRequestMax, LabelsRequestMax)
	}
	if !ascending(a.Records) || !ascending(a.Labels) {
		return errors.New("records and labels are listed in ascending order, each once")
	}
	return nil
}

// Validate implements Action.
func (a *AttestErasure) Validate() error { return nonzero("an erasure", a.Erasure.IsZero()) }

// Validate implements Action.
func (a *SetHold) Validate() error {
	if !a.Code.Valid() {
		return errors.New("a hold says why: litigation, statutory or public-health")
	}
	if len(a.Records) > RecordsRequestMax || !ascending(a.Records) {
		return fmt.Errorf("a hold lists at most %d records, in ascending order, each once; none means all", RecordsRequestMax)
	}
	return nil
}

// Validate implements Action.
func (a *LiftHold) Validate() error { return nonzero("a hold", a.Hold.IsZero()) }

// Validate implements Action.
func (a *RequestAmendment) Validate() error {
	return nonzero("a record and a statement", a.Record.IsZero() || a.Statement.IsZero())
}

// Validate implements Action.
func (a *AnswerAmendment) Validate() error {
	if a.Denial >= denialsEnd || a.Version.IsZero() == (a.Denial == 0) {
		return errors.New("an answer names either the new version or why there is none")
	}
	return nonzero("a record", a.Record.IsZero())
}

// validate checks a new record's relation to another.
func (a *AddRecord) validateRelation() error {
	switch {
	case a.Relation >= relationsEnd:
		return errors.New("unknown relation")
	case (a.Relation == RelationNone) != a.About.IsZero():
		return errors.New("a version or statement names the record that it is about")
	case a.About == a.Record && !a.About.IsZero():
		return errors.New("a record is not about itself")
	case a.Relation == RelationStatement && a.Size > StatementBytesMax:
		return fmt.Errorf("a statement's file has at most %d bytes", StatementBytesMax)
	}
	return nil
}
