package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/rights"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Registry asks for all organisations and their practitioners, for somebody whom the network knows. A member whose practitioners could not
// be asked for is named in Partial.
func (c *Client) Registry(ctx context.Context, by Identity) (out rights.Registry, err error) {
	if out.Members, err = c.Members(ctx); err != nil {
		return out, err
	}
	for _, m := range out.Members {
		if m.Removed {
			continue
		}
		staff, err := c.Practitioners(ctx, by, m.ID)
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		if err != nil {
			out.Partial = append(out.Partial, m.Name)
			continue
		}
		out.Practitioners = append(out.Practitioners, staff...)
	}
	return out, nil
}

// Readers asks the gateway who can read what now. rights.WhoCanRead answers the same from what is proven.
func (c *Client) Readers(ctx context.Context, k *wallet.JournalKeys) (out api.Readers, err error) {
	return out, c.get(ctx, Patient(k), path(api.PathReaders, k.Journal.String()), &out)
}

// Disclosures asks the gateway for the requests to read of a period (UTC ms), all of them. rights.Account answers the same from what is proven.
func (c *Client) Disclosures(ctx context.Context, k *wallet.JournalKeys, begin, end uint64) (out []api.Disclosure, err error) {
	for from := uint64(0); ; {
		var page api.Disclosures
		uri := path(api.PathDisclosures, k.Journal.String()) + fmt.Sprintf("?from_ms=%d&to_ms=%d&from=%d&max=%d", begin, end, from, entriesPage)
		if err := c.get(ctx, Patient(k), uri, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Disclosures...)
		if page.Next == 0 {
			return out, nil
		}
		if page.Next <= from {
			return nil, fmt.Errorf("%w: the pages of a journal go backwards", ErrAnswer)
		}
		from = page.Next
	}
}

// Withdrawn is what WithdrawAll ended.
type Withdrawn struct {
	Contracts []protocol.ContractID `json:"contracts"`
	Delegates []protocol.PublicKey  `json:"delegates"`
	Card      bool                  `json:"card"`      // the emergency card leads nowhere any more
	Remaining []protocol.ContractID `json:"remaining"` // contracts that let nobody read and were left, as asked
}

// ErrStillGranting says that contracts were made faster than they could be withdrawn.
var ErrStillGranting = errors.New("somebody goes on granting: withdraw again, and cut off the device or delegate that does it")

// withdrawalsMax is how often WithdrawAll looks again.
const withdrawalsMax = 8

// WithdrawAll ends every delegation and every contract, and takes the emergency card away: from then on nobody but the patient reads, and
// what was asked for and not yet opened stays closed. Delegations go first, with all that they granted, so that nobody grants anew. What fits
// into one envelope ends together. readingOnly leaves the contracts that let nobody read or pass on, such as a contributor's.
func (c *Client) WithdrawAll(ctx context.Context, k *wallet.JournalKeys, readingOnly bool) (out Withdrawn, err error) {
	out = Withdrawn{Contracts: []protocol.ContractID{}, Delegates: []protocol.PublicKey{}}
	for range withdrawalsMax {
		step, err := c.toWithdraw(ctx, k, readingOnly)
		if err != nil {
			return out, err
		}
		out.Remaining = step.left
		if len(step.actions) == 0 {
			return out, c.withdrawCard(ctx, k, &out)
		}
		_, err = c.Do(ctx, Patient(k), k.Journal, step.actions...)
		var rejected *protocol.Rejection
		switch {
		case errors.As(err, &rejected) && overtaken(rejected.Reason):
			continue // something of it ended by itself meanwhile: look again
		case err != nil:
			return out, err
		}
		out.Contracts, out.Delegates = append(out.Contracts, step.contracts...), append(out.Delegates, step.delegates...)
	}
	return out, ErrStillGranting
}

func overtaken(r protocol.Reason) bool {
	return r == protocol.ContractOver || r == protocol.UnknownContract || r == protocol.UnknownDelegation
}

// withdrawal is what goes into one envelope.
type withdrawal struct {
	actions   []protocol.Action
	contracts []protocol.ContractID
	delegates []protocol.PublicKey
	left      []protocol.ContractID
}

func (c *Client) toWithdraw(ctx context.Context, k *wallet.JournalKeys, readingOnly bool) (w withdrawal, err error) {
	w.left = []protocol.ContractID{}
	delegations, err := c.Delegations(ctx, Patient(k), k.Journal)
	if err != nil {
		return w, err
	}
	for _, d := range delegations {
		if w.delegates = append(w.delegates, d.Key); d.Parent.IsZero() { // the others go with the one that they come from
			w.actions = append(w.actions, &protocol.EndDelegation{Key: d.Key})
		}
	}
	contracts, err := c.Contracts(ctx, k)
	if err != nil {
		return w, err
	}
	for _, one := range contracts {
		switch {
		case one.State != "active":
		case !one.By.IsZero() && len(delegations) > 0: // goes with the delegate who granted it
			w.contracts = append(w.contracts, one.ID)
		case readingOnly && !reads(one.Policy):
			w.left = append(w.left, one.ID)
		case len(w.actions) < protocol.EnvelopeActionsMax:
			w.actions, w.contracts = append(w.actions, &protocol.Revoke{Contract: one.ID}), append(w.contracts, one.ID)
		}
	}
	return w, nil
}

// reads tells whether a contract lets anybody read, or pass on to read. One that does not compile might.
func reads(policy string) bool {
	compiled, err := consent.Compile([]byte(policy))
	return err != nil || compiled.Permits(consent.ActionRead) || compiled.Permits(consent.ActionShare)
}

// withdrawCard takes the emergency card away, if there is one. A device may not; what it ended by then stays ended.
func (c *Client) withdrawCard(ctx context.Context, k *wallet.JournalKeys, out *Withdrawn) error {
	control, err := c.Control(ctx, Patient(k), k.Journal)
	if err != nil || !control.Card {
		return err
	}
	err = c.RevokeCard(ctx, Patient(k), k.Journal)
	out.Card = err == nil
	return err
}
