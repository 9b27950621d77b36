package rights

import (
	"fmt"
	"io"
	"strings"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// PDF writes the accounting as a document to read, print and hand to somebody: A4, landscape. The same accounting gives the same bytes.
func (a *Accounting) PDF(w io.Writer) error {
	p, err := newPaper("Who has read my health record", a.Proof.Time)
	if err != nil {
		return err
	}
	p.head(a)
	p.heading("Who has read what")
	t := p.table([]column{{"who", 64}, {"organisation", 52}, {"what", 64}, {"why", 40}, {"times", 14}, {"last", 35}}, "Nobody.")
	for _, h := range a.Readers {
		if h.Times > 0 {
			t.row(h.Recipient.titled(), h.Recipient.Organisation, fmt.Sprintf("%s (%s)", strings.Join(h.Classes, ", "), plural(h.Records, "record")),
				strings.Join(words(h.Purposes), ", "), fmt.Sprint(h.Times), day(h.Last))
		}
	}
	t.end()
	p.heading("Every disclosure")
	p.each(a.Disclosures, "Nothing was opened in this time.")
	p.heading("Asked for and refused")
	p.each(a.Refused, "Nobody was refused in this time.")
	return p.out(w)
}

// titled is the recipient with the role.
func (r Recipient) titled() string {
	if r.Role == "" || r.Kind != protocol.ActorPractitioner {
		return r.Text()
	}
	return r.Text() + ", " + r.Role
}

func words(purposes []string) (out []string) {
	for _, p := range purposes {
		out = append(out, why(p))
	}
	return out
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// The page, in millimetres.
const (
	pageWidth, pageHeight = 297.0, 210.0
	margin                = 14.0
	lineHeight            = 4.6
	family                = "go"
)

// paper is a document under way.
type paper struct {
	*fpdf.Fpdf
	font *sfnt.Font
	buf  sfnt.Buffer
}

func newPaper(title string, made uint64) (*paper, error) {
	font, err := sfnt.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("rights: pdf: %w", err)
	}
	p := &paper{Fpdf: fpdf.New("L", "mm", "A4", ""), font: font}
	at := time.UnixMilli(int64(made)).UTC()
	p.SetCreationDate(at)
	p.SetModificationDate(at)
	p.SetCatalogSort(true)
	p.SetTitle(title, true)
	p.SetCreator("Anamnesis", true)
	p.SetLang("en")
	p.AddUTF8FontFromBytes(family, "", goregular.TTF)
	p.AddUTF8FontFromBytes(family, "B", gobold.TTF)
	p.SetMargins(margin, margin, margin)
	p.SetAutoPageBreak(false, margin)
	p.AliasNbPages("{pages}")
	p.SetFooterFunc(func() {
		p.SetY(-margin + 2)
		p.ink(8, "", 90)
		p.CellFormat(0, 4, fmt.Sprintf("%s · page %d of {pages}", title, p.PageNo()), "", 0, "C", false, 0, "")
	})
	p.AddPage()
	p.ink(20, "B", 20)
	p.CellFormat(0, 9, title, "", 1, "L", false, 0, "")
	return p, nil
}

func (p *paper) ink(size float64, style string, grey int) {
	p.SetFont(family, style, size)
	p.SetTextColor(grey, grey, grey)
}

// safe makes text of others fit to be set: one line, and a question mark for what the font has no picture of.
func (p *paper) safe(s string) string {
	return strings.Map(func(r rune) rune {
		if g, err := p.font.GlyphIndex(&p.buf, r); err != nil || g == 0 {
			return '?'
		}
		return r
	}, oneLine(s))
}

// head says what this is, of whom, for when, and what it rests on.
func (p *paper) head(a *Accounting) {
	p.ink(9.5, "", 70)
	p.CellFormat(0, 5, "Accounting of disclosures (45 CFR 164.528 · GDPR Article 15 · EHDS Article 9)", "", 1, "L", false, 0, "")
	p.Ln(2)
	name := a.Journal.String()
	if a.Name != "" {
		name = p.safe(a.Name) + " (" + name + ")"
	}
	for _, f := range [][2]string{
		{"Journal", name}, {"Network", p.safe(a.Network)},
		{"Period", fmt.Sprintf("%s to %s", day(a.From), day(max(a.To, 1)-1))},
		{"In it", fmt.Sprintf("%s, %s refused", plural(len(a.Disclosures), "disclosure"), plural(len(a.Refused), "request"))},
	} {
		p.ink(10, "B", 20)
		p.CellFormat(24, 5.4, f[0], "", 0, "L", false, 0, "")
		p.ink(10, "", 20)
		p.CellFormat(0, 5.4, f[1], "", 1, "L", false, 0, "")
	}
	p.Ln(2)
	text := fmt.Sprintf("This list is complete. It was made from all %d entries of the journal, each checked against the head of the network's log (%d entries) that %d of its nodes "+
		"signed on %s UTC. The law lets what was done for treatment, payment and operations be left out of such a list; here nothing is left out. "+
		"The number in the last column is the entry in the log: with its receipt anybody can check that line, with no network.",
		a.Proof.Entries, a.Proof.Size, a.Proof.Nodes, stamp(a.Proof.Time))
	p.SetFillColor(232, 243, 236)
	p.SetDrawColor(46, 125, 82)
	if !a.Proof.Holds {
		text = "NOT PROVEN. What the gateway showed does not hold: this list may be wrong or incomplete. Ask another organisation's gateway, and keep this page as evidence."
		p.SetFillColor(252, 232, 230)
		p.SetDrawColor(179, 38, 30)
	}
	p.box(text)
}

// box is a paragraph on a coloured ground, in the fill and draw colours that are set.
func (p *paper) box(text string) {
	const pad, leading = 2.5, 5.2
	p.ink(10, "", 20)
	lines := p.wrapAll(text, pageWidth-2*margin-2*pad, 1<<10)
	p.SetLineWidth(0.4)
	y := p.GetY()
	height := float64(len(lines))*leading + 2*pad
	p.Rect(margin, y, pageWidth-2*margin, height, "FD")
	for i, line := range lines {
		p.SetXY(margin+pad, y+pad+float64(i)*leading)
		p.CellFormat(0, leading, line, "", 0, "L", false, 0, "")
	}
	p.SetXY(margin, y+height)
}

func (p *paper) heading(text string) {
	if p.GetY() > pageHeight-3*margin {
		p.AddPage()
	}
	p.Ln(5)
	p.ink(13, "B", 20)
	p.CellFormat(0, 7, text, "", 1, "L", false, 0, "")
}

// each is a table of requests.
func (p *paper) each(list []Disclosure, none string) {
	t := p.table([]column{{"when (UTC)", 37}, {"who", 52}, {"organisation", 46}, {"what", 46}, {"why", 32}, {"by what right", 42}, {"entry", 14}}, none)
	for _, d := range list {
		basis := d.Basis
		if d.Review != "" {
			basis += "; review: " + d.Review
		}
		what := strings.Join(d.Classes, ", ")
		if len(d.Records) > 0 {
			what += " (" + plural(len(d.Records), "record") + ")"
		}
		t.row(stamp(d.Time), d.Recipient.titled(), d.Recipient.Organisation, what, d.Why, basis, fmt.Sprint(d.Entry))
	}
	t.end()
}

type column struct {
	head  string
	width float64
}

// sheet is a table whose cells wrap, and whose head stands on every page that it reaches.
type sheet struct {
	p       *paper
	columns []column
	none    string
	rows    int
}

func (p *paper) table(columns []column, none string) *sheet {
	return &sheet{p: p, columns: columns, none: none}
}

func (t *sheet) head() {
	p := t.p
	p.ink(9, "B", 255)
	p.SetFillColor(45, 62, 80)
	for _, c := range t.columns {
		p.CellFormat(c.width, 6, c.head, "", 0, "L", true, 0, "")
	}
	p.Ln(6)
}

func (t *sheet) row(cells ...string) {
	p := t.p
	p.ink(9, "", 20)
	lines := make([][]string, len(cells))
	most := 1
	for i, c := range cells {
		lines[i] = p.wrap(p.safe(c), t.columns[i].width-2.4)
		most = max(most, len(lines[i]))
	}
	height := float64(most)*lineHeight + 1.6
	switch {
	case p.GetY()+height > pageHeight-margin:
		p.AddPage()
		t.head()
	case t.rows == 0:
		t.head()
	}
	p.ink(9, "", 20)
	if t.rows%2 == 1 {
		p.SetFillColor(244, 246, 248)
		p.Rect(margin, p.GetY(), pageWidth-2*margin, height, "F")
	}
	x, y := margin, p.GetY()
	for i, cell := range lines {
		for n, line := range cell {
			p.SetXY(x, y+0.8+float64(n)*lineHeight)
			p.CellFormat(t.columns[i].width, lineHeight, line, "", 0, "L", false, 0, "")
		}
		x += t.columns[i].width
	}
	p.SetXY(margin, y+height)
	t.rows++
}

func (t *sheet) end() {
	if t.rows == 0 {
		t.p.ink(10, "", 70)
		t.p.CellFormat(0, 6, t.none, "", 1, "L", false, 0, "")
	}
}

// wrapLinesMax is how many lines of a cell are shown; a name that is longer than that is somebody's joke.
const wrapLinesMax = 6

func (p *paper) wrap(text string, width float64) []string {
	return p.wrapAll(text, width, wrapLinesMax)
}

func (p *paper) wrapAll(text string, width float64, most int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(text) {
		for p.GetStringWidth(word) > width { // longer than a line
			cut := len([]rune(word))
			for cut > 1 && p.GetStringWidth(string([]rune(word)[:cut])) > width {
				cut--
			}
			if line != "" {
				out, line = append(out, line), ""
			}
			out, word = append(out, string([]rune(word)[:cut])), string([]rune(word)[cut:])
		}
		switch longer := strings.TrimSpace(line + " " + word); {
		case p.GetStringWidth(longer) <= width:
			line = longer
		default:
			out, line = append(out, line), word
		}
	}
	if line != "" {
		out = append(out, line)
	}
	if len(out) > most {
		out = append(out[:most-1], out[most-1]+" …")
	}
	return out
}

func (p *paper) out(w io.Writer) error {
	if err := p.Output(w); err != nil {
		return fmt.Errorf("rights: pdf: %w", err)
	}
	return nil
}
