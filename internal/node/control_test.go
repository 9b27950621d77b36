package node_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// isRejected must be the ledger's rejection for the reason.
func (w *world) isRejected(err error, want protocol.Reason) {
	w.Helper()
	if !errors.Is(err, &protocol.Rejection{Reason: want}) {
		w.Fatalf("got %v, want %v", err, want)
	}
}

// isProblem must be a gateway's answer with the code.
func (w *world) isProblem(err error, code string) {
	w.Helper()
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != code {
		w.Fatalf("got %v, want %s", err, code)
	}
}

func (w *world) opened(at int, k *wallet.JournalKeys) []string {
	w.Helper()
	records, err := w.at[at].OpenRecords(w.ctx, k, nil)
	w.ok(err)
	return texts(records)
}

// A hospital opens a journal for a patient without a wallet; the patient claims it with the code on paper. Every wrong way fails; then the
// old key is dead, and what was written before opens through the custodians, in the log.
func TestClaim(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := startWorld(t, devConfig(dir, 4))
	hospital, c := client.Actor(w.net.Member(0)), w.at[0]
	chain := c.Genesis.Chain
	p := wallet.NewProvisional(wallet.Network{Chain: chain}, "bed 12")
	code := wallet.NewCode()
	may := func(template string, to consent.Grantee) protocol.Grant {
		policy, made, err := consent.Render(template, consent.Params{Grantee: to})
		w.ok(err)
		return protocol.Grant{Template: made.Number, Policy: policy, NotAfter: now() + made.WindowMillis, UsesMax: made.UsesMax}
	}
	member := consent.Grantee{Member: w.net.Genesis.Members[0].ID()}
	w.ok(c.Provision(w.ctx, hospital, p, code, "1980-02-03", may("contributor", member), may("care-team", consent.Grantee{Practitioner: protocol.PractitionerID(w.doctor.ID)})))
	_, failed, err := c.WriteRecords(w.ctx, hospital, p.Handle, []fhir.Group{group("labs", "before")}, nil)
	w.ok(err)
	if len(failed) > 0 {
		t.Fatal(failed[0].Err)
	}

	keys := code.ClaimKeys(chain)
	mine := wallet.New(wallet.Network{Chain: chain})
	_, err = c.ClaimHandle(w.ctx, wallet.NewCode().ClaimKeys(chain), "1980-02-03")
	w.isProblem(err, "no-claim") // guessed
	_, err = w.at[1].ClaimHandle(w.ctx, keys, "1980-02-03")
	w.isProblem(err, "no-claim") // at another organisation's gateway
	_, err = c.ClaimHandle(w.ctx, keys, "1980-03-02")
	w.isProblem(err, "wrong-factor") // found on the street
	h, err := c.ClaimHandle(w.ctx, keys, "1980-02-03")
	w.ok(err)
	if h != p.Handle {
		t.Fatal("another handle")
	}
	_, err = mine.AdoptJournal(h, "main")
	w.ok(err)
	k, err := mine.Keys(h.Journal)
	w.ok(err)
	w.ok(c.Claim(w.ctx, keys, "1980-02-03", k))

	w.isProblem(c.Claim(w.ctx, keys, "1980-02-03", k), "no-claim") // used again
	_, err = c.Do(w.ctx, client.Actor(p.Actor), h.Journal, &protocol.SetGuardians{})
	w.isRejected(err, protocol.WrongKey) // the hospital's key
	before, err := c.Journal(w.ctx, client.Patient(k), h.Journal)
	w.ok(err)
	w.equal(w.opened(0, k), []string{"before"})
	after, err := c.Journal(w.ctx, client.Patient(k), h.Journal)
	w.ok(err)
	if after.Count != before.Count+1 {
		t.Fatal("reading one's own through the custodians left no entry")
	}
	pat := &patient{wallet: mine, keys: k}
	w.write(pat, 0, group("labs", "after"))
	w.equal(w.opened(0, k), []string{"after", "before"})
	w.equal(w.read(0, w.access(0, w.doctor, pat, "labs")), []string{"after", "before"}) // contracts go on
	w.complete(0, pat)

	// Five wrong dates kill a code, across a restart of the gateway too; a new code from the desk works.
	q := wallet.NewProvisional(wallet.Network{Chain: chain}, "bed 13")
	second := wallet.NewCode()
	w.ok(c.Provision(w.ctx, hospital, q, second, "1970-01-01"))
	k2 := second.ClaimKeys(chain)
	for range 3 {
		_, err = c.ClaimHandle(w.ctx, k2, "1970-01-02")
		w.isProblem(err, "wrong-factor")
	}
	w.ok(w.net.Stop())
	w.start(devConfig(dir, 4))
	c = w.at[0]
	_, err = c.ClaimHandle(w.ctx, k2, "1970-01-02")
	w.isProblem(err, "wrong-factor")
	_, err = c.ClaimHandle(w.ctx, k2, "1970-01-02")
	w.isProblem(err, "code-dead")
	_, err = c.ClaimHandle(w.ctx, k2, "1970-01-01")
	w.isProblem(err, "code-dead")
	third := wallet.NewCode()
	w.ok(c.Reissue(w.ctx, client.Actor(w.net.Member(0)), q.Actor, q.Handle, third, "1970-01-01"))
	if _, err = c.ClaimHandle(w.ctx, third.ClaimKeys(chain), "1970-01-01"); err != nil {
		t.Fatal(err)
	}
	// Nothing that the nodes have written names a code, the key it makes, or a date of birth.
	w.ok(w.net.Stop())
	for _, s := range []string{code.Reveal(), second.Reveal(), third.Reveal(), "1980-02-03", "1970-01-01"} {
		w.nowhere(dir, []byte(s))
	}
	w.start(devConfig(dir, 4))
}

// wire is what goes over the wire between a client and a gateway.
type wire struct {
	mu   sync.Mutex
	urls []string
	rest [][]byte // headers and bodies, both ways
}

// between puts a wire before a gateway.
func between(t *testing.T, gateway string) (*wire, string) {
	to, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	seen := new(wire)
	p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, ModifyResponse: func(r *http.Response) error {
		raw, err := httputil.DumpResponse(r, true)
		seen.mu.Lock()
		defer seen.mu.Unlock()
		seen.rest = append(seen.rest, raw)
		return err
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		seen.mu.Lock()
		seen.urls, seen.rest = append(seen.urls, r.RequestURI), append(seen.rest, raw)
		seen.mu.Unlock()
		p.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return seen, s.URL
}

// A code is said nowhere but on paper: in no URL, header, body, error or line of any node's log, however a claim ends. Its name at the desk, the handle and
// the date of birth are in no URL, error or log.
func TestCodesAreSaidNowhere(t *testing.T) {
	t.Parallel()
	log := new(syncBuffer)
	cfg := devConfig(t.TempDir(), 1)
	cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w := startWorld(t, cfg)
	seen, at := between(t, w.net.Gateway(0))
	c := w.dial(at)
	hospital, chain := client.Actor(w.net.Member(0)), c.Genesis.Chain
	var said strings.Builder // in errors
	tried := func(what, code string, err error) {
		if code != "" {
			w.isProblem(err, code)
		}
		fmt.Fprintf(&said, "%s: %v %+v %#v\n", what, err, err, err)
	}
	p := wallet.NewProvisional(wallet.Network{Chain: chain}, "bed 12")
	const born, wrong = "1980-02-03", "1980-03-02"
	code, guess, again := wallet.NewCode(), wallet.NewCode(), wallet.NewCode()
	w.ok(c.Provision(w.ctx, hospital, p, code, born))
	mine := wallet.New(wallet.Network{Chain: chain})
	_, err := mine.AdoptJournal(p.Handle, "main")
	w.ok(err)
	k, err := mine.Keys(p.Handle.Journal)
	w.ok(err)
	err = c.Provision(w.ctx, hospital, p, again, born)
	w.isRejected(err, protocol.JournalExists)
	tried("provisioned twice", "", err)
	_, err = c.ClaimHandle(w.ctx, guess.ClaimKeys(chain), born)
	tried("guessed", "no-claim", err)
	_, err = c.ClaimHandle(w.ctx, code.ClaimKeys(chain), wrong)
	tried("found", "wrong-factor", err)
	_, err = c.ClaimHandle(w.ctx, code.ClaimKeys(chain), "3.2.1980")
	tried("mistyped", "date-of-birth", err)
	stolen := code.ClaimKeys(chain)
	stolen.Key = guess.ClaimKeys(chain).Key
	tried("another key", "no-claim", c.Claim(w.ctx, stolen, born, k))
	w.ok(c.Claim(w.ctx, code.ClaimKeys(chain), born, k))
	tried("used again", "no-claim", c.Claim(w.ctx, code.ClaimKeys(chain), born, k))
	_, err = c.ClaimHandle(w.ctx, code.ClaimKeys(chain), born)
	tried("opened again", "no-claim", err)
	w.ok(w.net.Stop())

	plain := strings.NewReplacer("-", "", " ", "", "%2D", "")
	has := func(where string, secret []byte) bool {
		return strings.Contains(plain.Replace(strings.ToUpper(where)), plain.Replace(strings.ToUpper(string(secret)))) || leaks([]byte(where), secret)
	}
	if string(log.bytes()) == "" || len(seen.urls) < 8 {
		t.Fatal("nothing was looked at")
	}
	for what, secret := range map[string][]byte{"the code": []byte(code.Reveal()), "a guessed code": []byte(guess.Reveal()), "a new code": []byte(again.Reveal())} {
		for _, raw := range seen.rest {
			if has(string(raw), secret) {
				t.Errorf("%s is on the wire: %q", what, raw)
			}
		}
		for where, text := range map[string]string{"a URL": strings.Join(seen.urls, "\n"), "an error": said.String(), "the log": string(log.bytes())} {
			if has(text, secret) {
				t.Errorf("%s is in %s", what, where)
			}
		}
	}
	keys := code.ClaimKeys(chain)
	for what, secret := range map[string][]byte{"the code's name at the desk": keys.Lookup[:], "the handle": []byte(p.Handle.String()), "the date of birth": []byte(born), "a wrong date": []byte(wrong)} {
		for where, text := range map[string]string{"a URL": strings.Join(seen.urls, "\n"), "an error": said.String(), "the log": string(log.bytes())} {
			if has(text, secret) {
				t.Errorf("%s is in %s", what, where)
			}
		}
	}
}

// What a sponsor keeps for a patient to claim with goes when the journal is claimed, though the sponsor's node is away meanwhile, and then the
// whole journal is erased: nothing of it is left in any folder.
func TestPackageGoesWithTheClaim(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := startWorld(t, devConfig(dir, 4))
	hospital, chain := client.Actor(w.net.Member(0)), w.at[0].Genesis.Chain
	packages := func() (out map[string][]byte) {
		names, err := filepath.Glob(filepath.Join(w.folder(0), "secrets", "claim-*"))
		w.ok(err)
		out = map[string][]byte{}
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err == nil {
				out[name] = raw[len(raw)-32:]
			}
		}
		return out
	}
	provision := func(bed string) (*wallet.Provisional, wallet.Code, *wallet.JournalKeys) {
		p := wallet.NewProvisional(wallet.Network{Chain: chain}, bed)
		code := wallet.NewCode()
		policy, made, err := consent.Render("contributor", consent.Params{Grantee: consent.Grantee{Member: w.net.Genesis.Members[0].ID()}})
		w.ok(err)
		w.ok(w.at[0].Provision(w.ctx, hospital, p, code, "1980-02-03", protocol.Grant{Template: made.Number, Policy: policy, NotAfter: now() + made.WindowMillis, UsesMax: made.UsesMax}))
		mine := wallet.New(wallet.Network{Chain: chain})
		_, err = mine.AdoptJournal(p.Handle, "main")
		w.ok(err)
		k, err := mine.Keys(p.Handle.Journal)
		w.ok(err)
		return p, code, k
	}
	_, waiting, _ := provision("bed 1")
	_, code, k := provision("bed 2")
	if n := len(packages()); n != 4 {
		t.Fatalf("%d files for two packages: nothing is shown", n)
	}
	w.ok(w.at[0].Claim(w.ctx, code.ClaimKeys(chain), "1980-02-03", k))
	w.eventually("the package of a journal that was claimed goes by itself", func() bool { return len(packages()) == 2 })
	first := packages()

	// The sponsor agrees to two claims, and is away when they land and one of the journals is erased whole.
	agreed := func(bed string) (*wallet.Provisional, *wallet.JournalKeys, *protocol.ClaimJournal) {
		p, code, k := provision(bed)
		keys, recipient := code.ClaimKeys(chain), k.Identity.Recipient()
		_, failed, err := w.at[0].WriteRecords(w.ctx, hospital, p.Handle, []fhir.Group{group("labs", "in "+bed)}, nil)
		w.ok(err)
		if len(failed) > 0 {
			t.Fatal(failed[0].Err)
		}
		proof := keys.Key.Sign(protocol.ClaimMessage(chain, k.Journal, k.Signing.Public(), recipient))
		ask, err := json.Marshal(api.ClaimAgree{Lookup: keys.Lookup[:], DateOfBirth: "1980-02-03", Code: keys.Key.Public(), CodeProof: proof, Controller: k.Signing.Public(), Recipient: recipient[:]})
		w.ok(err)
		res, err := http.Post(w.net.Gateway(0)+api.PathClaimAgree, "application/json", bytes.NewReader(ask))
		w.ok(err)
		var out api.Sponsorship
		w.ok(errors.Join(json.NewDecoder(res.Body).Decode(&out), res.Body.Close()))
		return p, k, &protocol.ClaimJournal{Code: keys.Key.Public(), CodeProof: proof, Recipient: recipient, Agreement: out.Agreement}
	}
	_, living, claim := agreed("bed 3")
	p, forgotten, last := agreed("bed 4")
	_, err := w.at[0].Do(w.ctx, client.Actor(p.Actor), forgotten.Journal, &protocol.Erase{Everything: true})
	w.isRejected(err, protocol.StillProvisional) // the sponsor can erase nothing itself
	w.ok(w.net.StopNode(0))
	traces := packages()
	for name := range traces {
		if first[name] != nil {
			delete(traces, name)
		}
	}
	if len(traces) != 4 {
		t.Fatalf("%d files of two packages", len(traces))
	}
	_, err = w.at[1].Do(w.ctx, client.Patient(living), living.Journal, claim)
	w.ok(err)
	_, err = w.at[1].Do(w.ctx, client.Patient(forgotten), forgotten.Journal, last)
	w.ok(err)
	id, err := w.at[1].Erase(w.ctx, forgotten, protocol.Erase{Everything: true})
	w.ok(err)
	if len(packages()) != 6 {
		t.Fatal("the packages of a node that is stopped went")
	}
	w.ok(w.net.StartNode(0))
	w.at[0] = w.dial(w.net.Gateway(0))
	e, err := w.at[1].AwaitErased(w.ctx, forgotten, id, 0)
	w.ok(err)
	for name := range packages() {
		if strings.Contains(name, forgotten.Journal.String()) || e.Attested != 4 {
			t.Fatalf("%d nodes attest, and %s is there", e.Attested, name)
		}
	}
	w.eventually("what was claimed while the node was away goes", func() bool { return len(packages()) == 2 })
	if _, err := w.at[0].ClaimHandle(w.ctx, waiting.ClaimKeys(chain), "1980-02-03"); err != nil {
		t.Fatal("what somebody waits for went:", err)
	}
	w.ok(w.net.Stop())
	w.searchFolders(traces)
	check(t, dir)
	w.start(devConfig(dir, 4))
}

// nowhere searches all files of a folder.
func (w *world) nowhere(dir string, what []byte) {
	w.Helper()
	w.ok(filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, what) {
			w.Errorf("%s holds %q", path, what)
		}
		return err
	}))
}

// A patient loses the wallet: two of the family and a doctor bring the journal back to a new one. Then the old key is dead, records from
// before open through the custodians, and an attempt while the patient is still there is vetoed from a device.
func TestRecovery(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	c := w.at[0]
	chain := c.Genesis.Chain
	p := w.patient()
	w.write(p, 0, group("labs", "old"))
	n := wallet.Network{Chain: chain, Gateway: "http://example.invalid"}
	var family, providers []wallet.GuardianOffer
	wallets := map[[16]byte]*wallet.Wallet{}
	offer := func(to *[]wallet.GuardianOffer) {
		g := wallet.New(n)
		o, err := g.OfferGuardian()
		w.ok(err)
		back, err := wallet.ParseGuardianOffer(o.String())
		w.ok(err)
		wallets[o.ID], *to = g, append(*to, back)
	}
	for range 3 {
		offer(&family)
	}
	for range 2 {
		offer(&providers)
	}
	policy, err := wallet.NewGuardianPolicy(1500, []int{2, 1}, [][]wallet.GuardianOffer{family, providers})
	w.ok(err)
	w.ok(c.SetGuardians(w.ctx, p.keys, &policy))
	kit := func(o wallet.GuardianOffer) *wallet.Guardian {
		sealed, err := wallet.Kit{Network: n, Handle: p.keys.Handle(), Policy: protocol.Encode(policy), Note: "Ada"}.Seal(o)
		w.ok(err)
		g, err := wallets[o.ID].OpenKit(sealed)
		w.ok(err)
		return g
	}
	mum, dad, gp := kit(family[0]), kit(family[1]), kit(providers[1])

	// While the wallet is there: a device vetoes.
	phone := wallet.New(n)
	_, err = phone.AdoptJournal(p.keys.Handle(), "ada")
	w.ok(err)
	pk, err := phone.Keys(p.keys.Journal)
	w.ok(err)
	device, err := pk.OfferDevice(chain, "phone")
	w.ok(err)
	device, err = wallet.ParseDeviceOffer(device.String(), chain)
	w.ok(err)
	w.ok(c.AddDevice(w.ctx, p.keys, device))
	thief := wallet.New(n)
	successor := func(of *wallet.Wallet) (wallet.Successor, *wallet.JournalKeys) {
		_, err := of.AdoptJournal(mum.Kit.Handle, "main")
		w.ok(err)
		k, err := of.Keys(p.keys.Journal)
		w.ok(err)
		s, err := wallet.ParseSuccessor(k.Successor(chain).String(), chain)
		w.ok(err)
		return s, k
	}
	evil, _ := successor(thief)
	bad, err := c.ProposeRecovery(w.ctx, mum, evil)
	w.ok(err)
	state, err := c.Control(w.ctx, client.Patient(pk), p.keys.Journal)
	w.ok(err)
	if len(state.Recoveries) != 1 || state.Recoveries[0].State != "gathering" || len(state.Devices) != 1 {
		t.Fatalf("%+v", state)
	}
	w.ok(c.VetoRecovery(w.ctx, pk, bad))
	w.isRejected(c.ApproveRecovery(w.ctx, dad, bad), protocol.RecoveryOver)

	// The wallet is gone: the guardians help a new one.
	fresh := wallet.New(n)
	s, k := successor(fresh)
	id, err := c.ProposeRecovery(w.ctx, dad, s)
	w.ok(err)
	w.isRejected(c.ApproveRecovery(w.ctx, dad, id), protocol.AlreadySpoken)
	w.ok(c.ApproveRecovery(w.ctx, mum, id))
	_, err = c.Control(w.ctx, client.Patient(k), p.keys.Journal)
	w.isProblem(err, "unknown-signer") // not before
	w.ok(c.ApproveRecovery(w.ctx, gp, id))
	state, err = c.Control(w.ctx, client.Guardian(gp), p.keys.Journal)
	w.ok(err)
	if state.Due == 0 || len(state.Devices) != 0 {
		t.Fatalf("a guardian sees %+v", state)
	}
	w.eventually("the journal changes hands by itself, on an idle network", func() bool {
		_, err := c.Journal(w.ctx, client.Patient(k), k.Journal)
		return err == nil
	})
	_, err = c.Do(w.ctx, client.Patient(p.keys), k.Journal, &protocol.VetoRecovery{Recovery: id})
	w.isRejected(err, protocol.WrongKey)
	w.isRejected(c.RevokeDevice(w.ctx, pk, device.Key), protocol.DeviceRevoked)
	w.isRejected(c.VetoRecovery(w.ctx, k, id), protocol.RecoveryOver)
	w.equal(w.opened(0, k), []string{"old"})
	again := &patient{wallet: fresh, keys: k}
	w.write(again, 0, group("labs", "new"))
	w.equal(w.opened(0, k), []string{"new", "old"})
	w.complete(0, again)
}

// A stolen device is cut off in one step, in the middle of what it was doing; the wallet rotates and reads on with its old identities.
func TestStolenDevice(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	c := w.at[0]
	p := w.patient()
	w.write(p, 0, group("labs", "x"))
	phone := wallet.New(wallet.Network{Chain: c.Genesis.Chain})
	_, err := phone.AdoptJournal(p.keys.Handle(), "ada")
	w.ok(err)
	pk, err := phone.Keys(p.keys.Journal)
	w.ok(err)
	offer, err := pk.OfferDevice(c.Genesis.Chain, "phone")
	w.ok(err)
	w.ok(c.AddDevice(w.ctx, p.keys, offer))
	w.equal(w.opened(0, pk), []string{"x"}) // through the custodians: it has no identity that opens anything
	a, err := c.RequestAccess(w.ctx, client.Patient(pk), p.keys.Journal, protocol.PurposePatientRequest, labels(p, "labs"), nil)
	w.ok(err)
	_, err = c.Do(w.ctx, client.Patient(pk), p.keys.Journal, &protocol.SetGuardians{})
	w.isRejected(err, protocol.NotForDevices)

	w.ok(c.RevokeDevice(w.ctx, p.keys, offer.Key))
	_, err = c.Read(w.ctx, a)
	w.isProblem(err, "unknown-signer")
	w.eventually("no node answers the access of a device that was cut off", func() bool {
		for i := range w.at {
			if _, err := w.at[i].RequestAccess(w.ctx, client.Patient(pk), p.keys.Journal, protocol.PurposePatientRequest, labels(p, "labs"), nil); !errors.Is(err, &protocol.Rejection{Reason: protocol.DeviceRevoked}) {
				return false
			}
		}
		return true
	})
	rows := must(c.Records(w.ctx, p.keys))
	_, err = c.File(w.ctx, pk, rows[0].Ciphertext)
	w.isProblem(err, "unknown-signer")

	next, err := p.wallet.KeysAt(p.keys.Journal, 1)
	w.ok(err)
	w.ok(c.Rotate(w.ctx, p.keys, next))
	_, err = c.Journal(w.ctx, client.Patient(p.keys), p.keys.Journal)
	w.isProblem(err, "unknown-signer")
	found, row, ok, err := c.FindKeys(w.ctx, p.wallet, p.keys.Journal)
	w.ok(err)
	if !ok || found.Signing.Public() != next.Signing.Public() {
		t.Fatal("the rotated keys were not found")
	}
	w.equal(w.opened(0, found), []string{"x"})
	after, err := c.Journal(w.ctx, client.Patient(found), p.keys.Journal)
	w.ok(err)
	if after.Count != row.Count {
		t.Fatal("what the wallet's old identity opens needs no access")
	}
	res, err := http.Get(w.net.Gateway(0) + api.PathClaimOpen)
	w.ok(err)
	if _ = res.Body.Close(); res.StatusCode != http.StatusMethodNotAllowed {
		t.Fatal("a code can be put into a URL", res.StatusCode)
	}
}

func now() uint64 { return uint64(time.Now().UnixMilli()) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
