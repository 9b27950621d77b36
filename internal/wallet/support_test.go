package wallet

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve/scalar"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

const testChain = "test.anamnesis"

// world is one patient, one author and four custodians, the same in every run.
type world struct {
	wallet  *Wallet
	journal Journal
	keys    *JournalKeys
	author  *Actor
	public  *threshold.PublicKey
	shares  []*threshold.Share
	needed  int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	net := Network{Chain: testChain, Gateway: "http://127.0.0.1:8080"}
	w := &Wallet{Network: net, seed: Seed{NewSecret(bytes.Repeat([]byte{7}, SeedBytes))}}
	j := must(w.OpenJournal("main"))(t)
	d := &world{wallet: w, journal: j, keys: must(w.Keys(j.ID))(t)}
	d.author = &Actor{Network: net, Kind: protocol.ActorPractitioner, ID: protocol.PractitionerID{1, 2, 3}, Name: "Dr. Ada", Key: newSigningKey(bytes.Repeat([]byte{9}, 32))}
	d.deal(t, 7, 4)
	return d
}

// deal splits a fixed key among n custodians: Shamir with the polynomial's coefficients drawn from a hash.
func (d *world) deal(t testing.TB, generation uint32, n int) {
	t.Helper()
	d.needed = threshold.Threshold(n)
	coefficients := make([]*scalar.Scalar, d.needed)
	for i := range coefficients {
		wide := sha512.Sum512(fmt.Appendf(nil, "anamnesis/test/dealer %d %d", generation, i))
		coefficients[i] = must(new(scalar.Scalar).SetBytesModOrderWide(wide[:]))(t)
	}
	share := func(index int, x *scalar.Scalar) *threshold.Share {
		b := []byte{1}
		b = binary.BigEndian.AppendUint32(b, generation)
		b = binary.BigEndian.AppendUint32(b, 1)
		b = binary.BigEndian.AppendUint16(b, uint16(index))
		raw := make([]byte, 32)
		must(0, x.ToBytes(raw))(t)
		return must(threshold.ParseShare(append(b, raw...)))(t)
	}
	secret := share(1, coefficients[0]).VerificationKey().Bytes()
	point := secret[len(secret)-32:]
	d.public = must(threshold.ParsePublicKey(append(binary.BigEndian.AppendUint32(nil, generation), point...)))(t)
	d.shares = nil
	for i := 1; i <= n; i++ {
		x, y := scalar.NewFromUint64(uint64(i)), new(scalar.Scalar)
		for k := len(coefficients) - 1; k >= 0; k-- {
			y.Add(new(scalar.Scalar).Mul(y, x), coefficients[k])
		}
		d.shares = append(d.shares, share(i, y))
	}
}

// combine is what a reader does with the custodians' answers, given the label that they recompute.
func (d *world) combine(t testing.TB, label []byte) Combiner {
	return func(c *threshold.Capsule) ([]byte, error) {
		verified, err := c.Verify(label)
		if err != nil {
			return nil, err
		}
		binding := threshold.Binding{Chain: testChain, Access: [16]byte{5}, OneTimeKey: bytes.Repeat([]byte{6}, 32)}
		var answers []*threshold.Partials
		for _, s := range d.shares[:d.needed] {
			answers = append(answers, must(threshold.Release(rand.Reader, s, []threshold.VerifiedCapsule{verified}, binding))(t))
		}
		secrets, err := threshold.Combine(d.needed, []*threshold.Capsule{c}, answers)
		if err != nil {
			return nil, err
		}
		return secrets[0], nil
	}
}

func (d *world) input(resources ...[]byte) SealInput {
	return SealInput{
		Chain: testChain, Handle: d.keys.Handle(), Recipient: d.keys.Identity.Recipient(), Custodians: d.public,
		Record: protocol.RecordID{0xaa, 0xbb}, Class: "medications", Source: Source{Identifier: "1999999992", Name: "Saint Elsewhere Hospital"},
		Recorded: 1_763_875_260_123, Author: d.author.Signer(), Resources: resources,
	}
}

func (d *world) seal(t testing.TB, resources ...[]byte) *Sealed {
	t.Helper()
	return must(Seal(d.input(resources...), d.author.Key.Sign))(t)
}

// must fails the test on an error: must(f())(t).
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// sharedData finds a file or folder of the shared test data, or skips the test.
func sharedData(t testing.TB, name string) string {
	t.Helper()
	if dir := os.Getenv("ANAMNESIS_DATA"); dir != "" {
		return filepath.Join(dir, name)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if p := filepath.Join(dir, "shared", "data", name); exists(p) {
			return p
		}
	}
	t.Skipf("SKIPPED: no shared/data/%s beside the repository, and ANAMNESIS_DATA is not set", name)
	return ""
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// bundleResources returns the resources of a gzipped FHIR Bundle, each as its bytes stand there.
func bundleResources(t testing.TB, path string) [][]byte {
	t.Helper()
	f := must(os.Open(path))(t)
	defer func() { _ = f.Close() }()
	plain := must(io.ReadAll(must(gzip.NewReader(f))(t)))(t)
	var bundle struct {
		Entry []struct{ Resource json.RawMessage }
	}
	if err := json.Unmarshal(plain, &bundle); err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, e := range bundle.Entry {
		out = append(out, e.Resource)
	}
	return out
}
