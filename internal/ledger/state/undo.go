package state

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// Old versions are kept as what each newer version replaced, in rows that begin with the version: they are written in
// order, cost the store no rewriting, and are dropped by deleting the front. One header row says what the root was and into
// how many shards the rest is cut, by the first bits of the path, so that a reader fetches little:
//
//	header: shard bits u8 ‖ root before (info)
//	shard:  items, leaves by path, pages bottom up
//	leaf:   0x01 ‖ path 32 ‖ 0x00 | 0x01 ‖ length uvarint ‖ value     (the value before, or none)
//	page:   0x02 ‖ depth u8 ‖ prefix ‖ set u16 ‖ info for each bit    (the children before; those not in the set stayed)
//
// A page that was a bucket before needs no item, since its parent says so; one that became a bucket lists all 16 children.
const (
	undoLeaf = 1
	undoPage = 2

	shardBitsMax = 12
	shardLeaves  = 64 // aimed at
)

// undoWriter gathers the items of one version. The zero value drops them (replay).
type undoWriter struct {
	bits   int
	shards [][]byte
}

func newUndoWriter(leaves int) *undoWriter {
	b := min(bits.Len(uint(leaves/shardLeaves)), shardBitsMax)
	return &undoWriter{bits: b, shards: make([][]byte, 1<<b)}
}

// shardOf is the shard of a path or prefix.
func shardOf(path *smt.Hash, shardBits int) int {
	return int(binary.BigEndian.Uint16(path[:])) >> (16 - shardBits)
}

func (u *undoWriter) leaf(path *smt.Hash, value []byte, had bool) {
	s := &u.shards[shardOf(path, u.bits)]
	*s = append(append(*s, undoLeaf), path[:]...)
	if !had {
		*s = append(*s, 0)
		return
	}
	*s = binary.AppendUvarint(append(*s, 1), uint64(len(value)))
	*s = append(*s, value...)
}

func (u *undoWriter) page(path *smt.Hash, depth int, set uint16, old *page) {
	if u == nil {
		return
	}
	prefix := prefixOf(path, depth)
	s := &u.shards[shardOf(&prefix, u.bits)]
	*s = append(append(*s, undoPage, byte(depth)), prefix[:(depth+1)/2]...)
	*s = binary.BigEndian.AppendUint16(*s, set)
	for k := range old.children {
		if set>>k&1 == 1 {
			*s = appendInfo(*s, &old.children[k])
		}
	}
}

func (u *undoWriter) write(b Batch, version uint64, root *nodeInfo) error {
	key := undoKey(version)
	if err := b.Set(key, seal(key, appendInfo([]byte{byte(u.bits)}, root))); err != nil {
		return err
	}
	for i, shard := range u.shards {
		if len(shard) == 0 {
			continue
		}
		key := shardKey(version, i)
		if err := b.Set(key, seal(key, shard)); err != nil {
			return err
		}
	}
	return nil
}

// undoHeader is the header row of one version.
type undoHeader struct {
	version uint64
	bits    int
	root    nodeInfo
}

func readUndo(r Reader, version uint64) (h undoHeader, err error) {
	key := undoKey(version)
	row, ok, err := r.Get(key)
	if err != nil {
		return h, err
	}
	if !ok {
		return h, fmt.Errorf("%w: undo row of version %d missing", ErrCorrupt, version)
	}
	return parseUndoHeader(key, row)
}

func parseUndoHeader(key, row []byte) (h undoHeader, err error) {
	if row, err = unseal(key, row); err != nil {
		return h, err
	}
	c := cursor{b: row}
	h = undoHeader{version: binary.BigEndian.Uint64(key[1:]), bits: int(c.u8()), root: c.info()}
	if !c.end() || h.bits > shardBitsMax || h.root.mod >= h.version {
		return h, fmt.Errorf("%w: undo row of version %d", ErrCorrupt, h.version)
	}
	return h, nil
}

// undoItem is one item of a shard; value is valid as long as the row.
type undoItem struct {
	kind     byte
	path     smt.Hash // of a leaf; of a page its prefix
	value    []byte   // leaf
	had      bool     // leaf: there was a value
	depth    int      // page, in nibbles
	set      uint16   // page
	children [pageFan]nodeInfo
}

// eachItem calls fn for each item of one shard; a shard without items has no row.
func (h undoHeader) eachItem(r Reader, shard int, fn func(*undoItem) error) error {
	key := shardKey(h.version, shard)
	row, ok, err := r.Get(key)
	if err != nil || !ok {
		return err
	}
	if row, err = unseal(key, row); err != nil {
		return err
	}
	c := cursor{b: row}
	for len(c.b) > 0 {
		it := c.undoItem()
		if c.bad {
			return fmt.Errorf("%w: undo row of version %d, shard %d", ErrCorrupt, h.version, shard)
		}
		if err := fn(&it); err != nil {
			return err
		}
	}
	return nil
}

func (c *cursor) undoItem() (it undoItem) {
	it.kind = c.u8()
	switch it.kind {
	case undoLeaf:
		it.path = c.hash()
		there := c.u8()
		c.bad = c.bad || there > 1
		if it.had = there == 1; it.had {
			it.value = c.take(c.uvarint())
		}
	case undoPage:
		it.depth = int(c.u8())
		if it.depth >= depthMax {
			c.bad = true
			return it
		}
		copy(it.path[:], c.take(uint64(it.depth+1)/2))
		it.set = c.u16()
		for k := range it.children {
			if it.set>>k&1 == 1 {
				it.children[k] = c.info()
			}
		}
	default:
		c.bad = true
	}
	return it
}

// page returns what version h replaced in one page; ErrCorrupt if it lists nothing for it.
func (h undoHeader) page(r Reader, path *smt.Hash, depth int) (found undoItem, err error) {
	prefix := prefixOf(path, depth)
	err = h.eachItem(r, shardOf(&prefix, h.bits), func(it *undoItem) error {
		if it.kind == undoPage && it.depth == depth && it.path == prefix {
			found = *it
		}
		return nil
	})
	if err == nil && found.kind == 0 {
		err = errNode(fmt.Sprintf("nothing to undo in version %d", h.version), path, depth)
	}
	return found, err
}

// leaves calls fn for the leaves under a node that version h replaced.
func (h undoHeader) leaves(r Reader, path *smt.Hash, depth int, fn func(*undoItem)) error {
	prefix := prefixOf(path, depth)
	var last int
	if free := h.bits - depth*nibbleBits; free > 0 {
		last = shardOf(&prefix, h.bits) | (1<<free - 1)
	} else {
		last = shardOf(&prefix, h.bits)
	}
	for shard := shardOf(&prefix, h.bits); shard <= last; shard++ {
		err := h.eachItem(r, shard, func(it *undoItem) error {
			if it.kind == undoLeaf && prefixOf(&it.path, depth) == prefix {
				fn(it)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
