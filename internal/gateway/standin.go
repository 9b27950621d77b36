package gateway

import (
	"io"
	"net/http"
	"strconv"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Those who stand in for the patient: delegates, and in an emergency those who break the glass.

var (
	noReason = notFound("no-reason", "There is no such reason, or it is not yours to read",
		"It is for the patient, for who gave it, and for administrators of their organisation.")
	notDelegated  = problem(http.StatusForbidden, protocol.BeyondDelegation.String(), "Only delegates of level act write for the patient", protocol.BeyondDelegation.Advice())
	noCard        = notFound("no-card", "There is no card of this code", "Check the code on the card; the patient may have replaced or withdrawn it.")
	notEmergency  = problem(http.StatusForbidden, "not-emergency-role", "Cards are found by emergency physicians and paramedics", "Sign with such a practitioner's key.")
	notYourMember = problem(http.StatusForbidden, "not-a-reviewer", "Only a member's administrators see what waits for their review",
		"Sign with the key of a practitioner in the role administrator of that member.")
)

// askDelegate finds a delegation in force behind a signature.
func (s *server) askDelegate(v *ledger.View, a asker) (asker, error) {
	row, ok, err := consent.Delegation(v, protocol.JournalID(a.signer.ID), a.signer.Key)
	if err != nil {
		return asker{}, err
	}
	if !ok || !row.InForce(s.time(v)) {
		return asker{}, unknownSigner
	}
	a.level = row.Level
	return a, nil
}

// standsFor tells whether the asker is a delegate of a journal, of at least this level.
func (a asker) standsFor(id protocol.JournalID, level protocol.Level) bool {
	return a.signer.Kind == protocol.ActorDelegate && protocol.JournalID(a.signer.ID) == id && a.level >= level
}

// patientSide is ask for the patient of a journal, or a delegate of at least this level.
func (s *server) patientSide(v *ledger.View, r *http.Request, id protocol.JournalID, level protocol.Level) error {
	a, err := s.ask(v, r)
	if err == nil && !a.isPatientOf(id) && !a.standsFor(id, level) {
		err = noJournal
	}
	return err
}

// getDelegations lists the patient's delegates; a delegate sees itself alone, with those that come from it.
func (s *server) getDelegations(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	out := []api.Delegation{}
	err = s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err != nil {
			return err
		}
		if !a.isPatientOf(in) && !a.standsFor(in, protocol.LevelSee) {
			return noJournal
		}
		rows, err := consent.Delegations(v, in)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if !a.isPatientOf(in) && row.Key != a.signer.Key && row.Parent != a.signer.Key {
				continue
			}
			out = append(out, api.Delegation{Key: row.Key, Parent: row.Parent, Level: row.Level, Labels: list(row.Labels), NotBefore: row.NotBefore,
				NotAfter: row.NotAfter, MayDelegate: row.MayDelegate, InForce: row.InForce(s.time(v))})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// getSessions lists a journal's break-glass sessions: to the patient, and to a practitioner its own.
func (s *server) getSessions(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	out := []api.BreakGlassSession{}
	err = s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err != nil {
			return err
		}
		var found []consent.NamedSession
		switch {
		case a.isPatientOf(in):
			found, err = consent.Sessions(v, in)
		case a.signer.Kind == protocol.ActorPractitioner:
			row, ok, fail := consent.Session(v, in, a.actor.Practitioner)
			if err = fail; ok {
				found = []consent.NamedSession{{Journal: in, Practitioner: a.actor.Practitioner, Row: row}}
			}
		default:
			err = noJournal
		}
		if err != nil {
			return err
		}
		out, err = s.sessions(v, found)
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// getUnreviewed lists what waits for a member's review, to its administrators.
func (s *server) getUnreviewed(w http.ResponseWriter, r *http.Request) error {
	of, err := id(protocol.ParseMemberID, r.PathValue("id"))
	if err != nil {
		return err
	}
	out := []api.BreakGlassSession{}
	err = s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err != nil {
			return err
		}
		if !a.administers(of) {
			return notYourMember
		}
		found, err := consent.Unreviewed(v, of, SessionsMax)
		if err != nil {
			return err
		}
		out, err = s.sessions(v, found)
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// administers tells whether the asker reviews for a member.
func (a asker) administers(m protocol.MemberID) bool {
	return a.signer.Kind == protocol.ActorPractitioner && a.actor.Member == m && a.actor.Role == protocol.RoleAdministrator && a.actor.Credential
}

func (s *server) sessions(v *ledger.View, found []consent.NamedSession) ([]api.BreakGlassSession, error) {
	out := []api.BreakGlassSession{}
	now := s.time(v)
	for _, n := range found {
		reasons, err := consent.ReasonsOf(v, n.Journal, n.Row.ID)
		if err != nil {
			return nil, err
		}
		one := api.BreakGlassSession{ID: n.Row.ID, Journal: n.Journal, Practitioner: n.Practitioner, Member: n.Row.Member, Opened: n.Row.Opened, Ends: n.Row.Ends,
			ReviewDue: n.Row.Due, Accesses: n.Row.Accesses, Reasons: list(reasons), Reviewer: n.Row.Reviewer, Reviewed: n.Row.Reviewed,
			Overdue: n.Row.Reviewed == 0 && n.Row.Due <= now}
		if n.Row.Verdict.Valid() {
			one.Verdict = n.Row.Verdict.String()
		}
		out = append(out, one)
	}
	return out, nil
}

// getReviewers lists to whom at a member reasons are sealed: its administrators in good standing.
func (s *server) getReviewers(w http.ResponseWriter, r *http.Request) error {
	of, err := id(protocol.ParseMemberID, r.PathValue("id"))
	if err != nil {
		return err
	}
	out := []api.Practitioner{}
	err = s.view(func(v *ledger.View) error {
		if _, err := s.ask(v, r); err != nil {
			return err
		}
		ids, rows, err := registry.PractitionersOf(v, of)
		for i, row := range rows {
			if row.Role == protocol.RoleAdministrator && row.Status == protocol.PractitionerActive && s.time(v) < row.ValidUntil && len(out) < wallet.ReviewersMax {
				out = append(out, practitioner(ids[i], row))
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// getReason serves a sealed reason to those who may open it.
func (s *server) getReason(w http.ResponseWriter, r *http.Request) error {
	hash, err := id(protocol.ParseHash, r.PathValue("hash"))
	if err != nil {
		return err
	}
	err = s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err != nil {
			return err
		}
		row, ok, err := consent.SealedReason(v, hash)
		if err != nil {
			return err
		}
		mine := a.signer.Kind == protocol.ActorPractitioner && a.actor.Practitioner == row.Practitioner
		if !ok || !mine && !a.isPatientOf(row.Journal) && !a.administers(row.Member) {
			return noReason
		}
		return nil
	})
	if err != nil {
		return err
	}
	body, size, err := s.ReadFile(r.Context(), hash)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	file, err := readExactly(body, size, protocol.ReasonFileBytes)
	if err != nil {
		return err
	}
	h := w.Header()
	h["Content-Type"] = []string{"application/octet-stream"}
	h["Content-Length"] = []string{strconv.Itoa(len(file))}
	write(w, file)
	return nil
}

// getCard finds a card for those who help in an emergency.
func (s *server) getCard(w http.ResponseWriter, r *http.Request) error {
	which, err := id(protocol.ParseCardID, r.PathValue("id"))
	if err != nil {
		return err
	}
	var out api.Card
	err = s.view(func(v *ledger.View) error {
		a, err := s.staff(v, r)
		if err != nil {
			return err
		}
		if a.signer.Kind != protocol.ActorPractitioner || !protocol.EmergencyRole(a.actor.Role) {
			return notEmergency
		}
		row, ok, err := consent.Card(v, which)
		if err == nil && !ok {
			err = noCard
		}
		out.Sealed = row.Sealed
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// readExactly reads what must be of one size.
func readExactly(body io.Reader, size, want int64) ([]byte, error) {
	if size != want {
		return nil, noReason
	}
	out := make([]byte, want)
	_, err := io.ReadFull(body, out)
	return out, err
}
