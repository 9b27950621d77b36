package wallet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The content of a record's file, before encryption, is padding and a compressed archive:
//
//	zstd skippable frame of zeros ‖ zstd frame of a ustar archive: manifest.json, manifest.sig, resources/00001.json, …
//
// so that stock zstd and tar open it. There is one valid archive for a manifest, a signature and resources.
const (
	nameManifest  = "manifest.json"
	nameSignature = "manifest.sig"

	tarBlock          = 512
	skippableMagic    = 0x184D2A50 // RFC 8878 §3.1.2
	skippableHead     = 8          // magic, length
	signatureHexBytes = 128
)

func resourceName(i int) string { return fmt.Sprintf("resources/%05d.json", i+1) }

// archive writes the ustar archive; mtime in seconds since 1970.
func archive(manifest, signature []byte, resources [][]byte, mtime uint64) []byte {
	out := make([]byte, 0, archiveBytes(len(manifest), resources))
	put := func(name string, data []byte) {
		h := ustarHeader(name, len(data), mtime)
		out = append(out, h[:]...)
		out = append(out, data...)
		out = append(out, make([]byte, padTo(len(data))-len(data))...)
	}
	put(nameManifest, manifest)
	put(nameSignature, fmt.Appendf(nil, "%x", signature))
	for i, r := range resources {
		put(resourceName(i), r)
	}
	return append(out, make([]byte, 2*tarBlock)...)
}

// archiveBytes is the length of an archive.
func archiveBytes(manifestBytes int, resources [][]byte) int {
	size := 2*tarBlock + padTo(manifestBytes) + padTo(signatureHexBytes) + 2*tarBlock
	for _, r := range resources {
		size += tarBlock + padTo(len(r))
	}
	return size
}

func padTo(n int) int { return (n + tarBlock - 1) / tarBlock * tarBlock }

// ustarHeader is the one header (POSIX.1-1988 ustar) that a file of this name, size and time has here: mode 0644, owner 0, no names.
func ustarHeader(name string, size int, mtime uint64) (h [tarBlock]byte) {
	copy(h[0:100], name)
	copy(h[100:], "0000644\x00"+"0000000\x00"+"0000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00", size))
	copy(h[136:], fmt.Sprintf("%011o\x00", mtime))
	copy(h[148:], "        ") // the checksum is computed with spaces in its place
	h[156] = '0'              // a regular file
	copy(h[257:], "ustar\x0000")
	copy(h[329:], "0000000\x00"+"0000000\x00") // device numbers
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// unarchiver reads an archive front to back, and accepts only what archive writes.
type unarchiver struct {
	rest  []byte
	mtime uint64
}

// next returns the data of the next file, which must have this name and the canonical header. It shares the archive's memory.
func (u *unarchiver) next(name string) ([]byte, error) {
	if len(u.rest) < tarBlock {
		return nil, fmt.Errorf("%w: it ends before %s", ErrContent, name)
	}
	size, err := strconv.ParseUint(string(u.rest[124:135]), 8, 40)
	if err != nil || size > ContentBytesMax {
		return nil, fmt.Errorf("%w: the size of %s is not a number", ErrContent, name)
	}
	if want := ustarHeader(name, int(size), u.mtime); !bytes.Equal(want[:], u.rest[:tarBlock]) {
		return nil, fmt.Errorf("%w: the header of %s is not the canonical one", ErrContent, name)
	}
	u.rest = u.rest[tarBlock:]
	padded := padTo(int(size))
	if len(u.rest) < padded {
		return nil, fmt.Errorf("%w: it ends within %s", ErrContent, name)
	}
	data := u.rest[:size:size]
	if !zeros(u.rest[size:padded]) {
		return nil, fmt.Errorf("%w: something is hidden behind %s", ErrContent, name)
	}
	u.rest = u.rest[padded:]
	return data, nil
}

// first reads the manifest, whose own time says what the headers' times must be.
func (u *unarchiver) first(name string) ([]byte, error) {
	if len(u.rest) < tarBlock {
		return nil, fmt.Errorf("%w: it is too short", ErrContent)
	}
	mtime, err := strconv.ParseUint(string(u.rest[136:147]), 8, 40)
	if err != nil {
		return nil, fmt.Errorf("%w: the time of %s is not a number", ErrContent, name)
	}
	u.mtime = mtime
	return u.next(name)
}

// end demands the archive's two empty blocks and nothing more.
func (u *unarchiver) end() error {
	if len(u.rest) != 2*tarBlock || !zeros(u.rest) {
		return fmt.Errorf("%w: it does not end where its last file does", ErrContent)
	}
	return nil
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// The codecs are made once: EncodeAll and DecodeAll are safe for concurrent use.
var (
	compressor = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic("wallet: zstd: " + err.Error()) // only for options that contradict each other
		}
		return e
	})
	decompressor = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(ContentBytesMax), zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true))
		if err != nil {
			panic("wallet: zstd: " + err.Error())
		}
		return d
	})
)

// pack compresses an archive and pads the whole to a Padmé length.
func pack(tar []byte) []byte {
	frame := compressor().EncodeAll(tar, nil)
	padded := paddedBytes(len(frame))
	out := make([]byte, padded-len(frame), padded)
	binary.LittleEndian.PutUint32(out, skippableMagic)
	binary.LittleEndian.PutUint32(out[4:], uint32(padded-len(frame)-skippableHead))
	return append(out, frame...)
}

// unpack undoes pack; the output is at most ContentBytesMax, whatever the input claims. Errors wrap ErrContent or ErrLimit.
func unpack(content []byte) ([]byte, error) {
	if len(content) < PaddedBytesMin || binary.LittleEndian.Uint32(content) != skippableMagic {
		return nil, fmt.Errorf("%w: it does not begin with padding", ErrContent)
	}
	pad := uint64(binary.LittleEndian.Uint32(content[4:])) + skippableHead
	if pad >= uint64(len(content)) || !zeros(content[skippableHead:pad]) {
		return nil, fmt.Errorf("%w: its padding is not zeros", ErrContent)
	}
	frame := content[pad:]
	if paddedBytes(len(frame)) != len(content) {
		return nil, fmt.Errorf("%w: it is not padded to a Padmé length", ErrContent)
	}
	var h zstd.Header
	if err := h.Decode(frame); err != nil || h.Skippable || !h.HasFCS {
		return nil, fmt.Errorf("%w: it is not a zstd frame that states its size", ErrContent)
	}
	if h.FrameContentSize > ContentBytesMax {
		return nil, fmt.Errorf("%w: its content has %d bytes, at most %d", ErrLimit, h.FrameContentSize, ContentBytesMax)
	}
	tar, err := decompressor().DecodeAll(frame, nil)
	if err != nil || uint64(len(tar)) != h.FrameContentSize {
		return nil, fmt.Errorf("%w: it does not decompress", ErrContent)
	}
	return tar, nil
}

// paddedBytes is the length of content whose compressed frame has n bytes: Padmé (PURBs, PETS 2019, §4) of frame and padding's head, at
// least PaddedBytesMin. It tells an observer at most log log of the length, for at most 12 % more bytes.
func paddedBytes(n int) int { return padme(max(n+skippableHead, PaddedBytesMin)) }

func padme(n int) int {
	e := bits.Len(uint(n)) - 1 // ⌊log₂ n⌋
	s := bits.Len(uint(e))     // ⌊log₂ e⌋ + 1
	mask := 1<<max(e-s, 0) - 1 // bits that must be zero
	return (n + mask) &^ mask
}
