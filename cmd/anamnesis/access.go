package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) accessCommand() *cobra.Command {
	return family("access", "care", "Ask to read, and read what is permitted", c.accessRequest(), c.accessRead(), c.accessList(),
		c.accessBreakGlass(), c.accessReview(), c.accessSessions())
}

// question is what `access request` asks.
type question struct {
	handle, purpose string
	classes         []string
	records         []string
	read            bool
}

func (c *cli) accessRequest() *cobra.Command {
	q := question{}
	cmd := c.command(&cobra.Command{
		Use:   "request --handle HANDLE --as FILE --class CLASSES",
		Short: "Ask to read classes or records of a patient",
		Long: `Puts the question on the ledger, where the patient's contracts decide it. Permitted or refused, it becomes an entry that the
patient sees. If it is permitted, the access can be read until its deadline (a quarter of an hour), in this command with
--read or with 'access read': the one-time key for that is kept, encrypted, beside your key file.

Purposes are HL7 v3-ActReason codes: TREAT, ETREAT, BTG, HPAYMT, HOPERAT, HRESCH, CLINTRCH, PATRQT, …`,
		Example: `
anamnesis access request --as dr-ada.actor --handle anm1… --class allergies,medications
anamnesis access request --as dr-ada.actor --handle anm1… --purpose ETREAT --class allergies --read`,
	}, func(ctx context.Context, _ []string) error { return c.request(ctx, q) })
	f := cmd.Flags()
	f.StringVar(&q.handle, "handle", "", "the patient's `HANDLE`")
	f.StringVar(&q.purpose, "purpose", "TREAT", "why: a `CODE` of HL7 v3-ActReason")
	f.StringSliceVar(&q.classes, "class", nil, "`CLASSES` to read")
	f.StringSliceVar(&q.records, "record", nil, "`RECORDS` to read, by their whole ids, instead of classes")
	f.BoolVar(&q.read, "read", false, "read at once, and show what is there")
	_ = cmd.MarkFlagRequired("handle")
	cmd.MarkFlagsMutuallyExclusive("class", "record")
	cmd.MarkFlagsOneRequired("class", "record")
	return cmd
}

// accessView is an access for programs.
type accessView struct {
	Access   protocol.AccessID  `json:"access"`
	Journal  protocol.JournalID `json:"journal"`
	Purpose  protocol.Purpose   `json:"purpose"`
	Deadline uint64             `json:"deadline_ms"`
	Records  int                `json:"records"`
	Readable bool               `json:"readable"` // its one-time key is here
}

func (c *cli) request(ctx context.Context, q question) error {
	h, err := protocol.ParseHandle(q.handle)
	if err != nil {
		return err
	}
	purpose, err := purposeOf(q.purpose)
	if err != nil {
		return err
	}
	wanted, err := classes(q.classes)
	if err != nil {
		return err
	}
	var records []protocol.RecordID
	for _, text := range q.records {
		id, err := protocol.ParseRecordID(text)
		if err != nil {
			return err
		}
		records = append(records, id)
	}
	s, err := c.staff(ctx)
	if err != nil {
		return err
	}
	a, err := s.RequestAccess(ctx, s.identity(), h.Journal, purpose, labelsOf(h, wanted), records)
	if err != nil {
		return err
	}
	if err := s.keep(a); err != nil {
		return fmt.Errorf("the access is permitted, but its key could not be kept: %w", err)
	}
	if q.read {
		return c.read(ctx, s, a, &filter{}, "")
	}
	d := a.Decision
	v := accessView{Access: d.ID, Journal: h.Journal, Purpose: purpose, Deadline: d.Deadline, Records: len(d.Records), Readable: true}
	return c.show(v, func(out io.Writer) {
		fmt.Fprintf(out, "Access %s is permitted: %s, until %s UTC.\n", d.ID, plural(len(d.Records), "record"), when(d.Deadline))
		fmt.Fprintf(out, "Next: anamnesis access read %s --as %s\n", short(d.ID), s.path)
	})
}

func (c *cli) accessList() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "list --as FILE",
		Short: "List your accesses that are still open",
		Example: `
anamnesis access list --as dr-ada.actor`,
	}, func(ctx context.Context, _ []string) error {
		s, err := c.staff(ctx)
		if err != nil {
			return err
		}
		open, err := s.Accesses(ctx, s.identity())
		if err != nil {
			return err
		}
		views := []accessView{}
		for _, a := range open {
			views = append(views, accessView{Access: a.ID, Journal: a.Journal, Purpose: a.Purpose, Deadline: a.Deadline, Records: len(a.Records), Readable: s.holds(a.ID)})
		}
		slices.SortFunc(views, func(a, b accessView) int { return int(int64(a.Deadline) - int64(b.Deadline)) })
		return c.show(views, func(out io.Writer) {
			if len(views) == 0 {
				fmt.Fprintln(out, "No open access. Ask with `anamnesis access request`.")
				return
			}
			t := newTable("access", "journal", "purpose", ">records", "until (UTC)", "key")
			for _, v := range views {
				key := "here"
				if !v.Readable {
					key = "elsewhere"
				}
				t.add(short(v.Access), short(v.Journal), v.Purpose.String(), fmt.Sprint(v.Records), when(v.Deadline), key)
			}
			t.print(out)
		})
	})
}

func (c *cli) accessRead() *cobra.Command {
	f := filter{}
	dir := ""
	cmd := c.command(&cobra.Command{
		Use:   "read [ACCESS] --as FILE",
		Short: "Read what an access permits",
		Long: `Asks the custodians for their shares, combines them, opens the records and checks every one of them against the ledger.
ACCESS is its id, the first digits are enough; leave it out if only one is open. A custodian that answers falsely is found
out and the others are used; the answer says who it was.`,
		Example: `
anamnesis access read 9f12ab34 --as dr-ada.actor
anamnesis access read --as dr-ada.actor --out read/`,
		Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, args []string) error {
		if err := f.parse(); err != nil {
			return err
		}
		s, err := c.staff(ctx)
		if err != nil {
			return err
		}
		which := ""
		if len(args) == 1 {
			which = args[0]
		}
		a, err := s.recall(which)
		if err != nil {
			return err
		}
		return c.read(ctx, s, a, &f, dir)
	})
	f.flags(cmd)
	cmd.Flags().StringVar(&dir, "out", "", "write the resources into `DIR`, a folder for each record")
	return cmd
}

// readView is what was read, for programs.
type readView struct {
	Access    protocol.AccessID `json:"access"`
	Records   int               `json:"records"`
	Resources []line            `json:"resources"`
	Files     []string          `json:"files,omitempty"`
	Broken    []brokenRecord    `json:"broken,omitempty"` // what did not open; the exit code says so too
	Liars     []client.Liar     `json:"liars,omitempty"`
}

func (c *cli) read(ctx context.Context, s *staff, a *client.Access, f *filter, dir string) error {
	read, err := c.openAccess(ctx, s, a)
	if err != nil {
		return err
	}
	records := read.Records
	known := namesOf(s.Client, nil)
	known.as = s.identity()
	v := readView{Access: a.Decision.ID, Records: len(records), Resources: timeline(ctx, known, records, byID(read.Rows), f), Liars: read.Liars}
	v.Broken = brokenOnes(read.Broken)
	if dir != "" {
		for _, r := range records {
			files, err := writeResources(dir, r)
			v.Files = append(v.Files, files...)
			if err != nil {
				return err
			}
		}
	}
	switch {
	case c.json:
		err = c.show(v, nil)
	case dir != "":
		fmt.Fprintf(c.out, "%s of %s in %s\n", plural(len(v.Files), "resource"), plural(len(records), "record"), dir)
	default:
		err = c.showLines(v.Resources)
	}
	if err != nil {
		return err
	}
	return broken(read.Broken)
}

// openAccess reads an access, and says so if a custodian lied.
func (c *cli) openAccess(ctx context.Context, s *staff, a *client.Access) (*client.Reading, error) {
	if len(a.Decision.Records) == 0 {
		return &client.Reading{}, nil
	}
	read, err := s.Read(ctx, a)
	for _, l := range read.Liars {
		fmt.Fprintf(c.err, "note: custodian %d answered falsely; the others were used. --json has the evidence.\n", l.Custodian)
	}
	var p *api.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return read, &failure{Code: codeAccessOver, Title: "refused: access " + short(a.Decision.ID) + " opens nothing any more", exit: exitRefused, cause: err,
			Detail: "Its deadline has passed, or the patient withdrew the contract. Request access again: the answer says how things stand."}
	}
	if err != nil && len(read.Broken) > 0 {
		f := *explain(err)
		f.Records = brokenOnes(read.Broken)
		return read, &f
	}
	return read, err
}

// listAsReader is `record list --as`: what one access opens, or all that are open.
func (c *cli) listAsReader(ctx context.Context, access string, f *filter) error {
	s, err := c.staff(ctx)
	if err != nil {
		return err
	}
	read, unread := c.readAll(ctx, s, access)
	if len(read.Records) == 0 && unread != nil {
		return unread
	}
	known := namesOf(s.Client, nil)
	known.as = s.identity()
	if err := c.showLines(timeline(ctx, known, read.Records, byID(read.Rows), f)); err != nil {
		return err
	}
	return unread
}

// readAll opens one access, or all whose keys are here; a record that several open comes once. The error is what was not read; the reading,
// which is never nil, what was.
func (c *cli) readAll(ctx context.Context, s *staff, access string) (*client.Reading, error) {
	out := &client.Reading{}
	held, err := s.held()
	if err != nil {
		return out, err
	}
	if access != "" {
		id, err := pick("access", access, held)
		if err != nil {
			return out, err
		}
		held = []protocol.AccessID{id}
	}
	if len(held) == 0 {
		return out, failed("no-access", "no access is open here", "Ask with `anamnesis access request`.")
	}
	var over, failures []error
	read, unread := map[protocol.RecordID]bool{}, map[protocol.RecordID]client.Broken{}
	for _, id := range held {
		a, err := s.recall(id.String())
		if err != nil {
			return out, err
		}
		one, err := c.openAccess(ctx, s, a) // what one access does not open says nothing of the others, which may be about other people
		switch {
		case err == nil:
		case explain(err).Code == codeAccessOver:
			over = append(over, err)
			continue
		case len(one.Broken) == 0:
			failures = append(failures, err)
		}
		for i, r := range one.Records {
			if !read[r.Manifest.Record] {
				read[r.Manifest.Record] = true
				out.Records, out.Rows = append(out.Records, r), append(out.Rows, one.Rows[i])
			}
		}
		for _, b := range one.Broken {
			if _, known := unread[b.Record]; !known {
				unread[b.Record] = b
				out.Broken = append(out.Broken, b)
			}
		}
	}
	out.Broken = slices.DeleteFunc(out.Broken, func(b client.Broken) bool { return read[b.Record] }) // another access opened it
	if len(out.Records) == 0 {
		failures = append(failures, over...) // else it is nothing new that an access ends
	}
	return out, notRead(out, failures)
}

// notRead is what accesses did not open: records, or nothing at all for another reason. nil: everything was read.
func notRead(read *client.Reading, failures []error) error {
	err := broken(read.Broken)
	if len(failures) == 0 {
		return err
	}
	f := *explain(failures[0])
	if more := len(failures) - 1; more > 0 {
		f.Title += fmt.Sprintf(" (and %s more)", plural(more, "access"))
	}
	if len(read.Records) > 0 {
		f.Title = "not everything could be read: " + f.Title
	}
	if err != nil {
		b := explain(err)
		f.Records = b.Records
		if b.exit == exitProof {
			f.exit = exitProof
		}
	}
	return &f
}

// codeAccessOver is an access that opens nothing any more.
const codeAccessOver = "access-over"

// readOne is `record show --as`.
func (c *cli) readOne(ctx context.Context, text, access string) (*opened, error) {
	s, err := c.staff(ctx)
	if err != nil {
		return nil, err
	}
	known := namesOf(s.Client, nil)
	known.as = s.identity()
	read, unread := c.readAll(ctx, s, access)
	if len(read.Records)+len(read.Broken) == 0 && unread != nil {
		return nil, unread
	}
	var ids []protocol.RecordID
	for _, r := range read.Records {
		ids = append(ids, r.Manifest.Record)
	}
	for _, b := range read.Broken {
		ids = append(ids, b.Record)
	}
	id, err := pick("record", strings.ToLower(text), ids)
	if err != nil {
		return nil, cmp.Or(unread, err) // it may be in what was not read
	}
	at := slices.Index(ids, id)
	if n := len(read.Records); at >= n {
		return nil, read.Broken[at-n].Err
	}
	return &opened{read.Records[at], read.Rows[at], known}, nil
}
