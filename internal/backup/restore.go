package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/anamnesis-health/anamnesis/internal/consensus"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Restore makes a node's folder of a backup, in a place that is empty or not there: whole or not at all, durable on return. Every file is held
// against the manifest, every block against its signatures, and the ledger is executed anew from the blocks, before anything is put in place.
// Errors: ErrNotEmpty, ErrNotBackup, ErrPassphrase, ErrVersion, ErrDamaged, ErrLimit, ErrSmall, ErrStatement, ctx's, the file system's.
func Restore(ctx context.Context, o Options) (_ *Manifest, err error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := mustBeEmpty(dir); err != nil {
		return nil, err
	}
	f, err := os.Open(o.File)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	a, err := openArchive(f, o.Passphrase)
	if err != nil {
		return nil, err
	}
	defer a.packed.Close()
	r := &restoration{Options: &o, archive: a}
	if err := r.begin(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	if r.to, err = os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".restoring-*"); err != nil { // mode 0700
		return nil, err
	}
	defer func() { _ = os.RemoveAll(r.to) }() // gone already if all went well
	for _, step := range []func(context.Context) error{r.files, r.keys, r.tombstones, r.ledger, r.mark} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return r.m, r.putInPlace(dir)
}

func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%w: %s", ErrNotEmpty, filepath.Join(dir, entries[0].Name()))
	}
	return err
}

// archive is a backup that is being read.
type archive struct {
	packed *zstd.Decoder
	tar    *tar.Reader
}

func openArchive(f io.Reader, passphrase string) (*archive, error) {
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil { // an empty one
		return nil, fmt.Errorf("%w: %w", ErrPassphrase, err)
	}
	id.SetMaxWorkFactor(workFactorMax)
	plain, err := age.Decrypt(f, id)
	var wrong *age.NoIdentityMatchError
	switch {
	case errors.As(err, &wrong):
		return nil, ErrPassphrase
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotBackup, err)
	}
	packed, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return &archive{packed: packed, tar: tar.NewReader(packed)}, nil
}

// next finds an entry, which must be the one expected.
func (a *archive) next(name string, size int64) error {
	h, err := a.tar.Next()
	switch {
	case err != nil:
		return damaged(err)
	case h.Name != name || h.Typeflag != tar.TypeReg || size >= 0 && h.Size != size:
		return fmt.Errorf("%w: %.80q stands where %s should", ErrDamaged, h.Name, name)
	}
	return nil
}

// end makes sure that nothing follows, and that the file is whole to its last byte.
func (a *archive) end() error {
	h, err := a.tar.Next()
	if err == nil {
		return fmt.Errorf("%w: %.80q is not in the manifest", ErrDamaged, h.Name)
	}
	if !errors.Is(err, io.EOF) {
		return damaged(err)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(a.packed, 1)); err != nil || n > 0 {
		return damaged(err)
	}
	return nil
}

// damaged is an error of reading an archive: what was cut off reads as an early end.
func damaged(err error) error {
	switch {
	case err == nil:
		return fmt.Errorf("%w: more follows its end", ErrDamaged)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// restoration is a folder in the making.
type restoration struct {
	*Options
	archive *archive
	m       *Manifest
	genesis protocol.Genesis
	to      string
}

func (r *restoration) path(name string) string { return filepath.Join(r.to, filepath.FromSlash(name)) }

// begin reads the manifest, and refuses what cannot come to a good end before anything is written.
func (r *restoration) begin() error {
	h, err := r.archive.tar.Next()
	switch {
	case err != nil:
		return damaged(err)
	case h.Name != manifestName || h.Typeflag != tar.TypeReg:
		return fmt.Errorf("%w: it does not begin with %s", ErrNotBackup, manifestName)
	case h.Size > ManifestBytesMax:
		return fmt.Errorf("%w: the manifest has %d bytes", ErrLimit, h.Size)
	}
	raw, err := io.ReadAll(r.archive.tar)
	if err != nil {
		return damaged(err)
	}
	if r.m, err = parseManifest(raw); err != nil {
		return err
	}
	if r.genesis, err = r.m.genesis(); err != nil {
		return err
	}
	nodes := 0
	for _, m := range r.genesis.Members {
		if m.HasNode() {
			nodes++
		}
	}
	switch least := threshold.Threshold(nodes); {
	case nodes < node.RestoredNodesMin && r.AllLost == 0:
		return fmt.Errorf("%w: it has %d nodes", ErrSmall, nodes)
	case r.AllLost != 0 && (r.AllLost < least || r.AllLost > nodes):
		return fmt.Errorf("%w: of its %d nodes %d to %d can come back and agree, not %d", ErrStatement, nodes, least, nodes, r.AllLost)
	}
	return nil
}

// files unpacks, each file as the manifest says.
func (r *restoration) files(ctx context.Context) error {
	for _, dir := range []string{"book", "engine/store", "engine/wal", "gateway", "secrets", "vault"} {
		if err := os.MkdirAll(r.path(dir), 0o700); err != nil {
			return err
		}
	}
	done, total := int64(0), r.m.bytes()
	for i := range r.m.Files {
		f := &r.m.Files[i]
		if err := r.archive.next(f.Path, f.Bytes); err != nil {
			return err
		}
		from := &step{ctx: ctx, r: r.archive.tar, told: func(n int64) { r.progress("files written", done+n, total) }}
		if err := r.file(f, from); err != nil {
			return err
		}
		done += f.Bytes
	}
	return r.archive.end()
}

func (r *restoration) file(f *File, from io.Reader) error {
	w, err := os.OpenFile(r.path(f.Path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	read := &readSide{r: from}
	n, err := io.Copy(io.MultiWriter(w, sum), read)
	if err = errors.Join(err, w.Close()); err != nil {
		if read.err != nil {
			return damaged(read.err)
		}
		return err
	}
	if n != f.Bytes || protocol.Hash(sum.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%w: %s is not what the manifest says", ErrDamaged, f.Path)
	}
	return nil
}

// readSide tells an error of reading from one of writing.
type readSide struct {
	r   io.Reader
	err error
}

func (s *readSide) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// keys must open, and be the member's.
func (r *restoration) keys(context.Context) error {
	k, err := node.LoadKeys(r.path(keysFile), r.Passphrase)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if id, _, err := memberOf(k, r.genesis); err != nil || id != r.m.Member {
		return fmt.Errorf("%w: the keys are not the member's", ErrDamaged)
	}
	return nil
}

// tombstones become the vault's own, by the vault's own hand.
func (r *restoration) tombstones(ctx context.Context) error {
	raw, err := os.ReadFile(r.path(tombstonesFile))
	if err != nil {
		return err
	}
	if err := os.Remove(r.path(tombstonesFile)); err != nil {
		return err
	}
	v, err := vault.Open(ctx, r.path("vault"), vault.Options{AwaitErasures: true})
	if err != nil {
		return err
	}
	const size = len(protocol.Hash{})
	if len(raw)%size != 0 {
		err = fmt.Errorf("%w: %s has a broken end", ErrDamaged, tombstonesFile)
	}
	var page []vault.Hash
	for at := 0; at+size <= len(raw) && err == nil; at += size {
		if page = append(page, vault.Hash(raw[at:])); len(page) == vault.DeleteFilesMax || at+size == len(raw) {
			err = v.DeleteAll(ctx, page)
			page = page[:0]
		}
	}
	return errors.Join(err, v.Close())
}

// ledger executes the blocks, each checked, into a fresh ledger; at the height where the node's stood it must be what it was.
func (r *restoration) ledger(ctx context.Context) (err error) {
	engine := r.path("engine")
	chain, err := consensus.Blocks(engine, node.EngineGenesis(r.genesis))
	if err != nil {
		return damaged(err)
	}
	defer func() { err = errors.Join(err, chain.Close()) }()
	if err := chain.CheckFiles(engine); err != nil {
		return damaged(err)
	}
	if signed, err := consensus.LastSigned(engine); err != nil || signed != r.m.Signed {
		return fmt.Errorf("%w: the validator's memory is not what the manifest says", ErrDamaged)
	}
	if chain.Height() != r.m.Height {
		return fmt.Errorf("%w: the blocks end at %d, the manifest says %d", ErrDamaged, chain.Height(), r.m.Height)
	}
	store, err := state.OpenPebble(r.path("ledger"), state.PebbleOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	l, err := ledger.Open(store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	l.RunBoth(node.AtOnce)
	return r.execute(ctx, l, chain)
}

func (r *restoration) execute(ctx context.Context, l *ledger.Ledger, chain *consensus.Chain) error {
	if _, err := l.Begin(protocol.Encode(r.genesis)); err != nil {
		return damaged(err)
	}
	asItStood := func() error {
		if h := l.Head(); h.Height == r.m.Log.Height && (h.Size != r.m.Log.Size || h.AppHash != r.m.Log.AppHash) {
			return fmt.Errorf("%w: block %d makes another ledger than the one that was backed up", ErrDamaged, h.Height)
		}
		return nil
	}
	if err := asItStood(); err != nil {
		return err
	}
	verifier := protocol.NewVerifier(4096)
	for b, err := range chain.All() {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = node.Execute(l, verifier, b)
		}
		if err != nil {
			return executed(b.Height, err)
		}
		if err := asItStood(); err != nil {
			return err
		}
		r.progress("blocks", int64(b.Height), int64(r.m.Height))
	}
	return nil
}

// executed sorts what stopped the execution: the disk's errors are not the backup's.
func executed(height uint64, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return err
	}
	return damaged(fmt.Errorf("block %d: %w", height, err))
}

// mark has the node sign nothing before it is beyond what it can have signed.
func (r *restoration) mark(context.Context) error {
	made, now := time.UnixMilli(int64(r.m.Made)).UTC(), time.UnixMilli(int64(r.Now)).UTC()
	return node.MarkRestored(r.to, r.AllLost, fmt.Sprintf("Restored %s from a backup of %s, block %d. While this file is here the node signs nothing; it removes it by itself.",
		now.Format(time.RFC3339), made.Format(time.RFC3339), r.m.Height))
}

// putInPlace makes the folder durable, then gives it its name.
func (r *restoration) putInPlace(dir string) error {
	var dirs []string
	err := filepath.WalkDir(r.to, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, path)
			return nil
		}
		return syncDir(path)
	})
	for _, d := range slices.Backward(dirs) { // the inner ones first
		err = errors.Join(err, syncDir(d))
	}
	if err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty one: else it fails
		if entries, again := os.ReadDir(dir); again == nil && len(entries) > 0 {
			err = fmt.Errorf("%w: %s", ErrNotEmpty, dir)
		}
		return err
	}
	if err := os.Rename(r.to, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}
