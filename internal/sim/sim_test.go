package sim

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

type seeded struct{ *rand.Rand }

func (s seeded) n(max int) int { return s.IntN(max) }

func env(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSim runs one history after another until SIM_BLOCKS blocks are made; each of its own seed, which a failure prints.
func TestSim(t *testing.T) {
	seed, blocks := env(t, "SIM_SEED", uint64(time.Now().UnixNano())), env(t, "SIM_BLOCKS", 400)
	if testing.Short() {
		blocks = min(blocks, 150)
	}
	per := min(blocks, 2_000)
	for made := uint64(0); made < blocks; made += per {
		t.Logf("SIM_SEED=%d SIM_BLOCKS=%d", seed, per)
		history(t, seeded{rand.New(rand.NewPCG(seed, 1))}, int(per))
		if t.Failed() {
			return
		}
		seed++
	}
}

// showingBlocks is how long a history must be to have met everything; it goes on for a while if it has not.
const showingBlocks = 300

func history(t *testing.T, d dice, blocks int) {
	members := 3 + d.n(5)
	key, err := wallet.NewOneTimeKey()
	if err != nil {
		t.Fatal(err)
	}
	_, w := founded(t, members, func(g *protocol.Genesis) {
		g.Params.QuotaMemberMinute, g.Params.QuotaJournalMinute = uint32(20+d.n(300)), uint32(6+d.n(60))
		g.Params.AccessMillis = uint64(60_000 + d.n(protocol.AccessDeadlineMillis-60_000))
		g.Params.ReviewMillis = protocol.BreakGlassSessionMillis + uint64(1+d.n(6*3600_000))
		if d.n(4) == 0 { // sessions that end with the time for their review
			g.Params.ReviewMillis = uint64(60_000 + d.n(protocol.BreakGlassSessionMillis))
		}
	})
	town := newTown(d, w, true)
	town.oneTime = key.Public()
	g, _ := w.L.Genesis()
	genesis := protocol.Encode(g)

	replicas := []*replica{newReplica(d, t, "the one on Pebble", t.TempDir())}
	for i := range 1 + members/2 {
		replicas = append(replicas, newReplica(d, t, "replica "+strconv.Itoa(i+1), ""))
	}
	var past []step
	for _, b := range w.Blocks { // of key generation: executed by now, so only the last head is known
		past = append(past, step{block: b})
	}
	heads(t, genesis, past)
	board := newBoard(town, key)
	told := 0 // to patients, of who can read what
	for n := 0; n < blocks || blocks >= showingBlocks && n < 4*blocks && len(town.missed()) > 0; n++ {
		past = append(past, town.next())
		for range 1 + len(replicas)/2 {
			r := pick(d, replicas)
			if !r.begun() {
				if _, err := r.l.Begin(genesis); err != nil {
					t.Fatal(err)
				}
			}
			r.event(past)
		}
		board.ask()
		if n%20 == 19 {
			told += town.compareStandings(t)
		}
		if n%200 == 199 {
			check(t, pick(d, replicas))
		}
	}
	for _, r := range replicas {
		if !r.begun() {
			if _, err := r.l.Begin(genesis); err != nil {
				t.Fatal(err)
			}
		}
		for r.l.Head().Height < uint64(len(past)) {
			r.deliver(past)
		}
		check(t, r)
		r.stop(false)
		r.start() // what a clean stop leaves is the same
		if r.l.Head() != past[len(past)-1].head {
			t.Fatalf("%s: %+v after a restart", r.name, r.l.Head())
		}
		r.stop(false)
	}
	if err := w.L.Check(); err != nil {
		t.Fatal(err)
	}
	if told += town.compareStandings(t); told == 0 && blocks >= showingBlocks {
		t.Error("nobody could ever read anything: what patients are told shows nothing")
	}
	t.Logf("%d members, %d blocks, %d entries; %d accesses asked for, released %d, refused %d, opened %d", members, len(past), w.L.Head().Size,
		len(town.accesses), board.released, board.refused, board.opened)
	t.Log("results and decisions: ", town.tally)
	t.Logf("%d of %d aims met by height %d", len(allAims)-len(town.unmet()), len(allAims), town.metAt)
	if missed := town.missed(); len(missed) > 0 && blocks >= showingBlocks {
		t.Errorf("the history shows nothing of:\n%s", strings.Join(missed, "\n"))
	}
	if blocks >= showingBlocks && (board.released == 0 || board.refused == 0) {
		t.Error("nothing was released, or nothing refused: the history shows nothing")
	}
}

func check(t *testing.T, r *replica) {
	t.Helper()
	if !r.begun() {
		return
	}
	if err := r.l.Check(); err != nil {
		r.fatalf("%v", err)
	}
}

// heads executes the blocks of key generation once more, to learn what they must do.
func heads(t *testing.T, genesis []byte, past []step) {
	t.Helper()
	r := newReplica(nil, t, "the learner", "")
	if _, err := r.l.Begin(genesis); err != nil {
		t.Fatal(err)
	}
	for i := range past {
		applied, err := r.l.Apply(past[i].block)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.l.Commit(); err != nil {
			t.Fatal(err)
		}
		past[i].results, past[i].head = fmt.Sprint(slices.Concat(applied.Results...)), applied.Head
	}
}

// board is the custodians, each with its real share and a clock of its own.
type board struct {
	*town
	key                       *wallet.OneTimeKey
	custodians                []*custodian.Custodian
	clock                     uint64 // what all of them read next
	released, refused, opened int
}

type shareOnly []byte

func (s shareOnly) Get(name string) ([]byte, bool, error) { return s, name == "share-1", nil }
func (s shareOnly) Put(string, []byte) error              { return errors.New("read only") }
func (s shareOnly) Delete(string) error                   { return errors.New("read only") }

func newBoard(t *town, key *wallet.OneTimeKey) *board {
	b := &board{town: t, key: key}
	for i, share := range t.Shares {
		b.custodians = append(b.custodians, custodian.New(custodian.Config{Ledger: t.L, Member: t.Members[i].Signer.Member(),
			Fresh: func() (uint64, uint64, bool) { return t.L.Head().Size, b.clock, true }, Clock: func() uint64 { return b.clock },
			Sign: func([]byte) []byte { return make([]byte, 64) }, Secrets: shareOnly(share.Bytes()), Record: func(custodian.Released) error { return nil }}))
	}
	return b
}

// ask asks for a record of an access that somebody once requested, and for one that makes custodians say what they have not said yet.
func (b *board) ask() {
	if len(b.accesses) == 0 {
		return
	}
	recent := b.accesses[max(0, len(b.accesses)-60):]
	if open := slices.DeleteFunc(slices.Clone(recent), func(id protocol.AccessID) bool { return len(b.model.accesses[id].records) == 0 }); len(open) > 0 && b.n(6) > 0 {
		recent = open // mostly one that once was permitted
	}
	id := pick(b, recent)
	if len(b.capsules) == 0 {
		return
	}
	record := b.records[b.n(len(b.records))]
	if a := b.model.accesses[id]; len(a.records) > 0 && b.n(8) > 0 {
		record = pick(b, a.records)
	}
	head := b.L.Head().Time
	b.clock = head - 30_000 + uint64(b.n(60_000))
	if b.n(6) == 0 {
		b.clock = head + uint64(b.n(2*protocol.AccessDeadlineMillis))
	}
	b.demand(id, record)
	b.clock = head
	if id, record, ok := b.unasked(recent); ok {
		b.demand(id, record)
	}
}

// demand asks some custodian for a record, and demands exactly what the model says.
func (b *board) demand(id protocol.AccessID, record protocol.RecordID) {
	head, a := b.L.Head().Time, b.model.accesses[id]
	// Some records lie where their author did not mean them to, with a capsule made for elsewhere, as a thief of capsules would do it.
	against := b.model.mayRelease(id, record, max(head, b.clock))
	want := against == "" && b.model.records[record] == b.madeFor[record]
	request := custodian.Request{Access: id, Generation: 1, Records: []protocol.RecordID{record}, Capsules: [][]byte{b.capsules[record]}}
	_, err := pick(b, b.custodians).Release(b.T.Context(), request)
	var refusal *custodian.Refusal
	if err != nil && !errors.As(err, &refusal) {
		b.T.Fatal(err)
	}
	if (err == nil) != want {
		b.T.Fatalf("access %s, record %s, at %d: released %v (%v), the model says %v (%s)", id, record, b.clock, err == nil, err, want, against)
	}
	b.asked[answer{a.reader.Kind, !a.session.IsZero(), against}]++
	if err != nil {
		b.refused++
		return
	}
	if b.released++; b.released%25 == 1 {
		b.open(request)
	}
}

// unasked finds an access about which custodians must say something now that they must have said in every history, and have not yet.
func (b *board) unasked(from []protocol.AccessID) (id protocol.AccessID, record protocol.RecordID, ok bool) {
	for _, other := range from {
		a := b.model.accesses[other]
		for _, r := range a.records {
			is := answer{a.reader.Kind, !a.session.IsZero(), b.model.mayRelease(other, r, max(b.L.Head().Time, b.clock))}
			if slices.Contains(askedOfCustodians, is) && b.asked[is] == 0 && b.model.records[r] == b.madeFor[r] {
				return other, r, true
			}
		}
	}
	return id, record, false
}

// open reads the record with T custodians' answers.
func (b *board) open(request custodian.Request) {
	capsule, err := threshold.ParseCapsule(request.Capsules[0])
	if err != nil {
		b.T.Fatal(err)
	}
	var answers []*threshold.Partials
	for i, c := range b.custodians[:b.Keys.T] {
		a, err := c.Release(b.T.Context(), request)
		if err != nil {
			b.T.Fatal(err)
		}
		plain, err := b.key.OpenShare(wallet.ShareInfo{Chain: b.L.Chain(), Access: request.Access, Custodian: b.Members[i].Signer.Member(), Generation: 1, Epoch: 1}, a.Sealed)
		if err != nil {
			b.T.Fatal(err)
		}
		p, err := threshold.ParsePartials(plain[:len(plain)-64])
		if err != nil {
			b.T.Fatal(err)
		}
		answers = append(answers, p)
	}
	secrets, err := threshold.Combine(b.Keys.T, []*threshold.Capsule{capsule}, answers)
	if err != nil || !bytes.Equal(secrets[0], request.Records[0][:]) {
		b.T.Fatal("the answers do not open the record", err)
	}
	b.opened++
}
