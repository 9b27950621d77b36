package consent

import (
	"errors"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// id makes an id whose last byte is n.
func id[T ~[16]byte](n byte) (out T) {
	out[0], out[15] = 0xaa, n
	return out
}

func doctor() Grantee { return Grantee{Practitioner: id[protocol.PractitionerID](1)} }

func TestRenderRefuses(t *testing.T) {
	label := []protocol.Label{id[protocol.Label](1)}
	for _, c := range []struct {
		name, template string
		params         Params
		want           error
	}{
		{"unknown template", "friends", Params{Grantee: doctor()}, ErrTemplate},
		{"nobody", "care-team", Params{}, ErrTemplate},
		{"two grantees", "care-team", Params{Grantee: Grantee{Practitioner: id[protocol.PractitionerID](1), Member: id[protocol.MemberID](1)}}, ErrTemplate},
		{"role of a practitioner", "care-team", Params{Grantee: Grantee{Practitioner: id[protocol.PractitionerID](1), Roles: protocol.Roles()}}, ErrTemplate},
		{"unknown role", "care-team", Params{Grantee: Grantee{Member: id[protocol.MemberID](1), Roles: []protocol.Role{99}}}, ErrTemplate},
		{"action beyond the template", "emergency-24h", Params{Grantee: doctor(), Actions: []Action{ActionWrite}}, ErrTemplate},
		{"purpose beyond the template", "insurer-claim", Params{Grantee: doctor(), Labels: label, Purposes: []protocol.Purpose{protocol.PurposeTreat}}, ErrTemplate},
		{"whole journal to an insurer", "insurer-claim", Params{Grantee: doctor()}, ErrTemplate},
		{"whole journal to research", "research", Params{Grantee: doctor()}, ErrTemplate},
		{"times reversed", "care-team", Params{Grantee: doctor(), RecordedFrom: 5, RecordedTo: 5}, ErrTemplate},
		{"time out of range", "care-team", Params{Grantee: doctor(), RecordedFrom: 1 << 60}, ErrTemplate},
		{"writing single records", "contributor", Params{Grantee: doctor(), Records: []protocol.RecordID{id[protocol.RecordID](1)}}, ErrTemplate},
		{"more records than fit", "second-opinion", Params{Grantee: doctor(), Records: make([]protocol.RecordID, 100_000)}, ErrTooLarge},
		{"more labels than fit", "second-opinion", Params{Grantee: doctor(), Labels: manyLabels(120)}, ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := Render(c.template, c.params)
			if !errors.Is(err, c.want) {
				t.Fatalf("want %v, got %v\n%s", c.want, err, got)
			}
		})
	}
}

func manyLabels(n int) (out []protocol.Label) {
	for i := range n {
		out = append(out, protocol.Label{byte(i), byte(i >> 8)})
	}
	return out
}

func TestTemplatesAreComplete(t *testing.T) {
	for i, tmpl := range Templates() {
		if int(tmpl.Number) != i+1 || tmpl.Title == "" || tmpl.Summary == "" || tmpl.WindowMillis == 0 || len(tmpl.Actions) == 0 {
			t.Errorf("%+v lacks something", tmpl)
		}
		if tmpl.WindowMillis > protocol.ContractWindowMillisMax || tmpl.UsesMax > protocol.ContractUsesMax {
			t.Errorf("%s: defaults beyond what a grant may say", tmpl.Name)
		}
		found, ok := TemplateNamed(tmpl.Name)
		if !ok || found.Number != tmpl.Number {
			t.Errorf("%s is not found by its name", tmpl.Name)
		}
		found.Actions[0] = 99
		if again, _ := TemplateNamed(tmpl.Name); again.Actions[0] == 99 {
			t.Errorf("%s can be changed from outside", tmpl.Name)
		}
	}
}

// TestSchemaSaysWhatTheCodeSays holds the schema's enumerations to the numbers of the protocol.
func TestSchemaSaysWhatTheCodeSays(t *testing.T) {
	for _, c := range []struct {
		entity string
		words  []string
	}{{"Role", words(typeRole)}, {"Purpose", words(typePurpose)}, {"Credential", words(typeCredential)}} {
		want := `entity ` + c.entity + ` enum ["` + strings.Join(c.words, `", "`) + `"];`
		if !strings.Contains(strings.Join(strings.Fields(Schema), " "), strings.ReplaceAll(strings.ReplaceAll(want, `["`, `[ "`), `"];`, `" ];`)) &&
			!strings.Contains(Schema, want) {
			t.Errorf("the schema lacks %s", want)
		}
	}
	if !strings.Contains(Schema, "action "+strings.Join(words(typeAction), ", ")+" appliesTo") {
		t.Errorf("the schema's actions are not %v", words(typeAction))
	}
}

func TestRenderedExample(t *testing.T) {
	got, tmpl, err := Render("care-team", Params{
		Grantee:      Grantee{Member: id[protocol.MemberID](1), Roles: []protocol.Role{protocol.RolePhysician, protocol.RoleNurse}},
		Labels:       []protocol.Label{id[protocol.Label](2), id[protocol.Label](1)},
		Records:      []protocol.RecordID{id[protocol.RecordID](7)},
		Authors:      []protocol.MemberID{id[protocol.MemberID](3)},
		RecordedFrom: 1000, RecordedTo: 2000,
		ExceptLabels: []protocol.Label{id[protocol.Label](9)}, ExceptRecords: []protocol.RecordID{id[protocol.RecordID](8)}, ExceptAuthors: []protocol.MemberID{id[protocol.MemberID](5)},
	})
	if err != nil {
		t.Fatal(err)
	}
	x := func(n string) string { return `::"aa0000000000000000000000000000` + n + `"` }
	head := `(principal is Practitioner in Member` + x("01") + `, action in [Action::"read", Action::"write"], resource) when { principal.role in [Role::"nurse", Role::"physician"] && resource`
	want := `forbid` + head + ` in [Class` + x("09") + `] };` + "\n" +
		`forbid` + head + ` in [Record` + x("08") + `] };` + "\n" +
		`forbid` + head + `.author in [Member` + x("05") + `] };` + "\n" +
		`permit(principal is Practitioner in Member` + x("01") + `, action == Action::"read", resource) when { principal.role in [Role::"nurse", Role::"physician"] && context.purpose in [Purpose::"CAREMGT", Purpose::"ETREAT", Purpose::"TREAT"] && (resource in [Class` + x("01") + `, Class` + x("02") + `] || resource in [Record` + x("07") + `]) && resource.author in [Member` + x("03") + `] && resource.recorded >= 1000 && resource.recorded < 2000 };` + "\n" +
		`permit(principal is Practitioner in Member` + x("01") + `, action == Action::"write", resource) when { principal.role in [Role::"nurse", Role::"physician"] && resource in [Class` + x("01") + `, Class` + x("02") + `] };` + "\n"
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if tmpl.WindowMillis != 365*dayMillis {
		t.Errorf("default window %d", tmpl.WindowMillis)
	}
}
