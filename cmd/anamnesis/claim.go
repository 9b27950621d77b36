package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	qrcode "github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Codes and dates of birth are asked for, or read from files and standard input: never arguments, which other users of the machine see.

// answer reads a line: from whoever sits there, or from standard input. hide: it is not shown while it is typed.
func (c *cli) answer(prompt string, hide bool) (string, error) {
	if isTerminal(c.in) && hide {
		return c.ask(prompt)
	}
	if isTerminal(c.in) {
		fmt.Fprint(c.err, prompt)
	}
	var line []byte
	one := make([]byte, 1)
	for len(line) < 1<<10 {
		n, err := c.in.Read(one)
		if n == 1 && one[0] == '\n' {
			break
		}
		line = append(line, one[:n]...)
		if err != nil {
			if errors.Is(err, io.EOF) && len(line) > 0 {
				break
			}
			return "", failed("no-answer", "an answer is needed, and standard input has none", "It is asked for, in this order: "+strings.TrimSuffix(prompt, ": ")+".")
		}
	}
	return strings.TrimSpace(string(line)), nil
}

func (c *cli) birth() (string, error) {
	date, err := c.answer("Date of birth (YYYY-MM-DD): ", false)
	if err != nil {
		return "", err
	}
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return "", usage("a date of birth is written YYYY-MM-DD")
	}
	return date, nil
}

// slipText is the paper that a patient gets.
const slipText = `Your health journal is waiting for you
======================================

%s has opened a journal for you, and keeps it until you have a wallet.
With this code and your date of birth it becomes yours, and nobody else's:

    anamnesis wallet new
    anamnesis journal claim --gateway %s

Code: %s

It works once, until %s. Keep it as you would keep a key.

%s`

const slipMark = "\nCode: "

func writeSlip(file, organisation, gateway string, code wallet.Code) error {
	qr, err := qrcode.New(code.Reveal(), qrcode.Medium)
	if err != nil {
		return err
	}
	var picture strings.Builder
	blocks(&picture, qr.Bitmap())
	until := time.Now().Add(protocol.ClaimMillis * time.Millisecond).UTC().Format(time.DateOnly)
	return wallet.CreateFile(file, fmt.Appendf(nil, slipText, organisation, gateway, code.Reveal(), until, picture.String()))
}

// code reads a code from a slip, or asks for it.
func (c *cli) code(slip string) (wallet.Code, error) {
	if slip == "" {
		text, err := c.answer("Code: ", true)
		if err != nil {
			return wallet.Code{}, err
		}
		return wallet.ParseCode(text)
	}
	raw, err := wallet.ReadFile(slip)
	if err != nil {
		return wallet.Code{}, err
	}
	_, rest, ok := strings.Cut(string(raw), slipMark)
	if !ok {
		rest = string(raw)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return wallet.ParseCode(line)
}

func (c *cli) journalProvision() *cobra.Command {
	var team []string
	out, slip, emergency := "", "", ""
	cmd := c.command(&cobra.Command{
		Use:   "provision --as FILE --out FILE --slip FILE",
		Short: "Open a journal for a patient without a wallet (organisations)",
		Long: `Opens a provisional journal: your organisation runs it under contracts until its patient claims it. It reads and writes in it like
in any other, through contracts and the custodians, in the log: nobody holds a key that opens its records.

Asks for the patient's date of birth (standard input takes it too), which the gateway keeps salted and hashed. Writes the
patient's slip with the one-time code, to be printed, and a key file for a new code should this one get lost.

Your organisation may write; --team says who may read. In an emergency, emergency physicians and paramedics of the network may break the
glass for a few classes, as in a journal that a patient opens; --emergency names others, or none.`,
		Example: `
anamnesis journal provision --as anamnesis-dev/members/northside-general-hospital.actor \
    --team role:physician@northside-general-hospital --out bed12.journal --slip bed12.txt`,
	}, func(ctx context.Context, _ []string) error {
		seen, err := parseEmergency(emergency)
		if err != nil {
			return err
		}
		return c.provision(ctx, team, seen, out, slip)
	})
	emergencyFlag(cmd, &emergency)
	cmd.Flags().StringArrayVar(&team, "team", nil, "`WHOM` to let read, as in `consent grant --to`; again for more")
	cmd.Flags().StringVar(&out, "out", "", "the new key `FILE`, for `journal claim-code`")
	cmd.Flags().StringVar(&slip, "slip", "", "the new `FILE` with the patient's slip, to be printed and then deleted")
	_ = cmd.MarkFlagRequired("out")
	_ = cmd.MarkFlagRequired("slip")
	return cmd
}

func (c *cli) provision(ctx context.Context, team []string, seen emergencySeen, out, slip string) error {
	s, err := c.member(ctx)
	if err != nil {
		return err
	}
	for _, file := range []string{out, slip} {
		if _, err := os.Lstat(file); err == nil {
			return fmt.Errorf("%w: %s", wallet.ErrExists, file)
		}
	}
	p := wallet.NewProvisional(wallet.Network{Chain: s.Network.Chain, Gateway: c.gatewayOf(s.actor.Network)}, "provisional journal")
	grants, err := teamGrants(s, team, labelsOf(p.Handle, seen.on(s.Client)))
	if err != nil {
		return err
	}
	born, err := c.birth()
	if err != nil {
		return err
	}
	pass, err := c.newPassphrase(out, c.passphraseFile)
	if err != nil {
		return err
	}
	key, err := p.Actor.Encrypt(pass, wallet.WithWorkFactor(c.workFactor))
	if err != nil {
		return err
	}
	if err := wallet.CreateFile(out, key); err != nil { // before the ledger knows: a journal without its key could never get a new code
		return err
	}
	code := wallet.NewCode()
	if err := s.Provision(ctx, s.identity(), p, code, born, grants...); err != nil {
		return err
	}
	organisation := namesOf(s.Client, nil).member(protocol.MemberID(s.actor.ID))
	if err := writeSlip(slip, organisation, p.Actor.Network.Gateway, code); err != nil {
		return err
	}
	return c.show(map[string]any{"journal": p.Handle.Journal, "handle": p.Handle, "key": out, "slip": slip}, func(w io.Writer) {
		fmt.Fprintf(w, "The journal is open, and waits for its patient.\n\n  %s\n\n", p.Handle)
		fmt.Fprintln(w, "That is its handle, for those who treat the patient. Print "+slip+" for the patient, then delete it.")
		fmt.Fprintln(w, "Keep "+out+": with it a lost code is replaced (`anamnesis journal claim-code`).")
	})
}

// teamGrants lets the member write, the team read, and emergency teams break the glass for what the labels say.
func teamGrants(s *staff, team []string, emergency []protocol.Label) (out []protocol.Grant, err error) {
	add := func(template string, p consent.Params) error {
		policy, t, err := consent.Render(template, p)
		if err == nil {
			out = append(out, protocol.Grant{Template: t.Number, Policy: policy, NotAfter: uint64(time.Now().UnixMilli()) + t.WindowMillis, UsesMax: t.UsesMax})
		}
		return err
	}
	if err := add("contributor", consent.Params{Grantee: consent.Grantee{Member: protocol.MemberID(s.actor.ID)}}); err != nil {
		return nil, err
	}
	if len(emergency) > 0 {
		if err := add("emergency-card", consent.Params{Labels: emergency}); err != nil {
			return nil, err
		}
	}
	known := namesOf(s.Client, nil)
	for _, whom := range team {
		to, err := grantee(whom, known)
		if err == nil {
			err = add("care-team", consent.Params{Grantee: to})
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *cli) journalClaimCode() *cobra.Command {
	key, slip := "", ""
	cmd := c.command(&cobra.Command{
		Use:   "claim-code --as FILE --key FILE --slip FILE",
		Short: "Make a new one-time code for a journal that waits for its patient (organisations)",
		Long: `Makes a new code: the old one is dead, whether it was lost, is too old, or was tried with five wrong dates of birth. Asks for the
date of birth again.`,
		Example: `
anamnesis journal claim-code --as anamnesis-dev/members/northside-general-hospital.actor --key bed12.journal --slip again.txt`,
	}, func(ctx context.Context, _ []string) error {
		s, err := c.member(ctx)
		if err != nil {
			return err
		}
		raw, err := wallet.ReadFile(key)
		if err != nil {
			return err
		}
		pass, err := c.passphrase(key)
		if err != nil {
			return err
		}
		a, err := wallet.DecryptActor(raw, pass)
		if err == nil && (a.Kind != protocol.ActorPatient || a.Handle == nil) {
			err = usage("%s is not the key of a provisional journal", key)
		}
		if err != nil {
			return err
		}
		if _, err := os.Lstat(slip); err == nil {
			return fmt.Errorf("%w: %s", wallet.ErrExists, slip)
		}
		born, err := c.birth()
		if err != nil {
			return err
		}
		code := wallet.NewCode()
		if err := s.Reissue(ctx, s.identity(), a, *a.Handle, code, born); err != nil {
			return err
		}
		if err := writeSlip(slip, namesOf(s.Client, nil).member(protocol.MemberID(s.actor.ID)), c.gatewayOf(s.actor.Network), code); err != nil {
			return err
		}
		return c.show(map[string]any{"journal": a.Handle.Journal, "slip": slip}, func(w io.Writer) {
			fmt.Fprintln(w, "The old code is dead. Print "+slip+" for the patient, then delete it.")
		})
	})
	cmd.Flags().StringVar(&key, "key", "", "the `FILE` that `journal provision` wrote")
	cmd.Flags().StringVar(&slip, "slip", "", "the new `FILE` with the patient's slip")
	_ = cmd.MarkFlagRequired("key")
	_ = cmd.MarkFlagRequired("slip")
	return cmd
}

func (c *cli) journalClaim() *cobra.Command {
	slip := ""
	cmd := c.command(&cobra.Command{
		Use:   "claim [NAME]",
		Short: "Take over the journal that an organisation opened for you, with your one-time code",
		Long: `Makes a journal yours that was opened for you before you had a wallet. Asks for the code on your slip and for your date of birth
(standard input takes both, in this order). From then on only your wallet controls the journal; the organisation's key is
dead, and the ledger says so.

What was written before is not sealed to your wallet: it opens through the custodians, and each opening is an entry in your
log. Contracts from before go on until you withdraw them: look at 'anamnesis consent list'.`,
		Example: `
anamnesis journal claim --gateway http://127.0.0.1:8080
anamnesis journal claim --slip slip.txt`,
		Args: cobra.MaximumNArgs(1),
	}, func(ctx context.Context, args []string) error {
		name := "main"
		if len(args) == 1 {
			name = args[0]
		}
		return c.claimJournal(ctx, name, slip)
	})
	cmd.Flags().StringVar(&slip, "slip", "", "read the code from the slip in `FILE`")
	return cmd
}

func (c *cli) claimJournal(ctx context.Context, name, slip string) error {
	p, net, err := c.walletAt(ctx)
	if err != nil {
		return err
	}
	code, err := c.code(slip)
	if err != nil {
		return err
	}
	born, err := c.birth()
	if err != nil {
		return err
	}
	keys := code.ClaimKeys(net.Network.Chain)
	h, err := net.ClaimHandle(ctx, keys, born)
	if err != nil {
		return err
	}
	k, err := c.take(p, h, name)
	if err != nil {
		return err
	}
	if err := net.Claim(ctx, keys, born, k); err != nil {
		var no *protocol.Rejection
		if errors.As(err, &no) {
			p.Drop(h.Journal)
			err = errors.Join(err, c.save(p))
		}
		return err
	}
	contracts, err := net.Contracts(ctx, k)
	if err != nil {
		return err
	}
	active := 0
	for _, one := range contracts {
		if one.State == "active" {
			active++
		}
	}
	return c.show(map[string]any{"journal": h.Journal, "name": name, "handle": h, "contracts_active": active}, func(w io.Writer) {
		fmt.Fprintf(w, "Journal %q is yours, and the code is used up.\n\n", name)
		fmt.Fprintf(w, "%s from before %s on: `anamnesis consent list` shows them, `anamnesis consent revoke` ends one.\n", plural(active, "contract"), map[bool]string{true: "goes", false: "go"}[active == 1])
		fmt.Fprintln(w, "Next: `anamnesis wallet words`, on paper. Then think of guardians: `anamnesis guardian --help`.")
	})
}

// walletAt opens the wallet and dials; a wallet without a network gets this one.
func (c *cli) walletAt(ctx context.Context) (*purse, *client.Client, error) {
	p, err := c.openWallet()
	if err != nil {
		return nil, nil, err
	}
	net, err := c.dial(ctx, p.Network)
	if err == nil && p.Network.Chain == "" {
		err = adopt(p.Wallet, net, c.gatewayOf(p.Network))
	}
	return p, net, err
}

// take puts a journal that others opened into the wallet, and saves that: before anything is sent, so that its handle cannot get lost.
func (c *cli) take(p *purse, h protocol.Handle, name string) (*wallet.JournalKeys, error) {
	if _, err := p.Keys(h.Journal); errors.Is(err, wallet.ErrUnknownJournal) {
		if _, err := p.AdoptJournal(h, name); err != nil {
			return nil, err
		}
		if err := c.save(p); err != nil {
			return nil, err
		}
	}
	return p.Keys(h.Journal)
}
