package proof

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// delegates are those who may sign for the patient, as far as the journal has been walked.
type delegates map[protocol.PublicKey]protocol.Delegate

func (d delegates) has(key protocol.PublicKey, at uint64) bool {
	row, ok := d[key]
	return ok && row.NotBefore <= at && at < row.NotAfter
}

// may tells whether a delegation reaches as far as an entry of its delegate: its level, and for a record its scope (docs/spec/ledger.md, Delegations).
func (d delegates) may(e protocol.Entry) bool {
	by := d[e.Signer.Key]
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
		if *d == nil {
			*d = delegates{}
		}
		(*d)[a.Key] = a
	case protocol.TypeEndDelegation:
		var a protocol.EndDelegation
		if err := protocol.Decode(e.Action, &a); err != nil {
			return wrong(CodeEntry, "its body: %v", err)
		}
		delete(*d, a.Key)
	}
	return nil
}
