package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol/smt"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// writeVersion commits n writes as the next version and returns the root.
func writeVersion(t interface{ Fatalf(string, ...any) }, s Store, m *Map, kv map[string]string, durable bool) smt.Hash {
	tx := m.Begin()
	for k, v := range kv {
		if v == "" {
			tx.Delete([]byte(k))
		} else {
			tx.Set([]byte(k), []byte(v))
		}
	}
	b := s.NewBatch()
	root, err := m.Stage(tx, m.Version()+1, b)
	must(t, err)
	must(t, b.Commit(durable))
	m.Advance()
	return root
}

func genWrites(t *rapid.T, n int) map[string]string {
	kv := map[string]string{}
	for range n {
		value := ""
		if rapid.IntRange(0, 3).Draw(t, "delete") > 0 {
			value = fmt.Sprintf("v%d", rapid.IntRange(0, 99).Draw(t, "value"))
		}
		kv[genKey(t)] = value
	}
	return kv
}

// TestOrderAndBatches: the root depends on the set of keys and values alone.
func TestOrderAndBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kv := map[string]string{}
		for range rapid.IntRange(0, 200).Draw(t, "n") {
			kv[genKey(t)] = "v"
		}
		want := modelRoot(kv)
		p := openIn(t, vfs.NewMem())
		defer p.Close()
		for _, s := range []Store{p, NewMemory()} {
			m, err := OpenMap(s)
			must(t, err)
			part := map[string]string{}
			for k, v := range kv { // in Go's random order
				if part[k] = v; rapid.IntRange(0, 20).Draw(t, "cut") == 0 {
					part["gone"] = "g"
					writeVersion(t, s, m, part, false)
					part = map[string]string{"gone": ""}
				}
			}
			writeVersion(t, s, m, part, true)
			check(t, "root", m.Root(), want)
			must(t, Check(s))
			must(t, m.Close())
			m, err = OpenMap(s)
			must(t, err)
			check(t, "root after reopening", m.Root(), want)
			must(t, m.Close())
		}
	})
}

// TestMemoryCrashes: whatever a crash leaves is a version that was, whole, and the map goes on from there to the same roots.
func TestMemoryCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewMemory()
		m, err := OpenMap(s)
		must(t, err)
		roots := map[uint64]smt.Hash{0: smt.Empty}
		writes := map[uint64]map[string]string{}
		durable := uint64(0)
		for v := uint64(1); v <= uint64(rapid.IntRange(1, 20).Draw(t, "versions")); v++ {
			if rapid.IntRange(0, 4).Draw(t, "flush") == 0 {
				m.dirty.versions = flushVersionsMax
			}
			writes[v] = genWrites(t, rapid.IntRange(1, 60).Draw(t, "n"))
			sync := rapid.IntRange(0, 3).Draw(t, "durable") == 0
			roots[v] = writeVersion(t, s, m, writes[v], sync)
			if sync {
				durable = v
			}
		}
		head := m.Version()
		for _, lose := range []bool{true, false} {
			crashed := s.Crash(lose)
			again, err := OpenMap(crashed)
			must(t, err)
			want := head
			if lose {
				want = durable
			}
			check(t, "version", again.Version(), want)
			check(t, "root", again.Root(), roots[want])
			must(t, Check(crashed))
			for v := want + 1; v <= head; v++ { // the engine replays blocks
				check(t, "root again", writeVersion(t, crashed, again, writes[v], false), roots[v])
			}
			must(t, Check(crashed))
			for v := range head + 1 {
				_, _, p, err := again.Prove([]byte("k1"), v)
				must(t, err)
				_, _, q, err := m.Prove([]byte("k1"), v)
				must(t, err)
				a, _ := p.MarshalBinary()
				b, _ := q.MarshalBinary()
				if !bytes.Equal(a, b) {
					t.Fatalf("version %d: another proof after the crash", v)
				}
			}
		}
	})
}

// TestFailedCommit: after an error the head stays, whether or not the batch got through; reopening tells.
func TestFailedCommit(t *testing.T) {
	boom := errors.New("boom")
	for _, persist := range []bool{false, true} {
		s := NewMemory()
		m, err := OpenMap(s)
		must(t, err)
		first := writeVersion(t, s, m, map[string]string{"a": "1"}, true)
		s.FailCommits(func(bool) (bool, error) { return persist, boom })
		tx := m.Begin()
		tx.Set([]byte("a"), []byte("2"))
		b := s.NewBatch()
		second, err := m.Stage(tx, 2, b)
		must(t, err)
		if err := b.Commit(true); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		v, _, err := m.Get([]byte("a"))
		must(t, err)
		check(t, "root", m.Root(), first)
		check(t, "value", string(v), "1")
		s.FailCommits(nil)
		again, err := OpenMap(s)
		must(t, err)
		if want := map[bool]smt.Hash{false: first, true: second}[persist]; again.Root() != want {
			t.Fatalf("persist %v: root %x", persist, again.Root())
		}
		must(t, Check(s))
	}
}

// TestPebbleKilled stops Pebble in full flight, at any point of what it had written but not synced: what is found is a whole
// version, none older than the last durable one.
func TestPebbleKilled(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := openIn(t, disk)
	defer s.Close()
	m, err := OpenMap(s)
	must(t, err)
	roots := map[uint64]smt.Hash{0: smt.Empty}
	seen := map[uint64]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	durable := uint64(0)
	for v := uint64(1); v <= 30; v++ {
		kv := map[string]string{}
		for i := range 60 {
			kv[fmt.Sprintf("k%d", (int(v)*37+i*11)%700)] = fmt.Sprintf("%d %s", v, strings.Repeat("x", 200))
		}
		if v%7 == 0 {
			m.dirty.versions = flushVersionsMax
		}
		if v%9 == 0 {
			durable = v
		}
		roots[v] = writeVersion(t, s, m, kv, v == durable)
		for _, unsynced := range []int{0, 50, 90}[:v%4] {
			c := openIn(t, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: random}))
			again, err := OpenMap(c)
			must(t, err)
			at := again.Version()
			seen[at] = true
			if at < durable || at > v {
				t.Fatalf("version %d after a kill at %d, durable %d", at, v, durable)
			}
			check(t, "root", again.Root(), roots[at])
			must(t, Check(c))
			must(t, again.Close())
			must(t, c.Close())
		}
	}
	if len(seen) < 6 {
		t.Fatalf("the kills left %d versions only", len(seen))
	}
}

// checked is a store with pages on two levels, buckets, and versions between which pages came and went.
func checked(t *testing.T) *Memory {
	s := NewMemory()
	m, err := OpenMap(s)
	must(t, err)
	write := func(lo, hi int, value string, flush bool) {
		kv := map[string]string{}
		for i := lo; i < hi; i++ {
			kv[fmt.Sprintf("k%d", i)] = value
		}
		if flush {
			m.dirty.versions = flushVersionsMax
		}
		writeVersion(t, s, m, kv, true)
	}
	write(0, 300, "one", false)
	write(100, 900, "two", true)
	write(0, 20, "three", false)
	write(5, 850, "", false)
	write(600, 800, "five", true)
	write(0, 10, "six", false)
	b := s.NewBatch()
	must(t, m.Prune(2, b))
	must(t, b.Set([]byte{SharedPrefixMin, 1}, []byte("another's row")))
	must(t, b.Commit(true))
	must(t, Check(s))
	return s
}

// TestCheckFindsEveryFlip flips bits in each kind of row, in key and value, takes rows away, and adds some.
func TestCheckFindsEveryFlip(t *testing.T) {
	s := checked(t)
	kinds := map[byte]int{}
	must(t, s.Scan(nil, []byte{SharedPrefixMin}, func(key, value []byte) (bool, error) {
		if kinds[key[0]]++; key[0] != rowPage && kinds[key[0]]%15 != 1 {
			return true, nil // all alike
		}
		for at := 0; at < len(key)*8; at += 1 + len(key) {
			if k := flip(key, at); k[0] < SharedPrefixMin { // else it is another's row
				expectFault(t, s, key, k, value, fmt.Sprintf("bit %d of key %x", at, key))
			}
		}
		for at := 0; at < len(value)*8; at += 1 + len(value) {
			expectFault(t, s, key, key, flip(value, at), fmt.Sprintf("bit %d of row %x", at, key))
		}
		expectFault(t, s, key, nil, nil, fmt.Sprintf("row %x gone", key))
		return true, nil
	}))
	for _, prefix := range []byte{rowMeta, rowValue, rowLeaf, rowPage, rowUndo, rowFloor} {
		if kinds[prefix] == 0 {
			t.Errorf("no row with prefix %x was tried", prefix)
		}
	}
	for _, key := range [][]byte{{}, {0}, {7, 1}, {0x0f}, {rowMeta, 0}, {rowFloor, 0}, undoKey(2), undoKey(99), append(undoKey(3), 1)} {
		expectFault(t, s, key, key, nil, fmt.Sprintf("stray row %x", key))
	}
}

func flip(b []byte, bit int) []byte {
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

// TestCheckReadsTheUndoRows forges undo rows with sound checksums: what they say must follow from the values. Versions of
// nodes are excepted, which only the checksum covers.
func TestCheckReadsTheUndoRows(t *testing.T) {
	s := checked(t)
	tried := 0
	must(t, s.Scan([]byte{rowUndo}, []byte{rowUndo + 1}, func(key, row []byte) (bool, error) {
		row, err := unseal(key, row)
		must(t, err)
		for at := 0; len(key) == 11 && at < len(row)*8; at += 1 + len(row)/4 {
			forged := flip(row, at)
			if sameItems(row, forged) {
				continue
			}
			tried++
			expectFault(t, s, key, key, seal(key, forged), fmt.Sprintf("forged bit %d of undo row %x", at, key))
		}
		return true, nil
	}))
	if tried < 50 {
		t.Errorf("%d tried only", tried)
	}
}

// sameItems compares two shards but for the versions of nodes.
func sameItems(a, b []byte) bool {
	read := func(b []byte) (items []undoItem, bad bool) {
		c := cursor{b: b}
		for len(c.b) > 0 && !c.bad {
			it := c.undoItem()
			for k := range it.children {
				it.children[k].mod = 0
			}
			items = append(items, it)
		}
		return items, c.bad
	}
	x, badX := read(a)
	y, badY := read(b)
	return badX == badY && reflect.DeepEqual(x, y)
}

// expectFault replaces one row (nil key: by nothing) in a copy of s.
func expectFault(t *testing.T, s *Memory, old, key, value []byte, what string) {
	c := s.Crash(false)
	b := c.NewBatch()
	must(t, b.Delete(old))
	if key != nil {
		must(t, b.Set(key, value))
	}
	must(t, b.Commit(true))
	err := Check(c)
	var fault *Fault
	if !errors.Is(err, ErrCorrupt) || !errors.As(err, &fault) {
		t.Errorf("%s: %v", what, err)
	}
}

// TestReadersBesideTheWriter is for the race detector, and checks that a view is one version.
func TestReadersBesideTheWriter(t *testing.T) {
	p := openIn(t, vfs.NewMem())
	defer p.Close()
	for _, s := range []Store{p, NewMemory()} {
		readBeside(t, s)
	}
}

func readBeside(t *testing.T, s Store) {
	m, err := OpenMap(s)
	must(t, err)
	m.cache = 10_000
	keys := make([]string, 300)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%d", i)
	}
	fill := func(v int) map[string]string {
		kv := map[string]string{}
		for _, k := range keys {
			kv[k] = fmt.Sprint(v)
		}
		return kv
	}
	writeVersion(t, s, m, fill(0), false)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for r := range 3 {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if err := readOnce(m, keys, i*7+r); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for v := 1; v <= 30; v++ {
		if v%5 == 0 {
			m.dirty.versions = flushVersionsMax
		}
		writeVersion(t, s, m, fill(v), false)
		if v > 10 {
			b := s.NewBatch()
			must(t, m.Prune(uint64(v-10), b))
			must(t, b.Commit(false))
		}
	}
	close(done)
	readers.Wait()
	must(t, Check(s))
	must(t, m.Close())
}

func readOnce(m *Map, keys []string, i int) error {
	v, err := m.View()
	if err != nil {
		return err
	}
	defer v.Close()
	a, _, err := v.Get([]byte(keys[i%len(keys)]))
	if err != nil {
		return err
	}
	if _, _, err := m.Get([]byte(keys[0])); err != nil {
		return err
	}
	key := []byte(keys[(i*31+5)%len(keys)])
	b, ok, p, err := v.Prove(key)
	if err != nil || !ok || !bytes.Equal(a, b) {
		return fmt.Errorf("a view shows %q and %q: %v", a, b, err)
	}
	if err := p.Verify(v.Root(), key, b); err != nil {
		return err
	}
	if old := v.Version(); old > 0 {
		if _, _, _, err := m.Prove(key, old-1); err != nil && !errors.Is(err, ErrPruned) {
			return err
		}
	}
	return nil
}
