//go:build !js

package proof_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// forgetful plays everything that can become of records: erasures of every kind, a hold over one, versions, statements, amendment.
func forgetful(t testing.TB) *net {
	t.Helper()
	n := story(t, 4)
	j, m1, m2 := n.patient.Journal(), n.Members[0], n.Members[1]
	n.Must(n.patient, j, &protocol.Grant{NotAfter: n.Time + 3600_000, Policy: policyOf(t, `permit(principal, action, resource);`)})
	n.Must(m1, j, n.record(4, "labs"), n.record(5, "imaging"), n.record(6, "imaging"))
	n.Must(m2, j, n.record(7, "imaging"))
	statement := n.record(8, "imaging")
	statement.Relation, statement.About = protocol.RelationStatement, protocol.RecordID{7}
	n.Must(n.patient, j, statement, &protocol.RequestAmendment{Record: protocol.RecordID{7}, Statement: statement.Record})
	version := n.record(10, "imaging")
	version.Relation, version.About = protocol.RelationSupersedes, protocol.RecordID{7}
	n.Must(m2, j, version, &protocol.AnswerAmendment{Record: protocol.RecordID{7}, Version: version.Record})
	n.Must(n.doctor, j, &protocol.RequestAccess{Records: []protocol.RecordID{{7}}, Purpose: protocol.PurposeTreat, OneTime: [32]byte{1}, OneTimeKEM: protocol.OneTimeX25519})
	hold := n.Must(m1, j, &protocol.SetHold{Records: []protocol.RecordID{{5}}, Until: n.Time + 30_000, Code: protocol.HoldStatutory})
	n.erase(&protocol.Erase{Records: []protocol.RecordID{{1}}})
	n.erase(&protocol.Erase{Author: m2.Signer.Member()})
	n.erase(&protocol.Erase{Labels: []protocol.Label{n.handle.Label("imaging")}})
	n.Access(n.doctor, j, protocol.PurposeTreat, n.handle.Label("labs"))
	n.Time += 40_000 // the hold ends by itself
	n.Tick()
	n.attest(protocol.ReleaseID(protocol.DerivedHoldID(hold.ID, 0)), 1)
	return n
}

// erase erases, and three of the four nodes attest.
func (n *net) erase(what *protocol.Erase) {
	n.T.Helper()
	r := n.Must(n.patient, n.patient.Journal(), what)
	n.attest(protocol.DerivedErasureID(r.ID, 0), 3)
}

func (n *net) attest(id protocol.ErasureID, nodes int) {
	n.T.Helper()
	e, ok, err := journal.ErasureOf(n.View(), id)
	if err != nil || !ok || e.Done == 0 {
		n.T.Fatal(e, ok, err)
	}
	for _, m := range n.Members[:nodes] {
		if e.Count > 0 {
			n.Must(m, n.patient.Journal(), &protocol.AttestErasure{Erasure: id, Count: e.Count, Root: e.Root})
		}
	}
	err = journalGone(n, id)
	must(n.T, 0, err)
}

// journalGone takes an erasure's files out of the vault.
func journalGone(n *net, id protocol.ErasureID) error {
	list, err := journal.ErasedBy(n.View(), id, n.patient.Journal(), protocol.RecordID{}, 1000)
	for _, r := range list {
		delete(n.files, r.Row.Ciphertext)
	}
	return err
}

// files is what a gateway serves: erased ones are gone.
func (n *net) served(h protocol.Hash) (io.ReadCloser, error) {
	if f, ok := n.files[h]; ok {
		return io.NopCloser(bytes.NewReader(f)), nil
	}
	return nil, fmt.Errorf("at the patient's wish: %w", proof.ErrErased)
}

func (n *net) export(p *api.JournalProof) []byte {
	n.T.Helper()
	var b bytes.Buffer
	if err := proof.Write(&b, p, n.served, nil); err != nil {
		n.T.Fatal(err)
	}
	return b.Bytes()
}

// An export shows each erased record as erased, with how many nodes attest it, and holds nothing of its file.
func TestErasedRecords(t *testing.T) {
	n := forgetful(t)
	gone := bytes.Repeat([]byte{7, 'f'}, 40)
	raw := n.export(n.prove(n.patient.Journal()))
	if bytes.Contains(raw, gone) || !bytes.Contains(raw, bytes.Repeat([]byte{4, 'f'}, 40)) {
		t.Fatal("the export holds the wrong files")
	}
	r := verify(t, raw, n.options())
	if !r.OK {
		t.Fatal(r.Failures)
	}
	var got []string
	for _, e := range r.Erased {
		got = append(got, fmt.Sprintf("%d: %s", e.Record[0], e.Text))
	}
	want := []string{"1: erased, 3 of 4 attestations", "3: erased, 3 of 4 attestations", "5: erased, 1 of 4 attestations", "6: erased, 3 of 4 attestations",
		"7: erased, 3 of 4 attestations", "8: erased, 3 of 4 attestations", "10: erased, 3 of 4 attestations"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	var kinds []string
	for _, e := range r.Erasures {
		kinds = append(kinds, fmt.Sprintf("%s %d %d", e.What, e.Records, e.Held))
	}
	if want := []string{"records 1 0", "author 4 0", "labels 1 1", "release 1 0"}; !slices.Equal(kinds, want) {
		t.Errorf("%q, want %q", kinds, want)
	}
	if text := r.Text(); !strings.Contains(text, "erased, 3 of 4 attestations") || strings.Contains(text, "missing") {
		t.Error(text)
	}
	for _, l := range must2(r.Log(proof.LogOptions{})) {
		if l.Text == "" || strings.HasSuffix(l.Text, ": "+l.Type.String()) {
			t.Errorf("%s has no words", l.Type)
		}
	}
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// by has somebody else be the author of a record.
func by(record protocol.RecordID, author *ledgertest.Who) func(*net, *api.JournalProof) {
	return func(n *net, p *api.JournalProof) {
		for k := range p.Journal.Entries {
			var a protocol.AddRecord
			e := entryOf(n.T, p.Journal.Entries[k])
			if e.Type == protocol.TypeAddRecord && protocol.Decode(e.Action, &a) == nil && a.Record == record {
				resign(n, p, k, author, same)
				return
			}
		}
		n.T.Fatal("there is no such record")
	}
}

// A hold that was set after an erasure keeps nothing of it: when the hold before it ends, the file goes, and a verifier expects just that.
func TestLateHolds(t *testing.T) {
	n := story(t, 4)
	j, m1 := n.patient.Journal(), n.Members[0]
	n.Must(n.patient, j, &protocol.Grant{NotAfter: n.Time + 3600_000, Policy: policyOf(t, `permit(principal, action, resource);`)})
	held := n.record(30, "labs")
	n.Must(m1, j, held)
	early := n.Must(m1, j, &protocol.SetHold{Records: []protocol.RecordID{held.Record}, Until: n.Time + 30_000, Code: protocol.HoldStatutory})
	n.erase(&protocol.Erase{Records: []protocol.RecordID{held.Record}})
	n.Must(m1, j, &protocol.SetHold{Until: n.Time + 3600_000, Code: protocol.HoldLitigation})
	n.Time += 40_000 // the early one ends by itself
	n.Tick()
	n.attest(protocol.ReleaseID(protocol.DerivedHoldID(early.ID, 0)), 4)
	r := verify(t, n.export(n.prove(j)), n.options())
	if !r.OK || len(r.Erased) != 1 || r.Erased[0].Held || r.Erased[0].Text != "erased, 4 of 4 attestations" {
		t.Fatalf("%+v %v", r.Erased, r.Failures)
	}
}

// An envelope in which a delegate ends its own delegation and then asks to read holds: the ledger enters the refusal.
func TestDelegateEndsItself(t *testing.T) {
	n := story(t, 4)
	j := n.patient.Journal()
	k, pub := ledgertest.Key("leaving")
	n.Must(n.patient, j, &protocol.Delegate{Key: pub, Level: protocol.LevelSee, NotAfter: n.Time + 3600_000, Proof: ed25519.Sign(k, protocol.DelegateProofMessage(n.L.Chain(), j, pub))})
	leaving := &ledgertest.Who{Name: "leaving", Key: k, Signer: protocol.DelegateSigner(j, pub)}
	n.Must(leaving, j, &protocol.EndDelegation{Key: pub}, &protocol.RequestAccess{Labels: []protocol.Label{n.handle.Label("labs")}, Purpose: protocol.PurposeFamilyRequest,
		OneTime: [32]byte{1}, OneTimeKEM: protocol.OneTimeX25519})
	if r := verify(t, n.export(n.prove(j)), n.options()); !r.OK {
		t.Fatal(r.Failures)
	}
}

// What the patient wrote replaces nobody else's record, nor the other way round; a proof shows it if the network let it happen.
func TestOwnAndOthersRecords(t *testing.T) {
	n := story(t, 4)
	j, m1 := n.patient.Journal(), n.Members[0]
	n.Must(n.patient, j, &protocol.Grant{NotAfter: n.Time + 3600_000, Policy: policyOf(t, `permit(principal, action, resource);`)})
	theirs, mine := n.record(20, "labs"), n.record(22, "labs")
	next, nextOfMine := n.record(21, "labs"), n.record(23, "labs")
	next.Relation, next.About = protocol.RelationSupersedes, theirs.Record
	nextOfMine.Relation, nextOfMine.About = protocol.RelationSupersedes, mine.Record
	n.Must(m1, j, theirs, next)
	n.Must(n.patient, j, mine)
	n.Must(n.patient, j, nextOfMine)
	n.Must(m1, j, n.record(24, "labs"))
	stands := func(name string, level protocol.Level, class string) *ledgertest.Who {
		k, pub := ledgertest.Key(name)
		n.Must(n.patient, j, &protocol.Delegate{Key: pub, Level: level, Labels: []protocol.Label{n.handle.Label(class)}, NotAfter: n.Time + 3600_000,
			Proof: ed25519.Sign(k, protocol.DelegateProofMessage(n.L.Chain(), j, pub))})
		return &ledgertest.Who{Name: name, Key: k, Signer: protocol.DelegateSigner(j, pub)}
	}
	actor, sharer, elsewhere := stands("who acts", protocol.LevelAct, "labs"), stands("who shares", protocol.LevelShare, "labs"), stands("who acts elsewhere", protocol.LevelAct, "imaging")
	last := n.record(25, "labs")
	n.Must(actor, j, last)
	for _, c := range []tampering{
		{"the truth", func(*net, *api.JournalProof) {}, []proof.Code{}},
		{"the patient's record replaced by an organisation", by(nextOfMine.Record, m1), []proof.Code{proof.CodeErasure}},
		{"a record by a delegate who may only share", by(last.Record, sharer), []proof.Code{proof.CodeSigner}},
		{"a record by a delegate for another class", by(last.Record, elsewhere), []proof.Code{proof.CodeSigner}},
		{"a version of the patient's after an organisation's", by(mine.Record, m1), []proof.Code{proof.CodeErasure}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			n.T = t
			p := n.prove(j)
			c.do(n, p)
			relog(n, p)
			r := verify(t, n.export(p), n.options())
			if got := append([]proof.Code{}, codes(r)...); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v\n%v", got, c.want, r.Failures)
			}
		})
	}
}

// What the entries say of erasures must follow from what the patient and the authors signed.
func TestLyingAboutErasures(t *testing.T) {
	n := forgetful(t)
	event := func(change func(*protocol.RecordsErased), i int) func(*net, *api.JournalProof) {
		return func(n *net, p *api.JournalProof) {
			forge(n, p, at(n, p, protocol.EventRecordsErased, i), func(e *protocol.Entry) {
				var said protocol.RecordsErased
				if err := protocol.Decode(e.Action, &said); err != nil {
					n.T.Fatal(err)
				}
				change(&said)
				e.Action = protocol.Encode(said)
			})
		}
	}
	opens := func(id protocol.RecordID, request int) func(*net, *api.JournalProof) {
		return func(n *net, p *api.JournalProof) {
			forge(n, p, at(n, p, protocol.TypeRequestAccess, request), func(e *protocol.Entry) {
				e.Outcome = protocol.Encode(protocol.AccessOutcome{Permitted: true, Records: []protocol.RecordID{id}})
			})
		}
	}
	requests := 0
	for _, e := range n.prove(n.patient.Journal()).Journal.Entries {
		if entryOf(t, e).Type == protocol.TypeRequestAccess {
			requests++
		}
	}
	attest := func(change func(*protocol.AttestErasure), i int) func(*net, *api.JournalProof) {
		return func(n *net, p *api.JournalProof) {
			k := at(n, p, protocol.TypeAttestErasure, i)
			var a protocol.AttestErasure
			if err := protocol.Decode(entryOf(n.T, p.Journal.Entries[k]).Action, &a); err != nil {
				n.T.Fatal(err)
			}
			change(&a)
			resign(n, p, k, n.Members[i%3], func(b *protocol.Body) { b.Actions = protocol.Pack(&a) })
			forge(n, p, k, func(e *protocol.Entry) { e.Action = protocol.Encode(&a) })
		}
	}
	for _, c := range []tampering{
		{"the truth", func(*net, *api.JournalProof) {}, []proof.Code{}},
		{"one record fewer erased", event(func(e *protocol.RecordsErased) { e.Count-- }, 1), []proof.Code{proof.CodeErasure}},
		{"another record erased", event(func(e *protocol.RecordsErased) { e.Root[3] ^= 1 }, 1), []proof.Code{proof.CodeErasure}},
		{"one record more held", event(func(e *protocol.RecordsErased) { e.Held++ }, 0), []proof.Code{proof.CodeErasure}},
		{"an erasure that nobody asked for", event(func(e *protocol.RecordsErased) { e.Erasure[0] ^= 1 }, 0), []proof.Code{proof.CodeErasure}},
		{"an access that opens what was erased", opens(protocol.RecordID{1}, requests-1), []proof.Code{proof.CodeErasure}},
		{"an access that opens a statement about what was erased", opens(protocol.RecordID{8}, requests-1), []proof.Code{proof.CodeErasure}},
		{"an attestation of something else", attest(func(a *protocol.AttestErasure) { a.Root[0] ^= 1 }, 1), []proof.Code{proof.CodeErasure}},
		{"an attestation of another erasure", attest(func(a *protocol.AttestErasure) { a.Erasure[0] ^= 1 }, 1), []proof.Code{proof.CodeErasure}},
		{"a node that attests twice", func(n *net, p *api.JournalProof) {
			resign(n, p, at(n, p, protocol.TypeAttestErasure, 2), n.Members[0], same)
		}, []proof.Code{proof.CodeErasure}},
		{"a statement by an organisation", by(protocol.RecordID{8}, n.Members[0]), []proof.Code{proof.CodeErasure}},
		{"the end of a hold that was never set", func(n *net, p *api.JournalProof) {
			forge(n, p, at(n, p, protocol.EventHoldEnded, 0), func(e *protocol.Entry) { e.Action = protocol.Encode(protocol.HoldEnded{Hold: protocol.HoldID{1}}) })
		}, []proof.Code{proof.CodeErasure}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			n.T = t
			p := n.prove(n.patient.Journal())
			c.do(n, p)
			relog(n, p)
			r := verify(t, n.export(p), n.options())
			if got := append([]proof.Code{}, codes(r)...); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v\n%v", got, c.want, r.Failures)
			}
		})
	}
}
