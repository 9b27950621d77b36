package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// gang is everybody who attacks together: some of the guardians, all members with all of their keys, a practitioner, the key of a device
// that was cut off, the controller's key from before a rotation, a thief's own. They try everything that can be signed.
type gang struct {
	*ledgertest.World
	in        protocol.JournalID
	guardians []*ledgertest.Who // those who are bad
	others    []*ledgertest.Who
	policy    []byte
	thief     *ledgertest.Who
	opened    []protocol.RecoveryID
}

func (g *gang) who(name string, kind protocol.ActorKind) *ledgertest.Who {
	k, pub := ledgertest.Key(name)
	return &ledgertest.Who{Name: name, Key: k, Signer: protocol.Signer{Kind: kind, ID: g.in, Key: pub}}
}

// moves are all actions by which a journal could change hands, in every false form that there is.
func (g *gang) moves() (out []protocol.Action) {
	chain, key, recipient := g.L.Chain(), g.thief.Signer.Key, sha256.Sum256([]byte("thief"))
	proof := ed25519.Sign(g.thief.Key, protocol.ControlMessage(chain, g.in, key, recipient))
	_, accomplice := ledgertest.Key("accomplice")
	own := protocol.GuardianPolicy{Groups: []protocol.GuardianGroup{{Need: 1, Keys: []protocol.PublicKey{accomplice}}}}
	for _, one := range g.guardians {
		own.Groups[0].Keys = append(own.Groups[0].Keys, one.Signer.Key)
	}
	var lower protocol.GuardianPolicy
	if err := protocol.Decode(g.policy, &lower); err != nil {
		g.T.Fatal(err)
	}
	for i := range lower.Groups {
		lower.Groups[i].Need = 1
	}
	lower.DelayMillis = 0
	message := protocol.ClaimMessage(chain, g.in, key, recipient)
	sponsor := g.Members[0]
	for _, policy := range [][]byte{protocol.Encode(own), protocol.Encode(lower), g.policy} { // the false ones first: each may propose once
		out = append(out, &protocol.ProposeRecovery{Policy: policy, Controller: key, Recipient: recipient, Proof: proof})
	}
	for _, id := range g.opened {
		out = append(out, &protocol.ApproveRecovery{Recovery: id})
	}
	return append(out,
		&protocol.ClaimJournal{Code: key, CodeProof: ed25519.Sign(g.thief.Key, message), Recipient: recipient, Agreement: ed25519.Sign(sponsor.Key, message)},
		&protocol.ReissueClaim{Claim: protocol.ClaimCommitment(chain, g.in, key)},
		&protocol.RotateController{Controller: key, Recipient: recipient, Proof: proof},
		&protocol.AddDevice{Key: key, Name: protocol.Hash{1}, Proof: ed25519.Sign(g.thief.Key, protocol.DeviceMessage(chain, g.in, key, protocol.Hash{1}))},
		&protocol.SetGuardians{Guardians: protocol.GuardianCommitment(chain, g.in, protocol.Encode(own))},
		&protocol.OpenJournal{Recipient: recipient, Sponsor: sponsor.Signer.Member(),
			Agreement: ed25519.Sign(sponsor.Key, protocol.SponsorMessage(chain, sponsor.Signer.Member(), g.in, key))},
		&protocol.RequestAccess{Labels: []protocol.Label{{1}}, Purpose: protocol.PurposePatientRequest, OneTime: [32]byte{9}, OneTimeKEM: protocol.OneTimeX25519},
		&protocol.Grant{Policy: []byte(`permit(principal, action, resource);`), NotAfter: g.Time + 1e6})
}

// attack has everybody try every move, alone and twice in one envelope, and sends what was sent again.
func (g *gang) attack() {
	var sent []*protocol.Verified
	for _, by := range append(append([]*ledgertest.Who{g.thief}, g.guardians...), g.others...) {
		for _, a := range g.moves() {
			sent = append(sent, g.Envelope(by, g.in, a))
			if by.Signer.Kind == protocol.ActorGuardian {
				sent = append(sent, g.Envelope(by, g.in, a, a))
			}
		}
	}
	for _, results := range [][]protocol.Result{g.Block(sent...).Results[0], g.Block(sent...).Results[0]} { // the second time replayed
		for i, r := range results {
			if _, ok := sent[i].Actions[0].(*protocol.ProposeRecovery); ok && r.OK() && len(g.opened) < len(g.guardians) {
				g.opened = append(g.opened, protocol.DerivedRecoveryID(r.ID, 0))
			}
		}
	}
}

// Every set of guardians, each together with all operators and stolen old keys: those below the threshold take nothing over, in whatever
// order, with whatever patience; those at it do, or the test would show nothing.
func TestCoalitionsBelowThresholdTakeNothing(t *testing.T) {
	policy := protocol.GuardianPolicy{Salt: [16]byte{1}, DelayMillis: 48 * 3600_000}
	names := []string{"mum", "dad", "sis", "gp", "lawyer"}
	var keys []protocol.PublicKey
	for _, n := range names {
		_, pub := ledgertest.Key(n)
		keys = append(keys, pub)
	}
	policy.Groups = []protocol.GuardianGroup{{Need: 2, Keys: keys[:3]}, {Need: 1, Keys: keys[3:]}}
	base, w := founded(t, 4, func(g *protocol.Genesis) { g.Params.QuotaMemberMinute, g.Params.QuotaJournalMinute = 1<<30, 1<<30 })
	doctor := w.Practitioner(w.Members[1], "doctor", protocol.RolePhysician)
	old := w.Patient(w.Members[0], "old")
	in := old.Journal()
	chain := w.L.Chain()
	k, pub := ledgertest.Key("patient")
	patient := &ledgertest.Who{Name: "patient", Key: k, Signer: protocol.PatientSigner(in, pub)}
	w.Must(old, in, &protocol.RotateController{Controller: pub, Recipient: [32]byte{1}, Proof: ed25519.Sign(k, protocol.ControlMessage(chain, in, pub, [32]byte{1}))})
	phone, phonePub := ledgertest.Key("phone")
	w.Must(patient, in, &protocol.AddDevice{Key: phonePub, Name: protocol.Hash{1}, Proof: ed25519.Sign(phone, protocol.DeviceMessage(chain, in, phonePub, protocol.Hash{1}))})
	w.Must(patient, in, &protocol.RevokeDevice{Key: phonePub})
	w.Must(patient, in, &protocol.SetGuardians{Guardians: protocol.GuardianCommitment(chain, in, protocol.Encode(policy))})
	taken := 0
	for set := range 1 << len(names) {
		world := *w
		world.L = open(t, base.Crash(false))
		g := &gang{World: &world, in: in, policy: protocol.Encode(policy)}
		g.thief = g.who("thief", protocol.ActorPatient)
		var bad []protocol.PublicKey
		var who []string
		for i, n := range names {
			if set>>i&1 == 1 {
				g.guardians, bad, who = append(g.guardians, g.who(n, protocol.ActorGuardian)), append(bad, keys[i]), append(who, n)
			}
		}
		g.others = append(append([]*ledgertest.Who{}, w.Members...), doctor, g.who("phone", protocol.ActorPatient), old,
			g.who("thief", protocol.ActorGuardian), g.who("accomplice", protocol.ActorGuardian), g.who("m1", protocol.ActorPatient), g.who("mum", protocol.ActorPatient))
		for _, wait := range []uint64{0, 47 * 3600_000, 2 * 3600_000, 31 * 24 * 3600_000} {
			g.Time += wait
			g.Tick()
			row, _, err := journal.Get(g.View(), in)
			if err != nil {
				t.Fatal(err)
			}
			if row.Controller != pub {
				break
			}
			g.attack()
		}
		row, _, err := journal.Get(g.View(), in)
		if err != nil {
			t.Fatal(err)
		}
		switch enough := policy.Satisfied(bad); {
		case !enough && row.Controller != pub:
			t.Errorf("%v took the journal over", who)
		case enough && row.Controller == pub:
			t.Errorf("%v are enough, and could not", who)
		case enough:
			taken++
		}
		devices, err := journal.Devices(g.View(), in)
		if err != nil || !policy.Satisfied(bad) && (len(devices) != 1 || devices[0].Row.Revoked == 0) {
			t.Errorf("%v made a device of the journal's: %+v", who, devices)
		}
		if err := g.L.Check(); err != nil {
			t.Fatal(fmt.Sprint(who), err)
		}
	}
	if taken != 12 { // (3 pairs + 1 triple) × 3 sets of providers
		t.Errorf("%d of %d sets are enough", taken, 1<<len(names))
	}
}
