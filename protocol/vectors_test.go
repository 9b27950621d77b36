package protocol

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/spec/vectors/protocol.json anew")

const (
	vectorsFile = "../docs/spec/vectors/protocol.json"
	specFile    = "../docs/spec/protocol.md"
)

// vectors are the spec's examples. Keys in them are for tests alone.
type vectors struct {
	About   string
	Digests []struct {
		Domain string
		Parts  []string
		Hash   Hash
	}
	Names struct {
		Chain        string
		Constitution JournalID
		MemberKey    PublicKey
		Member       MemberID
		Action       ActionID
		Index        int
		Contract     ContractID
		Access       AccessID
		Recovery     RecoveryID
	}
	// Control are the messages about who controls a journal, all with the names above.
	Control struct {
		Journal                                      JournalID
		Key                                          PublicKey
		Recipient                                    string
		Policy                                       string
		Guardians, Claim                             Hash
		SponsorMessage, ClaimMessage, ControlMessage string
		DeviceMessage                                string
	}
	Labels []struct {
		Key   string
		Epoch uint8
		Class string
		Label Label
	}
	Handles []struct {
		Text    string
		Journal JournalID
		Key     string
		Epoch   uint8
	}
	BadHandles []string
	Actions    []struct{ Type, Body string }
	// BadActions are canonical bytes that say what no such action may say: one fault each. An envelope with one is refused.
	BadActions []struct{ Name, Expect, Type, Body string }
	// BadPolicies are guardian policies that are refused, in a proposal too.
	BadPolicies []struct{ Name, Policy string }
	Envelopes   []struct{ Name, SigningSeed, Payload, SigStructure, Envelope, ID string }
	// Bad envelopes: one fault each.
	Bad     []struct{ Name, Expect, Envelope string }
	Parcels []struct {
		Envelopes []string
		Parcel    string
	}
	Entries []struct {
		Name, Salt, Entry string
		Leaf              Hash
	}
	Heads []struct {
		Leaf  Hash
		Count uint64
		Chain Hash
	}
	AppHashes []struct {
		Size          uint64
		Root, AppHash Hash
	}
	Rows []struct{ Name, Key, Value string }
}

func samples() []Action {
	key := func(b byte) (k PublicKey) { return PublicKey(bytes.Repeat([]byte{b}, 32)) }
	member := Member{Kind: MemberHospital, Name: "Hôpital", Key: key(1), Node: NodeKeys{Validator: key(2), Log: key(3), Cosigner: key(4), Peer: key(5)}}
	return []Action{
		&ProposeMember{Member: member}, &ProposeRemoval{Member: MemberID{1}}, &Approve{Proposal: ActionID{2}},
		&RotateMemberKey{Key: key(6), Proof: bytes.Repeat([]byte{7}, 64)},
		&SetPractitioner{Practitioner: PractitionerID{3}, Key: key(8), Role: RoleNurse, Status: PractitionerActive, ValidUntil: 1_900_000_000_000, Commitment: Hash{9}},
		&OpenJournal{Recipient: [32]byte{10}, LabelEpoch: 1, Sponsor: MemberID{1}, Agreement: bytes.Repeat([]byte{11}, 64)},
		&AddRecord{Record: RecordID{12}, Label: Label{13}, Ciphertext: Hash{14}, Size: 4096, Capsule: Hash{15}, Generation: 1, Manifest: Hash{16}, Root: Hash{17}},
		&Grant{Template: 1, Policy: []byte("permit(principal, action, resource);"), NotBefore: 0, NotAfter: 1_800_000_000_000, UsesMax: 5},
		&Revoke{Contract: ContractID{18}},
		&RequestAccess{Labels: []Label{{13}, {19}}, Purpose: PurposeTreat, OneTime: [32]byte{20}, OneTimeKEM: OneTimeX25519},
		&OfferReceiverKey{Generation: 1, Epoch: 1, Key: bytes.Repeat([]byte{21}, ReceiverKeyBytes)},
		&Deal{Generation: 1, Epoch: 1, Message: []byte{22, 23}}, &AcceptDeals{Generation: 1, Epoch: 1, Dealers: []uint16{1, 2, 4}},
		&Erase{Records: []RecordID{{12}}}, &AttestErasure{Erasure: ErasureID{25}, Count: 3, Root: Hash{26}},
		&SetHold{Until: 1_900_000_000_000, Code: HoldLitigation}, &LiftHold{Hold: HoldID{27}},
		&RequestAmendment{Record: RecordID{12}, Statement: RecordID{28}}, &AnswerAmendment{Record: RecordID{12}, Version: RecordID{29}},
		&Complain{Generation: 1, Epoch: 1, Dealer: 3}, &Reveal{Generation: 1, Epoch: 1, Receiver: 2, Share: bytes.Repeat([]byte{24}, 32)},
		&SetCard{Card: CardID{25}, Sealed: bytes.Repeat([]byte{26}, 93)},
		&Delegate{Key: key(27), Proof: bytes.Repeat([]byte{28}, 64), Level: LevelAct, Labels: []Label{{13}, {19}}, NotAfter: 1_800_000_000_000, MayDelegate: true},
		&EndDelegation{Key: key(27)},
		&ReviewBreakGlass{Practitioner: PractitionerID{3}, Session: AccessID{29}, Verdict: VerdictJustified, Note: Hash{30}},
		&ClaimJournal{Code: key(25), CodeProof: bytes.Repeat([]byte{26}, 64), Recipient: [32]byte{27}, Guardians: Hash{28}, Agreement: bytes.Repeat([]byte{29}, 64)},
		&ReissueClaim{Claim: Hash{30}}, &AddDevice{Key: key(31), Name: Hash{32}, Proof: bytes.Repeat([]byte{33}, 64)}, &RevokeDevice{Key: key(31)},
		&RotateController{Controller: key(34), Recipient: [32]byte{35}, Proof: bytes.Repeat([]byte{36}, 64)}, &SetGuardians{Guardians: Hash{28}},
		&ProposeRecovery{Policy: Encode(samplePolicy()), Controller: key(34), Recipient: [32]byte{35}, Proof: bytes.Repeat([]byte{36}, 64)},
		&ApproveRecovery{Recovery: RecoveryID{37}}, &VetoRecovery{Recovery: RecoveryID{37}},
	}
}

func samplePolicy() GuardianPolicy {
	key := func(b byte) (k PublicKey) { return PublicKey(bytes.Repeat([]byte{b}, 32)) }
	return GuardianPolicy{Salt: [16]byte{38}, DelayMillis: 172_800_000, Groups: []GuardianGroup{{Need: 2, Keys: []PublicKey{key(39), key(40), key(41)}},
		{Need: 1, Keys: []PublicKey{key(42), key(43)}}}}
}

// made computes every vector from what the file gives as input, or from the samples.
func makeVectors() (v vectors) {
	v.About = "Bytes of protocol version 1; see docs/spec/protocol.md. Byte strings are lowercase hexadecimal. Keys in here are for tests alone."
	add := func(domain string, parts ...string) {
		var raw [][]byte
		for _, p := range parts {
			raw = append(raw, unhex(p))
		}
		v.Digests = append(v.Digests, struct {
			Domain string
			Parts  []string
			Hash   Hash
		}{domain, parts, Digest(domain, raw...)})
	}
	add("anamnesis/test/v1")
	add("anamnesis/test/v1", "")
	add("anamnesis/test/v1", "0102", "03")
	add("anamnesis/test/v1", "01", "0203")
	n := &v.Names
	n.Chain, n.Constitution = "test-net", ConstitutionJournal("test-net")
	n.MemberKey = PublicKey(bytes.Repeat([]byte{1}, 32))
	n.Member = MemberIDOf(n.MemberKey)
	n.Action, n.Index = ActionID(bytes.Repeat([]byte{2}, 32)), 3
	n.Contract, n.Access = DerivedContractID(n.Action, n.Index), DerivedAccessID(n.Action, n.Index)
	n.Recovery = DerivedRecoveryID(n.Action, n.Index)
	c, policy := &v.Control, Encode(samplePolicy())
	c.Journal, c.Key, c.Policy = JournalID(bytes.Repeat([]byte{6}, 16)), PublicKey(bytes.Repeat([]byte{34}, 32)), hex.EncodeToString(policy)
	recipient := [32]byte{35}
	c.Recipient = hex.EncodeToString(recipient[:])
	c.Guardians, c.Claim = GuardianCommitment(n.Chain, c.Journal, policy), ClaimCommitment(n.Chain, c.Journal, c.Key)
	c.SponsorMessage = hex.EncodeToString(SponsorMessage(n.Chain, n.Member, c.Journal, c.Key))
	c.ClaimMessage = hex.EncodeToString(ClaimMessage(n.Chain, c.Journal, c.Key, recipient))
	c.ControlMessage = hex.EncodeToString(ControlMessage(n.Chain, c.Journal, c.Key, recipient))
	c.DeviceMessage = hex.EncodeToString(DeviceMessage(n.Chain, c.Journal, c.Key, Hash{32}))
	key := LabelKey(bytes.Repeat([]byte{5}, 16))
	for epoch, class := range []string{"allergies", "mental-health"} {
		v.Labels = append(v.Labels, struct {
			Key   string
			Epoch uint8
			Class string
			Label Label
		}{hex.EncodeToString(key[:]), uint8(epoch), class, key.Label(uint8(epoch), class)})
	}
	h := Handle{Journal: JournalID(bytes.Repeat([]byte{6}, 16)), Key: key, Epoch: 2}
	v.Handles = append(v.Handles, struct {
		Text    string
		Journal JournalID
		Key     string
		Epoch   uint8
	}{h.String(), h.Journal, hex.EncodeToString(key[:]), h.Epoch})
	text := h.String()
	v.BadHandles = []string{text[:len(text)-1], strings.Replace(text, "1", "b", 1), "A" + text[1:], text[:10] + flip(text[10]) + text[11:], ""}
	for _, a := range samples() {
		v.Actions = append(v.Actions, struct{ Type, Body string }{a.ActionType().String(), hex.EncodeToString(Encode(a))})
	}
	for _, b := range badSamples() {
		v.BadActions = append(v.BadActions, struct{ Name, Expect, Type, Body string }{b.name, "encoding", b.action.ActionType().String(), hex.EncodeToString(Encode(b.action))})
	}
	for _, b := range badPolicies() {
		v.BadPolicies = append(v.BadPolicies, struct{ Name, Policy string }{b.name, hex.EncodeToString(Encode(b.policy))})
	}
	v.envelopes()
	v.entries()
	return v
}

type badSample struct {
	name   string
	action Action
}

// badSamples break one rule of an action's shape each; every type of action has some.
func badSamples() (out []badSample) {
	good := map[ActionType]Action{}
	bad := func(name string, a Action) { out = append(out, badSample{name, a}) }
	for _, a := range samples() {
		good[a.ActionType()] = a
	}
	bad("no member", &ProposeMember{})
	bad("no member to remove", &ProposeRemoval{})
	bad("no proposal to approve", &Approve{})
	bad("a key that proves itself with nothing", &RotateMemberKey{Key: PublicKey{6}})
	bad("a practitioner without a commitment", &SetPractitioner{Practitioner: PractitionerID{3}, Key: PublicKey{8}, Role: RoleNurse, Status: PractitionerActive})
	open := *good[TypeOpenJournal].(*OpenJournal)
	open.Claim, open.Guardians = Hash{1}, Hash{2}
	bad("a provisional journal with guardians", &open)
	record := *good[TypeAddRecord].(*AddRecord)
	record.Relation, record.About = RelationSupersedes, record.Record
	bad("a version of itself", &record)
	grant := *good[TypeGrant].(*Grant)
	grant.NotBefore = grant.NotAfter
	bad("a contract that ends as it begins", &grant)
	bad("no contract to revoke", &Revoke{})
	access := *good[TypeRequestAccess].(*RequestAccess)
	access.Purpose = PurposeBreakGlass
	bad("the glass broken without a reason", &access)
	bad("a receiver key of no length", &OfferReceiverKey{Generation: 1, Epoch: 1})
	bad("a deal without a message", &Deal{Generation: 1, Epoch: 1})
	bad("dealers out of order", &AcceptDeals{Generation: 1, Epoch: 1, Dealers: []uint16{2, 1}})
	bad("a complaint about nobody", &Complain{Generation: 1, Epoch: 1})
	bad("a share cut off", &Reveal{Generation: 1, Epoch: 1, Receiver: 2, Share: make([]byte, 31)})
	claim := *good[TypeClaimJournal].(*ClaimJournal)
	claim.CodeProof = claim.CodeProof[:63]
	bad("a claim whose code's proof is short", &claim)
	claim = *good[TypeClaimJournal].(*ClaimJournal)
	claim.Agreement = nil
	bad("a claim that its sponsor did not agree to", &claim)
	bad("a new code without a commitment", &ReissueClaim{})
	device := *good[TypeAddDevice].(*AddDevice)
	device.Name = Hash{}
	bad("a device without a name's commitment", &device)
	bad("no device to cut off", &RevokeDevice{})
	rotate := *good[TypeRotateController].(*RotateController)
	rotate.Recipient = [32]byte{}
	bad("a controller without a recipient", &rotate)
	for _, p := range badPolicies() {
		propose := *good[TypeProposeRecovery].(*ProposeRecovery)
		propose.Policy = Encode(p.policy)
		bad("a recovery under a policy: "+p.name, &propose)
	}
	bad("no recovery to approve", &ApproveRecovery{})
	bad("no recovery to veto", &VetoRecovery{})
	bad("a card without a name", &SetCard{Sealed: []byte{1}})
	bad("a card with nothing in it", &SetCard{Card: CardID{1}})
	bad("a card too large", &SetCard{Card: CardID{1}, Sealed: make([]byte, CardBytesMax+1)})
	for name, change := range map[string]func(*Delegate){
		"at no level":                          func(d *Delegate) { d.Level = 0 },
		"who reads alone and may delegate":     func(d *Delegate) { d.Level = LevelSee },
		"with labels out of order":             func(d *Delegate) { d.Labels = []Label{{19}, {13}} },
		"with a label twice":                   func(d *Delegate) { d.Labels = []Label{{13}, {13}} },
		"with no label's name":                 func(d *Delegate) { d.Labels = []Label{{}, {13}} },
		"whose time ends as it begins":         func(d *Delegate) { d.NotBefore = d.NotAfter },
		"whose key proves itself with nothing": func(d *Delegate) { d.Proof = nil },
	} {
		d := *good[TypeDelegate].(*Delegate)
		change(&d)
		bad("a delegate "+name, &d)
	}
	bad("no delegate to end", &EndDelegation{})
	bad("a review without a verdict", &ReviewBreakGlass{Practitioner: PractitionerID{3}, Session: AccessID{29}})
	bad("a review of nothing", &ReviewBreakGlass{Practitioner: PractitionerID{3}, Verdict: VerdictJustified})
	bad("an erasure of nothing", &Erase{})
	bad("an erasure of two kinds", &Erase{Records: []RecordID{{1}}, Everything: true})
	bad("an erasure with a record twice", &Erase{Records: []RecordID{{1}, {1}}})
	bad("an attestation of nothing", &AttestErasure{})
	bad("a hold without a reason", &SetHold{Until: 1})
	bad("no hold to lift", &LiftHold{})
	bad("an amendment without a statement", &RequestAmendment{Record: RecordID{12}})
	bad("an answer that gives a version and denies", &AnswerAmendment{Record: RecordID{12}, Version: RecordID{29}, Denial: 1})
	bad("an answer that says nothing", &AnswerAmendment{Record: RecordID{12}})
	slices.SortFunc(out, func(a, b badSample) int {
		return cmp.Or(cmp.Compare(a.action.ActionType(), b.action.ActionType()), strings.Compare(a.name, b.name))
	})
	return out
}

type badPolicy struct {
	name   string
	policy GuardianPolicy
}

func badPolicies() (out []badPolicy) {
	for _, b := range []struct {
		name   string
		change func(*GuardianPolicy)
	}{
		{"no group", func(p *GuardianPolicy) { p.Groups = nil }},
		{"a delay of more than 90 days", func(p *GuardianPolicy) { p.DelayMillis = RecoveryDelayMillisMax + 1 }},
		{"a group that needs nobody", func(p *GuardianPolicy) { p.Groups[0].Need = 0 }},
		{"a group that needs more than it has", func(p *GuardianPolicy) { p.Groups[0].Need = 4 }},
		{"a guardian twice in a group", func(p *GuardianPolicy) { p.Groups[0].Keys[1] = p.Groups[0].Keys[0] }},
		{"a guardian in two groups", func(p *GuardianPolicy) { p.Groups[1].Keys[1] = p.Groups[0].Keys[0] }},
		{"a guardian without a key", func(p *GuardianPolicy) { p.Groups[1].Keys[1] = PublicKey{} }},
	} {
		p := samplePolicy()
		b.change(&p)
		out = append(out, badPolicy{b.name, p})
	}
	return out
}

func flip(c byte) string {
	if c == 'q' {
		return "p"
	}
	return "q"
}

func (v *vectors) envelopes() {
	seed := bytes.Repeat([]byte{1}, 32)
	private := ed25519.NewKeyFromSeed(seed)
	all := samples()
	one := testBody(private, all[2])
	several := testBody(private, all[7], all[8])
	several.Journal = JournalID{31}
	for _, e := range []struct {
		name string
		body Body
	}{{"one action", one}, {"two actions of a journal", several}} {
		raw, id := Sign(e.body, signer(private))
		payload := Encode(e.body)
		v.Envelopes = append(v.Envelopes, struct{ Name, SigningSeed, Payload, SigStructure, Envelope, ID string }{e.name, hex.EncodeToString(seed),
			hex.EncodeToString(payload), hex.EncodeToString(toBeSigned(payload)), hex.EncodeToString(raw), id.String()})
	}
	good := unhex(v.Envelopes[0].Envelope)
	bad := func(name, expect string, raw []byte) {
		v.Bad = append(v.Bad, struct{ Name, Expect, Envelope string }{name, expect, hex.EncodeToString(raw)})
	}
	at := func(i int, b byte) []byte { out := bytes.Clone(good); out[i] = b; return out }
	bad("a byte more", "encoding", append(bytes.Clone(good), 0))
	bad("a byte less", "encoding", good[:len(good)-1])
	bad("tag 61 instead of 18", "encoding", at(0, 0xdd))
	bad("another algorithm", "encoding", at(5, 0x26))
	bad("a flipped bit in the signature", "signature", at(len(good)-1, good[len(good)-1]^1))
	bad("a flipped bit in the nonce", "signature", bytes.Replace(good, []byte{0x50, 7}, []byte{0x50, 6}, 1))
	sign := func(name string, change func(*Body)) {
		b := one
		b.Actions = append([]RawAction{}, one.Actions...)
		change(&b)
		raw, _ := Sign(b, signer(private))
		bad(name, "encoding", raw)
	}
	sign("no action", func(b *Body) { b.Actions = nil })
	sign("33 actions", func(b *Body) { b.Actions = make([]RawAction, 33); fillActions(b.Actions, one.Actions[0]) })
	sign("an action type that nobody can sign", func(b *Body) { b.Actions[0].Type = EventSeal })
	sign("a signer of kind ledger", func(b *Body) { b.Signer.Kind = ActorLedger })
	sign("no network", func(b *Body) { b.Chain = "" })
	sign("an action with a field too many", func(b *Body) { b.Actions[0].Body = append([]byte{0x82}, append(b.Actions[0].Body[1:], 0)...) })
	sign("an action out of range: revokes nothing", func(b *Body) { b.Actions = Pack(&Revoke{}) })
	sign("labels out of order", func(b *Body) {
		b.Actions = Pack(&RequestAccess{Labels: []Label{{2}, {1}}, Purpose: PurposeTreat, OneTime: [32]byte{1}, OneTimeKEM: OneTimeX25519})
	})
	v.Parcels = append(v.Parcels, struct {
		Envelopes []string
		Parcel    string
	}{[]string{v.Envelopes[0].Envelope, v.Envelopes[1].Envelope}, hex.EncodeToString(EncodeParcel([][]byte{good, unhex(v.Envelopes[1].Envelope)}))})
}

func fillActions(all []RawAction, with RawAction) {
	for i := range all {
		all[i] = with
	}
}

func (v *vectors) entries() {
	one, _ := VerifyEnvelope(unhex(v.Envelopes[1].Envelope))
	e := Entry{Type: TypeGrant, Height: 7, Time: 1_700_000_000_000, Cause: one.ID, Signer: one.Body.Signer, Journal: one.Body.Journal, Seq: 4,
		Action: one.Body.Actions[0].Body, Outcome: NoOutcome}
	access := Entry{Type: TypeRequestAccess, Height: 8, Time: 1_700_000_000_100, Cause: ActionID{1}, Signer: one.Body.Signer, Journal: one.Body.Journal, Seq: 5,
		Action: Encode(samples()[9]), Outcome: Encode(AccessOutcome{Permitted: true, Contracts: []ContractID{{18}}, Records: []RecordID{{12}}, Deadline: 1_700_000_900_100})}
	seal := Entry{Type: EventSeal, Height: 8, Time: 1_700_000_000_100, Action: Encode(Seal{Height: 8, Time: 1_700_000_000_100, MapRoot: Hash{1}}), Outcome: NoOutcome}
	ended := Entry{Type: EventContractEnded, Height: 9, Time: 1_800_000_000_000, Cause: one.ID, Journal: one.Body.Journal, Seq: 6,
		Action: Encode(ContractEvent{Contract: DerivedContractID(one.ID, 0)}), Outcome: NoOutcome}
	var head Head
	for _, x := range []struct {
		name string
		salt [16]byte
		e    Entry
	}{{"a grant", one.Body.Nonce, e}, {"a permitted access", [16]byte{9}, access}, {"the end of the grant", one.Body.Nonce, ended}, {"a seal", [16]byte{}, seal}} {
		raw := Encode(x.e)
		leaf := Commit(x.salt, raw)
		v.Entries = append(v.Entries, struct {
			Name, Salt, Entry string
			Leaf              Hash
		}{x.name, hex.EncodeToString(x.salt[:]), hex.EncodeToString(raw), leaf})
		if !x.e.Journal.IsZero() {
			head = head.Next(leaf)
			v.Heads = append(v.Heads, struct {
				Leaf  Hash
				Count uint64
				Chain Hash
			}{leaf, head.Count, head.Chain})
		}
	}
	for _, size := range []uint64{1, 1 << 40} {
		root := Hash(bytes.Repeat([]byte{3}, 32))
		v.AppHashes = append(v.AppHashes, struct {
			Size          uint64
			Root, AppHash Hash
		}{size, root, AppHash(size, root)})
	}
	row := func(name string, key []byte, value any) {
		v.Rows = append(v.Rows, struct{ Name, Key, Value string }{name, hex.EncodeToString(key), hex.EncodeToString(Encode(value))})
	}
	propose, _ := samples()[0].(*ProposeMember)
	row("member", StateKeyMember(MemberID{1}), MemberRow{Member: propose.Member, Joined: 3, Custodian: 2})
	row("practitioner", StateKeyPractitioner(PractitionerID{3}), PractitionerRow{Member: MemberID{1}, Key: PublicKey{8}, Role: RoleNurse, Status: PractitionerActive, ValidUntil: 9, Commitment: Hash{9}})
	row("head of a journal", StateKeyHead(JournalID{31}), head)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// The file is what this package computes today, so a change of any byte shows as a change of the spec.
func TestVectors(t *testing.T) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(makeVectors()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(vectorsFile, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorsFile)
	if err != nil || !bytes.Equal(have, out.Bytes()) {
		t.Fatalf("%s is not what the code computes (%v); if the change of the protocol is meant, run the test with -update", vectorsFile, err)
	}
}

// And it is read back as anybody else would: every envelope verifies, every bad one fails in the way it says.
func TestVectorsRead(t *testing.T) {
	raw, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil || len(v.Envelopes) < 2 || len(v.Bad) < 10 || len(v.Actions) != len(signable()) {
		t.Fatal("an empty corpus shows nothing", err)
	}
	for _, e := range v.Envelopes {
		got, err := VerifyEnvelope(unhex(e.Envelope))
		if err != nil || got.ID.String() != e.ID || got.Body.NotAfter == 0 {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
	for _, b := range v.Bad {
		want := map[string]error{"encoding": ErrEncoding, "signature": ErrSignature}[b.Expect]
		if _, err := VerifyEnvelope(unhex(b.Envelope)); want == nil || !errors.Is(err, want) {
			t.Errorf("%s: %v", b.Name, err)
		}
	}
	listed := map[ActionType]bool{}
	for _, a := range v.Actions {
		typ := typeNamed(a.Type)
		listed[typ] = true
		got := newAction(typ)
		if got == nil || Decode(unhex(a.Body), got) != nil || got.Validate() != nil || hex.EncodeToString(Encode(got)) != a.Body {
			t.Errorf("%s does not read back as it was written", a.Type)
		}
	}
	for _, typ := range signable() {
		if !listed[typ] {
			t.Errorf("%s has no vector", typ)
		}
	}
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	spoiled := map[ActionType]bool{}
	for _, a := range v.BadActions {
		spoiled[typeNamed(a.Type)] = true
		body := testBody(private, samples()[2])
		body.Actions = []RawAction{{Type: typeNamed(a.Type), Body: unhex(a.Body)}}
		raw, _ := Sign(body, signer(private))
		if _, err := VerifyEnvelope(raw); a.Expect != "encoding" || !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: %v", a.Name, err)
		}
	}
	for _, typ := range signable() {
		if !spoiled[typ] && typ != TypeSetGuardians { // any commitment will do there, none too
			t.Errorf("%s has no vector of what is refused", typ)
		}
	}
	for _, p := range v.BadPolicies {
		if _, err := ParseGuardianPolicy(unhex(p.Policy)); err == nil {
			t.Errorf("%s is taken for a guardian policy", p.Name)
		}
	}
	if policy, err := ParseGuardianPolicy(unhex(v.Control.Policy)); err != nil || GuardianCommitment(v.Names.Chain, v.Control.Journal, Encode(policy)) != v.Control.Guardians ||
		len(v.BadPolicies) == 0 {
		t.Error("the guardians' policy", err)
	}
	for _, h := range v.Handles {
		got, err := ParseHandle(h.Text)
		if err != nil || got.Journal != h.Journal || got.Epoch != h.Epoch || !bytes.Equal(got.Key[:], unhex(h.Key)) {
			t.Error(h.Text, err)
		}
		if _, err := ParseHandle(strings.ToUpper(h.Text)); err != nil {
			t.Error(err)
		}
	}
	for _, h := range v.BadHandles {
		if _, err := ParseHandle(h); !errors.Is(err, ErrBadHandle) {
			t.Errorf("%q: %v", h, err)
		}
	}
	for _, e := range v.Entries {
		var entry Entry
		if err := Decode(unhex(e.Entry), &entry); err != nil || Commit([16]byte(unhex(e.Salt)), unhex(e.Entry)) != e.Leaf {
			t.Error(e.Name, err)
		}
	}
}

func typeNamed(name string) ActionType {
	for typ, n := range typeNames {
		if n == name {
			return typ
		}
	}
	return 0
}

// The tables of the spec list every action and event, reason, role, purpose and limit there is.
func TestSpecListsEverything(t *testing.T) {
	raw, err := os.ReadFile(specFile)
	if err != nil {
		t.Fatal(err)
	}
	spec := string(raw)
	row := func(n any, name string) {
		if !strings.Contains(spec, fmt.Sprintf("| %d | `%s` |", n, name)) {
			t.Errorf("the spec has no row %d %s", n, name)
		}
	}
	for n := range ActionType(1100) {
		if name, ok := typeNames[n]; ok {
			row(n, name)
		}
	}
	for n := range ReasonsEnd {
		if x, ok := reasonTexts[n]; ok {
			row(n, x.name)
		}
	}
	for _, r := range Roles() {
		row(r, r.String())
	}
	for _, p := range Purposes() {
		row(p, p.String())
	}
	for k := MemberKind(1); k.Valid(); k++ {
		row(k, k.String())
	}
}
