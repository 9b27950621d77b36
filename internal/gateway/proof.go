package gateway

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// getReceipt proves one entry, to who signed its envelope and to the journal's patient. The receipt's extra data is salt ‖ entry.
func (s *server) getReceipt(w http.ResponseWriter, r *http.Request) error {
	index, err := strconv.ParseUint(r.PathValue("index"), 10, 64)
	if err != nil {
		return bad("index", "That is not an index", "It is the entry's place in the log, a whole number from 0.")
	}
	var e ledger.Stored
	err = s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err != nil {
			return err
		}
		if index >= v.Head.Size {
			return noEntry
		}
		if e, err = v.Entry(index); err != nil {
			return err
		}
		may, err := mayHaveReceipt(v, a, e.Entry)
		if err == nil && !may {
			err = noEntry
		}
		return err
	})
	if err != nil {
		return err
	}
	note, covers, err := s.cosigned(r, index+1, checkpointAnyMillis)
	if err != nil {
		return err
	}
	path, err := s.Ledger.Log().Prove(index, covers)
	if err != nil {
		return err
	}
	text, err := c2sp.Proof{Index: index, Hashes: path, Extra: slices.Concat(e.Salt[:], e.Raw), Checkpoint: note}.Text()
	if err != nil {
		return err
	}
	return replyText(w, text)
}

func mayHaveReceipt(v *ledger.View, a asker, e protocol.Entry) (bool, error) {
	if a.isPatientOf(e.Journal) || a.is(e.Signer) {
		return true, nil
	}
	if e.Signer.Kind != protocol.ActorLedger || e.Cause.IsZero() {
		return false, nil
	}
	first, _, ok, err := v.Located(e.Cause) // an event: who signed what caused it?
	if err != nil || !ok {
		return false, err
	}
	cause, err := v.Entry(first)
	return err == nil && a.is(cause.Entry.Signer), err
}

// proof is a journal's proof in the making: all at one size, which a quorum has cosigned.
type proof struct {
	s     *server
	v     *ledger.View // whose log covers size
	size  uint64
	seen  map[protocol.ActionID]bool
	cause []protocol.ActionID // in the order of the entries
	who   *people
}

// getProof proves the patient's journal and the constitution complete. The checkpoint comes first, then the state under its seal, and
// then exactly the entries that the heads count: what is written meanwhile is left out. Entries are not held in memory; when one cannot be
// read any more, the connection is broken off.
func (s *server) getProof(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	q, err := params(r, "max_age_ms")
	if err != nil {
		return err
	}
	age, err := number(q, "max_age_ms", CheckpointMillisDefault, CheckpointMillisMin, checkpointAnyMillis)
	if err != nil {
		return err
	}
	var size uint64
	err = s.view(func(v *ledger.View) error {
		size = v.Head.Size
		return s.patientOf(v, r, in)
	})
	if err != nil {
		return err
	}
	note, covers, err := s.cosigned(r, size, age)
	if err != nil {
		return err
	}
	return s.view(func(v *ledger.View) error {
		if v.Head.Size < covers {
			return fmt.Errorf("the ledger has %d entries and a checkpoint of %d", v.Head.Size, covers)
		}
		p := &proof{s: s, v: v, size: covers, seen: map[protocol.ActionID]bool{}, who: s.newPeople()}
		return p.answer(w, r, in, note)
	})
}

func (p *proof) answer(w http.ResponseWriter, r *http.Request, in protocol.JournalID, note []byte) error {
	own, err := p.journal(in)
	if err != nil {
		return err
	}
	signers := p.signers()
	rules, err := p.journal(protocol.ConstitutionJournal(p.v.Chain()))
	if err != nil {
		return err
	}
	members, err := p.members()
	if err != nil {
		return err
	}
	practitioners, err := p.practitioners(r, signers)
	if err != nil {
		return err
	}
	seal, err := p.entry(p.size - 1)
	if err != nil {
		return err
	}
	w.Header()["Content-Type"] = headerJSON
	out := &stream{w: bufio.NewWriterSize(w, 64<<10)}
	out.raw("{")
	out.member("checkpoint", string(note))
	out.member("policy", string(p.s.Policy))
	out.member("seal", seal)
	p.writeJournal(out, "journal", own)
	p.writeJournal(out, "constitution", rules)
	out.raw(`"envelopes":[`)
	for i, cause := range p.cause {
		_, _, envelope, ok, err := p.v.Envelope(cause)
		if err == nil && !ok {
			err = errors.New("an entry's envelope is missing")
		}
		out.item(i, envelope, err)
	}
	out.raw("],")
	out.member("members", members)
	out.last("practitioners", practitioners)
	if out.err == nil {
		out.err = r.Context().Err()
	}
	if out.err == nil {
		out.err = out.w.Flush()
	}
	return out.err
}

// proven is a journal's head with its proof, and where its entries stand.
type proven struct {
	head    api.ProvenJournal
	indexes []uint64
}

// journal proves a journal's head, and notes its entries and what caused them.
func (p *proof) journal(in protocol.JournalID) (out proven, err error) {
	row, err := p.state(protocol.StateKeyHead(in))
	if err != nil {
		return out, err
	}
	out.head = api.ProvenJournal{ID: in, Head: row.Row, HeadProof: row.Proof}
	var head protocol.Head
	if row.Row != nil {
		if err := protocol.Decode(row.Row, &head); err != nil {
			return out, err
		}
	}
	if head.Count == 0 {
		return out, nil
	}
	var failed error
	err = p.v.Journal(in, 0, func(e ledger.Stored) bool {
		failed = p.note(e.Entry)
		out.indexes = append(out.indexes, e.Index)
		return failed == nil && uint64(len(out.indexes)) < head.Count
	})
	if err = errors.Join(err, failed); err == nil && uint64(len(out.indexes)) != head.Count {
		err = fmt.Errorf("a journal has %d entries and a head of %d", len(out.indexes), head.Count)
	}
	return out, err
}

func (p *proof) note(e protocol.Entry) error {
	if !e.Cause.IsZero() && !p.seen[e.Cause] {
		p.seen[e.Cause] = true
		p.cause = append(p.cause, e.Cause)
	}
	return p.who.note(p.v, e.Signer)
}

// signers are the practitioners noted so far, by id.
func (p *proof) signers() []protocol.PractitionerID {
	out := make([]protocol.PractitionerID, 0, len(p.who.practitioners))
	for who := range p.who.practitioners {
		out = append(out, who)
	}
	slices.SortFunc(out, func(a, b protocol.PractitionerID) int { return slices.Compare(a[:], b[:]) })
	return out
}

// state proves a row under the seal; Row is nil if there is none.
func (p *proof) state(key []byte) (out api.ProvenRow, err error) {
	row, err := p.s.Ledger.ProveState(key, p.size)
	if errors.Is(err, state.ErrPruned) {
		return out, problem(http.StatusServiceUnavailable, "moved-on", "The ledger moved on while the proof was made", "Ask again.")
	}
	if err != nil {
		return out, err
	}
	if row.OK {
		out.Row = row.Value
	}
	out.Proof, err = row.Proof.MarshalBinary()
	return out, err
}

func (p *proof) members() ([]api.ProvenRow, error) {
	ids, err := registry.MemberIDs(p.v)
	if err != nil {
		return nil, err
	}
	out := []api.ProvenRow{}
	for _, m := range ids {
		row, err := p.state(protocol.StateKeyMember(m))
		if err != nil {
			return nil, err
		}
		if row.Row != nil { // else it joined after the checkpoint
			row.ID = m[:]
			out = append(out, row)
		}
	}
	return out, nil
}

func (p *proof) practitioners(r *http.Request, ids []protocol.PractitionerID) ([]api.ProvenPractitioner, error) {
	p.who.ask(r.Context())
	out := []api.ProvenPractitioner{}
	for _, who := range ids {
		row, err := p.state(protocol.StateKeyPractitioner(who))
		if err != nil {
			return nil, err
		}
		if row.Row == nil {
			return nil, fmt.Errorf("a signer in a journal is not registered")
		}
		var held protocol.PractitionerRow
		if err := protocol.Decode(row.Row, &held); err != nil {
			return nil, err
		}
		row.ID = who[:]
		one := api.ProvenPractitioner{ProvenRow: row}
		if name := p.who.practitioners[who].name; name != nil && name.Commitment() == held.Commitment {
			one.Name = name
		}
		out = append(out, one)
	}
	return out, nil
}

// entry reads an entry with its inclusion proof.
func (p *proof) entry(index uint64) (api.Entry, error) {
	e, err := p.v.Entry(index)
	if err != nil {
		return api.Entry{}, err
	}
	path, err := p.s.Ledger.Log().Prove(index, p.size)
	out := entry(e)
	out.Proof = hashes(path)
	return out, err
}

func (p *proof) writeJournal(out *stream, name string, j proven) {
	out.raw(`"` + name + `":{`)
	out.member("id", j.head.ID)
	out.member("head", j.head.Head)
	out.member("head_proof", j.head.HeadProof)
	out.raw(`"entries":[`)
	for i, index := range j.indexes {
		e, err := p.entry(index)
		out.item(i, e, err)
	}
	out.raw("]},")
}

// stream writes a JSON object piece by piece; after the first error it does nothing.
type stream struct {
	w   *bufio.Writer
	err error
}

func (s *stream) raw(text string) {
	if s.err == nil {
		_, s.err = s.w.WriteString(text)
	}
}

func (s *stream) value(v any) {
	if s.err != nil {
		return
	}
	var b []byte
	if b, s.err = json.Marshal(v); s.err == nil {
		_, s.err = s.w.Write(b)
	}
}

func (s *stream) member(name string, v any) { s.raw(`"` + name + `":`); s.value(v); s.raw(",") }

func (s *stream) last(name string, v any) { s.raw(`"` + name + `":`); s.value(v); s.raw("}") }

func (s *stream) item(i int, v any, err error) {
	if s.err == nil {
		s.err = err
	}
	if i > 0 {
		s.raw(",")
	}
	s.value(v)
}
