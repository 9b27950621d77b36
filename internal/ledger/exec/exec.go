// Package exec is what an action executes in: the block's height and time, the envelope's signer, and the tables of the state.
//
// Everything a family of actions may consult is in its Context; there is no clock, no network and no other input, so that the same
// blocks give the same state everywhere. A family states its tables with Table, one per kind of row.
//
// Three kinds of failure are kept apart. A protocol.Reason rejects or refuses what somebody asked. A broken invariant, or a store that
// cannot be read, stops the node: it travels as a panic of type Broken, which ledger.Apply turns into an error. Anything else that
// panics is a fault of the program.
package exec

import (
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Context is what one action of one envelope executes in.
type Context struct {
	Tx      *state.Tx // owned by ledger.Apply; rolled back as a whole if the envelope is rejected
	Chain   string
	Height  uint64
	Time    uint64 // UTC ms of the block
	Params  protocol.Params
	Cause   protocol.ActionID
	Index   int // which action of the envelope
	Signer  protocol.Signer
	Journal protocol.JournalID // zero: none named

	scratch []byte // for rows on their way into Tx, which copies them

	// Emit writes an event after the action's own entry, in the order of the calls.
	Emit func(Event)
}

// Event is an entry that the ledger writes by itself.
type Event struct {
	Type    protocol.ActionType
	Journal protocol.JournalID
	Body    any // one of protocol's event bodies
}

// Broken is a failure that must stop the node: an invariant that does not hold, or a store that cannot be read.
type Broken struct{ Err error }

func (b Broken) Error() string { return "ledger: broken: " + b.Err.Error() }

// Unwrap returns the cause.
func (b Broken) Unwrap() error { return b.Err }

// Break panics with Broken.
func Break(format string, args ...any) { panic(Broken{fmt.Errorf(format, args...)}) }

// Table is one kind of row. Rows are protocol structures in their canonical encoding; the key is the table's prefix and the parts of K.
type Table[V any] struct {
	Name   string
	Prefix byte
}

// Key is the row's key: the prefix followed by the parts, whose lengths are fixed by the table's documentation.
func (t Table[V]) Key(parts ...[]byte) []byte {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	k := make([]byte, 1, n)
	k[0] = t.Prefix
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

// Read gets a row from any reader; an error is a store failure or a row that does not decode.
func (t Table[V]) Read(r state.Reader, key []byte) (row V, ok bool, err error) {
	b, ok, err := r.Get(key)
	if err != nil || !ok {
		return row, false, err
	}
	row, err = t.decode(b)
	return row, err == nil, err
}

// ReadAll visits the rows whose keys begin with prefix, ascending, until fn returns false. The key is only valid during the call.
func (t Table[V]) ReadAll(r state.Reader, prefix []byte, fn func(key []byte, row V) bool) error {
	return r.Scan(prefix, after(prefix), func(k, v []byte) (bool, error) {
		row, err := t.decode(v)
		if err != nil {
			return false, err
		}
		return fn(k, row), nil
	})
}

func (t Table[V]) decode(b []byte) (row V, err error) {
	if err := protocol.Decode(b, &row); err != nil {
		return row, fmt.Errorf("table %s: %w", t.Name, err)
	}
	return row, nil
}

// Get reads a row while executing; a failure is Broken.
func (t Table[V]) Get(c *Context, key []byte) (V, bool) {
	row, ok, err := t.Read(c.Tx, key)
	if err != nil {
		panic(Broken{err})
	}
	return row, ok
}

// Has tells whether there is a row, without reading it; a failure is Broken.
func (t Table[V]) Has(c *Context, key []byte) bool {
	_, ok, err := c.Tx.Get(key)
	if err != nil {
		panic(Broken{err})
	}
	return ok
}

// Put writes a row.
func (t Table[V]) Put(c *Context, key []byte, row V) {
	c.scratch = protocol.AppendEncoding(c.scratch[:0], &row)
	c.Tx.Set(key, c.scratch)
}

// Delete removes a row.
func (t Table[V]) Delete(c *Context, key []byte) { c.Tx.Delete(key) }

// All visits rows while executing; a failure is Broken. fn must not write.
func (t Table[V]) All(c *Context, prefix []byte, fn func(key []byte, row V) bool) {
	if err := t.ReadAll(c.Tx, prefix, fn); err != nil {
		panic(Broken{err})
	}
}

// Uint64 is the big-endian form that keeps numbers in order within keys.
func Uint64(v uint64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(v >> (56 - 8*i))
	}
	return b
}

// ParseUint64 reads what Uint64 wrote.
func ParseUint64(b []byte) (v uint64) {
	for _, c := range b[:8] {
		v = v<<8 | uint64(c)
	}
	return v
}

// after is the first key beyond all keys with the prefix.
func after(prefix []byte) []byte {
	hi := append([]byte{}, prefix...)
	for i := len(hi) - 1; i >= 0; i-- {
		hi[i]++
		if hi[i] != 0 {
			return hi[:i+1]
		}
	}
	return nil
}
