package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/did"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) practitionerCommand() *cobra.Command {
	return family("practitioner", "care", "A member's practitioners: register, show, suspend, renew, revoke", c.practitionerAdd(), c.practitionerList(), c.practitionerShow(),
		c.practitionerSet("suspend", "Suspend a practitioner: every access is refused from the next block on", "suspended", protocol.PractitionerSuspended),
		c.practitionerSet("resume", "Let a suspended practitioner act again", "active", protocol.PractitionerActive), c.practitionerRenew(),
		c.practitionerSet("revoke", "Revoke a practitioner for good", "revoked", protocol.PractitionerRevoked))
}

// newPerson is what `practitioner register` is told.
type newPerson struct {
	name, speciality, licence, role string
	validFor                        time.Duration
	out, passphraseFile             string
}

// practitionerView is a practitioner for programs.
type practitionerView struct {
	ID         protocol.PractitionerID `json:"id"`
	Name       string                  `json:"name,omitempty"`
	Speciality string                  `json:"speciality,omitempty"`
	Licence    string                  `json:"licence,omitempty"`
	Role       protocol.Role           `json:"role"`
	Member     string                  `json:"member"`
	Status     string                  `json:"status"`
	ValidUntil uint64                  `json:"valid_until_ms"`
	Key        protocol.PublicKey      `json:"key"`
	DID        string                  `json:"did,omitempty"`   // at the gateway asked
	Actor      string                  `json:"actor,omitempty"` // the key file just made
}

func (c *cli) practitionerAdd() *cobra.Command {
	n := newPerson{}
	cmd := c.command(&cobra.Command{
		Use:     "register NAME --role ROLE --out FILE --as FILE",
		Aliases: []string{"add"},
		Short:   "Register a practitioner and make their key",
		Long: `Makes a key for a practitioner in a new file under its own passphrase (--new-passphrase-file, $ANAMNESIS_PASSPHRASE, or asked
for), and registers it with the member's key. Role, standing and validity are public; name, speciality and licence reference stay
with the member, off the ledger, behind a commitment: patients are told them, the public is not.

Roles: physician, emergency-physician, nurse, pharmacist, lab-technician, radiographer, therapist, dentist, midwife, paramedic,
claims-examiner, researcher, administrator, caregiver.`,
		Example: `
anamnesis practitioner register "Dr. Ada Okafor" --role emergency-physician --speciality "emergency medicine" \
    --licence "GMC 7081234" --out dr-ada.actor --as anamnesis-dev/members/northside-general-hospital.actor`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		n.name = args[0]
		return c.addPractitioner(ctx, n)
	})
	f := cmd.Flags()
	f.StringVar(&n.role, "role", "", "`ROLE` at the member")
	f.StringVar(&n.speciality, "speciality", "", "`TEXT`, told to patients alone")
	f.StringVar(&n.licence, "licence", "", "`REFERENCE` of the licence to practise: authority and number, told to patients alone")
	f.DurationVar(&n.validFor, "valid-for", 365*24*time.Hour, "`HOW LONG` the credential counts")
	f.StringVar(&n.out, "out", "", "the new key `FILE`")
	f.StringVar(&n.passphraseFile, "new-passphrase-file", "", "the new file's passphrase, on the first line of `FILE`")
	_ = cmd.MarkFlagRequired("role")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

func (c *cli) addPractitioner(ctx context.Context, n newPerson) error {
	var role protocol.Role
	if err := role.UnmarshalText([]byte(n.role)); err != nil {
		f := usage("there is no role %q", printable(n.role))
		f.Detail = "See `anamnesis practitioner register --help`."
		return f
	}
	if n.validFor <= 0 || n.validFor > 20*366*24*time.Hour {
		return usage("--valid-for is more than nothing, and at most twenty years")
	}
	if _, err := os.Lstat(n.out); err == nil {
		return fmt.Errorf("%w: %s", wallet.ErrExists, n.out)
	}
	m, err := c.member(ctx)
	if err != nil {
		return err
	}
	pass, err := c.newPassphrase(n.out, n.passphraseFile)
	if err != nil {
		return err
	}
	var id protocol.PractitionerID
	_, _ = rand.Read(id[:]) // never fails
	a := wallet.NewPractitioner(wallet.Network{Chain: m.Network.Chain, Gateway: c.gatewayOf(m.actor.Network), Policy: m.Network.Policy}, id, n.name)
	data, err := a.Encrypt(pass, wallet.WithWorkFactor(c.workFactor))
	if err != nil {
		return err
	}
	// The file first: a key that is registered and lost would be of no use to anybody.
	if err := wallet.CreateFile(n.out, data); err != nil {
		return err
	}
	until := now() + uint64(n.validFor.Milliseconds())
	row := api.Practitioner{ID: id, Key: a.Key.Public(), Role: role, ValidUntil: until}
	name := api.PractitionerName{Name: n.name, Speciality: n.speciality, Licence: n.licence}
	if err := m.SetPractitioner(ctx, m.identity(), row, protocol.PractitionerActive, &name); err != nil {
		return c.withdraw(n.out, err)
	}
	v := practitionerView{ID: id, Name: n.name, Speciality: n.speciality, Licence: n.licence, Role: role, Member: m.actor.Name, Status: "active", ValidUntil: until,
		Key: row.Key, DID: c.practitionerDID(m, id), Actor: n.out}
	return c.show(v, func(out io.Writer) {
		fmt.Fprintf(out, "%s is registered as %s of %s until %s UTC.\n", n.name, role, m.actor.Name, when(until))
		fields(out, "  id", id.String(), "  key", n.out)
		fmt.Fprintf(out, "A patient lets them in with `anamnesis consent grant … --to practitioner:%s`.\n", id)
	})
}

// withdraw takes a new key's file away if the network certainly did not take the key. When it may have, the file stays.
func (c *cli) withdraw(file string, err error) error {
	var rejected *protocol.Rejection
	var p *api.Problem
	if errors.As(err, &rejected) || errors.As(err, &p) && p.Status < 500 && p.Status != http.StatusForbidden && p.Status != http.StatusConflict {
		return errors.Join(err, os.Remove(file))
	}
	fmt.Fprintln(c.err, "note: "+file+" is kept: the network may have taken its key before this went wrong")
	return err
}

func (c *cli) practitionerList() *cobra.Command {
	member := ""
	cmd := c.command(&cobra.Command{
		Use:   "list --as FILE",
		Short: "List a member's practitioners and their standing",
		Example: `
anamnesis practitioner list --as anamnesis-dev/members/northside-general-hospital.actor
anamnesis practitioner list --member meridian-laboratory --as dr-ada.actor`,
	}, func(ctx context.Context, _ []string) error { return c.listPractitioners(ctx, member) })
	cmd.Flags().StringVar(&member, "member", "", "of another `MEMBER`")
	return cmd
}

func (c *cli) listPractitioners(ctx context.Context, member string) error {
	s, err := c.staff(ctx)
	if err != nil {
		return err
	}
	known := namesOf(s.Client, nil)
	var of protocol.MemberID
	if member == "" {
		of, err = s.memberID(ctx)
	} else {
		var m api.Member
		m, err = known.findMember(member)
		of = m.ID
	}
	if err != nil {
		return err
	}
	rows, err := s.Practitioners(ctx, s.identity(), of)
	if err != nil {
		return err
	}
	views := []practitionerView{}
	for _, row := range rows {
		views = append(views, viewOf(row, known))
	}
	return c.show(views, func(out io.Writer) {
		if len(views) == 0 {
			fmt.Fprintln(out, "No practitioner. Register one with `anamnesis practitioner register`.")
			return
		}
		t := newTable("~name", "~speciality", "role", "status", "valid until", "id")
		for _, v := range views {
			t.add(orDash(v.Name), orDash(v.Speciality), v.Role.String(), v.Status, moment(v.ValidUntil).Format(time.DateOnly), v.ID.String())
		}
		t.print(out)
	})
}

func (c *cli) practitionerSet(use, what, state string, status protocol.PractitionerStatus) *cobra.Command {
	return c.command(&cobra.Command{
		Use:   use + " PRACTITIONER --as FILE",
		Short: what,
		Example: `
anamnesis practitioner ` + use + ` 5f0c8a… --as anamnesis-dev/members/northside-general-hospital.actor`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		id, err := protocol.ParsePractitionerID(args[0])
		if err != nil {
			return err
		}
		m, err := c.member(ctx)
		if err != nil {
			return err
		}
		if status == protocol.PractitionerRevoked && isTerminal(c.in) {
			if err := c.confirm("Revoking is final. Revoke " + id.String() + "?"); err != nil {
				return err
			}
		}
		row, err := m.PractitionerName(ctx, m.identity(), id)
		if err != nil {
			return err
		}
		if err := m.SetPractitioner(ctx, m.identity(), row, status, nil); err != nil {
			return err
		}
		v := viewOf(row, namesOf(m.Client, nil))
		v.Status = state
		return c.show(v, func(out io.Writer) { fmt.Fprintf(out, "%s is %s.\n", personName(row), state) })
	})
}

func viewOf(p api.Practitioner, known *names) practitionerView {
	v := practitionerView{ID: p.ID, Role: p.Role, Member: known.member(p.Member), Status: p.Status, ValidUntil: p.ValidUntil, Key: p.Key}
	if p.Name != nil && p.Name.Commitment() == p.Commitment {
		v.Name, v.Speciality, v.Licence = p.Name.Name, p.Name.Speciality, p.Name.Licence
	}
	return v
}

// practitionerDID is the did:web under which the gateway that is asked serves a practitioner's document; empty if it has no host name.
func (c *cli) practitionerDID(s *staff, id protocol.PractitionerID) string {
	return webDID(c.gatewayOf(s.actor.Network), "practitioners", id.String())
}

func (c *cli) practitionerShow() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "show PRACTITIONER --as FILE",
		Short: "Show one practitioner: standing, role, validity, licence, DID",
		Example: `
anamnesis practitioner show 5f0c8a… --as anamnesis-dev/members/northside-general-hospital.actor`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		id, err := protocol.ParsePractitionerID(args[0])
		if err != nil {
			return err
		}
		s, err := c.staff(ctx)
		if err != nil {
			return err
		}
		row, err := s.PractitionerName(ctx, s.identity(), id)
		if err != nil {
			return err
		}
		v := viewOf(row, namesOf(s.Client, nil))
		v.DID = c.practitionerDID(s, id)
		return c.show(v, func(out io.Writer) {
			fields(out, "name", orDash(v.Name), "speciality", orDash(v.Speciality), "licence", orDash(v.Licence), "role", v.Role.String(), "member", v.Member,
				"standing", v.standing(), "valid until", when(v.ValidUntil)+" UTC", "id", v.ID.String(), "key", did.Key(v.Key), "did", v.DID)
		})
	})
}

// standing says what a practitioner can do now: an active one whose validity is over can do nothing.
func (v practitionerView) standing() string {
	if v.Status == "active" && v.ValidUntil <= now() {
		return "expired: every access is refused until renewed"
	}
	return v.Status
}

func (c *cli) practitionerRenew() *cobra.Command {
	var until string
	var validFor time.Duration
	var licence, speciality string
	cmd := c.command(&cobra.Command{
		Use:   "renew PRACTITIONER --as FILE",
		Short: "Extend a practitioner's validity, and say what changed",
		Long: `States a practitioner anew with a later end. A suspended one stays suspended ('resume' lifts that). --licence and --speciality
replace what stands behind the commitment; left out, they stay.`,
		Example: `
anamnesis practitioner renew 5f0c8a… --valid-for 8760h --licence "GMC 7081234 (2027)" \
    --as anamnesis-dev/members/northside-general-hospital.actor`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		id, err := protocol.ParsePractitionerID(args[0])
		if err != nil {
			return err
		}
		end, err := renewedUntil(until, validFor)
		if err != nil {
			return err
		}
		return c.renewPractitioner(ctx, id, end, licence, speciality)
	})
	f := cmd.Flags()
	f.DurationVar(&validFor, "valid-for", 365*24*time.Hour, "`HOW LONG` from now the credential counts")
	f.StringVar(&until, "until", "", "counts until this `TIME`, instead of --valid-for")
	f.StringVar(&licence, "licence", "", "the new `REFERENCE`")
	f.StringVar(&speciality, "speciality", "", "the new `TEXT`")
	cmd.MarkFlagsMutuallyExclusive("until", "valid-for")
	return cmd
}

func renewedUntil(until string, validFor time.Duration) (uint64, error) {
	if until != "" {
		return timeOf("--until", until)
	}
	if validFor <= 0 || validFor > 20*366*24*time.Hour {
		return 0, usage("--valid-for is more than nothing, and at most twenty years")
	}
	return now() + uint64(validFor.Milliseconds()), nil
}

func (c *cli) renewPractitioner(ctx context.Context, id protocol.PractitionerID, until uint64, licence, speciality string) error {
	m, err := c.member(ctx)
	if err != nil {
		return err
	}
	row, err := m.PractitionerName(ctx, m.identity(), id)
	if err != nil {
		return err
	}
	row.ValidUntil = until
	var name *api.PractitionerName
	if licence != "" || speciality != "" {
		if row.Name == nil || row.Name.Commitment() != row.Commitment {
			return failed("no-name", "the gateway does not have the name behind the commitment", "Ask the member's own gateway, with --gateway.")
		}
		name = row.Name
		name.Licence, name.Speciality = cmp.Or(licence, name.Licence), cmp.Or(speciality, name.Speciality)
	}
	status := protocol.PractitionerActive
	if row.Status == "suspended" {
		status = protocol.PractitionerSuspended
	}
	if err := m.SetPractitioner(ctx, m.identity(), row, status, name); err != nil {
		return err
	}
	if row, err = m.PractitionerName(ctx, m.identity(), id); err != nil {
		return err
	}
	v := viewOf(row, namesOf(m.Client, nil))
	return c.show(v, func(out io.Writer) {
		fmt.Fprintf(out, "%s counts until %s UTC; standing: %s.\n", personName(row), when(v.ValidUntil), v.standing())
	})
}
