package demo

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/rights"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// rightsWho: the accounting of disclosures and who can read what now, from the journal's proof, against what the ledger itself answers.
func (p *play) rightsWho(ctx context.Context) (string, error) {
	j, _, err := p.takeJournal(ctx, p.lead)
	if err != nil {
		return "", err
	}
	listed, err := p.at[0].Disclosures(ctx, p.lead.keys, 0, nowMillis()+1)
	if err != nil {
		return "", err
	}
	if n := len(j.Accounting.Disclosures) + len(j.Accounting.Refused); n != len(listed) || len(j.Accounting.Refused) == 0 {
		return "", failed("the proof tells of %d requests to read, the ledger of %d", n, len(listed))
	}
	told, err := p.at[0].Readers(ctx, p.lead.keys)
	if err != nil {
		return "", err
	}
	if len(told.Readers) != len(j.CanRead.People) {
		return "", failed("%d can read by the proof, %d by the ledger", len(j.CanRead.People), len(told.Readers))
	}
	return fmt.Sprintf("in one command each: %d disclosures and %d refusals, each with who, why and by what right; and the %d people whom %d contracts let read now, as the proof and the ledger both say",
		len(j.Accounting.Disclosures), len(j.Accounting.Refused), len(j.CanRead.People), len(j.CanRead.Rules)), nil
}

// rightsExport: everything in one file: other programs find every resource in it, and it proves itself.
func (p *play) rightsExport(ctx context.Context) (string, error) {
	j, policy, err := p.takeJournal(ctx, p.lead)
	if err != nil {
		return "", err
	}
	var packed bytes.Buffer
	if err := rights.Pack(&packed, nowMillis(), []byte(policy), []rights.Journal{*j}, nil); err != nil {
		return "", err
	}
	z, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
	if err != nil {
		return "", err
	}
	proven, found := false, 0
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return "", err
		}
		switch {
		case strings.HasSuffix(f.Name, "/journal.tar"):
			report, verr := proof.Verify(r, proof.Options{Policy: []byte(policy), Now: nowMillis()})
			proven, err = verr == nil && report.OK, verr
		case strings.HasSuffix(f.Name, "/bundle.json"):
			var b struct{ Entry []json.RawMessage }
			err = json.NewDecoder(r).Decode(&b)
			found = len(b.Entry)
		}
		if err != nil {
			return "", err
		}
	}
	if !proven || found != len(j.Resources) || found == 0 {
		return "", failed("the file has %d of %d resources, proven: %v", found, len(j.Resources), proven)
	}
	return fmt.Sprintf("everything in one file of %d kB that opens in any browser: %s as FHIR, who read what as PDF and CSV, and the proof, which holds", packed.Len()>>10, resources(found)), nil
}

// takeJournal gathers everything about a patient's journal.
func (p *play) takeJournal(ctx context.Context, pt *patient) (*rights.Journal, string, error) {
	records, err := p.at[0].OpenRecords(ctx, pt.keys, nil)
	if err != nil {
		return nil, "", err
	}
	var export bytes.Buffer
	report, _, err := p.at[0].Verify(ctx, pt.keys, proof.Options{Now: nowMillis()}, &export, nil)
	if err != nil || !report.OK {
		return nil, "", errors.Join(err, failed("the journal does not verify"))
	}
	o := proof.LogOptions{Handles: []protocol.Handle{pt.keys.Handle()}, Templates: map[uint8]string{}}
	for _, c := range fhir.Classes() {
		o.Classes = append(o.Classes, string(c))
	}
	for _, t := range consent.Templates() {
		o.Templates[t.Number] = t.Name
	}
	lines, err := report.Log(o)
	if err != nil {
		return nil, "", err
	}
	registry, err := p.at[0].Registry(ctx, client.Patient(pt.keys))
	if err != nil {
		return nil, "", err
	}
	can, err := rights.WhoCanRead(report, pt.keys.Handle(), registry, nowMillis(), nil)
	if err != nil {
		return nil, "", err
	}
	j := &rights.Journal{Name: pt.name, ID: pt.keys.Journal, Report: report, Log: lines, CanRead: can, Accounting: rights.Account(report, lines, pt.name, 0, nowMillis()+1),
		Export: func(w io.Writer) error { _, err := w.Write(export.Bytes()); return err }}
	for _, r := range records {
		for _, raw := range r.Resources {
			item := fhir.Summarise(fhir.Resource{Raw: raw, Class: fhir.Class(r.Manifest.Class)})
			j.Resources = append(j.Resources, rights.Resource{Raw: raw, Class: fhir.Class(r.Manifest.Class), Type: item.Type, Date: item.Date, Title: item.Title, Detail: item.Detail,
				Source: r.Manifest.Source.Name, Record: r.Manifest.Record})
		}
	}
	return j, p.at[0].Network.Policy, nil
}

// rightsWithdrawn: one command ends every contract, delegation and card of a journal; what stood open is closed, and nobody reads or writes.
func (p *play) rightsWithdrawn(ctx context.Context) (string, error) {
	pt := p.second()
	class := string(fhir.Allergies)
	for _, g := range pt.groups {
		class = string(g.Class)
	}
	id := protocol.PractitionerID(p.other.ID)
	if _, err := p.at[0].GrantTemplate(ctx, pt.keys, "care-team", consent.Params{Grantee: consent.Grantee{Practitioner: id}, Labels: pt.label(class)}, uint64(time.Hour.Milliseconds())); err != nil {
		return "", err
	}
	_, open, err := p.permitted(ctx, pt, p.other, class)
	if err != nil {
		return "", err
	}
	done, err := p.at[0].WithdrawAll(ctx, pt.keys, false)
	if err != nil {
		return "", err
	}
	if _, err := p.at[0].Read(ctx, open); err == nil && len(open.Decision.Records) > 0 {
		return "", failed("an access went on after its contract was withdrawn")
	}
	_, err = p.at[0].RequestAccess(ctx, client.Actor(p.other), pt.keys.Journal, protocol.PurposeTreat, pt.label(class), nil)
	if err := p.refusedAs(err, protocol.Withdrawn); err != nil {
		return "", err
	}
	told, err := p.at[0].Readers(ctx, pt.keys)
	if err != nil || len(told.Readers) > 0 {
		return "", errors.Join(err, failed("%d can still read", len(told.Readers)))
	}
	return fmt.Sprintf("one command ended %d contracts at once: the access that stood open is closed, the doctor is refused, and nobody but the patient can read", len(done.Contracts)), nil
}
