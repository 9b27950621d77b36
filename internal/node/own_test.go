package node_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// delegate is somebody whom the patient let stand in.
func (w *world) delegate(p *patient, level protocol.Level, classes ...string) *wallet.Actor {
	w.Helper()
	d := wallet.NewDelegate(wallet.Network{Chain: w.net.Genesis.Chain}, p.keys.Journal, "somebody")
	key, proves, err := wallet.ParseOffer(d.Offer(), w.net.Genesis.Chain, p.keys.Journal)
	w.ok(err)
	scope := labels(p, classes...)
	slices.SortFunc(scope, func(a, b protocol.Label) int { return bytes.Compare(a[:], b[:]) })
	w.ok(w.at[0].Delegate(w.ctx, client.Patient(p.keys), p.keys.Journal, protocol.Delegate{Key: key, Proof: proves, Level: level, Labels: scope, NotAfter: now() + 3600_000}))
	return d
}

func note(t testing.TB, class fhir.Class, n client.Note) fhir.Group {
	t.Helper()
	n.At = time.Now()
	g, err := n.Group(class)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// What patients and delegates write is read like any record, and taken for nobody else's: not by readers, not in a proof. It is bounded, and
// can be replaced and erased.
func TestOwnRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := startWorld(t, devConfig(dir, 4))
	p := w.patient()
	h := p.keys.Handle()
	me := client.Patient(p.keys)
	theirs := w.write(p, 0, group("allergies", "latex"))[0].Record
	mother, uncle := w.delegate(p, protocol.LevelAct, "allergies"), w.delegate(p, protocol.LevelShare)
	w.grant(p, w.doctor, time.Hour, "allergies", "documents")

	// Words, a file as large as there may be, and a delegate's words.
	scan := make([]byte, client.NoteFileBytesMax)
	_, _ = rand.Read(scan)
	copy(scan, "%PDF-1.7\n")
	notes := []fhir.Group{
		note(t, "allergies", client.Note{Text: "Penicillin: a rash,\nas a child in 1987.", By: "Patient"}),
		note(t, "documents", client.Note{Title: "Discharge letter", File: scan, Name: "scan.pdf", By: "Patient"}),
	}
	written, failed, err := w.at[1].WriteRecords(w.ctx, me, h, notes, nil)
	if err != nil || len(failed) > 0 || len(written) != 2 {
		t.Fatalf("%+v %v", failed, err)
	}
	t.Logf("a file of %d bytes is a record of %d", len(scan), written[slices.IndexFunc(written, func(x client.Written) bool { return x.Class == "documents" })].Bytes)
	said, failed, err := w.at[2].WriteRecords(w.ctx, client.Actor(mother), h, []fhir.Group{note(t, "allergies", client.Note{Text: "Bees, too.", By: "Delegate"})}, nil)
	if err != nil || len(failed) > 0 {
		t.Fatalf("%+v %v", failed, err)
	}
	read, err := w.at[3].Read(w.ctx, w.access(3, w.doctor, p, "allergies", "documents"))
	w.ok(err)
	w.ok(read.Whole())
	kinds := map[protocol.ActorKind]int{}
	for _, r := range read.Records {
		kinds[r.Manifest.Author.Kind]++
		if r.Manifest.Author.Own() != strings.Contains(string(r.Resources[0]), `"PATAST"`) {
			t.Errorf("by a %s: %.200s", r.Manifest.Author.Kind, r.Resources[0])
		}
		var doc struct {
			Content []struct{ Attachment struct{ Data string } }
		}
		w.ok(json.Unmarshal(r.Resources[0], &doc))
		if r.Manifest.Class == "documents" {
			if got, err := base64.StdEncoding.DecodeString(doc.Content[0].Attachment.Data); err != nil || !bytes.Equal(got, scan) {
				t.Errorf("the scan is not what was written: %v", err)
			}
		}
	}
	if kinds[protocol.ActorMember] != 1 || kinds[protocol.ActorPatient] != 2 || kinds[protocol.ActorDelegate] != 1 {
		t.Fatalf("%v", kinds)
	}

	// Not beyond the delegation; not more than there may be; not for an organisation's.
	_, failed, err = w.at[0].WriteRecords(w.ctx, client.Actor(uncle), h, notes[:1], nil)
	var problem *api.Problem
	if err != nil || len(failed) != 1 || !errors.As(failed[0].Err, &problem) || problem.Code != protocol.BeyondDelegation.String() {
		t.Fatalf("who may share wrote: %+v %v", failed, err)
	}
	_, failed, err = w.at[0].WriteRecords(w.ctx, client.Actor(mother), h, notes[1:], nil)
	if err != nil || len(failed) != 1 || !errors.Is(failed[0].Err, &protocol.Rejection{Reason: protocol.BeyondDelegation}) {
		t.Fatalf("outside the scope: %+v %v", failed, err)
	}
	big := make([]byte, protocol.OwnRecordBytesMax*2)
	_, _ = rand.Read(big)
	huge := fhir.Group{Class: "documents", Source: client.OwnSource, Resources: []fhir.Resource{{Raw: big}}}
	_, failed, err = w.at[0].WriteRecords(w.ctx, me, h, []fhir.Group{huge}, nil)
	if err != nil || len(failed) != 1 || !errors.Is(failed[0].Err, &protocol.Rejection{Reason: protocol.OwnRecordTooLarge}) {
		t.Fatalf("too large: %+v %v", failed, err)
	}
	if status, _ := w.raw(http.MethodPut, "/v1/files/"+protocol.Hash(sha256.Sum256(big)).String(), me, big); status != http.StatusRequestEntityTooLarge {
		t.Errorf("the vault took too much: %d", status)
	}
	_, err = w.at[0].Amend(w.ctx, me, h, theirs, notes[0])
	w.isRejected(err, protocol.BadRelation)
	_, err = w.at[0].Amend(w.ctx, client.Actor(w.net.Member(0)), h, written[0].Record, group("allergies", "none"))
	w.isRejected(err, protocol.BadRelation)
	_, err = w.at[0].RequestAmendment(w.ctx, w.subject(p, said[0].Record), "By whom?")
	w.isRejected(err, protocol.BadRelation)

	// A delegate disputes and asks for the patient; the patient replaces what the delegate wrote, and has it erased.
	_, err = w.at[0].RequestAmendment(w.ctx, client.Subject{By: client.Actor(mother), Handle: h, Record: theirs, Class: "allergies"}, "It was nickel.")
	w.ok(err)
	next, err := w.at[0].Amend(w.ctx, me, h, said[0].Record, note(t, "allergies", client.Note{Text: "Wasps, too.", By: "Patient"}))
	w.ok(err)
	if row := w.row(p, said[0].Record); row.Superseded == nil || *row.Superseded != next || !row.Member.IsZero() || row.AuthorKind != protocol.ActorDelegate {
		t.Errorf("%+v", row)
	}
	w.complete(2, p)
	erasure, err := w.at[0].Erase(w.ctx, p.keys, protocol.Erase{Records: []protocol.RecordID{said[0].Record}})
	w.ok(err)
	if e, err := w.at[0].AwaitErased(w.ctx, p.keys, erasure, 0); err != nil || e.Attested != 4 || e.Count != 1 {
		t.Fatalf("%+v %v", e, err)
	}

	// What is made to look like the hospital's opens for nobody, and keeps nobody from the rest.
	hospital := protocol.MemberSigner(w.net.Genesis.Members[0].ID(), me.Signer().Key)
	fake := w.enter(p, me, hospital, notes[0], func(*protocol.AddRecord) {})
	read, err = w.at[3].Read(w.ctx, w.access(3, w.doctor, p, "allergies"))
	w.ok(err)
	if len(read.Records) != 4 || len(read.Broken) != 1 || read.Broken[0].Record != fake || !errors.Is(read.Whole(), wallet.ErrCommitted) {
		t.Errorf("%d records, broken: %+v", len(read.Records), read.Broken)
	}
	w.ok(w.net.Stop())
	check(t, dir)
}
