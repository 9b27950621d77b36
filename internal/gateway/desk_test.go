package gateway

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"sync"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// awaited is a provisional journal of m1 with a package at the desk.
type awaited struct {
	*ledgertest.Who
	code    ed25519.PrivateKey
	codeKey protocol.PublicKey
	lookup  []byte
}

func (s *site) awaited(name string) awaited {
	k, pub := ledgertest.Key(name)
	a := awaited{Who: &ledgertest.Who{Name: name, Key: k, Signer: protocol.PatientSigner(protocol.JournalID(pub[:16]), pub)}, lookup: []byte(strings.Repeat(name, 16)[:16])}
	a.code, a.codeKey = ledgertest.Key("code of " + name)
	sponsor := protocol.MemberID(s.m1.Signer.ID)
	s.w.Must(a.Who, a.Journal(), &protocol.OpenJournal{Recipient: protocol.NobodyRecipient(s.w.L.Chain(), a.Journal()), Sponsor: sponsor, Claim: protocol.ClaimCommitment(s.w.L.Chain(), a.Journal(), a.codeKey),
		Agreement: ed25519.Sign(s.m1.Key, protocol.SponsorMessage(s.w.L.Chain(), sponsor, a.Journal(), pub))})
	if r := s.call(s.m1, "POST", api.PathClaims, api.ClaimPackage{Lookup: a.lookup, Journal: a.Journal(), Sealed: []byte("sealed"), DateOfBirth: "1980-02-03"}); r.status != 204 {
		s.t.Fatalf("%d %s", r.status, r.body)
	}
	return a
}

func (a awaited) agree(chain string, controller protocol.PublicKey) api.ClaimAgree {
	recipient := bytes.Repeat([]byte{2}, 32)
	return api.ClaimAgree{Lookup: a.lookup, DateOfBirth: "1980-02-03", Code: a.codeKey, Controller: controller, Recipient: recipient,
		CodeProof: ed25519.Sign(a.code, protocol.ClaimMessage(chain, a.Journal(), controller, [32]byte(recipient)))}
}

// Five wrong dates, however many come at once, and the code is dead; the log has neither dates nor codes.
func TestDeskBoundsGuessing(t *testing.T) {
	s := newSite(t)
	a := s.awaited("dora")
	open := func(date string) response {
		return s.call(nil, "POST", api.PathClaimOpen, api.ClaimOpen{Lookup: a.lookup, DateOfBirth: date})
	}
	if r := open("1980-02-03"); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	codes := map[string]int{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range 12 {
		wait.Go(func() {
			code := open("1980-02-04").problem(t).Code
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	wait.Wait()
	if codes["wrong-factor"] != 4 || codes["code-dead"] != 8 {
		t.Fatal(codes)
	}
	if c := open("1980-02-03").problem(t).Code; c != "code-dead" {
		t.Fatal(c)
	}
	for _, bad := range []string{"", "3.2.1980", "1980-02-30", strings.Repeat("1", 5000)} {
		if c := open(bad).problem(t).Code; c != "date-of-birth" {
			t.Errorf("%.20q: %s", bad, c)
		}
	}
	if log := s.log.String(); strings.Contains(log, "1980") || strings.Contains(log, "ZG9yYWRvcmFkb3JhZG9yYQ") || strings.Contains(log, "dora") {
		t.Error("the log has what was asked for:", log)
	}
}

// The desk agrees to whoever holds the code and knows the date, to nothing else; the ledger takes the first. Then the package is gone.
func TestDeskAgrees(t *testing.T) {
	s := newSite(t)
	a, chain := s.awaited("ella"), s.w.L.Chain()
	k, pub := ledgertest.Key("ella's wallet")
	ask := a.agree(chain, pub)
	for what, change := range map[string]func(*api.ClaimAgree){
		"another key's proof": func(c *api.ClaimAgree) { c.CodeProof = ed25519.Sign(k, []byte("x")) },
		"another code":        func(c *api.ClaimAgree) { c.Code = pub },
		"another controller":  func(c *api.ClaimAgree) { c.Controller[0] ^= 1 },
		"another recipient":   func(c *api.ClaimAgree) { c.Recipient = bytes.Repeat([]byte{3}, 32) },
	} {
		bad := ask
		change(&bad)
		if c := s.call(nil, "POST", api.PathClaimAgree, bad).problem(t).Code; c != "no-claim" {
			t.Errorf("%s: %s", what, c)
		}
	}
	var got api.Sponsorship
	s.call(nil, "POST", api.PathClaimAgree, ask).decode(t, &got)
	claim := &protocol.ClaimJournal{Code: ask.Code, CodeProof: ask.CodeProof, Recipient: [32]byte(ask.Recipient), Agreement: got.Agreement}
	me := &ledgertest.Who{Name: "ella", Key: k, Signer: protocol.PatientSigner(a.Journal(), pub)}
	s.w.Must(me, a.Journal(), claim)
	_, other := ledgertest.Key("late")
	if c := s.call(nil, "POST", api.PathClaimAgree, a.agree(chain, other)).problem(t).Code; c != "no-claim" {
		t.Error(c)
	}
	if len(s.drawer) != 0 {
		t.Errorf("what was claimed is still kept: %d", len(s.drawer))
	}
	// Only the member itself leaves packages, and for its own provisional journals.
	b := s.awaited("fred")
	p := api.ClaimPackage{Lookup: make([]byte, 16), Journal: b.Journal(), Sealed: []byte{1}, DateOfBirth: "1980-02-03"}
	if r := s.call(s.m2, "POST", api.PathClaims, p); r.status != 403 {
		t.Error(r.status)
	}
	p.Journal = a.Journal()
	if r := s.call(s.m1, "POST", api.PathClaims, p); r.status != 409 {
		t.Error(r.status)
	}
}

// What is kept for a journal goes once nobody can claim it any more, however that came about: claimed elsewhere, under a new code, too late, or
// while the gateway was away. What somebody still waits for stays.
func TestDeskForgets(t *testing.T) {
	s := newSite(t)
	chain := s.w.L.Chain()
	kept := func(a awaited) bool {
		_, byJournal := s.drawer[lookupName(a.Journal())]
		_, byCode := s.drawer[depositName(a.lookup)]
		if byJournal != byCode {
			t.Fatal("half of a package is left")
		}
		return byCode
	}
	tidy := func() {
		t.Helper()
		if err := s.backend.Desk.Tidy(s.w.L); err != nil {
			t.Fatal(err)
		}
	}
	claim := func(a awaited) {
		t.Helper()
		k, pub := ledgertest.Key(a.Name + "'s wallet")
		ask := a.agree(chain, pub)
		s.w.Must(&ledgertest.Who{Name: a.Name, Key: k, Signer: protocol.PatientSigner(a.Journal(), pub)}, a.Journal(), &protocol.ClaimJournal{Code: ask.Code,
			CodeProof: ask.CodeProof, Recipient: [32]byte(ask.Recipient), Agreement: s.backend.AgreeClaim(a.Journal(), pub, [32]byte(ask.Recipient))})
	}
	waiting, claimed, renewed, away := s.awaited("wanda"), s.awaited("clara"), s.awaited("renee"), s.awaited("ayla")
	if tidy(); !kept(waiting) || !kept(claimed) || !kept(renewed) {
		t.Fatal("what is waited for went")
	}
	claim(claimed)
	_, other := ledgertest.Key("another code")
	s.w.Must(renewed.Who, renewed.Journal(), &protocol.ReissueClaim{Claim: protocol.ClaimCommitment(chain, renewed.Journal(), other)})
	if c := s.call(nil, "POST", api.PathClaimOpen, api.ClaimOpen{Lookup: renewed.lookup, DateOfBirth: "1980-02-03"}).problem(t).Code; c != "no-claim" {
		t.Error("the code that was replaced still opens the package:", c)
	}
	if tidy(); kept(claimed) || kept(renewed) || !kept(waiting) {
		t.Fatalf("claimed %v, renewed %v, waiting %v", kept(claimed), kept(renewed), kept(waiting))
	}

	// The same after a restart, of what came to pass meanwhile; half a package, which a crash leaves, goes too.
	claim(away)
	if err := s.drawer.Put(lookupName(protocol.JournalID{9}), []byte("sixteen bytes...")); err != nil {
		t.Fatal(err)
	}
	s.backend.Desk = s.openDesk()
	if tidy(); kept(away) || !kept(waiting) || len(s.drawer) != 2 {
		t.Fatalf("after a restart: away %v, waiting %v, %d things", kept(away), kept(waiting), len(s.drawer))
	}

	// Too late by the ledger's time, to the millisecond.
	var opened api.ClaimOpened
	s.call(nil, "POST", api.PathClaimOpen, api.ClaimOpen{Lookup: waiting.lookup, DateOfBirth: "1980-02-03"}).decode(t, &opened)
	for at, want := range []bool{true, false} {
		s.w.Time = opened.Until - 1 + uint64(at)
		s.w.Must(s.alice, s.alice.Journal(), &protocol.SetGuardians{Guardians: protocol.Hash{1}}) // a block that moves time
		if tidy(); kept(waiting) != want {
			t.Errorf("%d ms from the end: kept %v", 1-at, kept(waiting))
		}
	}
	if len(s.drawer) != 0 {
		t.Errorf("%d things are left", len(s.drawer))
	}
}
