package sim

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// controlModel is who controls a journal, in plain Go. Its slices are replaced, never changed, so that they can be taken back.
type controlModel struct {
	claim      protocol.Hash
	claimUntil uint64
	guardians  protocol.Hash
	devices    []deviceModel
	recoveries []recoveryModel
}

type deviceModel struct {
	key     protocol.PublicKey
	revoked uint64 // 0: active
}

type recoveryModel struct {
	id         protocol.RecoveryID
	policy     protocol.GuardianPolicy
	controller protocol.PublicKey
	approvals  []protocol.PublicKey
	at         uint64
	state      int // 1 gathers, 2 waits, 3 over
	cause      protocol.ActionID
}

func (c controlModel) device(key protocol.PublicKey) int {
	return slices.IndexFunc(c.devices, func(d deviceModel) bool { return d.key == key })
}

func (c controlModel) recovery(id protocol.RecoveryID) int {
	return slices.IndexFunc(c.recoveries, func(r recoveryModel) bool { return r.id == id })
}

// changing tells whether the journal is due to change hands.
func (c controlModel) changing(now uint64) bool {
	return slices.ContainsFunc(c.recoveries, func(r recoveryModel) bool { return r.state == 2 && r.at <= now })
}

// standing is whether a key may sign for the patient at a time, and as a device.
func (j *journalModel) standing(key protocol.PublicKey, now uint64) (device bool, reason protocol.Reason) {
	if j.control.changing(now) {
		return false, protocol.RecoveryDue
	}
	if j.controller == key {
		return false, protocol.Accepted
	}
	i := j.control.device(key)
	switch {
	case i < 0:
		return false, protocol.WrongKey
	case j.control.devices[i].revoked != 0:
		return false, protocol.DeviceRevoked
	}
	return true, protocol.Accepted
}

// settleRecoveries completes and ends the recoveries that are due, as model.end ends contracts.
func (m *model) settleRecoveries() {
	type due struct {
		j  *journalModel
		id protocol.RecoveryID
		at uint64
	}
	for range protocol.EndsBlockMax {
		var all []due
		for _, j := range m.journals {
			for _, r := range j.control.recoveries {
				if r.state < 3 && r.at <= m.now {
					all = append(all, due{j, r.id, r.at})
				}
			}
		}
		if len(all) == 0 {
			return
		}
		d := slices.MinFunc(all, func(a, b due) int {
			return cmp.Or(cmp.Compare(a.at, b.at), bytes.Compare(a.j.id[:], b.j.id[:]), bytes.Compare(a.id[:], b.id[:]))
		})
		c := &d.j.control
		r, kind := &c.recoveries[c.recovery(d.id)], protocol.EventRecoveryExpired
		if r.state == 2 {
			kind = protocol.EventJournalRecovered
			d.j.controller, c.guardians = r.controller, protocol.Hash{}
			for i := range c.devices {
				if c.devices[i].revoked == 0 {
					c.devices[i].revoked = m.now
				}
			}
			for i := range c.recoveries {
				if o := &c.recoveries[i]; o.state < 3 && o != r {
					o.state, o.at = 3, m.now
				}
			}
		}
		r.state, r.at = 3, m.now
		m.happens(d.j, kind, r.cause, protocol.RecoveryEvent{Recovery: d.id})
	}
}

// guardian authenticates a guardian's envelope.
func (m *model) guardian(v *protocol.Verified, j *journalModel) protocol.Reason {
	key := v.Body.Signer.Key
	if j.control.changing(m.now) {
		return protocol.RecoveryDue
	}
	return m.mayHelp(v.Actions[0], j, key)
}

func (m *model) mayHelp(action protocol.Action, j *journalModel, key protocol.PublicKey) protocol.Reason {
	var policy protocol.GuardianPolicy
	switch a := action.(type) {
	case *protocol.ProposeRecovery:
		if j.control.guardians.IsZero() || protocol.GuardianCommitment(m.chain, j.id, a.Policy) != j.control.guardians {
			return protocol.WrongGuardians
		}
		policy, _ = protocol.ParseGuardianPolicy(a.Policy)
	case *protocol.ApproveRecovery:
		i := j.control.recovery(a.Recovery)
		if i < 0 {
			return protocol.UnknownRecovery
		}
		policy = j.control.recoveries[i].policy
	default:
		return protocol.NotEntitled
	}
	if !policy.Has(key) {
		return protocol.NotAGuardian
	}
	return protocol.Accepted
}

// claims checks a claim's own merits, before anything is charged.
func (m *model) claims(v *protocol.Verified, j *journalModel, a *protocol.ClaimJournal) protocol.Reason {
	b := &v.Body
	if j == nil {
		return protocol.UnknownJournal
	}
	sponsor := m.members[j.sponsor]
	message := protocol.ClaimMessage(m.chain, j.id, b.Signer.Key, a.Recipient)
	switch {
	case sponsor.removed:
		return protocol.UnknownMember
	case b.Signer.ID != [16]byte(b.Journal):
		return protocol.WrongJournal
	case j.control.claim.IsZero():
		return protocol.NotProvisional
	case protocol.ClaimCommitment(m.chain, j.id, a.Code) != j.control.claim:
		return protocol.WrongCode
	case m.now >= j.control.claimUntil:
		return protocol.ClaimExpired
	case j.controller == b.Signer.Key || a.Code == b.Signer.Key:
		return protocol.KeyInUse
	case !protocol.VerifySignature(a.Code, message, a.CodeProof) || !protocol.VerifySignature(sponsor.key, message, a.Agreement):
		return protocol.BadProof
	}
	return protocol.Accepted
}

var (
	controlTypes     = []protocol.ActionType{28, 32, 33, 34, 35, 36, 37, 38, 39}
	provisionalTypes = []protocol.ActionType{30, 33, 36, 40, 41, 42}
	deviceTypes      = []protocol.ActionType{28, 35, 40, 41, 44, 50}
)

// entitled is who may sign what, as far as control goes.
func (m *model) entitled(v *protocol.Verified, by actor, t protocol.ActionType) protocol.Reason {
	kind, helping := v.Body.Signer.Kind, t == protocol.TypeProposeRecovery || t == protocol.TypeApproveRecovery
	switch {
	case (kind == protocol.ActorGuardian) != helping, slices.Contains(controlTypes, t) && !helping && kind != protocol.ActorPatient:
		return protocol.NotEntitled
	case by.provisional && !slices.Contains(provisionalTypes, t):
		return protocol.StillProvisional
	case by.device && !slices.Contains(deviceTypes, t):
		return protocol.NotForDevices
	}
	return protocol.Accepted
}

// controlled executes an action about control; ok is false for others.
func (m *model) controlled(v *protocol.Verified, i int, j *journalModel, action protocol.Action) (reason protocol.Reason, ok bool) {
	key := v.Body.Signer.Key
	if j == nil {
		return 0, false
	}
	c := j.control
	switch a := action.(type) {
	case *protocol.ClaimJournal:
		if reason := m.claims(v, j, a); reason != protocol.Accepted {
			return reason, true
		}
		c.claim, c.claimUntil, c.guardians = protocol.Hash{}, 0, a.Guardians
		change(m, &j.controller, key)
	case *protocol.ReissueClaim:
		if c.claim.IsZero() {
			return protocol.NotProvisional, true
		}
		c.claim, c.claimUntil = a.Claim, m.now+protocol.ClaimMillis
	case *protocol.RotateController:
		if a.Controller == j.controller || c.device(a.Controller) >= 0 {
			return protocol.KeyInUse, true
		}
		if !protocol.VerifySignature(a.Controller, protocol.ControlMessage(m.chain, j.id, a.Controller, a.Recipient), a.Proof) {
			return protocol.BadProof, true
		}
		if !c.claim.IsZero() && a.Recipient != protocol.NobodyRecipient(m.chain, j.id) {
			return protocol.NotNobodys, true
		}
		change(m, &j.controller, a.Controller)
	case *protocol.AddDevice:
		if reason := m.addDevice(j, &c, a); reason != protocol.Accepted {
			return reason, true
		}
	case *protocol.RevokeDevice:
		n := c.device(a.Key)
		switch {
		case n < 0:
			return protocol.UnknownDevice, true
		case c.devices[n].revoked != 0:
			return protocol.DeviceRevoked, true
		}
		c.devices = slices.Clone(c.devices)
		c.devices[n].revoked = m.now
	case *protocol.SetGuardians:
		c.guardians, c.recoveries = a.Guardians, slices.Clone(c.recoveries)
		for n := range c.recoveries {
			if c.recoveries[n].state < 3 {
				c.recoveries[n].state, c.recoveries[n].at = 3, m.now
			}
		}
	case *protocol.ProposeRecovery, *protocol.ApproveRecovery, *protocol.VetoRecovery:
		if reason := m.recover(v, i, j, &c, a); reason != protocol.Accepted {
			return reason, true
		}
	default:
		return 0, false
	}
	change(m, &j.control, c)
	m.enter(&j.entries)
	return protocol.Accepted, true
}

func (m *model) addDevice(j *journalModel, c *controlModel, a *protocol.AddDevice) protocol.Reason {
	if j.controller == a.Key || c.device(a.Key) >= 0 || slices.ContainsFunc(c.recoveries, func(r recoveryModel) bool { return r.state < 3 && r.controller == a.Key }) {
		return protocol.KeyInUse
	}
	if !protocol.VerifySignature(a.Key, protocol.DeviceMessage(m.chain, j.id, a.Key, a.Name), a.Proof) {
		return protocol.BadProof
	}
	active, oldest := 0, -1
	for n, d := range c.devices {
		if d.revoked == 0 {
			active++
		} else if oldest < 0 || d.revoked < c.devices[oldest].revoked || d.revoked == c.devices[oldest].revoked && bytes.Compare(d.key[:], c.devices[oldest].key[:]) < 0 {
			oldest = n
		}
	}
	if active >= protocol.DevicesJournalMax {
		return protocol.TooManyDevices
	}
	c.devices = slices.Clone(c.devices)
	if len(c.devices) >= 4*protocol.DevicesJournalMax {
		c.devices = slices.Delete(c.devices, oldest, oldest+1)
	}
	c.devices = append(c.devices, deviceModel{key: a.Key})
	return protocol.Accepted
}

func (m *model) recover(v *protocol.Verified, i int, j *journalModel, c *controlModel, action protocol.Action) protocol.Reason {
	key := v.Body.Signer.Key
	c.recoveries = slices.Clone(c.recoveries)
	if a, ok := action.(*protocol.VetoRecovery); ok {
		n := c.recovery(a.Recovery)
		if n < 0 {
			return protocol.UnknownRecovery
		}
		if c.recoveries[n].state == 3 || c.recoveries[n].at <= m.now {
			return protocol.RecoveryOver
		}
		c.recoveries[n].state, c.recoveries[n].at = 3, m.now
		return protocol.Accepted
	}
	if reason := m.mayHelp(action, j, key); reason != protocol.Accepted {
		return reason
	}
	if a, ok := action.(*protocol.ApproveRecovery); ok {
		r := &c.recoveries[c.recovery(a.Recovery)]
		if r.state == 3 || r.at <= m.now {
			return protocol.RecoveryOver
		}
		if slices.Contains(r.approvals, key) {
			return protocol.AlreadySpoken
		}
		r.approvals = append(slices.Clone(r.approvals), key)
		m.weigh(j, r)
		return protocol.Accepted
	}
	a, _ := action.(*protocol.ProposeRecovery)
	policy, _ := protocol.ParseGuardianPolicy(a.Policy)
	if j.controller == a.Controller || c.device(a.Controller) >= 0 || policy.Has(a.Controller) {
		return protocol.KeyInUse
	}
	if !protocol.VerifySignature(a.Controller, protocol.ControlMessage(m.chain, j.id, a.Controller, a.Recipient), a.Proof) {
		return protocol.BadProof
	}
	oldest := -1
	for n, r := range c.recoveries {
		if r.state < 3 && r.at > m.now && r.approvals[0] == key {
			return protocol.AlreadySpoken
		}
		if o := &c.recoveries; r.state == 3 && (oldest < 0 || r.at < (*o)[oldest].at || r.at == (*o)[oldest].at && bytes.Compare(r.id[:], (*o)[oldest].id[:]) < 0) {
			oldest = n
		}
	}
	if len(c.recoveries) >= 2*protocol.GuardiansMax {
		c.recoveries = slices.Delete(c.recoveries, oldest, oldest+1)
	}
	r := recoveryModel{id: protocol.DerivedRecoveryID(v.ID, i), policy: policy, controller: a.Controller, approvals: []protocol.PublicKey{key},
		at: m.now + protocol.RecoveryOpenMillis, state: 1, cause: v.ID}
	m.weigh(j, &r)
	c.recoveries = append(c.recoveries, r)
	return protocol.Accepted
}

func (m *model) weigh(j *journalModel, r *recoveryModel) {
	if r.state == 1 && r.policy.Satisfied(r.approvals) {
		r.state, r.at = 2, m.now+max(r.policy.DelayMillis, m.params.RecoveryMillisMin)
		m.happens(j, protocol.EventRecoveryWaiting, m.cause, protocol.RecoveryWaiting{Recovery: r.id, Due: r.at})
	}
}
