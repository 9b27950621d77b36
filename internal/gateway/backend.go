// Package gateway is the node's face to people and programs: HTTP `/v1`, in the types of package api. It holds no state of its own and
// decides nothing: the ledger decides, the gateway translates, bounds and says what to do next.
package gateway

import (
	"context"
	"io"
	"log/slog"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/notify"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Backend is what the gateway stands on: its node. All fields are required.
type Backend struct {
	Ledger   *ledger.Ledger
	Member   protocol.MemberID
	Policy   []byte                       // C2SP tlog-policy text
	Gateways map[protocol.MemberID]string // where the members' gateways are, host:port

	// SubmitEnvelope executes one envelope, in a parcel with others; SubmitParcel executes a parcel as one transaction. They return once
	// the block is committed here.
	SubmitEnvelope func(ctx context.Context, envelope []byte) (protocol.Result, error)
	SubmitParcel   func(ctx context.Context, parcel []byte) ([]protocol.Result, error)
	// Fault says what kind of failure an error of the two is.
	Fault func(error) Fault
	// Checkpoint returns a checkpoint that a quorum has cosigned, of at least size entries and at most maxAge ms old, and its size.
	Checkpoint func(ctx context.Context, size, maxAge uint64) (note []byte, covers uint64, err error)
	// Sponsor signs protocol.SponsorMessage with the member's key.
	Sponsor func(journal protocol.JournalID, controller protocol.PublicKey) []byte
	// AgreeClaim signs protocol.ClaimMessage with the member's key; Desk keeps the packages of those who are to claim.
	AgreeClaim func(journal protocol.JournalID, controller protocol.PublicKey, recipient [32]byte) []byte
	Desk       *Desk
	// Shares asks the custodians, this node's among them.
	Shares func(ctx context.Context, access protocol.AccessID, r api.ShareRequest) []api.Share
	// StoreFile keeps a file on its members' vaults; note is not empty if fewer hold it than wanted. ReadFile gets one from any.
	// Errors are vault's.
	StoreFile func(ctx context.Context, hash protocol.Hash, r io.Reader, size int64) (note string, err error)
	ReadFile  func(ctx context.Context, hash protocol.Hash) (io.ReadCloser, int64, error)
	// Name asks the practitioner's member for the name behind the commitment; SetName keeps the name of this member's own practitioner.
	Name    func(ctx context.Context, of protocol.MemberID, id protocol.PractitionerID) (api.PractitionerName, bool)
	SetName func(id protocol.PractitionerID, name api.PractitionerName) error
	// Notices keeps where patients want to be told. Changed gives a channel that gets a value after blocks, and what ends it; Stopping is
	// closed when the node stops.
	Notices  *notify.Notifier
	Changed  func() (<-chan struct{}, func())
	Stopping <-chan struct{}
	Health   func() api.Health
	Now      func() uint64 // UTC ms
	Log      *slog.Logger
}
