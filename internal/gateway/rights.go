package gateway

import (
	"net/http"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Rights: what a patient may ask of everybody who keeps the journal. What is told here is what this node's ledger says; the journal's proof
// shows that it is all.

// getReaders says who can read what now: it puts to the contracts what everybody in the registry could ask.
func (s *server) getReaders(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	var out api.Readers
	names := s.newPeople()
	err = s.view(func(v *ledger.View) error {
		if err := s.patientSide(v, r, in, protocol.LevelShare); err != nil {
			return err
		}
		out, err = s.readers(v, in, names)
		return err
	})
	if err != nil {
		return err
	}
	names.ask(r.Context())
	for i, one := range out.Readers {
		if known := names.practitioners[one.Practitioner]; known != nil {
			out.Readers[i].Name = known.name
		}
	}
	return reply(w, out)
}

func (s *server) readers(v *ledger.View, in protocol.JournalID, names *people) (api.Readers, error) {
	out := api.Readers{Time: s.time(v), Readers: []api.Reader{}}
	found, err := v.Readers(in, out.Time, ReadersMax)
	if err != nil {
		return out, err
	}
	out.Labels, out.Partial = list(found.Labels), !found.Whole
	for _, one := range found.People {
		r := api.Reader{Member: one.Member, Practitioner: one.Practitioner}
		if !one.Practitioner.IsZero() {
			r.Role = one.Role.String()
			if err := names.note(v, protocol.PractitionerSigner(one.Practitioner, protocol.PublicKey{})); err != nil {
				return out, err
			}
		}
		for _, o := range one.Opens {
			r.Opens = append(r.Opens, api.Opening{Label: o.Label, Records: o.Records, Of: o.Of, Purposes: list(o.Purposes), Glass: o.Glass, Contracts: list(o.Contracts)})
		}
		out.Readers = append(out.Readers, r)
	}
	return out, nil
}

// getDisclosures is a page of the requests to read, of a period.
func (s *server) getDisclosures(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	q, err := params(r, "from_ms", "to_ms", "from", "max")
	if err != nil {
		return err
	}
	begin, err1 := number(q, "from_ms", 0, 0, 1<<53)
	end, err2 := number(q, "to_ms", 1<<53, 0, 1<<53)
	from, err3 := number(q, "from", 0, 0, 1<<56)
	limit, err4 := number(q, "max", EntriesPageDefault, 1, EntriesPageMax)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return err
		}
	}
	out := api.Disclosures{Disclosures: []api.Disclosure{}}
	names := s.newPeople()
	var signers []protocol.Signer
	err = s.view(func(v *ledger.View) error {
		if err := s.patientSide(v, r, in, protocol.LevelAct); err != nil {
			return err
		}
		scanned := uint64(0)
		var fail error
		err := v.Journal(in, from, func(e ledger.Stored) bool {
			if scanned++; e.Entry.Time >= end {
				return false
			}
			if e.Entry.Type == protocol.TypeRequestAccess && e.Entry.Time >= begin {
				var d api.Disclosure
				if d, fail = disclosure(e); fail == nil {
					fail = names.note(v, e.Entry.Signer)
				}
				out.Disclosures, signers = append(out.Disclosures, d), append(signers, e.Entry.Signer)
			}
			if scanned == DisclosuresScanMax || len(out.Disclosures) == int(limit) {
				out.Next = from + scanned
				return false
			}
			return fail == nil
		})
		if err == nil {
			err = fail
		}
		return err
	})
	if err != nil {
		return err
	}
	names.ask(r.Context())
	for i := range out.Disclosures {
		d := &out.Disclosures[i]
		d.Who = names.who(signers[i])
		if known := names.practitioners[d.Practitioner]; known != nil {
			d.Member = known.row.Member
		}
	}
	return reply(w, out)
}

func disclosure(e ledger.Stored) (out api.Disclosure, err error) {
	var a protocol.RequestAccess
	if err := protocol.Decode(e.Entry.Action, &a); err != nil {
		return out, err
	}
	var o protocol.AccessOutcome
	if err := protocol.Decode(e.Entry.Outcome, &o); err != nil {
		return out, err
	}
	out = api.Disclosure{Entry: e.Index, Seq: e.Entry.Seq, Time: e.Entry.Time, Kind: e.Entry.Signer.Kind, Key: e.Entry.Signer.Key, Purpose: a.Purpose, Labels: a.Labels,
		Named: a.Records, BreakGlass: !a.Reason.IsZero(), Permitted: o.Permitted, Reason: o.Reason, Records: list(o.Records), Contracts: list(o.Contracts)}
	switch e.Entry.Signer.Kind {
	case protocol.ActorMember:
		out.Member = e.Entry.Signer.Member()
	case protocol.ActorPractitioner:
		out.Practitioner = protocol.PractitionerID(e.Entry.Signer.ID)
	case protocol.ActorLedger, protocol.ActorPatient, protocol.ActorGuardian, protocol.ActorDelegate:
	}
	return out, nil
}
