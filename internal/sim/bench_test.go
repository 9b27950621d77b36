package sim

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
)

// BenchmarkSimulatedBlocks says how much history the simulation gets through in a second, on one core and a store in memory: replayed, what
// one ledger takes to execute and commit blocks that are there; made, with the drawing and signing of envelopes, and the model and all
// comparisons beside it. The history is always the same, and of the kind that TestSim makes. When others use the machine, compare the rates
// for a second of CPU.
func BenchmarkSimulatedBlocks(b *testing.B) {
	const blocks = 400
	base, w := founded(b, 4, nil)
	begin := func() *town {
		world := *w
		world.L, world.Members = open(b, base.Crash(false)), nil
		for _, m := range w.Members {
			who := *m
			world.Members = append(world.Members, &who)
		}
		return newTown(seeded{rand.New(rand.NewPCG(1, 1))}, &world, false)
	}
	var past []ledger.Block
	envelopes := 0
	town := begin()
	for range blocks {
		past = append(past, town.next().block)
		for _, parcel := range past[len(past)-1].Parcels {
			envelopes += len(parcel)
		}
	}
	rates := func(b *testing.B, cpu float64) {
		b.ReportMetric(float64(blocks*b.N)/b.Elapsed().Seconds(), "blocks/s")
		b.ReportMetric(float64(envelopes*b.N)/b.Elapsed().Seconds(), "envelopes/s")
		b.ReportMetric(float64(blocks*b.N)/cpu, "blocks/cpu-s")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("replayed", func(b *testing.B) {
		cpu := 0.0
		for b.Loop() {
			b.StopTimer()
			l := open(b, base.Crash(false))
			b.StartTimer()
			cpu -= cpuSeconds(b)
			for _, block := range past {
				if _, err := l.Apply(block); err != nil {
					b.Fatal(err)
				}
				if err := l.Commit(); err != nil {
					b.Fatal(err)
				}
			}
			cpu += cpuSeconds(b)
			if l.Head() != town.L.Head() {
				b.Fatal("another history")
			}
		}
		rates(b, cpu)
	})
	b.Run("made", func(b *testing.B) {
		cpu := 0.0
		for b.Loop() {
			b.StopTimer()
			again := begin()
			b.StartTimer()
			cpu -= cpuSeconds(b)
			for range blocks {
				again.next()
			}
			cpu += cpuSeconds(b)
			if again.L.Head() != town.L.Head() {
				b.Fatal("another history")
			}
		}
		rates(b, cpu)
	})
}

// cpuSeconds is what this process has used of all cores so far.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
