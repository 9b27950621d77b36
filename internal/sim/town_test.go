package sim

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// dice is where all chance comes from: n gives 0 … max-1.
type dice interface{ n(max int) int }

func pick[T any](d dice, from []T) T { return from[d.n(len(from))] }

// town is everybody who writes to the network, honest or not. It knows nothing of what became of its envelopes: the model does.
type town struct {
	dice
	*ledgertest.World
	model         *model
	oneTime       [32]byte
	practitioners []*ledgertest.Who
	patients      []*ledgertest.Who
	proposals     []protocol.ActionID
	contracts     map[protocol.JournalID][]protocol.ContractID
	records       []protocol.RecordID
	accesses      []protocol.AccessID
	capsules      map[protocol.RecordID][]byte
	madeFor       map[protocol.RecordID]recordModel           // where the author meant a record to go, and its capsule
	owners        map[protocol.PractitionerID]*ledgertest.Who // by whom they were registered first
	keyring       map[protocol.PublicKey]ed25519.PrivateKey
	sent          []*protocol.Verified
	named, nonce  int
	tally         map[protocol.Reason]int // of results and decisions
	events        map[protocol.ActionType]int
	aimed         map[protocol.ActionID]aim
	pursued       pursuit
	met           map[string]int  // aims
	metAt         uint64          // height at which the last of them was met
	asked         map[answer]int  // of custodians, and what the model says
	sealed        []protocol.Hash // reasons for breaking the glass
	everDelegates []protocol.PublicKey
	cards         []protocol.CardID
	real          bool // capsules are real ones
}

func newTown(d dice, w *ledgertest.World, real bool) *town {
	g, _ := w.L.Genesis()
	w.Time = (w.Time/60_000 + 1) * 60_000 // key generation has cost quota of the minute before
	t := &town{dice: d, World: w, model: newModel(g), oneTime: [32]byte{9}, contracts: map[protocol.JournalID][]protocol.ContractID{},
		capsules: map[protocol.RecordID][]byte{}, madeFor: map[protocol.RecordID]recordModel{}, real: real, owners: map[protocol.PractitionerID]*ledgertest.Who{},
		keyring: map[protocol.PublicKey]ed25519.PrivateKey{}, tally: map[protocol.Reason]int{}, events: map[protocol.ActionType]int{},
		aimed: map[protocol.ActionID]aim{}, met: map[string]int{}, asked: map[answer]int{}}
	for _, m := range w.Members {
		t.keyring[m.Signer.Key] = m.Key
	}
	return t
}

// newKey makes a key that somebody may use later.
func (t *town) newKey(name string) protocol.PublicKey {
	k, pub := ledgertest.Key(name)
	t.keyring[pub] = k
	return pub
}

// current gives somebody the key that is theirs by now; now and then they go on with an old one.
func (t *town) current(who *ledgertest.Who) *ledgertest.Who {
	key := who.Signer.Key
	switch who.Signer.Kind {
	case protocol.ActorMember:
		key = t.model.members[who.Signer.Member()].key
	case protocol.ActorPractitioner:
		key = t.model.practitioners[protocol.PractitionerID(who.Signer.ID)].key
	case protocol.ActorPatient:
		if j := t.model.journals[who.Journal()]; j != nil {
			key = j.controller
		}
	}
	if k, ok := t.keyring[key]; ok && t.n(20) > 0 {
		who.Key, who.Signer.Key = k, key
	}
	return who
}

func (t *town) name(kind string) string { t.named++; return fmt.Sprintf("%s-%d", kind, t.named) }

var rolesOfTown = []protocol.Role{protocol.RolePhysician, protocol.RoleEmergencyPhysician, protocol.RoleParamedic, protocol.RoleAdministrator}

var labels = []protocol.Label{{1}, {2}, {3}}

// sign makes an envelope; now and then one that must not pass.
func (t *town) sign(by *ledgertest.Who, journal protocol.JournalID, actions ...protocol.Action) *protocol.Verified {
	b := protocol.Body{Version: protocol.Version, Chain: t.L.Chain(), NotAfter: t.Time + uint64(1+t.n(120_000)), Signer: by.Signer, Journal: journal}
	t.nonce++
	copy(b.Nonce[:], seedBytes(uint64(t.nonce)))
	key := by.Key
	switch t.n(60) {
	case 0:
		b.NotAfter = t.Time - uint64(t.n(1000))
	case 1:
		b.NotAfter = t.Time + protocol.NotAfterMillisMax + uint64(t.n(20_000))
	case 2:
		b.Chain = "other-net"
	case 3:
		b.Version++
	case 4:
		key, b.Signer.Key = ledgertest.Key("mallory")
	case 5:
		b.Signer.ID[3] ^= 1
	case 6:
		if journal.IsZero() || len(t.patients) == 0 {
			b.Journal = protocol.JournalID{1}
		} else {
			b.Journal = pick(t, t.patients).Journal()
		}
	}
	b.Actions = protocol.Pack(actions...)
	raw, _ := protocol.Sign(b, func(m []byte) []byte { return ed25519.Sign(key, m) })
	v, err := protocol.VerifyEnvelope(raw)
	if err != nil {
		t.T.Fatal(err)
	}
	for i, a := range v.Actions {
		switch a.(type) {
		case *protocol.Grant:
			t.contracts[v.Body.Journal] = append(t.contracts[v.Body.Journal], protocol.DerivedContractID(v.ID, i))
		case *protocol.RequestAccess:
			t.accesses = append(t.accesses, protocol.DerivedAccessID(v.ID, i))
		case *protocol.ProposeMember, *protocol.ProposeRemoval:
			t.proposals = append(t.proposals, v.ID)
		}
	}
	t.sent = append(t.sent, v)
	return v
}

// envelope is somebody's next request.
func (t *town) envelope() *protocol.Verified {
	if len(t.sent) > 0 && t.n(15) == 0 { // a replay, mostly of something recent
		return t.sent[len(t.sent)-1-t.n(min(len(t.sent), 1+t.n(200)))]
	}
	if len(t.patients) == 0 || t.n(30*len(t.patients)) == 0 {
		return t.opening(nil)
	}
	if len(t.practitioners) == 0 {
		return t.registering()
	}
	patient := t.current(pick(t, t.patients))
	if !t.known(patient) && t.n(4) > 0 {
		return t.opening(patient)
	}
	in := patient.Journal()
	switch c := t.n(100); {
	case c < 24:
		return t.sign(t.reader(), in, t.several(func() protocol.Action { return t.access(in) })...)
	case c < 36:
		return t.sign(t.reader(), in, t.several(func() protocol.Action { return t.record(in) })...)
	case c < 49:
		return t.sign(patient, in, t.several(func() protocol.Action { return t.grant() })...)
	case c < 55:
		if known := t.contracts[in]; len(known) > 0 {
			return t.sign(patient, in, &protocol.Revoke{Contract: known[len(known)-1-t.n(min(len(known), 5))]})
		}
		return t.sign(patient, in, &protocol.Revoke{Contract: protocol.ContractID{1}})
	case c < 60:
		return t.forgetting(patient)
	case c < 63:
		return t.registering()
	case c < 66:
		return t.governing()
	case c < 69:
		return t.controlling(patient)
	case c < 98:
		return t.standingIn()
	}
	return t.meddling(patient)
}

func (t *town) several(make func() protocol.Action) []protocol.Action {
	out := []protocol.Action{make()}
	for t.n(4) == 0 {
		out = append(out, make())
	}
	return out
}

// reader is a member or, mostly, a practitioner.
func (t *town) reader() *ledgertest.Who {
	var who *ledgertest.Who
	for range 4 { // mostly somebody whom the network knows
		if t.n(4) == 0 {
			who = pick(t, t.Members)
		} else {
			who = pick(t, t.practitioners)
		}
		if t.known(who) {
			break
		}
	}
	return t.current(who)
}

func (t *town) known(who *ledgertest.Who) bool {
	switch who.Signer.Kind {
	case protocol.ActorMember:
		_, ok := t.model.members[who.Signer.Member()]
		return ok
	case protocol.ActorPatient:
		return t.model.journals[who.Journal()] != nil
	}
	_, ok := t.model.practitioners[protocol.PractitionerID(who.Signer.ID)]
	return ok
}

func (t *town) opening(who *ledgertest.Who) *protocol.Verified {
	if who == nil {
		name := t.name("patient")
		k, pub := ledgertest.Key(name)
		who = &ledgertest.Who{Name: name, Key: k, Signer: protocol.PatientSigner(protocol.JournalID(pub[:16]), pub)}
		t.patients, t.keyring[pub] = append(t.patients, who), k
	}
	sponsor := t.current(pick(t, t.Members))
	agreed := sponsor
	if t.n(10) == 0 {
		agreed = pick(t, t.Members)
	}
	open := &protocol.OpenJournal{Recipient: sha256.Sum256([]byte(who.Name)), Sponsor: sponsor.Signer.Member(),
		Agreement: ed25519.Sign(agreed.Key, protocol.SponsorMessage(t.L.Chain(), sponsor.Signer.Member(), who.Journal(), who.Signer.Key))}
	if t.n(4) == 0 {
		open.Claim = protocol.ClaimCommitment(t.L.Chain(), who.Journal(), t.codeKey(who.Journal()))
		if t.n(8) > 0 {
			open.Recipient = protocol.NobodyRecipient(t.L.Chain(), who.Journal())
		}
	}
	return t.sign(who, who.Journal(), open, t.grant())
}

func (t *town) registering() *protocol.Verified {
	by := t.current(pick(t, t.Members))
	if !t.known(by) {
		by = t.current(t.Members[0])
	}
	a := &protocol.SetPractitioner{Role: pick(t, rolesOfTown), Status: protocol.PractitionerActive, ValidUntil: t.Time + uint64(t.n(1e9)), Commitment: protocol.Hash{1}}
	var who *ledgertest.Who
	if len(t.practitioners) > 3 && t.n(8) > 0 {
		who = t.current(pick(t, t.practitioners))
		if t.n(8) > 0 {
			by = t.current(t.owners[protocol.PractitionerID(who.Signer.ID)])
		}
	} else {
		name := t.name("practitioner")
		who = &ledgertest.Who{Name: name}
		key := t.newKey(name)
		who.Key, who.Signer = t.keyring[key], protocol.PractitionerSigner(protocol.PractitionerID(key[:16]), key)
		t.practitioners = append(t.practitioners, who)
		t.owners[protocol.PractitionerID(who.Signer.ID)] = by
	}
	a.Practitioner, a.Key = protocol.PractitionerID(who.Signer.ID), who.Signer.Key
	if p, ok := t.model.practitioners[a.Practitioner]; ok && t.n(4) > 0 {
		a.Role = p.role
	}
	if t.n(4) == 0 { // another key: new, or somebody's
		name := t.name("key")
		if t.n(3) == 0 {
			name = fmt.Sprintf("key-%d", 1+t.n(t.named))
		}
		a.Key = t.newKey(name)
	}
	if t.n(4) == 0 {
		a.Status = protocol.PractitionerSuspended
	} else if t.n(40) == 0 {
		a.Status = protocol.PractitionerRevoked
	}
	return t.sign(by, protocol.JournalID{}, a)
}

func (t *town) governing() *protocol.Verified {
	by := t.current(pick(t, t.Members))
	if !t.known(by) {
		by = t.current(t.Members[0])
	}
	switch c := t.n(10); {
	case c == 0 && len(t.Members) < 12:
		m, who := ledgertest.Member(t.name("member"))
		t.keyring[m.Key] = who.Key
		t.Members = append(t.Members, who)
		return t.sign(by, protocol.JournalID{}, &protocol.ProposeMember{Member: m})
	case c == 1 && t.n(4) == 0:
		return t.sign(by, protocol.JournalID{}, &protocol.ProposeRemoval{Member: pick(t, t.Members).Signer.Member()})
	case c == 2:
		pub := t.newKey(t.name("key"))
		prover := t.keyring[pub]
		if t.n(8) == 0 {
			prover = by.Key
		}
		return t.sign(by, protocol.JournalID{}, &protocol.RotateMemberKey{Key: pub,
			Proof: ed25519.Sign(prover, protocol.KeyProofMessage(t.L.Chain(), by.Signer.Member(), pub))})
	}
	if len(t.proposals) == 0 {
		return t.sign(by, protocol.JournalID{}, &protocol.Approve{Proposal: protocol.ActionID{1}})
	}
	return t.sign(by, protocol.JournalID{}, &protocol.Approve{Proposal: t.proposals[len(t.proposals)-1-t.n(min(len(t.proposals), 3))]})
}

// meddling is what nobody may do.
func (t *town) meddling(patient *ledgertest.Who) *protocol.Verified {
	in := patient.Journal()
	switch t.n(6) {
	case 0:
		own, _ := t.access(in).(*protocol.RequestAccess)
		if t.n(4) > 0 {
			own.Purpose, own.Reason = protocol.PurposePatientRequest, protocol.Hash{}
		}
		return t.sign(patient, in, own)
	case 1:
		return t.sign(patient, in, t.record(in))
	case 2:
		return t.sign(t.reader(), in, t.grant())
	case 3:
		return t.sign(t.current(pick(t, t.Members)), protocol.JournalID{}, &protocol.AcceptDeals{Generation: 1, Epoch: 1, Dealers: []uint16{1}})
	case 4:
		return t.sign(patient, in, t.grant(), &protocol.AcceptDeals{Generation: 1, Epoch: 1, Dealers: []uint16{1}})
	}
	return t.sign(t.reader(), in, t.record(in), &protocol.Revoke{Contract: protocol.ContractID{1}})
}

func (t *town) grant() protocol.Action {
	r := rule{forbid: t.n(12) == 0, write: t.n(2) == 0}
	switch t.n(6) {
	case 0:
		r.member = pick(t, t.Members).Signer.Member()
	case 1, 2:
		if len(t.practitioners) > 0 {
			r.practitioner = protocol.PractitionerID(pick(t, t.practitioners).Signer.ID)
		}
	}
	if t.n(2) == 0 {
		r.label = pick(t, labels)
	} else if len(t.records) > 0 && t.n(5) == 0 {
		r.record = pick(t, t.records)
	}
	if !r.write && t.n(5) == 0 {
		r.purpose = pick(t, []protocol.Purpose{protocol.PurposeEmergency, protocol.PurposeBreakGlass})
	}
	r.glass = !r.write && t.n(6) == 0
	g := t.contract(r, 1+uint64(t.n([]int{5_000, 3_600_000, 86_400_000, 500_000_000}[t.n(4)])))
	if t.n(40) == 0 {
		g.Policy = append(bytes.Clone(g.Policy), ' ') // not canonical
	}
	if t.n(5) == 0 {
		g.NotBefore = t.Time + uint64(t.n(int(g.NotAfter-t.Time)))
	}
	if t.n(3) == 0 {
		g.UsesMax = uint32(1 + t.n(3))
	}
	return g
}

// contract grants what a rule says, from now on.
func (t *town) contract(r rule, millis uint64) *protocol.Grant {
	policy, err := consent.Canonicalise([]byte(r.cedar()))
	if err != nil {
		t.T.Fatal(err)
	}
	t.model.rules[string(policy)] = r
	return &protocol.Grant{Policy: policy, NotAfter: t.Time + millis}
}

func (t *town) record(in protocol.JournalID) protocol.Action { return t.recordOf(in, pick(t, labels)) }

func (t *town) recordOf(in protocol.JournalID, label protocol.Label) protocol.Action {
	hash := sha256.Sum256(seedBytes(uint64(len(t.records))))
	id := protocol.RecordID(hash[:16])
	if len(t.records) > 0 && t.n(20) == 0 {
		id = pick(t, t.records)
	}
	a := &protocol.AddRecord{Record: id, Label: label, Ciphertext: protocol.Hash{1}, Size: 4096, Capsule: protocol.Hash{2}, Generation: 1,
		Manifest: protocol.Hash{3}, Root: protocol.Hash{4}}
	if t.n(30) == 0 {
		a.Generation = 2
	}
	if slices.Contains(t.records, id) {
		return a
	}
	t.records = append(t.records, id)
	if t.real {
		c, err := threshold.Seal(rand.Reader, &t.Keys.Public, id[:], wallet.CapsuleLabel(t.L.Chain(), 1, in, a.Label, id))
		if err != nil {
			t.T.Fatal(err)
		}
		t.capsules[id], a.Capsule = c.Bytes(), c.Hash()
		t.madeFor[id] = recordModel{in, a.Label, a.Capsule}
	}
	return a
}

func (t *town) access(in protocol.JournalID) protocol.Action {
	a := &protocol.RequestAccess{Purpose: protocol.PurposeTreat, OneTime: t.oneTime, OneTimeKEM: protocol.OneTimeX25519}
	if t.n(4) == 0 {
		a.Purpose = protocol.PurposeEmergency
		if t.n(3) == 0 {
			a.Purpose, a.Reason = pick(t, []protocol.Purpose{protocol.PurposeEmergency, protocol.PurposeBreakGlass}), t.reason()
		}
	}
	if len(t.records) > 0 && t.n(3) == 0 {
		for range 1 + t.n(3) {
			a.Records = append(a.Records, t.records[len(t.records)-1-t.n(min(len(t.records), 20))])
		}
		if j := t.model.journals[in]; j != nil && len(j.records) > 0 && t.n(4) > 0 {
			a.Records = []protocol.RecordID{pick(t, j.records)}
		}
		slices.SortFunc(a.Records, func(x, y protocol.RecordID) int { return bytes.Compare(x[:], y[:]) })
		a.Records = slices.Compact(a.Records)
		return a
	}
	a.Labels = []protocol.Label{pick(t, labels)}
	if l := pick(t, labels); bytes.Compare(l[:], a.Labels[0][:]) > 0 && t.n(3) == 0 {
		a.Labels = append(a.Labels, l)
	}
	return a
}

// elapse moves time: mostly a little, now and then a pause, or a night.
func (t *town) elapse() {
	switch c := t.n(40); {
	case c == 0:
		t.Time += uint64(t.n(12 * 3_600_000))
	case c < 4:
		t.Time += uint64(t.n(120_000))
	case c < 7:
		t.wait()
	default:
		t.Time += uint64(1 + t.n(400))
	}
}
