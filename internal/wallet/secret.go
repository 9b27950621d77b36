package wallet

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
)

// redacted is what every attempt to print a secret shows.
const redacted = "[secret]"

// Secret is 16 to 32 bytes that no printer shows: fmt with any verb, encoding/json, encoding/xml and log/slog all get "[secret]".
//
// The bytes lie behind a pointer because fmt calls no methods on unexported fields: a struct somewhere that holds a Secret unexported
// prints an address, never the bytes. Reveal and Hex are the only ways out, and are easy to search for. The zero Secret is empty.
type Secret struct{ p *[]byte }

// NewSecret copies b.
func NewSecret(b []byte) Secret {
	c := append([]byte(nil), b...)
	return Secret{&c}
}

// Reveal returns a copy of the bytes.
func (s Secret) Reveal() []byte {
	if s.p == nil {
		return nil
	}
	return append([]byte(nil), *s.p...)
}

// Hex returns the bytes as lowercase hexadecimal digits.
func (s Secret) Hex() string { return hex.EncodeToString(s.Reveal()) }

// IsZero tells whether the secret is empty.
func (s Secret) IsZero() bool { return s.p == nil || len(*s.p) == 0 }

// Equal compares in constant time (the lengths are not secret).
func (s Secret) Equal(t Secret) bool { return subtle.ConstantTimeCompare(s.Reveal(), t.Reveal()) == 1 }

// Wipe overwrites the bytes, for this copy of the Secret and all others made from it by assignment. Best effort: Go may have moved copies.
func (s Secret) Wipe() {
	if s.p != nil {
		clear(*s.p)
		*s.p = nil
	}
}

// String, GoString, Format, MarshalText, MarshalJSON and LogValue show "[secret]".
func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
