package consensus

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// testApp is a small application: it remembers every parcel's hash, counts, and chains all into its hash. A block
// that holds nothing and meets no due end changes nothing. With a path it keeps its state in a file.
type testApp struct {
	path string

	mu      sync.Mutex
	st      testState
	staged  *testState
	blocks  []testBlock // applied by this instance, in order
	genesis []byte
	ends    []uint64 // block times at which ends were executed

	checks   sync.Map // hash → *atomic.Int64: how often Check saw it
	onApply  func(height, timeMillis uint64, parcels []any) error
	hashSalt byte // a faulty application's
	offences []Offence
}

type testState struct {
	Height, Time uint64
	Count        uint64
	Chain        [32]byte
	Seen         map[[32]byte]uint64
	Dues         []uint64
}

type testBlock struct {
	height, time uint64
	parcels      int
}

var errBadParcel = errors.New("parcel starts with bad")

func newTestApp(path string) *testApp {
	a := &testApp{path: path, st: testState{Seen: map[[32]byte]uint64{}}}
	if path != "" {
		a.load()
	}
	return a
}

func (a *testApp) Head() (uint64, [32]byte, uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.st.Height, a.hash(&a.st), a.st.Time
}

func (a *testApp) hash(s *testState) [32]byte {
	b := binary.BigEndian.AppendUint64(append([]byte{a.hashSalt}, s.Chain[:]...), s.Count)
	return sha256.Sum256(b)
}

func (a *testApp) InitChain(genesis []byte) ([32]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.genesis = bytes.Clone(genesis)
	a.st.Chain = sha256.Sum256(genesis)
	return a.hash(&a.st), nil
}

func (a *testApp) Check(parcels [][]byte) []Checked {
	out := make([]Checked, len(parcels))
	for i, p := range parcels {
		n, _ := a.checks.LoadOrStore(sha256.Sum256(p), new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		if bytes.HasPrefix(p, []byte("bad")) {
			out[i].Err = errBadParcel
			continue
		}
		out[i] = Checked{Parcel: p, Envelopes: 1}
	}
	return out
}

func (a *testApp) checked(p []byte) int64 {
	n, ok := a.checks.Load(sha256.Sum256(p))
	if !ok {
		return 0
	}
	return n.(*atomic.Int64).Load()
}

func (a *testApp) Offences(_ uint64, o []Offence) { a.offences = append(a.offences, o...) }

func (a *testApp) Apply(height, timeMillis uint64, parcels []any) ([][]byte, [32]byte, error) {
	a.mu.Lock()
	hook := a.onApply
	a.mu.Unlock()
	if hook != nil {
		if err := hook(height, timeMillis, parcels); err != nil {
			return nil, [32]byte{}, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.st
	next.Seen = make(map[[32]byte]uint64, len(a.st.Seen)+len(parcels))
	for k, v := range a.st.Seen {
		next.Seen[k] = v
	}
	next.Height, next.Time = height, timeMillis
	results := make([][]byte, len(parcels))
	for i, p := range parcels {
		raw := p.([]byte)
		h := sha256.Sum256(raw)
		at, again := next.Seen[h]
		if !again {
			next.Count++
			at = next.Count
			next.Seen[h] = at
			next.Chain = sha256.Sum256(append(append(next.Chain[:], h[:]...), binary.BigEndian.AppendUint64(nil, timeMillis)...))
		}
		results[i] = fmt.Appendf(nil, "%d", at)
		if bytes.HasPrefix(raw, []byte("due:")) && len(raw) == 12 {
			next.Dues = append(append([]uint64(nil), next.Dues...), binary.BigEndian.Uint64(raw[4:]))
		}
	}
	var later []uint64
	for _, d := range next.Dues {
		if d > timeMillis {
			later = append(later, d)
			continue
		}
		next.Chain = sha256.Sum256(append(next.Chain[:], "end"...))
		a.ends = append(a.ends, timeMillis)
	}
	next.Dues = later
	a.staged = &next
	a.blocks = append(a.blocks, testBlock{height, timeMillis, len(parcels)})
	return results, a.hash(&next), nil
}

func (a *testApp) Commit() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.st = *a.staged
	if a.path == "" {
		return nil
	}
	return a.save()
}

func (a *testApp) NextDue() (uint64, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.st.Dues) == 0 {
		return 0, false
	}
	first := a.st.Dues[0]
	for _, d := range a.st.Dues {
		first = min(first, d)
	}
	return first, true
}

func (a *testApp) applied() []testBlock {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]testBlock(nil), a.blocks...)
}

func (a *testApp) has(p []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.st.Seen[sha256.Sum256(p)]
	return ok
}

// save writes the state beside and renames: kill -9 leaves the old or the new.
func (a *testApp) save() error {
	b := binary.BigEndian.AppendUint64(nil, a.st.Height)
	b = binary.BigEndian.AppendUint64(b, a.st.Time)
	b = binary.BigEndian.AppendUint64(b, a.st.Count)
	b = append(b, a.st.Chain[:]...)
	for h, n := range a.st.Seen {
		b = binary.BigEndian.AppendUint64(append(b, h[:]...), n)
	}
	tmp := a.path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, a.path)
}

func (a *testApp) load() {
	if err := os.MkdirAll(filepath.Dir(a.path), 0o700); err != nil {
		panic(err)
	}
	b, err := os.ReadFile(a.path)
	if err != nil {
		return
	}
	a.st.Height = binary.BigEndian.Uint64(b)
	a.st.Time = binary.BigEndian.Uint64(b[8:])
	a.st.Count = binary.BigEndian.Uint64(b[16:])
	copy(a.st.Chain[:], b[24:])
	for b = b[56:]; len(b) >= 40; b = b[40:] {
		a.st.Seen[[32]byte(b[:32])] = binary.BigEndian.Uint64(b[32:])
	}
}

// key derives a test key from a name.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}
