package notify

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// failure is why a delivery did not arrive, in words for the patient; nothing of what the other side said is in them.
type failure struct {
	words string
	final bool // trying again is of no use
	cause error
}

func (f *failure) Error() string {
	if f.cause == nil {
		return f.words
	}
	return f.words + ": " + f.cause.Error()
}

func (f *failure) Unwrap() error { return f.cause }

// dispatch starts deliveries to the subscriptions that are due, as many as there is room for, and tidies up.
func (n *Notifier) dispatch(ctx context.Context) error {
	if err := n.tidy(); err != nil {
		return err
	}
	rows, err := rowsOf(n.db, "due <= ? AND state IN (?, ?) ORDER BY due LIMIT ?", n.now(), stateUnconfirmed, stateActive, deliveriesAtOnce)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if n.take(r) {
			n.tasks.Go(func() {
				defer n.release(r)
				if err := n.deliver(ctx, r); err != nil && ctx.Err() == nil {
					n.log.Error("notify: a delivery could not be kept", "error", err)
				}
			})
		}
	}
	return nil
}

// tidy forgets removed subscriptions after a while, and addresses that were never confirmed.
func (n *Notifier) tidy() error {
	now := int64(n.now())
	if _, err := n.db.Exec("DELETE FROM codes WHERE asked < ?", now-confirmTime.Milliseconds()); err != nil {
		return err
	}
	_, err := n.db.Exec("DELETE FROM subscriptions WHERE state = ? AND made < ? OR state = ? AND made < ?",
		stateDeleted, now-deletedTime.Milliseconds(), stateUnconfirmed, now-confirmTime.Milliseconds())
	return err
}

// take reserves a place for a delivery. Mails and webhooks have places apart: slow ones of one sort do not hold up the other.
func (n *Notifier) take(r row) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	places := webhooksAtOnce
	if r.way == WayMail {
		places = mailsAtOnce
	}
	if _, busy := n.busy[r.id]; busy || n.under[r.way] >= places {
		return false
	}
	n.busy[r.id] = struct{}{}
	n.under[r.way]++
	return true
}

func (n *Notifier) release(r row) {
	n.mu.Lock()
	delete(n.busy, r.id)
	n.under[r.way]--
	n.mu.Unlock()
	n.wake()
}

// deliver makes one attempt, and writes down what came of it.
func (n *Notifier) deliver(ctx context.Context, r row) error {
	var failed error
	upto := int64(-1)
	if r.state == stateUnconfirmed {
		failed = n.sendCode(ctx, r)
	} else {
		notices, last, err := n.batch(r)
		switch {
		case err != nil:
			return err
		case len(notices) == 0:
			return n.settle(r, -1)
		}
		upto = last
		if r.way == WayMail {
			failed = n.sendMail(ctx, r, notices)
		} else {
			failed = n.post(ctx, r, notices)
		}
	}
	if failed == nil {
		return n.settle(r, upto)
	}
	if ctx.Err() == nil { // else the node stops: the attempt does not count
		return n.failed(r, failed)
	}
	return nil
}

// batch fixes which notices the delivery has, if it is not fixed, and reads them.
func (n *Notifier) batch(r row) (out []api.Notice, upto int64, err error) {
	upto = r.upto
	err = n.inTx(func(tx *sql.Tx) error {
		if upto < 0 {
			if err := tx.QueryRow("SELECT coalesce(max(seq), -1) FROM (SELECT seq FROM waiting WHERE subscription = ? ORDER BY seq LIMIT ?)", r.id[:], BatchNoticesMax).Scan(&upto); err != nil {
				return err
			}
			if _, err := tx.Exec("UPDATE subscriptions SET upto = ? WHERE id = ?", upto, r.id[:]); err != nil {
				return err
			}
		}
		rows, err := tx.Query("SELECT seq, time, kind FROM waiting WHERE subscription = ? AND seq <= ? ORDER BY seq LIMIT ?", r.id[:], upto, BatchNoticesMax)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var one api.Notice
			if err := rows.Scan(&one.Seq, &one.Time, &one.Kind); err != nil {
				return err
			}
			one.Text, one.Urgent = textOf[one.Kind], urgentKind[one.Kind]
			out = append(out, one)
		}
		return rows.Err()
	})
	return out, upto, err
}

// settle writes down that a delivery arrived; upto is its last notice, -1: it had none.
func (n *Notifier) settle(r row, upto int64) error {
	now := n.now()
	return n.inTx(func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM waiting WHERE subscription = ? AND seq <= ?", r.id[:], upto); err != nil {
			return err
		}
		var left, urgent int
		if err := tx.QueryRow("SELECT count(*) FROM waiting WHERE subscription = ?", r.id[:]).Scan(&left); err != nil {
			return err
		}
		if left > 0 && r.way == WayMail {
			var err error
			if urgent, err = n.urgentWaiting(tx, r.id); err != nil {
				return err
			}
		}
		due := any(nil)
		switch {
		case left > 0 && r.way == WayMail && urgent == 0:
			due = now + uint64(n.pace.Mail.Milliseconds())
		case left > 0:
			due = now
		}
		if _, err := tx.Exec("UPDATE subscriptions SET due = ?, attempts = 0, failing = 0, upto = -1, problem = '', delivered = CASE WHEN ? < 0 THEN delivered ELSE ? END WHERE id = ? AND state <> ?",
			due, upto, now, r.id[:], stateDeleted); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM subscriptions WHERE id = ? AND closing = 1 AND due IS NULL", r.id[:])
		return err
	})
}

func (n *Notifier) urgentWaiting(tx *sql.Tx, id protocol.Hash) (count int, err error) {
	rows, err := tx.Query("SELECT DISTINCT kind FROM waiting WHERE subscription = ?", id[:])
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var kind string
		if err := rows.Scan(&kind); err != nil {
			return 0, err
		}
		if urgentKind[kind] {
			count++
		}
	}
	return count, rows.Err()
}

// failed writes down that an attempt failed: it is made again later, or the subscription is given up.
func (n *Notifier) failed(r row, why error) error {
	now := n.now()
	f := &failure{words: "it could not be reached"}
	_ = errors.As(why, &f)
	n.log.Info("notify: a delivery failed", "way", r.way, "attempt", r.attempts+1, "why", f.words) // the target is the patient's own affair
	since := r.failing
	if since == 0 {
		since = now
	}
	if f.final || now-since >= uint64(n.pace.GiveUp.Milliseconds()) {
		return n.giveUp(r, f)
	}
	due := now + uint64(n.backoff(r.attempts).Milliseconds())
	_, err := n.db.Exec("UPDATE subscriptions SET due = ?, attempts = attempts + 1, failing = ?, problem = ? WHERE id = ? AND state <> ?", due, since, f.words, r.id[:], stateDeleted)
	return err
}

// backoff is how long to wait after so many failures, give or take a quarter: a thousand that failed together do not come back together.
func (n *Notifier) backoff(attempts int) time.Duration {
	d := n.pace.First
	for i := 0; i < attempts && d < n.pace.Most; i++ {
		d *= 2
	}
	d = min(d, n.pace.Most)
	return d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
}

func (n *Notifier) giveUp(r row, f *failure) error {
	return n.inTx(func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM waiting WHERE subscription = ?", r.id[:]); err != nil {
			return err
		}
		_, err := tx.Exec("UPDATE subscriptions SET state = ?, due = NULL, upto = -1, problem = ? WHERE id = ? AND state <> ?", stateBroken, f.words, r.id[:], stateDeleted)
		return err
	})
}
