package fhir

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func parseCode(src string) Code {
	var d doc
	if f := d.parse([]byte(src), 100); f != nil {
		return f.code
	}
	return ""
}

func TestStrictJSON(t *testing.T) {
	good := []string{`{}`, `[]`, `""`, `0`, `-0`, `1.50`, `1e9`, `1E-09`, `true`, `false`, `null`, ` [1 , 2] `,
		`{"a":{"b":[null]},"":1}`, `"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"`, `"é😀"`}
	for _, src := range good {
		if code := parseCode(src); code != "" {
			t.Errorf("%s refused: %s", src, code)
		}
	}
	bad := map[string]Code{
		``: CodeTruncated, `{`: CodeTruncated, `{"a"`: CodeTruncated, `{"a":`: CodeTruncated, `{"a":1`: CodeTruncated,
		`"abc`: CodeTruncated, `[1,`: CodeTruncated, `"\`: CodeTruncated, `"\u12`: CodeSyntax, `-`: CodeTruncated,
		`{"a":1,}`: CodeSyntax, `[1,]`: CodeSyntax, `[,1]`: CodeSyntax, `{a:1}`: CodeSyntax, `{'a':1}`: CodeSyntax,
		`01`: CodeTrailing, `+1`: CodeSyntax, `.5`: CodeSyntax, `1.`: CodeTruncated, `1.e3`: CodeSyntax, `1e`: CodeTruncated,
		`tru`: CodeSyntax, `nul`: CodeSyntax, `NaN`: CodeSyntax, `Infinity`: CodeSyntax, `"\x41"`: CodeSyntax,
		"\"a\nb\"": CodeSyntax, "\"a\x00b\"": CodeSyntax, `{} {}`: CodeTrailing, `{}x`: CodeTrailing, `/**/{}`: CodeSyntax,
		`{"a":1,"a":2}`: CodeDuplicateKey, `{"a":1,"\u0061":2}`: CodeDuplicateKey,
		"\"\xff\"": CodeEncoding, "\"\xc0\x80\"": CodeEncoding, "\"\xed\xa0\x80\"": CodeEncoding,
		`"\ud800"`: CodeEncoding, `"\ud800\u0041"`: CodeEncoding, `"\udc00"`: CodeEncoding,
		strings.Repeat("[", 101): CodeTooDeep, strings.Repeat(`{"a":`, 101): CodeTooDeep,
		"[" + strings.Repeat("0,", nodesMax) + "0]": CodeTooLarge,
	}
	for src, want := range bad {
		if code := parseCode(src); code != want {
			t.Errorf("%.60q: %q, want %q", src, code, want)
		}
	}
}

func TestDuplicatesInWideObjects(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	for i := range 1000 {
		b.WriteString(`"k` + string(rune('a'+i%26)) + strings.Repeat("x", i/26) + `":0,`)
	}
	if code := parseCode(b.String() + `"last":0}`); code != "" {
		t.Errorf("1001 members refused: %s", code)
	}
	for _, again := range []string{"ka", "kz", "kaxxxxx"} {
		if code := parseCode(b.String() + `"` + again + `":0}`); code != CodeDuplicateKey {
			t.Errorf("second %q passes: %q", again, code)
		}
	}
}

// What the parser accepts, encoding/json accepts, and both read the same strings.
func TestAgreesWithStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SliceOfN(rapid.SampledFrom([]string{"{", "}", "[", "]", ",", ":", `"a"`, `"b"`, `"\u0041"`, `"é"`, "1", "-1.5e3",
			"true", "null", " ", "\n", `"`, `\`, "0", "."}), 0, 14).Draw(t, "tokens")
		text := strings.Join(src, "")
		var d doc
		f := d.parse([]byte(text), 100)
		if f == nil && !json.Valid([]byte(text)) {
			t.Fatalf("%q accepted", text)
		}
		if f != nil && f.code != CodeDuplicateKey && json.Valid([]byte(text)) {
			t.Fatalf("%q refused: %v", text, f)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.String().Draw(t, "string")
		src, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var d doc
		if f := d.parse(src, 1); f != nil || d.root().str() != want {
			t.Fatalf("%s: %q, %v", src, d.root().str(), f)
		}
	})
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":[1,2]}`, `{ "b" : [ 1 , 2 ], "a" : 1 }`, true},
		{`{"a":"\u00e9\/"}`, `{"a":"é/"}`, true},
		{`{"a":"\n"}`, `{"a":"\u000A"}`, true},
		{`{"v":1.0}`, `{"v":1.00}`, false},
		{`{"v":1.0}`, `{"v":1}`, false},
		{`{"v":1e2}`, `{"v":100}`, false},
		{`{"v":"1"}`, `{"v":1}`, false},
		{`[1,2]`, `[2,1]`, false},
		{`{"a":null}`, `{}`, false},
		{`{"a":1,"a":1}`, `{"a":1}`, false},
		{`{"a":1} x`, `{"a":1}`, false},
		{`{"a":[]}`, `{"a":{}}`, false},
	} {
		if got := Equal([]byte(c.a), []byte(c.b)); got != c.want {
			t.Errorf("Equal(%s, %s) = %v", c.a, c.b, got)
		}
		ha, errA := Hash([]byte(c.a))
		hb, errB := Hash([]byte(c.b))
		if errA == nil && errB == nil && (ha == hb) != c.want {
			t.Errorf("hashes of %s and %s: equal %v", c.a, c.b, ha == hb)
		}
	}
	if _, err := Hash([]byte(`{`)); !errors.Is(err, &Problem{Code: CodeTruncated}) {
		t.Errorf("hash of a broken value: %v", err)
	}
}

func TestCanonicalVectors(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "spec", "vectors", "fhir-canonical.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Input, Canonical, Hash, Error string }
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors: %v", len(vectors), err)
	}
	for _, v := range vectors {
		c, err := Canonical([]byte(v.Input))
		if v.Error != "" {
			if !errors.Is(err, &Problem{Code: Code(v.Error)}) {
				t.Errorf("%s: %v", v.Name, err)
			}
			continue
		}
		h, _ := Hash([]byte(v.Input))
		if err != nil || string(c) != v.Canonical || hex.EncodeToString(h[:]) != v.Hash {
			t.Errorf("%s: %s %x %v", v.Name, c, h, err)
		}
	}
}

// Canonical is stable, valid JSON with the same content, whatever order and spacing the members had.
func TestCanonicalProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.MapOfN(rapid.String(), rapid.SliceOfN(rapid.String(), 0, 3), 0, 5).Draw(t, "object")
		raw, err := json.MarshalIndent(v, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		once, err := Canonical(raw)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := Canonical(once)
		if err != nil || string(twice) != string(once) {
			t.Fatalf("canonical of canonical differs: %s, %s, %v", once, twice, err)
		}
		var back map[string][]string
		if err := json.Unmarshal(once, &back); err != nil || len(back) != len(v) {
			t.Fatalf("%s: %v", once, err)
		}
	})
}
