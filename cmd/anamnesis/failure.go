package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"syscall"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3
	exitProof   = 4
)

// failure is an error as it is shown: one line what, one line what to do next, a stable code for programs, and the exit code.
type failure struct {
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
	Entry  uint64 `json:"entry,omitempty"` // of a refusal: its index in the log

	Records []brokenRecord `json:"records,omitempty"` // that did not open

	exit  int
	quiet bool // the command has said it all; only the exit code counts
	cause error
}

func (f *failure) Error() string {
	if f.Detail == "" {
		return f.Title
	}
	return f.Title + ". " + f.Detail
}

func (f *failure) Unwrap() error { return f.cause }

func usage(format string, args ...any) *failure {
	return &failure{Code: "usage", Title: fmt.Sprintf(format, args...), exit: exitUsage}
}

// usageOf makes a usage error of what cobra or pflag complains about.
func usageOf(err error) *failure {
	title, _, _ := strings.Cut(err.Error(), "\n")
	return &failure{Code: "usage", Title: title, Detail: "Add --help to see how it is used.", exit: exitUsage, cause: err}
}

func failed(code, title, detail string) *failure {
	return &failure{Code: code, Title: title, Detail: detail, exit: exitFailed}
}

// silent ends with an exit code after the command has shown why.
func silent(exit int) *failure {
	return &failure{Code: "reported", Title: "see above", exit: exit, quiet: true}
}

// recordsShown is how many records that did not open are listed for people.
const recordsShown = 20

// report shows an error and gives the exit code.
func (c *cli) report(err error) int {
	f := explain(err)
	if f.quiet {
		return f.exit
	}
	if c.json {
		raw, _ := json.Marshal(map[string]*failure{"error": f})
		fmt.Fprintln(c.err, string(raw))
		return f.exit
	}
	for i, b := range f.Records {
		if i == recordsShown {
			fmt.Fprintf(c.err, "… and %d more; --json lists them\n", len(f.Records)-i)
			break
		}
		fmt.Fprintf(c.err, "did not open: record %s: %s\n", b.Record, printable(b.Reason))
	}
	fmt.Fprintln(c.err, "anamnesis: "+printable(f.Title))
	if f.Detail != "" {
		fmt.Fprintln(c.err, "  "+printable(f.Detail))
	}
	return f.exit
}

// explain says what an error means for whoever sits there. The first that fits counts; causes come before what they caused.
func explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	for _, of := range []func(error) *failure{ofContracts, ofProofs, ofBackups, ofFiles, ofNetwork, ofInput} {
		if f := of(err); f != nil {
			f.cause = err
			return f
		}
	}
	return &failure{Code: "failed", Title: err.Error(), exit: exitFailed, cause: err}
}

// ofContracts: what a contract or the ledger's rules said no to.
func ofContracts(err error) *failure {
	var refused *client.Refused
	if errors.As(err, &refused) {
		r := refused.Decision.Reason
		return &failure{Code: r.String(), Title: "refused: " + r.String(), Detail: r.Advice() + fmt.Sprintf(" The refusal is entry %d of the log; the patient sees it.", refused.Entry),
			Entry: refused.Entry, exit: exitRefused}
	}
	var rejected *protocol.Rejection
	if !errors.As(err, &rejected) {
		return nil
	}
	r := rejected.Reason
	if r < protocol.Expired || r == protocol.NotPermitted {
		return &failure{Code: r.String(), Title: "refused: " + r.String(), Detail: r.Advice(), exit: exitRefused}
	}
	return failed(r.String(), "the ledger rejected it: "+r.String(), r.Advice())
}

// ofProofs: what does not hold.
func ofProofs(err error) *failure {
	proof := func(code, detail string) *failure {
		return &failure{Code: code, Title: err.Error(), Detail: detail, exit: exitProof}
	}
	switch {
	case errors.Is(err, wallet.ErrFork):
		return proof("forked", "The network has contradicted itself. Keep this wallet and the export: together they are evidence.")
	case errors.Is(err, wallet.ErrRollback):
		return proof("rollback", "The gateway is behind or hides entries. Ask another member's gateway with --gateway.")
	case errors.Is(err, wallet.ErrFile), errors.Is(err, wallet.ErrCommitted), errors.Is(err, wallet.ErrCapsule), errors.Is(err, wallet.ErrManifest),
		errors.Is(err, wallet.ErrSignature), errors.Is(err, wallet.ErrContent), errors.Is(err, wallet.ErrDecrypt):
		return proof("record-mismatch", "What the vaults gave is not what the author entered. Ask another member's gateway with --gateway.")
	}
	return nil
}

// ofFiles: wallets, keys, folders, disks.
func ofFiles(err error) *failure {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return failed("disk-full", "the disk is full", "Nothing was left half-written. Make room and run it again.")
	case errors.Is(err, wallet.ErrPassphrase):
		return failed("wrong-passphrase", err.Error(), "Check $ANAMNESIS_PASSPHRASE or --passphrase-file, or leave both out to be asked.")
	case errors.Is(err, wallet.ErrExists):
		return failed("file-exists", err.Error(), "Nothing was changed. Choose another name.")
	case errors.Is(err, wallet.ErrChanged):
		return failed("file-changed", err.Error(), "Another command wrote it at the same time. Run this one again.")
	case errors.Is(err, wallet.ErrWords):
		return failed("bad-words", err.Error(), "Check them against your copy: 24 English words in their order.")
	case errors.Is(err, wallet.ErrUnknownJournal):
		return &failure{Code: "unknown-journal", Title: err.Error(), Detail: "`anamnesis journal list` shows them; name one with --journal, or open one with `anamnesis journal open`.", exit: exitUsage}
	case errors.Is(err, wallet.ErrCorrupt), errors.Is(err, wallet.ErrTooNew), errors.Is(err, wallet.ErrWorkFactor):
		return failed("bad-file", err.Error(), "Give a wallet or key file that this program wrote.")
	case node.IsOtherNetwork(err), errors.Is(err, node.ErrNotMember):
		return failed("other-network", "the folder holds the data of another network", "Choose an empty folder with --dir, or the one that this network began in.")
	case errors.Is(err, node.ErrOtherFiles):
		return failed("other-files", err.Error(), "Choose an empty folder with --dir, or one where `anamnesis dev` ran before.")
	case errors.Is(err, node.ErrInUse):
		return failed("folder-in-use", "the folder is in use by another process", "Another `anamnesis dev` runs on it. Stop that one, or choose another --dir.")
	case errors.Is(err, node.ErrPortInUse), errors.Is(err, syscall.EADDRINUSE):
		return failed("port-in-use", err.Error(), "Find what listens there, or choose another address with --listen 127.0.0.1:0 (0: any free port).")
	case errors.Is(err, fs.ErrNotExist):
		return failed("file-not-found", missingFile(err), "Check the path.")
	case errors.Is(err, fs.ErrPermission):
		return failed("no-permission", err.Error(), "Check who owns the file or folder.")
	}
	return nil
}

func missingFile(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return "there is no file " + p.Path
	}
	return err.Error()
}

// ofNetwork: gateways and their answers.
func ofNetwork(err error) *failure {
	var p *api.Problem
	switch {
	case errors.Is(err, client.ErrUnreachable):
		return failed("gateway-unreachable", strings.TrimSuffix(err.Error(), ": is `anamnesis dev` running there?"), "Start a network with `anamnesis dev`, or name a running gateway with --gateway.")
	case errors.Is(err, client.ErrNotReady):
		return failed("not-ready", "the network is still generating the custodians' key", "Try again in a few seconds; `anamnesis network` shows when it is there.")
	case errors.Is(err, client.ErrTooFewShares):
		return failed("too-few-shares", err.Error(), "Too many custodians are away for now. The access stays open until its deadline: try again shortly.")
	case errors.Is(err, client.ErrAnswer):
		return failed("bad-answer", err.Error(), "This may not be a gateway of Anamnesis, or one of another version. Check --gateway.")
	case errors.Is(err, protocol.ErrWrongChain):
		return failed("wrong-network", err.Error(), "Check --gateway, or use the wallet or key of that network.")
	case errors.As(err, &p):
		return ofProblem(p)
	case errors.Is(err, context.Canceled):
		return failed("interrupted", "interrupted", "What the ledger had taken by then is done; run it again for the rest.")
	case errors.Is(err, context.DeadlineExceeded):
		return failed("timeout", "the answer took too long", "Try again.")
	}
	return nil
}

func ofProblem(p *api.Problem) *failure {
	f := &failure{Code: p.Code, Title: p.Title, Detail: p.Detail, exit: exitFailed}
	if f.Code == "" {
		f.Code = "http-" + fmt.Sprint(p.Status)
		f.Detail = "This may not be a gateway of Anamnesis. Check --gateway."
	}
	if p.Status == http.StatusForbidden && p.Code == "not-permitted" {
		f.exit = exitRefused
	}
	return f
}

// ofInput: what was typed or handed in.
func ofInput(err error) *failure {
	var problem *fhir.Problem
	var contract *consent.Error
	switch {
	case errors.Is(err, protocol.ErrBadHandle):
		return &failure{Code: "bad-handle", Title: err.Error(), Detail: "A handle is 68 characters beginning with anm1: copy it whole, or scan its QR code.", exit: exitUsage}
	case errors.Is(err, protocol.ErrBadID):
		return &failure{Code: "bad-id", Title: err.Error(), Detail: "Ids are shown by the list commands.", exit: exitUsage}
	case errors.As(err, &contract):
		f := failed("bad-contract", err.Error(), "docs/spec/consent.md says what a contract can speak of; `anamnesis consent templates` lists ready ones.")
		if errors.Is(err, consent.ErrTemplate) {
			f.exit = exitUsage
		}
		return f
	case errors.As(err, &problem):
		return failed(string(problem.Code), err.Error(), "")
	case errors.Is(err, wallet.ErrCode):
		return failed("bad-code", err.Error(), "A code has 18 letters and digits. Check it character by character.")
	case errors.Is(err, wallet.ErrControlOffer):
		return failed("bad-offer", err.Error(), "Copy the offer whole, as it was printed.")
	case errors.Is(err, wallet.ErrKit):
		return failed("bad-kit", err.Error(), "A kit opens with the wallet that made the offer: name it with --wallet.")
	case errors.Is(err, wallet.ErrClaim):
		return failed("bad-package", err.Error(), "Ask the organisation that gave the code to you for a new one.")
	case errors.Is(err, wallet.ErrText), errors.Is(err, wallet.ErrLimit):
		return &failure{Code: "bad-text", Title: err.Error(), exit: exitUsage}
	}
	return nil
}
