package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
)

func (c *cli) recordShow() *cobra.Command {
	dir, access, text := "", "", false
	cmd := c.command(&cobra.Command{
		Use:   "show RECORD",
		Short: "Show a record: to read, as it was written, or into files",
		Long: `Opens a record of your own and prints its resources as the author sealed them, byte for byte; with --text what a person reads in
them: what it is, whose word it is, and notes in full. --out writes each resource to a file of DIR, and beside it the documents
and pictures in it (PDF, JPEG, PNG, plain text). With --as it opens a record that an access permits. RECORD is its id; the first
digits are enough.`,
		Example: `
anamnesis record show 81f3a0c2 --text
anamnesis record show 81f3a0c2 --out record/`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		r, err := c.oneRecord(ctx, args[0], access)
		if err != nil {
			return err
		}
		if text {
			return c.showText(ctx, r)
		}
		return c.showRecord(r.record, dir)
	})
	cmd.Flags().StringVar(&dir, "out", "", "write the resources into `DIR` instead")
	cmd.Flags().BoolVar(&text, "text", false, "print it for people")
	cmd.MarkFlagsMutuallyExclusive("out", "text")
	cmd.Flags().StringVar(&access, "access", "", "with --as: under this `ACCESS`")
	return cmd
}

// opened is a record with what the ledger says of it, and the names of who is in it.
type opened struct {
	record *wallet.Record
	row    api.Record
	known  *names
}

func (c *cli) oneRecord(ctx context.Context, text, access string) (*opened, error) {
	if c.as != "" {
		return c.readOne(ctx, text, access)
	}
	p, err := c.patient(ctx)
	if err != nil {
		return nil, err
	}
	known := namesOf(p.Client, nil)
	known.as = client.Patient(p.keys)
	found, err := p.findRecords(ctx, []string{text})
	if err != nil {
		return nil, err
	}
	rows, err := p.Records(ctx, p.keys)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r api.Record) bool { return r.ID != found[0] })
	records, errs := p.Open(ctx, p.keys, rows, nil)
	if len(records) != 1 {
		return nil, failed("not-found", "there is no record "+printable(text), "")
	}
	return &opened{records[0], rows[0], known}, errs[0]
}

// recordView is a record for programs.
type recordView struct {
	Manifest  *wallet.Manifest  `json:"manifest"`
	Resources []json.RawMessage `json:"resources,omitempty"`
	Files     []string          `json:"files,omitempty"`
}

func (c *cli) showRecord(r *wallet.Record, dir string) error {
	v := recordView{Manifest: r.Manifest}
	if dir != "" {
		files, err := writeResources(dir, r)
		if err != nil {
			return err
		}
		v.Files = files
	} else {
		for _, raw := range r.Resources {
			if !json.Valid(raw) {
				raw, _ = json.Marshal(string(raw))
			}
			v.Resources = append(v.Resources, raw)
		}
	}
	return c.show(v, func(out io.Writer) {
		for _, f := range v.Files {
			fmt.Fprintln(out, f)
		}
		if dir != "" {
			return
		}
		for _, raw := range r.Resources {
			if isTerminal(out) {
				raw = []byte(onTerminal(string(raw)))
			}
			_, _ = out.Write(append(slices.Clip(raw), '\n'))
		}
	})
}

// textView is what a person reads in a resource.
type textView struct {
	line
	Texts []string `json:"texts,omitempty"`
	Files []inside `json:"files,omitempty"`
}

// inside is a document or picture that a resource carries.
type inside struct {
	Title string `json:"title,omitempty"`
	Type  string `json:"type,omitempty"`
	Bytes int    `json:"bytes"`
	Out   bool   `json:"out"` // --out writes it
}

func (i inside) String() string {
	text := strings.TrimSpace(fmt.Sprintf("%s %s, %s", i.Title, cmp.Or(i.Type, "of an unknown type"), size(uint64(i.Bytes))))
	if i.Out {
		text += " (--out writes it)"
	}
	return text
}

// showText prints a record for people.
func (c *cli) showText(ctx context.Context, r *opened) error {
	var all []textView
	for _, l := range timeline(ctx, r.known, []*wallet.Record{r.record}, byID([]api.Record{r.row}), &filter{}) {
		v := textView{line: l}
		for _, a := range fhir.Attachments(r.record.Resources[l.Index]) {
			switch {
			case a.ContentType == "text/plain" && utf8.Valid(a.Data):
				v.Texts = append(v.Texts, string(a.Data))
			default:
				v.Files = append(v.Files, inside{a.Title, a.ContentType, len(a.Data), a.Ending() != ""})
			}
		}
		all = append(all, v)
	}
	return c.show(all, func(out io.Writer) {
		for i, v := range all {
			if i > 0 {
				fmt.Fprintln(out)
			}
			fmt.Fprintf(out, "%s\n", printable(v.Title))
			told := []string{"date", dateOf(v.line), "class", string(v.Class), "from", v.Source, "written by", v.Author}
			if v.Detail != "" && len(v.Texts)+len(v.Files) == 0 {
				told = append(told, "value", printable(v.Detail))
			}
			for _, f := range v.Files {
				told = append(told, "inside", printable(f.String()))
			}
			fields(out, told...)
			for _, text := range v.Texts {
				fmt.Fprintln(out)
				for _, one := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
					fmt.Fprintln(out, "  "+printable(one))
				}
			}
		}
	})
}

// writeResources writes each resource of a record into a file of its own in a folder named after the record, and what it carries beside it.
func writeResources(dir string, r *wallet.Record) (files []string, err error) {
	into := filepath.Join(dir, r.Manifest.Class+"-"+short(r.Manifest.Record))
	if err := os.MkdirAll(into, 0o700); err != nil {
		return nil, err
	}
	for i, raw := range r.Resources {
		name := filepath.Join(into, fmt.Sprintf("%03d-%s.json", i+1, fileName(resourceOf(raw, r.Manifest).Name())))
		if err := os.WriteFile(name, raw, 0o600); err != nil {
			return files, errors.Join(err, os.Remove(name))
		}
		files = append(files, name)
		for n, a := range fhir.Attachments(raw) {
			end := a.Ending()
			if end == "" {
				continue
			}
			beside := fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ".json"), n+1, end)
			if err := os.WriteFile(beside, a.Data, 0o600); err != nil {
				return files, errors.Join(err, os.Remove(beside))
			}
			files = append(files, beside)
		}
	}
	return files, nil
}

// fileName keeps what is safe in a file's name of a name that others chose.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, s)
	return s[:min(len(s), 100)]
}
