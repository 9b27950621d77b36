package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// book is what a node knows by itself, apart from the ledger: the releases of its custodian, the last checkpoint it cosigned, and the names
// of its practitioners. Rows: 'm' → member whose node it is, 'r' ‖ time ‖ access → release, 'c' → checkpoint text, 'p' ‖ practitioner → name
// (JSON).
type book struct{ store state.Store }

func (b book) set(key, value []byte) error {
	batch := b.store.NewBatch()
	defer func() { _ = batch.Close() }()
	if err := batch.Set(key, value); err != nil {
		return err
	}
	return batch.Commit(true)
}

// claim makes the folder the member's, or finds that it is another's.
func (b book) claim(member protocol.MemberID) error {
	owner, ok, err := b.store.Get([]byte{'m'})
	switch {
	case err != nil:
		return err
	case !ok:
		return b.set([]byte{'m'}, member[:])
	case !bytes.Equal(owner, member[:]):
		return fmt.Errorf("%w: of %x, the keys are of %s", ErrOtherMember, owner, member)
	}
	return nil
}

// record is custodian.Config.Record.
func (b book) record(r custodian.Released) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	key := append(append([]byte{'r'}, exec.Uint64(r.Time)...), r.Access[:]...)
	return b.set(key, raw)
}

// Load implements translog.CosignState.
func (b book) Load() (c2sp.Checkpoint, bool, error) {
	raw, ok, err := b.store.Get([]byte{'c'})
	if err != nil || !ok {
		return c2sp.Checkpoint{}, false, err
	}
	c, err := c2sp.ParseCheckpoint(string(raw))
	return c, err == nil, err
}

// Save implements translog.CosignState.
func (b book) Save(c c2sp.Checkpoint) error { return b.set([]byte{'c'}, []byte(c.Text())) }

func (b book) name(id protocol.PractitionerID) (out api.PractitionerName, ok bool, err error) {
	raw, ok, err := b.store.Get(append([]byte{'p'}, id[:]...))
	if err != nil || !ok {
		return out, false, err
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return out, false, fmt.Errorf("practitioner %s: %w", id, err)
	}
	return out, true, nil
}

func (b book) setName(id protocol.PractitionerID, n api.PractitionerName) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return b.set(append([]byte{'p'}, id[:]...), raw)
}

// bar keeps in mind that a file with this capsule must not come back: it was a record's that was erased. It need not be durable at once: a
// restart goes through the erasures again.
func (b book) bar(capsule protocol.Hash, record protocol.RecordID) error {
	batch := b.store.NewBatch()
	defer func() { _ = batch.Close() }()
	if err := batch.Set(append([]byte{'x'}, capsule[:]...), record[:]); err != nil {
		return err
	}
	return batch.Commit(false)
}

// barred is the record that a capsule is barred for.
func (b book) barred(capsule protocol.Hash) (id protocol.RecordID, ok bool, err error) {
	raw, ok, err := b.store.Get(append([]byte{'x'}, capsule[:]...))
	copy(id[:], raw)
	return id, ok, err
}

// CheckBookRow tells whether a row of a node's book can be what was written.
func CheckBookRow(key, value []byte) error {
	bad := func(err error) error { return fmt.Errorf("row %x: %w", key[:min(len(key), 24)], err) }
	switch {
	case len(key) == 1+8+16 && key[0] == 'r':
		var r custodian.Released
		if err := json.Unmarshal(value, &r); err != nil {
			return bad(err)
		}
	case len(key) == 1 && key[0] == 'm':
		if len(value) != len(protocol.MemberID{}) {
			return bad(errors.New("not a member's id"))
		}
	case len(key) == 1+32 && key[0] == 'x':
		if len(value) != len(protocol.RecordID{}) {
			return bad(errors.New("not a record's id"))
		}
	case len(key) == 1 && key[0] == 'c':
		if _, err := c2sp.ParseCheckpoint(string(value)); err != nil {
			return bad(err)
		}
	case len(key) == 1+16 && key[0] == 'p':
		var n api.PractitionerName
		if err := json.Unmarshal(value, &n); err != nil {
			return bad(err)
		}
	default:
		return bad(errors.New("no such kind of row"))
	}
	return nil
}
