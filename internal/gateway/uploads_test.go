package gateway

import (
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Strangers who open journals cannot fill the vaults: a journal's uploads are bounded by the hour, and so are all together.
func TestUploadsAreBounded(t *testing.T) {
	const now = 1_000 * 3600_000
	one, other := protocol.JournalID{1}, protocol.JournalID{2}
	var u uploads
	for range UploadsJournalHourBytesMax / protocol.OwnRecordBytesMax {
		if err := u.take(now, one, protocol.OwnRecordBytesMax); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.take(now, one, protocol.OwnRecordBytesMax); !errors.Is(err, tooMuchUploaded) {
		t.Fatalf("too much: %v", err)
	}
	if err := u.take(now, other, protocol.OwnRecordBytesMax); err != nil {
		t.Fatalf("another journal: %v", err)
	}
	if err := u.take(now+3600_000, one, protocol.OwnRecordBytesMax); err != nil {
		t.Fatalf("an hour later: %v", err)
	}

	u = uploads{}
	total, refused := int64(0), false
	for i := uint64(0); total <= UploadsHourBytesMax && !refused; i++ {
		var in protocol.JournalID
		binary.BigEndian.PutUint64(in[:], i+1)
		if refused = u.take(now, in, protocol.OwnRecordBytesMax) != nil; !refused {
			total += protocol.OwnRecordBytesMax
		}
	}
	if !refused || total > UploadsHourBytesMax || total < UploadsHourBytesMax-protocol.OwnRecordBytesMax {
		t.Fatalf("all together: %d bytes", total)
	}

	u = uploads{}
	for i := range uint64(uploadersHourMax) {
		var in protocol.JournalID
		binary.BigEndian.PutUint64(in[:], i+1)
		if err := u.take(now, in, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.take(now, protocol.JournalID{0xff}, 1); !errors.Is(err, tooMuchUploaded) {
		t.Fatalf("more journals than there may be: %v", err)
	}
}

// The bound is on the patient's side alone.
func TestUploadsOfAPatient(t *testing.T) {
	s := newSite(t)
	file := make([]byte, protocol.OwnRecordBytesMax)
	uri := strings.Replace(api.PathFile, "{hash}", hashOf(file).String(), 1)
	for range UploadsJournalHourBytesMax / protocol.OwnRecordBytesMax {
		if r := s.call(s.alice, "PUT", uri, file); r.status != http.StatusCreated {
			t.Fatal(r.status)
		}
	}
	if r := s.call(s.alice, "PUT", uri, file); r.status != http.StatusTooManyRequests {
		t.Errorf("too much: %d", r.status)
	}
	for who, by := range map[string]*ledgertest.Who{"another patient": s.bob, "an organisation": s.m1} {
		if r := s.call(by, "PUT", uri, file); r.status != http.StatusCreated {
			t.Errorf("%s: %d", who, r.status)
		}
	}
}
