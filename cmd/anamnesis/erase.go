package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/protocol"
)

const eraseFinal = `
It cannot be taken back. From the next block on no custodian opens what is erased, for anybody, you included; then each member's
node deletes its copies and attests it on the ledger. What the log keeps for ever is that something was there, who wrote it and
when, and who read it: docs/privacy.md says it plainly. What somebody has read before stays read. What its author holds by law is
closed to everybody at once, and deleted when the hold is over: ` + "`anamnesis hold list`" + `.`

func (c *cli) eraseCommand() *cobra.Command {
	cmd := family("erase", "patient", "Have records forgotten: one, a class, an author's, or the whole journal",
		c.eraseRecord(), c.eraseClass(), c.eraseMember(), c.eraseJournal(), c.eraseStatus())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

// eraser finishes a command that erases: what to erase is found out by do, and named in words for the confirmation.
func (c *cli) eraser(cmd *cobra.Command, do func(ctx context.Context, p *patient, args []string) (protocol.Erase, string, error)) *cobra.Command {
	wait := time.Duration(0)
	cmd = c.command(cmd, func(ctx context.Context, args []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		what, words, err := do(ctx, p, args)
		if err != nil {
			return err
		}
		return c.erase(ctx, p, what, words, wait)
	})
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Second, "`HOW LONG` to wait for the nodes to attest it; 0 does not wait")
	return cmd
}

func (c *cli) eraseRecord() *cobra.Command {
	return c.eraser(&cobra.Command{
		Use: "record RECORD...", Short: "Erase records, with the statements about them", Args: cobra.MinimumNArgs(1),
		Long:    "Erases records of your journal, each with the statements about it. RECORD is an id; its first digits are enough.\n" + eraseFinal,
		Example: "anamnesis erase record 81f3a0c2\nanamnesis erase record 81f3a0c2 9b01f4de --yes --wait 1m",
	}, func(ctx context.Context, p *patient, args []string) (e protocol.Erase, words string, err error) {
		e.Records, err = p.findRecords(ctx, args)
		return e, plural(len(e.Records), "record"), err
	})
}

func (c *cli) eraseClass() *cobra.Command {
	return c.eraser(&cobra.Command{
		Use: "class CLASS...", Short: "Erase all that there is of a class by now", Args: cobra.MinimumNArgs(1),
		Long:    "Erases every record of the classes that the journal has by now, whoever wrote it. Later records of the class are not touched.\n" + eraseFinal,
		Example: "anamnesis erase class mental-health\nanamnesis erase class imaging,labs --yes",
	}, func(_ context.Context, p *patient, args []string) (e protocol.Erase, words string, err error) {
		list, err := classes(strings.Split(strings.Join(args, ","), ","))
		e.Labels = labelsOf(p.keys.Handle(), list)
		return e, "everything of " + strings.Join(args, ", "), err
	})
}

func (c *cli) eraseMember() *cobra.Command {
	return c.eraser(&cobra.Command{
		Use: "member MEMBER", Short: "Erase all that an organisation has written by now", Args: cobra.ExactArgs(1),
		Long:    "Erases every record that the organisation, or somebody working there, has written into the journal by now, with your statements about them.\n" + eraseFinal,
		Example: "anamnesis erase member harbour-pharmacy",
	}, func(_ context.Context, p *patient, args []string) (e protocol.Erase, words string, err error) {
		m, err := namesOf(p.Client, nil).findMember(args[0])
		e.Author = m.ID
		return e, "everything that " + printable(m.Name) + " wrote", err
	})
}

func (c *cli) eraseJournal() *cobra.Command {
	return c.eraser(&cobra.Command{
		Use: "journal", Short: "Erase everything, and close the journal for good",
		Long: "Erases every record of the journal and closes it: nothing can be added, granted or held in it any more. You keep its log: who wrote, who read, who\n" +
			"deleted, for as long as you keep the wallet.\n" + eraseFinal,
		Example: "anamnesis journal export --out before.tar        # what you want to keep\nanamnesis erase journal",
	}, func(_ context.Context, p *patient, _ []string) (protocol.Erase, string, error) {
		return protocol.Erase{Everything: true}, "the whole journal " + printable(p.journal.Nickname), nil
	})
}

func (c *cli) erase(ctx context.Context, p *patient, what protocol.Erase, words string, wait time.Duration) error {
	if err := c.confirm("Erase " + words + " for good?"); err != nil {
		return err
	}
	id, err := p.Erase(ctx, p.keys, what)
	if err != nil {
		return err
	}
	e, _, err := p.Erased(ctx, p.keys, id)
	if err == nil && wait > 0 {
		limited, cancel := context.WithTimeout(ctx, wait)
		var later api.Erasure
		if later, err = p.AwaitErased(limited, p.keys, id, 0); err == nil {
			e = later
		} else if limited.Err() != nil && ctx.Err() == nil {
			e, _, err = p.Erased(ctx, p.keys, id) // some node is away: its word comes when it is back
		}
		cancel()
	}
	if err != nil {
		return err
	}
	return c.show(e, func(out io.Writer) {
		fmt.Fprintf(out, "Erased: %s. Nobody opens it from block %d on.\n", words, e.Height)
		fmt.Fprintln(out, "  "+attestedText(e))
		if e.Through && e.Count > 0 && e.Attested < e.Nodes || !e.Through {
			fmt.Fprintf(out, "`anamnesis erase status %s` shows how far it is.\n", short(id))
		}
	})
}

// attestedText says how far an erasure has come.
func attestedText(e api.Erasure) string {
	if !e.Through {
		return "its records are being taken off the shelves"
	}
	var parts []string
	if e.Count > 0 {
		parts = append(parts, fmt.Sprintf("%s deleted, %d of %d nodes attest it", plural(int(e.Count), "record"), e.Attested, e.Nodes))
	}
	if e.Held > 0 {
		parts = append(parts, fmt.Sprintf("%s closed to everybody and kept until a hold is over", plural(int(e.Held), "record")))
	}
	if len(parts) == 0 {
		return "there was nothing of it"
	}
	return strings.Join(parts, "; ")
}

func (c *cli) eraseStatus() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "status [ERASURE]",
		Short: "Show what was erased, and which nodes attest that they keep no byte of it",
		Example: `
anamnesis erase status
anamnesis erase status 3fa9c1d2`,
		Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, args []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		all, err := p.Erasures(ctx, p.keys)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			var ids []protocol.ErasureID
			for _, e := range all {
				ids = append(ids, e.ID)
			}
			id, err := pick("erasure", args[0], ids)
			if err != nil {
				return err
			}
			for _, e := range all {
				if e.ID == id {
					all = []api.Erasure{e}
				}
			}
		}
		h := p.keys.Handle()
		known := namesOf(p.Client, &h)
		return c.show(all, func(out io.Writer) {
			if len(all) == 0 {
				fmt.Fprintln(out, "Nothing was erased.")
			}
			for _, e := range all {
				fmt.Fprintf(out, "%s  %s  %s\n    %s\n", short(e.ID), when(e.Time), erasedWhat(e, known), attestedText(e))
				var names []string
				for _, m := range e.AttestedBy {
					names = append(names, known.member(m))
				}
				if len(names) > 0 {
					fmt.Fprint(out, wrap("attested by "+strings.Join(names, ", "), "    "))
				}
			}
		})
	})
}

func erasedWhat(e api.Erasure, known *names) string {
	switch e.What {
	case "records":
		return plural(len(e.Records), "record")
	case "labels":
		var list []string
		for _, l := range e.Labels {
			list = append(list, known.label(l))
		}
		return "everything of " + strings.Join(list, ", ")
	case "author":
		return "everything that " + known.member(*e.Author) + " wrote"
	case "release":
		return "what hold " + short(*e.Hold) + " had kept"
	}
	return "the whole journal"
}

func (c *cli) holdCommand() *cobra.Command {
	return family("hold", "care", "Legal holds: keep erased records' files, closed to everybody, for a while", c.holdSet(), c.holdLift(), c.holdList())
}

// heldIn finds the journal of a member's command about holds and amendments.
func heldIn(handle string) (protocol.JournalID, error) {
	h, err := protocol.ParseHandle(handle)
	return h.Journal, err
}

func (c *cli) holdSet() *cobra.Command {
	handle, code, until, records, last := "", "", "", []string{}, time.Duration(0)
	cmd := c.command(&cobra.Command{
		Use:   "set --handle HANDLE --code CODE --for DURATION --as FILE",
		Short: "Hold your organisation's own records in a journal",
		Long: `A hold keeps the files of records that your organisation wrote, should their patient have them erased: from then on nobody opens
them, your organisation included, and when the hold is over they are deleted by themselves. It is an entry in the patient's
journal. Codes: litigation, statutory, public-health. Only the organisation itself can set one, at most 30 years ahead.`,
		Example: `
anamnesis hold set --handle anm1… --code statutory --for 87600h --as anamnesis-dev/members/northside-general-hospital.actor
anamnesis hold set --handle anm1… --code litigation --until 2031-01-01 --record 81f3a0c2… --as northside.actor`,
	}, func(ctx context.Context, _ []string) error {
		in, err := heldIn(handle)
		if err != nil {
			return err
		}
		var why protocol.HoldCode
		if why.UnmarshalText([]byte(code)) != nil {
			return usage("there is no code %q: litigation, statutory or public-health", printable(code))
		}
		end, err := timeOf("--until", until)
		if err != nil {
			return err
		}
		if last > 0 {
			end = now() + uint64(last.Milliseconds())
		}
		var ids []protocol.RecordID
		for _, text := range records {
			id, err := protocol.ParseRecordID(text)
			if err != nil {
				return usage("%q is not a record's id, which has 32 digits", printable(text))
			}
			ids = append(ids, id)
		}
		m, err := c.member(ctx)
		if err != nil {
			return err
		}
		id, err := m.SetHold(ctx, m.identity(), in, ids, end, why)
		if err != nil {
			return err
		}
		return c.show(map[string]any{"hold": id, "until_ms": end, "code": why, "records": ids}, func(out io.Writer) {
			fmt.Fprintf(out, "Hold %s stands until %s. `anamnesis hold lift %s --handle HANDLE --as FILE` ends it.\n", id, when(end), short(id))
		})
	})
	v := cmd.Flags()
	v.StringVar(&handle, "handle", "", "the patient's `HANDLE`")
	v.StringVar(&code, "code", "", "`WHY`: litigation, statutory or public-health")
	v.StringVar(&until, "until", "", "ends at this `TIME`")
	v.DurationVar(&last, "for", 0, "ends after this `DURATION`")
	v.StringSliceVar(&records, "record", nil, "only these `RECORDS`, by their whole ids (default all that your organisation has in the journal)")
	cmd.MarkFlagsMutuallyExclusive("until", "for")
	cmd.MarkFlagsOneRequired("until", "for")
	_ = cmd.MarkFlagRequired("handle")
	_ = cmd.MarkFlagRequired("code")
	return cmd
}

func (c *cli) holdLift() *cobra.Command {
	handle := ""
	cmd := c.command(&cobra.Command{
		Use: "lift HOLD --handle HANDLE --as FILE", Short: "End a hold before its time: what only it kept is deleted",
		Example: "anamnesis hold lift 3fa9c1d2 --handle anm1… --as northside.actor", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		in, err := heldIn(handle)
		if err != nil {
			return err
		}
		m, err := c.member(ctx)
		if err != nil {
			return err
		}
		all, err := m.Holds(ctx, m.identity(), in)
		if err != nil {
			return err
		}
		var ids []protocol.HoldID
		for _, h := range all {
			ids = append(ids, h.ID)
		}
		id, err := pick("hold", args[0], ids)
		if err != nil {
			return err
		}
		if err := m.LiftHold(ctx, m.identity(), in, id); err != nil {
			return err
		}
		return c.show(map[string]any{"hold": id, "state": "lifted"}, func(out io.Writer) { fmt.Fprintf(out, "Hold %s is lifted.\n", short(id)) })
	})
	cmd.Flags().StringVar(&handle, "handle", "", "the patient's `HANDLE`")
	_ = cmd.MarkFlagRequired("handle")
	return cmd
}

func (c *cli) holdList() *cobra.Command {
	handle := ""
	cmd := c.command(&cobra.Command{
		Use: "list", Short: "List the holds in a journal: all of them (patient), or your organisation's (--as, --handle)",
		Example: "anamnesis hold list\nanamnesis hold list --handle anm1… --as northside.actor",
	}, func(ctx context.Context, _ []string) error {
		var all []api.Hold
		known := (*names)(nil)
		if c.as != "" {
			in, err := heldIn(handle)
			if err != nil {
				return err
			}
			s, err := c.staff(ctx)
			if err != nil {
				return err
			}
			if all, err = s.Holds(ctx, client.Actor(s.actor), in); err != nil {
				return err
			}
			known = namesOf(s.Client, nil)
		} else {
			p, err := c.patient(ctx)
			if err != nil {
				return err
			}
			if all, err = p.Holds(ctx, client.Patient(p.keys), p.keys.Journal); err != nil {
				return err
			}
			known = namesOf(p.Client, nil)
		}
		return c.show(all, func(out io.Writer) {
			if len(all) == 0 {
				fmt.Fprintln(out, "No hold.")
			}
			for _, h := range all {
				what := "all its records"
				if len(h.Records) > 0 {
					what = plural(len(h.Records), "record")
				}
				fmt.Fprintf(out, "%s  %s holds %s until %s: %s\n", short(h.ID), known.member(h.Member), what, when(h.Until), h.Code)
			}
		})
	})
	cmd.Flags().StringVar(&handle, "handle", "", "with --as: the patient's `HANDLE`")
	cmd.Flags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

// explainErased turns «it was erased» into what a person can do with it.
func explainErased(err error) error {
	if client.IsErased(err) {
		return &failure{Code: protocol.RecordErased.String(), Title: "the record was erased", Detail: "Nobody can open it any more: its patient has had it erased.", exit: exitRefused}
	}
	if errors.Is(err, client.ErrNoSuchRecord) {
		return failed("not-found", err.Error(), "`anamnesis record list` shows the records.")
	}
	return err
}
