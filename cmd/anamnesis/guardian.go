package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) guardianCommand() *cobra.Command {
	cmd := family("guardian", "patient", "Those who together can bring a journal back", c.guardianOffer(), c.guardianSet(), c.guardianClear(), c.guardianShow())
	cmd.Long = `Guardians are people and organisations who together can give a journal a new key when yours is lost. No guardian holds anything that
opens a record, none can act alone if you ask for several, and nobody sees who they are until they help.

Each guardian makes an offer (guardian offer) and gives it to you; you commit to them (guardian set) and give each their kit.
If your wallet is lost: anamnesis recover --help.`
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) guardianOffer() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "offer",
		Short: "Offer to be somebody's guardian",
		Long: `Prints an offer: a key of your wallet, made for this one patient. It is no secret: send it to the patient, who gives you a kit in
return. Keep the kit, and your wallet.`,
		Example: `
anamnesis guardian offer > offer-of-mum.txt`,
	}, func(context.Context, []string) error {
		p, err := c.openWallet()
		if err != nil {
			return err
		}
		o, err := p.OfferGuardian()
		if err != nil {
			return err
		}
		return c.show(map[string]string{"offer": o.String()}, func(out io.Writer) { fmt.Fprintln(out, o) })
	})
}

func (c *cli) guardianSet() *cobra.Command {
	var groups []string
	dir, note := "", ""
	delay := 48 * time.Hour
	cmd := c.command(&cobra.Command{
		Use:   "set --group NEED:OFFER,OFFER… --out DIR",
		Short: "Choose your guardians",
		Long: `Commits your journal to guardians in one or more groups: in every group at least NEED of them must approve. OFFER is a file with
what the guardian's 'guardian offer' printed. Once enough have approved, the delay begins, in which your wallet or any of
your devices can veto.

Writes a kit for each guardian into DIR: give each theirs. Guardians chosen before, and what they may have begun, are over.`,
		Example: `
anamnesis guardian set --group 2:mum.txt,dad.txt,sis.txt --group 1:doctor.txt,lawyer.txt --out kits
anamnesis guardian set --group 1:mum.txt --delay 72h --out kits --note 'Ada, your daughter'`,
	}, func(ctx context.Context, _ []string) error { return c.setGuardians(ctx, groups, delay, dir, note) })
	v := cmd.Flags()
	v.StringArrayVar(&groups, "group", nil, "`NEED:FILE,FILE…`, again for each group")
	v.DurationVar(&delay, "delay", delay, "`TIME` between the last approval needed and the new key")
	v.StringVar(&dir, "out", "", "the new folder `DIR` for the kits")
	v.StringVar(&note, "note", "", "`TEXT` in the kits, for the guardians")
	_ = cmd.MarkFlagRequired("group")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

func readOffers(groups []string) (need []int, files [][]string, offers [][]wallet.GuardianOffer, err error) {
	for _, g := range groups {
		before, list, ok := strings.Cut(g, ":")
		n, err := strconv.Atoi(before)
		if err != nil || !ok || n < 1 {
			return nil, nil, nil, usage("a group is NEED:FILE,FILE…, such as 2:mum.txt,dad.txt,sis.txt")
		}
		var of []wallet.GuardianOffer
		names := strings.Split(list, ",")
		for _, name := range names {
			raw, err := wallet.ReadFile(name)
			if err != nil {
				return nil, nil, nil, err
			}
			o, err := wallet.ParseGuardianOffer(string(raw))
			if err != nil {
				return nil, nil, nil, fmt.Errorf("%s: %w", name, err)
			}
			of = append(of, o)
		}
		need, files, offers = append(need, n), append(files, names), append(offers, of)
	}
	return need, files, offers, nil
}

func (c *cli) setGuardians(ctx context.Context, groups []string, delay time.Duration, dir, note string) error {
	need, files, offers, err := readOffers(groups)
	if err != nil {
		return err
	}
	if delay < 0 {
		return usage("a delay is not negative")
	}
	policy, err := wallet.NewGuardianPolicy(uint64(delay.Milliseconds()), need, offers)
	if err != nil {
		return err
	}
	p, err := c.patient(ctx)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	kit := wallet.Kit{Network: p.purse.Network, Handle: p.keys.Handle(), Policy: protocol.Encode(policy), Note: note, Made: uint64(time.Now().UnixMilli())}
	var kits []string
	for i, g := range offers {
		for j, o := range g {
			sealed, err := kit.Seal(o)
			if err != nil {
				return err
			}
			name := filepath.Join(dir, strings.TrimSuffix(filepath.Base(files[i][j]), filepath.Ext(files[i][j]))+".kit")
			if err := wallet.CreateFile(name, sealed); err != nil {
				return err
			}
			kits = append(kits, name)
		}
	}
	if err := p.SetGuardians(ctx, p.keys, &policy); err != nil {
		return err
	}
	least := p.Genesis.Params.RecoveryMillisMin
	return c.show(map[string]any{"journal": p.journal.ID, "kits": kits, "delay_ms": max(policy.DelayMillis, least)}, func(out io.Writer) {
		fmt.Fprintf(out, "Your guardians are set; nobody sees who they are. Give each their kit: %s.\n", strings.Join(kits, ", "))
		fmt.Fprintf(out, "After their approvals your wallet and devices have %s to veto.\n", time.Duration(max(policy.DelayMillis, least))*time.Millisecond) //nolint:gosec // at most 90 days
	})
}

func (c *cli) guardianClear() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "clear",
		Short: "Have no guardians any more",
		Long:  `Ends your guardians' say, and whatever recovery they may have begun.`,
		Example: `
anamnesis guardian clear`,
	}, func(ctx context.Context, _ []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		if err := c.confirm("Without guardians only your recovery words bring the journal back. Go on?"); err != nil {
			return err
		}
		if err := p.SetGuardians(ctx, p.keys, nil); err != nil {
			return err
		}
		return c.show(map[string]any{"journal": p.journal.ID}, func(out io.Writer) { fmt.Fprintln(out, "The journal has no guardians now.") })
	})
}

// openKit opens a guardian's kit with the guardian's wallet.
func (c *cli) openKit(file string) (*wallet.Guardian, error) {
	if file == "" {
		return nil, usage("say which kit: --kit FILE")
	}
	p, err := c.openWallet()
	if err != nil {
		return nil, err
	}
	raw, err := wallet.ReadFile(file)
	if err != nil {
		return nil, err
	}
	g, err := p.OpenKit(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return g, nil
}

func (c *cli) guardianShow() *cobra.Command {
	kit := ""
	cmd := c.command(&cobra.Command{
		Use:   "show --kit FILE",
		Short: "Show what a kit says, to its guardian",
		Example: `
anamnesis guardian show --kit ada.kit`,
	}, func(context.Context, []string) error {
		g, err := c.openKit(kit)
		if err != nil {
			return err
		}
		var groups []string
		for _, one := range g.Policy.Groups {
			groups = append(groups, fmt.Sprintf("%d of %d", one.Need, len(one.Keys)))
		}
		return c.show(map[string]any{"handle": g.Kit.Handle, "chain": g.Kit.Network.Chain, "groups": groups, "delay_ms": g.Policy.DelayMillis, "note": g.Kit.Note, "made_ms": g.Kit.Made},
			func(out io.Writer) {
				fields(out, "for", orDash(printable(g.Kit.Note)), "journal", g.Kit.Handle.String(), "network", g.Kit.Network.Chain, "approvals", strings.Join(groups, " and "),
					"delay", (time.Duration(g.Policy.DelayMillis) * time.Millisecond).String(), "made", when(g.Kit.Made)) //nolint:gosec // at most 90 days
			})
	})
	cmd.Flags().StringVar(&kit, "kit", "", "the kit in `FILE`")
	return cmd
}
