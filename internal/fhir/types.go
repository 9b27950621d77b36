package fhir

import (
	"cmp"
	"slices"
)

// typeInfo says how a resource type is handled.
type typeInfo struct {
	class Class
	// patientless types say nothing about a patient by themselves (a hospital, a code system): their codes are not
	// searched for sensitive ones, and a Collection gives them to the patients whose resources refer to them.
	patientless bool
}

// types holds every concrete resource type of FHIR R4 (4.0.1).
var types = buildTypes()

func buildTypes() map[string]typeInfo {
	out := make(map[string]typeInfo, 160)
	add := func(info typeInfo, names ...string) {
		for _, n := range names {
			out[n] = info
		}
	}
	of := func(c Class, names ...string) { add(typeInfo{class: c}, names...) }
	shared := func(c Class, names ...string) { add(typeInfo{class: c, patientless: true}, names...) }

	of(Allergies, "AllergyIntolerance")
	of(Medications, "MedicationAdministration", "MedicationDispense", "MedicationRequest", "MedicationStatement",
		"DetectedIssue", "Medication", "Substance", "BiologicallyDerivedProduct")
	of(Immunizations, "Immunization", "ImmunizationEvaluation", "ImmunizationRecommendation")
	of(Problems, "Condition", "AdverseEvent", "ClinicalImpression", "RiskAssessment", "Flag", "BodyStructure",
		"GuidanceResponse")
	of(Labs, "DiagnosticReport", "Specimen")
	of(Imaging, "ImagingStudy", "Media")
	of(Procedures, "Procedure", "ServiceRequest")
	of(Encounters, "Encounter", "EpisodeOfCare", "Appointment", "AppointmentResponse")
	of(Documents, "DocumentReference", "DocumentManifest", "Composition", "Binary", "Bundle", "QuestionnaireResponse",
		"List", "Communication", "CommunicationRequest")
	of(CarePlans, "CarePlan", "CareTeam", "Goal", "NutritionOrder", "RequestGroup", "Task")
	of(Devices, "Device", "DeviceMetric", "DeviceRequest", "DeviceUseStatement", "VisionPrescription", "SupplyRequest",
		"SupplyDelivery")
	of(FamilyHistory, "FamilyMemberHistory")
	of(Insurance, "Account", "ChargeItem", "Claim", "ClaimResponse", "Coverage", "CoverageEligibilityRequest",
		"CoverageEligibilityResponse", "EnrollmentRequest", "EnrollmentResponse", "ExplanationOfBenefit", "Invoice",
		"PaymentNotice", "PaymentReconciliation")
	of(Demographics, "Patient", "Person", "RelatedPerson")
	of(Consents, "Consent", "Contract")
	of(Research, "ResearchSubject")
	of(Genetics, "MolecularSequence")
	of(Admin, "AuditEvent", "Basic", "Group", "Linkage", "MeasureReport", "MessageHeader", "Provenance",
		"VerificationResult")
	of(Other, "Observation")

	shared(Directory, "Organization", "OrganizationAffiliation", "Practitioner", "PractitionerRole", "Location",
		"HealthcareService", "Endpoint")
	shared(Insurance, "InsurancePlan")
	shared(Devices, "DeviceDefinition")
	shared(Admin, "Schedule", "Slot", "Subscription")
	shared(Research, "ResearchStudy", "ResearchDefinition", "ResearchElementDefinition", "Evidence",
		"EvidenceVariable", "EffectEvidenceSynthesis", "RiskEvidenceSynthesis")
	shared(Medications, "MedicationKnowledge", "MedicinalProduct", "MedicinalProductAuthorization",
		"MedicinalProductContraindication", "MedicinalProductIndication", "MedicinalProductIngredient",
		"MedicinalProductInteraction", "MedicinalProductManufactured", "MedicinalProductPackaged",
		"MedicinalProductPharmaceutical", "MedicinalProductUndesirableEffect", "SubstanceNucleicAcid",
		"SubstancePolymer", "SubstanceProtein", "SubstanceReferenceInformation", "SubstanceSourceMaterial",
		"SubstanceSpecification", "CatalogEntry")
	shared(Other, "ActivityDefinition", "CapabilityStatement", "ChargeItemDefinition", "CodeSystem",
		"CompartmentDefinition", "ConceptMap", "EventDefinition", "ExampleScenario", "GraphDefinition",
		"ImplementationGuide", "Library", "Measure", "MessageDefinition", "NamingSystem", "ObservationDefinition",
		"OperationDefinition", "OperationOutcome", "Parameters", "PlanDefinition", "Questionnaire", "SearchParameter",
		"SpecimenDefinition", "StructureDefinition", "StructureMap", "TerminologyCapabilities", "TestReport",
		"TestScript", "ValueSet")
	return out
}

// Types lists the resource types of FHIR R4, sorted.
func Types() []string {
	out := make([]string, 0, len(types))
	for name := range types {
		out = append(out, name)
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out
}

// foreignTypes are types that R4 does not have, with the version they come from.
var foreignTypes = buildForeignTypes()

func buildForeignTypes() map[string]string {
	out := map[string]string{}
	for version, names := range map[string][]string{
		"R5 (or R4B)": {"ActorDefinition", "AdministrableProductDefinition", "ArtifactAssessment",
			"BiologicallyDerivedProductDispense", "Citation", "ClinicalUseDefinition", "ConditionDefinition",
			"DeviceAssociation", "DeviceDispense", "DeviceUsage", "EncounterHistory", "EvidenceReport",
			"FormularyItem", "GenomicStudy", "ImagingSelection", "Ingredient", "InventoryItem", "InventoryReport",
			"ManufacturedItemDefinition", "MedicinalProductDefinition", "NutritionIntake", "NutritionProduct",
			"PackagedProductDefinition", "Permission", "RegulatedAuthorization", "RequestOrchestration",
			"Requirements", "SubscriptionStatus", "SubscriptionTopic", "SubstanceDefinition", "TestPlan",
			"Transport"},
		"STU3": {"BodySite", "DataElement", "DeviceComponent", "EligibilityRequest", "EligibilityResponse",
			"ExpansionProfile", "ImagingManifest", "ProcedureRequest", "ProcessRequest", "ProcessResponse",
			"ReferralRequest", "Sequence", "ServiceDefinition"},
		"DSTU2": {"Conformance", "DeviceUseRequest", "DiagnosticOrder", "ImagingObjectSelection", "MedicationOrder",
			"Order", "OrderResponse"},
	} {
		for _, n := range names {
			out[n] = version
		}
	}
	return out
}

// foreignElements are top-level elements that R4 does not know, for types that several versions share.
var foreignElements = map[string]map[string]string{
	"AllergyIntolerance":       {"assertedDate": "STU3", "substance": "DSTU2"},
	"Condition":                {"assertedDate": "STU3", "dateRecorded": "DSTU2", "patient": "DSTU2"},
	"DocumentReference":        {"indexed": "STU3", "class": "STU3"},
	"Encounter":                {"actualPeriod": "R5", "plannedStartDate": "R5", "admission": "R5", "indication": "DSTU2"},
	"Immunization":             {"notGiven": "STU3", "wasNotGiven": "DSTU2", "date": "STU3"},
	"MedicationAdministration": {"medication": "R5", "wasNotGiven": "DSTU2"},
	"MedicationDispense":       {"medication": "R5"},
	"MedicationRequest":        {"medication": "R5"},
	"MedicationStatement":      {"medication": "R5", "taken": "STU3", "wasNotTaken": "DSTU2"},
	"Observation":              {"related": "STU3", "comments": "DSTU2", "instantiatesCanonical": "R5", "triggeredBy": "R5"},
	"Procedure":                {"occurrenceDateTime": "R5", "occurrencePeriod": "R5", "notDone": "STU3", "notPerformed": "DSTU2"},
}
