package translog

import (
	"bytes"
	"fmt"

	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// Check recomputes a log of the given size from its leaves up and compares
// every stored tile, then the root. The error is an [ErrCorrupt] that names the
// first bad tile in the order of the leaves, or the store's error.
func Check(r Reader, prefix []byte, size uint64, root [32]byte) error {
	if size > c2sp.TreeSizeMax {
		return ErrFull
	}
	c := checker{store: layout{r: r, prefix: bytes.Clone(prefix)}, edge: &head{size: size}}
	for n := range size / tileWidth {
		_, nodes, err := c.store.readTile(0, n)
		if err != nil {
			return err
		}
		if err := c.add(1, n, nodes.top()); err != nil {
			return err
		}
	}
	leaves, err := c.store.readEdge(size/tileWidth, int(size%tileWidth))
	if err != nil {
		return err
	}
	c.edge.leaves = leaves
	c.edge.setPeaks()
	if have := c.edge.root(); have != root {
		return ErrCorrupt{Reason: fmt.Sprintf("all tiles agree on root %x at size %d, which is not %x", have[:], size, root[:])}
	}
	return nil
}

type checker struct {
	store layout
	edge  *head // its upper tiles gather what is recomputed
}

// add takes the recomputed subtree hash of tile n of the level below.
func (c *checker) add(level int, n uint64, subtree Hash) error {
	have := append(c.edge.upper[level-1], subtree)
	c.edge.upper[level-1] = have
	if len(have) < tileWidth {
		return nil
	}
	c.edge.upper[level-1] = have[:0]
	_, nodes, err := c.store.readTile(level, n/tileWidth)
	if err != nil {
		return err
	}
	for i, stored := range nodes.rows[0] {
		if stored != have[i] {
			return ErrCorrupt{
				Tile:   tilePath(level, n/tileWidth, tileWidth),
				Reason: fmt.Sprintf("hash %d is not that of %s", i, tilePath(level-1, n-n%tileWidth+uint64(i), tileWidth)),
			}
		}
	}
	return c.add(level+1, n/tileWidth, nodes.top())
}
