package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// putFile keeps an encrypted file, for a record that its author is about to enter.
func (s *server) putFile(w http.ResponseWriter, r *http.Request) error {
	hash, err := id(protocol.ParseHash, r.PathValue("hash"))
	if err != nil {
		return err
	}
	var by storer
	err = s.view(func(v *ledger.View) (err error) { by, err = s.mayStore(v, r); return err })
	if err != nil {
		return err
	}
	switch size := r.ContentLength; {
	case size < 0:
		return problem(http.StatusLengthRequired, "length", "The file's length is missing", "Send it with Content-Length.")
	case size == 0:
		return bad("length", "The file is empty", "An encrypted file has a header at least.")
	case size > by.most:
		return tooLarge(by.most)
	}
	giveBack := func() {}
	if !by.journal.IsZero() {
		if giveBack, err = s.uploads.take(s.Now(), by.journal, r.ContentLength); err != nil {
			return err
		}
	}
	body := &arriving{r: http.MaxBytesReader(w, r.Body, r.ContentLength)}
	note, err := s.StoreFile(r.Context(), hash, body, r.ContentLength)
	if err != nil {
		if body.err != nil {
			giveBack()
			return cutOff(body.err)
		}
		if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			giveBack() // else it is in this vault, and on its way to others
		}
		return err
	}
	return replyStatus(w, http.StatusCreated, api.StoredFile{Hash: hash, Size: uint64(r.ContentLength), Note: note})
}

// arriving is a body that remembers that it did not arrive whole.
type arriving struct {
	r   io.Reader
	err error
}

func (a *arriving) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if err != nil && err != io.EOF {
		a.err = err
	}
	return n, err
}

// getFile serves ciphertext to the patient of a record with that file, or to the reader of an open access that lists one; to nobody else,
// and without telling whether there is such a file.
func (s *server) getFile(w http.ResponseWriter, r *http.Request) error {
	hash, err := id(protocol.ParseHash, r.PathValue("hash"))
	if err != nil {
		return err
	}
	q, err := params(r, "journal", "record", "access")
	if err != nil {
		return err
	}
	if len(q) != 1 {
		return bad("query", "It is not said by what right the file is asked for", "Give one of ?journal=, ?record= (the patient) and ?access= (a reader).")
	}
	if err := s.view(func(v *ledger.View) error { return s.mayRead(v, r, hash, q) }); err != nil {
		return err
	}
	body, size, err := s.ReadFile(r.Context(), hash)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	h := w.Header()
	h["Content-Type"] = []string{"application/octet-stream"}
	h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	h["Etag"] = []string{`"` + hash.String() + `"`}
	if r.Method == http.MethodHead {
		return nil
	}
	if n, err := io.Copy(w, body); err != nil || n != size {
		panic(http.ErrAbortHandler) // the reader must see that it is not whole
	}
	return nil
}

// mayRead is nil if the asker may have the file.
func (s *server) mayRead(v *ledger.View, r *http.Request, hash protocol.Hash, q url.Values) error {
	a, err := s.ask(v, r)
	if err != nil {
		return err
	}
	switch {
	case q.Has("access"):
		which, err := id(protocol.ParseAccessID, q.Get("access"))
		if err != nil {
			return err
		}
		return s.mayReadUnder(v, a, which, hash)
	case q.Has("record"):
		which, err := id(protocol.ParseRecordID, q.Get("record"))
		if err != nil {
			return err
		}
		row, ok, err := journal.Record(v, which)
		if err != nil {
			return err
		}
		if !ok || row.Ciphertext != hash || !a.isPatientOf(row.Journal) {
			return noFile
		}
		return unlessErased(v, journal.Named{ID: which, Row: row})
	}
	in, err := id(protocol.ParseJournalID, q.Get("journal"))
	if err != nil {
		return err
	}
	if !a.isPatientOf(in) {
		return noFile
	}
	return s.hints.find(v, in, hash)
}

// hints remember in which record a file was found, so that a patient who fetches a journal's files one after the other does not have the
// whole journal read for each. A hint only says where to look: the ledger is asked every time.
type hints struct {
	mu sync.Mutex
	at map[protocol.Hash]protocol.RecordID
}

const hintsMax = 1 << 16

// find is nil if the journal has a record with that file.
func (h *hints) find(v *ledger.View, in protocol.JournalID, hash protocol.Hash) error {
	h.mu.Lock()
	hint, hinted := h.at[hash]
	h.mu.Unlock()
	if hinted {
		row, ok, err := journal.Record(v, hint)
		if err != nil {
			return err
		}
		if ok && row.Journal == in && row.Ciphertext == hash {
			return unlessErased(v, journal.Named{ID: hint, Row: row})
		}
	}
	rows, err := journal.Records(v, in)
	if err != nil {
		return err
	}
	var found *journal.Named
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at == nil || len(h.at)+len(rows) > hintsMax {
		h.at = make(map[protocol.Hash]protocol.RecordID)
	}
	for _, n := range rows {
		if len(h.at) < hintsMax {
			h.at[n.Row.Ciphertext] = n.ID
		}
		if n.Row.Ciphertext == hash {
			found = &n
		}
	}
	if found == nil {
		return noFile
	}
	return unlessErased(v, *found)
}

// mayReadUnder asks the contracts again: a revocation closes the vault as it closes the custodians.
func (s *server) mayReadUnder(v *ledger.View, a asker, which protocol.AccessID, hash protocol.Hash) error {
	row, ok, err := consent.Access(v, which)
	if err != nil {
		return err
	}
	if !ok || !a.is(row.Reader) || row.Deadline <= s.time(v) {
		return noFile
	}
	for _, rec := range row.Records {
		found, ok, err := journal.Record(v, rec)
		if err != nil {
			return err
		}
		if !ok || found.Ciphertext != hash {
			continue
		}
		resource, err := ledger.Resource(v, journal.Named{ID: rec, Row: found})
		if err != nil {
			return err
		}
		standing, each, err := v.StillOpens(row, s.time(v), []consent.Resource{resource})
		if err != nil {
			return err
		}
		if standing == protocol.Accepted && each[0] == protocol.Accepted {
			return unlessErased(v, journal.Named{ID: rec, Row: found})
		}
	}
	return noFile
}
