package rights

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// CanRead is who can read what at a time, and by what right. Rules are all there are, as proven as the journal; People is what the rules
// mean for those in the registry, as far as the gateway told of them.
type CanRead struct {
	Time      uint64     `json:"time_ms"`
	Proof     Proof      `json:"proof"`
	Closed    bool       `json:"closed"` // the journal was erased as a whole: nobody reads anything
	Rules     []Rule     `json:"rules"`
	People    []Person   `json:"people"`
	Delegates []StandsIn `json:"delegates"`
	Devices   int        `json:"devices"`   // of the patient's, beside the wallet
	Card      bool       `json:"card"`      // an emergency card leads those who have it to the journal
	Guardians bool       `json:"guardians"` // together could give the journal to a new wallet, after a delay in which the old one can veto
	Partial   []string   `json:"partial"`   // organisations whose people could not be asked for
}

// Rule is a contract in force.
type Rule struct {
	ID        protocol.ContractID `json:"contract"`
	Template  string              `json:"template"`
	Text      string              `json:"text"`  // what it lets whom do, a sentence a line
	Reads     bool                `json:"reads"` // it lets somebody read
	Begun     bool                `json:"begun"`
	NotBefore uint64              `json:"not_before_ms"`
	NotAfter  uint64              `json:"not_after_ms"`
	Uses      uint32              `json:"uses"`
	UsesMax   uint32              `json:"uses_max"`
	By        string              `json:"by,omitempty"` // the delegate's key who granted it
}

// Person is somebody, or an organisation by itself, that could read now.
type Person struct {
	Recipient Recipient `json:"recipient"`
	Opens     []Opens   `json:"opens"` // by class
	Glass     bool      `json:"break_glass_only"`
}

// Opens is what a person could read of a class.
type Opens struct {
	Class     string                `json:"class"`
	Records   int                   `json:"records"` // that would open
	Of        int                   `json:"of"`      // that there are; 0: none yet
	Purposes  []protocol.Purpose    `json:"purposes"`
	Glass     []protocol.Purpose    `json:"break_glass,omitempty"`
	Contracts []protocol.ContractID `json:"contracts"`
}

// Lines say what a person could read, a line for all classes that open alike: «allergies, labs (2 of 3): treatment, by contract 3fa9c1d2».
func (p Person) Lines() (out []string) {
	var kinds []string
	classes := map[string][]string{}
	for _, o := range p.Opens {
		kind := purposesText(o.Purposes)
		if len(o.Purposes) == 0 {
			kind = "only by breaking the glass in an emergency"
		}
		var ids []string
		for _, id := range o.Contracts {
			ids = append(ids, id.String()[:8])
		}
		kind += ", by contract " + strings.Join(ids, " and ")
		what := o.Class
		if o.Records < o.Of {
			what += fmt.Sprintf(" (%d of %d)", o.Records, o.Of)
		}
		if classes[kind] == nil {
			kinds = append(kinds, kind)
		}
		classes[kind] = append(classes[kind], what)
	}
	for _, kind := range kinds {
		out = append(out, allBut(classes[kind])+": "+kind)
	}
	return out
}

// allBut lists classes, or what is not among them where that is shorter to read.
func allBut(classes []string) string {
	var rest []string
	for _, class := range fhir.Classes() {
		if !slices.Contains(classes, string(class)) {
			rest = append(rest, string(class))
		}
	}
	switch all := len(fhir.Classes()); {
	case len(classes)+len(rest) != all || len(rest) > all/3: // some open in part, and are named with how much
		return strings.Join(classes, ", ")
	case len(rest) == 0:
		return "everything"
	}
	return "everything but " + strings.Join(rest, ", ")
}

// StandsIn is a delegate.
type StandsIn struct {
	Key      string         `json:"key"`
	Level    protocol.Level `json:"level"`
	Classes  []string       `json:"classes"` // none: all
	NotAfter uint64         `json:"not_after_ms"`
	Begun    bool           `json:"begun"`
}

// Registry is who there is: what a gateway tells of organisations and their people.
type Registry struct {
	Members       []api.Member
	Practitioners []api.Practitioner
	Partial       []string // members whose practitioners could not be asked for
}

// WhoCanRead puts to the contracts of a verified journal what everybody in the registry could ask now (UTC ms). names gives words to what
// the contracts speak of.
func WhoCanRead(r *proof.Report, h protocol.Handle, in Registry, now uint64, names consent.Names) (*CanRead, error) {
	s := r.Standing()
	out := &CanRead{Time: now, Proof: ProofOf(r), Closed: s.Closed, Rules: []Rule{}, People: []Person{}, Delegates: []StandsIn{}, Devices: len(s.Devices), Card: s.Card,
		Guardians: s.Guardians, Partial: list(in.Partial)}
	contracts, err := out.rules(s, now, names)
	if err != nil || s.Closed {
		return out, err
	}
	classes := classesOf(h)
	out.delegates(s, classes, now)
	shelves := shelve(s, h, now)
	groups := make([][]consent.Resource, len(shelves))
	for i, one := range shelves {
		groups[i] = one.resources
	}
	for _, who := range in.principals(now) {
		var opens []Opens
		plain := false
		for i, o := range consent.Openings(contracts, who.principal, now, groups) {
			if o.Opens == 0 {
				continue
			}
			plain = plain || len(o.Purposes) > 0
			of := shelves[i].records
			opens = append(opens, Opens{Class: shelves[i].class, Records: min(o.Opens, of), Of: of, Purposes: list(o.Purposes), Glass: o.Glass, Contracts: o.Contracts})
		}
		if len(opens) > 0 {
			out.People = append(out.People, Person{Recipient: who.Recipient, Opens: opens, Glass: !plain})
		}
	}
	slices.SortStableFunc(out.People, func(a, b Person) int {
		return cmp.Or(cmp.Compare(a.Recipient.Organisation, b.Recipient.Organisation), cmp.Compare(a.Recipient.Text(), b.Recipient.Text()))
	})
	return out, nil
}

// rules puts the contracts in force into words, and compiles all that stand.
func (c *CanRead) rules(s proof.Standing, now uint64, names consent.Names) (out []consent.Active, err error) {
	for _, k := range s.Contracts {
		compiled, err := consent.Compile(k.Terms.Policy)
		if err != nil {
			return nil, fmt.Errorf("rights: contract %s: %w", k.ID, err)
		}
		out = append(out, consent.Active{ID: k.ID, Policies: compiled, State: consent.StateActive, NotBefore: k.Terms.NotBefore, NotAfter: k.Terms.NotAfter,
			UsesMax: k.Terms.UsesMax, Uses: k.Uses, Within: k.Within})
		if now >= k.Terms.NotAfter || k.Terms.UsesMax > 0 && k.Uses >= k.Terms.UsesMax {
			continue // over, though the entry of its end is still to come, or used up
		}
		text, err := consent.Explain(k.Terms.Policy, consent.Terms{}, names)
		if err != nil {
			return nil, fmt.Errorf("rights: contract %s: %w", k.ID, err)
		}
		lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
		rule := Rule{ID: k.ID, Template: templateName(k.Terms.Template), Text: strings.Join(lines[:len(lines)-1], "\n"), Reads: compiled.Permits(consent.ActionRead),
			Begun: k.Terms.NotBefore <= now, NotBefore: k.Terms.NotBefore, NotAfter: k.Terms.NotAfter, Uses: k.Uses, UsesMax: k.Terms.UsesMax}
		if !k.By.IsZero() {
			rule.By = k.By.String()
		}
		c.Rules = append(c.Rules, rule)
	}
	return out, nil
}

func templateName(number uint8) string {
	for _, t := range consent.Templates() {
		if t.Number == number {
			return t.Name
		}
	}
	return "own terms"
}

func (c *CanRead) delegates(s proof.Standing, classes map[protocol.Label]string, now uint64) {
	for _, d := range s.Delegates {
		if now >= d.NotAfter {
			continue
		}
		one := StandsIn{Key: d.Key.String(), Level: d.Level, Classes: []string{}, NotAfter: d.NotAfter, Begun: d.NotBefore <= now}
		for _, l := range d.Labels {
			one.Classes = append(one.Classes, cmp.Or(classes[l], "class "+l.String()[:8]))
		}
		slices.Sort(one.Classes)
		c.Delegates = append(c.Delegates, one)
	}
}

func classesOf(h protocol.Handle) map[protocol.Label]string {
	out := map[protocol.Label]string{}
	for _, c := range fhir.Classes() {
		out[h.Label(string(c))] = string(c)
	}
	return out
}

// shelf is a class with its records. One without records has one that may come, as contracts judge by records.
type shelf struct {
	class     string
	resources []consent.Resource
	records   int
}

// shelve lays out the records by class, in the order of fhir.Classes; last, if there are any, those under labels that are no class.
func shelve(s proof.Standing, h protocol.Handle, now uint64) (out []shelf) {
	classes := classesOf(h)
	by := map[string][]consent.Resource{}
	for _, r := range s.Records {
		class := cmp.Or(classes[r.Label], noClass)
		by[class] = append(by[class], consent.Resource{Journal: h.Journal, Label: r.Label, Record: r.As, Author: r.Author, Recorded: r.Recorded})
	}
	for _, c := range fhir.Classes() {
		one := shelf{class: string(c), resources: by[string(c)], records: len(by[string(c)])}
		if one.records == 0 {
			one.resources = []consent.Resource{{Journal: h.Journal, Label: h.Label(one.class), Recorded: now}}
		}
		out = append(out, one)
	}
	if odd := by[noClass]; len(odd) > 0 {
		out = append(out, shelf{class: noClass, resources: odd, records: len(odd)})
	}
	return out
}

// noClass stands for the labels that a member made up: contracts over all classes let such records be read.
const noClass = "records of no known class"

type asker struct {
	Recipient
	principal consent.Principal
}

// principals are the organisations and those of their practitioners whose credential is valid.
func (r Registry) principals(now uint64) (out []asker) {
	names := map[protocol.MemberID]string{}
	for _, m := range r.Members {
		if m.Removed {
			continue
		}
		names[m.ID] = oneLine(m.Name)
		out = append(out, asker{Recipient{Kind: protocol.ActorMember, ID: m.ID.String(), Organisation: names[m.ID]},
			consent.Principal{Member: m.ID, Credential: consent.CredentialActive}})
	}
	for _, p := range r.Practitioners {
		organisation, ok := names[p.Member]
		if !ok || p.Status != "active" || now >= p.ValidUntil {
			continue
		}
		who := Recipient{Kind: protocol.ActorPractitioner, ID: p.ID.String(), Role: p.Role.String(), Organisation: organisation}
		if p.Name != nil && p.Name.Commitment() == p.Commitment {
			who.Name = oneLine(p.Name.Name)
		}
		out = append(out, asker{who, consent.Principal{Practitioner: p.ID, Member: p.Member, Role: p.Role, Credential: consent.CredentialActive}})
	}
	return out
}
