package node_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/backup"
	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// backUp stops a node, backs it up and starts it again; the others go on.
func (w *world) backUp(i int) (file string, m *backup.Manifest) {
	w.Helper()
	file = filepath.Join(w.TempDir(), w.net.Names[i]+".backup")
	w.ok(w.net.StopNode(i))
	m, err := backup.Write(w.ctx, w.backupOf(i, file))
	w.ok(err)
	w.comeBack(i)
	return file, m
}

func (w *world) backupOf(i int, file string) backup.Options {
	return backup.Options{Dir: w.folder(i), File: file, Passphrase: w.net.Passphrase, Now: uint64(time.Now().UnixMilli()), WorkFactor: 8}
}

func (w *world) comeBack(i int) {
	w.Helper()
	w.ok(w.net.StartNode(i))
	w.well(i)
}

func (w *world) well(i int) {
	w.Helper()
	w.at[i] = w.dial(w.net.Gateway(i))
	w.eventually("the node is well", func() bool { h, err := w.at[i].Health(w.ctx); return err == nil && h.OK })
}

// replace puts a backup in the place of a node's folder, which is lost.
func (w *world) replace(i int, o backup.Options) {
	w.Helper()
	w.ok(os.RemoveAll(w.folder(i)))
	_, err := backup.Restore(w.ctx, o)
	w.ok(err)
}

// All nodes are backed up, then a record is erased: no backup holds anything of it. One node is lost and restored from its backup of before, with
// an old copy of its vault beside. It signs nothing while it cannot know what it has signed since, and has no part in anything; then it is
// back: it votes, its custodian answers, it has deleted what was erased, and fetched what was not; nobody has signed twice.
func TestRestoredFromBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := startWorld(t, devConfig(dir, 4))
	p := w.patient()
	kept := w.heldBy(p, 3, "kept")
	row := w.heldBy(p, 3, "words-to-be-forgotten-at-last")
	traces := w.traces(p, row)
	file, err := w.at[0].File(w.ctx, p.keys, row.Ciphertext)
	w.ok(err)
	keptFile, err := w.at[0].File(w.ctx, p.keys, kept.Ciphertext)
	w.ok(err)
	capsule, err := wallet.CapsuleOf(keptFile)
	w.ok(err)
	w.grant(p, w.doctor, 0)

	var backups []string
	for i := range 4 {
		file, _ := w.backUp(i)
		backups = append(backups, file)
	}
	open := w.access(0, w.doctor, p, "mental-health")
	w.write(p, 1, group("labs", "after-the-backups"))
	id, err := w.at[0].Erase(w.ctx, p.keys, protocol.Erase{Records: []protocol.RecordID{row.ID}})
	w.ok(err)
	if e, err := w.at[0].AwaitErased(w.ctx, p.keys, id, 0); err != nil || e.Attested != 4 {
		t.Fatalf("%+v %v", e, err)
	}
	for i, b := range backups {
		w.searchBackup(i, b, traces)
	}

	w.ok(w.net.StopNode(3))
	engine := filepath.Join(w.folder(3), "engine")
	before, err := consensus.LastSigned(engine)
	w.ok(err)
	w.replace(3, w.backupOf(3, backups[3]))
	old, _ := w.vaultFile(3, row.Ciphertext)
	w.ok(os.MkdirAll(filepath.Dir(old), 0o700))
	w.ok(os.WriteFile(old, file, 0o600))
	known, err := consensus.LastSigned(engine)
	w.ok(err)
	if known >= before {
		t.Fatalf("it had signed up to %d at the backup, and up to %d in the end: nothing is shown", known, before)
	}

	// Two of the others are too few to know how far it went.
	w.ok(w.net.StopNode(2))
	w.ok(w.net.StartNode(3))
	restored := w.net.Nodes[3]
	w.eventually("two have answered, and it has followed them", func() bool {
		return slices.ContainsFunc(restored.Health().Problems, func(s string) bool { return strings.Contains(s, "3 other nodes have said how far they are (2 have)") }) &&
			restored.Ledger().Head().Size == w.net.Nodes[0].Ledger().Head().Size
	})
	if signed, err := consensus.LastSigned(engine); err != nil || signed != known {
		t.Fatalf("it signed for height %d, %v", signed, err)
	}
	var refused *custodian.Refusal
	if _, err := restored.Release(w.ctx, custodian.Request{Access: open.Decision.ID, Generation: kept.Generation, Records: []protocol.RecordID{kept.ID}, Capsules: [][]byte{capsule.Bytes()}}); !errors.As(err, &refused) || refused.Check != 1 {
		t.Fatalf("its custodian: %v", err)
	}
	if err := restored.Cosign(w.ctx, w.net.Nodes[0]); !errors.Is(err, node.ErrHeld) {
		t.Fatalf("its cosigner: %v", err)
	}
	if restored.Serves() {
		t.Fatal("its vault serves")
	}
	if _, err := backup.Write(w.ctx, w.backupOf(3, filepath.Join(t.TempDir(), "again"))); !errors.Is(err, backup.ErrInUse) {
		t.Fatalf("a backup of a running node: %v", err)
	}

	w.comeBack(2)
	w.well(3)
	if _, there := w.vaultFile(3, row.Ciphertext); there {
		t.Error("the node serves, and what was erased is still there")
	}
	if marked, err := node.IsRestored(w.folder(3)); err != nil || marked {
		t.Errorf("the mark is still there, %v", err)
	}
	w.eventually("it has its files again", func() bool {
		rows, err := w.at[0].Records(w.ctx, p.keys)
		w.ok(err)
		return !slices.ContainsFunc(rows, func(r api.Record) bool {
			_, there := w.vaultFile(3, r.Ciphertext)
			return r.Erased == 0 && !there && slices.Contains(vault.Placement(r.Ciphertext, w.members(), 3), restored.Member())
		})
	})
	if _, there := w.vaultFile(3, kept.Ciphertext); !there {
		t.Error("what was not erased is not back")
	}
	w.ok(w.net.StopNode(0)) // from here on nothing goes without its vote, its share and its cosignature
	w.write(p, 1, group("labs", "with-its-vote"))
	if got := w.read(1, w.access(1, w.doctor, p, "labs")); !slices.Equal(got, []string{"after-the-backups", "with-its-vote"}) {
		t.Errorf("%q", got)
	}
	w.complete(3, p)
	w.comeBack(0)
	if after, err := consensus.LastSigned(engine); err != nil || after <= before {
		t.Errorf("it signed up to height %d before it was lost, and up to %d now; %v", before, after, err)
	}
	w.ok(w.net.Stop())
	w.searchFolders(traces)
	late := w.backupOf(3, filepath.Join(t.TempDir(), "late"))
	_, err = backup.Write(w.ctx, late)
	w.ok(err)
	w.searchBackup(3, late.File, traces)
	w.noOffences(dir)
}

// searchBackup looks through what is in a backup as it lies there, with stock parts, and through the folder that it makes, row by row.
func (w *world) searchBackup(i int, file string, secret map[string][]byte) {
	w.Helper()
	f, err := os.Open(file)
	w.ok(err)
	defer func() { _ = f.Close() }()
	id, err := age.NewScryptIdentity(w.net.Passphrase)
	w.ok(err)
	plain, err := age.Decrypt(f, id)
	w.ok(err)
	z, err := zstd.NewReader(plain)
	w.ok(err)
	defer z.Close()
	entries := 0
	for r := tar.NewReader(z); ; entries++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		w.ok(err)
		b, err := io.ReadAll(r)
		w.ok(err)
		for what, s := range secret {
			if leaks(b, s) {
				w.Errorf("%s is in %s of %s", what, h.Name, file)
			}
		}
	}
	to := w.backupOf(i, file)
	to.Dir = filepath.Join(w.TempDir(), "unpacked")
	_, err = backup.Restore(w.ctx, to)
	w.ok(err)
	w.searchFolder(to.Dir, i, secret)
	if entries < 10 {
		w.Errorf("%d entries in %s: too few to be a backup", entries, file)
	}
}

func (w *world) members() (out []protocol.MemberID) {
	for _, m := range w.net.Genesis.Members {
		out = append(out, m.ID())
	}
	return out
}

// noOffences checks a stopped network's folder, and that no block proves that somebody signed twice.
func (w *world) noOffences(dir string) {
	w.Helper()
	for _, f := range check(w.TB, dir).Findings {
		if strings.Contains(f.Detail, "signed twice") {
			w.Errorf("%+v", f)
		}
	}
}

// The whole network is lost, and every node comes from a backup: each waits for others that have not forgotten, for ever. With the operators'
// statement that nothing later exists than the newest backup, it goes on where that one was; nobody signs again what it holds.
func TestWholeNetworkRestored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := startWorld(t, devConfig(dir, 4))
	p := w.patient()
	w.write(p, 0, group("labs", "first"))
	var backups []string
	newest := uint64(0)
	for i := range 4 {
		file, m := w.backUp(i)
		backups, newest = append(backups, file), max(newest, m.Log.Size) // of a node that may have been behind
		w.write(p, i, group("labs", fmt.Sprintf("at-%d", i)))            // so that no two are of the same height
	}
	lost := w.net.Nodes[3].Ledger().Head().Size // where the last one was written: the others may be behind
	w.ok(w.net.Stop())
	for i, b := range backups {
		w.replace(i, w.backupOf(i, b))
	}
	net, err := node.StartDev(devConfig(dir, 4))
	w.ok(err)
	w.net = net
	for i := range net.Nodes {
		w.eventually("it waits, and nobody answers", func() bool {
			h := net.Nodes[i].Health()
			return h.Peers == 3 && slices.ContainsFunc(h.Problems, func(s string) bool { return strings.Contains(s, "(0 have)") })
		})
	}
	w.ok(net.Stop())

	for i, b := range backups {
		o := w.backupOf(i, b)
		o.AllLost = 4
		w.replace(i, o)
	}
	w.start(devConfig(dir, 4))
	if size := w.net.Nodes[0].Ledger().Head().Size; size < newest || size >= lost {
		t.Fatalf("%d entries; the newest backup has some %d, and at %d it was lost", size, newest, lost)
	}
	w.grant(p, w.practitioner(0, protocol.RolePhysician), 0)
	w.complete(2, p)
	w.ok(w.net.Stop())
	w.noOffences(dir)
}

// A backup is restored elsewhere though the node still runs. The restored one finds that the others are connected to the first, signs nothing and says
// what is wrong; when the first is stopped, it takes its place.
func TestRestoredBesideTheOldOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := startWorld(t, devConfig(dir, 4))
	p := w.patient()
	file, _ := w.backUp(3)
	o := w.backupOf(3, file)
	o.Dir = filepath.Join(t.TempDir(), "twin")
	w.write(p, 3, group("labs", "by-the-old-one"))
	_, err := backup.Restore(w.ctx, o)
	w.ok(err)
	known, err := consensus.LastSigned(filepath.Join(o.Dir, "engine"))
	w.ok(err)
	twin, err := w.net.StartTwin(3, o.Dir)
	w.ok(err)
	defer func() { w.ok(twin.Stop()) }()
	w.eventually("it finds the old one", func() bool {
		return slices.ContainsFunc(twin.Health().Problems, func(s string) bool { return strings.Contains(s, "another with the same keys") })
	})
	w.write(p, 3, group("labs", "still-by-the-old-one"))
	if signed, err := consensus.LastSigned(filepath.Join(o.Dir, "engine")); err != nil || signed != known {
		t.Fatalf("it signed for height %d, %v", signed, err)
	}
	w.ok(w.net.StopNode(3))
	before, err := consensus.LastSigned(filepath.Join(w.folder(3), "engine"))
	w.ok(err)
	w.eventually("it takes the old one's place", func() bool { return twin.Health().OK })
	if after, err := consensus.LastSigned(filepath.Join(o.Dir, "engine")); err != nil || after <= before {
		t.Errorf("the old one signed up to height %d, the new one begins at %d; %v", before, after, err)
	}
}

// The mark counts by being there; only the exact statement makes it more. Enough others means: even if as many of them lie as may, one honest
// node is among them of those without whom this one could not have signed.
func TestMarkOfARestoredFolder(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]int{"": 0, "anything": 0, "all lost, 3 nodes come back": 3, "all lost, 3 nodes come back\nwhy\n": 3, "all lost, 03 nodes come back\n": 0,
		"all lost, 3 nodes come back, or so\n": 0, "why\nall lost, 3 nodes come back\n": 0, "all lost, 0 nodes come back": 0, "all lost, -1 nodes come back": 0} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, node.RestoredFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if marked, allLost, err := node.ReadMark(dir); !marked || allLost != want || err != nil {
			t.Errorf("%q: %v %d %v", content, marked, allLost, err)
		}
	}
	if marked, _, err := node.ReadMark(t.TempDir()); marked || err != nil {
		t.Error(marked, err)
	}
	for n, want := range map[int]int{4: 3, 5: 3, 6: 3, 7: 5, 10: 7, 16: 11} {
		quorum := 2*n/3 + 1
		liars := n - quorum
		if got := node.AnswersNeeded(n, 0); got != want || got+(quorum-1)-(n-1) < liars+1 || got > n-1 {
			t.Errorf("of %d nodes %d are asked", n, got)
		}
	}
	if got := node.AnswersNeeded(7, 5); got != 4 {
		t.Error(got)
	}
	for _, c := range []struct {
		allLost int
		own     uint64
		decided []uint64
		want    uint64
	}{
		{0, 5, []uint64{9, 0}, 0},      // too few
		{0, 5, []uint64{9, 0, 7}, 11},  // it may have seen block 10 decided, and have signed for 11
		{0, 12, []uint64{9, 0, 7}, 14}, // it knows more than they
		{0, 0, []uint64{0, 0, 0}, 2},   // nothing was decided yet, that they know of
		{4, 5, []uint64{9, 0, 7}, 9},   // nothing exists beyond block 9
		{4, 12, []uint64{9, 0, 7}, 12}, // this one's backup is the newest
		{4, 12, []uint64{9, 0}, 0},     // one has yet to come
	} {
		if got, ok := node.SignsNothingUpTo(4, c.allLost, c.own, c.decided...); got != c.want || ok != (c.want > 0) {
			t.Errorf("%+v: %d %v", c, got, ok)
		}
	}
}
