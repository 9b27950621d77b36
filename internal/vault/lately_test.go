package vault

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLatelyTrustsWhatCame: following the ledger does not look for a file that came just before; whatever removes one is remembered at once,
// and a walk of the whole looks at the folder.
func TestLatelyTrustsWhatCame(t *testing.T) {
	dir := t.TempDir()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	kept, erased, dropped, spoilt, behind := put(t, v, content(1, 100)), put(t, v, content(2, 100)), put(t, v, content(3, 100)), put(t, v, content(4, 100)), put(t, v, content(5, 100))
	never := hashOfContent(content(6, 100))
	all := []Hash{kept, erased, dropped, spoilt, behind, never}
	want := func(when string, expect ...bool) {
		t.Helper()
		has, err := v.hasLately(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		for i := range expect {
			if has[i] != expect[i] {
				t.Errorf("%s: file %d: %v, want %v", when, i+1, has[i], expect[i])
			}
		}
	}
	want("stored", true, true, true, true, true, false)

	if err := v.Delete(t.Context(), erased); err != nil {
		t.Fatal(err)
	}
	if ok, err := v.drop(t.Context(), fileKey(dropped), dropped, func(Info) bool { return true }); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(fileKey(spoilt))), content(9, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), spoilt); err == nil {
		t.Fatal("a spoilt copy verifies")
	}
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(fileKey(behind)))); err != nil {
		t.Fatal(err)
	}
	want("removed", true, false, false, false, true, false) // the last was taken behind the vault's back: a hint may be wrong
	if ok, err := v.Has(t.Context(), behind); err != nil || ok {
		t.Fatal("Has looks at the folder, and must not find it", ok, err)
	}
}

func TestLatelyIsBounded(t *testing.T) {
	var l lately
	for i := range 3 * latelyFilesMax {
		l.add(Hash{byte(i), byte(i >> 8), byte(i >> 16), 1})
	}
	if n := len(l.young) + len(l.old); n > 2*latelyFilesMax {
		t.Fatalf("%d files are remembered", n)
	}
	last := 3*latelyFilesMax - 1
	if lacks := l.lacks([]Hash{{byte(last), byte(last >> 8), byte(last >> 16), 1}, {0, 0, 0, 1}}); len(lacks) != 1 || lacks[0] != 1 {
		t.Fatalf("not remembered: %v; want the first ever alone", lacks)
	}
}
