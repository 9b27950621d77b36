package notify

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// bench is a ledger with a patient and a doctor, and a notifier beside it that can be stopped and started again.
type bench struct {
	testing.TB
	w             *ledgertest.World
	dir           string
	options       Options
	alice, doctor *ledgertest.Who
	changed       chan struct{}
	reasons       int

	n    *Notifier
	stop func()
}

var quick = Pace{First: 20 * time.Millisecond, Most: 100 * time.Millisecond, GiveUp: time.Hour, Mail: time.Millisecond, Wait: 300 * time.Millisecond}

func newBench(t testing.TB, o Options) *bench {
	t.Helper()
	l, err := ledger.Open(state.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{TB: t, w: ledgertest.New(t, l, 4), dir: t.TempDir(), options: o, changed: make(chan struct{}, 1)}
	k, pub := ledgertest.Key("doctor")
	id := protocol.PractitionerID(pub[:16])
	b.doctor = &ledgertest.Who{Name: "doctor", Key: k, Signer: protocol.PractitionerSigner(id, pub)}
	b.w.Must(b.w.Members[0], protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: id, Key: pub, Role: protocol.RoleEmergencyPhysician, Status: protocol.PractitionerActive,
		ValidUntil: ledgertest.Start + 1e10, Commitment: protocol.Hash{1}})
	b.alice = b.w.Patient(b.w.Members[0], "alice")
	policy, made, err := consent.Render("emergency-24h", consent.Params{Grantee: consent.Grantee{Practitioner: id}})
	if err != nil {
		t.Fatal(err)
	}
	b.w.Must(b.alice, b.alice.Journal(), &protocol.Grant{Template: made.Number, Policy: policy, NotAfter: b.w.Time + 1e7})
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bench) start() {
	b.Helper()
	n, err := Open(Config{Dir: b.dir, Ledger: b.w.L, Key: [32]byte{7}, Clock: time.Now, Pace: quick, Options: b.options})
	if err != nil {
		b.Fatal(err)
	}
	b.n = n
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.Run(ctx, b.changed)
	}()
	var once sync.Once
	b.stop = func() {
		once.Do(func() {
			cancel()
			<-ended
			if err := n.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

// read makes an entry: an access for a purpose.
func (b *bench) read(p protocol.Purpose) {
	b.Helper()
	ask := &protocol.RequestAccess{Labels: []protocol.Label{{1}}, Purpose: p, OneTime: [32]byte{1}, OneTimeKEM: protocol.OneTimeX25519}
	if p == protocol.PurposeBreakGlass {
		b.reasons++
		ask.Reason = protocol.Hash{byte(b.reasons)}
	}
	b.w.Must(b.doctor, b.alice.Journal(), ask)
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

func (b *bench) subscribe(s api.Subscribe) (api.Subscription, error) {
	if s.Nonce == nil {
		s.Nonce = make([]byte, NonceBytes)
		_, _ = rand.Read(s.Nonce)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	return b.n.Subscribe(b.alice.Journal(), b.alice.Signer.Key, sha256.Sum256(raw), s, stands)
}

func (b *bench) webhook(url string, kinds ...string) api.Subscription {
	b.Helper()
	s, err := b.subscribe(api.Subscribe{Way: WayWebhook, Target: url, Kinds: kinds})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// of is a subscription as it stands.
func (b *bench) of(id protocol.Hash) api.Subscription {
	b.Helper()
	all, err := b.n.Subscriptions(b.alice.Journal())
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range all {
		if s.ID == id {
			return s
		}
	}
	return api.Subscription{State: "none"}
}

func (b *bench) eventually(what string, cond func() bool) {
	b.Helper()
	late := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			b.Fatalf("did not happen: %s", what)
		}
	}
}

// stands is an asker who stands.
func stands() error { return nil }
