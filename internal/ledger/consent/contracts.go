package consent

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// ContractRow is a contract as the ledger holds it. Ended and revoked ones stay for a while, so that a refusal can say why.
type ContractRow struct {
	_         struct{} `cbor:",toarray"`
	Template  uint8
	Policy    []byte // canonical
	NotBefore uint64
	NotAfter  uint64
	UsesMax   uint32
	Uses      uint32
	State     State
	Granted   uint64             // UTC ms
	Over      uint64             // UTC ms; 0 while active
	Cause     protocol.ActionID  // the envelope that granted it
	Salt      [16]byte           // its nonce, for the entry of the contract's end
	By        protocol.PublicKey // the delegate who granted it; zero: the patient
	Within    []protocol.Label   // that delegate's scope; none: everything
}

// endRow marks a contract in the queue of ends.
type endRow struct {
	_ struct{} `cbor:",toarray"`
}

// The tables; all are written by this package alone.
var (
	contracts = exec.Table[ContractRow]{Name: "contracts", Prefix: 'c'} // journal id ‖ contract id
	ends      = exec.Table[endRow]{Name: "ends", Prefix: 'x'}           // not-after ‖ journal id ‖ contract id
	accesses  = exec.Table[AccessRow]{Name: "accesses", Prefix: 'a'}    // access id
	deadlines = exec.Table[endRow]{Name: "deadlines", Prefix: 'y'}      // deadline ‖ access id
)

// contractsKeptMax bounds the rows of a journal, the ended ones included.
const contractsKeptMax = 2 * protocol.ContractsJournalMax

// Grant executes the action: the patient's signature has been checked, and the journal is the context's. salt is the envelope's nonce.
//
// A delegate grants within its own scope and time, and closes things only if it may act.
func Grant(c *exec.Context, d *Docket, a *protocol.Grant, salt [16]byte) protocol.Reason {
	compiled, err := d.cache.Compile(a.Policy)
	if err != nil {
		return protocol.BadPolicy
	}
	var by DelegationRow
	if c.Signer.Kind == protocol.ActorDelegate {
		by = delegation(c, c.Signer.Key)
		if by.Level < protocol.LevelShare || a.NotAfter > by.NotAfter || compiled.Forbids() && by.Level < protocol.LevelAct {
			return protocol.BeyondDelegation
		}
	}
	if a.NotAfter <= c.Time || a.NotAfter > c.Time+protocol.ContractWindowMillisMax {
		return protocol.BadWindow
	}
	active, oldest, kept := census(c)
	if active >= protocol.ContractsJournalMax {
		return protocol.TooManyContracts
	}
	d.strike(c.Journal)
	if kept >= contractsKeptMax {
		contracts.Delete(c, oldest)
	}
	id := protocol.DerivedContractID(c.Cause, c.Index)
	contracts.Put(c, ContractKey(c.Journal, id), ContractRow{Template: a.Template, Policy: a.Policy, NotBefore: a.NotBefore, NotAfter: a.NotAfter,
		UsesMax: a.UsesMax, State: StateActive, Granted: c.Time, Cause: c.Cause, Salt: salt,
		By: by.Key, Within: by.Labels})
	ends.Put(c, ends.Key(exec.Uint64(a.NotAfter), c.Journal[:], id[:]), endRow{})
	return protocol.Accepted
}

// census counts a journal's contracts, and finds the one that has been over for longest.
func census(c *exec.Context) (active int, oldest []byte, kept int) {
	var over uint64
	contracts.All(c, contracts.Key(c.Journal[:]), func(key []byte, row ContractRow) bool {
		kept++
		if row.State == StateActive {
			active++
		} else if oldest == nil || row.Over < over {
			oldest, over = slices.Clone(key), row.Over
		}
		return true
	})
	return active, oldest, kept
}

// Revoke executes the action: nothing stands on the contract from this block on.
func Revoke(c *exec.Context, d *Docket, a *protocol.Revoke) protocol.Reason {
	key := ContractKey(c.Journal, a.Contract)
	row, ok := contracts.Get(c, key)
	if !ok {
		return protocol.UnknownContract
	}
	if c.Signer.Kind == protocol.ActorDelegate {
		by := delegation(c, c.Signer.Key)
		if by.Level < protocol.LevelShare || by.Level < protocol.LevelAct && row.By != by.Key {
			return protocol.BeyondDelegation
		}
	}
	if row.State != StateActive {
		return protocol.ContractOver
	}
	stop(c, d, a.Contract, row)
	return protocol.Accepted
}

// stop revokes an active contract of the context's journal.
func stop(c *exec.Context, d *Docket, id protocol.ContractID, row ContractRow) {
	row.State, row.Over = StateRevoked, c.Time
	d.strike(c.Journal)
	contracts.Put(c, ContractKey(c.Journal, id), row)
	ends.Delete(c, ends.Key(exec.Uint64(row.NotAfter), c.Journal[:], id[:]))
}

// Ended is a contract whose end is to be written down.
type Ended struct {
	Journal  protocol.JournalID
	Contract protocol.ContractID
	Cause    protocol.ActionID
	Salt     [16]byte
}

// EndDue ends the contracts whose time is over, the earliest first, at most max; the rest wait for the next block.
func EndDue(c *exec.Context, d *Docket, max int) (out []Ended) {
	for _, key := range due(c, ends, max) {
		id := protocol.ContractID(key[1+8+16:])
		rowKey := contracts.Key(key[1+8:])
		row, ok := contracts.Get(c, rowKey)
		if !ok || row.State != StateActive {
			exec.Break("consent: contract %s is queued to end and is not active", id)
		}
		row.State, row.Over = StateEnded, c.Time
		d.strike(protocol.JournalID(key[1+8:]))
		contracts.Put(c, rowKey, row)
		ends.Delete(c, key)
		out = append(out, Ended{Journal: protocol.JournalID(key[1+8:]), Contract: id, Cause: row.Cause, Salt: row.Salt})
	}
	return out
}

// ForgetAccesses drops accesses past their deadline, at most max: what remains of them is their entry in the log.
func ForgetAccesses(c *exec.Context, max int) {
	for _, key := range due(c, deadlines, max) {
		deadlines.Delete(c, key)
		accesses.Delete(c, accesses.Key(key[1+8:]))
	}
}

func due(c *exec.Context, queue exec.Table[endRow], max int) (keys [][]byte) {
	queue.All(c, queue.Key(), func(key []byte, _ endRow) bool {
		if exec.ParseUint64(key[1:]) > c.Time || len(keys) == max {
			return false
		}
		keys = append(keys, slices.Clone(key))
		return true
	})
	return keys
}

// NextEnd is when the next contract or delegation ends or the next review is due, in UTC ms.
func NextEnd(r state.Reader) (at uint64, ok bool, err error) {
	for _, queue := range []exec.Table[endRow]{ends, delegationEnds, reviews} {
		err = queue.ReadAll(r, queue.Key(), func(key []byte, _ endRow) bool {
			if next := exec.ParseUint64(key[1:]); !ok || next < at {
				at, ok = next, true
			}
			return false
		})
		if err != nil {
			return 0, false, err
		}
	}
	return at, ok, nil
}

// NamedContract is a contract with its id.
type NamedContract struct {
	ID  protocol.ContractID
	Row ContractRow
}

// Contracts lists a journal's contracts, ended ones too, by id.
func Contracts(r state.Reader, id protocol.JournalID) (out []NamedContract, err error) {
	err = contracts.ReadAll(r, contracts.Key(id[:]), func(key []byte, row ContractRow) bool {
		out = append(out, NamedContract{ID: protocol.ContractID(key[1+16:]), Row: row})
		return true
	})
	return out, err
}

// ContractKey is the state map's key of a contract's row, for proofs.
func ContractKey(journal protocol.JournalID, id protocol.ContractID) []byte {
	return contracts.Key(journal[:], id[:])
}

// load compiles a journal's contracts. A row that does not compile is a broken invariant: it was checked when granted.
func load(r state.Reader, cache *Cache, journal protocol.JournalID) ([]Active, error) {
	rows, err := Contracts(r, journal)
	if err != nil {
		return nil, err
	}
	out := make([]Active, len(rows))
	for i, n := range rows {
		compiled, err := cache.Compile(n.Row.Policy)
		if err != nil {
			return nil, exec.Broken{Err: err}
		}
		out[i] = Active{ID: n.ID, Policies: compiled, State: n.Row.State, NotBefore: n.Row.NotBefore, NotAfter: n.Row.NotAfter,
			UsesMax: n.Row.UsesMax, Uses: n.Row.Uses, Within: n.Row.Within}
	}
	return out, nil
}
