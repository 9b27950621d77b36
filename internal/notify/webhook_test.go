package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// hook is a webhook's receiver.
type hook struct {
	*httptest.Server
	mu       sync.Mutex
	answer   func(http.ResponseWriter, *http.Request)
	requests []received
}

type received struct {
	header http.Header
	body   []byte
}

func newHook(t testing.TB) *hook {
	h := &hook{answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.requests = append(h.requests, received{r.Header, body})
		answer := h.answer
		h.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) set(answer func(http.ResponseWriter, *http.Request)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

func (h *hook) got() []received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

// told are the notices of all requests, in order.
func (h *hook) told(t testing.TB) (out []string) {
	for _, r := range h.got() {
		var d api.Delivery
		if err := json.Unmarshal(r.body, &d); err != nil {
			t.Fatal(err)
		}
		for _, n := range d.Notices {
			out = append(out, fmt.Sprintf("%d %s", n.Seq, n.Kind))
		}
	}
	return out
}

func host(t testing.TB, at string) string {
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// A webhook gets the notices in order, each delivery signed as Standard Webhooks say, and with nothing in it that says what it is about.
func TestWebhook(t *testing.T) {
	h := newHook(t)
	b := newBench(t, Options{AllowHosts: []string{host(t, h.URL)}})
	s := b.webhook(h.URL + "/told?key=1")
	b.read(protocol.PurposeTreat)
	b.read(protocol.PurposeBreakGlass)
	b.read(protocol.PurposeResearch)
	b.eventually("four notices", func() bool { return len(h.told(t)) == 4 })
	if got := h.told(t); !slices.Equal(got, []string{"2 access", "3 break-glass", "4 break-glass-session", "5 access-refused"}) {
		t.Error(got)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Secret, "whsec_"))
	if err != nil || len(secret) != 32 {
		t.Fatal(s.Secret, err)
	}
	for _, r := range h.got() {
		m := hmac.New(sha256.New, secret)
		fmt.Fprintf(m, "%s.%s.%s", r.header.Get("webhook-id"), r.header.Get("webhook-timestamp"), r.body)
		if want := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)); r.header.Get("webhook-signature") != want {
			t.Errorf("signature %q, want %q", r.header.Get("webhook-signature"), want)
		}
		for name, no := range map[string]string{"journal": b.alice.Journal().String(), "doctor": fmt.Sprintf("%x", b.doctor.Signer.ID), "label": protocol.Label{1}.String(), "purpose": "TREAT"} {
			if strings.Contains(string(r.body), no) {
				t.Errorf("the body says the %s: %s", name, r.body)
			}
		}
	}
	b.eventually("nothing waits", func() bool { return b.of(s.ID).Waiting == 0 && b.of(s.ID).Delivered > 0 })
}

// Only the kinds that were asked for.
func TestKindsAsked(t *testing.T) {
	h := newHook(t)
	b := newBench(t, Options{AllowHosts: []string{host(t, h.URL)}})
	b.webhook(h.URL, "break-glass", "break-glass-refused")
	b.read(protocol.PurposeTreat)
	b.read(protocol.PurposeBreakGlass)
	b.eventually("one notice", func() bool { return len(h.told(t)) > 0 })
	if got := h.told(t); !slices.Equal(got, []string{"3 break-glass"}) {
		t.Error(got)
	}
}

// A webhook that fails is asked again with the same delivery under the same id, and gets the rest after it.
func TestWebhookFailsAndComesBack(t *testing.T) {
	h := newHook(t)
	h.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	b := newBench(t, Options{AllowHosts: []string{host(t, h.URL)}})
	s := b.webhook(h.URL)
	b.read(protocol.PurposeTreat)
	b.eventually("three attempts", func() bool { return len(h.got()) >= 3 })
	b.read(protocol.PurposeTreat)
	if p := b.of(s.ID).Problem; p != "it answered 500" {
		t.Error(p)
	}
	h.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	b.eventually("both arrived", func() bool { return b.of(s.ID).Waiting == 0 })
	all := h.got()
	for _, r := range all[:3] {
		if r.header.Get("webhook-id") != all[0].header.Get("webhook-id") || string(r.body) != string(all[0].body) {
			t.Error("an attempt differs from the first")
		}
	}
	if told := h.told(t); told[len(told)-1] != "3 access" || b.of(s.ID).Problem != "" {
		t.Error(told, b.of(s.ID))
	}
}

// A redirect is not followed, wherever it leads.
func TestWebhookRedirectsInward(t *testing.T) {
	inside, h := newHook(t), newHook(t)
	h.set(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside.URL+"/secret", http.StatusTemporaryRedirect)
	})
	b := newBench(t, Options{AllowHosts: []string{host(t, h.URL)}})
	s := b.webhook(h.URL)
	b.read(protocol.PurposeTreat)
	b.eventually("two attempts", func() bool { return len(h.got()) >= 2 })
	if len(inside.got()) > 0 {
		t.Fatal("the redirect was followed")
	}
	if p := b.of(s.ID).Problem; !strings.Contains(p, "redirect") {
		t.Error(p)
	}
}

// A name that resolves inward is refused when it is dialled, and an address that is inward is not taken on.
func TestWebhookLeadsInward(t *testing.T) {
	inside := newHook(t)
	b := newBench(t, Options{})
	_, port, _ := strings.Cut(host(t, inside.URL), ":")
	s := b.webhook("https://localhost:" + port + "/")
	b.read(protocol.PurposeTreat)
	b.eventually("it is refused", func() bool { return b.of(s.ID).Problem == "its address leads into a private network" })
	if len(inside.got()) > 0 {
		t.Fatal("it was reached")
	}
	for _, target := range []string{"https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data", "https://192.168.1.1:8443/",
		"https://[::ffff:10.0.0.1]/", "https://[fd00::1]/", "https://100.64.0.1/", "https://[64:ff9b::a00:1]/", "https://0.0.0.0/", "https://224.0.0.1/", "https://[fe80::1%25eth0]/"} {
		if _, err := b.subscribe(api.Subscribe{Way: WayWebhook, Target: target}); !errors.Is(err, ErrInward) {
			t.Errorf("%s: %v", target, err)
		}
	}
	for _, target := range []string{"", "http://example.com/", "ftp://example.com/", "https://user:pass@example.com/", "https:///x", "https://example.com/#x", "https://exa mple.com/",
		"https://example.com/\r\nHost: x", "javascript:alert(1)", "https://example.com/" + strings.Repeat("x", TargetBytesMax)} {
		if _, err := b.subscribe(api.Subscribe{Way: WayWebhook, Target: target}); !errors.Is(err, ErrTarget) {
			t.Errorf("%q: %v", target, err)
		}
	}
}

// names is a DNS server that answers every question for an address with what it is told to.
type names struct {
	mu    sync.Mutex
	to    netip.Addr
	asked int
}

// serveNames has everybody in this process ask a server of ours.
func serveNames(t *testing.T, to string) *names {
	n := &names{to: netip.MustParseAddr(to)}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	var served sync.WaitGroup
	served.Go(func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(n.answer(buf[:size]), from)
		}
	})
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = conn.Close()
		served.Wait()
	})
	return n
}

func (n *names) answer(question []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	end := 12 + bytes.IndexByte(question[12:], 0) + 5 // header, name, type and class (RFC 1035 §4.1)
	out := bytes.Clone(question[:end])
	out[2], out[3] = 0x81, 0x80
	clear(out[6:12])
	if n.asked++; question[end-3] == 1 { // an A record
		out[7] = 1
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		out = append(out, n.to.AsSlice()...)
	}
	return out
}

func (n *names) lead(to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.to = netip.MustParseAddr(to)
}

func (n *names) questions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// A name that leads outward whenever somebody looks and inward when it is dialled does not get in: what is judged is the address of the very
// connection, each time anew.
func TestWebhookResolvesAnew(t *testing.T) {
	inside := newHook(t)
	dns := serveNames(t, "93.184.215.14")
	b := newBench(t, Options{})
	_, port, _ := strings.Cut(host(t, inside.URL), ":")
	s := b.webhook("https://rebind.example:" + port + "/")
	if seen, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip4", "rebind.example"); err != nil || len(seen) != 1 || !public(seen[0]) {
		t.Fatal(seen, err)
	}
	dns.lead("127.0.0.1")
	looked := dns.questions()
	b.read(protocol.PurposeTreat)
	b.eventually("it is refused", func() bool { return b.of(s.ID).Problem == "its address leads into a private network" })
	b.eventually("it is refused again, after another look", func() bool { return dns.questions() >= looked+4 })
	if len(inside.got()) > 0 {
		t.Fatal("it was reached")
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{"8.8.8.8": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true, "127.0.0.1": false, "::1": false, "10.1.1.1": false, "172.16.0.1": false,
		"192.168.0.1": false, "169.254.1.1": false, "100.127.255.255": false, "0.0.0.0": false, "::": false, "255.255.255.255": false, "224.0.0.1": false, "ff02::1": false,
		"fe80::1": false, "fc00::1": false, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false, "192.0.0.8": false} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// Webhooks that hang hold up neither the ledger nor the others.
func TestHangingWebhooksHoldNobodyUp(t *testing.T) {
	good, bad := newHook(t), newHook(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	bad.set(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	b := newBench(t, Options{AllowHosts: []string{host(t, good.URL), host(t, bad.URL)}})
	var hanging api.Subscription
	for range SubscriptionsJournalMax - 1 {
		hanging = b.webhook(bad.URL)
	}
	b.webhook(good.URL)
	for range 50 { // each of these is a block: they would stand still with the notifier
		b.read(protocol.PurposeTreat)
	}
	b.eventually("the good one is told", func() bool { return len(good.told(t)) == 50 })
	b.eventually("the hanging one is given back", func() bool { return strings.HasPrefix(b.of(hanging.ID).Problem, "it did not answer in") })
	if b.of(hanging.ID).Waiting != 50 {
		t.Error("its notices are gone", b.of(hanging.ID))
	}
}

// The notifier is stopped while deliveries fail and entries come; the next one tells everything, in order, without a gap.
func TestRestartInTheMiddle(t *testing.T) {
	h := newHook(t)
	h.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	b := newBench(t, Options{AllowHosts: []string{host(t, h.URL)}})
	s := b.webhook(h.URL)
	for range 3 {
		b.read(protocol.PurposeTreat)
	}
	b.eventually("an attempt", func() bool { return len(h.got()) > 0 })
	b.stop()
	for range 4 {
		b.read(protocol.PurposeTreat)
	}
	before := len(h.got())
	h.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	b.start()
	b.eventually("all is told", func() bool {
		return len(h.got()) > before && b.of(s.ID).Waiting == 0 && b.of(s.ID).Delivered > 0 && lastSeq(h, t) == 8
	})
	seen := map[string]int{}
	for _, r := range h.got()[before:] {
		var d api.Delivery
		if err := json.Unmarshal(r.body, &d); err != nil {
			t.Fatal(err)
		}
		for _, n := range d.Notices {
			seen[fmt.Sprint(n.Seq)]++
		}
	}
	for seq := 2; seq <= 8; seq++ {
		if seen[fmt.Sprint(seq)] != 1 {
			t.Errorf("entry %d was told %d times", seq, seen[fmt.Sprint(seq)])
		}
	}
}

func lastSeq(h *hook, t *testing.T) (last uint64) {
	for _, r := range h.got() {
		var d api.Delivery
		if err := json.Unmarshal(r.body, &d); err != nil {
			t.Fatal(err)
		}
		for _, n := range d.Notices {
			last = max(last, n.Seq)
		}
	}
	return last
}

// What was removed stays removed, though the request that made it comes again; and there is a bound.
func TestRemovedAndBounded(t *testing.T) {
	h := newHook(t)
	b := newBench(t, Options{AllowHosts: []string{host(t, h.URL)}})
	ask := api.Subscribe{Way: WayWebhook, Target: h.URL, Nonce: make([]byte, NonceBytes)}
	first, err := b.subscribe(ask)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.subscribe(ask); err != nil || again.ID != first.ID || again.Secret != first.Secret {
		t.Error("the same request twice", again, err)
	}
	if err := b.n.Unsubscribe(protocol.JournalID{9}, protocol.PublicKey{}, first.ID); !errors.Is(err, ErrNone) {
		t.Error("another's subscription", err)
	}
	if err := b.n.Unsubscribe(b.alice.Journal(), protocol.PublicKey{}, first.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.subscribe(ask); !errors.Is(err, ErrRemoved) {
		t.Error("replayed after its removal", err)
	}
	if _, err := b.n.Subscribe(protocol.JournalID{9}, b.alice.Signer.Key, first.ID, ask, stands); !errors.Is(err, ErrRemoved) {
		t.Error("taken over by another journal", err)
	}
	for range SubscriptionsJournalMax {
		b.webhook(h.URL)
	}
	if _, err := b.subscribe(api.Subscribe{Way: WayWebhook, Target: h.URL}); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	b.read(protocol.PurposeTreat)
	b.eventually("all are told", func() bool { return len(h.told(t)) == SubscriptionsJournalMax })
	if err := b.n.Forget(b.alice.Journal()); err != nil {
		t.Fatal(err)
	}
	if all, err := b.n.Subscriptions(b.alice.Journal()); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	for _, bad := range []api.Subscribe{{Way: "pigeon", Target: h.URL}, {Way: WayWebhook, Target: h.URL, Kinds: []string{"gossip"}}, {Way: WayWebhook, Target: h.URL, Nonce: []byte{1}}, {Way: WayMail, Target: "a@b.example"}} {
		if _, err := b.subscribe(bad); err == nil {
			t.Errorf("%+v was taken on", bad)
		}
	}
}

// 410 ends a subscription; so do days without a success.
func TestGivenUp(t *testing.T) {
	h := newHook(t)
	h.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	b := newBench(t, Options{AllowHosts: []string{host(t, h.URL)}})
	s := b.webhook(h.URL)
	b.read(protocol.PurposeTreat)
	b.eventually("it is broken", func() bool { return b.of(s.ID).State == "broken" && b.of(s.ID).Waiting == 0 })
	h.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	late := b.webhook(h.URL)
	b.read(protocol.PurposeTreat)
	b.eventually("an attempt", func() bool { return b.of(late.ID).Problem != "" })
	if _, err := b.n.db.Exec("UPDATE subscriptions SET failing = failing - ? WHERE id = ?", quick.GiveUp.Milliseconds(), late.ID[:]); err != nil {
		t.Fatal(err)
	}
	b.eventually("it is given up", func() bool { return b.of(late.ID).State == "broken" })
}
