package fhir

import (
	"bytes"
	"errors"
	"io"
)

// stream is a window that moves over the input. It finds where JSON values end (strings, brackets) without judging
// them: the strict parser does that value by value, so that one broken entry does not take its file with it.
type stream struct {
	r      io.Reader
	buf    []byte
	pos    int   // next byte
	end    int   // end of what is read
	kept   int   // buf[kept:] must survive refills; −1: nothing
	bytes  int64 // read so far
	max    int64 // bytes allowed
	sticky error // io.EOF, errTooLarge or the reader's error
}

const windowBytes = 256 << 10

var errTooLarge = errors.New("more bytes than allowed")

func newStream(r io.Reader, limit int64) *stream {
	return &stream{r: r, buf: make([]byte, windowBytes), kept: -1, max: limit}
}

// more makes at least one byte available at pos. When it returns false, sticky says why.
func (s *stream) more() bool {
	if s.pos < s.end {
		return true
	}
	if s.sticky != nil {
		return false
	}
	s.makeRoom()
	for tries := 0; tries < 100; tries++ {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		s.bytes += int64(n)
		s.sticky = err
		if over := s.bytes - s.max; over > 0 {
			s.end -= int(over) // what is over the limit is as if it had not come
			s.sticky = errTooLarge
			return s.pos < s.end
		}
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	s.sticky = io.ErrNoProgress
	return false
}

// makeRoom drops what nobody holds and grows the window when a held value fills it.
func (s *stream) makeRoom() {
	from := s.end
	if s.kept >= 0 {
		from = s.kept
		s.kept = 0
	}
	copy(s.buf, s.buf[from:s.end])
	s.pos -= from
	s.end -= from
	if s.end == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
}

// peek is the next byte, 0 at the end.
func (s *stream) peek() byte {
	if !s.more() {
		return 0
	}
	return s.buf[s.pos]
}

func (s *stream) space() {
	for s.more() {
		i := s.pos
		for i < s.end && (s.buf[i] == ' ' || s.buf[i] == '\t' || s.buf[i] == '\n' || s.buf[i] == '\r') {
			i++
		}
		s.pos = i
		if i < s.end {
			return
		}
	}
}

// hold starts keeping bytes at pos; take ends it.
func (s *stream) hold() { s.kept = s.pos }

// take copies what was read since hold.
func (s *stream) take() []byte {
	out := bytes.Clone(s.buf[s.kept:s.pos])
	s.kept = -1
	return out
}

// skim states for skipping one value.
const (
	skimPlain  = iota // outside strings
	skimString        // inside a string
	skimEscape        // behind a backslash
)

// structural marks what matters outside strings.
var structural = [256]bool{'{': true, '}': true, '[': true, ']': true, '"': true, ',': true,
	' ': true, '\t': true, '\n': true, '\r': true}

// skim moves behind the value at pos and reports whether it got there before the input ended. When more than
// keepMax bytes are held on the way it lets go of them (held turns false) and skips the rest of the value.
func (s *stream) skim(keepMax int) (complete bool) {
	depth, state := 0, skimPlain
	for s.more() {
		depth, state, complete = s.skimWindow(depth, state)
		s.letGo(keepMax)
		if complete {
			return true
		}
	}
	return false
}

func (s *stream) letGo(keepMax int) {
	if s.kept >= 0 && s.pos-s.kept > keepMax {
		s.kept = -1
	}
}

func (s *stream) held() bool { return s.kept >= 0 }

// skimWindow goes on within the bytes at hand.
func (s *stream) skimWindow(depth, state int) (int, int, bool) {
	b := s.buf[:s.end]
	i := s.pos
	for i < len(b) {
		switch state {
		case skimString:
			for i < len(b) && b[i] != '"' && b[i] != '\\' {
				i++
			}
			if i == len(b) {
				continue
			}
			state = skimEscape
			if b[i] == '"' {
				state = skimPlain
				if depth == 0 {
					s.pos = i + 1
					return depth, state, true
				}
			}
			i++
		case skimEscape:
			state = skimString
			i++
		default:
			for i < len(b) && !structural[b[i]] {
				i++
			}
			if i == len(b) {
				continue
			}
			switch b[i] {
			case '"':
				state = skimString
			case '{', '[':
				depth++
			case '}', ']':
				if depth == 0 { // end of what encloses a number or word
					s.pos = i
					return depth, state, true
				}
				depth--
				if depth == 0 {
					s.pos = i + 1
					return depth, state, true
				}
			default: // comma or space ends a number or word
				if depth == 0 {
					s.pos = i
					return depth, state, true
				}
			}
			i++
		}
	}
	s.pos = i
	return depth, state, false
}

// line moves behind the next newline, or to the end of the input; holding as in skim.
func (s *stream) line(keepMax int) {
	for s.more() {
		i := bytes.IndexByte(s.buf[s.pos:s.end], '\n')
		if i >= 0 {
			s.pos += i + 1
		} else {
			s.pos = s.end
		}
		s.letGo(keepMax)
		if i >= 0 {
			return
		}
	}
}
