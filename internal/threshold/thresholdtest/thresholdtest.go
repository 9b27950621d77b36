// Package thresholdtest makes collective keys for the tests of other packages, by running the real key generation with honest
// dealers in one process.
package thresholdtest

import (
	"crypto/rand"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
)

// Keys generates a fresh key of a generation, epoch 1, among n custodians. shares[i] is custodian i+1's.
func Keys(t testing.TB, chain string, generation uint32, n int) (*threshold.Keys, []*threshold.Share) {
	t.Helper()
	params, receivers := Params(t, chain, generation, 1, n)
	dealings := make([]*threshold.Dealing, n)
	for i := range dealings {
		var err error
		if dealings[i], err = threshold.NewDealing(rand.Reader, params, i+1); err != nil {
			t.Fatal(err)
		}
	}
	return finish(t, params, receivers, dealings)
}

// Reshare passes the key of keys on to n custodians of the next epoch. Those whose shares are given deal.
func Reshare(t testing.TB, chain string, keys *threshold.Keys, shares []*threshold.Share, n int) (*threshold.Keys, []*threshold.Share) {
	t.Helper()
	params, receivers := Params(t, chain, keys.Generation, keys.Epoch+1, n)
	params.Previous = keys
	dealings := make([]*threshold.Dealing, len(shares))
	for i, s := range shares {
		var err error
		if dealings[i], err = threshold.NewResharing(rand.Reader, params, s); err != nil {
			t.Fatal(err)
		}
	}
	return finish(t, params, receivers, dealings)
}

// Params makes the parameters of a fresh ceremony and its receivers' private keys.
func Params(t testing.TB, chain string, generation, epoch uint32, n int) (*threshold.Params, []*threshold.ReceiverKey) {
	t.Helper()
	params := &threshold.Params{Chain: chain, Generation: generation, Epoch: epoch, N: n, T: threshold.Threshold(n)}
	receivers := make([]*threshold.ReceiverKey, n)
	for i := range receivers {
		var err error
		if receivers[i], err = threshold.NewReceiverKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
		params.ReceiverKeys = append(params.ReceiverKeys, receivers[i].Public())
	}
	return params, receivers
}

func finish(t testing.TB, params *threshold.Params, receivers []*threshold.ReceiverKey, dealings []*threshold.Dealing) (*threshold.Keys, []*threshold.Share) {
	t.Helper()
	deals := make([]*threshold.Deal, len(dealings))
	for i, g := range dealings {
		deals[i] = g.Deal
	}
	keys, err := threshold.Finish(params, deals)
	if err != nil {
		t.Fatal(err)
	}
	shares := make([]*threshold.Share, params.N)
	for j, key := range receivers {
		var portions []*threshold.Portion
		for _, g := range dealings {
			p, err := threshold.OpenShare(params, g.Deal, j+1, key, g.Ciphertexts[j])
			if err != nil {
				t.Fatal(err)
			}
			portions = append(portions, p)
		}
		if shares[j], err = threshold.FinishShare(params, deals, j+1, portions); err != nil {
			t.Fatal(err)
		}
	}
	return keys, shares
}
