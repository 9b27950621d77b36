package ledger_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// FuzzApply signs whatever the fuzzer makes of an action, by the actor of its choice, in the patient's journal or in none: what verifies is
// executed or rejected, and the ledger's invariants hold afterwards.
func FuzzApply(f *testing.F) {
	base := state.NewMemory()
	l, err := ledger.Open(base)
	if err != nil {
		f.Fatal(err)
	}
	w := ledgertest.New(f, l, 3)
	doctor := w.Practitioner(w.Members[0], "doctor", protocol.RolePhysician)
	patient := w.Patient(w.Members[0], "patient")
	w.Must(patient, patient.Journal(), &protocol.Grant{NotAfter: w.Time + 3600_000, Policy: must(canonicalise(`permit(principal, action, resource);`))})
	k, pub := ledgertest.Key("guardian")
	guardian := &ledgertest.Who{Key: k, Signer: protocol.GuardianSigner(patient.Journal(), pub)}
	policy := protocol.Encode(protocol.GuardianPolicy{Groups: []protocol.GuardianGroup{{Need: 1, Keys: []protocol.PublicKey{pub}}}})
	w.Must(patient, patient.Journal(), &protocol.SetGuardians{Guardians: protocol.GuardianCommitment(w.L.Chain(), patient.Journal(), policy)})
	newKey, newPub := ledgertest.Key("new")
	actors := []*ledgertest.Who{w.Members[0], doctor, patient, guardian}
	for _, a := range []protocol.Action{
		&protocol.ProposeRemoval{Member: w.Members[1].Signer.Member()}, &protocol.Approve{Proposal: protocol.ActionID{1}},
		&protocol.SetPractitioner{Practitioner: doctor.Signer.ID, Key: doctor.Signer.Key, Role: 1, Status: 2, ValidUntil: 1, Commitment: protocol.Hash{1}},
		record(1, protocol.Label{1}), &protocol.Grant{NotAfter: w.Time + 1000, Policy: must(canonicalise(`forbid(principal, action, resource);`))},
		&protocol.RequestAccess{Labels: []protocol.Label{{1}}, Purpose: 1, OneTime: [32]byte{9}, OneTimeKEM: protocol.OneTimeX25519},
		&protocol.Revoke{Contract: protocol.ContractID{1}}, &protocol.AcceptDeals{Generation: 1, Epoch: 1, Dealers: []uint16{1}},
		&protocol.Complain{Generation: 1, Epoch: 1, Dealer: 1}, &protocol.Reveal{Generation: 1, Epoch: 1, Receiver: 1, Share: make([]byte, 32)},
		&protocol.Deal{Generation: 1, Epoch: 1, Message: []byte{1, 2, 3}}, &protocol.OfferReceiverKey{Generation: 1, Epoch: 1, Key: make([]byte, 1216)},
		&protocol.OpenJournal{Recipient: [32]byte{1}, Sponsor: w.Members[0].Signer.Member(), Agreement: make([]byte, 64)},
		&protocol.RotateMemberKey{Key: protocol.PublicKey{1}, Proof: make([]byte, 64)},
		&protocol.ClaimJournal{Code: protocol.PublicKey{1}, CodeProof: make([]byte, 64), Recipient: [32]byte{1}, Agreement: make([]byte, 64)},
		&protocol.ReissueClaim{Claim: protocol.Hash{1}}, &protocol.RevokeDevice{Key: pub}, &protocol.SetGuardians{},
		&protocol.AddDevice{Key: newPub, Name: protocol.Hash{1}, Proof: ed25519.Sign(newKey, protocol.DeviceMessage(w.L.Chain(), patient.Journal(), newPub, protocol.Hash{1}))},
		&protocol.RotateController{Controller: newPub, Recipient: [32]byte{1}, Proof: ed25519.Sign(newKey, protocol.ControlMessage(w.L.Chain(), patient.Journal(), newPub, [32]byte{1}))},
		&protocol.ProposeRecovery{Policy: policy, Controller: newPub, Recipient: [32]byte{1}, Proof: ed25519.Sign(newKey, protocol.ControlMessage(w.L.Chain(), patient.Journal(), newPub, [32]byte{1}))},
		&protocol.ApproveRecovery{Recovery: protocol.RecoveryID{1}}, &protocol.VetoRecovery{Recovery: protocol.RecoveryID{1}},
	} {
		for by := range actors {
			f.Add(uint8(by), uint8(by), uint16(a.ActionType()), protocol.Encode(a))
		}
	}
	f.Fuzz(func(t *testing.T, by, times uint8, kind uint16, body []byte) {
		who := actors[int(by)%len(actors)]
		b := protocol.Body{Version: protocol.Version, Chain: w.L.Chain(), NotAfter: w.Time + 1000, Signer: who.Signer}
		if kind >= uint16(protocol.TypeVetoRecovery) && kind < uint16(protocol.TypeOfferReceiverKey) {
			b.Journal = patient.Journal()
		}
		for range 1 + int(times)%3 {
			b.Actions = append(b.Actions, protocol.RawAction{Type: protocol.ActionType(kind), Body: body})
		}
		raw, err := sign(b, who.Key)
		if err != nil {
			return
		}
		v, err := protocol.VerifyEnvelope(raw)
		if err != nil {
			return
		}
		l := must(ledger.Open(base.Crash(false)))
		head := l.Head()
		applied, err := l.Apply(ledger.Block{Height: head.Height + 1, Time: w.Time, Parcels: [][]*protocol.Verified{{v}}})
		if err != nil {
			t.Fatal(err)
		}
		if r := applied.Results[0][0]; !r.OK() && applied.Entries > 1 || r.OK() && applied.Entries < 2 {
			t.Fatalf("%s and %d entries", r.Reason, applied.Entries)
		}
		if err := l.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := l.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// sign signs a body whose actions may be no CBOR at all, which cannot be encoded.
func sign(b protocol.Body, key ed25519.PrivateKey) (raw []byte, err error) {
	defer func() {
		if recover() != nil {
			err = protocol.ErrEncoding
		}
	}()
	raw, _ = protocol.Sign(b, func(m []byte) []byte { return ed25519.Sign(key, m) })
	return raw, nil
}
