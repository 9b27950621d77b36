package consent

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Schema is the Cedar schema that every contract is checked against.
//
//go:embed schema.cedarschema
var Schema string

// Limits on a contract, beside protocol.ContractBytesMax for its canonical form. A change is a new protocol version.
const (
	SourceBytesMax = 16 << 10 // what Canonicalise reads: comments and layout included
	PoliciesMax    = 16       // policies a contract
	DepthMax       = 24       // nesting of brackets and of expressions
	NodesMax       = 512      // literals, variables and operators of a contract
	NumberMax      = 1<<53 - 1
	// EvaluationsMax bounds the policies that one DecideAll runs, over all contracts and resources that differ in what the contracts
	// ask for; beyond it everything is denied. About 40 ms of one core.
	EvaluationsMax = 1 << 14
)

// The entity types of the schema.
const (
	typeMember       cedar.EntityType = "Member"
	typePractitioner cedar.EntityType = "Practitioner"
	typeJournal      cedar.EntityType = "Journal"
	typeClass        cedar.EntityType = "Class"
	typeRecord       cedar.EntityType = "Record"
	typeRole         cedar.EntityType = "Role"
	typePurpose      cedar.EntityType = "Purpose"
	typeCredential   cedar.EntityType = "Credential"
	typeAction       cedar.EntityType = "Action"
)

// Action is what somebody wants to do with a record.
type Action uint8

// The actions.
const (
	ActionRead Action = 1 + iota
	ActionWrite
	ActionShare
)

var actionNames = []string{ActionRead: "read", ActionWrite: "write", ActionShare: "share"}

// Credential is the standing of whoever asks, as the registry has it at the time of the decision.
type Credential uint8

// The standings. Only an active one is ever let in.
const (
	CredentialActive Credential = 1 + iota
	CredentialExpired
	CredentialSuspended
)

var credentialNames = []string{CredentialActive: "active", CredentialExpired: "expired", CredentialSuspended: "suspended"}

// String is the word that Cedar uses.
func (a Action) String() string     { return word(actionNames, int(a)) }
func (c Credential) String() string { return word(credentialNames, int(c)) }

// Valid tells whether the number names something.
func (a Action) Valid() bool     { return a >= ActionRead && a <= ActionShare }
func (c Credential) Valid() bool { return c >= CredentialActive && c <= CredentialSuspended }

// ParseAction reads an action's word.
func ParseAction(s string) (Action, bool) {
	i := slices.Index(actionNames, s)
	return Action(max(i, 0)), i > 0
}

func word(names []string, i int) string {
	if i > 0 && i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

// words are the ids that an enumerated entity type may have, nil for the types whose ids are hexadecimal.
func words(t cedar.EntityType) []string {
	switch t {
	case typeRole:
		return texts(protocol.Roles())
	case typePurpose:
		return texts(protocol.Purposes())
	case typeCredential:
		return credentialNames[1:]
	case typeAction:
		return actionNames[1:]
	}
	return nil
}

func texts[E fmt.Stringer](list []E) (out []string) {
	for _, e := range list {
		out = append(out, e.String())
	}
	return out
}

// validator is cedar-go's strict validator over the embedded schema; a schema that does not resolve is a build mistake.
var validator = sync.OnceValue(func() *validate.Validator {
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	if err := s.UnmarshalCedar([]byte(Schema)); err != nil {
		panic(fmt.Sprintf("consent: the embedded schema does not parse: %v", err))
	}
	resolved, err := s.Resolve()
	if err != nil {
		panic(fmt.Sprintf("consent: the embedded schema does not resolve: %v", err))
	}
	return validate.New(resolved, validate.WithStrict())
})

// typeCheck runs the validator. Its messages come in the order of a map, so they are sorted: one source, one error.
func typeCheck(p *xast.Policy) error {
	err := validator().Policy("", p)
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n")
	slices.Sort(lines)
	return at(fail(ErrSchema, "%s", strings.Join(slices.Compact(lines), "; ")), p)
}

// at marks an error with the place where its policy begins: nodes of cedar-go's syntax tree have no place of their own.
func at(e *Error, p *xast.Policy) *Error {
	e.Line, e.Column = p.Position.Line, p.Position.Column
	return e
}
