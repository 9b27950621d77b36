package consensus

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/cometbft/cometbft/blocksync"
	cmtcfg "github.com/cometbft/cometbft/config"
	cs "github.com/cometbft/cometbft/consensus"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/evidence"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/p2p"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"
)

// engine is CometBFT put together by hand from its parts: what its own node adds (RPC, indexers, metrics listeners,
// peer exchange, state sync, its mempool) we either do not want or do ourselves.
type engine struct {
	log        log.Logger
	db         *database
	blocks     *store.BlockStore
	states     sm.Store
	bus        *types.EventBus
	evidence   *evidence.Pool
	state      *cs.State
	reactor    *cs.Reactor
	transport  *p2p.MultiplexTransport
	sw         *p2p.Switch
	signer     *signer
	listenAddr p2p.NetAddress
	instance   string // tells this run of the node from others with the same key
}

const (
	storeDir      = "store"
	walFile       = "wal/wal"
	signStateFile = "sign-state"
)

var genesisKey = []byte("genesis-sha256")

// genesisDoc is the genesis in the engine's terms.
func (g *Genesis) doc() (*types.GenesisDoc, error) {
	app, err := json.Marshal(g.App) // base64: the engine wants JSON
	if err != nil {
		return nil, err
	}
	params := types.DefaultConsensusParams()
	params.Block.MaxBytes = BlockBytesMax
	doc := &types.GenesisDoc{
		GenesisTime: time.UnixMilli(g.Time.UnixMilli()).UTC(), ChainID: g.ChainID, InitialHeight: 1,
		ConsensusParams: params, AppState: app,
	}
	for _, v := range g.Validators {
		key := cmted25519.PubKey(bytes.Clone(v.Key))
		doc.Validators = append(doc.Validators, types.GenesisValidator{
			Address: key.Address(), PubKey: key, Power: v.Power, Name: v.Name,
		})
	}
	if err := doc.ValidateAndComplete(); err != nil {
		return nil, fmt.Errorf("%w: genesis: %w", ErrConfig, err)
	}
	return doc, nil
}

// ValidatorAddress names a validator as Offence does.
func ValidatorAddress(key ed25519.PublicKey) (a [20]byte) {
	copy(a[:], cmted25519.PubKey(key).Address())
	return a
}

// openStores opens the folder and makes sure it belongs to this genesis.
func (e *engine) openStores(cfg *Config, doc *types.GenesisDoc) error {
	if err := os.MkdirAll(filepath.Join(cfg.Dir, storeDir), 0o700); err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	var err error
	if e.db, err = openPebble(filepath.Join(cfg.Dir, storeDir), false); err != nil {
		return fmt.Errorf("consensus: store: %w", err)
	}
	own := newKV(e.db, prefixOwn, true)
	want, err := genesisHash(doc)
	if err != nil {
		return err
	}
	have, err := own.Get(genesisKey)
	switch {
	case err != nil:
		return fmt.Errorf("consensus: store: %w", err)
	case have == nil:
		if err := own.SetSync(genesisKey, want); err != nil {
			return fmt.Errorf("consensus: store: %w", err)
		}
	case !bytes.Equal(have, want):
		return ErrOtherNetwork
	}
	e.blocks = store.NewBlockStore(newKV(e.db, prefixBlocks, true))
	e.states = sm.NewStore(newKV(e.db, prefixState, false), sm.StoreOptions{DiscardABCIResponses: true})
	return nil
}

func genesisHash(doc *types.GenesisDoc) ([]byte, error) {
	raw, err := json.Marshal(struct {
		Doc        *types.GenesisDoc
		Validators []types.GenesisValidator
	}{doc, doc.Validators})
	if err != nil {
		return nil, fmt.Errorf("consensus: genesis: %w", err)
	}
	sum := sha256.Sum256(append([]byte("anamnesis/genesis/v1"), raw...))
	return sum[:], nil
}

// handshake brings application and stores to the same height by replaying what the application has not seen.
func (e *engine) handshake(doc *types.GenesisDoc, a *adapter) (state sm.State, err error) {
	defer func() {
		if r := recover(); r != nil { // the engine panics where its stores and the application disagree
			err = fmt.Errorf("%w: replay: %v", ErrBroken, r)
		}
	}()
	if state, err = e.states.LoadFromDBOrGenesisDoc(doc); err != nil {
		return state, fmt.Errorf("consensus: state: %w", err)
	}
	if err := e.repairLastResponse(state, a); err != nil {
		return state, err
	}
	h := cs.NewHandshaker(e.states, state, e.blocks, doc)
	h.SetLogger(e.log)
	if err := h.Handshake(&appConns{a: a}); err != nil {
		if a.cause != nil {
			err = a.cause
		}
		return state, fmt.Errorf("consensus: replay: %w", err)
	}
	if state, err = e.states.Load(); err != nil {
		return state, fmt.Errorf("consensus: state: %w", err)
	}
	return state, nil
}

// repairLastResponse rebuilds what the engine noted of executing the last block, if the application committed it but
// the note was lost with the unsynced end of the store. It follows from the block and the application's hash.
func (e *engine) repairLastResponse(state sm.State, a *adapter) error {
	height, appHash, _ := a.app.Head()
	last := e.blocks.Height()
	if last == 0 || state.LastBlockHeight+1 != last || int64(height) != last {
		return nil
	}
	block := e.blocks.LoadBlock(last)
	if block == nil {
		return fmt.Errorf("%w: block %d is missing", ErrBroken, last)
	}
	return e.states.SaveFinalizeBlockResponse(last, lastResponse(len(block.Txs), appHash))
}

func consensusConfig(dir string) *cmtcfg.ConsensusConfig {
	c := cmtcfg.DefaultConsensusConfig()
	c.RootDir = dir
	c.WalPath = walFile
	// A dead proposer costs the first and the last of these once in n blocks; together they stay below StaleMillisMax,
	// so that the next proposer still finds the time fresh.
	c.TimeoutPropose, c.TimeoutProposeDelta = 600*time.Millisecond, 400*time.Millisecond
	c.TimeoutPrevote, c.TimeoutPrevoteDelta = 150*time.Millisecond, 150*time.Millisecond
	c.TimeoutPrecommit, c.TimeoutPrecommitDelta = 150*time.Millisecond, 150*time.Millisecond
	c.TimeoutCommit = 0
	c.SkipTimeoutCommit = true
	c.CreateEmptyBlocks = false
	c.PeerGossipSleepDuration = 5 * time.Millisecond
	return c
}

func p2pConfig() *cmtcfg.P2PConfig {
	c := cmtcfg.DefaultP2PConfig()
	c.AllowDuplicateIP = true // members may share an address; the key is what counts
	c.MaxNumInboundPeers, c.MaxNumOutboundPeers = PeersMax, PeersMax
	c.FlushThrottleTimeout = time.Millisecond
	c.MaxPacketMsgPayloadSize = 64 << 10
	c.SendRate, c.RecvRate = 1<<30, 1<<30
	c.PexReactor = false
	return c
}

// assemble connects the engine's parts. syncFirst: other validators may be ahead of us.
func (e *engine) assemble(cfg *Config, state sm.State, a *adapter, w *wake, g *gossip) error {
	var err error
	if e.signer, err = openSigner(cfg.ValidatorKey, filepath.Join(cfg.Dir, signStateFile), cfg.Hold); err != nil {
		return err
	}
	if e.evidence, err = evidence.NewPool(newKV(e.db, prefixEvidence, true), e.states, e.blocks); err != nil {
		return fmt.Errorf("consensus: evidence: %w", err)
	}
	e.evidence.SetLogger(e.log)
	address := e.signer.pub.Address()
	syncFirst := !(state.Validators.Size() == 1 && state.Validators.HasAddress(address))
	exec := sm.NewBlockExecutor(e.states, e.log, a, w, e.evidence, e.blocks)
	e.state = cs.NewState(consensusConfig(cfg.Dir), state.Copy(), exec, e.blocks, w, e.evidence)
	e.state.SetLogger(e.log)
	e.state.SetPrivValidator(e.signer)
	e.reactor = cs.NewReactor(e.state, syncFirst)
	e.reactor.SetEventBus(e.bus)
	sync := blocksync.NewReactor(syncFirst, false, state.Copy(), exec, e.blocks, address, 0, blocksync.NopMetrics())
	return e.connect(cfg, state, map[string]p2p.Reactor{
		"CONSENSUS": e.reactor,
		"BLOCKSYNC": sync,
		"PARCELS":   g,
		"EVIDENCE":  evidence.NewReactor(e.evidence),
	})
}

// connect makes the switch. Only keys of configured peers get in.
func (e *engine) connect(cfg *Config, state sm.State, reactors map[string]p2p.Reactor) error {
	key := p2p.NodeKey{PrivKey: cmted25519.PrivKey(bytes.Clone(cfg.NodeKey))}
	addr, err := p2p.NewNetAddressString(p2p.IDAddressString(key.ID(), cfg.Listen))
	if err != nil {
		return fmt.Errorf("%w: listen address: %w", ErrConfig, err)
	}
	e.listenAddr = *addr
	e.instance = "anamnesis-" + rand.Text()
	info := p2p.DefaultNodeInfo{
		ProtocolVersion: p2p.NewProtocolVersion(version.P2PProtocol, state.Version.Consensus.Block, state.Version.Consensus.App),
		DefaultNodeID:   key.ID(), ListenAddr: cfg.Listen, Network: cfg.Genesis.ChainID,
		Version: version.TMCoreSemVer, Moniker: e.instance,
		Other: p2p.DefaultNodeInfoOther{TxIndex: "off"},
	}
	for _, r := range reactors {
		for _, ch := range r.GetChannels() {
			info.Channels = append(info.Channels, ch.ID)
		}
	}
	if err := info.Validate(); err != nil {
		return fmt.Errorf("%w: listen address: %w", ErrConfig, err)
	}
	known := map[p2p.ID]bool{}
	for _, p := range cfg.Peers {
		known[peerID(p.Key)] = true
	}
	filter := func(_ p2p.IPeerSet, p p2p.Peer) error {
		if !known[p.ID()] {
			return fmt.Errorf("unknown peer %s", p.ID())
		}
		return nil
	}
	conf := p2pConfig()
	e.transport = p2p.NewMultiplexTransport(info, key, p2p.MConnConfig(conf))
	p2p.MultiplexTransportMaxIncomingConnections(PeersMax)(e.transport)
	e.sw = p2p.NewSwitch(conf, e.transport, p2p.SwitchPeerFilters(filter))
	e.sw.SetLogger(e.log)
	for name, r := range reactors {
		r.SetLogger(e.log)
		e.sw.AddReactor(name, r)
	}
	e.sw.SetNodeInfo(info)
	e.sw.SetNodeKey(&key)
	return nil
}

// instanceOf is the run of the node with the key that is connected, "" if none is.
func (e *engine) instanceOf(key ed25519.PublicKey) string {
	p := e.sw.Peers().Get(peerID(key))
	if p == nil {
		return ""
	}
	info, ok := p.NodeInfo().(p2p.DefaultNodeInfo)
	if !ok {
		return ""
	}
	return info.Moniker
}

func peerID(key ed25519.PublicKey) p2p.ID { return p2p.PubKeyToID(cmted25519.PubKey(key)) }

// run opens the port and starts the reactors.
func (e *engine) run() error {
	if err := e.transport.Listen(e.listenAddr); err != nil {
		return fmt.Errorf("consensus: listen: %w", err)
	}
	if err := e.sw.Start(); err != nil {
		return fmt.Errorf("consensus: start: %w", err)
	}
	return nil
}

// stop ends what was started and closes what was opened, in this order; parts may be missing after a failed start.
func (e *engine) stop() {
	if e.bus != nil {
		_ = e.bus.Stop()
	}
	if e.sw != nil && e.sw.IsRunning() {
		_ = e.sw.Stop()
	}
	if e.transport != nil && e.listenAddr.Port != 0 {
		_ = e.transport.Close()
	}
	if e.signer != nil {
		_ = e.signer.close()
	}
	if e.evidence != nil {
		_ = e.evidence.Close()
	}
	if e.db != nil {
		_ = e.db.Close()
	}
}

// dial keeps trying to reach a peer until stop closes. Of two nodes the one with the smaller id dials; the other
// joins in after a while, should only one of them be reachable.
func (e *engine) dial(p Peer, stop <-chan struct{}) {
	id, wait := peerID(p.Key), 50*time.Millisecond
	lone := time.Now()
	for {
		if e.sw.Peers().Has(id) {
			lone, wait = time.Now(), 250*time.Millisecond
		} else if e.listenAddr.ID < id || time.Since(lone) > 2*time.Second {
			addr, err := p2p.NewNetAddressString(p2p.IDAddressString(id, p.Address))
			if err == nil && !e.sw.IsDialingOrExistingAddress(addr) {
				err = e.sw.DialPeerWithAddress(addr)
			}
			if err != nil {
				e.log.Debug("peer is not reachable", "address", p.Address, "err", err)
			}
			wait = time.Duration(math.Min(float64(2*wait), float64(2*time.Second)))
		}
		select {
		case <-stop:
			return
		case <-time.After(wait):
		}
	}
}
