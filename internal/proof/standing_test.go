//go:build !js

package proof_test

import (
	"crypto/ed25519"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// standing is what the ledger's tables say of a journal, in the form of proof.Standing's parts.
type standing struct {
	Contracts map[protocol.ContractID]standingContract
	Delegates map[protocol.PublicKey]protocol.Level
	Devices   []protocol.PublicKey
	Records   map[protocol.RecordID]consent.Resource
	Card      bool
	Guardians bool
	Closed    bool
}

type standingContract struct {
	Policy              string
	NotBefore, NotAfter uint64
	UsesMax, Uses       uint32
	By                  protocol.PublicKey
	Within              []protocol.Label
	Granted             uint64
}

// tables reads it from the ledger.
func (n *net) tables(in protocol.JournalID) (out standing) {
	n.T.Helper()
	v := n.View()
	out = standing{Contracts: map[protocol.ContractID]standingContract{}, Delegates: map[protocol.PublicKey]protocol.Level{}, Records: map[protocol.RecordID]consent.Resource{}}
	contracts, err := consent.Contracts(v, in)
	for _, c := range must(n.T, contracts, err) {
		if r := c.Row; r.State == consent.StateActive {
			out.Contracts[c.ID] = standingContract{string(r.Policy), r.NotBefore, r.NotAfter, r.UsesMax, r.Uses, r.By, r.Within, r.Granted}
		}
	}
	delegations, err := consent.Delegations(v, in)
	for _, d := range must(n.T, delegations, err) {
		out.Delegates[d.Key] = d.Level
	}
	devices, err := journal.Devices(v, in)
	for _, d := range must(n.T, devices, err) {
		if d.Row.Revoked == 0 {
			out.Devices = append(out.Devices, d.Key)
		}
	}
	_, card, err := consent.HasCard(v, in)
	out.Card = must(n.T, card, err)
	row, _, err := journal.Get(v, in)
	out.Guardians, out.Closed = !must(n.T, row, err).Guardians.IsZero(), row.Closed != 0
	records, err := journal.Records(v, in)
	veil, err2 := journal.Veil(v, in)
	for _, r := range must(n.T, records, err) {
		closed, err := must(n.T, veil, err2).Closed(r)
		if must(n.T, closed, err) {
			continue
		}
		resource, err := ledger.Resource(v, r)
		out.Records[r.ID] = must(n.T, resource, err)
	}
	return out
}

// entries is the same from nothing but a verified export.
func (n *net) entries(in protocol.JournalID) (out standing) {
	n.T.Helper()
	r := proof.Check(n.prove(in), n.options())
	if !r.OK {
		n.T.Fatal(r.Failures)
	}
	s := r.Standing()
	out = standing{Contracts: map[protocol.ContractID]standingContract{}, Delegates: map[protocol.PublicKey]protocol.Level{}, Records: map[protocol.RecordID]consent.Resource{},
		Card: s.Card, Guardians: s.Guardians, Closed: s.Closed, Devices: s.Devices}
	for _, c := range s.Contracts {
		out.Contracts[c.ID] = standingContract{string(c.Terms.Policy), c.Terms.NotBefore, c.Terms.NotAfter, c.Terms.UsesMax, c.Uses, c.By, c.Within, c.Granted}
	}
	for _, d := range s.Delegates {
		out.Delegates[d.Key] = d.Level
	}
	for _, x := range s.Records {
		out.Records[x.ID] = consent.Resource{Journal: in, Label: x.Label, Record: x.As, Author: x.Author, Recorded: x.Recorded}
	}
	if len(out.Devices) == 0 {
		out.Devices = nil
	}
	return out
}

func (n *net) sameStanding(after string, in protocol.JournalID) standing {
	n.T.Helper()
	want, got := n.tables(in), n.entries(in)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		n.T.Errorf("after %s, the entries say something else than the ledger's tables (-ledger +entries):\n%s", after, diff)
	}
	return got
}

// What stands in a journal can be told from its verified entries alone, whatever happened in it.
func TestStanding(t *testing.T) {
	n := story(t, 4)
	in := n.patient.Journal()
	labs, allergies := n.handle.Label("labs"), n.handle.Label("allergies")
	seen := n.sameStanding("the story", in)
	if len(seen.Contracts) == 0 || len(seen.Records) != 3 {
		t.Fatalf("the story has nothing to show: %+v", seen)
	}
	delegate := func(by *ledgertest.Who, name string, level protocol.Level, window uint64, may bool, labels ...protocol.Label) *ledgertest.Who {
		k, pub := ledgertest.Key(name)
		slices.SortFunc(labels, func(a, b protocol.Label) int { return slices.Compare(a[:], b[:]) })
		n.Must(by, in, &protocol.Delegate{Key: pub, Level: level, Labels: labels, NotAfter: n.Time + window, MayDelegate: may,
			Proof: ed25519.Sign(k, protocol.DelegateProofMessage(n.L.Chain(), in, pub))})
		return &ledgertest.Who{Name: name, Key: k, Signer: protocol.DelegateSigner(in, pub)}
	}
	anyone := policyOf(t, `permit(principal is Practitioner, action == Action::"read", resource);`)
	son := delegate(n.patient, "son", protocol.LevelAct, 600_000, true, labs, allergies)
	kid := delegate(son, "kid", protocol.LevelShare, 300_000, false, labs)
	short := delegate(n.patient, "short", protocol.LevelShare, 5_000, false)
	n.Must(kid, in, &protocol.Grant{NotAfter: n.Time + 60_000, Policy: anyone})
	n.Must(son, in, &protocol.Grant{NotAfter: n.Time + 60_000, Policy: anyone, UsesMax: 3})
	n.Must(short, in, &protocol.Grant{NotAfter: n.Time + 4_000, Policy: anyone})
	n.Access(n.doctor, in, protocol.PurposeTreat, labs)
	n.Must(n.patient, in, &protocol.SetCard{Card: protocol.CardID{7}, Sealed: []byte("sealed")})
	k, phone := ledgertest.Key("phone")
	name := protocol.Hash{8}
	n.Must(n.patient, in, &protocol.AddDevice{Key: phone, Name: name, Proof: ed25519.Sign(k, protocol.DeviceMessage(n.L.Chain(), in, phone, name))})
	n.Must(n.patient, in, &protocol.SetGuardians{Guardians: protocol.Hash{9}})
	if s := n.sameStanding("delegates, a card, a device and guardians", in); len(s.Delegates) != 3 || len(s.Devices) != 1 || !s.Card || !s.Guardians {
		t.Fatalf("%+v", s)
	}
	n.Time += 10_000
	n.Tick()
	if s := n.sameStanding("a delegation's end by itself", in); len(s.Delegates) != 2 {
		t.Fatalf("%+v", s)
	}
	n.Must(n.patient, in, &protocol.EndDelegation{Key: son.Signer.Key}) // takes the kid along, and what both granted
	n.Must(n.patient, in, &protocol.RevokeDevice{Key: phone}, &protocol.SetCard{}, &protocol.SetGuardians{})
	if s := n.sameStanding("the end of a delegation and of what came from it", in); len(s.Delegates) != 0 || len(s.Devices) != 0 || s.Card || s.Guardians {
		t.Fatalf("%+v", s)
	}
	n.Must(n.patient, in, &protocol.Erase{Records: []protocol.RecordID{{2}}})
	n.Tick()
	if s := n.sameStanding("an erasure", in); len(s.Records) != 2 {
		t.Fatalf("%+v", s)
	}
	n.Must(n.patient, in, &protocol.SetCard{Card: protocol.CardID{7}, Sealed: []byte("sealed")})
	n.Must(n.patient, in, &protocol.Erase{Everything: true})
	n.Tick()
	if s := n.sameStanding("everything was erased", in); len(s.Records) != 0 || !s.Closed || s.Card {
		t.Fatalf("%+v", s)
	}
}

// A journal that changed hands, by claim and by recovery, with the devices that died with the old key.
func TestStandingAfterChangesOfHands(t *testing.T) {
	n, h := passed(t)
	n.sameStanding("changes of hands", h.id)

	chain, in := n.L.Chain(), h.id
	tablet := &ledgertest.Who{Name: "tablet"}
	tablet.Key, tablet.Signer.Key = ledgertest.Key("tablet")
	raw := protocol.Encode(protocol.GuardianPolicy{Groups: []protocol.GuardianGroup{{Need: 1, Keys: []protocol.PublicKey{h.mum.Signer.Key}}}})
	n.Must(h.recovered, in, &protocol.SetGuardians{Guardians: protocol.GuardianCommitment(chain, in, raw)},
		&protocol.AddDevice{Key: tablet.Signer.Key, Name: protocol.Hash{2}, Proof: ed25519.Sign(tablet.Key, protocol.DeviceMessage(chain, in, tablet.Signer.Key, protocol.Hash{2}))})
	k, next := ledgertest.Key("next")
	n.Must(h.mum, in, &protocol.ProposeRecovery{Policy: raw, Controller: next, Recipient: [32]byte{3}, Proof: ed25519.Sign(k, protocol.ControlMessage(chain, in, next, [32]byte{3}))})
	if s := n.sameStanding("a proposal", in); len(s.Devices) != 1 || !s.Guardians {
		t.Fatalf("%+v", s)
	}
	n.Time += 100 * 24 * 3600_000
	n.Tick()
	if s := n.sameStanding("a recovery with a device and guardians in force", in); len(s.Devices) != 0 || s.Guardians {
		t.Fatalf("%+v", s)
	}
}
