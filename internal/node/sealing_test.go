package node_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// throughLiar talks to a gateway through somebody who changes what it says of whom to seal to.
func (w *world) throughLiar(gateway string, lie func(*api.Sealing)) *client.Client {
	w.Helper()
	to, err := url.Parse(gateway)
	w.ok(err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		if !strings.HasSuffix(r.Request.URL.Path, "/sealing") || r.StatusCode != http.StatusOK {
			return nil
		}
		var s api.Sealing
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			return err
		}
		lie(&s)
		raw, err := json.Marshal(s)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
		r.Header.Del("Content-Length")
		return err
	}
	srv := httptest.NewServer(proxy)
	w.Cleanup(srv.Close)
	return w.dial(srv.URL)
}

// TestAuthorsSealToWhatTheNetworkSays: a gateway that gives authors a recipient or a custodians' key of its own, so as to read what is
// written through it, is found out before anything is sealed.
func TestAuthorsSealToWhatTheNetworkSays(t *testing.T) {
	w := startWorld(t, devConfig(t.TempDir(), 1))
	p, other := w.patient(), w.patient()
	author := client.Actor(w.net.Member(0))

	to, err := w.at[0].SealedTo(w.ctx, author, p.keys.Journal)
	w.ok(err)
	if to.Journal.Recipient != p.keys.Identity.Recipient() || to.Keys.Generation == 0 {
		t.Fatalf("sealed to %x, generation %d", to.Journal.Recipient, to.Keys.Generation)
	}
	old, err := json.Marshal(w.sealing(p.keys.Journal))
	w.ok(err)
	foreign := w.sealing(other.keys.Journal)
	w.write(p, 0, group(fhir.Labs, "glucose")) // the ledger goes on
	own := startWorld(t, devConfig(t.TempDir(), 1)).at[0].Network.Keys

	for name, lie := range map[string]func(*api.Sealing){
		"another recipient": func(s *api.Sealing) {
			var row protocol.JournalRow
			w.ok(protocol.Decode(s.Journal.Row, &row))
			_, _ = rand.Read(row.Recipient[:])
			s.Journal.Row = protocol.Encode(row)
		},
		"another journal's row": func(s *api.Sealing) { s.Journal = foreign.Journal },
		"a key of its own": func(s *api.Sealing) {
			var row protocol.CustodyKeyRow
			w.ok(protocol.Decode(s.Key.Row, &row))
			row.Keys = own
			s.Key.Row = protocol.Encode(row)
		},
		"no such key":            func(s *api.Sealing) { s.Key.Row = nil },
		"another generation":     func(s *api.Sealing) { s.Current.Row = protocol.Encode(protocol.CurrentKeyRow{Generation: 2}) },
		"a seal of its own":      func(s *api.Sealing) { s.Seal.Raw[len(s.Seal.Raw)-3] ^= 1 },
		"an older seal":          func(s *api.Sealing) { var o api.Sealing; w.ok(json.Unmarshal(old, &o)); s.Seal = o.Seal },
		"an unsigned checkpoint": func(s *api.Sealing) { s.Checkpoint = s.Checkpoint[:strings.Index(s.Checkpoint, "\n\n")+2] },
	} {
		t.Run(name, func(t *testing.T) {
			c := w.throughLiar(w.net.Gateway(0), lie)
			before := w.net.Nodes[0].Ledger().Head().Size
			if _, _, err := c.WriteRecords(w.ctx, author, p.keys.Handle(), []fhir.Group{group(fhir.Labs, "secret")}, nil); !errors.Is(err, proof.ErrSealing) {
				t.Fatalf("error %v", err)
			}
			if now := w.net.Nodes[0].Ledger().Head().Size; now != before {
				t.Fatal("something was written")
			}
		})
	}

	t.Run("another network's policy", func(t *testing.T) {
		c := w.dial(w.net.Gateway(0))
		c.Trust(otherPolicy(t))
		if _, err := c.SealedTo(w.ctx, author, p.keys.Journal); !errors.Is(err, proof.ErrSealing) {
			t.Fatalf("error %v", err)
		}
	})
}

// sealing is the gateway's answer as it stands.
func (w *world) sealing(in protocol.JournalID) (out api.Sealing) {
	w.Helper()
	c := w.throughLiar(w.net.Gateway(0), func(s *api.Sealing) { out = *s })
	_, err := c.SealedTo(w.ctx, client.Actor(w.net.Member(0)), in)
	w.ok(err)
	return out
}

// otherPolicy is the policy of a network that looks the same and has other keys.
func otherPolicy(t *testing.T) string {
	t.Helper()
	m := protocol.Member{Kind: protocol.MemberHospital, Name: "Another", Key: wallet.GenerateSigningKey().Public(),
		Node: protocol.NodeKeys{Validator: wallet.GenerateSigningKey().Public(), Log: wallet.GenerateSigningKey().Public(),
			Cosigner: wallet.GenerateSigningKey().Public(), Peer: wallet.GenerateSigningKey().Public()}}
	policy, err := proof.NetworkPolicy(protocol.Genesis{Chain: "another", Time: 1_700_000_000_000, Members: []protocol.Member{m}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := policy.Text()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
