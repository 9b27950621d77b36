package api

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// A signed question: the header `Authorization: Anamnesis <token>`, where the token is base64url of the canonical CBOR of query. It holds
// for one method and one request URI on one network, and for QueryMillisMax around its time.

// QueryMillisMax is how far a question's time may be from the gateway's clock.
const QueryMillisMax = 60_000

const scheme = "Anamnesis "

type query struct {
	_         struct{} `cbor:",toarray"`
	Signer    protocol.Signer
	Time      uint64 // UTC ms
	Signature []byte
}

// ErrUnauthorised says that a question is not signed, or not rightly.
var ErrUnauthorised = errors.New("the request is not signed, or its signature does not hold")

// Authorise makes the header's value for a question. uri is the path with its query string, as in the request line.
func Authorise(chain, method, uri string, by protocol.Signer, now uint64, sign func(message []byte) []byte) string {
	q := query{Signer: by, Time: now, Signature: sign(queryMessage(chain, method, uri, now, by))}
	return scheme + base64.RawURLEncoding.EncodeToString(protocol.Encode(q))
}

// Asker checks a question's header and returns who signed it. That the key is the signer's current one is for the ledger to say. Errors
// wrap ErrUnauthorised.
func Asker(header, chain, method, uri string, now uint64) (protocol.Signer, error) {
	fail := func(why string) (protocol.Signer, error) {
		return protocol.Signer{}, fmt.Errorf("%w: %s", ErrUnauthorised, why)
	}
	token, ok := strings.CutPrefix(header, scheme)
	if !ok || len(token) > 512 {
		return fail("sign the request with a wallet or an organisation's key")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return fail("the token is not base64url")
	}
	var q query
	if err := protocol.Decode(raw, &q); err != nil {
		return fail("the token is malformed")
	}
	if q.Time > now+QueryMillisMax || q.Time+QueryMillisMax < now {
		return fail("its time is more than a minute off; check this computer's clock")
	}
	if !protocol.VerifySignature(q.Signer.Key, queryMessage(chain, method, uri, q.Time, q.Signer), q.Signature) {
		return fail("the signature does not verify")
	}
	return q.Signer, nil
}

func queryMessage(chain, method, uri string, now uint64, by protocol.Signer) []byte {
	d := protocol.Digest("anamnesis/query/v1", []byte(chain), []byte(method), []byte(uri), protocol.Encode(now), protocol.Encode(by))
	return d[:]
}
