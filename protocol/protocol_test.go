package protocol

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/veraison/go-cose"
)

func testBody(key ed25519.PrivateKey, actions ...Action) Body {
	b := Body{Version: Version, Chain: "test-1", NotAfter: 1_700_000_000_000, Actions: Pack(actions...)}
	b.Nonce[0] = 7
	var pub PublicKey
	copy(pub[:], key.Public().(ed25519.PublicKey))
	b.Signer = MemberSigner(MemberIDOf(pub), pub)
	return b
}

func signer(key ed25519.PrivateKey) func([]byte) []byte {
	return func(m []byte) []byte { return ed25519.Sign(key, m) }
}

func TestEnvelopeRoundTripAndEveryFlip(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	raw, id := Sign(testBody(key, &Revoke{Contract: ContractID{9}}), signer(key))
	v, err := VerifyEnvelope(raw)
	if err != nil || v.ID != id {
		t.Fatalf("%v %v", err, v)
	}
	if got := v.Actions[0].(*Revoke); got.Contract != (ContractID{9}) {
		t.Fatal(got)
	}
	for i := range raw {
		for bit := range 8 {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << bit
			if _, err := VerifyEnvelope(bad); !errors.Is(err, ErrEncoding) && !errors.Is(err, ErrSignature) {
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			}
		}
	}
	for n := range raw {
		if _, err := VerifyEnvelope(raw[:n]); !errors.Is(err, ErrEncoding) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if _, err := VerifyEnvelope(append(bytes.Clone(raw), 0)); !errors.Is(err, ErrEncoding) {
		t.Fatal(err)
	}
}

// Somebody else's COSE library reads our envelopes, and ours reads what it makes.
func TestEnvelopeIsCOSE(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	raw, _ := Sign(testBody(key, &Approve{Proposal: ActionID{1}}), signer(key))
	var m cose.Sign1Message
	if err := m.UnmarshalCBOR(raw); err != nil {
		t.Fatal(err)
	}
	v, err := cose.NewVerifier(cose.AlgorithmEdDSA, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify([]byte(signatureContext), v); err != nil {
		t.Fatal(err)
	}
	if err := m.Verify([]byte("another context"), v); err == nil {
		t.Fatal("the context is not bound")
	}
	s, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		t.Fatal(err)
	}
	other := cose.Sign1Message{Headers: cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA}}, Payload: m.Payload}
	if err := other.Sign(nil, []byte(signatureContext), s); err != nil {
		t.Fatal(err)
	}
	theirs, err := other.MarshalCBOR()
	if err != nil || !bytes.Equal(theirs, raw) {
		t.Fatalf("%v\n%x\n%x", err, theirs, raw)
	}
}

func TestVerifyBatchFindsTheBadOnes(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	var raws [][]byte
	for i := range 20 {
		b := testBody(key, &Revoke{Contract: ContractID{byte(i) + 1}})
		raw, _ := Sign(b, signer(key))
		raws = append(raws, raw)
	}
	raws[3][len(raws[3])-1] ^= 1
	raws[5] = raws[5][:40]
	for _, n := range []int{3, 20} {
		out, errs := NewVerifier(16).Verify(raws[20-n:])
		for i := range out {
			bad := 20-n+i == 3 || 20-n+i == 5
			if (errs[i] != nil) != bad || (out[i] == nil) != bad {
				t.Fatalf("of %d, %d: %v", n, i, errs[i])
			}
		}
	}
	if _, errs := NewVerifier(16).Verify(raws[3:4]); !errors.Is(errs[0], ErrSignature) {
		t.Fatal(errs)
	}
}

func TestParcel(t *testing.T) {
	for _, n := range []int{1, 2, 23, 24, 64} {
		var envs [][]byte
		for i := range n {
			envs = append(envs, bytes.Repeat([]byte{byte(i)}, 1+i*17))
		}
		got, err := DecodeParcel(EncodeParcel(envs))
		if err != nil || len(got) != n {
			t.Fatal(n, err)
		}
		for i := range got {
			if !bytes.Equal(got[i], envs[i]) {
				t.Fatal(n, i)
			}
		}
	}
	for _, bad := range [][]byte{nil, {0x80}, {0x98, 5}, {0x81}, {0x81, 0x58, 1, 0}, {0x81, 0x41, 0, 0}, EncodeParcel(make([][]byte, 65))} {
		if _, err := DecodeParcel(bad); !errors.Is(err, ErrEncoding) {
			t.Fatalf("%x: %v", bad, err)
		}
	}
}

func TestHandle(t *testing.T) {
	h := Handle{Journal: JournalID{1, 2, 3}, Key: LabelKey{4, 5}, Epoch: 2}
	s := h.String()
	for _, text := range []string{s, " " + s + "\n", string(bytes.ToUpper([]byte(s)))} {
		if got, err := ParseHandle(text); err != nil || got != h {
			t.Fatal(text, err)
		}
	}
	for i := range s {
		for _, c := range "qx7b-" {
			bad := s[:i] + string(c) + s[i+1:]
			if bad == s {
				continue
			}
			if _, err := ParseHandle(bad); !errors.Is(err, ErrBadHandle) {
				t.Fatalf("%s: %v", bad, err)
			}
		}
	}
}

// BIP-350's valid test vectors that carry a payload of whole bytes, and its bad ones.
func TestBech32mVectors(t *testing.T) {
	for hrp, s := range map[string]string{"a": "a1lqfn3a", "abcdef": "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx"} {
		data := s[len(hrp)+1:]
		var groups []byte
		for _, c := range data {
			groups = append(groups, byte(bytes.IndexByte([]byte(bech32Charset), byte(c))))
		}
		if bech32Polymod(hrp, groups) != bech32mConstant {
			t.Error(s)
		}
	}
	for _, s := range []string{"anm1xxxxxx", "anm1", "anm1lqfn3a", "M1VUXWEZ"} {
		if _, err := ParseHandle(s); err == nil {
			t.Error(s)
		}
	}
}

func FuzzVerifyEnvelope(f *testing.F) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	raw, _ := Sign(testBody(key, &Revoke{Contract: ContractID{9}}, &RequestAccess{Labels: []Label{{1}, {2}}, Purpose: PurposeTreat, OneTime: [32]byte{1}, OneTimeKEM: OneTimeX25519}), signer(key))
	f.Add(raw)
	f.Add(raw[:50])
	f.Fuzz(func(t *testing.T, b []byte) {
		v, _, sig, err := openEnvelope(b)
		if err != nil {
			return
		}
		again, _ := Sign(v.Body, func([]byte) []byte { return sig })
		if !bytes.Equal(again, b) {
			t.Fatalf("two encodings of one envelope\n%x\n%x", b, again)
		}
	})
}

func BenchmarkVerify64(b *testing.B) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	var raws [][]byte
	for i := range 64 {
		r := &AddRecord{Record: RecordID{byte(i) + 1}, Label: Label{1}, Ciphertext: Hash{1}, Size: 1000, Capsule: Hash{2}, Generation: 1, Manifest: Hash{3}, Root: Hash{4}}
		raw, _ := Sign(testBody(key, r), signer(key))
		raws = append(raws, raw)
	}
	b.ReportMetric(float64(len(raws[0])), "bytes/envelope")
	v := NewVerifier(64)
	for b.Loop() {
		v.Verify(raws)
	}
	b.ReportMetric(64*float64(b.N)/b.Elapsed().Seconds(), "envelopes/s")
}

func BenchmarkDecode(b *testing.B) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	r := &AddRecord{Record: RecordID{1}, Label: Label{1}, Ciphertext: Hash{1}, Size: 1000, Capsule: Hash{2}, Generation: 1, Manifest: Hash{3}, Root: Hash{4}}
	raw, _ := Sign(testBody(key, r), signer(key))
	for b.Loop() {
		if _, _, _, err := openEnvelope(raw); err != nil {
			b.Fatal(err)
		}
	}
}
