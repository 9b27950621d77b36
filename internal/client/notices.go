package client

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// eventBytesMax bounds a line of a stream.
const eventBytesMax = 64 << 10

// Events listens to a journal's notices from a place on (nil: what happens next) until the stream ends, fn returns an error, or ctx is done.
// A stream that ends is no error: call again, from the place after the last notice.
func (c *Client) Events(ctx context.Context, k *wallet.JournalKeys, from *uint64, fn func(api.Notice) error) error {
	uri := path(api.PathEvents, k.Journal.String())
	if from != nil {
		uri += "?from=" + strconv.FormatUint(*from, 10)
	}
	lasting := *c
	lasting.http = &http.Client{Transport: c.http.Transport} // without the time limit of questions
	res, err := lasting.request(ctx, Patient(k), http.MethodGet, uri, "", nil, 0)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, eventBytesMax)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var n api.Notice
		if err := json.Unmarshal([]byte(data), &n); err != nil {
			return fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		if err := fn(n); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Subscribe asks the gateway to take the journal's notices to a webhook or mail address.
func (c *Client) Subscribe(ctx context.Context, k *wallet.JournalKeys, way, target string, kinds []string) (out api.Subscription, err error) {
	ask := api.Subscribe{Way: way, Target: target, Kinds: append([]string{}, kinds...), Nonce: make([]byte, 16)}
	_, _ = rand.Read(ask.Nonce)
	raw, err := json.Marshal(ask)
	if err != nil {
		return out, err
	}
	id := protocol.Hash(sha256.Sum256(raw))
	return out, c.json(ctx, Patient(k), http.MethodPut, path(api.PathSubscription, k.Journal.String(), id.String()), json.RawMessage(raw), &out)
}

// Subscriptions lists where this gateway takes the journal's notices.
func (c *Client) Subscriptions(ctx context.Context, k *wallet.JournalKeys) (out []api.Subscription, err error) {
	return out, c.get(ctx, Patient(k), path(api.PathSubscriptions, k.Journal.String()), &out)
}

// ConfirmSubscription tells the code that came by mail.
func (c *Client) ConfirmSubscription(ctx context.Context, k *wallet.JournalKeys, id protocol.Hash, code string) error {
	return c.json(ctx, Patient(k), http.MethodPut, path(api.PathConfirmation, k.Journal.String(), id.String()), api.Confirmation{Code: code}, nil)
}

// Unsubscribe removes a subscription.
func (c *Client) Unsubscribe(ctx context.Context, k *wallet.JournalKeys, id protocol.Hash) error {
	return c.json(ctx, Patient(k), http.MethodDelete, path(api.PathSubscription, k.Journal.String(), id.String()), nil, nil)
}
