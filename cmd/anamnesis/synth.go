package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/synth"
)

func (c *cli) synthCommand() *cobra.Command {
	patients, seed, dir := 1, uint64(1), ""
	cmd := c.command(&cobra.Command{
		Use:     "synth",
		GroupID: "network",
		Short:   "Make up patients: FHIR R4 histories from many organisations",
		Long: `Writes one FHIR transaction Bundle for each made-up patient: years of history from at least six organisations, with
allergies, medicines, laboratory values and a sensitive class. The same seed gives the same bytes on any machine.`,
		Example: `
anamnesis synth --patients 3 --seed 7 --out histories`,
	}, func(ctx context.Context, _ []string) error {
		if dir == "" {
			return usage("say where to write: --out DIR")
		}
		if patients < 1 || patients > synth.PatientsMax {
			return usage("--patients is a number from 1 to %d", synth.PatientsMax)
		}
		bar := c.bar("histories", int64(patients))
		files, err := synth.Write(dir, patients, seed, func(done int) { bar.set(int64(done)) })
		bar.done()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return c.show(map[string]any{"files": files, "seed": seed}, func(out io.Writer) {
			for _, f := range files {
				fmt.Fprintln(out, f)
			}
		})
	})
	f := cmd.Flags()
	f.IntVar(&patients, "patients", 1, "`N` patients")
	f.Uint64Var(&seed, "seed", 1, "`S`: the same number gives the same patients")
	f.StringVar(&dir, "out", "", "write into `DIR`")
	return cmd
}
