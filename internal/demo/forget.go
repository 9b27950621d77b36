package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Correcting, disputing and forgetting.

// recordToSpare is a record of the lead that later steps do not need, with its author.
func (p *play) recordToSpare() (client.Written, int, error) {
	for _, w := range p.lead.written {
		if string(w.Class) != p.leadClass() && !slices.Contains(p.spent, w.Record) {
			p.spent = append(p.spent, w.Record)
			return w, p.memberFor(w.Group.Source), nil
		}
	}
	return client.Written{}, 0, errNothingLeft
}

// errNothingLeft: the data has too little for a step.
var errNothingLeft = errors.New("the lead has no record to spare")

func (p *play) skipped(err error) (string, error) {
	if errors.Is(err, errNothingLeft) {
		return "the data has too few records to show this", nil
	}
	return "", err
}

// amendSuperseded: the author corrects a record; both versions stay, each with its place.
func (p *play) amendSuperseded(ctx context.Context) (string, error) {
	w, author, err := p.recordToSpare()
	if err != nil {
		return p.skipped(err)
	}
	version := *w.Group
	version.Resources = version.Resources[:1]
	next, err := p.at[author].Amend(ctx, p.member(author), p.lead.keys.Handle(), w.Record, version)
	if err != nil {
		return "", err
	}
	rows, err := p.at[author].Records(ctx, p.lead.keys)
	if err != nil {
		return "", err
	}
	found := 0
	for _, r := range rows {
		if r.ID == w.Record || r.ID == next {
			found++
		}
	}
	if found != 2 {
		return "", failed("%d of two versions are there", found)
	}
	return "the author put a corrected version beside a record; both stay reachable, and each names the other", nil
}

// amendDisputed: the patient disagrees, and her statement travels with the record.
func (p *play) amendDisputed(ctx context.Context) (string, error) {
	w, author, err := p.recordToSpare()
	if err != nil {
		return p.skipped(err)
	}
	about, err := p.at[0].OwnSubject(ctx, p.lead.keys, w.Record)
	if err != nil {
		return "", err
	}
	if _, err := p.at[0].RequestAmendment(ctx, about, "This was my sister, not me. Please correct it."); err != nil {
		return "", err
	}
	if err := p.at[author].DenyAmendment(ctx, p.member(author), p.lead.keys.Journal, w.Record, protocol.DeniedAccurate); err != nil {
		return "", err
	}
	if _, err := p.at[0].Dispute(ctx, about, "I disagree: this was my sister."); err != nil {
		return "", err
	}
	grantee := consent.Grantee{Practitioner: protocol.PractitionerID(p.other.ID)}
	if _, err := p.at[0].GrantTemplate(ctx, p.lead.keys, "second-opinion", consent.Params{Grantee: grantee, Records: []protocol.RecordID{w.Record}}, 0); err != nil {
		return "", err
	}
	a, err := p.at[0].RequestAccess(ctx, client.Actor(p.other), p.lead.keys.Journal, protocol.PurposeTreat, nil, []protocol.RecordID{w.Record})
	records, err := p.opened(ctx, a, err)
	if err != nil {
		return "", err
	}
	if len(records) < 2 {
		return "", failed("the statement did not travel with the record: %d opened", len(records))
	}
	return fmt.Sprintf("the author denied a correction, with its reason; the patient's disagreement now opens with the record for everybody who may read it (%d records in one access)", len(records)), nil
}

// amendOwnWords: what the patient writes is read like any record, as the patient's word and nobody else's; no organisation replaces it.
func (p *play) amendOwnWords(ctx context.Context) (string, error) {
	class := fhir.Class(p.leadClass())
	g, err := client.Note{Title: "What I noticed myself", Text: "A rash after penicillin, as a child.", By: "Patient", At: time.Now()}.Group(class)
	if err != nil {
		return "", err
	}
	h := p.lead.keys.Handle()
	written, broken, err := p.at[0].WriteRecords(ctx, client.Patient(p.lead.keys), h, []fhir.Group{g}, nil)
	if err != nil {
		return "", err
	}
	if len(broken) > 0 {
		return "", broken[0].Err
	}
	id := written[0].Record
	grantee := consent.Grantee{Practitioner: protocol.PractitionerID(p.other.ID)}
	if _, err := p.at[0].GrantTemplate(ctx, p.lead.keys, "second-opinion", consent.Params{Grantee: grantee, Records: []protocol.RecordID{id}}, 0); err != nil {
		return "", err
	}
	a, err := p.at[0].RequestAccess(ctx, client.Actor(p.other), p.lead.keys.Journal, protocol.PurposeTreat, nil, []protocol.RecordID{id})
	records, err := p.opened(ctx, a, err)
	if err != nil {
		return "", err
	}
	if len(records) != 1 || !records[0].Manifest.Author.Own() {
		return "", failed("the patient's words came as something else: %d records", len(records))
	}
	if _, err := p.at[0].Amend(ctx, p.member(0), h, id, g); !errors.Is(err, &protocol.Rejection{Reason: protocol.BadRelation}) {
		return "", failed("an organisation replaced the patient's words: %v", err)
	}
	return fmt.Sprintf("the patient wrote a note into %s; %s reads it as the patient's own word, and no organisation can put another in its place", class, p.other.Name), nil
}

// eraseRecord: custodians refuse, every node deletes and attests, and the journal still verifies.
func (p *play) eraseRecord(ctx context.Context) (string, error) {
	w, _, err := p.recordToSpare()
	if err != nil {
		return p.skipped(err)
	}
	id, err := p.at[0].Erase(ctx, p.lead.keys, protocol.Erase{Records: []protocol.RecordID{w.Record}})
	if err != nil {
		return "", err
	}
	start := time.Now()
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	e, err := p.at[0].AwaitErased(wait, p.lead.keys, id, 0)
	if err != nil {
		return "", err
	}
	rows, err := p.at[0].Records(ctx, p.lead.keys)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(rows, func(r api.Record) bool { return r.ID == w.Record })
	if i >= 0 {
		if _, err := p.at[0].File(ctx, p.lead.keys, rows[i].Ciphertext); !client.IsErased(err) {
			return "", failed("the file is served: %v", err)
		}
	}
	return fmt.Sprintf("the patient erased a record: %d of %d nodes attested within %d ms that no byte of it is left", e.Attested, e.Nodes, time.Since(start).Milliseconds()), nil
}

// eraseHeld: under a legal hold a record is closed at once and goes when the hold does.
func (p *play) eraseHeld(ctx context.Context) (string, error) {
	w, author, err := p.recordToSpare()
	if err != nil {
		return p.skipped(err)
	}
	in := p.lead.keys.Journal
	hold, err := p.at[author].SetHold(ctx, p.member(author), in, []protocol.RecordID{w.Record}, uint64(time.Now().Add(time.Hour).UnixMilli()), protocol.HoldLitigation)
	if err != nil {
		return "", err
	}
	id, err := p.at[0].Erase(ctx, p.lead.keys, protocol.Erase{Records: []protocol.RecordID{w.Record}})
	if err != nil {
		return "", err
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	e, err := p.at[0].AwaitErased(wait, p.lead.keys, id, 0)
	if err != nil {
		return "", err
	}
	if e.Held != 1 || e.Count != 0 {
		return "", failed("%d held and %d erased, expected the held one alone", e.Held, e.Count)
	}
	holds, err := p.at[0].Holds(ctx, client.Patient(p.lead.keys), in)
	if err != nil || len(holds) == 0 {
		return "", errors.Join(err, failed("the patient does not see the hold"))
	}
	if err := p.at[author].LiftHold(ctx, p.member(author), in, hold); err != nil {
		return "", err
	}
	for {
		all, err := p.at[0].Erasures(wait, p.lead.keys)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(all, func(e api.Erasure) bool {
			return e.What == "release" && e.Through && e.Attested == e.Nodes && e.Count == 1
		}) {
			return "a record under a legal hold, which the patient sees, was closed to everybody at once; when the hold was lifted its bytes went, and every node attested", nil
		}
		select {
		case <-wait.Done():
			return "", failed("the held record was not erased when the hold was lifted: %+v", all)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// eraseClass: everything of one class goes, and nothing else.
func (p *play) eraseClass(ctx context.Context) (string, error) {
	h := p.lead.keys.Handle()
	for _, class := range fhir.Classes() {
		label := h.Label(string(class))
		if string(class) == p.leadClass() {
			continue
		}
		n, e, err := p.eraseAll(ctx, p.lead.keys, protocol.Erase{Labels: []protocol.Label{label}}, func(r api.Record) bool { return r.Label == label })
		if errors.Is(err, errNothingLeft) {
			continue
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("the patient erased a whole class: %s went, every other record still opens; %d of %d nodes attested", counted(n, "record"), e.Attested, e.Nodes), nil
	}
	return p.skipped(errNothingLeft)
}

// eraseContributions: everything that one organisation wrote goes, and nothing else.
func (p *play) eraseContributions(ctx context.Context) (string, error) {
	for _, m := range p.net.Genesis.Members {
		n, e, err := p.eraseAll(ctx, p.lead.keys, protocol.Erase{Author: m.ID()}, func(r api.Record) bool { return r.Member == m.ID() })
		if errors.Is(err, errNothingLeft) {
			continue
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("the patient erased what %s had written: %s went, what others wrote still opens; %d of %d nodes attested", m.Name, counted(n, "record"), e.Attested, e.Nodes), nil
	}
	return p.skipped(errNothingLeft)
}

// eraseEverything: a journal is closed; nothing opens, comes to it, or is granted in it any more.
func (p *play) eraseEverything(ctx context.Context) (string, error) {
	k := p.claimed.keys
	n, e, err := p.eraseAll(ctx, k, protocol.Erase{Everything: true}, func(api.Record) bool { return true })
	if err != nil {
		return "", err
	}
	_, bad, err := p.at[0].WriteRecords(ctx, p.member(0), k.Handle(), []fhir.Group{p.claimed.group}, nil)
	if err != nil || len(bad) != 1 || rejected(bad[0].Err, protocol.JournalClosed) != nil {
		return "", errors.Join(err, failed("a closed journal took a record"))
	}
	_, err = p.at[0].GrantTemplate(ctx, k, "contributor", consent.Params{Grantee: consent.Grantee{Member: p.net.Genesis.Members[0].ID()}}, 0)
	if err := rejected(err, protocol.JournalClosed); err != nil {
		return "", err
	}
	return fmt.Sprintf("a patient erased her whole journal: %s went, %d of %d nodes attested, and nothing can be added, asked or granted there any more", counted(n, "record"), e.Attested, e.Nodes), nil
}

// eraseAll erases what is covered, waits until every node has attested, and looks: the files of what is covered are served no more, all
// others are. The error is errNothingLeft if nothing is covered.
func (p *play) eraseAll(ctx context.Context, k *wallet.JournalKeys, what protocol.Erase, covered func(api.Record) bool) (gone int, e api.Erasure, err error) {
	before, err := p.at[0].Records(ctx, k)
	if err != nil {
		return 0, e, err
	}
	before = slices.DeleteFunc(before, func(r api.Record) bool { return r.Erased != 0 })
	for _, r := range before {
		if covered(r) {
			gone++
		}
	}
	if gone == 0 {
		return 0, e, errNothingLeft
	}
	id, err := p.at[0].Erase(ctx, k, what)
	if err != nil {
		return 0, e, err
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if e, err = p.at[0].AwaitErased(wait, k, id, 0); err != nil {
		return 0, e, err
	}
	stays := 0
	for _, r := range before {
		_, err := p.at[0].File(ctx, k, r.Ciphertext)
		switch {
		case err == nil:
			stays++
		case !client.IsErased(err):
			return 0, e, err
		case !covered(r) && r.About == nil: // a statement goes with the record that it is about
			return 0, e, failed("record %s was not to be erased, and is", r.ID)
		}
		if covered(r) && err == nil {
			return 0, e, failed("the file of erased record %s is served", r.ID)
		}
	}
	if stays+int(e.Count) != len(before) || int(e.Count) < gone {
		return 0, e, failed("%d records were there: %d stay and %d are erased", len(before), stays, e.Count)
	}
	return gone, e, nil
}

// eraseVerifies: the journals with their erasures are still complete, offline.
func (p *play) eraseVerifies(ctx context.Context) (string, error) {
	entries, proofs := 0, 0
	for _, k := range []*wallet.JournalKeys{p.lead.keys, p.claimed.keys} {
		r, _, err := p.at[0].Verify(ctx, k, proof.Options{Now: uint64(time.Now().UnixMilli())}, nil, nil)
		if err != nil {
			return "", err
		}
		if !r.OK {
			return "", failed("%s", r.Failures[0])
		}
		entries, proofs = entries+r.Counts.Entries, proofs+r.Counts.Receipts
	}
	return fmt.Sprintf("the journals, with what was erased shown as erased, are complete: %d entries, %d proofs", entries, proofs), nil
}
