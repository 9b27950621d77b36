package ledger_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// name is the script's name for an id.
func (s *script) name(id [16]byte) string {
	if n, ok := s.names[string(id[:])]; ok {
		return n
	}
	if id == [16]byte{} {
		return "-"
	}
	return fmt.Sprintf("%x", id[:4])
}

// result is an envelope's result, with the decision on each access in it.
func (s *script) result(r protocol.Result, v *protocol.Verified) string {
	if !r.OK() {
		return r.Reason.String()
	}
	out := []string{r.Reason.String()}
	view := must(s.w.L.View())
	defer view.Close()
	for i := r.First; i < view.Head.Size; i++ {
		e := must(view.Entry(i)).Entry
		if e.Cause != v.ID || e.Height != r.Height {
			break
		}
		if e.Type == protocol.TypeRequestAccess {
			out = append(out, s.outcome(e))
		}
	}
	return strings.Join(out, ", ")
}

func (s *script) outcome(e protocol.Entry) string {
	var o protocol.AccessOutcome
	if err := protocol.Decode(e.Outcome, &o); err != nil {
		panic(err)
	}
	var by, records []string
	for _, c := range o.Contracts {
		by = append(by, s.name(c))
	}
	for _, r := range o.Records {
		records = append(records, s.name(r))
	}
	if !o.Permitted {
		return strings.TrimSpace(fmt.Sprintf("refused %s %s", o.Reason, strings.Join(by, " ")))
	}
	if len(by) == 0 {
		return fmt.Sprintf("permitted [%s]", strings.Join(records, " "))
	}
	return fmt.Sprintf("permitted [%s] by %s", strings.Join(records, " "), strings.Join(by, " "))
}

func (s *script) describeHead() string {
	h := s.w.L.Head()
	return fmt.Sprintf("height %d, size %d, time %s", h.Height, h.Size, s.when(h.Time))
}

func (s *script) show(d *datadriven.TestData) string {
	view := must(s.w.L.View())
	defer view.Close()
	var out strings.Builder
	switch d.Cmd {
	case "head":
		return s.describeHead()
	case "journal", "constitution":
		id := protocol.ConstitutionJournal(view.Chain())
		if d.Cmd == "journal" {
			id = s.ids[d.CmdArgs[0].Key]
		}
		if err := view.Journal(id, 0, func(e ledger.Stored) bool { s.entry(&out, e); return true }); err != nil {
			panic(err)
		}
		fmt.Fprintf(&out, "%d in all\n", must(journal.Head(view, id)).Count)
	case "log":
		var last uint64
		d.ScanArgs(s.t, "last", &last)
		for i := view.Head.Size - last; i < view.Head.Size; i++ {
			s.entry(&out, must(view.Entry(i)))
		}
	case "contracts":
		for _, c := range must(consent.Contracts(view, s.ids[d.CmdArgs[0].Key])) {
			fmt.Fprintf(&out, "%s: %s, used %d of %d\n", s.name(c.ID), [...]string{1: "active", 2: "ended", 3: "revoked"}[c.Row.State], c.Row.Uses, c.Row.UsesMax)
		}
		return sorted(out.String())
	case "access":
		row, ok, err := consent.Access(view, s.ids[d.CmdArgs[0].Key])
		fmt.Fprintln(&out, must(ok, err), len(row.Records))
	case "control":
		s.control(view, s.ids[d.CmdArgs[0].Key], &out)
	case "members":
		ids := must(registry.MemberIDs(view))
		for i, m := range must(registry.Members(view)) {
			fmt.Fprintf(&out, "%s: custodian %d, removed %v\n", s.name(ids[i]), m.Custodian, m.Removed)
		}
		return sorted(out.String())
	case "key":
		s.showKey(view, &out)
	case "erasures", "holds", "amendment", "records":
		s.showForgetting(view, d, &out)
	default:
		if text, ok := s.showPeople(view, d.Cmd, func() string { return d.CmdArgs[0].Key }); ok {
			return text
		}
		d.Fatalf(s.t, "unknown command")
	}
	return out.String()
}

func sorted(text string) string {
	l := lines(text)
	slices.Sort(l)
	return strings.Join(l, "\n") + "\n"
}

// entry shows an entry; whose salt it has is said where that is not its own envelope's.
func (s *script) entry(out *strings.Builder, st ledger.Stored) {
	e := st.Entry
	fmt.Fprintf(out, "%s %s", s.when(e.Time), e.Type)
	if e.Signer.Kind != protocol.ActorLedger {
		switch n := s.keyName(e.Signer.Key); {
		case e.Signer.Kind == protocol.ActorDelegate:
			fmt.Fprintf(out, " by %s for %s", n, s.name(e.Signer.ID))
		case e.Signer.Kind == protocol.ActorGuardian:
			fmt.Fprintf(out, " by %s's guardian %s", s.name(e.Signer.ID), n)
		case e.Signer.Kind == protocol.ActorPatient && n != s.name(e.Signer.ID):
			fmt.Fprintf(out, " by %s with %s", s.name(e.Signer.ID), n)
		default:
			fmt.Fprintf(out, " by %s", s.name(e.Signer.ID))
		}
	}
	if !e.Journal.IsZero() {
		fmt.Fprintf(out, " #%d", e.Seq)
	}
	switch e.Type {
	case protocol.TypeRequestAccess:
		fmt.Fprintf(out, " %s", s.outcome(e))
	case protocol.EventContractEnded, protocol.EventContractUsedUp:
		var c protocol.ContractEvent
		if err := protocol.Decode(e.Action, &c); err != nil {
			panic(err)
		}
		fmt.Fprintf(out, " %s, salt of %s", s.name(c.Contract), s.saltOf(st))
	case protocol.EventDelegationEnded:
		var d protocol.DelegationEvent
		if err := protocol.Decode(e.Action, &d); err != nil {
			panic(err)
		}
		fmt.Fprintf(out, " %s, salt of %s", s.keyName(d.Key), s.saltOf(st))
	case protocol.EventBreakGlassOpened, protocol.EventReviewMissed:
		var b protocol.BreakGlassEvent
		if err := protocol.Decode(e.Action, &b); err != nil {
			panic(err)
		}
		fmt.Fprintf(out, " %s by %s, salt of %s", s.name(b.Session), s.name(b.Practitioner), s.saltOf(st))
	case protocol.EventRecordsErased, protocol.EventHoldEnded, protocol.EventAmendmentOverdue, protocol.TypeAttestErasure:
		fmt.Fprintf(out, " %s", s.forgetEvent(st))
	case protocol.EventRecoveryWaiting:
		var r protocol.RecoveryWaiting
		must(0, protocol.Decode(e.Action, &r))
		fmt.Fprintf(out, " %s until %s", s.name(r.Recovery), s.when(r.Due))
	case protocol.EventJournalRecovered, protocol.EventRecoveryExpired:
		var r protocol.RecoveryEvent
		must(0, protocol.Decode(e.Action, &r))
		fmt.Fprintf(out, " %s, salt of %s", s.name(r.Recovery), s.saltOf(st))
	case protocol.EventMemberJoined, protocol.EventMemberRemoved:
		var m protocol.MemberEvent
		if err := protocol.Decode(e.Action, &m); err != nil {
			panic(err)
		}
		fmt.Fprintf(out, " %s", s.name(m.Member))
	}
	fmt.Fprintln(out)
}

// saltOf says whether an event has its cause's salt.
func (s *script) saltOf(st ledger.Stored) string {
	view := must(s.w.L.View())
	defer view.Close()
	first, _, _, ok, err := view.Envelope(st.Entry.Cause)
	if must(ok, err) && must(view.Entry(first)).Salt == st.Salt {
		return "its " + must(view.Entry(first)).Entry.Type.String()
	}
	return "nothing"
}
