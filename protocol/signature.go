package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/cache"
)

// PublicKey is an Ed25519 public key (RFC 8032).
type PublicKey [ed25519.PublicKeySize]byte

// String is 64 hexadecimal digits.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// IsZero tells whether the key is unset.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// MarshalText implements encoding.TextMarshaler.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *PublicKey) UnmarshalText(b []byte) error {
	if len(b) != 2*len(k) || !isLowerHex(b) {
		return fmt.Errorf("%w: a public key is %d lowercase hexadecimal digits", ErrBadID, 2*len(k))
	}
	_, err := hex.Decode(k[:], b)
	return err
}

// SignatureRules is the one set of Ed25519 rules, the same for single, batch and offline checks, so that no two programs disagree on a
// crafted signature: the cofactored equation; A and R canonical; A not of small order; S < L.
var SignatureRules = &ed25519.VerifyOptions{
	AllowSmallOrderA:   false,
	AllowSmallOrderR:   true,
	AllowNonCanonicalA: false,
	AllowNonCanonicalR: false,
	CofactorlessVerify: false,
}

var signatureOptions = &ed25519.Options{Verify: SignatureRules}

// VerifySignature checks one signature by SignatureRules.
func VerifySignature(key PublicKey, message, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize && ed25519.VerifyWithOptions(key[:], message, signature, signatureOptions)
}

// Verifier checks envelopes in batches and remembers the expanded form of recent public keys (an optimisation of its owner alone: it
// remembers keys, never verdicts). Safe for concurrent use.
type Verifier struct{ keys *cache.Verifier }

// NewVerifier makes a verifier that remembers up to keys expanded public keys (about 1.5 kB each).
func NewVerifier(keys int) *Verifier {
	return &Verifier{keys: cache.NewVerifier(cache.NewLRUCache(keys))}
}

// Verified is an envelope whose bytes are canonical and whose signature holds. Only Verify makes one.
type Verified struct {
	ID       ActionID
	Body     Body
	Actions  []Action // decoded, same order as Body.Actions
	Envelope []byte   // as received; the canonical form is the only one accepted
}

// Verify decodes and checks envelopes. The i-th error is nil exactly if the i-th envelope holds; errors wrap ErrEncoding or ErrSignature.
// It is pure: no state is consulted, so it may run anywhere, any time, in any order.
func (v *Verifier) Verify(envelopes [][]byte) ([]*Verified, []error) {
	out := make([]*Verified, len(envelopes))
	errs := make([]error, len(envelopes))
	batch := ed25519.NewBatchVerifierWithCapacity(len(envelopes))
	var queued []int
	var messages [][]byte
	var signatures [][]byte
	for i, raw := range envelopes {
		e, signed, signature, err := openEnvelope(raw)
		if err != nil {
			errs[i] = err
			continue
		}
		out[i] = e
		queued, messages, signatures = append(queued, i), append(messages, signed), append(signatures, signature)
	}
	if len(queued) < 4 { // a batch of so few is slower than one by one
		for n, i := range queued {
			if !v.keys.VerifyWithOptions(out[i].Body.Signer.Key[:], messages[n], signatures[n], signatureOptions) {
				out[i], errs[i] = nil, ErrSignature
			}
		}
		return out, errs
	}
	for n, i := range queued {
		v.keys.AddWithOptions(batch, out[i].Body.Signer.Key[:], messages[n], signatures[n], signatureOptions)
	}
	if all, each := batch.Verify(nil); !all {
		for n, i := range queued {
			if !each[n] {
				out[i], errs[i] = nil, ErrSignature
			}
		}
	}
	return out, errs
}

// VerifyEnvelope checks one envelope; see Verifier.Verify.
func VerifyEnvelope(raw []byte) (*Verified, error) {
	e, signed, signature, err := openEnvelope(raw)
	if err != nil {
		return nil, err
	}
	if !VerifySignature(e.Body.Signer.Key, signed, signature) {
		return nil, ErrSignature
	}
	return e, nil
}

// actionID is SHA-256 of the COSE Sig_structure.
func actionID(signed []byte) ActionID { return sha256.Sum256(signed) }
