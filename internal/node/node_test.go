package node_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/port"
)

// A network of four starts, generates its key, stops and resumes.
func TestDevNetStartsAndResumes(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		net, err := node.StartDev(node.DevConfig{Dir: dir, Members: 4, Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := net.Ready(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if err := net.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// A node that is stopped finds its ports free when it comes back: no other network on the machine is given them meanwhile.
func TestStoppedNodeKeepsItsPorts(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 2))
	w.ok(w.net.StopNode(1))
	for _, a := range w.net.Ports(1) {
		w.ok(port.Try(a)) // nothing listens there
		if _, err := port.Keep(a); !errors.Is(err, port.ErrTaken) {
			t.Errorf("%s: another could have it: %v", a, err)
		}
	}
	w.ok(w.net.StartNode(1))
}
