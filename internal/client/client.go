// Package client is what a program does with a network through a gateway's HTTP API: submit actions, write records, ask to read and read,
// show a journal, prove it. The command line, the demo and the benchmarks stand on it. All cryptography happens here, on the side of
// whoever holds the keys; the gateway sees envelopes and ciphertext.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Client talks to one gateway. It is safe for concurrent use.
type Client struct {
	Network api.Network      // as the gateway described it when Dial was called
	Genesis protocol.Genesis // decoded from Network

	base   string
	http   *http.Client
	keys   *threshold.Keys
	policy []byte // the trust root; see Trust
}

// Trust makes a trust policy (C2SP tlog-policy text), from a wallet or a key file, what the client holds the gateway's proofs against.
// Without it, the policy that follows from the genesis that the gateway showed first is trusted.
func (c *Client) Trust(policy string) { c.policy = []byte(policy) }

// Identity is somebody who signs: a patient's journal keys, a member, a practitioner.
type Identity interface {
	Signer() protocol.Signer
	Sign(message []byte) []byte
}

// journalIdentity and actorIdentity make wallet's keys Identities.
type (
	journalIdentity struct{ *wallet.JournalKeys }
	actorIdentity   struct{ *wallet.Actor }
)

func (j journalIdentity) Sign(m []byte) []byte { return j.Signing.Sign(m) }
func (a actorIdentity) Sign(m []byte) []byte   { return a.Key.Sign(m) }

// Patient is the identity that controls a journal.
func Patient(k *wallet.JournalKeys) Identity { return journalIdentity{k} }

// Actor is a member's or practitioner's identity.
func Actor(a *wallet.Actor) Identity { return actorIdentity{a} }

// Errors of talking to a network.
var (
	ErrUnreachable = errors.New("the gateway cannot be reached")
	ErrNotReady    = errors.New("the network is still generating the custodians' key; try again in a few seconds")
	ErrAnswer      = errors.New("the gateway's answer makes no sense")
)

const (
	answerBytesMax = 64 << 20
	requestTimeout = 60 * time.Second
	notAfterMillis = 2 * 60_000 // how long an envelope may be on its way
)

// Dial asks a gateway (http://host:port) about its network. chain, if not empty, must be the network's id.
func Dial(ctx context.Context, gateway, chain string) (*Client, error) {
	if !strings.Contains(gateway, "://") {
		gateway = "http://" + gateway
	}
	c := &Client{base: strings.TrimSuffix(gateway, "/"), http: &http.Client{Timeout: requestTimeout,
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxIdleConns: 1024, IdleConnTimeout: time.Minute,
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}}}
	if err := c.refresh(ctx); err != nil {
		return nil, err
	}
	if chain != "" && c.Network.Chain != chain {
		return nil, fmt.Errorf("%w: this gateway serves %q, the wallet belongs to %q", protocol.ErrWrongChain, c.Network.Chain, chain)
	}
	return c, nil
}

// refresh reads /v1/network.
func (c *Client) refresh(ctx context.Context) error {
	if err := c.get(ctx, nil, api.PathNetwork, &c.Network); err != nil {
		return err
	}
	if err := protocol.Decode(c.Network.Genesis, &c.Genesis); err != nil {
		return fmt.Errorf("%w: genesis: %w", ErrAnswer, err)
	}
	if c.Genesis.Chain != c.Network.Chain {
		return fmt.Errorf("%w: genesis of another network", ErrAnswer)
	}
	if c.policy == nil {
		derived, err := proof.NetworkPolicy(c.Genesis)
		if err == nil {
			c.policy, err = derived.Text()
		}
		if err != nil {
			return fmt.Errorf("%w: genesis: %w", ErrAnswer, err)
		}
	}
	if c.Network.Generation == 0 {
		c.keys = nil
		return nil
	}
	keys, err := threshold.ParseKeys(c.Network.Keys)
	if err != nil {
		return fmt.Errorf("%w: custodians' keys: %w", ErrAnswer, err)
	}
	keys.Public.Precompute()
	c.keys = keys
	return nil
}

// Ready waits until the custodians' key is there, so that records can be written.
func (c *Client) Ready(ctx context.Context) error {
	for c.keys == nil {
		select {
		case <-ctx.Done():
			return ErrNotReady
		case <-time.After(100 * time.Millisecond):
		}
		if err := c.refresh(ctx); err != nil {
			return err
		}
	}
	return nil
}

func now() uint64 { return uint64(time.Now().UnixMilli()) }

// path fills a pattern's placeholders, in order.
func path(pattern string, values ...string) string {
	for _, v := range values {
		i, j := strings.IndexByte(pattern, '{'), strings.IndexByte(pattern, '}')
		pattern = pattern[:i] + url.PathEscape(v) + pattern[j+1:]
	}
	return pattern
}

// request makes a request, signed if by is not nil. uri is path and query.
func (c *Client) request(ctx context.Context, by Identity, method, uri, contentType string, body io.Reader, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+uri, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", contentType)
	}
	if by != nil {
		req.Header.Set("Authorization", api.Authorise(c.Network.Chain, method, uri, by.Signer(), now(), by.Sign))
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w at %s: is `anamnesis dev` running there?", ErrUnreachable, c.base)
	}
	if res.StatusCode >= 300 {
		defer func() { _ = res.Body.Close() }()
		p := &api.Problem{Status: res.StatusCode, Title: res.Status}
		_ = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(p)
		return nil, p
	}
	return res, nil
}

func (c *Client) json(ctx context.Context, by Identity, method, uri string, in, out any) error {
	var body io.Reader
	var size int64
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, size = bytes.NewReader(raw), int64(len(raw))
	}
	res, err := c.request(ctx, by, method, uri, "application/json", body, size)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, answerBytesMax)).Decode(out); err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, by Identity, uri string, out any) error {
	return c.json(ctx, by, http.MethodGet, uri, nil, out)
}

func (c *Client) bytes(ctx context.Context, by Identity, uri string, most int64) ([]byte, error) {
	res, err := c.request(ctx, by, http.MethodGet, uri, "", nil, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%w: more than %d bytes", ErrAnswer, most)
	}
	return b, err
}

// Sign makes an envelope of actions.
func (c *Client) Sign(by Identity, journal protocol.JournalID, actions ...protocol.Action) ([]byte, protocol.ActionID) {
	b := protocol.Body{Version: protocol.Version, Chain: c.Network.Chain, NotAfter: now() + notAfterMillis, Signer: by.Signer(), Journal: journal,
		Actions: protocol.Pack(actions...)}
	_, _ = rand.Read(b.Nonce[:])
	return protocol.Sign(b, by.Sign)
}

// Submit executes envelopes, each by itself; results come in their order.
func (c *Client) Submit(ctx context.Context, envelopes ...[]byte) ([]api.Result, error) {
	var out api.Results
	if err := c.json(ctx, nil, http.MethodPost, api.PathActions, api.Submission{Envelopes: envelopes}, &out); err != nil {
		return nil, err
	}
	if len(out.Results) != len(envelopes) {
		return nil, fmt.Errorf("%w: %d results for %d envelopes", ErrAnswer, len(out.Results), len(envelopes))
	}
	return out.Results, nil
}

// Do signs actions, executes them as one envelope, and makes a rejection an error (*protocol.Rejection).
func (c *Client) Do(ctx context.Context, by Identity, journal protocol.JournalID, actions ...protocol.Action) (api.Result, error) {
	envelope, _ := c.Sign(by, journal, actions...)
	out, err := c.Submit(ctx, envelope)
	if err != nil {
		return api.Result{}, err
	}
	if !out[0].OK {
		return out[0], &protocol.Rejection{Reason: out[0].Reason}
	}
	return out[0], nil
}

// Health asks how the node is.
func (c *Client) Health(ctx context.Context) (h api.Health, err error) {
	return h, c.get(ctx, nil, api.PathHealth, &h)
}

// Members lists the organisations.
func (c *Client) Members(ctx context.Context) (out []api.Member, err error) {
	return out, c.get(ctx, nil, api.PathMembers, &out)
}

// Practitioner asks about a practitioner.
func (c *Client) Practitioner(ctx context.Context, id protocol.PractitionerID) (out api.Practitioner, err error) {
	return out, c.get(ctx, nil, path(api.PathPractitioner, id.String()), &out)
}

// Checkpoint gets a signed checkpoint of at least size entries.
func (c *Client) Checkpoint(ctx context.Context, size uint64) ([]byte, error) {
	return c.bytes(ctx, nil, fmt.Sprintf("%s?size=%d", api.PathCheckpoint, size), 64<<10)
}
