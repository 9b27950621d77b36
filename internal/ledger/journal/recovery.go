package journal

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// RecoveryState is where a recovery stands. The zero value is no state.
type RecoveryState uint8

// The states of a recovery; the first two are open.
const (
	RecoveryGathering RecoveryState = 1 + iota // waits for approvals
	RecoveryWaiting                            // has them, and waits for its delay
	RecoveryCompleted
	RecoveryVetoed
	RecoveryExpired
	RecoveryOvertaken // another one was completed, or the guardians were replaced
)

var recoveryNames = [...]string{RecoveryGathering: "gathering", RecoveryWaiting: "waiting", RecoveryCompleted: "completed",
	RecoveryVetoed: "vetoed", RecoveryExpired: "expired", RecoveryOvertaken: "overtaken"}

// String is the state's name.
func (s RecoveryState) String() string {
	if int(s) < len(recoveryNames) && s > 0 {
		return recoveryNames[s]
	}
	return "unknown"
}

// RecoveryRow is a recovery by guardians.
type RecoveryRow struct {
	_          struct{} `cbor:",toarray"`
	Policy     []byte   // canonical encoding of protocol.GuardianPolicy
	Controller protocol.PublicKey
	Recipient  [32]byte
	Approvals  []protocol.PublicKey // the proposer's first
	Proposed   uint64               // UTC ms
	At         uint64               // UTC ms: while it gathers, when it expires; while it waits, when it is completed; then, when it was over
	State      RecoveryState
	Cause      protocol.ActionID // the envelope that proposed it
	Index      uint16            // which action of it
	Salt       [16]byte          // its nonce, for the entries of what becomes of it
}

func (r RecoveryRow) open() bool { return r.State == RecoveryGathering || r.State == RecoveryWaiting }

var (
	recoveries = exec.Table[RecoveryRow]{Name: "recoveries", Prefix: 'P'}   // journal id ‖ recovery id
	dues       = exec.Table[mark]{Name: "queue of recoveries", Prefix: 'U'} // time ‖ journal id ‖ recovery id
)

// recoveriesKeptMax bounds the rows of a journal. At most one for each guardian is open.
const recoveriesKeptMax = 2 * protocol.GuardiansMax

func recoveryKey(j protocol.JournalID, id protocol.RecoveryID) []byte {
	return recoveries.Key(j[:], id[:])
}

func dueKey(at uint64, j protocol.JournalID, id protocol.RecoveryID) []byte {
	return dues.Key(exec.Uint64(at), j[:], id[:])
}

// NamedRecovery is a recovery with its id.
type NamedRecovery struct {
	ID  protocol.RecoveryID
	Row RecoveryRow
}

// Recoveries lists a journal's recoveries by id, those that are over too.
func Recoveries(r state.Reader, j protocol.JournalID) (out []NamedRecovery, err error) {
	err = recoveries.ReadAll(r, recoveries.Key(j[:]), func(at []byte, row RecoveryRow) bool {
		out = append(out, NamedRecovery{ID: protocol.RecoveryID(at[1+16:]), Row: row})
		return true
	})
	return out, err
}

func allRecoveries(c *exec.Context, j protocol.JournalID) []NamedRecovery {
	out, err := Recoveries(c.Tx, j)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	return out
}

// AuthenticateGuardian finds the journal that a guardian speaks about, and that the key is a guardian's: of the policy that a proposal
// reveals, or of the recovery that is approved.
func AuthenticateGuardian(c *exec.Context, first protocol.Action) (Row, protocol.Reason) {
	if c.Signer.ID != [16]byte(c.Journal) {
		return Row{}, protocol.WrongJournal
	}
	row, ok := journals.Get(c, key(c.Journal))
	if !ok {
		return Row{}, protocol.UnknownSigner
	}
	if row.Due != 0 && row.Due <= c.Time {
		return Row{}, protocol.RecoveryDue
	}
	var policy []byte
	switch a := first.(type) {
	case *protocol.ProposeRecovery:
		if row.Guardians.IsZero() || protocol.GuardianCommitment(c.Chain, c.Journal, a.Policy) != row.Guardians {
			return Row{}, protocol.WrongGuardians
		}
		policy = a.Policy
	case *protocol.ApproveRecovery:
		r, ok := recoveries.Get(c, recoveryKey(c.Journal, a.Recovery))
		if !ok {
			return Row{}, protocol.UnknownRecovery
		}
		policy = r.Policy
	default:
		return Row{}, protocol.NotEntitled
	}
	if !parsed(policy).Has(c.Signer.Key) {
		return Row{}, protocol.NotAGuardian
	}
	return row, protocol.Accepted
}

// parsed reads a policy that was checked when it came in.
func parsed(raw []byte) protocol.GuardianPolicy {
	p, err := protocol.ParseGuardianPolicy(raw)
	if err != nil {
		exec.Break("journal: a guardians' policy does not decode: %v", err)
	}
	return p
}

// SetGuardians executes the action. What is open under the guardians before is over.
func SetGuardians(c *exec.Context, a *protocol.SetGuardians) protocol.Reason {
	row := mine(c)
	endOthers(c, c.Journal, protocol.RecoveryID{})
	row.Guardians, row.Due = a.Guardians, 0
	journals.Put(c, key(c.Journal), row)
	return protocol.Accepted
}

// ProposeRecovery executes the action.
func ProposeRecovery(c *exec.Context, a *protocol.ProposeRecovery, salt [16]byte) protocol.Reason {
	row, reason := AuthenticateGuardian(c, a)
	if reason != protocol.Accepted {
		return reason
	}
	if row.Controller == a.Controller || devices.Has(c, deviceKey(c.Journal, a.Controller)) || parsed(a.Policy).Has(a.Controller) {
		return protocol.KeyInUse
	}
	if !protocol.VerifySignature(a.Controller, protocol.ControlMessage(c.Chain, c.Journal, a.Controller, a.Recipient), a.Proof) {
		return protocol.BadProof
	}
	kept := allRecoveries(c, c.Journal)
	oldest := -1
	for i, n := range kept {
		if n.Row.open() && n.Row.At > c.Time && n.Row.Approvals[0] == c.Signer.Key {
			return protocol.AlreadySpoken
		}
		if !n.Row.open() && (oldest < 0 || n.Row.At < kept[oldest].Row.At) {
			oldest = i
		}
	}
	if len(kept) >= recoveriesKeptMax {
		recoveries.Delete(c, recoveryKey(c.Journal, kept[oldest].ID))
	}
	r := RecoveryRow{Policy: a.Policy, Controller: a.Controller, Recipient: a.Recipient, Approvals: []protocol.PublicKey{c.Signer.Key},
		Proposed: c.Time, At: c.Time + protocol.RecoveryOpenMillis, State: RecoveryGathering, Cause: c.Cause, Index: uint16(c.Index), Salt: salt}
	id := protocol.DerivedRecoveryID(c.Cause, c.Index)
	dues.Put(c, dueKey(r.At, c.Journal, id), mark{})
	weigh(c, id, &r)
	return protocol.Accepted
}

// recoversTo tells whether an open recovery would make a key the journal's controller.
func recoversTo(c *exec.Context, key protocol.PublicKey) bool {
	return slices.ContainsFunc(allRecoveries(c, c.Journal), func(n NamedRecovery) bool { return n.Row.open() && n.Row.Controller == key })
}

// ApproveRecovery executes the action.
func ApproveRecovery(c *exec.Context, a *protocol.ApproveRecovery) protocol.Reason {
	if _, reason := AuthenticateGuardian(c, a); reason != protocol.Accepted {
		return reason
	}
	r, _ := recoveries.Get(c, recoveryKey(c.Journal, a.Recovery))
	if !r.open() || r.At <= c.Time {
		return protocol.RecoveryOver
	}
	if slices.Contains(r.Approvals, c.Signer.Key) {
		return protocol.AlreadySpoken
	}
	r.Approvals = append(r.Approvals, c.Signer.Key)
	weigh(c, a.Recovery, &r)
	return protocol.Accepted
}

// weigh writes a recovery down, and starts its delay once every group has approved.
func weigh(c *exec.Context, id protocol.RecoveryID, r *RecoveryRow) {
	if policy := parsed(r.Policy); r.State == RecoveryGathering && policy.Satisfied(r.Approvals) {
		dues.Delete(c, dueKey(r.At, c.Journal, id))
		r.State, r.At = RecoveryWaiting, c.Time+max(policy.DelayMillis, c.Params.RecoveryMillisMin)
		dues.Put(c, dueKey(r.At, c.Journal, id), mark{})
		row := mine(c)
		if row.Due == 0 || r.At < row.Due {
			row.Due = r.At
			journals.Put(c, key(c.Journal), row)
		}
		c.Emit(exec.Event{Type: protocol.EventRecoveryWaiting, Journal: c.Journal, Body: protocol.RecoveryWaiting{Recovery: id, Due: r.At}})
	}
	recoveries.Put(c, recoveryKey(c.Journal, id), *r)
}

// VetoRecovery executes the action, which a controller or device has signed.
func VetoRecovery(c *exec.Context, a *protocol.VetoRecovery) protocol.Reason {
	r, ok := recoveries.Get(c, recoveryKey(c.Journal, a.Recovery))
	if !ok {
		return protocol.UnknownRecovery
	}
	if !r.open() || r.At <= c.Time {
		return protocol.RecoveryOver
	}
	finish(c, c.Journal, a.Recovery, r, RecoveryVetoed)
	row := mine(c)
	row.Due = 0
	for _, n := range allRecoveries(c, c.Journal) {
		if n.Row.State == RecoveryWaiting && (row.Due == 0 || n.Row.At < row.Due) {
			row.Due = n.Row.At
		}
	}
	journals.Put(c, key(c.Journal), row)
	return protocol.Accepted
}

// finish ends a recovery that is open.
func finish(c *exec.Context, j protocol.JournalID, id protocol.RecoveryID, r RecoveryRow, as RecoveryState) {
	dues.Delete(c, dueKey(r.At, j, id))
	r.State, r.At = as, c.Time
	recoveries.Put(c, recoveryKey(j, id), r)
}

// endOthers ends all open recoveries of a journal but one.
func endOthers(c *exec.Context, j protocol.JournalID, but protocol.RecoveryID) {
	for _, n := range allRecoveries(c, j) {
		if n.Row.open() && n.ID != but {
			finish(c, j, n.ID, n.Row, RecoveryOvertaken)
		}
	}
}

// Settle completes the recoveries whose delay is over and ends those that found too few approvals, the earliest first, at most most; the
// rest wait for the next block, and meanwhile their journals obey nobody (Standing).
func Settle(c *exec.Context, most int) (out []Event) {
	for range most {
		j, id, ok := nextDue(c)
		if !ok {
			return out
		}
		r, ok := recoveries.Get(c, recoveryKey(j, id))
		if !ok || !r.open() {
			exec.Break("journal: recovery %s is queued and not open", id)
		}
		e := Event{Journal: j, Cause: r.Cause, Index: r.Index, Salt: r.Salt, Type: protocol.EventRecoveryExpired, Body: protocol.RecoveryEvent{Recovery: id}}
		if r.State == RecoveryWaiting {
			e.Type = protocol.EventJournalRecovered
			complete(c, j, id, r)
		} else {
			finish(c, j, id, r, RecoveryExpired)
		}
		out = append(out, e)
	}
	return out
}

func nextDue(c *exec.Context) (j protocol.JournalID, id protocol.RecoveryID, ok bool) {
	dues.All(c, dues.Key(), func(at []byte, _ mark) bool {
		if exec.ParseUint64(at[1:]) <= c.Time {
			j, id, ok = protocol.JournalID(at[1+8:1+8+16]), protocol.RecoveryID(at[1+8+16:]), true
		}
		return false
	})
	return j, id, ok
}

// complete hands the journal over: the old controller's key is dead, and with it every device and the guardians.
func complete(c *exec.Context, j protocol.JournalID, id protocol.RecoveryID, r RecoveryRow) {
	row, ok := journals.Get(c, key(j))
	if !ok {
		exec.Break("journal %s: recovered, and it has no row", j)
	}
	finish(c, j, id, r, RecoveryCompleted)
	endOthers(c, j, id)
	revokeDevices(c, j)
	row.Controller, row.Recipient, row.Guardians, row.Due = r.Controller, r.Recipient, protocol.Hash{}, 0
	journals.Put(c, key(j), row)
}

// NextRecovery is when the next recovery is completed or expires, in UTC ms.
func NextRecovery(r state.Reader) (at uint64, ok bool, err error) {
	err = dues.ReadAll(r, dues.Key(), func(key []byte, _ mark) bool {
		at, ok = exec.ParseUint64(key[1:]), true
		return false
	})
	return at, ok, err
}
