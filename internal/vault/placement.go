package vault

import (
	"bytes"
	"slices"

	"github.com/anamnesis-health/anamnesis/protocol"
)

const placementDomain = "anamnesis/vault/placement/v1"

// Placement names the members that keep a file: the copies (or all, if there are fewer) members of highest weight, highest first, where a
// member's weight is protocol.Digest of placementDomain, the member's id and the file's hash, read as a big-endian number. This is rendezvous
// hashing (Thaler and Ravishankar 1998) with equal shares: who joins or leaves moves only the files of its own share. The order of members
// and repetitions among them do not matter.
func Placement(file Hash, members []MemberID, copies int) []MemberID {
	if copies < 1 {
		return nil
	}
	type weighed struct {
		member MemberID
		weight Hash
	}
	all := make([]weighed, len(members))
	for i, m := range members {
		all[i] = weighed{m, weight(m, file)}
	}
	slices.SortFunc(all, func(a, b weighed) int {
		if c := bytes.Compare(b.weight[:], a.weight[:]); c != 0 {
			return c
		}
		return bytes.Compare(a.member[:], b.member[:])
	})
	all = slices.CompactFunc(all, func(a, b weighed) bool { return a.member == b.member })
	placed := make([]MemberID, min(copies, len(all)))
	for i := range placed {
		placed[i] = all[i].member
	}
	return placed
}

func weight(m MemberID, file Hash) Hash { return protocol.Digest(placementDomain, m[:], file[:]) }
