package fhir

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestSummarise(t *testing.T) {
	for _, c := range []struct{ raw, date, title, detail, status string }{
		{`{"resourceType":"Observation","status":"final","code":{"text":"Hemoglobin A1c"},"effectiveDateTime":"2019-03-04T10:00:00+01:00","valueQuantity":{"value":6.1,"unit":"%"}}`,
			"2019-03-04T10:00:00+01:00", "Hemoglobin A1c", "6.1 %", "final"},
		{`{"resourceType":"Observation","code":{"coding":[{"code":"1"},{"display":"Glucose","code":"2"}]},"effectivePeriod":{"start":"2019-03","end":"2019-04"},"valueQuantity":{"value":164.01359991010509,"code":"cm","comparator":"<"},"interpretation":[{"coding":[{"code":"H"}]}]}`,
			"2019-03", "Glucose", "<164.01 cm (H)", ""},
		{`{"resourceType":"Observation","code":{"text":"BP"},"issued":"2019-03-04T10:00:00.123Z","component":[{"code":{"text":"Systolic"},"valueQuantity":{"value":120,"unit":"mmHg"}},{"code":{"text":"Diastolic"},"valueQuantity":{"value":80,"unit":"mmHg"}}]}`,
			"2019-03-04T10:00:00.123Z", "BP", "Systolic 120 mmHg, Diastolic 80 mmHg", ""},
		{`{"resourceType":"Observation","code":{"text":"X"},"valueRatio":{"numerator":{"value":1},"denominator":{"value":128}}}`, "", "X", "1/128", ""},
		{`{"resourceType":"Observation","code":{"text":"X"},"valueRange":{"low":{"value":1.0},"high":{"value":2,"unit":"g"}}}`, "", "X", "1.0–2 g", ""},
		{`{"resourceType":"Observation","code":{"text":"X"},"valueBoolean":false}`, "", "X", "false", ""},
		{`{"resourceType":"Observation","code":{"text":"X"},"valueCodeableConcept":{"coding":[{"display":"Never smoker"}]}}`, "", "X", "Never smoker", ""},
		{`{"resourceType":"Observation","code":{"text":"X"},"dataAbsentReason":{"text":"refused"}}`, "", "X", "refused", ""},
		{`{"resourceType":"Condition","clinicalStatus":{"coding":[{"code":"active"}]},"code":{"text":"Asthma"},"onsetDateTime":"1999","recordedDate":"2001-01-01"}`, "1999", "Asthma", "", "active"},
		{`{"resourceType":"Condition","code":{"text":"Asthma"},"onsetString":"as a child","recordedDate":"2001-01-01"}`, "2001-01-01", "Asthma", "", ""},
		{`{"resourceType":"MedicationRequest","status":"active","medicationCodeableConcept":{"text":"Metformin"},"authoredOn":"2020-05-05","dosageInstruction":[{"text":"twice daily"}]}`,
			"2020-05-05", "Metformin", "twice daily", "active"},
		{`{"resourceType":"MedicationRequest","medicationReference":{"display":"Aspirin","reference":"#m"},"dosageInstruction":[{"doseAndRate":[{"doseQuantity":{"value":1,"unit":"tablet"}}]}]}`, "", "Aspirin", "1 tablet", ""},
		{`{"resourceType":"AllergyIntolerance","code":{"text":"Peanut"},"criticality":"high","recordedDate":"2000-02","reaction":[{"manifestation":[{"text":"Hives"}]}]}`, "2000-02", "Peanut", "Hives, high", ""},
		{`{"resourceType":"Immunization","status":"completed","vaccineCode":{"text":"Td"},"occurrenceDateTime":"2018-01-01"}`, "2018-01-01", "Td", "", "completed"},
		{`{"resourceType":"Encounter","status":"finished","class":{"code":"AMB"},"type":[{"text":"Check-up"}],"reasonCode":[{"text":"Cough"}],"period":{"start":"2018-01-01T09:00:00Z"}}`,
			"2018-01-01T09:00:00Z", "Check-up", "Cough", "finished"},
		{`{"resourceType":"Encounter","class":{"code":"AMB","display":"ambulatory"}}`, "", "ambulatory", "", ""},
		{`{"resourceType":"Claim","item":[{"productOrService":{"text":"Visit"}}],"total":{"value":125,"currency":"USD"},"billablePeriod":{"start":"2018-01-01","end":"2018-01-02"}}`, "2018-01-01", "Visit", "125 USD", ""},
		{`{"resourceType":"ExplanationOfBenefit","type":{"text":"pharmacy"},"total":[{"amount":{"value":12.50,"currency":"USD"}}],"created":"2018-02-01"}`, "2018-02-01", "pharmacy", "12.50 USD", ""},
		{`{"resourceType":"DiagnosticReport","code":{"text":"Lipids"},"result":[{"reference":"a/1"},{"reference":"a/2"}],"effectiveDateTime":"2018-02-01"}`, "2018-02-01", "Lipids", "2 results", ""},
		{`{"resourceType":"ImagingStudy","started":"2018-02-01","series":[{"modality":{"display":"Ultrasound"},"bodySite":{"display":"Thorax"}}]}`, "2018-02-01", "Ultrasound Thorax", "", ""},
		{`{"resourceType":"Patient","name":[{"given":["Ann","B."],"family":"Lee","prefix":["Dr."]}],"birthDate":"1980-01-01","gender":"female"}`, "1980-01-01", "Dr. Ann B. Lee", "1980-01-01, female", ""},
		{`{"resourceType":"Organization","type":[{"text":"prov"}],"name":"St Mary"}`, "", "St Mary", "", ""},
		{`{"resourceType":"FamilyMemberHistory","relationship":{"text":"father"},"condition":[{"code":{"text":"Gout"}}],"date":"2001"}`, "2001", "father: Gout", "", ""},
		{`{"resourceType":"Goal","description":{"text":"Lose weight"},"startDate":"2001-02-03","lifecycleStatus":"active"}`, "2001-02-03", "Lose weight", "", "active"},
		{`{"resourceType":"CarePlan","category":[{"text":"Diet"}],"period":{"end":"2001-02-03"}}`, "2001-02-03", "Diet", "", ""},
		{`{"resourceType":"Specimen","type":{"text":"Blood"},"collection":{"collectedDateTime":"2001-02-03"}}`, "2001-02-03", "Blood", "", ""},
		{`{"resourceType":"Basic","meta":{"lastUpdated":"2001-02-03T00:00:00Z"},"code":{"text":"x"}}`, "2001-02-03T00:00:00Z", "x", "", ""},
		{`{"resourceType":"Linkage"}`, "", "Linkage", "", ""},
		{`{"resourceType":"Observation","code":{"text":"line\nbreak\u202etxt\u0007"},"valueString":"  a\tb "}`, "", "line breaktxt", "a b", ""},
	} {
		got := Summarise(Resource{Raw: []byte(c.raw)})
		if got.Date != c.date || got.Title != c.title || got.Detail != c.detail || got.Status != c.status || got.Class == "" {
			t.Errorf("%s\n got %+v\nwant %q %q %q %q", c.raw, got, c.date, c.title, c.detail, c.status)
		}
		if (c.date == "") != got.Time.IsZero() {
			t.Errorf("%s: time %v", c.raw, got.Time)
		}
	}
}

func TestParseTime(t *testing.T) {
	for s, want := range map[string]string{
		"1991":                          "1991-01-01T00:00:00Z",
		"1991-04":                       "1991-04-01T00:00:00Z",
		"1991-04-15":                    "1991-04-15T00:00:00Z",
		"1991-04-15T04:04:23+02:00":     "1991-04-15T02:04:23Z",
		"1991-04-15T04:04:23Z":          "1991-04-15T04:04:23Z",
		"1991-04-15T04:04:23.205-0500":  "",
		"2015-02-07T13:28:17.239-05:00": "2015-02-07T18:28:17.239Z",
		"1991-13":                       "", "1991-02-30": "", "": "", "yesterday": "", "0000": "", "19910415": "", "1991-04-15T04:04": "",
		strings.Repeat("1", 100): "",
	} {
		got, ok := ParseTime(s)
		if ok != (want != "") || ok && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v %v, want %s", s, got, ok, want)
		}
	}
}

// Every resource of the shared data has a title, and what people look at in a timeline has a date.
func TestSummariesOfSharedData(t *testing.T) {
	dir := dataDir(t)
	dated := map[Class]bool{Allergies: true, Medications: true, Immunizations: true, Labs: true, Vitals: true, Problems: true, Procedures: true, Encounters: true}
	for _, folder := range []string{"synthea-patients", "synthea", "fhir-r4/examples", "fhir-r4/ips", "fhir-r4/us-core"} {
		for _, r := range load(t, filepath.Join(dir, filepath.FromSlash(folder))).Resources() {
			item := Summarise(r)
			if item.Title == "" || !utf8.ValidString(item.Title) || len(item.Title) > ItemTextMax+len("…") || item.Type != r.Type || item.Class != r.Class {
				t.Errorf("%s: %+v", r.Name(), item)
			}
			if strings.HasPrefix(folder, "synthea") && dated[r.Class] && item.Time.IsZero() {
				t.Errorf("%s has no date", r.Name())
			}
		}
	}
}

func TestSummariseNeverPanics(t *testing.T) {
	names := append([]string{"value", "valueQuantity", "coding", "code", "text", "reference", "amount", "resourceType", "component", "series"}, titleElements...)
	rapid.Check(t, func(t *rapid.T) {
		var build func(depth int) string
		build = func(depth int) string {
			switch rapid.IntRange(0, 5-depth).Draw(t, "kind") {
			case 0:
				return rapid.SampledFrom([]string{`"x"`, `1.23456`, `true`, `null`, `""`, `-0`, `"2001-01-01"`}).Draw(t, "leaf")
			case 1:
				return "[" + build(depth+1) + "]"
			}
			a := rapid.SampledFrom(names).Draw(t, "a")
			b := rapid.SampledFrom(dateElements).Draw(t, "b")
			return `{"` + a + `":` + build(depth+1) + `,"` + b + `":` + build(depth+1) + `}`
		}
		item := Summarise(Resource{Raw: []byte(build(0)), Type: rapid.SampledFrom(Types()).Draw(t, "type")})
		if item.Type == "" || item.Title == "" {
			t.Fatalf("%+v", item)
		}
	})
}
