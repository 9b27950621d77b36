package gateway

import (
	"errors"
	"net/http"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// What became of records: erasures, holds, requests to amend.

var erased = problem(http.StatusGone, "erased", "The record was erased", "Nobody can open it any more: its patient has had it erased.")

// unlessErased is nil if a record was not erased: from the block of the erasure on no gateway serves its file, though the bytes may lie there
// for a moment, or for as long as a hold lasts.
func unlessErased(v *ledger.View, n journal.Named) error {
	closed, err := journal.Closed(v, n)
	if err == nil && closed {
		return erased
	}
	return err
}

// storer is who may have a file kept: how large it may be, and the journal for whose patient it is.
type storer struct {
	most    int64
	journal protocol.JournalID // zero: an organisation's
}

// mayStore finds who has a file kept: authors a record's; the patient of an open journal, and a delegate who acts, one of their own.
func (s *server) mayStore(v *ledger.View, r *http.Request) (storer, error) {
	a, err := s.ask(v, r)
	if err != nil {
		return storer{}, err
	}
	in := protocol.JournalID(a.signer.ID)
	if !a.isPatientOf(in) && !a.standsFor(in, protocol.LevelAct) {
		if a.signer.Kind == protocol.ActorDelegate {
			return storer{}, notDelegated
		}
		_, err := s.staff(v, r)
		return storer{most: protocol.RecordFileBytesMax}, err
	}
	row, ok, err := journal.Get(v, in)
	if err == nil && (!ok || row.Closed != 0) {
		err = &api.Problem{Status: http.StatusForbidden, Code: protocol.JournalClosed.String(), Title: "The journal is closed", Detail: protocol.JournalClosed.Advice()}
	}
	return storer{most: protocol.OwnRecordBytesMax, journal: in}, err
}

// ties adds to a record what it has to do with others, and what became of it.
func ties(v *ledger.View, n journal.Named, veil journal.Curtain, out *api.Record) error {
	tie, err := journal.TieOf(v, n.ID)
	if err != nil {
		return err
	}
	if !tie.About.IsZero() {
		out.About = &tie.About
	}
	if !tie.Next.IsZero() {
		out.Superseded = &tie.Next
	}
	if !tie.Erasure.IsZero() {
		out.Erasure = &tie.Erasure
	}
	out.Erased = n.Row.Erased
	out.Held = n.Row.Erased != 0 && tie.Erasure.IsZero()
	if out.Erased == 0 {
		closed, err := veil.Closed(n)
		if err != nil {
			return err
		}
		if closed {
			out.Erased = v.Head.Height // under way
		}
	}
	return nil
}

// journalFor lets the patient of a journal through, and others in good standing if staff may ask; member is whose own they may see.
func (s *server) journalFor(v *ledger.View, r *http.Request, in protocol.JournalID) (member protocol.MemberID, patient bool, err error) {
	a, err := s.ask(v, r)
	switch {
	case err != nil:
		return member, false, err
	case a.isPatientOf(in):
		return member, true, nil
	case a.actor.Member.IsZero():
		return member, false, noJournal
	case !a.actor.Credential:
		return member, false, noCredential
	}
	return a.actor.Member, false, nil
}

func (s *server) getErasures(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	out := []api.Erasure{}
	err = s.view(func(v *ledger.View) error {
		if err := s.patientOf(v, r, in); err != nil {
			return err
		}
		var failed error
		add := func(id protocol.ErasureID) {
			e, ok, err := journal.ErasureOf(v, id)
			if err != nil || !ok {
				failed = errors.Join(failed, err)
				return
			}
			by, err := journal.Attesters(v, id)
			failed = errors.Join(failed, err)
			out = append(out, erasure(id, e, by))
		}
		err := v.Journal(in, 0, func(e ledger.Stored) bool {
			switch e.Entry.Type {
			case protocol.TypeErase:
				add(protocol.DerivedErasureID(e.Entry.Cause, int(e.Entry.Index)))
			case protocol.TypeLiftHold:
				var a protocol.LiftHold
				if failed = errors.Join(failed, protocol.Decode(e.Entry.Action, &a)); failed == nil {
					add(protocol.ReleaseID(a.Hold))
				}
			case protocol.EventHoldEnded:
				var a protocol.HoldEnded
				if failed = errors.Join(failed, protocol.Decode(e.Entry.Action, &a)); failed == nil {
					add(protocol.ReleaseID(a.Hold))
				}
			}
			return failed == nil
		})
		return errors.Join(err, failed)
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

func erasure(id protocol.ErasureID, e journal.Erasure, by []protocol.MemberID) api.Erasure {
	out := api.Erasure{ID: id, Records: e.What.Records, Labels: e.What.Labels, Height: e.Height, Time: e.Time, Through: e.Done != 0, Count: e.Count,
		Held: e.Held, Root: e.Root, Nodes: e.Nodes, Attested: e.Attested, AttestedBy: list(by)}
	switch {
	case !e.Release.IsZero():
		out.What, out.Hold = "release", &e.Release
	case len(e.What.Records) > 0:
		out.What = "records"
	case len(e.What.Labels) > 0:
		out.What = "labels"
	case !e.What.Author.IsZero():
		out.What, out.Author = "author", &e.What.Author
	default:
		out.What = "everything"
	}
	return out
}

func (s *server) getHolds(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	out := []api.Hold{}
	err = s.view(func(v *ledger.View) error {
		member, patient, err := s.journalFor(v, r, in)
		if err != nil {
			return err
		}
		rows, err := journal.Holds(v, in)
		for _, h := range rows {
			if patient || h.Row.Member == member {
				out = append(out, api.Hold{ID: h.ID, Member: h.Row.Member, Records: list(h.Row.Records), Until: h.Row.Until, Code: h.Row.Code, Set: h.Row.Set})
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

func (s *server) getAmendments(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	out := []api.Amendment{}
	err = s.view(func(v *ledger.View) error {
		member, patient, err := s.journalFor(v, r, in)
		if err != nil {
			return err
		}
		rows, err := journal.Records(v, in)
		if err != nil {
			return err
		}
		for _, n := range rows {
			a, ok, err := journal.AmendmentOf(v, n.ID)
			if err != nil {
				return err
			}
			if !ok || !patient && a.Member != member {
				continue
			}
			one := api.Amendment{Record: n.ID, Statement: a.Statement, Member: a.Member, Asked: a.Asked, Due: a.Due, State: a.State.String()}
			if !a.Version.IsZero() {
				one.Version = &a.Version
			}
			if a.Denial != 0 {
				one.Denial = a.Denial.String()
			}
			out = append(out, one)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}
