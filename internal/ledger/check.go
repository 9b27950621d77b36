package ledger

import (
	"errors"
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/translog"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// ErrCheck is wrapped by every finding of Check.
var ErrCheck = errors.New("ledger: check")

// Check recomputes everything that derives from something else: the log from its leaves, the state map from its rows, leaves from entries,
// journals' heads from their entries, the index of entries, seals and app hash, the replay set, and what the families' tables owe to each
// other. It finds what a flipped bit or a fault of the program leaves behind. It reads the whole store; no block may be applied meanwhile.
// Findings wrap ErrCheck, those of the map state.ErrCorrupt; the first ends the check.
func (l *Ledger) Check() error {
	if l.genesis.Chain == "" {
		return nil
	}
	h := l.Head()
	if h.AppHash != protocol.AppHash(h.Size, h.Root) {
		return finding("the app hash is not that of size %d and root %s", h.Size, h.Root)
	}
	if err := state.Check(l.store); err != nil {
		return fmt.Errorf("%w: state map: %w", ErrCheck, err)
	}
	if err := translog.Check(l.store, rowLog, h.Size, h.Root); err != nil {
		return fmt.Errorf("%w: log: %w", ErrCheck, err)
	}
	v, err := l.View()
	if err != nil {
		return err
	}
	defer v.Close()
	for _, check := range []func(*View) error{l.checkEntries, l.checkReplay, checkQuotas} {
		if err := check(v); err != nil {
			return err
		}
	}
	for _, family := range []struct {
		name string
		err  error
	}{
		{"consent", consent.Check(v, l.contracts)}, {"journal", journal.Check(v)},
		{"registry", registry.Check(v)}, {"keygen", keygen.Check(v, v.Chain())},
	} {
		if family.err != nil {
			return fmt.Errorf("%w: %s: %w", ErrCheck, family.name, family.err)
		}
	}
	return nil
}

func finding(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCheck, fmt.Sprintf(format, args...))
}

// audit is what one pass over the entries gathers.
type audit struct {
	v       *View
	heads   map[protocol.JournalID]protocol.Head
	time    uint64
	height  uint64
	indexed int // journal rows that must be there
	signed  int // envelope rows that must be there
	left    int // entries of the current envelope that are still to come
	cause   protocol.ActionID
}

func (l *Ledger) checkEntries(v *View) error {
	a := &audit{v: v, heads: make(map[protocol.JournalID]protocol.Head)}
	for i := range v.Head.Size {
		if err := a.entry(i); err != nil {
			return err
		}
	}
	if first, err := v.Entry(0); err != nil || first.Entry.Type != protocol.EventGenesis || string(first.Entry.Action) != string(protocol.Encode(l.genesis)) {
		return finding("the genesis is not the one that the log begins with (%v)", err)
	}
	last, err := v.Entry(v.Head.Size - 1)
	if err != nil {
		return err
	}
	if last.Entry.Type != protocol.EventSeal || last.Entry.Time != v.Head.Time {
		return finding("the log does not end with the head's seal")
	}
	if root := protocol.Hash(v.Root()); string(last.Entry.Action) != string(protocol.Encode(protocol.Seal{Height: last.Entry.Height, Time: last.Entry.Time, MapRoot: root})) {
		return finding("the last seal does not hold the state map's root")
	}
	heads := 0
	var wrong error
	err = journal.Heads(v, func(id protocol.JournalID, have protocol.Head) bool {
		heads++
		if want := a.heads[id]; have != want {
			wrong = finding("the head of journal %s is %+v, its entries make %+v", id, have, want)
		}
		return wrong == nil
	})
	if err != nil || wrong != nil {
		return errors.Join(err, wrong)
	}
	if heads != len(a.heads) {
		return finding("%d journals have a head, %d have entries", heads, len(a.heads))
	}
	for _, rows := range []struct {
		prefix []byte
		want   int
	}{{rowEntry, int(v.Head.Size)}, {rowJournal, a.indexed}, {rowEnvelope, a.signed}} {
		if have, err := countRows(l.store, rows.prefix); err != nil || have != rows.want {
			return finding("%d rows under %q, expected %d (%v)", have, rows.prefix, rows.want, err)
		}
	}
	return nil
}

// entry checks one entry against its leaf, its journal, its envelope and the entries before.
func (a *audit) entry(i uint64) error {
	s, err := a.v.Entry(i)
	if err != nil {
		return fmt.Errorf("%w: entry %d: %w", ErrCheck, i, err)
	}
	e := s.Entry
	leaf, err := a.v.l.log.Leaf(i)
	if err != nil || protocol.Hash(leaf) != s.Leaf() {
		return finding("entry %d is not what its leaf commits to (%v)", i, err)
	}
	if e.Height < a.height || e.Time < a.time {
		return finding("entry %d is of height %d and time %d, after %d and %d", i, e.Height, e.Time, a.height, a.time)
	}
	a.height, a.time = e.Height, e.Time
	if !e.Journal.IsZero() {
		if err := a.chained(s); err != nil {
			return err
		}
	}
	return a.caused(s)
}

func (a *audit) chained(s Stored) error {
	id := s.Entry.Journal
	head := a.heads[id]
	if s.Entry.Seq != head.Count {
		return finding("entry %d is number %d of its journal, which has %d before it", s.Index, s.Entry.Seq, head.Count)
	}
	row, ok, err := a.v.l.store.Get(journalKey(id, head.Count))
	if err != nil || !ok || len(row) != 8 || exec.ParseUint64(row) != s.Index {
		return finding("the index of journal %s does not lead to entry %d (%v)", id, s.Index, err)
	}
	a.heads[id] = head.Next(s.Leaf())
	a.indexed++
	return nil
}

// caused checks that signed entries stand together, as many as the envelope's row says, and are what was signed.
func (a *audit) caused(s Stored) error {
	e := s.Entry
	if a.left > 0 {
		if a.left--; e.Cause != a.cause {
			return finding("entry %d stands among those of another envelope", s.Index)
		}
	} else if e.Signer.Kind == protocol.ActorLedger {
		return nil
	} else {
		first, entries, raw, ok, err := a.v.Envelope(e.Cause)
		if err != nil || !ok || first != s.Index || entries == 0 {
			return finding("the envelope of entry %d is missing or misplaced (%v)", s.Index, err)
		}
		if v, err := protocol.VerifyEnvelope(raw); err != nil || v.ID != e.Cause {
			return finding("the envelope of entry %d does not verify (%v)", s.Index, err)
		}
		a.left, a.cause = entries-1, e.Cause
		a.signed++
	}
	if e.Signer.Kind == protocol.ActorLedger {
		return nil
	}
	_, _, raw, _, err := a.v.Envelope(e.Cause)
	if err != nil {
		return err
	}
	v, err := protocol.VerifyEnvelope(raw)
	if err != nil {
		return finding("the envelope of entry %d does not verify (%v)", s.Index, err)
	}
	if int(e.Index) >= len(v.Body.Actions) || v.Body.Actions[e.Index].Type != e.Type || string(v.Body.Actions[e.Index].Body) != string(e.Action) ||
		v.Body.Signer != e.Signer || v.Body.Nonce != s.Salt {
		return finding("entry %d is not what was signed", s.Index)
	}
	return nil
}

// checkReplay holds the set in memory against the rows that it was built from.
func (l *Ledger) checkReplay(v *View) error {
	fresh := newReplay()
	if err := fresh.load(v); err != nil {
		return fmt.Errorf("%w: replay set: %w", ErrCheck, err)
	}
	if len(fresh.results) != len(l.replay.results) || len(fresh.oldest) != len(l.replay.oldest) {
		return finding("the replay set holds %d envelopes in %d rows, its rows %d in %d", len(l.replay.results), len(l.replay.oldest), len(fresh.results), len(fresh.oldest))
	}
	for i, row := range fresh.oldest {
		if have := l.replay.oldest[i]; have.height != row.height || have.until != row.until {
			return finding("row %d of the replay set is %d until %d, in memory %d until %d", i, row.height, row.until, have.height, have.until)
		}
		for _, id := range row.ids {
			if l.replay.results[id] != fresh.results[id] {
				return finding("the replay set has another result for %s than its row", id)
			}
		}
	}
	return nil
}

func checkQuotas(v *View) error {
	for _, q := range []struct {
		table exec.Table[quotaRow]
		limit uint32
	}{{memberQuotas, v.Params().QuotaMemberMinute}, {journalQuotas, v.Params().QuotaJournalMinute}} {
		over := false
		err := q.table.ReadAll(v, q.table.Key(), func(_ []byte, row quotaRow) bool {
			over = row.Count > q.limit || row.Count == 0 || row.Minute > v.Head.Time/60_000
			return !over
		})
		if err != nil || over {
			return finding("%s: a row is out of bounds (%v)", q.table.Name, err)
		}
	}
	return nil
}

func countRows(r state.Reader, prefix []byte) (n int, err error) {
	err = r.Scan(prefix, []byte{prefix[0] + 1}, func([]byte, []byte) (bool, error) { n++; return true, nil })
	return n, err
}
