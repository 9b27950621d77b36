package fhir

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// outcome is what one Read gave.
type outcome struct {
	resources []Resource
	problems  []*Problem
	tally     Tally
	err       error
}

func readAll(name string, r io.Reader, lim Limits) (o outcome) {
	o.tally, o.err = Read(name, r, lim, func(res Resource) error {
		o.resources = append(o.resources, res)
		return nil
	}, func(p *Problem) { o.problems = append(o.problems, p) })
	return o
}

func readText(name, text string, lim Limits) outcome {
	return readAll(name, strings.NewReader(text), lim)
}

// codes are "entry:code" of each problem.
func (o outcome) codes() string {
	var out []string
	for _, p := range o.problems {
		out = append(out, fmt.Sprintf("%d:%s", p.Entry, p.Code))
	}
	return strings.Join(out, " ")
}

// names are "entry:Type/id" of each resource.
func (o outcome) names() string {
	var out []string
	for _, r := range o.resources {
		out = append(out, fmt.Sprintf("%d:%s", r.Entry, r.Name()))
	}
	return strings.Join(out, " ")
}

func gzipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	patientA = `{"resourceType":"Patient","id":"a"}`
	patientB = `{"resourceType":"Patient","id":"b"}`
)

func bundle(entries ...string) string {
	return `{"resourceType":"Bundle","type":"collection","entry":[` + strings.Join(entries, ",") + `]}`
}

func entry(resource string) string { return `{"resource":` + resource + `}` }

func TestReadForms(t *testing.T) {
	for _, c := range []struct{ about, name, text, names, codes string }{
		{"resource", "x.json", patientA, "0:Patient/a", ""},
		{"bundle", "x.json", bundle(entry(patientA), entry(patientB)), "0:Patient/a 1:Patient/b", ""},
		{"empty bundle", "x.json", `{"resourceType":"Bundle","type":"batch"}`, "", ""},
		{"empty entry list", "x.json", `{"resourceType":"Bundle","entry":[]}`, "", ""},
		{"entry before resourceType", "x.json", `{"entry":[` + entry(patientA) + `],"resourceType":"Bundle"}`, "0:Patient/a", ""},
		{"a List has entries too", "x.json", `{"entry":[{"item":{"reference":"Patient/a"}}],"resourceType":"List","id":"l"}`, "0:List/l", ""},
		{"white space everywhere", "x.json", " \n" + strings.ReplaceAll(bundle(entry(patientA)), ":", " : ") + "\n\n", "0:Patient/a", ""},
		{"BOM", "x.json", "\xef\xbb\xbf" + patientA, "0:Patient/a", ""},
		{"ndjson by name", "x.ndjson", patientA + "\n\n" + patientB, "0:Patient/a 1:Patient/b", ""},
		{"ndjson by content", "-", patientA + "\r\n" + patientB + "\r\n", "0:Patient/a 1:Patient/b", ""},
		{"ndjson of bundles", "x.ndjson", bundle(entry(patientA)) + "\n" + patientB + "\n" + bundle(entry(patientA), entry(patientB)),
			"0:Patient/a 1:Patient/b 2:Patient/a 3:Patient/b", ""},
		{"nested bundle is one resource", "x.json", bundle(entry(bundle(entry(patientA)))), "0:Bundle", ""},
		{"fullUrl behind resource", "x.json", bundle(`{"resource":` + patientA + `,"fullUrl":"urn:uuid:1"}`), "0:Patient/a", ""},
		{"deletion in a history", "x.json", bundle(entry(patientA), `{"request":{"method":"DELETE","url":"Patient/z"}}`), "0:Patient/a", "1:no-resource"},
	} {
		o := readText(c.name, c.text, Limits{})
		if o.err != nil || o.names() != c.names || o.codes() != c.codes {
			t.Errorf("%s: %q problems %q error %v", c.about, o.names(), o.codes(), o.err)
		}
		zipped := readAll(c.name+".gz", bytes.NewReader(gzipped(t, []byte(c.text))), Limits{})
		if zipped.names() != c.names || zipped.codes() != c.codes {
			t.Errorf("%s, gzipped: %q problems %q", c.about, zipped.names(), zipped.codes())
		}
	}
}

func TestRawIsByteForByte(t *testing.T) {
	odd := "{ \"resourceType\" : \"Patient\" ,\n\t\"id\":\"a\", \"birthDate\" : \"19\\u00370\", \"multipleBirthInteger\":1 }"
	for name, text := range map[string]string{"x.json": odd, "y.json": bundle(entry(patientB), entry(odd)), "z.ndjson": strings.ReplaceAll(odd, "\n", " ")} {
		o := readText(name, text, Limits{})
		want := odd
		if name == "z.ndjson" {
			want = strings.ReplaceAll(odd, "\n", " ")
		}
		if got := string(o.resources[len(o.resources)-1].Raw); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestBrokenInput(t *testing.T) {
	deep := `{"resourceType":"Patient","extension":` + strings.Repeat(`[{"extension":`, 100_000)
	for _, c := range []struct{ about, name, text, names, codes string }{
		{"nothing", "x.json", "", "", "-1:empty"},
		{"only space", "x.json", " \n\t", "", "-1:empty"},
		{"XML", "x.json", `<Patient xmlns="http://hl7.org/fhir"/>`, "", "-1:not-json"},
		{"a list", "x.json", `[` + patientA + `]`, "", "-1:not-json"},
		{"binary", "x.json", "\x00\x01\x02", "", "-1:not-json"},
		{"UTF-16", "x.json", "\xff\xfe{\x00", "", "-1:not-utf8"},
		{"other JSON", "x.json", `{"hello":"world"}`, "", "0:not-fhir"},
		{"truncated resource", "x.json", patientA[:20], "", "-1:truncated"},
		{"truncated in a string", "x.json", `{"resourceType":"Pat`, "", "-1:truncated"},
		{"truncated bundle", "x.json", bundle(entry(patientA), entry(patientB))[:130], "0:Patient/a", "1:truncated -1:truncated"},
		{"bundle without end", "x.json", strings.TrimSuffix(bundle(entry(patientA)), "]}"), "0:Patient/a", "-1:truncated"},
		{"trailing garbage", "x.json", patientA + "garbage", "0:Patient/a", "-1:trailing-data"},
		{"second value", "x.json", patientA + patientB, "0:Patient/a", "-1:trailing-data"},
		{"deep nesting, whole file", "x.json", deep, "", "-1:truncated"},
		{"deep nesting, one entry", "x.json", bundle(entry(patientA), entry(deep+"1"+strings.Repeat("}]", 100_000)+"}"), entry(patientB)),
			"0:Patient/a 2:Patient/b", "1:too-deep"},
		{"broken entry goes alone", "x.json", bundle(entry(patientA), `{"resource":{"resourceType" "Patient"}}`, entry(patientB)),
			"0:Patient/a 2:Patient/b", "1:syntax"},
		{"non-UTF-8 entry", "x.json", bundle(entry(patientA), entry("{\"resourceType\":\"Patient\",\"id\":\"\xe9\"}"), entry(patientB)),
			"0:Patient/a 2:Patient/b", "1:not-utf8"},
		{"duplicate key in an entry", "x.json", bundle(entry(`{"resourceType":"Patient","id":"a","id":"b"}`), entry(patientB)),
			"1:Patient/b", "0:duplicate-key"},
		{"resource named twice in an entry", "x.json", bundle(`{"resource":` + patientA + `,"resource":` + patientB + `}`), "", "0:duplicate-key"},
		{"entry list twice", "x.json", `{"resourceType":"Bundle","entry":[` + entry(patientA) + `],"entry":[` + entry(patientB) + `]}`,
			"0:Patient/a", "-1:duplicate-key"},
		{"resourceType twice", "x.json", `{"resourceType":"Bundle","resourceType":"Patient","entry":[]}`, "", "-1:duplicate-key"},
		{"entry is an object", "x.json", `{"resourceType":"Bundle","entry":{"resource":` + patientA + `}}`, "", "-1:wrong-shape"},
		{"entries of odd kinds", "x.json", bundle(`1`, `null`, `"x"`, `{}`, `{"resource":[]}`, `{"resource":null}`, `{"fullUrl":1,"resource":`+patientA+`}`),
			"", "0:wrong-shape 1:wrong-shape 2:wrong-shape 3:no-resource 4:wrong-shape 5:wrong-shape 6:wrong-shape"},
		{"missing entry", "x.json", bundle(entry(patientA), "", entry(patientB)), "0:Patient/a 2:Patient/b", "1:truncated"},
		{"comma missing between entries", "x.json", `{"resourceType":"Bundle","entry":[` + entry(patientA) + entry(patientB) + `]}`, "0:Patient/a", "-1:syntax"},
		{"broken line goes alone", "x.ndjson", patientA + "\n{\"resourceType\":\n" + patientB, "0:Patient/a 2:Patient/b", "1:truncated"},
		{"broken bundle line goes alone", "x.ndjson", `{"resourceType":"Bundle","entry":{}}` + "\n" + patientB, "0:Patient/b", "-1:wrong-shape"},
		{"unknown type", "x.json", `{"resourceType":"Patiant"}`, "", "0:unknown-type"},
		{"type is a number", "x.json", `{"resourceType":7}`, "", "0:wrong-shape"},
		{"id is a number", "x.json", `{"resourceType":"Patient","id":7}`, "", "0:wrong-shape"},
		{"list where an object belongs", "x.json", `{"resourceType":"Observation","code":[]}`, "", "0:wrong-shape"},
		{"object where a list belongs", "x.json", `{"resourceType":"Patient","name":{"family":"X"}}`, "", "0:wrong-shape"},
		{"string where a number belongs", "x.json", `{"resourceType":"Observation","valueQuantity":{"value":"5"}}`, "", "0:wrong-shape"},
		{"null", "x.json", `{"resourceType":"Patient","active":null}`, "", "0:wrong-shape"},
		{"null in a list of primitives", "x.json", `{"resourceType":"Patient","name":[{"given":["A",null],"_given":[null,{"id":"x"}]}]}`, "0:Patient", ""},
		{"unknown element", "x.json", `{"resourceType":"Patient","colour":"blue"}`, "", "0:wrong-shape"},
		{"contained of unknown type", "x.json", `{"resourceType":"Patient","contained":[{"resourceType":"Foo"}]}`, "", "0:wrong-shape"},
		{"escape sequences", "x.json", bundle(entry(`{"resourceType":"\u001b[2J\u202eX","id":"\u0007"}`), entry(`{"resourceType":"Patient","\u001b[2J":1}`),
			`{"request":{"method":"\u001b[2J","url":"\n"}}`), "", "0:unknown-type 1:wrong-shape 2:no-resource"},
		{"R5 type", "x.json", `{"resourceType":"NutritionIntake"}`, "", "0:wrong-version"},
		{"bundle of R5", "x.json", bundle(entry(`{"resourceType":"Transport"}`), entry(patientA), entry(`{"resourceType":"GenomicStudy"}`)), "1:Patient/a", "0:wrong-version 2:wrong-version"},
		{"DSTU2 type", "x.json", `{"resourceType":"MedicationOrder"}`, "", "0:wrong-version"},
		{"STU3 type", "x.json", `{"resourceType":"ReferralRequest"}`, "", "0:wrong-version"},
		{"R5 statement", "x.json", `{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0"}`, "", "0:wrong-version"},
		{"R4 statement", "x.json", `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}`, "0:CapabilityStatement", ""},
		{"R5 element", "x.json", `{"resourceType":"MedicationRequest","medication":{"concept":{"text":"x"}}}`, "", "0:wrong-version"},
		{"R5 list", "x.json", `{"resourceType":"Encounter","class":[{"text":"x"}]}`, "", "0:wrong-version"},
		{"R5 profile", "x.json", `{"resourceType":"Patient","meta":{"profile":["http://hl7.org/fhir/5.0/StructureDefinition/Patient"]}}`, "", "0:wrong-version"},
		{"R5 profile by suffix", "x.json", `{"resourceType":"Patient","meta":{"profile":["http://hl7.org/fhir/StructureDefinition/Patient|5.0.0"]}}`, "", "0:wrong-version"},
		{"R4 profile by suffix", "x.json", `{"resourceType":"Patient","meta":{"profile":["http://hl7.org/fhir/StructureDefinition/Patient|4.0.1"]}}`, "0:Patient", ""},
		{"another guide's version", "x.json", `{"resourceType":"Patient","meta":{"profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient|6.1.0"]}}`, "0:Patient", ""},
	} {
		o := readText(c.name, c.text, Limits{})
		if o.err != nil || o.names() != c.names || o.codes() != c.codes {
			t.Errorf("%s: placed %q problems %q error %v; want %q, %q", c.about, o.names(), o.codes(), o.err, c.names, c.codes)
		}
		checkTally(t, c.about, o)
	}
}

func checkTally(t testing.TB, about string, o outcome) {
	t.Helper()
	faults := 0
	for _, p := range o.problems {
		if p.Entry < 0 {
			faults++
		}
		if strings.ContainsFunc(p.Error(), func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0x202e }) {
			t.Errorf("%s: control characters in %q", about, p.Error())
		}
		if p.Reason == "" || p.Code == "" || len(p.Error()) > 1000 {
			t.Errorf("%s: bad report %+v", about, p)
		}
	}
	got := o.tally
	if got.Entries != got.Placed+got.Reported || got.Placed != len(o.resources) || got.Faults != faults || got.Reported+faults != len(o.problems) {
		t.Errorf("%s: %+v does not account for %d resources and %d problems", about, got, len(o.resources), len(o.problems))
	}
}

func TestLimits(t *testing.T) {
	big := `{"resourceType":"Binary","id":"x","data":"` + strings.Repeat("A", 5000) + `"}`
	lim := Limits{FileBytesMax: 20_000, ResourceBytesMax: 4000, EntriesMax: 3, DepthMax: 10}
	for _, c := range []struct{ about, name, text, names, codes string }{
		{"large resource", "x.json", big, "", "-1:too-large"},
		{"large entry goes alone", "x.json", bundle(entry(patientA), entry(big), entry(patientB)), "0:Patient/a 2:Patient/b", "1:too-large"},
		{"large line goes alone", "x.ndjson", patientA + "\n" + big + "\n" + patientB, "0:Patient/a 2:Patient/b", "1:too-large"},
		{"large header", "x.json", `{"resourceType":"Bundle","link":"` + strings.Repeat("x", 5000) + `"}`, "", "-1:too-large"},
		{"too many entries", "x.json", bundle(entry(patientA), entry(patientA), entry(patientA), entry(patientB)), "0:Patient/a 1:Patient/a 2:Patient/a", "-1:too-large"},
		{"too many lines", "x.ndjson", strings.Repeat(patientA+"\n", 5), "0:Patient/a 1:Patient/a 2:Patient/a", "-1:too-large"},
		{"too long a file", "x.json", bundle(entry(patientA)) + strings.Repeat(" ", 30_000), "0:Patient/a", "-1:too-large"},
		{"too deep", "x.json", `{"resourceType":"Patient","extension":` + strings.Repeat(`[{"extension":`, 9) + "1" + strings.Repeat("}]", 9) + "}", "", "0:too-deep"},
	} {
		o := readText(c.name, c.text, lim)
		if o.err != nil || o.names() != c.names || o.codes() != c.codes {
			t.Errorf("%s: placed %q problems %q error %v", c.about, o.names(), o.codes(), o.err)
		}
		checkTally(t, c.about, o)
		if o.tally.Bytes > lim.FileBytesMax {
			t.Errorf("%s: %d bytes read", c.about, o.tally.Bytes)
		}
	}
}

func TestFileLimitIsExact(t *testing.T) {
	text := patientA + "\n" + patientB
	if o := readText("x.ndjson", text, Limits{FileBytesMax: int64(len(text))}); o.codes() != "" || len(o.resources) != 2 {
		t.Errorf("at the limit: %s %s", o.names(), o.codes())
	}
	if o := readText("x.ndjson", text, Limits{FileBytesMax: int64(len(text) - 1)}); o.names() != "0:Patient/a" || o.codes() != "1:truncated -1:too-large" {
		t.Errorf("one byte over: %s %s", o.names(), o.codes())
	}
}

// Bytes over the limit are never looked at, even when they came with the last read.
func TestNothingBehindTheFileLimitIsRead(t *testing.T) {
	text := bundle(entry(patientA), entry(patientB))
	o := readText("x.json", text, Limits{FileBytesMax: int64(strings.Index(text, patientA) + 5)})
	if o.names() != "" || o.codes() != "0:truncated -1:too-large" {
		t.Errorf("%s %s", o.names(), o.codes())
	}
}

// repeat gives text n times without holding it.
type repeat struct {
	text []byte
	left int64
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && r.left > 0 {
		k := copy(p[n:], r.text[r.at:])
		k = int(min(int64(k), r.left))
		r.at = (r.at + k) % len(r.text)
		r.left -= int64(k)
		n += k
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// A gigabyte in one string, in one bundle, or out of a small gzip file costs a bounded amount of memory and work.
func TestGigabyteStreams(t *testing.T) {
	lim := Limits{FileBytesMax: 16 << 20, ResourceBytesMax: 1 << 20}
	streams := map[string]io.Reader{
		"one string": io.MultiReader(strings.NewReader(`{"resourceType":"Binary","data":"`), &repeat{text: []byte("A"), left: 1 << 30}),
		"spaces":     &repeat{text: []byte(" "), left: 1 << 30},
		"brackets":   io.MultiReader(strings.NewReader(`{"resourceType":"Patient","x":`), &repeat{text: []byte("["), left: 1 << 30}),
		"entries": io.MultiReader(strings.NewReader(`{"resourceType":"Bundle","entry":[`),
			&repeat{text: []byte(`{"resource":{"resourceType":"Binary","data":"` + strings.Repeat("A", 64<<10) + `"}},`), left: 1 << 30}),
		"line": io.MultiReader(strings.NewReader(patientA+"\n"), &repeat{text: []byte("{"), left: 1 << 30}),
	}
	for about, r := range streams {
		placed := 0
		var problems []*Problem
		tally, err := Read("x", r, lim, func(Resource) error { placed++; return nil }, func(p *Problem) { problems = append(problems, p) })
		if err != nil || len(problems) == 0 || problems[len(problems)-1].Code != CodeTooLarge {
			t.Errorf("%s: %v %v", about, problems, err)
		}
		if tally.Bytes > lim.FileBytesMax || placed != tally.Placed {
			t.Errorf("%s: %+v", about, tally)
		}
	}
	bomb := gzipped(t, bytes.Repeat([]byte(" "), 20<<20))
	if o := readAll("bomb.json.gz", bytes.NewReader(bomb), lim); o.codes() != "-1:too-large" {
		t.Errorf("bomb of %d bytes: %s", len(bomb), o.codes())
	}
}

func TestBrokenGzip(t *testing.T) {
	whole := gzipped(t, []byte(bundle(entry(patientA), entry(patientB))))
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-6] ^= 1
	for about, c := range map[string]struct {
		data []byte
		code Code
	}{
		"header only":  {whole[:5], CodeCompression},
		"cut":          {whole[:len(whole)-12], CodeTruncated},
		"bad checksum": {flipped, CodeCompression},
		"garbage":      {append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0}, bytes.Repeat([]byte{0xff}, 50)...), CodeCompression},
		"tail":         {append(bytes.Clone(whole), "tail of something"...), CodeCompression},
	} {
		o := readAll("x.json.gz", bytes.NewReader(c.data), Limits{})
		if o.err != nil || len(o.problems) == 0 || o.problems[len(o.problems)-1].Code != c.code {
			t.Errorf("%s: %s, %v", about, o.codes(), o.err)
		}
		checkTally(t, about, o)
	}
}

// How the reader is fed makes no difference: byte by byte, or with the window at every offset.
func TestChunkingChangesNothing(t *testing.T) {
	text := bundle(entry(patientA), `{"resource":{"resourceType":"Patient","id":"c","name":[{"family":"\"é}]{\\"}]}}`, `{"x"`, entry(patientB)) + " "
	want := readText("x.json", text, Limits{})
	for about, r := range map[string]io.Reader{
		"one byte":  iotest.OneByteReader(strings.NewReader(text)),
		"half":      iotest.HalfReader(strings.NewReader(text)),
		"data+EOF":  iotest.DataErrReader(strings.NewReader(text)),
		"two parts": io.MultiReader(strings.NewReader(text[:77]), strings.NewReader(text[77:])),
	} {
		got := readAll("x.json", r, Limits{})
		got.tally.Bytes = want.tally.Bytes // what was read ahead of a fault may differ
		if !reflect.DeepEqual(got.problems, want.problems) || got.names() != want.names() || got.tally != want.tally {
			t.Errorf("%s: %s %s", about, got.names(), got.codes())
		}
	}
	pad := strings.Repeat(" ", windowBytes-60)
	for i := range 60 {
		o := readText("x.json", `{"resourceType":"Bundle",`+pad[i:]+`"entry":[`+entry(patientA)+`,`+entry(patientB)+`]}`, Limits{})
		if o.names() != "0:Patient/a 1:Patient/b" {
			t.Fatalf("window at offset %d: %s %s", i, o.names(), o.codes())
		}
	}
}

func TestErrorsOfReaderAndCallback(t *testing.T) {
	broken := errors.New("disk on fire")
	o := readAll("x.json", io.MultiReader(strings.NewReader(bundle(entry(patientA))[:80]), iotest.ErrReader(broken)), Limits{})
	if !errors.Is(o.err, broken) {
		t.Errorf("reader's error became %v with %s", o.err, o.codes())
	}
	full := errors.New("full")
	tally, err := Read("x.json", strings.NewReader(bundle(entry(patientA), entry(patientB))), Limits{}, func(Resource) error { return full }, func(*Problem) {})
	if !errors.Is(err, full) || tally.Entries != 1 {
		t.Errorf("callback's error became %v after %+v", err, tally)
	}
	var p *Problem
	if err := Check([]byte(`{"resourceType":"Observation","status":"final"}`)); !errors.As(err, &p) || !errors.Is(err, &Problem{Code: CodeShape}) {
		t.Errorf("observation without code: %v", err)
	}
	if err := Check([]byte(patientA)); err != nil {
		t.Error(err)
	}
}

// expected-outcomes.json says what the reference validator made of these files. We check less than it does: what we
// refuse, it must refuse too; what is no JSON must be refused.
func TestAgainstReferenceValidator(t *testing.T) {
	dir := dataDir(t)
	raw, err := os.ReadFile(filepath.Join(dir, "fhir-r4", "expected-outcomes.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct {
		JSONParses bool `json:"jsonParses"`
		ErrorCount int  `json:"errorCount"`
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for name, want := range cases {
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			t.Error(err)
			continue
		}
		o := readAll(name, f, Limits{})
		f.Close()
		checkTally(t, name, o)
		if len(o.problems) > 0 {
			refused++
		}
		switch {
		case !want.JSONParses && len(o.problems) == 0:
			t.Errorf("%s is no JSON and passes", name)
		case want.ErrorCount == 0 && len(o.problems) > 0:
			t.Errorf("%s is valid and refused: %v", name, o.problems[0])
		}
	}
	t.Logf("refused %d of %d files", refused, len(cases))
	if refused < 10 {
		t.Errorf("only %d files refused", refused)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b.json", []byte(patientB))
	write("sub/a.ndjson.gz", gzipped(t, []byte(patientA+"\n"+patientB)))
	write("sub/readme.txt", []byte("not FHIR"))
	write(".hidden/x.json", []byte(patientA))
	write("broken.json", []byte("{"))
	var seen []string
	l, err := Load([]string{dir, filepath.Join(dir, "b.json")}, Limits{}, func(f string, _ Tally) { seen = append(seen, filepath.Base(f)) })
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(seen, " "); got != "b.json broken.json a.ndjson.gz" {
		t.Errorf("files %s", got)
	}
	want := Tally{Files: 3, Bytes: l.Tally.Bytes, Entries: 3, Placed: 3, Faults: 1}
	if l.Tally != want || l.Len() != 3 || len(l.Problems) != 1 {
		t.Errorf("%+v, %d resources, %v", l.Tally, l.Len(), l.Problems)
	}
	if _, err := Load([]string{filepath.Join(dir, "absent")}, Limits{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := Load([]string{dir}, Limits{FilesMax: 1}, nil); !errors.Is(err, &Problem{Code: CodeTooLarge}) {
		t.Errorf("files over the limit: %v", err)
	}
	if _, err := Load([]string{dir}, Limits{TotalBytesMax: 40}, nil); !errors.Is(err, &Problem{Code: CodeTooLarge}) {
		t.Errorf("bytes over the limit: %v", err)
	}
	if l, err := Load([]string{filepath.Join(dir, "sub", "readme.txt")}, Limits{}, nil); err != nil || l.Tally.Faults != 1 {
		t.Errorf("a file named outright is read whatever its name: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{patientA, bundle(entry(patientA), entry(patientB)), patientA + "\n" + patientB, `{"entry":[{}],"resourceType":"Bundle"}`,
		`{"resourceType":"Observation","code":{"text":"HIV"},"valueQuantity":{"value":1.50,"unit":"%"},"subject":{"reference":"Patient/a"}}`,
		`{"resourceType":"Claim","contained":[{"resourceType":"Organization","id":"o","name":"O"}],"provider":{"reference":"#o"},"patient":{"reference":"Patient?identifier=s%7Cv"}}`,
		"\xef\xbb\xbf{", "{\"resourceType\":\"Patient\",\"id\":\"\\ud83d\\ude00\"}", `{"resourceType":"Patient","x":[[[[`, "<x/>", ""} {
		f.Add([]byte(s), byte(0))
		f.Add([]byte(s), byte(1))
	}
	f.Add(gzipped(f, []byte(patientA)), byte(2))
	lim := Limits{FileBytesMax: 1 << 20, ResourceBytesMax: 1 << 16, EntriesMax: 100, DepthMax: 32}
	names := []string{"x", "x.ndjson", "x.json"}
	f.Fuzz(func(t *testing.T, data []byte, name byte) {
		o := readAll(names[int(name)%len(names)], bytes.NewReader(data), lim)
		if o.err != nil {
			t.Fatal(o.err)
		}
		checkTally(t, "fuzz", o)
		c := &Collection{}
		for _, r := range o.resources {
			if !json.Valid(r.Raw) || !bytes.Contains(data, r.Raw) && !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
				t.Fatalf("%s is not as it came: %q", r.Name(), r.Raw)
			}
			if !Equal(r.Raw, r.Raw) || Classify(Resource{Raw: r.Raw}) != r.Class {
				t.Fatalf("%s: not stable", r.Name())
			}
			Summarise(r)
			c.Add(r)
		}
		a := c.Arrange(ArrangeOptions{})
		if a.Placed+len(a.Problems) != c.Len() {
			t.Fatalf("arranged %d, reported %d, of %d", a.Placed, len(a.Problems), c.Len())
		}
	})
}
