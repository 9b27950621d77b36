//go:build !js

package proof_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/proof"
)

// flips says which bytes to change: all with ANAMNESIS_SLOW set (two minutes), else a sample that reaches every section and header.
func flips(export []byte) (at []int) {
	stride := 83
	if os.Getenv("ANAMNESIS_SLOW") != "" {
		stride = 1
	}
	for i := 0; i < len(export); i += stride {
		at = append(at, i)
	}
	return at
}

// Whatever byte of an export is changed, the change is noticed.
func TestEveryByteCounts(t *testing.T) {
	n := story(t, 2)
	export := n.write(n.prove(n.patient.Journal()))
	o := n.options()
	if r := verify(t, export, o); !r.OK {
		t.Fatal(r.Failures)
	}
	changed := bytes.Clone(export)
	for k, i := range flips(export) {
		changed[i] ^= 1 << (k % 8)
		r, err := proof.Verify(bytes.NewReader(changed), o)
		if r.OK || err == nil && len(r.Failures) == 0 {
			t.Errorf("byte %d: bit %d flipped, and nothing is noticed", i, k%8)
		}
		changed[i] = export[i]
	}
	t.Logf("%d of %d bytes", len(flips(export)), len(export))
}
