// Package ledgertest makes small networks on real ledgers for the tests of the ledger and of what stands on it: members, practitioners and
// patients with keys made from their names, blocks on demand, and the custodians' key really generated.
package ledgertest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Start is the time of the genesis, UTC ms.
const Start = 1_800_000_000_000

// World is a network of one ledger. Time is what the next block will have; tests move it.
type World struct {
	T       testing.TB
	L       *ledger.Ledger
	Time    uint64
	Members []*Who
	Shares  []*threshold.Share // of the custodians, after Keygen
	Keys    *threshold.Keys
	Blocks  []ledger.Block // all that were applied, as an engine keeps them
	nonce   uint64
}

// Who is somebody with a key.
type Who struct {
	Name   string
	Key    ed25519.PrivateKey
	Signer protocol.Signer
}

// Key makes a signing key from a name.
func Key(name string) (ed25519.PrivateKey, protocol.PublicKey) {
	seed := sha256.Sum256([]byte("ledgertest/" + name))
	k := ed25519.NewKeyFromSeed(seed[:])
	return k, protocol.PublicKey(k.Public().(ed25519.PublicKey))
}

// Member makes a member with a node.
func Member(name string) (protocol.Member, *Who) {
	k, pub := Key(name)
	_, v := Key(name + "/validator")
	_, l := Key(name + "/log")
	_, c := Key(name + "/cosigner")
	_, p := Key(name + "/peer")
	m := protocol.Member{Kind: protocol.MemberHospital, Name: name, Key: pub, Node: protocol.NodeKeys{Validator: v, Log: l, Cosigner: c, Peer: p}}
	return m, &Who{Name: name, Key: k, Signer: protocol.MemberSigner(m.ID(), pub)}
}

// Genesis is a network of n members, named m1 to mn, with nodes.
func Genesis(n int) (protocol.Genesis, []*Who) {
	g := protocol.Genesis{Version: protocol.Version, Chain: "test-net", Time: Start, Params: protocol.DefaultParams()}
	var whos []*Who
	for i := range n {
		m, w := Member(fmt.Sprintf("m%d", i+1))
		g.Members, whos = append(g.Members, m), append(whos, w)
	}
	return g, whos
}

// New begins a network of n members on the ledger, and generates the custodians' key.
func New(t testing.TB, l *ledger.Ledger, n int) *World {
	t.Helper()
	w := Begin(t, l, n, nil)
	w.Keygen()
	return w
}

// Begin begins a network of n members, whose genesis change may alter, and leaves the key's generation pending.
func Begin(t testing.TB, l *ledger.Ledger, n int, change func(*protocol.Genesis)) *World {
	t.Helper()
	g, members := Genesis(n)
	if change != nil {
		change(&g)
	}
	if _, err := l.Begin(protocol.Encode(g)); err != nil {
		t.Fatal(err)
	}
	return &World{T: t, L: l, Time: Start, Members: members}
}

// Practitioner makes one with the role, registered by the member, with a credential for ten years.
func (w *World) Practitioner(by *Who, name string, role protocol.Role) *Who {
	w.T.Helper()
	k, pub := Key(name)
	var id protocol.PractitionerID
	copy(id[:], pub[:])
	who := &Who{Name: name, Key: k, Signer: protocol.PractitionerSigner(id, pub)}
	w.Must(by, protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: id, Key: pub, Role: role, Status: protocol.PractitionerActive,
		ValidUntil: Start + 10*365*24*3600_000, Commitment: protocol.Digest("test", []byte(name))})
	return who
}

// Patient opens a journal sponsored by the member.
func (w *World) Patient(sponsor *Who, name string) *Who {
	w.T.Helper()
	k, pub := Key(name)
	var id protocol.JournalID
	copy(id[:], pub[:])
	who := &Who{Name: name, Key: k, Signer: protocol.PatientSigner(id, pub)}
	agreement := ed25519.Sign(sponsor.Key, protocol.SponsorMessage(w.L.Chain(), protocol.MemberID(sponsor.Signer.ID), id, pub))
	w.Must(who, id, &protocol.OpenJournal{Recipient: sha256.Sum256([]byte(name)), Sponsor: protocol.MemberID(sponsor.Signer.ID), Agreement: agreement})
	return who
}

// Journal is a patient's journal.
func (p *Who) Journal() protocol.JournalID { return protocol.JournalID(p.Signer.ID) }

// Envelope signs actions; each has a nonce of its own.
func (w *World) Envelope(by *Who, journal protocol.JournalID, actions ...protocol.Action) *protocol.Verified {
	w.T.Helper()
	w.nonce++
	b := protocol.Body{Version: protocol.Version, Chain: w.L.Chain(), NotAfter: w.Time + 60_000, Signer: by.Signer, Journal: journal, Actions: protocol.Pack(actions...)}
	for i := range 8 {
		b.Nonce[i] = byte(w.nonce >> (8 * i))
	}
	raw, _ := protocol.Sign(b, func(m []byte) []byte { return ed25519.Sign(by.Key, m) })
	v, err := protocol.VerifyEnvelope(raw)
	if err != nil {
		w.T.Fatal(err)
	}
	return v
}

// Block applies and commits envelopes as one block, and moves time on by 100 ms.
func (w *World) Block(envelopes ...*protocol.Verified) *ledger.Applied {
	w.T.Helper()
	b := ledger.Block{Height: w.L.Head().Height + 1, Time: w.Time}
	if len(envelopes) > 0 {
		b.Parcels = [][]*protocol.Verified{envelopes}
	}
	return w.Apply(b)
}

// Tick applies a block with nothing but a tick.
func (w *World) Tick() *ledger.Applied {
	w.T.Helper()
	return w.Apply(ledger.Block{Height: w.L.Head().Height + 1, Time: w.Time, Tick: true})
}

// Apply applies and commits a block.
func (w *World) Apply(b ledger.Block) *ledger.Applied {
	w.T.Helper()
	out, err := w.L.Apply(b)
	if err != nil {
		w.T.Fatal(err)
	}
	if err := w.L.Commit(); err != nil {
		w.T.Fatal(err)
	}
	w.Blocks = append(w.Blocks, b)
	w.Time = max(w.Time, b.Time) + 100
	return out
}

// Do runs actions as one envelope in a block of its own.
func (w *World) Do(by *Who, journal protocol.JournalID, actions ...protocol.Action) protocol.Result {
	w.T.Helper()
	return w.Block(w.Envelope(by, journal, actions...)).Results[0][0]
}

// Must is Do for what must be accepted.
func (w *World) Must(by *Who, journal protocol.JournalID, actions ...protocol.Action) protocol.Result {
	w.T.Helper()
	r := w.Do(by, journal, actions...)
	if !r.OK() {
		w.T.Fatalf("%s by %s: %v", actions[0].ActionType(), by.Name, r.Reason)
	}
	return r
}

// View opens a view that the test closes.
func (w *World) View() *ledger.View {
	w.T.Helper()
	v, err := w.L.View()
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() { _ = v.Close() })
	return v
}

// Access runs RequestAccess and returns its outcome.
func (w *World) Access(by *Who, journal protocol.JournalID, purpose protocol.Purpose, labels ...protocol.Label) (protocol.AccessID, protocol.AccessOutcome) {
	w.T.Helper()
	r := w.Must(by, journal, &protocol.RequestAccess{Labels: labels, Purpose: purpose, OneTime: [32]byte{1}, OneTimeKEM: protocol.OneTimeX25519})
	s, err := w.View().Entry(r.First)
	if err != nil {
		w.T.Fatal(err)
	}
	var out protocol.AccessOutcome
	if err := protocol.Decode(s.Entry.Outcome, &out); err != nil {
		w.T.Fatal(err)
	}
	return protocol.DerivedAccessID(r.ID, 0), out
}

// Keygen runs the pending ceremony with all custodians honest.
func (w *World) Keygen() {
	w.T.Helper()
	cer, _, err := keygen.CeremonyRow(w.View())
	if err != nil {
		w.T.Fatal(err)
	}
	receivers := make([]*threshold.ReceiverKey, cer.N)
	for i := range receivers {
		if receivers[i], err = threshold.NewReceiverKey(seeded("receiver", i)); err != nil {
			w.T.Fatal(err)
		}
		w.Must(w.Members[i], protocol.JournalID{}, &protocol.OfferReceiverKey{Generation: cer.Generation, Epoch: cer.Epoch, Key: receivers[i].Public()})
	}
	params, err := keygen.ParamsOf(w.View(), w.L.Chain(), cer)
	if err != nil {
		w.T.Fatal(err)
	}
	dealings := make([]*threshold.Dealing, cer.N)
	var all []uint16
	for i := range dealings {
		if dealings[i], err = threshold.NewDealing(seeded("dealer", i), params, i+1); err != nil {
			w.T.Fatal(err)
		}
		w.Must(w.Members[i], protocol.JournalID{}, &protocol.Deal{Generation: cer.Generation, Epoch: cer.Epoch, Message: dealings[i].Deal.Bytes()})
		all = append(all, uint16(i+1))
	}
	w.Shares = nil
	for i, key := range receivers {
		var portions []*threshold.Portion
		var deals []*threshold.Deal
		for _, d := range dealings {
			p, err := threshold.OpenShare(params, d.Deal, i+1, key, d.Ciphertexts[i])
			if err != nil {
				w.T.Fatal(err)
			}
			portions, deals = append(portions, p), append(deals, d.Deal)
		}
		share, err := threshold.FinishShare(params, deals, i+1, portions)
		if err != nil {
			w.T.Fatal(err)
		}
		w.Shares = append(w.Shares, share)
		w.Must(w.Members[i], protocol.JournalID{}, &protocol.AcceptDeals{Generation: cer.Generation, Epoch: cer.Epoch, Dealers: all})
	}
	keys, ok, err := keygen.Keys(w.View(), cer.Generation)
	if err != nil || !ok {
		w.T.Fatalf("no key after the ceremony: %v", err)
	}
	w.Keys = keys
}

// stream is a reproducible source of randomness.
type stream struct {
	name string
	n    uint64
	buf  []byte
}

func seeded(name string, i int) *stream { return &stream{name: fmt.Sprintf("%s/%d", name, i)} }

func (s *stream) Read(p []byte) (int, error) {
	for i := range p {
		if len(s.buf) == 0 {
			h := sha256.Sum256(fmt.Appendf(nil, "%s/%d", s.name, s.n))
			s.n, s.buf = s.n+1, h[:]
		}
		p[i], s.buf = s.buf[0], s.buf[1:]
	}
	return len(p), nil
}
