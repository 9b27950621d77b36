package proof

import (
	"errors"
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// ErrSealing says that a gateway's answer to what records are to be sealed to does not follow from a checkpoint that the network cosigned.
// Nothing should be sealed to it: whoever holds the key that it names instead could read the record without a trace.
var ErrSealing = errors.New("what to seal to is not proven")

// SealedTo is whom the records of a journal are sealed to, besides what else its row says.
type SealedTo struct {
	Journal protocol.JournalRow
	Keys    *threshold.Keys // of the custodians, in the generation that serves new records
}

// CheckSealing checks it against the trust policy in o, which must be there. The error wraps ErrSealing.
func CheckSealing(s *api.Sealing, chain string, in protocol.JournalID, o Options) (out SealedTo, err error) {
	policy, err := c2sp.ParsePolicy(o.Policy)
	if err != nil {
		return out, fmt.Errorf("%w: trust policy: %w", ErrSealing, err)
	}
	c := &checker{o: o, r: newReport(), policy: policy, content: &content{proof: &api.JournalProof{Checkpoint: s.Checkpoint, Seal: s.Seal}}}
	c.genesis.Chain = chain
	c.checkCheckpoint()
	c.checkSeal()
	if r := c.r.done(); !r.OK {
		return out, fmt.Errorf("%w: %s", ErrSealing, r.Failures[0])
	}
	var current protocol.CurrentKeyRow
	var key protocol.CustodyKeyRow
	err = c.row("the journal", protocol.StateKeyJournal(in), s.Journal, &out.Journal)
	if err == nil {
		err = c.row("the current key", protocol.StateKeyCurrentKey(), s.Current, &current)
	}
	if err == nil {
		err = c.row("the custodians' key", protocol.StateKeyCustodyKey(current.Generation), s.Key, &key)
	}
	if err == nil {
		out.Keys, err = threshold.ParseKeys(key.Keys)
	}
	if err == nil && (out.Keys.Generation != current.Generation || out.Keys.Epoch != key.Epoch) {
		err = errors.New("the custodians' key is of another generation")
	}
	if err != nil {
		return SealedTo{}, fmt.Errorf("%w: %w", ErrSealing, err)
	}
	return out, nil
}

// row checks a row against the seal's map and decodes it.
func (c *checker) row(what string, key []byte, row api.ProvenRow, into any) error {
	if err := c.inMap(key, row.Row, row.Proof); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := protocol.Decode(row.Row, into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
