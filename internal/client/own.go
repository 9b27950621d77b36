package client

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/anamnesis-health/anamnesis/internal/fhir"
)

// Limits of notes. A file grows by a third in its FHIR resource.
const (
	NoteTextBytesMax = 64 << 10
	NoteFileBytesMax = 4 << 20
)

// ErrNote says that something is no note that could be kept.
var ErrNote = errors.New("a note has words (at most 64 KiB), or a file of at most 4 MiB: PDF, JPEG, PNG or plain text")

// OwnSource is what patients, and those who stand in for them, write as source.
var OwnSource = fhir.Source{ID: "patient", Name: "Patient"}

// Note is what a patient, or somebody on their behalf, writes into the journal: words, or a file.
type Note struct {
	Title string // one line; may be empty
	Text  string
	File  []byte
	Name  string // of the file
	By    string // who writes, in words: "Patient"
	At    time.Time
}

// noteTypes are the files that notes take. Their type is found by their first bytes, not by their name.
var noteTypes = map[string]bool{"application/pdf": true, "image/jpeg": true, "image/png": true, "text/plain; charset=utf-8": true}

// Group is the note as one record of a class: a FHIR R4 DocumentReference, marked as the patient's own word (PATAST, patient asserted).
func (n Note) Group(class fhir.Class) (fhir.Group, error) {
	raw, err := n.resource()
	if err != nil {
		return fhir.Group{}, err
	}
	return fhir.Group{Class: class, Source: OwnSource, Bytes: len(raw), Resources: []fhir.Resource{{Raw: raw, Type: "DocumentReference", Class: class}}}, nil
}

func (n Note) resource() ([]byte, error) {
	text := strings.TrimSpace(n.Text)
	content, kind, about := []byte(text), "text/plain; charset=utf-8", firstWords(text)
	if len(n.File) > 0 {
		content, kind, about = n.File, http.DetectContentType(n.File), firstWords(n.Name)
	}
	ours := noteTypes[kind] && (!strings.HasPrefix(kind, "text/") || utf8.Valid(content))
	if len(content) == 0 || len(n.File) > 0 && text != "" || len(text) > NoteTextBytesMax || len(n.File) > NoteFileBytesMax || !ours || !utf8.ValidString(n.Title) {
		return nil, ErrNote
	}
	at := n.At.UTC().Format(time.RFC3339)
	type coding struct {
		System  string `json:"system,omitempty"`
		Code    string `json:"code,omitempty"`
		Display string `json:"display,omitempty"`
	}
	type text1 struct {
		Text string `json:"text"`
	}
	type named struct {
		Display string `json:"display"`
	}
	type attachment struct {
		ContentType string `json:"contentType"`
		Data        string `json:"data"`
		Size        int    `json:"size"`
		Title       string `json:"title,omitempty"`
		Creation    string `json:"creation"`
	}
	type part struct {
		Attachment attachment `json:"attachment"`
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		ResourceType string              `json:"resourceType"`
		Meta         map[string][]coding `json:"meta"`
		Status       string              `json:"status"`
		Type         text1               `json:"type"`
		Date         string              `json:"date"`
		Author       []named             `json:"author"`
		Description  string              `json:"description,omitempty"`
		Content      []part              `json:"content"`
	}{"DocumentReference", map[string][]coding{"security": {{"http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "PATAST", "patient asserted"}}},
		"current", text1{orElse(firstWords(n.Title), "Note")}, at, []named{{n.By}}, about,
		[]part{{attachment{kind, base64.StdEncoding.EncodeToString(content), len(content), firstWords(n.Name), at}}}})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// firstWords is the beginning of a text on one line.
func firstWords(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
