package proof

import (
	"errors"
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// The names of the two journals in an export.
const (
	own          = "journal"
	constitution = "constitution"
)

// keyChange is what the constitution says about a member's key from an entry on.
type keyChange struct {
	after   uint64 // index of the entry
	cause   protocol.ActionID
	key     protocol.PublicKey
	removed bool
}

// checkJournal walks a journal's entries: each in its place, in the log, from its envelope; all of them together as many as the head
// counts, and its chain. It returns those that decode.
func (c *checker) checkJournal(j *api.ProvenJournal, name string) []parsed {
	head := protocol.Head{}
	w := walk{checker: c, id: j.ID, name: name, control: newControl()}
	var out []parsed
	for i, e := range j.Entries {
		if len(e.Salt) == 16 {
			head = head.Next(protocol.Commit([16]byte(e.Salt), e.Raw))
		} else {
			head.Count++
		}
		if p, ok := w.entry(i, e); ok {
			out = append(out, p)
			if name == constitution {
				c.learnKeys(p)
			}
		}
	}
	c.checkHead(j, name, head)
	return out
}

// checkHead compares the head that the state map holds with the one that the entries make.
func (c *checker) checkHead(j *api.ProvenJournal, name string, made protocol.Head) {
	var head protocol.Head
	err := protocol.Decode(j.Head, &head)
	if err == nil {
		err = c.inMap(protocol.StateKeyHead(j.ID), j.Head, j.HeadProof)
	}
	switch {
	case err != nil:
		c.r.fail(CodeHead, name, "its head is not proven: %v", err)
	case head.Count != made.Count:
		c.r.fail(CodeIncomplete, name, "the ledger counts %d entries; %d are here", head.Count, made.Count)
	case head.Chain != made.Chain:
		c.r.fail(CodeChain, name, "the entries here are not the ones, in the order, that the ledger chained")
	}
}

// walk is the state of going through a journal.
type walk struct {
	*checker
	id           protocol.JournalID
	name         string
	seq          uint64 // expected next
	begun        bool
	index        uint64 // of the last entry
	height, time uint64
	control      control
	delegates    delegates
}

func (w *walk) entry(i int, e api.Entry) (p parsed, ok bool) {
	p = parsed{where: fmt.Sprintf("%s entry %d", w.name, i), index: e.Index}
	if len(e.Salt) != 16 {
		w.r.fail(CodeEntry, p.where, "a salt has 16 bytes")
		return p, false
	}
	p.salt = [16]byte(e.Salt)
	if w.rooted {
		if err := w.included(protocol.Commit(p.salt, e.Raw), e.Index, e.Proof); err != nil {
			w.r.fail(CodeNotInLog, p.where, "it is not proven to be in the log at index %d", e.Index)
		} else if w.name == own {
			w.r.Counts.Receipts++
		}
	}
	if err := protocol.Decode(e.Raw, &p.entry); err != nil {
		w.r.fail(CodeEntry, p.where, "%v", err)
		w.seq++
		return p, false
	}
	p.where = fmt.Sprintf("%s entry %d (%s)", w.name, i, p.entry.Type)
	w.place(p)
	w.times(p)
	var err error
	if p.entry.Signer.Kind == protocol.ActorLedger {
		err = w.event(p)
	} else {
		err = w.signedBy(p)
	}
	if err != nil {
		w.r.fail(codeOf(err), p.where, "%v", err)
	}
	return p, true
}

// place finds entries that are missing, out of order, there twice, or of another journal.
func (w *walk) place(p parsed) {
	e := p.entry
	if e.Journal != w.id {
		w.r.fail(CodeForeign, p.where, "it belongs to journal %s", e.Journal)
		return
	}
	switch {
	case e.Seq > w.seq:
		w.r.fail(CodeGap, p.where, "it is number %d of the journal, and number %d is expected: %d missing", e.Seq, w.seq, e.Seq-w.seq)
	case e.Seq < w.seq:
		w.r.fail(CodeOrder, p.where, "it is number %d of the journal, and number %d is expected", e.Seq, w.seq)
		return
	}
	w.seq = e.Seq + 1
}

func (w *walk) times(p parsed) {
	e := p.entry
	if w.begun && (p.index <= w.index || e.Height < w.height || e.Time < w.time) {
		w.r.fail(CodeOrder, p.where, "its index, height and time do not follow those of the entry before")
	}
	if w.sealed && (e.Height > w.seal.Height || e.Time > w.seal.Time) {
		w.r.fail(CodeOrder, p.where, "it is later than the seal")
	}
	w.begun, w.index, w.height, w.time = true, p.index, e.Height, e.Time
}

// What can be wrong with an entry's origin; codeOf gives the code.
type entryError struct {
	code Code
	text string
}

func (e *entryError) Error() string { return e.text }

func wrong(code Code, format string, args ...any) error {
	return &entryError{code, fmt.Sprintf(format, args...)}
}

func codeOf(err error) Code {
	if e := (*entryError)(nil); errors.As(err, &e) {
		return e.code
	}
	return CodeEntry
}

// signedBy checks an entry against the envelope that it came from.
func (w *walk) signedBy(p parsed) error {
	e := p.entry
	env := w.envelopes[e.Cause]
	if env == nil {
		return wrong(CodeEnvelope, "the envelope that it came from, %s, is not here or does not hold", e.Cause)
	}
	env.used = true
	b := &env.Body
	journal := e.Journal
	if !e.Type.OfJournal() {
		journal = protocol.JournalID{}
	}
	switch {
	case b.Signer != e.Signer:
		return wrong(CodeEnvelope, "it names another signer than the envelope it came from")
	case b.Version != protocol.Version || w.genesis.Chain != "" && b.Chain != w.genesis.Chain:
		return wrong(CodeEnvelope, "the envelope it came from was signed for another network or version")
	case b.Journal != journal:
		return wrong(CodeEnvelope, "the envelope it came from names another journal")
	case int(e.Index) >= len(b.Actions) || b.Actions[e.Index].Type != e.Type || string(b.Actions[e.Index].Body) != string(e.Action):
		return wrong(CodeEnvelope, "it is not the action that was signed")
	case b.Nonce != p.salt:
		return wrong(CodeEnvelope, "its salt is not the envelope's nonce")
	case e.Time >= b.NotAfter || b.NotAfter > e.Time+protocol.NotAfterMillisMax:
		return wrong(CodeEnvelope, "it was executed outside the time for which it was signed")
	case e.Type.OfJournal() == (w.name == constitution):
		return wrong(CodeForeign, "such an entry does not stand in this journal")
	}
	return errors.Join(w.signer(p), checkOutcome(e))
}

// signer checks that the signer's key was theirs, as far as can be known from what is here: a member's keys from the constitution, the
// patient's, the devices' and the guardians' from the journal itself.
func (w *walk) signer(p parsed) error {
	e := p.entry
	switch e.Signer.Kind {
	case protocol.ActorMember:
		return w.memberKey(protocol.MemberID(e.Signer.ID), p)
	case protocol.ActorPatient:
		if err := w.patient(p); err != nil {
			return err
		}
	case protocol.ActorGuardian:
		if err := w.guardian(p); err != nil {
			return err
		}
	case protocol.ActorDelegate:
		if protocol.JournalID(e.Signer.ID) != w.id || !w.delegates.has(e) {
			return wrong(CodeSigner, "it was not signed by somebody who was the patient's delegate then")
		}
		if !w.delegates.may(e) {
			return wrong(CodeSigner, "the delegate who signed it may not do this, or not for this class")
		}
	}
	return w.delegates.learn(e)
}

// memberKeyAt is a member's key when an entry was written; none if it was removed.
func (w *walk) memberKeyAt(id protocol.MemberID, p parsed) (protocol.PublicKey, bool) {
	now := keyChange{removed: true}
	for _, k := range w.keys[id] {
		if k.after < p.index && k.cause != p.entry.Cause || k.after == 0 {
			now = k
		}
	}
	return now.key, !now.removed
}

func (w *walk) memberKey(id protocol.MemberID, p parsed) error {
	if key, ok := w.memberKeyAt(id, p); !ok || key != p.entry.Signer.Key {
		return wrong(CodeSigner, "by the constitution, member %s did not have this key then", id)
	}
	return nil
}

func checkOutcome(e protocol.Entry) error {
	if e.Type != protocol.TypeRequestAccess {
		if string(e.Outcome) != string(protocol.NoOutcome) {
			return wrong(CodeEntry, "it has an outcome where there is nothing to decide")
		}
		return nil
	}
	var out protocol.AccessOutcome
	if err := protocol.Decode(e.Outcome, &out); err != nil {
		return wrong(CodeEntry, "its outcome: %v", err)
	}
	if out.Permitted != (out.Reason == protocol.Accepted) || !out.Permitted && len(out.Records) > 0 || len(out.Records) > protocol.RecordsAccessMax {
		return wrong(CodeEntry, "its outcome contradicts itself")
	}
	return nil
}

// event checks what the ledger wrote by itself.
func (w *walk) event(p parsed) error {
	e := p.entry
	body, inJournal := eventBody(e.Type)
	switch {
	case body == nil || inJournal == (w.name == constitution):
		return wrong(CodeForeign, "such an entry does not stand in this journal")
	case e.Signer != protocol.Signer{}:
		return wrong(CodeSigner, "what the ledger writes by itself has no signer")
	case string(e.Outcome) != string(protocol.NoOutcome):
		return wrong(CodeEntry, "it has an outcome where there is nothing to decide")
	}
	if err := protocol.Decode(e.Action, body); err != nil {
		return wrong(CodeEntry, "its body: %v", err)
	}
	if ended, ok := body.(*protocol.DelegationEvent); ok {
		delete(w.delegates.rows, ended.Key)
	}
	if e.Cause.IsZero() {
		if p.salt != [16]byte{} || e.Index != 0 || inJournal {
			return wrong(CodeEntry, "an event without a cause has a zero salt and stands in the constitution")
		}
		return nil
	}
	env := w.envelopes[e.Cause]
	if env == nil {
		return wrong(CodeEnvelope, "the envelope that caused it, %s, is not here or does not hold", e.Cause)
	}
	env.used = true
	if env.Body.Nonce != p.salt || int(e.Index) >= len(env.Body.Actions) {
		return wrong(CodeEnvelope, "its salt or index is not of the envelope that caused it")
	}
	if inJournal && env.Body.Journal != e.Journal {
		return wrong(CodeEnvelope, "what caused it was another journal's")
	}
	return w.recovered(e, body)
}

// eventBody is an empty body of an event, and whether it stands in a patient's journal; nil for what is no event of a journal.
func eventBody(t protocol.ActionType) (body any, inJournal bool) {
	switch t {
	case protocol.EventGenesis:
		return new(protocol.Genesis), false
	case protocol.EventMemberJoined, protocol.EventMemberRemoved:
		return new(protocol.MemberEvent), false
	case protocol.EventKeyActivated:
		return new(protocol.KeyActivated), false
	case protocol.EventDealerExcluded:
		return new(protocol.DealerExcluded), false
	case protocol.EventContractEnded, protocol.EventContractUsedUp:
		return new(protocol.ContractEvent), true
	case protocol.EventRecordsErased:
		return new(protocol.RecordsErased), true
	case protocol.EventHoldEnded:
		return new(protocol.HoldEnded), true
	case protocol.EventAmendmentOverdue:
		return new(protocol.AmendmentOverdue), true
	case protocol.EventDelegationEnded:
		return new(protocol.DelegationEvent), true
	case protocol.EventBreakGlassOpened, protocol.EventReviewMissed:
		return new(protocol.BreakGlassEvent), true
	case protocol.EventRecoveryWaiting:
		return new(protocol.RecoveryWaiting), true
	case protocol.EventJournalRecovered, protocol.EventRecoveryExpired:
		return new(protocol.RecoveryEvent), true
	}
	return nil, false
}
