package ledger_test

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// publicKey is the key of that name; it remembers the name.
func (s *script) publicKey(name string) protocol.PublicKey {
	_, pub := ledgertest.Key(name)
	s.names["key "+string(pub[:])] = name
	return pub
}

func (s *script) keyName(k protocol.PublicKey) string {
	if k.IsZero() {
		return "the patient"
	}
	if n, ok := s.names[string(k[:])]; ok {
		return n
	}
	if n, ok := s.names["key "+string(k[:])]; ok {
		return n
	}
	for name, who := range s.who {
		if who.Signer.Key == k {
			return name
		}
	}
	return fmt.Sprintf("%x", k[:4])
}

func (s *script) claimOf(j protocol.JournalID, code string) protocol.Hash {
	if code == "" {
		return protocol.Hash{}
	}
	return protocol.ClaimCommitment(s.w.L.Chain(), j, s.publicKey("code "+code))
}

// policy reads groups=2:g1,g2,g3/1:d1,d2 delay=48h, and remembers it under the name.
func (s *script) policy(name string, w words) []byte {
	groups, ok := w.args["groups"]
	if !ok {
		p := s.policies[name]
		return protocol.Encode(p)
	}
	p := protocol.GuardianPolicy{Salt: [16]byte{byte(len(s.policies) + 1)}, DelayMillis: millis(cmp.Or(w.args["delay"], "48h"))}
	for _, g := range strings.Split(groups, "/") {
		need, who, _ := strings.Cut(g, ":")
		group := protocol.GuardianGroup{Need: uint8(number(need))}
		for _, name := range strings.Split(who, ",") {
			group.Keys = append(group.Keys, s.publicKey(name))
		}
		p.Groups = append(p.Groups, group)
	}
	s.policies[name] = p
	return protocol.Encode(p)
}

// controlAction reads
//
//	claim CODE [agreed=MEMBER] [proof=CODE]     reissue CODE
//	device KEY [proof=KEY]                      cutoff KEY
//	turn KEY [proof=KEY]                        guardians NAME [groups=… delay=…] | guardians none
//	recover NAME to=KEY policy=NAME [groups=… delay=…] [proof=KEY]
//	second NAME                                 veto NAME
func (s *script) controlAction(by *ledgertest.Who, in protocol.JournalID, w words) protocol.Action {
	name, chain := w.args[""], s.w.L.Chain()
	recipient := sha256.Sum256([]byte(name))
	s.publicKey(by.Name)
	switch w.verb {
	case "claim":
		message := protocol.ClaimMessage(chain, in, by.Signer.Key, recipient)
		return &protocol.ClaimJournal{Code: s.publicKey("code " + name), CodeProof: ed25519.Sign(s.keyOf("code "+cmp.Or(w.args["proof"], name)), message),
			Recipient: recipient, Agreement: ed25519.Sign(s.keyOf(cmp.Or(w.args["agreed"], "m1")), message)}
	case "reissue":
		return &protocol.ReissueClaim{Claim: s.claimOf(in, name)}
	case "device":
		key, called := s.publicKey(name), protocol.Digest("anamnesis/device-name/v1", []byte(name))
		return &protocol.AddDevice{Key: key, Name: called, Proof: ed25519.Sign(s.keyOf(cmp.Or(w.args["proof"], name)), protocol.DeviceMessage(chain, in, key, called))}
	case "cutoff":
		return &protocol.RevokeDevice{Key: s.publicKey(name)}
	case "turn":
		key := s.publicKey(name)
		if w.args["nobodys"] != "" { // goes on with the recipient of a provisional journal
			recipient = protocol.NobodyRecipient(chain, in)
		}
		return &protocol.RotateController{Controller: key, Recipient: recipient,
			Proof: ed25519.Sign(s.keyOf(cmp.Or(w.args["proof"], name)), protocol.ControlMessage(chain, in, key, recipient))}
	case "guardians":
		if name == "none" {
			return &protocol.SetGuardians{}
		}
		return &protocol.SetGuardians{Guardians: protocol.GuardianCommitment(chain, in, s.policy(name, w))}
	case "recover":
		key := s.publicKey(w.args["to"])
		return &protocol.ProposeRecovery{Policy: s.policy(w.args["policy"], w), Controller: key, Recipient: recipient,
			Proof: ed25519.Sign(s.keyOf(cmp.Or(w.args["proof"], w.args["to"])), protocol.ControlMessage(chain, in, key, recipient))}
	case "second":
		return &protocol.ApproveRecovery{Recovery: s.id(name)}
	case "veto":
		return &protocol.VetoRecovery{Recovery: s.id(name)}
	}
	return nil
}

// control shows who controls a journal.
func (s *script) control(v *ledger.View, id protocol.JournalID, out *strings.Builder) {
	row, ok, err := journal.Get(v, id)
	if err != nil || !ok {
		panic(fmt.Errorf("%w: no such journal: %v", errScript, err))
	}
	fmt.Fprintf(out, "controller %s", s.keyName(row.Controller))
	if row.Provisional() {
		fmt.Fprintf(out, ", provisional until %s", s.when(row.ClaimUntil))
	}
	if !row.Guardians.IsZero() {
		fmt.Fprintf(out, ", guardians")
	}
	if row.Due != 0 {
		fmt.Fprintf(out, ", recovery due %s", s.when(row.Due))
	}
	fmt.Fprintln(out)
	var lines []string
	for _, d := range must(journal.Devices(v, id)) {
		state := "active"
		if d.Row.Revoked != 0 {
			state = "revoked " + s.when(d.Row.Revoked)
		}
		lines = append(lines, fmt.Sprintf("device %s: %s", s.keyName(d.Key), state))
	}
	for _, r := range must(journal.Recoveries(v, id)) {
		lines = append(lines, fmt.Sprintf("recovery %s: %s, %d approved, at %s", s.name(r.ID), r.Row.State, len(r.Row.Approvals), s.when(r.Row.At)))
	}
	slices.Sort(lines)
	for _, l := range lines {
		fmt.Fprintln(out, l)
	}
}

// matrix tries every action by every actor, each in a block that is never committed. An actor is NAME, NAME@KEY (signs with that key), or
// KEY→NAME (a guardian of NAME).
func (s *script) matrix(d *datadriven.TestData) string {
	var out strings.Builder
	actors := make([]string, len(d.CmdArgs))
	for i, a := range d.CmdArgs {
		actors[i] = a.Key
	}
	fmt.Fprintf(&out, "%-20s", "by")
	for _, a := range actors {
		fmt.Fprintf(&out, " %-18s", a)
	}
	for _, line := range lines(d.Input) {
		actions, in, _ := strings.Cut(line, " / ")
		verb, _, _ := strings.Cut(actions, " ")
		fmt.Fprintf(&out, "\n%-20s", verb)
		for _, a := range actors {
			head := a
			if name, key, ok := strings.Cut(a, "@"); ok {
				head = name + " key=" + key
			} else if guardian, of, ok := strings.Cut(a, "→"); ok {
				head = guardian + " for=" + of
			}
			head += " in=" + cmp.Or(in, "none")
			v := s.envelope(head + ": " + actions)
			for _, a := range v.Body.Actions {
				s.tried[a.Type] = true
			}
			applied := must(s.w.L.Apply(ledger.Block{Height: s.w.L.Head().Height + 1, Time: s.w.Time, Parcels: [][]*protocol.Verified{{v}}}))
			fmt.Fprintf(&out, " %-18s", applied.Results[0][0].Reason)
		}
	}
	return strings.Join(lines(out.String()), "\n") + "\n"
}
