package ledger_test

import (
	"errors"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// A flipped bit, a row too few and a row too many: opening the ledger or checking it finds each, whatever row it is in.
func TestCheckFindsEveryFault(t *testing.T) {
	base := state.NewMemory()
	l := must(ledger.Open(base))
	w := ledgertest.New(t, l, 2)
	doctor := w.Practitioner(w.Members[0], "doctor", protocol.RolePhysician)
	patient := w.Patient(w.Members[0], "patient")
	w.Must(patient, patient.Journal(), &protocol.Grant{NotAfter: w.Time + 3600_000, Policy: canonical(t, `permit(principal, action, resource);`)})
	w.Must(w.Members[0], patient.Journal(), record(1, protocol.Label{1}), record(2, protocol.Label{2}))
	w.Access(doctor, patient.Journal(), protocol.PurposeTreat, protocol.Label{1})
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	type row struct{ key, value []byte }
	var rows []row
	if err := base.Scan(nil, nil, func(k, v []byte) (bool, error) {
		rows = append(rows, row{append([]byte{}, k...), append([]byte{}, v...)})
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	found := func(what string, r row, damage func(state.Batch) error) {
		t.Helper()
		store := base.Crash(false)
		b := store.NewBatch()
		if err := errors.Join(damage(b), b.Commit(true)); err != nil {
			t.Fatal(err)
		}
		damaged, err := ledger.Open(store)
		if err == nil && damaged.Head().Size > 0 {
			err = damaged.Check()
		} else if err == nil {
			err = errors.New("the ledger is gone") // a lost head row: the node finds a folder that has not begun
		}
		if err == nil {
			t.Errorf("%s of row %x (%q): not found", what, r.key, r.key[:1])
		}
	}
	for i, r := range rows {
		if len(r.value) > 0 {
			found("a flipped bit", r, func(b state.Batch) error {
				bad := append([]byte{}, r.value...)
				bad[(i*7)%len(bad)] ^= 1 << (i % 8)
				return b.Set(r.key, bad)
			})
		}
		if i%2 == 0 {
			found("the loss", r, func(b state.Batch) error { return b.Delete(r.key) })
		}
	}
	for _, prefix := range []string{"E", "J", "N"} {
		extra := row{key: append([]byte(prefix), make([]byte, 40)...)}
		found("one too many", extra, func(b state.Batch) error { return b.Set(extra.key, make([]byte, 60)) })
	}
}
