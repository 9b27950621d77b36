package wallet

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
)

// redacted is what every attempt to print a secret shows.
const redacted = "[secret]"

// Secret is bytes that no printer shows: fmt with any verb, encoding/json, encoding/xml and log/slog all get "[secret]", also for values
// that hold a Secret somewhere inside. Reveal and Hex are the only ways out, and easy to search for. The zero Secret is empty.
type Secret struct{ veil[[]byte] }

// veil keeps a value from fmt, which calls no methods on unexported fields and prints those in full. It follows one pointer, too, when the
// verb does not suit (as %s for a pointer), so there are two.
type veil[T any] struct{ p **T }

func veiled[T any](v *T) veil[T] { return veil[T]{&v} }

func (v veil[T]) get() *T {
	if v.p == nil {
		return nil
	}
	return *v.p
}

// NewSecret copies b.
func NewSecret(b []byte) Secret {
	c := bytes.Clone(b)
	return Secret{veiled(&c)}
}

// Reveal returns a copy of the bytes.
func (s Secret) Reveal() []byte {
	if b := s.get(); b != nil {
		return bytes.Clone(*b)
	}
	return nil
}

// Hex returns the bytes as lowercase hexadecimal digits.
func (s Secret) Hex() string { return hex.EncodeToString(s.Reveal()) }

// IsZero tells whether the secret is empty.
func (s Secret) IsZero() bool { return len(s.Reveal()) == 0 }

// Equal compares in constant time (the lengths are not secret).
func (s Secret) Equal(t Secret) bool { return subtle.ConstantTimeCompare(s.Reveal(), t.Reveal()) == 1 }

// Wipe overwrites the bytes, for this copy of the Secret and all others made from it by assignment. Best effort: Go may have moved copies.
func (s Secret) Wipe() {
	if b := s.get(); b != nil {
		clear(*b)
		*b = nil
	}
}

// String, GoString, Format, MarshalText, MarshalJSON and LogValue show "[secret]".
func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// hidden makes what embeds it print as "[secret]".
type hidden struct{}

func (hidden) String() string               { return redacted }
func (hidden) GoString() string             { return redacted }
func (hidden) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (hidden) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (hidden) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (hidden) LogValue() slog.Value         { return slog.StringValue(redacted) }
