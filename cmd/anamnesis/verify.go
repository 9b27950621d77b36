package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

const receiptBytesMax = 256 << 10

func (c *cli) verifyCommand() *cobra.Command {
	f := verifyFlags{}
	handle, show := "", false
	cmd := c.command(&cobra.Command{
		Use:     "verify FILE",
		GroupID: "anyone",
		Short:   "Check an export or a receipt, with no network",
		Long: `Checks a journal's export or an entry's receipt and reports exactly what holds and what does not: any byte changed, an entry
removed or moved, a forked checkpoint, too few cosigners, a checkpoint that is too old. Exit code 4 if anything fails.

The trust root is --policy FILE ('network --policy' prints it), else your wallet's if --wallet names one, else for a receipt that of
the wallet where it usually is, and for an export the one that it brings with it: compare its digest with one from elsewhere.`,
		Example: `
anamnesis verify journal.tar --policy trust.policy --max-age 24h
anamnesis verify receipt.txt --wallet ~/.anamnesis/wallet
anamnesis verify journal.tar --log --handle anm1…`,
		Args: cobra.ExactArgs(1),
	}, func(_ context.Context, args []string) error {
		var h *protocol.Handle
		if handle != "" {
			parsed, err := protocol.ParseHandle(handle)
			if err != nil {
				return err
			}
			h = &parsed
		}
		return c.verify(args[0], f, h, show)
	})
	f.flags(cmd)
	cmd.Flags().StringVar(&f.policy, "policy", "", "the trust policy in `FILE` (C2SP tlog-policy)")
	cmd.Flags().BoolVar(&show, "log", false, "show the log that was proven, too")
	cmd.Flags().StringVar(&handle, "handle", "", "the journal's `HANDLE`: it names the classes, and must be this journal's")
	return cmd
}

func (c *cli) verify(path string, f verifyFlags, h *protocol.Handle, show bool) error {
	o := proof.Options{Now: now(), MaxAge: f.maxAge, MinCosigners: f.cosigners}
	if h != nil {
		o.Journal = h.Journal
	}
	if err := c.trust(&o, f); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	in := bufio.NewReaderSize(file, 64<<10)
	head, err := in.Peek(proof.KindBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if proof.Kind(head) == proof.KindReceipt {
		if o.Policy == nil {
			c.trustOwn(&o)
		}
		return c.verifyReceipt(in, o)
	}
	return c.verifyExport(in, o, h, show)
}

// trust sets the trust root: the policy given, or that of the wallet given. A wallet that just happens to be there is not asked for its
// passphrase.
func (c *cli) trust(o *proof.Options, f verifyFlags) (err error) {
	switch {
	case f.policy != "":
		o.Policy, err = wallet.ReadFile(f.policy)
	case c.walletPath != "":
		p, err := c.openWallet()
		if err != nil {
			return err
		}
		if p.Network.Policy == "" {
			return failed("no-policy", "this wallet belongs to no network yet", "Give the trust root with --policy.")
		}
		o.Policy = []byte(p.Network.Policy)
		if pin, ok := p.Pin(p.Network.Chain); ok {
			o.Pin = &proof.Pin{Size: pin.Size, Root: pin.Root}
		}
	}
	return err
}

// trustOwn takes the trust root from the wallet where it usually is: a receipt brings none with it.
func (c *cli) trustOwn(o *proof.Options) {
	if p, err := c.openWallet(); err == nil && p.Network.Policy != "" {
		o.Policy = []byte(p.Network.Policy)
	}
}

func (c *cli) verifyReceipt(in io.Reader, o proof.Options) error {
	text, err := io.ReadAll(io.LimitReader(in, receiptBytesMax))
	if err != nil {
		return err
	}
	if o.Policy == nil {
		return &failure{Code: "no-trust-root", Title: "a receipt is checked against the network's trust policy", exit: exitUsage,
			Detail: "Give --policy FILE (from `anamnesis network --policy`) or --wallet FILE."}
	}
	report, err := proof.VerifyReceipt(text, o)
	if err != nil {
		return notProof(err)
	}
	return c.verdict(report, report.OK, report.Text(), nil)
}

func (c *cli) verifyExport(in io.Reader, o proof.Options, h *protocol.Handle, show bool) error {
	report, err := proof.Verify(in, o)
	if err != nil {
		return notProof(err)
	}
	words := wordsOf()
	if h != nil {
		words = wordsOf(*h)
	}
	var lines []proof.LogLine
	if show {
		if lines, err = report.Log(words); err != nil {
			return err
		}
	}
	return c.verdict(report, report.OK, report.Text(), lines)
}

// provenLog is an export's report with its log.
type provenLog struct {
	*proof.Report
	Log []proof.LogLine `json:"log"`
}

func (c *cli) verdict(report any, ok bool, text string, lines []proof.LogLine) error {
	if r, is := report.(*proof.Report); is && lines != nil {
		report = provenLog{Report: r, Log: lines}
	}
	err := c.show(report, func(out io.Writer) {
		fmt.Fprint(out, text)
		if lines != nil {
			fmt.Fprintln(out)
			printLog(out, lines)
		}
	})
	if err == nil && !ok {
		err = silent(exitProof)
	}
	return err
}

func notProof(err error) error {
	if errors.Is(err, proof.ErrNotProof) {
		return &failure{Code: "not-a-proof", Title: "the file is neither an export nor a receipt", exit: exitProof, cause: err,
			Detail: "Exports come from `anamnesis journal export`, receipts from `anamnesis log receipt`. If it was one, its beginning was changed."}
	}
	return err
}
