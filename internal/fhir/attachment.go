package fhir

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"strings"
)

// Attachment is content that a resource carries inside it (FHIR R4 Attachment, and Binary).
type Attachment struct {
	ContentType string // the media type alone, in small letters; may be empty
	Title       string
	Data        []byte
}

// Ending is what the name of a file with such content ends with: for PDF, JPEG, PNG and plain text, which viewers show and browsers do not run
// as a page. For others it is "".
func (a Attachment) Ending() string {
	switch a.ContentType {
	case "application/pdf":
		return ".pdf"
	case "image/jpeg":
		return ".jpg"
	case "image/png":
		return ".png"
	case "text/plain":
		return ".txt"
	}
	return ""
}

// attachmentsMax bounds how many of one resource's are looked at.
const attachmentsMax = 64

// Attachments finds the content that a resource carries: of DocumentReference, DiagnosticReport, Media, Communication, Patient, Practitioner and
// Binary. What is only referred to, is no base64 or does not decode as JSON is left out: it stays in the resource.
func Attachments(raw []byte) (out []Attachment) {
	type attachment struct {
		ContentType, Title, Data string
	}
	var r struct {
		ResourceType  string
		ContentType   string // Binary
		Data          string
		Content       json.RawMessage // DocumentReference: a list; Media: one
		PresentedForm []attachment    // DiagnosticReport
		Photo         []attachment    // Patient, Practitioner
		Payload       []struct {      // Communication
			ContentString     string
			ContentAttachment attachment
		}
	}
	if json.Unmarshal(raw, &r) != nil {
		return nil
	}
	add := func(a attachment) {
		if len(out) == attachmentsMax || a.Data == "" {
			return
		}
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(a.Data), ""))
		if err != nil || len(data) == 0 {
			return
		}
		kind, _, err := mime.ParseMediaType(a.ContentType)
		if err != nil {
			kind = ""
		}
		out = append(out, Attachment{kind, a.Title, data})
	}
	add(attachment{ContentType: r.ContentType, Data: r.Data})
	for _, a := range r.PresentedForm {
		add(a)
	}
	for _, a := range r.Photo {
		add(a)
	}
	for _, p := range r.Payload {
		if p.ContentString != "" && len(out) < attachmentsMax {
			out = append(out, Attachment{"text/plain", "", []byte(p.ContentString)})
		}
		add(p.ContentAttachment)
	}
	var many []struct{ Attachment attachment }
	var one attachment
	switch {
	case json.Unmarshal(r.Content, &many) == nil:
		for _, c := range many {
			add(c.Attachment)
		}
	case json.Unmarshal(r.Content, &one) == nil:
		add(one)
	}
	return out
}
