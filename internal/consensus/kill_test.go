package consensus

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The kill tests run this test binary as a child that hosts the whole network, and kill -9 it.
const childEnv = "ANAMNESIS_CONSENSUS_CHILD"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		child(spec)
		return
	}
	os.Exit(m.Run())
}

type childT struct{ testing.TB }

func (childT) Helper()                   {}
func (childT) Fatal(args ...any)         { fmt.Println(append([]any{"fatal"}, args...)...); os.Exit(1) }
func (childT) Fatalf(f string, a ...any) { fmt.Printf("fatal "+f+"\n", a...); os.Exit(1) }

// child runs the network of spec and prints "ack NAME" after each committed parcel, until it is killed.
func child(spec string) {
	f := strings.Split(spec, "|") // round, genesis millis, folder, addresses...
	millis, _ := strconv.ParseInt(f[1], 10, 64)
	n := killNetwork(childT{}, millis, f[2], f[3:])
	out := make(chan string)
	for c := range 8 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("r%s-c%d-%d", f[0], c, i)
				if _, err := n.nodes[c%len(n.nodes)].Submit(context.Background(), []byte(name)); err != nil {
					out <- "error " + err.Error()
					return
				}
				out <- "ack " + name
			}
		}()
	}
	for line := range out {
		fmt.Println(line)
	}
}

func killNetwork(t testing.TB, genesisMillis int64, dir string, addresses []string) *network {
	n := &network{t: t, configs: networkConfigs(t, dir, len(addresses), addresses), nodes: make([]*Node, len(addresses))}
	for i := range n.configs {
		n.configs[i].Genesis.Time = time.UnixMilli(genesisMillis)
		n.apps = append(n.apps, newTestApp(filepath.Join(dir, fmt.Sprintf("app%d", i), "state")))
		n.start(i)
	}
	return n
}

func TestKill9OneNode(t *testing.T)   { killLoop(t, 1, 6) }
func TestKill9FourNodes(t *testing.T) { killLoop(t, 4, 3) }

// killLoop kills the network at random instants, then looks whether every acknowledged parcel is in the state of
// every node, and all agree.
func killLoop(t *testing.T, nodes, rounds int) {
	t.Parallel()
	if testing.Short() {
		rounds = 1
	}
	dir, millis := t.TempDir(), time.Now().UnixMilli()
	var addresses []string
	for range nodes {
		addresses = append(addresses, freeAddress(t))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var acked []string
	for r := range rounds {
		spec := fmt.Sprintf("%d|%d|%s|%s", r, millis, dir, strings.Join(addresses, "|"))
		acked = append(acked, killOnce(t, spec, 1+random.IntN(60), time.Duration(random.IntN(20_000))*time.Microsecond)...)
	}
	n := killNetwork(t, millis, dir, addresses)
	for i := range n.nodes {
		defer n.stop(i)
	}
	n.submit(0, []byte("after all"))
	n.sameState(1)
	for i := range n.nodes {
		for _, a := range acked {
			if !n.app(i).has([]byte(a)) {
				t.Errorf("node %d lost %s", i, a)
			}
		}
	}
	t.Logf("%d parcels acknowledged before %d kills", len(acked), rounds)
}

// killOnce starts the child and kills it some time after its acks'th acknowledgement. It returns those it saw.
func killOnce(t *testing.T, spec string, acks int, more time.Duration) []string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+spec)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	var seen []string
	kill := func() { _ = cmd.Process.Kill() }
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			return seen
		}
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "ack ")
		if !ok {
			kill()
			t.Fatalf("child says: %s", line)
		}
		seen = append(seen, name)
		if len(seen) == acks {
			time.AfterFunc(more, kill)
		}
	}
}
