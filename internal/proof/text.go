package proof

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// erasedShown is how many erased records a report names; programs get all.
const erasedShown = 20

// Text is the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-13s %s\n", what, fmt.Sprintf(format, args...))
	}
	verdict(&b, r.OK, "The journal's log is true and complete.", len(r.Failures)+r.FailuresMore)
	line("network", "%s", r.Chain)
	line("journal", "%s", r.Journal)
	textCheckpoint(line, r.Checkpoint, r.TrustRoot)
	c := r.Counts
	line("entries", "%d, of which %d are proven to be in the log", c.Entries, c.Receipts)
	for _, t := range sortedKeys(c.ByType) {
		line("", "%-18s %d", t, c.ByType[t])
	}
	line("reads", "%d permitted, %d refused", c.Reads.Permitted, c.Reads.Refused)
	line("signatures", "%d hold", c.Signatures)
	line("files", "%d of %d records match their entries", c.Files, c.Records)
	if c.Opened > 0 {
		line("opened", "%d records", c.Opened)
	}
	erased := map[protocol.RecordID]bool{}
	for i, e := range r.Erased {
		if erased[e.Record] = true; i < erasedShown {
			line("erased", "record %s: %s", e.Record, e.Text)
		}
	}
	if more := len(r.Erased) - erasedShown; more > 0 {
		line("", "and %d more, in %d %s", more, len(r.Erasures), plural(len(r.Erasures), "erasure"))
	}
	for _, m := range r.Missing {
		if m.Why == Erased && erased[m.Record] {
			continue
		}
		line("missing", "the file of record %s: %s", m.Record, m.Why)
	}
	line("constitution", "%d entries, %d members", c.Constitution, c.Members)
	textFailures(&b, r.Failures, r.FailuresMore)
	return b.String()
}

// Text is the report for people.
func (r *ReceiptReport) Text() string {
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-13s %s\n", what, fmt.Sprintf(format, args...))
	}
	verdict(&b, r.OK, "The entry is in the network's log.", len(r.Failures)+r.FailuresMore)
	line("network", "%s", r.Chain)
	line("log index", "%d", r.Index)
	textCheckpoint(line, r.Checkpoint, r.TrustRoot)
	if e := r.Entry; e != nil {
		line("entry", "%s, %s", e.Type, timeText(e.Time))
		line("", "%s", e.Text)
	}
	textFailures(&b, r.Failures, r.FailuresMore)
	return b.String()
}

func verdict(b *strings.Builder, ok bool, good string, failures int) {
	if ok {
		b.WriteString("HOLDS. " + good + "\n")
		return
	}
	fmt.Fprintf(b, "DOES NOT HOLD: %d %s, listed below.\n", failures, plural(failures, "failure"))
}

func textCheckpoint(line func(what, format string, args ...any), c Checkpoint, t TrustRoot) {
	line("checkpoint", "%d entries, root %s", c.Size, c.Root)
	when := "no quorum"
	if c.Time > 0 {
		when = "a quorum at " + timeText(c.Time)
	}
	line("cosigned", "by %d nodes, %d are needed; %s", c.Have, c.Need, when)
	switch c.Pin {
	case "same":
		line("", "the checkpoint seen before")
	case "extended":
		line("", "extends the checkpoint seen before")
	case "unchecked":
		line("", "larger than the checkpoint seen before; that it extends it was not checked, for want of a proof")
	}
	if t.Given {
		line("trust root", "%s, as given", t.Digest)
		return
	}
	line("trust root", "%s", t.Digest)
	line("", "It comes from the export itself. Compare it with the network's, from somebody you trust,")
	line("", "or verify again with your own policy.")
}

func textFailures(b *strings.Builder, list []Failure, more int) {
	for _, f := range list {
		fmt.Fprintf(b, "  FAILED        %s: %s [%s]\n", f.Where, f.Detail, f.Code)
	}
	if more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
