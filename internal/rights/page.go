package rights

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// The pages of a pack: one of all journals, one of each. They hold no script and fetch nothing.

//go:embed pages.html
var pagesText string

var pages = template.Must(template.New("pages").Funcs(template.FuncMap{
	"stamp": stamp, "day": day, "join": func(l []string) string { return strings.Join(l, ", ") }, "plural": plural, "words": words,
	"purposes": purposesText, "lines": func(s string) []string { return strings.Split(oneLines(s), "\n") }, "line": oneLine, "short": func(s string) string { return s[:min(12, len(s))] },
}).Parse(pagesText))

func purposesText(list []protocol.Purpose) string {
	var out []string
	for _, p := range list {
		out = append(out, purposeWords[p])
	}
	return strings.Join(out, ", ")
}

func (p *pack) html(name, which string, data any) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, which, data); err != nil {
		return fmt.Errorf("rights: %s: %w", name, err)
	}
	return p.write(name, func(w io.Writer) error {
		_, err := w.Write(b.Bytes())
		return err
	})
}

// front is the page of all journals.
type front struct {
	Made     uint64
	Journals []frontJournal
}

type frontJournal struct {
	Folder, Name      string
	About             string // whom the records say they are about
	Resources, Reads  int
	Holds             bool
	Problems, Sources int
}

func fronts(journals []Journal, folders []string) (out []frontJournal) {
	for i, j := range journals {
		out = append(out, frontJournal{Folder: folders[i], Name: j.Name, About: aboutOf(j.Resources), Resources: len(j.Resources), Reads: len(j.Accounting.Disclosures), Holds: j.Report.OK,
			Problems: len(j.Problems), Sources: len(sourcesOf(j.Resources))})
	}
	return out
}

// sourcesOf are the organisations that records come from.
func sourcesOf(list []Resource) (out []string) {
	for _, r := range list {
		if !r.Own && !slices.Contains(out, r.Source) {
			out = append(out, r.Source)
		}
	}
	return out
}

// aboutOf is whom the records say they are about: the name and birth date of the first patient resource that an organisation wrote, or else of
// the first there is.
func aboutOf(list []Resource) string {
	best := slices.IndexFunc(list, func(r Resource) bool { return r.Type == "Patient" && !r.Own })
	if best < 0 {
		best = slices.IndexFunc(list, func(r Resource) bool { return r.Type == "Patient" })
	}
	switch {
	case best < 0:
		return ""
	case list[best].Date == "":
		return list[best].Title
	}
	return list[best].Title + ", born " + list[best].Date
}

// page is the page of one journal.
type page struct {
	*Journal
	About    string
	Made     uint64
	Sections []section
	Sources  []string
}

// section is a class on the page.
type section struct {
	Class     fhir.Class
	Heading   string
	Sensitive bool
	Open      bool // so few that they are shown at once
	Resources []entry
}

// entry is a resource on the page, with links to what it carries.
type entry struct {
	Resource
	Files []file
}

// openAtOnce is how many lines of a class are shown without being asked for.
const openAtOnce = 40

func pageOf(made uint64, j *Journal) page {
	p := page{Journal: j, About: aboutOf(j.Resources), Made: made, Sources: sourcesOf(j.Resources)}
	for _, class := range fhir.Classes() {
		s := section{Class: class, Heading: heading(class), Sensitive: class.Sensitive()}
		for i, r := range j.Resources {
			if r.Class == class {
				s.Resources = append(s.Resources, entry{r, linksOf(i, r)})
			}
		}
		s.Open = len(s.Resources) <= openAtOnce
		if len(s.Resources) > 0 {
			p.Sections = append(p.Sections, s)
		}
	}
	return p
}

func heading(c fhir.Class) string {
	if c == fhir.HIV {
		return "HIV"
	}
	s := strings.ReplaceAll(string(c), "-", " ")
	return strings.ToUpper(s[:1]) + s[1:]
}
