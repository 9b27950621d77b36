package consent

import (
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// circumstance is a condition that has no place in the sentence itself.
func (t teller) circumstance(n xast.IsNode) string {
	if path(n) == "context.breakglass" {
		return "only when an emergency is declared"
	}
	left, right, operator := comparison(n)
	at, isNumber := number(right)
	if path(left) == "resource.recorded" && isNumber {
		switch operator {
		case ">=":
			return "recorded on or after " + moment(at)
		case "<":
			return "recorded before " + moment(at)
		}
	}
	return "only if " + t.expr(n)
}

func number(n xast.IsNode) (uint64, bool) {
	if v, ok := n.(xast.NodeValue); ok {
		if l, ok := v.Value.(cedar.Long); ok && l >= 0 {
			return uint64(l), true
		}
	}
	return 0, false
}

func comparison(n xast.IsNode) (left, right xast.IsNode, operator string) {
	switch n := n.(type) {
	case xast.NodeTypeEquals:
		return n.Left, n.Right, "=="
	case xast.NodeTypeNotEquals:
		return n.Left, n.Right, "!="
	case xast.NodeTypeLessThan:
		return n.Left, n.Right, "<"
	case xast.NodeTypeLessThanOrEqual:
		return n.Left, n.Right, "<="
	case xast.NodeTypeGreaterThan:
		return n.Left, n.Right, ">"
	case xast.NodeTypeGreaterThanOrEqual:
		return n.Left, n.Right, ">="
	case xast.NodeTypeIn:
		return n.Left, n.Right, "in"
	}
	return nil, nil, ""
}

// expr spells any expression of the subset out, with brackets where the grouping could be misread.
func (t teller) expr(n xast.IsNode) string {
	switch n := n.(type) {
	case xast.NodeTypeAnd:
		return t.list(n, " and ")
	case xast.NodeTypeOr:
		return t.list(n, " or ")
	case xast.NodeTypeNot:
		return "not " + t.inner(n.Arg)
	case xast.NodeTypeIfThenElse:
		return "(if " + t.expr(n.If) + " then " + t.expr(n.Then) + ", otherwise " + t.expr(n.Else) + ")"
	case xast.NodeTypeAdd:
		return t.inner(n.Left) + " plus " + t.inner(n.Right)
	case xast.NodeTypeSub:
		return t.inner(n.Left) + " minus " + t.inner(n.Right)
	case xast.NodeTypeContains:
		return t.inner(n.Right) + " is " + t.inner(n.Left)
	case xast.NodeTypeIs:
		return t.inner(n.Left) + " is a " + strings.ToLower(string(n.EntityType))
	case xast.NodeTypeIsIn:
		return t.inner(n.Left) + " is a " + strings.ToLower(string(n.EntityType)) + " in " + t.inner(n.Entity)
	}
	if left, right, operator := comparison(n); operator != "" {
		return t.compared(left, right, operator)
	}
	return t.term(n)
}

func (t teller) compared(left, right xast.IsNode, operator string) string {
	words := map[string]string{"==": "is", "!=": "is not", "in": "is in", "<": "is less than", "<=": "is at most",
		">": "is more than", ">=": "is at least"}
	text := t.side(left, right)
	return text + " " + words[operator] + " " + t.side(right, left)
}

// side spells one side of a comparison; a bare number is a moment, a span or a count after the other side.
func (t teller) side(n, other xast.IsNode) string {
	value, ok := number(n)
	if !ok {
		return t.inner(n)
	}
	switch path(other) {
	case "context.now", "resource.recorded":
		return moment(value)
	case "context.uses":
		return fmt.Sprint(value)
	}
	if _, ok := other.(xast.NodeTypeSub); ok {
		return span(value)
	}
	return fmt.Sprint(value)
}

// inner spells a part of a larger expression, in brackets unless it is a single term.
func (t teller) inner(n xast.IsNode) string {
	switch n.(type) {
	case xast.NodeTypeAnd, xast.NodeTypeOr, xast.NodeTypeAdd, xast.NodeTypeSub, xast.NodeTypeNot, xast.NodeTypeContains, xast.NodeTypeIs, xast.NodeTypeIsIn:
		return "(" + t.expr(n) + ")"
	}
	if _, _, operator := comparison(n); operator != "" {
		return "(" + t.expr(n) + ")"
	}
	return t.expr(n)
}

func (t teller) list(n xast.IsNode, word string) string {
	var out []string
	for _, link := range links(n) {
		out = append(out, t.inner(link))
	}
	return strings.Join(out, word)
}

// spoken is what variables and attributes are called.
var spoken = map[string]string{
	"principal": "the one who asks", "action": "the action", "resource": "the record",
	"principal.role": "their role", "principal.credential": "the state of their credential",
	"resource.author": "the record's author", "resource.recorded": "the time it was recorded",
	"context.purpose": "the purpose", "context.now": "the time now", "context.uses": "the number of uses so far",
	"context.breakglass": "an emergency is declared",
}

func (t teller) term(n xast.IsNode) string {
	if p := path(n); p != "" {
		return spoken[p]
	}
	if uids := literals(n); len(uids) > 0 {
		var names []string
		for _, uid := range uids {
			names = append(names, t.entity(uid))
		}
		return join(names, "or")
	}
	if v, ok := n.(xast.NodeValue); ok {
		return string(v.Value.MarshalCedar())
	}
	return "?"
}
