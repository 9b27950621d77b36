package consent

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

const vectorsPath = "../../../docs/spec/vectors/consent.json"

// vectors is docs/spec/vectors/consent.json: inputs written by hand, results checked here, or filled in by -update and then reviewed.
type vectors struct {
	Canonical []struct {
		Name      string `json:"name"`
		Source    string `json:"source"`
		Canonical string `json:"canonical"`
		SHA256    string `json:"sha256"`
	} `json:"canonical"`
	Refused []struct {
		Name   string `json:"name"`
		Source string `json:"source"`
		Kind   string `json:"kind"`
	} `json:"refused"`
	Compile []struct {
		Name string `json:"name"`
		Text string `json:"text"`
		Kind string `json:"kind"`
	} `json:"compile"`
	Templates []struct {
		Template  string       `json:"template"`
		Params    vectorParams `json:"params"`
		Canonical string       `json:"canonical"`
	} `json:"templates"`
	Decisions []vectorCase `json:"decisions"`
}

type vectorParams struct {
	Practitioner  *protocol.PractitionerID `json:"practitioner,omitempty"`
	Member        *protocol.MemberID       `json:"member,omitempty"`
	Roles         []protocol.Role          `json:"roles,omitempty"`
	Purposes      []protocol.Purpose       `json:"purposes,omitempty"`
	Labels        []protocol.Label         `json:"labels,omitempty"`
	Records       []protocol.RecordID      `json:"records,omitempty"`
	Authors       []protocol.MemberID      `json:"authors,omitempty"`
	RecordedFrom  uint64                   `json:"recorded_from,omitempty"`
	RecordedTo    uint64                   `json:"recorded_to,omitempty"`
	ExceptLabels  []protocol.Label         `json:"except_labels,omitempty"`
	ExceptRecords []protocol.RecordID      `json:"except_records,omitempty"`
	ExceptAuthors []protocol.MemberID      `json:"except_authors,omitempty"`
}

type vectorCase struct {
	Name      string           `json:"name"`
	Contracts []vectorContract `json:"contracts"`
	Request   vectorRequest    `json:"request"`
	Resources []vectorResource `json:"resources"`
	Grounds   []vectorGround   `json:"grounds"` // null: a first decision
	Decisions []vectorDecision `json:"decisions"`
}

type vectorContract struct {
	ID        protocol.ContractID `json:"id"`
	Policy    string              `json:"policy"`
	State     string              `json:"state"`
	NotBefore uint64              `json:"not_before"`
	NotAfter  uint64              `json:"not_after"`
	UsesMax   uint32              `json:"uses_max"`
	Uses      uint32              `json:"uses"`
	Within    []protocol.Label    `json:"within,omitempty"` // the scope of the delegate who granted it
}

type vectorRequest struct {
	Practitioner string            `json:"practitioner"` // empty: the member itself
	Member       protocol.MemberID `json:"member"`
	Role         string            `json:"role"`
	Credential   string            `json:"credential"`
	Action       string            `json:"action"`
	Purpose      protocol.Purpose  `json:"purpose"`
	Now          uint64            `json:"now"`
	BreakGlass   bool              `json:"break_glass"`
}

type vectorResource struct {
	Journal  protocol.JournalID `json:"journal"`
	Label    protocol.Label     `json:"label"`
	Record   protocol.RecordID  `json:"record"`
	Author   protocol.MemberID  `json:"author"`
	Recorded uint64             `json:"recorded"`
}

type vectorGround struct {
	Contract protocol.ContractID `json:"contract"`
	Uses     uint32              `json:"uses"`
}

type vectorDecision struct {
	Permitted bool                  `json:"permitted"`
	Reason    string                `json:"reason"`
	Contracts []protocol.ContractID `json:"contracts"`
}

var vectorStates = map[string]State{"active": StateActive, "ended": StateEnded, "revoked": StateRevoked}

// kindOf is an error's kind as the vectors write it.
func kindOf(err error) string {
	for _, k := range []struct {
		err  error
		name string
	}{{ErrParse, "parse"}, {ErrSchema, "schema"}, {ErrTooLarge, "too-large"}, {ErrFreeText, "free-text"}, {ErrNotCanonical, "not-canonical"}, {ErrTemplate, "template"}} {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return map[bool]string{true: "none", false: "untyped"}[err == nil]
}

func TestVectors(t *testing.T) {
	text, err := os.ReadFile(vectorsPath)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if len(v.Canonical) == 0 || len(v.Refused) == 0 || len(v.Compile) == 0 || len(v.Templates) < len(Templates()) || len(v.Decisions) == 0 {
		t.Fatal("a part of the vectors is missing")
	}
	v.fill(t)
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(vectorsPath, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, want := strings.Split(out.String(), "\n"), strings.Split(string(text), "\n")
	for i := range max(len(got), len(want)) {
		if lineOf(got, i) != lineOf(want, i) {
			t.Fatalf("line %d: got %s, want %s", i+1, lineOf(got, i), lineOf(want, i))
		}
	}
}

// fill computes every result from its inputs.
func (v *vectors) fill(t *testing.T) {
	for i := range v.Canonical {
		c := &v.Canonical[i]
		canonical, err := Canonicalise([]byte(c.Source))
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		c.Canonical, c.SHA256 = string(canonical), mustCompile(string(canonical)).Hash().String()
	}
	for i := range v.Refused {
		_, err := Canonicalise([]byte(v.Refused[i].Source))
		v.Refused[i].Kind = kindOf(err)
	}
	for i := range v.Compile {
		_, err := Compile([]byte(v.Compile[i].Text))
		v.Compile[i].Kind = kindOf(err)
	}
	for i := range v.Templates {
		c := &v.Templates[i]
		canonical, _, err := Render(c.Template, c.Params.params())
		if err != nil {
			t.Fatalf("%s: %v", c.Template, err)
		}
		c.Canonical = string(canonical)
	}
	for i := range v.Decisions {
		v.Decisions[i].decide(t)
	}
}

func (p vectorParams) params() Params {
	out := Params{Purposes: p.Purposes, Labels: p.Labels, Records: p.Records, Authors: p.Authors, RecordedFrom: p.RecordedFrom, RecordedTo: p.RecordedTo,
		ExceptLabels: p.ExceptLabels, ExceptRecords: p.ExceptRecords, ExceptAuthors: p.ExceptAuthors, Grantee: Grantee{Roles: p.Roles}}
	if p.Practitioner != nil {
		out.Grantee.Practitioner = *p.Practitioner
	}
	if p.Member != nil {
		out.Grantee.Member = *p.Member
	}
	return out
}

func (c *vectorCase) decide(t *testing.T) {
	req := Request{Purpose: c.Request.Purpose, Now: c.Request.Now, BreakGlass: c.Request.BreakGlass, Principal: Principal{Member: c.Request.Member}}
	req.Action, _ = ParseAction(c.Request.Action)
	req.Principal.Credential = Credential(max(slices.Index(credentialNames, c.Request.Credential), 0))
	if c.Request.Practitioner != "" {
		var err error
		if req.Principal.Practitioner, err = protocol.ParsePractitionerID(c.Request.Practitioner); err != nil {
			t.Fatal(err)
		}
		if err = req.Principal.Role.UnmarshalText([]byte(c.Request.Role)); err != nil {
			t.Fatal(err)
		}
	}
	var contracts []Active
	for _, k := range c.Contracts {
		contracts = append(contracts, Active{ID: k.ID, Policies: mustCompile(k.Policy), State: vectorStates[k.State],
			NotBefore: k.NotBefore, NotAfter: k.NotAfter, UsesMax: k.UsesMax, Uses: k.Uses, Within: k.Within})
	}
	var resources []Resource
	for _, r := range c.Resources {
		resources = append(resources, Resource(r))
	}
	decisions := DecideAll(contracts, req, resources)
	if c.Grounds != nil {
		var grounds []Ground
		for _, g := range c.Grounds {
			grounds = append(grounds, Ground(g))
		}
		decisions = Recheck(contracts, req, grounds, resources)
	}
	c.Decisions = nil
	for _, d := range decisions {
		c.Decisions = append(c.Decisions, vectorDecision{Permitted: d.Permitted, Reason: d.Reason.String(), Contracts: append([]protocol.ContractID{}, d.Contracts...)})
	}
}

// TestSpecHoldsTheSchema keeps the page and the code in step.
func TestSpecHoldsTheSchema(t *testing.T) {
	page, err := os.ReadFile("../../../docs/spec/consent.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte("```cedarschema\n"+Schema+"```\n")) {
		t.Error("docs/spec/consent.md does not hold the schema as it is in schema.cedarschema")
	}
	for _, tmpl := range Templates() {
		if !bytes.Contains(page, []byte("| `"+tmpl.Name+"` |")) {
			t.Errorf("docs/spec/consent.md does not speak of %s", tmpl.Name)
		}
	}
	for r := ReasonPermitted; r <= ReasonNoContract; r++ {
		if !bytes.Contains(page, []byte("`"+r.String()+"`")) {
			t.Errorf("docs/spec/consent.md does not speak of the reason %s", r)
		}
	}
}
