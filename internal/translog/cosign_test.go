package translog

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

const (
	origin = "anamnesis.example/log"
	now    = uint64(1_800_000_000_000)
)

// memoryState is a state that can be told to fail, before or after it took hold.
type memoryState struct {
	saved      c2sp.Checkpoint
	has        bool
	saves      int
	rolledBack bool
	fail       error
	failAfter  error // "failed but persisted"
}

func (m *memoryState) Load() (c2sp.Checkpoint, bool, error) { return m.saved, m.has, nil }

func (m *memoryState) Save(c c2sp.Checkpoint) error {
	if m.fail != nil {
		return m.fail
	}
	for range 20 {
		runtime.Gosched() // let others in between check and save, if anything lets them
	}
	if c.Size < m.saved.Size {
		m.rolledBack = true
	}
	m.saved, m.has = c, true
	m.saves++
	return m.failAfter
}

type site struct {
	log *c2sp.LogKey
	cos *Cosigner
	key *c2sp.CosignKey
	st  *memoryState
}

func newSite(t testing.TB, name string) *site {
	t.Helper()
	log, err := c2sp.NewLogKey(origin, signingKey("log of "+name))
	if err != nil {
		t.Fatal(err)
	}
	key, err := c2sp.NewCosignKey(name, signingKey("cosigner of "+name))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{log: log, key: key, st: &memoryState{}}
	s.restart(t)
	return s
}

func (s *site) restart(t testing.TB) {
	t.Helper()
	var err error
	if s.cos, err = NewCosigner(origin, s.key, s.st); err != nil {
		t.Fatal(err)
	}
}

// A network of three: each signs its own head, the others cosign it, and the
// whole passes a policy that wants all three.
func TestNetworkCosigns(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	sites := []*site{newSite(t, "a.example"), newSite(t, "b.example"), newSite(t, "c.example")}
	var nodes []c2sp.NetworkNode
	var trusted []c2sp.VerifierKey
	for _, s := range sites {
		nodes = append(nodes, c2sp.NetworkNode{Log: s.log.Verifier(), Cosigner: s.key.Verifier()})
		trusted = append(trusted, s.log.Verifier())
	}
	policy, err := c2sp.NetworkPolicy(nodes, 3, now+1_000_000_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{0, 1, 40, 300} {
		grow(t, tree, s, size)
		signed, err := sites[0].cos.SignHead(tree, sites[0].log, now)
		if err != nil {
			t.Fatal(err)
		}
		head, sigs, err := c2sp.Unverified(signed)
		if err != nil {
			t.Fatal(err)
		}
		for _, peer := range sites[1:] {
			sig, err := peer.cos.CosignPeer(tree, signed, trusted, now)
			if err != nil {
				t.Fatal(err)
			}
			sigs = append(sigs, sig)
		}
		whole, err := c2sp.Assemble(head, sigs...)
		if err != nil {
			t.Fatal(err)
		}
		if c, _, err := policy.Check(whole, now, 0); err != nil || c.Size != size || c.Root != tree.Root() {
			t.Fatalf("size %d: %v", size, err)
		}
	}
}

func TestCosignerRefuses(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 50)
	a, b := newSite(t, "a.example"), newSite(t, "b.example")
	trusted := []c2sp.VerifierKey{a.log.Verifier()}
	old, err := a.cos.SignHead(tree, a.log, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.cos.CosignPeer(tree, old, trusted, now); err != nil {
		t.Fatal(err)
	}
	grow(t, tree, s, 80)
	signed, err := a.cos.SignHead(tree, a.log, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.cos.CosignPeer(tree, signed, trusted, now); err != nil {
		t.Fatal(err)
	}
	if _, err := b.cos.CosignPeer(tree, old, trusted, now); err != (ErrRollback{Size: 50, Last: 80}) {
		t.Errorf("rollback: %v", err)
	}
	b.restart(t)
	if _, err := b.cos.CosignPeer(tree, old, trusted, now); err != (ErrRollback{Size: 50, Last: 80}) {
		t.Errorf("rollback after restart: %v", err)
	}
	if _, err := b.cos.CosignPeer(tree, signed, []c2sp.VerifierKey{b.log.Verifier()}, now); err != c2sp.ErrNoLogSignature {
		t.Errorf("signed by a stranger: %v", err)
	}
	if _, err := b.cos.CosignPeer(tree, signed, []c2sp.VerifierKey{a.key.Verifier()}, now); !errors.As(err, new(c2sp.ErrKeyType)) {
		t.Errorf("a cosigner key as log key: %v", err)
	}
	fs := newKV()
	fork := open(t, fs, 0, c2sp.EmptyRoot())
	batch := fs.batch()
	if _, _, err := fork.Stage(make([][32]byte, 90), batch); err != nil {
		t.Fatal(err)
	}
	batch.commit()
	fork.Advance()
	if _, err := a.cos.SignHead(fork, a.log, now); !errors.As(err, new(c2sp.ErrForked)) {
		t.Errorf("own log replaced by another: %v", err)
	}
	forged, _ := a.log.Sign(checkpoint(90, fork.Root()))
	forgedNote, _ := c2sp.Assemble(checkpoint(90, fork.Root()), forged)
	if _, err := b.cos.CosignPeer(tree, forgedNote, trusted, now); err != (ErrBehind{Size: 90, Own: 80}) {
		t.Errorf("ahead of the own copy: %v", err)
	}
	grow(t, tree, s, 95)
	if _, err := b.cos.CosignPeer(tree, forgedNote, trusted, now); !errors.As(err, new(c2sp.ErrForked)) {
		t.Errorf("fork: %v", err)
	}
	if _, err := newSite(t, "new.example").cos.CosignPeer(tree, forgedNote, trusted, now); !errors.As(err, new(c2sp.ErrForked)) {
		t.Errorf("fork, as the first that a cosigner sees: %v", err)
	}
	if got := b.cos.Last(); got.Size != 80 {
		t.Errorf("a refusal moved the state to %d", got.Size)
	}
	foreign, _ := c2sp.NewLogKey("other.example/log", signingKey("log of a.example"))
	if _, err := a.cos.SignHead(tree, foreign, now); !errors.As(err, new(c2sp.ErrOrigin)) {
		t.Errorf("log key of another log: %v", err)
	}
}

// An unchanged checkpoint is cosigned anew, with the time of asking, and
// nothing is written for it.
func TestCosignAgain(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 50)
	a := newSite(t, "a.example")
	for i := range uint64(3) {
		signed, err := a.cos.SignHead(tree, a.log, now+i*60_000)
		if err != nil {
			t.Fatal(err)
		}
		_, sigs, err := c2sp.Open(signed, a.key.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		if at, _ := c2sp.CosignatureTime(sigs[0]); at != now+i*60_000 {
			t.Fatalf("time %d", at)
		}
	}
	if a.st.saves != 1 {
		t.Fatalf("%d saves", a.st.saves)
	}
}

// What is signed was saved before, and a save that failed is looked into
// before anything is signed.
func TestCosignerSavesFirst(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 50)
	a := newSite(t, "a.example")
	a.st.fail = errors.New("disk full")
	if _, err := a.cos.SignHead(tree, a.log, now); !errors.Is(err, a.st.fail) {
		t.Fatalf("signed without saving: %v", err)
	}
	a.st.fail, a.st.failAfter = nil, errors.New("failed but persisted")
	if _, err := a.cos.SignHead(tree, a.log, now); !errors.Is(err, a.st.failAfter) {
		t.Fatalf("signed after a failed save: %v", err)
	}
	a.st.failAfter = nil
	// Size 50 is saved though the cosigner was told it was not: 40 is a rollback.
	at40, _ := tree.RootAt(40)
	forty := checkpoint(40, at40)
	sig, _ := a.log.Sign(forty)
	signed, _ := c2sp.Assemble(forty, sig)
	if _, err := a.cos.CosignPeer(tree, signed, []c2sp.VerifierKey{a.log.Verifier()}, now); err != (ErrRollback{Size: 40, Last: 50}) {
		t.Fatalf("after failed but persisted: %v", err)
	}
	if _, err := a.cos.SignHead(tree, a.log, now); err != nil {
		t.Fatal(err)
	}
}

// The rules of add-checkpoint for a log that the witness has no copy of.
func TestCosignWitness(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	a, w := newSite(t, "a.example"), newSite(t, "witness.example")
	trusted := []c2sp.VerifierKey{a.log.Verifier()}
	at := func(size uint64) []byte {
		root, err := tree.RootAt(size)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := a.log.Sign(checkpoint(size, root))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := c2sp.Assemble(checkpoint(size, root), sig)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	grow(t, tree, s, 500)
	proof := func(older, newer uint64) []Hash {
		p, err := tree.Consistency(older, newer)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ask := func(size, old uint64, p []Hash) error {
		_, err := w.cos.CosignWitness(at(size), old, p, trusted, now)
		return err
	}
	if err := ask(100, 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := ask(300, 0, nil); err != (ErrConflict{Old: 0, Last: 100}) {
		t.Errorf("wrong old size: %v", err)
	}
	if err := ask(300, 100, proof(99, 300)); !errors.As(err, new(c2sp.ErrForked)) {
		t.Errorf("wrong proof: %v", err)
	}
	if err := ask(90, 100, nil); err != (ErrRollback{Size: 90, Last: 100}) {
		t.Errorf("old above size: %v", err)
	}
	if err := ask(90, 90, nil); err != (ErrConflict{Old: 90, Last: 100}) {
		t.Errorf("rollback: %v", err)
	}
	if err := ask(100, 100, nil); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := ask(300, 100, proof(100, 300)); err != nil {
		t.Errorf("a step on: %v", err)
	}
	if w.cos.Last() != checkpoint(300, must(tree.RootAt(300))) || w.st.saved != w.cos.Last() {
		t.Errorf("state %v", w.st.saved)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Requests race; whatever the order, no signature is given for a size below one
// that was signed before.
func TestCosignerIsAtomic(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 400)
	a, w := newSite(t, "a.example"), newSite(t, "witness.example")
	trusted := []c2sp.VerifierKey{a.log.Verifier()}
	var wg sync.WaitGroup
	for size := uint64(1); size <= 400; size += 3 {
		cp := checkpoint(size, must(tree.RootAt(size)))
		signed := must(c2sp.Assemble(cp, must(a.log.Sign(cp))))
		wg.Go(func() {
			_, err := w.cos.CosignPeer(tree, signed, trusted, now)
			if err != nil && !errors.As(err, new(ErrRollback)) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if w.cos.Last().Size != 400 || w.st.saved.Size != 400 || w.st.rolledBack {
		t.Fatalf("ended at %d, rolled back: %v", w.cos.Last().Size, w.st.rolledBack)
	}
}

func TestCosignerStateOfAnotherLog(t *testing.T) {
	key, _ := c2sp.NewCosignKey("a.example", signingKey("x"))
	st := &memoryState{has: true, saved: c2sp.Checkpoint{Origin: "other.example/log", Root: c2sp.EmptyRoot()}}
	if _, err := NewCosigner(origin, key, st); !errors.As(err, new(c2sp.ErrOrigin)) {
		t.Fatalf("got %v", err)
	}
}

// A cosigner whose state came back from a backup has forgotten what it signed
// since. Advanced to a log that holds more, it signs nothing smaller again.
func TestAdvanceAfterRestore(t *testing.T) {
	s := newKV()
	tree := open(t, s, 0, c2sp.EmptyRoot())
	grow(t, tree, s, 50)
	a, b := newSite(t, "a.example"), newSite(t, "b.example")
	trusted := []c2sp.VerifierKey{b.log.Verifier()}
	head := func() []byte {
		signed, err := b.cos.SignHead(tree, b.log, now)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	backup := *a.st
	at50 := head()
	grow(t, tree, s, 80)
	if _, err := a.cos.CosignPeer(tree, head(), trusted, now); err != nil {
		t.Fatal(err)
	}
	*a.st = backup
	a.restart(t)
	grow(t, tree, s, 90)
	a.st.fail = errors.New("disk full")
	if err := a.cos.Advance(tree); !errors.Is(err, a.st.fail) {
		t.Fatalf("advanced without saving: %v", err)
	}
	a.st.fail = nil
	if err := a.cos.Advance(tree); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := a.cos.CosignPeer(tree, at50, trusted, now); err != (ErrRollback{Size: 50, Last: 90}) {
			t.Errorf("a smaller one: %v", err)
		}
		a.restart(t)
	}
	if _, err := a.cos.CosignPeer(tree, head(), trusted, now); err != nil {
		t.Error(err)
	}
	fs := newKV()
	short := open(t, fs, 0, c2sp.EmptyRoot())
	if err := a.cos.Advance(short); err != (ErrRollback{Size: 0, Last: 90}) {
		t.Errorf("a shorter log: %v", err)
	}
	batch := fs.batch()
	if _, _, err := short.Stage(make([][32]byte, 95), batch); err != nil {
		t.Fatal(err)
	}
	batch.commit()
	short.Advance()
	if err := a.cos.Advance(short); !errors.As(err, new(c2sp.ErrForked)) {
		t.Errorf("another log: %v", err)
	}
}
