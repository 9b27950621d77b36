package gateway

import (
	"net/http"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/did"
)

// routes is all that the gateway serves, with what its document says of each.
func (s *server) routes() []route {
	const get, post, put, remove = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	document := s.document()
	return []route{
		{get, api.PathNetwork, s.getNetwork, light, lightTime, true, operation{tag: "network",
			summary: "What a newcomer needs to know of the network", out: api.Network{}}},
		{get, api.PathHealth, s.getHealth, light, lightTime, true, operation{tag: "network",
			summary: "Whether this node serves, and what is wrong if not", detail: "Look at ok: the status is 200 as long as the node answers at all.", out: api.Health{}}},
		{get, api.PathOpenAPI, document, light, lightTime, true, operation{tag: "network", summary: "This document", outType: "application/json"}},
		{get, api.PathMembers, s.getMembers, light, lightTime, true, operation{tag: "network", summary: "The member organisations, those that left too", out: []api.Member{}}},

		{post, api.PathActions, s.postActions, submit, submitTime, false, operation{tag: "actions",
			summary: "Have signed envelopes executed",
			detail: "JSON names envelopes that are executed each by itself, side by side; application/cbor is one parcel (docs/spec/protocol.md) as it is. " +
				"Answers come once the block is committed here, in the order of the envelopes. With Accept: application/cbor the answer is the canonical CBOR of a list of results.",
			in: api.Submission{}, inAlso: "application/cbor", out: api.Results{}, outAlso: "application/cbor"}},
		{get, api.PathAction, s.getAction, light, lightTime, false, operation{tag: "actions",
			summary: "What became of an executed envelope", detail: "The decision on an access is told to the envelope's signer alone.", signed: signedMay, who: "the envelope's signer", out: api.Result{}}},

		{get, api.PathCheckpoint, s.getCheckpoint, light, lightTime, true, operation{tag: "log",
			summary: "A checkpoint that a quorum has cosigned (C2SP tlog-checkpoint)", outType: "text/plain",
			query: []parameter{{"size", "covers at least so many entries; default 0"}, {"max_age_ms", "a quorum cosigned it no longer ago; at least 1000, default 60000"}}}},
		{get, api.PathTile, s.getLog, light, lightTime, true, operation{tag: "log",
			summary: "The log as C2SP tlog-tiles: checkpoint, tile/<L>/<N>[.p/<W>], tile/entries/<N>[.p/<W>]", outType: "application/octet-stream", outAlso: "text/plain"}},
		{get, api.PathConsistency, s.getConsistency, light, lightTime, true, operation{tag: "log",
			summary: "That the log of one size extends that of a smaller one (RFC 6962 §2.1.2)", out: api.Hashes{},
			query: []parameter{{"from", "the smaller size; default 0"}, {"to", "the larger size; default all"}}}},
		{get, api.PathReceipt, s.getReceipt, light, lightTime, false, operation{tag: "log",
			summary: "A receipt of one entry (C2SP tlog-proof); its extra data is salt ‖ entry", signed: signedMust, who: "who signed the entry's envelope, or the journal's patient", outType: "text/plain"}},

		{post, api.PathSponsor, s.postSponsor, light, lightTime, false, operation{tag: "people",
			summary: "Ask this member to sponsor a new journal", in: api.Sponsor{}, out: api.Sponsorship{}}},
		{post, api.PathClaims, s.putClaim, light, lightTime, false, operation{tag: "people",
			summary: "Keep the package of a provisional journal for its patient", signed: signedMust, who: "the gateway's member", in: api.ClaimPackage{}, status: http.StatusNoContent}},
		{post, api.PathClaimOpen, s.postClaimOpen, light, lightTime, false, operation{tag: "people",
			summary: "Get the package that a one-time code and the date of birth open",
			detail:  "Five wrong dates, over all requests ever, and the code is dead.", in: api.ClaimOpen{}, out: api.ClaimOpened{}}},
		{post, api.PathClaimAgree, s.postClaimAgree, light, lightTime, false, operation{tag: "people",
			summary: "Have this member agree to a claim", in: api.ClaimAgree{}, out: api.Sponsorship{}}},
		{get, api.PathControl, s.getControl, light, lightTime, false, operation{tag: "journals",
			summary: "Who controls a journal: devices and recoveries", signed: signedMust, who: "the patient, a device, or a guardian whose policy was revealed", out: api.Control{}}},
		{get, api.PathPractitioner, s.getPractitioner, light, lightTime, false, operation{tag: "people",
			summary: "What the ledger says of a practitioner", detail: "The name is told to signers that the network knows, if it opens the commitment.",
			signed: signedMay, who: "any member, practitioner or patient", out: api.Practitioner{}}},
		{get, api.PathPractitioners, s.getPractitioners, heavy, lightTime, false, operation{tag: "people",
			summary: "A member's practitioners, with the names that the member tells", signed: signedMust, who: "any member, practitioner or patient", out: []api.Practitioner{}}},
		{put, api.PathPractitioner, s.putPractitioner, light, lightTime, false, operation{tag: "people",
			summary: "Keep the name of this member's own practitioner, off the ledger", signed: signedMust, who: "the gateway's member", in: api.PractitionerName{}}},

		{get, api.PathDID, s.getOwnDID, light, lightTime, true, operation{tag: "people",
			summary: "The DID document of the gateway's member (W3C DID v1.0, did:web)", outType: did.MediaType}},
		{get, api.PathMemberDID, s.getMemberDID, light, lightTime, true, operation{tag: "people",
			summary: "A member's DID document", detail: "A member that was removed keeps its key there, with no relationship.", outType: did.MediaType}},
		{get, api.PathPersonDID, s.getPractitionerDID, light, lightTime, true, operation{tag: "people",
			summary: "A practitioner's DID document", detail: "It names nobody. Without standing the key stays, with no relationship.", outType: did.MediaType}},

		{get, api.PathJournal, s.getJournal, light, lightTime, false, operation{tag: "journals",
			summary: "What it takes to write into a journal", signed: signedMust, who: "a member, a practitioner with a valid credential, or the patient", out: api.Journal{}}},
		{get, api.PathSealing, s.getSealing, light, lightTime, false, operation{tag: "journals",
			summary: "Whom the journal's records are sealed to, with the proof that the network says so", signed: signedMust,
			who: "a member, a practitioner with a valid credential, the patient, or a delegate", out: api.Sealing{}}},
		{get, api.PathEntries, s.getEntries, light, lightTime, false, operation{tag: "journals",
			summary: "The journal's entries, a page at a time", signed: signedMust, who: "the patient", out: api.Entries{},
			query: []parameter{{"from", "the first entry's place in the journal; default 0"}, {"max", "entries on the page, 1 to 1000; default 200"}}}},
		{get, api.PathContracts, s.getContracts, light, lightTime, false, operation{tag: "journals",
			summary: "The journal's contracts, those that are over too", signed: signedMust, who: "the patient", out: []api.Contract{}}},
		{get, api.PathReaders, s.getReaders, heavy, heavyTime, false, operation{tag: "journals",
			summary: "Who can read what now, and by which contract", detail: "The very decisions that accesses would get, for everybody whom the network knows. " +
				"An emergency that waits for its review, quotas and the custodians are not looked at.",
			signed: signedMust, who: "the patient, or a delegate that shares", out: api.Readers{}}},
		{get, api.PathDisclosures, s.getDisclosures, heavy, lightTime, false, operation{tag: "journals",
			summary: "Who asked to read what, why and when, and what came of it",
			detail:  "For an accounting of disclosures (45 CFR 164.528; GDPR 15; EHDS 9): refused requests are in it too. The journal's proof shows that none is left out.",
			signed:  signedMust, who: "the patient, or a delegate that acts", out: api.Disclosures{},
			query: []parameter{{"from_ms", "requests of this time or later; default 0"}, {"to_ms", "requests before this time; default all"},
				{"from", "the first entry's place in the journal; default 0"}, {"max", "requests on the page, 1 to 1000; default 200"}}}},
		{get, api.PathRecords, s.getRecords, heavy, lightTime, false, operation{tag: "journals",
			summary: "The journal's records", signed: signedMust, who: "the patient", out: []api.Record{}}},
		{get, api.PathErasures, s.getErasures, heavy, lightTime, false, operation{tag: "journals",
			summary: "What was erased of the journal, and which nodes attest it", signed: signedMust, who: "the patient", out: []api.Erasure{}}},
		{get, api.PathHolds, s.getHolds, light, lightTime, false, operation{tag: "journals",
			summary: "The holds that keep erased records' files for a while", signed: signedMust, who: "the patient; a member or practitioner: its organisation's own", out: []api.Hold{}}},
		{get, api.PathAmendments, s.getAmendments, heavy, lightTime, false, operation{tag: "journals",
			summary: "Requests to amend records, and their answers", signed: signedMust, who: "the patient; a member or practitioner: those to its organisation", out: []api.Amendment{}}},
		{get, api.PathProof, s.getProof, heavy, heavyTime, false, operation{tag: "journals",
			summary: "All that proves the journal and the constitution complete", signed: signedMust, who: "the patient", out: api.JournalProof{},
			query: []parameter{{"max_age_ms", "a quorum cosigned the checkpoint no longer ago; at least 1000, default 60000"}}}},

		{get, api.PathEvents, s.getEvents, lasting, streamTime, false, operation{tag: "notices",
			summary: "Notices of the journal as they happen (server-sent events)",
			detail: "Each event has the id of its entry's place in the journal, the name notice, and a Notice as data. With Last-Event-ID, or from, the stream begins after that entry or " +
				"at it; else with what happens next. It ends after an hour, or when the asker's key counts no more: ask again, with the last id.",
			signed: signedMust, who: "the patient", outType: "text/event-stream", query: []parameter{{"from", "the first entry's place in the journal; default: the next to come"}}}},
		{get, api.PathSubscriptions, s.getSubscriptions, light, lightTime, false, operation{tag: "notices",
			summary: "Where this gateway takes the journal's notices", signed: signedMust, who: "the patient", out: []api.Subscription{}}},
		{put, api.PathSubscription, s.putSubscription, light, lightTime, false, operation{tag: "notices",
			summary: "Be told at a webhook or a mail address", detail: "The path names the SHA-256 of the body, so that the signature covers it. Asking again changes nothing. " +
				"A mail address is sent a code first; the secret with which a webhook's deliveries are signed is in the answer (docs/spec/notify.md).",
			signed: signedMust, who: "the patient", in: api.Subscribe{}, out: api.Subscription{}}},
		{remove, api.PathSubscription, s.deleteSubscription, light, lightTime, false, operation{tag: "notices",
			summary: "Be told there no more", signed: signedMust, who: "the patient"}},
		{put, api.PathConfirmation, s.putConfirmation, light, lightTime, false, operation{tag: "notices",
			summary: "Confirm a mail address with the code that was sent there", detail: "Five wrong codes are the end of it.", signed: signedMust, who: "the patient", in: api.Confirmation{}}},

		{get, api.PathAccesses, s.getAccesses, heavy, lightTime, false, operation{tag: "accesses",
			summary: "The asker's accesses that are still open", signed: signedMust, who: "a reader", out: []api.Access{}}},
		{get, api.PathAccess, s.getAccess, light, lightTime, false, operation{tag: "accesses",
			summary: "An open access and its records", signed: signedMust, who: "the access's reader", out: api.Access{}}},
		{post, api.PathShares, s.postShares, shares, lightTime, false, operation{tag: "accesses",
			summary: "The custodians' shares of an access's records, sealed to its one-time key", signed: signedMust, who: "the access's reader",
			in: api.ShareRequest{}, out: api.Shares{}}},

		{get, api.PathDelegations, s.getDelegations, light, lightTime, false, operation{tag: "journals",
			summary: "Who may stand in for the patient", detail: "A delegate sees itself and those to whom it delegated.", signed: signedMust, who: "the patient, or a delegate", out: []api.Delegation{}}},
		{get, api.PathSessions, s.getSessions, light, lightTime, false, operation{tag: "journals",
			summary: "The latest break-glass session of each practitioner in the journal", signed: signedMust, who: "the patient, or a practitioner (its own)", out: []api.BreakGlassSession{}}},
		{get, api.PathUnreviewed, s.getUnreviewed, heavy, lightTime, false, operation{tag: "people",
			summary: "The break-glass sessions that wait for this member's review", signed: signedMust, who: "an administrator of the member", out: []api.BreakGlassSession{}}},
		{get, api.PathReviewers, s.getReviewers, light, lightTime, false, operation{tag: "people",
			summary: "To whom at this member reasons for breaking the glass are sealed", signed: signedMust, who: "any member, practitioner or patient", out: []api.Practitioner{}}},
		{get, api.PathReason, s.getReason, files, lightTime, false, operation{tag: "accesses",
			summary: "The sealed reason of a break-glass access", signed: signedMust, who: "the patient, the practitioner who gave it, or an administrator of that member", outType: "application/octet-stream"}},
		{get, api.PathCard, s.getCard, light, lightTime, false, operation{tag: "accesses",
			summary: "An emergency card's sealed handle, by the name that its code gives", signed: signedMust, who: "an emergency physician or paramedic", out: api.Card{}}},

		{put, api.PathFile, s.putFile, files, fileTime, false, operation{tag: "files",
			summary: "Keep an encrypted file under the SHA-256 of its bytes", signed: signedMust, who: "a member, a practitioner with a valid credential; the patient and a delegate that acts, of at most 6 MiB",
			inType: "application/octet-stream", out: api.StoredFile{}, status: http.StatusCreated}},
		{get, api.PathFile, s.getFile, files, fileTime, false, operation{tag: "files",
			summary: "An encrypted file", detail: "Exactly one parameter says by what right. 404 says alike that there is no such file and that it is not the asker's.",
			signed: signedMust, who: "the patient (journal or record), or a reader (access)", outType: "application/octet-stream",
			query: []parameter{{"journal", "the patient's journal that has a record with this file"}, {"record", "the patient's record with this file"},
				{"access", "the reader's open access that lists a record with this file"}}}},
	}
}
