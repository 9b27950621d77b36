// Package keygen runs, on the ledger, the generation of the custodians' collective key: who has dealt what to whom, and when a key is ready.
//
// A ceremony makes one epoch of one generation in three phases, each of which ends once everybody has spoken:
//
//	offering   every custodian offers a one-epoch receiver key; all must, for each will hold a share
//	dealing    every custodian deals; after the step's time the silent are left out, if T dealt
//	accepting  every custodian accepts the deals, or complains of one; a dealer answers a complaint by revealing that share.
//	           After the step's time dealers with an unanswered complaint are left out. T custodians must hold all that remain.
//
// Then the key is computed from the public commitments and activated. On the ledger stand commitments, proofs and hashes of ciphertexts;
// the share ciphertexts travel between nodes, and the collective secret is nowhere. The mathematics is internal/threshold's.
package keygen

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Phase is where a ceremony stands.
type Phase uint8

// The phases, in order.
const (
	Offering Phase = 1 + iota
	Dealing
	Accepting
	Done
)

// Ceremony is the making of one epoch of one generation.
type Ceremony struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32
	Epoch      uint32
	N          uint16
	Phase      Phase
	Deadline   uint64 // UTC ms; of the phase; 0 in Offering
}

// KeyRow and current are what authors read from proofs, and so they are the protocol's.
type (
	KeyRow  = protocol.CustodyKeyRow
	current = protocol.CurrentKeyRow
)

// dealRow is a dealer's message.
type dealRow struct {
	_       struct{} `cbor:",toarray"`
	Message []byte
}

type offerRow struct {
	_   struct{} `cbor:",toarray"`
	Key []byte
}

type acceptRow struct {
	_       struct{} `cbor:",toarray"`
	Dealers []uint16
}

// ComplaintRow is one receiver's complaint of one dealer; Share is the dealer's answer.
type ComplaintRow struct {
	_     struct{} `cbor:",toarray"`
	Share []byte
}

// The tables; all are written by this package alone. A ceremony's rows lie under generation ‖ epoch.
var (
	currents   = exec.Table[current]{Name: "current key", Prefix: 'A'}        // one row
	ceremonies = exec.Table[Ceremony]{Name: "ceremony", Prefix: 'g'}          // one row: the pending one, or the last
	offers     = exec.Table[offerRow]{Name: "receiver keys", Prefix: 'w'}     // generation ‖ epoch ‖ custodian
	deals      = exec.Table[dealRow]{Name: "deals", Prefix: 'd'}              // generation ‖ epoch ‖ dealer
	accepts    = exec.Table[acceptRow]{Name: "accepted deals", Prefix: 'v'}   // generation ‖ epoch ‖ receiver
	complaints = exec.Table[ComplaintRow]{Name: "complaints", Prefix: 'u'}    // generation ‖ epoch ‖ dealer ‖ receiver
	keys       = exec.Table[KeyRow]{Name: "keys of generations", Prefix: 'K'} // generation
)

// Begin opens the first ceremony, for n custodians. It runs in the genesis.
func Begin(c *exec.Context, n int) {
	ceremonies.Put(c, ceremonies.Key(), Ceremony{Generation: 1, Epoch: 1, N: uint16(n), Phase: Offering})
	currents.Put(c, currents.Key(), current{Pending: true})
}

// Offer executes OfferReceiverKey.
func Offer(c *exec.Context, custodian uint16, a *protocol.OfferReceiverKey) protocol.Reason {
	cer, reason := step(c, custodian, a.Generation, a.Epoch, Offering)
	if reason != protocol.Accepted {
		return reason
	}
	if threshold.CheckReceiverKey(a.Key) != nil {
		return protocol.BadProof
	}
	return once(c, offers, cer.key(offers.Prefix, custodian), offerRow{Key: a.Key})
}

// Deal executes the action: the commitments and proof are verified before anybody relies on them.
func Deal(c *exec.Context, custodian uint16, a *protocol.Deal) protocol.Reason {
	cer, reason := step(c, custodian, a.Generation, a.Epoch, Dealing)
	if reason != protocol.Accepted {
		return reason
	}
	deal, err := threshold.ParseDeal(a.Message)
	if err != nil || deal.Dealer != int(custodian) {
		return protocol.BadDeal
	}
	params, err := ParamsOf(c.Tx, c.Chain, cer)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	if threshold.VerifyDeal(params, deal) != nil {
		return protocol.BadDeal
	}
	return once(c, deals, cer.key(deals.Prefix, custodian), dealRow{Message: a.Message})
}

// Accept executes AcceptDeals: the receiver says that it holds valid shares of these dealers. Of the others that dealt it complains, or it
// will not count among those who hold the key.
func Accept(c *exec.Context, custodian uint16, a *protocol.AcceptDeals) protocol.Reason {
	cer, reason := step(c, custodian, a.Generation, a.Epoch, Accepting)
	if reason != protocol.Accepted {
		return reason
	}
	dealt := dealers(c, cer)
	for _, d := range a.Dealers {
		if !slices.Contains(dealt, d) {
			return protocol.BadDeal
		}
	}
	return once(c, accepts, cer.key(accepts.Prefix, custodian), acceptRow{Dealers: a.Dealers})
}

// Complain executes the action.
func Complain(c *exec.Context, custodian uint16, a *protocol.Complain) protocol.Reason {
	cer, reason := step(c, custodian, a.Generation, a.Epoch, Accepting)
	if reason != protocol.Accepted {
		return reason
	}
	if !slices.Contains(dealers(c, cer), a.Dealer) {
		return protocol.BadDeal
	}
	if row, ok := accepts.Get(c, cer.key(accepts.Prefix, custodian)); ok && slices.Contains(row.Dealers, a.Dealer) {
		return protocol.AlreadyDone
	}
	return once(c, complaints, cer.key(complaints.Prefix, a.Dealer, custodian), ComplaintRow{})
}

// Reveal executes the action: the dealer shows the share that a receiver complained of, and all can check it.
func Reveal(c *exec.Context, custodian uint16, a *protocol.Reveal) protocol.Reason {
	cer, reason := step(c, custodian, a.Generation, a.Epoch, Accepting)
	if reason != protocol.Accepted {
		return reason
	}
	key := cer.key(complaints.Prefix, custodian, a.Receiver)
	row, ok := complaints.Get(c, key)
	if !ok {
		return protocol.KeygenPhase
	}
	if len(row.Share) > 0 {
		return protocol.AlreadyDone
	}
	params, err := ParamsOf(c.Tx, c.Chain, cer)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	deal := dealOf(c, cer, custodian)
	if count, _ := complaintsOf(c, cer, custodian); deal == nil || count > params.RevealsMax() {
		return protocol.BadDeal // so many reveals would give the dealing away: the dealer is out
	}
	portion, err := threshold.VerifyReveal(params, deal, int(a.Receiver), a.Share)
	if err != nil {
		return protocol.BadDeal
	}
	portion.Wipe()
	complaints.Put(c, key, ComplaintRow{Share: a.Share})
	return protocol.Accepted
}

// step finds the pending ceremony and checks that the custodian and the phase fit.
func step(c *exec.Context, custodian uint16, generation, epoch uint32, phase Phase) (Ceremony, protocol.Reason) {
	cer, ok := ceremonies.Get(c, ceremonies.Key())
	switch {
	case custodian == 0 || !ok || custodian > cer.N:
		return cer, protocol.NotACustodian
	case cer.Generation != generation || cer.Epoch != epoch:
		return cer, protocol.WrongGeneration
	case cer.Phase != phase:
		return cer, protocol.KeygenPhase
	}
	return cer, protocol.Accepted
}

func once[V any](c *exec.Context, t exec.Table[V], key []byte, row V) protocol.Reason {
	if _, done := t.Get(c, key); done {
		return protocol.AlreadyDone
	}
	t.Put(c, key, row)
	return protocol.Accepted
}

// Advance moves the ceremony on, at the end of each block, when everybody has spoken or the phase's time is over.
func Advance(c *exec.Context) {
	if now, _ := currents.Get(c, currents.Key()); !now.Pending {
		return
	}
	cer, ok := ceremonies.Get(c, ceremonies.Key())
	if !ok {
		exec.Break("keygen: a ceremony is pending and has no row")
	}
	late := cer.Deadline != 0 && c.Time >= cer.Deadline
	n, t := int(cer.N), threshold.Threshold(int(cer.N))
	switch cer.Phase {
	case Offering:
		if count(c, cer, offers) == n {
			cer.enter(c, Dealing)
		}
	case Dealing:
		if dealt := count(c, cer, deals); dealt == n || late && dealt >= t {
			cer.enter(c, Accepting)
		}
	case Accepting:
		if remaining, excluded, ok := settled(c, cer, late); ok && len(remaining) >= t {
			activate(c, cer, remaining, excluded)
			return
		}
	}
	if late { // too few have spoken: wait another step rather than ask for a block at once
		if same, ok := ceremonies.Get(c, ceremonies.Key()); ok && same.Phase == cer.Phase {
			cer.enter(c, cer.Phase)
		}
	}
}

func (cer Ceremony) enter(c *exec.Context, p Phase) {
	cer.Phase, cer.Deadline = p, c.Time+c.Params.KeygenStepMillis
	ceremonies.Put(c, ceremonies.Key(), cer)
}

// settled tells which dealers remain and which are out, and whether that is final: at least T custodians hold all that remain, nobody's
// answer is still awaited, and everybody has spoken or the time is over.
func settled(c *exec.Context, cer Ceremony, late bool) (remaining, excluded []uint16, final bool) {
	open := false
	for _, d := range dealers(c, cer) {
		count, unanswered := complaintsOf(c, cer, d)
		switch {
		case count > int(cer.N)-threshold.Threshold(int(cer.N)):
			excluded = append(excluded, d)
		case unanswered:
			excluded, open = append(excluded, d), true
		default:
			remaining = append(remaining, d)
		}
	}
	if open && !late {
		return nil, nil, false
	}
	holders := 0
	for r := uint16(1); r <= cer.N; r++ {
		if holds(c, cer, r, remaining) {
			holders++
		}
	}
	return remaining, excluded, holders == int(cer.N) || late && holders >= threshold.Threshold(int(cer.N))
}

// complaintsOf counts the complaints of a dealer, and tells whether one is unanswered.
func complaintsOf(c *exec.Context, cer Ceremony, dealer uint16) (count int, unanswered bool) {
	complaints.All(c, cer.key(complaints.Prefix, dealer), func(_ []byte, row ComplaintRow) bool {
		count++
		unanswered = unanswered || len(row.Share) == 0
		return true
	})
	return count, unanswered
}

// holds tells whether a receiver has a share of each dealer: accepted, or revealed.
func holds(c *exec.Context, cer Ceremony, receiver uint16, from []uint16) bool {
	row, ok := accepts.Get(c, cer.key(accepts.Prefix, receiver))
	if !ok {
		return false
	}
	for _, d := range from {
		if slices.Contains(row.Dealers, d) {
			continue
		}
		if answer, ok := complaints.Get(c, cer.key(complaints.Prefix, d, receiver)); !ok || len(answer.Share) == 0 {
			return false
		}
	}
	return true
}

func activate(c *exec.Context, cer Ceremony, remaining, excluded []uint16) {
	params, err := ParamsOf(c.Tx, c.Chain, cer)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	qualified := make([]*threshold.Deal, len(remaining))
	for i, d := range remaining {
		qualified[i] = dealOf(c, cer, d)
	}
	made, err := threshold.Finish(params, qualified)
	if err != nil {
		exec.Break("keygen: verified deals do not make a key: %w", err)
	}
	keys.Put(c, keys.Key(u32(cer.Generation)), KeyRow{Epoch: cer.Epoch, Keys: made.Bytes(), Dealers: remaining})
	currents.Put(c, currents.Key(), current{Generation: cer.Generation})
	cer.Phase, cer.Deadline = Done, 0
	ceremonies.Put(c, ceremonies.Key(), cer)
	constitution := protocol.ConstitutionJournal(c.Chain)
	for _, d := range excluded {
		c.Emit(exec.Event{Type: protocol.EventDealerExcluded, Journal: constitution, Body: protocol.DealerExcluded{Generation: cer.Generation, Epoch: cer.Epoch, Dealer: d}})
	}
	c.Emit(exec.Event{Type: protocol.EventKeyActivated, Journal: constitution, Body: protocol.KeyActivated{
		Generation: cer.Generation, Epoch: cer.Epoch, Public: made.Public.Bytes(), Dealers: remaining}})
}

// Active is the generation that serves new records; 0 while there is none.
func Active(c *exec.Context) uint32 {
	now, _ := currents.Get(c, currents.Key())
	return now.Generation
}

// ActiveGeneration is Active for queries.
func ActiveGeneration(r state.Reader) (uint32, error) {
	now, _, err := currents.Read(r, currents.Key())
	return now.Generation, err
}

// NextDeadline is when the pending ceremony's phase runs out, in UTC ms.
func NextDeadline(r state.Reader) (at uint64, ok bool, err error) {
	cer, ok, err := ceremonies.Read(r, ceremonies.Key())
	return cer.Deadline, ok && cer.Deadline != 0, err
}

// CeremonyRow reads the pending ceremony, or the last.
func CeremonyRow(r state.Reader) (Ceremony, bool, error) {
	return ceremonies.Read(r, ceremonies.Key())
}

// Keys reads a generation's keys in its active epoch.
func Keys(r state.Reader, generation uint32) (*threshold.Keys, bool, error) {
	row, ok, err := keys.Read(r, keys.Key(u32(generation)))
	if err != nil || !ok {
		return nil, false, err
	}
	k, err := threshold.ParseKeys(row.Keys)
	return k, err == nil, err
}

// KeysKey is the state map's key of a generation's keys, for proofs.
func KeysKey(generation uint32) []byte { return keys.Key(u32(generation)) }

// QualifiedDeals reads the deals that made a generation's key, and the parameters they were made under.
func QualifiedDeals(r state.Reader, chain string, generation uint32) (*threshold.Params, []*threshold.Deal, error) {
	row, ok, err := keys.Read(r, keys.Key(u32(generation)))
	if err != nil || !ok {
		return nil, nil, err
	}
	cer := Ceremony{Generation: generation, Epoch: row.Epoch}
	made, err := threshold.ParseKeys(row.Keys)
	if err != nil {
		return nil, nil, err
	}
	cer.N = uint16(made.N)
	params, err := ParamsOf(r, chain, cer)
	if err != nil {
		return nil, nil, err
	}
	var out []*threshold.Deal
	for _, d := range row.Dealers {
		deal, ok, err := DealBy(r, cer, d)
		if err != nil || !ok {
			return nil, nil, err
		}
		out = append(out, deal)
	}
	return params, out, nil
}

// Offered tells whether a custodian has offered a receiver key; Accepted whether it has accepted deals.
func Offered(r state.Reader, cer Ceremony, custodian uint16) (key []byte, ok bool, err error) {
	row, ok, err := offers.Read(r, cer.key(offers.Prefix, custodian))
	return row.Key, ok, err
}

// Accepted tells which deals a custodian has accepted.
func Accepted(r state.Reader, cer Ceremony, custodian uint16) (from []uint16, ok bool, err error) {
	row, ok, err := accepts.Read(r, cer.key(accepts.Prefix, custodian))
	return row.Dealers, ok, err
}

// DealBy reads a dealer's deal.
func DealBy(r state.Reader, cer Ceremony, dealer uint16) (*threshold.Deal, bool, error) {
	row, ok, err := deals.Read(r, cer.key(deals.Prefix, dealer))
	if err != nil || !ok {
		return nil, false, err
	}
	d, err := threshold.ParseDeal(row.Message)
	return d, err == nil, err
}

// Complaint reads a receiver's complaint of a dealer, with the share once it is revealed.
func Complaint(r state.Reader, cer Ceremony, dealer, receiver uint16) (ComplaintRow, bool, error) {
	return complaints.Read(r, cer.key(complaints.Prefix, dealer, receiver))
}

// ParamsOf is what a ceremony's messages are bound to, once all receiver keys are offered.
func ParamsOf(r state.Reader, chain string, cer Ceremony) (*threshold.Params, error) {
	p := &threshold.Params{Chain: chain, Generation: cer.Generation, Epoch: cer.Epoch, N: int(cer.N), T: threshold.Threshold(int(cer.N))}
	err := offers.ReadAll(r, cer.key(offers.Prefix), func(_ []byte, row offerRow) bool {
		p.ReceiverKeys = append(p.ReceiverKeys, row.Key)
		return true
	})
	return p, err
}

func dealers(c *exec.Context, cer Ceremony) (out []uint16) {
	deals.All(c, cer.key(deals.Prefix), func(key []byte, _ dealRow) bool {
		out = append(out, uint16(key[9])<<8|uint16(key[10]))
		return true
	})
	return out
}

func dealOf(c *exec.Context, cer Ceremony, dealer uint16) *threshold.Deal {
	d, ok, err := DealBy(c.Tx, cer, dealer)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	if !ok {
		return nil
	}
	return d
}

func count[V any](c *exec.Context, cer Ceremony, t exec.Table[V]) (n int) {
	t.All(c, cer.key(t.Prefix), func([]byte, V) bool { n++; return true })
	return n
}

// key is a row's key in this ceremony: prefix ‖ generation ‖ epoch ‖ indices.
func (cer Ceremony) key(prefix byte, indices ...uint16) []byte {
	k := append([]byte{prefix}, u32(cer.Generation)...)
	k = append(k, u32(cer.Epoch)...)
	for _, i := range indices {
		k = append(k, byte(i>>8), byte(i))
	}
	return k
}

func u32(v uint32) []byte { return []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)} }
