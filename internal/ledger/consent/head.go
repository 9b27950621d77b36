package consent

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// headFits tells whether a policy's principal and action can match this question. They are the same for all its resources, and Cedar
// asks them first: a policy that fails here is false for every resource and cannot err, so it need not run.
func (c *court) headFits(p policy) bool {
	return matches(p.tree.Principal, c.principal.UID, c.principal.Parents.Contains) &&
		matches(p.tree.Action, c.request.Action, func(cedar.EntityUID) bool { return false })
}

// matches evaluates one part of a head for an entity and its parents.
func matches(s xast.IsScopeNode, uid cedar.EntityUID, hasParent func(cedar.EntityUID) bool) bool {
	in := func(e cedar.EntityUID) bool { return uid == e || hasParent(e) }
	switch s := s.(type) {
	case xast.ScopeTypeEq:
		return uid == s.Entity
	case xast.ScopeTypeIn:
		return in(s.Entity)
	case xast.ScopeTypeInSet:
		return slices.ContainsFunc(s.Entities, in)
	case xast.ScopeTypeIs:
		return uid.Type == s.Type
	case xast.ScopeTypeIsIn:
		return uid.Type == s.Type && in(s.Entity)
	}
	return true
}
