package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Between `access request` and `access read`, the access's one-time key lies in FILE.accesses/ID beside the reader's key FILE, encrypted so
// that only that key opens it: AES-256-GCM under HKDF-SHA256 of the reader's (deterministic) Ed25519 signature over a message that is made
// for this alone and is never sent. What lies there is of no use after the access's deadline, and goes then.

// keptAccess is what lies in such a file.
type keptAccess struct {
	Journal  protocol.JournalID `json:"journal"`
	Decision api.AccessDecision `json:"decision"`
	Key      []byte             `json:"key"` // private half of the one-time key
	Chain    string             `json:"chain"`
}

const keptBytesMax = 1 << 20

func (s *staff) keptDir() string { return s.path + ".accesses" }

func (s *staff) keptFile(id protocol.AccessID) string {
	return filepath.Join(s.keptDir(), id.String())
}

// box encrypts for the reader's key alone.
func (s *staff) box() (cipher.AEAD, error) {
	message := protocol.Digest("anamnesis/cli/one-time-keys/v1", s.actor.ID[:])
	key, err := hkdf.Key(sha256.New, s.actor.Key.Sign(message[:]), nil, "anamnesis/cli/one-time-keys/v1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// keep puts a permitted access away until its deadline.
func (s *staff) keep(a *client.Access) error {
	s.forget()
	secret, err := a.OneTime.Reveal()
	if err != nil {
		return err
	}
	plain, err := json.Marshal(keptAccess{Journal: a.Journal, Decision: a.Decision, Key: secret.Reveal(), Chain: s.Network.Chain})
	if err != nil {
		return err
	}
	box, err := s.box()
	if err != nil {
		return err
	}
	nonce := make([]byte, box.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	if err := os.MkdirAll(s.keptDir(), 0o700); err != nil {
		return err
	}
	return wallet.CreateFile(s.keptFile(a.Decision.ID), box.Seal(nonce, nonce, plain, a.Decision.ID[:]))
}

// held lists the accesses whose keys are here and whose deadline has not passed.
func (s *staff) held() (out []protocol.AccessID, err error) {
	entries, err := os.ReadDir(s.keptDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		id, bad := protocol.ParseAccessID(e.Name())
		if bad != nil {
			continue
		}
		if k, bad := s.open(id); bad == nil && k.Decision.Deadline > now() {
			out = append(out, id)
		}
	}
	return out, err
}

func (s *staff) holds(id protocol.AccessID) bool {
	_, err := os.Stat(s.keptFile(id))
	return err == nil
}

func (s *staff) open(id protocol.AccessID) (k keptAccess, err error) {
	raw, err := wallet.ReadFile(s.keptFile(id))
	if err != nil {
		return k, err
	}
	box, err := s.box()
	if err != nil {
		return k, err
	}
	if len(raw) < box.NonceSize() || len(raw) > keptBytesMax {
		return k, fmt.Errorf("%w: %s", wallet.ErrCorrupt, s.keptFile(id))
	}
	plain, err := box.Open(nil, raw[:box.NonceSize()], raw[box.NonceSize():], id[:])
	if err != nil {
		return k, fmt.Errorf("%w: %s", wallet.ErrCorrupt, s.keptFile(id))
	}
	return k, json.Unmarshal(plain, &k)
}

// recall finds a kept access by the beginning of its id; "" is the only one.
func (s *staff) recall(text string) (*client.Access, error) {
	held, err := s.held()
	if err != nil {
		return nil, err
	}
	var id protocol.AccessID
	switch {
	case text == "" && len(held) == 1:
		id = held[0]
	case text == "" && len(held) == 0:
		return nil, failed("no-access", "no access is open here", "Ask with `anamnesis access request`.")
	case text == "":
		return nil, usage("%d accesses are open: name one; `anamnesis access list` shows them", len(held))
	default:
		if whole, err := protocol.ParseAccessID(text); err == nil {
			id = whole
		} else if id, err = pick("access", text, held); err != nil {
			return nil, err
		}
	}
	k, err := s.open(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failed("no-access", "the one-time key of access "+short(id)+" is not here, or its time is over", "Read with the key file it was requested with, or request access again.")
	}
	if err != nil {
		return nil, err
	}
	if k.Chain != s.Network.Chain {
		return nil, fmt.Errorf("%w: the access is one on %s", protocol.ErrWrongChain, k.Chain)
	}
	oneTime, err := wallet.ParseOneTimeKey(wallet.NewSecret(k.Key))
	if err != nil {
		return nil, err
	}
	return &client.Access{Decision: k.Decision, OneTime: oneTime, Reader: s.identity(), Journal: k.Journal}, nil
}

// forget drops keys whose time is over. What cannot be dropped now is dropped next time.
func (s *staff) forget() {
	entries, _ := os.ReadDir(s.keptDir())
	for _, e := range entries {
		id, err := protocol.ParseAccessID(e.Name())
		if err != nil {
			continue
		}
		if k, err := s.open(id); err == nil && k.Decision.Deadline+protocol.AccessDeadlineMillis < now() {
			_ = os.Remove(s.keptFile(id))
		}
	}
}
