package client

import (
	"errors"
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Liar is a custodian whose answer was false, with what proves it to anybody: the answer as its node signed it. It holds one custodian's
// partials, which open nothing alone; t of them for one access would, so evidence against a threshold of custodians is not for the public.
type Liar struct {
	Custodian uint16            `json:"custodian"`
	Access    protocol.AccessID `json:"access"`
	OneTime   []byte            `json:"one_time"`  // the reader's one-time public key, which the answer was for
	Partials  []byte            `json:"partials"`  // threshold.Partials
	Signature []byte            `json:"signature"` // of custodian.AnswerMessage, by the node's peer key
	Capsules  [][]byte          `json:"capsules"`  // asked about, in order
}

// ErrEvidence says that what is held against a custodian does not prove that it lied.
var ErrEvidence = errors.New("this does not prove that the custodian lied")

// VerifyLiar tells a third party whether evidence proves that a custodian answered falsely: its node signed the answer, and the answer's
// own proof does not hold against the custodian's verification key. It needs nothing but what is public: the network's genesis, and the
// custodians' keys of the generation and epoch of the answer. nil means that the custodian lied; every other outcome wraps ErrEvidence.
func VerifyLiar(g protocol.Genesis, keys *threshold.Keys, l Liar) error {
	m, ok := nodeOf(g, l.Custodian)
	if !ok {
		return fmt.Errorf("%w: the network has no custodian %d", ErrEvidence, l.Custodian)
	}
	if len(l.OneTime) != 32 {
		return fmt.Errorf("%w: a one-time key has 32 bytes", ErrEvidence)
	}
	capsules := make([]*threshold.Capsule, len(l.Capsules))
	for i, raw := range l.Capsules {
		c, err := threshold.ParseCapsule(raw)
		if err != nil {
			return fmt.Errorf("%w: capsule %d: %w", ErrEvidence, i, err)
		}
		if c.Generation() != keys.Generation {
			return fmt.Errorf("%w: capsule %d is of generation %d, which the keys are not", ErrEvidence, i, c.Generation())
		}
		capsules[i] = c
	}
	message := custodian.AnswerMessage(g.Chain, l.Access, [32]byte(l.OneTime), capsules, l.Partials)
	if !protocol.VerifySignature(m.Node.Peer, message, l.Signature) {
		return fmt.Errorf("%w: custodian %d did not sign it", ErrEvidence, l.Custodian)
	}
	p, err := threshold.ParsePartials(l.Partials)
	if err != nil {
		return fmt.Errorf("%w: the answer cannot be read: %w", ErrEvidence, err)
	}
	if p.Generation != keys.Generation || p.Epoch != keys.Epoch {
		return fmt.Errorf("%w: the answer is of generation %d and epoch %d, the keys are not", ErrEvidence, p.Generation, p.Epoch)
	}
	key, err := keys.Key(int(l.Custodian))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	binding := threshold.Binding{Chain: g.Chain, Access: l.Access, OneTimeKey: l.OneTime}
	switch err := threshold.VerifyPartials(key, capsules, binding, p); {
	case err == nil:
		return fmt.Errorf("%w: the answer is true", ErrEvidence)
	case errors.Is(err, threshold.ErrProof), errors.Is(err, threshold.ErrMismatch):
		return nil
	default:
		return fmt.Errorf("%w: %w", ErrEvidence, err)
	}
}

// nodeOf is the founding member whose node is the custodian with this index.
func nodeOf(g protocol.Genesis, index uint16) (protocol.Member, bool) {
	at := uint16(0)
	for _, m := range g.Members {
		if m.HasNode() {
			if at++; at == index {
				return m, true
			}
		}
	}
	return protocol.Member{}, false
}
