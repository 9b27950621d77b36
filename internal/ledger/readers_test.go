package ledger_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// What Readers says is what everybody gets who really asks: every organisation and practitioner, class, purpose, with the glass whole and broken.
func TestReadersAreThoseWhoGetIn(t *testing.T) {
	l, err := ledger.Open(state.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	w := ledgertest.New(t, l, 2)
	alice := w.Patient(w.Members[0], "alice")
	in := alice.Journal()
	allergies, labs, notes, empty := protocol.Label{1}, protocol.Label{2}, protocol.Label{3}, protocol.Label{4}
	people := []*ledgertest.Who{w.Members[0], w.Members[1],
		w.Practitioner(w.Members[0], "doctor", protocol.RolePhysician), w.Practitioner(w.Members[0], "nurse", protocol.RoleNurse),
		w.Practitioner(w.Members[1], "medic", protocol.RoleParamedic), w.Practitioner(w.Members[1], "insurer", protocol.RoleClaimsExaminer)}
	doctor, nurse, insurer := people[2], people[3], people[5]
	suspended := w.Practitioner(w.Members[1], "suspended", protocol.RoleParamedic)
	who := protocol.PractitionerID(suspended.Signer.ID)
	w.Must(w.Members[1], protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: who, Key: suspended.Signer.Key, Role: protocol.RoleParamedic,
		Status: protocol.PractitionerSuspended, ValidUntil: w.Time + 1e9, Commitment: protocol.Hash{1}})
	people = append(people, suspended)

	grant := func(by *ledgertest.Who, window uint64, uses uint32, cedar string) protocol.ContractID {
		t.Helper()
		policy, err := consent.Canonicalise([]byte(cedar))
		if err != nil {
			t.Fatal(err)
		}
		r := w.Must(by, in, &protocol.Grant{Policy: policy, NotAfter: w.Time + window, UsesMax: uses})
		return protocol.DerivedContractID(r.ID, 0)
	}
	const long = 3600_000
	m1, m2 := w.Members[0].Signer.Member(), w.Members[1].Signer.Member()
	grant(alice, long, 0, fmt.Sprintf(`permit(principal in Member::"%s", action == Action::"write", resource); permit(principal == Member::"%s", action == Action::"write", resource);`, m1, m2))
	record := func(n byte, l protocol.Label) *protocol.AddRecord {
		return &protocol.AddRecord{Record: protocol.RecordID{n}, Label: l, Ciphertext: protocol.Hash{n}, Size: 1000, Capsule: protocol.Hash{n, 1}, Generation: 1, Manifest: protocol.Hash{n, 2}, Root: protocol.Hash{n, 3}}
	}
	w.Must(w.Members[0], in, record(1, allergies), record(2, labs), record(3, notes))
	w.Must(w.Members[1], in, record(4, labs), record(5, notes))
	w.Must(alice, in, &protocol.Erase{Records: []protocol.RecordID{{5}}})
	id := func(p *ledgertest.Who) string { return protocol.PractitionerID(p.Signer.ID).String() }
	// Whole journal but one class; one author's records of a class; by role, for an emergency only; spent; over; withdrawn; by a delegate, within
	// the delegate's classes; an organisation by itself.
	grant(alice, long, 0, fmt.Sprintf(`permit(principal == Practitioner::"%s", action == Action::"read", resource) when { context.purpose == Purpose::"TREAT" };
		forbid(principal == Practitioner::"%s", action == Action::"read", resource in Class::"%s");`, id(doctor), id(doctor), notes))
	grant(alice, long, 0, fmt.Sprintf(`permit(principal == Practitioner::"%s", action == Action::"read", resource in Class::"%s") when { resource.author == Member::"%s" };`, id(insurer), labs, m2))
	grant(alice, long, 0, fmt.Sprintf(`permit(principal is Practitioner, action == Action::"read", resource in Class::"%s") when { principal.role == Role::"paramedic" && context.breakglass };`, allergies))
	spent := grant(alice, long, 1, fmt.Sprintf(`permit(principal == Practitioner::"%s", action == Action::"read", resource in Class::"%s");`, id(nurse), allergies))
	w.Access(nurse, in, protocol.PurposeTreat, allergies)
	grant(alice, 50, 0, fmt.Sprintf(`permit(principal == Practitioner::"%s", action == Action::"read", resource in Class::"%s");`, id(nurse), labs))
	withdrawn := grant(alice, long, 0, fmt.Sprintf(`permit(principal == Practitioner::"%s", action == Action::"read", resource in Class::"%s");`, id(nurse), notes))
	w.Must(alice, in, &protocol.Revoke{Contract: withdrawn})
	k, pub := ledgertest.Key("son")
	son := &ledgertest.Who{Name: "son", Key: k, Signer: protocol.DelegateSigner(in, pub)}
	w.Must(alice, in, &protocol.Delegate{Key: pub, Level: protocol.LevelShare, Labels: []protocol.Label{empty}, NotAfter: w.Time + long,
		Proof: ed25519.Sign(k, protocol.DelegateProofMessage(w.L.Chain(), in, pub))})
	grant(son, long/2, 0, fmt.Sprintf(`permit(principal == Practitioner::"%s", action == Action::"read", resource);`, id(nurse)))
	grant(alice, long, 0, fmt.Sprintf(`permit(principal == Member::"%s", action == Action::"read", resource in Class::"%s") when { context.purpose == Purpose::"HPAYMT" };`, m2, labs))

	found, err := w.View().Readers(in, w.Time, 100)
	if err != nil || !found.Whole {
		t.Fatal(err, found.Whole)
	}
	said := func(p *ledgertest.Who, l protocol.Label) (o ledger.OpenClass) {
		if !slices.Contains(found.Labels, l) {
			l = protocol.Label{}
		}
		for _, r := range found.People {
			if p.Signer.ID != r.Practitioner && (p.Signer.Kind != protocol.ActorMember || !r.Practitioner.IsZero() || r.Member != p.Signer.Member()) {
				continue
			}
			for _, o := range r.Opens {
				if o.Label == l {
					return o
				}
			}
		}
		return o
	}
	opened, glasses := 0, 0
	for _, p := range people {
		for _, l := range []protocol.Label{allergies, labs, notes, empty, {9}} {
			o := said(p, l)
			for _, purpose := range protocol.Purposes() {
				for _, glass := range []bool{false, true} {
					ask := &protocol.RequestAccess{Labels: []protocol.Label{l}, Purpose: purpose, OneTime: [32]byte{1}, OneTimeKEM: protocol.OneTimeX25519}
					want := slices.Contains(o.Purposes, purpose)
					if glass && !purpose.BreaksGlass() || !glass && !purpose.KeepsGlass() {
						if slices.Contains(o.Purposes, purpose) && !glass {
							t.Errorf("%s: nobody can ask for %s with the glass whole, and Readers names it", p.Name, purpose)
						}
						continue // such a request is malformed
					}
					if glass {
						glasses++
						ask.Reason = protocol.Hash{byte(glasses), byte(glasses >> 8), 7}
						want = slices.Contains(o.Glass, purpose)
					}
					_, out := accessOf(t, w, p, in, ask)
					if out.Permitted != want {
						t.Errorf("%s asks for %s, %s, glass %v: permitted %v (%s), and Readers says %v", p.Name, l, purpose, glass, out.Permitted, out.Reason, want)
					}
					if !out.Permitted {
						continue
					}
					opened++
					for _, c := range out.Contracts {
						if !slices.Contains(o.Contracts, c) {
							t.Errorf("%s: %s opened by %s, which Readers does not name", p.Name, l, c)
						}
					}
					if len(out.Records) > o.Records {
						t.Errorf("%s: %d records of %s opened, and Readers says %d of %d", p.Name, len(out.Records), l, o.Records, o.Of)
					}
				}
			}
		}
	}
	if opened < 20 {
		t.Fatalf("only %d requests opened anything: the test shows nothing", opened)
	}
	for _, r := range found.People {
		if r.Practitioner == who {
			t.Error("a suspended practitioner is listed")
		}
		for _, o := range r.Opens {
			if slices.Contains(o.Contracts, spent) || slices.Contains(o.Contracts, withdrawn) {
				t.Error("a contract that is spent or withdrawn is named")
			}
		}
	}

	// Nobody reads a journal that is closed, and a limit is told.
	if few, err := w.View().Readers(in, w.Time, 2); err != nil || few.Whole {
		t.Error("a limit of two practitioners is not told", err)
	}
	w.Must(alice, in, &protocol.Erase{Everything: true})
	w.Tick()
	if found, err := w.View().Readers(in, w.Time, 100); err != nil || len(found.People) != 0 {
		t.Error("somebody can read a journal that was erased", found, err)
	}
}

func accessOf(t *testing.T, w *ledgertest.World, by *ledgertest.Who, in protocol.JournalID, a *protocol.RequestAccess) (protocol.AccessID, protocol.AccessOutcome) {
	t.Helper()
	w.Time += 60_000 / 50 // a quota of the minute
	r := w.Must(by, in, a)
	s, err := w.View().Entry(r.First)
	if err != nil {
		t.Fatal(err)
	}
	var out protocol.AccessOutcome
	if err := protocol.Decode(s.Entry.Outcome, &out); err != nil {
		t.Fatal(err)
	}
	return protocol.DerivedAccessID(r.ID, 0), out
}
