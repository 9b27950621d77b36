package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/notify"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// site is a gateway over a real ledger of four members. What a node would do around it (consensus, witnesses, custodians, vaults, other
// members) is done here, on the spot.
type site struct {
	t       testing.TB
	w       *ledgertest.World
	backend Backend
	server  *httptest.Server
	schemas *jsonschema.Compiler
	log     *lockedBuffer
	drawer  drawer

	mu       sync.Mutex // guards the world and what follows
	files    map[protocol.Hash][]byte
	names    map[protocol.PractitionerID]api.PractitionerName
	fault    error // what submitting fails with
	changes  changes
	stopping chan struct{}

	m1, m2, doctor, nurse, suspended, alice, bob *ledgertest.Who
	record                                       *protocol.AddRecord
	file                                         []byte
	label                                        protocol.Label
	contract                                     protocol.ContractID
	granted                                      protocol.Result
	asked                                        protocol.Result
	access                                       protocol.AccessID
}

var (
	errBusy    = errors.New("test: pool full")
	errStopped = errors.New("test: stopped")
	errRefused = errors.New("test: refused")
	errDropped = errors.New("test: dropped")
)

// newSite opens Alice's journal with one record that the doctor may read, and has read; Bob's journal is empty.
func newSite(t testing.TB) *site {
	t.Helper()
	l, err := ledger.Open(state.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, w: ledgertest.New(t, l, 4), files: map[protocol.Hash][]byte{}, names: map[protocol.PractitionerID]api.PractitionerName{}, log: &lockedBuffer{}, stopping: make(chan struct{})}
	s.m1, s.m2 = s.w.Members[0], s.w.Members[1]
	s.doctor = s.practitioner(s.m1, "doctor", protocol.RolePhysician, protocol.PractitionerActive)
	s.nurse = s.practitioner(s.m2, "nurse", protocol.RoleNurse, protocol.PractitionerActive)
	s.suspended = s.practitioner(s.m1, "suspended", protocol.RolePhysician, protocol.PractitionerSuspended)
	s.alice, s.bob = s.w.Patient(s.m1, "alice"), s.w.Patient(s.m1, "bob")
	s.label = protocol.LabelKey{7}.Label(0, "allergies")
	s.grant("contributor", consent.Grantee{Member: protocol.MemberID(s.m1.Signer.ID)})
	s.granted = s.grant("second-opinion", consent.Grantee{Practitioner: protocol.PractitionerID(s.doctor.Signer.ID)})
	s.contract = protocol.DerivedContractID(s.granted.ID, 0)
	s.file = bytes.Repeat([]byte("ciphertext"), 1000)
	s.record = &protocol.AddRecord{Record: protocol.RecordID{1}, Label: s.label, Ciphertext: sha256.Sum256(s.file), Size: uint64(len(s.file)),
		Capsule: protocol.Hash{2}, Generation: 1, Manifest: protocol.Hash{3}, Root: protocol.Hash{4}}
	s.files[s.record.Ciphertext] = s.file
	s.w.Must(s.m1, s.alice.Journal(), s.record)
	s.asked = s.w.Must(s.doctor, s.alice.Journal(), s.request())
	s.access = protocol.DerivedAccessID(s.asked.ID, 0)
	s.serve()
	return s
}

func (s *site) practitioner(by *ledgertest.Who, name string, role protocol.Role, status protocol.PractitionerStatus) *ledgertest.Who {
	k, pub := ledgertest.Key(name)
	who := protocol.PractitionerID(pub[:16])
	s.names[who] = api.PractitionerName{Salt: bytes.Repeat([]byte{byte(len(name))}, 16), Name: "Dr " + name, Speciality: "oncology", Licence: "GMC 7000001"}
	s.w.Must(by, protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: who, Key: pub, Role: role, Status: status,
		ValidUntil: ledgertest.Start + 365*24*3600_000, Commitment: s.names[who].Commitment()})
	return &ledgertest.Who{Name: name, Key: k, Signer: protocol.PractitionerSigner(who, pub)}
}

func (s *site) grant(template string, to consent.Grantee) protocol.Result {
	policy, made, err := consent.Render(template, consent.Params{Grantee: to})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.w.Must(s.alice, s.alice.Journal(), &protocol.Grant{Template: made.Number, Policy: policy, NotAfter: s.w.Time + 24*3600_000, UsesMax: made.UsesMax})
}

func (s *site) contributor() []byte {
	policy, _, err := consent.Render("contributor", consent.Params{Grantee: consent.Grantee{Member: protocol.MemberID(s.m1.Signer.ID)}})
	if err != nil {
		s.t.Fatal(err)
	}
	return policy
}

func (s *site) request() *protocol.RequestAccess {
	return &protocol.RequestAccess{Labels: []protocol.Label{s.label}, Purpose: protocol.PurposeTreat, OneTime: [32]byte{1}, OneTimeKEM: protocol.OneTimeX25519}
}

func (s *site) serve() {
	policy, sign := witnesses(s.t, s.w)
	text, err := policy.Text()
	if err != nil {
		s.t.Fatal(err)
	}
	s.backend = Backend{Ledger: s.w.L, Member: protocol.MemberID(s.m1.Signer.ID), Policy: text,
		Gateways:       map[protocol.MemberID]string{protocol.MemberID(s.m1.Signer.ID): "127.0.0.1:1"},
		SubmitEnvelope: s.submit, SubmitParcel: s.submitParcel, Fault: s.faultOf,
		Checkpoint: func(_ context.Context, size, _ uint64) ([]byte, uint64, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			note, covers := sign(s.w.Time)
			if covers < size {
				return nil, 0, errors.New("not that far")
			}
			return note, covers, nil
		},
		Sponsor: func(j protocol.JournalID, k protocol.PublicKey) []byte {
			return ed25519.Sign(s.m1.Key, protocol.SponsorMessage(s.w.L.Chain(), protocol.MemberID(s.m1.Signer.ID), j, k))
		},
		AgreeClaim: func(j protocol.JournalID, k protocol.PublicKey, recipient [32]byte) []byte {
			return ed25519.Sign(s.m1.Key, protocol.ClaimMessage(s.w.L.Chain(), j, k, recipient))
		},
		Desk: s.openDesk(),
		Shares: func(_ context.Context, a protocol.AccessID, r api.ShareRequest) []api.Share {
			return []api.Share{{Custodian: 1, Epoch: 1, Sealed: []byte{1, 2, 3}}, {Custodian: 2, Reason: protocol.NoContract, Detail: "no"}}
		},
		StoreFile: s.store, ReadFile: s.fetch, Name: s.name,
		SetName: func(p protocol.PractitionerID, n api.PractitionerName) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.names[p] = n
			return nil
		},
		Notices: s.notices(), Changed: s.changes.subscribe, Stopping: s.stopping,
		Health: func() api.Health { return api.Health{OK: true, Height: s.w.L.Head().Height} },
		Now:    s.now, Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	s.server = httptest.NewServer(New(s.backend))
	s.t.Cleanup(s.server.Close)
	s.compile()
}

// compile reads the schemas of the served document, against which every answer is checked.
func (s *site) compile() {
	res, err := http.Get(s.server.URL + api.PathOpenAPI)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	doc, err := jsonschema.UnmarshalJSON(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.schemas = jsonschema.NewCompiler()
	if err := s.schemas.AddResource("http://test/openapi.json", doc); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) now() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Time
}

func (s *site) submit(ctx context.Context, envelope []byte) (protocol.Result, error) {
	r, err := s.submitParcel(ctx, protocol.EncodeParcel([][]byte{envelope}))
	if err != nil {
		return protocol.Result{}, err
	}
	return r[0], nil
}

func (s *site) submitParcel(_ context.Context, parcel []byte) ([]protocol.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return nil, s.fault
	}
	raw, err := protocol.DecodeParcel(parcel)
	if err != nil {
		return nil, err
	}
	var verified []*protocol.Verified
	for _, e := range raw {
		v, err := protocol.VerifyEnvelope(e)
		if err != nil {
			return nil, fmt.Errorf("test: %w", err)
		}
		verified = append(verified, v)
	}
	out := s.w.Block(verified...).Results[0]
	s.changes.wake()
	return out, nil
}

func (s *site) faultOf(err error) Fault {
	for f, e := range map[Fault]error{FaultBusy: errBusy, FaultStopped: errStopped, FaultRefused: errRefused, FaultDropped: errDropped} {
		if errors.Is(err, e) {
			return f
		}
	}
	return FaultOther
}

func (s *site) store(_ context.Context, hash protocol.Hash, r io.Reader, size int64) (string, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	if int64(len(b)) != size {
		return "", vault.ErrSize
	}
	if sha256.Sum256(b) != hash {
		return "", vault.ErrHash
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[hash] = b
	return "two of three", nil
}

func (s *site) fetch(_ context.Context, hash protocol.Hash) (io.ReadCloser, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.files[hash]
	if !ok {
		return nil, 0, vault.ErrUnavailable
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}

func (s *site) name(_ context.Context, of protocol.MemberID, id protocol.PractitionerID) (api.PractitionerName, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.names[id]
	return n, ok
}

// witnesses are the log and cosigner keys of the world's members, and what signs the log's head with all of them.
func witnesses(t testing.TB, w *ledgertest.World) (*c2sp.Policy, func(now uint64) (note []byte, size uint64)) {
	t.Helper()
	const origin = "anamnesis/test-net"
	var nodes []c2sp.NetworkNode
	var logs []*c2sp.LogKey
	var cosigners []*c2sp.CosignKey
	for i, m := range w.Members {
		k, _ := ledgertest.Key(m.Name + "/log")
		c, _ := ledgertest.Key(m.Name + "/cosigner")
		log, err := c2sp.NewLogKey(origin, k)
		if err != nil {
			t.Fatal(err)
		}
		cosigner, err := c2sp.NewCosignKey(fmt.Sprintf("%s/node-%d", origin, i+1), c)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, c2sp.NetworkNode{Log: log.Verifier(), Cosigner: cosigner.Verifier()})
		logs, cosigners = append(logs, log), append(cosigners, cosigner)
	}
	policy, err := c2sp.NetworkPolicy(nodes, 3, ledgertest.Start+10*365*24*3600_000)
	if err != nil {
		t.Fatal(err)
	}
	return policy, func(now uint64) ([]byte, uint64) {
		size, root := w.L.Log().Head()
		c := c2sp.Checkpoint{Origin: origin, Size: size, Root: root}
		sig, err := logs[0].Sign(c)
		if err != nil {
			panic(err)
		}
		sigs := []c2sp.Signature{sig}
		for _, k := range cosigners {
			sig, err := k.Cosign(c, now)
			if err != nil {
				panic(err)
			}
			sigs = append(sigs, sig)
		}
		note, err := c2sp.Assemble(c, sigs...)
		if err != nil {
			panic(err)
		}
		return note, size
	}
}

// response is an answer, read whole.
type response struct {
	status int
	header http.Header
	body   []byte
}

func (r response) problem(t testing.TB) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(r.body, &p); err != nil || p.Status != r.status || r.header.Get("Content-Type") != "application/problem+json" || p.Code == "" || p.Title == "" {
		t.Fatalf("not a problem: %d %s %s (%v)", r.status, r.header.Get("Content-Type"), r.body, err)
	}
	return p
}

func (r response) decode(t testing.TB, into any) {
	t.Helper()
	if r.status >= 300 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

// sign is the header of a question.
func (s *site) sign(by *ledgertest.Who, method, uri string, at uint64) string {
	return api.Authorise(s.w.L.Chain(), method, uri, by.Signer, at, func(m []byte) []byte { return ed25519.Sign(by.Key, m) })
}

// call asks as somebody (nil: unsigned) and checks the answer against the served document.
func (s *site) call(by *ledgertest.Who, method, uri string, body any, header ...string) response {
	s.t.Helper()
	var r io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case []byte:
		r, kind = bytes.NewReader(b), "application/octet-stream"
	case string:
		r, kind = strings.NewReader(b), "application/json"
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		r, kind = bytes.NewReader(raw), "application/json"
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+uri, r)
	if err != nil {
		s.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if by != nil {
		req.Header.Set("Authorization", s.sign(by, method, uri, s.now()))
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return s.do(req)
}

func (s *site) do(req *http.Request) response {
	s.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	out := response{status: res.StatusCode, header: res.Header, body: raw}
	s.conforms(req, out)
	return out
}

// conforms checks an answer's body against its schema in the document.
func (s *site) conforms(req *http.Request, r response) {
	s.t.Helper()
	if res := r.header.Get("X-Content-Type-Options"); res != "nosniff" {
		s.t.Errorf("%s %s: no security headers", req.Method, req.URL.Path)
	}
	var schema string
	switch r.header.Get("Content-Type") {
	case "application/problem+json":
		schema = "#/components/schemas/Problem"
	case "application/json":
		_, pattern := s.pattern(req)
		if pattern == api.PathOpenAPI {
			return
		}
		pointer := strings.NewReplacer("~", "~0", "/", "~1").Replace(strings.ReplaceAll(pattern, "...}", "}"))
		schema = "#/paths/" + pointer + "/" + strings.ToLower(req.Method) + "/responses/" + fmt.Sprint(r.status) + "/content/application~1json/schema"
	default:
		return
	}
	compiled, err := s.schemas.Compile("http://test/openapi.json" + schema)
	if err != nil {
		s.t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.body))
	if err == nil {
		err = compiled.Validate(value)
	}
	if err != nil {
		s.t.Errorf("%s %s: the answer is not what the document says: %v\n%s", req.Method, req.URL.Path, err, r.body)
	}
}

// pattern is the route that a request takes.
func (s *site) pattern(req *http.Request) (method, path string) {
	mux := New(s.backend).(*http.ServeMux)
	_, pattern := mux.Handler(req)
	method, path, _ = strings.Cut(pattern, " ")
	return method, path
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// drawer is a claim desk's store in memory.
type drawer map[string][]byte

func (d drawer) Get(name string) ([]byte, bool, error) { v, ok := d[name]; return v, ok, nil }
func (d drawer) Put(name string, v []byte) error       { d[name] = v; return nil }
func (d drawer) Delete(name string) error              { delete(d, name); return nil }
func (d drawer) List(prefix string) (out []string, _ error) {
	for name := range d {
		if strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	return out, nil
}

func (s *site) openDesk() *Desk {
	if s.drawer == nil {
		s.drawer = drawer{}
	}
	d, err := OpenDesk(s.drawer)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// changes tells of blocks, as a node does.
type changes struct {
	mu   sync.Mutex
	subs map[chan struct{}]bool
}

func (c *changes) subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs == nil {
		c.subs = map[chan struct{}]bool{}
	}
	c.subs[ch] = true
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.subs, ch)
	}
}

func (c *changes) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (s *site) notices() *notify.Notifier {
	n, err := notify.Open(notify.Config{Dir: s.t.TempDir(), Ledger: s.w.L, Clock: time.Now, Options: notify.Options{AllowHosts: []string{"hook.example"}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = n.Close() })
	return n
}
