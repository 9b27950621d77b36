package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) recordCommand() *cobra.Command {
	cmd := family("record", "patient", "Records: add them, list and show them, correct and dispute them", c.recordAdd(), c.recordNote(), c.recordList(), c.recordShow(), c.recordAmend(), c.recordDispute())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) recordAdd() *cobra.Command {
	handle, patient := "", ""
	cmd := c.command(&cobra.Command{
		Use:   "add [--handle HANDLE --as FILE] PATH...",
		Short: "Import FHIR R4 files or folders into a journal",
		Long: `Reads FHIR R4 resources and Bundles (JSON or NDJSON, plain or gzip; folders are searched), sorts every resource into its
class and source organisation, seals each group as a record that only the patient and permitted readers can open, and
enters it on the ledger. The patient must have granted you to write, such as with the template contributor. Without --as you
write into your own journal, from your wallet: what you add is shown as yours, whatever it says about where it is from.

Every entry of the input is placed or reported: what could be placed is placed, and the exit code is 1 if something is
reported. A journal is one person's: input about several needs --patient.`,
		Example: `
anamnesis record add --as anamnesis-dev/members/northside-general-hospital.actor --handle anm1… histories/
anamnesis record add --as dr-ada.actor --handle anm1… --json bundle.json.gz
anamnesis record add download-from-the-portal.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("say what to import: one or more files or folders")
			}
			return nil
		},
	}, func(ctx context.Context, args []string) error { return c.addRecords(ctx, handle, patient, args) })
	cmd.Flags().StringVar(&handle, "handle", "", "with --as: the patient's `HANDLE`")
	cmd.Flags().StringVar(&patient, "patient", "", "of several patients in the input, the one with this `ID` or name")
	return cmd
}

// imported accounts for every entry of the input: In = Placed + Reported.
type imported struct {
	In       int              `json:"in"`
	Placed   int              `json:"placed"`
	Reported int              `json:"reported"`
	Files    int              `json:"files"`
	Records  []client.Written `json:"records"`
	Problems []*fhir.Problem  `json:"problems"`
	More     int              `json:"problems_more,omitempty"` // reported, and too many to list
	Faults   int              `json:"faults"`                  // files that could not be read to their end

	summary []string // of problems that came group by group
	listed  int      // of Problems, those that came one by one
}

func (c *cli) addRecords(ctx context.Context, handle, patient string, paths []string) error {
	w, err := c.writer(ctx, handle)
	if err != nil {
		return err
	}
	loaded, err := c.load(paths)
	if err != nil {
		return err
	}
	source, err := w.source(ctx)
	if err != nil {
		return err
	}
	arranged := loaded.Arrange(fhir.ArrangeOptions{Member: source, OnePatient: true})
	problems := append(slices.Clone(loaded.Problems), arranged.Problems...)
	groups, others, err := ofPatient(arranged, patient)
	if err != nil {
		return err
	}
	if w.own() {
		for i := range groups {
			groups[i].Source = source
		}
	}
	written, failed, err := c.write(ctx, w, groups)
	if err != nil {
		return err
	}
	out := account(loaded, problems, written, failed, others)
	if len(written) == 0 && slices.ContainsFunc(failed, notPermitted) {
		return &failure{Code: protocol.NotPermitted.String(), Title: fmt.Sprintf("refused: not-permitted; none of %d resources was placed", out.In),
			Detail: protocol.NotPermitted.Advice() + " They do it with `anamnesis consent grant --template contributor`.", exit: exitRefused}
	}
	if err := c.show(out, out.print); err != nil {
		return err
	}
	if out.Reported+out.Faults > 0 {
		return silent(exitFailed)
	}
	return nil
}

func notPermitted(f client.Failed) bool {
	return errors.Is(f.Err, &protocol.Rejection{Reason: protocol.NotPermitted})
}

func (c *cli) load(paths []string) (*fhir.Loaded, error) {
	files, err := fhir.Files(paths, fhir.Limits{})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, failed("no-input", "there is no FHIR file in "+strings.Join(paths, ", "), "Folders are searched for .json, .ndjson and .jsonl, plain or .gz.")
	}
	b := c.bar("reading", int64(len(files)))
	defer b.done()
	return fhir.Load(paths, fhir.Limits{}, func(string, fhir.Tally) { b.add(1) })
}

func (c *cli) write(ctx context.Context, w *writer, groups []fhir.Group) ([]client.Written, []client.Failed, error) {
	total := 0
	for _, g := range groups {
		total += len(g.Resources)
	}
	b := c.bar("resources", int64(total))
	defer b.done()
	return w.WriteRecords(ctx, w.by, w.handle, groups, b.add)
}

// ofPatient picks the one patient's groups; resources of others are reported. Input about several people is refused unless one is named:
// it must never get mixed.
func ofPatient(a *fhir.Arrangement, wanted string) (groups []fhir.Group, others []fhir.Group, err error) {
	if len(a.Patients) <= 1 && wanted == "" {
		return a.Groups, nil, nil
	}
	var listed []string
	which := -1
	for i, p := range a.Patients {
		if wanted != "" && (p.Key == wanted || p.Key == "Patient/"+wanted || p.Name == wanted) {
			which = i
		}
		if len(listed) < 5 {
			listed = append(listed, strings.TrimPrefix(p.Key, "Patient/"))
		}
	}
	if which < 0 {
		f := usage("the input is about %s, and a journal is one person's", plural(len(a.Patients), "patient"))
		f.Detail = "Name one with --patient: " + strings.Join(listed, ", ")
		if len(a.Patients) > len(listed) {
			f.Detail += ", …"
		}
		return nil, nil, f
	}
	for _, g := range a.Groups {
		if g.Patient == which {
			groups = append(groups, g)
		} else {
			others = append(others, g)
		}
	}
	return groups, others, nil
}

// entryKey names an entry of the input.
type entryKey struct {
	file  string
	entry int
}

// account sees to it that each entry is counted once: placed if any record holds it, else reported.
func account(l *fhir.Loaded, problems []*fhir.Problem, written []client.Written, failed []client.Failed, others []fhir.Group) *imported {
	out := &imported{In: l.Tally.Entries, Files: l.Tally.Files, Records: written, Problems: []*fhir.Problem{}, Faults: l.Tally.Faults}
	if out.Records == nil {
		out.Records = []client.Written{}
	}
	slices.SortFunc(out.Records, func(a, b client.Written) int { return int(int64(a.Entry) - int64(b.Entry)) })
	placed := map[entryKey]bool{}
	for _, w := range written {
		for _, r := range w.Group.Resources {
			placed[entryKey{r.File, r.Entry}] = true
		}
	}
	out.Placed = len(placed)
	out.Reported = out.In - out.Placed
	out.Problems = append(out.Problems, problems...)
	out.listed = len(out.Problems)
	report := func(g *fhir.Group, code fhir.Code, reason string) {
		out.summary = append(out.summary, fmt.Sprintf("%s of %s from %s: %s [%s]", plural(len(g.Resources), "resource"), g.Class, g.Source.Name, reason, code))
		for _, r := range g.Resources {
			if key := (entryKey{r.File, r.Entry}); !placed[key] {
				placed[key] = true
				out.Problems = append(out.Problems, &fhir.Problem{File: r.File, Entry: r.Entry, ResourceType: r.Type, ID: r.ID, Code: code, Reason: reason})
			}
		}
	}
	for i := range failed {
		report(failed[i].Group, "not-written", failed[i].Reason)
	}
	for i := range others {
		report(&others[i], fhir.CodeNoPatient, "about another patient of the input")
	}
	if listed := len(out.Problems) - out.Faults; listed < out.Reported {
		out.More = out.Reported - listed
	}
	return out
}

const problemsShown = 50

func (i *imported) print(out io.Writer) {
	t := newTable("~class", "~source", ">resources", ">size", "record")
	for _, w := range i.Records {
		t.add(string(w.Class), w.Source, fmt.Sprint(w.Resources), size(uint64(w.Bytes)), short(w.Record))
	}
	if len(t.rows) > 0 {
		t.print(out)
		fmt.Fprintln(out)
	}
	reports := i.summary
	for _, p := range i.Problems[:i.listed] {
		reports = append(reports, describe(p))
	}
	for n, text := range reports {
		if n == problemsShown {
			fmt.Fprintf(out, "… and %d more; --json lists them\n", len(reports)-n)
			break
		}
		fmt.Fprintln(out, "reported: "+printable(text))
	}
	fmt.Fprintf(out, "%d in = %d placed + %d reported; %s from %s.\n", i.In, i.Placed, i.Reported, plural(len(i.Records), "record"), plural(i.Files, "file"))
	if i.Faults > 0 {
		fmt.Fprintf(out, "%s could not be read to the end.\n", plural(i.Faults, "file"))
	}
}

func describe(p *fhir.Problem) string {
	text := filepath.Base(p.File)
	if p.Entry >= 0 {
		text += fmt.Sprintf(", entry %d", p.Entry)
	}
	if p.ResourceType != "" {
		text += " (" + strings.TrimSuffix(p.ResourceType+"/"+p.ID, "/") + ")"
	}
	return fmt.Sprintf("%s: %s [%s]", text, p.Reason, p.Code)
}
