package ledger_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Envelopes come together again from their entries, byte for byte: by members, practitioners and patients, of one action and several, in a
// journal and in none, with events among their entries.
func TestEnvelopesComeTogetherAgain(t *testing.T) {
	store := state.NewMemory()
	l, err := ledger.Open(store)
	if err != nil {
		t.Fatal(err)
	}
	w := ledgertest.New(t, l, 2) // key generation ends with an event
	m := w.Members[0]
	doctor, patient := w.Practitioner(m, "doctor", protocol.RolePhysician), w.Patient(m, "pat")
	policy, _, err := consent.Render("emergency-24h", consent.Params{Grantee: consent.Grantee{Practitioner: protocol.PractitionerID(doctor.Signer.ID)}})
	if err != nil {
		t.Fatal(err)
	}
	grant := func(uses uint32) protocol.Action {
		return &protocol.Grant{Policy: policy, NotAfter: w.Time + 60_000, UsesMax: uses}
	}
	w.Must(patient, patient.Journal(), grant(1), grant(0))
	w.Access(doctor, patient.Journal(), protocol.PurposeTreat, protocol.Label{1}) // uses a contract up: an event
	view, compared, events := w.View(), 0, 0
	for _, b := range w.Blocks {
		for _, parcel := range b.Parcels {
			for _, v := range parcel {
				first, entries, envelope, ok, err := view.Envelope(v.ID)
				if err != nil || !ok || !bytes.Equal(envelope, v.Envelope) {
					t.Fatalf("%s comes back as %x (%v, %v), not %x", v.Actions[0].ActionType(), envelope, ok, err, v.Envelope)
				}
				if at, n, ok, err := view.Located(v.ID); at != first || n != entries || !ok || err != nil {
					t.Fatalf("located at %d, %d entries (%v, %v), not %d, %d", at, n, ok, err, first, entries)
				}
				compared, events = compared+1, events+entries-len(v.Actions)
			}
		}
	}
	if compared < 10 || events == 0 {
		t.Fatalf("%d envelopes with %d events are too few to show anything", compared, events)
	}

	last := w.Blocks[len(w.Blocks)-1].Parcels[0][0]
	key := append([]byte{'N'}, last.ID[:]...)
	row, _, _ := store.Get(key)
	for _, at := range []int{10, 19} { // version, not-after
		spoiled := bytes.Clone(row)
		spoiled[at] ^= 1
		batch := store.NewBatch()
		if err := errors.Join(batch.Set(key, spoiled), batch.Commit(true)); err != nil {
			t.Fatal(err)
		}
		var broken exec.Broken
		if _, _, _, _, err := view.Envelope(last.ID); !errors.As(err, &broken) {
			t.Fatalf("with byte %d of its row changed: %v", at, err)
		}
	}
}
