//go:build !js

package proof_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/proof"
)

type part struct {
	h    tar.Header
	data []byte
}

func unpack(t testing.TB, export []byte) (parts []part) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(export)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return parts
		}
		must(t, h, err)
		data, err := io.ReadAll(r)
		parts = append(parts, part{*h, must(t, data, err)})
	}
}

func pack(t testing.TB, parts []part) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range parts {
		if err := w.WriteHeader(&p.h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The container is what Go's archive/tar writes, nothing more; and tricks with it are failures.
func TestContainer(t *testing.T) {
	n := story(t, 2)
	export := n.write(n.prove(n.patient.Journal()))
	if !bytes.Equal(pack(t, unpack(t, export)), export) {
		t.Fatal("the container is not a plain archive")
	}
	dir := "anamnesis-" + n.patient.Journal().String() + "/"
	last := len(unpack(t, export)) - 1
	edit := func(change func(p []part) []part) []byte { return pack(t, change(unpack(t, export))) }
	rename := func(i int, name string) []byte {
		return edit(func(p []part) []part { p[i].h.Name = name; return p })
	}
	raw := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(export)) }
	header := func(i int, change func(h *tar.Header)) []byte {
		return edit(func(p []part) []part { change(&p[i].h); return p })
	}
	for _, c := range []struct {
		name   string
		export []byte
		want   []proof.Code
	}{
		{"trailing byte", raw(func(b []byte) []byte { return append(b, 0) }), []proof.Code{proof.CodeTrailing}},
		{"trailing blocks", raw(func(b []byte) []byte { return append(b, make([]byte, 9*1024)...) }), []proof.Code{proof.CodeTrailing}},
		{"no end", raw(func(b []byte) []byte { return b[:len(b)-1024] }), []proof.Code{proof.CodeTruncated}},
		{"half an end", raw(func(b []byte) []byte { return b[:len(b)-512] }), []proof.Code{proof.CodeTruncated}},
		{"a byte short", raw(func(b []byte) []byte { return b[:len(b)-1] }), []proof.Code{proof.CodeTruncated}},
		{"cut within a record", raw(func(b []byte) []byte { return b[:len(b)-1300] }), []proof.Code{proof.CodeTruncated}},
		{"cut before a record", raw(func(b []byte) []byte { return b[:len(b)-1700] }), []proof.Code{proof.CodeTruncated, proof.CodeFileMissing}},
		{"cut within a section", raw(func(b []byte) []byte { return b[:9000] }), []proof.Code{proof.CodeTruncated, proof.CodeMissing}},
		{"cut within the first header", raw(func(b []byte) []byte { return b[:300] }), nil},
		{"empty", nil, nil},
		{"zeros", make([]byte, 4096), nil},
		{"a link", edit(func(p []part) []part {
			p[last].h.Typeflag, p[last].h.Linkname, p[last].h.Size, p[last].data = tar.TypeLink, p[last-1].h.Name, 0, nil
			return p
		}), []proof.Code{proof.CodeContainer, proof.CodeFile}},
		{"a symlink beside", edit(func(p []part) []part {
			return append(p, part{h: tar.Header{Typeflag: tar.TypeSymlink, Name: dir + "records/x", Linkname: "/etc/passwd", Format: tar.FormatUSTAR, ModTime: p[0].h.ModTime}})
		}), []proof.Code{proof.CodeContainer, proof.CodeUnexpected}},
		{"a path out", rename(last, "../../etc/passwd"), []proof.Code{proof.CodeContainer, proof.CodeUnexpected, proof.CodeFileMissing}},
		{"a path out of the folder", rename(last, dir+"records/../../x"), []proof.Code{proof.CodeUnexpected, proof.CodeFileMissing}},
		{"an absolute path", rename(last, "/"+dir+"records/x"), []proof.Code{proof.CodeContainer, proof.CodeUnexpected, proof.CodeFileMissing}},
		{"another folder", edit(func(p []part) []part {
			for i := range p {
				p[i].h.Name = strings.Replace(p[i].h.Name, dir, "anamnesis-other/", 1)
			}
			return p
		}), []proof.Code{proof.CodeContainer}},
		{"a folder of one file", rename(3, strings.ToUpper(dir)+"seal.cbor"), []proof.Code{proof.CodeContainer, proof.CodeUnexpected, proof.CodeMissing}},
		{"a file twice", edit(func(p []part) []part { return append(p, p[last]) }), []proof.Code{proof.CodeUnexpected}},
		{"a section twice", edit(func(p []part) []part { return slices.Insert(p, 5, p[4]) }), []proof.Code{proof.CodeUnexpected}},
		{"a section after the records", edit(func(p []part) []part { return append(p, p[4]) }), []proof.Code{proof.CodeUnexpected}},
		{"a section left out", edit(func(p []part) []part { return slices.Delete(p, 7, 8) }), []proof.Code{proof.CodeMissing}},
		{"the last section left out", edit(func(p []part) []part { return slices.Delete(p, 8, 9) }), []proof.Code{proof.CodeMissing}},
		{"sections swapped", edit(func(p []part) []part { p[4], p[5] = p[5], p[4]; return p }), []proof.Code{proof.CodeMissing, proof.CodeUnexpected}},
		{"a record's file left out", edit(func(p []part) []part { return p[:last] }), []proof.Code{proof.CodeFileMissing}},
		{"records swapped", edit(func(p []part) []part { p[last], p[last-1] = p[last-1], p[last]; return p }),
			[]proof.Code{proof.CodeUnexpected, proof.CodeFileMissing}},
		{"a file too many", edit(func(p []part) []part {
			q := p[last]
			q.h.Name = dir + "records/" + strings.Repeat("ee", 16) + ".age"
			return append(p, q)
		}), []proof.Code{proof.CodeUnexpected}},
		{"another ending", rename(last, unpack(t, export)[last].h.Name+"x"), []proof.Code{proof.CodeUnexpected, proof.CodeFileMissing}},
		{"a file changed", edit(func(p []part) []part { p[last].data[7] ^= 1; return p }), []proof.Code{proof.CodeFile}},
		{"a file of another size", edit(func(p []part) []part {
			p[last].data = append(p[last].data, 1)
			p[last].h.Size++
			return p
		}), []proof.Code{proof.CodeFile}},
		{"a made-up reason", edit(func(p []part) []part {
			p[last].h.Name = strings.TrimSuffix(p[last].h.Name, ".age") + ".missing"
			p[last].data, p[last].h.Size = []byte("too boring\n"), 11
			return p
		}), []proof.Code{proof.CodeFile}},
		{"a long reason", edit(func(p []part) []part {
			p[last].h.Name = strings.TrimSuffix(p[last].h.Name, ".age") + ".missing"
			return p
		}), []proof.Code{proof.CodeFile}},
		{"a README of one's own", edit(func(p []part) []part {
			p[0].data = bytes.Replace(p[0].data, []byte("stock"), []byte("STOCK"), 1)
			return p
		}),
			[]proof.Code{proof.CodeUncanonical}},
		{"a newer format", edit(func(p []part) []part {
			p[0].data = bytes.Replace(p[0].data, []byte("format 1"), []byte("format 2"), 1)
			return p
		}),
			[]proof.Code{proof.CodeNewer}},
		{"a name that plays with the terminal", rename(last, dir+"records/\x1b[2J\x07"), []proof.Code{proof.CodeUnexpected, proof.CodeFileMissing}},
		{"an owner", header(last, func(h *tar.Header) { h.Uid = 1000 }), []proof.Code{proof.CodeContainer}},
		{"a mode", header(last, func(h *tar.Header) { h.Mode = 0o755 }), []proof.Code{proof.CodeContainer}},
		{"a time", header(last, func(h *tar.Header) { h.ModTime = h.ModTime.Add(1e9) }), []proof.Code{proof.CodeContainer}},
		{"all times", edit(func(p []part) []part {
			for i := range p {
				p[i].h.ModTime = p[i].h.ModTime.Add(1e9)
			}
			return p
		}), []proof.Code{proof.CodeContainer}},
		{"a huge size", raw(func(b []byte) []byte { copy(b[512*0+124:], "77777777777"); return b }), nil},
		{"a huge record", raw(func(b []byte) []byte {
			at := bytes.LastIndex(b, []byte("ustar")) - 257
			copy(b[at+124:], "77777777777")
			return b
		}), []proof.Code{proof.CodeContainer, proof.CodeFile, proof.CodeTruncated}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			r, err := proof.Verify(bytes.NewReader(c.export), n.options())
			if r.OK || err != nil && !errors.Is(err, proof.ErrNotProof) {
				t.Fatalf("not noticed: %v", err)
			}
			if strings.ContainsAny(r.Text(), "\x1b\x07") {
				t.Error("the report passes control characters on")
			}
			if c.want != nil && !slices.Equal(codes(r), c.want) {
				t.Errorf("found %v, want %v\n%v", codes(r), c.want, r.Failures)
			}
		})
	}
}

func TestKind(t *testing.T) {
	n := story(t, 1)
	p := n.prove(n.patient.Journal())
	receipt, err := proof.Receipt(p.Journal.Entries[0], []byte(p.Checkpoint))
	must(t, receipt, err)
	for _, c := range []struct {
		file []byte
		want string
	}{
		{n.write(p), proof.KindExport}, {receipt, proof.KindReceipt}, {nil, ""}, {[]byte("c2sp.org/tlog-proof@v2\n"), ""}, {make([]byte, 1024), ""},
	} {
		if got := proof.Kind(c.file[:min(len(c.file), proof.KindBytes)]); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// Stock tar unpacks an export into one folder, as the README says.
func TestStockTar(t *testing.T) {
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("NO TAR HERE: unpacking with the stock tool is not tested")
	}
	n := story(t, 1)
	dir := t.TempDir()
	name := filepath.Join(dir, "export.tar")
	if err := os.WriteFile(name, n.write(n.prove(n.patient.Journal())), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-C", dir, "-xf", name).CombinedOutput(); err != nil { // it may warn of times that have not come
		t.Fatalf("%v: %s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "anamnesis-*", "records", "*.age"))
	if len(must(t, found, err)) != 2 {
		t.Fatal(found)
	}
	for _, name := range found {
		file, err := os.ReadFile(name)
		if _, ok := n.files[sha256.Sum256(must(t, file, err))]; !ok {
			t.Error(name, "is not a record's file")
		}
	}
}
