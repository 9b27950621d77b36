package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/node"
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
