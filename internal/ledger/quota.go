package ledger

import (
	"math"

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
	journalQuotas = exec.Table[quotaRow]{Name: "journal quotas", Prefix: 'Q'} // journal id ‖ member id; for the patient zero, for a device or guardian the beginning of its key
)

// charge counts an envelope against its member, and against what that member may ask of one journal, whatever becomes of it. The patient
// is counted apart, so is each device and guardian, and what revokes, cuts off or vetoes does not cost the sponsor: nobody's requests, nor a sponsor that is hostile or has sponsored
// strangers, can use up what a revocation needs. Envelopes that name a journal that is not there cost the
// member alone, for a row each of invented names would stay.
func charge(c *exec.Context, by actor) protocol.Reason {
	if !by.revoking && !count(c, memberQuotas.Key(by.payer[:]), memberQuotas, c.Params.QuotaMemberMinute) {
		return protocol.QuotaMember
	}
	if c.Journal.IsZero() || !by.opening && !isOpen(c) {
		return protocol.Accepted
	}
	asker := by.payer
	switch {
	case by.device, c.Signer.Kind == protocol.ActorGuardian, c.Signer.Kind == protocol.ActorDelegate:
		// each apart: a stolen key cannot use up what it takes to cut it off
		apart := protocol.Digest("anamnesis/key-quota/v1", c.Signer.Key[:])
		asker = protocol.MemberID(apart[:16])
	case c.Signer.Kind == protocol.ActorPatient:
		asker = protocol.MemberID{}
	}
	if !count(c, journalQuotas.Key(c.Journal[:], asker[:]), journalQuotas, c.Params.QuotaJournalMinute) {
		return protocol.QuotaJournal
	}
	return protocol.Accepted
}

func count(c *exec.Context, key []byte, t exec.Table[quotaRow], limit uint32) bool {
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

// AppendCanonical implements protocol.Appender.
func (q quotaRow) AppendCanonical(b []byte) []byte {
	return protocol.AppendUint(protocol.AppendUint(protocol.AppendArray(b, 2), q.Minute), uint64(q.Count))
}

// ReadCanonical implements protocol.Canonical.
func (q *quotaRow) ReadCanonical(r *protocol.Reader) {
	r.Array(2)
	q.Minute, q.Count = r.Uint(math.MaxUint64), uint32(r.Uint(math.MaxUint32))
}
