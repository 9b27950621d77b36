package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// A receipt verifies offline against the policy, with the entry in its extra data.
func TestReceipt(t *testing.T) {
	s := newSite(t)
	policy, err := c2sp.ParsePolicy(s.backend.Policy)
	if err != nil {
		t.Fatal(err)
	}
	r := s.call(s.doctor, "GET", fmt.Sprintf("/v1/entries/%d/receipt", s.asked.First), nil)
	if r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	p, err := c2sp.ParseProof(r.body)
	if err != nil {
		t.Fatal(err)
	}
	leaf := protocol.Commit([16]byte(p.Extra), p.Extra[16:])
	if _, _, err := p.Verify(policy, leaf[:], s.now(), c2sp.AnyAge); err != nil {
		t.Fatal(err)
	}
	var e protocol.Entry
	if err := protocol.Decode(p.Extra[16:], &e); err != nil || e.Cause != s.asked.ID || e.Type != protocol.TypeRequestAccess {
		t.Fatalf("%+v %v", e, err)
	}
	wrong := protocol.Commit([16]byte{1}, p.Extra[16:])
	if _, _, err := p.Verify(policy, wrong[:], s.now(), c2sp.AnyAge); err == nil {
		t.Error("another leaf verifies")
	}
}

// The entry of an event is proven to who signed what caused it: the last use of a contract, to the reader.
func TestReceiptOfEvent(t *testing.T) {
	s := newSite(t)
	var last protocol.Result
	for range 4 {
		last = s.w.Must(s.doctor, s.alice.Journal(), s.request())
	}
	e, err := s.w.View().Entry(last.First + 1)
	if err != nil || e.Entry.Type != protocol.EventContractUsedUp {
		t.Fatalf("%+v %v", e.Entry, err)
	}
	for who, want := range map[*ledgertest.Who]int{s.doctor: 200, s.alice: 200, s.nurse: 404, s.m1: 404, s.bob: 404} {
		if r := s.call(who, "GET", fmt.Sprintf("/v1/entries/%d/receipt", e.Index), nil); r.status != want {
			t.Errorf("%s: %d", who.Name, r.status)
		}
	}
	if r := s.call(s.m1, "GET", fmt.Sprintf("/v1/entries/%d/receipt", last.First+2), nil); r.status != 404 { // the seal, which nobody caused
		t.Errorf("the seal: %d", r.status)
	}
}

// checkProof recomputes everything that a journal's proof claims, from the policy up.
func checkProof(s *site, p api.JournalProof) error {
	policy, err := c2sp.ParsePolicy([]byte(p.Policy))
	if err != nil {
		return err
	}
	c, _, err := policy.Check([]byte(p.Checkpoint), s.now(), c2sp.AnyAge)
	if err != nil {
		return err
	}
	k := checker{c: c, root: c.Root, size: c.Size, envelopes: map[protocol.ActionID]*protocol.Verified{}}
	sealed, err := k.entry(p.Seal)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	var seal protocol.Seal
	if err := protocol.Decode(sealed.Action, &seal); err != nil || p.Seal.Index != c.Size-1 || sealed.Type != protocol.EventSeal {
		return fmt.Errorf("not the seal: %v", err)
	}
	k.mapRoot = seal.MapRoot
	for _, raw := range p.Envelopes {
		v, err := protocol.VerifyEnvelope(raw)
		if err != nil {
			return err
		}
		if k.envelopes[v.ID] != nil {
			return fmt.Errorf("envelope %s is there twice", v.ID)
		}
		k.envelopes[v.ID] = v
	}
	if err := k.journal(p.Journal); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := k.journal(p.Constitution); err != nil {
		return fmt.Errorf("constitution: %w", err)
	}
	if k.used != len(p.Envelopes) {
		return fmt.Errorf("%d envelopes, %d used", len(p.Envelopes), k.used)
	}
	for _, m := range p.Members {
		if err := k.row(protocol.StateKeyMember(protocol.MemberID(m.ID)), m); err != nil {
			return fmt.Errorf("member: %w", err)
		}
	}
	for _, m := range p.Practitioners {
		var row protocol.PractitionerRow
		if err := protocol.Decode(m.Row, &row); err != nil {
			return err
		}
		if m.Name == nil || m.Name.Commitment() != row.Commitment {
			return fmt.Errorf("the practitioner's name does not open its commitment")
		}
		if err := k.row(protocol.StateKeyPractitioner(protocol.PractitionerID(m.ID)), m.ProvenRow); err != nil {
			return fmt.Errorf("practitioner: %w", err)
		}
	}
	return nil
}

type checker struct {
	c         c2sp.Checkpoint
	root      c2sp.Hash
	size      uint64
	mapRoot   protocol.Hash
	envelopes map[protocol.ActionID]*protocol.Verified
	used      int
}

func (k *checker) entry(e api.Entry) (out protocol.Entry, err error) {
	if err := protocol.Decode(e.Raw, &out); err != nil {
		return out, err
	}
	leaf := protocol.Commit([16]byte(e.Salt), e.Raw)
	path := make([]c2sp.Hash, len(e.Proof))
	for i, h := range e.Proof {
		path[i] = c2sp.Hash(h)
	}
	return out, c2sp.CheckInclusion(c2sp.LeafHash(leaf[:]), e.Index, k.size, k.root, path)
}

func (k *checker) row(key []byte, r api.ProvenRow) error {
	p, err := smt.ParseProof(r.Proof)
	if err != nil {
		return err
	}
	return p.Verify(smt.Hash(k.mapRoot), key, r.Row)
}

func (k *checker) journal(j api.ProvenJournal) error {
	if err := k.row(protocol.StateKeyHead(j.ID), api.ProvenRow{Row: j.Head, Proof: j.HeadProof}); err != nil {
		return err
	}
	var head, have protocol.Head
	if err := protocol.Decode(j.Head, &head); err != nil {
		return err
	}
	seen := map[protocol.ActionID]bool{}
	for i, e := range j.Entries {
		out, err := k.entry(e)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if out.Seq != uint64(i) || out.Journal != j.ID || e.Who != nil {
			return fmt.Errorf("entry %d: seq %d", i, out.Seq)
		}
		have = have.Next(protocol.Commit([16]byte(e.Salt), e.Raw))
		if out.Cause.IsZero() {
			continue
		}
		v := k.envelopes[out.Cause]
		if v == nil {
			return fmt.Errorf("entry %d: its envelope is missing", i)
		}
		if !seen[out.Cause] {
			seen[out.Cause] = true
			k.used++
		}
		if out.Signer.Kind != protocol.ActorLedger && (out.Signer != v.Body.Signer || !bytes.Equal(out.Action, v.Body.Actions[out.Index].Body) || v.Body.Nonce != [16]byte(e.Salt)) {
			return fmt.Errorf("entry %d is not its envelope's", i)
		}
	}
	if have.Count != head.Count || have.Chain != head.Chain {
		return fmt.Errorf("%d entries, a head of %d", have.Count, head.Count)
	}
	return nil
}

func TestJournalProof(t *testing.T) {
	s := newSite(t)
	var p api.JournalProof
	uri := "/v1/journals/" + s.alice.Journal().String() + "/proof?max_age_ms=5000"
	s.call(s.alice, "GET", uri, nil).decode(t, &p)
	if err := checkProof(s, p); err != nil {
		t.Fatal(err)
	}
	if len(p.Journal.Entries) != 5 || len(p.Members) != 4 || len(p.Practitioners) != 1 || p.Practitioners[0].Name.Name != "Dr doctor" {
		t.Errorf("%d entries, %d members, practitioners %+v", len(p.Journal.Entries), len(p.Members), p.Practitioners)
	}
	if p.Constitution.ID != protocol.ConstitutionJournal("test-net") || len(p.Constitution.Entries) < 2 {
		t.Errorf("the constitution has %d entries", len(p.Constitution.Entries))
	}
	for name, spoil := range map[string]func(*api.JournalProof){
		"an entry left out": func(p *api.JournalProof) { p.Journal.Entries = p.Journal.Entries[:4] },
		"an entry changed":  func(p *api.JournalProof) { p.Journal.Entries[2].Raw[9] ^= 1 },
		"another order": func(p *api.JournalProof) {
			e := p.Constitution.Entries
			e[0], e[1] = e[1], e[0]
		},
		"an envelope left out": func(p *api.JournalProof) { p.Envelopes = p.Envelopes[1:] },
		"a row changed":        func(p *api.JournalProof) { p.Members[0].Row[30] ^= 1 },
	} {
		var p api.JournalProof
		s.call(s.alice, "GET", uri, nil).decode(t, &p)
		spoil(&p)
		if checkProof(s, p) == nil {
			t.Errorf("%s: still holds", name)
		}
	}
}

// Proofs taken while the ledger grows are each of one moment: blocks are written before and after the checkpoint is made, and once more
// when names are asked for.
func TestJournalProofUnderWrites(t *testing.T) {
	s := newSite(t)
	write := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.w.Must(s.doctor, s.alice.Journal(), s.request()) // refused once the uses are used up: an entry all the same
	}
	b := s.backend
	checkpoint, name := b.Checkpoint, b.Name
	b.Checkpoint = func(ctx context.Context, size, age uint64) ([]byte, uint64, error) {
		write()
		defer write()
		return checkpoint(ctx, size, age)
	}
	b.Name = func(ctx context.Context, of protocol.MemberID, id protocol.PractitionerID) (api.PractitionerName, bool) {
		write()
		return name(ctx, of, id)
	}
	server := httptest.NewServer(New(b))
	defer server.Close()
	s.server = server
	uri := "/v1/journals/" + s.alice.Journal().String() + "/proof"
	have := 5
	for range 10 {
		var p api.JournalProof
		s.call(s.alice, "GET", uri, nil).decode(t, &p)
		if err := checkProof(s, p); err != nil {
			t.Fatal(err)
		}
		if have++; len(p.Journal.Entries) < have {
			t.Errorf("%d entries, there were %d when the checkpoint was made", len(p.Journal.Entries), have)
		}
		have = len(p.Journal.Entries) + 2
	}
}

// The log is served as C2SP has it: from the tiles alone the checkpoint's root follows.
func TestLogTiles(t *testing.T) {
	s := newSite(t)
	for range 300 {
		s.w.Tick()
		s.w.Time += protocol.TickMillisMin
	}
	r := s.call(nil, "GET", "/v1/log/checkpoint", nil)
	c, _, err := c2sp.Unverified(r.body)
	if err != nil || r.header.Get("Content-Type") != "text/plain; charset=utf-8" || r.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("%v %v", err, r.header)
	}
	if c.Size < 300 || c.Size > 511 {
		t.Fatalf("the test wants two tiles, there are %d entries", c.Size)
	}
	full := s.call(nil, "GET", "/v1/log/tile/entries/000", nil)
	part := s.call(nil, "GET", fmt.Sprintf("/v1/log/tile/entries/001.p/%d", c.Size-256), nil)
	if full.header.Get("Cache-Control") != "public, max-age=31536000, immutable" || part.status != 200 {
		t.Errorf("%v, %d", full.header, part.status)
	}
	var leaves []c2sp.Hash
	for b := append(full.body, part.body...); len(b) > 0; b = b[34:] {
		leaves = append(leaves, c2sp.LeafHash(b[2:34]))
	}
	if uint64(len(leaves)) != c.Size || treeRoot(leaves) != c.Root {
		t.Error("the tiles do not make the checkpoint's root")
	}
	for _, path := range []string{"tile/0/999", "tile/0/0", "tile/64/000", "../network", "checkpoint/", "tile/0/000.p/256", "", "tile"} {
		if r := s.call(nil, "GET", "/v1/log/"+path, nil); r.status != 404 && r.status != 200 {
			t.Errorf("%q: %d", path, r.status)
		} else if r.status == 200 && path != "../network" {
			t.Errorf("%q: %d", path, r.status)
		}
	}
}

func treeRoot(leaves []c2sp.Hash) c2sp.Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	return c2sp.NodeHash(treeRoot(leaves[:k]), treeRoot(leaves[k:]))
}

func TestConsistency(t *testing.T) {
	s := newSite(t)
	size := s.w.L.Log().Size()
	at := func(n uint64) c2sp.Checkpoint {
		root, err := s.w.L.Log().RootAt(n)
		if err != nil {
			t.Fatal(err)
		}
		return c2sp.Checkpoint{Origin: "x", Size: n, Root: root}
	}
	var out api.Hashes
	s.call(nil, "GET", fmt.Sprintf("/v1/consistency?from=5&to=%d", size), nil).decode(t, &out)
	path := make([]c2sp.Hash, len(out.Hashes))
	for i, h := range out.Hashes {
		path[i] = c2sp.Hash(h)
	}
	if err := c2sp.CheckConsistency(at(5), at(size), path); err != nil {
		t.Error(err)
	}
	if r := s.call(nil, "GET", fmt.Sprintf("/v1/consistency?from=5&to=%d", size+1), nil); r.status != 400 {
		t.Errorf("beyond the log: %d", r.status)
	}
	if r := s.call(nil, "GET", fmt.Sprintf("/v1/checkpoint?size=%d", size+1), nil); r.status != 409 || r.problem(t).Code != "not-reached" {
		t.Errorf("beyond the log: %d %s", r.status, r.body)
	}
}
