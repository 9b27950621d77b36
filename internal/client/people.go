package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// BreakGlass asks to read without the patient being asked, in an emergency: the reason is sealed to the patient and to the reviewers of
// member, the reader's own, kept in the vaults, and named on the ledger. What is permitted is read with Read, as any access. reviewers
// says to how many of them the reason was sealed. A refusal is *Refused.
func (c *Client) BreakGlass(ctx context.Context, by Identity, member protocol.MemberID, q Emergency) (a *Access, reviewers int, err error) {
	var about api.Journal
	var staff []api.Practitioner
	var wait sync.WaitGroup
	var noJournal, noStaff error
	wait.Go(func() { noJournal = c.get(ctx, by, path(api.PathJournal, q.Journal.String()), &about) })
	wait.Go(func() { staff, noStaff = c.Reviewers(ctx, by, member) })
	wait.Wait()
	if err := errors.Join(noJournal, noStaff); err != nil {
		return nil, 0, err
	}
	if len(about.Recipient) != 32 {
		return nil, 0, fmt.Errorf("%w: a recipient of %d bytes", ErrAnswer, len(about.Recipient))
	}
	var keys []protocol.PublicKey
	for _, p := range staff {
		if [16]byte(p.ID) != by.Signer().ID { // nobody reviews oneself
			keys = append(keys, p.Key)
		}
	}
	sealed, err := wallet.SealReason(q.Reason, wallet.Recipient(about.Recipient), keys)
	if err != nil {
		return nil, 0, err
	}
	if err := c.putReason(ctx, by, sealed); err != nil {
		return nil, 0, err
	}
	a, err = c.requestAccess(ctx, by, q.Journal, protocol.RequestAccess{Purpose: q.Purpose, Labels: sorted(q.Labels), Records: sorted(q.Records), Reason: sealed.Hash})
	return a, len(keys), err
}

// Emergency is what somebody asks who breaks the glass.
type Emergency struct {
	Journal protocol.JournalID
	Purpose protocol.Purpose // BTG, or ETREAT
	Labels  []protocol.Label // or Records
	Records []protocol.RecordID
	Reason  string // for the patient and the reviewers; the ledger holds the hash of its sealed form alone
}

func (c *Client) putReason(ctx context.Context, by Identity, r wallet.ReasonFile) error {
	res, err := c.request(ctx, by, http.MethodPut, path(api.PathFile, r.Hash.String()), "application/octet-stream", bytes.NewReader(r.File), int64(len(r.File)))
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Reviewers lists to whom at a member reasons are sealed.
func (c *Client) Reviewers(ctx context.Context, by Identity, member protocol.MemberID) (out []api.Practitioner, err error) {
	return out, c.get(ctx, by, path(api.PathReviewers, member.String()), &out)
}

// Sessions lists a journal's break-glass sessions: all of them for the patient, its own for a practitioner.
func (c *Client) Sessions(ctx context.Context, by Identity, journal protocol.JournalID) (out []api.BreakGlassSession, err error) {
	return out, c.get(ctx, by, path(api.PathSessions, journal.String()), &out)
}

// Unreviewed lists a member's sessions that wait for a review, for its administrators.
func (c *Client) Unreviewed(ctx context.Context, by Identity, member protocol.MemberID) (out []api.BreakGlassSession, err error) {
	return out, c.get(ctx, by, path(api.PathUnreviewed, member.String()), &out)
}

// SealedReason fetches a sealed reason; wallet.OpenReason opens it.
func (c *Client) SealedReason(ctx context.Context, by Identity, hash protocol.Hash) ([]byte, error) {
	return c.bytes(ctx, by, path(api.PathReason, hash.String()), protocol.ReasonFileBytes)
}

// Review says what an administrator thinks of a session.
func (c *Client) Review(ctx context.Context, by Identity, s api.BreakGlassSession, verdict protocol.Verdict, note protocol.Hash) error {
	_, err := c.Do(ctx, by, s.Journal, &protocol.ReviewBreakGlass{Practitioner: s.Practitioner, Session: s.ID, Verdict: verdict, Note: note})
	return err
}

// SetCard makes a new emergency card for a journal, which replaces the one before. The code is for the card, and for nothing else.
func (c *Client) SetCard(ctx context.Context, patient Identity, h protocol.Handle) (wallet.Code, error) {
	code := wallet.NewCode()
	_, err := c.Do(ctx, patient, h.Journal, code.SealCard(c.Network.Chain, h))
	return code, err
}

// RevokeCard leaves a journal without a card.
func (c *Client) RevokeCard(ctx context.Context, patient Identity, journal protocol.JournalID) error {
	_, err := c.Do(ctx, patient, journal, &protocol.SetCard{})
	return err
}

// FindCard finds the handle behind a card's code, for those who help in an emergency.
func (c *Client) FindCard(ctx context.Context, by Identity, code wallet.Code) (protocol.Handle, error) {
	var card api.Card
	if err := c.get(ctx, by, path(api.PathCard, code.CardID(c.Network.Chain).String()), &card); err != nil {
		return protocol.Handle{}, err
	}
	return code.OpenCard(c.Network.Chain, card.Sealed)
}

// Delegate lets somebody stand in for the patient; key and proof are from wallet.ParseOffer.
func (c *Client) Delegate(ctx context.Context, by Identity, journal protocol.JournalID, d protocol.Delegate) error {
	d.Labels = sorted(d.Labels)
	_, err := c.Do(ctx, by, journal, &d)
	return err
}

// EndDelegation ends a delegation, and everything that stands on it.
func (c *Client) EndDelegation(ctx context.Context, by Identity, journal protocol.JournalID, key protocol.PublicKey) error {
	_, err := c.Do(ctx, by, journal, &protocol.EndDelegation{Key: key})
	return err
}

// Delegations lists a journal's delegations, for the patient; a delegate sees itself and whom it delegated to.
func (c *Client) Delegations(ctx context.Context, by Identity, journal protocol.JournalID) (out []api.Delegation, err error) {
	return out, c.get(ctx, by, path(api.PathDelegations, journal.String()), &out)
}
