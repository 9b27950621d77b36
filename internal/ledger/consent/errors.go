package consent

import (
	"errors"
	"fmt"
)

// Why a contract is refused. Every error of Canonicalise, Compile, Render and Explain is an *Error that wraps one of these.
var (
	ErrParse        = errors.New("this is not Cedar")
	ErrSchema       = errors.New("the contract does not fit the schema")
	ErrTooLarge     = errors.New("the contract is too large")
	ErrFreeText     = errors.New("the contract holds text of its own")
	ErrNotCanonical = errors.New("the contract is not in canonical form")
	ErrTemplate     = errors.New("the template does not fit these parameters")
)

// Error says what is wrong with a contract, and where. Message may quote the source and is for its writer, never for the ledger.
type Error struct {
	Kind      error  // one of the sentinels above
	Line      int    // from 1; 0 when unknown
	Column    int    // from 1, in characters
	Message   string // what to change
	What      string // for ErrTooLarge: what is counted, unit last
	Have, Max int    // for ErrTooLarge
}

func (e *Error) Error() string {
	where := ""
	if e.Line > 0 {
		where = fmt.Sprintf(" (line %d, column %d)", e.Line, e.Column)
	}
	return fmt.Sprintf("%v%s: %s", e.Kind, where, e.Message)
}

// Unwrap is the kind, for errors.Is.
func (e *Error) Unwrap() error { return e.Kind }

func fail(kind error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

func tooLarge(what string, have, limit int) *Error {
	e := fail(ErrTooLarge, "%s %d, at most %d", what, have, limit)
	e.What, e.Have, e.Max = what, have, limit
	return e
}
