package wallet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// cheap makes scrypt fast; for tests.
var cheap = WithWorkFactor(2)

const passphrase = "correct horse battery staple"

func filledWallet(t testing.TB) *Wallet {
	d := newWorld(t)
	w := d.wallet
	w.Network.Policy = "log x\nquorum 3\n"
	must(w.OpenJournal("psychiatric care"))(t)
	must(w.AdoptJournal(protocol.Handle{Journal: protocol.JournalID{3}, Key: protocol.LabelKey{4}, Epoch: 2}, "adopted"))(t)
	must(0, w.RotateKeys(d.journal.ID))(t)
	must(0, w.Advance(Pin{Chain: testChain, Size: 9, Root: protocol.Hash{8}, Time: 7}, nil))(t)
	w.Contracts = []Contract{{ID: protocol.ContractID{1}, Journal: d.journal.ID, Template: "emergency-24h", Note: "Dr. Ada, ward 3", NotAfter: 12}}
	return w
}

func TestWalletFileRoundTrip(t *testing.T) {
	w := filledWallet(t)
	back := must(Decrypt(must(w.Encrypt(passphrase, cheap))(t), passphrase))(t)
	if !back.seed.secret.Equal(w.seed.secret) || back.Network != w.Network || fmt.Sprint(back.pins) != fmt.Sprint(w.pins) || fmt.Sprint(back.Contracts) != fmt.Sprint(w.Contracts) {
		t.Error("the wallet changed")
	}
	for i, j := range w.journals {
		k := back.journals[i]
		if !k.labelKey.Equal(j.labelKey) {
			t.Errorf("journal %d has another label key", i)
		}
		j.labelKey, k.labelKey = Secret{}, Secret{}
		if j != k {
			t.Errorf("journal %d: %+v became %+v", i, j, k)
		}
		if must(w.Keys(j.ID))(t).Handle() != must(back.Keys(j.ID))(t).Handle() {
			t.Errorf("journal %d has another handle", i)
		}
	}
}

func TestActorFileRoundTrip(t *testing.T) {
	n := Network{Chain: testChain, Gateway: "https://node.example"}
	for _, a := range []*Actor{NewMember(n, "Saint Elsewhere"), NewPractitioner(n, protocol.PractitionerID{2}, "")} {
		back := must(DecryptActor(must(a.Encrypt(passphrase, cheap))(t), passphrase))(t)
		if back.Signer() != a.Signer() || back.Name != a.Name || back.Network != a.Network {
			t.Errorf("%s changed", a.Kind)
		}
		if !bytes.Equal(back.Key.Sign([]byte("x")), a.Key.Sign([]byte("x"))) {
			t.Error("the key changed")
		}
	}
	if m := NewMember(n, "x"); m.ID != protocol.MemberIDOf(m.Key.Public()) {
		t.Error("a member's id is not its key's")
	}
	if _, err := (&Actor{Kind: protocol.ActorGuardian, ID: [16]byte{1}, Key: GenerateSigningKey()}).Encrypt(passphrase, cheap); err == nil {
		t.Error("a guardian is no actor: its keys derive from a wallet")
	}
	if _, err := (&Actor{Kind: protocol.ActorMember, ID: [16]byte{1}}).Encrypt(passphrase, cheap); err == nil {
		t.Error("an actor without a key")
	}
}

func TestFilesThatDoNotOpen(t *testing.T) {
	good := must(filledWallet(t).Encrypt(passphrase, cheap))(t)
	seal := func(content string) []byte {
		r := must(age.NewScryptRecipient(passphrase))(t)
		r.SetWorkFactor(2)
		return must(ageEncrypt([]byte(content), r))(t)
	}
	stranger := must(age.GenerateX25519Identity())(t)
	for name, c := range map[string]struct {
		file       []byte
		passphrase string
		want       error
	}{
		"wrong passphrase":     {good, "Correct horse battery staple", ErrPassphrase},
		"no passphrase":        {good, "", ErrPassphrase},
		"empty":                {nil, passphrase, ErrCorrupt},
		"text":                 {[]byte("hello"), passphrase, ErrCorrupt},
		"truncated":            {good[:len(good)-1], passphrase, ErrCorrupt},
		"too large":            {make([]byte, WalletFileBytesMax+1), passphrase, ErrCorrupt},
		"no passphrase's file": {must(ageEncrypt([]byte("{}"), stranger.Recipient()))(t), passphrase, ErrCorrupt},
		"a bill for the CPU":   {bytes.Replace(good, []byte(" 2\n"), []byte(" 21\n"), 1), passphrase, ErrWorkFactor},
		"work in words":        {bytes.Replace(good, []byte(" 2\n"), []byte(" x\n"), 1), passphrase, ErrCorrupt},
		"no work":              {bytes.Replace(good, []byte(" 2\n"), []byte(" 0\n"), 1), passphrase, ErrCorrupt},
		"not JSON":             {seal("seed"), passphrase, ErrCorrupt},
		"another kind":         {must(NewMember(Network{}, "x").Encrypt(passphrase, cheap))(t), passphrase, ErrCorrupt},
		"newer":                {seal(`{"format":"anamnesis-wallet","version":2,"new":true}`), passphrase, ErrTooNew},
		"version 0":            {seal(`{"format":"anamnesis-wallet","version":0}`), passphrase, ErrCorrupt},
		"unknown field":        {seal(`{"format":"anamnesis-wallet","version":1,"new":true}`), passphrase, ErrCorrupt},
		"short seed":           {seal(`{"format":"anamnesis-wallet","version":1,"seed":"00"}`), passphrase, ErrCorrupt},
		"trailing":             {seal(`{"format":"anamnesis-wallet","version":1} {}`), passphrase, ErrCorrupt},
		"foreign journal": {seal(`{"format":"anamnesis-wallet","version":1,"seed":"` + strings.Repeat("00", 32) +
			`","journals":[{"id":"` + strings.Repeat("11", 16) + `","index":0,"nickname":"a"}]}`), passphrase, ErrCorrupt},
	} {
		w, err := Decrypt(c.file, c.passphrase)
		if !errors.Is(err, c.want) || w != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), passphrase) || strings.Contains(err.Error(), "0000")) {
			t.Errorf("%s: the error tells too much: %v", name, err)
		}
	}
	if _, err := DecryptActor(good, passphrase); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a wallet as an actor: %v", err)
	}
	for at := 0; at < len(good); at++ {
		file := bytes.Clone(good)
		file[at] ^= 1
		if _, err := Decrypt(file, passphrase); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrPassphrase) && !errors.Is(err, ErrWorkFactor) {
			t.Fatalf("byte %d flipped: %v", at, err)
		}
	}
}

func TestEncryptRefuses(t *testing.T) {
	w := filledWallet(t)
	for _, logN := range []int{-1, 0, ScryptLogNMax + 1, 99} {
		if _, err := w.Encrypt(passphrase, WithWorkFactor(logN)); !errors.Is(err, ErrLimit) {
			t.Errorf("work factor %d: %v", logN, err)
		}
	}
	if _, err := w.Encrypt("", cheap); !errors.Is(err, ErrPassphrase) {
		t.Error(err)
	}
	if _, err := new(Wallet).Encrypt(passphrase, cheap); err == nil {
		t.Error("a wallet without a seed")
	}
	w.Network.Policy = strings.Repeat("x", PolicyBytesMax+1)
	if _, err := w.Encrypt(passphrase, cheap); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	w.Network.Policy = ""
	w.Contracts = []Contract{{Note: "a\x00b"}}
	if _, err := w.Encrypt(passphrase, cheap); !errors.Is(err, ErrText) {
		t.Error(err)
	}
}

func TestDefaultWorkFactorIsNotCheap(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: a second of scrypt")
	}
	file := must(New(Network{}).Encrypt(passphrase))(t)
	if !bytes.Contains(file[:120], []byte(" 18\n")) {
		t.Errorf("%q", file[:120])
	}
}

func TestFilesOnDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "wallet.age")
	one, two := []byte("one"), []byte("two")
	if err := CreateFile(path, one); err != nil {
		t.Fatal(err)
	}
	if mode := must(os.Stat(path))(t).Mode(); mode.Perm() != 0o600 {
		t.Errorf("mode %v", mode)
	}
	if err := CreateFile(path, two); !errors.Is(err, ErrExists) {
		t.Errorf("overwritten: %v", err)
	}
	if got := must(ReadFile(path))(t); !bytes.Equal(got, one) {
		t.Errorf("%q", got)
	}
	if err := ReplaceFile(path, two, two); !errors.Is(err, ErrChanged) {
		t.Errorf("replaced what was never read: %v", err)
	}
	if err := ReplaceFile(path, one, two); err != nil {
		t.Fatal(err)
	}
	if mode := must(os.Stat(path))(t).Mode(); mode.Perm() != 0o600 {
		t.Errorf("mode %v after replacing", mode)
	}
	if err := ReplaceFile(path, one, one); !errors.Is(err, ErrChanged) {
		t.Errorf("a second program's change is lost: %v", err)
	}
	if err := ReplaceFile(filepath.Join(dir, "none"), nil, one); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := CreateFile(filepath.Join(dir, "no", "folder"), one); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	big := filepath.Join(dir, "big")
	must(0, os.WriteFile(big, make([]byte, WalletFileBytesMax+1), 0o600))(t)
	if _, err := ReadFile(big); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	var names []string
	for _, e := range must(os.ReadDir(dir))(t) {
		names = append(names, e.Name())
	}
	if strings.Join(names, " ") != "big wallet.age" {
		t.Errorf("left behind: %v", names)
	}
}

func FuzzDecodeFile(f *testing.F) {
	w := filledWallet(f)
	good := must(w.Encrypt(passphrase, cheap))(f)
	f.Add(good)
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 2\n\n--- AAAA\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if bytes.Contains(file, []byte("-> scrypt")) && !bytes.Equal(file, good) {
			if checkScryptHeader(file) == nil {
				return // would cost up to a gigabyte of scrypt
			}
		}
		if w, err := Decrypt(file, passphrase); (w == nil) == (err == nil) {
			t.Error(err)
		}
	})
}

func FuzzWalletContent(f *testing.F) {
	d := newWorld(f)
	f.Add([]byte(`{"format":"anamnesis-wallet","version":1,"seed":"` + d.wallet.seed.secret.Hex() + `","network":{"chain":"x","gateway":"","policy":""},"journals":null,"pins":null,"contracts":null}`))
	f.Add([]byte(`{"format":"anamnesis-wallet","version":1}`))
	f.Fuzz(func(t *testing.T, plain []byte) {
		var file walletFile
		if err := decodeFile(plain, formatWallet, &file); err != nil {
			return
		}
		w, err := file.wallet()
		if err != nil {
			return
		}
		again := must(w.file())(t)
		b := must(json.Marshal(again))(t)
		var second walletFile
		if err := decodeFile(b, formatWallet, &second); err != nil {
			t.Error(err)
		}
	})
}
