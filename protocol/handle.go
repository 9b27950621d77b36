package protocol

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"strings"
)

// LabelKey blinds the classes of one journal: whoever holds it can name the journal's classes, and cannot read anything with it.
type LabelKey [16]byte

// String hides the key; Handle.String is the way to write it down on purpose.
func (LabelKey) String() string { return "[label key]" }

// GoString hides the key from %#v.
func (LabelKey) GoString() string { return "[label key]" }

// Label is the class as the ledger sees it: HMAC-SHA-256(label key, "anamnesis/label/v1" ‖ epoch ‖ class), cut to 16 bytes.
func (k LabelKey) Label(epoch uint8, class string) Label {
	m := hmac.New(sha256.New, k[:])
	m.Write([]byte("anamnesis/label/v1"))
	m.Write([]byte{epoch})
	m.Write([]byte(class))
	var l Label
	copy(l[:], m.Sum(nil))
	return l
}

// Handle names a patient's data: the journal and the key of its labels. Its text form is Bech32m (BIP-350) with the prefix "anm",
// 65 characters of which six are a checksum that finds any four wrong ones; upper case is allowed as a whole, for QR codes.
type Handle struct {
	Journal JournalID
	Key     LabelKey
	Epoch   uint8 // which label key of the journal this is; a handle can be rotated
}

const (
	handlePrefix    = "anm"
	handleVersion   = 1
	handlePayload   = 2 + 16 + 16 // version, epoch, journal, key
	handleCharsMax  = 90
	bech32Charset   = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	bech32mConstant = 0x2bc830a3
)

// Label is the label of a class in this handle's journal and epoch.
func (h Handle) Label(class string) Label { return h.Key.Label(h.Epoch, class) }

// String is the text form. It is not secret from those who treat the patient, and it is not for the public either.
func (h Handle) String() string {
	p := make([]byte, 0, handlePayload)
	p = append(p, handleVersion, h.Epoch)
	p = append(p, h.Journal[:]...)
	p = append(p, h.Key[:]...)
	return bech32mEncode(handlePrefix, p)
}

// MarshalText implements encoding.TextMarshaler.
func (h Handle) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Handle) UnmarshalText(b []byte) (err error) { *h, err = ParseHandle(string(b)); return err }

// ParseHandle reads a handle's text form, as typed or scanned. The error wraps ErrBadHandle and says what to check.
func ParseHandle(s string) (Handle, error) {
	s = strings.TrimSpace(s)
	p, err := bech32mDecode(handlePrefix, s)
	if err != nil {
		return Handle{}, fmt.Errorf("%w: %w", ErrBadHandle, err)
	}
	if len(p) != handlePayload || p[0] != handleVersion {
		return Handle{}, fmt.Errorf("%w: made by a newer version, or not a handle", ErrBadHandle)
	}
	h := Handle{Epoch: p[1]}
	copy(h.Journal[:], p[2:18])
	copy(h.Key[:], p[18:])
	return h, nil
}

// bech32mEncode follows BIP-350; hrp is lowercase.
func bech32mEncode(hrp string, payload []byte) string {
	data := regroup(payload, 8, 5, true)
	sum := bech32Checksum(hrp, data)
	var b strings.Builder
	b.WriteString(hrp)
	b.WriteByte('1')
	for _, d := range append(data, sum...) {
		b.WriteByte(bech32Charset[d])
	}
	return b.String()
}

func bech32mDecode(hrp, s string) ([]byte, error) {
	if len(s) > handleCharsMax {
		return nil, fmt.Errorf("longer than %d characters", handleCharsMax)
	}
	lower := strings.ToLower(s)
	if s != lower && s != strings.ToUpper(s) {
		return nil, fmt.Errorf("capitals and small letters are mixed")
	}
	rest, ok := strings.CutPrefix(lower, hrp+"1")
	if !ok {
		return nil, fmt.Errorf("it does not begin with %q", hrp+"1")
	}
	if len(rest) < 6 {
		return nil, fmt.Errorf("too short")
	}
	data := make([]byte, len(rest))
	for i := range len(rest) {
		d := strings.IndexByte(bech32Charset, rest[i])
		if d < 0 {
			return nil, fmt.Errorf("character %d (%q) is never part of a handle", len(hrp)+2+i, rest[i])
		}
		data[i] = byte(d)
	}
	if bech32Polymod(hrp, data) != bech32mConstant {
		return nil, fmt.Errorf("the checksum does not match: at least one character is wrong")
	}
	payload := regroup(data[:len(data)-6], 5, 8, false)
	if payload == nil {
		return nil, fmt.Errorf("its padding is wrong")
	}
	return payload, nil
}

func bech32Checksum(hrp string, data []byte) []byte {
	mod := bech32Polymod(hrp, append(append([]byte{}, data...), 0, 0, 0, 0, 0, 0)) ^ bech32mConstant
	sum := make([]byte, 6)
	for i := range sum {
		sum[i] = byte(mod>>(5*(5-i))) & 31
	}
	return sum
}

func bech32Polymod(hrp string, data []byte) uint32 {
	gen := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	chk := uint32(1)
	step := func(v byte) {
		top := chk >> 25
		chk = (chk&0x1ffffff)<<5 ^ uint32(v)
		for i, g := range gen {
			if top>>i&1 == 1 {
				chk ^= g
			}
		}
	}
	for i := range len(hrp) {
		step(hrp[i] >> 5)
	}
	step(0)
	for i := range len(hrp) {
		step(hrp[i] & 31)
	}
	for _, d := range data {
		step(d)
	}
	return chk
}

// regroup turns groups of from bits into groups of to bits; without pad, left-over bits must be fewer than from and zero.
func regroup(in []byte, from, to uint, pad bool) []byte {
	var acc uint32
	var bits uint
	out := make([]byte, 0, len(in)*int(from)/int(to)+1)
	for _, b := range in {
		acc = acc<<from | uint32(b)
		bits += from
		for bits >= to {
			bits -= to
			out = append(out, byte(acc>>bits)&(1<<to-1))
		}
		acc &= 1<<bits - 1
	}
	switch {
	case pad && bits > 0:
		out = append(out, byte(acc<<(to-bits))&(1<<to-1))
	case !pad && (bits >= from || acc != 0):
		return nil
	}
	return out
}
