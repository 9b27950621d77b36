package fhir

import "strings"

// Sensitive content is recognised by four signs, anywhere in a resource (contained ones included): security labels
// in meta, codes, ICD-10 ranges, and words in the display or text of a code. The tables are short on purpose and
// err towards sensitive: a patient can still grant a sensitive class, but cannot take back what leaked. They are
// listed in docs/spec/classes.md.

const (
	loincSystem  = "http://loinc.org"
	snomedSystem = "http://snomed.info/sct"
	rxnormSystem = "http://www.nlm.nih.gov/research/umls/rxnorm"
)

// systemOf is the coding's system, with the OID forms of the three big ones mapped to their URLs.
func systemOf(coding val) string {
	switch s := coding.get("system").bytes(); string(s) {
	case loincSystem, "urn:oid:2.16.840.1.113883.6.1":
		return loincSystem
	case snomedSystem, "urn:oid:2.16.840.1.113883.6.96":
		return snomedSystem
	case rxnormSystem, "urn:oid:2.16.840.1.113883.6.88":
		return rxnormSystem
	default:
		return string(s)
	}
}

// labelClass reads one coding of meta.security: v3-ActCode information sensitivity and v3-Confidentiality.
func labelClass(coding val) Class {
	system := strings.TrimPrefix(coding.get("system").str(), "http://terminology.hl7.org/CodeSystem/")
	code := coding.get("code").str()
	switch {
	case strings.HasSuffix(system, "ActCode"), system == "urn:oid:2.16.840.1.113883.5.4":
		return sensitivityLabels[code]
	case strings.HasSuffix(system, "Confidentiality"), system == "urn:oid:2.16.840.1.113883.5.25":
		if code == "R" || code == "V" {
			return Restricted
		}
	}
	return ""
}

// sensitivityLabels are the _InformationSensitivityPolicy codes of v3-ActCode that name a class of ours, and those
// that only say "keep back".
var sensitivityLabels = map[string]Class{
	"HIV": HIV,
	"ETH": SubstanceUse, "ETHUD": SubstanceUse, "OPIOIDUD": SubstanceUse, "SUD": SubstanceUse,
	"SDV": DomesticViolence, "VIO": DomesticViolence, "MST": DomesticViolence,
	"SEX": SexualHealth, "STD": SexualHealth, "GENDER": SexualHealth,
	"PSY": MentalHealth, "PSYTHPN": MentalHealth, "MH": MentalHealth, "BH": MentalHealth, "EMOTDIS": MentalHealth,
	"COGN": MentalHealth, "DVD": MentalHealth,
	"GDIS": Genetics, "SICKLE": Genetics, "SCA": Genetics,
	"TBOO": Restricted, "SPI": Restricted, "SSP": Restricted, "ADOL": Restricted, "CEL": Restricted, "DIA": Restricted,
	"DRGIS": Restricted, "EMP": Restricted, "PDS": Restricted, "PHY": Restricted, "PRS": Restricted,
	"DEMO": Restricted, "DOB": Restricted, "LIVARG": Restricted, "MARST": Restricted,
	"RACE": Restricted, "REL": Restricted, "B": Restricted, "EMPL": Restricted, "LOCIS": Restricted,
}

// codeClass reads one coding.
func codeClass(coding val) Class {
	code := coding.get("code").bytes()
	if len(code) == 0 {
		return ""
	}
	if rule, ok := sensitiveCodes[string(code)]; ok && rule.system == systemOf(coding) {
		return rule.class
	}
	system := coding.get("system").bytes()
	if len(system) > 0 && len(code) <= 10 && isICD10(string(system)) {
		return icd10Class(string(code))
	}
	return ""
}

func isICD10(system string) bool {
	switch system {
	case "http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-10-cm", "http://hl7.org/fhir/sid/icd-10-de",
		"http://fhir.de/CodeSystem/bfarm/icd-10-gm", "http://fhir.de/CodeSystem/dimdi/icd-10-gm",
		"http://www.cms.gov/Medicare/Coding/ICD10", "urn:oid:2.16.840.1.113883.6.90", "urn:oid:2.16.840.1.113883.6.3",
		"urn:oid:2.16.840.1.113883.6.4":
		return true
	}
	return strings.Contains(system, "/icd-10") || strings.Contains(system, "/ICD10")
}

type codeRule struct {
	system string
	class  Class
}

var sensitiveCodes = buildSensitiveCodes()

func buildSensitiveCodes() map[string]codeRule {
	out := map[string]codeRule{}
	for _, group := range sensitiveCodeTable {
		for _, code := range strings.Fields(group.codes) {
			out[code] = codeRule{group.system, group.class}
		}
	}
	return out
}

// sensitiveCodeTable: codes whose presence alone makes a resource sensitive.
var sensitiveCodeTable = []struct {
	system string
	class  Class
	codes  string
}{
	// HIV infection, AIDS, HIV positive, asymptomatic and acute infection; antigen test, screening.
	{snomedSystem, HIV, "86406008 62479008 165816005 91947003 111880001 31676001 171121004"},
	// HIV test set, 1+2 Ab and p24, viral loads, antibody tests, CD4 count.
	{loincSystem, HIV, "75622-1 56888-1 20447-9 25836-8 7917-8 29893-5 5221-7 31201-7 68961-2 48345-3 49580-4 24467-3"},
	// Antiretroviral tablets and capsules, alone and in combinations.
	{rxnormSystem, HIV, "349491 349251 403875 476556 1306292 744842 1433873 317150 1359269 2003249 1747691 1999667 " +
		"1721613 2122519"},

	// Alcoholism, alcohol dependence and abuse; opioid abuse and dependence; drug abuse and dependence; misuse;
	// overdose; rehabilitation, addiction therapy, counselling, detoxification.
	{snomedSystem, SubstanceUse, "7200002 66590003 15167005 5602001 75544000 26416006 191816009 6525002 361055000 " +
		"55680006 56876005 266707007 60112009 61480009 24165007"},
	// AUDIT-C and AUDIT (panels, scores), DAST-10.
	{loincSystem, SubstanceUse, "72109-2 75626-2 72110-0 75624-7 82666-9 82667-7"},
	// Ingredients buprenorphine, methadone, naltrexone, disulfiram, acamprosate; buprenorphine (with naloxone) tablets,
	// films, implant and depots; naltrexone depot and tablet; disulfiram and acamprosate tablets.
	{rxnormSystem, SubstanceUse, "1819 6813 7243 3554 82819 351264 351265 351266 351267 1010600 1010604 1307056 " +
		"1307061 1797650 1996184 1996192 637213 1483744 197623 197624 835726"},

	// Victim of intimate partner abuse.
	{snomedSystem, DomesticViolence, "706893006"},
	// Afraid of partner (PRAPARE).
	{loincSystem, DomesticViolence, "76501-6"},

	// Gonorrhoea, chlamydia and syphilis tests; gonorrhoea, chlamydial infection, syphilis, genital herpes, sexually
	// transmitted disease; termination of pregnancy, its counselling and care; gender dysphoria.
	{snomedSystem, SexualHealth, "165829005 310861008 269828009 15628003 105629000 76272004 33839006 8098009 " +
		"714812005 386394001 10383002 57797005 93461009"},
	// Chlamydia and gonorrhoea nucleic acid tests, reagin antibody; sexual orientation, gender identity.
	{loincSystem, SexualHealth, "43304-5 43305-2 21613-5 24111-7 20507-0 76690-7 76691-5"},

	// Mental, depressive, anxiety, obsessive, stress, psychotic, eating and attention disorders; suicidal thoughts
	// and attempt; depression screening; psychotherapy, behavioural therapy, psychological assessment.
	{snomedSystem, MentalHealth, "74732009 35489007 370143000 36923009 310495003 310496002 310497006 197480006 " +
		"21897009 48694002 80583007 52910006 371631005 191736004 47505003 58214004 13746004 69322001 72366004 " +
		"56882008 78004001 406506008 192127007 6471006 82313006 171207006 75516001 228557008 405783006 386522008"},
	// PHQ-9 (panel, items, score), PHQ-2, GAD-7, Edinburgh scale, depression screening, psychiatry notes.
	{loincSystem, MentalHealth, "44249-1 44250-9 44251-7 44252-5 44253-3 44254-1 44255-8 44256-6 44257-4 44258-2 " +
		"44259-0 44260-8 44261-6 55757-9 55758-7 69737-5 70274-6 71354-5 73831-0 73832-8 34788-0 28627-8"},

	// Prenatal aneuploidy screening, genetic test.
	{snomedSystem, Genetics, "443529005 405824009"},
	// Genetic analysis reports, variant panels, gene studied, significance, BRCA1 and BRCA2.
	{loincSystem, Genetics, "51969-4 81247-9 55232-3 69548-6 48018-6 53037-8 21636-6 21639-0 21640-8"},
}

// icd10Ranges are prefixes of ICD-10(-CM, -GM) codes, dots left out; the longest match counts, "" takes one out.
var icd10Ranges = map[string]Class{
	"B20": HIV, "B21": HIV, "B22": HIV, "B23": HIV, "B24": HIV, "Z21": HIV, "R75": HIV, "O987": HIV, "Z206": HIV,
	"Z114": HIV, "Z717": HIV, "F024": HIV,
	"F10": SubstanceUse, "F11": SubstanceUse, "F12": SubstanceUse, "F13": SubstanceUse, "F14": SubstanceUse,
	"F15": SubstanceUse, "F16": SubstanceUse, "F18": SubstanceUse, "F19": SubstanceUse, "T40": SubstanceUse,
	"K70": SubstanceUse, "Z714": SubstanceUse, "Z715": SubstanceUse, "O9931": SubstanceUse, "O9932": SubstanceUse,
	"HZ":  SubstanceUse, // ICD-10-PCS: substance abuse treatment
	"T74": DomesticViolence, "T76": DomesticViolence, "Y07": DomesticViolence, "Z69": DomesticViolence,
	"Z9141": DomesticViolence, "Z6281": DomesticViolence,
	"A50": SexualHealth, "A51": SexualHealth, "A52": SexualHealth, "A53": SexualHealth, "A54": SexualHealth,
	"A55": SexualHealth, "A56": SexualHealth, "A57": SexualHealth, "A58": SexualHealth, "A59": SexualHealth,
	"A60": SexualHealth, "A63": SexualHealth, "A64": SexualHealth, "O04": SexualHealth, "Z332": SexualHealth,
	"Z113": SexualHealth, "Z202": SexualHealth, "Z725": SexualHealth, "F64": SexualHealth,
	"F2": MentalHealth, "F3": MentalHealth, "F4": MentalHealth, "F5": MentalHealth, "F6": MentalHealth,
	"F9": MentalHealth, "R4585": MentalHealth, "X6": MentalHealth, "X7": MentalHealth, "Z915": MentalHealth,
	"Z133": MentalHealth, "GZ": MentalHealth, // ICD-10-PCS: mental health
	"Z14": Genetics, "Z15": Genetics, "Z137": Genetics,
}

func icd10Class(code string) Class {
	code = strings.ReplaceAll(strings.ToUpper(code), ".", "")
	for n := min(len(code), 5); n >= 2; n-- {
		if c, ok := icd10Ranges[code[:n]]; ok {
			return c
		}
	}
	return ""
}

// sensitiveWords are looked for in displays and texts of codes, as whole words: local codes and medicines are too
// many to list, but their names tell. Never in notes or narratives.
var sensitiveWords = map[Class]string{
	HIV: "hiv|human immunodeficiency virus|antiretroviral|antiretrovirals|emtricitabine|tenofovir|dolutegravir|" +
		"bictegravir|raltegravir|cabotegravir|efavirenz|rilpivirine|nevirapine|doravirine|abacavir|zidovudine|" +
		"lamivudine|darunavir|atazanavir|lopinavir|cobicistat",
	SubstanceUse: "alcoholism|alcohol abuse|alcohol dependence|alcohol use disorder|alcohol withdrawal|" +
		"alcohol use disorders|drug abuse|drug addiction|drug dependence|drug rehabilitation|drug overdose|" +
		"misuses drugs|substance abuse|substance use|opioid abuse|opioid dependence|opioid use|opioid addiction|" +
		"opioid overdose|heroin|cocaine|methamphetamine|buprenorphine|methadone|naltrexone|disulfiram|acamprosate",
	DomesticViolence: "domestic violence|domestic abuse|intimate partner|partner abuse|partner violence|battered",
	SexualHealth: "gonorrhea|gonorrhoea|chlamydia|chlamydial|syphilis|genital herpes|sexually transmitted|" +
		"sexual assault|sexual abuse|victim of rape|termination of pregnancy|pregnancy termination|induced abortion|" +
		"following abortion|gender dysphoria|mifepristone",
	MentalHealth: "mental health|mental disorder|mental illness|psychiatry|psychiatric|psychiatrist|psychotherapy|" +
		"psychosis|psychotic|schizophrenia|schizoaffective|bipolar disorder|major depression|major depressive|" +
		"depressive disorder|depression screening|anxiety disorder|panic disorder|attention deficit|" +
		"posttraumatic stress|post-traumatic stress|suicide|suicidal|self-harm|phq-9|phq-2|gad-7|sertraline|" +
		"fluoxetine|citalopram|escitalopram|paroxetine|fluvoxamine|venlafaxine|duloxetine|mirtazapine|bupropion|" +
		"lithium carbonate|quetiapine|olanzapine|risperidone|aripiprazole|clozapine|haloperidol|ziprasidone|" +
		"lurasidone|paliperidone|methylphenidate|atomoxetine|lisdexamfetamine",
	Genetics: "genetic test|genetic testing|genetic variant|brca1|brca2|aneuploidy|gene mutation",
}

type phrase struct {
	text  string
	class Class
}

// phrases are sensitiveWords by their first word.
var phrases = buildPhrases()

func buildPhrases() map[string][]phrase {
	out := map[string][]phrase{}
	for _, class := range sensitive {
		for _, text := range strings.Split(sensitiveWords[class], "|") {
			if text != "" {
				first := text[:wordEnd(text, 0)]
				out[first] = append(out[first], phrase{text, class})
			}
		}
	}
	return out
}

// wordsMax bounds the text that is looked at for one code.
const wordsMax = 512

// wordsClass looks for sensitive words in the name of a code.
func wordsClass(name []byte) (class Class) {
	var buf [wordsMax]byte
	n := copy(buf[:], name)
	for i := range n {
		if c := buf[i]; c >= 'A' && c <= 'Z' {
			buf[i] = c + 'a' - 'A'
		}
	}
	text := buf[:n]
	for i := 0; i < n; {
		if !wordByte(text[i]) {
			i++
			continue
		}
		end := wordEnd(text, i)
		for _, p := range phrases[string(text[i:end])] {
			rest := text[i:]
			if len(rest) >= len(p.text) && string(rest[:len(p.text)]) == p.text &&
				(len(rest) == len(p.text) || !wordByte(rest[len(p.text)])) {
				class = graver(class, p.class)
			}
		}
		i = end
	}
	return class
}

func wordByte(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 0x80 }

func wordEnd[T string | []byte](text T, i int) int {
	for i < len(text) && wordByte(text[i]) {
		i++
	}
	return i
}
