package consent

import (
	"cmp"
	"iter"
	"slices"

	"github.com/cedar-policy/cedar-go"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// State is where a contract stands in its life. The zero value is no state, and permits nothing.
type State uint8

// The states of a contract.
const (
	StateActive  State = 1 + iota
	StateEnded         // its end has been written down
	StateRevoked       // by the patient
)

// Active is a contract of a journal as the ledger holds it at the time of a decision. Ended and revoked ones may be among those
// given: they never permit or forbid, but let a refusal say why.
type Active struct {
	ID        protocol.ContractID
	Policies  *Compiled
	State     State
	NotBefore uint64           // UTC ms, inclusive
	NotAfter  uint64           // UTC ms, exclusive
	UsesMax   uint32           // 0: no limit
	Uses      uint32           // accesses let in so far
	Within    []protocol.Label // of the delegation that granted it: it speaks of these classes only; none: of all
}

// Principal is who asks, as the registry has them. A zero Practitioner is the member itself, which has no role.
type Principal struct {
	Practitioner protocol.PractitionerID
	Member       protocol.MemberID // of the practitioner, or the one that asks
	Role         protocol.Role
	Credential   Credential
}

// Request is one question about any number of records of one journal.
type Request struct {
	Principal  Principal
	Action     Action
	Purpose    protocol.Purpose
	Now        uint64 // UTC ms: block time, or for a custodian the later of that and its own clock
	BreakGlass bool   // who asks declares an emergency: only policies that speak of breaking the glass permit
}

// Resource is a record: one there is (read, share) or one about to be written, with Recorded = Now.
type Resource struct {
	Journal  protocol.JournalID
	Label    protocol.Label
	Record   protocol.RecordID
	Author   protocol.MemberID
	Recorded uint64 // UTC ms
}

// Reason is the machine's word for why. The numbers are consensus data and never change meaning.
type Reason uint8

// The reasons, in the order in which they win when several apply.
const (
	ReasonPermitted  Reason = 1 + iota // a contract permits, none forbids
	ReasonRequest                      // the question makes no sense: unknown purpose, role or action, or a time out of range
	ReasonCredential                   // the asker's credential is expired or suspended
	ReasonTooMany                      // more policies times records than one question may cost
	ReasonError                        // a policy failed while it ran
	ReasonForbidden                    // a contract forbids
	ReasonUsedUp                       // a contract would permit, but its uses are spent
	ReasonNotYet                       // a contract would permit, but has not begun
	ReasonEnded                        // a contract would permit, but is over
	ReasonRevoked                      // a contract would permit, but was revoked
	ReasonPurpose                      // a contract would permit for another purpose
	ReasonNoContract                   // no contract speaks of this
)

var reasonNames = []string{
	ReasonPermitted: "permitted", ReasonRequest: "bad-request", ReasonCredential: "credential", ReasonTooMany: "too-many",
	ReasonError: "error", ReasonForbidden: "forbidden", ReasonUsedUp: "used-up", ReasonNotYet: "not-yet", ReasonEnded: "ended",
	ReasonRevoked: "revoked", ReasonPurpose: "purpose", ReasonNoContract: "no-contract",
}

// String is the code as it stands in JSON.
func (r Reason) String() string { return word(reasonNames, int(r)) }

// MarshalText uses the code.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Valid tells whether the number names something.
func (r Reason) Valid() bool { return r >= ReasonPermitted && r <= ReasonNoContract }

// Decision is the answer for one resource. Contracts are those that the reason rests on, ascending: all that permit, all that
// forbid, all that failed, all that would permit but for the reason. The other reasons rest on none. Decisions may share the slice.
type Decision struct {
	Permitted bool
	Reason    Reason
	Contracts []protocol.ContractID
}

// Ground is a contract that let an access in, and how often it had been used before. An access keeps its grounds for Recheck.
type Ground struct {
	Contract protocol.ContractID
	Uses     uint32
}

// Grounds are the contracts on which any of the decisions rests, ascending. An access that goes ahead costs each of them one use.
func Grounds(contracts []Active, decisions []Decision) (out []Ground) {
	for _, c := range contracts {
		if slices.ContainsFunc(decisions, func(d Decision) bool {
			return d.Permitted && slices.Contains(d.Contracts, c.ID)
		}) {
			out = append(out, Ground{Contract: c.ID, Uses: c.Uses})
		}
	}
	slices.SortFunc(out, func(a, b Ground) int { return compareID(a.Contract, b.Contract) })
	return slices.CompactFunc(out, func(a, b Ground) bool { return a.Contract == b.Contract })
}

// Decide answers for one resource.
func Decide(contracts []Active, req Request, resource Resource) Decision {
	return DecideAll(contracts, req, []Resource{resource})[0]
}

// DecideAll answers for each resource, in order. The contracts are those of the resources' journal, in any order.
func DecideAll(contracts []Active, req Request, resources []Resource) []Decision {
	return decideAll(contracts, req, resources, nil)
}

// Recheck asks again for an access that was let in on these grounds, without using them up: only the contracts among the grounds can
// permit, with their limit of uses as it was met then, while every contract can forbid. So the access ends with its grounds.
func Recheck(contracts []Active, req Request, grounds []Ground, resources []Resource) []Decision {
	if grounds == nil {
		grounds = []Ground{}
	}
	return decideAll(contracts, req, resources, grounds)
}

func decideAll(contracts []Active, req Request, resources []Resource, grounds []Ground) []Decision {
	out := make([]Decision, len(resources))
	if reason := req.refuse(); reason != 0 {
		for i := range out {
			out[i].Reason = reason
		}
		return out
	}
	c := newCourt(contracts, req, grounds)
	known := make(map[Resource]int) // the first resource that looks like this; looked up, never ranged over
	same := make([]int, len(resources))
	for i, r := range resources {
		looks := c.asks.of(r)
		first, ok := known[looks]
		if !ok {
			first, known[looks] = i, i
		}
		same[i] = first
	}
	c.budget = EvaluationsMax - c.policies*len(known)
	for i, r := range resources {
		switch {
		case c.budget < 0:
			out[i].Reason = ReasonTooMany
		case same[i] < i:
			out[i] = out[same[i]]
		default:
			out[i] = c.decide(r)
		}
	}
	return out
}

// of is a resource with what no policy asks for left out: two resources that look alike get one answer.
func (a asks) of(r Resource) Resource {
	if !a.record {
		r.Record = protocol.RecordID{}
	}
	if !a.author {
		r.Author = protocol.MemberID{}
	}
	if !a.recorded && r.Recorded <= NumberMax {
		r.Recorded = 0
	}
	return r
}

// refuse is the ledger's own rules about the asker, before any contract; 0 when there is nothing against them.
func (req Request) refuse() Reason {
	p := req.Principal
	roleFits := p.Practitioner.IsZero() && p.Role == 0 || !p.Practitioner.IsZero() && p.Role.Valid()
	if !req.Action.Valid() || !req.Purpose.Valid() || req.Now > NumberMax || p.Member.IsZero() || !roleFits {
		return ReasonRequest
	}
	if p.Credential != CredentialActive {
		return ReasonCredential
	}
	return 0
}

// court is one question, ready to be put about one resource after another.
type court struct {
	request   cedar.Request
	principal cedar.Entity
	resource  cedar.Entity
	voices    []voice
	asks      asks // what the policies ask of a resource
	policies  int  // that run for every resource
	budget    int  // policies that may still run, to explain refusals
}

// voice is a contract with the policies that can apply to this asker and this action.
type voice struct {
	contract   protocol.ContractID
	within     []protocol.Label
	policies   selection    // that count
	anyway     selection    // the same, were the glass whole
	ifPossible selection    // that would, but for the reason below
	but        Reason       // why they do not count; 0 when they do
	context    cedar.Record // of the question
	purposes   []cedar.Record
}

func newCourt(contracts []Active, req Request, grounds []Ground) *court {
	c := &court{principal: req.Principal.entity()}
	c.request.Principal = c.principal.UID
	c.request.Action = cedar.NewEntityUID(typeAction, cedar.String(req.Action.String()))
	sorted := slices.Clone(contracts)
	slices.SortStableFunc(sorted, func(a, b Active) int { return compareID(a.ID, b.ID) })
	for _, contract := range sorted {
		if v, ok := c.voice(contract, req, grounds); ok {
			c.voices = append(c.voices, v)
			c.policies += len(v.policies)
			for _, p := range slices.Concat(v.policies, v.anyway, v.ifPossible) { // whatever may run, be it to explain a refusal
				c.asks = c.asks.or(p.asks)
			}
		}
	}
	return c
}

func compareID(a, b protocol.ContractID) int { return slices.Compare(a[:], b[:]) }

// standing says what stops a contract from permitting now, and whether it is in force (so that it forbids).
func (a Active) standing(now uint64, grounds []Ground) (but Reason, inForce bool) {
	switch {
	case a.State == StateRevoked:
		return ReasonRevoked, false
	case a.State != StateActive || now >= a.NotAfter:
		return ReasonEnded, false
	case now < a.NotBefore:
		return ReasonNotYet, false
	case grounds != nil:
		if i := groundOf(a.ID, grounds); i < 0 {
			return ReasonNoContract, true
		}
		return 0, true
	case a.UsesMax > 0 && a.Uses >= a.UsesMax:
		return ReasonUsedUp, true
	}
	return 0, true
}

func groundOf(id protocol.ContractID, grounds []Ground) int {
	return slices.IndexFunc(grounds, func(g Ground) bool { return g.Contract == id })
}

// voice picks the policies of a contract whose head fits asker and action; a policy whose head does not is false without running.
func (c *court) voice(a Active, req Request, grounds []Ground) (voice, bool) {
	v := voice{contract: a.ID, within: a.Within}
	if a.Policies == nil {
		v.policies = selection{{}} // a contract without policies is a mistake of the caller: it fails
		return v, true
	}
	but, inForce := a.standing(req.Now, grounds)
	v.but = but
	for _, p := range a.Policies.policies {
		if !c.headFits(p) {
			continue
		}
		if p.forbids() && inForce || !p.forbids() && but == 0 {
			v.anyway = append(v.anyway, p)
		}
		if req.BreakGlass && !p.forbids() && !p.glass {
			continue
		}
		if p.forbids() && inForce || !p.forbids() && but == 0 {
			v.policies = append(v.policies, p)
		}
		if but != 0 && but != ReasonNoContract {
			v.ifPossible = append(v.ifPossible, p)
		}
	}
	uses := a.Uses
	if i := groundOf(a.ID, grounds); i >= 0 {
		uses = grounds[i].Uses
	}
	v.context = req.context(req.Purpose, uses)
	if but == 0 {
		for _, purpose := range a.Policies.purposes {
			if purpose != req.Purpose {
				v.purposes = append(v.purposes, req.context(purpose, uses))
			}
		}
	}
	return v, len(v.anyway)+len(v.ifPossible) > 0
}

func (req Request) context(purpose protocol.Purpose, uses uint32) cedar.Record {
	return cedar.NewRecord(cedar.RecordMap{
		"purpose":    cedar.NewEntityUID(typePurpose, cedar.String(purpose.String())),
		"now":        cedar.Long(req.Now),
		"uses":       cedar.Long(uses),
		"breakglass": cedar.Boolean(req.BreakGlass),
	})
}

func (p Principal) entity() cedar.Entity {
	member := cedar.NewEntityUID(typeMember, cedar.String(p.Member.String()))
	if p.Practitioner.IsZero() {
		return cedar.Entity{UID: member}
	}
	return cedar.Entity{
		UID:     cedar.NewEntityUID(typePractitioner, cedar.String(p.Practitioner.String())),
		Parents: cedar.NewEntityUIDSet(member),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"role":       cedar.NewEntityUID(typeRole, cedar.String(p.Role.String())),
			"credential": cedar.NewEntityUID(typeCredential, cedar.String(p.Credential.String())),
		}),
	}
}

func (r Resource) entity() cedar.Entity {
	return cedar.Entity{
		UID: cedar.NewEntityUID(typeRecord, cedar.String(r.Record.String())),
		Parents: cedar.NewEntityUIDSet(
			cedar.NewEntityUID(typeClass, cedar.String(r.Label.String())),
			cedar.NewEntityUID(typeJournal, cedar.String(r.Journal.String()))),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"author":   cedar.NewEntityUID(typeMember, cedar.String(r.Author.String())),
			"recorded": cedar.Long(r.Recorded),
		}),
	}
}

// Get gives Cedar the two entities that have attributes or parents; all others are bare names.
func (c *court) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	switch uid {
	case c.principal.UID:
		return c.principal, true
	case c.resource.UID:
		return c.resource, true
	}
	return cedar.Entity{}, false
}

// selection hands some of a contract's policies to Cedar in canonical order.
type selection []policy

// All implements cedar.PolicyIterator.
func (l selection) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, p := range l {
			if !yield(p.id, p.cedar) {
				return
			}
		}
	}
}

// verdict of one contract about one resource.
type verdict uint8

const (
	silent verdict = iota
	permits
	forbids
	failed
)

// speaksOf tells whether a class is within what the granter could grant.
func (v *voice) speaksOf(l protocol.Label) bool { return covers(v.within, l) }

// covers tells whether a scope, which may be everything, contains a class.
func covers(scope []protocol.Label, l protocol.Label) bool {
	return len(scope) == 0 || slices.Contains(scope, l)
}

// hear runs policies of one contract. Cedar skips a policy that fails, even a forbid: here a failure is the verdict.
func (c *court) hear(policies selection, context cedar.Record) verdict {
	if len(policies) == 0 {
		return silent
	}
	if policies[0].cedar == nil {
		return failed
	}
	c.request.Context = context
	decision, diagnostic := cedar.Authorize(policies, c, c.request)
	switch {
	case len(diagnostic.Errors) > 0:
		return failed
	case decision == cedar.Allow:
		return permits
	case len(diagnostic.Reasons) > 0:
		return forbids
	}
	return silent
}

// decide runs every contract about one resource; an error outweighs a forbid, a forbid every permit.
func (c *court) decide(r Resource) Decision {
	if r.Recorded > NumberMax {
		return Decision{Reason: ReasonRequest}
	}
	c.resource = r.entity()
	c.request.Resource = c.resource.UID
	var by [failed + 1][]protocol.ContractID
	for i := range c.voices {
		v := &c.voices[i]
		if !v.speaksOf(r.Label) {
			continue
		}
		if verdict := c.hear(v.policies, v.context); verdict != silent {
			by[verdict] = append(by[verdict], v.contract)
		}
	}
	for _, answer := range []struct {
		verdict verdict
		reason  Reason
	}{{failed, ReasonError}, {forbids, ReasonForbidden}, {permits, ReasonPermitted}} {
		if ids := by[answer.verdict]; len(ids) > 0 {
			return Decision{Permitted: answer.verdict == permits, Reason: answer.reason, Contracts: slices.Clip(slices.Compact(ids))}
		}
	}
	return c.explain(r.Label)
}

// explain finds the best reason for a refusal: what would have permitted, but for one thing. It stops when the budget is spent.
func (c *court) explain(label protocol.Label) Decision {
	best := Decision{Reason: ReasonNoContract}
	note := func(reason Reason, id protocol.ContractID) {
		switch cmp.Compare(reason, best.Reason) {
		case -1:
			best = Decision{Reason: reason, Contracts: []protocol.ContractID{id}}
		case 0:
			best.Contracts = append(best.Contracts, id)
		}
	}
	for i := range c.voices {
		v := &c.voices[i]
		if !v.speaksOf(label) {
			continue
		}
		if c.wouldPermit(v.ifPossible, v.context) {
			note(v.but, v.contract)
			continue
		}
		if slices.ContainsFunc(v.purposes, func(other cedar.Record) bool { return c.wouldPermit(v.anyway, other) }) {
			note(ReasonPurpose, v.contract)
		}
	}
	best.Contracts = slices.Clip(slices.Compact(best.Contracts))
	return best
}

func (c *court) wouldPermit(policies selection, context cedar.Record) bool {
	if len(policies) == 0 || len(policies) > c.budget {
		return false
	}
	c.budget -= len(policies)
	return c.hear(policies, context) == permits
}
