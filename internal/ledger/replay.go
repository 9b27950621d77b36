package ledger

import (
	"encoding/binary"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// The replay set remembers each authentic envelope, executed or rejected, until its not-after has passed, with its result: a duplicate
// gets that. In the map it is one row a block, 'r' ‖ height: the latest not-after, then id, reason and first index of each envelope.
// A row goes when all of its envelopes have expired. In memory stands an index over the rows, which Open rebuilds.

const (
	replayPrefix    = 'r'
	replayItemBytes = 32 + 2 + 8
)

type replay struct {
	results map[protocol.ActionID]protocol.Result // never ranged over
	oldest  []replayRow                           // rows in the map, by height
}

type replayRow struct {
	height, until uint64
	ids           []protocol.ActionID
}

func newReplay() *replay { return &replay{results: make(map[protocol.ActionID]protocol.Result)} }

func (r *replay) load(m state.Reader) error {
	return m.Scan([]byte{replayPrefix}, []byte{replayPrefix + 1}, func(k, v []byte) (bool, error) {
		if len(k) != 9 || len(v) < 8 || (len(v)-8)%replayItemBytes != 0 {
			return false, exec.Broken{Err: protocol.ErrEncoding}
		}
		row := replayRow{height: exec.ParseUint64(k[1:]), until: binary.BigEndian.Uint64(v)}
		for v = v[8:]; len(v) > 0; v = v[replayItemBytes:] {
			res := protocol.Result{ID: protocol.ActionID(v[:32]), Reason: protocol.Reason(binary.BigEndian.Uint16(v[32:])),
				First: binary.BigEndian.Uint64(v[34:]), Height: row.height}
			r.results[res.ID] = res
			row.ids = append(row.ids, res.ID)
		}
		r.oldest = append(r.oldest, row)
		return true, nil
	})
}

// commit makes a block's changes to the set, after its rows were committed.
func (r *replay) commit(add *replayBlock, forgotten int) {
	for _, row := range r.oldest[:forgotten] {
		for _, id := range row.ids {
			delete(r.results, id)
		}
	}
	r.oldest = r.oldest[forgotten:]
	if add == nil || len(add.results) == 0 {
		return
	}
	row := replayRow{height: add.height, until: add.until}
	for _, res := range add.results {
		r.results[res.ID] = res
		row.ids = append(row.ids, res.ID)
	}
	r.oldest = append(r.oldest, row)
}

// replayBlock gathers what a block adds.
type replayBlock struct {
	height, until uint64
	results       []protocol.Result
	index         map[protocol.ActionID]int // never ranged over
}

func (b *replayBlock) add(res protocol.Result, notAfter uint64) {
	if b.index == nil {
		b.index = make(map[protocol.ActionID]int)
	}
	b.index[res.ID] = len(b.results)
	b.results = append(b.results, res)
	b.until = max(b.until, notAfter)
}

func (b *replayBlock) find(id protocol.ActionID) (protocol.Result, bool) {
	i, ok := b.index[id]
	if !ok {
		return protocol.Result{}, false
	}
	return b.results[i], true
}

func (b *replayBlock) encode() []byte {
	v := make([]byte, 8, 8+len(b.results)*replayItemBytes)
	binary.BigEndian.PutUint64(v, b.until)
	for _, r := range b.results {
		v = append(v, r.ID[:]...)
		v = binary.BigEndian.AppendUint16(v, uint16(r.Reason))
		v = binary.BigEndian.AppendUint64(v, r.First)
	}
	return v
}

func replayKey(height uint64) []byte { return append([]byte{replayPrefix}, exec.Uint64(height)...) }
