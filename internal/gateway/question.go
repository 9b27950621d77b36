package gateway

import (
	"net/http"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// asker is who signed a question, with a standing that the ledger confirms.
type asker struct {
	signer protocol.Signer
	actor  registry.Actor // of members and practitioners
	device bool           // a patient's device, not the controller
	level  protocol.Level // of delegates
}

// ask finds who asks: the signature is over this very request, and the key is the signer's current one. A wrong key and an unknown signer
// get the same answer, so that nobody learns which journals there are.
func (s *server) ask(v *ledger.View, r *http.Request) (asker, error) {
	signer, err := api.Asker(r.Header.Get("Authorization"), v.Chain(), r.Method, r.RequestURI, s.Now())
	if err != nil {
		return asker{}, err
	}
	return s.standing(v, signer)
}

// standing finds what the ledger says of a signer whose signature was checked.
func (s *server) standing(v *ledger.View, signer protocol.Signer) (asker, error) {
	a := asker{signer: signer}
	if signer.Kind == protocol.ActorDelegate {
		return s.askDelegate(v, a)
	}
	if signer.Kind == protocol.ActorPatient {
		p, reason, err := journal.Standing(v, protocol.JournalID(signer.ID), signer.Key, s.time(v))
		if err != nil {
			return asker{}, err
		}
		if reason != protocol.Accepted {
			return asker{}, unknownSigner
		}
		a.device = p.Device
		return a, nil
	}
	actor, reason, err := registry.Lookup(v, signer, s.time(v))
	if err != nil {
		return asker{}, err
	}
	if reason != protocol.Accepted {
		return asker{}, unknownSigner
	}
	a.actor = actor
	return a, nil
}

// staff is ask for one who must be a member or practitioner in good standing.
func (s *server) staff(v *ledger.View, r *http.Request) (asker, error) {
	a, err := s.ask(v, r)
	switch {
	case err != nil:
		return a, err
	case a.signer.Kind == protocol.ActorPatient, a.signer.Kind == protocol.ActorDelegate:
		return a, problem(http.StatusForbidden, "not-entitled", "Only members and their practitioners may do this", "Sign with an organisation's or practitioner's key.")
	case !a.actor.Credential:
		return a, noCredential
	}
	return a, nil
}

// patientOf is ask for the patient of a journal. Whose journal it is, and whether there is one, is not looked at for anybody else.
func (s *server) patientOf(v *ledger.View, r *http.Request, id protocol.JournalID) error {
	a, err := s.ask(v, r)
	if err == nil && !a.isPatientOf(id) {
		err = noJournal
	}
	return err
}

func (a asker) isPatientOf(id protocol.JournalID) bool {
	return a.signer.Kind == protocol.ActorPatient && protocol.JournalID(a.signer.ID) == id
}

// is tells whether the asker is this signer, whatever key it had then. Delegates of one journal differ by their keys.
func (a asker) is(s protocol.Signer) bool {
	return a.signer.Kind == s.Kind && a.signer.ID == s.ID && (s.Kind != protocol.ActorDelegate || a.signer.Key == s.Key)
}
