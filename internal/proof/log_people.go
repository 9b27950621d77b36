package proof

import (
	"fmt"
	"strings"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// people puts into words the entries in which people stand in for each other; ok is false for others.
func (w *wording) people(l *LogLine, e protocol.Entry) (ok bool, err error) {
	switch e.Type {
	case protocol.TypeSetCard:
		var a protocol.SetCard
		err = protocol.Decode(e.Action, &a)
		l.Text = "The patient made an emergency card"
		if l.Withdrawn = a.Card.IsZero(); l.Withdrawn {
			l.Text = "The patient withdrew the emergency card"
		}
	case protocol.TypeDelegate:
		var a protocol.Delegate
		err = protocol.Decode(e.Action, &a)
		for _, label := range a.Labels {
			l.What = append(l.What, w.class(label))
		}
		scope := "everything"
		if len(l.What) > 0 {
			scope = strings.Join(l.What, ", ")
		}
		l.Text = fmt.Sprintf("%s let delegate %s %s: %s, until %s", w.name(l.Who), short(a.Key.String()), a.Level, scope, timeText(a.NotAfter))
	case protocol.TypeEndDelegation:
		var a protocol.EndDelegation
		err = protocol.Decode(e.Action, &a)
		l.Text = fmt.Sprintf("%s ended the delegation of %s", w.name(l.Who), short(a.Key.String()))
	case protocol.EventDelegationEnded:
		var a protocol.DelegationEvent
		err = protocol.Decode(e.Action, &a)
		l.Text = fmt.Sprintf("The delegation of %s ended by itself", short(a.Key.String()))
	case protocol.TypeReviewBreakGlass:
		var a protocol.ReviewBreakGlass
		err = protocol.Decode(e.Action, &a)
		l.Access, l.Verdict = a.Session.String(), a.Verdict.String()
		l.Text = fmt.Sprintf("%s reviewed the emergency session %s and called it %s", w.name(l.Who), short(a.Session.String()), a.Verdict)
	case protocol.EventBreakGlassOpened, protocol.EventReviewMissed:
		var a protocol.BreakGlassEvent
		err = protocol.Decode(e.Action, &a)
		l.Access = a.Session.String()
		l.Text = fmt.Sprintf("%s broke the glass: until %s at most; a review is due by %s", w.practitioner(a.Practitioner), timeText(a.Ends), timeText(a.ReviewDue))
		if e.Type == protocol.EventReviewMissed {
			l.Text = fmt.Sprintf("The review of the emergency session of %s is MISSING: it was due by %s", w.practitioner(a.Practitioner), timeText(a.ReviewDue))
		}
	default:
		return false, nil
	}
	return true, err
}

func (w *wording) practitioner(id protocol.PractitionerID) string {
	if p, ok := w.Practitioners[id]; ok && p.Name != "" {
		return printable(p.Name)
	}
	return "Practitioner " + short(id.String())
}
