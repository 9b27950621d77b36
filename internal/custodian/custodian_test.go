package custodian

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// safe is a Secrets in memory. fail, if set, is asked before each operation that writes: it may refuse it, or let it happen and fail all the
// same.
type safe struct {
	m    map[string][]byte
	fail func() (persist bool, err error)
}

func newSafe() *safe { return &safe{m: map[string][]byte{}} }

func (s *safe) Get(name string) ([]byte, bool, error) {
	v, ok := s.m[name]
	return bytes.Clone(v), ok, nil
}

func (s *safe) write(do func()) error {
	if s.fail != nil {
		if persist, err := s.fail(); err != nil {
			if persist {
				do()
			}
			return err
		}
	}
	do()
	return nil
}

func (s *safe) Put(name string, v []byte) error {
	return s.write(func() { s.m[name] = bytes.Clone(v) })
}
func (s *safe) Delete(name string) error { return s.write(func() { delete(s.m, name) }) }
func (s *safe) names() []string          { return slices.Sorted(maps.Keys(s.m)) }

// ward is a network with a patient, a doctor who may read label 1, and a custodian's every dependency to be bent by tests.
type ward struct {
	*ledgertest.World
	clinic, doctor, patient *ledgertest.Who
	grant                   protocol.ContractID
	key                     *wallet.OneTimeKey
	custodians              []*Custodian
	book                    []Released
	clock                   uint64
	fresh                   func() (size, at uint64, ok bool)
	recording               error
	secrets                 map[protocol.RecordID][]byte // what the capsules hold
	capsules                map[protocol.RecordID][]byte
}

func canonical(t *testing.T, cedar string) []byte {
	t.Helper()
	c, err := consent.Canonicalise([]byte(cedar))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newWard(t *testing.T, n int) *ward {
	t.Helper()
	l, err := ledger.Open(state.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	w := &ward{World: ledgertest.New(t, l, n), secrets: map[protocol.RecordID][]byte{}, capsules: map[protocol.RecordID][]byte{}}
	w.clinic = w.Members[0]
	w.doctor = w.Practitioner(w.clinic, "doctor", protocol.RolePhysician)
	w.patient = w.Patient(w.clinic, "patient")
	if w.key, err = wallet.NewOneTimeKey(); err != nil {
		t.Fatal(err)
	}
	w.Must(w.patient, w.patient.Journal(), &protocol.Grant{NotAfter: w.Time + 3600_000, Policy: canonical(t, `permit(principal, action == Action::"write", resource);`)})
	w.grant = w.permit(`permit(principal, action == Action::"read", resource in Class::"01000000000000000000000000000000");`)
	w.clock = w.Time
	w.fresh = func() (uint64, uint64, bool) { return l.Head().Size, w.clock, true }
	for i, m := range w.Members {
		s := newSafe()
		s.m[shareName(1)] = w.Shares[i].Bytes()
		w.custodians = append(w.custodians, New(Config{Ledger: l, Member: m.Signer.Member(),
			Fresh: func() (uint64, uint64, bool) { return w.fresh() }, Clock: func() uint64 { return w.clock },
			Sign: func(msg []byte) []byte { k, _ := ledgertest.Key(m.Name + "/peer"); return ed25519.Sign(k, msg) }, Secrets: s,
			Record: func(r Released) error { w.book = append(w.book, r); return w.recording }}))
	}
	return w
}

// permit grants a contract for an hour.
func (w *ward) permit(cedar string) protocol.ContractID {
	r := w.Must(w.patient, w.patient.Journal(), &protocol.Grant{NotAfter: w.Time + 3600_000, Policy: canonical(w.T.(*testing.T), cedar)})
	return protocol.DerivedContractID(r.ID, 0)
}

// record adds one with a capsule made for label, the record's own unless another is given.
func (w *ward) record(i byte, l protocol.Label, label []byte) protocol.RecordID {
	w.T.Helper()
	id := protocol.RecordID{i}
	if label == nil {
		label = wallet.CapsuleLabel(w.L.Chain(), 1, w.patient.Journal(), l, id)
	}
	w.secrets[id] = bytes.Repeat([]byte{i}, wallet.FileKeyBytes)
	c, err := threshold.Seal(newReader(i), &w.Keys.Public, w.secrets[id], label)
	if err != nil {
		w.T.Fatal(err)
	}
	w.capsules[id] = c.Bytes()
	w.Must(w.clinic, w.patient.Journal(), &protocol.AddRecord{Record: id, Label: l, Ciphertext: protocol.Hash{i}, Size: 4096, Capsule: c.Hash(),
		Generation: 1, Manifest: protocol.Hash{i, 2}, Root: protocol.Hash{i, 3}})
	return id
}

// newReader is a reproducible source of randomness.
func newReader(seed byte) *bytes.Reader {
	var out []byte
	for i := range byte(64) {
		h := protocol.Digest("test", []byte{seed, i})
		out = append(out, h[:]...)
	}
	return bytes.NewReader(out)
}

// ask requests an access to label 1 with the ward's one-time key.
func (w *ward) ask() protocol.AccessID { return w.askWith(w.key.Public()) }

func (w *ward) askWith(oneTime [32]byte) protocol.AccessID {
	w.T.Helper()
	r := w.Must(w.doctor, w.patient.Journal(), &protocol.RequestAccess{Labels: []protocol.Label{{1}}, Purpose: protocol.PurposeTreat,
		OneTime: oneTime, OneTimeKEM: protocol.OneTimeX25519})
	return protocol.DerivedAccessID(r.ID, 0)
}

func (w *ward) access(id protocol.AccessID) (consent.AccessRow, bool, error) {
	return consent.Access(w.View(), id)
}

func (w *ward) request(access protocol.AccessID, records ...protocol.RecordID) Request {
	r := Request{Access: access, Generation: 1, Records: records}
	for _, id := range records {
		r.Capsules = append(r.Capsules, w.capsules[id])
	}
	return r
}

// refused demands a refusal by one check, and that nothing was given or written down (but for check 9, which is the writing).
func (w *ward) refused(r Request, check int, reason protocol.Reason, retry bool) *Refusal {
	w.T.Helper()
	w.book = nil
	a, err := w.custodians[0].Release(w.T.Context(), r)
	var refusal *Refusal
	if a != nil || !errors.As(err, &refusal) || refusal.Check != check || refusal.Reason != reason || refusal.Retry != retry {
		w.T.Fatalf("check %d should refuse with %s: %v %v", check, reason, a, err)
	}
	if check < 9 && len(w.book) != 0 {
		w.T.Fatal("a refused release was written down as given")
	}
	return refusal
}

// about must be a refusal of the records at these places of the request, which would otherwise be answered.
func (w *ward) about(r Request, refusal *Refusal, places ...int) {
	w.T.Helper()
	if !slices.Equal(refusal.Records, places) {
		w.T.Fatalf("it is about %v, want %v", refusal.Records, places)
	}
	rest := Request{Access: r.Access, Generation: r.Generation}
	for i, id := range r.Records {
		if !slices.Contains(places, i) {
			rest.Records, rest.Capsules = append(rest.Records, id), append(rest.Capsules, r.Capsules[i])
		}
	}
	if _, err := w.custodians[0].Release(w.T.Context(), rest); err != nil {
		w.T.Fatal(err)
	}
}

// open is the reader's side: the answer's channel, signature and partials.
func (w *ward) open(a *Answer, access protocol.AccessID, member protocol.MemberID, capsules []*threshold.Capsule) *threshold.Partials {
	w.T.Helper()
	plain, err := w.key.OpenShare(wallet.ShareInfo{Chain: w.L.Chain(), Access: access, Custodian: member, Generation: 1, Epoch: a.Epoch}, a.Sealed)
	if err != nil {
		w.T.Fatal(err)
	}
	body, signature := plain[:len(plain)-64], plain[len(plain)-64:]
	_, peer := ledgertest.Key(w.Members[a.Custodian-1].Name + "/peer")
	if !protocol.VerifySignature(peer, AnswerMessage(w.L.Chain(), access, w.key.Public(), capsules, body), signature) {
		w.T.Fatal("the answer's signature does not hold")
	}
	p, err := threshold.ParsePartials(body)
	if err != nil {
		w.T.Fatal(err)
	}
	return p
}

func (w *ward) parsed(r Request) (out []*threshold.Capsule) {
	for _, raw := range r.Capsules {
		c, err := threshold.ParseCapsule(raw)
		if err != nil {
			w.T.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// The promise kept: T custodians open the records, T-1 do not, and each wrote its release down.
func TestReleaseOpensWithThreshold(t *testing.T) {
	w := newWard(t, 4)
	r1, r2 := w.record(1, protocol.Label{1}, nil), w.record(2, protocol.Label{1}, nil)
	access := w.ask()
	req := w.request(access, r1, r2)
	capsules := w.parsed(req)
	var answers []*threshold.Partials
	for i, c := range w.custodians {
		a, err := c.Release(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, w.open(a, access, w.Members[i].Signer.Member(), capsules))
	}
	secrets, err := threshold.Combine(w.Keys.T, capsules, answers[1:])
	if err != nil || !bytes.Equal(secrets[0], w.secrets[r1]) || !bytes.Equal(secrets[1], w.secrets[r2]) {
		t.Fatal(err)
	}
	if _, err := threshold.Combine(w.Keys.T, capsules, answers[:w.Keys.T-1]); err == nil {
		t.Fatal("opened below the threshold")
	}
	if len(w.book) != 4 || w.book[0].Access != access || w.book[0].Reader != w.doctor.Signer || w.book[0].Size != w.L.Head().Size {
		t.Fatalf("%+v", w.book)
	}
	oneTime := w.key.Public()
	binding := threshold.Binding{Chain: w.L.Chain(), Access: access, OneTimeKey: oneTime[:]}
	if liars := threshold.FindLiars(w.Keys, capsules, binding, answers); len(liars) != 0 {
		t.Fatal("honest custodians called liars", liars)
	}
}

// A custodian that answers with something else than its share gives is found, with its own signature under the lie.
func TestLiarIsFound(t *testing.T) {
	w := newWard(t, 4)
	r1 := w.record(1, protocol.Label{1}, nil)
	access := w.ask()
	req := w.request(access, r1)
	capsules := w.parsed(req)
	forged, err := threshold.ParseShare(w.Shares[3].Bytes())
	if err != nil {
		t.Fatal(err)
	}
	forged.Index = 2 // custodian 2 answers with the share of custodian 4
	w.custodians[1].Secrets.(*safe).m[shareName(1)] = forged.Bytes()
	var answers []*threshold.Partials
	for i, c := range w.custodians[:3] {
		a, err := c.Release(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, w.open(a, access, w.Members[i].Signer.Member(), capsules)) // its signature holds: evidence
	}
	var wrong *threshold.WrongSharesError
	if _, err := threshold.Combine(3, capsules, answers); !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	oneTime := w.key.Public()
	binding := threshold.Binding{Chain: w.L.Chain(), Access: access, OneTimeKey: oneTime[:]}
	if liars := threshold.FindLiars(w.Keys, capsules, binding, answers); !slices.Equal(liars, []int{2}) {
		t.Fatal(liars)
	}
	a, err := w.custodians[3].Release(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	answers[1] = w.open(a, access, w.Members[3].Signer.Member(), capsules)
	if secrets, err := threshold.Combine(3, capsules, answers); err != nil || !bytes.Equal(secrets[0], w.secrets[r1]) {
		t.Fatal("not routed around", err)
	}
}
