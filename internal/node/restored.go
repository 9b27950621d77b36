package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// A folder that comes from a backup is older than what its keys have signed since. So a node on such a folder signs nothing, no vote, no
// cosignature, no share, until it is beyond all that it can have signed. The argument (docs/decisions/restored-nodes.md has it at length):
//
//   - It has signed at height h only after more than two thirds had precommitted block h−1. Each honest one of these had decided block h−2.
//   - Of any 2f+1 other nodes, f of them liars at most, one is an honest one of these. So if c is the highest block that 2f+1 others say
//     they have, with the signatures that prove it, h is at most c+2, the round in progress included.
//   - It has cosigned no more than the log after block h−1.
//
// Therefore it signs no vote up to height c+2, for ever, and nothing else before its own ledger has executed block c+2. Nodes that are held
// themselves do not answer: they have forgotten what they knew.
//
// An answer counts only from a node that is connected to this very run of the node: if the old one still lives somewhere, it is the one connected,
// and the restored one stays silent.
//
// If every node was lost there is nobody who has not forgotten. The operators then state that nothing exists beyond the newest of their backups:
// each node waits for all of them, and signs nothing up to the newest one's last block.

// RestoredFile marks a node's folder as restored. That it is there counts, whatever is in it; only if its first line is the statement of AllLost
// does it say more.
const RestoredFile = "restored"

// ErrHeld says that a node on a restored folder signs nothing yet.
var ErrHeld = errors.New("this node was restored from a backup and signs nothing until it is beyond what it has signed before")

// RestoredNodesMin is the least number of nodes of a network in which a restored one finds its way back by itself: a smaller one cannot go on
// without its votes.
const RestoredNodesMin = 4

const (
	allLostFormat = "all lost, %d nodes come back"
	markBytesMax  = 4096
	regainLook    = 100 * time.Millisecond // between rounds of questions, and looks at the ledger
	blockWait     = 5 * time.Second        // for a block that was asked for
)

// MarkRestored writes the mark into a folder that no node runs on. allLost is 0, or the operators' statement that every node was lost and that so
// many come back from backups, this one included, beyond the newest of which nothing exists. why is for whoever looks at the file.
func MarkRestored(dir string, allLost int, why string) error {
	if allLost > 0 {
		why = fmt.Sprintf(allLostFormat, allLost) + "\n" + why
	}
	return wallet.CreateFile(filepath.Join(dir, RestoredFile), []byte(why+"\n"))
}

// readMark tells whether a folder has the mark, and the statement in it.
func readMark(dir string) (marked bool, allLost int, err error) {
	if marked, err = IsRestored(dir); err != nil || !marked {
		return marked, 0, err
	}
	f, err := os.Open(filepath.Join(dir, RestoredFile))
	if err != nil {
		return true, 0, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, markBytesMax))
	if err != nil {
		return true, 0, err
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	if _, err := fmt.Sscanf(line, allLostFormat, &allLost); err != nil || line != fmt.Sprintf(allLostFormat, allLost) || allLost < 1 {
		return true, 0, nil // whatever it is: nothing was stated
	}
	return true, allLost, nil
}

// IsRestored tells whether a folder has the mark.
func IsRestored(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, RestoredFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// regained is how far a restored node is on its way back.
type regained struct {
	done    chan struct{} // closed when the node signs; at once for one that was not restored
	allLost int           // the statement in the mark, 0: none

	mu      sync.Mutex // guards what follows
	decided map[protocol.MemberID]uint64
	twin    bool   // another node with the same keys is connected to one of those who answered last
	floor   uint64 // 0: not known yet
}

func newRegained() *regained {
	return &regained{done: make(chan struct{}), decided: map[protocol.MemberID]uint64{}}
}

// held tells whether nothing is signed.
func (r *regained) held() bool {
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// await waits until the node signs. False: the context ended first.
func (r *regained) await(ctx context.Context) bool {
	select {
	case <-r.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// need is how many other nodes of n must say how far they are: 2f+1, f of n being the most that may lie; or all that come back.
func (r *regained) need(n int) int {
	if r.allLost > 0 {
		return r.allLost - 1
	}
	return 2*(n-threshold.Threshold(n)) + 1
}

// problem says what a held node waits for, for its health.
func (r *regained) problem(nodes int) (string, bool) {
	if !r.held() {
		return "", false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	const says = "the node was restored from a backup: it signs nothing until "
	switch {
	case nodes < RestoredNodesMin && r.allLost == 0:
		return fmt.Sprintf("the node was restored from a backup, and a network of %d cannot tell what it signed since; see `anamnesis restore --help`, --all-lost", nodes), true
	case r.twin:
		return "the node was restored from a backup, and another with the same keys is connected to the others: stop one of the two", true
	case r.floor == 0:
		return fmt.Sprintf(says+"%d other nodes have said how far they are (%d have)", r.need(nodes), len(r.decided)), true
	}
	return fmt.Sprintf(says+"block %d is decided", r.floor), true
}

// lookRestored is the first step of a start.
func (n *Node) lookRestored() error {
	marked, allLost, err := readMark(n.cfg.Dir)
	n.regained.allLost = allLost
	if err == nil && !marked {
		close(n.regained.done)
	}
	return err
}

// regain leads a restored node back. What has been reached is on disk before what rests on it happens; the mark goes last, so that a crash in
// between begins again.
func (n *Node) regain() {
	n.log.Warn("restored from a backup: nothing is signed until this node is beyond what it can have signed before")
	for {
		err := n.regainNow(n.ctx)
		if err == nil {
			n.log.Info("the restored node takes part again", "above", n.regained.floor)
			close(n.regained.done)
			return
		}
		if n.ctx.Err() != nil {
			return
		}
		n.log.Error("the restored node could not come back yet", "error", err)
		if !pause(n.ctx, blockWait) {
			return
		}
	}
}

func (n *Node) regainNow(ctx context.Context) error {
	floor, err := n.askDecided(ctx)
	if err != nil {
		return err
	}
	if err := n.engine.Release(floor); err != nil {
		return err
	}
	if err := n.reachBlock(ctx, floor); err != nil {
		return err
	}
	if err := n.witness.cosigner.Advance(n.ledger.Log()); err != nil {
		return err
	}
	if err := n.notices.Restored(n.ledger.Head().Size); err != nil {
		return err
	}
	return unmark(n.cfg.Dir)
}

func unmark(dir string) error {
	if err := os.Remove(filepath.Join(dir, RestoredFile)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// askDecided asks the other nodes for their newest blocks until enough have answered, and gives the height up to which this node signs nothing.
// Answers of different rounds count together: each came after this node had stopped signing.
func (n *Node) askDecided(ctx context.Context) (uint64, error) {
	own, _, err := n.engine.Decided()
	if err != nil {
		return 0, err
	}
	for {
		within, cancel := context.WithTimeout(ctx, sizeWait)
		var all sync.WaitGroup
		var twin atomic.Bool
		for _, p := range n.peerList() {
			all.Go(func() {
				height, err := p.decided(within, EngineGenesis(n.cfg.Genesis), n.engine.Instance())
				if err != nil {
					if errors.Is(err, errTwin) {
						twin.Store(true)
					}
					n.log.Debug("a node does not say how far it is", "member", p.id, "error", err)
					return
				}
				n.regained.mu.Lock()
				defer n.regained.mu.Unlock()
				n.regained.decided[p.id] = max(n.regained.decided[p.id], height)
			})
		}
		all.Wait()
		cancel()
		n.regained.mu.Lock()
		n.regained.twin = twin.Load()
		n.regained.mu.Unlock()
		if floor, enough := n.regained.settle(len(n.cluster()), own); enough {
			return floor, nil
		}
		if !pause(ctx, regainLook) {
			return 0, ctx.Err()
		}
	}
}

// settle fixes the floor once there are enough answers of n nodes; own is this node's own newest block.
func (r *regained) settle(n int, own uint64) (floor uint64, enough bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.decided) < r.need(n) {
		return 0, false
	}
	r.floor = own
	for _, h := range r.decided {
		r.floor = max(r.floor, h)
	}
	if r.allLost == 0 {
		r.floor += 2
	}
	return r.floor, true
}

// reachBlock waits until this node's ledger has executed a block. An idle network makes none; so once this node has what the others had, it asks
// for one by an envelope that the ledger rejects: an attestation of an erasure that does not exist. It leaves no entry.
func (n *Node) reachBlock(ctx context.Context, height uint64) error {
	for n.ledger.Head().Height < height {
		if n.regained.allLost > 0 || n.ledger.Head().Height+2 < height {
			if !pause(ctx, regainLook) {
				return ctx.Err()
			}
			continue
		}
		within, cancel := context.WithTimeout(ctx, blockWait)
		_, err := n.actIn(within, protocol.JournalID{1}, &protocol.AttestErasure{Erasure: protocol.ErasureID{1}, Count: 1})
		cancel()
		if err != nil && !pause(ctx, regainLook) {
			return ctx.Err()
		}
	}
	return nil
}

// pause waits. False: the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// instanceHeader names the run of the asking node that the answering one is connected to.
const instanceHeader = "Anamnesis-Instance"

var (
	errNotConnected = errors.New("the other node is not connected to this one yet")
	errTwin         = errors.New("the other node is connected to another one with this node's keys")
)

// decided asks a node for its newest block, and checks that it is one, and that the node is connected to this run of this one.
func (p *peer) decided(ctx context.Context, g consensus.Genesis, instance string) (height uint64, err error) {
	res, err := p.do(ctx, http.MethodGet, "/decided", nil, -1)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	switch res.Header.Get(instanceHeader) {
	case instance:
	case "":
		return 0, errNotConnected
	default:
		return 0, errTwin
	}
	proof, err := io.ReadAll(io.LimitReader(res.Body, consensus.DecidedBytesMax+1))
	if err != nil || len(proof) == 0 {
		return 0, err
	}
	return consensus.CheckDecided(g, proof)
}

func (n *Node) serveDecided(w http.ResponseWriter, r *http.Request) {
	if n.regained.held() && n.regained.allLost == 0 {
		problem(w, http.StatusServiceUnavailable, "held", "this node was restored itself and has forgotten what it knew", "")
		return
	}
	asker, err1 := peerKey(*r.TLS)
	_, proof, err2 := n.engine.Decided()
	if err := errors.Join(err1, err2); err != nil {
		problem(w, http.StatusServiceUnavailable, "engine", "the newest block cannot be read", "")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(instanceHeader, n.engine.InstanceOf(asker[:]))
	_, _ = w.Write(proof)
}
