package fhir

import (
	"fmt"
	"strings"
)

// Check says what keeps raw from being a resource of FHIR R4: nil, or a *Problem. Beyond what Read asks for, elements
// that R4 requires must be there. (Read lets a resource pass that lacks one: an incomplete history is better than a
// lost one.) Choice elements, invariants, profiles and terminologies are not looked at.
func Check(raw []byte) error {
	var d doc
	if f := d.parse(raw, DefaultLimits().DepthMax); f != nil {
		return &Problem{Entry: -1, Code: f.code, Reason: f.Error()}
	}
	v := d.root()
	if code, reason := (checker{strict: true}).check(v); code != "" {
		return &Problem{Entry: -1, ResourceType: clip(v.get("resourceType").str()), ID: clip(v.get("id").str()), Code: code, Reason: reason}
	}
	return nil
}

// check is what Read asks of a resource. An empty code means that it may pass.
func check(v val) (Code, string) { return checker{}.check(v) }

func (c checker) check(v val) (Code, string) {
	if v.kind() != kindObject {
		return CodeShape, "the resource is no object"
	}
	rt := v.get("resourceType")
	if !rt.ok() {
		return CodeNotFHIR, "no resourceType"
	}
	typ := rt.str()
	if typ == "" {
		return CodeShape, "resourceType is no string"
	}
	if _, ok := types[typ]; !ok {
		if version := foreignTypes[typ]; version != "" {
			return CodeVersion, fmt.Sprintf("%s is a type of FHIR %s; only R4 (%s) is read", typ, version, Version)
		}
		return CodeUnknownType, fmt.Sprintf("%.64q is no resource type of FHIR R4", typ)
	}
	if code, reason := checkID(v.get("id")); code != "" {
		return code, reason
	}
	if code, reason := checkVersion(v, typ); code != "" {
		return code, reason
	}
	return c.resource(v, typ)
}

// checkID: FHIR R4 section 2.24.0.1, type id.
func checkID(id val) (Code, string) {
	if !id.ok() {
		return "", ""
	}
	s := id.bytes()
	if id.kind() != kindString || len(s) == 0 || len(s) > 64 {
		return CodeShape, "id is no string of 1 to 64 characters"
	}
	for _, c := range s {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.'
		if !ok {
			return CodeShape, fmt.Sprintf("id %.64q has a character other than A-Z, a-z, 0-9, '-' and '.'", s)
		}
	}
	return "", ""
}

// checkVersion looks for signs of another FHIR version: a fhirVersion, a profile of another version's core, an
// element that R4 does not have.
func checkVersion(v val, typ string) (Code, string) {
	for fv := range v.get("fhirVersion").each() {
		if s := fv.str(); s != "" && !strings.HasPrefix(s, "4.0") {
			return CodeVersion, fmt.Sprintf("fhirVersion %.32q; only R4 (%s) is read", s, Version)
		}
	}
	for p := range v.get("meta").get("profile").each() {
		if version := profileVersion(p.str()); version != "" {
			return CodeVersion, fmt.Sprintf("profile %.128q of FHIR %s; only R4 (%s) is read", p.str(), version, Version)
		}
	}
	foreign := foreignElements[typ]
	if foreign == nil {
		return "", ""
	}
	for m := range v.children() {
		n := m.node()
		if version := foreign[string(m.d.src[n.keyAt:n.keyEnd])]; version != "" {
			return CodeVersion, fmt.Sprintf("%s.%s is an element of FHIR %s; only R4 (%s) is read", typ, m.key(), version, Version)
		}
	}
	if typ == "Encounter" && v.get("class").kind() == kindArray {
		return CodeVersion, fmt.Sprintf("Encounter.class is a list as in FHIR R5; only R4 (%s) is read", Version)
	}
	return "", ""
}

// profileVersion is the version that a core profile's URL names when it is another than R4: as a path
// (http://hl7.org/fhir/5.0/StructureDefinition/…) or as a suffix (…/StructureDefinition/Patient|5.0.0).
func profileVersion(url string) string {
	rest, isCore := strings.CutPrefix(url, "http://hl7.org/fhir/")
	if !isCore {
		return ""
	}
	version := ""
	if path, suffix, ok := strings.Cut(rest, "|"); ok && strings.HasPrefix(path, "StructureDefinition/") &&
		types[strings.TrimPrefix(path, "StructureDefinition/")].class != "" {
		version = suffix
	}
	if path, _, ok := strings.Cut(rest, "/StructureDefinition/"); ok {
		version = path
	}
	if version == "" || version[0] < '0' || version[0] > '9' || strings.HasPrefix(version, "4.0") {
		return ""
	}
	return version
}
