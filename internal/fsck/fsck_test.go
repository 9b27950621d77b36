package fsck_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/fsck"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// busyNetwork makes a network, has people use it, stops it cleanly, and starts and stops it once more, so that its stores have tables too.
func busyNetwork(t testing.TB, members int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "net")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 2 {
		net, err := node.StartDev(node.DevConfig{Dir: dir, Members: members, Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		if err := net.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		if err := use(ctx, net); err != nil {
			t.Fatal(err)
		}
		if err := net.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// use writes records into a journal, lets a doctor read them, and has somebody refused.
func use(ctx context.Context, net *node.DevNet) error {
	c, err := client.Dial(ctx, net.Gateway(0), "")
	if err != nil {
		return err
	}
	w := wallet.New(wallet.Network{Chain: net.Genesis.Chain, Gateway: net.Gateway(0)})
	j, err := w.OpenJournal("records")
	if err != nil {
		return err
	}
	keys, err := w.Keys(j.ID)
	if err != nil {
		return err
	}
	if err := c.OpenJournal(ctx, keys); err != nil {
		return err
	}
	id := protocol.PractitionerID(wallet.NewRecordID())
	doctor := wallet.NewPractitioner(wallet.Network{Chain: net.Genesis.Chain, Gateway: net.Gateway(0)}, id, "Dr. Test")
	if err := c.RegisterPractitioner(ctx, client.Actor(net.Member(0)), id, doctor.Key.Public(), protocol.RolePhysician,
		uint64(time.Now().AddDate(1, 0, 0).UnixMilli()), "Dr. Test", "medicine"); err != nil {
		return err
	}
	if _, err := c.GrantTemplate(ctx, keys, "contributor", consent.Params{Grantee: consent.Grantee{Member: net.Genesis.Members[0].ID()}}, 0); err != nil {
		return err
	}
	var groups []fhir.Group
	for i := range 3 {
		raw := fmt.Appendf(nil, `{"resourceType":"Observation","id":"o%d","status":"final","code":{"text":"value %d"}}`, i, i)
		groups = append(groups, fhir.Group{Class: "labs", Source: fhir.Source{ID: "s", Name: "Clinic"}, Bytes: len(raw),
			Resources: []fhir.Resource{{Raw: raw, Type: "Observation", ID: fmt.Sprint("o", i), Class: "labs"}}})
	}
	if _, failed, err := c.WriteRecords(ctx, client.Actor(net.Member(0)), keys.Handle(), groups, nil); err != nil || len(failed) > 0 {
		return fmt.Errorf("writing: %v %v", err, failed)
	}
	labels := []protocol.Label{keys.Handle().Label("labs")}
	if _, err := c.RequestAccess(ctx, client.Actor(doctor), keys.Journal, protocol.PurposeTreat, labels, nil); err == nil {
		return fmt.Errorf("permitted without a contract")
	}
	if _, err := c.GrantTemplate(ctx, keys, "care-team", consent.Params{Grantee: consent.Grantee{Practitioner: id}}, 0); err != nil {
		return err
	}
	a, err := c.RequestAccess(ctx, client.Actor(doctor), keys.Journal, protocol.PurposeTreat, labels, nil)
	if err != nil {
		return err
	}
	_, err = c.Read(ctx, a)
	return err
}

func run(t testing.TB, o fsck.Options) *fsck.Report {
	t.Helper()
	r, err := fsck.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A busy network that was stopped cleanly has nothing to be found, as a whole and node by node; and looking changes nothing.
func TestCleanNetwork(t *testing.T) {
	dir := busyNetwork(t, 4)
	before := digest(t, dir)
	r := run(t, fsck.Options{Dir: dir})
	if !r.OK || len(r.Findings) > 0 || r.Nodes != 4 || r.Rows == 0 || r.Blocks == 0 || r.Files < 3*6 {
		t.Errorf("%+v", r)
	}
	_, names, pass, err := node.ReadDev(dir)
	if err != nil {
		t.Fatal(err)
	}
	one := run(t, fsck.Options{Dir: filepath.Join(dir, "nodes", names[2]), Passphrase: pass})
	if !one.OK || len(one.Findings) > 0 || one.Nodes != 1 || one.Entries != r.Entries {
		t.Errorf("one node: %+v", one)
	}
	closed := run(t, fsck.Options{Dir: filepath.Join(dir, "nodes", names[2])})
	if !closed.OK || len(closed.Findings) != 1 || closed.Findings[0].Level != fsck.Note {
		t.Errorf("one node without its passphrase: %+v", closed)
	}
	if digest(t, dir) != before {
		t.Error("the check changed the folder")
	}
}

func digest(t testing.TB, dir string) [32]byte {
	t.Helper()
	h := sha256.New()
	for _, name := range files(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%s %x\n", name, sha256.Sum256(b))
	}
	return [32]byte(h.Sum(nil))
}

func files(t testing.TB, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// damage is one thing done to one file.
type damage struct {
	name string
	at   int // byte to change, or one of:
	bit  int
}

const (
	gone = -1 - iota
	half
)

func (d damage) String() string {
	switch d.at {
	case gone:
		return d.name + " is gone"
	case half:
		return d.name + " is cut in half"
	}
	return fmt.Sprintf("bit %d of byte %d of %s is flipped", d.bit, d.at, d.name)
}

// Whatever is damaged in the network's folder is found, be it one bit, except where docs/spec/fsck.md says that nothing rests on it; and
// nothing makes the check itself fail.
func TestEveryDamageIsFound(t *testing.T) {
	good := busyNetwork(t, 1)
	perFile := 1
	if os.Getenv("SOAK") != "" {
		perFile = 60
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var todo []damage
	for _, name := range files(t, good) {
		info, err := os.Stat(filepath.Join(good, name))
		if err != nil {
			t.Fatal(err)
		}
		todo = append(todo, damage{name: name, at: gone})
		size := int(info.Size())
		if size > 0 {
			todo = append(todo, damage{name: name, at: half})
		}
		for i := range min(perFile, size) {
			at := random.IntN(size)
			if i == 0 && random.IntN(2) == 0 {
				at = size - 1 // ends are special
			}
			todo = append(todo, damage{name, at, random.IntN(8)})
		}
	}
	work := make(chan damage)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		dir := copyOf(t, good)
		workers.Go(func() {
			for d := range work {
				if !found(t, dir, d) && !harmless(good, d) {
					t.Errorf("%v: nothing was found", d)
				}
			}
		})
	}
	for _, d := range todo {
		work <- d
	}
	close(work)
	workers.Wait()
	t.Logf("%d times damaged, in %d files", len(todo), len(files(t, good)))
}

func copyOf(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "net")
	if out, err := exec.Command("cp", "-r", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

// found does the damage, checks, and mends it.
func found(t testing.TB, dir string, d damage) bool {
	path := filepath.Join(dir, d.name)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return true
	}
	defer replace(t, path, good)
	switch bad := bytes.Clone(good); d.at {
	case gone:
		err = os.Remove(path)
	case half:
		replace(t, path, bad[:len(bad)/2])
	default:
		bad[d.at] ^= 1 << d.bit
		replace(t, path, bad)
	}
	if err != nil {
		t.Error(err)
	}
	r, err := fsck.Run(t.Context(), fsck.Options{Dir: dir})
	return err != nil || len(r.Findings) > 0
}

func replace(t testing.TB, path string, b []byte) {
	_ = os.Chmod(path, 0o600)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Error(err)
	}
}

// harmless are the places that docs/spec/fsck.md lists.
func harmless(dir string, d damage) bool {
	raw, err := os.ReadFile(filepath.Join(dir, d.name))
	if err != nil {
		return false
	}
	base := filepath.Base(d.name)
	switch {
	case base == "LOCK", strings.Contains(d.name, "/gateway/"):
		return true
	case strings.HasPrefix(base, "OPTIONS-"):
		return true
	case strings.HasPrefix(base, "MANIFEST-"):
		return d.at == gone && !isCurrent(dir, d.name)
	case strings.Contains(d.name, "/wal/"):
		return d.at == gone || d.at == half
	case base == "network.json" && d.at >= 0: // an address that still is one
		line := raw[bytes.LastIndexByte(raw[:d.at], '\n')+1:]
		line = bytes.TrimSpace(line[:bytes.IndexByte(line, '\n')])
		return slices.ContainsFunc([]string{`"engine":`, `"peer":`, `"gateway":`}, func(k string) bool { return bytes.HasPrefix(line, []byte(k)) })
	}
	return false
}

// isCurrent tells whether the store's marker names the manifest.
func isCurrent(dir, name string) bool {
	markers, _ := filepath.Glob(filepath.Join(dir, filepath.Dir(name), "marker.manifest.*"))
	return len(markers) == 1 && strings.HasSuffix(markers[0], filepath.Base(name))
}

// Tombstones, alone and in lists, are what they are called.
func TestDamagedTombstonesAreFound(t *testing.T) {
	good := busyNetwork(t, 1)
	vaults, err := filepath.Glob(filepath.Join(good, "nodes", "*", "vault"))
	if err != nil || len(vaults) == 0 {
		t.Fatal(vaults, err)
	}
	one, two := protocol.Hash{1}, protocol.Hash{2}
	list := "anamnesis/vault/tombstones/v1\n" + one.String() + "\n" + two.String() + "\n"
	var todo []string
	for class, content := range map[string]string{"tombstones": "anamnesis/vault/tombstone/v1 " + one.String() + "\n", "graves": list} {
		name := one
		if class == "graves" {
			name = sha256.Sum256([]byte(content))
		}
		path := filepath.Join(vaults[0], class, name.String()[:2], name.String())
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, path, []byte(content))
		rel, err := filepath.Rel(good, path)
		if err != nil {
			t.Fatal(err)
		}
		todo = append(todo, rel)
	}
	if r, err := fsck.Run(t.Context(), fsck.Options{Dir: good}); err != nil || len(r.Findings) > 0 {
		t.Fatal(r, err)
	}
	for _, name := range todo {
		for _, at := range []int{half, 10, 40} {
			if d := (damage{name: name, at: at}); !found(t, good, d) {
				t.Errorf("%v: nothing was found", d)
			}
		}
	}
}

// A folder that is in use is left alone; one that holds nothing of the kind is said to be so.
func TestWhatCannotBeChecked(t *testing.T) {
	if _, err := fsck.Run(t.Context(), fsck.Options{Dir: t.TempDir()}); !errors.Is(err, fsck.ErrNoNode) {
		t.Error("an empty folder:", err)
	}
	dir := t.TempDir()
	net, err := node.StartDev(node.DevConfig{Dir: dir, Members: 1, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fsck.Run(t.Context(), fsck.Options{Dir: dir}); !errors.Is(err, node.ErrInUse) {
		t.Error("a running network:", err)
	}
	if _, err := fsck.Run(t.Context(), fsck.Options{Dir: filepath.Join(dir, "nodes", net.Names[0])}); !errors.Is(err, node.ErrInUse) {
		t.Error("a running node:", err)
	}
	if err := net.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fsck.Run(ctx, fsck.Options{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Error("a check that was called off:", err)
	}
}
