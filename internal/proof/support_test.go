//go:build !js

package proof_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// net is a network with a story in it: two patients, a clinic and a laboratory that write, a doctor who reads and is refused.
type net struct {
	*ledgertest.World
	patient, other *ledgertest.Who
	doctor         *ledgertest.Who
	name           api.PractitionerName
	handle         protocol.Handle
	files          map[protocol.Hash][]byte
	nodes          int
}

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func policyOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := consent.Canonicalise([]byte(text))
	return must(t, b, err)
}

func found(t testing.TB, nodes int) *net {
	t.Helper()
	l, err := ledger.Open(state.NewMemory())
	n := &net{World: ledgertest.New(t, must(t, l, err), nodes), files: map[protocol.Hash][]byte{}, nodes: nodes,
		name: api.PractitionerName{Salt: []byte("sixteen bytes ok"), Name: "Ada Okafor", Speciality: "cardiology", Licence: "GMC 7000001"}}
	n.patient, n.other = n.Patient(n.Members[0], "patient"), n.Patient(n.Members[0], "other")
	n.handle = protocol.Handle{Journal: n.patient.Journal(), Key: protocol.LabelKey{7}}
	n.doctor = n.practitioner("doctor", n.name)
	return n
}

func (n *net) practitioner(name string, is api.PractitionerName) *ledgertest.Who {
	k, pub := ledgertest.Key(name)
	id := protocol.PractitionerID(pub[:16])
	n.Must(n.Members[0], protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: id, Key: pub, Role: protocol.RolePhysician,
		Status: protocol.PractitionerActive, ValidUntil: ledgertest.Start + 1e12, Commitment: is.Commitment()})
	return &ledgertest.Who{Name: name, Key: k, Signer: protocol.PractitionerSigner(id, pub)}
}

// record is an action for a made-up file: whoever verifies an export looks at its hash alone.
func (n *net) record(i byte, class string) *protocol.AddRecord {
	file := bytes.Repeat([]byte{i, 'f'}, 150+int(i))
	hash := protocol.Hash(sha256.Sum256(file))
	n.files[hash] = file
	return &protocol.AddRecord{Record: protocol.RecordID{i}, Label: n.handle.Label(class), Ciphertext: hash, Size: uint64(len(file)), Capsule: protocol.Hash{i, 1},
		Generation: 1, Manifest: protocol.Hash{i, 2}, Root: protocol.Hash{i, 3}}
}

// story plays everything that can stand in a journal.
func story(t testing.TB, nodes int) *net {
	t.Helper()
	n := found(t, nodes)
	j, clinic := n.patient.Journal(), n.Members[0]
	allergies, labs := n.handle.Label("allergies"), n.handle.Label("labs")
	writers := ""
	for _, m := range n.Members[:min(2, nodes)] {
		writers += fmt.Sprintf(`permit(principal in Member::"%s", action == Action::"write", resource);`, m.Signer.Member())
	}
	write := &protocol.Grant{NotAfter: n.Time + 3600_000, Policy: policyOf(t, writers)}
	n.Must(n.patient, j, write)
	n.Must(n.other, n.other.Journal(), write)
	n.Must(clinic, j, n.record(1, "allergies"), n.record(2, "labs"))
	n.Must(clinic, n.other.Journal(), n.record(9, "labs"))
	n.Access(n.doctor, j, protocol.PurposeTreat, allergies) // refused
	reads := func(l protocol.Label) []byte {
		return policyOf(t, fmt.Sprintf(`permit(principal == Practitioner::"%s", action == Action::"read", resource in Class::"%s");`,
			protocol.PractitionerID(n.doctor.Signer.ID), l))
	}
	n.Must(n.patient, j, &protocol.Grant{Template: 3, NotAfter: n.Time + 600_000, UsesMax: 1, Policy: reads(allergies)},
		&protocol.Grant{NotAfter: n.Time + 5_000, Policy: reads(labs)})
	n.Access(n.doctor, j, protocol.PurposeTreat, allergies) // permitted, and used up
	n.Access(n.doctor, n.other.Journal(), protocol.PurposeTreat, labs)
	n.Time += 20_000 // the other grant ends by itself
	n.Access(n.doctor, j, protocol.PurposeTreat, labs)
	r := n.Must(n.patient, j, &protocol.Grant{Template: 1, NotAfter: n.Time + 60_000, Policy: reads(labs)})
	n.Must(n.patient, j, &protocol.Revoke{Contract: protocol.DerivedContractID(r.ID, 0)})
	if nodes > 1 {
		n.rotate(n.Members[1], "rotated")
		n.Must(n.Members[1], j, n.record(3, "labs"))
		n.admit("lab")
	}
	return n
}

// rotate gives a member another key.
func (n *net) rotate(m *ledgertest.Who, name string) {
	k, pub := ledgertest.Key(name)
	id := m.Signer.Member()
	n.Must(m, protocol.JournalID{}, &protocol.RotateMemberKey{Key: pub, Proof: ed25519.Sign(k, protocol.KeyProofMessage(n.L.Chain(), id, pub))})
	m.Key, m.Signer = k, protocol.MemberSigner(id, pub)
}

// admit lets a member without a node in.
func (n *net) admit(name string) {
	_, pub := ledgertest.Key(name)
	r := n.Must(n.Members[0], protocol.JournalID{}, &protocol.ProposeMember{Member: protocol.Member{Kind: protocol.MemberLaboratory, Name: name, Key: pub}})
	for _, m := range n.Members[1 : 2*n.nodes/3+1] {
		n.Must(m, protocol.JournalID{}, &protocol.Approve{Proposal: r.ID})
	}
}

// checkpoint is the head, signed by node 1 and cosigned by the nodes listed (from 1).
func (n *net) checkpoint(at uint64, cosigners ...int) []byte {
	h := n.L.Head()
	return n.sign(c2sp.Checkpoint{Origin: proof.Origin(n.L.Chain()), Size: h.Size, Root: c2sp.Hash(h.Root)}, at, cosigners...)
}

func (n *net) sign(c c2sp.Checkpoint, at uint64, cosigners ...int) []byte {
	n.T.Helper()
	k, _ := ledgertest.Key("m1/log")
	log, err := c2sp.NewLogKey(proof.Origin(n.L.Chain()), k)
	s, err := must(n.T, log, err).Sign(c)
	sigs := []c2sp.Signature{must(n.T, s, err)}
	for _, i := range cosigners {
		k, _ := ledgertest.Key(fmt.Sprintf("m%d/cosigner", i))
		key, err := c2sp.NewCosignKey(proof.CosignerName(n.L.Chain(), i), k)
		s, err := must(n.T, key, err).Cosign(c, at)
		sigs = append(sigs, must(n.T, s, err))
	}
	note, err := c2sp.Assemble(c, sigs...)
	return must(n.T, note, err)
}

func (n *net) all() (out []int) {
	for i := range n.nodes {
		out = append(out, i+1)
	}
	return out
}

// prove makes a journal's proof at the head, as a gateway does.
func (n *net) prove(id protocol.JournalID) *api.JournalProof {
	n.T.Helper()
	g, _ := n.L.Genesis()
	policy, err := proof.NetworkPolicy(g)
	text, err := must(n.T, policy, err).Text()
	p := &api.JournalProof{Policy: string(must(n.T, text, err)), Checkpoint: string(n.checkpoint(n.Time, n.all()...)), Seal: n.entry(n.L.Head().Size - 1)}
	p.Journal, p.Constitution = n.journal(id), n.journal(protocol.ConstitutionJournal(n.L.Chain()))
	seen := map[protocol.ActionID]bool{}
	people := map[protocol.PractitionerID]bool{}
	for i, e := range slices.Concat(p.Journal.Entries, p.Constitution.Entries) {
		entry := entryOf(n.T, e)
		if i < len(p.Journal.Entries) && entry.Signer.Kind == protocol.ActorPractitioner {
			people[protocol.PractitionerID(entry.Signer.ID)] = true
		}
		if entry.Cause.IsZero() || seen[entry.Cause] {
			continue
		}
		seen[entry.Cause] = true
		_, _, envelope, ok, err := n.View().Envelope(entry.Cause)
		if err != nil || !ok {
			n.T.Fatal("an envelope is missing", err)
		}
		p.Envelopes = append(p.Envelopes, envelope)
	}
	ids, err := registry.MemberIDs(n.View())
	for _, m := range must(n.T, ids, err) {
		p.Members = append(p.Members, n.row(m[:], protocol.StateKeyMember(m)))
	}
	for who := range people {
		x := api.ProvenPractitioner{ProvenRow: n.row(who[:], protocol.StateKeyPractitioner(who))}
		if who == protocol.PractitionerID(n.doctor.Signer.ID) {
			x.Name = &n.name
		}
		p.Practitioners = append(p.Practitioners, x)
	}
	slices.SortFunc(p.Practitioners, func(a, b api.ProvenPractitioner) int { return bytes.Compare(a.ID, b.ID) })
	return p
}

func (n *net) row(id, key []byte) api.ProvenRow {
	n.T.Helper()
	s, err := n.L.ProveState(key, n.L.Head().Size)
	b, err := must(n.T, s, err).Proof.MarshalBinary()
	return api.ProvenRow{ID: id, Row: s.Value, Proof: must(n.T, b, err)}
}

func (n *net) journal(id protocol.JournalID) api.ProvenJournal {
	n.T.Helper()
	head := n.row(nil, protocol.StateKeyHead(id))
	out := api.ProvenJournal{ID: id, Head: head.Row, HeadProof: head.Proof}
	err := n.View().Journal(id, 0, func(s ledger.Stored) bool {
		out.Entries = append(out.Entries, n.entry(s.Index))
		return true
	})
	return must(n.T, out, err)
}

func (n *net) entry(index uint64) api.Entry {
	n.T.Helper()
	s, err := n.View().Entry(index)
	must(n.T, s, err)
	path, err := n.L.Log().Prove(index, n.L.Head().Size)
	must(n.T, path, err)
	e := api.Entry{Index: index, Salt: s.Salt[:], Raw: s.Raw}
	for _, h := range path {
		e.Proof = append(e.Proof, protocol.Hash(h))
	}
	return e
}

func entryOf(t testing.TB, e api.Entry) (out protocol.Entry) {
	t.Helper()
	if err := protocol.Decode(e.Raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (n *net) open(h protocol.Hash) (io.ReadCloser, error) {
	f, ok := n.files[h]
	if !ok {
		return nil, fmt.Errorf("%s: %w", h, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(f)), nil
}

func (n *net) write(p *api.JournalProof) []byte {
	n.T.Helper()
	var b bytes.Buffer
	if err := proof.Write(&b, p, n.open, nil); err != nil {
		n.T.Fatal(err)
	}
	return b.Bytes()
}

func (n *net) options() proof.Options { return proof.Options{Now: n.Time + 1000} }

func verify(t testing.TB, export []byte, o proof.Options) *proof.Report {
	t.Helper()
	r, err := proof.Verify(bytes.NewReader(export), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func codes(r *proof.Report) (out []proof.Code) {
	for _, f := range r.Failures {
		if !slices.Contains(out, f.Code) {
			out = append(out, f.Code)
		}
	}
	return out
}

func signWith(by *ledgertest.Who) func([]byte) []byte {
	return func(m []byte) []byte { return ed25519.Sign(by.Key, m) }
}
