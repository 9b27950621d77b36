package consent

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// RequestOwn executes a patient's access to their own journal, which needs no contract: records that were sealed to an earlier key of the
// journal open through the custodians, and that they did is an entry like any other's. ok is false if a record named is not the journal's.
func RequestOwn(c *exec.Context, a *protocol.RequestAccess, shelf Shelf) (out protocol.AccessOutcome, ok bool) {
	if a.Purpose != protocol.PurposePatientRequest {
		return refusal(protocol.WrongPurpose, nil), true
	}
	groups, whole := gather(c, a, shelf)
	for _, item := range slices.Concat(groups...) {
		switch {
		case item.Erased:
			return refusal(protocol.RecordErased, nil), true
		case item.ID.IsZero() && item.As.Label.IsZero():
			return out, false
		case !item.ID.IsZero() && !slices.Contains(out.Records, item.ID):
			out.Records = append(out.Records, item.ID)
		}
	}
	if !whole {
		return refusal(protocol.TooManyRecords, nil), true
	}
	out.Permitted, out.Deadline = true, c.Time+c.Params.AccessMillis
	open(c, AccessRow{Journal: c.Journal, Reader: c.Signer, Purpose: a.Purpose, OneTime: a.OneTime, Records: out.Records, Deadline: out.Deadline})
	return out, true
}
