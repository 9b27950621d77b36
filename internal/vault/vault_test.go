package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
)

// content is the i-th test file.
func content(i, size int) []byte {
	b := make([]byte, size)
	seed := sha256.Sum256(fmt.Append(nil, "file ", i))
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

func hashOfContent(b []byte) Hash { return sha256.Sum256(b) }

func put(t testing.TB, v *Vault, b []byte) Hash {
	t.Helper()
	h := hashOfContent(b)
	if err := v.Put(t.Context(), h, bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatalf("put: %v", err)
	}
	return h
}

func read(v *Vault, h Hash) ([]byte, error) {
	r, size, err := v.Get(context.Background(), h)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if err == nil && int64(len(b)) != size {
		err = fmt.Errorf("%d bytes, %d were announced", len(b), size)
	}
	return b, errors.Join(err, r.Close())
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// onEachBucket runs a test against a folder and against memory; reopen closes the vault and opens it again.
func onEachBucket(t *testing.T, f func(t *testing.T, open func(Options) *Vault, bucket *blob.Bucket)) {
	t.Run("folder", func(t *testing.T) {
		dir := t.TempDir()
		s, err := openFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		f(t, func(o Options) *Vault { return openTest(t, dir, o) }, s.bucket)
	})
	t.Run("memory", func(t *testing.T) {
		bucket := memblob.OpenBucket(nil)
		f(t, func(o Options) *Vault {
			v, err := New(t.Context(), bucket, o)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}, bucket)
	})
}

func openTest(t testing.TB, dir string, o Options) *Vault {
	t.Helper()
	v, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPutAndGet(t *testing.T) {
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, _ *blob.Bucket) {
		v := open(Options{})
		sizes := []int{1, 100, HeaderBytesMax, HeaderBytesMax + 1, BufferBytesMax, BufferBytesMax + 1, 3*BufferBytesMax + 17}
		for i, size := range sizes {
			b := content(i, size)
			h := put(t, v, b)
			put(t, v, b) // again
			got, err := read(v, h)
			if err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%d bytes: read %d bytes, %v", size, len(got), err)
			}
			if n, err := v.Verify(t.Context(), h); err != nil || n != int64(size) {
				t.Fatalf("verify: %d, %v", n, err)
			}
		}
		absent := hashOfContent([]byte("absent"))
		_, err := read(v, absent)
		wantError(t, err, ErrNotFound)
		held, err := v.Held(t.Context(), []Hash{absent, hashOfContent(content(0, 1))})
		if err != nil || held[0] || !held[1] {
			t.Fatal(held, err)
		}
		v = open(Options{}) // and all is there after a restart
		for i, size := range sizes {
			if got, err := read(v, hashOfContent(content(i, size))); err != nil || len(got) != size {
				t.Fatalf("after reopening: %d bytes, %v", len(got), err)
			}
		}
	})
}

func TestPutRefuses(t *testing.T) {
	garbage := errors.New("no capsule")
	good := content(1, 5000)
	h := hashOfContent(good)
	cases := map[string]struct {
		body func() io.Reader
		size int64
		want error
	}{
		"other content":  {func() io.Reader { return bytes.NewReader(content(2, 5000)) }, 5000, ErrHash},
		"short":          {func() io.Reader { return bytes.NewReader(good[:4999]) }, 5000, ErrSize},
		"long":           {func() io.Reader { return bytes.NewReader(append(slices.Clone(good), 0)) }, 5000, ErrSize},
		"nothing":        {func() io.Reader { return strings.NewReader("") }, 5000, ErrSize},
		"size zero":      {func() io.Reader { return bytes.NewReader(good) }, 0, ErrSize},
		"size negative":  {func() io.Reader { return bytes.NewReader(good) }, -1, ErrSize},
		"size too large": {func() io.Reader { return bytes.NewReader(good) }, 1<<20 + 1, ErrSize},
		"not admitted":   {func() io.Reader { return bytes.NewReader(append([]byte("garbage"), good...)) }, 5007, garbage},
		"sender breaks": {func() io.Reader {
			return io.MultiReader(bytes.NewReader(good[:4000]), iotest.ErrReader(io.ErrUnexpectedEOF))
		}, 5000, io.ErrUnexpectedEOF},
		"sender is empty": {func() io.Reader { return iotest.ErrReader(io.ErrClosedPipe) }, 5000, io.ErrClosedPipe},
	}
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, bucket *blob.Bucket) {
		v := open(Options{FileBytesMax: 1 << 20, Admit: func(_ context.Context, header []byte, size int64) error {
			if int64(len(header)) != min(size, HeaderBytesMax) && len(header) > 5000 {
				t.Errorf("shown %d bytes of %d", len(header), size)
			}
			if bytes.HasPrefix(header, []byte("garbage")) {
				return garbage
			}
			return nil
		}})
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				wantError(t, v.Put(t.Context(), h, c.body(), c.size), c.want)
				if keys := allKeys(t, bucket); len(keys) != 0 {
					t.Fatalf("left behind: %v", keys)
				}
			})
		}
		t.Run("cancelled", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			body := io.MultiReader(bytes.NewReader(good[:1000]), readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }), bytes.NewReader(good[1000:]))
			wantError(t, v.Put(ctx, h, body, 5000), context.Canceled)
			if keys := allKeys(t, bucket); len(keys) != 0 {
				t.Fatalf("left behind: %v", keys)
			}
		})
		put(t, v, good)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// allKeys lists everything in a bucket, whatever it is.
func allKeys(t testing.TB, bucket *blob.Bucket) (keys []string) {
	t.Helper()
	it := bucket.List(nil)
	for {
		o, err := it.Next(t.Context())
		if err == io.EOF {
			return keys
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
}

func TestEraseIsForGood(t *testing.T) {
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, bucket *blob.Bucket) {
		v := open(Options{})
		b := content(1, 3000)
		h, other := put(t, v, b), put(t, v, content(2, 10))
		never := hashOfContent([]byte("never held"))
		for _, x := range []Hash{h, never, h} {
			if err := v.Delete(t.Context(), x); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			for _, x := range []Hash{h, never} {
				_, err := read(v, x)
				wantError(t, err, ErrErased)
				if ok, err := v.Has(t.Context(), x); ok || err != nil || !v.Erased(x) {
					t.Fatal("an erased file is held", ok, err)
				}
			}
			wantError(t, v.Put(t.Context(), h, bytes.NewReader(b), 3000), ErrErased)
			if page, _, err := v.List(t.Context(), "", 10); err != nil || len(page) != 1 || page[0].Hash != other {
				t.Fatal(page, err)
			}
			v = open(Options{})
		}
		// A backup that brings the bytes back, or a crash between the tombstone and the removal: gone once the vault is open.
		if err := bucket.WriteAll(t.Context(), fileKey(h), b, nil); err != nil {
			t.Fatal(err)
		}
		if err := bucket.WriteAll(t.Context(), quarantineKey(h), b, nil); err != nil {
			t.Fatal(err)
		}
		v = open(Options{})
		if want := []string{fileKey(other), tombstoneKey(h), tombstoneKey(never)}; !sameKeys(allKeys(t, bucket), want) {
			t.Fatalf("in the bucket: %v", allKeys(t, bucket))
		}
		if v.Erased(other) {
			t.Fatal("erased without being asked")
		}
	})
}

func sameKeys(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// An erasure that comes while a file is on its way in wins, without waiting for the sender.
func TestEraseOvertakesPut(t *testing.T) {
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, bucket *blob.Bucket) {
		v := open(Options{})
		b := content(1, 200_000)
		h := hashOfContent(b)
		erase := readerFunc(func([]byte) (int, error) { return 0, errors.Join(v.Delete(t.Context(), h), io.EOF) })
		body := io.MultiReader(bytes.NewReader(b[:150_000]), readerFunc(func(p []byte) (int, error) {
			if _, err := erase(nil); !errors.Is(err, io.EOF) {
				return 0, err
			}
			return 0, io.EOF
		}), bytes.NewReader(b[150_000:]))
		wantError(t, v.Put(t.Context(), h, body, int64(len(b))), ErrErased)
		if keys := allKeys(t, bucket); !slices.Equal(keys, []string{tombstoneKey(h)}) {
			t.Fatalf("in the bucket: %v", keys)
		}
	})
}

func TestAwaitErasures(t *testing.T) {
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, _ *blob.Bucket) {
		h := put(t, open(Options{}), content(1, 10))
		kept := put(t, open(Options{}), content(2, 10))
		v := open(Options{AwaitErasures: true})
		_, err := read(v, h)
		wantError(t, err, ErrNotReady)
		_, err = v.Has(t.Context(), h)
		wantError(t, err, ErrNotReady)
		_, _, err = v.List(t.Context(), "", 1)
		wantError(t, err, ErrNotReady)
		wantError(t, v.Put(t.Context(), h, bytes.NewReader(content(1, 10)), 10), ErrNotReady)
		if err := v.Delete(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		v.Serve()
		_, err = read(v, h)
		wantError(t, err, ErrErased)
		if _, err := read(v, kept); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCorruptCopyIsPutAside(t *testing.T) {
	damages := map[string]func([]byte) []byte{
		"a bit":        func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"the last bit": func(b []byte) []byte { b[len(b)-1] ^= 0x80; return b },
		"cut":          func(b []byte) []byte { return b[:len(b)-1] },
		"emptied":      func([]byte) []byte { return nil },
		"grown":        func(b []byte) []byte { return append(b, 0) },
	}
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, bucket *blob.Bucket) {
		for _, size := range []int{500, BufferBytesMax + 5000} {
			for name, damage := range damages {
				t.Run(fmt.Sprintf("%s of %d", name, size), func(t *testing.T) {
					v := open(Options{})
					told := 0
					v.onCorrupt = func(Hash) { told++ }
					b := content(size, size)
					h := put(t, v, b)
					if err := bucket.WriteAll(t.Context(), fileKey(h), damage(slices.Clone(b)), nil); err != nil {
						t.Fatal(err)
					}
					_, err := read(v, h)
					wantError(t, err, ErrCorrupt)
					_, err = read(v, h)
					wantError(t, err, ErrNotFound)
					if told != 1 || v.corrupt.Load() != 1 || !v.isQuarantined(h) {
						t.Fatalf("told %d times", told)
					}
					if v = open(Options{}); !v.isQuarantined(h) { // a restart remembers
						t.Fatal("not in quarantine after a restart")
					}
					put(t, v, b)
					if v.isQuarantined(h) {
						t.Fatal("still in quarantine")
					}
					if got, err := read(v, h); err != nil || !bytes.Equal(got, b) {
						t.Fatal("not healed", err)
					}
					if keys := allKeys(t, bucket); !slices.Equal(keys, []string{fileKey(h)}) {
						t.Fatalf("in the bucket: %v", keys)
					}
					if _, err := v.drop(t.Context(), fileKey(h), h, func(Info) bool { return true }); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	})
}

// What changes after Get has looked at a large file is noticed before its end is handed out.
func TestLargeFileChangesUnderTheReader(t *testing.T) {
	dir := t.TempDir()
	v := openTest(t, dir, Options{})
	b := content(1, 2*BufferBytesMax)
	h := put(t, v, b)
	for name, damage := range map[string]func(path string) error{
		"a byte":   func(path string) error { return flipByte(path, int64(len(b))-1) },
		"cut":      func(path string) error { return os.Truncate(path, int64(len(b))-10) },
		"cut away": func(path string) error { return os.Truncate(path, 10) },
	} {
		put(t, v, b)
		r, _, err := v.Get(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if err := damage(filepath.Join(dir, filepath.FromSlash(fileKey(h)))); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if !errors.Is(err, ErrCorrupt) || len(got) > len(b)-tailBytes {
			t.Fatalf("%s: read %d of %d bytes: %v", name, len(got), len(b), err)
		}
		_ = r.Close()
	}
}

func TestListPages(t *testing.T) {
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, bucket *blob.Bucket) {
		v := open(Options{})
		var want []Hash
		for i := range 40 {
			want = append(want, put(t, v, content(i, 10)))
		}
		slices.SortFunc(want, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
		for _, junk := range []string{"files/ab/abcd", "files/readme", "files/" + want[0].String(), fileKey(want[0]) + ".1f.tmp", "other"} {
			if err := bucket.WriteAll(t.Context(), junk, []byte("junk"), nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, limit := range []int{1, 7, 39, 40, 1000} {
			var got []Hash
			for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
				page, next, err := v.List(t.Context(), cursor, limit)
				if err != nil || len(page) > limit || pages > 41 {
					t.Fatal(len(page), err)
				}
				for _, i := range page {
					got = append(got, i.Hash)
				}
				cursor = next
			}
			if !slices.Equal(got, want) {
				t.Fatalf("pages of %d: %d files, want %d", limit, len(got), len(want))
			}
		}
		_, _, err := v.List(t.Context(), "not a cursor", 10)
		if err == nil {
			t.Fatal("a wrong cursor was taken")
		}
		_, _, err = v.List(t.Context(), "", ListFilesMax+1)
		wantError(t, err, ErrSize)
	})
}

func TestSweep(t *testing.T) {
	onEachBucket(t, func(t *testing.T, open func(Options) *Vault, bucket *blob.Bucket) {
		now := time.Now()
		v := open(Options{Now: func() time.Time { return now }})
		kept, orphan := put(t, v, content(1, 10)), put(t, v, content(2, 20))
		keep := func(h Hash) bool { return h == kept }
		if s, err := v.Sweep(t.Context(), keep, time.Hour); err != nil || s.Files != 0 {
			t.Fatal("a young file was swept", s, err)
		}
		now = now.Add(2 * time.Hour)
		if s, err := v.Sweep(t.Context(), keep, time.Hour); err != nil || s != (Swept{1, 20}) {
			t.Fatal(s, err)
		}
		if ok, _ := v.Has(t.Context(), orphan); ok || v.Erased(orphan) {
			t.Fatal("the orphan is held, or left a tombstone")
		}
		put(t, v, content(2, 20)) // it may come again
		if err := bucket.WriteAll(t.Context(), fileKey(orphan), []byte("rot"), nil); err != nil {
			t.Fatal(err)
		}
		_, err := read(v, orphan)
		wantError(t, err, ErrCorrupt)
		now = now.Add(2 * time.Hour)
		if _, err := v.Sweep(t.Context(), keep, time.Hour); err != nil || v.isQuarantined(orphan) {
			t.Fatal("an orphan's copy stays aside", err)
		}
		if keys := allKeys(t, bucket); !slices.Equal(keys, []string{fileKey(kept)}) {
			t.Fatalf("in the bucket: %v", keys)
		}
		if _, err := read(v, kept); err != nil {
			t.Fatal(err)
		}
	})
}

// A file that is put again between Sweep's look and its removal has a new grace.
func TestSweepSparesWhatIsPutAgain(t *testing.T) {
	now := time.Now().Add(2 * time.Hour)
	v := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	h := put(t, v, content(1, 10))
	asked := 0
	s, err := v.Sweep(t.Context(), func(Hash) bool {
		if asked++; asked == 1 {
			put(t, v, content(1, 10))
			now = now.Add(-2 * time.Hour)
		}
		return false
	}, time.Hour)
	if err != nil || s.Files != 0 {
		t.Fatal(s, err)
	}
	if _, err := read(v, h); err != nil {
		t.Fatal(err)
	}
}

func TestOpenWhere(t *testing.T) {
	dir := t.TempDir()
	h := put(t, openTest(t, "file://"+filepath.ToSlash(dir), Options{}), content(1, 10))
	if _, err := read(openTest(t, dir, Options{}), h); err != nil {
		t.Fatal(err)
	}
	put(t, openTest(t, "mem://", Options{}), content(1, 10))
	for _, bad := range []string{"", "file://", "file://host/x", "file:///x?create_dir=1", "nosuchscheme://x", filepath.Join(dir, "files", h.String()[:2], h.String())} {
		if v, err := Open(t.Context(), bad, Options{}); err == nil {
			t.Errorf("%q was opened: %v", bad, v)
		}
	}
}
