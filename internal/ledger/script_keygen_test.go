package ledger_test

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// ceremony is what the custodians of a script keep to themselves.
type ceremony struct {
	receivers map[string]*threshold.ReceiverKey
	dealings  map[string]*threshold.Dealing
}

// keygenAction makes the actions of key generation:
//
//	offer [broken] | deal [of=m2] [broken] | accept 1,2,3 | complain 2 | reveal 1 [of=m2] [broken]    generation=N epoch=N
func (s *script) keygenAction(by *ledgertest.Who, w words) protocol.Action {
	generation, epoch := uint32(number(cmp.Or(w.args["generation"], "1"))), uint32(number(cmp.Or(w.args["epoch"], "1")))
	broken := w.args["broken"] != ""
	one := func() uint16 { return uint16(number(w.args[""])) }
	switch w.verb {
	case "offer":
		key := s.ceremony.receivers[by.Name]
		if key == nil {
			key = must(threshold.NewReceiverKey(rand.Reader))
			s.ceremony.receivers[by.Name] = key
		}
		public := key.Public()
		if broken { // an ML-KEM coefficient out of range
			public[0], public[1] = 0xff, 0xff
		}
		return &protocol.OfferReceiverKey{Generation: generation, Epoch: epoch, Key: public}
	case "deal":
		message := s.dealing(cmp.Or(w.args["of"], by.Name)).Deal.Bytes()
		if broken {
			message[len(message)-1] ^= 1
		}
		return &protocol.Deal{Generation: generation, Epoch: epoch, Message: message}
	case "accept":
		var from []uint16
		for _, d := range strings.Split(w.args[""], ",") {
			from = append(from, uint16(number(d)))
		}
		return &protocol.AcceptDeals{Generation: generation, Epoch: epoch, Dealers: from}
	case "complain":
		return &protocol.Complain{Generation: generation, Epoch: epoch, Dealer: one()}
	case "reveal":
		share := must(s.dealing(cmp.Or(w.args["of"], by.Name)).Reveal(int(one())))
		if broken {
			share[0] ^= 1
		}
		return &protocol.Reveal{Generation: generation, Epoch: epoch, Receiver: one(), Share: share}
	}
	return nil
}

// dealing is a member's, m1 being the first dealer. Before the offers are complete it is made for the wrong parameters.
func (s *script) dealing(name string) *threshold.Dealing {
	if d := s.ceremony.dealings[name]; d != nil {
		return d
	}
	view := must(s.w.L.View())
	defer view.Close()
	cer, _, err := keygen.CeremonyRow(view)
	params := must(keygen.ParamsOf(view, view.Chain(), must(cer, err)))
	whole := len(params.ReceiverKeys) == params.N
	for len(params.ReceiverKeys) < params.N {
		params.ReceiverKeys = append(params.ReceiverKeys, params.ReceiverKeys[0])
	}
	d := must(threshold.NewDealing(rand.Reader, params, int(number(strings.TrimPrefix(name, "m")))))
	if whole {
		s.ceremony.dealings[name] = d
	}
	return d
}

// showKey tells where key generation stands, and what its events said.
func (s *script) showKey(view *ledger.View, out *strings.Builder) {
	cer, _, err := keygen.CeremonyRow(view)
	if must(cer, err).Deadline != 0 {
		fmt.Fprintf(out, "phase %d until %s", cer.Phase, s.when(cer.Deadline))
	} else {
		fmt.Fprintf(out, "phase %d", cer.Phase)
	}
	fmt.Fprintf(out, ", active generation %d\n", must(keygen.ActiveGeneration(view)))
	err = view.Journal(protocol.ConstitutionJournal(view.Chain()), 0, func(e ledger.Stored) bool {
		switch e.Entry.Type {
		case protocol.EventKeyActivated:
			var k protocol.KeyActivated
			err = protocol.Decode(e.Entry.Action, &k)
			fmt.Fprintf(out, "activated: generation %d epoch %d, dealers %v\n", k.Generation, k.Epoch, k.Dealers)
		case protocol.EventDealerExcluded:
			var x protocol.DealerExcluded
			err = protocol.Decode(e.Entry.Action, &x)
			fmt.Fprintf(out, "excluded: dealer %d\n", x.Dealer)
		}
		return err == nil
	})
	must(0, err)
}
