package gateway

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/scrypt"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Drawer is a small durable store whose values are encrypted at rest. Put returns once the value survives a crash; Delete erases it. List
// gives the names that begin with a prefix.
type Drawer interface {
	Get(name string) (value []byte, ok bool, err error)
	Put(name string, value []byte) error
	Delete(name string) error
	List(prefix string) ([]string, error)
}

// Limits of the claim desk.
const (
	ClaimTriesMax  = 5   // wrong second factors a code, for ever; then the code is dead
	sealedBytesMax = 256 // a claim package
	desksAtOnce    = 8   // requests that compute a hash at once
	deskLogN       = 14  // scrypt's work factor for the second factor: it is guessable, so it must not be cheap to try at rest

	deskPause = time.Second // between looks for what nobody can claim any more, while blocks come
	deskLook  = time.Minute // while none come
)

// Desk is where a patient with a one-time code and the second factor gets what claiming takes: the sealed handle, and this member's
// agreement. Codes never come here: what does is a name derived from the code, and signatures of its key. Nothing of it is logged, and
// nothing of it is kept longer than it can be claimed with: Follow sees to that.
type Desk struct {
	drawer Drawer
	slots  chan struct{}

	mu   sync.Mutex                           // one request at a time for each step on the drawer
	kept map[protocol.JournalID]protocol.Hash // for whom something is kept, and the commitment to the code that it is kept under
}

// OpenDesk opens the desk on what its drawer kept.
func OpenDesk(d Drawer) (*Desk, error) {
	desk := &Desk{drawer: d, slots: make(chan struct{}, desksAtOnce), kept: map[protocol.JournalID]protocol.Hash{}}
	names, err := d.List(lookupPrefix)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		var id protocol.JournalID
		if err := id.UnmarshalText([]byte(strings.TrimPrefix(name, lookupPrefix))); err != nil {
			return nil, fmt.Errorf("gateway: the claim desk: %s: %w", name, err)
		}
		in, _ := desk.of(id) // what is damaged serves no code, and Tidy erases it
		desk.kept[id] = in.Claim
	}
	return desk, nil
}

// of reads what is kept for a journal; nothing, if a crash came between its two parts.
func (d *Desk) of(id protocol.JournalID) (in deposit, err error) {
	lookup, ok, err := d.drawer.Get(lookupName(id))
	if err != nil || !ok {
		return in, err
	}
	raw, ok, err := d.drawer.Get(depositName(lookup))
	if err != nil || !ok {
		return in, err
	}
	return in, json.Unmarshal(raw, &in)
}

// Follow erases what is kept for journals that nobody can claim any more, however that came about and whether or not this gateway saw it, until
// ctx is done. changed gets a value after blocks.
func (d *Desk) Follow(ctx context.Context, l *ledger.Ledger, changed <-chan struct{}, log *slog.Logger) {
	look := time.NewTicker(deskLook) // a package may be left just as its journal is claimed; and what failed is tried again
	defer look.Stop()
	for {
		if err := d.Tidy(l); err != nil && ctx.Err() == nil {
			log.Warn("the claim desk could not erase what nobody can claim any more", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			continue
		case <-changed:
		}
		select { // blocks come fast under load: one look serves many
		case <-ctx.Done():
			return
		case <-time.After(deskPause):
		}
	}
}

// Tidy erases what is kept for journals that nobody can claim any more with it: those that were claimed, recovered or erased as a whole, and those
// whose code is replaced or over.
func (d *Desk) Tidy(l *ledger.Ledger) error {
	d.mu.Lock()
	kept := maps.Clone(d.kept)
	d.mu.Unlock()
	if len(kept) == 0 {
		return nil
	}
	v, err := l.View()
	if err != nil {
		return err
	}
	defer func() { _ = v.Close() }()
	var failed []error
	for id, claim := range kept {
		row, _, err := journal.Get(v, id)
		if err == nil && !waits(row, claim, v.Head.Time) {
			err = d.drop(id, claim)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// waits tells whether a journal still waits for whoever has the code of that commitment. Time is the ledger's, which decides on claims.
func waits(row journal.Row, claim protocol.Hash, now uint64) bool {
	return row.Provisional() && row.Closed == 0 && row.Claim == claim && now < row.ClaimUntil
}

// drop erases what is kept for a journal, unless something for another code has come meanwhile.
func (d *Desk) drop(id protocol.JournalID, claim protocol.Hash) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now, ok := d.kept[id]; !ok || now != claim {
		return nil
	}
	return d.forget(id)
}

// deposit is what the desk keeps for a journal.
type deposit struct {
	Journal protocol.JournalID `json:"journal"`
	Claim   protocol.Hash      `json:"claim"` // the ledger's commitment to the code
	Sealed  []byte             `json:"sealed"`
	Salt    []byte             `json:"salt"`
	Factor  []byte             `json:"factor"` // scrypt of the second factor
	Tries   int                `json:"tries"`  // wrong ones
}

func depositName(lookup []byte) string { return "claim-" + hex.EncodeToString(lookup) }

const lookupPrefix = "claim-of-"

func lookupName(id protocol.JournalID) string { return lookupPrefix + id.String() }

// Answers that must not differ by what the asker may not know.
var (
	noClaim = notFound("no-claim", "There is nothing to claim with this code here",
		"Check the code character by character, and that this is the gateway of the organisation that gave it to you. A code works once, for thirty days.")
	deadClaim = problem(http.StatusForbidden, "code-dead", "This code is dead: the date of birth was wrong too often", "Ask the organisation that gave it to you for a new one.")
)

func wrongFactor(left int) error {
	return problem(http.StatusForbidden, "wrong-factor", "The date of birth is not the one that was given when the journal was opened",
		fmt.Sprintf("Check it (YYYY-MM-DD). %d more wrong ones, and the code is dead.", left))
}

func checkBirth(date string) error {
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return bad("date-of-birth", "The date of birth is not a date", "Write it as YYYY-MM-DD.")
	}
	return nil
}

func (d *Desk) hash(factor string, salt []byte) ([]byte, error) {
	d.slots <- struct{}{}
	defer func() { <-d.slots }()
	return scrypt.Key([]byte(factor), salt, 1<<deskLogN, 8, 1, 32)
}

// put keeps a deposit; one that was there for the journal is gone.
func (d *Desk) put(lookup []byte, id protocol.JournalID, claim protocol.Hash, sealed []byte, birth string) error {
	in := deposit{Journal: id, Claim: claim, Sealed: sealed, Salt: make([]byte, 16)}
	_, _ = rand.Read(in.Salt)
	var err error
	if in.Factor, err = d.hash(birth, in.Salt); err != nil {
		return err
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.forget(id); err != nil {
		return err
	}
	d.kept[id] = claim // whatever becomes of the next two: what is there must be found again
	return errors.Join(d.drawer.Put(lookupName(id), lookup), d.drawer.Put(depositName(lookup), raw))
}

// forget erases what is kept for a journal; mu is held.
func (d *Desk) forget(id protocol.JournalID) error {
	lookup, ok, err := d.drawer.Get(lookupName(id))
	if err != nil {
		return err
	}
	if ok { // the package first: without its name by the journal it would not be found again
		if err := d.drawer.Delete(depositName(lookup)); err != nil {
			return err
		}
		if err := d.drawer.Delete(lookupName(id)); err != nil {
			return err
		}
	}
	delete(d.kept, id)
	return nil
}

// Forget erases what is kept for a journal.
func (d *Desk) Forget(id protocol.JournalID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.forget(id)
}

func (d *Desk) get(lookup []byte) (out deposit, err error) {
	raw, ok, err := d.drawer.Get(depositName(lookup))
	switch {
	case err != nil:
		return out, err
	case !ok:
		return out, noClaim
	}
	return out, json.Unmarshal(raw, &out)
}

func (d *Desk) save(lookup []byte, in deposit) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return d.drawer.Put(depositName(lookup), raw)
}

// open finds a deposit if the second factor fits. Every try is written down, durably, before it is judged, so that neither a crash nor
// many requests at once give more than ClaimTriesMax.
func (d *Desk) open(lookup []byte, birth string) (deposit, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	in, err := d.get(lookup)
	if err != nil {
		return in, err
	}
	if in.Tries >= ClaimTriesMax {
		return in, deadClaim
	}
	in.Tries++
	if err := d.save(lookup, in); err != nil {
		return in, err
	}
	have, err := d.hash(birth, in.Salt)
	if err != nil {
		return in, err
	}
	if subtle.ConstantTimeCompare(have, in.Factor) != 1 {
		if in.Tries < ClaimTriesMax {
			return in, wrongFactor(ClaimTriesMax - in.Tries)
		}
		in.Sealed, in.Factor = nil, nil
		return in, errors.Join(deadClaim, d.save(lookup, in))
	}
	in.Tries--
	return in, d.save(lookup, in)
}

// putClaim keeps the package of a provisional journal that this member sponsors.
func (s *server) putClaim(w http.ResponseWriter, r *http.Request) error {
	var in api.ClaimPackage
	if err := s.view(func(v *ledger.View) error { return s.ownMember(v, r) }); err != nil {
		return err
	}
	if err := read(w, r, SmallBytesMax, &in); err != nil {
		return err
	}
	if err := checkBirth(in.DateOfBirth); err != nil {
		return err
	}
	if len(in.Lookup) != 16 || len(in.Sealed) == 0 || len(in.Sealed) > sealedBytesMax {
		return bad("package", "The package is malformed", "Make it with this program's client.")
	}
	var row journal.Row
	if err := s.view(func(v *ledger.View) (err error) { row, err = s.sponsored(v, in.Journal); return err }); err != nil {
		return err
	}
	if err := s.Desk.put(in.Lookup, in.Journal, row.Claim, in.Sealed, in.DateOfBirth); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// ownMember is nil if this gateway's own member asks.
func (s *server) ownMember(v *ledger.View, r *http.Request) error {
	a, err := s.ask(v, r)
	if err == nil && (a.signer.Kind != protocol.ActorMember || a.actor.Member != s.Member) {
		err = problem(http.StatusForbidden, "not-entitled", "Only this gateway's own member may do this here", "Sign with the member's key, at the member's gateway.")
	}
	return err
}

// sponsored reads a journal that is provisional and this member's; of any other it is an error.
func (s *server) sponsored(v *ledger.View, id protocol.JournalID) (journal.Row, error) {
	row, ok, err := journal.Get(v, id)
	if err == nil && (!ok || row.Sponsor != s.Member || !row.Provisional()) {
		err = problem(http.StatusConflict, "not-provisional", "This member has no such journal that waits for its patient", "Open it first, with a claim.")
	}
	return row, err
}

// claimable finds a deposit and the journal's row, if it can still be claimed with it. What cannot is forgotten.
func (s *server) claimable(lookup []byte, birth string) (in deposit, row journal.Row, err error) {
	if len(lookup) != 16 {
		return in, row, bad("lookup", "The code's name is malformed", "It has 16 bytes.")
	}
	if err := checkBirth(birth); err != nil {
		return in, row, err
	}
	if in, err = s.Desk.open(lookup, birth); err != nil {
		return in, row, err
	}
	var now uint64
	err = s.view(func(v *ledger.View) (err error) {
		now = v.Head.Time
		row, _, err = journal.Get(v, in.Journal)
		return err
	})
	if err == nil && !waits(row, in.Claim, now) {
		err = errors.Join(noClaim, s.Desk.drop(in.Journal, in.Claim))
	}
	return in, row, err
}

func (s *server) postClaimOpen(w http.ResponseWriter, r *http.Request) error {
	var in api.ClaimOpen
	if err := read(w, r, SmallBytesMax, &in); err != nil {
		return err
	}
	kept, row, err := s.claimable(in.Lookup, in.DateOfBirth)
	if err != nil {
		return err
	}
	return reply(w, api.ClaimOpened{Journal: kept.Journal, Sealed: kept.Sealed, Sponsor: row.Sponsor, Until: row.ClaimUntil})
}

// postClaimAgree gives this member's agreement to a claim, once the second factor fits and the code's key has signed for it. Two wallets
// with the code may both get one; the ledger takes the first.
func (s *server) postClaimAgree(w http.ResponseWriter, r *http.Request) error {
	var in api.ClaimAgree
	if err := read(w, r, SmallBytesMax, &in); err != nil {
		return err
	}
	if in.Controller.IsZero() || len(in.Recipient) != 32 || len(in.CodeProof) != 64 {
		return bad("claim", "The claim is malformed", "It names a controller, a recipient of 32 bytes and the code's signature.")
	}
	kept, row, err := s.claimable(in.Lookup, in.DateOfBirth)
	if err != nil {
		return err
	}
	chain, recipient := s.Ledger.Chain(), [32]byte(in.Recipient)
	message := protocol.ClaimMessage(chain, kept.Journal, in.Controller, recipient)
	if protocol.ClaimCommitment(chain, kept.Journal, in.Code) != row.Claim || !protocol.VerifySignature(in.Code, message, in.CodeProof) {
		return noClaim
	}
	return reply(w, api.Sponsorship{Sponsor: s.Member, Agreement: s.AgreeClaim(kept.Journal, in.Controller, recipient)})
}

// getControl tells who controls a journal: the patient and the devices, and once a policy is revealed its guardians.
func (s *server) getControl(w http.ResponseWriter, r *http.Request) error {
	in, err := journalID(r)
	if err != nil {
		return err
	}
	var out api.Control
	err = s.view(func(v *ledger.View) error {
		row, known, err := journal.Get(v, in)
		if err != nil {
			return err
		}
		recoveries, err := journal.Recoveries(v, in)
		if err != nil {
			return err
		}
		guardian, err := s.askControl(v, r, in, recoveries)
		if err == nil && !known {
			err = noJournal
		}
		if err != nil {
			return err
		}
		out = api.Control{ID: in, Controller: row.Controller, Provisional: row.Provisional(), ClaimUntil: row.ClaimUntil, Guardians: !row.Guardians.IsZero(), Due: row.Due,
			Devices: []api.Device{}, Recoveries: []api.Recovery{}}
		for _, n := range recoveries {
			out.Recoveries = append(out.Recoveries, recovery(n, s.time(v)))
		}
		if guardian {
			return nil // the devices are none of theirs
		}
		if _, out.Card, err = consent.HasCard(v, in); err != nil {
			return err
		}
		devices, err := journal.Devices(v, in)
		for _, d := range devices {
			out.Devices = append(out.Devices, api.Device{Key: d.Key, Name: d.Row.Name, Added: d.Row.Added, Revoked: d.Row.Revoked})
		}
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}

// askControl finds whether the patient asks, or a guardian of a policy that was revealed.
func (s *server) askControl(v *ledger.View, r *http.Request, in protocol.JournalID, recoveries []journal.NamedRecovery) (guardian bool, err error) {
	signer, err := api.Asker(r.Header.Get("Authorization"), v.Chain(), r.Method, r.RequestURI, s.Now())
	if err != nil {
		return false, err
	}
	if signer.Kind != protocol.ActorGuardian {
		return false, s.patientOf(v, r, in)
	}
	if protocol.JournalID(signer.ID) == in {
		for _, n := range recoveries {
			if policy, err := protocol.ParseGuardianPolicy(n.Row.Policy); err == nil && policy.Has(signer.Key) {
				return true, nil
			}
		}
	}
	return false, unknownSigner
}

func recovery(n journal.NamedRecovery, now uint64) api.Recovery {
	out := api.Recovery{ID: n.ID, Controller: n.Row.Controller, State: n.Row.State.String(), Approvals: list(n.Row.Approvals), Proposed: n.Row.Proposed, At: n.Row.At}
	if policy, err := protocol.ParseGuardianPolicy(n.Row.Policy); err == nil {
		for _, g := range policy.Groups {
			have := 0
			for _, k := range g.Keys {
				for _, a := range n.Row.Approvals {
					if a == k {
						have++
					}
				}
			}
			out.Groups = append(out.Groups, api.RecoveryGroup{Need: int(g.Need), Of: len(g.Keys), Have: have})
		}
	}
	if n.Row.State == journal.RecoveryGathering && n.Row.At <= now {
		out.State = journal.RecoveryExpired.String() // its entry may still come
	}
	return out
}
