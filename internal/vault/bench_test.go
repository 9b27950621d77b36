package vault

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
)

var benchSizes = []int{4 << 10, 64 << 10, 1 << 20}

// BenchmarkPut stores distinct files durably in a folder: one writer, then 16.
func BenchmarkPut(b *testing.B) {
	for _, size := range benchSizes {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dKiB/writers=%d", size>>10, writers), func(b *testing.B) {
				v := openTest(b, b.TempDir(), Options{})
				base := content(size, size)
				var count atomic.Uint64
				b.SetBytes(int64(size))
				b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
				one := func() {
					body := bytes.Clone(base)
					binary.BigEndian.PutUint64(body, count.Add(1))
					put(b, v, body)
				}
				if writers == 1 {
					for b.Loop() {
						one()
					}
				} else {
					b.RunParallel(func(p *testing.PB) {
						for p.Next() {
							one()
						}
					})
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
			})
		}
	}
}

// BenchmarkGet reads and checks files that are in the page cache.
func BenchmarkGet(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			v := openTest(b, b.TempDir(), Options{})
			h := put(b, v, content(size, size))
			b.SetBytes(int64(size))
			for b.Loop() {
				r, _, err := v.Get(b.Context(), h)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				_ = r.Close()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
}

func BenchmarkPlacement(b *testing.B) {
	members := make([]MemberID, 16)
	for i := range members {
		members[i] = MemberID{byte(i)}
	}
	for b.Loop() {
		Placement(Hash{1}, members, 3)
	}
}
