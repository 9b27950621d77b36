package state

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// The first byte of every row of a Map within its Store. 0x00..0x0f are the map's; others who share the Store begin their
// keys at 0x10 (SharedPrefixMin).
const (
	rowMeta  = 0x01 // → version, flushed version, root
	rowValue = 0x02 // ‖ key → value
	rowLeaf  = 0x03 // ‖ path → value hash
	rowPage  = 0x04 // ‖ depth in nibbles ‖ prefix → 16 children
	rowUndo  = 0x05 // ‖ version → root before; ‖ version ‖ shard → leaves and children before
	rowFloor = 0x06 // → oldest version kept

	SharedPrefixMin = 0x10
)

func valueKey(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), rowValue), key...)
}

func leafKey(path *smt.Hash) []byte {
	return append(append(make([]byte, 0, 33), rowLeaf), path[:]...)
}

// leafRange returns the bounds of the leaf rows under a node.
func leafRange(path *smt.Hash, depth int) (lo, hi []byte) {
	lo = append([]byte{rowLeaf}, path[:(depth+1)/2]...)
	step := byte(1)
	if depth&1 == 1 {
		lo[len(lo)-1] &= 0xf0
		step = 0x10
	}
	hi = append([]byte{}, lo...)
	for i := len(hi) - 1; ; i-- { // the first byte, rowLeaf, never overflows
		hi[i] += step
		if hi[i] != 0 {
			return lo, hi[:i+1]
		}
		step = 1
	}
}

func pageKey(path *smt.Hash, depth int) []byte {
	prefix := prefixOf(path, depth)
	return append([]byte{rowPage, byte(depth)}, prefix[:(depth+1)/2]...)
}

func undoKey(version uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{rowUndo}, version)
}

func shardKey(version uint64, shard int) []byte {
	return binary.BigEndian.AppendUint16(undoKey(version), uint16(shard))
}

// seal appends a checksum of key and row: fields that no hash covers (counts, versions) must not rot unseen.
func seal(key, row []byte) []byte {
	return binary.BigEndian.AppendUint32(row, checksum(key, row))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, row []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, row)
}

// unseal checks and removes the checksum.
func unseal(key, row []byte) ([]byte, error) {
	n := len(row) - 4
	if n < 0 || binary.BigEndian.Uint32(row[n:]) != checksum(key, row[:n]) {
		return nil, fmt.Errorf("%w: checksum of row %x", ErrCorrupt, key)
	}
	return row[:n], nil
}

// cursor reads fields off a row; the first failure sticks.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)) {
		c.bad = true
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u8() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (c *cursor) uvarint() uint64 {
	if c.bad {
		return 0
	}
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) hash() (h smt.Hash) {
	copy(h[:], c.take(32))
	return h
}

// end reports whether the row was read exactly.
func (c *cursor) end() bool { return !c.bad && len(c.b) == 0 }

// nodeInfo rows: count uvarint ‖ mod uvarint ‖ hash, left out when count is 0.
func appendInfo(b []byte, n *nodeInfo) []byte {
	b = binary.AppendUvarint(b, n.count)
	b = binary.AppendUvarint(b, n.mod)
	if n.count > 0 {
		b = append(b, n.hash[:]...)
	}
	return b
}

func (c *cursor) info() (n nodeInfo) {
	n.count, n.mod = c.uvarint(), c.uvarint()
	if n.count > 0 {
		n.hash = c.hash()
	}
	return n
}

// meta is the row that says where the map stands.
type meta struct {
	version uint64
	flushed uint64 // page rows are those of this version
	root    nodeInfo
}

const metaFormat = 1

func (m meta) row(key []byte) []byte {
	b := []byte{metaFormat}
	b = binary.BigEndian.AppendUint64(b, m.version)
	b = binary.BigEndian.AppendUint64(b, m.flushed)
	return seal(key, appendInfo(b, &m.root))
}

// readMeta returns the zero meta for a store without a map.
func readMeta(r Reader) (m meta, err error) {
	key := []byte{rowMeta}
	row, ok, err := r.Get(key)
	if err != nil || !ok {
		return m, err
	}
	if row, err = unseal(key, row); err != nil {
		return m, err
	}
	c := cursor{b: row}
	if f := c.u8(); f != metaFormat {
		return m, fmt.Errorf("%w: map format %d, this program reads %d", ErrCorrupt, f, metaFormat)
	}
	m = meta{version: c.u64(), flushed: c.u64(), root: c.info()}
	if !c.end() || m.flushed > m.version || m.root.mod > m.version {
		return m, fmt.Errorf("%w: meta row", ErrCorrupt)
	}
	return m, nil
}

func readFloor(r Reader) (uint64, error) {
	key := []byte{rowFloor}
	row, ok, err := r.Get(key)
	if err != nil || !ok {
		return 0, err
	}
	if row, err = unseal(key, row); err != nil {
		return 0, err
	}
	c := cursor{b: row}
	floor := c.u64()
	if !c.end() {
		return 0, fmt.Errorf("%w: floor row", ErrCorrupt)
	}
	return floor, nil
}

// pageRow encodes a page; readPage decodes it, hashes it and holds it against what its parent says of it.
func pageRow(key []byte, p *page) []byte {
	b := make([]byte, 0, pageFan*40)
	for i := range p.children {
		b = appendInfo(b, &p.children[i])
	}
	return seal(key, b)
}

func parsePage(key, row []byte) (*page, error) {
	row, err := unseal(key, row)
	if err != nil {
		return nil, err
	}
	c := cursor{b: row}
	p := &page{}
	for i := range p.children {
		p.children[i] = c.info()
	}
	if !c.end() {
		return nil, fmt.Errorf("%w: page row %x", ErrCorrupt, key)
	}
	p.rehash(0xffff)
	return p, nil
}

func readPage(r Reader, info nodeInfo, path *smt.Hash, depth int) (*page, error) {
	key := pageKey(path, depth)
	row, ok, err := r.Get(key)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNode("page row missing", path, depth)
	}
	p, err := parsePage(key, row)
	if err != nil {
		return nil, err
	}
	if count, mod := p.total(); p.inner[1] != info.hash || count != info.count || mod != info.mod {
		return nil, errNode("page row differs from its parent", path, depth)
	}
	return p, nil
}

// scanLeaves calls fn for each leaf row under a node.
func scanLeaves(r Reader, path *smt.Hash, depth int, fn func(smt.Leaf) error) error {
	lo, hi := leafRange(path, depth)
	return r.Scan(lo, hi, func(key, value []byte) (bool, error) {
		if len(key) != 33 || len(value) != 32 {
			return false, fmt.Errorf("%w: leaf row %x", ErrCorrupt, key)
		}
		return true, fn(smt.Leaf{Path: smt.Hash(key[1:]), Value: smt.Hash(value)})
	})
}
