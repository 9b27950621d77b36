package proof

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// LogOptions are the words that the log needs and the ledger does not have. All are optional; ids stand where words are missing.
type LogOptions struct {
	Members       map[protocol.MemberID]string             // names of organisations
	Practitioners map[protocol.PractitionerID]Practitioner // names of people
	Handles       []protocol.Handle                        // of the journal, all label epochs: they turn labels into classes
	Classes       []string                                 // slugs of all classes
	Templates     map[uint8]string                         // names of contract templates
	Records       []api.Record                             // records added before the first entry shown
}

// Practitioner is what is known of somebody who signs.
type Practitioner struct {
	Name       string
	Speciality string
	Role       protocol.Role
	Member     protocol.MemberID
}

// LogLine is one entry of a journal in words, for people and programs.
type LogLine struct {
	Seq       uint64                `json:"seq"`
	Index     uint64                `json:"index"`
	Time      uint64                `json:"time_ms"`
	Type      protocol.ActionType   `json:"type"`
	Who       LogWho                `json:"who"`
	What      []string              `json:"what,omitempty"`    // classes asked for, opened or written; a label in hexadecimal where no word is known
	Records   []protocol.RecordID   `json:"records,omitempty"` // added, or opened by the access
	Purpose   string                `json:"purpose,omitempty"`
	Permitted *bool                 `json:"permitted,omitempty"` // of an access request
	Reason    string                `json:"reason,omitempty"`    // why refused
	Advice    string                `json:"advice,omitempty"`
	Access    string                `json:"access,omitempty"` // id of the access
	Deadline  uint64                `json:"deadline_ms,omitempty"`
	Glass     bool                  `json:"break_glass,omitempty"` // of an access that breaks the glass
	Verdict   string                `json:"verdict,omitempty"`     // of a review
	Withdrawn bool                  `json:"withdrawn,omitempty"`   // of an emergency card: there is none any more
	Contracts []protocol.ContractID `json:"contracts,omitempty"`   // granted, ended or revoked; of an access: those that decided
	Contract  *LogContract          `json:"contract,omitempty"`
	Text      string                `json:"text"` // the whole in a sentence
}

// LogWho is who signed. The ledger's own events have the kind "ledger".
type LogWho struct {
	Kind       protocol.ActorKind `json:"kind"`
	ID         string             `json:"id,omitempty"`
	Key        string             `json:"key,omitempty"` // of a delegate, whose id is the journal's
	Name       string             `json:"name,omitempty"`
	Role       string             `json:"role,omitempty"`
	Member     string             `json:"member,omitempty"` // the organisation's name
	MemberID   string             `json:"member_id,omitempty"`
	Speciality string             `json:"speciality,omitempty"`
}

// LogContract is what a grant says.
type LogContract struct {
	Template  string `json:"template"`
	NotBefore uint64 `json:"not_before_ms"`
	NotAfter  uint64 `json:"not_after_ms"`
	UsesMax   uint32 `json:"uses_max"`
	Policy    string `json:"policy"`
}

// Log puts entries into words, in the journal's order. The error wraps protocol.ErrEncoding and names the entry.
func Log(entries []api.Entry, o LogOptions) ([]LogLine, error) {
	type numbered struct {
		api.Entry
		entry protocol.Entry
	}
	list := make([]numbered, len(entries))
	for i, e := range entries {
		list[i].Entry = e
		if err := protocol.Decode(e.Raw, &list[i].entry); err != nil {
			return nil, fmt.Errorf("log entry %d: %w", e.Index, err)
		}
	}
	slices.SortStableFunc(list, func(a, b numbered) int { return cmp.Compare(a.Index, b.Index) })
	w := newWording(o)
	lines := make([]LogLine, len(list))
	for i, e := range list {
		line, err := w.line(e.Entry, e.entry)
		if err != nil {
			return nil, fmt.Errorf("log entry %d: %w", e.Index, err)
		}
		lines[i] = line
	}
	return lines, nil
}

// Log puts the journal of a verified export into words, with the names that the export proves. If the report is not OK, so are the words.
func (r *Report) Log(o LogOptions) ([]LogLine, error) {
	if r.content == nil {
		return []LogLine{}, nil
	}
	members := map[protocol.MemberID]string{}
	for id, row := range r.content.members {
		members[id] = row.Member.Name
	}
	people := map[protocol.PractitionerID]Practitioner{}
	for id, p := range r.content.people {
		known := Practitioner{Role: p.row.Role, Member: p.row.Member}
		if p.name != nil {
			known.Name, known.Speciality = p.name.Name, p.name.Speciality
		}
		people[id] = known
	}
	o.Members, o.Practitioners = members, people
	return Log(r.content.proof.Journal.Entries, o)
}

// wording remembers, while going through a journal, what later entries refer to.
type wording struct {
	LogOptions
	classes   map[protocol.Label]string
	labels    map[protocol.RecordID]protocol.Label
	contracts map[protocol.ContractID]string // template
}

func newWording(o LogOptions) *wording {
	w := &wording{LogOptions: o, classes: map[protocol.Label]string{}, labels: map[protocol.RecordID]protocol.Label{},
		contracts: map[protocol.ContractID]string{}}
	for _, h := range o.Handles {
		for _, class := range o.Classes {
			w.classes[h.Label(class)] = class
		}
	}
	for _, r := range o.Records {
		w.labels[r.ID] = r.Label
	}
	return w
}

func (w *wording) line(e api.Entry, entry protocol.Entry) (LogLine, error) {
	l := LogLine{Seq: entry.Seq, Index: e.Index, Time: entry.Time, Type: entry.Type, Who: w.who(entry.Signer, e.Who)}
	err := w.describe(&l, entry)
	return l, err
}

// who names the signer: by what the caller knows, else by what the gateway said.
func (w *wording) who(s protocol.Signer, told *api.Who) LogWho {
	out := LogWho{Kind: s.Kind}
	if s.Kind == protocol.ActorLedger {
		return out
	}
	out.ID = fmt.Sprintf("%x", s.ID)
	switch s.Kind {
	case protocol.ActorMember:
		out.MemberID = out.ID
		out.Member = w.Members[protocol.MemberID(s.ID)]
		out.Name = out.Member
	case protocol.ActorDelegate:
		out.Key = s.Key.String()
	case protocol.ActorPractitioner:
		if p, ok := w.Practitioners[protocol.PractitionerID(s.ID)]; ok {
			out.Name, out.Speciality, out.Role = p.Name, p.Speciality, p.Role.String()
			out.MemberID, out.Member = p.Member.String(), w.Members[p.Member]
		}
	}
	if told != nil {
		out.Name, out.Role, out.Member = cmp.Or(out.Name, told.Name), cmp.Or(out.Role, told.Role), cmp.Or(out.Member, told.Member)
	}
	for _, s := range []*string{&out.Name, &out.Role, &out.Member, &out.Speciality} {
		*s = printable(*s)
	}
	return out
}

// describe fills in what the action is about, and the sentence.
func (w *wording) describe(l *LogLine, e protocol.Entry) error {
	if ok, err := w.people(l, e); ok {
		return err
	}
	switch e.Type {
	case protocol.TypeOpenJournal:
		l.Text = "The journal was opened"
	case protocol.TypeAddRecord:
		return w.added(l, e)
	case protocol.TypeGrant:
		return w.granted(l, e)
	case protocol.TypeRevoke:
		var a protocol.Revoke
		if err := protocol.Decode(e.Action, &a); err != nil {
			return err
		}
		l.Contracts = []protocol.ContractID{a.Contract}
		l.Text = fmt.Sprintf("%s withdrew %s", w.name(l.Who), w.contract(a.Contract))
	case protocol.TypeRequestAccess:
		return w.access(l, e)
	case protocol.EventContractEnded, protocol.EventContractUsedUp:
		var ev protocol.ContractEvent
		if err := protocol.Decode(e.Action, &ev); err != nil {
			return err
		}
		l.Contracts = []protocol.ContractID{ev.Contract}
		how := "ended by itself: its time was over"
		if e.Type == protocol.EventContractUsedUp {
			how = "ended by itself: its uses were used up"
		}
		l.Text = fmt.Sprintf("%s %s", capital(w.contract(ev.Contract)), how)
	default:
		if l.Text = handsText(e); l.Text != "" {
			return nil
		}
		if told, err := w.forgotten(l, e); told || err != nil {
			return err
		}
		l.Text = fmt.Sprintf("%s: %s", w.name(l.Who), e.Type)
	}
	return nil
}

func (w *wording) added(l *LogLine, e protocol.Entry) error {
	var a protocol.AddRecord
	if err := protocol.Decode(e.Action, &a); err != nil {
		return err
	}
	w.labels[a.Record] = a.Label
	l.Records, l.What = []protocol.RecordID{a.Record}, []string{w.class(a.Label)}
	own := ""
	if e.Signer.Kind.ForPatient() {
		own = "the patient's own "
	}
	switch l.Text = fmt.Sprintf("%s added a record of %s%s", w.name(l.Who), own, l.What[0]); a.Relation {
	case protocol.RelationSupersedes:
		l.Text = fmt.Sprintf("%s added a new version of a record of %s%s", w.name(l.Who), own, l.What[0])
	case protocol.RelationStatement:
		l.Text = fmt.Sprintf("%s made a statement about a record of %s", w.name(l.Who), l.What[0])
	}
	return nil
}

func (w *wording) granted(l *LogLine, e protocol.Entry) error {
	var a protocol.Grant
	if err := protocol.Decode(e.Action, &a); err != nil {
		return err
	}
	id := protocol.DerivedContractID(e.Cause, int(e.Index))
	template := w.Templates[a.Template]
	switch {
	case template == "" && a.Template == 0:
		template = "own terms"
	case template == "":
		template = fmt.Sprintf("template %d", a.Template)
	}
	w.contracts[id] = template
	l.Contracts = []protocol.ContractID{id}
	l.Contract = &LogContract{Template: template, NotBefore: a.NotBefore, NotAfter: a.NotAfter, UsesMax: a.UsesMax, Policy: string(a.Policy)}
	l.Text = fmt.Sprintf("%s granted %s until %s", w.name(l.Who), w.contract(id), timeText(a.NotAfter))
	if a.UsesMax > 0 {
		l.Text += fmt.Sprintf(", for %d %s", a.UsesMax, plural(int(a.UsesMax), "use"))
	}
	return nil
}

func (w *wording) access(l *LogLine, e protocol.Entry) error {
	var a protocol.RequestAccess
	if err := protocol.Decode(e.Action, &a); err != nil {
		return err
	}
	var out protocol.AccessOutcome
	if err := protocol.Decode(e.Outcome, &out); err != nil {
		return err
	}
	l.Access = protocol.DerivedAccessID(e.Cause, int(e.Index)).String()
	l.Purpose, l.Permitted, l.Contracts, l.Records = a.Purpose.String(), &out.Permitted, out.Contracts, out.Records
	l.What, l.Glass = w.asked(a), !a.Reason.IsZero()
	if out.Permitted {
		l.Deadline = out.Deadline
		l.Text = fmt.Sprintf("%s opened %s for %s: %d %s", w.name(l.Who), strings.Join(l.What, ", "), l.Purpose, len(out.Records), plural(len(out.Records), "record"))
		return nil
	}
	l.Reason, l.Advice = out.Reason.String(), out.Reason.Advice()
	l.Text = fmt.Sprintf("%s asked for %s for %s and was refused: %s", w.name(l.Who), strings.Join(l.What, ", "), l.Purpose, l.Reason)
	return nil
}

// asked lists the classes that a request names, by itself or by its records, each once, in order.
func (w *wording) asked(a protocol.RequestAccess) (what []string) {
	for _, l := range a.Labels {
		what = append(what, w.class(l))
	}
	for _, r := range a.Records {
		if l, ok := w.labels[r]; ok {
			what = append(what, w.class(l))
		} else {
			what = append(what, "record "+r.String())
		}
	}
	slices.Sort(what)
	return slices.Compact(what)
}

func (w *wording) class(l protocol.Label) string {
	if c, ok := w.classes[l]; ok {
		return c
	}
	return "class " + l.String()
}

func (w *wording) contract(id protocol.ContractID) string {
	if t, ok := w.contracts[id]; ok {
		return fmt.Sprintf("contract %s (%s)", id.String()[:8], t)
	}
	return "contract " + id.String()[:8]
}

// name is the signer in a sentence.
func (w *wording) name(who LogWho) string {
	switch who.Kind {
	case protocol.ActorLedger:
		return "The ledger"
	case protocol.ActorDelegate:
		return "Delegate " + short(who.Key) + " for the patient"
	case protocol.ActorPatient:
		return "The patient"
	case protocol.ActorGuardian:
		return "A guardian"
	case protocol.ActorMember:
		return cmp.Or(who.Name, "Member "+short(who.ID))
	}
	name := cmp.Or(who.Name, "Practitioner "+short(who.ID))
	var about []string
	for _, s := range []string{who.Role, who.Member} {
		if s != "" {
			about = append(about, s)
		}
	}
	if len(about) == 0 {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, strings.Join(about, ", "))
}

func short(id string) string { return id[:min(8, len(id))] + "…" }

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
