// Package notify tells patients that something happened in their journal: it derives notices from the ledger's entries and takes them to
// where the patient wants to be told. It is beside the ledger and never in its way: it follows with a cursor, in goroutines of its own, and
// whatever fails here is tried again here.
//
//   - The gateway streams notices to wallets that ask (server-sent events); Of makes them.
//   - A subscription takes them to a webhook or a mailbox (Notifier). It is set by the patient with a signed request and kept at this gateway
//     in SQLite, with the notices that wait, so that a restart loses none.
//
// A notice says that something happened and of what kind, in words for somebody who may be frightened. It names nobody, no class, no
// purpose and no id: what happened exactly is for the wallet, which proves it. Whoever reads the mail or runs the webhook learns that the
// subscriber has a journal here, and the times.
//
// What a webhook's receiver may count on is Standard Webhooks (docs/spec/notify.md): each delivery is signed with a secret of the
// subscription's own, at least once, in the journal's order. A webhook must be public: addresses that lead inward are refused when the
// connection is made, after the name was resolved, unless the operator allows the host by name. Redirects are not followed.
//
// Limits are in limits.go.
package notify

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// what is one kind of notice.
type what struct {
	kind   string // stable, for programs
	text   string
	urgent bool // not held back to be gathered with others
	closes bool // the journal has another controller from here on: who subscribed before is told this last
}

// Kinds that are not told by the type of an entry alone.
var (
	access         = what{kind: "access", text: "Somebody opened records of yours, as you allowed. Open your wallet to see who and why."}
	accessRefused  = what{kind: "access-refused", text: "Somebody asked for records of yours and was refused. Nothing was opened. Open your wallet to see who."}
	breakGlass     = what{kind: "break-glass", text: "Somebody used your emergency access. Open your wallet to see who and why.", urgent: true}
	breakGlassDeny = what{kind: "break-glass-refused", text: "Somebody tried to use your emergency access and was refused. Nothing was opened. Open your wallet to see who.", urgent: true}
	ownAccess      = what{kind: "own-access", text: "You opened records of yours through the custodians. If that was not you, open your wallet now and cut off the device."}
	delegateAccess = what{kind: "delegate-access", text: "Somebody who may act for you opened records of yours. Open your wallet to see who."}
	allErased      = what{kind: "journal-erased", text: "Everything in your journal is being erased, and the journal is closed. Notices end with this one.", urgent: true, closes: true}
	other          = what{kind: "other", text: "Something was written into your journal. Open your wallet to see what."}
)

var apart = []what{access, accessRefused, breakGlass, breakGlassDeny, ownAccess, delegateAccess, allErased, other}

// byType are the kinds that an entry's type tells, by the type's name.
var byType = map[string]what{
	"open-journal":     {kind: "journal-opened", text: "Your journal was opened."},
	"add-record":       {kind: "record-added", text: "A record was added to your journal. Open your wallet to see it."},
	"grant":            {kind: "contract-made", text: "A contract about your records was made. If that was not you, open your wallet and withdraw it."},
	"revoke":           {kind: "contract-withdrawn", text: "A contract about your records was withdrawn. Nothing more is opened on it."},
	"contract-ended":   {kind: "contract-ended", text: "A contract about your records ended by itself: its time is over."},
	"contract-used-up": {kind: "contract-used-up", text: "A contract about your records ended by itself: it was used as often as you allowed."},

	"claim-journal":     {kind: "journal-claimed", text: "Your journal is under the control of a wallet now. If that was not you, go to your clinic at once.", urgent: true, closes: true},
	"reissue-claim":     {kind: "claim-reissued", text: "A new code was made with which a wallet takes control of your journal. If you did not ask for it, go to your clinic.", urgent: true},
	"add-device":        {kind: "device-added", text: "A device was added that can act for you. If that was not you, open your wallet and cut it off.", urgent: true},
	"revoke-device":     {kind: "device-removed", text: "A device was cut off from your journal.", urgent: true},
	"rotate-controller": {kind: "key-changed", text: "The key of your journal was changed. If that was not you, act now: open your wallet, or ask your guardians.", urgent: true},
	"set-guardians":     {kind: "guardians-changed", text: "The guardians of your journal were changed. If that was not you, open your wallet now.", urgent: true},
	"propose-recovery":  {kind: "recovery-proposed", text: "Somebody wants to give your journal to a new wallet. If that was not you, open your wallet now and stop it.", urgent: true},
	"approve-recovery":  {kind: "recovery-approved", text: "A guardian agreed to give your journal to a new wallet. If you did not ask for it, open your wallet now and stop it.", urgent: true},
	"veto-recovery":     {kind: "recovery-stopped", text: "The attempt to give your journal to a new wallet was stopped.", urgent: true},
	"recovery-waiting":  {kind: "recovery-agreed", text: "Your guardians agreed: your journal goes to a new wallet soon. If you did not ask for it, open your wallet now and stop it.", urgent: true},
	"journal-recovered": {kind: "journal-recovered", text: "Your journal was given to a new wallet. The old one opens nothing any more.", urgent: true, closes: true},
	"recovery-expired":  {kind: "recovery-expired", text: "The attempt to give your journal to a new wallet came to nothing: not enough guardians agreed in time."},

	"break-glass-opened": {kind: "break-glass-session", text: "Your emergency access is in use. It ends by itself, within a day, and somebody else must review it."},
	"review-break-glass": {kind: "break-glass-reviewed", text: "A use of your emergency access was reviewed. Open your wallet to see what was found."},
	"review-missed":      {kind: "review-missed", text: "A use of your emergency access was not reviewed in time. Open your wallet; you can ask why.", urgent: true},
	"set-card":           {kind: "card-changed", text: "Your emergency card was changed."},
	"delegate":           {kind: "delegation-made", text: "Somebody may act for you now. If that was not you, open your wallet and end it.", urgent: true},
	"end-delegation":     {kind: "delegation-ended", text: "Somebody may not act for you any more."},
	"delegation-ended":   {kind: "delegation-ended", text: "Somebody may not act for you any more: the time you set is over."},

	"erase":             {kind: "erasure", text: "Records of yours are being erased. Open your wallet to watch it.", urgent: true},
	"records-erased":    {kind: "erasure-begun", text: "Records of yours are closed to everybody, and every organisation now deletes them."},
	"attest-erasure":    {kind: "erasure-attested", text: "An organisation signed that it erased records of yours."},
	"set-hold":          {kind: "hold", text: "An organisation must keep records of yours for a while, by law. Open your wallet to see until when."},
	"lift-hold":         {kind: "hold-lifted", text: "An organisation need not keep records of yours any more."},
	"hold-ended":        {kind: "hold-lifted", text: "An organisation need not keep records of yours any more."},
	"request-amendment": {kind: "amendment-asked", text: "A correction of a record was asked for in your name. If that was not you, open your wallet."},
	"answer-amendment":  {kind: "amendment-answered", text: "An organisation answered your wish to have a record corrected. Open your wallet to read it."},
	"amendment-overdue": {kind: "amendment-overdue", text: "An organisation did not answer your wish to have a record corrected in time. Open your wallet; you can complain."},
}

// classify finds an entry's kind.
func classify(e protocol.Entry) what {
	if e.Type == protocol.TypeErase {
		var erase protocol.Erase
		if protocol.Decode(e.Action, &erase) == nil && erase.Everything {
			return allErased
		}
	}
	if e.Type != protocol.TypeRequestAccess {
		if w, ok := byType[e.Type.String()]; ok {
			return w
		}
		return other
	}
	var ask protocol.RequestAccess
	var out protocol.AccessOutcome
	if protocol.Decode(e.Action, &ask) != nil || protocol.Decode(e.Outcome, &out) != nil {
		return other // the ledger wrote both; what cannot be read is told all the same
	}
	emergency := !ask.Reason.IsZero() // whatever the purpose: emergency treatment may break the glass too
	switch {
	case emergency && out.Permitted:
		return breakGlass
	case emergency:
		return breakGlassDeny
	case out.Permitted && e.Signer.Kind == protocol.ActorPatient:
		return ownAccess
	case out.Permitted && e.Signer.Kind == protocol.ActorDelegate:
		return delegateAccess
	case out.Permitted:
		return access
	}
	return accessRefused
}

// Of makes the notice of an entry of a patient's journal.
func Of(e protocol.Entry) api.Notice {
	w := classify(e)
	return api.Notice{Seq: e.Seq, Time: e.Time, Kind: w.kind, Text: w.text, Urgent: w.urgent}
}

// Kinds lists all kinds of notices, in the alphabet's order.
func Kinds() []string {
	out := []string{}
	for _, w := range apart {
		out = append(out, w.kind)
	}
	for _, w := range byType {
		out = append(out, w.kind)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// textOf is the text of a kind, for what was queued before a restart; several types may share a kind, and then say about the same.
var textOf, urgentKind = func() (map[string]string, map[string]bool) {
	text, urgent := map[string]string{}, map[string]bool{}
	all := slices.Clone(apart)
	var names []string
	for n := range byType {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		all = append(all, byType[n])
	}
	for _, w := range all {
		if _, known := text[w.kind]; !known {
			text[w.kind] = w.text
		}
		urgent[w.kind] = urgent[w.kind] || w.urgent
	}
	return text, urgent
}()
