package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Options of both directions.
type Options struct {
	Dir        string // the node's folder
	File       string // the backup
	Passphrase string // of the node's keys; the file is encrypted under it
	Now        uint64 // UTC ms
	WorkFactor int    // scrypt's for the file, log2 N; 0: 18
	// Progress, if not nil, hears how far a step has come: "files read" and "files written" in bytes, "blocks" in blocks.
	Progress func(step string, done, total int64)
	// AllLost is the operators' statement, for Restore: every node of the network was lost, so many come back from backups, this one included, and
	// nothing that any of them signed exists beyond the newest of these backups. 0: none of that.
	AllLost int
}

func (o *Options) progress(step string, done, total int64) {
	if o.Progress != nil {
		o.Progress(step, done, total)
	}
}

// Write backs a stopped node's folder up into a new file: whole or not at all, durable on return. The folder stays as it is. Errors: ErrNoNode,
// ErrInUse, ErrHeld, ErrPassphrase, ErrSource, ErrLimit, ErrExists, ctx's, the file system's.
func Write(ctx context.Context, o Options) (*Manifest, error) {
	if _, err := os.Lstat(o.File); err == nil { // before the long work; the last word has the link
		return nil, fmt.Errorf("%w: %s", ErrExists, o.File)
	}
	s, err := openSource(&o)
	if err != nil {
		return nil, err
	}
	m, err := s.manifest(ctx)
	if err == nil {
		err = install(o.File, func(w io.Writer) error { return s.write(ctx, w, m) })
	}
	return m, errors.Join(err, s.close())
}

// source is a stopped node's folder. Its stores are held open, read-only, so that no node starts on it meanwhile.
type source struct {
	*Options
	keys       *node.Keys
	ledger     *ledger.Ledger
	chain      *consensus.Chain
	genesis    protocol.Genesis
	tombstones []byte
	closers    []func() error
}

func openSource(o *Options) (_ *source, err error) {
	s := &source{Options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.keys, err = node.LoadKeys(filepath.Join(o.Dir, keysFile), o.Passphrase)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no %s in %s", ErrNoNode, keysFile, o.Dir)
	case errors.Is(err, node.ErrPassphrase):
		return nil, ErrPassphrase
	case errors.Is(err, node.ErrKeysFile):
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	case err != nil:
		return nil, err
	}
	for _, open := range []func() error{s.openLedger, s.openBook, s.openChain, s.lookRestored} {
		if err := open(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *source) close() error {
	var errs []error
	for _, c := range slices.Backward(s.closers) {
		errs = append(errs, c())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// opened sorts the errors of opening a store.
func opened(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, state.ErrLocked), errors.Is(err, consensus.ErrLocked):
		return ErrInUse
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: no node has run on it: %s: %w", ErrNoNode, what, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrSource, what, err)
}

func (s *source) openLedger() error {
	store, err := state.OpenPebble(filepath.Join(s.Dir, "ledger"), state.PebbleOptions{ReadOnly: true})
	if err != nil {
		return opened("ledger", err)
	}
	s.closers = append(s.closers, store.Close)
	if s.ledger, err = ledger.Open(store); err != nil {
		return opened("ledger", err)
	}
	s.closers = append(s.closers, s.ledger.Close)
	g, begun := s.ledger.Genesis()
	if !begun {
		return fmt.Errorf("%w: its network has not begun", ErrNoNode)
	}
	s.genesis = g
	return nil
}

func (s *source) openBook() error {
	store, err := state.OpenPebble(filepath.Join(s.Dir, "book"), state.PebbleOptions{ReadOnly: true})
	if err == nil {
		s.closers = append(s.closers, store.Close)
	}
	return opened("book", err)
}

func (s *source) openChain() (err error) {
	if s.chain, err = consensus.Blocks(filepath.Join(s.Dir, "engine"), node.EngineGenesis(s.genesis)); err == nil {
		s.closers = append(s.closers, s.chain.Close)
	}
	return opened("engine", err)
}

func (s *source) lookRestored() error {
	marked, err := node.IsRestored(s.Dir)
	if err == nil && marked {
		err = ErrHeld // a copy without the mark would be dangerous, and one with it says less than the backup that it came from
	}
	return err
}

// manifest lists and hashes what goes into the backup.
func (s *source) manifest(ctx context.Context) (*Manifest, error) {
	head := s.ledger.Head()
	m := &Manifest{Format: Format, Chain: s.genesis.Chain, Made: s.Now, Genesis: hex.EncodeToString(protocol.Encode(s.genesis)), Height: s.chain.Height(),
		Log: Log{Height: head.Height, Size: head.Size, AppHash: head.AppHash}}
	if m.Log.Height > m.Height {
		return nil, fmt.Errorf("%w: the blocks end at %d, the ledger is at %d", ErrSource, m.Height, m.Log.Height)
	}
	var err error
	if m.Member, m.Name, err = memberOf(s.keys, s.genesis); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	if m.Signed, err = consensus.LastSigned(filepath.Join(s.Dir, "engine")); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	if err := s.readTombstones(); err != nil {
		return nil, err
	}
	if m.Files, err = s.list(); err != nil {
		return nil, err
	}
	done, total := int64(0), m.bytes()
	for i := range m.Files {
		f := &m.Files[i]
		sum := sha256.New()
		if err := s.copy(ctx, sum, f, func(n int64) { s.progress("files read", done+n, total) }); err != nil {
			return nil, err
		}
		f.SHA256 = protocol.Hash(sum.Sum(nil))
		done += f.Bytes
	}
	return m, m.check()
}

// memberOf is whose keys these are.
func memberOf(k *node.Keys, g protocol.Genesis) (protocol.MemberID, string, error) {
	for _, m := range g.Members {
		if m.HasNode() && m.Node.Validator == node.Public(k.Validator) {
			return m.ID(), m.Name, nil
		}
	}
	return protocol.MemberID{}, "", node.ErrNotMember
}

func (s *source) readTombstones() error {
	all, err := vault.Tombstones(filepath.Join(s.Dir, "vault"))
	if err != nil {
		return err
	}
	if len(all) > TombstonesMax {
		return fmt.Errorf("%w: %d erased files", ErrLimit, len(all))
	}
	for _, h := range all {
		s.tombstones = append(s.tombstones, h[:]...)
	}
	return nil
}

// list finds the files, in the order of their paths. What does not belong into a backup is passed over, links of all sorts included.
func (s *source) list() (out []File, err error) {
	for _, dir := range []string{"", "book", "engine", "engine/store", "gateway", "secrets"} {
		entries, err := os.ReadDir(filepath.Join(s.Dir, dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue // what must be there is looked for in the manifest
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := strings.TrimPrefix(dir+"/"+e.Name(), "/")
			if !e.Type().IsRegular() || !belongs(name) {
				continue
			}
			info, err := e.Info()
			if err != nil {
				return nil, err
			}
			out = append(out, File{Path: name, Bytes: info.Size()})
		}
	}
	out = append(out, File{Path: tombstonesFile, Bytes: int64(len(s.tombstones))})
	slices.SortFunc(out, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// copy writes exactly the bytes of a file.
func (s *source) copy(ctx context.Context, w io.Writer, f *File, progress func(int64)) error {
	var from io.Reader = bytes.NewReader(s.tombstones)
	if f.Path != tombstonesFile {
		file, err := os.Open(filepath.Join(s.Dir, filepath.FromSlash(f.Path)))
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		from = file
	}
	n, err := io.Copy(w, &step{ctx: ctx, r: io.LimitReader(from, f.Bytes), told: progress})
	if err == nil && n != f.Bytes {
		err = fmt.Errorf("%w: %s changed while it was read", ErrSource, f.Path)
	}
	return err
}

// step is a reader that ends with a context and says how far it is.
type step struct {
	ctx  context.Context
	r    io.Reader
	n    int64
	told func(int64)
}

func (s *step) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	s.told(s.n)
	return n, err
}

// write writes the archive: tar in zstd in age.
func (s *source) write(ctx context.Context, w io.Writer, m *Manifest) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(raw) > ManifestBytesMax {
		return fmt.Errorf("%w: the manifest has %d bytes", ErrLimit, len(raw))
	}
	to, err := age.NewScryptRecipient(s.Passphrase)
	if err != nil {
		return err
	}
	to.SetWorkFactor(workFactor)
	if s.WorkFactor > 0 {
		to.SetWorkFactor(s.WorkFactor)
	}
	sealed, err := age.Encrypt(w, to)
	if err != nil {
		return err
	}
	packed, err := zstd.NewWriter(sealed, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	t := tar.NewWriter(packed)
	if err := entry(t, manifestName, int64(len(raw))); err != nil {
		return err
	}
	if _, err := t.Write(raw); err != nil {
		return err
	}
	done, total := int64(0), m.bytes()
	for i := range m.Files {
		f := &m.Files[i]
		if err := entry(t, f.Path, f.Bytes); err != nil {
			return err
		}
		sum := sha256.New()
		if err := s.copy(ctx, io.MultiWriter(t, sum), f, func(n int64) { s.progress("files written", done+n, total) }); err != nil {
			return err
		}
		if protocol.Hash(sum.Sum(nil)) != f.SHA256 {
			return fmt.Errorf("%w: %s changed while it was read", ErrSource, f.Path)
		}
		done += f.Bytes
	}
	for _, c := range []io.Closer{t, packed, sealed} {
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

func entry(t *tar.Writer, name string, size int64) error {
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, Format: tar.FormatPAX})
}

// install has a file written beside its place and links it there once it is on disk; an existing one is never replaced.
func install(name string, write func(io.Writer) error) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), name); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %s", ErrExists, name)
		}
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
