package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/demo"
	"github.com/anamnesis-health/anamnesis/internal/node"
)

// demoPatientsMax keeps a slip of the finger from filling the disk; `synth` and `record add` have no such bound.
const demoPatientsMax = 1000

func (c *cli) demoCommand() *cobra.Command {
	o, stay := demo.Options{}, false
	cmd := c.command(&cobra.Command{
		Use:     "demo",
		GroupID: "network",
		Short:   "Play the whole story on a real network: import, consent, reading, expiry, break-in, proof",
		Long: `Starts a network, makes up patients (or takes --data), and plays the main job on the real code paths with short windows:
records imported, a doctor refused, allowed, and refused again when the grant ends by itself or is withdrawn; a custodian's
break-in that fails; the log, its proof, and tampering that is caught. Exit code 0 only if every step held.`,
		Example: `
anamnesis demo
anamnesis demo --members 1 --patients 2 --json
anamnesis demo --data ../shared/data/synthea-patients --keep story
anamnesis fsck story/network`,
	}, func(ctx context.Context, _ []string) error {
		if err := checkMembers(o.Members); err != nil {
			return err
		}
		if len(o.Data) == 0 && (o.Patients < 1 || o.Patients > demoPatientsMax) {
			return usage("--patients is a number from 1 to %d", demoPatientsMax)
		}
		tuneCollector()
		o.JSON, o.Out, o.Err, o.Terminal = c.json, c.out, c.err, isTerminal(c.err) && !c.json
		if stay {
			o.Stay = c.stay
		}
		ok, err := demo.Run(ctx, o)
		if err == nil && !ok {
			err = silent(exitFailed)
		}
		return err
	})
	f := cmd.Flags()
	f.IntVar(&o.Members, "members", 4, "`N` organisations with a node, 1 to 16")
	f.IntVar(&o.Patients, "patients", 12, "make up `N` patients")
	f.Uint64Var(&o.Seed, "seed", 1, "`S`: the same number gives the same patients")
	f.StringArrayVar(&o.Data, "data", nil, "FHIR files or folders at `PATH` instead of made-up patients; may be repeated")
	f.StringVar(&o.Keep, "keep", "", "leave the network's folder in `DIR`")
	f.BoolVar(&stay, "stay", false, "leave the network running afterwards, until Ctrl-C")
	return cmd
}

// stay leaves the demo's network up, with what to try on it, until somebody has had enough.
func (c *cli) stay(ctx context.Context, net *node.DevNet, wallet string) {
	if c.json {
		<-ctx.Done()
		return
	}
	fmt.Fprintf(c.out, "\nThe network stays up until Ctrl-C. In another terminal, as the patient of the story:\n")
	fmt.Fprintf(c.out, "  export ANAMNESIS_WALLET=%s\n", wallet)
	pass := "--passphrase-file " + filepath.Join(net.Dir, "passphrase")
	for _, command := range []string{"log show", "record list", "consent list", "journal verify"} {
		fmt.Fprintf(c.out, "  anamnesis %s %s\n", command, pass)
	}
	<-ctx.Done()
}
