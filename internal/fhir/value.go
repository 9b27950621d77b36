package fhir

import "iter"

// val is a value of a doc. The zero val is absent, and everything asked of it is absent or empty too: code that
// looks for elements needs no checks on the way.
type val struct {
	d *doc
	i uint32
}

func (d *doc) root() val { return val{d, 0} }

func (v val) ok() bool { return v.d != nil }

func (v val) node() node {
	if v.d == nil {
		return node{}
	}
	return v.d.nodes[v.i]
}

func (v val) kind() kind { return v.node().kind }

// key is the member name the value stands under, "" for an element of an array.
func (v val) key() string {
	if v.d == nil {
		return ""
	}
	return v.d.keyText(v.node())
}

func (v val) is(name string) bool { return v.d != nil && v.d.hasKey(v.node(), name) }

// raw is the value's text as in the source (a string with its quotes).
func (v val) raw() []byte {
	n := v.node()
	if n.kind == kindString {
		return v.d.src[n.at-1 : n.end+1]
	}
	if v.d == nil {
		return nil
	}
	return v.d.src[n.at:n.end]
}

// bytes is the text of a string without escapes, nil for anything else. It may point into the source.
func (v val) bytes() []byte {
	n := v.node()
	if n.kind != kindString {
		return nil
	}
	b := v.d.src[n.at:n.end]
	if n.escaped {
		return []byte(unescape(b))
	}
	return b
}

// str is a string's text, or "".
func (v val) str() string { return string(v.bytes()) }

// literal is the text of a string, number or boolean.
func (v val) literal() string {
	switch v.kind() {
	case kindString:
		return v.str()
	case kindNumber, kindTrue, kindFalse:
		return string(v.raw())
	}
	return ""
}

// get is the member of that name.
func (v val) get(name string) val {
	for m := range v.children() {
		if v.kind() == kindObject && m.is(name) {
			return m
		}
	}
	return val{}
}

// at follows member names; an array on the way stands for its first element.
func (v val) at(path ...string) val {
	for _, name := range path {
		v = v.first().get(name)
	}
	return v
}

// first is the first element of an array, or the value itself.
func (v val) first() val {
	if v.kind() != kindArray {
		return v
	}
	for e := range v.children() {
		return e
	}
	return val{}
}

// children are the members of an object or the elements of an array.
func (v val) children() iter.Seq[val] {
	return func(yield func(val) bool) {
		n := v.node()
		if n.kind != kindObject && n.kind != kindArray {
			return
		}
		for i := v.i + 1; i < n.next; i = v.d.nodes[i].next {
			if !yield(val{v.d, i}) {
				return
			}
		}
	}
}

// each are the elements of an array, or the value itself if it is no array (and not absent).
func (v val) each() iter.Seq[val] {
	if v.kind() == kindArray {
		return v.children()
	}
	return func(yield func(val) bool) {
		if v.ok() {
			yield(v)
		}
	}
}
