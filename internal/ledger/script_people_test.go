package ledger_test

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// peopleAction makes the actions with which people stand in for each other:
//
//	delegate NAME level=see|share|act [label=1,2] [from=10s] [until=1h] [may] [proof=NAME]   makes NAME somebody who signs
//	end NAME
//	review PRACTITIONER session=ACCESS [verdict=justified|unjustified]
//	card NAME | card none
func (s *script) peopleAction(journal protocol.JournalID, w words) protocol.Action {
	name := w.args[""]
	switch w.verb {
	case "delegate":
		return s.delegate(journal, w)
	case "end":
		_, pub := ledgertest.Key(name)
		return &protocol.EndDelegation{Key: pub}
	case "review":
		a := &protocol.ReviewBreakGlass{Practitioner: s.id(name), Session: s.id(w.args["session"])}
		if err := a.Verdict.UnmarshalText([]byte(cmp.Or(w.args["verdict"], "justified"))); err != nil {
			panic(err)
		}
		return a
	case "card":
		if name == "none" {
			return &protocol.SetCard{}
		}
		return &protocol.SetCard{Card: s.id(name), Sealed: []byte("sealed " + name)}
	}
	return nil
}

func (s *script) delegate(journal protocol.JournalID, w words) protocol.Action {
	name := w.args[""]
	k, pub := ledgertest.Key(name)
	s.who[name] = &ledgertest.Who{Name: name, Key: k, Signer: protocol.DelegateSigner(journal, pub)}
	s.names[string(pub[:])] = name
	a := &protocol.Delegate{Key: pub, NotAfter: s.w.Time + millis(cmp.Or(w.args["until"], "1h")), MayDelegate: w.args["may"] != "",
		Proof: ed25519.Sign(s.keyOf(cmp.Or(w.args["proof"], name)), protocol.DelegateProofMessage(s.w.L.Chain(), journal, pub))}
	if from, ok := w.args["from"]; ok {
		a.NotBefore = s.w.Time + millis(from)
	}
	if err := a.Level.UnmarshalText([]byte(cmp.Or(w.args["level"], "see"))); err != nil {
		panic(err)
	}
	if l, ok := w.args["label"]; ok {
		for _, one := range strings.Split(l, ",") {
			a.Labels = append(a.Labels, label(one))
		}
	}
	slices.SortFunc(a.Labels, func(x, y protocol.Label) int { return bytes.Compare(x[:], y[:]) })
	return a
}

// showPeople answers the commands about people; ok is false for others.
func (s *script) showPeople(view *ledger.View, what string, of func() string) (text string, ok bool) {
	var out strings.Builder
	switch what {
	case "delegates":
		for _, d := range must(consent.Delegations(view, s.ids[of()])) {
			fmt.Fprintf(&out, "%s: %s from %s, %d classes, until %s\n", s.keyName(d.Key), d.Level, s.keyName(d.Parent), len(d.Labels), s.when(d.NotAfter))
		}
		return sorted(out.String()), true
	case "sessions":
		for _, n := range must(consent.Sessions(view, s.ids[of()])) {
			review := "review due " + s.when(n.Row.Due)
			if n.Row.Missed {
				review = "review missed"
			}
			if n.Row.Reviewed > 0 {
				review = n.Row.Verdict.String() + " says " + s.name(n.Row.Reviewer)
			}
			fmt.Fprintf(&out, "%s: %s, %d accesses, until %s, %s\n", s.name(n.Practitioner), s.name(n.Row.ID), n.Row.Accesses, s.when(n.Row.Ends), review)
		}
		return sorted(out.String()), true
	case "card":
		row, found, err := consent.Card(view, s.id(of()))
		if must(found, err) {
			fmt.Fprintf(&out, "%s: %s\n", s.name(row.Journal), row.Sealed)
		}
		return out.String(), true
	case "reason":
		row, found, err := consent.SealedReason(view, sha256.Sum256([]byte(of())))
		if must(found, err) {
			fmt.Fprintf(&out, "of %s at %s in %s, session %s\n", s.name(row.Practitioner), s.name(row.Member), s.name(row.Journal), s.name(row.Session))
		}
		return out.String(), true
	case "due":
		at, due := s.w.L.NextDue()
		return fmt.Sprintln(s.when(at), due), true
	}
	return "", false
}
