package wallet

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// controlVectors are what people hand to each other when a journal gets another hand; see docs/spec/control.md.
type controlVectors struct {
	About   string
	Codes   []codeVector
	Claims  []claimVector
	Offers  []offerVector
	Kits    []kitVector
	Invalid []handedVector
}

// codeVector is a one-time code: its 80 bits, how it is printed, and ways in which people type it.
type codeVector struct {
	Bytes, Text string
	Typed       []string
}

// claimVector is what a code gives on a network, and a claim of a provisional journal with it.
type claimVector struct {
	Code, Chain          string
	Scrypt               string // 80 bytes: lookup, seed of the key that claims, key of the package
	Lookup, Seed, Seal   string
	Key                  protocol.PublicKey
	Journal              protocol.JournalID
	Commitment           protocol.Hash // what the ledger holds of the code
	Controller           protocol.PublicKey
	Recipient            string
	Message, Proof       string // what the code's key signs for this controller, and its signature
	Handle               protocol.Handle
	Nonce, Package       string
	PackageOfAnotherCode string
}

// offerVector is a text with a key in it. Seed makes the key, and so the text, anew; a guardian's is of the guardian's wallet.
type offerVector struct {
	Kind, Text, Chain, Seed string
	Journal                 protocol.JournalID
	Key                     protocol.PublicKey
	Recipient, Proof        string
	ID, Salt, Name          string
	Commitment              protocol.Hash // of a device's name
}

// kitVector is a guardian's kit, made for an offer of the wallet with this seed.
type kitVector struct {
	Seed, ID, Identity string // the identity opens the age file inside
	Key                protocol.PublicKey
	Kit, Content       string
	Policy             string
	Guardians          protocol.Hash // the policy's commitment, in the handle's journal
}

// handedVector is a text that must be refused: as a code, an offer of a kind (on the network Chain, for Journal), or a kit (by the wallet
// with Seed).
type handedVector struct {
	Name, Kind, Expect string
	Chain, Seed        string
	Journal            protocol.JournalID
	Text               string
}

// glassVectors are what stands in for the patient: emergency cards and sealed reasons; see docs/spec/breakglass.md.
type glassVectors struct {
	About          string
	Cards          []cardVector
	InvalidCards   []badCardVector
	Reasons        []reasonVector
	InvalidReasons []badReasonVector
}

type cardVector struct {
	Code, Chain   string
	Scrypt        string // 64 bytes
	Card          protocol.CardID
	Handle        protocol.Handle
	Nonce, Sealed string
}

type badCardVector struct{ Name, Expect, Code, Chain, Sealed string }

type reasonVector struct {
	Text      string
	Identity  string // the journal's
	Reviewers []reviewerVector
	PlainSize int // bytes of the text and the zeros behind it
	Hash      protocol.Hash
	File      []byte // base64
}

// reviewerVector is an administrator: the seed of the signing key, and the key as SSH writes it.
type reviewerVector struct {
	Seed, SSH string
	Key       protocol.PublicKey
}

type badReasonVector struct {
	Name, Expect string
	Identity     string
	Hash         protocol.Hash
	File         []byte // base64
}

func init() {
	for name, err := range map[string]error{"code": ErrCode, "claim": ErrClaim, "offer": ErrControlOffer, "delegate": ErrOffer, "kit": ErrKit, "card": ErrCard, "reason": ErrReason} {
		expectations[name] = err
	}
}

func hexed(s string) func(testing.TB) []byte { return must(hex.DecodeString(s)) }

// signingKey is the key of a seed in hexadecimal.
func signingKey(t testing.TB, seed string) *SigningKey { return newSigningKey(hexed(seed)(t)) }

func walletOf(t testing.TB, seed string) *Wallet {
	return &Wallet{seed: Seed{NewSecret(hexed(seed)(t))}}
}

// derive computes a claim from its code, network, journal, controller, recipient, handle and nonce.
func (v claimVector) derive(t testing.TB) claimVector {
	code := must(ParseCode(v.Code))(t)
	raw := code.derive(80, domainClaim+"\x00"+v.Chain)
	k := code.ClaimKeys(v.Chain)
	v.Scrypt, v.Lookup, v.Seed, v.Seal = hex.EncodeToString(raw), hex.EncodeToString(k.Lookup[:]), hex.EncodeToString(raw[16:48]), k.seal.Hex()
	v.Key = k.Key.Public()
	v.Journal, v.Commitment = v.Handle.Journal, protocol.ClaimCommitment(v.Chain, v.Handle.Journal, v.Key)
	message := protocol.ClaimMessage(v.Chain, v.Journal, v.Controller, [32]byte(hexed(v.Recipient)(t)))
	v.Message, v.Proof = hex.EncodeToString(message), hex.EncodeToString(k.Key.Sign(message))
	v.Package = hex.EncodeToString(sealHandle(k.seal.Reveal(), hexed(v.Nonce)(t), k.Lookup[:], v.Handle))
	return v
}

func (v cardVector) derive(t testing.TB) cardVector {
	code := must(ParseCode(v.Code))(t)
	v.Scrypt = hex.EncodeToString(code.derive(64, domainCard+"\x00"+v.Chain))
	id, key := code.cardKeys(v.Chain)
	v.Card, v.Sealed = id, hex.EncodeToString(sealHandle(key, hexed(v.Nonce)(t), id[:], v.Handle))
	return v
}

// derive makes the text of an offer from its seed and what is random in it.
func (v offerVector) derive(t testing.TB) offerVector {
	switch v.Kind {
	case "recovery":
		key, to := signingKey(t, v.Seed), Recipient(hexed(v.Recipient)(t))
		s := Successor{Journal: v.Journal, Controller: key.Public(), Recipient: to}
		s.Proof = key.Sign(protocol.ControlMessage(v.Chain, v.Journal, s.Controller, to))
		v.Key, v.Proof, v.Text = s.Controller, hex.EncodeToString(s.Proof), s.String()
	case "device":
		key := signingKey(t, v.Seed)
		o := DeviceOffer{Journal: v.Journal, Key: key.Public(), Salt: [16]byte(hexed(v.Salt)(t)), Name: v.Name}
		o.Proof = key.Sign(protocol.DeviceMessage(v.Chain, v.Journal, o.Key, o.Commitment()))
		v.Key, v.Commitment, v.Proof, v.Text = o.Key, o.Commitment(), hex.EncodeToString(o.Proof), o.String()
	case "guardian":
		o := GuardianOffer{ID: [16]byte(hexed(v.ID)(t))}
		key, identity, err := walletOf(t, v.Seed).guardianKeys(o.ID)
		must(0, err)(t)
		o.Key, o.Recipient = key.Public(), identity.Recipient()
		v.Key, v.Recipient, v.Text = o.Key, hex.EncodeToString(o.Recipient[:]), o.String()
	case "delegate":
		a := &Actor{Network: Network{Chain: v.Chain}, Kind: protocol.ActorDelegate, ID: v.Journal, Key: signingKey(t, v.Seed)}
		v.Key, v.Text = a.Key.Public(), a.Offer()
		v.Proof = hex.EncodeToString(a.Key.Sign(protocol.DelegateProofMessage(v.Chain, v.Journal, v.Key)))
	default:
		t.Fatalf("no such kind of offer: %s", v.Kind)
	}
	return v
}

// read gives a text to whoever reads its kind; key is what it offers.
func (v handedVector) read(t testing.TB) (key protocol.PublicKey, err error) {
	switch v.Kind {
	case "code":
		_, err = ParseCode(v.Text)
	case "recovery":
		s, e := ParseSuccessor(v.Text, v.Chain)
		key, err = s.Controller, e
	case "device":
		o, e := ParseDeviceOffer(v.Text, v.Chain)
		key, err = o.Key, e
	case "guardian":
		o, e := ParseGuardianOffer(v.Text)
		key, err = o.Key, e
	case "delegate":
		key, _, err = ParseOffer(v.Text, v.Chain, v.Journal)
	case "kit":
		g, e := walletOf(t, v.Seed).OpenKit([]byte(v.Text))
		if err = e; err == nil {
			key = g.Key.Public()
		}
	default:
		t.Fatalf("nobody reads %q", v.Kind)
	}
	return key, err
}

// same fails the test if what was computed is not what the vector says.
func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := must(json.Marshal(got))(t), must(json.Marshal(want))(t); !bytes.Equal(g, w) {
		t.Errorf("%s:\n%s\nshould be\n%s", what, g, w)
	}
}

func TestControlVectors(t *testing.T) {
	if *rewrite {
		storeVectors(t, "control.json", makeControlVectors(t))
	}
	var v controlVectors
	loadVectors(t, "control.json", &v)
	if len(v.Codes) == 0 || len(v.Claims) == 0 || len(v.Offers) < 4 || len(v.Kits) == 0 || len(v.Invalid) == 0 {
		t.Fatal("the vectors are empty")
	}
	for _, c := range v.Codes {
		for _, typed := range append(c.Typed, c.Text) {
			code := must(ParseCode(typed))(t)
			if code.secret.Hex() != c.Bytes || code.Reveal() != c.Text {
				t.Errorf("%s is read as %s", typed, code.Reveal())
			}
		}
	}
	for i, c := range v.Claims {
		same(t, "claim", c.derive(t), c)
		k := must(ParseCode(c.Code))(t).ClaimKeys(c.Chain)
		if h, err := k.Open(hexed(c.Package)(t)); err != nil || h != c.Handle {
			t.Errorf("claim %d: its package: %v", i, err)
		}
		if _, err := k.Open(hexed(c.PackageOfAnotherCode)(t)); !errors.Is(err, ErrClaim) {
			t.Errorf("claim %d: another code's package: %v", i, err)
		}
	}
	kinds := map[string]bool{}
	for _, o := range v.Offers {
		kinds[o.Kind] = true
		same(t, o.Kind, o.derive(t), o)
		if key, err := (handedVector{Kind: o.Kind, Chain: o.Chain, Journal: o.Journal, Text: o.Text}).read(t); err != nil || key != o.Key {
			t.Errorf("%s: %v", o.Kind, err)
		}
	}
	if len(kinds) != 4 {
		t.Errorf("kinds of offers: %v", kinds)
	}
	for i, k := range v.Kits {
		k.check(t, i)
	}
	for _, bad := range v.Invalid {
		want, known := expectations[bad.Expect]
		if _, err := bad.read(t); !known || !errors.Is(err, want) {
			t.Errorf("%s: %v, expected %s", bad.Name, err, bad.Expect)
		}
	}
}

func (v kitVector) check(t *testing.T, i int) {
	g := must(walletOf(t, v.Seed).OpenKit([]byte(v.Kit)))(t)
	if hex.EncodeToString(g.Kit.Policy) != v.Policy || g.Key.Public() != v.Key || !g.Policy.Has(v.Key) ||
		protocol.GuardianCommitment(g.Kit.Network.Chain, g.Kit.Handle.Journal, g.Kit.Policy) != v.Guardians {
		t.Errorf("kit %d holds something else", i)
	}
	raw := must(base64.RawURLEncoding.DecodeString(strings.TrimSpace(strings.TrimPrefix(v.Kit, kitPrefix))))(t)
	if hex.EncodeToString(raw[:16]) != v.ID {
		t.Errorf("kit %d is of another offer", i)
	}
	plain := must(io.ReadAll(must(age.Decrypt(bytes.NewReader(raw[16:]), must(newIdentity(must(scalarOf(v.Identity))(t)))(t)))(t)))(t)
	if string(plain) != v.Content {
		t.Errorf("kit %d: its content is %s", i, plain)
	}
}

func TestGlassVectors(t *testing.T) {
	if *rewrite {
		storeVectors(t, "breakglass.json", makeGlassVectors(t))
	}
	var v glassVectors
	loadVectors(t, "breakglass.json", &v)
	if len(v.Cards) == 0 || len(v.InvalidCards) == 0 || len(v.Reasons) == 0 || len(v.InvalidReasons) == 0 {
		t.Fatal("the vectors are empty")
	}
	for i, c := range v.Cards {
		same(t, "card", c.derive(t), c)
		if h, err := must(ParseCode(c.Code))(t).OpenCard(c.Chain, hexed(c.Sealed)(t)); err != nil || h != c.Handle {
			t.Errorf("card %d: %v", i, err)
		}
	}
	for _, bad := range v.InvalidCards {
		want, known := expectations[bad.Expect]
		if _, err := must(ParseCode(bad.Code))(t).OpenCard(bad.Chain, hexed(bad.Sealed)(t)); !known || !errors.Is(err, want) {
			t.Errorf("%s: %v, expected %s", bad.Name, err, bad.Expect)
		}
	}
	for _, r := range v.Reasons {
		r.check(t)
	}
	for _, bad := range v.InvalidReasons {
		want, known := expectations[bad.Expect]
		if LooksLikeReason(bad.File, int64(len(bad.File))) != (len(bad.File) == protocol.ReasonFileBytes) {
			t.Errorf("%s: vaults take a file of %d bytes for a reason", bad.Name, len(bad.File))
		}
		if _, err := OpenReason(bad.File, bad.Hash, must(newIdentity(must(scalarOf(bad.Identity))(t)))(t)); !known || !errors.Is(err, want) {
			t.Errorf("%s: %v, expected %s", bad.Name, err, bad.Expect)
		}
	}
}

func (v reasonVector) check(t *testing.T) {
	if len(v.File) != protocol.ReasonFileBytes || sha256.Sum256(v.File) != v.Hash || !LooksLikeReason(v.File, int64(len(v.File))) {
		t.Errorf("%q: a file of %d bytes", v.Text, len(v.File))
	}
	who := []age.Identity{must(newIdentity(must(scalarOf(v.Identity))(t)))(t)}
	for _, r := range v.Reviewers {
		a := &Actor{Kind: protocol.ActorPractitioner, Key: signingKey(t, r.Seed)}
		if line := sshLine(t, a.Key.Public()); a.Key.Public() != r.Key || line != r.SSH {
			t.Errorf("a reviewer is %s", line)
		}
		who = append(who, must(a.ReviewIdentity())(t))
	}
	for i, identity := range who {
		if text, err := OpenReason(v.File, v.Hash, identity); err != nil || text != v.Text {
			t.Errorf("opened by %d: %q, %v", i, text, err)
		}
	}
	plain := must(io.ReadAll(must(age.Decrypt(bytes.NewReader(v.File), who[0]))(t)))(t)
	if len(plain) != v.PlainSize || !bytes.Equal(plain, append([]byte(v.Text), make([]byte, v.PlainSize-len(v.Text))...)) {
		t.Errorf("%q is not followed by zeros alone", v.Text)
	}
}

func sshLine(t testing.TB, key protocol.PublicKey) string {
	public := must(ssh.NewPublicKey(ed25519.PublicKey(key[:])))(t)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
}

func makeControlVectors(t *testing.T) controlVectors {
	v := controlVectors{About: "Codes, claims, offers and guardians' kits; see docs/spec/control.md and docs/spec/breakglass.md. Byte strings are lowercase hexadecimal. Keys in here are for tests alone."}
	var codes []Code
	for _, secret := range [][]byte{make([]byte, codeBytes), bytes.Repeat([]byte{0xff}, codeBytes), {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {0x0e, 0x08, 0x42, 0x10, 0x84, 0x21, 0x08, 0x42, 0x1a, 0xbc}} {
		c := Code{secret: NewSecret(secret)}
		codes = append(codes, c)
		text := c.Reveal()
		bare := strings.ReplaceAll(text, "-", "")
		v.Codes = append(v.Codes, codeVector{Bytes: hex.EncodeToString(secret), Text: text, Typed: []string{bare, strings.ToLower(text),
			" " + strings.ReplaceAll(text, "-", " ") + "\t", strings.NewReplacer("0", "O", "1", "I").Replace(bare), strings.NewReplacer("0", "o", "1", "l").Replace(strings.ToLower(bare))}})
	}
	invalid := func(name, kind, expect, text string) *handedVector {
		v.Invalid = append(v.Invalid, handedVector{Name: name, Kind: kind, Expect: expect, Text: text})
		return &v.Invalid[len(v.Invalid)-1]
	}
	code := v.Codes[2].Text
	invalid("one character wrong", "code", "code", strings.Replace(code, code[:1], string(codeAlphabet[(strings.IndexByte(codeAlphabet, code[0])+1)%32]), 1))
	invalid("two neighbours swapped", "code", "code", swapped(code))
	invalid("a check character wrong", "code", "code", code[:len(code)-1]+map[bool]string{true: "A", false: "B"}[code[len(code)-1] != 'A'])
	invalid("a character missing", "code", "code", code[1:])
	invalid("a character more", "code", "code", code+"0")
	invalid("a letter that no code has", "code", "code", "U"+code[1:])
	invalid("a check value that no number has", "code", "code", "00000-0000-00000-00ZZ")
	invalid("nothing", "code", "code", "")

	d := newWorld(t)
	for i, chain := range []string{testChain, "another.anamnesis"} {
		c := claimVector{Code: v.Codes[2+i].Text, Chain: chain, Handle: d.keys.Handle(), Controller: d.keys.Signing.Public(),
			Nonce: hex.EncodeToString(bytes.Repeat([]byte{byte(0xa0 + i)}, 24))}
		to := d.keys.Identity.Recipient()
		c.Recipient = hex.EncodeToString(to[:])
		c.PackageOfAnotherCode = hex.EncodeToString(codes[0].ClaimKeys(chain).Seal(c.Handle))
		v.Claims = append(v.Claims, c.derive(t))
	}

	seed, guardian := hex.EncodeToString(bytes.Repeat([]byte{0x21}, 32)), hex.EncodeToString(bytes.Repeat([]byte{0x22}, 32))
	to := d.keys.Identity.Recipient()
	journal := d.keys.Journal
	other := journal
	other[0] ^= 1
	v.Offers = []offerVector{
		offerVector{Kind: "recovery", Chain: testChain, Seed: seed, Journal: journal, Recipient: hex.EncodeToString(to[:])}.derive(t),
		offerVector{Kind: "device", Chain: testChain, Seed: seed, Journal: journal, Salt: hex.EncodeToString(bytes.Repeat([]byte{0x23}, 16)), Name: "Télefon"}.derive(t),
		offerVector{Kind: "guardian", Seed: guardian, ID: hex.EncodeToString(bytes.Repeat([]byte{0x24}, 16))}.derive(t),
		offerVector{Kind: "delegate", Chain: testChain, Seed: seed, Journal: journal}.derive(t),
	}
	for _, o := range v.Offers {
		expect := "offer"
		if o.Kind == "delegate" {
			expect = "delegate"
		}
		refuse := func(name, text string) *handedVector {
			h := invalid("an offer of a "+o.Kind+": "+name, o.Kind, expect, text)
			h.Chain, h.Journal = testChain, o.Journal
			return h
		}
		refuse("cut off", o.Text[:len(o.Text)-8])
		refuse("of another kind", strings.Replace(o.Text, "anamnesis-", "anamnesis-x-", 1))
		refuse("nothing", "")
		if o.Kind == "guardian" {
			raw := must(base64.RawURLEncoding.DecodeString(strings.TrimPrefix(o.Text, offerGuardian)))(t)
			clear(raw[16:48])
			refuse("without a key", writeOffer(offerGuardian, raw))
			continue
		}
		refuse("of another network", o.Text).Chain = "another.anamnesis"
		at := strings.Index(o.Text, ":") + 40 // in the key
		changed := byte('A')
		if o.Text[at] == changed {
			changed = 'B'
		}
		refuse("another key than the proof's", o.Text[:at]+string(changed)+o.Text[at+1:])
		if o.Kind == "delegate" {
			refuse("for another journal", o.Text).Journal = other
		}
	}
	name := DeviceOffer{Journal: journal, Key: signingKey(t, seed).Public(), Name: "two\nlines"}
	name.Proof = signingKey(t, seed).Sign(protocol.DeviceMessage(testChain, journal, name.Key, name.Commitment()))
	invalid("a device's name of two lines", "device", "offer", name.String()).Chain = testChain

	v.Kits = append(v.Kits, makeKit(t, d, v.Offers[2], func(id [16]byte, key protocol.PublicKey) protocol.GuardianPolicy {
		return protocol.GuardianPolicy{Salt: id, DelayMillis: 72 * 3_600_000, Groups: []protocol.GuardianGroup{{Need: 1, Keys: []protocol.PublicKey{key, d.author.Key.Public()}}}}
	}))
	kit := v.Kits[0].Kit
	refuse := func(name, text string) *handedVector {
		h := invalid("a kit: "+name, "kit", "kit", text)
		h.Seed = guardian
		return h
	}
	refuse("for another wallet", kit).Seed = seed
	refuse("cut off", kit[:len(kit)-20])
	refuse("nothing", "")
	refuse("an offer's id alone", kitPrefix+base64.RawURLEncoding.EncodeToString(make([]byte, 16)))
	refuse("whose policy leaves the guardian out", makeKit(t, d, v.Offers[2], func(id [16]byte, _ protocol.PublicKey) protocol.GuardianPolicy {
		return protocol.GuardianPolicy{Salt: id, Groups: []protocol.GuardianGroup{{Need: 1, Keys: []protocol.PublicKey{d.author.Key.Public()}}}}
	}).Kit)
	refuse("whose policy is none", makeKit(t, d, v.Offers[2], func(id [16]byte, _ protocol.PublicKey) protocol.GuardianPolicy {
		return protocol.GuardianPolicy{Salt: id}
	}).Kit)
	return v
}

// swapped exchanges the first two neighbours of a code that differ.
func swapped(code string) string {
	b := []byte(strings.ReplaceAll(code, "-", ""))
	for i := range len(b) - 1 {
		if b[i] != b[i+1] {
			b[i], b[i+1] = b[i+1], b[i]
			break
		}
	}
	return string(b)
}

func makeKit(t *testing.T, d *world, offer offerVector, policy func([16]byte, protocol.PublicKey) protocol.GuardianPolicy) kitVector {
	o := must(ParseGuardianOffer(offer.Text))(t)
	_, identity, err := walletOf(t, offer.Seed).guardianKeys(o.ID)
	must(0, err)(t)
	k := Kit{Network: d.wallet.Network, Handle: d.keys.Handle(), Policy: protocol.Encode(policy([16]byte{0x25}, o.Key)), Note: "Ada", Made: 1_763_875_260_123}
	return kitVector{Seed: offer.Seed, ID: offer.ID, Identity: identity.Reveal(), Key: o.Key, Kit: string(must(k.Seal(o))(t)), Content: string(must(json.Marshal(k))(t)),
		Policy: hex.EncodeToString(k.Policy), Guardians: protocol.GuardianCommitment(k.Network.Chain, k.Handle.Journal, k.Policy)}
}

func makeGlassVectors(t *testing.T) glassVectors {
	v := glassVectors{About: "Emergency cards and sealed reasons; see docs/spec/breakglass.md. Byte strings are lowercase hexadecimal, files base64. Keys in here are for tests alone."}
	d := newWorld(t)
	for i, chain := range []string{testChain, "another.anamnesis"} {
		v.Cards = append(v.Cards, cardVector{Code: Code{secret: NewSecret([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})}.Reveal(), Chain: chain, Handle: d.keys.Handle(),
			Nonce: hex.EncodeToString(bytes.Repeat([]byte{byte(0xb0 + i)}, 24))}.derive(t))
	}
	c := v.Cards[0]
	sealed := hexed(c.Sealed)(t)
	bad := func(name, code, chain string, sealed []byte) {
		v.InvalidCards = append(v.InvalidCards, badCardVector{name, "card", code, chain, hex.EncodeToString(sealed)})
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	bad("another code's", Code{secret: NewSecret(make([]byte, codeBytes))}.Reveal(), c.Chain, sealed)
	bad("another network's", c.Code, v.Cards[1].Chain, sealed)
	bad("a flipped bit", c.Code, c.Chain, flipped)
	bad("shorter than a nonce", c.Code, c.Chain, sealed[:23])
	bad("too large", c.Code, c.Chain, append(bytes.Clone(sealed), make([]byte, protocol.CardBytesMax)...))
	id, key := must(ParseCode(c.Code))(t).cardKeys(c.Chain)
	id[0] ^= 1
	bad("sealed under another card's name", c.Code, c.Chain, sealHandle(key, hexed(c.Nonce)(t), id[:], c.Handle))

	reviewers := make([]reviewerVector, 2)
	var keys []protocol.PublicKey
	for i := range reviewers {
		seed := hex.EncodeToString(bytes.Repeat([]byte{byte(0x31 + i)}, 32))
		public := signingKey(t, seed).Public()
		reviewers[i] = reviewerVector{Seed: seed, Key: public, SSH: sshLine(t, public)}
		keys = append(keys, public)
	}
	for i, text := range []string{"Unconscious after a fall; anticoagulants unknown. — Dr. Ü", "!"} {
		sealed := must(SealReason(text, d.keys.Identity.Recipient(), keys[:2-i]))(t)
		plain := must(io.ReadAll(must(age.Decrypt(bytes.NewReader(sealed.File), d.keys.Identity))(t)))(t)
		v.Reasons = append(v.Reasons, reasonVector{Text: text, Identity: d.keys.Identity.Reveal(), Reviewers: reviewers[:2-i], PlainSize: len(plain), Hash: sealed.Hash, File: sealed.File})
	}
	refuse := func(name string, identity string, file []byte, hash protocol.Hash) {
		v.InvalidReasons = append(v.InvalidReasons, badReasonVector{name, "reason", identity, hash, file})
	}
	mine, good := d.keys.Identity.Reveal(), v.Reasons[0]
	stranger := must(newIdentity(bytes.Repeat([]byte{0x41}, 32)))(t)
	refuse("for somebody else", stranger.Reveal(), good.File, good.Hash)
	refuse("not the file that the ledger names", mine, good.File, v.Reasons[1].Hash)
	of := func(plain []byte) []byte {
		return must(ageEncrypt(plain, must(d.keys.Identity.Recipient().age())(t)))(t)
	}
	refuseFile := func(name string, file []byte) { refuse(name, mine, file, sha256.Sum256(file)) }
	overhead := len(of(nil))
	refuseFile("a byte short of the one size", of(append([]byte("x"), make([]byte, protocol.ReasonFileBytes-overhead-2)...)))
	refuseFile("a byte over the one size", of(append([]byte("x"), make([]byte, protocol.ReasonFileBytes-overhead)...)))
	refuseFile("without padding", of([]byte("x")))
	refuseFile("zeros alone", of(make([]byte, protocol.ReasonFileBytes-overhead)))
	refuseFile("a text too long", of(append(bytes.Repeat([]byte{'x'}, ReasonTextBytesMax+1), make([]byte, protocol.ReasonFileBytes-overhead-ReasonTextBytesMax-1)...)))
	refuseFile("no text in UTF-8", of(append([]byte{0xff}, make([]byte, protocol.ReasonFileBytes-overhead-1)...)))
	return v
}
