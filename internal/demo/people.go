package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// The second act: what happens to real people. The delays are as short as a development network allows; everything else is as users have it.
const (
	delegationWindow = 3 * time.Second
	recoveryDelay    = 1500 * time.Millisecond
	dateOfBirth      = "1948-03-09"
)

// rejected must be the ledger's rejection for one of the reasons.
func rejected(err error, want ...protocol.Reason) error {
	for _, w := range want {
		if errors.Is(err, &protocol.Rejection{Reason: w}) {
			return nil
		}
	}
	return failed("got %v, expected a rejection as %v", err, want)
}

// problem must be a gateway's answer with the code.
func problem(err error, code string) error {
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != code {
		return failed("got %v, expected the answer %q", err, code)
	}
	return nil
}

// refusedAs must be a decision of the contracts, and is counted.
func (p *play) refusedAs(err error, want ...protocol.Reason) error {
	var r *client.Refused
	switch {
	case err == nil:
		p.Reads.Permitted++
		return failed("it was permitted, expected a refusal as %v", want)
	case !errors.As(err, &r):
		return err
	}
	p.Reads.Refused++
	if !slices.Contains(want, r.Decision.Reason) {
		return failed("refused as %q, expected %v", r.Decision.Reason, want)
	}
	return nil
}

// opened reads a permitted access.
func (p *play) opened(ctx context.Context, a *client.Access, err error) ([]*wallet.Record, error) {
	if err != nil {
		return nil, err
	}
	p.Reads.Permitted++
	return p.whole(p.at[0].Read(ctx, a))
}

// whole is a reading in which everything opened and nobody lied.
func (p *play) whole(read *client.Reading, err error) ([]*wallet.Record, error) {
	if err == nil {
		err = read.Whole()
	}
	if err == nil && len(read.Liars) > 0 {
		err = failed("%d custodians answered falsely", len(read.Liars))
	}
	return read.Records, err
}

func (p *play) chain() string { return p.net.Genesis.Chain }

func (p *play) member(i int) client.Identity { return client.Actor(p.net.Member(i)) }

func (pt *patient) label(class string) []protocol.Label {
	return []protocol.Label{pt.keys.Handle().Label(class)}
}

// second is another patient than the lead, if there is one, so that the lead's journal is there to look at afterwards.
func (p *play) second() *patient {
	for _, pt := range slices.Backward(p.cast) {
		if pt != p.lead {
			return pt
		}
	}
	return p.lead
}

// spareGroup is a record's content to write for somebody: one of the last patient's.
func (p *play) spareGroup() (fhir.Group, error) {
	for _, pt := range slices.Backward(p.cast) {
		if len(pt.groups) > 0 {
			return pt.groups[0], nil
		}
	}
	return fhir.Group{}, failed("no patient in the data has a record")
}

// claimed is the patient who came without a wallet.
type claimed struct {
	paper *wallet.Provisional
	code  wallet.Code
	group fhir.Group
	keys  *wallet.JournalKeys
	purse *wallet.Wallet
}

// claimProvisional: the hospital opens a journal for somebody without a wallet, and its doctor reads what it writes there.
func (p *play) claimProvisional(ctx context.Context) (detail string, err error) {
	c := &claimed{code: wallet.NewCode()}
	if c.group, err = p.spareGroup(); err != nil {
		return "", err
	}
	c.paper = wallet.NewProvisional(wallet.Network{Chain: p.chain(), Gateway: p.net.Gateway(0)}, "bed 12")
	var grants []protocol.Grant
	for template, to := range map[string]consent.Grantee{"contributor": {Member: p.net.Genesis.Members[0].ID()}, "care-team": {Practitioner: protocol.PractitionerID(p.doctor.ID)}} {
		policy, made, err := consent.Render(template, consent.Params{Grantee: to})
		if err != nil {
			return "", err
		}
		grants = append(grants, protocol.Grant{Template: made.Number, Policy: policy, NotAfter: uint64(time.Now().UnixMilli()) + made.WindowMillis, UsesMax: made.UsesMax})
	}
	if err := p.at[0].Provision(ctx, p.member(0), c.paper, c.code, dateOfBirth, grants...); err != nil {
		return "", err
	}
	_, bad, err := p.at[0].WriteRecords(ctx, p.member(0), c.paper.Handle, []fhir.Group{c.group}, nil)
	if err != nil || len(bad) > 0 {
		return "", errors.Join(err, failed("%d records could not be written", len(bad)))
	}
	a, err := p.at[0].RequestAccess(ctx, client.Actor(p.doctor), c.paper.Handle.Journal, protocol.PurposeTreat, []protocol.Label{c.paper.Handle.Label(string(c.group.Class))}, nil)
	records, err := p.opened(ctx, a, err)
	if err != nil {
		return "", err
	}
	n, err := compare([]fhir.Group{c.group}, "", records)
	if err != nil {
		return "", err
	}
	p.claimed = c
	return fmt.Sprintf("a hospital opened a journal for a patient without a wallet, wrote %s into it, and its doctor read them; a one-time code was printed", resources(n)), nil
}

// claimWrongWays: a guessed code, the right one at another organisation, and a stolen one without the date of birth.
func (p *play) claimWrongWays(ctx context.Context) (string, error) {
	keys := p.claimed.code.ClaimKeys(p.chain())
	_, err := p.at[0].ClaimHandle(ctx, wallet.NewCode().ClaimKeys(p.chain()), dateOfBirth)
	if err := problem(err, "no-claim"); err != nil {
		return "", err
	}
	if len(p.at) > 1 {
		_, err = p.at[1].ClaimHandle(ctx, keys, dateOfBirth)
		if err := problem(err, "no-claim"); err != nil {
			return "", err
		}
	}
	_, err = p.at[0].ClaimHandle(ctx, keys, "1948-09-03")
	if err := problem(err, "wrong-factor"); err != nil {
		return "", err
	}
	return "a guessed code, the code at another organisation, and the code without the right date of birth all failed; five wrong tries kill a code", nil
}

// claimTakesOver: the patient claims the journal: the hospital's key is dead, the code too, and what was written before opens.
func (p *play) claimTakesOver(ctx context.Context) (string, error) {
	c, keys := p.claimed, p.claimed.code.ClaimKeys(p.chain())
	h, err := p.at[0].ClaimHandle(ctx, keys, dateOfBirth)
	if err != nil {
		return "", err
	}
	c.purse = wallet.New(wallet.Network{Chain: p.chain(), Gateway: p.net.Gateway(0)})
	if _, err := c.purse.AdoptJournal(h, "mine"); err != nil {
		return "", err
	}
	if c.keys, err = c.purse.Keys(h.Journal); err != nil {
		return "", err
	}
	if err := p.at[0].Claim(ctx, keys, dateOfBirth, c.keys); err != nil {
		return "", err
	}
	if err := problem(p.at[0].Claim(ctx, keys, dateOfBirth, c.keys), "no-claim"); err != nil {
		return "", err
	}
	_, err = p.at[0].Do(ctx, client.Actor(c.paper.Actor), h.Journal, &protocol.SetGuardians{})
	if err := rejected(err, protocol.WrongKey); err != nil {
		return "", err
	}
	records, err := p.at[0].OpenRecords(ctx, c.keys, nil)
	if err != nil {
		return "", err
	}
	n, err := compare([]fhir.Group{c.group}, "", records)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("the patient claimed the journal with a wallet of her own; the hospital's key and the code are dead, and the %s from before open for her, through the custodians", resources(n)), nil
}

// breakglassRefused: without a contract for emergencies nobody breaks the glass.
func (p *play) breakglassRefused(ctx context.Context) (string, error) {
	_, _, err := p.at[0].BreakGlass(ctx, client.Actor(p.doctor), p.net.Genesis.Members[0].ID(),
		client.Emergency{Journal: p.lead.keys.Journal, Purpose: protocol.PurposeBreakGlass, Labels: p.lead.label(p.leadClass()), Reason: "unconscious after a fall"})
	if err := p.refusedAs(err, protocol.NoContract, protocol.Ended, protocol.WrongPurpose, protocol.Withdrawn); err != nil {
		return "", err
	}
	return "the patient had made no emergency card: breaking the glass was refused, and written down", nil
}

// breakglassReads: with the card, an emergency doctor who types its short form reads exactly the classes it names.
func (p *play) breakglassReads(ctx context.Context) (detail string, err error) {
	if p.reviewer, err = p.practitioner(ctx, 0, "Marta Klein", protocol.RoleAdministrator, "patient safety"); err != nil {
		return "", err
	}
	if _, err := p.at[0].GrantTemplate(ctx, p.lead.keys, "emergency-card", consent.Params{Labels: p.lead.label(p.leadClass())}, 0); err != nil {
		return "", err
	}
	code, err := p.at[0].SetCard(ctx, client.Patient(p.lead.keys), p.lead.keys.Handle())
	if err != nil {
		return "", err
	}
	h, err := p.at[0].FindCard(ctx, client.Actor(p.doctor), code)
	if err != nil || h != p.lead.keys.Handle() {
		return "", errors.Join(err, failed("the card leads to another handle"))
	}
	q := client.Emergency{Journal: h.Journal, Purpose: protocol.PurposeBreakGlass, Labels: []protocol.Label{h.Label(p.leadClass())}, Reason: "unconscious after a fall"}
	start := time.Now()
	a, reviewers, err := p.at[0].BreakGlass(ctx, client.Actor(p.doctor), p.net.Genesis.Members[0].ID(), q)
	records, err := p.opened(ctx, a, err)
	if err != nil {
		return "", err
	}
	took := time.Since(start)
	n, err := compare(p.lead.groups, p.leadClass(), records)
	if err != nil {
		return "", err
	}
	if reviewers == 0 {
		return "", failed("the reason was sealed to no reviewer")
	}
	_, _, err = p.at[0].BreakGlass(ctx, client.Actor(p.other), p.net.Genesis.Members[1%len(p.at)].ID(), q)
	if err := p.refusedAs(err, protocol.NoContract, protocol.NotEntitled, protocol.Ended, protocol.WrongPurpose, protocol.Withdrawn, protocol.NoCredential, protocol.NotEmergencyRole); err != nil {
		return "", err
	}
	if other := p.otherClass(); other != "" {
		q.Labels = []protocol.Label{h.Label(other)}
		_, _, err := p.at[0].BreakGlass(ctx, client.Actor(p.doctor), p.net.Genesis.Members[0].ID(), q)
		if err := p.refusedAs(err, protocol.NoContract, protocol.Ended, protocol.WrongPurpose, protocol.Withdrawn); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("the emergency doctor typed the card's %d characters and read %s of %s in %d ms; another class, and a doctor without an emergency role, were refused",
		16, resources(n), p.leadClass(), took.Milliseconds()), nil
}

// breakglassReviewed: somebody else at the hospital reviews it; patient and reviewer alone read the reason.
func (p *play) breakglassReviewed(ctx context.Context) (string, error) {
	member := p.net.Genesis.Members[0].ID()
	open, err := p.at[0].Unreviewed(ctx, client.Actor(p.reviewer), member)
	if err != nil {
		return "", err
	}
	if len(open) != 1 || len(open[0].Reasons) == 0 {
		return "", failed("%d sessions wait for a review", len(open))
	}
	s := open[0]
	if err := p.at[0].Review(ctx, client.Actor(p.doctor), s, protocol.VerdictJustified, protocol.Hash{}); err == nil {
		return "", failed("a doctor reviewed his own emergency")
	}
	if err := p.at[0].Review(ctx, client.Actor(p.reviewer), s, protocol.VerdictJustified, protocol.Hash{}); err != nil {
		return "", err
	}
	after, err := p.at[0].Sessions(ctx, client.Patient(p.lead.keys), p.lead.keys.Journal)
	if err != nil {
		return "", err
	}
	if len(after) != 1 || after[0].Verdict != "justified" {
		return "", failed("the patient sees %+v", after)
	}
	if _, err := p.at[0].SealedReason(ctx, client.Patient(p.lead.keys), s.Reasons[0]); err != nil {
		return "", err
	}
	return fmt.Sprintf("the reason waits sealed for patient and reviewers; the doctor could not review himself, %s did, well before the review was due", p.reviewer.Name), nil
}

// delegateReads: a daughter reads one class for a while; more than that, or passing it on, is refused; it ends by itself.
func (p *play) delegateReads(ctx context.Context) (string, error) {
	in := p.lead.keys.Journal
	daughter := wallet.NewDelegate(wallet.Network{Chain: p.chain(), Gateway: p.net.Gateway(0)}, in, "daughter")
	key, signed, err := wallet.ParseOffer(daughter.Offer(), p.chain(), in)
	if err != nil {
		return "", err
	}
	until := uint64(time.Now().Add(delegationWindow).UnixMilli())
	if err := p.at[0].Delegate(ctx, client.Patient(p.lead.keys), in, protocol.Delegate{Key: key, Proof: signed, Level: protocol.LevelSee,
		Labels: p.lead.label(p.leadClass()), NotAfter: until}); err != nil {
		return "", err
	}
	p.daughter = daughter
	a, err := p.at[0].RequestAccess(ctx, client.Actor(daughter), in, protocol.PurposeFamilyRequest, p.lead.label(p.leadClass()), nil)
	records, err := p.opened(ctx, a, err)
	if err != nil {
		return "", err
	}
	n, err := compare(p.lead.groups, p.leadClass(), records)
	if err != nil {
		return "", err
	}
	if other := p.otherClass(); other != "" {
		_, err := p.at[0].RequestAccess(ctx, client.Actor(daughter), in, protocol.PurposeFamilyRequest, p.lead.label(other), nil)
		var r *client.Refused
		if err == nil || !errors.As(err, &r) {
			return "", failed("beyond her scope the daughter got: %v", err)
		}
		p.Reads.Refused++
	}
	further := wallet.NewDelegate(wallet.Network{Chain: p.chain()}, in, "a friend")
	key, signed, err = wallet.ParseOffer(further.Offer(), p.chain(), in)
	if err != nil {
		return "", err
	}
	if err := p.at[0].Delegate(ctx, client.Actor(daughter), in, protocol.Delegate{Key: key, Proof: signed, Level: protocol.LevelSee, NotAfter: until}); err == nil {
		return "", failed("a delegation was passed on beyond its level")
	}
	return fmt.Sprintf("the patient let her daughter see %s for %s; the daughter read %s; another class, and passing it on to a friend, were refused", p.leadClass(), delegationWindow, resources(n)), nil
}

// delegateEnds: as on an eighteenth birthday, it is over when its time is.
func (p *play) delegateEnds(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		entries, err := p.at[0].Entries(ctx, p.lead.keys, 0)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(entries, func(e api.Entry) bool {
			var x protocol.Entry
			return protocol.Decode(e.Raw, &x) == nil && x.Type == protocol.EventDelegationEnded
		}) {
			break
		}
		select {
		case <-ctx.Done():
			return "", failed("the delegation did not end by itself")
		case <-time.After(100 * time.Millisecond):
		}
	}
	if _, err := p.at[0].RequestAccess(ctx, client.Actor(p.daughter), p.lead.keys.Journal, protocol.PurposeFamilyRequest, p.lead.label(p.leadClass()), nil); err == nil {
		return "", failed("the daughter reads on")
	}
	return fmt.Sprintf("after %s the ledger ended the delegation by itself and wrote it down; the daughter is refused from then on", delegationWindow), nil
}

// deviceCutOff: a phone that holds no seed reads through the custodians until one action cuts it off.
func (p *play) deviceCutOff(ctx context.Context) (string, error) {
	phone := wallet.New(wallet.Network{Chain: p.chain(), Gateway: p.net.Gateway(0)})
	if _, err := phone.AdoptJournal(p.lead.keys.Handle(), "phone"); err != nil {
		return "", err
	}
	k, err := phone.Keys(p.lead.keys.Journal)
	if err != nil {
		return "", err
	}
	offer, err := k.OfferDevice(p.chain(), "phone")
	if err != nil {
		return "", err
	}
	if err := p.at[0].AddDevice(ctx, p.lead.keys, offer); err != nil {
		return "", err
	}
	ask := func() (*client.Access, error) {
		return p.at[0].RequestAccess(ctx, client.Patient(k), k.Journal, protocol.PurposePatientRequest, p.lead.label(p.leadClass()), nil)
	}
	open, err := ask()
	records, err := p.opened(ctx, open, err)
	if err != nil {
		return "", err
	}
	n, err := compare(p.lead.groups, p.leadClass(), records)
	if err != nil {
		return "", err
	}
	_, err = p.at[0].Do(ctx, client.Patient(k), k.Journal, &protocol.SetGuardians{})
	if err := rejected(err, protocol.NotForDevices); err != nil {
		return "", err
	}
	if err := p.at[0].RevokeDevice(ctx, p.lead.keys, offer.Key); err != nil {
		return "", err
	}
	if _, err := p.at[0].Read(ctx, open); err == nil {
		return "", failed("the stolen phone read on")
	}
	if _, err := ask(); rejected(err, protocol.DeviceRevoked) != nil {
		return "", rejected(err, protocol.DeviceRevoked)
	}
	return fmt.Sprintf("a phone read %s without holding anything that decrypts; stolen, it was cut off by one action, in the middle of an open access", resources(n)), nil
}

// deviceRotated: the wallet replaces its keys, and reads on.
func (p *play) deviceRotated(ctx context.Context) (string, error) {
	c := p.claimed
	next, err := c.purse.KeysAt(c.keys.Journal, 1)
	if err != nil {
		return "", err
	}
	if err := p.at[0].Rotate(ctx, c.keys, next); err != nil {
		return "", err
	}
	if _, err := p.at[0].Journal(ctx, client.Patient(c.keys), c.keys.Journal); err == nil {
		return "", failed("the old key still counts")
	}
	found, _, ok, err := p.at[0].FindKeys(ctx, c.purse, c.keys.Journal)
	if err != nil || !ok {
		return "", errors.Join(err, failed("the rotated keys were not found"))
	}
	records, err := p.at[0].OpenRecords(ctx, found, nil)
	if err != nil {
		return "", err
	}
	if _, err := compare([]fhir.Group{c.group}, "", records); err != nil {
		return "", err
	}
	c.keys = found
	return "the wallet's keys were replaced; the old ones are dead, and every record still opens", nil
}

// standingSuspended: a practitioner who is suspended reads nothing more, not even under an open access.
func (p *play) standingSuspended(ctx context.Context) (string, error) {
	nurse, err := p.practitioner(ctx, 0, "Ines Duarte", protocol.RoleNurse, "surgery")
	if err != nil {
		return "", err
	}
	id := protocol.PractitionerID(nurse.ID)
	if _, err := p.at[0].GrantTemplate(ctx, p.lead.keys, "care-team", consent.Params{Grantee: consent.Grantee{Practitioner: id}, Labels: p.lead.label(p.leadClass())}, 0); err != nil {
		return "", err
	}
	_, open, err := p.permitted(ctx, p.lead, nurse, p.leadClass())
	if err != nil {
		return "", err
	}
	row, err := p.at[0].Practitioner(ctx, id)
	if err != nil {
		return "", err
	}
	if err := p.at[0].SetPractitioner(ctx, p.member(0), row, protocol.PractitionerSuspended, nil); err != nil {
		return "", err
	}
	if _, err := p.at[0].Read(ctx, open); err == nil {
		return "", failed("a suspended nurse read on")
	}
	if err := p.refused(ctx, nurse, p.leadClass(), protocol.NoCredential); err != nil {
		return "", err
	}
	return "a nurse with the patient's consent was suspended by her hospital: the access that stood open ended with the next block, and she is refused", nil
}

// standingResolves: a member is found under its DID.
func (p *play) standingResolves(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.net.Gateway(0)+api.PathDID, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	var doc struct {
		ID     string            `json:"id"`
		Method []json.RawMessage `json:"verificationMethod"`
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(raw, &doc)
	}
	if err != nil || res.StatusCode != http.StatusOK || doc.ID == "" || len(doc.Method) == 0 {
		return "", errors.Join(err, failed("no DID document (status %d)", res.StatusCode))
	}
	return fmt.Sprintf("the hospital resolves as %s", doc.ID), nil
}

// recoverVetoed: an attempt while the wallet is there is vetoed.
func (p *play) recoverVetoed(ctx context.Context) (string, error) {
	n := wallet.Network{Chain: p.chain(), Gateway: p.net.Gateway(0)}
	pt := p.second()
	var family, providers []wallet.GuardianOffer
	purses := map[[16]byte]*wallet.Wallet{}
	offer := func(to *[]wallet.GuardianOffer) error {
		g := wallet.New(n)
		o, err := g.OfferGuardian()
		purses[o.ID], *to = g, append(*to, o)
		return err
	}
	for range 3 {
		if err := offer(&family); err != nil {
			return "", err
		}
	}
	for range 2 {
		if err := offer(&providers); err != nil {
			return "", err
		}
	}
	policy, err := wallet.NewGuardianPolicy(uint64(recoveryDelay.Milliseconds()), []int{2, 1}, [][]wallet.GuardianOffer{family, providers})
	if err != nil {
		return "", err
	}
	if err := p.at[0].SetGuardians(ctx, pt.keys, &policy); err != nil {
		return "", err
	}
	for _, o := range []wallet.GuardianOffer{family[0], family[1], providers[1]} {
		kit, err := wallet.Kit{Network: n, Handle: pt.keys.Handle(), Policy: protocol.Encode(policy), Note: "for " + pt.name}.Seal(o)
		if err != nil {
			return "", err
		}
		g, err := purses[o.ID].OpenKit(kit)
		if err != nil {
			return "", err
		}
		p.guardians = append(p.guardians, g)
	}
	s, _, _, err := p.successor()
	if err != nil {
		return "", err
	}
	id, err := p.at[0].ProposeRecovery(ctx, p.guardians[0], s)
	if err != nil {
		return "", err
	}
	if err := rejected(p.at[0].ApproveRecovery(ctx, p.guardians[0], id), protocol.AlreadySpoken); err != nil {
		return "", err
	}
	if err := p.at[0].VetoRecovery(ctx, pt.keys, id); err != nil {
		return "", err
	}
	if err := rejected(p.at[0].ApproveRecovery(ctx, p.guardians[1], id), protocol.RecoveryOver); err != nil {
		return "", err
	}
	return "a guardian tried to take a journal over while its wallet was there: one guardian counts once, and the patient vetoed it", nil
}

// successor is a new wallet for the journal that is recovered.
func (p *play) successor() (wallet.Successor, *wallet.JournalKeys, *wallet.Wallet, error) {
	w := wallet.New(wallet.Network{Chain: p.chain(), Gateway: p.net.Gateway(0)})
	h := p.guardians[0].Kit.Handle
	if _, err := w.AdoptJournal(h, "recovered"); err != nil {
		return wallet.Successor{}, nil, nil, err
	}
	k, err := w.Keys(h.Journal)
	if err != nil {
		return wallet.Successor{}, nil, nil, err
	}
	return k.Successor(p.chain()), k, w, nil
}

// recoverLost: the wallet is lost; two of three of the family and one of two doctors bring the journal to a new one.
func (p *play) recoverLost(ctx context.Context) (string, error) {
	pt := p.second()
	s, k, purse, err := p.successor()
	if err != nil {
		return "", err
	}
	id, err := p.at[0].ProposeRecovery(ctx, p.guardians[1], s)
	if err != nil {
		return "", err
	}
	for _, g := range []int{0, 2} {
		if err := p.at[0].ApproveRecovery(ctx, p.guardians[g], id); err != nil {
			return "", err
		}
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if _, err := p.at[0].Journal(wait, client.Patient(k), k.Journal); err == nil {
			break
		}
		select {
		case <-wait.Done():
			return "", failed("the journal did not change hands")
		case <-time.After(50 * time.Millisecond):
		}
	}
	_, err = p.at[0].Do(ctx, client.Patient(pt.keys), k.Journal, &protocol.VetoRecovery{Recovery: id})
	if err := rejected(err, protocol.WrongKey); err != nil {
		return "", err
	}
	records, err := p.at[0].OpenRecords(ctx, k, nil)
	if err != nil {
		return "", err
	}
	pt.keys, pt.wallet = k, purse
	if pt == p.lead { // whose records were amended and erased
		return fmt.Sprintf("three guardians recovered the journal; %d records open for the new wallet", len(records)), nil
	}
	n, err := compare(pt.groups, "", records)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("the wallet is lost: two of the family and a doctor proposed a new one; after %s of delay the journal changed hands by itself, the old key is dead, and all %s open, through the custodians", recoveryDelay, resources(n)), nil
}
