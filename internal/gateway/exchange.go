package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// reply answers with JSON.
func reply(w http.ResponseWriter, v any) error { return replyStatus(w, http.StatusOK, v) }

func replyStatus(w http.ResponseWriter, status int, v any) error {
	return replyType(w, status, "application/json", v)
}

// replyType answers with JSON under a name of its own.
func replyType(w http.ResponseWriter, status int, kind string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h["Content-Type"] = []string{kind}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	write(w, body)
	return nil
}

func replyText(w http.ResponseWriter, text []byte) error {
	w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
	write(w, text)
	return nil
}

// write writes an answer that is whole; that the asker has left is no failure.
func write(w http.ResponseWriter, b []byte) {
	_, _ = w.Write(b) //nolint:gosec // the types are JSON, CBOR, plain text and bytes, and browsers are told not to guess
}

// read decodes a JSON body: one value of the very shape, and nothing after it.
func read(w http.ResponseWriter, r *http.Request, bytesMax int64, into any) error {
	if err := wantType(r, "application/json"); err != nil {
		return err
	}
	raw, err := readAll(w, r, bytesMax)
	if err != nil {
		return err
	}
	return decode(raw, into)
}

func decode(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badBody(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad("body", "The body is malformed", "There is something after the JSON value.")
	}
	return nil
}

func badBody(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	why := "It is not what /v1/openapi.json says: " + err.Error() + "."
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		why = "The JSON ends before it is complete."
	case errors.As(err, &syntax):
		why = "It is not JSON, at byte " + decimal(syntax.Offset) + "."
	case errors.As(err, &kind):
		why = "A value has the wrong type, at byte " + decimal(kind.Offset) + "."
	}
	return bad("body", "The body is malformed", why)
}

// readAll reads a bounded body.
func readAll(w http.ResponseWriter, r *http.Request, bytesMax int64) ([]byte, error) {
	if r.ContentLength > bytesMax {
		return nil, tooLarge(bytesMax)
	}
	body := http.MaxBytesReader(w, r.Body, bytesMax)
	if r.ContentLength > 0 {
		raw := make([]byte, r.ContentLength)
		_, err := io.ReadFull(body, raw)
		return raw, cutOff(err)
	}
	raw, err := io.ReadAll(body)
	return raw, cutOff(err)
}

// cutOff is what went wrong while a body was read.
func cutOff(err error) error {
	var large *http.MaxBytesError
	if err == nil || errors.As(err, &large) {
		return err
	}
	return problem(http.StatusRequestTimeout, "cut-off", "The body did not arrive whole", "Send the request again.")
}

func wantType(r *http.Request, want string) error {
	have := r.Header.Get("Content-Type")
	if have == want {
		return nil
	}
	if media, _, err := mime.ParseMediaType(have); err != nil || media != want {
		return problem(http.StatusUnsupportedMediaType, "content-type", "The body is of a type that is not read here", "Send it with Content-Type: "+want+".")
	}
	return nil
}

// params reads a query string that may hold these names, each once.
func params(r *http.Request, names ...string) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("query", "The query string is malformed", "Write it as name=value&name=value.")
	}
	known := 0
	for _, n := range names {
		if len(values[n]) > 1 {
			return nil, bad("query", "A parameter is given twice", "Give "+n+" once.")
		}
		known += len(values[n])
	}
	if known != len(values) {
		return nil, bad("query", "A parameter is not known here", "The parameters of each path stand in /v1/openapi.json.")
	}
	return values, nil
}

// number reads a decimal parameter, or gives what stands for none.
func number(values url.Values, name string, none, low, high uint64) (uint64, error) {
	text := values.Get(name)
	if text == "" && !values.Has(name) {
		return none, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, bad("query", "A parameter is out of range", name+" is a whole number from "+strconv.FormatUint(low, 10)+" to "+strconv.FormatUint(high, 10)+".")
	}
	return n, nil
}

// id reads an identifier.
func id[T any](parse func(string) (T, error), text string) (T, error) {
	v, err := parse(text)
	if err != nil {
		var none T
		return none, bad("id", "That is not an id", err.Error())
	}
	return v, nil
}

func journalID(r *http.Request) (protocol.JournalID, error) {
	return id(protocol.ParseJournalID, r.PathValue("id"))
}

// timing says in Server-Timing what the answer waited for.
func timing(w http.ResponseWriter, what string, began time.Time) {
	b := make([]byte, 0, 32)
	b = append(append(b, what...), ";dur="...)
	b = strconv.AppendFloat(b, float64(time.Since(began).Microseconds())/1000, 'f', 2, 64)
	w.Header()["Server-Timing"] = []string{string(b)}
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
