package main

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func publicKey(seed byte) (k protocol.PublicKey) {
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
	copy(k[:], key.Public().(ed25519.PublicKey))
	return k
}

// TestAdopt: a wallet takes a network's trust root only if it is the one that follows from the genesis.
func TestAdopt(t *testing.T) {
	g := protocol.Genesis{Version: protocol.Version, Chain: "test", Time: 1_700_000_000_000, Params: protocol.DefaultParams(), Members: []protocol.Member{{
		Kind: protocol.MemberHospital, Name: "One", Key: publicKey('a'),
		Node: protocol.NodeKeys{Validator: publicKey('b'), Log: publicKey('c'), Cosigner: publicKey('d'), Peer: publicKey('e')}}}}
	policy, err := proof.NetworkPolicy(g)
	if err != nil {
		t.Fatal(err)
	}
	text, err := policy.Text()
	if err != nil {
		t.Fatal(err)
	}
	net := &client.Client{Genesis: g}
	net.Network.Chain, net.Network.Policy = g.Chain, string(text)
	w := wallet.New(wallet.Network{})
	if err := adopt(w, net, "http://x"); err != nil || w.Network.Policy != string(text) || w.Network.Chain != "test" || w.Network.Gateway != "http://x" {
		t.Fatalf("%v, %+v", err, w.Network)
	}
	g.Members = slices.Clone(g.Members)
	g.Members[0].Node.Cosigner = publicKey('f')
	other, err := proof.NetworkPolicy(g)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := other.Text()
	if err != nil {
		t.Fatal(err)
	}
	net.Network.Policy = string(forged)
	w = wallet.New(wallet.Network{})
	var f *failure
	if err := adopt(w, net, "http://x"); !errors.As(err, &f) || f.exit != exitProof || w.Network.Chain != "" {
		t.Fatalf("a forged trust root: %v, %+v", err, w.Network)
	}
}
