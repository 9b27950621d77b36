package consensus

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

func testVote(height int64, round int32, kind cmtproto.SignedMsgType, block byte, at time.Time) *cmtproto.Vote {
	h := make([]byte, 32)
	h[0] = block
	return &cmtproto.Vote{
		Type: kind, Height: height, Round: round, Timestamp: at,
		BlockID: cmtproto.BlockID{Hash: h, PartSetHeader: cmtproto.PartSetHeader{Total: 1, Hash: h}},
	}
}

func TestSignerNeverSignsTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	at := time.Unix(1000, 0).UTC()
	open := func() *signer {
		s, err := openSigner(key("v"), path, false)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	p := &cmtproto.Proposal{Type: cmtproto.ProposalType, Height: 5, Round: 1, PolRound: -1, Timestamp: at}
	if err := s.SignProposal("c", p); err != nil {
		t.Fatal(err)
	}
	first := testVote(5, 1, cmtproto.PrevoteType, 1, at)
	if err := s.SignVote("c", first); err != nil {
		t.Fatal(err)
	}
	if !s.pub.VerifySignature(types.VoteSignBytes("c", first), first.Signature) {
		t.Fatal("signature does not verify")
	}
	for _, again := range []bool{false, true} {
		if again { // as after kill -9
			_ = s.close()
			s = open()
		}
		same := testVote(5, 1, cmtproto.PrevoteType, 1, at.Add(time.Second))
		if err := s.SignVote("c", same); err != nil || !same.Timestamp.Equal(at) || string(same.Signature) != string(first.Signature) {
			t.Fatalf("repeat: %v, %v", err, same.Timestamp)
		}
		for name, v := range map[string]*cmtproto.Vote{
			"another block":  testVote(5, 1, cmtproto.PrevoteType, 2, at),
			"earlier round":  testVote(5, 0, cmtproto.PrecommitType, 1, at),
			"earlier height": testVote(4, 9, cmtproto.PrecommitType, 1, at),
		} {
			if err := s.SignVote("c", v); !errors.Is(err, ErrDoubleSign) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := s.SignProposal("c", p); !errors.Is(err, ErrDoubleSign) {
			t.Errorf("earlier step: %v", err)
		}
	}
	if err := s.SignVote("c", testVote(5, 1, cmtproto.PrecommitType, 1, at)); err != nil {
		t.Fatal(err)
	}
	if err := s.SignVote("c", testVote(6, 0, cmtproto.PrevoteType, 1, at)); err != nil {
		t.Fatal(err)
	}
}

func TestSignerSurvivesATornSlot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s, err := openSigner(key("v"), path, false)
	if err != nil {
		t.Fatal(err)
	}
	for h := int64(1); h <= 3; h++ {
		if err := s.SignVote("c", testVote(h, 0, cmtproto.PrevoteType, 1, time.Unix(h, 0))); err != nil {
			t.Fatal(err)
		}
	}
	newest := 1 - s.slot
	_ = s.close()
	raw, _ := os.ReadFile(path)
	raw[newest*slotBytes+100] ^= 1
	_ = os.WriteFile(path, raw, 0o600)
	if s, err = openSigner(key("v"), path, false); err != nil || s.last.height != 2 {
		t.Fatalf("after a torn slot: %v", err)
	}
	_ = s.close()
	raw[(1-newest)*slotBytes+100] ^= 1
	_ = os.WriteFile(path, raw, 0o600)
	if _, err = openSigner(key("v"), path, false); !errors.Is(err, ErrBroken) {
		t.Fatalf("with both slots damaged: %v", err)
	}
}

// The slot's bytes are those of docs/spec/vectors/consensus-sign-state.json.
func TestSignStateVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/spec/vectors/consensus-sign-state.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name                               string
		Sequence                           uint64
		Height                             int64
		Round                              int32
		Step                               int8
		Signature, Message, Head, Checksum string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors: %v", len(vectors), err)
	}
	for _, v := range vectors {
		sig, _ := hex.DecodeString(v.Signature)
		message, _ := hex.DecodeString(v.Message)
		slot := encodeSlot(signed{v.Sequence, v.Height, v.Round, v.Step, sig, message})
		if got := hex.EncodeToString(slot[:slotHeader+len(message)]); got != v.Head {
			t.Errorf("%s: head %s", v.Name, got)
		}
		if got := hex.EncodeToString(slot[slotBytes-32:]); got != v.Checksum {
			t.Errorf("%s: checksum %s", v.Name, got)
		}
		if back, ok := decodeSlot(slot); !ok || back.height != v.Height || string(back.message) != string(message) {
			t.Errorf("%s: decoded %+v", v.Name, back)
		}
	}
}
