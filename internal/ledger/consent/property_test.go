package consent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// The generators draw from a small world, so that contracts and questions meet.
var (
	members = []protocol.MemberID{hospital, clinic, lab}
	labels  = []protocol.Label{classIn, classOut}
	files   = []protocol.RecordID{plainRecord, namedRecord, closedRecord}
)

func pick[E any](t *rapid.T, what string, list ...E) E { return rapid.SampledFrom(list).Draw(t, what) }

func anyPrincipal(t *rapid.T) Principal {
	return pick(t, "actor", matrixActors...).who
}

func anyRequest(t *rapid.T) Request {
	return Request{
		Principal: anyPrincipal(t), Action: pick(t, "action", ActionRead, ActionWrite, ActionShare),
		Purpose: pick(t, "purpose", protocol.PurposeTreat, protocol.PurposeEmergency, protocol.PurposePayment),
		Now:     pick(t, "now", uint64(begins-1), begins, noon, ends24h-1, ends24h), BreakGlass: rapid.Bool().Draw(t, "breakglass"),
	}
}

func anyResource(t *rapid.T) Resource {
	return Resource{Journal: journal, Label: pick(t, "label", labels...), Record: pick(t, "record", files...),
		Author: pick(t, "author", members...), Recorded: pick(t, "recorded", uint64(recordedFrom), recordedTo)}
}

// anyExpr writes an expression of the subset; kind is "bool" or "long".
func anyExpr(t *rapid.T, depth int) string {
	sub := func() string { return anyExpr(t, depth-1) }
	leaves := []string{
		"true", "false", "context.breakglass", "principal in resource.author", "resource.author == principal",
		"action == Action::\"read\"", "context.purpose == " + entityOf("Purpose", pick(t, "p", "TREAT", "HPAYMT")),
		"context.purpose in [Purpose::\"TREAT\", Purpose::\"ETREAT\", Purpose::\"TREAT\"]",
		"[" + entityOf("Member", hospital) + ", " + entityOf("Member", clinic) + "].contains(resource.author)",
		"resource in " + entityOf("Class", pick(t, "c", labels...)), "resource == " + entityOf("Record", pick(t, "r", files...)),
		"resource in " + entityOf("Journal", journal), "principal in " + entityOf("Member", pick(t, "m", members...)),
		"principal is Practitioner && principal.role == Role::\"nurse\"", "principal is Member",
		"principal is Practitioner in " + entityOf("Member", pick(t, "m", members...)),
		"principal is Practitioner && principal.credential != Credential::\"expired\"",
		fmt.Sprintf("context.now - resource.recorded <= %d", pick(t, "age", uint64(0), recordedTo, NumberMax)),
		fmt.Sprintf("context.uses + %d > 1 - resource.recorded", rapid.Uint64Range(0, NumberMax).Draw(t, "n")),
	}
	if depth == 0 {
		return pick(t, "leaf", leaves...)
	}
	switch pick(t, "shape", "leaf", "and", "or", "not", "if", "group") {
	case "and":
		return sub() + " && " + group(sub())
	case "or":
		return group(sub()) + " || " + sub()
	case "not":
		return "!" + group(sub())
	case "if":
		return group("if " + sub() + " then " + sub() + " else " + sub())
	case "group":
		return group(sub())
	}
	return pick(t, "leaf", leaves...)
}

func group(e string) string { return "(" + e + ")" }

func entityOf(of string, id any) string { return fmt.Sprintf(`%s::"%v"`, of, id) }

func anyPolicy(t *rapid.T, effect string) string {
	principal := pick(t, "principal", "principal", "principal is Practitioner", "principal is Member", "principal == "+entityOf("Practitioner", drVogel),
		"principal in "+entityOf("Member", pick(t, "m", members...)), "principal is Practitioner in "+entityOf("Member", hospital))
	action := pick(t, "head", "action", `action == Action::"read"`, `action in [Action::"write", Action::"read"]`, `action in Action::"share"`)
	resource := pick(t, "resource", "resource", "resource is Record", "resource in "+entityOf("Class", classIn), "resource == "+entityOf("Record", namedRecord),
		"resource is Record in "+entityOf("Journal", journal))
	source := effect + "(" + principal + ", " + action + ", " + resource + ")"
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		source += pick(t, "clause", " when", " unless") + " { " + anyExpr(t, rapid.IntRange(0, 2).Draw(t, "depth")) + " }"
	}
	return source + ";"
}

func anySource(t *rapid.T, effects ...string) string {
	var list []string
	for range rapid.IntRange(1, 3).Draw(t, "policies") {
		list = append(list, anyPolicy(t, pick(t, "effect", effects...)))
	}
	return strings.Join(list, " // and\n")
}

func anyContract(t *rapid.T, n byte, effects ...string) Active {
	canonical, err := Canonicalise([]byte(anySource(t, effects...)))
	if err != nil {
		t.Fatalf("a contract of the subset is refused: %v", err)
	}
	return Active{
		ID: id[protocol.ContractID](n), Policies: mustCompile(string(canonical)), State: pick(t, "state", StateActive, StateActive, StateActive, StateEnded, StateRevoked),
		NotBefore: begins, NotAfter: ends24h, UsesMax: pick(t, "max", uint32(0), 2), Uses: pick(t, "uses", uint32(0), 1, 2),
	}
}

func anyContracts(t *rapid.T, effects ...string) (out []Active) {
	for i := range rapid.IntRange(0, 4).Draw(t, "contracts") {
		out = append(out, anyContract(t, byte(i+1), effects...))
	}
	return out
}

func TestForbiddingNeverPermitsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		contracts, req, r := anyContracts(t, "permit", "forbid"), anyRequest(t), anyResource(t)
		before := Decide(contracts, req, r)
		after := Decide(append(contracts, anyContract(t, 99, "forbid")), req, r)
		if after.Permitted && !before.Permitted {
			t.Fatalf("%+v became %+v", before, after)
		}
	})
}

// TestTakingAPermitAwayNeverPermitsMore: revoking, ending and using up contracts that only permit.
func TestTakingAPermitAwayNeverPermitsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		contracts, req, r := anyContracts(t, "permit"), anyRequest(t), anyResource(t)
		contracts = append(contracts, anyContract(t, 99, "permit"))
		before := Decide(contracts, req, r)
		less := slices.Clone(contracts)
		gone := &less[rapid.IntRange(0, len(less)-1).Draw(t, "which")]
		switch pick(t, "how", "revoke", "end", "time", "remove") {
		case "revoke":
			gone.State = StateRevoked
		case "end":
			gone.State = StateEnded
		case "time":
			gone.NotAfter = req.Now
		case "remove":
			gone.Policies = mustCompile(closedToAll)
		}
		after := Decide(less, req, r)
		if after.Permitted && !before.Permitted {
			t.Fatalf("%+v became %+v", before, after)
		}
	})
}

// TestUsingUpNeverPermitsMore holds for contracts that forbid too: a used-up contract goes on forbidding.
func TestUsingUpNeverPermitsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		contracts, req, r := anyContracts(t, "permit", "forbid"), anyRequest(t), anyResource(t)
		contracts = append(contracts, anyContract(t, 99, "permit", "forbid"))
		before := Decide(contracts, req, r)
		used := slices.Clone(contracts)
		c := &used[rapid.IntRange(0, len(used)-1).Draw(t, "which")]
		c.UsesMax = c.Uses
		if c.UsesMax == 0 {
			t.Skip("no limit")
		}
		if after := Decide(used, req, r); after.Permitted && !before.Permitted {
			t.Fatalf("%+v became %+v", before, after)
		}
	})
}

func TestOrderOfContractsIsIrrelevant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		contracts, req := anyContracts(t, "permit", "forbid"), anyRequest(t)
		var resources []Resource
		for range rapid.IntRange(0, 12).Draw(t, "resources") {
			resources = append(resources, anyResource(t))
		}
		shuffled := rapid.Permutation(contracts).Draw(t, "order")
		want, got := DecideAll(contracts, req, resources), DecideAll(shuffled, req, resources)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff(Grounds(contracts, want), Grounds(shuffled, got)); d != "" {
			t.Fatal(d)
		}
		for i, r := range resources {
			if d := cmp.Diff(Decide(contracts, req, r), got[i]); d != "" {
				t.Fatalf("one at a time differs: %s", d)
			}
		}
	})
}

// TestSameAsCedar holds the decision, with its short cuts, to what Cedar's own authorizer says of all policies in force together.
func TestSameAsCedar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		contracts, req, r := anyContracts(t, "permit", "forbid"), anyRequest(t), anyResource(t)
		all := cedar.NewPolicySet()
		uses := uint32(1)
		for i := range contracts {
			contracts[i].UsesMax, contracts[i].Uses = 0, uses
			if rapid.Bool().Draw(t, "by a delegate") {
				contracts[i].Within = []protocol.Label{classIn}
			}
			if c := contracts[i]; c.State == StateActive && c.NotBefore <= req.Now && req.Now < c.NotAfter {
				for j, p := range c.Policies.policies {
					if req.BreakGlass && !p.forbids() && !p.glass || len(c.Within) > 0 && !slices.Contains(c.Within, r.Label) {
						continue // the two rules that are ours
					}
					all.Add(cedar.PolicyID(fmt.Sprint(i, j)), p.cedar)
				}
			}
		}
		principal, resource := req.Principal.entity(), r.entity()
		want, diagnostic := cedar.Authorize(all, cedar.EntityMap{principal.UID: principal, resource.UID: resource}, cedar.Request{
			Principal: principal.UID, Action: cedar.NewEntityUID("Action", cedar.String(req.Action.String())), Resource: resource.UID,
			Context: req.context(req.Purpose, uses),
		})
		if len(diagnostic.Errors) > 0 {
			t.Fatalf("a compiled policy failed: %v", diagnostic.Errors)
		}
		got := Decide(contracts, req, r)
		if got.Permitted != bool(want) || got.Reason == ReasonError {
			t.Fatalf("Cedar says %v, we say %+v", want, got)
		}
	})
}

func TestRecheck(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		contracts, req := anyContracts(t, "permit", "forbid"), anyRequest(t)
		resources := []Resource{anyResource(t), anyResource(t)}
		first := DecideAll(contracts, req, resources)
		grounds := Grounds(contracts, first)
		for i := range contracts {
			if groundOf(contracts[i].ID, grounds) >= 0 {
				contracts[i].Uses += 1 + rapid.Uint32Range(0, 3).Draw(t, "others' uses")
			}
		}
		again := Recheck(contracts, req, grounds, resources)
		for i := range resources {
			if first[i].Permitted && !again[i].Permitted {
				t.Fatalf("nothing changed but the count of uses: %+v became %+v", first[i], again[i])
			}
		}
		for i := range contracts {
			contracts[i].State = StateRevoked
		}
		contracts = append(contracts, Active{ID: id[protocol.ContractID](99), Policies: mustCompile("permit(principal, action, resource);\n"), State: StateActive, NotAfter: ends24h + 1})
		for _, d := range Recheck(contracts, req, grounds, resources) {
			if d.Permitted {
				t.Fatalf("an access outlived its grounds: %+v", d)
			}
		}
	})
}

func TestCanonicalIsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source := anySource(t, "permit", "forbid")
		once, err := Canonicalise([]byte(source))
		if err != nil {
			t.Fatalf("%s\n%v", source, err)
		}
		twice, err := Canonicalise(once)
		if err != nil || string(once) != string(twice) {
			t.Fatalf("%v\n%s\n%s", err, once, twice)
		}
		if _, err := Compile(once); err != nil {
			t.Fatal(err)
		}
		if source != string(once) {
			if _, err := Compile([]byte(source)); !errors.Is(err, ErrNotCanonical) {
				t.Fatalf("compiled %q: %v", source, err)
			}
		}
	})
}

// TestCanonicalMeansTheSame runs the source as Cedar parses it and the canonical form on the same question.
func TestCanonicalMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source, req, r := anySource(t, "permit", "forbid"), anyRequest(t), anyResource(t)
		canonical, err := Canonicalise([]byte(source))
		if err != nil {
			t.Fatal(err)
		}
		principal, resource := req.Principal.entity(), r.entity()
		var decisions []cedar.Decision
		for _, text := range [][]byte{[]byte(source), canonical} {
			set, err := cedar.NewPolicySetFromBytes("", text)
			if err != nil {
				t.Fatal(err)
			}
			d, _ := cedar.Authorize(set, cedar.EntityMap{principal.UID: principal, resource.UID: resource}, cedar.Request{
				Principal: principal.UID, Action: cedar.NewEntityUID("Action", cedar.String(req.Action.String())), Resource: resource.UID,
				Context: req.context(req.Purpose, 1),
			})
			decisions = append(decisions, d)
		}
		if decisions[0] != decisions[1] {
			t.Fatalf("%s decides %v, its canonical form %s decides %v", source, decisions[0], canonical, decisions[1])
		}
	})
}

// TestDecisionIsDeterministic repeats one decision with many reasons: Go and cedar-go range over maps in a new order each time.
func TestDecisionIsDeterministic(t *testing.T) {
	var contracts []Active
	for i := range byte(12) {
		contracts = append(contracts, closing(id[protocol.ContractID](i+1)))
	}
	s := plainScene(Templates()[0], closeAll, drVogelAtHospital, ActionRead)
	want := Decide(contracts, s.request, s.resource)
	if len(want.Contracts) != 12 || !slices.IsSortedFunc(want.Contracts, compareID) {
		t.Fatalf("%+v", want)
	}
	source := []byte(`permit(principal, action, resource) when { principal.role == Role::"nurse" && resource.what && context.nothing };`)
	_, wantErr := Canonicalise(source)
	for range 1000 {
		if d := cmp.Diff(want, Decide(contracts, s.request, s.resource)); d != "" {
			t.Fatal(d)
		}
		if _, err := Canonicalise(source); err.Error() != wantErr.Error() {
			t.Fatalf("%v then %v", wantErr, err)
		}
	}
}

var drVogelAtHospital = matrixActors[0].who
