package node_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// syncBuffer is where a run's log goes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

// spellings are the ways in which bytes get into a text by mistake.
func spellings(secret []byte) [][]byte {
	list := strings.Trim(strings.ReplaceAll(fmt.Sprint(secret), " ", ","), "[]")
	return [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(strings.ToUpper(hex.EncodeToString(secret))),
		[]byte(base64.RawStdEncoding.EncodeToString(secret)[:len(secret)*4/3]), []byte(base64.RawURLEncoding.EncodeToString(secret)[:len(secret)*4/3]),
		[]byte(list), []byte(strings.ReplaceAll(list, ",", " "))}
}

func leaks(where []byte, secret []byte) bool {
	return slices.ContainsFunc(spellings(secret), func(s []byte) bool { return bytes.Contains(where, s) })
}

const secretText = "recurrent-nightmares-since-the-accident"

// A whole run at the most talkative level: no key, share, passphrase, salt or word of a patient is in the log; and nothing that says what a
// record is about is in what the network shares and keeps of it.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), &syncBuffer{}
	w := &world{TB: t, ctx: testContext(t)}
	cfg := devConfig(dir, 4)
	cfg.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.start(cfg)
	w.doctor = w.practitioner(0, protocol.RolePhysician)
	p := w.patient()
	w.write(p, 0, group("mental-health", secretText))
	_, err := w.request(0, w.doctor, p, "mental-health")
	w.refused(err, protocol.NoContract)
	w.grant(p, w.doctor, 0, "mental-health")
	a := w.access(0, w.doctor, p, "mental-health")
	w.equal(w.read(0, a), []string{secretText})
	if status, _ := w.raw("POST", "/v1/actions", nil, []byte(`{"envelopes":["AAAA"]}`)); status < 400 || status >= 500 {
		t.Errorf("nonsense: %d", status)
	}
	entries, err := w.at[0].Entries(w.ctx, p.keys, 0)
	w.ok(err)
	w.ok(w.net.StopNode(2))
	w.equal(w.read(1, a), []string{secretText})
	w.ok(w.net.Stop())

	oneTime, err := a.OneTime.Reveal()
	w.ok(err)
	handle := p.keys.Handle()
	secret := map[string][]byte{"the patient's words": []byte(secretText), "the class": []byte("mental-health"), "the label key": handle.Key[:],
		"the handle": []byte(handle.String()), "the one-time key": oneTime.Reveal(), "the passphrase": []byte(w.net.Passphrase),
		"the wallet's words": []byte(p.wallet.Seed().Words()), "the doctor's speciality": []byte("internal medicine"), "the doctor's name": []byte("Dr. Test")}
	for i := range w.net.Nodes {
		w.addNodeSecrets(secret, i)
	}
	inLog := map[string][]byte{}
	for _, e := range entries {
		inLog[fmt.Sprintf("the salt of entry %d", e.Index)] = e.Salt
	}
	text := log.bytes()
	if len(text) < 1000 || !bytes.Contains(text, []byte(w.net.Names[3])) {
		t.Fatalf("the log has %d bytes", len(text))
	}
	for _, s := range []map[string][]byte{secret, inLog} {
		for what, b := range s {
			if leaks(text, b) {
				t.Errorf("%s is in the log", what)
			}
		}
	}
	w.searchFolders(secret)
}

func (w *world) addNodeSecrets(secret map[string][]byte, i int) {
	w.Helper()
	k := w.net.NodeKeys(i)
	for what, key := range map[string][]byte{"member": k.Member.Seed(), "validator": k.Validator.Seed(), "log": k.Log.Seed(), "cosigner": k.Cosigner.Seed(),
		"peer": k.Peer.Seed(), "storage": k.Storage[:]} {
		secret[fmt.Sprintf("node %d's %s key", i, what)] = key
	}
	secret[fmt.Sprintf("node %d's share", i)] = scalarOf(w.TB, w.folder(i), w.net.Passphrase)
}

// scalarOf is a node's share as the bare number, little-endian.
func scalarOf(t testing.TB, folder, passphrase string) []byte {
	t.Helper()
	share, err := node.ReadShare(folder, passphrase, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := share.Bytes()
	return b[len(b)-32:]
}

// searchFolders looks through every file of the nodes as it lies there, and through every row and parcel as it reads (on disk they are
// compressed). What a member knows of its own practitioners is in its book alone, and the patient's words are nowhere.
func (w *world) searchFolders(secret map[string][]byte) {
	w.Helper()
	for i := range w.net.Names {
		w.searchFolder(w.folder(i), i, secret)
	}
}

// searchFolder looks through the i-th node's folder, or a copy of it.
func (w *world) searchFolder(folder string, i int, secret map[string][]byte) {
	w.Helper()
	look := func(where string, b []byte, mayHold func(string) bool) {
		for what, s := range secret {
			if !mayHold(what) && leaks(b, s) {
				w.Errorf("%s is in %s", what, where)
			}
		}
	}
	nothing := func(string) bool { return false }
	ownPeople := func(what string) bool { return strings.HasPrefix(what, "the doctor's") }
	name := w.net.Names[i]
	w.ok(filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			look(path, read(w, path), func(what string) bool { return strings.Contains(path, "/book/") && ownPeople(what) })
		}
		return err
	}))
	for _, part := range []string{"ledger", "book"} {
		s, err := state.OpenPebble(filepath.Join(folder, part), state.PebbleOptions{ReadOnly: true})
		w.ok(err)
		rows := 0
		w.ok(s.Scan(nil, nil, func(k, v []byte) (bool, error) {
			rows++
			look(name+"/"+part, k, nothing)
			look(name+"/"+part, v, func(what string) bool { return part == "book" && i == 0 && ownPeople(what) })
			return true, nil
		}))
		w.ok(s.Close())
		if rows == 0 {
			w.Errorf("%s/%s is empty", name, part)
		}
	}
	chain, err := consensus.Blocks(filepath.Join(folder, "engine"), node.EngineGenesis(w.net.Genesis))
	w.ok(err)
	for b, err := range chain.All() {
		w.ok(err)
		for _, parcel := range b.Parcels {
			look(name+"'s blocks", parcel, nothing)
		}
	}
	w.ok(chain.Close())
}

// The collective secret exists nowhere: not in the memory of a process that hosts all custodians, has generated their key and released
// shares. (The test itself works it out from all nodes' folders, which nobody but the test has, so as to know what to look for.)
func TestNoProcessHoldsTheCollectiveSecret(t *testing.T) {
	t.Parallel()
	k := &killer{world: &world{TB: t, ctx: testContext(t)}, dir: t.TempDir(), members: 4, texts: map[string]bool{}, tried: map[string]bool{}}
	child := k.up()
	k.prepare(child)
	if !k.write(k.ctx, 0, "something") {
		t.Fatal("not written")
	}
	k.equal(k.read(0, k.access(0, k.doctor, k.p, "labs")), []string{"something"})
	_, names, pass, err := node.ReadDev(k.dir)
	k.ok(err)
	var shares [][]byte
	for _, name := range names {
		dir := filepath.Join(k.dir, "nodes", name)
		shares = append(shares, scalarOf(t, dir, pass))
		entries, err := os.ReadDir(filepath.Join(dir, "secrets"))
		k.ok(err)
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), "share-") {
				t.Errorf("%s keeps %s after the key's generation", name, e.Name())
			}
		}
	}
	whole := interpolate(shares, 1, 2, 3)
	if !bytes.Equal(whole, interpolate(shares, 4, 2, 3)) {
		t.Fatal("the shares are not of one secret")
	}
	found := searchMemory(t, child.cmd.Process.Pid, append(shares, whole, reversed(whole)))
	for i := range shares {
		if !found[i] {
			t.Errorf("share %d is not in the process's memory: the search finds nothing", i+1)
		}
	}
	if found[len(shares)] || found[len(shares)+1] {
		t.Error("the collective secret is in the process's memory")
	}
	child.stop(t)
}

func reversed(b []byte) []byte {
	out := bytes.Clone(b)
	slices.Reverse(out)
	return out
}

// interpolate is the collective secret, little-endian, by three custodians' shares (Lagrange at 0, modulo the group's order).
func interpolate(shares [][]byte, who ...int) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	sum := new(big.Int)
	for _, i := range who {
		term := new(big.Int).SetBytes(reversed(shares[i-1]))
		for _, j := range who {
			if j != i {
				term.Mul(term, big.NewInt(int64(j)))
				term.Mul(term, new(big.Int).ModInverse(new(big.Int).Mod(big.NewInt(int64(j-i)), order), order))
				term.Mod(term, order)
			}
		}
		sum.Mod(sum.Add(sum, term), order)
	}
	return reversed(sum.FillBytes(make([]byte, 32)))
}

// searchMemory looks for needles in all readable memory of a process.
func searchMemory(t *testing.T, pid int, needles [][]byte) []bool {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Skip("SKIPPED: this system does not show a process's memory:", err)
	}
	defer func() { _ = maps.Close() }()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Skip("SKIPPED: this system does not show a process's memory:", err)
	}
	defer func() { _ = mem.Close() }()
	found := make([]bool, len(needles))
	const piece, overlap = 1 << 20, 31
	buf := make([]byte, piece+overlap)
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to int64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights); err != nil || !strings.HasPrefix(rights, "rw") {
			continue
		}
		for at := from; at < to; at += piece {
			n, err := mem.ReadAt(buf[:min(to-at, int64(len(buf)))], at)
			if n == 0 && err != nil {
				break
			}
			for i, needle := range needles {
				found[i] = found[i] || bytes.Contains(buf[:n], needle)
			}
		}
	}
	return found
}

// With nobody writing and nothing due, no blocks are made.
func TestIdleNetworkMakesNoBlocks(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	w.write(p, 0, group("labs", "a"))
	w.grant(p, w.doctor, 0)
	w.equal(w.read(0, w.access(0, w.doctor, p, "labs")), []string{"a"})
	height := func() (h uint64) {
		for _, n := range w.net.Nodes {
			h = max(h, n.Ledger().Head().Height)
		}
		return h
	}
	for last, quiet := height(), 0; quiet < 4; { // what is under way ends: an empty block proves the last change
		<-time.After(250 * time.Millisecond)
		if now := height(); now != last {
			last, quiet = now, 0
		} else {
			quiet++
		}
	}
	before := height()
	<-time.After(3 * time.Second)
	if now := height(); now != before {
		t.Errorf("%d blocks in three idle seconds", now-before)
	}
	w.equal(w.read(1, w.access(1, w.doctor, p, "labs")), []string{"a"})
	if height() == before {
		t.Error("the heights do not move at all")
	}
}
