package node_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/fsck"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// traces are what must be nowhere after an erasure: the words, the encrypted bytes, and the salts that would tie a guess to the commitments.
func (w *world) traces(p *patient, row api.Record) map[string][]byte {
	w.Helper()
	file, err := w.at[0].File(w.ctx, p.keys, row.Ciphertext)
	w.ok(err)
	opened, errs := w.at[0].Open(w.ctx, p.keys, []api.Record{row}, nil)
	w.ok(errs[0])
	id := row.ID.String()[:8]
	out := map[string][]byte{"manifest salt of " + id: opened[0].Manifest.Salt[:]}
	for i, r := range opened[0].Manifest.Resources {
		out[fmt.Sprintf("salt %d of %s", i, id)] = r.Salt[:]
	}
	for _, text := range texts(opened) {
		out["words of "+id] = []byte(text)
	}
	for at := 64; at+32 <= len(file); at += 1 << 10 { // one of these 32 bytes is in any copy of the file that is left, be it in pieces
		out[fmt.Sprintf("bytes from %d of %s", at, id)] = file[at : at+32]
	}
	return out
}

func (w *world) row(p *patient, id protocol.RecordID) (row api.Record) {
	w.Helper()
	w.eventually("the gateway knows the record", func() bool {
		rows, err := w.at[0].Records(w.ctx, p.keys)
		w.ok(err)
		i := slices.IndexFunc(rows, func(r api.Record) bool { return r.ID == id })
		if i >= 0 {
			row = rows[i]
		}
		return i >= 0
	})
	return row
}

// heldBy writes records until one lies with a node.
func (w *world) heldBy(p *patient, node int, text string) api.Record {
	w.Helper()
	for i := range 40 {
		row := w.row(p, w.write(p, 0, group("mental-health", fmt.Sprintf("%s-%02d", text, i)))[0].Record)
		if there := w.heldSoon(node, row.Ciphertext); there {
			return row
		}
	}
	w.Fatal("no record came to lie there")
	return api.Record{}
}

func (w *world) heldSoon(node int, h protocol.Hash) bool {
	for range 25 {
		if _, ok := w.vaultFile(node, h); ok {
			return true
		}
		<-time.After(20 * time.Millisecond)
	}
	return false
}

func (w *world) erasedError(what string, err error) {
	w.Helper()
	if !client.IsErased(err) {
		w.Fatalf("%s: %v, expected that it is erased", what, err)
	}
}

// One record is erased while a node is away. From that block on no custodian and no gateway gives anything of it, though it was opened before;
// each node's word arrives; the node that was away deletes it when it comes back, before it serves; nothing of it is left in any folder.
func TestErasure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := startWorld(t, devConfig(dir, 4))
	p := w.patient()
	w.write(p, 1, group("labs", "kept"))
	row := w.heldBy(p, 3, "words-to-be-forgotten-at-last")
	traces := w.traces(p, row)
	file, err := w.at[0].File(w.ctx, p.keys, row.Ciphertext)
	w.ok(err)
	capsule, err := wallet.CapsuleOf(file)
	w.ok(err)
	w.grant(p, w.doctor, 0, "mental-health", "labs")
	open := w.access(0, w.doctor, p, "mental-health", "labs")
	if n := len(w.read(0, open)); n < 2 {
		t.Fatalf("%d resources before the erasure", n)
	}

	w.ok(w.net.StopNode(3))
	if _, ok := w.vaultFile(3, row.Ciphertext); !ok {
		t.Fatal("the node that is away has no copy: nothing is shown")
	}
	id, err := w.at[0].Erase(w.ctx, p.keys, protocol.Erase{Records: []protocol.RecordID{row.ID}})
	w.ok(err)
	read, err := w.at[0].Read(w.ctx, open)
	w.ok(err)
	w.erasedError("an access from before", read.Whole())
	if len(read.Broken) != 1 || read.Broken[0].Record != row.ID || !slices.Contains(texts(read.Records), "kept") {
		t.Errorf("what is not erased: %q, and %+v", texts(read.Records), read.Broken)
	}
	_, err = w.at[1].RequestAccess(w.ctx, client.Actor(w.doctor), p.keys.Journal, protocol.PurposeTreat, nil, []protocol.RecordID{row.ID})
	w.erasedError("a new access", err)
	_, err = w.at[1].File(w.ctx, p.keys, row.Ciphertext)
	w.erasedError("the patient's own file", err)
	for i := range 3 {
		var refused *custodian.Refusal
		_, err := w.net.Nodes[i].Release(w.ctx, custodian.Request{Access: open.Decision.ID, Generation: row.Generation, Records: []protocol.RecordID{row.ID}, Capsules: [][]byte{capsule.Bytes()}})
		if !errors.As(err, &refused) || refused.Check != 5 || refused.Reason != protocol.RecordErased {
			t.Fatalf("custodian %d: %v", i+1, err)
		}
	}
	if got := w.read(1, w.access(1, w.doctor, p, "labs")); !slices.Equal(got, []string{"kept"}) {
		t.Fatalf("what was not erased: %q", got)
	}
	e, err := w.at[0].AwaitErased(w.ctx, p.keys, id, 3)
	w.ok(err)
	if e.Attested != 3 || e.Nodes != 4 || e.Count != 1 || slices.Contains(e.AttestedBy, w.net.Nodes[3].Member()) {
		t.Fatalf("%+v", e)
	}
	for i := range 3 {
		if name, there := w.vaultFile(i, row.Ciphertext); there {
			t.Errorf("%s is still there", name)
		}
	}

	w.ok(w.net.StartNode(3))
	w.at[3] = w.dial(w.net.Gateway(3))
	w.eventually("the node is well again", func() bool { h, err := w.at[3].Health(w.ctx); return err == nil && h.OK })
	if name, there := w.vaultFile(3, row.Ciphertext); there {
		t.Errorf("the node serves, and %s is still there", name)
	}
	if e, err = w.at[3].AwaitErased(w.ctx, p.keys, id, 0); err != nil || e.Attested != 4 {
		t.Fatalf("%+v %v", e, err)
	}
	w.complete(3, p)
	w.ok(w.net.Stop())
	w.searchFolders(traces)
	check(t, dir)

	// A node that kept the file after all is found out by a check of its folder.
	name, _ := w.vaultFile(2, row.Ciphertext)
	w.ok(os.MkdirAll(filepath.Dir(name), 0o700))
	w.ok(os.WriteFile(name, file, 0o600))
	r, err := fsck.Run(w.ctx, fsck.Options{Dir: dir})
	w.ok(err)
	if !slices.ContainsFunc(r.Findings, func(f fsck.Finding) bool {
		return f.Level == fsck.Fault && strings.Contains(f.Detail, "attested that it keeps no byte")
	}) {
		t.Errorf("%+v", r.Findings)
	}
}

// Readers ask while the patient erases: whoever got something stands before the erasure in the log.
func TestErasureRacesReads(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	record := w.write(p, 0, group("labs", "soon-gone"))[0].Record
	w.grant(p, w.doctor, 0)
	type reading struct {
		key [32]byte
		got bool
		err error
	}
	var mu sync.Mutex
	var all []reading
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		readers.Go(func() {
			for after := 0; after < 3; {
				select {
				case <-stop:
					after++
				default:
				}
				a, err := w.at[i].RequestAccess(w.ctx, client.Actor(w.doctor), p.keys.Journal, protocol.PurposeTreat, nil, []protocol.RecordID{record})
				r := reading{err: err}
				if err == nil {
					r.key = a.OneTime.Public()
					read, err := w.at[i].Read(w.ctx, a)
					r.got, r.err = err == nil && len(read.Records) == 1, err
				}
				mu.Lock()
				all = append(all, r)
				mu.Unlock()
			}
		})
	}
	w.eventually("somebody has read it", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(all, func(r reading) bool { return r.got })
	})
	_, err := w.at[0].Erase(w.ctx, p.keys, protocol.Erase{Records: []protocol.RecordID{record}})
	w.ok(err)
	close(stop)
	readers.Wait()

	entries, err := w.at[0].Entries(w.ctx, p.keys, 0)
	w.ok(err)
	erasedAt, asked := -1, map[[32]byte]int{}
	for i, raw := range entries {
		var e protocol.Entry
		w.ok(protocol.Decode(raw.Raw, &e))
		switch e.Type {
		case protocol.TypeErase:
			erasedAt = i
		case protocol.TypeRequestAccess:
			var a protocol.RequestAccess
			w.ok(protocol.Decode(e.Action, &a))
			asked[a.OneTime] = i
		}
	}
	got, failed := 0, 0
	for _, r := range all {
		if r.got {
			if got++; asked[r.key] >= erasedAt {
				t.Errorf("a reading that is entry %d opened what entry %d erased", asked[r.key], erasedAt)
			}
			continue
		}
		failed++
		w.erasedError("a reading that failed", r.err)
	}
	if got == 0 || failed < 4 {
		t.Errorf("%d readings before, %d after: the race was not met", got, failed)
	}
}

// A hold keeps the file of an erased record: nobody opens it, the patient sees why, and it goes by itself when the hold is over.
func TestHold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := startWorld(t, devConfig(dir, 4))
	p := w.patient()
	kept := w.row(p, w.write(p, 0, group("labs", "kept-for-the-court-alone"))[0].Record)
	free := w.row(p, w.write(p, 1, group("labs", "nobody-holds-this-one-back"))[0].Record)
	traces := w.traces(p, kept)
	for k, v := range w.traces(p, free) {
		traces[k] = v
	}
	w.grant(p, w.doctor, 0)
	in, m0 := p.keys.Journal, client.Actor(w.net.Member(0))
	until := uint64(time.Now().Add(time.Hour).UnixMilli())
	_, err := w.at[0].SetHold(w.ctx, client.Actor(w.doctor), in, nil, until, protocol.HoldLitigation)
	if !errors.Is(err, &protocol.Rejection{Reason: protocol.NotEntitled}) {
		t.Fatalf("a practitioner's hold: %v", err)
	}
	_, err = w.at[0].SetHold(w.ctx, m0, in, []protocol.RecordID{free.ID}, until, protocol.HoldLitigation)
	if !errors.Is(err, &protocol.Rejection{Reason: protocol.NotTheAuthor}) {
		t.Fatalf("a hold over another's record: %v", err)
	}
	hold, err := w.at[0].SetHold(w.ctx, m0, in, []protocol.RecordID{kept.ID}, until, protocol.HoldLitigation)
	w.ok(err)
	all, err := w.at[0].Holds(w.ctx, client.Patient(p.keys), in)
	if err != nil || len(all) != 1 || all[0].ID != hold || all[0].Code != protocol.HoldLitigation {
		t.Fatalf("what the patient sees: %+v %v", all, err)
	}
	if others, err := w.at[1].Holds(w.ctx, client.Actor(w.net.Member(1)), in); err != nil || len(others) != 0 {
		t.Fatalf("what another member sees: %+v %v", others, err)
	}

	id, err := w.at[0].Erase(w.ctx, p.keys, protocol.Erase{Labels: labels(p, "labs")})
	w.ok(err)
	e, err := w.at[0].AwaitErased(w.ctx, p.keys, id, 0)
	w.ok(err)
	if e.Count != 1 || e.Held != 1 || e.Attested != 4 {
		t.Fatalf("%+v", e)
	}
	_, err = w.at[0].RequestAccess(w.ctx, client.Actor(w.doctor), in, protocol.PurposeTreat, nil, []protocol.RecordID{kept.ID})
	w.erasedError("a reading of what is held", err)
	_, err = w.at[0].File(w.ctx, p.keys, kept.Ciphertext)
	w.erasedError("the patient's own copy of what is held", err)
	if row := w.row(p, kept.ID); row.Erased == 0 || !row.Held || row.Erasure != nil {
		t.Fatalf("%+v", row)
	}
	copies := 0
	for i := range w.net.Nodes {
		if _, ok := w.vaultFile(i, kept.Ciphertext); ok {
			copies++
		}
	}
	if copies == 0 {
		t.Fatal("the hold kept nothing")
	}
	w.ok(w.at[0].LiftHold(w.ctx, m0, in, hold))
	if e, err = w.at[0].AwaitErased(w.ctx, p.keys, protocol.ReleaseID(hold), 0); err != nil || e.Count != 1 || e.What != "release" {
		t.Fatalf("%+v %v", e, err)
	}
	w.complete(0, p)
	w.ok(w.net.Stop())
	w.searchFolders(traces)
	check(t, dir)
}

// An author who names another patient's file in a record of its own, and has that erased, takes nothing from the other patient.
func TestErasureTakesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	victim, mallory := w.patient(), w.patient()
	row := w.row(victim, w.write(victim, 0, group("labs", "not-yours-to-erase"))[0].Record)
	fake := &protocol.AddRecord{Record: wallet.NewRecordID(), Label: labels(mallory, "labs")[0], Ciphertext: row.Ciphertext, Size: row.Size, Capsule: row.Capsule,
		Generation: row.Generation, Manifest: row.Manifest, Root: row.Root}
	_, err := w.at[1].Do(w.ctx, client.Actor(w.net.Member(1)), mallory.keys.Journal, fake)
	w.ok(err)
	id, err := w.at[1].Erase(w.ctx, mallory.keys, protocol.Erase{Everything: true})
	w.ok(err)
	if e, err := w.at[1].AwaitErased(w.ctx, mallory.keys, id, 0); err != nil || e.Count != 1 {
		t.Fatalf("%+v %v", e, err)
	}
	for _, n := range w.net.Nodes {
		if _, err := n.Replicator().Walk(w.ctx); err != nil {
			t.Error(err)
		}
	}
	records, err := w.at[2].OpenRecords(w.ctx, victim.keys, nil)
	w.ok(err)
	w.equal(texts(records), []string{"not-yours-to-erase"})

	_, err = w.at[1].OwnSubject(w.ctx, mallory.keys, fake.Record)
	if !errors.Is(err, client.ErrNoSuchRecord) {
		t.Fatalf("a statement about what was erased: %v", err)
	}
	_, err = w.at[1].GrantTemplate(w.ctx, mallory.keys, "care-team", careTeam(w.doctor), 0)
	if !errors.Is(err, &protocol.Rejection{Reason: protocol.JournalClosed}) {
		t.Fatalf("a grant in a closed journal: %v", err)
	}
	_, failed, err := w.at[1].WriteRecords(w.ctx, client.Actor(w.net.Member(1)), mallory.keys.Handle(), numberedGroups(1), nil)
	if err != nil || len(failed) != 1 || !errors.Is(failed[0].Err, &protocol.Rejection{Reason: protocol.JournalClosed}) {
		t.Fatalf("a record for a closed journal: %v %v", failed, err)
	}
	w.complete(1, mallory)
}

// subject is a record that the patient makes a statement about.
func (w *world) subject(p *patient, about protocol.RecordID) (s client.Subject) {
	w.Helper()
	w.eventually("the gateway knows the record", func() (known bool) {
		var err error
		if s, err = w.at[0].OwnSubject(w.ctx, p.keys, about); !errors.Is(err, client.ErrNoSuchRecord) {
			w.ok(err)
			known = true
		}
		return known
	})
	return s
}

// Statements travel with what they dispute; requests to amend are answered; the old version stays reachable.
func TestAmendment(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	old := w.write(p, 0, group("labs", "wrong"))[0].Record
	other := w.write(p, 1, group("labs", "other"))[0].Record
	in, m0, m1 := p.keys.Journal, client.Actor(w.net.Member(0)), client.Actor(w.net.Member(1))
	only := careTeam(w.doctor)
	only.Records = []protocol.RecordID{old}
	_, err := w.at[0].GrantTemplate(w.ctx, p.keys, "second-opinion", only, 0)
	w.ok(err)
	statement, err := w.at[1].RequestAmendment(w.ctx, w.subject(p, old), "This is another person's result.")
	w.ok(err)
	_, err = w.at[1].RequestAmendment(w.ctx, w.subject(p, old), "Again.")
	if !errors.Is(err, &protocol.Rejection{Reason: protocol.AmendmentOpen}) {
		t.Fatalf("asked twice: %v", err)
	}

	// The contract names one record; its statement comes with it, signed by the patient and checked like any record.
	a, err := w.at[2].RequestAccess(w.ctx, client.Actor(w.doctor), in, protocol.PurposeTreat, nil, []protocol.RecordID{old})
	w.ok(err)
	read, err := w.at[2].Read(w.ctx, a)
	w.ok(err)
	records := read.Records
	if len(records) != 2 || records[1].Manifest.Record != statement || records[1].Manifest.Author.Kind != protocol.ActorPatient {
		t.Fatalf("%d records", len(records))
	}
	if about, text, ok := client.Statement(records[1].Resources[0]); !ok || about != old || text != "This is another person's result." {
		t.Fatalf("%q", text)
	}

	asked, err := w.at[0].Amendments(w.ctx, m0, in)
	if err != nil || len(asked) != 1 || asked[0].Record != old || asked[0].State != "open" || asked[0].Statement != statement {
		t.Fatalf("%+v %v", asked, err)
	}
	if none, err := w.at[1].Amendments(w.ctx, m1, in); err != nil || len(none) != 0 {
		t.Fatalf("what another member sees: %+v %v", none, err)
	}
	_, err = w.at[1].Amend(w.ctx, m1, p.keys.Handle(), old, group("labs", "theirs"))
	if !errors.Is(err, &protocol.Rejection{Reason: protocol.BadRelation}) {
		t.Fatalf("another author's version: %v", err)
	}
	if err := w.at[1].DenyAmendment(w.ctx, m1, in, old, protocol.DeniedAccurate); !errors.Is(err, &protocol.Rejection{Reason: protocol.NotTheAuthor}) {
		t.Fatalf("another member's answer: %v", err)
	}
	version, err := w.at[0].Amend(w.ctx, m0, p.keys.Handle(), old, group("labs", "right"))
	w.ok(err)
	w.ok(w.at[0].AcceptAmendment(w.ctx, m0, in, old, version))
	_, err = w.at[0].RequestAmendment(w.ctx, w.subject(p, other), "Not mine either.")
	w.ok(err)
	w.ok(w.at[1].DenyAmendment(w.ctx, m1, in, other, protocol.DeniedAccurate))
	all, err := w.at[1].Amendments(w.ctx, client.Patient(p.keys), in)
	if err != nil || len(all) != 2 || all[0].State != "accepted" || *all[0].Version != version || all[1].Denial != "accurate" {
		t.Fatalf("%+v %v", all, err)
	}
	if row := w.row(p, old); row.Superseded == nil || *row.Superseded != version {
		t.Fatalf("%+v", row)
	}
	if row := w.row(p, version); row.About == nil || *row.About != old || row.Relation != protocol.RelationSupersedes {
		t.Fatalf("%+v", row)
	}
	opened, err := w.at[3].OpenRecords(w.ctx, p.keys, nil)
	w.ok(err)
	if got := texts(opened); !slices.Contains(got, "wrong") || !slices.Contains(got, "right") {
		t.Fatalf("the old version or the new one is not reachable: %q", got)
	}
	w.complete(0, p)
}

func careTeam(who *wallet.Actor) consent.Params {
	return consent.Params{Grantee: consent.Grantee{Practitioner: protocol.PractitionerID(who.ID)}}
}
