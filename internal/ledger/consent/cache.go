package consent

import (
	"container/list"
	"crypto/sha256"
	"sync"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// Cache remembers the compiled form of the contracts used last. Compiling is a pure function, so what the cache holds never shows
// in a result, only in the time it takes. It is safe for use by several goroutines.
type Cache struct {
	mu      sync.Mutex
	max     int                             // owned by the constructor
	entries map[protocol.Hash]*list.Element // guarded by mu; looked up, never ranged over
	order   *list.List                      // guarded by mu; of *Compiled, the last used first
}

// NewCache makes a cache of at most contractsMax contracts, at least one.
func NewCache(contractsMax int) *Cache {
	return &Cache{max: max(contractsMax, 1), entries: map[protocol.Hash]*list.Element{}, order: list.New()}
}

// Compile is the function Compile. Refusals are not remembered.
func (c *Cache) Compile(canonical []byte) (*Compiled, error) {
	hash := protocol.Hash(sha256.Sum256(canonical))
	if compiled := c.get(hash); compiled != nil {
		return compiled, nil
	}
	compiled, err := Compile(canonical)
	if err != nil {
		return nil, err
	}
	c.put(compiled)
	return compiled, nil
}

// Len is how many contracts the cache holds.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}

func (c *Cache) get(hash protocol.Hash) *Compiled {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[hash]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	compiled, _ := e.Value.(*Compiled)
	return compiled
}

func (c *Cache) put(compiled *Compiled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[compiled.hash]; ok {
		return
	}
	c.entries[compiled.hash] = c.order.PushFront(compiled)
	for c.order.Len() > c.max {
		last := c.order.Back()
		c.order.Remove(last)
		if old, ok := last.Value.(*Compiled); ok {
			delete(c.entries, old.hash)
		}
	}
}
