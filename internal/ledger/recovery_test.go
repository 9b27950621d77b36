package ledger_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// More journals are due to change hands than one block takes. From the moment on they obey no old key, though most entries come a block
// later: times decide. The idle network is woken for it.
func TestManyJournalsChangeHandsAtOnce(t *testing.T) {
	l, err := ledger.Open(state.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	w := ledgertest.Begin(t, l, 1, nil)
	w.Keygen()
	const n = protocol.EndsBlockMax + 20
	chain := w.L.Chain()
	mum, mumPub := ledgertest.Key("mum")
	policy := protocol.Encode(protocol.GuardianPolicy{Groups: []protocol.GuardianGroup{{Need: 1, Keys: []protocol.PublicKey{mumPub}}}})
	patients := make([]*ledgertest.Who, n)
	var guardians, proposals []*protocol.Verified
	for i := range patients {
		p := w.Patient(w.Members[0], fmt.Sprintf("p%d", i))
		patients[i] = p
		in := p.Journal()
		guardians = append(guardians, w.Envelope(p, in, &protocol.SetGuardians{Guardians: protocol.GuardianCommitment(chain, in, policy)}))
		k, pub := ledgertest.Key(fmt.Sprintf("new%d", i))
		proposals = append(proposals, w.Envelope(&ledgertest.Who{Key: mum, Signer: protocol.GuardianSigner(in, mumPub)}, in, &protocol.ProposeRecovery{Policy: policy,
			Controller: pub, Recipient: [32]byte{1}, Proof: ed25519.Sign(k, protocol.ControlMessage(chain, in, pub, [32]byte{1}))}))
	}
	w.Block(guardians...)
	w.Block(proposals...)
	due := w.Time - 100 + 3600_000
	if at, ok := w.L.NextDue(); !ok || at != due {
		t.Fatal("the network is not woken when it is due", at, due, ok)
	}
	w.Time = due
	var sent []*protocol.Verified
	for _, p := range patients {
		sent = append(sent, w.Envelope(p, p.Journal(), &protocol.SetGuardians{}))
	}
	counts := map[protocol.Reason]int{}
	for _, r := range w.Block(sent...).Results[0] {
		counts[r.Reason]++
	}
	if counts[protocol.WrongKey] != protocol.EndsBlockMax || counts[protocol.RecoveryDue] != n-protocol.EndsBlockMax {
		t.Fatal(counts)
	}
	if at, ok := w.L.NextDue(); !ok || at != due {
		t.Fatal("the rest is forgotten", at, ok)
	}
	w.Block()
	for i, p := range patients {
		row, _, err := journal.Get(w.View(), p.Journal())
		if _, pub := ledgertest.Key(fmt.Sprintf("new%d", i)); err != nil || row.Controller != pub || row.Due != 0 {
			t.Fatalf("journal %d: %+v %v", i, row, err)
		}
	}
	if err := w.L.Check(); err != nil {
		t.Fatal(err)
	}
}
