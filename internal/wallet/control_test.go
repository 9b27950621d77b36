package wallet

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

func adopted(t *testing.T) (*Wallet, *JournalKeys) {
	t.Helper()
	w := New(Network{Chain: testChain})
	j := must(w.OpenJournal("main"))(t)
	return w, must(w.Keys(j.ID))(t)
}

// Offers come back as they were, and nothing else passes for one: no flipped character, other kind, other network.
func TestOffers(t *testing.T) {
	w, k := adopted(t)
	device := must(k.OfferDevice(testChain, "phone, 2nd"))(t)
	guardian := must(w.OfferGuardian())(t)
	if got := must(ParseSuccessor(k.Successor(testChain).String(), testChain))(t); fmt.Sprint(got) != fmt.Sprint(k.Successor(testChain)) {
		t.Error("a successor changed")
	}
	if got := must(ParseDeviceOffer(" "+device.String()+"\n", testChain))(t); got.Name != device.Name || got.Commitment() != device.Commitment() || got.Key != k.Signing.Public() {
		t.Error("a device changed")
	}
	if got := must(ParseGuardianOffer(guardian.String()))(t); got != guardian {
		t.Error("a guardian changed")
	}
	parse := map[string]func(string) error{
		k.Successor(testChain).String(): func(s string) error { _, err := ParseSuccessor(s, testChain); return err },
		device.String():                 func(s string) error { _, err := ParseDeviceOffer(s, testChain); return err },
	}
	for text, read := range parse {
		for i := range len(text) {
			c := byte('A')
			if text[i] == c {
				c = 'B'
			}
			if read(text[:i]+string(c)+text[i+1:]) == nil && i < len(text)-1 { // the last character has bits to spare
				t.Fatalf("%.20s… with character %d changed is taken", text, i)
			}
		}
		for _, bad := range []string{"", text[:len(text)-3], text + "AAAA", strings.Repeat(text, 10), guardian.String()} {
			if err := read(bad); !errors.Is(err, ErrControlOffer) {
				t.Errorf("%.30q: %v", bad, err)
			}
		}
	}
	if _, err := ParseSuccessor(k.Successor("other-net").String(), testChain); !errors.Is(err, ErrControlOffer) {
		t.Error("of another network:", err)
	}
	if _, err := k.OfferDevice(testChain, "two\nlines"); err == nil {
		t.Error("a device's name of two lines")
	}
}

// A kit opens for the guardian who made the offer, and for nobody else; it opens no record.
func TestKits(t *testing.T) {
	_, k := adopted(t)
	mum, dad := New(Network{}), New(Network{})
	offers := []GuardianOffer{must(mum.OfferGuardian())(t), must(dad.OfferGuardian())(t)}
	policy := must(NewGuardianPolicy(1000, []int{2}, [][]GuardianOffer{offers}))(t)
	kit := Kit{Network: Network{Chain: testChain}, Handle: k.Handle(), Policy: protocol.Encode(policy), Note: "Ada", Made: 5}
	sealed := must(kit.Seal(offers[0]))(t)
	g := must(mum.OpenKit(sealed))(t)
	if g.Kit.Handle != kit.Handle || g.Kit.Note != "Ada" || g.Key.Public() != offers[0].Key || g.Signer().Kind != protocol.ActorGuardian {
		t.Error("the kit changed")
	}
	if strings.Contains(string(sealed), k.Handle().String()) || fmt.Sprintf("%v", g) != redacted {
		t.Error("a kit shows what it holds")
	}
	for what, text := range map[string][]byte{"for another": must(kit.Seal(offers[1]))(t), "cut off": sealed[:len(sealed)/2], "empty": nil,
		"other text": []byte("anamnesis-guardian-kit:AAAA")} {
		if _, err := mum.OpenKit(text); !errors.Is(err, ErrKit) {
			t.Errorf("%s: %v", what, err)
		}
	}
	strangers := must(NewGuardianPolicy(1000, []int{1}, [][]GuardianOffer{{offers[1]}}))(t)
	kit.Policy = protocol.Encode(strangers)
	if _, err := mum.OpenKit(must(kit.Seal(offers[0]))(t)); !errors.Is(err, ErrKit) {
		t.Error("a kit whose policy leaves the guardian out:", err)
	}
	if _, err := NewGuardianPolicy(1000, []int{3}, [][]GuardianOffer{offers}); err == nil {
		t.Error("three of two")
	}
	if _, err := NewGuardianPolicy(1000, []int{1, 1}, [][]GuardianOffer{offers[:1], offers[:1]}); err == nil {
		t.Error("one guardian in two groups")
	}
	if a, b := must(mum.OfferGuardian())(t), must(mum.OfferGuardian())(t); a.Key == b.Key || a.Recipient == b.Recipient {
		t.Error("two offers of a guardian can be linked")
	}
}

// A code's keys are the same wherever it is typed, of this network alone, and open its package only.
func TestClaimCodes(t *testing.T) {
	code := NewCode()
	typed := must(ParseCode(strings.ToLower(strings.ReplaceAll(code.Reveal(), "-", " "))))(t)
	a, b, other := code.ClaimKeys(testChain), typed.ClaimKeys(testChain), code.ClaimKeys("other-net")
	if a.Lookup != b.Lookup || a.Key.Public() != b.Key.Public() || a.Lookup == other.Lookup || a.Key.Public() == other.Key.Public() {
		t.Error("the code's keys are not its own")
	}
	p := NewProvisional(Network{Chain: testChain}, "bed 1")
	sealed := a.Seal(p.Handle)
	if h := must(b.Open(sealed))(t); h != p.Handle || p.Actor.ID != p.Handle.Journal {
		t.Error("another handle")
	}
	sealed[len(sealed)-1] ^= 1
	for _, bad := range [][]byte{sealed, nil, sealed[:10], make([]byte, ClaimBytesMax+1)} {
		if _, err := a.Open(bad); !errors.Is(err, ErrClaim) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	if _, err := other.Open(a.Seal(p.Handle)); !errors.Is(err, ErrClaim) {
		t.Error("opened with a key of another network")
	}
	if s := fmt.Sprintf("%v %+v %#v", a, p.Actor, code); strings.Contains(s, code.Reveal()) || !strings.Contains(s, redacted) {
		t.Error("printed:", s)
	}
}

// A rehearsal tells a backup that brings everything back from one that does not, and changes nothing.
func TestRehearsal(t *testing.T) {
	w, k := adopted(t)
	gift := protocol.Handle{Journal: protocol.JournalID{9}, Key: protocol.LabelKey{9}}
	whole := must(Decrypt(must(w.Encrypt(passphrase, cheap))(t), passphrase))(t)
	if r := must(w.Rehearse(whole, false))(t); !r.Complete() || len(r.Journals) != 1 || !r.Journals[0].Known {
		t.Errorf("%+v", r)
	}
	words := must(FromWords(w.Seed().Words(), Network{}))(t)
	if r := must(w.Rehearse(words, true))(t); !r.Complete() {
		t.Errorf("words: %+v", r)
	}
	if err := w.RotateKeys(k.Journal); err != nil {
		t.Fatal(err)
	}
	if r := must(w.Rehearse(whole, false))(t); r.Complete() || r.Journals[0].Keys {
		t.Errorf("a backup from before a rotation: %+v", r)
	}
	if _, err := w.AdoptJournal(gift, "gift"); err != nil {
		t.Fatal(err)
	}
	if r := must(w.Rehearse(words, true))(t); r.Complete() || !r.Journals[0].Keys || !r.Journals[1].Keys || r.Journals[1].Handle {
		t.Errorf("words do not bring back the handle of a journal that was taken over: %+v", r)
	}
	if r := must(w.Rehearse(New(Network{}), false))(t); r.SameSeed || r.Complete() {
		t.Errorf("another wallet: %+v", r)
	}
	if len(words.Journals()) != 0 || len(w.Journals()) != 2 {
		t.Error("a rehearsal changed something")
	}
	w.Drop(gift.Journal)
	if len(w.Journals()) != 1 {
		t.Error("not dropped")
	}
}

// After rotations the identities before still open, newest first.
func TestIdentitiesOverRotations(t *testing.T) {
	w, k := adopted(t)
	for range 3 {
		if err := w.RotateKeys(k.Journal); err != nil {
			t.Fatal(err)
		}
	}
	all := must(w.Keys(k.Journal))(t).Identities()
	past := must(w.PastIdentities(k.Journal))(t)
	if len(all) != 4 || all[3].Recipient() != k.Identity.Recipient() || len(past) != 3 || past[0].Recipient() != all[1].Recipient() {
		t.Error("identities are missing or out of order")
	}
}
