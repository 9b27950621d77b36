package gateway

import (
	"errors"
	"net/http"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/internal/translog"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// What everybody may know: the network, its members, and the log of commitments.

func (s *server) getNetwork(w http.ResponseWriter, _ *http.Request) error {
	var out api.Network
	err := s.view(func(v *ledger.View) error {
		genesis, ok := s.Ledger.Genesis()
		if !ok {
			return ledger.ErrNotBegun
		}
		params := v.Params()
		out = api.Network{Chain: v.Chain(), Version: protocol.Version, Genesis: protocol.Encode(genesis), Member: s.Member, Policy: string(s.Policy),
			Head:   api.Head{Height: v.Head.Height, Time: v.Head.Time, Size: v.Head.Size, Root: v.Head.Root, AppHash: v.Head.AppHash},
			Params: api.Params{QuotaMemberMinute: params.QuotaMemberMinute, QuotaJournalMinute: params.QuotaJournalMinute, AccessMillis: params.AccessMillis, EmergencyClasses: list(params.EmergencyClasses)}}
		var err error
		if out.Members, err = s.members(v); err != nil {
			return err
		}
		if out.Generation, err = keygen.ActiveGeneration(v); err != nil || out.Generation == 0 {
			return err
		}
		keys, ok, err := keygen.Keys(v, out.Generation)
		if err == nil && ok {
			out.Keys = keys.Bytes()
		}
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// members lists the organisations, those that left too.
func (s *server) members(v *ledger.View) ([]api.Member, error) {
	rows, err := registry.Members(v)
	if err != nil {
		return nil, err
	}
	ids, err := registry.MemberIDs(v)
	if err != nil {
		return nil, err
	}
	out := make([]api.Member, len(rows))
	for i, m := range rows {
		out[i] = api.Member{ID: ids[i], Name: m.Member.Name, Kind: m.Member.Kind, Key: m.Member.Key, Custodian: m.Custodian,
			Gateway: s.Gateways[ids[i]], Removed: m.Removed}
	}
	return out, nil
}

func (s *server) getMembers(w http.ResponseWriter, _ *http.Request) error {
	var out []api.Member
	err := s.view(func(v *ledger.View) (err error) {
		out, err = s.members(v)
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

func (s *server) getHealth(w http.ResponseWriter, _ *http.Request) error {
	h := s.Health()
	h.Problems = list(h.Problems)
	return reply(w, h) // 200 also with problems: a node that is not in full health may serve all the same
}

func (s *server) getCheckpoint(w http.ResponseWriter, r *http.Request) error {
	q, err := params(r, "size", "max_age_ms")
	if err != nil {
		return err
	}
	size, err := number(q, "size", 0, 0, 1<<56)
	if err != nil {
		return err
	}
	age, err := number(q, "max_age_ms", CheckpointMillisDefault, CheckpointMillisMin, checkpointAnyMillis)
	if err != nil {
		return err
	}
	return s.checkpoint(w, r, size, age)
}

func (s *server) checkpoint(w http.ResponseWriter, r *http.Request, size, age uint64) error {
	if have := s.Ledger.Head().Size; size > have {
		return problem(http.StatusConflict, "not-reached", "The log has not reached that size", "It has "+decimal(int64(have))+" entries.")
	}
	note, _, err := s.cosigned(r, size, age)
	if err != nil {
		return err
	}
	return replyText(w, note)
}

// cosigned gets a checkpoint with a quorum; that there is none now is for the asker to try again. Without a quorum this takes long: only so
// many wait for it, and other requests are served meanwhile.
func (s *server) cosigned(r *http.Request, size, age uint64) ([]byte, uint64, error) {
	if !s.enter(r.Context(), s.gates[quorum]) {
		return nil, 0, busy
	}
	defer func() { <-s.gates[quorum] }()
	note, covers, err := s.Checkpoint(r.Context(), size, age)
	if err == nil && covers < size {
		err = errors.New("the checkpoint covers less than was asked for")
	}
	if err != nil && r.Context().Err() == nil {
		s.Log.Warn("gateway: no checkpoint", "error", err)
		err = problem(http.StatusServiceUnavailable, "no-quorum", "No quorum of nodes cosigns a checkpoint now", "Try again shortly: more than two thirds of the nodes must be up and in step.")
	}
	return note, covers, err
}

// getLog serves the log as c2sp.org/tlog-tiles.
func (s *server) getLog(w http.ResponseWriter, r *http.Request) error {
	path := r.PathValue("path")
	if path == "checkpoint" {
		return s.checkpoint(w, r, 0, CheckpointMillisDefault)
	}
	tile, err := s.Ledger.Log().Tile(path)
	var wrong translog.ErrTilePath
	var missing translog.ErrNotFound
	switch {
	case errors.As(err, &wrong), errors.As(err, &missing):
		return notFound("no-tile", "The log has no such tile", "Paths are those of c2sp.org/tlog-tiles, up to the size of the checkpoint.")
	case err != nil:
		return err
	}
	h := w.Header()
	h["Cache-Control"] = []string{"public, max-age=31536000, immutable"}
	if strings.Contains(path, ".p/") {
		h["Cache-Control"] = []string{"public, max-age=600"} // as true for ever, and soon of no use
	}
	h["Content-Type"] = []string{"application/octet-stream"}
	write(w, tile)
	return nil
}

func (s *server) getConsistency(w http.ResponseWriter, r *http.Request) error {
	q, err := params(r, "from", "to")
	if err != nil {
		return err
	}
	size := s.Ledger.Log().Size()
	to, err := number(q, "to", size, 0, size)
	if err != nil {
		return err
	}
	from, err := number(q, "from", 0, 0, to)
	if err != nil {
		return err
	}
	path, err := s.Ledger.Log().Consistency(from, to)
	if err != nil {
		return err
	}
	return reply(w, api.Hashes{Hashes: hashes(path)})
}

// hashes are nodes of the log's tree as the API has them.
func hashes[H ~[32]byte](nodes []H) []protocol.Hash {
	out := make([]protocol.Hash, len(nodes))
	for i, n := range nodes {
		out[i] = protocol.Hash(n)
	}
	return out
}

// postSponsor agrees to carry a new journal's quota. Whether the journal is open already is not looked at: that would tell.
func (s *server) postSponsor(w http.ResponseWriter, r *http.Request) error {
	var in api.Sponsor
	if err := read(w, r, SmallBytesMax, &in); err != nil {
		return err
	}
	if in.Journal.IsZero() || in.Controller.IsZero() || in.Journal == protocol.ConstitutionJournal(s.Ledger.Chain()) {
		return bad("journal", "A journal has an id of its own and a controller", "Make a wallet: it draws the journal's id and key.")
	}
	return reply(w, api.Sponsorship{Sponsor: s.Member, Agreement: s.Sponsor(in.Journal, in.Controller)})
}
