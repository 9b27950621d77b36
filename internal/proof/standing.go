package proof

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Standing is what holds in a journal at the end of its entries, made from nothing but them. Of a report that is OK it is as proven as the
// entries are, and complete: a contract that is not in it is not there.
type Standing struct {
	Contracts []StandingContract   `json:"contracts"` // whose end is not written down, in the order of their making
	Delegates []StandingDelegate   `json:"delegates"` // the same
	Devices   []protocol.PublicKey `json:"devices"`   // that sign for the patient, beside the controller
	Records   []StandingRecord     `json:"-"`         // that are not erased, in their order
	Card      bool                 `json:"card"`      // there is an emergency card
	Guardians bool                 `json:"guardians"` // somebody could recover the journal; who, stays hidden
	Closed    bool                 `json:"closed"`    // the journal was erased as a whole
}

// StandingContract is a contract that is neither withdrawn nor written down as ended. Time alone may have ended it since: compare NotAfter.
type StandingContract struct {
	ID      protocol.ContractID `json:"id"`
	Granted uint64              `json:"granted_ms"`
	Terms   protocol.Grant      `json:"-"`
	Uses    uint32              `json:"uses"`
	By      protocol.PublicKey  `json:"by,omitzero"` // the delegate who granted it; zero: the patient
	Within  []protocol.Label    `json:"-"`           // that delegate's classes; none: all
}

// StandingDelegate is a delegation whose end is not written down.
type StandingDelegate struct {
	protocol.Delegate
	Parent protocol.PublicKey // the delegate it comes from; zero: the patient
}

// StandingRecord is a record as contracts speak of it: a statement as the record that it is about.
type StandingRecord struct {
	ID       protocol.RecordID
	As       protocol.RecordID // itself, or what it is a statement about
	Label    protocol.Label
	Author   protocol.MemberID // of As; zero if its author is a practitioner of whom the export has no row
	Recorded uint64            // of As; UTC ms
}

// Standing is what holds in the journal of an export. If the report is not OK, it says what the entries say and no more.
func (r *Report) Standing() Standing {
	if r.content == nil {
		return Standing{}
	}
	entries := make([]protocol.Entry, len(r.content.journal))
	for i, p := range r.content.journal {
		entries[i] = p.entry
	}
	s := StandingAfter(entries)
	s.Records = r.content.standing()
	return s
}

// StandingAfter is what holds after a journal's entries, all of them in order; Records is left empty.
func StandingAfter(entries []protocol.Entry) Standing {
	s := standing{Standing: Standing{Contracts: []StandingContract{}, Delegates: []StandingDelegate{}, Devices: []protocol.PublicKey{}}}
	for _, e := range entries {
		s.follow(e)
	}
	return s.Standing
}

// standing lists the records that are not erased.
func (c *content) standing() (out []StandingRecord) {
	subjects := map[protocol.RecordID]StandingRecord{}
	for _, a := range c.records {
		one := StandingRecord{ID: a.action.Record, As: a.action.Record, Label: a.action.Label, Author: c.memberOf(a.author), Recorded: a.recorded}
		if a.action.Relation == protocol.RelationStatement {
			if about, ok := subjects[a.action.About]; ok {
				one.As, one.Author, one.Recorded = about.As, about.Author, about.Recorded
			}
		}
		subjects[one.ID] = one
		if !c.erased[one.ID] {
			out = append(out, one)
		}
	}
	return out
}

func (c *content) memberOf(s protocol.Signer) protocol.MemberID {
	switch s.Kind {
	case protocol.ActorMember:
		return s.Member()
	case protocol.ActorPractitioner:
		return c.people[protocol.PractitionerID(s.ID)].row.Member
	}
	return protocol.MemberID{}
}

// standing goes through a journal, entry by entry.
type standing struct{ Standing }

// follow does what an entry says. Entries that do not decode are failures of the report already.
func (s *standing) follow(e protocol.Entry) {
	var body any = protocol.NewAction(e.Type)
	if event, ok := eventBody(e.Type); ok {
		body = event
	}
	if body == nil || protocol.Decode(e.Action, body) != nil {
		return
	}
	switch a := body.(type) {
	case *protocol.OpenJournal:
		s.Guardians = !a.Guardians.IsZero()
	case *protocol.Grant:
		c := StandingContract{ID: protocol.DerivedContractID(e.Cause, int(e.Index)), Granted: e.Time, Terms: *a}
		if e.Signer.Kind == protocol.ActorDelegate {
			c.By, c.Within = e.Signer.Key, s.delegate(e.Signer.Key).Labels
		}
		s.Contracts = append(s.Contracts, c)
	case *protocol.Revoke:
		s.end(a.Contract)
	case *protocol.ContractEvent:
		if e.Type == protocol.EventContractEnded {
			s.end(a.Contract)
		}
	case *protocol.RequestAccess:
		s.used(e)
	case *protocol.Delegate:
		d := StandingDelegate{Delegate: *a}
		if e.Signer.Kind == protocol.ActorDelegate {
			d.Parent = e.Signer.Key
		}
		s.Delegates = append(s.Delegates, d)
	case *protocol.EndDelegation:
		s.leave(a.Key)
	case *protocol.DelegationEvent:
		s.leave(a.Key)
	case *protocol.SetCard:
		s.Card = !a.Card.IsZero()
	case *protocol.AddDevice:
		s.Devices = append(s.Devices, a.Key)
	case *protocol.RevokeDevice:
		s.Devices = slices.DeleteFunc(s.Devices, func(k protocol.PublicKey) bool { return k == a.Key })
	case *protocol.SetGuardians:
		s.Guardians = !a.Guardians.IsZero()
	case *protocol.ClaimJournal:
		s.Guardians = !a.Guardians.IsZero()
	case *protocol.RecoveryEvent:
		if e.Type == protocol.EventJournalRecovered {
			s.Guardians, s.Devices = false, []protocol.PublicKey{}
		}
	case *protocol.Erase:
		if a.Everything {
			s.Closed, s.Card = true, false
		}
	}
}

func (s *standing) end(id protocol.ContractID) {
	s.Contracts = slices.DeleteFunc(s.Contracts, func(c StandingContract) bool { return c.ID == id })
}

// leave ends a delegation. What it granted, and the delegations that come from it, end by entries of their own.
func (s *standing) leave(key protocol.PublicKey) {
	s.Delegates = slices.DeleteFunc(s.Delegates, func(d StandingDelegate) bool { return d.Key == key })
}

func (s *standing) delegate(key protocol.PublicKey) protocol.Delegate {
	if i := slices.IndexFunc(s.Delegates, func(d StandingDelegate) bool { return d.Key == key }); i >= 0 {
		return s.Delegates[i].Delegate
	}
	return protocol.Delegate{}
}

// used counts a permitted access against the contracts that let it in.
func (s *standing) used(e protocol.Entry) {
	var out protocol.AccessOutcome
	if protocol.Decode(e.Outcome, &out) != nil || !out.Permitted {
		return
	}
	for i := range s.Contracts {
		if slices.Contains(out.Contracts, s.Contracts[i].ID) {
			s.Contracts[i].Uses++
		}
	}
}
