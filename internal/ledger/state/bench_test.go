package state

import (
	"testing"
)

// BenchmarkMapUpdates1M: one op is one update, in batches of 10,000, at 1 M keys, on Pebble.
func BenchmarkMapUpdates1M(b *testing.B) {
	store, err := OpenPebble(b.TempDir(), PebbleOptions{CacheBytes: 256 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	w, err := newWorkload(store, 1_000_000)
	if err != nil {
		b.Fatal(err)
	}
	defer w.m.Close()
	if err := w.fill(10_000); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for done := 0; done < b.N; done += 10_000 {
		if err := w.round(10_000, false); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
	key := draw("key", 77)
	_, _, p, err := w.m.Prove(key[:], w.m.Version())
	if err != nil {
		b.Fatal(err)
	}
	enc, err := p.MarshalBinary()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(enc)), "proof-bytes")
}
