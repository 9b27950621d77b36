//go:build !js

package proof_test

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
	"github.com/anamnesis-health/anamnesis/protocol/smt"
)

// relog makes a log, a state map, a seal and cosigned checkpoint in which the proof's entries and rows hold, whatever they say: what a quorum
// of nodes could do that agreed to lie. What they wrote must still follow from what people signed.
func relog(n *net, p *api.JournalProof) {
	reHead(n, &p.Journal)
	reHead(n, &p.Constitution)
	var rows []smt.Leaf
	row := func(key, value []byte) { rows = append(rows, smt.Leaf{Path: smt.Path(key), Value: smt.Value(value)}) }
	row(protocol.StateKeyHead(p.Journal.ID), p.Journal.Head)
	row(protocol.StateKeyHead(p.Constitution.ID), p.Constitution.Head)
	for _, m := range p.Members {
		row(protocol.StateKeyMember(protocol.MemberID(m.ID)), m.Row)
	}
	for _, x := range p.Practitioners {
		row(protocol.StateKeyPractitioner(protocol.PractitionerID(x.ID)), x.Row)
	}
	slices.SortFunc(rows, func(a, b smt.Leaf) int { return bytes.Compare(a.Path[:], b.Path[:]) })
	p.Journal.HeadProof = mapProof(n, rows, protocol.StateKeyHead(p.Journal.ID))
	p.Constitution.HeadProof = mapProof(n, rows, protocol.StateKeyHead(p.Constitution.ID))
	for i, m := range p.Members {
		p.Members[i].Proof = mapProof(n, rows, protocol.StateKeyMember(protocol.MemberID(m.ID)))
	}
	for i, x := range p.Practitioners {
		p.Practitioners[i].Proof = mapProof(n, rows, protocol.StateKeyPractitioner(protocol.PractitionerID(x.ID)))
	}
	relogEntries(n, p, smt.Root(rows))
}

func relogEntries(n *net, p *api.JournalProof, root smt.Hash) {
	e := entryOf(n.T, p.Seal)
	var s protocol.Seal
	if err := protocol.Decode(e.Action, &s); err != nil {
		n.T.Fatal(err)
	}
	s.MapRoot = protocol.Hash(root)
	e.Action = protocol.Encode(s)
	p.Seal.Raw = protocol.Encode(e)
	leaves := make([]c2sp.Hash, p.Seal.Index+1)
	put := func(e api.Entry) {
		leaf := protocol.Commit([16]byte(e.Salt), e.Raw)
		leaves[e.Index] = c2sp.LeafHash(leaf[:])
	}
	put(p.Seal)
	for _, e := range slices.Concat(p.Journal.Entries, p.Constitution.Entries) {
		put(e)
	}
	for _, list := range [][]api.Entry{p.Journal.Entries, p.Constitution.Entries} {
		for i := range list {
			list[i].Proof = logProof(leaves, list[i].Index)
		}
	}
	p.Seal.Proof = logProof(leaves, p.Seal.Index)
	c := c2sp.Checkpoint{Origin: proof.Origin(n.L.Chain()), Size: uint64(len(leaves)), Root: treeHash(leaves)}
	p.Checkpoint = string(n.sign(c, n.Time, n.all()...))
}

// treeHash and logProof are RFC 6962 §2.1 in its own words.
func treeHash(l []c2sp.Hash) c2sp.Hash {
	if len(l) == 1 {
		return l[0]
	}
	k := split(len(l))
	return c2sp.NodeHash(treeHash(l[:k]), treeHash(l[k:]))
}

func logProof(l []c2sp.Hash, i uint64) []protocol.Hash {
	if len(l) == 1 {
		return nil
	}
	if k := split(len(l)); i < uint64(k) {
		return append(logProof(l[:k], i), protocol.Hash(treeHash(l[k:])))
	} else {
		return append(logProof(l[k:], i-uint64(k)), protocol.Hash(treeHash(l[:k])))
	}
}

func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func mapProof(n *net, rows []smt.Leaf, key []byte) []byte {
	p := smt.Proof{Kind: smt.Present}
	path := smt.Path(key)
	for depth := 0; len(rows) > 1; depth++ {
		var half [2][]smt.Leaf
		for _, l := range rows {
			b := smt.Bit(&l.Path, depth)
			half[b] = append(half[b], l)
		}
		mine := smt.Bit(&path, depth)
		p.Siblings = append(p.Siblings, below(half[1-mine], depth+1))
		rows = half[mine]
	}
	b, err := p.MarshalBinary()
	return must(n.T, b, err)
}

func below(rows []smt.Leaf, depth int) smt.Hash {
	switch len(rows) {
	case 0:
		return smt.Empty
	case 1:
		return rows[0].Hash()
	}
	var half [2][]smt.Leaf
	for _, l := range rows {
		b := smt.Bit(&l.Path, depth)
		half[b] = append(half[b], l)
	}
	left, right := below(half[0], depth+1), below(half[1], depth+1)
	return smt.Inner(&left, &right)
}

// resign replaces the envelope behind an entry by one that somebody else signed, or for something else.
func resign(n *net, p *api.JournalProof, i int, by *ledgertest.Who, change func(*protocol.Body)) {
	e := entryOf(n.T, p.Journal.Entries[i])
	for k, raw := range p.Envelopes {
		v, err := protocol.VerifyEnvelope(raw)
		if must(n.T, v, err).ID != e.Cause {
			continue
		}
		b := v.Body
		b.Signer = by.Signer
		change(&b)
		envelope, id := protocol.Sign(b, func(m []byte) []byte { return ed25519.Sign(by.Key, m) })
		p.Envelopes[k] = envelope
		for k, other := range p.Journal.Entries {
			if x := entryOf(n.T, other); x.Cause == e.Cause {
				forge(n, p, k, func(e *protocol.Entry) {
					e.Cause = id
					if e.Signer.Kind != protocol.ActorLedger {
						e.Signer = by.Signer
					}
				})
			}
		}
		return
	}
	n.T.Fatal("no such envelope")
}

func same(*protocol.Body) {}

var lies = []tampering{
	{"the truth", func(*net, *api.JournalProof) {}, []proof.Code{}},
	{"another signer than the envelope's", func(n *net, p *api.JournalProof) {
		forge(n, p, at(n, p, protocol.TypeRequestAccess, 0), func(e *protocol.Entry) { e.Signer = n.Members[0].Signer })
	}, []proof.Code{proof.CodeEnvelope}},
	{"an envelope for another journal", func(n *net, p *api.JournalProof) {
		resign(n, p, at(n, p, protocol.TypeRequestAccess, 0), n.doctor, func(b *protocol.Body) { b.Journal = n.other.Journal() })
	}, []proof.Code{proof.CodeEnvelope}},
	{"an envelope for another network", func(n *net, p *api.JournalProof) {
		resign(n, p, at(n, p, protocol.TypeRequestAccess, 0), n.doctor, func(b *protocol.Body) { b.Chain = "elsewhere" })
	}, []proof.Code{proof.CodeEnvelope}},
	{"another nonce than the salt", func(n *net, p *api.JournalProof) {
		resign(n, p, at(n, p, protocol.TypeRequestAccess, 0), n.doctor, func(b *protocol.Body) { b.Nonce[15] = 1 })
	}, []proof.Code{proof.CodeEnvelope}},
	{"a request kept back until it had expired", func(n *net, p *api.JournalProof) {
		resign(n, p, at(n, p, protocol.TypeRequestAccess, 0), n.doctor, func(b *protocol.Body) { b.NotAfter = ledgertest.Start })
	}, []proof.Code{proof.CodeEnvelope}},
	{"a request signed for years", func(n *net, p *api.JournalProof) {
		resign(n, p, at(n, p, protocol.TypeRequestAccess, 0), n.doctor, func(b *protocol.Body) { b.NotAfter += 1e12 })
	}, []proof.Code{proof.CodeEnvelope}},
	{"a grant by another patient", func(n *net, p *api.JournalProof) {
		resign(n, p, at(n, p, protocol.TypeGrant, 3), n.other, same)
	}, []proof.Code{proof.CodeSigner}},
	{"a grant with another key", func(n *net, p *api.JournalProof) {
		k, pub := ledgertest.Key("thief")
		thief := &ledgertest.Who{Key: k, Signer: protocol.PatientSigner(n.patient.Journal(), pub)}
		resign(n, p, at(n, p, protocol.TypeGrant, 3), thief, same)
	}, []proof.Code{proof.CodeSigner}},
	{"a record by a member with its old key", func(n *net, p *api.JournalProof) {
		k, pub := ledgertest.Key("m2")
		resign(n, p, at(n, p, protocol.TypeAddRecord, 2), &ledgertest.Who{Key: k, Signer: protocol.MemberSigner(n.Members[1].Signer.Member(), pub)}, same)
	}, []proof.Code{proof.CodeSigner}},
	{"a record by a member with a key it had later", func(n *net, p *api.JournalProof) {
		resign(n, p, at(n, p, protocol.TypeAddRecord, 0), n.Members[1], same)
	}, []proof.Code{proof.CodeSigner}},
	{"a grant in another patient's name", func(n *net, p *api.JournalProof) {
		as := &ledgertest.Who{Key: n.patient.Key, Signer: protocol.PatientSigner(n.other.Journal(), n.patient.Signer.Key)}
		resign(n, p, at(n, p, protocol.TypeGrant, 3), as, same)
	}, []proof.Code{proof.CodeSigner}},
	{"a seal that is none", func(n *net, p *api.JournalProof) {
		e := entryOf(n.T, p.Seal)
		e.Type = protocol.EventGenesis
		p.Seal.Raw = protocol.Encode(e)
	}, []proof.Code{proof.CodeSeal}},
	{"a record by nobody's member", func(n *net, p *api.JournalProof) {
		k, pub := ledgertest.Key("nobody")
		resign(n, p, at(n, p, protocol.TypeAddRecord, 2), &ledgertest.Who{Key: k, Signer: protocol.MemberSigner(protocol.MemberIDOf(pub), pub)}, same)
	}, []proof.Code{proof.CodeSigner}},
	{"a permit of records that are not there", func(n *net, p *api.JournalProof) {
		forge(n, p, at(n, p, protocol.TypeRequestAccess, 1), func(e *protocol.Entry) {
			e.Outcome = protocol.Encode(protocol.AccessOutcome{Permitted: true, Records: []protocol.RecordID{{77}}})
		})
	}, []proof.Code{proof.CodeEntry}},
	{"a refusal that opens records", func(n *net, p *api.JournalProof) {
		forge(n, p, at(n, p, protocol.TypeRequestAccess, 1), func(e *protocol.Entry) {
			e.Outcome = protocol.Encode(protocol.AccessOutcome{Reason: protocol.NoContract, Records: []protocol.RecordID{{1}}})
		})
	}, []proof.Code{proof.CodeEntry}},
	{"an outcome of what has none", func(n *net, p *api.JournalProof) {
		forge(n, p, at(n, p, protocol.TypeGrant, 0), func(e *protocol.Entry) { e.Outcome = []byte{0x81, 0x01} })
	}, []proof.Code{proof.CodeEntry}},
	{"an end with another salt", func(n *net, p *api.JournalProof) {
		(*entries(p))[at(n, p, protocol.EventContractEnded, 0)].Salt = bytes.Repeat([]byte{3}, 16)
	}, []proof.Code{proof.CodeEnvelope}},
	{"an end without a cause", func(n *net, p *api.JournalProof) {
		i := at(n, p, protocol.EventContractEnded, 0)
		(*entries(p))[i].Salt = make([]byte, 16)
		forge(n, p, i, func(e *protocol.Entry) { e.Cause = protocol.ActionID{} })
	}, []proof.Code{proof.CodeEntry}},
	{"an end that somebody signed", func(n *net, p *api.JournalProof) {
		forge(n, p, at(n, p, protocol.EventContractEnded, 0), func(e *protocol.Entry) { e.Signer = n.patient.Signer })
	}, []proof.Code{proof.CodeEnvelope}},
	{"a seal in the journal", func(n *net, p *api.JournalProof) {
		forge(n, p, at(n, p, protocol.EventContractEnded, 0), func(e *protocol.Entry) { e.Type = protocol.EventSeal })
	}, []proof.Code{proof.CodeForeign}},
	{"a journal that begins in the middle", func(n *net, p *api.JournalProof) {
		*entries(p) = (*entries(p))[1:]
		for i := range *entries(p) {
			forge(n, p, i, func(e *protocol.Entry) { e.Seq-- })
		}
	}, []proof.Code{proof.CodeSigner, proof.CodeEntry, proof.CodeEnvelope}},
	{"a record twice", func(n *net, p *api.JournalProof) {
		i := at(n, p, protocol.TypeAddRecord, 2)
		resign(n, p, i, n.Members[1], func(b *protocol.Body) { b.Actions = protocol.Pack(n.record(1, "labs")) })
		forge(n, p, i, func(e *protocol.Entry) { e.Action = protocol.Encode(n.record(1, "labs")) })
	}, []proof.Code{proof.CodeEntry, proof.CodeUnexpected}},
	{"a time that goes back", func(n *net, p *api.JournalProof) {
		forge(n, p, len(*entries(p))-1, func(e *protocol.Entry) { e.Height = 1 })
	}, []proof.Code{proof.CodeOrder}},
	{"a number left out", func(n *net, p *api.JournalProof) {
		forge(n, p, len(*entries(p))-1, func(e *protocol.Entry) { e.Seq++ })
	}, []proof.Code{proof.CodeGap}},
	{"a member who never joined", func(n *net, p *api.JournalProof) {
		last := p.Members[len(p.Members)-1]
		last.ID = bytes.Repeat([]byte{0xff}, 16)
		p.Members = append(p.Members, last)
	}, []proof.Code{proof.CodeMember}},
	{"a member with another key", func(n *net, p *api.JournalProof) {
		var row protocol.MemberRow
		if err := protocol.Decode(p.Members[0].Row, &row); err != nil {
			n.T.Fatal(err)
		}
		row.Member.Key[0] ^= 1
		p.Members[0].Row = protocol.Encode(row)
	}, []proof.Code{proof.CodeMember}},
	{"a member removed that is none", func(n *net, p *api.JournalProof) {
		var row protocol.MemberRow
		if err := protocol.Decode(p.Members[0].Row, &row); err != nil {
			n.T.Fatal(err)
		}
		row.Removed = true
		p.Members[0].Row = protocol.Encode(row)
	}, []proof.Code{proof.CodeMember}},
	{"a practitioner of no member", func(n *net, p *api.JournalProof) {
		var row protocol.PractitionerRow
		if err := protocol.Decode(p.Practitioners[0].Row, &row); err != nil {
			n.T.Fatal(err)
		}
		row.Member = protocol.MemberID{9}
		p.Practitioners[0].Row = protocol.Encode(row)
	}, []proof.Code{proof.CodePractice}},
	{"a constitution without its beginning", func(n *net, p *api.JournalProof) {
		p.Constitution.Entries[0].Index = 1
	}, []proof.Code{proof.CodeGenesis, proof.CodePolicy, proof.CodeSigner, proof.CodeMember}},
}

func TestLyingQuorum(t *testing.T) {
	n := story(t, 4)
	for _, c := range lies {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			n.T = t
			p := n.prove(n.patient.Journal())
			c.do(n, p)
			relog(n, p)
			r := verify(t, n.write(p), n.options())
			if got := append([]proof.Code{}, codes(r)...); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v\n%v", got, c.want, r.Failures)
			}
		})
	}
}
