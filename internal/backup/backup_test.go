package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/anamnesis-health/anamnesis/internal/fsck"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// small is a stopped network of one node, made once for all tests, which leave its folder as it is.
type small struct {
	network, dir, pass, vaultFile, claim string
	erased                               []vault.Hash
}

var (
	once sync.Once
	made small
	fail error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if made.network != "" {
		_ = os.RemoveAll(made.network)
	}
	os.Exit(code)
}

func smallNetwork(t testing.TB) small {
	t.Helper()
	once.Do(func() { fail = made.make() })
	if fail != nil {
		t.Fatal(fail)
	}
	return made
}

func (s *small) make() error {
	dir, err := os.MkdirTemp("", "anamnesis-backup-test-")
	if err != nil {
		return err
	}
	s.network = dir
	net, err := node.StartDev(node.DevConfig{Dir: dir, Members: 1, Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = net.Ready(ctx)
	for tick := time.Tick(10 * time.Millisecond); err == nil && !net.Nodes[0].Health().Custodian; err = ctx.Err() { // it holds its share
		<-tick
	}
	if err := errors.Join(err, net.Stop()); err != nil {
		return err
	}
	s.dir, s.pass = filepath.Join(dir, "nodes", net.Names[0]), net.Passphrase
	v, err := vault.Open(ctx, filepath.Join(s.dir, "vault"), vault.Options{})
	if err != nil {
		return err
	}
	for _, b := range []byte{9, 1, 200, 1} {
		h := vault.Hash{b, b}
		if err := v.Delete(ctx, h); err != nil {
			return err
		}
		s.erased = append(s.erased, h)
	}
	together := []vault.Hash{{77, 1}, {3, 1}, {200, 1}}
	if err := v.DeleteAll(ctx, together); err != nil {
		return err
	}
	s.erased = append(s.erased, together...)
	s.vaultFile, s.claim = "ciphertext-of-a-patient", "a-package-of-a-code"
	for name, content := range map[string]string{"vault/files/aa/" + strings.Repeat("aa", 32): s.vaultFile, "vault/quarantine/bb/" + strings.Repeat("bb", 32): s.vaultFile,
		"secrets/claim-" + strings.Repeat("c", 32): s.claim, "secrets/claim-of-" + strings.Repeat("d", 32): s.claim, "notes": "the operator's"} {
		path := filepath.Join(s.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			return err
		}
	}
	return errors.Join(v.Close(), os.Symlink("/etc/passwd", filepath.Join(s.dir, "book", "000099.sst")))
}

func (s small) options(t testing.TB) Options {
	at := t.TempDir()
	return Options{Dir: s.dir, File: filepath.Join(at, "b"), Passphrase: s.pass, Now: 1_800_000_000_000, WorkFactor: 1}
}

// written is a backup of the network's node.
func (s small) written(t testing.TB) (Options, *Manifest) {
	t.Helper()
	o := s.options(t)
	m, err := Write(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Dir, o.AllLost = filepath.Join(filepath.Dir(o.File), "n", "node"), 1
	return o, m
}

// unpack gives the entries of a backup with stock parts.
func unpack(t testing.TB, file, pass string) (names []string, content map[string][]byte) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.NewScryptIdentity(pass)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := age.Decrypt(bytes.NewReader(raw), id)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(plain)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	content = map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, content
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if content[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// What is in a backup, and what is not; it comes back to the same folder, but for what the blocks make anew; the folder is sound, and its
// node goes on.
func TestThereAndBack(t *testing.T) {
	s := smallNetwork(t)
	o, m := s.written(t)
	names, content := unpack(t, o.File, o.Passphrase)
	if names[0] != manifestName || len(names) != len(m.Files)+1 {
		t.Fatal(names)
	}
	for _, name := range names {
		for _, not := range []string{s.vaultFile, s.claim, "root:"} {
			if bytes.Contains(content[name], []byte(not)) {
				t.Errorf("%q is in %s", not, name)
			}
		}
		if strings.HasPrefix(name, "ledger/") || strings.HasPrefix(name, "engine/wal") || strings.Contains(name, "claim") || strings.Contains(name, "LOCK") {
			t.Errorf("%s should not be there", name)
		}
	}
	var again bytes.Buffer
	if err := json.Compact(&again, content[manifestName]); err != nil || !bytes.Equal(again.Bytes(), content[manifestName]) {
		t.Error("the manifest")
	}

	back, err := Restore(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if back.Height != m.Height || back.Log != m.Log || m.Height == 0 || m.Log.Size == 0 {
		t.Fatalf("%+v", back)
	}
	for _, f := range m.Files {
		if f.Path == tombstonesFile {
			continue
		}
		was, err1 := os.ReadFile(filepath.Join(s.dir, f.Path))
		is, err2 := os.ReadFile(filepath.Join(o.Dir, f.Path))
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(was, is) {
			t.Errorf("%s is not what it was: %v", f.Path, err)
		}
	}
	want := slices.Clone(s.erased)
	slices.SortFunc(want, func(a, b vault.Hash) int { return bytes.Compare(a[:], b[:]) })
	if got, err := vault.Tombstones(filepath.Join(o.Dir, "vault")); err != nil || !slices.Equal(got, slices.Compact(want)) {
		t.Errorf("tombstones %v, %v", got, err)
	}
	if marked, err := node.IsRestored(o.Dir); err != nil || !marked {
		t.Errorf("it is not marked, %v", err)
	}
	for _, f := range leftIn(t, filepath.Dir(o.Dir)) {
		if f != "node" {
			t.Errorf("%s was left", f)
		}
	}
	r, err := fsck.Run(t.Context(), fsck.Options{Dir: o.Dir, Passphrase: o.Passphrase})
	if err != nil || !r.OK {
		t.Fatalf("%+v %v", r, err)
	}
	again2 := o
	again2.Dir, again2.File = o.Dir, o.File+"2"
	if _, err := Write(t.Context(), again2); !errors.Is(err, ErrHeld) {
		t.Errorf("a backup of a folder whose node has not come back: %v", err)
	}
}

func leftIn(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWriteRefuses(t *testing.T) {
	s := smallNetwork(t)
	there := s.options(t)
	if err := os.WriteFile(there.File, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for what, c := range map[string]struct {
		ctx  context.Context
		o    func(*Options)
		want error
	}{
		"another passphrase":     {o: func(o *Options) { o.Passphrase = "no" }, want: ErrPassphrase},
		"no passphrase":          {o: func(o *Options) { o.Passphrase = "" }, want: ErrPassphrase},
		"not a node":             {o: func(o *Options) { o.Dir = filepath.Dir(s.dir) }, want: ErrNoNode},
		"nothing":                {o: func(o *Options) { o.Dir = s.dir + "x" }, want: ErrNoNode},
		"a file that is there":   {o: func(o *Options) { o.File = there.File }, want: ErrExists},
		"a folder that is not":   {o: func(o *Options) { o.File = filepath.Join(o.File, "x") }, want: os.ErrNotExist},
		"somebody who gives up":  {ctx: cancelled, o: func(*Options) {}, want: context.Canceled},
		"the vault's own folder": {o: func(o *Options) { o.Dir = filepath.Join(s.dir, "vault") }, want: ErrNoNode},
	} {
		o := s.options(t)
		c.o(&o)
		if c.ctx == nil {
			c.ctx = t.Context()
		}
		if _, err := Write(c.ctx, o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
		if left := leftIn(t, filepath.Dir(o.File)); o.File != there.File && len(left) > 0 {
			t.Errorf("%s: %v is left", what, left)
		}
	}
	if raw, _ := os.ReadFile(there.File); string(raw) != "mine" {
		t.Error("the file that was there is changed")
	}
}

// pack writes an archive as it should not be.
func pack(t testing.TB, pass string, entries ...func(*tar.Writer) error) []byte {
	t.Helper()
	var out bytes.Buffer
	to, err := age.NewScryptRecipient(pass)
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(1)
	sealed, err := age.Encrypt(&out, to)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := zstd.NewWriter(sealed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(packed)
	for _, e := range entries {
		if err := e(w); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []io.Closer{w, packed, sealed} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func file(name string, content []byte) func(*tar.Writer) error {
	return func(w *tar.Writer) error {
		if err := entry(w, name, int64(len(content))); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
}

func link(kind byte, name, to string) func(*tar.Writer) error {
	return func(w *tar.Writer) error {
		return w.WriteHeader(&tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o700})
	}
}

// What is altered, cut off, of another version or made by somebody who knows the passphrase puts nothing anywhere.
func TestRestoreRefuses(t *testing.T) {
	s := smallNetwork(t)
	good, m := s.written(t)
	names, content := unpack(t, good.File, good.Passphrase)
	raw, err := os.ReadFile(good.File)
	if err != nil {
		t.Fatal(err)
	}
	manifest := func(change func(*Manifest)) func(*tar.Writer) error {
		own := *m
		own.Files = slices.Clone(m.Files)
		change(&own)
		b, err := json.Marshal(own)
		if err != nil {
			t.Fatal(err)
		}
		return file(manifestName, b)
	}
	rest := func(change func(name string) func(*tar.Writer) error) (out []func(*tar.Writer) error) {
		for _, n := range names[1:] {
			if e := change(n); e != nil {
				out = append(out, e)
			} else {
				out = append(out, file(n, content[n]))
			}
		}
		return out
	}
	same := func(string) func(*tar.Writer) error { return nil }
	with := func(change func(*Manifest)) []byte {
		return pack(t, s.pass, append([]func(*tar.Writer) error{manifest(change)}, rest(same)...)...)
	}
	instead := func(name string, e func(*tar.Writer) error) []byte {
		return pack(t, s.pass, append([]func(*tar.Writer) error{manifest(func(*Manifest) {})}, rest(func(n string) func(*tar.Writer) error {
			if n == name {
				return e
			}
			return nil
		})...)...)
	}
	if err := restoreBytes(t, s, good, with(func(*Manifest) {})); err != nil {
		t.Fatal("what should pass:", err)
	}
	for what, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"nothing":                    {nil, ErrNotBackup},
		"a text":                     {[]byte("age-encryption.org/v1\n"), ErrNotBackup},
		"another program's age file": {pack(t, s.pass, file("readme", []byte("hello"))), ErrNotBackup},
		"no manifest":                {pack(t, s.pass, rest(same)...), ErrNotBackup},
		"an empty archive":           {pack(t, s.pass), ErrDamaged},
		"another version":            {with(func(m *Manifest) { m.Format = "anamnesis/backup/v2" }), ErrVersion},
		"a manifest of JSON":         {pack(t, s.pass, file(manifestName, []byte(`{"format":"other"}`))), ErrNotBackup},
		"an unknown field":           {pack(t, s.pass, file(manifestName, []byte(`{"format":"`+Format+`","x":1}`))), ErrDamaged},
		"an absolute path":           {with(func(m *Manifest) { m.Files[0].Path = "/tmp/keys.age" }), ErrDamaged},
		"a path that leads out":      {with(func(m *Manifest) { m.Files[0].Path = "book/../../keys.age" }), ErrDamaged},
		"a path that is not ours":    {with(func(m *Manifest) { m.Files[0].Path = "vault/files/aa/x" }), ErrDamaged},
		"a package of a code":        {with(func(m *Manifest) { m.Files[0].Path = "secrets/claim-00" }), ErrDamaged},
		"one path twice":             {with(func(m *Manifest) { m.Files[1].Path = m.Files[0].Path }), ErrDamaged},
		"an enormous file":           {with(func(m *Manifest) { m.Files[0].Bytes = FileBytesMax + 1 }), ErrLimit},
		"a negative file":            {with(func(m *Manifest) { m.Files[0].Bytes = -1 }), ErrLimit},
		"enormous together": {with(func(m *Manifest) {
			m.Files = m.Files[:0]
			for i := range 17 {
				m.Files = append(m.Files, File{Path: "book/" + string(rune('a'+i)), Bytes: FileBytesMax})
			}
		}), ErrLimit},
		"too many files": {with(func(m *Manifest) { m.Files = make([]File, FilesMax+1) }), ErrLimit},
		"no keys": {with(func(m *Manifest) {
			m.Files = slices.DeleteFunc(m.Files, func(f File) bool { return f.Path == keysFile })
		}), ErrDamaged},
		"no memory of signatures": {with(func(m *Manifest) {
			m.Files = slices.DeleteFunc(m.Files, func(f File) bool { return f.Path == signStateFile })
		}), ErrDamaged},
		"another memory":            {with(func(m *Manifest) { m.Signed++ }), ErrDamaged},
		"another height":            {with(func(m *Manifest) { m.Height++ }), ErrDamaged},
		"another ledger":            {with(func(m *Manifest) { m.Log.AppHash[0] ^= 1 }), ErrDamaged},
		"another size of it":        {with(func(m *Manifest) { m.Log.Size++ }), ErrDamaged},
		"another member":            {with(func(m *Manifest) { m.Member[0] ^= 1 }), ErrDamaged},
		"another chain":             {with(func(m *Manifest) { m.Chain += "x" }), ErrDamaged},
		"a genesis cut off":         {with(func(m *Manifest) { m.Genesis = m.Genesis[2:] }), ErrDamaged},
		"another hash":              {with(func(m *Manifest) { m.Files[3].SHA256[0] ^= 1 }), ErrDamaged},
		"a file changed":            {instead(keysFile, file(keysFile, bytes.ToUpper(content[keysFile]))), ErrDamaged},
		"a file too long":           {instead(keysFile, file(keysFile, append(bytes.Clone(content[keysFile]), 1))), ErrDamaged},
		"a file under another name": {instead(keysFile, file("keys.agf", content[keysFile])), ErrDamaged},
		"a link":                    {instead(keysFile, link(tar.TypeSymlink, keysFile, "/etc/passwd")), ErrDamaged},
		"a hard link":               {instead(keysFile, link(tar.TypeLink, keysFile, "/etc/passwd")), ErrDamaged},
		"a folder":                  {instead(keysFile, link(tar.TypeDir, keysFile, "")), ErrDamaged},
		"a file too many":           {pack(t, s.pass, append(append([]func(*tar.Writer) error{manifest(func(*Manifest) {})}, rest(same)...), file("zz", nil))...), ErrDamaged},
		"a file too few":            {pack(t, s.pass, append([]func(*tar.Writer) error{manifest(func(*Manifest) {})}, rest(same)[:3]...)...), ErrDamaged},
		"something behind it":       {append(bytes.Clone(raw), 0), ErrDamaged},
	} {
		if err := restoreBytes(t, s, good, c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	for _, share := range []int{1, 10, 30, 50, 70, 90, 99, 100} {
		at := share * (len(raw) - 1) / 100
		if err := restoreBytes(t, s, good, raw[:at]); err == nil {
			t.Errorf("cut off at byte %d of %d, it passes", at, len(raw))
		}
		bad := bytes.Clone(raw)
		bad[at] ^= 1
		if err := restoreBytes(t, s, good, bad); err == nil {
			t.Errorf("with byte %d of %d changed, it passes", at, len(raw))
		}
	}
}

// restoreBytes restores from bytes; what fails must leave nothing.
func restoreBytes(t testing.TB, s small, o Options, raw []byte) error {
	t.Helper()
	o.File = filepath.Join(t.TempDir(), "b")
	o.Dir = filepath.Join(t.TempDir(), "n", "node")
	if err := os.WriteFile(o.File, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Restore(t.Context(), o)
	if left := leftIn(t, filepath.Dir(o.Dir)); err != nil && len(left) > 0 {
		t.Errorf("%v is left after %v", left, err)
	}
	return err
}

func TestRestoreRefusesPlaces(t *testing.T) {
	s := smallNetwork(t)
	o, _ := s.written(t)
	occupied, empty := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(occupied, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		o    func(*Options)
		want error
	}{
		"a folder with something in it": {func(o *Options) { o.Dir = occupied }, ErrNotEmpty},
		"another passphrase":            {func(o *Options) { o.Passphrase = "no" }, ErrPassphrase},
		"no file":                       {func(o *Options) { o.File += "x" }, os.ErrNotExist},
		"one node, and no statement":    {func(o *Options) { o.AllLost = 0 }, ErrSmall},
		"more than there are":           {func(o *Options) { o.AllLost = 2 }, ErrStatement},
		"an empty folder":               {func(o *Options) { o.Dir = empty }, nil},
	} {
		with := o
		c.o(&with)
		if _, err := Restore(t.Context(), with); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if left := leftIn(t, occupied); len(left) != 1 {
		t.Error(left)
	}
}

// On a full disk nothing is left, and the error says why.
func TestFullDisk(t *testing.T) {
	s := smallNetwork(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=48k"); err != nil {
		t.Skip("SKIPPED: no disk of its own can be mounted here:", err)
	}
	defer func() { _ = syscall.Unmount(disk, 0) }()
	o, m := s.written(t)
	if m.bytes() < 48<<10 {
		t.Fatalf("%d bytes: too few to show anything", m.bytes())
	}
	back := o
	back.Dir = filepath.Join(disk, "node")
	if _, err := Restore(t.Context(), back); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("restoring: %v", err)
	}
	there := s.options(t)
	there.File = filepath.Join(disk, "b")
	if err := os.WriteFile(filepath.Join(disk, "ballast"), make([]byte, 40<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), there); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("backing up: %v", err)
	}
	if left := leftIn(t, disk); !slices.Equal(left, []string{"ballast"}) {
		t.Error(left)
	}
}

func FuzzManifest(f *testing.F) {
	raw, err := json.Marshal(Manifest{Format: Format, Chain: "c", Files: []File{{Path: keysFile, Bytes: 1}, {Path: tombstonesFile, SHA256: protocol.Hash{1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"format":"anamnesis/backup/v1","files":[{"path":"../x"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parseManifest(raw)
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(file.Path) || strings.Contains(file.Path, "..") || file.Bytes < 0 {
				t.Fatalf("%+v", file)
			}
		}
	})
}
