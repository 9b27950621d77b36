package c2sp

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"strconv"

	"golang.org/x/mod/sumdb/note"
)

// Signature is one signature line of a note: `— name base64(key id ‖ bytes)`.
type Signature = note.Signature

// LogKey signs checkpoints as the log: Ed25519 over the checkpoint's text,
// signature type 0x01 (c2sp.org/tlog-checkpoint). Its name is the origin.
type LogKey struct {
	verifier VerifierKey
	private  ed25519.PrivateKey
}

// NewLogKey makes the log key of a node. The same Ed25519 key must not serve as
// its cosigner key.
func NewLogKey(origin string, private ed25519.PrivateKey) (*LogKey, error) {
	v, err := verifierOf(origin, KeyEd25519, private)
	if err != nil {
		return nil, err
	}
	return &LogKey{verifier: v, private: private}, nil
}

// Verifier is the public half.
func (k *LogKey) Verifier() VerifierKey { return k.verifier }

// Sign signs a checkpoint of the key's own origin.
func (k *LogKey) Sign(c Checkpoint) (Signature, error) {
	if c.Origin != k.verifier.Name {
		return Signature{}, ErrOrigin{Have: c.Origin, Want: k.verifier.Name}
	}
	if err := c.validate(); err != nil {
		return Signature{}, err
	}
	return signatureLine(k.verifier, ed25519.Sign(k.private, []byte(c.Text()))), nil
}

// CosignKey cosigns checkpoints: Ed25519 over the time and the checkpoint's
// text, signature type 0x04 (c2sp.org/tlog-cosignature). It signs what it is
// given: the rules of when to sign belong to who holds it.
type CosignKey struct {
	verifier VerifierKey
	private  ed25519.PrivateKey
}

// NewCosignKey makes the cosigner key of a node under the node's name. A
// cosignature does not bind the name, so one key must never have two.
func NewCosignKey(name string, private ed25519.PrivateKey) (*CosignKey, error) {
	v, err := verifierOf(name, KeyCosignatureV1, private)
	if err != nil {
		return nil, err
	}
	return &CosignKey{verifier: v, private: private}, nil
}

// Verifier is the public half.
func (k *CosignKey) Verifier() VerifierKey { return k.verifier }

// Cosign states that at time now (UTC milliseconds; whole seconds are signed)
// c is the largest consistent tree that the holder has seen of its log.
func (k *CosignKey) Cosign(c Checkpoint, now uint64) (Signature, error) {
	if err := c.validate(); err != nil {
		return Signature{}, err
	}
	if now > timeMillisMax {
		return Signature{}, malformed("cosignature", 0, "time after year 9999")
	}
	seconds := now / 1000
	raw := binary.BigEndian.AppendUint64(nil, seconds)
	raw = append(raw, ed25519.Sign(k.private, cosignedMessage(seconds, []byte(c.Text())))...)
	return signatureLine(k.verifier, raw), nil
}

func verifierOf(name string, t KeyType, private ed25519.PrivateKey) (VerifierKey, error) {
	if len(private) != ed25519.PrivateKeySize {
		return VerifierKey{}, malformed("signing key", 0, "not an Ed25519 private key")
	}
	return NewVerifierKey(name, t, private.Public().(ed25519.PublicKey))
}

func signatureLine(k VerifierKey, raw []byte) Signature {
	b := append(binary.BigEndian.AppendUint32(nil, k.ID()), raw...)
	return Signature{Name: k.Name, Hash: k.ID(), Base64: base64.StdEncoding.EncodeToString(b)}
}

// cosignedMessage is the text an Ed25519 cosignature signs
// (c2sp.org/tlog-cosignature, "Ed25519 signed message").
func cosignedMessage(seconds uint64, text []byte) []byte {
	m := []byte("cosignature/v1\ntime ")
	m = strconv.AppendUint(m, seconds, 10)
	m = append(m, '\n')
	return append(m, text...)
}

const cosignatureBytes = 8 + ed25519.SignatureSize

func verifyCosignature(public ed25519.PublicKey, text, sig []byte) bool {
	if len(sig) != cosignatureBytes {
		return false
	}
	seconds := binary.BigEndian.Uint64(sig)
	if seconds > timeMillisMax/1000 {
		return false
	}
	return ed25519.Verify(public, cosignedMessage(seconds, text), sig[8:])
}

// CosignatureTime is when a cosignature says it was made, in UTC milliseconds.
// It means nothing before the signature was verified.
func CosignatureTime(s Signature) (uint64, error) {
	raw, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil || len(raw) != 4+cosignatureBytes {
		return 0, malformed("cosignature", 0, "want %d bytes", 4+cosignatureBytes)
	}
	seconds := binary.BigEndian.Uint64(raw[4:])
	if seconds > timeMillisMax/1000 {
		return 0, malformed("cosignature", 0, "time after year 9999")
	}
	return seconds * 1000, nil
}
