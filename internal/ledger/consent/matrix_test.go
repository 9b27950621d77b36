package consent

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew, to be reviewed")

// The cast of the matrix.
var (
	hospital, clinic  = id[protocol.MemberID](0x11), id[protocol.MemberID](0x12)
	lab, otherLab     = id[protocol.MemberID](0x13), id[protocol.MemberID](0x14)
	journal           = id[protocol.JournalID](0x21)
	classIn, classOut = id[protocol.Label](0x31), id[protocol.Label](0x32)
	otherClass        = id[protocol.Label](0x33)
	plainRecord       = id[protocol.RecordID](0x41)
	namedRecord       = id[protocol.RecordID](0x42)
	closedRecord      = id[protocol.RecordID](0x43)
	firstContract     = id[protocol.ContractID](0x51)
	otherContract     = id[protocol.ContractID](0x52)
	drVogel           = id[protocol.PractitionerID](0x61)
)

const (
	recordedFrom, recordedTo = 1_700_000_000_000, 1_710_000_000_000
	begins, ends24h          = 1_720_000_000_000, 1_720_086_400_000
	noon                     = begins + 12*3600_000
)

var matrixGrantees = []struct {
	name string
	to   Grantee
}{
	{"Dr Vogel", Grantee{Practitioner: drVogel}},
	{"physicians and nurses at the hospital", Grantee{Member: hospital, Roles: []protocol.Role{protocol.RolePhysician, protocol.RoleNurse}}},
	{"the hospital", Grantee{Member: hospital}},
	{"whoever breaks the glass", Grantee{}},
	{"whoever breaks the glass at the hospital", Grantee{Member: hospital}},
}

var matrixActors = []struct {
	name string
	who  Principal
}{
	{"Dr Vogel, hospital", Principal{drVogel, hospital, protocol.RolePhysician, CredentialActive}},
	{"a nurse, hospital", Principal{id[protocol.PractitionerID](0x62), hospital, protocol.RoleNurse, CredentialActive}},
	{"an examiner, hospital", Principal{id[protocol.PractitionerID](0x63), hospital, protocol.RoleClaimsExaminer, CredentialActive}},
	{"an emergency physician, hospital", Principal{id[protocol.PractitionerID](0x65), hospital, protocol.RoleEmergencyPhysician, CredentialActive}},
	{"a paramedic, clinic", Principal{id[protocol.PractitionerID](0x66), clinic, protocol.RoleParamedic, CredentialActive}},
	{"a physician, clinic", Principal{id[protocol.PractitionerID](0x64), clinic, protocol.RolePhysician, CredentialActive}},
	{"the hospital itself", Principal{Member: hospital, Credential: CredentialActive}},
	{"the clinic itself", Principal{Member: clinic, Credential: CredentialActive}},
}

// matrixLimits are the parameters that each template is rendered with; a template that is not here fails the test.
var matrixLimits = map[string]Params{
	"emergency-24h":  {ExceptLabels: []protocol.Label{classOut}, ExceptRecords: []protocol.RecordID{closedRecord}},
	"care-team":      readLimits,
	"second-opinion": readLimits,
	"insurer-claim":  readLimits,
	"research":       readLimits,
	"caregiver":      readLimits,
	"emergency-card": readLimits,
	"contributor":    {Labels: []protocol.Label{classIn}, ExceptRecords: []protocol.RecordID{closedRecord}},
}

var readLimits = Params{
	Labels: []protocol.Label{classIn}, Records: []protocol.RecordID{namedRecord}, Authors: []protocol.MemberID{lab},
	RecordedFrom: recordedFrom, RecordedTo: recordedTo, ExceptRecords: []protocol.RecordID{closedRecord},
}

// scene is one question with all that bears on it; a situation changes one thing of the plain scene.
type scene struct {
	contract Active
	others   []Active
	request  Request
	resource Resource
}

var matrixSituations = []struct {
	name   string
	change func(*scene)
}{
	{"plain", func(*scene) {}},
	{"class out", func(s *scene) { s.resource.Label = classOut }},
	{"record named", func(s *scene) { s.resource.Label, s.resource.Record = classOut, namedRecord }},
	{"record closed", func(s *scene) { s.resource.Record = closedRecord }},
	{"author out", func(s *scene) { s.resource.Author = otherLab }},
	{"recorded first ms", func(s *scene) { s.resource.Recorded = recordedFrom }},
	{"recorded before", func(s *scene) { s.resource.Recorded = recordedFrom - 1 }},
	{"recorded after", func(s *scene) { s.resource.Recorded = recordedTo }},
	{"window first ms", func(s *scene) { s.request.Now = begins }},
	{"window not yet", func(s *scene) { s.request.Now = begins - 1 }},
	{"window last ms", func(s *scene) { s.request.Now = ends24h - 1 }},
	{"window over", func(s *scene) { s.request.Now = ends24h }},
	{"one use left", func(s *scene) { s.contract.UsesMax, s.contract.Uses = 3, 2 }},
	{"no use left", func(s *scene) { s.contract.UsesMax, s.contract.Uses = 3, 3 }},
	{"credential expired", func(s *scene) { s.request.Principal.Credential = CredentialExpired }},
	{"suspended", func(s *scene) { s.request.Principal.Credential = CredentialSuspended }},
	{"purpose wrong", func(s *scene) { s.request.Purpose = protocol.PurposePublicHealth }},
	{"purpose unknown", func(s *scene) { s.request.Purpose = 200 }},
	{"break-glass", func(s *scene) { s.request.BreakGlass = true }},
	{"break-glass, BTG", func(s *scene) { s.request.BreakGlass, s.request.Purpose = true, protocol.PurposeBreakGlass }},
	{"glass whole", func(s *scene) { s.request.BreakGlass = false }},
	{"granted by a delegate, in scope", func(s *scene) { s.contract.Within = []protocol.Label{classIn} }},
	{"granted by a delegate, out of scope", func(s *scene) { s.contract.Within = []protocol.Label{otherClass} }},
	{"forbidden by a delegate, out of scope", func(s *scene) {
		c := closing(otherContract)
		c.Within = []protocol.Label{otherClass}
		s.others = append(s.others, c)
	}},
	{"forbidden elsewhere", func(s *scene) { s.others = append(s.others, closing(otherContract)) }},
	{"forbid is over", func(s *scene) {
		c := closing(otherContract)
		c.NotAfter = noon
		s.others = append(s.others, c)
	}},
	{"forbid used up", func(s *scene) {
		c := closing(otherContract)
		c.UsesMax, c.Uses = 1, 1
		s.others = append(s.others, c)
	}},
	{"another is broken", func(s *scene) {
		s.others = append(s.others, Active{ID: otherContract, State: StateActive, NotAfter: ends24h})
	}},
	{"ended", func(s *scene) { s.contract.State = StateEnded }},
	{"revoked", func(s *scene) { s.contract.State = StateRevoked }},
	{"no contract", func(s *scene) { s.contract.Policies = mustCompile(closedToAll) }},
}

const closedToAll = "permit(principal, action, resource) when { false };\n"

// closing is a contract that forbids everybody everything in the journal.
func closing(id protocol.ContractID) Active {
	return Active{ID: id, State: StateActive, NotAfter: ends24h, Policies: closeAll}
}

var closeAll = mustCompile("forbid(principal, action, resource in Journal::\"" + journal.String() + "\");\n")

func mustCompile(canonical string) *Compiled {
	c, err := Compile([]byte(canonical))
	if err != nil {
		panic(err)
	}
	return c
}

func plainScene(t Template, contract *Compiled, who Principal, action Action) scene {
	purpose := protocol.PurposeTreat
	if len(t.Purposes) > 0 {
		purpose = t.Purposes[0]
	}
	recorded := uint64(recordedFrom + 1)
	return scene{
		contract: Active{ID: firstContract, Policies: contract, State: StateActive, NotBefore: begins, NotAfter: ends24h},
		request:  Request{Principal: who, Action: action, Purpose: purpose, Now: noon, BreakGlass: len(t.Roles) > 0},
		resource: Resource{Journal: journal, Label: classIn, Record: plainRecord, Author: lab, Recorded: recorded},
	}
}

func (s scene) decide() Decision { return Decide(append(s.others, s.contract), s.request, s.resource) }

// matrix writes the whole golden: for each template and grantee, who gets which profile of answers. The profile of somebody to whom no
// contract speaks is written once, at the top.
func matrix(t *testing.T, count func(Template, Action, Decision)) string {
	var b strings.Builder
	outsider := profile(Templates()[0], mustCompile(closedToAll), matrixActors[0].who, ActionRead, func(Decision) {})
	b.WriteString("# Who may do what under which circumstances: every template, grantee, actor and action. Decided by the code, reviewed by people;\n" +
		"# the cast is in matrix_test.go. \"yes\" is permitted, anything else the reason of the refusal. A circumstance changes one thing of\n" +
		"# the plain one, and \"purposes\" are those for which the plain one is permitted.\n\n== an outsider\n" + outsider)
	for _, tmpl := range Templates() {
		limits, ok := matrixLimits[tmpl.Name]
		if !ok {
			t.Errorf("template %s is not in the matrix", tmpl.Name)
		}
		for _, g := range matrixGrantees {
			if len(tmpl.Roles) > 0 != strings.HasPrefix(g.name, "whoever") {
				continue
			}
			limits.Grantee = g.to
			canonical, _, err := Render(tmpl.Name, limits)
			if err != nil {
				t.Fatalf("%s: %v", tmpl.Name, err)
			}
			fmt.Fprintf(&b, "\n== %s for %s\n", tmpl.Name, g.name)
			writeProfiles(&b, tmpl, mustCompile(string(canonical)), outsider, count)
		}
	}
	return b.String()
}

// writeProfiles lists who gets which profile, each profile once, outsiders last.
func writeProfiles(b *strings.Builder, tmpl Template, contract *Compiled, outsider string, count func(Template, Action, Decision)) {
	who := map[string][]string{}
	var order []string
	for _, actor := range matrixActors {
		for _, action := range []Action{ActionRead, ActionWrite, ActionShare} {
			p := profile(tmpl, contract, actor.who, action, func(d Decision) { count(tmpl, action, d) })
			if who[p] == nil && p != outsider {
				order = append(order, p)
			}
			who[p] = append(who[p], actor.name+": "+action.String())
		}
	}
	for _, p := range append(order, outsider) {
		fmt.Fprintf(b, "- %s\n", strings.Join(who[p], " · "))
		if p == outsider {
			fmt.Fprintf(b, "  as an outsider\n")
		} else {
			b.WriteString(p)
		}
	}
}

// profile is the answers to one actor and action in all circumstances, gathered by answer.
func profile(tmpl Template, contract *Compiled, who Principal, action Action, count func(Decision)) string {
	cells := map[string][]string{}
	var order []string
	for _, situation := range matrixSituations {
		s := plainScene(tmpl, contract, who, action)
		situation.change(&s)
		d := s.decide()
		count(d)
		cell := cellOf(d)
		if cells[cell] == nil {
			order = append(order, cell)
		}
		cells[cell] = append(cells[cell], situation.name)
	}
	var b strings.Builder
	for _, cell := range order {
		fmt.Fprintf(&b, "  %-12s %s\n", cell, strings.Join(cells[cell], " · "))
	}
	fmt.Fprintf(&b, "  purposes     %s\n", purposesPermitted(tmpl, contract, who, action))
	return b.String()
}

func cellOf(d Decision) string {
	if d.Permitted {
		return "yes"
	}
	return d.Reason.String()
}

// purposesPermitted lists the purposes for which the plain scene is permitted.
func purposesPermitted(tmpl Template, contract *Compiled, who Principal, action Action) string {
	var out []string
	for _, p := range protocol.Purposes() {
		s := plainScene(tmpl, contract, who, action)
		s.request.Purpose = p
		s.request.BreakGlass = s.request.BreakGlass || p == protocol.PurposeBreakGlass
		if s.decide().Permitted {
			out = append(out, p.String())
		}
	}
	if len(out) == len(protocol.Purposes()) {
		return "all"
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, " ")
}

func TestMatrix(t *testing.T) {
	permitted := map[string]bool{}
	reasons := map[Reason]bool{}
	got := matrix(t, func(tmpl Template, a Action, d Decision) {
		reasons[d.Reason] = true
		if d.Permitted {
			permitted[tmpl.Name+" "+a.String()] = true
		}
		if d.Permitted != (d.Reason == ReasonPermitted) {
			t.Errorf("%s %s: permitted %v for reason %s", tmpl.Name, a, d.Permitted, d.Reason)
		}
	})
	for _, tmpl := range Templates() {
		for _, a := range []Action{ActionRead, ActionWrite, ActionShare} {
			if key := tmpl.Name + " " + a.String(); permitted[key] != slices.Contains(tmpl.Actions, a) {
				t.Errorf("%s: permitted in some cell: %v, the template says otherwise", key, permitted[key])
			}
		}
	}
	for r := ReasonPermitted; r <= ReasonNoContract; r++ {
		if !reasons[r] && r != ReasonTooMany { // which takes more records than a cell has; see TestTooMany
			t.Errorf("no cell has the reason %s", r)
		}
	}
	golden(t, "matrix.txt", got)
}

// golden compares with a file under testdata, or writes it when asked to.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s line %d differs (review, then run with -update):\n got %q\nwant %q", path, i+1, lineOf(g, i), lineOf(w, i))
		}
	}
}

func lineOf(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(no line)"
}
