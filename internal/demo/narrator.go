package demo

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// narrator tells the story: a line an act on out, bars on err while something takes long. In quiet mode it keeps still.
type narrator struct {
	out, err io.Writer
	quiet    bool
	terminal bool
	open     []*mpb.Progress
}

// titles are the acts in words.
var titles = map[string]string{
	"network": "A network of competing organisations", "enrol": "Patients and practitioners enrol", "import": "Organisations write records",
	"refused-without-consent": "A doctor without consent", "grant-and-read": "The patient grants, the doctor reads",
	"other-class-refused": "A class outside the grant", "read-back-everything": "Everything read back and compared",
	"expires-by-itself": "The grant ends by itself", "revoked-at-once": "The patient changes their mind", "break-in-fails": "A break-in by custodians",
	"log": "The patient looks who read what", "receipts": "Receipts", "complete-offline": "Proof, offline", "tampering-caught": "Tampering",

	"claim-provisional-journal": "A patient without a wallet", "claim-wrong-ways-fail": "Codes that are guessed or stolen", "claim-takes-over": "She claims her journal",
	"breakglass-refused-without-card": "An emergency, and no emergency card", "breakglass-reads": "The glass is broken", "breakglass-reviewed": "And reviewed",
	"delegate-reads": "A daughter helps", "delegate-ends-by-itself": "Her time is over", "device-cut-off": "A stolen phone", "device-keys-rotated": "New keys",
	"standing-suspended": "A nurse is suspended", "standing-resolves": "Who is this hospital?", "amend-superseded": "A record is corrected",
	"amend-disputed": "The patient disagrees", "amend-own-words": "And has something to add", "erase-record": "A record is forgotten", "erase-under-hold": "A court wants it kept for now",
	"erase-class": "A class is forgotten", "erase-contributions": "An organisation's records are forgotten", "erase-everything": "Everything is forgotten",
	"rights-who-read-and-can": "Who read, and who can", "rights-everything-in-one-file": "Everything, to take along", "rights-everything-withdrawn": "Everything withdrawn",
	"erase-still-complete": "The log is still complete", "recover-vetoed": "Somebody tries to take a journal over", "recover-lost-wallet": "A lost wallet",
}

func (n *narrator) begin(name string) {
	if !n.quiet && n.terminal {
		fmt.Fprintf(n.err, "  … %s\r", titles[name])
	}
}

func (n *narrator) end(name, detail string, err error) {
	for _, p := range n.open {
		p.Wait()
	}
	n.open = nil
	if n.quiet {
		return
	}
	mark := "ok  "
	if err != nil {
		mark = "FAIL"
	}
	fmt.Fprintf(n.out, "%s  %s\n%s", mark, titles[name], wrap(detail, 92, "      "))
}

// bar returns what moves a progress bar on; without a terminal it does nothing.
func (n *narrator) bar(what string, total int) func(int) {
	if n.quiet || !n.terminal || total == 0 {
		return func(int) {}
	}
	p := mpb.New(mpb.WithOutput(n.err), mpb.WithWidth(48))
	b := p.AddBar(int64(total), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name("      "+what+" ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d")))
	n.open = append(n.open, p)
	return func(done int) { b.IncrBy(done) }
}

// log prints a patient's access log.
func (n *narrator) log(patient string, lines []logLine) {
	if n.quiet {
		return
	}
	fmt.Fprintf(n.out, "\n      The log of %s, newest last:\n", patient)
	for _, l := range lines[max(0, len(lines)-12):] {
		fmt.Fprintf(n.out, "      %-8s  %s", l.Time, strings.TrimLeft(wrap(l.Text, 100, strings.Repeat(" ", 16)), " "))
	}
	fmt.Fprintln(n.out)
}

func (n *narrator) close(r Result, err error) {
	verdict := "Every step held."
	if err != nil {
		verdict = "A step did not hold: " + err.Error()
	}
	fmt.Fprintf(n.out, "\n%s\n%d patients, %d resources in, %d read back equal, %d records, %d log entries, %d reads permitted and %d refused,\n%d receipts verified, %d of %d tamperings caught, %.1f s.\n",
		verdict, r.Patients, r.ResourcesIn, r.ResourcesRead, r.Records, r.Entries, r.Reads.Permitted, r.Reads.Refused, r.Receipts, r.Tampering, r.Tampering, r.Seconds)
}

// resources counts them: 1 resource, 2 resources.
func resources(n int) string { return counted(n, "resource") }

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func wrap(s string, width int, indent string) string {
	var b strings.Builder
	column := 0
	for _, w := range strings.Fields(s) {
		if column == 0 || column+1+len(w) > width {
			if column > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(indent)
			column = len(indent)
		} else {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(w)
		column += len(w)
	}
	return b.String() + "\n"
}

// saveWallets leaves the lead's wallet and the doctor's key beside the network, under its passphrase, so that a user can go on from here.
func (p *play) saveWallets() (string, error) {
	dir := filepath.Join(p.dir, "wallets")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	data, err := p.lead.wallet.Encrypt(p.net.Passphrase, wallet.WithWorkFactor(15))
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "patient.wallet")
	if err := wallet.CreateFile(file, data); err != nil {
		return "", err
	}
	if data, err = p.doctor.Encrypt(p.net.Passphrase, wallet.WithWorkFactor(15)); err != nil {
		return "", err
	}
	return file, wallet.CreateFile(filepath.Join(dir, "doctor.actor"), data)
}
