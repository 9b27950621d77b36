package consent

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// AccessRow is a permitted access while custodians may serve it. Refused ones are entries in the log only.
type AccessRow struct {
	_        struct{} `cbor:",toarray"`
	Journal  protocol.JournalID
	Reader   protocol.Signer
	Purpose  protocol.Purpose
	OneTime  [32]byte
	Records  []protocol.RecordID // in the order of the outcome
	Grounds  []GroundRow
	Deadline uint64            // UTC ms
	Session  protocol.AccessID // the break-glass session it was made in; zero: the glass is whole
}

// GroundRow is a Ground as stored.
type GroundRow struct {
	_        struct{} `cbor:",toarray"`
	Contract protocol.ContractID
	Uses     uint32
}

// Shelf is where the records of the context's journal are found.
type Shelf interface {
	// WithLabel lists at most max records of a label in their order, without those that were erased.
	WithLabel(l protocol.Label, max int) []Item
	// Record is a record, followed by the statements about it; none if the journal has no such record.
	Record(id protocol.RecordID) []Item
}

// Item is a record and what the contracts decide on for it: itself, or for a statement the record that it is about.
type Item struct {
	ID     protocol.RecordID // zero: no record; it stands for a label without any, or for a record that is not there
	As     Resource
	Erased bool
}

// MayWrite decides on a record about to be added. A member or practitioner needs a contract that permits it to write.
func MayWrite(c *exec.Context, d *Docket, by Principal, r Resource) bool {
	return d.of(c).mayWrite(c.Time, by, r)
}

// RequestAccess executes the action. Every label named must be permitted, else all is refused; within a permitted label, records that a
// contract closes are left out without a word, so that a reader does not learn that they exist.
//
// A request that names a sealed reason breaks the glass: it is for emergency roles, stands on contracts that speak of it, and belongs to a
// session that is reviewed. salt is the envelope's nonce.
func RequestAccess(c *exec.Context, d *Docket, by Principal, a *protocol.RequestAccess, shelf Shelf, salt [16]byte) protocol.AccessOutcome {
	glass := !a.Reason.IsZero()
	var session SessionRow
	if glass {
		var against protocol.Reason
		if session, against = mayBreakGlass(c, by); against != protocol.Accepted {
			return refusal(against, nil)
		}
	}
	active := d.of(c).active
	req := Request{Principal: by, Action: ActionRead, Purpose: a.Purpose, Now: c.Time, BreakGlass: glass}
	groups, whole := gather(c, a, shelf)
	var all []Resource
	for _, g := range groups {
		for _, item := range g {
			all = append(all, item.As)
		}
	}
	decisions := DecideAll(active, req, all)
	var permitted []protocol.RecordID
	opened := make(map[protocol.RecordID]bool) // looked up, never ranged over
	rest := decisions
	for _, g := range groups {
		mine := rest[:len(g)]
		rest = rest[len(g):]
		i := slices.IndexFunc(mine, func(d Decision) bool { return d.Permitted })
		if i < 0 {
			return refusal(reasonOf(mine[0].Reason), mine[0].Contracts)
		}
		if g[i].Erased { // said only to those who may read it
			return refusal(protocol.RecordErased, nil)
		}
		for j, d := range mine {
			if id := g[j].ID; d.Permitted && !id.IsZero() && !opened[id] {
				opened[id] = true
				permitted = append(permitted, id)
			}
		}
	}
	if !whole { // said only to those who may read: how much there is, is nobody else's business
		return refusal(protocol.TooManyRecords, nil)
	}
	out := protocol.AccessOutcome{Permitted: true, Reason: protocol.Accepted, Records: permitted, Deadline: c.Time + c.Params.AccessMillis}
	grounds := Grounds(active, decisions)
	for _, g := range grounds {
		out.Contracts = append(out.Contracts, g.Contract)
	}
	row := AccessRow{Journal: c.Journal, Reader: c.Signer, Purpose: a.Purpose, OneTime: a.OneTime, Records: out.Records}
	if glass {
		session = breakGlass(c, by, session, a.Reason, salt)
		row.Session, out.Deadline = session.ID, min(out.Deadline, session.Ends)
	}
	row.Deadline = out.Deadline
	admit(c, d, row, grounds)
	return out
}

// gather lists what is asked for: a group for each label or record named, and whether that is all of it or only the first RecordsAccessMax
// records. A label without records stands for itself, so that asking for it is decided, and refused, like any other; a record that is not
// there likewise, so that asking tells nothing.
func gather(c *exec.Context, a *protocol.RequestAccess, shelf Shelf) (groups [][]Item, whole bool) {
	left := protocol.RecordsAccessMax
	whole = true
	for _, l := range a.Labels {
		g := shelf.WithLabel(l, left+1)
		if len(g) > left {
			g, whole = g[:left], false
		}
		left -= len(g)
		if len(g) == 0 {
			g = []Item{{As: Resource{Journal: c.Journal, Label: l, Recorded: c.Time}}}
		}
		groups = append(groups, g)
	}
	for _, id := range a.Records {
		g := shelf.Record(id)
		if len(g) > left {
			g, whole = g[:max(left, 1)], false
		}
		left -= len(g)
		if len(g) == 0 {
			g = []Item{{As: Resource{Journal: c.Journal, Recorded: c.Time}}}
		}
		groups = append(groups, g)
	}
	return groups, whole
}

// admit writes a permitted access down and counts its use.
func admit(c *exec.Context, d *Docket, row AccessRow, grounds []Ground) {
	for _, g := range grounds {
		row.Grounds = append(row.Grounds, GroundRow{Contract: g.Contract, Uses: g.Uses})
		key := ContractKey(c.Journal, g.Contract)
		contract, ok := contracts.Get(c, key)
		if !ok {
			exec.Break("consent: contract %s permitted and has no row", g.Contract)
		}
		contract.Uses++
		contracts.Put(c, key, contract)
		d.strike(c.Journal)
		if contract.UsesMax > 0 && contract.Uses == contract.UsesMax {
			c.Emit(exec.Event{Type: protocol.EventContractUsedUp, Journal: c.Journal, Body: protocol.ContractEvent{Contract: g.Contract}})
		}
	}
	open(c, row)
}

// open writes an access for custodians to serve.
func open(c *exec.Context, row AccessRow) {
	id := protocol.DerivedAccessID(c.Cause, c.Index)
	accesses.Put(c, accesses.Key(id[:]), row)
	deadlines.Put(c, deadlines.Key(exec.Uint64(row.Deadline), id[:]), endRow{})
}

func refusal(why protocol.Reason, by []protocol.ContractID) protocol.AccessOutcome {
	return protocol.AccessOutcome{Reason: why, Contracts: by}
}

// Access reads a permitted access; it is gone some time after its deadline.
func Access(r state.Reader, id protocol.AccessID) (AccessRow, bool, error) {
	return accesses.Read(r, accesses.Key(id[:]))
}

// StillPermits asks the contracts again whether an access may open these records, now, without consuming a use. It answers for each record
// in order. The reader's standing is the caller's to look up afresh.
func StillPermits(r state.Reader, cache *Cache, row AccessRow, by Principal, now uint64, resources []Resource) ([]protocol.Reason, error) {
	out := make([]protocol.Reason, len(resources))
	if !row.Session.IsZero() {
		if stands, err := sessionStands(r, row, by); err != nil || !stands {
			for i := range out {
				out[i] = protocol.SessionReviewed
			}
			return out, err
		}
	}
	active, err := load(r, cache, row.Journal)
	if err != nil {
		return nil, err
	}
	grounds := make([]Ground, len(row.Grounds))
	for i, g := range row.Grounds {
		grounds[i] = Ground{Contract: g.Contract, Uses: g.Uses}
	}
	req := Request{Principal: by, Action: ActionRead, Purpose: row.Purpose, Now: now, BreakGlass: !row.Session.IsZero()}
	for i, d := range Recheck(active, req, grounds, resources) {
		out[i] = reasonOf(d.Reason)
	}
	return out, nil
}

// Loaded are a journal's contracts as decisions see them, those that are over too: for Openings.
func Loaded(r state.Reader, cache *Cache, journal protocol.JournalID) ([]Active, error) {
	return load(r, cache, journal)
}

// reasonOf is a decision's reason in the protocol's words.
func reasonOf(r Reason) protocol.Reason {
	switch r {
	case ReasonPermitted:
		return protocol.Accepted
	case ReasonRequest:
		return protocol.BadRequest
	case ReasonCredential:
		return protocol.NoCredential
	case ReasonTooMany:
		return protocol.TooManyRecords
	case ReasonForbidden:
		return protocol.Forbidden
	case ReasonUsedUp:
		return protocol.UsedUp
	case ReasonNotYet:
		return protocol.NotYet
	case ReasonEnded:
		return protocol.Ended
	case ReasonRevoked:
		return protocol.Withdrawn
	case ReasonPurpose:
		return protocol.WrongPurpose
	case ReasonNoContract:
		return protocol.NoContract
	case ReasonError:
	}
	return protocol.ContractError
}

// ReasonOf is reasonOf for custodians, who answer with it.
func ReasonOf(r Reason) protocol.Reason { return reasonOf(r) }
