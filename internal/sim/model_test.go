package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// rule is a contract as the model understands it: one policy, of a form that needs no Cedar.
type rule struct {
	forbid, write bool
	member        protocol.MemberID       // of whom it speaks, and of their practitioners; zero: not by member
	practitioner  protocol.PractitionerID // or this one; both zero: everybody
	label         protocol.Label          // zero: any
	record        protocol.RecordID       // zero: any
	purpose       protocol.Purpose        // 0: any
	glass         bool                    // only if the glass is broken
}

func (r rule) cedar() string {
	effect, action, principal, resource, when := "permit", "read", "principal", "resource", ""
	if r.forbid {
		effect = "forbid"
	}
	if r.write {
		action = "write"
	}
	switch {
	case !r.practitioner.IsZero():
		principal = fmt.Sprintf("principal == Practitioner::%q", r.practitioner)
	case !r.member.IsZero():
		principal = fmt.Sprintf("principal in Member::%q", r.member)
	}
	switch {
	case !r.record.IsZero():
		resource = fmt.Sprintf("resource == Record::%q", r.record)
	case !r.label.IsZero():
		resource = fmt.Sprintf("resource in Class::%q", r.label)
	}
	if r.purpose != 0 {
		when = fmt.Sprintf(" when { context.purpose == Purpose::%q }", r.purpose)
	}
	if r.glass {
		when += " when { context.breakglass }"
	}
	return fmt.Sprintf("%s(%s, action == Action::%q, %s)%s;", effect, principal, action, resource, when)
}

// question is what is decided.
type question struct {
	by         actor
	write      bool
	purpose    protocol.Purpose
	now        uint64
	label      protocol.Label
	record     protocol.RecordID
	grounds    []protocol.ContractID // if recheck: only these permit, whatever their uses
	recheck    bool
	credential bool
	glass      bool // the asker breaks it
}

// ofGlass tells whether a policy speaks of breaking the glass: if not, it permits nobody who does.
func (r rule) ofGlass() bool { return r.glass || r.purpose == protocol.PurposeBreakGlass }

func (r rule) speaks(q question) bool {
	return r.write == q.write && (r.practitioner.IsZero() && r.member.IsZero() || !r.practitioner.IsZero() && r.practitioner == q.by.practitioner ||
		!r.member.IsZero() && r.member == q.by.member)
}

func (r rule) covers(q question) bool {
	if !r.record.IsZero() {
		return r.record == q.record
	}
	return r.label.IsZero() || r.label == q.label
}

type contract struct {
	id                  protocol.ContractID
	rule                rule
	notBefore, notAfter uint64
	usesMax, uses       uint32
	state               int // 1 active, 2 ended, 3 revoked
	over                uint64
	by                  protocol.PublicKey // the delegate who granted it; zero: the patient
	within              []protocol.Label   // that delegate's scope; none: everything
	cause               protocol.ActionID
}

// decide is the whole of consent, as the specification has it.
func (j *journalModel) decide(q question) (reason protocol.Reason, by []protocol.ContractID) {
	if !q.credential {
		return protocol.NoCredential, nil
	}
	var permits, forbids []protocol.ContractID
	best := protocol.NoContract
	note := func(r protocol.Reason, id protocol.ContractID) {
		if rank := slices.Index(order, r); rank < slices.Index(order, best) {
			best, by = r, nil
		}
		if r == best {
			by = append(by, id)
		}
	}
	for _, c := range j.contracts {
		if !c.rule.speaks(q) || !c.rule.covers(q) || !within(c.within, q.label) || c.rule.glass && !q.glass {
			continue
		}
		fits := c.rule.purpose == 0 || c.rule.purpose == q.purpose
		silent := q.glass && !c.rule.ofGlass() // but a forbid never is
		but, inForce := c.standing(q)
		switch {
		case c.rule.forbid && inForce && fits:
			forbids = append(forbids, c.id)
		case c.rule.forbid:
		case but == 0 && !fits:
			note(protocol.WrongPurpose, c.id)
		case silent:
		case but == 0:
			permits = append(permits, c.id)
		case fits && but != protocol.NoContract:
			note(but, c.id)
		}
	}
	switch {
	case len(forbids) > 0:
		return protocol.Forbidden, sortIDs(forbids)
	case len(permits) > 0:
		return protocol.Accepted, sortIDs(permits)
	}
	return best, sortIDs(by)
}

// order is how reasons win over each other.
var order = []protocol.Reason{protocol.UsedUp, protocol.NotYet, protocol.Ended, protocol.Withdrawn, protocol.WrongPurpose, protocol.NoContract}

func (c *contract) standing(q question) (but protocol.Reason, inForce bool) {
	switch {
	case c.state == 3:
		return protocol.Withdrawn, false
	case c.state == 2 || q.now >= c.notAfter:
		return protocol.Ended, false
	case q.now < c.notBefore:
		return protocol.NotYet, false
	case q.recheck && !slices.Contains(q.grounds, c.id):
		return protocol.NoContract, true
	case !q.recheck && c.usesMax > 0 && c.uses >= c.usesMax:
		return protocol.UsedUp, true
	}
	return 0, true
}

func sortIDs(ids []protocol.ContractID) []protocol.ContractID {
	slices.SortFunc(ids, func(a, b protocol.ContractID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

type journalModel struct {
	id         protocol.JournalID
	controller protocol.PublicKey
	sponsor    protocol.MemberID
	entries    uint64
	contracts  []*contract
	records    []protocol.RecordID // in their order
	control    controlModel
	people     peopleModel
	closed     bool
	holds      []holdModel
	pending    []*erasureModel
	erasures   []*erasureModel
}

type recordModel struct {
	journal protocol.JournalID
	label   protocol.Label
	capsule protocol.Hash
}

type memberModel struct {
	key       protocol.PublicKey
	removed   bool
	custodian bool
}

type practitionerModel struct {
	member     protocol.MemberID
	key        protocol.PublicKey
	status     protocol.PractitionerStatus
	validUntil uint64
	role       protocol.Role
}

type proposalModel struct {
	join      bool
	member    protocol.Member
	target    protocol.MemberID
	approvals []protocol.MemberID
	closed    bool
}

type accessModel struct {
	journal  protocol.JournalID
	reader   protocol.Signer
	purpose  protocol.Purpose
	records  []protocol.RecordID
	grounds  []protocol.ContractID
	deadline uint64
	session  protocol.AccessID // zero: the glass is whole
}

// actor is who stands behind an envelope.
type actor struct {
	member       protocol.MemberID
	practitioner protocol.PractitionerID
	role         protocol.Role // of a practitioner
	credential   bool
	custodian    bool
	device       bool // of a patient
	provisional  bool // whoever runs a journal that nobody has claimed
}

type quotaModel struct {
	minute uint64
	count  uint32
}

// model is the ledger in plain Go.
type model struct {
	chain         string
	params        protocol.Params
	now           uint64
	members       map[protocol.MemberID]memberModel
	practitioners map[protocol.PractitionerID]practitionerModel
	keys          map[protocol.PublicKey]bool
	proposals     map[protocol.ActionID]proposalModel
	journals      map[protocol.JournalID]*journalModel
	records       map[protocol.RecordID]recordModel
	fates         map[protocol.RecordID]fate
	accesses      map[protocol.AccessID]accessModel
	amendments    map[protocol.RecordID]amendmentModel
	cards         map[protocol.CardID]protocol.JournalID
	reasons       map[protocol.Hash]protocol.AccessID // sealed ones, and the session that each was given in
	quotas        map[string]quotaModel
	results       map[protocol.ActionID]protocol.Reason
	rules         map[string]rule // by canonical Cedar
	constitution  uint64          // entries
	outcomes      map[protocol.AccessID]protocol.AccessOutcome
	written       int     // entries of the block, without the seal
	events        []event // those among them that the ledger writes by itself, in their order
	cause         protocol.ActionID
	undo          []func()
}

// event is an entry that the ledger writes by itself, of an envelope before or now.
type event struct {
	kind    protocol.ActionType
	journal protocol.JournalID
	cause   protocol.ActionID
	body    string
}

func (e event) String() string {
	return fmt.Sprintf("%s in %s of %s: %x", e.kind, e.journal, e.cause, e.body)
}

// happens enters an event.
func (m *model) happens(j *journalModel, kind protocol.ActionType, cause protocol.ActionID, body any) {
	m.enter(&j.entries)
	change(m, &m.events, append(m.events, event{kind, j.id, cause, string(protocol.Encode(body))}))
}

func newModel(g protocol.Genesis) *model {
	m := &model{chain: g.Chain, params: g.Params, now: g.Time, members: map[protocol.MemberID]memberModel{},
		practitioners: map[protocol.PractitionerID]practitionerModel{}, keys: map[protocol.PublicKey]bool{},
		proposals: map[protocol.ActionID]proposalModel{}, journals: map[protocol.JournalID]*journalModel{},
		records: map[protocol.RecordID]recordModel{}, fates: map[protocol.RecordID]fate{}, accesses: map[protocol.AccessID]accessModel{},
		amendments: map[protocol.RecordID]amendmentModel{}, cards: map[protocol.CardID]protocol.JournalID{}, reasons: map[protocol.Hash]protocol.AccessID{}, quotas: map[string]quotaModel{},
		results: map[protocol.ActionID]protocol.Reason{}, rules: map[string]rule{}, outcomes: map[protocol.AccessID]protocol.AccessOutcome{}}
	for _, f := range g.Members {
		m.members[f.ID()] = memberModel{key: f.Key, custodian: f.HasNode()}
		m.keys[f.Key] = true
	}
	return m
}

// put sets a row and remembers how to take that back.
func put[K comparable, V any](m *model, rows map[K]V, k K, v V) {
	old, had := rows[k]
	m.undo = append(m.undo, func() {
		if had {
			rows[k] = old
		} else {
			delete(rows, k)
		}
	})
	rows[k] = v
}

func take[K comparable, V any](m *model, rows map[K]V, k K) {
	old := rows[k]
	m.undo = append(m.undo, func() { rows[k] = old })
	delete(rows, k)
}

func change[V any](m *model, at *V, v V) {
	old := *at
	m.undo = append(m.undo, func() { *at = old })
	*at = v
}

// block predicts a block's results.
func (m *model) block(now uint64, parcels [][]*protocol.Verified) (out [][]protocol.Reason) {
	m.now, m.written, m.events = now, 0, nil
	m.end()
	m.endDelegations()
	m.missReviews()
	m.fallDue()
	m.settleRecoveries()
	for _, parcel := range parcels {
		results := make([]protocol.Reason, len(parcel))
		for i, v := range parcel {
			results[i] = m.envelope(v)
		}
		out = append(out, results)
	}
	m.advance()
	return out
}

// end ends the contracts that are due, 256 at most, in the order of their ends.
func (m *model) end() {
	type due struct {
		j *journalModel
		c *contract
	}
	var all []due
	for _, j := range m.journals {
		for _, c := range j.contracts {
			if c.state == 1 && c.notAfter <= m.now {
				all = append(all, due{j, c})
			}
		}
	}
	slices.SortFunc(all, func(a, b due) int {
		return cmp.Or(cmp.Compare(a.c.notAfter, b.c.notAfter), bytes.Compare(a.j.id[:], b.j.id[:]), bytes.Compare(a.c.id[:], b.c.id[:]))
	})
	for _, d := range all[:min(len(all), protocol.EndsBlockMax)] {
		d.c.state, d.c.over = 2, m.now
		m.happens(d.j, protocol.EventContractEnded, d.c.cause, protocol.ContractEvent{Contract: d.c.id})
	}
}

func (m *model) envelope(v *protocol.Verified) protocol.Reason {
	b := &v.Body
	switch {
	case b.Version != protocol.Version:
		return protocol.WrongVersion
	case b.Chain != m.chain:
		return protocol.WrongNetwork
	case b.NotAfter <= m.now:
		return protocol.Expired
	case b.NotAfter > m.now+protocol.NotAfterMillisMax:
		return protocol.NotAfterTooFar
	}
	if r, known := m.results[v.ID]; known {
		return r
	}
	reason := m.admitted(v)
	m.results[v.ID] = reason
	return reason
}

func (m *model) admitted(v *protocol.Verified) protocol.Reason {
	by, payer, reason := m.authenticate(v)
	if reason != protocol.Accepted {
		return reason
	}
	if reason := m.charge(v, payer, by); reason != protocol.Accepted {
		return reason
	}
	m.undo, m.cause = nil, v.ID
	for i, a := range v.Actions {
		if reason := m.act(v, i, by, a); reason != protocol.Accepted {
			for k := len(m.undo) - 1; k >= 0; k-- {
				m.undo[k]()
			}
			return reason
		}
	}
	return protocol.Accepted
}
