package notify

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// The tables. A subscription is due when something is to be sent; what waits for it stands in waiting, and upto is the last seq of the
// delivery that is being tried, so that each further attempt is of the same notices.
const schema = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS subscriptions (
	id        BLOB PRIMARY KEY,
	journal   BLOB NOT NULL,
	way       TEXT NOT NULL,
	target    TEXT NOT NULL,
	kinds     TEXT NOT NULL,
	state     TEXT NOT NULL,
	made      INTEGER NOT NULL,
	since     INTEGER NOT NULL,            -- index in the log of the first entry that is told
	due       INTEGER,                     -- UTC ms
	attempts  INTEGER NOT NULL DEFAULT 0,  -- that failed since the last success
	failing   INTEGER NOT NULL DEFAULT 0,  -- UTC ms of the first of them
	upto      INTEGER NOT NULL DEFAULT -1,
	problem   TEXT NOT NULL DEFAULT '',
	delivered INTEGER NOT NULL DEFAULT 0,
	tries     INTEGER NOT NULL DEFAULT 0,  -- wrong codes
	closing   INTEGER NOT NULL DEFAULT 0,  -- goes once nothing waits
	asker     BLOB NOT NULL DEFAULT x''    -- the key that asked: with it the subscription goes
) STRICT;
CREATE INDEX IF NOT EXISTS subscriptions_journal ON subscriptions (journal);
CREATE INDEX IF NOT EXISTS subscriptions_due ON subscriptions (due) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS waiting (
	subscription BLOB NOT NULL,
	seq          INTEGER NOT NULL,
	time         INTEGER NOT NULL,
	kind         TEXT NOT NULL,
	PRIMARY KEY (subscription, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS codes (           -- that were asked for, for a day: so that nobody is sent mails without end
	asked   INTEGER NOT NULL,
	journal BLOB NOT NULL,
	address BLOB NOT NULL                -- keyed hash of it
) STRICT;
`

// States of a subscription. One that was removed stays for a while as deleted.
const (
	stateUnconfirmed = "unconfirmed"
	stateActive      = "active"
	stateBroken      = "broken"
	stateDeleted     = "deleted"
)

// FileName is the database in a node's gateway folder.
const FileName = "notify.sqlite"

// openStore opens the database, for this process alone.
func openStore(dir string) (*sql.DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(filepath.Join(dir, FileName))
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // SQLite would make it readable for others
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(5000)", "trusted_schema(OFF)", "secure_delete(ON)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // one writer: nothing waits for SQLite's locks
	if err := prepare(db); err != nil {
		return nil, errors.Join(fmt.Errorf("notify: %s: %w", path, err), db.Close())
	}
	return db, nil
}

// prepare makes the tables, and adds to those of earlier versions what they lack.
func prepare(db *sql.DB) error {
	if _, err := db.Exec(schema); err != nil {
		return err
	}
	has := 0
	err := db.QueryRow("SELECT count(*) FROM pragma_table_info('subscriptions') WHERE name = 'asker'").Scan(&has)
	if err == nil && has == 0 {
		_, err = db.Exec("ALTER TABLE subscriptions ADD COLUMN asker BLOB NOT NULL DEFAULT x''")
	}
	return err
}

// inTx runs fn in a transaction.
func (n *Notifier) inTx(fn func(*sql.Tx) error) error {
	tx, err := n.db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	err = fn(tx)
	var kept keep
	if err != nil && !errors.As(err, &kept) {
		return errors.Join(err, tx.Rollback())
	}
	return errors.Join(err, tx.Commit())
}

// row is a subscription as kept.
type row struct {
	id       protocol.Hash
	journal  protocol.JournalID
	way      string
	target   string
	kinds    string
	state    string
	made     uint64
	attempts int
	failing  uint64
	upto     int64
	problem  string
	told     uint64
	tries    int
	closing  bool
	asker    []byte
	waiting  uint64
}

// askedBy tells whether a key that was the controller's asked for it; of rows of earlier versions it is not known, and taken to be so.
func (r row) askedBy(key protocol.PublicKey) bool {
	return len(r.asker) == 0 || bytes.Equal(r.asker, key[:])
}

const rowColumns = `id, journal, way, target, kinds, state, made, attempts, failing, upto, problem, delivered, tries, closing, asker,
	(SELECT count(*) FROM waiting WHERE subscription = id)`

func scanRow(scan func(...any) error) (r row, err error) {
	var id, journal []byte
	if err := scan(&id, &journal, &r.way, &r.target, &r.kinds, &r.state, &r.made, &r.attempts, &r.failing, &r.upto, &r.problem, &r.told, &r.tries, &r.closing, &r.asker, &r.waiting); err != nil {
		return r, err
	}
	if len(id) != len(r.id) || len(journal) != len(r.journal) {
		return r, errors.New("notify: a subscription's row is damaged")
	}
	r.id, r.journal = protocol.Hash(id), protocol.JournalID(journal)
	return r, nil
}

func (r row) api() api.Subscription {
	kinds := []string{}
	if r.kinds != "" {
		kinds = strings.Split(r.kinds, ",")
	}
	return api.Subscription{ID: r.id, Way: r.way, Target: r.target, Kinds: kinds, State: r.state, Made: r.made, Waiting: r.waiting, Delivered: r.told, Problem: r.problem}
}

// wants tells whether a subscription is of this kind of notices.
func (r row) wants(kind string) bool {
	return r.kinds == "" || strings.Contains(","+r.kinds+",", ","+kind+",")
}

// queryer is a database or a transaction of it.
type queryer interface {
	Query(query string, args ...any) (*sql.Rows, error)
}

func rowsOf(q queryer, where string, args ...any) (out []row, err error) {
	rows, err := q.Query("SELECT "+rowColumns+" FROM subscriptions WHERE "+where, args...) //nolint:gosec // the conditions are this package's constants
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scanRow(rows.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}
