package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Fault is what kind of failure an error of the ledger's engine is, for Backend.Fault.
type Fault int

// The faults.
const (
	FaultOther   Fault = iota // unknown: answered as the node's own failure
	FaultBusy                 // too much is waiting: the envelope was not taken; again later
	FaultStopped              // the node is stopping
	FaultRefused              // the bytes are not acceptable, and never will be
	FaultDropped              // it waited too long and was let go
)

func problem(status int, code, title, detail string) *api.Problem {
	return &api.Problem{Status: status, Code: code, Title: title, Detail: detail}
}

func bad(code, title, detail string) *api.Problem {
	return problem(http.StatusBadRequest, code, title, detail)
}

func notFound(code, title, detail string) *api.Problem {
	return problem(http.StatusNotFound, code, title, detail)
}

// Answers that must not differ by what the asker may not know. They are never changed.
var (
	busy     = problem(http.StatusTooManyRequests, "busy", "The gateway is busy", "Send the request again in a second.")
	internal = problem(http.StatusInternalServerError, "internal", "The node failed to answer", "Try again; if it goes on, its operator finds the reason in its log.")

	unknownSigner = problem(http.StatusUnauthorized, "unknown-signer", "The network does not know who signed this",
		"Sign with the current key of a registered member or practitioner, or with the wallet of an open journal.")
	noCredential = problem(http.StatusForbidden, "no-credential", "The practitioner's credential is suspended, revoked or expired",
		"The practitioner's organisation can renew it.")
	noJournal = notFound("no-journal", "There is no such journal, or it is not yours", "Check the handle, and sign with the wallet that controls the journal.")
	noEntry   = notFound("no-entry", "There is no such entry, or it is not yours", "Receipts are for who signed the entry's envelope and for the patient. Check the index.")
	noAccess  = notFound("no-access", "There is no such access, it is over, or it is not yours", "Request access again; the answer names the new access.")
	noFile    = notFound("no-file", "There is no such file, or it is not yours to read",
		"The patient names the journal or record (?journal= or ?record=), a reader an open access that lists it (?access=).")
)

// fail answers with the problem that an error is. If an answer is under way already, the connection is broken off, so that half an answer
// cannot be taken for a whole one.
func (s *server) fail(w *answer, req *http.Request, err error) {
	p := s.problemOf(err)
	if p.Status >= 500 && p.Code != "stopped" && p.Code != "timeout" {
		s.Log.Error("gateway: request failed", "route", req.Pattern, "error", err)
	}
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	h["Content-Type"] = []string{"application/problem+json"}
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h["Retry-After"] = []string{"1"}
		if p == tooMuchUploaded {
			h["Retry-After"] = []string{"3600"}
		}
	case http.StatusUnauthorized:
		h["Www-Authenticate"] = []string{"Anamnesis"}
	case http.StatusRequestEntityTooLarge, http.StatusRequestTimeout:
		h["Connection"] = []string{"close"} // the rest of the body is not read
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // a fault of the program: strings and a number
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}

// problemOf says what an error is to people and programs; nil is nil. Nothing of an unknown error's text is told.
func (s *server) problemOf(err error) *api.Problem {
	var p *api.Problem
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return p
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, api.ErrUnauthorised):
		return problem(http.StatusUnauthorized, "unauthorised", "The request is not signed, or not rightly", err.Error())
	case errors.Is(err, protocol.ErrSignature):
		return bad("signature", "The envelope's signature does not verify", "Sign it with the key that it names.")
	case errors.Is(err, protocol.ErrEncoding):
		return bad("encoding", "The envelope is not in its canonical encoding", err.Error())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem(http.StatusGatewayTimeout, "timeout", "The answer took too long",
			"An action that was sent may still be executed: look at /v1/actions/{id} before sending another.")
	}
	if p := s.faultOf(err); p != nil {
		return p
	}
	if p := vaultProblem(err); p != nil {
		return p
	}
	return internal
}

func (s *server) faultOf(err error) *api.Problem {
	switch s.Fault(err) {
	case FaultBusy:
		return problem(http.StatusTooManyRequests, "busy", "Too many actions are waiting for the ledger", "It was not taken. Send it again in a second.")
	case FaultStopped:
		return problem(http.StatusServiceUnavailable, "stopped", "The node is stopping", "Send it again shortly, or to another member's gateway.")
	case FaultRefused:
		return bad("refused", "The ledger does not take this parcel", err.Error())
	case FaultDropped:
		return problem(http.StatusGatewayTimeout, "dropped", "The action waited too long and was let go",
			"Look at /v1/actions/{id}; if it is not there, sign it anew and send it again.")
	case FaultOther:
	}
	return nil
}

// vaultProblem is the problem of one of vault's errors, or nil.
func vaultProblem(err error) *api.Problem {
	switch {
	case errors.Is(err, vault.ErrNoSpace):
		return problem(http.StatusInsufficientStorage, "disk-full", "The vault's disk is full", "Nothing of the file is kept. Send it to another member's gateway, or make room.")
	case errors.Is(err, vault.ErrErased):
		return problem(http.StatusGone, "erased", "The file was erased", "It is gone for good, at the patient's wish.")
	case errors.Is(err, vault.ErrNotFound):
		return noFile
	case errors.Is(err, vault.ErrUnavailable), errors.Is(err, vault.ErrNoMembers), errors.Is(err, vault.ErrClosed), errors.Is(err, vault.ErrNotReady):
		return problem(http.StatusServiceUnavailable, "unavailable", "No vault can give or take the file now", "Try again shortly: a member that holds it may be away.")
	case errors.Is(err, vault.ErrSize):
		return tooLarge(protocol.RecordFileBytesMax)
	case errors.Is(err, vault.ErrHash):
		return problem(http.StatusUnprocessableEntity, "hash", "The bytes do not have the hash in the path", "Nothing is kept. Send the file again, whole, to the path of its SHA-256.")
	case errors.Is(err, vault.ErrRefused):
		return problem(http.StatusUnprocessableEntity, "refused", "The vault does not take this file", "Nothing is kept.")
	}
	return nil
}

func tooLarge(bytes int64) *api.Problem {
	return problem(http.StatusRequestEntityTooLarge, "too-large", "The body is too large", "Here it may have at most "+decimal(bytes)+" bytes.")
}
