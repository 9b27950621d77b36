package fhir

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestClasses runs the reviewed listing: `types` prints every R4 type with its class, `classify` takes one resource a
// line, and `corpus DIR` counts what the shared data gives (skipped where it is absent).
func TestClasses(t *testing.T) {
	for _, file := range []string{"types", "classes", "corpus"} {
		t.Run(file, func(t *testing.T) {
			datadriven.RunTest(t, filepath.Join("testdata", file), func(t *testing.T, d *datadriven.TestData) string {
				switch d.Cmd {
				case "types":
					return listTypes()
				case "classify":
					return classifyLines(d.Input)
				case "corpus":
					return countCorpus(t, d.CmdArgs[0].Key)
				}
				return "unknown command " + d.Cmd
			})
		})
	}
}

func listTypes() string {
	var b strings.Builder
	for _, typ := range Types() {
		class := Classify(Resource{Type: typ, Raw: []byte(`{"resourceType":"` + typ + `","id":"x"}`)})
		note := ""
		if types[typ].patientless {
			note = "  (about no patient by itself)"
		}
		fmt.Fprintf(&b, "%-36s %s%s\n", typ, class, note)
	}
	return b.String()
}

func classifyLines(input string) string {
	var b strings.Builder
	for line := range strings.Lines(input) {
		name, raw, _ := strings.Cut(strings.TrimSpace(line), ": ")
		fmt.Fprintf(&b, "%s: %s\n", name, Classify(Resource{Raw: []byte(raw)}))
	}
	return b.String()
}

func countCorpus(t *testing.T, dir string) string {
	counts := map[string]int{}
	for _, r := range load(t, filepath.Join(dataDir(t), filepath.FromSlash(dir))).Resources() {
		counts[fmt.Sprintf("%-28s %s", r.Type, r.Class)]++
	}
	var lines []string
	for k, n := range counts {
		lines = append(lines, fmt.Sprintf("%-48s %d", k, n))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func TestEveryR4TypeHasAClassAndADefinition(t *testing.T) {
	const concreteTypesOfR4 = 146
	if n := len(Types()); n != concreteTypesOfR4 {
		t.Errorf("%d types, FHIR R4 has %d", n, concreteTypesOfR4)
	}
	for _, typ := range Types() {
		if !slices.Contains(classes, types[typ].class) {
			t.Errorf("%s has class %q", typ, types[typ].class)
		}
		if shapes()[typ] == nil || len(shapes()[typ].elements) < 3 {
			t.Errorf("%s has no definition", typ)
		}
	}
	for typ, info := range types {
		if shapes()[typ] == nil {
			t.Errorf("%s (%s) is not in the definitions", typ, info.class)
		}
	}
	for name, s := range shapes() {
		if len(s.elements) == 0 {
			t.Errorf("definition %s is referred to and empty", name)
		}
	}
	for typ := range foreignTypes {
		if _, ok := types[typ]; ok {
			t.Errorf("%s is both of R4 and foreign", typ)
		}
	}
	for typ, elements := range foreignElements {
		for name := range elements {
			if shapes()[typ].elements[name] != nil {
				t.Errorf("%s.%s is an element of R4", typ, name)
			}
		}
	}
}

func TestTypesOfSharedDataAreKnown(t *testing.T) {
	dir := dataDir(t)
	for _, folder := range []string{"fhir-r4/examples", "fhir-r4/us-core", "fhir-r4/ips", "fhir-r4/ihe-pcf", "fhir-r4/ihe-balp", "fhir-r4/tricky-valid", "synthea"} {
		l := load(t, filepath.Join(dir, filepath.FromSlash(folder)))
		for _, p := range l.Problems {
			if p.Code != CodeNoResource { // requests without a body: GET entries of one official batch
				t.Error(p)
			}
		}
		if l.Tally.Entries == 0 {
			t.Errorf("%s is empty", folder)
		}
	}
}

func TestClassProperties(t *testing.T) {
	for _, c := range Classes() {
		if got, ok := ParseClass(string(c)); !ok || got != c {
			t.Errorf("%s does not parse", c)
		}
		if c.Sensitive() != (graver(Labs, c) == c && c != Labs) {
			t.Errorf("%s: graver and Sensitive disagree", c)
		}
	}
	if _, ok := ParseClass("nonsense"); ok {
		t.Error("nonsense parses")
	}
	for i, a := range sensitive {
		for j, b := range sensitive {
			if want := sensitive[min(i, j)]; graver(a, b) != want {
				t.Errorf("graver(%s, %s) = %s", a, b, graver(a, b))
			}
		}
	}
	for _, table := range []map[string]Class{categoryCodes, loincClasses, sectionCodes, sensitivityLabels, icd10Ranges} {
		for code, c := range table {
			if !slices.Contains(classes, c) {
				t.Errorf("%s → %q, which is no class", code, c)
			}
		}
	}
}

// Every row of the sensitive tables must make a resource of any type sensitive.
func TestSensitiveTablesWork(t *testing.T) {
	for _, group := range sensitiveCodeTable {
		for _, code := range strings.Fields(group.codes) {
			raw := fmt.Sprintf(`{"resourceType":"Claim","item":[{"productOrService":{"coding":[{"system":%q,"code":%q}]}}]}`, group.system, code)
			if c := Classify(Resource{Raw: []byte(raw)}); c != group.class {
				t.Errorf("%s|%s on a Claim: %s, want %s", group.system, code, c, group.class)
			}
			other := strings.Replace(raw, group.system, "http://example.org/local", 1)
			if c := Classify(Resource{Raw: []byte(other)}); c != Insurance {
				t.Errorf("%s of another system: %s", code, c)
			}
		}
	}
	for class, words := range sensitiveWords {
		for _, w := range strings.Split(words, "|") {
			raw := fmt.Sprintf(`{"resourceType":"MedicationRequest","medicationCodeableConcept":{"text":%q}}`, "X "+strings.ToUpper(w)+", 5 MG")
			if c := Classify(Resource{Raw: []byte(raw)}); c != class {
				t.Errorf("%q: %s, want %s", w, c, class)
			}
		}
	}
	for code, class := range sensitivityLabels {
		raw := fmt.Sprintf(`{"resourceType":"Patient","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":%q}]}}`, code)
		if c := Classify(Resource{Raw: []byte(raw)}); c != class {
			t.Errorf("label %s: %s, want %s", code, c, class)
		}
	}
}
