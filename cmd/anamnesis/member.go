package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) memberCommand() *cobra.Command {
	return family("member", "network", "The organisations: list, propose, approve, remove, rotate a key", c.memberList(), c.memberPropose(), c.memberApprove(), c.memberRemove(), c.memberRotate())
}

func (c *cli) memberList() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "list",
		Short: "List the members of the network",
		Example: `
anamnesis member list`,
	}, func(ctx context.Context, _ []string) error {
		net, err := c.anyNetwork(ctx)
		if err != nil {
			return err
		}
		members, err := net.Members(ctx)
		if err != nil {
			return err
		}
		return c.show(members, func(out io.Writer) { printMembers(out, members) })
	})
}

func (c *cli) memberPropose() *cobra.Command {
	kind, file, pass := "", "", ""
	cmd := c.command(&cobra.Command{
		Use:   "propose NAME --kind KIND --out FILE --as FILE",
		Short: "Propose a new member, and make its key",
		Long: `Makes a signing key for an organisation that runs no node, and proposes it. More than two thirds of the members must approve,
the proposer included. Kinds: hospital, practice, laboratory, pharmacy, insurer, manufacturer, sponsor, regulator,
patients-association.`,
		Example: `
anamnesis member propose "Elm Street Practice" --kind practice --out elm.actor \
    --as anamnesis-dev/members/northside-general-hospital.actor
anamnesis member approve PROPOSAL --as anamnesis-dev/members/meridian-laboratory.actor`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error { return c.propose(ctx, args[0], kind, file, pass) })
	cmd.Flags().StringVar(&kind, "kind", "", "what sort of organisation: `KIND`")
	cmd.Flags().StringVar(&file, "out", "", "the new member's key `FILE`")
	cmd.Flags().StringVar(&pass, "new-passphrase-file", "", "the new file's passphrase, on the first line of `FILE`")
	_ = cmd.MarkFlagRequired("kind")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

func (c *cli) propose(ctx context.Context, name, kindName, file, passphraseFile string) error {
	var kind protocol.MemberKind
	if err := kind.UnmarshalText([]byte(kindName)); err != nil {
		f := usage("there is no kind of member %q", printable(kindName))
		f.Detail = "See `anamnesis member propose --help`."
		return f
	}
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%w: %s", wallet.ErrExists, file)
	}
	m, err := c.member(ctx)
	if err != nil {
		return err
	}
	pass, err := c.newPassphrase(file, passphraseFile)
	if err != nil {
		return err
	}
	a := wallet.NewMember(wallet.Network{Chain: m.Network.Chain, Gateway: c.gatewayOf(m.actor.Network), Policy: m.Network.Policy}, name)
	action := &protocol.ProposeMember{Member: protocol.Member{Kind: kind, Name: name, Key: a.Key.Public()}}
	if err := action.Validate(); err != nil {
		return usage("%v", err)
	}
	data, err := a.Encrypt(pass, wallet.WithWorkFactor(c.workFactor))
	if err != nil {
		return err
	}
	if err := wallet.CreateFile(file, data); err != nil {
		return err
	}
	r, err := m.Do(ctx, m.identity(), protocol.JournalID{}, action)
	if err != nil {
		return c.withdraw(file, err)
	}
	return c.proposed("join", protocol.MemberID(a.ID), name, r.ID, file)
}

// proposed says how a proposal goes on.
func (c *cli) proposed(what string, id protocol.MemberID, name string, proposal protocol.ActionID, file string) error {
	return c.show(map[string]any{"proposal": proposal, "what": what, "member": id, "name": name, "actor": file}, func(out io.Writer) {
		fmt.Fprintf(out, "Proposed that %s should %s. More than two thirds of the members must approve; your approval counts.\n", printable(name), what)
		fields(out, "  proposal", proposal.String(), "  member", id.String(), "  key", file)
		fmt.Fprintf(out, "Next, as each other member: anamnesis member approve %s --as FILE\n", proposal)
	})
}

func (c *cli) memberApprove() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "approve PROPOSAL --as FILE",
		Short: "Approve a proposal",
		Example: `
anamnesis member approve 8d1f…  --as anamnesis-dev/members/meridian-laboratory.actor`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		id, err := protocol.ParseHash(args[0])
		if err != nil {
			return err
		}
		m, err := c.member(ctx)
		if err != nil {
			return err
		}
		if _, err := m.Do(ctx, m.identity(), protocol.JournalID{}, &protocol.Approve{Proposal: id}); err != nil {
			return err
		}
		return c.show(map[string]any{"proposal": id, "approved_by": m.actor.Name}, func(out io.Writer) {
			fmt.Fprintf(out, "%s approved. `anamnesis member list` shows when it is carried.\n", printable(m.actor.Name))
		})
	})
}

func (c *cli) memberRemove() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "remove MEMBER --as FILE",
		Short: "Propose that a member should leave",
		Example: `
anamnesis member remove harbour-pharmacy --as anamnesis-dev/members/northside-general-hospital.actor`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		m, err := c.member(ctx)
		if err != nil {
			return err
		}
		target, err := namesOf(m.Client, nil).findMember(args[0])
		if err != nil {
			return err
		}
		r, err := m.Do(ctx, m.identity(), protocol.JournalID{}, &protocol.ProposeRemoval{Member: target.ID})
		if err != nil {
			return err
		}
		return c.proposed("leave", target.ID, target.Name, r.ID, "")
	})
}

func (c *cli) memberRotate() *cobra.Command {
	file, pass := "", ""
	cmd := c.command(&cobra.Command{
		Use:   "rotate --out FILE --as FILE",
		Short: "Replace a member's signing key",
		Long: `Makes a new signing key for the member and tells the ledger: from the next action on only the new key counts. The id stays.
A member that runs a node must give the new key to its node too: until then the node cannot sponsor journals.`,
		Example: `
anamnesis member rotate --as elm.actor --out elm-2.actor`,
	}, func(ctx context.Context, _ []string) error { return c.rotate(ctx, file, pass) })
	cmd.Flags().StringVar(&file, "out", "", "the new key `FILE`")
	cmd.Flags().StringVar(&pass, "new-passphrase-file", "", "the new file's passphrase, on the first line of `FILE`")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

func (c *cli) rotate(ctx context.Context, file, passphraseFile string) error {
	m, err := c.member(ctx)
	if err != nil {
		return err
	}
	row, err := namesOf(m.Client, nil).findMember(protocol.MemberID(m.actor.ID).String())
	if err != nil {
		return err
	}
	if row.Custodian > 0 {
		if err := c.confirm(m.actor.Name + " runs a node, which cannot sponsor journals until it has the new key. Rotate?"); err != nil {
			return err
		}
	}
	pass, err := c.newPassphrase(file, passphraseFile)
	if err != nil {
		return err
	}
	next := wallet.NewMember(m.actor.Network, m.actor.Name)
	next.ID = m.actor.ID
	data, err := next.Encrypt(pass, wallet.WithWorkFactor(c.workFactor))
	if err != nil {
		return err
	}
	// The file first: a key that counts and is lost would lock the member out.
	if err := wallet.CreateFile(file, data); err != nil {
		return err
	}
	key := next.Key.Public()
	message := protocol.KeyProofMessage(m.Network.Chain, protocol.MemberID(m.actor.ID), key)
	if _, err := m.Do(ctx, m.identity(), protocol.JournalID{}, &protocol.RotateMemberKey{Key: key, Proof: next.Key.Sign(message)}); err != nil {
		return c.withdraw(file, err)
	}
	return c.show(map[string]any{"member": protocol.MemberID(m.actor.ID), "key": key, "actor": file}, func(out io.Writer) {
		fmt.Fprintf(out, "%s signs with %s from now on; %s no longer counts.\n", printable(m.actor.Name), file, m.path)
	})
}
