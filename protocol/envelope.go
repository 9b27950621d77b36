package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Signer says who signs: in what capacity, under which id, with which key. The ledger checks that the key is that actor's current one.
// For a patient the id is the journal's.
type Signer struct {
	_    struct{} `cbor:",toarray"`
	Kind ActorKind
	ID   [16]byte
	Key  PublicKey
}

// MemberSigner, PractitionerSigner and PatientSigner make the three kinds of signer.
func MemberSigner(id MemberID, key PublicKey) Signer {
	return Signer{Kind: ActorMember, ID: id, Key: key}
}
func PractitionerSigner(id PractitionerID, key PublicKey) Signer {
	return Signer{Kind: ActorPractitioner, ID: id, Key: key}
}
func PatientSigner(id JournalID, key PublicKey) Signer {
	return Signer{Kind: ActorPatient, ID: id, Key: key}
}

// Member is the signer's id as a member's; the caller knows the kind.
func (s Signer) Member() MemberID { return MemberID(s.ID) }

// Body is what is signed.
type Body struct {
	_        struct{} `cbor:",toarray"`
	Version  uint16
	Chain    string    // the network's id
	Nonce    [16]byte  // random; also the salt of the entries' commitments, so it is served only with them
	NotAfter uint64    // UTC ms of block time; at most NotAfterMillisMax ahead
	Signer   Signer    //
	Journal  JournalID // the one journal that the actions touch; zero if none
	Actions  []RawAction
}

// RawAction is an action with its type number, still encoded.
type RawAction struct {
	_    struct{} `cbor:",toarray"`
	Type ActionType
	Body cbor.RawMessage
}

// An envelope is COSE_Sign1 (RFC 9052 §4.2) in exactly one form: tag 18, protected {1: -8} (EdDSA), unprotected {}, payload attached,
// 64-byte signature, external_aad = signatureContext. The constants spell that form out.
const signatureContext = "anamnesis/v1"

var (
	coseHead      = []byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x27, 0xa0} // tag 18, array of 4, protected, unprotected
	coseSignature = []byte{0x58, 0x40}                               // byte string of 64
	sigStructure  = append(append([]byte{0x84, 0x6a}, "Signature1"...), 0x43, 0xa1, 0x01, 0x27)
	sigAAD        = append([]byte{0x40 + byte(len(signatureContext))}, signatureContext...)
)

// Sign makes the envelope of a body; sign makes an Ed25519 signature of the message it is given, with the key named in body.Signer.
func Sign(body Body, sign func(message []byte) []byte) ([]byte, ActionID) {
	payload := Encode(body)
	signed := toBeSigned(payload)
	out := make([]byte, 0, len(coseHead)+5+len(payload)+2+64)
	out = append(out, coseHead...)
	out = AppendBytes(out, payload)
	out = append(out, coseSignature...)
	out = append(out, sign(signed)...)
	return out, actionID(signed)
}

// Pack encodes actions for a Body.
func Pack(actions ...Action) []RawAction {
	raw := make([]RawAction, len(actions))
	for i, a := range actions {
		raw[i] = RawAction{Type: a.ActionType(), Body: Encode(a)}
	}
	return raw
}

func toBeSigned(payload []byte) []byte {
	s := make([]byte, 0, len(sigStructure)+len(sigAAD)+5+len(payload))
	s = append(s, sigStructure...)
	s = append(s, sigAAD...)
	return AppendBytes(s, payload)
}

// cutBytes reads a byte string that must be in its shortest form.
func cutBytes(b []byte) (s, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	var n, head int
	switch c := b[0]; {
	case c >= 0x40 && c < 0x58:
		n, head = int(c-0x40), 1
	case c == 0x58 && len(b) >= 2 && b[1] >= 24:
		n, head = int(b[1]), 2
	case c == 0x59 && len(b) >= 3 && b[1] != 0:
		n, head = int(b[1])<<8|int(b[2]), 3
	case c == 0x5a && len(b) >= 5 && (b[1] != 0 || b[2] != 0):
		n, head = int(binary.BigEndian.Uint32(b[1:])), 5
	default:
		return nil, nil, false
	}
	if n < 0 || len(b)-head < n {
		return nil, nil, false
	}
	return b[head : head+n], b[head+n:], true
}

// openEnvelope takes an envelope apart without checking its signature.
func openEnvelope(raw []byte) (v *Verified, signed, signature []byte, err error) {
	if len(raw) > EnvelopeBytesMax {
		return nil, nil, nil, fmt.Errorf("%w: an envelope has at most %d bytes", ErrEncoding, EnvelopeBytesMax)
	}
	rest, ok := bytes.CutPrefix(raw, coseHead)
	if !ok {
		return nil, nil, nil, fmt.Errorf("%w: not a COSE_Sign1 of the one form that is used here", ErrEncoding)
	}
	payload, rest, ok := cutBytes(rest)
	if !ok || len(rest) != 2+64 || !bytes.HasPrefix(rest, coseSignature) {
		return nil, nil, nil, fmt.Errorf("%w: a COSE_Sign1 with payload and a 64-byte signature is expected", ErrEncoding)
	}
	v = &Verified{Envelope: raw}
	if err := Decode(payload, &v.Body); err != nil {
		return nil, nil, nil, err
	}
	if v.Actions, err = v.Body.unpack(); err != nil {
		return nil, nil, nil, err
	}
	signed = toBeSigned(payload)
	v.ID = actionID(signed)
	return v, signed, rest[2:], nil
}

func (b *Body) unpack() ([]Action, error) {
	if n := len(b.Actions); n == 0 || n > EnvelopeActionsMax {
		return nil, fmt.Errorf("%w: an envelope holds 1 to %d actions", ErrEncoding, EnvelopeActionsMax)
	}
	if !b.Signer.Kind.Valid() {
		return nil, fmt.Errorf("%w: unknown kind of signer", ErrEncoding)
	}
	if len(b.Chain) == 0 || len(b.Chain) > ChainBytesMax {
		return nil, fmt.Errorf("%w: a network's id has 1 to %d bytes", ErrEncoding, ChainBytesMax)
	}
	out := make([]Action, len(b.Actions))
	for i, raw := range b.Actions {
		a := newAction(raw.Type)
		if a == nil {
			return nil, fmt.Errorf("%w: unknown action type %d", ErrEncoding, raw.Type)
		}
		if err := Decode(raw.Body, a); err != nil {
			return nil, fmt.Errorf("action %d (%s): %w", i, raw.Type, err)
		}
		if err := a.Validate(); err != nil {
			return nil, fmt.Errorf("action %d (%s): %w: %w", i, raw.Type, ErrEncoding, err)
		}
		out[i] = a
	}
	return out, nil
}

// EncodeParcel joins envelopes into one transaction of the engine: a CBOR array of byte strings.
func EncodeParcel(envelopes [][]byte) []byte {
	var out []byte
	if n := len(envelopes); n < 24 {
		out = append(out, 0x80|byte(n))
	} else {
		out = append(out, 0x98, byte(n))
	}
	for _, e := range envelopes {
		out = AppendBytes(out, e)
	}
	return out
}

// DecodeParcel splits a parcel; the envelopes share its memory. Errors wrap ErrEncoding.
func DecodeParcel(parcel []byte) ([][]byte, error) {
	bad := func(why string) ([][]byte, error) { return nil, fmt.Errorf("%w: parcel: %s", ErrEncoding, why) }
	if len(parcel) == 0 || len(parcel) > ParcelBytesMax {
		return bad(fmt.Sprintf("between 1 and %d bytes", ParcelBytesMax))
	}
	var n int
	var rest []byte
	switch c := parcel[0]; {
	case c > 0x80 && c < 0x98:
		n, rest = int(c-0x80), parcel[1:]
	case c == 0x98 && len(parcel) > 1 && parcel[1] >= 24:
		n, rest = int(parcel[1]), parcel[2:]
	default:
		return bad("not an array of envelopes")
	}
	if n > ParcelEnvelopesMax {
		return bad(fmt.Sprintf("more than %d envelopes", ParcelEnvelopesMax))
	}
	out := make([][]byte, n)
	for i := range out {
		e, r, ok := cutBytes(rest)
		if !ok {
			return bad("an envelope is not a byte string in shortest form")
		}
		out[i], rest = e, r
	}
	if len(rest) != 0 {
		return bad("bytes after the last envelope")
	}
	return out, nil
}

// Commit is the commitment that an entry's leaf holds: SHA-256("anamnesis/leaf/v1" ‖ salt ‖ entry bytes). Without the salt, which is
// served with the entry, the leaf says nothing about it.
func Commit(salt [16]byte, entry []byte) Hash {
	h := sha256.New()
	h.Write([]byte("anamnesis/leaf/v1"))
	h.Write(salt[:])
	h.Write(entry)
	var out Hash
	h.Sum(out[:0])
	return out
}
