package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) deviceCommand() *cobra.Command {
	cmd := family("device", "patient", "Other devices that sign for you, each cut off in one step", c.deviceOffer(), c.deviceAdd(), c.deviceList(), c.deviceRevoke())
	cmd.Long = `A device is a wallet of its own, with a key of its own, that signs for your journal: it grants and withdraws, reads through the custodians
(each reading is an entry), vetoes recoveries and cuts other devices off. It never has your recovery words, and cannot add devices,
choose guardians or replace keys. When one is stolen: anamnesis device revoke, from any other.`
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) deviceOffer() *cobra.Command {
	called, name := "", "main"
	cmd := c.command(&cobra.Command{
		Use:   "offer HANDLE --name NAME",
		Short: "On the new device: offer its key to the wallet that controls the journal",
		Example: `
anamnesis wallet new --wallet phone.wallet
anamnesis device offer anm1… --name phone --wallet phone.wallet > offer.txt`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		h, err := protocol.ParseHandle(args[0])
		if err != nil {
			return err
		}
		p, net, err := c.walletAt(ctx)
		if err != nil {
			return err
		}
		k, err := c.take(p, h, name)
		if err != nil {
			return err
		}
		o, err := k.OfferDevice(net.Network.Chain, called)
		if err != nil {
			return err
		}
		return c.show(map[string]any{"journal": h.Journal, "key": o.Key, "offer": o.String()}, func(out io.Writer) { fmt.Fprintln(out, o) })
	})
	cmd.Flags().StringVar(&called, "name", "", "`NAME`: what you call the device; it stays off the ledger")
	cmd.Flags().StringVar(&name, "journal-name", name, "what the device's wallet calls the journal")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}

func (c *cli) deviceAdd() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "add OFFER",
		Short: "Let a device sign for you",
		Example: `
anamnesis device add offer.txt`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		text := args[0]
		if !strings.Contains(text, ":") {
			raw, err := wallet.ReadFile(text)
			if err != nil {
				return err
			}
			text = string(raw)
		}
		o, err := wallet.ParseDeviceOffer(text, p.Network.Chain)
		if err == nil && o.Journal != p.journal.ID {
			err = fmt.Errorf("%w: it is for another journal", wallet.ErrControlOffer)
		}
		if err != nil {
			return err
		}
		if err := c.confirm("Let " + printable(o.Name) + " (" + short(o.Key) + ") sign for you?"); err != nil {
			return err
		}
		if err := p.AddDevice(ctx, p.keys, o); err != nil {
			return err
		}
		p.purse.Devices = append(p.purse.Devices, wallet.DeviceNote{Journal: o.Journal, Key: o.Key, Name: o.Name})
		if err := c.save(p.purse); err != nil {
			return err
		}
		return c.show(map[string]any{"journal": o.Journal, "key": o.Key, "name": o.Name}, func(out io.Writer) {
			fmt.Fprintf(out, "%s signs for you now. If it gets lost: `anamnesis device revoke %s`.\n", printable(o.Name), printable(o.Name))
		})
	})
}

// deviceView is a device of the journal with the name that the wallet remembers.
type deviceView struct {
	Key     protocol.PublicKey `json:"key"`
	Name    string             `json:"name,omitempty"`
	Added   uint64             `json:"added_ms"`
	Revoked uint64             `json:"revoked_ms,omitempty"`
}

func (p *patient) devices(ctx context.Context) ([]deviceView, error) {
	state, err := p.Control(ctx, client.Patient(p.keys), p.journal.ID)
	if err != nil {
		return nil, err
	}
	out := []deviceView{}
	for _, d := range state.Devices {
		v := deviceView{Key: d.Key, Added: d.Added, Revoked: d.Revoked}
		for _, n := range p.purse.Devices {
			if n.Key == d.Key && n.Journal == p.journal.ID {
				v.Name = n.Name
			}
		}
		out = append(out, v)
	}
	return out, nil
}

func (c *cli) deviceList() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "list",
		Short: "List the journal's devices",
		Example: `
anamnesis device list`,
	}, func(ctx context.Context, _ []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		all, err := p.devices(ctx)
		if err != nil {
			return err
		}
		return c.show(all, func(out io.Writer) {
			if len(all) == 0 {
				fmt.Fprintln(out, "No device but the wallet that controls the journal.")
				return
			}
			t := newTable("~name", "key", "added (UTC)", "cut off (UTC)")
			for _, d := range all {
				t.add(orDash(d.Name), short(d.Key), when(d.Added), when(d.Revoked))
			}
			t.print(out)
		})
	})
}

func (c *cli) deviceRevoke() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "revoke NAME|KEY",
		Short: "Cut a device off at once",
		Long: `Cuts a device off: from the next block its signature counts for nothing, and the custodians answer none of its readings, those under
way included. Any other device can do it too.`,
		Example: `
anamnesis device revoke phone
anamnesis device revoke 5f0c3ab2 --wallet tablet.wallet`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		all, err := p.devices(ctx)
		if err != nil {
			return err
		}
		var keys []protocol.PublicKey
		var found []deviceView
		for _, d := range all {
			keys = append(keys, d.Key)
			if d.Name == args[0] && d.Revoked == 0 {
				found = append(found, d)
			}
		}
		var key protocol.PublicKey
		if len(found) == 1 {
			key = found[0].Key
		} else if key, err = pick("device", args[0], keys); err != nil {
			return err
		}
		if err := p.RevokeDevice(ctx, p.keys, key); err != nil {
			return err
		}
		return c.show(map[string]any{"journal": p.journal.ID, "key": key, "revoked": true}, func(out io.Writer) {
			fmt.Fprintln(out, "The device is cut off. What it read before it has; `anamnesis log show` lists that.")
		})
	})
}
