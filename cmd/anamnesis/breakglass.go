package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) accessBreakGlass() *cobra.Command {
	q := question{purpose: "BTG"}
	reason := ""
	cmd := c.command(&cobra.Command{
		Use:   "break-glass --handle HANDLE --as FILE --class CLASSES",
		Short: "In an emergency: read what the patient's emergency contract names",
		Long: `For emergency physicians and paramedics. The reason is read from a file, standard input or the terminal; it is sealed to the patient
and to your organisation's administrators, one of whom must review the session. You can read for 24 hours at most. The patient is told.`,
		Example: "\nanamnesis access break-glass --as medic.actor --handle anm1… --class allergies,medications --reason-file why.txt --read",
	}, func(ctx context.Context, _ []string) error {
		h, err := protocol.ParseHandle(q.handle)
		if err != nil {
			return err
		}
		purpose, err := purposeOf(q.purpose)
		if err != nil {
			return err
		}
		wanted, err := classes(q.classes)
		if err != nil {
			return err
		}
		s, err := c.staff(ctx)
		if err != nil {
			return err
		}
		member, err := s.memberID(ctx)
		if err != nil {
			return err
		}
		why, err := c.reasonText(reason)
		if err != nil {
			return err
		}
		a, reviewers, err := s.BreakGlass(ctx, s.identity(), member, client.Emergency{Journal: h.Journal, Purpose: purpose, Labels: labelsOf(h, wanted), Reason: why})
		if err != nil {
			return err
		}
		if err := s.keep(a); err != nil {
			return fmt.Errorf("the access is permitted, but its key could not be kept: %w", err)
		}
		if reviewers == 0 {
			fmt.Fprintln(c.err, "note: your organisation has no administrator registered who could review this.")
		}
		if q.read {
			return c.read(ctx, s, a, &filter{}, "")
		}
		d := a.Decision
		return c.show(accessView{Access: d.ID, Journal: h.Journal, Purpose: purpose, Deadline: d.Deadline, Records: len(d.Records), Readable: true}, func(out io.Writer) {
			fmt.Fprintf(out, "Access %s is permitted: %s, until %s UTC. The patient is told, and a review is due.\n", d.ID, plural(len(d.Records), "record"), when(d.Deadline))
			fmt.Fprintf(out, "Next: anamnesis access read %s --as %s\n", short(d.ID), s.path)
		})
	})
	f := cmd.Flags()
	f.StringVar(&q.handle, "handle", "", "the patient's `HANDLE`; `anamnesis card find` finds it")
	f.StringVar(&q.purpose, "purpose", q.purpose, "`CODE` BTG, or ETREAT")
	f.StringSliceVar(&q.classes, "class", nil, "`CLASSES` to read")
	f.StringVar(&reason, "reason-file", "", "read the reason from `FILE`, - for standard input (default asked for)")
	f.BoolVar(&q.read, "read", false, "read at once, and show what is there")
	_ = cmd.MarkFlagRequired("handle")
	_ = cmd.MarkFlagRequired("class")
	return cmd
}

// sessionView is a session with its reasons, as far as they open.
type sessionView struct {
	api.BreakGlassSession
	Texts []string `json:"texts"`
}

func (c *cli) accessReview() *cobra.Command {
	verdict := ""
	cmd := c.command(&cobra.Command{
		Use:   "review [SESSION] --as FILE",
		Short: "As an administrator: see what waits for a review, and review it",
		Example: `
anamnesis access review --as chief.actor
anamnesis access review 9f12ab34 --verdict justified --as chief.actor`, Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, args []string) error {
		s, err := c.staff(ctx)
		if err != nil {
			return err
		}
		member, err := s.memberID(ctx)
		if err != nil {
			return err
		}
		rows, err := s.Unreviewed(ctx, s.identity(), member)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			return c.review(ctx, s, rows, args[0], verdict)
		}
		key, err := s.actor.ReviewIdentity()
		if err != nil {
			return err
		}
		return c.showSessions(rows, func(h protocol.Hash) (string, error) {
			file, err := s.SealedReason(ctx, s.identity(), h)
			if err != nil {
				return "", err
			}
			return wallet.OpenReason(file, h, key)
		})
	})
	cmd.Flags().StringVar(&verdict, "verdict", "", "`VERDICT` justified or unjustified")
	return cmd
}

func (c *cli) review(ctx context.Context, s *staff, rows []api.BreakGlassSession, which, verdict string) error {
	var v protocol.Verdict
	if v.UnmarshalText([]byte(verdict)) != nil {
		return usage("--verdict is justified or unjustified")
	}
	var ids []protocol.AccessID
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	id, err := pick("session", which, ids)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.ID == id {
			err = s.Review(ctx, s.identity(), r, v, protocol.Hash{})
		}
	}
	if err != nil {
		return err
	}
	return c.show(map[string]any{"session": id, "verdict": v}, func(out io.Writer) { fmt.Fprintf(out, "Session %s is called %s.\n", short(id), v) })
}

// accessSessions is what the patient sees of emergencies.
func (c *cli) accessSessions() *cobra.Command {
	cmd := c.command(&cobra.Command{Use: "sessions", Short: "As the patient: who broke the glass, why, and what became of it", Example: "\nanamnesis access sessions"},
		func(ctx context.Context, _ []string) error {
			p, err := c.patient(ctx)
			if err != nil {
				return err
			}
			rows, err := p.Sessions(ctx, client.Patient(p.keys), p.journal.ID)
			if err != nil {
				return err
			}
			return c.showSessions(rows, func(h protocol.Hash) (string, error) {
				file, err := p.SealedReason(ctx, client.Patient(p.keys), h)
				if err != nil {
					return "", err
				}
				return wallet.OpenReason(file, h, p.keys.Identity)
			})
		})
	cmd.Flags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) showSessions(rows []api.BreakGlassSession, open func(protocol.Hash) (string, error)) error {
	views := []sessionView{}
	for _, r := range rows {
		v := sessionView{BreakGlassSession: r, Texts: []string{}}
		for _, h := range r.Reasons {
			text, err := open(h)
			if err != nil {
				text = "(the reason cannot be opened: " + err.Error() + ")"
			}
			v.Texts = append(v.Texts, text)
		}
		views = append(views, v)
	}
	return c.show(views, func(out io.Writer) {
		if len(views) == 0 {
			fmt.Fprintln(out, "Nobody broke the glass, or all of it is reviewed.")
		}
		for _, v := range views {
			state := "review due " + when(v.ReviewDue) + " UTC"
			if v.Overdue {
				state = "REVIEW MISSING since " + when(v.ReviewDue) + " UTC"
			}
			if v.Verdict != "" {
				state = v.Verdict
			}
			fmt.Fprintf(out, "%s  practitioner %s  %s UTC  %s  %s\n", short(v.ID), short(v.Practitioner), when(v.Opened), plural(int(v.Accesses), "access"), state)
			for _, text := range v.Texts {
				fmt.Fprint(out, wrap(printable(text), "    "))
			}
		}
	})
}
