package ledger

import (
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// forget dispatches what happens to records after they were written: erasure, holds, amendment.
func forget(c *exec.Context, by actor, action protocol.Action, salt [16]byte) (reason protocol.Reason, ok bool) {
	patient, member := c.Signer.Kind == protocol.ActorPatient, c.Signer.Kind == protocol.ActorMember
	switch a := action.(type) {
	case *protocol.Erase:
		if !patient {
			return protocol.NotEntitled, true
		}
		reason := journal.Erase(c, a, salt)
		if reason == protocol.Accepted && a.Everything {
			consent.DropCard(c)
		}
		return reason, true
	case *protocol.AttestErasure:
		if !member || by.Custodian == 0 {
			return protocol.NotACustodian, true
		}
		return journal.Attest(c, by.Member, a), true
	case *protocol.SetHold:
		if !member {
			return protocol.NotEntitled, true
		}
		if reason := openFor(c); reason != protocol.Accepted {
			return reason, true
		}
		return journal.SetHold(c, by.Member, a, salt), true
	case *protocol.LiftHold:
		if !member {
			return protocol.NotEntitled, true
		}
		return journal.LiftHold(c, by.Member, a, salt), true
	case *protocol.RequestAmendment:
		if !patient && c.Signer.Kind != protocol.ActorDelegate {
			return protocol.NotEntitled, true
		}
		row, _, err := journal.Record(c.Tx, a.Record)
		if err != nil {
			panic(exec.Broken{Err: err})
		}
		if !consent.ActsFor(c, row.Label) {
			return protocol.BeyondDelegation, true
		}
		return journal.Ask(c, a, salt), true
	case *protocol.AnswerAmendment:
		if patient || !by.Credential {
			return protocol.NotEntitled, true
		}
		return journal.Answer(c, by.Member, a), true
	}
	return 0, false
}

// openFor tells whether something can still be written into the journal.
func openFor(c *exec.Context) protocol.Reason {
	row, ok, err := journal.Get(c.Tx, c.Journal)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	switch {
	case !ok:
		return protocol.UnknownJournal
	case row.Closed != 0:
		return protocol.JournalClosed
	}
	return protocol.Accepted
}
