package sim

import (
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// highest is dice that always fall alike: nobody lies, and every envelope is a good one.
type highest struct{}

func (highest) n(max int) int { return max - 1 }

// A night in which more falls due than a block writes down: contracts, delegations with what they granted, and reviews, many at the same
// millisecond. The blocks of the morning take the rest, in the order that the model says, while decisions go by the time.
func TestMoreEndsThanABlockWrites(t *testing.T) {
	const patients, delegates, hour = 20, 14, 3600_000
	_, w := founded(t, 3, func(g *protocol.Genesis) {
		g.Params.QuotaMemberMinute, g.Params.QuotaJournalMinute, g.Params.ReviewMillis = 1<<30, 1<<30, hour
	})
	town := newTown(highest{}, w, false)
	send := func(all ...*protocol.Verified) {
		town.Time += 7
		town.execute(ledger.Block{Height: town.L.Head().Height + 1, Time: town.Time, Parcels: [][]*protocol.Verified{all}})
	}
	breaks := func(medic *ledgertest.Who, in protocol.JournalID) *protocol.Verified {
		return town.sign(medic, in, &protocol.RequestAccess{Labels: labels[:1], Purpose: protocol.PurposeBreakGlass, OneTime: town.oneTime,
			OneTimeKEM: protocol.OneTimeX25519, Reason: town.reason()})
	}
	for range delegates {
		send(town.hiring(w.Members[0], protocol.RoleParamedic).v)
	}
	var keys []protocol.PublicKey
	for range patients {
		send(town.opening(nil))
		patient := town.patients[len(town.patients)-1]
		in, end := patient.Journal(), town.Time+hour
		actions := []protocol.Action{town.contract(rule{glass: true}, day)}
		for i := range delegates {
			actions = append(actions, town.delegating(in, delegationModel{level: protocol.LevelAct, may: true, until: end + uint64(i%3)}))
		}
		send(town.sign(patient, in, actions...))
		keys = town.everDelegates[len(town.everDelegates)-delegates:]
		child := town.delegating(in, delegationModel{level: protocol.LevelShare, until: end})
		all := []*protocol.Verified{town.sign(town.delegateOf(in, keys[0]), in, child), town.sign(town.delegateOf(in, child.Key), in, town.contract(rule{}, end-town.Time))}
		for i, medic := range town.practitioners {
			all = append(all, town.sign(town.delegateOf(in, keys[i]), in, town.contract(rule{}, end-town.Time)), breaks(medic, in))
		}
		send(all...)
	}
	last := town.patients[patients-1].Journal()
	ends := func() (n [3]int) {
		for i, e := range []protocol.ActionType{protocol.EventContractEnded, protocol.EventDelegationEnded, protocol.EventReviewMissed} {
			n[i] = town.events[e]
		}
		return n
	}
	if ends() != [3]int{} {
		t.Fatalf("ended before the night: %v", ends())
	}
	town.Time += day / 2
	for before := ends(); ; before = ends() { // the last ones' ends are not written yet, and they are over
		send(town.sign(town.delegateOf(last, keys[delegates-1]), last, town.contract(rule{}, 1000)), breaks(town.practitioners[delegates-1], last))
		if ends() == before {
			break
		}
	}
	if err := town.L.Check(); err != nil {
		t.Fatal(err)
	}
	if want := [3]int{patients * (delegates + 1), patients * (delegates + 1), patients * delegates}; ends() != want {
		t.Errorf("contracts, delegations and reviews: %v of %v", ends(), want)
	}
	if town.tally[protocol.DelegationOver] == 0 || town.tally[protocol.ReviewDue] == 0 {
		t.Error("whoever was over before that was written down was not refused")
	}
}
