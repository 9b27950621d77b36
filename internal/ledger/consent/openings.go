package consent

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Opening is what somebody could read now of one group of resources, should they ask.
type Opening struct {
	Opens     int                   // how many of the group, for one purpose or another
	Purposes  []protocol.Purpose    // for which any of them opens, ascending
	Glass     []protocol.Purpose    // the same by breaking the glass, for those who may
	Contracts []protocol.ContractID // on which all this rests, ascending
}

// Openings answers «who can read what now»: what the contracts would open to somebody, group by group of resources (those of one class,
// say), if it were asked for now. It makes the very decision that an access makes, for every purpose there is, and consumes nothing. What
// else may stand in the way of breaking the glass, such as a session that waits for its review, is not looked at: that passes.
func Openings(contracts []Active, who Principal, now uint64, groups [][]Resource) []Opening {
	out := make([]Opening, len(groups))
	glasses := []bool{false}
	if !who.Practitioner.IsZero() && protocol.EmergencyRole(who.Role) {
		glasses = append(glasses, true)
	}
	opens := make([][]bool, len(groups))
	for i, g := range groups {
		opens[i] = make([]bool, len(g))
	}
	for _, glass := range glasses {
		for _, purpose := range protocol.Purposes() {
			if glass && !purpose.BreaksGlass() || !glass && !purpose.KeepsGlass() {
				continue // nobody can ask that
			}
			req := Request{Principal: who, Action: ActionRead, Purpose: purpose, Now: now, BreakGlass: glass}
			if len(newCourt(contracts, req, nil).voices) == 0 {
				continue // no contract speaks to this asker, whatever the resource
			}
			for i, g := range groups {
				out[i].add(purpose, glass, decideInParts(contracts, req, g), opens[i])
			}
		}
	}
	for i := range out {
		slices.SortFunc(out[i].Contracts, compareID)
		out[i].Contracts = slices.Compact(out[i].Contracts)
	}
	return out
}

// add counts what was decided for one purpose; opens marks the resources that any purpose opens.
func (o *Opening) add(purpose protocol.Purpose, glass bool, decisions []Decision, opens []bool) {
	any := false
	for i, d := range decisions {
		if !d.Permitted {
			continue
		}
		any = true
		o.Contracts = append(o.Contracts, d.Contracts...)
		if !opens[i] {
			opens[i] = true
			o.Opens++
		}
	}
	switch {
	case any && glass:
		o.Glass = append(o.Glass, purpose)
	case any:
		o.Purposes = append(o.Purposes, purpose)
	}
}

// decideInParts is DecideAll for any number of resources: a question that would cost too much is put in halves, as its asker could.
func decideInParts(contracts []Active, req Request, resources []Resource) []Decision {
	out := DecideAll(contracts, req, resources)
	half := len(resources) / 2
	if half == 0 || !slices.ContainsFunc(out, func(d Decision) bool { return d.Reason == ReasonTooMany }) {
		return out
	}
	return append(decideInParts(contracts, req, resources[:half]), decideInParts(contracts, req, resources[half:])...)
}
