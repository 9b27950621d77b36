package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"net/url"
	"strings"
	"syscall"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Keys of the bucket are class/first byte/hash, in hexadecimal. Anything else in it is passed over.
const (
	files      = "files"
	tombstones = "tombstones"
	graves     = "graves" // lists of tombstones, by their own hash
	quarantine = "quarantine"

	listPageObjects = 4096
	tailBytes       = 64 << 10 // what a reader of a large file is not given before all of it has been hashed
)

func key(class string, h Hash) string {
	name := h.String()
	return class + "/" + name[:2] + "/" + name
}

func fileKey(h Hash) string       { return key(files, h) }
func tombstoneKey(h Hash) string  { return key(tombstones, h) }
func graveKey(h Hash) string      { return key(graves, h) }
func quarantineKey(h Hash) string { return key(quarantine, h) }

// store is a bucket and, when the bucket is a folder of this machine, what it takes to make a folder durable.
type store struct {
	bucket *blob.Bucket
	folder *folder // nil for every other kind of bucket: there a closed writer is durable
}

// exists asks a folder directly: it is asked about every new record of the network, and the bucket reads attributes and traces the call.
func (s *store) exists(ctx context.Context, key string) (bool, error) {
	if s.folder == nil {
		return s.bucket.Exists(ctx, key)
	}
	return s.folder.exists(key)
}

func openStore(ctx context.Context, where string) (*store, error) {
	scheme, _, isURL := strings.Cut(where, "://")
	if !isURL {
		return openFolder(where)
	}
	if scheme == "file" {
		u, err := url.Parse(where)
		if err != nil {
			return nil, fmt.Errorf("vault: %w", err)
		}
		if u.RawQuery != "" || (u.Host != "" && u.Host != "localhost") {
			return nil, fmt.Errorf("vault: %q: a folder's URL has a path alone", where)
		}
		return openFolder(u.Path)
	}
	bucket, err := blob.OpenBucket(ctx, where)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return &store{bucket: bucket}, nil
}

func (s *store) close() error { return s.bucket.Close() }

// pending is an object being written; nobody sees it before publish.
type pending struct {
	w      *blob.Writer
	cancel context.CancelFunc // before w.Close: the object is not published
	closed bool
	key    string
	store  *store
	file   folderFile
}

func (s *store) create(ctx context.Context, key string) (*pending, error) {
	if s.folder != nil {
		if err := s.folder.makeParent(key); err != nil {
			return nil, noSpace(err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &pending{cancel: cancel, key: key, store: s}
	opts := &blob.WriterOptions{ContentType: "application/octet-stream"}
	if s.folder != nil {
		opts.BeforeWrite = p.file.capture
	}
	w, err := s.bucket.NewWriter(ctx, key, opts)
	if err != nil {
		cancel()
		return nil, noSpace(err)
	}
	p.w = w
	return p, nil
}

func (p *pending) Write(b []byte) (int, error) { return p.w.Write(b) }

// seal brings what was written to stable storage, so that a name is never durable before its content.
func (p *pending) seal() error {
	if p.store.folder == nil {
		return nil
	}
	return noSpace(p.store.folder.syncFile(p.file.f))
}

// publish gives the object its name; settle makes that durable.
func (p *pending) publish() error {
	p.closed = true
	defer p.cancel()
	err := p.w.Close()
	if err != nil {
		p.discard()
	}
	return noSpace(err)
}

// abort leaves nothing; after publish it does nothing.
func (p *pending) abort() {
	if p.closed {
		return
	}
	p.closed = true
	p.cancel()
	_ = p.w.Close() // reports the cancellation
	p.discard()
}

func (p *pending) discard() {
	if p.store.folder != nil {
		p.store.folder.discard(p.file.f)
	}
}

// settle makes the creation or removal of a name durable.
func (s *store) settle(key string) error {
	if s.folder == nil {
		return nil
	}
	return noSpace(s.folder.syncParent(key))
}

func (s *store) write(ctx context.Context, key string, content []byte) error {
	p, err := s.create(ctx, key)
	if err != nil {
		return err
	}
	defer p.abort()
	if _, err := p.Write(content); err != nil {
		return noSpace(err)
	}
	if err := p.seal(); err != nil {
		return err
	}
	if err := p.publish(); err != nil {
		return err
	}
	return s.settle(key)
}

// remove deletes an object, durably, and tells whether there was one.
func (s *store) remove(ctx context.Context, key string) (bool, error) {
	err := s.bucket.Delete(ctx, key)
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, s.settle(key)
}

// drop deletes an object and tells whether there was one. In a folder that is not durable before settleAll.
func (s *store) drop(ctx context.Context, key string) (bool, error) {
	if s.folder != nil {
		return s.folder.remove(key)
	}
	err := s.bucket.Delete(ctx, key)
	if isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// settleAll makes the creation or removal of many names durable, at the price of one sync a directory.
func (s *store) settleAll(keys []string) error {
	if s.folder == nil {
		return nil
	}
	return noSpace(s.folder.syncParents(keys))
}

// readSmall returns an object of at most max bytes as it lies there.
func (s *store) readSmall(ctx context.Context, key string, max int64) ([]byte, error) {
	r, err := s.openObject(ctx, key, max)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(io.LimitReader(r, max))
	return b, damaged(err)
}

// noSpace marks the errors that mean a full disk or a used-up quota.
func noSpace(err error) error {
	if err == nil || errors.Is(err, ErrNoSpace) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || gcerrors.Code(err) == gcerrors.ResourceExhausted {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// openObject opens an object for reading. ErrNotFound; ErrCorrupt when its length alone shows that it cannot be right.
func (s *store) openObject(ctx context.Context, key string, max int64) (*blob.Reader, error) {
	r, err := s.bucket.NewReader(ctx, key, nil)
	if isNotFound(err) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, damaged(err)
	}
	if r.Size() < 1 || r.Size() > max {
		_ = r.Close()
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, r.Size())
	}
	return r, nil
}

// damaged marks the errors of a medium that will not give its bytes back.
func damaged(err error) error {
	if errors.Is(err, syscall.EIO) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// verify hashes an object.
func (s *store) verify(ctx context.Context, key string, want Hash, max int64) (int64, error) {
	r, err := s.openObject(ctx, key, max)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	sum := sha256.New()
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	n, err := io.CopyBuffer(plainWriter{sum}, plainReader{io.LimitReader(r, max+1)}, buf[:])
	if err != nil {
		return n, damaged(err)
	}
	if Hash(sum.Sum(nil)) != want {
		return n, ErrCorrupt
	}
	return n, nil
}

// readChecked returns an object whose whole content has been held against its hash.
func (s *store) readChecked(ctx context.Context, key string, want Hash, max int64) (io.ReadCloser, int64, error) {
	r, err := s.openObject(ctx, key, max)
	if err != nil {
		return nil, 0, err
	}
	size := r.Size()
	if size <= BufferBytesMax {
		defer func() { _ = r.Close() }()
		body, err := readWhole(r, size, want)
		if err != nil {
			return nil, 0, err
		}
		return bytesBody{bytes.NewReader(body)}, size, nil
	}
	if err := r.Close(); err != nil {
		return nil, 0, err
	}
	if _, err := s.verify(ctx, key, want, max); err != nil {
		return nil, 0, err
	}
	if r, err = s.openObject(ctx, key, max); err != nil {
		return nil, 0, err
	}
	return &checkedReader{r: r, want: want, sum: sha256.New(), left: r.Size()}, r.Size(), nil
}

// readWhole reads exactly size bytes and holds them against the hash.
func readWhole(r io.Reader, size int64, want Hash) ([]byte, error) {
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: it ends early", ErrCorrupt)
		}
		return nil, damaged(err)
	}
	if sha256.Sum256(body) != want {
		return nil, ErrCorrupt
	}
	return body, nil
}

// bytesBody is a file in memory, a reader that closes.
type bytesBody struct{ *bytes.Reader }

func (bytesBody) Close() error { return nil }

// checkedReader hashes a large file while it is read and hands out the last bytes only when the hash is right: whoever gets to the end has
// the file, whatever happened to it since it was verified.
type checkedReader struct {
	r    io.ReadCloser
	want Hash
	sum  hash.Hash
	left int64 // bytes not yet read from r
	tail *bytes.Reader
	err  error
}

func (c *checkedReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.tail != nil {
		return c.tail.Read(p)
	}
	if ahead := c.left - tailBytes; ahead > 0 {
		n, err := c.r.Read(p[:min(int64(len(p)), ahead)])
		c.sum.Write(p[:n])
		c.left -= int64(n)
		if err != nil {
			c.err = fmt.Errorf("%w: it ends early: %w", ErrCorrupt, noEOF(err))
		}
		return n, c.err
	}
	return c.readTail(p)
}

func (c *checkedReader) readTail(p []byte) (int, error) {
	tail := make([]byte, c.left)
	if _, err := io.ReadFull(c.r, tail); err != nil {
		c.err = fmt.Errorf("%w: it ends early: %w", ErrCorrupt, noEOF(err))
		return 0, c.err
	}
	c.sum.Write(tail)
	if Hash(c.sum.Sum(nil)) != c.want {
		c.err = ErrCorrupt
		return 0, c.err
	}
	c.tail = bytes.NewReader(tail)
	return c.tail.Read(p)
}

func (c *checkedReader) Close() error { return c.r.Close() }

// noEOF keeps an early end from reading as a proper one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ordered yields the objects of a class in the order of their hashes, after one of them if given. A service is asked for a whole class at
// once, and from the middle shard by shard, since not all of them can begin at a key; a folder always shard by shard, since fileblob
// walks all that has the prefix anew for every page.
func (s *store) ordered(ctx context.Context, class string, after *Hash) iter.Seq2[Info, error] {
	if after == nil && s.folder == nil {
		return s.under(ctx, class+"/")
	}
	return func(yield func(Info, error) bool) {
		first := 0
		if after != nil {
			first = int(after[0])
		}
		for shard := first; shard < 256; shard++ {
			for info, err := range s.under(ctx, fmt.Sprintf("%s/%02x/", class, shard)) {
				if err == nil && after != nil && bytes.Compare(info.Hash[:], after[:]) <= 0 {
					continue
				}
				if !yield(info, err) || err != nil {
					return
				}
			}
		}
	}
}

// each calls visit with the hash of every object of a class.
func (s *store) each(ctx context.Context, class string, visit func(Hash)) error {
	for info, err := range s.ordered(ctx, class, nil) {
		if err != nil {
			return err
		}
		visit(info.Hash)
	}
	return nil
}

// under yields the objects whose key starts with prefix and is one of ours.
func (s *store) under(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		token := blob.FirstPageToken
		for len(token) > 0 {
			page, next, err := s.bucket.ListPage(ctx, token, listPageObjects, &blob.ListOptions{Prefix: prefix})
			if err != nil {
				yield(Info{}, err)
				return
			}
			for _, o := range page {
				if h, ok := hashOf(o.Key); ok && !yield(Info{Hash: h, Size: o.Size, Stored: o.ModTime}, nil) {
					return
				}
			}
			token = next
		}
	}
}

// hashOf reads the hash off a key, and refuses what is not the key of that hash (a file half written has a longer name).
func hashOf(k string) (Hash, bool) {
	class, rest, _ := strings.Cut(k, "/")
	_, name, _ := strings.Cut(rest, "/")
	var h Hash
	if h.UnmarshalText([]byte(name)) != nil {
		return Hash{}, false
	}
	return h, k == key(class, h)
}
