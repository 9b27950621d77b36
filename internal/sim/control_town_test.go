package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// guardiansOfTown are everybody's guardians: a few keys, so that they meet.
const guardiansOfTown = 5

func (t *town) guardianKey(n int) protocol.PublicKey { return t.newKey(fmt.Sprintf("guardian-%d", n)) }

// policyOf draws a policy, mostly one of few, so that commitment and proposal often fit.
func (t *town) policyOf() []byte {
	p := protocol.GuardianPolicy{Salt: [16]byte{byte(t.n(2))}, DelayMillis: []uint64{0, 60_000, 7_200_000}[t.n(3)]}
	first := protocol.GuardianGroup{Need: uint8(1 + t.n(2)), Keys: []protocol.PublicKey{t.guardianKey(0), t.guardianKey(1), t.guardianKey(2)}}
	p.Groups = append(p.Groups, first)
	if t.n(2) == 0 {
		p.Groups = append(p.Groups, protocol.GuardianGroup{Need: 1, Keys: []protocol.PublicKey{t.guardianKey(3), t.guardianKey(4)}})
	}
	return protocol.Encode(p)
}

// aKey is a key for a new controller or device: new, or one that was there before.
func (t *town) aKey(kind string) protocol.PublicKey {
	if t.n(4) == 0 && t.named > 0 {
		return t.newKey(fmt.Sprintf("%s-%d", kind, 1+t.n(t.named)))
	}
	return t.newKey(t.name(kind))
}

// proof is the key's signature, or now and then another's.
func (t *town) proof(key protocol.PublicKey, message []byte) []byte {
	if t.n(12) == 0 {
		key = t.newKey("mallory")
	}
	return ed25519.Sign(t.keyring[key], message)
}

func (t *town) codeKey(in protocol.JournalID) protocol.PublicKey {
	return t.newKey(fmt.Sprintf("code-%x-%d", in[:2], t.n(2)))
}

// controlling is what somebody does about who controls a journal, rightly or not.
func (t *town) controlling(patient *ledgertest.Who) *protocol.Verified {
	in, chain := patient.Journal(), t.L.Chain()
	by := *t.current(patient)
	j := t.model.journals[in]
	if j != nil && len(j.control.devices) > 0 && t.n(3) == 0 {
		key := pick(t, j.control.devices).key
		by.Key, by.Signer.Key = t.keyring[key], key
	}
	recovery := protocol.RecoveryID{1}
	if j != nil && len(j.control.recoveries) > 0 {
		recovery = pick(t, j.control.recoveries).id
	}
	switch t.n(10) {
	case 0:
		key := t.aKey("device")
		if j != nil && len(j.control.recoveries) > 0 && t.n(3) == 0 {
			if next := pick(t, j.control.recoveries).controller; t.keyring[next] != nil {
				key = next
			}
		}
		return t.sign(&by, in, &protocol.AddDevice{Key: key, Name: protocol.Hash{1}, Proof: t.proof(key, protocol.DeviceMessage(chain, in, key, protocol.Hash{1}))})
	case 1:
		key := t.aKey("device")
		if j != nil && len(j.control.devices) > 0 {
			key = pick(t, j.control.devices).key
		}
		return t.sign(&by, in, &protocol.RevokeDevice{Key: key})
	case 2:
		key := t.aKey("controller")
		recipient := sha256.Sum256(key[:])
		if t.n(2) == 0 {
			recipient = protocol.NobodyRecipient(chain, in)
		}
		return t.sign(&by, in, &protocol.RotateController{Controller: key, Recipient: recipient, Proof: t.proof(key, protocol.ControlMessage(chain, in, key, recipient))}, t.grant())
	case 3:
		a := &protocol.SetGuardians{Guardians: protocol.GuardianCommitment(chain, in, t.policyOf())}
		if t.n(6) == 0 {
			a.Guardians = protocol.Hash{}
		}
		return t.sign(&by, in, a)
	case 4:
		return t.sign(&by, in, &protocol.VetoRecovery{Recovery: recovery})
	case 5:
		return t.claiming(patient)
	}
	key := t.guardianKey(t.n(guardiansOfTown))
	helper := &ledgertest.Who{Name: "guardian", Key: t.keyring[key], Signer: protocol.GuardianSigner(in, key)}
	if t.n(12) == 0 {
		helper = t.reader()
	}
	if t.n(3) > 0 {
		return t.sign(helper, in, &protocol.ApproveRecovery{Recovery: recovery})
	}
	to := t.aKey("controller")
	recipient := sha256.Sum256(to[:])
	policy := t.policyOf()
	for range 24 { // mostly the one committed to
		if j == nil || protocol.GuardianCommitment(chain, in, policy) == j.control.guardians || t.n(20) == 0 {
			break
		}
		policy = t.policyOf()
	}
	return t.sign(helper, in, &protocol.ProposeRecovery{Policy: policy, Controller: to, Recipient: recipient, Proof: t.proof(to, protocol.ControlMessage(chain, in, to, recipient))})
}

// claiming claims a journal, or replaces its code.
func (t *town) claiming(patient *ledgertest.Who) *protocol.Verified {
	in, chain := patient.Journal(), t.L.Chain()
	if t.n(4) == 0 {
		return t.sign(t.current(patient), in, &protocol.ReissueClaim{Claim: protocol.ClaimCommitment(chain, in, t.codeKey(in))})
	}
	key, code := t.aKey("controller"), t.codeKey(in)
	sponsor := pick(t, t.Members)
	if j := t.model.journals[in]; j != nil && t.n(8) > 0 {
		for _, m := range t.Members {
			if m.Signer.Member() == j.sponsor {
				sponsor = t.current(m)
			}
		}
	}
	recipient := sha256.Sum256(key[:])
	message := protocol.ClaimMessage(chain, in, key, recipient)
	a := &protocol.ClaimJournal{Code: code, CodeProof: t.proof(code, message), Recipient: recipient, Agreement: ed25519.Sign(sponsor.Key, message)}
	return t.sign(&ledgertest.Who{Name: "claimant", Key: t.keyring[key], Signer: protocol.PatientSigner(in, key)}, in, a)
}
