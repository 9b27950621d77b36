package vault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A real full disk, if this machine lets the test have one.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("SKIPPED: NO DISK TO FILL: mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	v := openTest(t, dir, Options{})
	defer func() { _ = v.Close() }()
	var held []Hash
	for i := 0; ; i++ {
		b := content(i, 700_000)
		err := v.Put(t.Context(), hashOfContent(b), bytes.NewReader(b), int64(len(b)))
		if err != nil {
			wantError(t, err, ErrNoSpace)
			break
		}
		if held = append(held, hashOfContent(b)); i > 6 {
			t.Fatal("the disk is never full")
		}
	}
	if left := filesUnder(t, dir); len(left) != len(held) {
		t.Fatalf("%d files held, in the folder: %v", len(held), left)
	}
	fillUp(t, filepath.Join(dir, "filler"))
	// A corrupt copy cannot be put aside and is removed all the same.
	if err := flipByte(filepath.Join(dir, filepath.FromSlash(fileKey(held[0]))), 5); err != nil {
		t.Fatal(err)
	}
	_, err := read(v, held[0])
	wantError(t, err, ErrCorrupt)
	if v.isQuarantined(held[0]) {
		t.Fatal("there was no room to put it aside")
	}
	fillUp(t, filepath.Join(dir, "filler2"))
	// Erasing works on a full disk.
	if err := v.Delete(t.Context(), held[1]); err != nil || !v.Erased(held[1]) {
		t.Fatal(err)
	}
	for _, h := range held[2:] {
		if _, err := read(v, h); err != nil {
			t.Fatal(err)
		}
	}
	put(t, v, content(1000, 100_000)) // there is room again
	v = openTest(t, dir, Options{})
	if _, err := read(v, held[1]); !errors.Is(err, ErrErased) {
		t.Fatal("the tombstone is lost:", err)
	}
}

func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			break
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
