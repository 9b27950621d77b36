package fhir

// What a resource says may depend on what it refers to: a prescription for a sensitive condition, a claim for a
// sensitive visit, a report with a sensitive result. Arrange lets such a class pass on.

// tellingElements are references that give away what they point to.
var tellingElements = map[string]bool{
	"reasonReference": true, "addresses": true, "medicationReference": true, "result": true, "diagnosis": true,
	"evidence": true, "derivedFrom": true, "hasMember": true, "claim": true, "prescription": true,
	"originalPrescription": true, "request": true, "basedOn": true, "entry": true, "section": true, "focus": true,
	"condition": true, "problem": true, "outcomeReference": true, "finding": true, "manifestation": true,
	"authorizingPrescription": true, "statusReasonReference": true, "supportingInfo": true, "questionnaire": true,
	"report": true, "complication": true, "indication": true, "subjectCondition": true, "contained": true,
}

// visitClasses are the classes of resources that tell what a visit was about.
var visitClasses = map[Class]bool{Documents: true, Insurance: true, CarePlans: true, Encounters: true}

const raiseRoundsMax = 6

func (a *arranger) raiseClasses() {
	for round := 0; round < raiseRoundsMax; round++ {
		changed := false
		for i, r := range a.c.resources {
			if types[r.Type].patientless {
				continue
			}
			for _, p := range a.owners[i] {
				changed = a.raiseByTargets(placement{p, int32(i)}, r) || changed
			}
		}
		if !changed {
			break
		}
	}
	a.raiseProvenances()
	a.raiseDirectory()
}

// classIn is the class of a resource as one patient's.
func (a *arranger) classIn(at placement) Class {
	if c, ok := a.raised[at]; ok {
		return c
	}
	return a.c.resources[at.resource].Class
}

func (a *arranger) raiseByTargets(at placement, r Resource) bool {
	class := a.classIn(at)
	was := class
	for j, ref := range r.facts.refs {
		t := a.targets[at.resource][j]
		if t < 0 || t == at.resource {
			continue
		}
		c := a.classIn(placement{at.patient, t})
		if c.Sensitive() && (tellingElements[ref.in] || visitClasses[class] && a.c.resources[t].Type == "Encounter") {
			class = graver(class, c)
		}
	}
	if class == was {
		return false
	}
	a.raised[at] = class
	return true
}

// raiseDirectory moves practitioners, clinics and other entries that only sensitive resources of a patient lead to
// into the sensitive class: a psychiatrist's name tells as much as a diagnosis.
func (a *arranger) raiseDirectory() {
	open := map[placement]bool{}     // an ordinary resource leads to it, perhaps through other entries
	gravest := map[placement]Class{} // of the sensitive resources that do
	for i := range a.c.resources {
		for _, p := range a.owners[i] {
			at := placement{p, int32(i)}
			switch class := a.classIn(at); {
			case class.Sensitive():
				a.spread(at, func(to placement) bool {
					g := graver(gravest[to], class)
					grew := g != gravest[to]
					gravest[to] = g
					return grew
				})
			case class != Directory && class != Admin:
				a.spread(at, func(to placement) bool {
					grew := !open[to]
					open[to] = true
					return grew
				})
			}
		}
	}
	for at, class := range gravest {
		if !open[at] {
			a.raised[at] = class
		}
	}
	for round := 0; round < raiseRoundsMax && a.raiseAttached(open); round++ {
	}
}

// raiseAttached takes along the entries that nothing ordinary leads to and that name a raised one: the clinic's
// address, the psychiatrist's role.
func (a *arranger) raiseAttached(open map[placement]bool) (changed bool) {
	for i := range a.c.resources {
		for _, p := range a.owners[i] {
			at := placement{p, int32(i)}
			if a.classIn(at) != Directory || open[at] {
				continue
			}
			class := Directory
			for _, t := range a.targets[i] {
				if t >= 0 && a.c.resources[t].Class == Directory {
					class = graver(class, a.classIn(placement{p, t}))
				}
			}
			if class != Directory {
				a.raised[at] = class
				changed = true
			}
		}
	}
	return changed
}

// spread marks the directory entries that a resource leads to, and those they lead to, as long as mark returns true.
func (a *arranger) spread(from placement, mark func(placement) bool) {
	queue := []placement{from}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, next := range [2][]int32{a.targets[at.resource], a.roles[at.resource]} {
			for _, t := range next {
				to := placement{at.patient, t}
				if t >= 0 && a.c.resources[t].Class == Directory && mark(to) {
					queue = append(queue, to)
				}
			}
		}
	}
}

// raiseProvenances lets a Provenance follow its targets when all of them are sensitive.
func (a *arranger) raiseProvenances() {
	for i, r := range a.c.resources {
		if r.Type != "Provenance" {
			continue
		}
		for _, p := range a.owners[i] {
			at := placement{p, int32(i)}
			if c := a.allTargets(at); c != "" {
				a.raised[at] = graver(a.classIn(at), c)
			}
		}
	}
}

// allTargets is the gravest class of a Provenance's targets if all of them are sensitive.
func (a *arranger) allTargets(at placement) (class Class) {
	for j, ref := range a.c.resources[at.resource].facts.refs {
		if ref.in != "target" {
			continue
		}
		t := a.targets[at.resource][j]
		if t < 0 {
			return ""
		}
		c := a.classIn(placement{at.patient, t})
		if !c.Sensitive() {
			return ""
		}
		class = graver(class, c)
	}
	return class
}
