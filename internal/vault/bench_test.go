package vault

import (
	"bytes"
	"context"
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

// BenchmarkErase erases files of a folder for good: each by itself, 16 at a time, and all in one go.
func BenchmarkErase(b *testing.B) {
	const n = 1000
	for name, erase := range map[string]func(*Vault, []Hash) error{
		"each": func(v *Vault, all []Hash) error {
			_, err := v.forEach(b.Context(), all, func(ctx context.Context, h Hash) (bool, error) { return true, v.Delete(ctx, h) })
			return err
		},
		"together": func(v *Vault, all []Hash) error { return v.DeleteAll(b.Context(), all) },
	} {
		b.Run(name, func(b *testing.B) {
			for round := range b.N {
				b.StopTimer()
				v := openTest(b, b.TempDir(), Options{})
				var all []Hash
				for i := range n {
					all = append(all, put(b, v, content(round*n+i, 4<<10)))
				}
				b.StartTimer()
				if err := erase(v, all); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := v.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
}
