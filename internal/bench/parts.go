package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/translog"
	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// measureMap updates random keys of a state map on disk, as blocks do, and proves some.
func measureMap(_ context.Context, r *run) error {
	keys, batch := pick(r, 1_000_000, 200_000), 10_000
	dir := filepath.Join(r.dir, "map")
	var laps []time.Time
	if err := state.Measure(dir, keys, batch, pick(r, 20, 10), node.AtOnce, func() { laps = append(laps, time.Now()) }); err != nil {
		return err
	}
	took := laps[len(laps)-1].Sub(laps[0]).Seconds()
	perSecond := float64(batch*(len(laps)-1)) / took
	r.add(fmt.Sprintf("state map updates, %s keys on disk, batches of 10 k", count(keys)), perSecond, "1/s", "SHA-256 of 64 bytes/s on one core", hashes())
	return r.mapProofs(dir, keys)
}

func (r *run) mapProofs(dir string, keys int) (err error) {
	store, err := state.OpenPebble(dir, state.PebbleOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	m, err := state.OpenMap(store)
	if err != nil {
		return err
	}
	defer m.Close()
	var sizes []int
	var verify []time.Duration
	root := m.Root()
	for i := range 200 {
		key := smt.Value(binary.BigEndian.AppendUint64([]byte("key"), uint64(i*(keys/200))))
		value, ok, p, err := m.Prove(key[:], m.Version())
		if err != nil {
			return err
		}
		raw, err := p.MarshalBinary()
		if err != nil {
			return err
		}
		start := time.Now()
		parsed, err := smt.ParseProof(raw)
		if err == nil && ok {
			err = parsed.Verify(root, key[:], value)
		}
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("key %d: proven absent", i))
		}
		sizes, verify = append(sizes, len(raw)), append(verify, time.Since(start))
	}
	r.add(fmt.Sprintf("map proof, %s keys, longest of 200", count(keys)), float64(slices.Max(sizes)), "bytes", "", 0)
	r.add(fmt.Sprintf("map proof, %s keys, verify", count(keys)), quantile(verify, 0.5)*1000, "µs", "µs a SHA-256 of 64 bytes", 1e6/hashes())
	return nil
}

func count(n int) string {
	if n >= 1_000_000 {
		return fmt.Sprintf("%d M", n/1_000_000)
	}
	return fmt.Sprintf("%d k", n/1000)
}

// measureReceipt measures receipts with the cosignatures of four nodes out of a log.
func measureReceipt(_ context.Context, r *run) error {
	leaves := pick(r, 1_000_000, 100_000)
	epoch := time.Now()
	f, err := translog.MeasureProof(uint64(leaves), 4, func() int64 { return int64(time.Since(epoch)) })
	if err != nil {
		return err
	}
	at := count(leaves) + " entries, 4 cosigners"
	r.add("receipt, "+at, float64(f.ReceiptBytes), "bytes", "", 0)
	r.add("receipt verified, "+at, float64(f.VerifyNanos)/1000, "µs", "µs a std Ed25519 verify", 1e6/verifications().wall)
	r.add("inclusion proof made, "+count(leaves)+" entries", float64(f.ProveNanos)/1000, "µs", "", 0)
	return nil
}
