package consensus

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cometbft/cometbft/crypto"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/protoio"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"
)

// signer is the validator's key with a memory on disk of the last thing it signed, so that no crash makes it sign
// two different messages for one step. The key is handed in and stays in memory.
//
// The memory is a file of two slots of one disk page each, written in turn with fdatasync before a signature leaves
// the signer. A slot torn by a power cut fails its checksum, and its signature was never released; the other slot
// then is the truth. Overwriting in place costs half of what write, rename and sync of the folder do, and the engine
// waits for it three times a block.
type signer struct {
	key cmted25519.PrivKey
	pub crypto.PubKey

	mu   sync.Mutex
	file *os.File
	last signed
	slot int64 // the slot to write next
	held bool  // nothing is signed: last may be older than what the key has signed
}

// signed is the last message signed. Steps of one height and round: 1 proposal, 2 prevote, 3 precommit.
type signed struct {
	sequence  uint64 // counts writes; the valid slot with the higher one counts
	height    int64
	round     int32
	step      int8
	signature []byte // 64 bytes
	message   []byte // canonical sign bytes; at most slotMessageMax
}

const (
	stepProposal  = int8(1)
	stepPrevote   = int8(2)
	stepPrecommit = int8(3)

	slotBytes      = 4096
	slotHeader     = 8 + 8 + 4 + 1 + 64 + 2
	slotMessageMax = slotBytes - slotHeader - sha256.Size
	slotDomain     = "anamnesis/sign-state/v1"
)

var _ types.PrivValidator = (*signer)(nil)

// openSigner opens or makes the file at path. A file in which no slot is valid is an error, never a fresh start. A held signer signs nothing
// until release.
func openSigner(key ed25519.PrivateKey, path string, held bool) (*signer, error) {
	s := &signer{key: cmted25519.PrivKey(bytes.Clone(key)), held: held}
	s.pub = s.key.PubKey()
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		f, err = createSignFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("consensus: sign state: %w", err)
	}
	s.file = f
	if err := s.load(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return s, nil
}

// createSignFile writes both slots empty but valid under a temporary name first, so that the file never exists
// half made.
func createSignFile(path string) (*os.File, error) {
	tmp := path + ".new"
	both := append(encodeSlot(signed{}), encodeSlot(signed{})...)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(both); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *signer) load() error {
	found := false
	for slot := int64(0); slot < 2; slot++ {
		page := make([]byte, slotBytes)
		if _, err := s.file.ReadAt(page, slot*slotBytes); err != nil {
			continue
		}
		got, ok := decodeSlot(page)
		if !ok || (found && got.sequence <= s.last.sequence) {
			continue
		}
		found, s.last, s.slot = true, got, 1-slot
	}
	if !found {
		return fmt.Errorf("%w: sign state of the validator is damaged", ErrBroken)
	}
	return nil
}

func encodeSlot(st signed) []byte {
	page := make([]byte, slotBytes)
	b := binary.BigEndian.AppendUint64(page[:0], st.sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(st.height))
	b = binary.BigEndian.AppendUint32(b, uint32(st.round))
	b = append(b, byte(st.step))
	b = append(b, append(st.signature, make([]byte, 64-len(st.signature))...)...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(st.message)))
	copy(page[len(b):], st.message)
	sum := sha256.Sum256(append([]byte(slotDomain), page[:slotBytes-sha256.Size]...))
	copy(page[slotBytes-sha256.Size:], sum[:])
	return page
}

func decodeSlot(page []byte) (signed, bool) {
	sum := sha256.Sum256(append([]byte(slotDomain), page[:slotBytes-sha256.Size]...))
	if subtle.ConstantTimeCompare(sum[:], page[slotBytes-sha256.Size:]) != 1 {
		return signed{}, false
	}
	st := signed{
		sequence:  binary.BigEndian.Uint64(page),
		height:    int64(binary.BigEndian.Uint64(page[8:])),
		round:     int32(binary.BigEndian.Uint32(page[16:])),
		step:      int8(page[20]),
		signature: bytes.Clone(page[21:85]),
	}
	n := int(binary.BigEndian.Uint16(page[85:]))
	if n > slotMessageMax {
		return signed{}, false
	}
	st.message = bytes.Clone(page[slotHeader : slotHeader+n])
	return st, true
}

func (s *signer) GetPubKey() (crypto.PubKey, error) { return s.pub, nil }

func (s *signer) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Close()
}

// SignVote signs, or repeats the earlier signature of the same vote; if only the time differs, it takes the earlier
// time over.
func (s *signer) SignVote(chainID string, vote *cmtproto.Vote) error {
	step := stepPrevote
	if vote.Type == cmtproto.PrecommitType {
		step = stepPrecommit
	}
	if len(vote.Extension) > 0 {
		return fmt.Errorf("%w: vote extensions are not used", ErrBroken)
	}
	message := types.VoteSignBytes(chainID, vote)
	sig, at, err := s.sign(vote.Height, vote.Round, step, message, sameVote)
	if err != nil {
		return err
	}
	vote.Signature = sig
	if !at.IsZero() {
		vote.Timestamp = at
	}
	return nil
}

// SignProposal does for proposals what SignVote does for votes.
func (s *signer) SignProposal(chainID string, p *cmtproto.Proposal) error {
	sig, at, err := s.sign(p.Height, p.Round, stepProposal, types.ProposalSignBytes(chainID, p), sameProposal)
	if err != nil {
		return err
	}
	p.Signature = sig
	if !at.IsZero() {
		p.Timestamp = at
	}
	return nil
}

// sign returns the signature, and the time of the earlier message if that one is repeated. same tells whether two
// messages differ in nothing but time.
func (s *signer) sign(height int64, round int32, step int8, message []byte,
	same func(old, new []byte) (time.Time, bool),
) ([]byte, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return nil, time.Time{}, fmt.Errorf("%w: %d/%d/%d", ErrHeld, height, round, step)
	}
	l := s.last
	switch {
	case l.after(height, round, step):
		return nil, time.Time{}, fmt.Errorf("%w: %d/%d/%d comes before %d/%d/%d", ErrDoubleSign,
			height, round, step, l.height, l.round, l.step)
	case l.height == height && l.round == round && l.step == step:
		if bytes.Equal(l.message, message) {
			return bytes.Clone(l.signature), time.Time{}, nil
		}
		if at, ok := same(l.message, message); ok {
			return bytes.Clone(l.signature), at, nil
		}
		return nil, time.Time{}, fmt.Errorf("%w: another message for %d/%d/%d", ErrDoubleSign, height, round, step)
	}
	sig, err := s.key.Sign(message)
	if err != nil {
		return nil, time.Time{}, err
	}
	next := signed{l.sequence + 1, height, round, step, sig, bytes.Clone(message)}
	if err := s.save(next); err != nil {
		return nil, time.Time{}, err
	}
	return bytes.Clone(sig), time.Time{}, nil
}

// release lets a held signer sign what is above height, and writes down first that it signs nothing at or below: a slot with no message, behind
// the last step that the height can have.
func (s *signer) release(height int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	floor := signed{s.last.sequence + 1, height, math.MaxInt32, stepPrecommit, make([]byte, ed25519.SignatureSize), nil}
	if floor.after(s.last.height, s.last.round, s.last.step) {
		if err := s.save(floor); err != nil {
			return err
		}
	}
	s.held = false
	return nil
}

// LastSigned is the height of the last message that the validator of a stopped node's engine folder signed, 0 if it never did. Errors:
// fs.ErrNotExist, ErrBroken.
func LastSigned(dir string) (uint64, error) {
	raw, err := os.ReadFile(filepath.Join(dir, signStateFile))
	if err != nil {
		return 0, fmt.Errorf("consensus: sign state: %w", err)
	}
	if len(raw) != 2*slotBytes {
		return 0, fmt.Errorf("%w: sign state has %d bytes", ErrBroken, len(raw))
	}
	a, okA := decodeSlot(raw[:slotBytes])
	b, okB := decodeSlot(raw[slotBytes:])
	switch {
	case !okA && !okB:
		return 0, fmt.Errorf("%w: sign state of the validator is damaged", ErrBroken)
	case !okA || okB && b.sequence > a.sequence:
		a = b
	}
	return uint64(a.height), nil
}

func (l signed) after(height int64, round int32, step int8) bool {
	if l.height != height {
		return l.height > height
	}
	if l.round != round {
		return l.round > round
	}
	return l.step > step
}

func (s *signer) save(next signed) error {
	if len(next.message) > slotMessageMax || len(next.signature) != 64 {
		return fmt.Errorf("%w: message of %d bytes to sign", ErrBroken, len(next.message))
	}
	if _, err := s.file.WriteAt(encodeSlot(next), s.slot*slotBytes); err != nil {
		return fmt.Errorf("consensus: sign state: %w", err)
	}
	if err := syncData(s.file); err != nil {
		return fmt.Errorf("consensus: sign state: %w", err)
	}
	s.last, s.slot = next, 1-s.slot
	return nil
}

func sameVote(old, new []byte) (time.Time, bool) {
	var a, b cmtproto.CanonicalVote
	if protoio.UnmarshalDelimited(old, &a) != nil || protoio.UnmarshalDelimited(new, &b) != nil {
		return time.Time{}, false
	}
	at := a.Timestamp
	b.Timestamp = at
	return at, proto.Equal(&a, &b)
}

func sameProposal(old, new []byte) (time.Time, bool) {
	var a, b cmtproto.CanonicalProposal
	if protoio.UnmarshalDelimited(old, &a) != nil || protoio.UnmarshalDelimited(new, &b) != nil {
		return time.Time{}, false
	}
	at := a.Timestamp
	b.Timestamp = at
	return at, proto.Equal(&a, &b)
}
