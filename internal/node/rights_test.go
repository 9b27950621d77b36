package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/rights"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// What a patient is told from the journal's proof is what the ledger itself says: who can read what, who has read what. Withdrawing everything
// ends all of it at once, an access that stands open included, and what a delegate granted.
func TestRights(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	w.write(p, 0, group("labs", "one"), group("allergies", "two"), group("hiv", "three"))
	h := p.keys.Handle()
	_, failed, err := w.at[2].WriteRecords(w.ctx, client.Patient(p.keys), h, []fhir.Group{note(t, "allergies", client.Note{Text: "Mine.", By: "Patient"})}, nil)
	if err != nil || len(failed) > 0 {
		t.Fatalf("%+v %v", failed, err)
	}
	_, err = w.request(0, w.doctor, p, "labs")
	w.refused(err, protocol.NoContract)
	w.grant(p, w.doctor, time.Hour, "labs", "allergies")
	w.read(0, w.access(0, w.doctor, p, "labs"))
	_, err = w.at[1].GrantTemplate(w.ctx, p.keys, "emergency-card", consent.Params{Labels: []protocol.Label{h.Label("allergies")}}, 0)
	w.ok(err)
	_, err = w.at[1].SetCard(w.ctx, client.Patient(p.keys), h)
	w.ok(err)
	delegate := wallet.NewDelegate(wallet.Network{Chain: w.net.Genesis.Chain}, p.keys.Journal, "son")
	key, proves, err := wallet.ParseOffer(delegate.Offer(), w.net.Genesis.Chain, p.keys.Journal)
	w.ok(err)
	w.ok(w.at[0].Delegate(w.ctx, client.Patient(p.keys), p.keys.Journal, protocol.Delegate{Key: key, Proof: proves, Level: protocol.LevelShare, NotAfter: now() + 3600_000}))
	id := protocol.PractitionerID(w.doctor.ID)
	policy, made, err := consent.Render("second-opinion", consent.Params{Grantee: consent.Grantee{Practitioner: id}, Labels: []protocol.Label{h.Label("hiv")}})
	w.ok(err)
	_, err = w.at[0].Do(w.ctx, client.Actor(delegate), p.keys.Journal, &protocol.Grant{Template: made.Number, Policy: policy, NotAfter: now() + 600_000, UsesMax: 5})
	w.ok(err)

	agree := func() (can *rights.CanRead, all *rights.Accounting) {
		t.Helper()
		report, _, err := w.at[0].Verify(w.ctx, p.keys, proof.Options{Now: now()}, nil, nil)
		w.ok(err)
		if !report.OK {
			t.Fatal(report.Failures)
		}
		registry, err := w.at[0].Registry(w.ctx, client.Patient(p.keys))
		w.ok(err)
		can, err = rights.WhoCanRead(report, h, registry, now(), nil)
		w.ok(err)
		told, err := w.at[0].Readers(w.ctx, p.keys)
		w.ok(err)
		if diff := cmp.Diff(flat(told, h), flatProven(can)); diff != "" {
			t.Errorf("who can read (-ledger +proof):\n%s", diff)
		}
		lines, err := report.Log(proof.LogOptions{Handles: []protocol.Handle{h}})
		w.ok(err)
		all = rights.Account(report, lines, "", 0, now()+1e6)
		listed, err := w.at[0].Disclosures(w.ctx, p.keys, 0, now()+1e6)
		w.ok(err)
		if diff := cmp.Diff(entriesOf(listed), provenEntries(all)); diff != "" {
			t.Errorf("who has read (-ledger +proof):\n%s", diff)
		}
		return can, all
	}
	can, all := agree()
	if len(can.Rules) != 3+len(w.at) || len(can.People) < 1 || len(can.Delegates) != 1 || !can.Card || len(all.Disclosures) != 1 || len(all.Refused) != 1 {
		t.Fatalf("%+v", can)
	}

	open := w.access(0, w.doctor, p, "labs")
	done, err := w.at[0].WithdrawAll(w.ctx, p.keys, true)
	w.ok(err)
	if len(done.Contracts) != 3 || len(done.Delegates) != 1 || !done.Card || len(done.Remaining) != len(w.at) { // each member may add records
		t.Fatalf("withdrawn: %+v", done)
	}
	for i := range w.at {
		if _, err := w.at[i].Read(w.ctx, open); err == nil {
			t.Errorf("gateway %d: an access goes on after its contract was withdrawn", i)
		}
	}
	_, err = w.request(0, w.doctor, p, "hiv")
	w.refused(err, protocol.Withdrawn)
	w.write(p, 0, group("labs", "still written"))
	if can, _ = agree(); len(can.Rules) != len(w.at) || can.Rules[0].Reads || len(can.People) != 0 || len(can.Delegates) != 0 || can.Card {
		t.Fatalf("%+v", can)
	}
	done, err = w.at[0].WithdrawAll(w.ctx, p.keys, false)
	w.ok(err)
	if len(done.Contracts) != len(w.at) || len(done.Remaining) != 0 {
		t.Fatalf("withdrawn: %+v", done)
	}
	if _, failed, err := w.at[0].WriteRecords(w.ctx, client.Actor(w.net.Member(0)), h, []fhir.Group{group("labs", "too late")}, nil); err == nil && len(failed) == 0 {
		t.Error("a record was written after everything was withdrawn")
	}
	if can, _ = agree(); len(can.Rules) != 0 {
		t.Fatalf("%+v", can)
	}
	done, err = w.at[0].WithdrawAll(w.ctx, p.keys, false)
	w.ok(err)
	if len(done.Contracts)+len(done.Delegates) != 0 || done.Card {
		t.Fatalf("there was nothing left, and it withdrew %+v", done)
	}
}

// flat is who could read what, one string for each thing, as the ledger tells it.
func flat(r api.Readers, h protocol.Handle) (out []string) {
	for _, one := range r.Readers {
		for _, o := range one.Opens {
			if class := string(client.ClassOf(h, o.Label)); class != "" && o.Of > 0 {
				out = append(out, line(one.Member.String(), one.Practitioner.String(), class, o.Records, o.Of, o.Purposes, o.Glass, o.Contracts))
			}
		}
	}
	slices.Sort(out)
	return out
}

// flatProven is the same from the proof.
func flatProven(c *rights.CanRead) (out []string) {
	for _, one := range c.People {
		member, practitioner := one.Recipient.ID, protocol.PractitionerID{}.String()
		if one.Recipient.Kind == protocol.ActorPractitioner {
			member, practitioner = "", one.Recipient.ID
		}
		for _, o := range one.Opens {
			if o.Of > 0 {
				out = append(out, line(member, practitioner, o.Class, o.Records, o.Of, o.Purposes, o.Glass, o.Contracts))
			}
		}
	}
	slices.Sort(out)
	return out
}

func line(member, practitioner, class string, records, of int, purposes, glass []protocol.Purpose, contracts []protocol.ContractID) string {
	if practitioner != (protocol.PractitionerID{}).String() {
		member = "" // its practitioners are named by themselves
	}
	return fmt.Sprint(member, practitioner, class, records, of, purposes, glass, contracts)
}

type seen struct {
	Entry     uint64
	Permitted bool
	Purpose   string
	Records   int
}

func entriesOf(list []api.Disclosure) (out []seen) {
	for _, d := range list {
		out = append(out, seen{d.Entry, d.Permitted, d.Purpose.String(), len(d.Records)})
	}
	return out
}

func provenEntries(a *rights.Accounting) (out []seen) {
	for _, d := range a.Disclosures {
		out = append(out, seen{d.Entry, true, d.Purpose, len(d.Records)})
	}
	for _, d := range a.Refused {
		out = append(out, seen{d.Entry, false, d.Purpose, 0})
	}
	slices.SortFunc(out, func(a, b seen) int { return int(int64(a.Entry) - int64(b.Entry)) })
	return out
}
