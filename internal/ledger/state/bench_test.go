package state

import (
	"crypto/sha256"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// million is a map with 1 M keys on Pebble, filled once for all benchmarks.
var million = sync.OnceValues(func() (*workload, error) {
	dir, err := os.MkdirTemp("", "state-bench-")
	if err != nil {
		return nil, err
	}
	store, err := OpenPebble(dir, PebbleOptions{CacheBytes: 256 << 20})
	if err != nil {
		return nil, err
	}
	benchDir = dir
	w, err := newWorkload(store, 1_000_000)
	if err != nil {
		return nil, err
	}
	return w, w.fill(10_000)
})

var benchDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if benchDir != "" {
		if w, err := million(); err == nil {
			w.m.Close()
			w.store.Close()
		}
		os.RemoveAll(benchDir)
	}
	os.Exit(code)
}

func cpu(who int) time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMapUpdates1M: one op is one update, in batches of 10,000, at 1 M keys, on Pebble. Beside the wall clock it
// reports the processor time of the writer's thread and of the whole process (compactions and garbage collection included),
// which say what an idle machine would do, and the time of one 64-byte SHA-256 on that thread for comparison.
func BenchmarkMapUpdates1M(b *testing.B) {
	w, err := million()
	if err != nil {
		b.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const rusageThread = 1
	thread, process := cpu(rusageThread), cpu(syscall.RUSAGE_SELF)
	b.ResetTimer()
	for done := 0; done < b.N; done += 10_000 {
		if err := w.round(10_000, false); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	n := float64((b.N + 9_999) / 10_000 * 10_000)
	b.ReportMetric(n/b.Elapsed().Seconds(), "updates/s")
	b.ReportMetric((cpu(rusageThread)-thread).Seconds()*1e6/n, "writer-cpu-µs")
	b.ReportMetric((cpu(syscall.RUSAGE_SELF)-process).Seconds()*1e6/n, "process-cpu-µs")
	b.ReportMetric(hashCost(), "sha256-cpu-µs")
}

func hashCost() float64 {
	const rusageThread, n = 1, 1 << 20
	began := cpu(rusageThread)
	var block [64]byte
	for range n {
		h := sha256.Sum256(block[:])
		copy(block[:], h[:])
	}
	return (cpu(rusageThread) - began).Seconds() * 1e6 / n
}

// BenchmarkProve1M: one op is one proof at the head, at 1 M keys.
func BenchmarkProve1M(b *testing.B) {
	w, err := million()
	if err != nil {
		b.Fatal(err)
	}
	size := 0
	for i := range b.N {
		key := draw("key", uint64(i%w.keys))
		_, _, p, err := w.m.Prove(key[:], w.m.Version())
		if err != nil {
			b.Fatal(err)
		}
		enc, err := p.MarshalBinary()
		if err != nil {
			b.Fatal(err)
		}
		size += len(enc)
	}
	b.ReportMetric(float64(size)/float64(b.N), "proof-bytes")
}

// BenchmarkVerify1M: one op is one verification of such a proof.
func BenchmarkVerify1M(b *testing.B) {
	w, err := million()
	if err != nil {
		b.Fatal(err)
	}
	key := draw("key", 77)
	value, _, p, err := w.m.Prove(key[:], w.m.Version())
	if err != nil {
		b.Fatal(err)
	}
	root := w.m.Root()
	for b.Loop() {
		if err := p.Verify(root, key[:], value); err != nil {
			b.Fatal(err)
		}
	}
}
