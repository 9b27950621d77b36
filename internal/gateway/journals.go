package gateway

import (
	"net/http"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// mayWriteTo checks that the asker may know what it takes to write into a journal, and tells whether it is the patient.
func (s *server) mayWriteTo(v *ledger.View, r *http.Request, in protocol.JournalID) (patient bool, err error) {
	a, err := s.ask(v, r)
	if err != nil {
		return false, err
	}
	patient = a.isPatientOf(in)
	switch {
	case a.standsFor(in, protocol.LevelSee):
	case a.signer.Kind.ForPatient() && !patient:
		return false, noJournal
	case !patient && !a.actor.Credential:
		return false, noCredential
	}
	return patient, nil
}

// getSealing proves to an author, at one size, whom a journal's records are sealed to.
func (s *server) getSealing(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	var size uint64
	err = s.view(func(v *ledger.View) error {
		size = v.Head.Size
		if _, err := s.mayWriteTo(v, r, in); err != nil {
			return err
		}
		known, err := journal.Exists(v, in)
		if err == nil && !known {
			err = noJournal
		}
		return err
	})
	if err != nil {
		return err
	}
	note, covers, err := s.cosigned(r, size, CheckpointMillisDefault)
	if err != nil {
		return err
	}
	var out api.Sealing
	err = s.view(func(v *ledger.View) error {
		p := &proof{s: s, v: v, size: covers}
		out, err = p.sealing(in, note)
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

func (p *proof) sealing(in protocol.JournalID, note []byte) (out api.Sealing, err error) {
	out.Checkpoint = string(note)
	if out.Seal, err = p.entry(p.size - 1); err != nil {
		return out, err
	}
	if out.Journal, err = p.state(protocol.StateKeyJournal(in)); err != nil {
		return out, err
	}
	if out.Current, err = p.state(protocol.StateKeyCurrentKey()); err != nil {
		return out, err
	}
	var current protocol.CurrentKeyRow
	if err := protocol.Decode(out.Current.Row, &current); err != nil {
		return out, err
	}
	if current.Generation == 0 {
		return out, problem(http.StatusServiceUnavailable, "no-key", "The custodians' key is still being generated", "Ask again in a few seconds.")
	}
	out.Key, err = p.state(protocol.StateKeyCustodyKey(current.Generation))
	return out, err
}

func (s *server) getJournal(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	var out api.Journal
	err = s.view(func(v *ledger.View) error {
		patient, err := s.mayWriteTo(v, r, in)
		if err != nil {
			return err
		}
		row, ok, err := journal.Get(v, in)
		if err != nil {
			return err
		}
		if !ok {
			return noJournal
		}
		out = api.Journal{ID: in, Controller: row.Controller, Recipient: row.Recipient[:], LabelEpoch: row.LabelEpoch, Sponsor: row.Sponsor, Opened: row.Opened,
			Closed: row.Closed != 0}
		if patient {
			head, err := journal.Head(v, in)
			if err != nil {
				return err
			}
			out.Count, out.Chain = head.Count, head.Chain
		}
		return nil
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// getEntries is a page of the patient's own journal, with names beside the signers.
func (s *server) getEntries(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	q, err := params(r, "from", "max")
	if err != nil {
		return err
	}
	from, err := number(q, "from", 0, 0, 1<<56)
	if err != nil {
		return err
	}
	limit, err := number(q, "max", EntriesPageDefault, 1, EntriesPageMax)
	if err != nil {
		return err
	}
	names := s.newPeople()
	var page []ledger.Stored
	var head protocol.Head
	err = s.view(func(v *ledger.View) error {
		if err := s.patientSide(v, r, in, protocol.LevelAct); err != nil {
			return err
		}
		if head, err = journal.Head(v, in); err != nil {
			return err
		}
		page, err = entriesPage(v, in, from, int(limit), names)
		return err
	})
	if err != nil {
		return err
	}
	names.ask(r.Context())
	out := api.Entries{Entries: make([]api.Entry, len(page)), Count: head.Count}
	for i, e := range page {
		out.Entries[i] = entry(e)
		out.Entries[i].Who = names.who(e.Entry.Signer)
	}
	if next := from + uint64(len(page)); len(page) > 0 && next < head.Count {
		out.Next = next
	}
	return reply(w, out)
}

// entriesPage reads entries until there are limit of them, or they are too many bytes; one is always read.
func entriesPage(v *ledger.View, in protocol.JournalID, from uint64, limit int, names *people) (page []ledger.Stored, err error) {
	size := 0
	scan := v.Journal(in, from, func(e ledger.Stored) bool {
		if err = names.note(v, e.Entry.Signer); err != nil {
			return false
		}
		page, size = append(page, e), size+len(e.Raw)
		return len(page) < limit && size < PageBytesMax
	})
	if err == nil {
		err = scan
	}
	return page, err
}

func entry(e ledger.Stored) api.Entry {
	return api.Entry{Index: e.Index, Salt: e.Salt[:], Raw: e.Raw}
}

func (s *server) getContracts(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	out := []api.Contract{}
	err = s.view(func(v *ledger.View) error {
		if err := s.patientSide(v, r, in, protocol.LevelShare); err != nil {
			return err
		}
		rows, err := consent.Contracts(v, in)
		for _, c := range rows {
			out = append(out, api.Contract{ID: c.ID, Template: c.Row.Template, Policy: string(c.Row.Policy), NotBefore: c.Row.NotBefore, NotAfter: c.Row.NotAfter,
				UsesMax: c.Row.UsesMax, Uses: c.Row.Uses, State: stateName(c.Row, s.time(v)), Granted: c.Row.Granted, Over: c.Row.Over,
				By: c.Row.By, Within: c.Row.Within})
		}
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// stateName is a contract's state now: one whose time is over has ended, though the entry of its end waits for the next block.
func stateName(c consent.ContractRow, now uint64) string {
	switch {
	case c.State == consent.StateRevoked:
		return "revoked"
	case c.State == consent.StateEnded, now >= c.NotAfter:
		return "ended"
	}
	return "active"
}

func (s *server) getRecords(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	out := []api.Record{}
	err = s.view(func(v *ledger.View) error {
		if err := s.patientOf(v, r, in); err != nil {
			return err
		}
		rows, err := journal.Records(v, in)
		if err != nil {
			return err
		}
		veil, err := journal.Veil(v, in)
		for _, n := range rows {
			row, err := record(v, n, veil)
			if err != nil {
				return err
			}
			out = append(out, row)
		}
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// record is a record with the key that signed its entry, which is the key that signed its manifest.
func record(v *ledger.View, n journal.Named, veil journal.Curtain) (api.Record, error) {
	r := n.Row
	out := api.Record{ID: n.ID, Journal: r.Journal, Seq: r.Seq, Label: r.Label, Member: r.Member, Practitioner: r.Practitioner, Recorded: r.Recorded,
		Ciphertext: r.Ciphertext, Size: r.Size, Capsule: r.Capsule, Generation: r.Generation, Manifest: r.Manifest, Root: r.Root, Relation: r.Relation}
	if err := ties(v, n, veil, &out); err != nil {
		return out, err
	}
	err := v.Journal(r.Journal, r.Seq, func(s ledger.Stored) bool {
		out.AuthorKind, out.AuthorKey, out.Entry = s.Entry.Signer.Kind, s.Entry.Signer.Key, s.Index
		return false
	})
	return out, err
}
