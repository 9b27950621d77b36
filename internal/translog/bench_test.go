package translog

import (
	"fmt"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

type discard struct{}

func (discard) Set(key, value []byte) error { return nil }

func BenchmarkStage(b *testing.B) {
	for _, block := range []uint64{1, 64, 1000, 20_000} {
		b.Run(fmt.Sprint(block), func(b *testing.B) {
			tree := open(b, newKV(), 0, c2sp.EmptyRoot())
			leaves := leavesFrom(0, block)
			for b.Loop() {
				if _, _, err := tree.Stage(leaves, discard{}); err != nil {
					b.Fatal(err)
				}
				tree.Advance()
			}
			b.ReportMetric(float64(b.N)*float64(block)/b.Elapsed().Seconds(), "leaves/s")
		})
	}
}

func BenchmarkProve(b *testing.B) {
	_, tree := big()
	size := tree.Size()
	for i := uint64(0); b.Loop(); i++ {
		if _, err := tree.Prove(i*7919%size, size); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s, tree := big()
	size, root := tree.Head()
	for b.Loop() {
		open(b, s, size, root)
	}
}

func BenchmarkReceiptAtAMillion(b *testing.B) {
	start := time.Now()
	clock := func() int64 { return int64(time.Since(start)) }
	for b.Loop() {
		f, err := MeasureProof(1_000_000, 4, clock)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(f.ReceiptBytes), "receipt-B")
		b.ReportMetric(float64(f.VerifyNanos)/1000, "verify-µs")
		b.ReportMetric(float64(f.ProveNanos)/1000, "prove-µs")
		b.ReportMetric(float64(f.StagedPerSecond), "leaves/s")
		b.ReportMetric(float64(f.StoredBytes)/1e6, "stored-B/leaf")
		b.ReportMetric(float64(f.WrittenBytes)/1e6, "written-B/leaf")
	}
}

func TestMeasureProof(t *testing.T) {
	var ticks int64
	f, err := MeasureProof(3000, 4, func() int64 { ticks++; return ticks })
	if err != nil {
		t.Fatal(err)
	}
	if f.ReceiptBytes < 1000 || f.ReceiptBytes > 2000 || f.VerifyNanos != 1 || f.StoredBytes/3000 > 40 {
		t.Fatalf("%+v", f)
	}
	if _, err := MeasureProof(0, 4, nil); err == nil {
		t.Fatal("an empty log")
	}
}
