package node

import (
	"context"

	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/port"
	"github.com/anamnesis-health/anamnesis/internal/vault"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// What the tests reach of a node beyond its face.

// Ports are the addresses that a stopped or running node comes back to.
func (d *DevNet) Ports(i int) []string {
	a := d.addresses[d.Genesis.Members[i].ID()]
	return []string{a.Engine, a.Peer, a.Gateway}
}

// Lie makes the node's custodian answer with do instead.
func (n *Node) Lie(do func(context.Context, custodian.Request) (*custodian.Answer, error)) {
	n.release = do
}

// Release asks the node's custodian itself.
func (n *Node) Release(ctx context.Context, r custodian.Request) (*custodian.Answer, error) {
	n.witness.ensureFresh(ctx)
	return n.release(ctx, r)
}

// Replicator is the vault's upkeep.
func (n *Node) Replicator() *vault.Replicator { return n.replicator }

// Sweep removes what no record names.
func (n *Node) Sweep(ctx context.Context) (vault.Swept, error) { return n.sweep(ctx) }

// StartTwin starts a node with the i-th node's keys on another folder, on ports of its own. The caller stops it.
func (d *DevNet) StartTwin(i int, dir string) (*Node, error) {
	var at Addresses
	for _, a := range []*string{&at.Engine, &at.Peer, &at.Gateway} {
		var err error
		if *a, err = d.keep(port.Free(wires)); err != nil {
			return nil, err
		}
	}
	return Start(Config{Dir: dir, Keys: d.keys[i], Genesis: d.Genesis, Self: at, Addresses: d.addresses, Gather: true})
}

// NodeKeys are the i-th node's private keys.
func (d *DevNet) NodeKeys(i int) *Keys { return d.keys[i] }

// PeerURL is where the i-th node serves the others.
func (d *DevNet) PeerURL(i int) string {
	return "https://" + d.addresses[d.Genesis.Members[i].ID()].Peer + "/peer/v1"
}

// Certificate is what a node shows the others.
var Certificate = certificate

// Cosign asks the node to cosign the head of another.
func (n *Node) Cosign(ctx context.Context, other *Node) error {
	head, err := other.witness.cosigner.SignHead(other.ledger.Log(), other.witness.log, other.now())
	if err != nil {
		return err
	}
	_, err = n.witness.cosignFor(ctx, head)
	return err
}

// Serves tells whether the node's vault serves.
func (n *Node) Serves() bool { return n.vault.Serving() }

// AnswersNeeded is how many other nodes of n a restored one must hear.
func AnswersNeeded(n, allLost int) int { return (&regained{allLost: allLost}).need(n) }

// SignsNothingUpTo is where a restored node of n begins to sign after these heights were shown to it; own is its own.
func SignsNothingUpTo(n, allLost int, own uint64, decided ...uint64) (uint64, bool) {
	r := &regained{allLost: allLost, decided: map[protocol.MemberID]uint64{}}
	for i, h := range decided {
		r.decided[protocol.MemberID{byte(i)}] = h
	}
	return r.settle(n, own)
}

// ReadMark is what the mark in a folder says.
var ReadMark = readMark
