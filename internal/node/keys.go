package node

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Keys are a node's private keys, one for each use. At rest they lie in one age file under a passphrase.
type Keys struct {
	Member    ed25519.PrivateKey // signs the member's actions
	Validator ed25519.PrivateKey // votes on blocks
	Log       ed25519.PrivateKey // signs checkpoints
	Cosigner  ed25519.PrivateKey // cosigns the others' checkpoints
	Peer      ed25519.PrivateKey // TLS and the engine's wire
	Storage   [32]byte           // encrypts the node's secrets on disk
}

// keysFile is what the age file holds: canonical CBOR.
type keysFile struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Seeds   [5][32]byte
	Storage [32]byte
}

// Errors of opening a node's folder.
var (
	ErrPassphrase = errors.New("the passphrase does not open the node's keys")
	ErrKeysFile   = errors.New("the node's key file is damaged")
)

// keysWorkFactor is age's scrypt work factor (log2 N): about a second.
const keysWorkFactor = 15

// NewKeys makes fresh keys.
func NewKeys() (*Keys, error) {
	var f keysFile
	f.Version = 1
	for i := range f.Seeds {
		if _, err := rand.Read(f.Seeds[i][:]); err != nil {
			return nil, err
		}
	}
	if _, err := rand.Read(f.Storage[:]); err != nil {
		return nil, err
	}
	return f.keys(), nil
}

func (f *keysFile) keys() *Keys {
	k := &Keys{Storage: f.Storage}
	for i, p := range k.all() {
		*p = ed25519.NewKeyFromSeed(f.Seeds[i][:])
	}
	return k
}

func (k *Keys) all() []*ed25519.PrivateKey {
	return []*ed25519.PrivateKey{&k.Member, &k.Validator, &k.Log, &k.Cosigner, &k.Peer}
}

// Save writes the keys to a new file under a passphrase.
func (k *Keys) Save(path, passphrase string) error {
	f := keysFile{Version: 1, Storage: k.Storage}
	for i, p := range k.all() {
		f.Seeds[i] = [32]byte(p.Seed())
	}
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return err
	}
	r.SetWorkFactor(keysWorkFactor)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		return err
	}
	if _, err := w.Write(protocol.Encode(f)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return wallet.CreateFile(path, out.Bytes())
}

// LoadKeys reads a node's keys. Errors wrap ErrPassphrase, ErrKeysFile or fs.ErrNotExist.
func LoadKeys(path, passphrase string) (*Keys, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil { // an empty one
		return nil, fmt.Errorf("%w: %w", ErrPassphrase, err)
	}
	id.SetMaxWorkFactor(20)
	r, err := age.Decrypt(bytes.NewReader(raw), id)
	if err != nil {
		var wrong *age.NoIdentityMatchError
		if errors.As(err, &wrong) {
			return nil, ErrPassphrase
		}
		return nil, fmt.Errorf("%w: %w", ErrKeysFile, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeysFile, err)
	}
	var f keysFile
	if err := protocol.Decode(plain, &f); err != nil || f.Version != 1 {
		return nil, ErrKeysFile
	}
	return f.keys(), nil
}

// Public is a private key's public half.
func Public(k ed25519.PrivateKey) protocol.PublicKey {
	return protocol.PublicKey(k.Public().(ed25519.PublicKey))
}

// MemberOf is the registry's form of a member that runs a node with these keys.
func (k *Keys) MemberOf(kind protocol.MemberKind, name string) protocol.Member {
	return protocol.Member{Kind: kind, Name: name, Key: Public(k.Member),
		Node: protocol.NodeKeys{Validator: Public(k.Validator), Log: Public(k.Log), Cosigner: Public(k.Cosigner), Peer: Public(k.Peer)}}
}

// String keeps the keys out of logs.
func (k *Keys) String() string { return "[node keys]" }

// GoString keeps the keys out of logs.
func (k *Keys) GoString() string { return "[node keys]" }
