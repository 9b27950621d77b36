package sim

import (
	"crypto/ed25519"
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// allAims are what every history must meet.
var allAims = []aim{
	// Breaking the glass.
	{"the glass is broken", protocol.Accepted, breakingAnew},
	{"the glass again in the same session", protocol.Accepted, func(t *town, s scene) move {
		who := t.medic(s, func(last sessionModel, ok bool) bool { return ok && last.goesOn(t.Time) })
		if who == nil {
			return move{breakingAnew(t, s).v, true}
		}
		last, _ := s.j.people.session(protocol.PractitionerID(who.Signer.ID))
		reason := t.given(last.id, true)
		if reason.IsZero() || t.n(2) == 0 {
			reason = t.reason()
		}
		return t.breaking(s, who, reason)
	}},
	{"a reason of another session, while one's own goes on", protocol.ReasonReused, func(t *town, s scene) move {
		who := t.medic(s, func(last sessionModel, ok bool) bool { return ok && last.goesOn(t.Time) })
		if who == nil {
			return move{breakingAnew(t, s).v, true}
		}
		last, _ := s.j.people.session(protocol.PractitionerID(who.Signer.ID))
		reason := t.given(last.id, false)
		if reason.IsZero() { // there is no other session yet
			other, ok := t.scene(s)
			if !ok {
				return move{}
			}
			return move{breakingAnew(t, other).v, true}
		}
		return t.breaking(s, who, reason)
	}},
	{"a reason of another session", protocol.ReasonReused, func(t *town, s scene) move {
		who := t.anyMedic(s)
		if who == nil {
			return t.hiringMedic()
		}
		last, _ := s.j.people.session(protocol.PractitionerID(who.Signer.ID))
		if last.verdict != 0 {
			last.id = protocol.AccessID{} // its own last one is another by now
		}
		reason := t.given(last.id, false)
		if reason.IsZero() {
			return move{}
		}
		return t.breaking(s, who, reason)
	}},
	{"the glass in another role", protocol.NotEmergencyRole, func(t *town, s scene) move {
		who := t.staff(func(_ protocol.PractitionerID, p practitionerModel) bool {
			return !emergency(p.role) && t.credential(p)
		})
		if who == nil {
			return t.hiring(t.inStanding(), protocol.RolePhysician)
		}
		return t.breaking(s, who, t.reason())
	}},
	{"the glass by an organisation", protocol.NotEmergencyRole, func(t *town, s scene) move { return t.breaking(s, t.inStanding(), t.reason()) }},
	{"the glass without standing", protocol.NoCredential, func(t *town, s scene) move {
		who := t.staff(func(_ protocol.PractitionerID, p practitionerModel) bool {
			return emergency(p.role) && !t.credential(p)
		})
		if who != nil {
			return t.breaking(s, who, t.reason())
		}
		if who = t.anyMedic(s); who == nil {
			return t.hiringMedic()
		}
		return prepares(t.restating(protocol.PractitionerID(who.Signer.ID), func(a *protocol.SetPractitioner) {
			if a.ValidUntil = t.Time; t.n(2) == 0 {
				a.ValidUntil, a.Status = t.Time+day, protocol.PractitionerSuspended
			}
		}))
	}},
	{"the glass before the review", protocol.ReviewDue, func(t *town, s scene) move {
		who := t.medic(s, func(last sessionModel, ok bool) bool { return ok && last.verdict == 0 && t.Time >= last.due })
		if who == nil {
			return move{breakingAnew(t, s).v, true}
		}
		return t.breaking(s, who, t.reason())
	}},
	{aDayIsOver, protocol.ReviewDue, func(t *town, s scene) move {
		who := t.medic(s, func(last sessionModel, ok bool) bool {
			return ok && last.verdict == 0 && last.ends <= t.Time && t.Time < last.due
		})
		if who == nil {
			return move{breakingAnew(t, s).v, true}
		}
		return t.breaking(s, who, t.reason())
	}},
	{"the glass without a contract that speaks of it", protocol.NoContract, func(t *town, s scene) move {
		who := t.anyMedic(s)
		if who == nil {
			return t.hiringMedic()
		}
		if a, ok := t.breaks(s, who, t.reason(), protocol.NoContract); ok {
			return does(t.sign(who, s.in, a))
		}
		for _, c := range s.j.contracts {
			if c.state == 1 && (c.rule.forbid || c.rule.ofGlass()) {
				return prepares(t.sign(s.patient, s.in, &protocol.Revoke{Contract: c.id}))
			}
		}
		return prepares(t.opening(nil)) // all that it ever had are over, and the answer says that
	}},
	{"a session with an open access is called unjustified", protocol.Accepted, func(t *town, here scene) move {
		a, ok := t.live(t.ofGlass)
		if !ok {
			return move{breakingAnew(t, here).v, true}
		}
		s, _ := t.model.journals[a.journal].people.session(protocol.PractitionerID(a.reader.ID))
		who := t.staff(func(id protocol.PractitionerID, p practitionerModel) bool { return aReviewer(t, s, id, p) })
		if who == nil {
			return hiringAdministrator(t, s)
		}
		return does(t.sign(who, a.journal, &protocol.ReviewBreakGlass{Practitioner: s.practitioner, Session: s.id, Verdict: protocol.VerdictUnjustified}))
	}},
	{"a medic leaves the emergency roles with an open access", protocol.Accepted, func(t *town, here scene) move {
		a, ok := t.live(t.ofGlass)
		if !ok {
			return move{breakingAnew(t, here).v, true}
		}
		return does(t.restating(protocol.PractitionerID(a.reader.ID), func(a *protocol.SetPractitioner) { a.Role = protocol.RolePhysician }))
	}},
	{"a medic leaves the emergency roles", protocol.Accepted, func(t *town, s scene) move {
		who := t.medic(s, func(last sessionModel, ok bool) bool { return ok && last.verdict == 0 })
		if who == nil {
			return move{breakingAnew(t, s).v, true}
		}
		return does(t.restating(protocol.PractitionerID(who.Signer.ID), func(a *protocol.SetPractitioner) { a.Role = protocol.RolePhysician }))
	}},

	// Reviews.
	{"a review: justified", protocol.Accepted, reviewing(waits, protocol.VerdictJustified, aReviewer, hiringAdministrator)},
	{"a review: unjustified", protocol.Accepted, reviewing(waits, protocol.VerdictUnjustified, aReviewer, hiringAdministrator)},
	{"a review that comes late", protocol.Accepted, reviewing(func(_ *town, s sessionModel) bool { return s.verdict == 0 && s.missed }, protocol.VerdictJustified, aReviewer, hiringAdministrator)},
	{"a second review", protocol.SessionReviewed, reviewing(func(_ *town, s sessionModel) bool { return s.verdict != 0 }, protocol.VerdictUnjustified, aReviewer, hiringAdministrator)},
	{"a review by somebody who administers nothing", protocol.NotAReviewer, reviewing(waits, protocol.VerdictJustified,
		func(t *town, s sessionModel, id protocol.PractitionerID, p practitionerModel) bool {
			return p.role != protocol.RoleAdministrator && t.credential(p) && p.member == s.member && id != s.practitioner
		}, func(t *town, s sessionModel) move { return t.hiring(t.member(s.member), protocol.RolePhysician) })},
	{"a review for another member", protocol.NotAReviewer, reviewing(waits, protocol.VerdictJustified,
		func(t *town, s sessionModel, _ protocol.PractitionerID, p practitionerModel) bool {
			return p.role == protocol.RoleAdministrator && t.credential(p) && p.member != s.member
		}, func(t *town, _ sessionModel) move { return t.hiring(t.inStanding(), protocol.RoleAdministrator) })},
	{"a review by an administrator without standing", protocol.NotAReviewer, reviewing(waits, protocol.VerdictJustified,
		func(t *town, s sessionModel, id protocol.PractitionerID, p practitionerModel) bool {
			return p.role == protocol.RoleAdministrator && !t.credential(p) && p.member == s.member && id != s.practitioner
		}, func(t *town, s sessionModel) move {
			who := t.staff(func(id protocol.PractitionerID, p practitionerModel) bool { return aReviewer(t, s, id, p) })
			if who == nil {
				return hiringAdministrator(t, s)
			}
			return prepares(t.restating(protocol.PractitionerID(who.Signer.ID), func(a *protocol.SetPractitioner) { a.Status = protocol.PractitionerSuspended }))
		})},
	{"a review of oneself", protocol.NotAReviewer, func(t *town, here scene) move {
		in, s, ok := t.session(func(s sessionModel) bool {
			return s.verdict == 0 && t.credential(t.model.practitioners[s.practitioner])
		})
		if !ok {
			return move{breakingAnew(t, here).v, true}
		}
		if t.model.practitioners[s.practitioner].role != protocol.RoleAdministrator {
			return prepares(t.restating(s.practitioner, func(a *protocol.SetPractitioner) { a.Role = protocol.RoleAdministrator }))
		}
		who := t.staff(func(id protocol.PractitionerID, _ practitionerModel) bool { return id == s.practitioner })
		return does(t.sign(who, in, &protocol.ReviewBreakGlass{Practitioner: s.practitioner, Session: s.id, Verdict: protocol.VerdictJustified}))
	}},
	{"a review of another session", protocol.UnknownSession, func(t *town, _ scene) move {
		in, s, ok := t.session(func(sessionModel) bool { return true })
		if !ok {
			return move{}
		}
		who := t.staff(func(id protocol.PractitionerID, p practitionerModel) bool { return aReviewer(t, s, id, p) })
		if who == nil {
			return t.hiring(t.member(s.member), protocol.RoleAdministrator)
		}
		return does(t.sign(who, in, &protocol.ReviewBreakGlass{Practitioner: s.practitioner, Session: pick(t, t.accesses), Verdict: protocol.VerdictJustified}))
	}},
	{"a review by the organisation", protocol.NotAReviewer, func(t *town, _ scene) move {
		in, s, ok := t.session(func(s sessionModel) bool { return s.verdict == 0 })
		if !ok {
			return move{}
		}
		return does(t.sign(t.member(s.member), in, &protocol.ReviewBreakGlass{Practitioner: s.practitioner, Session: s.id, Verdict: protocol.VerdictJustified}))
	}},
	{"a review by the patient", protocol.NotEntitled, byPatient(func(t *town, s scene) (protocol.Action, bool) {
		if len(s.j.people.sessions) == 0 {
			return nil, false
		}
		one := pick(t, s.j.people.sessions)
		return &protocol.ReviewBreakGlass{Practitioner: one.practitioner, Session: one.id, Verdict: protocol.VerdictUnjustified}, true
	})},

	// Delegations.
	{"the patient delegates", protocol.Accepted, func(t *town, s scene) move {
		m := t.makingRoom(s, delegationModel{level: protocol.Level(1 + t.n(3)), labels: []protocol.Label{pick(t, labels)}})
		_, delegates := m.v.Actions[0].(*protocol.Delegate)
		return move{m.v, !delegates}
	}},
	{"a delegate delegates", protocol.Accepted, byDelegate(mayDelegate, func(d delegationModel) bool { return d.may },
		func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
			return t.delegating(s.in, delegationModel{level: protocol.Level(1 + t.n(3)), labels: sortLabels(inside(t, d)), until: d.until - uint64(t.n(1000))}), s.j.people.depth(d) < 3
		})},
	{"a delegate delegates without leave", protocol.BeyondDelegation, byDelegate(delegationModel{level: protocol.LevelAct}, func(d delegationModel) bool { return !d.may },
		func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
			return t.delegating(s.in, delegationModel{level: protocol.LevelSee, labels: d.labels, until: d.until}), true
		})},
	{"a delegate delegates beyond its scope", protocol.BeyondDelegation, byDelegate(mayDelegate, func(d delegationModel) bool { return d.may && scoped(d) },
		func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
			child := delegationModel{level: protocol.LevelSee, until: d.until}
			if t.n(2) == 0 {
				child.labels = sortLabels(d.labels[0], outside(d.labels))
			}
			return t.delegating(s.in, child), true
		})},
	{"a delegate delegates beyond its time", protocol.BeyondDelegation, byDelegate(mayDelegate, func(d delegationModel) bool { return d.may },
		func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
			return t.delegating(s.in, delegationModel{level: protocol.LevelSee, labels: d.labels, until: d.until + 1}), true
		})},
	{"a proof by another key", protocol.BadProof, byPatient(func(t *town, s scene) (protocol.Action, bool) {
		a := t.delegating(s.in, delegationModel{level: protocol.LevelAct})
		a.Proof = ed25519.Sign(t.keyring[t.newKey("mallory")], protocol.DelegateProofMessage(t.L.Chain(), s.in, a.Key))
		return a, true
	})},
	{"a proof stolen from another journal", protocol.BadProof, byPatient(func(t *town, s scene) (protocol.Action, bool) {
		other, ok := t.scene(s)
		if !ok {
			return nil, false
		}
		a := t.delegating(s.in, delegationModel{level: protocol.LevelAct})
		a.Proof = ed25519.Sign(t.keyring[a.Key], protocol.DelegateProofMessage(t.L.Chain(), other.in, a.Key))
		return a, true
	})},
	{"a delegation that is too long or over", protocol.BadWindow, byPatient(func(t *town, s scene) (protocol.Action, bool) {
		until := t.Time + protocol.DelegationWindowMillisMax + 1
		if t.n(2) == 0 {
			until = t.Time - uint64(t.n(1000))
		}
		return t.delegating(s.in, delegationModel{level: protocol.LevelSee, until: until}), true
	})},
	{"somebody who is a delegate", protocol.DelegateExists, byPatient(func(t *town, s scene) (protocol.Action, bool) {
		d, ok := t.delegation(s, func(delegationModel) bool { return true })
		return t.delegating(s.in, delegationModel{key: d.key, level: protocol.LevelAct}), ok
	})},
	{"more delegates than there may be", protocol.TooManyDelegations, crowd},
	{"delegates too deep", protocol.TooManyDelegations, chain},
	{"a delegation by a practitioner", protocol.NotEntitled, func(t *town, s scene) move {
		return does(t.sign(t.inStanding(), s.in, t.delegating(s.in, delegationModel{level: protocol.LevelSee})))
	}},
	{"a delegate of another journal", protocol.UnknownSigner, func(t *town, s scene) move {
		other, ok := t.scene(s)
		if !ok {
			return move{}
		}
		d, ok := t.delegation(other, func(d delegationModel) bool { return d.inForce(t.Time) })
		if !ok {
			return t.makingRoom(other, delegationModel{level: protocol.LevelAct})
		}
		return does(t.sign(t.delegateOf(s.in, d.key), s.in, t.asksFor(t.delegatePurpose(), []protocol.Label{pick(t, labels)})))
	}},
	{"a delegate who names another journal", protocol.WrongJournal, func(t *town, s scene) move {
		other, ok := t.scene(s)
		d, has := t.delegation(s, func(d delegationModel) bool { return d.inForce(t.Time) })
		if !ok || !has {
			return move{}
		}
		return does(t.sign(t.delegateOf(s.in, d.key), other.in, t.asksFor(t.delegatePurpose(), []protocol.Label{pick(t, labels)})))
	}},
	{"a delegate whose time has not begun", protocol.DelegationOver, func(t *town, s scene) move {
		d, ok := t.delegation(s, func(d delegationModel) bool { return d.from > t.Time })
		if !ok {
			return t.makingRoom(s, delegationModel{level: protocol.LevelAct, from: t.Time + 1 + uint64(t.n(3600_000)), until: t.Time + day})
		}
		return does(t.sign(t.delegateOf(s.in, d.key), s.in, t.contract(rule{}, 5000)))
	}},
	{"a delegate who was one", protocol.UnknownSigner, func(t *town, s scene) move {
		if len(t.everDelegates) == 0 {
			return move{}
		}
		key := pick(t, t.everDelegates)
		if _, still := s.j.people.delegation(key); still {
			return move{}
		}
		return does(t.sign(t.delegateOf(s.in, key), s.in, t.contract(rule{}, 5000)))
	}},

	// What delegates do with contracts.
	{"who may see grants", protocol.BeyondDelegation, byDelegate(delegationModel{level: protocol.LevelSee}, level(protocol.LevelSee), grants(rule{}, -1))},
	{"who may see revokes", protocol.BeyondDelegation, byDelegate(delegationModel{level: protocol.LevelSee}, level(protocol.LevelSee), revokes(false))},
	{"who may share grants", protocol.Accepted, byDelegate(delegationModel{level: protocol.LevelShare, labels: labels[:1]}, level(protocol.LevelShare), grants(rule{}, -1))},
	{"who may share grants beyond its time", protocol.BeyondDelegation, byDelegate(delegationModel{level: protocol.LevelShare}, level(protocol.LevelShare), grants(rule{}, 1))},
	{"who may share closes", protocol.BeyondDelegation, byDelegate(delegationModel{level: protocol.LevelShare}, level(protocol.LevelShare), grants(rule{forbid: true}, -1))},
	{"who may act closes", protocol.Accepted, byDelegate(delegationModel{level: protocol.LevelAct, labels: labels[:1]}, level(protocol.LevelAct), grants(rule{forbid: true, label: labels[2]}, -1))},
	{"who may share takes its own back", protocol.Accepted, func(t *town, s scene) move {
		if _, ok := t.delegation(s, func(d delegationModel) bool { return d.level == protocol.LevelShare && len(s.grantsOf(d.key)) > 0 }); !ok {
			return move{byDelegate(delegationModel{level: protocol.LevelShare}, level(protocol.LevelShare), grants(rule{}, -1))(t, s).v, true}
		}
		return byDelegate(delegationModel{level: protocol.LevelShare}, func(d delegationModel) bool { return d.level == protocol.LevelShare && len(s.grantsOf(d.key)) > 0 }, revokes(true))(t, s)
	}},
	{"who may share takes another's back", protocol.BeyondDelegation, byDelegate(delegationModel{level: protocol.LevelShare}, level(protocol.LevelShare), revokes(false))},
	{"who may act takes another's back", protocol.Accepted, byDelegate(delegationModel{level: protocol.LevelAct}, level(protocol.LevelAct), revokes(false))},
	{"a delegate's contract beyond its scope", refused, func(t *town, s scene) move {
		who := t.staff(func(_ protocol.PractitionerID, p practitionerModel) bool { return t.credential(p) })
		if who == nil {
			return t.hiring(t.inStanding(), protocol.RolePhysician)
		}
		by, ok := t.delegation(s, func(d delegationModel) bool { return scoped(d) && d.inForce(t.Time) && d.level >= protocol.LevelShare })
		if !ok {
			return t.makingRoom(s, delegationModel{level: protocol.LevelShare, labels: labels[:1], until: t.Time + 3*day})
		}
		for _, c := range s.grantsOf(by.key) {
			if c.rule == (rule{}) && t.Time >= c.notBefore {
				return does(t.sign(who, s.in, t.asksFor(protocol.PurposeTreat, []protocol.Label{outside(by.labels)})))
			}
		}
		return prepares(t.sign(t.delegateOf(s.in, by.key), s.in, t.contract(rule{}, by.until-t.Time)))
	}},

	// What delegates read, and may not do.
	{"a delegate reads", protocol.Accepted, delegateReads},
	{"a delegate reads outside its scope", protocol.OutsideDelegation, byDelegate(delegationModel{level: protocol.LevelAct, labels: labels[:2]}, scoped,
		func(t *town, _ scene, d delegationModel) (protocol.Action, bool) {
			return t.asksFor(t.delegatePurpose(), sortLabels(d.labels[0], outside(d.labels))), true
		})},
	{"a delegate reads a record outside its scope", protocol.OutsideDelegation, func(t *town, s scene) move {
		if m := t.shelving(s); m.v != nil {
			return m
		}
		r := pick(t, t.onShelf(s))
		other := outside([]protocol.Label{t.model.records[r].label})
		return byDelegate(delegationModel{level: protocol.LevelSee, labels: []protocol.Label{other}}, func(d delegationModel) bool { return !within(d.labels, t.model.records[r].label) },
			func(t *town, _ scene, _ delegationModel) (protocol.Action, bool) {
				return t.asksFor(t.delegatePurpose(), nil, r), true
			})(t, s)
	}},
	{"a delegate reads for another purpose", protocol.WrongPurpose, byDelegate(delegationModel{level: protocol.LevelAct}, whoever,
		func(t *town, _ scene, d delegationModel) (protocol.Action, bool) {
			return t.asksFor(protocol.PurposeTreat, []protocol.Label{inside(t, d)}), true
		})},
	{"a delegate reads what was erased", protocol.RecordErased, func(t *town, s scene) move {
		for _, r := range s.j.records {
			if t.model.fates[r].erased {
				return byDelegate(delegationModel{level: protocol.LevelSee}, func(d delegationModel) bool { return within(d.labels, t.model.records[r].label) },
					func(t *town, _ scene, _ delegationModel) (protocol.Action, bool) {
						return t.asksFor(t.delegatePurpose(), nil, r), true
					})(t, s)
			}
		}
		if m := t.shelving(s); m.v != nil {
			return m
		}
		return prepares(t.sign(s.patient, s.in, &protocol.Erase{Records: []protocol.RecordID{pick(t, t.onShelf(s))}}))
	}},
	{"who may act writes", protocol.Accepted, byDelegate(delegationModel{level: protocol.LevelAct}, level(protocol.LevelAct), func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
		return t.recordOf(s.in, inside(t, d)), true
	})},
	{"who may act makes a statement", protocol.Accepted, func(t *town, s scene) move {
		if m := t.shelving(s); m.v != nil {
			return m
		}
		theirs := slices.DeleteFunc(t.onShelf(s), func(r protocol.RecordID) bool { return t.model.fates[r].member.IsZero() })
		if len(theirs) == 0 {
			return move{}
		}
		about := pick(t, theirs)
		return byDelegate(delegationModel{level: protocol.LevelAct}, func(d delegationModel) bool {
			return d.level == protocol.LevelAct && within(d.labels, t.model.records[about].label)
		}, func(t *town, s scene, _ delegationModel) (protocol.Action, bool) {
			a, _ := t.recordOf(s.in, t.model.records[about].label).(*protocol.AddRecord)
			a.Relation, a.About = protocol.RelationStatement, about
			return a, a.Record != about && len(t.model.fates[about].remarks) < protocol.StatementsRecordMax
		})(t, s)
	}},
	{"who may share writes", protocol.BeyondDelegation, byDelegate(delegationModel{level: protocol.LevelShare}, level(protocol.LevelShare), func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
		return t.recordOf(s.in, inside(t, d)), true
	})},
	{"a delegate writes outside its scope", protocol.BeyondDelegation, byDelegate(delegationModel{level: protocol.LevelAct, labels: labels[:2]}, scoped, func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
		return t.recordOf(s.in, outside(d.labels)), true
	})},
	{"who may see asks for an amendment", protocol.BeyondDelegation, byDelegate(delegationModel{level: protocol.LevelSee}, level(protocol.LevelSee), func(*town, scene, delegationModel) (protocol.Action, bool) {
		return &protocol.RequestAmendment{Record: protocol.RecordID{1}, Statement: protocol.RecordID{2}}, true
	})},
	{"a delegate sets the card", protocol.NotEntitled, byDelegate(delegationModel{level: protocol.LevelAct}, level(protocol.LevelAct), func(t *town, _ scene, _ delegationModel) (protocol.Action, bool) {
		return setCard(t.newCard()), true
	})},
	{"a delegate erases", protocol.NotEntitled, byDelegate(delegationModel{level: protocol.LevelAct}, level(protocol.LevelAct), func(*town, scene, delegationModel) (protocol.Action, bool) {
		return &protocol.Erase{Everything: true}, true
	})},
	{"a delegate takes control", protocol.NotEntitled, byDelegate(delegationModel{level: protocol.LevelAct, may: true}, level(protocol.LevelAct), func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
		return &protocol.RotateController{Controller: d.key, Recipient: [32]byte{1}, Proof: t.proof(d.key, protocol.ControlMessage(t.L.Chain(), s.in, d.key, [32]byte{1}))}, true
	})},
	{"a delegate reviews", protocol.NotEntitled, byDelegate(delegationModel{level: protocol.LevelAct}, whoever, func(t *town, s scene, _ delegationModel) (protocol.Action, bool) {
		if len(s.j.people.sessions) == 0 {
			return nil, false
		}
		one := pick(t, s.j.people.sessions)
		return &protocol.ReviewBreakGlass{Practitioner: one.practitioner, Session: one.id, Verdict: protocol.VerdictUnjustified}, true
	})},

	// Ends of delegations.
	{"the patient ends a delegation", protocol.Accepted, byPatient(func(t *town, s scene) (protocol.Action, bool) {
		d, ok := t.delegation(s, whoever)
		return &protocol.EndDelegation{Key: d.key}, ok
	})},
	{"an end takes contracts along", protocol.Accepted, func(t *town, s scene) move {
		d, ok := t.delegation(s, func(d delegationModel) bool { return len(s.grantsOf(d.key)) > 0 })
		if !ok {
			return move{byDelegate(delegationModel{level: protocol.LevelShare}, level(protocol.LevelShare), grants(rule{}, -1))(t, s).v, true}
		}
		return does(t.sign(s.patient, s.in, &protocol.EndDelegation{Key: d.key}))
	}},
	{"a delegation with an open access ends", protocol.Accepted, func(t *town, s scene) move {
		a, ok := t.live(func(a accessModel) bool { return a.reader.Kind == protocol.ActorDelegate })
		if !ok {
			return move{delegateReads(t, s).v, true}
		}
		return does(t.sign(t.delegateOf(a.journal, a.reader.Key), a.journal, &protocol.EndDelegation{Key: a.reader.Key}))
	}},
	{"an end takes children and their contracts along", protocol.Accepted, func(t *town, s scene) move {
		for _, d := range s.j.people.delegations {
			if !d.parent.IsZero() && len(s.grantsOf(d.key)) > 0 {
				return does(t.sign(s.patient, s.in, &protocol.EndDelegation{Key: d.parent}))
			}
		}
		for _, d := range s.j.people.delegations {
			if !d.parent.IsZero() && d.level >= protocol.LevelShare && d.inForce(t.Time) {
				return prepares(t.sign(t.delegateOf(s.in, d.key), s.in, t.contract(rule{}, d.until-t.Time)))
			}
		}
		return delegatingOn(t, s)
	}},
	{"a delegate ends its own", protocol.Accepted, byDelegate(delegationModel{level: protocol.LevelSee}, whoever, func(_ *town, _ scene, d delegationModel) (protocol.Action, bool) {
		return &protocol.EndDelegation{Key: d.key}, true
	})},
	{"a delegate ends what comes from it", protocol.Accepted, func(t *town, s scene) move {
		d, ok := t.child(s)
		if !ok {
			return delegatingOn(t, s)
		}
		return does(t.sign(t.delegateOf(s.in, d.parent), s.in, &protocol.EndDelegation{Key: d.key}))
	}},
	{"a delegate ends what it comes from", protocol.BeyondDelegation, func(t *town, s scene) move {
		d, ok := t.child(s)
		if !ok {
			return delegatingOn(t, s)
		}
		return does(t.sign(t.delegateOf(s.in, d.key), s.in, &protocol.EndDelegation{Key: d.parent}))
	}},
	{"the end of no delegation", protocol.UnknownDelegation, byPatient(func(t *town, _ scene) (protocol.Action, bool) {
		return &protocol.EndDelegation{Key: t.newKey("mallory")}, true
	})},
	{"a device ends a delegation", protocol.Accepted, byDevice(func(t *town, s scene) (protocol.Action, bool) {
		d, ok := t.delegation(s, whoever)
		return &protocol.EndDelegation{Key: d.key}, ok
	})},
	{"a device delegates", protocol.NotForDevices, byDevice(func(t *town, s scene) (protocol.Action, bool) {
		return t.delegating(s.in, delegationModel{level: protocol.LevelSee}), true
	})},

	// Emergency cards.
	{"a card", protocol.Accepted, byPatient(func(t *town, _ scene) (protocol.Action, bool) { return setCard(t.newCard()), true })},
	{"a card that another journal had", protocol.Accepted, byPatient(func(t *town, _ scene) (protocol.Action, bool) {
		for _, c := range t.cards {
			if _, taken := t.model.cards[c]; !taken {
				return setCard(c), true
			}
		}
		return nil, false
	})},
	{"no card any more", protocol.Accepted, byPatient(func(_ *town, s scene) (protocol.Action, bool) { return &protocol.SetCard{}, !s.j.people.card.IsZero() })},
	{"a card of another journal", protocol.CardTaken, func(t *town, s scene) move {
		var taken []protocol.CardID
		for _, c := range t.cards {
			if of, ok := t.model.cards[c]; ok && of != s.in {
				taken = append(taken, c)
			}
		}
		if len(taken) > 0 {
			return does(t.sign(s.patient, s.in, setCard(pick(t, taken))))
		}
		if other, ok := t.scene(s); ok {
			return prepares(t.sign(other.patient, other.in, setCard(t.newCard())))
		}
		return move{}
	}},
	{"a card by an organisation", protocol.NotEntitled, func(t *town, s scene) move { return does(t.sign(t.inStanding(), s.in, setCard(t.newCard()))) }},
	{"a card by a device", protocol.NotForDevices, byDevice(func(t *town, _ scene) (protocol.Action, bool) { return setCard(t.newCard()), true })},

	// A journal that is erased and closed, and who stood in for its patient.
	{"everything is erased, the card too", protocol.Accepted, erasingEverything},
	{"a delegate grants in a closed journal", protocol.JournalClosed, func(t *town, s scene) move {
		for _, p := range t.patients {
			j := t.model.journals[p.Journal()]
			if j == nil || !j.closed {
				continue
			}
			d, ok := t.delegation(scene{p, j.id, j}, func(d delegationModel) bool { return d.inForce(t.Time) && d.level >= protocol.LevelShare })
			if ok {
				return does(t.sign(t.delegateOf(j.id, d.key), j.id, t.contract(rule{}, 1000)))
			}
		}
		return move{erasingEverything(t, s).v, true}
	}},

	// What patients write themselves.
	{"the patient writes", protocol.Accepted, byPatient(func(t *town, s scene) (protocol.Action, bool) { return t.record(s.in), true })},
	{"the patient writes too much", protocol.OwnRecordTooLarge, byPatient(func(t *town, s scene) (protocol.Action, bool) {
		a, _ := t.record(s.in).(*protocol.AddRecord)
		a.Size = protocol.OwnRecordBytesMax + 1
		return a, a.Generation == 1
	})},
	{"the patient replaces what they wrote", protocol.Accepted, replacing(true, true)},
	{"the patient replaces what an organisation wrote", protocol.BadRelation, replacing(true, false)},
	{"an organisation replaces what the patient wrote", protocol.BadRelation, replacing(false, true)},
	{"an amendment of what the patient wrote", protocol.BadRelation, aboutOwn(func(_ *town, own protocol.RecordID) protocol.Action {
		return &protocol.RequestAmendment{Record: own, Statement: protocol.RecordID{2}}
	})},
	{"a statement about what the patient wrote", protocol.BadRelation, aboutOwn(func(t *town, own protocol.RecordID) protocol.Action {
		a, _ := t.recordOf(t.model.records[own].journal, t.model.records[own].label).(*protocol.AddRecord)
		a.Relation, a.About = protocol.RelationStatement, own
		return a
	})},
	{"a delegate writes more than there may be", protocol.TooManyOwnRecords, func(t *town, s scene) move {
		if left := protocol.OwnRecordsDelegatesMax - t.model.ownRecords(s.j); left > 0 {
			var many []protocol.Action
			for range min(left, protocol.EnvelopeActionsMax) {
				many = append(many, t.freshRecord(s.in))
			}
			return prepares(t.sign(s.patient, s.in, many...))
		}
		return byDelegate(delegationModel{level: protocol.LevelAct}, level(protocol.LevelAct), func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
			return t.freshRecordOf(s.in, inside(t, d)), true
		})(t, s)
	}},

	// Amendments.
	{"an amendment is asked for", protocol.Accepted, asking(func(t *town, r protocol.RecordID) bool {
		return !t.waitsForAnswer(r)
	})},
	{"an amendment is asked for twice", protocol.AmendmentOpen, asking((*town).waitsForAnswer)},
	{"an amendment with a statement about something else", protocol.BadRelation, func(t *town, s scene) move {
		about, said, m := t.statement(s, func(protocol.RecordID) bool { return true })
		if m.v != nil || said.IsZero() {
			return m
		}
		if t.n(2) == 0 {
			about = said
		}
		return does(t.sign(s.patient, s.in, &protocol.RequestAmendment{Record: about, Statement: about}))
	}},
	{"an amendment of no record", protocol.UnknownRecord, byPatient(func(t *town, s scene) (protocol.Action, bool) {
		return &protocol.RequestAmendment{Record: protocol.RecordID{1}, Statement: protocol.RecordID{2}}, true
	})},
	{"an amendment that an organisation asks for", protocol.NotEntitled, func(t *town, s scene) move {
		return does(t.sign(t.inStanding(), s.in, &protocol.RequestAmendment{Record: protocol.RecordID{1}, Statement: protocol.RecordID{2}}))
	}},
	{"an amendment is denied", protocol.Accepted, answering(unanswered, true, protocol.DeniedAccurate, protocol.RecordID{})},
	{"an answer that comes late", protocol.Accepted, answering(func(a amendmentModel) bool { return !a.over && a.overdue }, true, protocol.DeniedNotInSet, protocol.RecordID{})},
	{"an amendment is made", protocol.Accepted, amending},
	{"an amendment without its version", protocol.BadRelation, answering(unanswered, true, 0, protocol.RecordID{1})},
	{"a second answer", protocol.AmendmentAnswered, answering(func(a amendmentModel) bool { return a.over }, true, protocol.DeniedNotOpen, protocol.RecordID{})},
	{"an answer by another", protocol.NotTheAuthor, answering(unanswered, false, protocol.DeniedNotCreated, protocol.RecordID{})},
	{"an answer that nobody waits for", protocol.UnknownAmendment, func(t *town, s scene) move {
		return does(t.sign(t.inStanding(), s.in, &protocol.AnswerAmendment{Record: protocol.RecordID{1}, Denial: protocol.DeniedAccurate}))
	}},
	{"an answer by the patient", protocol.NotEntitled, byPatient(func(*town, scene) (protocol.Action, bool) {
		return &protocol.AnswerAmendment{Record: protocol.RecordID{1}, Denial: protocol.DeniedAccurate}, true
	})},
}

var mayDelegate = delegationModel{level: protocol.LevelAct, may: true, labels: labels[:2]}

func whoever(delegationModel) bool  { return true }
func scoped(d delegationModel) bool { return len(d.labels) > 0 && len(d.labels) < len(labels) }

func level(l protocol.Level) func(delegationModel) bool {
	return func(d delegationModel) bool { return d.level == l }
}

// inside is a class inside a scope.
func inside(t *town, d delegationModel) protocol.Label {
	if len(d.labels) == 0 {
		return pick(t, labels)
	}
	return pick(t, d.labels)
}

// grants is a grant that ends a moment beyond or before the delegation.
func grants(r rule, beyond int) func(*town, scene, delegationModel) (protocol.Action, bool) {
	return func(t *town, _ scene, d delegationModel) (protocol.Action, bool) {
		return t.contract(r, d.until-t.Time+uint64(beyond)), d.until > t.Time+1
	}
}

// revokes takes back a contract that the delegate granted, or another one.
func revokes(own bool) func(*town, scene, delegationModel) (protocol.Action, bool) {
	return func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
		var all []protocol.ContractID
		for _, c := range s.j.contracts {
			if c.state == 1 && (c.by == d.key) == own {
				all = append(all, c.id)
			}
		}
		if len(all) == 0 {
			return nil, false
		}
		return &protocol.Revoke{Contract: pick(t, all)}, true
	}
}

// delegateReads has a delegate read a class that has records.
func delegateReads(t *town, s scene) move {
	if m := t.shelving(s); m.v != nil {
		return m
	}
	l := t.model.records[pick(t, t.onShelf(s))].label
	return byDelegate(delegationModel{level: protocol.LevelSee, labels: []protocol.Label{l}}, func(d delegationModel) bool { return within(d.labels, l) },
		func(t *town, _ scene, _ delegationModel) (protocol.Action, bool) {
			return t.asksFor(t.delegatePurpose(), []protocol.Label{l}), true
		})(t, s)
}

// delegatingOn prepares a delegate of a delegate.
func delegatingOn(t *town, s scene) move {
	m := byDelegate(mayDelegate, func(d delegationModel) bool { return d.may }, func(t *town, s scene, d delegationModel) (protocol.Action, bool) {
		return t.delegating(s.in, delegationModel{level: protocol.LevelShare, labels: d.labels, until: d.until}), s.j.people.depth(d) < protocol.DelegationDepthMax
	})(t, s)
	return move{m.v, true}
}

// erasingEverything closes a journal that has a card and somebody who may share.
func erasingEverything(t *town, s scene) move {
	if _, ok := t.delegation(s, func(d delegationModel) bool { return d.inForce(t.Time) && d.level >= protocol.LevelShare }); !ok {
		return t.makingRoom(s, delegationModel{level: protocol.LevelShare})
	}
	if s.j.people.card.IsZero() {
		return prepares(t.sign(s.patient, s.in, setCard(t.newCard())))
	}
	return does(t.sign(s.patient, s.in, &protocol.Erase{Everything: true}))
}
