package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"golang.org/x/crypto/chacha20poly1305"
)

// secrets keeps the custodian's shares and ceremony secrets: a file each, XChaCha20-Poly1305 under the node's storage key, the name as
// additional data. A file of its own each, so that erasing one removes it from the disk's files at once. It implements custodian.Secrets.
type secrets struct {
	dir string
	key [32]byte
}

var errSecretDamaged = errors.New("a secret's file is damaged, or of another node")

// openSecrets opens the folder, which one process has at a time. What a crash left of files being written goes: it may be of a secret that was
// erased since.
func openSecrets(dir string, key [32]byte) (*secrets, error) {
	s := &secrets{dir: dir, key: key}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	left, err := s.List(".")
	for _, name := range left {
		err = errors.Join(err, s.Delete(name))
	}
	return s, err
}

func (s *secrets) path(name string) string { return filepath.Join(s.dir, name) }

func (s *secrets) Get(name string) ([]byte, bool, error) {
	raw, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	aead, err := chacha20poly1305.NewX(s.key[:])
	if err != nil {
		return nil, false, err
	}
	if len(raw) < aead.NonceSize() {
		return nil, false, fmt.Errorf("%w: %s", errSecretDamaged, name)
	}
	plain, err := aead.Open(nil, raw[:aead.NonceSize()], raw[aead.NonceSize():], []byte(name))
	if err != nil {
		return nil, false, fmt.Errorf("%w: %s", errSecretDamaged, name)
	}
	return plain, true, nil
}

func (s *secrets) Put(name string, value []byte) error {
	aead, err := chacha20poly1305.NewX(s.key[:])
	if err != nil {
		return err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	data := aead.Seal(nonce, nonce, value, []byte(name))
	old, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return wallet.CreateFile(s.path(name), data)
	}
	if err != nil {
		return err
	}
	return wallet.ReplaceFile(s.path(name), old, data)
}

func (s *secrets) Delete(name string) error {
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// List gives the names that begin with a prefix.
func (s *secrets) List(prefix string) (out []string, err error) {
	entries, err := os.ReadDir(s.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && !e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, err
}

// ReadShare reads a generation's share from the folder of a node that may be running: what a member with root on its own node can always
// do. It needs the node's passphrase; demonstrations and audits use it.
func ReadShare(dir, passphrase string, generation uint32) (*threshold.Share, error) {
	keys, err := LoadKeys(filepath.Join(dir, "keys.age"), passphrase)
	if err != nil {
		return nil, err
	}
	return keys.Share(dir, generation)
}

// Share is ReadShare for whoever has opened the node's keys.
func (k *Keys) Share(dir string, generation uint32) (*threshold.Share, error) {
	s := &secrets{dir: filepath.Join(dir, "secrets"), key: k.Storage}
	raw, ok, err := s.Get(fmt.Sprintf("share-%d", generation))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("no share of generation %d", generation)
	}
	return threshold.ParseShare(raw)
}

// CheckSecret tells whether a secret of a node's folder decrypts.
func CheckSecret(dir string, k *Keys, name string) error {
	s := &secrets{dir: filepath.Join(dir, "secrets"), key: k.Storage}
	_, _, err := s.Get(name)
	return err
}
