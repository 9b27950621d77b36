package sim

import (
	"fmt"
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// step is a block of the history, and what it must do everywhere.
type step struct {
	block   ledger.Block
	results string
	head    ledger.Head
}

// next makes a block after some time, and executes it.
func (t *town) next() step {
	t.elapse()
	b := ledger.Block{Height: t.L.Head().Height + 1, Time: t.Time}
	for range t.n(3) {
		parcel := make([]*protocol.Verified, 1+t.n(5))
		for i := range parcel {
			parcel[i] = t.envelope()
		}
		b.Parcels = append(b.Parcels, parcel)
	}
	b.Tick = len(b.Parcels) == 0 && t.n(2) == 0
	return t.execute(b)
}

// execute executes a block on the town's own ledger, and holds it against the model.
func (t *town) execute(b ledger.Block) step {
	applied, err := t.L.Apply(b)
	if err != nil {
		t.T.Fatalf("block %d: %v", b.Height, err)
	}
	if err := t.L.Commit(); err != nil {
		t.T.Fatal(err)
	}
	t.agree(b, applied)
	return step{b, fmt.Sprint(slices.Concat(applied.Results...)), applied.Head}
}

// agree holds what the ledger did against what the model says.
func (t *town) agree(b ledger.Block, applied *ledger.Applied) {
	want := t.model.block(b.Time, b.Parcels)
	for i, parcel := range b.Parcels {
		for j, v := range parcel {
			t.tally[want[i][j]]++
			if got := applied.Results[i][j]; got.Reason != want[i][j] || got.ID != v.ID {
				t.T.Fatalf("block %d: %s by %s: %s, the model says %s", b.Height, v.Actions[0].ActionType(), v.Body.Signer.Kind, got.Reason, want[i][j])
			}
			t.reached(v, want[i][j])
		}
	}
	entries := applied.Entries
	if applied.Changed {
		entries-- // the seal
	}
	if entries != t.model.written {
		t.T.Fatalf("block %d: %d entries, the model says %d", b.Height, entries, t.model.written)
	}
	view, err := t.L.View()
	if err != nil {
		t.T.Fatal(err)
	}
	defer view.Close()
	var events []event
	for i := applied.Head.Size - uint64(applied.Entries); i < applied.Head.Size; i++ {
		if e, ok := t.decided(view, i); ok {
			events = append(events, e)
		}
	}
	t.happened(b, events)
	for _, parcel := range b.Parcels {
		for _, v := range parcel {
			t.compareJournal(view, v.Body.Journal)
		}
	}
}

// happened compares what the ledger entered by itself.
func (t *town) happened(b ledger.Block, got []event) {
	for _, e := range got {
		t.events[e.kind]++
	}
	if !slices.Equal(got, t.model.events) {
		t.T.Fatalf("block %d: the ledger entered by itself\n%v\nthe model says\n%v", b.Height, got, t.model.events)
	}
}

// decided compares the decision in an access's entry, and gives back an event's.
func (t *town) decided(view *ledger.View, index uint64) (e event, ok bool) {
	s, err := view.Entry(index)
	if err != nil {
		t.T.Fatal(err)
	}
	switch s.Entry.Type {
	case protocol.TypeRequestAccess:
	case protocol.EventSeal:
		return e, false
	case protocol.EventRecordsErased:
		var body protocol.RecordsErased
		if err := protocol.Decode(s.Entry.Action, &body); err != nil {
			t.T.Fatal(err)
		}
		body.Root = protocol.Hash{} // which the model leaves out
		return event{s.Entry.Type, s.Entry.Journal, s.Entry.Cause, string(protocol.Encode(body))}, true
	default:
		return event{s.Entry.Type, s.Entry.Journal, s.Entry.Cause, string(s.Entry.Action)}, s.Entry.Signer.Kind == protocol.ActorLedger
	}
	var got protocol.AccessOutcome
	if err := protocol.Decode(s.Entry.Outcome, &got); err != nil {
		t.T.Fatal(err)
	}
	t.tally[got.Reason]++
	want := t.model.outcomes[protocol.DerivedAccessID(s.Entry.Cause, int(s.Entry.Index))]
	if got.Permitted != want.Permitted || got.Reason != want.Reason || got.Deadline != want.Deadline ||
		!slices.Equal(got.Contracts, want.Contracts) || !slices.Equal(got.Records, want.Records) {
		t.T.Fatalf("entry %d: the ledger decided\n%+v\nthe model\n%+v", index, got, want)
	}
	return e, false
}

func (t *town) compareJournal(view *ledger.View, id protocol.JournalID) {
	j := t.model.journals[id]
	head, err := journal.Head(view, id)
	if err != nil {
		t.T.Fatal(err)
	}
	if j == nil {
		if head.Count != 0 {
			t.T.Fatalf("journal %s has entries and is not open", id)
		}
		return
	}
	rows, err := consent.Contracts(view, id)
	if err != nil || head.Count != j.entries || len(rows) != len(j.contracts) {
		t.T.Fatalf("journal %s: %d entries and %d contracts, the model says %d and %d (%v)", id, head.Count, len(rows), j.entries, len(j.contracts), err)
	}
	t.comparePeople(view, j)
	for _, row := range rows {
		i := slices.IndexFunc(j.contracts, func(c *contract) bool { return c.id == row.ID })
		if i < 0 || int(row.Row.State) != j.contracts[i].state || row.Row.Uses != j.contracts[i].uses {
			t.T.Fatalf("contract %s: %+v", row.ID, row.Row)
		}
	}
}

// comparePeople compares who stands in for a patient, and what was asked of authors.
func (t *town) comparePeople(view *ledger.View, j *journalModel) {
	delegations, err := consent.Delegations(view, j.id)
	if err != nil || len(delegations) != len(j.people.delegations) {
		t.T.Fatalf("journal %s: %d delegations, the model says %d (%v)", j.id, len(delegations), len(j.people.delegations), err)
	}
	for _, row := range delegations {
		d, ok := j.people.delegation(row.Key)
		if !ok || row.Parent != d.parent || row.Level != d.level || !slices.Equal(row.Labels, d.labels) || row.NotAfter != d.until || int(row.Depth) != j.people.depth(d) {
			t.T.Fatalf("delegate %s: %+v, the model says %+v", row.Key, row, d)
		}
	}
	sessions, err := consent.Sessions(view, j.id)
	if err != nil || len(sessions) != len(j.people.sessions) {
		t.T.Fatalf("journal %s: %d sessions, the model says %d (%v)", j.id, len(sessions), len(j.people.sessions), err)
	}
	for _, n := range sessions {
		s, ok := j.people.session(n.Practitioner)
		if !ok || n.Row.ID != s.id || n.Row.Ends != s.ends || n.Row.Due != s.due || n.Row.Missed != s.missed || n.Row.Verdict != s.verdict {
			t.T.Fatalf("session %s: %+v, the model says %+v", n.Row.ID, n.Row, s)
		}
	}
	for _, r := range j.records {
		row, ok, err := journal.AmendmentOf(view, r)
		a, has := t.model.amendments[r]
		over := row.State == journal.AmendmentAccepted || row.State == journal.AmendmentDenied
		if err != nil || ok != has || ok && (over != a.over || row.Due != a.due || row.State == journal.AmendmentOverdue && !a.overdue) {
			t.T.Fatalf("amendment of %s: %v %+v, the model says %v %+v (%v)", r, ok, row, has, a, err)
		}
	}
	card, _, err := consent.HasCard(view, j.id)
	if err != nil || card != j.people.card {
		t.T.Fatalf("journal %s: card %s, the model says %s (%v)", j.id, card, j.people.card, err)
	}
}
