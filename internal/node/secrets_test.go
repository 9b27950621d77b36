package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What a crash left of a secret that was being written goes at the next start: the secret itself may have been erased since.
func TestSecretsLeaveNothingHalfWritten(t *testing.T) {
	dir := t.TempDir()
	s, err := openSecrets(dir, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put("claim-1", []byte("a package")); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, ".claim-2.12345")
	if err := os.WriteFile(left, []byte("half a package"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = openSecrets(dir, [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Error("what was half written is still there", err)
	}
	if names, err := s.List("claim-"); err != nil || !slices.Equal(names, []string{"claim-1"}) {
		t.Error(names, err)
	}
	if got, ok, err := s.Get("claim-1"); string(got) != "a package" || !ok || err != nil {
		t.Error(got, ok, err)
	}
}
