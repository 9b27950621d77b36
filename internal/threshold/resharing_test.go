package threshold_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/threshold/thresholdtest"
)

// The key survives any change of membership; the old epoch's shares do not mix with the new one's.
func TestResharing(t *testing.T) {
	keys, shares := thresholdtest.Keys(t, "test-1", 2, 4)
	c := mustSeal(t, keys, "before all of it")
	for _, n := range []int{4, 7, 3, 1, 5} {
		dealers := shares[len(shares)-keys.T:] // exactly T of them, not the first
		next, nextShares := thresholdtest.Reshare(t, "test-1", keys, dealers, n)
		if !bytes.Equal(next.Public.Bytes(), keys.Public.Bytes()) || next.Epoch != keys.Epoch+1 {
			t.Fatal("resharing changed the key")
		}
		if got := mustOpen(t, next, nextShares[:next.T], c); string(got) != "before all of it" {
			t.Fatalf("n=%d: opened %q", n, got)
		}
		if next.Verification[0].Equal(keys.Verification[0]) || bytes.Equal(nextShares[0].Bytes()[11:], shares[0].Bytes()[11:]) {
			t.Fatal("a share survived the epoch")
		}
		keys, shares = next, nextShares
	}
	again, _ := thresholdtest.Reshare(t, "test-1", keys, shares, 4) // more dealers than needed
	if !bytes.Equal(again.Public.Bytes(), keys.Public.Bytes()) {
		t.Fatal("resharing by all changed the key")
	}
}

func TestResharingRefuses(t *testing.T) {
	keys, shares := thresholdtest.Keys(t, "test-1", 2, 4)
	_, strangers := thresholdtest.Keys(t, "test-1", 2, 4)
	params, _ := thresholdtest.Params(t, "test-1", 2, 2, 4)
	fresh, err := threshold.NewDealing(rand.Reader, params, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := threshold.NewResharing(rand.Reader, params, shares[0]); !errors.Is(err, threshold.ErrMismatch) {
		t.Errorf("resharing without previous epoch: %v", err)
	}
	params.Previous = keys
	for name, s := range map[string]*threshold.Share{"nil": nil, "zero": {}, "of another key": strangers[0]} {
		if _, err := threshold.NewResharing(rand.Reader, params, s); err == nil {
			t.Errorf("share %s reshared", name)
		}
	}
	if _, err := threshold.NewDealing(rand.Reader, params, 1); !errors.Is(err, threshold.ErrMismatch) {
		t.Errorf("fresh dealing in a resharing: %v", err)
	}
	if err := threshold.VerifyDeal(params, fresh.Deal); !errors.Is(err, threshold.ErrDeal) {
		t.Errorf("a deal of something else than the share: %v", err)
	}
	var deals []*threshold.Deal
	for _, s := range shares[:2] {
		g, err := threshold.NewResharing(rand.Reader, params, s)
		if err != nil {
			t.Fatal(err)
		}
		deals = append(deals, g.Deal)
	}
	if _, err := threshold.Finish(params, deals); !errors.Is(err, threshold.ErrQualified) {
		t.Errorf("resharing by fewer than the old threshold: %v", err)
	}
	for name, change := range map[string]func(*threshold.Params){
		"same epoch":       func(p *threshold.Params) { p.Epoch = keys.Epoch },
		"other generation": func(p *threshold.Params) { p.Generation++ },
		"bad previous":     func(p *threshold.Params) { k := *keys; k.T--; p.Previous = &k },
		"fewer keys":       func(p *threshold.Params) { k := *keys; k.Verification = k.Verification[:3]; p.Previous = &k },
	} {
		p := *params
		change(&p)
		if err := p.Validate(); !errors.Is(err, threshold.ErrMismatch) {
			t.Errorf("%s: %v, want ErrMismatch", name, err)
		}
	}
}

// A dealer that hands on anything but its share of the previous epoch would change the key.
func TestResharingOfAnotherSecretIsRefused(t *testing.T) {
	keys, shares := thresholdtest.Keys(t, "test-1", 2, 4)
	params, _ := thresholdtest.Params(t, "test-1", 2, 2, 7)
	params.Previous = keys
	for dealer, want := range map[int]string{2: "does not pass on its share", 5: "dealer 5 of 4"} {
		g, err := threshold.CheatingResharing(rand.Reader, params, dealer)
		if err != nil {
			t.Fatal(err)
		}
		if err := threshold.VerifyDeal(params, g.Deal); !errors.Is(err, threshold.ErrDeal) || !strings.Contains(err.Error(), want) {
			t.Errorf("dealer %d: %v, want %q", dealer, err, want)
		}
	}
	other, _ := thresholdtest.Keys(t, "test-1", 2, 4)
	mixed := *keys
	mixed.Public = other.Public // keys that do not belong together
	params.Previous = &mixed
	var deals []*threshold.Deal
	for _, s := range shares[:3] {
		g, err := threshold.NewResharing(rand.Reader, params, s)
		if err != nil {
			t.Fatal(err)
		}
		deals = append(deals, g.Deal)
	}
	if _, err := threshold.Finish(params, deals); !errors.Is(err, threshold.ErrQualified) {
		t.Errorf("resharing to another public key: %v", err)
	}
}
