package ledger_test

import (
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// What contracts answered to an author is remembered between blocks; each way in which the answer can change must show in the very next
// envelope.
func TestRememberedAnswersAboutWritingEnd(t *testing.T) {
	l, err := ledger.Open(state.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	w := ledgertest.New(t, l, 1)
	m := w.Members[0]
	patient := w.Patient(m, "pat")
	journal, records := patient.Journal(), byte(0)
	policy, _, err := consent.Render("contributor", consent.Params{Grantee: consent.Grantee{Member: protocol.MemberID(m.Signer.ID)}})
	if err != nil {
		t.Fatal(err)
	}
	record := func() protocol.Action {
		records++
		return &protocol.AddRecord{Record: protocol.RecordID{records}, Label: protocol.Label{1}, Ciphertext: protocol.Hash{1}, Size: 1, Capsule: protocol.Hash{1},
			Generation: 1, Manifest: protocol.Hash{1}, Root: protocol.Hash{1}}
	}
	expect := func(when string, want protocol.Reason) {
		t.Helper()
		for range 2 { // the second answer is the remembered one
			if r := w.Do(m, journal, record()); r.Reason != want {
				t.Fatalf("%s: %v, not %v", when, r.Reason, want)
			}
		}
	}
	expect("without a contract", protocol.NotPermitted)

	opens := w.Time + 2_000
	first := w.Must(patient, journal, &protocol.Grant{Policy: policy, NotBefore: opens, NotAfter: opens + 2_000})
	expect("before the window", protocol.NotPermitted)
	w.Time = opens
	expect("as the window opens", protocol.Accepted)
	w.Time = opens + 1_999
	if r := w.Do(m, journal, record()); !r.OK() {
		t.Fatalf("just before the window closes: %v", r.Reason)
	}
	expect("after the window", protocol.NotPermitted)

	second := w.Must(patient, journal, &protocol.Grant{Policy: policy, NotAfter: w.Time + 60_000})
	expect("under a second contract", protocol.Accepted)
	id := protocol.DerivedContractID(second.ID, 0)
	if r := w.Do(patient, journal, &protocol.Revoke{Contract: id}, &protocol.Revoke{Contract: protocol.DerivedContractID(first.ID, 0)}); r.OK() {
		t.Fatal("a contract that had ended was revoked")
	}
	expect("after a revocation that was taken back", protocol.Accepted)

	// In one block: revoked between two records.
	out := w.Block(w.Envelope(m, journal, record()), w.Envelope(patient, journal, &protocol.Revoke{Contract: id}), w.Envelope(m, journal, record()))
	for i, want := range []protocol.Reason{protocol.Accepted, protocol.Accepted, protocol.NotPermitted} {
		if got := out.Results[0][i].Reason; got != want {
			t.Fatalf("envelope %d: %v, not %v", i, got, want)
		}
	}
	expect("once revoked", protocol.NotPermitted)

	// A block that was applied and dropped leaves nothing behind.
	grant := ledger.Block{Height: l.Head().Height + 1, Time: w.Time, Parcels: [][]*protocol.Verified{{
		w.Envelope(patient, journal, &protocol.Grant{Policy: policy, NotAfter: w.Time + 60_000}), w.Envelope(m, journal, record())}}}
	if out, err := l.Apply(grant); err != nil || !out.Results[0][1].OK() {
		t.Fatal(err, out)
	}
	expect("after a block that was dropped", protocol.NotPermitted)
}
