package fsck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// replay executes all blocks into a fresh ledger in a temporary folder: each block's header must hold the app hash that the blocks before it
// make. At the height where the node's ledger stands, both stores must be equal row by row.
func (c *check) replay(ctx context.Context, chain *consensus.Chain, store state.Store) error {
	tmp, err := os.MkdirTemp("", "anamnesis-fsck-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	fresh, err := state.OpenPebble(filepath.Join(tmp, "ledger"), state.PebbleOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = fresh.Close() }()
	l, err := ledger.Open(fresh)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if _, err := l.Begin(protocol.Encode(c.genesis)); err != nil {
		return err
	}
	verifier := protocol.NewVerifier(4096)
	if c.head.Height == 0 {
		if err := c.compare(fresh, store); err != nil {
			return err
		}
	}
	for b, err := range chain.All() {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := node.Execute(l, verifier, b); err != nil {
			return fmt.Errorf("block %d: %w", b.Height, err)
		}
		c.report.Blocks++
		if b.Offences > 0 {
			c.find(Note, "engine", "block %d holds proof that a validator signed twice", b.Height)
		}
		if c.Progress != nil {
			c.Progress(c.name, b.Height, chain.Height())
		}
		if b.Height == c.head.Height {
			if err := c.compare(fresh, store); err != nil {
				return err
			}
		}
	}
	if !c.checked {
		return errors.New("the blocks do not reach the ledger's height")
	}
	return nil
}

// compare holds two stores against each other, row by row.
func (c *check) compare(want, have state.Store) error {
	next, stop := rows(want)
	defer stop()
	var wrong error
	err := have.Scan(nil, nil, func(k, v []byte) (bool, error) {
		c.report.Rows++
		key, value, ok := next()
		switch {
		case !ok:
			wrong = fmt.Errorf("a row that the blocks do not make: %x", clip(k))
		case !bytes.Equal(k, key):
			wrong = fmt.Errorf("row %x stands where the blocks make %x", clip(k), clip(key))
		case !bytes.Equal(v, value):
			wrong = fmt.Errorf("row %x is not what the blocks make", clip(k))
		}
		return wrong == nil, nil
	})
	if err != nil {
		return err
	}
	if wrong == nil {
		if key, _, ok := next(); ok {
			wrong = fmt.Errorf("row %x is missing", clip(key))
		}
	}
	c.checked = wrong == nil
	return wrong
}

func clip(b []byte) []byte { return b[:min(len(b), 48)] }

// rows walks a store page by page.
func rows(s state.Store) (next func() (key, value []byte, ok bool), stop func()) {
	type row struct{ k, v []byte }
	var page []row
	var from []byte
	done := false
	fill := func() {
		page = page[:0]
		_ = s.Scan(from, nil, func(k, v []byte) (bool, error) {
			page = append(page, row{bytes.Clone(k), bytes.Clone(v)})
			return len(page) < 4096, nil
		})
		if len(page) < 4096 {
			done = true
		}
		if len(page) > 0 {
			from = append(bytes.Clone(page[len(page)-1].k), 0)
		}
	}
	at := 0
	return func() ([]byte, []byte, bool) {
		if at == len(page) {
			if done {
				return nil, nil, false
			}
			fill()
			at = 0
			if len(page) == 0 {
				return nil, nil, false
			}
		}
		at++
		return page[at-1].k, page[at-1].v, true
	}, func() { page = nil }
}
