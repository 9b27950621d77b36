package registry

import (
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Check holds the tables against each other: every current key is claimed by its actor, practitioners are of members, the custodians'
// indices are distinct, and a proposal is approved by members, each once.
func Check(r state.Reader) (err error) {
	defer recoverBroken(&err)
	var fault error
	custodians := make(map[uint16]bool)
	claimed := func(key protocol.PublicKey, kind protocol.ActorKind, owner [16]byte) bool {
		row, ok := read(keys, r, keys.Key(key[:]))
		return ok && row.Kind == kind && row.Owner == owner
	}
	err = members.ReadAll(r, members.Key(), func(key []byte, row MemberRow) bool {
		id := protocol.MemberID(key[1:])
		if !claimed(row.Member.Key, protocol.ActorMember, id) || row.Custodian > 0 && custodians[row.Custodian] {
			fault = fmt.Errorf("member %s: its key is not claimed, or its index is another's", id)
		}
		custodians[row.Custodian] = true
		return fault == nil
	})
	if err != nil || fault != nil {
		return either(err, fault)
	}
	err = practitioners.ReadAll(r, practitioners.Key(), func(key []byte, row PractitionerRow) bool {
		id := protocol.PractitionerID(key[1:])
		if _, ok := read(members, r, memberKey(row.Member)); !ok || !claimed(row.Key, protocol.ActorPractitioner, id) {
			fault = fmt.Errorf("practitioner %s: no such member, or the key is not claimed", id)
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return either(err, fault)
	}
	err = proposals.ReadAll(r, proposals.Key(), func(key []byte, row ProposalRow) bool {
		once := make(map[protocol.MemberID]bool)
		for _, m := range row.Approvals {
			if _, ok := read(members, r, memberKey(m)); !ok || once[m] {
				fault = fmt.Errorf("proposal %x: approved by no member, or twice by one", key[1:])
			}
			once[m] = true
		}
		return fault == nil
	})
	return either(err, fault)
}

func either(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
