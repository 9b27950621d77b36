package vault

import (
	"context"
	"sync"
)

// lately remembers files known to be here: stored or found not long ago. Most entries that the ledger brings name a file that came
// minutes before, and following the ledger need not ask the folder about each. It is a hint for that alone: walks of the whole index and
// whoever serves a file look at the file. It holds two generations; when the younger is full, the older is forgotten.
type lately struct {
	mu         sync.Mutex
	young, old map[Hash]struct{}
}

// latelyFilesMax bounds one generation: 40 bytes each.
const latelyFilesMax = 1 << 15

func (l *lately) add(h Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.young == nil || len(l.young) >= latelyFilesMax {
		l.old, l.young = l.young, make(map[Hash]struct{})
	}
	l.young[h] = struct{}{}
}

func (l *lately) drop(h Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.young, h)
	delete(l.old, h)
}

// lacks returns the indices of hashes that are not remembered.
func (l *lately) lacks(hashes []Hash) (at []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, h := range hashes {
		if _, ok := l.young[h]; ok {
			continue
		}
		if _, ok := l.old[h]; !ok {
			at = append(at, i)
		}
	}
	return at
}

// hasLately is Has for many files, in their order, trusting what is remembered.
func (v *Vault) hasLately(ctx context.Context, hashes []Hash) ([]bool, error) {
	ask := v.lately.lacks(hashes)
	unknown := make([]Hash, len(ask))
	for i, at := range ask {
		unknown[i] = hashes[at]
	}
	found, err := v.forEach(ctx, unknown, v.Has)
	if err != nil {
		return nil, err
	}
	has := make([]bool, len(hashes))
	for i := range has {
		has[i] = true
	}
	for i, at := range ask {
		has[at] = found[i]
		if found[i] {
			v.remember(hashes[at])
		}
	}
	return has, nil
}

// remember notes a file that was found, unless it has gone meanwhile.
func (v *Vault) remember(hash Hash) {
	lock := v.lock(hash)
	lock.Lock()
	defer lock.Unlock()
	if ok, err := v.store.exists(context.Background(), fileKey(hash)); err == nil && ok && v.usable(hash) == nil {
		v.lately.add(hash)
	}
}
