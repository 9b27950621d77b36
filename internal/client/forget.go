package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Errors of forgetting and amending.
var (
	// ErrNoSuchRecord says that the journal has no such record, or that it was erased.
	ErrNoSuchRecord = errors.New("the journal has no such record, or it was erased")
	// ErrNoClass says that a record's label is of no class that this program knows.
	ErrNoClass = errors.New("the record's class is not known to this program")
	// ErrStatement says that a statement is empty or too long.
	ErrStatement = errors.New("a statement has from 1 to 8192 bytes of UTF-8 text")
)

// StatementTextBytesMax bounds a statement's text.
const StatementTextBytesMax = 8 << 10

// Erase has records, classes, a member's contributions or everything erased: exactly one of them. From the block of the action on nobody opens what
// it covers; the nodes then delete the files and say so: see Erasures.
func (c *Client) Erase(ctx context.Context, k *wallet.JournalKeys, what protocol.Erase) (protocol.ErasureID, error) {
	what.Records, what.Labels = sorted(what.Records), sorted(what.Labels)
	r, err := c.Do(ctx, Patient(k), k.Journal, &what)
	return protocol.DerivedErasureID(r.ID, 0), err
}

// Erasures lists what was erased of a journal, with the nodes that attest it.
func (c *Client) Erasures(ctx context.Context, k *wallet.JournalKeys) (out []api.Erasure, err error) {
	return out, c.get(ctx, Patient(k), path(api.PathErasures, k.Journal.String()), &out)
}

// Erased finds an erasure, or the erasure that a hold's end set going.
func (c *Client) Erased(ctx context.Context, k *wallet.JournalKeys, id protocol.ErasureID) (api.Erasure, bool, error) {
	all, err := c.Erasures(ctx, k)
	for _, e := range all {
		if e.ID == id {
			return e, true, nil
		}
	}
	return api.Erasure{}, false, err
}

// AwaitErased waits until at least nodes nodes (0: all that are expected) have attested an erasure.
func (c *Client) AwaitErased(ctx context.Context, k *wallet.JournalKeys, id protocol.ErasureID, nodes int) (api.Erasure, error) {
	for {
		e, ok, err := c.Erased(ctx, k, id)
		if err != nil {
			return e, err
		}
		want := nodes
		if want == 0 {
			want = int(e.Nodes)
		}
		if ok && e.Through && (e.Count == 0 || int(e.Attested) >= want) {
			return e, nil
		}
		select {
		case <-ctx.Done():
			return e, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// SetHold has a member's own records kept until a time although their patient has them erased; no records: all that it has in the journal.
func (c *Client) SetHold(ctx context.Context, member Identity, in protocol.JournalID, records []protocol.RecordID, until uint64, code protocol.HoldCode) (protocol.HoldID, error) {
	r, err := c.Do(ctx, member, in, &protocol.SetHold{Records: sorted(records), Until: until, Code: code})
	return protocol.DerivedHoldID(r.ID, 0), err
}

// LiftHold ends a member's hold before its time.
func (c *Client) LiftHold(ctx context.Context, member Identity, in protocol.JournalID, id protocol.HoldID) error {
	_, err := c.Do(ctx, member, in, &protocol.LiftHold{Hold: id})
	return err
}

// Holds lists the holds in a journal: all for the patient, a member's own for the member.
func (c *Client) Holds(ctx context.Context, by Identity, in protocol.JournalID) (out []api.Hold, err error) {
	return out, c.get(ctx, by, path(api.PathHolds, in.String()), &out)
}

// Amend enters a new version of a record by the same author, under the same class. It waits for the block.
func (c *Client) Amend(ctx context.Context, author Identity, h protocol.Handle, about protocol.RecordID, version fhir.Group) (protocol.RecordID, error) {
	w, err := c.writerInto(ctx, author, h)
	if err != nil {
		return protocol.RecordID{}, err
	}
	a, err := w.upload(ctx, &version)
	if err != nil {
		return protocol.RecordID{}, err
	}
	a.Relation, a.About = protocol.RelationSupersedes, about
	_, err = c.Do(ctx, author, h.Journal, &a)
	return a.Record, err
}

// Subject is the record that a statement is about, and who makes it: the patient, or a delegate who acts.
type Subject struct {
	By     Identity
	Handle protocol.Handle
	Record protocol.RecordID
	Class  fhir.Class // the record's
}

// OwnSubject finds the class of a record of the patient's journal.
func (c *Client) OwnSubject(ctx context.Context, k *wallet.JournalKeys, about protocol.RecordID) (Subject, error) {
	s := Subject{By: Patient(k), Handle: k.Handle(), Record: about}
	rows, err := c.Records(ctx, k)
	if err != nil {
		return s, err
	}
	for _, r := range rows {
		if r.ID != about || r.Erased != 0 {
			continue
		}
		if s.Class = ClassOf(s.Handle, r.Label); s.Class == "" {
			return s, ErrNoClass
		}
		return s, nil
	}
	return s, ErrNoSuchRecord
}

// Dispute enters a statement about a record: whoever opens the record from now on opens the statement with it.
func (c *Client) Dispute(ctx context.Context, about Subject, text string) (protocol.RecordID, error) {
	a, err := c.statement(ctx, about, text)
	if err != nil {
		return protocol.RecordID{}, err
	}
	_, err = c.Do(ctx, about.By, about.Handle.Journal, a)
	return a.Record, err
}

// RequestAmendment asks a record's author to amend it, with a statement of what is wrong.
func (c *Client) RequestAmendment(ctx context.Context, about Subject, text string) (statement protocol.RecordID, err error) {
	a, err := c.statement(ctx, about, text)
	if err != nil {
		return protocol.RecordID{}, err
	}
	_, err = c.Do(ctx, about.By, about.Handle.Journal, a, &protocol.RequestAmendment{Record: about.Record, Statement: a.Record})
	return a.Record, err
}

// AcceptAmendment answers a request with the version that supersedes the record.
func (c *Client) AcceptAmendment(ctx context.Context, author Identity, in protocol.JournalID, record, version protocol.RecordID) error {
	_, err := c.Do(ctx, author, in, &protocol.AnswerAmendment{Record: record, Version: version})
	return err
}

// DenyAmendment answers a request with the reason why there is no new version.
func (c *Client) DenyAmendment(ctx context.Context, author Identity, in protocol.JournalID, record protocol.RecordID, why protocol.Denial) error {
	_, err := c.Do(ctx, author, in, &protocol.AnswerAmendment{Record: record, Denial: why})
	return err
}

// Amendments lists the requests to amend records of a journal: all for the patient, those that it is to answer for a member or practitioner.
func (c *Client) Amendments(ctx context.Context, by Identity, in protocol.JournalID) (out []api.Amendment, err error) {
	return out, c.get(ctx, by, path(api.PathAmendments, in.String()), &out)
}

// statement seals words about a record as a record of the same class, and uploads it.
func (c *Client) statement(ctx context.Context, about Subject, text string) (*protocol.AddRecord, error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > StatementTextBytesMax || !utf8.ValidString(text) {
		return nil, ErrStatement
	}
	w, err := c.writerInto(ctx, about.By, about.Handle)
	if err != nil {
		return nil, err
	}
	raw, err := StatementResource(about.Record, text, time.UnixMilli(int64(now())))
	if err != nil {
		return nil, err
	}
	a, err := w.upload(ctx, &fhir.Group{Class: about.Class, Source: OwnSource, Bytes: len(raw), Resources: []fhir.Resource{{Raw: raw, Type: "Communication", Class: about.Class}}})
	if err != nil {
		return nil, err
	}
	a.Relation, a.About = protocol.RelationStatement, about.Record
	return &a, nil
}

// ClassOf is the class of a label under a handle; "" for none that this program knows.
func ClassOf(h protocol.Handle, l protocol.Label) fhir.Class {
	for _, class := range fhir.Classes() {
		if h.Label(string(class)) == l {
			return class
		}
	}
	return ""
}

// statementSystem names records in FHIR identifiers.
const statementSystem = "urn:anamnesis:record"

// StatementResource is a patient's words about a record as a FHIR R4 Communication.
func StatementResource(about protocol.RecordID, text string, at time.Time) ([]byte, error) {
	type ref struct {
		Identifier struct {
			System string `json:"system"`
			Value  string `json:"value"`
		} `json:"identifier"`
	}
	type payload struct {
		ContentString string `json:"contentString"`
	}
	var what ref
	what.Identifier.System, what.Identifier.Value = statementSystem, about.String()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		ResourceType string    `json:"resourceType"`
		Status       string    `json:"status"`
		About        []ref     `json:"about"`
		Sent         string    `json:"sent"`
		Payload      []payload `json:"payload"`
	}{"Communication", "completed", []ref{what}, at.UTC().Format(time.RFC3339), []payload{{text}}})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Statement is what a statement's resource is about, and its words, if it is one.
func Statement(raw []byte) (about protocol.RecordID, text string, ok bool) {
	var r struct {
		ResourceType string
		About        []struct {
			Identifier struct{ System, Value string }
		}
		Payload []struct{ ContentString string }
	}
	if json.Unmarshal(raw, &r) != nil || r.ResourceType != "Communication" || len(r.Payload) != 1 || len(r.About) != 1 || r.About[0].Identifier.System != statementSystem {
		return about, "", false
	}
	about, err := protocol.ParseRecordID(r.About[0].Identifier.Value)
	return about, r.Payload[0].ContentString, err == nil
}

// writerInto prepares to write records into a journal.
func (c *Client) writerInto(ctx context.Context, author Identity, h protocol.Handle) (*writer, error) {
	if err := c.Ready(ctx); err != nil {
		return nil, err
	}
	to, err := c.SealedTo(ctx, author, h.Journal)
	if err != nil {
		return nil, err
	}
	if to.Journal.LabelEpoch != h.Epoch {
		return nil, errors.New("this handle has been replaced; ask the patient for the new one")
	}
	if c.keys != nil && bytes.Equal(c.keys.Bytes(), to.Keys.Bytes()) {
		to.Keys = c.keys // whose tables are computed
	}
	return &writer{c: c, author: author, handle: h, recipient: to.Journal.Recipient, custodians: &to.Keys.Public}, nil
}

// IsErased tells whether an error says that a record was erased: by the gateway that does not serve its file, by the custodians, or by the
// ledger's decision on an access.
func IsErased(err error) bool {
	var p *api.Problem
	var r *Refused
	switch {
	case errors.As(err, &p) && p.Status == http.StatusGone,
		errors.As(err, &r) && r.Decision.Reason == protocol.RecordErased,
		errors.Is(err, &protocol.Rejection{Reason: protocol.RecordErased}):
		return true
	}
	return false
}
