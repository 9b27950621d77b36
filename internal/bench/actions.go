package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// load says how a network is loaded.
type load struct {
	name       string
	lanes      int // connections, over all gateways; each sends its next request when the last is answered
	envelopes  int // a request
	form       func([][]byte) request
	signing    bool          // the clients sign while the clock runs, on the same cores
	perSecond  int           // how many envelopes a second are signed beforehand, at most
	warm, time time.Duration // before and while it counts
}

// result of a load.
type result struct {
	perSecond, cpuMicros float64   // accepted actions; CPU an action of everything in this process, clients included
	p50, p95             float64   // ms a request
	yard                 yardstick // before and after
}

// measureActions loads networks with individually signed actions, 64 a transaction and each alone, and waits for single ones. Each load gets a
// network of its own, so that none pays for what the one before left to be tidied up.
func (r *run) measureActions(ctx context.Context, nodes int) error {
	name := fmt.Sprintf("%d nodes", nodes)
	if nodes == 1 {
		name = "1 node"
	}
	lanes := map[int][2]int{1: {128, 16}, 4: {128, 16}}[nodes]
	rates := map[int][2]int{1: {50_000, 30_000}, 4: {24_000, 12_000}}[nodes]
	warm, long := pick(r, 2*time.Second, time.Second), pick(r, 6*time.Second, 2*time.Second)
	for i, l := range []load{
		{name: "64 envelopes a transaction", lanes: lanes[0], envelopes: 64, form: asParcel, perSecond: rates[0], warm: warm, time: long},
		{name: "64 envelopes a transaction, clients sign meanwhile", lanes: lanes[0], envelopes: 64, form: asParcel, signing: true, warm: warm, time: long / 2},
		{name: "1 envelope a transaction", lanes: lanes[1], envelopes: 128, form: asSubmission, perSecond: rates[1], warm: warm, time: long},
		{name: "1 envelope a transaction, clients sign meanwhile", lanes: lanes[1], envelopes: 128, form: asSubmission, signing: true, warm: warm, time: long / 2},
	} {
		if l.signing && r.Quick {
			continue
		}
		if err := r.loadOne(ctx, nodes, name, l, i == 0); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}

// loadOne sets a network up, loads it and notes the figures; on the first one of a kind also what single clients wait for, and of one node
// what it leaves on the disk.
func (r *run) loadOne(ctx context.Context, nodes int, name string, l load, first bool) error {
	s, err := r.setUp(ctx, nodes, pick(r, 256, 64))
	if err != nil {
		return err
	}
	stop := sync.OnceValue(s.net.Stop)
	defer func() { _ = errors.Join(stop(), os.RemoveAll(s.net.Dir)) }()
	if first {
		if err := r.unloaded(s, name); err != nil {
			return err
		}
	}
	before, err := s.sizes()
	if err != nil {
		return err
	}
	entries := s.net.Nodes[0].Ledger().Head().Size
	got, err := r.drive(ctx, s, l)
	if err != nil {
		return err
	}
	r.note(name, l, got)
	added := s.net.Nodes[0].Ledger().Head().Size - entries
	if err := stop(); err != nil || nodes != 1 || !first {
		return err
	}
	return r.growth(s, before, added)
}

// note adds a load's figures.
func (r *run) note(name string, l load, got result) {
	r.add(fmt.Sprintf("actions committed, %s, %s", name, l.name), got.perSecond, "1/s", "std Ed25519 verify/s on one core", got.yard.wall)
	r.add(fmt.Sprintf("cpu an action, %s, %s", name, l.name), got.cpuMicros, "µs", "µs a std Ed25519 verify", 1e6/got.yard.cpu)
	cores := float64(runtime.GOMAXPROCS(0))
	r.add(fmt.Sprintf("actions if all cores were ours (cores / cpu an action), %s, %s", name, l.name), cores*1e6/got.cpuMicros, "1/s",
		"std Ed25519 verify for a second of one core's CPU", got.yard.cpu)
	r.add(fmt.Sprintf("cores this process got meanwhile, %s, %s", name, l.name), got.cpuMicros*got.perSecond/1e6, "cores", "cores", cores)
	if !l.signing {
		r.add(fmt.Sprintf("commit loaded p50, %s, %s", name, l.name), got.p50, "ms", "", 0)
		r.add(fmt.Sprintf("commit loaded p95, %s, %s", name, l.name), got.p95, "ms", "", 0)
	}
}

// drive loads the network until the time is over, or what was signed is used up.
func (r *run) drive(ctx context.Context, s *stage, l load) (result, error) {
	var todo []*presigned
	if !l.signing {
		total := int((l.warm+l.time).Seconds()*float64(l.perSecond))/l.envelopes + l.lanes
		var err error
		todo, err = r.presign(s, total, l.envelopes, l.form)
		defer func() { _ = discard(todo) }()
		if err != nil {
			return result{}, err
		}
	}
	runtime.GC() // what set-up and signing left behind
	yard := verifications()
	d := &driver{s: s, l: l, todo: todo}
	stop, err := r.profile(fmt.Sprintf("%d-nodes-%s", len(s.at), strings.NewReplacer(" ", "-", ",", "").Replace(l.name)))
	if err != nil {
		return result{}, err
	}
	got, err := d.run(ctx)
	stop()
	got.yard = yard.and(verifications())
	r.say("%-50s %7.0f/s (%.2f × verify) on %.1f cores, %.0f µs cpu each (%.2f × verify), p50 %.0f p95 %.0f ms", l.name, got.perSecond,
		got.perSecond/got.yard.wall, got.cpuMicros*got.perSecond/1e6, got.cpuMicros, got.cpuMicros*got.yard.cpu/1e6, got.p50, got.p95)
	return got, err
}

// profile begins a CPU profile, if any are wanted; what it returns ends it.
func (r *run) profile(name string) (stop func(), err error) {
	if r.Profile == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(r.Profile, 0o750); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(r.Profile, name+".pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

// actionsMin is how many actions a stretch of a load has at least, unless it takes five times as long as it should.
const actionsMin = 4 * 4096

// driver is a load under way.
type driver struct {
	s    *stage
	l    load
	todo []*presigned // by gateway

	count    atomic.Int64 // accepted so far
	stop     atomic.Bool
	counting atomic.Bool
	mu       sync.Mutex // guards times and err
	times    []time.Duration
	err      error
}

func (d *driver) run(ctx context.Context) (result, error) {
	ended := make(chan struct{})
	var lanes sync.WaitGroup
	for i := range d.l.lanes {
		lanes.Go(func() { d.lane(i % len(d.s.at)) })
	}
	go func() { lanes.Wait(); close(ended) }()
	// A stretch lasts its time, and on a busy machine longer: until what comes in bursts, a block's worth each, has come often enough.
	wait := func(t time.Duration, from int64) {
		for begun := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
			}
			passed := time.Since(begun)
			if passed >= t && d.count.Load()-from >= actionsMin || passed >= 5*t {
				return
			}
		}
	}
	wait(d.l.warm, 0)
	start, cpu, from := time.Now(), cpuSeconds(), d.count.Load()
	d.counting.Store(true)
	wait(d.l.time, from)
	n, took := float64(d.count.Load()-from), time.Since(start)
	cpu = cpuSeconds() - cpu
	d.stop.Store(true)
	<-ended
	if d.err != nil || ctx.Err() != nil {
		return result{}, errors.Join(d.err, ctx.Err())
	}
	if n == 0 {
		return result{}, errors.New("nothing was committed")
	}
	return result{perSecond: n / took.Seconds(), cpuMicros: cpu * 1e6 / n, p50: quantile(d.times, 0.5), p95: quantile(d.times, 0.95)}, nil
}

// lane is one client: it waits for each answer before it sends the next request.
func (d *driver) lane(member int) {
	var times []time.Duration
	err := d.send(member, &times)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times, d.err = append(d.times, times...), errors.Join(d.err, err)
	if err != nil {
		d.stop.Store(true)
	}
}

func (d *driver) send(member int, times *[]time.Duration) error {
	l, err := dialLane(d.s.net.Gateway(member))
	if err != nil {
		return err
	}
	defer func() { _ = l.conn.Close() }()
	a := d.s.author(member)
	var q request
	for !d.stop.Load() {
		if d.l.signing {
			q = d.l.form(a.envelopes(d.l.envelopes))
		} else {
			var more bool
			if q, more, err = d.todo[member].take(q.body); err != nil || !more {
				return err
			}
		}
		start := time.Now()
		accepted, err := l.post(q)
		if err != nil {
			return err
		}
		if accepted != q.envelopes {
			return fmt.Errorf("%w: %d of %d actions were accepted", errAnswer, accepted, q.envelopes)
		}
		d.count.Add(int64(accepted))
		if d.counting.Load() {
			*times = append(*times, time.Since(start))
		}
	}
	return nil
}

// unloaded measures how long a single client waits for a commit.
func (r *run) unloaded(s *stage, name string) error {
	l, err := dialLane(s.net.Gateway(0))
	if err != nil {
		return err
	}
	defer func() { _ = l.conn.Close() }()
	a := s.author(0)
	var times []time.Duration
	for i := range pick(r, 150, 40) {
		q := asSubmission(a.envelopes(1))
		start := time.Now()
		if n, err := l.post(q); err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("%w: a single action was not accepted", errAnswer))
		}
		if i >= 5 {
			times = append(times, time.Since(start))
		}
	}
	sync, err := syncs(r.dir)
	if err != nil {
		return err
	}
	p50, p95 := quantile(times, 0.5), quantile(times, 0.95)
	r.say("commit, %s, one client at a time: p50 %.1f p95 %.1f ms", name, p50, p95)
	r.add("commit unloaded p50, "+name, p50, "ms", "ms an append and fdatasync", 1e3/sync)
	r.add("commit unloaded p95, "+name, p95, "ms", "ms an append and fdatasync", 1e3/sync)
	return nil
}

// sizes of the ledger's and the engine's folders.
func (s *stage) sizes() (out [2]int64, err error) {
	for i, name := range []string{"ledger", "engine"} {
		var e error
		out[i], e = s.folderBytes(name)
		err = errors.Join(err, e)
	}
	return out, err
}

// growth measures what a stopped node's folders hold for each action, once compacted.
func (r *run) growth(s *stage, before [2]int64, entries uint64) error {
	for i, name := range []string{"ledger", "engine"} {
		dir := filepath.Join(s.net.Dir, "nodes", s.net.Names[0], name)
		if err := compact(dir); err != nil {
			return fmt.Errorf("compaction of %s: %w", name, err)
		}
		after, err := s.folderBytes(name)
		if err != nil {
			return err
		}
		r.add("bytes on disk an action, compacted, "+name+"/", float64(max(after-before[i], 0))/float64(entries), "bytes", "", 0)
	}
	return nil
}

// compact rewrites every Pebble database below a folder whose owner has stopped.
func compact(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, "*", "CURRENT"))
	if err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(dir, "marker.manifest*"))
	if err != nil {
		return err
	}
	deeper, err := filepath.Glob(filepath.Join(dir, "*", "marker.manifest*"))
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, f := range append(append(found, more...), deeper...) {
		at := filepath.Dir(f)
		if seen[at] {
			continue
		}
		seen[at] = true
		db, err := pebble.Open(at, &pebble.Options{Logger: silent{}})
		if err != nil {
			return err
		}
		if err := errors.Join(db.Compact(context.Background(), []byte{0}, []byte{0xff, 0xff, 0xff}, true), db.Close()); err != nil {
			return err
		}
	}
	return nil
}

// silent drops Pebble's chatter.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
