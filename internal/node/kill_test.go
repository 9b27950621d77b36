package node_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Some tests run this test binary as a child that hosts a network, for the sake of killing it or of looking at it from outside.
const childEnv = "ANAMNESIS_NODE_CHILD"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		if err := child(spec); err != nil {
			fmt.Println("error " + err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child runs the network of spec (members, folder), prints its gateways once it serves, and stops when its input ends.
func child(spec string) error {
	count, dir, _ := strings.Cut(spec, "|")
	members, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	net, err := node.StartDev(devConfig(dir, members))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := net.Ready(ctx); err != nil {
		return err
	}
	var gateways []string
	for i := range net.Nodes {
		gateways = append(gateways, net.Gateway(i))
	}
	fmt.Println("up " + strings.Join(gateways, " "))
	_, _ = io.Copy(io.Discard, os.Stdin)
	return net.Stop()
}

// process is a child under way.
type process struct {
	cmd      *exec.Cmd
	stdin    io.Closer
	gateways []string
}

func startChild(t testing.TB, members int, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d|%s", childEnv, members, dir))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, stdin: stdin}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	gateways, ok := strings.CutPrefix(strings.TrimSpace(line), "up ")
	if err != nil || !ok {
		t.Fatalf("the child says %q (%v)", line, err)
	}
	p.gateways = strings.Fields(gateways)
	return p
}

// kill is kill -9. Twice does no harm.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// stop asks the child to stop, and waits.
func (p *process) stop(t testing.TB) {
	t.Helper()
	_ = p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Fatal("the child did not stop cleanly:", err)
	}
}

// acknowledged is an action that a gateway said is on the ledger.
type acknowledged struct {
	id     protocol.ActionID
	first  uint64
	height uint64
}

// killer is a network that is killed and started again and again, and what was acknowledged meanwhile.
type killer struct {
	*world
	dir     string
	members int
	who     []*wallet.Actor
	p       *patient

	mu    sync.Mutex // guards what follows
	acks  []acknowledged
	texts map[string]bool // of records that were acknowledged
	tried map[string]bool // of records that were sent
	reads int

	granted int // contracts made and revoked again
}

func TestKillFourNodes(t *testing.T) { t.Parallel(); killLoop(t, 4, 3) }
func TestKillOneNode(t *testing.T)   { t.Parallel(); killLoop(t, 1, 3) }

// killLoop kills the process that hosts a network, at random instants under load, and starts it again: whatever was acknowledged is there,
// nothing is there by half, and the folder that the kill leaves has no fault.
func killLoop(t *testing.T, members, rounds int) {
	if os.Getenv("SOAK") != "" {
		rounds *= 10
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	k := &killer{world: &world{TB: t, ctx: testContext(t)}, dir: t.TempDir(), members: members, texts: map[string]bool{}, tried: map[string]bool{}}
	child := k.up()
	k.prepare(child)
	for round := range rounds {
		k.load(round, child, time.Duration(150+random.IntN(500))*time.Millisecond)
		notes := check(t, k.dir).Findings
		child = k.up()
		k.allThere()
		t.Logf("round %d: %d acknowledged, %d read, %d notes", round, len(k.acks), k.reads, len(notes))
	}
	child.stop(t)
	if r := check(t, k.dir); len(r.Findings) > 0 {
		t.Errorf("after a clean stop: %+v", r.Findings)
	}
}

func (k *killer) up() *process {
	k.Helper()
	child := startChild(k.TB, k.members, k.dir)
	k.at = nil
	for _, g := range child.gateways {
		k.at = append(k.at, k.dial(g))
	}
	return child
}

// prepare makes the people: the members' actors, a patient, a doctor with a grant.
func (k *killer) prepare(*process) {
	k.Helper()
	_, names, pass, err := node.ReadDev(k.dir)
	k.ok(err)
	for _, name := range names {
		raw, err := os.ReadFile(k.dir + "/members/" + name + ".actor")
		k.ok(err)
		a, err := wallet.DecryptActor(raw, pass)
		k.ok(err)
		k.who = append(k.who, a)
	}
	k.p, err = newPatient(k.ctx, k.at[0])
	k.ok(err)
	id := protocol.PractitionerID(wallet.NewRecordID())
	k.doctor = wallet.NewPractitioner(wallet.Network{Chain: k.at[0].Genesis.Chain, Gateway: "http://example.invalid"}, id, "Dr. Test")
	k.ok(k.at[0].RegisterPractitioner(k.ctx, client.Actor(k.who[0]), id, k.doctor.Key.Public(), protocol.RolePhysician,
		uint64(time.Now().AddDate(1, 0, 0).UnixMilli()), "Dr. Test", "medicine"))
	_, err = k.at[0].GrantTemplate(k.ctx, k.p.keys, "care-team", consent.Params{Grantee: consent.Grantee{Practitioner: id}}, 0)
	k.ok(err)
}

// load writes and reads through all gateways, and kills the network in the middle of it.
func (k *killer) load(round int, child *process, after time.Duration) {
	k.Helper()
	ctx, cancel := context.WithCancel(k.ctx)
	defer cancel()
	var work sync.WaitGroup
	started := make(chan struct{})
	var once sync.Once
	for m := range k.at {
		work.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if k.write(ctx, m, fmt.Sprintf("r%d-m%d-%d", round, m, i)) {
					once.Do(func() { close(started) })
				}
			}
		})
	}
	work.Go(func() {
		for ctx.Err() == nil {
			k.grantThree(ctx)
		}
	})
	work.Go(func() {
		for ctx.Err() == nil {
			k.readOne(ctx)
		}
	})
	select {
	case <-started:
	case <-k.ctx.Done():
		k.Fatal("nothing was acknowledged")
	}
	time.AfterFunc(after, func() { child.kill(); cancel() })
	work.Wait()
	child.kill()
}

func (k *killer) write(ctx context.Context, m int, text string) bool {
	k.mu.Lock()
	k.tried[text] = true
	k.mu.Unlock()
	g := group("labs", text)
	written, _, err := k.at[m].WriteRecords(ctx, client.Actor(k.who[m]), k.p.keys.Handle(), append(numberedGroups(0), g), nil)
	if err != nil || len(written) != 1 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.texts[text] = true
	return true
}

// grantThree makes three contracts in one envelope: all of them, or none.
func (k *killer) grantThree(ctx context.Context) {
	k.mu.Lock()
	enough := k.granted >= protocol.ContractsJournalMax // the ledger keeps twice as many rows, and forgets the oldest that are over
	k.mu.Unlock()
	if enough {
		return
	}
	policy, t, err := consent.Render("second-opinion", consent.Params{Grantee: consent.Grantee{Member: k.at[0].Genesis.Members[0].ID()}})
	if err != nil {
		k.Error(err)
		return
	}
	var three []protocol.Action
	for range 3 {
		three = append(three, &protocol.Grant{Template: t.Number, Policy: policy, NotAfter: uint64(time.Now().Add(time.Hour).UnixMilli()), UsesMax: t.UsesMax})
	}
	r, err := k.at[len(k.at)-1].Do(ctx, client.Patient(k.p.keys), k.p.keys.Journal, three...)
	if err != nil {
		return
	}
	k.mu.Lock()
	k.acks = append(k.acks, acknowledged{r.ID, r.First, r.Height})
	k.mu.Unlock()
	for i := range three { // a journal has room for so many that last
		three[i] = &protocol.Revoke{Contract: protocol.DerivedContractID(r.ID, i)}
	}
	if r, err = k.at[0].Do(ctx, client.Patient(k.p.keys), k.p.keys.Journal, three...); err != nil {
		return
	}
	k.mu.Lock()
	k.acks = append(k.acks, acknowledged{r.ID, r.First, r.Height})
	k.granted += 3
	k.mu.Unlock()
}

func (k *killer) readOne(ctx context.Context) {
	a, err := k.at[0].RequestAccess(ctx, client.Actor(k.doctor), k.p.keys.Journal, protocol.PurposeTreat, labels(k.p, "labs"), nil)
	if err != nil {
		return
	}
	if read, err := k.at[0].Read(ctx, a); err == nil && len(read.Records) > 0 {
		k.mu.Lock()
		k.reads++
		k.mu.Unlock()
	}
}

// allThere looks at the network after a start: every acknowledged action with its result, entry and receipt; every acknowledged record, read
// by a doctor through the custodians; no record that nobody sent; no envelope by half; and the journal proven complete.
func (k *killer) allThere() {
	k.Helper()
	for i, a := range k.acks {
		var r api.Result
		k.ok(k.fetch(k.gateway(i)+"/v1/actions/"+a.id.String(), &r))
		if !r.OK || r.First != a.first || r.Height != a.height {
			k.Fatalf("acknowledged %+v, now %+v", a, r)
		}
	}
	for i, a := range k.acks[max(0, len(k.acks)-4):] {
		text, err := k.at[i%len(k.at)].Receipt(k.ctx, client.Patient(k.p.keys), a.first)
		k.ok(err)
		r, err := proof.VerifyReceipt(text, proof.Options{Policy: []byte(k.at[0].Network.Policy), Now: uint64(time.Now().UnixMilli()), MaxAge: time.Minute})
		if err != nil || !r.OK {
			k.Fatalf("receipt of %d: %v %+v", a.first, err, r)
		}
	}
	k.wholeEnvelopes()
	k.complete(0, k.p)
	last := len(k.at) - 1
	a := k.access(last, k.doctor, k.p, "labs")
	got := map[string]bool{}
	for _, s := range k.read(last, a) {
		if got[s] || !k.tried[s] {
			k.Fatalf("record %q is there twice, or was never sent", s)
		}
		got[s] = true
	}
	for s := range k.texts {
		if !got[s] {
			k.Fatalf("the acknowledged record %q is gone", s)
		}
	}
}

func (k *killer) gateway(i int) string { return k.p.gatewayOf(k.at[i%len(k.at)]) }

func (*patient) gatewayOf(c *client.Client) string {
	for _, m := range c.Network.Members {
		if m.ID == c.Network.Member {
			return "http://" + m.Gateway
		}
	}
	return ""
}

func (k *killer) wholeEnvelopes() {
	k.Helper()
	contracts, err := k.at[0].Contracts(k.ctx, k.p.keys)
	k.ok(err)
	of := map[uint64]int{}
	for _, c := range contracts {
		if c.Template == 3 {
			of[c.Granted]++
		}
	}
	total := 0
	for at, n := range of {
		if n%3 != 0 {
			k.Fatalf("%d contracts of one block at %d: an envelope is there by half", n, at)
		}
		total += n
	}
	if total < k.granted {
		k.Fatalf("%d contracts of %d acknowledged", total, k.granted)
	}
}

func (k *killer) fetch(url string, out any) error {
	req, err := http.NewRequestWithContext(k.ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(out)
}
