package node_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/node"
)

// stoppedNet makes a network with a record, stops it, and returns its folder.
func stoppedNet(t testing.TB, members int) string {
	t.Helper()
	dir := t.TempDir()
	w := &world{TB: t, ctx: testContext(t)}
	w.start(devConfig(dir, members))
	p := w.patient()
	w.write(p, 0, group("labs", "a"))
	w.ok(w.net.Stop())
	return dir
}

// copyNet copies a folder. Files are written anew: none is shared with the original.
func copyNet(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "net")
	if out, err := exec.Command("cp", "-r", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

// wantStartError starts a network that must not start, and still can be stopped and started afterwards by others.
func wantStartError(t *testing.T, cfg node.DevConfig, want func(error) bool) error {
	t.Helper()
	net, err := node.StartDev(cfg)
	if err == nil {
		t.Error("it started", net.Stop())
		return nil
	}
	if !want(err) {
		t.Errorf("the error is %v", err)
	}
	return err
}

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }

// What is wrong with a folder, or with the machine, is a clear typed error at the start; nothing starts by half, and a right start works after.
func TestBadEnvironment(t *testing.T) {
	t.Parallel()
	good, other := stoppedNet(t, 2), stoppedNet(t, 1)
	_, names, _, err := node.ReadDev(good)
	if err != nil {
		t.Fatal(err)
	}
	first := filepath.Join("nodes", names[0])
	_, otherNames, _, _ := node.ReadDev(other)

	t.Run("port in use", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		cfg := devConfig(good, 2)
		cfg.Listen = l.Addr().String()
		err = wantStartError(t, cfg, is(node.ErrPortInUse))
		if err != nil && !strings.Contains(err.Error(), cfg.Listen) {
			t.Errorf("which port? %v", err)
		}
	})
	t.Run("bad address", func(t *testing.T) {
		cfg := devConfig(good, 2)
		cfg.Listen = "nowhere"
		wantStartError(t, cfg, func(err error) bool { return strings.Contains(err.Error(), "listen") })
	})
	t.Run("two processes", func(t *testing.T) {
		child := startChild(t, 2, good)
		wantStartError(t, devConfig(good, 2), is(node.ErrInUse))
		child.stop(t)
	})
	t.Run("another network's node", func(t *testing.T) {
		dir := copyNet(t, good)
		for _, part := range []string{"ledger", "engine"} {
			swap(t, filepath.Join(dir, first, part), filepath.Join(other, "nodes", otherNames[0], part))
		}
		wantStartError(t, devConfig(dir, 2), node.IsOtherNetwork)
	})
	t.Run("another network's engine", func(t *testing.T) {
		dir := copyNet(t, good)
		swap(t, filepath.Join(dir, first, "engine"), filepath.Join(other, "nodes", otherNames[0], "engine"))
		wantStartError(t, devConfig(dir, 2), is(consensus.ErrOtherNetwork))
	})
	t.Run("another network's description", func(t *testing.T) {
		dir := copyNet(t, good)
		third := stoppedNet(t, 2)
		swap(t, filepath.Join(dir, "network.json"), filepath.Join(third, "network.json"))
		wantStartError(t, devConfig(dir, 2), node.IsOtherNetwork)
	})
	t.Run("another member's keys", func(t *testing.T) {
		dir := copyNet(t, good)
		swap(t, filepath.Join(dir, first, "keys.age"), filepath.Join(good, "nodes", names[1], "keys.age"))
		wantStartError(t, devConfig(dir, 2), is(node.ErrOtherMember))
	})
	t.Run("another member's folder, by itself", func(t *testing.T) { // its memory of votes is the first's, the keys are the second's
		g, _, pass, err := node.ReadDev(good)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := node.LoadKeys(filepath.Join(good, "nodes", names[1], "keys.age"), pass)
		if err != nil {
			t.Fatal(err)
		}
		local := node.Addresses{Engine: "127.0.0.1:0", Peer: "127.0.0.1:0", Gateway: "127.0.0.1:0"}
		n, err := node.Start(node.Config{Dir: filepath.Join(copyNet(t, good), first), Keys: keys, Genesis: g, Self: local})
		if !errors.Is(err, node.ErrOtherMember) {
			t.Errorf("the error is %v", err)
		}
		if err == nil {
			_ = n.Stop()
		}
	})
	t.Run("wrong passphrase", func(t *testing.T) {
		dir := copyNet(t, good)
		write(t, filepath.Join(dir, "passphrase"), []byte("wrong\n"))
		wantStartError(t, devConfig(dir, 2), is(node.ErrPassphrase))
	})
	t.Run("no passphrase", func(t *testing.T) {
		dir := copyNet(t, good)
		remove(t, filepath.Join(dir, "passphrase"))
		wantStartError(t, devConfig(dir, 2), is(node.ErrPassphrase))
	})
	t.Run("no keys", func(t *testing.T) {
		dir := copyNet(t, good)
		remove(t, filepath.Join(dir, first, "keys.age"))
		wantStartError(t, devConfig(dir, 2), is(fs.ErrNotExist))
	})
	t.Run("damaged keys", func(t *testing.T) {
		dir := copyNet(t, good)
		flip(t, filepath.Join(dir, first, "keys.age"), -20)
		wantStartError(t, devConfig(dir, 2), is(node.ErrKeysFile))
	})
	t.Run("damaged description", func(t *testing.T) {
		for what, change := range map[string]func([]byte) []byte{
			"cut off": func(b []byte) []byte { return b[:len(b)/2] },
			"empty":   func([]byte) []byte { return nil },
			"a bit of the genesis": func(b []byte) []byte {
				i := bytes.Index(b, []byte(`"genesis": "`)) + 12
				b[i+1] ^= 1
				return b
			},
		} {
			dir := copyNet(t, good)
			name := filepath.Join(dir, "network.json")
			write(t, name, change(read(t, name)))
			if err := wantStartError(t, devConfig(dir, 2), is(node.ErrOtherFiles)); err == nil {
				t.Error(what)
			}
		}
	})
	t.Run("something else's folder", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "thesis.txt"), []byte("years of work"))
		wantStartError(t, devConfig(dir, 2), is(node.ErrOtherFiles))
		if string(read(t, filepath.Join(dir, "thesis.txt"))) != "years of work" {
			t.Error("it was touched")
		}
	})
	t.Run("no room for members", func(t *testing.T) {
		for _, n := range []int{0, -1, 17} {
			wantStartError(t, devConfig(t.TempDir(), n), func(error) bool { return true })
		}
	})
	t.Run("a file where a folder should be", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "file")
		write(t, name, nil)
		wantStartError(t, devConfig(name, 1), func(error) bool { return true })
	})
	t.Run("after all that it starts", func(t *testing.T) {
		w := startWorld(t, devConfig(good, 2))
		w.write(w.patient(), 0, group("labs", "b"))
	})
}

// A node whose ledger rows are damaged on disk does not serve them: it ends with an error that says what is wrong.
func TestDamagedLedger(t *testing.T) {
	t.Parallel()
	good := stoppedNet(t, 1)
	_, names, _, err := node.ReadDev(good)
	if err != nil {
		t.Fatal(err)
	}
	startChild(t, 1, good).stop(t) // Pebble makes a table of its log when it opens again
	for _, part := range []string{"ledger", "engine/store"} {
		for _, pattern := range []string{"MANIFEST-*", "CURRENT", "*.sst", "marker.*"} {
			dir := copyNet(t, good)
			matches, err := filepath.Glob(filepath.Join(dir, "nodes", names[0], part, pattern))
			if err != nil {
				t.Fatal(err)
			}
			if len(matches) == 0 {
				continue
			}
			for _, m := range matches {
				if pattern == "marker.*" {
					remove(t, m)
				} else {
					b := read(t, m)
					for i := range b {
						b[i] ^= 0x55
					}
					write(t, m, b)
				}
			}
			if part+pattern == "ledgermarker.*" {
				startWithoutMarker(t, dir)
				continue
			}
			startDamaged(t, dir, part+"/"+pattern)
		}
	}
}

// startWithoutMarker: a store without its marker is empty, and the blocks make it anew; unless its write-ahead log still holds something,
// which depends on when it stopped: then it is refused.
func startWithoutMarker(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1|"+dir)
	out, err := cmd.CombinedOutput()
	if err == nil {
		check(t, dir)
		return
	}
	if text := string(out); !strings.Contains(text, "error ") || !strings.Contains(text, "not pristine") {
		t.Errorf("%v %s", err, text)
	}
}

// The engine's log of votes may be damaged: the engine sets it aside, and the node starts and works.
func TestDamagedVotes(t *testing.T) {
	t.Parallel()
	dir := stoppedNet(t, 1)
	_, names, _, err := node.ReadDev(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "nodes", names[0], "engine", "wal", "wal")
	for _, at := range []int{-30, len(read(t, name)) / 2, 3} {
		flip(t, name, at)
		if r := check(t, dir); len(r.Findings) == 0 {
			t.Error("fsck says nothing of it")
		}
		w := &world{TB: t, ctx: testContext(t)}
		w.start(devConfig(dir, 1))
		w.write(w.patient(), 0, group("labs", "after"))
		w.ok(w.net.Stop())
	}
}

// startDamaged runs the network in a child, since what Pebble finds while it runs may end the process.
func startDamaged(t *testing.T, dir, what string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1|"+dir)
	out, err := cmd.CombinedOutput() // its input is empty: it stops once it is up
	var exit *exec.ExitError
	switch text := string(out); {
	case strings.Contains(text, "panic:"), strings.Contains(text, "goroutine "):
		t.Errorf("%s: %s", what, text)
	case err == nil:
		t.Errorf("%s: it started and served", what)
	case !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(text, "error ") && !strings.Contains(text, "storage failed"):
		t.Errorf("%s: %v %s", what, err, text)
	default:
		t.Logf("%s: %.200s", what, strings.TrimSpace(text))
	}
}

func swap(t testing.TB, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-r", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, name string, b []byte) {
	t.Helper()
	_ = os.Chmod(name, 0o600)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// flip changes one bit; a negative offset counts from the end.
func flip(t testing.TB, name string, at int) {
	t.Helper()
	b := read(t, name)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0x10
	write(t, name, b)
}
