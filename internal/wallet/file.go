package wallet

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Errors of reading a wallet's or an actor's file.
var (
	ErrPassphrase = errors.New("the passphrase is wrong")
	ErrCorrupt    = errors.New("the file is damaged or not of this kind")
	ErrTooNew     = errors.New("the file was written by a newer version")
	ErrWorkFactor = errors.New("the file asks for more work to open than is allowed")
)

const (
	formatWallet = "anamnesis-wallet"
	formatActor  = "anamnesis-actor"
	fileVersion  = 1
)

// Option changes how a file is written.
type Option func(*options)

type options struct{ logN int }

// WithWorkFactor sets scrypt's work factor to 2^logN, 1 ≤ logN ≤ ScryptLogNMax. Anything below ScryptLogNDefault is for tests alone: it
// makes the passphrase cheap to guess.
func WithWorkFactor(logN int) Option { return func(o *options) { o.logN = logN } }

// The files' content, JSON inside age. Binary fields are lowercase hexadecimal digits.
type (
	envelope struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	walletFile struct {
		envelope
		Seed      string        `json:"seed"`
		Network   Network       `json:"network"`
		Journals  []journalFile `json:"journals"`
		Pins      []Pin         `json:"pins"`
		Contracts []Contract    `json:"contracts"`
		Devices   []DeviceNote  `json:"devices,omitempty"`
	}
	journalFile struct {
		ID         protocol.JournalID `json:"id"`
		Index      uint32             `json:"index"`
		Adopted    bool               `json:"adopted"`
		Nickname   string             `json:"nickname"`
		KeyEpoch   uint8              `json:"key_epoch"`
		LabelEpoch uint8              `json:"label_epoch"`
		LabelKey   string             `json:"label_key,omitempty"`
	}
	actorFile struct {
		envelope
		Network Network            `json:"network"`
		Kind    protocol.ActorKind `json:"kind"`
		ID      string             `json:"id"`
		Name    string             `json:"name"`
		Seed    string             `json:"seed"`
		Handle  *protocol.Handle   `json:"handle,omitempty"`
	}
)

// Encrypt is the wallet's file: JSON encrypted to the passphrase as age does it (scrypt), so that age -d opens it.
func (w *Wallet) Encrypt(passphrase string, opts ...Option) ([]byte, error) {
	f, err := w.file()
	if err != nil {
		return nil, err
	}
	return encrypt(f, passphrase, opts)
}

func (w *Wallet) file() (*walletFile, error) {
	if w.seed.secret.IsZero() {
		return nil, fmt.Errorf("%w: a wallet without a seed", ErrText)
	}
	f := &walletFile{
		envelope: envelope{formatWallet, fileVersion},
		Seed:     w.seed.secret.Hex(),
		Network:  w.Network, Pins: w.pins, Contracts: w.Contracts, Devices: w.Devices,
	}
	for _, j := range w.journals {
		f.Journals = append(f.Journals, journalFile{j.ID, j.Index, j.Adopted, j.Nickname, j.KeyEpoch, j.LabelEpoch, j.labelKey.Hex()})
	}
	return f, f.check()
}

// Decrypt opens a wallet's file. Errors wrap ErrPassphrase, ErrCorrupt, ErrTooNew or ErrWorkFactor.
func Decrypt(data []byte, passphrase string) (*Wallet, error) {
	var f walletFile
	if err := decrypt(data, passphrase, formatWallet, &f); err != nil {
		return nil, err
	}
	return f.wallet()
}

// wallet checks what the file says; errors wrap ErrCorrupt.
func (f *walletFile) wallet() (*Wallet, error) {
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	seed, err := hexSecret(f.Seed, SeedBytes)
	if err != nil {
		return nil, err
	}
	w := &Wallet{Network: f.Network, Contracts: f.Contracts, Devices: f.Devices, seed: Seed{seed}, pins: f.Pins}
	for _, e := range f.Journals {
		j := Journal{ID: e.ID, Index: e.Index, Adopted: e.Adopted, Nickname: e.Nickname, KeyEpoch: e.KeyEpoch, LabelEpoch: e.LabelEpoch}
		if e.LabelKey != "" {
			if j.labelKey, err = hexSecret(e.LabelKey, len(protocol.LabelKey{})); err != nil {
				return nil, err
			}
		}
		if !j.Adopted && w.seed.JournalID(j.Index) != j.ID {
			return nil, fmt.Errorf("%w: journal %s does not belong to the seed", ErrCorrupt, j.ID)
		}
		if _, err := w.add(j); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return w, nil
}

func (f *walletFile) check() error {
	if err := f.Network.check(); err != nil {
		return err
	}
	if len(f.Journals) > JournalsMax || len(f.Pins) > PinsMax || len(f.Contracts) > ContractsMax {
		return fmt.Errorf("%w: journals %d of %d, pins %d of %d, contracts %d of %d", ErrLimit,
			len(f.Journals), JournalsMax, len(f.Pins), PinsMax, len(f.Contracts), ContractsMax)
	}
	if len(f.Devices) > DevicesMax {
		return fmt.Errorf("%w: devices %d of %d", ErrLimit, len(f.Devices), DevicesMax)
	}
	for _, d := range f.Devices {
		if err := checkDeviceName(d.Name); err != nil {
			return err
		}
	}
	for _, c := range f.Contracts {
		if err := errors.Join(checkText("a template", c.Template, 0), checkText("a note", c.Note, 0)); err != nil {
			return err
		}
	}
	return nil
}

func (n Network) check() error {
	if len(n.Chain) > protocol.ChainBytesMax || len(n.Policy) > PolicyBytesMax {
		return fmt.Errorf("%w: a network's id has at most %d bytes, its policy %d", ErrLimit, protocol.ChainBytesMax, PolicyBytesMax)
	}
	return errors.Join(checkText("a network's id", n.Chain, 0), checkText("a gateway's address", n.Gateway, 0))
}

// Encrypt is the actor's file, in the same container as a wallet's.
func (a *Actor) Encrypt(passphrase string, opts ...Option) ([]byte, error) {
	if err := errors.Join(a.check(), a.Network.check()); err != nil {
		return nil, err
	}
	seed := a.Key.seed()
	defer clear(seed)
	return encrypt(actorFile{
		envelope: envelope{formatActor, fileVersion},
		Network:  a.Network, Kind: a.Kind, ID: hex.EncodeToString(a.ID[:]), Name: a.Name, Seed: hex.EncodeToString(seed), Handle: a.Handle,
	}, passphrase, opts)
}

// DecryptActor opens an actor's file. Errors as Decrypt's.
func DecryptActor(data []byte, passphrase string) (*Actor, error) {
	var f actorFile
	if err := decrypt(data, passphrase, formatActor, &f); err != nil {
		return nil, err
	}
	seed, err := hexSecret(f.Seed, SeedBytes)
	if err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(f.ID)
	if err != nil || len(id) != 16 {
		return nil, fmt.Errorf("%w: an id has 16 bytes", ErrCorrupt)
	}
	a := &Actor{Network: f.Network, Kind: f.Kind, ID: [16]byte(id), Name: f.Name, Key: newSigningKey(seed.Reveal()), Handle: f.Handle}
	if err := errors.Join(a.check(), a.Network.check()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return a, nil
}

// hexSecret never repeats its input.
func hexSecret(s string, bytes int) (Secret, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != bytes {
		return Secret{}, fmt.Errorf("%w: a key is not %d bytes in hexadecimal", ErrCorrupt, bytes)
	}
	defer clear(b)
	return NewSecret(b), nil
}

func encrypt(content any, passphrase string, opts []Option) ([]byte, error) {
	o := options{logN: ScryptLogNDefault}
	for _, f := range opts {
		f(&o)
	}
	if o.logN < 1 || o.logN > ScryptLogNMax {
		return nil, fmt.Errorf("%w: work factor %d, at most %d", ErrLimit, o.logN, ScryptLogNMax)
	}
	if passphrase == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrPassphrase)
	}
	plain, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("wallet: encoding: %w", err)
	}
	defer clear(plain)
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("wallet: %w", err)
	}
	r.SetWorkFactor(o.logN)
	out, err := ageEncrypt(append(plain, '\n'), r)
	if err == nil && len(out) > WalletFileBytesMax {
		return nil, fmt.Errorf("%w: a file of %d bytes, at most %d", ErrLimit, len(out), WalletFileBytesMax)
	}
	return out, err
}

func ageEncrypt(plain []byte, to ...age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(len(plain) + len(plain)/4096 + 1024)
	w, err := age.Encrypt(&out, to...)
	if err != nil {
		return nil, fmt.Errorf("wallet: %w", err)
	}
	if _, err = w.Write(plain); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("wallet: %w", err)
	}
	return out.Bytes(), nil
}

func decrypt(data []byte, passphrase, format string, into any) error {
	if len(data) > WalletFileBytesMax {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrCorrupt, len(data), WalletFileBytesMax)
	}
	if passphrase == "" {
		return fmt.Errorf("%w: it is empty", ErrPassphrase)
	}
	if err := checkScryptHeader(data); err != nil {
		return err
	}
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPassphrase, err)
	}
	id.SetMaxWorkFactor(ScryptLogNMax)
	r, err := age.Decrypt(bytes.NewReader(data), id)
	if errors.Is(err, age.ErrIncorrectIdentity) {
		return ErrPassphrase
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	plain, err := io.ReadAll(r)
	defer clear(plain)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return decodeFile(plain, format, into)
}

// checkScryptHeader looks at the header before any work is done: exactly one scrypt stanza, within the limit.
func checkScryptHeader(data []byte) error {
	stanzas, err := stanzasOf(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(stanzas) != 1 || stanzas[0].Type != "scrypt" || len(stanzas[0].Args) != 2 {
		return fmt.Errorf("%w: it is not encrypted with a passphrase", ErrCorrupt)
	}
	var logN int
	if n, err := fmt.Sscanf(stanzas[0].Args[1], "%d", &logN); n != 1 || err != nil || logN < 1 {
		return fmt.Errorf("%w: its work factor is not a number", ErrCorrupt)
	}
	if logN > ScryptLogNMax {
		return fmt.Errorf("%w: 2^%d, at most 2^%d", ErrWorkFactor, logN, ScryptLogNMax)
	}
	return nil
}

// decodeFile reads the JSON inside: the version first, then strictly. Errors do not repeat the content.
func decodeFile(plain []byte, format string, into any) error {
	var e envelope
	if json.Unmarshal(plain, &e) != nil || e.Format != format {
		return fmt.Errorf("%w: the content is not %s", ErrCorrupt, format)
	}
	if e.Version > fileVersion {
		return fmt.Errorf("%w: %s version %d, this program knows %d", ErrTooNew, format, e.Version, fileVersion)
	}
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil || e.Version != fileVersion {
		return fmt.Errorf("%w: the content is not %s version %d", ErrCorrupt, format, fileVersion)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the content", ErrCorrupt)
	}
	return nil
}
