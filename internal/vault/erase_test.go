package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"gocloud.dev/blob"
)

func putMany(t testing.TB, v *Vault, n int) (hashes []Hash) {
	t.Helper()
	for i := range n {
		hashes = append(hashes, put(t, v, content(i, 100+i)))
	}
	return hashes
}

// Many at once are erased as one is: for good, held or not, put aside or not, twice; nothing else is.
func TestEraseManyIsForGood(t *testing.T) {
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, bucket *blob.Bucket) {
		v := open(Options{})
		all := putMany(t, v, 12)
		gone, others := slices.Clone(all[:9]), all[9:]
		b, err := bucket.ReadAll(t.Context(), fileKey(gone[3]))
		if err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if err := bucket.WriteAll(t.Context(), fileKey(gone[3]), b, nil); err != nil {
			t.Fatal(err)
		}
		_, err = read(v, gone[3])
		wantError(t, err, ErrCorrupt) // and is put aside
		if err := v.Delete(t.Context(), gone[4]); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, hashOfContent([]byte("never held")), gone[0])
		for range 2 {
			if err := v.DeleteAll(t.Context(), gone); err != nil {
				t.Fatal(err)
			}
			for i, h := range gone {
				_, err := read(v, h)
				wantError(t, err, ErrErased)
				if !v.Erased(h) || v.isQuarantined(h) {
					t.Fatalf("file %d is not gone", i)
				}
			}
			wantError(t, v.Put(t.Context(), gone[0], bytes.NewReader(content(0, 100)), 100), ErrErased)
			for _, h := range others {
				if _, err := read(v, h); err != nil || v.Erased(h) {
					t.Fatal(err)
				}
			}
		}
		var lists, bytesOf int
		for _, key := range allKeys(t, bucket) {
			class, name, _ := strings.Cut(key, "/")
			switch class {
			case graves:
				lists++
			case files, quarantine:
				bytesOf++
				if !slices.ContainsFunc(others, func(h Hash) bool { return strings.HasSuffix(name, h.String()) }) {
					t.Errorf("%s is left", key)
				}
			}
		}
		if lists != 1 || bytesOf != len(others) {
			t.Errorf("%d lists of tombstones, %d files", lists, bytesOf)
		}
		// A backup that brings bytes back: gone once the vault is open.
		for _, key := range []string{fileKey(gone[1]), quarantineKey(gone[2])} {
			if err := bucket.WriteAll(t.Context(), key, b, nil); err != nil {
				t.Fatal(err)
			}
		}
		v = open(Options{})
		for _, key := range []string{fileKey(gone[1]), quarantineKey(gone[2])} {
			if ok, err := bucket.Exists(t.Context(), key); ok || err != nil || !v.Erased(gone[1]) || !v.Erased(gone[2]) {
				t.Errorf("%s came back: %v", key, err)
			}
		}
		wantError(t, v.DeleteAll(t.Context(), make([]Hash, DeleteFilesMax+1)), ErrSize)
	})
}

// Of a list of tombstones that is damaged, what can be read counts.
func TestDamagedTombstones(t *testing.T) {
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, bucket *blob.Bucket) {
		v := open(Options{})
		all := putMany(t, v, 5)
		if err := v.DeleteAll(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, compareHashes)
		list := graveList(all)
		key := graveKey(hashOfContent(list))
		list[len(graveHeader)+10] = 'x' // in the first file's hash
		if err := bucket.WriteAll(t.Context(), key, list[:len(list)-20], nil); err != nil {
			t.Fatal(err)
		}
		v = open(Options{})
		for i, h := range all {
			if want := i > 0 && i < 4; v.Erased(h) != want {
				t.Errorf("file %d: erased %v", i, v.Erased(h))
			}
		}
	})
}

// The list is durable before the first byte goes, each directory is synced after its last, and none of the files counts as erased before.
func TestManyAreErasedInOrder(t *testing.T) {
	dir := t.TempDir()
	v := openTest(t, dir, Options{})
	all := putMany(t, v, 40)
	var mu sync.Mutex
	var steps []string
	unlinked, synced := map[string]int{}, map[string]int{} // by directory of files: the step of the last
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		for _, h := range all {
			if v.Erased(h) {
				t.Errorf("a file counts as erased before: %s", what)
			}
		}
		if strings.HasPrefix(what, files) {
			synced[what] = len(steps)
		} else if sub, ok := strings.CutPrefix(what, "unlink "); ok {
			unlinked[sub] = len(steps)
		}
		steps = append(steps, what)
	}
	v.store.folder.fsync = func(f *os.File) error { note("list"); return f.Sync() }
	v.store.folder.fsyncDir = func(p string) error {
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		note(rel)
		return syncDirectory(p)
	}
	v.store.folder.unlink = func(p string) error {
		if rel, err := filepath.Rel(dir, p); err == nil && strings.HasPrefix(rel, files) {
			note("unlink " + filepath.Dir(rel))
		}
		return os.Remove(p)
	}
	if err := v.DeleteAll(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		if !v.Erased(h) {
			t.Fatal("not erased")
		}
	}
	if len(steps) < 3 || steps[0] != graves || steps[1] != "list" || !strings.HasPrefix(steps[2], graves+"/") {
		t.Fatalf("it begins with %q", steps[:min(3, len(steps))])
	}
	for sub, at := range unlinked {
		if synced[sub] <= at {
			t.Errorf("%s was not synced after its last removal", sub)
		}
	}
	if len(unlinked) == 0 || len(steps) != 3+len(all)+len(unlinked) {
		t.Errorf("%d steps for %d files in %d directories", len(steps), len(all), len(unlinked))
	}
}

// Whatever fails in between, all are refused and none counts as erased; the next try finishes.
func TestErasingManyFails(t *testing.T) {
	broken := errors.New("broken")
	for name, breakIt := range map[string]func(*folder){
		"the list's content": func(f *folder) { f.fsync = func(*os.File) error { return broken } },
		"the list's name": func(f *folder) {
			f.fsyncDir = func(p string) error {
				if strings.Contains(p, graves+"/") {
					return broken
				}
				return syncDirectory(p)
			}
		},
		"a removal": func(f *folder) {
			var n atomic.Int32
			f.unlink = func(p string) error {
				if n.Add(1) == 5 {
					return broken
				}
				return os.Remove(p)
			}
		},
		"a directory": func(f *folder) {
			var n atomic.Int32
			f.fsyncDir = func(p string) error {
				if strings.Contains(p, files+"/") && n.Add(1) == 3 {
					return broken
				}
				return syncDirectory(p)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			v := openTest(t, dir, Options{})
			all := putMany(t, v, 8)
			breakIt(v.store.folder)
			wantError(t, v.DeleteAll(t.Context(), all), broken)
			for _, h := range all {
				_, err := read(v, h)
				wantError(t, err, ErrErased)
				if v.Erased(h) {
					t.Fatal("claims a durable erasure")
				}
			}
			f := v.store.folder
			f.fsync, f.fsyncDir, f.unlink = (*os.File).Sync, syncDirectory, os.Remove
			var mu sync.Mutex
			synced := map[string]bool{}
			f.fsyncDir = func(p string) error {
				mu.Lock()
				synced[p] = true
				mu.Unlock()
				return syncDirectory(p)
			}
			if err := v.DeleteAll(t.Context(), all); err != nil {
				t.Fatal(err)
			}
			for _, h := range all {
				if !v.Erased(h) || !synced[filepath.Dir(filepath.Join(dir, filepath.FromSlash(fileKey(h))))] {
					t.Fatal("not erased, or not durably: what an earlier try removed must be synced too")
				}
			}
		})
	}
}

// An erasure of many that comes while one is on its way in wins.
func TestEraseManyOvertakesPut(t *testing.T) {
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, bucket *blob.Bucket) {
		v := open(Options{})
		b := content(1, 200_000)
		all := append(putMany(t, v, 3), hashOfContent(b))
		body := io.MultiReader(bytes.NewReader(b[:150_000]), readerFunc(func([]byte) (int, error) {
			return 0, errors.Join(v.DeleteAll(t.Context(), all), io.EOF)
		}), bytes.NewReader(b[150_000:]))
		if err := v.Put(t.Context(), all[3], body, int64(len(b))); err == nil {
			t.Fatal("it was put")
		}
		if keys := allKeys(t, bucket); len(keys) != 1 || !strings.HasPrefix(keys[0], graves) {
			t.Fatalf("in the bucket: %v", keys)
		}
	})
}

// dieAtStep erases everything in a folder at once and is killed before its step-th sync or removal. Without so many steps it says that it is done.
func dieAtStep(dir string, step int) {
	ctx := context.Background()
	v, err := Open(ctx, dir, Options{})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	page, _, err := v.List(ctx, "", ListFilesMax)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var all []Hash
	for _, i := range page {
		all = append(all, i.Hash)
	}
	var steps atomic.Int64
	die := func() {
		if steps.Add(1) == int64(step) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	f := v.store.folder
	f.fsync = func(file *os.File) error { die(); return file.Sync() }
	f.fsyncDir = func(p string) error { die(); return syncDirectory(p) }
	f.unlink = func(p string) error { die(); return os.Remove(p) }
	if err := v.DeleteAll(ctx, all); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("erased")
	os.Exit(0)
}

// A batch that is killed before any of its steps has erased all of its files or none once the vault is open again, and what it said was erased is.
func TestKilledInsideABatch(t *testing.T) {
	const n = 8
	inside := 0
	for step := 1; ; step++ {
		dir := filepath.Join(t.TempDir(), "vault")
		v := openTest(t, dir, Options{})
		all := putMany(t, v, n)
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childFolder+"="+dir, fmt.Sprintf("%s=%d", childStep, step))
		out, err := cmd.Output()
		said := strings.Contains(string(out), "erased")
		if said == (err != nil) || strings.Contains(string(out), "error") {
			t.Fatalf("step %d: %v, %s", step, err, out)
		}
		left := 0
		for _, h := range all {
			if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(fileKey(h)))); err == nil {
				left++
			}
		}
		if left > 0 && left < n {
			inside++
		}
		v = openTest(t, dir, Options{})
		erased := v.Erased(all[0])
		for _, h := range all {
			_, err := read(v, h)
			if v.Erased(h) != erased || erased != errors.Is(err, ErrErased) || !erased && err != nil {
				t.Fatalf("step %d: one is erased, another not: %v", step, err)
			}
		}
		if !erased && left < n || said && left > 0 {
			t.Fatalf("step %d: erased %v, said so %v, %d files left", step, erased, said, left)
		}
		if erased && len(filesUnder(t, filepath.Join(dir, files))) > 0 {
			t.Fatalf("step %d: bytes are left", step)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if said {
			t.Logf("%d steps, %d of them with some files gone and others not", step-1, inside)
			break
		}
	}
	if inside < n-1 {
		t.Errorf("%d kills came between two removals", inside)
	}
}
