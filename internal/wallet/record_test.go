package wallet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
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
	for i := range many { // fits if one forgets that archives are padded
		many[i] = make([]byte, (ContentBytesMax-ManifestBytesMax)/ResourcesRecordMax-tarBlock-10)
	}
	if s, err := Seal(d.input(many...), d.author.Key.Sign); !errors.Is(err, ErrLimit) {
		t.Errorf("too much in small pieces: %v, %v", s, err)
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
		"long class":          func(in *SealInput) { in.Class = strings.Repeat("a", protocol.ClassBytesMax+1) },
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

func TestSourcesAreTidied(t *testing.T) {
	d := newWorld(t)
	for in, want := range map[string]string{
		"Saint\u00a0Elsewhere \t\n Hospital ": "Saint Elsewhere Hospital", "a\x00b\u2028c": "ab c", "\xff": "", "Klinik für 漢方": "Klinik für 漢方",
		strings.Repeat("ß", TextBytesMax): strings.Repeat("ß", TextBytesMax/2), "x" + strings.Repeat("ß", TextBytesMax): "x" + strings.Repeat("ß", TextBytesMax/2-1),
	} {
		got := NewSource("", in)
		if got.Name != want {
			t.Errorf("%q becomes %q", in, got.Name)
		}
		input := d.input()
		input.Source = got
		must(Seal(input, d.author.Key.Sign))(t)
	}
}

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
