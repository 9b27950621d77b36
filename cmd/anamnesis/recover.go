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
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) recoverCommand() *cobra.Command {
	cmd := family("recover", "patient", "Bring a journal back through its guardians, or stop that",
		c.recoverStart(), c.recoverPropose(), c.recoverApprove(), c.recoverStatus(), c.recoverVeto())
	cmd.Long = `When a wallet is lost and its words too:

  1. The patient makes a new wallet, and starts:   anamnesis recover start HANDLE    (a guardian's kit has the handle)
  2. One guardian proposes what that printed:      anamnesis recover propose --kit FILE OFFER
  3. Other guardians approve:                      anamnesis recover approve --kit FILE
  4. After the delay the journal is the new wallet's, by itself.

Meanwhile the old wallet, if it is still there, and every device can veto: anamnesis recover veto.
Ask the patient in person before you propose or approve: a thief would ask you too.`
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) recoverStart() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "start HANDLE [NAME]",
		Short: "Offer this new wallet's keys to the guardians",
		Example: `
anamnesis wallet new
anamnesis recover start anm1… > offer.txt`,
		Args: cobra.RangeArgs(1, 2),
	}, func(ctx context.Context, args []string) error {
		h, err := protocol.ParseHandle(args[0])
		if err != nil {
			return err
		}
		p, net, err := c.walletAt(ctx)
		if err != nil {
			return err
		}
		name := "main"
		if len(args) == 2 {
			name = args[1]
		}
		k, err := c.take(p, h, name)
		if err != nil {
			return err
		}
		offer := k.Successor(net.Network.Chain).String()
		return c.show(map[string]any{"journal": h.Journal, "name": name, "offer": offer}, func(out io.Writer) { fmt.Fprintln(out, offer) })
	})
}

// helper is a guardian at a gateway.
type helper struct {
	*client.Client
	guardian *wallet.Guardian
}

func (c *cli) helper(ctx context.Context, kit string) (*helper, error) {
	g, err := c.openKit(kit)
	if err != nil {
		return nil, err
	}
	net, err := c.dial(ctx, g.Kit.Network)
	return &helper{net, g}, err
}

const kitUsage = "your kit for this patient, in `FILE`"

func (c *cli) recoverPropose() *cobra.Command {
	kit := ""
	cmd := c.command(&cobra.Command{
		Use:   "propose --kit FILE OFFER",
		Short: "As a guardian, propose the new wallet's key; it is your approval",
		Example: `
anamnesis recover propose --kit ada.kit offer.txt`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		h, err := c.helper(ctx, kit)
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
		s, err := wallet.ParseSuccessor(text, h.Network.Chain)
		if err == nil && s.Journal != h.guardian.Kit.Handle.Journal {
			err = fmt.Errorf("%w: it is for another journal than your kit", wallet.ErrControlOffer)
		}
		if err != nil {
			return err
		}
		if err := c.confirm("Have you spoken with the patient, and is this their new wallet? Propose its key?"); err != nil {
			return err
		}
		id, err := h.ProposeRecovery(ctx, h.guardian, s)
		if err != nil {
			return err
		}
		return c.showRecoveries(ctx, h, id)
	})
	cmd.Flags().StringVar(&kit, "kit", "", kitUsage)
	return cmd
}

func (c *cli) recoverApprove() *cobra.Command {
	kit := ""
	cmd := c.command(&cobra.Command{
		Use:   "approve --kit FILE [RECOVERY]",
		Short: "As a guardian, approve a recovery that another proposed",
		Example: `
anamnesis recover approve --kit ada.kit
anamnesis recover approve --kit ada.kit 5f0c3ab2`,
		Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, args []string) error {
		h, err := c.helper(ctx, kit)
		if err != nil {
			return err
		}
		state, err := h.Control(ctx, client.Guardian(h.guardian), h.guardian.Kit.Handle.Journal)
		if err != nil {
			return err
		}
		one, err := pickRecovery(state, args)
		if err != nil {
			return err
		}
		if err := c.confirm("Have you spoken with the patient, and is the key " + short(one.Controller) + " their new wallet's? Approve?"); err != nil {
			return err
		}
		if err := h.ApproveRecovery(ctx, h.guardian, one.ID); err != nil {
			return err
		}
		return c.showRecoveries(ctx, h, one.ID)
	})
	cmd.Flags().StringVar(&kit, "kit", "", kitUsage)
	return cmd
}

// pickRecovery finds the recovery that is meant: the one named, or the only one that is open.
func pickRecovery(state api.Control, args []string) (api.Recovery, error) {
	var ids []protocol.RecoveryID
	var open []api.Recovery
	for _, r := range state.Recoveries {
		ids = append(ids, r.ID)
		if r.State == "gathering" || r.State == "waiting" {
			open = append(open, r)
		}
	}
	if len(args) == 0 {
		switch len(open) {
		case 0:
			return api.Recovery{}, failed("not-found", "there is no open recovery of this journal", "A guardian begins one with `anamnesis recover propose`.")
		case 1:
			return open[0], nil
		}
		return api.Recovery{}, usage("there are %s of recoveries: name one", plural(len(open), "proposal"))
	}
	id, err := pick("recovery", args[0], ids)
	for _, r := range state.Recoveries {
		if err == nil && r.ID == id {
			return r, nil
		}
	}
	return api.Recovery{}, err
}

func (c *cli) showRecoveries(ctx context.Context, h *helper, only protocol.RecoveryID) error {
	state, err := h.Control(ctx, client.Guardian(h.guardian), h.guardian.Kit.Handle.Journal)
	if err != nil {
		return err
	}
	for _, r := range state.Recoveries {
		if r.ID == only {
			return c.show(r, func(out io.Writer) {
				fmt.Fprintf(out, "Recovery %s: %s.\n", short(r.ID), progress(r))
				if r.State == "waiting" {
					fmt.Fprintf(out, "The journal changes hands at %s UTC, unless the old wallet or a device vetoes.\n", when(r.At))
				}
			})
		}
	}
	return failed("not-found", "the gateway does not show the recovery", "Try `anamnesis recover status`.")
}

func progress(r api.Recovery) string {
	var groups []string
	for _, g := range r.Groups {
		groups = append(groups, fmt.Sprintf("%d of the %d needed (group of %d)", g.Have, g.Need, g.Of))
	}
	return r.State + ", approved by " + strings.Join(groups, " and ")
}

func (c *cli) recoverStatus() *cobra.Command {
	kit := ""
	cmd := c.command(&cobra.Command{
		Use:   "status [--kit FILE]",
		Short: "Show recoveries of a journal: to its patient, a device, or with --kit a guardian",
		Example: `
anamnesis recover status
anamnesis recover status --kit ada.kit`,
	}, func(ctx context.Context, _ []string) error {
		state, err := c.controlState(ctx, kit)
		var p *api.Problem
		if errors.As(err, &p) && p.Code == "unknown-signer" {
			detail := "After `recover start`: the guardians have not finished, or the delay is not over. Guardians: nobody has proposed yet."
			return failed("not-yet", "the journal does not know this key", detail)
		}
		if err != nil {
			return err
		}
		return c.show(state, func(out io.Writer) {
			guardians := "none"
			if state.Guardians {
				guardians = "set"
			}
			fields(out, "journal", state.ID.String(), "controller", short(state.Controller), "guardians", guardians)
			t := newTable("recovery", "~state", "new key", "until (UTC)")
			for _, r := range state.Recoveries {
				t.add(short(r.ID), progress(r), short(r.Controller), when(r.At))
			}
			if len(t.rows) > 0 {
				fmt.Fprintln(out)
				t.print(out)
			}
			if state.Due != 0 {
				fmt.Fprintf(out, "\nThe journal changes hands at %s UTC. If that is not your doing: `anamnesis recover veto`, now.\n", when(state.Due))
			}
		})
	})
	cmd.Flags().StringVar(&kit, "kit", "", kitUsage)
	return cmd
}

func (c *cli) controlState(ctx context.Context, kit string) (api.Control, error) {
	if kit != "" {
		h, err := c.helper(ctx, kit)
		if err != nil {
			return api.Control{}, err
		}
		return h.Control(ctx, client.Guardian(h.guardian), h.guardian.Kit.Handle.Journal)
	}
	p, err := c.patient(ctx)
	if err != nil {
		return api.Control{}, err
	}
	return p.Control(ctx, client.Patient(p.keys), p.journal.ID)
}

func (c *cli) recoverVeto() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "veto [RECOVERY]",
		Short: "Stop a recovery, with the old wallet or a device",
		Example: `
anamnesis recover veto
anamnesis recover veto --wallet phone.wallet`,
		Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, args []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		state, err := p.Control(ctx, client.Patient(p.keys), p.journal.ID)
		if err != nil {
			return err
		}
		one, err := pickRecovery(state, args)
		if err != nil {
			return err
		}
		if err := p.VetoRecovery(ctx, p.keys, one.ID); err != nil {
			return err
		}
		return c.show(map[string]any{"recovery": one.ID, "vetoed": true}, func(out io.Writer) {
			fmt.Fprintln(out, "Vetoed. If you did not expect it, choose other guardians: `anamnesis guardian set`.")
		})
	})
}
