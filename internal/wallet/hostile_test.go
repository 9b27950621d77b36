package wallet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// TestEveryFlippedByteIsDetected flips bytes of the file with the entry as it is, and with an entry that commits to the flipped file, as a
// malicious author's would: then age's own authentication has to find it.
func TestEveryFlippedByteIsDetected(t *testing.T) {
	d := newWorld(t)
	s := d.seal(t, []byte(`{"resourceType":"Observation"}`))
	label := CapsuleLabel(testChain, 7, d.journal.ID, s.Action.Label, s.Action.Record)
	key := FileKey([16]byte(must(d.combine(t, label)(must(CapsuleOf(s.File))(t)))(t)))
	header := bytes.Index(s.File, []byte("\n---")) + 50
	for at := 0; at < len(s.File); at++ {
		if at > header+100 && at < len(s.File)-40 && at%37 != 0 {
			continue
		}
		file := bytes.Clone(s.File)
		file[at] ^= 1 << (at % 8)
		if _, err := Open(file, d.keys.Identity, s.Entry()); !errors.Is(err, ErrFile) {
			t.Fatalf("byte %d flipped: %v", at, err)
		}
		e := s.Entry()
		e.Action.Ciphertext = sha256.Sum256(file)
		for who, id := range map[string]age.Identity{"patient": d.keys.Identity, "reader": key} {
			if _, err := Open(file, id, e); err == nil {
				t.Fatalf("byte %d flipped and committed to: %s opened it", at, who)
			}
		}
	}
}

func TestOpenNamesWhatFails(t *testing.T) {
	d := newWorld(t)
	s := d.seal(t, []byte("{}"), []byte("[]"))
	other := newSigningKey(make([]byte, 32)).Public()
	stranger := must(newIdentity(bytes.Repeat([]byte{3}, 32)))(t)
	for name, c := range map[string]struct {
		spoil func(*Entry)
		want  error
		says  string
	}{
		"size":        {func(e *Entry) { e.Action.Size++ }, ErrFile, "bytes"},
		"hash":        {func(e *Entry) { e.Action.Ciphertext[0]++ }, ErrFile, "hash"},
		"capsule":     {func(e *Entry) { e.Action.Capsule[0]++ }, ErrCapsule, ""},
		"generation":  {func(e *Entry) { e.Action.Generation++ }, ErrCapsule, ""},
		"chain":       {func(e *Entry) { e.Chain = "other" }, ErrCommitted, "network"},
		"journal":     {func(e *Entry) { e.Journal[0]++ }, ErrCommitted, "journal"},
		"record":      {func(e *Entry) { e.Action.Record[0]++ }, ErrCommitted, "record id"},
		"label":       {func(e *Entry) { e.Action.Label[0]++ }, ErrCommitted, "label"},
		"author kind": {func(e *Entry) { e.Author.Kind = protocol.ActorMember }, ErrCommitted, "author"},
		"author id":   {func(e *Entry) { e.Author.ID[0]++ }, ErrCommitted, "author"},
		"author key":  {func(e *Entry) { e.Author.Key = other }, ErrCommitted, "author"},
		"manifest":    {func(e *Entry) { e.Action.Manifest[0]++ }, ErrCommitted, "manifest"},
		"root":        {func(e *Entry) { e.Action.Root[0]++ }, ErrCommitted, "root"},
	} {
		e := s.Entry()
		c.spoil(&e)
		_, err := Open(s.File, d.keys.Identity, e)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(s.File, stranger, s.Entry()); !errors.Is(err, ErrRecipient) {
		t.Errorf("a stranger: %v", err)
	}
	refusal := errors.New("refused")
	_, err := Open(s.File, Combiner(func(*threshold.Capsule) ([]byte, error) { return nil, refusal }), s.Entry())
	if !errors.Is(err, refusal) || !errors.Is(err, ErrDecrypt) {
		t.Errorf("refused by custodians: %v", err)
	}
	h := d.keys.Handle()
	h.Key[0]++
	if err := s.Manifest.CheckLabel(h); !errors.Is(err, ErrCommitted) {
		t.Errorf("another label key: %v", err)
	}
}

// forge seals hostile content as an author could, with an entry that commits to it.
func forge(t testing.TB, d *world, s *Sealed, content []byte) ([]byte, Entry) {
	t.Helper()
	in := d.input()
	file, capsule, err := in.encrypt(s.Manifest, content)
	if err != nil {
		t.Fatal(err)
	}
	e := s.Entry()
	e.Action.Ciphertext, e.Action.Size, e.Action.Capsule = sha256.Sum256(file), uint64(len(file)), capsule.Hash()
	return file, e
}

func TestHostileContentIsRefused(t *testing.T) {
	d := newWorld(t)
	resources := [][]byte{[]byte("{}"), []byte("[]")}
	s := d.seal(t, resources...)
	manifest := must(s.Manifest.encode())(t)
	signature := d.author.Key.Sign(manifestMessage(manifest))
	good := archive(manifest, signature, resources, s.Manifest.mtime())
	edit := func(f func([]byte) []byte) []byte { return pack(f(bytes.Clone(good))) }
	set := func(at int, b byte) func([]byte) []byte {
		return func(tar []byte) []byte { tar[at] = b; return tar }
	}
	bomb := func(size int) []byte { return pack(make([]byte, size)) }
	noSize := func() []byte {
		var b bytes.Buffer
		w := must(zstd.NewWriter(&b))(t)
		must(w.Write(good))(t)
		must(0, w.Flush())(t)
		must(0, w.Close())(t)
		n := paddedBytes(b.Len())
		out := make([]byte, n-b.Len(), n)
		binary.LittleEndian.PutUint32(out, skippableMagic)
		binary.LittleEndian.PutUint32(out[4:], uint32(n-b.Len()-8))
		return append(out, b.Bytes()...)
	}
	generous := func() []byte { // more padding than the frame's length asks for, well-formed
		b := pack(good)
		pad := binary.LittleEndian.Uint32(b[4:])
		b = append(b[:8:8], append(make([]byte, 4096), b[8:]...)...)
		binary.LittleEndian.PutUint32(b[4:], pad+4096)
		return b
	}
	changed := bytes.Clone(manifest)
	changed = bytes.Replace(changed, []byte("Elsewhere"), []byte("elsewhere"), 1)
	spaced := append(bytes.Clone(manifest), ' ')
	wrapped := func(m []byte) []byte {
		return pack(archive(m, d.author.Key.Sign(manifestMessage(m)), resources, s.Manifest.mtime()))
	}
	var resource *ResourceError
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"as it should be":            {pack(good), nil},
		"not padded":                 {compressor().EncodeAll(good, nil), ErrContent},
		"empty":                      {nil, ErrContent},
		"only padding":               {pack(good)[:PaddedBytesMin/2], ErrContent},
		"data in the padding":        {set(9, 1)(pack(good)), ErrContent},
		"padding longer than itself": {set(7, 255)(pack(good)), ErrContent},
		"more padding than Padmé":    {generous(), ErrContent},
		"zeros behind the frame":     {append(pack(good), make([]byte, 512)...), ErrContent},
		"a second later":             {pack(archive(manifest, signature, resources, s.Manifest.mtime()+1)), ErrContent},
		"not zstd":                   {set(len(pack(good))-1, 0)(set(PaddedBytesMin-300, 1)(pack(good))), ErrContent},
		"no stated size":             {noSize(), ErrContent},
		"bomb":                       {bomb(ContentBytesMax + 1), ErrLimit},
		"big but no archive":         {bomb(1 << 20), ErrContent},
		"truncated archive":          {edit(func(tar []byte) []byte { return tar[:len(tar)-512] }), ErrContent},
		"cut in a file":              {edit(func(tar []byte) []byte { return tar[:700] }), ErrContent},
		"appended to the archive":    {edit(func(tar []byte) []byte { return append(tar, make([]byte, 512)...) }), ErrContent},
		"another name":               {edit(set(0, 'M')), ErrContent},
		"a path":                     {edit(set(0, '/')), ErrContent},
		"a symbolic link":            {edit(set(156, '2')), ErrContent},
		"other permissions":          {edit(set(104, '7')), ErrContent},
		"another time":               {edit(set(146, '7')), ErrContent},
		"size not octal":             {edit(set(130, '9')), ErrContent},
		"data behind a file":         {edit(set(512+len(manifest)+1, 1)), ErrContent},
		"manifest changed":           {wrapped(changed), ErrCommitted},
		"manifest not canonical":     {wrapped(spaced), ErrManifest},
		"manifest not JSON":          {wrapped([]byte("{")), ErrManifest},
		"manifest of another kind":   {wrapped(bytes.Replace(manifest, []byte(manifestFormat), []byte("anamnesis-thing"), 1)), ErrManifest},
		"manifest from the future":   {wrapped(bytes.Replace(manifest, []byte(`"version":1`), []byte(`"version":2`), 1)), ErrTooNew},
		"unknown field":              {wrapped(bytes.Replace(manifest, []byte(`"version":1`), []byte(`"version":1,"x":1`), 1)), ErrManifest},
		"not the author's signature": {pack(archive(manifest, make([]byte, 64), resources, s.Manifest.mtime())), ErrSignature},
		"resource changed":           {pack(archive(manifest, signature, [][]byte{[]byte("{}"), []byte("{}")}, s.Manifest.mtime())), &ResourceError{1}},
		"resources swapped":          {pack(archive(manifest, signature, [][]byte{[]byte("[]"), []byte("{}")}, s.Manifest.mtime())), &ResourceError{0}},
		"resource missing":           {pack(archive(manifest, signature, resources[:1], s.Manifest.mtime())), ErrContent},
		"resource added":             {pack(archive(manifest, signature, append(resources, []byte("x")), s.Manifest.mtime())), ErrContent},
	} {
		file, e := forge(t, d, s, c.content)
		_, err := Open(file, d.keys.Identity, e)
		if want, ok := c.want.(*ResourceError); ok {
			if !errors.As(err, &resource) || resource.Index != want.Index {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostileHeadersAreRefused(t *testing.T) {
	d := newWorld(t)
	s := d.seal(t, []byte("{}"))
	patient := must(d.keys.Identity.Recipient().age())(t)
	stanza := func(kind, arg string, body []byte) age.Recipient {
		return recipientFunc(func([]byte) *age.Stanza { return &age.Stanza{Type: kind, Args: []string{arg}, Body: body} })
	}
	raw := must(CapsuleOf(s.File))(t).Bytes()
	for name, to := range map[string][]age.Recipient{
		"no patient":         {stanza(StanzaType, "7", raw)},
		"capsule first":      {stanza(StanzaType, "7", raw), patient},
		"two capsules":       {patient, stanza(StanzaType, "7", raw), stanza(StanzaType, "7", raw)},
		"a second reader":    {patient, patient},
		"three patients":     {patient, patient, patient},
		"another generation": {patient, stanza(StanzaType, "8", raw)},
		"generation as 07":   {patient, stanza(StanzaType, "07", raw)},
		"a short capsule":    {patient, stanza(StanzaType, "7", raw[1:])},
		"a capsule of zeros": {patient, stanza(StanzaType, "7", make([]byte, len(raw)))},
		"another type":       {patient, stanza("anamnesis.tdh3", "7", raw)},
		"an endless header":  {patient, stanza(StanzaType, "7", make([]byte, HeaderBytesMax))},
	} {
		file, err := ageEncrypt([]byte("x"), to...)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := CapsuleOf(file); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, file := range [][]byte{nil, []byte("age-encryption.org/v1\n"), []byte("hello"), s.File[:100]} {
		if _, err := CapsuleOf(file); !errors.Is(err, ErrHeader) {
			t.Errorf("%.30q: %v", file, err)
		}
	}
	dry := &custodians{rand: zeroReader{}, key: d.public, label: []byte("x")}
	if _, err := ageEncrypt([]byte("x"), patient, dry); err == nil {
		t.Error("sealed without randomness")
	}
	big := make([]byte, protocol.RecordFileBytesMax+1)
	if _, err := Open(big, d.keys.Identity, s.Entry()); !errors.Is(err, ErrLimit) {
		t.Errorf("too large: %v", err)
	}
}

type recipientFunc func(fileKey []byte) *age.Stanza

func (f recipientFunc) Wrap(k []byte) ([]*age.Stanza, error) { return []*age.Stanza{f(k)}, nil }

// zeroReader runs dry at once: the custodians' recipient must not seal without randomness.
type zeroReader struct{}

func (zeroReader) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

func FuzzCapsuleOf(f *testing.F) {
	d := newWorld(f)
	s := d.seal(f, []byte("{}"))
	f.Add(s.File[:600])
	f.Add([]byte("age-encryption.org/v1\n-> X25519 a\n\n--- \n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, file []byte) {
		if c, err := CapsuleOf(file); err != nil && (!errors.Is(err, ErrHeader) || c != nil) {
			t.Error(err)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	d := newWorld(f)
	s := d.seal(f, []byte("{}"))
	m := must(s.Manifest.encode())(f)
	f.Add(pack(archive(m, make([]byte, 64), [][]byte{[]byte("{}")}, s.Manifest.mtime())))
	f.Add(make([]byte, PaddedBytesMin))
	f.Fuzz(func(t *testing.T, content []byte) {
		tar, err := unpack(content)
		if err != nil {
			return
		}
		if r, err := readRecord(tar, s.Entry()); (r == nil) == (err == nil) {
			t.Error(err)
		}
	})
}

func FuzzArchive(f *testing.F) {
	d := newWorld(f)
	s := d.seal(f, []byte("{}"))
	m := must(s.Manifest.encode())(f)
	f.Add(archive(m, d.author.Key.Sign(manifestMessage(m)), [][]byte{[]byte("{}")}, s.Manifest.mtime()))
	f.Fuzz(func(t *testing.T, tar []byte) {
		u := &unarchiver{rest: tar}
		manifest, err := u.first(nameManifest)
		if err != nil {
			return
		}
		signature, err := u.next(nameSignature)
		if err != nil || u.end() != nil || len(signature) != signatureHexBytes {
			return
		}
		raw := make([]byte, 64)
		if unhex(raw, signature) != nil || !bytes.Equal(signature, fmt.Appendf(nil, "%x", raw)) {
			return
		}
		if !bytes.Equal(archive(manifest, raw, nil, u.mtime), tar) {
			t.Error("an archive with two forms")
		}
	})
}

func FuzzManifest(f *testing.F) {
	d := newWorld(f)
	f.Add(must(d.seal(f, []byte("{}"), nil).Manifest.encode())(f))
	f.Add([]byte(`{"format":"anamnesis-record","version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q encodes as %q, %v", data, again, err)
		}
	})
}
