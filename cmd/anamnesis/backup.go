package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/wallet"
)

func (c *cli) walletRotate() *cobra.Command {
	cmd := c.command(&cobra.Command{
		Use:   "rotate",
		Short: "Replace a journal's keys by new ones of the same wallet",
		Long: `Gives the journal a new signing key and a new identity to seal records to, derived from the same wallet: the old key signs nothing from
then on. Records from before open as ever. Devices and contracts go on. The recovery words stay the same: if somebody else has
them, this does not help; open a new journal instead.`,
		Example: `
anamnesis wallet rotate`,
	}, func(ctx context.Context, _ []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		k, _, found, err := p.FindKeys(ctx, p.purse.Wallet, p.journal.ID) // an earlier rotation may have been interrupted
		if err != nil {
			return err
		}
		if !found {
			return failed("journal-taken", "another key controls the journal", "It may have been recovered through guardians. A device cannot rotate: use the wallet that controls it.")
		}
		j, err := p.purse.Find(p.journal.ID.String())
		if err != nil {
			return err
		}
		next, err := p.purse.KeysAt(j.ID, j.KeyEpoch+1)
		if err != nil {
			return err
		}
		if err := p.Rotate(ctx, k, next); err != nil {
			return err
		}
		if err := p.purse.RotateKeys(j.ID); err != nil {
			return err
		}
		if err := c.save(p.purse); err != nil {
			return err
		}
		return c.show(map[string]any{"journal": j.ID, "key_epoch": j.KeyEpoch + 1, "controller": next.Signing.Public()}, func(out io.Writer) {
			fmt.Fprintf(out, "Journal %q has new keys. Make a new backup of the wallet's file; the recovery words still hold.\nWhere the old keys asked to be told of what happens, that is over: `anamnesis notify add` again.\n", printable(j.Nickname))
		})
	})
	cmd.Flags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) walletBackup() *cobra.Command {
	from := ""
	cmd := c.command(&cobra.Command{
		Use:   "backup FILE",
		Short: "Write an encrypted copy of the wallet",
		Long: `Writes the wallet to a new file, encrypted under a passphrase, with what the recovery words do not bring back: the handles of journals
that others opened, checkpoints seen, notes. It opens with the stock age command, and as a wallet wherever you put it.`,
		Example: `
anamnesis wallet backup /media/stick/wallet.backup
anamnesis wallet rehearse /media/stick/wallet.backup`,
		Args: cobra.ExactArgs(1),
	}, func(_ context.Context, args []string) error {
		p, err := c.openWallet()
		if err != nil {
			return err
		}
		pass := p.passphrase
		if from != "" {
			if pass, err = firstLine(from); err != nil {
				return err
			}
		}
		data, err := p.Encrypt(pass, wallet.WithWorkFactor(c.workFactor))
		if err != nil {
			return err
		}
		back, err := wallet.Decrypt(data, pass)
		if err != nil {
			return err
		}
		if r, err := p.Rehearse(back, false); err != nil || !r.Complete() {
			return failed("bad-backup", "the copy does not bring the wallet back", "Nothing was written. This is a fault of the program.")
		}
		if err := wallet.CreateFile(args[0], data); err != nil {
			return err
		}
		return c.show(map[string]any{"file": args[0], "journals": len(p.Journals())}, func(out io.Writer) {
			fmt.Fprintln(out, args[0]+" brings this wallet back. Prove it now and then: `anamnesis wallet rehearse "+args[0]+"`.")
		})
	})
	cmd.Flags().StringVar(&from, "backup-passphrase-file", "", "another passphrase for the copy, in the first line of `FILE` (default: the wallet's)")
	return cmd
}

// rehearsalView is a rehearsal as it is shown.
type rehearsalView struct {
	Complete bool                      `json:"complete"`
	SameSeed bool                      `json:"same_seed"`
	Journals []wallet.RehearsedJournal `json:"journals"`
	Pins     int                       `json:"checkpoints_missing"`
	Notes    int                       `json:"notes_missing"`

	words bool
}

func (c *cli) walletRehearse() *cobra.Command {
	from := ""
	cmd := c.command(&cobra.Command{
		Use:   "rehearse [FILE]",
		Short: "Prove that a backup brings the same keys back, without changing anything",
		Long: `Opens the backup in FILE, or without FILE the recovery words that you type (or that standard input has), beside the wallet that is there, and
compares: the secret, and for every journal its signing key, its identity and its handle. Exit code 1 if something would be missing.`,
		Example: `
anamnesis wallet rehearse /media/stick/wallet.backup
anamnesis wallet rehearse                      # types the words from your paper`,
		Args: cobra.MaximumNArgs(1),
	}, func(_ context.Context, args []string) error {
		p, err := c.openWallet()
		if err != nil {
			return err
		}
		back, err := c.backup(args, from)
		if err != nil {
			return err
		}
		r, err := p.Rehearse(back, len(args) == 0)
		if err != nil {
			return err
		}
		v := rehearsalView{Complete: r.Complete(), SameSeed: r.SameSeed, Journals: r.Journals, Pins: r.Pins, Notes: r.Notes}
		v.words = len(args) == 0
		if err := c.show(v, v.print); err != nil {
			return err
		}
		if !v.Complete {
			return silent(exitFailed)
		}
		return nil
	})
	cmd.Flags().StringVar(&from, "backup-passphrase-file", "", "the backup's passphrase, in the first line of `FILE` (default: the wallet's)")
	return cmd
}

func (c *cli) backup(args []string, from string) (*wallet.Wallet, error) {
	if len(args) == 0 {
		if isTerminal(c.in) {
			fmt.Fprintln(c.err, "Type the 24 recovery words, then Enter and Ctrl-D:")
		}
		words, err := io.ReadAll(io.LimitReader(c.in, 4<<10))
		if err != nil {
			return nil, err
		}
		return wallet.FromWords(string(words), wallet.Network{})
	}
	raw, err := wallet.ReadFile(args[0])
	if err != nil {
		return nil, err
	}
	pass, err := c.passphrase(args[0])
	if from != "" {
		pass, err = firstLine(from)
	}
	if err != nil {
		return nil, err
	}
	w, err := wallet.Decrypt(raw, pass)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	return w, nil
}

func (v rehearsalView) print(out io.Writer) {
	t := newTable("~journal", "keys", "handle")
	yes := map[bool]string{true: "the same", false: "NOT the same"}
	for _, j := range v.Journals {
		t.add(j.Nickname, yes[j.Keys], yes[j.Handle])
	}
	if len(t.rows) > 0 {
		t.print(out)
		fmt.Fprintln(out)
	}
	switch {
	case !v.SameSeed:
		fmt.Fprintln(out, "This is another wallet's backup.")
	case v.Complete:
		fmt.Fprintln(out, "The backup brings this wallet back. Nothing was changed.")
	case v.words:
		fmt.Fprintln(out, "The words bring back what you opened, and not the handle of a journal that others opened for you: keep a backup file too (`anamnesis wallet backup`).")
	default:
		fmt.Fprintln(out, "The backup does not bring everything back. Make a new one: `anamnesis wallet backup`.")
	}
	if v.SameSeed && v.Pins+v.Notes > 0 {
		fmt.Fprintf(out, "It lacks %s and %s, which a wallet can do without.\n", plural(v.Pins, "newer checkpoint"), plural(v.Notes, "note"))
	}
}
