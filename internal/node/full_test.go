package node_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// smallDisk mounts a disk of so many bytes; only root may.
func smallDisk(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("SKIPPED: no disk of its own can be mounted here:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until so many bytes are free.
func fill(t testing.TB, dir string, free uint64) string {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	piece := make([]byte, 1<<20)
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		left := s.Bavail * uint64(s.Bsize)
		if left <= free {
			return name
		}
		if _, err := f.Write(piece[:min(left-free, uint64(len(piece)))]); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return name
			}
			t.Fatal(err)
		}
	}
}

// A full disk stops a node from taking part, with an error that says so, before anything can break; it goes on serving reads, and files are
// refused as the disk's fault. Nothing acknowledged is lost, and with room again it resumes.
func TestDiskFull(t *testing.T) {
	disk := smallDisk(t, "320m")
	dir := filepath.Join(disk, "net")
	w := &world{TB: t, ctx: testContext(t)}
	w.start(devConfig(dir, 1))
	w.doctor = w.practitioner(0, protocol.RolePhysician)
	p := w.patient()
	w.write(p, 0, group("labs", "before"))
	w.grant(p, w.doctor, 0)
	w.equal(w.read(0, w.access(0, w.doctor, p, "labs")), []string{"before"})

	fill(t, disk, 100<<20) // below what the ledger keeps in reserve
	_, err := w.request(0, w.doctor, p, "labs")
	var problem *api.Problem
	if !errors.As(err, &problem) || problem.Status < 500 || problem.Detail == "" {
		t.Fatalf("an action on a full disk: %v", err)
	}
	select {
	case <-w.net.Nodes[0].Failed():
	case <-time.After(10 * time.Second):
		t.Fatal("the node goes on")
	}
	if err := w.net.Nodes[0].Err(); !errors.Is(err, state.ErrDiskFull) {
		t.Errorf("the reason is %v", err)
	}
	if h, err := w.at[0].Health(w.ctx); err != nil || h.OK || len(h.Problems) == 0 {
		t.Errorf("health: %+v %v", h, err)
	}
	own, err := w.at[0].OpenRecords(w.ctx, p.keys, nil)
	w.ok(err)
	w.equal(texts(own), []string{"before"})

	rows, err := w.at[0].Records(w.ctx, p.keys)
	w.ok(err)
	file, err := w.at[0].File(w.ctx, p.keys, rows[0].Ciphertext)
	w.ok(err)
	large := append(bytes.Clone(file), make([]byte, 1<<20)...)
	ballast := fill(t, disk, 0)
	if status, body := w.raw(http.MethodPut, "/v1/files/"+protocol.Hash(sha256.Sum256(large)).String(), client.Actor(w.net.Member(0)), large); status != http.StatusInsufficientStorage {
		t.Errorf("a file on a full disk: %d %s", status, body)
	}
	w.ok(os.Remove(ballast))
	w.ok(w.net.Stop())
	check(t, dir)

	w.start(devConfig(dir, 1))
	defer func() { w.ok(w.net.Stop()) }()
	w.complete(0, p)
	w.write(p, 0, group("labs", "later"))
	w.equal(w.read(0, w.access(0, w.doctor, p, "labs")), []string{"before", "later"})
}
