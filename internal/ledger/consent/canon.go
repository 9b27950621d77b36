package consent

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Compiled is a contract's policies, ready to run. It is immutable and may be shared.
type Compiled struct {
	text     []byte
	hash     protocol.Hash
	policies []policy
	purposes []protocol.Purpose // that a permit names, ascending
}

// policy is one Cedar policy of a contract. id is its place in the canonical form.
type policy struct {
	id    cedar.PolicyID
	cedar *cedar.Policy
	tree  *xast.Policy
	asks  asks
	glass bool // speaks of breaking the glass
}

// treeOf is a policy's syntax tree in the types that can be walked.
func treeOf(p *cedar.Policy) *xast.Policy { return (*xast.Policy)(p.AST()) }

func (p policy) forbids() bool { return p.tree.Effect == xast.EffectForbid }

// Canonical is the text that was compiled; the caller must not change it.
func (c *Compiled) Canonical() []byte { return c.text }

// Labels lists the classes that the contract names, each once, ascending.
func (c *Compiled) Labels() (out []protocol.Label) {
	const before = string(typeClass) + `::"`
	for rest := c.text; ; {
		_, after, found := bytes.Cut(rest, []byte(before))
		if !found {
			slices.SortFunc(out, func(a, b protocol.Label) int { return bytes.Compare(a[:], b[:]) })
			return slices.Compact(out)
		}
		id, _, _ := bytes.Cut(after, []byte(`"`))
		if l, err := protocol.ParseLabel(string(id)); err == nil {
			out = append(out, l)
		}
		rest = after
	}
}

// Permits tells whether the contract lets anybody do this.
func (c *Compiled) Permits(a Action) bool {
	uid := cedar.NewEntityUID(typeAction, cedar.String(a.String()))
	return slices.ContainsFunc(c.policies, func(p policy) bool {
		return !p.forbids() && matches(p.tree.Action, uid, func(cedar.EntityUID) bool { return false })
	})
}

// Forbids tells whether the contract closes anything.
func (c *Compiled) Forbids() bool { return slices.ContainsFunc(c.policies, policy.forbids) }

// Hash is SHA-256 of the canonical text.
func (c *Compiled) Hash() protocol.Hash { return c.hash }

// Canonicalise turns Cedar source into the form that is signed and stored. Comments, annotations and layout go; policies and lists
// are sorted, each element once; everything else keeps its order. The form is Cedar itself, so that any Cedar tool reads what the
// ledger holds. Canonicalise(Canonicalise(x)) == Canonicalise(x). The error is an *Error of any kind but ErrNotCanonical.
func Canonicalise(source []byte) ([]byte, error) {
	if len(source) > SourceBytesMax {
		return nil, tooLarge("source bytes", len(source), SourceBytesMax)
	}
	policies, err := read(source)
	if err != nil {
		return nil, err
	}
	text := write(policies)
	if len(text) > protocol.ContractBytesMax {
		return nil, tooLarge("canonical bytes", len(text), protocol.ContractBytesMax)
	}
	if _, err := Compile(text); err != nil {
		return nil, fmt.Errorf("consent: a canonical form that does not compile: %w", err)
	}
	return text, nil
}

// Compile reads a contract in canonical form and refuses any other. The error is an *Error.
func Compile(canonical []byte) (*Compiled, error) {
	if len(canonical) > protocol.ContractBytesMax {
		return nil, tooLarge("canonical bytes", len(canonical), protocol.ContractBytesMax)
	}
	list, err := read(canonical)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(write(list), canonical) {
		return nil, fail(ErrNotCanonical, "layout, comments, order or grouping differ from what Canonicalise yields")
	}
	c := &Compiled{text: bytes.Clone(canonical), hash: sha256.Sum256(canonical)}
	for i, p := range list {
		c.policies = append(c.policies, policy{id: cedar.PolicyID(strconv.Itoa(i)), cedar: p, tree: treeOf(p), asks: asksOf(treeOf(p)), glass: speaksOfGlass(treeOf(p))})
	}
	c.purposes = purposesOf(c.policies)
	return c, nil
}

// read parses and checks: what it returns lies inside the subset and fits the schema.
func read(source []byte) (cedar.PolicyList, error) {
	if err := scan(source); err != nil {
		return nil, err
	}
	list, err := parse(source)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fail(ErrParse, "there is no policy")
	}
	if len(list) > PoliciesMax {
		return nil, tooLarge("policies", len(list), PoliciesMax)
	}
	nodes := 0
	for _, p := range list {
		if err := checkPolicy(treeOf(p), &nodes); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// write is the canonical form of checked policies: sorted lines, each once.
func write(list cedar.PolicyList) []byte {
	lines := make([]string, len(list))
	for i, p := range list {
		lines[i] = writePolicy(treeOf(p))
	}
	slices.Sort(lines)
	return []byte(strings.Join(slices.Compact(lines), "\n") + "\n")
}

// parse is cedar-go's parser, whose panics, should there be one for some input, are refusals of that input.
func parse(source []byte) (list cedar.PolicyList, err error) {
	defer func() {
		if r := recover(); r != nil {
			list, err = nil, fail(ErrParse, "the parser gave up")
		}
	}()
	if err := list.UnmarshalCedar(source); err != nil {
		return nil, parseError(err)
	}
	return list, nil
}

var parsePlace = regexp.MustCompile(`<input>:(\d{1,6}):(\d{1,6})`)

func parseError(err error) error {
	text := strings.TrimPrefix(err.Error(), "parser error: ")
	const charactersMax = 200
	if len(text) > charactersMax {
		text = strings.ToValidUTF8(text[:charactersMax], "") + "…"
	}
	e := fail(ErrParse, "%s", text)
	if m := parsePlace.FindStringSubmatch(text); m != nil {
		line, errLine := strconv.Atoi(m[1])
		column, errColumn := strconv.Atoi(m[2])
		if errors.Join(errLine, errColumn) == nil {
			e.Line, e.Column = line, column
		}
	}
	return e
}

// scan bounds what the parser will meet: it recurses into brackets, chains of ! and -, and ifs, and takes quadratic time over a.b.c and
// A::B::C (seconds for "principal has a.a.a…" of a few kilobytes).
func scan(source []byte) error {
	if !utf8.Valid(source) {
		return fail(ErrParse, "the text is not UTF-8")
	}
	s := scanner{line: 1}
	for i := 0; i < len(source); {
		n := token(source[i:])
		if err := s.next(source[i : i+n]); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// token is the length of the comment, string, word or character at the start of b, which is not empty.
func token(b []byte) int {
	switch {
	case bytes.HasPrefix(b, []byte("//")):
		if n := bytes.IndexByte(b, '\n'); n >= 0 {
			return n
		}
		return len(b)
	case bytes.HasPrefix(b, []byte("/*")):
		if n := bytes.Index(b[2:], []byte("*/")); n >= 0 {
			return n + 4
		}
		return len(b)
	case b[0] == '"':
		for i := 1; i < len(b); i++ {
			switch b[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
		return len(b)
	case isWord(b[0]):
		n := 1
		for n < len(b) && isWord(b[n]) {
			n++
		}
		return n
	}
	return 1
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// scanner counts the nesting of what it is shown, token by token.
type scanner struct {
	line, brackets, ifs int
	signs               int // ! and - in a row
	path                int // . and : since the last token that cannot be in a path
}

func (s *scanner) next(tok []byte) error {
	s.line += bytes.Count(tok, []byte("\n"))
	switch c := tok[0]; {
	case c == '/', c == ' ', c == '\t', c == '\r', c == '\n':
		return nil
	case c == '!', c == '-':
		s.signs, s.path = s.signs+1, 0
	case c == '.', c == ':':
		s.signs, s.path = 0, s.path+1
	case isWord(c):
		s.signs = 0
		if string(tok) == "if" {
			s.ifs++
		}
	default:
		s.signs, s.path = 0, 0
	}
	switch tok[0] {
	case '(', '[', '{':
		s.brackets++
	case ')', ']', '}':
		s.brackets--
	case ';':
		s.ifs = 0
	}
	return s.check()
}

func (s *scanner) check() error {
	n := max(s.brackets, s.ifs, s.signs, s.path)
	if n <= DepthMax {
		return nil
	}
	e := tooLarge("nesting depth", n, DepthMax)
	e.Line, e.Column = s.line, 1
	return e
}

// purposesOf lists the purposes that permits name, which is where a denial can be explained by the purpose.
func purposesOf(policies []policy) (out []protocol.Purpose) {
	for _, p := range policies {
		if p.forbids() {
			continue
		}
		inspect(p.tree, func(n xast.IsNode) {
			var purpose protocol.Purpose
			if uid, ok := entityLiteral(n); ok && uid.Type == typePurpose && purpose.UnmarshalText([]byte(uid.ID)) == nil {
				out = append(out, purpose)
			}
		})
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// asks is what of a record beside its class and journal a policy's answer can depend on.
type asks struct{ record, author, recorded bool }

func (a asks) or(b asks) asks {
	return asks{record: a.record || b.record, author: a.author || b.author, recorded: a.recorded || b.recorded}
}

// asksOf finds that out. A record's id can be compared with nothing but itself and literals of its type.
func asksOf(p *xast.Policy) (a asks) {
	eq, ok := p.Resource.(xast.ScopeTypeEq)
	a.record = ok && eq.Entity.Type == typeRecord
	if in, ok := p.Resource.(xast.ScopeTypeIn); ok && in.Entity.Type == typeRecord {
		a.record = true
	}
	if in, ok := p.Resource.(xast.ScopeTypeIsIn); ok && in.Entity.Type == typeRecord {
		a.record = true
	}
	inspect(p, func(n xast.IsNode) {
		if uid, ok := entityLiteral(n); ok && uid.Type == typeRecord {
			a.record = true
		}
		if n, ok := n.(xast.NodeTypeAccess); ok {
			a.author = a.author || n.Value == "author"
			a.recorded = a.recorded || n.Value == "recorded"
		}
	})
	return a
}

// speaksOfGlass tells whether a policy names breaking the glass, as a purpose or as a circumstance.
func speaksOfGlass(p *xast.Policy) (yes bool) {
	inspect(p, func(n xast.IsNode) {
		if uid, ok := entityLiteral(n); ok && uid.Type == typePurpose && string(uid.ID) == protocol.PurposeBreakGlass.String() {
			yes = true
		}
		if n, ok := n.(xast.NodeTypeAccess); ok && n.Value == "breakglass" {
			yes = true
		}
	})
	return yes
}

// inspect visits every node of a policy's conditions.
func inspect(p *xast.Policy, visit func(xast.IsNode)) {
	for _, cond := range p.Conditions {
		xast.Inspect(xast.NewNode(cond.Body), func(n xast.IsNode) bool {
			visit(n)
			return true
		})
	}
}

func entityLiteral(n xast.IsNode) (cedar.EntityUID, bool) {
	v, ok := n.(xast.NodeValue)
	if !ok {
		return cedar.EntityUID{}, false
	}
	uid, ok := v.Value.(cedar.EntityUID)
	return uid, ok
}
