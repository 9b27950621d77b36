package fhir

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// dataDir finds the shared test data: $ANAMNESIS_DATA, or shared/data beside a folder above this one.
func dataDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("ANAMNESIS_DATA"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		candidate := filepath.Join(dir, "shared", "data")
		if _, err := os.Stat(candidate); err == nil {
			return candidate
		}
	}
	t.Skip("SKIPPED: no shared/data beside this checkout and ANAMNESIS_DATA is not set")
	return ""
}

func load(t testing.TB, paths ...string) *Loaded {
	t.Helper()
	l, err := Load(paths, Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSyntheaPatientsAreAllPlaced(t *testing.T) {
	for folder, want := range map[string]struct{ patients, resources int }{
		"synthea-patients": {9, 4224},
		"synthea-load":     {60, 18555},
	} {
		l := load(t, filepath.Join(dataDir(t), folder))
		for _, p := range l.Problems {
			t.Error(p)
		}
		if l.Tally.Entries != want.resources || l.Tally.Placed != want.resources {
			t.Errorf("%s: %+v, want %d entries, all placed", folder, l.Tally, want.resources)
		}
		a := l.Arrange(ArrangeOptions{Member: Source{"m", "Member"}})
		if a.Placed != want.resources || len(a.Patients) != want.patients {
			t.Errorf("%s: arranged %d resources of %d patients, want %+v", folder, a.Placed, len(a.Patients), want)
		}
		seen := 0
		for _, g := range a.Groups {
			seen += len(g.Resources)
			t.Logf("%s %s %s: %d, %d bytes", a.Patients[g.Patient].Name, g.Class, g.Source.Name, len(g.Resources), g.Bytes)
		}
		if seen != want.resources {
			t.Errorf("%s: groups hold %d", folder, seen)
		}
		t.Logf("%s: %d groups", folder, len(a.Groups))
	}
}

func BenchmarkRead(b *testing.B) {
	l := load(b, filepath.Join(dataDir(b), "synthea-patients"))
	var buf bytes.Buffer
	buf.WriteString(`{"resourceType":"Bundle","type":"collection","entry":[`)
	for i, r := range l.Resources() {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.WriteString(`{"resource":`)
		buf.Write(r.Raw)
		buf.WriteByte('}')
	}
	buf.WriteString("]}")
	b.SetBytes(int64(buf.Len()))
	b.ReportAllocs()
	for b.Loop() {
		_, err := Read("x.json", bytes.NewReader(buf.Bytes()), Limits{}, func(Resource) error { return nil }, func(*Problem) {})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkArrange(b *testing.B) {
	l := load(b, filepath.Join(dataDir(b), "synthea-patients"))
	b.SetBytes(l.Bytes())
	b.ReportAllocs()
	for b.Loop() {
		l.Arrange(ArrangeOptions{})
	}
}

// BenchmarkLoad is the import's share of this package: files, gzip, reading, grouping.
func BenchmarkLoad(b *testing.B) {
	dir := filepath.Join(dataDir(b), "synthea-load")
	resources := 0
	for b.Loop() {
		l := load(b, dir)
		a := l.Arrange(ArrangeOptions{})
		resources += a.Placed
		b.SetBytes(l.Tally.Bytes)
	}
	b.ReportMetric(float64(resources)/b.Elapsed().Seconds(), "resources/s")
}
