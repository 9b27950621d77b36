// Package custodian holds this node's share of the collective key, and gives its answer to an access only after nine checks on its own copy
// of the ledger. It also takes this node's part in the generation of that key (ceremony.go).
//
// The checks, in their order, are the promise «no read without a trace»; see Release. A custodian never sees a record, nor the collective
// secret, nor another's share. What it answers is sealed to the reader's one-time key, and signed: a lie is evidence.
package custodian

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Limits.
const (
	CheckpointAgeMillisMax = 60_000 // how old the newest quorum-cosigned checkpoint may be
	CapsulesRequestMax     = 256
	verifiedKept           = 16_384 // capsules remembered as verified
)

// Config is what a custodian needs. All fields are required.
type Config struct {
	Ledger *ledger.Ledger
	Member protocol.MemberID
	// Fresh returns the newest checkpoint that a quorum of nodes has cosigned, as this node has verified it: its size, and the UTC ms at
	// which the quorum was complete (the oldest of the cosignatures that make it).
	Fresh func() (size, at uint64, ok bool)
	// Clock is this node's own, in UTC ms.
	Clock func() uint64
	// Sign signs answers with the node's peer key.
	Sign func(message []byte) []byte
	// Secrets keeps shares, encrypted at rest.
	Secrets Secrets
	// Record writes a release down, durably, before the answer leaves.
	Record func(Released) error
}

// Secrets is a small durable store whose values are encrypted at rest. Put returns once the value survives a crash; Delete erases it.
type Secrets interface {
	Get(name string) (value []byte, ok bool, err error)
	Put(name string, value []byte) error
	Delete(name string) error
}

// Released is one line of this custodian's own book.
type Released struct {
	Access  protocol.AccessID
	Reader  protocol.Signer
	Records []protocol.RecordID
	Time    uint64 // UTC ms, of this node's clock
	Size    uint64 // of the ledger it was decided on
}

// Custodian answers accesses. It is safe for concurrent use.
type Custodian struct {
	Config

	mu       sync.Mutex
	shares   map[uint32]*threshold.Share // by generation
	verified map[verifiedKey]verdict
}

// verdict is what a capsule's verification came to, once and for all.
type verdict struct {
	capsule threshold.VerifiedCapsule
	err     error
}

type verifiedKey struct {
	capsule protocol.Hash
	label   protocol.Hash
}

// New opens a custodian; shares are read from the secrets as they are needed.
func New(c Config) *Custodian {
	return &Custodian{Config: c, shares: map[uint32]*threshold.Share{}, verified: map[verifiedKey]verdict{}}
}

// Request is what a reader asks of each custodian.
type Request struct {
	Access     protocol.AccessID
	Generation uint32
	Records    []protocol.RecordID
	Capsules   [][]byte // in the order of Records
}

// Answer is a release on its way to the reader: Sealed opens, with the one-time key and wallet.ShareInfo, to the bytes of
// threshold.Partials followed by a 64-byte signature of AnswerMessage by the node's peer key.
type Answer struct {
	Custodian uint16
	Epoch     uint32
	Sealed    []byte
}

// Refusal says which of the nine checks failed. Reason is for the reader, and says no more than the ledger's entry would.
type Refusal struct {
	Check  int // 1 to 9
	Reason protocol.Reason
	Retry  bool // the node may be able to answer shortly
	Detail string
	// Records are the places in the request of those that fail, if the check is about records: without them it would pass.
	Records []int
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("custodian refuses (check %d): %s", r.Check, r.Detail)
}

func refuse(check int, reason protocol.Reason, format string, args ...any) *Refusal {
	return &Refusal{Check: check, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// failing gathers the records of a request that fail a check, so that the reader can leave all of them out at once.
type failing struct{ refusal *Refusal }

func (f *failing) add(check int, reason protocol.Reason, place int, format string) {
	if f.refusal == nil {
		f.refusal = refuse(check, reason, format, place)
	}
	f.refusal.Records = append(f.refusal.Records, place)
}

func (f *failing) err() error {
	if f.refusal == nil {
		return nil
	}
	return f.refusal
}

// ErrRequest says that a request is malformed.
var ErrRequest = errors.New("custodian: malformed request")

// AnswerMessage is what a custodian signs: the partials, for which capsules, in which access, to which one-time key. Whoever holds the opened
// answer can prove to anybody what this custodian said.
func AnswerMessage(chain string, access protocol.AccessID, oneTime [32]byte, capsules []*threshold.Capsule, partials []byte) []byte {
	parts := [][]byte{[]byte(chain), access[:], oneTime[:], partials}
	for _, c := range capsules {
		h := c.Hash()
		parts = append(parts, h[:])
	}
	d := protocol.Digest("anamnesis/answer/v1", parts...)
	return d[:]
}

// question is a request in the course of the checks, all on one snapshot of the ledger.
type question struct {
	Request
	view     *ledger.View
	now      uint64 // the later of block time and own clock
	share    *threshold.Share
	row      consent.AccessRow
	records  []journal.Named
	capsules []threshold.VerifiedCapsule
}

// Release answers a request, or says which check refuses it. The order of the checks is part of the specification
// (docs/spec/custodian.md): the cheap and general come first, and nothing is computed with the share before all have passed.
func (c *Custodian) Release(_ context.Context, r Request) (*Answer, error) {
	if n := len(r.Records); n == 0 || n > CapsulesRequestMax || len(r.Capsules) != n {
		return nil, fmt.Errorf("%w: 1 to %d records, each with its capsule", ErrRequest, CapsulesRequestMax)
	}
	view, err := c.Ledger.View()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	q := &question{Request: r, view: view, now: max(view.Head.Time, c.Clock())}
	for _, check := range []func(*question) error{
		c.checkFresh, c.checkShare, c.checkAccess, c.checkContracts, c.checkRecords, c.checkCapsules, c.checkLabels, c.checkOneTimeKey,
	} {
		if err := check(q); err != nil {
			return nil, err
		}
	}
	if err := c.Record(Released{Access: r.Access, Reader: q.row.Reader, Records: r.Records, Time: c.Clock(), Size: view.Head.Size}); err != nil {
		return nil, &Refusal{Check: 9, Retry: true, Detail: "the release could not be written down"}
	}
	return c.answer(q)
}

// checkFresh, the first: this copy of the ledger is not an old or an isolated one.
func (c *Custodian) checkFresh(q *question) error {
	size, at, ok := c.Fresh()
	if !ok || at+CheckpointAgeMillisMax < c.Clock() {
		return &Refusal{Check: 1, Retry: true, Detail: "no quorum-cosigned checkpoint of the last minute"}
	}
	if q.view.Head.Size < size {
		return &Refusal{Check: 1, Retry: true, Detail: "this node has not caught up with the others"}
	}
	return nil
}

// checkShare, the second: the share is of the generation asked for, in its active epoch.
func (c *Custodian) checkShare(q *question) error {
	keys, ok, err := keygen.Keys(q.view, q.Generation)
	if err != nil {
		return err
	}
	if !ok {
		return refuse(2, protocol.WrongGeneration, "no key of generation %d", q.Generation)
	}
	q.share, err = c.shareOf(q.Generation)
	if err != nil {
		return err
	}
	if q.share == nil || q.share.Epoch != keys.Epoch {
		return &Refusal{Check: 2, Retry: true, Detail: "this node holds no share of the active epoch"}
	}
	return nil
}

// checkAccess, the third: the access is committed and permitted (refused ones have no row), and its time is not over.
func (c *Custodian) checkAccess(q *question) (err error) {
	var ok bool
	if q.row, ok, err = consent.Access(q.view, q.Access); err != nil {
		return err
	}
	if !ok {
		return &Refusal{Check: 3, Reason: protocol.NoContract, Retry: true, Detail: "no such access is permitted here"}
	}
	if q.now >= q.row.Deadline {
		return refuse(3, protocol.Ended, "the access is over; request it again")
	}
	return nil
}

// checkContracts, the fourth: asked again at the head, the contracts still permit, and the reader still has standing. A patient's access to
// their own journal rests on no contract: their key must still be one that signs for it.
func (c *Custodian) checkContracts(q *question) error {
	var bad failing
	resources := make([]consent.Resource, len(q.Records))
	q.records = make([]journal.Named, len(q.Records))
	for i, id := range q.Records {
		row, ok, err := journal.Record(q.view, id)
		if err != nil {
			return err
		}
		if !ok {
			bad.add(4, protocol.NoContract, i, "record %d is not permitted")
			continue
		}
		q.records[i] = journal.Named{ID: id, Row: row}
		if resources[i], err = ledger.Resource(q.view, q.records[i]); err != nil {
			return err
		}
	}
	if err := bad.err(); err != nil {
		return err
	}
	standing, each, err := q.view.StillOpens(q.row, q.now, resources)
	if err != nil {
		return err
	}
	if standing != protocol.Accepted {
		return refuse(4, standing, "the reader no longer has standing")
	}
	for i, reason := range each {
		if reason != protocol.Accepted {
			bad.add(4, reason, i, "record %d is no longer permitted")
		}
	}
	return bad.err()
}

// checkRecords, the fifth: each record is on the access's list and of its journal, is named once, and was not erased. An erasure counts from
// its block on, even if the record was opened before.
func (c *Custodian) checkRecords(q *question) error {
	listed := make(map[protocol.RecordID]bool, len(q.row.Records))
	for _, id := range q.row.Records {
		listed[id] = true
	}
	var bad failing
	for i, n := range q.records {
		if !listed[n.ID] || n.Row.Journal != q.row.Journal {
			bad.add(5, protocol.NoContract, i, "record %d is not part of this access")
		}
		delete(listed, n.ID)
	}
	if err := bad.err(); err != nil {
		return err
	}
	veil, err := journal.Veil(q.view, q.row.Journal)
	if err != nil {
		return err
	}
	for i, n := range q.records {
		closed, err := veil.Closed(n)
		if err != nil {
			return err
		}
		if closed {
			bad.add(5, protocol.RecordErased, i, "record %d was erased")
		}
	}
	return bad.err()
}

// checkCapsules, the sixth: each capsule is the one that the record's entry commits to, of the generation asked for.
func (c *Custodian) checkCapsules(q *question) error {
	var bad failing
	for i, n := range q.records {
		capsule, err := threshold.ParseCapsule(q.Capsules[i])
		switch {
		case err != nil || protocol.Hash(capsule.Hash()) != n.Row.Capsule:
			bad.add(6, protocol.UnknownRecord, i, "capsule %d is not the record's")
		case n.Row.Generation != q.Generation:
			bad.add(6, protocol.WrongGeneration, i, "record %d is of another generation")
		}
	}
	return bad.err()
}

// checkLabels, the seventh: each capsule verifies against a label computed from the state, so that it was made for this very record.
func (c *Custodian) checkLabels(q *question) error {
	var bad failing
	q.capsules = make([]threshold.VerifiedCapsule, len(q.records))
	for i, n := range q.records {
		label := wallet.CapsuleLabel(q.view.Chain(), n.Row.Generation, n.Row.Journal, n.Row.Label, n.ID)
		v, err := c.verify(n.Row.Capsule, q.Capsules[i], label)
		if err != nil {
			bad.add(7, protocol.UnknownRecord, i, "capsule %d does not verify")
		}
		q.capsules[i] = v
	}
	return bad.err()
}

// verify remembers what it verified: a capsule's validity under a label never changes. A bad one is not verified again either, so that an author
// who makes many costs each of them once. raw must be the capsule that hash names.
func (c *Custodian) verify(hash protocol.Hash, raw, label []byte) (threshold.VerifiedCapsule, error) {
	key := verifiedKey{capsule: hash, label: protocol.Digest("label", label)}
	c.mu.Lock()
	v, ok := c.verified[key]
	c.mu.Unlock()
	if ok {
		return v.capsule, v.err
	}
	capsule, err := threshold.ParseCapsule(raw)
	if err != nil {
		return v.capsule, err
	}
	v.capsule, v.err = capsule.Verify(label)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.verified) >= verifiedKept {
		clear(c.verified)
	}
	c.verified[key] = v
	return v.capsule, v.err
}

// checkOneTimeKey, the eighth: the answer can be sealed to the key that stands in the access's entry, and to no other; the request has no
// say in it. The share channel's info binds network, access, custodian, generation and epoch.
func (c *Custodian) checkOneTimeKey(q *question) error {
	if _, err := wallet.SealShare(c.info(q), nil); err != nil {
		return refuse(8, protocol.BadRequest, "the access's one-time key is unusable")
	}
	return nil
}

func (c *Custodian) info(q *question) wallet.ShareInfo {
	return wallet.ShareInfo{Chain: q.view.Chain(), Access: q.Access, Custodian: c.Member, Generation: q.Generation, Epoch: q.share.Epoch,
		OneTime: q.row.OneTime, KEM: protocol.OneTimeX25519}
}

func (c *Custodian) answer(q *question) (*Answer, error) {
	binding := threshold.Binding{Chain: q.view.Chain(), Access: q.Access, OneTimeKey: q.row.OneTime[:]}
	partials, err := threshold.Release(rand.Reader, q.share, q.capsules, binding)
	if err != nil {
		return nil, err
	}
	capsules := make([]*threshold.Capsule, len(q.Capsules))
	for i, raw := range q.Capsules {
		if capsules[i], err = threshold.ParseCapsule(raw); err != nil {
			return nil, err
		}
	}
	plain := partials.Bytes()
	plain = append(plain, c.Sign(AnswerMessage(q.view.Chain(), q.Access, q.row.OneTime, capsules, plain))...)
	sealed, err := wallet.SealShare(c.info(q), plain)
	if err != nil {
		return nil, err
	}
	return &Answer{Custodian: uint16(q.share.Index), Epoch: q.share.Epoch, Sealed: sealed}, nil
}

// shareOf returns this node's share of a generation, nil if it has none.
func (c *Custodian) shareOf(generation uint32) (*threshold.Share, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.shares[generation]; s != nil {
		return s, nil
	}
	raw, ok, err := c.Secrets.Get(shareName(generation))
	if err != nil || !ok {
		return nil, err
	}
	s, err := threshold.ParseShare(raw)
	if err != nil {
		return nil, err
	}
	c.shares[generation] = s
	return s, nil
}

// Holds tells whether this node has a share of a generation.
func (c *Custodian) Holds(generation uint32) bool {
	s, err := c.shareOf(generation)
	return err == nil && s != nil
}

func shareName(generation uint32) string { return fmt.Sprintf("share-%d", generation) }
