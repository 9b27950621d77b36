package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/notify"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// streams counts the streams of each journal.
type streams struct {
	mu   sync.Mutex
	open map[protocol.JournalID]int
}

func (s *streams) enter(j protocol.JournalID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[j] >= StreamsJournalMax {
		return false
	}
	if s.open == nil {
		s.open = map[protocol.JournalID]int{}
	}
	s.open[j]++
	return true
}

func (s *streams) leave(j protocol.JournalID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[j]--; s.open[j] == 0 {
		delete(s.open, j)
	}
}

// getEvents streams the journal's notices until the listener leaves, the time is over, or the key that asked counts no more.
func (s *server) getEvents(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	l := listener{s: s, w: w, control: http.NewResponseController(w), journal: in}
	err = s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err == nil && !a.isPatientOf(in) {
			err = noJournal
		}
		if err != nil {
			return err
		}
		l.signer = a.signer
		head, err := journal.Head(v, in)
		if err != nil {
			return err
		}
		l.next, err = resumeAt(r, head.Count)
		return err
	})
	if err != nil {
		return err
	}
	if !s.streams.enter(in) {
		return problem(http.StatusTooManyRequests, "too-many-streams", "The journal has as many streams as it may have", "End another one first: another wallet listens too.")
	}
	defer s.streams.leave(in)
	changed, done := s.Changed()
	defer done()
	h := w.Header()
	h["Content-Type"] = []string{"text/event-stream"}
	h["X-Accel-Buffering"] = []string{"no"} // a proxy that gathers would keep the patient waiting
	return l.run(r.Context(), changed)
}

// resumeAt is the place of the first entry to tell.
func resumeAt(r *http.Request, count uint64) (uint64, error) {
	q, err := params(r, "from")
	if err != nil {
		return 0, err
	}
	from, err := number(q, "from", count, 0, 1<<56)
	if err != nil {
		return 0, err
	}
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		return min(from, count), nil
	}
	n, err := strconv.ParseUint(last, 10, 56)
	if err != nil {
		return 0, bad("last-event-id", "Last-Event-ID is not the id of an event", "It is the place of an entry in the journal.")
	}
	return min(n+1, count), nil
}

// listener is one stream.
type listener struct {
	s       *server
	w       http.ResponseWriter
	control *http.ResponseController
	journal protocol.JournalID
	signer  protocol.Signer
	next    uint64
}

// errOver ends a stream: the asker's key counts no more.
var errOver = errors.New("the asker's key counts no more")

func (l *listener) run(ctx context.Context, changed <-chan struct{}) error {
	if l.send([]byte("retry: 2000\n\n")) != nil {
		return nil
	}
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	for {
		more, err := l.tell()
		switch {
		case errors.Is(err, errOver), ctx.Err() != nil:
			return nil
		case err != nil:
			return err // the connection is broken off: the listener comes back
		case more:
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.s.Stopping:
			return nil
		case <-beat.C:
			if l.send([]byte(":\n\n")) != nil {
				return nil
			}
		case <-changed:
			select {
			case <-time.After(streamPause): // blocks come fast under load: what is gathered meanwhile costs one look
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// tell sends what is new, a page of it; more says that there is more.
func (l *listener) tell() (more bool, err error) {
	var notices []api.Notice
	err = l.s.view(func(v *ledger.View) error {
		if a, err := l.s.standing(v, l.signer); err != nil || !a.isPatientOf(l.journal) {
			return errOver
		}
		head, err := journal.Head(v, l.journal)
		if err != nil || head.Count <= l.next {
			return err
		}
		return v.Journal(l.journal, l.next, func(e ledger.Stored) bool {
			notices = append(notices, notify.Of(e.Entry))
			return len(notices) < streamPage
		})
	})
	if err != nil || len(notices) == 0 {
		return false, err
	}
	var out []byte
	for _, n := range notices {
		data, err := json.Marshal(n)
		if err != nil {
			return false, err
		}
		out = append(out, "id: "+strconv.FormatUint(n.Seq, 10)+"\nevent: notice\ndata: "...)
		out = append(append(out, data...), "\n\n"...)
		l.next = n.Seq + 1
	}
	if l.send(out) != nil {
		return false, errOver // the listener has left
	}
	return len(notices) == streamPage, nil
}

// send writes and flushes, within the time that a listener has.
func (l *listener) send(b []byte) error {
	_ = l.control.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := l.w.Write(b); err != nil {
		return err
	}
	return l.control.Flush()
}

func (s *server) getSubscriptions(w http.ResponseWriter, r *http.Request) error {
	in, err := s.ownJournal(r)
	if err != nil {
		return err
	}
	out, err := s.Notices.Subscriptions(in)
	if err != nil {
		return err
	}
	return reply(w, out)
}

// ownJournal is the journal in the path, if its patient asks.
func (s *server) ownJournal(r *http.Request) (in protocol.JournalID, err error) {
	in, _, err = s.ownAsker(r)
	return in, err
}

// ownAsker is ownJournal with who asks: the controller or a device.
func (s *server) ownAsker(r *http.Request) (in protocol.JournalID, a asker, err error) {
	if in, err = journalID(r); err != nil {
		return in, a, err
	}
	return in, a, s.view(func(v *ledger.View) error {
		if a, err = s.ask(v, r); err == nil && !a.isPatientOf(in) {
			err = noJournal
		}
		return err
	})
}

func (s *server) putSubscription(w http.ResponseWriter, r *http.Request) error {
	in, by, which, err := s.ownSubscription(r)
	if err != nil {
		return err
	}
	if err := wantType(r, "application/json"); err != nil {
		return err
	}
	raw, err := readAll(w, r, SmallBytesMax)
	if err != nil {
		return err
	}
	if sha256.Sum256(raw) != which {
		return problem(http.StatusUnprocessableEntity, "hash", "The body does not have the hash in the path", "Sign for the SHA-256 of the very bytes of the body.")
	}
	var ask api.Subscribe
	if err := decode(raw, &ask); err != nil {
		return err
	}
	stands := func() error { // still, now that the body is here: reading it took what time the sender liked
		return s.view(func(v *ledger.View) error {
			a, err := s.standing(v, by.signer)
			if err == nil && !a.isPatientOf(in) {
				err = noJournal
			}
			return err
		})
	}
	out, err := s.Notices.Subscribe(in, by.signer.Key, which, ask, stands)
	if err != nil {
		return noticeProblem(err)
	}
	return reply(w, out)
}

func (s *server) ownSubscription(r *http.Request) (in protocol.JournalID, by asker, which protocol.Hash, err error) {
	if in, by, err = s.ownAsker(r); err != nil {
		return in, by, which, err
	}
	which, err = id(protocol.ParseHash, r.PathValue("hash"))
	return in, by, which, err
}

func (s *server) deleteSubscription(w http.ResponseWriter, r *http.Request) error {
	in, by, which, err := s.ownSubscription(r)
	if err != nil {
		return err
	}
	var device protocol.PublicKey
	if by.device {
		device = by.signer.Key
	}
	if err := s.Notices.Unsubscribe(in, device, which); err != nil {
		return noticeProblem(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) putConfirmation(w http.ResponseWriter, r *http.Request) error {
	in, _, which, err := s.ownSubscription(r)
	if err != nil {
		return err
	}
	var code api.Confirmation
	if err := read(w, r, SmallBytesMax, &code); err != nil {
		return err
	}
	if err := s.Notices.Confirm(in, which, code.Code); err != nil {
		return noticeProblem(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// noticeProblem is what an error of package notify is to people.
func noticeProblem(err error) error {
	switch {
	case errors.Is(err, notify.ErrInward):
		return bad("inward", "That address leads into a private network", "Webhooks go to public addresses; the node's operator can allow a host by name.")
	case errors.Is(err, notify.ErrTarget):
		return bad("target", "That is no place where notices can be taken", err.Error()+".")
	case errors.Is(err, notify.ErrNoMail):
		return problem(http.StatusConflict, "no-mail", "This gateway sends no mail", "Ask at another member's gateway, or give a webhook.")
	case errors.Is(err, notify.ErrKinds):
		return bad("kinds", "There is no such kind of notice", "docs/spec/notify.md lists them; none at all means all.")
	case errors.Is(err, notify.ErrNonce):
		return bad("nonce", "The nonce does not have its length", "It is 16 random bytes.")
	case errors.Is(err, notify.ErrTooMany):
		return problem(http.StatusConflict, "too-many", "There are as many subscriptions as there may be", "Remove one first.")
	case errors.Is(err, notify.ErrCodes):
		return problem(http.StatusTooManyRequests, "too-many-codes", "As many codes were sent today as may be", "Try again tomorrow, or give a webhook.")
	case errors.Is(err, notify.ErrNotYours):
		return problem(http.StatusForbidden, "not-for-devices", "A device removes only what it asked for itself", "Use the wallet that controls the journal.")
	case errors.Is(err, notify.ErrRemoved):
		return problem(http.StatusConflict, "removed", "This subscription was removed", "Make another one, with a nonce of its own.")
	case errors.Is(err, notify.ErrNone):
		return notFound("no-subscription", "There is no such subscription", "The list shows them.")
	case errors.Is(err, notify.ErrCode):
		return problem(http.StatusForbidden, "code", "That is not the code", "It stands in the mail; five wrong ones are the end of it.")
	case errors.Is(err, notify.ErrConfirmed):
		return problem(http.StatusConflict, "nothing-to-confirm", "There is nothing to confirm", "It is confirmed already, or the code is dead: remove the subscription and make it again.")
	}
	return err
}
