package sim

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// peopleModel is who stands in for a patient, in an emergency or by delegation, in plain Go. Its slices are replaced, never changed, so
// that they can be taken back.
type peopleModel struct {
	sessions    []sessionModel // the latest of each practitioner
	delegations []delegationModel
	card        protocol.CardID
}

type sessionModel struct {
	id           protocol.AccessID // of the access that opened it
	practitioner protocol.PractitionerID
	member       protocol.MemberID
	ends, due    uint64
	missed       bool
	verdict      protocol.Verdict // 0: not reviewed
	cause        protocol.ActionID
}

type delegationModel struct {
	key, parent protocol.PublicKey // parent zero: the patient
	level       protocol.Level
	labels      []protocol.Label // none: all
	from, until uint64
	may         bool
	cause       protocol.ActionID
}

func (s sessionModel) goesOn(now uint64) bool { return s.verdict == 0 && now < s.ends }

func (s sessionModel) event() protocol.BreakGlassEvent {
	return protocol.BreakGlassEvent{Session: s.id, Practitioner: s.practitioner, Ends: s.ends, ReviewDue: s.due}
}

func (d delegationModel) inForce(now uint64) bool { return d.from <= now && now < d.until }

// within tells whether a scope, which may be everything, contains a class.
func within(scope []protocol.Label, l protocol.Label) bool {
	return len(scope) == 0 || slices.Contains(scope, l)
}

func (p peopleModel) session(who protocol.PractitionerID) (s sessionModel, ok bool) {
	i := slices.IndexFunc(p.sessions, func(s sessionModel) bool { return s.practitioner == who })
	if i < 0 {
		return s, false
	}
	return p.sessions[i], true
}

func (p peopleModel) delegation(key protocol.PublicKey) (d delegationModel, ok bool) {
	i := slices.IndexFunc(p.delegations, func(d delegationModel) bool { return d.key == key })
	if i < 0 {
		return d, false
	}
	return p.delegations[i], true
}

// depth is how many delegations lie between the patient and this one, itself included.
func (p peopleModel) depth(d delegationModel) int {
	if d.parent.IsZero() {
		return 1
	}
	parent, _ := p.delegation(d.parent)
	return 1 + p.depth(parent)
}

// descends tells whether a delegation is somebody's own or comes from it.
func (p peopleModel) descends(d delegationModel, from protocol.PublicKey) bool {
	if d.key == from || d.parent.IsZero() {
		return d.key == from
	}
	parent, _ := p.delegation(d.parent)
	return p.descends(parent, from)
}

// keepSession puts a practitioner's latest session in the place of the one before.
func (m *model) keepSession(j *journalModel, s sessionModel) {
	others := slices.DeleteFunc(slices.Clone(j.people.sessions), func(o sessionModel) bool { return o.practitioner == s.practitioner })
	change(m, &j.people.sessions, append(others, s))
}

// standsIn carries out what people do for each other; ok is false for other actions.
func (m *model) standsIn(v *protocol.Verified, by actor, j *journalModel, action protocol.Action) (reason protocol.Reason, ok bool) {
	patient, delegate := v.Body.Signer.Kind == protocol.ActorPatient, v.Body.Signer.Kind == protocol.ActorDelegate
	switch a := action.(type) {
	case *protocol.SetCard:
		if !patient {
			return protocol.NotEntitled, true
		}
		return m.setCard(j, a), true
	case *protocol.Delegate:
		if !patient && !delegate {
			return protocol.NotEntitled, true
		}
		return m.delegate(v, j, a), true
	case *protocol.EndDelegation:
		if !patient && !delegate {
			return protocol.NotEntitled, true
		}
		return m.endDelegation(v, j, a), true
	case *protocol.ReviewBreakGlass:
		if patient || delegate {
			return protocol.NotEntitled, true
		}
		return m.review(by, j, a), true
	}
	return 0, false
}

func (m *model) setCard(j *journalModel, a *protocol.SetCard) protocol.Reason {
	if j.closed && !a.Card.IsZero() {
		return protocol.JournalClosed
	}
	if of, ok := m.cards[a.Card]; ok && of != j.id {
		return protocol.CardTaken
	}
	m.dropCard(j)
	if !a.Card.IsZero() {
		put(m, m.cards, a.Card, j.id)
		change(m, &j.people.card, a.Card)
	}
	m.enter(&j.entries)
	return protocol.Accepted
}

func (m *model) dropCard(j *journalModel) {
	if card := j.people.card; !card.IsZero() {
		take(m, m.cards, card)
		change(m, &j.people.card, protocol.CardID{})
	}
}

func (m *model) delegate(v *protocol.Verified, j *journalModel, a *protocol.Delegate) protocol.Reason {
	if j.closed {
		return protocol.JournalClosed
	}
	d := delegationModel{key: a.Key, level: a.Level, labels: a.Labels, from: a.NotBefore, until: a.NotAfter, may: a.MayDelegate, cause: v.ID}
	if v.Body.Signer.Kind == protocol.ActorDelegate {
		parent, _ := j.people.delegation(v.Body.Signer.Key) // none of its own any more: it gives nothing
		outside := len(parent.labels) > 0 && len(a.Labels) == 0 || slices.ContainsFunc(a.Labels, func(l protocol.Label) bool { return !within(parent.labels, l) })
		if !parent.may || a.Level > parent.level || outside || a.NotAfter > parent.until {
			return protocol.BeyondDelegation
		}
		d.parent = parent.key
	}
	if !protocol.VerifySignature(a.Key, protocol.DelegateProofMessage(m.chain, j.id, a.Key), a.Proof) {
		return protocol.BadProof
	}
	if a.NotAfter <= m.now || a.NotAfter > m.now+protocol.DelegationWindowMillisMax {
		return protocol.BadWindow
	}
	if _, exists := j.people.delegation(a.Key); exists {
		return protocol.DelegateExists
	}
	if len(j.people.delegations) >= protocol.DelegationsJournalMax || j.people.depth(d) > protocol.DelegationDepthMax {
		return protocol.TooManyDelegations
	}
	change(m, &j.people.delegations, append(slices.Clone(j.people.delegations), d))
	m.enter(&j.entries)
	return protocol.Accepted
}

// acts tells whether a delegate may write what is of a label on the patient's behalf.
func (m *model) acts(v *protocol.Verified, j *journalModel, l protocol.Label) bool {
	d, _ := j.people.delegation(v.Body.Signer.Key)
	return d.level >= protocol.LevelAct && within(d.labels, l)
}

func (m *model) endDelegation(v *protocol.Verified, j *journalModel, a *protocol.EndDelegation) protocol.Reason {
	d, ok := j.people.delegation(a.Key)
	if !ok {
		return protocol.UnknownDelegation
	}
	if v.Body.Signer.Kind == protocol.ActorDelegate && !j.people.descends(d, v.Body.Signer.Key) {
		return protocol.BeyondDelegation
	}
	m.enter(&j.entries)
	for _, gone := range m.dismiss(j, d, m.cause) {
		if gone != d.key {
			m.happens(j, protocol.EventDelegationEnded, m.cause, protocol.DelegationEvent{Key: gone})
		}
	}
	return protocol.Accepted
}

// dismiss takes a delegation away with all that come from it, and ends what they granted.
func (m *model) dismiss(j *journalModel, d delegationModel, cause protocol.ActionID) (gone []protocol.PublicKey) {
	inOrder := slices.Clone(j.people.delegations)
	slices.SortFunc(inOrder, func(a, b delegationModel) int { return bytes.Compare(a.key[:], b.key[:]) })
	gone = []protocol.PublicKey{d.key}
	for i := 0; i < len(gone); i++ {
		for _, o := range inOrder {
			if o.parent == gone[i] {
				gone = append(gone, o.key)
			}
		}
	}
	change(m, &j.people.delegations, slices.DeleteFunc(inOrder, func(o delegationModel) bool { return slices.Contains(gone, o.key) }))
	granted := slices.DeleteFunc(slices.Clone(j.contracts), func(c *contract) bool { return c.state != 1 || !slices.Contains(gone, c.by) })
	slices.SortFunc(granted, func(a, b *contract) int { return bytes.Compare(a.id[:], b.id[:]) })
	for _, c := range granted {
		change(m, &c.state, 3)
		change(m, &c.over, m.now)
		m.happens(j, protocol.EventContractEnded, cause, protocol.ContractEvent{Contract: c.id})
	}
	return gone
}

// endDelegations ends the delegations that are due, as model.end ends contracts.
func (m *model) endDelegations() {
	type due struct {
		j *journalModel
		d delegationModel
	}
	var all []due
	for _, j := range m.journals {
		for _, d := range j.people.delegations {
			if d.until <= m.now {
				all = append(all, due{j, d})
			}
		}
	}
	slices.SortFunc(all, func(a, b due) int {
		return cmp.Or(cmp.Compare(a.d.until, b.d.until), bytes.Compare(a.j.id[:], b.j.id[:]), bytes.Compare(a.d.key[:], b.d.key[:]))
	})
	for _, e := range all[:min(len(all), protocol.EndsBlockMax)] {
		if _, still := e.j.people.delegation(e.d.key); !still {
			continue // it went with one that it came from
		}
		for _, gone := range m.dismiss(e.j, e.d, e.d.cause) {
			m.happens(e.j, protocol.EventDelegationEnded, e.d.cause, protocol.DelegationEvent{Key: gone})
		}
	}
}

// missReviews writes down the reviews that are overdue, as model.end ends contracts.
func (m *model) missReviews() {
	type due struct {
		j *journalModel
		s sessionModel
	}
	var all []due
	for _, j := range m.journals {
		for _, s := range j.people.sessions {
			if s.verdict == 0 && !s.missed && s.due <= m.now {
				all = append(all, due{j, s})
			}
		}
	}
	slices.SortFunc(all, func(a, b due) int {
		return cmp.Or(cmp.Compare(a.s.due, b.s.due), bytes.Compare(a.j.id[:], b.j.id[:]), bytes.Compare(a.s.practitioner[:], b.s.practitioner[:]))
	})
	for _, e := range all[:min(len(all), protocol.EndsBlockMax)] {
		e.s.missed = true
		m.keepSession(e.j, e.s)
		m.happens(e.j, protocol.EventReviewMissed, e.s.cause, e.s.event())
	}
}

func (m *model) review(by actor, j *journalModel, a *protocol.ReviewBreakGlass) protocol.Reason {
	if by.practitioner.IsZero() || by.role != protocol.RoleAdministrator || !by.credential || by.practitioner == a.Practitioner {
		return protocol.NotAReviewer
	}
	if j == nil {
		return protocol.UnknownSession
	}
	s, ok := j.people.session(a.Practitioner)
	switch {
	case ok && s.member != by.member:
		return protocol.NotAReviewer
	case !ok || s.id != a.Session:
		return protocol.UnknownSession
	case s.verdict != 0:
		return protocol.SessionReviewed
	}
	s.verdict = a.Verdict
	m.keepSession(j, s)
	m.enter(&j.entries)
	return protocol.Accepted
}

// reasonIsNew tells whether a sealed reason was never given, or in this practitioner's session that goes on.
func (m *model) reasonIsNew(v *protocol.Verified, j *journalModel, reason protocol.Hash) bool {
	of, given := m.reasons[reason]
	if reason.IsZero() || !given {
		return true
	}
	s, ok := j.people.session(protocol.PractitionerID(v.Body.Signer.ID))
	return ok && v.Body.Signer.Kind == protocol.ActorPractitioner && s.goesOn(m.now) && s.id == of
}

// mayBreak says what is against breaking the glass before any contract is asked, and which session goes on.
func (m *model) mayBreak(by actor, j *journalModel) (s sessionModel, going bool, against protocol.Reason) {
	switch {
	case !by.credential:
		return s, false, protocol.NoCredential
	case by.practitioner.IsZero() || by.role != protocol.RoleEmergencyPhysician && by.role != protocol.RoleParamedic:
		return s, false, protocol.NotEmergencyRole
	}
	s, ok := j.people.session(by.practitioner)
	switch {
	case !ok || s.verdict != 0:
		return sessionModel{}, false, protocol.Accepted
	case !s.goesOn(m.now):
		return s, false, protocol.ReviewDue
	}
	return s, true, protocol.Accepted
}

// breakGlass enters a permitted access in the session that goes on, or begins one.
func (m *model) breakGlass(id protocol.AccessID, by actor, j *journalModel, reason protocol.Hash) sessionModel {
	s, going, _ := m.mayBreak(by, j)
	if !going {
		s = sessionModel{id: id, practitioner: by.practitioner, member: by.member, ends: m.now + min(protocol.BreakGlassSessionMillis, m.params.ReviewMillis),
			due: m.now + m.params.ReviewMillis, cause: m.cause}
		m.keepSession(j, s)
		m.happens(j, protocol.EventBreakGlassOpened, m.cause, s.event())
	}
	put(m, m.reasons, reason, s.id)
	return s
}

// requestAsDelegate is a delegate's reading: whatever is named, if all of it lies in the scope.
func (m *model) requestAsDelegate(v *protocol.Verified, i int, j *journalModel, a *protocol.RequestAccess) {
	m.enter(&j.entries)
	id := protocol.DerivedAccessID(v.ID, i)
	d, _ := j.people.delegation(v.Body.Signer.Key)
	if a.Purpose != protocol.PurposeFamilyRequest && a.Purpose != protocol.PurposePowerOfAttorney && a.Purpose != protocol.PurposePatientRequest {
		put(m, m.outcomes, id, protocol.AccessOutcome{Reason: protocol.WrongPurpose})
		return
	}
	out := protocol.AccessOutcome{Permitted: true, Deadline: min(m.now+m.params.AccessMillis, d.until)}
	reaches, erased := d.inForce(m.now), false
	for _, l := range a.Labels {
		reaches = reaches && within(d.labels, l)
		for _, r := range j.records {
			if m.records[r].label == l && !m.fates[r].erased {
				out.Records = append(out.Records, r)
			}
		}
	}
	for _, r := range a.Records {
		row, ok := m.records[r]
		if !ok || row.journal != j.id {
			reaches = reaches && len(d.labels) == 0 // a record that is not there has no class: only who has all of them asks
			continue
		}
		reaches, erased = reaches && within(d.labels, row.label), erased || m.fates[r].erased
		for _, one := range append([]protocol.RecordID{r}, m.fates[r].remarks...) {
			if !m.fates[one].erased && !slices.Contains(out.Records, one) {
				out.Records = append(out.Records, one)
			}
		}
	}
	switch {
	case !reaches:
		out = protocol.AccessOutcome{Reason: protocol.OutsideDelegation}
	case erased:
		out = protocol.AccessOutcome{Reason: protocol.RecordErased}
	default:
		put(m, m.accesses, id, accessModel{journal: j.id, reader: v.Body.Signer, purpose: a.Purpose, records: out.Records, deadline: out.Deadline})
	}
	put(m, m.outcomes, id, out)
}

// What is against an access by a delegate, or one that broke the glass.
const (
	delegationOver refusal = "the delegation is over"
	unjustified    refusal = "the session was called unjustified"
	leftTheRoles   refusal = "the reader left the emergency roles"
)

// stillDelegated is what a custodian asks of a delegate's access again.
func (m *model) stillDelegated(a accessModel, record protocol.RecordID, now uint64) refusal {
	d, ok := m.journals[a.journal].people.delegation(a.reader.Key)
	switch {
	case !ok || !d.inForce(now):
		return delegationOver
	case !within(d.labels, m.records[record].label):
		return "it does not reach the record any more"
	}
	return ""
}

// sessionStands is what a custodian asks of a break-glass access again, before the contracts.
func (m *model) sessionStands(a accessModel, by actor) refusal {
	s, ok := m.journals[a.journal].people.session(by.practitioner)
	switch {
	case !ok || s.id != a.session:
		return "another session has begun"
	case s.verdict == protocol.VerdictUnjustified:
		return unjustified
	case by.role != protocol.RoleEmergencyPhysician && by.role != protocol.RoleParamedic:
		return leftTheRoles
	}
	return ""
}
