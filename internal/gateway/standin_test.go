package gateway

import (
	"bytes"
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// emergency is a site on which a paramedic broke the glass, and two delegates stand in for Alice.
type emergency struct {
	*site
	medic, chief, kid, son *ledgertest.Who
	reason                 protocol.Hash
	card                   protocol.CardID
	access                 protocol.AccessID
}

func (s *site) emergency() *emergency {
	e := &emergency{site: s, card: protocol.CardID{8}}
	e.medic = s.practitioner(s.m1, "medic", protocol.RoleParamedic, protocol.PractitionerActive)
	e.chief = s.practitioner(s.m1, "chief", protocol.RoleAdministrator, protocol.PractitionerActive)
	policy, made, err := consent.Render("emergency-card", consent.Params{Labels: []protocol.Label{s.label}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.w.Must(s.alice, s.alice.Journal(), &protocol.Grant{Template: made.Number, Policy: policy, NotAfter: s.w.Time + 24*3600_000},
		&protocol.SetCard{Card: e.card, Sealed: []byte("sealed")})
	file := bytes.Repeat([]byte("r"), protocol.ReasonFileBytes)
	e.reason = hashOf(file)
	s.files[e.reason] = file
	request := s.request()
	request.Purpose, request.Reason = protocol.PurposeBreakGlass, e.reason
	e.access = protocol.DerivedAccessID(s.w.Must(e.medic, s.alice.Journal(), request).ID, 0)
	e.kid, e.son = e.delegate("kid", protocol.LevelSee), e.delegate("son", protocol.LevelAct)
	return e
}

func (e *emergency) delegate(name string, level protocol.Level) *ledgertest.Who {
	k, pub := ledgertest.Key(name)
	e.w.Must(e.alice, e.alice.Journal(), &protocol.Delegate{Key: pub, Level: level, Labels: []protocol.Label{e.label}, NotAfter: e.w.Time + 3600_000,
		Proof: ed25519.Sign(k, protocol.DelegateProofMessage(e.w.L.Chain(), e.alice.Journal(), pub))})
	return &ledgertest.Who{Name: name, Key: k, Signer: protocol.DelegateSigner(e.alice.Journal(), pub)}
}

func (e *emergency) questions() []question {
	j, none := e.alice.Journal().String(), protocol.JournalID{9}.String()
	m1, m2 := protocol.MemberID(e.m1.Signer.ID).String(), protocol.MemberID(e.m2.Signer.ID).String()
	var out []question
	add := func(name, path, at, value string) {
		out = append(out, question{name: name, route: "GET " + path, method: "GET", uri: strings.Replace(path, at, value, 1)})
	}
	add("delegations of alice", api.PathDelegations, "{id}", j)
	add("delegations of nobody", api.PathDelegations, "{id}", none)
	add("break-glass at alice", api.PathSessions, "{id}", j)
	add("break-glass at nobody", api.PathSessions, "{id}", none)
	add("unreviewed at m1", api.PathUnreviewed, "{id}", m1)
	add("unreviewed at m2", api.PathUnreviewed, "{id}", m2)
	add("reviewers of m1", api.PathReviewers, "{id}", m1)
	add("reviewers of nobody", api.PathReviewers, "{id}", none)
	add("reason", api.PathReason, "{hash}", e.reason.String())
	add("reason, none", api.PathReason, "{hash}", protocol.Hash{1}.String())
	add("card", api.PathCard, "{id}", e.card.String())
	add("card, none", api.PathCard, "{id}", none)
	add("the medic's access", api.PathAccess, "{id}", e.access.String())
	return out
}

// A delegate is not another delegate of the same journal, though the signer's id is the same.
func TestDelegatesAreTheirKeys(t *testing.T) {
	e := newSite(t).emergency()
	ask := e.request()
	ask.Purpose = protocol.PurposeFamilyRequest
	access := protocol.DerivedAccessID(e.w.Must(e.kid, e.alice.Journal(), ask).ID, 0)
	uri := strings.Replace(api.PathAccess, "{id}", access.String(), 1)
	file := strings.Replace(api.PathFile, "{hash}", e.record.Ciphertext.String(), 1) + "?access=" + access.String()
	for _, c := range []struct {
		who  *ledgertest.Who
		want int
	}{{e.kid, http.StatusOK}, {e.son, http.StatusNotFound}, {e.alice, http.StatusNotFound}, {e.medic, http.StatusNotFound}} {
		if r := e.call(c.who, "GET", uri, nil); r.status != c.want {
			t.Errorf("%s: access: %d", c.who.Name, r.status)
		}
		if r := e.call(c.who, "GET", file, nil); r.status != c.want {
			t.Errorf("%s: file: %d", c.who.Name, r.status)
		}
	}
	var seen []api.Delegation
	e.call(e.kid, "GET", strings.Replace(api.PathDelegations, "{id}", e.alice.Journal().String(), 1), nil).decode(t, &seen)
	if len(seen) != 1 || seen[0].Key != e.kid.Signer.Key {
		t.Errorf("a delegate sees %+v", seen)
	}
	e.w.Must(e.alice, e.alice.Journal(), &protocol.EndDelegation{Key: e.kid.Signer.Key})
	if r := e.call(e.kid, "GET", file, nil); r.status != http.StatusUnauthorized {
		t.Errorf("after the end: %d", r.status)
	}
}

// What is told of a session: who, until when, which reasons, and whether the review is overdue.
func TestSessionsAreTold(t *testing.T) {
	e := newSite(t).emergency()
	uri := strings.Replace(api.PathSessions, "{id}", e.alice.Journal().String(), 1)
	var own, all, waiting []api.BreakGlassSession
	e.call(e.medic, "GET", uri, nil).decode(t, &own)
	e.call(e.alice, "GET", uri, nil).decode(t, &all)
	pending := strings.Replace(api.PathUnreviewed, "{id}", protocol.MemberID(e.m1.Signer.ID).String(), 1)
	e.call(e.chief, "GET", pending, nil).decode(t, &waiting)
	for _, s := range [][]api.BreakGlassSession{own, all, waiting} {
		if len(s) != 1 || s[0].ID != e.access || len(s[0].Reasons) != 1 || s[0].Reasons[0] != e.reason || s[0].Overdue || s[0].Ends != s[0].Opened+protocol.BreakGlassSessionMillis {
			t.Fatalf("%+v", s)
		}
	}
	e.w.Must(e.chief, e.alice.Journal(), &protocol.ReviewBreakGlass{Practitioner: waiting[0].Practitioner, Session: waiting[0].ID, Verdict: protocol.VerdictUnjustified})
	all, waiting = nil, nil
	e.call(e.alice, "GET", uri, nil).decode(t, &all)
	e.call(e.chief, "GET", pending, nil).decode(t, &waiting)
	if len(waiting) != 0 || all[0].Verdict != "unjustified" || all[0].Reviewer != protocol.PractitionerID(e.chief.Signer.ID) {
		t.Errorf("%+v %+v", all, waiting)
	}
	file := strings.Replace(api.PathFile, "{hash}", e.record.Ciphertext.String(), 1) + "?access=" + e.access.String()
	if r := e.call(e.medic, "GET", file, nil); r.status != http.StatusNotFound {
		t.Errorf("an access called unjustified still gets files: %d", r.status)
	}
}
