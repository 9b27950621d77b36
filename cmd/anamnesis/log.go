package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) logCommand() *cobra.Command {
	cmd := family("log", "patient", "The access log: who looked, at what, why, when, permitted or refused", c.logShow(), c.logReceipt())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) logShow() *cobra.Command {
	reads, refused := false, false
	last := 0
	cmd := c.command(&cobra.Command{
		Use:   "show",
		Short: "Show who asked for what, why, when, and what the contracts said",
		Long: `Shows the journal's log as the gateway tells it: every access asked for, permitted or refused and why; every record added;
every contract made, withdrawn or ended. 'journal verify' checks that nothing was left out.`,
		Example: `
anamnesis log show
anamnesis log show --reads --last 20
anamnesis log show --json | jq '.[] | select(.permitted == false)'`,
	}, func(ctx context.Context, _ []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		entries, err := p.Entries(ctx, p.keys, 0)
		if err != nil {
			return err
		}
		lines, err := proof.Log(entries, p.logOptions())
		if err != nil {
			return err
		}
		lines = chooseLines(lines, reads, refused, last)
		return c.show(lines, func(out io.Writer) { printLog(out, lines) })
	})
	cmd.Flags().BoolVar(&reads, "reads", false, "only accesses")
	cmd.Flags().BoolVar(&refused, "refused", false, "only accesses that were refused")
	cmd.Flags().IntVar(&last, "last", 0, "only the last `N`")
	return cmd
}

func (p *patient) logOptions() proof.LogOptions {
	o := wordsOf(p.keys.Handle())
	o.Members = map[protocol.MemberID]string{}
	for _, m := range p.Network.Members {
		o.Members[m.ID] = m.Name
	}
	return o
}

// wordsOf are the words that only a handle's holder has, and those that everybody has.
func wordsOf(handles ...protocol.Handle) proof.LogOptions {
	o := proof.LogOptions{Handles: handles, Templates: map[uint8]string{}}
	for _, class := range fhir.Classes() {
		o.Classes = append(o.Classes, string(class))
	}
	for _, t := range consent.Templates() {
		o.Templates[t.Number] = t.Name
	}
	return o
}

func chooseLines(lines []proof.LogLine, reads, refused bool, last int) []proof.LogLine {
	out := []proof.LogLine{}
	for _, l := range lines {
		if reads && l.Permitted == nil || refused && (l.Permitted == nil || *l.Permitted) {
			continue
		}
		out = append(out, l)
	}
	if last > 0 && len(out) > last {
		out = out[len(out)-last:]
	}
	return out
}

func printLog(out io.Writer, lines []proof.LogLine) {
	if len(lines) == 0 {
		fmt.Fprintln(out, "Nothing.")
		return
	}
	t := newTable(">entry", "when (UTC)", "~~who", "what happened", "~~about", "why")
	people := legend{}
	for _, l := range lines {
		who := whoText(l.Who)
		if l.Who.Kind == protocol.ActorPractitioner {
			who = people.letter(whole(l.Who)) + ": " + who
		}
		t.add(fmt.Sprint(l.Index), when(l.Time), who, happened(l), aboutText(l), l.Purpose)
	}
	t.print(out)
	if len(people.names) > 0 {
		fmt.Fprintln(out)
		people.print(out, "who")
	}
}

// whole is everything that is known of somebody, for the legend.
func whole(w proof.LogWho) string {
	text := whoText(w)
	if w.Role != "" {
		text += ", " + w.Role
	}
	if w.Member != "" {
		text += " at " + w.Member
	}
	return text + " (" + w.ID[:min(shortDigits, len(w.ID))] + ")"
}

func whoText(w proof.LogWho) string {
	switch w.Kind {
	case protocol.ActorLedger:
		return "the ledger"
	case protocol.ActorPatient:
		return "you"
	case protocol.ActorDelegate:
		return "delegate " + w.Key[:min(8, len(w.Key))] + " for you"
	case protocol.ActorMember, protocol.ActorPractitioner:
	}
	if w.Name == "" {
		return w.Kind.String() + " " + w.ID[:min(8, len(w.ID))]
	}
	return w.Name
}

func happened(l proof.LogLine) string {
	switch l.Type {
	case protocol.TypeOpenJournal:
		return "journal opened"
	case protocol.TypeAddRecord:
		return "record added"
	case protocol.TypeGrant:
		return "contract made"
	case protocol.TypeRevoke:
		return "contract withdrawn"
	case protocol.TypeRequestAccess:
		if l.Permitted != nil && *l.Permitted {
			return "access permitted"
		}
		return "refused: " + l.Reason
	case protocol.EventContractEnded:
		return "contract ended"
	case protocol.EventContractUsedUp:
		return "contract used up"
	case protocol.TypeSetCard:
		if l.Withdrawn {
			return "emergency card withdrawn"
		}
		return "emergency card made"
	case protocol.TypeDelegate:
		return "delegate added"
	case protocol.TypeEndDelegation, protocol.EventDelegationEnded:
		return "delegate ended"
	case protocol.EventBreakGlassOpened:
		return "glass broken"
	case protocol.TypeReviewBreakGlass:
		return "reviewed: " + l.Verdict
	case protocol.EventReviewMissed:
		return "REVIEW MISSING"
	}
	return l.Type.String()
}

func aboutText(l proof.LogLine) string {
	if len(l.What) > 0 {
		text := strings.Join(l.What, ", ")
		if l.Permitted != nil && *l.Permitted {
			text += fmt.Sprintf(" (%d)", len(l.Records))
		}
		return text
	}
	var ids []string
	for _, id := range l.Contracts {
		ids = append(ids, id.String()[:8])
	}
	text := strings.Join(ids, ", ")
	if l.Contract != nil {
		text += " " + l.Contract.Template
	}
	return text
}

func (c *cli) logReceipt() *cobra.Command {
	file := ""
	cmd := c.command(&cobra.Command{
		Use:   "receipt ENTRY --out FILE",
		Short: "Get the receipt of an entry: a proof of it that checks offline",
		Long: `Gets a C2SP tlog-proof of one entry: the entry, its path to the root of the log, and a checkpoint that a quorum of the nodes
cosigned. Anybody with the network's trust policy checks it with 'verify'. ENTRY is the number that 'log show' gives. With
--as, a member or practitioner gets the receipt of what they signed themselves.`,
		Example: `
anamnesis log receipt 42 --out receipt.txt
anamnesis verify receipt.txt`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		index, err := strconv.ParseUint(args[0], 10, 63)
		if err != nil {
			return usage("%q is not the number of an entry", printable(args[0]))
		}
		raw, err := c.receipt(ctx, index)
		if err != nil {
			return err
		}
		if file == "" {
			if c.json {
				return c.show(map[string]any{"index": index, "receipt": string(raw)}, nil)
			}
			_, err = c.out.Write(raw)
			return err
		}
		if err := wallet.CreateFile(file, raw); err != nil {
			return err
		}
		return c.show(map[string]any{"index": index, "file": file, "bytes": len(raw)}, func(out io.Writer) {
			fmt.Fprintf(out, "%s: the receipt of entry %d, %s. `anamnesis verify %s` checks it.\n", file, index, size(uint64(len(raw))), file)
		})
	})
	cmd.Flags().StringVar(&file, "out", "", "write to `FILE` instead of standard output")
	return cmd
}

func (c *cli) receipt(ctx context.Context, index uint64) ([]byte, error) {
	if c.as != "" {
		s, err := c.staff(ctx)
		if err != nil {
			return nil, err
		}
		return s.Receipt(ctx, s.identity(), index)
	}
	p, err := c.patient(ctx)
	if err != nil {
		return nil, err
	}
	return p.Receipt(ctx, client.Patient(p.keys), index)
}

func (c *cli) journalExport() *cobra.Command {
	file := ""
	cmd := c.command(&cobra.Command{
		Use:   "export --out FILE",
		Short: "Write the whole journal with its proof into one file",
		Long: `Writes one file with everything: the log's entries, the proofs that none is missing or changed, the checkpoint with the nodes'
cosignatures, and the encrypted records. 'verify' checks it with no network; your records in it open with the stock age
command and your identity ('wallet identity'). It is a tar archive.`,
		Example: `
anamnesis journal export --out journal.tar
anamnesis verify journal.tar`,
	}, func(ctx context.Context, _ []string) error {
		if file == "" {
			return usage("say where to write: --out FILE")
		}
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		bytes, err := c.export(ctx, p, file)
		if err != nil {
			return err
		}
		return c.show(map[string]any{"file": file, "bytes": bytes, "journal": p.journal.ID}, func(out io.Writer) {
			fmt.Fprintf(out, "%s holds journal %q, %s. `anamnesis verify %s` checks it anywhere.\n", file, p.journal.Nickname, size(uint64(bytes)), file)
		})
	})
	cmd.Flags().StringVar(&file, "out", "", "the `FILE` to write; it must not be there yet")
	return cmd
}

// export writes the file whole or not at all.
func (c *cli) export(ctx context.Context, p *patient, file string) (bytes int64, err error) {
	var b *bar
	defer func() { b.done() }()
	return writeWhole(file, func(w io.Writer) error {
		return p.Export(ctx, p.keys, w, func(done, total int) {
			if b == nil {
				b = c.bar("files", int64(total))
			}
			b.set(int64(done))
		})
	})
}

func (c *cli) journalVerify() *cobra.Command {
	f := verifyFlags{}
	cmd := c.command(&cobra.Command{
		Use:   "verify",
		Short: "Check that the log is true and complete, and remember how far",
		Long: `Fetches the whole journal with its proofs and files and checks all of it: that a quorum of nodes cosigned the checkpoint, that
no entry is missing, changed or moved, that every signature holds, that every file is the one entered, and that the log
extends the one this wallet saw last. If all of it holds, the wallet remembers the checkpoint. Exit code 4 if not.`,
		Example: `
anamnesis journal verify
anamnesis journal verify --max-age 1h --cosigners 4`,
	}, func(ctx context.Context, _ []string) error { return c.verifyJournal(ctx, f) })
	f.flags(cmd)
	return cmd
}

func (c *cli) verifyJournal(ctx context.Context, f verifyFlags) error {
	p, err := c.patient(ctx)
	if err != nil {
		return err
	}
	report, err := c.verified(ctx, p, f, nil)
	if err != nil {
		return err
	}
	if err := c.show(report, func(out io.Writer) { fmt.Fprint(out, report.Text()) }); err != nil {
		return err
	}
	if !report.OK {
		return silent(exitProof)
	}
	return nil
}

// verified fetches and verifies the patient's journal, and remembers how far the log has come if it holds. If keep is not nil it gets the
// export.
func (c *cli) verified(ctx context.Context, p *patient, f verifyFlags, keep io.Writer) (*proof.Report, error) {
	o := proof.Options{Policy: []byte(p.purse.Network.Policy), Now: now(), MaxAge: f.maxAge, MinCosigners: f.cosigners}
	if pin, ok := p.purse.Pin(p.Network.Chain); ok {
		o.Pin = &proof.Pin{Size: pin.Size, Root: pin.Root}
	}
	var b *bar
	report, extends, err := p.Verify(ctx, p.keys, o, keep, func(done, total int) {
		if b == nil {
			b = c.bar("checking files", int64(total))
		}
		b.set(int64(done))
	})
	b.done()
	if err != nil {
		return nil, err
	}
	if report.OK {
		next := wallet.Pin{Chain: p.Network.Chain, Size: report.Checkpoint.Size, Root: report.Checkpoint.Root, Time: report.Checkpoint.Time}
		if err := p.purse.Advance(next, extends); err != nil {
			return nil, err
		}
		if err := c.save(p.purse); err != nil {
			return nil, err
		}
	}
	return report, nil
}

// verifyFlags are what verifiers ask for beyond the policy.
type verifyFlags struct {
	policy    string
	maxAge    time.Duration
	cosigners int
}

func (f *verifyFlags) flags(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.maxAge, "max-age", 0, "fail if the checkpoint was cosigned longer ago: `HOW LONG`, such as 24h")
	cmd.Flags().IntVar(&f.cosigners, "cosigners", 0, "fail if fewer than `N` nodes cosigned (never fewer than the policy's quorum)")
}
