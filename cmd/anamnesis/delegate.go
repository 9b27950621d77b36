package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) delegateCommand() *cobra.Command {
	cmd := family("delegate", "patient", "Let somebody stand in for you: a parent, a child, a guardian at law",
		c.delegateAccept(), c.delegateAdd(), c.delegateList(), c.delegateEnd(), c.delegateGrant(), c.delegateRevoke())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) delegateAccept() *cobra.Command {
	handle, out, passFrom := "", "", ""
	cmd := c.command(&cobra.Command{
		Use:   "accept NAME --handle HANDLE --out FILE",
		Short: "Make a key with which you stand in for a patient, and an offer to give to them",
		Long: `Makes a key of your own for one journal, kept encrypted in FILE, and prints an offer: your public key and its proof. The offer
is no secret. The patient takes it with 'delegate add'. From then on --as FILE acts for the patient: 'access request' with the
purposes FAMRQT, PWATRNY and PATRQT, and, if you may, 'delegate grant'. The log names you and the patient for everything.`,
		Example: "\nanamnesis delegate accept Anna --handle anm1… --out mother.delegate",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		h, err := protocol.ParseHandle(handle)
		if err != nil {
			return err
		}
		net, err := c.dial(ctx, wallet.Network{})
		if err != nil {
			return err
		}
		actor := wallet.NewDelegate(wallet.Network{Chain: net.Network.Chain, Gateway: c.gatewayOf(wallet.Network{})}, h.Journal, args[0])
		pass, err := c.newPassphrase(out, passFrom)
		if err != nil {
			return err
		}
		file, err := actor.Encrypt(pass, wallet.WithWorkFactor(c.workFactor))
		if err != nil {
			return err
		}
		if err := wallet.CreateFile(out, file); err != nil {
			return err
		}
		v := map[string]any{"key": actor.Key.Public(), "journal": h.Journal, "offer": actor.Offer(), "file": out}
		return c.show(v, func(w io.Writer) { fmt.Fprintln(w, actor.Offer()) })
	})
	cmd.Flags().StringVar(&handle, "handle", "", "the patient's `HANDLE`")
	cmd.Flags().StringVar(&out, "out", "", "write the key to `FILE`")
	cmd.Flags().StringVar(&passFrom, "new-passphrase-file", "", "read the key's passphrase from the first line of `FILE`")
	_ = cmd.MarkFlagRequired("handle")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

// principal is who acts for a journal: its patient, or with --as a delegate of it.
type principal struct {
	*client.Client
	by      client.Identity
	journal protocol.JournalID
}

func (c *cli) principal(ctx context.Context) (*principal, *protocol.Handle, error) {
	if c.as == "" {
		p, err := c.patient(ctx)
		if err != nil {
			return nil, nil, err
		}
		h := p.keys.Handle()
		return &principal{p.Client, client.Patient(p.keys), p.journal.ID}, &h, nil
	}
	s, err := c.staff(ctx)
	if err != nil {
		return nil, nil, err
	}
	if s.actor.Kind != protocol.ActorDelegate {
		return nil, nil, usage("%s is not a delegate's key", c.as)
	}
	return &principal{s.Client, s.identity(), protocol.JournalID(s.actor.ID)}, nil, nil
}

// labels turns classes into labels: by the wallet's handle, or by the one that a delegate names.
func (p *principal) labels(h *protocol.Handle, handle string, names []string) ([]protocol.Label, error) {
	wanted, err := classes(names)
	if err != nil || len(wanted) == 0 {
		return nil, err
	}
	if h == nil {
		parsed, err := protocol.ParseHandle(handle)
		if err != nil {
			return nil, err
		}
		h = &parsed
	}
	if h.Journal != p.journal {
		return nil, usage("the handle is of another journal")
	}
	return labelsOf(*h, wanted), nil
}

func (c *cli) delegateAdd() *cobra.Command {
	level, until, begin, handle := "", "", "", ""
	var window time.Duration
	var scope []string
	may := false
	cmd := c.command(&cobra.Command{
		Use:   "add OFFER --level LEVEL",
		Short: "Let the holder of an offer stand in for you",
		Long: `LEVEL is see (read), share (read, and grant others what is in the scope) or act (also withdraw any contract). It ends by itself at
its time (an 18th birthday is one), or when either of you ends it; everything that they granted ends with it. Without --class
the scope is the whole journal. With --as FILE a delegate who may delegates within what it has.`,
		Example: "\nanamnesis delegate add anamnesis-delegate:… --level see --class medications,appointments --until 2031-05-04\nanamnesis delegate add \"$OFFER\" --level act --window 8760h --may-delegate",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		d := protocol.Delegate{MayDelegate: may}
		if d.Level.UnmarshalText([]byte(level)) != nil {
			return usage("--level is see, share or act")
		}
		p, h, err := c.principal(ctx)
		if err != nil {
			return err
		}
		if d.Key, d.Proof, err = wallet.ParseOffer(args[0], p.Network.Chain, p.journal); err != nil {
			return err
		}
		if d.Labels, err = p.labels(h, handle, scope); err != nil {
			return err
		}
		if d.NotBefore, err = timeOf("--begin", begin); err != nil {
			return err
		}
		if d.NotAfter, err = timeOf("--until", until); err != nil {
			return err
		}
		if d.NotAfter == 0 {
			d.NotAfter = max(now(), d.NotBefore) + uint64(window.Milliseconds())
		}
		if err := p.Delegate(ctx, p.by, p.journal, d); err != nil {
			return err
		}
		v := map[string]any{"key": d.Key, "level": d.Level, "not_after_ms": d.NotAfter, "classes": scope}
		return c.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "Delegate %s may %s until %s UTC.\nTo end it: anamnesis delegate end %s\n", d.Key.String()[:8], d.Level, when(d.NotAfter), d.Key.String()[:8])
		})
	})
	f := cmd.Flags()
	f.StringVar(&level, "level", "see", "how much: `LEVEL` see, share or act")
	f.StringSliceVar(&scope, "class", nil, "only these `CLASSES`")
	f.StringVar(&handle, "handle", "", "with --as and --class: the patient's `HANDLE`")
	f.StringVar(&until, "until", "", "ends at this `TIME`")
	f.DurationVar(&window, "window", 365*24*time.Hour, "or `HOW LONG`")
	f.StringVar(&begin, "begin", "", "begins at this `TIME` (default at once)")
	f.BoolVar(&may, "may-delegate", false, "at level act: may delegate within this")
	return cmd
}

func (c *cli) delegateList() *cobra.Command {
	return c.command(&cobra.Command{Use: "list", Short: "List who may stand in for you", Example: "\nanamnesis delegate list"}, func(ctx context.Context, _ []string) error {
		p, h, err := c.principal(ctx)
		if err != nil {
			return err
		}
		rows, err := p.Delegations(ctx, p.by, p.journal)
		if err != nil {
			return err
		}
		known := namesOf(p.Client, h)
		return c.show(rows, func(w io.Writer) {
			t := newTable("delegate", "from", "level", "~classes", "until (UTC)")
			for _, d := range rows {
				from, scope := "patient", "all"
				if !d.Parent.IsZero() {
					from = d.Parent.String()[:8]
				}
				var names []string
				for _, l := range d.Labels {
					names = append(names, known.label(l))
				}
				if len(names) > 0 {
					scope = strings.Join(names, ", ")
				}
				t.add(d.Key.String()[:8], from, d.Level.String(), scope, when(d.NotAfter))
			}
			t.print(w)
		})
	})
}

func (c *cli) delegateEnd() *cobra.Command {
	return c.command(&cobra.Command{
		Use: "end DELEGATE", Short: "End a delegation, and everything that stands on it",
		Long:    "DELEGATE is the key, its first digits are enough. The patient ends any; with --as FILE a delegate ends its own, or one that comes from it.",
		Example: "\nanamnesis delegate end 5f00a1b2\nanamnesis delegate end 5f00a1b2 --as mother.delegate", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		p, _, err := c.principal(ctx)
		if err != nil {
			return err
		}
		rows, err := p.Delegations(ctx, p.by, p.journal)
		if err != nil {
			return err
		}
		var found []protocol.PublicKey
		for _, d := range rows {
			if strings.HasPrefix(d.Key.String(), strings.ToLower(args[0])) {
				found = append(found, d.Key)
			}
		}
		if len(found) != 1 {
			return usage("%d delegates begin with %q: see `anamnesis delegate list`", len(found), printable(args[0]))
		}
		if err := p.EndDelegation(ctx, p.by, p.journal, found[0]); err != nil {
			return err
		}
		return c.show(map[string]any{"key": found[0], "ended": true}, func(w io.Writer) { fmt.Fprintf(w, "Delegate %s has ended.\n", found[0].String()[:8]) })
	})
}

func (c *cli) delegateGrant() *cobra.Command {
	handle, to, template := "", "", ""
	var scope []string
	var window time.Duration
	cmd := c.command(&cobra.Command{
		Use:     "grant --as FILE --to WHOM",
		Short:   "As a delegate who may share: grant somebody what is in your scope",
		Example: "\nanamnesis delegate grant --as mother.delegate --to practitioner:ID --template second-opinion --window 24h",
	}, func(ctx context.Context, _ []string) error {
		p, h, err := c.principal(ctx)
		if err != nil {
			return err
		}
		params := consent.Params{}
		if params.Grantee, err = grantee(to, namesOf(p.Client, h)); err != nil {
			return err
		}
		if params.Labels, err = p.labels(h, handle, scope); err != nil {
			return err
		}
		policy, t, err := consent.Render(template, params)
		if err != nil {
			return err
		}
		g := &protocol.Grant{Template: t.Number, Policy: policy, NotAfter: now() + uint64(window.Milliseconds()), UsesMax: t.UsesMax}
		r, err := p.Do(ctx, p.by, p.journal, g)
		if err != nil {
			return err
		}
		id := protocol.DerivedContractID(r.ID, 0)
		return c.show(map[string]any{"contract": id, "not_after_ms": g.NotAfter}, func(w io.Writer) { fmt.Fprintf(w, "Contract %s stands, within your delegation.\n", id) })
	})
	f := cmd.Flags()
	f.StringVar(&handle, "handle", "", "with --class: the patient's `HANDLE`")
	f.StringVar(&to, "to", "", "`WHOM`: practitioner:ID, role:ROLE@MEMBER or member:MEMBER")
	f.StringVar(&template, "template", "second-opinion", "`NAME` of a template")
	f.StringSliceVar(&scope, "class", nil, "only these `CLASSES`")
	f.DurationVar(&window, "window", 24*time.Hour, "`HOW LONG`; not beyond your delegation")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

func (c *cli) delegateRevoke() *cobra.Command {
	return c.command(&cobra.Command{Use: "revoke CONTRACT --as FILE", Short: "As a delegate: withdraw a contract that you may withdraw",
		Example: "\nanamnesis delegate revoke 0123456789abcdef0123456789abcdef --as mother.delegate", Args: cobra.ExactArgs(1)}, func(ctx context.Context, args []string) error {
		id, err := protocol.ParseContractID(args[0])
		if err != nil {
			return err
		}
		p, _, err := c.principal(ctx)
		if err != nil {
			return err
		}
		if _, err := p.Do(ctx, p.by, p.journal, &protocol.Revoke{Contract: id}); err != nil {
			return err
		}
		return c.show(map[string]any{"contract": id, "revoked": true}, func(w io.Writer) { fmt.Fprintln(w, "It is withdrawn.") })
	})
}

// reasonText reads a reason from a file, from standard input ("-"), or from somebody at the terminal; never from an argument.
func (c *cli) reasonText(file string) (string, error) {
	in := c.in
	switch {
	case file == "" && !isTerminal(c.in):
		return "", usage("say why: --reason-file FILE, or - for standard input")
	case file == "":
		fmt.Fprintln(c.err, "Why? The patient and the reviewers will read it. End with ctrl-D.")
	case file != "-":
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	return readText(in, wallet.ReasonTextBytesMax)
}
