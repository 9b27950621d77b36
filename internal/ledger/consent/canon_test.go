package consent

import (
	"errors"
	"strings"
	"testing"
)

const (
	hexA = "00112233445566778899aabbccddeeff"
	hexB = "ffeeddccbbaa99887766554433221100"
	hexC = "0123456789abcdef0123456789abcdef"
)

func TestCanonicalForm(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"layout, comments and annotations go", `
			// my surgeon
			@note("she is nice") permit ( principal == Practitioner::"` + hexA + `" , // here too
			  action in [Action::"read"], resource ) ;`,
			`permit(principal == Practitioner::"` + hexA + `", action == Action::"read", resource);` + "\n"},
		{"policies and lists are sorted, each once",
			`permit(principal, action in [Action::"write", Action::"read", Action::"read"], resource) when { resource in [Class::"` + hexB + `", Class::"` + hexA + `", Class::"` + hexA + `"] };
			 forbid(principal, action, resource); forbid(principal,action,resource);`,
			"forbid(principal, action, resource);\n" +
				`permit(principal, action in [Action::"read", Action::"write"], resource) when { resource in [Class::"` + hexA + `", Class::"` + hexB + `"] };` + "\n"},
		{"grouping of chains goes, other parentheses stay where needed",
			`permit(principal, action, resource) when { (context.breakglass && (context.now < 5 && (context.uses + 1) >= 2)) || ((!(context.breakglass))) } unless { !(context.now == 1 || context["uses"] == 2) };`,
			`permit(principal, action, resource) when { context.breakglass && context.now < 5 && context.uses + 1 >= 2 || !context.breakglass } unless { !(context.now == 1 || context.uses == 2) };` + "\n"},
		{"sums keep their grouping",
			`permit(principal, action, resource) when { context.now - (resource.recorded + 1) < 10 && (context.now - 1) - 2 > 3 };`,
			`permit(principal, action, resource) when { context.now - (resource.recorded + 1) < 10 && context.now - 1 - 2 > 3 };` + "\n"},
		{"if inside and",
			`permit(principal, action, resource) when { (if context.breakglass then true else false) && context.now < 3 };`,
			`permit(principal, action, resource) when { (if context.breakglass then true else false) && context.now < 3 };` + "\n"},
		{"escapes are resolved",
			`permit(principal, action, resource) when { context.purpose == Purpose::"\u{54}REAT" };`,
			`permit(principal, action, resource) when { context.purpose == Purpose::"TREAT" };` + "\n"},
		{"guarded attributes of a practitioner",
			`permit(principal is Practitioner in Member::"` + hexA + `", action, resource in Journal::"` + hexB + `") when { [Role::"nurse", Role::"dentist"].contains(principal.role) && resource.author in [Member::"` + hexA + `"] };`,
			`permit(principal is Practitioner in Member::"` + hexA + `", action, resource in Journal::"` + hexB + `") when { [Role::"dentist", Role::"nurse"].contains(principal.role) && resource.author in [Member::"` + hexA + `"] };` + "\n"},
		{"own records", `permit(principal, action == Action::"read", resource) when { principal in resource.author };`,
			`permit(principal, action == Action::"read", resource) when { principal in resource.author };` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Canonicalise([]byte(c.source))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			again, err := Canonicalise(got)
			if err != nil || string(again) != string(got) {
				t.Errorf("not idempotent: %v\n%s", err, again)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	when := func(e string) string { return "permit(principal, action, resource) when { " + e + " };" }
	for _, c := range []struct {
		name, source string
		want         error
	}{
		{"empty", "", ErrParse},
		{"comment alone", "// nothing\n", ErrParse},
		{"not Cedar", "let me in", ErrParse},
		{"half", "permit(principal, action, resource", ErrParse},
		{"not UTF-8", "// \xff\npermit(principal, action, resource);", ErrParse},
		{"a template's slot", "permit(principal == ?principal, action, resource);", ErrParse},
		{"string", when(`context.purpose == "TREAT"`), ErrFreeText},
		{"like", when(`"x" like "y*"`), ErrFreeText},
		{"unknown purpose", when(`context.purpose == Purpose::"my depression"`), ErrFreeText},
		{"unknown role", `permit(principal is Practitioner, action, resource) when { principal.role == Role::"friend" };`, ErrFreeText},
		{"unknown action", `permit(principal, action == Action::"delete", resource);`, ErrFreeText},
		{"name for an id", `permit(principal == Practitioner::"Dr House", action, resource);`, ErrFreeText},
		{"capitals in an id", `permit(principal in Member::"` + strings.ToUpper(hexB) + `", action, resource);`, ErrFreeText},
		{"short id", `permit(principal in Member::"00", action, resource);`, ErrFreeText},
		{"unknown entity type", `permit(principal in Family::"` + hexA + `", action, resource);`, ErrSchema},
		{"class as principal", `permit(principal == Class::"` + hexA + `", action, resource);`, ErrSchema},
		{"practitioner as resource", `permit(principal, action, resource == Practitioner::"` + hexA + `");`, ErrSchema},
		{"principal is Record", `permit(principal is Record, action, resource);`, ErrSchema},
		{"no actions", `permit(principal, action in [], resource);`, ErrSchema},
		{"unknown attribute", when(`resource.secret`), ErrSchema},
		{"unguarded role", when(`principal.role == Role::"nurse"`), ErrSchema},
		{"has", when(`principal has role`), ErrSchema},
		{"record", when(`{a: 1} == {a: 1}`), ErrSchema},
		{"extension", when(`ip("1.1.1.1").isLoopback()`), ErrSchema},
		{"datetime", when(`datetime("2020-01-01") < datetime("2021-01-01")`), ErrSchema},
		{"multiplication", when(`context.now * 2 > 1`), ErrSchema},
		{"negative", when(`context.now > -1`), ErrSchema},
		{"huge number", when(`context.now < 9007199254740992`), ErrSchema},
		{"number out of range", when(`context.now < 99999999999999999999`), ErrParse},
		{"not a condition", when(`context.now`), ErrSchema},
		{"bool and long", when(`context.now == true`), ErrSchema},
		{"role and purpose", when(`context.purpose == Role::"nurse"`), ErrSchema},
		{"mixed list", when(`resource in [Class::"` + hexA + `", Journal::"` + hexA + `"]`), ErrSchema},
		{"empty list", when(`[].contains(resource)`), ErrSchema},
		{"numbers in a list", when(`[1, 2].contains(context.now)`), ErrSchema},
		{"record in member", when(`resource in Member::"` + hexA + `"`), ErrSchema},
		{"tags", when(`principal.hasTag("x")`), ErrSchema},
		{"isEmpty", when(`[Role::"nurse"].isEmpty()`), ErrSchema},
		{"ill-typed behind false", when(`false && context.now`), ErrSchema},
		{"free text behind false", when(`false && ("secret" == "secret")`), ErrFreeText},
		{"deep brackets", when(strings.Repeat("(", 3000) + "true" + strings.Repeat(")", 3000)), ErrTooLarge},
		{"deep not", when(strings.Repeat("!", 3000) + "true"), ErrTooLarge},
		{"deep if", when(strings.Repeat("if true then true else ", 500) + "true"), ErrTooLarge},
		{"long has", when("principal has " + strings.Repeat("a.", 3000) + "b"), ErrTooLarge},
		{"long path", when(strings.Repeat("A ::", 3000) + `"x" == 1`), ErrTooLarge},
		{"long path with comments", when("principal has " + strings.Repeat("a.//\n", 1000) + "b"), ErrTooLarge},
		{"depth behind a quote in a comment", when(`/* " */ ` + strings.Repeat("(", 3000) + "true" + strings.Repeat(")", 3000) + ` /* " */`), ErrTooLarge},
		{"depth behind a quote in another comment", when("// \"\n" + strings.Repeat("(", 3000) + "true" + strings.Repeat(")", 3000)), ErrTooLarge},
		{"depth behind an escaped quote", when(`"\\" == "\"" && ` + strings.Repeat("!", 3000) + "true"), ErrTooLarge},
		{"comment in a comment", when("/*/ ((( */" + strings.Repeat("[", 3000) + `/* " */`), ErrTooLarge},
		{"many nodes", when(strings.Repeat("true && ", 600) + "true"), ErrTooLarge},
		{"many policies", strings.Repeat("permit(principal, action, resource);", 17), ErrTooLarge},
		{"source", strings.Repeat(" ", SourceBytesMax+1), ErrTooLarge},
		{"canonical bytes", when("resource in [" + manyRecords() + "]"), ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Canonicalise([]byte(c.source))
			if !errors.Is(err, c.want) {
				t.Fatalf("want %v, got %v\n%s", c.want, err, got)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("not an *Error: %v", err)
			}
			if c.want == ErrTooLarge && (e.Have <= e.Max || e.What == "") {
				t.Errorf("says %q %d of %d", e.What, e.Have, e.Max)
			}
		})
	}
}

// manyRecords lists more ids than fit into a contract.
func manyRecords() string {
	var ids []string
	for i := range 100 {
		ids = append(ids, `Record::"`+strings.Repeat("0", 30)+string("0123456789"[i/10])+string("0123456789"[i%10])+`"`)
	}
	return strings.Join(ids, ", ")
}

func TestCompileTakesTheCanonicalFormOnly(t *testing.T) {
	good := "forbid(principal, action, resource) when { context.breakglass };\npermit(principal, action, resource);\n"
	if _, err := Compile([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		strings.TrimSuffix(good, "\n"), " " + good, good + "\n", "// x\n" + good, "@a " + good,
		strings.Replace(good, "(principal,", "(principal ,", 1), strings.Replace(good, "context.breakglass", "(context.breakglass)", 1),
		"permit(principal, action, resource);\nforbid(principal, action, resource) when { context.breakglass };\n",
		good + "permit(principal, action, resource);\n", strings.ReplaceAll(good, "\n", "\r\n"),
	} {
		if _, err := Compile([]byte(bad)); !errors.Is(err, ErrNotCanonical) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseErrorsSayWhere(t *testing.T) {
	_, err := Canonicalise([]byte("permit(principal, action, resource);\npermit(principal, action, resource) when { context.now < };"))
	var e *Error
	if !errors.As(err, &e) || e.Line != 2 || e.Column == 0 {
		t.Fatalf("%v", err)
	}
	_, err = Canonicalise([]byte("permit(principal, action, resource);\n\npermit(principal, action, resource) when { context.what };"))
	if !errors.As(err, &e) || e.Line != 3 {
		t.Fatalf("%v", err)
	}
}
