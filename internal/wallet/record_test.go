package wallet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func TestPatientAndReaderOpenTheSameRecord(t *testing.T) {
	d := newWorld(t)
	in := [][]byte{[]byte(`{"resourceType":"MedicationRequest"}`), {}, []byte("\n\r\n\x00"), []byte("{\"a\":\n\n1}\n")}
	s := d.seal(t, in...)
	label := CapsuleLabel(testChain, 7, d.journal.ID, s.Action.Label, s.Action.Record)
	for name, who := range map[string]age.Identity{"patient": d.keys.Identity, "reader": d.combine(t, label)} {
		r, err := Open(s.File, who, s.Entry())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(in, r.Resources, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(s.Manifest, r.Manifest); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if err := s.Action.Validate(); err != nil {
		t.Errorf("the ledger would refuse the action: %v", err)
	}
	if err := s.Manifest.CheckLabel(d.keys.Handle()); err != nil {
		t.Error(err)
	}
	var key [16]byte
	if _, err := Open(s.File, FileKey(key), s.Entry()); !errors.Is(err, ErrDecrypt) {
		t.Errorf("a wrong file key: %v", err)
	}
	combined := must(d.combine(t, label)(must(CapsuleOf(s.File))(t)))(t)
	if _, err := Open(s.File, FileKey([16]byte(combined)), s.Entry()); err != nil {
		t.Errorf("the combined file key: %v", err)
	}
}

func TestCapsuleIsBoundToEverything(t *testing.T) {
	d := newWorld(t)
	s := d.seal(t, []byte("{}"))
	a, j := s.Action, d.journal.ID
	c := must(CapsuleOf(s.File))(t)
	if c.Hash() != a.Capsule {
		t.Error("the action names another capsule")
	}
	if err := threshold.VerifyCapsule(c, CapsuleLabel(testChain, 7, j, a.Label, a.Record)); err != nil {
		t.Fatal(err)
	}
	other := func(b [16]byte) [16]byte { b[15] ^= 1; return b }
	for name, label := range map[string][]byte{
		"chain":      CapsuleLabel("test.anamnesi", 7, j, a.Label, a.Record),
		"generation": CapsuleLabel(testChain, 8, j, a.Label, a.Record),
		"journal":    CapsuleLabel(testChain, 7, other(j), a.Label, a.Record),
		"label":      CapsuleLabel(testChain, 7, j, other(a.Label), a.Record),
		"record":     CapsuleLabel(testChain, 7, j, a.Label, other(a.Record)),
	} {
		if err := threshold.VerifyCapsule(c, label); !errors.Is(err, threshold.ErrCapsule) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func TestSealedClassHasNoCapsule(t *testing.T) {
	d := newWorld(t)
	in := d.input([]byte("{}"))
	in.Custodians = nil
	s := must(Seal(in, d.author.Key.Sign))(t)
	if c, err := CapsuleOf(s.File); c != nil || err != nil {
		t.Fatal(c, err)
	}
	if !s.Action.Capsule.IsZero() || s.Action.Generation != 0 {
		t.Error("the action names a capsule")
	}
	if _, err := Open(s.File, d.keys.Identity, s.Entry()); err != nil {
		t.Error(err)
	}
	if _, err := Open(s.File, d.combine(t, []byte("x")), s.Entry()); !errors.Is(err, ErrRecipient) {
		t.Errorf("a reader: %v", err)
	}
}

func TestAnyResourcesComeBackByteForByte(t *testing.T) {
	d := newWorld(t)
	piece := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 3000),
		rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
		rapid.SampledFrom([][]byte{{}, []byte("\n"), []byte("\r\n\r\n"), bytes.Repeat([]byte{0}, 512), bytes.Repeat([]byte{0}, 513),
			[]byte("\ufeff{\"\u2028\":\"\U0001F9EC\"}"), []byte("\xff\xfe"), bytes.Repeat([]byte("ab"), 1<<16)}),
	)
	rapid.Check(t, func(r *rapid.T) {
		in := rapid.SliceOfN(piece, 0, 8).Draw(r, "resources")
		input := d.input(in...)
		input.Source.Name = rapid.StringMatching(`[ -~äßé<>&漢字]{0,40}`).Draw(r, "source")
		input.Recorded = rapid.Uint64Range(0, 1<<42).Draw(r, "recorded")
		s, err := Seal(input, d.author.Key.Sign)
		if err != nil {
			r.Fatal(err)
		}
		out, err := Open(s.File, d.keys.Identity, s.Entry())
		if err != nil {
			r.Fatal(err)
		}
		if len(out.Resources) != len(in) {
			r.Fatalf("%d resources of %d", len(out.Resources), len(in))
		}
		for i := range in {
			if !bytes.Equal(in[i], out.Resources[i]) {
				r.Fatalf("resource %d differs", i)
			}
			if err := VerifyResource(s.Action.Root, out.Prove(i), in[i]); err != nil {
				r.Fatal(err)
			}
		}
	})
}

func TestLargeRecords(t *testing.T) {
	d := newWorld(t)
	many := make([][]byte, ResourcesRecordMax)
	for i := range many {
		many[i] = fmt.Appendf(nil, `{"n":%d}`, i)
	}
	noise := make([]byte, 6<<20) // does not compress
	h := sha256.Sum256(nil)
	for i := 0; i < len(noise); i += 32 {
		h = sha256.Sum256(h[:])
		copy(noise[i:], h[:])
	}
	for name, in := range map[string][][]byte{"many": many, "incompressible": {noise}, "compressible": {make([]byte, 40<<20)}, "none": nil} {
		s := must(Seal(d.input(in...), d.author.Key.Sign))(t)
		out, err := Open(s.File, d.keys.Identity, s.Entry())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range in {
			if !bytes.Equal(in[i], out.Resources[i]) {
				t.Fatalf("%s: resource %d differs", name, i)
			}
		}
		t.Logf("%s: file of %d bytes", name, len(s.File))
	}
	if _, err := Seal(d.input(append(many, nil)...), d.author.Key.Sign); !errors.Is(err, ErrLimit) {
		t.Errorf("too many: %v", err)
	}
	if _, err := Seal(d.input(make([]byte, ContentBytesMax)), d.author.Key.Sign); !errors.Is(err, ErrLimit) {
		t.Errorf("too much: %v", err)
	}
}

func TestSealRefusesBadInput(t *testing.T) {
	d := newWorld(t)
	for name, spoil := range map[string]func(*SealInput){
		"no class":            func(in *SealInput) { in.Class = "" },
		"class with capitals": func(in *SealInput) { in.Class = "Labs" },
		"class with a slash":  func(in *SealInput) { in.Class = "a/b" },
		"long class":          func(in *SealInput) { in.Class = strings.Repeat("a", ClassBytesMax+1) },
		"no chain":            func(in *SealInput) { in.Chain = "" },
		"no journal":          func(in *SealInput) { in.Handle.Journal = protocol.JournalID{} },
		"no author":           func(in *SealInput) { in.Author = protocol.Signer{} },
		"the ledger":          func(in *SealInput) { in.Author.Kind = protocol.ActorLedger },
		"newline in source":   func(in *SealInput) { in.Source.Name = "a\nb" },
		"separator in source": func(in *SealInput) { in.Source.Name = "a\u2028b" },
		"not UTF-8":           func(in *SealInput) { in.Source.Identifier = "\xff" },
		"long source":         func(in *SealInput) { in.Source.Name = strings.Repeat("a", TextBytesMax+1) },
		"the far future":      func(in *SealInput) { in.Recorded = 1 << 60 },
	} {
		in := d.input([]byte("{}"))
		spoil(&in)
		if s, err := Seal(in, d.author.Key.Sign); err == nil {
			t.Errorf("%s: sealed as %v", name, s.Action)
		}
	}
	if _, err := Seal(d.input(), GenerateSigningKey().Sign); !errors.Is(err, ErrSignature) {
		t.Errorf("signed with another key: %v", err)
	}
	if _, err := Seal(d.input(), func([]byte) []byte { return nil }); !errors.Is(err, ErrSignature) {
		t.Errorf("not signed: %v", err)
	}
}

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
		"more padding than Padmé":    {append(pack(good), make([]byte, 512)...), ErrContent},
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
	c := &custodians{rand: zeroReader{}, key: d.public, label: []byte("x")}
	stanza := func(kind, arg string, body []byte) age.Recipient {
		return recipientFunc(func([]byte) *age.Stanza { return &age.Stanza{Type: kind, Args: []string{arg}, Body: body} })
	}
	raw := must(CapsuleOf(s.File))(t).Bytes()
	for name, to := range map[string][]age.Recipient{
		"no patient":           {stanza(StanzaType, "7", raw)},
		"capsule first":        {stanza(StanzaType, "7", raw), patient},
		"two capsules":         {patient, stanza(StanzaType, "7", raw), stanza(StanzaType, "7", raw)},
		"a second reader":      {patient, patient},
		"three patients":       {patient, patient, patient},
		"another generation":   {patient, stanza(StanzaType, "8", raw)},
		"generation as 07":     {patient, stanza(StanzaType, "07", raw)},
		"a short capsule":      {patient, stanza(StanzaType, "7", raw[1:])},
		"a capsule of zeros":   {patient, stanza(StanzaType, "7", make([]byte, len(raw)))},
		"another type":         {patient, stanza("anamnesis.tdh3", "7", raw)},
		"an endless header":    {patient, stanza(StanzaType, "7", make([]byte, HeaderBytesMax))},
		"a failing custodians": {patient, c},
	} {
		file, err := ageEncrypt([]byte("x"), to...)
		if err != nil {
			if name == "a failing custodians" {
				continue
			}
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

func TestPaddingHidesTheLength(t *testing.T) {
	if paddedBytes(0) != PaddedBytesMin || paddedBytes(PaddedBytesMin-8) != PaddedBytesMin {
		t.Error("short content shows its length")
	}
	lengths := map[int]bool{}
	for n := 0; n < 1<<20; n += 13 {
		p := paddedBytes(n)
		if p < n+skippableHead || p > PaddedBytesMin && float64(p) > 1.13*float64(n+skippableHead) {
			t.Fatalf("%d bytes become %d", n, p)
		}
		if padme(p) != p {
			t.Fatalf("%d is no Padmé length", p)
		}
		lengths[p] = true
	}
	if len(lengths) > 200 {
		t.Errorf("%d lengths are told apart", len(lengths))
	}
	for n, want := range map[int]int{9: 10, 100: 104, 1000: 1024, 4097: 4352, 1_000_000: 1_015_808} { // by hand, from the paper's formula
		if padme(n) != want {
			t.Errorf("padme(%d) = %d, want %d", n, padme(n), want)
		}
	}
}

func TestRealPatientsAndOpenAll(t *testing.T) {
	d := newWorld(t)
	files := must(filepath.Glob(filepath.Join(sharedData(t, "synthea-patients"), "*.json.gz")))(t)
	if len(files) == 0 {
		t.Fatal("no patients")
	}
	var batch []Opening
	var want [][][]byte
	resources, plain, sealed := 0, 0, 0
	for _, f := range files[:min(3, len(files))] {
		all := bundleResources(t, f)
		for len(all) > 0 {
			n := min(12, len(all))
			in := d.input(all[:n]...)
			in.Record = NewRecordID()
			s := must(Seal(in, d.author.Key.Sign))(t)
			batch, want = append(batch, Opening{s.File, d.keys.Identity, s.Entry()}), append(want, all[:n])
			for _, r := range all[:n] {
				plain += len(r)
			}
			resources, sealed, all = resources+n, sealed+len(s.File), all[n:]
		}
	}
	batch = append(batch, Opening{File: []byte("x"), Who: d.keys.Identity})
	opened := OpenAll(t.Context(), batch)
	for i, in := range want {
		if opened[i].Err != nil {
			t.Fatal(opened[i].Err)
		}
		if !slices.EqualFunc(in, opened[i].Record.Resources, bytes.Equal) {
			t.Fatalf("record %d differs", i)
		}
	}
	if last := opened[len(opened)-1]; !errors.Is(last.Err, ErrFile) {
		t.Errorf("the bad file: %v", last.Err)
	}
	t.Logf("%d resources, %d bytes, in %d records of %d bytes", resources, plain, len(want), sealed)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, o := range OpenAll(ended, batch) {
		if !errors.Is(o.Err, context.Canceled) {
			t.Fatal(o.Err)
		}
	}
	if got := OpenAll(t.Context(), nil); len(got) != 0 {
		t.Error(got)
	}
}

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
