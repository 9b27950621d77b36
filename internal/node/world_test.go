package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/fsck"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// world is a development network with people in it, who talk to it as everybody does: through the gateways.
type world struct {
	testing.TB
	ctx    context.Context
	net    *node.DevNet
	at     []*client.Client // by member
	doctor *wallet.Actor    // of the first member
}

// patient is somebody with a journal.
type patient struct {
	wallet *wallet.Wallet
	keys   *wallet.JournalKeys
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// startWorld starts a network, which the end of the test stops.
func startWorld(t testing.TB, cfg node.DevConfig) *world {
	t.Helper()
	w := &world{TB: t, ctx: testContext(t)}
	w.start(cfg)
	t.Cleanup(func() {
		if err := w.net.Stop(); err != nil {
			t.Error(err)
		}
	})
	w.doctor = w.practitioner(0, protocol.RolePhysician)
	return w
}

func devConfig(dir string, members int) node.DevConfig {
	return node.DevConfig{Dir: dir, Members: members, Listen: "127.0.0.1:0"}
}

func (w *world) start(cfg node.DevConfig) {
	w.Helper()
	net, err := node.StartDev(cfg)
	w.ok(err)
	w.net = net
	w.ok(net.Ready(w.ctx))
	w.at = nil
	for i := range net.Nodes {
		w.at = append(w.at, w.dial(net.Gateway(i)))
	}
}

func (w *world) dial(gateway string) *client.Client {
	w.Helper()
	c, err := client.Dial(w.ctx, gateway, "")
	w.ok(err)
	w.ok(c.Ready(w.ctx))
	return c
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) practitioner(member int, role protocol.Role) *wallet.Actor {
	w.Helper()
	id := protocol.PractitionerID(wallet.NewRecordID())
	a := wallet.NewPractitioner(wallet.Network{Chain: w.at[member].Genesis.Chain, Gateway: "http://example.invalid"}, id, "Dr. Test")
	valid := uint64(time.Now().AddDate(1, 0, 0).UnixMilli())
	w.ok(w.at[member].RegisterPractitioner(w.ctx, client.Actor(w.net.Member(member)), id, a.Key.Public(), role, valid, "Dr. Test", "internal medicine"))
	return a
}

// patient opens a journal to which all members may add.
func (w *world) patient() *patient {
	w.Helper()
	p, err := newPatient(w.ctx, w.at[0])
	w.ok(err)
	return p
}

func newPatient(ctx context.Context, c *client.Client) (*patient, error) {
	p := &patient{wallet: wallet.New(wallet.Network{Chain: c.Genesis.Chain, Gateway: "http://example.invalid"})}
	j, err := p.wallet.OpenJournal("records")
	if err != nil {
		return nil, err
	}
	if p.keys, err = p.wallet.Keys(j.ID); err != nil {
		return nil, err
	}
	if err := c.OpenJournal(ctx, p.keys); err != nil {
		return nil, err
	}
	for _, m := range c.Genesis.Members {
		if _, err := c.GrantTemplate(ctx, p.keys, "contributor", consent.Params{Grantee: consent.Grantee{Member: m.ID()}}, 0); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// group is a record to be, of one resource with the text.
func group(class fhir.Class, text string) fhir.Group {
	raw, err := json.Marshal(map[string]any{"resourceType": "Observation", "id": "x", "status": "final", "code": map[string]string{"text": text}})
	if err != nil {
		panic(err)
	}
	return fhir.Group{Class: class, Source: fhir.Source{ID: "src", Name: "Test Clinic"}, Bytes: len(raw),
		Resources: []fhir.Resource{{Raw: raw, Type: "Observation", ID: "x", Class: class}}}
}

// write enters records as the member, through its gateway.
func (w *world) write(p *patient, member int, groups ...fhir.Group) []client.Written {
	w.Helper()
	written, failed, err := w.at[member].WriteRecords(w.ctx, client.Actor(w.net.Member(member)), p.keys.Handle(), groups, nil)
	w.ok(err)
	if len(failed) > 0 {
		w.Fatal(failed[0].Err)
	}
	return written
}

// grant lets the doctor read everything, or only some classes, for a while (0: the template's window).
func (w *world) grant(p *patient, who *wallet.Actor, window time.Duration, classes ...string) protocol.ContractID {
	w.Helper()
	name, params := "care-team", consent.Params{Grantee: consent.Grantee{Practitioner: protocol.PractitionerID(who.ID)}}
	if len(classes) > 0 {
		name, params.Labels = "emergency-24h", labels(p, classes...)
	}
	id, err := w.at[0].GrantTemplate(w.ctx, p.keys, name, params, uint64(window.Milliseconds()))
	w.ok(err)
	return id
}

func labels(p *patient, classes ...string) (out []protocol.Label) {
	for _, c := range classes {
		out = append(out, p.keys.Handle().Label(c))
	}
	return out
}

func (w *world) request(at int, who *wallet.Actor, p *patient, classes ...string) (*client.Access, error) {
	return w.at[at].RequestAccess(w.ctx, client.Actor(who), p.keys.Journal, protocol.PurposeTreat, labels(p, classes...), nil)
}

// access asks and must be permitted.
func (w *world) access(at int, who *wallet.Actor, p *patient, classes ...string) *client.Access {
	w.Helper()
	a, err := w.request(at, who, p, classes...)
	w.ok(err)
	return a
}

// read opens what an access permits; nobody may lie.
func (w *world) read(at int, a *client.Access) []string {
	w.Helper()
	read, err := w.at[at].Read(w.ctx, a)
	w.ok(err)
	w.ok(read.Whole())
	if len(read.Liars) > 0 {
		w.Fatalf("custodian %d lied", read.Liars[0].Custodian)
	}
	return texts(read.Records)
}

func texts(records []*wallet.Record) (out []string) {
	for _, r := range records {
		for _, raw := range r.Resources {
			var o struct{ Code struct{ Text string } }
			_ = json.Unmarshal(raw, &o)
			out = append(out, o.Code.Text)
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) equal(got, want []string) {
	w.Helper()
	if !slices.Equal(got, want) {
		w.Fatalf("read %q, want %q", got, want)
	}
}

// refused must be a refusal in the log for one of the reasons.
func (w *world) refused(err error, want ...protocol.Reason) {
	w.Helper()
	var r *client.Refused
	if !errors.As(err, &r) || !slices.Contains(want, r.Decision.Reason) {
		w.Fatalf("got %v, want a refusal for %v", err, want)
	}
}

// complete verifies a journal as its patient would, online: everything but the files' content.
func (w *world) complete(at int, p *patient) *proof.Report {
	w.Helper()
	r, _, err := w.at[at].Verify(w.ctx, p.keys, proof.Options{Now: uint64(time.Now().UnixMilli()), MaxAge: time.Minute}, nil, nil)
	w.ok(err)
	if !r.OK {
		w.Fatalf("the journal is not proven complete: %v", r.Failures[0])
	}
	return r
}

// check runs fsck over a stopped network's folder.
func check(t testing.TB, dir string) *fsck.Report {
	t.Helper()
	r, err := fsck.Run(t.Context(), fsck.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Level == fsck.Fault {
			t.Errorf("fsck: %s %s: %s", f.Node, f.Where, f.Detail)
		}
	}
	return r
}

// eventually waits until cond holds; the test fails after a while.
func (w *world) eventually(what string, cond func() bool) {
	w.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			w.Fatalf("did not happen: %s", what)
		}
	}
}

func (w *world) folder(i int) string { return filepath.Join(w.net.Dir, "nodes", w.net.Names[i]) }

// vaultFile is where a node keeps a file, if it does.
func (w *world) vaultFile(i int, h protocol.Hash) (string, bool) {
	name := filepath.Join(w.folder(i), "vault", "files", h.String()[:2], h.String())
	_, err := os.Stat(name)
	return name, err == nil
}

func numbered(class fhir.Class, prefix string, n int) (out []fhir.Group, text []string) {
	for i := range n {
		s := fmt.Sprintf("%s-%03d", prefix, i)
		out, text = append(out, group(class, s)), append(text, s)
	}
	return out, text
}

func numberedGroups(n int) []fhir.Group { g, _ := numbered("labs", "lost", n); return g }
