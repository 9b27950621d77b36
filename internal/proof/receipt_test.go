//go:build !js

package proof_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (n *net) receipt(t testing.TB, e api.Entry, checkpoint []byte) []byte {
	t.Helper()
	text, err := proof.Receipt(e, checkpoint)
	return must(t, text, err)
}

func checkReceipt(t testing.TB, text []byte, o proof.Options) *proof.ReceiptReport {
	t.Helper()
	r, err := proof.VerifyReceipt(text, o)
	if err != nil && !errors.Is(err, proof.ErrNotProof) || (err != nil && r.OK) {
		t.Fatal(err)
	}
	return r
}

func TestReceipts(t *testing.T) {
	n := story(t, 4)
	p := n.prove(n.patient.Journal())
	o := n.options()
	o.Policy = []byte(p.Policy)
	for _, e := range p.Journal.Entries {
		r := checkReceipt(t, n.receipt(t, e, []byte(p.Checkpoint)), o)
		if !r.OK || r.Entry == nil || r.Entry.Index != e.Index || r.Chain != "test-net" || !r.TrustRoot.Given || r.Checkpoint.Have != 4 {
			t.Fatalf("%+v", r)
		}
	}
	e := p.Journal.Entries[4]
	good := string(n.receipt(t, e, []byte(p.Checkpoint)))
	moved := e
	moved.Index++
	bent := e
	bent.Raw = bytes.Clone(e.Raw)
	bent.Raw[0] ^= 1
	bare := e
	bare.Proof = nil
	for _, c := range []struct {
		name   string
		text   string
		change func(*proof.Options)
		want   []proof.Code
	}{
		{"as it is", good, nil, nil},
		{"its journal", good, func(o *proof.Options) { o.Journal = n.patient.Journal() }, nil},
		{"another journal", good, func(o *proof.Options) { o.Journal = n.other.Journal() }, []proof.Code{proof.CodeJournal}},
		{"no policy", good, func(o *proof.Options) { o.Policy = nil }, []proof.Code{proof.CodeNoTrustRoot}},
		{"a bad policy", good, func(o *proof.Options) { o.Policy = []byte("x") }, []proof.Code{proof.CodePolicy}},
		{"stale", good, func(o *proof.Options) { o.MaxAge, o.Now = time.Second, o.Now+5000 }, []proof.Code{proof.CodeStale}},
		{"more cosigners", good, func(o *proof.Options) { o.MinCosigners = 5 }, []proof.Code{proof.CodeCosigners}},
		{"a fork", good, func(o *proof.Options) { o.Pin = &proof.Pin{Size: n.L.Head().Size} }, []proof.Code{proof.CodeForked}},
		{"a later pin", good, func(o *proof.Options) { o.Pin = &proof.Pin{Size: n.L.Head().Size + 9} }, nil},
		{"another place", string(n.receipt(t, moved, []byte(p.Checkpoint))), nil, []proof.Code{proof.CodeNotInLog}},
		{"another entry", string(n.receipt(t, bent, []byte(p.Checkpoint))), nil, []proof.Code{proof.CodeNotInLog, proof.CodeExtra}},
		{"no path", string(n.receipt(t, bare, []byte(p.Checkpoint))), nil, []proof.Code{proof.CodeNotInLog}},
		{"too few cosigners", string(n.receipt(t, e, n.checkpoint(n.Time, 1, 2))), nil, []proof.Code{proof.CodeCosigners}},
		{"no extra", good[:strings.Index(good, "extra")] + good[strings.Index(good, "index"):], nil, []proof.Code{proof.CodeExtra}},
		{"a stranger's signature", good + "— somebody " + strings.Repeat("A", 96) + "\n", nil, []proof.Code{proof.CodeUncanonical}},
		{"cut", good[:len(good)-2], nil, []proof.Code{proof.CodeMalformed}},
		{"not a receipt", "hello", nil, []proof.Code{proof.CodeUnreadable}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			o := o
			if c.change != nil {
				c.change(&o)
			}
			r := checkReceipt(t, []byte(c.text), o)
			var got []proof.Code
			for _, f := range r.Failures {
				got = append(got, f.Code)
			}
			if !slices.Equal(got, c.want) || r.OK != (len(c.want) == 0) {
				t.Errorf("found %v, want %v\n%v", got, c.want, r.Failures)
			}
		})
	}
}

// Whatever byte of a receipt is changed, in whatever way, the change is noticed.
func TestEveryByteOfAReceiptCounts(t *testing.T) {
	n := story(t, 2)
	p := n.prove(n.patient.Journal())
	o := n.options()
	o.Policy = []byte(p.Policy)
	good := n.receipt(t, p.Journal.Entries[1], []byte(p.Checkpoint))
	if r := checkReceipt(t, good, o); !r.OK {
		t.Fatal(r.Failures)
	}
	changed := bytes.Clone(good)
	for i := range good {
		for _, with := range []byte{good[i] ^ 1<<(i%8), good[i] + 1, '\r'} {
			if with == good[i] {
				continue
			}
			changed[i] = with
			if checkReceipt(t, changed, o).OK {
				t.Errorf("byte %d: %q turned into %q, and nothing is noticed", i, good[i], with)
			}
		}
		changed[i] = good[i]
	}
}

func TestReceiptText(t *testing.T) {
	n := story(t, 4)
	p := n.prove(n.patient.Journal())
	o := n.options()
	o.Policy = []byte(p.Policy)
	r := checkReceipt(t, n.receipt(t, p.Journal.Entries[at(n, p, protocol.TypeRequestAccess, 0)], []byte(p.Checkpoint)), o)
	golden(t, "receipt.txt", r.Text())
	if _, err := proof.Receipt(api.Entry{}, nil); err == nil {
		t.Error("a receipt of nothing")
	}
}
