package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) notifyCommand() *cobra.Command {
	cmd := family("notify", "patient", "Being told: as it happens, at a webhook, by mail", c.notifyWatch(), c.notifyAdd(), c.notifyConfirm(), c.notifyList(), c.notifyRemove())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) notifyWatch() *cobra.Command {
	from, count := int64(-1), 0
	cmd := c.command(&cobra.Command{
		Use:   "watch",
		Short: "Be told what happens in your journal as it happens",
		Long: `Listens to the gateway and prints a line for each thing that happens in your journal, until Ctrl-C. It comes back by itself when
the connection breaks, and misses nothing. With --json each notice is a line of JSON. 'log show' says who, what and why.`,
		Example: `
anamnesis notify watch
anamnesis notify watch --from 0 --count 10 --json`,
	}, func(ctx context.Context, _ []string) error { return c.watch(ctx, from, count) })
	cmd.Flags().Int64Var(&from, "from", -1, "begin at the `N`th entry of the journal, from 0 (default: what happens next)")
	cmd.Flags().IntVar(&count, "count", 0, "end after `N` notices")
	return cmd
}

var errEnough = errors.New("as many as were asked for")

func (c *cli) watch(ctx context.Context, from int64, count int) error {
	p, err := c.patient(ctx)
	if err != nil {
		return err
	}
	var next *uint64
	if from >= 0 {
		at := uint64(from)
		next = &at
	}
	told := 0
	for {
		err := p.Events(ctx, p.keys, next, func(n api.Notice) error {
			at := n.Seq + 1
			next = &at
			c.tell(n)
			if told++; told == count {
				return errEnough
			}
			return nil
		})
		var problem *api.Problem
		if errors.Is(err, errEnough) || ctx.Err() != nil {
			return nil //nolint:nilerr // as many as were asked for, or the user has had enough
		}
		switch {
		case errors.As(err, &problem) && problem.Status < 500 && problem.Status != 429:
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *cli) tell(n api.Notice) {
	if c.json {
		_ = json.NewEncoder(c.out).Encode(n)
		return
	}
	mark := ""
	if n.Urgent {
		mark = "! "
	}
	fmt.Fprintf(c.out, "%s  %s%s\n", when(n.Time), mark, printable(n.Text))
}

func (c *cli) notifyAdd() *cobra.Command {
	webhook, mail := "", ""
	var kinds []string
	cmd := c.command(&cobra.Command{
		Use:   "add --webhook URL | --mail ADDRESS",
		Short: "Be told at a webhook, or by mail",
		Long: `Asks this gateway's member to tell you when something happens in your journal. What is sent says that something happened and nothing
more: no names, no classes; your wallet shows the rest. A webhook is sent signed JSON (docs/spec/notify.md); the secret to check it
with is printed once. A mail address is first sent a code: give it to 'notify confirm'.`,
		Example: `
anamnesis notify add --mail ada@example.org
anamnesis notify add --webhook https://example.org/journal --kind break-glass --kind recovery-proposed`,
	}, func(ctx context.Context, _ []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		way, target := "webhook", webhook
		if mail != "" {
			way, target = "mail", mail
		}
		s, err := p.Subscribe(ctx, p.keys, way, target, kinds)
		if err != nil {
			return err
		}
		return c.show(s, func(out io.Writer) {
			fields(out, "subscription", s.ID.String(), "state", s.State, "secret", s.Secret)
			if s.State == "unconfirmed" {
				fmt.Fprintf(out, "A code is on its way to %s: `anamnesis notify confirm %s CODE`.\n", printable(s.Target), short(s.ID))
			}
		})
	})
	f := cmd.Flags()
	f.StringVar(&webhook, "webhook", "", "the https `URL` to post to")
	f.StringVar(&mail, "mail", "", "the mail `ADDRESS`")
	f.StringSliceVar(&kinds, "kind", nil, "only these `KINDS` of notices (default all)")
	cmd.MarkFlagsMutuallyExclusive("webhook", "mail")
	cmd.MarkFlagsOneRequired("webhook", "mail")
	return cmd
}

// subscription opens the wallet and finds the one subscription that text names.
func (c *cli) subscription(ctx context.Context, text string) (*patient, protocol.Hash, error) {
	p, err := c.patient(ctx)
	if err != nil {
		return nil, protocol.Hash{}, err
	}
	all, err := p.Subscriptions(ctx, p.keys)
	if err != nil {
		return nil, protocol.Hash{}, err
	}
	var ids []protocol.Hash
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	id, err := pick("subscription", text, ids)
	return p, id, err
}

func (c *cli) notifyConfirm() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "confirm SUBSCRIPTION CODE",
		Short: "Confirm a mail address with the code that came there",
		Example: `
anamnesis notify confirm 4f0a2c77d1e8 7KQ2-M9XD`,
		Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, args []string) error {
		p, id, err := c.subscription(ctx, args[0])
		if err != nil {
			return err
		}
		if err := p.ConfirmSubscription(ctx, p.keys, id, args[1]); err != nil {
			return err
		}
		return c.show(map[string]any{"subscription": id, "state": "active"}, func(out io.Writer) { fmt.Fprintln(out, "Confirmed: you are told there from now on.") })
	})
}

func (c *cli) notifyList() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "list",
		Short: "List where this gateway tells you, and whether it arrives",
		Example: `
anamnesis notify list`,
	}, func(ctx context.Context, _ []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		all, err := p.Subscriptions(ctx, p.keys)
		if err != nil {
			return err
		}
		return c.show(all, func(out io.Writer) {
			t := newTable("subscription", "way", "~~target", "state", ">waiting", "told last", "~problem")
			for _, s := range all {
				t.add(short(s.ID), s.Way, s.Target, s.State, fmt.Sprint(s.Waiting), when(s.Delivered), s.Problem)
			}
			t.print(out)
		})
	})
}

func (c *cli) notifyRemove() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "remove SUBSCRIPTION",
		Short: "Be told there no more",
		Example: `
anamnesis notify remove 4f0a2c77d1e8`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		p, id, err := c.subscription(ctx, args[0])
		if err != nil {
			return err
		}
		if err := p.Unsubscribe(ctx, p.keys, id); err != nil {
			return err
		}
		return c.show(map[string]any{"subscription": id, "state": "removed"}, func(out io.Writer) { fmt.Fprintln(out, "Removed.") })
	})
}
