package gateway

import (
	"encoding"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// The OpenAPI 3.1 document is made of the routes and of package api's types and their comments, when it is first asked for.

// operation is what the document says of a route.
type operation struct {
	tag, summary, detail string
	signed               signing
	who                  string // may ask, if signed
	query                []parameter
	in                   any // the body's type; nil: none, or bytes of inType
	inType, inAlso       string
	out                  any // the answer's type; nil: none, or bytes of outType
	outType, outAlso     string
	status               int // of success; 0: 200, or 204 without an answer
}

type parameter struct{ name, words string }

// signing says whether a question must be signed (see api.Authorise).
type signing int

const (
	signedNot signing = iota
	signedMay
	signedMust
)

type object = map[string]any

// document serves the document.
func (s *server) document() func(http.ResponseWriter, *http.Request) error {
	made := sync.OnceValues(func() ([]byte, error) { return json.MarshalIndent(openAPI(s.routes()), "", " ") })
	return func(w http.ResponseWriter, _ *http.Request) error {
		doc, err := made()
		if err != nil {
			return err
		}
		w.Header()["Content-Type"] = headerJSON
		write(w, doc)
		return nil
	}
}

func openAPI(routes []route) object {
	d := &drafter{schemas: object{}, words: api.Descriptions()}
	d.schema(reflect.TypeFor[api.Problem]())
	paths := object{}
	for _, r := range routes {
		path := strings.ReplaceAll(r.path, "...}", "}")
		methods, ok := paths[path].(object)
		if !ok {
			methods = object{}
			paths[path] = methods
		}
		methods[strings.ToLower(r.method)] = d.operation(r)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "Anamnesis gateway", "version": fmt.Sprintf("1.%d", protocol.Version), "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "The HTTP face of a node: patients' journals, consent, access and proof. The byte formats and the signing of questions are specified in docs/spec."},
		"paths": paths,
		"components": object{"schemas": d.schemas, "securitySchemes": object{"signature": object{"type": "http", "scheme": "Anamnesis",
			"description": "Authorization: Anamnesis <base64url of the canonical CBOR of [signer, time, signature]>, over method and request URI; see docs/spec/api.md."}}},
	}
}

// drafter gathers the schemas that the operations name.
type drafter struct {
	schemas object
	words   map[string]api.Words
}

var placeholder = regexp.MustCompile(`\{([a-z]+)(\.\.\.)?\}`)

func (d *drafter) operation(r route) object {
	o := r.doc
	out := object{"tags": []string{o.tag}, "summary": o.summary, "operationId": operationID(r), "responses": d.responses(o)}
	detail := o.detail
	if o.signed != signedNot {
		out["security"] = []object{{"signature": []string{}}}
		if o.signed == signedMay {
			out["security"] = []object{{"signature": []string{}}, {}}
		}
		detail = strings.TrimSpace(detail + " Signed by " + o.who + ".")
	}
	if detail != "" {
		out["description"] = detail
	}
	params := []object{}
	for _, m := range placeholder.FindAllStringSubmatch(r.path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "description": pathWords(m[1]), "schema": pathSchema(m[1], r.path)})
	}
	for _, q := range o.query {
		params = append(params, object{"name": q.name, "in": "query", "description": q.words, "schema": querySchema(q.name)})
	}
	if len(params) > 0 {
		out["parameters"] = params
	}
	if content := d.content(o.in, o.inType, o.inAlso); len(content) > 0 {
		out["requestBody"] = object{"required": true, "content": content}
	}
	return out
}

func operationID(r route) string {
	name := strings.Trim(placeholder.ReplaceAllString(strings.TrimPrefix(r.path, "/v1/"), "by/$1"), "/")
	parts := strings.FieldsFunc(name, func(c rune) bool { return c == '/' || c == '.' || c == '-' })
	for i, p := range parts {
		parts[i] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.ToLower(r.method) + strings.Join(parts, "")
}

func pathWords(name string) string {
	switch name {
	case "index":
		return "the entry's place in the log, from 0"
	case "path":
		return "a path of c2sp.org/tlog-tiles"
	case "hash":
		return "SHA-256 of the file's or the subscription's bytes"
	}
	return "the id"
}

func pathSchema(name, path string) object {
	switch {
	case name == "index":
		return object{"type": "integer", "minimum": 0}
	case name == "path":
		return object{"type": "string"}
	case name == "hash" || path == api.PathAction:
		return hexSchema(32)
	}
	return hexSchema(16)
}

func querySchema(name string) object {
	switch name {
	case "journal", "record", "access":
		return hexSchema(16)
	}
	return object{"type": "integer", "minimum": 0}
}

func (d *drafter) responses(o operation) object {
	status := o.status
	content := d.content(o.out, o.outType, o.outAlso)
	if status == 0 {
		status = http.StatusOK
		if len(content) == 0 {
			status = http.StatusNoContent
		}
	}
	good := object{"description": "Done."}
	if len(content) > 0 {
		good["content"] = content
	}
	return object{fmt.Sprint(status): good, "default": object{"description": "A problem (RFC 9457); its code is stable, and its detail says what to do next.",
		"content": object{"application/problem+json": object{"schema": ref("Problem")}}}}
}

func (d *drafter) content(of any, kind, also string) object {
	out := object{}
	if of != nil {
		out["application/json"] = object{"schema": d.schema(reflect.TypeOf(of))}
	}
	for _, k := range []string{kind, also} {
		switch k {
		case "":
		case "application/json":
			out[k] = object{"schema": object{"type": "object"}}
		case "text/plain":
			out[k] = object{"schema": object{"type": "string"}}
		default:
			out[k] = object{}
		}
	}
	return out
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

var textual = reflect.TypeFor[encoding.TextMarshaler]()

// schema describes a type as encoding/json writes it.
func (d *drafter) schema(t reflect.Type) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return d.schema(t.Elem())
	case t.Implements(textual):
		return textSchema(t)
	case t.Kind() == reflect.Struct:
		return d.structure(t)
	case t == reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	case t.Kind() == reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case t.Kind() == reflect.Bool:
		return object{"type": "boolean"}
	case t.Kind() == reflect.String:
		return object{"type": "string"}
	case t.Kind() == reflect.Int:
		return object{"type": "integer"}
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		return object{"type": "integer", "minimum": 0, "maximum": uint64(1)<<t.Bits() - 1}
	}
	panic("gateway: no schema for " + t.String()) // a fault of the program, seen by its first test
}

func (d *drafter) structure(t reflect.Type) object {
	name := t.Name()
	if _, done := d.schemas[name]; done {
		return ref(name)
	}
	words := d.words[name]
	out := object{"type": "object", "additionalProperties": false}
	if words.Type != "" {
		out["description"] = words.Type
	}
	d.schemas[name] = out
	properties, required := object{}, []string{}
	d.properties(t, words, properties, &required)
	out["properties"] = properties
	if len(required) > 0 {
		out["required"] = required
	}
	return ref(name)
}

func (d *drafter) properties(t reflect.Type, words api.Words, into object, required *[]string) {
	for f := range t.Fields() {
		if f.Anonymous {
			d.properties(f.Type, d.words[f.Type.Name()], into, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		schema := d.schema(f.Type)
		if w := words.Fields[f.Name]; w != "" {
			schema["description"] = w
		}
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			*required = append(*required, name)
			if k := f.Type.Kind(); k == reflect.Slice {
				schema["type"] = []string{schema["type"].(string), "null"}
			}
		}
		into[name] = schema
	}
}

func hexSchema(bytes int) object {
	return object{"type": "string", "pattern": fmt.Sprintf("^[0-9a-f]{%d}$", 2*bytes)}
}

// textSchema is the schema of a type with a text form: hexadecimal, or one of a few names.
func textSchema(t reflect.Type) object {
	if t.Kind() == reflect.Array {
		return hexSchema(t.Len())
	}
	names := []string{}
	for n := range uint64(1 << 8) { // all enumerations of the interface are below
		v := reflect.New(t).Elem()
		v.SetUint(n)
		text := fmt.Sprint(v.Interface())
		if strings.HasPrefix(text, "unknown(") {
			continue
		}
		names = append(names, text)
	}
	return object{"type": "string", "enum": names}
}
