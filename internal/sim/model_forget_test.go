package sim

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// fate is what the model knows of a record besides where it lies.
type fate struct {
	member   protocol.MemberID // the author's; zero: the patient
	about    protocol.RecordID // of a statement
	replaces protocol.RecordID // of a new version
	next     bool              // it was superseded
	erased   bool              // nobody opens it
	taken    uint64            // entries of the journal when it was erased
	held     bool              // erased, and its file kept
	remarks  []protocol.RecordID
}

type holdModel struct {
	id      protocol.HoldID
	member  protocol.MemberID
	records []protocol.RecordID
	until   uint64
	cause   protocol.ActionID
	set     uint64 // entries of the journal before it
}

type erasureModel struct {
	id      protocol.ErasureID
	covered []protocol.RecordID
	release bool
	count   uint32
	said    []protocol.MemberID
	cause   protocol.ActionID
}

// forgets carries out what became of records; ok is false for other actions.
func (m *model) forgets(v *protocol.Verified, i int, by actor, j *journalModel, action protocol.Action) (reason protocol.Reason, ok bool) {
	member, patient := v.Body.Signer.Kind == protocol.ActorMember, v.Body.Signer.Kind == protocol.ActorPatient
	switch a := action.(type) {
	case *protocol.Erase:
		if !patient {
			return protocol.NotEntitled, true
		}
		return m.erase(protocol.DerivedErasureID(v.ID, i), j, a), true
	case *protocol.AttestErasure:
		if !member || !by.custodian {
			return protocol.NotACustodian, true
		}
		return m.attest(by, j, a), true
	case *protocol.SetHold:
		if !member {
			return protocol.NotEntitled, true
		}
		return m.setHold(protocol.DerivedHoldID(v.ID, i), by, j, a), true
	case *protocol.LiftHold:
		if !member {
			return protocol.NotEntitled, true
		}
		return m.liftHold(by, j, a), true
	case *protocol.RequestAmendment:
		delegate := v.Body.Signer.Kind == protocol.ActorDelegate
		if !patient && !delegate {
			return protocol.NotEntitled, true
		}
		if delegate && !m.acts(v, j, m.records[a.Record].label) {
			return protocol.BeyondDelegation, true
		}
		return m.askAmendment(j, a), true
	case *protocol.AnswerAmendment:
		if patient || !by.credential {
			return protocol.NotEntitled, true
		}
		return m.answerAmendment(by, j, a), true
	}
	return 0, false
}

func (m *model) erase(id protocol.ErasureID, j *journalModel, a *protocol.Erase) protocol.Reason {
	switch {
	case j.closed:
		return protocol.JournalClosed
	case len(j.pending) >= protocol.ErasuresPendingMax:
		return protocol.TooManyErasures
	}
	for _, r := range a.Records {
		if row, ok := m.records[r]; !ok || row.journal != j.id {
			return protocol.UnknownRecord
		}
		if m.fates[r].erased {
			return protocol.AlreadyErased
		}
	}
	e := &erasureModel{id: id, cause: m.cause}
	covers := func(r protocol.RecordID) bool {
		return a.Everything || slices.Contains(a.Records, r) || slices.Contains(a.Labels, m.records[r].label) || !a.Author.IsZero() && m.fates[r].member == a.Author
	}
	for _, r := range j.records {
		if f := m.fates[r]; !f.erased && (covers(r) || !f.about.IsZero() && covers(f.about)) {
			e.covered = append(e.covered, r)
		}
	}
	for _, r := range e.covered {
		f := m.fates[r]
		f.erased, f.taken = true, j.entries
		put(m, m.fates, r, f)
	}
	if a.Everything {
		change(m, &j.closed, true)
		m.dropCard(j)
	}
	change(m, &j.pending, append(slices.Clone(j.pending), e))
	m.enter(&j.entries)
	return protocol.Accepted
}

func (m *model) attest(by actor, j *journalModel, a *protocol.AttestErasure) protocol.Reason {
	if j == nil {
		return protocol.UnknownErasure
	}
	i := slices.IndexFunc(j.erasures, func(e *erasureModel) bool { return e.id == a.Erasure })
	switch {
	case slices.ContainsFunc(j.pending, func(e *erasureModel) bool { return e.id == a.Erasure }):
		return protocol.ErasurePending
	case i < 0:
		return protocol.UnknownErasure
	}
	e := j.erasures[i]
	if e.count == 0 || a.Count != e.count {
		return protocol.BadErasure
	}
	if slices.Contains(e.said, by.member) {
		return protocol.AlreadyDone
	}
	change(m, &e.said, append(slices.Clone(e.said), by.member))
	m.enter(&j.entries)
	return protocol.Accepted
}

func (m *model) setHold(id protocol.HoldID, by actor, j *journalModel, a *protocol.SetHold) protocol.Reason {
	switch {
	case j == nil:
		return protocol.UnknownJournal
	case j.closed:
		return protocol.JournalClosed
	case len(j.pending) > 0:
		return protocol.ErasurePending
	case a.Until <= m.now || a.Until > m.now+protocol.HoldMillisMax:
		return protocol.BadWindow
	}
	mine := 0
	for _, h := range j.holds {
		if h.member == by.member {
			mine++
		}
	}
	if mine >= protocol.HoldsMemberMax {
		return protocol.TooManyHolds
	}
	for _, r := range a.Records {
		if row, ok := m.records[r]; !ok || row.journal != j.id || m.fates[r].member != by.member || m.fates[r].erased {
			return protocol.NotTheAuthor
		}
	}
	change(m, &j.holds, append(slices.Clone(j.holds), holdModel{id, by.member, a.Records, a.Until, m.cause, j.entries}))
	m.enter(&j.entries)
	return protocol.Accepted
}

func (m *model) liftHold(by actor, j *journalModel, a *protocol.LiftHold) protocol.Reason {
	if j == nil {
		return protocol.UnknownHold
	}
	i := slices.IndexFunc(j.holds, func(h holdModel) bool { return h.id == a.Hold && h.member == by.member })
	switch {
	case i < 0:
		return protocol.UnknownHold
	case len(j.pending) > 0:
		return protocol.ErasurePending
	}
	m.endHold(j, i, m.cause)
	m.enter(&j.entries)
	return protocol.Accepted
}

func (m *model) endHold(j *journalModel, i int, cause protocol.ActionID) {
	id := j.holds[i].id
	change(m, &j.holds, slices.Delete(slices.Clone(j.holds), i, i+1))
	var kept []protocol.RecordID
	for _, r := range j.records {
		if m.fates[r].held {
			kept = append(kept, r)
		}
	}
	if len(kept) > 0 {
		change(m, &j.pending, append(slices.Clone(j.pending), &erasureModel{id: protocol.ReleaseID(id), covered: kept, release: true, cause: cause}))
	}
}

// fallDue carries out what is due in journals, holds that end and amendments that were not answered, in the order of the ledger's agenda.
func (m *model) fallDue() {
	type due struct {
		at   uint64
		kind int // 1 hold, 2 amendment
		j    *journalModel
		id   [16]byte
	}
	var all []due
	for _, j := range m.journals {
		for _, h := range j.holds {
			if h.until <= m.now {
				all = append(all, due{h.until, 1, j, h.id})
			}
		}
	}
	for record, a := range m.amendments {
		if !a.over && !a.overdue && a.due <= m.now {
			all = append(all, due{a.due, 2, m.journals[a.journal], record})
		}
	}
	slices.SortFunc(all, func(a, b due) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.kind, b.kind), bytes.Compare(a.j.id[:], b.j.id[:]), bytes.Compare(a.id[:], b.id[:]))
	})
	for _, d := range all[:min(len(all), protocol.EndsBlockMax)] {
		if d.kind == 2 {
			a := m.amendments[d.id]
			a.overdue = true
			m.amendments[d.id] = a
			m.happens(d.j, protocol.EventAmendmentOverdue, a.cause, protocol.AmendmentOverdue{Record: d.id})
			continue
		}
		if len(d.j.pending) > 0 {
			continue
		}
		i := slices.IndexFunc(d.j.holds, func(h holdModel) bool { return h.id == d.id })
		cause := d.j.holds[i].cause
		m.endHold(d.j, i, cause)
		m.happens(d.j, protocol.EventHoldEnded, cause, protocol.HoldEnded{Hold: d.id})
	}
}

// advance ends the erasures of the block: so few records are erased at a time here that none waits for another block. The root of what was
// erased is not the model's: the event is without.
func (m *model) advance() {
	var inOrder []*journalModel
	for _, j := range m.journals {
		inOrder = append(inOrder, j)
	}
	slices.SortFunc(inOrder, func(a, b *journalModel) int { return bytes.Compare(a.id[:], b.id[:]) })
	for _, j := range inOrder {
		for _, e := range j.pending {
			body := protocol.RecordsErased{Erasure: e.id}
			for _, r := range e.covered {
				f := m.fates[r]
				f.held = slices.ContainsFunc(j.holds, func(h holdModel) bool {
					return h.member == f.member && (len(h.records) == 0 || slices.Contains(h.records, r)) && h.set < f.taken
				})
				if f.held {
					body.Held++
				} else {
					e.count++
				}
				m.fates[r] = f
				delete(m.amendments, r)
			}
			if body.Count = e.count; e.count > 0 {
				body.Nodes = m.nodes()
			}
			m.happens(j, protocol.EventRecordsErased, e.cause, body)
			j.erasures = append(j.erasures, e)
		}
		j.pending = nil
	}
}

// nodes counts the members that run a node.
func (m *model) nodes() (n uint16) {
	for _, row := range m.members {
		if row.custodian && !row.removed {
			n++
		}
	}
	return n
}

// relate checks what a new record is to another.
func (m *model) relate(by actor, j *journalModel, a *protocol.AddRecord) protocol.Reason {
	f := fate{member: by.member}
	if a.Relation != protocol.RelationNone {
		about, of := m.records[a.About], m.fates[a.About]
		if about.journal != j.id || about.label != a.Label || !of.about.IsZero() || of.erased {
			return protocol.BadRelation
		}
		if a.Relation == protocol.RelationSupersedes {
			if of.member != by.member || of.next {
				return protocol.BadRelation
			}
			of.next, f.replaces = true, a.About
		} else {
			if of.member.IsZero() {
				return protocol.BadRelation
			}
			if len(of.remarks) >= protocol.StatementsRecordMax {
				return protocol.TooManyStatements
			}
			f.about, of.remarks = a.About, append(slices.Clone(of.remarks), a.Record)
		}
		put(m, m.fates, a.About, of)
	}
	put(m, m.fates, a.Record, f)
	return protocol.Accepted
}

// subject is what the contracts decide on for a record.
func (m *model) subject(r protocol.RecordID) protocol.RecordID {
	if about := m.fates[r].about; !about.IsZero() {
		return about
	}
	return r
}

// forgetting is somebody's request about records that are there.
func (t *town) forgetting(patient *ledgertest.Who) *protocol.Verified {
	in, j := patient.Journal(), t.model.journals[patient.Journal()]
	member := t.current(pick(t, t.Members))
	if !t.known(member) {
		member = t.current(t.Members[0])
	}
	some := func() (ids []protocol.RecordID) {
		for range 1 + t.n(2) {
			if j != nil && len(j.records) > 0 && t.n(10) > 0 {
				ids = append(ids, pick(t, j.records))
			} else if len(t.records) > 0 {
				ids = append(ids, pick(t, t.records))
			}
		}
		slices.SortFunc(ids, func(x, y protocol.RecordID) int { return bytes.Compare(x[:], y[:]) })
		return slices.Compact(ids)
	}
	switch t.n(12) {
	case 0, 1:
		if ids := some(); len(ids) > 0 {
			return t.sign(patient, in, &protocol.Erase{Records: ids})
		}
	case 2:
		if t.n(2) == 0 {
			return t.sign(patient, in, &protocol.Erase{Labels: []protocol.Label{pick(t, labels)}})
		}
		return t.sign(patient, in, &protocol.Erase{Author: member.Signer.Member()}, &protocol.Erase{Records: []protocol.RecordID{{1}}}) // undone
	case 3:
		if t.n(4) == 0 {
			return t.sign(patient, in, &protocol.Erase{Everything: true})
		}
		return t.sign(patient, in, &protocol.Erase{Author: member.Signer.Member()})
	case 4, 5:
		h := &protocol.SetHold{Until: t.Time + uint64(t.n(600_000)), Code: protocol.HoldLitigation}
		if t.n(2) == 0 {
			h.Records = some()
		}
		return t.sign(member, in, h)
	case 6:
		if j != nil && len(j.holds) > 0 {
			return t.sign(member, in, &protocol.LiftHold{Hold: pick(t, j.holds).id})
		}
		return t.sign(member, in, &protocol.LiftHold{Hold: protocol.HoldID{1}})
	case 7, 8, 9:
		return t.attesting(member, in, j)
	}
	if j == nil || len(j.records) == 0 {
		return t.sign(t.reader(), in, &protocol.Erase{Everything: true})
	}
	about := pick(t, j.records)
	a, _ := t.recordOf(in, t.model.records[about].label).(*protocol.AddRecord)
	a.Relation, a.About = protocol.RelationStatement, about
	if t.n(3) == 0 {
		a.Relation = protocol.RelationSupersedes
		return t.sign(t.reader(), in, a)
	}
	if a.About == a.Record {
		a.Relation, a.About = protocol.RelationNone, protocol.RecordID{}
	}
	return t.sign(patient, in, a)
}

func (t *town) attesting(member *ledgertest.Who, in protocol.JournalID, j *journalModel) *protocol.Verified {
	a := &protocol.AttestErasure{Erasure: protocol.ErasureID{1}, Count: 1}
	if j != nil && len(j.erasures) > 0 {
		a.Erasure = pick(t, j.erasures).id
		view, err := t.L.View()
		if err != nil {
			t.T.Fatal(err)
		}
		row, _, err := journal.ErasureOf(view, a.Erasure)
		_ = view.Close()
		if err != nil {
			t.T.Fatal(err)
		}
		a.Count, a.Root = row.Count, row.Root
	}
	if t.n(8) == 0 {
		a.Count++
	}
	return t.sign(member, in, a)
}
