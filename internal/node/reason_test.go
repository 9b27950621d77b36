package node_test

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"os"
	"testing"

	"filippo.io/age"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// names enters a record of a patient's own that names a file which is no record's, and has it erased by all nodes.
func (w *world) namesAndErases(p *patient, file protocol.Hash, size uint64) {
	w.Helper()
	fake := &protocol.AddRecord{Record: wallet.NewRecordID(), Label: labels(p, "labs")[0], Ciphertext: file, Size: size, Capsule: protocol.Hash{1}, Generation: 1,
		Manifest: protocol.Hash{2}, Root: protocol.Hash{3}}
	_, err := w.at[2].Do(w.ctx, client.Patient(p.keys), p.keys.Journal, fake)
	w.ok(err)
	id, err := w.at[2].Erase(w.ctx, p.keys, protocol.Erase{Records: []protocol.RecordID{fake.Record}})
	w.ok(err)
	if e, err := w.at[2].AwaitErased(w.ctx, p.keys, id, 0); err != nil || e.Attested != 4 {
		w.Fatalf("%+v %v", e, err)
	}
}

// Whoever names somebody's sealed reason in a record of their own, and has that erased, takes nothing and stops no node: with reviewers among
// those it is sealed to, and without.
func TestErasureLeavesReasons(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	victim, mallory := w.patient(), w.patient()
	w.write(victim, 0, group("allergies", "x"))
	_, err := w.at[0].GrantTemplate(w.ctx, victim.keys, "emergency-card", consent.Params{Labels: labels(victim, "allergies")}, 0)
	w.ok(err)
	for member, reviewed := range []bool{false, true} {
		medic := w.practitioner(member, protocol.RoleParamedic)
		if reviewed {
			w.practitioner(member, protocol.RoleAdministrator)
		}
		_, _, err = w.at[member].BreakGlass(w.ctx, client.Actor(medic), protocol.MemberID(w.net.Member(member).ID), client.Emergency{Journal: victim.keys.Journal, Purpose: protocol.PurposeBreakGlass,
			Labels: labels(victim, "allergies"), Reason: "unconscious"})
		w.ok(err)
	}
	var sessions []api.BreakGlassSession
	w.eventually("the gateway knows both sessions", func() bool {
		sessions, err = w.at[0].Sessions(w.ctx, client.Patient(victim.keys), victim.keys.Journal)
		w.ok(err)
		return len(sessions) == 2
	})
	for _, s := range sessions {
		w.namesAndErases(mallory, s.Reasons[0], protocol.ReasonFileBytes)
		for i := range w.at {
			if _, err := w.at[i].SealedReason(w.ctx, client.Patient(victim.keys), s.Reasons[0]); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		}
	}
	w.complete(1, mallory)
}

// Files without a capsule are admitted only in a reason's size, and whatever names them then stops no node.
func TestFilesWithoutCapsules(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	me := client.Patient(p.keys)
	id, err := age.GenerateX25519Identity()
	w.ok(err)
	sealed := func(n int) []byte {
		var b bytes.Buffer
		e, err := age.Encrypt(&b, id.Recipient())
		w.ok(err)
		_, err = e.Write(make([]byte, n))
		w.ok(err)
		w.ok(e.Close())
		return b.Bytes()
	}
	overhead := len(sealed(0))
	for _, size := range []int{protocol.ReasonFileBytes - 1, protocol.ReasonFileBytes, protocol.ReasonFileBytes + 1, 5_000} {
		file := sealed(size - overhead)
		want := http.StatusUnprocessableEntity
		if size == protocol.ReasonFileBytes {
			want = http.StatusCreated
		}
		hash := protocol.Hash(sha256.Sum256(file))
		if status, body := w.raw(http.MethodPut, "/v1/files/"+hash.String(), me, file); status != want {
			t.Errorf("%d bytes: %d %s", len(file), status, body)
		}
		w.namesAndErases(p, hash, uint64(len(file)))
	}
	w.grant(p, w.doctor, 0)
	file := sealed(protocol.ReasonFileBytes - overhead)
	hash := protocol.Hash(sha256.Sum256(file))
	if status, body := w.raw(http.MethodPut, "/v1/files/"+hash.String(), me, file); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	bare := &protocol.AddRecord{Record: wallet.NewRecordID(), Label: labels(p, "labs")[0], Ciphertext: hash, Size: uint64(len(file)), Capsule: protocol.Hash{1}, Generation: 1,
		Manifest: protocol.Hash{2}, Root: protocol.Hash{3}}
	_, err = w.at[0].Do(w.ctx, me, p.keys.Journal, bare)
	w.ok(err)
	w.write(p, 0, group("labs", "good"))
	read, err := w.at[1].Read(w.ctx, w.access(1, w.doctor, p, "labs"))
	w.ok(err)
	if len(read.Broken) != 1 || read.Broken[0].Record != bare.Record || len(read.Records) != 1 {
		t.Errorf("%d records, broken: %+v", len(read.Records), read.Broken)
	}
}

// A copy that is damaged inside its capsule, which still is one, goes with the erasure like the whole ones.
func TestErasureOfADamagedCopy(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	row := w.row(p, w.write(p, 0, group("labs", "damaged"))[0].Record)
	spoilt := ""
	for i := range w.at {
		name, there := w.vaultFile(i, row.Ciphertext)
		if !there || spoilt != "" {
			continue
		}
		file, err := os.ReadFile(name)
		w.ok(err)
		for at := bytes.Index(file, []byte("\n--- ")) - 1; at > 0 && spoilt == ""; at-- {
			bad := bytes.Clone(file)
			bad[at] ^= 1
			if c, err := wallet.CapsuleOf(bad); err == nil && c != nil && protocol.Hash(c.Hash()) != row.Capsule {
				w.ok(os.Chmod(name, 0o600))
				w.ok(os.WriteFile(name, bad, 0o600))
				spoilt = name
			}
		}
	}
	if spoilt == "" {
		t.Fatal("no copy was damaged: nothing is shown")
	}
	id, err := w.at[2].Erase(w.ctx, p.keys, protocol.Erase{Records: []protocol.RecordID{row.ID}})
	w.ok(err)
	if e, err := w.at[2].AwaitErased(w.ctx, p.keys, id, 0); err != nil || e.Attested != 4 {
		t.Fatalf("%+v %v", e, err)
	}
	if _, err := os.Stat(spoilt); err == nil {
		t.Error("all have attested, and the damaged copy is still there")
	}
}
