package translog

import (
	"errors"
	"fmt"
)

// ErrFull: the log is at its largest size.
var ErrFull = errors.New("log is full: 2^56 leaves")

// ErrCorrupt: the store does not hold what it must: bytes missing, damaged, or
// at odds with the rest of the tree. Tile is the path of the tile concerned
// (c2sp.org/tlog-tiles), or empty when only the root is known to be wrong.
type ErrCorrupt struct{ Tile, Reason string }

func (e ErrCorrupt) Error() string {
	if e.Tile == "" {
		return "log is damaged: " + e.Reason
	}
	return fmt.Sprintf("log is damaged at %s: %s", e.Tile, e.Reason)
}

// ErrTilePath: not the path of a tile in its one canonical spelling.
type ErrTilePath struct{ Path string }

func (e ErrTilePath) Error() string { return fmt.Sprintf("not a tile path: %q", e.Path) }

// ErrNotFound: a well-formed tile, leaf or size that the log has not reached.
type ErrNotFound struct {
	What string // tile path, or what was asked for
	Size uint64 // of the log
}

func (e ErrNotFound) Error() string {
	return fmt.Sprintf("%s is not in the log of size %d", e.What, e.Size)
}
