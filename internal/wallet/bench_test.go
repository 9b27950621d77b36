package wallet

import (
	"path/filepath"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// benchResources takes about 20 kB of resources of a real patient.
func benchResources(b *testing.B) (out [][]byte, size int) {
	files := must(filepath.Glob(filepath.Join(sharedData(b, "synthea-patients"), "*.json.gz")))(b)
	for _, r := range bundleResources(b, files[0]) {
		if size+len(r) > 21_000 {
			break
		}
		out, size = append(out, r), size+len(r)
	}
	return out, size
}

func BenchmarkSeal(b *testing.B) {
	d := newWorld(b)
	resources, size := benchResources(b)
	in := d.input(resources...)
	d.public.Precompute()
	var s *Sealed
	b.SetBytes(int64(size))
	for b.Loop() {
		s = must(Seal(in, d.author.Key.Sign))(b)
	}
	b.ReportMetric(float64(len(s.File)), "file-bytes")
	b.ReportMetric(float64(len(resources)), "resources")
}

func BenchmarkOpenPatient(b *testing.B) {
	d := newWorld(b)
	resources, size := benchResources(b)
	s := d.seal(b, resources...)
	b.SetBytes(int64(size))
	for b.Loop() {
		must(Open(s.File, d.keys.Identity, s.Entry()))(b)
	}
}

func BenchmarkOpenReader(b *testing.B) {
	d := newWorld(b)
	resources, size := benchResources(b)
	s := d.seal(b, resources...)
	label := CapsuleLabel(testChain, 7, d.journal.ID, s.Action.Label, s.Action.Record)
	key := FileKey([16]byte(must(d.combine(b, label)(must(CapsuleOf(s.File))(b)))(b)))
	b.SetBytes(int64(size))
	for b.Loop() {
		must(Open(s.File, key, s.Entry()))(b)
	}
}

func BenchmarkOpenAll20(b *testing.B) {
	d := newWorld(b)
	resources, _ := benchResources(b)
	var batch []Opening
	for range 20 {
		in := d.input(resources...)
		in.Record = NewRecordID()
		s := must(Seal(in, d.author.Key.Sign))(b)
		batch = append(batch, Opening{s.File, d.keys.Identity, s.Entry()})
	}
	for b.Loop() {
		for _, o := range OpenAll(b.Context(), batch) {
			must(o.Record, o.Err)(b)
		}
	}
}

func BenchmarkShareChannel(b *testing.B) {
	k := must(NewOneTimeKey())(b)
	info := ShareInfo{Chain: testChain, Access: protocol.AccessID{1}, OneTime: k.Public(), KEM: k.KEM()}
	answer := make([]byte, 1000)
	for b.Loop() {
		must(k.OpenShare(info, must(SealShare(info, answer))(b)))(b)
	}
}
