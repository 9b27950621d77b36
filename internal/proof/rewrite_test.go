//go:build !js

package proof_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// TestRewriteVectors writes the vectors anew, if asked to. What they then expect is for a person to judge.
func TestRewriteVectors(t *testing.T) {
	if !*rewrite {
		t.Skip("only with -rewrite")
	}
	n := story(t, 4)
	p := n.prove(n.patient.Journal())
	export := n.write(p)
	v := vectors{Comment: "export.tar is the export that the cases change. See docs/spec/export.md.", Now: n.Time + 1000, Journal: n.patient.Journal().String(),
		Policy: p.Policy, Receipt: string(n.receipt(t, p.Journal.Entries[at(n, p, protocol.TypeRequestAccess, 1)], []byte(p.Checkpoint)))}
	v.Digest = verify(t, export, n.options()).TrustRoot.Digest.String()
	find := func(in []byte, what []byte) int {
		i := bytes.Index(in, what)
		if i < 0 {
			t.Fatalf("%q is not there", what)
		}
		return i
	}
	place := func(name string) int { return find(export, []byte("/"+name)) - len("anamnesis-"+v.Journal) }
	body := func(name string) int { return place(name) + 512 }
	entry := func(i int) int { return find(export, p.Journal.Entries[i].Raw) }
	receipt := []byte(v.Receipt)
	v.Cases = []vector{
		{Name: "as it is"}, {Name: "with the policy", Given: true}, {Name: "recent", MaxAge: 3000},
		{Name: "stale", MaxAge: 100},
		{Name: "an entry's last byte", At: entry(4) + len(p.Journal.Entries[4].Raw) - 1, Put: "81"},
		{Name: "an entry's salt", At: entry(5) - 18, Put: "ff"},
		{Name: "an entry's inclusion proof", At: entry(5) + len(p.Journal.Entries[5].Raw) + 4, Put: "0000"},
		{Name: "the head's count", At: find(export, p.Journal.Head) + 1, Put: "0f"},
		{Name: "an envelope's signature", At: find(export, p.Envelopes[1]) + len(p.Envelopes[1]) - 1, Put: "ff"},
		{Name: "an envelope's nonce", At: find(export, p.Envelopes[1]) + 30, Put: "ff"},
		{Name: "a member's row", At: find(export, p.Members[0].Row) + 5, Put: "7a"},
		{Name: "a practitioner's role", At: find(export, p.Practitioners[0].Row) + len(p.Practitioners[0].Row) - 46, Put: "03"},
		{Name: "a practitioner's name", At: find(export, []byte("Ada Okafor")), Put: "45"},
		{Name: "the root in the checkpoint", At: body("checkpoint.txt") + 26, Put: "41"},
		{Name: "the policy's threshold", At: find(export, []byte("group nodes 3")) + 12, Put: "31"},
		{Name: "the seal", At: body("seal.cbor") + 60, Put: "ff"},
		{Name: "a letter of the README", At: body("README.txt") + 40, Put: "7a"},
		{Name: "a file's mode", At: place("policy.txt") + 104, Put: "37"},
		{Name: "padding", At: body("policy.txt") + len(p.Policy), Put: "01"},
		{Name: "a record's file", At: len(export) - 1024 - 512, Put: "00"},
		{Name: "the end of the archive", At: len(export) - 1, Put: "01"},
		{Name: "cut within the journal", Cut: body("journal.cbor") + 700},
		{Name: "cut within a record", Cut: len(export) - 1800},
		{Name: "something behind it", At: len(export), Put: "00"},
		{Name: "receipt as it is", Receipt: true, Given: true},
		{Name: "receipt without a policy", Receipt: true},
		{Name: "receipt stale", Receipt: true, Given: true, MaxAge: 100},
		{Name: "receipt of another index", Receipt: true, Given: true, At: find(receipt, []byte("index ")) + 6, Put: "31"},
		{Name: "receipt of another entry", Receipt: true, Given: true, At: 60, Put: "41"},
		{Name: "receipt with a signature cut", Receipt: true, Given: true, Cut: len(receipt) - 3},
	}
	for i := range v.Cases {
		failures, _ := v.failures(t, v.Cases[i], export)
		v.Cases[i].Expect = kinds(failures)
		t.Log(v.Cases[i].Name, v.Cases[i].Expect)
	}
	b, err := json.MarshalIndent(v, "", " ")
	must(t, b, err)
	if err := errors.Join(os.WriteFile(vectorsFile, append(b, '\n'), 0o644), os.WriteFile(exportFile, export, 0o644)); err != nil {
		t.Fatal(err)
	}
}
