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

// The delay ends to the millisecond of block time. Before, the journal is the old key's, and it or a device vetoes; from then on neither is heard, in
// whatever order a proposer puts what comes in that block, and however late the block is.
func TestRecoveryDelayToTheMillisecond(t *testing.T) {
	_, mumPub := ledgertest.Key("mum")
	policy := protocol.Encode(protocol.GuardianPolicy{DelayMillis: 7_200_123, Groups: []protocol.GuardianGroup{{Need: 1, Keys: []protocol.PublicKey{mumPub}}}})
	begin := func(t *testing.T) (w *ledgertest.World, old, phone, next *ledgertest.Who, recovery protocol.RecoveryID, due uint64) {
		l, err := ledger.Open(state.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		w = ledgertest.Begin(t, l, 1, nil)
		w.Keygen()
		old = w.Patient(w.Members[0], "ada")
		in, chain := old.Journal(), w.L.Chain()
		who := func(name string) *ledgertest.Who {
			k, pub := ledgertest.Key(name)
			return &ledgertest.Who{Name: name, Key: k, Signer: protocol.PatientSigner(in, pub)}
		}
		phone, next = who("phone"), who("next")
		w.Must(old, in, &protocol.AddDevice{Key: phone.Signer.Key, Name: protocol.Hash{1}, Proof: ed25519.Sign(phone.Key, protocol.DeviceMessage(chain, in, phone.Signer.Key, protocol.Hash{1}))})
		w.Must(old, in, &protocol.SetGuardians{Guardians: protocol.GuardianCommitment(chain, in, policy)})
		mum, _ := ledgertest.Key("mum")
		at := w.Time
		r := w.Must(&ledgertest.Who{Name: "mum", Key: mum, Signer: protocol.GuardianSigner(in, mumPub)}, in, &protocol.ProposeRecovery{Policy: policy, Controller: next.Signer.Key,
			Recipient: [32]byte{1}, Proof: ed25519.Sign(next.Key, protocol.ControlMessage(chain, in, next.Signer.Key, [32]byte{1}))})
		return w, old, phone, next, protocol.DerivedRecoveryID(r.ID, 0), at + 7_200_123
	}
	for name, c := range map[string]struct {
		from  int64 // of the due time, ms
		over  bool
		first bool // the new key's envelope stands first in the block
	}{
		"a millisecond before": {-1, false, false}, "at it": {0, true, false}, "at it, the new key first": {0, true, true}, "a millisecond after": {1, true, false}, "a year late": {365 * 86_400_000, true, false},
	} {
		for vetoer := range 2 {
			t.Run(fmt.Sprintf("%s, vetoed by %d", name, vetoer), func(t *testing.T) {
				w, old, phone, next, recovery, due := begin(t)
				in := old.Journal()
				w.Time = uint64(int64(due) + c.from)
				veto := w.Envelope([]*ledgertest.Who{old, phone}[vetoer], in, &protocol.VetoRecovery{Recovery: recovery})
				taking := w.Envelope(next, in, &protocol.SetGuardians{})
				block := []*protocol.Verified{veto, taking}
				if c.first {
					block = []*protocol.Verified{taking, veto}
				}
				results := w.Block(block...).Results[0]
				if c.first {
					results[0], results[1] = results[1], results[0]
				}
				if results[0].OK() == c.over || results[1].OK() != c.over {
					t.Fatalf("the veto: %s, the new key: %s", results[0].Reason, results[1].Reason)
				}
				w.Time = max(w.Time, due+1)
				w.Patient(w.Members[0], "somebody else") // time goes on
				row, _, err := journal.Get(w.View(), in)
				if want := map[bool]protocol.PublicKey{true: next.Signer.Key, false: old.Signer.Key}[c.over]; err != nil || row.Controller != want || row.Due != 0 {
					t.Fatalf("%+v %v", row, err)
				}
				if r := w.Do(old, in, &protocol.VetoRecovery{Recovery: recovery}); r.OK() {
					t.Error("vetoed when it was over")
				}
			})
		}
	}
}
