package fsck

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/anamnesis-health/anamnesis/internal/node"
)

// A Pebble folder is checked in two ways. Its files, one by one, against their own checksums: Pebble itself takes a damaged record of its log
// or manifest for the log's end, and looks at some blocks of a table only when it happens to need them. Then the store as a whole: it is
// opened and every row is read. Only a store that passes is opened by the rest of the check.

var pebbleFile = regexp.MustCompile(`^(?:(\d{6,})\.(sst|log)|(MANIFEST|OPTIONS)-(\d{6,})|marker\.[a-z-]+\.\d{6}\..+|LOCK)$`)

// storage checks a Pebble folder and tells whether the store in it can be read.
func (c *check) storage(where, dir string) (sound bool, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		c.find(Fault, where, "the folder cannot be read: %v", err)
		return false, nil
	}
	lock, err := pebble.LockDirectory(dir, vfs.Default)
	if err != nil {
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "lock held") {
			return false, fmt.Errorf("%w: stop the node first", node.ErrInUse)
		}
		c.find(Fault, where, "%v", err)
		return false, nil
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	sound = true
	for _, f := range files {
		if level, problem := checkPebbleFile(filepath.Join(dir, f.Name()), f); problem != nil {
			c.find(level, where, "%s: %v", f.Name(), problem)
			sound = sound && level != Fault
		}
	}
	if !slices.ContainsFunc(files, func(f os.DirEntry) bool { return strings.HasSuffix(f.Name(), ".log") }) {
		c.find(Fault, where, "the store's own log is missing: what was written last is lost")
		sound = false
	}
	if problem := readAll(dir, lock); problem != nil {
		c.find(Fault, where, "%v", problem)
		sound = false
	}
	return sound, nil
}

// checkPebbleFile checks one file of a Pebble folder by itself.
func checkPebbleFile(path string, f os.DirEntry) (level Level, problem error) {
	name := pebbleFile.FindStringSubmatch(f.Name())
	if name == nil || f.IsDir() {
		return Note, errors.New("is no file of the store's")
	}
	if name[2] == "sst" {
		return Fault, guard(func() error { return checkTable(path) })
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return Fault, err
	}
	switch {
	case name[2] == "log":
		n, err := strconv.ParseUint(name[1], 10, 64)
		if err != nil {
			return Fault, err
		}
		return checkLog(raw, uint32(n))
	case name[3] == "MANIFEST":
		_, problem = checkLog(raw, 0)
		return Fault, problem
	case name[3] == "OPTIONS":
		return Fault, guard(func() error { return checkOptions(string(raw)) })
	case len(raw) > 0: // markers and LOCK say what they say by their names
		return Fault, errors.New("should be empty")
	}
	return Note, nil
}

// guard turns a panic of the storage library over unreadable bytes into an error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be read: %v", r)
		}
	}()
	return f()
}

// checkOptions reads the store's settings, and holds them against their own canonical spelling.
func checkOptions(text string) error {
	var o pebble.Options
	hooks := &pebble.ParseHooks{NewFilterPolicy: func(name string) (pebble.FilterPolicy, error) {
		switch name {
		case "none":
			return nil, nil
		case bloom.FilterPolicy(10).Name():
			return bloom.FilterPolicy(10), nil
		}
		return nil, fmt.Errorf("unknown filter %q", name)
	}}
	if err := o.Parse(text, hooks); err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line != strings.TrimSpace(line) && !strings.HasPrefix(line, "  ") || !optionsLine.MatchString(line) {
			return fmt.Errorf("the line %q is none of the store's", line)
		}
	}
	return nil
}

var optionsLine = regexp.MustCompile(`^$|^\[[A-Z][A-Za-z]+( "[0-9a-z_]*")?\]$|^  [a-z0-9_]+=[A-Za-z0-9_., ()%:/+-]*$`)

// checkTable reads every block of a table against its checksum, and its footer, which has none in older formats.
func checkTable(path string) (err error) {
	f, err := vfs.Default.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	filter := bloom.FilterPolicy(10)
	r, err := sstable.NewReader(context.Background(), readable, sstable.ReaderOptions{
		Filters: map[string]pebble.FilterPolicy{filter.Name(): filter}, ReaderOptions: block.ReaderOptions{}})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.ValidateBlockChecksums(); err != nil {
		return err
	}
	return checkFooter(path)
}

// checkFooter looks at the padding of a footer without a checksum: checksum type, two block handles (four varints), zeros up to 41 bytes,
// version and magic.
func checkFooter(path string) error {
	const footerBytes, handlesEnd, firstWithChecksum = 53, 41, 6
	raw, err := os.ReadFile(path)
	if err != nil || len(raw) < footerBytes {
		return errors.Join(err, errors.New("too short for a table"))
	}
	footer := raw[len(raw)-footerBytes:]
	if binary.LittleEndian.Uint32(footer[handlesEnd:]) >= firstWithChecksum {
		return nil
	}
	at := 1
	for range 4 {
		_, n := binary.Uvarint(footer[at:handlesEnd])
		if n <= 0 {
			return errors.New("the footer is damaged")
		}
		at += n
	}
	if len(bytes.Trim(footer[at:handlesEnd], "\x00")) > 0 {
		return errors.New("the footer's padding is not zero")
	}
	return nil
}

// readAll opens the store read-only and reads every row.
func readAll(dir string, lock *pebble.Lock) error {
	var mu sync.Mutex
	var corrupt []error
	options := &pebble.Options{ReadOnly: true, ErrorIfNotExists: true, Lock: lock, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{},
		EventListener: &pebble.EventListener{DataCorruption: func(i pebble.DataCorruptionInfo) {
			mu.Lock()
			defer mu.Unlock()
			corrupt = append(corrupt, fmt.Errorf("%s: %w", filepath.Base(i.Path), i.Details))
		}}}
	err := guard(func() error {
		db, err := pebble.Open(dir, options)
		if err != nil {
			return err
		}
		it, err := db.NewIter(nil)
		if err != nil {
			return errors.Join(err, db.Close())
		}
		for ok := it.First(); ok; ok = it.Next() {
			if _, err := it.ValueAndErr(); err != nil {
				break
			}
		}
		return errors.Join(it.Close(), db.Close())
	})
	mu.Lock()
	defer mu.Unlock()
	if len(corrupt) > 0 {
		return corrupt[0]
	}
	return err
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// A log of records, as Pebble writes its write-ahead log and its manifest: blocks of 32 KiB of chunks, each with a checksum, its length and
// its kind; in a write-ahead log also the log's number, since the file may be an old log's used again.
const (
	logBlock       = 32 << 10
	chunkKindMax   = 12
	kindRecyclable = 5 // from here on the header has the log's number
	kindSync       = 9 // and from here on an offset
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// headerBytes of a chunk, by its kind.
func headerBytes(kind byte) int {
	switch {
	case kind >= kindSync:
		return 19
	case kind >= kindRecyclable:
		return 11
	}
	return 7
}

// chunkAt reads the chunk at an offset: how long it is, and whether it is whole and this log's.
func chunkAt(raw []byte, at int, number uint32) (size int, ok bool) {
	end := min(len(raw), at-at%logBlock+logBlock)
	b := raw[at:end]
	if len(b) < 7 || b[6] == 0 || b[6] > chunkKindMax {
		return 0, false
	}
	header := headerBytes(b[6])
	if size = header + int(binary.LittleEndian.Uint16(b[4:])); size > len(b) || len(b) < header {
		return 0, false
	}
	if header > 7 && binary.LittleEndian.Uint32(b[7:]) != number {
		return 0, false
	}
	sum := crc32.Update(0, castagnoli, b[6:size])
	return size, (sum>>15|sum<<17)+0xa282ead8 == binary.LittleEndian.Uint32(b)
}

// checkLog goes through a log. Where no chunk is whole it ends; whole ones beyond prove that something in between was damaged. A torn last
// chunk is what a node leaves that did not stop cleanly: worth a note.
func checkLog(raw []byte, number uint32) (level Level, problem error) {
	at := 0
	for at < len(raw) {
		if left := logBlock - at%logBlock; left < 19 && allZero(raw[at:min(len(raw), at+left)]) {
			at += left
			continue
		}
		size, ok := chunkAt(raw, at, number)
		if !ok {
			return checkLogEnd(raw, at, number)
		}
		at += size
	}
	return Note, nil
}

func checkLogEnd(raw []byte, at int, number uint32) (level Level, problem error) {
	for next := at + 1; next < len(raw); next++ {
		if _, ok := chunkAt(raw, next, number); ok {
			return Fault, fmt.Errorf("damaged at byte %d: whole records follow", at)
		}
	}
	trailer := binary.LittleEndian.AppendUint32([]byte{6: kindRecyclable}, number+1) // an empty chunk of the next log's
	if rest := raw[at:]; bytes.HasPrefix(rest, trailer) || allZero(rest) {
		return Note, nil // the log was closed; or the rest of it was never written to
	}
	return Note, fmt.Errorf("its last record, at byte %d, is torn or damaged (a node that was not stopped cleanly leaves that)", at)
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
