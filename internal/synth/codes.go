package synth

// Code systems.
const (
	snomed = "http://snomed.info/sct"
	loinc  = "http://loinc.org"
	rxnorm = "http://www.nlm.nih.gov/research/umls/rxnorm"
	cvx    = "http://hl7.org/fhir/sid/cvx"
	dicom  = "http://dicom.nema.org/resources/ontology/DCM"
	ucum   = "http://unitsofmeasure.org"
	hl7    = "http://terminology.hl7.org/CodeSystem/"
)

// concept is one code with its display.
type concept struct{ system, code, display string }

func (c concept) coding() object {
	return object{"system", c.system, "code", c.code, "display", c.display}
}

func (c concept) json() object {
	return object{"coding", list{c.coding()}, "text", c.display}
}

func sct(code, display string) concept { return concept{snomed, code, display} }
func ln(code, display string) concept  { return concept{loinc, code, display} }
func rx(code, display string) concept  { return concept{rxnorm, code, display} }

// analyte is a laboratory test whose value drifts with the illness that worsens it.
type analyte struct {
	concept
	unit            string
	places          int // decimals
	normal, scatter int // in the last decimal
	low, high       int
	worse           map[string]int // illness key → change per year of illness, in the last decimal
	untilTreated    map[string]int // illness key → change once treated
}

var metabolicPanel = []analyte{
	{ln("2339-0", "Glucose [Mass/volume] in Blood"), "mg/dL", 0, 88, 9, 70, 99, map[string]int{"diabetes": 4, "prediabetes": 2}, map[string]int{"diabetes": -18}},
	{ln("6299-2", "Urea nitrogen [Mass/volume] in Blood"), "mg/dL", 0, 13, 4, 7, 20, map[string]int{"kidney": 2}, nil},
	{ln("38483-4", "Creatinine [Mass/volume] in Blood"), "mg/dL", 2, 85, 14, 60, 120, map[string]int{"kidney": 9, "diabetes": 1}, nil},
	{ln("33914-3", "Glomerular filtration rate/1.73 sq M.predicted"), "mL/min/{1.73_m2}", 0, 98, 9, 60, 120, map[string]int{"kidney": -6}, nil},
	{ln("2947-0", "Sodium [Moles/volume] in Blood"), "mmol/L", 0, 140, 3, 135, 145, nil, nil},
	{ln("6298-4", "Potassium [Moles/volume] in Blood"), "mmol/L", 1, 43, 4, 35, 51, nil, nil},
	{ln("2069-3", "Chloride [Moles/volume] in Blood"), "mmol/L", 0, 103, 3, 98, 107, nil, nil},
	{ln("49765-1", "Calcium [Mass/volume] in Blood"), "mg/dL", 1, 94, 5, 86, 102, nil, nil},
}

var lipidPanel = []analyte{
	{ln("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma"), "mg/dL", 0, 178, 18, 125, 200, map[string]int{"lipids": 8}, map[string]int{"lipids": -45}},
	{ln("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma"), "mg/dL", 0, 115, 22, 50, 150, map[string]int{"lipids": 7, "diabetes": 4}, map[string]int{"lipids": -30}},
	{ln("18262-6", "Cholesterol in LDL [Mass/volume] in Serum or Plasma by Direct assay"), "mg/dL", 0, 98, 14, 50, 130, map[string]int{"lipids": 7}, map[string]int{"lipids": -42}},
	{ln("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma"), "mg/dL", 0, 56, 8, 40, 80, map[string]int{"lipids": -1}, nil},
}

var bloodCount = []analyte{
	{ln("6690-2", "Leukocytes [#/volume] in Blood by Automated count"), "10*3/uL", 1, 66, 14, 40, 110, nil, nil},
	{ln("789-8", "Erythrocytes [#/volume] in Blood by Automated count"), "10*6/uL", 2, 472, 30, 400, 580, nil, nil},
	{ln("718-7", "Hemoglobin [Mass/volume] in Blood"), "g/dL", 1, 142, 9, 120, 170, map[string]int{"kidney": -3}, nil},
	{ln("4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count"), "%", 1, 425, 25, 360, 500, map[string]int{"kidney": -8}, nil},
	{ln("777-3", "Platelets [#/volume] in Blood by Automated count"), "10*3/uL", 0, 250, 45, 150, 400, nil, nil},
}

var glycation = []analyte{
	{ln("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), "%", 1, 53, 2, 40, 56, map[string]int{"diabetes": 2, "prediabetes": 1}, map[string]int{"diabetes": -9}},
}

var thyroid = []analyte{
	{ln("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma"), "m[IU]/L", 2, 190, 60, 40, 400, map[string]int{"thyroid": 110}, map[string]int{"thyroid": -380}},
}

var urate = []analyte{
	{ln("3084-1", "Urate [Mass/volume] in Serum or Plasma"), "mg/dL", 1, 55, 7, 35, 72, map[string]int{"gout": 6}, map[string]int{"gout": -22}},
}

// panel is what a laboratory reports together.
type panel struct {
	concept
	analytes []analyte
}

var (
	panelMetabolic = panel{ln("51990-0", "Basic metabolic panel - Blood"), metabolicPanel}
	panelLipids    = panel{ln("57698-3", "Lipid panel with direct LDL - Serum or Plasma"), lipidPanel}
	panelCount     = panel{ln("58410-2", "CBC panel - Blood by Automated count"), bloodCount}
	panelGlycation = panel{ln("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), glycation}
	panelThyroid   = panel{ln("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma"), thyroid}
	panelUrate     = panel{ln("3084-1", "Urate [Mass/volume] in Serum or Plasma"), urate}
)

// illness is a lasting condition of the life course.
type illness struct {
	key       string
	concept   concept
	early     *illness // what comes first
	ageMin    int
	drugs     []drug
	panels    []panel
	follows   string // an illness that makes this one likely
	plan      concept
	goal      string
	goalValue number
	goalUnit  string
	goalCode  concept
}

type drug struct {
	concept
	dose string
}

var prediabetes = illness{key: "prediabetes", concept: sct("15777000", "Prediabetes"), ageMin: 30}

var illnesses = []illness{
	{key: "diabetes", concept: sct("44054006", "Diabetes mellitus type 2"), early: &prediabetes, ageMin: 38,
		drugs:  []drug{{rx("860975", "24 HR metformin hydrochloride 500 MG Extended Release Oral Tablet"), "1 tablet twice daily with meals"}},
		panels: []panel{panelGlycation, panelMetabolic},
		plan:   sct("698360004", "Diabetes self management plan"), goal: "Hemoglobin A1c below 7 %", goalValue: number{70, 1}, goalUnit: "%",
		goalCode: ln("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood")},
	{key: "pressure", concept: sct("38341003", "Hypertensive disorder"), ageMin: 32,
		drugs: []drug{{rx("316049", "Hydrochlorothiazide 25 MG"), "1 tablet in the morning"},
			{rx("197361", "Amlodipine 5 MG Oral Tablet"), "1 tablet daily"}},
		panels: []panel{panelMetabolic},
		plan:   sct("182922004", "Dietary regime"), goal: "Systolic blood pressure below 140 mmHg", goalValue: number{140, 0}, goalUnit: "mm[Hg]",
		goalCode: ln("8480-6", "Systolic blood pressure")},
	{key: "lipids", concept: sct("55822004", "Hyperlipidemia"), ageMin: 30,
		drugs:  []drug{{rx("312961", "Simvastatin 20 MG Oral Tablet"), "1 tablet in the evening"}},
		panels: []panel{panelLipids}},
	{key: "asthma", concept: sct("195967001", "Asthma"), ageMin: 4,
		drugs: []drug{{rx("745679", "200 ACTUAT Albuterol 0.09 MG/ACTUAT Metered Dose Inhaler"), "2 puffs when short of breath, at most every 4 hours"},
			{rx("895994", "120 ACTUAT Fluticasone propionate 0.044 MG/ACTUAT Metered Dose Inhaler"), "2 puffs twice daily"}},
		plan: sct("699728000", "Asthma self management")},
	{key: "thyroid", concept: sct("83664006", "Idiopathic atrophic hypothyroidism"), ageMin: 25,
		drugs:  []drug{{rx("966222", "Levothyroxine Sodium 0.075 MG Oral Tablet"), "1 tablet before breakfast"}},
		panels: []panel{panelThyroid}},
	{key: "gout", concept: sct("90560007", "Gout"), ageMin: 40,
		drugs:  []drug{{rx("197319", "Allopurinol 100 MG Oral Tablet"), "1 tablet daily"}},
		panels: []panel{panelUrate}},
	{key: "hip", concept: sct("239872002", "Osteoarthritis of hip"), ageMin: 50,
		drugs: []drug{{rx("849574", "Naproxen sodium 220 MG Oral Tablet"), "1 tablet twice daily when needed"}}},
	{key: "bones", concept: sct("64859006", "Osteoporosis"), ageMin: 55,
		drugs: []drug{{rx("904419", "Alendronic acid 10 MG Oral Tablet"), "1 tablet daily, upright, with water"}}},
	{key: "kidney", concept: sct("431855005", "Chronic kidney disease stage 1"), ageMin: 45, follows: "diabetes",
		panels: []panel{panelMetabolic, panelCount}},
	{key: "heart", concept: sct("53741008", "Coronary arteriosclerosis"), ageMin: 48, follows: "pressure",
		drugs: []drug{{rx("309362", "Clopidogrel 75 MG Oral Tablet"), "1 tablet daily"},
			{rx("705129", "Nitroglycerin 0.4 MG/ACTUAT Mucosal Spray"), "1 spray under the tongue for chest pain"}},
		panels: []panel{panelLipids}},
	{key: "migraine", concept: sct("124171000119105", "Chronic intractable migraine without aura"), ageMin: 16,
		drugs: []drug{{rx("310965", "Ibuprofen 200 MG Oral Tablet"), "2 tablets at onset"}}},
}

// passing is a short illness that a GP treats.
type passing struct {
	concept concept
	drug    *drug
}

var passings = []passing{
	{sct("444814009", "Viral sinusitis"), nil},
	{sct("10509002", "Acute bronchitis"), &drug{rx("313782", "Acetaminophen 325 MG Oral Tablet"), "2 tablets every 6 hours when needed"}},
	{sct("43878008", "Streptococcal sore throat"), &drug{rx("834102", "Penicillin V Potassium 500 MG Oral Tablet"), "1 tablet three times daily for 10 days"}},
	{sct("65363002", "Otitis media"), &drug{rx("308192", "Amoxicillin 500 MG Oral Tablet"), "1 tablet three times daily for 7 days"}},
	{sct("301011002", "Escherichia coli urinary tract infection"), &drug{rx("311989", "Nitrofurantoin 5 MG/ML Oral Suspension"), "20 mL four times daily for 5 days"}},
	{sct("44465007", "Sprain of ankle"), &drug{rx("310965", "Ibuprofen 200 MG Oral Tablet"), "2 tablets three times daily with food"}},
	{sct("195662009", "Acute viral pharyngitis"), nil},
	{sct("40275004", "Contact dermatitis"), &drug{rx("106258", "Hydrocortisone 10 MG/ML Topical Cream"), "thinly twice daily for 7 days"}},
}

// event is something that brings a patient to hospital.
type event struct {
	concept   concept
	class     string // v3-ActCode
	procedure concept
	days      int
	ageMin    int
	text      string
}

var events = []event{
	{sct("74400008", "Appendicitis"), "IMP", sct("80146002", "Appendectomy"), 3, 6, "Laparoscopic appendectomy without complications. Home on day 3."},
	{sct("16114001", "Fracture of ankle"), "EMER", sct("274474001", "Bone immobilization"), 1, 6, "Closed fracture of the ankle, cast for six weeks."},
	{sct("65966004", "Fracture of forearm"), "EMER", sct("274474001", "Bone immobilization"), 1, 4, "Fracture of the forearm after a fall, immobilised."},
	{sct("62106007", "Concussion with no loss of consciousness"), "EMER", sct("225358003", "Wound care"), 1, 6, "Observed for six hours, neurologically unremarkable."},
	{sct("233604007", "Pneumonia"), "IMP", sct("399208008", "Plain chest X-ray"), 5, 3, "Community acquired pneumonia, intravenous antibiotics, good response."},
	{sct("22298006", "Myocardial infarction"), "IMP", sct("415070008", "Percutaneous coronary intervention"), 6, 50, "Anterior infarction, one stent placed. Cardiac rehabilitation arranged."},
	{sct("68496003", "Polyp of colon"), "IMP", sct("73761001", "Colonoscopy"), 1, 45, "Two polyps removed, histology benign. Repeat in five years."},
}

// allergy with what it does.
type allergy struct {
	concept  concept
	category string
	reaction concept
}

var allergies = []allergy{
	{sct("91935009", "Allergy to peanut"), "food", sct("39579001", "Anaphylaxis")},
	{sct("91934008", "Allergy to nut"), "food", sct("271807003", "Eruption of skin")},
	{sct("300913006", "Shellfish allergy"), "food", sct("247472004", "Wheal")},
	{sct("91930004", "Allergy to egg protein"), "food", sct("422587007", "Nausea")},
	{sct("425525006", "Allergy to dairy product"), "food", sct("62315008", "Diarrhea")},
	{sct("232347008", "Allergy to animal dander"), "environment", sct("76067001", "Sneezing")},
	{sct("232350006", "House dust mite allergy"), "environment", sct("267036007", "Dyspnea")},
	{sct("418689008", "Allergy to grass pollen"), "environment", sct("76067001", "Sneezing")},
	{sct("419263009", "Allergy to tree pollen"), "environment", sct("76067001", "Sneezing")},
	{sct("424213003", "Allergy to bee venom"), "environment", sct("39579001", "Anaphylaxis")},
	{sct("91936005", "Allergy to penicillin"), "medication", sct("271807003", "Eruption of skin")},
	{sct("293586001", "Allergy to aspirin"), "medication", sct("267036007", "Dyspnea")},
	{sct("300916003", "Latex allergy"), "environment", sct("271807003", "Eruption of skin")},
}

type vaccine struct {
	concept
	ageMin, everyYears int
}

var vaccines = []vaccine{
	{concept{cvx, "140", "Influenza, seasonal, injectable, preservative free"}, 1, 1},
	{concept{cvx, "113", "Td (adult) preservative free"}, 18, 10},
	{concept{cvx, "121", "zoster live"}, 55, 40},
	{concept{cvx, "33", "pneumococcal polysaccharide vaccine, 23 valent"}, 65, 40},
	{concept{cvx, "43", "Hep B, adult"}, 20, 40},
}

// scan is an imaging examination.
type scan struct {
	modality, site, code concept
	sop                  string
	ageMin               int
	finding              string
}

var scans = []scan{
	{concept{dicom, "DX", "Digital Radiography"}, sct("51185008", "Thorax"), sct("399208008", "Plain chest X-ray"), "1.2.840.10008.5.1.4.1.1.1.1", 3, "Lungs clear, heart of normal size."},
	{concept{dicom, "US", "Ultrasound"}, sct("113345001", "Abdomen"), ln("24558-9", "US Abdomen"), "1.2.840.10008.5.1.4.1.1.6.1", 16, "Liver, kidneys and spleen without findings. No free fluid."},
	{concept{dicom, "DX", "Digital Radiography"}, sct("72696002", "Knee region structure"), sct("74016001", "Knee X-ray"), "1.2.840.10008.5.1.4.1.1.1.1", 12, "No fracture. Slight narrowing of the medial joint space."},
	{concept{dicom, "MR", "Magnetic Resonance"}, sct("12738006", "Brain structure"), ln("24590-2", "MR Brain"), "1.2.840.10008.5.1.4.1.1.4", 16, "Unremarkable for age."},
	{concept{dicom, "CT", "Computed Tomography"}, sct("51185008", "Thorax"), ln("24627-2", "CT Chest"), "1.2.840.10008.5.1.4.1.1.2", 40, "Nodule of 4 mm in the right upper lobe, control in twelve months."},
}

// sensitiveCourse is an illness that only its clinic writes about.
type sensitiveCourse struct {
	clinic     kindOf
	label      concept // meta.security
	ageMin     int
	illnesses  []concept
	drugs      []drug
	visit      concept
	therapy    concept
	score      concept
	scoreUnit  string
	start      int // first score
	step       int // change per visit
	floor, cap int
	note       string
}

const systemActCode = hl7 + "v3-ActCode"

var sensitiveCourses = []sensitiveCourse{
	{clinic: mentalClinic, label: concept{systemActCode, "PSY", "psychiatry disorder information sensitivity"}, ageMin: 12,
		illnesses: []concept{sct("370143000", "Major depressive disorder"), sct("21897009", "Generalized anxiety disorder")},
		drugs:     []drug{{rx("312941", "sertraline 50 MG Oral Tablet"), "1 tablet in the morning"}},
		visit:     sct("185347001", "Encounter for problem"), therapy: sct("75516001", "Psychotherapy"),
		score: ln("44261-6", "Patient Health Questionnaire 9 item (PHQ-9) total score [Reported]"), scoreUnit: "{score}",
		start: 18, step: -3, floor: 2, cap: 27, note: "Mood brighter, sleeps through. Continues weekly sessions."},
	{clinic: addictionClinic, label: concept{systemActCode, "ETHUD", "alcohol use disorder information sensitivity"}, ageMin: 20,
		illnesses: []concept{sct("7200002", "Alcoholism")},
		drugs:     []drug{{rx("1483744", "naltrexone hydrochloride 50 MG Oral Tablet"), "1 tablet daily"}},
		visit:     sct("56876005", "Drug rehabilitation and detoxification"), therapy: sct("24165007", "Alcoholism counseling"),
		score: ln("75626-2", "Total score [AUDIT-C]"), scoreUnit: "{score}",
		start: 11, step: -2, floor: 1, cap: 12, note: "Abstinent since the last visit. Attends the group."},
	{clinic: addictionClinic, label: concept{systemActCode, "OPIOIDUD", "opioid use disorder information sensitivity"}, ageMin: 20,
		illnesses: []concept{sct("75544000", "Opioid dependence")},
		drugs:     []drug{{rx("351267", "buprenorphine 8 MG / naloxone 2 MG Sublingual Tablet"), "1 tablet under the tongue daily"}},
		visit:     sct("56876005", "Drug rehabilitation and detoxification"), therapy: sct("60112009", "Drug addiction counseling"),
		score: ln("82667-7", "Total score [DAST-10]"), scoreUnit: "{score}",
		start: 8, step: -1, floor: 0, cap: 10, note: "Stable on medication, no cravings reported."},
	{clinic: hivClinic, label: concept{systemActCode, "HIV", "HIV/AIDS information sensitivity"}, ageMin: 20,
		illnesses: []concept{sct("86406008", "Human immunodeficiency virus infection")},
		drugs:     []drug{{rx("1999667", "bictegravir 50 MG / emtricitabine 200 MG / tenofovir alafenamide 25 MG Oral Tablet"), "1 tablet daily"}},
		visit:     sct("390906007", "Follow-up encounter"), therapy: sct("313077009", "Human immunodeficiency virus counseling"),
		score: ln("24467-3", "CD3+CD4+ (T4 helper) cells [#/volume] in Blood"), scoreUnit: "/uL",
		start: 310, step: 65, floor: 150, cap: 900, note: "Takes the tablets regularly, viral load below detection."},
}

// names of patients, by the groups that one finds next door.
var givenNames = map[string][]string{
	"female": {"Amelia", "Beatriz", "Chiara", "Dagny", "Eleni", "Fatima", "Grace", "Hedda", "Imani", "Jasmine", "Keiko",
		"Leila", "Mei", "Noor", "Oona", "Paloma", "Rosalind", "Saoirse", "Tamar", "Ursula", "Violeta", "Wanda", "Xiomara", "Yara", "Zoë"},
	"male": {"Anders", "Bashir", "Cormac", "Diego", "Emeka", "Felix", "Giorgos", "Haruki", "Idris", "Jamal", "Kofi",
		"Lars", "Mateo", "Nikhil", "Omar", "Pavel", "Quentin", "Ravi", "Stefan", "Tomasz", "Umberto", "Viktor", "Wei", "Yusuf", "Zoltán"},
}

var familyNames = []string{"Abara", "Andersson", "Baptiste", "Bergström", "Castillo", "Chen", "Das", "Dubois", "Eriksen", "Farouk",
	"Fitzgerald", "Fontaine", "García", "Gupta", "Haugen", "Horvat", "Ibrahim", "Jansen", "Kaplan", "Kimura", "Kowalski", "Larsen",
	"Lopez", "MacLeod", "Mbeki", "Moreau", "Nakamura", "Nguyen", "O'Brien", "Oduya", "Okoye", "Papadopoulos", "Park", "Quispe",
	"Rahman", "Rossi", "Santos", "Schneider", "Silva", "Smith", "Takahashi", "Tesfaye", "Thompson", "Ülker", "Vargas", "Wójcik",
	"Yamamoto", "Young", "Zhang", "Zimmermann"}

var cities = []struct{ city, zip string }{{"Ashford Falls", "01999"}, {"Brackley", "01998"}, {"Copper Ridge", "01997"}, {"Dunmore", "01996"}}

var streets = []string{"Birch Lane", "Chestnut Avenue", "Elm Street", "Foundry Road", "Garden Terrace", "High Street", "Orchard Way", "Spring Street"}
