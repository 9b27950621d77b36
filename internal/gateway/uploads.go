package gateway

import (
	"net/http"
	"sync"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// uploads bounds what patients and delegates leave in the vaults, by the hour. What no entry comes to name is swept after an hour, but nobody
// vouches for it until then, and anybody can open a journal.
type uploads struct {
	mu    sync.Mutex
	hour  uint64
	bytes int64
	of    map[protocol.JournalID]int64
}

var tooMuchUploaded = problem(http.StatusTooManyRequests, "too-many-uploads", "As much was uploaded in this hour as may be",
	"Go on in an hour. An organisation that may write into the journal is not bound by this.")

// take counts a file of a journal, or says that it is too much. now is in UTC ms.
func (u *uploads) take(now uint64, in protocol.JournalID, size int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if hour := now / 3600_000; u.of == nil || hour != u.hour {
		u.hour, u.bytes, u.of = hour, 0, map[protocol.JournalID]int64{}
	}
	before, known := u.of[in]
	if before+size > UploadsJournalHourBytesMax || u.bytes+size > UploadsHourBytesMax || !known && len(u.of) >= uploadersHourMax {
		return tooMuchUploaded
	}
	u.of[in], u.bytes = before+size, u.bytes+size
	return nil
}
