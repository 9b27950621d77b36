package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
	"pgregory.net/rapid"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// TestTablesFit: whatever stands in the cells, each row is one line of at most widthMax, and no control character gets through.
func TestTablesFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := newTable(">n", "~class", "~~~what", "~~from")
		rows := rapid.IntRange(0, 5).Draw(t, "rows")
		for range rows {
			tab.add("7", rapid.String().Draw(t, "class"), rapid.String().Draw(t, "what"), rapid.String().Draw(t, "from"))
		}
		var out bytes.Buffer
		tab.print(&out)
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != rows+1 {
			t.Fatalf("%d lines for %d rows:\n%q", len(lines), rows, out.String())
		}
		for _, line := range lines {
			if w := runewidth.StringWidth(line); w > widthMax {
				t.Errorf("%d wide: %q", w, line)
			}
			if strings.ContainsAny(line, "\x1b\r\x00\u202e\u200b") {
				t.Errorf("not harmless: %q", line)
			}
		}
	})
}

func TestWrapFits(t *testing.T) {
	text := strings.Repeat("a word and another ", 30) + "\nsecond line"
	for _, line := range strings.Split(strings.TrimSuffix(wrap(text, "    "), "\n"), "\n") {
		if len(line) > widthMax || !strings.HasPrefix(line, "    ") || strings.HasSuffix(line, " ") {
			t.Errorf("%q", line)
		}
	}
	if got := wrap("one\ntwo", ""); got != "one\ntwo\n" {
		t.Errorf("lines run together: %q", got)
	}
}

func TestPick(t *testing.T) {
	a, b := protocol.RecordID{0xaa, 0xbb, 0x01}, protocol.RecordID{0xaa, 0xbb, 0x02}
	ids := []protocol.RecordID{a, b}
	if got, err := pick("record", "AABB02", ids); err != nil || got != b {
		t.Errorf("beginning: %v, %v", got, err)
	}
	if got, err := pick("record", a.String(), ids); err != nil || got != a {
		t.Errorf("whole: %v, %v", got, err)
	}
	for _, bad := range []string{"", "aab", "aabb", "aabb03", a.String() + "0"} {
		var f *failure
		if _, err := pick("record", bad, ids); !errors.As(err, &f) {
			t.Errorf("%q is found", bad)
		}
	}
}

func TestTimes(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{"2026-11-23T12:00:00Z": noon, "2026-11-23T13:00:00+01:00": noon, "2026-11-23 12:00": noon,
		"2026-11-23T12:00:00": noon, "2026-11-23": noon.Truncate(24 * time.Hour)} {
		if got, err := timeOf("--from", text); err != nil || got != uint64(want.UnixMilli()) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"yesterday", "23.11.2026", "2026-13-01", "1969-12-31"} {
		if _, err := timeOf("--from", text); err == nil {
			t.Errorf("%q is taken for a time", text)
		}
	}
}

// TestFillIn: words become ids, ids and strangers' words stay, and what is unknown is an error rather than left to pass.
func TestFillIn(t *testing.T) {
	h := protocol.Handle{Journal: protocol.JournalID{1}, Key: protocol.LabelKey{2}}
	known := &names{members: []api.Member{{ID: protocol.MemberID{0xcd}, Name: "St. Brigid Hospital"}}}
	labs, id := h.Label("labs").String(), protocol.MemberID{0xcd}.String()
	for in, want := range map[string]string{
		`resource in Class::"labs"`:                 `resource in Class::"` + labs + `"`,
		`principal in Member::"st-brigid-hospital"`: `principal in Member::"` + id + `"`,
		`Class::"` + labs + `" || Action::"read"`:   `Class::"` + labs + `" || Action::"read"`,
	} {
		if got, err := fillIn([]byte(in), h, known); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{`Class::"gossip"`, `Member::"nowhere"`} {
		if got, err := fillIn([]byte(in), h, known); err == nil {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// TestSlugs: the words for members are the names of their key files.
func TestSlugs(t *testing.T) {
	for name, want := range map[string]string{"Northside General Hospital": "northside-general-hospital", "St. Brigid Hospital": "st-brigid-hospital",
		"Patients' Association": "patients-association", " -- x": "x", "Ärztehaus": "rztehaus"} {
		if got := slug(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestFileNames(t *testing.T) {
	for in, want := range map[string]string{"Observation/ab-1": "Observation-ab-1", "../../etc/passwd": "------etc-passwd", "a\x00b": "a-b", "..": "--"} {
		if got := fileName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// What others wrote moves no cursor and turns no text around.
func TestOnTerminal(t *testing.T) {
	const hostile = "a\x1b[31mred\u009b2J\r\x00\u202eevil\ttab\nline \u00fc"
	if got, want := onTerminal(hostile), `a\u001b[31mred\u009b2J\u000d\u0000\u202eevil`+"\ttab\nline \u00fc"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
