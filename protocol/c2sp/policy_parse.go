package c2sp

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// The end date stands in a comment, which every reader of c2sp.org/tlog-policy
// skips and ours requires exactly once. Comments that start with
// "anamnesis-" are ours: an unknown or misspelt one is an error, so that no
// end date is lost to a typing mistake.
const (
	notAfterPrefix = "# anamnesis-not-after "
	ownComment     = "anamnesis-"
)

// ParsePolicy reads a policy file. Space, tabs, empty lines and comments are
// free as the specification has it; everything else is strict. The error is
// [ErrMalformed] or [ErrKeyType].
func ParsePolicy(text []byte) (*Policy, error) {
	if len(text) > PolicyBytesMax {
		return nil, malformed("policy", 0, "over %d bytes", PolicyBytesMax)
	}
	if len(text) == 0 || text[len(text)-1] != '\n' {
		return nil, malformed("policy", 0, "does not end with a newline")
	}
	var p policyParser
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		p.line = i + 1
		if err := p.parseLine(line); err != nil {
			return nil, err
		}
	}
	return &p.policy, p.policy.validate()
}

type policyParser struct {
	policy Policy
	line   int
}

func (p *policyParser) fail(format string, args ...any) error {
	return malformed("policy", p.line, format, args...)
}

func (p *policyParser) parseLine(line string) error {
	if strings.IndexFunc(line, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }) >= 0 {
		return p.fail("control character")
	}
	trimmed := strings.Trim(line, " \t")
	if strings.HasPrefix(trimmed, "#") {
		return p.parseComment(line)
	}
	fields := strings.FieldsFunc(trimmed, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(fields) == 0 {
		return nil
	}
	switch fields[0] {
	case "log":
		return p.parseLog(fields[1:])
	case "witness":
		return p.parseWitness(fields[1:])
	case "group":
		return p.parseGroup(fields[1:])
	case "quorum":
		return p.parseQuorum(fields[1:])
	default:
		return p.fail("unknown keyword %q", fields[0])
	}
}

func (p *policyParser) parseComment(line string) error {
	value, found := strings.CutPrefix(line, notAfterPrefix)
	if !found {
		if strings.HasPrefix(strings.TrimLeft(line, "# \t"), ownComment) {
			return p.fail("want %q and a time", notAfterPrefix)
		}
		return nil
	}
	t, err := time.Parse("2006-01-02T15:04:05Z", value)
	if err != nil || t.Year() < 1970 || formatTime(uint64(t.UnixMilli())) != value {
		return p.fail("want a time like 2027-01-31T00:00:00Z")
	}
	if p.policy.NotAfter != 0 {
		return p.fail("a second end date")
	}
	p.policy.NotAfter = uint64(t.UnixMilli())
	if p.policy.NotAfter == 0 {
		return p.fail("end date at the epoch")
	}
	return nil
}

func (p *policyParser) parseLog(f []string) error {
	if len(f) != 1 && len(f) != 2 {
		return p.fail("want log <vkey> [<url>]")
	}
	key, err := ParseVerifierKey(f[0])
	if err != nil {
		return err
	}
	p.policy.Logs = append(p.policy.Logs, PolicyLog{Key: key, URL: optional(f, 1)})
	return nil
}

func (p *policyParser) parseWitness(f []string) error {
	if len(f) != 2 && len(f) != 3 {
		return p.fail("want witness <name> <vkey> [<url>]")
	}
	key, err := ParseVerifierKey(f[1])
	if err != nil {
		return err
	}
	p.policy.Witnesses = append(p.policy.Witnesses, PolicyWitness{Name: f[0], Key: key, URL: optional(f, 2)})
	return nil
}

func (p *policyParser) parseGroup(f []string) error {
	if len(f) < 3 {
		return p.fail("want group <name> all|any|<k> <name>...")
	}
	g := PolicyGroup{Name: f[0], Members: slices.Clone(f[2:])}
	switch f[1] {
	case "all":
		g.Threshold = len(g.Members)
	case "any":
		g.Threshold = 1
	default:
		k, err := strconv.Atoi(f[1])
		if err != nil || strconv.Itoa(k) != f[1] {
			return p.fail("threshold %q is not all, any or a number", f[1])
		}
		g.Threshold = k
	}
	for _, m := range g.Members {
		if !p.policy.defines(m) {
			return p.fail("member %q is not defined on a line before", m)
		}
	}
	p.policy.Groups = append(p.policy.Groups, g)
	return nil
}

func (p *policyParser) parseQuorum(f []string) error {
	if len(f) != 1 {
		return p.fail("want quorum <name>")
	}
	if p.policy.Quorum != "" {
		return p.fail("a second quorum")
	}
	if f[0] == "none" {
		return p.fail("a policy without a quorum proves nothing")
	}
	if !p.policy.defines(f[0]) {
		return p.fail("quorum %q is not defined on a line before", f[0])
	}
	p.policy.Quorum = f[0]
	return nil
}

func optional(f []string, i int) string {
	if i < len(f) {
		return f[i]
	}
	return ""
}

func (p *Policy) defines(name string) bool {
	return slices.ContainsFunc(p.Witnesses, func(w PolicyWitness) bool { return w.Name == name }) ||
		slices.ContainsFunc(p.Groups, func(g PolicyGroup) bool { return g.Name == name })
}

// validate holds a policy, parsed or built, to every rule that is not a matter
// of spelling.
func (p *Policy) validate() error {
	switch {
	case p == nil:
		return malformed("policy", 0, "missing")
	case p.NotAfter == 0 || p.NotAfter > timeMillisMax || p.NotAfter%1000 != 0:
		return malformed("policy", 0, "no end date in whole seconds (%s…)", notAfterPrefix)
	case len(p.Logs) == 0 || len(p.Logs) > PolicyLogsMax:
		return malformed("policy", 0, "%d log lines, want 1 to %d", len(p.Logs), PolicyLogsMax)
	case len(p.Witnesses) == 0 || len(p.Witnesses) > PolicyWitnessesMax:
		return malformed("policy", 0, "%d witness lines, want 1 to %d", len(p.Witnesses), PolicyWitnessesMax)
	case len(p.Groups) > PolicyGroupsMax:
		return malformed("policy", 0, "over %d groups", PolicyGroupsMax)
	}
	if err := p.validateKeys(); err != nil {
		return err
	}
	return p.validateGroups()
}

func (p *Policy) validateKeys() error {
	public := make(map[string]bool)
	ids := make(map[Signature]bool)
	once := func(k VerifierKey) error {
		id := Signature{Name: k.Name, Hash: k.ID()}
		if public[k.public] || ids[id] {
			return malformed("policy", 0, "key %s stands twice; every log and cosigner has a key of its own", k.Name)
		}
		public[k.public], ids[id] = true, true
		return nil
	}
	for _, l := range p.Logs {
		if l.Key.Type != KeyEd25519 {
			return ErrKeyType{Type: l.Key.Type, Role: "log"}
		}
		if err := l.Key.validate(); err != nil {
			return err
		}
		if l.Key.Name != p.Origin() {
			return malformed("policy", 0, "log keys of two origins, %q and %q", p.Origin(), l.Key.Name)
		}
		if err := firstError(once(l.Key), checkURL(l.URL)); err != nil {
			return err
		}
	}
	for _, w := range p.Witnesses {
		if w.Key.Type != KeyCosignatureV1 {
			return ErrKeyType{Type: w.Key.Type, Role: "witness"}
		}
		if err := firstError(w.Key.validate(), once(w.Key), checkURL(w.URL)); err != nil {
			return err
		}
	}
	return nil
}

func (p *Policy) validateGroups() error {
	free := make(map[string]bool) // defined names; false once they are a member of a group
	define := func(name string) error {
		if _, taken := free[name]; taken || name == "none" {
			return malformed("policy", 0, "name %q is taken", name)
		}
		free[name] = true
		return checkKeyName(name)
	}
	for _, w := range p.Witnesses {
		if err := define(w.Name); err != nil {
			return err
		}
	}
	for _, g := range p.Groups {
		if g.Threshold < 1 || g.Threshold > len(g.Members) {
			return malformed("policy", 0, "group %q: threshold %d of %d", g.Name, g.Threshold, len(g.Members))
		}
		for _, m := range g.Members {
			if !free[m] {
				return malformed("policy", 0, "group %q: member %q is undefined or a member already", g.Name, m)
			}
			free[m] = false
		}
		if err := define(g.Name); err != nil {
			return err
		}
	}
	if _, defined := free[p.Quorum]; !defined {
		return malformed("policy", 0, "no quorum, or an undefined one")
	}
	return nil
}

func checkURL(url string) error {
	if len(url) > PolicyURLBytesMax {
		return malformed("policy", 0, "URL over %d bytes", PolicyURLBytesMax)
	}
	for _, c := range []byte(url) {
		if c <= ' ' || c == 0x7f || c == '#' {
			return malformed("policy", 0, "URL with a space, control character or #")
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
