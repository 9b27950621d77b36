package vault

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"gocloud.dev/blob/fileblob"
	"golang.org/x/sync/errgroup"
)

// folder makes a fileblob bucket durable. fileblob writes a temporary file beside the object and renames it on Close, but syncs neither the
// file nor the directory: after a power cut the name may be there with nothing behind it. This is the only place that knows of files.
type folder struct {
	dir  string
	mu   sync.Mutex
	dirs map[string]*shard // by the directory of a key, relative to dir
	// The two syncs and the removal, as fields so that a test sees their order and makes them fail.
	fsync    func(*os.File) error
	fsyncDir func(path string) error
	unlink   func(path string) error
}

// shard is one directory of files.
type shard struct {
	mu    sync.Mutex
	there bool // it exists, durably
	sync  *dirSync
}

// folderFile is the temporary file behind a writer of fileblob.
type folderFile struct{ f *os.File }

func (c *folderFile) capture(as func(any) bool) error {
	if !as(&c.f) {
		return errors.New("vault: this writer has no file behind it")
	}
	return nil
}

// leftover is how fileblob names its temporary files.
var leftover = regexp.MustCompile(`^[0-9a-f]{64}\.[0-9a-f]+\.tmp$`)

func openFolder(dir string) (*store, error) {
	if dir == "" {
		return nil, errors.New("vault: the folder has no name")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	f := &folder{dir: dir, dirs: map[string]*shard{}, fsync: (*os.File).Sync, fsyncDir: syncDirectory, unlink: os.Remove}
	if err := f.prepare(); err != nil {
		return nil, fmt.Errorf("vault: preparing %s: %w", dir, noSpace(err))
	}
	bucket, err := fileblob.OpenBucket(dir, &fileblob.Options{
		DirFileMode: 0o700,
		NoTempDir:   true, // a rename must not cross file systems
		Metadata:    fileblob.MetadataDontWrite,
	})
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return &store{bucket: bucket, folder: f}, nil
}

// exists tells whether there is a file under the key.
func (f *folder) exists(key string) (bool, error) {
	info, err := os.Stat(filepath.Join(f.dir, filepath.FromSlash(key)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular(), err
}

// prepare makes the classes, removes what a killed process left half written, and makes every directory durable that one left behind.
func (f *folder) prepare() error {
	for _, class := range []string{files, tombstones, graves, quarantine} {
		path := filepath.Join(f.dir, class)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		shards, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, s := range shards {
			if !s.IsDir() {
				continue
			}
			if err := removeLeftovers(filepath.Join(path, s.Name())); err != nil {
				return err
			}
			f.shard(filepath.Join(class, s.Name())).there = true
		}
		if err := f.fsyncDir(path); err != nil {
			return err
		}
	}
	if err := f.fsyncDir(f.dir); err != nil {
		return err
	}
	return f.fsyncDir(filepath.Dir(f.dir))
}

// shard returns the directory of that relative path, known from now on.
func (f *folder) shard(sub string) *shard {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.dirs[sub]
	if s == nil {
		s = &shard{sync: newDirSync()}
		f.dirs[sub] = s
	}
	return s
}

// makeParent makes the directory of a key, durably, before fileblob would without.
func (f *folder) makeParent(key string) error {
	sub := filepath.Dir(filepath.FromSlash(key))
	s := f.shard(sub)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.there {
		return nil
	}
	if err := os.Mkdir(filepath.Join(f.dir, sub), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	class := filepath.Dir(sub)
	if err := f.shard(class).sync.wait(func() error { return f.fsyncDir(filepath.Join(f.dir, class)) }); err != nil {
		return err
	}
	s.there = true
	return nil
}

func removeLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if leftover.MatchString(e.Name()) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *folder) syncFile(file *os.File) error { return f.fsync(file) }

// syncParent makes the coming or going of a key's name durable.
func (f *folder) syncParent(key string) error {
	sub := filepath.Dir(filepath.FromSlash(key))
	return f.shard(sub).sync.wait(func() error { return f.fsyncDir(filepath.Join(f.dir, sub)) })
}

// remove takes a key's name away, and tells whether there was one.
func (f *folder) remove(key string) (bool, error) {
	err := f.unlink(filepath.Join(f.dir, filepath.FromSlash(key)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// syncParents is syncParent of many keys, each directory once. One that was never made holds no names.
func (f *folder) syncParents(keys []string) error {
	subs := map[string]bool{}
	for _, key := range keys {
		subs[filepath.Dir(filepath.FromSlash(key))] = true
	}
	var group errgroup.Group
	group.SetLimit(parallelMax)
	for _, sub := range slices.Sorted(maps.Keys(subs)) {
		group.Go(func() error {
			err := f.shard(sub).sync.wait(func() error { return f.fsyncDir(filepath.Join(f.dir, sub)) })
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}

// discard removes an abandoned temporary file should fileblob have left it, as it does when closing the file fails.
func (f *folder) discard(file *os.File) {
	if file == nil || !leftover.MatchString(filepath.Base(file.Name())) {
		return
	}
	_ = file.Close()
	_ = os.Remove(file.Name())
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// dirSync lets concurrent callers share one sync of a directory: whoever comes while one runs waits for the next, which covers them all.
type dirSync struct {
	mu      sync.Mutex
	done    sync.Cond // signalled when a sync ends
	begun   uint64    // syncs started
	ended   uint64    // syncs finished
	failed  uint64    // the last sync that failed
	lastErr error
}

func newDirSync() *dirSync {
	d := new(dirSync)
	d.done.L = &d.mu
	return d
}

// wait returns once a sync that began after the call has ended.
func (d *dirSync) wait(sync func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	need := d.begun + 1
	for d.ended < need {
		if d.begun > d.ended {
			d.done.Wait()
			continue
		}
		d.begun++
		d.mu.Unlock()
		err := sync()
		d.mu.Lock()
		d.ended = d.begun
		if err != nil {
			d.failed, d.lastErr = d.ended, err
		}
		d.done.Broadcast()
	}
	if d.failed >= need {
		return d.lastErr
	}
	return nil
}

// Tombstones are the erased files of a vault in a folder, each once, in the order of their hashes: those with a tombstone of their own and
// those in lists. It reads the folder as it lies there, and changes nothing: for a copy of what a stopped node has erased. A folder that is
// not there has none.
func Tombstones(dir string) (out []Hash, err error) {
	if err := objectsIn(dir, tombstones, func(h Hash, _ string) error { out = append(out, h); return nil }); err != nil {
		return nil, err
	}
	err = objectsIn(dir, graves, func(_ Hash, path string) error {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("vault: tombstones: %w", err)
		}
		defer func() { _ = f.Close() }()
		list, err := io.ReadAll(io.LimitReader(f, graveBytesMax))
		out = append(out, gravesIn(list)...)
		return err
	})
	slices.SortFunc(out, compareHashes)
	return slices.Compact(out), err
}

// objectsIn visits the objects of a class that lie in a vault's folder.
func objectsIn(dir, class string, do func(h Hash, path string) error) error {
	shards, err := os.ReadDir(filepath.Join(dir, class))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("vault: %s: %w", class, err)
	}
	for _, shard := range shards {
		if !shard.IsDir() {
			continue
		}
		names, err := os.ReadDir(filepath.Join(dir, class, shard.Name()))
		if err != nil {
			return fmt.Errorf("vault: %s: %w", class, err)
		}
		for _, n := range names {
			if h, ok := hashOf(class + "/" + shard.Name() + "/" + n.Name()); ok {
				if err := do(h, filepath.Join(dir, class, shard.Name(), n.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
