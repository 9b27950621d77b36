package protocol

import "fmt"

// Role is what a practitioner does at a member. The numbers are consensus data and never change meaning; the names appear in Cedar.
type Role uint8

// The roles.
const (
	RolePhysician Role = 1 + iota
	RoleEmergencyPhysician
	RoleNurse
	RolePharmacist
	RoleLabTechnician
	RoleRadiographer
	RoleTherapist
	RoleDentist
	RoleMidwife
	RoleParamedic
	RoleClaimsExaminer
	RoleResearcher
	RoleAdministrator
	RoleCaregiver
	rolesEnd
)

var roleNames = [...]string{
	RolePhysician: "physician", RoleEmergencyPhysician: "emergency-physician", RoleNurse: "nurse", RolePharmacist: "pharmacist",
	RoleLabTechnician: "lab-technician", RoleRadiographer: "radiographer", RoleTherapist: "therapist", RoleDentist: "dentist",
	RoleMidwife: "midwife", RoleParamedic: "paramedic", RoleClaimsExaminer: "claims-examiner", RoleResearcher: "researcher",
	RoleAdministrator: "administrator", RoleCaregiver: "caregiver",
}

// Purpose is why data is asked for: a code of HL7 v3-ActReason (http://terminology.hl7.org/CodeSystem/v3-ActReason).
type Purpose uint8

// The purposes.
const (
	PurposeTreat           Purpose = 1 + iota // TREAT, treatment
	PurposeEmergency                          // ETREAT, emergency treatment
	PurposeBreakGlass                         // BTG, break the glass
	PurposePayment                            // HPAYMT, healthcare payment
	PurposeOperations                         // HOPERAT, healthcare operations
	PurposeResearch                           // HRESCH, healthcare research
	PurposeClinicalTrial                      // CLINTRCH, clinical trial research
	PurposePatientRequest                     // PATRQT, patient requested
	PurposePublicHealth                       // PUBHLTH, public health
	PurposeCareManagement                     // CAREMGT, care management
	PurposeFamilyRequest                      // FAMRQT, family requested
	PurposePowerOfAttorney                    // PWATRNY, power of attorney
	purposesEnd
)

var purposeNames = [...]string{
	PurposeTreat: "TREAT", PurposeEmergency: "ETREAT", PurposeBreakGlass: "BTG", PurposePayment: "HPAYMT", PurposeOperations: "HOPERAT",
	PurposeResearch: "HRESCH", PurposeClinicalTrial: "CLINTRCH", PurposePatientRequest: "PATRQT", PurposePublicHealth: "PUBHLTH",
	PurposeCareManagement: "CAREMGT", PurposeFamilyRequest: "FAMRQT", PurposePowerOfAttorney: "PWATRNY",
}

// MemberKind says what sort of organisation a member is.
type MemberKind uint8

// The kinds of member.
const (
	MemberHospital MemberKind = 1 + iota
	MemberPractice
	MemberLaboratory
	MemberPharmacy
	MemberInsurer
	MemberManufacturer
	MemberSponsor
	MemberRegulator
	MemberPatients
	memberKindsEnd
)

var memberKindNames = [...]string{
	MemberHospital: "hospital", MemberPractice: "practice", MemberLaboratory: "laboratory", MemberPharmacy: "pharmacy", MemberInsurer: "insurer",
	MemberManufacturer: "manufacturer", MemberSponsor: "sponsor", MemberRegulator: "regulator", MemberPatients: "patients-association",
}

// ActorKind says in what capacity somebody signs.
type ActorKind uint8

// The kinds of actor. ActorLedger never signs: it marks entries that the ledger writes by itself.
const (
	ActorLedger ActorKind = iota
	ActorMember
	ActorPractitioner
	ActorPatient
	ActorGuardian // may help to recover a journal, and nothing else; the signer's id is the journal's
	ActorDelegate // stands in for the patient; the signer's id is the journal's
	actorKindsEnd
)

var actorKindNames = [...]string{ActorLedger: "ledger", ActorMember: "member", ActorPractitioner: "practitioner", ActorPatient: "patient",
	ActorGuardian: "guardian", ActorDelegate: "delegate"}

// ForPatient tells whether who signs in this capacity speaks for the patient: the patient, or a delegate. What they write is the patient's own word,
// and no organisation's.
func (k ActorKind) ForPatient() bool { return k == ActorPatient || k == ActorDelegate }

func enumName[E ~uint8](names []string, e E) string {
	if int(e) < len(names) && names[e] != "" {
		return names[e]
	}
	return fmt.Sprintf("unknown(%d)", uint8(e))
}

func enumParse[E ~uint8](what string, names []string, text []byte) (E, error) {
	for i, n := range names {
		if n != "" && n == string(text) {
			return E(i), nil
		}
	}
	return 0, fmt.Errorf("%w: unknown %s", ErrBadID, what)
}

// String and friends are the codes as people and Cedar write them.
func (r Role) String() string       { return enumName(roleNames[:], r) }
func (p Purpose) String() string    { return enumName(purposeNames[:], p) }
func (k MemberKind) String() string { return enumName(memberKindNames[:], k) }
func (k ActorKind) String() string  { return enumName(actorKindNames[:], k) }

// Valid tells whether the number names something.
func (r Role) Valid() bool       { return r > 0 && r < rolesEnd }
func (p Purpose) Valid() bool    { return p > 0 && p < purposesEnd }
func (k MemberKind) Valid() bool { return k > 0 && k < memberKindsEnd }
func (k ActorKind) Valid() bool  { return k > 0 && k < actorKindsEnd && actorKindNames[k] != "" }

// Roles and Purposes list all, in their numbers' order.
func Roles() []Role       { return all[Role](rolesEnd) }
func Purposes() []Purpose { return all[Purpose](purposesEnd) }

func all[E ~uint8](end E) (out []E) {
	for e := E(1); e < end; e++ {
		out = append(out, e)
	}
	return out
}

// MarshalText and UnmarshalText use the names.
func (r Role) MarshalText() ([]byte, error)       { return []byte(r.String()), nil }
func (p Purpose) MarshalText() ([]byte, error)    { return []byte(p.String()), nil }
func (k MemberKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
func (k ActorKind) MarshalText() ([]byte, error)  { return []byte(k.String()), nil }

func (r *Role) UnmarshalText(b []byte) (err error) {
	*r, err = enumParse[Role]("role", roleNames[:], b)
	return err
}

func (p *Purpose) UnmarshalText(b []byte) (err error) {
	*p, err = enumParse[Purpose]("purpose", purposeNames[:], b)
	return err
}

func (k *MemberKind) UnmarshalText(b []byte) (err error) {
	*k, err = enumParse[MemberKind]("kind of member", memberKindNames[:], b)
	return err
}

func (k *ActorKind) UnmarshalText(b []byte) (err error) {
	*k, err = enumParse[ActorKind]("kind of actor", actorKindNames[:], b)
	return err
}
