package ledger_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
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
	phoneKey, phonePub := ledgertest.Key("phone")
	phone := &ledgertest.Who{Key: phoneKey, Signer: protocol.PatientSigner(patient.Journal(), phonePub)}
	sonKey, sonPub := ledgertest.Key("son")
	son := &ledgertest.Who{Key: sonKey, Signer: protocol.DelegateSigner(patient.Journal(), sonPub)}
	proves := func(k ed25519.PrivateKey, pub protocol.PublicKey) []byte {
		return ed25519.Sign(k, protocol.DelegateProofMessage(w.L.Chain(), patient.Journal(), pub))
	}
	w.Must(patient, patient.Journal(), &protocol.AddDevice{Key: phonePub, Name: protocol.Hash{1}, Proof: ed25519.Sign(phoneKey, protocol.DeviceMessage(w.L.Chain(), patient.Journal(), phonePub, protocol.Hash{1}))},
		&protocol.Delegate{Key: sonPub, Proof: proves(sonKey, sonPub), Level: protocol.LevelAct, NotAfter: w.Time + 3600_000, MayDelegate: true})
	// What the seeds about records and sessions are about: a record, one that is erased, a hold, a statement, a session.
	erased := record(3, protocol.Label{1})
	w.Must(w.Members[0], patient.Journal(), record(2, protocol.Label{1}), erased)
	held := protocol.DerivedHoldID(w.Must(w.Members[0], patient.Journal(), &protocol.SetHold{Until: w.Time + 3600_000, Code: protocol.HoldLitigation, Records: []protocol.RecordID{record(2, protocol.Label{1}).Record}}).ID, 0)
	erasure := protocol.DerivedErasureID(w.Must(patient, patient.Journal(), &protocol.Erase{Records: []protocol.RecordID{erased.Record}}).ID, 0)
	said := record(4, protocol.Label{1})
	said.Relation, said.About, said.Size = protocol.RelationStatement, record(2, protocol.Label{1}).Record, 4096
	w.Must(patient, patient.Journal(), said)
	attest := &protocol.AttestErasure{Erasure: erasure, Count: 1}
	if row, ok, err := journal.ErasureOf(w.View(), erasure); err != nil || !ok {
		f.Fatal(err)
	} else {
		attest.Count, attest.Root = row.Count, row.Root
	}
	actors := []*ledgertest.Who{w.Members[0], doctor, patient, guardian, phone, son}
	seeds := []protocol.Action{
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
		&protocol.ProposeMember{Member: protocol.Member{Kind: protocol.MemberHospital, Name: "New", Key: newPub}},
		&protocol.SetCard{Card: protocol.CardID{1}, Sealed: []byte{1, 2, 3}}, &protocol.SetCard{},
		&protocol.Delegate{Key: newPub, Proof: proves(newKey, newPub), Level: protocol.LevelSee, Labels: []protocol.Label{{1}}, NotAfter: w.Time + 1000}, &protocol.EndDelegation{Key: sonPub},
		&protocol.ReviewBreakGlass{Practitioner: doctor.Signer.ID, Session: protocol.AccessID{1}, Verdict: protocol.VerdictUnjustified, Note: protocol.Hash{1}},
		&protocol.Erase{Everything: true}, &protocol.Erase{Records: []protocol.RecordID{said.About}}, &protocol.Erase{Labels: []protocol.Label{{1}}}, &protocol.Erase{Author: w.Members[0].Signer.Member()},
		attest, &protocol.SetHold{Until: w.Time + 1000, Code: protocol.HoldStatutory}, &protocol.LiftHold{Hold: held},
		&protocol.RequestAmendment{Record: said.About, Statement: said.Record}, &protocol.AnswerAmendment{Record: said.About, Denial: protocol.DeniedAccurate}, said,
	}
	missing := map[protocol.ActionType]bool{}
	for n := range protocol.EventSeal {
		missing[n] = protocol.NewAction(n) != nil
	}
	for _, a := range seeds {
		missing[a.ActionType()] = false
	}
	for n, is := range missing {
		if is {
			f.Errorf("no seed is a %s", n)
		}
	}
	for _, a := range seeds {
		if err := a.Validate(); err != nil {
			f.Errorf("%s: %v", a.ActionType(), err)
		}
		for by := range actors {
			f.Add(uint8(by), uint8(by), uint16(a.ActionType()), protocol.Encode(a))
		}
	}
	f.Fuzz(func(t *testing.T, by, times uint8, kind uint16, body []byte) {
		who := actors[int(by)%len(actors)]
		b := protocol.Body{Version: protocol.Version, Chain: w.L.Chain(), NotAfter: w.Time + 1000, Signer: who.Signer}
		if protocol.ActionType(kind).OfJournal() {
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
