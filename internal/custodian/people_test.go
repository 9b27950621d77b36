package custodian

import (
	"crypto/ed25519"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// medic breaks the glass under a contract of two days.
func (w *ward) medic() (*ledgertest.Who, func() protocol.AccessID) {
	medic := w.Practitioner(w.clinic, "medic", protocol.RoleParamedic)
	w.Must(w.patient, w.patient.Journal(), &protocol.Grant{NotAfter: w.Time + 2*protocol.BreakGlassSessionMillis,
		Policy: canonical(w.T.(*testing.T), `permit(principal, action == Action::"read", resource) when { context.breakglass };`)})
	return medic, func() protocol.AccessID {
		r := w.Must(medic, w.patient.Journal(), &protocol.RequestAccess{Labels: []protocol.Label{{1}}, Purpose: protocol.PurposeBreakGlass,
			OneTime: w.key.Public(), OneTimeKEM: protocol.OneTimeX25519, Reason: protocol.Hash{7}})
		return protocol.DerivedAccessID(r.ID, 0)
	}
}

func (w *ward) released(r Request) {
	w.T.Helper()
	if _, err := w.custodians[0].Release(w.T.Context(), r); err != nil {
		w.T.Fatal(err)
	}
}

// A break-glass session ends after 24 hours to the millisecond, by the custodian's own clock too: an access of its last minute ends with it.
func TestBreakGlassEndsWithItsSession(t *testing.T) {
	w := newWard(t, 4)
	r := w.record(1, protocol.Label{1}, nil)
	_, ask := w.medic()
	first := ask()
	row, _, err := w.access(first)
	if err != nil || row.Session != first {
		t.Fatalf("%+v %v", row, err)
	}
	ends := row.Deadline - w.params().AccessMillis + protocol.BreakGlassSessionMillis
	w.Time = ends - 60_000
	last := w.request(ask(), r)
	w.clock = ends - 1
	w.released(last)
	w.clock = ends
	w.refused(last, 3, protocol.Ended, false)
}

func (w *ward) params() protocol.Params {
	g, _ := w.L.Genesis()
	return g.Params
}

// An unjustified session, a reader who has left the emergency roles, and a withdrawn emergency contract close what is open.
func TestBreakGlassIsAskedAgain(t *testing.T) {
	for name, change := range map[string]func(*ward, *ledgertest.Who, protocol.AccessID) protocol.Reason{
		"unjustified": func(w *ward, medic *ledgertest.Who, session protocol.AccessID) protocol.Reason {
			chief := w.Practitioner(w.clinic, "chief", protocol.RoleAdministrator)
			w.Must(chief, w.patient.Journal(), &protocol.ReviewBreakGlass{Practitioner: medic.Signer.ID, Session: session, Verdict: protocol.VerdictUnjustified})
			return protocol.SessionReviewed
		},
		"another role": func(w *ward, medic *ledgertest.Who, _ protocol.AccessID) protocol.Reason {
			w.Must(w.clinic, protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: medic.Signer.ID, Key: medic.Signer.Key, Role: protocol.RolePhysician,
				Status: protocol.PractitionerActive, ValidUntil: w.Time + 1e9, Commitment: protocol.Hash{1}})
			return protocol.SessionReviewed
		},
		"suspended": func(w *ward, medic *ledgertest.Who, _ protocol.AccessID) protocol.Reason {
			w.Must(w.clinic, protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: medic.Signer.ID, Key: medic.Signer.Key, Role: protocol.RoleParamedic,
				Status: protocol.PractitionerSuspended, ValidUntil: w.Time + 1e9, Commitment: protocol.Hash{1}})
			return protocol.NoCredential
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, 4)
			r := w.record(1, protocol.Label{1}, nil)
			medic, ask := w.medic()
			session := ask()
			w.released(w.request(session, r))
			reason := change(w, medic, session)
			w.refused(w.request(session, r), 4, reason, false)
		})
	}
}

// The end of a delegation by either side, or by its time, closes the delegate's open accesses, and those that stand on what it granted.
func TestDelegationsAreAskedAgain(t *testing.T) {
	for name, end := range map[string]func(w *ward, kid *ledgertest.Who){
		"by the patient": func(w *ward, kid *ledgertest.Who) {
			w.Must(w.patient, w.patient.Journal(), &protocol.EndDelegation{Key: kid.Signer.Key})
		},
		"by the delegate": func(w *ward, kid *ledgertest.Who) {
			w.Must(kid, w.patient.Journal(), &protocol.EndDelegation{Key: kid.Signer.Key})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, 4)
			r, other := w.record(1, protocol.Label{1}, nil), w.record(2, protocol.Label{2}, nil)
			w.Must(w.patient, w.patient.Journal(), &protocol.Revoke{Contract: w.grant})
			k, pub := ledgertest.Key("kid")
			kid := &ledgertest.Who{Name: "kid", Key: k, Signer: protocol.DelegateSigner(w.patient.Journal(), pub)}
			w.Must(w.patient, w.patient.Journal(), &protocol.Delegate{Key: pub, Level: protocol.LevelShare, Labels: []protocol.Label{{1}}, NotAfter: w.Time + 600_000,
				Proof: ed25519.Sign(k, protocol.DelegateProofMessage(w.L.Chain(), w.patient.Journal(), pub))})
			w.Must(kid, w.patient.Journal(), &protocol.Grant{NotAfter: w.Time + 500_000, Policy: canonical(t, `permit(principal, action == Action::"read", resource);`)})
			asked := w.Must(kid, w.patient.Journal(), &protocol.RequestAccess{Labels: []protocol.Label{{1}}, Purpose: protocol.PurposeFamilyRequest,
				OneTime: w.key.Public(), OneTimeKEM: protocol.OneTimeX25519})
			mine, granted := protocol.DerivedAccessID(asked.ID, 0), w.ask()
			w.released(w.request(mine, r))
			w.released(w.request(granted, r))
			w.refused(w.request(mine, other), 4, protocol.OutsideDelegation, false)
			end(w, kid)
			w.refused(w.request(mine, r), 4, protocol.DelegationOver, false)
			w.refused(w.request(granted, r), 4, protocol.Withdrawn, false)
		})
	}
}
