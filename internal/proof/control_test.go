//go:build !js

package proof_test

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// hands are the keys through which a journal went.
type hands struct {
	id                                                protocol.JournalID
	program, claimant, rotated, phone, recovered, mum *ledgertest.Who
}

// passed plays everything by which a journal changes hands: opened provisionally, claimed, a device that comes and goes, rotation, guardians,
// a recovery that is vetoed and one that is completed, and each new hand at work.
func passed(t testing.TB) (*net, hands) {
	t.Helper()
	n := found(t, 4)
	chain := n.L.Chain()
	key := func(name string, kind protocol.ActorKind, in protocol.JournalID) *ledgertest.Who {
		k, pub := ledgertest.Key(name)
		return &ledgertest.Who{Name: name, Key: k, Signer: protocol.Signer{Kind: kind, ID: in, Key: pub}}
	}
	_, pub := ledgertest.Key("program")
	in := protocol.JournalID(pub[:16])
	patient := func(name string) *ledgertest.Who { return key(name, protocol.ActorPatient, in) }
	h := hands{id: in, program: patient("program"), claimant: patient("claimant"), rotated: patient("rotated"), phone: patient("phone"),
		recovered: patient("recovered"), mum: key("mum", protocol.ActorGuardian, in)}
	gp, code := key("gp", protocol.ActorGuardian, in), patient("code")
	sponsor := n.Members[0]
	recipient := [32]byte{1}
	open := &protocol.Grant{NotAfter: n.Time + 7200_000, Policy: policyOf(t, `permit(principal, action, resource);`)}
	n.Must(h.program, in, &protocol.OpenJournal{Recipient: protocol.NobodyRecipient(chain, in), Sponsor: sponsor.Signer.Member(), Claim: protocol.ClaimCommitment(chain, in, protocol.PublicKey{9}),
		Agreement: ed25519.Sign(sponsor.Key, protocol.SponsorMessage(chain, sponsor.Signer.Member(), in, h.program.Signer.Key))}, open)
	n.Must(h.program, in, &protocol.ReissueClaim{Claim: protocol.ClaimCommitment(chain, in, code.Signer.Key)})
	message := protocol.ClaimMessage(chain, in, h.claimant.Signer.Key, recipient)
	policy := protocol.GuardianPolicy{DelayMillis: 60_000, Groups: []protocol.GuardianGroup{{Need: 1, Keys: []protocol.PublicKey{h.mum.Signer.Key}},
		{Need: 1, Keys: []protocol.PublicKey{gp.Signer.Key}}}}
	raw := protocol.Encode(policy)
	n.Must(h.claimant, in, &protocol.ClaimJournal{Code: code.Signer.Key, CodeProof: ed25519.Sign(code.Key, message), Recipient: recipient,
		Guardians: protocol.GuardianCommitment(chain, in, raw), Agreement: ed25519.Sign(sponsor.Key, message)}, open)
	n.Must(h.claimant, in, &protocol.AddDevice{Key: h.phone.Signer.Key, Name: protocol.Hash{1}, Proof: ed25519.Sign(h.phone.Key, protocol.DeviceMessage(chain, in, h.phone.Signer.Key, protocol.Hash{1}))})
	n.Must(h.phone, in, open)
	n.Must(h.claimant, in, &protocol.RotateController{Controller: h.rotated.Signer.Key, Recipient: recipient,
		Proof: ed25519.Sign(h.rotated.Key, protocol.ControlMessage(chain, in, h.rotated.Signer.Key, recipient))}, open) // and goes on with the old one
	propose := &protocol.ProposeRecovery{Policy: raw, Controller: h.recovered.Signer.Key, Recipient: recipient,
		Proof: ed25519.Sign(h.recovered.Key, protocol.ControlMessage(chain, in, h.recovered.Signer.Key, recipient))}
	r := n.Must(h.mum, in, propose)
	n.Must(h.phone, in, &protocol.VetoRecovery{Recovery: protocol.DerivedRecoveryID(r.ID, 0)})
	n.Must(h.rotated, in, &protocol.RevokeDevice{Key: h.phone.Signer.Key}, open)
	r = n.Must(h.mum, in, propose)
	n.Must(gp, in, &protocol.ApproveRecovery{Recovery: protocol.DerivedRecoveryID(r.ID, 0)})
	n.Time += 3600_000
	n.Must(h.recovered, in, &protocol.SetGuardians{}, open)
	return n, h
}

// An export follows a journal through all hands; a quorum that lies about who held it when is found out.
func TestChangesOfHands(t *testing.T) {
	n, h := passed(t)
	signer := []proof.Code{proof.CodeSigner}
	as := func(who *ledgertest.Who, typ protocol.ActionType, k int) func(*net, *api.JournalProof) {
		return func(n *net, p *api.JournalProof) { resign(n, p, at(n, p, typ, k), who, same) }
	}
	stranger, pub := ledgertest.Key("stranger")
	eve := &ledgertest.Who{Key: stranger, Signer: protocol.GuardianSigner(h.id, pub)}
	last := func(p *api.JournalProof) int { return len(p.Journal.Entries) - 1 }
	for _, c := range []tampering{
		{"the truth", func(*net, *api.JournalProof) {}, []proof.Code{}},
		{"a grant by the sponsor's program after the claim", as(h.program, protocol.TypeGrant, 2), signer},
		{"a grant by a device before it was one", as(h.phone, protocol.TypeGrant, 1), signer},
		{"a rotation by a device", as(h.phone, protocol.TypeRotateController, 0), signer},
		{"a grant by a device that was cut off", func(n *net, p *api.JournalProof) { resign(n, p, last(p), h.phone, same) }, signer},
		{"a grant by the old controller after the recovery", func(n *net, p *api.JournalProof) { resign(n, p, last(p), h.rotated, same) }, signer},
		{"an approval by no guardian", as(eve, protocol.TypeApproveRecovery, 0), signer},
		{"an approval by the one who proposed", as(h.mum, protocol.TypeApproveRecovery, 0), signer},
		{"a veto by a guardian", as(h.mum, protocol.TypeVetoRecovery, 0), signer},
		{"a shorter delay", func(n *net, p *api.JournalProof) {
			forge(n, p, at(n, p, protocol.EventRecoveryWaiting, 0), func(e *protocol.Entry) {
				var w protocol.RecoveryWaiting
				if err := protocol.Decode(e.Action, &w); err != nil {
					n.T.Fatal(err)
				}
				w.Due -= 60_001
				e.Action = protocol.Encode(w)
			})
		}, signer},
		{"a recovery of the one that was vetoed", func(n *net, p *api.JournalProof) {
			first := entryOf(n.T, p.Journal.Entries[at(n, p, protocol.TypeProposeRecovery, 0)])
			forge(n, p, at(n, p, protocol.EventJournalRecovered, 0), func(e *protocol.Entry) {
				e.Action = protocol.Encode(protocol.RecoveryEvent{Recovery: protocol.DerivedRecoveryID(first.Cause, 0)})
			})
		}, signer},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			n.T = t
			p := n.prove(h.id)
			c.do(n, p)
			relog(n, p)
			r := verify(t, n.write(p), n.options())
			if got := append([]proof.Code{}, codes(r)...); !slices.Equal(got, c.want) && !(len(c.want) == 1 && slices.Contains(got, c.want[0])) {
				t.Errorf("found %v, want %v\n%v", got, c.want, r.Failures)
			}
		})
	}
}
