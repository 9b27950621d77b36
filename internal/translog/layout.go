package translog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = torchwood.TileHeight
	tileWidth  = torchwood.TileWidth
	hashBytes  = tlog.HashSize
	levelsMax  = 7 // tile levels of a tree of 2^56 leaves
)

// layout names the keys of one log. All indexes are big-endian, 8 bytes.
//
//	prefix 00 N       full entries tile N:  256 leaves ‖ subtree hash
//	prefix LL N       full hash tile N of level LL, 1 to 7: 256 hashes ‖ subtree hash
//	prefix ff S       leaves S, S+1, … (S: one byte) of the partial entries tile:
//	                  tile index ‖ leaves ‖ first 8 bytes of SHA-256 of all before
//
// The subtree hash is the RFC 6962 hash of the tile's 256·256^level leaves.
// Rows ff form a chain: the row at 0, then the row at its end, and so on. A row
// of an earlier tile is told by its index.
type layout struct {
	r      Reader
	prefix []byte
}

const edgeKind = 0xff

func (l layout) tileKey(level int, n uint64) []byte {
	key := append(bytes.Clone(l.prefix), byte(level))
	return binary.BigEndian.AppendUint64(key, n)
}

func (l layout) edgeKey(start int) []byte {
	return append(bytes.Clone(l.prefix), edgeKind, byte(start))
}

// tilePath is the public path of a tile; level 0 stands for the entries tile
// here, for that is what is stored.
func tilePath(level int, n uint64, width int) string {
	if level == 0 {
		level = -1
	}
	return torchwood.TilePath(tlog.Tile{H: tileHeight, L: level, N: int64(n), W: width})
}

// writeTile writes a full tile with its subtree hash.
func (l layout) writeTile(w Writer, level int, n uint64, content []Hash, subtree Hash) error {
	if len(content) != tileWidth {
		return fmt.Errorf("translog: full tile of %d hashes", len(content))
	}
	value := make([]byte, 0, (tileWidth+1)*hashBytes)
	for i := range content {
		value = append(value, content[i][:]...)
	}
	return w.Set(l.tileKey(level, n), append(value, subtree[:]...))
}

// readTile reads a full tile and holds it to its own subtree hash. It returns
// the tree over it: for level 0 over the leaves' hashes, with the leaves.
func (l layout) readTile(level int, n uint64) (leaves []Hash, nodes *pyramid, err error) {
	path := tilePath(level, n, tileWidth)
	value, ok, err := l.r.Get(l.tileKey(level, n))
	if err != nil {
		return nil, nil, fmt.Errorf("translog: reading %s: %w", path, err)
	}
	if !ok {
		return nil, nil, ErrCorrupt{Tile: path, Reason: "missing"}
	}
	if len(value) != (tileWidth+1)*hashBytes {
		return nil, nil, ErrCorrupt{Tile: path, Reason: fmt.Sprintf("%d bytes long", len(value))}
	}
	content := make([]Hash, tileWidth)
	for i := range content {
		content[i] = Hash(value[i*hashBytes:][:hashBytes])
	}
	if level == 0 {
		leaves, content = content, hashLeaves(content)
	}
	nodes = newPyramid(content)
	if want := Hash(value[tileWidth*hashBytes:]); nodes.top() != want {
		return nil, nil, ErrCorrupt{Tile: path, Reason: "content does not hash to its subtree hash"}
	}
	return leaves, nodes, nil
}

// writeEdge writes the leaves that a block put into the partial entries tile.
func (l layout) writeEdge(w Writer, tile uint64, start int, leaves []Hash) error {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 16+len(leaves)*hashBytes), tile)
	for i := range leaves {
		value = append(value, leaves[i][:]...)
	}
	sum := sha256.Sum256(value)
	return w.Set(l.edgeKey(start), append(value, sum[:8]...))
}

// readEdge reads the first width leaves of partial entries tile n from the rows
// or, when the tile has filled up since, from the full tile.
func (l layout) readEdge(n uint64, width int) ([]Hash, error) {
	if width == 0 {
		return nil, nil
	}
	leaves, err := l.readRows(n, width)
	if err == nil {
		return leaves, nil
	}
	if _, ok, getErr := l.r.Get(l.tileKey(0, n)); getErr != nil || !ok {
		return nil, err
	}
	full, _, err := l.readTile(0, n)
	if err != nil {
		return nil, err
	}
	return full[:width], nil
}

func (l layout) readRows(n uint64, width int) ([]Hash, error) {
	path := tilePath(0, n, width)
	leaves := make([]Hash, 0, tileWidth)
	for len(leaves) < width {
		start := len(leaves)
		row, ok, err := l.r.Get(l.edgeKey(start))
		if err != nil {
			return nil, fmt.Errorf("translog: reading %s: %w", path, err)
		}
		fail := func(reason string) error {
			return ErrCorrupt{Tile: path, Reason: fmt.Sprintf("row at %d %s", start, reason)}
		}
		if !ok {
			return nil, fail("missing")
		}
		body := len(row) - 16
		if body <= 0 || body%hashBytes != 0 || start+body/hashBytes > tileWidth {
			return nil, fail(fmt.Sprintf("is %d bytes long", len(row)))
		}
		if sum := sha256.Sum256(row[:8+body]); !bytes.Equal(sum[:8], row[8+body:]) {
			return nil, fail("does not match its checksum")
		}
		if binary.BigEndian.Uint64(row) != n {
			return nil, fail("is of another tile")
		}
		for i := range body / hashBytes {
			leaves = append(leaves, Hash(row[8+i*hashBytes:][:hashBytes]))
		}
	}
	return leaves[:width], nil
}
