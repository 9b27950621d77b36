package did

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mr-tron/base58"
	"pgregory.net/rapid"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// vector reads a file of the W3C's test vectors for Data Integrity with EdDSA.
func vector(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("ANAMNESIS_DATA")
	for at, _ := filepath.Abs("."); dir == ""; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "shared", "data")); err == nil {
			dir = filepath.Join(at, "shared", "data")
		} else if at == filepath.Dir(at) {
			t.Skip("SKIPPED: no shared test data; set ANAMNESIS_DATA")
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "vectors", "vc-di-eddsa", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// canonical is RFC 8785 for documents of strings alone: members sorted, no escapes that these vectors would need.
func canonical(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// The signed credential of the W3C's vectors verifies with the key that its did:key resolves to, by way of the document's relationship.
func TestW3CVectors(t *testing.T) {
	var pair struct{ PublicKeyMultibase string }
	if err := json.Unmarshal(vector(t, "keyPair.json"), &pair); err != nil {
		t.Fatal(err)
	}
	for suite, names := range map[string][2]string{"eddsa-jcs-2022": {"signedJCS.json", "combinedHashJCS.txt"}, "eddsa-rdfc-2022": {"signedDataInt.json", "combinedHashDataInt.txt"}} {
		var signed map[string]any
		if err := json.Unmarshal(vector(t, suite+"/"+names[0]), &signed); err != nil {
			t.Fatal(err)
		}
		proof := signed["proof"].(map[string]any)
		method := proof["verificationMethod"].(string)
		d, err := Resolve(t.Context(), method)
		if err != nil {
			t.Fatal(err)
		}
		if d.AssertionMethod[0] != method || d.VerificationMethod[0].PublicKeyMultibase != pair.PublicKeyMultibase {
			t.Fatalf("%s: the document does not have the vector's method: %+v", suite, d)
		}
		keys, err := d.Keys()
		if err != nil || len(keys) != 1 {
			t.Fatal(keys, err)
		}
		signature, err := base58.Decode(strings.TrimPrefix(proof["proofValue"].(string), "z"))
		if err != nil {
			t.Fatal(err)
		}
		var digest [64]byte
		want := strings.TrimSpace(string(vector(t, suite+"/"+names[1])))
		for i := range digest {
			digest[i] = unhex(want[2*i])<<4 | unhex(want[2*i+1])
		}
		if !protocol.VerifySignature(keys[0], digest[:], signature) {
			t.Errorf("%s: the vector's signature does not verify", suite)
		}
		digest[0] ^= 1
		if protocol.VerifySignature(keys[0], digest[:], signature) {
			t.Errorf("%s: another digest verifies too", suite)
		}
		if suite == "eddsa-jcs-2022" { // the digest itself, from the document
			delete(proof, "proofValue")
			delete(signed, "proof")
			p, s := sha256.Sum256(canonical(t, proof)), sha256.Sum256(canonical(t, signed))
			digest[0] ^= 1
			if !bytes.Equal(append(p[:], s[:]...), digest[:]) {
				t.Error("the digest is not the vector's")
			}
		}
	}
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

func TestKeysGoThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := protocol.PublicKey(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		if back, err := ParseKey(Key(key)); err != nil || back != key {
			t.Fatal(back, err)
		}
		if keys, err := KeyDocument(key).Keys(); err != nil || len(keys) != 1 || keys[0] != key {
			t.Fatal(keys, err)
		}
	})
}

func TestMalformed(t *testing.T) {
	good := Key(protocol.PublicKey{7})
	for _, bad := range []string{"", "did:key:", "did:key:z", good + "0", good[:len(good)-1], "did:key:" + strings.ToUpper(strings.TrimPrefix(good, "did:key:")),
		good + "#other", "did:example:abc", "did:key:z11" + strings.TrimPrefix(good, "did:key:z"), "did:key:z6LSeu9HkTHSfLLeUs2nnzUSNedgDUevfNQgQjQC23ZCit6F",
		"did:web:", "did:web:127.0.0.1", "did:web:10.0.0.1:members:1", "did:web:user@host", "did:web:host:..:secret", "did:web:host%2Fpath", "did:web:host%3Aport",
		"did:web:host:%2e%2e", "did:web:host:a%2fb", "did:web:host?x", "did:web:%5B::1%5D", "did:web:host:a\nb"} {
		if _, err := Resolve(t.Context(), bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The examples of the did:web method's specification, §3.2.
func TestWebURLs(t *testing.T) {
	for id, want := range map[string]string{
		"did:web:w3c-ccg.github.io":                 "https://w3c-ccg.github.io/.well-known/did.json",
		"did:web:w3c-ccg.github.io:user:alice":      "https://w3c-ccg.github.io/user/alice/did.json",
		"did:web:example.com%3A3000:user:alice":     "https://example.com:3000/user/alice/did.json",
		"did:web:localhost%3A8080:practitioners:00": "http://localhost:8080/practitioners/00/did.json",
	} {
		if got, err := URL(id); err != nil || got != want {
			t.Errorf("%s: %s %v", id, got, err)
		}
	}
	for gateway, want := range map[string]string{"127.0.0.1:8080": "did:web:localhost%3A8080:members:ab", "[::1]:1": "did:web:localhost%3A1:members:ab",
		"Hospital.Example:443": "did:web:hospital.example:members:ab", "hospital.example": "did:web:hospital.example:members:ab"} {
		if got, err := Web(gateway, "members", "ab"); err != nil || got != want {
			t.Errorf("%s: %s %v", gateway, got, err)
		}
	}
	for _, gateway := range []string{"10.1.2.3:80", "[2001:db8::1]:443", "", "a b:1", "host/path:1"} {
		if got, err := Web(gateway); !errors.Is(err, ErrNoName) {
			t.Errorf("%q: %s %v", gateway, got, err)
		}
	}
}

func TestResolveWeb(t *testing.T) {
	var serve http.HandlerFunc
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(w, r) }))
	defer server.Close()
	id, err := Web(strings.TrimPrefix(server.URL, "http://"), "members", "ab")
	if err != nil {
		t.Fatal(err)
	}
	answer := func(d any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/members/ab/did.json" {
				t.Errorf("asked for %s", r.URL.Path)
			}
			_ = json.NewEncoder(w).Encode(d)
		}
	}
	good := WebDocument(Subject{DID: id, Key: protocol.PublicKey{1}, Standing: true, Registry: "http://localhost/v1/members"})
	serve = answer(good)
	d, err := Resolve(t.Context(), id)
	if keys, _ := d.Keys(); err != nil || len(keys) != 1 || keys[0] != (protocol.PublicKey{1}) {
		t.Fatal(d, err)
	}
	suspended := WebDocument(Subject{DID: id, Key: protocol.PublicKey{1}})
	if keys, err := suspended.Keys(); err != nil || len(keys) != 0 || len(suspended.VerificationMethod) != 1 {
		t.Error("who has no standing keeps the key and nothing that it is good for", suspended)
	}
	for name, bad := range map[string]http.HandlerFunc{
		"another's": answer(WebDocument(Subject{DID: id + "c", Key: protocol.PublicKey{1}, Standing: true})),
		"no key":    answer(Document{Context: []string{contextDID}, ID: id, VerificationMethod: []Method{{ID: id + "#1", Type: multikey, PublicKeyMultibase: "zz"}}}),
		"not JSON":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte(" "), DocumentBytesMax+1))
		},
	} {
		serve = bad
		if _, err := Resolve(t.Context(), id); !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"gone":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) },
	} {
		serve = bad
		if _, err := Resolve(t.Context(), id); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Key(protocol.PublicKey{1}))
	f.Add("did:web:example.com%3A3000:user:alice")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := ParseKey(text); err == nil && Key(key) != text && !strings.Contains(text, "#") {
			t.Fatalf("%q is a second form of a key", text)
		}
		if at, err := URL(text); err == nil && !strings.HasSuffix(at, "/did.json") {
			t.Fatalf("%q leads to %s", text, at)
		}
	})
}
