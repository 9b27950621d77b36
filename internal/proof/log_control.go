package proof

import (
	"fmt"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// handsText says in a sentence what an entry about the control of a journal means; empty for other entries.
func handsText(e protocol.Entry) string {
	key := func(k protocol.PublicKey) string { return k.String()[:8] }
	short := func(id protocol.RecoveryID) string { return id.String()[:8] }
	switch body := handsBody(e); a := body.(type) {
	case *protocol.ClaimJournal:
		return "The patient claimed the journal with the one-time code; key " + key(e.Signer.Key) + " controls it now"
	case *protocol.ReissueClaim:
		return "A new one-time code was made for the journal; the old one is dead"
	case *protocol.AddDevice:
		return "The patient added device " + key(a.Key)
	case *protocol.RevokeDevice:
		return "Device " + key(a.Key) + " was cut off"
	case *protocol.RotateController:
		return "The patient replaced the journal's keys; key " + key(a.Controller) + " controls it now"
	case *protocol.SetGuardians:
		if a.Guardians.IsZero() {
			return "The journal has no guardians any more"
		}
		return "The patient chose guardians"
	case *protocol.ProposeRecovery:
		return fmt.Sprintf("Guardian %s proposed to give the journal to key %s (recovery %s)", key(e.Signer.Key), key(a.Controller), short(protocol.DerivedRecoveryID(e.Cause, int(e.Index))))
	case *protocol.ApproveRecovery:
		return fmt.Sprintf("Guardian %s approved recovery %s", key(e.Signer.Key), short(a.Recovery))
	case *protocol.VetoRecovery:
		return fmt.Sprintf("Recovery %s was vetoed", short(a.Recovery))
	case *protocol.RecoveryWaiting:
		return fmt.Sprintf("The guardians have approved recovery %s: the journal changes hands at %s unless the patient or a device vetoes", short(a.Recovery), timeText(a.Due))
	case *protocol.RecoveryEvent:
		if e.Type == protocol.EventRecoveryExpired {
			return fmt.Sprintf("Recovery %s found too few approvals and is over", short(a.Recovery))
		}
		return fmt.Sprintf("The journal changed hands by recovery %s: the old key and all devices are dead", short(a.Recovery))
	}
	return ""
}

// handsBody decodes an action or event about control; nil for others, and for what does not decode.
func handsBody(e protocol.Entry) any {
	var body any = protocol.NewAction(e.Type)
	if event, ok := eventBody(e.Type); ok {
		body = event
	}
	if body == nil || protocol.Decode(e.Action, body) != nil {
		return nil
	}
	return body
}
