package fhir

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
)

//go:embed r4.txt
var r4Definitions string

// shape is what one R4 type or nested element may hold, from the HL7 definitions (gen_r4.go).
type shape struct {
	elements map[string]*element
	required []string
}

// element is one element of a shape.
type element struct {
	list bool
	kind kind   // JSON kind of (each) value
	of   *shape // what an object must look like; nil for a resource, which says so itself
}

// shapes by type or element path, read on first use.
var shapes = sync.OnceValue(func() map[string]*shape {
	out := map[string]*shape{}
	get := func(name string) *shape {
		if out[name] == nil {
			out[name] = &shape{elements: map[string]*element{}}
		}
		return out[name]
	}
	for line := range strings.Lines(r4Definitions) {
		fields := strings.Fields(line)
		s := get(fields[0])
		for _, field := range fields[1:] {
			e := &element{}
			field, e.list = strings.CutPrefix(field, "*")
			field, required := strings.CutPrefix(field, "!")
			name, typ, _ := strings.Cut(field, ":")
			if required {
				s.required = append(s.required, name)
			}
			if e.kind = primitiveKind(typ); e.kind == kindObject && typ != "Resource" {
				e.of = get(typ)
			}
			s.elements[name] = e
		}
	}
	return out
})

// primitiveKind is the JSON kind of a FHIR type (R4 section 2.6.2).
func primitiveKind(typ string) kind {
	switch typ {
	case "boolean":
		return kindTrue
	case "decimal", "integer", "positiveInt", "unsignedInt":
		return kindNumber
	}
	if c := typ[0]; c >= 'a' && c <= 'z' {
		return kindString
	}
	return kindObject
}

// misfit is where and how a value differs from its shape.
type misfit struct {
	path   string
	reason string
}

func (m *misfit) under(name string) *misfit {
	if m != nil {
		m.path = name + m.path
	}
	return m
}

// checker compares a resource with the definition of its type: element names, lists, JSON kinds, that nothing is
// empty, and if it is strict, that required elements are there.
type checker struct{ strict bool }

func (c checker) resource(v val, typ string) (Code, string) {
	if m := c.object(shapes()[typ], v); m != nil {
		return CodeShape, typ + m.path + ": " + m.reason
	}
	return "", ""
}

func (c checker) object(s *shape, v val) *misfit {
	if s == nil {
		return &misfit{"", "is of an unknown type"}
	}
	if v.kind() != kindObject {
		return &misfit{"", "is " + kindNames[v.kind()] + " where an object belongs"}
	}
	empty := true
	for m := range v.children() {
		empty = false
		n := m.node()
		name := m.d.src[n.keyAt:n.keyEnd]
		e := s.elements[string(name)]
		var bad *misfit
		switch {
		case e != nil:
			bad = c.element(e, m)
		case string(name) == "resourceType":
			continue
		case len(name) > 1 && name[0] == '_':
			bad = c.extra(s, m, string(name[1:]))
		default:
			bad = &misfit{"", "no such element in FHIR R4"}
		}
		if bad != nil {
			return bad.under("." + clip(m.key()))
		}
	}
	if empty {
		return &misfit{"", "is empty"}
	}
	for _, name := range s.required {
		if c.strict && !v.get(name).ok() && !v.get("_"+name).ok() {
			return &misfit{"." + name, "is missing"}
		}
	}
	return nil
}

func (c checker) element(e *element, v val) *misfit {
	if !e.list {
		return c.one(e, v)
	}
	if v.kind() != kindArray {
		return &misfit{"", "is " + kindNames[v.kind()] + " where a list belongs"}
	}
	count := 0
	for one := range v.children() {
		if one.kind() == kindNull && e.kind != kindObject {
			count++
			continue // a list of primitives has null where only the extension is given
		}
		if bad := c.one(e, one); bad != nil {
			return bad.under(fmt.Sprintf("[%d]", count))
		}
		count++
	}
	if count == 0 {
		return &misfit{"", "is an empty list"}
	}
	return nil
}

func (c checker) one(e *element, v val) *misfit {
	got := v.kind()
	if got == kindFalse {
		got = kindTrue
	}
	switch {
	case got != e.kind:
		return &misfit{"", "is " + kindNames[v.kind()] + " where " + kindNames[e.kind] + " belongs"}
	case got != kindObject:
		return nil
	case e.of != nil:
		return c.object(e.of, v)
	}
	typ := v.get("resourceType").str()
	if _, ok := types[typ]; !ok {
		return &misfit{"", "is no resource of FHIR R4"}
	}
	return c.object(shapes()[typ], v)
}

// checkExtra is for "_name", the id and extensions of primitive element name.
func (c checker) extra(s *shape, v val, name string) *misfit {
	e := s.elements[name]
	if e == nil || e.kind == kindObject {
		return &misfit{"", "no such primitive element in FHIR R4"}
	}
	for one := range v.each() {
		if one.kind() == kindNull && e.list {
			continue
		}
		if bad := c.object(shapes()["Element"], one); bad != nil {
			return bad
		}
	}
	return nil
}

var kindNames = map[kind]string{
	kindObject: "an object", kindArray: "a list", kindString: "a string", kindNumber: "a number",
	kindTrue: "a boolean", kindFalse: "a boolean", kindNull: "null",
}
