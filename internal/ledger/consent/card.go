package consent

import (
	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// CardRow is an emergency card: a handle, sealed under the card's short form.
type CardRow struct {
	_       struct{} `cbor:",toarray"`
	Journal protocol.JournalID
	Sealed  []byte
}

// cardOf is the card of a journal.
type cardOf struct {
	_    struct{} `cbor:",toarray"`
	Card protocol.CardID
}

var (
	cards     = exec.Table[CardRow]{Name: "emergency cards", Prefix: 'e'}  // card id
	cardNames = exec.Table[cardOf]{Name: "cards of journals", Prefix: 'f'} // journal id
)

// SetCard executes the action, signed by the journal's controller.
func SetCard(c *exec.Context, a *protocol.SetCard) protocol.Reason {
	if !a.Card.IsZero() {
		if row, ok := cards.Get(c, cards.Key(a.Card[:])); ok && row.Journal != c.Journal {
			return protocol.CardTaken
		}
	}
	DropCard(c)
	if !a.Card.IsZero() {
		cards.Put(c, cards.Key(a.Card[:]), CardRow{Journal: c.Journal, Sealed: a.Sealed})
		cardNames.Put(c, cardNames.Key(c.Journal[:]), cardOf{Card: a.Card})
	}
	return protocol.Accepted
}

// DropCard takes the context's journal's card away, if it has one.
func DropCard(c *exec.Context) {
	key := cardNames.Key(c.Journal[:])
	if old, ok := cardNames.Get(c, key); ok {
		cards.Delete(c, cards.Key(old.Card[:]))
		cardNames.Delete(c, key)
	}
}

// Card finds a card by its name.
func Card(r state.Reader, id protocol.CardID) (CardRow, bool, error) {
	return cards.Read(r, cards.Key(id[:]))
}

// HasCard tells whether a journal has a card, and its name.
func HasCard(r state.Reader, in protocol.JournalID) (protocol.CardID, bool, error) {
	row, ok, err := cardNames.Read(r, cardNames.Key(in[:]))
	return row.Card, ok, err
}
