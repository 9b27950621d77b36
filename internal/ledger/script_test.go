package ledger_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Scripts of the ledger: testdata/*.txt, rewritten with -rewrite. A script is a list of commands on one network:
//
//	network members=4 [quota-member=N] [quota-journal=N] [review=72h] [recovery-min=1h] [pebble] [keyless]   begins anew; keyless: the key is still to be made
//	do                       each line of the input is an envelope in a block of its own, 100 ms apart
//	block [after=5s] [tick] [count]   all lines are envelopes of one block; count shows results by reason
//	wait 10s                 time passes and no block is made
//	tick | empty             a block with nothing but a tick; with nothing at all
//	restart | crash          opens the store again, as it is or as a power failure leaves it, and applies again what was lost
//	drop                     like block, but the block is applied and never committed
//	bulk PATIENT MEMBER N LABEL   the member writes N records, 512 a block
//	erasures NAME | holds NAME | amendment RECORD | records NAME
//	matrix ACTOR ACTOR…      each line an action (before « / », whom it is about): what would come of it, by each actor; [KEY@NAME] signs with another key.
//	                         An action of no journal is tried without one.
//	journal NAME | constitution | log last=N      entries
//	contracts NAME | access NAME | members | key | head | delegates NAME | sessions NAME | card NAME | due
//
//	control NAME             who controls a journal: controller, devices, recoveries
//
// A line is ACTOR [in=PATIENT, or none] [for=PATIENT, as a guardian] [as=NAME] [expires=10s] [chain=X] [version=N] [key=NAME] : ACTION & ACTION…, the actions as in
// script_actions_test.go; «resend NAME» sends an earlier envelope again. After each command the whole ledger is checked.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{t: t, tried: map[protocol.ActionType]bool{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out := s.run(d)
			if err := s.w.L.Check(); err != nil {
				d.Fatalf(t, "%v", err)
			}
			return out
		})
		// A new action has a row there, or nobody has looked who may sign it.
		for n := range protocol.EventSeal {
			if filepath.Base(path) == "who-may-sign" && protocol.NewAction(n) != nil && !s.tried[n] {
				t.Errorf("no matrix tries %s", n)
			}
		}
	})
}

type script struct {
	t         *testing.T
	w         *ledgertest.World
	store     state.Store
	dir       string // of Pebble; empty: in memory
	who       map[string]*ledgertest.Who
	envelopes map[string]*protocol.Verified
	names     map[string]string // ids, as bytes, to the names of the script
	ids       map[string][16]byte
	ceremony  ceremony
	policies  map[string]protocol.GuardianPolicy
	tried     map[protocol.ActionType]bool // in matrices
}

func (s *script) run(d *datadriven.TestData) string {
	switch d.Cmd {
	case "network":
		return s.network(d)
	case "do":
		var out strings.Builder
		for _, line := range lines(d.Input) {
			v := s.envelope(line)
			applied := s.apply(ledger.Block{Parcels: [][]*protocol.Verified{{v}}})
			fmt.Fprintln(&out, s.result(applied.Results[0][0], v))
		}
		return out.String()
	case "block", "drop":
		return s.block(d)
	case "bulk":
		return s.bulk(d)
	case "wait":
		s.w.Time += millis(d.CmdArgs[0].Key)
		return "now " + s.when(s.w.Time)
	case "matrix":
		return s.matrix(d)
	case "tick":
		return s.summary(s.apply(ledger.Block{Tick: true}))
	case "empty":
		return s.summary(s.apply(ledger.Block{}))
	case "restart":
		return s.reopen(false)
	case "crash":
		return s.reopen(true)
	}
	return s.show(d)
}

func (s *script) network(d *datadriven.TestData) string {
	members := 4
	change := func(g *protocol.Genesis) {
		for _, a := range d.CmdArgs {
			switch a.Key {
			case "quota-member":
				g.Params.QuotaMemberMinute = uint32(number(a.Vals[0]))
			case "quota-journal":
				g.Params.QuotaJournalMinute = uint32(number(a.Vals[0]))
			case "review":
				g.Params.ReviewMillis = millis(a.Vals[0])
			case "recovery-min":
				g.Params.RecoveryMillisMin = millis(a.Vals[0])
			}
		}
	}
	d.MaybeScanArgs(s.t, "members", &members)
	s.reset()
	s.dir = ""
	if d.HasArg("pebble") {
		s.dir = s.t.TempDir()
	}
	s.store = s.open(state.NewMemory())
	s.w = ledgertest.Begin(s.t, s.ledger(), members, change)
	for _, m := range s.w.Members {
		s.meet(m)
	}
	if !d.HasArg("keyless") {
		s.w.Keygen()
	}
	s.w.Time = (s.w.Time/60_000 + 1) * 60_000 // scripts begin with a fresh minute
	return s.describeHead()
}

// reset forgets everybody.
func (s *script) reset() {
	s.who, s.envelopes = map[string]*ledgertest.Who{}, map[string]*protocol.Verified{}
	s.names, s.ids = map[string]string{}, map[string][16]byte{}
	s.policies = map[string]protocol.GuardianPolicy{}
	s.ceremony = ceremony{map[string]*threshold.ReceiverKey{}, map[string]*threshold.Dealing{}}
}

func (s *script) open(memory state.Store) state.Store {
	if s.dir == "" {
		return memory
	}
	store, err := state.OpenPebble(s.dir, state.PebbleOptions{CacheBytes: 1 << 20, MemtableBytes: 1 << 20})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = store.Close() })
	return store
}

func (s *script) ledger() *ledger.Ledger {
	l, err := ledger.Open(s.store)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

func (s *script) reopen(losePower bool) string {
	if m, ok := s.store.(*state.Memory); ok {
		s.store = m.Crash(losePower)
	} else {
		if err := s.store.Close(); err != nil {
			s.t.Fatal(err)
		}
		s.store = s.open(nil)
	}
	before := s.w.L.Head()
	s.w.L = s.ledger()
	lost := s.w.Blocks[s.w.L.Head().Height:]
	for _, b := range lost {
		must(s.w.L.Apply(b))
		if err := s.w.L.Commit(); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.w.L.Head() != before {
		s.t.Fatalf("%+v before, %+v now", before, s.w.L.Head())
	}
	return fmt.Sprintf("%d blocks applied again; %s", len(lost), s.describeHead())
}

func (s *script) meet(w *ledgertest.Who) {
	s.who[w.Name] = w
	s.names[string(w.Signer.ID[:])] = w.Name
	s.ids[w.Name] = w.Signer.ID
}

func (s *script) apply(b ledger.Block) *ledger.Applied {
	b.Height, b.Time = s.w.L.Head().Height+1, s.w.Time
	return s.w.Apply(b)
}

func (s *script) block(d *datadriven.TestData) string {
	b := ledger.Block{Height: s.w.L.Head().Height + 1, Tick: d.HasArg("tick")}
	if a, ok := d.Arg("after"); ok {
		s.w.Time += millis(a.Vals[0])
	}
	b.Time = s.w.Time
	var envelopes []*protocol.Verified
	for _, line := range lines(d.Input) {
		times := 1
		if n, rest, ok := strings.Cut(line, " × "); ok {
			times, line = int(number(n)), rest
		}
		for range times {
			envelopes = append(envelopes, s.envelope(line))
		}
	}
	b.Parcels = [][]*protocol.Verified{envelopes}
	if d.Cmd == "drop" {
		if _, err := s.w.L.Apply(b); err != nil {
			s.t.Fatal(err)
		}
		return "applied, not committed; " + s.describeHead()
	}
	applied := s.w.Apply(b)
	var out strings.Builder
	if d.HasArg("count") {
		counts := map[protocol.Reason]int{}
		for _, r := range applied.Results[0] {
			counts[r.Reason]++
		}
		for r := range protocol.ReasonsEnd {
			if counts[r] > 0 {
				fmt.Fprintf(&out, "%d %s\n", counts[r], r)
			}
		}
	} else {
		for i, r := range applied.Results[0] {
			fmt.Fprintln(&out, s.result(r, envelopes[i]))
		}
	}
	return out.String() + s.summary(applied)
}

func (s *script) summary(a *ledger.Applied) string {
	if !a.Changed {
		return "nothing changed\n"
	}
	return fmt.Sprintf("%d entries\n", a.Entries)
}

func lines(input string) (out []string) {
	for line := range strings.Lines(input) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func millis(text string) uint64 {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		panic(err)
	}
	return uint64(d.Milliseconds())
}

// when is a time as the scripts write it: since the genesis.
func (s *script) when(at uint64) string {
	return (time.Duration(at-ledgertest.Start) * time.Millisecond).String()
}

// must is for what scripts get wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var errScript = errors.New("script")
