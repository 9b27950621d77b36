package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// grantFlags are what `consent grant` is told.
type grantFlags struct {
	template, cedar, to          string
	classes, exceptClasses       []string
	records, exceptRecords       []string
	authors, exceptAuthors       []string
	purposes, actions            []string
	from, till, begin, end, note string
	window                       time.Duration
	uses                         int
	breakGlass, dry              bool
}

func (c *cli) consentGrant() *cobra.Command {
	f := grantFlags{uses: -1}
	cmd := c.command(&cobra.Command{
		Use:   "grant",
		Short: "Make a contract from a template, or from your own Cedar",
		Long: `Makes a contract: you sign it, it runs by itself, and it ends by itself. It is shown in plain words first.

--to says whom:   practitioner:ID          one person, by the id that 'practitioner register' shows
                  role:ROLE@MEMBER         everybody there in that role, such as role:physician@northside-general-hospital
                  member:MEMBER            everybody there, and the organisation itself

What is left out does not limit. --class, --record, --author and --from/--before narrow what may be read; --except-… closes
things to the same people whatever other contracts say. Times are RFC 3339 or dates, in UTC.

With --cedar FILE the contract is your own: one or more Cedar policies, in which Class::"allergies" and
Member::"northside-general-hospital" stand for the ids (docs/spec/consent.md says what policies can speak of).`,
		Example: `
anamnesis consent grant --template emergency-24h --to role:emergency-physician@northside-general-hospital \
    --class allergies,medications
anamnesis consent grant --template second-opinion --to practitioner:5f0c…  --class imaging --window 72h --uses 2
anamnesis consent grant --cedar terms.cedar --window 24h`,
	}, func(ctx context.Context, _ []string) error { return c.grant(ctx, f) })
	v := cmd.Flags()
	v.StringVar(&f.template, "template", "", "`NAME` of a template; see `consent templates`")
	v.StringVar(&f.cedar, "cedar", "", "own policies in `FILE`, instead of a template")
	v.StringVar(&f.to, "to", "", "`WHOM`: practitioner:ID, role:ROLE@MEMBER or member:MEMBER")
	v.StringSliceVar(&f.classes, "class", nil, "only these `CLASSES`")
	v.StringSliceVar(&f.records, "record", nil, "only these `RECORDS` (with --class: these too)")
	v.StringSliceVar(&f.authors, "author", nil, "only what these `MEMBERS` wrote")
	v.StringVar(&f.from, "from", "", "only what was recorded from this `TIME` on")
	v.StringVar(&f.till, "before", "", "only what was recorded before this `TIME`")
	v.StringSliceVar(&f.exceptClasses, "except-class", nil, "close these `CLASSES` to them")
	v.StringSliceVar(&f.exceptRecords, "except-record", nil, "close these `RECORDS` to them")
	v.StringSliceVar(&f.exceptAuthors, "except-author", nil, "close to them what these `MEMBERS` wrote")
	v.StringSliceVar(&f.purposes, "purpose", nil, "only for these `PURPOSES` of the template's")
	v.StringSliceVar(&f.actions, "action", nil, "only these `ACTIONS` of the template's: read, write, share")
	v.BoolVar(&f.breakGlass, "break-glass-only", false, "only for somebody who declares an emergency")
	v.DurationVar(&f.window, "window", 0, "`HOW LONG` from its beginning: 2s, 24h, 720h (default the template's)")
	v.StringVar(&f.begin, "begin", "", "begins at this `TIME` (default at once)")
	v.StringVar(&f.end, "until", "", "ends at this `TIME`, instead of --window")
	v.IntVar(&f.uses, "uses", -1, "`N` accesses at most, 0 for no limit (default the template's)")
	v.StringVar(&f.note, "note", "", "a note to yourself, kept in the wallet alone")
	v.BoolVar(&f.dry, "dry-run", false, "show the contract and its Cedar, sign nothing")
	cmd.MarkFlagsMutuallyExclusive("template", "cedar")
	cmd.MarkFlagsOneRequired("template", "cedar")
	cmd.MarkFlagsMutuallyExclusive("window", "until")
	return cmd
}

// grantView is what was granted, or would be.
type grantView struct {
	Contract    *protocol.ContractID `json:"contract,omitempty"`
	Template    string               `json:"template"`
	NotBefore   uint64               `json:"not_before_ms"`
	NotAfter    uint64               `json:"not_after_ms"`
	UsesMax     uint32               `json:"uses_max"`
	Policy      string               `json:"policy"`
	Explanation string               `json:"explanation"`
}

func (c *cli) grant(ctx context.Context, f grantFlags) error {
	p, err := c.patient(ctx)
	if err != nil {
		return err
	}
	policy, t, err := p.compose(ctx, f)
	if err != nil {
		return err
	}
	g := protocol.Grant{Template: t.Number, Policy: policy}
	if err := f.limit(&g, t); err != nil {
		return err
	}
	v := grantView{Template: templateName(t.Number), NotBefore: g.NotBefore, NotAfter: g.NotAfter, UsesMax: g.UsesMax, Policy: string(policy)}
	if v.Explanation, err = consent.Explain(policy, consent.Terms{NotBefore: g.NotBefore, NotAfter: g.NotAfter, UsesMax: g.UsesMax}, p.words(ctx)); err != nil {
		return err
	}
	if f.dry {
		return c.show(v, func(out io.Writer) { fmt.Fprint(out, wrap(v.Explanation, ""), "\n", v.Policy, "\n") })
	}
	if !c.json {
		fmt.Fprint(c.out, wrap(v.Explanation, "  "))
	}
	if isTerminal(c.in) && !c.json {
		if err := c.confirm("Sign this contract?"); err != nil {
			return err
		}
	}
	id, err := p.Grant(ctx, p.keys, g)
	if err != nil {
		return err
	}
	v.Contract = &id
	if err := c.remember(p, wallet.Contract{ID: id, Journal: p.journal.ID, Template: v.Template, Note: f.note, NotAfter: g.NotAfter}); err != nil {
		fmt.Fprintln(c.err, "note: the contract is made, but the wallet could not be written: "+printable(err.Error()))
	}
	return c.show(v, func(out io.Writer) {
		fmt.Fprintf(out, "Contract %s stands. `anamnesis consent revoke %s` withdraws it.\n", id, short(id))
	})
}

// remember keeps a note about a contract in the wallet, if there is something to remember; notes of what ended long ago make room.
func (c *cli) remember(p *patient, note wallet.Contract) error {
	if note.Note == "" {
		return nil
	}
	notes := p.purse.Contracts
	for len(notes) >= wallet.ContractsMax {
		notes = notes[1:]
	}
	p.purse.Contracts = append(notes, note)
	return c.save(p.purse)
}

// compose makes the canonical policies, and the template they come from.
func (p *patient) compose(ctx context.Context, f grantFlags) ([]byte, consent.Template, error) {
	h := p.keys.Handle()
	known := namesOf(p.Client, &h)
	if f.cedar != "" {
		if err := f.onlyCedar(); err != nil {
			return nil, consent.Template{}, err
		}
		source, err := readSource(f.cedar)
		if err != nil {
			return nil, consent.Template{}, err
		}
		if source, err = fillIn(source, h, known); err != nil {
			return nil, consent.Template{}, err
		}
		policy, err := consent.Canonicalise(source)
		return policy, consent.Template{Number: consent.CustomNumber}, err
	}
	if _, ok := consent.TemplateNamed(f.template); !ok {
		_, t, err := consent.Render(f.template, consent.Params{})
		return nil, t, err
	}
	params, err := p.params(ctx, f, h, known)
	if err != nil {
		return nil, consent.Template{}, err
	}
	return consent.Render(f.template, params)
}

func (f grantFlags) onlyCedar() error {
	if f.to != "" || len(f.classes)+len(f.records)+len(f.authors)+len(f.exceptClasses)+len(f.exceptRecords)+len(f.exceptAuthors)+len(f.purposes)+len(f.actions) > 0 ||
		f.from != "" || f.till != "" || f.breakGlass {
		return usage("with --cedar the policies say whom and what: only --window, --until, --begin, --uses and --note go with it")
	}
	if f.window == 0 && f.end == "" {
		return usage("say how long your own contract lasts: --window or --until")
	}
	return nil
}

func readSource(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, consent.SourceBytesMax+1)) // one more: Canonicalise says that it is too large
}

var (
	named = regexp.MustCompile(`\b(Class|Member)::"([^"\\]{1,64})"`)
	hexID = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// fillIn puts ids where a policy names classes and members by their words.
func fillIn(source []byte, h protocol.Handle, known *names) ([]byte, error) {
	var errs []error
	out := named.ReplaceAllStringFunc(string(source), func(s string) string {
		m := named.FindStringSubmatch(s)
		if hexID.MatchString(m[2]) {
			return s
		}
		id := ""
		if m[1] == "Class" {
			class, err := classes(m[2:3])
			if err != nil {
				errs = append(errs, err)
				return s
			}
			id = h.Label(string(class[0])).String()
		} else {
			member, err := known.findMember(m[2])
			if err != nil {
				errs = append(errs, err)
				return s
			}
			id = member.ID.String()
		}
		return m[1] + `::"` + id + `"`
	})
	return []byte(out), errors.Join(errs...)
}

// params turns flags into a template's parameters.
func (p *patient) params(ctx context.Context, f grantFlags, h protocol.Handle, known *names) (out consent.Params, err error) {
	if t, ok := consent.TemplateNamed(f.template); f.to != "" || !ok || len(t.Roles) == 0 { // a template with roles is for whoever has them
		if out.Grantee, err = grantee(f.to, known); err != nil {
			return out, err
		}
	}
	of := func(texts []string) []protocol.Label {
		var list []fhir.Class
		if err == nil {
			list, err = classes(texts)
		}
		return labelsOf(h, list)
	}
	members := func(texts []string) (ids []protocol.MemberID) {
		for _, text := range texts {
			var m api.Member
			if err == nil {
				m, err = known.findMember(text)
			}
			ids = append(ids, m.ID)
		}
		return ids
	}
	out.Labels, out.ExceptLabels = of(f.classes), of(f.exceptClasses)
	out.Authors, out.ExceptAuthors = members(f.authors), members(f.exceptAuthors)
	if err != nil {
		return out, err
	}
	if out.Records, err = p.findRecords(ctx, f.records); err != nil {
		return out, err
	}
	if out.ExceptRecords, err = p.findRecords(ctx, f.exceptRecords); err != nil {
		return out, err
	}
	for _, text := range f.purposes {
		purpose, err := purposeOf(text)
		if err != nil {
			return out, err
		}
		out.Purposes = append(out.Purposes, purpose)
	}
	for _, text := range f.actions {
		a, ok := consent.ParseAction(text)
		if !ok {
			return out, usage("there is no action %q: there are read, write and share", printable(text))
		}
		out.Actions = append(out.Actions, a)
	}
	out.BreakGlassOnly = f.breakGlass
	if out.RecordedFrom, err = timeOf("--from", f.from); err != nil {
		return out, err
	}
	out.RecordedTo, err = timeOf("--before", f.till)
	return out, err
}

func purposeOf(text string) (p protocol.Purpose, err error) {
	if p.UnmarshalText([]byte(strings.ToUpper(text))) != nil {
		f := usage("there is no purpose %q", printable(text))
		f.Detail = "There are " + purposeList(protocol.Purposes()) + " (HL7 v3-ActReason)."
		return p, f
	}
	return p, nil
}

// grantee reads --to.
func grantee(to string, known *names) (g consent.Grantee, err error) {
	kind, rest, _ := strings.Cut(to, ":")
	switch kind {
	case "practitioner":
		g.Practitioner, err = protocol.ParsePractitionerID(strings.TrimSpace(rest))
	case "member":
		var m api.Member
		m, err = known.findMember(rest)
		g.Member = m.ID
	case "role":
		role, at, ok := strings.Cut(rest, "@")
		var r protocol.Role
		if !ok || r.UnmarshalText([]byte(role)) != nil {
			var all []string
			for _, r := range protocol.Roles() {
				all = append(all, r.String())
			}
			f := usage("%q is not ROLE@MEMBER", printable(rest))
			f.Detail = "The roles are " + strings.Join(all, ", ") + "."
			return g, f
		}
		var m api.Member
		m, err = known.findMember(at)
		g.Member, g.Roles = m.ID, []protocol.Role{r}
	default:
		err = usage("say whom: --to practitioner:ID, role:ROLE@MEMBER or member:MEMBER")
	}
	return g, err
}

// findRecords finds the patient's records by the beginnings of their ids.
func (p *patient) findRecords(ctx context.Context, texts []string) (out []protocol.RecordID, err error) {
	if len(texts) == 0 {
		return nil, nil
	}
	rows, err := p.Records(ctx, p.keys)
	if err != nil {
		return nil, err
	}
	var ids []protocol.RecordID
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	for _, text := range texts {
		id, err := pick("record", text, ids)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// limit sets the window and the uses.
func (f grantFlags) limit(g *protocol.Grant, t consent.Template) (err error) {
	if g.NotBefore, err = timeOf("--begin", f.begin); err != nil {
		return err
	}
	if g.NotAfter, err = timeOf("--until", f.end); err != nil {
		return err
	}
	if f.window < 0 || f.window > protocol.ContractWindowMillisMax*time.Millisecond {
		return usage("a contract lasts from an instant to ten years")
	}
	window := uint64(f.window.Milliseconds())
	if window == 0 {
		window = t.WindowMillis
	}
	if g.NotAfter == 0 {
		g.NotAfter = max(g.NotBefore, now()) + window
	}
	if g.NotAfter <= max(g.NotBefore, now()) {
		return usage("the contract would be over before it begins")
	}
	switch {
	case f.uses < -1 || f.uses > protocol.ContractUsesMax:
		return usage("--uses is a number up to %d; 0 is no limit", protocol.ContractUsesMax)
	case f.uses >= 0:
		g.UsesMax = uint32(f.uses)
	default:
		g.UsesMax = t.UsesMax
	}
	return nil
}

// timeOf reads RFC 3339, a date, or a date with a time, in UTC; "" is 0.
func timeOf(flag, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	for _, layout := range []string{time.RFC3339Nano, timeLayout, "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil && t.UnixMilli() > 0 {
			return uint64(t.UnixMilli()), nil
		}
	}
	return 0, usage("%s %q is not a time: write 2026-11-23, 2026-11-23T18:00:00 or RFC 3339, in UTC", flag, printable(text))
}
