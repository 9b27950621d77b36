package custodian

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

var (
	errCrash = errors.New("crash")
	errAway  = errors.New("out of reach")
)

// stageSet is the nodes of a network in the course of key generation, driven step by step in one goroutine.
type stageSet struct {
	*ledgertest.World
	nodes []*player
	deals map[uint16][]byte // by dealer: what it has published
}

// player is one node: its disk survives, its process does not.
type player struct {
	set       *stageSet
	index     int
	disk      *safe
	process   *Ceremony
	away      bool
	silent    bool                           // its dealings are out of reach, and it says nothing
	twist     func(ciphertext []byte) []byte // what it gives out instead
	submitted func() (persist bool, err error)
}

func newStageSet(t *testing.T, n int) *stageSet {
	t.Helper()
	l, err := ledger.Open(state.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	s := &stageSet{World: ledgertest.Begin(t, l, n, nil), deals: map[uint16][]byte{}}
	for i := range n {
		p := &player{set: s, index: i, disk: newSafe()}
		s.nodes = append(s.nodes, p)
		p.start()
	}
	return s
}

// start is a new process on the old disk.
func (p *player) start() {
	m := p.set.Members[p.index]
	p.process = &Ceremony{Submit: p.submit, Fetch: p.fetch, Log: slog.New(slog.DiscardHandler),
		Custodian: New(Config{Ledger: p.set.L, Member: m.Signer.Member(), Secrets: p.disk, Clock: func() uint64 { return p.set.Time }})}
}

func (p *player) submit(_ context.Context, actions ...protocol.Action) (protocol.Result, error) {
	if d, ok := actions[0].(*protocol.Deal); ok {
		if old, said := p.set.deals[uint16(p.index+1)]; said && !bytes.Equal(old, d.Message) {
			p.set.T.Fatalf("dealer %d published two dealings: the secrecy of both is spent", p.index+1)
		}
		p.set.deals[uint16(p.index+1)] = d.Message
	}
	persist, err := true, error(nil)
	if p.submitted != nil {
		persist, err = p.submitted()
	}
	var r protocol.Result
	if err == nil || persist {
		r = p.set.Do(p.set.Members[p.index], protocol.JournalID{}, actions...)
	}
	return r, err
}

func (p *player) fetch(_ context.Context, dealer protocol.MemberID, generation, epoch uint32) ([]byte, error) {
	for _, q := range p.set.nodes {
		if p.set.Members[q.index].Signer.Member() != dealer {
			continue
		}
		if q.away || q.silent {
			return nil, errAway
		}
		c, ok, err := q.process.Ciphertext(generation, epoch, uint16(p.index+1))
		if err == nil && !ok {
			err = errAway
		}
		if err == nil && q.twist != nil && q != p {
			c = q.twist(c)
		}
		return c, err
	}
	return nil, errAway
}

// round gives every node that is there one step; a node that crashes starts again.
func (s *stageSet) round() {
	for _, p := range s.nodes {
		if p.away {
			continue
		}
		if err := p.process.step(s.T.Context()); errors.Is(err, errCrash) {
			p.start()
		}
	}
}

func (s *stageSet) ceremony() keygen.Ceremony {
	v, err := s.L.View()
	if err != nil {
		s.T.Fatal(err)
	}
	defer v.Close()
	cer, _, err := keygen.CeremonyRow(v)
	if err != nil {
		s.T.Fatal(err)
	}
	return cer
}

// until runs rounds until the condition holds; the ledger's time moves by a second a round.
func (s *stageSet) until(what string, done func() bool) {
	s.T.Helper()
	for range 200 {
		if done() {
			return
		}
		s.round()
		s.Time += 1000
		s.Tick()
	}
	s.T.Fatal("never: ", what)
}

func (s *stageSet) holders() (n int) {
	for _, p := range s.nodes {
		if share, err := p.process.Custodian.shareOf(1); err == nil && share != nil {
			n++
		}
	}
	return n
}

// works opens a capsule with the last T shares on the disks, and demands that nothing but shares is left on them.
func (s *stageSet) works(holders int, leftOver ...string) {
	s.T.Helper()
	keys, ok, err := keygen.Keys(s.View(), 1)
	if err != nil || !ok {
		s.T.Fatal("no key", err)
	}
	c, err := threshold.Seal(rand.Reader, &keys.Public, []byte("sixteen bytes ok"), []byte("label"))
	if err != nil {
		s.T.Fatal(err)
	}
	v, err := c.Verify([]byte("label"))
	if err != nil {
		s.T.Fatal(err)
	}
	var answers []*threshold.Partials
	for _, p := range s.nodes {
		raw, ok := p.disk.m["share-1"]
		if !ok {
			continue
		}
		share, err := threshold.ParseShare(raw)
		if err != nil {
			s.T.Fatal(err)
		}
		a, err := threshold.Release(rand.Reader, share, []threshold.VerifiedCapsule{v}, threshold.Binding{Chain: "x", OneTimeKey: []byte{1}})
		if err != nil {
			s.T.Fatal(err)
		}
		answers = append(answers, a)
		if rest := slices.DeleteFunc(p.disk.names(), func(n string) bool { return n == "share-1" || slices.Contains(leftOver, n) }); len(rest) > 0 {
			s.T.Fatalf("node %d still keeps %v", p.index+1, rest)
		}
	}
	if len(answers) != holders {
		s.T.Fatalf("%d hold shares, expected %d", len(answers), holders)
	}
	secrets, err := threshold.Combine(keys.T, []*threshold.Capsule{c}, answers[len(answers)-keys.T:])
	if err != nil || string(secrets[0]) != "sixteen bytes ok" {
		s.T.Fatal(err)
	}
}

func TestCeremonyHonest(t *testing.T) {
	s := newStageSet(t, 4)
	s.until("all hold shares", func() bool { return s.holders() == 4 })
	s.round()
	s.works(4)
}

// A node dies at each write to its disk and at each submission, before or after it took effect, and goes on as a new process.
func TestCeremonyCrashAtEveryStep(t *testing.T) {
	for _, persist := range []bool{false, true} {
		for at := 1; ; at++ {
			crashed := false
			t.Run(fmt.Sprintf("%d/%v", at, persist), func(t *testing.T) {
				s := newStageSet(t, 3)
				steps := 0
				strike := func() (bool, error) {
					if steps++; steps == at {
						crashed = true
						return persist, errCrash
					}
					return true, nil
				}
				s.nodes[1].disk.fail, s.nodes[1].submitted = strike, strike
				s.until("all hold shares", func() bool { return s.holders() == 3 })
				s.round()
				s.round()
				s.works(3)
			})
			if !crashed {
				if at < 8 {
					t.Fatal("so few steps?", at)
				}
				break
			}
		}
	}
}

// A custodian that is away while the others accept is not waited for beyond the step's time, and gets its share when it comes back.
func TestCeremonyLateNode(t *testing.T) {
	s := newStageSet(t, 4)
	s.until("accepting", func() bool { return s.ceremony().Phase == keygen.Accepting })
	s.nodes[3].away = true
	s.until("three hold shares", func() bool { return s.holders() == 3 })
	for _, p := range s.nodes[:3] {
		if _, kept := p.disk.m["dealing-1-1"]; kept {
			t.Fatal("the polynomial is kept though the key is active")
		}
	}
	s.nodes[3].away = false
	s.nodes[3].start()
	s.until("the late one too", func() bool { return s.holders() == 4 })
	s.round()
	s.works(4, "ciphertext-1-1-4")
	if _, kept := s.nodes[3].disk.m["ciphertext-1-1-4"]; kept {
		t.Fatal("the late node keeps its own ciphertext")
	}
	// What the others keep for it is of use to nobody: the receiver key is gone everywhere.
}

// A dealer that never deals is left out; it gets a share all the same.
func TestCeremonySilentDealer(t *testing.T) {
	s := newStageSet(t, 4)
	s.until("dealing", func() bool { return s.ceremony().Phase == keygen.Dealing })
	s.nodes[0].away = true
	s.until("accepting without it", func() bool { return s.ceremony().Phase == keygen.Accepting })
	s.nodes[0].away = false
	s.until("all hold shares", func() bool { return s.holders() == 4 })
	s.round()
	s.works(4)
	if _, deals, err := keygen.QualifiedDeals(s.View(), s.L.Chain(), 1); err != nil || len(deals) != 3 {
		t.Fatal(len(deals), err)
	}
}

// A dealer gives one receiver garbage: that complains, the dealer reveals, everybody goes on with all four deals.
func TestCeremonyComplaintAndReveal(t *testing.T) {
	s := newStageSet(t, 4)
	twisted := 0
	s.nodes[2].twist = func(c []byte) []byte {
		if twisted++; twisted == 1 {
			return append(bytes.Clone(c[:len(c)-1]), c[len(c)-1]^1)
		}
		return c
	}
	s.until("all hold shares", func() bool { return s.holders() == 4 })
	s.round()
	s.works(4)
	row, ok, err := keygen.Complaint(s.View(), s.ceremony(), 3, 1)
	if err != nil || !ok || len(row.Share) == 0 {
		t.Fatal("no complaint, or no answer", ok, err)
	}
}

// A dealer that is out of reach after dealing, for all, is complained of by more than may be answered, and is out.
func TestCeremonyUnreachableDealer(t *testing.T) {
	s := newStageSet(t, 4)
	s.until("accepting", func() bool { return s.ceremony().Phase == keygen.Accepting })
	s.nodes[1].silent, s.nodes[1].away = true, true
	s.until("three hold shares", func() bool { return s.holders() == 3 })
	params, deals, err := keygen.QualifiedDeals(s.View(), s.L.Chain(), 1)
	if err != nil || params.N != 4 || slices.ContainsFunc(deals, func(d *threshold.Deal) bool { return d.Dealer == 2 }) {
		t.Fatal("the silent dealer qualified", err)
	}
	s.nodes[1].silent, s.nodes[1].away = false, false
	s.until("it comes back and gets its share", func() bool { return s.holders() == 4 })
}

// A node whose disk was wiped after it had offered its key must not complain: the answers would publish its share.
func TestCeremonyLostSecretsAreNotComplainedOf(t *testing.T) {
	s := newStageSet(t, 4)
	s.until("accepting", func() bool { return s.ceremony().Phase == keygen.Accepting })
	s.nodes[3].disk.m = map[string][]byte{}
	s.nodes[3].start()
	if err := s.nodes[3].process.step(t.Context()); !errors.Is(err, ErrSecretsLost) {
		t.Fatal(err)
	}
	s.until("the others hold shares", func() bool { return s.holders() == 3 })
	for d := uint16(1); d <= 4; d++ {
		if _, complained, err := keygen.Complaint(s.View(), s.ceremony(), d, 4); err != nil || complained {
			t.Fatal("complained of dealer", d, err)
		}
	}
}
