package consent

import (
	"slices"
	"strconv"
	"strings"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Grantee is who a contract is for: one practitioner; or everybody at a member, the member itself included; or everybody there in
// one of the roles. Either Practitioner or Member is set; a template with roles of its own takes neither too, for everybody in them.
type Grantee struct {
	Practitioner protocol.PractitionerID
	Member       protocol.MemberID
	Roles        []protocol.Role // at Member; none: all
}

// Params fill a template in. What is left empty does not limit, but Grantee must be set.
//
// Labels and Records add up: a record counts when its class or it itself is named. Authors and the times narrow that down.
// Writing is limited by Labels alone: a new record has no id yet that could be named, its author is the writer and its time is now.
// The exclusions are forbids for the same grantee: they win over every contract of the journal, not only over this one.
type Params struct {
	Grantee        Grantee
	Actions        []Action           // a part of the template's; empty: all of them
	Purposes       []protocol.Purpose // a part of the template's; empty: all of them
	Labels         []protocol.Label
	Records        []protocol.RecordID
	Authors        []protocol.MemberID
	RecordedFrom   uint64 // UTC ms, inclusive; 0: from the start
	RecordedTo     uint64 // UTC ms, exclusive; 0: no end
	ExceptLabels   []protocol.Label
	ExceptRecords  []protocol.RecordID
	ExceptAuthors  []protocol.MemberID
	BreakGlassOnly bool // only for somebody who declares an emergency
}

// Render writes a template's contract in canonical form and returns the template, whose WindowMillis and UsesMax are the defaults.
// The error is an *Error: ErrTemplate when the parameters do not fit, ErrTooLarge when they name too much.
func Render(name string, p Params) (canonical []byte, defaults Template, err error) {
	t, ok := TemplateNamed(name)
	if !ok {
		return nil, t, fail(ErrTemplate, "there is no such template; there are %s", strings.Join(templateNames(), ", "))
	}
	if err := p.fit(&t); err != nil {
		return nil, t, err
	}
	if n := len(p.Labels) + len(p.Records) + len(p.Authors) + len(p.ExceptLabels) + len(p.ExceptRecords) + len(p.ExceptAuthors); n > NodesMax {
		return nil, t, tooLarge("named things", n, NodesMax)
	}
	var source strings.Builder
	if reads := without(p.Actions, ActionWrite); len(reads) > 0 {
		source.WriteString(p.policy("permit", reads, p.readConditions()))
	}
	if slices.Contains(p.Actions, ActionWrite) && (len(p.Records) == 0 || len(p.Labels) > 0) {
		source.WriteString(p.policy("permit", []Action{ActionWrite}, p.writeConditions()))
	}
	for _, except := range p.exclusions() {
		source.WriteString(p.policy("forbid", p.Actions, []string{except}))
	}
	canonical, err = Canonicalise([]byte(source.String()))
	return canonical, t, err
}

func templateNames() (out []string) {
	for _, t := range templates {
		out = append(out, t.Name)
	}
	return out
}

// fit checks the parameters against the template and fills its actions and purposes in.
func (p *Params) fit(t *Template) error {
	if len(t.Roles) > 0 {
		if err := p.fitRoles(t); err != nil {
			return err
		}
	} else if err := p.Grantee.check(); err != nil {
		return err
	}
	if len(p.Actions) == 0 {
		p.Actions = t.Actions
	}
	if len(p.Purposes) == 0 {
		p.Purposes = t.Purposes
	}
	reading := len(without(p.Actions, ActionWrite)) > 0
	switch {
	case !subset(p.Actions, t.Actions):
		return fail(ErrTemplate, "%s allows to %s only", t.Name, join(texts(t.Actions), "or"))
	case !subset(p.Purposes, t.Purposes):
		return fail(ErrTemplate, "%s serves the purposes %s only", t.Name, join(texts(t.Purposes), "and"))
	case p.RecordedTo != 0 && p.RecordedFrom >= p.RecordedTo, p.RecordedFrom > NumberMax, p.RecordedTo > NumberMax:
		return fail(ErrTemplate, "the time recorded begins before it ends")
	case t.NeedsChoice && len(p.Labels) == 0 && len(p.Records) == 0:
		return fail(ErrTemplate, "%s never opens the whole journal: name classes or single records", t.Name)
	case !reading && (len(p.Records) > 0 || len(p.Authors) > 0 || p.RecordedFrom > 0 || p.RecordedTo > 0 || p.BreakGlassOnly):
		return fail(ErrTemplate, "writing can be limited by class only")
	}
	return nil
}

// fitRoles gives the grantee the template's roles: at a member, or at any.
func (p *Params) fitRoles(t *Template) error {
	p.BreakGlassOnly = true
	if g := p.Grantee; !g.Practitioner.IsZero() || !subset(g.Roles, t.Roles) {
		return fail(ErrTemplate, "%s is for %s", t.Name, join(texts(t.Roles), "or"))
	}
	if len(p.Grantee.Roles) == 0 {
		p.Grantee.Roles = t.Roles
	}
	return nil
}

func (g Grantee) check() error {
	if g.Practitioner.IsZero() == g.Member.IsZero() {
		return fail(ErrTemplate, "a contract is either for a practitioner or for a member")
	}
	if len(g.Roles) > 0 && g.Member.IsZero() {
		return fail(ErrTemplate, "roles go with a member, a practitioner has one")
	}
	if slices.ContainsFunc(g.Roles, func(r protocol.Role) bool { return !r.Valid() }) {
		return fail(ErrTemplate, "unknown role")
	}
	return nil
}

func subset[E comparable](part, whole []E) bool {
	return !slices.ContainsFunc(part, func(e E) bool { return !slices.Contains(whole, e) })
}

func without(actions []Action, a Action) []Action {
	return slices.DeleteFunc(slices.Clone(actions), func(b Action) bool { return a == b })
}

// policy writes one policy for the grantee.
func (p *Params) policy(effect string, actions []Action, conditions []string) string {
	head, roles := p.Grantee.cedar()
	if roles != "" {
		conditions = append([]string{roles}, conditions...)
	}
	source := effect + "(" + head + ", action in " + listOf("Action", actions) + ", resource)"
	if len(conditions) > 0 {
		source += " when { " + strings.Join(conditions, " && ") + " }"
	}
	return source + ";\n"
}

// cedar is the grantee as the head of a policy, and the condition on the role.
func (g Grantee) cedar() (head, condition string) {
	switch {
	case !g.Practitioner.IsZero():
		return `principal == Practitioner::"` + g.Practitioner.String() + `"`, ""
	case g.Member.IsZero():
		return `principal is Practitioner`, "principal.role in " + listOf("Role", g.Roles)
	case len(g.Roles) > 0:
		return `principal is Practitioner in Member::"` + g.Member.String() + `"`, "principal.role in " + listOf("Role", g.Roles)
	}
	return `principal in Member::"` + g.Member.String() + `"`, ""
}

func (p *Params) readConditions() (out []string) {
	if len(p.Purposes) > 0 {
		out = append(out, "context.purpose in "+listOf("Purpose", p.Purposes))
	}
	if p.BreakGlassOnly {
		out = append(out, "context.breakglass")
	}
	if len(p.Labels) > 0 || len(p.Records) > 0 {
		out = append(out, "("+strings.Join(among(p.Labels, p.Records), " || ")+")")
	}
	if len(p.Authors) > 0 {
		out = append(out, "resource.author in "+listOf("Member", p.Authors))
	}
	if p.RecordedFrom > 0 {
		out = append(out, "resource.recorded >= "+strconv.FormatUint(p.RecordedFrom, 10))
	}
	if p.RecordedTo > 0 {
		out = append(out, "resource.recorded < "+strconv.FormatUint(p.RecordedTo, 10))
	}
	return out
}

func (p *Params) writeConditions() []string { return among(p.Labels, nil) }

func (p *Params) exclusions() []string {
	out := among(p.ExceptLabels, p.ExceptRecords)
	if len(p.ExceptAuthors) > 0 {
		out = append(out, "resource.author in "+listOf("Member", p.ExceptAuthors))
	}
	return out
}

// among says that a record is in one of the classes, or is one of the records.
func among(labels []protocol.Label, records []protocol.RecordID) (out []string) {
	if len(labels) > 0 {
		out = append(out, "resource in "+listOf("Class", labels))
	}
	if len(records) > 0 {
		out = append(out, "resource in "+listOf("Record", records))
	}
	return out
}

// listOf writes a list of entities of one type.
func listOf[E interface{ String() string }](of string, ids []E) string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = of + `::"` + id.String() + `"`
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// join lists words as a sentence does.
func join(list []string, last string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " " + last + " " + list[len(list)-1]
}
