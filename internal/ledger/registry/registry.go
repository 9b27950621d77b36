// Package registry keeps who may act: members, their keys and nodes, and the practitioners that they vouch for.
//
// Members join and leave by votes: one proposes, and more than two thirds of the members (the proposer included) approve. Practitioners
// are each member's own affair, with a standing that takes effect in the very block that states it.
package registry

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// MemberRow and PractitionerRow are what wallets read from proofs, and so they are the protocol's.
type (
	MemberRow       = protocol.MemberRow
	PractitionerRow = protocol.PractitionerRow
)

// ProposalRow is a vote on membership.
type ProposalRow struct {
	_         struct{} `cbor:",toarray"`
	Join      bool
	Member    protocol.Member   // who would join
	Target    protocol.MemberID // who would join or leave
	Approvals []protocol.MemberID
	Closed    bool
}

// KeyRow says whose a signing key is, or was: a key is never used for two actors.
type KeyRow struct {
	_     struct{} `cbor:",toarray"`
	Kind  protocol.ActorKind
	Owner [16]byte
}

// The tables; all are written by this package alone.
var (
	members       = exec.Table[MemberRow]{Name: "members", Prefix: 'm'}             // member id
	practitioners = exec.Table[PractitionerRow]{Name: "practitioners", Prefix: 'p'} // practitioner id
	proposals     = exec.Table[ProposalRow]{Name: "proposals", Prefix: 'o'}         // action id of the proposal
	keys          = exec.Table[KeyRow]{Name: "keys", Prefix: 'k'}                   // public key
)

// Begin enters the founding members, in the order of the genesis, which is also the custodians' order.
func Begin(c *exec.Context, founders []protocol.Member) {
	index := uint16(0)
	for _, m := range founders {
		row := MemberRow{Member: m, Joined: c.Height}
		if m.HasNode() {
			index++
			row.Custodian = index
		}
		members.Put(c, memberKey(m.ID()), row)
		claimKey(c, m.Key, protocol.ActorMember, m.ID())
	}
}

// Actor is who stands behind a signer.
type Actor struct {
	Kind         protocol.ActorKind
	Member       protocol.MemberID       // the member, or the practitioner's
	Practitioner protocol.PractitionerID // if a practitioner
	Role         protocol.Role           // if a practitioner
	Custodian    uint16                  // if the member has a node
	Credential   bool                    // the practitioner is active and its credential valid; true for members
}

// Authenticate finds the actor behind a member's or practitioner's signature. A practitioner without standing is still the actor, with
// Credential false: its request is refused by the contracts, and that refusal is logged.
func Authenticate(c *exec.Context) (Actor, protocol.Reason) { return lookup(c.Tx, c.Signer, c.Time) }

// Lookup is Authenticate for queries and custodians: the standing at a time, on any reader.
func Lookup(r state.Reader, s protocol.Signer, now uint64) (actor Actor, reason protocol.Reason, err error) {
	defer recoverBroken(&err)
	actor, reason = lookup(r, s, now)
	return actor, reason, nil
}

func lookup(r state.Reader, s protocol.Signer, now uint64) (Actor, protocol.Reason) {
	switch s.Kind {
	case protocol.ActorMember:
		return lookupMember(r, protocol.MemberID(s.ID), s.Key)
	case protocol.ActorPractitioner:
		row, ok := read(practitioners, r, practitionerKey(protocol.PractitionerID(s.ID)))
		if !ok {
			return Actor{}, protocol.UnknownSigner
		}
		if row.Key != s.Key {
			return Actor{}, protocol.WrongKey
		}
		m, ok := read(members, r, memberKey(row.Member))
		if !ok || m.Removed {
			return Actor{}, protocol.MemberSuspended
		}
		return Actor{Kind: s.Kind, Member: row.Member, Practitioner: protocol.PractitionerID(s.ID), Role: row.Role,
			Credential: row.Status == protocol.PractitionerActive && now < row.ValidUntil}, protocol.Accepted
	}
	return Actor{}, protocol.UnknownSigner
}

func lookupMember(r state.Reader, id protocol.MemberID, key protocol.PublicKey) (Actor, protocol.Reason) {
	row, ok := read(members, r, memberKey(id))
	switch {
	case !ok:
		return Actor{}, protocol.UnknownSigner
	case row.Member.Key != key:
		return Actor{}, protocol.WrongKey
	case row.Removed:
		return Actor{}, protocol.MemberSuspended
	}
	return Actor{Kind: protocol.ActorMember, Member: id, Custodian: row.Custodian, Credential: true}, protocol.Accepted
}

// ProposeMember executes the action.
func ProposeMember(c *exec.Context, by Actor, a *protocol.ProposeMember) protocol.Reason {
	if by.Kind != protocol.ActorMember {
		return protocol.NotEntitled
	}
	if _, ok := members.Get(c, memberKey(a.Member.ID())); ok {
		return protocol.MemberExists
	}
	if _, ok := keys.Get(c, keys.Key(a.Member.Key[:])); ok {
		return protocol.KeyInUse
	}
	if active(c) >= protocol.MembersMax {
		return protocol.TooManyMembers
	}
	return propose(c, by, ProposalRow{Join: true, Member: a.Member, Target: a.Member.ID()})
}

// ProposeRemoval executes the action.
func ProposeRemoval(c *exec.Context, by Actor, a *protocol.ProposeRemoval) protocol.Reason {
	if by.Kind != protocol.ActorMember {
		return protocol.NotEntitled
	}
	if row, ok := members.Get(c, memberKey(a.Member)); !ok || row.Removed {
		return protocol.UnknownMember
	}
	return propose(c, by, ProposalRow{Target: a.Member})
}

func propose(c *exec.Context, by Actor, p ProposalRow) protocol.Reason {
	key := proposals.Key(c.Cause[:])
	if _, ok := proposals.Get(c, key); ok {
		return protocol.AlreadyDone // one proposal an envelope: it is named by the envelope
	}
	p.Approvals = []protocol.MemberID{by.Member}
	settle(c, &p)
	proposals.Put(c, key, p)
	return protocol.Accepted
}

// Approve executes the action.
func Approve(c *exec.Context, by Actor, a *protocol.Approve) protocol.Reason {
	if by.Kind != protocol.ActorMember {
		return protocol.NotEntitled
	}
	key := proposals.Key(a.Proposal[:])
	p, ok := proposals.Get(c, key)
	switch {
	case !ok:
		return protocol.UnknownProposal
	case p.Closed:
		return protocol.ProposalClosed
	case slices.Contains(p.Approvals, by.Member):
		return protocol.AlreadyApproved
	}
	p.Approvals = append(p.Approvals, by.Member)
	settle(c, &p)
	proposals.Put(c, key, p)
	return protocol.Accepted
}

// settle counts the votes of those who are members now, and carries the proposal out once more than two thirds are for it.
func settle(c *exec.Context, p *ProposalRow) {
	votes, total := 0, 0
	members.All(c, members.Key(), func(key []byte, row MemberRow) bool {
		if !row.Removed {
			total++
			if slices.Contains(p.Approvals, protocol.MemberID(key[1:])) {
				votes++
			}
		}
		return true
	})
	if 3*votes <= 2*total {
		return
	}
	p.Closed = true
	constitution := protocol.ConstitutionJournal(c.Chain)
	if p.Join {
		if _, taken := keys.Get(c, keys.Key(p.Member.Key[:])); taken || total >= protocol.MembersMax {
			return // somebody took the key, or the last seat, since the proposal
		}
		members.Put(c, memberKey(p.Target), MemberRow{Member: p.Member, Joined: c.Height})
		claimKey(c, p.Member.Key, protocol.ActorMember, p.Target)
		c.Emit(exec.Event{Type: protocol.EventMemberJoined, Journal: constitution, Body: protocol.MemberEvent{Member: p.Target}})
		return
	}
	row, ok := members.Get(c, memberKey(p.Target))
	if !ok || row.Removed || total == 1 {
		return
	}
	row.Removed = true
	members.Put(c, memberKey(p.Target), row)
	c.Emit(exec.Event{Type: protocol.EventMemberRemoved, Journal: constitution, Body: protocol.MemberEvent{Member: p.Target}})
}

// RotateMemberKey executes the action: from the next envelope on, only the new key is the member's.
func RotateMemberKey(c *exec.Context, by Actor, a *protocol.RotateMemberKey) protocol.Reason {
	if by.Kind != protocol.ActorMember {
		return protocol.NotEntitled
	}
	if _, taken := keys.Get(c, keys.Key(a.Key[:])); taken {
		return protocol.KeyInUse
	}
	if !protocol.VerifySignature(a.Key, protocol.KeyProofMessage(c.Chain, by.Member, a.Key), a.Proof) {
		return protocol.BadProof
	}
	row, ok := members.Get(c, memberKey(by.Member))
	if !ok {
		exec.Break("registry: member %s acted and has no row", by.Member)
	}
	row.Member.Key = a.Key
	members.Put(c, memberKey(by.Member), row)
	claimKey(c, a.Key, protocol.ActorMember, by.Member)
	return protocol.Accepted
}

// SetPractitioner executes the action.
func SetPractitioner(c *exec.Context, by Actor, a *protocol.SetPractitioner) protocol.Reason {
	if by.Kind != protocol.ActorMember {
		return protocol.NotEntitled
	}
	key := practitionerKey(a.Practitioner)
	old, exists := practitioners.Get(c, key)
	if exists && (old.Member != by.Member || old.Status == protocol.PractitionerRevoked) {
		return protocol.PractitionerGone
	}
	if !exists || old.Key != a.Key {
		if _, taken := keys.Get(c, keys.Key(a.Key[:])); taken {
			return protocol.KeyInUse
		}
		claimKey(c, a.Key, protocol.ActorPractitioner, a.Practitioner)
	}
	practitioners.Put(c, key, PractitionerRow{Member: by.Member, Key: a.Key, Role: a.Role, Status: a.Status, ValidUntil: a.ValidUntil, Commitment: a.Commitment})
	return protocol.Accepted
}

// Member reads a member's row.
func Member(r state.Reader, id protocol.MemberID) (MemberRow, bool, error) {
	return members.Read(r, memberKey(id))
}

// Practitioner reads a practitioner's row.
func Practitioner(r state.Reader, id protocol.PractitionerID) (PractitionerRow, bool, error) {
	return practitioners.Read(r, practitionerKey(id))
}

// Members lists all members, removed ones too, in the order of their ids.
func Members(r state.Reader) (out []MemberRow, err error) {
	err = members.ReadAll(r, members.Key(), func(_ []byte, row MemberRow) bool { out = append(out, row); return true })
	return out, err
}

// MemberIDs pairs with Members: the ids, which the rows do not hold once a key was rotated.
func MemberIDs(r state.Reader) (out []protocol.MemberID, err error) {
	err = members.ReadAll(r, members.Key(), func(key []byte, _ MemberRow) bool {
		out = append(out, protocol.MemberID(key[1:]))
		return true
	})
	return out, err
}

// PractitionersOf lists a member's practitioners.
func PractitionersOf(r state.Reader, m protocol.MemberID) (ids []protocol.PractitionerID, rows []PractitionerRow, err error) {
	err = practitioners.ReadAll(r, practitioners.Key(), func(key []byte, row PractitionerRow) bool {
		if row.Member == m {
			ids, rows = append(ids, protocol.PractitionerID(key[1:])), append(rows, row)
		}
		return true
	})
	return ids, rows, err
}

// InStanding lists who may act at a time: the members, each followed by those of its practitioners whose credential is valid. At most max;
// whole tells whether that is all.
func InStanding(r state.Reader, now uint64, max int) (out []Actor, whole bool, err error) {
	staff := map[protocol.MemberID][]Actor{}
	n := 0
	err = practitioners.ReadAll(r, practitioners.Key(), func(key []byte, row PractitionerRow) bool {
		if row.Status == protocol.PractitionerActive && now < row.ValidUntil {
			staff[row.Member] = append(staff[row.Member], Actor{Kind: protocol.ActorPractitioner, Member: row.Member,
				Practitioner: protocol.PractitionerID(key[1:]), Role: row.Role, Credential: true})
			n++
		}
		return n < max
	})
	if err != nil {
		return nil, false, err
	}
	whole = n < max
	err = members.ReadAll(r, members.Key(), func(key []byte, row MemberRow) bool {
		if id := protocol.MemberID(key[1:]); !row.Removed {
			out = append(append(out, Actor{Kind: protocol.ActorMember, Member: id, Custodian: row.Custodian, Credential: true}), staff[id]...)
		}
		return true
	})
	return out, whole, err
}

func memberKey(id protocol.MemberID) []byte             { return protocol.StateKeyMember(id) }
func practitionerKey(id protocol.PractitionerID) []byte { return protocol.StateKeyPractitioner(id) }

func claimKey(c *exec.Context, key protocol.PublicKey, kind protocol.ActorKind, owner [16]byte) {
	keys.Put(c, keys.Key(key[:]), KeyRow{Kind: kind, Owner: owner})
}

func active(c *exec.Context) (n int) {
	members.All(c, members.Key(), func(_ []byte, row MemberRow) bool {
		if !row.Removed {
			n++
		}
		return true
	})
	return n
}

func read[V any](t exec.Table[V], r state.Reader, key []byte) (V, bool) {
	row, ok, err := t.Read(r, key)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	return row, ok
}

func recoverBroken(err *error) {
	if p := recover(); p != nil {
		b, ok := p.(exec.Broken)
		if !ok {
			panic(p)
		}
		*err = b
	}
}
