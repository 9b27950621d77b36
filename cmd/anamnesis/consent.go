package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) consentCommand() *cobra.Command {
	cmd := family("consent", "patient", "Contracts: who may read or write what, until when", c.consentTemplates(), c.consentGrant(), c.consentList(), c.consentRevoke())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

// templateView is a template for programs.
type templateView struct {
	Name        string             `json:"name"`
	Number      uint8              `json:"number"`
	Title       string             `json:"title"`
	Summary     string             `json:"summary"`
	Actions     []string           `json:"actions"`
	Purposes    []protocol.Purpose `json:"purposes"`
	Window      uint64             `json:"window_ms"`
	UsesMax     uint32             `json:"uses_max"`
	NeedsChoice bool               `json:"needs_choice"`
}

func (c *cli) consentTemplates() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "templates",
		Short: "Show the ready contracts, and the classes they can name",
		Example: `
anamnesis consent templates`,
	}, func(context.Context, []string) error {
		var views []templateView
		for _, t := range consent.Templates() {
			v := templateView{Name: t.Name, Number: t.Number, Title: t.Title, Summary: t.Summary, Purposes: t.Purposes, Window: t.WindowMillis, UsesMax: t.UsesMax,
				NeedsChoice: t.NeedsChoice}
			for _, a := range t.Actions {
				v.Actions = append(v.Actions, a.String())
			}
			views = append(views, v)
		}
		return c.show(views, func(out io.Writer) {
			for _, v := range views {
				fmt.Fprintf(out, "%s: %s\n%s", v.Name, v.Title, wrap(v.Summary, "    "))
				limits := strings.Join(v.Actions, ", ") + " · " + span(time.Duration(v.Window)*time.Millisecond)
				if v.UsesMax > 0 {
					limits += fmt.Sprintf(" · %d uses", v.UsesMax)
				}
				if len(v.Purposes) > 0 {
					limits += " · for " + purposeList(v.Purposes)
				}
				if v.NeedsChoice {
					limits += " · classes or records must be named"
				}
				fmt.Fprint(out, wrap(limits, "    "), "\n")
			}
			fmt.Fprintln(out, "Classes to name with --class (sensitive ones last):")
			fmt.Fprint(out, wrap(classNames(), "    "))
		})
	})
}

func purposeList(purposes []protocol.Purpose) string {
	var out []string
	for _, p := range purposes {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

// contractView is a contract with what it means.
type contractView struct {
	api.Contract
	TemplateName string `json:"template_name"`
	Note         string `json:"note,omitempty"`
	Explanation  string `json:"explanation"`
}

func (c *cli) consentList() *cobra.Command {
	all := false
	cmd := c.command(&cobra.Command{
		Use:   "list",
		Short: "List the contracts: whom, what, until when, uses left, state",
		Example: `
anamnesis consent list
anamnesis consent list --all      # those that are over, too`,
	}, func(ctx context.Context, _ []string) error { return c.listContracts(ctx, all) })
	cmd.Flags().BoolVar(&all, "all", false, "those that ended or were revoked, too")
	return cmd
}

func (c *cli) listContracts(ctx context.Context, all bool) error {
	p, err := c.patient(ctx)
	if err != nil {
		return err
	}
	contracts, err := p.Contracts(ctx, p.keys)
	if err != nil {
		return err
	}
	over, words := 0, p.words(ctx)
	views := []contractView{}
	slices.SortFunc(contracts, func(a, b api.Contract) int { return int(int64(a.Granted) - int64(b.Granted)) })
	for _, one := range contracts {
		if one.State != "active" && !all {
			over++
			continue
		}
		v := contractView{Contract: one, TemplateName: templateName(one.Template)}
		for _, note := range p.purse.Contracts {
			if note.ID == one.ID {
				v.Note = note.Note
			}
		}
		text, err := consent.Explain([]byte(one.Policy), consent.Terms{}, words)
		if err != nil {
			return fmt.Errorf("contract %s: %w", one.ID, err)
		}
		// The last line is about terms, which are shown as they stand.
		if last := strings.LastIndexByte(strings.TrimRight(text, "\n"), '\n'); last >= 0 {
			text = text[:last]
		}
		v.Explanation = text
		views = append(views, v)
	}
	return c.show(views, func(out io.Writer) {
		for _, v := range views {
			fmt.Fprintf(out, "%s  %s  %s\n", short(v.ID), v.TemplateName, v.standing())
			fmt.Fprint(out, wrap(v.Explanation, "    "))
			if v.Note != "" {
				fmt.Fprint(out, wrap("Your note: "+v.Note, "    "))
			}
			fmt.Fprintln(out)
		}
		switch {
		case len(views) == 0 && over == 0:
			fmt.Fprintln(out, "No contract: nobody but you can read, and nobody can write. See `anamnesis consent templates`.")
		case over > 0:
			fmt.Fprintf(out, "%s over; --all shows them.\n", count(over, "contract is", "contracts are"))
		}
	})
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// standing says in a line where a contract stands.
func (v contractView) standing() string {
	var parts []string
	switch {
	case v.State != "active":
		parts = append(parts, v.State+" "+when(max(v.Over, min(v.NotAfter, now()))))
	case now() < v.NotBefore:
		parts = append(parts, "begins "+when(v.NotBefore)+", ends "+when(v.NotAfter))
	default:
		parts = append(parts, "until "+when(v.NotAfter)+" UTC ("+span(moment(v.NotAfter).Sub(moment(now())))+" left)")
	}
	switch {
	case v.UsesMax > 0 && v.Uses >= v.UsesMax:
		parts = append(parts, fmt.Sprintf("all %d uses used up", v.UsesMax))
	case v.UsesMax > 0:
		parts = append(parts, fmt.Sprintf("%d of %d uses left", v.UsesMax-v.Uses, v.UsesMax))
	case v.Uses > 0:
		parts = append(parts, "used "+count(int(v.Uses), "time", "times"))
	}
	return strings.Join(parts, ", ")
}

func templateName(number uint8) string {
	for _, t := range consent.Templates() {
		if t.Number == number {
			return t.Name
		}
	}
	return "own terms"
}

// words gives names to what a contract speaks of.
func (p *patient) words(ctx context.Context) consent.Names {
	h := p.keys.Handle()
	known := namesOf(p.Client, &h)
	known.as = client.Patient(p.keys)
	return func(of, text string) string {
		switch of {
		case "Member":
			if id, err := protocol.ParseMemberID(text); err == nil {
				return known.member(id)
			}
		case "Practitioner":
			if id, err := protocol.ParsePractitionerID(text); err == nil {
				return known.practitioner(ctx, id)
			}
		case "Class":
			if l, err := protocol.ParseLabel(text); err == nil {
				return known.label(l)
			}
		case "Record":
			return "record " + text[:min(len(text), shortDigits)]
		case "Journal":
			if text == p.journal.ID.String() {
				return "journal " + p.journal.Nickname
			}
		}
		return ""
	}
}

func (c *cli) consentRevoke() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "revoke CONTRACT",
		Short: "Withdraw a contract: nothing stands on it from the next block on",
		Long: `Withdraws a contract at once. Accesses that it permitted and that were not yet read end with it. What was read stays with the
reader, as on paper. CONTRACT is the id that 'consent list' shows; its first digits are enough.`,
		Example: `
anamnesis consent revoke 3fa9c1d2`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		contracts, err := p.Contracts(ctx, p.keys)
		if err != nil {
			return err
		}
		var ids []protocol.ContractID
		for _, one := range contracts {
			ids = append(ids, one.ID)
		}
		id, err := pick("contract", args[0], ids)
		if err != nil {
			return err
		}
		if err := p.Revoke(ctx, p.keys, id); err != nil {
			return err
		}
		return c.show(map[string]any{"contract": id, "state": "revoked"}, func(out io.Writer) {
			fmt.Fprintf(out, "Contract %s is withdrawn. Nothing more is opened on it.\n", short(id))
		})
	})
}
