// Package fsck checks a stopped node's folder from the blocks up: every block against its hashes and signatures, the ledger by executing all
// blocks again from the genesis and comparing every row, and then what stands beside the ledger: vault, secrets, keys and the node's book.
// It changes nothing. What it cannot check it says.
package fsck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/notify"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Options of a check.
type Options struct {
	Dir        string // a development network's folder, or one node's
	Passphrase string // of a node's keys; a development network's is read from its folder. "": secrets are not opened
	// Progress, if not nil, hears how many blocks of a node were executed again, of how many.
	Progress func(node string, done, total uint64)
}

// Level says how bad a finding is.
type Level string

// The levels. A note is no fault: something to know, or that could not be checked.
const (
	Fault Level = "fault"
	Note  Level = "note"
)

// Finding is one thing that was found.
type Finding struct {
	Node   string `json:"node"`
	Level  Level  `json:"level"`
	Where  string `json:"where"` // ledger, engine, vault, secrets, keys, book, network
	Detail string `json:"detail"`
}

// Report is what a check found.
type Report struct {
	OK       bool      `json:"ok"` // no faults
	Chain    string    `json:"chain"`
	Nodes    int       `json:"nodes"`
	Blocks   uint64    `json:"blocks"`  // executed again, all nodes together
	Entries  uint64    `json:"entries"` // of the longest ledger
	Rows     int       `json:"rows"`    // compared, all nodes together
	Files    int       `json:"files"`   // of the vaults, read and hashed
	Findings []Finding `json:"findings"`
}

// ErrNoNode says that a folder holds neither a network nor a node.
var ErrNoNode = errors.New("the folder holds neither a network (network.json) nor a node (keys.age)")

// findingsMax bounds the findings of one node.
const findingsMax = 50

// Run checks a folder. The error is for what keeps it from checking at all; faults are in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	r := &Report{Findings: []Finding{}}
	g, names, pass, err := node.ReadDev(o.Dir)
	switch {
	case err == nil:
		if o.Passphrase == "" {
			o.Passphrase = pass
		}
		for _, problem := range node.CheckDev(o.Dir) {
			r.Findings = append(r.Findings, Finding{Node: "-", Level: Fault, Where: "network", Detail: problem.Error()})
		}
		heads := map[uint64]protocol.Hash{}
		for i, name := range names {
			c := &check{Options: o, report: r, name: name, dir: filepath.Join(o.Dir, "nodes", name), genesis: g, self: g.Members[i]}
			if err := c.run(ctx); err != nil {
				return nil, err
			}
			c.agree(heads)
		}
	case errors.Is(err, fs.ErrNotExist):
		c, err := single(o, r)
		if err != nil {
			return nil, err
		}
		if err := c.run(ctx); err != nil {
			return nil, err
		}
	case errors.Is(err, node.ErrOtherFiles):
		r.Findings = append(r.Findings, Finding{Node: "-", Level: Fault, Where: "network", Detail: err.Error()})
		return r, nil // nothing else can be read without the genesis
	default:
		return nil, err
	}
	r.Nodes = max(len(names), 1)
	r.OK = true
	for _, f := range r.Findings {
		r.OK = r.OK && f.Level != Fault
	}
	return r, nil
}

// single prepares the check of one node's folder: its genesis is the one its ledger holds.
func single(o Options, r *Report) (*check, error) {
	if _, err := os.Stat(filepath.Join(o.Dir, "keys.age")); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNoNode, o.Dir)
	}
	c := &check{Options: o, report: r, name: filepath.Base(o.Dir), dir: o.Dir}
	if sound, err := c.storage("ledger", filepath.Join(o.Dir, "ledger")); err != nil || !sound {
		return c, err
	}
	r.Findings, c.count = r.Findings[:0], 0 // run looks again
	store, err := state.OpenPebble(filepath.Join(o.Dir, "ledger"), state.PebbleOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	l, err := ledger.Open(store)
	if err != nil {
		c.find(Fault, "ledger", "cannot be read: %v", err)
		return c, nil
	}
	defer func() { _ = l.Close() }()
	g, ok := l.Genesis()
	if !ok {
		return nil, ledger.ErrNotBegun
	}
	c.genesis = g
	c.self = whose(o, g)
	return c, nil
}

// whose is the member whose keys lie in the folder, zero if they cannot be opened; keys says why.
func whose(o Options, g protocol.Genesis) protocol.Member {
	if k, err := node.LoadKeys(filepath.Join(o.Dir, "keys.age"), o.Passphrase); err == nil {
		for _, m := range g.Members {
			if m.Node.Validator == node.Public(k.Validator) {
				return m
			}
		}
	}
	return protocol.Member{}
}

// check is the check of one node.
type check struct {
	Options
	report  *Report
	name    string
	dir     string
	genesis protocol.Genesis
	self    protocol.Member // zero if not known
	count   int
	head    ledger.Head
	checked bool            // the ledger was executed again up to head
	sound   map[string]bool // the Pebble folders whose files are well: only these are opened
}

func (c *check) find(level Level, where, format string, args ...any) {
	if c.count++; c.count > findingsMax {
		return
	}
	c.report.Findings = append(c.report.Findings, Finding{Node: c.name, Level: level, Where: where, Detail: fmt.Sprintf(format, args...)})
}

func (c *check) run(ctx context.Context) (err error) {
	c.report.Chain = c.genesis.Chain
	c.sound = map[string]bool{}
	for _, part := range []string{"ledger", "book", "engine"} {
		dir := filepath.Join(c.dir, part)
		if part == "engine" {
			dir = filepath.Join(dir, "store")
		}
		if c.sound[part], err = c.storage(part, dir); err != nil {
			return err
		}
	}
	if c.sound["ledger"] {
		store, err := state.OpenPebble(filepath.Join(c.dir, "ledger"), state.PebbleOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		c.try("ledger", func() { c.ledger(ctx, store) })
		if err := store.Close(); err != nil {
			c.find(Fault, "ledger", "%v", err)
		}
	}
	c.try("engine", c.votes)
	c.try("vault", func() { c.vault(ctx) })
	c.try("keys", c.keys)
	c.try("book", c.book)
	c.try("gateway", func() {
		if err := notify.Check(ctx, filepath.Join(c.dir, "gateway")); err != nil && ctx.Err() == nil {
			c.find(Fault, "gateway", "%v", err)
		}
	})
	c.strangers()
	return ctx.Err()
}

// try makes a panic over what a folder holds a finding: a check that ends early says nothing of the rest.
func (c *check) try(where string, do func()) {
	if err := guard(func() error { do(); return nil }); err != nil {
		c.find(Fault, where, "%v", err)
	}
}

// ledger executes the blocks again and compares.
func (c *check) ledger(ctx context.Context, store state.Store) {
	l, err := ledger.Open(store)
	if err != nil {
		c.find(Fault, "ledger", "cannot be read: %v", err)
		return
	}
	defer func() { _ = l.Close() }()
	if g, ok := l.Genesis(); !ok {
		c.find(Note, "ledger", "the network has not begun here")
		return
	} else if !bytes.Equal(protocol.Encode(g), protocol.Encode(c.genesis)) {
		c.find(Fault, "ledger", "holds another network's genesis")
		return
	}
	c.head = l.Head()
	c.report.Entries = max(c.report.Entries, c.head.Size)
	if err := l.Check(); err != nil {
		c.find(Fault, "ledger", "%v", err)
	}
	if !c.sound["engine"] {
		return
	}
	dir := filepath.Join(c.dir, "engine")
	chain, err := consensus.Blocks(dir, node.EngineGenesis(c.genesis))
	if err != nil {
		c.find(Fault, "engine", "%v", err)
		return
	}
	defer func() {
		if err := chain.Close(); err != nil {
			c.find(Fault, "engine", "%v", err)
		}
	}()
	if err := chain.CheckFiles(dir); err != nil {
		c.find(Fault, "engine", "%v", err)
	}
	switch h := chain.Height(); {
	case h < c.head.Height:
		c.find(Fault, "engine", "the blocks end at %d, the ledger is at %d: blocks were lost", h, c.head.Height)
	case h > c.head.Height:
		c.find(Note, "ledger", "is at block %d of %d; the node executes the rest again when it starts (it was not stopped cleanly)", c.head.Height, h)
	}
	if err := c.replay(ctx, chain, store); err != nil {
		c.find(Fault, "ledger", "%v", err)
	}
}

// agree compares the ledgers of several nodes at the heights where they stand.
func (c *check) agree(heads map[uint64]protocol.Hash) {
	if !c.checked {
		return
	}
	if other, ok := heads[c.head.Height]; ok && other != c.head.AppHash {
		c.find(Fault, "ledger", "another node has a different state at block %d", c.head.Height)
	}
	heads[c.head.Height] = c.head.AppHash
}
