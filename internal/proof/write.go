package proof

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Why a record's file is not in an export. A file function's errors that wrap fs.ErrNotExist or ErrErased say the first two.
const (
	Unavailable = "unavailable" // no member has it
	Erased      = "erased"      // the patient had it erased
	Damaged     = "damaged"     // what was served is not what the entry commits to
)

// ErrErased is what a file function returns for a file that was erased on purpose.
var ErrErased = errors.New("the file was erased")

// Write makes an export: the proof, and the files of all its records, which files opens by their hashes. A file that is not there, was
// erased, or is not what its entry commits to is listed as missing; any other error of files ends the work. progress (may be nil) is told
// how many of the records' files are done. One file at a time is in memory. What comes out is deterministic.
//
// The proof is not verified here: Verify reads what was written.
func Write(w io.Writer, p *api.JournalProof, files func(protocol.Hash) (io.ReadCloser, error), progress func(done, total int)) error {
	var seal protocol.Entry
	if err := protocol.Decode(p.Seal.Raw, &seal); err != nil {
		return fmt.Errorf("proof: the seal: %w", err)
	}
	if len(p.Journal.Entries) > JournalEntriesMax {
		return fmt.Errorf("proof: a journal of %d entries, at most %d", len(p.Journal.Entries), JournalEntriesMax)
	}
	out := &writer{w: w, dir: dirOf(p.Journal.ID), seconds: seal.Time / 1000}
	for _, s := range sections {
		b, err := s.encode(p)
		if err != nil {
			return fmt.Errorf("proof: %s: %w", s.name, err)
		}
		if len(b) > SectionBytesMax {
			return fmt.Errorf("proof: %s would have %d bytes, at most %d", s.name, len(b), SectionBytesMax)
		}
		if err := out.put(s.name, b); err != nil {
			return err
		}
	}
	list, err := recordsIn(p.Journal.Entries)
	if err != nil {
		return err
	}
	for i, a := range list {
		if err := out.record(a, files); err != nil {
			return err
		}
		if progress != nil {
			progress(i+1, len(list))
		}
	}
	_, err = w.Write(make([]byte, 2*block))
	return err
}

// recordsIn lists the records that entries add, in order.
func recordsIn(entries []api.Entry) (out []protocol.AddRecord, err error) {
	for _, e := range entries {
		var entry protocol.Entry
		if err := protocol.Decode(e.Raw, &entry); err != nil {
			return nil, fmt.Errorf("proof: log entry %d: %w", e.Index, err)
		}
		if entry.Type != protocol.TypeAddRecord {
			continue
		}
		var a protocol.AddRecord
		if err := protocol.Decode(entry.Action, &a); err != nil {
			return nil, fmt.Errorf("proof: log entry %d: %w", e.Index, err)
		}
		out = append(out, a)
	}
	return out, nil
}

type writer struct {
	w       io.Writer
	dir     string
	seconds uint64
}

func (o *writer) put(name string, data []byte) error {
	h, err := header(o.dir+name, int64(len(data)), o.seconds)
	if err != nil {
		return err
	}
	for _, b := range [][]byte{h, data, make([]byte, padding(int64(len(data))))} {
		if _, err := o.w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func (o *writer) record(a protocol.AddRecord, files func(protocol.Hash) (io.ReadCloser, error)) error {
	name := records + a.Record.String()
	data, why, err := fetch(a, files)
	switch {
	case err != nil:
		return fmt.Errorf("proof: the file of record %s: %w", a.Record, err)
	case why != "":
		return o.put(name+extNone, []byte(why+"\n"))
	}
	return o.put(name+extFile, data)
}

// fetch reads a record's file whole, so that a damaged one is noticed before any of it is written.
func fetch(a protocol.AddRecord, files func(protocol.Hash) (io.ReadCloser, error)) (data []byte, why string, err error) {
	r, err := files(a.Ciphertext)
	switch {
	case errors.Is(err, ErrErased):
		return nil, Erased, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, Unavailable, nil
	case err != nil:
		return nil, "", err
	}
	defer func() { _ = r.Close() }()
	if a.Size > fileBytes {
		return nil, Damaged, nil
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(r, int64(a.Size)+1)); err != nil {
		return nil, "", err
	}
	if uint64(b.Len()) != a.Size || sha256.Sum256(b.Bytes()) != a.Ciphertext {
		return nil, Damaged, nil
	}
	return b.Bytes(), "", nil
}
