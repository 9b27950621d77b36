package proof

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// The container is a POSIX ustar archive, the one that Write makes: stock tar opens it, and a reader that compares each header with the
// canonical one and each padding byte with zero leaves no byte that could change unnoticed.

const (
	block     = 512
	timeMax   = 1<<33 - 1 // what a ustar header's eleven octal digits carry, seconds
	dirPrefix = "anamnesis-"
	records   = "records/"
	extFile   = ".age"
	extNone   = ".missing"
	fileBytes = protocol.RecordFileBytesMax
)

// dirOf is the folder that the archive's files are in, so that unpacking it makes one folder.
func dirOf(journal protocol.JournalID) string { return dirPrefix + journal.String() + "/" }

// header is the canonical header of a file: a regular file, mode 0644, no owner.
func header(name string, size int64, seconds uint64) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644,
		ModTime: time.Unix(int64(min(seconds, timeMax)), 0).UTC(), Format: tar.FormatUSTAR})
	if err != nil || b.Len() != block {
		return nil, fmt.Errorf("proof: %s has no plain header: %w", name, err)
	}
	return b.Bytes(), nil
}

func padding(size int64) int64 { return (block - size%block) % block }

// member is a file of the archive as its header has it.
type member struct {
	name string
	size int64
}

// reader reads an archive front to back.
type reader struct {
	r       io.Reader
	started bool
	seconds uint64 // of the first header
	dir     string // of the first header
}

// Ways in which an archive ends.
var (
	errEnd       = errors.New("the end of the archive")
	errTruncated = errors.New("the file ends early")
	errHeader    = errors.New("a header does not parse")
	errNewer     = errors.New("a newer program made this export")
)

// next reads a header. odd says what is not canonical about it though it can be read; err is errEnd, errTruncated, errHeader or the
// reader's own.
func (t *reader) next() (m member, odd string, err error) {
	var h [block]byte
	if err := t.full(h[:]); err != nil {
		return m, "", err
	}
	if h == [block]byte{} {
		return m, "", errEnd
	}
	name, _, _ := bytes.Cut(h[:100], []byte{0})
	size, err1 := strconv.ParseUint(string(h[124:135]), 8, 40)
	seconds, err2 := strconv.ParseUint(string(h[136:147]), 8, 40)
	if err1 != nil || err2 != nil || len(name) == 0 {
		return m, "", errHeader
	}
	dir, base, ok := strings.Cut(string(name), "/")
	if !t.started {
		t.started, t.seconds, t.dir = true, seconds, dir+"/"
	}
	m = member{name: base, size: int64(size)}
	want, err := header(string(name), int64(size), t.seconds)
	switch {
	case err != nil || !bytes.Equal(want, h[:]):
		odd = "its header is not the canonical one"
	case !ok || dir+"/" != t.dir:
		odd = "it is in another folder"
		m.name = string(name)
	}
	return m, odd, nil
}

// body copies a file's content to w (which never fails) and checks the zeros after it.
func (t *reader) body(w io.Writer, size int64) (odd string, err error) {
	n, err := io.CopyN(w, t.r, size)
	if n < size {
		return "", ended(err)
	}
	var pad [block]byte
	p := pad[:padding(size)]
	if err := t.full(p); err != nil {
		return "", err
	}
	if len(bytes.Trim(p, "\x00")) > 0 {
		odd = "something stands behind it"
	}
	return odd, nil
}

// end reads what follows the first empty block: another one and nothing.
func (t *reader) end() error {
	var h [block]byte
	if err := t.full(h[:]); err != nil {
		return err
	}
	if h != [block]byte{} {
		return errHeader
	}
	n, err := io.CopyN(io.Discard, t.r, 1)
	if n > 0 {
		return errTrailing
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

var errTrailing = errors.New("something follows the end of the archive")

func (t *reader) full(b []byte) error {
	_, err := io.ReadFull(t.r, b)
	return ended(err)
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTruncated
	}
	return err
}
