package consent

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// TestFailureDenies: Cedar skips a policy that fails, a forbid too. The subset cannot fail, so the policies here are compiled past it.
func TestFailureDenies(t *testing.T) {
	failing := func(source string) *Compiled {
		list, err := parse([]byte(source))
		if err != nil {
			t.Fatal(err)
		}
		c := &Compiled{}
		for _, p := range list {
			c.policies = append(c.policies, policy{id: "0", cedar: p, tree: treeOf(p)})
		}
		return c
	}
	open := Active{ID: firstContract, State: StateActive, NotAfter: ends24h, Policies: mustCompile("permit(principal, action, resource);\n")}
	s := plainScene(Templates()[0], closeAll, drVogelAtHospital, ActionRead)
	if d := Decide([]Active{open}, s.request, s.resource); !d.Permitted {
		t.Fatalf("%+v", d)
	}
	for _, source := range []string{
		"forbid(principal, action, resource) when { context.missing };",
		"permit(principal, action, resource) when { resource.recorded + 9223372036854775807 > 0 };",
		"permit(principal, action, resource) when { context.now };",
	} {
		bad := Active{ID: otherContract, State: StateActive, NotAfter: ends24h, Policies: failing(source)}
		want := Decision{Reason: ReasonError, Contracts: []protocol.ContractID{otherContract}}
		if d := cmp.Diff(want, Decide([]Active{bad, open}, s.request, s.resource)); d != "" {
			t.Errorf("%s: %s", source, d)
		}
	}
}

func TestBadRequests(t *testing.T) {
	open := Active{ID: firstContract, State: StateActive, NotAfter: NumberMax, Policies: mustCompile("permit(principal, action, resource);\n")}
	for _, c := range []struct {
		name   string
		change func(*Request, *Resource)
		want   Reason
	}{
		{"nothing", func(*Request, *Resource) {}, ReasonPermitted},
		{"no action", func(r *Request, _ *Resource) { r.Action = 0 }, ReasonRequest},
		{"unknown action", func(r *Request, _ *Resource) { r.Action = 4 }, ReasonRequest},
		{"no purpose", func(r *Request, _ *Resource) { r.Purpose = 0 }, ReasonRequest},
		{"no member", func(r *Request, _ *Resource) { r.Principal.Member = protocol.MemberID{} }, ReasonRequest},
		{"no role", func(r *Request, _ *Resource) { r.Principal.Role = 0 }, ReasonRequest},
		{"a member with a role", func(r *Request, _ *Resource) { r.Principal.Practitioner = protocol.PractitionerID{} }, ReasonRequest},
		{"no credential", func(r *Request, _ *Resource) { r.Principal.Credential = 0 }, ReasonCredential},
		{"time out of range", func(r *Request, _ *Resource) { r.Now = NumberMax + 1 }, ReasonRequest},
		{"recorded out of range", func(_ *Request, r *Resource) { r.Recorded = 1 << 63 }, ReasonRequest},
	} {
		s := plainScene(Templates()[0], closeAll, drVogelAtHospital, ActionRead)
		c.change(&s.request, &s.resource)
		if d := Decide([]Active{open}, s.request, s.resource); d.Reason != c.want || d.Permitted != (c.want == ReasonPermitted) {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

func TestZeroValuesDeny(t *testing.T) {
	s := plainScene(Templates()[0], closeAll, drVogelAtHospital, ActionRead)
	for _, contracts := range [][]Active{nil, {{}}, {{Policies: mustCompile("permit(principal, action, resource);\n")}}, {{State: StateActive, NotAfter: NumberMax}}} {
		if d := Decide(contracts, s.request, s.resource); d.Permitted {
			t.Errorf("%+v permits", contracts)
		}
	}
	if d := Recheck([]Active{{ID: firstContract, State: StateActive, NotAfter: NumberMax, Policies: mustCompile("permit(principal, action, resource);\n")}}, s.request, nil, []Resource{s.resource}); d[0].Permitted {
		t.Error("permitted on no grounds")
	}
	if got := DecideAll(nil, s.request, nil); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestTooMany(t *testing.T) {
	source := ""
	for i := range PoliciesMax {
		source += fmt.Sprintf("permit(principal, action, resource) when { resource.recorded < %d };\n", 1_000_000+i)
	}
	contracts := make([]Active, protocol.ContractsJournalMax)
	for i := range contracts {
		contracts[i] = Active{ID: id[protocol.ContractID](byte(i)), State: StateActive, NotAfter: ends24h, Policies: mustCompile(source)}
	}
	s := plainScene(Templates()[0], closeAll, drVogelAtHospital, ActionRead)
	resources := make([]Resource, EvaluationsMax/(PoliciesMax*len(contracts))+1)
	for i := range resources {
		resources[i].Recorded = uint64(i)
	}
	for _, d := range DecideAll(contracts, s.request, resources) {
		if d.Permitted || d.Reason != ReasonTooMany {
			t.Fatalf("%+v", d)
		}
	}
	resources[0].Recorded = 1 // no longer one too many: it looks like another
	for _, d := range DecideAll(contracts, s.request, resources) {
		if !d.Permitted {
			t.Fatalf("%+v", d)
		}
	}
}

// TestExplainingIsBounded: beyond the budget a refusal is still a refusal, only its reason gets plainer.
func TestExplainingIsBounded(t *testing.T) {
	contract := Active{ID: firstContract, State: StateActive, NotAfter: ends24h,
		Policies: mustCompile(`permit(principal, action, resource) when { context.purpose in [Purpose::"HPAYMT", Purpose::"HRESCH"] && resource.recorded < 1000000 };` + "\n")}
	s := plainScene(Templates()[0], closeAll, drVogelAtHospital, ActionRead)
	resources := make([]Resource, EvaluationsMax)
	for i := range resources {
		resources[i].Recorded = uint64(i)
	}
	decisions := DecideAll([]Active{contract}, s.request, resources)
	if decisions[0].Reason == ReasonPermitted || decisions[len(decisions)-1].Reason != ReasonNoContract {
		t.Errorf("%v … %v", decisions[0], decisions[len(decisions)-1])
	}
	decisions = DecideAll([]Active{contract}, s.request, resources[:10])
	if decisions[9].Reason != ReasonPurpose {
		t.Errorf("%v", decisions[9])
	}
}

func TestGrounds(t *testing.T) {
	a := Active{ID: id[protocol.ContractID](2), Uses: 7}
	b := Active{ID: id[protocol.ContractID](1), Uses: 5}
	c := Active{ID: id[protocol.ContractID](3)}
	got := Grounds([]Active{a, b, c}, []Decision{
		{Permitted: true, Contracts: []protocol.ContractID{a.ID}}, {Permitted: true, Contracts: []protocol.ContractID{b.ID, a.ID}},
		{Reason: ReasonForbidden, Contracts: []protocol.ContractID{c.ID}},
	})
	if d := cmp.Diff([]Ground{{b.ID, 5}, {a.ID, 7}}, got); d != "" {
		t.Error(d)
	}
}

func TestWordsAndNumbers(t *testing.T) {
	for r := ReasonPermitted; r <= ReasonNoContract; r++ {
		if text, err := r.MarshalText(); err != nil || !r.Valid() || string(text) != r.String() || r.String() == "" {
			t.Errorf("reason %d: %q %v", r, text, err)
		}
	}
	if Reason(0).Valid() || Reason(200).Valid() || Reason(200).String() != "unknown(200)" {
		t.Error("a reason that is none")
	}
	for _, a := range []Action{ActionRead, ActionWrite, ActionShare} {
		if got, ok := ParseAction(a.String()); !ok || got != a {
			t.Errorf("%v is read back as %v", a, got)
		}
	}
	for _, s := range []string{"", "delete", "Read"} {
		if a, ok := ParseAction(s); ok || a.Valid() {
			t.Errorf("%q is %v", s, a)
		}
	}
}

func TestCache(t *testing.T) {
	text := func(i int) []byte {
		return fmt.Appendf(nil, "permit(principal, action, resource) when { context.now > %d };\n", i)
	}
	c := NewCache(3)
	first, err := c.Compile(text(0))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := c.Compile(text(i)); err != nil {
			t.Fatal(err)
		}
	}
	if again, _ := c.Compile(text(0)); again != first {
		t.Error("compiled twice")
	}
	if _, err := c.Compile(text(3)); err != nil || c.Len() != 3 {
		t.Fatalf("%v, %d entries", err, c.Len())
	}
	if again, _ := c.Compile(text(0)); again != first {
		t.Error("the one used last was dropped")
	}
	if c.get(mustCompile(string(text(1))).Hash()) != nil {
		t.Error("the one used least recently was kept")
	}
	if _, err := c.Compile([]byte("nonsense")); err == nil || c.Len() != 3 {
		t.Error("a refusal is remembered")
	}
	if NewCache(-1).max != 1 {
		t.Error("a cache of nothing")
	}
	canonical := text(5)
	compiled, _ := c.Compile(canonical)
	canonical[0] = 'X'
	if !slices.Equal(compiled.Canonical(), text(5)) {
		t.Error("the compiled form shares the caller's bytes")
	}
}

func benchmarkContracts(n int) []Active {
	var out []Active
	for i := range n {
		canonical, _, err := Render("care-team", Params{Grantee: Grantee{Member: hospital, Roles: []protocol.Role{protocol.RolePhysician}},
			Labels: []protocol.Label{classIn, {byte(i)}}, RecordedFrom: recordedFrom})
		if err != nil {
			panic(err)
		}
		out = append(out, Active{ID: id[protocol.ContractID](byte(i)), State: StateActive, NotAfter: ends24h, Policies: mustCompile(string(canonical))})
	}
	return out
}

func BenchmarkDecideAll(b *testing.B) {
	for _, n := range []int{1, 5, 16} {
		for _, records := range []int{1, 20, 1000} {
			b.Run(fmt.Sprintf("contracts=%d/records=%d", n, records), func(b *testing.B) {
				contracts, resources := benchmarkContracts(n), make([]Resource, records)
				s := plainScene(Templates()[0], closeAll, drVogelAtHospital, ActionRead)
				for i := range resources {
					resources[i] = s.resource
					resources[i].Record[1], resources[i].Record[2] = byte(i), byte(i>>8)
				}
				b.ReportAllocs()
				for b.Loop() {
					if d := DecideAll(contracts, s.request, resources); !d[0].Permitted {
						b.Fatal(d[0])
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
			})
		}
	}
}

func BenchmarkRefused(b *testing.B) {
	contracts := benchmarkContracts(5)
	s := plainScene(Templates()[0], closeAll, drVogelAtHospital, ActionRead)
	s.request.Purpose = protocol.PurposeResearch
	for b.Loop() {
		if d := Decide(contracts, s.request, s.resource); d.Reason != ReasonPurpose {
			b.Fatal(d)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	text := benchmarkContracts(1)[0].Policies.Canonical()
	for b.Loop() {
		if _, err := Compile(text); err != nil {
			b.Fatal(err)
		}
	}
}
