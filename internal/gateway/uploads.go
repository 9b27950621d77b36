package gateway

import (
	"net/http"
	"sync"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// uploads bounds how fast patients and delegates fill the vaults: what no entry comes to name is swept after an hour, but nobody vouches for it
// until then, and anybody can open a journal. Small files, such as statements and notes, have a share of their own, which large ones do not
// take. What did not arrive whole, or was refused, is given back.
type uploads struct {
	mu           sync.Mutex
	hour         uint64
	small, large int64
	of           map[protocol.JournalID]int64
}

var tooMuchUploaded = problem(http.StatusTooManyRequests, "too-many-uploads", "As much was uploaded in this hour as may be",
	"Go on in an hour. An organisation that may write into the journal is not bound by this.")

// take counts a file of a journal, or says that it is too much. now is in UTC ms. What it returns takes that back.
func (u *uploads) take(now uint64, in protocol.JournalID, size int64) (giveBack func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if hour := now / 3600_000; u.of == nil || hour != u.hour {
		u.hour, u.small, u.large, u.of = hour, 0, 0, map[protocol.JournalID]int64{}
	}
	all, most := &u.large, int64(UploadsHourBytesMax)
	if size <= protocol.StatementBytesMax {
		all, most = &u.small, UploadsSmallHourBytesMax
	}
	before, known := u.of[in]
	if before+size > UploadsJournalHourBytesMax || *all+size > most || !known && len(u.of) >= uploadersHourMax {
		return nil, tooMuchUploaded
	}
	u.of[in] = before + size
	*all += size
	hour := u.hour
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.hour != hour {
			return
		}
		*all -= size
		if u.of[in] -= size; u.of[in] == 0 {
			delete(u.of, in)
		}
	}, nil
}
