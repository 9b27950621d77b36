package did

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// ErrUnreachable says that a did:web's server does not give the document.
var ErrUnreachable = errors.New("the DID document cannot be fetched")

const resolveTimeout = 10 * time.Second

// resolver follows no redirect: a did:web names one server, and no other speaks for it.
var resolver = &http.Client{Timeout: resolveTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// Resolve gives the document of a DID: of a did:key by itself, of a did:web from its server. The document is checked to be of this DID,
// with keys that can be read. Errors wrap ErrMalformed, ErrUnreachable or ErrDocument.
func Resolve(ctx context.Context, id string) (Document, error) {
	if strings.HasPrefix(id, keyPrefix) {
		key, err := ParseKey(id)
		if err != nil {
			return Document{}, err
		}
		return KeyDocument(key), nil
	}
	at, err := URL(id)
	if err != nil {
		return Document{}, err
	}
	raw, err := fetch(ctx, at)
	if err != nil {
		return Document{}, err
	}
	var d Document
	if err := json.Unmarshal(raw, &d); err != nil {
		return Document{}, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return d, d.check(id)
}

func fetch(ctx context.Context, at string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	req.Header.Set("Accept", MediaType+", application/did+json, application/json")
	res, err := resolver.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s answered %s", ErrUnreachable, at, res.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, DocumentBytesMax+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	case len(raw) > DocumentBytesMax:
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrDocument, DocumentBytesMax)
	}
	return raw, nil
}
