// Package fhir reads FHIR R4 (4.0.1) JSON and sorts it into what Anamnesis keeps.
//
// It does four things, in this order:
//
//   - Read takes a stream (a resource, a Bundle, NDJSON; plain or gzip) apart into resources, each with the
//     bytes exactly as they came. Memory is bounded by one entry, whatever the size of the stream. What cannot be
//     used is reported as a *Problem with file, entry and reason, and the rest goes on.
//   - Each resource gets its Class: what it is about. Sensitive classes (mental health, substance use, HIV, …)
//     win whatever the resource's type; docs/spec/classes.md is the whole rule.
//   - A Collection resolves references and forms Groups: one patient, one class, one source organisation. A record
//     of the ledger is one Group.
//   - Summarise turns one resource into a line of a timeline. Equal and Hash compare resources by content.
//
// Limits: XML and RDF are not read. Resources are checked for the JSON rules of FHIR and for belonging to R4, not
// against profiles or terminologies. Free text and attachments are not searched for sensitive content. Patients are
// never matched by demographics: only references, and equal ids where an id is unique by construction, join them.
//
// Everything in Limits bounds what hostile input can cost. Nothing here panics on input, reads a clock or a network,
// and the package builds for js/wasm.
package fhir

import (
	"fmt"
	"strconv"
)

// Version is the FHIR version this package reads.
const Version = "4.0.1"

// Resource is one FHIR resource as it came. A Resource from Read is never nil in Raw and is safe to keep; its
// bytes must not be changed.
type Resource struct {
	Raw     []byte // the resource's JSON, byte for byte as in the input
	Type    string // resourceType, always one of R4
	ID      string // Resource.id, or "" (a POST entry may have none)
	FullURL string // Bundle.entry.fullUrl, or ""
	File    string // name given to Read
	Entry   int    // position in the file, from 0: entry of a Bundle, line of an NDJSON file
	Class   Class  // by Classify, from the resource alone; a Collection may raise it to a sensitive one

	facts *facts
}

// Name is how reports call the resource: "Observation/ab12", or "Observation" when it has no id.
func (r Resource) Name() string {
	if r.ID == "" {
		return r.Type
	}
	return r.Type + "/" + r.ID
}

// Limits bounds one Read (and the FilesMax, TotalBytesMax of a Load). A zero field means its default.
type Limits struct {
	FileBytesMax     int64 // bytes of one file after decompression; default 512 MiB
	ResourceBytesMax int   // bytes of one entry with its resource; default 16 MiB
	DepthMax         int   // nesting of one resource; default 128
	EntriesMax       int   // entries of one file; default 1,000,000
	FilesMax         int   // files of one Load; default 100,000
	TotalBytesMax    int64 // resource bytes one Load keeps in memory; default 2 GiB
	ProblemsMax      int   // problems a Load keeps (all are counted); default 10,000
}

// DefaultLimits are the limits that a zero Limits stands for.
func DefaultLimits() Limits {
	return Limits{
		FileBytesMax:     512 << 20,
		ResourceBytesMax: 16 << 20,
		DepthMax:         128,
		EntriesMax:       1_000_000,
		FilesMax:         100_000,
		TotalBytesMax:    2 << 30,
		ProblemsMax:      10_000,
	}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	setDefault(&l.FileBytesMax, d.FileBytesMax)
	setDefault(&l.ResourceBytesMax, d.ResourceBytesMax)
	setDefault(&l.DepthMax, d.DepthMax)
	setDefault(&l.EntriesMax, d.EntriesMax)
	setDefault(&l.FilesMax, d.FilesMax)
	setDefault(&l.TotalBytesMax, d.TotalBytesMax)
	setDefault(&l.ProblemsMax, d.ProblemsMax)
	return l
}

func setDefault[T int | int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Code says what kind of problem a Problem is. The values are stable: they appear in --json output.
type Code string

// The codes of problems.
const (
	CodeEmpty        Code = "empty"         // a file with nothing in it
	CodeNotJSON      Code = "not-json"      // XML, HTML, binary, or a value that is no object
	CodeSyntax       Code = "syntax"        // JSON grammar broken
	CodeTruncated    Code = "truncated"     // the stream ends inside a value
	CodeTrailing     Code = "trailing-data" // something follows the one value of the file
	CodeEncoding     Code = "not-utf8"      // bytes or escapes that are no Unicode text
	CodeDuplicateKey Code = "duplicate-key" // an object names a member twice
	CodeTooDeep      Code = "too-deep"      // Limits.DepthMax
	CodeTooLarge     Code = "too-large"     // a byte or count limit
	CodeCompression  Code = "bad-gzip"      // broken gzip stream
	CodeNotFHIR      Code = "not-fhir"      // JSON, but no resourceType
	CodeUnknownType  Code = "unknown-type"  // a resourceType that no FHIR version we know has
	CodeVersion      Code = "wrong-version" // FHIR of another version than R4
	CodeShape        Code = "wrong-shape"   // an element of the wrong JSON kind
	CodeNoResource   Code = "no-resource"   // a Bundle entry that carries none (a deletion, a bare response)
	CodeNoPatient    Code = "no-patient"    // belongs to no patient of the input
	CodeAmbiguous    Code = "ambiguous"     // may belong to several patients
)

// Problem is one reason why something of the input was not placed. Entry is −1 when it concerns the file rather
// than one of its entries.
type Problem struct {
	File         string `json:"file"`
	Entry        int    `json:"entry"`
	ResourceType string `json:"resource_type,omitempty"`
	ID           string `json:"id,omitempty"`
	Code         Code   `json:"code"`
	Reason       string `json:"reason"`
}

// Error gives "FILE: entry N (Type/id): reason [code]".
func (p *Problem) Error() string {
	where := p.File
	if p.Entry >= 0 {
		where += ": entry " + strconv.Itoa(p.Entry)
	}
	if p.ResourceType != "" {
		name := p.ResourceType
		if p.ID != "" {
			name += "/" + p.ID
		}
		where += " (" + name + ")"
	}
	return fmt.Sprintf("%s: %s [%s]", where, p.Reason, p.Code)
}

// Is makes errors.Is(err, &Problem{Code: c}) ask for the code alone.
func (p *Problem) Is(target error) bool {
	t, ok := target.(*Problem)
	return ok && t.Code == p.Code && t.File == "" && t.Reason == ""
}

// Tally accounts for what was read: Entries == Placed + Reported always. Problems that concern a file as a whole
// (not JSON, trailing data) are counted in Faults and are no entries.
type Tally struct {
	Files    int   `json:"files"`
	Bytes    int64 `json:"bytes"` // after decompression
	Entries  int   `json:"entries"`
	Placed   int   `json:"placed"`
	Reported int   `json:"reported"`
	Faults   int   `json:"faults"`
}

// Add adds the counts of o.
func (t *Tally) Add(o Tally) {
	t.Files += o.Files
	t.Bytes += o.Bytes
	t.Entries += o.Entries
	t.Placed += o.Placed
	t.Reported += o.Reported
	t.Faults += o.Faults
}
