//go:build !js

package proof_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

var rewrite = flag.Bool("rewrite", false, "write the goldens and docs/spec/vectors/export.* anew from this code")

// random is what differs from run to run: hashes of what the custodians' key generation drew, and keys' ids.
var random = regexp.MustCompile(`[0-9a-f]{64}`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = random.ReplaceAllString(got, "<hash>")
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if string(must(t, want, err)) != got {
		t.Errorf("%s differs; run with -rewrite and look at the difference:\n%s", path, got)
	}
}

func logOptions(n *net) proof.LogOptions {
	return proof.LogOptions{Handles: []protocol.Handle{n.handle}, Classes: []string{"labs", "allergies", "medications"},
		Templates: map[uint8]string{1: "emergency-24h", 3: "second-opinion"}}
}

func TestReportText(t *testing.T) {
	n := story(t, 4)
	p := n.prove(n.patient.Journal())
	r := verify(t, n.write(p), n.options())
	golden(t, "report-holds.txt", r.Text())
	forge(n, p, 7, func(e *protocol.Entry) { e.Time++ })
	p.Checkpoint = string(n.checkpoint(n.Time, 1, 2))
	p.Journal.Entries = slices.Delete(p.Journal.Entries, 3, 4)
	o := n.options()
	o.Policy = []byte(p.Policy)
	golden(t, "report-fails.txt", verify(t, n.write(p), o).Text())
}

func TestLog(t *testing.T) {
	n := story(t, 4)
	r := verify(t, n.write(n.prove(n.patient.Journal())), n.options())
	lines, err := r.Log(logOptions(n))
	text := ""
	for _, l := range must(t, lines, err) {
		text += l.Text + "\n"
	}
	b, err := json.MarshalIndent(lines, "", "\t")
	golden(t, "log.txt", text+"\n"+string(must(t, b, err))+"\n")
}

// A page of entries as a gateway serves them: its words fill in for what the caller does not know.
func TestLogOfAPage(t *testing.T) {
	n := story(t, 4)
	page := n.prove(n.patient.Journal()).Journal.Entries[4:9]
	slices.Reverse(page)
	for i := range page {
		page[i].Who = &api.Who{Name: "Dr. A. Okafor", Role: "physician", Member: "St. Mary"}
	}
	lines, err := proof.Log(page, proof.LogOptions{})
	text := ""
	for _, l := range must(t, lines, err) {
		text += l.Text + "\n"
	}
	golden(t, "log-page.txt", text)
	page[2].Raw = page[2].Raw[1:]
	if _, err := proof.Log(page, proof.LogOptions{}); !errors.Is(err, protocol.ErrEncoding) {
		t.Error(err)
	}
}
