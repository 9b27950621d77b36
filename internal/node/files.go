package node

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (n *Node) openVault() (err error) {
	n.vault, err = vault.Open(n.ctx, filepath.Join(n.cfg.Dir, "vault"), vault.Options{Admit: n.admitFile, AwaitErasures: true, Now: n.cfg.Clock})
	if err != nil {
		return err
	}
	n.replicator = vault.NewReplicator(n.vault, index{n}, cluster{n}, vault.ReplicatorOptions{Log: n.log})
	n.app.onFiles = n.replicator.Wake
	return nil
}

// index tells the vault what should exist: the files of the ledger's record entries, in the log's order; and what should not any more: when the
// entry comes by which an erasure is through, the files of its records again. It implements vault.Index.
type index struct{ n *Node }

// indexCursor is where an index goes on: at an entry, and within an erasure's after a record.
type indexCursor struct {
	at    uint64
	after protocol.RecordID
}

func (c indexCursor) String() string {
	if c.after.IsZero() {
		return strconv.FormatUint(c.at, 10)
	}
	return strconv.FormatUint(c.at, 10) + "." + c.after.String()
}

func parseCursor(s string) (c indexCursor) {
	at, after, _ := strings.Cut(s, ".")
	c.at, _ = strconv.ParseUint(at, 10, 64)
	c.after, _ = protocol.ParseRecordID(after)
	return c
}

func (x index) Files(ctx context.Context, cursor string, limit int) (page []vault.File, next string, err error) {
	c := parseCursor(cursor)
	view, err := x.n.ledger.View()
	if err != nil {
		return nil, cursor, err
	}
	defer view.Close()
	var bad error
	err = view.Entries(c.at, func(s ledger.Stored) bool {
		switch s.Entry.Type {
		case protocol.TypeAddRecord:
			var a protocol.AddRecord
			if bad = protocol.Decode(s.Entry.Action, &a); bad != nil {
				return false
			}
			var file vault.File
			if file, bad = x.added(ctx, view, s.Index, &a); bad != nil {
				return false
			}
			page = append(page, file)
		case protocol.EventRecordsErased:
			c.at = s.Index
			for len(page) < limit && ctx.Err() == nil {
				var more bool
				if page, more, bad = x.erased(ctx, view, s, &c.after, page, limit); bad != nil {
					return false
				}
				if !more {
					break
				}
			}
			if !c.after.IsZero() {
				return false // the rest of this erasure is for the next page
			}
		}
		if reason, given := reasonOf(s.Entry); given {
			page = append(page, vault.File{Hash: reason, Size: protocol.ReasonFileBytes})
		}
		c = indexCursor{at: s.Index + 1}
		return len(page) < limit && ctx.Err() == nil
	})
	if err = errors.Join(err, bad, ctx.Err()); err != nil {
		return nil, cursor, err
	}
	return page, c.String(), nil
}

// newEntries is how far behind the ledger's head an entry may lie and still count as new: of a record that is erased soon after, the entry by
// which it is comes after it, so that there is no need to ask the ledger about each new record.
const newEntries = 4096

// added is a record's file as its entry tells, or that it is erased by now.
func (x index) added(ctx context.Context, view *ledger.View, at uint64, a *protocol.AddRecord) (vault.File, error) {
	file := vault.File{Hash: a.Ciphertext, Size: int64(a.Size)}
	if at+newEntries > view.Head.Size {
		return file, nil
	}
	row, ok, err := journal.Record(view, a.Record)
	if err != nil || !ok || row.Erased == 0 {
		return file, err
	}
	n := journal.Named{ID: a.Record, Row: row}
	by, err := journal.Gone(view, n)
	if err == nil && !by.IsZero() {
		file.Erased, err = x.n.ownsFile(ctx, n)
		file.Unwanted = !file.Erased
	}
	return file, err
}

// erased adds files of an erasure to a page, those after a record; after is moved on, to zero at the end.
func (x index) erased(ctx context.Context, view *ledger.View, s ledger.Stored, after *protocol.RecordID, page []vault.File, limit int) ([]vault.File, bool, error) {
	var e protocol.RecordsErased
	if err := protocol.Decode(s.Entry.Action, &e); err != nil {
		return page, false, err
	}
	most := limit - len(page)
	list, err := journal.ErasedBy(view, e.Erasure, s.Entry.Journal, *after, most)
	if err != nil {
		return page, false, err
	}
	for _, n := range list {
		mine, err := x.n.ownsFile(ctx, n)
		if err != nil {
			return page, false, err
		}
		page = append(page, vault.File{Hash: n.Row.Ciphertext, Size: int64(n.Row.Size), Erased: mine, Unwanted: !mine})
		*after = n.ID
	}
	if len(list) < most {
		*after = protocol.RecordID{}
	}
	return page, len(list) == most, nil
}

// noReason is how a request's encoding ends that names none: its last field is 32 zero bytes.
var noReason = make([]byte, len(protocol.Hash{}))

// reasonOf is the sealed reason of a permitted break-glass access. What was refused leaves none: its file is swept like any left over.
func reasonOf(e protocol.Entry) (protocol.Hash, bool) {
	if e.Type != protocol.TypeRequestAccess || bytes.HasSuffix(e.Action, noReason) {
		return protocol.Hash{}, false
	}
	var a protocol.RequestAccess
	var out protocol.AccessOutcome
	if protocol.Decode(e.Action, &a) != nil || protocol.Decode(e.Outcome, &out) != nil {
		return protocol.Hash{}, false
	}
	return a.Reason, out.Permitted && !a.Reason.IsZero()
}

const (
	sweepInterval = time.Hour
	// uploadGrace is how long an uploaded file may wait for its record's entry before it counts as left over.
	uploadGrace = time.Hour
)

// sweep removes files that were uploaded and never entered on the ledger.
func (n *Node) sweep(ctx context.Context) (vault.Swept, error) {
	var cursor string
	var broken error
	named := map[protocol.Hash]struct{}{}
	keep := func(h vault.Hash) bool {
		for broken == nil { // first what was entered since the last look
			page, next, err := (index{n}).Files(ctx, cursor, 1024)
			if broken = err; err != nil || len(page) == 0 {
				break
			}
			for _, f := range page {
				if named[f.Hash] = struct{}{}; f.Erased {
					delete(named, f.Hash)
				}
			}
			cursor = next
		}
		_, ok := named[h]
		return ok || broken != nil
	}
	swept, err := n.vault.Sweep(ctx, keep, uploadGrace)
	return swept, errors.Join(err, broken)
}

// cluster is who keeps files: the members that run nodes. It implements vault.Cluster.
type cluster struct{ n *Node }

func (c cluster) Self() protocol.MemberID { return c.n.member }

func (c cluster) Members() (out []protocol.MemberID) {
	for _, m := range c.n.cfg.Genesis.Members {
		if m.HasNode() {
			out = append(out, m.ID())
		}
	}
	return out
}

func (c cluster) Peer(id protocol.MemberID) vault.Peer {
	if p := c.n.peers[id]; p != nil {
		return p
	}
	return nil
}
