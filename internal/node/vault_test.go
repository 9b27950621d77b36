package node_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// A file that goes missing, or rots, in one vault is served all the same, rightly, and repaired there.
func TestVaultLosesAndRepairs(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	w.write(p, 0, group("labs", "kept"))
	rows, err := w.at[0].Records(w.ctx, p.keys)
	w.ok(err)
	hash := rows[0].Ciphertext
	var members []protocol.MemberID
	for _, m := range w.net.Genesis.Members {
		members = append(members, m.ID())
	}
	placed := vault.Placement(hash, members, 3)
	i := slices.Index(members, placed[1])
	w.eventually("the members to whom it belongs hold the file", func() bool {
		return !slices.ContainsFunc(placed, func(id protocol.MemberID) bool {
			_, ok := w.vaultFile(slices.Index(members, id), hash)
			return !ok
		})
	})
	size := w.net.Nodes[0].Ledger().Head().Size
	w.eventually("the member knows of the record", func() bool { return w.net.Nodes[i].Ledger().Head().Size >= size })
	want, err := w.at[i].File(w.ctx, p.keys, hash)
	w.ok(err)
	spoilt := map[string]func(name string) error{
		"deleted": os.Remove,
		"a bit flipped": func(name string) error {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 4
			return os.WriteFile(name, b, 0o600)
		},
		"cut off": func(name string) error { return os.Truncate(name, 100) },
	}
	for what, spoil := range spoilt {
		name, ok := w.vaultFile(i, hash)
		if !ok {
			t.Fatalf("not repaired before %q", what)
		}
		_ = os.Chmod(name, 0o600)
		w.ok(spoil(name))
		got, err := w.at[i].File(w.ctx, p.keys, hash)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: not served rightly: %v", what, err)
		}
		w.eventually(what+": repaired", func() bool {
			name, ok := w.vaultFile(i, hash)
			if !ok {
				return false
			}
			b, err := os.ReadFile(name)
			return err == nil && sha256.Sum256(b) == [32]byte(hash)
		})
	}
	name, _ := w.vaultFile(i, hash)
	_ = os.Chmod(name, 0o600)
	w.ok(spoilt["a bit flipped"](name))
	if s, err := w.net.Nodes[i].Replicator().Scrub(w.ctx); err != nil || s.Corrupt != 1 || s.Repaired != 1 {
		t.Errorf("scrubbing found and repaired: %+v %v", s, err)
	}
}

// Ciphertext is given to the patient and to the reader of an open access, and to nobody else.
func TestVaultRefuses(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	cfg := devConfig(t.TempDir(), 2)
	cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	w := startWorld(t, cfg)
	p, stranger := w.patient(), w.patient()
	w.write(p, 0, group("labs", "a"))
	colleague := w.practitioner(1, protocol.RolePhysician)
	w.grant(p, w.doctor, 0)
	a := w.access(0, w.doctor, p, "labs")
	rows, err := w.at[0].Records(w.ctx, p.keys)
	w.ok(err)
	hash := rows[0].Ciphertext
	uri := "/v1/files/" + hash.String()
	ask := func(by client.Identity, query string) int {
		status, _ := w.raw(http.MethodGet, uri+query, by, nil)
		return status
	}
	byAccess, byJournal := "?access="+a.Decision.ID.String(), "?journal="+p.keys.Journal.String()
	for _, c := range []struct {
		what, query string
		by          client.Identity
		want        int
	}{
		{"the reader", byAccess, client.Actor(w.doctor), http.StatusOK},
		{"the patient", byJournal, client.Patient(p.keys), http.StatusOK},
		{"nobody in particular", byAccess, nil, http.StatusUnauthorized},
		{"nobody in particular, as the patient", byJournal, nil, http.StatusUnauthorized},
		{"another reader", byAccess, client.Actor(colleague), http.StatusNotFound},
		{"another patient", byJournal, client.Patient(stranger.keys), http.StatusNotFound},
		{"another patient, own journal", "?journal=" + stranger.keys.Journal.String(), client.Patient(stranger.keys), http.StatusNotFound},
		{"a member that wrote it", byJournal, client.Actor(w.net.Member(0)), http.StatusNotFound},
		{"a reader without an access", "?access=" + stranger.keys.Journal.String(), client.Actor(w.doctor), http.StatusNotFound},
	} {
		if got := ask(c.by, c.query); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	ahead.Store(int64(15*time.Minute + time.Second))
	if got := w.rawLater(http.MethodGet, uri+byAccess, client.Actor(w.doctor), ahead.Load()); got != http.StatusNotFound {
		t.Errorf("the reader after the deadline: %d", got)
	}
	if got := w.rawLater(http.MethodGet, uri+byJournal, client.Patient(p.keys), ahead.Load()); got != http.StatusOK {
		t.Errorf("the patient at the same time: %d", got)
	}
}

// raw makes a request as a program of its own would.
func (w *world) raw(method, uri string, by client.Identity, body []byte) (int, []byte) {
	w.Helper()
	return w.rawAt(method, uri, by, body, time.Now())
}

func (w *world) rawLater(method, uri string, by client.Identity, ahead int64) int {
	status, _ := w.rawAt(method, uri, by, nil, time.Now().Add(time.Duration(ahead)))
	return status
}

func (w *world) rawAt(method, uri string, by client.Identity, body []byte, now time.Time) (int, []byte) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.ctx, method, w.net.Gateway(0)+uri, bytes.NewReader(body))
	w.ok(err)
	if by != nil {
		req.Header.Set("Authorization", api.Authorise(w.net.Genesis.Chain, method, uri, by.Signer(), uint64(now.UnixMilli()), by.Sign))
	}
	res, err := http.DefaultClient.Do(req)
	w.ok(err)
	defer func() { _ = res.Body.Close() }()
	out, err := io.ReadAll(res.Body)
	w.ok(err)
	return res.StatusCode, out
}

// Garbage is not taken: not bytes of another hash, not what is no record's file, not from whom the network does not know; and what is
// uploaded and never entered is swept away.
func TestVaultTakesNoGarbage(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	cfg := devConfig(t.TempDir(), 1)
	cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	w := startWorld(t, cfg)
	p := w.patient()
	w.write(p, 0, group("labs", "a"))
	rows, err := w.at[0].Records(w.ctx, p.keys)
	w.ok(err)
	good, err := w.at[0].File(w.ctx, p.keys, rows[0].Ciphertext)
	w.ok(err)
	member := client.Actor(w.net.Member(0))
	put := func(by client.Identity, hash protocol.Hash, b []byte) int {
		status, _ := w.raw(http.MethodPut, "/v1/files/"+hash.String(), by, b)
		return status
	}
	garbage := bytes.Repeat([]byte("garbage "), 100)
	orphan := append(bytes.Clone(good), 1) // a file with a good header
	large := append(bytes.Clone(good), make([]byte, protocol.OwnRecordBytesMax)...)
	for what, c := range map[string]struct {
		by   client.Identity
		hash protocol.Hash
		body []byte
		want int
	}{
		"no record's file":        {member, sha256.Sum256(garbage), garbage, http.StatusUnprocessableEntity},
		"bytes of another hash":   {member, sha256.Sum256(garbage), orphan, http.StatusUnprocessableEntity},
		"from nobody":             {nil, sha256.Sum256(orphan), orphan, http.StatusUnauthorized},
		"too much from a patient": {client.Patient(p.keys), sha256.Sum256(large), large, http.StatusRequestEntityTooLarge},
		"with a good header":      {member, sha256.Sum256(orphan), orphan, http.StatusCreated},
		"nothing":                 {member, sha256.Sum256(nil), nil, http.StatusBadRequest},
		"again what is there":     {member, rows[0].Ciphertext, good, http.StatusCreated},
		"only the file's header":  {member, sha256.Sum256(good[:40]), good[:40], http.StatusUnprocessableEntity},
	} {
		if got := put(c.by, c.hash, c.body); got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
	held := func(h protocol.Hash) bool { _, ok := w.vaultFile(0, h); return ok }
	if !held(sha256.Sum256(orphan)) || held(sha256.Sum256(garbage)) {
		t.Fatal("the vault holds the wrong things")
	}
	if s, err := w.net.Nodes[0].Sweep(w.ctx); err != nil || s.Files != 0 {
		t.Errorf("swept too early: %+v %v", s, err)
	}
	ahead.Store(int64(61 * time.Minute))
	if s, err := w.net.Nodes[0].Sweep(w.ctx); err != nil || s.Files != 1 || held(sha256.Sum256(orphan)) || !held(rows[0].Ciphertext) {
		t.Errorf("swept: %+v %v", s, err)
	}
}

// Nodes talk to the registry's nodes alone: another key, or none, gets no connection, and neither does somebody in a node's place.
func TestPeersAreTheRegistrysNodes(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 2))
	p := w.patient()
	w.write(p, 0, group("labs", "a"))
	rows, err := w.at[0].Records(w.ctx, p.keys)
	w.ok(err)
	uri := w.net.PeerURL(0) + "/files/" + rows[0].Ciphertext.String()
	get := func(certs ...tls.Certificate) error {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certs}}} //nolint:gosec // the test plays an intruder
		res, err := c.Get(uri)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", res.StatusCode)
		}
		return nil
	}
	cert := func(key ed25519.PrivateKey) tls.Certificate {
		c, err := node.Certificate(key)
		w.ok(err)
		return c
	}
	_, strange, err := ed25519.GenerateKey(rand.Reader)
	w.ok(err)
	if err := get(cert(w.net.NodeKeys(1).Peer)); err != nil {
		t.Error("another member's node:", err)
	}
	if get() == nil || get(cert(strange)) == nil || get(cert(w.net.NodeKeys(1).Member)) == nil {
		t.Error("a vault gave a file to whom the registry does not know")
	}
}
