package consent

import (
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Docket is what the execution of blocks remembers of the journals used last: their contracts, and what these answered to authors who
// wanted to add records. It holds nothing that the state does not: every function of this package that changes a journal's contracts
// strikes the journal off, and the ledger strikes off what it takes back. It belongs to the one goroutine that executes.
type Docket struct {
	cache    *Cache
	journals map[protocol.JournalID]*docketed // looked up, never ranged over
	// struck is set when a journal was struck off since Mark: if the envelope is taken back, what was loaded meanwhile is void.
	struck bool
}

// docketed is a journal's contracts, with answers about writing.
type docketed struct {
	active  []Active
	asks    asks // of all policies together
	class   bool // some policy names a class
	clock   bool // some policy looks at the time
	answers map[writing]answer
}

// writing is a question about a record about to be added, without what no policy asks for.
type writing struct {
	by   Principal
	what Resource
}

// answer holds from one block time until another.
type answer struct {
	permitted   bool
	from, until uint64
}

// What a docket holds at most; when it is full, it begins anew.
const (
	docketJournalsMax = 4096
	docketAnswersMax  = 256 // a journal
)

// NewDocket makes an empty docket over a cache of compiled contracts.
func NewDocket(cache *Cache) *Docket {
	d := &Docket{cache: cache}
	d.Clear()
	return d
}

// Clear strikes everything off: blocks were dropped.
func (d *Docket) Clear() { d.journals = make(map[protocol.JournalID]*docketed) }

// Mark begins an envelope; Revert says that what it did was taken back.
func (d *Docket) Mark() { d.struck = false }

// Revert strikes the journal off if the envelope since Mark had changed its contracts.
func (d *Docket) Revert(id protocol.JournalID) {
	if d.struck {
		delete(d.journals, id)
	}
}

// strike takes a journal off because its contracts change.
func (d *Docket) strike(id protocol.JournalID) {
	d.struck = true
	delete(d.journals, id)
}

// of gives the contracts of the context's journal.
func (d *Docket) of(c *exec.Context) *docketed {
	if j := d.journals[c.Journal]; j != nil {
		return j
	}
	active, err := load(c.Tx, d.cache, c.Journal)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	j := &docketed{active: active, answers: make(map[writing]answer)}
	for _, a := range active {
		text := string(a.Policies.text)
		j.class = j.class || len(a.Within) > 0 || strings.Contains(text, string(typeClass)+"::")
		j.clock = j.clock || strings.Contains(text, ".now")
		for _, p := range a.Policies.policies {
			j.asks = j.asks.or(p.asks)
		}
	}
	if len(d.journals) >= docketJournalsMax {
		d.Clear()
	}
	d.journals[c.Journal] = j
	return j
}

// mayWrite decides on a record about to be added.
func (j *docketed) mayWrite(now uint64, by Principal, r Resource) bool {
	q := writing{by: by, what: j.asks.of(r)}
	if !j.class {
		q.what.Label = protocol.Label{}
	}
	if a, ok := j.answers[q]; ok && a.from <= now && now < a.until {
		return a.permitted
	}
	if len(j.answers) >= docketAnswersMax {
		clear(j.answers)
	}
	permitted := Decide(j.active, Request{Principal: by, Action: ActionWrite, Purpose: protocol.PurposeTreat, Now: now}, r).Permitted
	j.answers[q] = answer{permitted: permitted, from: now, until: j.holdsUntil(now)}
	return permitted
}

// holdsUntil is when time alone may change an answer next: a window opens or closes, or a policy looks at the time.
func (j *docketed) holdsUntil(now uint64) uint64 {
	if j.clock || now >= NumberMax {
		return now + 1
	}
	until := uint64(NumberMax)
	for _, a := range j.active {
		for _, at := range [...]uint64{a.NotBefore, a.NotAfter} {
			if at > now {
				until = min(until, at)
			}
		}
	}
	return until
}
