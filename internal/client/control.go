package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Who controls a journal: opened for a patient without a wallet and claimed, recovered through guardians, shared with devices, rotated.

// guardianIdentity makes a guardian's key an Identity.
type guardianIdentity struct{ *wallet.Guardian }

func (g guardianIdentity) Sign(m []byte) []byte { return g.Key.Sign(m) }

// Guardian is the identity of a guardian.
func Guardian(g *wallet.Guardian) Identity { return guardianIdentity{g} }

// Provision opens a provisional journal, sponsored by the member, with the contracts given, and leaves the package for its patient at the
// member's gateway. Whoever has the code and knows the date of birth (YYYY-MM-DD) can claim the journal, once.
func (c *Client) Provision(ctx context.Context, member Identity, p *wallet.Provisional, code wallet.Code, dateOfBirth string, grants ...protocol.Grant) error {
	keys := code.ClaimKeys(c.Network.Chain)
	var s api.Sponsorship
	ask := api.Sponsor{Journal: p.Handle.Journal, Controller: p.Actor.Key.Public()}
	if err := c.json(ctx, Actor(p.Actor), http.MethodPost, api.PathSponsor, ask, &s); err != nil {
		return err
	}
	actions := []protocol.Action{&protocol.OpenJournal{Recipient: p.Recipient, LabelEpoch: p.Handle.Epoch, Sponsor: s.Sponsor, Agreement: s.Agreement,
		Claim: protocol.ClaimCommitment(c.Network.Chain, p.Handle.Journal, keys.Key.Public())}}
	for i := range grants {
		actions = append(actions, &grants[i])
	}
	if _, err := c.Do(ctx, Actor(p.Actor), p.Handle.Journal, actions...); err != nil {
		return err
	}
	return c.deposit(ctx, member, p.Handle, keys, dateOfBirth)
}

// Reissue replaces the code of a provisional journal: the old one is dead.
func (c *Client) Reissue(ctx context.Context, member Identity, p *wallet.Actor, h protocol.Handle, code wallet.Code, dateOfBirth string) error {
	keys := code.ClaimKeys(c.Network.Chain)
	claim := protocol.ClaimCommitment(c.Network.Chain, h.Journal, keys.Key.Public())
	if _, err := c.Do(ctx, Actor(p), h.Journal, &protocol.ReissueClaim{Claim: claim}); err != nil {
		return err
	}
	return c.deposit(ctx, member, h, keys, dateOfBirth)
}

func (c *Client) deposit(ctx context.Context, member Identity, h protocol.Handle, keys *wallet.ClaimKeys, dateOfBirth string) error {
	return c.json(ctx, member, http.MethodPost, api.PathClaims,
		api.ClaimPackage{Lookup: keys.Lookup[:], Journal: h.Journal, Sealed: keys.Seal(h), DateOfBirth: dateOfBirth}, nil)
}

// ClaimHandle gets the handle of the journal that a code claims, from the gateway of the organisation that gave the code out.
func (c *Client) ClaimHandle(ctx context.Context, keys *wallet.ClaimKeys, dateOfBirth string) (protocol.Handle, error) {
	var out api.ClaimOpened
	if err := c.json(ctx, nil, http.MethodPost, api.PathClaimOpen, api.ClaimOpen{Lookup: keys.Lookup[:], DateOfBirth: dateOfBirth}, &out); err != nil {
		return protocol.Handle{}, err
	}
	h, err := keys.Open(out.Sealed)
	if err == nil && h.Journal != out.Journal {
		err = fmt.Errorf("%w: the package is of another journal", ErrAnswer)
	}
	return h, err
}

// Claim makes a wallet's keys the journal's, for good. The wallet must have been saved with the journal before: once the ledger has taken
// the claim, nobody else has the handle.
func (c *Client) Claim(ctx context.Context, keys *wallet.ClaimKeys, dateOfBirth string, k *wallet.JournalKeys) error {
	controller, recipient := k.Signing.Public(), k.Identity.Recipient()
	proof := keys.Key.Sign(protocol.ClaimMessage(c.Network.Chain, k.Journal, controller, recipient))
	var s api.Sponsorship
	err := c.json(ctx, nil, http.MethodPost, api.PathClaimAgree, api.ClaimAgree{Lookup: keys.Lookup[:], DateOfBirth: dateOfBirth, Code: keys.Key.Public(),
		CodeProof: proof, Controller: controller, Recipient: recipient[:]}, &s)
	if err != nil {
		return err
	}
	_, err = c.Do(ctx, Patient(k), k.Journal, &protocol.ClaimJournal{Code: keys.Key.Public(), CodeProof: proof, Recipient: recipient, Agreement: s.Agreement})
	return err
}

// Control asks who controls a journal. A guardian is told once the policy was revealed.
func (c *Client) Control(ctx context.Context, by Identity, id protocol.JournalID) (out api.Control, err error) {
	return out, c.get(ctx, by, path(api.PathControl, id.String()), &out)
}

// SetGuardians commits the journal to the guardians of a policy; nil: to none.
func (c *Client) SetGuardians(ctx context.Context, k *wallet.JournalKeys, policy *protocol.GuardianPolicy) error {
	a := &protocol.SetGuardians{}
	if policy != nil {
		a.Guardians = protocol.GuardianCommitment(c.Network.Chain, k.Journal, protocol.Encode(*policy))
	}
	_, err := c.Do(ctx, Patient(k), k.Journal, a)
	return err
}

// ProposeRecovery asks a journal's guardians to give it the successor's keys; it is this guardian's approval.
func (c *Client) ProposeRecovery(ctx context.Context, g *wallet.Guardian, s wallet.Successor) (protocol.RecoveryID, error) {
	r, err := c.Do(ctx, Guardian(g), g.Kit.Handle.Journal, &protocol.ProposeRecovery{Policy: g.Kit.Policy, Controller: s.Controller,
		Recipient: s.Recipient, Proof: s.Proof})
	return protocol.DerivedRecoveryID(r.ID, 0), err
}

// ApproveRecovery is another guardian's approval.
func (c *Client) ApproveRecovery(ctx context.Context, g *wallet.Guardian, id protocol.RecoveryID) error {
	_, err := c.Do(ctx, Guardian(g), g.Kit.Handle.Journal, &protocol.ApproveRecovery{Recovery: id})
	return err
}

// VetoRecovery ends a recovery before the journal changes hands; the controller may, and every device.
func (c *Client) VetoRecovery(ctx context.Context, k *wallet.JournalKeys, id protocol.RecoveryID) error {
	_, err := c.Do(ctx, Patient(k), k.Journal, &protocol.VetoRecovery{Recovery: id})
	return err
}

// AddDevice lets a device sign for the journal.
func (c *Client) AddDevice(ctx context.Context, k *wallet.JournalKeys, o wallet.DeviceOffer) error {
	_, err := c.Do(ctx, Patient(k), k.Journal, &protocol.AddDevice{Key: o.Key, Name: o.Commitment(), Proof: o.Proof})
	return err
}

// RevokeDevice cuts a device off at once.
func (c *Client) RevokeDevice(ctx context.Context, k *wallet.JournalKeys, device protocol.PublicKey) error {
	_, err := c.Do(ctx, Patient(k), k.Journal, &protocol.RevokeDevice{Key: device})
	return err
}

// Rotate replaces the journal's keys by those of the next key epoch.
func (c *Client) Rotate(ctx context.Context, k, next *wallet.JournalKeys) error {
	s := next.Successor(c.Network.Chain)
	_, err := c.Do(ctx, Patient(k), k.Journal, &protocol.RotateController{Controller: s.Controller, Recipient: s.Recipient, Proof: s.Proof})
	return err
}

// epochsTried is how many key epochs are tried to find the one that the ledger knows.
const epochsTried = 8

// FindKeys finds the keys with which the wallet controls a journal: those of its key epoch or, after a restore from words or a rotation
// that was interrupted, of another. found is false if the ledger knows none of them.
func (c *Client) FindKeys(ctx context.Context, w *wallet.Wallet, id protocol.JournalID) (k *wallet.JournalKeys, row api.Journal, found bool, err error) {
	current, err := w.Keys(id)
	if err != nil {
		return nil, row, false, err
	}
	epochs := []*wallet.JournalKeys{current}
	for e := range uint8(epochsTried) {
		k, err := w.KeysAt(id, e)
		if err != nil {
			return nil, row, false, err
		}
		epochs = append(epochs, k)
	}
	for i, k := range epochs {
		row, err = c.Journal(ctx, Patient(k), id)
		var p *api.Problem
		switch {
		case err == nil:
			if i > 0 {
				err = w.SetKeyEpoch(id, uint8(i-1))
			}
			return k, row, true, err
		case !errors.As(err, &p) || p.Status != http.StatusUnauthorized && p.Status != http.StatusNotFound:
			return nil, row, false, err
		}
	}
	return current, api.Journal{}, false, nil
}

// openSealedToOthers opens what the wallet's identities do not, having been sealed before a claim or a recovery, or for a device always:
// through the custodians, which is an entry in the journal. It fills out and errs at those records' places.
func (c *Client) openSealedToOthers(ctx context.Context, k *wallet.JournalKeys, rows []api.Record, out []*wallet.Record, errs []error) {
	var at []int
	for i, err := range errs {
		if errors.Is(err, wallet.ErrRecipient) {
			at = append(at, i)
		}
	}
	for part := range slices.Chunk(at, protocol.RecordsRequestMax) {
		var ids []protocol.RecordID
		for _, i := range part {
			ids = append(ids, rows[i].ID)
		}
		opened, broken, err := c.readOwn(ctx, k, ids)
		for _, i := range part {
			out[i], errs[i] = opened[rows[i].ID], cmp.Or(err, broken[rows[i].ID])
			err := errs[i]
			if err == nil && out[i] == nil {
				errs[i] = fmt.Errorf("%w: record %s did not come", ErrAnswer, rows[i].ID)
			}
		}
	}
}

func (c *Client) readOwn(ctx context.Context, k *wallet.JournalKeys, ids []protocol.RecordID) (opened map[protocol.RecordID]*wallet.Record, broken map[protocol.RecordID]error, err error) {
	a, err := c.RequestAccess(ctx, Patient(k), k.Journal, protocol.PurposePatientRequest, nil, ids)
	if err != nil {
		return nil, nil, err
	}
	read, err := c.Read(ctx, a)
	opened, broken = map[protocol.RecordID]*wallet.Record{}, map[protocol.RecordID]error{}
	for _, r := range read.Records { // statements about what was asked for come along
		opened[r.Manifest.Record] = r
	}
	for _, b := range read.Broken {
		broken[b.Record] = b.Err
	}
	return opened, broken, err
}
