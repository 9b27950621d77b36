package wallet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"filippo.io/age"

	"github.com/anamnesis-health/anamnesis/protocol"
)

var rewrite = flag.Bool("rewrite", false, "write docs/spec/vectors anew")

const vectorsDir = "../../docs/spec/vectors"

type walletVectors struct {
	About    string
	Wallets  []walletVector
	Capsules []capsuleLabelVector
	Shares   []shareVector
}

type walletVector struct {
	Seed, Words, WalletID string
	Journals              []journalVector
}

type journalVector struct {
	Index                uint32
	ID                   protocol.JournalID
	KeyEpoch, LabelEpoch uint8
	SigningSeed          string
	SigningPublic        protocol.PublicKey
	Identity, Recipient  string
	LabelKey             string
	Handle               protocol.Handle
	Labels               map[string]protocol.Label
}

type capsuleLabelVector struct {
	Chain      string
	Generation uint32
	Journal    protocol.JournalID
	Label      protocol.Label
	Record     protocol.RecordID
	Value      string
}

type shareVector struct {
	Private, Public   string
	KEM               uint16
	Chain             string
	Access            protocol.AccessID
	Custodian         protocol.MemberID
	Generation, Epoch uint32
	Info              string
	Sealed, Answer    string
}

type recordVectors struct {
	About     string
	Identity  string // the patient's, for age -d
	FileKey   string
	Handle    protocol.Handle
	Entry     entryVector
	Label     string // of the capsule
	Manifest  string
	Signature string
	Archive   string // SHA-256 of the ustar archive
	Resources []string
	Proofs    []ResourceProof
	File      []byte // base64
	Invalid   []invalidVector
}

type entryVector struct {
	Chain      string
	Journal    protocol.JournalID
	Author     Author
	Record     protocol.RecordID
	Label      protocol.Label
	Ciphertext protocol.Hash
	Size       uint64
	Capsule    protocol.Hash
	Generation uint32
	Manifest   protocol.Hash
	Root       protocol.Hash
}

// invalidVector is an archive (zstd, base64) that must be refused against an entry with these values in place of the valid one's.
type invalidVector struct {
	Name, Expect string
	Manifest     protocol.Hash
	Root         protocol.Hash
	Archive      []byte
}

func (v entryVector) entry() Entry {
	return Entry{Chain: v.Chain, Journal: v.Journal, Author: protocol.Signer{Kind: v.Author.Kind, ID: v.Author.ID, Key: v.Author.Key},
		Action: protocol.AddRecord{Record: v.Record, Label: v.Label, Ciphertext: v.Ciphertext, Size: v.Size, Capsule: v.Capsule,
			Generation: v.Generation, Manifest: v.Manifest, Root: v.Root}}
}

// expectations are the names of errors in vectors.
var expectations = map[string]error{
	"file": ErrFile, "header": ErrHeader, "capsule": ErrCapsule, "recipient": ErrRecipient, "decrypt": ErrDecrypt, "content": ErrContent,
	"manifest": ErrManifest, "committed": ErrCommitted, "signature": ErrSignature, "limit": ErrLimit, "too-new": ErrTooNew,
}

func loadVectors(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(vectorsDir, name))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
}

func storeVectors(t *testing.T, name string, v any) {
	t.Helper()
	raw := must(json.MarshalIndent(v, "", "  "))(t)
	must(0, os.MkdirAll(vectorsDir, 0o755))(t)
	must(0, os.WriteFile(filepath.Join(vectorsDir, name), append(raw, '\n'), 0o644))(t)
}

// derive computes the vector of one seed.
func (v walletVector) derive(t *testing.T) walletVector {
	seed := Seed{NewSecret(must(hex.DecodeString(v.Seed))(t))}
	id := seed.walletID()
	out := walletVector{Seed: v.Seed, Words: seed.Words(), WalletID: hex.EncodeToString(id[:])}
	for _, j := range v.Journals {
		jid := seed.JournalID(j.Index)
		k := must(seed.journalKeys(jid, j.KeyEpoch, j.LabelEpoch))(t)
		labels := map[string]protocol.Label{}
		for class := range j.Labels {
			labels[class] = k.Handle().Label(class)
		}
		out.Journals = append(out.Journals, journalVector{
			Index: j.Index, ID: jid, KeyEpoch: j.KeyEpoch, LabelEpoch: j.LabelEpoch,
			SigningSeed: hex.EncodeToString(k.Signing.seed()), SigningPublic: k.Signing.Public(),
			Identity: k.Identity.Reveal(), Recipient: k.Identity.Recipient().String(),
			LabelKey: k.labelKey.Hex(), Handle: k.Handle(), Labels: labels,
		})
	}
	return out
}

func (v capsuleLabelVector) value() string {
	return hex.EncodeToString(CapsuleLabel(v.Chain, v.Generation, v.Journal, v.Label, v.Record))
}

func (v shareVector) info(t *testing.T) ShareInfo {
	return ShareInfo{Chain: v.Chain, Access: v.Access, Custodian: v.Custodian, Generation: v.Generation, Epoch: v.Epoch,
		OneTime: [32]byte(must(hex.DecodeString(v.Public))(t)), KEM: v.KEM}
}

func TestWalletVectors(t *testing.T) {
	if *rewrite {
		storeVectors(t, "wallet.json", makeWalletVectors(t))
	}
	var v walletVectors
	loadVectors(t, "wallet.json", &v)
	if len(v.Wallets) == 0 || len(v.Capsules) == 0 || len(v.Shares) == 0 {
		t.Fatal("the vectors are empty")
	}
	for i, w := range v.Wallets {
		if got, want := must(json.Marshal(w.derive(t)))(t), must(json.Marshal(w))(t); !bytes.Equal(got, want) {
			t.Errorf("wallet %d:\n%s\nshould be\n%s", i, got, want)
		}
		if s, err := ParseWords(w.Words); err != nil || s.secret.Hex() != w.Seed {
			t.Errorf("wallet %d: its words do not lead back: %v", i, err)
		}
	}
	for i, c := range v.Capsules {
		if c.value() != c.Value {
			t.Errorf("capsule label %d is %s", i, c.value())
		}
	}
	for i, s := range v.Shares {
		k := must(ParseOneTimeKey(NewSecret(must(hex.DecodeString(s.Private))(t))))(t)
		public := k.Public()
		if hex.EncodeToString(public[:]) != s.Public || hex.EncodeToString(s.info(t).info()) != s.Info {
			t.Errorf("share %d: another key or info", i)
		}
		answer, err := k.OpenShare(s.info(t), must(hex.DecodeString(s.Sealed))(t))
		if err != nil || hex.EncodeToString(answer) != s.Answer {
			t.Errorf("share %d: %x, %v", i, answer, err)
		}
	}
}

func makeWalletVectors(t *testing.T) walletVectors {
	out := walletVectors{About: "Derivation tree, capsule labels and sealed shares; see docs/spec/wallet.md and docs/spec/record.md. Keys in here are for tests alone."}
	classes := map[string]protocol.Label{"allergies": {}, "medications": {}, "mental-health": {}}
	for seed := range bip39Vectors {
		out.Wallets = append(out.Wallets, walletVector{Seed: seed, Journals: []journalVector{
			{Labels: classes}, {Index: 1, Labels: classes}, {Index: 1, KeyEpoch: 1, LabelEpoch: 2, Labels: classes}}}.derive(t))
	}
	slices.SortFunc(out.Wallets, func(a, b walletVector) int { return bytes.Compare([]byte(a.Seed), []byte(b.Seed)) })
	c := capsuleLabelVector{Chain: testChain, Generation: 7, Journal: protocol.JournalID{1}, Label: protocol.Label{2}, Record: protocol.RecordID{3}}
	c.Value = c.value()
	out.Capsules = append(out.Capsules, c)
	k := must(ParseOneTimeKey(NewSecret(bytes.Repeat([]byte{0x42}, 32))))(t)
	public := k.Public()
	s := shareVector{Private: must(k.Reveal())(t).Hex(), Public: hex.EncodeToString(public[:]), KEM: k.KEM(), Chain: testChain,
		Access: protocol.AccessID{4}, Custodian: protocol.MemberID{5}, Generation: 7, Epoch: 2, Answer: hex.EncodeToString([]byte("a share"))}
	s.Info = hex.EncodeToString(s.info(t).info())
	s.Sealed = hex.EncodeToString(must(SealShare(s.info(t), []byte("a share")))(t))
	out.Shares = append(out.Shares, s)
	return out
}

func TestRecordVectors(t *testing.T) {
	if *rewrite {
		storeVectors(t, "record.json", makeRecordVectors(t))
	}
	var v recordVectors
	loadVectors(t, "record.json", &v)
	if len(v.Invalid) == 0 || len(v.Resources) == 0 {
		t.Fatal("the vectors are empty")
	}
	e := v.Entry.entry()
	patient := must(newIdentity(must(scalarOf(v.Identity))(t)))(t)
	for name, who := range map[string]age.Identity{"patient": patient, "reader": FileKey([16]byte(must(hex.DecodeString(v.FileKey))(t)))} {
		r, err := Open(v.File, who, e)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, want := range v.Resources {
			if string(r.Resources[i]) != want {
				t.Errorf("%s: resource %d differs", name, i)
			}
			if err := VerifyResource(e.Action.Root, v.Proofs[i], []byte(want)); err != nil {
				t.Error(err)
			}
		}
		if err := r.Manifest.CheckLabel(v.Handle); err != nil {
			t.Error(err)
		}
	}
	m := must(parseManifest([]byte(v.Manifest)))(t)
	signature := must(hex.DecodeString(v.Signature))(t)
	var resources [][]byte
	for _, r := range v.Resources {
		resources = append(resources, []byte(r))
	}
	tar := archive([]byte(v.Manifest), signature, resources, m.mtime())
	if sum := sha256.Sum256(tar); hex.EncodeToString(sum[:]) != v.Archive {
		t.Error("the archive is another")
	}
	if manifestHash([]byte(v.Manifest), signature) != v.Entry.Manifest || m.root() != v.Entry.Root {
		t.Error("the commitments are others")
	}
	if got := hex.EncodeToString(CapsuleLabel(e.Chain, e.Action.Generation, e.Journal, e.Action.Label, e.Action.Record)); got != v.Label {
		t.Error("the capsule's label is another")
	}
	for _, bad := range v.Invalid {
		e := v.Entry.entry()
		e.Action.Manifest, e.Action.Root = bad.Manifest, bad.Root
		_, err := readRecord(must(decompressor().DecodeAll(bad.Archive, nil))(t), e)
		var resource *ResourceError
		want, known := expectations[bad.Expect]
		if bad.Expect == "resource" {
			if !errors.As(err, &resource) {
				t.Errorf("%s: %v", bad.Name, err)
			}
		} else if !known || !errors.Is(err, want) {
			t.Errorf("%s: %v, expected %s", bad.Name, err, bad.Expect)
		}
	}
}

func makeRecordVectors(t *testing.T) recordVectors {
	d := newWorld(t)
	texts := []string{`{"resourceType":"MedicationRequest","id":"a"}`, "{\n  \"resourceType\": \"MedicationRequest\",\r\n  \"note\": \"ü \\u2028 漢\"\n}\n", ""}
	var resources [][]byte
	for _, s := range texts {
		resources = append(resources, []byte(s))
	}
	s := d.seal(t, resources...)
	e := s.Entry()
	label := CapsuleLabel(e.Chain, e.Action.Generation, e.Journal, e.Action.Label, e.Action.Record)
	key := must(d.combine(t, label)(must(CapsuleOf(s.File))(t)))(t)
	manifest := must(s.Manifest.encode())(t)
	signature := d.author.Key.Sign(manifestMessage(manifest))
	a := e.Action
	v := recordVectors{
		About:    "A sealed record, its entry and archives that must be refused; see docs/spec/record.md. Keys in here are for tests alone.",
		Identity: d.keys.Identity.Reveal(), FileKey: hex.EncodeToString(key), Handle: d.keys.Handle(), Label: hex.EncodeToString(label),
		Entry: entryVector{Chain: e.Chain, Journal: e.Journal, Author: s.Manifest.Author, Record: a.Record, Label: a.Label, Ciphertext: a.Ciphertext,
			Size: a.Size, Capsule: a.Capsule, Generation: a.Generation, Manifest: a.Manifest, Root: a.Root},
		Manifest: string(manifest), Signature: hex.EncodeToString(signature), Resources: texts, File: s.File,
	}
	good := archive(manifest, signature, resources, s.Manifest.mtime())
	sum := sha256.Sum256(good)
	v.Archive = hex.EncodeToString(sum[:])
	for i := range resources {
		v.Proofs = append(v.Proofs, (&Record{Manifest: s.Manifest, Resources: resources}).Prove(i))
	}
	bad := func(name, expect string, tar []byte, m []byte, sig []byte) {
		v.Invalid = append(v.Invalid, invalidVector{name, expect, manifestHash(m, sig), a.Root, compressor().EncodeAll(tar, nil)})
	}
	rebuilt := func(name, expect string, m []byte) {
		sig := d.author.Key.Sign(manifestMessage(m))
		bad(name, expect, archive(m, sig, resources, s.Manifest.mtime()), m, sig)
	}
	replaced := func(old, new string) []byte { return bytes.Replace(manifest, []byte(old), []byte(new), 1) }
	bad("a byte behind a file is not zero", "content", append(bytes.Clone(good[:len(good)-1]), 1), manifest, signature)
	bad("the archive lacks its end", "content", good[:len(good)-1024], manifest, signature)
	bad("a header's mode differs", "content", append(append(bytes.Clone(good[:100]), '1'), good[101:]...), manifest, signature)
	bad("a resource is missing", "content", archive(manifest, signature, resources[:2], s.Manifest.mtime()), manifest, signature)
	bad("a resource differs", "resource", archive(manifest, signature, [][]byte{resources[0], resources[1], []byte("x")}, s.Manifest.mtime()), manifest, signature)
	bad("the signature is another's", "signature", archive(manifest, GenerateSigningKey().Sign(manifestMessage(manifest)), resources, s.Manifest.mtime()), manifest, signature)
	bad("the manifest is not the committed one", "committed", good, manifest[1:], signature)
	rebuilt("a space in the manifest", "manifest", replaced(`":`, `": `))
	rebuilt("an unknown field", "manifest", replaced(`"version":1`, `"version":1,"z":0`))
	rebuilt("a field twice", "manifest", replaced(`"version":1`, `"version":1,"version":1`))
	rebuilt("capitals in hexadecimal", "manifest", replaced(`"salt":"`, `"salt":"A`))
	rebuilt("a newer manifest", "too-new", replaced(`"version":1`, `"version":2`))
	rebuilt("a resource's length is wrong", "resource", replaced(fmt.Sprintf(`"bytes":%d`, len(texts[0])), fmt.Sprintf(`"bytes":%d`, len(texts[0])+1)))
	other := *s.Manifest
	other.Record[0] ^= 1
	rebuilt("another record's manifest", "committed", must(other.encode())(t))
	return v
}
