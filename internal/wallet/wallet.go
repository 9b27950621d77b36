package wallet

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Errors of a wallet's own bookkeeping.
var (
	ErrUnknownJournal = errors.New("no such journal in this wallet")
	ErrLimit          = errors.New("too large or too many")
	ErrText           = errors.New("not acceptable as text")

	// ErrRollback and ErrFork mean that a network shows another history than the wallet has seen: an older one, or one that contradicts it.
	ErrRollback = errors.New("the network shows an older log than this wallet has seen")
	ErrFork     = errors.New("the network shows a log that contradicts what this wallet has seen")
)

// Wallet is a person's: one seed, the journals derived from it, and what the wallet remembers of networks and contracts.
// It prints as "[secret]". Not safe for concurrent use.
type Wallet struct {
	Network   Network
	Contracts []Contract   // what the ledger cannot say about them: whom they were for, in words
	Devices   []DeviceNote // what they are called

	seed     Seed
	journals []Journal
	pins     []Pin
	hidden
}

// Network is where the wallet's journals live.
type Network struct {
	Chain   string `json:"chain"`   // the network's id
	Gateway string `json:"gateway"` // URL of a node's gateway
	Policy  string `json:"policy"`  // trust policy (C2SP tlog-policy): nodes' keys and quorum
}

// Journal is one journal of a wallet.
type Journal struct {
	ID         protocol.JournalID
	Index      uint32 // place in the derivation tree; meaningless if Adopted
	Adopted    bool   // opened by somebody else and taken over: the id is not derived from this seed
	Nickname   string
	KeyEpoch   uint8  // how often signing key and identity were replaced
	LabelEpoch uint8  // how often the handle was replaced
	labelKey   Secret // of an adopted journal whose handle has not been replaced yet; else empty and derived
}

// Pin is the largest checkpoint that the wallet has verified on a network.
type Pin struct {
	Chain string        `json:"chain"`
	Size  uint64        `json:"size"`
	Root  protocol.Hash `json:"root"`
	Time  uint64        `json:"time"` // UTC ms, of the cosignatures
}

// Contract is a note about a contract.
type Contract struct {
	ID       protocol.ContractID `json:"id"`
	Journal  protocol.JournalID  `json:"journal"`
	Template string              `json:"template"`
	Note     string              `json:"note"`
	NotAfter uint64              `json:"not_after"` // UTC ms
}

// DeviceNote is what a device of a journal is called; the ledger has a commitment to it.
type DeviceNote struct {
	Journal protocol.JournalID `json:"journal"`
	Key     protocol.PublicKey `json:"key"`
	Name    string             `json:"name"`
}

// New makes a wallet with a random seed and no journals.
func New(n Network) *Wallet { return &Wallet{Network: n, seed: newSeed()} }

// FromWords restores a wallet's keys. The journals it opened come back with OpenJournal, in their order; journals that it adopted, pins
// and notes do not derive from the words. Errors wrap ErrWords.
func FromWords(words string, n Network) (*Wallet, error) {
	seed, err := ParseWords(words)
	if err != nil {
		return nil, err
	}
	return &Wallet{Network: n, seed: seed}, nil
}

// Seed is the wallet's secret; Seed().Words() shows the recovery words.
func (w *Wallet) Seed() Seed { return w.seed }

// ID names the wallet on its own device, in 32 hexadecimal digits. Never send it anywhere: it would link the journals.
func (w *Wallet) ID() string { return fmt.Sprintf("%x", w.seed.walletID()) }

// Journals lists the journals in the order they were added.
func (w *Wallet) Journals() []Journal { return append([]Journal(nil), w.journals...) }

// OpenJournal derives the next journal. The nickname is for the wallet's owner; it must differ from the others.
func (w *Wallet) OpenJournal(nickname string) (Journal, error) {
	next := uint32(0)
	for _, j := range w.journals {
		if !j.Adopted && j.Index >= next {
			next = j.Index + 1
		}
	}
	return w.add(Journal{ID: w.seed.JournalID(next), Index: next, Nickname: nickname})
}

// AdoptJournal takes over a journal that another key opened: after a recovery through guardians, or from the member that ran it
// provisionally. Its handle goes on to name the data already there; signing key and identity are this wallet's.
func (w *Wallet) AdoptJournal(h protocol.Handle, nickname string) (Journal, error) {
	return w.add(Journal{ID: h.Journal, Adopted: true, Nickname: nickname, LabelEpoch: h.Epoch, labelKey: NewSecret(h.Key[:])})
}

func (w *Wallet) add(j Journal) (Journal, error) {
	if err := checkText("a nickname", j.Nickname, 1); err != nil {
		return Journal{}, err
	}
	if len(w.journals) >= JournalsMax {
		return Journal{}, fmt.Errorf("%w: a wallet holds at most %d journals", ErrLimit, JournalsMax)
	}
	for _, k := range w.journals {
		if k.ID == j.ID || k.Nickname == j.Nickname {
			return Journal{}, fmt.Errorf("%w: the wallet has a journal of that id or nickname already", ErrText)
		}
	}
	w.journals = append(w.journals, j)
	return j, nil
}

// Find returns the journal with this nickname or id; an empty name finds the only one. Errors wrap ErrUnknownJournal.
func (w *Wallet) Find(name string) (Journal, error) {
	if name == "" && len(w.journals) == 1 {
		return w.journals[0], nil
	}
	for _, j := range w.journals {
		if j.Nickname == name || j.ID.String() == name {
			return j, nil
		}
	}
	return Journal{}, fmt.Errorf("%w (it has %d)", ErrUnknownJournal, len(w.journals))
}

// Keys derives a journal's keys.
func (w *Wallet) Keys(id protocol.JournalID) (*JournalKeys, error) {
	j, err := w.byID(id)
	if err != nil {
		return nil, err
	}
	return w.KeysAt(j.ID, j.KeyEpoch)
}

// KeysAt derives a journal's keys of another key epoch: the next one, or one to look for that the ledger knows. SetKeyEpoch remembers it.
func (w *Wallet) KeysAt(id protocol.JournalID, epoch uint8) (*JournalKeys, error) {
	j, err := w.byID(id)
	if err != nil {
		return nil, err
	}
	k, err := w.seed.journalKeys(j.ID, epoch, j.LabelEpoch)
	if err != nil {
		return nil, err
	}
	if !j.labelKey.IsZero() {
		k.labelKey = j.labelKey
	}
	for e := int(epoch) - 1; e >= 0; e-- {
		before, err := w.seed.journalKeys(j.ID, uint8(e), j.LabelEpoch)
		if err != nil {
			return nil, err
		}
		k.past = append(k.past, before.Identity)
	}
	return k, nil
}

// SetKeyEpoch says which key epoch of a journal the ledger knows.
func (w *Wallet) SetKeyEpoch(id protocol.JournalID, epoch uint8) error {
	j, err := w.byID(id)
	if err == nil {
		j.KeyEpoch = epoch
	}
	return err
}

// PastIdentities derives the identities of a journal's earlier key epochs, newest first: what was sealed to them still opens.
func (w *Wallet) PastIdentities(id protocol.JournalID) ([]*Identity, error) {
	j, err := w.byID(id)
	if err != nil {
		return nil, err
	}
	var past []*Identity
	for e := int(j.KeyEpoch) - 1; e >= 0; e-- {
		k, err := w.seed.journalKeys(j.ID, uint8(e), j.LabelEpoch)
		if err != nil {
			return nil, err
		}
		past = append(past, k.Identity)
	}
	return past, nil
}

// RotateKeys moves a journal to its next signing key and identity, RotateHandle to its next label key. The ledger must be told by an action.
func (w *Wallet) RotateKeys(id protocol.JournalID) error {
	return w.rotate(id, func(j *Journal) *uint8 { return &j.KeyEpoch })
}

// RotateHandle: see RotateKeys.
func (w *Wallet) RotateHandle(id protocol.JournalID) error {
	return w.rotate(id, func(j *Journal) *uint8 { j.labelKey = Secret{}; return &j.LabelEpoch })
}

func (w *Wallet) rotate(id protocol.JournalID, epoch func(*Journal) *uint8) error {
	j, err := w.byID(id)
	if err != nil {
		return err
	}
	changed := *j
	e := epoch(&changed)
	if *e == 255 {
		return fmt.Errorf("%w: 256 epochs", ErrLimit)
	}
	*e++
	*j = changed
	return nil
}

func (w *Wallet) byID(id protocol.JournalID) (*Journal, error) {
	for i := range w.journals {
		if w.journals[i].ID == id {
			return &w.journals[i], nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownJournal, id)
}

// Pin returns the largest checkpoint seen of a network.
func (w *Wallet) Pin(chain string) (Pin, bool) {
	for _, p := range w.pins {
		if p.Chain == chain {
			return p, true
		}
	}
	return Pin{}, false
}

// Advance replaces a network's pin by a newer checkpoint, whose signatures the caller has verified. proof is the RFC 6962 consistency
// proof from the pinned size to the new one (not needed for the first checkpoint or an equal one). Errors wrap ErrRollback or ErrFork.
func (w *Wallet) Advance(next Pin, proof []protocol.Hash) error {
	if next.Chain == "" || len(next.Chain) > protocol.ChainBytesMax || next.Size == 0 || next.Size > 1<<62 {
		return fmt.Errorf("%w: not a checkpoint", ErrText)
	}
	for i := range w.pins {
		if old := &w.pins[i]; old.Chain == next.Chain {
			if err := consistent(*old, next, proof); err != nil {
				return err
			}
			next.Time = max(next.Time, old.Time)
			*old = next
			return nil
		}
	}
	if len(w.pins) >= PinsMax {
		return fmt.Errorf("%w: a wallet remembers %d networks", ErrLimit, PinsMax)
	}
	w.pins = append(w.pins, next)
	return nil
}

func consistent(old, next Pin, proof []protocol.Hash) error {
	if next.Size < old.Size {
		return fmt.Errorf("%w: %d entries, of %d seen before", ErrRollback, next.Size, old.Size)
	}
	if next.Size == old.Size {
		if next.Root != old.Root {
			return fmt.Errorf("%w: two roots at size %d", ErrFork, next.Size)
		}
		return nil
	}
	p := make(tlog.TreeProof, len(proof))
	for i, h := range proof {
		p[i] = tlog.Hash(h)
	}
	if err := tlog.CheckTree(p, int64(next.Size), tlog.Hash(next.Root), int64(old.Size), tlog.Hash(old.Root)); err != nil {
		return fmt.Errorf("%w: size %d does not extend size %d: %w", ErrFork, next.Size, old.Size, err)
	}
	return nil
}

// checkText accepts one line of at least bytesMin bytes of printable UTF-8.
func checkText(what, s string, bytesMin int) error {
	if len(s) < bytesMin || len(s) > TextBytesMax {
		return fmt.Errorf("%w: %s has %d to %d bytes", ErrText, what, bytesMin, TextBytesMax)
	}
	if !utf8.ValidString(s) || strings.IndexFunc(s, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }) >= 0 {
		return fmt.Errorf("%w: %s is printable UTF-8", ErrText, what)
	}
	return nil
}
