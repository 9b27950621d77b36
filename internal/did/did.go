// Package did gives the network's people and organisations the names that others' programs know: W3C decentralised identifiers
// (Decentralized Identifiers (DIDs) v1.0) with one Ed25519 key each, as a Multikey (Controlled Identifiers v1.0 §2.2.2).
//
//   - A wallet, a device, anybody with a key: did:key. The identifier is the key; nothing is asked of anybody. Each journal has a key of its
//     own, so the did:keys of one wallet do not link its journals.
//   - A member, a practitioner: did:web. The document lies at the member's gateway and says what the registry says: the current key, and
//     what it is good for now.
//
// A document states no names and no speciality. Who stands suspended, revoked or expired keeps the key in the document, so that what
// was signed before can still be checked, and loses every relationship: the key authenticates and asserts nothing any more.
//
// A did:web is only as good as the web server's name. What a key may do on the ledger is the registry's to say, and is proven against
// it; a document is for programs that know nothing of the ledger.
//
// Limits: Ed25519 alone; did:key without an encryption key (wallets encrypt to other keys); a document has at most DocumentBytesMax.
package did

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/mr-tron/base58"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Document is a DID document in its JSON-LD form.
type Document struct {
	Context            []string  `json:"@context"`
	ID                 string    `json:"id"`
	Controller         string    `json:"controller,omitempty"`
	AlsoKnownAs        []string  `json:"alsoKnownAs,omitempty"`
	VerificationMethod []Method  `json:"verificationMethod"`
	Authentication     []string  `json:"authentication,omitempty"`
	AssertionMethod    []string  `json:"assertionMethod,omitempty"`
	Service            []Service `json:"service,omitempty"`
}

// Method is a key of a document.
type Method struct {
	ID                 string `json:"id"`
	Type               string `json:"type"`
	Controller         string `json:"controller"`
	PublicKeyMultibase string `json:"publicKeyMultibase"`
}

// Service is where something about the subject is served.
type Service struct {
	ID              string `json:"id"`
	Type            string `json:"type"`
	ServiceEndpoint string `json:"serviceEndpoint"`
}

// MediaType is what documents are served as (DID v1.0 §6.3).
const MediaType = "application/did+ld+json"

// ServiceRegistry is the type of the service that tells what the ledger's registry says of the subject.
const ServiceRegistry = "AnamnesisRegistry"

// Limits.
const (
	DocumentBytesMax   = 64 << 10
	IdentifierBytesMax = 1024
)

// Errors.
var (
	// ErrMalformed says that a text is no DID, or none of the methods that are understood.
	ErrMalformed = errors.New("this is not a DID of a kind that is understood (did:key with Ed25519, or did:web)")
	// ErrNoName says that a gateway's address cannot stand in a did:web: IP addresses are not allowed there.
	ErrNoName = errors.New("a did:web needs a host name, not an IP address")
	// ErrDocument says that a document is not what its DID promises.
	ErrDocument = errors.New("the DID document does not hold")
)

const (
	keyPrefix  = "did:key:"
	webPrefix  = "did:web:"
	contextDID = "https://www.w3.org/ns/did/v1"
	contextKey = "https://w3id.org/security/multikey/v1"
	multikey   = "Multikey"
	keyName    = "#key-1"
)

// ed25519Code is the multicodec of an Ed25519 public key, as an unsigned varint.
var ed25519Code = []byte{0xed, 0x01}

// Multibase is a public key as publicKeyMultibase has it: 'z' and the base58btc of multicodec and key.
func Multibase(key protocol.PublicKey) string {
	return "z" + base58.Encode(append(slices.Clone(ed25519Code), key[:]...))
}

// ParseMultibase reads a publicKeyMultibase. There is one form of each key. Errors wrap ErrMalformed.
func ParseMultibase(text string) (protocol.PublicKey, error) {
	var key protocol.PublicKey
	if len(text) > 64 || !strings.HasPrefix(text, "z") {
		return key, fmt.Errorf("%w: a key is 'z' and base58btc", ErrMalformed)
	}
	raw, err := base58.Decode(text[1:])
	if err != nil || len(raw) != len(ed25519Code)+len(key) || !slices.Equal(raw[:2], ed25519Code) {
		return key, fmt.Errorf("%w: the key is no Ed25519 public key", ErrMalformed)
	}
	copy(key[:], raw[2:])
	if Multibase(key) != text {
		return protocol.PublicKey{}, fmt.Errorf("%w: the key is not in its one form", ErrMalformed)
	}
	return key, nil
}

// Key is the did:key of a public key.
func Key(key protocol.PublicKey) string { return keyPrefix + Multibase(key) }

// ParseKey reads a did:key, with or without the fragment that names its one verification method. Errors wrap ErrMalformed.
func ParseKey(text string) (protocol.PublicKey, error) {
	id, fragment, found := strings.Cut(text, "#")
	multi, ok := strings.CutPrefix(id, keyPrefix)
	if !ok || found && fragment != multi {
		return protocol.PublicKey{}, fmt.Errorf("%w: not a did:key", ErrMalformed)
	}
	return ParseMultibase(multi)
}

// KeyDocument is what a did:key expands to (did:key v0.9 §3.1.2, without the optional encryption key).
func KeyDocument(key protocol.PublicKey) Document {
	id := Key(key)
	method := id + "#" + Multibase(key)
	d := blank(id)
	d.VerificationMethod = []Method{{ID: method, Type: multikey, Controller: id, PublicKeyMultibase: Multibase(key)}}
	d.Authentication, d.AssertionMethod = []string{method}, []string{method}
	return d
}

func blank(id string) Document {
	return Document{Context: []string{contextDID, contextKey}, ID: id}
}

// Subject is what the registry says of a member or practitioner.
type Subject struct {
	DID        string
	Controller string // the member's DID, of a practitioner; empty: the subject itself
	Also       []string
	Key        protocol.PublicKey
	Standing   bool   // the key counts now
	Registry   string // URL at which the registry's row is served
}

// WebDocument is the document of a did:web.
func WebDocument(s Subject) Document {
	d := blank(s.DID)
	d.Controller, d.AlsoKnownAs = s.Controller, s.Also
	method := s.DID + keyName
	d.VerificationMethod = []Method{{ID: method, Type: multikey, Controller: s.DID, PublicKeyMultibase: Multibase(s.Key)}}
	if s.Standing {
		d.Authentication, d.AssertionMethod = []string{method}, []string{method}
	}
	if s.Registry != "" {
		d.Service = []Service{{ID: s.DID + "#registry", Type: ServiceRegistry, ServiceEndpoint: s.Registry}}
	}
	return d
}

// Web is the did:web of a gateway (host:port, as members' gateways are known), with path segments below it. Loopback addresses, such as
// development networks have, are called localhost; other IP addresses have no did:web (ErrNoName).
func Web(gateway string, segments ...string) (string, error) {
	host, port, err := net.SplitHostPort(gateway)
	if err != nil {
		host, port = gateway, ""
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); ip != nil {
		if !ip.IsLoopback() {
			return "", fmt.Errorf("%w: %s", ErrNoName, host)
		}
		host = "localhost"
	}
	if !hostName(host) {
		return "", fmt.Errorf("%w: %q", ErrNoName, host)
	}
	id := webPrefix + strings.ToLower(host)
	if port != "" && port != "443" {
		id += "%3A" + port
	}
	for _, s := range segments {
		id += ":" + url.PathEscape(s)
	}
	return id, nil
}

// hostName tells whether a text can be the name of a host.
func hostName(s string) bool {
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

// URL is where the document of a did:web lies (did:web method §3.2): /.well-known/did.json of a host, or did.json below the path. The
// scheme is https; http for localhost alone. Errors wrap ErrMalformed.
func URL(id string) (string, error) {
	rest, ok := strings.CutPrefix(id, webPrefix)
	if !ok || rest == "" || len(id) > IdentifierBytesMax || strings.ContainsAny(rest, "/?#@\\ ") {
		return "", fmt.Errorf("%w: not a did:web", ErrMalformed)
	}
	parts := strings.Split(rest, ":")
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil || plain == "" || plain == "." || plain == ".." || strings.ContainsAny(plain, "/\\?#@") || strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return "", fmt.Errorf("%w: not a did:web", ErrMalformed)
		}
		parts[i] = plain
	}
	host, port, found := strings.Cut(parts[0], ":")
	if !hostName(host) || net.ParseIP(host) != nil || found && !digits(port) {
		return "", fmt.Errorf("%w: %w", ErrMalformed, ErrNoName)
	}
	u := url.URL{Scheme: "https", Host: parts[0], Path: "/.well-known/did.json"}
	if strings.EqualFold(host, "localhost") {
		u.Scheme = "http"
	}
	if len(parts) > 1 {
		u.Path = "/" + strings.Join(parts[1:], "/") + "/did.json"
	}
	return u.String(), nil
}

func digits(s string) bool {
	return s != "" && len(s) <= 5 && strings.Trim(s, "0123456789") == ""
}

// Keys are the keys that a document gives a relationship to its subject: those that count now.
func (d Document) Keys() (out []protocol.PublicKey, err error) {
	for _, m := range d.VerificationMethod {
		key, err := ParseMultibase(m.PublicKeyMultibase)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDocument, err)
		}
		if slices.Contains(d.AssertionMethod, m.ID) {
			out = append(out, key)
		}
	}
	return out, nil
}

// check says whether a document can be that of its DID.
func (d Document) check(id string) error {
	if d.ID != id {
		return fmt.Errorf("%w: it is of %q", ErrDocument, d.ID[:min(len(d.ID), 100)])
	}
	if len(d.Context) == 0 || d.Context[0] != contextDID {
		return fmt.Errorf("%w: its first context is not %s", ErrDocument, contextDID)
	}
	for _, m := range d.VerificationMethod {
		if !strings.HasPrefix(m.ID, id+"#") || m.Type != multikey {
			return fmt.Errorf("%w: a verification method is not of this subject, or no Multikey", ErrDocument)
		}
		if _, err := ParseMultibase(m.PublicKeyMultibase); err != nil {
			return fmt.Errorf("%w: %w", ErrDocument, err)
		}
	}
	return nil
}
