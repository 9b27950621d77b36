package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/fsck"
)

func (c *cli) fsckCommand() *cobra.Command {
	return c.command(&cobra.Command{
		Use:     "fsck DIR",
		GroupID: "network",
		Short:   "Recompute a stopped network's folder from its blocks up, and find what does not fit",
		Long: `Checks the folder of a stopped network or node: every block against its hashes and signatures, the ledger by executing all
blocks again from the genesis, then vault, keys and the rest. It changes nothing. Exit code 1 if there is a fault.

A development network's passphrase is read from its folder; for a single node give --passphrase-file (without it the node's
secrets are not opened, and the report says so).`,
		Example: `
anamnesis fsck anamnesis-dev`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error { return c.fsck(ctx, args[0]) })
}

func (c *cli) fsck(ctx context.Context, dir string) error {
	o := fsck.Options{Dir: dir}
	if c.passphraseFile != "" {
		pass, err := firstLine(c.passphraseFile)
		if err != nil {
			return err
		}
		o.Passphrase = pass
	}
	var b *bar
	at := ""
	o.Progress = func(node string, done, total uint64) {
		if node != at {
			b.done()
			b, at = c.bar("blocks of "+node, int64(total)), node
		}
		b.set(int64(done))
	}
	report, err := fsck.Run(ctx, o)
	b.done()
	if errors.Is(err, fsck.ErrNoNode) {
		return failed("no-node", "the folder holds neither a network nor a node: "+printable(dir), "Give the --dir of `anamnesis dev`, or the folder of one node.")
	}
	if err != nil {
		return err
	}
	err = c.show(report, func(out io.Writer) {
		for _, f := range report.Findings {
			fmt.Fprintf(out, "%s: %s: %s: %s\n", f.Level, printable(f.Node), f.Where, printable(f.Detail))
		}
		verdict := "No fault."
		if !report.OK {
			verdict = "There are faults."
		}
		fmt.Fprintf(out, "%s %s, %d blocks executed again, %d entries, %d rows compared, %d files read.\n", verdict, plural(report.Nodes, "node"),
			report.Blocks, report.Entries, report.Rows, report.Files)
	})
	if err == nil && !report.OK {
		err = silent(exitFailed)
	}
	return err
}
