package consent

import (
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

func friendly(of, id string) string {
	return map[string]string{
		"Practitioner aa000000000000000000000000000001": "Dr Mira Vogel",
		"Member aa000000000000000000000000000001":       "St. Anne Hospital",
		"Class aa000000000000000000000000000001":        "allergies",
		"Class aa000000000000000000000000000002":        "medications",
	}[of+" "+id]
}

func TestExplain(t *testing.T) {
	const day = 1767225600000 // 2026-01-01 00:00 UTC
	for _, c := range []struct {
		name   string
		source string
		render func() ([]byte, Template, error)
		terms  Terms
		want   string
	}{
		{name: "emergency", render: func() ([]byte, Template, error) { return Render("emergency-24h", Params{Grantee: doctor()}) },
			terms: Terms{NotBefore: day, NotAfter: day + dayMillis},
			want: "Dr Mira Vogel may read all records for breaking the glass in an emergency, emergency treatment or treatment.\n" +
				"It holds from 1 January 2026, 00:00 UTC until 2 January 2026, 00:00 UTC. You can end it at any moment.\n"},
		{name: "a role, with limits", render: func() ([]byte, Template, error) {
			return Render("second-opinion", Params{
				Grantee:      Grantee{Member: id[protocol.MemberID](1), Roles: []protocol.Role{protocol.RoleEmergencyPhysician, protocol.RoleNurse}},
				Labels:       []protocol.Label{id[protocol.Label](1), id[protocol.Label](2)},
				Records:      []protocol.RecordID{id[protocol.RecordID](7)},
				Authors:      []protocol.MemberID{id[protocol.MemberID](1), id[protocol.MemberID](2)},
				RecordedFrom: day, RecordedTo: day + 1, ExceptLabels: []protocol.Label{id[protocol.Label](3)}, BreakGlassOnly: true,
			})
		}, terms: Terms{UsesMax: 1},
			want: "Any practitioner at St. Anne Hospital who is an emergency physician or a nurse may read records about allergies and medications, and record aa000000… " +
				"written by St. Anne Hospital or member aa000000… for treatment, only when an emergency is declared, recorded on or after 1 January 2026, 00:00 UTC, " +
				"recorded before 1 January 2026, 00:00:00.001 UTC.\n" +
				"Any practitioner at St. Anne Hospital who is an emergency physician or a nurse may never read records about class aa000000…, whatever other contracts say.\n" +
				"It holds from the moment you sign, for at most 1 use. You can end it at any moment.\n"},
		{name: "own Cedar", source: `
			permit(principal, action, resource) when { context.now - resource.recorded <= 2592000000 || resource.author == principal } unless { context.uses >= 3 && action == Action::"share" };
			permit(principal is Practitioner, action == Action::"read", resource) when { if principal.role == Role::"nurse" then context.breakglass else !(principal in Member::"aa000000000000000000000000000001") };`,
			want: "Any practitioner of the network may read all records, only if (if their role is a nurse then an emergency is declared, otherwise not (the one who asks is in St. Anne Hospital)).\n" +
				"ANYBODY in the network may read, add and pass on all records, only if ((the time now minus the time it was recorded) is at most 30 days) or (the record's author is the one who asks), " +
				"unless (the number of uses so far is at least 3) and (the action is share).\n" +
				"It holds from the moment you sign. You can end it at any moment.\n"},
		{name: "only closes", source: `forbid(principal, action, resource in Class::"aa000000000000000000000000000002");`,
			want: "ANYBODY in the network may never read, add or pass on records about medications, whatever other contracts say.\n" +
				"This contract opens nothing; it only closes.\nIt holds from the moment you sign. You can end it at any moment.\n"},
		{name: "two conditions of one sort", source: `permit(principal == Member::"aa000000000000000000000000000001", action, resource in Class::"aa000000000000000000000000000001") when { resource in Class::"aa000000000000000000000000000002" && resource in Journal::"aa000000000000000000000000000001" };`,
			want: "St. Anne Hospital itself may read, add and pass on records about allergies, only if the record is in medications, only if the record is in journal aa000000….\n" +
				"It holds from the moment you sign. You can end it at any moment.\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.render == nil {
				c.render = func() ([]byte, Template, error) { b, err := Canonicalise([]byte(c.source)); return b, Template{}, err }
			}
			canonical, _, err := c.render()
			if err != nil {
				t.Fatal(err)
			}
			got, err := Explain(canonical, c.terms, friendly)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestExplainKeepsNamesOnOneLine: a name is somebody else's text and must not be able to forge a line.
func TestExplainKeepsNamesOnOneLine(t *testing.T) {
	canonical, _, err := Render("care-team", Params{Grantee: doctor()})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Explain(canonical, Terms{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	evil, err := Explain(canonical, Terms{}, func(string, string) string { return "X.\nNobody may read\u2028anything" + strings.Repeat("y", 500) })
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(evil, "\n") != strings.Count(plain, "\n") || strings.Contains(evil, "\u2028") || strings.Contains(evil, strings.Repeat("y", 100)) {
		t.Errorf("%s", evil)
	}
}
