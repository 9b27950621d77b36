package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	qrcode "github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/wallet"
)

func (c *cli) handleCommand() *cobra.Command {
	cmd := family("handle", "patient", "A journal's handle, as text and QR code", c.handleShow())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

const qrPixels = 512

func (c *cli) handleShow() *cobra.Command {
	png := ""
	cmd := c.command(&cobra.Command{
		Use:   "show",
		Short: "Show the handle of a journal",
		Long: `Shows the handle: the journal's name and the key of its labels. Whoever has it can name your data (to write, or to ask for
access) and see which kinds of data your log speaks of. It opens nothing. Give it to those who treat you.`,
		Example: `
anamnesis handle show
anamnesis handle show --png handle.png`,
	}, func(context.Context, []string) error {
		p, err := c.openWallet()
		if err != nil {
			return err
		}
		j, keys, err := c.pickJournal(p)
		if err != nil {
			return err
		}
		handle := keys.Handle().String()
		// Capitals make a QR code of half the size; a handle may be written in capitals as a whole.
		code, err := qrcode.New(strings.ToUpper(handle), qrcode.Medium)
		if err != nil {
			return err
		}
		if png != "" {
			image, err := code.PNG(qrPixels)
			if err != nil {
				return err
			}
			if err := wallet.CreateFile(png, image); err != nil {
				return err
			}
		}
		return c.show(map[string]any{"journal": j.ID, "name": j.Nickname, "handle": handle, "png": png}, func(out io.Writer) {
			fmt.Fprintln(out, handle)
			if png != "" {
				fmt.Fprintln(out, "QR code: "+png)
				return
			}
			fmt.Fprintln(out)
			blocks(out, code.Bitmap())
		})
	})
	cmd.Flags().StringVar(&png, "png", "", "write the QR code to `FILE` instead of showing it")
	return cmd
}

// blocks draws a bitmap with two rows of it to a line of text: light is drawn, dark is left out, as a dark terminal needs it.
func blocks(out io.Writer, dark [][]bool) {
	at := func(y, x int) bool { return y < len(dark) && dark[y][x] }
	for y := 0; y < len(dark); y += 2 {
		var b strings.Builder
		for x := range dark[y] {
			switch top, bottom := at(y, x), at(y+1, x); {
			case !top && !bottom:
				b.WriteString("█")
			case !top:
				b.WriteString("▀")
			case !bottom:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		fmt.Fprintln(out, b.String())
	}
}
