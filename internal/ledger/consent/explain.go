package consent

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Terms are what a grant adds to its policies.
type Terms struct {
	NotBefore uint64 // UTC ms, inclusive; 0: at once
	NotAfter  uint64 // UTC ms, exclusive; 0: not settled yet, and not spoken of
	UsesMax   uint32 // 0: no limit
}

// Names gives the name under which the patient knows an entity: of is Member, Practitioner, Class, Record or Journal, id its 32
// hexadecimal digits. An empty answer makes Explain show the beginning of the id.
type Names func(of, id string) string

// Explain says in English what a contract does, one line for each policy and one for its terms. It leaves nothing out: a condition
// for which it has no phrase is spelled out. The error is that of Compile.
func Explain(canonical []byte, terms Terms, names Names) (string, error) {
	c, err := Compile(canonical)
	if err != nil {
		return "", err
	}
	t := teller{names: names}
	var allowed, closed []string
	for _, p := range c.policies {
		if p.forbids() {
			closed = append(closed, t.policy(p.tree))
		} else {
			allowed = append(allowed, t.policy(p.tree))
		}
	}
	lines := append(allowed, closed...)
	if len(allowed) == 0 {
		lines = append(lines, "This contract opens nothing; it only closes.")
	}
	return strings.Join(append(lines, terms.sentence()), "\n") + "\n", nil
}

func (t Terms) sentence() string {
	s := "It holds from the moment you sign"
	if t.NotBefore > 0 {
		s = "It holds from " + moment(t.NotBefore)
	}
	if t.NotAfter > 0 {
		s += " until " + moment(t.NotAfter)
	}
	if t.UsesMax > 0 {
		s += fmt.Sprintf(", for at most %s", plural(uint64(t.UsesMax), "use"))
	}
	return s + ". You can end it at any moment."
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// moment writes a time to the minute; seconds appear when they matter.
func moment(ms uint64) string {
	at := time.UnixMilli(int64(min(ms, NumberMax))).UTC()
	if ms%60_000 == 0 {
		return at.Format("2 January 2006, 15:04 UTC")
	}
	return at.Format("2 January 2006, 15:04:05.999 UTC")
}

// span writes a length of time in the largest unit that fits it whole.
func span(ms uint64) string {
	for _, u := range []struct {
		ms   uint64
		name string
	}{{dayMillis, "day"}, {3600_000, "hour"}, {60_000, "minute"}, {1000, "second"}} {
		if ms >= u.ms && ms%u.ms == 0 {
			return plural(ms/u.ms, u.name)
		}
	}
	return plural(ms, "millisecond")
}

// teller turns syntax trees into sentences.
type teller struct{ names Names }

// sentence gathers the parts of what one policy says. A part that is taken already sends a second condition of its sort to ifs.
type sentence struct {
	who, role, what, author, purpose string
	ifs                              []string
}

func (t teller) policy(p *xast.Policy) string {
	s := sentence{who: t.who(p.Principal), what: t.whichResource(p.Resource)}
	for _, cond := range p.Conditions {
		if cond.Condition == xast.ConditionUnless {
			s.ifs = append(s.ifs, "unless "+t.expr(cond.Body))
			continue
		}
		conditions := []xast.IsNode{cond.Body}
		if _, and := cond.Body.(xast.NodeTypeAnd); and {
			conditions = links(cond.Body)
		}
		for _, n := range conditions {
			t.condition(&s, n)
		}
	}
	what := s.what
	if what == "" {
		what = "all records"
	}
	if s.role != "" {
		s.who += " who is " + s.role
	}
	verb := " may "
	if p.Effect == xast.EffectForbid {
		verb = " may never "
	}
	parts := []string{capital(s.who) + verb + t.actions(p.Action, p.Effect) + " " + what + s.author + s.purpose}
	end := "."
	if p.Effect == xast.EffectForbid {
		end = ", whatever other contracts say."
	}
	return strings.Join(append(parts, s.ifs...), ", ") + end
}

func capital(s string) string {
	r := []rune(s)
	if len(r) > 0 {
		r[0] = unicode.ToUpper(r[0])
	}
	return string(r)
}

func (t teller) who(s xast.IsScopeNode) string {
	switch s := s.(type) {
	case xast.ScopeTypeEq:
		if s.Entity.Type == typeMember {
			return t.entity(s.Entity) + " itself"
		}
		return t.entity(s.Entity)
	case xast.ScopeTypeIn:
		if s.Entity.Type == typePractitioner {
			return t.entity(s.Entity)
		}
		return "anybody at " + t.entity(s.Entity)
	case xast.ScopeTypeIs:
		if s.Type == typeMember {
			return "any organisation of the network"
		}
		return "any practitioner of the network"
	case xast.ScopeTypeIsIn:
		if s.Type == typeMember || s.Entity.Type == typePractitioner {
			return t.entity(s.Entity) + " itself"
		}
		return "any practitioner at " + t.entity(s.Entity)
	}
	return "ANYBODY in the network"
}

func (t teller) actions(s xast.IsScopeNode, e xast.Effect) string {
	verbs := []string{"read", "add", "pass on"}
	last := "and"
	if e == xast.EffectForbid {
		last = "or"
	}
	var uids []cedar.EntityUID
	switch s := s.(type) {
	case xast.ScopeTypeEq:
		uids = []cedar.EntityUID{s.Entity}
	case xast.ScopeTypeIn:
		uids = []cedar.EntityUID{s.Entity}
	case xast.ScopeTypeInSet:
		uids = s.Entities
	default:
		return join(verbs, last)
	}
	var out []string
	for _, uid := range uids {
		if a, ok := ParseAction(string(uid.ID)); ok {
			out = append(out, verbs[a-1])
		}
	}
	return join(out, last)
}

// whichResource is what the head of a policy says of the record; empty when it says nothing.
func (t teller) whichResource(s xast.IsScopeNode) string {
	switch s := s.(type) {
	case xast.ScopeTypeEq:
		return t.records([]cedar.EntityUID{s.Entity})
	case xast.ScopeTypeIn:
		return t.records([]cedar.EntityUID{s.Entity})
	case xast.ScopeTypeIsIn:
		return t.records([]cedar.EntityUID{s.Entity})
	}
	return ""
}

// records says which records lie in one of these classes, journals or records, all of one type.
func (t teller) records(uids []cedar.EntityUID) string {
	var names []string
	for _, uid := range uids {
		names = append(names, t.entity(uid))
	}
	switch list := join(names, "and"); uids[0].Type {
	case typeClass:
		return "records about " + list
	case typeRecord:
		return list
	default:
		return "records in " + list
	}
}

// entity is the name the patient knows, or a word and the beginning of the id. A name is cut to one short printable line: it comes
// from others, and must not be able to look like another line of the explanation.
func (t teller) entity(uid cedar.EntityUID) string {
	switch uid.Type {
	case typeRole:
		return article(strings.ReplaceAll(string(uid.ID), "-", " "))
	case typePurpose:
		return purposeText(string(uid.ID))
	case typeCredential, typeAction:
		return string(uid.ID)
	}
	if t.names != nil {
		const charactersMax = 80
		name := strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return -1
			}
			return r
		}, t.names(string(uid.Type), string(uid.ID)))
		if r := []rune(name); len(r) > charactersMax {
			name = string(r[:charactersMax]) + "…"
		}
		if name = strings.TrimSpace(name); name != "" {
			return name
		}
	}
	return strings.ToLower(string(uid.Type)) + " " + string(uid.ID[:min(8, len(uid.ID))]) + "…"
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

// purposeText is a purpose in words.
func purposeText(code string) string {
	var p protocol.Purpose
	if p.UnmarshalText([]byte(code)) != nil {
		return code
	}
	switch p {
	case protocol.PurposeTreat:
		return "treatment"
	case protocol.PurposeEmergency:
		return "emergency treatment"
	case protocol.PurposeBreakGlass:
		return "breaking the glass in an emergency"
	case protocol.PurposePayment:
		return "payment"
	case protocol.PurposeOperations:
		return "running the organisation"
	case protocol.PurposeResearch:
		return "medical research"
	case protocol.PurposeClinicalTrial:
		return "a clinical trial"
	case protocol.PurposePatientRequest:
		return "something you asked for"
	case protocol.PurposePublicHealth:
		return "public health"
	case protocol.PurposeCareManagement:
		return "planning your care"
	case protocol.PurposeFamilyRequest:
		return "something your family asked for"
	case protocol.PurposePowerOfAttorney:
		return "acting under your power of attorney"
	}
	return code
}

// condition finds the place in the sentence where a condition belongs.
func (t teller) condition(s *sentence, n xast.IsNode) {
	if subject, uids := oneOf(n); len(uids) > 0 {
		if place := s.place(subject, uids[0].Type); place != nil && *place == "" {
			*place = t.phrase(subject, uids)
			return
		}
	}
	if phrase := t.choice(n); phrase != "" && s.what == "" {
		s.what = phrase
		return
	}
	s.ifs = append(s.ifs, t.circumstance(n))
}

func (s *sentence) place(subject string, of cedar.EntityType) *string {
	switch subject {
	case "principal.role":
		return &s.role
	case "context.purpose":
		return &s.purpose
	case "resource.author":
		return &s.author
	case "resource":
		if of != typeJournal {
			return &s.what
		}
	}
	return nil
}

func (t teller) phrase(subject string, uids []cedar.EntityUID) string {
	if subject == "resource" {
		return t.records(uids)
	}
	var names []string
	for _, uid := range uids {
		names = append(names, t.entity(uid))
	}
	list := join(names, "or")
	switch subject {
	case "resource.author":
		return " written by " + list
	case "context.purpose":
		return " for " + list
	}
	return list
}

// choice is a || of classes and records, such as templates write.
func (t teller) choice(n xast.IsNode) string {
	if _, or := n.(xast.NodeTypeOr); !or {
		return ""
	}
	var out []string
	for _, link := range links(n) {
		subject, uids := oneOf(link)
		if subject != "resource" || len(uids) == 0 {
			return ""
		}
		out = append(out, t.records(uids))
	}
	return strings.Join(out, ", and ")
}

// oneOf reads "x == E", "x in E", "x in [E, …]" and "[E, …].contains(x)", for x a variable or an attribute.
func oneOf(n xast.IsNode) (subject string, uids []cedar.EntityUID) {
	switch n := n.(type) {
	case xast.NodeTypeEquals:
		return path(n.Left), literals(n.Right)
	case xast.NodeTypeIn:
		return path(n.Left), literals(n.Right)
	case xast.NodeTypeContains:
		return path(n.Right), literals(n.Left)
	}
	return "", nil
}

func path(n xast.IsNode) string {
	switch n := n.(type) {
	case xast.NodeTypeVariable:
		return string(n.Name)
	case xast.NodeTypeAccess:
		return path(n.Arg) + "." + string(n.Value)
	}
	return ""
}

func literals(n xast.IsNode) []cedar.EntityUID {
	switch n := n.(type) {
	case xast.NodeValue:
		if uid, ok := n.Value.(cedar.EntityUID); ok {
			return []cedar.EntityUID{uid}
		}
	case xast.NodeTypeSet:
		return slices.Clone(entities(n))
	}
	return nil
}
