package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) recordAmend() *cobra.Command {
	handle := ""
	cmd := c.command(&cobra.Command{
		Use:   "amend RECORD PATH --handle HANDLE --as FILE",
		Short: "Write a new version of a record of your organisation's",
		Long: `Seals the FHIR resources in PATH as a new version of a record that your organisation wrote, under the same class. The old version
stays reachable and is marked as superseded. RECORD is the whole id. To answer a request, name the new version in
'amendment answer'.`,
		Example: `
anamnesis record amend 81f3a0c2… corrected.json --handle anm1… --as northside.actor`,
		Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, args []string) error {
		h, err := protocol.ParseHandle(handle)
		if err != nil {
			return err
		}
		about, err := protocol.ParseRecordID(args[0])
		if err != nil {
			return usage("%q is not a record's id, which has 32 digits", printable(args[0]))
		}
		s, err := c.staff(ctx)
		if err != nil {
			return err
		}
		group, err := c.oneGroup(ctx, s, args[1:])
		if err != nil {
			return err
		}
		id, err := s.Amend(ctx, client.Actor(s.actor), h, about, group)
		if err != nil {
			return err
		}
		return c.show(map[string]any{"record": id, "supersedes": about, "class": group.Class, "resources": len(group.Resources)}, func(out io.Writer) {
			fmt.Fprintf(out, "Record %s supersedes %s.\n", id, short(about))
		})
	})
	cmd.Flags().StringVar(&handle, "handle", "", "the patient's `HANDLE`")
	_ = cmd.MarkFlagRequired("handle")
	return cmd
}

// oneGroup reads input that makes exactly one record.
func (c *cli) oneGroup(ctx context.Context, s *staff, paths []string) (g fhir.Group, err error) {
	loaded, err := c.load(paths)
	if err != nil {
		return g, err
	}
	member, err := s.memberID(ctx)
	if err != nil {
		return g, err
	}
	arranged := loaded.Arrange(fhir.ArrangeOptions{Member: fhir.Source{ID: member.String(), Name: namesOf(s.Client, nil).member(member)}, OnePatient: true})
	if len(arranged.Groups) != 1 || len(loaded.Problems)+len(arranged.Problems) > 0 {
		return g, usage("a new version is of one class, one source and one patient; this input makes %s and has %s", plural(len(arranged.Groups), "record"),
			plural(len(loaded.Problems)+len(arranged.Problems), "problem"))
	}
	return arranged.Groups[0], nil
}

// said reads a statement from --text or --text-file; a delegate, whom the patient's wallet does not help, says whose journal it is and of
// which class the record.
type said struct{ text, file, handle, class string }

func (s *said) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.text, "text", "", "your `WORDS`")
	cmd.Flags().StringVar(&s.file, "text-file", "", "your words, in `FILE` (- for standard input)")
	cmd.Flags().StringVar(&s.handle, "handle", "", "with --as, for a delegate who acts: the patient's `HANDLE`")
	cmd.Flags().StringVar(&s.class, "class", "", "with --as: the record's `CLASS`")
	cmd.MarkFlagsMutuallyExclusive("text", "text-file")
	cmd.MarkFlagsOneRequired("text", "text-file")
}

func (s *said) read(in io.Reader, most int) (string, error) {
	if s.file == "" {
		return s.text, nil
	}
	if s.file != "-" {
		f, err := os.Open(s.file)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	return readText(in, most)
}

// readText reads words to their end. Too many are an error: what people say is not cut.
func readText(in io.Reader, most int) (string, error) {
	const blank = 256 // at the ends, such as a last newline
	b, err := io.ReadAll(io.LimitReader(in, int64(most)+blank+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if len(b) > most+blank || len(text) > most {
		return "", failed("too-long", fmt.Sprintf("the text is longer than %d bytes", most), "Make it shorter, or send it in parts.")
	}
	return text, nil
}

func (c *cli) recordDispute() *cobra.Command {
	s := said{}
	cmd := c.command(&cobra.Command{
		Use:   "dispute RECORD --text WORDS",
		Short: "State that you disagree with a record: your statement travels with it",
		Long: `Enters a statement of yours about a record of your journal. Like the record it is encrypted; whoever opens the record from now on
opens the statement with it, and nobody opens it otherwise. At most eight about one record. To have the record changed by its
author, use 'amendment request'.`,
		Example: `
anamnesis record dispute 81f3a0c2 --text "I never took this medicine; the label was mixed up."`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		text, err := s.read(c.in, client.StatementTextBytesMax)
		if err != nil {
			return err
		}
		w, about, err := c.subject(ctx, s.handle, s.class, args[0])
		if err != nil {
			return explainErased(err)
		}
		id, err := w.Dispute(ctx, about, text)
		if err != nil {
			return explainErased(err)
		}
		return c.show(map[string]any{"statement": id, "about": about.Record}, func(out io.Writer) {
			fmt.Fprintf(out, "Statement %s stands beside record %s.\n", short(id), short(about.Record))
		})
	})
	s.flags(cmd)
	return cmd
}

func (c *cli) amendmentCommand() *cobra.Command {
	cmd := family("amendment", "patient", "Have records corrected: ask their author, answer, list", c.amendmentRequest(), c.amendmentAnswer(), c.amendmentList())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) amendmentRequest() *cobra.Command {
	s := said{}
	cmd := c.command(&cobra.Command{
		Use:   "request RECORD --text WORDS",
		Short: "Ask a record's author to amend it (HIPAA 164.526, GDPR 16)",
		Long: `Asks the organisation that wrote a record to amend it. Your words become a statement beside the record. The author has 60 days:
it answers with a new version or says why not, and an entry says so if it lets the time pass.`,
		Example: `
anamnesis amendment request 81f3a0c2 --text "The blood group is wrong: I am 0 negative."`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		text, err := s.read(c.in, client.StatementTextBytesMax)
		if err != nil {
			return err
		}
		w, about, err := c.subject(ctx, s.handle, s.class, args[0])
		if err != nil {
			return explainErased(err)
		}
		id, err := w.RequestAmendment(ctx, about, text)
		if err != nil {
			return explainErased(err)
		}
		due := now() + protocol.AmendmentMillis
		return c.show(map[string]any{"record": about.Record, "statement": id, "due_ms": due}, func(out io.Writer) {
			fmt.Fprintf(out, "The author of record %s has until %s to answer. `anamnesis amendment list` shows the answer.\n", short(about.Record), when(due))
		})
	})
	s.flags(cmd)
	return cmd
}

func (c *cli) amendmentAnswer() *cobra.Command {
	handle, version, deny := "", "", ""
	cmd := c.command(&cobra.Command{
		Use:   "answer RECORD --handle HANDLE (--version RECORD | --deny WHY) --as FILE",
		Short: "Answer a request to amend one of your organisation's records",
		Long: `Answers with the version that supersedes the record (see 'record amend'), or with the reason why there is none: accurate,
not-created-here, not-in-record-set, not-open-to-inspection. Both records by their whole ids.`,
		Example: `
anamnesis amendment answer 81f3a0c2… --version 5c02… --handle anm1… --as northside.actor
anamnesis amendment answer 81f3a0c2… --deny accurate --handle anm1… --as dr-ada.actor`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		in, err := heldIn(handle)
		if err != nil {
			return err
		}
		s, err := c.staff(ctx)
		if err != nil {
			return err
		}
		about, err := protocol.ParseRecordID(args[0])
		if err != nil {
			return usage("%q is not a record's id, which has 32 digits", printable(args[0]))
		}
		answer := map[string]any{"record": about}
		if version != "" {
			id, err := protocol.ParseRecordID(version)
			if err != nil {
				return usage("%q is not a record's id, which has 32 digits", printable(version))
			}
			answer["version"] = id
			if err := s.AcceptAmendment(ctx, client.Actor(s.actor), in, about, id); err != nil {
				return err
			}
		} else {
			var why protocol.Denial
			if why.UnmarshalText([]byte(deny)) != nil {
				return usage("there is no reason %q: accurate, not-created-here, not-in-record-set or not-open-to-inspection", printable(deny))
			}
			answer["denial"] = why
			if err := s.DenyAmendment(ctx, client.Actor(s.actor), in, about, why); err != nil {
				return err
			}
		}
		return c.show(answer, func(out io.Writer) { fmt.Fprintln(out, "The request is answered.") })
	})
	v := cmd.Flags()
	v.StringVar(&handle, "handle", "", "the patient's `HANDLE`")
	v.StringVar(&version, "version", "", "the `RECORD` that supersedes it")
	v.StringVar(&deny, "deny", "", "`WHY` there is no new version")
	cmd.MarkFlagsMutuallyExclusive("version", "deny")
	cmd.MarkFlagsOneRequired("version", "deny")
	_ = cmd.MarkFlagRequired("handle")
	return cmd
}

func (c *cli) amendmentList() *cobra.Command {
	handle := ""
	cmd := c.command(&cobra.Command{
		Use: "list", Short: "List requests to amend and their answers: yours (patient), or those to your organisation (--as, --handle)",
		Example: "anamnesis amendment list\nanamnesis amendment list --handle anm1… --as northside.actor",
	}, func(ctx context.Context, _ []string) error {
		var all []api.Amendment
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
			if all, err = s.Amendments(ctx, client.Actor(s.actor), in); err != nil {
				return err
			}
			known = namesOf(s.Client, nil)
		} else {
			p, err := c.patient(ctx)
			if err != nil {
				return err
			}
			if all, err = p.Amendments(ctx, client.Patient(p.keys), p.keys.Journal); err != nil {
				return err
			}
			known = namesOf(p.Client, nil)
		}
		return c.show(all, func(out io.Writer) {
			if len(all) == 0 {
				fmt.Fprintln(out, "No amendment was asked for.")
			}
			for _, a := range all {
				fmt.Fprintf(out, "%s  to %s, asked %s: %s\n", a.Record, known.member(a.Member), when(a.Asked), amendmentText(a))
			}
		})
	})
	cmd.Flags().StringVar(&handle, "handle", "", "with --as: the patient's `HANDLE`")
	return cmd
}

func amendmentText(a api.Amendment) string {
	switch {
	case a.Version != nil:
		return "accepted, record " + short(*a.Version) + " supersedes it"
	case a.Denial != "":
		return "denied: " + strings.ReplaceAll(a.Denial, "-", " ")
	case a.State == "overdue":
		return "overdue since " + when(a.Due)
	}
	return "due " + when(a.Due)
}
