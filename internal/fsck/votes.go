package fsck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/node"
)

// votes reads the engine's own log of messages and votes: frames of a CRC-32C, a length and as many bytes. What is damaged there is worth a
// note and no more: the engine needs only what stands since its last block, keeps a damaged log aside and goes on; that a validator does not
// sign twice rests on the sign state, which is checked with the blocks.
func (c *check) votes() {
	dir := filepath.Join(c.dir, "engine", "wal")
	files, err := os.ReadDir(dir)
	if err != nil {
		c.find(Note, "engine", "the engine's log cannot be read: %v", err)
		return
	}
	for _, f := range files {
		if f.IsDir() || !strings.HasPrefix(f.Name(), "wal") {
			c.find(Note, "engine", "wal/%s is none of the engine's files", f.Name())
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err == nil {
			err = checkFrames(raw)
		}
		if err != nil {
			c.find(Note, "engine", "wal/%s: %v; the engine repairs it when it starts", f.Name(), err)
		}
	}
}

func checkFrames(raw []byte) error {
	for at := 0; at < len(raw); {
		b := raw[at:]
		if len(b) < 8 {
			return fmt.Errorf("the last frame, at byte %d, is torn", at)
		}
		size := uint64(binary.BigEndian.Uint32(b[4:]))
		if size > uint64(len(b)-8) {
			return fmt.Errorf("the frame at byte %d is torn or damaged", at)
		}
		if crc32.Checksum(b[8:8+size], castagnoli) != binary.BigEndian.Uint32(b) {
			return fmt.Errorf("the frame at byte %d is damaged", at)
		}
		at += 8 + int(size)
	}
	return nil
}

// strangers notes what lies in the node's folder and is none of the node's.
func (c *check) strangers() {
	known := map[string]bool{"keys.age": true, "ledger": true, "book": true, "secrets": true, "engine": true, "vault": true, "gateway": true, node.RestoredFile: true}
	entries, err := os.ReadDir(c.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.find(Fault, "network", "%v", err)
	}
	for _, e := range entries {
		if e.Name() == node.RestoredFile {
			c.find(Note, "engine", "the folder was restored from a backup: the node signs nothing until it is beyond what it can have signed before")
		}
		if !known[e.Name()] {
			c.find(Note, "network", "%s is none of the node's files", e.Name())
		}
	}
}
