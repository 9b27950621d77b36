package consent

import (
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// SessionRow is the latest break-glass session of a practitioner in a journal. It ends after BreakGlassSessionMillis, or when its review is
// due if that is sooner, and its accesses with it; a review stops it too. Another can begin once this one is reviewed.
type SessionRow struct {
	_        struct{}          `cbor:",toarray"`
	ID       protocol.AccessID // of the access that opened it
	Member   protocol.MemberID // of the practitioner, whose administrators review it
	Opened   uint64            // UTC ms
	Ends     uint64            // UTC ms, exclusive
	Due      uint64            // UTC ms
	Accesses uint32
	Missed   bool // it was due, and that is written down
	Verdict  protocol.Verdict
	Reviewer protocol.PractitionerID
	Reviewed uint64 // UTC ms; 0: not yet
	Note     protocol.Hash
	Cause    protocol.ActionID // the envelope that opened it
	Salt     [16]byte          // its nonce, for the entry of a missing review
}

// ReasonRow says whose a sealed reason is: who may fetch it, and that it is not given twice.
type ReasonRow struct {
	_            struct{} `cbor:",toarray"`
	Journal      protocol.JournalID
	Practitioner protocol.PractitionerID
	Member       protocol.MemberID
	Session      protocol.AccessID
}

var (
	sessions = exec.Table[SessionRow]{Name: "break-glass sessions", Prefix: 'b'} // journal id ‖ practitioner id
	reviews  = exec.Table[endRow]{Name: "reviews due", Prefix: 'B'}              // due ‖ journal id ‖ practitioner id
	reasons  = exec.Table[ReasonRow]{Name: "sealed reasons", Prefix: 'n'}        // hash of the file
	// sessionReasons lists the reasons of each session.
	sessionReasons = exec.Table[endRow]{Name: "reasons of sessions", Prefix: 'S'} // journal id ‖ session ‖ hash
)

func sessionKey(in protocol.JournalID, who protocol.PractitionerID) []byte {
	return sessions.Key(in[:], who[:])
}

func reviewKey(s SessionRow, in protocol.JournalID, who protocol.PractitionerID) []byte {
	return reviews.Key(exec.Uint64(s.Due), in[:], who[:])
}

// goesOn tells whether accesses may still be made in a session.
func (s SessionRow) goesOn(now uint64) bool { return s.Reviewed == 0 && now < s.Ends }

// ReasonIsNew tells whether a sealed reason is new, or was given by the same practitioner in this same journal in the session that goes on.
func ReasonIsNew(c *exec.Context, a *protocol.RequestAccess) bool {
	if a.Reason.IsZero() {
		return true
	}
	row, given := reasons.Get(c, reasons.Key(a.Reason[:]))
	if !given {
		return true
	}
	s, ok := sessions.Get(c, sessionKey(c.Journal, protocol.PractitionerID(c.Signer.ID)))
	return ok && c.Signer.Kind == protocol.ActorPractitioner && s.goesOn(c.Time) && s.ID == row.Session
}

// mayBreakGlass says what is against it before any contract is asked. A session that goes on is returned.
func mayBreakGlass(c *exec.Context, by Principal) (SessionRow, protocol.Reason) {
	switch {
	case by.Credential != CredentialActive:
		return SessionRow{}, protocol.NoCredential
	case by.Practitioner.IsZero() || !protocol.EmergencyRole(by.Role):
		return SessionRow{}, protocol.NotEmergencyRole
	}
	s, ok := sessions.Get(c, sessionKey(c.Journal, by.Practitioner))
	switch {
	case !ok || s.Reviewed != 0:
		return SessionRow{}, protocol.Accepted
	case !s.goesOn(c.Time):
		return SessionRow{}, protocol.ReviewDue
	}
	return s, protocol.Accepted
}

// breakGlass writes a permitted access into its session, which it opens if none goes on.
func breakGlass(c *exec.Context, by Principal, s SessionRow, reason protocol.Hash, salt [16]byte) SessionRow {
	opens := s.ID.IsZero()
	if opens {
		s = SessionRow{ID: protocol.DerivedAccessID(c.Cause, c.Index), Member: by.Member, Opened: c.Time,
			Ends: c.Time + min(protocol.BreakGlassSessionMillis, c.Params.ReviewMillis), Due: c.Time + c.Params.ReviewMillis, Cause: c.Cause, Salt: salt}
		reviews.Put(c, reviewKey(s, c.Journal, by.Practitioner), endRow{})
	}
	s.Accesses++
	sessions.Put(c, sessionKey(c.Journal, by.Practitioner), s)
	reasons.Put(c, reasons.Key(reason[:]), ReasonRow{Journal: c.Journal, Practitioner: by.Practitioner, Member: by.Member, Session: s.ID})
	sessionReasons.Put(c, sessionReasons.Key(c.Journal[:], s.ID[:], reason[:]), endRow{})
	if opens {
		c.Emit(exec.Event{Type: protocol.EventBreakGlassOpened, Journal: c.Journal, Body: s.event(by.Practitioner)})
	}
	return s
}

func (s SessionRow) event(who protocol.PractitionerID) protocol.BreakGlassEvent {
	return protocol.BreakGlassEvent{Session: s.ID, Practitioner: who, Ends: s.Ends, ReviewDue: s.Due}
}

// Review executes the action. by is the reviewer: an administrator of the member in whose name the glass was broken, and somebody else.
// A review that comes late is still one.
func Review(c *exec.Context, by Principal, a *protocol.ReviewBreakGlass) protocol.Reason {
	if by.Practitioner.IsZero() || by.Role != protocol.RoleAdministrator || by.Credential != CredentialActive || by.Practitioner == a.Practitioner {
		return protocol.NotAReviewer
	}
	key := sessionKey(c.Journal, a.Practitioner)
	s, ok := sessions.Get(c, key)
	switch {
	case ok && s.Member != by.Member:
		return protocol.NotAReviewer
	case !ok || s.ID != a.Session:
		return protocol.UnknownSession
	case s.Reviewed != 0:
		return protocol.SessionReviewed
	}
	if !s.Missed {
		reviews.Delete(c, reviewKey(s, c.Journal, a.Practitioner))
	}
	s.Verdict, s.Reviewer, s.Reviewed, s.Note = a.Verdict, by.Practitioner, c.Time, a.Note
	sessions.Put(c, key, s)
	return protocol.Accepted
}

// MissedReview is a session without a review in time, to be written down.
type MissedReview struct {
	Journal protocol.JournalID
	Cause   protocol.ActionID
	Salt    [16]byte
	Event   protocol.BreakGlassEvent
}

// MissedReviews takes the reviews that are overdue, the earliest first, at most max; the rest wait for the next block.
func MissedReviews(c *exec.Context, max int) (out []MissedReview) {
	for _, key := range due(c, reviews, max) {
		in, who := protocol.JournalID(key[1+8:]), protocol.PractitionerID(key[1+8+16:])
		s, ok := sessions.Get(c, sessionKey(in, who))
		if !ok || s.Reviewed != 0 || s.Missed {
			exec.Break("consent: the review of %s in journal %s is queued and not awaited", who, in)
		}
		s.Missed = true
		sessions.Put(c, sessionKey(in, who), s)
		reviews.Delete(c, key)
		out = append(out, MissedReview{Journal: in, Cause: s.Cause, Salt: s.Salt, Event: s.event(who)})
	}
	return out
}

// sessionStands tells whether an access in a session may still be served: nobody called it unjustified, and the reader is in the role still.
func sessionStands(r state.Reader, row AccessRow, by Principal) (bool, error) {
	s, ok, err := Session(r, row.Journal, by.Practitioner)
	return err == nil && ok && s.ID == row.Session && s.Verdict != protocol.VerdictUnjustified && protocol.EmergencyRole(by.Role), err
}

// Session reads the latest session of a practitioner in a journal.
func Session(r state.Reader, in protocol.JournalID, who protocol.PractitionerID) (SessionRow, bool, error) {
	return sessions.Read(r, sessionKey(in, who))
}

// ReasonsOf lists the sealed reasons of a session, in the order of their hashes.
func ReasonsOf(r state.Reader, in protocol.JournalID, session protocol.AccessID) (out []protocol.Hash, err error) {
	err = sessionReasons.ReadAll(r, sessionReasons.Key(in[:], session[:]), func(key []byte, _ endRow) bool {
		out = append(out, protocol.Hash(key[1+16+16:]))
		return true
	})
	return out, err
}

// NamedSession is a session with its practitioner and journal.
type NamedSession struct {
	Journal      protocol.JournalID
	Practitioner protocol.PractitionerID
	Row          SessionRow
}

// Sessions lists the latest session of each practitioner in a journal, by practitioner.
func Sessions(r state.Reader, in protocol.JournalID) (out []NamedSession, err error) {
	err = sessions.ReadAll(r, sessions.Key(in[:]), func(key []byte, row SessionRow) bool {
		out = append(out, NamedSession{protocol.JournalID(key[1:]), protocol.PractitionerID(key[1+16:]), row})
		return true
	})
	return out, err
}

// Unreviewed lists a member's sessions that wait for a review, those overdue too, by journal; at most max.
func Unreviewed(r state.Reader, of protocol.MemberID, max int) (out []NamedSession, err error) {
	err = sessions.ReadAll(r, sessions.Key(), func(key []byte, row SessionRow) bool {
		if row.Member == of && row.Reviewed == 0 {
			out = append(out, NamedSession{protocol.JournalID(key[1:]), protocol.PractitionerID(key[1+16:]), row})
		}
		return len(out) < max
	})
	return out, err
}

// SealedReason reads whose a sealed reason is.
func SealedReason(r state.Reader, hash protocol.Hash) (ReasonRow, bool, error) {
	return reasons.Read(r, reasons.Key(hash[:]))
}
