package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
)

// Mail is the operator's relay (RFC 5321), which takes mails to wherever they go.
type Mail struct {
	Relay    string         // host:port; empty: no mail
	From     string         // the address that mails come from
	Name     string         // who sends, as people know them: the member
	User     string         // for the relay, if it asks; never sent without TLS but to this very machine
	Password string         //
	MustTLS  bool           // refuse a relay that does not offer STARTTLS; else it is used when offered
	Roots    *x509.CertPool // nil: the system's
}

// check finds what cannot work at the start, not at the first mail.
func (m Mail) check() error {
	if m.Relay == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(m.Relay)
	if err != nil || host == "" {
		return errors.New("notify: the mail relay is given as host:port")
	}
	if err := checkAddress(m.From); err != nil {
		return fmt.Errorf("notify: the sender: %w", err)
	}
	if strings.ContainsFunc(m.Name, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) || len(m.Name) > 64 {
		return errors.New("notify: the sender's name is plain ASCII of at most 64 bytes")
	}
	return nil
}

// sendMail takes notices to a mail address: one line for each kind.
func (n *Notifier) sendMail(ctx context.Context, r row, notices []api.Notice) error {
	var lines bytes.Buffer
	urgent := false
	count, first := map[string]int{}, []api.Notice{}
	for _, one := range notices {
		if count[one.Kind]++; count[one.Kind] == 1 {
			first = append(first, one)
		}
		urgent = urgent || one.Urgent
	}
	for _, one := range first {
		at := time.UnixMilli(int64(one.Time)).UTC().Format("2 January 2006, 15:04 UTC")
		fmt.Fprintf(&lines, "- %s\r\n  (%s", one.Text, at)
		if more := count[one.Kind] - 1; more > 0 {
			fmt.Fprintf(&lines, "; %d more like this", more)
		}
		lines.WriteString(")\r\n")
	}
	subject := "Something happened in your journal"
	if urgent {
		subject = "Please open your wallet: something happened in your journal"
	}
	body := "Your journal tells you:\r\n\r\n" + lines.String() + "\r\n" +
		"This mail says no more on purpose: it could be read on its way. Open your\r\nwallet yourself to see everything.\r\n\r\n" +
		"We never send links, and never ask for your words or a password.\r\n"
	unique := fmt.Sprintf("%x-%d-%d", r.id[:], notices[0].Seq, notices[len(notices)-1].Seq)
	return n.mail(ctx, r.target, subject, body, unique)
}

// sendCode asks the owner of an address whether they want to be told there.
func (n *Notifier) sendCode(ctx context.Context, r row) error {
	code := n.code(r.id)
	body := "Somebody wants to be told at this address when something happens in their\r\njournal. If that was you, enter this code in your wallet within a day:\r\n\r\n    " +
		code[:4] + "-" + code[4:] + "\r\n\r\nIf it was not you, do nothing: no further mail will come.\r\n"
	return n.mail(ctx, r.target, "Your code: is this address yours?", body, fmt.Sprintf("%x-code", r.id[:]))
}

// mail sends one message. unique names it: sent twice, it is recognisably the same.
func (n *Notifier) mail(ctx context.Context, to, subject, body, unique string) error {
	m := n.options.Mail
	if m.Relay == "" {
		return &failure{words: "this gateway sends no mail any more"}
	}
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	err := m.send(ctx, to, n.message(to, subject, body, unique))
	if err == nil {
		return nil
	}
	var said *textproto.Error
	if errors.As(err, &said) && said.Code >= 500 && said.Code != 530 && said.Code != 535 { // but for the relay's own demands
		return &failure{words: "the mail was refused for good: is the address right?", final: true, cause: fmt.Errorf("smtp %d", said.Code)}
	}
	return &failure{words: "the mail could not be handed over", cause: err}
}

func (n *Notifier) message(to, subject, body, unique string) []byte {
	m := n.options.Mail
	_, domain, _ := strings.Cut(m.From, "@")
	sum := sha256.Sum256([]byte(unique))
	from := m.From
	if m.Name != "" {
		from = `"` + m.Name + `" <` + m.From + ">"
	}
	var b bytes.Buffer
	for _, h := range [][2]string{{"From", from}, {"To", to}, {"Subject", subject}, {"Date", n.clock().UTC().Format(time.RFC1123Z)},
		{"Message-ID", fmt.Sprintf("<%x@%s>", sum[:16], domain)}, {"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=us-ascii"}} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// errNoTLS says that the relay does not offer what the operator insists on.
var errNoTLS = errors.New("the relay does not offer STARTTLS")

// send speaks SMTP with the relay until it has taken the message, in the context's time.
func (m Mail) send(ctx context.Context, to string, message []byte) (err error) {
	host, _, err := net.SplitHostPort(m.Relay)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Relay)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // whatever it does: it ends with the context
	defer stop()
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer func() { _ = c.Close() }()
	_, domain, _ := strings.Cut(m.From, "@")
	if err := c.Hello(domain); err != nil {
		return err
	}
	if offered, _ := c.Extension("STARTTLS"); offered {
		if err := c.StartTLS(&tls.Config{ServerName: host, RootCAs: m.Roots, MinVersion: tls.VersionTLS12}); err != nil {
			return err
		}
	} else if m.MustTLS {
		return errNoTLS
	}
	if m.User != "" {
		if err := c.Auth(smtp.PlainAuth("", m.User, m.Password, host)); err != nil { // it refuses to speak in the open
			return err
		}
	}
	if err := c.Mail(m.From); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(message); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the relay has taken it; that it hangs up rudely changes nothing
	return nil
}
