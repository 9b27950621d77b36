package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (s *site) post(kind, accept string, body []byte) response {
	s.t.Helper()
	return s.call(nil, "POST", api.PathActions, body, "Content-Type", kind, "Accept", accept)
}

// envelopes are a permitted access, an accepted registration, a rejected one, and a refused access.
func (s *site) envelopes() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	practitioner := func(by *ledgertest.Who, n byte) []byte {
		return s.w.Envelope(by, protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: protocol.PractitionerID{n}, Key: protocol.PublicKey{n}, Role: protocol.RoleNurse,
			Status: protocol.PractitionerActive, ValidUntil: s.w.Time + 1e6, Commitment: protocol.Hash{1}}).Envelope
	}
	_, stranger := ledgertest.Member("stranger")
	return [][]byte{s.w.Envelope(s.doctor, s.alice.Journal(), s.request()).Envelope, practitioner(s.m2, 77), practitioner(stranger, 78),
		s.w.Envelope(s.nurse, s.alice.Journal(), s.request()).Envelope}
}

func (s *site) checkResults(results []api.Result) {
	s.t.Helper()
	if len(results) != 4 {
		s.t.Fatalf("%+v", results)
	}
	read, set, rejected, refused := results[0], results[1], results[2], results[3]
	if !read.OK || read.Access == nil || !read.Access.Permitted || read.Access.ID != protocol.DerivedAccessID(read.ID, 0) || read.Access.Deadline == 0 ||
		!reflect.DeepEqual(read.Access.Records, []protocol.RecordID{s.record.Record}) || !reflect.DeepEqual(read.Access.Contracts, []protocol.ContractID{s.contract}) {
		s.t.Errorf("the access: %+v %+v", read, read.Access)
	}
	if !set.OK || set.Access != nil || set.First == 0 || set.Height == 0 || set.Advice != "" {
		s.t.Errorf("the registration: %+v", set)
	}
	if rejected.OK || rejected.Reason != protocol.UnknownSigner || rejected.Advice == "" {
		s.t.Errorf("the rejected one: %+v", rejected)
	}
	if !refused.OK || refused.Access == nil || refused.Access.Permitted || refused.Access.Reason != protocol.NoContract || refused.Access.Advice == "" {
		s.t.Errorf("the refused access: %+v %+v", refused, refused.Access)
	}
}

func TestActionsAsJSON(t *testing.T) {
	s := newSite(t)
	var out api.Results
	r := s.call(nil, "POST", api.PathActions, api.Submission{Envelopes: s.envelopes()})
	r.decode(t, &out)
	s.checkResults(out.Results)
	if r.header.Get("Server-Timing") == "" {
		t.Error("no Server-Timing")
	}
}

func TestActionsAsParcel(t *testing.T) {
	s := newSite(t)
	envelopes := s.envelopes()
	var out api.Results
	s.post("application/cbor", "", protocol.EncodeParcel(envelopes)).decode(t, &out)
	s.checkResults(out.Results)

	r := s.post("application/cbor", "application/cbor", protocol.EncodeParcel(envelopes)) // again: the first one's results
	var results []protocol.Result
	if r.status != 200 || r.header.Get("Content-Type") != "application/cbor" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if err := protocol.Decode(r.body, &results); err != nil {
		t.Fatal(err)
	}
	for i, have := range results {
		if want := out.Results[i]; have.ID != want.ID || have.OK() != want.OK || have.First != want.First || have.Height != want.Height {
			t.Errorf("result %d: %+v, before %+v", i, have, want)
		}
	}
}

// The decision on an access by id is for its reader alone.
func TestActionByID(t *testing.T) {
	s := newSite(t)
	uri := "/v1/actions/" + s.asked.ID.String()
	for _, c := range []struct {
		who  *ledgertest.Who
		told bool
	}{{nil, false}, {s.nurse, false}, {s.m1, false}, {s.doctor, true}} {
		var out api.Result
		s.call(c.who, "GET", uri, nil).decode(t, &out)
		if !out.OK || out.First != s.asked.First || (out.Access != nil) != c.told {
			t.Errorf("%+v: %+v", c.who, out)
		}
	}
}

// An envelope with a request among others, and one whose actions only look like one, are told apart.
func TestDecisionAmongOtherActions(t *testing.T) {
	s := newSite(t)
	marked := &protocol.AddRecord{Record: protocol.RecordID{0x82, 0x18, 50}, Label: s.label, Ciphertext: protocol.Hash{0x82, 0x18, 50}, Size: 1, Capsule: protocol.Hash{1},
		Generation: 1, Manifest: protocol.Hash{1}, Root: protocol.Hash{1}}
	missing := s.request()
	missing.Labels, missing.Records = nil, []protocol.RecordID{{9}}
	s.mu.Lock()
	read := s.w.Envelope(s.doctor, s.alice.Journal(), s.request(), missing)
	write := s.w.Envelope(s.m1, s.alice.Journal(), marked)
	mixed := s.w.Envelope(s.m1, s.alice.Journal(), &protocol.AddRecord{Record: protocol.RecordID{8}, Label: s.label, Ciphertext: protocol.Hash{8}, Size: 1,
		Capsule: protocol.Hash{1}, Generation: 1, Manifest: protocol.Hash{1}, Root: protocol.Hash{1}}, s.request())
	s.mu.Unlock()
	var out api.Results
	s.call(nil, "POST", api.PathActions, api.Submission{Envelopes: [][]byte{read.Envelope, write.Envelope, mixed.Envelope}}).decode(t, &out)
	r := out.Results
	if !r[0].OK || r[0].Access == nil || r[0].Access.ID != protocol.DerivedAccessID(r[0].ID, 0) || !r[0].Access.Permitted {
		t.Errorf("the first of two requests: %+v %+v", r[0], r[0].Access)
	}
	if !r[1].OK || r[1].Access != nil {
		t.Errorf("no request: %+v", r[1])
	}
	if !r[2].OK || r[2].Access == nil || r[2].Access.ID != protocol.DerivedAccessID(r[2].ID, 1) || r[2].Access.Permitted {
		t.Errorf("a request after a record: %+v %+v", r[2], r[2].Access)
	}
}

// A submission with bad envelopes among good ones says which is which; one with only bad ones is a problem.
func TestActionsPartlyBad(t *testing.T) {
	s := newSite(t)
	good := s.envelopes()[1]
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	var out api.Results
	s.call(nil, "POST", api.PathActions, api.Submission{Envelopes: [][]byte{forged, good, []byte("garbage")}}).decode(t, &out)
	if r := out.Results[0]; r.OK || r.Problem == nil || r.Problem.Code != "signature" || r.Advice == "" {
		t.Errorf("forged: %+v", r)
	}
	if r := out.Results[1]; !r.OK || r.Problem != nil {
		t.Errorf("good: %+v", r)
	}
	if r := out.Results[2]; r.OK || r.Problem == nil || r.Problem.Code != "encoding" {
		t.Errorf("garbage: %+v", r)
	}
	r := s.call(nil, "POST", api.PathActions, api.Submission{Envelopes: [][]byte{forged, []byte("garbage")}})
	if r.status != 400 || r.problem(t).Code != "signature" {
		t.Errorf("%d %s", r.status, r.body)
	}
	r = s.call(nil, "POST", api.PathActions, api.Submission{Envelopes: [][]byte{forged, good}}, "Accept", "application/cbor")
	if r.status != 400 || r.problem(t).Code != "signature" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestActionsFaults(t *testing.T) {
	s := newSite(t)
	body := api.Submission{Envelopes: s.envelopes()[1:2]}
	for _, c := range []struct {
		fault  error
		status int
		code   string
	}{{errBusy, 429, "busy"}, {errStopped, 503, "stopped"}, {errRefused, 400, "refused"}, {errDropped, 504, "dropped"},
		{context.DeadlineExceeded, 504, "timeout"}, {io.ErrUnexpectedEOF, 500, "internal"}} {
		s.mu.Lock()
		s.fault = c.fault
		s.mu.Unlock()
		r := s.call(nil, "POST", api.PathActions, body)
		if p := r.problem(t); r.status != c.status || p.Code != c.code || p.Detail == "" {
			t.Errorf("%v: %d %s", c.fault, r.status, r.body)
		}
		if wants := c.status == 429 || c.status == 503; (r.header.Get("Retry-After") != "") != wants {
			t.Errorf("%v: Retry-After %q", c.fault, r.header.Get("Retry-After"))
		}
	}
}

// What is written by hand is what the encoders write.
func TestHandWrittenAnswers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		results := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) protocol.Result {
			r := protocol.Result{Reason: protocol.Reason(rapid.Uint16().Draw(t, "reason")), Height: rapid.Uint64().Draw(t, "height"), First: rapid.Uint64().Draw(t, "first")}
			copy(r.ID[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "id"))
			return r
		}), 0, 300).Draw(t, "results")
		done := make([]outcome, len(results))
		for i, r := range results {
			done[i].result = r
			one := plainResult(r)
			want, err := json.Marshal(one)
			if err != nil {
				t.Fatal(err)
			}
			if have := appendResult(nil, one); one.Advice == "" && !bytes.Equal(have, want) {
				t.Fatalf("have %s\nwant %s", have, want)
			}
		}
		w := httptest.NewRecorder()
		if err := replyCBOR(w, done); err != nil || !bytes.Equal(w.Body.Bytes(), protocol.Encode(results)) {
			t.Fatalf("%v: %x", err, w.Body.Bytes())
		}
	})
}

// The plain reader of submissions takes what programs write, and never reads another thing than the decoder.
func FuzzSubmission(f *testing.F) {
	for _, seed := range []string{`{"envelopes":["AAEC","/+8="]}`, ` { "envelopes" : [ "" , "AA==" ] } `, `{"envelopes":[]}`, `{"envelopes":null}`, `{"envelopes":["A"]}`,
		`{"envelopes":["AA\u003d="]}`, `{"envelopes":["AAEC"],"x":1}`, `{"envelopes":["AAEC"]}{}`, `{"envelopes":["AAEC",]}`, "{\"envelopes\":[\"AA\n==\"]}", `{"envelopes":["AB=="]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fast, ok := scanSubmission(body)
		var slow api.Submission
		err := decode(body, &slow)
		if ok && (err != nil || len(fast) != len(slow.Envelopes)) {
			t.Fatalf("read %x, and the decoder says %v", fast, err)
		}
		for i := range fast {
			if ok && !bytes.Equal(fast[i], slow.Envelopes[i]) {
				t.Fatalf("envelope %d: %x and %x", i, fast[i], slow.Envelopes[i])
			}
		}
	})
}

func TestScanTakesWhatProgramsWrite(t *testing.T) {
	raw, err := json.Marshal(api.Submission{Envelopes: [][]byte{bytes.Repeat([]byte{0xfb}, 700), {1}, {}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := scanSubmission(raw); !ok || len(got) != 3 || len(got[0]) != 700 {
		t.Errorf("%v %v", got, ok)
	}
}

// BenchmarkSubmit is the gateway's own share of POST /v1/actions: the ledger answers at once.
func BenchmarkSubmit(b *testing.B) {
	_, who := ledgertest.Member("m")
	body := protocol.Body{Version: 1, Chain: "test-net", NotAfter: 1, Signer: who.Signer, Journal: protocol.JournalID{1}, Actions: protocol.Pack(&protocol.AddRecord{
		Record: protocol.RecordID{1}, Label: protocol.Label{1}, Ciphertext: protocol.Hash{1}, Size: 1 << 20, Capsule: protocol.Hash{1}, Generation: 1, Manifest: protocol.Hash{1}, Root: protocol.Hash{1}})}
	envelope, id := protocol.Sign(body, func([]byte) []byte { return make([]byte, 64) })
	envelopes := make([][]byte, protocol.ParcelEnvelopesMax)
	results := make([]protocol.Result, len(envelopes))
	for i := range envelopes {
		envelopes[i], results[i] = envelope, protocol.Result{ID: id, Height: 1e6, First: 1e9}
	}
	single, err := json.Marshal(api.Submission{Envelopes: envelopes[:1]})
	if err != nil {
		b.Fatal(err)
	}
	h := New(Backend{Log: slog.New(slog.DiscardHandler), Now: func() uint64 { return 0 }, Fault: func(error) Fault { return FaultOther },
		SubmitEnvelope: func(context.Context, []byte) (protocol.Result, error) { return results[0], nil },
		SubmitParcel:   func(context.Context, []byte) ([]protocol.Result, error) { return results, nil }})
	for _, c := range []struct {
		name, kind, accept string
		body               []byte
	}{{"json-1", "application/json", "", single}, {"json-1-cbor", "application/json", "application/cbor", single},
		{"parcel-64-json", "application/cbor", "", protocol.EncodeParcel(envelopes)}, {"parcel-64-cbor", "application/cbor", "application/cbor", protocol.EncodeParcel(envelopes)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			req := httptest.NewRequest(http.MethodPost, api.PathActions, nil)
			req.Header.Set("Content-Type", c.kind)
			req.Header.Set("Accept", c.accept)
			req.ContentLength = int64(len(c.body))
			w := &sink{header: http.Header{}}
			for b.Loop() {
				req.Body = io.NopCloser(bytes.NewReader(c.body))
				clear(w.header)
				h.ServeHTTP(w, req)
				if w.status != 0 {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// sink is a writer that keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }
