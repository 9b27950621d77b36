package fhir

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// This file is a strict JSON reader (RFC 8259) over one value in memory. It builds a flat list of nodes that point
// into the source, so that a resource is parsed once, nothing is copied, and number literals stay as they were
// written (FHIR: 1.0 and 1.00 are different values).

type kind uint8

const (
	kindNone kind = iota
	kindObject
	kindArray
	kindString
	kindNumber
	kindTrue
	kindFalse
	kindNull
)

// node is one JSON value. at:end is its text (without quotes for a string), keyAt:keyEnd its member name in the
// enclosing object. The nodes of a value's subtree follow it; next is the index behind them.
type node struct {
	kind       kind
	escaped    bool // the string holds a backslash
	keyEscaped bool
	keyAt      uint32
	keyEnd     uint32
	at         uint32
	end        uint32
	next       uint32
}

// nodesMax bounds the memory of one parsed resource (28 bytes a node).
const nodesMax = 1 << 20

// membersLinearMax is how many members an object may have before duplicates are looked for in a map.
const membersLinearMax = 24

// fault is a parse error: what, where.
type fault struct {
	code   Code
	offset int
	reason string
}

func (f *fault) Error() string { return fmt.Sprintf("%s at byte %d", f.reason, f.offset) }

// doc is one parsed JSON value. The zero doc is ready; parse may be called again to reuse its memory.
type doc struct {
	src      []byte
	nodes    []node
	pos      int
	depthMax int
}

// parse reads src, which must be exactly one JSON value with optional white space around it.
func (d *doc) parse(src []byte, depthMax int) *fault {
	d.src, d.nodes, d.pos, d.depthMax = src, d.nodes[:0], 0, depthMax
	if int64(len(src)) > 1<<31 { // spans are 32 bits
		return &fault{CodeTooLarge, 0, "value over 2 GiB"}
	}
	if !utf8.Valid(src) {
		return &fault{CodeEncoding, firstInvalid(src), "bytes that are not UTF-8"}
	}
	d.space()
	if f := d.value(node{}, 0); f != nil {
		return f
	}
	d.space()
	if d.pos != len(src) {
		return d.fail(CodeTrailing, "data after the value")
	}
	return nil
}

func firstInvalid(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

func (d *doc) fail(code Code, reason string) *fault {
	return &fault{code, d.pos, reason}
}

func (d *doc) unexpected(wanted string) *fault {
	if d.pos >= len(d.src) {
		return d.fail(CodeTruncated, "ends where "+wanted+" should be")
	}
	return d.fail(CodeSyntax, fmt.Sprintf("%q where %s should be", d.src[d.pos], wanted))
}

func (d *doc) space() {
	for d.pos < len(d.src) {
		switch d.src[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

func (d *doc) peek() byte {
	if d.pos < len(d.src) {
		return d.src[d.pos]
	}
	return 0
}

// value reads one value; n carries the member name it stands under.
func (d *doc) value(n node, depth int) *fault {
	if len(d.nodes) >= nodesMax {
		return d.fail(CodeTooLarge, "more than "+strconv.Itoa(nodesMax)+" values in one resource")
	}
	n.at = uint32(d.pos)
	switch c := d.peek(); c {
	case '{':
		n.kind = kindObject
		return d.container(n, depth, d.members)
	case '[':
		n.kind = kindArray
		return d.container(n, depth, d.elements)
	case '"':
		n.kind = kindString
		at, end, escaped, f := d.text()
		n.at, n.end, n.escaped = uint32(at), uint32(end), escaped
		return d.leaf(n, f)
	case 't':
		n.kind = kindTrue
		return d.leaf(n, d.word(&n, "true"))
	case 'f':
		n.kind = kindFalse
		return d.leaf(n, d.word(&n, "false"))
	case 'n':
		n.kind = kindNull
		return d.leaf(n, d.word(&n, "null"))
	default:
		if c != '-' && (c < '0' || c > '9') {
			return d.unexpected("a value")
		}
		n.kind = kindNumber
		f := d.number()
		n.end = uint32(d.pos)
		return d.leaf(n, f)
	}
}

func (d *doc) leaf(n node, f *fault) *fault {
	if f != nil {
		return f
	}
	n.next = uint32(len(d.nodes) + 1)
	d.nodes = append(d.nodes, n)
	return nil
}

func (d *doc) container(n node, depth int, fill func(self, depth int) *fault) *fault {
	if depth >= d.depthMax {
		return d.fail(CodeTooDeep, "nested deeper than "+strconv.Itoa(d.depthMax))
	}
	self := len(d.nodes)
	d.nodes = append(d.nodes, n)
	d.pos++ // the opening bracket
	if f := fill(self, depth+1); f != nil {
		return f
	}
	d.nodes[self].end = uint32(d.pos)
	d.nodes[self].next = uint32(len(d.nodes))
	return nil
}

func (d *doc) members(self, depth int) *fault {
	var seen map[string]struct{}
	for count := 0; ; count++ {
		d.space()
		if count == 0 && d.peek() == '}' {
			d.pos++
			return nil
		}
		if d.peek() != '"' {
			return d.unexpected("a member name")
		}
		at, end, escaped, f := d.text()
		if f != nil {
			return f
		}
		n := node{keyAt: uint32(at), keyEnd: uint32(end), keyEscaped: escaped}
		if d.isDuplicate(self, n, count, &seen) {
			return &fault{CodeDuplicateKey, at, fmt.Sprintf("member %.64q twice", d.keyText(n))}
		}
		d.space()
		if d.peek() != ':' {
			return d.unexpected("':'")
		}
		d.pos++
		d.space()
		if f := d.value(n, depth); f != nil {
			return f
		}
		d.space()
		switch d.peek() {
		case ',':
			d.pos++
		case '}':
			d.pos++
			return nil
		default:
			return d.unexpected("',' or '}'")
		}
	}
}

// isDuplicate looks among the members of the object at self that are already read.
func (d *doc) isDuplicate(self int, n node, count int, seen *map[string]struct{}) bool {
	name := d.keyText(n)
	if count >= membersLinearMax {
		if *seen == nil {
			*seen = make(map[string]struct{}, 2*membersLinearMax)
			for i := self + 1; i < len(d.nodes); i = int(d.nodes[i].next) {
				(*seen)[d.keyText(d.nodes[i])] = struct{}{}
			}
		}
		_, dup := (*seen)[name]
		(*seen)[name] = struct{}{}
		return dup
	}
	for i := self + 1; i < len(d.nodes); i = int(d.nodes[i].next) {
		if d.hasKey(d.nodes[i], name) {
			return true
		}
	}
	return false
}

func (d *doc) elements(_, depth int) *fault {
	for first := true; ; first = false {
		d.space()
		if first && d.peek() == ']' {
			d.pos++
			return nil
		}
		if f := d.value(node{}, depth); f != nil {
			return f
		}
		d.space()
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			return nil
		default:
			return d.unexpected("',' or ']'")
		}
	}
}

func (d *doc) word(n *node, w string) *fault {
	if len(d.src)-d.pos < len(w) || string(d.src[d.pos:d.pos+len(w)]) != w {
		return d.unexpected("a value")
	}
	d.pos += len(w)
	n.end = uint32(d.pos)
	return nil
}

// number reads RFC 8259 section 6.
func (d *doc) number() *fault {
	if d.peek() == '-' {
		d.pos++
	}
	switch {
	case d.peek() == '0':
		d.pos++
	case !d.digits():
		return d.unexpected("a digit")
	}
	if d.peek() == '.' {
		d.pos++
		if !d.digits() {
			return d.unexpected("a digit")
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		d.pos++
		if c := d.peek(); c == '+' || c == '-' {
			d.pos++
		}
		if !d.digits() {
			return d.unexpected("a digit")
		}
	}
	return nil
}

func (d *doc) digits() bool {
	start := d.pos
	for d.pos < len(d.src) && d.src[d.pos]-'0' <= 9 {
		d.pos++
	}
	return d.pos > start
}

// plain marks the bytes that need no thought inside a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

// text reads a string and gives the span between its quotes.
func (d *doc) text() (at, end int, escaped bool, f *fault) {
	d.pos++
	at = d.pos
	for {
		i, src := d.pos, d.src
		for i < len(src) && plain[src[i]] {
			i++
		}
		d.pos = i
		switch {
		case i >= len(src):
			return 0, 0, false, d.fail(CodeTruncated, "ends inside a string")
		case src[i] == '"':
			d.pos++
			return at, i, escaped, nil
		case src[i] == '\\':
			escaped = true
			if f := d.escape(); f != nil {
				return 0, 0, false, f
			}
		default:
			return 0, 0, false, d.fail(CodeSyntax, fmt.Sprintf("control character 0x%02x in a string", src[i]))
		}
	}
}

// escape checks one escape sequence. A surrogate must have its other half: FHIR strings are Unicode text.
func (d *doc) escape() *fault {
	rest := d.src[d.pos:]
	if len(rest) < 2 {
		return d.fail(CodeTruncated, "ends inside an escape")
	}
	if rest[1] != 'u' {
		if unescaped(rest[1]) == 0 {
			return d.fail(CodeSyntax, "unknown escape in a string")
		}
		d.pos += 2
		return nil
	}
	r, ok := hex4(rest[2:])
	if !ok {
		return d.fail(CodeSyntax, "\\u without four hexadecimal digits")
	}
	if !utf16.IsSurrogate(r) {
		d.pos += 6
		return nil
	}
	if len(rest) >= 12 && rest[6] == '\\' && rest[7] == 'u' {
		if low, ok := hex4(rest[8:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
			d.pos += 12
			return nil
		}
	}
	return d.fail(CodeEncoding, "half of a surrogate pair")
}

func unescaped(c byte) byte {
	switch c {
	case '"', '\\', '/':
		return c
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return 0
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape decodes the text between the quotes of a string that text has accepted.
func unescape(b []byte) string {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != '\\' {
			out = append(out, b[i])
			i++
			continue
		}
		if b[i+1] != 'u' {
			out = append(out, unescaped(b[i+1]))
			i += 2
			continue
		}
		r, _ := hex4(b[i+2:])
		i += 6
		if utf16.IsSurrogate(r) {
			low, _ := hex4(b[i+2:])
			r = utf16.DecodeRune(r, low)
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

func (d *doc) keyText(n node) string {
	if n.keyEscaped {
		return unescape(d.src[n.keyAt:n.keyEnd])
	}
	return string(d.src[n.keyAt:n.keyEnd])
}

func (d *doc) hasKey(n node, name string) bool {
	if n.keyEscaped {
		return d.keyText(n) == name
	}
	return string(d.src[n.keyAt:n.keyEnd]) == name
}
