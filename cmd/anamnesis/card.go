package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	qrcode "github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
)

func (c *cli) cardCommand() *cobra.Command {
	cmd := family("card", "patient", "An emergency card: how helpers find you when you cannot speak", c.cardNew(), c.cardShow(), c.cardRevoke(), c.cardFind())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) cardNew() *cobra.Command {
	png := ""
	cmd := c.command(&cobra.Command{
		Use: "new", Short: "Make a card: a QR code, and a short form to be typed; it replaces the one before",
		Long: `Prints the card once: the QR code holds the handle, the short form finds it. Who holds the card can name your journal; opening
anything takes an emergency role, your emergency contract ('consent grant --template emergency-card'), a reason and a review.`,
		Example: "\nanamnesis card new\nanamnesis card new --png card.png",
	}, func(ctx context.Context, _ []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		h := p.keys.Handle()
		code, err := p.SetCard(ctx, client.Patient(p.keys), h)
		if err != nil {
			return err
		}
		qr, err := qrcode.New(strings.ToUpper(h.String()), qrcode.Medium)
		if err != nil {
			return err
		}
		if png != "" {
			image, err := qr.PNG(qrPixels)
			if err != nil {
				return err
			}
			if err := wallet.CreateFile(png, image); err != nil {
				return err
			}
		}
		return c.show(map[string]any{"journal": h.Journal, "code": code.Reveal(), "handle": h.String(), "png": png}, func(out io.Writer) {
			fmt.Fprintln(out, qr.ToSmallString(false))
			fmt.Fprintf(out, "EMERGENCY CARD  %s\nWrite it down or print it: it is shown this once.\n", code.Reveal())
		})
	})
	cmd.Flags().StringVar(&png, "png", "", "also write the QR code to `FILE`")
	return cmd
}

func (c *cli) cardShow() *cobra.Command {
	return c.command(&cobra.Command{Use: "show", Short: "Show the card's QR code again; the short form is on the card alone", Example: "\nanamnesis card show"},
		func(context.Context, []string) error {
			p, err := c.openWallet()
			if err != nil {
				return err
			}
			j, keys, err := c.pickJournal(p)
			if err != nil {
				return err
			}
			handle := keys.Handle().String()
			qr, err := qrcode.New(strings.ToUpper(handle), qrcode.Medium)
			if err != nil {
				return err
			}
			return c.show(map[string]any{"journal": j.ID, "handle": handle}, func(out io.Writer) { fmt.Fprintln(out, qr.ToSmallString(false)) })
		})
}

func (c *cli) cardRevoke() *cobra.Command {
	return c.command(&cobra.Command{Use: "revoke", Short: "Withdraw the card: its short form finds nothing any more", Example: "\nanamnesis card revoke"},
		func(ctx context.Context, _ []string) error {
			p, err := c.patient(ctx)
			if err != nil {
				return err
			}
			if err := p.RevokeCard(ctx, client.Patient(p.keys), p.journal.ID); err != nil {
				return err
			}
			return c.show(map[string]any{"journal": p.journal.ID, "card": nil}, func(out io.Writer) { fmt.Fprintln(out, "The card's short form finds nothing any more.") })
		})
}

func (c *cli) cardFind() *cobra.Command {
	from := ""
	cmd := c.command(&cobra.Command{
		Use: "find --as FILE", Short: "As an emergency physician or paramedic: the handle behind a card's short form",
		Long:    "The short form is read from the terminal, or from --code-file (- for standard input); never from an argument, which others on this machine could see.",
		Example: "\nanamnesis card find --as medic.actor --code-file -",
	}, func(ctx context.Context, _ []string) error {
		var text string
		var err error
		if from == "" {
			text, err = c.ask("The card's short form: ")
		} else {
			text, err = c.reasonText(from)
		}
		if err != nil {
			return err
		}
		code, err := wallet.ParseCode(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		s, err := c.staff(ctx)
		if err != nil {
			return err
		}
		h, err := s.FindCard(ctx, s.identity(), code)
		if err != nil {
			return err
		}
		return c.show(map[string]any{"handle": h.String()}, func(out io.Writer) { fmt.Fprintln(out, h) })
	})
	cmd.Flags().StringVar(&from, "code-file", "", "read the short form from `FILE`")
	return cmd
}
