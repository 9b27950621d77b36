package consensus

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"
)

// testPool has no worker: tests say when verification happens.
func testPool(l Limits) (*pool, *testApp) {
	a := newTestApp("")
	return newPool(a.Check, l.withDefaults()), a
}

func (p *pool) step() {
	p.mu.Lock()
	batch := p.takeQueued()
	p.mu.Unlock()
	p.verify(batch)
}

func TestPoolBounds(t *testing.T) {
	p, _ := testPool(Limits{PoolParcelsMax: 10, PoolBytesMax: 1000, SourcePercentMax: 50})
	for i := range 5 {
		if err := p.add(fmt.Appendf(nil, "a%d", i), "a", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.add([]byte("a5"), "a", nil); !errors.Is(err, ErrPoolFull) {
		t.Fatalf("one source took more than its half: %v", err)
	}
	if err := p.add(make([]byte, 501), "b", nil); !errors.Is(err, ErrPoolFull) {
		t.Fatalf("one source took more than half of the bytes: %v", err)
	}
	for i := range 5 {
		if err := p.add(fmt.Appendf(nil, "b%d", i), "b", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.add([]byte("c"), "c", nil); !errors.Is(err, ErrPoolFull) {
		t.Fatalf("pool over its count: %v", err)
	}
	if err := p.add([]byte("a0"), "c", nil); err != nil {
		t.Fatalf("a parcel that is there needs no room: %v", err)
	}
	for _, bad := range [][]byte{nil, {}, make([]byte, ParcelBytesMax+1)} {
		if err := p.add(bad, "d", nil); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("%d bytes: %v", len(bad), err)
		}
	}
	p.step()
	block := p.propose(1 << 20)
	hashes := hashesOf(block)
	p.committed(1, hashes, make([][]byte, len(block)))(nil)
	if n, b := p.size(); n != 0 || b != 0 || len(p.sources) != 0 {
		t.Fatalf("%d parcels, %d bytes, %d sources left after commit", n, b, len(p.sources))
	}
}

func hashesOf(parcels [][]byte) []hash {
	out := make([]hash, len(parcels))
	for i, p := range parcels {
		out[i] = sum(p)
	}
	return out
}

func TestPoolVerifiesOnce(t *testing.T) {
	p, app := testPool(Limits{})
	inPool, queuedOnly, foreign := []byte("in the pool"), []byte("queued"), []byte("in a proposal only")
	_ = p.add(inPool, localSource, nil)
	p.step()
	_ = p.add(queuedOnly, localSource, nil)
	block := [][]byte{inPool, queuedOnly, foreign}
	for range 3 { // ProcessProposal in two rounds, FinalizeBlock
		for i, c := range p.resolve(block, hashesOf(block)) {
			if c.Err != nil || string(c.Parcel.([]byte)) != string(block[i]) {
				t.Fatalf("parcel %d: %v", i, c)
			}
		}
	}
	p.step() // the worker finds what resolve claimed
	_ = p.add(inPool, "peer", nil)
	p.step()
	for _, b := range block {
		if n := app.checked(b); n != 1 {
			t.Errorf("%q was verified %d times", b, n)
		}
	}
	p.committed(1, hashesOf(block), make([][]byte, 3))(nil)
	if len(p.met) != 0 {
		t.Error("what proposals held is remembered for ever")
	}
}

func TestPoolAnswers(t *testing.T) {
	p, _ := testPool(Limits{PoolAgeMax: time.Minute})
	w := make(chan reply, 8)
	if err := p.add([]byte("bad one"), localSource, w); err != nil {
		t.Fatal(err)
	}
	p.step()
	var refused *RefusedError
	if r := <-w; !errors.As(r.err, &refused) || !errors.Is(r.err, errBadParcel) {
		t.Fatalf("refusal is %v", r.err)
	}
	if err := p.add([]byte("bad one"), localSource, w); !errors.As(err, &refused) {
		t.Fatalf("second time: %v", err)
	}
	good := []byte("good")
	_ = p.add(good, localSource, w)
	_ = p.add(good, localSource, w)
	p.step()
	p.committed(7, hashesOf([][]byte{good}), [][]byte{[]byte("result")})(nil)
	_ = p.add(good, localSource, w)
	for range 3 {
		if r := <-w; r.err != nil || r.outcome.Height != 7 || string(r.outcome.Result) != "result" {
			t.Fatalf("reply %+v", r)
		}
	}
	_ = p.add([]byte("old"), localSource, w)
	p.step()
	later := time.Now().Add(2 * time.Minute)
	p.now = func() time.Time { return later }
	p.expire()
	if r := <-w; !errors.Is(r.err, ErrExpired) {
		t.Fatalf("old parcel: %v", r.err)
	}
	_ = p.add([]byte("waiting"), localSource, w)
	p.close(ErrStopped)
	if r := <-w; !errors.Is(r.err, ErrStopped) {
		t.Fatalf("at close: %v", r.err)
	}
	if err := p.add([]byte("late"), localSource, w); !errors.Is(err, ErrStopped) {
		t.Fatalf("after close: %v", err)
	}
}

func TestPoolProposesInOrderWithinLimits(t *testing.T) {
	p, _ := testPool(Limits{BlockEnvelopesMax: 3})
	for i := range 5 {
		_ = p.add(fmt.Appendf(nil, "parcel %d", i), localSource, nil)
	}
	p.step()
	if got := p.propose(1 << 20); len(got) != 3 || string(got[0]) != "parcel 0" || string(got[2]) != "parcel 2" {
		t.Fatalf("proposed %q", got)
	}
	if got := p.propose(2*blockBytesOf(8) + 1); len(got) != 2 {
		t.Fatalf("proposed %d parcels into room for 2", len(got))
	}
}

func TestPoolGossip(t *testing.T) {
	p, _ := testPool(Limits{})
	now := time.Now()
	p.now = func() time.Time { return now }
	p.moved = now
	_ = p.add([]byte("own"), localSource, nil)
	_ = p.add([]byte("from a"), "a", nil)
	p.step()
	var a, b cursor
	if got, _, _ := p.outgoing("b", &b); len(got) != 1 || string(got[0]) != "own" {
		t.Fatalf("at once: %q", got)
	}
	now = now.Add(relayAfter)
	if got, _, _ := p.outgoing("b", &b); len(got) != 1 || string(got[0]) != "from a" {
		t.Fatalf("relayed: %q", got)
	}
	if got, _, _ := p.outgoing("a", &a); len(got) != 1 || string(got[0]) != "own" {
		t.Fatalf("to its source: %q", got)
	}
	if got, _, retry := p.outgoing("b", &b); len(got) != 0 || retry <= 0 {
		t.Fatalf("twice: %q, ask again in %v", got, retry)
	}
	now = now.Add(repeatAfter + 1)
	if got, _, _ := p.outgoing("b", &b); len(got) != 2 {
		t.Fatalf("when the chain stands still: %q", got)
	}
	for i := range 3 {
		_ = p.add(append(make([]byte, gossipBytesMax/2), byte(i)), localSource, nil)
	}
	p.step()
	p.step()
	p.step()
	for range 3 {
		if got, _, _ := p.outgoing("b", &b); len(got) != 1 {
			t.Fatalf("%d big parcels in one message", len(got))
		}
	}
}

// Where every parcel waits long for its block, waiting is no reason to tell it to others again.
func TestPoolRelaysLaterWhereAllWait(t *testing.T) {
	p, _ := testPool(Limits{})
	now := time.Now()
	p.now = func() time.Time { return now }
	p.moved = now
	for i := range 64 {
		parcel := fmt.Appendf(nil, "parcel %d", i)
		_ = p.add(parcel, "a", nil)
		p.step()
		now = now.Add(400 * time.Millisecond)
		p.committed(uint64(i+1), []hash{sha256.Sum256(parcel)}, [][]byte{nil})(nil)
	}
	_ = p.add([]byte("from a"), "a", nil)
	p.step()
	var b cursor
	now = now.Add(2 * relayAfter)
	if got, _, _ := p.outgoing("b", &b); len(got) != 0 {
		t.Fatalf("relayed as early as on an idle network: %q", got)
	}
	now = now.Add(repeatAfter)
	if got, _, _ := p.outgoing("b", &b); len(got) != 1 {
		t.Fatalf("never relayed: %q", got)
	}
}

func TestGossipMutesLiars(t *testing.T) {
	p, _ := testPool(Limits{})
	g := newGossip(p)
	now := time.Now()
	g.now = func() time.Time { return now }
	for i := range peerInvalidMax {
		if g.muted("liar") {
			t.Fatalf("muted after %d", i)
		}
		_ = p.add(fmt.Appendf(nil, "bad %d", i), "liar", nil)
		p.step()
	}
	if !g.muted("liar") || g.muted("other") {
		t.Fatal("the wrong peer is muted")
	}
	if now = now.Add(muteFor); g.muted("liar") {
		t.Fatal("muted for ever")
	}
}

func TestOutcomesAreBounded(t *testing.T) {
	o := newOutcomes(3)
	for i := range 5 {
		o.put(sum([]byte{byte(i)}), reply{outcome: Outcome{Height: uint64(i), Result: make([]byte, 10)}})
	}
	if _, ok := o.get(sum([]byte{1})); ok || len(o.m) != 3 || o.bytes != 30 {
		t.Fatalf("%d remembered, %d bytes", len(o.m), o.bytes)
	}
	o.put(sum([]byte{4}), reply{outcome: Outcome{Height: 99}})
	if r, _ := o.get(sum([]byte{4})); r.outcome.Height != 4 {
		t.Fatal("a later outcome replaced the first")
	}
	o.put(sum([]byte("big")), reply{outcome: Outcome{Result: make([]byte, rememberBytesMax-15)}})
	if len(o.m) != 2 || o.bytes > rememberBytesMax {
		t.Fatalf("%d remembered, %d bytes", len(o.m), o.bytes)
	}
}
