package consent

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

const dayMillis = 24 * 3600_000

// Template is a contract that people know by name. Its defaults are what a wallet proposes; the window and the limit of uses that
// count are those of the signed grant.
type Template struct {
	Name         string
	Number       uint8  // as protocol.Grant.Template has it; 0 is a patient's own Cedar
	Title        string // a few words
	Summary      string // what it means, for somebody who is frightened
	Actions      []Action
	Purposes     []protocol.Purpose // for reading and sharing; writing asks for no purpose
	WindowMillis uint64             // default
	UsesMax      uint32             // default; 0: no limit
	Roles        []protocol.Role    // whom it is for, at any member; none: whoever the grantee names
	NeedsChoice  bool               // classes or single records must be named: never the whole journal
}

// CustomNumber is the template number of a patient's own Cedar.
const CustomNumber = 0

// templates, in the order of their numbers. Numbers stand in signed grants and never change meaning.
var templates = []Template{
	{
		Name: "emergency-24h", Number: 1, Title: "Emergency, 24 hours",
		Summary: "The people treating you now can read your records for 24 hours, to keep you safe. It ends by itself. " +
			"Every look is written down and you can see it. You can stop it at any moment.",
		Actions:      []Action{ActionRead},
		Purposes:     []protocol.Purpose{protocol.PurposeTreat, protocol.PurposeEmergency, protocol.PurposeBreakGlass},
		WindowMillis: dayMillis,
	},
	{
		Name: "care-team", Number: 2, Title: "My care team",
		Summary: "The people who look after you can read your records and add to them, for a year. " +
			"You choose who, and what stays closed. You see every look and can stop it at any moment.",
		Actions:      []Action{ActionRead, ActionWrite},
		Purposes:     []protocol.Purpose{protocol.PurposeTreat, protocol.PurposeEmergency, protocol.PurposeCareManagement},
		WindowMillis: 365 * dayMillis,
	},
	{
		Name: "second-opinion", Number: 3, Title: "A second opinion",
		Summary: "Another doctor can read what you choose, to tell you what they think: five times at most, within 30 days. " +
			"They cannot add or change anything.",
		Actions:      []Action{ActionRead},
		Purposes:     []protocol.Purpose{protocol.PurposeTreat},
		WindowMillis: 30 * dayMillis, UsesMax: 5,
	},
	{
		Name: "insurer-claim", Number: 4, Title: "An insurance claim",
		Summary: "Your insurer can read only what you choose, and only to settle a claim: three times at most, within 30 days. " +
			"Nothing else becomes visible to them.",
		Actions:      []Action{ActionRead},
		Purposes:     []protocol.Purpose{protocol.PurposePayment},
		WindowMillis: 30 * dayMillis, UsesMax: 3, NeedsChoice: true,
	},
	{
		Name: "research", Number: 5, Title: "Research",
		Summary: "Researchers can read only what you choose, for medical research, for a year. " +
			"It is your free choice, your care does not depend on it, and you can stop it at any moment.",
		Actions:      []Action{ActionRead},
		Purposes:     []protocol.Purpose{protocol.PurposeResearch, protocol.PurposeClinicalTrial},
		WindowMillis: 365 * dayMillis, NeedsChoice: true,
	},
	{
		Name: "caregiver", Number: 6, Title: "Somebody who cares for me",
		Summary: "Somebody you trust can read your records, add to them, and pass on what others need to help you, for half a year. " +
			"You see everything they do and can stop it at any moment.",
		Actions: []Action{ActionRead, ActionWrite, ActionShare},
		Purposes: []protocol.Purpose{protocol.PurposePatientRequest, protocol.PurposeCareManagement, protocol.PurposeFamilyRequest,
			protocol.PurposePowerOfAttorney},
		WindowMillis: 180 * dayMillis,
	},
	{
		Name: "contributor", Number: 7, Title: "May add records",
		Summary: "This organisation can put new records into your journal, for a year. " +
			"It cannot read what others wrote. You decide who reads what it adds.",
		Actions:      []Action{ActionWrite},
		WindowMillis: 365 * dayMillis,
	},
	{
		Name: "emergency-card", Number: 8, Title: "If I cannot speak",
		Summary: "In an emergency, emergency physicians and paramedics can read what you choose here, though you cannot be asked: for 24 hours at " +
			"most, with a reason that you can read, and somebody else there must review it. You are told at once.",
		Actions:      []Action{ActionRead},
		Purposes:     []protocol.Purpose{protocol.PurposeEmergency, protocol.PurposeBreakGlass},
		Roles:        []protocol.Role{protocol.RoleEmergencyPhysician, protocol.RoleParamedic},
		WindowMillis: 5 * 365 * dayMillis, NeedsChoice: true,
	},
}

// Templates lists them all, in the order of their numbers.
func Templates() []Template {
	out := slices.Clone(templates)
	for i := range out {
		out[i].Actions, out[i].Purposes, out[i].Roles = slices.Clone(out[i].Actions), slices.Clone(out[i].Purposes), slices.Clone(out[i].Roles)
	}
	return out
}

// TemplateNamed finds a template.
func TemplateNamed(name string) (Template, bool) {
	i := slices.IndexFunc(templates, func(t Template) bool { return t.Name == name })
	if i < 0 {
		return Template{}, false
	}
	return Templates()[i], true
}
