package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Ways to be told.
const (
	WayWebhook = "webhook"
	WayMail    = "mail"
)

// Errors of subscribing. All are the asker's to mend.
var (
	ErrTarget    = errors.New("the target is not acceptable")
	ErrInward    = errors.New("the address leads into a private network")
	ErrNoMail    = errors.New("this gateway sends no mail")
	ErrKinds     = errors.New("there is no such kind of notice")
	ErrNonce     = errors.New("the nonce does not have its length")
	ErrTooMany   = errors.New("there are as many subscriptions as there may be")
	ErrCodes     = errors.New("as many codes were sent today as may be")
	ErrNotYours  = errors.New("a device removes what it asked for itself; the rest is the wallet's")
	ErrRemoved   = errors.New("this subscription was removed")
	ErrNone      = errors.New("there is no such subscription")
	ErrCode      = errors.New("that is not the code")
	ErrConfirmed = errors.New("there is nothing to confirm")
)

// Subscribe takes a subscription on, or finds it taken on already. asker is the key that signed, a device's or the controller's: the
// subscription goes when that key counts no more. id is the SHA-256 of the body that asked. Mail addresses are first sent a code; until it
// comes back through Confirm they are told nothing.
func (n *Notifier) Subscribe(journal protocol.JournalID, asker protocol.PublicKey, id protocol.Hash, s api.Subscribe, stands func() error) (api.Subscription, error) {
	kinds, err := n.check(s)
	if err != nil {
		return api.Subscription{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// In this order: what cuts the asker off is before since, and then stands says so; or it is not, and then its entry, which is not queued yet,
	// ends the subscription.
	since := n.ledger.Head().Size
	if err := stands(); err != nil {
		return api.Subscription{}, err
	}
	var out row
	err = n.inTx(func(tx *sql.Tx) error {
		have, err := rowsOf(tx, "id = ?", id[:])
		switch {
		case err != nil:
			return err
		case len(have) > 0 && (have[0].state == stateDeleted || have[0].journal != journal):
			return ErrRemoved
		case len(have) > 0:
			out = have[0]
			return nil
		}
		if err := n.room(tx, journal); err != nil {
			return err
		}
		state, due := stateActive, any(nil)
		if s.Way == WayMail {
			state, due = stateUnconfirmed, n.now()
			if err := n.countCode(tx, journal, s.Target); err != nil {
				return err
			}
		}
		if _, err := tx.Exec("INSERT INTO subscriptions (id, journal, way, target, kinds, state, made, since, due, asker) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			id[:], journal[:], s.Way, s.Target, strings.Join(kinds, ","), state, n.now(), since, due, asker[:]); err != nil {
			return err
		}
		if err := n.saveCursor(tx, n.cursor); err != nil {
			return err
		}
		have, err = rowsOf(tx, "id = ?", id[:])
		if err == nil && len(have) == 1 {
			out = have[0]
		}
		return err
	})
	if err != nil {
		return api.Subscription{}, err
	}
	n.journals[journal] = struct{}{}
	n.wake()
	told := out.api()
	if s.Way == WayWebhook {
		told.Secret = "whsec_" + base64.StdEncoding.EncodeToString(n.secret(id))
	}
	return told, nil
}

// room says whether one more fits.
func (n *Notifier) room(tx *sql.Tx, journal protocol.JournalID) error {
	var mine, all int
	if err := tx.QueryRow("SELECT count(*) FROM subscriptions WHERE journal = ? AND state <> ?", journal[:], stateDeleted).Scan(&mine); err != nil {
		return err
	}
	if err := tx.QueryRow("SELECT count(*) FROM subscriptions").Scan(&all); err != nil {
		return err
	}
	if mine >= SubscriptionsJournalMax || all >= SubscriptionsMax {
		return ErrTooMany
	}
	return nil
}

// countCode bounds how many codes go out in a day: to one address, which may be a stranger's, and for one journal. Removing a subscription
// gives nothing back.
func (n *Notifier) countCode(tx *sql.Tx, journal protocol.JournalID, address string) error {
	to := n.derive("anamnesis/mail-address/v1", sha256.Sum256([]byte(strings.ToLower(address))))
	since := int64(n.now()) - confirmTime.Milliseconds()
	var there, mine int
	if err := tx.QueryRow("SELECT count(*) FROM codes WHERE address = ? AND asked > ?", to, since).Scan(&there); err != nil {
		return err
	}
	if err := tx.QueryRow("SELECT count(*) FROM codes WHERE journal = ? AND asked > ?", journal[:], since).Scan(&mine); err != nil {
		return err
	}
	if there >= CodesAddressDayMax || mine >= CodesJournalDayMax {
		return ErrCodes
	}
	_, err := tx.Exec("INSERT INTO codes (asked, journal, address) VALUES (?, ?, ?)", n.now(), journal[:], to)
	return err
}

// check says whether a subscription can be taken on, and gives its kinds in order.
func (n *Notifier) check(s api.Subscribe) ([]string, error) {
	if len(s.Nonce) != NonceBytes {
		return nil, ErrNonce
	}
	kinds := slices.Sorted(slices.Values(s.Kinds))
	kinds = slices.Compact(kinds)
	for _, k := range kinds {
		if _, known := textOf[k]; !known {
			return nil, ErrKinds
		}
	}
	switch s.Way {
	case WayWebhook:
		_, err := n.webhook(s.Target)
		return kinds, err
	case WayMail:
		if n.options.Mail.Relay == "" {
			return nil, ErrNoMail
		}
		return kinds, checkAddress(s.Target)
	}
	return nil, fmt.Errorf("%w: the ways are %s and %s", ErrTarget, WayWebhook, WayMail)
}

// webhook reads the URL of a webhook. Whether its name leads inward is seen when it is dialled; an address that does is refused here.
func (n *Notifier) webhook(target string) (*url.URL, error) {
	bad := func(why string) (*url.URL, error) { return nil, fmt.Errorf("%w: %s", ErrTarget, why) }
	if len(target) > TargetBytesMax || strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return bad("a webhook's URL is plain ASCII of at most 2048 bytes")
	}
	u, err := url.Parse(target)
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		return bad("that is no URL")
	}
	if u.User != nil || u.Fragment != "" {
		return bad("a webhook's URL has no user and no fragment")
	}
	if n.allowed(u) {
		if u.Scheme != "http" && u.Scheme != "https" {
			return bad("a webhook is reached over https")
		}
		return u, nil
	}
	if u.Scheme != "https" {
		return bad("a webhook is reached over https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !public(ip) {
		return nil, ErrInward
	}
	return u, nil
}

// allowed tells whether the operator allows a webhook's host by name, wherever it leads.
func (n *Notifier) allowed(u *url.URL) bool {
	return slices.ContainsFunc(n.options.AllowHosts, func(h string) bool {
		return strings.EqualFold(h, u.Host) || strings.EqualFold(h, u.Hostname())
	})
}

// checkAddress says whether a text is one plain mail address that cannot be mistaken for anything else in a message.
func checkAddress(text string) error {
	bad := fmt.Errorf("%w: that is no mail address", ErrTarget)
	if len(text) > AddressBytesMax || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),:;<>[\]`, r) }) {
		return bad
	}
	a, err := mail.ParseAddress(text)
	if err != nil || a.Address != text {
		return bad
	}
	local, domain, _ := strings.Cut(text, "@")
	if len(local) > 64 || !strings.Contains(domain, ".") || net.ParseIP(domain) != nil {
		return bad
	}
	return nil
}

// Confirm takes the code that was sent to a mail address.
func (n *Notifier) Confirm(journal protocol.JournalID, id protocol.Hash, code string) error {
	return n.inTx(func(tx *sql.Tx) error {
		have, err := rowsOf(tx, "id = ? AND journal = ?", id[:], journal[:])
		if err != nil {
			return err
		}
		if len(have) == 0 || have[0].state == stateDeleted {
			return ErrNone
		}
		r := have[0]
		if r.state != stateUnconfirmed || r.tries >= confirmTriesMax || n.now() > r.made+uint64(confirmTime.Milliseconds()) {
			return ErrConfirmed
		}
		given := strings.ToUpper(strings.Map(func(c rune) rune {
			if c == '-' || c == ' ' {
				return -1
			}
			return c
		}, code))
		if subtle.ConstantTimeCompare([]byte(given), []byte(n.code(id))) != 1 {
			_, err := tx.Exec("UPDATE subscriptions SET tries = tries + 1 WHERE id = ?", id[:])
			if err != nil {
				return err
			}
			return errWrong
		}
		_, err = tx.Exec("UPDATE subscriptions SET state = ?, since = ?, due = NULL, problem = '', attempts = 0, failing = 0 WHERE id = ?", stateActive, n.ledger.Head().Size, id[:])
		return err
	})
}

// errWrong is ErrCode whose count is to be kept: the transaction must not be taken back.
var errWrong = keep{ErrCode}

// keep is an error that leaves what was written.
type keep struct{ error }

func (k keep) Unwrap() error { return k.error }

// Unsubscribe removes a subscription and what waits for it. Its id does not come back. A device (not zero) removes only what it asked
// for itself: a stolen one must not be able to silence what the patient is told.
func (n *Notifier) Unsubscribe(journal protocol.JournalID, device protocol.PublicKey, id protocol.Hash) error {
	return n.inTx(func(tx *sql.Tx) error {
		if !device.IsZero() {
			var own bool
			err := tx.QueryRow("SELECT asker = ? FROM subscriptions WHERE id = ? AND journal = ? AND state <> ?", device[:], id[:], journal[:], stateDeleted).Scan(&own)
			switch {
			case errors.Is(err, sql.ErrNoRows):
				return ErrNone
			case err != nil:
				return err
			case !own:
				return ErrNotYours
			}
		}
		done, err := tx.Exec("UPDATE subscriptions SET state = ?, due = NULL, target = '', made = ? WHERE id = ? AND journal = ? AND state <> ?", stateDeleted, n.now(), id[:], journal[:], stateDeleted)
		if err != nil {
			return err
		}
		if changed, err := done.RowsAffected(); err != nil || changed == 0 {
			return errors.Join(err, ErrNone)
		}
		_, err = tx.Exec("DELETE FROM waiting WHERE subscription = ?", id[:])
		return err
	})
}

// Subscriptions lists a journal's, by their age.
func (n *Notifier) Subscriptions(journal protocol.JournalID) ([]api.Subscription, error) {
	rows, err := rowsOf(n.db, "journal = ? AND state <> ? ORDER BY made, id", journal[:], stateDeleted)
	out := []api.Subscription{}
	for _, r := range rows {
		out = append(out, r.api())
	}
	return out, err
}

// Forget removes everything that is kept about a journal: its patient had it erased.
func (n *Notifier) Forget(journal protocol.JournalID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.inTx(func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM waiting WHERE subscription IN (SELECT id FROM subscriptions WHERE journal = ?)", journal[:]); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM subscriptions WHERE journal = ?", journal[:])
		return err
	})
	if err == nil {
		delete(n.journals, journal)
	}
	return err
}

// secret signs a webhook's deliveries. It follows from the node's own and is kept nowhere.
func (n *Notifier) secret(id protocol.Hash) []byte { return n.derive("anamnesis/webhook/v1", id) }

// code confirms a mail address: 40 bits, five tries, a day.
func (n *Notifier) code(id protocol.Hash) string {
	return base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").EncodeToString(n.derive("anamnesis/mail-code/v1", id)[:5])
}

func (n *Notifier) derive(domain string, id protocol.Hash) []byte {
	m := hmac.New(sha256.New, n.key[:])
	m.Write([]byte(domain))
	m.Write(id[:])
	return m.Sum(nil)
}
