package protocol

import (
	"encoding/binary"
	"unicode/utf8"
)

// Structures of which a block has thousands encode and decode themselves, without reflection; the bytes are those of the general encoder,
// which a test and a fuzz target hold them to. What such a decoder does not take, for whatever reason, the general one judges: so it can
// only be too strict, at the price of time, and every error is the general decoder's.
type (
	// Appender is a structure that writes its own canonical encoding.
	Appender interface{ AppendCanonical(b []byte) []byte }
	// Canonical is a structure that reads what it wrote.
	Canonical interface {
		Appender
		ReadCanonical(r *Reader)
	}
)

// The major types of CBOR that are used here (RFC 8949 §3.1).
const (
	majorUint  = 0x00
	majorBytes = 0x40
	majorText  = 0x60
	majorArray = 0x80

	simpleFalse = 0xf4
	simpleTrue  = 0xf5
)

func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return append(b, major|25, byte(n>>8), byte(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// AppendArray appends the head of an array of n items, which follow.
func AppendArray(b []byte, n int) []byte { return appendHead(b, majorArray, uint64(n)) }

// AppendUint appends an unsigned number.
func AppendUint(b []byte, n uint64) []byte { return appendHead(b, majorUint, n) }

// AppendBytes appends a byte string.
func AppendBytes(b, s []byte) []byte { return append(appendHead(b, majorBytes, uint64(len(s))), s...) }

// AppendText appends a text string.
func AppendText(b []byte, s string) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

// AppendBool appends true or false.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, simpleTrue)
	}
	return append(b, simpleFalse)
}

// Reader reads canonical CBOR. The first thing that is not as expected sticks: from then on everything reads as zero.
type Reader struct {
	b   []byte
	bad bool
}

func (r *Reader) fail() { r.b, r.bad = nil, true }

// head reads the head of an item of the major type, in its shortest form.
func (r *Reader) head(major byte) uint64 {
	if len(r.b) == 0 || r.b[0]&0xe0 != major {
		r.fail()
		return 0
	}
	short := r.b[0] & 0x1f
	if short < 24 {
		r.b = r.b[1:]
		return uint64(short)
	}
	var n, least uint64
	size := 0
	switch {
	case short == 24 && len(r.b) > 1:
		n, least, size = uint64(r.b[1]), 24, 2
	case short == 25 && len(r.b) > 2:
		n, least, size = uint64(binary.BigEndian.Uint16(r.b[1:])), 1<<8, 3
	case short == 26 && len(r.b) > 4:
		n, least, size = uint64(binary.BigEndian.Uint32(r.b[1:])), 1<<16, 5
	case short == 27 && len(r.b) > 8:
		n, least, size = binary.BigEndian.Uint64(r.b[1:]), 1<<32, 9
	}
	if size == 0 || n < least {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *Reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// Array reads the head of an array that must have n items.
func (r *Reader) Array(n int) {
	if r.head(majorArray) != uint64(n) {
		r.fail()
	}
}

// Items reads the head of an array of at most most items, each of at least a byte.
func (r *Reader) Items(most int) int {
	n := r.head(majorArray)
	if n > uint64(most) || n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

// Uint reads a number of at most most.
func (r *Reader) Uint(most uint64) uint64 {
	n := r.head(majorUint)
	if n > most {
		r.fail()
		return 0
	}
	return n
}

// Fixed fills to with a byte string of exactly that length.
func (r *Reader) Fixed(to []byte) {
	if r.head(majorBytes) != uint64(len(to)) {
		r.fail()
		return
	}
	copy(to, r.take(uint64(len(to))))
}

// Bytes reads a byte string into memory of its own.
func (r *Reader) Bytes() []byte { return append([]byte{}, r.take(r.head(majorBytes))...) }

// Text reads a text string.
func (r *Reader) Text() string {
	s := r.take(r.head(majorText))
	if !utf8.Valid(s) {
		r.fail()
		return ""
	}
	return string(s)
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	if len(r.b) == 0 || r.b[0] != simpleFalse && r.b[0] != simpleTrue {
		r.fail()
		return false
	}
	v := r.b[0] == simpleTrue
	r.b = r.b[1:]
	return v
}

const (
	rawDepthMax = 3    // of items that Raw takes; the general decoder allows more, and judges those
	itemsMax    = 4096 // the general decoder's limit
)

// Raw reads one item of any kind used here and returns its bytes, which share the reader's memory.
func (r *Reader) Raw() []byte {
	start := r.b
	r.skip(rawDepthMax)
	n := len(start) - len(r.b)
	if r.bad {
		return nil
	}
	return start[:n:n]
}

func (r *Reader) skip(depth int) {
	if len(r.b) == 0 || depth == 0 {
		r.fail()
		return
	}
	switch major := r.b[0] & 0xe0; major {
	case majorUint:
		r.head(major)
	case majorBytes:
		r.take(r.head(major))
	case majorArray:
		for n := r.Items(itemsMax); n > 0 && !r.bad; n-- {
			r.skip(depth - 1)
		}
	case simpleFalse & 0xe0:
		r.Bool()
	default:
		r.fail()
	}
}

// done tells whether everything was as expected and nothing is left.
func (r *Reader) done() bool { return !r.bad && len(r.b) == 0 }

// decodeFast tries a structure's own decoder. If it fails, into may be half filled.
func decodeFast(data []byte, into any) bool {
	r := Reader{b: data}
	switch v := into.(type) {
	case Canonical:
		v.ReadCanonical(&r)
	case *[]Result:
		*v = readResults(&r)
	default:
		return false
	}
	return r.done()
}

// encodeFast appends a structure's own encoding, if it has one.
func encodeFast(v any) ([]byte, bool) {
	switch v := v.(type) {
	case Appender:
		return v.AppendCanonical(make([]byte, 0, 256)), true
	case []Result:
		return appendResults(make([]byte, 0, 2+64*len(v)), v), true
	}
	return nil, false
}
