package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Each bad input gets its own status and code, and nothing panics.
func TestBadInput(t *testing.T) {
	s := newSite(t)
	doctor := "/v1/practitioners/" + protocol.PractitionerID(s.doctor.Signer.ID).String()
	shares := "/v1/accesses/" + s.access.String() + "/shares"
	entries := "/v1/journals/" + s.alice.Journal().String() + "/entries"
	file := "/v1/files/" + s.record.Ciphertext.String()
	capsule := base64.StdEncoding.EncodeToString(make([]byte, 10))
	deep := strings.Repeat("[", 100_000)
	many := `{"envelopes":["` + strings.Repeat(`AA==","`, SubmissionEnvelopesMax) + `AA=="]}`
	for _, c := range []struct {
		name, method, uri string
		body              any
		status            int
		code              string
	}{
		{"garbage", "POST", "/v1/actions", "\x00\xff\x13", 400, "body"},
		{"no body", "POST", "/v1/actions", "", 400, "body"},
		{"truncated", "POST", "/v1/actions", `{"envelopes":["AAEC`, 400, "body"},
		{"deep", "POST", "/v1/actions", deep, 400, "body"},
		{"wrong type", "POST", "/v1/actions", `{"envelopes":[1]}`, 400, "body"},
		{"not base64", "POST", "/v1/actions", `{"envelopes":["!!"]}`, 400, "body"},
		{"unknown field", "POST", "/v1/actions", `{"envelopes":["AA=="],"also":1}`, 400, "body"},
		{"two values", "POST", "/v1/actions", `{"envelopes":["AA=="]}{}`, 400, "body"},
		{"none", "POST", "/v1/actions", `{"envelopes":[]}`, 400, "envelopes"},
		{"null", "POST", "/v1/actions", `null`, 400, "envelopes"},
		{"too many", "POST", "/v1/actions", many, 400, "envelopes"},
		{"huge", "POST", "/v1/actions", strings.Repeat(" ", SubmissionBytesMax+1), 413, "too-large"},
		{"huge parcel", "POST", "/v1/actions", parcelOf(protocol.ParcelBytesMax + 1), 413, "too-large"},
		{"garbage parcel", "POST", "/v1/actions", parcelOf(9), 400, "encoding"},
		{"form", "POST", "/v1/actions", []byte("a=b"), 415, "content-type"},
		{"bad id", "GET", "/v1/actions/xyz", nil, 400, "id"},
		{"capital id", "GET", strings.ToUpper("/v1/journals/" + s.alice.Journal().String())[3:], nil, 404, "no-such-path"},
		{"long id", "GET", "/v1/journals/" + strings.Repeat("0", 33), nil, 400, "id"},
		{"bad index", "GET", "/v1/entries/-1/receipt", nil, 400, "index"},
		{"unknown parameter", "GET", "/v1/checkpoint?siez=3", nil, 400, "query"},
		{"parameter twice", "GET", "/v1/checkpoint?size=3&size=4", nil, 400, "query"},
		{"malformed query", "GET", "/v1/checkpoint?size=%zz", nil, 400, "query"},
		{"not a number", "GET", "/v1/checkpoint?size=many", nil, 400, "query"},
		{"empty number", "GET", "/v1/checkpoint?size=", nil, 400, "query"},
		{"too fresh", "GET", "/v1/checkpoint?max_age_ms=10", nil, 400, "query"},
		{"from over to", "GET", "/v1/consistency?from=9&to=3", nil, 400, "query"},
		{"page of none", "GET", entries + "?max=0", nil, 400, "query"},
		{"page too long", "GET", entries + "?max=1001", nil, 400, "query"},
		{"no path", "GET", "/v2/", nil, 404, "no-such-path"},
		{"no method", "DELETE", file, nil, 405, "method"},
		{"sponsor of nothing", "POST", "/v1/sponsor", `{}`, 400, "journal"},
		{"sponsor of the constitution", "POST", "/v1/sponsor", api.Sponsor{Journal: protocol.ConstitutionJournal("test-net"), Controller: protocol.PublicKey{1}}, 400, "journal"},
		{"sponsor of a short id", "POST", "/v1/sponsor", `{"journal":"00","controller":"00"}`, 400, "body"},
		{"huge sponsor", "POST", "/v1/sponsor", `"` + strings.Repeat("x", SmallBytesMax) + `"`, 413, "too-large"},
		{"name without salt", "PUT", doctor, api.PractitionerName{Name: "x"}, 400, "salt"},
		{"name with control characters", "PUT", doctor, api.PractitionerName{Salt: make([]byte, 16), Name: "x\ny"}, 400, "name"},
		{"long name", "PUT", doctor, api.PractitionerName{Salt: make([]byte, 16), Name: strings.Repeat("x", 201)}, 400, "name"},
		{"name not in UTF-8", "PUT", doctor, `{"salt":"AAAAAAAAAAAAAAAAAAAAAA==","name":"` + "\xff" + `","speciality":""}`, 409, "commitment"},
		{"licence too long in a name", "PUT", doctor, api.PractitionerName{Salt: make([]byte, 16), Name: "x", Licence: strings.Repeat("x", 201)}, 400, "name"},
		{"no name", "PUT", doctor, api.PractitionerName{Salt: make([]byte, 16)}, 400, "name"},
		{"another name", "PUT", doctor, api.PractitionerName{Salt: make([]byte, 16), Name: "Dr Other"}, 409, "commitment"},
		{"shares of nothing", "POST", shares, `{"generation":1,"records":[],"capsules":[],"all":false}`, 400, "records"},
		{"shares without capsules", "POST", shares, `{"generation":1,"records":["` + s.record.Record.String() + `"],"capsules":[],"all":false}`, 400, "records"},
		{"shares with a short capsule", "POST", shares, `{"generation":1,"records":["` + s.record.Record.String() + `"],"capsules":["` + capsule + `"],"all":false}`, 400, "capsule"},
		{"shares of no generation", "POST", shares, `{"records":["` + s.record.Record.String() + `"],"capsules":["` + capsule + `"]}`, 400, "generation"},
		{"two rights", "GET", file + "?journal=" + s.alice.Journal().String() + "&record=" + s.record.Record.String(), nil, 400, "query"},
		{"bad right", "GET", file + "?access=1", nil, 400, "id"},
		{"file of another hash", "PUT", file, []byte("something else"), 422, "hash"},
		{"empty file", "PUT", file, []byte{}, 400, "length"},
	} {
		who := s.doctor
		switch {
		case strings.HasPrefix(c.name, "name") || strings.HasSuffix(c.name, "name"):
			who = s.m1
		case strings.HasPrefix(c.uri, entries):
			who = s.alice
		}
		kind := []string{}
		if strings.HasSuffix(c.name, "parcel") {
			kind = []string{"Content-Type", "application/cbor"}
		}
		r := s.call(who, c.method, c.uri, c.body, kind...)
		if p := r.problem(t); r.status != c.status || p.Code != c.code {
			t.Errorf("%s: %d %s", c.name, r.status, r.body)
		}
	}
	if log := s.log.String(); strings.Contains(log, "panic") {
		t.Error(log)
	}
}

// parcelOf is so many bytes that are no parcel.
func parcelOf(n int) []byte { return bytes.Repeat([]byte{0x9f}, n) }

// A question's signature holds for its method, path and query, on its network, for a minute, with the signer's key.
func TestSignedQuestions(t *testing.T) {
	s := newSite(t)
	uri := "/v1/journals/" + s.alice.Journal().String() + "/entries"
	good := s.sign(s.alice, "GET", uri, s.now())
	with := func(uri, header string) response { return s.call(nil, "GET", uri, nil, "Authorization", header) }
	if r := with(uri, good); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	token := strings.TrimPrefix(good, "Anamnesis ")
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(raw)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string][2]string{
		"another path":     {strings.Replace(uri, "entries", "records", 1), good},
		"another query":    {uri + "?from=1", good},
		"another method":   {uri, s.sign(s.alice, "POST", uri, s.now())},
		"too old":          {uri, s.sign(s.alice, "GET", uri, s.now()-api.QueryMillisMax-1)},
		"too new":          {uri, s.sign(s.alice, "GET", uri, s.now()+api.QueryMillisMax+1)},
		"another network":  {uri, api.Authorise("other-net", "GET", uri, s.alice.Signer, s.now(), func(m []byte) []byte { return ed25519Sign(s.alice, m) })},
		"changed":          {uri, "Anamnesis " + base64.RawURLEncoding.EncodeToString(flipped)},
		"cut":              {uri, good[:len(good)-9]},
		"longer":           {uri, "Anamnesis " + base64.RawURLEncoding.EncodeToString(append(raw, 0))},
		"padded":           {uri, good + "="},
		"another scheme":   {uri, "Bearer " + token},
		"empty":            {uri, "Anamnesis "},
		"huge":             {uri, "Anamnesis " + strings.Repeat("A", 20_000)},
		"signed by nobody": {uri, api.Authorise("test-net", "GET", uri, s.alice.Signer, s.now(), func([]byte) []byte { return nil })},
	} {
		r := with(c[0], c[1])
		if r.status != 401 || r.problem(t).Code != "unauthorised" || r.header.Get("WWW-Authenticate") != "Anamnesis" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// What the vault and the rest of the node fail with is told in the interface's words, and nothing else of it.
func TestFailuresBehind(t *testing.T) {
	s := newSite(t)
	uri := "/v1/files/" + s.record.Ciphertext.String()
	b := s.backend
	var fails error
	b.StoreFile = func(context.Context, protocol.Hash, io.Reader, int64) (string, error) { return "", fails }
	b.ReadFile = func(context.Context, protocol.Hash) (io.ReadCloser, int64, error) { return nil, 0, fails }
	b.Health = func() api.Health { return api.Health{Problems: []string{"the node is catching up"}} }
	b.Checkpoint = func(context.Context, uint64, uint64) ([]byte, uint64, error) {
		return nil, 0, errors.New("secret detail")
	}
	b.SetName = func(protocol.PractitionerID, api.PractitionerName) error { panic("secret detail") }
	s.server = httptest.NewServer(New(b))
	defer s.server.Close()
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{{vault.ErrNoSpace, 507, "disk-full"}, {vault.ErrErased, 410, "erased"}, {vault.ErrNotFound, 404, "no-file"}, {vault.ErrUnavailable, 503, "unavailable"},
		{vault.ErrNotReady, 503, "unavailable"}, {vault.ErrSize, 413, "too-large"}, {vault.ErrHash, 422, "hash"}, {vault.ErrRefused, 422, "refused"},
		{vault.ErrCorrupt, 500, "internal"}, {errors.New("secret detail"), 500, "internal"}, {context.DeadlineExceeded, 504, "timeout"}} {
		fails = fmt.Errorf("behind: %w", c.err)
		put, get := s.call(s.m1, "PUT", uri, s.file), s.call(s.alice, "GET", uri+"?record="+s.record.Record.String(), nil)
		for _, r := range []response{put, get} {
			if p := r.problem(t); r.status != c.status || p.Code != c.code || strings.Contains(string(r.body), "secret") {
				t.Errorf("%v: %d %s", c.err, r.status, r.body)
			}
		}
	}
	if r := s.call(nil, "GET", "/v1/health", nil); r.status != 200 || !strings.Contains(string(r.body), "catching up") {
		t.Errorf("health: %d %s", r.status, r.body)
	}
	if r := s.call(nil, "GET", "/v1/checkpoint", nil); r.status != 503 || r.problem(t).Code != "no-quorum" || strings.Contains(string(r.body), "secret") {
		t.Errorf("checkpoint: %d %s", r.status, r.body)
	}
	doctor := protocol.PractitionerID(s.doctor.Signer.ID)
	if r := s.call(s.m1, "PUT", "/v1/practitioners/"+doctor.String(), s.names[doctor]); r.status != 500 || r.problem(t).Code != "internal" || strings.Contains(string(r.body), "secret") {
		t.Errorf("panic: %d %s", r.status, r.body)
	}
	if !strings.Contains(s.log.String(), "panic") {
		t.Error("the panic is not in the log")
	}
}

// Files that come without a length, or not whole, are not kept, and ones that are read only in part are not taken for whole.
func TestFilesInPart(t *testing.T) {
	s := newSite(t)
	body := []byte("a file that is cut off")
	uri := "/v1/files/" + hashOf(body).String()
	req, err := http.NewRequestWithContext(t.Context(), "PUT", s.server.URL+uri, struct{ io.Reader }{bytes.NewReader(body)}) // no length
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", s.sign(s.m1, "PUT", uri, s.now()))
	if r := s.do(req); r.status != 411 || r.problem(t).Code != "length" {
		t.Errorf("no length: %d %s", r.status, r.body)
	}
	raw := func(length int, body []byte) string {
		c, err := net.Dial("tcp", s.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s", uri, s.sign(s.m1, "PUT", uri, s.now()), length, body)
		_ = c.(*net.TCPConn).CloseWrite()
		line, _ := bufio.NewReader(c).ReadString('\n')
		return line
	}
	if line := raw(len(body), body[:5]); !strings.Contains(line, "408") && line != "" {
		t.Errorf("cut off: %q", line)
	}
	if line := raw(protocol.RecordFileBytesMax+1, nil); !strings.Contains(line, "413") {
		t.Errorf("too large: %q", line)
	}
	s.mu.Lock()
	_, kept := s.files[hashOf(body)]
	s.mu.Unlock()
	if kept {
		t.Error("a file that did not arrive whole is kept")
	}
	var stored api.StoredFile
	s.call(s.m1, "PUT", uri, body).decode(t, &stored)
	if stored.Hash != hashOf(body) || stored.Size != uint64(len(body)) || stored.Note != "two of three" {
		t.Errorf("%+v", stored)
	}

	b := s.backend
	b.ReadFile = func(context.Context, protocol.Hash) (io.ReadCloser, int64, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("half"), failing{})), 8, nil
	}
	server := httptest.NewServer(New(b))
	defer server.Close()
	uri = "/v1/files/" + s.record.Ciphertext.String() + "?record=" + s.record.Record.String()
	if req, err = http.NewRequestWithContext(t.Context(), "GET", server.URL+uri, nil); err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", s.sign(s.alice, "GET", uri, s.now()))
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		_, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}
	if err == nil {
		t.Error("half a file was taken for a whole one")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// When all places are taken, the next request is told to come back; other kinds of request are served.
func TestGates(t *testing.T) {
	s := newSite(t)
	b := s.backend
	entered, leave := make(chan struct{}), make(chan struct{})
	b.SubmitEnvelope = func(context.Context, []byte) (protocol.Result, error) {
		entered <- struct{}{}
		<-leave
		return protocol.Result{}, nil
	}
	inner := newServer(b)
	inner.patience = 0
	for g := range inner.gates {
		inner.gates[g] = make(chan struct{}, 1)
	}
	var post route
	for _, r := range inner.routes() {
		if r.path == api.PathActions {
			post = r
		}
	}
	h := inner.guard(post)
	send := func() *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", api.PathActions, strings.NewReader(`{"envelopes":["AA=="]}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	first := make(chan int)
	go func() { first <- send().Code }()
	<-entered
	if w := send(); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	close(leave)
	if code := <-first; code != 200 {
		t.Errorf("the first one: %d", code)
	}
	go func() { <-entered }()
	if w := send(); w.Code != 200 {
		t.Errorf("after it: %d", w.Code)
	}
}

// While no quorum answers, those who wait for one keep nobody else from being served.
func TestNoQuorumBlocksNobody(t *testing.T) {
	s := newSite(t)
	b := s.backend
	entered := make(chan struct{}, 2*quorumAtOnce)
	leave := make(chan struct{})
	b.Checkpoint = func(context.Context, uint64, uint64) ([]byte, uint64, error) {
		entered <- struct{}{}
		<-leave
		return nil, 0, errors.New("no quorum")
	}
	inner := newServer(b)
	inner.patience = 0
	routes := map[string]http.Handler{}
	for _, r := range inner.routes() {
		routes[r.path] = inner.guard(r)
	}
	get := func(path string) int {
		w := httptest.NewRecorder()
		routes[path].ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code
	}
	codes := make(chan int, quorumAtOnce)
	for range quorumAtOnce {
		go func() { codes <- get(api.PathCheckpoint) }()
	}
	for range quorumAtOnce {
		<-entered
	}
	if code := get(api.PathCheckpoint); code != 429 {
		t.Errorf("one more: %d", code)
	}
	if code := get(api.PathNetwork); code != 200 {
		t.Errorf("another path: %d", code)
	}
	close(leave)
	for range quorumAtOnce {
		if code := <-codes; code != 503 {
			t.Errorf("without a quorum: %d", code)
		}
	}
}

// The log of requests names nobody and nothing.
func TestLogNamesNobody(t *testing.T) {
	s := newSite(t)
	close(s.stopping)
	for _, q := range s.questions() {
		for _, who := range s.actors() {
			s.call(who.who, q.method, q.uri, q.body)
		}
	}
	log := s.log.String()
	if !strings.Contains(log, "/v1/journals/{id}/entries") {
		t.Fatalf("nothing is logged: %s", log)
	}
	for _, secret := range []string{s.alice.Journal().String(), s.access.String(), s.record.Record.String(), s.record.Ciphertext.String(), "Dr ", "Anamnesis "} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}
