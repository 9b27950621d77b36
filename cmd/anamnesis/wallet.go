package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) walletCommand() *cobra.Command {
	return family("wallet", "patient", "The patient's keys, in one file under a passphrase", c.walletNew(), c.walletShow(), c.walletWords(), c.walletIdentity(),
		c.walletRotate(), c.walletBackup(), c.walletRehearse())
}

func (c *cli) walletNew() *cobra.Command {
	restore := false
	cmd := c.command(&cobra.Command{
		Use:   "new",
		Short: "Make a wallet, or restore one from its recovery words",
		Long: `Makes a wallet: one secret from which all your keys derive, in a file that your passphrase locks. It needs no network,
and never replaces a file that is there.

With --restore it reads 24 recovery words from standard input. The journals come back with 'anamnesis journal open',
in the order in which they were opened.`,
		Example: `
anamnesis wallet new
anamnesis wallet words            # write them down, on paper
anamnesis wallet new --restore --wallet ~/restored < words.txt`,
	}, func(context.Context, []string) error { return c.newWallet(restore) })
	cmd.Flags().BoolVar(&restore, "restore", false, "restore from the recovery words on standard input")
	return cmd
}

func (c *cli) newWallet(restore bool) error {
	path, err := c.walletFile()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%w: %s", wallet.ErrExists, path)
	}
	network := wallet.Network{Gateway: c.gateway}
	w := wallet.New(network)
	if restore {
		if isTerminal(c.in) {
			fmt.Fprintln(c.err, "Type the 24 recovery words, then Enter and Ctrl-D:")
		}
		words, err := io.ReadAll(io.LimitReader(c.in, 4<<10))
		if err != nil {
			return err
		}
		if w, err = wallet.FromWords(string(words), network); err != nil {
			return err
		}
	}
	pass, err := c.newPassphrase(path, c.passphraseFile)
	if err != nil {
		return err
	}
	data, err := w.Encrypt(pass, wallet.WithWorkFactor(c.workFactor))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := wallet.CreateFile(path, data); err != nil {
		return err
	}
	return c.show(map[string]any{"wallet": path, "restored": restore}, func(out io.Writer) {
		fmt.Fprintln(out, "Your wallet is "+path+", locked with your passphrase.")
		if restore {
			fmt.Fprintln(out, "Next: `anamnesis journal open` for each journal that you had, in their order.")
			return
		}
		fmt.Fprintln(out, "Without the file, only its recovery words bring your keys back: `anamnesis wallet words`, and keep them on paper.")
		fmt.Fprintln(out, "Next: `anamnesis journal open`.")
	})
}

// walletView is a wallet without its secrets.
type walletView struct {
	Wallet   string        `json:"wallet"`
	Chain    string        `json:"chain,omitempty"`
	Gateway  string        `json:"gateway,omitempty"`
	Pin      *wallet.Pin   `json:"pin,omitempty"` // the largest checkpoint that was verified
	Journals []journalView `json:"journals"`
	Notes    int           `json:"contract_notes"`
}

func (c *cli) walletShow() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "show",
		Short: "Show what the wallet holds, without any secret",
		Example: `
anamnesis wallet show
anamnesis wallet show --json --wallet ./ada.wallet`,
	}, func(context.Context, []string) error {
		p, err := c.openWallet()
		if err != nil {
			return err
		}
		v := walletView{Wallet: p.path, Chain: p.Network.Chain, Gateway: p.Network.Gateway, Journals: []journalView{}, Notes: len(p.Contracts)}
		if pin, ok := p.Pin(p.Network.Chain); ok {
			v.Pin = &pin
		}
		for _, j := range p.Journals() {
			v.Journals = append(v.Journals, journalView{ID: j.ID, Name: j.Nickname, KeyEpoch: j.KeyEpoch, LabelEpoch: j.LabelEpoch, Adopted: j.Adopted})
		}
		return c.show(v, func(out io.Writer) {
			seen := "nothing yet"
			if v.Pin != nil {
				seen = fmt.Sprintf("%d entries, as of %s UTC", v.Pin.Size, when(v.Pin.Time))
			}
			fields(out, "wallet", v.Wallet, "network", orDash(v.Chain), "gateway", orDash(v.Gateway), "verified", seen)
			t := newTable("~journal", "id")
			for _, j := range v.Journals {
				t.add(j.Name, j.ID.String())
			}
			if len(t.rows) > 0 {
				fmt.Fprintln(out)
				t.print(out)
			}
		})
	})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (c *cli) walletWords() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "words",
		Short: "Show the 24 recovery words",
		Long: `Shows the words from which all keys of the wallet come back. Whoever has them has your wallet: write them on paper, out of
sight of others and of cameras. At a terminal it asks first; elsewhere it wants --yes.`,
		Example: `
anamnesis wallet words`,
	}, func(context.Context, []string) error {
		p, err := c.openWallet()
		if err != nil {
			return err
		}
		if err := c.confirm("Whoever sees these words can take over your wallet. Show them on this screen?"); err != nil {
			return err
		}
		words := p.Seed().Words()
		return c.show(map[string]string{"words": words}, func(out io.Writer) {
			list := strings.Fields(words)
			rows := (len(list) + 3) / 4
			for r := range rows {
				for col := 0; col*rows+r < len(list); col++ {
					i := col*rows + r
					fmt.Fprintf(out, "%2d %-12s", i+1, list[i])
				}
				fmt.Fprintln(out)
			}
		})
	})
}

func (c *cli) walletIdentity() *cobra.Command {
	file := ""
	cmd := c.command(&cobra.Command{
		Use:   "identity",
		Short: "Write a journal's age identity, for the stock age command",
		Long: `Writes the age identity of a journal to a new file: with it the stock age command opens the records of an export, without
this program. Whoever has the file and your records' ciphertext reads them: delete it when you are done.`,
		Example: `
anamnesis wallet identity --out identity.txt
tar xf journal.tar && age -d -i identity.txt …/records/81f3….age | zstd -d | tar x`,
	}, func(context.Context, []string) error {
		if file == "" {
			return usage("say where to write: --out FILE")
		}
		p, err := c.openWallet()
		if err != nil {
			return err
		}
		j, keys, err := c.pickJournal(p)
		if err != nil {
			return err
		}
		if err := c.confirm("Whoever has this file can read the records of journal " + printable(j.Nickname) + ". Write it?"); err != nil {
			return err
		}
		text := "# age identity of journal " + j.ID.String() + "\n# recipient: " + keys.Identity.Recipient().String() + "\n" + keys.Identity.Reveal() + "\n"
		if err := wallet.CreateFile(file, []byte(text)); err != nil {
			return err
		}
		return c.show(map[string]any{"journal": j.ID, "file": file, "recipient": keys.Identity.Recipient().String()}, func(out io.Writer) {
			fmt.Fprintln(out, file+" opens the records of journal "+printable(j.Nickname)+" with the stock age command. Delete it when you are done.")
		})
	})
	cmd.Flags().StringVar(&file, "out", "", "the new `FILE`")
	cmd.Flags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

// journalView is a journal of the wallet, with what the network says of it.
type journalView struct {
	ID         protocol.JournalID `json:"id"`
	Name       string             `json:"name"`
	Handle     *protocol.Handle   `json:"handle,omitempty"`
	Opened     uint64             `json:"opened_ms,omitempty"`
	Sponsor    string             `json:"sponsor,omitempty"`
	Entries    uint64             `json:"entries,omitempty"`
	Found      bool               `json:"found,omitempty"` // it was open already, as after a recovery
	KeyEpoch   uint8              `json:"key_epoch"`
	LabelEpoch uint8              `json:"label_epoch"`
	Adopted    bool               `json:"adopted,omitempty"`
}
