package synth

import (
	"encoding/base64"
	"fmt"
	"slices"
	"time"
)

// This file writes the resources, one function a kind.

// visit is an Encounter that other resources refer to.
type visit struct {
	ref    string
	at     time.Time
	org    *organisation
	doctor doctor
}

func (v visit) encounter() object { return object{"reference", v.ref} }

// add appends a resource with a fresh id and gives its reference.
func (c *course) add(typ string, fields ...any) string {
	id := c.uuid()
	c.entries = append(c.entries, append(object{"resourceType", typ, "id", id}, fields...))
	return "urn:uuid:" + id
}

// meet writes an organisation, and a doctor of it, once.
func (c *course) meet(o *organisation) {
	if !c.known[o.id()] {
		c.share(o.resources())
	}
}

func (c *course) meetDoctor(d doctor) {
	c.meet(d.org)
	if !c.known[d.id()] {
		c.share(d.resources())
	}
}

func (c *course) share(resources []object) {
	for _, r := range resources {
		c.known[r[3].(string)] = true
		c.entries = append(c.entries, r)
	}
}

func (c *course) subject() object {
	return object{"reference", "urn:uuid:" + c.person.id, "display", c.person.given + " " + c.person.family}
}

// meta carries a sensitivity label.
func meta(label *concept) object {
	if label == nil {
		return nil
	}
	return object{"security", list{label.coding(),
		object{"system", hl7 + "v3-Confidentiality", "code", "R", "display", "restricted"}}}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
func day(t time.Time) string   { return t.UTC().Format(time.DateOnly) }

func optional(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}

func reference(to string) any {
	if to == "" {
		return nil
	}
	return object{"reference", to}
}

func references(to ...string) list {
	var out list
	for _, r := range to {
		if r != "" {
			out = append(out, object{"reference", r})
		}
	}
	return out
}

func quantity(n number, unit string) object {
	return object{"value", n, "unit", unit, "system", ucum, "code", unit}
}

func status(system, code string) object {
	return object{"coding", list{object{"system", hl7 + system, "code", code}}}
}

func category(system, code, display string) list {
	return list{concept{hl7 + system, code, display}.json()}
}

// identity writes who the patient is, the next of kin and the insurance.
func (c *course) identity() {
	gp := c.orgs[practice]
	home := pick(c.dice, cities)
	address := object{"use", "home", "line", list{fmt.Sprintf("%d %s", c.between(1, 240), pick(c.dice, streets))},
		"city", home.city, "state", "MA", "postalCode", home.zip, "country", "US"}
	p := c.person
	c.entries = append(c.entries, object{"resourceType", "Patient", "id", p.id,
		"identifier", list{object{
			"type", concept{hl7 + "v2-0203", "MR", "Medical record number"}.json(),
			"system", systemSynth + "/mrn/" + gp.npi, "value", fmt.Sprintf("%08d", c.below(100000000))}},
		"active", true,
		"name", list{object{"use", "official", "family", p.family, "given", list{p.given}}},
		"telecom", list{object{"system", "phone", "value", fmt.Sprintf("+1-555-%03d-%04d", c.below(1000), c.below(10000)), "use", "mobile"}},
		"gender", p.gender, "birthDate", day(p.birth), "address", list{address},
		"communication", list{object{"language", concept{"urn:ietf:bcp:47", "en-US", "English (United States)"}.json(), "preferred", true}},
		"generalPractitioner", list{gp.ref()}, "managingOrganization", gp.ref()})
	c.meetDoctor(pick(c.dice, gp.doctors))

	kinGender := pick(c.dice, []string{"female", "male"})
	c.add("RelatedPerson", "active", true, "patient", c.subject(),
		"relationship", list{concept{hl7 + "v3-RoleCode", "SPS", "spouse"}.json()},
		"name", list{object{"family", p.family, "given", list{pick(c.dice, givenNames[kinGender])}}}, "gender", kinGender,
		"telecom", list{object{"system", "phone", "value", fmt.Sprintf("+1-555-%03d-%04d", c.below(1000), c.below(10000))}})

	payer := c.orgs[insurer]
	c.meet(payer)
	c.cover = c.add("Coverage", "status", "active",
		"type", concept{hl7 + "v3-ActCode", "HIP", "health insurance plan policy"}.json(),
		"subscriberId", fmt.Sprintf("%010d", c.below(1000000000)), "beneficiary", c.subject(),
		"relationship", concept{hl7 + "subscriber-relationship", "self", "Self"}.json(),
		"period", object{"start", day(c.from)}, "payor", list{payer.ref()})
}

func (c *course) visit(o *organisation, at time.Time, typ concept, reason *concept) visit {
	return c.encounter(o, at, 30*time.Minute, "AMB", typ, reason, nil)
}

func (c *course) visitLabelled(o *organisation, at time.Time, typ concept, reason, label *concept) visit {
	return c.encounter(o, at, 50*time.Minute, "AMB", typ, reason, label)
}

func (c *course) stay(o *organisation, at time.Time, e event) visit {
	typ := sct("50849002", "Emergency room admission")
	if e.class == "IMP" {
		typ = sct("32485007", "Hospital admission")
	}
	return c.encounter(o, at, time.Duration(e.days)*24*time.Hour, e.class, typ, &e.concept, nil)
}

var encounterClasses = map[string]string{"AMB": "ambulatory", "EMER": "emergency", "IMP": "inpatient encounter"}

func (c *course) encounter(o *organisation, at time.Time, long time.Duration, class string, typ concept, reason, label *concept) visit {
	d := pick(c.dice, o.doctors)
	c.meetDoctor(d)
	var reasons list
	if reason != nil {
		reasons = list{reason.json()}
	}
	v := visit{at: at, org: o, doctor: d}
	v.ref = c.add("Encounter", "meta", meta(label), "status", "finished",
		"class", concept{systemActCode, class, encounterClasses[class]}.coding(), "type", list{typ.json()},
		"subject", c.subject(),
		"participant", list{object{"individual", d.ref()}},
		"period", object{"start", stamp(at), "end", stamp(at.Add(long))},
		"reasonCode", reasons, "serviceProvider", o.ref())
	return v
}

func (c *course) condition(v visit, what concept, onset, over time.Time, label *concept) string {
	clinical := "active"
	if !over.IsZero() {
		clinical = "resolved"
	}
	return c.add("Condition", "meta", meta(label),
		"clinicalStatus", status("condition-clinical", clinical),
		"verificationStatus", status("condition-ver-status", "confirmed"),
		"category", category("condition-category", "encounter-diagnosis", "Encounter Diagnosis"),
		"code", what.json(), "subject", c.subject(), "encounter", v.encounter(),
		"onsetDateTime", stamp(onset), "abatementDateTime", optional(over), "recordedDate", stamp(v.at),
		"recorder", v.doctor.ref())
}

func (c *course) allergy(a allergy, onset time.Time) {
	d := pick(c.dice, c.orgs[practice].doctors)
	if a.category == "medication" {
		d = pick(c.dice, c.orgs[hospital].doctors)
	}
	c.meetDoctor(d)
	criticality := "low"
	if a.reaction.code == "39579001" {
		criticality = "high"
	}
	c.add("AllergyIntolerance",
		"clinicalStatus", status("allergyintolerance-clinical", "active"),
		"verificationStatus", status("allergyintolerance-verification", "confirmed"),
		"type", "allergy", "category", list{a.category}, "criticality", criticality,
		"code", a.concept.json(), "patient", c.subject(), "onsetDateTime", day(onset), "recordedDate", stamp(onset.AddDate(0, 0, 3)),
		"recorder", d.ref(),
		"reaction", list{object{"manifestation", list{a.reaction.json()}}})
}

// prescribe writes the prescription and, at the pharmacy, what was handed out for it.
func (c *course) prescribe(v visit, d drug, at time.Time, reason string, lasting bool, label *concept) {
	state := "completed"
	if lasting {
		state = "active"
	}
	rx := c.add("MedicationRequest", "meta", meta(label), "status", state, "intent", "order",
		"medicationCodeableConcept", d.concept.json(), "subject", c.subject(), "encounter", v.encounter(),
		"authoredOn", stamp(at), "requester", v.doctor.ref(), "reasonReference", references(reason),
		"dosageInstruction", list{object{"sequence", 1, "text", d.dose}})
	shop := c.orgs[pharmacy]
	c.meet(shop)
	fills := 1
	if lasting {
		fills = c.between(1, 2)
	}
	for range fills {
		at = c.hour(at.AddDate(0, 0, c.between(1, 3)))
		c.add("MedicationDispense", "meta", meta(label), "status", "completed", "medicationCodeableConcept", d.concept.json(),
			"subject", c.subject(), "performer", list{object{"actor", shop.ref()}},
			"authorizingPrescription", references(rx),
			"quantity", object{"value", pick(c.dice, []int{20, 30, 60, 90})}, "whenHandedOver", stamp(at),
			"dosageInstruction", list{object{"text", d.dose}})
		at = at.AddDate(0, 3, 0)
	}
}

// observe writes one Observation of a visit by the visit's doctor.
func (c *course) observe(v visit, what concept, kind string, value object, label *concept) {
	fields := object{"meta", meta(label), "status", "final", "category", category("observation-category", kind, kind),
		"code", what.json(), "subject", c.subject(), "encounter", v.encounter(),
		"effectiveDateTime", stamp(v.at), "issued", stamp(v.at.Add(5 * time.Minute)), "performer", list{v.doctor.ref()}}
	c.add("Observation", append(fields, value...)...)
}

// vitals follow the years: weight drifts, blood pressure rises with age and hypertension and falls when treated.
func (c *course) vitals(v visit) {
	years := v.at.Year() - c.from.Year()
	weight := c.person.weight + years*4 + c.around(0, 12)
	height := c.person.heightCM
	bmi := weight * 10000 / (height * height)
	systolic := c.person.systolic + years/2 + c.around(0, 5)
	for _, l := range c.lasting {
		if l.key == "pressure" && l.onset.Before(v.at) {
			systolic += 22
			if !l.treated.IsZero() && l.treated.Before(v.at) {
				systolic -= 15
			}
		}
	}
	vital := func(what concept, n number, unit string) {
		c.observe(v, what, "vital-signs", object{"valueQuantity", quantity(n, unit)}, nil)
	}
	if c.chance(40) {
		vital(ln("8302-2", "Body height"), number{height * 10, 1}, "cm")
		vital(ln("39156-5", "Body mass index (BMI) [Ratio]"), number{bmi, 1}, "kg/m2")
	}
	vital(ln("29463-7", "Body weight"), number{weight, 1}, "kg")
	vital(ln("8867-4", "Heart rate"), number{c.around(72, 11), 0}, "/min")
	part := func(what concept, n int) object {
		return object{"code", what.json(), "valueQuantity", quantity(number{n, 0}, "mm[Hg]")}
	}
	c.observe(v, ln("85354-9", "Blood pressure panel with all children optional"), "vital-signs", object{"component", list{
		part(ln("8480-6", "Systolic blood pressure"), systolic),
		part(ln("8462-4", "Diastolic blood pressure"), systolic*2/3+c.around(0, 4))}}, nil)
	if c.chance(25) {
		smoking := sct("266919005", "Never smoked tobacco")
		if c.person.smokes {
			smoking = sct("449868002", "Smokes tobacco daily")
		}
		c.observe(v, ln("72166-2", "Tobacco smoking status"), "social-history", object{"valueCodeableConcept", smoking.json()}, nil)
	}
}

func (c *course) vaccinate(v visit) {
	for _, vac := range vaccines {
		age := c.age(v.at)
		if age < vac.ageMin || vac.everyYears > 1 && (age-vac.ageMin)%vac.everyYears > 1 || !c.chance(45) {
			continue
		}
		c.add("Immunization", "status", "completed", "vaccineCode", vac.concept.json(), "patient", c.subject(),
			"encounter", v.encounter(), "occurrenceDateTime", stamp(v.at), "primarySource", true,
			"lotNumber", fmt.Sprintf("L%05d", c.below(100000)),
			"performer", list{object{"actor", v.org.ref()}})
	}
}

// laboratory writes order, values and report; the values are the laboratory's.
func (c *course) laboratory(v visit, p panel) {
	lab := c.orgs[laboratory]
	d := pick(c.dice, lab.doctors)
	c.meetDoctor(d)
	order := c.add("ServiceRequest", "status", "completed", "intent", "order",
		"category", list{sct("108252007", "Laboratory procedure").json()},
		"code", p.concept.json(), "subject", c.subject(), "encounter", v.encounter(), "authoredOn", stamp(v.at),
		"requester", v.doctor.ref(), "performer", list{lab.ref()})
	taken, ready := v.at.Add(40*time.Minute), v.at.Add(26*time.Hour)
	var results list
	for _, a := range p.analytes {
		n := c.value(a, taken)
		low, high := number{a.low, a.places}, number{a.high, a.places}
		ref := c.add("Observation", "status", "final", "category", category("observation-category", "laboratory", "Laboratory"),
			"basedOn", references(order),
			"code", a.concept.json(), "subject", c.subject(), "effectiveDateTime", stamp(taken), "issued", stamp(ready),
			"performer", list{lab.ref()}, "valueQuantity", quantity(number{n, a.places}, a.unit),
			"interpretation", list{flag(n, a).json()},
			"referenceRange", list{object{"low", quantity(low, a.unit), "high", quantity(high, a.unit)}})
		results = append(results, object{"reference", ref, "display", a.display})
	}
	c.add("DiagnosticReport", "basedOn", references(order), "status", "final",
		"category", list{concept{hl7 + "v2-0074", "LAB", "Laboratory"}.json()},
		"code", p.concept.json(), "subject", c.subject(), "effectiveDateTime", stamp(taken), "issued", stamp(ready),
		"performer", list{lab.ref()}, "resultsInterpreter", list{d.ref()}, "result", results)
}

// value is a test's value: normal scatter, worse with years of illness, better once treated.
func (c *course) value(a analyte, at time.Time) int {
	n := c.around(a.normal, a.scatter)
	for _, l := range c.lasting {
		if l.onset.After(at) {
			continue
		}
		years := min(at.Year()-l.onset.Year()+1, 12)
		n += a.worse[l.key] * years
		if !l.treated.IsZero() && l.treated.Before(at) {
			n += a.untilTreated[l.key]
		}
	}
	return max(n, a.normal/5)
}

func flag(n int, a analyte) concept {
	const system = hl7 + "v3-ObservationInterpretation"
	switch {
	case n < a.low:
		return concept{system, "L", "Low"}
	case n > a.high:
		return concept{system, "H", "High"}
	}
	return concept{system, "N", "Normal"}
}

func (c *course) procedure(v visit, what concept, at time.Time, reason string, label *concept) {
	c.add("Procedure", "meta", meta(label), "status", "completed", "code", what.json(), "subject", c.subject(),
		"encounter", v.encounter(), "performedPeriod", object{"start", stamp(at), "end", stamp(at.Add(35 * time.Minute))},
		"performer", list{object{"actor", v.doctor.ref(), "onBehalfOf", v.org.ref()}}, "reasonReference", references(reason))
}

func (c *course) document(v visit, typ concept, at time.Time, text string, label *concept) {
	body := fmt.Sprintf("%s\n%s, born %s\n%s, %s\n\n%s\n", typ.display, c.person.given+" "+c.person.family, day(c.person.birth),
		v.org.name, day(at), text)
	c.add("DocumentReference", "meta", meta(label), "status", "current", "docStatus", "final", "type", typ.json(),
		"category", list{concept{"http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category", "clinical-note", "Clinical Note"}.json()},
		"subject", c.subject(), "date", stamp(at), "author", list{v.doctor.ref()}, "custodian", v.org.ref(),
		"content", list{object{"attachment", object{"contentType", "text/plain; charset=utf-8", "language", "en-US",
			"data", base64.StdEncoding.EncodeToString([]byte(body)), "title", typ.display, "creation", stamp(at)}}},
		"context", object{"encounter", list{v.encounter()}})
}

// imaging is an order of the GP, a study of the imaging centre, and its report.
func (c *course) imaging(at time.Time) {
	centre := c.orgs[imagingCentre]
	d := pick(c.dice, centre.doctors)
	asks := pick(c.dice, c.orgs[practice].doctors)
	c.meetDoctor(asks)
	c.meetDoctor(d)
	s := pick(c.dice, scans)
	order := c.add("ServiceRequest", "status", "completed", "intent", "order",
		"category", list{sct("363679005", "Imaging").json()}, "code", s.code.json(), "subject", c.subject(),
		"authoredOn", stamp(at.AddDate(0, 0, -4)), "requester", asks.ref(), "performer", list{centre.ref()})
	uid := fmt.Sprintf("2.25.%d%09d", 1+c.below(999), c.below(1000000000))
	study := c.add("ImagingStudy",
		"identifier", list{object{"system", "urn:dicom:uid", "value", "urn:oid:" + uid}},
		"status", "available", "subject", c.subject(), "started", stamp(at), "basedOn", references(order),
		"referrer", asks.ref(), "interpreter", list{d.ref()}, "numberOfSeries", 1, "numberOfInstances", 1,
		"procedureCode", list{s.code.json()},
		"location", object{"reference", "urn:uuid:" + namedUUID("location/"+centre.name), "display", centre.name},
		"series", list{object{"uid", uid + ".1", "number", 1, "modality", s.modality.coding(), "numberOfInstances", 1,
			"bodySite", s.site.coding(), "started", stamp(at),
			"instance", list{object{"uid", uid + ".1.1", "sopClass", object{"system", "urn:ietf:rfc:3986", "code", "urn:oid:" + s.sop}, "number", 1}}}})
	c.add("DiagnosticReport", "basedOn", references(order), "status", "final",
		"category", list{concept{hl7 + "v2-0074", "RAD", "Radiology"}.json()}, "code", s.code.json(), "subject", c.subject(),
		"effectiveDateTime", stamp(at), "issued", stamp(at.Add(5*time.Hour)), "performer", list{centre.ref()},
		"resultsInterpreter", list{d.ref()}, "imagingStudy", references(study), "conclusion", s.finding)
}

func (c *course) bill(v visit, what concept, dollars int) { c.billLabelled(v, what, dollars, nil) }

// billLabelled writes the claim of the organisation and the insurer's answer.
func (c *course) billLabelled(v visit, what concept, dollars int, label *concept) {
	payer := c.orgs[insurer]
	usd := func(cents int) object { return object{"value", number{cents, 2}, "currency", "USD"} }
	cents := dollars*100 + c.below(100)
	paid := cents * c.between(60, 95) / 100
	typ := concept{hl7 + "claim-type", "professional", "Professional"}
	item := object{"sequence", 1, "productOrService", what.json(), "servicedDate", day(v.at), "encounter", list{v.encounter()}}
	claim := c.add("Claim", "meta", meta(label), "status", "active", "type", typ.json(), "use", "claim", "patient", c.subject(),
		"billablePeriod", object{"start", stamp(v.at), "end", stamp(v.at.Add(30 * time.Minute))}, "created", stamp(v.at.AddDate(0, 0, 2)),
		"insurer", payer.ref(), "provider", v.org.ref(), "priority", status("processpriority", "normal"),
		"insurance", list{object{"sequence", 1, "focal", true, "coverage", reference(c.cover)}},
		"item", list{slices.Clone(item)}, "total", usd(cents))
	submitted := concept{hl7 + "adjudication", "submitted", "Submitted Amount"}
	benefit := concept{hl7 + "adjudication", "benefit", "Benefit Amount"}
	c.add("ExplanationOfBenefit", "meta", meta(label), "status", "active", "type", typ.json(), "use", "claim", "patient", c.subject(),
		"billablePeriod", object{"start", stamp(v.at), "end", stamp(v.at.Add(30 * time.Minute))}, "created", stamp(v.at.AddDate(0, 0, 9)),
		"insurer", payer.ref(), "provider", v.org.ref(), "claim", reference(claim), "outcome", "complete",
		"insurance", list{object{"focal", true, "coverage", reference(c.cover)}}, "item", list{item},
		"total", list{object{"category", submitted.json(), "amount", usd(cents)}, object{"category", benefit.json(), "amount", usd(paid)}},
		"payment", object{"amount", usd(paid)})
}

// family writes what runs in it.
func (c *course) family() {
	relations := []concept{{hl7 + "v3-RoleCode", "FTH", "father"}, {hl7 + "v3-RoleCode", "MTH", "mother"}}
	runs := []concept{sct("44054006", "Diabetes mellitus type 2"), sct("38341003", "Hypertensive disorder"),
		sct("53741008", "Coronary arteriosclerosis"), sct("363406005", "Malignant tumor of colon")}
	for _, r := range relations[:c.between(1, 2)] {
		c.add("FamilyMemberHistory", "status", "completed", "patient", c.subject(), "date", day(c.from.AddDate(0, 2, 0)),
			"relationship", r.json(), "condition", list{object{"code", pick(c.dice, runs).json()}})
	}
}

// planCare is for the lasting illnesses: plan, goal, team, and a device for those who need one.
func (c *course) planCare() {
	gp := c.orgs[practice]
	d := pick(c.dice, gp.doctors)
	c.meetDoctor(d)
	team := c.add("CareTeam", "status", "active", "name", "Care team of "+c.person.given+" "+c.person.family, "subject", c.subject(),
		"participant", list{object{"member", d.ref(), "onBehalfOf", gp.ref()}}, "managingOrganization", list{gp.ref()})
	for _, l := range c.lasting {
		if l.plan.code == "" {
			continue
		}
		goal := ""
		if l.goal != "" {
			goal = c.add("Goal", "lifecycleStatus", "active", "description", object{"text", l.goal}, "subject", c.subject(),
				"startDate", day(l.onset), "target", list{object{"measure", l.goalCode.json(), "detailQuantity", quantity(l.goalValue, l.goalUnit)}},
				"expressedBy", d.ref(), "addresses", references(l.ref))
		}
		c.add("CarePlan", "status", "active", "intent", "plan", "category", list{l.plan.json()}, "title", l.plan.display,
			"subject", c.subject(), "period", object{"start", day(l.onset)}, "author", d.ref(), "careTeam", references(team),
			"addresses", references(l.ref), "goal", references(goal),
			"activity", list{object{"detail", object{"code", l.plan.json(), "status", "in-progress"}}})
		if l.key == "diabetes" {
			c.add("Device", "status", "active", "type", sct("337414009", "Blood glucose meter").json(),
				"manufacturer", "Anamnesis Example Devices", "modelNumber", "GM-2", "serialNumber", fmt.Sprintf("%09d", c.below(1000000000)),
				"patient", c.subject(), "owner", gp.ref())
		}
	}
}

// agree is the hospital's treatment consent.
func (c *course) agree() {
	h := c.orgs[hospital]
	c.meet(h)
	c.add("Consent", "status", "active",
		"scope", concept{hl7 + "consentscope", "treatment", "Treatment"}.json(),
		"category", list{ln("59284-0", "Consent Document").json()},
		"patient", c.subject(), "dateTime", stamp(c.from.AddDate(0, 1, 0)), "performer", list{c.subject()},
		"organization", list{h.ref()},
		"policyRule", status("v3-ActCode", "OPTIN"))
}
