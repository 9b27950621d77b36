package fhir

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var member = Source{"did:web:member.example", "Member"}

// collect reads files given as name, content, name, content, …
func collect(t testing.TB, files ...string) *Collection {
	t.Helper()
	c := &Collection{}
	for i := 0; i < len(files); i += 2 {
		o := readText(files[i], files[i+1], Limits{})
		for _, p := range o.problems {
			t.Error(p)
		}
		for _, r := range o.resources {
			c.Add(r)
		}
	}
	return c
}

// show prints an arrangement: one line a group, then the problems.
func show(a *Arrangement) string {
	var b strings.Builder
	for _, g := range a.Groups {
		var names []string
		for _, r := range g.Resources {
			if r.Class != g.Class {
				names = append(names, "CLASS DIFFERS")
			}
			names = append(names, r.Name())
		}
		fmt.Fprintf(&b, "%s %s [%s]: %s\n", a.Patients[g.Patient].Key, g.Class, g.Source.Name, strings.Join(names, " "))
	}
	for _, p := range a.Problems {
		fmt.Fprintf(&b, "%s#%d %s\n", p.File, p.Entry, p.Code)
	}
	return b.String()
}

func expectArranged(t *testing.T, a *Arrangement, want string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(want) {
		if s := strings.TrimSpace(line); s != "" {
			lines = append(lines, s+"\n")
		}
	}
	if got := show(a); got != strings.Join(lines, "") {
		t.Errorf("got\n%swant\n%s", got, strings.Join(lines, ""))
	}
}

const (
	uuid1 = "11111111-1111-4111-8111-111111111111"
	uuid2 = "22222222-2222-4222-8222-222222222222"
)

func TestSources(t *testing.T) {
	c := collect(t, "x.json", bundle(
		`{"fullUrl":"urn:uuid:`+uuid1+`","resource":{"resourceType":"Patient","id":"p"}}`,
		`{"fullUrl":"http://s/Organization/h","resource":{"resourceType":"Organization","id":"h","name":"Hospital","identifier":[{"system":"npi","value":"1"}]}}`,
		entry(`{"resourceType":"Organization","id":"l","name":"Lab","identifier":[{"system":"npi","value":"2"}]}`),
		entry(`{"resourceType":"Practitioner","id":"dr"}`),
		entry(`{"resourceType":"Practitioner","id":"locum"}`),
		entry(`{"resourceType":"PractitionerRole","id":"role","practitioner":{"reference":"Practitioner/dr"},"organization":{"reference":"Organization/l"}}`),
		entry(`{"resourceType":"Location","id":"ward","managingOrganization":{"reference":"http://s/Organization/h"}}`),
		entry(`{"resourceType":"Encounter","id":"e","subject":{"reference":"Patient/p"},"serviceProvider":{"reference":"Organization/h/_history/3"}}`),
		entry(`{"resourceType":"Observation","id":"by-org","code":{"coding":[{"system":"http://loinc.org","code":"1-1"}]},"subject":{"reference":"urn:uuid:`+uuid1+`"},"performer":[{"reference":"Organization?identifier=npi|2"}]}`),
		entry(`{"resourceType":"Observation","id":"by-role","code":{"coding":[{"system":"http://loinc.org","code":"1-1"}]},"subject":{"reference":"Patient/p"},"performer":[{"reference":"Practitioner/dr"}]}`),
		entry(`{"resourceType":"Observation","id":"by-encounter","code":{"coding":[{"system":"http://loinc.org","code":"1-1"}]},"subject":{"reference":"Patient/p"},"encounter":{"reference":"Encounter/e"},"performer":[{"reference":"Practitioner/locum"}]}`),
		entry(`{"resourceType":"Immunization","id":"by-location","patient":{"reference":"Patient/p"},"location":{"reference":"Location/ward"}}`),
		entry(`{"resourceType":"Immunization","id":"by-identifier","patient":{"reference":"Patient/p"},"performer":[{"actor":{"identifier":{"system":"npi","value":"2"}}}]}`),
		entry(`{"resourceType":"Immunization","id":"by-escaped","patient":{"reference":"Patient/p"},"performer":[{"actor":{"reference":"Organization?identifier=npi%7C2"}}]}`),
		entry(`{"resourceType":"Condition","id":"main","subject":{"reference":"Patient/p"}}`),
		entry(`{"resourceType":"Claim","id":"claim","patient":{"reference":"Patient/p"},"insurer":{"reference":"Organization/l"},"provider":{"reference":"Organization/h"}}`),
		entry(`{"resourceType":"ExplanationOfBenefit","id":"eob","patient":{"reference":"Patient/p"},"insurer":{"reference":"Organization/l"},"provider":{"reference":"Organization/h"}}`),
		entry(`{"resourceType":"DocumentReference","id":"contained","subject":{"reference":"Patient/p"},"custodian":{"reference":"#o"},"contained":[{"resourceType":"Organization","id":"o","name":"Inside"}]}`),
		entry(`{"resourceType":"Device","id":"absent","patient":{"reference":"Patient/p"},"owner":{"reference":"Organization/elsewhere","display":"Elsewhere"}}`),
	))
	expectArranged(t, c.Arrange(ArrangeOptions{Member: member}), `
		Patient/p immunizations [Hospital]: Immunization/by-location
		Patient/p immunizations [Lab]: Immunization/by-identifier Immunization/by-escaped
		Patient/p problems [Lab]: Condition/main
		Patient/p labs [Hospital]: Observation/by-encounter
		Patient/p labs [Lab]: Observation/by-org Observation/by-role
		Patient/p encounters [Hospital]: Encounter/e
		Patient/p documents [Inside]: DocumentReference/contained
		Patient/p devices [Elsewhere]: Device/absent
		Patient/p insurance [Hospital]: Claim/claim
		Patient/p insurance [Lab]: ExplanationOfBenefit/eob
		Patient/p demographics [Lab]: Patient/p
		Patient/p directory [Lab]: Organization/h Organization/l Practitioner/dr Practitioner/locum PractitionerRole/role Location/ward
	`)
	alone := collect(t, "x.json", bundle(entry(patientA), entry(`{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/a"}}`)))
	expectArranged(t, alone.Arrange(ArrangeOptions{Member: member}), `
		Patient/a problems [Member]: Condition/c
		Patient/a demographics [Member]: Patient/a
	`)
}

func TestPatients(t *testing.T) {
	obs := func(id, subject string) string {
		return entry(`{"resourceType":"Condition","id":"` + id + `","subject":` + subject + `}`)
	}
	t.Run("every form of reference", func(t *testing.T) {
		c := collect(t, "x.json", bundle(
			`{"fullUrl":"http://s/fhir/Patient/a","resource":{"resourceType":"Patient","id":"a","identifier":[{"system":"mrn","value":"7"}]}}`,
			obs("1", `{"reference":"Patient/a"}`),
			obs("2", `{"reference":"http://s/fhir/Patient/a"}`),
			obs("3", `{"reference":"Patient/a/_history/2"}`),
			obs("4", `{"reference":"Patient?identifier=mrn|7"}`),
			obs("5", `{"identifier":{"system":"mrn","value":"7"}}`),
			entry(`{"resourceType":"Provenance","target":[{"reference":"Condition/1"}],"recorded":"2020-01-01T00:00:00Z","agent":[{"who":{"display":"x"}}]}`),
			entry(`{"resourceType":"Medication","id":"m"}`),
			entry(`{"resourceType":"Consent","id":"c","patient":{"reference":"Patient/a"},"organization":[{"display":"O"}]}`),
		))
		a := c.Arrange(ArrangeOptions{})
		if len(a.Patients) != 1 || len(a.Problems) != 0 || a.Placed != 9 {
			t.Errorf("%+v\n%s", a.Patients, show(a))
		}
	})
	t.Run("two servers in one bundle", func(t *testing.T) {
		on := func(server, resource string) string {
			name := strings.Split(resource, `"`)
			return `{"fullUrl":"http://` + server + `/` + name[3] + `/` + name[7] + `","resource":` + resource + `}`
		}
		c := collect(t, "x.json", bundle(
			on("north", `{"resourceType":"Patient","id":"1","active":true}`), on("south", `{"resourceType":"Patient","id":"1","active":false}`),
			on("north", `{"resourceType":"Condition","id":"n","subject":{"reference":"Patient/1"}}`),
			on("south", `{"resourceType":"Condition","id":"s","subject":{"reference":"Patient/1"}}`),
			on("east", `{"resourceType":"Condition","id":"e","subject":{"reference":"Patient/1"}}`),
			on("south", `{"resourceType":"Condition","id":"w","subject":{"reference":"http://west/Patient/1"}}`)))
		expectArranged(t, c.Arrange(ArrangeOptions{Member: member}), `
			Patient/1 problems [Member]: Condition/n
			Patient/1 demographics [Member]: Patient/1
			Patient/1 problems [Member]: Condition/s
			Patient/1 demographics [Member]: Patient/1
			x.json#4 ambiguous
			x.json#5 ambiguous
		`)
	})
	t.Run("full URLs to resources without one", func(t *testing.T) {
		c := collect(t, "Patient.ndjson", patientA, "Condition.ndjson", `{"resourceType":"Condition","id":"c","subject":{"reference":"http://s/fhir/Patient/a"}}`)
		if a := c.Arrange(ArrangeOptions{}); len(a.Patients) != 1 || a.Placed != 2 {
			t.Errorf("%s", show(a))
		}
	})
	t.Run("shared directory", func(t *testing.T) {
		c := collect(t, "hospitals.json", bundle(
			entry(`{"resourceType":"Organization","id":"h1","name":"One","identifier":[{"system":"s","value":"1"}]}`),
			entry(`{"resourceType":"Organization","id":"h2","name":"Two","identifier":[{"system":"s","value":"2"}]}`)),
			"a.json", bundle(entry(patientA), entry(`{"resourceType":"Encounter","id":"ea","subject":{"reference":"Patient/a"},"serviceProvider":{"reference":"Organization?identifier=s|1"}}`)),
			"b.json", bundle(entry(patientB), entry(`{"resourceType":"Encounter","id":"eb","subject":{"reference":"Patient/b"},"serviceProvider":{"reference":"Organization?identifier=s|1"}}`)))
		a := c.Arrange(ArrangeOptions{})
		expectArranged(t, a, `
			Patient/a encounters [One]: Encounter/ea
			Patient/a demographics [One]: Patient/a
			Patient/a directory [One]: Organization/h1
			Patient/b encounters [One]: Encounter/eb
			Patient/b demographics [One]: Patient/b
			Patient/b directory [One]: Organization/h1
			hospitals.json#1 no-patient
		`)
		if a.Placed != 5 {
			t.Errorf("placed %d: a shared resource counts once", a.Placed)
		}
	})
	t.Run("same id is not same person", func(t *testing.T) {
		c := collect(t,
			"north/p.json", `{"resourceType":"Patient","id":"1","birthDate":"1950-01-01"}`,
			"north/c.json", `{"resourceType":"Condition","id":"n","subject":{"reference":"Patient/1"}}`,
			"south/p.json", `{"resourceType":"Patient","id":"1","birthDate":"1990-01-01"}`,
			"south/c.json", `{"resourceType":"Condition","id":"s","subject":{"reference":"Patient/1"}}`)
		a := c.Arrange(ArrangeOptions{Member: member})
		expectArranged(t, a, `
			Patient/1 problems [Member]: Condition/n
			Patient/1 demographics [Member]: Patient/1
			Patient/1 problems [Member]: Condition/s
			Patient/1 demographics [Member]: Patient/1
		`)
		if len(a.Patients) != 2 {
			t.Errorf("%+v", a.Patients)
		}
	})
	t.Run("same id twice in one folder", func(t *testing.T) {
		c := collect(t,
			"p1.json", `{"resourceType":"Patient","id":"1","birthDate":"1950-01-01"}`,
			"p2.json", `{"resourceType":"Patient","id":"1","birthDate":"1990-01-01"}`,
			"c.json", `{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/1"}}`)
		expectArranged(t, c.Arrange(ArrangeOptions{Member: member}), `
			Patient/1 demographics [Member]: Patient/1
			Patient/1 demographics [Member]: Patient/1
			c.json#0 ambiguous
		`)
	})
	t.Run("a UUID is the same everywhere", func(t *testing.T) {
		c := collect(t,
			"x/p.json", `{"resourceType":"Patient","id":"`+uuid1+`","birthDate":"1950"}`,
			"y/p.json", `{"resourceType":"Patient","id":"`+uuid1+`","active":true}`,
			"z/c.json", `{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/`+uuid1+`"}}`)
		if a := c.Arrange(ArrangeOptions{}); len(a.Patients) != 1 || a.Placed != 3 {
			t.Errorf("%s", show(a))
		}
	})
	t.Run("bulk export by type", func(t *testing.T) {
		c := collect(t, "out/Patient.ndjson", patientA+"\n"+patientB, "out/Condition.ndjson",
			`{"resourceType":"Condition","id":"1","subject":{"reference":"Patient/b"}}`+"\n"+`{"resourceType":"Condition","id":"2","subject":{"reference":"Patient/a"}}`)
		expectArranged(t, c.Arrange(ArrangeOptions{Member: member}), `
			Patient/a problems [Member]: Condition/2
			Patient/a demographics [Member]: Patient/a
			Patient/b problems [Member]: Condition/1
			Patient/b demographics [Member]: Patient/b
		`)
	})
	t.Run("patient that is not there", func(t *testing.T) {
		c := collect(t, "x.json", bundle(obs("1", `{"reference":"Patient/gone","display":"G. One"}`), obs("2", `{"reference":"Group/g"}`)))
		a := c.Arrange(ArrangeOptions{Member: member})
		expectArranged(t, a, `
			Patient/gone problems [Member]: Condition/1 Condition/2
		`)
		if a.Patients[0] != (Patient{"Patient/gone", "G. One", -1}) {
			t.Errorf("%+v", a.Patients)
		}
	})
	t.Run("several patients", func(t *testing.T) {
		c := collect(t, "x.json", bundle(entry(patientA), entry(patientB),
			entry(`{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/a"}},{"entity":{"reference":"Patient/b"}}]}`),
			entry(`{"resourceType":"Observation","id":"baby","code":{"text":"x"},"subject":{"reference":"Patient/b"},"focus":[{"reference":"Patient/a"}]}`),
			entry(`{"resourceType":"Organization","id":"o","name":"O"}`)))
		expectArranged(t, c.Arrange(ArrangeOptions{Member: member}), `
			Patient/a demographics [Member]: Patient/a
			Patient/b demographics [Member]: Patient/b
			Patient/b other [Member]: Observation/baby
			x.json#2 ambiguous
			x.json#4 no-patient
		`)
	})
	t.Run("into one journal", func(t *testing.T) {
		for about, files := range map[string][]string{
			"one patient":  {"x.json", patientA, "y/o.json", `{"resourceType":"Organization","id":"o"}`, "z/c.json", `{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/other"}}`},
			"none named":   {"y/o.json", `{"resourceType":"Organization","id":"o"}`, "b.json", `{"resourceType":"Binary","id":"b","contentType":"text/plain"}`},
			"one referred": {"y/o.json", `{"resourceType":"Organization","id":"o"}`, "z/c.json", `{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/other"}}`},
		} {
			c := collect(t, files...)
			if a := c.Arrange(ArrangeOptions{OnePatient: true}); len(a.Patients) != 1 || a.Placed != c.Len() {
				t.Errorf("%s: %+v\n%s", about, a.Patients, show(a))
			}
		}
		two := collect(t, "x.json", bundle(entry(patientA), entry(patientB)))
		if a := two.Arrange(ArrangeOptions{OnePatient: true}); len(a.Patients) != 2 {
			t.Errorf("two patients became one journal: %s", show(a))
		}
	})
}

func TestSensitivityPassesOn(t *testing.T) {
	c := collect(t, "x.json", bundle(entry(`{"resourceType":"Patient","id":"a","generalPractitioner":[{"reference":"Practitioner/gp"}]}`),
		entry(`{"resourceType":"Organization","id":"clinic","name":"Clinic"}`),
		entry(`{"resourceType":"Organization","id":"gps","name":"Practice"}`),
		entry(`{"resourceType":"Immunization","id":"flu","patient":{"reference":"Patient/a"},"performer":[{"actor":{"reference":"Organization/gps"}}]}`),
		entry(`{"resourceType":"Location","id":"house","managingOrganization":{"reference":"Organization/clinic"}}`),
		entry(`{"resourceType":"Practitioner","id":"shrink"}`),
		entry(`{"resourceType":"Practitioner","id":"gp"}`),
		entry(`{"resourceType":"Condition","id":"sad","subject":{"reference":"Patient/a"},"code":{"coding":[{"system":"http://snomed.info/sct","code":"370143000"}]}}`),
		entry(`{"resourceType":"Encounter","id":"visit","subject":{"reference":"Patient/a"},"serviceProvider":{"reference":"Organization/clinic"},"participant":[{"individual":{"reference":"Practitioner/shrink"}},{"individual":{"reference":"Practitioner/gp"}}],"diagnosis":[{"condition":{"reference":"Condition/sad"}}]}`),
		entry(`{"resourceType":"Claim","id":"bill","patient":{"reference":"Patient/a"},"item":[{"sequence":1,"productOrService":{"text":"visit"},"encounter":[{"reference":"Encounter/visit"}]}]}`),
		entry(`{"resourceType":"ExplanationOfBenefit","id":"eob","patient":{"reference":"Patient/a"},"claim":{"reference":"Claim/bill"}}`),
		entry(`{"resourceType":"MedicationRequest","id":"pill","subject":{"reference":"Patient/a"},"reasonReference":[{"reference":"Condition/sad"}]}`),
		entry(`{"resourceType":"MedicationDispense","id":"box","subject":{"reference":"Patient/a"},"authorizingPrescription":[{"reference":"MedicationRequest/pill"}]}`),
		entry(`{"resourceType":"DocumentReference","id":"note","subject":{"reference":"Patient/a"},"context":{"encounter":[{"reference":"Encounter/visit"}]}}`),
		entry(`{"resourceType":"Observation","id":"weight","subject":{"reference":"Patient/a"},"encounter":{"reference":"Encounter/visit"},"category":[{"coding":[{"code":"vital-signs"}]}],"code":{"text":"Weight"}}`),
		entry(`{"resourceType":"Provenance","id":"all","recorded":"2020-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/shrink"}}],"target":[{"reference":"Observation/weight"},{"reference":"Condition/sad"}]}`),
		entry(`{"resourceType":"Provenance","id":"sad","recorded":"2020-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/shrink"}}],"target":[{"reference":"Condition/sad"}]}`),
	))
	expectArranged(t, c.Arrange(ArrangeOptions{Member: member}), `
		Patient/a immunizations [Practice]: Immunization/flu
		Patient/a demographics [Practice]: Patient/a
		Patient/a directory [Practice]: Organization/gps Practitioner/gp
		Patient/a administrative [Practice]: Provenance/all
		Patient/a mental-health [Clinic]: Organization/clinic Location/house Encounter/visit Claim/bill DocumentReference/note Observation/weight
		Patient/a mental-health [Practice]: Practitioner/shrink Condition/sad ExplanationOfBenefit/eob MedicationRequest/pill MedicationDispense/box Provenance/sad
	`)
}

func TestUniqueIDs(t *testing.T) {
	for id, want := range map[string]bool{uuid1: true, strings.ToUpper("abcdef12-ab12-4abc-8abc-abcdef123456"): true, strings.Repeat("0a", 16): true,
		"1": false, "patient-number-00000000000000000001": false, "abcdef12-ab12-4abc-8abc-abcdef12345": false, "gbcdef12-ab12-4abc-8abc-abcdef123456": false,
		"abcdef12ab12-4abc-8abc-abcdef1234567": false, strings.Repeat("0a", 15): false, strings.Repeat("zz", 20): false} {
		if isUnique(id) != want {
			t.Errorf("%s: %v", id, !want)
		}
	}
}

func TestSplit(t *testing.T) {
	var entries []string
	for i := range 10 {
		entries = append(entries, entry(fmt.Sprintf(`{"resourceType":"Condition","id":"c%d","subject":{"reference":"Patient/a"},"note":[{"text":%q}]}`, i, strings.Repeat("x", 100+900*(i/9)))))
	}
	c := collect(t, "x.json", bundle(append(entries, entry(patientA))...))
	sizes := func(opt ArrangeOptions) (out []int) {
		for _, g := range c.Arrange(opt).Groups {
			bytes := 0
			for _, r := range g.Resources {
				bytes += len(r.Raw)
			}
			if bytes != g.Bytes {
				t.Errorf("group of %d bytes says %d", bytes, g.Bytes)
			}
			if g.Class == Problems {
				out = append(out, len(g.Resources))
			}
		}
		return out
	}
	if got := sizes(ArrangeOptions{}); !slices.Equal(got, []int{10}) {
		t.Errorf("default limits: %v", got)
	}
	if got := sizes(ArrangeOptions{RecordResourcesMax: 4}); !slices.Equal(got, []int{4, 4, 2}) {
		t.Errorf("4 resources a record: %v", got)
	}
	if got := sizes(ArrangeOptions{RecordBytesMax: 1}); !slices.Equal(got, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}) {
		t.Errorf("every resource over the limit: %v", got)
	}
	if got := sizes(ArrangeOptions{RecordBytesMax: 600}); !slices.Equal(got, []int{3, 3, 3, 1}) {
		t.Errorf("600 bytes a record: %v", got)
	}
}

// Whatever the files, every resource is in a group or in the problems, and the result repeats.
func TestArrangeAccountsForEverything(t *testing.T) {
	kinds := []string{"Patient", "Condition", "Observation", "Organization", "Encounter", "Provenance", "Practitioner", "Medication"}
	rapid.Check(t, func(t *rapid.T) {
		c := &Collection{}
		for f := range rapid.IntRange(1, 3).Draw(t, "files") {
			for i := range rapid.IntRange(0, 6).Draw(t, "entries") {
				typ := rapid.SampledFrom(kinds).Draw(t, "type")
				id := rapid.SampledFrom([]string{"1", "2", "3", uuid1, uuid2}).Draw(t, "id")
				field := rapid.SampledFrom([]string{"subject", "target", "encounter", "performer", "reasonReference", "patient"}).Draw(t, "field")
				to := rapid.SampledFrom(kinds).Draw(t, "to") + "/" + rapid.SampledFrom([]string{"1", "2", "3", uuid1}).Draw(t, "target")
				raw := fmt.Sprintf(`{"resourceType":%q,"id":%q,%q:{"reference":%q}}`, typ, id, field, to)
				c.Add(Resource{Raw: []byte(raw), Type: typ, ID: id, File: fmt.Sprintf("d%d/f%d.json", f%2, f), Entry: i})
			}
		}
		a := c.Arrange(ArrangeOptions{Member: member})
		seen := map[string]bool{}
		for _, g := range a.Groups {
			if len(g.Resources) == 0 || g.Source.ID == "" && g.Source.Name == "" {
				t.Fatalf("odd group %+v", g)
			}
			for _, r := range g.Resources {
				seen[fmt.Sprint(r.File, r.Entry)] = true
			}
		}
		if len(seen) != a.Placed || a.Placed+len(a.Problems) != c.Len() {
			t.Fatalf("%d in groups, %d placed, %d reported, of %d", len(seen), a.Placed, len(a.Problems), c.Len())
		}
		if b := c.Arrange(ArrangeOptions{Member: member}); show(a) != show(b) || !reflect.DeepEqual(a.Patients, b.Patients) {
			t.Fatalf("not repeatable:\n%s\n%s", show(a), show(b))
		}
	})
}

func TestSyntheaDirectoryFilesArrange(t *testing.T) {
	l := load(t, filepath.Join(dataDir(t), "synthea"))
	a := l.Arrange(ArrangeOptions{Member: member})
	if len(a.Patients) != 12 || a.Placed+len(a.Problems) != l.Tally.Placed {
		t.Fatalf("%d patients, %d placed, %d reported of %d", len(a.Patients), a.Placed, len(a.Problems), l.Tally.Placed)
	}
	for _, p := range a.Problems {
		if p.Code != CodeNoPatient || !strings.Contains(p.File, "Information") {
			t.Error(p)
		}
	}
	named := map[string]bool{}
	for _, g := range a.Groups {
		named[g.Source.Name] = true
	}
	if len(named) < 12 || named["Member"] {
		t.Errorf("sources %v", named)
	}
}
