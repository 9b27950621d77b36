package synth

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
	"math/rand/v2"
)

// dice is the source of chance. It uses the generator's raw output and its own reduction, because the generator's
// algorithm is documented and the library's reductions are not.
type dice struct{ src *rand.PCG }

func newDice(seed uint64, patient int) dice {
	return dice{rand.NewPCG(seed, uint64(patient)*0x9e3779b97f4a7c15+1)}
}

// below is a number in 0 … n−1.
func (d dice) below(n int) int {
	hi, _ := bits.Mul64(d.src.Uint64(), uint64(n))
	return int(hi)
}

// between is a number in lo … hi.
func (d dice) between(lo, hi int) int { return lo + d.below(hi-lo+1) }

// chance is true in percent of all cases.
func (d dice) chance(percent int) bool { return d.below(100) < percent }

// around is mid with a triangular scatter of ± width.
func (d dice) around(mid, width int) int {
	if width <= 0 {
		return mid
	}
	return mid + d.below(width+1) - d.below(width+1)
}

func pick[T any](d dice, list []T) T { return list[d.below(len(list))] }

// some picks n different elements, in list order.
func some[T any](d dice, list []T, n int) []T {
	var out []T
	for i, left := 0, len(list); i < len(list) && n > 0; i, left = i+1, left-1 {
		if d.below(left) < n {
			out = append(out, list[i])
			n--
		}
	}
	return out
}

// uuid is a random UUID (RFC 9562 version 4).
func (d dice) uuid() string {
	var b [16]byte
	for i, v := range [2]uint64{d.src.Uint64(), d.src.Uint64()} {
		for j := range 8 {
			b[8*i+j] = byte(v >> (56 - 8*j))
		}
	}
	return formatUUID(b, 4)
}

// namedUUID is the same for a name in every history: what patients share (RFC 9562 version 8).
func namedUUID(name string) string {
	h := sha256.Sum256([]byte("anamnesis/synth/v1\x00" + name))
	return formatUUID([16]byte(h[:16]), 8)
}

func formatUUID(b [16]byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
