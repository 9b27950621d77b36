package state

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// Measure fills a Pebble store in dir (which should not exist) with keys keys of 32 bytes and values of 100 bytes, and then
// makes rounds batches of updates to random existing keys, each a transaction staged, committed without fsync (the last one
// with) and pruned to the last 100 versions, as a node does. This package has no clock: lap is called before the first
// round and after each, and the caller divides.
func Measure(dir string, keys, batch, rounds int, both Both, lap func()) (err error) {
	store, err := OpenPebble(dir, PebbleOptions{CacheBytes: 256 << 20})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	w, err := newWorkload(store, keys)
	if err != nil {
		return err
	}
	defer w.m.Close()
	w.m.RunBoth(both)
	if err := w.fill(batch); err != nil {
		return err
	}
	lap()
	for i := range rounds {
		if err := w.round(batch, i == rounds-1); err != nil {
			return err
		}
		lap()
	}
	return nil
}

// workload is a map under a reproducible random load.
type workload struct {
	store Store
	m     *Map
	keys  int
	draws uint64
}

func newWorkload(s Store, keys int) (*workload, error) {
	m, err := OpenMap(s)
	if err == nil && m.Version() != 0 {
		err = fmt.Errorf("state: measure: the store is not empty")
	}
	return &workload{store: s, m: m, keys: keys}, err
}

// draw returns 32 bytes that depend on a counter and what they are for.
func draw(what string, n uint64) smt.Hash {
	return smt.Value(binary.BigEndian.AppendUint64([]byte(what), n))
}

func (w *workload) set(tx *Tx, key uint64) {
	w.draws++
	k, v := draw("key", key), draw("value", w.draws)
	var value [100]byte
	for i := 0; i < len(value); i += len(v) {
		copy(value[i:], v[:])
	}
	tx.Set(k[:], value[:])
}

// fill writes every key once.
func (w *workload) fill(batch int) error {
	for at := 0; at < w.keys; at += batch {
		tx := w.m.Begin()
		for k := at; k < min(at+batch, w.keys); k++ {
			w.set(tx, uint64(k))
		}
		if err := w.commit(tx, at+batch >= w.keys); err != nil {
			return err
		}
	}
	return nil
}

// round updates batch random keys.
func (w *workload) round(batch int, durable bool) error {
	tx := w.m.Begin()
	for range batch {
		r := draw("pick", w.draws)
		w.set(tx, binary.BigEndian.Uint64(r[:])%uint64(w.keys))
	}
	return w.commit(tx, durable)
}

func (w *workload) commit(tx *Tx, durable bool) error {
	b := w.store.NewBatch()
	defer b.Close()
	version := w.m.Version() + 1
	if _, err := w.m.Stage(tx, version, b); err != nil {
		return err
	}
	if version > 100 {
		if err := w.m.Prune(version-100, b); err != nil {
			return err
		}
	}
	if err := b.Commit(durable); err != nil {
		return err
	}
	w.m.Advance()
	return nil
}
