package synth

import (
	"strconv"
	"strings"
)

// kindOf says what an organisation does.
type kindOf int

const (
	practice kindOf = iota
	hospital
	laboratory
	pharmacy
	insurer
	imagingCentre
	dentist
	mentalClinic
	addictionClinic
	hivClinic
)

// organisation is one of the world, the same in every history.
type organisation struct {
	name    string
	kind    kindOf
	street  string
	phone   string
	typ     string // organization-type code
	npi     string
	doctors []doctor
}

type doctor struct {
	given, family, gender string
	specialty             concept
	npi                   string
	org                   *organisation
}

const (
	systemOrgType   = "http://terminology.hl7.org/CodeSystem/organization-type"
	systemNPI       = "http://hl7.org/fhir/sid/us-npi"
	systemSynth     = "https://anamnesis.example/synth"
	systemSpecialty = snomed
)

var world = buildWorld()

func buildWorld() []*organisation {
	general := concept{snomed, "394814009", "General practice"}
	internal := concept{snomed, "419192003", "Internal medicine"}
	surgery := concept{snomed, "394609007", "Surgery-general"}
	emergency := concept{snomed, "773568002", "Emergency medicine"}
	orgs := []*organisation{
		{name: "Maple Street Family Practice", kind: practice, street: "12 Maple Street",
			doctors: team(general, "Hannah Lindqvist female", "Tobias Okafor male")},
		{name: "Harbour View Medical Group", kind: practice, street: "4 Quay Road",
			doctors: team(general, "Priya Raman female", "Ewan McAllister male")},
		{name: "Old Mill Community Health", kind: practice, street: "81 Mill Lane",
			doctors: team(general, "Lucía Ferrer female", "Daniel Achterberg male")},
		{name: "St Brigid General Hospital", kind: hospital, street: "1 Hospital Hill", doctors: append(
			team(internal, "Miriam Goldfarb female", "Kwame Asante male"),
			team(surgery, "Ingrid Solheim female")...)},
		{name: "Northgate University Hospital", kind: hospital, street: "200 Northgate Avenue", doctors: append(
			team(emergency, "Rafael Moura male", "Aiko Tanabe female"),
			team(surgery, "Peter Vandermeer male")...)},
		{name: "Clearwater Diagnostics Laboratory", kind: laboratory, street: "33 Science Park",
			doctors: team(concept{snomed, "394915009", "General pathology"}, "Olga Petrenko female")},
		{name: "Summit Clinical Laboratories", kind: laboratory, street: "7 Summit Way",
			doctors: team(concept{snomed, "394915009", "General pathology"}, "Hugo Brandt male")},
		{name: "Green Cross Pharmacy", kind: pharmacy, street: "19 Market Square",
			doctors: team(concept{snomed, "46255001", "Pharmacist"}, "Salma Haddad female")},
		{name: "Riverside Pharmacy", kind: pharmacy, street: "2 Riverside",
			doctors: team(concept{snomed, "46255001", "Pharmacist"}, "Jonas Weber male")},
		{name: "Commonwealth Mutual Health Insurance", kind: insurer, street: "500 Commerce Plaza"},
		{name: "Beacon Health Plan", kind: insurer, street: "88 Beacon Tower"},
		{name: "Lakeside Imaging Centre", kind: imagingCentre, street: "15 Lakeside Drive",
			doctors: team(concept{snomed, "394914008", "Radiology"}, "Nadia Ivanova female", "Marcus Reid male")},
		{name: "Bright Smile Dental Care", kind: dentist, street: "27 Church Street",
			doctors: team(concept{snomed, "106289002", "Dentist"}, "Chloé Marchand female")},
		{name: "Willow House Mental Health Clinic", kind: mentalClinic, street: "9 Willow Close",
			doctors: team(concept{snomed, "394587001", "Psychiatry"}, "Samuel Adeyemi male", "Greta Hoffmann female")},
		{name: "New Path Recovery Programme", kind: addictionClinic, street: "61 Station Road",
			doctors: team(concept{snomed, "394587001", "Psychiatry"}, "Monica Castellano female")},
		{name: "Meridian Infectious Disease Clinic", kind: hivClinic, street: "3 Meridian Square",
			doctors: team(concept{snomed, "394807007", "Infectious diseases"}, "Arjun Mehta male")},
	}
	for i, o := range orgs {
		number := strconv.Itoa(1000001 + 7*i)
		o.npi, o.phone, o.typ = "19"+number+"0", "+1-555-01"+strconv.Itoa(10+i), "prov"
		if o.kind == insurer {
			o.typ = "ins"
		}
		for j := range o.doctors {
			o.doctors[j].org = o
			o.doctors[j].npi = "18" + number + strconv.Itoa(j+1)
		}
	}
	return orgs
}

// team makes doctors of one specialty from "Given Family gender".
func team(specialty concept, people ...string) (out []doctor) {
	for _, p := range people {
		given, rest, _ := strings.Cut(p, " ")
		family, gender, _ := strings.Cut(rest, " ")
		out = append(out, doctor{given: given, family: family, gender: gender, specialty: specialty})
	}
	return out
}

// ofKind are the world's organisations of a kind.
func ofKind(k kindOf) (out []*organisation) {
	for _, o := range world {
		if o.kind == k {
			out = append(out, o)
		}
	}
	return out
}

func (o *organisation) id() string { return namedUUID("organisation/" + o.name) }
func (o *organisation) ref() object {
	return object{"reference", "urn:uuid:" + o.id(), "display", o.name}
}

func (d doctor) id() string       { return namedUUID("practitioner/" + d.npi) }
func (d doctor) fullName() string { return "Dr. " + d.given + " " + d.family }
func (d doctor) ref() object {
	return object{"reference", "urn:uuid:" + d.id(), "display", d.fullName()}
}

func (o *organisation) address() list {
	return list{object{"use", "work", "line", list{o.street}, "city", "Ashford Falls", "state", "MA", "postalCode", "01999", "country", "US"}}
}

// resources are the organisation and where it is.
func (o *organisation) resources() []object {
	typ := map[string]string{"prov": "Healthcare Provider", "ins": "Insurance Company"}[o.typ]
	return []object{
		{"resourceType", "Organization", "id", o.id(),
			"identifier", list{object{"system", systemNPI, "value", o.npi}},
			"active", true,
			"type", list{concept{systemOrgType, o.typ, typ}.json()},
			"name", o.name,
			"telecom", list{object{"system", "phone", "value", o.phone, "use", "work"}},
			"address", o.address()},
		{"resourceType", "Location", "id", namedUUID("location/" + o.name),
			"identifier", list{object{"system", systemSynth + "/location", "value", o.npi}},
			"status", "active", "name", o.name, "mode", "instance",
			"address", o.address()[0],
			"managingOrganization", o.ref()},
	}
}

// resources are the practitioner and the role at the organisation.
func (d doctor) resources() []object {
	return []object{
		{"resourceType", "Practitioner", "id", d.id(),
			"identifier", list{object{"system", systemNPI, "value", d.npi}},
			"active", true,
			"name", list{object{"use", "official", "family", d.family, "given", list{d.given}, "prefix", list{"Dr."}}},
			"telecom", list{object{"system", "phone", "value", d.org.phone, "use", "work"}},
			"gender", d.gender},
		{"resourceType", "PractitionerRole", "id", namedUUID("role/" + d.npi),
			"identifier", list{object{"system", systemSynth + "/role", "value", d.npi}},
			"active", true,
			"practitioner", d.ref(),
			"organization", d.org.ref(),
			"specialty", list{d.specialty.json()}},
	}
}
