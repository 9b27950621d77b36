package consent

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// DelegationRow is somebody who may stand in for the patient. It goes when its end is written down: what remains is the log.
//
// What a delegation gives is inside what its parent gives, and a parent's end takes its children along in the same block. So a row that
// is in force by itself is in force.
type DelegationRow struct {
	_           struct{}           `cbor:",toarray"`
	Key         protocol.PublicKey // the delegate's
	Parent      protocol.PublicKey // the delegate it comes from; zero: the patient
	Depth       uint8              // 1: from the patient
	Level       protocol.Level
	Labels      []protocol.Label // none: all
	NotBefore   uint64
	NotAfter    uint64
	MayDelegate bool
	Cause       protocol.ActionID // the envelope that made it
	Salt        [16]byte          // its nonce, for the entry of the end
}

// InForce tells whether the delegation counts at a time.
func (r DelegationRow) InForce(now uint64) bool { return r.NotBefore <= now && now < r.NotAfter }

var (
	delegations    = exec.Table[DelegationRow]{Name: "delegations", Prefix: 'D'}  // journal id ‖ key
	delegationEnds = exec.Table[endRow]{Name: "ends of delegations", Prefix: 'F'} // not-after ‖ journal id ‖ key
)

func delegationKey(in protocol.JournalID, key protocol.PublicKey) []byte {
	return delegations.Key(in[:], key[:])
}

// AuthenticateDelegate checks that the signer is a delegate of the context's journal, now.
func AuthenticateDelegate(c *exec.Context) protocol.Reason {
	if c.Signer.ID != [16]byte(c.Journal) {
		return protocol.WrongJournal
	}
	row, ok := delegations.Get(c, delegationKey(c.Journal, c.Signer.Key))
	switch {
	case !ok:
		return protocol.UnknownSigner
	case !row.InForce(c.Time):
		return protocol.DelegationOver
	}
	return protocol.Accepted
}

// delegation is the row of a delegate who was authenticated.
func delegation(c *exec.Context, key protocol.PublicKey) DelegationRow {
	row, ok := delegations.Get(c, delegationKey(c.Journal, key))
	if !ok {
		return DelegationRow{} // of no level: it came to its end in this very envelope
	}
	return row
}

// AddDelegate executes the action, signed by the patient or by a delegate who may delegate. salt is the envelope's nonce.
func AddDelegate(c *exec.Context, a *protocol.Delegate, salt [16]byte) protocol.Reason {
	row := DelegationRow{Key: a.Key, Depth: 1, Level: a.Level, Labels: a.Labels, NotBefore: a.NotBefore, NotAfter: a.NotAfter,
		MayDelegate: a.MayDelegate, Cause: c.Cause, Salt: salt}
	if c.Signer.Kind == protocol.ActorDelegate {
		parent := delegation(c, c.Signer.Key)
		if !parent.mayGive(row, c.Time) {
			return protocol.BeyondDelegation
		}
		row.Parent, row.Depth = parent.Key, parent.Depth+1
	}
	if !protocol.VerifySignature(a.Key, protocol.DelegateProofMessage(c.Chain, c.Journal, a.Key), a.Proof) {
		return protocol.BadProof
	}
	if a.NotAfter <= c.Time || a.NotAfter > c.Time+protocol.DelegationWindowMillisMax {
		return protocol.BadWindow
	}
	key := delegationKey(c.Journal, a.Key)
	if delegations.Has(c, key) {
		return protocol.DelegateExists
	}
	if row.Depth > protocol.DelegationDepthMax || len(delegates(c)) >= protocol.DelegationsJournalMax {
		return protocol.TooManyDelegations
	}
	delegations.Put(c, key, row)
	delegationEnds.Put(c, delegationEnds.Key(exec.Uint64(a.NotAfter), c.Journal[:], a.Key[:]), endRow{})
	return protocol.Accepted
}

// mayGive tells whether a delegation of a delegation stays within it, in every respect.
func (r DelegationRow) mayGive(child DelegationRow, now uint64) bool {
	within := len(r.Labels) == 0 || len(child.Labels) > 0 &&
		!slices.ContainsFunc(child.Labels, func(l protocol.Label) bool { return !covers(r.Labels, l) })
	return r.MayDelegate && child.Level <= r.Level && within && max(child.NotBefore, now) >= r.NotBefore && child.NotAfter <= r.NotAfter
}

// EndDelegation executes the action: what stood on the delegation, and on those that come from it, stands no more.
func EndDelegation(c *exec.Context, d *Docket, a *protocol.EndDelegation) protocol.Reason {
	row, ok := delegations.Get(c, delegationKey(c.Journal, a.Key))
	if !ok {
		return protocol.UnknownDelegation
	}
	if c.Signer.Kind == protocol.ActorDelegate && !descends(c, row, c.Signer.Key) {
		return protocol.BeyondDelegation
	}
	for _, gone := range remove(c, d, row) {
		if gone.Key != row.Key { // whose end is this action's own entry
			c.Emit(exec.Event{Type: protocol.EventDelegationEnded, Journal: c.Journal, Body: protocol.DelegationEvent{Key: gone.Key}})
		}
	}
	return protocol.Accepted
}

// ActsFor tells whether what is of a label may be written on the patient's behalf: by the patient, and by a delegate of level act within its
// scope.
func ActsFor(c *exec.Context, l protocol.Label) bool {
	if c.Signer.Kind != protocol.ActorDelegate {
		return c.Signer.Kind == protocol.ActorPatient
	}
	by := delegation(c, c.Signer.Key)
	return by.Level >= protocol.LevelAct && covers(by.Labels, l)
}

// descends tells whether a delegation is somebody's own or comes from it.
func descends(c *exec.Context, row DelegationRow, from protocol.PublicKey) bool {
	for range protocol.DelegationDepthMax {
		if row.Key == from {
			return true
		}
		if row.Parent.IsZero() {
			return false
		}
		row = delegation(c, row.Parent)
	}
	return false
}

// remove takes a delegation away, with those that come from it, and revokes the contracts that they granted.
func remove(c *exec.Context, d *Docket, row DelegationRow) (gone []DelegationRow) {
	gone = []DelegationRow{row}
	for i := 0; i < len(gone); i++ {
		for _, other := range delegates(c) {
			if other.Parent == gone[i].Key {
				gone = append(gone, other)
			}
		}
	}
	for _, g := range gone {
		delegations.Delete(c, delegationKey(c.Journal, g.Key))
		delegationEnds.Delete(c, delegationEnds.Key(exec.Uint64(g.NotAfter), c.Journal[:], g.Key[:]))
	}
	for _, n := range granted(c) {
		if slices.ContainsFunc(gone, func(g DelegationRow) bool { return g.Key == n.Row.By }) {
			stop(c, d, n.ID, n.Row)
			c.Emit(exec.Event{Type: protocol.EventContractEnded, Journal: c.Journal, Body: protocol.ContractEvent{Contract: n.ID}})
		}
	}
	return gone
}

// granted lists the active contracts of the context's journal.
func granted(c *exec.Context) (out []NamedContract) {
	contracts.All(c, contracts.Key(c.Journal[:]), func(key []byte, row ContractRow) bool {
		if row.State == StateActive {
			out = append(out, NamedContract{ID: protocol.ContractID(key[1+16:]), Row: row})
		}
		return true
	})
	return out
}

// delegates lists the delegations of the context's journal, by key.
func delegates(c *exec.Context) (out []DelegationRow) {
	delegations.All(c, delegations.Key(c.Journal[:]), func(_ []byte, row DelegationRow) bool {
		out = append(out, row)
		return true
	})
	return out
}

// EndedDelegation is a delegation whose end is to be written down, with the contracts that ended with it.
type EndedDelegation struct {
	Journal protocol.JournalID
	Row     DelegationRow
	Events  []exec.Event // in their order
}

// EndDelegations ends the delegations whose time is over, the earliest first, at most max of them; the rest wait for the next block.
func EndDelegations(c *exec.Context, d *Docket, max int) (out []EndedDelegation) {
	for _, key := range due(c, delegationEnds, max) {
		at := *c
		at.Journal = protocol.JournalID(key[1+8:])
		row, ok := delegations.Get(&at, delegations.Key(key[1+8:]))
		if !ok {
			continue // it went with its parent, a moment ago
		}
		e := EndedDelegation{Journal: at.Journal, Row: row}
		at.Emit = func(event exec.Event) { e.Events = append(e.Events, event) }
		for _, gone := range remove(&at, d, row) {
			at.Emit(exec.Event{Type: protocol.EventDelegationEnded, Journal: at.Journal, Body: protocol.DelegationEvent{Key: gone.Key}})
		}
		out = append(out, e)
	}
	return out
}

// RequestAsDelegate executes a delegate's request: all that is named must lie in the scope. There is no contract: the delegation is the
// ground, and custodians ask it again.
func RequestAsDelegate(c *exec.Context, a *protocol.RequestAccess, shelf Shelf) protocol.AccessOutcome {
	by := delegation(c, c.Signer.Key)
	if !protocol.DelegatePurpose(a.Purpose) {
		return refusal(protocol.WrongPurpose, nil)
	}
	groups, whole := gather(c, a, shelf)
	var permitted []protocol.RecordID
	erased := false
	for _, item := range slices.Concat(groups...) {
		if !by.InForce(c.Time) || !covers(by.Labels, item.As.Label) {
			return refusal(protocol.OutsideDelegation, nil)
		}
		if erased = erased || item.Erased; !item.ID.IsZero() && !slices.Contains(permitted, item.ID) {
			permitted = append(permitted, item.ID)
		}
	}
	if erased {
		return refusal(protocol.RecordErased, nil)
	}
	if !whole {
		return refusal(protocol.TooManyRecords, nil)
	}
	out := protocol.AccessOutcome{Permitted: true, Reason: protocol.Accepted, Records: permitted,
		Deadline: min(c.Time+c.Params.AccessMillis, by.NotAfter)}
	open(c, AccessRow{Journal: c.Journal, Reader: c.Signer, Purpose: a.Purpose, OneTime: a.OneTime, Records: permitted, Deadline: out.Deadline})
	return out
}

// StillDelegated asks a delegation again whether it reaches these records, now. It answers for each record in order.
func StillDelegated(r state.Reader, row AccessRow, now uint64, resources []Resource) ([]protocol.Reason, error) {
	by, ok, err := Delegation(r, row.Journal, row.Reader.Key)
	if err != nil {
		return nil, err
	}
	out := make([]protocol.Reason, len(resources))
	for i, resource := range resources {
		switch {
		case !ok || !by.InForce(now):
			out[i] = protocol.DelegationOver
		case resource.Journal != row.Journal || !covers(by.Labels, resource.Label):
			out[i] = protocol.OutsideDelegation
		}
	}
	return out, nil
}

// Delegation reads a delegation of a journal.
func Delegation(r state.Reader, in protocol.JournalID, key protocol.PublicKey) (DelegationRow, bool, error) {
	return delegations.Read(r, delegationKey(in, key))
}

// Delegations lists a journal's delegations by key, those included that have not begun or whose end is not yet written down.
func Delegations(r state.Reader, in protocol.JournalID) (out []DelegationRow, err error) {
	err = delegations.ReadAll(r, delegations.Key(in[:]), func(_ []byte, row DelegationRow) bool {
		out = append(out, row)
		return true
	})
	return out, err
}
