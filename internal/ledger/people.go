package ledger

import (
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// people hands on the actions with which people stand in for each other, and says who may sign which.
func (b *block) people(c *exec.Context, by actor, action protocol.Action, salt [16]byte) protocol.Reason {
	patient, delegate := c.Signer.Kind == protocol.ActorPatient, c.Signer.Kind == protocol.ActorDelegate
	switch a := action.(type) {
	case *protocol.SetCard:
		if patient {
			if reason := openFor(c); reason != protocol.Accepted && !a.Card.IsZero() {
				return reason
			}
			return consent.SetCard(c, a)
		}
	case *protocol.Delegate:
		if patient || delegate {
			if reason := openFor(c); reason != protocol.Accepted {
				return reason
			}
			return consent.AddDelegate(c, a, salt)
		}
	case *protocol.EndDelegation:
		if patient || delegate {
			return consent.EndDelegation(c, b.l.docket, a)
		}
	case *protocol.ReviewBreakGlass:
		if !patient && !delegate {
			return consent.Review(c, principal(by.Actor), a)
		}
	}
	return protocol.NotEntitled
}

// StillOpens asks again whether an access may open these records of its journal, now: the reader's standing, then the contracts, or what
// else the access stands on. Custodians ask it before each release, and gateways before each file. standing is what is against the reader
// as such; else there is a reason for each record, Accepted where nothing is against it.
func (v *View) StillOpens(row consent.AccessRow, now uint64, resources []consent.Resource) (standing protocol.Reason, each []protocol.Reason, err error) {
	if row.Reader.Kind == protocol.ActorDelegate {
		each, err = consent.StillDelegated(v, row, now, resources)
		return protocol.Accepted, each, err
	}
	if row.Reader.Kind == protocol.ActorPatient { // no contract: a controller that was replaced, or a device that was cut off, opens nothing more
		_, standing, err := journal.Standing(v, row.Journal, row.Reader.Key, now)
		if err == nil && row.Reader.ID != [16]byte(row.Journal) {
			standing = protocol.WrongJournal
		}
		return standing, make([]protocol.Reason, len(resources)), err
	}
	by, standing, err := registry.Lookup(v, row.Reader, now)
	if err != nil || standing != protocol.Accepted {
		return standing, nil, err
	}
	each, err = consent.StillPermits(v, v.Contracts(), row, principal(by), now, resources)
	return protocol.Accepted, each, err
}
