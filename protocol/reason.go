package protocol

import "fmt"

// Reason says why something was rejected or refused, in a number that is consensus data and a name for programs; Advice is for people.
// It never says what the data is about, nor whether something exists that the asker may not know of.
type Reason uint16

// Reasons. Below 100: decisions of contracts, which become entries. From 100: rejections, which leave no entry.
const (
	Accepted Reason = 0

	NoContract     Reason = 1  // nothing permits it
	Forbidden      Reason = 2  // a contract forbids it
	NotYet         Reason = 3  // the contract has not begun
	Ended          Reason = 4  // the contract's time is over
	UsedUp         Reason = 5  // the contract's uses are used up
	ContractError  Reason = 6  // a policy could not be evaluated: that denies
	NoCredential   Reason = 7  // the practitioner is suspended, revoked or expired
	TooManyRecords Reason = 8  // more records than one access opens
	Withdrawn      Reason = 9  // the patient revoked the contract
	WrongPurpose   Reason = 10 // permitted, but for another purpose
	BadRequest     Reason = 11 // the question makes no sense

	NotEmergencyRole  Reason = 12 // the glass is broken in emergency roles only
	ReviewDue         Reason = 13 // the last session of this reader waits for its review
	OutsideDelegation Reason = 14 // the delegation does not reach this
	RecordErased      Reason = 16 // permitted, but the patient had it erased

	Expired           Reason = 100 // not-after has passed
	NotAfterTooFar    Reason = 101
	WrongNetwork      Reason = 102
	WrongVersion      Reason = 103
	UnknownSigner     Reason = 104
	WrongKey          Reason = 105 // not the signer's current key
	MemberSuspended   Reason = 106
	QuotaMember       Reason = 107
	QuotaJournal      Reason = 108
	NotEntitled       Reason = 109 // this kind of signer may not do this
	UnknownJournal    Reason = 110
	JournalExists     Reason = 111
	NotPermitted      Reason = 112 // no contract lets the signer write
	RecordExists      Reason = 113
	UnknownContract   Reason = 114
	ContractOver      Reason = 115 // it ended or was revoked already
	BadPolicy         Reason = 116
	TooManyContracts  Reason = 117
	BadWindow         Reason = 118
	UnknownMember     Reason = 119
	MemberExists      Reason = 120
	UnknownProposal   Reason = 121
	ProposalClosed    Reason = 122
	AlreadyApproved   Reason = 123
	BadProof          Reason = 124
	UnknownRecord     Reason = 125
	PractitionerGone  Reason = 126 // revoked for good, or another member's
	WrongGeneration   Reason = 127
	KeygenPhase       Reason = 128 // the step does not fit where key generation stands
	BadDeal           Reason = 129
	NotACustodian     Reason = 130
	WrongJournal      Reason = 131 // the action needs a journal, or none
	KeyInUse          Reason = 132
	AlreadyDone       Reason = 133
	TooManyMembers    Reason = 134
	DuplicateInParcel Reason = 135

	WrongCode        Reason = 136 // not the key of the journal's one-time code
	NotProvisional   Reason = 137 // the journal is its patient's already
	ClaimExpired     Reason = 138
	StillProvisional Reason = 139 // nobody has claimed the journal yet
	WrongGuardians   Reason = 140 // not the guardians that the journal commits to
	NotAGuardian     Reason = 141
	UnknownRecovery  Reason = 142
	RecoveryOver     Reason = 143 // vetoed, expired, completed, or overtaken by another
	RecoveryDue      Reason = 144 // the journal is changing hands
	AlreadySpoken    Reason = 145 // this guardian approved it, or has a proposal of its own open
	UnknownDevice    Reason = 146
	DeviceRevoked    Reason = 147
	TooManyDevices   Reason = 148
	NotForDevices    Reason = 149 // only the key that controls the journal may do this

	UnknownSession     Reason = 150 // no such break-glass session
	NotAReviewer       Reason = 151 // reviews are by another administrator of the same member
	SessionReviewed    Reason = 152 // already
	ReasonReused       Reason = 153 // the sealed reason was given before, elsewhere
	UnknownDelegation  Reason = 154
	DelegationOver     Reason = 155 // it ended, or has not begun
	BeyondDelegation   Reason = 156 // more than the delegation's level, scope or time
	DelegateExists     Reason = 157 // the key is a delegate of this journal already
	TooManyDelegations Reason = 158
	CardTaken          Reason = 159 // the card's name is another journal's

	UnknownErasure    Reason = 165
	ErasurePending    Reason = 166 // an erasure of the journal is still under way
	AlreadyErased     Reason = 167
	JournalClosed     Reason = 168 // erased as a whole
	BadRelation       Reason = 169 // what a version or statement names is not what it may be about
	TooManyStatements Reason = 170
	UnknownHold       Reason = 171
	TooManyHolds      Reason = 172
	UnknownAmendment  Reason = 173
	AmendmentOpen     Reason = 174 // one about this record waits for its answer
	AmendmentAnswered Reason = 175
	NotTheAuthor      Reason = 176
	BadErasure        Reason = 177 // an attestation of something else than was erased
	TooManyErasures   Reason = 178
	TooManyOwnRecords Reason = 179 // written by the patient and delegates
	OwnRecordTooLarge Reason = 180
	NotNobodys        Reason = 181 // a provisional journal's recipient that may be somebody's
)

// ReasonsEnd is beyond all reasons.
const ReasonsEnd Reason = 200

type reasonText struct{ name, advice string }

var reasonTexts = map[Reason]reasonText{
	Accepted:       {"accepted", ""},
	NoContract:     {"no-contract", "The patient has not given you access to this. Ask them to grant it, or name fewer classes."},
	Forbidden:      {"forbidden", "The patient has closed this to you. Only they can change that."},
	NotYet:         {"not-yet", "The patient's grant begins later. Try again then, or ask them to move it."},
	Ended:          {"ended", "The patient's grant has ended. Ask them for a new one."},
	UsedUp:         {"used-up", "The patient's grant has been used as often as it allows. Ask them for a new one."},
	ContractError:  {"contract-error", "The patient's contract could not be evaluated, and so nothing is opened. Ask them to grant anew."},
	NoCredential:   {"no-credential", "Your credential is suspended, revoked or expired. Your organisation's registrar can renew it."},
	TooManyRecords: {"too-many-records", "More records than one access opens. Name fewer classes, or the records themselves."},
	Withdrawn:      {"withdrawn", "The patient has withdrawn this grant. Ask them for a new one."},

	WrongPurpose: {"wrong-purpose", "The patient has granted this for another purpose. Ask for that purpose, if it is yours."},
	BadRequest:   {"bad-request", "The request names a purpose, role or time that the network does not know."},

	NotEmergencyRole:  {"not-emergency-role", "Only emergency physicians and paramedics break the glass. Ask for the purpose of your work instead."},
	ReviewDue:         {"review-due", "Your last break-glass session has not been reviewed. Ask an administrator of your organisation to review it."},
	OutsideDelegation: {"outside-delegation", "Your delegation does not reach this. Name other classes, or ask the patient to widen it."},
	RecordErased:      {"erased", "The patient has had this erased. Nobody can open it any more."},

	UnknownErasure:    {"unknown-erasure", "This journal has no such erasure."},
	ErasurePending:    {"erasure-pending", "An erasure of this journal is still under way. Try again in a few seconds."},
	AlreadyErased:     {"already-erased", "A record that is named is erased already. Leave it out."},
	JournalClosed:     {"journal-closed", "The patient has had this journal erased and closed. Nothing can be added to it, asked of it or granted in it."},
	BadRelation:       {"bad-relation", "A new version needs a record of the same author and class that has no newer version; a statement needs an organisation's record of the same class. Neither may be erased. An amendment is asked of the organisation that wrote the record; write a new version of your own."},
	TooManyStatements: {"too-many-statements", "There are as many statements about this record as there may be."},
	UnknownHold:       {"unknown-hold", "Your organisation has no such hold in this journal."},
	TooManyHolds:      {"too-many-holds", "Your organisation has as many holds in this journal as it may have. Lift one, or set one over all of your records."},
	UnknownAmendment:  {"unknown-amendment", "No amendment of this record was asked for."},
	AmendmentOpen:     {"amendment-open", "An amendment of this record was asked for already and waits for its author's answer."},
	AmendmentAnswered: {"amendment-answered", "This was answered already."},
	NotTheAuthor:      {"not-the-author", "Only the organisation that wrote a record may do this."},
	BadErasure:        {"bad-erasure", "The attestation is not of what was erased."},
	TooManyErasures:   {"too-many-erasures", "As many erasures of this journal are under way as may be. Try again in a few seconds."},
	NotNobodys:        {"not-nobodys", "Until its patient claims a journal, its records are sealed to nobody but the custodians. Use this program to open it."},
	TooManyOwnRecords: {"too-many-own-records", "The journal has as many records and statements of the patient's own as it may have; delegates may fill half. Have some erased."},
	OwnRecordTooLarge: {"own-record-too-large", "A record of the patient's own has at most 6 MiB. Make it smaller, or split it."},

	Expired:           {"expired", "The request was too old when it reached the ledger. Check this computer's clock and send it again."},
	NotAfterTooFar:    {"not-after-too-far", "The request's not-after lies more than ten minutes ahead. Check this computer's clock and send it again."},
	WrongNetwork:      {"wrong-network", "The request was signed for another network. Check which network the wallet belongs to."},
	WrongVersion:      {"wrong-version", "The request was made for another protocol version. Update the program."},
	UnknownSigner:     {"unknown-signer", "The network does not know this signer. Register first."},
	WrongKey:          {"wrong-key", "This is not the signer's current key. Use the key that replaced it."},
	MemberSuspended:   {"member-removed", "The signer's organisation is no longer a member."},
	QuotaMember:       {"quota-member", "The organisation has used its share for this minute. Try again in a minute."},
	QuotaJournal:      {"quota-journal", "This journal has used its share for this minute. Try again in a minute."},
	NotEntitled:       {"not-entitled", "This kind of signer may not do this."},
	UnknownJournal:    {"unknown-journal", "There is no such journal on this network. Check the handle."},
	JournalExists:     {"journal-exists", "The journal is open already."},
	NotPermitted:      {"not-permitted", "The patient has not allowed you to add to this journal. Ask them for a contributor grant."},
	RecordExists:      {"record-exists", "A record with this id exists already."},
	UnknownContract:   {"unknown-contract", "This journal has no such contract."},
	ContractOver:      {"contract-over", "The contract has ended already."},
	BadPolicy:         {"bad-policy", "The contract is not canonical Cedar of the network's schema."},
	TooManyContracts:  {"too-many-contracts", "The journal has as many active contracts as it may have. Revoke one first."},
	BadWindow:         {"bad-window", "The contract's end has passed, or lies too far ahead."},
	UnknownMember:     {"unknown-member", "There is no such member."},
	MemberExists:      {"member-exists", "There is such a member already."},
	UnknownProposal:   {"unknown-proposal", "There is no such proposal."},
	ProposalClosed:    {"proposal-closed", "The proposal is decided already."},
	AlreadyApproved:   {"already-approved", "This member has approved it already."},
	BadProof:          {"bad-proof", "A signature or proof inside the action does not verify."},
	UnknownRecord:     {"unknown-record", "This journal has no such record."},
	PractitionerGone:  {"practitioner-gone", "This practitioner is revoked, or another member's."},
	WrongGeneration:   {"wrong-generation", "Records are sealed to the active generation of the custodians' key. Fetch it and seal again."},
	KeygenPhase:       {"keygen-phase", "This step does not fit where key generation stands."},
	BadDeal:           {"bad-deal", "The deal does not verify."},
	NotACustodian:     {"not-a-custodian", "Only a member with a node takes part in key generation."},
	WrongJournal:      {"wrong-journal", "The action does not belong in this journal."},
	KeyInUse:          {"key-in-use", "This key is somebody's already."},
	AlreadyDone:       {"already-done", "This was done already."},
	TooManyMembers:    {"too-many-members", "The network has as many members as it may have."},
	DuplicateInParcel: {"duplicate", "The same request was sent twice."},

	WrongCode:          {"wrong-code", "This is not the journal's code. Check it character by character, or ask for a new one where the journal was opened."},
	NotProvisional:     {"not-provisional", "The journal has been claimed already. If it was not you, tell the organisation that opened it at once."},
	ClaimExpired:       {"claim-expired", "The code is too old. Ask for a new one where the journal was opened."},
	StillProvisional:   {"still-provisional", "The journal has not been claimed yet. Its care team reads it under its contracts."},
	WrongGuardians:     {"wrong-guardians", "The journal has no guardians, or others by now. Ask for the newest guardian kit."},
	NotAGuardian:       {"not-a-guardian", "This key is not one of the journal's guardians."},
	UnknownRecovery:    {"unknown-recovery", "There is no such recovery of this journal."},
	RecoveryOver:       {"recovery-over", "The recovery is over: completed, vetoed, expired, or another one was completed."},
	RecoveryDue:        {"recovery-due", "The journal is changing hands in this moment. Try again with the new key."},
	AlreadySpoken:      {"already-spoken", "This guardian has approved it already, or has a proposal of its own that is still open."},
	UnknownDevice:      {"unknown-device", "The journal has no such device."},
	DeviceRevoked:      {"device-revoked", "This device was cut off from the journal. Add it again under a new key if that was a mistake."},
	TooManyDevices:     {"too-many-devices", "The journal has as many devices as it may have. Revoke one first."},
	NotForDevices:      {"not-for-devices", "A device may not do this. Use the wallet that controls the journal."},
	UnknownSession:     {"unknown-session", "This practitioner has no such break-glass session in this journal."},
	NotAReviewer:       {"not-a-reviewer", "A break-glass session is reviewed by an administrator of the same organisation, and never by who broke the glass."},
	SessionReviewed:    {"session-reviewed", "This session has been reviewed already. A verdict stays."},
	ReasonReused:       {"reason-reused", "This sealed reason was given before. Seal the reason anew for this patient and this session."},
	UnknownDelegation:  {"unknown-delegation", "This journal has no such delegate."},
	DelegationOver:     {"delegation-over", "The delegation has ended, or has not begun. The patient can delegate anew."},
	BeyondDelegation:   {"beyond-delegation", "This goes beyond what was delegated: its level, its classes or its time. Ask the patient."},
	DelegateExists:     {"delegate-exists", "This key is a delegate of the journal already. End that delegation first."},
	TooManyDelegations: {"too-many-delegations", "The journal has as many delegates as it may have, or they delegate too deep. End one first."},
	CardTaken:          {"card-taken", "This card belongs to another journal. Make a new one."},
}

// String is the name for programs.
func (r Reason) String() string {
	if t, ok := reasonTexts[r]; ok {
		return t.name
	}
	return fmt.Sprintf("unknown(%d)", uint16(r))
}

// Advice says in a sentence or two what to do next.
func (r Reason) Advice() string { return reasonTexts[r].advice }

// MarshalText implements encoding.TextMarshaler.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Reason) UnmarshalText(b []byte) error {
	for n := range ReasonsEnd {
		if t, ok := reasonTexts[n]; ok && t.name == string(b) {
			*r = n
			return nil
		}
	}
	return fmt.Errorf("%w: unknown reason", ErrBadID)
}

// Rejection is a Reason as an error.
type Rejection struct{ Reason Reason }

func (r *Rejection) Error() string { return r.Reason.String() + ": " + r.Reason.Advice() }

// Is lets errors.Is compare rejections by reason.
func (r *Rejection) Is(target error) bool {
	t, ok := target.(*Rejection)
	return ok && t.Reason == r.Reason
}
