// Package bench measures what users wait for and what bounds it: actions committed through the HTTP API, the latency of a commit, a read
// from request to plaintext, an import, the state map, receipts. Each figure stands beside a limit of the same machine measured within the
// same run (a core's signature checks, its hashes, the disk's syncs), and their ratio is what can be compared between machines and days.
//
// Everything runs in this process on real networks (internal/node, as `anamnesis dev` runs them): the nodes share nothing but the machine,
// each checks every signature for itself, and the clients that make the load take their part of the same cores.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Options of a run.
type Options struct {
	Quick bool      // shorter, on smaller data: less than a minute
	Only  string    // run the measurements whose name contains this
	Data  string    // folder of FHIR files to import; "": shared/data/synthea-load above the working folder, else made-up patients
	Dir   string    // where the networks' folders go while they run; "": the system's temporary folder
	Log   io.Writer // what goes on meanwhile; nil: nowhere

	Profile string // folder for CPU profiles of the loads; "": none
}

// Figure is one result.
type Figure struct {
	Metric     string  `json:"metric"`
	Value      float64 `json:"value"`
	Unit       string  `json:"unit"`
	Limit      string  `json:"limit"`       // what it is held against
	LimitValue float64 `json:"limit_value"` // in the unit that the limit names
	Ratio      float64 `json:"ratio"`       // value over limit_value
}

// measurement is one group of figures.
type measurement struct {
	name string
	do   func(context.Context, *run) error
}

// measurements, in the order in which they run.
var measurements = []measurement{
	{"limits", measureLimits},
	{"actions-1", func(ctx context.Context, r *run) error { return r.measureActions(ctx, 1) }},
	{"actions-4", func(ctx context.Context, r *run) error { return r.measureActions(ctx, 4) }},
	{"read", measureRead},
	{"import", measureImport},
	{"erase", measureErase},
	{"map", measureMap},
	{"receipt", measureReceipt},
}

// Names are what Options.Only chooses from.
func Names() (out []string) {
	for _, m := range measurements {
		out = append(out, m.name)
	}
	return out
}

// run is one call of Run.
type run struct {
	Options
	dir     string
	figures []Figure
}

// ErrNothing says that Only names no measurement.
var ErrNothing = errors.New("no measurement has such a name")

// Run measures. A measurement that fails ends the run; the figures so far are returned with the error.
func Run(ctx context.Context, o Options) ([]Figure, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	dir, err := os.MkdirTemp(o.Dir, "anamnesis-bench-")
	if err != nil {
		return nil, err
	}
	r := &run{Options: o, dir: dir}
	err = r.all(ctx)
	return r.figures, errors.Join(err, os.RemoveAll(dir))
}

func (r *run) all(ctx context.Context) error {
	found := false
	for _, m := range measurements {
		if !strings.Contains(m.name, r.Only) {
			continue
		}
		found = true
		start := time.Now()
		if err := m.do(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		r.say("%s: %.1f s", m.name, time.Since(start).Seconds())
	}
	if !found {
		return fmt.Errorf("%w: %q; there are %s", ErrNothing, r.Only, strings.Join(Names(), ", "))
	}
	return nil
}

func (r *run) say(format string, args ...any) { fmt.Fprintf(r.Log, "  "+format+"\n", args...) }

// pick chooses by Quick.
func pick[T any](r *run, full, quick T) T {
	if r.Quick {
		return quick
	}
	return full
}

// add notes a figure beside its limit.
func (r *run) add(metric string, value float64, unit, limit string, limitValue float64) {
	f := Figure{Metric: metric, Value: tidy(value), Unit: unit, Limit: limit, LimitValue: tidy(limitValue)}
	if limitValue > 0 {
		f.Ratio = tidy(value / limitValue)
	}
	r.figures = append(r.figures, f)
}

// tidy keeps four digits: more would be noise.
func tidy(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// WriteTable prints figures for people.
func WriteTable(w io.Writer, figures []Figure) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tvalue\tunit\tratio\tlimit in the same run")
	for _, f := range figures {
		limit, ratio := f.Limit, ""
		if f.LimitValue > 0 {
			limit, ratio = fmt.Sprintf("%s %s", number(f.LimitValue), f.Limit), fmt.Sprintf("%.3g", f.Ratio)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", f.Metric, number(f.Value), f.Unit, ratio, limit)
	}
	return t.Flush()
}

func number(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// WriteFile writes figures as JSON, and makes the folder if need be.
func WriteFile(path string, figures []Figure) error {
	if figures == nil {
		figures = []Figure{}
	}
	raw, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}

// quantile of durations, in milliseconds; q from 0 to 1.
func quantile(times []time.Duration, q float64) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	i := min(int(math.Ceil(q*float64(len(sorted))))-1, len(sorted)-1)
	return float64(sorted[max(i, 0)].Microseconds()) / 1000
}
