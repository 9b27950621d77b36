package did

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

var rewrite = flag.Bool("rewrite", false, "write docs/spec/vectors/did.json anew")

const vectorsFile = "../../docs/spec/vectors/did.json"

// vectors are the spec's examples: names and documents of fixed keys. Keys in them are for tests alone.
type vectors struct {
	About   string
	Keys    []keyVector
	Webs    []webVector
	Invalid []struct{ Name, Expect, DID string }
	NoNames []string // addresses of gateways that have no did:web
}

type keyVector struct {
	Key      protocol.PublicKey
	DID      string
	Document Document
}

type webVector struct {
	Gateway  string // host:port, as the network's configuration has it
	Segments []string
	DID, URL string
	Key      protocol.PublicKey
	Standing bool
	Registry string
	Document Document
}

func (v keyVector) derive() keyVector {
	v.DID, v.Document = Key(v.Key), KeyDocument(v.Key)
	return v
}

func (v webVector) derive(t *testing.T) webVector {
	var err, malformed error
	v.DID, err = Web(v.Gateway, v.Segments...)
	v.URL, malformed = URL(v.DID)
	if err := errors.Join(err, malformed); err != nil {
		t.Fatal(v.Gateway, err)
	}
	v.Document = WebDocument(Subject{DID: v.DID, Key: v.Key, Standing: v.Standing, Registry: v.Registry})
	return v
}

func makeVectors(t *testing.T) (v vectors) {
	v.About = "DIDs and their documents; see docs/spec/did.md. Keys in here are for tests alone."
	// The public key of the first test of RFC 8032, and one with zeros in front.
	for _, key := range []string{"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "0000000000000000000000000000000000000000000000000000000000000001"} {
		raw, err := hex.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		v.Keys = append(v.Keys, keyVector{Key: protocol.PublicKey(raw)}.derive())
	}
	key, id := v.Keys[0].Key, "7207110b390750c42f374fd58096dab6"
	for _, w := range []webVector{
		{Gateway: "Hospital.Example:443", Standing: true, Registry: "https://hospital.example/v1/members/" + id},
		{Gateway: "hospital.example:8443", Segments: []string{"members", id}, Standing: true},
		{Gateway: "hospital.example", Segments: []string{"practitioners", id}},
		{Gateway: "127.0.0.1:8080", Segments: []string{"members", id}, Standing: true},
	} {
		w.Key = key
		v.Webs = append(v.Webs, w.derive(t))
	}
	bad := func(name, id string) {
		v.Invalid = append(v.Invalid, struct{ Name, Expect, DID string }{name, "malformed", id})
	}
	good := v.Keys[0].DID
	bad("a character more", good+"1")
	bad("a character less", good[:len(good)-1])
	bad("another multibase", "did:key:m"+good[len("did:key:z"):])
	bad("a second form of the key", "did:key:z1"+good[len("did:key:z"):])
	bad("a fragment that is not the key's", good+"#key-1")
	bad("a key that is no Ed25519 key", "did:key:z6LSeu9HkTHSfLLeUs2nnzUSNedgDUevfNQgQjQC23ZCit6F")
	bad("another method", "did:example:abc")
	bad("an IP address", "did:web:10.0.0.1")
	bad("a user", "did:web:user@host")
	bad("a way upwards", "did:web:host:..:secret")
	bad("a hidden way upwards", "did:web:host:%2e%2e")
	bad("a slash in a segment", "did:web:host:a%2fb")
	bad("a port that is none", "did:web:host%3Aport")
	v.NoNames = []string{"10.1.2.3:80", "[2001:db8::1]:443", "a b:1", "host/path:1", ""}
	return v
}

func TestVectors(t *testing.T) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(makeVectors(t)); err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile(vectorsFile, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorsFile)
	if err != nil || !bytes.Equal(have, out.Bytes()) {
		t.Fatalf("%s is not what the code computes (%v); if the change is meant, run the test with -rewrite", vectorsFile, err)
	}
	var v vectors
	if err := json.Unmarshal(have, &v); err != nil || len(v.Keys) == 0 || len(v.Webs) == 0 || len(v.Invalid) == 0 || len(v.NoNames) == 0 {
		t.Fatal("an empty corpus shows nothing", err)
	}
	for _, k := range v.Keys {
		if key, err := ParseKey(k.DID); err != nil || key != k.Key {
			t.Errorf("%s: %v", k.DID, err)
		}
	}
	for _, w := range v.Webs {
		if keys, err := w.Document.Keys(); err != nil || (len(keys) == 1 && keys[0] == w.Key) != w.Standing || w.Document.check(w.DID) != nil {
			t.Errorf("%s: %v %v", w.DID, keys, err)
		}
	}
	for _, b := range v.Invalid {
		if _, err := Resolve(t.Context(), b.DID); b.Expect != "malformed" || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", b.Name, err)
		}
	}
	for _, gateway := range v.NoNames {
		if id, err := Web(gateway); !errors.Is(err, ErrNoName) {
			t.Errorf("%q is called %s, %v", gateway, id, err)
		}
	}
}
