package ledger

import (
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// quotaRow counts the envelopes of one minute of block time.
type quotaRow struct {
	_      struct{} `cbor:",toarray"`
	Minute uint64
	Count  uint32
}

var (
	memberQuotas  = exec.Table[quotaRow]{Name: "member quotas", Prefix: 'q'}  // member id
	journalQuotas = exec.Table[quotaRow]{Name: "journal quotas", Prefix: 'Q'} // journal id
)

// charge counts an envelope against its member and its journal, whatever becomes of it.
func charge(c *exec.Context, by actor) protocol.Reason {
	if !count(c, memberQuotas, by.payer[:], c.Params.QuotaMemberMinute) {
		return protocol.QuotaMember
	}
	if !c.Journal.IsZero() && !count(c, journalQuotas, c.Journal[:], c.Params.QuotaJournalMinute) {
		return protocol.QuotaJournal
	}
	return protocol.Accepted
}

func count(c *exec.Context, t exec.Table[quotaRow], id []byte, limit uint32) bool {
	key := t.Key(id)
	row, _ := t.Get(c, key)
	if minute := c.Time / 60_000; row.Minute != minute {
		row = quotaRow{Minute: minute}
	}
	if row.Count >= limit {
		return false
	}
	row.Count++
	t.Put(c, key, row)
	return true
}
