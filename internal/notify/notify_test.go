package notify

import (
	"regexp"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// elsewhere are the types whose entries are in no patient's journal.
var elsewhere = []string{"propose-member", "propose-removal", "approve", "rotate-member-key", "set-practitioner", "offer-receiver-key", "deal", "accept-deals", "complain", "reveal",
	"seal", "genesis", "member-joined", "member-removed", "key-activated", "dealer-excluded", "request-access"}

// Every type of entry that a patient's journal can have has words of its own.
func TestEveryEntryHasWords(t *testing.T) {
	skip := strings.Join(elsewhere, " ") + " "
	for n := range protocol.ActionType(4096) {
		name := n.String()
		if strings.HasPrefix(name, "unknown(") || strings.Contains(skip, name+" ") {
			continue
		}
		if _, ok := byType[name]; !ok {
			t.Errorf("no words for %s", name)
		}
	}
}

// Words are of plain letters, end as sentences do, fit a mail's line twice, and no kind is spelled unlike the others.
func TestWords(t *testing.T) {
	code := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	for _, k := range Kinds() {
		text := textOf[k]
		if !code.MatchString(k) || len(text) < 20 || len(text) > 150 || !strings.HasSuffix(text, ".") {
			t.Errorf("%s: %q", k, text)
		}
		for _, r := range text {
			if r < ' ' || r > '~' {
				t.Errorf("%s: %q is not ASCII", k, text)
			}
		}
	}
}

// What the ledger wrote and cannot be read is told all the same; nothing panics.
func FuzzOf(f *testing.F) {
	f.Add(uint16(50), []byte{0x80}, []byte{0x80})
	f.Fuzz(func(t *testing.T, kind uint16, action, outcome []byte) {
		n := Of(protocol.Entry{Type: protocol.ActionType(kind), Action: action, Outcome: outcome})
		if n.Text == "" || textOf[n.Kind] == "" {
			t.Fatal(n)
		}
	})
}

// Whoever breaks the glass is told of as that at once, whatever the purpose; emergency treatment under a contract is an ordinary reading.
func TestBreakingTheGlassIsUrgent(t *testing.T) {
	for _, c := range []struct {
		purpose   protocol.Purpose
		reason    protocol.Hash
		permitted bool
		kind      string
		urgent    bool
	}{
		{protocol.PurposeBreakGlass, protocol.Hash{1}, true, "break-glass", true},
		{protocol.PurposeEmergency, protocol.Hash{1}, true, "break-glass", true},
		{protocol.PurposeEmergency, protocol.Hash{1}, false, "break-glass-refused", true},
		{protocol.PurposeEmergency, protocol.Hash{}, true, "access", false},
	} {
		n := Of(protocol.Entry{Type: protocol.TypeRequestAccess, Signer: protocol.Signer{Kind: protocol.ActorPractitioner},
			Action:  protocol.Encode(protocol.RequestAccess{Purpose: c.purpose, Reason: c.reason, Labels: []protocol.Label{{1}}}),
			Outcome: protocol.Encode(protocol.AccessOutcome{Permitted: c.permitted})})
		if n.Kind != c.kind || n.Urgent != c.urgent {
			t.Errorf("%s, reason %v, permitted %v: told as %s, urgent %v", c.purpose, !c.reason.IsZero(), c.permitted, n.Kind, n.Urgent)
		}
	}
}
