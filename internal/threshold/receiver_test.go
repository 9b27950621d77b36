package threshold_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
)

func TestParsePortionRefuses(t *testing.T) {
	c := newCeremony(t, 3)
	p, err := c.open(1, 2, c.dealings[0].Ciphertexts[1])
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int]error{0: threshold.ErrEncoding, 10: threshold.ErrLimit, 12: threshold.ErrLimit, 44: threshold.ErrScalar} {
		bent := p.Bytes()
		bent[at] = 0xff
		if _, err := threshold.ParsePortion(bent); !errors.Is(err, want) {
			t.Errorf("byte %d: %v, want %v", at, err, want)
		}
	}
}

func TestReceiverKeyRoundTrip(t *testing.T) {
	key, err := threshold.NewReceiverKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again, err := threshold.ParseReceiverKey(seed)
	if err != nil || !bytes.Equal(again.Public(), key.Public()) || threshold.CheckReceiverKey(key.Public()) != nil {
		t.Fatalf("receiver key: %v", err)
	}
	if _, err := threshold.ParseReceiverKey(seed[:31]); !errors.Is(err, threshold.ErrEncoding) {
		t.Errorf("short seed: %v", err)
	}
	if _, err := threshold.NewReceiverKey(bytes.NewReader(seed[:31])); !errors.Is(err, threshold.ErrRandomness) {
		t.Errorf("short randomness: %v", err)
	}
	if _, err := new(threshold.ReceiverKey).Bytes(); !errors.Is(err, threshold.ErrMismatch) {
		t.Errorf("zero key: %v", err)
	}
}
