package rights

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/anamnesis-health/anamnesis/internal/proof"
)

// bom makes spreadsheets read the file as UTF-8.
const bom = "\ufeff"

// CSV writes the accounting as a spreadsheet reads it (RFC 4180, UTF-8): a line for each request, those refused too, the earliest first.
func (a *Accounting) CSV(w io.Writer) error {
	rows := [][]string{{"time (UTC)", "recipient", "role", "organisation", "recipient id", "what", "records", "purpose", "why", "outcome", "by what right", "emergency review", "log entry"}}
	opened, refused := a.Disclosures, a.Refused
	for len(opened)+len(refused) > 0 {
		list, outcome := &opened, "opened"
		if len(opened) == 0 || len(refused) > 0 && refused[0].Entry < opened[0].Entry {
			list, outcome = &refused, "refused"
		}
		d := (*list)[0]
		*list = (*list)[1:]
		rows = append(rows, []string{stamp(d.Time), d.Recipient.Text(), d.Recipient.Role, d.Recipient.Organisation, d.Recipient.ID, strings.Join(d.Classes, ", "),
			strconv.Itoa(len(d.Records)), d.Purpose, d.Why, outcome, d.Basis, d.Review, strconv.FormatUint(d.Entry, 10)})
	}
	return writeCSV(w, rows)
}

// LogCSV writes a journal's whole log as a spreadsheet reads it.
func LogCSV(w io.Writer, lines []proof.LogLine) error {
	rows := [][]string{{"time (UTC)", "what happened", "kind", "who", "log entry"}}
	for _, l := range lines {
		who := Recipient{Kind: l.Who.Kind, ID: l.Who.ID, Name: l.Who.Name, Organisation: l.Who.Member}.Text()
		if l.Who.ID == "" && l.Who.Name == "" {
			who = "the ledger"
		}
		rows = append(rows, []string{stamp(l.Time), l.Text, l.Type.String(), who, strconv.FormatUint(l.Index, 10)})
	}
	return writeCSV(w, rows)
}

func writeCSV(w io.Writer, rows [][]string) error {
	if _, err := io.WriteString(w, bom); err != nil {
		return err
	}
	out := csv.NewWriter(w)
	out.UseCRLF = true
	for _, row := range rows {
		for i := range row {
			row[i] = cell(row[i])
		}
		if err := out.Write(row); err != nil {
			return fmt.Errorf("rights: csv: %w", err)
		}
	}
	out.Flush()
	return out.Error()
}

// cell keeps what comes from others from being a formula: a spreadsheet computes what begins with one of these. It stays one line.
func cell(s string) string {
	s = oneLine(s)
	if s != "" && strings.ContainsRune("=+-@\t|%", rune(s[0])) {
		return "'" + s
	}
	return s
}

// oneLine keeps what is printed to one line of printable characters that do not turn the direction of writing.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
}

// stamp is a time to the second, UTC, that sorts as text.
func stamp(ms uint64) string {
	return time.UnixMilli(int64(min(ms, 1<<53))).UTC().Format("2006-01-02 15:04:05")
}

func day(ms uint64) string {
	return time.UnixMilli(int64(min(ms, 1<<53))).UTC().Format("2 January 2006")
}
