// Package rights answers what the law lets patients ask of whoever keeps their records, each in one go: who was told what (an accounting of
// disclosures: 45 CFR 164.528; GDPR 15; EHDS 9), who has read what, who can read what now and by which contract, and everything to take
// away (GDPR 20; 45 CFR 164.524) in a form that opens without this program.
//
//	proof.Report ──► Log ──► Account ──► table, CSV, PDF
//	            └──► Standing + registry ──► WhoCanRead
//	records, proof, all of the above ──► Pack: one ZIP file
//
// It asks no network and reads no clock. What it says is as true and complete as the report is: it starts from the entries of a verified
// journal, not from what a gateway tells. Names of organisations are proven; names of people are proven where they open the commitment in
// the registry, and otherwise left out.
//
// Everything that comes from others and goes into a spreadsheet, a page or a PDF is made harmless for it first.
package rights

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// AccountingMonths is how far back 45 CFR 164.528(a)(1) lets one ask: six years. Here it is what is shown unless more is asked for; EHDS 9
// wants three years at least.
const AccountingMonths = 6 * 12

// Accounting is an accounting of disclosures: every request to read, permitted or refused, in a period. The law (45 CFR 164.528(a)(1)) lets
// what was done for treatment, payment and operations be left out; nothing is left out here.
type Accounting struct {
	Network     string             `json:"network"`
	Journal     protocol.JournalID `json:"journal"`
	Name        string             `json:"name,omitempty"` // what the patient calls the journal
	From        uint64             `json:"from_ms"`        // inclusive
	To          uint64             `json:"to_ms"`          // exclusive
	Proof       Proof              `json:"proof"`
	Disclosures []Disclosure       `json:"disclosures"` // what was opened, the earliest first
	Refused     []Disclosure       `json:"refused"`     // what was asked for and not opened
	Readers     []HasRead          `json:"readers"`     // who has read what: the disclosures by recipient
}

// Proof is what an accounting rests on.
type Proof struct {
	Holds   bool          `json:"holds"`   // the journal's log is proven true and complete
	Entries int           `json:"entries"` // of the journal, all of which were checked
	Size    uint64        `json:"size"`    // of the network's log at the checkpoint
	Root    protocol.Hash `json:"root"`
	Time    uint64        `json:"time_ms"` // when a quorum of nodes cosigned it
	Nodes   int           `json:"nodes"`   // that cosigned
}

// Disclosure is one request to read.
type Disclosure struct {
	Entry     uint64                `json:"entry"` // index in the log: its receipt proves it by itself
	Time      uint64                `json:"time_ms"`
	Recipient Recipient             `json:"recipient"`
	Purpose   string                `json:"purpose"` // HL7 v3-ActReason
	Why       string                `json:"why"`     // the same in words
	Classes   []string              `json:"classes"` // asked for; the class of a record that was named
	Records   []protocol.RecordID   `json:"records"` // that were opened; none of a refusal
	Basis     string                `json:"basis"`   // by what right, or why refused
	Contracts []protocol.ContractID `json:"contracts"`
	Glass     bool                  `json:"break_glass,omitempty"`
	Review    string                `json:"review,omitempty"` // of breaking the glass: justified, unjustified, missing, or pending
}

// Recipient is who asked.
type Recipient struct {
	Kind         protocol.ActorKind `json:"kind"`
	ID           string             `json:"id"`             // practitioner's or member's id; of a delegate, the key
	Name         string             `json:"name,omitempty"` // as proven; empty: not told
	Role         string             `json:"role,omitempty"`
	Organisation string             `json:"organisation,omitempty"`
}

// Text names the recipient for people.
func (r Recipient) Text() string {
	switch r.Kind {
	case protocol.ActorPatient:
		return "You"
	case protocol.ActorDelegate:
		return "Your delegate " + r.ID[:min(8, len(r.ID))]
	case protocol.ActorMember:
		return cmp.Or(r.Organisation, "Organisation "+r.ID[:min(8, len(r.ID))])
	case protocol.ActorLedger, protocol.ActorPractitioner, protocol.ActorGuardian:
	}
	return cmp.Or(r.Name, "Practitioner "+r.ID[:min(8, len(r.ID))])
}

// HasRead is what one recipient has read in the period.
type HasRead struct {
	Recipient Recipient `json:"recipient"`
	Times     int       `json:"times"`
	Records   int       `json:"records"` // different ones
	Classes   []string  `json:"classes"`
	Purposes  []string  `json:"purposes"`
	First     uint64    `json:"first_ms"`
	Last      uint64    `json:"last_ms"`
	Refused   int       `json:"refused"` // times that the same one asked in vain
}

// Period is the time that an accounting made now covers when nothing else was asked for.
func Period(now uint64) (from, to uint64) {
	at := time.UnixMilli(int64(now)).UTC()
	return uint64(max(0, at.AddDate(0, -AccountingMonths, 0).UnixMilli())), now + 1
}

// ProofOf is what a report says about what it proves.
func ProofOf(r *proof.Report) Proof {
	return Proof{Holds: r.OK, Entries: r.Counts.Entries, Size: r.Checkpoint.Size, Root: r.Checkpoint.Root, Time: r.Checkpoint.Time, Nodes: r.Checkpoint.Have}
}

// Account makes the accounting of a journal from its log in words (Report.Log).
func Account(r *proof.Report, lines []proof.LogLine, name string, from, to uint64) *Accounting {
	a := &Accounting{Network: r.Chain, Journal: r.Journal, Name: name, From: from, To: to, Proof: ProofOf(r), Disclosures: []Disclosure{}, Refused: []Disclosure{},
		Readers: []HasRead{}}
	reviews := reviewsOf(lines)
	templates := map[protocol.ContractID]string{}
	for i, l := range lines {
		if l.Contract != nil && len(l.Contracts) == 1 {
			templates[l.Contracts[0]] = l.Contract.Template
		}
		if l.Permitted == nil || l.Time < from || l.Time >= to {
			continue
		}
		d := disclosure(l, templates)
		if l.Glass {
			d.Review = reviews[i]
		}
		if *l.Permitted {
			a.Disclosures = append(a.Disclosures, d)
		} else {
			a.Refused = append(a.Refused, d)
		}
	}
	a.Readers = readersOf(a.Disclosures, a.Refused)
	return a
}

func disclosure(l proof.LogLine, templates map[protocol.ContractID]string) Disclosure {
	d := Disclosure{Entry: l.Index, Time: l.Time, Purpose: l.Purpose, Why: why(l.Purpose), Classes: list(l.What), Records: list(l.Records), Contracts: list(l.Contracts), Glass: l.Glass,
		Recipient: Recipient{Kind: l.Who.Kind, ID: l.Who.ID, Name: l.Who.Name, Role: l.Who.Role, Organisation: l.Who.Member}}
	switch l.Who.Kind {
	case protocol.ActorPatient:
		d.Recipient.ID, d.Basis = "", "your own journal"
	case protocol.ActorDelegate:
		d.Recipient.ID, d.Basis = l.Who.Key, "your delegation"
	case protocol.ActorMember:
		d.Recipient.Name = ""
		fallthrough
	default:
		var by []string
		for _, id := range l.Contracts {
			by = append(by, strings.TrimSpace(templates[id]+" "+id.String()[:8]))
		}
		d.Basis = "contract " + strings.Join(by, " and ")
		if l.Glass {
			d.Basis = "emergency, " + d.Basis
		}
	}
	if !*l.Permitted {
		d.Basis = "refused: " + l.Reason
	}
	return d
}

// reviewsOf says for each line that breaks the glass what became of the review of its session. A session is named by the access that opened
// it; the accesses of the same reader that follow belong to it.
func reviewsOf(lines []proof.LogLine) map[int]string {
	sessions := map[string][]int{} // by the access that opened it: its lines
	for _, l := range lines {
		if l.Type == protocol.EventBreakGlassOpened {
			sessions[l.Access] = nil
		}
	}
	current := map[string]string{} // by who broke the glass
	out := map[int]string{}
	for i, l := range lines {
		switch {
		case l.Type == protocol.TypeRequestAccess && l.Glass && *l.Permitted:
			if _, opens := sessions[l.Access]; opens {
				current[l.Who.ID] = l.Access
			}
			id := current[l.Who.ID]
			sessions[id] = append(sessions[id], i)
			out[i] = "pending"
		case l.Type == protocol.TypeReviewBreakGlass, l.Type == protocol.EventReviewMissed:
			for _, at := range sessions[l.Access] {
				out[at] = cmp.Or(l.Verdict, "missing")
			}
		}
	}
	return out
}

// readersOf adds up what each recipient has read.
func readersOf(opened, refused []Disclosure) []HasRead {
	type key struct {
		kind protocol.ActorKind
		id   string
	}
	at := map[key]int{}
	seen := map[key]map[protocol.RecordID]bool{}
	out := []HasRead{}
	find := func(d Disclosure) (*HasRead, key) {
		k := key{d.Recipient.Kind, d.Recipient.ID}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k], seen[k] = i, map[protocol.RecordID]bool{}
			out = append(out, HasRead{Recipient: d.Recipient, Classes: []string{}, Purposes: []string{}})
		}
		return &out[i], k
	}
	for _, d := range opened {
		h, k := find(d)
		h.Times++
		for _, r := range d.Records {
			seen[k][r] = true
		}
		h.Records = len(seen[k])
		h.Classes = union(h.Classes, d.Classes)
		h.Purposes = union(h.Purposes, []string{d.Purpose})
		if h.First == 0 {
			h.First = d.Time
		}
		h.Last = d.Time
	}
	for _, d := range refused {
		h, _ := find(d)
		h.Refused++
	}
	slices.SortStableFunc(out, func(a, b HasRead) int {
		return cmp.Or(cmp.Compare(b.Last, a.Last), cmp.Compare(a.Recipient.Text(), b.Recipient.Text()))
	})
	return out
}

func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// purposeWords are HL7 v3-ActReason's codes in words that a patient knows.
var purposeWords = map[protocol.Purpose]string{
	protocol.PurposeTreat: "treatment", protocol.PurposeEmergency: "emergency treatment", protocol.PurposeBreakGlass: "emergency without asking you",
	protocol.PurposePayment: "payment", protocol.PurposeOperations: "running the organisation", protocol.PurposeResearch: "research",
	protocol.PurposeClinicalTrial: "a clinical trial", protocol.PurposePatientRequest: "at your request", protocol.PurposePublicHealth: "public health",
	protocol.PurposeCareManagement: "care management", protocol.PurposeFamilyRequest: "at your family's request", protocol.PurposePowerOfAttorney: "by power of attorney",
}

// why puts a purpose into words.
func why(code string) string {
	var p protocol.Purpose
	if p.UnmarshalText([]byte(code)) != nil {
		return code
	}
	return purposeWords[p]
}
