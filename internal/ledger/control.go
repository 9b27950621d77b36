package ledger

import (
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// controls tells whether an action is about who controls a journal.
func controls(t protocol.ActionType) bool {
	switch t {
	case protocol.TypeClaimJournal, protocol.TypeReissueClaim, protocol.TypeAddDevice, protocol.TypeRevokeDevice, protocol.TypeRotateController,
		protocol.TypeSetGuardians, protocol.TypeProposeRecovery, protocol.TypeApproveRecovery, protocol.TypeVetoRecovery:
		return true
	}
	return false
}

// entitled says what a kind of signer may not do at all. Guardians, devices, and whoever runs a provisional journal, may do what is listed
// here and nothing else; what only the patient may do about control is refused to everybody else.
func entitled(c *exec.Context, by actor, t protocol.ActionType) protocol.Reason {
	switch {
	case c.Signer.Kind == protocol.ActorGuardian:
		if t != protocol.TypeProposeRecovery && t != protocol.TypeApproveRecovery {
			return protocol.NotEntitled
		}
	case t == protocol.TypeProposeRecovery, t == protocol.TypeApproveRecovery:
		return protocol.NotEntitled
	case controls(t) && c.Signer.Kind != protocol.ActorPatient:
		return protocol.NotEntitled
	case by.provisional:
		switch t {
		case protocol.TypeOpenJournal, protocol.TypeReissueClaim, protocol.TypeRotateController, protocol.TypeGrant, protocol.TypeRevoke, protocol.TypeSetCard:
		default:
			return protocol.StillProvisional
		}
	case by.device:
		switch t {
		case protocol.TypeGrant, protocol.TypeRevoke, protocol.TypeRequestAccess, protocol.TypeEndDelegation, protocol.TypeRevokeDevice, protocol.TypeVetoRecovery:
		default:
			return protocol.NotForDevices
		}
	}
	return protocol.Accepted
}

// control hands an action to its family.
func control(c *exec.Context, by actor, action protocol.Action, salt [16]byte) protocol.Reason {
	switch a := action.(type) {
	case *protocol.ClaimJournal:
		return journal.Claim(c, a, by.sponsor)
	case *protocol.ReissueClaim:
		return journal.ReissueClaim(c, a)
	case *protocol.AddDevice:
		return journal.AddDevice(c, a)
	case *protocol.RevokeDevice:
		return journal.RevokeDevice(c, a)
	case *protocol.RotateController:
		return journal.Rotate(c, a)
	case *protocol.SetGuardians:
		return journal.SetGuardians(c, a)
	case *protocol.ProposeRecovery:
		return journal.ProposeRecovery(c, a, salt)
	case *protocol.ApproveRecovery:
		return journal.ApproveRecovery(c, a)
	case *protocol.VetoRecovery:
		return journal.VetoRecovery(c, a)
	}
	exec.Break("ledger: action type %d controls a journal and is not dispatched", action.ActionType())
	return 0
}

// authenticatePatient finds who signs for a journal. Opening and claiming one bring the key along: a sponsor must have agreed to it.
func authenticatePatient(c *exec.Context, actions []protocol.Action) (actor, protocol.Reason) {
	switch a := actions[0].(type) {
	case *protocol.OpenJournal:
		key, reason := sponsorKey(c, a.Sponsor)
		if reason == protocol.Accepted && !protocol.VerifySignature(key, protocol.SponsorMessage(c.Chain, a.Sponsor, c.Journal, c.Signer.Key), a.Agreement) {
			reason = protocol.BadProof
		}
		return actor{payer: a.Sponsor, sponsor: key, opening: true, provisional: !a.Claim.IsZero()}, reason
	case *protocol.ClaimJournal:
		row, ok, err := journal.Get(c.Tx, c.Journal)
		if err != nil {
			panic(exec.Broken{Err: err})
		}
		if !ok {
			return actor{}, protocol.UnknownJournal
		}
		key, reason := sponsorKey(c, row.Sponsor)
		if reason == protocol.Accepted {
			reason = journal.CheckClaim(c, row, a, key)
		}
		return actor{payer: row.Sponsor, sponsor: key}, reason
	}
	p, reason := journal.Authenticate(c)
	return actor{payer: p.Sponsor, device: p.Device, provisional: p.Provisional(), revoking: onlyRevokes(actions)}, reason
}

func sponsorKey(c *exec.Context, id protocol.MemberID) (protocol.PublicKey, protocol.Reason) {
	m, ok, err := registry.Member(c.Tx, id)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	if !ok || m.Removed {
		return protocol.PublicKey{}, protocol.UnknownMember
	}
	return m.Member.Key, protocol.Accepted
}

// onlyRevokes tells whether an envelope does nothing but take back what others could do.
func onlyRevokes(actions []protocol.Action) bool {
	for _, a := range actions {
		switch a.ActionType() {
		case protocol.TypeRevoke, protocol.TypeRevokeDevice, protocol.TypeVetoRecovery, protocol.TypeEndDelegation, protocol.TypeErase:
		default:
			return false
		}
	}
	return true
}

// requestOwn decides on a patient's reading of their own journal.
func requestOwn(c *exec.Context, a *protocol.RequestAccess) ([]byte, protocol.Reason) {
	out, ok := consent.RequestOwn(c, a, shelf{c})
	if !ok {
		return nil, protocol.UnknownRecord
	}
	return protocol.Encode(out), protocol.Accepted
}
