package gateway

import (
	"bytes"
	"net/http"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// openAccess finds an access that is the asker's and still open. Every other gets the same answer.
func (s *server) openAccess(v *ledger.View, a asker, which protocol.AccessID) (consent.AccessRow, error) {
	row, ok, err := consent.Access(v, which)
	if err == nil && (!ok || !a.is(row.Reader) || row.Deadline <= s.time(v)) {
		err = noAccess
	}
	return row, err
}

func access(v *ledger.View, which protocol.AccessID, row consent.AccessRow) (api.Access, error) {
	out := api.Access{ID: which, Journal: row.Journal, Purpose: row.Purpose, Deadline: row.Deadline, Records: make([]api.Record, 0, len(row.Records))}
	veil, err := journal.Veil(v, row.Journal)
	if err != nil {
		return out, err
	}
	for _, r := range row.Records {
		found, ok, err := journal.Record(v, r)
		if err != nil {
			return out, err
		}
		if ok {
			row, err := record(v, journal.Named{ID: r, Row: found}, veil)
			if err != nil {
				return out, err
			}
			out.Records = append(out.Records, row)
		}
	}
	return out, nil
}

func (s *server) getAccess(w http.ResponseWriter, r *http.Request) error {
	which, err := id(protocol.ParseAccessID, r.PathValue("id"))
	if err != nil {
		return err
	}
	var out api.Access
	err = s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err != nil {
			return err
		}
		row, err := s.openAccess(v, a, which)
		if err != nil {
			return err
		}
		out, err = access(v, which, row)
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// accessPrefix begins the keys of consent's table of accesses: the prefix and the access's id.
const accessPrefix = 'a'

var tooManyAccesses = problem(http.StatusServiceUnavailable, "too-many", "Too many accesses are open to list yours", "Ask for them one by one: /v1/accesses/{id}.")

// getAccesses lists the asker's open accesses. The rows are those of all readers for a quarter of an hour; the look at them is bounded.
func (s *server) getAccesses(w http.ResponseWriter, r *http.Request) error {
	out := []api.Access{}
	err := s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err != nil {
			return err
		}
		rows, err := s.accessesOf(v, a)
		if err != nil {
			return err
		}
		total := 0
		for _, n := range rows {
			one, err := access(v, n.id, n.row)
			if err != nil {
				return err
			}
			if total += 1 + len(one.Records); total > protocol.RecordsAccessMax*8 {
				return tooManyAccesses
			}
			out = append(out, one)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

type namedAccess struct {
	id  protocol.AccessID
	row consent.AccessRow
}

func (s *server) accessesOf(v *ledger.View, a asker) (out []namedAccess, err error) {
	seen, now := 0, s.time(v)
	err = v.Scan([]byte{accessPrefix}, []byte{accessPrefix + 1}, func(key, value []byte) (bool, error) {
		if seen++; seen > accessesScanMax || len(out) > AccessesMax {
			return false, tooManyAccesses
		}
		if len(key) != 1+len(protocol.AccessID{}) || !bytes.Contains(value, a.signer.ID[:]) {
			return true, nil
		}
		var row consent.AccessRow
		if err := protocol.Decode(value, &row); err != nil {
			return false, err
		}
		if a.is(row.Reader) && row.Deadline > now {
			out = append(out, namedAccess{id: protocol.AccessID(key[1:]), row: row})
		}
		return true, nil
	})
	return out, err
}

// postShares passes a reader's question on to the custodians, who each decide for themselves.
func (s *server) postShares(w http.ResponseWriter, r *http.Request) error {
	which, err := id(protocol.ParseAccessID, r.PathValue("id"))
	if err != nil {
		return err
	}
	err = s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err != nil {
			return err
		}
		_, err = s.openAccess(v, a, which)
		return err
	})
	if err != nil {
		return err
	}
	var in api.ShareRequest
	if err := read(w, r, SharesBytesMax, &in); err != nil {
		return err
	}
	if err := checkShareRequest(in); err != nil {
		return err
	}
	began := time.Now()
	answers := s.Shares(r.Context(), which, in)
	if err := r.Context().Err(); err != nil && len(answers) == 0 {
		return err
	}
	timing(w, "custodians", began)
	return reply(w, api.Shares{Answers: list(answers)})
}

func checkShareRequest(in api.ShareRequest) error {
	if n := len(in.Records); n == 0 || n > protocol.RecordsAccessMax || len(in.Capsules) != n {
		return bad("records", "Records and capsules do not match", "Name from 1 to 1024 records, and give each one's capsule in the same order.")
	}
	if in.Generation == 0 {
		return bad("generation", "The generation is missing", "It stands in each record.")
	}
	for _, c := range in.Capsules {
		if len(c) != threshold.CapsuleBytes {
			return bad("capsule", "A capsule does not have a capsule's length", "Take it from the header of the record's file as it is.")
		}
	}
	return nil
}
