package proof

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// control is who may sign for the journal, as its entries say: it follows every change of hands and checks that each was rightful.
type control struct {
	controller protocol.PublicKey
	sponsor    protocol.MemberID
	claim      protocol.Hash // of the one-time code, while provisional
	guardians  protocol.Hash
	devices    map[protocol.PublicKey]bool // active
	recoveries map[protocol.RecoveryID]*recovery
	cause      protocol.ActionID // of the last entry that the patient signed, and the key
	key        protocol.PublicKey
}

func newControl() control {
	return control{devices: map[protocol.PublicKey]bool{}, recoveries: map[protocol.RecoveryID]*recovery{}}
}

type recovery struct {
	policy     protocol.GuardianPolicy
	controller protocol.PublicKey
	approvals  []protocol.PublicKey
	due        uint64 // UTC ms; 0 while it gathers
	over       bool
}

// forDevices are the actions that a device may sign for.
var forDevices = []protocol.ActionType{protocol.TypeGrant, protocol.TypeRevoke, protocol.TypeRequestAccess, protocol.TypeEndDelegation,
	protocol.TypeRevokeDevice, protocol.TypeVetoRecovery}

// patient checks an entry signed for the patient.
func (w *walk) patient(p parsed) error {
	e := p.entry
	key := e.Signer.Key
	if protocol.JournalID(e.Signer.ID) != w.id {
		return wrong(CodeSigner, "it was signed for another journal")
	}
	switch {
	case e.Type == protocol.TypeOpenJournal && e.Seq == 0:
	case e.Type == protocol.TypeClaimJournal:
	case key == w.control.controller, e.Cause == w.control.cause && key == w.control.key: // an envelope that rotates the key goes on with it
	case w.control.devices[key] && slices.Contains(forDevices, e.Type):
	default:
		return wrong(CodeSigner, "it was not signed with a key of the journal's that may do this")
	}
	w.control.cause, w.control.key = e.Cause, key
	return w.changeHands(p)
}

// changeHands follows what the patient says about who controls the journal.
func (w *walk) changeHands(p parsed) error {
	e, c := p.entry, &w.control
	action := protocol.NewAction(e.Type)
	if err := protocol.Decode(e.Action, action); err != nil {
		return wrong(CodeEntry, "its action: %v", err)
	}
	chain := w.genesis.Chain
	switch a := action.(type) {
	case *protocol.OpenJournal:
		*c = newControl()
		c.controller, c.sponsor, c.claim, c.guardians, c.cause, c.key = e.Signer.Key, a.Sponsor, a.Claim, a.Guardians, e.Cause, e.Signer.Key
	case *protocol.ClaimJournal:
		return w.claimed(p, a)
	case *protocol.ReissueClaim:
		c.claim = a.Claim
	case *protocol.RotateController:
		if !protocol.VerifySignature(a.Controller, protocol.ControlMessage(chain, w.id, a.Controller, a.Recipient), a.Proof) {
			return wrong(CodeSigner, "the new controller's key does not prove itself")
		}
		c.controller = a.Controller
	case *protocol.AddDevice:
		if !protocol.VerifySignature(a.Key, protocol.DeviceMessage(chain, w.id, a.Key, a.Name), a.Proof) {
			return wrong(CodeSigner, "the device's key does not prove itself")
		}
		c.devices[a.Key] = true
	case *protocol.RevokeDevice:
		delete(c.devices, a.Key)
	case *protocol.SetGuardians:
		c.guardians = a.Guardians
		c.endRecoveries()
	case *protocol.VetoRecovery:
		r := c.recoveries[a.Recovery]
		if r == nil || r.over || r.due != 0 && r.due <= e.Time {
			return wrong(CodeSigner, "it vetoes a recovery that was not open")
		}
		r.over = true
	}
	return nil
}

func (c *control) endRecoveries() {
	for _, r := range c.recoveries {
		r.over = true
	}
}

// claimed checks a claim: the code's key is the one committed to, and both it and the sponsor agreed to the new controller.
func (w *walk) claimed(p parsed, a *protocol.ClaimJournal) error {
	c, key, chain := &w.control, p.entry.Signer.Key, w.genesis.Chain
	message := protocol.ClaimMessage(chain, w.id, key, a.Recipient)
	sponsor, ok := w.memberKeyAt(c.sponsor, p)
	switch {
	case c.claim.IsZero() || protocol.ClaimCommitment(chain, w.id, a.Code) != c.claim:
		return wrong(CodeSigner, "it claims the journal with a code that is not the journal's")
	case !ok || !protocol.VerifySignature(a.Code, message, a.CodeProof) || !protocol.VerifySignature(sponsor, message, a.Agreement):
		return wrong(CodeSigner, "the code or the sponsor did not agree to this claim")
	}
	c.controller, c.claim, c.guardians = key, protocol.Hash{}, a.Guardians
	return nil
}

// guardian checks an entry signed by a guardian.
func (w *walk) guardian(p parsed) error {
	e, c := p.entry, &w.control
	if protocol.JournalID(e.Signer.ID) != w.id {
		return wrong(CodeSigner, "it was signed for another journal")
	}
	switch e.Type {
	case protocol.TypeProposeRecovery:
		var a protocol.ProposeRecovery
		if err := protocol.Decode(e.Action, &a); err != nil {
			return wrong(CodeEntry, "its action: %v", err)
		}
		policy, err := protocol.ParseGuardianPolicy(a.Policy)
		if err != nil || c.guardians.IsZero() || protocol.GuardianCommitment(w.genesis.Chain, w.id, a.Policy) != c.guardians || !policy.Has(e.Signer.Key) {
			return wrong(CodeSigner, "its signer is no guardian that the journal committed to")
		}
		if !protocol.VerifySignature(a.Controller, protocol.ControlMessage(w.genesis.Chain, w.id, a.Controller, a.Recipient), a.Proof) {
			return wrong(CodeSigner, "the new controller's key does not prove itself")
		}
		c.recoveries[protocol.DerivedRecoveryID(e.Cause, int(e.Index))] = &recovery{policy: policy, controller: a.Controller, approvals: []protocol.PublicKey{e.Signer.Key}}
	case protocol.TypeApproveRecovery:
		var a protocol.ApproveRecovery
		if err := protocol.Decode(e.Action, &a); err != nil {
			return wrong(CodeEntry, "its action: %v", err)
		}
		r := c.recoveries[a.Recovery]
		if r == nil || r.over || !r.policy.Has(e.Signer.Key) || slices.Contains(r.approvals, e.Signer.Key) {
			return wrong(CodeSigner, "its signer is no guardian who could approve this recovery")
		}
		r.approvals = append(r.approvals, e.Signer.Key)
	default:
		return wrong(CodeSigner, "a guardian may not do this")
	}
	return nil
}

// recovered checks what the ledger says of a recovery by itself, and follows it.
func (w *walk) recovered(e protocol.Entry, body any) error {
	c := &w.control
	switch b := body.(type) {
	case *protocol.RecoveryWaiting:
		r := c.recoveries[b.Recovery]
		if r == nil || r.over || r.due != 0 || !r.policy.Satisfied(r.approvals) || b.Due < e.Time+max(r.policy.DelayMillis, w.genesis.Params.RecoveryMillisMin) {
			return wrong(CodeSigner, "the guardians had not approved this recovery, or its delay is too short")
		}
		r.due = b.Due
	case *protocol.RecoveryEvent:
		r := c.recoveries[b.Recovery]
		if r == nil || r.over {
			return wrong(CodeSigner, "no such recovery was open")
		}
		if e.Type == protocol.EventRecoveryExpired {
			r.over = true
			return nil
		}
		if r.due == 0 || e.Time < r.due {
			return wrong(CodeSigner, "the journal changed hands before the recovery's delay was over")
		}
		c.endRecoveries()
		c.controller, c.guardians = r.controller, protocol.Hash{}
		clear(c.devices)
	}
	return nil
}
