package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// OpenJournal opens a journal on the ledger, sponsored by the gateway's member.
func (c *Client) OpenJournal(ctx context.Context, k *wallet.JournalKeys) error {
	var s api.Sponsorship
	ask := api.Sponsor{Journal: k.Journal, Controller: k.Signing.Public()}
	if err := c.json(ctx, Patient(k), http.MethodPost, api.PathSponsor, ask, &s); err != nil {
		return err
	}
	_, err := c.Do(ctx, Patient(k), k.Journal, &protocol.OpenJournal{Recipient: k.Identity.Recipient(), LabelEpoch: k.Handle().Epoch,
		Sponsor: s.Sponsor, Agreement: s.Agreement})
	return err
}

// RegisterPractitioner states a practitioner of the signing member, and leaves the name with the gateway, which must be that member's.
func (c *Client) RegisterPractitioner(ctx context.Context, member Identity, id protocol.PractitionerID, key protocol.PublicKey, role protocol.Role, validUntil uint64, name, speciality string) error {
	row := api.Practitioner{ID: id, Key: key, Role: role, ValidUntil: validUntil}
	return c.SetPractitioner(ctx, member, row, protocol.PractitionerActive, &api.PractitionerName{Name: name, Speciality: speciality})
}

// SetPractitioner states a practitioner of the signing member anew: row's role, key and end, with a standing. If name is not nil it is
// committed to under a fresh salt and left with the gateway, which must be the member's; else the commitment stays row's.
func (c *Client) SetPractitioner(ctx context.Context, member Identity, row api.Practitioner, status protocol.PractitionerStatus, name *api.PractitionerName) error {
	a := &protocol.SetPractitioner{Practitioner: row.ID, Key: row.Key, Role: row.Role, Status: status, ValidUntil: row.ValidUntil, Commitment: row.Commitment}
	var n api.PractitionerName
	if name != nil {
		n = *name
		n.Salt = make([]byte, 16)
		_, _ = rand.Read(n.Salt)
		a.Commitment = n.Commitment()
	}
	if _, err := c.Do(ctx, member, protocol.JournalID{}, a); err != nil || name == nil {
		return err
	}
	id := row.ID
	return c.json(ctx, member, http.MethodPut, path(api.PathPractitioner, id.String()), n, nil)
}

// Grant makes a contract of canonical Cedar.
func (c *Client) Grant(ctx context.Context, k *wallet.JournalKeys, g protocol.Grant) (protocol.ContractID, error) {
	r, err := c.Do(ctx, Patient(k), k.Journal, &g)
	return protocol.DerivedContractID(r.ID, 0), err
}

// GrantTemplate makes a contract from a template, for window ms from now (0: the template's own).
func (c *Client) GrantTemplate(ctx context.Context, k *wallet.JournalKeys, name string, p consent.Params, window uint64) (protocol.ContractID, error) {
	policy, t, err := consent.Render(name, p)
	if err != nil {
		return protocol.ContractID{}, err
	}
	if window == 0 {
		window = t.WindowMillis
	}
	return c.Grant(ctx, k, protocol.Grant{Template: t.Number, Policy: policy, NotAfter: now() + window, UsesMax: t.UsesMax})
}

// Revoke ends a contract at once.
func (c *Client) Revoke(ctx context.Context, k *wallet.JournalKeys, id protocol.ContractID) error {
	_, err := c.Do(ctx, Patient(k), k.Journal, &protocol.Revoke{Contract: id})
	return err
}

// Journal asks about a journal.
func (c *Client) Journal(ctx context.Context, by Identity, id protocol.JournalID) (out api.Journal, err error) {
	return out, c.get(ctx, by, path(api.PathJournal, id.String()), &out)
}

// sealingAgeMax is how old the checkpoint may be on which an author relies; clocks may differ by minutes.
const sealingAgeMax = 10 * time.Minute

// SealedTo asks whom a journal's records are to be sealed to, and holds the answer against the trust policy: a gateway that gave keys of its
// own could read what is written through it. The error wraps proof.ErrSealing if it is not proven.
func (c *Client) SealedTo(ctx context.Context, by Identity, in protocol.JournalID) (proof.SealedTo, error) {
	var s api.Sealing
	if err := c.get(ctx, by, path(api.PathSealing, in.String()), &s); err != nil {
		return proof.SealedTo{}, err
	}
	return proof.CheckSealing(&s, c.Network.Chain, in, proof.Options{Policy: c.policy, Now: now(), MaxAge: sealingAgeMax})
}

// Written is a record that is on the ledger.
type Written struct {
	Record    protocol.RecordID `json:"record"`
	Class     fhir.Class        `json:"class"`
	Source    string            `json:"source"`
	Resources int               `json:"resources"`
	Bytes     int               `json:"bytes"` // of the encrypted file
	Entry     uint64            `json:"entry"` // index in the log
	Group     *fhir.Group       `json:"-"`
}

// Failed is a group that could not be written, and why; its resources are not on the ledger.
type Failed struct {
	Class     fhir.Class  `json:"class"`
	Source    string      `json:"source"`
	Resources int         `json:"resources"`
	Reason    string      `json:"reason"`
	Err       error       `json:"-"`
	Group     *fhir.Group `json:"-"`
}

// recordsEnvelope is how many records of one journal share an envelope: all of them are entered, or none.
const recordsEnvelope = 16

// WriteRecords seals groups as records of one journal, uploads them and enters them on the ledger. author signs; the journal is named by its
// handle. progress hears of resources as they are done. Groups that fail are reported, and the rest goes on; the error is for what makes
// going on pointless.
func (c *Client) WriteRecords(ctx context.Context, author Identity, h protocol.Handle, groups []fhir.Group, progress func(resources int)) ([]Written, []Failed, error) {
	w, err := c.writerInto(ctx, author, h)
	if err != nil {
		return nil, nil, err
	}
	w.progress = progress
	return w.run(ctx, groups)
}

// writer is one call of WriteRecords.
type writer struct {
	c          *Client
	author     Identity
	handle     protocol.Handle
	recipient  wallet.Recipient
	custodians *threshold.PublicKey
	progress   func(int)

	mu     sync.Mutex // guards what follows
	out    []Written
	failed []Failed
}

// uploaded is a record whose file is in the vaults.
type uploaded struct {
	group  *fhir.Group
	action protocol.AddRecord
}

func (w *writer) run(ctx context.Context, groups []fhir.Group) ([]Written, []Failed, error) {
	todo := make(chan *fhir.Group)
	done := make(chan uploaded, recordsEnvelope)
	var sealers, submitters sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		sealers.Go(func() {
			for g := range todo {
				a, err := w.upload(ctx, g)
				if err != nil {
					w.fail(g, err)
					continue
				}
				done <- uploaded{g, a}
			}
		})
	}
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		var batch []uploaded
		flush := func() {
			if len(batch) == 0 {
				return
			}
			b := batch
			batch = nil
			submitters.Go(func() { w.submit(ctx, b) })
		}
		for u := range done {
			if batch = append(batch, u); len(batch) == recordsEnvelope {
				flush()
			}
		}
		flush()
	}()
	for i := range groups {
		todo <- &groups[i]
	}
	close(todo)
	sealers.Wait()
	close(done)
	<-collected
	submitters.Wait()
	return w.out, w.failed, ctx.Err()
}

func (w *writer) upload(ctx context.Context, g *fhir.Group) (protocol.AddRecord, error) {
	resources := make([][]byte, len(g.Resources))
	for i, r := range g.Resources {
		resources[i] = r.Raw
	}
	sealed, err := wallet.Seal(wallet.SealInput{Chain: w.c.Network.Chain, Handle: w.handle, Recipient: w.recipient, Custodians: w.custodians,
		Class: string(g.Class), Source: wallet.NewSource(g.Source.ID, g.Source.Name), Recorded: now(), Author: w.author.Signer(), Resources: resources}, w.author.Sign)
	if err != nil {
		return protocol.AddRecord{}, err
	}
	if w.author.Signer().Kind.ForPatient() && sealed.Action.Size > protocol.OwnRecordBytesMax {
		return protocol.AddRecord{}, &protocol.Rejection{Reason: protocol.OwnRecordTooLarge}
	}
	uri := path(api.PathFile, sealed.Action.Ciphertext.String())
	res, err := w.c.request(ctx, w.author, http.MethodPut, uri, "application/octet-stream", bytes.NewReader(sealed.File), int64(len(sealed.File)))
	if err != nil {
		return protocol.AddRecord{}, err
	}
	return sealed.Action, res.Body.Close()
}

// submit enters uploaded records; if an envelope is rejected, its records are tried one by one, so that one bad record spoils no other.
func (w *writer) submit(ctx context.Context, batch []uploaded) {
	actions := make([]protocol.Action, len(batch))
	for i := range batch {
		actions[i] = &batch[i].action
	}
	r, err := w.c.Do(ctx, w.author, w.handle.Journal, actions...)
	var rejected *protocol.Rejection
	if errors.As(err, &rejected) && len(batch) > 1 && rejected.Reason != protocol.NotPermitted {
		for i := range batch {
			w.submit(ctx, batch[i:i+1])
		}
		return
	}
	for i, u := range batch {
		if err != nil {
			w.fail(u.group, err)
			continue
		}
		w.mu.Lock()
		w.out = append(w.out, Written{Record: u.action.Record, Class: u.group.Class, Source: u.group.Source.Name, Resources: len(u.group.Resources),
			Bytes: int(u.action.Size), Entry: r.First + uint64(i), Group: u.group})
		w.mu.Unlock()
		w.tell(u.group)
	}
}

func (w *writer) fail(g *fhir.Group, err error) {
	w.mu.Lock()
	w.failed = append(w.failed, Failed{Class: g.Class, Source: g.Source.Name, Resources: len(g.Resources), Reason: err.Error(), Err: err, Group: g})
	w.mu.Unlock()
	w.tell(g)
}

func (w *writer) tell(g *fhir.Group) {
	if w.progress != nil {
		w.progress(len(g.Resources))
	}
}
