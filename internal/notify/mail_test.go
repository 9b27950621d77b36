package notify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/mail"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// relay is a real SMTP server in this process.
type relay struct {
	*smtp.Server
	address string
	roots   *x509.CertPool
	refuse  func(to string) error

	mu    sync.Mutex
	mails []sent
	users []string
}

type sent struct {
	to     string
	secure bool
	raw    []byte
}

type session struct {
	r      *relay
	secure bool
	to     string
}

func (r *relay) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, secure := c.TLSConnectionState()
	return &session{r: r, secure: secure}, nil
}

func (s *session) Reset()                               {}
func (s *session) Logout() error                        { return nil }
func (s *session) Mail(string, *smtp.MailOptions) error { return nil }
func (s *session) AuthMechanisms() []string             { return []string{sasl.Plain} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "relay password" {
			return smtp.ErrAuthFailed
		}
		s.r.mu.Lock()
		defer s.r.mu.Unlock()
		s.r.users = append(s.r.users, user)
		return nil
	}), nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.r.refuse != nil {
		if err := s.r.refuse(to); err != nil {
			return err
		}
	}
	s.to = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.mails = append(s.r.mails, sent{to: s.to, secure: s.secure, raw: raw})
	return err
}

func (r *relay) got() []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]sent(nil), r.mails...)
}

func newRelay(t testing.TB, secure bool, refuse func(string) error) *relay {
	t.Helper()
	r := &relay{refuse: refuse}
	r.Server = smtp.NewServer(r)
	r.Domain, r.AllowInsecureAuth, r.ErrorLog = "relay.example", true, discard{}
	if secure {
		var certificate tls.Certificate
		certificate, r.roots = certified(t)
		r.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	go func() { _ = r.Serve(l) }()
	t.Cleanup(func() { _ = r.Close() })
	return r
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

// certified is a certificate for 127.0.0.1 with its root.
func certified(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func (r *relay) options() Options {
	return Options{Mail: Mail{Relay: r.address, From: "journal@northside.example", Name: "Northside General Hospital", User: "node", Password: "relay password", Roots: r.roots}}
}

var codeIn = regexp.MustCompile(`(?m)^ {4}([0-9A-Z]{4}-[0-9A-Z]{4})\r?$`)

// A mail address is told nothing before its code comes back; then it is told, over TLS, with nothing in it that says what happened to what.
func TestMail(t *testing.T) {
	r := newRelay(t, true, nil)
	b := newBench(t, r.options())
	s, err := b.subscribe(api.Subscribe{Way: WayMail, Target: "ada@example.org"})
	if err != nil || s.State != "unconfirmed" || s.Secret != "" {
		t.Fatal(s, err)
	}
	b.eventually("the code comes", func() bool { return len(r.got()) == 1 })
	b.read(protocol.PurposeBreakGlass)
	code := codeIn.FindSubmatch(r.got()[0].raw)
	if code == nil {
		t.Fatalf("%s", r.got()[0].raw)
	}
	if err := b.n.Confirm(b.alice.Journal(), s.ID, "0000-0000"); !errors.Is(err, ErrCode) {
		t.Error(err)
	}
	if err := b.n.Confirm(protocol.JournalID{9}, s.ID, string(code[1])); !errors.Is(err, ErrNone) {
		t.Error("confirmed by another journal", err)
	}
	if err := b.n.Confirm(b.alice.Journal(), s.ID, strings.ToLower(string(code[1]))); err != nil {
		t.Fatal(err)
	}
	b.read(protocol.PurposeBreakGlass)
	b.read(protocol.PurposeBreakGlass)
	b.eventually("they are told", func() bool { return b.of(s.ID).Waiting == 0 && b.of(s.ID).Delivered > 0 })
	for i, m := range r.got() {
		if !m.secure || m.to != "ada@example.org" {
			t.Errorf("mail %d: to %q, secure: %v", i, m.to, m.secure)
		}
		parsed, err := mail.ReadMessage(bytes.NewReader(m.raw))
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Header.Get("Auto-Submitted") != "auto-generated" || parsed.Header.Get("From") != `"Northside General Hospital" <journal@northside.example>` || parsed.Header.Get("Message-ID") == "" {
			t.Errorf("mail %d: %v", i, parsed.Header)
		}
		for _, no := range []string{"http", b.alice.Journal().String(), fmt.Sprintf("%x", b.doctor.Signer.ID), "BTG"} {
			if bytes.Contains(m.raw, []byte(no)) {
				t.Errorf("mail %d says %q", i, no)
			}
		}
	}
	if last := r.got()[1]; !bytes.Contains(last.raw, []byte("Somebody used your emergency access. Open your wallet")) {
		t.Errorf("%s", last.raw)
	}
	if len(r.users) == 0 || r.users[0] != "node" {
		t.Error("it did not log in", r.users)
	}
}

// Five wrong codes, and the right one is of no use either.
func TestCodeIsBounded(t *testing.T) {
	r := newRelay(t, true, nil)
	b := newBench(t, r.options())
	s, err := b.subscribe(api.Subscribe{Way: WayMail, Target: "ada@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	b.eventually("the code comes", func() bool { return len(r.got()) == 1 })
	for range confirmTriesMax {
		if err := b.n.Confirm(b.alice.Journal(), s.ID, "WRONG"); !errors.Is(err, ErrCode) {
			t.Fatal(err)
		}
	}
	right := string(codeIn.FindSubmatch(r.got()[0].raw)[1])
	if err := b.n.Confirm(b.alice.Journal(), s.ID, right); !errors.Is(err, ErrConfirmed) {
		t.Error("guessing goes on", err)
	}
}

// Ordinary notices are gathered; the mail waits for its time, an urgent one does not.
func TestMailsAreGathered(t *testing.T) {
	r := newRelay(t, false, nil)
	o := r.options()
	o.Mail.User = ""
	b := newBench(t, o)
	s, err := b.subscribe(api.Subscribe{Way: WayMail, Target: "ada@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	b.eventually("the code comes", func() bool { return len(r.got()) == 1 })
	if err := b.n.Confirm(b.alice.Journal(), s.ID, b.n.code(s.ID)); err != nil {
		t.Fatal(err)
	}
	b.stop()
	quick.Mail = time.Hour
	defer func() { quick.Mail = time.Millisecond }()
	b.start()
	b.read(protocol.PurposeTreat)
	b.eventually("the first goes at once", func() bool { return len(r.got()) == 2 && b.of(s.ID).Delivered > 0 })
	for range 7 {
		b.read(protocol.PurposeTreat)
	}
	b.eventually("seven wait", func() bool { return b.of(s.ID).Waiting == 7 })
	if len(r.got()) != 2 {
		t.Error("they were not gathered")
	}
	b.read(protocol.PurposeBreakGlass)
	b.eventually("the urgent one takes them along", func() bool { return len(r.got()) == 3 && b.of(s.ID).Waiting == 0 })
	if raw := r.got()[2].raw; !bytes.Contains(raw, []byte("6 more like this")) || !bytes.Contains(raw, []byte("Subject: Please open your wallet")) {
		t.Errorf("%s", raw)
	}
}

// The password does not go in the open, a relay without TLS is refused where the operator insists, an address that the relay refuses for
// good is given up.
func TestRelays(t *testing.T) {
	open := newRelay(t, false, func(to string) error {
		if strings.HasPrefix(to, "nobody@") {
			return &smtp.SMTPError{Code: 550, Message: "no such user"}
		}
		return nil
	})
	must := open.options()
	must.Mail.MustTLS = true
	if err := must.Mail.send(t.Context(), "ada@example.org", []byte("x")); !errors.Is(err, errNoTLS) {
		t.Error(err)
	}
	far := open.options().Mail
	_, port, _ := net.SplitHostPort(open.address)
	far.Relay = "LOCALHOST:" + port // a name that is not known for this very machine
	if err := far.send(t.Context(), "ada@example.org", []byte("x")); err == nil || !strings.Contains(err.Error(), "unencrypted") || len(open.users) > 0 {
		t.Error("the password went in the open", err, open.users)
	}
	o := open.options()
	o.Mail.User = ""
	b := newBench(t, o)
	s, err := b.subscribe(api.Subscribe{Way: WayMail, Target: "nobody@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	b.eventually("it is given up", func() bool { return b.of(s.ID).State == "broken" })
	if p := b.of(s.ID).Problem; strings.Contains(p, "no such user") || p == "" {
		t.Error(p)
	}
	dead := newBench(t, Options{Mail: Mail{Relay: "127.0.0.1:1", From: "a@b.example"}})
	if s, err = dead.subscribe(api.Subscribe{Way: WayMail, Target: "ada@example.org"}); err != nil {
		t.Fatal(err)
	}
	dead.eventually("it is tried again", func() bool { return dead.of(s.ID).Problem != "" && dead.of(s.ID).State == "unconfirmed" })
}

// A subscription with an address or a kind that would write headers of its own is not taken on, and no mail comes of it; nor does anything of an address
// that got into the database some other way.
func TestNoHeadersByMail(t *testing.T) {
	relay := newRelay(t, false, func(string) error { return nil })
	o := relay.options()
	o.Mail.User = ""
	b := newBench(t, o)
	const injected = "\r\nBcc: all@example.org"
	for _, bad := range []api.Subscribe{
		{Way: WayMail, Target: "ada@example.org" + injected}, {Way: WayMail, Target: "ada@example.org\nBcc: all@example.org"}, {Way: WayMail, Target: injected + "@example.org"},
		{Way: WayMail, Target: "ada@example.org", Kinds: []string{"access" + injected}}, {Way: WayMail, Target: "ada@example.org", Kinds: []string{injected}},
		{Way: WayMail + injected, Target: "ada@example.org"},
	} {
		if s, err := b.subscribe(bad); err == nil {
			t.Errorf("%q was taken on: %+v", bad, s)
		}
	}
	good, err := b.subscribe(api.Subscribe{Way: WayMail, Target: "ada@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	b.eventually("the code is sent", func() bool { return len(relay.got()) == 1 })
	if err := b.n.options.Mail.send(t.Context(), "ada@example.org"+injected, b.n.message("ada@example.org", "s", "b", "u")); err == nil {
		t.Error("the relay was given a recipient of two lines")
	}
	for _, m := range relay.got() {
		if strings.Contains(m.to+string(m.raw), "Bcc") || strings.Contains(m.to+string(m.raw), "all@") {
			t.Errorf("a mail says %q", m.raw)
		}
	}
	if b.of(good.ID).State != "unconfirmed" || len(relay.got()) != 1 {
		t.Error(b.of(good.ID), len(relay.got()))
	}
}

// Nothing that is no plain address gets near a mail's headers.
func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "ada", "@example.org", "ada@", "ada@example", "ada@127.0.0.1", "ada@example.org\r\nBcc: all@example.org", "ada@example.org,eve@example.org",
		"Ada <ada@example.org>", `"a b"@example.org`, "ada@[10.0.0.1]", "ada@exa mple.org", strings.Repeat("a", 65) + "@example.org", "a@" + strings.Repeat("a.", 130) + "org", "ä@example.org", "a\x00@example.org"} {
		if err := checkAddress(bad); !errors.Is(err, ErrTarget) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"ada@example.org", "ada.lovelace+journal@mail.example.org", "a_b-c@x.y"} {
		if err := checkAddress(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []Mail{{Relay: "nohost"}, {Relay: "h:25", From: "nobody"}, {Relay: "h:25", From: "a@b.c", Name: "x\r\ny"}} {
		if bad.check() == nil {
			t.Errorf("%+v", bad)
		}
	}
}
