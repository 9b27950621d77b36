package synth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/fhir"
)

const patients = 40

func read(t *testing.T, h History) *fhir.Collection {
	t.Helper()
	c := &fhir.Collection{}
	tally, err := fhir.Read(h.File, bytes.NewReader(h.Bundle), fhir.Limits{}, func(r fhir.Resource) error {
		if err := fhir.Check(r.Raw); err != nil {
			t.Errorf("%s: %v", r.Name(), err)
		}
		c.Add(r)
		return nil
	}, func(p *fhir.Problem) { t.Error(p) })
	if err != nil {
		t.Fatal(err)
	}
	if tally.Entries != h.Resources || tally.Placed != h.Resources {
		t.Errorf("%s: %+v, want %d placed", h.File, tally, h.Resources)
	}
	return c
}

func TestHistoriesAreRichAndPlaceable(t *testing.T) {
	for i := range patients {
		h := Generate(7, i)
		c := read(t, h)
		a := c.Arrange(fhir.ArrangeOptions{Member: fhir.Source{ID: "importer", Name: "Importer"}})
		for _, p := range a.Problems {
			t.Error(p)
		}
		if len(a.Patients) != 1 || a.Patients[0].Name != h.Name || a.Placed != h.Resources {
			t.Fatalf("patient %d: %+v, %d of %d placed", i, a.Patients, a.Placed, h.Resources)
		}
		sources, classes := map[string]bool{}, map[fhir.Class]bool{}
		sensitive := false
		for _, g := range a.Groups {
			sources[g.Source.ID] = true
			classes[g.Class] = true
			sensitive = sensitive || g.Class.Sensitive()
			if g.Source.ID == "importer" {
				t.Errorf("patient %d: %s without a source", i, g.Class)
			}
		}
		if len(sources) < 6 || !sensitive {
			t.Errorf("patient %d: %d sources, sensitive %v", i, len(sources), sensitive)
		}
		for _, want := range []fhir.Class{fhir.Allergies, fhir.Medications, fhir.Labs, fhir.Vitals, fhir.Immunizations,
			fhir.Imaging, fhir.Problems, fhir.Procedures, fhir.Encounters, fhir.Documents, fhir.Insurance, fhir.Demographics} {
			if !classes[want] {
				t.Errorf("patient %d has nothing of class %s", i, want)
			}
		}
		if h.Resources < 80 || h.Resources > 250 {
			t.Errorf("patient %d has %d resources", i, h.Resources)
		}
	}
}

// Nothing that the sensitive clinic wrote may be found outside the sensitive class, its address included.
func TestSensitiveClinicStaysInItsClass(t *testing.T) {
	for i := range patients {
		h := Generate(11, i)
		a := read(t, h).Arrange(fhir.ArrangeOptions{})
		for _, g := range a.Groups {
			if g.Class.Sensitive() {
				continue
			}
			for _, o := range world {
				if o.kind >= mentalClinic && g.Source.Name == o.name {
					t.Errorf("patient %d: a record of class %s comes from %s", i, g.Class, o.name)
				}
			}
			for _, r := range g.Resources {
				for _, o := range world {
					if o.kind >= mentalClinic && bytes.Contains(r.Raw, []byte(o.name)) {
						t.Errorf("patient %d: %s of class %s names %s", i, r.Name(), g.Class, o.name)
					}
				}
			}
		}
	}
}

func TestReferencesResolve(t *testing.T) {
	for i := range patients {
		h := Generate(3, i)
		var b struct {
			Entry []struct {
				FullURL  string `json:"fullUrl"`
				Resource json.RawMessage
			}
		}
		if err := json.Unmarshal(h.Bundle, &b); err != nil {
			t.Fatal(err)
		}
		urls := map[string]bool{}
		for _, e := range b.Entry {
			if urls[e.FullURL] {
				t.Errorf("%s twice", e.FullURL)
			}
			urls[e.FullURL] = true
		}
		for _, e := range b.Entry {
			var v any
			if err := json.Unmarshal(e.Resource, &v); err != nil {
				t.Fatal(err)
			}
			eachReference(v, func(to string) {
				if !urls[to] {
					t.Errorf("patient %d: %s does not resolve", i, to)
				}
			})
		}
	}
}

func eachReference(v any, visit func(string)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			eachReference(e, visit)
		}
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok && k == "reference" {
				visit(s)
			}
			eachReference(e, visit)
		}
	}
}

// The digest pins the output for a seed: whoever changes the generator changes it knowingly.
func TestSameSeedSameBytes(t *testing.T) {
	const want = "0e87324310af1971cdb5e10809a9ecd838e15825b81d1523b30dd42cb47c3b34"
	h := sha256.New()
	for i := range 20 {
		a, b := Generate(42, i), Generate(42, i)
		if !bytes.Equal(a.Bundle, b.Bundle) {
			t.Fatalf("patient %d differs between runs", i)
		}
		h.Write(a.Bundle)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("histories of seed 42 have digest %s, want %s", got, want)
	}
	if bytes.Equal(Generate(1, 0).Bundle, Generate(2, 0).Bundle) || bytes.Equal(Generate(1, 0).Bundle, Generate(1, 1).Bundle) {
		t.Error("different seeds or patients give the same history")
	}
}

func TestNothingLiesInTheFuture(t *testing.T) {
	for i := range patients {
		for _, r := range read(t, Generate(5, i)).Resources() {
			if item := fhir.Summarise(r); item.Time.After(Epoch.AddDate(1, 0, 0)) || item.Title == "" {
				t.Errorf("%s: %+v", r.Name(), item)
			}
		}
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	var seen []int
	files, err := Write(dir, 4, 9, func(n int) { seen = append(seen, n) })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, []int{1, 2, 3, 4}) || len(files) != 4 {
		t.Errorf("progress %v, files %v", seen, files)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 4 {
		t.Fatalf("%d files: %v", len(names), err)
	}
	raw, err := os.ReadFile(files[2])
	if err != nil || !bytes.Equal(raw, Generate(9, 2).Bundle) {
		t.Errorf("file 2 is not patient 2: %v", err)
	}
	if !strings.HasSuffix(files[2], Generate(9, 2).ID+".json") {
		t.Errorf("file name %s", files[2])
	}
	if _, err := Write(dir, -1, 0, nil); !errors.Is(err, ErrPatients) {
		t.Errorf("-1 patients: %v", err)
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(blocked, 1, 0, nil); err == nil {
		t.Error("wrote into a file")
	}
}

func TestNumbers(t *testing.T) {
	for want, n := range map[string]number{"6.1": {61, 1}, "0.05": {5, 2}, "-1.20": {-120, 2}, "140": {140, 0}} {
		if n.String() != want {
			t.Errorf("%+v writes %s, want %s", n, n, want)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	n := 0
	for i := 0; b.Loop(); i++ {
		n += Generate(1, i).Resources
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "resources/s")
}
