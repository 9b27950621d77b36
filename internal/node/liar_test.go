package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// lie makes a node's custodian answer with its true share of something else, rightly signed and sealed.
func (w *world) lie(i int, a *client.Access, other *threshold.Capsule, label []byte) {
	w.Helper()
	share, err := node.ReadShare(filepath.Join(w.net.Dir, "nodes", w.net.Names[i]), w.net.Passphrase, 1)
	w.ok(err)
	wrong, err := other.Verify(label)
	w.ok(err)
	chain, member := w.net.Genesis.Chain, w.net.Genesis.Members[i].ID()
	w.net.Nodes[i].Lie(func(_ context.Context, r custodian.Request) (*custodian.Answer, error) {
		oneTime := a.OneTime.Public()
		capsules := make([]*threshold.Capsule, len(r.Capsules))
		verified := make([]threshold.VerifiedCapsule, len(r.Capsules))
		for i, raw := range r.Capsules {
			if capsules[i], err = threshold.ParseCapsule(raw); err != nil {
				return nil, err
			}
			verified[i] = wrong
		}
		partials, err := threshold.Release(rand.Reader, share, verified, threshold.Binding{Chain: chain, Access: r.Access, OneTimeKey: oneTime[:]})
		if err != nil {
			return nil, err
		}
		plain := partials.Bytes()
		plain = append(plain, ed25519.Sign(w.net.NodeKeys(i).Peer, custodian.AnswerMessage(chain, r.Access, oneTime, capsules, plain))...)
		sealed, err := wallet.SealShare(wallet.ShareInfo{Chain: chain, Access: r.Access, Custodian: member, Generation: 1, Epoch: share.Epoch,
			OneTime: oneTime, KEM: protocol.OneTimeX25519}, plain)
		return &custodian.Answer{Custodian: uint16(share.Index), Epoch: share.Epoch, Sealed: sealed}, err
	})
}

// A custodian that answers falsely is found out, by name and with evidence that convinces a third party, and the read succeeds without it.
func TestLyingCustodian(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	w.write(p, 0, group("labs", "truth"))
	w.write(p, 1, group("notes", "something else"))
	w.grant(p, w.doctor, 0)
	a := w.access(0, w.doctor, p, "labs")
	other, label := w.capsuleOf(p, "notes")
	w.lie(0, a, other, label)

	read, err := w.at[0].Read(w.ctx, a)
	w.ok(err)
	w.ok(read.Whole())
	liars := read.Liars
	w.equal(texts(read.Records), []string{"truth"})
	if len(liars) != 1 || liars[0].Custodian != 1 {
		t.Fatalf("liars: %+v", liars)
	}
	keys, err := threshold.ParseKeys(w.at[1].Network.Keys)
	w.ok(err)
	if err := client.VerifyLiar(w.net.Genesis, keys, liars[0]); err != nil {
		t.Fatal("the evidence does not convince:", err)
	}
	w.noFraming(keys, liars[0])

	w.net.Nodes[0].Lie(func(_ context.Context, r custodian.Request) (*custodian.Answer, error) {
		return &custodian.Answer{Custodian: 1, Epoch: 1, Sealed: bytes.Repeat([]byte{7}, 400)}, nil
	})
	w.equal(w.read(0, a), []string{"truth"}) // bytes that mean nothing are no evidence, and no obstacle
	w.net.Nodes[0].Lie(func(context.Context, custodian.Request) (*custodian.Answer, error) {
		return nil, errors.New("broken")
	})
	w.equal(w.read(0, a), []string{"truth"})
	hang := make(chan struct{})
	defer close(hang)
	w.net.Nodes[2].Lie(func(ctx context.Context, _ custodian.Request) (*custodian.Answer, error) {
		<-hang
		return nil, ctx.Err()
	})
	w.net.Nodes[0].Lie(w.net.Nodes[0].Custodian().Release)
	w.equal(w.read(0, a), []string{"truth"})
}

// capsuleOf is the capsule of the patient's record of a class, and the label under which it verifies.
func (w *world) capsuleOf(p *patient, class string) (*threshold.Capsule, []byte) {
	w.Helper()
	rows, err := w.at[0].Records(w.ctx, p.keys)
	w.ok(err)
	for _, r := range rows {
		if r.Label != p.keys.Handle().Label(class) {
			continue
		}
		file, err := w.at[0].File(w.ctx, p.keys, r.Ciphertext)
		w.ok(err)
		c, err := wallet.CapsuleOf(file)
		w.ok(err)
		return c, wallet.CapsuleLabel(w.net.Genesis.Chain, r.Generation, p.keys.Journal, r.Label, r.ID)
	}
	w.Fatal("no record of", class)
	return nil, nil
}

// noFraming holds what is not evidence against VerifyLiar.
func (w *world) noFraming(keys *threshold.Keys, true1 client.Liar) {
	w.Helper()
	for name, change := range map[string]func(*client.Liar){
		"another custodian": func(l *client.Liar) { l.Custodian = 2 },
		"no custodian":      func(l *client.Liar) { l.Custodian = 9 },
		"another access":    func(l *client.Liar) { l.Access[0] ^= 1 },
		"another key":       func(l *client.Liar) { l.OneTime = bytes.Repeat([]byte{1}, 32) },
		"no key":            func(l *client.Liar) { l.OneTime = nil },
		"other partials":    func(l *client.Liar) { l.Partials = bytes.Clone(l.Partials); l.Partials[20] ^= 1 },
		"no signature":      func(l *client.Liar) { l.Signature = make([]byte, 64) },
		"no capsules":       func(l *client.Liar) { l.Capsules = nil },
	} {
		l := true1
		change(&l)
		if err := client.VerifyLiar(w.net.Genesis, keys, l); !errors.Is(err, client.ErrEvidence) {
			w.Errorf("%s: %v", name, err)
		}
	}
	later := *keys
	later.Epoch++
	if err := client.VerifyLiar(w.net.Genesis, &later, true1); !errors.Is(err, client.ErrEvidence) {
		w.Errorf("keys of another epoch: %v", err)
	}
}

// A revocation closes an access that is open, on every custodian, at once; and the vaults with it.
func TestRevocationClosesOpenAccess(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devConfig(t.TempDir(), 4))
	p := w.patient()
	written := w.write(p, 0, group("labs", "a"))
	contract := w.grant(p, w.doctor, 0)
	a := w.access(0, w.doctor, p, "labs")
	w.equal(w.read(0, a), []string{"a"})
	capsule, _ := w.capsuleOf(p, "labs")
	w.ok(w.at[0].Revoke(w.ctx, p.keys, contract))
	size := w.net.Nodes[0].Ledger().Head().Size
	ask := custodian.Request{Access: a.Decision.ID, Generation: 1, Records: []protocol.RecordID{written[0].Record}, Capsules: [][]byte{capsule.Bytes()}}
	for i, n := range w.net.Nodes {
		w.eventually("the node has the revocation", func() bool { return n.Ledger().Head().Size >= size })
		_, err := n.Release(w.ctx, ask)
		var refused *custodian.Refusal
		if !errors.As(err, &refused) || refused.Check != 4 || refused.Reason != protocol.Withdrawn {
			t.Errorf("custodian %d: %v", i+1, err)
		}
	}
	if _, err := w.at[0].Read(w.ctx, a); err == nil {
		t.Error("read under a revoked contract")
	}
	_, err := w.request(1, w.doctor, p, "labs")
	w.refused(err, protocol.Withdrawn, protocol.NoContract)
}

// A custodian that no quorum has told lately how long the log is refuses, whatever its ledger says: it may be cut off, or restored.
func TestStaleCustodianRefuses(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	cfg := devConfig(t.TempDir(), 4)
	cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	w := startWorld(t, cfg)
	p := w.patient()
	written := w.write(p, 0, group("labs", "a"))
	w.grant(p, w.doctor, 0)
	a := w.access(0, w.doctor, p, "labs")
	w.equal(w.read(0, a), []string{"a"})
	capsule, _ := w.capsuleOf(p, "labs")
	ask := custodian.Request{Access: a.Decision.ID, Generation: 1, Records: []protocol.RecordID{written[0].Record}, Capsules: [][]byte{capsule.Bytes()}}
	for _, i := range []int{1, 2} {
		w.ok(w.net.StopNode(i))
	}
	if _, err := w.net.Nodes[0].Release(w.ctx, ask); err != nil {
		t.Fatal("its checkpoint is still young:", err)
	}
	ahead.Store(int64(61 * time.Second)) // far inside the access's quarter of an hour
	_, err := w.net.Nodes[0].Release(w.ctx, ask)
	var refused *custodian.Refusal
	if !errors.As(err, &refused) || refused.Check != 1 || !refused.Retry {
		t.Fatalf("a custodian without a fresh checkpoint: %v", err)
	}
	for _, i := range []int{1, 2} {
		w.ok(w.net.StartNode(i))
	}
	w.eventually("with the others back it answers", func() bool { _, err := w.net.Nodes[0].Release(w.ctx, ask); return err == nil })
}
