package bench

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// The load client reads answers without reflection: as the protocol encodes them, and nothing else.
func TestCountAccepted(t *testing.T) {
	results := make([]protocol.Result, 40)
	for i := range results {
		results[i] = protocol.Result{ID: protocol.ActionID{byte(i)}, Height: 1 << (i % 40), First: uint64(i) * 1000}
	}
	results[7].Reason, results[9].Reason = protocol.NotPermitted, protocol.Expired
	raw := protocol.Encode(results)
	if n, err := countAccepted(raw, 40); n != 38 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := countAccepted(raw, 41); !errors.Is(err, errAnswer) {
		t.Fatal("an answer for another number of envelopes:", err)
	}
	for cut := range raw {
		if _, err := countAccepted(raw[:cut], 40); !errors.Is(err, errAnswer) {
			t.Fatalf("cut off at %d: %v", cut, err)
		}
	}
}

func TestRequestsAreWhatTheGatewayReads(t *testing.T) {
	envelopes := [][]byte{{1, 2, 3}, make([]byte, 400)}
	var s api.Submission
	if err := json.Unmarshal(asSubmission(envelopes).body, &s); err != nil || len(s.Envelopes) != 2 || string(s.Envelopes[1]) != string(envelopes[1]) {
		t.Fatal(s, err)
	}
	back, err := protocol.DecodeParcel(asParcel(envelopes).body)
	if err != nil || len(back) != 2 || string(back[0]) != string(envelopes[0]) {
		t.Fatal(back, err)
	}
}

func TestFigures(t *testing.T) {
	r := &run{}
	r.add("rate", 12345.678, "1/s", "limit", 50000)
	r.add("nothing to hold it against", 3, "ms", "", 0)
	path := filepath.Join(t.TempDir(), "deep", "latest.json")
	if err := WriteFile(path, r.figures); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(raw, &got); err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if got[0]["value"] != 12350.0 || got[0]["ratio"] != 0.2469 || got[0]["limit_value"] != 50000.0 || got[1]["ratio"] != 0.0 {
		t.Fatal(got)
	}
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(100-i)*time.Millisecond)
	}
	if p50, p95 := quantile(times, 0.5), quantile(times, 0.95); p50 != 50 || p95 != 95 {
		t.Fatal(p50, p95)
	}
}

func TestUnknownMeasurement(t *testing.T) {
	if _, err := Run(t.Context(), Options{Only: "no such", Dir: t.TempDir()}); !errors.Is(err, ErrNothing) {
		t.Fatal(err)
	}
}
