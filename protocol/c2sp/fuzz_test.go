package c2sp

import (
	"encoding/base64"
	"testing"
	"time"
)

func decode(b64 string) string {
	raw, _ := base64.StdEncoding.DecodeString(b64)
	return string(raw)
}

func FuzzParseCheckpoint(f *testing.F) {
	_, c := newLog(f, 5)
	f.Add(c.Text())
	f.Add("a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
	f.Add("a\n1\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseCheckpoint(text); err == nil && c.Text() != text {
			t.Fatalf("%q becomes %q", text, c.Text())
		}
	})
}

func FuzzParsePolicy(f *testing.F) {
	_, p := network(f, 3, 2)
	text, _ := p.Text()
	f.Add(text)
	f.Add([]byte("# anamnesis-not-after 2027-01-31T00:00:00Z\nquorum none\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		canonical, err := p.Text()
		if err != nil {
			t.Fatalf("parsed but cannot be written: %v", err)
		}
		q, err := ParsePolicy(canonical)
		if err != nil {
			t.Fatalf("canonical form does not parse: %v", err)
		}
		again, _ := q.Text()
		if string(again) != string(canonical) {
			t.Fatalf("canonical form is not stable:\n%s\n%s", canonical, again)
		}
		if _, _, err := p.Check([]byte("x\n1\n\n\n— x y\n"), now, time.Hour); err == nil {
			t.Fatal("a note that is no checkpoint passes")
		}
	})
}

func FuzzParseProof(f *testing.F) {
	nodes, policy := network(f, 4, 3)
	l, c := newLog(f, 9)
	p := receipt(f, l, c, 4, sign(f, c, now, nodes[:1], nodes[:3]...))
	text, _ := p.Text()
	f.Add(text)
	p.Extra = []byte("salt")
	text, _ = p.Text()
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseProof(text)
		if err != nil {
			return
		}
		again, err := p.Text()
		if err != nil || string(again) != string(text) {
			t.Fatalf("%q becomes %q (%v)", text, again, err)
		}
		if _, _, err := p.Verify(policy, leafAt(4), now, time.Hour); err == nil && p.Index != 4 {
			t.Fatalf("leaf 4 proven at %d", p.Index)
		}
	})
}

func FuzzParseAddCheckpoint(f *testing.F) {
	nodes, _ := network(f, 1, 1)
	_, c := newLog(f, 9)
	text, _ := AddCheckpoint{Old: 3, Proof: []Hash{{1}, {2}}, Checkpoint: sign(f, c, now, nodes[:1])}.Text()
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := ParseAddCheckpoint(text)
		if err != nil {
			return
		}
		if again, err := a.Text(); err != nil || string(again) != string(text) {
			t.Fatalf("%q becomes %q (%v)", text, again, err)
		}
	})
}

func FuzzParseVerifierKey(f *testing.F) {
	n := newNode(f, 1)
	f.Add(n.log.Verifier().String())
	f.Add(n.cos.Verifier().String())
	f.Fuzz(func(t *testing.T, vkey string) {
		if k, err := ParseVerifierKey(vkey); err == nil && k.String() != vkey {
			t.Fatalf("%q becomes %q", vkey, k.String())
		}
	})
}
