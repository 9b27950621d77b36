package custodian

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/keygen"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Ceremony takes this node's part in key generation: it looks at the ledger whenever a block was committed, and does what is its turn. Its
// secrets (the one-epoch receiver key, the dealing with its polynomial, the portions received) are saved, encrypted, before anything that
// depends on them is said, and erased once the share is made; so it can be killed at any moment and goes on where it was. What a dealer keeps
// beyond activation are ciphertexts for custodians that were away: they open with a key that those erase in their turn.
type Ceremony struct {
	Custodian *Custodian
	// Submit executes actions signed by this member.
	Submit func(context.Context, ...protocol.Action) (protocol.Result, error)
	// Fetch asks the dealer's node for the ciphertext meant for this node.
	Fetch func(ctx context.Context, dealer protocol.MemberID, generation, epoch uint32) ([]byte, error)
	Log   *slog.Logger

	waited map[uint16]int // how often a dealer's ciphertext could not be had; owned by Run
	erased ceremonyID     // the last ceremony whose secrets this process has seen erased; owned by Run
}

type ceremonyID struct{ generation, epoch uint32 }

// ErrSecretsLost says that the receiver key that this node offered is not among its secrets any more. Nothing sealed to it can be opened, and
// to complain of its dealers would only make them reveal this node's share to everybody.
var ErrSecretsLost = errors.New("custodian: the receiver key that this node offered is lost")

// fetchTriesMax is how often a dealer is asked in vain before a complaint is made of it.
const fetchTriesMax = 30

// Run works until the context ends. changed delivers a value after blocks that changed state; it may drop some. tick makes Run look again
// when a dealer was out of reach.
func (c *Ceremony) Run(ctx context.Context, changed, tick <-chan struct{}) {
	for {
		if err := c.step(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn("key generation: will try again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick:
		}
	}
}

// step does what the ledger says is this node's turn.
func (c *Ceremony) step(ctx context.Context) error {
	view, err := c.Custodian.Ledger.View()
	if err != nil {
		return err
	}
	defer view.Close()
	cer, ok, err := keygen.CeremonyRow(view)
	if err != nil || !ok {
		return err
	}
	me, ok, err := registry.Member(view, c.Custodian.Member)
	if err != nil || !ok || me.Custodian == 0 || me.Custodian > cer.N {
		return err
	}
	s := stage{Ceremony: c, view: view, cer: cer, me: me.Custodian}
	switch cer.Phase {
	case keygen.Offering:
		return s.offer(ctx)
	case keygen.Dealing:
		return s.deal(ctx)
	case keygen.Accepting:
		return errors.Join(s.reveal(ctx), s.accept(ctx))
	case keygen.Done:
		return errors.Join(s.eraseDealing(), s.finish(ctx))
	}
	return nil
}

// stage is one look at a ceremony.
type stage struct {
	*Ceremony
	view *ledger.View
	cer  keygen.Ceremony
	me   uint16
}

func (s stage) name(what string) string {
	return fmt.Sprintf("%s-%d-%d", what, s.cer.Generation, s.cer.Epoch)
}

func (s stage) offer(ctx context.Context) error {
	if _, done, err := keygen.Offered(s.view, s.cer, s.me); err != nil || done {
		return err
	}
	key, err := s.receiverKey()
	if err != nil {
		return err
	}
	return s.submit(ctx, &protocol.OfferReceiverKey{Generation: s.cer.Generation, Epoch: s.cer.Epoch, Key: key.Public()})
}

// receiverKey reads the saved one-epoch key, or makes and saves it.
func (s stage) receiverKey() (*threshold.ReceiverKey, error) {
	if raw, ok, err := s.Custodian.Secrets.Get(s.name("receiver")); err != nil {
		return nil, err
	} else if ok {
		return threshold.ParseReceiverKey(raw)
	}
	key, err := threshold.NewReceiverKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	raw, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	return key, s.Custodian.Secrets.Put(s.name("receiver"), raw)
}

// offeredKey reads the saved key, which must be the one that the others seal to.
func (s stage) offeredKey() (*threshold.ReceiverKey, error) {
	offered, ok, err := keygen.Offered(s.view, s.cer, s.me)
	if err != nil {
		return nil, err
	}
	raw, saved, err := s.Custodian.Secrets.Get(s.name("receiver"))
	if err != nil {
		return nil, err
	}
	if !ok || !saved {
		return nil, ErrSecretsLost
	}
	key, err := threshold.ParseReceiverKey(raw)
	if err == nil && !bytes.Equal(key.Public(), offered) {
		err = ErrSecretsLost
	}
	return key, err
}

func (s stage) deal(ctx context.Context) error {
	if _, done, err := keygen.DealBy(s.view, s.cer, s.me); err != nil || done {
		return err
	}
	dealing, err := s.dealing()
	if err != nil {
		return err
	}
	if dealing == nil {
		params, err := keygen.ParamsOf(s.view, s.view.Chain(), s.cer)
		if err != nil {
			return err
		}
		if dealing, err = threshold.NewDealing(rand.Reader, params, int(s.me)); err != nil {
			return err
		}
		if err := s.Custodian.Secrets.Put(s.name("dealing"), dealing.Bytes()); err != nil {
			return err
		}
	}
	defer dealing.Wipe()
	return s.submit(ctx, &protocol.Deal{Generation: s.cer.Generation, Epoch: s.cer.Epoch, Message: dealing.Deal.Bytes()})
}

func (s stage) dealing() (*threshold.Dealing, error) {
	raw, ok, err := s.Custodian.Secrets.Get(s.name("dealing"))
	if err != nil || !ok {
		return nil, err
	}
	return threshold.ParseDealing(raw)
}

// Ciphertext is what this node, as a dealer, holds for a receiver: its sealed share. It is for that receiver's node alone.
func (c *Ceremony) Ciphertext(generation, epoch uint32, receiver uint16) ([]byte, bool, error) {
	raw, ok, err := c.Custodian.Secrets.Get(fmt.Sprintf("dealing-%d-%d", generation, epoch))
	if err != nil {
		return nil, false, err
	}
	if !ok {
		return c.Custodian.Secrets.Get(ciphertextName(generation, epoch, receiver))
	}
	d, err := threshold.ParseDealing(raw)
	if err != nil || receiver < 1 || int(receiver) > len(d.Ciphertexts) {
		return nil, false, err
	}
	out := bytes.Clone(d.Ciphertexts[receiver-1])
	d.Wipe()
	return out, true, nil
}

func ciphertextName(generation, epoch uint32, receiver uint16) string {
	return fmt.Sprintf("ciphertext-%d-%d-%d", generation, epoch, receiver)
}

// reveal answers the complaints made of this node.
func (s stage) reveal(ctx context.Context) error {
	for r := uint16(1); r <= s.cer.N; r++ {
		row, ok, err := keygen.Complaint(s.view, s.cer, s.me, r)
		if err != nil {
			return err
		}
		if !ok || len(row.Share) > 0 {
			continue
		}
		dealing, err := s.dealing()
		if err != nil || dealing == nil {
			return err
		}
		defer dealing.Wipe()
		share, err := dealing.Reveal(int(r))
		if err != nil {
			return err
		}
		if err := s.submit(ctx, &protocol.Reveal{Generation: s.cer.Generation, Epoch: s.cer.Epoch, Receiver: r, Share: share}); err != nil {
			return err
		}
	}
	return nil
}

// accept opens what the dealers sent, and says so once every dealer's share is here, revealed, or complained of.
func (s stage) accept(ctx context.Context) error {
	if _, done, err := keygen.Accepted(s.view, s.cer, s.me); err != nil || done {
		return err
	}
	params, err := keygen.ParamsOf(s.view, s.view.Chain(), s.cer)
	if err != nil {
		return err
	}
	key, err := s.offeredKey()
	if err != nil {
		return err
	}
	var holding []uint16
	waiting := 0
	for d := uint16(1); d <= s.cer.N; d++ {
		deal, dealt, err := keygen.DealBy(s.view, s.cer, d)
		if err != nil {
			return err
		}
		if !dealt {
			continue
		}
		have, wait, err := s.portion(ctx, params, key, deal, d)
		if err != nil {
			return err
		}
		if have {
			holding = append(holding, d)
		}
		if wait {
			waiting++
		}
	}
	if waiting > 0 || len(holding) == 0 {
		return nil
	}
	return s.submit(ctx, &protocol.AcceptDeals{Generation: s.cer.Generation, Epoch: s.cer.Epoch, Dealers: holding})
}

func (s stage) portionName(dealer uint16) string {
	return fmt.Sprintf("%s-%d", s.name("portion"), dealer)
}

// portion gets this node's portion of one deal. It either has it, or waits for the dealer, or has complained.
func (s stage) portion(ctx context.Context, params *threshold.Params, key *threshold.ReceiverKey, deal *threshold.Deal, dealer uint16) (have, wait bool, err error) {
	if _, ok, err := s.Custodian.Secrets.Get(s.portionName(dealer)); err != nil || ok {
		return ok, false, err
	}
	complaint, complained, err := keygen.Complaint(s.view, s.cer, dealer, s.me)
	if err != nil {
		return false, false, err
	}
	if complained {
		if len(complaint.Share) == 0 {
			return false, false, nil
		}
		p, err := threshold.VerifyReveal(params, deal, int(s.me), complaint.Share)
		if err != nil {
			return false, false, err
		}
		return true, false, s.Custodian.Secrets.Put(s.portionName(dealer), p.Bytes())
	}
	from, err := s.memberOf(dealer)
	if err != nil {
		return false, false, err
	}
	ciphertext, err := s.Fetch(ctx, from, s.cer.Generation, s.cer.Epoch)
	if err != nil {
		s.Log.Info("key generation: a dealer does not answer yet", "dealer", dealer, "error", err)
		if s.tried(dealer) < fetchTriesMax {
			return false, true, nil
		}
		return false, false, s.complain(ctx, dealer)
	}
	p, err := threshold.OpenShare(params, deal, int(s.me), key, ciphertext)
	if err != nil {
		return false, false, s.complain(ctx, dealer)
	}
	return true, false, s.Custodian.Secrets.Put(s.portionName(dealer), p.Bytes())
}

// tried counts the vain attempts at a dealer's ciphertext.
func (c *Ceremony) tried(dealer uint16) int {
	if c.waited == nil {
		c.waited = make(map[uint16]int)
	}
	c.waited[dealer]++
	return c.waited[dealer]
}

func (s stage) complain(ctx context.Context, dealer uint16) error {
	s.Log.Warn("key generation: complaining of a dealer", "dealer", dealer)
	return s.submit(ctx, &protocol.Complain{Generation: s.cer.Generation, Epoch: s.cer.Epoch, Dealer: dealer})
}

func (s stage) memberOf(custodian uint16) (protocol.MemberID, error) {
	rows, err := registry.Members(s.view)
	if err != nil {
		return protocol.MemberID{}, err
	}
	ids, err := registry.MemberIDs(s.view)
	if err != nil {
		return protocol.MemberID{}, err
	}
	for i, row := range rows {
		if row.Custodian == custodian {
			return ids[i], nil
		}
	}
	return protocol.MemberID{}, fmt.Errorf("custodian %d is no member", custodian)
}

// finish adds up the portions of the dealers that qualified, saves the share, and erases everything it was made of. A node that was away
// when the others accepted fetches its portions now.
func (s stage) finish(ctx context.Context) error {
	if have, err := s.Custodian.shareOf(s.cer.Generation); err != nil {
		return err
	} else if have != nil && have.Epoch == s.cer.Epoch {
		return s.erase()
	}
	params, deals, err := keygen.QualifiedDeals(s.view, s.view.Chain(), s.cer.Generation)
	if err != nil || params == nil {
		return err
	}
	key, err := s.offeredKey()
	if err != nil {
		return err
	}
	portions := make([]*threshold.Portion, len(deals))
	defer func() {
		for _, p := range portions {
			if p != nil {
				p.Wipe()
			}
		}
	}()
	for i, d := range deals {
		have, _, err := s.portion(ctx, params, key, d, uint16(d.Dealer))
		if err != nil {
			return err
		}
		if !have {
			return fmt.Errorf("no portion of dealer %d yet", d.Dealer)
		}
		raw, _, err := s.Custodian.Secrets.Get(s.portionName(uint16(d.Dealer)))
		if err != nil {
			return err
		}
		if portions[i], err = threshold.ParsePortion(raw); err != nil {
			return err
		}
	}
	share, err := threshold.FinishShare(params, deals, int(s.me), portions)
	if err != nil {
		return err
	}
	if err := s.Custodian.Secrets.Put(shareName(s.cer.Generation), share.Bytes()); err != nil {
		return err
	}
	s.Custodian.mu.Lock()
	s.Custodian.shares[s.cer.Generation] = share
	s.Custodian.mu.Unlock()
	s.Log.Info("key generation: this node holds its share", "generation", s.cer.Generation, "epoch", s.cer.Epoch)
	return s.erase()
}

// erase forgets the receiver key and the portions, once the share is safe. A crash in the middle is made good by the next process.
func (s stage) erase() error {
	now := ceremonyID{s.cer.Generation, s.cer.Epoch}
	if s.Ceremony.erased == now {
		return nil
	}
	errs := []error{s.Custodian.Secrets.Delete(s.name("receiver")), s.Custodian.Secrets.Delete(ciphertextName(s.cer.Generation, s.cer.Epoch, s.me))}
	for d := uint16(1); d <= s.cer.N; d++ {
		errs = append(errs, s.Custodian.Secrets.Delete(s.portionName(d)))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.Ceremony.erased = now
	return nil
}

// eraseDealing forgets the polynomial as soon as the key is active, when no complaint can come any more. The ciphertexts for custodians that
// have not accepted stay, each by itself.
func (s stage) eraseDealing() error {
	dealing, err := s.dealing()
	if err != nil || dealing == nil {
		return err
	}
	defer dealing.Wipe()
	for r := uint16(1); r <= s.cer.N && int(r) <= len(dealing.Ciphertexts); r++ {
		if _, accepted, err := keygen.Accepted(s.view, s.cer, r); err != nil {
			return err
		} else if accepted {
			continue
		}
		if err := s.Custodian.Secrets.Put(ciphertextName(s.cer.Generation, s.cer.Epoch, r), dealing.Ciphertexts[r-1]); err != nil {
			return err
		}
	}
	return s.Custodian.Secrets.Delete(s.name("dealing"))
}

// submit executes an action; that the ledger had it already, or has moved on meanwhile, is no failure.
func (s stage) submit(ctx context.Context, a protocol.Action) error {
	r, err := s.Submit(ctx, a)
	if err != nil {
		return err
	}
	switch r.Reason {
	case protocol.Accepted, protocol.AlreadyDone, protocol.KeygenPhase, protocol.WrongGeneration:
		return nil
	}
	return fmt.Errorf("%s: %w", a.ActionType(), &protocol.Rejection{Reason: r.Reason})
}
