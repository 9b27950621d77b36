package consent

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

var fuzzSeeds = []string{
	"", ";", "permit(principal, action, resource);", "permit(principal, action, resource);\n",
	"forbid(principal == Practitioner::\"" + hexA + "\", action in [Action::\"read\"], resource in Class::\"" + hexB + "\") when { context.now < 5 } unless { !context.breakglass };",
	`@a("b") permit(principal is Practitioner in Member::"` + hexC + `", action, resource is Record) when { [Role::"nurse"].contains(principal.role) };`,
	`permit(principal, action, resource) when { if context.uses >= 2 then principal in resource.author else context.now - resource.recorded < 3 };`,
	`permit(principal, action, resource) when { context["now"] == 1 && "\u{1F600}\x41" like "*\*" };`,
	"permit(principal, action, resource) when {" + strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200) + "};",
	"permit(principal, action, resource) when {" + strings.Repeat("!", 500) + "true};",
	"permit(principal, action, resource) when {" + strings.Repeat("-", 500) + "1 < 2};",
	"permit(principal, action, resource) when {" + strings.Repeat("[", 500) + "};",
	"permit(principal, action, resource) when {" + strings.Repeat("if true then ", 400) + "};",
	"permit(principal, action, resource) when { context" + strings.Repeat(".a", 2000) + " };",
	"permit(principal, action, resource) when { true" + strings.Repeat(" && true", 1900) + " };",
	"permit(principal, action, resource) when { principal has " + strings.Repeat("a.", 2000) + "b };",
	"permit(principal, action, resource) when { {" + strings.Repeat("a:{", 500) + " };",
	"permit(principal, action, resource) when { " + strings.Repeat("A::", 3000) + "\"x\" == 1 };",
	"permit(principal, action, resource)" + strings.Repeat(" when { true }", 1000) + ";",
	"// \xf0\x9f\x98\x80\n/* */permit", "\"unterminated", "permit(principal == ?principal, action, resource);", "\x00permit", "permit\xff",
}

// FuzzCanonicalise: no input panics or escapes a typed refusal, and what is accepted is stable, compiles, can be explained and decided.
func FuzzCanonicalise(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add([]byte(s))
	}
	s := plainScene(Templates()[0], closeAll, drVogelAtHospital, ActionRead)
	f.Fuzz(func(t *testing.T, source []byte) {
		once, err := Canonicalise(source)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || errors.Is(err, ErrNotCanonical) {
				t.Fatalf("untyped refusal, or a canonical form that is not: %v", err)
			}
			return
		}
		twice, err := Canonicalise(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%v\n%q\n%q", err, once, twice)
		}
		compiled, err := Compile(once)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := Explain(once, Terms{}, nil); err != nil || strings.Contains(text, "?") || strings.Contains(text, "  ") {
			t.Fatalf("%v\n%s\n%s", err, once, text)
		}
		d := Decide([]Active{{ID: firstContract, Policies: compiled, State: StateActive, NotAfter: ends24h}}, s.request, s.resource)
		if d.Reason == ReasonError {
			t.Fatalf("an accepted contract fails: %s", once)
		}
	})
}

// FuzzCompile: Compile accepts exactly what Canonicalise yields.
func FuzzCompile(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := Compile(text)
		canonical, errSource := Canonicalise(text)
		isCanonical := errSource == nil && bytes.Equal(canonical, text) && len(text) <= protocol.ContractBytesMax
		if (err == nil) != isCanonical {
			t.Fatalf("Compile says %v of %q, its canonical form is %q (%v)", err, text, canonical, errSource)
		}
	})
}
