// Package proof makes and checks what a patient can hold in their hands: the export of a journal, which proves offline that its log is true
// and complete; receipts of single entries; and the log in words. It builds for js/wasm, asks no network and reads no clock.
//
//	api.JournalProof + files ──► Write ──► one file ──► Verify ──► Report
//	                                          └───────► OpenRecords(identity) ──► records, each checked against its entry
//	entry + checkpoint ──► Receipt ──► VerifyReceipt ──► ReceiptReport
//	entries ──► Log ──► who, what, why, when, permitted or refused
//
// # What holding means
//
// A report is OK if the trust policy's quorum cosigned the checkpoint; the seal at its end holds the state map's root; under that root lie
// the heads of the journal and of the constitution, and the counts and hash chains in those heads come out of the entries shown, in order;
// each entry is in the log at its place; each signed entry is what its signer's envelope asked for, with a signature that holds; and every
// file is the one that its record's entry commits to. So nothing was changed, removed, reordered or added, unless a quorum of the network's
// nodes agreed to lie. When the policy comes from the export itself, the report says so: compare its digest with one from elsewhere.
//
// Verification goes on after a failure and reports each one (at most FailuresMax) with a stable code and its place.
//
// # Limits
//
// An export is read front to back, once; its journal sections are held in memory (SectionBytesMax each at most, and no more than the file
// really has), its record files are not. The format is in docs/spec/export.md. Every byte of it counts: what is not authenticated by a
// signature or a hash must be the one canonical spelling, so that no changed byte goes unnoticed.
package proof

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Limits, the unit last.
const (
	FailuresMax       = 100
	SectionBytesMax   = 256 << 20 // one section of an export: the entries of a journal with their proofs, say
	ItemBytesMax      = 64 << 10  // one entry, envelope or row in a section
	JournalEntriesMax = 1 << 20
)

// Options say what the verifier trusts and what it asks for beyond that. Only Now is required.
type Options struct {
	Policy       []byte             // the trust root (C2SP tlog-policy text) from one's own wallet; nil: the export's own
	Now          uint64             // UTC ms
	MaxAge       time.Duration      // how long ago at most a quorum cosigned the checkpoint; 0: any age
	MinCosigners int                // ask for more cosigners than the policy's quorum; fewer have no effect
	Journal      protocol.JournalID // which journal it must be; zero: any
	Pin          *Pin               // a checkpoint of the same network seen before
}

// Pin is a checkpoint seen before. Proof is the consistency proof (RFC 6962 §2.1.2) from its size to the checkpoint's; without it, only a
// smaller checkpoint and another root at the same size can be noticed, and the report says that growth was not checked.
type Pin struct {
	Size  uint64
	Root  protocol.Hash
	Proof []protocol.Hash
}

func (o *Options) maxAge() time.Duration {
	if o.MaxAge <= 0 {
		return anyAge
	}
	return o.MaxAge
}

// Code names a kind of failure; codes are stable.
type Code string

// The kinds of failure.
const (
	CodeUnreadable  Code = "unreadable"   // not an export or receipt at all
	CodeNewer       Code = "newer-format" // made by a newer program
	CodeTruncated   Code = "truncated"    // it ends early
	CodeTrailing    Code = "trailing"     // something follows its end
	CodeContainer   Code = "container"    // a header, padding or fixed part is not what it must be
	CodeMissing     Code = "part-missing" // a part of the export is not there
	CodeUnexpected  Code = "part-unexpected"
	CodeTooLarge    Code = "too-large"
	CodeMalformed   Code = "malformed"     // a part does not parse
	CodeUncanonical Code = "not-canonical" // a part parses and is not the one spelling of its content

	CodePolicy        Code = "policy"         // the trust policy is malformed, or not the one that follows from the genesis
	CodeWrongPolicy   Code = "wrong-policy"   // the export's policy is not the one given
	CodePolicyExpired Code = "policy-expired" //
	CodeNoTrustRoot   Code = "no-trust-root"  // nothing to verify against
	CodeCheckpoint    Code = "checkpoint"     // malformed, another log's, or a signature does not hold
	CodeCosigners     Code = "too-few-cosigners"
	CodeStale         Code = "stale"
	CodeRollback      Code = "rollback" // an older checkpoint than the pin
	CodeForked        Code = "forked"   // a checkpoint that contradicts the pin

	CodeSeal        Code = "seal"
	CodeHead        Code = "head"        // a journal's head is not proven
	CodeIncomplete  Code = "incomplete"  // the head counts another number of entries
	CodeChain       Code = "chain"       // the entries do not make the head's hash chain
	CodeEntry       Code = "entry"       // an entry is malformed, or says what it cannot
	CodeNotInLog    Code = "not-in-log"  // an entry's inclusion proof does not hold
	CodeGap         Code = "entry-gap"   // entries are missing before this one
	CodeOrder       Code = "entry-order" // an entry is out of its place, or there twice
	CodeForeign     Code = "foreign-entry"
	CodeEnvelope    Code = "envelope"        // malformed, superfluous, or not what its entry says
	CodeSignature   Code = "signature"       // an envelope's signature does not hold
	CodeSigner      Code = "signer"          // the signer could not have signed this
	CodeGenesis     Code = "genesis"         //
	CodeMember      Code = "member"          // a member's row is not proven, or contradicts the constitution
	CodePractice    Code = "practitioner"    // a practitioner's row is not proven
	CodeName        Code = "name"            // a name does not open its commitment
	CodeJournal     Code = "wrong-journal"   // not the journal asked for
	CodeErasure     Code = "erasure"         // an erasure, hold or attestation contradicts the entries before it
	CodeFile        Code = "file"            // a record's file is not what its entry commits to
	CodeFileMissing Code = "file-missing"    // a record's file is not there, and not listed as missing
	CodeRecord      Code = "record"          // a record does not open, or is not what its entry commits to
	CodeExtra       Code = "receipt-content" // a receipt's entry is malformed
)

// Failure is one thing that does not hold.
type Failure struct {
	Code   Code   `json:"code"`
	Where  string `json:"where"` // the part, entry, file or member
	Detail string `json:"detail"`
}

func (f Failure) String() string { return fmt.Sprintf("%s: %s (%s)", f.Where, f.Detail, f.Code) }

// ErrNotProof says that the bytes are neither an export nor a receipt. Reports carry it as CodeUnreadable too.
var ErrNotProof = errors.New("neither an export nor a receipt of Anamnesis")

// Report is the outcome of verifying an export, for people (Text) and programs.
type Report struct {
	OK           bool               `json:"ok"`
	Chain        string             `json:"chain"`
	Journal      protocol.JournalID `json:"journal"`
	Checkpoint   Checkpoint         `json:"checkpoint"`
	TrustRoot    TrustRoot          `json:"trust_root"`
	Counts       Counts             `json:"counts"`
	Missing      []MissingFile      `json:"missing"`
	Erasures     []Erasure          `json:"erasures"`
	Erased       []ErasedRecord     `json:"erased"`
	Failures     []Failure          `json:"failures"`
	FailuresMore int                `json:"failures_more,omitempty"` // beyond FailuresMax

	content *content
}

// Checkpoint is what is known of the log's head that everything rests on.
type Checkpoint struct {
	Origin    string        `json:"origin"`
	Size      uint64        `json:"size"`
	Root      protocol.Hash `json:"root"`
	Time      uint64        `json:"time_ms"` // a quorum cosigned it at or after this time; 0 without a quorum
	Have      int           `json:"cosigners"`
	Need      int           `json:"cosigners_needed"`
	Cosigners []Cosigner    `json:"cosigned_by"`
	Pin       string        `json:"pin,omitempty"` // "same", "extended", or "unchecked" for want of a consistency proof
}

// Cosigner is a node whose cosignature holds.
type Cosigner struct {
	Name string `json:"name"`
	Time uint64 `json:"time_ms"`
}

// TrustRoot says which policy the report rests on.
type TrustRoot struct {
	Digest protocol.Hash `json:"digest"` // of the policy's canonical text
	Given  bool          `json:"given"`  // from the verifier's own hands; else out of the file that was to be verified
}

// Counts say how much was checked.
type Counts struct {
	Entries       int            `json:"entries"` // of the journal
	ByType        map[string]int `json:"by_type"`
	Reads         Reads          `json:"reads"`
	Records       int            `json:"records"`
	Files         int            `json:"files"` // that match their entries
	Opened        int            `json:"opened"`
	Receipts      int            `json:"receipts_verified"` // inclusion proofs of single entries that hold
	Signatures    int            `json:"signatures_verified"`
	Constitution  int            `json:"constitution_entries"`
	Members       int            `json:"members"`
	Practitioners int            `json:"practitioners"`
}

// Reads counts access requests by their outcome.
type Reads struct {
	Permitted int `json:"permitted"`
	Refused   int `json:"refused"`
}

// MissingFile is a record whose file the export says it could not hold.
type MissingFile struct {
	Record protocol.RecordID `json:"record"`
	Why    string            `json:"why"` // unavailable, erased or damaged
}

func (r *Report) fail(code Code, where, format string, args ...any) {
	addFailure(&r.Failures, &r.FailuresMore, code, where, format, args...)
}

func addFailure(list *[]Failure, more *int, code Code, where, format string, args ...any) {
	if len(*list) >= FailuresMax {
		*more++
		return
	}
	*list = append(*list, Failure{Code: code, Where: printable(where), Detail: printable(fmt.Sprintf(format, args...))})
}

// printable keeps what comes out of a file that nobody has vouched for from doing anything to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || r != ' ' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// done settles the verdict.
func (r *Report) done() *Report {
	r.OK = len(r.Failures) == 0
	return r
}
