package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/bench"
)

func (c *cli) benchCommand() *cobra.Command {
	o, out := bench.Options{}, ""
	cmd := c.command(&cobra.Command{
		Use:     "bench",
		GroupID: "network",
		Short:   "Measure this machine: commits, reads, imports, proofs, each beside a limit",
		Long: `Starts networks of its own, loads them through their HTTP API, and prints what it measured, each figure beside a limit of
this machine measured within the same run (signature checks of one core, syncs of the disk). The ratios are what can be
compared: this machine's cores are shared by all nodes and the clients that make the load.

Measurements: ` + strings.Join(bench.Names(), ", ") + `. A full run takes some minutes.`,
		Example: `
anamnesis bench
anamnesis bench --quick --only actions-4
anamnesis bench --out bench/latest.json`,
	}, func(ctx context.Context, _ []string) error {
		tuneCollector()
		if !c.json {
			o.Log = c.err
		}
		figures, err := bench.Run(ctx, o)
		if errors.Is(err, bench.ErrNothing) {
			return usage("%v", err)
		}
		if err != nil {
			return err
		}
		if out != "" {
			if err := bench.WriteFile(out, figures); err != nil {
				return err
			}
		}
		if c.json {
			return c.show(figures, func(io.Writer) {})
		}
		fmt.Fprintln(c.out)
		return bench.WriteTable(c.out, figures)
	})
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "also write the figures to `FILE`, as JSON")
	f.BoolVar(&o.Quick, "quick", false, "shorter and on smaller data: less than a minute")
	f.StringVar(&o.Only, "only", "", "only the measurements whose name contains `NAME`")
	f.StringVar(&o.Profile, "profile", "", "write CPU profiles of the loads into `DIR`, for go tool pprof")
	f.StringVar(&o.Data, "data", "", "FHIR files in `DIR` to import (default shared/data/synthea-load above this folder, else made-up patients)")
	return cmd
}

// tuneCollector lets the heap grow to five times what lives before it is collected: several nodes in one process make much garbage and
// keep little.
func tuneCollector() { debug.SetGCPercent(400) }
