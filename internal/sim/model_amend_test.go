package sim

import (
	"github.com/anamnesis-health/anamnesis/protocol"
)

// amendmentModel is the last request to amend a record.
type amendmentModel struct {
	record  protocol.RecordID
	journal protocol.JournalID
	member  protocol.MemberID // the author, who is to answer
	due     uint64
	overdue bool // and that is written down
	over    bool // answered
	cause   protocol.ActionID
}

func (m *model) askAmendment(j *journalModel, a *protocol.RequestAmendment) protocol.Reason {
	row, ok := m.records[a.Record]
	if !ok || row.journal != j.id {
		return protocol.UnknownRecord
	}
	f, said := m.fates[a.Record], m.fates[a.Statement]
	if f.member.IsZero() || f.erased || said.about != a.Record || said.erased {
		return protocol.BadRelation
	}
	if old, ok := m.amendments[a.Record]; ok && !old.over {
		return protocol.AmendmentOpen
	}
	put(m, m.amendments, a.Record, amendmentModel{record: a.Record, journal: j.id, member: f.member, due: m.now + protocol.AmendmentMillis, cause: m.cause})
	m.enter(&j.entries)
	return protocol.Accepted
}

func (m *model) answerAmendment(by actor, j *journalModel, a *protocol.AnswerAmendment) protocol.Reason {
	row, ok := m.amendments[a.Record]
	switch {
	case !ok || j == nil || row.journal != j.id:
		return protocol.UnknownAmendment
	case row.member != by.member:
		return protocol.NotTheAuthor
	case row.over:
		return protocol.AmendmentAnswered
	}
	if v := m.fates[a.Version]; !a.Version.IsZero() && (v.replaces != a.Record || v.erased) {
		return protocol.BadRelation
	}
	row.over = true
	put(m, m.amendments, a.Record, row)
	m.enter(&j.entries)
	return protocol.Accepted
}
