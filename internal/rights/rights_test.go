package rights

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

const start = 1_790_000_000_000 // UTC ms

// report is that of a journal which holds.
func report() *proof.Report {
	return &proof.Report{OK: true, Chain: "town", Journal: protocol.JournalID{0xad, 0xa0}, Counts: proof.Counts{Entries: 42},
		Checkpoint: proof.Checkpoint{Size: 99, Root: protocol.Hash{7}, Time: start + 500_000, Have: 3, Need: 3}}
}

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

// story is a journal's log with everything that an accounting has to tell apart.
func story() []proof.LogLine {
	okafor := proof.LogWho{Kind: protocol.ActorPractitioner, ID: "f377d1e37655", Name: "Dr. Lena Okafor", Role: "emergency-physician", Member: "Northside, General", MemberID: "aa"}
	medic := proof.LogWho{Kind: protocol.ActorPractitioner, ID: "9e9e9e9e9e9e", Role: "paramedic", Member: "Harbour"}
	insurer := proof.LogWho{Kind: protocol.ActorMember, ID: "bbbbbbbbbbbb", Member: "Mutual", Name: "Mutual"}
	chief := proof.LogWho{Kind: protocol.ActorPractitioner, ID: "c1c1", Role: "administrator", Member: "Northside, General"}
	care, card := protocol.ContractID{1}, protocol.ContractID{2}
	records := func(ids ...byte) (out []protocol.RecordID) {
		for _, i := range ids {
			out = append(out, protocol.RecordID{i})
		}
		return out
	}
	access := func(who proof.LogWho, permitted *bool, purpose, id string, opened []protocol.RecordID, by []protocol.ContractID, what ...string) proof.LogLine {
		l := proof.LogLine{Type: protocol.TypeRequestAccess, Who: who, Permitted: permitted, Purpose: purpose, Access: id, Records: opened, Contracts: by, What: what,
			Text: "somebody asked"}
		if !*permitted {
			l.Reason = "no-contract"
		}
		return l
	}
	glass := func(l proof.LogLine) proof.LogLine { l.Glass = true; return l }
	lines := []proof.LogLine{
		{Type: protocol.TypeOpenJournal, Who: proof.LogWho{Kind: protocol.ActorPatient, ID: "ada0"}, Text: "The journal was opened"},
		{Type: protocol.TypeGrant, Contracts: []protocol.ContractID{care}, Contract: &proof.LogContract{Template: "care-team"}, Text: "granted"},
		{Type: protocol.TypeGrant, Contracts: []protocol.ContractID{card}, Contract: &proof.LogContract{Template: "emergency-card"}, Text: "granted"},
		access(okafor, no(), "TREAT", "a0", nil, nil, "labs"),
		access(okafor, yes(), "TREAT", "a1", records(1, 2), []protocol.ContractID{care}, "allergies", "labs"),
		access(okafor, yes(), "TREAT", "a2", records(2, 3), []protocol.ContractID{care}, "labs"),
		glass(access(okafor, yes(), "BTG", "s1", records(4), []protocol.ContractID{card}, "problems")),
		{Type: protocol.EventBreakGlassOpened, Access: "s1", Text: "glass"},
		glass(access(okafor, yes(), "ETREAT", "a4", records(5), []protocol.ContractID{card}, "problems")),
		{Type: protocol.TypeReviewBreakGlass, Who: chief, Access: "s1", Verdict: "unjustified", Text: "reviewed"},
		{Type: protocol.EventBreakGlassOpened, Access: "s2", Text: "glass"}, // the entries of one action may stand in either order
		glass(access(medic, yes(), "BTG", "s2", records(4), []protocol.ContractID{card}, "problems")),
		{Type: protocol.EventReviewMissed, Access: "s2", Text: "missing"},
		{Type: protocol.EventBreakGlassOpened, Access: "s3", Text: "glass"},
		glass(access(medic, yes(), "BTG", "s3", records(4), []protocol.ContractID{card}, "problems")),
		access(insurer, no(), "HPAYMT", "a7", nil, nil, "insurance"),
		access(proof.LogWho{Kind: protocol.ActorDelegate, ID: "ada0", Key: "d0d0d0d0d0d0"}, yes(), "FAMRQT", "a8", records(1), nil, "allergies"),
		access(proof.LogWho{Kind: protocol.ActorPatient, ID: "ada0"}, yes(), "PATRQT", "a9", records(1), nil, "allergies"),
	}
	for i := range lines {
		lines[i].Index, lines[i].Seq, lines[i].Time = uint64(10+i), uint64(i), start+uint64(i)*1000
	}
	return lines
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs; run with -rewrite and look at the difference:\n%s", file, got)
	}
}

// Each request stands once, in the right list, with the right review; and readers add up.
func TestAccount(t *testing.T) {
	lines := story()
	a := Account(report(), lines, "main", 0, start+1e9)
	var b bytes.Buffer
	if err := a.CSV(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "account.csv", b.Bytes())
	b.Reset()
	e := json.NewEncoder(&b)
	e.SetIndent("", "\t")
	if err := e.Encode(a.Readers); err != nil {
		t.Fatal(err)
	}
	golden(t, "readers.json", b.Bytes())

	asked := 0
	for _, l := range lines {
		if l.Permitted != nil {
			asked++
		}
	}
	if len(a.Disclosures)+len(a.Refused) != asked {
		t.Errorf("%d disclosures and %d refusals of %d requests", len(a.Disclosures), len(a.Refused), asked)
	}
	// The period: from is inclusive, to exclusive, and the parts make the whole.
	cut := lines[6].Time
	before, after := Account(report(), lines, "", 0, cut), Account(report(), lines, "", cut, start+1e9)
	if len(before.Disclosures)+len(after.Disclosures) != len(a.Disclosures) || len(before.Refused)+len(after.Refused) != len(a.Refused) || after.Disclosures[0].Time != cut {
		t.Error("the parts of a period do not make the whole")
	}
	if from, to := Period(start); from >= start-5*365*24*3600_000 || to != start+1 {
		t.Error("six years", from, to)
	}
}

// What others chose to be called does nothing to a spreadsheet, a terminal or a page.
func TestNamesAreHarmless(t *testing.T) {
	lines := story()
	bad := []string{`=HYPERLINK("http://evil","x")`, "+1", "-1", "@SUM(A1)", "|calc", "%x", "\t=1", "a\r\nb", "\u202egnp.exe", "<script>alert(1)</script>", `"><img src=x>`}
	for i, name := range bad {
		l := lines[4]
		l.Who.ID, l.Who.Name, l.Who.Member, l.What = fmt.Sprint(i), name, name, []string{name}
		lines = append(lines, l)
	}
	a := Account(report(), lines, bad[9], 0, start+1e9)
	var b bytes.Buffer
	if err := errors.Join(a.CSV(&b), LogCSV(&b, lines)); err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(bytes.ReplaceAll(b.Bytes(), []byte(bom), nil)))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@|%\t", rune(cell[0])) || strings.ContainsAny(cell, "\r\n\u202e") {
				t.Errorf("a cell that does something: %q", cell)
			}
		}
	}
	var page, pdf bytes.Buffer
	j := journal(lines, a)
	j.Name = bad[9]
	for i := range j.Resources {
		j.Resources[i].Title, j.Resources[i].Source = bad[9], bad[10]
	}
	if err := pages.ExecuteTemplate(&page, "journal", pageOf(start, &j)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<script>alert") || strings.Contains(page.String(), "<img") {
		t.Error("a name became markup")
	}
	if err := a.PDF(&pdf); err != nil {
		t.Fatal(err)
	}
}

// The document has every line, on as many pages as it takes, and the same accounting makes the same bytes.
func TestPDF(t *testing.T) {
	lines := story()
	for i := range 300 {
		l := lines[4]
		l.Index, l.Who.Name = uint64(1000+i), fmt.Sprintf("Dr. Łukasz Żółć-%d", i)
		lines = append(lines, l)
	}
	a := Account(report(), lines, "main", 0, start+1e9)
	var one, two bytes.Buffer
	if err := errors.Join(a.PDF(&one), a.PDF(&two)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the same accounting made different bytes")
	}
	if !bytes.HasPrefix(one.Bytes(), []byte("%PDF-")) {
		t.Fatal("no PDF")
	}
	text := pdfText(t, one.Bytes())
	for _, want := range []string{"Who has read my health record", "This list is complete", "all 42 entries", "Northside, General", "Łukasz Żółć-299", "page 1 of", "1299", "unjustified", "missing"} {
		if !strings.Contains(text, want) {
			t.Errorf("the document does not say %q", want)
		}
	}
	bad := report()
	bad.OK = false
	one.Reset()
	if err := Account(bad, lines, "main", 0, start+1e9).PDF(&one); err != nil {
		t.Fatal(err)
	}
	if text := pdfText(t, one.Bytes()); !strings.Contains(text, "NOT PROVEN") || strings.Contains(text, "is complete") {
		t.Error("a document of what does not hold does not say so")
	}
}

// pdfText is the text as a reader's program finds it.
func pdfText(t *testing.T, pdf []byte) string {
	t.Helper()
	tool, err := exec.LookPath("pdftotext")
	if err != nil {
		t.Skip("SKIPPED: pdftotext (poppler-utils) is not installed, so nobody else's program has read the document")
	}
	cmd := exec.Command(tool, "-layout", "-", "-")
	cmd.Stdin = bytes.NewReader(pdf)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("pdftotext cannot read it: ", err)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

func journal(lines []proof.LogLine, a *Accounting) Journal {
	j := Journal{Name: "Main journal", ID: protocol.JournalID{0xad, 0xa0}, Report: report(), Log: lines, Accounting: a,
		CanRead: &CanRead{Time: start, Rules: []Rule{{ID: protocol.ContractID{1}, Template: "care-team", Text: "Dr. A may read all records.\nDr. A may never read hiv.", Reads: true, Begun: true,
			NotAfter: start + 1e9, UsesMax: 5, Uses: 2}}, People: []Person{{Recipient: Recipient{Kind: protocol.ActorPractitioner, ID: "f377d1e37655", Name: "Dr. A", Role: "physician", Organisation: "N"},
			Opens: []Opens{{Class: "allergies", Records: 1, Of: 2, Purposes: []protocol.Purpose{protocol.PurposeTreat}, Contracts: []protocol.ContractID{{1}}},
				{Class: "problems", Glass: []protocol.Purpose{protocol.PurposeBreakGlass}, Contracts: []protocol.ContractID{{2}}}}}}},
		Export: func(w io.Writer) error { _, err := w.Write([]byte("the export")); return err }}
	for i, class := range fhir.Classes() {
		raw := fmt.Appendf(nil, "{\n \"resourceType\": \"Observation\",\n \"id\": \"%d\", \"value\": 1.50, \"text\": \"a <b> & ü\"}", i)
		j.Resources = append(j.Resources, Resource{Raw: raw, Class: class, Type: "Observation", Date: "2020-01-02", Title: "A <b> thing", Detail: "1.50", Source: "St. Mary", Record: protocol.RecordID{byte(i)}})
	}
	j.Resources = append(j.Resources, Resource{Raw: []byte(`{"resourceType":"Patient","id":"fake"}`), Class: fhir.Demographics, Type: "Patient", Title: "Somebody Else", Own: true})
	j.Resources = append(j.Resources, Resource{Raw: []byte(`{"resourceType":"DocumentReference","content":[{"attachment":{"contentType":"application/pdf","data":"JVBERi0xLjQK"}},{"attachment":{"contentType":"text/html","data":"PHA+"}}]}`),
		Class: fhir.Documents, Type: "DocumentReference", Title: "A letter", Source: "Patient", Author: "the patient", Own: true, Record: protocol.RecordID{0xd0}})
	j.Resources = append(j.Resources, Resource{Raw: []byte(`{"resourceType":"Patient","id":"p"}`), Class: fhir.Demographics, Type: "Patient", Title: "Ada Lovelace", Date: "1815-12-10"})
	return j
}

// Everything is in the pack, in forms that other programs open; no page fetches anything, and every link leads to a file of the pack.
func TestPack(t *testing.T) {
	lines := story()
	a := Account(report(), lines, "main", 0, start+1e9)
	one, two := journal(lines, a), journal(lines, a)
	two.ID, two.Problems = protocol.JournalID{0xbe}, []string{"record 7 could not be opened"}
	var b bytes.Buffer
	if err := Pack(&b, start, []byte("a policy"), []Journal{one, two}, nil); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range r.File {
		if path.IsAbs(f.Name) || strings.Contains(f.Name, "..") || strings.Contains(f.Name, `\`) || !strings.HasPrefix(f.Name, PackFolder(start)+"/") {
			t.Errorf("a file outside of the pack's folder: %s", f.Name)
		}
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(f.Name, PackFolder(start)+"/")] = data
	}
	link := regexp.MustCompile(`(?:href|src)="([^"#]+)`)
	for name, data := range files {
		if path.Ext(name) != ".html" {
			continue
		}
		if bytes.Contains(data, []byte("<script")) || bytes.Contains(data, []byte("http")) && bytes.Contains(data, []byte("://")) {
			t.Errorf("%s has a script or leads outside", name)
		}
		for _, m := range link.FindAllSubmatch(data, -1) {
			if to := path.Join(path.Dir(name), string(m[1])); files[to] == nil {
				t.Errorf("%s leads to %s, which is not there", name, to)
			}
		}
	}
	if text := string(files["Main-journal/index.html"]); !strings.Contains(text, "A &lt;b&gt; thing") || !strings.Contains(text, "Ada Lovelace, born 1815-12-10") ||
		!strings.Contains(text, "Dr. A may never read hiv.") || !strings.Contains(text, "allergies (1 of 2): treatment") {
		t.Error("the page leaves things out")
	}
	letter := fmt.Sprintf("files/%05d-1.pdf", len(one.Resources)-1)
	if page := string(files["Main-journal/index.html"]); string(files["Main-journal/"+letter]) != "%PDF-1.4\n" || !strings.Contains(page, `href="`+letter+`"`) || !strings.Contains(page, "the patient") {
		t.Error("the letter is not there to be opened, or not as the patient's")
	}
	for name := range files {
		if strings.Contains(name, "/files/") && path.Base(name) != path.Base(letter) {
			t.Errorf("%s was written", name)
		}
	}
	other := "Main-journal-" + two.ID.String()[:8]
	if !strings.Contains(string(files[other+"/index.html"]), "record 7 could not be opened") || string(files[other+"/journal.tar"]) != "the export" || string(files["trust.policy"]) != "a policy" {
		t.Error("the second journal of the same name is not whole")
	}

	// Every resource is in the Bundle and in the NDJSON of its type, and means the same: numbers keep their digits.
	var bundle struct {
		ResourceType, Type string
		Entry              []struct{ Resource json.RawMessage }
	}
	if err := json.Unmarshal(files["Main-journal/fhir/bundle.json"], &bundle); err != nil {
		t.Fatal(err)
	}
	if bundle.ResourceType != "Bundle" || bundle.Type != "collection" || len(bundle.Entry) != len(one.Resources) {
		t.Fatalf("%s %s of %d resources", bundle.ResourceType, bundle.Type, len(bundle.Entry))
	}
	for i, r := range one.Resources {
		var want bytes.Buffer
		if err := json.Compact(&want, r.Raw); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bundle.Entry[i].Resource, want.Bytes()) {
			t.Errorf("resource %d became %s", i, bundle.Entry[i].Resource)
		}
		if lines := bytes.Split(files["Main-journal/fhir/"+r.Type+".ndjson"], []byte("\n")); !slices.ContainsFunc(lines, func(l []byte) bool { return bytes.Equal(l, want.Bytes()) }) {
			t.Errorf("resource %d is not in the NDJSON", i)
		}
	}
	var again bytes.Buffer
	if err := Pack(&again, start, []byte("a policy"), []Journal{one, two}, nil); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Error("the same pack made different bytes", err)
	}
	failing := journal(lines, a)
	failing.Export = func(io.Writer) error { return io.ErrClosedPipe }
	if err := Pack(io.Discard, start, nil, []Journal{failing}, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Error("a pack without its export:", err)
	}
}

// Folders are apart on every file system.
func TestFoldersOfJournals(t *testing.T) {
	var list []Journal
	for i, name := range []string{"Main", "main", "../../etc", "Nul", "☃", "", strings.Repeat("x", 90), "my son"} {
		list = append(list, Journal{Name: name, ID: protocol.JournalID{byte(i + 1)}})
	}
	got := foldersOf(list)
	want := []string{"Main", "main-02000000", "etc", "Nul-04000000", "journal", "journal-06000000", strings.Repeat("x", 40), "my-son"}
	if !slices.Equal(got, want) {
		t.Errorf("folders\n%q\nwant\n%q", got, want)
	}
}

// A record under a label that a member made up is no reason to say less about who could read it.
func TestShelvesHoldEveryRecord(t *testing.T) {
	h := protocol.Handle{Journal: protocol.JournalID{1}, Key: protocol.LabelKey{2}}
	allergies := h.Label(string(fhir.Allergies))
	s := proof.Standing{Records: []proof.StandingRecord{{As: protocol.RecordID{1}, Label: allergies}, {As: protocol.RecordID{2}, Label: allergies},
		{As: protocol.RecordID{3}, Label: protocol.Label{9}}}}
	got := map[string]int{}
	for _, one := range shelve(s, h, start) {
		got[one.class] = one.records
		if len(one.resources) == 0 {
			t.Errorf("%s: nothing to judge", one.class)
		}
	}
	if len(got) != len(fhir.Classes())+1 || got[string(fhir.Allergies)] != 2 || got[noClass] != 1 {
		t.Errorf("shelves %v", got)
	}
}
