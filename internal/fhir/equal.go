package fhir

import (
	"bytes"
	"crypto/sha256"
	"slices"
)

// hashDomain separates resource hashes from every other SHA-256 of the system.
const hashDomain = "anamnesis/fhir/resource/v1\x00"

// canonicalDepthMax bounds Equal, Canonical and Hash; resources that Read accepts are within it.
const canonicalDepthMax = 512

// Equal reports whether two JSON values have the same content: members in any order, any white space and escapes,
// arrays in order, and numbers by their literal (FHIR R4 section 2.24.0.1: the precision of a decimal is part of its
// value, so 1.0 and 1.00 differ). Values that are not strict JSON equal nothing but their own bytes.
func Equal(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	ca, err := Canonical(a)
	if err != nil {
		return false
	}
	cb, err := Canonical(b)
	return err == nil && bytes.Equal(ca, cb)
}

// Hash is SHA-256("anamnesis/fhir/resource/v1" ‖ 0x00 ‖ Canonical(raw)): equal for values that are Equal.
// The error is a *Problem when raw is not strict JSON.
func Hash(raw []byte) ([32]byte, error) {
	c, err := Canonical(raw)
	if err != nil {
		return [32]byte{}, err
	}
	h := sha256.New()
	h.Write([]byte(hashDomain))
	h.Write(c)
	return [32]byte(h.Sum(nil)), nil
}

// Canonical writes a JSON value without white space, members sorted by name (as UTF-8 bytes), strings with the
// shortest escapes, numbers as they stand. It is RFC 8785 but for the order (bytes, not UTF-16) and numbers
// (literal, not ECMAScript): FHIR decimals must keep their precision. Errors are *Problem.
func Canonical(raw []byte) ([]byte, error) {
	var d doc
	if f := d.parse(raw, canonicalDepthMax); f != nil {
		return nil, &Problem{Entry: -1, Code: f.code, Reason: f.Error()}
	}
	return appendCanonical(make([]byte, 0, len(raw)), d.root()), nil
}

func appendCanonical(out []byte, v val) []byte {
	switch v.kind() {
	case kindObject:
		return appendObject(out, v)
	case kindArray:
		out = append(out, '[')
		for e := range v.children() {
			out = append(appendCanonical(out, e), ',')
		}
		return closeWith(out, '[', ']')
	case kindString:
		return appendText(out, v.bytes())
	}
	return append(out, v.raw()...)
}

func appendObject(out []byte, v val) []byte {
	type member struct {
		name string
		v    val
	}
	var members []member
	for m := range v.children() {
		members = append(members, member{m.key(), m})
	}
	slices.SortFunc(members, func(a, b member) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	out = append(out, '{')
	for _, m := range members {
		out = append(appendText(out, []byte(m.name)), ':')
		out = append(appendCanonical(out, m.v), ',')
	}
	return closeWith(out, '{', '}')
}

// closeWith replaces the comma after the last element by the closing bracket.
func closeWith(out []byte, open, closing byte) []byte {
	if out[len(out)-1] == open {
		return append(out, closing)
	}
	out[len(out)-1] = closing
	return out
}

func appendText(out, text []byte) []byte {
	out = append(out, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c >= 0x20:
			out = append(out, c)
		default:
			out = append(out, `\u00`...)
			out = append(out, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
	}
	return append(out, '"')
}
