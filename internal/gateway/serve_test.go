package gateway

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/did"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func ed25519Sign(by *ledgertest.Who, m []byte) []byte { return ed25519.Sign(by.Key, m) }

func TestNetwork(t *testing.T) {
	s := newSite(t)
	var n api.Network
	r := s.call(nil, "GET", api.PathNetwork, nil)
	r.decode(t, &n)
	g, _ := s.w.L.Genesis()
	head := s.w.L.Head()
	if n.Chain != "test-net" || n.Version != protocol.Version || !bytes.Equal(n.Genesis, protocol.Encode(g)) || n.Member != s.backend.Member ||
		len(n.Members) != 4 || n.Generation != 1 || !bytes.Equal(n.Keys, s.w.Keys.Bytes()) || n.Policy != string(s.backend.Policy) ||
		n.Head.Size != head.Size || n.Head.AppHash != head.AppHash || n.Params.AccessMillis != g.Params.AccessMillis {
		t.Errorf("%s", r.body)
	}
	if r.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("discovery is not open to other origins")
	}
	for _, m := range n.Members {
		if m.ID == n.Member && (m.Gateway != "127.0.0.1:1" || m.Custodian != 1 || m.Name != "m1" || m.Key != s.m1.Signer.Key) {
			t.Errorf("%+v", m)
		}
	}
	if r := s.call(s.alice, "GET", "/v1/accesses", nil); r.header.Get("Access-Control-Allow-Origin") != "" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("what is not public: %v", r.header)
	}
}

// A sponsorship opens a journal.
func TestSponsor(t *testing.T) {
	s := newSite(t)
	key, pub := ledgertest.Key("carol")
	carol := &ledgertest.Who{Name: "carol", Key: key, Signer: protocol.PatientSigner(protocol.JournalID(pub[:16]), pub)}
	var out api.Sponsorship
	s.call(nil, "POST", api.PathSponsor, api.Sponsor{Journal: carol.Journal(), Controller: pub}).decode(t, &out)
	s.w.Must(carol, carol.Journal(), &protocol.OpenJournal{Recipient: [32]byte{1}, Sponsor: out.Sponsor, Agreement: out.Agreement})
	var j api.Journal
	s.call(carol, "GET", "/v1/journals/"+carol.Journal().String(), nil).decode(t, &j)
	if j.Sponsor != s.backend.Member || j.Controller != pub || j.Recipient[0] != 1 || j.Count != 1 || j.Chain.IsZero() {
		t.Errorf("%+v", j)
	}
	s.call(s.nurse, "GET", "/v1/journals/"+carol.Journal().String(), nil).decode(t, &j)
	if j.Count != 0 || !j.Chain.IsZero() {
		t.Errorf("a nurse learns how much is in a journal: %+v", j)
	}
}

// Names are told to the known, and only if they open the commitment.
func TestPractitionerNames(t *testing.T) {
	s := newSite(t)
	who := protocol.PractitionerID(s.doctor.Signer.ID)
	get := func(by *ledgertest.Who) (out api.Practitioner) {
		s.call(by, "GET", "/v1/practitioners/"+who.String(), nil).decode(t, &out)
		return out
	}
	p := get(s.bob)
	if p.Name == nil || p.Name.Name != "Dr doctor" || p.Status != "active" || p.Role != protocol.RolePhysician || p.Member != s.backend.Member || p.Commitment != p.Name.Commitment() {
		t.Errorf("%+v", p)
	}
	if p := get(nil); p.Name != nil || p.Key != s.doctor.Signer.Key {
		t.Errorf("to nobody: %+v", p)
	}
	var all []api.Practitioner
	s.call(s.alice, "GET", "/v1/members/"+s.backend.Member.String()+"/practitioners", nil).decode(t, &all)
	for _, p := range all {
		if p.Member != s.backend.Member || p.Name == nil || p.Name.Name != s.names[p.ID].Name {
			t.Errorf("%+v", p)
		}
	}
	if len(all) != 2 {
		t.Errorf("%+v", all)
	}
	s.names[who] = api.PractitionerName{Salt: make([]byte, 16), Name: "Dr Other"}
	if p := get(s.bob); p.Name != nil {
		t.Errorf("a name that does not open the commitment: %+v", p.Name)
	}
	var suspended api.Practitioner
	s.call(nil, "GET", "/v1/practitioners/"+protocol.PractitionerID(s.suspended.Signer.ID).String(), nil).decode(t, &suspended)
	if suspended.Status != "suspended" {
		t.Errorf("%+v", suspended)
	}
}

// Pages join to the whole journal, entries to its head, and signers have names.
func TestEntries(t *testing.T) {
	s := newSite(t)
	base := "/v1/journals/" + s.alice.Journal().String()
	var j api.Journal
	s.call(s.alice, "GET", base, nil).decode(t, &j)
	var all api.Entries
	s.call(s.alice, "GET", base+"/entries", nil).decode(t, &all)
	var head protocol.Head
	for from := uint64(0); ; {
		var page api.Entries
		s.call(s.alice, "GET", base+"/entries?max=2&from="+strconv.FormatUint(from, 10), nil).decode(t, &page)
		for _, e := range page.Entries {
			head = head.Next(protocol.Commit([16]byte(e.Salt), e.Raw))
		}
		if from = page.Next; from == 0 {
			break
		}
	}
	if head.Count != j.Count || head.Chain != j.Chain || all.Count != j.Count || uint64(len(all.Entries)) != j.Count || all.Next != 0 {
		t.Errorf("%d entries, head %d", head.Count, j.Count)
	}
	whos := []string{}
	for _, e := range all.Entries {
		whos = append(whos, fmt.Sprintf("%s/%s/%s", e.Who.Name, e.Who.Role, e.Who.Member))
	}
	if want := []string{"/patient/", "/patient/", "/patient/", "m1/member/m1", "Dr doctor/physician/m1"}; !slices.Equal(whos, want) {
		t.Errorf("%q", whos)
	}
	var end api.Entries
	s.call(s.alice, "GET", base+"/entries?from=5000", nil).decode(t, &end)
	if len(end.Entries) != 0 || end.Next != 0 || end.Count != j.Count {
		t.Errorf("beyond the end: %+v", end)
	}
}

func TestContractsAndRecords(t *testing.T) {
	s := newSite(t)
	base := "/v1/journals/" + s.alice.Journal().String()
	contract := func() api.Contract {
		var all []api.Contract
		s.call(s.alice, "GET", base+"/contracts", nil).decode(t, &all)
		i := slices.IndexFunc(all, func(c api.Contract) bool { return c.ID == s.contract })
		if i < 0 || len(all) != 2 {
			t.Fatalf("%+v", all)
		}
		return all[i]
	}
	c := contract()
	if c.State != "active" || c.Uses != 1 || c.UsesMax != 5 || c.Template != 3 || !strings.HasPrefix(c.Policy, "permit") || c.Granted == 0 {
		t.Errorf("%+v", c)
	}
	s.w.Time = c.NotAfter
	if c := contract(); c.State != "ended" || c.Over != 0 { // before any block says so
		t.Errorf("%+v", c)
	}
	s.w.Tick()
	if c := contract(); c.State != "ended" || c.Over == 0 {
		t.Errorf("%+v", c)
	}
	var records []api.Record
	s.call(s.alice, "GET", base+"/records", nil).decode(t, &records)
	if len(records) != 1 || records[0].ID != s.record.Record || records[0].Ciphertext != s.record.Ciphertext || records[0].Label != s.label || records[0].Member != s.backend.Member {
		t.Errorf("%+v", records)
	}
}

// An access is open to its reader until its deadline; the file, as long as the contracts permit too.
func TestAccesses(t *testing.T) {
	s := newSite(t)
	second := s.w.Must(s.doctor, s.alice.Journal(), s.request())
	var all []api.Access
	s.call(s.doctor, "GET", "/v1/accesses", nil).decode(t, &all)
	ids := []protocol.AccessID{}
	for _, a := range all {
		ids = append(ids, a.ID)
		if a.Journal != s.alice.Journal() || a.Purpose != protocol.PurposeTreat || len(a.Records) != 1 || a.Records[0].Ciphertext != s.record.Ciphertext {
			t.Errorf("%+v", a)
		}
	}
	if len(ids) != 2 || !slices.Contains(ids, s.access) || !slices.Contains(ids, protocol.DerivedAccessID(second.ID, 0)) {
		t.Errorf("%v", ids)
	}
	var one api.Access
	s.call(s.doctor, "GET", "/v1/accesses/"+s.access.String(), nil).decode(t, &one)
	file := "/v1/files/" + s.record.Ciphertext.String() + "?access=" + s.access.String()
	if r := s.call(s.doctor, "GET", file, nil); r.status != 200 || !bytes.Equal(r.body, s.file) || r.header.Get("Content-Length") != strconv.Itoa(len(s.file)) {
		t.Errorf("%d %v", r.status, r.header)
	}
	if r := s.call(s.doctor, "HEAD", file, nil); r.status != 200 || len(r.body) != 0 || r.header.Get("Content-Length") != strconv.Itoa(len(s.file)) {
		t.Errorf("%d %v", r.status, r.header)
	}
	s.w.Must(s.alice, s.alice.Journal(), &protocol.Revoke{Contract: s.contract})
	if r := s.call(s.doctor, "GET", file, nil); r.status != 404 || r.problem(t).Code != "no-file" {
		t.Errorf("after the revocation: %d", r.status)
	}
	s.w.Time = one.Deadline
	if r := s.call(s.doctor, "GET", "/v1/accesses/"+s.access.String(), nil); r.status != 404 || r.problem(t).Code != "no-access" {
		t.Errorf("after the deadline: %d %s", r.status, r.body)
	}
	s.call(s.doctor, "GET", "/v1/accesses", nil).decode(t, &all)
	if slices.ContainsFunc(all, func(a api.Access) bool { return a.ID == s.access }) {
		t.Error("an access past its deadline is listed")
	}
}

// The deadline closes the file too, and a right to one file is none to another.
func TestFileRightsEnd(t *testing.T) {
	s := newSite(t)
	other := []byte("somebody else's file")
	s.files[hashOf(other)] = other
	uri := "/v1/files/" + s.record.Ciphertext.String() + "?access=" + s.access.String()
	for _, uri := range []string{"?access=" + s.access.String(), "?record=" + s.record.Record.String(), "?journal=" + s.alice.Journal().String()} {
		for _, who := range []*ledgertest.Who{s.doctor, s.alice} {
			if r := s.call(who, "GET", "/v1/files/"+hashOf(other).String()+uri, nil); r.status != 404 {
				t.Errorf("%s by %s: %d", uri, who.Name, r.status)
			}
		}
	}
	// The same file in a second record and in another journal: each patient has it by her own journal, whatever was found before.
	s.w.Must(s.bob, s.bob.Journal(), &protocol.Grant{Template: 7, Policy: s.contributor(), NotAfter: s.w.Time + 1e9})
	again := *s.record
	again.Record = protocol.RecordID{44}
	s.w.Must(s.m1, s.bob.Journal(), &again)
	for range 2 {
		for who, want := range map[*ledgertest.Who][2]int{s.alice: {200, 404}, s.bob: {404, 200}} {
			for i, j := range []protocol.JournalID{s.alice.Journal(), s.bob.Journal()} {
				if r := s.call(who, "GET", "/v1/files/"+s.record.Ciphertext.String()+"?journal="+j.String(), nil); r.status != want[i] {
					t.Errorf("%s by journal %d: %d", who.Name, i, r.status)
				}
			}
		}
	}
	row := s.w.Time
	if r := s.call(s.doctor, "GET", uri, nil); r.status != 200 {
		t.Fatalf("%d", r.status)
	}
	s.w.Time = row + protocol.AccessDeadlineMillis
	if r := s.call(s.doctor, "GET", uri, nil); r.status != 404 {
		t.Errorf("after the deadline: %d", r.status)
	}
}

// A practitioner whose credential is suspended after an access gets no file under it.
func TestSuspensionClosesFiles(t *testing.T) {
	s := newSite(t)
	file := "/v1/files/" + s.record.Ciphertext.String() + "?access=" + s.access.String()
	who := protocol.PractitionerID(s.doctor.Signer.ID)
	s.w.Must(s.m1, protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: who, Key: s.doctor.Signer.Key, Role: protocol.RolePhysician,
		Status: protocol.PractitionerSuspended, ValidUntil: s.w.Time + 1e9, Commitment: s.names[who].Commitment()})
	if r := s.call(s.doctor, "GET", file, nil); r.status != 404 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestShares(t *testing.T) {
	s := newSite(t)
	q := s.questions()
	i := slices.IndexFunc(q, func(q question) bool { return q.name == "shares" })
	var out api.Shares
	r := s.call(s.doctor, "POST", q[i].uri, q[i].body)
	r.decode(t, &out)
	if len(out.Answers) != 2 || out.Answers[0].Sealed == nil || out.Answers[1].Reason != protocol.NoContract || r.header.Get("Server-Timing") == "" {
		t.Errorf("%+v", out)
	}
}

// The document has every route, and every path that package api names is a route; all of it is said in words.
func TestDocumentIsComplete(t *testing.T) {
	s := newSite(t)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			Summary    string `json:"summary"`
			ID         string `json:"operationId"`
			Parameters []struct {
				Name, In, Description string
			}
			Responses map[string]any `json:"responses"`
		}
		Components struct {
			Schemas map[string]struct {
				Description string
				Properties  map[string]map[string]any
			}
		}
	}
	s.call(nil, "GET", api.PathOpenAPI, nil).decode(t, &doc)
	if doc.OpenAPI != "3.1.0" {
		t.Error(doc.OpenAPI)
	}
	ids := map[string]bool{}
	served := map[string]bool{}
	mux := New(s.backend).(*http.ServeMux)
	for _, r := range (&server{Backend: s.backend}).routes() {
		served[r.path] = true
		op, ok := doc.Paths[strings.ReplaceAll(r.path, "...}", "}")][strings.ToLower(r.method)]
		if !ok || op.Summary == "" || ids[op.ID] || len(op.Responses) < 2 {
			t.Errorf("%s %s: %+v", r.method, r.path, op)
		}
		ids[op.ID] = true
		for _, p := range op.Parameters {
			if p.Description == "" {
				t.Errorf("%s %s: %s says nothing", r.method, r.path, p.Name)
			}
		}
		req, err := http.NewRequest(r.method, strings.NewReplacer("{id}", "1", "{index}", "1", "{hash}", "1", "{path...}", "x").Replace(r.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, pattern := mux.Handler(req); pattern != r.method+" "+r.path {
			t.Errorf("%s %s is served by %q", r.method, r.path, pattern)
		}
	}
	for path := range doc.Paths {
		if !served[path] && !served[strings.Replace(path, "{path}", "{path...}", 1)] {
			t.Errorf("%s is described and not served", path)
		}
	}
	for _, path := range apiPaths(t) {
		if !served[path] {
			t.Errorf("package api names %s, which is not served", path)
		}
	}
	for name, schema := range doc.Components.Schemas {
		if schema.Description == "" {
			t.Errorf("%s says nothing", name)
		}
		if len(schema.Properties) == 0 {
			t.Errorf("%s has no properties", name)
		}
	}
	raw, _ := json.Marshal(doc.Components.Schemas["JournalProof"].Properties["seal"])
	if !strings.Contains(string(raw), "size-1") {
		t.Errorf("a field's comment is not its description: %s", raw)
	}
}

// apiPaths are package api's constants named Path….
func apiPaths(t *testing.T) (out []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../api/api.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(v.Names[0].Name, "Path") {
			path, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, path)
		}
		return true
	})
	if len(out) < 20 {
		t.Fatalf("found only %q", out)
	}
	return out
}

// BenchmarkJournal is what a journal of a thousand records costs its patient.
func BenchmarkJournal(b *testing.B) {
	s := newSite(b)
	for i := range 1000 {
		r := *s.record
		r.Record, r.Ciphertext = protocol.RecordID{2, byte(i), byte(i >> 8)}, protocol.Hash{2, byte(i), byte(i >> 8)}
		s.w.Time += 1000
		s.w.Must(s.m1, s.alice.Journal(), &r)
	}
	base := "/v1/journals/" + s.alice.Journal().String()
	for name, uri := range map[string]string{"proof": base + "/proof", "entries": base + "/entries?max=1000", "records": base + "/records",
		"file": "/v1/files/" + s.record.Ciphertext.String() + "?journal=" + s.alice.Journal().String()} {
		b.Run(name, func(b *testing.B) {
			h := New(s.backend)
			for b.Loop() {
				req := httptest.NewRequest("GET", uri, nil)
				req.Header.Set("Authorization", s.sign(s.alice, "GET", uri, s.now()))
				w := &sink{header: http.Header{}}
				h.ServeHTTP(w, req)
				if w.status >= 300 {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// The DID documents say what the registry says, name nobody, and take the gateway's name from the network, not from the request.
func TestDIDDocuments(t *testing.T) {
	s := newSite(t)
	resolve := func(path string) (d did.Document) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "evil.example"
		r := s.do(req)
		if r.header.Get("Content-Type") != did.MediaType || bytes.Contains(r.body, []byte("evil")) || bytes.Contains(r.body, []byte("Dr ")) {
			t.Fatalf("%s: %s %s", path, r.header.Get("Content-Type"), r.body)
		}
		r.decode(t, &d)
		return d
	}
	person := func(w *ledgertest.Who) string {
		return strings.Replace(api.PathPersonDID, "{id}", protocol.PractitionerID(w.Signer.ID).String(), 1)
	}
	own, m1 := resolve(api.PathDID), resolve(strings.Replace(api.PathMemberDID, "{id}", s.backend.Member.String(), 1))
	if own.ID != "did:web:localhost%3A1" || m1.ID != own.ID+":members:"+s.backend.Member.String() || m1.AlsoKnownAs[0] != own.ID {
		t.Error(own, m1)
	}
	for who, want := range map[*ledgertest.Who]int{s.doctor: 1, s.suspended: 0} {
		d := resolve(person(who))
		keys, err := d.Keys()
		if err != nil || len(keys) != want || len(d.VerificationMethod) != 1 || d.VerificationMethod[0].PublicKeyMultibase != did.Multibase(who.Signer.Key) {
			t.Errorf("%s: %v %v", who.Name, d, err)
		}
		if d.Controller != m1.ID {
			t.Errorf("%s is controlled by %s", who.Name, d.Controller)
		}
	}
	b := s.backend
	b.Gateways = map[protocol.MemberID]string{b.Member: "203.0.113.9:443"}
	w := httptest.NewRecorder()
	New(b).ServeHTTP(w, httptest.NewRequest(http.MethodGet, api.PathDID, nil))
	if w.Code != http.StatusNotFound {
		t.Error("an IP address in a did:web", w.Code, w.Body)
	}
}
