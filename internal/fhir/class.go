package fhir

import "slices"

// Class is what a resource is about: the unit in which a patient gives consent. The slugs are stable; the ledger
// sees them only as keyed labels.
type Class string

// The classes. docs/spec/classes.md says what each holds.
const (
	Allergies     Class = "allergies"
	Medications   Class = "medications"
	Immunizations Class = "immunizations"
	Problems      Class = "problems"
	Labs          Class = "labs"
	Vitals        Class = "vitals"
	Imaging       Class = "imaging"
	Procedures    Class = "procedures"
	Encounters    Class = "encounters"
	Documents     Class = "documents"
	CarePlans     Class = "care-plans"
	Devices       Class = "devices"
	FamilyHistory Class = "family-history"
	SocialHistory Class = "social-history"
	Insurance     Class = "insurance"
	Demographics  Class = "demographics"
	Directory     Class = "directory"
	Consents      Class = "consents"
	Research      Class = "research"
	Admin         Class = "administrative"
	Other         Class = "other"

	// Sensitive classes: they win whatever the resource's type.
	HIV              Class = "hiv"
	SubstanceUse     Class = "substance-use"
	DomesticViolence Class = "domestic-violence"
	SexualHealth     Class = "sexual-health"
	MentalHealth     Class = "mental-health"
	Genetics         Class = "genetics"
	Restricted       Class = "restricted" // confidentiality R or V without a more telling label
)

// classes in the order of listings.
var classes = []Class{Allergies, Medications, Immunizations, Problems, Labs, Vitals, Imaging, Procedures, Encounters,
	Documents, CarePlans, Devices, FamilyHistory, SocialHistory, Insurance, Demographics, Directory, Consents,
	Research, Admin, Other, HIV, SubstanceUse, DomesticViolence, SexualHealth, MentalHealth, Genetics, Restricted}

// sensitive classes, the one that wins first: where a resource has signs of several, the one whose disclosure does
// most harm is taken.
var sensitive = []Class{HIV, SubstanceUse, DomesticViolence, SexualHealth, MentalHealth, Genetics, Restricted}

// Classes lists all classes, sensitive ones last.
func Classes() []Class { return slices.Clone(classes) }

// ParseClass finds a class by its slug.
func ParseClass(slug string) (Class, bool) {
	c := Class(slug)
	return c, slices.Contains(classes, c)
}

// Sensitive reports whether the class needs a consent that names it.
func (c Class) Sensitive() bool { return slices.Contains(sensitive, c) }

// order is the class's place in listings.
func (c Class) order() int { return slices.Index(classes, c) }

// graver is the class to keep of two: a sensitive one over an ordinary one, and of two sensitive ones the graver.
func graver(a, b Class) Class {
	ia, ib := slices.Index(sensitive, a), slices.Index(sensitive, b)
	if ib < 0 || ia >= 0 && ia <= ib {
		return a
	}
	return b
}

// Classify gives the class of a resource from the resource alone: security labels, then sensitive codes, then type
// and category. Bytes that Read would refuse are Restricted, the side to err on.
func Classify(res Resource) Class {
	if res.facts != nil {
		return res.Class
	}
	var d doc
	if f := d.parse(res.Raw, DefaultLimits().DepthMax); f != nil {
		return Restricted
	}
	v := d.root()
	if code, _ := check(v); code != "" {
		return Restricted
	}
	return classOf(v, v.get("resourceType").str(), extract(v, interner{}))
}

func classOf(v val, typ string, f *facts) Class {
	plain := plainClass(v, typ)
	if f.sensitive == "" {
		return plain
	}
	if plain.Sensitive() {
		return graver(plain, f.sensitive)
	}
	return f.sensitive
}

// plainClass is the class by type and category.
func plainClass(v val, typ string) Class {
	if refine, ok := refinements[typ]; ok {
		if c := refine(v); c != "" {
			return c
		}
	}
	return types[typ].class
}

// refinements are the types whose class depends on more than the type; "" leaves the type's own.
var refinements = map[string]func(val) Class{
	"Observation":       observationClass,
	"DiagnosticReport":  categoryClass,
	"ServiceRequest":    categoryClass,
	"DocumentReference": categoryClass,
	"Condition":         categoryClass,
	"Media":             categoryClass,
	"Procedure":         categoryClass,
	"List":              listClass,
}

// observationClass: smoking and other social facts by code whatever the category (systems disagree on it), then the
// category, then well-known codes, then what the coding system suggests.
func observationClass(v val) Class {
	loinc := ""
	isLOINC := false
	for c := range v.get("code").get("coding").each() {
		if systemOf(c) == loincSystem {
			isLOINC = true
			loinc = c.get("code").str()
			if loincClasses[loinc] == SocialHistory {
				return SocialHistory
			}
		}
	}
	if c := categoryClass(v); c != "" {
		return c
	}
	if c := loincClasses[loinc]; c != "" {
		return c
	}
	if isLOINC {
		return Labs
	}
	return ""
}

// categoryClass goes by the category codings, the first that says something.
func categoryClass(v val) Class {
	for concept := range v.get("category").each() {
		for c := range concept.get("coding").each() {
			if class := categoryCodes[string(c.get("code").bytes())]; class != "" {
				return class
			}
		}
	}
	return ""
}

func listClass(v val) Class { return sectionCodes[v.at("code", "coding", "code").str()] }

// categoryCodes of Observation, DiagnosticReport, ServiceRequest, DocumentReference, Condition. The systems
// (observation-category, v2-0074, SNOMED CT, LOINC, condition-category, US Core) share no code with two meanings
// here, and senders often get the system wrong, so the code alone decides.
var categoryCodes = map[string]Class{
	// http://terminology.hl7.org/CodeSystem/observation-category; "vital-sign" is a common slip.
	"vital-signs": Vitals, "vital-sign": Vitals, "laboratory": Labs, "imaging": Imaging,
	"social-history": SocialHistory, "survey": SocialHistory, "sdoh": SocialHistory,
	"procedure": Procedures, "therapy": Procedures, "exam": Vitals, "activity": Vitals,
	// HL7 v2 table 0074, diagnostic service sections.
	"LAB": Labs, "CH": Labs, "HM": Labs, "MB": Labs, "MCB": Labs, "MYC": Labs, "VR": Labs, "IMM": Labs, "SR": Labs,
	"TX": Labs, "BLB": Labs, "SP": Labs, "CP": Labs, "PAT": Labs, "CG": Genetics, "GE": Genetics,
	"RAD": Imaging, "RX": Imaging, "CT": Imaging, "NMR": Imaging, "NMS": Imaging, "RUS": Imaging, "OUS": Imaging,
	"VUS": Imaging, "CUS": Imaging, "XRC": Imaging, "CTH": Imaging, "IMG": Imaging, "EC": Procedures,
	"EN": Procedures, "PF": Procedures, "NRS": Vitals,
	// SNOMED CT categories of ServiceRequest (US Core) and Procedure.
	"108252007": Labs, "363679005": Imaging, "387713003": Procedures, "409063005": Procedures,
	"409073007": Procedures, "410606002": SocialHistory,
	// LOINC parts of US Core DiagnosticReport and DocumentReference.
	"LP29684-5": Imaging, "LP7839-6": Labs, "LP29708-2": Procedures, "18748-4": Imaging, "26436-6": Labs,
	// US Core Condition categories.
	"problem-list-item": Problems, "encounter-diagnosis": Problems, "health-concern": Problems,
	// Media: http://terminology.hl7.org/CodeSystem/media-category
	"image": Imaging, "video": Imaging, "photo": Imaging,
}

// loincClasses are codes that decide an Observation without a (trustworthy) category.
var loincClasses = map[string]Class{
	"8302-2": Vitals, "29463-7": Vitals, "39156-5": Vitals, "55284-4": Vitals, "85354-9": Vitals, "8480-6": Vitals,
	"8462-4": Vitals, "8867-4": Vitals, "9279-1": Vitals, "8310-5": Vitals, "8331-1": Vitals, "2708-6": Vitals,
	"59408-5": Vitals, "9843-4": Vitals, "8289-1": Vitals, "59576-9": Vitals, "77606-2": Vitals, "8287-5": Vitals,
	"85353-1": Vitals, "72514-3": Vitals, "3141-9": Vitals,
	"72166-2": SocialHistory, "11367-0": SocialHistory, "63773-6": SocialHistory,
	"93025-5": SocialHistory, "71802-3": SocialHistory,
}

// sectionCodes are LOINC document section codes of lists.
var sectionCodes = map[string]Class{
	"11450-4": Problems, "48765-2": Allergies, "10160-0": Medications, "11369-6": Immunizations,
	"47519-4": Procedures, "46264-8": Devices, "10157-6": FamilyHistory, "29762-2": SocialHistory,
}
