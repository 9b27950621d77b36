package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"
)

// widthMax is how wide tables and text are.
const widthMax = 100

// show prints JSON, or calls text.
func (c *cli) show(v any, text func(w io.Writer)) error {
	if !c.json {
		text(c.out)
		return nil
	}
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printable makes foreign text harmless on a terminal: one line, nothing that moves the cursor or turns the direction of writing.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
}

// onTerminal makes what others wrote harmless on a terminal, and leaves its lines: control characters, and those that turn the direction of
// text, are shown by their numbers.
func onTerminal(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, "\\u%04x", r)
	}
	return b.String()
}

// table prints aligned columns, at most widthMax wide. Columns whose heading begins with '~' give way when room is short, those with more
// of them later; '>' aligns to the right. Headings lose the marks.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

const gap = "  "

func (t *table) print(w io.Writer) {
	widths, soft, right := make([]int, len(t.head)), make([]int, len(t.head)), make([]bool, len(t.head))
	head := make([]string, len(t.head))
	for i, h := range t.head {
		head[i] = strings.TrimLeft(h, "~>")
		soft[i], right[i] = strings.Count(h, "~"), strings.HasPrefix(h, ">")
		widths[i] = runewidth.StringWidth(head[i])
	}
	for _, row := range t.rows {
		for i := range row {
			row[i] = printable(row[i])
			widths[i] = max(widths[i], runewidth.StringWidth(row[i]))
		}
	}
	squeeze(widths, soft)
	for _, row := range append([][]string{head}, t.rows...) {
		var b strings.Builder
		for i, cell := range row {
			cell = runewidth.Truncate(cell, widths[i], "…")
			pad := strings.Repeat(" ", widths[i]-runewidth.StringWidth(cell))
			if right[i] {
				cell = pad + cell
			} else {
				cell += pad
			}
			if i > 0 {
				b.WriteString(gap)
			}
			b.WriteString(cell)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// squeeze takes from the soft columns what is too much: from the one that is widest for its weight.
func squeeze(widths, soft []int) {
	const least = 8
	total := len(gap) * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	for ; total > widthMax; total-- {
		widest := -1
		for i, n := range widths {
			if soft[i] > 0 && n > least && (widest < 0 || n*soft[widest] > widths[widest]*soft[i]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// legend gives long names a letter, and tells at the end which is which.
type legend struct {
	names []string
}

func (l *legend) letter(name string) string {
	i := slices.Index(l.names, name)
	if i < 0 {
		l.names = append(l.names, name)
		i = len(l.names) - 1
	}
	if i < 26 {
		return string(rune('a' + i))
	}
	return fmt.Sprintf("%c%d", 'a'+i%26, i/26)
}

func (l *legend) print(w io.Writer, what string) {
	for i, name := range l.names {
		lead := strings.Repeat(" ", len(what))
		if i == 0 {
			lead = what
		}
		fmt.Fprintf(w, "%s %s: %s\n", lead, l.letter(name), printable(name))
	}
}

// wrap breaks text into lines of at most widthMax, each behind the margin. Lines that are in it stay apart.
func wrap(text, margin string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		width := 0
		for _, word := range strings.Fields(printable(line)) {
			n := runewidth.StringWidth(word)
			if width > 0 && len(margin)+width+1+n > widthMax {
				b.WriteString("\n")
				width = 0
			}
			if width == 0 {
				b.WriteString(margin)
			} else {
				b.WriteString(" ")
				width++
			}
			b.WriteString(word)
			width += n
		}
		b.WriteString("\n")
	}
	return b.String()
}

// fields prints "name  value" lines, aligned.
func fields(w io.Writer, pairs ...string) {
	width := 0
	for i := 0; i+1 < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%-*s  %s\n", width, pairs[i], printable(pairs[i+1]))
		}
	}
}

// Times are UTC milliseconds on the ledger, and shown in UTC.
const timeLayout = "2006-01-02 15:04:05"

func moment(ms uint64) time.Time { return time.UnixMilli(int64(ms)).UTC() }

func when(ms uint64) string {
	if ms == 0 {
		return "-"
	}
	return moment(ms).Format(timeLayout)
}

func now() uint64 { return uint64(time.Now().UnixMilli()) }

// span says a duration the way people do.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "y") {
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(one, "y"))
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func size(bytes uint64) string {
	switch {
	case bytes < 10<<10:
		return fmt.Sprintf("%d B", bytes)
	case bytes < 10<<20:
		return fmt.Sprintf("%d kB", bytes>>10)
	case bytes < 10<<30:
		return fmt.Sprintf("%d MB", bytes>>20)
	}
	return fmt.Sprintf("%d GB", bytes>>30)
}

// short is the beginning of an id, enough for the commands that take one.
func short[T fmt.Stringer](id T) string { return id.String()[:shortDigits] }

const (
	shortDigits    = 12
	shortDigitsMin = 4
)

// pick finds the one id that text is, or is the beginning of.
func pick[T fmt.Stringer](what, text string, ids []T) (found T, err error) {
	var none T
	text = strings.ToLower(strings.TrimSpace(text))
	if len(text) < shortDigitsMin {
		return none, usage("%q is too short for %s: give at least %d digits of its id", text, what, shortDigitsMin)
	}
	matches := slices.DeleteFunc(slices.Clone(ids), func(id T) bool { return !strings.HasPrefix(id.String(), text) })
	switch len(matches) {
	case 1:
		return matches[0], nil
	case 0:
		f := failed("not-found", "there is no "+what+" "+printable(text), "The list command shows the ids; the first digits are enough.")
		return none, f
	}
	return none, usage("%d ids of %ss begin with %s: give more digits", len(matches), what, text)
}
