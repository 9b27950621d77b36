package wallet

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Who controls a journal changes by what people hand to each other: offers of new keys, which are no secrets, and guardians' kits, which
// only the guardian opens.

// ErrControlOffer means that an offer of a key is not one, or is for another journal or network.
var ErrControlOffer = errors.New("not a valid offer")

// The kinds of offers, by how their text begins.
const (
	offerRecovery = "anamnesis-recovery:"
	offerDevice   = "anamnesis-device:"
	offerGuardian = "anamnesis-guardian:"
	kitPrefix     = "anamnesis-guardian-kit:"
)

// Limits.
const (
	offerCharsMax = 600
	KitBytesMax   = 64 << 10
)

func writeOffer(prefix string, parts ...[]byte) string {
	return prefix + base64.RawURLEncoding.EncodeToString(bytes.Join(parts, nil))
}

func readOffer(prefix, text string, length int) ([]byte, error) {
	coded, ok := strings.CutPrefix(strings.TrimSpace(text), prefix)
	if !ok || len(text) > offerCharsMax {
		return nil, fmt.Errorf("%w: it begins with %s", ErrControlOffer, prefix)
	}
	raw, err := base64.RawURLEncoding.DecodeString(coded)
	if err != nil || len(raw) != length {
		return nil, fmt.Errorf("%w: it is cut off or changed", ErrControlOffer)
	}
	return raw, nil
}

// Successor is a new controller of a journal: of a wallet that lost its keys, or of the same wallet after a rotation.
type Successor struct {
	Journal    protocol.JournalID
	Controller protocol.PublicKey
	Recipient  Recipient
	Proof      []byte // its signature of protocol.ControlMessage
}

// Successor offers these keys as the journal's new controller.
func (k *JournalKeys) Successor(chain string) Successor {
	s := Successor{Journal: k.Journal, Controller: k.Signing.Public(), Recipient: k.Identity.Recipient()}
	s.Proof = k.Signing.Sign(protocol.ControlMessage(chain, k.Journal, s.Controller, s.Recipient))
	return s
}

// String is what the wallet's owner gives to the guardians.
func (s Successor) String() string {
	return writeOffer(offerRecovery, s.Journal[:], s.Controller[:], s.Recipient[:], s.Proof)
}

// ParseSuccessor reads an offer and checks its proof. Errors wrap ErrControlOffer.
func ParseSuccessor(text, chain string) (s Successor, err error) {
	raw, err := readOffer(offerRecovery, text, 16+32+32+64)
	if err != nil {
		return s, err
	}
	s = Successor{Journal: protocol.JournalID(raw[:16]), Controller: protocol.PublicKey(raw[16:48]), Recipient: Recipient(raw[48:80]), Proof: raw[80:]}
	if !protocol.VerifySignature(s.Controller, protocol.ControlMessage(chain, s.Journal, s.Controller, s.Recipient), s.Proof) {
		return s, fmt.Errorf("%w: its proof does not hold; is it for another network?", ErrControlOffer)
	}
	return s, nil
}

// DeviceOffer is a device that wants to sign for a journal.
type DeviceOffer struct {
	Journal protocol.JournalID
	Key     protocol.PublicKey
	Salt    [16]byte // of the name's commitment
	Name    string   // what the patient calls it; it stays off the ledger
	Proof   []byte   // its signature of protocol.DeviceMessage
}

// Commitment is what the ledger holds of a device's name.
func (o DeviceOffer) Commitment() protocol.Hash {
	return protocol.Digest("anamnesis/device-name/v1", o.Salt[:], []byte(o.Name))
}

// OfferDevice offers these keys, which are a device's own, as a device of the journal.
func (k *JournalKeys) OfferDevice(chain, name string) (DeviceOffer, error) {
	o := DeviceOffer{Journal: k.Journal, Key: k.Signing.Public(), Name: name}
	if err := checkDeviceName(name); err != nil {
		return o, err
	}
	_, _ = rand.Read(o.Salt[:])
	o.Proof = k.Signing.Sign(protocol.DeviceMessage(chain, k.Journal, o.Key, o.Commitment()))
	return o, nil
}

const deviceNameBytesMax = 64

func checkDeviceName(name string) error {
	if len(name) > deviceNameBytesMax {
		return fmt.Errorf("%w: a device's name has at most %d bytes", ErrText, deviceNameBytesMax)
	}
	return checkText("a device's name", name, 1)
}

// String is what the device shows, for the wallet that controls the journal.
func (o DeviceOffer) String() string {
	return writeOffer(offerDevice, o.Journal[:], o.Key[:], o.Salt[:], o.Proof, []byte(o.Name))
}

// ParseDeviceOffer reads an offer and checks its proof. Errors wrap ErrControlOffer.
func ParseDeviceOffer(text, chain string) (o DeviceOffer, err error) {
	const fixed = 16 + 32 + 16 + 64
	coded, ok := strings.CutPrefix(strings.TrimSpace(text), offerDevice)
	if !ok || len(text) > offerCharsMax {
		return o, fmt.Errorf("%w: it begins with %s", ErrControlOffer, offerDevice)
	}
	raw, err := base64.RawURLEncoding.DecodeString(coded)
	if err != nil || len(raw) < fixed {
		return o, fmt.Errorf("%w: it is cut off or changed", ErrControlOffer)
	}
	o = DeviceOffer{Journal: protocol.JournalID(raw[:16]), Key: protocol.PublicKey(raw[16:48]), Salt: [16]byte(raw[48:64]), Proof: raw[64:fixed], Name: string(raw[fixed:])}
	if err := checkDeviceName(o.Name); err != nil {
		return o, fmt.Errorf("%w: %w", ErrControlOffer, err)
	}
	if !protocol.VerifySignature(o.Key, protocol.DeviceMessage(chain, o.Journal, o.Key, o.Commitment()), o.Proof) {
		return o, fmt.Errorf("%w: its proof does not hold; is it for another network?", ErrControlOffer)
	}
	return o, nil
}

// Domain strings of guardians' keys.
const (
	domainGuardianKey = "guardian-signing-key"
	domainGuardianAge = "guardian-age-identity"
)

// GuardianOffer is somebody's readiness to be a guardian: a key to approve with, and a recipient for the kit. Each offer has keys of its own,
// which derive from the guardian's wallet and the offer's random id, so that two patients' guardians cannot be linked.
type GuardianOffer struct {
	ID        [16]byte
	Key       protocol.PublicKey
	Recipient Recipient
}

// OfferGuardian draws an offer.
func (w *Wallet) OfferGuardian() (GuardianOffer, error) {
	o := GuardianOffer{}
	_, _ = rand.Read(o.ID[:])
	key, identity, err := w.guardianKeys(o.ID)
	if err != nil {
		return o, err
	}
	o.Key, o.Recipient = key.Public(), identity.Recipient()
	return o, nil
}

func (w *Wallet) guardianKeys(id [16]byte) (*SigningKey, *Identity, error) {
	seed, scalar := w.seed.derive(32, domainGuardianKey, id[:]), w.seed.derive(32, domainGuardianAge, id[:])
	defer clear(seed)
	defer clear(scalar)
	identity, err := newIdentity(scalar)
	return newSigningKey(seed), identity, err
}

// String is what the guardian gives to the patient.
func (o GuardianOffer) String() string {
	return writeOffer(offerGuardian, o.ID[:], o.Key[:], o.Recipient[:])
}

// ParseGuardianOffer reads an offer. Errors wrap ErrControlOffer.
func ParseGuardianOffer(text string) (o GuardianOffer, err error) {
	raw, err := readOffer(offerGuardian, text, 16+32+32)
	if err != nil {
		return o, err
	}
	o = GuardianOffer{ID: [16]byte(raw[:16]), Key: protocol.PublicKey(raw[16:48]), Recipient: Recipient(raw[48:])}
	if _, err := o.Recipient.age(); err != nil || o.Key.IsZero() {
		return o, fmt.Errorf("%w: a key in it makes no sense", ErrControlOffer)
	}
	return o, nil
}

// NewGuardianPolicy makes the policy of groups of offers: need[i] of groups[i], all groups together, after the delay.
func NewGuardianPolicy(delayMillis uint64, need []int, groups [][]GuardianOffer) (protocol.GuardianPolicy, error) {
	p := protocol.GuardianPolicy{DelayMillis: delayMillis}
	_, _ = rand.Read(p.Salt[:])
	for i, g := range groups {
		if need[i] < 1 || need[i] > 255 {
			return p, fmt.Errorf("%w: a group needs at least one guardian", ErrText)
		}
		group := protocol.GuardianGroup{Need: uint8(need[i])}
		for _, o := range g {
			group.Keys = append(group.Keys, o.Key)
		}
		p.Groups = append(p.Groups, group)
	}
	if err := p.Validate(); err != nil {
		return p, fmt.Errorf("%w: %w", ErrText, err)
	}
	return p, nil
}

// Kit is what a guardian keeps: everything that it takes to help, and nothing that opens a record.
type Kit struct {
	Network Network         `json:"network"`
	Handle  protocol.Handle `json:"handle"`
	Policy  []byte          `json:"policy"` // canonical encoding of protocol.GuardianPolicy
	Note    string          `json:"note"`   // from the patient
	Made    uint64          `json:"made_ms"`
}

// ErrKit means that a guardian's kit is damaged, or is not this wallet's.
var ErrKit = errors.New("not a guardian's kit for this wallet")

// Seal is the kit as a text file that only the guardian who made the offer opens.
func (k Kit) Seal(to GuardianOffer) ([]byte, error) {
	if err := errors.Join(k.Network.check(), checkText("a note", k.Note, 0)); err != nil {
		return nil, err
	}
	plain, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("wallet: encoding: %w", err)
	}
	defer clear(plain)
	r, err := to.Recipient.age()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrControlOffer, err)
	}
	sealed, err := ageEncrypt(plain, r)
	if err != nil {
		return nil, err
	}
	return []byte(kitPrefix + base64.RawURLEncoding.EncodeToString(append(to.ID[:], sealed...)) + "\n"), nil
}

// Guardian is somebody who holds a kit, in the act of helping.
type Guardian struct {
	Kit    Kit
	Policy protocol.GuardianPolicy
	Key    *SigningKey
	hidden
}

// OpenKit opens a kit with the guardian's wallet. Errors wrap ErrKit.
func (w *Wallet) OpenKit(text []byte) (*Guardian, error) {
	coded, ok := strings.CutPrefix(strings.TrimSpace(string(text)), kitPrefix)
	if !ok || len(text) > KitBytesMax {
		return nil, fmt.Errorf("%w: it begins with %s", ErrKit, kitPrefix)
	}
	raw, err := base64.RawURLEncoding.DecodeString(coded)
	if err != nil || len(raw) < 17 {
		return nil, fmt.Errorf("%w: it is cut off or changed", ErrKit)
	}
	key, identity, err := w.guardianKeys([16]byte(raw))
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(bytes.NewReader(raw[16:]), identity)
	if err != nil {
		return nil, fmt.Errorf("%w: it was made for another wallet, or is damaged", ErrKit)
	}
	plain, err := io.ReadAll(io.LimitReader(r, KitBytesMax))
	defer clear(plain)
	g := &Guardian{Key: key}
	if err != nil || json.Unmarshal(plain, &g.Kit) != nil {
		return nil, fmt.Errorf("%w: it is damaged", ErrKit)
	}
	if g.Policy, err = protocol.ParseGuardianPolicy(g.Kit.Policy); err != nil || !g.Policy.Has(key.Public()) || g.Kit.Network.check() != nil {
		return nil, fmt.Errorf("%w: its policy does not name this wallet", ErrKit)
	}
	return g, nil
}

// Signer is what a guardian's envelopes name.
func (g *Guardian) Signer() protocol.Signer {
	return protocol.GuardianSigner(g.Kit.Handle.Journal, g.Key.Public())
}

// Rehearsal is what a backup would bring back, journal by journal, beside the wallet that is there.
type Rehearsal struct {
	SameSeed bool // without it nothing else matters
	Journals []RehearsedJournal
	Pins     int // verified checkpoints that the backup lacks or has older
	Notes    int // notes on contracts that it lacks
}

// RehearsedJournal tells of one journal of the wallet whether the backup's keys are the same.
type RehearsedJournal struct {
	ID       protocol.JournalID `json:"id"`
	Nickname string             `json:"name"`
	Keys     bool               `json:"keys"` // signing key and identity, of the current key epoch
	Handle   bool               `json:"handle"`
	Known    bool               `json:"known"` // the backup lists the journal; recovery words list none, and find those that the wallet opened in their order
}

// Complete tells whether the backup brings everything back that matters.
func (r Rehearsal) Complete() bool {
	for _, j := range r.Journals {
		if !j.Keys || !j.Handle {
			return false
		}
	}
	return r.SameSeed
}

// Rehearse compares a backup with the wallet, and changes neither. words: the backup is recovery words alone, from which the journals that
// the wallet opened derive, at any key epoch; those that it adopted need their handle from elsewhere.
func (w *Wallet) Rehearse(backup *Wallet, words bool) (Rehearsal, error) {
	r := Rehearsal{SameSeed: w.seed.secret.Equal(backup.seed.secret)}
	for _, j := range w.journals {
		mine, err := w.Keys(j.ID)
		if err != nil {
			return r, err
		}
		out := RehearsedJournal{ID: j.ID, Nickname: j.Nickname}
		theirs, err := backup.Keys(j.ID)
		out.Known = err == nil
		if words && !out.Known {
			theirs, err = backup.seed.journalKeys(j.ID, j.KeyEpoch, j.LabelEpoch)
			if err == nil && j.Adopted && !j.labelKey.IsZero() {
				theirs.labelKey = Secret{}
			}
		}
		if err == nil {
			out.Keys = mine.Signing.private.Equal(theirs.Signing.private) && mine.Identity.Recipient() == theirs.Identity.Recipient()
			out.Handle = mine.labelKey.Equal(theirs.labelKey) && mine.labelEpoch == theirs.labelEpoch
		}
		r.Journals = append(r.Journals, out)
	}
	for _, p := range w.pins {
		if q, ok := backup.Pin(p.Chain); !ok || q.Size < p.Size {
			r.Pins++
		}
	}
	r.Notes = max(0, len(w.Contracts)-len(backup.Contracts))
	return r, nil
}

// Drop forgets a journal that never became the wallet's: what was adopted and could not be claimed.
func (w *Wallet) Drop(id protocol.JournalID) {
	for i := range w.journals {
		if w.journals[i].ID == id {
			w.journals = append(w.journals[:i:i], w.journals[i+1:]...)
			return
		}
	}
}
