package ledger_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

var update = flag.Bool("update", false, "write docs/spec/vectors/ledger.json anew")

const vectorsFile = "../../docs/spec/vectors/ledger.json"

type vectors struct {
	About   string
	Genesis string
	AppHash protocol.Hash // after the genesis
	Blocks  []blockVector
}

type blockVector struct {
	Height, Time uint64
	Tick         bool
	Parcels      []string
	Results      []protocol.Reason // of all envelopes
	Size         uint64            // of the log
	AppHash      protocol.Hash
}

// history is a little of everything but key generation, whose messages are random.
func history(t *testing.T) (v vectors) {
	g, _ := ledgertest.Genesis(4)
	l, err := ledger.Open(state.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	w := ledgertest.Begin(t, l, 4, nil)
	v.About = "Execution of blocks in protocol version 1; see docs/spec/ledger.md. Keys in here are for tests alone."
	v.Genesis, v.AppHash = hex.EncodeToString(protocol.Encode(g)), l.Head().AppHash
	s := &script{t: t, w: w}
	s.reset()
	for _, m := range w.Members {
		s.meet(m)
	}
	for _, step := range []struct {
		wait  uint64
		tick  bool
		lines []string
	}{
		{lines: []string{"pat: open sponsor=m1 & grant w may=write to=m1", "m1: practitioner doctor", "m2 as=p: propose m5"}},
		{lines: []string{"m1 in=pat: record r1 label=1", "doctor in=pat: access label=1", "pat as=g: grant g to=doctor until=10s uses=2", "resend g"}},
		{lines: []string{"doctor in=pat: access a label=1", "m1: approve p", "m3: approve p", "m4: approve p"}},
		{},
		{wait: 700, tick: true},
		{wait: 900, tick: true},
		{wait: 9000, lines: []string{"doctor in=pat: access label=1,2", "pat: revoke w", "pat chain=other: revoke w"}},
		{wait: 20 * 60_000, tick: true},
		{lines: []string{"bea: open sponsor=m1 claim=C1 & grant b to=doctor", "bea key=bea2: claim C1 & guardians fam groups=2:mum,dad/1:gp delay=2h",
			"bea key=bea3: claim C1", "bea key=bea2: device phone", "bea key=bea2: turn bea4"}},
		{lines: []string{"bea key=phone: access label=1 purpose=PATRQT", "mum for=bea: recover rec to=bea5 policy=fam", "dad for=bea: second rec",
			"bea key=phone: veto rec", "gp for=bea: recover rec2 to=bea6 policy=fam", "mum for=bea: second rec2", "dad for=bea: second rec2"}},
		{wait: 2 * 3600_000, lines: []string{"bea key=phone: cutoff phone", "bea key=bea6: guardians none", "bea key=bea6: cutoff phone"}},
		{lines: []string{"m2: rotate m2b", "m2: rotate m2c", "m1: practitioner doctor status=suspended", "doctor in=pat: access record=zz purpose=BTG reason=x"}},
		{lines: []string{"m1: practitioner medic role=paramedic", "pat: grant e glass=yes & delegate kid level=share until=60s & card c1", "medic in=pat: access b label=1 purpose=BTG reason=y",
			"kid: access label=1 purpose=FAMRQT", "kid: grant k to=doctor until=50s"}},
		{wait: 60_000, tick: true},
		{wait: 72 * 3600_000, tick: true},
	} {
		w.Time += step.wait
		b := ledger.Block{Height: l.Head().Height + 1, Time: w.Time, Tick: step.tick}
		var parcel []*protocol.Verified
		var raw [][]byte
		for _, line := range step.lines {
			e := s.envelope(line)
			parcel, raw = append(parcel, e), append(raw, e.Envelope)
		}
		bv := blockVector{Height: b.Height, Time: b.Time, Tick: b.Tick}
		if len(parcel) > 0 {
			b.Parcels = [][]*protocol.Verified{parcel}
			bv.Parcels = []string{hex.EncodeToString(protocol.EncodeParcel(raw))}
		}
		applied := w.Apply(b)
		for _, results := range applied.Results {
			for _, r := range results {
				bv.Results = append(bv.Results, r.Reason)
			}
		}
		bv.Size, bv.AppHash = applied.Head.Size, applied.Head.AppHash
		v.Blocks = append(v.Blocks, bv)
	}
	return v
}

// The same blocks give the same hashes as when the vectors were written: a change is a change of consensus.
func TestVectors(t *testing.T) {
	out, err := json.MarshalIndent(history(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, '\n')
	if *update {
		if err := os.WriteFile(vectorsFile, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorsFile)
	if err != nil || !bytes.Equal(have, out) {
		t.Fatalf("%s is not what the ledger does (%v); if the change of consensus is meant, run the test with -update", vectorsFile, err)
	}
}

// And a ledger that knows nothing but the file arrives at the same.
func TestVectorsRead(t *testing.T) {
	raw, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil || len(v.Blocks) < 5 {
		t.Fatal("an empty corpus shows nothing", err)
	}
	l := must(ledger.Open(state.NewMemory()))
	if h, err := l.Begin(must(hex.DecodeString(v.Genesis))); err != nil || h.AppHash != v.AppHash {
		t.Fatal(err)
	}
	for _, bv := range v.Blocks {
		b := ledger.Block{Height: bv.Height, Time: bv.Time, Tick: bv.Tick}
		for _, p := range bv.Parcels {
			verified, errs := protocol.NewVerifier(16).Verify(must(protocol.DecodeParcel(must(hex.DecodeString(p)))))
			for _, err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
			b.Parcels = append(b.Parcels, verified)
		}
		applied := must(l.Apply(b))
		var reasons []protocol.Reason
		for _, results := range applied.Results {
			for _, r := range results {
				reasons = append(reasons, r.Reason)
			}
		}
		if err := l.Commit(); err != nil || applied.Head.AppHash != bv.AppHash || applied.Head.Size != bv.Size || fmt.Sprint(reasons) != fmt.Sprint(bv.Results) {
			t.Fatalf("block %d: %+v %v, expected %+v (%v)", bv.Height, applied.Head, reasons, bv, err)
		}
	}
}
