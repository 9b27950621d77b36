package proof

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// delegates are those who may sign for the patient, as far as the journal has been walked.
type delegates struct {
	rows  map[protocol.PublicKey]protocol.Delegate
	cause protocol.ActionID // of the last entry that a delegate signed, and the key
	key   protocol.PublicKey
}

// has tells whether an entry's signer was a delegate. An envelope in which a delegate ends its own delegation goes on: it may do nothing more
// that takes one, and what it asks to read is refused, which is an entry.
func (d *delegates) has(e protocol.Entry) bool {
	row, ok := d.rows[e.Signer.Key]
	in := ok && row.NotBefore <= e.Time && e.Time < row.NotAfter
	if in {
		d.cause, d.key = e.Cause, e.Signer.Key
	}
	return in || e.Cause == d.cause && e.Signer.Key == d.key
}

// may tells whether a delegation reaches as far as an entry of its delegate: its level, and for a record its scope (docs/spec/ledger.md, Delegations).
func (d *delegates) may(e protocol.Entry) bool {
	by := d.rows[e.Signer.Key]
	switch e.Type {
	case protocol.TypeAddRecord:
		var a protocol.AddRecord
		if protocol.Decode(e.Action, &a) != nil {
			return true // a failure already
		}
		return by.Level >= protocol.LevelAct && (len(by.Labels) == 0 || slices.Contains(by.Labels, a.Label))
	case protocol.TypeRequestAmendment:
		return by.Level >= protocol.LevelAct
	case protocol.TypeGrant, protocol.TypeRevoke:
		return by.Level >= protocol.LevelShare
	case protocol.TypeDelegate:
		return by.MayDelegate
	}
	return true
}

// learn follows delegations as the journal's entries make and end them; what ends by itself is an event.
func (d *delegates) learn(e protocol.Entry) error {
	switch e.Type {
	case protocol.TypeDelegate:
		var a protocol.Delegate
		if err := protocol.Decode(e.Action, &a); err != nil {
			return wrong(CodeEntry, "its body: %v", err)
		}
		if d.rows == nil {
			d.rows = map[protocol.PublicKey]protocol.Delegate{}
		}
		d.rows[a.Key] = a
	case protocol.TypeEndDelegation:
		var a protocol.EndDelegation
		if err := protocol.Decode(e.Action, &a); err != nil {
			return wrong(CodeEntry, "its body: %v", err)
		}
		delete(d.rows, a.Key)
	}
	return nil
}
