package node_test

import (
	"errors"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// enter seals a record for a patient as the author, who then changes what the entry says of it.
func (w *world) enter(p *patient, by client.Identity, author protocol.Signer, g fhir.Group, change func(*protocol.AddRecord)) protocol.RecordID {
	w.Helper()
	to, err := w.at[0].SealedTo(w.ctx, by, p.keys.Journal)
	w.ok(err)
	s, err := wallet.Seal(wallet.SealInput{Chain: w.at[0].Genesis.Chain, Handle: p.keys.Handle(), Recipient: to.Journal.Recipient, Custodians: &to.Keys.Public, Class: string(g.Class),
		Source: wallet.NewSource("", "Northside General Hospital"), Recorded: now(), Author: author, Resources: [][]byte{g.Resources[0].Raw}}, by.Sign)
	w.ok(err)
	if status, body := w.raw(http.MethodPut, "/v1/files/"+s.Action.Ciphertext.String(), by, s.File); status != http.StatusCreated {
		w.Fatalf("%d %s", status, body)
	}
	change(&s.Action)
	_, err = w.at[0].Do(w.ctx, by, p.keys.Journal, &s.Action)
	w.ok(err)
	return s.Action.Record
}

// A record that is damaged, made wrongly, lost or closed meanwhile keeps a reader from that record and from no other: who must read in a hurry
// reads the rest, and is told what is missing.
func TestOneBadRecordHidesNoOther(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	member := client.Actor(w.net.Member(0))
	why := map[protocol.RecordID]error{
		w.enter(p, member, member.Signer(), group("allergies", "sealed for another record"), func(a *protocol.AddRecord) { a.Record[0] ^= 1 }):                       wallet.ErrCapsule,
		w.enter(p, member, member.Signer(), group("allergies", "another capsule"), func(a *protocol.AddRecord) { a.Capsule[0] ^= 1 }):                                wallet.ErrCommitted,
		w.enter(p, member, member.Signer(), group("allergies", "another manifest"), func(a *protocol.AddRecord) { a.Manifest[0] ^= 1 }):                              wallet.ErrCommitted,
		w.enter(p, member, protocol.MemberSigner(w.net.Genesis.Members[1].ID(), member.Signer().Key), group("allergies", "another's"), func(*protocol.AddRecord) {}): wallet.ErrCommitted,
	}
	w.write(p, 0, group("allergies", "penicillin"), group("allergies", "latex"), group("labs", "withdrawn"))
	gone := w.row(p, w.write(p, 0, group("imaging", "lost"))[0].Record)
	w.grant(p, w.doctor, time.Hour, "allergies", "imaging")
	labs := w.grant(p, w.doctor, time.Hour, "labs")
	a := w.access(2, w.doctor, p, "allergies", "labs", "imaging")
	w.ok(w.at[0].Revoke(w.ctx, p.keys, labs))
	w.eventually("its copies have arrived, so that none comes later", func() bool {
		for i, n := range w.net.Nodes {
			if _, there := w.vaultFile(i, gone.Ciphertext); !there && slices.Contains(vault.Placement(gone.Ciphertext, w.members(), 3), n.Member()) {
				return false
			}
		}
		return true
	})
	for i := range w.net.Nodes {
		if path, there := w.vaultFile(i, gone.Ciphertext); there {
			w.ok(os.Remove(path))
		}
	}

	read, err := w.at[0].Read(w.ctx, a)
	w.ok(err)
	w.equal(texts(read.Records), []string{"latex", "penicillin"})
	if len(read.Broken) != len(why)+2 || len(read.Liars) > 0 {
		t.Errorf("broken: %+v; liars: %d", read.Broken, len(read.Liars))
	}
	for _, b := range read.Broken {
		if want, ok := why[b.Record]; ok && !errors.Is(b.Err, want) {
			t.Errorf("%v: want %v", b.Err, want)
		}
	}
	if !slices.ContainsFunc(read.Broken, func(b client.Broken) bool { return b.Record == gone.ID }) {
		t.Error("what is lost is not told")
	}
}
