package wallet

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Vectors of BIP-39 (trezor/python-mnemonic vectors.json), those of 256 bits.
var bip39Vectors = map[string]string{
	"0000000000000000000000000000000000000000000000000000000000000000": strings.Repeat("abandon ", 23) + "art",
	"7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f": "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title",
	"8080808080808080808080808080808080808080808080808080808080808080": "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless",
	"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": strings.Repeat("zoo ", 23) + "vote",
}

func TestWordsAreBIP39(t *testing.T) {
	for entropy, words := range bip39Vectors {
		seed := Seed{NewSecret(must(hex.DecodeString(entropy))(t))}
		if got := seed.Words(); got != words {
			t.Errorf("%s: %q", entropy, got)
		}
		back, err := ParseWords("  " + strings.ToUpper(strings.ReplaceAll(words, " ", "\n")) + " ")
		if err != nil || !back.secret.Equal(seed.secret) {
			t.Errorf("%s does not come back: %v", entropy, err)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		seed := Seed{NewSecret(rapid.SliceOfN(rapid.Byte(), SeedBytes, SeedBytes).Draw(r, "seed"))}
		back, err := ParseWords(seed.Words())
		if err != nil || !back.secret.Equal(seed.secret) {
			r.Fatalf("%s does not come back: %v", seed.secret.Hex(), err)
		}
	})
}

func TestMistypedWords(t *testing.T) {
	good := strings.Fields(bip39Vectors["7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f"])
	swapped := append([]string{good[1], good[0]}, good[2:]...)
	misspelt := append(append([]string{}, good[:6]...), append([]string{"wurth"}, good[7:]...)...)
	for words, says := range map[string]string{
		"":                              "there are 0",
		strings.Join(good[:12], " "):    "there are 12",
		strings.Join(misspelt, " "):     "word 7",
		strings.Join(swapped, " "):      "checksum",
		strings.Repeat("abandon ", 24):  "checksum",
		strings.Join(good, " ") + " up": "there are 25",
	} {
		_, err := ParseWords(words)
		if !errors.Is(err, ErrWords) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", words, err)
		}
		if err != nil && (strings.Contains(err.Error(), "wurth") || strings.Contains(err.Error(), "winner")) {
			t.Errorf("the error repeats a word: %v", err)
		}
	}
}

func TestWalletComesBackFromWords(t *testing.T) {
	a := New(Network{Chain: testChain})
	for i := range 3 {
		must(a.OpenJournal(fmt.Sprint("journal ", i)))(t)
	}
	b := must(FromWords(a.Seed().Words(), a.Network))(t)
	if a.ID() != b.ID() || len(a.ID()) != 32 {
		t.Errorf("%s became %s", a.ID(), b.ID())
	}
	for i, j := range a.Journals() {
		if got := must(b.OpenJournal(fmt.Sprint("journal ", i)))(t); got.ID != j.ID {
			t.Fatalf("journal %d: %s became %s", i, j.ID, got.ID)
		}
		x, y := must(a.Keys(j.ID))(t), must(b.Keys(j.ID))(t)
		if x.Signing.Public() != y.Signing.Public() || x.Identity.Recipient() != y.Identity.Recipient() || x.Handle() != y.Handle() {
			t.Errorf("journal %d has other keys", i)
		}
	}
	if New(Network{}).ID() == a.ID() {
		t.Error("two wallets are one")
	}
}

// TestNothingLinksTwoJournals compares every public value of many journals and epochs: all differ.
func TestNothingLinksTwoJournals(t *testing.T) {
	d := newWorld(t)
	seen := map[string]string{}
	note := func(value []byte, what string) {
		if was, ok := seen[string(value)]; ok {
			t.Fatalf("%s is also %s", what, was)
		}
		seen[string(value)] = what
	}
	for i := range uint32(20) {
		id := d.wallet.seed.JournalID(i)
		note(id[:], fmt.Sprint("id ", i))
		for e := range uint8(3) {
			k := must(d.wallet.seed.journalKeys(id, e, e))(t)
			public, recipient, label := k.Signing.Public(), k.Identity.Recipient(), k.Handle().Label("labs")
			note(public[:], fmt.Sprint("key ", i, e))
			note(recipient[:], fmt.Sprint("recipient ", i, e))
			note(k.labelKey.Reveal(), fmt.Sprint("label key ", i, e))
			note(label[:], fmt.Sprint("label ", i, e))
		}
	}
}

func TestRotationAndAdoption(t *testing.T) {
	d := newWorld(t)
	w, id := d.wallet, d.journal.ID
	before := d.keys
	s := d.seal(t, []byte("{}"))
	if err := errors.Join(w.RotateKeys(id), w.RotateHandle(id)); err != nil {
		t.Fatal(err)
	}
	after := must(w.Keys(id))(t)
	if after.Signing.Public() == before.Signing.Public() || after.Identity.Recipient() == before.Identity.Recipient() || after.Handle().Key == before.Handle().Key || after.Handle().Epoch != 1 {
		t.Error("a key stayed")
	}
	past := must(w.PastIdentities(id))(t)
	if len(past) != 1 || past[0].Recipient() != before.Identity.Recipient() {
		t.Fatal("the earlier identity is lost")
	}
	if _, err := Open(s.File, past[0], s.Entry()); err != nil {
		t.Error(err)
	}

	heir := New(Network{Chain: testChain})
	if _, err := heir.AdoptJournal(after.Handle(), "inherited"); err != nil {
		t.Fatal(err)
	}
	inherited := must(heir.Keys(id))(t)
	if inherited.Handle() != after.Handle() || inherited.Signing.Public() == after.Signing.Public() {
		t.Error("the handle goes over, the keys do not")
	}
	own := must(heir.OpenJournal("own"))(t)
	if own.Index != 0 || own.ID != heir.seed.JournalID(0) {
		t.Error("an adopted journal took a place in the tree")
	}
	if err := heir.RotateHandle(id); err != nil {
		t.Fatal(err)
	}
	if k := must(heir.Keys(id))(t); k.Handle().Key == after.Handle().Key || k.Handle().Epoch != 2 {
		t.Error("the inherited handle did not rotate")
	}
	for range 254 {
		if err := w.RotateKeys(id); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.RotateKeys(id); !errors.Is(err, ErrLimit) {
		t.Errorf("the 256th rotation: %v", err)
	}
}

func TestFindAndAddJournals(t *testing.T) {
	w := New(Network{})
	j := must(w.OpenJournal("main"))(t)
	for _, name := range []string{"", "main", j.ID.String()} {
		if got := must(w.Find(name))(t); got.ID != j.ID {
			t.Errorf("%q finds %s", name, got.ID)
		}
	}
	for _, name := range []string{"main", "", "a\nb", strings.Repeat("x", TextBytesMax+1), "\xff"} {
		if _, err := w.OpenJournal(name); !errors.Is(err, ErrText) {
			t.Errorf("%q: %v", name, err)
		}
	}
	must(w.OpenJournal("other"))(t)
	for _, name := range []string{"", "Main", "none"} {
		if _, err := w.Find(name); !errors.Is(err, ErrUnknownJournal) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := w.Keys(protocol.JournalID{1}); !errors.Is(err, ErrUnknownJournal) {
		t.Error(err)
	}
	for i := len(w.journals); i < JournalsMax; i++ {
		must(w.OpenJournal(fmt.Sprint(i, "th")))(t)
	}
	if _, err := w.OpenJournal("one too many"); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}

func TestBech32IsAges(t *testing.T) {
	if got := bech32("a", nil); got != "a12uel5l" { // BIP-173
		t.Error(got)
	}
	for range 50 {
		id := must(age.GenerateX25519Identity())(t)
		ours := must(newIdentity(must(scalarOf(id.String()))(t)))(t)
		if ours.Reveal() != id.String() || ours.Recipient().String() != id.Recipient().String() {
			t.Fatalf("%s became %s", id.Recipient(), ours.Recipient())
		}
		if _, err := ours.Recipient().age(); err != nil {
			t.Fatal(err)
		}
	}
}

// scalarOf decodes an identity without checking its checksum, which age wrote.
func scalarOf(identity string) ([]byte, error) {
	data := strings.ToLower(identity)[len("age-secret-key-1"):]
	var acc, bits uint32
	var out []byte
	for _, c := range data[:len(data)-6] {
		acc = acc<<5 | uint32(strings.IndexRune(bech32Charset, c))
		if bits += 5; bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits))
		}
	}
	if len(out) != 32 {
		return nil, fmt.Errorf("%d bytes", len(out))
	}
	return out, nil
}

// TestNothingPrintsASecret prints everything that holds a secret in every way, alone and buried in other values.
func TestNothingPrintsASecret(t *testing.T) {
	d := newWorld(t)
	must(d.wallet.AdoptJournal(protocol.Handle{Journal: protocol.JournalID{3}, Key: protocol.LabelKey(bytes.Repeat([]byte{0xc3}, 16))}, "adopted"))(t)
	once := must(NewOneTimeKey())(t)
	onceSecret := must(once.Reveal())(t)
	secrets := map[string][]byte{
		"seed": d.wallet.seed.secret.Reveal(), "signing key": d.keys.Signing.seed(), "actor key": d.author.Key.seed(),
		"label key": bytes.Repeat([]byte{0xc3}, 16), "own label key": d.keys.labelKey.Reveal(),
		"identity": must(scalarOf(d.keys.Identity.Reveal()))(t), "one-time key": onceSecret.Reveal(),
	}
	type buried struct {
		s    Secret
		w    *Wallet
		k    *SigningKey
		E    Seed
		self any
	}
	secret := NewSecret(secrets["seed"])
	values := []any{
		secret, &secret, d.wallet.seed, &d.wallet.seed, d.wallet, *d.wallet, d.author, *d.author, d.keys, *d.keys, d.keys.Signing, *d.keys.Signing,
		d.keys.Identity, *d.keys.Identity, once, *once, onceSecret, d.wallet.journals, d.wallet.journals[1],
		[]Secret{secret}, map[string]Secret{"x": secret}, map[string]any{"w": d.wallet, "k": *d.keys}, []any{d.keys, *d.author},
		buried{secret, d.wallet, d.keys.Signing, d.wallet.seed, d.keys.Identity}, &buried{s: secret, self: *d.keys},
		fmt.Errorf("it failed with %v, %s", secret, d.keys), struct{ s *SigningKey }{d.keys.Signing}, struct{ w Wallet }{*d.wallet},
		struct{ i Identity }{*d.keys.Identity}, struct{ o OneTimeKey }{*once}, struct{ k SigningKey }{*d.keys.Signing}, struct{ a any }{*d.author},
		struct{ a any }{*d.wallet}, struct{ a any }{*once},
	}
	for i, v := range values {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if j, err := json.Marshal(v); err == nil {
			out.Write(j)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		for name, b := range secrets {
			if leaks(out.String(), b) {
				t.Errorf("value %d (%T) shows the %s", i, v, name)
			}
		}
		for _, text := range []string{d.wallet.seed.Words(), d.keys.Identity.Reveal(), d.keys.Handle().String()} {
			if strings.Contains(out.String(), text) {
				t.Errorf("value %d (%T) shows %.8s…", i, v, text)
			}
		}
	}
	if !leaks(fmt.Sprintf("%v", secrets["identity"]), secrets["identity"]) || !leaks(fmt.Sprintf("%#v", secrets["seed"]), secrets["seed"]) {
		t.Error("this test does not see a leak")
	}
}

// leaks looks for six bytes of b in a row, in the ways that fmt and json write bytes.
func leaks(out string, b []byte) bool {
	part := b[4:10]
	for _, f := range []string{"%x", "%X", "% x", "%d", "%#v", "%08b", "%q", "%s"} {
		form := fmt.Sprintf(f, part)
		form = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(form, "[]byte"), "{"), "}")
		if strings.Contains(out, strings.Trim(form, `[]"`)) {
			return true
		}
	}
	return false
}

func TestWipedSecretsAreGone(t *testing.T) {
	s := NewSecret([]byte("0123456789abcdef"))
	same := s
	if !s.Equal(same) || s.IsZero() {
		t.Fatal("not there")
	}
	s.Wipe()
	if !same.IsZero() || len(same.Reveal()) != 0 || !(Secret{}).IsZero() {
		t.Error("still there")
	}
	Secret{}.Wipe()
}

func TestPinsOnlyGrow(t *testing.T) {
	var leaves []protocol.Hash
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range at {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for i := range 20 {
		record := fmt.Appendf(nil, "%d", i)
		leaves = append(leaves, protocol.Hash(tlog.RecordHash(record)))
		stored = append(stored, must(tlog.StoredHashes(int64(i), record, reader))(t)...)
	}
	at := func(n uint64) Pin { return Pin{Chain: testChain, Size: n, Root: treeHash(leaves[:n]), Time: 1000 + n} }
	proof := func(from, to int64) (out []protocol.Hash) {
		for _, h := range must(tlog.ProveTree(to, from, reader))(t) {
			out = append(out, protocol.Hash(h))
		}
		return out
	}
	w := New(Network{})
	step := func(p Pin, proof []protocol.Hash, want error) {
		t.Helper()
		before, _ := w.Pin(testChain)
		if err := w.Advance(p, proof); !errors.Is(err, want) {
			t.Errorf("size %d: %v, want %v", p.Size, err, want)
		}
		if now, _ := w.Pin(testChain); want != nil && now != before {
			t.Error("a refused checkpoint was remembered")
		}
	}
	step(at(5), nil, nil)
	step(at(5), nil, nil)
	step(at(13), proof(5, 13), nil)
	step(at(12), proof(5, 12), ErrRollback)
	fork := at(13)
	fork.Root[0]++
	step(fork, nil, ErrFork)
	step(at(20), proof(12, 20), ErrFork)
	step(at(20), nil, ErrFork)
	fork = at(20)
	fork.Root[3]++
	step(fork, proof(13, 20), ErrFork)
	step(at(20), proof(13, 20), nil)
	step(Pin{Chain: testChain}, nil, ErrText)
	step(Pin{Size: 3}, nil, ErrText)
	old := at(20)
	old.Time = 1
	step(old, nil, nil)
	if p, ok := w.Pin(testChain); !ok || p.Time != 1020 {
		t.Error("the pin's time went back")
	}
	for i := 1; i < PinsMax; i++ {
		must(0, w.Advance(Pin{Chain: fmt.Sprint("c", i), Size: 1}, nil))(t)
	}
	if err := w.Advance(Pin{Chain: "one-more", Size: 1}, nil); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}
