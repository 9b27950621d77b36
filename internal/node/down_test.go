package node_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// One of four nodes down: everything goes on. It comes back, catches up, fetches the files that it should hold, and serves.
// Two down: nothing is written and nobody reads, and both are said clearly; with one of them back, all is as before.
func TestNodesDown(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	first, text := numbered("labs", "before", 3)
	w.write(p, 0, first...)
	w.grant(p, w.doctor, 0)

	w.ok(w.net.StopNode(3))
	more, moreText := numbered("labs", "while-away", 6)
	written := w.write(p, 1, more...)
	text = append(text, moreText...)
	w.equal(w.read(2, w.access(2, w.doctor, p, "labs")), text)
	w.complete(0, p)

	w.ok(w.net.StartNode(3))
	head := w.net.Nodes[0].Ledger().Head()
	w.eventually("the node catches up", func() bool { return w.net.Nodes[3].Ledger().Head().Size >= head.Size })
	w.at[3] = w.dial(w.net.Gateway(3))
	w.eventually("it holds its files again", func() bool {
		s, err := w.net.Nodes[3].Replicator().Walk(w.ctx)
		return err == nil && s.Missing == 0 && s.Held == s.Placed && s.Placed > 0
	})
	w.eventually("it is connected again", func() bool { h, err := w.at[3].Health(w.ctx); return err == nil && h.OK })
	w.ok(w.net.StopNode(0)) // now the node that was away is needed for the threshold
	w.equal(w.read(3, w.access(3, w.doctor, p, "labs")), text)
	w.complete(3, p)

	open := w.access(1, w.doctor, p, "labs")
	w.ok(w.net.StopNode(3))
	w.twoDown(p, open)

	w.ok(w.net.StartNode(0))
	w.eventually("a quorum is back", func() bool { h, err := w.at[1].Health(w.ctx); return err == nil && h.Peers == 2 })
	w.write(p, 1, group("labs", "z-after"))
	w.equal(w.read(1, w.access(1, w.doctor, p, "labs")), append(text, "z-after"))
	if len(written) != 6 {
		t.Fatal(len(written))
	}
}

func (w *world) twoDown(p *patient, open *client.Access) {
	w.Helper()
	w.eventually("the loss is noticed", func() bool { h, err := w.at[1].Health(w.ctx); return err == nil && h.Peers == 1 && !h.OK })
	began := time.Now()
	_, err := w.request(1, w.doctor, p, "labs")
	var problem *api.Problem
	if !errors.As(err, &problem) || problem.Status != http.StatusServiceUnavailable && problem.Status != http.StatusGatewayTimeout || problem.Detail == "" {
		w.Fatalf("a request without a quorum: %v", err)
	}
	if problem.Code != "no-quorum" {
		w.Fatalf("%s after %v", problem.Code, time.Since(began))
	}
	_, failed, err := w.at[1].WriteRecords(w.ctx, client.Actor(w.net.Member(1)), p.keys.Handle(), numberedGroups(2), nil)
	if !errors.As(err, &problem) || problem.Code != "no-quorum" || len(failed) != 0 {
		w.Fatalf("a write without a quorum: %v %v", failed, err) // before anything is sealed: nobody vouches for whom to seal to
	}
	read, err := w.at[1].Read(w.ctx, open)
	if !errors.Is(err, client.ErrTooFewShares) || read.Records != nil {
		w.Fatalf("two of four custodians opened a record: %v", err)
	}
	if _, err := w.at[1].Records(w.ctx, p.keys); err != nil {
		w.Fatalf("the patient's own list needs no quorum: %v", err)
	}
	if own, err := w.at[1].OpenRecords(w.ctx, p.keys, nil); err != nil || len(own) == 0 {
		w.Fatalf("the patient's own copy needs no quorum: %v", err)
	}
}

// A contract whose window closes while the whole network sleeps: the first request afterwards is refused by the ledger's decision, on a
// block whose time is fresh, not on one that lags by the pause.
func TestWindowClosedDuringAPause(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := &world{TB: t, ctx: testContext(t)}
	w.start(devConfig(dir, 4))
	w.doctor = w.practitioner(0, protocol.RolePhysician)
	p := w.patient()
	w.write(p, 0, group("labs", "a"))
	const window = 1500 * time.Millisecond
	ends := time.Now().Add(window)
	w.grant(p, w.doctor, window, "labs")
	w.equal(w.read(0, w.access(0, w.doctor, p, "labs")), []string{"a"})
	w.ok(w.net.Stop())
	<-time.After(time.Until(ends.Add(2500 * time.Millisecond)))
	w.start(devConfig(dir, 4))
	defer func() { w.ok(w.net.Stop()) }()
	asked := uint64(time.Now().UnixMilli())
	_, err := w.request(1, w.doctor, p, "labs")
	w.refused(err, protocol.Ended)
	entries, err := w.at[1].Entries(w.ctx, p.keys, 0)
	w.ok(err)
	var e protocol.Entry
	for _, x := range entries {
		w.ok(protocol.Decode(x.Raw, &e))
	}
	if e.Type != protocol.TypeRequestAccess || e.Time+2000 < asked {
		t.Fatalf("the last entry is a %s decided at %d, asked at %d", e.Type, e.Time, asked)
	}
}
