package fhir

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Item is one resource as a line of a timeline. All texts are for display, clipped to ItemTextMax bytes.
type Item struct {
	Type   string    `json:"type"`
	ID     string    `json:"id,omitempty"`
	Class  Class     `json:"class"`
	Time   time.Time `json:"time,omitzero"`  // start of the clinically relevant time, UTC; zero if the resource has none
	Date   string    `json:"date,omitempty"` // the same as written, with its precision ("2019-03", "2019-03-04T10:00:00Z")
	End    string    `json:"end,omitempty"`  // end of a period, as written
	Title  string    `json:"title"`
	Detail string    `json:"detail,omitempty"` // value with unit, dose, reason, amount
	Status string    `json:"status,omitempty"`
	Codes  []Coding  `json:"codes,omitempty"` // of the main code, at most ItemCodesMax
}

// Coding is one code of an Item.
type Coding struct {
	System  string `json:"system,omitempty"`
	Code    string `json:"code"`
	Display string `json:"display,omitempty"`
}

// Limits of an Item.
const (
	ItemTextMax   = 240
	ItemCodesMax  = 8
	componentsMax = 6
)

// Summarise makes a timeline line of any resource. It never fails: what is not there stays empty, and bytes that are
// no resource give an Item with its type alone.
func Summarise(res Resource) Item {
	item := Item{Type: res.Type, ID: res.ID, Class: res.Class, Title: res.Type}
	var d doc
	if d.parse(res.Raw, DefaultLimits().DepthMax) != nil || d.root().kind() != kindObject {
		return item
	}
	v := d.root()
	if item.Type == "" {
		item.Type, item.ID = clip(v.get("resourceType").str()), clip(v.get("id").str())
	}
	if item.Class == "" {
		item.Class = Classify(res)
	}
	item.Date, item.End = when(v)
	item.Time, _ = ParseTime(item.Date)
	item.Status = status(v)
	main := mainConcept(v)
	item.Codes = codings(main)
	item.Title = short(firstOf(title(v, item.Type), conceptText(main), item.Type))
	item.Detail = short(detail(v, item.Type))
	return item
}

// dateElements in the order in which they say when something happened (choice types spelled out).
var dateElements = []string{"effectiveDateTime", "effectivePeriod", "effectiveInstant", "occurrenceDateTime",
	"occurrencePeriod", "performedDateTime", "performedPeriod", "onsetDateTime", "onsetPeriod", "started", "authoredOn",
	"authored", "whenHandedOver", "whenPrepared", "dateWritten", "period", "billablePeriod", "servicedDate",
	"servicedPeriod", "timingDateTime", "timingPeriod", "startDate", "identifiedDateTime", "identifiedPeriod", "start",
	"executionPeriod", "recordedDate", "recorded", "dateAsserted", "statementDate", "date", "dateTime", "createdDateTime",
	"createdPeriod", "issued", "created", "receivedTime", "sent", "received", "lastModified", "timestamp",
	"birthDate", "paymentDate"}

func when(v val) (start, end string) {
	for _, name := range dateElements {
		switch e := v.get(name); e.kind() {
		case kindString:
			if _, ok := ParseTime(e.str()); ok {
				return e.str(), ""
			}
		case kindObject:
			if start, end := periodOf(e); start != "" {
				return start, end
			}
		}
	}
	for _, path := range [][]string{{"collection", "collectedDateTime"}, {"collection", "collectedPeriod", "start"},
		{"content", "attachment", "creation"}, {"context", "period", "start"}, {"meta", "lastUpdated"}} {
		if s := v.at(path...).str(); isTime(s) {
			return s, ""
		}
	}
	return "", ""
}

func periodOf(p val) (start, end string) {
	start, end = p.get("start").str(), p.get("end").str()
	if !isTime(end) {
		end = ""
	}
	if !isTime(start) {
		return end, ""
	}
	return start, end
}

func isTime(s string) bool { _, ok := ParseTime(s); return ok }

// timeLayouts of FHIR date, dateTime and instant (R4 section 2.24.0.1), told apart by length.
var timeLayouts = []string{"2006", "2006-01", "2006-01-02", time.RFC3339}

// ParseTime reads a FHIR date, dateTime or instant as the UTC time at which it begins. A date without a time zone
// begins at midnight UTC.
func ParseTime(s string) (time.Time, bool) {
	layout := time.RFC3339
	switch len(s) {
	case 4, 7, 10:
		layout = timeLayouts[(len(s)-4)/3]
	}
	if len(s) > 40 {
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	if err != nil || t.Year() < 1 {
		return time.Time{}, false
	}
	return t.UTC(), true
}

// status is the clinical status where there is one, else the workflow status.
func status(v val) string {
	for _, name := range []string{"clinicalStatus", "lifecycleStatus", "status"} {
		e := v.get(name)
		if s := firstOf(e.str(), e.at("coding", "code").str()); s != "" {
			return clip(s)
		}
	}
	return ""
}

// titleElements name a thing, the best first.
var titleElements = []string{"code", "vaccineCode", "medicationCodeableConcept", "medicationReference", "type", "title",
	"procedureCode", "description", "serviceType", "substanceCodeableConcept", "itemCodeableConcept", "codeCodeableConcept",
	"scope", "topic", "name", "category", "productOrService", "class", "relationship", "event", "use"}

// mainConcept is the CodeableConcept, Coding or Reference that names the resource.
func mainConcept(v val) val {
	for _, name := range titleElements {
		e := v.get(name).first()
		if e.kind() == kindObject && conceptText(e) != "" {
			return e
		}
	}
	return val{}
}

// title is the text of a resource that is named otherwise than by a concept.
func title(v val, typ string) string {
	switch typ {
	case "Patient", "Practitioner", "RelatedPerson", "Person":
		return nameOf(v)
	case "Claim", "ExplanationOfBenefit", "ClaimResponse":
		return firstOf(conceptText(v.at("item", "productOrService")), conceptText(v.at("type")))
	case "ImagingStudy":
		modality := firstOf(conceptText(v.at("modality")), conceptText(v.at("series", "modality")))
		return join(" ", firstOf(conceptText(v.at("procedureCode")), v.get("description").str(), modality),
			conceptText(v.at("series", "bodySite")))
	case "CarePlan":
		return firstOf(v.get("title").str(), conceptText(v.at("category")))
	case "Goal":
		return conceptText(v.at("description"))
	case "Organization", "Location", "HealthcareService", "CareTeam", "Endpoint", "InsurancePlan":
		return firstOf(v.get("name").str(), conceptText(v.at("type")))
	case "PractitionerRole":
		return join(", ", conceptText(v.at("practitioner")), conceptText(v.at("specialty")), conceptText(v.at("organization")))
	case "FamilyMemberHistory":
		return join(": ", conceptText(v.at("relationship")), conceptText(v.at("condition", "code")))
	}
	if main := mainConcept(v); main.ok() {
		return conceptText(main)
	}
	for _, name := range titleElements {
		if s := v.get(name).str(); s != "" {
			return s
		}
	}
	return ""
}

// conceptText is the display of a CodeableConcept, Coding or Reference.
func conceptText(v val) string {
	v = v.first()
	if s := firstOf(v.get("text").str(), v.get("display").str()); s != "" {
		return s
	}
	coding := v.get("coding")
	for c := range coding.each() {
		if s := c.get("display").str(); s != "" {
			return s
		}
	}
	return firstOf(coding.first().get("code").str(), v.get("code").str())
}

func codings(concept val) (out []Coding) {
	list := concept.get("coding")
	if !list.ok() && concept.get("code").kind() == kindString {
		list = concept
	}
	for c := range list.each() {
		code := c.get("code").str()
		if code == "" || len(out) == ItemCodesMax {
			continue
		}
		out = append(out, Coding{short(c.get("system").str()), short(code), short(c.get("display").str())})
	}
	return out
}

func detail(v val, typ string) string {
	switch typ {
	case "Claim", "ExplanationOfBenefit", "ClaimResponse":
		return money(v)
	case "DiagnosticReport":
		return firstOf(v.get("conclusion").str(), results(v))
	case "Immunization":
		return conceptText(v.at("protocolApplied", "targetDisease"))
	case "AllergyIntolerance":
		return join(", ", conceptText(v.at("reaction", "manifestation")), v.get("criticality").str())
	case "Encounter":
		return join(", ", conceptText(v.at("reasonCode")), conceptText(v.at("serviceProvider")))
	case "CarePlan":
		return conceptText(v.at("activity", "detail", "code"))
	case "DocumentReference":
		return firstOf(v.get("description").str(), v.at("content", "attachment", "title").str(), v.at("content", "attachment", "contentType").str())
	case "Patient":
		return join(", ", v.get("birthDate").str(), v.get("gender").str())
	}
	if s := value(v); s != "" {
		return s
	}
	if s := components(v); s != "" {
		return s
	}
	return firstOf(v.at("dosageInstruction", "text").str(), v.at("dosage", "text").str(), dose(v),
		conceptText(v.at("reasonCode")), conceptText(v.at("dataAbsentReason")))
}

// value is value[x] of an Observation or one of its components.
func value(v val) string {
	for m := range v.children() {
		name, ok := strings.CutPrefix(m.key(), "value")
		if !ok || name == "" {
			continue
		}
		text := ""
		switch name {
		case "Quantity":
			text = quantity(m)
		case "CodeableConcept":
			text = conceptText(m)
		case "Range":
			text = join("–", quantity(m.get("low")), quantity(m.get("high")))
		case "Ratio":
			text = join("/", quantity(m.get("numerator")), quantity(m.get("denominator")))
		case "Period":
			start, end := periodOf(m)
			text = join("–", start, end)
		case "SampledData":
			text = "measured series"
		default:
			text = m.literal()
		}
		return join(" ", text, interpretation(v))
	}
	return ""
}

// interpretation flags what is out of the ordinary.
func interpretation(v val) string {
	switch code := v.at("interpretation", "coding", "code").str(); code {
	case "", "N":
		return ""
	default:
		return "(" + clip(code) + ")"
	}
}

func components(v val) string {
	var parts []string
	for c := range v.get("component").each() {
		text := join(" ", conceptText(c.get("code")), value(c))
		if text != "" && len(parts) < componentsMax {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, ", ")
}

func dose(v val) string {
	return quantity(v.first().at("dosageInstruction", "doseAndRate", "doseQuantity"))
}

func results(v val) string {
	n := 0
	for range v.get("result").each() {
		n++
	}
	switch n {
	case 0:
		return ""
	case 1:
		return "1 result"
	}
	return strconv.Itoa(n) + " results"
}

// quantity writes a Quantity; digits beyond what people read are rounded away for display.
func quantity(q val) string {
	number := q.get("value").literal()
	if number == "" {
		return ""
	}
	if _, frac, ok := strings.Cut(number, "."); ok && len(frac) > 3 {
		if f, err := strconv.ParseFloat(number, 64); err == nil {
			number = strconv.FormatFloat(f, 'f', 2, 64)
		}
	}
	unit := firstOf(q.get("unit").str(), q.get("code").str())
	return join(" ", q.get("comparator").str()+number, unit)
}

func money(v val) string {
	total := v.get("total").first()
	if amount := total.get("amount"); amount.ok() {
		total = amount
	}
	return join(" ", quantity(total), total.get("currency").str())
}

// nameOf is a HumanName for display.
func nameOf(v val) string {
	name := v.get("name").first()
	if s := name.get("text").str(); s != "" {
		return s
	}
	var parts []string
	for _, field := range []string{"prefix", "given", "family"} {
		for p := range name.get(field).each() {
			if s := p.str(); s != "" && len(parts) < componentsMax {
				parts = append(parts, s)
			}
		}
	}
	return strings.Join(parts, " ")
}

// humanName is nameOf for a resource's bytes.
func humanName(raw []byte) string {
	var d doc
	if d.parse(raw, DefaultLimits().DepthMax) != nil {
		return ""
	}
	return short(nameOf(d.root()))
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func join(sep string, texts ...string) string {
	var kept []string
	for _, t := range texts {
		if t != "" {
			kept = append(kept, t)
		}
	}
	return strings.Join(kept, sep)
}

// short makes a text fit for one line: no control characters, at most ItemTextMax bytes.
func short(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < 0x20 || r == 0x7f || r == utf8.RuneError || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return -1 // also bidirectional overrides, which can make a line say something else
		}
		return r
	}, strings.TrimSpace(s))
	if len(s) <= ItemTextMax {
		return s
	}
	cut := ItemTextMax
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
