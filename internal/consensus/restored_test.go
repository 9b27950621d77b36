package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	cs "github.com/cometbft/cometbft/consensus"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
)

// A held signer signs nothing; released, nothing at or below the height, not after a restart either.
func TestHeldSigner(t *testing.T) {
	path := filepath.Join(t.TempDir(), signStateFile)
	at := time.Unix(1000, 0).UTC()
	open := func(held bool) *signer {
		s, err := openSigner(key("v"), path, held)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open(false)
	if err := s.SignVote("c", testVote(5, 1, cmtproto.PrevoteType, 1, at)); err != nil {
		t.Fatal(err)
	}
	_ = s.close()

	s = open(true)
	if err := s.SignVote("c", testVote(9, 0, cmtproto.PrevoteType, 1, at)); !errors.Is(err, ErrHeld) {
		t.Fatalf("a held vote: %v", err)
	}
	p := &cmtproto.Proposal{Type: cmtproto.ProposalType, Height: 9, PolRound: -1, Timestamp: at}
	if err := s.SignProposal("c", p); !errors.Is(err, ErrHeld) {
		t.Fatalf("a held proposal: %v", err)
	}
	if h, err := LastSigned(filepath.Dir(path)); err != nil || h != 5 {
		t.Fatal(h, err)
	}
	if err := s.release(9); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, round := range []int32{0, 7, 1<<31 - 1} {
			for _, kind := range []cmtproto.SignedMsgType{cmtproto.PrevoteType, cmtproto.PrecommitType} {
				if err := s.SignVote("c", testVote(9, round, kind, 1, at)); !errors.Is(err, ErrDoubleSign) {
					t.Fatalf("at the height, in round %d: %v", round, err)
				}
			}
		}
		_ = s.close()
		s = open(false)
	}
	if h, err := LastSigned(filepath.Dir(path)); err != nil || h != 9 {
		t.Fatal(h, err)
	}
	if err := s.release(3); err != nil {
		t.Fatal(err)
	}
	if err := s.SignVote("c", testVote(9, 0, cmtproto.PrevoteType, 1, at)); !errors.Is(err, ErrDoubleSign) {
		t.Fatalf("released to less: %v", err)
	}
	if err := s.SignVote("c", testVote(10, 0, cmtproto.PrevoteType, 1, at)); err != nil {
		t.Fatal(err)
	}
	_ = s.close()
}

// A validator whose folder is an old copy, as from a backup: held, it follows the others and signs nothing, though it goes through heights where
// it has voted before; released above what it can have signed, it votes again, there and nowhere below.
func TestOldCopyOfAValidator(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 4, memoryApps, nil)
	n.load("first", 40)
	n.stop(3)
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(n.configs[3].Dir)); err != nil {
		t.Fatal(err)
	}
	n.start(3)
	n.load("later", 40)
	n.sameState(2)
	n.stop(3)
	before := ownMessages(t, n.configs[3].Dir)

	dir := n.configs[3].Dir
	if err := errors.Join(os.RemoveAll(dir), os.Rename(old, dir), os.RemoveAll(filepath.Join(dir, "wal"))); err != nil {
		t.Fatal(err)
	}
	n.configs[3].Hold, n.apps[3] = true, newTestApp("")
	n.start(3)
	floor := uint64(0)
	for i := range 3 {
		h, proof, err := n.nodes[i].Decided()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := CheckDecided(n.configs[3].Genesis, proof); err != nil || got != h {
			t.Fatalf("block %d is shown as %d: %v", h, got, err)
		}
		for _, at := range []int{0, len(proof) / 2, len(proof) - 1} {
			bad := bytes.Clone(proof)
			bad[at] ^= 1
			if _, err := CheckDecided(n.configs[3].Genesis, bad); err == nil {
				t.Fatalf("a proof with byte %d changed passes", at)
			}
		}
		floor = max(floor, h+2)
	}
	n.submit(0, []byte("while it is held"))
	n.submit(3, []byte("by the held one"))
	n.sameState(floor)
	if own := ownMessages(t, dir); len(own) > 0 {
		t.Fatalf("it signed for %v while it was held", own)
	}
	if err := n.nodes[3].Release(floor); err != nil {
		t.Fatal(err)
	}
	n.stop(2) // now its votes are needed
	for i := range 10 {
		n.submit(i%2, fmt.Appendf(nil, "with its vote %d", i))
	}
	n.start(2)
	n.load("last", 40)
	n.sameState(floor + 10)
	highest := int64(0)
	for _, h := range before {
		highest = max(highest, h)
	}
	own := ownMessages(t, dir)
	if len(own) == 0 || highest == 0 {
		t.Fatalf("%d messages signed before, %d after", len(before), len(own))
	}
	for _, h := range own {
		if h <= highest || uint64(h) <= floor {
			t.Errorf("it signed for height %d; before it had signed up to %d, and it was released above %d", h, highest, floor)
		}
	}
	for i := range n.nodes {
		n.stop(i)
	}
	chain, err := Blocks(n.configs[0].Dir, n.configs[0].Genesis)
	if err != nil {
		t.Fatal(err)
	}
	defer chain.Close()
	for b, err := range chain.All() {
		if err != nil || b.Offences > 0 {
			t.Fatalf("block %d: %d offences, %v", b.Height, b.Offences, err)
		}
	}
}

// ownMessages are the heights of the votes and proposals that a node signed, by its own log of messages.
func ownMessages(t *testing.T, dir string) (heights []int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, walFile+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d := cs.NewWALDecoder(bytes.NewReader(raw))
		for {
			m, err := d.Decode()
			if err != nil {
				break // the end, or a torn one: a running node writes
			}
			raw, err := cs.WALToProto(m.Msg)
			if err != nil {
				t.Fatal(err)
			}
			info := raw.GetMsgInfo()
			if info == nil || info.PeerID != "" {
				continue
			}
			if v := info.Msg.GetVote(); v != nil {
				heights = append(heights, v.Vote.Height)
			} else if p := info.Msg.GetProposal(); p != nil {
				heights = append(heights, p.Proposal.Height)
			}
		}
	}
	return heights
}
