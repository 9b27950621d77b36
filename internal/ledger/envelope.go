package ledger

import (
	"encoding/binary"
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// An envelope's row holds what its entries do not say: the entries have signer, journal, nonce (their salt) and actions, so that the signed
// bytes come together again, and the action id tells whether they are right.
//
//	index of the first entry u64 ‖ entries u16 ‖ version u16 ‖ not-after u64 ‖ signature 64
const envelopeRowBytes = 8 + 2 + 2 + 8 + 64

func envelopeKey(id protocol.ActionID) []byte {
	return append(append(make([]byte, 0, 33), rowEnvelope...), id[:]...)
}

func envelopeRow(first uint64, entries uint16, v *protocol.Verified) []byte {
	row := binary.BigEndian.AppendUint64(make([]byte, 0, envelopeRowBytes), first)
	row = binary.BigEndian.AppendUint16(row, entries)
	row = binary.BigEndian.AppendUint16(row, v.Body.Version)
	row = binary.BigEndian.AppendUint64(row, v.Body.NotAfter)
	return append(row, v.Envelope[len(v.Envelope)-64:]...)
}

func (v *View) envelopeRow(id protocol.ActionID) ([]byte, error) {
	row, ok, err := v.l.store.Get(envelopeKey(id))
	if err != nil || !ok {
		return nil, err
	}
	if len(row) != envelopeRowBytes {
		return nil, exec.Broken{Err: fmt.Errorf("ledger: the row of envelope %s has %d bytes", id, len(row))}
	}
	first, entries := exec.ParseUint64(row), uint64(binary.BigEndian.Uint16(row[8:]))
	if first >= v.Head.Size || entries > v.Head.Size-first {
		return nil, nil // written after the view was taken
	}
	return row, nil
}

// Located finds the entries of an envelope that was executed: the index of the first, and how many.
func (v *View) Located(id protocol.ActionID) (first uint64, entries int, ok bool, err error) {
	row, err := v.envelopeRow(id)
	if row == nil {
		return 0, 0, false, err
	}
	return exec.ParseUint64(row), int(binary.BigEndian.Uint16(row[8:])), true, nil
}

// Envelope is Located with the signed envelope, byte for byte.
func (v *View) Envelope(id protocol.ActionID) (first uint64, entries int, envelope []byte, ok bool, err error) {
	row, err := v.envelopeRow(id)
	if row == nil {
		return 0, 0, nil, false, err
	}
	first, entries = exec.ParseUint64(row), int(binary.BigEndian.Uint16(row[8:]))
	body := protocol.Body{Version: binary.BigEndian.Uint16(row[10:]), Chain: v.Chain(), NotAfter: exec.ParseUint64(row[12:])}
	for i := range uint64(entries) {
		s, err := v.Entry(first + i)
		if err != nil {
			return 0, 0, nil, false, err
		}
		if s.Entry.Signer.Kind == protocol.ActorLedger {
			continue // an event
		}
		body.Signer, body.Nonce = s.Entry.Signer, s.Salt
		if s.Entry.Type.OfJournal() {
			body.Journal = s.Entry.Journal
		}
		body.Actions = append(body.Actions, protocol.RawAction{Type: s.Entry.Type, Body: s.Entry.Action})
	}
	envelope, again := protocol.Sign(body, func([]byte) []byte { return row[20:] })
	if again != id {
		return 0, 0, nil, false, exec.Broken{Err: fmt.Errorf("ledger: the entries of envelope %s make %s", id, again)}
	}
	return first, entries, envelope, true, nil
}
