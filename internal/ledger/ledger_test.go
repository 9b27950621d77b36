package ledger_test

import (
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func canonicalise(cedar string) ([]byte, error) { return consent.Canonicalise([]byte(cedar)) }

func canonical(t *testing.T, cedar string) []byte {
	t.Helper()
	c, err := canonicalise(cedar)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func record(i byte, l protocol.Label) *protocol.AddRecord {
	return &protocol.AddRecord{Record: protocol.RecordID{i}, Label: l, Ciphertext: protocol.Hash{i}, Size: 4096, Capsule: protocol.Hash{i, 1},
		Generation: 1, Manifest: protocol.Hash{i, 2}, Root: protocol.Hash{i, 3}}
}

// The main job on one ledger: write, consent, read, expiry by itself, revocation, refusal.
func TestMainStory(t *testing.T) {
	l, err := ledger.Open(state.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	w := ledgertest.New(t, l, 4)
	clinic := w.Members[0]
	doctor := w.Practitioner(w.Members[1], "doctor", protocol.RolePhysician)
	patient := w.Patient(clinic, "patient")
	allergies, labs := protocol.Label{1}, protocol.Label{2}

	if r := w.Do(clinic, patient.Journal(), record(1, allergies)); r.Reason != protocol.NotPermitted {
		t.Fatal("written without a grant:", r.Reason)
	}
	w.Must(patient, patient.Journal(), &protocol.Grant{NotAfter: w.Time + 3600_000,
		Policy: canonical(t, `permit(principal in Member::"`+clinic.Signer.Member().String()+`", action == Action::"write", resource);`)})
	w.Must(clinic, patient.Journal(), record(1, allergies), record(2, labs))

	if _, out := w.Access(doctor, patient.Journal(), protocol.PurposeTreat, allergies); out.Permitted || out.Reason != protocol.NoContract {
		t.Fatalf("read without a grant: %+v", out)
	}
	w.Must(patient, patient.Journal(), &protocol.Grant{NotAfter: w.Time + 10_000,
		Policy: canonical(t, `permit(principal == Practitioner::"`+protocol.PractitionerID(doctor.Signer.ID).String()+`", action == Action::"read", resource in Class::"`+allergies.String()+`");`)})
	id, out := w.Access(doctor, patient.Journal(), protocol.PurposeTreat, allergies)
	if !out.Permitted || len(out.Records) != 1 || out.Records[0] != (protocol.RecordID{1}) {
		t.Fatalf("%+v", out)
	}
	if row, ok, err := consent.Access(w.View(), id); err != nil || !ok || len(row.Records) != 1 {
		t.Fatal(row, ok, err)
	}
	if _, out := w.Access(doctor, patient.Journal(), protocol.PurposeTreat, labs); out.Permitted {
		t.Fatal("a class outside the grant was read")
	}
	w.Time += 20_000
	before := l.Head().Size
	if _, out := w.Access(doctor, patient.Journal(), protocol.PurposeTreat, allergies); out.Permitted || out.Reason != protocol.Ended {
		t.Fatalf("read after the end: %+v", out)
	}
	if s, err := w.View().Entry(before); err != nil || s.Entry.Type != protocol.EventContractEnded {
		t.Fatal("the end is not an entry", s.Entry.Type, err)
	}
	size := l.Head().Size
	for range 5 {
		if out := w.Block(); out.Changed || l.Head().Size != size {
			t.Fatal("an empty block changed something")
		}
	}
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
}
