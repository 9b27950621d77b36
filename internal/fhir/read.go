package fhir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// Read takes a stream apart: one resource, one Bundle of any type (its entries), or NDJSON (a resource or Bundle a
// line); plain or gzip, recognised by content. NDJSON is what a name ending in .ndjson or .jsonl says (then a broken
// line costs only itself), or any other stream whose first value is followed by another on a new line, unless its
// name ends in .json.
//
// fn gets each resource in order; an error of fn ends Read and is returned. report gets each *Problem. What stands
// before a break in a file is placed, since resources are whole in themselves; the break is reported. The error is
// fn's, or the reader's own I/O error; broken input is never an error.
func Read(name string, r io.Reader, lim Limits, fn func(Resource) error, report func(*Problem)) (Tally, error) {
	rd := &reader{name: name, lim: lim.orDefault(), fn: fn, report: report, intern: interner{}}
	rd.tally.Files = 1
	err := rd.file(r)
	if errors.Is(err, errStop) {
		err = nil
	}
	if rd.s != nil {
		rd.tally.Bytes = min(rd.s.bytes, rd.lim.FileBytesMax)
	}
	return rd.tally, err
}

// errStop ends a file after a fault that was reported.
var errStop = errors.New("fhir: file given up")

type reader struct {
	name   string
	lim    Limits
	fn     func(Resource) error
	report func(*Problem)
	tally  Tally
	s      *stream
	d      doc
	intern interner
}

func (rd *reader) file(r io.Reader) error {
	br := bufio.NewReaderSize(r, 64<<10)
	if head, _ := br.Peek(2); len(head) == 2 && head[0] == 0x1f && head[1] == 0x8b {
		zr, err := gzip.NewReader(br)
		if err != nil {
			return rd.fault(CodeCompression, "gzip header: "+err.Error())
		}
		br = bufio.NewReaderSize(zr, 64<<10)
	}
	head, _ := br.Peek(3)
	switch {
	case bytes.HasPrefix(head, []byte{0xef, 0xbb, 0xbf}):
		_, _ = br.Discard(3) // they were peeked at
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return rd.fault(CodeEncoding, "UTF-16; FHIR JSON is UTF-8")
	}
	rd.s = newStream(br, rd.lim.FileBytesMax)
	return rd.values()
}

// values reads the file's one value, or its lines.
func (rd *reader) values() error {
	ext := path.Ext(strings.TrimSuffix(strings.ToLower(rd.name), ".gz"))
	rd.s.space()
	if !rd.s.more() {
		return rd.ended(CodeEmpty, "nothing in it")
	}
	if ext == ".ndjson" || ext == ".jsonl" {
		return rd.lines()
	}
	if err := rd.document(false); err != nil {
		return err
	}
	rd.s.space()
	switch {
	case !rd.s.more():
		return rd.ended("", "")
	case ext != ".json" && rd.s.peek() == '{':
		return rd.lines()
	}
	return rd.fault(CodeTrailing, "data after the end of the JSON value")
}

// lines reads NDJSON from here on.
func (rd *reader) lines() error {
	for {
		rd.s.space()
		if !rd.s.more() {
			return rd.ended("", "")
		}
		if err := rd.countEntry(); err != nil {
			return err
		}
		rd.s.hold()
		rd.s.line(rd.lim.ResourceBytesMax)
		if rd.brokenStream() {
			rd.refuse(val{}, CodeTruncated, "the line is not whole")
			return rd.ended("", "")
		}
		if !rd.s.held() {
			rd.refuse(val{}, CodeTooLarge, rd.overMax("a line"))
			continue
		}
		if err := rd.lineValue(rd.s.take()); err != nil {
			return err
		}
	}
}

// lineValue handles one line that countEntry has counted: a resource, or a Bundle that counts entry by entry.
func (rd *reader) lineValue(raw []byte) error {
	if f := rd.d.parse(raw, rd.lim.DepthMax+2); f != nil {
		return rd.reject(val{}, f.code, f.Error())
	}
	root := rd.d.root()
	if root.get("resourceType").str() != "Bundle" {
		return rd.place(root, "")
	}
	rd.tally.Entries--
	if err := rd.nested(raw); !errors.Is(err, errStop) {
		return err
	}
	return nil // the next line is whole whatever this Bundle was
}

// nested reads a Bundle that is in memory already.
func (rd *reader) nested(raw []byte) error {
	outer := rd.s
	defer func() { rd.s = outer }()
	rd.s = newStream(bytes.NewReader(raw), int64(len(raw)))
	return rd.document(true)
}

// document reads one object from its opening bracket: a resource is held whole, a Bundle goes entry by entry.
func (rd *reader) document(isBundle bool) error {
	switch rd.s.peek() {
	case '{':
	case '<':
		return rd.fault(CodeNotJSON, "XML; only FHIR JSON is read")
	default:
		return rd.fault(CodeNotJSON, "does not start with a JSON object")
	}
	rd.s.hold()
	o := object{reader: rd, isBundle: isBundle, seen: map[string]bool{}}
	rd.s.pos++
	if err := o.members(); err != nil {
		return err
	}
	if o.isBundle {
		return nil
	}
	raw := rd.s.take()
	if o.resourceType == "Bundle" { // "entry" stood before "resourceType"
		return rd.nested(raw)
	}
	if err := rd.countEntry(); err != nil {
		return err
	}
	if f := rd.d.parse(raw, rd.lim.DepthMax); f != nil {
		return rd.reject(val{}, f.code, f.Error())
	}
	return rd.place(rd.d.root(), "")
}

// object is the outermost object of a document while it is being read.
type object struct {
	*reader
	isBundle     bool
	resourceType string
	seen         map[string]bool
}

func (o *object) members() error {
	for first := true; ; first = false {
		o.s.space()
		if first && o.s.peek() == '}' {
			o.s.pos++
			return nil
		}
		if o.isBundle {
			o.s.hold()
		}
		name, err := o.name()
		if err != nil {
			return err
		}
		if o.isBundle && name == "entry" {
			err = o.entries()
		} else {
			err = o.member(name)
		}
		if err != nil {
			return err
		}
		o.s.space()
		switch o.s.peek() {
		case ',':
			o.s.pos++
		case '}':
			o.s.pos++
			return nil
		default:
			return o.unexpected("',' or '}' between members of the outermost object")
		}
	}
}

// topLevelMembersMax is far above what any resource type has.
const topLevelMembersMax = 1000

// name reads a member's name and the colon behind it.
func (o *object) name() (string, error) {
	if o.s.peek() != '"' {
		return "", o.unexpected("a member name of the outermost object")
	}
	raw, err := o.heldValue()
	if err != nil {
		return "", err
	}
	if f := o.d.parse(raw, 1); f != nil {
		return "", o.fault(f.code, "a member name: "+f.reason)
	}
	name := o.d.root().str()
	if o.seen[name] {
		return "", o.fault(CodeDuplicateKey, fmt.Sprintf("member %.64q twice", name))
	}
	if len(o.seen) == topLevelMembersMax {
		return "", o.fault(CodeTooLarge, "more members than any resource has")
	}
	o.seen[name] = true
	o.s.space()
	if o.s.peek() != ':' {
		return "", o.unexpected("':'")
	}
	o.s.pos++
	o.s.space()
	return name, nil
}

// member reads the value of a member that is not a Bundle's entry list.
func (o *object) member(name string) error {
	raw, err := o.heldValue()
	if err != nil {
		return err
	}
	if !o.isBundle && name != "resourceType" {
		return nil // judged when the resource is parsed whole
	}
	if f := o.d.parse(raw, o.lim.DepthMax); f != nil {
		return o.fault(f.code, fmt.Sprintf("%.64q: %s", name, f.Error()))
	}
	if name != "resourceType" {
		return nil
	}
	o.resourceType = o.d.root().str()
	o.isBundle = o.isBundle || o.resourceType == "Bundle" && !o.seen["entry"]
	return nil
}

// heldValue skims the value at pos and gives its bytes, valid until the next read.
func (rd *reader) heldValue() ([]byte, error) {
	from := rd.s.pos - rd.s.kept
	if !rd.s.skim(rd.lim.ResourceBytesMax) {
		return nil, rd.unexpected("the rest of the value")
	}
	if !rd.s.held() {
		return nil, rd.fault(CodeTooLarge, rd.overMax("a resource, or what precedes resourceType in a Bundle,"))
	}
	return rd.s.buf[rd.s.kept+from : rd.s.pos], nil
}

// entries reads Bundle.entry.
func (rd *reader) entries() error {
	rd.s.kept = -1
	if rd.s.peek() != '[' {
		return rd.fault(CodeShape, "Bundle.entry is no array")
	}
	rd.s.pos++
	for first := true; ; first = false {
		rd.s.space()
		if first && rd.s.peek() == ']' {
			rd.s.pos++
			return nil
		}
		if !rd.s.more() {
			return rd.unexpected("an entry")
		}
		if err := rd.countEntry(); err != nil {
			return err
		}
		if err := rd.entry(); err != nil {
			return err
		}
		rd.s.space()
		switch rd.s.peek() {
		case ',':
			rd.s.pos++
		case ']':
			rd.s.pos++
			return nil
		default:
			return rd.unexpected("',' or ']' between entries")
		}
	}
}

// entry reads one element of Bundle.entry, which countEntry has counted.
func (rd *reader) entry() error {
	rd.s.hold()
	if !rd.s.skim(rd.lim.ResourceBytesMax) {
		rd.refuse(val{}, CodeTruncated, "the entry is not whole")
		return rd.unexpected("the rest of an entry")
	}
	if !rd.s.held() {
		return rd.reject(val{}, CodeTooLarge, rd.overMax("an entry"))
	}
	raw := rd.s.take()
	if f := rd.d.parse(raw, rd.lim.DepthMax+2); f != nil {
		return rd.reject(val{}, f.code, f.Error())
	}
	root := rd.d.root()
	if root.kind() != kindObject {
		return rd.reject(val{}, CodeShape, "the entry is no object")
	}
	res := root.get("resource")
	if !res.ok() {
		return rd.reject(val{}, CodeNoResource, "the entry carries no resource"+entryHint(root))
	}
	url := root.get("fullUrl")
	if url.ok() && url.kind() != kindString {
		return rd.reject(res, CodeShape, "fullUrl is no string")
	}
	return rd.place(res, url.str())
}

func entryHint(entry val) string {
	if m := entry.at("request", "method").str(); m != "" {
		return fmt.Sprintf(" (request %s %s)", clip(m), clip(entry.at("request", "url").str()))
	}
	if st := entry.at("response", "status").str(); st != "" {
		return fmt.Sprintf(" (response %s)", clip(st))
	}
	return ""
}

// place checks a resource and hands it on.
func (rd *reader) place(v val, fullURL string) error {
	code, reason := check(v)
	if code != "" {
		return rd.reject(v, code, reason)
	}
	n := v.node()
	res := Resource{
		Raw:     v.d.src[n.at:n.end:n.end],
		Type:    rd.intern.of(v.get("resourceType").bytes()),
		ID:      v.get("id").str(),
		FullURL: fullURL,
		File:    rd.name,
		Entry:   rd.tally.Entries - 1,
	}
	res.facts = extract(v, rd.intern)
	res.Class = classOf(v, res.Type, res.facts)
	rd.tally.Placed++
	return rd.fn(res)
}

// countEntry starts a new entry; whoever calls it sees that it is placed or rejected.
func (rd *reader) countEntry() error {
	if rd.tally.Entries >= rd.lim.EntriesMax {
		return rd.fault(CodeTooLarge, fmt.Sprintf("more than %d entries; the rest is not read", rd.lim.EntriesMax))
	}
	rd.tally.Entries++
	return nil
}

// reject is refuse for callers that are done with the entry: it returns nil, so that the rest goes on.
func (rd *reader) reject(v val, code Code, reason string) error {
	rd.refuse(v, code, reason)
	return nil
}

// refuse reports the current entry.
func (rd *reader) refuse(v val, code Code, reason string) {
	rd.tally.Reported++
	rd.report(&Problem{
		File:         rd.name,
		Entry:        rd.tally.Entries - 1,
		ResourceType: clip(v.get("resourceType").str()),
		ID:           clip(v.get("id").str()),
		Code:         code,
		Reason:       reason,
	})
}

// clip keeps hostile names and control characters out of reports.
func clip(s string) string {
	s = short(s)
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "…"
}

// fault reports the file and gives it up.
func (rd *reader) fault(code Code, reason string) error {
	rd.tally.Faults++
	rd.report(&Problem{File: rd.name, Entry: -1, Code: code, Reason: reason})
	return errStop
}

func (rd *reader) overMax(what string) string {
	return fmt.Sprintf("%s is over %d bytes", what, rd.lim.ResourceBytesMax)
}

// unexpected reports why the document can't go on at pos: the input ended, or holds something else.
func (rd *reader) unexpected(wanted string) error {
	if !rd.s.more() {
		return rd.ended(CodeTruncated, "ends where "+wanted+" should be")
	}
	return rd.fault(CodeSyntax, fmt.Sprintf("%q where %s should be", rd.s.buf[rd.s.pos], wanted))
}

// brokenStream reports that the input stopped for another reason than its end.
func (rd *reader) brokenStream() bool {
	return rd.s.pos == rd.s.end && rd.s.sticky != nil && !errors.Is(rd.s.sticky, io.EOF)
}

// ended handles the end of the input. code and reason say what an ordinary end means here; an empty code means that
// all is well.
func (rd *reader) ended(code Code, reason string) error {
	err := rd.s.sticky
	switch {
	case err == nil || errors.Is(err, io.EOF):
		if code == "" {
			return nil
		}
		return rd.fault(code, reason)
	case errors.Is(err, errTooLarge):
		return rd.fault(CodeTooLarge, fmt.Sprintf("over %d bytes (decompressed); the rest is not read", rd.lim.FileBytesMax))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return rd.fault(CodeTruncated, "the compressed stream ends early")
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), isFlateError(err):
		return rd.fault(CodeCompression, "gzip: "+err.Error())
	}
	return fmt.Errorf("fhir: read %s: %w", rd.name, err)
}

func isFlateError(err error) bool {
	var corrupt flate.CorruptInputError
	var internal flate.InternalError
	return errors.As(err, &corrupt) || errors.As(err, &internal)
}
