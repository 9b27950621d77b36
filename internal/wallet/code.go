package wallet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/scrypt"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Code is a short secret that people read out, print and type: 80 random bits as 16 characters of Crockford's base 32, then two that
// check them. It prints as "[secret]".
type Code struct {
	secret Secret
	hidden
}

// ErrCode means that a code was mistyped.
var ErrCode = errors.New("not a valid code")

const (
	codeBytes    = 10
	codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeModulus  = 1021 // the largest prime of ten bits: one character wrong, or two neighbours swapped, never goes unnoticed
	codeLogN     = 15   // scrypt's work factor: 80 bits need no more
)

// NewCode draws a code.
func NewCode() Code {
	b := make([]byte, codeBytes)
	_, _ = rand.Read(b)
	defer clear(b)
	return Code{secret: NewSecret(b)}
}

// ParseCode reads a code as people type it: in either case, O for 0, I and L for 1, with spaces and hyphens anywhere. The error wraps
// ErrCode and never repeats what was typed.
func ParseCode(text string) (Code, error) {
	value, n := new(big.Int), 0
	for _, r := range strings.ToUpper(text) {
		switch r {
		case ' ', '-', '\t':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		digit := strings.IndexRune(codeAlphabet, r)
		if digit < 0 {
			return Code{}, fmt.Errorf("%w: letters and digits only, and no U", ErrCode)
		}
		if n++; n > 18 {
			break
		}
		value.Add(value.Lsh(value, 5), big.NewInt(int64(digit)))
	}
	if n != 18 {
		return Code{}, fmt.Errorf("%w: it has 18 characters", ErrCode)
	}
	check := new(big.Int).And(value, big.NewInt(1023)).Int64()
	value.Rsh(value, 10)
	if check != codeCheck(value) {
		return Code{}, fmt.Errorf("%w: a character is wrong, or two are swapped", ErrCode)
	}
	b := value.FillBytes(make([]byte, codeBytes))
	defer clear(b)
	return Code{secret: NewSecret(b)}, nil
}

func codeCheck(value *big.Int) int64 {
	return new(big.Int).Mod(value, big.NewInt(codeModulus)).Int64()
}

// Reveal is the code as it is printed: XXXXX-XXXX-XXXXX-XXXX.
func (c Code) Reveal() string {
	value := new(big.Int).SetBytes(c.secret.Reveal())
	check := codeCheck(value)
	value.Add(value.Lsh(value, 10), big.NewInt(check))
	out := make([]byte, 18)
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = codeAlphabet[new(big.Int).And(value, big.NewInt(31)).Int64()]
		value.Rsh(value, 5)
	}
	return fmt.Sprintf("%s-%s-%s-%s", out[:5], out[5:9], out[9:14], out[14:])
}

// IsZero tells whether there is no code.
func (c Code) IsZero() bool { return c.secret.IsZero() }

// derive makes length secret bytes from the code for one use, which salt names: scrypt (RFC 7914) with N = 2^15, r = 8, p = 1.
func (c Code) derive(length int, salt string) []byte {
	out, err := scrypt.Key(c.secret.Reveal(), []byte(salt), 1<<codeLogN, 8, 1, length)
	if err != nil {
		panic("wallet: scrypt: " + err.Error()) // only for parameters that make no sense
	}
	return out
}

func newNonce() []byte {
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	_, _ = rand.Read(nonce)
	return nonce
}

// sealHandle is how a handle lies where whoever has the code finds it: the nonce, then XChaCha20-Poly1305 of its text with the name under
// which it is kept as additional data, so that it does not open under another name.
func sealHandle(key, nonce, name []byte, h protocol.Handle) []byte {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic("wallet: " + err.Error()) // only for a key of another length
	}
	return aead.Seal(slices.Clip(nonce), nonce, []byte(h.String()), name)
}

// openHandle opens what sealHandle sealed, of at most bytesMax bytes.
func openHandle(key, name, sealed []byte, bytesMax int) (h protocol.Handle, ok bool) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil || len(sealed) < aead.NonceSize() || len(sealed) > bytesMax {
		return h, false
	}
	text, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], name)
	if err != nil {
		return h, false
	}
	h, err = protocol.ParseHandle(string(text))
	return h, err == nil
}
