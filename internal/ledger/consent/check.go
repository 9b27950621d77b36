package consent

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// kind is what a value is: an entity type of the schema, or one of the kinds below. A set is the kind of its elements, marked.
type kind struct {
	of  cedar.EntityType
	set bool
}

var (
	kindBool      = kind{of: "Bool"}
	kindLong      = kind{of: "Long"}
	kindPrincipal = kind{of: "Practitioner or Member"}
	kindContext   = kind{of: "context"}
)

func (k kind) String() string {
	if k.set {
		return "a set of " + string(k.of)
	}
	return string(k.of)
}

// attributes lists what can be asked of each variable. The validator knows more (that a role belongs to practitioners only); this
// table is what the subset admits at all.
var attributes = []struct {
	of   kind
	name string
	is   kind
}{
	{kindPrincipal, "role", kind{of: typeRole}},
	{kindPrincipal, "credential", kind{of: typeCredential}},
	{kind{of: typeRecord}, "author", kind{of: typeMember}},
	{kind{of: typeRecord}, "recorded", kindLong},
	{kindContext, "purpose", kind{of: typePurpose}},
	{kindContext, "now", kindLong},
	{kindContext, "uses", kindLong},
	{kindContext, "breakglass", kindBool},
}

// checker walks one policy and refuses what lies outside the subset. nodes counts over the whole contract.
type checker struct {
	policy *xast.Policy
	nodes  *int
}

// checkPolicy refuses a policy outside the subset, then one that does not type-check against the schema.
func checkPolicy(p *xast.Policy, nodes *int) error {
	c := checker{policy: p, nodes: nodes}
	if err := c.scopes(); err != nil {
		return err
	}
	for _, cond := range p.Conditions {
		k, err := c.expr(cond.Body, 1)
		if err != nil {
			return err
		}
		if k != kindBool {
			return c.schema("a condition is true or false, this is %v", k)
		}
	}
	return typeCheck(p)
}

func (c checker) schema(format string, args ...any) error {
	return at(fail(ErrSchema, format, args...), c.policy)
}

func (c checker) freeText(format string, args ...any) error {
	return at(fail(ErrFreeText, format, args...), c.policy)
}

func (c checker) count(n, depth int) error {
	*c.nodes += n
	if *c.nodes > NodesMax {
		return at(tooLarge("nodes", *c.nodes, NodesMax), c.policy)
	}
	if depth > DepthMax {
		return at(tooLarge("nesting depth", depth, DepthMax), c.policy)
	}
	return nil
}

func (c checker) scopes() error {
	if err := c.scope("principal", c.policy.Principal, typePractitioner, typeMember); err != nil {
		return err
	}
	if err := c.scope("action", c.policy.Action, typeAction); err != nil {
		return err
	}
	return c.scope("resource", c.policy.Resource, typeRecord, typeClass, typeJournal)
}

// scope checks one of the three parts of a policy's head: the entities it names are of the types that can stand there.
func (c checker) scope(what string, s xast.IsScopeNode, allowed ...cedar.EntityType) error {
	var named []cedar.EntityUID
	switch s := s.(type) {
	case xast.ScopeTypeAll:
	case xast.ScopeTypeEq:
		named = []cedar.EntityUID{s.Entity}
	case xast.ScopeTypeIn:
		named = []cedar.EntityUID{s.Entity}
	case xast.ScopeTypeInSet:
		named = s.Entities
		if len(named) == 0 {
			return c.schema("%s in an empty list matches nothing", what)
		}
	case xast.ScopeTypeIs:
		return c.isType(what, s.Type)
	case xast.ScopeTypeIsIn:
		named = []cedar.EntityUID{s.Entity}
		if err := c.isType(what, s.Type); err != nil {
			return err
		}
	default:
		return c.schema("%s has an unknown form", what)
	}
	for _, uid := range named {
		if !slices.Contains(allowed, uid.Type) {
			return c.schema("%s cannot be a %s", what, quoteType(uid.Type))
		}
		if err := c.entity(uid); err != nil {
			return err
		}
	}
	return c.count(1+len(named), 1)
}

func (c checker) isType(what string, t cedar.EntityType) error {
	ok := what == "principal" && (t == typePractitioner || t == typeMember) || what == "resource" && t == typeRecord
	if !ok {
		return c.schema("%s is never a %s", what, quoteType(t))
	}
	return nil
}

// entity checks a literal: a known type, and an id of that type's form. Nothing else can be written where an id stands.
func (c checker) entity(uid cedar.EntityUID) error {
	switch uid.Type {
	case typeMember, typePractitioner, typeJournal, typeClass, typeRecord:
		if _, err := protocol.ParseMemberID(string(uid.ID)); err != nil {
			return c.freeText("the id of a %s is 32 lowercase hexadecimal digits", uid.Type)
		}
		return nil
	case typeRole, typePurpose, typeCredential, typeAction:
		if !slices.Contains(words(uid.Type), string(uid.ID)) {
			return c.freeText("%s is one of %s", uid.Type, strings.Join(words(uid.Type), ", "))
		}
		return nil
	}
	return c.schema("there is no entity type %s", quoteType(uid.Type))
}

// quoteType keeps a foreign name in an error message short.
func quoteType(t cedar.EntityType) string {
	const charactersMax = 40
	if len(t) > charactersMax {
		return string(t[:charactersMax]) + "…"
	}
	return string(t)
}

// expr checks an expression at a depth and returns its kind.
func (c checker) expr(n xast.IsNode, depth int) (kind, error) {
	if err := c.count(1, depth); err != nil {
		return kind{}, err
	}
	switch n := n.(type) {
	case xast.NodeValue:
		return c.value(n.Value)
	case xast.NodeTypeVariable:
		return c.variable(string(n.Name))
	case xast.NodeTypeSet:
		return c.set(n.Elements, depth)
	case xast.NodeTypeAccess:
		return c.access(n, depth)
	case xast.NodeTypeAnd, xast.NodeTypeOr:
		return c.chain(n, depth)
	case xast.NodeTypeNot:
		return kindBool, c.want(n.Arg, depth, kindBool)
	case xast.NodeTypeIfThenElse:
		return c.ifThenElse(n, depth)
	case xast.NodeTypeEquals:
		return c.equal(n.Left, n.Right, depth)
	case xast.NodeTypeNotEquals:
		return c.equal(n.Left, n.Right, depth)
	case xast.NodeTypeLessThan:
		return kindBool, c.longs(n.Left, n.Right, depth)
	case xast.NodeTypeLessThanOrEqual:
		return kindBool, c.longs(n.Left, n.Right, depth)
	case xast.NodeTypeGreaterThan:
		return kindBool, c.longs(n.Left, n.Right, depth)
	case xast.NodeTypeGreaterThanOrEqual:
		return kindBool, c.longs(n.Left, n.Right, depth)
	case xast.NodeTypeAdd:
		return kindLong, c.longs(n.Left, n.Right, depth)
	case xast.NodeTypeSub:
		return kindLong, c.longs(n.Left, n.Right, depth)
	case xast.NodeTypeIn:
		return c.in(n.Left, n.Right, depth)
	case xast.NodeTypeContains:
		return c.contains(n.Left, n.Right, depth)
	case xast.NodeTypeIs:
		return c.is(n, depth)
	case xast.NodeTypeIsIn:
		return c.isIn(n, depth)
	case xast.NodeTypeLike:
		return kind{}, c.freeText("contracts hold no text and no patterns: like cannot be used")
	}
	return kind{}, c.schema("contracts use only == != < <= > >= && || ! + - in is contains, if-then-else and the schema's attributes")
}

func (c checker) value(v cedar.Value) (kind, error) {
	switch v := v.(type) {
	case cedar.Boolean:
		return kindBool, nil
	case cedar.Long:
		if v < 0 || v > NumberMax {
			return kind{}, c.schema("numbers lie between 0 and 2^53-1")
		}
		return kindLong, nil
	case cedar.EntityUID:
		return kind{of: v.Type}, c.entity(v)
	case cedar.String:
		return kind{}, c.freeText(`contracts hold no text: write Purpose::"TREAT", Role::"nurse", Class::"<label>"`)
	}
	return kind{}, c.schema("a literal is true, false, a whole number or an entity")
}

func (c checker) variable(name string) (kind, error) {
	switch name {
	case "principal":
		return kindPrincipal, nil
	case "action":
		return kind{of: typeAction}, nil
	case "resource":
		return kind{of: typeRecord}, nil
	case "context":
		return kindContext, nil
	}
	return kind{}, c.schema("unknown variable")
}

// set checks a list: literals of one entity type, so that its canonical order is plain.
func (c checker) set(elements []xast.IsNode, depth int) (kind, error) {
	if len(elements) == 0 {
		return kind{}, c.schema("an empty list matches nothing")
	}
	var of kind
	for i, e := range elements {
		v, ok := e.(xast.NodeValue)
		uid, isEntity := v.Value.(cedar.EntityUID)
		if !ok || !isEntity {
			return kind{}, c.schema("a list holds entities only")
		}
		k, err := c.expr(e, depth+1)
		if err != nil {
			return kind{}, err
		}
		if i > 0 && k != of {
			return kind{}, c.schema("a list holds entities of one type: %s and %s", of.of, uid.Type)
		}
		of = k
	}
	of.set = true
	return of, nil
}

func (c checker) access(n xast.NodeTypeAccess, depth int) (kind, error) {
	if _, ok := n.Arg.(xast.NodeTypeVariable); !ok {
		return kind{}, c.schema("attributes are those of principal, resource and context")
	}
	of, err := c.expr(n.Arg, depth+1)
	if err != nil {
		return kind{}, err
	}
	for _, a := range attributes {
		if a.of == of && a.name == string(n.Value) {
			return a.is, nil
		}
	}
	return kind{}, c.schema("%s has no such attribute", of)
}

// chain checks a && or || with all its links at one depth: a list of conditions is not nested, whatever the tree looks like.
func (c checker) chain(n xast.IsNode, depth int) (kind, error) {
	for _, link := range links(n) {
		if err := c.want(link, depth, kindBool); err != nil {
			return kind{}, err
		}
	}
	return kindBool, nil
}

// links flattens a && b && c, or a || b || c, in order.
func links(n xast.IsNode) (out []xast.IsNode) {
	_, and := n.(xast.NodeTypeAnd)
	var collect func(xast.IsNode)
	collect = func(n xast.IsNode) {
		switch n := n.(type) {
		case xast.NodeTypeAnd:
			if and {
				collect(n.Left)
				collect(n.Right)
				return
			}
		case xast.NodeTypeOr:
			if !and {
				collect(n.Left)
				collect(n.Right)
				return
			}
		}
		out = append(out, n)
	}
	collect(n)
	return out
}

func (c checker) ifThenElse(n xast.NodeTypeIfThenElse, depth int) (kind, error) {
	if err := c.want(n.If, depth, kindBool); err != nil {
		return kind{}, err
	}
	then, err := c.expr(n.Then, depth+1)
	if err != nil {
		return kind{}, err
	}
	return then, c.want(n.Else, depth, then)
}

func (c checker) want(n xast.IsNode, depth int, want kind) error {
	k, err := c.expr(n, depth+1)
	if err == nil && k != want {
		err = c.schema("this should be %v, it is %v", want, k)
	}
	return err
}

func (c checker) longs(left, right xast.IsNode, depth int) error {
	if err := c.want(left, depth, kindLong); err != nil {
		return err
	}
	return c.want(right, depth, kindLong)
}

func (c checker) both(left, right xast.IsNode, depth int) (l, r kind, err error) {
	if l, err = c.expr(left, depth+1); err != nil {
		return l, r, err
	}
	r, err = c.expr(right, depth+1)
	return l, r, err
}

func (c checker) equal(left, right xast.IsNode, depth int) (kind, error) {
	l, r, err := c.both(left, right, depth)
	if err != nil {
		return kind{}, err
	}
	if l.set || r.set || l == kindContext || !mayEqual(l, r) {
		return kind{}, c.schema("%v never equals %v", l, r)
	}
	return kindBool, nil
}

// mayEqual tells whether two kinds can be equal; a principal is either of its two types.
func mayEqual(l, r kind) bool {
	either := func(a, b kind) bool {
		return a == kindPrincipal && (b.of == typePractitioner || b.of == typeMember)
	}
	return l.of == r.of || either(l, r) || either(r, l)
}

// in checks membership. Everything is in itself; beyond that a practitioner is in a member, a record in a class and a journal.
func (c checker) in(left, right xast.IsNode, depth int) (kind, error) {
	l, r, err := c.both(left, right, depth)
	if err != nil {
		return kind{}, err
	}
	upward := l.of == typePractitioner && r.of == typeMember || l.of == typeRecord && (r.of == typeClass || r.of == typeJournal)
	isEntity := l != kindBool && l != kindLong && l != kindContext
	if l.set || !isEntity || !upward && !mayEqual(l, r) {
		return kind{}, c.schema("%v is never in %v", l, r)
	}
	return kindBool, nil
}

func (c checker) contains(left, right xast.IsNode, depth int) (kind, error) {
	l, r, err := c.both(left, right, depth)
	if err != nil {
		return kind{}, err
	}
	if !l.set || r.set || !mayEqual(l, r) {
		return kind{}, c.schema("%v never contains %v", l, r)
	}
	return kindBool, nil
}

func (c checker) is(n xast.NodeTypeIs, depth int) (kind, error) {
	v, ok := n.Left.(xast.NodeTypeVariable)
	if !ok {
		return kind{}, c.schema("is asks for the type of principal or resource")
	}
	if err := c.count(1, depth+1); err != nil {
		return kind{}, err
	}
	return kindBool, c.isType(string(v.Name), n.EntityType)
}

func (c checker) isIn(n xast.NodeTypeIsIn, depth int) (kind, error) {
	if _, err := c.is(n.NodeTypeIs, depth); err != nil {
		return kind{}, err
	}
	return c.in(n.Left, n.Entity, depth)
}
