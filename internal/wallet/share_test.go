package wallet

import (
	"bytes"
	"errors"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

func TestShareChannel(t *testing.T) {
	k := must(NewOneTimeKey())(t)
	good := ShareInfo{Chain: testChain, Access: protocol.AccessID{1}, Custodian: protocol.MemberID{2}, Generation: 3, Epoch: 4, OneTime: k.Public(), KEM: k.KEM()}
	if good.KEM != protocol.OneTimeX25519 {
		t.Errorf("KEM 0x%04x", good.KEM)
	}
	for _, answer := range [][]byte{nil, []byte("share"), make([]byte, ShareAnswerBytesMax)} {
		sealed := must(SealShare(good, answer))(t)
		if got, err := k.OpenShare(good, sealed); err != nil || !bytes.Equal(got, answer) {
			t.Fatalf("%d bytes: %v", len(answer), err)
		}
	}
	again := must(ParseOneTimeKey(must(k.Reveal())(t)))(t)
	sealed := must(SealShare(good, []byte("share")))(t)
	if got, err := again.OpenShare(good, sealed); err != nil || string(got) != "share" {
		t.Errorf("after a restart: %v", err)
	}
	for name, f := range map[string]func(*ShareInfo){
		"chain":      func(i *ShareInfo) { i.Chain += "x" },
		"access":     func(i *ShareInfo) { i.Access[0]++ },
		"custodian":  func(i *ShareInfo) { i.Custodian[0]++ },
		"generation": func(i *ShareInfo) { i.Generation++ },
		"epoch":      func(i *ShareInfo) { i.Epoch++ },
	} {
		info := good
		f(&info)
		if _, err := k.OpenShare(info, sealed); !errors.Is(err, ErrShare) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	for at := range sealed {
		bad := bytes.Clone(sealed)
		bad[at] ^= 1
		if _, err := k.OpenShare(good, bad); !errors.Is(err, ErrShare) {
			t.Fatalf("byte %d flipped: %v", at, err)
		}
	}
	for _, bad := range [][]byte{nil, sealed[:31], sealed[:40], append(bytes.Clone(sealed), 0), make([]byte, ShareAnswerBytesMax+100)} {
		if _, err := k.OpenShare(good, bad); !errors.Is(err, ErrShare) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	if _, err := must(NewOneTimeKey())(t).OpenShare(good, sealed); !errors.Is(err, ErrShare) {
		t.Errorf("another key: %v", err)
	}
}

func TestSealShareRefuses(t *testing.T) {
	k := must(NewOneTimeKey())(t)
	good := ShareInfo{Chain: testChain, OneTime: k.Public(), KEM: k.KEM()}
	for name, f := range map[string]func(*ShareInfo){
		"X-Wing":       func(i *ShareInfo) { i.KEM = 0x647a },
		"no KEM":       func(i *ShareInfo) { i.KEM = 0 },
		"the identity": func(i *ShareInfo) { i.OneTime = [32]byte{} },
		"small order":  func(i *ShareInfo) { i.OneTime = [32]byte{1} },
	} {
		info := good
		f(&info)
		if _, err := SealShare(info, []byte("x")); !errors.Is(err, ErrOneTimeKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := SealShare(good, make([]byte, ShareAnswerBytesMax+1)); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	if _, err := ParseOneTimeKey(NewSecret([]byte("short"))); !errors.Is(err, ErrOneTimeKey) {
		t.Error(err)
	}
}
