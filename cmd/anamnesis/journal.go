package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) journalCommand() *cobra.Command {
	cmd := family("journal", "patient", "The patient's journals: open, list, export, verify", c.journalOpen(), c.journalList(), c.journalExport(), c.journalVerify(),
		c.journalProvision(), c.journalClaim(), c.journalClaimCode())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) journalOpen() *cobra.Command {
	var emergency string
	cmd := c.command(&cobra.Command{
		Use:   "open [NAME]",
		Short: "Open a journal on the ledger, or find one again after a recovery",
		Long: `Opens a journal: a stream of entries on the ledger that only your wallet controls. NAME is for yourself and stays in the
wallet ("main" if you give none). Nothing on the ledger links two journals of one wallet, so a second one can be for
what you want to keep apart.

The first journal ties the wallet to the network of the gateway, and to its trust root.

A new journal lets emergency physicians and paramedics break the glass for the few classes that the network recommends, with a reason
that you see and a review by somebody else, and only whoever has your handle or card can ask. --emergency names other classes, or
none. It is a contract like any other: ` + "`anamnesis consent list`" + ` shows it, and you can revoke it.`,
		Example: `
anamnesis journal open
anamnesis journal open --emergency none
anamnesis journal open psychiatry --gateway http://127.0.0.1:8080`,
		Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, args []string) error {
		name := "main"
		if len(args) == 1 {
			name = args[0]
		}
		seen, err := parseEmergency(emergency)
		if err != nil {
			return err
		}
		return c.openJournal(ctx, name, seen)
	})
	emergencyFlag(cmd, &emergency)
	return cmd
}

func emergencyFlag(cmd *cobra.Command, emergency *string) {
	cmd.Flags().StringVar(emergency, "emergency", "", "`CLASSES` that emergency teams may see, separated by commas, or none (default what the network recommends)")
}

// emergencySeen is what emergency teams may see of a new journal: what its patient says, or else what the network's members recommend.
type emergencySeen struct {
	said    bool
	classes []fhir.Class
}

func parseEmergency(flag string) (e emergencySeen, err error) {
	switch flag {
	case "":
		return e, nil
	case "none":
		return emergencySeen{said: true}, nil
	}
	e.said = true
	e.classes, err = classes(strings.Split(flag, ","))
	return e, err
}

// on is what holds on a network.
func (e emergencySeen) on(net *client.Client) []fhir.Class {
	if e.said {
		return e.classes
	}
	var out []fhir.Class
	for _, name := range net.Genesis.Params.EmergencyClasses {
		out = append(out, fhir.Class(name))
	}
	return out
}

// letEmergencies grants the emergency card's contract on a new journal.
func letEmergencies(ctx context.Context, net *client.Client, keys *wallet.JournalKeys, classes []fhir.Class) error {
	if len(classes) == 0 {
		return nil
	}
	var labels []protocol.Label
	for _, class := range classes {
		labels = append(labels, keys.Handle().Label(string(class)))
	}
	_, err := net.GrantTemplate(ctx, keys, "emergency-card", consent.Params{Labels: labels}, 0)
	return err
}

func (c *cli) openJournal(ctx context.Context, name string, seen emergencySeen) error {
	p, err := c.openWallet()
	if err != nil {
		return err
	}
	net, err := c.dial(ctx, p.Network)
	if err != nil {
		return err
	}
	if p.Network.Chain == "" {
		if err := adopt(p.Wallet, net, c.gatewayOf(p.Network)); err != nil {
			return err
		}
	}
	j, err := p.OpenJournal(name)
	if err != nil {
		return err
	}
	keys, row, found, err := c.enterJournal(ctx, net, p.Wallet, j.ID)
	if err != nil {
		return err
	}
	if err := c.save(p); err != nil {
		return err
	}
	emergency := seen.on(net)
	if !found {
		if err := letEmergencies(ctx, net, keys, emergency); err != nil {
			return err
		}
	}
	h := keys.Handle()
	v := journalView{ID: j.ID, Name: j.Nickname, Handle: &h, Opened: row.Opened, Sponsor: namesOf(net, nil).member(row.Sponsor), Entries: row.Count, Found: found}
	return c.show(v, func(out io.Writer) {
		if found {
			fmt.Fprintf(out, "Journal %q was open already, with %s. It is yours again.\n\n", j.Nickname, plural(int(row.Count), "entry"))
		} else {
			fmt.Fprintf(out, "Journal %q is open on %s, sponsored by %s.\n\n", j.Nickname, net.Network.Chain, v.Sponsor)
		}
		fmt.Fprintf(out, "  %s\n\n", h)
		if !found && len(emergency) > 0 {
			fmt.Fprintf(out, "In an emergency, physicians and paramedics who have it may read %s, with a reason that you see (`anamnesis consent list`).\n", classList(emergency))
		}
		fmt.Fprintln(out, "That is its handle: give it to those who treat you, so that they can name your data. It opens nothing by itself.")
		fmt.Fprintln(out, "Next: let an organisation add records, such as")
		fmt.Fprintf(out, "  anamnesis consent grant --template contributor --to member:%s\n", slug(net.Network.Members[0].Name))
	})
}

// enterJournal opens the journal on the ledger, unless it is there and this wallet's, at whatever key epoch: then the wallet was restored.
func (c *cli) enterJournal(ctx context.Context, net *client.Client, w *wallet.Wallet, id protocol.JournalID) (keys *wallet.JournalKeys, row api.Journal, found bool, err error) {
	keys, row, found, err = net.FindKeys(ctx, w, id)
	if err != nil || found {
		return keys, row, found, err
	}
	if err := net.OpenJournal(ctx, keys); err != nil {
		if errors.Is(err, &protocol.Rejection{Reason: protocol.JournalExists}) {
			return keys, row, false, failed("journal-taken", "the journal is there, and another key controls it", "It may have been recovered through guardians; this wallet's key has been replaced.")
		}
		return keys, row, false, err
	}
	row, err = net.Journal(ctx, client.Patient(keys), keys.Journal)
	return keys, row, false, err
}

func (c *cli) journalList() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "list",
		Short: "List the wallet's journals",
		Example: `
anamnesis journal list`,
	}, func(ctx context.Context, _ []string) error {
		p, err := c.openWallet()
		if err != nil {
			return err
		}
		views := []journalView{}
		if len(p.Journals()) > 0 {
			net, err := c.dial(ctx, p.Network)
			if err != nil {
				return err
			}
			if views, err = listJournals(ctx, net, p.Wallet); err != nil {
				return err
			}
		}
		return c.show(views, func(out io.Writer) {
			if len(views) == 0 {
				fmt.Fprintln(out, "No journal yet. Open one with `anamnesis journal open`.")
				return
			}
			t := newTable("~name", "id", ">entries", "opened (UTC)", "~sponsor")
			for _, v := range views {
				t.add(v.Name, short(v.ID), fmt.Sprint(v.Entries), when(v.Opened), v.Sponsor)
			}
			t.print(out)
		})
	})
}

func listJournals(ctx context.Context, net *client.Client, w *wallet.Wallet) (views []journalView, err error) {
	known := namesOf(net, nil)
	for _, j := range w.Journals() {
		keys, err := w.Keys(j.ID)
		if err != nil {
			return nil, err
		}
		row, err := net.Journal(ctx, client.Patient(keys), j.ID)
		if err != nil {
			return nil, fmt.Errorf("journal %s: %w", j.Nickname, err)
		}
		h := keys.Handle()
		views = append(views, journalView{ID: j.ID, Name: j.Nickname, Handle: &h, Opened: row.Opened, Sponsor: known.member(row.Sponsor), Entries: row.Count,
			KeyEpoch: j.KeyEpoch, LabelEpoch: j.LabelEpoch, Adopted: j.Adopted})
	}
	return views, nil
}

func classList(classes []fhir.Class) string {
	names := make([]string, len(classes))
	for i, class := range classes {
		names[i] = string(class)
	}
	return strings.Join(names, ", ")
}
