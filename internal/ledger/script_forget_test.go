package ledger_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// relation and about read supersedes=NAME or statement=NAME of a record.
func (s *script) relation(w words) protocol.Relation {
	switch {
	case w.args["supersedes"] != "":
		return protocol.RelationSupersedes
	case w.args["statement"] != "":
		return protocol.RelationStatement
	}
	return protocol.RelationNone
}

func (s *script) about(w words) (id protocol.RecordID) {
	if name := w.args["supersedes"] + w.args["statement"]; name != "" {
		id = s.id(name)
	}
	return id
}

func (s *script) recordIDs(list string) (ids []protocol.RecordID) {
	if list == "" {
		return nil
	}
	for _, one := range strings.Split(list, ",") {
		ids = append(ids, s.id(one))
	}
	slices.SortFunc(ids, func(x, y protocol.RecordID) int { return bytes.Compare(x[:], y[:]) })
	return ids
}

// forgetAction reads
//
//	erase NAME record=a,b | label=1,2 | author=m1 | everything=yes
//	attest NAME [count=N] [root=broken]     as the ledger has it, or wrongly
//	hold NAME [record=a,b] until=10s [code=litigation]     lift NAME
//	ask RECORD statement=NAME     answer RECORD version=NAME | denied=accurate
func (s *script) forgetAction(w words) protocol.Action {
	name := w.args[""]
	switch w.verb {
	case "erase":
		e := &protocol.Erase{Records: s.recordIDs(w.args["record"]), Everything: w.args["everything"] != ""}
		if l := w.args["label"]; l != "" {
			for _, one := range strings.Split(l, ",") {
				e.Labels = append(e.Labels, label(one))
			}
		}
		if m := w.args["author"]; m != "" {
			e.Author = s.id(m)
		}
		return e
	case "attest":
		view := must(s.w.L.View())
		defer view.Close()
		row, _, err := journal.ErasureOf(view, s.id(name))
		must(row, err)
		a := &protocol.AttestErasure{Erasure: s.id(name), Count: row.Count, Root: row.Root}
		if n, ok := w.args["count"]; ok {
			a.Count = uint32(number(n))
		}
		if w.args["root"] != "" {
			a.Root[0] ^= 1
		}
		return a
	case "hold":
		h := &protocol.SetHold{Records: s.recordIDs(w.args["record"]), Until: s.w.Time + millis(w.args["until"]), Code: protocol.HoldLitigation}
		if c, ok := w.args["code"]; ok {
			must(0, h.Code.UnmarshalText([]byte(c)))
		}
		return h
	case "lift":
		return &protocol.LiftHold{Hold: s.id(name)}
	case "ask":
		return &protocol.RequestAmendment{Record: s.id(name), Statement: s.id(w.args["statement"])}
	case "answer":
		a := &protocol.AnswerAmendment{Record: s.id(name)}
		if v := w.args["version"]; v != "" {
			a.Version = s.id(v)
		} else {
			must(0, a.Denial.UnmarshalText([]byte(w.args["denied"])))
		}
		return a
	}
	return nil
}

// bulk writes many records: patient, member, how many, label.
func (s *script) bulk(d *datadriven.TestData) string {
	patient, member := s.who[d.CmdArgs[0].Key], s.who[d.CmdArgs[1].Key]
	n, before := number(d.CmdArgs[2].Key), s.w.L.Head().Height
	for made := int64(0); made < n; {
		var envelopes []*protocol.Verified
		for range 64 {
			var actions []protocol.Action
			for ; len(actions) < 8 && made < n; made++ {
				id := protocol.RecordID{0xb0, byte(made >> 16), byte(made >> 8), byte(made), byte(len(s.w.Blocks)), byte(len(s.w.Blocks) >> 8)}
				actions = append(actions, &protocol.AddRecord{Record: id, Label: label(d.CmdArgs[3].Key), Ciphertext: protocol.Hash(append(id[:], id[:]...)), Size: 4096,
					Capsule: protocol.Hash{2}, Generation: 1, Manifest: protocol.Hash{3}, Root: protocol.Hash{4}})
			}
			if len(actions) > 0 {
				envelopes = append(envelopes, s.w.Envelope(member, patient.Journal(), actions...))
			}
		}
		for _, r := range s.apply(ledger.Block{Parcels: [][]*protocol.Verified{envelopes}}).Results[0] {
			if !r.OK() {
				return r.Reason.String()
			}
		}
	}
	return fmt.Sprintf("%d records in %d blocks\n", n, s.w.L.Head().Height-before)
}

func (s *script) showForgetting(view *ledger.View, d *datadriven.TestData, out *strings.Builder) {
	name := d.CmdArgs[0].Key
	switch d.Cmd {
	case "erasures":
		seen := map[protocol.ErasureID]bool{}
		for n, id := range s.ids {
			e, ok, err := journal.ErasureOf(view, id)
			if must(ok, err) && e.Journal == protocol.JournalID(s.ids[name]) && !seen[id] {
				seen[id] = true
				fmt.Fprintf(out, "%s: through %v, %d gone, %d held, attested %d of %d\n", n, e.Done != 0, e.Count, e.Held, e.Attested, e.Nodes)
			}
		}
	case "holds":
		for _, h := range must(journal.Holds(view, s.ids[name])) {
			fmt.Fprintf(out, "%s: by %s, %s, %d records, until %s\n", s.name(h.ID), s.name(h.Row.Member), h.Row.Code, len(h.Row.Records), s.when(h.Row.Until))
		}
	case "amendment":
		a, ok, err := journal.AmendmentOf(view, s.id(name))
		fmt.Fprintf(out, "%v %s due %s, version %s, denial %d\n", must(ok, err), a.State, s.when(max(a.Due, s.w.L.Head().Time)), s.name(a.Version), a.Denial)
		return
	case "records":
		for _, n := range must(journal.Records(view, s.ids[name])) {
			tie := must(journal.TieOf(view, n.ID))
			state := "kept"
			if must(journal.Closed(view, n)) {
				state = "closed"
			}
			if !tie.Erasure.IsZero() {
				state = "gone by " + s.name(tie.Erasure)
			}
			fmt.Fprintf(out, "%s: label %x by %s, %s, about %s, next %s\n", s.name(n.ID), n.Row.Label[:1], s.name(n.Row.Member), state, s.name(tie.About), s.name(tie.Next))
		}
	}
	text := sorted(out.String())
	out.Reset()
	out.WriteString(text)
}

func (s *script) forgetEvent(st ledger.Stored) string {
	decode := func(into any) {
		if err := protocol.Decode(st.Entry.Action, into); err != nil {
			panic(err)
		}
	}
	switch st.Entry.Type {
	case protocol.TypeAttestErasure:
		var a protocol.AttestErasure
		decode(&a)
		return s.name(a.Erasure)
	case protocol.EventRecordsErased:
		var e protocol.RecordsErased
		decode(&e)
		return fmt.Sprintf("%s: %d gone, %d held, of %d nodes, salt of %s", s.name(e.Erasure), e.Count, e.Held, e.Nodes, s.saltOf(st))
	case protocol.EventHoldEnded:
		var e protocol.HoldEnded
		decode(&e)
		return fmt.Sprintf("%s, salt of %s", s.name(e.Hold), s.saltOf(st))
	}
	var e protocol.AmendmentOverdue
	decode(&e)
	return fmt.Sprintf("%s, salt of %s", s.name(e.Record), s.saltOf(st))
}
