//go:build !js

package wallet

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestStockToolsOpenARecord runs age, zstd and tar on a sealed file, as a patient would, without any program of ours.
func TestStockToolsOpenARecord(t *testing.T) {
	for _, tool := range []string{"age", "zstd", "tar", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %s is not installed: whether stock tools open a record was not tried", tool)
		}
	}
	d := newWorld(t)
	resources := [][]byte{[]byte("{\"a\": 1}\n"), {}, bytes.Repeat([]byte("\x00\n\xff"), 5000)}
	s := d.seal(t, resources...)
	dir := t.TempDir()
	must(0, os.WriteFile(filepath.Join(dir, "record.age"), s.File, 0o600))(t)
	must(0, os.WriteFile(filepath.Join(dir, "identity.txt"), []byte(d.keys.Identity.Reveal()+"\n"), 0o600))(t)
	cmd := exec.Command("sh", "-c", "age -d -i identity.txt record.age | zstd -d | tar xf -")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || len(out) != 0 {
		t.Fatalf("%v: %s", err, out)
	}
	for i, want := range resources {
		if got := must(os.ReadFile(filepath.Join(dir, resourceName(i))))(t); !bytes.Equal(got, want) {
			t.Errorf("resource %d differs", i)
		}
	}
	if got := must(os.ReadFile(filepath.Join(dir, nameManifest)))(t); !bytes.Equal(got, must(s.Manifest.encode())(t)) {
		t.Error("the manifest differs")
	}
	info := must(os.Stat(filepath.Join(dir, nameManifest)))(t)
	if got := uint64(info.ModTime().Unix()); got != s.Manifest.mtime() {
		t.Errorf("time %d", got)
	}
}

// TestStockZstdAndTarReadTheContent needs no age: it starts from the decrypted content.
func TestStockZstdReadsTheContent(t *testing.T) {
	if _, err := exec.LookPath("zstd"); err != nil {
		t.Skip("SKIPPED: zstd is not installed")
	}
	tarball := archive([]byte("{}"), make([]byte, 64), [][]byte{[]byte("x")}, 1)
	for _, mode := range []string{"-dc", "-tq"} {
		cmd := exec.Command("zstd", mode)
		cmd.Stdin = bytes.NewReader(pack(tarball))
		out, err := cmd.Output()
		if err != nil || mode == "-dc" && !bytes.Equal(out, tarball) {
			t.Errorf("zstd %s: %v", mode, err)
		}
	}
}

// TestArchiveIsUstar has the standard library read the archive.
func TestArchiveIsUstar(t *testing.T) {
	resources := [][]byte{[]byte("one"), {}, make([]byte, 512)}
	r := tar.NewReader(bytes.NewReader(archive([]byte("manifest"), make([]byte, 64), resources, 1_763_875_260)))
	for _, name := range []string{nameManifest, nameSignature, resourceName(0), resourceName(1), resourceName(2)} {
		h := must(r.Next())(t)
		if h.Name != name || h.Format != tar.FormatUSTAR || h.Typeflag != tar.TypeReg || h.Mode != 0o644 || h.Uid != 0 || h.ModTime.Unix() != 1_763_875_260 {
			t.Errorf("%+v", h)
		}
		data := must(io.ReadAll(r))(t)
		if name == resourceName(0) && string(data) != "one" || name == resourceName(2) && len(data) != 512 {
			t.Errorf("%s: %q", name, data)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
}
