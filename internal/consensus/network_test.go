package consensus

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/port"
)

// network is n nodes of one process over loopback TCP.
type network struct {
	t       testing.TB
	configs []Config
	apps    []Application
	nodes   []*Node
}

func freeAddress(t testing.TB) string {
	k, err := port.Free("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Release)
	return k.Address
}

func networkConfigs(t testing.TB, dir string, n int, addresses []string) []Config {
	g := Genesis{ChainID: "test-net", Time: time.Now(), App: []byte{0, 1, 2, 0xff}}
	var peers []Peer
	for i := range n {
		v := key(fmt.Sprintf("validator %d", i)).Public().(ed25519.PublicKey)
		g.Validators = append(g.Validators, Validator{Name: fmt.Sprintf("n%d", i), Key: v, Power: 1})
		peers = append(peers, Peer{Key: key(fmt.Sprintf("node %d", i)).Public().(ed25519.PublicKey), Address: addresses[i]})
	}
	out := make([]Config, n)
	for i := range out {
		out[i] = Config{
			Dir: filepath.Join(dir, fmt.Sprintf("node%d", i)), Genesis: g, Listen: addresses[i],
			ValidatorKey: key(fmt.Sprintf("validator %d", i)), NodeKey: key(fmt.Sprintf("node %d", i)),
		}
		for j, p := range peers {
			if j != i {
				out[i].Peers = append(out[i].Peers, p)
			}
		}
		if os.Getenv("ANAMNESIS_LOG") != "" {
			out[i].Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", i)
		}
	}
	return out
}

func newNetwork(t testing.TB, n int, app func(i int) Application, tweak func(i int, c *Config)) *network {
	addresses := make([]string, n)
	for i := range addresses {
		addresses[i] = freeAddress(t)
	}
	net := &network{t: t, configs: networkConfigs(t, t.TempDir(), n, addresses), nodes: make([]*Node, n)}
	for i := range n {
		if tweak != nil {
			tweak(i, &net.configs[i])
		}
		net.apps = append(net.apps, app(i))
		net.start(i)
	}
	t.Cleanup(func() {
		for i := range net.nodes {
			net.stop(i)
		}
	})
	return net
}

func (n *network) start(i int) {
	n.t.Helper()
	node, err := Start(n.configs[i], n.apps[i])
	if err != nil {
		n.t.Fatalf("start node %d: %v", i, err)
	}
	n.nodes[i] = node
}

func (n *network) stop(i int) {
	if n.nodes[i] != nil {
		n.nodes[i].Stop()
		n.nodes[i] = nil
	}
}

func (n *network) submit(i int, parcel []byte) Outcome {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	out, err := n.nodes[i].Submit(ctx, parcel)
	if err != nil {
		n.t.Fatalf("submit to node %d: %v", i, err)
	}
	return out
}

// eventually polls a condition that other goroutines make true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func memoryApps(int) Application { return newTestApp("") }
