package proof

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Verify checks an export, read to its end, and reports everything that does not hold. The error is ErrNotProof, or the reader's own; the
// report then says so too, and is never nil.
func Verify(r io.Reader, o Options) (*Report, error) {
	v := &verification{reader: reader{r: r}, o: o, report: newReport(), proof: new(api.JournalProof)}
	err := v.run()
	return v.report.done(), err
}

// OpenRecords is Verify, and opens each record with one of the identities (the patient's current one and, if keys were rotated, the
// earlier ones), checking its manifest and resources against its entry, and its label against its class by the handle (nil: not). Each that
// opens goes to do, in the journal's order; a record that does not open is a failure. An error of do ends the work and comes back.
func OpenRecords(r io.Reader, o Options, identities []*wallet.Identity, handle *protocol.Handle, do func(index uint64, r *wallet.Record) error) (*Report, error) {
	v := &verification{reader: reader{r: r}, o: o, report: newReport(), proof: new(api.JournalProof), who: identities, handle: handle, do: do}
	err := v.run()
	return v.report.done(), err
}

// verification is one reading of an export.
type verification struct {
	reader
	o      Options
	report *Report
	proof  *api.JournalProof
	at     int // next section
	closed bool

	incomplete bool // a section is not there

	who    []*wallet.Identity
	handle *protocol.Handle
	do     func(uint64, *wallet.Record) error
	names  map[string]int // of the records, to their places
	next   int            // next record
	seen   []bool
}

func (v *verification) run() error {
	err := v.readAll()
	switch {
	case errors.Is(err, errTruncated):
		v.report.fail(CodeTruncated, v.place(), "%v", err)
		err = nil
	case errors.Is(err, errTrailing):
		v.report.fail(CodeTrailing, "archive", "%v", err)
		err = nil
	case errors.Is(err, errHeader):
		v.report.fail(CodeContainer, v.place(), "%v", err)
		err = nil
	case errors.Is(err, errNewer): // and all else that could be said about it is wrong
		v.report.fail(CodeNewer, sections[0].name, "%v", err)
		return nil
	case errors.Is(err, ErrNotProof), err != nil && v.at == 0:
		v.report.fail(CodeUnreadable, "file", "%v", err)
		return err
	case err != nil:
		v.report.fail(CodeUnreadable, v.place(), "%v", err)
	}
	v.endSections()
	v.endRecords()
	return err
}

// place says where the reading stands.
func (v *verification) place() string {
	switch {
	case v.at < len(sections):
		return sections[v.at].name
	case v.report.content != nil && v.next < len(v.report.content.records):
		return records + v.report.content.records[v.next].action.Record.String() + extFile
	}
	return "archive"
}

func (v *verification) readAll() error {
	for first := true; ; first = false {
		m, odd, err := v.reader.next()
		if errors.Is(err, errEnd) && !first {
			return v.end()
		}
		if first && (err != nil || !strings.HasPrefix(v.dir, dirPrefix)) {
			if err != nil && !errors.Is(err, errTruncated) && !errors.Is(err, errHeader) && !errors.Is(err, errEnd) {
				return err
			}
			return ErrNotProof
		}
		if err != nil {
			return err
		}
		if odd != "" {
			v.report.fail(CodeContainer, m.name, "%s", odd)
		}
		if err := v.member(m); err != nil {
			return err
		}
	}
}

// member reads one file of the archive.
func (v *verification) member(m member) error {
	if at := slices.IndexFunc(sections, func(s section) bool { return s.name == m.name }); at >= 0 {
		return v.section(at, m)
	}
	if name, ok := strings.CutPrefix(m.name, records); ok {
		v.endSections()
		if v.incomplete {
			return v.skip(m)
		}
		return v.file(name, m)
	}
	v.report.fail(CodeUnexpected, m.name, "an export has no such part")
	return v.skip(m)
}

func (v *verification) skip(m member) error { return v.copy(io.Discard, m) }

func (v *verification) copy(w io.Writer, m member) error {
	odd, err := v.body(w, m.size)
	if odd != "" {
		v.report.fail(CodeContainer, m.name, "%s", odd)
	}
	return err
}

func (v *verification) section(at int, m member) error {
	switch {
	case v.closed || at < v.at:
		v.report.fail(CodeUnexpected, m.name, "it is out of its place, or there twice")
		return v.skip(m)
	case m.size > SectionBytesMax:
		v.report.fail(CodeTooLarge, m.name, "%d bytes, at most %d", m.size, SectionBytesMax)
		v.at, v.incomplete = at+1, true
		return v.skip(m)
	}
	for ; v.at < at; v.at++ {
		v.incomplete = true
		v.report.fail(CodeMissing, sections[v.at].name, "it is not here")
	}
	var b bytes.Buffer
	if err := v.copy(&b, m); err != nil {
		return err
	}
	v.at++
	s := sections[at]
	if err := s.decode(b.Bytes(), v.proof); err != nil {
		if errors.Is(err, errNewer) {
			return err
		}
		v.report.fail(CodeMalformed, s.name, "%v", err)
		return nil
	}
	again, err := s.encode(v.proof)
	if err != nil {
		v.report.fail(CodeMalformed, s.name, "%v", err)
	} else if !bytes.Equal(again, b.Bytes()) {
		v.report.fail(CodeUncanonical, s.name, "it is not the one spelling of its content")
	}
	return nil
}

// endSections checks the proof once all of it has been read.
func (v *verification) endSections() {
	if v.closed {
		return
	}
	v.closed = true
	if v.at < len(sections) {
		v.incomplete = true
	}
	for ; v.at < len(sections); v.at++ {
		v.report.fail(CodeMissing, sections[v.at].name, "it is not here")
	}
	if v.incomplete {
		v.report.content = &content{proof: v.proof}
		return // the rest would be one long echo of that
	}
	check(v.proof, v.o, v.report)
	v.seen, v.names = make([]bool, len(v.report.content.records)), map[string]int{}
	for i, a := range v.report.content.records {
		v.names[a.action.Record.String()] = i
	}
	if v.dir != dirOf(v.proof.Journal.ID) {
		v.report.fail(CodeContainer, "archive", "its folder %q is not named after journal %s", v.dir, v.proof.Journal.ID)
	}
	var seal protocol.Entry
	if protocol.Decode(v.proof.Seal.Raw, &seal) == nil && v.seconds != min(seal.Time/1000, timeMax) {
		v.report.fail(CodeContainer, "archive", "the times in its headers are not the seal's")
	}
}

// file reads what stands under records/.
func (v *verification) file(name string, m member) error {
	id, none := strings.CutSuffix(name, extNone)
	if !none {
		id = strings.TrimSuffix(name, extFile)
	}
	list := v.report.content.records
	at, known := v.names[id]
	switch {
	case !known || name != id+extNone && name != id+extFile:
		v.report.fail(CodeUnexpected, m.name, "no entry of the journal names it")
		return v.skip(m)
	case v.seen[at] || at < v.next:
		v.report.fail(CodeUnexpected, m.name, "it is out of its place, or there twice")
		return v.skip(m)
	}
	v.next, v.seen[at] = at+1, true
	if none {
		return v.missing(list[at], m)
	}
	return v.record(list[at], m)
}

func (v *verification) missing(a added, m member) error {
	var b bytes.Buffer
	if m.size > 64 {
		v.report.fail(CodeFile, m.name, "it does not say why the file is missing")
		return v.skip(m)
	}
	if err := v.copy(&b, m); err != nil {
		return err
	}
	why := strings.TrimSuffix(b.String(), "\n")
	if !slices.Contains([]string{Unavailable, Erased, Damaged}, why) || b.String() != why+"\n" {
		v.report.fail(CodeFile, m.name, "it does not say why the file is missing")
		return nil
	}
	if why == Erased && !v.report.content.erased[a.action.Record] {
		v.report.fail(CodeFile, m.name, "it is said to be erased; no entry of the journal erases it")
	}
	v.report.Missing = append(v.report.Missing, MissingFile{Record: a.action.Record, Why: why})
	return nil
}

// record compares a file with what its entry commits to, and opens it if asked to.
func (v *verification) record(a added, m member) error {
	if uint64(m.size) != a.action.Size || m.size > fileBytes {
		v.report.fail(CodeFile, m.name, "%d bytes; its entry says %d, and %d is the most", m.size, a.action.Size, fileBytes)
		return v.skip(m)
	}
	sum := sha256.New()
	var data bytes.Buffer
	w := io.Writer(sum)
	if v.do != nil {
		w = io.MultiWriter(sum, &data)
	}
	if err := v.copy(w, m); err != nil {
		return err
	}
	if protocol.Hash(sum.Sum(nil)) != a.action.Ciphertext {
		v.report.fail(CodeFile, m.name, "its hash is not the one that its entry commits to")
		return nil
	}
	v.report.Counts.Files++
	if v.do == nil {
		return nil
	}
	return v.open(a, m, data.Bytes())
}

func (v *verification) open(a added, m member, data []byte) error {
	e := wallet.Entry{Chain: v.report.Chain, Journal: v.proof.Journal.ID, Author: a.author, Action: a.action}
	r, err := openAny(data, v.who, e)
	if err == nil && v.handle != nil {
		err = r.Manifest.CheckLabel(*v.handle)
	}
	if err != nil {
		v.report.fail(CodeRecord, m.name, "%v", err)
		return nil
	}
	v.report.Counts.Opened++
	if err := v.do(a.index, r); err != nil {
		return fmt.Errorf("record %s: %w", a.action.Record, err)
	}
	return nil
}

func openAny(data []byte, who []*wallet.Identity, e wallet.Entry) (*wallet.Record, error) {
	err := fmt.Errorf("%w: no identity was given", wallet.ErrRecipient)
	for _, i := range who {
		var r *wallet.Record
		if r, err = wallet.Open(data, i, e); err == nil || !errors.Is(err, wallet.ErrRecipient) {
			return r, err
		}
	}
	return nil, err
}

// endRecords finds the files that are neither there nor listed as missing.
func (v *verification) endRecords() {
	for i, a := range v.report.content.records {
		if !v.seen[i] {
			v.report.fail(CodeFileMissing, records+a.action.Record.String()+extFile, "%s commits to it; it is not here, nor listed as missing", a.where)
		}
	}
}
