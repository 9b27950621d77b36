package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) devCommand() *cobra.Command {
	cfg := node.DevConfig{}
	verbose, emergency := false, ""
	cmd := c.command(&cobra.Command{
		Use:     "dev",
		GroupID: "network",
		Short:   "Run a whole network in one process, to try things out",
		Long: `Starts a network of real nodes in one process: each member has its own folder, keys, ledger, vault and gateway, and they
agree over TCP as they would over the world's. A folder that holds a network resumes it. Ctrl-C stops it cleanly; a
process that is killed loses nothing that was acknowledged.`,
		Example: `
anamnesis dev
anamnesis dev --members 7 --dir /tmp/seven --listen 127.0.0.1:9000`,
	}, nil)
	f := cmd.Flags()
	f.IntVar(&cfg.Members, "members", 4, "`N` organisations with a node, 1 to 16; one in three may fail or lie from 4 on")
	f.StringVar(&cfg.Dir, "dir", "anamnesis-dev", "the network's `DIR`")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:8080", "`ADDRESS` of the first member's gateway; the others take free ports")
	f.StringSliceVar(&cfg.Notify.AllowHosts, "allow-webhook", nil, "webhooks may lead to this `HOST`, inward or over http")
	f.StringVar(&cfg.Notify.Mail.Relay, "mail-relay", "", "mails go through the relay at this `ADDRESS`, host:port")
	f.StringVar(&cfg.Notify.Mail.From, "mail-from", "", "the `ADDRESS` that mails come from")
	f.BoolVar(&cfg.Notify.Mail.MustTLS, "mail-tls", false, "send nothing to a relay that does not offer STARTTLS")
	f.StringVar(&emergency, "emergency-default", "", "what a new network recommends that emergency teams may see: `CLASSES`, or none (default "+strings.Join(protocol.DefaultParams().EmergencyClasses, ",")+")")
	f.BoolVar(&verbose, "verbose", false, "log to standard error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c.began = true
		if verbose {
			cfg.Log = slog.New(slog.NewTextHandler(c.err, nil))
		}
		seen, err := parseEmergency(emergency)
		if err != nil {
			return err
		}
		if seen.said {
			params := node.DevParams()
			params.EmergencyClasses = nil
			for _, class := range seen.classes {
				params.EmergencyClasses = append(params.EmergencyClasses, string(class))
			}
			slices.Sort(params.EmergencyClasses)
			cfg.Params = &params
		}
		return c.dev(cmd.Context(), cfg, cmd.Flags().Changed("members"))
	}
	return cmd
}

const devMembersMax = 16

func checkMembers(n int) error {
	if n < 1 || n > devMembersMax {
		return usage("--members is a number from 1 to %d", devMembersMax)
	}
	return nil
}

// devView is the ready line for programs.
type devView struct {
	Event      string      `json:"event"` // started, ready, stopped
	Dir        string      `json:"dir,omitempty"`
	Chain      string      `json:"chain,omitempty"`
	Gateway    string      `json:"gateway,omitempty"`
	Members    []devMember `json:"members,omitempty"`
	Passphrase string      `json:"passphrase_file,omitempty"`
	Generation uint32      `json:"generation,omitempty"`
}

type devMember struct {
	Name    string `json:"name"`
	Actor   string `json:"actor"`
	Gateway string `json:"gateway"`
}

func (c *cli) dev(ctx context.Context, cfg node.DevConfig, insist bool) (err error) {
	if err := checkMembers(cfg.Members); err != nil {
		return err
	}
	tuneCollector()
	d, err := node.StartDev(cfg)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, d.Stop())
		if err == nil {
			c.event(devView{Event: "stopped"}, "Stopped. The same command resumes it.\n")
		}
	}()
	if n := len(d.Names); insist && n != cfg.Members {
		f := usage("the network in %s has %s, not %d", d.Dir, plural(n, "member"), cfg.Members)
		f.Detail = "Leave --members out to resume it, or choose another --dir."
		return f
	}
	if p := cfg.Params; p != nil && !slices.Equal(p.EmergencyClasses, d.Genesis.Params.EmergencyClasses) {
		f := usage("the network in %s was made with another --emergency-default", d.Dir)
		f.Detail = "Leave it out to resume the network, or choose another --dir."
		return f
	}
	c.started(d)
	ready := make(chan error, 1)
	go func() { ready <- d.Ready(ctx) }()
	broken := make(chan error, len(d.Nodes))
	for _, n := range d.Nodes {
		go func() {
			select {
			case <-n.Failed():
				broken <- n.Err()
			case <-ctx.Done():
			}
		}()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return fmt.Errorf("a node stopped itself: %w", err)
		case err := <-ready:
			if err != nil && ctx.Err() == nil {
				return err
			}
			if err == nil {
				c.event(devView{Event: "ready", Chain: d.Genesis.Chain, Gateway: d.Gateway(0)},
					fmt.Sprintf("Ready: the custodians hold their key; any %d of %d open a record together, fewer cannot.\n", threshold.Threshold(len(d.Nodes)), len(d.Nodes)))
			}
		}
	}
}

func (c *cli) started(d *node.DevNet) {
	v := devView{Event: "started", Dir: d.Dir, Chain: d.Genesis.Chain, Gateway: d.Gateway(0), Passphrase: filepath.Join(d.Dir, "passphrase")}
	for i, name := range d.Names {
		v.Members = append(v.Members, devMember{Name: d.Genesis.Members[i].Name, Actor: filepath.Join(d.Dir, "members", name+".actor"), Gateway: d.Gateway(i)})
	}
	if c.json {
		c.event(v, "")
		return
	}
	fmt.Fprintf(c.out, "Network %s, %s, in %s\n\n", v.Chain, plural(len(v.Members), "member"), d.Dir)
	t := newTable("~member", "gateway", "~key for --as")
	for _, m := range v.Members {
		t.add(m.Name, m.Gateway, m.Actor)
	}
	t.print(c.out)
	tryNext(c.out, v)
}

// tryNext teaches the main job in a handful of commands.
func tryNext(out io.Writer, v devView) {
	gateway := ""
	if v.Gateway != defaultGateway {
		gateway = " --gateway " + v.Gateway
	}
	first := slug(v.Members[0].Name)
	fmt.Fprintf(out, `
Try next, in another terminal:
  anamnesis wallet new
  anamnesis journal open%s
  anamnesis consent grant --template contributor --to member:%s
  anamnesis synth --patients 1 --out histories
  anamnesis record add --as %s --handle HANDLE histories
  anamnesis record list

`, gateway, first, v.Members[0].Actor)
}

// event prints a line: JSON for programs, one object a line.
func (c *cli) event(v devView, text string) {
	if c.json {
		raw, _ := json.Marshal(v)
		text = string(raw) + "\n"
	}
	_, _ = io.WriteString(c.out, text)
}
