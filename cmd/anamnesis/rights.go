package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/rights"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) rightsCommand() *cobra.Command {
	cmd := family("rights", "patient", "Your rights, one command each: take everything, see who read and who can, withdraw everything",
		c.rightsExport(), c.rightsDisclosures(), c.rightsReads(), c.rightsReaders(), c.rightsWithdraw())
	cmd.PersistentFlags().StringVar(&c.journal, "journal", "", "which journal of the wallet, by `NAME` or id")
	return cmd
}

// unproven is how a command ends that has shown what does not hold.
func (c *cli) unproven(report *proof.Report) error {
	if report.OK {
		return nil
	}
	fmt.Fprintln(c.err, "anamnesis: NOT PROVEN: what the gateway gave does not hold, and may be wrong or incomplete")
	fmt.Fprintln(c.err, "  `anamnesis journal verify` says what fails. Ask another member's gateway with --gateway.")
	return silent(exitProof)
}

// period is the time that an accounting covers.
type period struct{ from, to string }

func (p *period) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.from, "from", "", "from this `DATE` on (default: six years back)")
	cmd.Flags().StringVar(&p.to, "to", "", "before this `DATE` (default: now)")
}

func (p *period) parse() (from, to uint64, err error) {
	from, to = rights.Period(now())
	if p.from != "" {
		if from, err = timeOf("--from", p.from); err != nil {
			return 0, 0, err
		}
	}
	if p.to != "" {
		if to, err = timeOf("--to", p.to); err != nil {
			return 0, 0, err
		}
	}
	if from >= to {
		return 0, 0, usage("--from must be before --to")
	}
	return from, to, nil
}

func (c *cli) accounting(ctx context.Context, of *period) (*rights.Accounting, *proof.Report, error) {
	from, to, err := of.parse()
	if err != nil {
		return nil, nil, err
	}
	p, err := c.patient(ctx)
	if err != nil {
		return nil, nil, err
	}
	report, err := c.verified(ctx, p, verifyFlags{}, nil)
	if err != nil {
		return nil, nil, err
	}
	lines, err := report.Log(p.logOptions())
	if err != nil && report.OK {
		return nil, nil, err // of a report that does not hold, what can be read is shown
	}
	return rights.Account(report, lines, p.journal.Nickname, from, to), report, nil
}

func (c *cli) rightsDisclosures() *cobra.Command {
	of := period{}
	csvFile, pdfFile := "", ""
	cmd := c.command(&cobra.Command{
		Use:   "disclosures",
		Short: "An accounting of disclosures: who asked to read what, when, why, and what came of it",
		Long: `Lists every request to read your journal in a period, those refused too: an accounting of disclosures (45 CFR 164.528; GDPR 15;
EHDS 9). The law lets what was done for treatment, payment and operations be left out of such a list; here nothing is left out,
and it is made from the journal's proof, so that nobody can have left anything out. Exit code 4 if the proof does not hold.`,
		Example: `
anamnesis rights disclosures
anamnesis rights disclosures --from 2026-01-01 --pdf disclosures.pdf --csv disclosures.csv`,
	}, func(ctx context.Context, _ []string) error {
		if err := free(csvFile, pdfFile); err != nil {
			return err
		}
		a, report, err := c.accounting(ctx, &of)
		if err != nil {
			return err
		}
		files := []string{}
		for _, f := range []struct {
			name  string
			write func(io.Writer) error
		}{{csvFile, a.CSV}, {pdfFile, a.PDF}} {
			if f.name == "" {
				continue
			}
			if _, err := writeWhole(f.name, f.write); err != nil {
				return err
			}
			files = append(files, f.name)
		}
		if err := c.show(a, func(out io.Writer) { printAccounting(out, a, files) }); err != nil {
			return err
		}
		return c.unproven(report)
	})
	of.flags(cmd)
	cmd.Flags().StringVar(&csvFile, "csv", "", "write it as a table for spreadsheets to `FILE`")
	cmd.Flags().StringVar(&pdfFile, "pdf", "", "write it as a document to `FILE`")
	return cmd
}

func printAccounting(out io.Writer, a *rights.Accounting, files []string) {
	all := slices.Concat(a.Disclosures, a.Refused)
	slices.SortFunc(all, func(x, y rights.Disclosure) int { return int(int64(x.Entry) - int64(y.Entry)) })
	if len(all) > 0 {
		t := newTable(">entry", "when (UTC)", "~~who", "outcome", "~~what", "why", "~right")
		people := legend{}
		for _, d := range all {
			outcome, basis := "opened", d.Basis
			if reason, refused := strings.CutPrefix(d.Basis, "refused: "); refused {
				outcome, basis = "refused", reason
			}
			if d.Review != "" {
				basis = "emergency, review " + d.Review
			}
			what := strings.Join(d.Classes, ", ")
			if len(d.Records) > 0 {
				what += fmt.Sprintf(" (%d)", len(d.Records))
			}
			who := d.Recipient.Text()
			if d.Recipient.Kind == protocol.ActorPractitioner {
				who = people.letter(recipientText(d.Recipient)) + ": " + who
			}
			t.add(fmt.Sprint(d.Entry), when(d.Time), who, outcome, what, d.Purpose, basis)
		}
		t.print(out)
		fmt.Fprintln(out)
		if len(people.names) > 0 {
			people.print(out, "who")
		}
	}
	fmt.Fprintf(out, "%s and %s from %s to %s (UTC).\n", plural(len(a.Disclosures), "disclosure"), count(len(a.Refused), "refusal", "refusals"),
		moment(a.From).Format(time.DateOnly), moment(a.To-1).Format(time.DateOnly))
	if a.Proof.Holds {
		fmt.Fprintf(out, "Complete: made from all %d entries of the journal, under a log head that %d nodes signed.\n", a.Proof.Entries, a.Proof.Nodes)
	}
	for _, f := range files {
		fmt.Fprintln(out, "Written: "+printable(f))
	}
}

// recipientText is everything that is known of a recipient, for the legend.
func recipientText(r rights.Recipient) string {
	text := r.Text()
	if r.Role != "" {
		text += ", " + r.Role
	}
	if r.Organisation != "" && r.Kind == protocol.ActorPractitioner {
		text += " at " + r.Organisation
	}
	return text + " (" + r.ID[:min(shortDigits, len(r.ID))] + ")"
}

func (c *cli) rightsReads() *cobra.Command {
	of := period{}
	cmd := c.command(&cobra.Command{
		Use:   "reads",
		Short: "Who has read what: one line for each person and organisation",
		Long: `Adds up who has read what in your journal, and who asked in vain, from the journal's proof. 'rights disclosures' lists each time.
Exit code 4 if the proof does not hold.`,
		Example: `
anamnesis rights reads
anamnesis rights reads --from 2026-01-01 --json`,
	}, func(ctx context.Context, _ []string) error {
		a, report, err := c.accounting(ctx, &of)
		if err != nil {
			return err
		}
		a.Disclosures, a.Refused = []rights.Disclosure{}, []rights.Disclosure{}
		err = c.show(a.Readers, func(out io.Writer) {
			if len(a.Readers) == 0 {
				fmt.Fprintln(out, "Nobody has asked to read anything in this time.")
				return
			}
			for _, h := range a.Readers {
				fmt.Fprintln(out, printable(recipientText(h.Recipient)))
				if h.Times > 0 {
					fmt.Fprint(out, wrap(fmt.Sprintf("%s, %s: %s (%s); last on %s UTC", count(h.Times, "time", "times"), plural(h.Records, "record"), strings.Join(h.Classes, ", "),
						strings.Join(h.Purposes, ", "), when(h.Last)), "    "))
				}
				if h.Refused > 0 {
					fmt.Fprintf(out, "    refused %s\n", count(h.Refused, "time", "times"))
				}
			}
		})
		if err != nil {
			return err
		}
		return c.unproven(report)
	})
	of.flags(cmd)
	return cmd
}

func (c *cli) rightsReaders() *cobra.Command {
	cmd := c.command(&cobra.Command{
		Use:   "readers",
		Short: "Who can read what now, and by which contract",
		Long: `Says who could read what, should they ask now: first the contracts in force, all of them, from the journal's proof; then, for
everybody whom the network knows, what the contracts would open to them. Also who stands in for you. Exit code 4 if the proof
does not hold.`,
		Example: `
anamnesis rights readers
anamnesis rights readers --json | jq '.people[].recipient'`,
	}, func(ctx context.Context, _ []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		report, err := c.verified(ctx, p, verifyFlags{}, nil)
		if err != nil {
			return err
		}
		can, err := c.whoCanRead(ctx, p, report)
		if err != nil {
			return err
		}
		if err := c.show(can, func(out io.Writer) { printCanRead(out, can) }); err != nil {
			return err
		}
		return c.unproven(report)
	})
	return cmd
}

func (c *cli) whoCanRead(ctx context.Context, p *patient, report *proof.Report) (*rights.CanRead, error) {
	registry, err := p.Registry(ctx, client.Patient(p.keys))
	if err != nil {
		return nil, err
	}
	return rights.WhoCanRead(report, p.keys.Handle(), registry, now(), p.words(ctx))
}

func printCanRead(out io.Writer, can *rights.CanRead) {
	if can.Closed {
		fmt.Fprintln(out, "The journal was erased as a whole: nobody can read anything.")
		return
	}
	if len(can.Rules) == 0 {
		fmt.Fprintln(out, "No contract is in force: nobody but you can read, and nobody can write.")
	}
	for _, r := range can.Rules {
		standing := "until " + when(r.NotAfter) + " UTC"
		if !r.Begun {
			standing = "from " + when(r.NotBefore) + " " + standing
		}
		if r.UsesMax > 0 {
			standing += fmt.Sprintf(", %d of %d uses left", r.UsesMax-r.Uses, r.UsesMax)
		}
		if r.By != "" {
			standing += ", granted by your delegate " + r.By[:shortDigits]
		}
		fmt.Fprintf(out, "%s  %s  %s\n", short(r.ID), r.Template, standing)
		fmt.Fprint(out, wrap(r.Text, "    "))
	}
	if len(can.Rules) > 0 {
		fmt.Fprintln(out)
	}
	for _, d := range can.Delegates {
		what := "everything"
		if len(d.Classes) > 0 {
			what = strings.Join(d.Classes, ", ")
		}
		fmt.Fprint(out, wrap(fmt.Sprintf("Delegate %s stands in for you (%s): %s, until %s UTC.", d.Key[:shortDigits], d.Level, what, when(d.NotAfter)), ""))
	}
	if can.Devices > 0 {
		fmt.Fprintf(out, "%s of yours can read beside this wallet: `anamnesis device list`.\n", plural(can.Devices, "device"))
	}
	if can.Guardians {
		fmt.Fprintln(out, "Guardians could give the journal to a new wallet; none of them can read.")
	}
	if len(can.People) == 0 {
		fmt.Fprintln(out, "Nobody whom the network knows could read anything now.")
	} else {
		fmt.Fprintln(out, "Today that lets these read, should they ask:")
		for _, person := range can.People {
			fmt.Fprintln(out, "  "+printable(recipientText(person.Recipient)))
			for _, row := range person.Lines() {
				fmt.Fprint(out, wrap(row, "      "))
			}
		}
	}
	for _, m := range can.Partial {
		fmt.Fprintf(out, "The people of %s could not be asked for: what the contracts say of them stands above.\n", printable(m))
	}
	if len(can.Rules) > 0 {
		fmt.Fprintln(out, "`anamnesis consent revoke CONTRACT` ends one, `anamnesis rights withdraw` everything.")
	}
}

func (c *cli) rightsWithdraw() *cobra.Command {
	reading := false
	cmd := c.command(&cobra.Command{
		Use:   "withdraw",
		Short: "Withdraw everything: no contract, no delegate, no emergency card",
		Long: `Ends every contract and every delegation of the journal, and its emergency card. From the next block on nobody but you reads or
writes; what was asked for and not yet opened stays closed. Your devices and guardians stay. What was read stays with the reader, as
on paper; to have records destroyed, see 'erase'. With --reading, contracts that let an organisation only add records stay.

In an emergency nobody will be able to read your allergies either, until you grant anew.`,
		Example: `
anamnesis rights withdraw
anamnesis rights withdraw --reading --yes`,
	}, func(ctx context.Context, _ []string) error {
		p, err := c.patient(ctx)
		if err != nil {
			return err
		}
		if err := c.confirm(fmt.Sprintf("Nobody but you will be able to read journal %q, emergency teams neither. Withdraw everything?", p.journal.Nickname)); err != nil {
			return err
		}
		done, err := p.WithdrawAll(ctx, p.keys, reading)
		if err != nil {
			return err
		}
		return c.show(done, func(out io.Writer) {
			if len(done.Contracts)+len(done.Delegates) == 0 && !done.Card {
				fmt.Fprintln(out, "There was nothing to withdraw.")
			} else {
				card := ""
				if done.Card {
					card = ", and the emergency card"
				}
				fmt.Fprintf(out, "Withdrawn: %s, %s%s. Nobody but you can read now.\n", plural(len(done.Contracts), "contract"), count(len(done.Delegates), "delegate", "delegates"), card)
			}
			if len(done.Remaining) > 0 {
				fmt.Fprintf(out, "Left, as you asked: %s to add records.\n", count(len(done.Remaining), "contract", "contracts"))
			}
		})
	})
	cmd.Flags().BoolVar(&reading, "reading", false, "leave contracts that let nobody read, such as those to add records")
	return cmd
}

func (c *cli) rightsExport() *cobra.Command {
	file, newPassphrase := "", ""
	encrypt := false
	cmd := c.command(&cobra.Command{
		Use:   "export --out FILE",
		Short: "Take everything along: one file that opens without this program, and proves itself",
		Long: `Writes everything about your journals into one ZIP file that opens without Anamnesis: a page for any browser, every record as
FHIR R4 (a Bundle, and NDJSON) for another health record, who read what as PDF and CSV, the contracts, the whole log, and for each
journal the proof that nothing was changed or left out. All journals of the wallet, or the one that --journal names.

What is in the file is readable to whoever has it: --encrypt locks it with a passphrase of its own (stock 'age -d' opens it).`,
		Example: `
anamnesis rights export --out my-record.zip
anamnesis rights export --encrypt --out my-record.zip.age`,
	}, func(ctx context.Context, _ []string) error { return c.takeAll(ctx, file, encrypt, newPassphrase) })
	cmd.Flags().StringVar(&file, "out", "", "the `FILE` to write; it must not be there yet")
	cmd.Flags().BoolVar(&encrypt, "encrypt", false, "lock it with a passphrase of its own")
	cmd.Flags().StringVar(&newPassphrase, "new-passphrase-file", "", "with --encrypt: read that passphrase from `FILE` (default: ask)")
	return cmd
}

// taken is what an export of everything holds.
type taken struct {
	File     string         `json:"file"`
	Bytes    int64          `json:"bytes"`
	Holds    bool           `json:"holds"` // every journal is proven complete
	Journals []takenJournal `json:"journals"`
}

type takenJournal struct {
	Name      string             `json:"name"`
	ID        protocol.JournalID `json:"journal"`
	Resources int                `json:"resources"`
	Records   int                `json:"records"`
	Entries   int                `json:"entries"`
	Holds     bool               `json:"holds"`
	Problems  []string           `json:"problems"`
}

func (c *cli) takeAll(ctx context.Context, file string, encrypt bool, passphraseFrom string) error {
	if file == "" {
		return usage("say where to write: --out FILE")
	}
	if err := free(file); err != nil {
		return err
	}
	var lock *age.ScryptRecipient
	if encrypt {
		pass, err := c.newPassphrase(file, passphraseFrom)
		if err != nil {
			return err
		}
		if lock, err = age.NewScryptRecipient(pass); err != nil {
			return err
		}
		lock.SetWorkFactor(c.workFactor)
	} else if err := c.confirm("The file will hold your records in the clear: whoever gets it can read them. Write it?"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(file), ".anamnesis-export-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	journals, policy, err := c.gather(ctx, dir)
	if err != nil {
		return err
	}
	out := taken{File: file, Holds: true, Journals: []takenJournal{}}
	problems := 0
	for _, j := range journals {
		out.Journals = append(out.Journals, takenJournal{Name: j.Name, ID: j.ID, Resources: len(j.Resources), Records: j.Report.Counts.Records, Entries: j.Report.Counts.Entries,
			Holds: j.Report.OK, Problems: j.Problems})
		out.Holds, problems = out.Holds && j.Report.OK, problems+len(j.Problems)
	}
	out.Bytes, err = writeWhole(file, func(w io.Writer) error {
		if lock == nil {
			return rights.Pack(w, now(), policy, journals, nil)
		}
		locked, err := age.Encrypt(w, lock)
		if err != nil {
			return err
		}
		return errors.Join(rights.Pack(locked, now(), policy, journals, nil), locked.Close())
	})
	if err != nil {
		return err
	}
	if err := c.show(out, func(w io.Writer) { out.print(w, encrypt) }); err != nil {
		return err
	}
	switch {
	case !out.Holds:
		return silent(exitProof)
	case problems > 0:
		return silent(exitFailed)
	}
	return nil
}

func (t taken) print(out io.Writer, locked bool) {
	for _, j := range t.Journals {
		verdict := "proven complete"
		if !j.Holds {
			verdict = "NOT PROVEN: ask another member's gateway with --gateway"
		}
		fmt.Fprintf(out, "%s: %s in %s, %s of the log, %s\n", printable(j.Name), plural(j.Resources, "resource"), plural(j.Records, "record"), plural(j.Entries, "entry"), verdict)
		for _, p := range j.Problems {
			fmt.Fprint(out, wrap("missing: "+p, "    "))
		}
	}
	how := "Unpack it and open index.html."
	if locked {
		how = "`age -d` with its passphrase opens it; then unpack it and open index.html."
	}
	fmt.Fprintf(out, "%s: %s. %s\n", printable(t.File), size(uint64(t.Bytes)), how)
}

// gather fetches, verifies and opens every journal that is asked for. The exports wait in dir.
func (c *cli) gather(ctx context.Context, dir string) (out []rights.Journal, policy []byte, err error) {
	p, err := c.openWallet()
	if err != nil {
		return nil, nil, err
	}
	wanted := p.Journals()
	if c.journal != "" || len(wanted) == 0 {
		j, _, err := c.pickJournal(p)
		if err != nil {
			return nil, nil, err
		}
		wanted = []wallet.Journal{j}
	}
	net, err := c.dial(ctx, p.Network)
	if err != nil {
		return nil, nil, err
	}
	for _, j := range wanted {
		keys, err := p.Keys(j.ID)
		if err != nil {
			return nil, nil, err
		}
		one, err := c.gatherOne(ctx, &patient{Client: net, purse: p, journal: j, keys: keys}, filepath.Join(dir, j.ID.String()))
		if err != nil {
			return nil, nil, fmt.Errorf("journal %s: %w", j.Nickname, err)
		}
		out = append(out, *one)
	}
	return out, []byte(p.Network.Policy), nil
}

func (c *cli) gatherOne(ctx context.Context, p *patient, export string) (*rights.Journal, error) {
	rows, err := p.Records(ctx, p.keys)
	if err != nil {
		return nil, err
	}
	there := slices.DeleteFunc(slices.Clone(rows), func(r api.Record) bool { return r.Erased != 0 })
	records, broken := c.openOwn(ctx, p, there, nil) // first: opening through the custodians is an entry, which the export should have
	f, err := os.OpenFile(export, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	report, err := c.verified(ctx, p, verifyFlags{}, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	lines, err := report.Log(p.logOptions())
	if err != nil && report.OK {
		return nil, err
	}
	can, err := c.whoCanRead(ctx, p, report)
	if err != nil {
		return nil, err
	}
	j := &rights.Journal{Name: p.journal.Nickname, ID: p.journal.ID, Report: report, Log: lines, CanRead: can, Problems: []string{},
		Accounting: rights.Account(report, lines, p.journal.Nickname, 0, now()+1), Export: func(w io.Writer) error { return copyFile(w, export) }}
	entries := byID(rows)
	known := namesOf(p.Client, nil)
	known.as = client.Patient(p.keys)
	raw := map[protocol.RecordID][][]byte{}
	for _, r := range records {
		raw[r.Manifest.Record] = r.Resources
	}
	for _, l := range timeline(ctx, known, records, entries, &filter{}) {
		one := rights.Resource{Raw: raw[l.Record][l.Index], Class: l.Class, Type: l.Type, Title: l.Title, Detail: l.Detail, Source: l.Source, Author: l.Author, Own: l.Own, Record: l.Record}
		if one.Date = dateOf(l); one.Date == "-" {
			one.Date = ""
		}
		switch {
		case l.Superseded != nil:
			one.Note = "a newer version supersedes this"
		case l.About != nil:
			one.Note = "what you said about the entry above"
		}
		j.Resources = append(j.Resources, one)
	}
	for _, b := range broken {
		j.Problems = append(j.Problems, fmt.Sprintf("record %s: %s", short(b.Record), b.Err))
	}
	for _, r := range report.Standing().Records { // what the proof knows and the gateway did not list
		if _, ok := entries[r.ID]; !ok {
			j.Problems = append(j.Problems, fmt.Sprintf("record %s is in the proof, and the gateway did not list it", short(r.ID)))
		}
	}
	return j, nil
}
