package consensus

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

func sum(b []byte) hash { return sha256.Sum256(b) }

// testAdapter has a clock that tests set.
func testAdapter() (*adapter, *testApp, *time.Time) {
	app := newTestApp("")
	now := time.UnixMilli(1_800_000_000_000)
	p := newPool(app.Check, DefaultLimits())
	a := newAdapter(app, p, clock{func() time.Time { return now }}, slog.New(slog.DiscardHandler), 0)
	return a, app, &now
}

func accepts(t *testing.T, a *adapter, at time.Time, txs ...string) bool {
	t.Helper()
	return acceptsBlock(t, a, sum([]byte(at.String())), at, txs...)
}

func acceptsBlock(t *testing.T, a *adapter, block hash, at time.Time, txs ...string) bool {
	t.Helper()
	req := &abci.RequestProcessProposal{Height: 1, Time: at, Hash: block[:]}
	for _, x := range txs {
		req.Txs = append(req.Txs, []byte(x))
	}
	res, err := a.ProcessProposal(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return res.Status == abci.ResponseProcessProposal_ACCEPT
}

func TestProposalsAreJudged(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name   string
		behind time.Duration
		txs    []string
		want   bool
	}{
		{"fresh", 100 * ms, []string{"a", "b"}, true},
		{"at the edge", BehindMillisMax * ms, []string{"a"}, true},
		{"stale", BehindMillisMax*ms + 1, []string{"a"}, false},
		{"stale but empty", time.Hour, nil, true},
		{"slightly ahead", -AheadMillisMax * ms, []string{"a"}, true},
		{"ahead", -AheadMillisMax*ms - 1, []string{"a"}, false},
		{"ahead and empty", -AheadMillisMax*ms - 1, nil, false},
		{"unverifiable", 0, []string{"a", "bad"}, false},
		{"twice the same", 0, []string{"a", "b", "a"}, false},
		{"empty parcel", 0, []string{"a", ""}, false},
		{"huge parcel", 0, []string{string(make([]byte, ParcelBytesMax+1))}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _, now := testAdapter()
			if got := accepts(t, a, now.Add(-c.behind), c.txs...); got != c.want {
				t.Fatalf("accepted: %v", got)
			}
		})
	}
}

// A block that was timely once must stay acceptable, or a lock on it would stop the chain.
func TestAcceptedBlockStaysAcceptable(t *testing.T) {
	a, _, now := testAdapter()
	at, block := *now, sum([]byte("block"))
	if !acceptsBlock(t, a, block, at, "a") {
		t.Fatal("fresh block refused")
	}
	*now = now.Add(time.Hour)
	if !acceptsBlock(t, a, block, at, "a") {
		t.Fatal("refused in a later round what was accepted before")
	}
	if acceptsBlock(t, a, sum([]byte("another")), at, "a") {
		t.Fatal("accepted another stale block")
	}
}

// The same holds for a node that meets the block late, once over two thirds have prevoted it.
func TestPolkaProvesFreshness(t *testing.T) {
	a, _, now := testAdapter()
	var vals []*types.Validator
	for _, n := range []string{"a", "b", "c", "d"} {
		vals = append(vals, types.NewValidator(cmted25519.GenPrivKeyFromSecret([]byte(n)).PubKey(), 1))
	}
	set := types.NewValidatorSet(vals)
	a.polkas = newPolkas(func(int64) (*types.ValidatorSet, error) { return set, nil })
	block, at := sum([]byte("locked")), *now
	*now = now.Add(time.Minute)
	vote := func(i, round int32, kind cmtproto.SignedMsgType, height int64) {
		a.polkas.add(&types.Vote{Type: kind, Height: height, Round: round, ValidatorIndex: i, BlockID: types.BlockID{Hash: block[:]}})
	}
	vote(0, 0, cmtproto.PrevoteType, 5)
	vote(0, 0, cmtproto.PrevoteType, 5)
	vote(1, 0, cmtproto.PrevoteType, 5)
	vote(2, 1, cmtproto.PrevoteType, 5)   // another round
	vote(2, 0, cmtproto.PrecommitType, 5) // not a prevote
	vote(2, 0, cmtproto.PrevoteType, 4)   // an old height
	if acceptsBlock(t, a, block, at, "a") {
		t.Fatal("accepted on two of four")
	}
	vote(3, 0, cmtproto.PrevoteType, 5)
	if !acceptsBlock(t, a, block, at, "a") {
		t.Fatal("refused a block with a polka")
	}
	delete(a.accepted, block)
	vote(0, 0, cmtproto.PrevoteType, 6)
	if acceptsBlock(t, a, block, at, "a") {
		t.Fatal("a polka counts beyond its height")
	}
}

func TestProposerLeavesStaleBlockEmpty(t *testing.T) {
	a, _, now := testAdapter()
	_ = a.pool.add([]byte("parcel"), localSource, nil)
	a.pool.step()
	prepare := func(behind time.Duration) int {
		res, err := a.PrepareProposal(context.Background(), &abci.RequestPrepareProposal{MaxTxBytes: 1000, Time: now.Add(-behind)})
		if err != nil {
			t.Fatal(err)
		}
		return len(res.Txs)
	}
	if n := prepare(StaleMillisMax*time.Millisecond + 1); n != 0 {
		t.Fatalf("%d parcels under a stale time", n)
	}
	if n := prepare(StaleMillisMax * time.Millisecond); n != 1 {
		t.Fatalf("%d parcels under a fresh time", n)
	}
}

func TestBlockWithUnverifiableParcelIsNeverExecuted(t *testing.T) {
	a, app, now := testAdapter()
	var failed error
	a.fail = func(err error) { failed = err }
	_, err := a.FinalizeBlock(context.Background(), &abci.RequestFinalizeBlock{Height: 1, Time: *now, Txs: [][]byte{[]byte("bad")}})
	if !errors.Is(err, ErrBroken) || !errors.Is(failed, errBadParcel) || len(app.applied()) != 0 {
		t.Fatalf("err %v, failed %v, applied %v", err, failed, app.applied())
	}
	_, err = a.FinalizeBlock(context.Background(), &abci.RequestFinalizeBlock{Height: 2, Time: *now})
	if !errors.Is(err, ErrBroken) {
		t.Fatalf("skipped a height: %v", err)
	}
}

func TestOffencesReachTheApplication(t *testing.T) {
	a, app, now := testAdapter()
	_, err := a.FinalizeBlock(context.Background(), &abci.RequestFinalizeBlock{Height: 1, Time: *now, Misbehavior: []abci.Misbehavior{
		{Validator: abci.Validator{Address: make([]byte, 20)}, Height: 9, Time: *now},
	}})
	if err != nil || len(app.offences) != 1 || app.offences[0].Height != 9 || app.offences[0].TimeMillis != uint64(now.UnixMilli()) {
		t.Fatalf("%v %v", err, app.offences)
	}
}

// slowCommit is an application whose commits wait to be let go.
type slowCommit struct {
	*testApp
	begun, leave chan struct{}
	fail         error
}

func (s *slowCommit) Commit() error {
	s.begun <- struct{}{}
	<-s.leave
	if s.fail != nil {
		return s.fail
	}
	return s.testApp.Commit()
}

// decide executes a block of these parcels up to and including Commit's call.
func decide(t *testing.T, a *adapter, height int64, parcels ...string) {
	t.Helper()
	req := &abci.RequestFinalizeBlock{Height: height, Time: time.UnixMilli(1_800_000_000_000 + height)}
	for _, p := range parcels {
		req.Txs = append(req.Txs, []byte(p))
	}
	if _, err := a.FinalizeBlock(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// overlapping is an adapter over a slow application with the first block's commit under way and another parcel ready.
func overlapping(t *testing.T, fail error) (*adapter, *slowCommit, chan reply) {
	t.Helper()
	a, app, _ := testAdapter()
	slow := &slowCommit{testApp: app, begun: make(chan struct{}, 8), leave: make(chan struct{}), fail: fail}
	a.app = slow
	waiter := make(chan reply, 1)
	for _, p := range []string{"first", "second"} {
		w := waiter
		if p == "second" {
			w = nil
		}
		if err := a.pool.add([]byte(p), localSource, w); err != nil {
			t.Fatal(err)
		}
	}
	a.pool.verify(a.pool.takeQueued())
	decide(t, a, 1, "first") // returns although the application has not committed: "second" is ready
	<-slow.begun
	return a, slow, waiter
}

func TestCommitOverlapsWithTheNextProposal(t *testing.T) {
	a, slow, waiter := overlapping(t, nil)
	proposal, err := a.PrepareProposal(context.Background(), &abci.RequestPrepareProposal{MaxTxBytes: 1 << 20, Time: time.UnixMilli(1_800_000_000_000)})
	if err != nil || len(proposal.Txs) != 1 || string(proposal.Txs[0]) != "second" {
		t.Fatalf("proposed %q (%v) while the first block commits; want the second parcel alone", proposal.Txs, err)
	}
	select {
	case r := <-waiter:
		t.Fatalf("answered %+v before the application committed", r)
	default:
	}
	executed := make(chan error, 1)
	go func() {
		_, err := a.FinalizeBlock(context.Background(), &abci.RequestFinalizeBlock{Height: 2, Time: time.UnixMilli(1_800_000_000_002), Txs: proposal.Txs})
		executed <- err
	}()
	select {
	case err := <-executed:
		t.Fatalf("the next block was executed (%v) before the first was committed", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(slow.leave)
	if r := <-waiter; r.err != nil || r.outcome.Height != 1 {
		t.Fatalf("answer: %+v", r)
	}
	if err := <-executed; err != nil {
		t.Fatal(err)
	}
	if h, _, _ := slow.Head(); h != 1 {
		t.Fatalf("application at height %d", h)
	}
}

func TestLateCommitThatFailsBreaksTheNode(t *testing.T) {
	broke := errors.New("disk full")
	a, slow, waiter := overlapping(t, broke)
	failed := make(chan error, 1)
	a.fail = func(err error) { failed <- err }
	close(slow.leave)
	if err := <-failed; !errors.Is(err, broke) || !errors.Is(err, ErrBroken) {
		t.Fatal(err)
	}
	_, err := a.FinalizeBlock(context.Background(), &abci.RequestFinalizeBlock{Height: 2, Time: time.UnixMilli(1_800_000_000_002), Txs: [][]byte{[]byte("second")}})
	if !errors.Is(err, broke) {
		t.Fatalf("the next block: %v", err)
	}
	if r := <-waiter; !errors.Is(r.err, ErrStopped) {
		t.Fatalf("who waited for the block that could not be committed got %+v", r)
	}
}
