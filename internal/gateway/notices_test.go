package gateway

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// events listens to a journal as a wallet does, until the end of the test or cancel.
func (s *site) events(by *ledgertest.Who, query, last string) (next func() (id string, n api.Notice, ok bool), cancel func()) {
	s.t.Helper()
	uri := strings.Replace(api.PathEvents, "{id}", s.alice.Journal().String(), 1) + query
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+uri, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", s.sign(by, http.MethodGet, uri, s.now()))
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatal(res.Status, res.Header)
	}
	lines := bufio.NewScanner(res.Body)
	return func() (id string, n api.Notice, ok bool) {
		for lines.Scan() {
			switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
			case "id":
				id = value
			case "data":
				if err := json.Unmarshal([]byte(value), &n); err != nil {
					s.t.Fatal(err)
				}
				return id, n, true
			}
		}
		return "", n, false
	}, cancel
}

// ask makes an entry in Alice's journal, by the way that everybody takes.
func (s *site) read() {
	s.t.Helper()
	s.mu.Lock()
	e := s.w.Envelope(s.doctor, s.alice.Journal(), s.request()).Envelope
	s.mu.Unlock()
	s.call(nil, "POST", api.PathActions, api.Submission{Envelopes: [][]byte{e}}).decode(s.t, &api.Results{})
}

// A wallet hears of what happens as it happens, and after a break of what it missed, each once.
func TestEventsResume(t *testing.T) {
	s := newSite(t)
	next, cancel := s.events(s.alice, "", "")
	s.read()
	id, n, ok := next()
	if !ok || n.Kind != "access" || n.Text == "" {
		t.Fatal(id, n, ok)
	}
	cancel()
	s.read()
	s.read()
	next, _ = s.events(s.alice, "", id)
	for i := range uint64(2) {
		if _, m, ok := next(); !ok || m.Seq != n.Seq+1+i {
			t.Fatal(m, ok)
		}
	}
	next, _ = s.events(s.alice, "?from=0", "")
	for want := range n.Seq {
		if _, m, ok := next(); !ok || m.Seq != want {
			t.Fatal(m, ok)
		}
	}
}

// A stream ends when the key that asked for it counts no more: who was cut off hears nothing of what comes after.
func TestEventsEndWithTheKey(t *testing.T) {
	s := newSite(t)
	key, pub := ledgertest.Key("alice's phone")
	phone := &ledgertest.Who{Name: "phone", Key: key, Signer: protocol.PatientSigner(s.alice.Journal(), pub)}
	chain, journal := s.w.L.Chain(), s.alice.Journal()
	name := protocol.Hash{1}
	s.w.Must(s.alice, journal, &protocol.AddDevice{Key: pub, Name: name, Proof: ed25519Sign(phone, protocol.DeviceMessage(chain, journal, pub, name))})
	next, _ := s.events(phone, "", "")
	s.read()
	if _, _, ok := next(); !ok {
		t.Fatal("a device hears nothing")
	}
	s.mu.Lock()
	cut := s.w.Envelope(s.alice, journal, &protocol.RevokeDevice{Key: pub}).Envelope
	s.mu.Unlock()
	s.call(nil, "POST", api.PathActions, api.Submission{Envelopes: [][]byte{cut}}).decode(t, &api.Results{})
	s.read()
	if id, n, ok := next(); ok {
		t.Errorf("a device that was cut off is told of %s %v", id, n)
	}
}

func TestEventsBounded(t *testing.T) {
	s := newSite(t)
	for range StreamsJournalMax {
		s.events(s.alice, "", "")
	}
	uri := strings.Replace(api.PathEvents, "{id}", s.alice.Journal().String(), 1)
	if r := s.call(s.alice, "GET", uri, nil); r.status != http.StatusTooManyRequests {
		t.Error(r.status)
	}
	for _, bad := range []string{"x", "-1", "1e9", "99999999999999999999"} {
		if r := s.call(s.alice, "GET", uri, nil, "Last-Event-ID", bad); r.status != http.StatusBadRequest {
			t.Errorf("%q: %d", bad, r.status)
		}
	}
}

// The signature covers the body by way of the path: another body under the same signature is refused.
func TestSubscribing(t *testing.T) {
	s := newSite(t)
	at := func(raw []byte) string {
		return strings.NewReplacer("{id}", s.alice.Journal().String(), "{hash}", protocol.Hash(sha256.Sum256(raw)).String()).Replace(api.PathSubscription)
	}
	raw, err := json.Marshal(api.Subscribe{Way: "webhook", Target: "https://hook.example/a", Nonce: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(raw), "hook.example", "evil.example", 1)
	if r := s.call(s.alice, "PUT", at(raw), forged); r.status != http.StatusUnprocessableEntity {
		t.Error("another body", r.status)
	}
	var made api.Subscription
	s.call(s.alice, "PUT", at(raw), string(raw)).decode(t, &made)
	if made.State != "active" || !strings.HasPrefix(made.Secret, "whsec_") {
		t.Error(made)
	}
	var all []api.Subscription
	s.call(s.alice, "GET", strings.Replace(api.PathSubscriptions, "{id}", s.alice.Journal().String(), 1), nil).decode(t, &all)
	if len(all) != 1 || all[0].Secret != "" || all[0].Target != "https://hook.example/a" {
		t.Error(all)
	}
	for body, code := range map[string]string{
		`{"way":"webhook","target":"https://10.0.0.1/","kinds":[],"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}`:                 "inward",
		`{"way":"webhook","target":"http://example.com/","kinds":[],"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}`:               "target",
		`{"way":"mail","target":"ada@example.org","kinds":[],"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}`:                      "no-mail",
		`{"way":"webhook","target":"https://hook.example/","kinds":["gossip"],"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}`:     "kinds",
		`{"way":"webhook","target":"https://hook.example/","kinds":[],"nonce":""}`:                                     "nonce",
		`{"way":"webhook","target":"https://hook.example/","kinds":[],"nonce":"AAAAAAAAAAAAAAAAAAAAAA==","extra":"x"}`: "body",
	} {
		if r := s.call(s.alice, "PUT", at([]byte(body)), body); r.problem(t).Code != code {
			t.Errorf("%s: %s, want %s", body, r.body, code)
		}
	}
	if r := s.call(s.alice, "DELETE", at(raw), nil); r.status != http.StatusNoContent {
		t.Error(r.status)
	}
	if r := s.call(s.alice, "PUT", at(raw), string(raw)); r.problem(t).Code != "removed" {
		t.Errorf("replayed after its removal: %s", r.body)
	}
}

// A device that is cut off while its subscription's body is still on the way gets none: its standing is asked again when the body is here.
func TestSlowSubscriptionOfACutOffDevice(t *testing.T) {
	s := newSite(t)
	key, pub := ledgertest.Key("alice's phone")
	phone := &ledgertest.Who{Name: "phone", Key: key, Signer: protocol.PatientSigner(s.alice.Journal(), pub)}
	chain, in, name := s.w.L.Chain(), s.alice.Journal(), protocol.Hash{1}
	s.w.Must(s.alice, in, &protocol.AddDevice{Key: pub, Name: name, Proof: ed25519Sign(phone, protocol.DeviceMessage(chain, in, pub, name))})
	raw, err := json.Marshal(api.Subscribe{Way: "webhook", Target: "https://thief.example/a", Nonce: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	uri := strings.NewReplacer("{id}", in.String(), "{hash}", protocol.Hash(sha256.Sum256(raw)).String()).Replace(api.PathSubscription)
	body, sender := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.server.URL+uri, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", s.sign(phone, http.MethodPut, uri, s.now()))
	req.Header.Set("Content-Type", "application/json")
	status := make(chan int, 1)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	_, _ = sender.Write(raw[:10])
	<-time.After(300 * time.Millisecond) // the header has been looked at by now, and the device was one
	s.mu.Lock()
	cut := s.w.Envelope(s.alice, in, &protocol.RevokeDevice{Key: pub}).Envelope
	s.mu.Unlock()
	s.call(nil, "POST", api.PathActions, api.Submission{Envelopes: [][]byte{cut}}).decode(t, &api.Results{})
	_, _ = sender.Write(raw[10:])
	_ = sender.Close()
	if got := <-status; got != http.StatusUnauthorized {
		t.Errorf("it was answered with %d", got)
	}
	var all []api.Subscription
	s.call(s.alice, "GET", strings.Replace(api.PathSubscriptions, "{id}", in.String(), 1), nil).decode(t, &all)
	if len(all) > 0 {
		t.Errorf("it has %+v", all)
	}
}
