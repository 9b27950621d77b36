package fsck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// vault reads every file against its hash, and looks for the files of records that belong here.
func (c *check) vault(ctx context.Context) {
	dir := filepath.Join(c.dir, "vault")
	if _, err := os.Stat(dir); err != nil {
		c.find(Fault, "vault", "the folder is missing")
		return
	}
	v, err := vault.Open(ctx, dir, vault.Options{})
	if err != nil {
		c.find(Fault, "vault", "cannot be opened: %v", err)
		return
	}
	defer func() { _ = v.Close() }()
	held := map[protocol.Hash]bool{}
	for cursor := ""; ; {
		page, next, err := v.List(ctx, cursor, 1000)
		if err != nil {
			c.find(Fault, "vault", "cannot be listed: %v", err)
			return
		}
		for _, f := range page {
			c.report.Files++
			if err := hashFile(ctx, v, f.Hash); err != nil {
				c.find(Fault, "vault", "file %s: %v (a running node fetches it anew from another member)", f.Hash, err)
				continue
			}
			held[f.Hash] = true
		}
		if cursor = next; next == "" {
			break
		}
	}
	c.missing(held)
}

func hashFile(ctx context.Context, v *vault.Vault, h protocol.Hash) error {
	body, _, err := v.Get(ctx, h)
	if err != nil {
		return err
	}
	return body.Close()
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
	err := c.records(func(a *protocol.AddRecord) {
		for _, id := range vault.Placement(a.Ciphertext, members, 3) {
			if id == c.self.ID() && !held[a.Ciphertext] {
				c.find(Note, "vault", "file %s of record %s belongs here and is not held; a running node fetches it", a.Ciphertext, a.Record)
			}
		}
	})
	if err != nil {
		c.find(Fault, "ledger", "%v", err)
	}
}

// records visits the records' entries in the node's ledger.
func (c *check) records(fn func(*protocol.AddRecord)) error {
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
		fn(&a)
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
	if !c.self.Key.IsZero() && node.Public(k.Validator) != c.self.Node.Validator {
		c.find(Fault, "keys", "they are not this member's")
	}
	if err := c.share(); err != nil {
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

func (c *check) share() error {
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
	share, err := node.ReadShare(c.dir, c.Passphrase, generation)
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
