package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// What this node does for erasures: its vault serves nothing before it has deleted what was erased while it was away; what is erased from then
// on it deletes, and says so on the ledger.

const (
	erasuresLook = 100 * time.Millisecond // between looks whether the ledger has caught up
	sizeWait     = 3 * time.Second        // for the other nodes' answers
	attestLook   = 5 * time.Second        // between looks for what is left to attest, besides those after each block
	attestAgain  = time.Minute            // after which an erasure's files are looked at once more
	attestAtOnce = 16                     // erasures
	erasedPage   = vault.DeleteFilesMax   // records whose files are deleted in one go
	ownAtOnce    = 16                     // files looked at
)

// applyErasures waits until this node's ledger has caught up with a quorum's, deletes what it says is erased, and lets the vault serve. It
// fails closed: a node that cannot reach a quorum cannot know what was erased, and serves no files. False: the node stops.
func (n *Node) applyErasures(ctx context.Context) bool {
	target, known := uint64(0), false
	for first := true; ; first = false {
		if !known {
			target, known = n.quorumSize(ctx)
		}
		if known && n.ledger.Head().Size >= target {
			err := n.replicator.Recover(ctx)
			if err == nil {
				return true
			}
			if ctx.Err() == nil {
				n.log.Error("what was erased could not be deleted; the vault does not serve", "error", err)
			}
		} else if first {
			n.log.Info("the vault waits for what was erased in the meantime")
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(erasuresLook):
		}
	}
}

// quorumSize asks the other nodes how many entries their ledgers have by now, and gives the largest answer once a quorum, this node included, has
// answered: of those who agreed on any block, an honest one is among them.
func (n *Node) quorumSize(ctx context.Context) (uint64, bool) {
	ctx, cancel := context.WithTimeout(ctx, sizeWait)
	defer cancel()
	peers := n.peerList()
	answers := make(chan uint64, len(peers))
	var all sync.WaitGroup
	for _, p := range peers {
		all.Go(func() {
			if size, err := p.size(ctx); err == nil {
				answers <- size
			}
		})
	}
	all.Wait()
	close(answers)
	largest, have := n.ledger.Head().Size, 1
	for size := range answers {
		largest, have = max(largest, size), have+1
	}
	return largest, have >= threshold.Threshold(len(n.cluster()))
}

// size asks a node how many entries its ledger has.
func (p *peer) size(ctx context.Context) (size uint64, err error) {
	res, err := p.do(ctx, http.MethodGet, "/size", nil, -1)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	return size, json.NewDecoder(io.LimitReader(res.Body, 64)).Decode(&size)
}

func (n *Node) serveSize(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, "%d\n", n.ledger.Head().Size)
}

// ownsFile tells whether the file that an erased record names is here and was made for this record: by its capsule. An author can name any
// hash; an erasure of a record that names another's file must not take that. A file of the record's own that is not here is barred from coming.
func (n *Node) ownsFile(ctx context.Context, r journal.Named) (bool, error) {
	header, err := n.vault.Header(ctx, r.Row.Ciphertext)
	if errors.Is(err, vault.ErrNotFound) {
		if err := n.book.bar(r.Row.Capsule, r.ID); err != nil {
			return false, err
		}
		header, err = n.vault.Header(ctx, r.Row.Ciphertext) // it may have come just now
	}
	switch {
	case errors.Is(err, vault.ErrErased), errors.Is(err, vault.ErrCorrupt):
		return true, nil
	case errors.Is(err, vault.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	if capsule, err := wallet.CapsuleOf(header); err == nil && capsule != nil {
		if mine, err := n.madeFor(capsule, r); mine || err != nil {
			return mine, err
		}
	}
	// Its capsule is another one, or there is none: the copy is damaged, or it is something else that a record names, such as another's record or
	// the sealed reason of somebody's emergency.
	intact, err := n.vault.Intact(ctx, r.Row.Ciphertext)
	switch {
	case errors.Is(err, vault.ErrErased):
		return true, nil
	case errors.Is(err, vault.ErrNotFound):
		return false, nil
	}
	return !intact && err == nil, err
}

// madeFor tells whether a capsule was made for a record.
func (n *Node) madeFor(capsule *threshold.Capsule, r journal.Named) (bool, error) {
	if protocol.Hash(capsule.Hash()) != r.Row.Capsule {
		return false, nil
	}
	_, err := capsule.Verify(wallet.CapsuleLabel(n.ledger.Chain(), r.Row.Generation, r.Row.Journal, r.Row.Label, r.ID))
	if err != nil && !errors.Is(err, threshold.ErrCapsule) {
		return false, err
	}
	return err == nil, nil
}

// admitFile lets only age files with one of our capsules into the vault, and none of a record that was erased.
func (n *Node) admitFile(_ context.Context, header []byte, size int64) error {
	if wallet.LooksLikeReason(header, size) {
		return nil // the sealed reason of a break-glass access, which has no capsule
	}
	capsule, err := wallet.CapsuleOf(header)
	if err == nil && capsule == nil {
		err = fmt.Errorf("%w: it has no capsule for the custodians", wallet.ErrHeader)
	}
	if err != nil {
		return err
	}
	id, barred, err := n.book.barred(capsule.Hash())
	if err != nil || !barred {
		return err
	}
	view, err := n.ledger.View()
	if err != nil {
		return err
	}
	defer view.Close()
	row, ok, err := journal.Record(view, id)
	if err != nil || !ok {
		return err
	}
	mine, err := n.madeFor(capsule, journal.Named{ID: id, Row: row})
	if err == nil && mine {
		err = vault.ErrErased
	}
	return err
}

// attestErasures deletes the files of each erasure that is through, and attests it.
func (n *Node) attestErasures() {
	changed, done := n.app.changed.subscribe()
	defer done()
	look := time.NewTicker(attestLook)
	defer look.Stop()
	var again []lookedAt
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-changed:
		case <-look.C:
		}
		if !n.vault.Serving() {
			continue
		}
		done, err := n.attestNow(n.ctx)
		for _, e := range done {
			again = append(again, lookedAt{e, n.cfg.Clock()})
		}
		for len(again) > 0 && again[0].at.Add(attestAgain).Before(n.cfg.Clock()) && err == nil {
			if err = n.deleteErased(n.ctx, again[0].NamedErasure); err == nil {
				again = again[1:]
			}
		}
		if err != nil && n.ctx.Err() == nil {
			n.log.Warn("an erasure could not be attested yet", "error", err)
		}
	}
}

// lookedAt is an erasure that is looked at once more a while after it was attested: an upload that had been let in before may have landed since.
type lookedAt struct {
	journal.NamedErasure
	at time.Time
}

func (n *Node) attestNow(ctx context.Context) (done []journal.NamedErasure, err error) {
	view, err := n.ledger.View()
	if err != nil {
		return nil, err
	}
	list, err := journal.ToAttest(view, n.member, attestAtOnce)
	if err = errors.Join(err, view.Close()); err != nil {
		return nil, err
	}
	for _, e := range list {
		if err := n.deleteErased(ctx, e); err != nil {
			return done, fmt.Errorf("erasure %s: %w", e.ID, err)
		}
		r, err := n.actIn(ctx, e.Row.Journal, &protocol.AttestErasure{Erasure: e.ID, Count: e.Row.Count, Root: e.Row.Root})
		if err != nil {
			return done, err
		}
		if !r.OK() && r.Reason != protocol.AlreadyDone {
			return done, &protocol.Rejection{Reason: r.Reason}
		}
		done = append(done, e)
	}
	return done, nil
}

// deleteErased deletes all files of an erasure that are here, and makes sure that none is left.
func (n *Node) deleteErased(ctx context.Context, e journal.NamedErasure) error {
	var after protocol.RecordID
	for {
		view, err := n.ledger.View()
		if err != nil {
			return err
		}
		page, err := journal.ErasedBy(view, e.ID, e.Row.Journal, after, erasedPage)
		if err = errors.Join(err, view.Close()); err != nil {
			return err
		}
		if len(page) == 0 {
			if e.Row.What.Everything { // what a patient would have claimed the journal with
				return n.desk.Forget(e.Row.Journal)
			}
			return nil
		}
		if err := n.deleteFiles(ctx, page); err != nil {
			return err
		}
		after = page[len(page)-1].ID
	}
}

// deleteFiles deletes those of the records' files that are here and were made for them.
func (n *Node) deleteFiles(ctx context.Context, page []journal.Named) error {
	own := make([]bool, len(page))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(ownAtOnce)
	for i, r := range page {
		if !n.vault.Erased(r.Row.Ciphertext) {
			group.Go(func() (err error) {
				own[i], err = n.ownsFile(within, r)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var hashes []protocol.Hash
	for i, r := range page {
		if own[i] {
			hashes = append(hashes, r.Row.Ciphertext)
		}
	}
	if err := n.vault.DeleteAll(ctx, hashes); err != nil {
		return err
	}
	for _, h := range hashes {
		if !n.vault.Erased(h) {
			return errors.New("a file is still there")
		}
	}
	return nil
}
