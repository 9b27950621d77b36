package proof

import (
	"fmt"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// forgotten puts erasures, holds and amendments into words.
func (w *wording) forgotten(l *LogLine, e protocol.Entry) (told bool, err error) {
	say := func(format string, args ...any) { l.Text = fmt.Sprintf(format, args...) }
	decode := func(into any) bool {
		err = protocol.Decode(e.Action, into)
		return err == nil
	}
	about := func(id protocol.RecordID) string {
		l.Records = []protocol.RecordID{id}
		if label, ok := w.labels[id]; ok {
			l.What = []string{w.class(label)}
			return "a record of " + l.What[0]
		}
		return "record " + id.String()[:8]
	}
	switch e.Type {
	case protocol.TypeErase:
		var a protocol.Erase
		if decode(&a) {
			say("The patient erased %s", w.erased(l, a))
		}
	case protocol.EventRecordsErased:
		var a protocol.RecordsErased
		if decode(&a) {
			say("%d %s erased: %d nodes are to delete and attest it", a.Count, plural(int(a.Count), "record"), a.Nodes)
			if a.Held > 0 {
				l.Text += fmt.Sprintf("; %d more, closed to everybody, are kept until a hold is over", a.Held)
			}
		}
	case protocol.TypeAttestErasure:
		var a protocol.AttestErasure
		if decode(&a) {
			say("%s attests that it keeps no byte of %d erased %s", w.name(l.Who), a.Count, plural(int(a.Count), "record"))
		}
	case protocol.TypeSetHold:
		var a protocol.SetHold
		if decode(&a) {
			what := "all its records"
			if len(a.Records) > 0 {
				what, l.Records = fmt.Sprintf("%d of its records", len(a.Records)), a.Records
			}
			say("%s holds %s until %s: %s", w.name(l.Who), what, timeText(a.Until), a.Code)
		}
	case protocol.TypeLiftHold:
		say("%s lifted a hold", w.name(l.Who))
	case protocol.EventHoldEnded:
		say("A hold ended by itself: its time was over")
	case protocol.TypeRequestAmendment:
		var a protocol.RequestAmendment
		if decode(&a) {
			say("The patient asked for the amendment of %s", about(a.Record))
		}
	case protocol.TypeAnswerAmendment:
		var a protocol.AnswerAmendment
		if decode(&a) {
			if what := about(a.Record); a.Denial == 0 {
				say("%s amended %s", w.name(l.Who), what)
			} else {
				say("%s does not amend %s: %s", w.name(l.Who), what, a.Denial)
			}
		}
	case protocol.EventAmendmentOverdue:
		var a protocol.AmendmentOverdue
		if decode(&a) {
			say("The time to answer the request to amend %s is over", about(a.Record))
		}
	default:
		return false, nil
	}
	return true, err
}

func (w *wording) erased(l *LogLine, a protocol.Erase) string {
	l.Records = a.Records
	for _, label := range a.Labels {
		l.What = append(l.What, w.class(label))
	}
	switch {
	case a.Everything:
		return "everything, and closed the journal"
	case !a.Author.IsZero():
		name := w.Members[a.Author]
		if name == "" {
			name = "member " + short(a.Author.String())
		}
		return "what " + printable(name) + " wrote"
	case len(a.Labels) > 0:
		return fmt.Sprintf("all records of %d %s", len(a.Labels), map[bool]string{true: "class", false: "classes"}[len(a.Labels) == 1])
	}
	return fmt.Sprintf("%d %s", len(a.Records), plural(len(a.Records), "record"))
}
