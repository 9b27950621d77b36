package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
)

// inward are address ranges that no webhook may lead into, beyond those that package netip names: they are another network's inside, or
// carry an IPv4 address that may be (RFC 6890 and what it lists).
var inward = func() (out []netip.Prefix) {
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
	} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}()

// public tells whether an address is on the open Internet.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.Zone() != "" {
		return false
	}
	for _, p := range inward {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// dialPublic is net.Dialer.Control: it sees the address that a connection is about to go to, after the name was resolved, so that no name
// can lead inward by what it resolves to now.
func dialPublic(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !public(at.Addr()) {
		return ErrInward
	}
	return nil
}

// webhookClient makes the client of webhooks: no proxy, no redirect, no connection that stays, bounds on everything.
func webhookClient(onlyPublic bool, most time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: most / 2}
	if onlyPublic {
		dialer.Control = dialPublic
	}
	return &http.Client{Timeout: most,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: most / 2, ResponseHeaderTimeout: most,
			MaxResponseHeaderBytes: headerBytesMax, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}}
}

// post makes one delivery to a webhook.
func (n *Notifier) post(ctx context.Context, r row, notices []api.Notice) error {
	u, err := n.webhook(r.target)
	if err != nil { // the operator's list may have changed
		return &failure{words: "its address is not acceptable any more", final: true, cause: err}
	}
	body, err := json.Marshal(api.Delivery{Subscription: r.id, Notices: notices})
	if err != nil {
		return err
	}
	client := n.public
	if n.allowed(u) {
		client = n.inward
	}
	// The attempt in its own time: a node that stops does not wait for a webhook that hangs.
	ctx, cancel := context.WithTimeout(ctx, n.pace.Wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = n.headers(r, notices, body)
	res, err := client.Do(req)
	if err != nil {
		return n.unreachable(err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, answerBytesMax))
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return nil
	case res.StatusCode == http.StatusGone:
		return &failure{words: "it answered that it is gone", final: true}
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return &failure{words: "it answered with a redirect, which is not followed"}
	}
	return &failure{words: "it answered " + strconv.Itoa(res.StatusCode)}
}

// headers are those of Standard Webhooks: an id that stays the same through all attempts of a delivery, the time of this one, and HMAC-SHA-256
// of id, time and body.
func (n *Notifier) headers(r row, notices []api.Notice, body []byte) http.Header {
	id := fmt.Sprintf("%x-%d-%d", r.id[:8], notices[0].Seq, notices[len(notices)-1].Seq)
	at := strconv.FormatInt(n.clock().Unix(), 10)
	m := hmac.New(sha256.New, n.secret(r.id))
	m.Write([]byte(id + "." + at + "."))
	m.Write(body)
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "Anamnesis")
	h["webhook-id"] = []string{id}
	h["webhook-timestamp"] = []string{at}
	h["webhook-signature"] = []string{"v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))}
	return h
}

// unreachable puts into words why a webhook was not reached, without what a name resolved to.
func (n *Notifier) unreachable(err error) error {
	var dns *net.DNSError
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	words := "it could not be reached"
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL
	}
	switch {
	case errors.Is(err, ErrInward):
		words = "its address leads into a private network"
	case errors.As(err, &dns):
		words = "its name does not resolve"
	case errors.As(err, &certificate), errors.As(err, &authority):
		words = "its certificate does not hold"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		words = "it did not answer in " + n.pace.Wait.String()
	}
	return &failure{words: words, cause: err}
}
