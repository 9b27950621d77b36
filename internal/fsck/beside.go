package fsck

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// vault reads every file against its hash, and looks for the files of records that belong here. It goes by the folder and not through package
// vault, which puts corrupt copies aside: a check changes nothing.
func (c *check) vault(ctx context.Context) {
	dir := filepath.Join(c.dir, "vault")
	held := map[protocol.Hash]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return ctx.Err()
		}
		c.vaultFile(dir, path, held)
		return ctx.Err()
	})
	if err != nil && ctx.Err() == nil {
		c.find(Fault, "vault", "cannot be read: %v", err)
		return
	}
	c.missing(held)
}

// vaultFile looks at one file of the vault: class/first byte/hash.
func (c *check) vaultFile(dir, path string, held map[protocol.Hash]bool) {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		c.find(Fault, "vault", "%v", err)
		return
	}
	part := strings.Split(filepath.ToSlash(rel), "/")
	hash, err := protocol.ParseHash(part[len(part)-1])
	if err != nil || len(part) != 3 || part[1] != part[2][:2] {
		c.find(Note, "vault", "%s is none of the vault's files (a write that was cut off leaves one; the vault removes it)", rel)
		return
	}
	switch part[0] {
	case "files":
		c.report.Files++
		if got, err := hashFile(path); err != nil || got != hash {
			c.find(Fault, "vault", "file %s is damaged (a running node fetches it anew from another member)%s", hash, reason(err))
			return
		}
		held[hash] = true
	case "tombstones":
		if raw, err := os.ReadFile(path); err != nil || string(raw) != "anamnesis/vault/tombstone/v1 "+hash.String()+"\n" {
			c.find(Fault, "vault", "the tombstone of %s is damaged%s", hash, reason(err))
		}
	case "graves":
		if got, err := hashFile(path); err != nil || got != hash {
			c.find(Fault, "vault", "the list of tombstones %s is damaged%s", hash, reason(err))
		}
	case "quarantine":
		c.find(Note, "vault", "a damaged copy of %s is kept aside until a good one is back", hash)
	default:
		c.find(Note, "vault", "%s is none of the vault's files", rel)
	}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func hashFile(path string) (h protocol.Hash, err error) {
	f, err := os.Open(path)
	if err != nil {
		return h, err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return protocol.Hash(sum.Sum(nil)), err
}

// missing notes the files of records that belong on this member's vault and are not there.
func (c *check) missing(held map[protocol.Hash]bool) {
	if c.self.Key.IsZero() || !c.checked {
		return
	}
	var members []protocol.MemberID
	for _, m := range c.genesis.Members {
		if m.HasNode() {
			members = append(members, m.ID())
		}
	}
	live, attested := map[protocol.Hash]bool{}, map[protocol.Hash]protocol.RecordID{}
	err := c.records(func(view *ledger.View, a *protocol.AddRecord) {
		gone, said, err := c.erased(view, a.Record)
		if err != nil {
			c.find(Fault, "ledger", "record %s: %v", a.Record, err)
			return
		}
		if gone {
			if said {
				attested[a.Ciphertext] = a.Record
			}
			return
		}
		live[a.Ciphertext] = true
		for _, id := range vault.Placement(a.Ciphertext, members, 3) {
			if id == c.self.ID() && !held[a.Ciphertext] {
				c.find(Note, "vault", "file %s of record %s belongs here and is not held; a running node fetches it", a.Ciphertext, a.Record)
			}
		}
	})
	if err != nil {
		c.find(Fault, "ledger", "%v", err)
	}
	for hash, record := range attested {
		if held[hash] && !live[hash] { // else another record names the same file
			c.find(Fault, "vault", "file %s of record %s is here; it was erased, and this member attested that it keeps no byte of it", hash, record)
		}
	}
}

// erased tells whether a record's file is to go, and whether this member has attested that it is gone here.
func (c *check) erased(view *ledger.View, id protocol.RecordID) (gone, attested bool, err error) {
	row, ok, err := journal.Record(view, id)
	if err != nil || !ok {
		return false, false, err
	}
	by, err := journal.Gone(view, journal.Named{ID: id, Row: row})
	if err != nil || by.IsZero() {
		return false, false, err
	}
	attested, err = journal.Attested(view, by, c.self.ID())
	return true, attested, err
}

// records visits the records' entries in the node's ledger.
func (c *check) records(fn func(*ledger.View, *protocol.AddRecord)) error {
	store, err := state.OpenPebble(filepath.Join(c.dir, "ledger"), state.PebbleOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	l, err := ledger.Open(store)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	view, err := l.View()
	if err != nil {
		return err
	}
	defer view.Close()
	for i := range view.Head.Size {
		s, err := view.Entry(i)
		if err != nil {
			return err
		}
		if s.Entry.Type != protocol.TypeAddRecord {
			continue
		}
		var a protocol.AddRecord
		if err := protocol.Decode(s.Entry.Action, &a); err != nil {
			return err
		}
		fn(view, &a)
	}
	return nil
}

// keys opens the node's keys and holds its share against the verification key on the ledger.
func (c *check) keys() {
	if c.Passphrase == "" {
		c.find(Note, "keys", "no passphrase given: keys and secrets were not opened")
		return
	}
	k, err := node.LoadKeys(filepath.Join(c.dir, "keys.age"), c.Passphrase)
	if err != nil {
		c.find(Fault, "keys", "%v", err)
		return
	}
	if !c.self.Key.IsZero() && !bytes.Equal(protocol.Encode(k.MemberOf(c.self.Kind, c.self.Name)), protocol.Encode(c.self)) {
		c.find(Fault, "keys", "they are not this member's")
	}
	if err := c.share(k); err != nil {
		c.find(Fault, "secrets", "%v", err)
	}
	names, err := os.ReadDir(filepath.Join(c.dir, "secrets"))
	if err != nil {
		c.find(Fault, "secrets", "%v", err)
		return
	}
	for _, e := range names {
		if err := node.CheckSecret(c.dir, k, e.Name()); err != nil {
			c.find(Fault, "secrets", "%v", err)
		}
	}
}

func (c *check) share(k *node.Keys) error {
	if !c.checked {
		return nil
	}
	store, err := state.OpenPebble(filepath.Join(c.dir, "ledger"), state.PebbleOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	l, err := ledger.Open(store)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	view, err := l.View()
	if err != nil {
		return err
	}
	defer view.Close()
	generation, err := keygen.ActiveGeneration(view)
	if err != nil || generation == 0 {
		return err
	}
	keys, _, err := keygen.Keys(view, generation)
	if err != nil {
		return err
	}
	share, err := k.Share(c.dir, generation)
	if err != nil {
		return fmt.Errorf("the share of generation %d: %w", generation, err)
	}
	key, err := keys.Key(share.Index)
	if err != nil || !key.Equal(share.VerificationKey()) {
		return errors.Join(err, fmt.Errorf("the share of generation %d is not the one that the ledger's verification key belongs to", generation))
	}
	return nil
}

// book reads every row of what the node alone knows.
func (c *check) book() {
	dir := filepath.Join(c.dir, "book")
	if !c.sound["book"] {
		return
	}
	s, err := state.OpenPebble(dir, state.PebbleOptions{ReadOnly: true})
	if err != nil {
		c.find(Fault, "book", "cannot be opened: %v", err)
		return
	}
	defer func() { _ = s.Close() }()
	if err := s.Scan(nil, nil, func(k, v []byte) (bool, error) { return true, node.CheckBookRow(k, v) }); err != nil {
		c.find(Fault, "book", "%v", err)
	}
}
