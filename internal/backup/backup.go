// Package backup writes a stopped node's folder into one encrypted file, and makes a node's folder of such a file again. docs/spec/backup.md has
// the format.
//
// What is in it: the keys, the shares, the blocks, what the validator signed last, the node's book, where patients want to be told, and the
// tombstones of the vault. What is not: the vault's files, which the other members hold too and which must be forgotten when a patient says so; the
// ledger, which the blocks make anew; the engine's log of messages; the packages of one-time codes, whose five tries a copy would give back.
//
// A restored folder is older than what its node has signed since. So Restore marks it, and the node finds its way back by itself before it signs
// anything (internal/node, restored.go); or, if every node was lost, as the operators state.
//
// Both directions stream: memory does not grow with the folder, but for 32 bytes a tombstone and some 200 a file.
package backup

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/notify"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Format is what a manifest calls itself.
const Format = "anamnesis/backup/v1"

// Limits, of what is written and of what is taken.
const (
	FilesMax         = 1 << 20
	ManifestBytesMax = 256 << 20
	FileBytesMax     = 1 << 40
	TotalBytesMax    = 1 << 44
	TombstonesMax    = 1 << 22 // 128 MiB of hashes
	workFactor       = 18      // of scrypt, log2 N: the file lies where others may copy it
	workFactorMax    = 20
)

// Errors. Those of the file system are passed on: a full disk is syscall.ENOSPC.
var (
	ErrNoNode     = errors.New("the folder is no node's")
	ErrInUse      = errors.New("a node runs on the folder")
	ErrHeld       = errors.New("the folder was restored itself, and its node has not come back yet")
	ErrPassphrase = errors.New("the passphrase does not open it")
	ErrNotBackup  = errors.New("the file is no backup of a node")
	ErrVersion    = errors.New("the backup is of another version of this program")
	ErrDamaged    = errors.New("the backup is damaged, cut off or altered")
	ErrSource     = errors.New("the folder is damaged")
	ErrLimit      = errors.New("the backup is too large")
	ErrNotEmpty   = errors.New("there is something in the folder already")
	ErrExists     = errors.New("there is such a file already")
	ErrStatement  = errors.New("so many nodes cannot come back")
	ErrSmall      = errors.New("the network is too small for a restored node to find its way back by itself")
)

// Manifest is the first entry of the archive: what the backup is of, and every file that follows, in this order.
type Manifest struct {
	Format  string            `json:"format"`
	Chain   string            `json:"chain"`
	Member  protocol.MemberID `json:"member"`
	Name    string            `json:"name"`
	Made    uint64            `json:"made_ms"` // UTC
	Genesis string            `json:"genesis"` // hex of the canonical encoding
	Height  uint64            `json:"height"`  // of the last block
	Signed  uint64            `json:"signed"`  // height of the last message that the validator signed
	Log     Log               `json:"log"`
	Files   []File            `json:"files"`
}

// Log is the ledger as it stood: at the last block, or before it if the node was not stopped cleanly.
type Log struct {
	Height  uint64        `json:"height"`
	Size    uint64        `json:"size"` // entries
	AppHash protocol.Hash `json:"app_hash"`
}

// File is one file of the folder.
type File struct {
	Path   string        `json:"path"` // slashes, below the folder
	Bytes  int64         `json:"bytes"`
	SHA256 protocol.Hash `json:"sha256"`
}

const (
	manifestName   = "manifest.json"
	keysFile       = "keys.age"
	signStateFile  = "engine/sign-state"
	tombstonesFile = "vault/tombstones" // hashes of 32 bytes, ascending; in the folder each is a file of its own
)

var (
	storeName  = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,99}$`)
	secretName = regexp.MustCompile(`^(share|receiver|dealing|portion|ciphertext)(-[0-9]{1,10}){1,3}$`)
)

// belongs tells whether a path may be in a backup. There is nothing else that could be written anywhere.
func belongs(p string) bool {
	dir, name := path.Split(p)
	switch dir {
	case "":
		return name == keysFile
	case "engine/":
		return p == signStateFile
	case "engine/store/", "book/":
		return storeName.MatchString(name) && name != "LOCK"
	case "secrets/":
		return secretName.MatchString(name)
	case "gateway/":
		return name == notify.FileName || name == notify.FileName+"-wal"
	case "vault/":
		return p == tombstonesFile
	}
	return false
}

// genesis decodes and checks.
func (m *Manifest) genesis() (g protocol.Genesis, err error) {
	raw, err := hex.DecodeString(m.Genesis)
	if err != nil {
		return g, err
	}
	if err := protocol.Decode(raw, &g); err != nil {
		return g, err
	}
	if err := g.Validate(); err != nil {
		return g, err
	}
	if g.Chain != m.Chain {
		return g, errors.New("the genesis is of another chain")
	}
	return g, nil
}

// bytes is how much the files have together.
func (m *Manifest) bytes() (total int64) {
	for _, f := range m.Files {
		total += f.Bytes
	}
	return total
}

// parseManifest reads a manifest and checks all that can be checked without the files.
func parseManifest(raw []byte) (*Manifest, error) {
	var version struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(raw, &version); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotBackup, err)
	}
	switch {
	case !strings.HasPrefix(version.Format, "anamnesis/backup/"):
		return nil, ErrNotBackup
	case version.Format != Format:
		return nil, fmt.Errorf("%w: %.40q, this one reads %q", ErrVersion, version.Format, Format)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	m := new(Manifest)
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrDamaged, err)
	}
	return m, m.check()
}

func (m *Manifest) check() error {
	if len(m.Files) > FilesMax {
		return fmt.Errorf("%w: %d files, at most %d", ErrLimit, len(m.Files), FilesMax)
	}
	total, last := int64(0), ""
	for _, f := range m.Files {
		if !belongs(f.Path) || f.Path <= last {
			return fmt.Errorf("%w: %.80q is no place for a file", ErrDamaged, f.Path)
		}
		most := int64(FileBytesMax)
		if f.Path == tombstonesFile {
			most = TombstonesMax * int64(len(protocol.Hash{}))
		}
		if f.Bytes < 0 || f.Bytes > most || total > TotalBytesMax-f.Bytes {
			return fmt.Errorf("%w: %s has %d bytes", ErrLimit, f.Path, f.Bytes)
		}
		total, last = total+f.Bytes, f.Path
	}
	for _, need := range []string{keysFile, signStateFile, tombstonesFile} {
		if !slices.ContainsFunc(m.Files, func(f File) bool { return f.Path == need }) {
			return fmt.Errorf("%w: %s is missing", ErrDamaged, need)
		}
	}
	if m.Height > math.MaxInt64 || m.Log.Height > m.Height {
		return fmt.Errorf("%w: a ledger at block %d of %d", ErrDamaged, m.Log.Height, m.Height)
	}
	if _, err := m.genesis(); err != nil {
		return fmt.Errorf("%w: genesis: %w", ErrDamaged, err)
	}
	return nil
}
