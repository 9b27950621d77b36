package sim

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// aim is something that every history of some length must have met, and how somebody brings it about. Chance alone would miss most of
// them: they need a practitioner in the right role with a session, a delegate with a scope, the right hour.
type aim struct {
	what string
	hope protocol.Reason // of the envelope; if that is accepted, of the access that it asks for
	move func(*town, scene) move
}

// refused, as a hope, is any refusal by the contracts.
const refused = protocol.ReasonsEnd

// move is what somebody sends; the zero move: nothing can be done here now. One that only prepares does not count as met.
type move struct {
	v        *protocol.Verified
	prepares bool
}

func prepares(v *protocol.Verified) move { return move{v, true} }
func does(v *protocol.Verified) move     { return move{v: v} }

// scene is an open journal that is its patient's, and the patient.
type scene struct {
	patient *ledgertest.Who
	in      protocol.JournalID
	j       *journalModel
}

// pursuit is an aim that takes several steps, each in a block of its own, and where they are taken.
type pursuit struct {
	aim   aim
	scene scene
	left  int    // steps until it is given up
	at    uint64 // height of the last one
}

const pursuitSteps = 12

// standingIn is what people do for each other in an emergency, by delegation, and about amendments: mostly what this history has not met.
func (t *town) standingIn() *protocol.Verified {
	unmet, height := t.unmet(), t.L.Head().Height
	if p := &t.pursued; height > p.at && len(unmet) > 0 && t.n(8) > 0 {
		p.at = height
		if p.left--; p.left < 0 || !t.usable(p.scene.j) || !slices.ContainsFunc(unmet, func(a aim) bool { return a.what == p.aim.what }) {
			s, ok := t.scene(scene{})
			if !ok {
				return t.opening(nil)
			}
			*p = pursuit{pick(t, unmet), s, pursuitSteps, height}
		}
		t.current(p.scene.patient)
		if v := t.try(p.aim, p.scene); v != nil {
			return v
		}
		p.left = 0 // not now
	}
	s, ok := t.scene(scene{})
	if !ok {
		return t.opening(nil)
	}
	if len(unmet) == 0 || t.n(3) == 0 {
		unmet = allAims
	}
	for range 4 {
		if v := t.try(pick(t, unmet), s); v != nil {
			return v
		}
	}
	return t.sign(t.reader(), s.in, t.access(s.in))
}

func (t *town) try(a aim, s scene) *protocol.Verified {
	m := a.move(t, s)
	if m.v != nil && !m.prepares {
		t.aimed[m.v.ID] = a
	}
	return m.v
}

func (t *town) unmet() []aim {
	return slices.DeleteFunc(slices.Clone(allAims), func(a aim) bool {
		return t.met[a.what] > 0 || a.what == aDayIsOver && t.model.params.ReviewMillis <= protocol.BreakGlassSessionMillis
	})
}

// usable tells whether a journal is open, and its patient's.
func (t *town) usable(j *journalModel) bool { return j != nil && !j.closed && j.control.claim.IsZero() }

// reached notes what an envelope has met.
func (t *town) reached(v *protocol.Verified, result protocol.Reason) {
	a, ok := t.aimed[v.ID]
	if !ok {
		return
	}
	if _, ok := v.Actions[0].(*protocol.RequestAccess); ok && result == protocol.Accepted {
		result = t.model.outcomes[protocol.DerivedAccessID(v.ID, 0)].Reason
	}
	if result == a.hope || a.hope == refused && slices.Contains(order, result) {
		if t.met[a.what]++; t.met[a.what] == 1 {
			t.metAt = t.L.Head().Height
		}
	}
}

// scene finds a journal, mostly one with records, and another than the one given.
func (t *town) scene(but scene) (scene, bool) {
	var all, shelved []scene
	for _, p := range t.patients {
		j := t.model.journals[p.Journal()]
		if !t.usable(j) || j == but.j {
			continue
		}
		s := scene{p, j.id, j}
		if all = append(all, s); len(t.onShelf(s)) > 0 {
			shelved = append(shelved, s)
		}
	}
	if len(all) == 0 || but.j == nil && len(all) < 3 && t.n(4) == 0 {
		return scene{}, false
	}
	if len(shelved) > 0 && t.n(6) > 0 {
		all = shelved
	}
	s := pick(t, all)
	t.current(s.patient)
	return s, true
}

// onShelf are the journal's records that are not erased, and no statements.
func (t *town) onShelf(s scene) []protocol.RecordID {
	return slices.DeleteFunc(slices.Clone(s.j.records), func(r protocol.RecordID) bool {
		return t.model.fates[r].erased || !t.model.fates[r].about.IsZero()
	})
}

// shelving puts a record into a journal that has none; the zero move if it has.
func (t *town) shelving(s scene) move {
	if len(t.onShelf(s)) > 0 {
		return move{}
	}
	member := t.inStanding()
	for _, l := range labels {
		q := question{by: actor{member: member.Signer.Member(), credential: true}, write: true, purpose: protocol.PurposeTreat, now: t.Time, label: l, credential: true}
		if reason, _ := s.j.decide(q); reason == protocol.Accepted {
			return prepares(t.sign(member, s.in, t.recordOf(s.in, l)))
		}
	}
	return prepares(t.sign(s.patient, s.in, t.contract(rule{write: true}, 30*day)))
}

const day = 24 * 3600_000

// inStanding is a member that acts.
func (t *town) inStanding() *ledgertest.Who {
	return t.current(pick(t, slices.DeleteFunc(slices.Clone(t.Members), func(w *ledgertest.Who) bool {
		row, ok := t.model.members[w.Signer.Member()]
		return !ok || row.removed
	})))
}

func (t *town) member(id protocol.MemberID) *ledgertest.Who {
	return t.current(t.Members[slices.IndexFunc(t.Members, func(w *ledgertest.Who) bool { return w.Signer.Member() == id })])
}

// staff is a practitioner of a member who fits; nil if there is none.
func (t *town) staff(fits func(protocol.PractitionerID, practitionerModel) bool) *ledgertest.Who {
	var all []*ledgertest.Who
	for _, w := range t.practitioners {
		id := protocol.PractitionerID(w.Signer.ID)
		if p, ok := t.model.practitioners[id]; ok && !t.model.members[p.member].removed && fits(id, p) {
			all = append(all, w)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return t.current(pick(t, all))
}

func (t *town) credential(p practitionerModel) bool {
	return p.status == protocol.PractitionerActive && t.Time < p.validUntil
}

func emergency(r protocol.Role) bool {
	return r == protocol.RoleEmergencyPhysician || r == protocol.RoleParamedic
}

// hiring registers somebody new in a role.
func (t *town) hiring(by *ledgertest.Who, role protocol.Role) move {
	name := t.name("practitioner")
	key := t.newKey(name)
	who := &ledgertest.Who{Name: name, Key: t.keyring[key], Signer: protocol.PractitionerSigner(protocol.PractitionerID(key[:16]), key)}
	t.practitioners = append(t.practitioners, who)
	t.owners[protocol.PractitionerID(who.Signer.ID)] = by
	return prepares(t.sign(by, protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: protocol.PractitionerID(who.Signer.ID), Key: key, Role: role,
		Status: protocol.PractitionerActive, ValidUntil: t.Time + 20*day, Commitment: protocol.Hash{1}}))
}

// restating states a practitioner anew, with something else.
func (t *town) restating(who protocol.PractitionerID, change func(*protocol.SetPractitioner)) *protocol.Verified {
	p := t.model.practitioners[who]
	a := &protocol.SetPractitioner{Practitioner: who, Key: p.key, Role: p.role, Status: p.status, ValidUntil: p.validUntil, Commitment: protocol.Hash{1}}
	change(a)
	return t.sign(t.member(p.member), protocol.JournalID{}, a)
}

// medic is somebody in an emergency role with standing, whose last session in this journal fits; nil if there is nobody.
func (t *town) medic(s scene, fits func(last sessionModel, ok bool) bool) *ledgertest.Who {
	return t.staff(func(id protocol.PractitionerID, p practitionerModel) bool {
		return emergency(p.role) && t.credential(p) && fits(s.j.people.session(id))
	})
}

func (t *town) anyMedic(s scene) *ledgertest.Who {
	return t.medic(s, func(last sessionModel, ok bool) bool { return !ok || last.verdict != 0 || last.goesOn(t.Time) })
}

func (t *town) hiringMedic() move {
	return t.hiring(t.inStanding(), pick(t, []protocol.Role{protocol.RoleEmergencyPhysician, protocol.RoleParamedic}))
}

// reason is a sealed reason that nobody gave before.
func (t *town) reason() protocol.Hash {
	t.sealed = append(t.sealed, sha256.Sum256([]byte(t.name("reason"))))
	return t.sealed[len(t.sealed)-1]
}

// given is a reason that was given, in this session or outside it; zero: none was.
func (t *town) given(session protocol.AccessID, inside bool) protocol.Hash {
	var all []protocol.Hash
	for _, r := range t.sealed {
		if of, ok := t.model.reasons[r]; ok && (of == session) == inside {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return protocol.Hash{}
	}
	return pick(t, all)
}

// breaks has somebody break the glass where the contracts answer so.
func (t *town) breaks(s scene, who *ledgertest.Who, reason protocol.Hash, answer protocol.Reason) (protocol.Action, bool) {
	purpose := pick(t, []protocol.Purpose{protocol.PurposeBreakGlass, protocol.PurposeBreakGlass, protocol.PurposeEmergency})
	var all, shelved []protocol.Label
	for _, l := range labels {
		q := question{by: actor{member: protocol.MemberID(who.Signer.ID)}, purpose: purpose, now: t.Time, label: l, credential: true, glass: true}
		if id := protocol.PractitionerID(who.Signer.ID); who.Signer.Kind == protocol.ActorPractitioner {
			q.by = actor{member: t.model.practitioners[id].member, practitioner: id}
		}
		if got, _ := s.j.decide(q); got != answer {
			continue
		}
		if all = append(all, l); slices.ContainsFunc(t.onShelf(s), func(r protocol.RecordID) bool { return t.model.records[r].label == l }) {
			shelved = append(shelved, l)
		}
	}
	if len(shelved) > 0 {
		all = shelved
	}
	if len(all) == 0 {
		return nil, false
	}
	return &protocol.RequestAccess{Labels: []protocol.Label{pick(t, all)}, Purpose: purpose, OneTime: t.oneTime, OneTimeKEM: protocol.OneTimeX25519, Reason: reason}, true
}

// breaking has somebody break the glass, for which a contract is granted if there is none.
func (t *town) breaking(s scene, who *ledgertest.Who, reason protocol.Hash) move {
	a, ok := t.breaks(s, who, reason, protocol.Accepted)
	if !ok {
		return prepares(t.sign(s.patient, s.in, t.contract(rule{glass: true}, 30*day)))
	}
	return does(t.sign(who, s.in, a))
}

const aDayIsOver = "the glass after a day, before the review is due"

// session finds a session in any journal that fits.
func (t *town) session(fits func(sessionModel) bool) (in protocol.JournalID, s sessionModel, ok bool) {
	type place struct {
		in protocol.JournalID
		s  sessionModel
	}
	var all []place
	for _, p := range t.patients {
		if j := t.model.journals[p.Journal()]; j != nil {
			for _, s := range j.people.sessions {
				if !t.model.members[s.member].removed && fits(s) {
					all = append(all, place{j.id, s})
				}
			}
		}
	}
	if len(all) == 0 {
		return in, s, false
	}
	one := pick(t, all)
	return one.in, one.s, true
}

// breakingAnew opens a session.
func breakingAnew(t *town, s scene) move {
	if m := t.shelving(s); m.v != nil {
		return m
	}
	who := t.medic(s, func(last sessionModel, ok bool) bool { return !ok || last.verdict != 0 })
	if who == nil {
		return t.hiringMedic()
	}
	return t.breaking(s, who, t.reason())
}

// reviewing has somebody who fits review a session that fits, once there are both.
func reviewing(session func(*town, sessionModel) bool, verdict protocol.Verdict, by func(*town, sessionModel, protocol.PractitionerID, practitionerModel) bool,
	finding func(*town, sessionModel) move) func(*town, scene) move {
	return func(t *town, here scene) move {
		in, s, ok := t.session(func(s sessionModel) bool { return session(t, s) })
		if !ok {
			return move{breakingAnew(t, here).v, true}
		}
		who := t.staff(func(id protocol.PractitionerID, p practitionerModel) bool { return by(t, s, id, p) })
		if who == nil {
			return finding(t, s)
		}
		return does(t.sign(who, in, &protocol.ReviewBreakGlass{Practitioner: s.practitioner, Session: s.id, Verdict: verdict}))
	}
}

func hiringAdministrator(t *town, s sessionModel) move {
	return t.hiring(t.member(s.member), protocol.RoleAdministrator)
}

func waits(_ *town, s sessionModel) bool { return s.verdict == 0 }

func aReviewer(t *town, s sessionModel, id protocol.PractitionerID, p practitionerModel) bool {
	return p.role == protocol.RoleAdministrator && t.credential(p) && p.member == s.member && id != s.practitioner
}

// live finds an access of late that custodians would serve now.
func (t *town) live(fits func(accessModel) bool) (accessModel, bool) {
	for _, id := range t.accesses[max(0, len(t.accesses)-40):] {
		a, ok := t.model.accesses[id]
		if ok && fits(a) && slices.ContainsFunc(a.records, func(r protocol.RecordID) bool {
			return t.model.mayRelease(id, r, t.Time) == "" && t.model.records[r] == t.madeFor[r]
		}) {
			return a, true
		}
	}
	return accessModel{}, false
}

// ofGlass tells whether an access belongs to a session that waits for its review.
func (t *town) ofGlass(a accessModel) bool {
	s, ok := t.model.journals[a.journal].people.session(protocol.PractitionerID(a.reader.ID))
	return ok && a.session == s.id && s.verdict == 0
}

// delegateOf is a delegate as a signer.
func (t *town) delegateOf(in protocol.JournalID, key protocol.PublicKey) *ledgertest.Who {
	return &ledgertest.Who{Name: "delegate", Key: t.keyring[key], Signer: protocol.DelegateSigner(in, key)}
}

// delegating makes the action for a new key.
func (t *town) delegating(in protocol.JournalID, d delegationModel) *protocol.Delegate {
	if d.key.IsZero() {
		d.key = t.aKey("delegate")
	}
	if d.until == 0 {
		d.until = t.Time + uint64([]int{60_000, 3600_000, day, 3 * day}[t.n(4)])
	}
	t.everDelegates = append(t.everDelegates, d.key)
	return &protocol.Delegate{Key: d.key, Proof: t.proof(d.key, protocol.DelegateProofMessage(t.L.Chain(), in, d.key)), Level: d.level, Labels: d.labels,
		NotBefore: d.from, NotAfter: d.until, MayDelegate: d.may}
}

func (t *town) delegation(s scene, fits func(delegationModel) bool) (delegationModel, bool) {
	all := slices.DeleteFunc(slices.Clone(s.j.people.delegations), func(d delegationModel) bool { return !fits(d) })
	if len(all) == 0 {
		return delegationModel{}, false
	}
	return pick(t, all), true
}

// byDelegate has a delegate in force who fits do something; if there is none the patient makes one like want.
func byDelegate(want delegationModel, fits func(delegationModel) bool, act func(*town, scene, delegationModel) (protocol.Action, bool)) func(*town, scene) move {
	return func(t *town, s scene) move {
		d, ok := t.delegation(s, func(d delegationModel) bool { return d.inForce(t.Time) && fits(d) })
		if !ok {
			return t.makingRoom(s, want)
		}
		a, ok := act(t, s, d)
		if !ok {
			return move{}
		}
		return does(t.sign(t.delegateOf(s.in, d.key), s.in, a))
	}
}

// makingRoom delegates, or ends a delegation if there are as many as there may be.
func (t *town) makingRoom(s scene, want delegationModel) move {
	if all := s.j.people.delegations; len(all) >= protocol.DelegationsJournalMax-1 {
		return prepares(t.sign(s.patient, s.in, &protocol.EndDelegation{Key: pick(t, all).key}))
	}
	if want.until == 0 {
		want.until = t.Time + 3*day
	}
	return prepares(t.sign(s.patient, s.in, t.delegating(s.in, want)))
}

// byPatient has the patient do something.
func byPatient(act func(*town, scene) (protocol.Action, bool)) func(*town, scene) move {
	return func(t *town, s scene) move {
		a, ok := act(t, s)
		if !ok {
			return move{}
		}
		return does(t.sign(s.patient, s.in, a))
	}
}

// byDevice has one of the patient's devices do something.
func byDevice(act func(*town, scene) (protocol.Action, bool)) func(*town, scene) move {
	return func(t *town, s scene) move {
		devices := slices.DeleteFunc(slices.Clone(s.j.control.devices), func(d deviceModel) bool { return d.revoked != 0 })
		if len(devices) == 0 {
			key := t.newKey(t.name("device"))
			return prepares(t.sign(s.patient, s.in, &protocol.AddDevice{Key: key, Name: protocol.Hash{1},
				Proof: t.proof(key, protocol.DeviceMessage(t.L.Chain(), s.in, key, protocol.Hash{1}))}))
		}
		a, ok := act(t, s)
		if !ok {
			return move{}
		}
		key := pick(t, devices).key
		return does(t.sign(&ledgertest.Who{Name: "device", Key: t.keyring[key], Signer: protocol.PatientSigner(s.in, key)}, s.in, a))
	}
}

// outside is a class outside a scope.
func outside(scope []protocol.Label) protocol.Label {
	return labels[slices.IndexFunc(labels, func(l protocol.Label) bool { return !slices.Contains(scope, l) })]
}

// asksFor is a delegate's request.
func (t *town) asksFor(purpose protocol.Purpose, what []protocol.Label, records ...protocol.RecordID) *protocol.RequestAccess {
	return &protocol.RequestAccess{Labels: what, Records: records, Purpose: purpose, OneTime: t.oneTime, OneTimeKEM: protocol.OneTimeX25519}
}

func (t *town) delegatePurpose() protocol.Purpose {
	return pick(t, []protocol.Purpose{protocol.PurposeFamilyRequest, protocol.PurposePowerOfAttorney, protocol.PurposePatientRequest})
}

func (t *town) child(s scene) (delegationModel, bool) {
	return t.delegation(s, func(d delegationModel) bool { return !d.parent.IsZero() && d.inForce(t.Time) })
}

// grantsOf are the active contracts of a delegate.
func (s scene) grantsOf(key protocol.PublicKey) (out []*contract) {
	for _, c := range s.j.contracts {
		if c.state == 1 && c.by == key {
			out = append(out, c)
		}
	}
	return out
}

func (t *town) newCard() protocol.CardID {
	h := sha256.Sum256([]byte(t.name("card")))
	t.cards = append(t.cards, protocol.CardID(h[:16]))
	return protocol.CardID(h[:16])
}

func setCard(c protocol.CardID) protocol.Action {
	return &protocol.SetCard{Card: c, Sealed: []byte("handle")}
}

// statement is a statement about one of the journal's records, or the move that makes one.
func (t *town) statement(s scene, fits func(record protocol.RecordID) bool) (about, said protocol.RecordID, m move) {
	if m := t.shelving(s); m.v != nil {
		return about, said, m
	}
	all := slices.DeleteFunc(t.onShelf(s), func(r protocol.RecordID) bool { return t.model.fates[r].member.IsZero() || !fits(r) })
	if len(all) == 0 {
		return about, said, move{}
	}
	about = pick(t, all)
	for _, r := range t.model.fates[about].remarks {
		if !t.model.fates[r].erased {
			return about, r, move{}
		}
	}
	a, _ := t.recordOf(s.in, t.model.records[about].label).(*protocol.AddRecord)
	if a.Record == about {
		return about, said, move{}
	}
	a.Relation, a.About = protocol.RelationStatement, about
	return about, said, prepares(t.sign(s.patient, s.in, a))
}

func (t *town) amendment(fits func(amendmentModel) bool) (amendmentModel, bool) {
	var all []amendmentModel
	for _, r := range t.records {
		if a, ok := t.model.amendments[r]; ok && !t.model.members[a.member].removed && fits(a) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return amendmentModel{}, false
	}
	return pick(t, all), true
}

func unanswered(a amendmentModel) bool { return !a.over }

// asking has the patient ask for an amendment of a record that fits.
func asking(fits func(*town, protocol.RecordID) bool) func(*town, scene) move {
	return func(t *town, s scene) move {
		about, said, m := t.statement(s, func(r protocol.RecordID) bool { return fits(t, r) })
		if m.v != nil || said.IsZero() {
			return m
		}
		return does(t.sign(s.patient, s.in, &protocol.RequestAmendment{Record: about, Statement: said}))
	}
}

// asked prepares an amendment that waits for its answer.
func asked(t *town, s scene) move {
	return move{asking(func(t *town, r protocol.RecordID) bool {
		return !t.waitsForAnswer(r)
	})(t, s).v, true}
}

// waitsForAnswer tells whether an amendment of a record waits for its answer.
func (t *town) waitsForAnswer(r protocol.RecordID) bool {
	a, ok := t.model.amendments[r]
	return ok && !a.over
}

// answering has the author, or another member, answer.
func answering(fits func(amendmentModel) bool, author bool, denial protocol.Denial, version protocol.RecordID) func(*town, scene) move {
	return func(t *town, s scene) move {
		a, ok := t.amendment(fits)
		if !ok {
			return asked(t, s)
		}
		by := t.member(a.member)
		if !author {
			by = t.inStanding()
		}
		return does(t.sign(by, a.journal, &protocol.AnswerAmendment{Record: a.record, Denial: denial, Version: version}))
	}
}

// amending answers with a new version, which is written first.
func amending(t *town, s scene) move {
	a, ok := t.amendment(unanswered)
	if !ok {
		return asked(t, s)
	}
	by := t.member(a.member)
	for _, r := range t.model.journals[a.journal].records {
		if f := t.model.fates[r]; f.replaces == a.record && !f.erased {
			return does(t.sign(by, a.journal, &protocol.AnswerAmendment{Record: a.record, Version: r}))
		}
	}
	label := t.model.records[a.record].label
	q := question{by: actor{member: a.member, credential: true}, write: true, purpose: protocol.PurposeTreat, now: t.Time, label: label, credential: true}
	if reason, _ := t.model.journals[a.journal].decide(q); reason != protocol.Accepted {
		i := slices.IndexFunc(t.patients, func(p *ledgertest.Who) bool { return p.Journal() == a.journal })
		return prepares(t.sign(t.current(t.patients[i]), a.journal, t.contract(rule{write: true}, 30*day)))
	}
	version, _ := t.recordOf(a.journal, label).(*protocol.AddRecord)
	if version.Record == a.record {
		return move{}
	}
	version.Relation, version.About = protocol.RelationSupersedes, a.record
	return prepares(t.sign(by, a.journal, version))
}

// chain lengthens the longest line of delegates of delegates, until one is too deep.
func chain(t *town, s scene) move {
	want := delegationModel{level: protocol.LevelAct, may: true, until: t.Time + 3*day}
	if len(s.j.people.delegations) >= protocol.DelegationsJournalMax {
		return t.makingRoom(s, want)
	}
	deepest, depth := delegationModel{}, 0
	for _, d := range s.j.people.delegations {
		if n := s.j.people.depth(d); d.may && d.inForce(t.Time) && n > depth {
			deepest, depth = d, n
		}
	}
	if depth == 0 {
		return t.makingRoom(s, want)
	}
	v := t.sign(t.delegateOf(s.in, deepest.key), s.in, t.delegating(s.in, delegationModel{level: protocol.LevelAct, may: true, labels: deepest.labels, until: deepest.until}))
	return move{v, depth < protocol.DelegationDepthMax}
}

// crowd is more delegates than there may be.
func crowd(t *town, s scene) move {
	actions := make([]protocol.Action, protocol.DelegationsJournalMax+1)
	for i := range actions {
		actions[i] = t.delegating(s.in, delegationModel{key: t.newKey(t.name("delegate")), level: protocol.LevelSee})
	}
	return does(t.sign(s.patient, s.in, actions...))
}

// sessionKinds are the first kinds of appointments: of sessions without a review.
const sessionKinds = 3

// appointments are the times at which something ends or begins by itself, by kind.
func (t *town) appointments() (kinds [][]uint64) {
	kinds = make([][]uint64, sessionKinds+4)
	note := func(kind int, times ...uint64) {
		for _, at := range times {
			if at > t.Time && at <= t.Time+31*3600_000 {
				kinds[kind] = append(kinds[kind], at)
			}
		}
	}
	for _, p := range t.patients {
		j := t.model.journals[p.Journal()]
		if j == nil {
			continue
		}
		for _, s := range j.people.sessions {
			if s.verdict == 0 {
				note(0, s.ends)
				note(1, s.due)
				note(2, s.ends+(s.due-s.ends)/2)
			}
		}
		for _, d := range j.people.delegations {
			note(sessionKinds, d.from)
			note(sessionKinds+1, d.until)
		}
		for _, c := range j.contracts {
			if c.state == 1 {
				note(sessionKinds+2, c.notBefore, c.notAfter)
			}
		}
		for _, r := range j.control.recoveries {
			if r.state < 3 {
				note(sessionKinds+3, r.at)
			}
		}
	}
	if t.n(2) == 0 && len(kinds[0])+len(kinds[1])+len(kinds[2]) > 0 {
		kinds = kinds[:sessionKinds]
	}
	return slices.DeleteFunc(kinds, func(times []uint64) bool { return len(times) == 0 })
}

// wait goes to the time of something that happens by itself, or to the millisecond before or after it; once, for as long as an author has
// to answer.
func (t *town) wait() {
	a, ok := t.amendment(func(a amendmentModel) bool { return !a.over && !a.overdue })
	if ok && t.events[protocol.EventAmendmentOverdue] == 0 && len(t.unmet()) < 3 {
		t.Time = max(t.Time, a.due)
		return
	}
	if kinds := t.appointments(); len(kinds) > 0 {
		t.Time = pick(t, pick(t, kinds)) + uint64(t.n(3)) - 1
	}
}

func sortLabels(l ...protocol.Label) []protocol.Label {
	slices.SortFunc(l, func(x, y protocol.Label) int { return bytes.Compare(x[:], y[:]) })
	return slices.Compact(l)
}

// askedOfCustodians is what custodians must have been asked, by whose access it was, and answered: nothing against it is a release.
var askedOfCustodians = []answer{
	{protocol.ActorPractitioner, true, ""},
	{protocol.ActorPractitioner, true, unjustified},
	{protocol.ActorPractitioner, true, leftTheRoles},
	{protocol.ActorPractitioner, true, "the access is over"},
	{protocol.ActorDelegate, false, ""},
	{protocol.ActorDelegate, false, delegationOver},
	{protocol.ActorDelegate, false, "the access is over"},
}

// answer is a custodian's, as the model has it.
type answer struct {
	reader protocol.ActorKind
	glass  bool
	why    refusal
}

func (a answer) String() string {
	glass := ""
	if a.glass {
		glass = " who broke the glass"
	}
	return fmt.Sprintf("a custodian asked by a %s%s: %s", a.reader, glass, cmp.Or(a.why, "released"))
}

// missed says what a history has not met.
func (t *town) missed() (out []string) {
	for _, a := range t.unmet() {
		out = append(out, fmt.Sprintf("%s: %s", a.what, a.hope))
	}
	for _, a := range askedOfCustodians {
		if t.asked[a] == 0 {
			out = append(out, a.String())
		}
	}
	for _, e := range []protocol.ActionType{protocol.EventBreakGlassOpened, protocol.EventReviewMissed, protocol.EventDelegationEnded,
		protocol.EventContractEnded, protocol.EventAmendmentOverdue} {
		if t.events[e] == 0 {
			out = append(out, fmt.Sprint(e))
		}
	}
	return out
}
