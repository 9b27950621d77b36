package consensus

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// signedApp verifies every envelope's Ed25519 signature in Check, in one voi batch, and keeps every envelope in a
// Pebble database that it syncs at each commit: the floor of what a ledger costs.
//
// An envelope is 400 bytes: key 32, signature 64, payload 304. A parcel is envelopes end to end.
type signedApp struct {
	db             *database
	batch          *pebble.Batch
	height, time   uint64
	chain          [32]byte
	committedCount atomic.Int64
}

const (
	envelopeBytes = 400
	payloadBytes  = envelopeBytes - 96
)

func newSignedApp(b testing.TB, dir string) *signedApp {
	db, err := openPebble(dir, false)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return &signedApp{db: db}
}

func (a *signedApp) Head() (uint64, [32]byte, uint64) { return a.height, a.chain, a.time }
func (a *signedApp) InitChain(g []byte) ([32]byte, error) {
	a.chain = sha256.Sum256(g)
	return a.chain, nil
}
func (a *signedApp) NextDue() (uint64, bool) { return 0, false }
func (a *signedApp) Commit() error           { return a.batch.Commit(pebble.Sync) }

var errSignature = errors.New("bad signature")

func (a *signedApp) Check(parcels [][]byte) []Checked {
	out := make([]Checked, len(parcels))
	v := voi.NewBatchVerifier()
	for i, p := range parcels {
		out[i] = Checked{Parcel: p, Envelopes: len(p) / envelopeBytes}
		for ; len(p) >= envelopeBytes; p = p[envelopeBytes:] {
			v.Add(voi.PublicKey(p[:32]), p[96:envelopeBytes], p[32:96])
		}
	}
	if ok, _ := v.Verify(rand.Reader); ok {
		return out
	}
	for i, p := range parcels {
		for ; len(p) >= envelopeBytes; p = p[envelopeBytes:] {
			if !voi.Verify(voi.PublicKey(p[:32]), p[96:envelopeBytes], p[32:96]) {
				out[i].Err = errSignature
			}
		}
	}
	return out
}

func (a *signedApp) Apply(height, timeMillis uint64, parcels []any) ([][]byte, [32]byte, error) {
	a.batch = a.db.NewBatch()
	results := make([][]byte, len(parcels))
	n := int64(0)
	for i, p := range parcels {
		raw := p.([]byte)
		for at := 0; at < len(raw); at += envelopeBytes {
			h := sha256.Sum256(raw[at : at+envelopeBytes])
			a.chain = sha256.Sum256(append(a.chain[:], h[:]...))
			if err := a.batch.Set(h[:], raw[at:at+envelopeBytes], nil); err != nil {
				return nil, a.chain, err
			}
			n++
		}
		results[i] = binary.BigEndian.AppendUint64(nil, height)
	}
	a.height, a.time = height, timeMillis
	a.committedCount.Add(n)
	return results, a.chain, nil
}

// signedParcels makes n parcels of k envelopes, by a hundred keys.
func signedParcels(n, k int) [][]byte {
	keys := make([]ed25519.PrivateKey, 100)
	for i := range keys {
		keys[i] = key(fmt.Sprintf("client %d", i))
	}
	out := make([][]byte, n)
	payload := make([]byte, payloadBytes)
	for i := range out {
		for j := range k {
			signer := keys[(i*k+j)%len(keys)]
			_, _ = rand.Read(payload)
			out[i] = append(out[i], signer.Public().(ed25519.PublicKey)...)
			out[i] = append(out[i], ed25519.Sign(signer, payload)...)
			out[i] = append(out[i], payload...)
		}
	}
	return out
}

// stdVerifications is one core's rate of the standard library, the yardstick for the figures.
func stdVerifications() float64 {
	k := key("yardstick")
	m := make([]byte, payloadBytes)
	sig, pub := ed25519.Sign(k, m), k.Public().(ed25519.PublicKey)
	start, n := time.Now(), 0
	for time.Since(start) < 300*time.Millisecond {
		for range 100 {
			ed25519.Verify(pub, m, sig)
		}
		n += 100
	}
	return float64(n) / time.Since(start).Seconds()
}

// cpuSeconds is what this process has used of all cores: a figure that survives a busy machine.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

type measured struct {
	perSecond, p50, p95 float64 // envelopes; milliseconds
}

// drive submits the parcels by closed-loop clients spread over the nodes.
func drive(b testing.TB, nodes []*Node, parcels [][]byte, k, clients int) measured {
	var next atomic.Int64
	var mu sync.Mutex
	var latencies []float64
	var wg sync.WaitGroup
	start := time.Now()
	for c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var mine []float64
			for {
				i := int(next.Add(1)) - 1
				if i >= len(parcels) {
					break
				}
				t := time.Now()
				for {
					_, err := nodes[c%len(nodes)].Submit(context.Background(), parcels[i])
					if err == nil {
						break
					}
					if !errors.Is(err, ErrPoolFull) {
						b.Error(err)
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
				mine = append(mine, float64(time.Since(t).Microseconds())/1000)
			}
			mu.Lock()
			latencies = append(latencies, mine...)
			mu.Unlock()
		}()
	}
	wg.Wait()
	took := time.Since(start).Seconds()
	slices.Sort(latencies)
	if len(latencies) == 0 {
		b.Fatal("nothing was committed")
	}
	return measured{
		float64(len(parcels)*k) / took,
		latencies[len(latencies)/2], latencies[len(latencies)*95/100],
	}
}

// BenchmarkCommit gives envelopes/s and latencies from Submit to the commit on the submitting node, and the ratio to
// the standard library's verifications. Run with -benchtime 1x.
func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct{ nodes, envelopes, clients, total int }{
		{4, 1, 1, 100}, {1, 1, 1, 200},
		{4, 64, 64, 50_000}, {4, 1, 1_000, 20_000},
		{1, 64, 64, 150_000}, {1, 1, 1_000, 60_000},
	} {
		b.Run(fmt.Sprintf("nodes=%d/envelopes=%d/clients=%d", c.nodes, c.envelopes, c.clients), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				dir := b.TempDir()
				net := newNetwork(b, c.nodes, func(i int) Application {
					return newSignedApp(b, filepath.Join(dir, fmt.Sprint(i)))
				}, nil)
				std := stdVerifications()
				drive(b, net.nodes, signedParcels(c.nodes, c.envelopes), c.envelopes, c.nodes)
				parcels := signedParcels(c.total/c.envelopes, c.envelopes)
				before := cpuSeconds()
				b.StartTimer()
				m := drive(b, net.nodes, parcels, c.envelopes, c.clients)
				b.StopTimer()
				b.ReportMetric((cpuSeconds()-before)*1e6/float64(len(parcels)*c.envelopes), "cpu-µs/envelope")
				b.ReportMetric(m.perSecond, "envelopes/s")
				b.ReportMetric(m.p50, "p50-ms")
				b.ReportMetric(m.p95, "p95-ms")
				b.ReportMetric(std, "std-verify/s")
				b.ReportMetric(m.perSecond/std, "ratio")
				for i := range net.nodes {
					net.stop(i)
				}
			}
		})
	}
}
