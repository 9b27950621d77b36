package node_test

import (
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// An access that stands open opens nothing from the block that suspends its reader on, at whatever node is asked; reinstated, the reader goes
// on under the same access.
func TestSuspensionStopsAnOpenAccess(t *testing.T) {
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	w.write(p, 0, group("labs", "before"))
	w.grant(p, w.doctor, time.Hour)
	a := w.access(0, w.doctor, p, "labs")
	w.equal(w.read(0, a), []string{"before"})

	id := protocol.PractitionerID(w.doctor.ID)
	member := client.Actor(w.net.Member(0))
	row, err := w.at[0].Practitioner(w.ctx, id)
	w.ok(err)
	w.ok(w.at[0].SetPractitioner(w.ctx, member, row, protocol.PractitionerSuspended, nil))
	// The block of the suspension is committed at node 0 now; the others reach it before they answer about anything of that size.
	for i := range w.at {
		w.eventually("the suspension reaches every node", func() bool {
			now, err := w.at[i].Practitioner(w.ctx, id)
			return err == nil && now.Status == "suspended"
		})
		if read, err := w.at[i].Read(w.ctx, a); err == nil || len(read.Records) > 0 {
			t.Fatalf("node %d served a suspended practitioner's open access: %d records", i, len(read.Records))
		}
	}
	_, err = w.request(1, w.doctor, p, "labs")
	w.refused(err, protocol.NoCredential)

	w.ok(w.at[0].SetPractitioner(w.ctx, member, row, protocol.PractitionerActive, nil))
	for i := range w.at {
		w.eventually("the reinstatement reaches every node", func() bool {
			now, err := w.at[i].Practitioner(w.ctx, id)
			return err == nil && now.Status == "active"
		})
	}
	w.equal(w.read(0, a), []string{"before"})
	w.complete(2, p)
}
