// Command anamnesis is the whole program: a development network of hospitals, laboratories and others in one process, and the wallet, the
// doctor's and the organisation's commands that talk to it (or to any node's gateway) over HTTP.
//
// Each family of commands has a file of its own. All of them go through the flows of internal/client; what is here turns flags into calls
// and answers into tables, JSON, exit codes and sentences that say what to do next.
//
// Exit codes: 0 done, 1 failed, 2 used wrongly, 3 refused by a contract, 4 a proof does not hold.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/anamnesis-health/anamnesis/internal/wallet"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// cli is one run of the program: where it reads and writes, and the flags that every command has.
type cli struct {
	in       io.Reader
	out, err io.Writer

	walletPath     string
	gateway        string
	as             string
	passphraseFile string
	journal        string
	json           bool
	yes            bool

	began      bool // a command's own function runs: errors before are of usage
	workFactor int  // scrypt's, of files written
	secrets    secrets
}

// workFactor is what wallets and actor files cost to open. Tests lower it for the process.
var workFactor = wallet.ScryptLogNDefault

// run executes one command line and gives its exit code.
func run(args []string, in io.Reader, out, err io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	answer := &steady{w: out}
	c := &cli{in: in, out: answer, err: err, workFactor: workFactor}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(answer)
	root.SetErr(err)
	c.json = slices.Contains(args, "--json") // for errors that come before the flags are read
	fail := root.ExecuteContext(ctx)
	if fail == nil && answer.err != nil {
		c.began, fail = true, fmt.Errorf("the answer could not be written: %w", answer.err)
	}
	if fail == nil {
		return exitDone
	}
	if !c.began && !hasFailure(fail) {
		fail = usageOf(fail)
	}
	return c.report(fail)
}

// steady remembers the first error of writing: an answer that is cut off must not look like a whole one.
type steady struct {
	w   io.Writer
	err error
}

func (s *steady) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

func hasFailure(err error) bool {
	var f *failure
	return errors.As(err, &f)
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "anamnesis",
		Short: "A patient's history: written by many, opened by the patient's consent alone, every look on record",
		Long: `Anamnesis keeps the history of a patient for the patient. Many organisations write into it, the patient decides who
reads it, and nobody reads without leaving an entry in a log that cannot be changed.

Start with a network of your own, in one process:

  anamnesis demo                the whole story in one run
  anamnesis dev                 a network that stays, with what to try next

Then, in another terminal, be a patient (wallet, journal, consent, log), an organisation (practitioner, record add)
and a doctor (access). Every command has --json for programs and --help with an example.

Exit codes: 0 done, 1 failed, 2 used wrongly, 3 refused by a contract, 4 a proof does not hold.`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE:              group,
		Args:              cobra.ArbitraryArgs,
	}
	f := root.PersistentFlags()
	f.StringVar(&c.walletPath, "wallet", "", "the patient's wallet `FILE` (default $ANAMNESIS_WALLET, else ~/.anamnesis/wallet)")
	f.StringVar(&c.gateway, "gateway", os.Getenv("ANAMNESIS_GATEWAY"), "`URL` of a member's gateway (default $ANAMNESIS_GATEWAY, else the wallet's or key's own, else http://127.0.0.1:8080)")
	f.StringVar(&c.as, "as", "", "act with the key in `FILE`: a member's or a practitioner's")
	f.StringVar(&c.passphraseFile, "passphrase-file", "", "read the passphrase from the first line of `FILE` (default $ANAMNESIS_PASSPHRASE, else asked for)")
	f.BoolVar(&c.json, "json", false, "answer with JSON on standard output, and nothing else there")
	f.BoolVar(&c.yes, "yes", false, "do not ask for confirmation")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageOf(err) })
	root.AddGroup(&cobra.Group{ID: "network", Title: "A network:"}, &cobra.Group{ID: "patient", Title: "The patient:"},
		&cobra.Group{ID: "care", Title: "Those who treat and write:"}, &cobra.Group{ID: "anyone", Title: "Anybody:"})
	root.AddCommand(c.commands()...)
	return root
}

// commands are all families, in the order of the help.
func (c *cli) commands() []*cobra.Command {
	return []*cobra.Command{
		c.demoCommand(), c.devCommand(), c.networkCommand(), c.memberCommand(), c.synthCommand(), c.fsckCommand(), c.backupCommand(), c.restoreCommand(), c.benchCommand(),
		c.walletCommand(), c.journalCommand(), c.guardianCommand(), c.recoverCommand(), c.deviceCommand(), c.handleCommand(), c.consentCommand(), c.logCommand(), c.recordCommand(),
		c.amendmentCommand(), c.eraseCommand(), c.holdCommand(), c.rightsCommand(),
		c.delegateCommand(), c.cardCommand(), c.practitionerCommand(), c.accessCommand(),
		c.notifyCommand(), c.verifyCommand(), c.didCommand(),
	}
}

// command finishes a command: its function runs with the context, and errors from then on are not of usage.
func (c *cli) command(cmd *cobra.Command, do func(ctx context.Context, args []string) error) *cobra.Command {
	if cmd.Args == nil {
		cmd.Args = cobra.NoArgs
	}
	cmd.Example = indent(cmd.Example)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.began = true
		return do(cmd.Context(), args)
	}
	return cmd
}

// family makes a command that only has subcommands.
func family(use, id, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, GroupID: id, Short: short, RunE: group, Args: cobra.ArbitraryArgs}
	cmd.AddCommand(children...)
	return cmd
}

// group is what a command without a function of its own does: it shows its help, or says that there is no such subcommand.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	f := usage("there is no command %q", cmd.CommandPath()+" "+printable(args[0]))
	f.Detail = "See `" + cmd.CommandPath() + " --help`."
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		f.Detail = "Did you mean `" + cmd.CommandPath() + " " + near[0] + "`?"
	}
	return f
}

func indent(text string) string {
	if text = strings.Trim(text, "\n"); text == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(text, "\n", "\n  ")
}

// isTerminal tells whether somebody is looking.
func isTerminal(f any) bool {
	if s, ok := f.(*steady); ok {
		f = s.w
	}
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
