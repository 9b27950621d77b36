package wallet

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"
	"pgregory.net/rapid"

	"github.com/anamnesis-health/anamnesis/protocol"
)

func TestCodeCatchesTypingErrors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SliceOfN(rapid.Byte(), codeBytes, codeBytes).Draw(t, "secret")
		c := Code{secret: NewSecret(secret)}
		text := c.Reveal()
		back, err := ParseCode(strings.NewReplacer("0", "o", "1", "l", "-", " ").Replace(strings.ToLower(text)))
		if err != nil || !bytes.Equal(back.secret.Reveal(), secret) {
			t.Fatalf("it does not come back: %v", err)
		}
		digits := []byte(strings.ReplaceAll(text, "-", ""))
		at := rapid.IntRange(0, len(digits)-1).Draw(t, "at")
		wrong := bytes.Clone(digits)
		wrong[at] = codeAlphabet[rapid.IntRange(0, 31).Draw(t, "other")]
		if _, err := ParseCode(string(wrong)); (err == nil) != bytes.Equal(wrong, digits) {
			t.Fatalf("character %d: %v", at, err)
		}
		at = rapid.IntRange(0, 14).Draw(t, "swapped")
		wrong = bytes.Clone(digits)
		wrong[at], wrong[at+1] = wrong[at+1], wrong[at]
		if _, err := ParseCode(string(wrong)); (err == nil) != bytes.Equal(wrong, digits) {
			t.Fatalf("characters %d and %d swapped: %v", at, at+1, err)
		}
	})
	c := NewCode()
	if s := fmt.Sprintf("%v %+v %s", c, c, c); strings.Contains(s, c.Reveal()) || !strings.Contains(s, redacted) {
		t.Errorf("it prints as %s", s)
	}
	for _, text := range []string{"", "0", strings.Repeat("0", 17), strings.Repeat("0", 19), "UUUUU-UUUU-UUUUU-UUUU", strings.Repeat("Z", 18)} {
		if _, err := ParseCode(text); !errors.Is(err, ErrCode) || text != "" && len(text) > 3 && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCardOpensWithItsCodeAlone(t *testing.T) {
	h := protocol.Handle{Journal: protocol.JournalID{7}, Key: protocol.LabelKey{8}, Epoch: 1}
	c := NewCode()
	set := c.SealCard("test-net", h)
	if err := set.Validate(); err != nil || set.Card != c.CardID("test-net") {
		t.Fatal(err)
	}
	if got, err := c.OpenCard("test-net", set.Sealed); err != nil || got != h {
		t.Fatalf("%v %v", got, err)
	}
	if bytes.Contains(set.Sealed, h.Journal[:]) || set.Card == c.CardID("other-net") {
		t.Error("a card must say nothing, and nothing on another network")
	}
	for name, open := range map[string]func() error{
		"another code":    func() error { _, err := NewCode().OpenCard("test-net", set.Sealed); return err },
		"another network": func() error { _, err := c.OpenCard("other-net", set.Sealed); return err },
		"a flipped bit": func() error {
			b := bytes.Clone(set.Sealed)
			b[40] ^= 1
			_, err := c.OpenCard("test-net", b)
			return err
		},
		"cut off": func() error { _, err := c.OpenCard("test-net", set.Sealed[:10]); return err },
		"nothing": func() error { _, err := c.OpenCard("test-net", nil); return err },
	} {
		if err := open(); !errors.Is(err, ErrCard) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReasonOpensForPatientAndReviewersAlone(t *testing.T) {
	w := New(Network{Chain: "test-net"})
	j, err := w.OpenJournal("own")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := w.Keys(j.ID)
	if err != nil {
		t.Fatal(err)
	}
	chief, other := NewPractitioner(w.Network, protocol.PractitionerID{1}, ""), NewPractitioner(w.Network, protocol.PractitionerID{2}, "")
	const text = "Unconscious after a fall; anticoagulants unknown."
	short, err := SealReason("!", keys.Identity.Recipient(), nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := SealReason(text, keys.Identity.Recipient(), []protocol.PublicKey{chief.Key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed.File) != len(short.File) || len(sealed.File) != protocol.ReasonFileBytes || !LooksLikeReason(sealed.File[:100], int64(len(sealed.File))) {
		t.Errorf("%d and %d bytes", len(sealed.File), len(short.File))
	}
	review := func(a *Actor) age.Identity {
		id, err := a.ReviewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for _, who := range []age.Identity{keys.Identity, review(chief)} {
		if got, err := OpenReason(sealed.File, sealed.Hash, who); err != nil || got != text {
			t.Errorf("%q %v", got, err)
		}
	}
	if _, err := OpenReason(sealed.File, sealed.Hash, review(other)); !errors.Is(err, ErrReason) {
		t.Errorf("it opens for somebody else: %v", err)
	}
	if _, err := OpenReason(short.File, sealed.Hash, keys.Identity); !errors.Is(err, ErrReason) {
		t.Errorf("another file passes: %v", err)
	}
	for _, bad := range []string{"", "  ", strings.Repeat("x", ReasonTextBytesMax+1), "\xff"} {
		if _, err := SealReason(bad, keys.Identity.Recipient(), nil); !errors.Is(err, ErrText) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOfferIsForOneJournalOfOneNetwork(t *testing.T) {
	a := NewDelegate(Network{Chain: "test-net"}, protocol.JournalID{7}, "Anna")
	key, proof, err := ParseOffer(" "+a.Offer()+"\n", "test-net", protocol.JournalID{7})
	if err != nil || key != a.Key.Public() || len(proof) != 64 {
		t.Fatal(err)
	}
	for name, try := range map[string][2]any{"another journal": {"test-net", protocol.JournalID{8}}, "another network": {"other-net", protocol.JournalID{7}}} {
		if _, _, err := ParseOffer(a.Offer(), try[0].(string), try[1].(protocol.JournalID)); !errors.Is(err, ErrOffer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "anamnesis-delegate:", a.Offer()[:60], a.Offer() + "A", strings.Repeat("A", 1<<20)} {
		if _, _, err := ParseOffer(text, "test-net", protocol.JournalID{7}); !errors.Is(err, ErrOffer) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}
