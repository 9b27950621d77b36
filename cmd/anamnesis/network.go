package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// networkView is what `network` answers.
type networkView struct {
	*api.Network
	Health api.Health `json:"health"`
	Digest string     `json:"policy_digest"`
}

func (c *cli) networkCommand() *cobra.Command {
	policyOnly := false
	cmd := c.command(&cobra.Command{
		Use:     "network",
		GroupID: "network",
		Short:   "Show what a gateway says of its network, and the trust root",
		Long: `Shows the network behind a gateway: its members, where its ledger stands, whether the custodians' key is ready, and the
trust root (the nodes' keys and the quorum that wallets insist on). Compare the digest with one from somewhere else.`,
		Example: `
anamnesis network --gateway http://127.0.0.1:8080
anamnesis network --policy > trust.policy      # for verify --policy`,
	}, func(ctx context.Context, _ []string) error {
		net, err := c.anyNetwork(ctx)
		if err != nil {
			return err
		}
		if policyOnly {
			_, err := io.WriteString(c.out, net.Network.Policy)
			return err
		}
		return c.showNetwork(ctx, net)
	})
	cmd.Flags().BoolVar(&policyOnly, "policy", false, "print the trust policy alone (C2SP tlog-policy)")
	return cmd
}

func (c *cli) showNetwork(ctx context.Context, net *client.Client) error {
	health, err := net.Health(ctx)
	if err != nil {
		return err
	}
	policy, err := c2sp.ParsePolicy([]byte(net.Network.Policy))
	if err != nil {
		return fmt.Errorf("%w: trust policy: %w", client.ErrAnswer, err)
	}
	digest, err := policy.Digest()
	if err != nil {
		return fmt.Errorf("%w: trust policy: %w", client.ErrAnswer, err)
	}
	v := networkView{Network: &net.Network, Health: health, Digest: hex.EncodeToString(digest[:])}
	return c.show(v, func(out io.Writer) {
		key := "being generated"
		if v.Generation > 0 {
			key = fmt.Sprintf("ready, generation %d", v.Generation)
		}
		state := "serving"
		if !health.OK {
			state = fmt.Sprint(health.Problems)
		}
		head := fmt.Sprintf("%d entries, height %d, %s UTC", v.Head.Size, v.Head.Height, when(v.Head.Time))
		fields(out, "network", v.Chain, "answering", namesOf(net, nil).member(v.Member), "state", state, "ledger", head, "key", key,
			"access", span(time.Duration(v.Params.AccessMillis)*time.Millisecond)+" to open what was permitted", "emergency", emergencyText(net), "trust root", v.Digest)
		fmt.Fprintln(out)
		printMembers(out, v.Members)
	})
}

func printMembers(out io.Writer, members []api.Member) {
	t := newTable("~member", "kind", "id", ">node", "~gateway")
	for _, m := range members {
		number, gateway := "-", ""
		if m.Gateway != "" {
			gateway = "http://" + strings.TrimPrefix(m.Gateway, "http://")
		}
		if m.Custodian > 0 {
			number = fmt.Sprint(m.Custodian)
		}
		if m.Removed {
			gateway = "removed"
		}
		t.add(m.Name, m.Kind.String(), short(m.ID), number, gateway)
	}
	t.print(out)
}

func emergencyText(net *client.Client) string {
	names := net.Genesis.Params.EmergencyClasses
	if len(names) == 0 {
		return "nothing is recommended that emergency teams may see"
	}
	return strings.Join(names, ", ") + " are recommended; each patient decides"
}
