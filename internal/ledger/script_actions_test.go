package ledger_test

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// words are the name and the arguments of an action: «grant g1 to=doctor» has the arguments "" → g1 and to → doctor.
type words struct {
	verb string
	args map[string]string
}

func parse(text string) words {
	w := words{args: map[string]string{}}
	text, w.args["cedar"], _ = strings.Cut(text, " cedar=")
	for i, f := range strings.Fields(text) {
		k, v, ok := strings.Cut(f, "=")
		switch {
		case i == 0:
			w.verb = f
		case ok:
			w.args[k] = v
		case f == "broken", f == "may":
			w.args[f] = f
		default:
			w.args[""] = f
		}
	}
	return w
}

// envelope makes the envelope that a line describes.
func (s *script) envelope(line string) *protocol.Verified {
	if name, ok := strings.CutPrefix(line, "resend "); ok {
		v := s.envelopes[name]
		if v == nil {
			panic(fmt.Errorf("%w: no envelope %q", errScript, name))
		}
		return v
	}
	before, after, ok := strings.Cut(line, ": ")
	if !ok {
		panic(fmt.Errorf("%w: %q", errScript, line))
	}
	head := parse(before)
	by := s.actor(head, after)
	journal := protocol.JournalID{}
	switch by.Signer.Kind {
	case protocol.ActorPatient, protocol.ActorDelegate, protocol.ActorGuardian:
		journal = by.Journal()
	}
	if in, ok := head.args["in"]; ok {
		journal = protocol.JournalID{}
		if in != "none" {
			journal = s.id(in)
		}
	}
	var actions []protocol.Action
	for _, text := range strings.Split(after, " & ") {
		actions = append(actions, s.action(by, journal, parse(text)))
	}
	v := s.sign(by, journal, head, actions)
	for i, text := range strings.Split(after, " & ") {
		s.christen(v, i, parse(text))
	}
	if name, ok := head.args["as"]; ok {
		s.envelopes[name] = v
	}
	return v
}

// actor is who signs: somebody met before, a new patient who opens a journal, or a stranger.
func (s *script) actor(head words, rest string) *ledgertest.Who {
	if of, ok := head.args["for"]; ok { // a guardian of that patient
		k, pub := ledgertest.Key(head.verb)
		return &ledgertest.Who{Name: head.verb, Key: k, Signer: protocol.GuardianSigner(s.id(of), pub)}
	}
	by := s.who[head.verb]
	if by == nil {
		k, pub := ledgertest.Key(head.verb)
		by = &ledgertest.Who{Name: head.verb, Key: k, Signer: protocol.PractitionerSigner(protocol.PractitionerID(pub[:16]), pub)}
		if strings.HasPrefix(rest, "open") {
			by.Signer.Kind = protocol.ActorPatient
		}
		s.meet(by)
	}
	if name, ok := head.args["key"]; ok {
		other := *by
		var pub protocol.PublicKey
		other.Key, pub = ledgertest.Key(name)
		s.publicKey(name)
		other.Signer.Key = pub
		return &other
	}
	return by
}

func (s *script) sign(by *ledgertest.Who, journal protocol.JournalID, head words, actions []protocol.Action) *protocol.Verified {
	v := s.w.Envelope(by, journal, actions...)
	body := v.Body
	if e, ok := head.args["expires"]; ok {
		body.NotAfter = s.w.Time + millis(e)
	}
	body.Chain = cmp.Or(head.args["chain"], body.Chain)
	if n, ok := head.args["version"]; ok {
		body.Version = uint16(number(n))
	}
	raw, _ := protocol.Sign(body, func(m []byte) []byte { return ed25519.Sign(by.Key, m) })
	return must(protocol.VerifyEnvelope(raw))
}

// christen names what an action makes.
func (s *script) christen(v *protocol.Verified, i int, w words) {
	name := w.args[""]
	var id [16]byte
	switch w.verb {
	case "grant":
		id = protocol.DerivedContractID(v.ID, i)
	case "access":
		id = protocol.DerivedAccessID(v.ID, i)
	case "erase":
		id = protocol.DerivedErasureID(v.ID, i)
	case "hold":
		id = protocol.DerivedHoldID(v.ID, i)
		release := protocol.ReleaseID(id)
		s.names[string(release[:])] = "end of " + name
		s.ids["end-of-"+name] = release
	case "recover":
		id = protocol.DerivedRecoveryID(v.ID, i)
	default:
		return
	}
	s.names[string(id[:])] = cmp.Or(name, "unnamed")
	s.ids[name] = id
}

func (s *script) id(name string) [16]byte {
	id, ok := s.ids[name]
	if !ok {
		id = [16]byte(bytes.Repeat([]byte(name), 16)[:16])
		s.names[string(id[:])] = name
	}
	return id
}

func (s *script) action(by *ledgertest.Who, journal protocol.JournalID, w words) protocol.Action {
	name := w.args[""]
	switch w.verb {
	case "practitioner":
		return s.practitioner(w)
	case "open":
		sponsor := s.who[w.args["sponsor"]]
		message := protocol.SponsorMessage(s.w.L.Chain(), sponsor.Signer.Member(), journal, by.Signer.Key)
		recipient := sha256.Sum256([]byte(cmp.Or(w.args["recipient"], by.Name)))
		if w.args["claim"] != "" && w.args["recipient"] == "" {
			recipient = protocol.NobodyRecipient(s.w.L.Chain(), journal)
		}
		return &protocol.OpenJournal{Recipient: recipient, Sponsor: sponsor.Signer.Member(),
			Agreement: ed25519.Sign(s.keyOf(cmp.Or(w.args["agreed"], sponsor.Name)), message), Claim: s.claimOf(journal, w.args["claim"])}
	case "record":
		id := s.id(name)
		return &protocol.AddRecord{Record: id, Label: label(w.args["label"]), Ciphertext: protocol.Hash{id[0], 1}, Size: uint64(number(cmp.Or(w.args["size"], "4096"))), Capsule: protocol.Hash{id[0], 2},
			Generation: uint32(number(cmp.Or(w.args["generation"], "1"))), Manifest: protocol.Hash{3}, Root: protocol.Hash{4}, Relation: s.relation(w), About: s.about(w)}
	case "grant":
		return s.grant(w)
	case "revoke":
		return &protocol.Revoke{Contract: s.id(name)}
	case "access":
		return s.access(w)
	case "propose":
		m, who := ledgertest.Member(name)
		if key, ok := w.args["key"]; ok {
			_, m.Key = ledgertest.Key(key)
			who.Signer = protocol.MemberSigner(m.ID(), m.Key)
		}
		s.meet(who)
		return &protocol.ProposeMember{Member: m}
	case "remove":
		return &protocol.ProposeRemoval{Member: s.id(name)}
	case "approve":
		if v := s.envelopes[name]; v != nil {
			return &protocol.Approve{Proposal: v.ID}
		}
		return &protocol.Approve{Proposal: protocol.ActionID{9}}
	case "rotate":
		_, pub := ledgertest.Key(name)
		return &protocol.RotateMemberKey{Key: pub, Proof: ed25519.Sign(s.keyOf(cmp.Or(w.args["proof"], name)),
			protocol.KeyProofMessage(s.w.L.Chain(), by.Signer.Member(), pub))}
	}
	if a := s.peopleAction(journal, w); a != nil {
		return a
	}
	if a := s.controlAction(by, journal, w); a != nil {
		return a
	}
	if a := s.keygenAction(by, w); a != nil {
		return a
	}
	if a := s.forgetAction(w); a != nil {
		return a
	}
	panic(fmt.Errorf("%w: unknown action %q", errScript, w.verb))
}

func (s *script) keyOf(name string) ed25519.PrivateKey {
	if w := s.who[name]; w != nil {
		return w.Key
	}
	k, _ := ledgertest.Key(name)
	return k
}

func (s *script) practitioner(w words) protocol.Action {
	name := w.args[""]
	k, pub := ledgertest.Key(cmp.Or(w.args["key"], name))
	who := s.who[name]
	if who == nil {
		_, own := ledgertest.Key(name) // the id is by the name: with another's key it is another practitioner all the same
		who = &ledgertest.Who{Name: name, Signer: protocol.PractitionerSigner(protocol.PractitionerID(own[:16]), pub)}
		s.meet(who)
	}
	who.Key, who.Signer.Key = k, pub
	var role protocol.Role
	if err := role.UnmarshalText([]byte(cmp.Or(w.args["role"], "physician"))); err != nil {
		panic(err)
	}
	status := map[string]protocol.PractitionerStatus{"": protocol.PractitionerActive, "suspended": protocol.PractitionerSuspended, "revoked": protocol.PractitionerRevoked}
	return &protocol.SetPractitioner{Practitioner: who.Signer.ID, Key: pub, Role: role, Status: status[w.args["status"]],
		ValidUntil: s.w.Time + millis(cmp.Or(w.args["valid"], "8760h")), Commitment: protocol.Hash{1}}
}

func label(text string) protocol.Label { return protocol.Label{byte(number(text))} }

// grant reads may=read|write, to=NAME, label=N, record=NAME, purpose=CODE, forbid=yes, glass=yes, from=10s, until=60s, uses=N; or cedar=… to the end.
func (s *script) grant(w words) protocol.Action {
	g := &protocol.Grant{NotAfter: s.w.Time + millis(cmp.Or(w.args["until"], "1h")), UsesMax: uint32(number(cmp.Or(w.args["uses"], "0")))}
	if from, ok := w.args["from"]; ok {
		g.NotBefore = s.w.Time + millis(from)
	}
	if raw := w.args["cedar"]; raw != "" {
		g.Policy = []byte(raw)
		return g
	}
	effect, principal, resource, when := "permit", "principal", "resource", ""
	if w.args["forbid"] != "" {
		effect = "forbid"
	}
	if to, ok := w.args["to"]; ok {
		who := s.who[to]
		kind := "principal in Member"
		if who.Signer.Kind == protocol.ActorPractitioner {
			kind = "principal == Practitioner"
		}
		principal = fmt.Sprintf("%s::%q", kind, protocol.MemberID(who.Signer.ID))
	}
	if l, ok := w.args["label"]; ok {
		resource = fmt.Sprintf("resource in Class::%q", label(l))
	}
	if r, ok := w.args["record"]; ok {
		resource = fmt.Sprintf("resource == Record::%q", protocol.RecordID(s.id(r)))
	}
	if p, ok := w.args["purpose"]; ok {
		when = fmt.Sprintf(" when { context.purpose == Purpose::%q }", p)
	}
	if w.args["glass"] != "" {
		when = " when { context.breakglass }"
	}
	g.Policy = canonical(s.t, fmt.Sprintf("%s(%s, action == Action::%q, %s)%s;", effect, principal, cmp.Or(w.args["may"], "read"), resource, when))
	return g
}

// access reads label=1,2 or record=a,b, purpose=CODE, and reason=NAME.
func (s *script) access(w words) protocol.Action {
	a := &protocol.RequestAccess{Purpose: protocol.PurposeTreat, OneTime: [32]byte{9}, OneTimeKEM: protocol.OneTimeX25519}
	if p, ok := w.args["purpose"]; ok {
		if err := a.Purpose.UnmarshalText([]byte(p)); err != nil {
			panic(err)
		}
	}
	if r, ok := w.args["reason"]; ok {
		a.Reason = protocol.Hash(sha256.Sum256([]byte(r)))
	}
	if l, ok := w.args["label"]; ok {
		for _, one := range strings.Split(l, ",") {
			a.Labels = append(a.Labels, label(one))
		}
		return a
	}
	for _, one := range strings.Split(w.args["record"], ",") {
		a.Records = append(a.Records, s.id(one))
	}
	slices.SortFunc(a.Records, func(x, y protocol.RecordID) int { return bytes.Compare(x[:], y[:]) })
	return a
}
