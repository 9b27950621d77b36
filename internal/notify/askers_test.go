package notify

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// device adds a device to Alice's journal.
func (b *bench) device(name string) *ledgertest.Who {
	b.Helper()
	k, pub := ledgertest.Key(name)
	in := b.alice.Journal()
	b.w.Must(b.alice, in, &protocol.AddDevice{Key: pub, Name: protocol.Hash{1}, Proof: ed25519.Sign(k, protocol.DeviceMessage(b.w.L.Chain(), in, pub, protocol.Hash{1}))})
	return &ledgertest.Who{Name: name, Key: k, Signer: protocol.PatientSigner(in, pub)}
}

func (b *bench) webhookBy(by *ledgertest.Who, url string) api.Subscription {
	b.Helper()
	s := api.Subscribe{Way: WayWebhook, Target: url, Nonce: make([]byte, NonceBytes)}
	_, _ = rand.Read(s.Nonce)
	raw, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	out, err := b.n.Subscribe(b.alice.Journal(), by.Signer.Key, sha256.Sum256(raw), s, stands)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// A stolen phone that asked to be told is told nothing from the entry on that cuts it off, and it can silence nobody else before that.
func TestACutOffDeviceIsToldNothing(t *testing.T) {
	mine, thiefs := newHook(t), newHook(t)
	b := newBench(t, Options{AllowHosts: []string{host(t, mine.URL), host(t, thiefs.URL)}})
	phone := b.device("phone")
	own := b.webhookBy(b.alice, mine.URL)
	stolen := b.webhookBy(phone, thiefs.URL)
	in := b.alice.Journal()
	if err := b.n.Unsubscribe(in, phone.Signer.Key, own.ID); !errors.Is(err, ErrNotYours) {
		t.Error("a device silenced the wallet:", err)
	}
	b.read(protocol.PurposeTreat)
	b.eventually("both are told of a reading", func() bool { return len(mine.told(t)) == 1 && len(thiefs.told(t)) == 1 })
	b.w.Must(b.alice, in, &protocol.RevokeDevice{Key: phone.Signer.Key})
	b.read(protocol.PurposeTreat)
	b.eventually("the wallet is told of both", func() bool { return len(mine.told(t)) == 3 })
	b.stop()
	b.start() // whatever was in its queue has been looked at by the end of the first run
	b.read(protocol.PurposeTreat)
	b.eventually("the wallet is told of the next", func() bool { return len(mine.told(t)) == 4 })
	if told := thiefs.told(t); len(told) != 1 {
		t.Errorf("the cut-off device was told %q", told)
	}
	if all, err := b.n.Subscriptions(in); err != nil || len(all) != 1 || all[0].ID != own.ID {
		t.Error("what stands:", all, err)
	}
	if err := b.n.Unsubscribe(in, protocol.PublicKey{}, stolen.ID); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

// New keys end what the old key asked for, which may have been somebody else's: it is told of that, and no more. A device's goes on.
func TestWhatAnOldKeyAskedForEnds(t *testing.T) {
	mine, phones := newHook(t), newHook(t)
	b := newBench(t, Options{AllowHosts: []string{host(t, mine.URL), host(t, phones.URL)}})
	phone := b.device("phone")
	b.webhookBy(b.alice, mine.URL)
	kept := b.webhookBy(phone, phones.URL)
	in := b.alice.Journal()
	k, next := ledgertest.Key("alice's next")
	b.w.Must(b.alice, in, &protocol.RotateController{Controller: next, Recipient: [32]byte{1}, Proof: ed25519.Sign(k, protocol.ControlMessage(b.w.L.Chain(), in, next, [32]byte{1}))})
	b.read(protocol.PurposeTreat)
	b.eventually("the device is told of both", func() bool { return len(phones.told(t)) == 2 })
	b.eventually("the old key's is gone", func() bool {
		all, err := b.n.Subscriptions(in)
		return err == nil && len(all) == 1 && all[0].ID == kept.ID
	})
	if told := mine.told(t); len(told) != 1 || !strings.HasSuffix(told[0], "key-changed") {
		t.Errorf("what the old key asked for was told %q", told)
	}
	// The device removes its own.
	if err := b.n.Unsubscribe(in, phone.Signer.Key, kept.ID); err != nil {
		t.Error(err)
	}
}

// Nobody is sent codes without end, neither by one journal that asks and removes and asks again, nor by many that name one address.
func TestCodesAreBounded(t *testing.T) {
	r := newRelay(t, false, nil)
	b := newBench(t, Options{Mail: Mail{Relay: r.address, From: "journal@member.example"}})
	ask := func(in protocol.JournalID, to string) error {
		s := api.Subscribe{Way: WayMail, Target: to, Nonce: make([]byte, NonceBytes)}
		_, _ = rand.Read(s.Nonce)
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		out, err := b.n.Subscribe(in, b.alice.Signer.Key, sha256.Sum256(raw), s, stands)
		if err == nil {
			err = b.n.Unsubscribe(in, protocol.PublicKey{}, out.ID)
		}
		return err
	}
	for i := range CodesAddressDayMax {
		if err := ask(protocol.JournalID{byte(i)}, "victim@town.example"); err != nil {
			t.Fatal(err)
		}
	}
	for _, again := range []string{"victim@town.example", "Victim@Town.Example"} {
		if err := ask(protocol.JournalID{99}, again); !errors.Is(err, ErrCodes) {
			t.Errorf("%s was sent one more: %v", again, err)
		}
	}
	in := b.alice.Journal()
	for i := range CodesJournalDayMax {
		if err := ask(in, string(rune('a'+i))+"@town.example"); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := ask(in, "z@town.example"); !errors.Is(err, ErrCodes) {
		t.Error("one journal asks without end:", err)
	}
	if err := ask(protocol.JournalID{50}, "z@town.example"); err != nil {
		t.Error("another journal's owner:", err)
	}
	// The database keeps no address that was removed.
	b.stop()
	db, err := sql.Open("sqlite", filepath.Join(b.dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var codes, named int
	if err := errors.Join(db.QueryRow("SELECT count(*) FROM codes").Scan(&codes), db.QueryRow("SELECT count(*) FROM subscriptions WHERE target LIKE '%victim%'").Scan(&named)); err != nil || codes == 0 || named != 0 {
		t.Error(codes, named, err)
	}
	b.start()
}

// A database of before subscriptions knew who asked opens, and what is in it counts as the controller's.
func TestOpensOlderDatabases(t *testing.T) {
	h := newHook(t)
	b := newBench(t, Options{AllowHosts: []string{host(t, h.URL)}})
	b.webhook(h.URL)
	b.stop()
	db, err := sql.Open("sqlite", filepath.Join(b.dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range []string{"ALTER TABLE subscriptions DROP COLUMN asker", "DROP TABLE codes"} {
		if _, err := db.Exec(do); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.read(protocol.PurposeTreat)
	b.eventually("it is told", func() bool { return slices.Contains(h.told(t), "2 access") })
}
