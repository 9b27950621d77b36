package notify

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Options are the operator's.
type Options struct {
	AllowHosts []string // webhooks may lead to these hosts (name, or name:port) wherever they are, over http too
	Mail       Mail     // zero: no mail is sent
}

// Config of a Notifier.
type Config struct {
	Dir    string // a folder of its own
	Ledger *ledger.Ledger
	Key    [32]byte // the node's, from which the subscriptions' secrets are derived
	Clock  func() time.Time
	Log    *slog.Logger
	Pace   Pace // zero: DefaultPace
	Options
}

// Notifier keeps subscriptions and delivers notices to them. It is safe for concurrent use; Run does the work.
type Notifier struct {
	db      *sql.DB
	ledger  *ledger.Ledger
	key     [32]byte
	clock   func() time.Time
	log     *slog.Logger
	pace    Pace
	options Options
	public  *http.Client // for webhooks anywhere
	inward  *http.Client // for hosts that the operator allows

	mu       sync.Mutex                      // guards what follows; taken before a transaction that changes it
	cursor   uint64                          // index of the next entry to look at
	told     uint64                          // what lies before this index may have been told already, by the node that this one was restored from
	journals map[protocol.JournalID]struct{} // with subscriptions; maybe some whose last one went
	busy     map[protocol.Hash]struct{}      // subscriptions that something is being delivered to
	under    map[string]int                  // deliveries under way, by way

	awake chan struct{}
	tasks sync.WaitGroup
}

// Open opens the folder. The notifier must be closed, after Run has ended.
func Open(c Config) (*Notifier, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Pace == (Pace{}) {
		c.Pace = DefaultPace
	}
	if err := c.Mail.check(); err != nil {
		return nil, err
	}
	db, err := openStore(c.Dir)
	if err != nil {
		return nil, err
	}
	n := &Notifier{db: db, ledger: c.Ledger, key: c.Key, clock: c.Clock, log: c.Log, pace: c.Pace, options: c.Options, public: webhookClient(true, c.Pace.Wait), inward: webhookClient(false, c.Pace.Wait),
		journals: map[protocol.JournalID]struct{}{}, busy: map[protocol.Hash]struct{}{}, under: map[string]int{}, awake: make(chan struct{}, 1)}
	if err := n.load(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return n, nil
}

// Close closes the database.
func (n *Notifier) Close() error { return n.db.Close() }

func (n *Notifier) now() uint64 { return uint64(n.clock().UnixMilli()) }

// wake makes Run look at the queue.
func (n *Notifier) wake() {
	select {
	case n.awake <- struct{}{}:
	default:
	}
}

// load reads the cursor and who has subscriptions.
func (n *Notifier) load() error {
	rows, err := rowsOf(n.db, "state <> ?", stateDeleted)
	if err != nil {
		return err
	}
	for _, r := range rows {
		n.journals[r.journal] = struct{}{}
	}
	err = n.db.QueryRow("SELECT value FROM meta WHERE name = 'cursor'").Scan(&n.cursor)
	if errors.Is(err, sql.ErrNoRows) {
		n.cursor, err = n.ledger.Head().Size, nil
	}
	if err != nil {
		return err
	}
	if err = n.db.QueryRow("SELECT value FROM meta WHERE name = 'told'").Scan(&n.told); errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return err
}

// Restored says that this database is an old copy, and that entries before size may have been told since it was made. What waited at that time is
// dropped; of what came after it each subscription is told one notice alone, the last that is urgent or else the last: nobody is flooded, and
// nobody who was not told misses that something happened. It is kept before it returns. Call it before Run.
func (n *Notifier) Restored(size uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.inTx(func(tx *sql.Tx) error {
		for _, do := range []string{"DELETE FROM waiting", "UPDATE subscriptions SET attempts = 0, failing = 0, upto = -1"} {
			if _, err := tx.Exec(do); err != nil {
				return err
			}
		}
		if _, err := tx.Exec("UPDATE subscriptions SET due = NULL WHERE state = ? AND closing = 0", stateActive); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO meta (name, value) VALUES ('told', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", size)
		return err
	})
	if err == nil {
		n.told = size
	}
	return err
}

// repeats tells whether what is looked at may have been told already: until that is over nothing is sent.
func (n *Notifier) repeats() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.journals) > 0 && n.cursor < n.told
}

func (n *Notifier) saveCursor(tx *sql.Tx, at uint64) error {
	_, err := tx.Exec("INSERT INTO meta (name, value) VALUES ('cursor', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", at)
	return err
}

// Run follows the ledger and delivers, until ctx is done; then it waits for the deliveries under way. changed gets a value after blocks.
func (n *Notifier) Run(ctx context.Context, changed <-chan struct{}) {
	defer n.tasks.Wait()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		more, err := n.follow()
		if err == nil && !n.repeats() {
			err = n.dispatch(ctx)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Error("notify: notices wait", "error", err)
		}
		wait := n.pace.First
		if more && err == nil {
			wait = 0
		} else if next, ok := n.nextDue(); ok && err == nil {
			wait = min(wait, max(0, time.Duration(int64(next)-int64(n.now()))*time.Millisecond))
		}
		pause.Reset(max(wait, time.Millisecond))
		select {
		case <-ctx.Done():
			return
		case <-changed:
			// Blocks come fast under load: what is gathered meanwhile costs one look.
			select {
			case <-time.After(followPause):
			case <-ctx.Done():
				return
			}
		case <-n.awake:
		case <-pause.C:
		}
	}
}

// follow queues the notices of entries since the cursor, some of them; more says that there are further ones.
func (n *Notifier) follow() (more bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	size := n.ledger.Head().Size
	if len(n.journals) == 0 {
		n.cursor = size // nobody is to be told
		return false, nil
	}
	if n.cursor >= size { // a ledger that catches up again tells nothing twice
		return false, nil
	}
	found, next, err := n.gather()
	if err != nil {
		return false, err
	}
	if err := n.inTx(func(tx *sql.Tx) error {
		for _, e := range found {
			if err := n.queue(tx, e); err != nil {
				return err
			}
		}
		return n.saveCursor(tx, next)
	}); err != nil {
		return false, err
	}
	n.cursor = next
	return next < size, nil
}

// gather finds the entries since the cursor that somebody is to be told of.
func (n *Notifier) gather() (found []ledger.Stored, next uint64, err error) {
	v, err := n.ledger.View()
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = v.Close() }()
	next = n.cursor
	err = v.Entries(n.cursor, func(s ledger.Stored) bool {
		next = s.Index + 1
		if _, told := n.journals[s.Entry.Journal]; told {
			found = append(found, s)
		}
		return next-n.cursor < entriesAtOnce
	})
	return found, next, err
}

// queue puts one entry's notice into the queues of its journal's subscriptions.
func (n *Notifier) queue(tx *sql.Tx, s ledger.Stored) error {
	w := classify(s.Entry)
	if err := n.cutOff(tx, s.Entry); err != nil {
		return err
	}
	rows, err := rowsOf(tx, "journal = ? AND state = ? AND closing = 0 AND since <= ?", s.Entry.Journal[:], stateActive, s.Index)
	if err != nil {
		return err
	}
	for _, r := range rows {
		told := false
		if s.Index < n.told {
			if told, err = n.instead(tx, r, w); err != nil {
				return err
			}
		}
		if r.wants(w.kind) && !told {
			if err := n.enqueue(tx, r, s.Entry, w); err != nil {
				return err
			}
		}
		if w.closes || s.Entry.Type == protocol.TypeRotateController && r.askedBy(s.Entry.Signer.Key) {
			if _, err := tx.Exec("UPDATE subscriptions SET closing = 1, due = coalesce(due, ?) WHERE id = ?", n.now(), r.id[:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutOff ends what a device asked for when it is cut off, without a last word: it may be a thief's.
func (n *Notifier) cutOff(tx *sql.Tx, e protocol.Entry) error {
	var a protocol.RevokeDevice
	if device := e.Type == protocol.TypeRevokeDevice && protocol.Decode(e.Action, &a) == nil; !device {
		return nil
	}
	if _, err := tx.Exec("DELETE FROM waiting WHERE subscription IN (SELECT id FROM subscriptions WHERE journal = ? AND asker = ?)", e.Journal[:], a.Key[:]); err != nil {
		return err
	}
	_, err := tx.Exec("UPDATE subscriptions SET state = ?, due = NULL, target = '', made = ? WHERE journal = ? AND asker = ?", stateDeleted, n.now(), e.Journal[:], a.Key[:])
	return err
}

// instead makes room for a notice as the only one of a subscription; told: the one that waits is to stay.
func (n *Notifier) instead(tx *sql.Tx, r row, w what) (told bool, err error) {
	if !r.wants(w.kind) {
		return true, nil
	}
	if r.waiting > 0 && !w.urgent {
		urgent, err := n.urgentWaiting(tx, r.id)
		if err != nil || urgent > 0 {
			return true, err
		}
	}
	_, err = tx.Exec("DELETE FROM waiting WHERE subscription = ?", r.id[:])
	return false, err
}

func (n *Notifier) enqueue(tx *sql.Tx, r row, e protocol.Entry, w what) error {
	if _, err := tx.Exec("INSERT OR IGNORE INTO waiting (subscription, seq, time, kind) VALUES (?, ?, ?, ?)", r.id[:], e.Seq, e.Time, w.kind); err != nil {
		return err
	}
	if r.waiting >= WaitingMax {
		if _, err := tx.Exec("DELETE FROM waiting WHERE subscription = ? AND seq IN (SELECT seq FROM waiting WHERE subscription = ? ORDER BY seq LIMIT 1)", r.id[:], r.id[:]); err != nil {
			return err
		}
	}
	due := n.now()
	if r.way == WayMail && !w.urgent {
		due = max(due, r.told+uint64(n.pace.Mail.Milliseconds()))
	}
	if r.attempts > 0 {
		return nil // a failing one keeps its pace, whatever comes
	}
	_, err := tx.Exec("UPDATE subscriptions SET due = min(coalesce(due, ?), ?) WHERE id = ?", due, due, r.id[:])
	return err
}

// nextDue is when something is to be sent next.
func (n *Notifier) nextDue() (at uint64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rows, err := n.db.Query("SELECT id, due FROM subscriptions WHERE due IS NOT NULL ORDER BY due LIMIT ?", len(n.busy)+1)
	if err != nil {
		return 0, false
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id []byte
		if rows.Scan(&id, &at) != nil || len(id) != len(protocol.Hash{}) {
			return 0, false
		}
		if _, busy := n.busy[protocol.Hash(id)]; !busy { // what is under way wakes when it ends
			return at, true
		}
	}
	_ = rows.Err() // of a database that cannot be read nothing is due; whoever uses it next says so
	return 0, false
}
