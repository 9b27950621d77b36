package consent

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// How tightly an expression binds, after Cedar's grammar; a looser one inside a tighter one is put in parentheses.
const (
	bindIf = iota
	bindOr
	bindAnd
	bindRelation
	bindAdd
	bindUnary
	bindMember
)

// writePolicy is the canonical text of one checked policy: one line, no annotations.
func writePolicy(p *xast.Policy) string {
	var w writer
	if p.Effect == xast.EffectPermit {
		w.put("permit(")
	} else {
		w.put("forbid(")
	}
	w.scope("principal", p.Principal)
	w.put(", ")
	w.scope("action", p.Action)
	w.put(", ")
	w.scope("resource", p.Resource)
	w.put(")")
	for _, cond := range p.Conditions {
		if cond.Condition == xast.ConditionWhen {
			w.put(" when { ")
		} else {
			w.put(" unless { ")
		}
		w.expr(cond.Body, bindIf)
		w.put(" }")
	}
	w.put(";")
	return w.String()
}

type writer struct{ strings.Builder }

func (w *writer) put(parts ...string) {
	for _, s := range parts {
		w.WriteString(s)
	}
}

// scope writes a part of the head. Actions have no groups, so "in" one action is "==", and a list is sorted.
func (w *writer) scope(name string, s xast.IsScopeNode) {
	w.put(name)
	switch s := s.(type) {
	case xast.ScopeTypeEq:
		w.put(" == ", entityText(s.Entity))
	case xast.ScopeTypeIn:
		if s.Entity.Type == typeAction {
			w.put(" == ", entityText(s.Entity))
			return
		}
		w.put(" in ", entityText(s.Entity))
	case xast.ScopeTypeInSet:
		list := sortedTexts(s.Entities)
		if len(list) == 1 {
			w.put(" == ", list[0])
			return
		}
		w.put(" in [", strings.Join(list, ", "), "]")
	case xast.ScopeTypeIs:
		w.put(" is ", string(s.Type))
	case xast.ScopeTypeIsIn:
		w.put(" is ", string(s.Type), " in ", entityText(s.Entity))
	}
}

// entityText needs no escapes: the checker admits ids of hexadecimal digits and enumerated words only.
func entityText(uid cedar.EntityUID) string {
	return string(uid.Type) + `::"` + string(uid.ID) + `"`
}

func sortedTexts(uids []cedar.EntityUID) []string {
	list := make([]string, len(uids))
	for i, uid := range uids {
		list[i] = entityText(uid)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// expr writes an expression where something binding this tightly is expected.
func (w *writer) expr(n xast.IsNode, expected int) {
	if binding(n) < expected {
		w.put("(")
		w.bare(n)
		w.put(")")
		return
	}
	w.bare(n)
}

func binding(n xast.IsNode) int {
	switch n.(type) {
	case xast.NodeTypeIfThenElse:
		return bindIf
	case xast.NodeTypeOr:
		return bindOr
	case xast.NodeTypeAnd:
		return bindAnd
	case xast.NodeTypeAdd, xast.NodeTypeSub:
		return bindAdd
	case xast.NodeTypeNot:
		return bindUnary
	case xast.NodeValue, xast.NodeTypeVariable, xast.NodeTypeSet, xast.NodeTypeAccess, xast.NodeTypeContains:
		return bindMember
	}
	return bindRelation
}

func (w *writer) bare(n xast.IsNode) {
	switch n := n.(type) {
	case xast.NodeValue:
		w.value(n.Value)
	case xast.NodeTypeVariable:
		w.put(string(n.Name))
	case xast.NodeTypeSet:
		w.put("[", strings.Join(sortedTexts(entities(n)), ", "), "]")
	case xast.NodeTypeAccess:
		w.expr(n.Arg, bindMember)
		w.put(".", string(n.Value))
	case xast.NodeTypeContains:
		w.expr(n.Left, bindMember)
		w.put(".contains(")
		w.expr(n.Right, bindIf)
		w.put(")")
	case xast.NodeTypeNot:
		w.put("!")
		w.expr(n.Arg, bindUnary)
	case xast.NodeTypeIfThenElse:
		w.put("if ")
		w.expr(n.If, bindIf)
		w.put(" then ")
		w.expr(n.Then, bindIf)
		w.put(" else ")
		w.expr(n.Else, bindIf)
	case xast.NodeTypeAnd:
		w.chain(n, " && ", bindRelation)
	case xast.NodeTypeOr:
		w.chain(n, " || ", bindAnd)
	case xast.NodeTypeAdd:
		w.infix(n.BinaryNode, " + ", bindUnary)
	case xast.NodeTypeSub:
		w.infix(n.BinaryNode, " - ", bindUnary)
	default:
		w.relation(n)
	}
}

// relation writes the operators that do not chain: each side binds tighter than the relation itself.
func (w *writer) relation(n xast.IsNode) {
	switch n := n.(type) {
	case xast.NodeTypeEquals:
		w.infix(n.BinaryNode, " == ", bindAdd)
	case xast.NodeTypeNotEquals:
		w.infix(n.BinaryNode, " != ", bindAdd)
	case xast.NodeTypeLessThan:
		w.infix(n.BinaryNode, " < ", bindAdd)
	case xast.NodeTypeLessThanOrEqual:
		w.infix(n.BinaryNode, " <= ", bindAdd)
	case xast.NodeTypeGreaterThan:
		w.infix(n.BinaryNode, " > ", bindAdd)
	case xast.NodeTypeGreaterThanOrEqual:
		w.infix(n.BinaryNode, " >= ", bindAdd)
	case xast.NodeTypeIn:
		w.infix(n.BinaryNode, " in ", bindAdd)
	case xast.NodeTypeIs:
		w.expr(n.Left, bindAdd)
		w.put(" is ", string(n.EntityType))
	case xast.NodeTypeIsIn:
		w.expr(n.Left, bindAdd)
		w.put(" is ", string(n.EntityType), " in ")
		w.expr(n.Entity, bindAdd)
	}
}

func (w *writer) infix(n xast.BinaryNode, operator string, right int) {
	w.expr(n.Left, bindAdd)
	w.put(operator)
	w.expr(n.Right, right)
}

// chain writes a && or || flat: the grouping of its links changes nothing, so it has no canonical form of its own.
func (w *writer) chain(n xast.IsNode, operator string, expected int) {
	for i, link := range links(n) {
		if i > 0 {
			w.put(operator)
		}
		w.expr(link, expected)
	}
}

func (w *writer) value(v cedar.Value) {
	switch v := v.(type) {
	case cedar.Boolean:
		w.put(strconv.FormatBool(bool(v)))
	case cedar.Long:
		w.put(strconv.FormatInt(int64(v), 10))
	case cedar.EntityUID:
		w.put(entityText(v))
	}
}

// entities are the elements of a checked list.
func entities(n xast.NodeTypeSet) (out []cedar.EntityUID) {
	for _, e := range n.Elements {
		if v, ok := e.(xast.NodeValue); ok {
			if uid, ok := v.Value.(cedar.EntityUID); ok {
				out = append(out, uid)
			}
		}
	}
	return out
}
