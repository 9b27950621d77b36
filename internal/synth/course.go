package synth

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// course is one life while it is written down.
type course struct {
	dice
	person  person
	orgs    map[kindOf]*organisation // the ones this patient goes to
	entries []object                 // resources in order
	known   map[string]bool          // organisations and doctors already written
	lasting []lasting
	from    time.Time // start of the recorded history
	cover   string    // reference of the Coverage
	panels  int       // ordered at check-ups so far
}

type person struct {
	id, given, family, gender string
	birth                     time.Time
	heightCM                  int
	weight                    int // in 0.1 kg at the start
	systolic                  int
	smokes                    bool
}

// lasting is an illness this patient has.
type lasting struct {
	illness
	onset   time.Time
	treated time.Time
	ref     string // its Condition
}

// What is recorded, and how much of the laboratory, keep a history between 80 and 250 resources.
const (
	historyYears = 7
	panelsMax    = 6
)

func newCourse(seed uint64, patient int) *course {
	c := &course{dice: newDice(seed, patient), orgs: map[kindOf]*organisation{}, known: map[string]bool{}}
	c.person = c.newPerson()
	for k := practice; k <= hivClinic; k++ {
		c.orgs[k] = pick(c.dice, ofKind(k))
	}
	c.from = Epoch.AddDate(-historyYears, 0, 0)
	if c.person.birth.After(c.from) {
		c.from = c.person.birth.AddDate(0, 1, 0)
	}
	return c
}

func (c *course) newPerson() person {
	p := person{id: c.uuid(), gender: pick(c.dice, []string{"female", "male"})}
	p.given, p.family = pick(c.dice, givenNames[p.gender]), pick(c.dice, familyNames)
	p.birth = Epoch.AddDate(-c.between(22, 84), 0, -c.below(365))
	p.heightCM = c.around(166, 12)
	if p.gender == "male" {
		p.heightCM += 11
	}
	p.weight = p.heightCM*p.heightCM*c.between(205, 320)/10000 + c.below(10)
	p.systolic = c.around(119, 8)
	p.smokes = c.chance(18)
	return p
}

func (c *course) age(at time.Time) int {
	years := at.Year() - c.person.birth.Year()
	if at.AddDate(-years, 0, 0).Before(c.person.birth) {
		years--
	}
	return years
}

// live writes the whole history.
func (c *course) live() {
	c.identity()
	c.chooseIllnesses()
	c.allergic()
	c.family()
	for at := c.from.AddDate(0, c.below(10), c.below(28)); at.Before(Epoch); at = at.AddDate(1, c.around(0, 2), c.below(20)) {
		c.checkup(c.hour(at))
	}
	for range c.between(2, 4) {
		c.shortIllness(c.moment())
	}
	for range c.between(1, 2) {
		c.emergency(c.moment())
	}
	for range c.between(1, 2) {
		c.imaging(c.moment())
	}
	c.dentist(c.moment())
	c.sensitive()
	c.planCare()
	c.agree()
}

// hour puts a day into office hours.
func (c *course) hour(day time.Time) time.Time {
	return day.Truncate(24 * time.Hour).Add(time.Duration(c.between(8*60, 16*60)) * time.Minute)
}

// moment is some office hour of the recorded history, at least two weeks before its end.
func (c *course) moment() time.Time {
	days := int(Epoch.Sub(c.from).Hours()/24) - 14
	return c.hour(c.from.AddDate(0, 0, c.below(days)))
}

// chooseIllnesses decides what the patient has and since when; some begin before the recorded history.
func (c *course) chooseIllnesses() {
	wanted := c.between(2, 3)
	for _, i := range c.shuffled(len(illnesses)) {
		ill := illnesses[i]
		onset := c.person.birth.AddDate(ill.ageMin+c.below(12), c.below(12), c.below(28))
		if wanted == 0 || !onset.Before(Epoch.AddDate(-1, 0, 0)) || ill.follows != "" && c.lastingSince(ill.follows).IsZero() {
			continue
		}
		wanted--
		c.fallIll(ill, c.hour(onset))
	}
	if len(c.lasting) == 0 { // the young: what may begin at any age
		c.fallIll(illnesses[3], c.hour(c.from.AddDate(0, c.below(24), 0)))
	}
}

func (c *course) shuffled(n int) []int {
	out := make([]int, n)
	for i := range out {
		j := c.below(i + 1)
		out[i] = out[j]
		out[j] = i
	}
	return out
}

func (c *course) lastingSince(key string) time.Time {
	for _, l := range c.lasting {
		if l.key == key {
			return l.onset
		}
	}
	return time.Time{}
}

// fallIll writes the diagnosis visit, the condition and the first prescriptions.
func (c *course) fallIll(ill illness, onset time.Time) {
	gp := c.orgs[practice]
	if e := ill.early; e != nil && c.age(onset) > e.ageMin+4 {
		since := c.hour(onset.AddDate(-c.between(2, 4), c.below(12), 0))
		visit := c.visit(gp, since, sct("185347001", "Encounter for problem"), &e.concept)
		c.condition(visit, e.concept, since, onset, nil)
		c.lasting = append(c.lasting, lasting{illness: *e, onset: since})
	}
	visit := c.visit(gp, onset, sct("185347001", "Encounter for problem"), &ill.concept)
	l := lasting{illness: ill, onset: onset, ref: c.condition(visit, ill.concept, onset, time.Time{}, nil)}
	for _, d := range ill.drugs {
		l.treated = onset.AddDate(0, c.below(6), 0)
		c.prescribe(visit, d, c.hour(l.treated), l.ref, true, nil)
	}
	c.lasting = append(c.lasting, l)
}

// checkup is a yearly visit: vital signs, laboratory, vaccination, claim.
func (c *course) checkup(at time.Time) {
	visit := c.visit(c.orgs[practice], at, sct("185349003", "Encounter for check up"), nil)
	c.vitals(visit)
	c.vaccinate(visit)
	for _, p := range c.panelsFor(at) {
		if c.panels < panelsMax {
			c.panels++
			c.laboratory(visit, p)
		}
	}
	if c.chance(45) {
		c.bill(visit, sct("185349003", "Encounter for check up"), c.between(90, 140))
	}
}

// panelsFor is what a GP orders: what the illnesses ask for, sometimes more.
func (c *course) panelsFor(at time.Time) []panel {
	var out []panel
	add := func(p panel) {
		if !slices.ContainsFunc(out, func(q panel) bool { return q.code == p.code }) {
			out = append(out, p)
		}
	}
	for _, l := range c.lasting {
		if l.onset.Before(at) && c.chance(30) {
			for _, p := range l.panels {
				add(p)
			}
		}
	}
	if c.age(at) > 35 && c.chance(15) {
		add(panelLipids)
	}
	if c.chance(8) || len(out) == 0 && c.chance(30) {
		add(panelCount)
	}
	return out
}

func (c *course) shortIllness(at time.Time) {
	p := pick(c.dice, passings)
	visit := c.visit(c.orgs[practice], at, sct("185345009", "Encounter for symptom"), &p.concept)
	ref := c.condition(visit, p.concept, at, c.hour(at.AddDate(0, 0, c.between(5, 13))), nil)
	if p.drug != nil {
		c.prescribe(visit, *p.drug, at, ref, false, nil)
	}
	if c.chance(60) {
		c.bill(visit, p.concept, c.between(80, 160))
	}
}

// emergency is a stay in hospital with procedure and discharge letter.
func (c *course) emergency(at time.Time) {
	var fitting []event
	for _, e := range events {
		if c.age(at) >= e.ageMin {
			fitting = append(fitting, e)
		}
	}
	e := pick(c.dice, fitting)
	visit := c.stay(c.orgs[hospital], at, e)
	healed := c.hour(at.AddDate(0, 0, 20+c.below(60)))
	if !healed.Before(Epoch) {
		healed = time.Time{}
	}
	ref := c.condition(visit, e.concept, at, healed, nil)
	c.procedure(visit, e.procedure, at.Add(3*time.Hour), ref, nil)
	c.vitals(visit)
	c.laboratory(visit, panelCount)
	c.document(visit, ln("18842-5", "Discharge summary"), at.AddDate(0, 0, e.days), e.concept.display+". "+e.text, nil)
	c.bill(visit, e.concept, c.between(1800, 14000))
}

func (c *course) dentist(at time.Time) {
	tooth := sct("196416002", "Impacted molars")
	visit := c.visit(c.orgs[dentist], at, sct("185347001", "Encounter for problem"), &tooth)
	ref := c.condition(visit, tooth, at, c.hour(at.AddDate(0, 0, 10)), nil)
	c.procedure(visit, sct("65546002", "Extraction of wisdom tooth"), at.Add(20*time.Minute), ref, nil)
	c.bill(visit, tooth, c.between(220, 600))
}

// sensitive is a course at one clinic, which labels what it writes.
func (c *course) sensitive() {
	var fitting []sensitiveCourse
	for _, s := range sensitiveCourses {
		if c.age(Epoch) >= s.ageMin+4 {
			fitting = append(fitting, s)
		}
	}
	s := pick(c.dice, fitting)
	clinic := c.orgs[s.clinic]
	at := c.hour(Epoch.AddDate(-c.between(2, 3), 0, -c.below(200)))
	ill := pick(c.dice, s.illnesses)
	score := s.start
	ref := ""
	for n := range c.between(4, 6) {
		visit := c.visitLabelled(clinic, at, s.visit, &ill, &s.label)
		if n == 0 {
			ref = c.condition(visit, ill, at, time.Time{}, &s.label)
			for _, d := range s.drugs {
				c.prescribe(visit, d, at, ref, true, &s.label)
			}
		}
		c.observe(visit, s.score, "survey", object{"valueQuantity", quantity(number{score, 0}, s.scoreUnit)}, &s.label)
		if n%2 == 0 {
			c.procedure(visit, s.therapy, at.Add(10*time.Minute), ref, &s.label)
		}
		if n == 1 {
			c.document(visit, ln("11506-3", "Progress note"), at, s.note, &s.label)
			c.billLabelled(visit, ill, c.between(120, 260), &s.label)
		}
		score = min(max(score+s.step+c.below(3)-1, s.floor), s.cap)
		at = c.hour(at.AddDate(0, c.between(2, 4), c.below(20)))
	}
}

func (c *course) allergic() {
	onset := c.hour(c.person.birth.AddDate(c.between(2, 18), c.below(12), 0))
	for _, a := range some(c.dice, allergies, c.between(1, 4)) {
		c.allergy(a, onset)
	}
}

// bundle writes the transaction.
func (c *course) bundle() []byte {
	entries := make(list, len(c.entries))
	for i, r := range c.entries {
		typ, id := r[1].(string), r[3].(string)
		request := object{"method", "POST", "url", typ}
		if c.known[id] { // shared by many patients: a server keeps one
			identifier := identifierOf(r)
			request = append(request, "ifNoneExist", "identifier="+identifier)
		}
		entries[i] = object{"fullUrl", "urn:uuid:" + id, "resource", r, "request", request}
	}
	out := appendJSON(nil, object{"resourceType", "Bundle", "type", "transaction", "entry", entries})
	return append(out, '\n')
}

func identifierOf(r object) string {
	for i := 0; i < len(r); i += 2 {
		if r[i] == "identifier" {
			id := r[i+1].(list)[0].(object)
			return fmt.Sprintf("%s|%s", strings.ReplaceAll(id[1].(string), "|", ""), id[3])
		}
	}
	return ""
}
