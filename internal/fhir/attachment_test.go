package fhir

import (
	"fmt"
	"strings"
	"testing"
)

func TestAttachments(t *testing.T) {
	for what, c := range map[string]struct{ raw, want string }{
		"a note":               {`{"resourceType":"DocumentReference","content":[{"attachment":{"contentType":"text/plain; charset=utf-8","title":"x","data":"aGVs\nbG8="}},{"attachment":{"url":"http://elsewhere"}}]}`, "text/plain x hello"},
		"a report":             {`{"resourceType":"DiagnosticReport","presentedForm":[{"contentType":"APPLICATION/PDF","data":"JVBERg=="}]}`, "application/pdf  %PDF"},
		"media":                {`{"resourceType":"Media","content":{"contentType":"image/png","data":"aGk="}}`, "image/png  hi"},
		"a binary":             {`{"resourceType":"Binary","contentType":"text/plain","data":"aGk="}`, "text/plain  hi"},
		"a message":            {`{"resourceType":"Communication","payload":[{"contentString":"words"},{"contentAttachment":{"data":"aGk="}}]}`, "text/plain  words|  hi"},
		"a face":               {`{"resourceType":"Patient","photo":[{"contentType":"image/jpeg","data":"aGk="}]}`, "image/jpeg  hi"},
		"a page":               {`{"resourceType":"Binary","contentType":"text/html","data":"aGk="}`, "text/html  hi"},
		"a picture that runs":  {`{"resourceType":"Binary","contentType":"image/svg+xml","data":"aGk="}`, "image/svg+xml  hi"},
		"no base64":            {`{"resourceType":"Binary","contentType":"text/plain","data":"***"}`, ""},
		"no type":              {`{"resourceType":"Binary","contentType":"; ;","data":"aGk="}`, "  hi"},
		"another shape":        {`{"resourceType":"DocumentReference","content":"x","photo":null}`, ""},
		"wrong types":          {`{"resourceType":"DocumentReference","content":[{"attachment":7}]}`, ""},
		"no JSON":              {`{`, ""},
		"nothing":              {``, ""},
		"more than one could":  {`{"content":[` + strings.TrimSuffix(strings.Repeat(`{"attachment":{"data":"aGk="}},`, attachmentsMax+1), ",") + `]}`, strings.TrimSuffix(strings.Repeat("  hi|", attachmentsMax), "|")},
		"a concept as content": {`{"resourceType":"Observation","code":{"text":"x"}}`, ""},
	} {
		var got []string
		for _, a := range Attachments([]byte(c.raw)) {
			if risky := a.ContentType == "" || strings.Contains(a.ContentType, "html") || strings.Contains(a.ContentType, "xml"); risky && a.Ending() != "" {
				t.Errorf("%s is a file that a browser opens", a.ContentType)
			}
			got = append(got, fmt.Sprintf("%s %s %s", a.ContentType, a.Title, a.Data))
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s: %q, want %q", what, s, c.want)
		}
	}
}
