package sim

import (
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// compareStandings holds what patients are told of their journals against the model: what stands, made from the entries alone, and who can
// read what now, for everybody, every class and every purpose. It returns how much there was to tell.
func (t *town) compareStandings(tb *testing.T) (told int) {
	tb.Helper()
	view, err := t.L.View()
	if err != nil {
		tb.Fatal(err)
	}
	defer view.Close()
	now := view.Head.Time
	for id, j := range t.model.journals {
		var entries []protocol.Entry
		if err := view.Journal(id, 0, func(s ledger.Stored) bool { entries = append(entries, s.Entry); return true }); err != nil {
			tb.Fatal(err)
		}
		t.compareStanding(tb, j, proof.StandingAfter(entries))
		found, err := view.Readers(id, now, 1<<20)
		if err != nil || !found.Whole {
			tb.Fatal(err)
		}
		told += t.compareReaders(tb, j, found, now)
	}
	return told
}

func (t *town) compareStanding(tb *testing.T, j *journalModel, s proof.Standing) {
	tb.Helper()
	var active []*contract
	for _, c := range j.contracts {
		if c.state == 1 {
			active = append(active, c)
		}
	}
	if len(s.Contracts) != len(active) {
		tb.Fatalf("journal %s: by its entries %d contracts stand, the model says %d", j.id, len(s.Contracts), len(active))
	}
	for _, got := range s.Contracts {
		i := slices.IndexFunc(active, func(c *contract) bool { return c.id == got.ID })
		if i < 0 || got.Uses != active[i].uses || got.By != active[i].by || !slices.Equal(got.Within, active[i].within) {
			tb.Fatalf("journal %s: by its entries %+v stands", j.id, got)
		}
	}
	if len(s.Delegates) != len(j.people.delegations) {
		tb.Fatalf("journal %s: by its entries %d delegations stand, the model says %d", j.id, len(s.Delegates), len(j.people.delegations))
	}
	for _, got := range s.Delegates {
		if d, ok := j.people.delegation(got.Key); !ok || d.parent != got.Parent || d.level != got.Level || d.until != got.NotAfter || !slices.Equal(d.labels, got.Labels) {
			tb.Fatalf("journal %s: by its entries %+v stands in, the model says %+v", j.id, got, d)
		}
	}
	devices := 0
	for _, d := range j.control.devices {
		if d.revoked == 0 {
			devices++
			if !slices.Contains(s.Devices, d.key) {
				tb.Fatalf("journal %s: by its entries device %s is none", j.id, d.key)
			}
		}
	}
	if len(s.Devices) != devices || s.Card == j.people.card.IsZero() || s.Guardians == j.control.guardians.IsZero() || s.Closed != j.closed {
		tb.Fatalf("journal %s: by its entries %d devices, card %v, guardians %v, closed %v; the model says %d, %v, %v, %v", j.id, len(s.Devices), s.Card, s.Guardians, s.Closed,
			devices, !j.people.card.IsZero(), !j.control.guardians.IsZero(), j.closed)
	}
}

// compareReaders asks the model for everybody, and counts what is opened to anybody.
func (t *town) compareReaders(tb *testing.T, j *journalModel, found ledger.Readers, now uint64) (told int) {
	tb.Helper()
	if j.closed {
		if len(found.People) > 0 {
			tb.Fatalf("journal %s is closed, and %d are said to read", j.id, len(found.People))
		}
		return 0
	}
	var everybody []actor
	for id, m := range t.model.members {
		if !m.removed {
			everybody = append(everybody, actor{member: id, credential: true})
		}
	}
	for id, p := range t.model.practitioners {
		if p.status == protocol.PractitionerActive && now < p.validUntil && !t.model.members[p.member].removed {
			everybody = append(everybody, actor{member: p.member, practitioner: id, role: p.role, credential: true})
		}
	}
	for _, who := range everybody {
		for _, l := range append(slices.Clone(labels), protocol.Label{0xee}) {
			opens := openingOf(found, who, l)
			told += opens.Records
			t.comparePurposes(tb, j, who, l, opens, now)
		}
	}
	return told
}

func openingOf(found ledger.Readers, who actor, l protocol.Label) (out ledger.OpenClass) {
	if !slices.Contains(found.Labels, l) {
		l = protocol.Label{}
	}
	for _, r := range found.People {
		if r.Member == who.member && r.Practitioner == who.practitioner {
			for _, o := range r.Opens {
				if o.Label == l {
					return o
				}
			}
		}
	}
	return out
}

func (t *town) comparePurposes(tb *testing.T, j *journalModel, who actor, l protocol.Label, opens ledger.OpenClass, now uint64) {
	tb.Helper()
	var records []protocol.RecordID // that are decided on
	for _, r := range j.records {
		if t.model.records[r].label == l && !t.model.fates[r].erased {
			records = append(records, t.model.subject(r))
		}
	}
	some := make([]bool, len(records))
	if len(records) == 0 {
		records, some = []protocol.RecordID{{}}, []bool{false}
	}
	for _, purpose := range protocol.Purposes() {
		for _, glass := range []bool{false, true} {
			if glass && (!purpose.BreaksGlass() || !protocol.EmergencyRole(who.role)) || !glass && !purpose.KeepsGlass() {
				continue
			}
			any := false
			for i, r := range records {
				reason, _ := j.decide(question{by: who, purpose: purpose, now: now, label: l, record: r, credential: true, glass: glass})
				if reason == protocol.Accepted {
					any, some[i] = true, true
				}
			}
			said := slices.Contains(opens.Purposes, purpose)
			if glass {
				said = slices.Contains(opens.Glass, purpose)
			}
			if any != said {
				tb.Fatalf("journal %s: %s of %s asks for %s, %s, glass %v: the model says %v, the patient is told %v", j.id, who.practitioner, who.member, l, purpose, glass, any, said)
			}
		}
	}
	count := 0
	for _, yes := range some {
		if yes {
			count++
		}
	}
	if opens.Of > 0 && (opens.Records != count || opens.Of != len(records)) {
		tb.Fatalf("journal %s: %s of %s could read %d of %d records of %s; the patient is told %d of %d", j.id, who.practitioner, who.member, count, len(records), l, opens.Records, opens.Of)
	}
}
