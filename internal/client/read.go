package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Access is a permitted access in the hands of its reader.
type Access struct {
	Decision api.AccessDecision
	OneTime  *wallet.OneTimeKey
	Reader   Identity
	Journal  protocol.JournalID
}

// Refused is a reading that a contract refused: it is logged, and the patient sees it.
type Refused struct {
	Decision api.AccessDecision
	Entry    uint64 // index of the refusal in the log
}

func (r *Refused) Error() string {
	return fmt.Sprintf("refused (%s): %s", r.Decision.Reason, r.Decision.Reason.Advice())
}

// RequestAccess asks to read labels or records of a journal. A refusal is *Refused.
func (c *Client) RequestAccess(ctx context.Context, by Identity, journal protocol.JournalID, purpose protocol.Purpose, labels []protocol.Label, records []protocol.RecordID) (*Access, error) {
	return c.requestAccess(ctx, by, journal, protocol.RequestAccess{Labels: sorted(labels), Records: sorted(records), Purpose: purpose})
}

func (c *Client) requestAccess(ctx context.Context, by Identity, journal protocol.JournalID, a protocol.RequestAccess) (*Access, error) {
	key, err := wallet.NewOneTimeKey()
	if err != nil {
		return nil, err
	}
	a.OneTime, a.OneTimeKEM = key.Public(), key.KEM()
	r, err := c.Do(ctx, by, journal, &a)
	if err != nil {
		return nil, err
	}
	if r.Access == nil {
		return nil, fmt.Errorf("%w: no decision in the result", ErrAnswer)
	}
	if !r.Access.Permitted {
		return nil, &Refused{Decision: *r.Access, Entry: r.First}
	}
	return &Access{Decision: *r.Access, OneTime: key, Reader: by, Journal: journal}, nil
}

func sorted[T ~[16]byte](ids []T) []T {
	out := slices.Clone(ids)
	slices.SortFunc(out, func(a, b T) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(out)
}

// ErrTooFewShares says that fewer custodians than the threshold gave their share.
var ErrTooFewShares = errors.New("too few custodians gave their share")

// Read opens what an access permits: files and shares are fetched, shares combined, and every record checked against the ledger's entry.
// A custodian that answers falsely is found out, and the others are used; liars says who, with evidence.
func (c *Client) Read(ctx context.Context, a *Access) (records []*wallet.Record, liars []Liar, err error) {
	var view api.Access
	if err := c.get(ctx, a.Reader, path(api.PathAccess, a.Decision.ID.String()), &view); err != nil {
		return nil, nil, err
	}
	files, err := c.files(ctx, a, view.Records)
	if err != nil {
		return nil, nil, err
	}
	keys := make([]age16, len(files))
	for _, group := range byGeneration(view.Records) {
		found, more, err := c.fileKeys(ctx, a, view.Records, files, group)
		liars = append(liars, more...)
		if err != nil {
			return nil, liars, err
		}
		for i, at := range group {
			keys[at] = found[i]
		}
	}
	openings := make([]wallet.Opening, len(files))
	for i, f := range files {
		openings[i] = wallet.Opening{File: f, Who: wallet.FileKey(keys[i]), Entry: c.entryOf(view.Records[i])}
	}
	for i, o := range wallet.OpenAll(ctx, openings) {
		if o.Err != nil {
			return nil, liars, fmt.Errorf("record %s: %w", view.Records[i].ID, o.Err)
		}
		records = append(records, o.Record)
	}
	return records, liars, nil
}

type age16 = [wallet.FileKeyBytes]byte

// files downloads the records' encrypted files.
func (c *Client) files(ctx context.Context, a *Access, records []api.Record) ([][]byte, error) {
	out := make([][]byte, len(records))
	errs := make([]error, len(records))
	var wait sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i, r := range records {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			uri := path(api.PathFile, r.Ciphertext.String()) + "?access=" + a.Decision.ID.String()
			out[i], errs[i] = c.bytes(ctx, a.Reader, uri, protocol.RecordFileBytesMax)
		})
	}
	wait.Wait()
	return out, errors.Join(errs...)
}

// byGeneration groups the records' positions by the generation of the key they are sealed to.
func byGeneration(records []api.Record) (groups [][]int) {
	var order []uint32
	at := map[uint32][]int{}
	for i, r := range records {
		if at[r.Generation] == nil {
			order = append(order, r.Generation)
		}
		at[r.Generation] = append(at[r.Generation], i)
	}
	for _, g := range order {
		groups = slices.AppendSeq(groups, slices.Chunk(at[g], custodian.CapsulesRequestMax))
	}
	return groups
}

// fileKeys gets the custodians' shares for the records at the given positions, all of one generation, and combines them.
func (c *Client) fileKeys(ctx context.Context, a *Access, records []api.Record, files [][]byte, at []int) ([]age16, []Liar, error) {
	keys, err := c.keysOf(ctx, records[at[0]].Generation)
	if err != nil {
		return nil, nil, err
	}
	req := api.ShareRequest{Generation: keys.Generation}
	capsules := make([]*threshold.Capsule, len(at))
	for i, n := range at {
		if capsules[i], err = wallet.CapsuleOf(files[n]); err != nil {
			return nil, nil, fmt.Errorf("record %s: %w", records[n].ID, err)
		}
		req.Records, req.Capsules = append(req.Records, records[n].ID), append(req.Capsules, capsules[i].Bytes())
	}
	answers, err := c.shares(ctx, a, keys, req, capsules)
	if err != nil {
		return nil, nil, err
	}
	secrets, err := threshold.Combine(keys.T, capsules, partialsOf(answers[:min(keys.T, len(answers))]))
	var liars []Liar
	var wrong *threshold.WrongSharesError
	if errors.As(err, &wrong) {
		req.All = true
		if answers, err = c.shares(ctx, a, keys, req, capsules); err != nil {
			return nil, nil, err
		}
		if answers, liars = c.sortOut(a, keys, capsules, answers); len(answers) < keys.T {
			return nil, liars, fmt.Errorf("%w: %d honest ones of %d needed", ErrTooFewShares, len(answers), keys.T)
		}
		secrets, err = threshold.Combine(keys.T, capsules, partialsOf(answers[:keys.T]))
	}
	if err != nil {
		return nil, liars, err
	}
	out := make([]age16, len(secrets))
	for i, s := range secrets {
		if len(s) != len(out[i]) {
			return nil, liars, fmt.Errorf("%w: a file key of %d bytes", ErrAnswer, len(s))
		}
		copy(out[i][:], s)
	}
	return out, liars, nil
}

// answer is a custodian's opened answer, whose signature holds.
type answer struct {
	partials  *threshold.Partials
	raw       []byte
	signature []byte
}

func partialsOf(answers []answer) []*threshold.Partials {
	out := make([]*threshold.Partials, len(answers))
	for i, a := range answers {
		out[i] = a.partials
	}
	return out
}

// shares asks for the custodians' answers and opens those that came. Answers that do not open, are not signed by their custodian or are for
// something else count as not given.
func (c *Client) shares(ctx context.Context, a *Access, keys *threshold.Keys, req api.ShareRequest, capsules []*threshold.Capsule) ([]answer, error) {
	var got api.Shares
	if err := c.json(ctx, a.Reader, http.MethodPost, path(api.PathShares, a.Decision.ID.String()), req, &got); err != nil {
		return nil, err
	}
	var out []answer
	var refusals []error
	seen := map[uint16]bool{}
	for _, s := range got.Answers {
		if s.Sealed == nil {
			refusals = append(refusals, refusal(s))
			continue
		}
		if opened, ok := c.open(a, keys, s, capsules); ok && !seen[s.Custodian] {
			seen[s.Custodian] = true
			out = append(out, opened)
		}
	}
	if len(out) < keys.T && !req.All && len(refusals) <= keys.N-keys.T {
		req.All = true // the gateway cannot see into the answers: some were unusable, or it gave up early
		return c.shares(ctx, a, keys, req, capsules)
	}
	if len(out) < keys.T {
		return nil, errors.Join(append([]error{fmt.Errorf("%w: %d of %d needed", ErrTooFewShares, len(out), keys.T)}, refusals...)...)
	}
	return out, nil
}

func refusal(s api.Share) error {
	err := fmt.Errorf("custodian %d: %s", s.Custodian, s.Detail)
	if s.Reason != protocol.Accepted {
		return fmt.Errorf("%w: %w", err, &protocol.Rejection{Reason: s.Reason})
	}
	return err
}

func (c *Client) open(a *Access, keys *threshold.Keys, s api.Share, capsules []*threshold.Capsule) (answer, bool) {
	m, ok := nodeOf(c.Genesis, s.Custodian)
	if !ok {
		return answer{}, false
	}
	plain, err := a.OneTime.OpenShare(wallet.ShareInfo{Chain: c.Network.Chain, Access: a.Decision.ID, Custodian: m.ID(), Generation: keys.Generation,
		Epoch: keys.Epoch}, s.Sealed)
	if err != nil || len(plain) < ed25519.SignatureSize {
		return answer{}, false
	}
	cut := len(plain) - ed25519.SignatureSize
	raw, signature := plain[:cut], plain[cut:]
	message := custodian.AnswerMessage(c.Network.Chain, a.Decision.ID, a.OneTime.Public(), capsules, raw)
	partials, err := threshold.ParsePartials(raw)
	if err != nil || partials.Index != int(s.Custodian) || !protocol.VerifySignature(m.Node.Peer, message, signature) {
		return answer{}, false
	}
	return answer{partials: partials, raw: raw, signature: signature}, true
}

// sortOut checks the proofs of all answers and parts the honest from the liars.
func (c *Client) sortOut(a *Access, keys *threshold.Keys, capsules []*threshold.Capsule, answers []answer) (honest []answer, liars []Liar) {
	oneTime := a.OneTime.Public()
	binding := threshold.Binding{Chain: c.Network.Chain, Access: a.Decision.ID, OneTimeKey: oneTime[:]}
	lying := threshold.FindLiars(keys, capsules, binding, partialsOf(answers))
	for _, x := range answers {
		if !slices.Contains(lying, x.partials.Index) {
			honest = append(honest, x)
			continue
		}
		l := Liar{Custodian: uint16(x.partials.Index), Access: a.Decision.ID, OneTime: oneTime[:], Partials: x.raw, Signature: x.signature}
		for _, k := range capsules {
			l.Capsules = append(l.Capsules, k.Bytes())
		}
		liars = append(liars, l)
	}
	return honest, liars
}

// keysOf is a generation's keys: today there is one active generation at a time.
func (c *Client) keysOf(ctx context.Context, generation uint32) (*threshold.Keys, error) {
	if c.keys == nil || c.keys.Generation != generation {
		if err := c.refresh(ctx); err != nil {
			return nil, err
		}
	}
	if c.keys == nil || c.keys.Generation != generation {
		return nil, fmt.Errorf("%w: no key of generation %d", ErrAnswer, generation)
	}
	return c.keys, nil
}

// entryOf is what the gateway says the ledger says of a record, for wallet.Open. A reader trusts the network's gateway for this, and no
// further: the file must match it in every respect. A patient who trusts nobody checks the journal's proof (internal/proof).
func (c *Client) entryOf(r api.Record) wallet.Entry {
	e := wallet.Entry{Chain: c.Network.Chain, Journal: r.Journal, Author: authorOf(r),
		Action: protocol.AddRecord{Record: r.ID, Label: r.Label, Ciphertext: r.Ciphertext, Size: r.Size, Capsule: r.Capsule,
			Generation: r.Generation, Manifest: r.Manifest, Root: r.Root, Relation: r.Relation}}
	if r.About != nil {
		e.Action.About = *r.About
	}
	return e
}

// authorOf is who signed a record's entry. What has no member is the patient's own, or a delegate's, and nobody else's.
func authorOf(r api.Record) protocol.Signer {
	switch {
	case r.Member.IsZero() && r.AuthorKind == protocol.ActorDelegate:
		return protocol.DelegateSigner(r.Journal, r.AuthorKey)
	case r.Member.IsZero():
		return protocol.PatientSigner(r.Journal, r.AuthorKey)
	case !r.Practitioner.IsZero():
		return protocol.PractitionerSigner(r.Practitioner, r.AuthorKey)
	}
	return protocol.MemberSigner(r.Member, r.AuthorKey)
}

// OpenRecords opens all of a patient's own records that are not erased, with the journal's identity.
func (c *Client) OpenRecords(ctx context.Context, k *wallet.JournalKeys, progress func(done, total int)) ([]*wallet.Record, error) {
	rows, err := c.Records(ctx, k)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r api.Record) bool { return r.Erased != 0 })
	out, errs := c.Open(ctx, k, rows, progress)
	return out, errors.Join(errs...)
}

func (c *Client) openOwn(ctx context.Context, k *wallet.JournalKeys, r api.Record) (*wallet.Record, error) {
	file, err := c.File(ctx, k, r.Ciphertext)
	if err != nil {
		return nil, err
	}
	for _, id := range k.Identities() {
		var out *wallet.Record
		if out, err = wallet.Open(file, id, c.entryOf(r)); !errors.Is(err, wallet.ErrRecipient) {
			return out, err
		}
	}
	return nil, err
}

// File gets a file of the patient's own journal.
func (c *Client) File(ctx context.Context, k *wallet.JournalKeys, hash protocol.Hash) ([]byte, error) {
	return c.bytes(ctx, Patient(k), path(api.PathFile, hash.String())+"?journal="+k.Journal.String(), protocol.RecordFileBytesMax)
}

// Records lists a patient's records as the ledger has them.
func (c *Client) Records(ctx context.Context, k *wallet.JournalKeys) (out []api.Record, err error) {
	return out, c.get(ctx, Patient(k), path(api.PathRecords, k.Journal.String()), &out)
}

// Contracts lists a patient's contracts.
func (c *Client) Contracts(ctx context.Context, k *wallet.JournalKeys) (out []api.Contract, err error) {
	return out, c.get(ctx, Patient(k), path(api.PathContracts, k.Journal.String()), &out)
}

// Proof gets everything that proves a journal complete.
func (c *Client) Proof(ctx context.Context, k *wallet.JournalKeys) (*api.JournalProof, error) {
	var p api.JournalProof
	return &p, c.get(ctx, Patient(k), path(api.PathProof, k.Journal.String()), &p)
}

// Receipt gets the receipt of an entry (C2SP tlog-proof).
func (c *Client) Receipt(ctx context.Context, by Identity, index uint64) ([]byte, error) {
	return c.bytes(ctx, by, path(api.PathReceipt, fmt.Sprint(index)), 64<<10)
}

// Accesses lists the reader's accesses that are still served.
func (c *Client) Accesses(ctx context.Context, by Identity) (out []api.Access, err error) {
	return out, c.get(ctx, by, api.PathAccesses, &out)
}
