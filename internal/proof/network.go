package proof

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// policyYears is how long the trust root of a network's first policy counts.
const policyYears = 10

// Origin is the name of a network's log in checkpoints (C2SP tlog-checkpoint).
func Origin(chain string) string { return "anamnesis/" + chain }

// CosignerName is the name of the cosigner key of a node, by its index among the custodians, from 1.
func CosignerName(chain string, custodian int) string {
	return fmt.Sprintf("%s/node-%d", Origin(chain), custodian)
}

// NetworkPolicy is the trust root that follows from a network's genesis: all founding nodes, a quorum of more than two thirds of them, for
// ten years. The genesis must be valid.
func NetworkPolicy(g protocol.Genesis) (*c2sp.Policy, error) {
	if g.Time > 1<<53 {
		return nil, fmt.Errorf("proof: the genesis is of an impossible time, %d", g.Time)
	}
	var nodes []c2sp.NetworkNode
	for _, m := range g.Members {
		if !m.HasNode() {
			continue
		}
		log, err := c2sp.NewVerifierKey(Origin(g.Chain), c2sp.KeyEd25519, ed25519.PublicKey(m.Node.Log[:]))
		if err != nil {
			return nil, err
		}
		cosigner, err := c2sp.NewVerifierKey(CosignerName(g.Chain, len(nodes)+1), c2sp.KeyCosignatureV1, ed25519.PublicKey(m.Node.Cosigner[:]))
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, c2sp.NetworkNode{Log: log, Cosigner: cosigner})
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("proof: the genesis names no node")
	}
	end := time.UnixMilli(int64(g.Time)).UTC().AddDate(policyYears, 0, 0).UnixMilli() / 1000 * 1000
	return c2sp.NetworkPolicy(nodes, threshold.Threshold(len(nodes)), uint64(end))
}
