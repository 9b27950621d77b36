package ledger_test

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// BenchmarkApply executes blocks of 1,024 records by four members into 256 journals, on Pebble: what the ledger itself costs an action,
// signatures and consensus apart.
func BenchmarkApply(b *testing.B) {
	const journals, block = 256, 1024
	store, err := state.OpenPebble(b.TempDir(), state.PebbleOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	l, err := ledger.Open(store)
	if err != nil {
		b.Fatal(err)
	}
	w := ledgertest.Begin(b, l, 4, func(g *protocol.Genesis) { g.Params.QuotaMemberMinute, g.Params.QuotaJournalMinute = 1<<31, 1<<31 })
	w.Keygen()
	patients := make([]*ledgertest.Who, journals)
	for i := range patients {
		patients[i] = w.Patient(w.Members[i%4], string(rune('a'+i%26))+string(rune('a'+i/26)))
		for _, m := range w.Members {
			policy, _, err := consent.Render("contributor", consent.Params{Grantee: consent.Grantee{Member: protocol.MemberID(m.Signer.ID)}})
			if err != nil {
				b.Fatal(err)
			}
			w.Must(patients[i], patients[i].Journal(), &protocol.Grant{Policy: policy, NotAfter: w.Time + 1e9})
		}
	}
	n := uint64(0)
	random := func() (h [32]byte) {
		n++
		return sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
	}
	var blocks [][]*protocol.Verified
	for done := 0; done < b.N; done += block {
		all := make([]*protocol.Verified, block)
		for i := range all {
			r := random()
			all[i] = w.Envelope(w.Members[r[0]%4], patients[r[1]].Journal(), &protocol.AddRecord{Record: protocol.RecordID(r[:16]), Label: protocol.Label{1 + r[2]%8},
				Ciphertext: random(), Size: 4096, Capsule: random(), Generation: 1, Manifest: random(), Root: random()})
		}
		blocks = append(blocks, all)
		w.Time += 100
	}
	w.Time = l.Head().Time + 100
	b.ReportAllocs()
	b.ResetTimer()
	for _, all := range blocks {
		if out := w.Block(all...); !out.Results[0][0].OK() {
			b.Fatal(out.Results[0][0].Reason)
		}
	}
}
