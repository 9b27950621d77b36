package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Nodes talk to each other over HTTPS. Both sides show a certificate over their Ed25519 peer key; what counts is not the certificate but
// that the key is the one in the registry: of the member dialled, or of any member that is not removed. Key exchange is hybrid
// (X25519MLKEM768, crypto/tls's default).

// certificate is a self-made certificate over a peer key.
func certificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "anamnesis node"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

var errPeerKey = errors.New("the other node's key is not in the registry")

// peerKey is the key that a TLS peer proved.
func peerKey(state tls.ConnectionState) (protocol.PublicKey, error) {
	if len(state.PeerCertificates) != 1 {
		return protocol.PublicKey{}, errPeerKey
	}
	k, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || len(k) != ed25519.PublicKeySize {
		return protocol.PublicKey{}, errPeerKey
	}
	return protocol.PublicKey(k), nil
}

// memberByPeerKey finds the member, not removed, whose node has the key.
func (n *Node) memberByPeerKey(key protocol.PublicKey) (registry.MemberRow, error) {
	view, err := n.ledger.View()
	if err != nil {
		return registry.MemberRow{}, err
	}
	defer view.Close()
	rows, err := registry.Members(view)
	if err != nil {
		return registry.MemberRow{}, err
	}
	for _, r := range rows {
		if r.Member.Node.Peer == key && !r.Removed {
			return r, nil
		}
	}
	return registry.MemberRow{}, errPeerKey
}

// peer is another member's node, as a client sees it. It implements vault.Peer.
type peer struct {
	id   protocol.MemberID
	base string
	http *http.Client
}

func (n *Node) newPeer(id protocol.MemberID, key protocol.PublicKey, address string) (*peer, error) {
	cert, err := certificate(n.keys.Peer)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, //nolint:gosec // the key is checked below, against the registry
		VerifyConnection: func(s tls.ConnectionState) error {
			if got, err := peerKey(s); err != nil || got != key {
				return errPeerKey
			}
			return nil
		}}
	return &peer{id: id, base: "https://" + address + "/peer/v1", http: &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 16, IdleConnTimeout: 5 * time.Minute,
			TLSHandshakeTimeout: 5 * time.Second, DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

const (
	peerJSONBytesMax = 8 << 20
	// answerWait is how long another node may take over a small question. Vault exchanges set their own, by the files' sizes.
	answerWait = 5 * time.Second
	// sharesWait is how long a custodian may take over its share: it may have to renew its checkpoint first.
	sharesWait = 10 * time.Second
)

// peerError is an answer of another node that is not a success.
type peerError struct {
	status  int
	problem api.Problem
}

func (e *peerError) Error() string {
	return fmt.Sprintf("peer answered %d: %s", e.status, e.problem.Title)
}

func (p *peer) do(ctx context.Context, method, path string, body io.Reader, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, body)
	if err != nil {
		return nil, err
	}
	if size >= 0 && body != nil {
		req.ContentLength = size
	}
	res, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		defer func() { _ = res.Body.Close() }()
		e := &peerError{status: res.StatusCode}
		_ = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&e.problem)
		return nil, e
	}
	return res, nil
}

func (p *peer) call(ctx context.Context, path string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	res, err := p.do(ctx, http.MethodPost, path, bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	return json.NewDecoder(io.LimitReader(res.Body, peerJSONBytesMax)).Decode(out)
}

// ID implements vault.Peer.
func (p *peer) ID() protocol.MemberID { return p.id }

// Has implements vault.Peer.
func (p *peer) Has(ctx context.Context, hashes []vault.Hash) ([]bool, error) {
	var out []bool
	if err := p.call(ctx, "/files/has", hashes, &out); err != nil {
		return nil, err
	}
	if len(out) != len(hashes) {
		return nil, errors.New("peer answered for another number of files")
	}
	return out, nil
}

// Fetch implements vault.Peer.
func (p *peer) Fetch(ctx context.Context, hash vault.Hash) (io.ReadCloser, error) {
	res, err := p.do(ctx, http.MethodGet, "/files/"+hash.String(), nil, -1)
	var e *peerError
	if errors.As(err, &e) && e.status == http.StatusNotFound {
		return nil, fmt.Errorf("%w: %w", vault.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Push implements vault.Peer.
func (p *peer) Push(ctx context.Context, hash vault.Hash, size int64, r io.Reader) error {
	res, err := p.do(ctx, http.MethodPut, "/files/"+hash.String(), r, size)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// ciphertext asks a dealer for this node's sealed share.
func (p *peer) ciphertext(ctx context.Context, generation, epoch uint32) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	res, err := p.do(ctx, http.MethodGet, fmt.Sprintf("/dealings/%d/%d", generation, epoch), nil, -1)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return io.ReadAll(io.LimitReader(res.Body, 64<<10))
}

// cosign asks for a cosignature of a signed checkpoint.
func (p *peer) cosign(ctx context.Context, checkpoint []byte) ([]byte, error) {
	res, err := p.do(ctx, http.MethodPost, "/cosign", bytes.NewReader(checkpoint), int64(len(checkpoint)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return io.ReadAll(io.LimitReader(res.Body, 64<<10))
}

// shareCall is what a gateway passes on to a custodian. Size is that of the ledger on which the gateway saw the access: a custodian that is
// a block behind waits for it, up to shareWait, rather than say that there is no such access.
type shareCall struct {
	Access protocol.AccessID `json:"access"`
	Size   uint64            `json:"size"`
	api.ShareRequest
}

const shareWait = 2 * time.Second

func (p *peer) shares(ctx context.Context, call shareCall) (out api.Share, err error) {
	ctx, cancel := context.WithTimeout(ctx, sharesWait)
	defer cancel()
	return out, p.call(ctx, "/shares", call, &out)
}

// practitionerName asks the member who a practitioner is.
func (p *peer) practitionerName(ctx context.Context, id protocol.PractitionerID) (out api.PractitionerName, err error) {
	res, err := p.do(ctx, http.MethodGet, "/practitioners/"+id.String(), nil, -1)
	if err != nil {
		return out, err
	}
	defer func() { _ = res.Body.Close() }()
	return out, json.NewDecoder(io.LimitReader(res.Body, 16<<10)).Decode(&out)
}

// peerServer serves the other nodes.
func (n *Node) peerServer() (*http.Server, error) {
	cert, err := certificate(n.keys.Peer)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /peer/v1/cosign", n.serveCosign)
	mux.HandleFunc("POST /peer/v1/shares", n.serveShares)
	mux.HandleFunc("GET /peer/v1/size", n.serveSize)
	mux.HandleFunc("GET /peer/v1/decided", n.serveDecided)
	mux.HandleFunc("GET /peer/v1/dealings/{generation}/{epoch}", n.serveDealing)
	mux.HandleFunc("GET /peer/v1/practitioners/{id}", n.servePractitioner)
	mux.HandleFunc("POST /peer/v1/files/has", n.serveHas)
	mux.HandleFunc("GET /peer/v1/files/{hash}", n.serveFile)
	mux.HandleFunc("PUT /peer/v1/files/{hash}", n.receiveFile)
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 10 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: discardLog, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert,
			VerifyConnection: func(s tls.ConnectionState) error {
				key, err := peerKey(s)
				if err != nil {
					return err
				}
				_, err = n.memberByPeerKey(key)
				return err
			}}}, nil
}

func problem(w http.ResponseWriter, status int, code, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Problem{Title: title, Status: status, Detail: detail, Code: code})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (n *Node) serveCosign(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		problem(w, http.StatusBadRequest, "body", "the checkpoint could not be read", "")
		return
	}
	line, err := n.witness.cosignFor(r.Context(), raw)
	if err != nil {
		problem(w, http.StatusConflict, "cosign", "the checkpoint is not cosigned", err.Error())
		return
	}
	_, _ = w.Write(line)
}

func (n *Node) serveShares(w http.ResponseWriter, r *http.Request) {
	var call shareCall
	if err := json.NewDecoder(io.LimitReader(r.Body, peerJSONBytesMax)).Decode(&call); err != nil {
		problem(w, http.StatusBadRequest, "body", "the request is malformed", "")
		return
	}
	reply(w, n.ownShare(r.Context(), call))
}

// ownShare is this custodian's answer, or its refusal.
func (n *Node) ownShare(ctx context.Context, call shareCall) api.Share {
	n.app.reach(ctx, call.Size, shareWait)
	n.witness.ensureFresh(ctx)
	a, err := n.release(ctx, custodian.Request{Access: call.Access, Generation: call.Generation, Records: call.Records, Capsules: call.Capsules})
	var refused *custodian.Refusal
	switch {
	case errors.As(err, &refused):
		return api.Share{Custodian: n.index, Reason: refused.Reason, Detail: refused.Detail, Retry: refused.Retry, Records: refused.Records}
	case err != nil:
		n.log.Error("custodian", "error", err)
		return api.Share{Custodian: n.index, Detail: "this custodian could not answer"}
	}
	return api.Share{Custodian: a.Custodian, Epoch: a.Epoch, Sealed: a.Sealed}
}

func (n *Node) serveDealing(w http.ResponseWriter, r *http.Request) {
	generation, err1 := strconv.ParseUint(r.PathValue("generation"), 10, 32)
	epoch, err2 := strconv.ParseUint(r.PathValue("epoch"), 10, 32)
	key, err3 := peerKey(*r.TLS)
	if err := errors.Join(err1, err2, err3); err != nil {
		problem(w, http.StatusBadRequest, "path", "no such dealing", "")
		return
	}
	row, err := n.memberByPeerKey(key)
	if err != nil || row.Custodian == 0 {
		problem(w, http.StatusForbidden, "custodian", "only a custodian gets a share", "")
		return
	}
	c, ok, err := n.ceremony.Ciphertext(uint32(generation), uint32(epoch), row.Custodian)
	if err != nil || !ok {
		problem(w, http.StatusNotFound, "dealing", "this node holds no such dealing", "")
		return
	}
	_, _ = w.Write(c)
}

func (n *Node) servePractitioner(w http.ResponseWriter, r *http.Request) {
	id, err := protocol.ParsePractitionerID(r.PathValue("id"))
	if err != nil {
		problem(w, http.StatusBadRequest, "id", "not a practitioner's id", "")
		return
	}
	name, ok, err := n.book.name(id)
	if err != nil || !ok {
		problem(w, http.StatusNotFound, "practitioner", "this member knows no such practitioner", "")
		return
	}
	reply(w, name)
}

func (n *Node) serveHas(w http.ResponseWriter, r *http.Request) {
	var hashes []vault.Hash
	if err := json.NewDecoder(io.LimitReader(r.Body, peerJSONBytesMax)).Decode(&hashes); err != nil || len(hashes) > vault.HashesMax {
		problem(w, http.StatusBadRequest, "body", "a list of hashes is expected", "")
		return
	}
	has, err := n.vault.Held(r.Context(), hashes)
	if err != nil {
		problem(w, http.StatusServiceUnavailable, "vault", "the vault does not answer", "")
		return
	}
	reply(w, has)
}

func (n *Node) serveFile(w http.ResponseWriter, r *http.Request) {
	hash, err := protocol.ParseHash(r.PathValue("hash"))
	if err != nil {
		problem(w, http.StatusBadRequest, "hash", "not a hash", "")
		return
	}
	body, size, err := n.vault.Get(r.Context(), hash)
	if err != nil {
		status, code := vaultStatus(err)
		if errors.Is(err, vault.ErrCorrupt) {
			status, code = http.StatusNotFound, "no-file" // it has been put aside: there is none here
		}
		problem(w, status, code, "this vault does not give the file", "")
		return
	}
	defer func() { _ = body.Close() }()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	_, _ = io.Copy(w, body)
}

func (n *Node) receiveFile(w http.ResponseWriter, r *http.Request) {
	hash, err := protocol.ParseHash(r.PathValue("hash"))
	if err != nil || r.ContentLength <= 0 {
		problem(w, http.StatusBadRequest, "hash", "a hash and a length are expected", "")
		return
	}
	if err := n.vault.Put(r.Context(), hash, r.Body, r.ContentLength); err != nil {
		status, code := vaultStatus(err)
		problem(w, status, code, "the file was not taken", err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// vaultStatus is the HTTP status and code of a vault's error.
func vaultStatus(err error) (int, string) {
	switch {
	case errors.Is(err, vault.ErrNoSpace):
		return http.StatusInsufficientStorage, "disk-full"
	case errors.Is(err, vault.ErrErased):
		return http.StatusGone, "erased"
	case errors.Is(err, vault.ErrNotFound), errors.Is(err, vault.ErrUnavailable):
		return http.StatusNotFound, "no-file"
	case errors.Is(err, vault.ErrSize):
		return http.StatusRequestEntityTooLarge, "size"
	case errors.Is(err, vault.ErrCorrupt), errors.Is(err, vault.ErrHash), errors.Is(err, vault.ErrRefused):
		return http.StatusUnprocessableEntity, "refused"
	case errors.Is(err, vault.ErrNotReady):
		return http.StatusServiceUnavailable, "not-ready"
	}
	return http.StatusInternalServerError, "vault"
}
