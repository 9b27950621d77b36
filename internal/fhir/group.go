package fhir

import (
	"cmp"
	"slices"
	"strings"
)

// Source is the organisation that a record comes from.
type Source struct {
	ID   string // stable over files: "system|value" of an identifier, else "Organization/id"; or the member's
	Name string
}

// Patient is one patient of a Collection. Index is −1 when the input refers to a patient it does not hold.
type Patient struct {
	Key   string // "Patient/id", or the reference by which the input knows the patient
	Name  string // display name, "" if unknown
	Index int    // position in Collection.Resources of the Patient resource, or −1
}

// Group is what becomes one record: resources of one patient, one class and one source organisation.
type Group struct {
	Patient   int // position in Arrangement.Patients
	Class     Class
	Source    Source
	Resources []Resource // Class set to the group's
	Bytes     int        // of their Raw
}

// ArrangeOptions are what a Collection cannot know by itself.
type ArrangeOptions struct {
	Member Source // the importing member: source of what names no other
	// OnePatient puts everything that belongs to no patient, or refers to a patient the input does not hold, to the
	// one patient of the input. For an upload into a single journal.
	OnePatient         bool
	RecordResourcesMax int // resources of one group; default 256
	RecordBytesMax     int // bytes of one group, unless a single resource is larger; default 1 MiB
}

// Defaults of ArrangeOptions.
const (
	RecordResourcesMax = 256
	RecordBytesMax     = 1 << 20
)

// Arrangement is a Collection sorted for import. A resource that several patients share (a hospital, a medicine) is
// in a group of each; Placed counts it once. Placed + len(Problems) is the Collection's length.
type Arrangement struct {
	Patients []Patient
	Groups   []Group // by patient, class, source, then input order
	Problems []*Problem
	Placed   int
}

// Arrange finds patient, class and source of each resource and forms the groups. The result depends on the input's
// order alone.
func (c *Collection) Arrange(opt ArrangeOptions) *Arrangement {
	setDefault(&opt.RecordResourcesMax, RecordResourcesMax)
	setDefault(&opt.RecordBytesMax, RecordBytesMax)
	a := &arranger{
		index:   newIndex(c),
		opt:     opt,
		out:     &Arrangement{},
		known:   map[scopeKey]int32{},
		owners:  make([][]int32, len(c.resources)),
		reasons: map[int32]*Problem{},
		raised:  map[placement]Class{},
	}
	a.link()
	a.findRoles()
	a.findPatients()
	a.findOwners()
	a.reportOwnerless()
	a.raiseClasses()
	a.findSources()
	a.group()
	return a.out
}

// placement is a resource as one patient's.
type placement struct{ patient, resource int32 }

type arranger struct {
	*index
	opt     ArrangeOptions
	out     *Arrangement
	targets [][]int32 // of each resource's refs, in step with facts.refs
	known   map[scopeKey]int32
	owners  [][]int32 // patients of each resource, sorted
	reasons map[int32]*Problem
	raised  map[placement]Class
	roles   map[int32][]int32 // Practitioner → its PractitionerRoles
	sources sources
}

// link resolves every reference once.
func (a *arranger) link() {
	a.targets = make([][]int32, len(a.c.resources))
	for i, r := range a.c.resources {
		if len(r.facts.refs) == 0 {
			continue
		}
		t := make([]int32, len(r.facts.refs))
		for j, ref := range r.facts.refs {
			t[j] = a.find(int32(i), ref)
		}
		a.targets[i] = t
	}
}

// findPatients numbers the Patient resources. Versions and copies of one patient are one.
func (a *arranger) findPatients() {
	for i, r := range a.c.resources {
		if r.Type != "Patient" {
			continue
		}
		i := int32(i)
		keys := a.patientKeys(i, r)
		p := int32(notFound)
		for _, k := range keys {
			if q, ok := a.known[k]; ok && a.same(i, int32(a.out.Patients[q].Index)) {
				p = q
			}
		}
		if p == notFound {
			p = a.addPatient(Patient{Key: r.Name(), Index: int(i)})
		}
		for _, k := range keys {
			if _, taken := a.known[k]; !taken {
				a.known[k] = p
			}
		}
		a.owners[i] = []int32{p}
	}
	for n := range a.out.Patients {
		p := &a.out.Patients[n]
		r := a.c.resources[p.Index]
		p.Name = humanName(r.Raw)
		if r.ID == "" {
			p.Key = cmp.Or(r.FullURL, r.File+"#"+r.Name())
		}
	}
}

func (a *arranger) patientKeys(i int32, r Resource) []scopeKey {
	var keys []scopeKey
	if r.ID != "" {
		keys = append(keys, a.scoped(i, r.Name(), isUnique(r.ID)))
	}
	if strings.HasPrefix(r.FullURL, "urn:uuid:") {
		keys = append(keys, scopeKey{everywhere, r.FullURL})
	}
	return keys
}

func (a *arranger) scoped(i int32, key string, unique bool) scopeKey {
	if unique {
		return scopeKey{everywhere, key}
	}
	return scopeKey{a.folder[i], key}
}

func (a *arranger) addPatient(p Patient) int32 {
	a.out.Patients = append(a.out.Patients, p)
	return int32(len(a.out.Patients) - 1)
}

// subjectElements are the elements that say whom a resource is about.
var subjectElements = map[string]bool{"subject": true, "patient": true, "beneficiary": true, "for": true,
	"individual": true, "candidate": true, "subscriber": false}

// findOwners gives each resource its patients: whom it is about; else whom it names; else those of what it refers
// to; else those whose resources refer to it; else the only patient of its file.
func (a *arranger) findOwners() {
	for i, r := range a.c.resources {
		if a.owners[i] == nil && !types[r.Type].patientless {
			a.ownDirectly(int32(i), r)
		}
	}
	for changed, rounds := true, 0; changed && rounds < 8; rounds++ {
		changed = false
		for i, r := range a.c.resources {
			if a.owners[i] == nil && a.reasons[int32(i)] == nil && !types[r.Type].patientless {
				changed = a.ownByTargets(int32(i)) || changed
			}
		}
	}
	a.ownByReferrers()
	a.ownByFile()
}

func (a *arranger) ownDirectly(i int32, r Resource) {
	var about, named []int32
	blocked := false
	for j, ref := range r.facts.refs {
		p := a.patientOf(i, j, ref)
		switch {
		case p == ambiguous && subjectElements[ref.in]:
			blocked = true
		case p < 0:
		case subjectElements[ref.in]:
			about = appendNew(about, p)
		default:
			named = appendNew(named, p)
		}
	}
	if len(about) == 0 {
		about = named
	}
	switch {
	case blocked && len(about) == 0:
		a.refuse(i, CodeAmbiguous, "its patient's id stands for different patients in this folder")
	case len(about) == 1:
		a.owners[i] = about
	case len(about) > 1:
		a.refuse(i, CodeAmbiguous, "it names several patients")
	}
}

// patientOf is the patient that reference j of resource i leads to.
func (a *arranger) patientOf(i int32, j int, r ref) int32 {
	t := a.targets[i][j]
	switch {
	case t >= 0 && a.c.resources[t].Type == "Patient":
		return a.owners[t][0]
	case t == ambiguous && r.typeOf() == "Patient":
		return ambiguous
	case t >= 0 || !subjectElements[r.in]:
		return notFound
	}
	return a.absentPatient(i, r)
}

// absentPatient numbers a patient that the input only refers to.
func (a *arranger) absentPatient(i int32, r ref) int32 {
	key := ""
	switch {
	case r.to != "":
		key = referenceKey(r.to)
	case r.identifier != "":
		key = "Patient?" + r.identifier
	}
	typ := r.typeOf()
	if key == "" || typ != "" && typ != "Patient" || typ == "" && r.in != "patient" && r.in != "beneficiary" && r.in != "subject" {
		return notFound
	}
	unique := strings.Contains(key, ":") || isUnique(lastOne(key))
	k := a.scoped(i, key, unique)
	p, ok := a.known[k]
	if !ok {
		p = a.addPatient(Patient{Key: key, Name: r.display, Index: -1})
		a.known[k] = p
	}
	return p
}

func (a *arranger) refuse(i int32, code Code, reason string) {
	r := a.c.resources[i]
	a.reasons[i] = &Problem{File: r.File, Entry: r.Entry, ResourceType: r.Type, ID: r.ID, Code: code, Reason: reason}
}

// ownByTargets follows the references of a resource that names no patient (a Provenance, a Task).
func (a *arranger) ownByTargets(i int32) bool {
	var found []int32
	for _, t := range a.targets[i] {
		if t >= 0 && !types[a.c.resources[t].Type].patientless {
			for _, p := range a.owners[t] {
				found = appendNew(found, p)
			}
		}
	}
	switch len(found) {
	case 0:
		return false
	case 1:
		a.owners[i] = found
		return true
	}
	a.refuse(i, CodeAmbiguous, "it refers to resources of several patients")
	return false
}

// ownByReferrers gives what is nobody's own (hospitals, practitioners, medicines) to every patient whose resources
// lead to it.
func (a *arranger) ownByReferrers() {
	shared := make([]bool, len(a.owners))
	var queue []placement
	for i, owners := range a.owners {
		shared[i] = owners == nil && a.reasons[int32(i)] == nil
		for _, p := range owners {
			queue = append(queue, placement{p, int32(i)})
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, t := range a.targets[at.resource] {
			if t < 0 || !shared[t] {
				continue
			}
			if _, has := slices.BinarySearch(a.owners[t], at.patient); !has {
				a.owners[t] = appendNew(a.owners[t], at.patient)
				queue = append(queue, placement{at.patient, t})
			}
		}
	}
}

// ownByFile settles the rest: a file about one patient is that patient's.
func (a *arranger) ownByFile() {
	inFile := map[int32][]int32{}
	for i, owners := range a.owners {
		for _, p := range owners {
			inFile[a.file[i]] = appendNew(inFile[a.file[i]], p)
		}
	}
	for i, owners := range a.owners {
		if owners != nil || a.reasons[int32(i)] != nil {
			continue
		}
		if only := inFile[a.file[i]]; len(only) == 1 {
			a.owners[i] = only
		}
	}
}

// reportOwnerless ends the search for patients.
func (a *arranger) reportOwnerless() {
	if a.opt.OnePatient {
		a.mergeIntoOne()
	}
	for i := range a.owners {
		if a.owners[i] == nil && a.reasons[int32(i)] == nil {
			a.refuse(int32(i), CodeNoPatient, "it belongs to no patient of the input")
		}
		if p := a.reasons[int32(i)]; p != nil {
			a.out.Problems = append(a.out.Problems, p)
			continue
		}
		a.out.Placed++
	}
}

// mergeIntoOne is OnePatient: it needs exactly one Patient resource, or exactly one patient referred to.
func (a *arranger) mergeIntoOne() {
	held := int32(notFound)
	for n, p := range a.out.Patients {
		if p.Index >= 0 {
			if held != notFound {
				return
			}
			held = int32(n)
		}
	}
	if held == notFound {
		if len(a.out.Patients) > 1 {
			return
		}
		if len(a.out.Patients) == 0 {
			a.addPatient(Patient{Index: -1})
		}
		held = 0
	}
	a.out.Patients = []Patient{a.out.Patients[held]}
	a.reasons = map[int32]*Problem{}
	for i := range a.owners {
		a.owners[i] = []int32{0}
	}
}

// group forms and splits the groups.
func (a *arranger) group() {
	type key struct {
		patient int32
		class   int
		source  string
	}
	names := map[string]string{}
	lists := map[key][]int32{}
	for i := range a.c.resources {
		if a.reasons[int32(i)] != nil {
			continue
		}
		for _, p := range a.owners[i] {
			at := placement{p, int32(i)}
			src := a.sourceFor(at)
			k := key{p, a.classIn(at).order(), src.ID}
			lists[k] = append(lists[k], int32(i))
			if names[src.ID] == "" {
				names[src.ID] = src.Name
			}
		}
	}
	keys := make([]key, 0, len(lists))
	for k := range lists {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y key) int {
		return cmp.Or(cmp.Compare(x.patient, y.patient), cmp.Compare(x.class, y.class), cmp.Compare(x.source, y.source))
	})
	for _, k := range keys {
		g := Group{Patient: int(k.patient), Class: classes[k.class], Source: Source{k.source, names[k.source]}}
		a.split(g, lists[k])
	}
}

// split cuts a group at the record limits; one resource over the byte limit is a group by itself.
func (a *arranger) split(g Group, list []int32) {
	empty := g
	for _, i := range list {
		r := a.c.resources[i]
		r.Class = g.Class
		full := len(g.Resources) == a.opt.RecordResourcesMax || g.Bytes+len(r.Raw) > a.opt.RecordBytesMax
		if full && len(g.Resources) > 0 {
			a.out.Groups = append(a.out.Groups, g)
			g = empty
		}
		g.Resources = append(g.Resources, r)
		g.Bytes += len(r.Raw)
	}
	a.out.Groups = append(a.out.Groups, g)
}
