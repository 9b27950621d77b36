package vault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/gcerrors"
	"pgregory.net/rapid"
)

// model checks replication against what it promises: as long as one good copy of a file is left somewhere, a network in which at most one
// member at a time misbehaves never serves wrong bytes, never loses the file, and, once all are honest and have walked, has each file
// exactly where it belongs and erased ones nowhere.
type model struct {
	t     *rapid.T
	net   *network
	files map[Hash][]byte // all that were ever stored
	live  []Hash          // on the ledger, not erased
	dead  []Hash
}

func (m *model) node(what string) *node { return rapid.SampledFrom(m.nodes()).Draw(m.t, what) }

// nodes are all that ever joined, in a fixed order.
func (m *model) nodes() (all []*node) {
	for _, id := range slices.SortedFunc(maps.Keys(m.net.nodes), func(a, b MemberID) int { return bytes.Compare(a[:], b[:]) }) {
		all = append(all, m.net.nodes[id])
	}
	return all
}

func (m *model) member(what string) *node {
	return m.net.nodes[rapid.SampledFrom(m.net.members).Draw(m.t, what)]
}

func (m *model) file() Hash {
	if len(m.live) == 0 {
		m.t.Skip("no file yet")
	}
	return rapid.SampledFrom(m.live).Draw(m.t, "file")
}

// good are all who hold a good copy, members or not.
func (m *model) good(h Hash) (nodes []*node) {
	for _, x := range m.nodes() {
		if x.intact(h) {
			nodes = append(nodes, x)
		}
	}
	return nodes
}

func (m *model) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"store": func(*rapid.T) { m.store() },
		"corrupt": func(*rapid.T) {
			m.damage(func(x *node, h Hash) error { return x.bucket.WriteAll(m.ctx(), fileKey(h), []byte("rot"), nil) })
		},
		"lose":    func(*rapid.T) { m.damage(func(x *node, h Hash) error { return x.bucket.Delete(m.ctx(), fileKey(h)) }) },
		"erase":   func(*rapid.T) { m.erase() },
		"mood":    func(*rapid.T) { m.misbehave() },
		"restart": func(*rapid.T) { m.node("restarting").restart(Options{}) },
		"join":    func(*rapid.T) { m.join() },
		"leave":   func(*rapid.T) { m.leave() },
		"walk":    func(*rapid.T) { _, err := m.node("walking").rep.Walk(m.ctx()); m.fine(err) },
		"scrub":   func(*rapid.T) { _, err := m.node("scrubbing").rep.Scrub(m.ctx()); m.fine(err) },
		"get":     func(*rapid.T) { m.get() },
		"wait":    func(*rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 100).Draw(m.t, "seconds")) * time.Second) },
		"":        func(*rapid.T) { m.check() },
	}
}

func (m *model) ctx() context.Context { return context.Background() }

func (m *model) fine(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) store() {
	b := content(len(m.files), rapid.IntRange(1, 3000).Draw(m.t, "size"))
	h := hashOfContent(b)
	x := m.member("gateway")
	s, err := x.rep.Store(m.ctx(), h, bytes.NewReader(b), int64(len(b)))
	m.fine(err)
	if s.Note == "" && len(s.Holders) < min(2, len(m.net.members)) {
		m.t.Fatalf("acknowledged in silence: %+v", s)
	}
	for _, id := range s.Holders {
		if x := m.net.nodes[id]; x.is() != lying && !x.intact(h) {
			m.t.Fatalf("%s is said to hold it, and does not", id)
		}
	}
	m.files[h] = b
	m.live = append(m.live, h)
	m.net.commit(h, len(b))
}

// damage hurts one copy of a file, never the last good one.
func (m *model) damage(hurt func(*node, Hash) error) {
	h := m.file()
	x := m.node("damaged")
	if good := m.good(h); len(good) < 2 || !slices.Contains(good, x) {
		m.t.Skip("no copy to spare")
	}
	if err := hurt(x, h); gcerrors.Code(err) != gcerrors.OK {
		m.t.Fatal(err)
	}
}

func (m *model) erase() {
	h := m.file()
	m.net.erase(h)
	m.live = slices.DeleteFunc(m.live, func(x Hash) bool { return x == h })
	m.dead = append(m.dead, h)
	if x := m.node("erasing"); rapid.Bool().Draw(m.t, "at once") {
		m.fine(x.vault.Delete(m.ctx(), h))
	}
}

// misbehave leaves at most one member that is not honest.
func (m *model) misbehave() {
	for _, x := range m.nodes() {
		x.be(honest)
	}
	m.member("misbehaving").be(rapid.SampledFrom([]mood{honest, down, silent, lying, cutting, endless, dripping, failingHard}).Draw(m.t, "mood"))
}

func (m *model) join() {
	if len(m.net.nodes) >= 8 {
		m.t.Skip("full")
	}
	m.net.join()
}

func (m *model) leave() {
	if len(m.net.members) <= 3 {
		m.t.Skip("few")
	}
	x := m.member("leaving")
	x.be(honest)
	m.net.mu.Lock()
	m.net.members = without(m.net.members, x.id)
	m.net.mu.Unlock()
}

func (m *model) get() {
	if len(m.files) == 0 {
		m.t.Skip("no file yet")
	}
	all := append(slices.Clone(m.live), m.dead...)
	h := rapid.SampledFrom(all).Draw(m.t, "file")
	x := m.node("reader")
	body, _, err := x.rep.Get(m.ctx(), h)
	if err != nil {
		if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrErased) {
			m.t.Fatal(err)
		}
		if errors.Is(err, ErrErased) && !slices.Contains(m.dead, h) {
			m.t.Fatal("erased by itself")
		}
		return
	}
	b, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(b, m.files[h]) {
		m.t.Fatalf("%s serves wrong bytes: %v", x.id, err)
	}
}

func (m *model) check() {
	synctest.Wait() // what runs in the background now waits for the clock
	for _, h := range m.live {
		if len(m.good(h)) == 0 {
			m.t.Fatalf("%s is lost", h)
		}
	}
}

// settle lets everybody be honest and do their rounds.
func (m *model) settle() {
	for _, x := range m.nodes() {
		x.be(honest)
	}
	time.Sleep(time.Hour) // pushes that were under way end
	synctest.Wait()
	for range 3 {
		for _, x := range m.nodes() {
			_, err := x.rep.Scrub(m.ctx())
			m.fine(err)
			_, err = x.rep.Walk(m.ctx())
			m.fine(err)
		}
	}
	for _, h := range m.live {
		placed := Placement(h, m.net.members, 3)
		for _, x := range m.nodes() {
			if x.intact(h) != slices.Contains(placed, x.id) {
				m.t.Fatalf("%s at %s: held %v", h, x.id, x.intact(h))
			}
		}
	}
	for _, x := range m.nodes() {
		for _, h := range m.dead {
			if x.intact(h) || !x.vault.Erased(h) {
				m.t.Fatalf("%s is not erased at %s", h, x.id)
			}
			if err := x.vault.Put(m.ctx(), h, bytes.NewReader(m.files[h]), int64(len(m.files[h]))); !errors.Is(err, ErrErased) {
				m.t.Fatalf("put of an erased file: %v", err)
			}
		}
		if s := x.rep.Status(); s.Missing != 0 || s.Handover != 0 || s.Quarantined != 0 || s.Held != s.Placed {
			m.t.Fatalf("%s: %+v", x.id, s)
		}
	}
}

func TestReplicationModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var caught any // rapid stops a case by a panic, which must not end the bubble's own test
		synctest.Test(t, func(t *testing.T) {
			defer func() { caught = recover() }()
			m := &model{t: rt, net: newNetwork(rt, rapid.IntRange(3, 6).Draw(rt, "members"), ReplicatorOptions{}), files: map[Hash][]byte{}}
			defer m.net.close()
			rt.Repeat(m.actions())
			m.settle()
		})
		switch { // rapid tells failures apart by where they panic
		case rt.Failed():
			panic(caught)
		case caught != nil:
			panic(caught)
		}
	})
}
