// Package node is the composition root: it puts a member's node together (ledger, engine, custodian, vault, witness, gateway) and starts
// and stops it. Every wire between the packages is here, and nothing else is.
//
// A node's folder:
//
//	keys.age    its private keys, under a passphrase      engine/   blocks and votes
//	ledger/     state, log and entries                    vault/    encrypted files
//	secrets/    shares of the collective key, encrypted   book/     what this node alone knows: releases, names
//	gateway/    where patients want to be told            restored  there only while the node still signs nothing, see restored.go
package node

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/gateway"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/notify"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/translog"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// Addresses of a member's node, host:port each.
type Addresses struct {
	Engine  string `json:"engine"`  // votes and blocks
	Peer    string `json:"peer"`    // HTTPS between nodes
	Gateway string `json:"gateway"` // HTTP for people and programs
}

// Config of a node.
type Config struct {
	Dir       string
	Keys      *Keys
	Genesis   protocol.Genesis
	Self      Addresses                       // where to listen
	Addresses map[protocol.MemberID]Addresses // where the others are; may hold this node too
	Log       *slog.Logger                    // nil: silent
	Clock     func() time.Time                // nil: time.Now
	Gather    bool                            // join single envelopes into parcels
	Notify    notify.Options                  // how patients are told: webhooks and mail
}

// Node is a running node.
type Node struct {
	cfg    Config
	keys   *Keys
	log    *slog.Logger
	member protocol.MemberID
	index  uint16 // among the custodians

	store, local state.Store
	ledger       *ledger.Ledger
	app          *app
	engine       *consensus.Node
	book         book
	witness      *witness
	custodian    *custodian.Custodian
	secrets      *secrets
	desk         *gateway.Desk
	ceremony     *custodian.Ceremony
	vault        *vault.Vault
	replicator   *vault.Replicator
	notices      *notify.Notifier
	peers        map[protocol.MemberID]*peer
	policy       []byte
	gather       *gatherer
	regained     *regained

	// release is the custodian's answer to a question; a test puts a custodian that lies here.
	release func(context.Context, custodian.Request) (*custodian.Answer, error)

	ctx     context.Context
	cancel  context.CancelFunc
	tasks   sync.WaitGroup
	servers []*http.Server

	stopOnce sync.Once
	stopped  error // what Stop returned; set before stopOnce is done
}

// Errors of starting a node, besides those of its parts.
var (
	// ErrNotMember says that the keys are not those of a member with a node.
	ErrNotMember = errors.New("these keys are not a founding member's")
	// ErrOtherMember says that a folder is another member's node's. To run it would be to vote with a key whose votes are remembered elsewhere.
	ErrOtherMember = errors.New("the folder is another member's node")
	// ErrPortInUse says that another program listens where the node should.
	ErrPortInUse = errors.New("the port is in use")
)

var discardLog = stdlog.New(io.Discard, "", 0)

// Start opens the folder, joins the network and serves. The node must be stopped.
func Start(cfg Config) (*Node, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	n := &Node{cfg: cfg, keys: cfg.Keys, log: cfg.Log, peers: map[protocol.MemberID]*peer{}, regained: newRegained()}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.start(); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

func (n *Node) now() uint64 { return uint64(n.cfg.Clock().UnixMilli()) }

func (n *Node) start() error {
	if err := n.whoAmI(); err != nil {
		return err
	}
	for _, step := range []func() error{n.lookRestored, n.openLedger, n.openWitness, n.openCustodian, n.openVault, n.openNotices, n.startEngine, n.serve} {
		if err := step(); err != nil {
			return err
		}
	}
	n.background()
	return nil
}

// portInUse names the failure that people can do something about.
func portInUse(err error, address string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: %s: %w", ErrPortInUse, address, err)
	}
	return err
}

func (n *Node) whoAmI() error {
	index := uint16(0)
	for _, m := range n.cfg.Genesis.Members {
		if !m.HasNode() {
			continue
		}
		index++
		if m.Node.Validator == Public(n.keys.Validator) {
			n.member, n.index = m.ID(), index
			return nil
		}
	}
	return ErrNotMember
}

func (n *Node) openLedger() (err error) {
	if n.store, err = state.OpenPebble(filepath.Join(n.cfg.Dir, "ledger"), state.PebbleOptions{}); err != nil {
		return err
	}
	if n.local, err = state.OpenPebble(filepath.Join(n.cfg.Dir, "book"), state.PebbleOptions{}); err != nil {
		return err
	}
	n.book = book{n.local}
	if err := n.book.claim(n.member); err != nil {
		return err
	}
	if n.ledger, err = ledger.Open(n.store); err != nil {
		return err
	}
	if g, begun := n.ledger.Genesis(); begun && string(protocol.Encode(g)) != string(protocol.Encode(n.cfg.Genesis)) {
		return fmt.Errorf("%w: it holds %q", ledger.ErrOtherNetwork, g.Chain)
	}
	n.ledger.RunBoth(AtOnce)
	n.app = newApp(n.ledger)
	n.gather = newGatherer(n)
	return nil
}

func (n *Node) openWitness() error {
	policy, err := proof.NetworkPolicy(n.cfg.Genesis)
	if err != nil {
		return err
	}
	if n.policy, err = policy.Text(); err != nil {
		return err
	}
	chain := n.cfg.Genesis.Chain
	key, err := c2sp.NewCosignKey(proof.CosignerName(chain, int(n.index)), n.keys.Cosigner)
	if err != nil {
		return err
	}
	cosigner, err := translog.NewCosigner(proof.Origin(chain), key, n.book)
	if err != nil {
		return err
	}
	log, err := c2sp.NewLogKey(proof.Origin(chain), n.keys.Log)
	if err != nil {
		return err
	}
	for _, m := range n.cfg.Genesis.Members {
		id := m.ID()
		at, known := n.cfg.Addresses[id]
		if !m.HasNode() || id == n.member || !known {
			continue
		}
		if n.peers[id], err = n.newPeer(id, m.Node.Peer, at.Peer); err != nil {
			return err
		}
	}
	n.witness = &witness{ledger: n.ledger, cosigner: cosigner, log: log, policy: policy, now: n.now, changed: &n.app.changed, out: n.log,
		peers: n.peerList, held: n.regained.held}
	return nil
}

// peerList is the other nodes, in the members' order.
func (n *Node) peerList() (out []*peer) {
	for _, m := range n.cfg.Genesis.Members {
		if p := n.peers[m.ID()]; p != nil {
			out = append(out, p)
		}
	}
	return out
}

func (n *Node) openCustodian() error {
	s, err := openSecrets(filepath.Join(n.cfg.Dir, "secrets"), n.keys.Storage)
	if err != nil {
		return err
	}
	n.secrets = s
	if n.desk, err = gateway.OpenDesk(s); err != nil {
		return err
	}
	n.custodian = custodian.New(custodian.Config{Ledger: n.ledger, Member: n.member, Fresh: n.witness.Fresh, Clock: n.now,
		Sign: func(m []byte) []byte { return ed25519.Sign(n.keys.Peer, m) }, Secrets: s, Record: n.book.record})
	n.release = n.custodian.Release
	n.ceremony = &custodian.Ceremony{Custodian: n.custodian, Submit: n.Act, Log: n.log,
		Fetch: func(ctx context.Context, dealer protocol.MemberID, generation, epoch uint32) ([]byte, error) {
			if dealer == n.member {
				c, ok, err := n.ceremony.Ciphertext(generation, epoch, n.index)
				if err == nil && !ok {
					err = errors.New("own dealing is not there")
				}
				return c, err
			}
			p := n.peers[dealer]
			if p == nil {
				return nil, errors.New("the dealer's address is not known")
			}
			return p.ciphertext(ctx, generation, epoch)
		}}
	return nil
}

// EngineGenesis is what the engine of every node of a network must share: the founding nodes, one vote each, and the ledger's genesis.
func EngineGenesis(g protocol.Genesis) consensus.Genesis {
	doc := consensus.Genesis{ChainID: g.Chain, Time: time.UnixMilli(int64(g.Time)).UTC(), App: protocol.Encode(g)}
	for _, m := range g.Members {
		if m.HasNode() {
			doc.Validators = append(doc.Validators, consensus.Validator{Name: m.Name, Key: ed25519.PublicKey(m.Node.Validator[:]), Power: 1})
		}
	}
	return doc
}

func (n *Node) openNotices() (err error) {
	m := hmac.New(sha256.New, n.keys.Storage[:])
	m.Write([]byte("anamnesis/notices/v1"))
	n.notices, err = notify.Open(notify.Config{Dir: filepath.Join(n.cfg.Dir, "gateway"), Ledger: n.ledger, Key: [32]byte(m.Sum(nil)), Clock: n.cfg.Clock, Log: n.log,
		Options: n.cfg.Notify})
	return err
}

func (n *Node) startEngine() (err error) {
	var peers []consensus.Peer
	for _, m := range n.cfg.Genesis.Members {
		if at, ok := n.cfg.Addresses[m.ID()]; ok && m.HasNode() && m.ID() != n.member {
			peers = append(peers, consensus.Peer{Key: ed25519.PublicKey(m.Node.Peer[:]), Address: at.Engine})
		}
	}
	n.engine, err = consensus.Start(consensus.Config{Dir: filepath.Join(n.cfg.Dir, "engine"), ValidatorKey: n.keys.Validator, NodeKey: n.keys.Peer,
		Listen: n.cfg.Self.Engine, Peers: peers, Genesis: EngineGenesis(n.cfg.Genesis), Logger: n.log, Clock: n.cfg.Clock, Hold: n.regained.held()}, n.app)
	return portInUse(err, n.cfg.Self.Engine)
}

func (n *Node) serve() error {
	server, err := n.peerServer()
	if err != nil {
		return err
	}
	peers, err := net.Listen("tcp", n.cfg.Self.Peer)
	if err != nil {
		return portInUse(err, n.cfg.Self.Peer)
	}
	n.goServe(server, func() error { return server.ServeTLS(peers, "", "") })
	people, err := net.Listen("tcp", n.cfg.Self.Gateway)
	if err != nil {
		return portInUse(err, n.cfg.Self.Gateway)
	}
	face := &http.Server{Handler: gateway.New(n.backend()), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Minute,
		MaxHeaderBytes: 32 << 10, ErrorLog: discardLog}
	n.goServe(face, func() error { return face.Serve(people) })
	return nil
}

func (n *Node) goServe(s *http.Server, run func() error) {
	n.servers = append(n.servers, s)
	n.tasks.Go(func() {
		if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("a server stopped", "error", err)
		}
	})
}

// background runs what works by itself: the ceremony, the vault's upkeep, the gatherer.
func (n *Node) background() {
	if n.regained.held() {
		n.tasks.Go(n.regain)
	}
	changed, done := n.app.changed.subscribe()
	ticks := make(chan struct{}, 1)
	n.tasks.Go(func() {
		defer done()
		if n.regained.await(n.ctx) {
			n.ceremony.Run(n.ctx, changed, ticks)
		}
	})
	n.tasks.Go(func() {
		n.every(500*time.Millisecond, func() {
			select {
			case ticks <- struct{}{}:
			default:
			}
		})
	})
	blocks, enough := n.app.changed.subscribe()
	n.tasks.Go(func() {
		defer enough()
		if n.regained.await(n.ctx) {
			n.notices.Run(n.ctx, blocks)
		}
	})
	claims, claimed := n.app.changed.subscribe()
	n.tasks.Go(func() {
		defer claimed()
		n.desk.Follow(n.ctx, n.ledger, claims, n.log)
	})
	n.tasks.Go(func() { n.gather.run(n.ctx) })
	n.tasks.Go(n.attestErasures)
	n.tasks.Go(func() {
		if !n.regained.await(n.ctx) || !n.applyErasures(n.ctx) {
			return
		}
		if err := n.replicator.Run(n.ctx); err != nil && n.ctx.Err() == nil {
			n.log.Error("the vault's upkeep stopped", "error", err)
		}
	})
	n.tasks.Go(func() {
		n.every(sweepInterval, func() {
			if swept, err := n.sweep(n.ctx); err != nil && n.ctx.Err() == nil {
				n.log.Warn("sweeping the vault failed", "error", err)
			} else if swept.Files > 0 {
				n.log.Info("files that no record names were removed", "files", swept.Files, "bytes", swept.Bytes)
			}
		})
	})
}

// every calls do at intervals until the node stops.
func (n *Node) every(interval time.Duration, do func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-t.C:
			do()
		}
	}
}

// Stop ends the node: what was acknowledged is safe. It may be called twice, and from several goroutines; each returns when it is over.
func (n *Node) Stop() error {
	n.stopOnce.Do(func() { n.stopped = n.stop() })
	return n.stopped
}

// stop closes the parts in the reverse order of their opening; after a failed start some are missing. The fields stay as they are: handlers
// that outlive the servers' grace meet closed parts, which say so, and no nil ones.
func (n *Node) stop() error {
	n.cancel()
	grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, s := range n.servers {
		if s.Shutdown(grace) != nil {
			_ = s.Close()
		}
	}
	if n.engine != nil {
		n.engine.Stop()
	}
	if n.replicator != nil {
		n.replicator.Close()
	}
	n.tasks.Wait()
	var errs []error
	if n.vault != nil {
		errs = append(errs, n.vault.Close())
	}
	if n.notices != nil {
		errs = append(errs, n.notices.Close())
	}
	if n.ledger != nil {
		errs = append(errs, n.ledger.Close())
	}
	for _, s := range []state.Store{n.store, n.local} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	for _, p := range n.peers {
		p.http.CloseIdleConnections()
	}
	return errors.Join(errs...)
}

// Failed is closed when the node must stop because an invariant broke; Err says why.
func (n *Node) Failed() <-chan struct{} { return n.engine.Failed() }

// Err is the reason behind Failed.
func (n *Node) Err() error { return n.engine.Err() }

// Member is whose node this is.
func (n *Node) Member() protocol.MemberID { return n.member }

// Ledger is the node's own copy, for queries.
func (n *Node) Ledger() *ledger.Ledger { return n.ledger }

// Custodian is the node in its role of holding one share.
func (n *Node) Custodian() *custodian.Custodian { return n.custodian }
