package protocol

import (
	"errors"
	"fmt"
)

// Limits on the actions with which people stand in for each other, in an emergency and by delegation; the unit is the last word.
const (
	BreakGlassSessionMillis   = 24 * 3600_000 // how long one break-glass session goes on
	ReasonFileBytes           = 4 << 10       // a sealed reason for breaking the glass has exactly so many
	CardBytesMax              = 160           // the handle sealed under a card's short form
	DelegationsJournalMax     = 16            // in force in a journal
	DelegationDepthMax        = 4             // delegations of delegations
	ReviewMillisMax           = 30 * 24 * 3600_000
	DelegationWindowMillisMax = 20 * 366 * 24 * 3600_000
)

// Level says how much a delegate may do. Each contains those before it.
type Level uint8

// The levels.
const (
	LevelSee   Level = 1 + iota // read what is in the scope
	LevelShare                  // also grant others what is in the scope, and take it back
	LevelAct                    // also revoke any contract, close what is in the scope, and delegate if allowed to
	levelsEnd
)

var levelNames = [...]string{LevelSee: "see", LevelShare: "share", LevelAct: "act"}

// String, Valid, MarshalText and UnmarshalText are as those of Role.
func (l Level) String() string               { return enumName(levelNames[:], l) }
func (l Level) Valid() bool                  { return l > 0 && l < levelsEnd }
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func (l *Level) UnmarshalText(b []byte) (err error) {
	*l, err = enumParse[Level]("level", levelNames[:], b)
	return err
}

// Verdict is what a review says of a break-glass session.
type Verdict uint8

// The verdicts.
const (
	VerdictJustified Verdict = 1 + iota
	VerdictUnjustified
	verdictsEnd
)

var verdictNames = [...]string{VerdictJustified: "justified", VerdictUnjustified: "unjustified"}

// String, Valid, MarshalText and UnmarshalText are as those of Role.
func (v Verdict) String() string               { return enumName(verdictNames[:], v) }
func (v Verdict) Valid() bool                  { return v > 0 && v < verdictsEnd }
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

func (v *Verdict) UnmarshalText(b []byte) (err error) {
	*v, err = enumParse[Verdict]("verdict", verdictNames[:], b)
	return err
}

// BreaksGlass tells whether the glass may be broken for the purpose, KeepsGlass whether it may stay whole: emergency treatment may do either.
func (p Purpose) BreaksGlass() bool { return p == PurposeBreakGlass || p == PurposeEmergency }
func (p Purpose) KeepsGlass() bool  { return p != PurposeBreakGlass }

// SetCard states the journal's emergency card: the handle, sealed under the card's short form, found by a name that derives from that
// form. It replaces the card before; zero and nothing leave the journal without one. Signed by the journal's controller.
type SetCard struct {
	_      struct{} `cbor:",toarray"`
	Card   CardID   // zero: none
	Sealed []byte   // at most CardBytesMax bytes
}

// Delegate lets somebody stand in for the patient. Proof is the delegate's signature over DelegateProofMessage.
type Delegate struct {
	_           struct{} `cbor:",toarray"`
	Key         PublicKey
	Proof       []byte
	Level       Level
	Labels      []Label // the scope; none: all classes
	NotBefore   uint64  // UTC ms, inclusive; 0: at once
	NotAfter    uint64  // UTC ms, exclusive
	MayDelegate bool    // may delegate within its own level, scope and time; at level act only
}

// EndDelegation ends a delegation, and with it those that come from it and every contract that they granted. The patient ends any, a
// delegate its own and those that come from it.
type EndDelegation struct {
	_   struct{} `cbor:",toarray"`
	Key PublicKey
}

// ReviewBreakGlass is what another practitioner of the same member, an administrator, says of a break-glass session.
type ReviewBreakGlass struct {
	_            struct{} `cbor:",toarray"`
	Practitioner PractitionerID
	Session      AccessID
	Verdict      Verdict
	Note         Hash // of a file that the member keeps; zero: none
}

// DelegationEvent is the body of EventDelegationEnded: its time is over, or the delegation it came from ended.
type DelegationEvent struct {
	_   struct{} `cbor:",toarray"`
	Key PublicKey
}

// BreakGlassEvent is the body of EventBreakGlassOpened and EventReviewMissed. The session is named by the access that opened it.
type BreakGlassEvent struct {
	_            struct{} `cbor:",toarray"`
	Session      AccessID
	Practitioner PractitionerID
	Ends         uint64 // UTC ms: no access in it from then on
	ReviewDue    uint64 // UTC ms
}

// ActionType implements Action.
func (*SetCard) ActionType() ActionType          { return TypeSetCard }
func (*Delegate) ActionType() ActionType         { return TypeDelegate }
func (*EndDelegation) ActionType() ActionType    { return TypeEndDelegation }
func (*ReviewBreakGlass) ActionType() ActionType { return TypeReviewBreakGlass }

// Validate implements Action.
func (a *SetCard) Validate() error {
	if a.Card.IsZero() != (len(a.Sealed) == 0) || len(a.Sealed) > CardBytesMax {
		return fmt.Errorf("a card has a name and 1 to %d sealed bytes; no card has neither", CardBytesMax)
	}
	return nil
}

// Validate implements Action.
func (a *Delegate) Validate() error {
	switch {
	case a.Key.IsZero() || len(a.Proof) != 64:
		return errors.New("a delegate has a key, which proves itself with a 64-byte signature")
	case !a.Level.Valid():
		return errors.New("unknown level")
	case a.MayDelegate && a.Level != LevelAct:
		return errors.New("only a delegate that acts may delegate")
	case len(a.Labels) > LabelsRequestMax || !ascending(a.Labels):
		return fmt.Errorf("a scope has at most %d labels, ascending, each once", LabelsRequestMax)
	case len(a.Labels) > 0 && a.Labels[0].IsZero():
		return errors.New("a label must be named")
	case a.NotAfter <= a.NotBefore:
		return errors.New("a delegation ends after it begins")
	}
	return nil
}

// Validate implements Action.
func (a *EndDelegation) Validate() error { return nonzero("a delegate", a.Key.IsZero()) }

// Validate implements Action.
func (a *ReviewBreakGlass) Validate() error {
	if !a.Verdict.Valid() {
		return errors.New("unknown verdict")
	}
	return nonzero("a practitioner and a session", a.Practitioner.IsZero() || a.Session.IsZero())
}

// DelegateProofMessage is what a delegate's key signs to prove that its holder takes the delegation of this journal.
func DelegateProofMessage(chain string, id JournalID, key PublicKey) []byte {
	d := Digest("anamnesis/delegate/v1", []byte(chain), id[:], key[:])
	return d[:]
}

// DelegateSigner is a delegate of a journal as a signer.
func DelegateSigner(id JournalID, key PublicKey) Signer {
	return Signer{Kind: ActorDelegate, ID: id, Key: key}
}

// EmergencyRole tells whether somebody in a role may break the glass.
func EmergencyRole(r Role) bool { return r == RoleEmergencyPhysician || r == RoleParamedic }

// DelegatePurpose tells whether a delegate may read for a purpose.
func DelegatePurpose(p Purpose) bool {
	return p == PurposeFamilyRequest || p == PurposePowerOfAttorney || p == PurposePatientRequest
}
