package rights

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Journal is one journal, with everything there is about it, on its way into a pack.
type Journal struct {
	Name       string // what the patient calls it
	ID         protocol.JournalID
	Report     *proof.Report // of the export that Export writes
	Log        []proof.LogLine
	Accounting *Accounting // of all time
	CanRead    *CanRead
	Resources  []Resource              // in the order in which they should be read
	Problems   []string                // what could not be taken along, and why; sentences
	Export     func(w io.Writer) error // the verifiable export (proof.Write)
}

// Resource is a FHIR resource as its author sealed it, with its line for people.
type Resource struct {
	Raw    []byte
	Class  fhir.Class
	Type   string // FHIR resource type
	Date   string // as precise as it was written; empty: none
	Title  string
	Detail string
	Source string // the organisation that it comes from
	Author string // who wrote it into the journal
	Own    bool   // it is the patient's own word, or a delegate's
	Record protocol.RecordID
	Note   string // such as: a newer version supersedes it
}

// Pack writes everything about a patient's journals as one ZIP file that opens without this program: a page for a browser, the records as
// FHIR R4 (a Bundle, and NDJSON by type as bulk data has it), lists as CSV and PDF, and for each journal the export that anybody can verify.
// Nothing in it is encrypted but the records inside the exports. made (UTC ms) stands on the pages. progress (may be nil) hears of files.
//
//	index.html, README.txt, trust.policy
//	JOURNAL/index.html, JOURNAL/journal.tar, JOURNAL/fhir/…, JOURNAL/files/…, JOURNAL/*.csv, JOURNAL/*.pdf, JOURNAL/contracts.txt
//
// files/ has the documents and pictures that resources carry (PDF, JPEG, PNG, plain text), so that one can open them.
func Pack(w io.Writer, made uint64, policy []byte, journals []Journal, progress func(name string)) error {
	p := &pack{zip: zip.NewWriter(w), made: time.UnixMilli(int64(made)).UTC(), progress: progress}
	p.root = "anamnesis-" + p.made.Format(time.DateOnly) + "/"
	folders := foldersOf(journals)
	if err := p.html("index.html", "front", front{Made: made, Journals: fronts(journals, folders)}); err != nil {
		return err
	}
	if err := p.put("README.txt", []byte(readme)); err != nil {
		return err
	}
	if err := p.put("trust.policy", policy); err != nil {
		return err
	}
	for i := range journals {
		if err := p.journal(folders[i], made, &journals[i]); err != nil {
			return fmt.Errorf("journal %s: %w", journals[i].ID, err)
		}
	}
	return p.zip.Close()
}

// PackFolder is the name of the folder in a pack made at a time (UTC ms).
func PackFolder(made uint64) string {
	return "anamnesis-" + time.UnixMilli(int64(made)).UTC().Format(time.DateOnly)
}

type pack struct {
	zip      *zip.Writer
	root     string
	made     time.Time
	progress func(string)
}

// create begins a file. What is compressed already is stored.
func (p *pack) create(name string) (io.Writer, error) {
	if p.progress != nil {
		p.progress(name)
	}
	method := zip.Deflate
	if ext := path.Ext(name); ext == ".tar" || ext == ".pdf" || ext == ".jpg" || ext == ".png" {
		method = zip.Store
	}
	return p.zip.CreateHeader(&zip.FileHeader{Name: p.root + name, Method: method, Modified: p.made})
}

func (p *pack) put(name string, data []byte) error {
	return p.write(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (p *pack) write(name string, do func(io.Writer) error) error {
	w, err := p.create(name)
	if err != nil {
		return err
	}
	if err := do(w); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (p *pack) journal(folder string, made uint64, j *Journal) error {
	at := func(name string) string { return folder + "/" + name }
	if err := p.html(at("index.html"), "journal", pageOf(made, j)); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		do   func(io.Writer) error
	}{
		{"journal.tar", j.Export},
		{"fhir/bundle.json", func(w io.Writer) error { return bundle(w, p.made, j.Resources) }},
		{"timeline.csv", func(w io.Writer) error { return timelineCSV(w, j.Resources) }},
		{"log.csv", func(w io.Writer) error { return LogCSV(w, j.Log) }},
		{"disclosures.csv", j.Accounting.CSV},
		{"disclosures.pdf", j.Accounting.PDF},
		{"contracts.txt", func(w io.Writer) error {
			_, err := io.WriteString(w, j.CanRead.text())
			return err
		}},
	} {
		if err := p.write(at(f.name), f.do); err != nil {
			return err
		}
	}
	for i, r := range j.Resources {
		for _, f := range filesOf(i, r) {
			if err := p.put(at(f.Path), f.data); err != nil {
				return err
			}
		}
	}
	byType := map[string][]Resource{}
	for _, r := range j.Resources {
		byType[r.Type] = append(byType[r.Type], r)
	}
	for _, t := range slices.Sorted(maps.Keys(byType)) {
		if err := p.write(at("fhir/"+safeName(t, "Resource")+".ndjson"), func(w io.Writer) error { return ndjson(w, byType[t]) }); err != nil {
			return err
		}
	}
	return nil
}

// file is a document or picture in a resource.
type file struct {
	Path string // in the journal's folder
	Text string // what it is, for people
	data []byte
}

// linksOf are those of the i-th resource without their content.
func linksOf(i int, r Resource) []file {
	out := filesOf(i, r)
	for n := range out {
		out[n].data = nil
	}
	return out
}

// filesOf are those of the i-th resource. Their names are ours: what others chose may not be a name everywhere.
func filesOf(i int, r Resource) (out []file) {
	for n, a := range fhir.Attachments(r.Raw) {
		end := a.Ending()
		if end == "" {
			continue
		}
		what := map[string]string{".pdf": "open the PDF", ".jpg": "open the picture", ".png": "open the picture", ".txt": "open the text"}[end]
		out = append(out, file{fmt.Sprintf("files/%05d-%d%s", i+1, n+1, end), what, a.Data})
	}
	return out
}

// foldersOf gives each journal a folder that is a valid name everywhere, and its own: also where case does not count, and where devices have names.
func foldersOf(journals []Journal) (out []string) {
	for _, j := range journals {
		name := safeName(j.Name, "journal")
		taken := func(other string) bool { return strings.EqualFold(name, other) }
		if slices.ContainsFunc(out, taken) || slices.ContainsFunc(deviceNames, taken) {
			name += "-" + j.ID.String()[:8]
		}
		out = append(out, name)
	}
	return out
}

// deviceNames are no names for folders on Windows (Microsoft, "Naming Files, Paths, and Namespaces").
var deviceNames = []string{"con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5",
	"lpt6", "lpt7", "lpt8", "lpt9"}

const nameBytesMax = 40

// safeName keeps the letters, digits and hyphens of a name.
func safeName(s, otherwise string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)), r == '-':
			return r
		case r == ' ', r == '_':
			return '-'
		}
		return -1
	}, s)
	return cmp.Or(strings.Trim(s[:min(len(s), nameBytesMax)], "-"), otherwise)
}

// bundle is a FHIR R4 Bundle of type collection: every resource as it was written.
func bundle(w io.Writer, made time.Time, resources []Resource) error {
	head, err := json.Marshal(made.Format(time.RFC3339))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, `{"resourceType":"Bundle","type":"collection","timestamp":%s,"entry":[`, head); err != nil {
		return err
	}
	var line bytes.Buffer
	first := true
	for _, r := range resources {
		if line.Reset(); json.Compact(&line, r.Raw) != nil {
			continue // no JSON; it is whole in the export
		}
		before := ",\n"
		if first {
			before, first = "\n", false
		}
		if _, err := fmt.Fprintf(w, `%s{"resource":%s}`, before, line.Bytes()); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, "\n]}\n")
	return err
}

// ndjson is one resource a line, as FHIR's bulk data has it.
func ndjson(w io.Writer, resources []Resource) error {
	var line bytes.Buffer
	for _, r := range resources {
		if line.Reset(); json.Compact(&line, r.Raw) != nil {
			continue
		}
		line.WriteByte('\n')
		if _, err := w.Write(line.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func timelineCSV(w io.Writer, resources []Resource) error {
	rows := [][]string{{"date", "class", "what", "value", "from", "written by", "type", "record", "note"}}
	for _, r := range resources {
		rows = append(rows, []string{r.Date, string(r.Class), r.Title, r.Detail, r.Source, r.Author, r.Type, r.Record.String(), r.Note})
	}
	return writeCSV(w, rows)
}

// text is who can read what, for people, without tables.
func (c *CanRead) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Who may read or write in this journal, as of %s UTC.\n\n", stamp(c.Time))
	if len(c.Rules) == 0 {
		b.WriteString("No contract is in force: nobody but you can read, and nobody can write.\n")
	}
	for _, r := range c.Rules {
		fmt.Fprintf(&b, "Contract %s (%s), until %s UTC", r.ID.String()[:12], r.Template, stamp(r.NotAfter))
		if r.UsesMax > 0 {
			fmt.Fprintf(&b, ", %d of %d uses left", r.UsesMax-r.Uses, r.UsesMax)
		}
		fmt.Fprintf(&b, ":\n  %s\n\n", strings.ReplaceAll(oneLines(r.Text), "\n", "\n  "))
	}
	for _, d := range c.Delegates {
		what := "everything"
		if len(d.Classes) > 0 {
			what = strings.Join(d.Classes, ", ")
		}
		fmt.Fprintf(&b, "Delegate %s may %s (%s), until %s UTC.\n", d.Key[:8], d.Level, what, stamp(d.NotAfter))
	}
	return b.String()
}

func oneLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = oneLine(lines[i])
	}
	return strings.Join(lines, "\n")
}

const readme = `This is a health record as its owner took it out of an Anamnesis network: everything, in forms that open without Anamnesis.

index.html            open it in any browser; it needs no network
trust.policy          whose signatures count (C2SP tlog-policy)
In the folder of each journal:
  index.html          the history, who has read it, who can read it
  fhir/bundle.json    every record as FHIR R4, for another health record or app
  fhir/TYPE.ndjson    the same by type of resource, a line each (FHIR bulk data)
  files/              letters, pictures and notes that are inside the records; the history leads to them
  timeline.csv        the history as a table
  disclosures.csv     who asked to read what, when and why, and what came of it; the same as disclosures.pdf
  log.csv             everything that happened in the journal
  contracts.txt       who may read or write what
  journal.tar         the proof: every entry of the log, and every record as it is kept, encrypted. It shows that nothing was changed or left
                      out:  anamnesis verify journal.tar --policy ../trust.policy
                      The records in it open with stock age, zstd and tar and the journal's identity; it says how.

NOTHING HERE BUT journal.tar IS ENCRYPTED. Keep it where you would keep what it says about you.
`
