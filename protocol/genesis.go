package protocol

import (
	"errors"
	"fmt"
	"strings"
)

// Genesis is what a network begins with. Its canonical encoding is the first thing the engine hands to the ledger.
type Genesis struct {
	_       struct{} `cbor:",toarray"`
	Version uint16
	Chain   string
	Time    uint64 // UTC ms
	Members []Member
	Params  Params
}

// Params are what a network begins with; no action changes them yet.
type Params struct {
	_                  struct{} `cbor:",toarray"`
	QuotaMemberMinute  uint32   // envelopes a member may cause a minute, refused and rejected ones included
	QuotaJournalMinute uint32   // envelopes that may touch a journal a minute
	AccessMillis       uint64   // how long custodians serve an access; at most AccessDeadlineMillis
	KeygenStepMillis   uint64   // time for a step of key generation before the silent are left out
	ReviewMillis       uint64   // from breaking the glass until its review is due
	RecoveryMillisMin  uint64   // the least delay of a recovery by guardians, whatever their policy says

	// EmergencyClasses are what the members recommend that emergency teams may see: the terms of the contract that a wallet signs for a new
	// journal unless its patient names others, or none. Ascending; the ledger itself, to which labels are blind, does nothing with them.
	EmergencyClasses []string
}

// DefaultParams suit a network of a few dozen organisations.
func DefaultParams() Params {
	return Params{QuotaMemberMinute: 60_000, QuotaJournalMinute: 600, AccessMillis: AccessDeadlineMillis, KeygenStepMillis: 30_000,
		ReviewMillis: 72 * 3600_000, RecoveryMillisMin: 3600_000, EmergencyClasses: []string{"allergies", "medications", "problems"}}
}

// Validate checks shapes; errors are plain sentences.
func (g *Genesis) Validate() error {
	if g.Version != Version {
		return fmt.Errorf("%w: genesis is of version %d, this program speaks %d", ErrVersion, g.Version, Version)
	}
	if len(g.Chain) == 0 || len(g.Chain) > ChainBytesMax {
		return fmt.Errorf("a network's id has 1 to %d bytes", ChainBytesMax)
	}
	for _, c := range []byte(g.Chain) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return errors.New("a network's id is made of small letters, digits, '-' and '.'")
		}
	}
	if len(g.Members) == 0 || len(g.Members) > MembersMax {
		return fmt.Errorf("a network begins with 1 to %d members", MembersMax)
	}
	nodes := 0
	keys := make(map[PublicKey]bool)
	for _, m := range g.Members {
		if err := m.validate(); err != nil {
			return fmt.Errorf("member %q: %w", m.Name, err)
		}
		if keys[m.Key] {
			return fmt.Errorf("member %q: its key is another's", m.Name)
		}
		keys[m.Key] = true
		if !m.HasNode() {
			continue
		}
		nodes++
		for _, k := range []PublicKey{m.Node.Validator, m.Node.Log, m.Node.Cosigner, m.Node.Peer} {
			if keys[k] {
				return fmt.Errorf("member %q: a key of its node serves twice", m.Name)
			}
			keys[k] = true
		}
	}
	if nodes == 0 {
		return errors.New("at least one member runs a node")
	}
	if p := g.Params; p.QuotaMemberMinute == 0 || p.QuotaJournalMinute == 0 || p.AccessMillis == 0 || p.AccessMillis > AccessDeadlineMillis || p.KeygenStepMillis == 0 ||
		p.ReviewMillis == 0 || p.ReviewMillis > ReviewMillisMax || p.RecoveryMillisMin > RecoveryDelayMillisMax {
		return errors.New("a parameter is zero or out of range")
	}
	return validateClasses(g.Params.EmergencyClasses)
}

func validateClasses(names []string) error {
	if len(names) > EmergencyClassesMax {
		return fmt.Errorf("emergency teams may see at most %d classes by default", EmergencyClassesMax)
	}
	for i, name := range names {
		if !ValidClass(name) {
			return fmt.Errorf("a class's name has 1 to %d small letters, digits and inner hyphens", ClassBytesMax)
		}
		if i > 0 && names[i-1] >= name {
			return errors.New("classes are ascending, each once")
		}
	}
	return nil
}

// ValidClass tells whether s can name a class of records: 1 to 48 small letters, digits and single inner hyphens.
func ValidClass(s string) bool {
	if len(s) == 0 || len(s) > ClassBytesMax || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && !strings.Contains(s, "--")
}
