package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Strangers who open journals cannot fill the vaults: a journal's uploads are bounded by the hour, and so are all together. Small files have a
// share of their own; what did not arrive is given back.
func TestUploadsAreBounded(t *testing.T) {
	const now, large = 1_000 * 3600_000, protocol.OwnRecordBytesMax
	one, other := protocol.JournalID{1}, protocol.JournalID{2}
	var u uploads
	take := func(now uint64, in protocol.JournalID, size int64) error {
		_, err := u.take(now, in, size)
		return err
	}
	for range UploadsJournalHourBytesMax / large {
		if err := take(now, one, large); err != nil {
			t.Fatal(err)
		}
	}
	if err := take(now, one, large); !errors.Is(err, tooMuchUploaded) {
		t.Fatalf("too much: %v", err)
	}
	if err := take(now, other, large); err != nil {
		t.Fatalf("another journal: %v", err)
	}
	if err := take(now+3600_000, one, large); err != nil {
		t.Fatalf("an hour later: %v", err)
	}

	fill := func(size, most int64) {
		t.Helper()
		total, refused := int64(0), false
		for i := uint64(0); total <= most && !refused; i++ {
			if refused = take(now, numbered(i/16), size) != nil; !refused {
				total += size
			}
		}
		if !refused || total > most || total < most-size {
			t.Fatalf("all together: %d bytes", total)
		}
	}
	u = uploads{}
	fill(large, UploadsHourBytesMax)
	fill(protocol.StatementBytesMax, UploadsSmallHourBytesMax)

	u = uploads{}
	for range 3 * UploadsJournalHourBytesMax / large {
		giveBack, err := u.take(now, one, large)
		if err != nil {
			t.Fatal(err)
		}
		giveBack()
	}
	late, err := u.take(now, one, large)
	if err != nil || take(now+3600_000, other, large) != nil {
		t.Fatal(err)
	}
	late() // of the hour before: nothing to give back any more
	if u.large != large || len(u.of) != 1 {
		t.Fatalf("%d bytes of %d journals", u.large, len(u.of))
	}

	u = uploads{}
	for i := range uint64(uploadersHourMax) {
		if err := take(now, numbered(i), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := take(now, protocol.JournalID{0xff}, 1); !errors.Is(err, tooMuchUploaded) {
		t.Fatalf("more journals than there may be: %v", err)
	}
}

func numbered(i uint64) (in protocol.JournalID) {
	binary.BigEndian.PutUint64(in[:], i+1)
	return in
}

// The bound is on the patient's side alone.
func TestUploadsOfAPatient(t *testing.T) {
	s := newSite(t)
	file := make([]byte, protocol.OwnRecordBytesMax)
	uri := strings.Replace(api.PathFile, "{hash}", hashOf(file).String(), 1)
	wrong := strings.Replace(api.PathFile, "{hash}", hashOf([]byte("other")).String(), 1)
	for range UploadsJournalHourBytesMax/protocol.OwnRecordBytesMax + 1 { // what is refused counts for nothing
		if r := s.call(s.alice, "PUT", wrong, file); r.status != http.StatusUnprocessableEntity {
			t.Fatal(r.status)
		}
	}
	for range UploadsJournalHourBytesMax / protocol.OwnRecordBytesMax {
		if r := s.call(s.alice, "PUT", uri, file); r.status != http.StatusCreated {
			t.Fatal(r.status)
		}
	}
	if r := s.call(s.alice, "PUT", uri, file); r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") != "3600" {
		t.Errorf("too much: %d %v", r.status, r.header)
	}
	for who, by := range map[string]*ledgertest.Who{"another patient": s.bob, "an organisation": s.m1} {
		if r := s.call(by, "PUT", uri, file); r.status != http.StatusCreated {
			t.Errorf("%s: %d", who, r.status)
		}
	}
}

// What arrived whole stays counted though its sender has gone: it is in the vault, and on its way to others. What the vault refused does not.
func TestUploadsOfWhoGoesAway(t *testing.T) {
	s := newSite(t)
	file := make([]byte, protocol.OwnRecordBytesMax)
	for what, c := range map[string]struct {
		err  error
		want int64
	}{"gone": {context.Canceled, int64(len(file))}, "refused": {errors.New("no"), 0}} {
		b := s.backend
		b.StoreFile = func(_ context.Context, _ protocol.Hash, body io.Reader, _ int64) (string, error) {
			_, err := io.Copy(io.Discard, body)
			return "", cmp.Or(err, c.err)
		}
		inner := newServer(b)
		uri := strings.Replace(api.PathFile, "{hash}", hashOf(file).String(), 1)
		r := httptest.NewRequest(http.MethodPut, uri, bytes.NewReader(file))
		r.RequestURI = uri
		r.Header.Set("Authorization", s.sign(s.alice, http.MethodPut, uri, s.now()))
		for _, one := range inner.routes() {
			if one.path == api.PathFile && one.method == http.MethodPut {
				mux := http.NewServeMux()
				mux.Handle("PUT "+api.PathFile, inner.guard(one))
				mux.ServeHTTP(httptest.NewRecorder(), r)
			}
		}
		if inner.uploads.large != c.want {
			t.Errorf("%s: %d bytes are counted, want %d", what, inner.uploads.large, c.want)
		}
	}
}
