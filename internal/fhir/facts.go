package fhir

// ref is one reference out of a resource.
type ref struct {
	in         string // top-level element it stands in
	to         string // Reference.reference
	identifier string // Reference.identifier as "system|value"
	display    string
}

// facts are what grouping needs to know of a resource, taken out while it is parsed.
type facts struct {
	sensitive   Class    // by labels, codes and words; "" if none
	refs        []ref    // in document order, contained resources included
	identifiers []string // the resource's own identifiers, "system|value"
	name        string   // of an organisation, for display
	contained   []contained
}

// contained is an organisation or role inside a resource: enough to name a source.
type contained struct {
	id, typ, name, identifier string
	refs                      []ref
}

// interner keeps one copy of the few strings that come again and again.
type interner map[string]string

func (in interner) of(b []byte) string {
	if s, ok := in[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(in) < 4096 && len(s) <= 64 {
		in[s] = s
	}
	return s
}

// extractor walks one resource.
type extractor struct {
	*facts
	intern interner
	search bool // look for sensitive content
}

func extract(v val, intern interner) *facts {
	x := extractor{&facts{}, intern, true}
	x.search = !types[string(v.get("resourceType").bytes())].patientless
	for m := range v.children() {
		name := m.node()
		key := intern.of(m.d.src[name.keyAt:name.keyEnd])
		switch key {
		case "identifier":
			x.ownIdentifiers(m)
		case "name":
			if m.kind() == kindString {
				x.name = m.str()
			}
		case "contained":
			for c := range m.each() {
				x.container(c)
			}
		}
		x.walk(m, key, key)
	}
	return x.facts
}

func (x *extractor) ownIdentifiers(v val) {
	for id := range v.each() {
		if s := identifierText(id); s != "" {
			x.identifiers = append(x.identifiers, s)
		}
	}
}

func identifierText(id val) string {
	value := id.get("value").str()
	if value == "" {
		return ""
	}
	return id.get("system").str() + "|" + value
}

func (x *extractor) container(v val) {
	c := contained{id: v.get("id").str(), typ: v.get("resourceType").str(), name: v.get("name").str()}
	for id := range v.get("identifier").each() {
		if c.identifier == "" {
			c.identifier = identifierText(id)
		}
	}
	inner := extractor{&facts{}, x.intern, false}
	for m := range v.children() {
		inner.walk(m, x.intern.of([]byte(m.key())), "")
	}
	c.refs = inner.refs
	x.contained = append(x.contained, c)
}

// walk collects references, labels and codes below v, which stands in top-level element top under the name key.
func (x *extractor) walk(v val, top, key string) {
	switch v.kind() {
	case kindArray:
		for e := range v.children() {
			if k := e.kind(); k == kindObject || k == kindArray {
				x.walk(e, top, key)
			}
		}
	case kindObject:
		x.object(v, top, key)
	}
}

// object looks at one object for the marks of a Reference, a Coding, a CodeableConcept and a Meta.
func (x *extractor) object(v val, top, key string) {
	var reference, identifier, code, text, display val
	for m := range v.children() {
		n := m.node()
		name := m.d.src[n.keyAt:n.keyEnd]
		switch n.kind {
		case kindString:
			switch string(name) {
			case "reference":
				reference = m
			case "code":
				code = m
			case "text":
				text = m
			case "display":
				display = m
			}
		case kindObject:
			switch string(name) {
			case "identifier":
				identifier = m
			case "meta":
				x.walk(m, top, "meta")
				continue
			}
			x.walk(m, top, "")
		case kindArray:
			if key == "meta" && string(name) == "security" {
				x.labels(m)
				continue
			}
			x.walk(m, top, "")
		}
	}
	if reference.ok() || identifier.ok() {
		x.refs = append(x.refs, ref{top, reference.str(), identifierText(identifier), display.str()})
	}
	if !x.search {
		return
	}
	if code.ok() {
		x.found(codeClass(v))
	}
	if text.ok() && top != "note" {
		x.found(wordsClass(text.bytes()))
	}
	if display.ok() {
		x.found(wordsClass(display.bytes()))
	}
}

func (x *extractor) labels(v val) {
	for c := range v.children() {
		x.found(labelClass(c))
	}
}

func (x *extractor) found(c Class) {
	if c != "" {
		x.sensitive = graver(x.sensitive, c)
	}
}
