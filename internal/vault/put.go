package vault

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
)

// sizeUnknown stands for a size that only the sender knows.
const sizeUnknown = -1

var (
	headers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, HeaderBytesMax) }}
	buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}
)

// Put stores the file that r yields under hash; size is its length in bytes. When it returns nil the file is on stable storage and
// survives a crash. Otherwise nothing is left of it. Put again of a file that is held writes it anew, which also heals a corrupt copy and
// starts Sweep's grace again. Errors: ErrSize, ErrHash, ErrRefused (wrapping Admit's), ErrErased, ErrNoSpace, ErrNotReady.
func (v *Vault) Put(ctx context.Context, hash Hash, r io.Reader, size int64) error {
	if size < 1 || size > v.opts.FileBytesMax {
		return fmt.Errorf("%w: %d bytes, 1 to %d are allowed", ErrSize, size, v.opts.FileBytesMax)
	}
	return v.put(ctx, hash, r, size, v.opts.Admit)
}

// put is Put with the admission named; size may be sizeUnknown. Only the publishing at its end holds the file's lock, so that a slow sender
// holds up nobody, an erasure least of all.
func (v *Vault) put(ctx context.Context, hash Hash, r io.Reader, size int64, admit func(context.Context, []byte, int64) error) error {
	if err := v.usable(hash); err != nil {
		return err
	}
	body := headers.Get().(*bufio.Reader)
	body.Reset(r)
	defer func() { body.Reset(nil); headers.Put(body) }()
	if err := admitted(ctx, body, size, admit); err != nil {
		return err
	}
	w, err := v.store.create(ctx, fileKey(hash))
	if err != nil {
		return fmt.Errorf("storing %s: %w", hash, err)
	}
	defer w.abort()
	if err := v.fill(ctx, w, hash, body, size); err != nil {
		return fmt.Errorf("storing %s: %w", hash, err)
	}
	if err := v.publish(ctx, hash, w); err != nil {
		return fmt.Errorf("storing %s: %w", hash, err)
	}
	return nil
}

func admitted(ctx context.Context, body *bufio.Reader, size int64, admit func(context.Context, []byte, int64) error) error {
	if admit == nil {
		return nil
	}
	want := int64(HeaderBytesMax)
	if size != sizeUnknown {
		want = min(want, size)
	}
	header, err := body.Peek(int(want))
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("vault: receiving: %w", err)
	}
	if err := admit(ctx, header, size); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// fill copies body into w and holds it against size and hash.
func (v *Vault) fill(ctx context.Context, w *pending, hash Hash, body io.Reader, size int64) error {
	limit := size
	if size == sizeUnknown {
		limit = v.opts.FileBytesMax
	}
	sum := sha256.New()
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	n, err := io.CopyBuffer(plainWriter{io.MultiWriter(w, sum)}, plainReader{io.LimitReader(untilDone{ctx, body}, limit+1)}, buf[:])
	if err != nil {
		return noSpace(err)
	}
	if n == 0 || n > limit || (size != sizeUnknown && n != size) {
		return fmt.Errorf("%w: received %s of %d bytes", ErrSize, counted(n, limit), limit)
	}
	if Hash(sum.Sum(nil)) != hash {
		return ErrHash
	}
	return w.seal()
}

func counted(n, limit int64) string {
	if n > limit {
		return fmt.Sprintf("more than %d", limit)
	}
	return fmt.Sprint(n)
}

// publish gives the sealed file its name, unless it was erased meanwhile, and makes the name durable. The sync runs outside the lock, for
// callers to share it.
func (v *Vault) publish(ctx context.Context, hash Hash, w *pending) error {
	if err := v.name(hash, w); err != nil {
		return err
	}
	if err := v.store.settle(fileKey(hash)); err != nil {
		return err
	}
	return v.release(ctx, hash)
}

func (v *Vault) name(hash Hash, w *pending) error {
	lock := v.lock(hash)
	lock.Lock()
	defer lock.Unlock()
	if err := v.usable(hash); err != nil {
		return err
	}
	if err := w.publish(); err != nil {
		return err
	}
	v.lately.add(hash)
	return nil
}

// release lets go of what was put aside of a file now that a good copy is back.
func (v *Vault) release(ctx context.Context, hash Hash) error {
	if !v.isQuarantined(hash) {
		return nil
	}
	lock := v.lock(hash)
	lock.Lock()
	defer lock.Unlock()
	if _, err := v.store.remove(ctx, quarantineKey(hash)); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.quarantined, hash)
	return nil
}

func (v *Vault) isQuarantined(hash Hash) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	_, ok := v.quarantined[hash]
	return ok
}

// plainReader and plainWriter hide ReadFrom and WriteTo, so that io.CopyBuffer uses the buffer it is given.
type (
	plainReader struct{ io.Reader }
	plainWriter struct{ io.Writer }
)

// untilDone is a reader that ends with its context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
