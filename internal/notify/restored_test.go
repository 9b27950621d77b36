package notify

import (
	"slices"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// reopen stops the notifier, puts what dir held before in its place as a backup would, says up to where it may have been told, and starts it.
func (b *bench) reopen(told uint64) {
	b.Helper()
	n, err := Open(Config{Dir: b.dir, Ledger: b.w.L, Key: [32]byte{7}, Clock: time.Now, Pace: quick, Options: b.options})
	if err != nil {
		b.Fatal(err)
	}
	if err := n.Restored(told); err != nil {
		b.Fatal(err)
	}
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
	b.start()
}

// A database that comes from a backup tells of what has been entered since once, not all of it again, and the urgent rather than the last; what
// waited when the backup was made is not sent again either; what comes afterwards is told as ever.
func TestRestored(t *testing.T) {
	h := newHook(t)
	b := newBench(t, Options{AllowHosts: []string{host(t, h.URL)}})
	all := b.webhook(h.URL + "/all")
	b.webhook(h.URL+"/some", "access-refused")
	b.read(protocol.PurposeTreat)
	b.eventually("the first is told", func() bool { return len(h.told(t)) == 1 && b.of(all.ID).Waiting == 0 })
	b.stop()
	for range 5 { // the node that was lost told these
		b.read(protocol.PurposeTreat)
	}
	b.read(protocol.PurposeBreakGlass)
	for range 5 {
		b.read(protocol.PurposeTreat)
	}
	b.reopen(b.w.L.Head().Size + 2) // one entry more and its block's seal
	b.eventually("the gap is looked at", func() bool { return b.of(all.ID).Waiting == 1 })
	b.read(protocol.PurposeTreat)
	b.eventually("of the rest one is told", func() bool { return len(h.told(t)) >= 2 && b.of(all.ID).Waiting == 0 })
	b.read(protocol.PurposeTreat)
	b.read(protocol.PurposeResearch)
	b.eventually("what is new is told", func() bool { return len(h.told(t)) >= 5 && b.of(all.ID).Waiting == 0 })
	got := h.told(t)
	slices.Sort(got)
	if want := []string{"16 access", "17 access-refused", "17 access-refused", "2 access", "8 break-glass"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}
