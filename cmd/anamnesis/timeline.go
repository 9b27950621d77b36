package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// line is a resource on the timeline, with who wrote it and where it is from.
type line struct {
	fhir.Item
	Author string            `json:"author"` // the member that wrote the record, or the patient
	Source string            `json:"source"` // the organisation that the content comes from
	Record protocol.RecordID `json:"record"`
	Index  int               `json:"index"`         // in the record
	Own    bool              `json:"own,omitempty"` // the patient's own word, or a delegate's, whatever it says of itself
	// Proof shows that this resource is part of the record, against the root in the record's entry, to somebody who has no other resource of
	// it (docs/spec/record.md). Entry is that entry's index in the log: `log receipt` proves it, to the patient and to who wrote it.
	Proof    wallet.ResourceProof `json:"proof"`
	Entry    *uint64              `json:"entry,omitempty"`
	Recorded uint64               `json:"recorded_ms"`
	// Superseded is the newer version of the record; About is what a statement of the patient's disputes: it stands beside that.
	Superseded *protocol.RecordID `json:"superseded_by,omitempty"`
	About      *protocol.RecordID `json:"about,omitempty"`
}

// filter chooses lines.
type filter struct {
	classes  []string
	from, to string
	source   string

	want       []fhir.Class
	begin, end uint64
}

func (f *filter) flags(cmd *cobra.Command) {
	v := cmd.Flags()
	v.StringSliceVar(&f.classes, "class", nil, "only these `CLASSES`")
	v.StringVar(&f.from, "from", "", "only what happened from this `DATE` on")
	v.StringVar(&f.to, "to", "", "only what happened before this `DATE`")
	v.StringVar(&f.source, "source", "", "only from organisations with this `TEXT` in their name")
}

func (f *filter) parse() (err error) {
	if f.want, err = classes(f.classes); err != nil {
		return err
	}
	if f.begin, err = timeOf("--from", f.from); err != nil {
		return err
	}
	f.end, err = timeOf("--to", f.to)
	return err
}

func (f *filter) takes(l line) bool {
	at := uint64(max(0, l.Time.UnixMilli()))
	switch {
	case len(f.want) > 0 && !slices.Contains(f.want, l.Class):
		return false
	case (f.begin > 0 || f.end > 0) && l.Time.IsZero(), f.begin > 0 && at < f.begin, f.end > 0 && at >= f.end:
		return false
	}
	return f.source == "" || strings.Contains(strings.ToLower(l.Source+"\x00"+l.Author), strings.ToLower(f.source))
}

func (c *cli) recordList() *cobra.Command {
	f := filter{}
	access := ""
	cmd := c.command(&cobra.Command{
		Use:   "list",
		Short: "Show the timeline: every resource, over all sources",
		Long: `Shows one timeline over everything that all organisations wrote: date, class, what, value, who wrote it and where it comes
from. As the patient it opens your own records with your wallet; with --as it opens what an access permits (the one
named by --access, or all that are open).`,
		Example: `
anamnesis record list --class labs --from 2024-01-01
anamnesis record list --source pharmacy
anamnesis record list --as dr-ada.actor`,
	}, func(ctx context.Context, _ []string) error {
		if err := f.parse(); err != nil {
			return err
		}
		if c.as != "" {
			return c.listAsReader(ctx, access, &f)
		}
		return c.listOwn(ctx, &f)
	})
	f.flags(cmd)
	cmd.Flags().StringVar(&access, "access", "", "with --as: what this `ACCESS` opens")
	return cmd
}

func (c *cli) listOwn(ctx context.Context, f *filter) error {
	p, err := c.patient(ctx)
	if err != nil {
		return err
	}
	rows, err := p.Records(ctx, p.keys)
	if err != nil {
		return err
	}
	there := slices.DeleteFunc(slices.Clone(rows), func(r api.Record) bool { return r.Erased != 0 })
	records, unopened := c.openOwn(ctx, p, there, f.want)
	known := namesOf(p.Client, nil)
	known.as = client.Patient(p.keys)
	if err := c.showLines(timeline(ctx, known, records, byID(rows), f)); err != nil {
		return err
	}
	if gone := len(rows) - len(there); gone > 0 && !c.json {
		fmt.Fprintf(c.out, "%s erased: `anamnesis erase status`.\n", count(gone, "record is", "records are"))
	}
	return broken(unopened)
}

// openOwn opens the patient's records of the classes wanted (none: all). A record that its author put under the label of another class
// does not open as if nothing were wrong.
func (c *cli) openOwn(ctx context.Context, p *patient, rows []api.Record, want []fhir.Class) (records []*wallet.Record, broken []client.Broken) {
	h := p.keys.Handle()
	if len(want) > 0 {
		labels := labelsOf(h, want)
		rows = slices.DeleteFunc(slices.Clone(rows), func(r api.Record) bool { return !slices.Contains(labels, r.Label) })
	}
	b := c.bar("opening records", int64(len(rows)))
	opened, errs := p.Open(ctx, p.keys, rows, func(done, _ int) { b.set(int64(done)) })
	b.done()
	for i, r := range opened {
		err := errs[i]
		if err == nil {
			err = r.Manifest.CheckLabel(h)
		}
		if err != nil {
			broken = append(broken, client.Broken{Record: rows[i].ID, Err: err})
			continue
		}
		records = append(records, r)
	}
	return records, broken
}

// brokenRecord is a record that did not open, and why.
type brokenRecord struct {
	Record protocol.RecordID `json:"record"`
	Reason string            `json:"reason"`
}

func brokenOnes(list []client.Broken) (out []brokenRecord) {
	for _, b := range list {
		out = append(out, brokenRecord{b.Record, explain(b.Err).Title})
	}
	return out
}

// broken says which records did not open; the others were shown.
func broken(list []client.Broken) error {
	if len(list) == 0 {
		return nil
	}
	f := &failure{Code: "records-broken", Title: plural(len(list), "record") + " did not open", Records: brokenOnes(list), exit: exitRefused,
		Detail: "Ask another member's gateway with --gateway. If that does not help, such a record was closed or lost, or made wrongly: ask who wrote it."}
	for _, b := range list {
		switch exit := explain(b.Err).exit; {
		case exit == exitProof:
			f.exit = exitProof // something is not what its author entered
		case exit != exitRefused && f.exit == exitRefused:
			f.exit = exitFailed
		}
	}
	return f
}

func byID(rows []api.Record) map[protocol.RecordID]api.Record {
	out := map[protocol.RecordID]api.Record{}
	for _, r := range rows {
		out[r.ID] = r
	}
	return out
}

// timeline makes lines of records, by date; what has no date comes last.
func timeline(ctx context.Context, known *names, records []*wallet.Record, entries map[protocol.RecordID]api.Record, f *filter) []line {
	out := []line{}
	for _, r := range records {
		author := known.author(ctx, r.Manifest.Author)
		for i, raw := range r.Resources {
			l := line{Item: fhir.Summarise(resourceOf(raw, r.Manifest)), Author: author, Source: cmp.Or(r.Manifest.Source.Name, author),
				Record: r.Manifest.Record, Index: i, Recorded: r.Manifest.Recorded, Proof: r.Prove(i)}
			row, ok := entries[r.Manifest.Record]
			if ok {
				l.Entry, l.Superseded = &row.Entry, row.Superseded
			}
			if r.Manifest.Author.Own() {
				l.Own, l.Source = true, client.OwnSource.Name
				// Only what the ledger ties to a record is a statement about it: within the scope of who made it, and one of few.
				if about, text, ok := client.Statement(raw); ok && row.Relation == protocol.RelationStatement && row.About != nil && *row.About == about {
					l.About, l.Title, l.Detail = &about, "Statement", text
				}
			}
			if f.takes(l) {
				out = append(out, l)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b line) int {
		if a.Time.IsZero() != b.Time.IsZero() {
			if a.Time.IsZero() {
				return 1
			}
			return -1
		}
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Title, b.Title))
	})
	return besideWhatTheyDispute(out)
}

// besideWhatTheyDispute puts statements behind the last line of the record that each is about; those whose record is not shown stay by date.
func besideWhatTheyDispute(lines []line) []line {
	last := map[protocol.RecordID]int{}
	for i, l := range lines {
		if l.About == nil {
			last[l.Record] = i
		}
	}
	beside := map[int][]line{}
	for _, l := range lines {
		if l.About != nil {
			if at, ok := last[*l.About]; ok {
				beside[at] = append(beside[at], l)
			}
		}
	}
	out := make([]line, 0, len(lines))
	for i, l := range lines {
		if l.About != nil {
			if _, moved := last[*l.About]; moved {
				continue
			}
		}
		out = append(append(out, l), beside[i]...)
	}
	return out
}

// resourceOf is a record's resource as package fhir has it.
func resourceOf(raw []byte, m *wallet.Manifest) fhir.Resource {
	var head struct {
		Type string `json:"resourceType"`
		ID   string `json:"id"`
	}
	_ = json.Unmarshal(raw, &head) // foreign bytes that are no JSON have neither
	return fhir.Resource{Raw: raw, Type: head.Type, ID: head.ID, Class: fhir.Class(m.Class)}
}

// author is the member behind a record.
func (n *names) author(ctx context.Context, a wallet.Author) string {
	switch a.Kind {
	case protocol.ActorMember:
		return n.member(protocol.MemberID(a.ID))
	case protocol.ActorPatient:
		return "the patient"
	case protocol.ActorDelegate:
		return "a delegate of the patient"
	}
	id := protocol.PractitionerID(a.ID)
	if name, ok := n.authors[id]; ok {
		return name
	}
	name := "practitioner " + short(id)
	if p, err := n.net.PractitionerName(ctx, n.as, id); err == nil {
		name = n.member(p.Member)
	}
	n.authors[id] = name
	return name
}

func (c *cli) showLines(lines []line) error {
	return c.show(lines, func(out io.Writer) {
		if len(lines) == 0 {
			fmt.Fprintln(out, "Nothing.")
			return
		}
		t := newTable("date", "class", "~~~what", "~~value", "~~from", "by", "record")
		authors := legend{}
		for _, l := range lines {
			title := l.Title
			switch {
			case l.Superseded != nil:
				title = "superseded: " + title // first, where no column is too narrow for it
			case l.About != nil:
				title = "└ " + title
			}
			t.add(dateOf(l), string(l.Class), title, l.Detail, l.Source, authors.letter(l.Author), l.Record.String()[:8])
		}
		t.print(out)
		fmt.Fprintln(out)
		authors.print(out, "written by")
		fmt.Fprintf(out, "%s. `anamnesis record show RECORD --text` has the whole.\n", plural(len(lines), "resource"))
	})
}

func dateOf(l line) string {
	if l.Time.IsZero() {
		return "-"
	}
	if len(l.Date) < len("2006-01-02") {
		return l.Date // as precise as it was written
	}
	return l.Time.Format(time.DateOnly)
}
