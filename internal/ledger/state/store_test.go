package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

func openPebble(t testing.TB, dir string) Store {
	t.Helper()
	s, err := OpenPebble(dir, PebbleOptions{CacheBytes: 1 << 20, MemtableBytes: 1 << 18, ReserveBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openIn opens a small store in a file system in memory: Pebble as it is, without the disk's waits.
func openIn(t interface{ Fatalf(string, ...any) }, fs vfs.FS) Store {
	s, err := OpenPebble("db", PebbleOptions{CacheBytes: 1 << 20, MemtableBytes: 1 << 18, fs: fs})
	must(t, err)
	return s
}

func rowsOf(t interface{ Fatalf(string, ...any) }, r Reader, lo, hi []byte) (out []string) {
	must(t, r.Scan(lo, hi, func(k, v []byte) (bool, error) {
		out = append(out, fmt.Sprintf("%x=%x", k, v))
		return true, nil
	}))
	return out
}

func genBytes(t *rapid.T, what string) []byte {
	return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0xff}), 1, 3).Draw(t, what)
}

// TestStoresAgree drives both stores alike: they must give the same rows, now and in old snapshots.
func TestStoresAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := openIn(t, vfs.NewMem())
		defer p.Close()
		stores := []Store{p, NewMemory()}
		var snapshots [][2]Snapshot
		var past [][]string
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			batches := []Batch{stores[0].NewBatch(), stores[1].NewBatch()}
			for range rapid.IntRange(0, 6).Draw(t, "ops") {
				k, k2, op := genBytes(t, "key"), genBytes(t, "to"), rapid.IntRange(0, 4).Draw(t, "op")
				for _, b := range batches {
					switch op {
					case 0:
						must(t, b.Delete(k))
					case 1:
						if bytes.Compare(k, k2) < 0 {
							must(t, b.DeleteRange(k, k2))
						}
					default:
						must(t, b.Set(k, k2))
					}
				}
			}
			drop := rapid.IntRange(0, 4).Draw(t, "drop") == 0
			for _, b := range batches {
				if !drop {
					must(t, b.Commit(rapid.Bool().Draw(t, "durable")))
				}
				must(t, b.Close())
				if b.Set([]byte("x"), nil) == nil || b.Commit(false) == nil {
					t.Fatalf("a closed batch takes writes")
				}
			}
			lo, hi := genBytes(t, "lo"), genBytes(t, "hi")
			if a, b := rowsOf(t, stores[0], lo, hi), rowsOf(t, stores[1], lo, hi); bytes.Compare(lo, hi) < 0 && fmt.Sprint(a) != fmt.Sprint(b) {
				t.Fatalf("scan: %v and %v", a, b)
			}
			k := genBytes(t, "get")
			v0, ok0, err0 := stores[0].Get(k)
			v1, ok1, err1 := stores[1].Get(k)
			if !bytes.Equal(v0, v1) || ok0 != ok1 || err0 != nil || err1 != nil {
				t.Fatalf("get %x: %x %v %v, %x %v %v", k, v0, ok0, err0, v1, ok1, err1)
			}
			s0, err := stores[0].Snapshot()
			must(t, err)
			s1, err := stores[1].Snapshot()
			must(t, err)
			snapshots, past = append(snapshots, [2]Snapshot{s0, s1}), append(past, rowsOf(t, stores[0], nil, nil))
		}
		for i, pair := range snapshots {
			for _, s := range pair {
				if got := rowsOf(t, s, nil, nil); fmt.Sprint(got) != fmt.Sprint(past[i]) {
					t.Fatalf("snapshot %d: %v, want %v", i, got, past[i])
				}
			}
			must(t, pair[0].Close())
		}
	})
}

func TestScanStops(t *testing.T) {
	for _, s := range []Store{openPebble(t, t.TempDir()), NewMemory()} {
		b := s.NewBatch()
		for _, k := range []string{"a", "b", "c"} {
			must(t, b.Set([]byte(k), nil))
		}
		must(t, b.Commit(true))
		var seen string
		must(t, s.Scan(nil, nil, func(k, _ []byte) (bool, error) {
			seen += string(k)
			return len(seen) < 2, nil
		}))
		boom := errors.New("boom")
		if err := s.Scan(nil, nil, func(k, _ []byte) (bool, error) { return true, boom }); !errors.Is(err, boom) || seen != "ab" {
			t.Errorf("%v, saw %s", err, seen)
		}
		must(t, s.Close())
		if _, _, err := s.Get([]byte("a")); !errors.Is(err, ErrClosed) {
			t.Errorf("get after close: %v", err)
		}
		if err := s.Scan(nil, nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("scan after close: %v", err)
		}
		if _, err := s.Snapshot(); !errors.Is(err, ErrClosed) {
			t.Errorf("snapshot after close: %v", err)
		}
	}
}

func TestPebbleLocked(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("STATE_TEST_LOCKED") != "" { // the other process
		if _, err := OpenPebble(os.Getenv("STATE_TEST_LOCKED"), PebbleOptions{}); !errors.Is(err, ErrLocked) {
			t.Fatalf("got %v, want ErrLocked", err)
		}
		return
	}
	s := openPebble(t, dir)
	if _, err := OpenPebble(dir, PebbleOptions{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("same process: got %v, want ErrLocked", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPebbleLocked$")
	cmd.Env = append(os.Environ(), "STATE_TEST_LOCKED="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("other process: %v: %s", err, out)
	}
	must(t, s.Close())
	must(t, s.Close())
	must(t, openPebble(t, dir).Close())
}

func TestPebbleRefusals(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenPebble(dir+"/none", PebbleOptions{ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read-only, no folder: %v", err)
	}
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPebble(dir+"/file", PebbleOptions{}); err == nil {
		t.Error("a file opened as a folder")
	}
	s, err := OpenPebble(dir+"/full", PebbleOptions{ReserveBytes: 1 << 60})
	must(t, err)
	b := s.NewBatch()
	must(t, b.Set([]byte("k"), []byte("v")))
	if err := b.Commit(true); !errors.Is(err, ErrDiskFull) {
		t.Errorf("full disk: %v", err)
	}
	must(t, b.Close())
	if _, ok, err := s.Get([]byte("k")); ok || err != nil {
		t.Errorf("refused commit was applied: %v %v", ok, err)
	}
	must(t, s.Close())
	s, err = OpenPebble(dir+"/full", PebbleOptions{ReadOnly: true, ReserveBytes: 1})
	must(t, err)
	b = s.NewBatch()
	must(t, b.Set([]byte("k"), []byte("v")))
	if err := b.Commit(true); err == nil {
		t.Error("read-only store took a write")
	}
	must(t, b.Close())
	must(t, s.Close())
}

func TestMemoryFails(t *testing.T) {
	boom := errors.New("boom")
	for _, persist := range []bool{false, true} {
		m := NewMemory()
		m.FailCommits(func(durable bool) (bool, error) { return persist, boom })
		b := m.NewBatch()
		must(t, b.Set([]byte("k"), []byte("v")))
		if err := b.Commit(true); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		if _, ok, _ := m.Crash(true).Get([]byte("k")); ok != persist {
			t.Errorf("persist %v: there %v", persist, ok)
		}
	}
}
