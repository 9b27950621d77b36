package fsck_test

import (
	"context"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/fsck"
	"github.com/anamnesis-health/anamnesis/internal/node"
)

func TestCleanNetworkHasNoFaults(t *testing.T) {
	dir := t.TempDir()
	net, err := node.StartDev(node.DevConfig{Dir: dir, Members: 4, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := net.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if err := net.Stop(); err != nil {
		t.Fatal(err)
	}
	r, err := fsck.Run(ctx, fsck.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	if !r.OK || r.Rows == 0 || r.Blocks == 0 {
		t.Fatal("faults in a clean network")
	}
}
