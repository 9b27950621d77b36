package fhir

import "cmp"

// sources caches which organisation each resource speaks for.
type sources struct {
	own    []Source           // of each resource by its own references; zero if none
	main   []Source           // of each patient
	hidden map[sourceOf]Class // organisations that only sensitive resources of a patient lead to
}

// sourceOf is an organisation as one patient's source.
type sourceOf struct {
	patient int32
	id      string
}

// sourceElements are the elements that name who made a resource, the best first. What the sender asks for (a
// requested performer, a claim's insurer) is behind who asks.
var sourceElements = []string{"serviceProvider", "custodian", "performer", "insurer", "payor", "provider", "author",
	"recorder", "asserter", "requester", "managingOrganization", "organization", "authenticator", "informationSource",
	"resultsInterpreter", "referrer", "interpreter", "collection", "agent", "manufacturer", "sender", "owner",
	"location", "facility", "contained"}

// sourceElementsOf overrides the order for types where it would mislead.
var sourceElementsOf = map[string][]string{
	"Claim":                      {"provider", "enterer"},
	"CoverageEligibilityRequest": {"provider", "enterer"},
	"MedicationRequest":          {"requester", "recorder"},
	"ServiceRequest":             {"requester"},
	"DeviceRequest":              {"requester"},
	"NutritionOrder":             {"orderer"},
	"SupplyRequest":              {"requester"},
	"Appointment":                {"participant"},
	"Patient":                    {"managingOrganization"},
	"ImagingStudy":               {"interpreter", "location", "referrer"},
	"Task":                       {"requester", "owner"},
}

// stepElements lead from a resource that is no organisation to the organisation it stands for.
var stepElements = map[string]string{
	"PractitionerRole":  "organization",
	"Location":          "managingOrganization",
	"Device":            "owner",
	"HealthcareService": "providedBy",
	"CareTeam":          "managingOrganization",
	"Encounter":         "serviceProvider",
	"EpisodeOfCare":     "managingOrganization",
}

const stepsMax = 4

func (a *arranger) findSources() {
	a.sources = sources{own: make([]Source, len(a.c.resources)), hidden: map[sourceOf]Class{}}
	for i, r := range a.c.resources {
		if c := r.Class; c != Directory && c != Demographics || r.Type == "Patient" {
			a.sources.own[i] = a.ownSource(int32(i), r)
		}
	}
	a.raiseBySource()
	a.findMain()
}

// raiseBySource keeps what a sensitive clinic wrote with the clinic: a weight in class vitals "by Recovery Programme"
// would tell. Only organisations that nothing ordinary of the patient leads to count (raiseDirectory).
func (a *arranger) raiseBySource() {
	for i, r := range a.c.resources {
		if r.Type != "Organization" {
			continue
		}
		for _, p := range a.owners[i] {
			if c := a.classIn(placement{p, int32(i)}); c.Sensitive() {
				a.sources.hidden[sourceOf{p, a.identify(r).ID}] = c
			}
		}
	}
	for i, s := range a.sources.own {
		for _, p := range a.owners[i] {
			at := placement{p, int32(i)}
			if c := a.sources.hidden[sourceOf{p, s.ID}]; c != "" && !a.classIn(at).Sensitive() {
				a.raised[at] = c
			}
		}
	}
}

// findRoles notes the roles of each practitioner.
func (a *arranger) findRoles() {
	a.roles = map[int32][]int32{}
	for i, r := range a.c.resources {
		if r.Type != "PractitionerRole" {
			continue
		}
		for j, ref := range r.facts.refs {
			if t := a.targets[i][j]; ref.in == "practitioner" && t >= 0 {
				a.roles[t] = append(a.roles[t], int32(i))
			}
		}
	}
}

// ownSource goes by who made the resource, then by its encounter.
func (a *arranger) ownSource(i int32, r Resource) Source {
	elements, ok := sourceElementsOf[r.Type]
	if !ok {
		elements = sourceElements
	}
	for _, e := range elements {
		for j, ref := range r.facts.refs {
			if ref.in == e {
				if s := a.sourceBehind(i, j, ref, stepsMax); s.ID != "" {
					return s
				}
			}
		}
	}
	for _, t := range a.targets[i] {
		if t >= 0 && a.c.resources[t].Type == "Encounter" {
			if s := a.organisation(t, stepsMax); s.ID != "" {
				return s
			}
		}
	}
	return Source{}
}

// sourceBehind is the organisation that reference j of resource i leads to.
func (a *arranger) sourceBehind(i int32, j int, r ref, steps int) Source {
	if t := a.targets[i][j]; t >= 0 {
		return a.organisation(t, steps)
	}
	if len(r.to) > 1 && r.to[0] == '#' {
		return a.containedSource(i, r.to[1:], steps)
	}
	if r.typeOf() == "Organization" {
		return Source{referenceKey(r.to), r.display}
	}
	if r.to == "" && r.identifier != "" && (r.in == "serviceProvider" || r.in == "managingOrganization" || r.in == "custodian") {
		return Source{r.identifier, r.display}
	}
	return Source{}
}

// organisation is what resource t stands for, itself if it is an organisation.
func (a *arranger) organisation(t int32, steps int) Source {
	r := a.c.resources[t]
	switch r.Type {
	case "Organization":
		return a.identify(r)
	case "Practitioner":
		if steps > 0 && len(a.roles[t]) > 0 {
			return a.organisation(a.roles[t][0], steps-1)
		}
		return Source{}
	}
	element, ok := stepElements[r.Type]
	if !ok || steps == 0 {
		return Source{}
	}
	for j, ref := range r.facts.refs {
		if ref.in == element {
			if s := a.sourceBehind(t, j, ref, steps-1); s.ID != "" {
				return s
			}
		}
	}
	return Source{}
}

// identify names an organisation by an identifier of some system, else by id. An id that is not unique by
// construction is joined with the name, so that two hospitals' "Organization/1" stay two.
func (a *arranger) identify(r Resource) Source {
	for _, id := range r.facts.identifiers {
		if id[0] != '|' {
			return Source{id, r.facts.name}
		}
	}
	id := cmp.Or(r.ID, r.FullURL)
	if id == "" || !isUnique(r.ID) && r.FullURL == "" {
		return Source{"Organization/" + id + " " + r.facts.name, r.facts.name}
	}
	return Source{"Organization/" + id, r.facts.name}
}

func (a *arranger) containedSource(i int32, id string, steps int) Source {
	if steps == 0 {
		return Source{}
	}
	for _, c := range a.c.resources[i].facts.contained {
		if c.id != id {
			continue
		}
		if c.typ == "Organization" {
			return Source{cmp.Or(c.identifier, "Organization "+c.name), c.name}
		}
		for _, r := range c.refs {
			if r.in == stepElements[c.typ] {
				if t := a.find(i, r); t >= 0 {
					return a.organisation(t, steps-1)
				}
			}
		}
	}
	return Source{}
}

// findMain finds each patient's main organisation: the Patient's own managing one, else the most frequent that is not
// hidden (of equals the first by id), else the importing member.
func (a *arranger) findMain() {
	counts := make([]map[Source]int, len(a.out.Patients))
	for i, s := range a.sources.own {
		if s.ID == "" {
			continue
		}
		for _, p := range a.owners[i] {
			if a.sources.hidden[sourceOf{p, s.ID}] != "" {
				continue
			}
			if counts[p] == nil {
				counts[p] = map[Source]int{}
			}
			counts[p][s]++
		}
	}
	for n, p := range a.out.Patients {
		best := Source{}
		if p.Index >= 0 {
			best = a.sources.own[p.Index]
		}
		if best.ID == "" {
			best = mostFrequent(counts[n])
		}
		if best.ID == "" {
			best = a.opt.Member
		}
		a.sources.main = append(a.sources.main, best)
	}
}

func mostFrequent(counts map[Source]int) (best Source) {
	for s, n := range counts {
		c := cmp.Or(cmp.Compare(n, counts[best]), cmp.Compare(best.ID, s.ID), cmp.Compare(best.Name, s.Name))
		if best.ID == "" || c > 0 {
			best = s
		}
	}
	return best
}

// sourceFor is the source of a resource in a patient's record. A directory entry in a sensitive class stays with the
// organisation it speaks of: nobody else's record should tie the two together.
func (a *arranger) sourceFor(at placement) Source {
	s := a.sources.own[at.resource]
	if s.ID == "" && a.c.resources[at.resource].Class == Directory && a.classIn(at).Sensitive() {
		s = a.organisation(at.resource, stepsMax)
	}
	if s.ID != "" {
		return s
	}
	return a.sources.main[at.patient]
}
