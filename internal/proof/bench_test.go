//go:build !js

package proof_test

import (
	"bytes"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/proof"
)

func BenchmarkVerify(b *testing.B) {
	n := story(b, 4)
	export := n.write(n.prove(n.patient.Journal()))
	b.SetBytes(int64(len(export)))
	for b.Loop() {
		if r, err := proof.Verify(bytes.NewReader(export), n.options()); err != nil || !r.OK {
			b.Fatal(err)
		}
	}
}
