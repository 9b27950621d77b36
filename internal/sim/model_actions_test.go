package sim

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

func (m *model) authenticate(v *protocol.Verified) (by actor, payer protocol.MemberID, reason protocol.Reason) {
	b := &v.Body
	for _, a := range v.Actions {
		if a.ActionType().OfJournal() == b.Journal.IsZero() {
			return by, payer, protocol.WrongJournal
		}
	}
	switch b.Signer.Kind {
	case protocol.ActorMember:
		row, ok := m.members[protocol.MemberID(b.Signer.ID)]
		switch {
		case !ok:
			return by, payer, protocol.UnknownSigner
		case row.key != b.Signer.Key:
			return by, payer, protocol.WrongKey
		case row.removed:
			return by, payer, protocol.MemberSuspended
		}
		by = actor{member: protocol.MemberID(b.Signer.ID), credential: true, custodian: row.custodian}
		return by, by.member, protocol.Accepted
	case protocol.ActorPractitioner:
		by, reason = m.practitioner(b.Signer, m.now)
		return by, by.member, reason
	}
	if claim, ok := v.Actions[0].(*protocol.ClaimJournal); ok && b.Signer.Kind == protocol.ActorPatient {
		j := m.journals[b.Journal]
		if reason := m.claims(v, j, claim); reason != protocol.Accepted {
			return by, payer, reason
		}
		return by, j.sponsor, protocol.Accepted
	}
	if open, ok := v.Actions[0].(*protocol.OpenJournal); ok && b.Signer.Kind == protocol.ActorPatient {
		row, ok := m.members[open.Sponsor]
		if !ok || row.removed {
			return by, payer, protocol.UnknownMember
		}
		if !protocol.VerifySignature(row.key, protocol.SponsorMessage(m.chain, open.Sponsor, b.Journal, b.Signer.Key), open.Agreement) {
			return by, payer, protocol.BadProof
		}
		return actor{provisional: !open.Claim.IsZero()}, open.Sponsor, protocol.Accepted
	}
	if b.Signer.ID != [16]byte(b.Journal) {
		return by, payer, protocol.WrongJournal
	}
	j := m.journals[b.Journal]
	if j == nil {
		return by, payer, protocol.UnknownSigner
	}
	if b.Signer.Kind == protocol.ActorGuardian {
		return by, j.sponsor, m.guardian(v, j)
	}
	if b.Signer.Kind == protocol.ActorDelegate {
		d, ok := j.people.delegation(b.Signer.Key)
		switch {
		case !ok:
			return by, payer, protocol.UnknownSigner
		case !d.inForce(m.now):
			return by, payer, protocol.DelegationOver
		}
		return by, j.sponsor, protocol.Accepted
	}
	by.device, reason = j.standing(b.Signer.Key, m.now)
	by.provisional = !j.control.claim.IsZero()
	return by, j.sponsor, reason
}

func (m *model) practitioner(s protocol.Signer, now uint64) (actor, protocol.Reason) {
	row, ok := m.practitioners[protocol.PractitionerID(s.ID)]
	switch {
	case !ok:
		return actor{}, protocol.UnknownSigner
	case row.key != s.Key:
		return actor{}, protocol.WrongKey
	case m.members[row.member].removed:
		return actor{}, protocol.MemberSuspended
	}
	return actor{member: row.member, practitioner: protocol.PractitionerID(s.ID), role: row.role,
		credential: row.status == protocol.PractitionerActive && now < row.validUntil}, protocol.Accepted
}

func (m *model) charge(v *protocol.Verified, payer protocol.MemberID, by actor) protocol.Reason {
	patient := v.Body.Signer.Kind == protocol.ActorPatient
	free := []protocol.ActionType{protocol.TypeRevoke, protocol.TypeRevokeDevice, protocol.TypeVetoRecovery, protocol.TypeEndDelegation, protocol.TypeErase}
	revoking := patient && !slices.ContainsFunc(v.Actions, func(a protocol.Action) bool { return !slices.Contains(free, a.ActionType()) })
	if !revoking && !m.count("m"+string(payer[:]), m.params.QuotaMemberMinute) {
		return protocol.QuotaMember
	}
	_, opening := v.Actions[0].(*protocol.OpenJournal)
	if v.Body.Journal.IsZero() || m.journals[v.Body.Journal] == nil && !(opening && patient) {
		return protocol.Accepted
	}
	switch {
	case by.device, v.Body.Signer.Kind == protocol.ActorGuardian, v.Body.Signer.Kind == protocol.ActorDelegate:
		apart := protocol.Digest("anamnesis/key-quota/v1", v.Body.Signer.Key[:])
		payer = protocol.MemberID(apart[:16])
	case patient:
		payer = protocol.MemberID{}
	}
	if !m.count("j"+string(v.Body.Journal[:])+string(payer[:]), m.params.QuotaJournalMinute) {
		return protocol.QuotaJournal
	}
	return protocol.Accepted
}

func (m *model) count(key string, limit uint32) bool {
	q := m.quotas[key]
	if q.minute != m.now/60_000 {
		q = quotaModel{minute: m.now / 60_000}
	}
	if q.count >= limit {
		return false
	}
	q.count++
	m.quotas[key] = q
	return true
}

// enter counts an entry.
func (m *model) enter(at *uint64) {
	change(m, &m.written, m.written+1)
	if at != nil {
		change(m, at, *at+1)
	}
}

func (m *model) act(v *protocol.Verified, i int, by actor, action protocol.Action) (reason protocol.Reason) {
	member := v.Body.Signer.Kind == protocol.ActorMember
	patient, delegate := v.Body.Signer.Kind == protocol.ActorPatient, v.Body.Signer.Kind == protocol.ActorDelegate
	j := m.journals[v.Body.Journal]
	if reason = m.entitled(v, by, action.ActionType()); reason != protocol.Accepted {
		return reason
	}
	if reason, ok := m.controlled(v, i, j, action); ok {
		return reason
	}
	switch a := action.(type) {
	case *protocol.SetPractitioner:
		if reason = m.setPractitioner(by, member, a); reason == protocol.Accepted {
			m.enter(nil)
		}
		return reason
	case *protocol.ProposeMember, *protocol.ProposeRemoval, *protocol.Approve, *protocol.RotateMemberKey:
		if !member {
			return protocol.NotEntitled
		}
		return m.govern(v, by, a)
	case *protocol.AcceptDeals:
		if !by.custodian {
			return protocol.NotACustodian
		}
		return protocol.KeygenPhase // it is done
	case *protocol.OpenJournal:
		return m.open(v, j, patient, a)
	case *protocol.AddRecord:
		return m.addRecord(v, by, j, a)
	case *protocol.Grant:
		if !patient && !delegate {
			return protocol.NotEntitled
		}
		return m.grant(v, i, j, a)
	case *protocol.Revoke:
		if !patient && !delegate {
			return protocol.NotEntitled
		}
		return m.revoke(v, j, a)
	case *protocol.RequestAccess:
		if patient {
			return m.requestOwn(v, i, j, a)
		}
		if j == nil {
			return protocol.UnknownJournal
		}
		switch {
		case delegate:
			m.requestAsDelegate(v, i, j, a)
		case !m.reasonIsNew(v, j, a.Reason):
			return protocol.ReasonReused
		default:
			m.request(v, i, by, j, a)
		}
		return protocol.Accepted
	}
	if reason, ok := m.standsIn(v, by, j, action); ok {
		return reason
	}
	if reason, ok := m.forgets(v, i, by, j, action); ok {
		return reason
	}
	panic("the model does not know this action")
}

func (m *model) setPractitioner(by actor, member bool, a *protocol.SetPractitioner) protocol.Reason {
	if !member {
		return protocol.NotEntitled
	}
	old, exists := m.practitioners[a.Practitioner]
	if exists && (old.member != by.member || old.status == protocol.PractitionerRevoked) {
		return protocol.PractitionerGone
	}
	if !exists || old.key != a.Key {
		if m.keys[a.Key] {
			return protocol.KeyInUse
		}
		put(m, m.keys, a.Key, true)
	}
	put(m, m.practitioners, a.Practitioner, practitionerModel{by.member, a.Key, a.Status, a.ValidUntil, a.Role})
	return protocol.Accepted
}

func (m *model) govern(v *protocol.Verified, by actor, action protocol.Action) protocol.Reason {
	key := v.ID
	p, known := m.proposals[key]
	switch a := action.(type) {
	case *protocol.ProposeMember:
		if _, exists := m.members[a.Member.ID()]; exists {
			return protocol.MemberExists
		}
		if m.keys[a.Member.Key] {
			return protocol.KeyInUse
		}
		if known {
			return protocol.AlreadyDone
		}
		p = proposalModel{join: true, member: a.Member, target: a.Member.ID()}
	case *protocol.ProposeRemoval:
		if row, exists := m.members[a.Member]; !exists || row.removed {
			return protocol.UnknownMember
		}
		if known {
			return protocol.AlreadyDone
		}
		p = proposalModel{target: a.Member}
	case *protocol.Approve:
		key = a.Proposal
		if p, known = m.proposals[key]; !known {
			return protocol.UnknownProposal
		}
		if p.closed {
			return protocol.ProposalClosed
		}
		if slices.Contains(p.approvals, by.member) {
			return protocol.AlreadyApproved
		}
	case *protocol.RotateMemberKey:
		if m.keys[a.Key] {
			return protocol.KeyInUse
		}
		if !protocol.VerifySignature(a.Key, protocol.KeyProofMessage(m.chain, by.member, a.Key), a.Proof) {
			return protocol.BadProof
		}
		row := m.members[by.member]
		row.key = a.Key
		put(m, m.members, by.member, row)
		put(m, m.keys, a.Key, true)
		m.enter(&m.constitution)
		return protocol.Accepted
	}
	p.approvals = append(slices.Clone(p.approvals), by.member)
	m.enter(&m.constitution)
	m.settle(&p)
	put(m, m.proposals, key, p)
	return protocol.Accepted
}

func (m *model) settle(p *proposalModel) {
	votes, total := 0, 0
	for id, row := range m.members {
		if !row.removed {
			total++
			if slices.Contains(p.approvals, id) {
				votes++
			}
		}
	}
	if 3*votes <= 2*total {
		return
	}
	p.closed = true
	row, kind := m.members[p.target], protocol.EventMemberRemoved
	switch {
	case p.join && !m.keys[p.member.Key]:
		row, kind = memberModel{key: p.member.Key}, protocol.EventMemberJoined
		put(m, m.keys, p.member.Key, true)
	case !p.join && !row.removed && total > 1:
		row.removed = true
	default:
		return
	}
	put(m, m.members, p.target, row)
	m.enter(&m.constitution)
	change(m, &m.events, append(m.events, event{kind, protocol.ConstitutionJournal(m.chain), m.cause, string(protocol.Encode(protocol.MemberEvent{Member: p.target}))}))
}

func (m *model) open(v *protocol.Verified, j *journalModel, patient bool, a *protocol.OpenJournal) protocol.Reason {
	switch {
	case !patient || v.Body.Signer.ID != [16]byte(v.Body.Journal):
		return protocol.NotEntitled
	case j != nil:
		return protocol.JournalExists
	}
	if !a.Claim.IsZero() && a.Recipient != protocol.NobodyRecipient(m.chain, v.Body.Journal) {
		return protocol.NotNobodys
	}
	j = &journalModel{id: v.Body.Journal, controller: v.Body.Signer.Key, sponsor: a.Sponsor}
	if !a.Claim.IsZero() {
		j.control.claim, j.control.claimUntil = a.Claim, m.now+protocol.ClaimMillis
	}
	j.control.guardians = a.Guardians
	put(m, m.journals, j.id, j)
	m.enter(&j.entries)
	return protocol.Accepted
}

func (m *model) addRecord(v *protocol.Verified, by actor, j *journalModel, a *protocol.AddRecord) protocol.Reason {
	patient, delegate := v.Body.Signer.Kind == protocol.ActorPatient, v.Body.Signer.Kind == protocol.ActorDelegate
	if !patient && !delegate && a.Relation == protocol.RelationStatement {
		return protocol.NotEntitled
	}
	if j == nil {
		return protocol.UnknownJournal
	}
	if j.closed {
		return protocol.JournalClosed
	}
	if delegate && !m.acts(v, j, a.Label) {
		return protocol.BeyondDelegation
	}
	q := question{by: by, write: true, purpose: protocol.PurposeTreat, now: m.now, label: a.Label, record: a.Record, credential: by.credential}
	if reason, _ := j.decide(q); reason != protocol.Accepted && !patient && !delegate {
		return protocol.NotPermitted
	}
	if a.Generation != 1 {
		return protocol.WrongGeneration
	}
	if _, exists := m.records[a.Record]; exists {
		return protocol.RecordExists
	}
	if patient || delegate {
		most := protocol.OwnRecordsJournalMax
		if delegate {
			most = protocol.OwnRecordsDelegatesMax
		}
		switch {
		case a.Size > protocol.OwnRecordBytesMax:
			return protocol.OwnRecordTooLarge
		case m.ownRecords(j) >= most:
			return protocol.TooManyOwnRecords
		}
	}
	if reason := m.relate(by, j, a); reason != protocol.Accepted {
		return reason
	}
	put(m, m.records, a.Record, recordModel{j.id, a.Label, a.Capsule})
	change(m, &j.records, append(slices.Clone(j.records), a.Record))
	m.enter(&j.entries)
	return protocol.Accepted
}

// ownRecords counts what patient and delegates wrote and what is not off the shelves yet.
func (m *model) ownRecords(j *journalModel) (n int) {
	for _, r := range j.records {
		f := m.fates[r]
		if f.member.IsZero() && (!f.erased || slices.ContainsFunc(j.pending, func(e *erasureModel) bool { return slices.Contains(e.covered, r) })) {
			n++
		}
	}
	return n
}

func (m *model) grant(v *protocol.Verified, i int, j *journalModel, a *protocol.Grant) protocol.Reason {
	if j.closed {
		return protocol.JournalClosed
	}
	r, ok := m.rules[string(a.Policy)]
	if !ok {
		return protocol.BadPolicy
	}
	var by delegationModel
	if v.Body.Signer.Kind == protocol.ActorDelegate {
		by, _ = j.people.delegation(v.Body.Signer.Key)
		if by.level < protocol.LevelShare || a.NotAfter > by.until || r.forbid && by.level < protocol.LevelAct {
			return protocol.BeyondDelegation
		}
	}
	if a.NotAfter <= m.now || a.NotAfter > m.now+protocol.ContractWindowMillisMax {
		return protocol.BadWindow
	}
	active := 0
	var oldest *contract
	for _, c := range j.contracts {
		if c.state == 1 {
			active++
		} else if oldest == nil || c.over < oldest.over || c.over == oldest.over && bytes.Compare(c.id[:], oldest.id[:]) < 0 {
			oldest = c
		}
	}
	if active >= protocol.ContractsJournalMax {
		return protocol.TooManyContracts
	}
	kept := slices.Clone(j.contracts)
	if len(kept) >= 2*protocol.ContractsJournalMax {
		kept = slices.DeleteFunc(kept, func(c *contract) bool { return c == oldest })
	}
	change(m, &j.contracts, append(kept, &contract{id: protocol.DerivedContractID(v.ID, i), rule: r, notBefore: a.NotBefore, notAfter: a.NotAfter,
		usesMax: a.UsesMax, state: 1, by: by.key, within: by.labels, cause: v.ID}))
	m.enter(&j.entries)
	return protocol.Accepted
}

func (m *model) revoke(v *protocol.Verified, j *journalModel, a *protocol.Revoke) protocol.Reason {
	for _, c := range j.contracts {
		if c.id == a.Contract {
			if v.Body.Signer.Kind == protocol.ActorDelegate {
				by, _ := j.people.delegation(v.Body.Signer.Key)
				if by.level < protocol.LevelShare || by.level < protocol.LevelAct && c.by != by.key {
					return protocol.BeyondDelegation
				}
			}
			if c.state != 1 {
				return protocol.ContractOver
			}
			change(m, &c.state, 3)
			change(m, &c.over, m.now)
			m.enter(&j.entries)
			return protocol.Accepted
		}
	}
	return protocol.UnknownContract
}

// request decides on an access: every group must have something permitted.
func (m *model) request(v *protocol.Verified, i int, by actor, j *journalModel, a *protocol.RequestAccess) {
	m.enter(&j.entries)
	id, glass := protocol.DerivedAccessID(v.ID, i), !a.Reason.IsZero()
	if glass {
		if _, _, against := m.mayBreak(by, j); against != protocol.Accepted {
			put(m, m.outcomes, id, protocol.AccessOutcome{Reason: against})
			return
		}
	}
	type item struct {
		label  protocol.Label
		record protocol.RecordID // that is decided on
		opens  protocol.RecordID
	}
	var groups [][]item
	for _, l := range a.Labels {
		var g []item
		for _, r := range j.records {
			if m.records[r].label == l && !m.fates[r].erased {
				g = append(g, item{l, m.subject(r), r})
			}
		}
		if len(g) == 0 {
			g = []item{{label: l}}
		}
		groups = append(groups, g)
	}
	for _, r := range a.Records {
		g := []item{{}}
		if row, ok := m.records[r]; ok && row.journal == j.id {
			g[0] = item{row.label, m.subject(r), r}
			for _, s := range m.fates[r].remarks {
				if !m.fates[r].erased && !m.fates[s].erased {
					g = append(g, item{row.label, r, s})
				}
			}
		}
		groups = append(groups, g)
	}
	ask := func(l protocol.Label, r protocol.RecordID) (protocol.Reason, []protocol.ContractID) {
		return j.decide(question{by: by, purpose: a.Purpose, now: m.now, label: l, record: r, credential: by.credential, glass: glass})
	}
	out := protocol.AccessOutcome{Permitted: true, Deadline: m.now + m.params.AccessMillis}
	for _, g := range groups {
		any := false
		for _, it := range g {
			reason, by := ask(it.label, it.record)
			if reason == protocol.Accepted {
				any = true
				out.Contracts = append(out.Contracts, by...)
				if !it.opens.IsZero() && !slices.Contains(out.Records, it.opens) {
					out.Records = append(out.Records, it.opens)
				}
			}
		}
		if any && m.fates[g[0].opens].erased {
			put(m, m.outcomes, id, protocol.AccessOutcome{Reason: protocol.RecordErased})
			return
		}
		if !any {
			reason, by := ask(g[0].label, g[0].record)
			put(m, m.outcomes, id, protocol.AccessOutcome{Reason: reason, Contracts: by})
			return
		}
	}
	row := accessModel{journal: j.id, reader: v.Body.Signer, purpose: a.Purpose, records: out.Records}
	if glass {
		s := m.breakGlass(id, by, j, a.Reason)
		row.session, out.Deadline = s.id, min(out.Deadline, s.ends)
	}
	out.Contracts = sortIDs(out.Contracts)
	for _, ground := range out.Contracts {
		c := j.contracts[slices.IndexFunc(j.contracts, func(c *contract) bool { return c.id == ground })]
		change(m, &c.uses, c.uses+1)
		if c.usesMax > 0 && c.uses == c.usesMax {
			m.happens(j, protocol.EventContractUsedUp, m.cause, protocol.ContractEvent{Contract: c.id})
		}
	}
	row.grounds, row.deadline = out.Contracts, out.Deadline
	put(m, m.outcomes, id, out)
	put(m, m.accesses, id, row)
}

// requestOwn is a patient's reading of their own journal: whatever is named, if it is there.
func (m *model) requestOwn(v *protocol.Verified, i int, j *journalModel, a *protocol.RequestAccess) protocol.Reason {
	id := protocol.DerivedAccessID(v.ID, i)
	if a.Purpose != protocol.PurposePatientRequest {
		m.enter(&j.entries)
		put(m, m.outcomes, id, protocol.AccessOutcome{Reason: protocol.WrongPurpose})
		return protocol.Accepted
	}
	out := protocol.AccessOutcome{Permitted: true, Deadline: m.now + m.params.AccessMillis}
	for _, l := range a.Labels {
		for _, r := range j.records {
			if m.records[r].label == l && !m.fates[r].erased {
				out.Records = append(out.Records, r)
			}
		}
	}
	for _, r := range a.Records {
		if row, ok := m.records[r]; !ok || row.journal != j.id {
			return protocol.UnknownRecord
		}
		if m.fates[r].erased {
			m.enter(&j.entries)
			put(m, m.outcomes, id, protocol.AccessOutcome{Reason: protocol.RecordErased})
			return protocol.Accepted
		}
		for _, one := range append([]protocol.RecordID{r}, m.fates[r].remarks...) {
			if !m.fates[one].erased && !slices.Contains(out.Records, one) {
				out.Records = append(out.Records, one)
			}
		}
	}
	m.enter(&j.entries)
	put(m, m.outcomes, id, out)
	put(m, m.accesses, id, accessModel{journal: j.id, reader: v.Body.Signer, purpose: a.Purpose, records: out.Records, deadline: out.Deadline})
	return protocol.Accepted
}

// refusal says in words why a custodian must not answer; empty: it must.
type refusal string

// mayRelease is what a custodian must find before it answers for a record of an access, at a time: the contracts' part of it.
func (m *model) mayRelease(id protocol.AccessID, record protocol.RecordID, now uint64) refusal {
	a, ok := m.accesses[id]
	switch {
	case !ok || !slices.Contains(a.records, record):
		return "it was not permitted"
	case m.fates[record].erased:
		return "the record is erased"
	case now >= a.deadline:
		return "the access is over"
	}
	switch a.reader.Kind {
	case protocol.ActorPatient:
		if _, reason := m.journals[a.journal].standing(a.reader.Key, now); reason != protocol.Accepted {
			return "the key does not sign for the journal any more"
		}
		return ""
	case protocol.ActorDelegate:
		return m.stillDelegated(a, record, now)
	}
	by := actor{member: protocol.MemberID(a.reader.ID), credential: true}
	if a.reader.Kind == protocol.ActorPractitioner {
		var reason protocol.Reason
		if by, reason = m.practitioner(a.reader, now); reason != protocol.Accepted {
			return "the reader has no standing"
		}
	} else if row := m.members[by.member]; row.key != a.reader.Key || row.removed {
		return "the reader has no standing"
	}
	if !a.session.IsZero() {
		if why := m.sessionStands(a, by); why != "" {
			return why
		}
	}
	j := m.journals[a.journal]
	reason, _ := j.decide(question{by: by, purpose: a.purpose, now: now, label: m.records[record].label, record: m.subject(record), grounds: a.grounds,
		recheck: true, credential: by.credential, glass: !a.session.IsZero()})
	if reason != protocol.Accepted {
		return "the contracts do not permit it any more"
	}
	return ""
}

func seedBytes(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
