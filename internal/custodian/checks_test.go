package custodian

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Each of the nine checks alone: what is asked for passes all the others, so that each test fails without its check.

func TestCheck1Fresh(t *testing.T) {
	w := newWard(t, 4)
	req := w.request(w.ask(), w.record(1, protocol.Label{1}, nil))
	req.Access = w.ask()
	for name, fresh := range map[string]func() (uint64, uint64, bool){
		"none":        func() (uint64, uint64, bool) { return 0, 0, false },
		"old":         func() (uint64, uint64, bool) { return w.L.Head().Size, w.clock - CheckpointAgeMillisMax - 1, true },
		"not reached": func() (uint64, uint64, bool) { return w.L.Head().Size + 1, w.clock, true },
	} {
		t.Log(name)
		w.fresh = fresh
		w.refused(req, 1, 0, true)
	}
	w.fresh = func() (uint64, uint64, bool) { return w.L.Head().Size, w.clock - CheckpointAgeMillisMax, true }
	if _, err := w.custodians[0].Release(t.Context(), req); err != nil {
		t.Fatal(err)
	}
}

func TestCheck2Share(t *testing.T) {
	w := newWard(t, 4)
	r := w.record(1, protocol.Label{1}, nil)
	req := w.request(w.ask(), r)
	other := req
	other.Generation = 2
	w.refused(other, 2, protocol.WrongGeneration, false)

	c := w.custodians[0]
	stale, err := threshold.ParseShare(w.Shares[0].Bytes())
	if err != nil {
		t.Fatal(err)
	}
	stale.Epoch = 2
	c.Secrets.(*safe).m[shareName(1)] = stale.Bytes()
	w.refused(req, 2, 0, true)
	delete(c.Secrets.(*safe).m, shareName(1))
	c.shares = map[uint32]*threshold.Share{}
	w.refused(req, 2, 0, true)
}

func TestCheck3Access(t *testing.T) {
	w := newWard(t, 4)
	r := w.record(1, protocol.Label{1}, nil)
	access := w.ask()
	w.refused(w.request(protocol.AccessID{7}, r), 3, protocol.NoContract, true)

	// A refused access has an entry and no row.
	id, out := w.Access(w.doctor, w.patient.Journal(), protocol.PurposeTreat, protocol.Label{2})
	if out.Permitted {
		t.Fatal("permitted")
	}
	w.refused(w.request(id, r), 3, protocol.NoContract, true)

	// The ledger's time stands still at night; the custodian's own clock does not.
	row, ok, err := w.access(access)
	if err != nil || !ok {
		t.Fatal(err)
	}
	before := w.clock
	w.clock = row.Deadline - 1
	if _, err := w.custodians[0].Release(t.Context(), w.request(access, r)); err != nil {
		t.Fatal(err)
	}
	w.clock = row.Deadline
	w.refused(w.request(access, r), 3, protocol.Ended, false)
	w.clock = before

	// And if the custodian's clock is slow, block time counts.
	w.Time = row.Deadline
	w.Must(w.patient, w.patient.Journal(), &protocol.Revoke{Contract: w.grant}) // a block at that time, which also forgets the access
	w.refused(w.request(access, r), 3, protocol.NoContract, true)
}

func TestCheck4Contracts(t *testing.T) {
	w := newWard(t, 4)
	r := w.record(1, protocol.Label{1}, nil)
	access := w.ask()
	req := w.request(access, r)
	if _, err := w.custodians[0].Release(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	no := w.permit(`forbid(principal, action == Action::"read", resource);`)
	w.refused(req, 4, protocol.Forbidden, false)
	w.Must(w.patient, w.patient.Journal(), &protocol.Revoke{Contract: no})

	set := &protocol.SetPractitioner{Practitioner: protocol.PractitionerID(w.doctor.Signer.ID), Key: w.doctor.Signer.Key, Role: protocol.RolePhysician,
		Status: protocol.PractitionerSuspended, ValidUntil: w.Time + 1e9, Commitment: protocol.Hash{1}}
	w.Must(w.clinic, protocol.JournalID{}, set)
	w.refused(req, 4, protocol.NoCredential, false)
	set.Status, set.ValidUntil = protocol.PractitionerActive, w.Time+60_000
	w.Must(w.clinic, protocol.JournalID{}, set)
	if _, err := w.custodians[0].Release(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	w.clock = w.Time + 60_000 // the credential has run out by the custodian's clock
	w.refused(req, 4, protocol.NoCredential, false)
	w.Time += 61_000
	w.Tick() // or by block time, if the custodian's clock is slow
	w.clock = w.Time - 30_000
	w.refused(req, 4, protocol.NoCredential, false)
	set.ValidUntil = w.Time + 1e9
	w.clock = w.Time

	set.Key = protocol.PublicKey{9} // another key: the reader that asked is no more
	w.Must(w.clinic, protocol.JournalID{}, set)
	w.refused(req, 4, protocol.WrongKey, false)
	set.Key = w.doctor.Signer.Key
	if reason := w.Do(w.clinic, protocol.JournalID{}, set).Reason; reason != protocol.KeyInUse {
		t.Fatal(reason)
	}
}

func TestCheck4Revocation(t *testing.T) {
	w := newWard(t, 4)
	req := w.request(w.ask(), w.record(1, protocol.Label{1}, nil))
	w.record(2, protocol.Label{1}, nil)
	req.Access = w.ask()
	w.Must(w.patient, w.patient.Journal(), &protocol.Revoke{Contract: w.grant})
	w.refused(req, 4, protocol.Withdrawn, false)
	// Another contract for the same does not revive an access that stands on the revoked one.
	w.permit(`permit(principal, action == Action::"read", resource);`)
	w.book = nil
	if _, err := w.custodians[0].Release(t.Context(), req); err == nil {
		t.Fatal("revived")
	}
}

func TestCheck4WindowByOwnClock(t *testing.T) {
	w := newWard(t, 4)
	r := w.record(1, protocol.Label{1}, nil)
	w.Must(w.patient, w.patient.Journal(), &protocol.Revoke{Contract: w.grant})
	w.Must(w.patient, w.patient.Journal(), &protocol.Grant{NotAfter: w.Time + 60_000, Policy: canonical(t, `permit(principal, action == Action::"read", resource);`)})
	req := w.request(w.ask(), r)
	w.clock = w.Time + 60_000
	w.refused(req, 4, protocol.Ended, false)
}

func TestCheck5Records(t *testing.T) {
	w := newWard(t, 4)
	r1 := w.record(1, protocol.Label{1}, nil)
	access := w.ask()
	later := w.record(2, protocol.Label{1}, nil) // permitted by the same contract, and not part of this access
	w.refused(w.request(access, later), 5, protocol.NoContract, false)
	both := w.request(access, later, r1, later)
	w.about(both, w.refused(both, 5, protocol.NoContract, false), 0, 2)
	twice := w.request(access, r1, r1)
	w.about(twice, w.refused(twice, 5, protocol.NoContract, false), 1)
	w.refused(Request{Access: access, Generation: 1, Records: []protocol.RecordID{{99}}, Capsules: [][]byte{w.capsules[r1]}}, 4, protocol.NoContract, false)
}

func TestCheck6Capsules(t *testing.T) {
	w := newWard(t, 4)
	r1, r2 := w.record(1, protocol.Label{1}, nil), w.record(2, protocol.Label{1}, nil)
	req := w.request(w.ask(), r1)
	req.Capsules = [][]byte{w.capsules[r2]}
	w.refused(req, 6, protocol.UnknownRecord, false)
	req.Capsules = [][]byte{{1, 2, 3}}
	w.refused(req, 6, protocol.UnknownRecord, false)
	mixed := w.request(w.ask(), r1, r2)
	mixed.Capsules[0] = mixed.Capsules[1]
	w.about(mixed, w.refused(mixed, 6, protocol.UnknownRecord, false), 0)
	// Valid under this record's label, and not the one that its entry commits to.
	c, err := threshold.Seal(newReader(77), &w.Keys.Public, []byte("another file key"), wallet.CapsuleLabel(w.L.Chain(), 1, w.patient.Journal(), protocol.Label{1}, r1))
	if err != nil {
		t.Fatal(err)
	}
	req.Capsules = [][]byte{c.Bytes()}
	w.refused(req, 6, protocol.UnknownRecord, false)
}

// An author copies the capsule of a record that it cannot read into a record of its own, which it can.
func TestCheck7Labels(t *testing.T) {
	w := newWard(t, 4)
	victim := wallet.CapsuleLabel(w.L.Chain(), 1, protocol.JournalID{5}, protocol.Label{9}, protocol.RecordID{200})
	copied := w.record(1, protocol.Label{1}, victim)
	w.refused(w.request(w.ask(), copied), 7, protocol.UnknownRecord, false)
	honest := w.record(2, protocol.Label{1}, nil)
	mixed := w.request(w.ask(), honest, copied)
	w.about(mixed, w.refused(mixed, 7, protocol.UnknownRecord, false), 1)
	// What was found valid under one label is not remembered as valid under another.
	if _, err := w.custodians[0].Release(t.Context(), w.request(w.ask(), honest)); err != nil {
		t.Fatal(err)
	}
	w.refused(w.request(w.ask(), copied), 7, protocol.UnknownRecord, false)
}

func TestCheck8OneTimeKey(t *testing.T) {
	w := newWard(t, 4)
	r := w.record(1, protocol.Label{1}, nil)
	w.refused(w.request(w.askWith([32]byte{1}), r), 8, protocol.BadRequest, false) // a point of small order: everybody could open the answer
	access := w.ask()
	a, err := w.custodians[0].Release(t.Context(), w.request(access, r))
	if err != nil {
		t.Fatal(err)
	}
	thief, err := wallet.NewOneTimeKey()
	if err != nil {
		t.Fatal(err)
	}
	info := wallet.ShareInfo{Chain: w.L.Chain(), Access: access, Custodian: w.clinic.Signer.Member(), Generation: 1, Epoch: 1}
	if _, err := thief.OpenShare(info, a.Sealed); err == nil {
		t.Fatal("opened with another key than the entry's")
	}
	for name, bend := range map[string]func(*wallet.ShareInfo){
		"chain": func(i *wallet.ShareInfo) { i.Chain = "other" }, "access": func(i *wallet.ShareInfo) { i.Access[0] ^= 1 },
		"custodian": func(i *wallet.ShareInfo) { i.Custodian[0] ^= 1 }, "generation": func(i *wallet.ShareInfo) { i.Generation++ },
		"epoch": func(i *wallet.ShareInfo) { i.Epoch++ },
	} {
		bent := info
		bend(&bent)
		if _, err := w.key.OpenShare(bent, a.Sealed); err == nil {
			t.Fatal("the answer is not bound to the", name)
		}
	}
}

func TestCheck9WrittenDownFirst(t *testing.T) {
	w := newWard(t, 4)
	r := w.record(1, protocol.Label{1}, nil)
	req := w.request(w.ask(), r)
	w.recording = errors.New("disk full")
	w.refused(req, 9, 0, true)
	w.recording, w.book = nil, nil
	if _, err := w.custodians[0].Release(t.Context(), req); err != nil || len(w.book) != 1 {
		t.Fatal(err, len(w.book))
	}
}

func TestMalformedRequests(t *testing.T) {
	w := newWard(t, 4)
	r := w.record(1, protocol.Label{1}, nil)
	access := w.ask()
	many := make([]protocol.RecordID, CapsulesRequestMax+1)
	for _, req := range []Request{{Access: access, Generation: 1}, {Access: access, Generation: 1, Records: []protocol.RecordID{r}},
		{Access: access, Generation: 1, Records: many, Capsules: make([][]byte, len(many))}} {
		if _, err := w.custodians[0].Release(t.Context(), req); !errors.Is(err, ErrRequest) {
			t.Fatal(err)
		}
	}
}

// A patient's access to the own journal rests on the key that asked: once it no longer signs for the journal, the custodians answer no more,
// whatever the access's deadline says. A recovery that is due closes it by time alone, before any entry says so.
func TestCheck4OwnJournal(t *testing.T) {
	w := newWard(t, 4)
	r := w.record(1, protocol.Label{1}, nil)
	in := w.patient.Journal()
	chain := w.L.Chain()
	key, pub := ledgertest.Key("phone")
	phone := &ledgertest.Who{Name: "phone", Key: key, Signer: protocol.PatientSigner(in, pub)}
	w.Must(w.patient, in, &protocol.AddDevice{Key: pub, Name: protocol.Hash{1}, Proof: ed25519.Sign(key, protocol.DeviceMessage(chain, in, pub, protocol.Hash{1}))})
	own := func(by *ledgertest.Who) Request {
		res := w.Must(by, in, &protocol.RequestAccess{Records: []protocol.RecordID{r}, Purpose: protocol.PurposePatientRequest, OneTime: w.key.Public(), OneTimeKEM: w.key.KEM()})
		return w.request(protocol.DerivedAccessID(res.ID, 0), r)
	}
	byPhone, byPatient := own(phone), own(w.patient)
	for _, req := range []Request{byPhone, byPatient} {
		if _, err := w.custodians[0].Release(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	w.Must(w.patient, in, &protocol.RevokeDevice{Key: pub})
	w.refused(byPhone, 4, protocol.DeviceRevoked, false)

	mum, mumPub := ledgertest.Key("mum")
	policy := protocol.Encode(protocol.GuardianPolicy{DelayMillis: 60_000, Groups: []protocol.GuardianGroup{{Need: 1, Keys: []protocol.PublicKey{mumPub}}}})
	w.Must(w.patient, in, &protocol.SetGuardians{Guardians: protocol.GuardianCommitment(chain, in, policy)})
	next, nextPub := ledgertest.Key("next")
	w.Must(&ledgertest.Who{Name: "mum", Key: mum, Signer: protocol.GuardianSigner(in, mumPub)}, in, &protocol.ProposeRecovery{Policy: policy, Controller: nextPub,
		Recipient: [32]byte{1}, Proof: ed25519.Sign(next, protocol.ControlMessage(chain, in, nextPub, [32]byte{1}))})
	due := w.Time - 100 + 3600_000 // the network's least delay
	w.Time = due - 1000
	late := own(w.patient)
	w.clock = due - 1
	if _, err := w.custodians[0].Release(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	w.clock = due
	w.refused(late, 4, protocol.RecoveryDue, false)
	w.Time = due
	w.Tick()
	w.refused(late, 4, protocol.WrongKey, false)
}
