// Package api is the HTTP interface `/v1` in Go types: what a gateway serves and what wallets, the command line and other programs send.
// JSON throughout, except where bytes have a format of their own (envelopes, checkpoints, tiles, files). The same is served as an OpenAPI
// document at /v1/openapi.json.
//
// Whoever asks for something that is not public signs the question: see Authorise. Errors come as Problem, with a status that means
// something: 400 malformed, 401 no or bad signature, 403 refused, 404 not there (or not yours to know), 409 in the way, 413 too large,
// 429 slow down, 503 come back later, 507 disk full.
package api

import "github.com/anamnesis-health/anamnesis/protocol"

// Paths. {…} are placeholders of net/http's patterns.
const (
	PathNetwork       = "/v1/network"                    // GET → Network
	PathHealth        = "/v1/health"                     // GET → Health
	PathOpenAPI       = "/v1/openapi.json"               // GET
	PathActions       = "/v1/actions"                    // POST Submission → Results; or a parcel as application/cbor → Results
	PathAction        = "/v1/actions/{id}"               // GET → Result
	PathCheckpoint    = "/v1/checkpoint"                 // GET → signed note (text/plain) with fresh cosignatures
	PathTile          = "/v1/log/{path...}"              // GET → C2SP tlog-tiles: checkpoint, tile/…
	PathConsistency   = "/v1/consistency"                // GET ?from=&to= → Hashes
	PathSponsor       = "/v1/sponsor"                    // POST Sponsor → Sponsorship
	PathClaims        = "/v1/claims"                     // POST (member) ClaimPackage: what the desk keeps for a provisional journal
	PathClaimOpen     = "/v1/claims/open"                // POST ClaimOpen → ClaimOpened; never in a URL, so that no log has it
	PathClaimAgree    = "/v1/claims/agree"               // POST ClaimAgree → Sponsorship
	PathControl       = "/v1/journals/{id}/control"      // GET (patient, device, guardian) → Control
	PathMembers       = "/v1/members"                    // GET → []Member
	PathPractitioner  = "/v1/practitioners/{id}"         // GET → Practitioner; PUT PractitionerName: the member keeps the name, off the ledger
	PathPractitioners = "/v1/members/{id}/practitioners" // GET (signed) → []Practitioner of that member
	PathJournal       = "/v1/journals/{id}"              // GET (signed) → Journal
	PathSealing       = "/v1/journals/{id}/sealing"      // GET (signed) → Sealing
	PathEntries       = "/v1/journals/{id}/entries"      // GET (patient) ?from=&max= → Entries
	PathContracts     = "/v1/journals/{id}/contracts"    // GET (patient) → []Contract
	PathRecords       = "/v1/journals/{id}/records"      // GET (patient) → []Record
	PathProof         = "/v1/journals/{id}/proof"        // GET (patient) → JournalProof: everything an export needs but the files
	PathReceipt       = "/v1/entries/{index}/receipt"    // GET (signer or patient) → C2SP tlog-proof (text/plain)
	PathAccesses      = "/v1/accesses"                   // GET (reader) → []Access that are still open
	PathAccess        = "/v1/accesses/{id}"              // GET (reader) → Access
	PathShares        = "/v1/accesses/{id}/shares"       // POST (reader) ShareRequest → Shares
	PathDID           = "/.well-known/did.json"          // GET → the DID document of the gateway's member
	PathMemberDID     = "/members/{id}/did.json"         // GET → a member's DID document, as this gateway has it
	PathPersonDID     = "/practitioners/{id}/did.json"   // GET → a practitioner's DID document
	PathErasures      = "/v1/journals/{id}/erasures"     // GET (patient) → []Erasure
	PathHolds         = "/v1/journals/{id}/holds"        // GET (patient; or a member, its own) → []Hold
	PathAmendments    = "/v1/journals/{id}/amendments"   // GET (patient; or a member or practitioner, those it is to answer) → []Amendment
	PathDelegations   = "/v1/journals/{id}/delegations"  // GET (patient, delegate) → []Delegation
	PathSessions      = "/v1/journals/{id}/breakglass"   // GET (patient; its reader) → []BreakGlassSession
	PathUnreviewed    = "/v1/members/{id}/breakglass"    // GET (that member's administrators) → []BreakGlassSession without a review
	PathReviewers     = "/v1/members/{id}/reviewers"     // GET (signed) → []Practitioner: those to whom reasons are sealed
	PathReason        = "/v1/reasons/{hash}"             // GET (patient, its reader, the member's administrators) → the sealed reason
	PathCard          = "/v1/cards/{id}"                 // GET (emergency roles) → Card
	PathFile          = "/v1/files/{hash}"               // PUT (member or practitioner; the patient, a statement) bytes → StoredFile; GET (patient, or reader with ?access=) bytes

	// Rights.
	PathReaders     = "/v1/journals/{id}/readers"     // GET (patient) → Readers: who can read what now
	PathDisclosures = "/v1/journals/{id}/disclosures" // GET (patient) ?from_ms=&to_ms=&from=&max= → Disclosures: who asked to read, and what came of it

	// Being told.
	PathEvents        = "/v1/journals/{id}/events"                            // GET (patient) → text/event-stream of Notice; resumes with Last-Event-ID
	PathSubscriptions = "/v1/journals/{id}/subscriptions"                     // GET (patient) → []Subscription at this gateway
	PathSubscription  = "/v1/journals/{id}/subscriptions/{hash}"              // PUT (patient) Subscribe, whose SHA-256 is {hash} → Subscription; DELETE
	PathConfirmation  = "/v1/journals/{id}/subscriptions/{hash}/confirmation" // PUT (patient) Confirmation
)

// Network tells a newcomer all that is public.
type Network struct {
	Chain      string            `json:"chain"`
	Version    uint16            `json:"version"`
	Genesis    []byte            `json:"genesis"` // canonical CBOR, base64
	Member     protocol.MemberID `json:"member"`  // whose gateway answers
	Members    []Member          `json:"members"`
	Generation uint32            `json:"generation"` // of the custodians' key; 0 while it is being generated
	Keys       []byte            `json:"keys"`       // threshold.Keys of that generation
	Policy     string            `json:"policy"`     // C2SP tlog-policy: the trust root
	Head       Head              `json:"head"`
	Params     Params            `json:"params"`
}

// Params are protocol.Params as JSON.
type Params struct {
	QuotaMemberMinute  uint32 `json:"quota_member_minute"`
	QuotaJournalMinute uint32 `json:"quota_journal_minute"`
	AccessMillis       uint64 `json:"access_ms"`
	// EmergencyClasses are what the members recommend that emergency teams may see of a new journal.
	EmergencyClasses []string `json:"emergency_classes"`
}

// Head is where the answering node's ledger stands.
type Head struct {
	Height  uint64        `json:"height"`
	Time    uint64        `json:"time_ms"`
	Size    uint64        `json:"size"`
	Root    protocol.Hash `json:"root"`
	AppHash protocol.Hash `json:"app_hash"`
}

// Health says whether the node serves, and what is wrong if not.
type Health struct {
	OK        bool     `json:"ok"`
	Height    uint64   `json:"height"`
	Custodian bool     `json:"custodian"` // holds a share of the active generation
	Peers     int      `json:"peers"`
	Problems  []string `json:"problems"`
}

// Member is an organisation of the network.
type Member struct {
	ID        protocol.MemberID   `json:"id"`
	Name      string              `json:"name"`
	Kind      protocol.MemberKind `json:"kind"`
	Key       protocol.PublicKey  `json:"key"`
	Custodian uint16              `json:"custodian"` // 0: runs no node
	Gateway   string              `json:"gateway,omitempty"`
	Removed   bool                `json:"removed,omitempty"`
}

// Submission is a list of envelopes to be executed, each by itself.
type Submission struct {
	Envelopes [][]byte `json:"envelopes"`
}

// Results are in the order of the envelopes.
type Results struct {
	Results []Result `json:"results"`
}

// Result is protocol.Result with the advice for people.
type Result struct {
	ID     protocol.ActionID `json:"id"`
	OK     bool              `json:"ok"`
	Reason protocol.Reason   `json:"reason"`
	Advice string            `json:"advice,omitempty"`
	Height uint64            `json:"height"`
	First  uint64            `json:"first"` // index in the log of the first action's entry
	Access *AccessDecision   `json:"access,omitempty"`

	// Problem says why the gateway could not have this envelope executed, though others of the same submission were: OK is false, and
	// neither ID nor Reason means anything.
	Problem *Problem `json:"problem,omitempty"`
}

// AccessDecision is the outcome of a RequestAccess in the envelope, so that the reader need not ask again.
type AccessDecision struct {
	ID        protocol.AccessID     `json:"id"`
	Permitted bool                  `json:"permitted"`
	Reason    protocol.Reason       `json:"reason"`
	Advice    string                `json:"advice,omitempty"`
	Contracts []protocol.ContractID `json:"contracts"`
	Records   []protocol.RecordID   `json:"records"`
	Deadline  uint64                `json:"deadline_ms"`
}

// Sponsor asks a member to sponsor a new journal.
type Sponsor struct {
	Journal    protocol.JournalID `json:"journal"`
	Controller protocol.PublicKey `json:"controller"`
}

// Sponsorship is the member's agreement, for OpenJournal.
type Sponsorship struct {
	Sponsor   protocol.MemberID `json:"sponsor"`
	Agreement []byte            `json:"agreement"`
}

// Practitioner is somebody whom a member vouches for. Name, speciality and licence are off the ledger; they open its
// commitment.
type Practitioner struct {
	ID         protocol.PractitionerID `json:"id"`
	Member     protocol.MemberID       `json:"member"`
	Role       protocol.Role           `json:"role"`
	Status     string                  `json:"status"` // active, suspended, revoked
	ValidUntil uint64                  `json:"valid_until_ms"`
	Key        protocol.PublicKey      `json:"key"`
	Commitment protocol.Hash           `json:"commitment"`
	Name       *PractitionerName       `json:"name,omitempty"` // if the member tells, and it opens the commitment
}

// PractitionerName opens a practitioner's commitment: protocol.Digest("anamnesis/practitioner/v1", salt, name, speciality, licence).
type PractitionerName struct {
	Salt       []byte `json:"salt"`
	Name       string `json:"name"`
	Speciality string `json:"speciality"`
	Licence    string `json:"licence"` // where the member found that they may practise: an authority and a number
}

// Commitment is what the ledger holds of the name.
func (n PractitionerName) Commitment() protocol.Hash {
	return protocol.Digest("anamnesis/practitioner/v1", n.Salt, []byte(n.Name), []byte(n.Speciality), []byte(n.Licence))
}

// Journal is what somebody with its handle needs to write into it.
type Journal struct {
	ID         protocol.JournalID `json:"id"`
	Controller protocol.PublicKey `json:"controller"`
	Recipient  []byte             `json:"recipient"` // age X25519 public key, 32 bytes
	LabelEpoch uint8              `json:"label_epoch"`
	Sponsor    protocol.MemberID  `json:"sponsor"`
	Opened     uint64             `json:"opened_ms"`
	Closed     bool               `json:"closed,omitempty"` // erased as a whole: nothing comes to it any more
	Count      uint64             `json:"count"`            // entries; only for the patient
	Chain      protocol.Hash      `json:"chain"`            // only for the patient
}

// Entry is an entry with its salt: enough to compute its leaf.
type Entry struct {
	Index uint64          `json:"index"`
	Salt  []byte          `json:"salt"`
	Raw   []byte          `json:"entry"` // canonical CBOR of protocol.Entry
	Who   *Who            `json:"who,omitempty"`
	Proof []protocol.Hash `json:"proof,omitempty"` // inclusion, in JournalProof
}

// Who puts names to an entry's signer, as the gateway knows them; wallets show them beside the id that is proven.
type Who struct {
	Name   string `json:"name,omitempty"`
	Role   string `json:"role,omitempty"`
	Member string `json:"member,omitempty"`
}

// Entries is a page of a journal; Next is 0 at its end.
type Entries struct {
	Entries []Entry `json:"entries"`
	Next    uint64  `json:"next"`
	Count   uint64  `json:"count"`
}

// Notice tells that something happened in a journal, without saying what about: the wallet shows that.
type Notice struct {
	Seq    uint64 `json:"seq"` // the entry's place in the journal
	Time   uint64 `json:"time_ms"`
	Kind   string `json:"kind"` // stable, for programs: access, access-refused, break-glass, …
	Text   string `json:"text"`
	Urgent bool   `json:"urgent"`
}

// Subscribe asks to be told at a place of one's own. The path names the SHA-256 of the body, so that the signature of the question covers it.
type Subscribe struct {
	Way    string   `json:"way"`    // webhook, mail
	Target string   `json:"target"` // the webhook's https URL, or the mail address
	Kinds  []string `json:"kinds"`  // only these kinds of notices; empty: all
	Nonce  []byte   `json:"nonce"`  // 16 random bytes: each subscription is one of its own
}

// Subscription is where a gateway takes a journal's notices.
type Subscription struct {
	ID        protocol.Hash `json:"id"`
	Way       string        `json:"way"`
	Target    string        `json:"target"`
	Kinds     []string      `json:"kinds"`
	State     string        `json:"state"` // unconfirmed (a mail address, until the code in the first mail is told), active, broken (given up after days without success)
	Made      uint64        `json:"made_ms"`
	Waiting   uint64        `json:"waiting"`                // notices that are not delivered yet
	Delivered uint64        `json:"delivered_ms,omitempty"` // the last success
	Problem   string        `json:"problem,omitempty"`      // why the last attempt failed
	Secret    string        `json:"secret,omitempty"`       // signs a webhook's deliveries; only in the answer to PUT
}

// Confirmation is the code that came with the first mail.
type Confirmation struct {
	Code string `json:"code"`
}

// Delivery is the body of a webhook.
type Delivery struct {
	Subscription protocol.Hash `json:"subscription"`
	Notices      []Notice      `json:"notices"` // in the journal's order
}

// Contract is a contract as it stands.
type Contract struct {
	ID        protocol.ContractID `json:"id"`
	Template  uint8               `json:"template"`
	Policy    string              `json:"policy"`
	NotBefore uint64              `json:"not_before_ms"`
	NotAfter  uint64              `json:"not_after_ms"`
	UsesMax   uint32              `json:"uses_max"`
	Uses      uint32              `json:"uses"`
	State     string              `json:"state"` // active, ended, revoked
	Granted   uint64              `json:"granted_ms"`
	Over      uint64              `json:"over_ms,omitempty"`
	By        protocol.PublicKey  `json:"by,omitzero"`      // the delegate who granted it; none: the patient
	Within    []protocol.Label    `json:"within,omitempty"` // that delegate's classes; none: all
}

// Readers is everybody whom a contract would let read something of a journal, if they asked at Time.
type Readers struct {
	Time    uint64   `json:"time_ms"`
	Readers []Reader `json:"readers"` // by member; an organisation that reads by itself comes before its practitioners
	// Labels are those that openings speak of one by one; an opening of the zero label is of every other.
	Labels  []protocol.Label `json:"labels"`
	Partial bool             `json:"partial"` // the network has more practitioners than one answer looks at
}

// Reader is a practitioner, or an organisation by itself, and what it could read.
type Reader struct {
	Member       protocol.MemberID       `json:"member"`
	Practitioner protocol.PractitionerID `json:"practitioner,omitzero"`
	Role         string                  `json:"role,omitempty"`
	Name         *PractitionerName       `json:"name,omitempty"` // if the member tells, and it opens the commitment
	Opens        []Opening               `json:"opens"`          // by label
}

// Opening is what somebody could read of one class (the zero label: of every class that is not among Readers.Labels), asking now, and on
// which contracts that rests.
type Opening struct {
	Label     protocol.Label        `json:"label"`
	Records   int                   `json:"records"`               // that would open
	Of        int                   `json:"of"`                    // that there are; 0: none yet, and what comes would open
	Purposes  []protocol.Purpose    `json:"purposes"`              // for which they would
	Glass     []protocol.Purpose    `json:"break_glass,omitempty"` // for which they would by breaking the glass
	Contracts []protocol.ContractID `json:"contracts"`
}

// Disclosures is a page of an accounting of disclosures; Next is 0 at its end, else the place in the journal to go on from.
type Disclosures struct {
	Disclosures []Disclosure `json:"disclosures"`
	Next        uint64       `json:"next"`
}

// Disclosure is a request to read, permitted or refused.
type Disclosure struct {
	Entry        uint64                  `json:"entry"` // index in the log; its receipt proves it
	Seq          uint64                  `json:"seq"`   // place in the journal
	Time         uint64                  `json:"time_ms"`
	Kind         protocol.ActorKind      `json:"kind"` // member, practitioner, patient (the wallet or a device), delegate
	Member       protocol.MemberID       `json:"member,omitzero"`
	Practitioner protocol.PractitionerID `json:"practitioner,omitzero"`
	Key          protocol.PublicKey      `json:"key"` // that signed
	Who          *Who                    `json:"who,omitempty"`
	Purpose      protocol.Purpose        `json:"purpose"`
	Labels       []protocol.Label        `json:"labels,omitempty"` // asked for
	Named        []protocol.RecordID     `json:"named,omitempty"`  // asked for one by one
	BreakGlass   bool                    `json:"break_glass,omitempty"`
	Permitted    bool                    `json:"permitted"`
	Reason       protocol.Reason         `json:"reason"`
	Records      []protocol.RecordID     `json:"records"`   // that were opened
	Contracts    []protocol.ContractID   `json:"contracts"` // on which the decision rests
}

// Delegation is somebody who may stand in for the patient.
type Delegation struct {
	Key         protocol.PublicKey `json:"key"`
	Parent      protocol.PublicKey `json:"parent,omitzero"` // the delegate it comes from; none: the patient
	Level       protocol.Level     `json:"level"`
	Labels      []protocol.Label   `json:"labels"` // none: all
	NotBefore   uint64             `json:"not_before_ms"`
	NotAfter    uint64             `json:"not_after_ms"`
	MayDelegate bool               `json:"may_delegate"`
	InForce     bool               `json:"in_force"`
}

// BreakGlassSession is what a practitioner did in one emergency, and what became of its review.
type BreakGlassSession struct {
	ID           protocol.AccessID       `json:"session"`
	Journal      protocol.JournalID      `json:"journal"`
	Practitioner protocol.PractitionerID `json:"practitioner"`
	Member       protocol.MemberID       `json:"member"`
	Opened       uint64                  `json:"opened_ms"`
	Ends         uint64                  `json:"ends_ms"`
	ReviewDue    uint64                  `json:"review_due_ms"`
	Accesses     uint32                  `json:"accesses"`
	Reasons      []protocol.Hash         `json:"reasons"` // sealed, in the order of their hashes
	Overdue      bool                    `json:"overdue,omitempty"`
	Verdict      string                  `json:"verdict,omitempty"` // justified, unjustified; empty: not reviewed
	Reviewer     protocol.PractitionerID `json:"reviewer,omitzero"`
	Reviewed     uint64                  `json:"reviewed_ms,omitempty"`
}

// Card is an emergency card as it is found: the handle, sealed under the card's short form.
type Card struct {
	Sealed []byte `json:"sealed"`
}

// Record is a record as the ledger knows it.
type Record struct {
	ID           protocol.RecordID       `json:"id"`
	Journal      protocol.JournalID      `json:"journal"`
	Seq          uint64                  `json:"seq"`
	Entry        uint64                  `json:"entry"` // index of its entry in the log
	Label        protocol.Label          `json:"label"`
	Member       protocol.MemberID       `json:"member"` // the author, or the author's member; zero: the patient, or a delegate
	Practitioner protocol.PractitionerID `json:"practitioner"`
	AuthorKind   protocol.ActorKind      `json:"author_kind"`
	AuthorKey    protocol.PublicKey      `json:"author_key"` // that signed the entry: Signer.Key of the journal's entry at Seq
	Recorded     uint64                  `json:"recorded_ms"`
	Ciphertext   protocol.Hash           `json:"ciphertext"`
	Size         uint64                  `json:"size"`
	Capsule      protocol.Hash           `json:"capsule"`
	Generation   uint32                  `json:"generation"`
	Manifest     protocol.Hash           `json:"manifest"`
	Root         protocol.Hash           `json:"root"`

	Relation   protocol.Relation   `json:"relation,omitempty"`      // to About
	About      *protocol.RecordID  `json:"about,omitempty"`         // the version that it supersedes, or what it is a statement about
	Superseded *protocol.RecordID  `json:"superseded_by,omitempty"` // the newer version
	Erased     uint64              `json:"erased_height,omitempty"` // from which nobody opens it
	Erasure    *protocol.ErasureID `json:"erasure,omitempty"`       // by which its file goes
	Held       bool                `json:"held,omitempty"`          // erased, and its file is kept for as long as a hold lasts
}

// Erasure is what a patient had erased, or what the end of a hold let go.
type Erasure struct {
	ID         protocol.ErasureID  `json:"id"`
	What       string              `json:"what"` // records, labels, author, everything, or release: what a hold had kept
	Records    []protocol.RecordID `json:"records,omitempty"`
	Labels     []protocol.Label    `json:"labels,omitempty"`
	Author     *protocol.MemberID  `json:"author,omitempty"`
	Hold       *protocol.HoldID    `json:"hold,omitempty"` // whose end it was
	Height     uint64              `json:"height"`         // from which its records are closed to everybody
	Time       uint64              `json:"time_ms"`
	Through    bool                `json:"through"` // all its records are off the shelves: count and held are final
	Count      uint32              `json:"count"`   // records whose files go
	Held       uint32              `json:"held"`    // records that are closed, and whose files a hold keeps
	Root       protocol.Hash       `json:"root"`
	Nodes      uint16              `json:"nodes"`    // that are to attest that no byte is left
	Attested   uint16              `json:"attested"` // that have
	AttestedBy []protocol.MemberID `json:"attested_by"`
}

// Hold is a member's hold over its own records.
type Hold struct {
	ID      protocol.HoldID     `json:"id"`
	Member  protocol.MemberID   `json:"member"`
	Records []protocol.RecordID `json:"records"` // empty: all that the member has in the journal
	Until   uint64              `json:"until_ms"`
	Code    protocol.HoldCode   `json:"code"`
	Set     uint64              `json:"set_ms"`
}

// Amendment is the last request to amend a record.
type Amendment struct {
	Record    protocol.RecordID  `json:"record"`
	Statement protocol.RecordID  `json:"statement"`
	Member    protocol.MemberID  `json:"member"` // who is to answer
	Asked     uint64             `json:"asked_ms"`
	Due       uint64             `json:"due_ms"`
	State     string             `json:"state"` // open, overdue, accepted, denied
	Version   *protocol.RecordID `json:"version,omitempty"`
	Denial    string             `json:"denial,omitempty"`
}

// Access is a permitted access while it is served.
type Access struct {
	ID       protocol.AccessID  `json:"id"`
	Journal  protocol.JournalID `json:"journal"`
	Purpose  protocol.Purpose   `json:"purpose"`
	Deadline uint64             `json:"deadline_ms"`
	Records  []Record           `json:"records"`
}

// ShareRequest asks the custodians for their shares of an access's records. Capsules are in the order of the records named; all of one
// generation.
type ShareRequest struct {
	Generation uint32              `json:"generation"`
	Records    []protocol.RecordID `json:"records"`
	Capsules   [][]byte            `json:"capsules"`
	All        bool                `json:"all"` // wait for every custodian, not only a threshold: to route around one that lies
}

// Shares are the custodians' answers.
type Shares struct {
	Answers []Share `json:"answers"`
}

// Share is one custodian's answer, sealed to the access's one-time key (custodian.Answer inside), or a refusal.
type Share struct {
	Custodian uint16          `json:"custodian"`
	Epoch     uint32          `json:"epoch,omitempty"`
	Sealed    []byte          `json:"sealed,omitempty"`
	Reason    protocol.Reason `json:"reason,omitempty"`
	Detail    string          `json:"detail,omitempty"`
	Retry     bool            `json:"retry,omitempty"`   // this custodian may be able to answer shortly
	Records   []int           `json:"records,omitempty"` // of a refusal: the places in the request of the records that it is about; without them it would not be refused for this
}

// StoredFile says that a file is kept. Note is not empty if fewer members hold it by now than should; they go on.
type StoredFile struct {
	Hash protocol.Hash `json:"hash"`
	Size uint64        `json:"size"`
	Note string        `json:"note,omitempty"`
}

// JournalProof is all that proves a journal complete at one checkpoint: the seal at the checkpoint's end, under whose map root lie the heads
// of the journal and of the constitution and the rows of everybody who appears; the entries of both journals with inclusion proofs; and
// the envelopes that caused them, each once, in the order of the entries.
type JournalProof struct {
	Checkpoint    string               `json:"checkpoint"` // signed note
	Policy        string               `json:"policy"`
	Seal          Entry                `json:"seal"` // the entry at size-1, with its inclusion proof
	Journal       ProvenJournal        `json:"journal"`
	Constitution  ProvenJournal        `json:"constitution"`
	Envelopes     [][]byte             `json:"envelopes"`
	Members       []ProvenRow          `json:"members"`       // registry.MemberRow, of every member, by id
	Practitioners []ProvenPractitioner `json:"practitioners"` // of those who sign in the journal, by id
}

// ProvenJournal is a journal with its head in the state map.
type ProvenJournal struct {
	ID        protocol.JournalID `json:"id"`
	Head      []byte             `json:"head"`       // canonical CBOR of protocol.Head
	HeadProof []byte             `json:"head_proof"` // smt.Proof of protocol.StateKeyHead(id)
	Entries   []Entry            `json:"entries"`    // all of them, in order, each with its inclusion proof; Who is left out
}

// ProvenRow is a row of the state map with its proof.
type ProvenRow struct {
	ID    []byte `json:"id"`
	Row   []byte `json:"row"`   // canonical CBOR
	Proof []byte `json:"proof"` // smt.Proof
}

// Sealing proves to an author whom a journal's records are sealed to: the journal's row and the custodians' key, under one checkpoint.
type Sealing struct {
	Checkpoint string    `json:"checkpoint"` // C2SP, cosigned by a quorum
	Seal       Entry     `json:"seal"`       // the entry at size-1, which holds the state map's root
	Journal    ProvenRow `json:"journal"`
	Current    ProvenRow `json:"current"` // which generation of the key serves new records
	Key        ProvenRow `json:"key"`     // that generation's
}

// ProvenPractitioner is a practitioner's registry row with its proof, and the name that opens its commitment, if the member tells.
type ProvenPractitioner struct {
	ProvenRow
	Name *PractitionerName `json:"name,omitempty"`
}

// Hashes is a list of Merkle tree nodes.
type Hashes struct {
	Hashes []protocol.Hash `json:"hashes"`
}

// Problem is an error for people and programs (RFC 9457, application/problem+json).
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"` // what to do next
	Code   string `json:"code"`             // stable, for programs
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

// ClaimPackage is what an organisation's desk keeps for a journal until its patient claims it.
type ClaimPackage struct {
	Lookup      []byte             `json:"lookup"` // 16 bytes, derived from the one-time code
	Journal     protocol.JournalID `json:"journal"`
	Sealed      []byte             `json:"sealed"`        // the handle, sealed under the code
	DateOfBirth string             `json:"date_of_birth"` // YYYY-MM-DD, the second factor; kept salted and hashed
}

// ClaimOpen asks the desk for a package.
type ClaimOpen struct {
	Lookup      []byte `json:"lookup"`
	DateOfBirth string `json:"date_of_birth"`
}

// ClaimOpened is a package.
type ClaimOpened struct {
	Journal protocol.JournalID `json:"journal"`
	Sealed  []byte             `json:"sealed"`
	Sponsor protocol.MemberID  `json:"sponsor"`
	Until   uint64             `json:"until_ms"`
}

// ClaimAgree asks the sponsor to agree to a claim.
type ClaimAgree struct {
	Lookup      []byte             `json:"lookup"`
	DateOfBirth string             `json:"date_of_birth"`
	Code        protocol.PublicKey `json:"code"` // the key that the code makes
	CodeProof   []byte             `json:"code_proof"`
	Controller  protocol.PublicKey `json:"controller"`
	Recipient   []byte             `json:"recipient"`
}

// Control is who controls a journal.
type Control struct {
	ID          protocol.JournalID `json:"id"`
	Controller  protocol.PublicKey `json:"controller"`
	Provisional bool               `json:"provisional"`
	ClaimUntil  uint64             `json:"claim_until_ms,omitempty"`
	Guardians   bool               `json:"guardians"`        // it has some; who stays hidden
	Card        bool               `json:"card"`             // there is an emergency card; not for guardians
	Due         uint64             `json:"due_ms,omitempty"` // when it changes hands, unless somebody vetoes
	Devices     []Device           `json:"devices"`          // not for guardians
	Recoveries  []Recovery         `json:"recoveries"`
}

// Device is a key that signs for the patient.
type Device struct {
	Key     protocol.PublicKey `json:"key"`
	Name    protocol.Hash      `json:"name"` // commitment; the wallet knows the name
	Added   uint64             `json:"added_ms"`
	Revoked uint64             `json:"revoked_ms,omitempty"`
}

// Recovery is a recovery by guardians. At: while it gathers, when it expires; while it waits, when the journal changes hands; then, when
// it was over.
type Recovery struct {
	ID         protocol.RecoveryID  `json:"id"`
	Controller protocol.PublicKey   `json:"controller"`
	State      string               `json:"state"` // gathering, waiting, completed, vetoed, expired, overtaken
	Approvals  []protocol.PublicKey `json:"approvals"`
	Groups     []RecoveryGroup      `json:"groups"`
	Proposed   uint64               `json:"proposed_ms"`
	At         uint64               `json:"at_ms"`
}

// RecoveryGroup is how far a group of guardians has come.
type RecoveryGroup struct {
	Need int `json:"need"`
	Of   int `json:"of"`
	Have int `json:"have"`
}
