package vault

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func flipByte(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	_, err1 := f.ReadAt(b[:], at)
	b[0] ^= 0x40
	_, err2 := f.WriteAt(b[:], at)
	return errors.Join(err1, err2, f.Close())
}

func filesUnder(t testing.TB, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// The content is synced before the name exists, and the directory after; an acknowledgement comes after both.
func TestDurableInOrder(t *testing.T) {
	dir := t.TempDir()
	v := openTest(t, dir, Options{})
	b := content(1, 1000)
	h := hashOfContent(b)
	path := filepath.Join(dir, filepath.FromSlash(fileKey(h)))
	tomb := filepath.Join(dir, filepath.FromSlash(tombstoneKey(h)))
	exists := func(p string) bool { _, err := os.Stat(p); return err == nil }
	var steps []string
	v.store.folder.fsync = func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		steps = append(steps, fmt.Sprintf("content of %d bytes, file %v, tombstone %v", info.Size(), exists(path), exists(tomb)))
		return f.Sync()
	}
	v.store.folder.fsyncDir = func(p string) error {
		what := filepath.Base(filepath.Dir(p)) // the class
		if filepath.Dir(p) == dir {
			what = "shards of " + filepath.Base(p)
		}
		steps = append(steps, fmt.Sprintf("%s, file %v, tombstone %v", what, exists(path), exists(tomb)))
		return syncDirectory(p)
	}
	put(t, v, b)
	if err := v.Delete(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"shards of files, file false, tombstone false",
		"content of 1000 bytes, file false, tombstone false",
		"files, file true, tombstone false",
		"shards of tombstones, file true, tombstone false",
		fmt.Sprintf("content of %d bytes, file true, tombstone false", len(tombstoneBody(h))),
		"tombstones, file true, tombstone true",
		"files, file false, tombstone true",
	}
	if strings.Join(steps, "\n") != strings.Join(want, "\n") {
		t.Fatalf("steps:\n%s\nwant:\n%s", strings.Join(steps, "\n"), strings.Join(want, "\n"))
	}
}

// A sync that fails is a put, or an erasure, that failed; a full disk is told from other failures.
func TestSyncFails(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct{ give, want error }{
		"other":     {broken, broken},
		"full disk": {&fs.PathError{Op: "sync", Err: syscall.ENOSPC}, ErrNoSpace},
		"quota":     {&fs.PathError{Op: "sync", Err: syscall.EDQUOT}, ErrNoSpace},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			v := openTest(t, dir, Options{})
			b := content(1, 1000)
			h := hashOfContent(b)
			v.store.folder.fsync = func(*os.File) error { return c.give }
			wantError(t, v.Put(t.Context(), h, bytes.NewReader(b), 1000), c.want)
			if left := filesUnder(t, dir); len(left) != 0 {
				t.Fatalf("left behind: %v", left)
			}
			wantError(t, v.Delete(t.Context(), h), c.want)
			_, err := read(v, h)
			wantError(t, err, ErrErased) // refused from the moment it was asked for
			if v.Erased(h) {
				t.Fatal("claims a durable erasure")
			}
			v.store.folder.fsync = (*os.File).Sync
			if err := v.Delete(t.Context(), h); err != nil || !v.Erased(h) {
				t.Fatal(err)
			}
			v.store.folder.fsyncDir = func(string) error { return c.give }
			b = content(2, 1000)
			wantError(t, v.Put(t.Context(), hashOfContent(b), bytes.NewReader(b), 1000), c.want)
		})
	}
}

func TestUnreadableSectorIsCorrupt(t *testing.T) {
	err := damaged(&fs.PathError{Op: "read", Err: syscall.EIO})
	wantError(t, err, ErrCorrupt)
	wantError(t, err, syscall.EIO)
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	v := openTest(t, dir, Options{})
	h := put(t, v, content(1, 1000))
	left := filepath.Join(dir, "files", "00", strings.Repeat("0", 64)+".18aef.tmp")
	alien := filepath.Join(dir, "files", "00", "notes.tmp")
	if err := os.MkdirAll(filepath.Dir(left), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{left, alien} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if page, _, err := v.List(t.Context(), "", 10); err != nil || len(page) != 1 || page[0].Hash != h {
		t.Fatal(page, err)
	}
	openTest(t, dir, Options{})
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the temporary file is still there", err)
	}
	if _, err := os.Stat(alien); err != nil {
		t.Fatal("a file of somebody else was removed", err)
	}
}

func TestDirSyncIsShared(t *testing.T) {
	d := newDirSync()
	broken := errors.New("broken")
	begun, release := make(chan struct{}), make(chan error)
	syncs := 0
	sync1 := func() error { syncs++; begun <- struct{}{}; return <-release }
	results := make(chan error, 11)
	go func() { results <- d.wait(sync1) }()
	<-begun
	var waiting sync.WaitGroup
	for range 10 {
		waiting.Go(func() { results <- d.wait(sync1) })
	}
	release <- nil // the first is done
	if err := <-results; err != nil {
		t.Fatal(err)
	}
	<-begun
	for { // until all ten wait for the second, or for a third
		release <- broken
		select {
		case <-begun:
			continue
		case err := <-results:
			wantError(t, err, broken)
		}
		break
	}
	go func() {
		for range begun {
			release <- broken
		}
	}()
	waiting.Wait()
	close(begun)
	for range 9 {
		wantError(t, <-results, broken)
	}
	if syncs > 11 || syncs < 2 {
		t.Fatalf("%d syncs for 11 callers", syncs)
	}
	if err := d.wait(func() error { return nil }); err != nil {
		t.Fatal("an old failure sticks:", err)
	}
}

const (
	childFolder = "ANAMNESIS_TEST_VAULT_CHILD"
	childStep   = "ANAMNESIS_TEST_VAULT_STEP"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		if step, err := strconv.Atoi(os.Getenv(childStep)); err == nil {
			dieAtStep(dir, step)
		}
		child(dir)
	}
	os.Exit(m.Run())
}

// child puts and erases until it is killed, and says each time that something was acknowledged.
func child(dir string) {
	ctx := context.Background()
	v, err := Open(ctx, dir, Options{})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var out sync.Mutex
	say := func(what string, h Hash) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(what, h)
	}
	start := int(time.Now().UnixNano() & 0xffffffff)
	for worker := range 4 {
		go func() {
			var batch []Hash // held, to be erased together
			for i := start + worker; ; i += 4 {
				b := content(i, 1+i*7919%200_000)
				h := hashOfContent(b)
				say("try", h)
				if err := v.Put(ctx, h, bytes.NewReader(b), int64(len(b))); err != nil {
					fmt.Println("error", err)
				}
				say("put", h)
				if i%5 == 0 {
					say("erase", h)
					if err := v.Delete(ctx, h); err != nil {
						fmt.Println("error", err)
					}
					say("erased", h)
				} else if batch = append(batch, h); len(batch) == 6 {
					for _, h := range batch[:4] {
						say("erase", h)
					}
					if err := v.DeleteAll(ctx, batch[:4]); err != nil {
						fmt.Println("error", err)
					}
					for _, h := range batch[:4] {
						say("erased", h)
					}
					batch = nil // the other two stay
				}
			}
		}()
	}
	select {}
}

// killRound lets a child work until it has acknowledged enough, kills it, and adds what it said to said.
func killRound(t *testing.T, dir string, acknowledgements int, said map[Hash]string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		what, name, ok := strings.Cut(lines.Text(), " ")
		var h Hash
		if what == "error" || !ok {
			t.Errorf("the child says %q", lines.Text())
		} else if err := h.UnmarshalText([]byte(name)); err == nil { // the last line may be cut
			said[h] = what
		}
		if what == "put" || what == "erased" {
			if acknowledgements--; acknowledgements == 0 {
				_ = cmd.Process.Signal(syscall.SIGKILL)
			}
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

func TestKilledInTheMiddle(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vault")
	said := map[Hash]string{}
	junk := 0
	for round := range 6 {
		killRound(t, dir, 20+17*round, said)
		for _, path := range filesUnder(t, dir) {
			if strings.HasSuffix(path, ".tmp") {
				junk++
			}
		}
		checkAfterKill(t, dir, said)
	}
	t.Logf("%d files spoken of, %d temporary files left and removed", len(said), junk)
}

func checkAfterKill(t *testing.T, dir string, said map[Hash]string) {
	t.Helper()
	v := openTest(t, dir, Options{})
	defer func() { _ = v.Close() }()
	for h, what := range said {
		_, err := read(v, h)
		switch {
		case what == "put" && err != nil:
			t.Fatalf("acknowledged %s: %v", h, err)
		case what == "erased" && !errors.Is(err, ErrErased):
			t.Fatalf("erased %s: %v", h, err)
		case err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrErased):
			t.Fatalf("%s %s: %v", what, h, err)
		}
	}
	for _, path := range filesUnder(t, dir) {
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		h, ok := hashOf(filepath.ToSlash(rel))
		if !ok {
			t.Fatalf("%s was left", rel)
		}
		if strings.HasPrefix(rel, graves) {
			if list, err := os.ReadFile(path); err != nil || sha256.Sum256(list) != h {
				t.Fatalf("%s: a list of tombstones is half written, %v", rel, err)
			}
			continue
		}
		if what, known := said[h]; !known {
			t.Fatalf("%s (%s) was never spoken of", rel, what)
		}
	}
}

// What a vault has erased can be read off its folder, and nothing is changed by that.
func TestTombstones(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vault")
	if got, err := Tombstones(dir); err != nil || got != nil {
		t.Fatalf("a folder that is not there: %v %v", got, err)
	}
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Hash{{0}, {1, 1}, {1, 2}, {7}, {8}, {255}}
	for _, i := range []int{2, 0, 5, 1} {
		if err := v.Delete(t.Context(), want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.DeleteAll(t.Context(), []Hash{{8}, {255}, {7}}); err != nil { // a list, of which one has a tombstone already
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for _, stray := range []string{"stray", "01/stray", "02/" + Hash{1, 1}.String()} {
		path := filepath.Join(dir, tombstones, stray)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Tombstones(dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
}
