package sim

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// What patients and delegates write themselves.

// aboutOwn has the patient do something about a record that they wrote.
func aboutOwn(what func(t *town, own protocol.RecordID) protocol.Action) func(*town, scene) move {
	return func(t *town, s scene) move {
		mine := slices.DeleteFunc(t.onShelf(s), func(r protocol.RecordID) bool { return !t.model.fates[r].member.IsZero() })
		if len(mine) == 0 {
			return prepares(t.sign(s.patient, s.in, t.record(s.in)))
		}
		own := pick(t, mine)
		a := what(t, own)
		if add, ok := a.(*protocol.AddRecord); ok && (add.Record == own || add.Generation != 1) {
			return move{}
		}
		return does(t.sign(s.patient, s.in, a))
	}
}

// freshRecord is a record that nothing is wrong with.
func (t *town) freshRecord(in protocol.JournalID) protocol.Action {
	return t.freshRecordOf(in, pick(t, labels))
}

func (t *town) freshRecordOf(in protocol.JournalID, l protocol.Label) protocol.Action {
	for {
		a, _ := t.recordOf(in, l).(*protocol.AddRecord)
		if _, known := t.model.records[a.Record]; !known && a.Generation == 1 && t.records[len(t.records)-1] == a.Record {
			return a
		}
	}
}

// replacing has the patient or an organisation write a new version of what the patient or an organisation wrote.
func replacing(byPatient, ofPatient bool) func(*town, scene) move {
	return func(t *town, s scene) move {
		all := slices.DeleteFunc(t.onShelf(s), func(r protocol.RecordID) bool {
			f := t.model.fates[r]
			return f.next || f.member.IsZero() != ofPatient
		})
		if len(all) == 0 && ofPatient {
			return prepares(t.sign(s.patient, s.in, t.record(s.in)))
		}
		if len(all) == 0 {
			return t.shelving(s)
		}
		about := pick(t, all)
		label := t.model.records[about].label
		a, _ := t.recordOf(s.in, label).(*protocol.AddRecord)
		a.Relation, a.About = protocol.RelationSupersedes, about
		if a.Record == about || a.Generation != 1 {
			return move{}
		}
		if byPatient {
			return does(t.sign(s.patient, s.in, a))
		}
		member := t.inStanding()
		q := question{by: actor{member: member.Signer.Member(), credential: true}, write: true, purpose: protocol.PurposeTreat, now: t.Time, label: label, record: a.Record, credential: true}
		if reason, _ := s.j.decide(q); reason != protocol.Accepted {
			return prepares(t.sign(s.patient, s.in, t.contract(rule{write: true}, 30*day)))
		}
		return does(t.sign(member, s.in, a))
	}
}
