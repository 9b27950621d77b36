package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"sync"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// entriesPage is how many entries one question asks for.
const entriesPage = 500

// Entries reads a journal's entries from a place on, all of them, with the names that the gateway knows of those who signed.
func (c *Client) Entries(ctx context.Context, k *wallet.JournalKeys, from uint64) ([]api.Entry, error) {
	var out []api.Entry
	for {
		var page api.Entries
		uri := path(api.PathEntries, k.Journal.String()) + fmt.Sprintf("?from=%d&max=%d", from, entriesPage)
		if err := c.get(ctx, Patient(k), uri, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Entries...)
		if page.Next == 0 {
			return out, nil
		}
		if page.Next <= from {
			return nil, fmt.Errorf("%w: the pages of a journal go backwards", ErrAnswer)
		}
		from = page.Next
	}
}

// Consistency gets the proof (RFC 6962 §2.1.2) that the log of size to extends that of size from.
func (c *Client) Consistency(ctx context.Context, from, to uint64) ([]protocol.Hash, error) {
	var out api.Hashes
	return out.Hashes, c.get(ctx, nil, fmt.Sprintf("%s?from=%d&to=%d", api.PathConsistency, from, to), &out)
}

// PractitionerName asks about a practitioner as somebody whom the network knows, who is told the name too.
func (c *Client) PractitionerName(ctx context.Context, by Identity, id protocol.PractitionerID) (out api.Practitioner, err error) {
	return out, c.get(ctx, by, path(api.PathPractitioner, id.String()), &out)
}

// Open opens some of a patient's own records: with the wallet's identities, and what was not sealed to them through the custodians, which
// is an entry in the journal. Record or error stand at each row's place.
func (c *Client) Open(ctx context.Context, k *wallet.JournalKeys, rows []api.Record, progress func(done, total int)) ([]*wallet.Record, []error) {
	out := make([]*wallet.Record, len(rows))
	errs := make([]error, len(rows))
	var wait sync.WaitGroup
	var mu sync.Mutex
	done := 0
	slots := make(chan struct{}, 8)
	for i, r := range rows {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out[i], errs[i] = c.openOwn(ctx, k, r)
			mu.Lock()
			defer mu.Unlock()
			if done++; progress != nil {
				progress(done, len(rows))
			}
		})
	}
	wait.Wait()
	c.openSealedToOthers(ctx, k, rows, out, errs)
	return out, errs
}

// Export writes the export of a journal: its proof, and the files of its records. progress hears of files.
func (c *Client) Export(ctx context.Context, k *wallet.JournalKeys, w io.Writer, progress func(done, total int)) error {
	p, err := c.Proof(ctx, k)
	if err != nil {
		return err
	}
	return proof.Write(w, p, c.exported(ctx, k), progress)
}

// exported opens the files of a journal for proof.Write.
func (c *Client) exported(ctx context.Context, k *wallet.JournalKeys) func(protocol.Hash) (io.ReadCloser, error) {
	return func(hash protocol.Hash) (io.ReadCloser, error) {
		uri := path(api.PathFile, hash.String()) + "?journal=" + k.Journal.String()
		res, err := c.request(ctx, Patient(k), http.MethodGet, uri, "", nil, 0)
		var problem *api.Problem
		switch {
		case errors.As(err, &problem) && problem.Status == http.StatusGone:
			return nil, proof.ErrErased
		case errors.As(err, &problem) && (problem.Status == http.StatusNotFound || problem.Status == http.StatusServiceUnavailable):
			return nil, fs.ErrNotExist
		case err != nil:
			return nil, err
		}
		return res.Body, nil
	}
}

// Verify fetches the whole journal with its files and verifies it as an export of it would be. If o has a pin, the proof that the log
// extends it is fetched too. What the pin advances to is Report.Checkpoint, with the consistency proof that is returned. If keep is not nil,
// it gets the export that was verified, byte for byte.
func (c *Client) Verify(ctx context.Context, k *wallet.JournalKeys, o proof.Options, keep io.Writer, progress func(done, total int)) (*proof.Report, []protocol.Hash, error) {
	p, err := c.Proof(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	var extends []protocol.Hash
	if size := p.Seal.Index + 1; o.Pin != nil && o.Pin.Size < size {
		if extends, err = c.Consistency(ctx, o.Pin.Size, size); err != nil {
			return nil, nil, err
		}
		pin := *o.Pin
		pin.Proof = extends
		o.Pin = &pin
	}
	o.Journal = k.Journal
	r, w := io.Pipe()
	var kept error
	written := make(chan struct{})
	go func() {
		defer close(written)
		out := io.Writer(w)
		if keep != nil {
			out = io.MultiWriter(w, failing{keep, &kept})
		}
		_ = w.CloseWithError(proof.Write(out, p, c.exported(ctx, k), progress))
	}()
	report, err := proof.Verify(r, o)
	_ = r.CloseWithError(errors.New("the verification is over"))
	<-written
	return report, extends, errors.Join(kept, err)
}

// failing remembers why a writer failed, apart from what the pipe beside it says.
type failing struct {
	w   io.Writer
	err *error
}

func (f failing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil {
		*f.err = err
	}
	return n, err
}

// Practitioners lists a member's practitioners, for somebody whom the network knows.
func (c *Client) Practitioners(ctx context.Context, by Identity, of protocol.MemberID) (out []api.Practitioner, err error) {
	return out, c.get(ctx, by, path(api.PathPractitioners, of.String()), &out)
}
