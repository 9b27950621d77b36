package node

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/notify"
	"github.com/anamnesis-health/anamnesis/internal/port"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// DevNet is a whole network in one process, for trying and for tests: each member's node is a real one, with its own folder, keys, engine,
// ledger, vault and gateway; they talk over loopback TCP as they would over the world's. Its folder:
//
//	network.json   genesis and addresses       passphrase   of the nodes' keys and the members' actor files (only as safe as the folder)
//	nodes/NAME/    a node's folder              members/NAME.actor   the member's signing key, as `--as` takes it
type DevNet struct {
	Dir        string
	Genesis    protocol.Genesis
	Nodes      []*Node // in the genesis's order
	Passphrase string
	Names      []string // of the members' files

	addresses map[protocol.MemberID]Addresses
	keys      []*Keys
	config    DevConfig
	lock      *os.File
	ports     []*port.Kept
}

// DevConfig of a DevNet.
type DevConfig struct {
	Dir     string
	Members int    // 1 to 16; a folder that exists has as many as it has
	Listen  string // host:port of the first member's gateway; the others take free ports
	Log     *slog.Logger
	Clock   func() time.Time
	Params  *protocol.Params // nil: DevParams
	Notify  notify.Options   // of every node
	// Alone makes each envelope a transaction of its own, for measuring.
	Alone bool
}

// DevParams are a development network's: quotas that never get in the way, and recoveries as fast as their guardians' policy says.
func DevParams() protocol.Params {
	p := protocol.DefaultParams()
	p.QuotaMemberMinute, p.QuotaJournalMinute = 1<<31, 1<<31
	p.RecoveryMillisMin = 0
	return p
}

// Errors of a development network.
var (
	ErrInUse      = errors.New("the folder is in use by another process")
	ErrOtherFiles = errors.New("the folder holds something else than a network")
)

// devMembers are the founding organisations, in order.
var devMembers = []struct {
	kind protocol.MemberKind
	name string
}{
	{protocol.MemberHospital, "Northside General Hospital"}, {protocol.MemberLaboratory, "Meridian Laboratory"},
	{protocol.MemberPharmacy, "Harbour Pharmacy"}, {protocol.MemberInsurer, "Commonweal Insurance"},
	{protocol.MemberHospital, "St. Brigid Hospital"}, {protocol.MemberPractice, "Lindenhof Practice"},
	{protocol.MemberPatients, "Patients' Association"}, {protocol.MemberRegulator, "Health Data Authority"},
	{protocol.MemberManufacturer, "Verdan Pharmaceuticals"}, {protocol.MemberSponsor, "Aster Trials"},
	{protocol.MemberHospital, "Riverside Clinic"}, {protocol.MemberLaboratory, "Polaris Imaging"},
	{protocol.MemberPractice, "Old Mill Surgery"}, {protocol.MemberPharmacy, "Green Cross Pharmacy"},
	{protocol.MemberHospital, "Eastgate Children's Hospital"}, {protocol.MemberInsurer, "Union Health Fund"},
}

type devFile struct {
	Genesis string                          `json:"genesis"` // hex of the canonical encoding
	Names   []string                        `json:"names"`
	Nodes   map[protocol.MemberID]Addresses `json:"nodes"`
}

// ReadDev reads what a development network's folder says of itself, without starting anything: the genesis, and the names of the nodes'
// folders under nodes/, in the genesis's order. The passphrase is empty if its file is missing.
func ReadDev(dir string) (g protocol.Genesis, names []string, passphrase string, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, "network.json"))
	if err != nil {
		return g, nil, "", err
	}
	var f devFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return g, nil, "", fmt.Errorf("%w: network.json: %w", ErrOtherFiles, err)
	}
	genesis, err := hex.DecodeString(f.Genesis)
	if err != nil {
		return g, nil, "", fmt.Errorf("%w: network.json: %w", ErrOtherFiles, err)
	}
	if err := protocol.Decode(genesis, &g); err != nil {
		return g, nil, "", fmt.Errorf("%w: network.json: %w", ErrOtherFiles, err)
	}
	if len(f.Names) != len(g.Members) {
		return g, nil, "", fmt.Errorf("%w: network.json names %d members of %d", ErrOtherFiles, len(f.Names), len(g.Members))
	}
	pass, err := os.ReadFile(filepath.Join(dir, "passphrase"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return g, f.Names, strings.TrimSpace(string(pass)), err
}

// StartDev makes a network in an empty folder, or resumes the one that is there.
func StartDev(cfg DevConfig) (*DevNet, error) {
	d := &DevNet{Dir: cfg.Dir, config: cfg, addresses: map[protocol.MemberID]Addresses{}}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := d.takeLock(); err != nil {
		return nil, err
	}
	if err := d.open(); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

func (d *DevNet) takeLock() (err error) {
	if d.lock, err = os.OpenFile(filepath.Join(d.Dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = d.lock.Close()
		d.lock = nil
		return fmt.Errorf("%w: %s", ErrInUse, d.Dir)
	}
	return nil
}

func (d *DevNet) open() error {
	path := filepath.Join(d.Dir, "network.json")
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := d.create(path); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if err := d.resume(raw); err != nil {
			return err
		}
	}
	return d.startAll()
}

// startAttempts is how often the nodes are started: another program may take a port just after it was found to be free.
const startAttempts = 3

func (d *DevNet) startAll() (err error) {
	for range startAttempts {
		if err = d.start(); !errors.Is(err, ErrPortInUse) {
			return err
		}
		for _, n := range d.Nodes {
			err = errors.Join(err, n.Stop())
		}
		d.Nodes = nil
		if again := d.choosePorts(d.addresses); again != nil {
			return again
		}
	}
	return err
}

// create makes keys, genesis and addresses. network.json comes last: without it, the folder counts as empty.
func (d *DevNet) create(path string) error {
	if n := d.config.Members; n < 1 || n > len(devMembers) {
		return fmt.Errorf("a development network has 1 to %d members", len(devMembers))
	}
	if err := d.mustBeEmpty(); err != nil {
		return err
	}
	var secret [20]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return err
	}
	d.Passphrase = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret[:]))
	if err := wallet.CreateFile(filepath.Join(d.Dir, "passphrase"), []byte(d.Passphrase+"\n")); err != nil {
		return err
	}
	params := DevParams()
	if d.config.Params != nil {
		params = *d.config.Params
	}
	clock := d.config.Clock
	if clock == nil {
		clock = time.Now
	}
	d.Genesis = protocol.Genesis{Version: protocol.Version, Chain: "anamnesis-dev-" + hex.EncodeToString(secret[:4]), Time: uint64(clock().UnixMilli()), Params: params}
	for i := range d.config.Members {
		k, err := NewKeys()
		if err != nil {
			return err
		}
		m := k.MemberOf(devMembers[i].kind, devMembers[i].name)
		d.keys, d.Genesis.Members, d.Names = append(d.keys, k), append(d.Genesis.Members, m), append(d.Names, slug(m.Name))
	}
	if err := d.choosePorts(nil); err != nil {
		return err
	}
	for i, k := range d.keys {
		if err := d.saveKeys(i, k); err != nil {
			return err
		}
	}
	raw, err := json.MarshalIndent(devFile{Genesis: hex.EncodeToString(protocol.Encode(d.Genesis)), Names: d.Names, Nodes: d.addresses}, "", "  ")
	if err != nil {
		return err
	}
	return wallet.CreateFile(path, append(raw, '\n'))
}

func (d *DevNet) mustBeEmpty() error {
	entries, err := os.ReadDir(d.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case "LOCK":
		case "passphrase", "nodes", "members": // of a creation that was cut off
			if err := os.RemoveAll(filepath.Join(d.Dir, e.Name())); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: %s", ErrOtherFiles, filepath.Join(d.Dir, e.Name()))
		}
	}
	return nil
}

// saveKeys writes a node's keys, and the member's signing key as an actor file for the command line.
func (d *DevNet) saveKeys(i int, k *Keys) error {
	dir := filepath.Join(d.Dir, "nodes", d.Names[i])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := k.Save(filepath.Join(dir, "keys.age"), d.Passphrase); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(d.Dir, "members"), 0o700); err != nil {
		return err
	}
	m := d.Genesis.Members[i]
	a := wallet.ActorFromKey(wallet.Network{Chain: d.Genesis.Chain, Gateway: "http://" + d.addresses[m.ID()].Gateway}, protocol.ActorMember, m.ID(), m.Name, k.Member)
	data, err := a.Encrypt(d.Passphrase, wallet.WithWorkFactor(keysWorkFactor))
	if err != nil {
		return err
	}
	return wallet.CreateFile(filepath.Join(d.Dir, "members", d.Names[i]+".actor"), data)
}

func (d *DevNet) resume(raw []byte) error {
	var f devFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("%w: network.json: %w", ErrOtherFiles, err)
	}
	var err error
	if d.Genesis, d.Names, d.Passphrase, err = ReadDev(d.Dir); err != nil {
		return err
	}
	for i, name := range d.Names {
		k, err := LoadKeys(filepath.Join(d.Dir, "nodes", name, "keys.age"), d.Passphrase)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := d.mustBe(i, k); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		d.keys = append(d.keys, k)
	}
	return d.choosePorts(f.Nodes)
}

// mustBe returns an error if keys are not the i-th member's.
func (d *DevNet) mustBe(i int, k *Keys) error {
	whose := slices.IndexFunc(d.Genesis.Members, func(m protocol.Member) bool { return m.Node.Validator == Public(k.Validator) })
	switch whose {
	case i:
		return nil
	case -1:
		return fmt.Errorf("%w: its keys are of no member of this one", ledger.ErrOtherNetwork)
	}
	return fmt.Errorf("%w: its keys are those of %s", ErrOtherMember, d.Genesis.Members[whose].Name)
}

// choosePorts gives every node its three addresses, kept as long as the network is there: a node that was stopped finds its own free. The first
// gateway's is the one asked for; gateways of before keep theirs if they are free; the wires between the nodes take any free port at each start.
func (d *DevNet) choosePorts(before map[protocol.MemberID]Addresses) error {
	host, asked, err := net.SplitHostPort(d.config.Listen)
	if err != nil {
		return fmt.Errorf("the address to listen on: %w", err)
	}
	d.releasePorts()
	for i, m := range d.Genesis.Members {
		var a Addresses
		switch wanted := before[m.ID()].Gateway; {
		case i == 0 && asked != "0":
			a.Gateway, err = d.keepAsked(d.config.Listen)
		case i > 0 && wanted != "":
			if a.Gateway, err = d.keep(port.Keep(wanted)); err == nil {
				break
			}
			fallthrough
		default:
			a.Gateway, err = d.keep(port.Free(host))
		}
		if err != nil {
			return err
		}
		if a.Engine, err = d.keep(port.Free(wires)); err != nil {
			return err
		}
		if a.Peer, err = d.keep(port.Free(wires)); err != nil {
			return err
		}
		d.addresses[m.ID()] = a
	}
	return nil
}

// wires is where the nodes of one machine reach each other.
const wires = "127.0.0.1"

func (d *DevNet) keep(k *port.Kept, err error) (string, error) {
	if err != nil {
		return "", err
	}
	d.ports = append(d.ports, k)
	return k.Address, nil
}

// keepAsked takes an address that somebody chose: it must be free, and is kept if it can be.
func (d *DevNet) keepAsked(address string) (string, error) {
	if err := port.Try(address); err != nil {
		return "", portInUse(err, address)
	}
	if k, err := port.Keep(address); err == nil {
		d.ports = append(d.ports, k)
	}
	return address, nil
}

func (d *DevNet) releasePorts() {
	for _, k := range d.ports {
		k.Release()
	}
	d.ports = nil
}

func (d *DevNet) start() error {
	for i := range d.Genesis.Members {
		if err := d.StartNode(i); err != nil {
			return err
		}
	}
	return nil
}

// StartNode starts the i-th member's node: at the beginning all are started; one that was stopped can come back.
func (d *DevNet) StartNode(i int) error {
	log := d.config.Log
	if log != nil {
		log = log.With("node", d.Names[i])
	}
	n, err := Start(Config{Dir: filepath.Join(d.Dir, "nodes", d.Names[i]), Keys: d.keys[i], Genesis: d.Genesis, Self: d.addresses[d.Genesis.Members[i].ID()],
		Addresses: d.addresses, Log: log, Clock: d.config.Clock, Gather: !d.config.Alone, Notify: d.config.Notify})
	if err != nil {
		if errors.Is(err, state.ErrLocked) || errors.Is(err, consensus.ErrLocked) {
			err = fmt.Errorf("%w: %w", ErrInUse, err)
		}
		return fmt.Errorf("%s: %w", d.Names[i], err)
	}
	if i < len(d.Nodes) {
		d.Nodes[i] = n
	} else {
		d.Nodes = append(d.Nodes, n)
	}
	return nil
}

// StopNode stops the i-th member's node; the others go on.
func (d *DevNet) StopNode(i int) error { return d.Nodes[i].Stop() }

// Gateway is the address of a member's gateway.
func (d *DevNet) Gateway(i int) string {
	return "http://" + d.addresses[d.Genesis.Members[i].ID()].Gateway
}

// Member is the i-th member's signing key as an actor.
func (d *DevNet) Member(i int) *wallet.Actor {
	m := d.Genesis.Members[i]
	return wallet.ActorFromKey(wallet.Network{Chain: d.Genesis.Chain, Gateway: d.Gateway(i)}, protocol.ActorMember, m.ID(), m.Name, d.keys[i].Member)
}

// Ready waits until every node holds its share of the custodians' key, and is connected to all others and in step with them.
func (d *DevNet) Ready(ctx context.Context) error {
	highest := func() (h uint64) {
		for _, n := range d.Nodes {
			h = max(h, n.ledger.Head().Height)
		}
		return h
	}
	for _, n := range d.Nodes {
		if err := n.await(ctx, func() bool { return n.Health().OK }); err != nil {
			return err
		}
	}
	target := highest()
	for _, n := range d.Nodes {
		if err := n.await(ctx, func() bool { return n.ledger.Head().Height >= target }); err != nil {
			return err
		}
	}
	return nil
}

// await waits until something holds that changes with blocks or shortly by itself.
func (n *Node) await(ctx context.Context, holds func() bool) error {
	changed, done := n.app.changed.subscribe()
	defer done()
	for !holds() {
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond):
		case <-n.Failed():
			return n.Err()
		case <-ctx.Done():
			return fmt.Errorf("the network did not get ready: %s", strings.Join(n.Health().Problems, "; "))
		}
	}
	return nil
}

// Stop stops all nodes.
func (d *DevNet) Stop() error {
	var errs []error
	for _, n := range d.Nodes {
		errs = append(errs, n.Stop())
	}
	d.releasePorts()
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
		d.lock = nil
	}
	return errors.Join(errs...)
}

// IsOtherNetwork tells whether an error of starting says that a folder holds another network.
func IsOtherNetwork(err error) bool {
	return errors.Is(err, ledger.ErrOtherNetwork) || errors.Is(err, consensus.ErrOtherNetwork)
}

func slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-") && (r == ' ' || r == '-'):
			b.WriteByte('-')
		}
	}
	return b.String()
}
