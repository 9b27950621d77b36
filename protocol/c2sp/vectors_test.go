package c2sp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/spec/vectors/log-receipts.json anew")

// receiptVector is one receipt and what becomes of it; exactly one thing is
// wrong with each that fails.
type receiptVector struct {
	Name         string `json:"name"`
	Expect       string `json:"expect"` // ok, or the name of the error
	Policy       string `json:"policy"`
	Leaf         string `json:"leaf"` // hex
	Receipt      string `json:"receipt"`
	Now          uint64 `json:"now"`            // UTC milliseconds
	MaxAgeMillis *int64 `json:"max_age_millis"` // null: any age
}

type receiptVectors struct {
	PolicyDigest string          `json:"policy_digest"` // of the policy in the first case
	Cases        []receiptVector `json:"cases"`
}

func (v receiptVector) run() error {
	policy, err := ParsePolicy([]byte(v.Policy))
	if err != nil {
		return err
	}
	proof, err := ParseProof([]byte(v.Receipt))
	if err != nil {
		return err
	}
	leaf, err := hex.DecodeString(v.Leaf)
	if err != nil {
		return err
	}
	maxAge := AnyAge
	if v.MaxAgeMillis != nil {
		maxAge = time.Duration(*v.MaxAgeMillis) * time.Millisecond
	}
	_, _, err = proof.Verify(policy, leaf, v.Now, maxAge)
	return err
}

// outcome names what [Proof.Verify] says.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case err == ErrNoLogSignature:
		return "no-log-signature"
	case errors.As(err, new(ErrPolicyExpired)):
		return "policy-expired"
	case errors.As(err, new(ErrOrigin)):
		return "origin"
	case errors.As(err, new(ErrSignature)):
		return "signature"
	case errors.As(err, new(ErrTooFewCosigners)):
		return "too-few-cosigners"
	case errors.As(err, new(ErrStale)):
		return "stale"
	case errors.As(err, new(ErrRoot)):
		return "root"
	case errors.As(err, new(ErrKeyType)):
		return "key-type"
	case errors.As(err, new(ErrMalformed)):
		return "malformed"
	default:
		return err.Error()
	}
}

func TestReceiptVectors(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "spec", "vectors", "log-receipts.json")
	made := makeReceiptVectors(t)
	if *update {
		b, err := json.MarshalIndent(made, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file receiptVectors
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 15 || len(file.Cases) != len(made.Cases) {
		t.Fatalf("%d vectors, made %d", len(file.Cases), len(made.Cases))
	}
	for i, v := range file.Cases {
		if got := outcome(v.run()); got != v.Expect {
			t.Errorf("%s: %s, expect %s", v.Name, got, v.Expect)
		}
		if a, b := v, made.Cases[i]; a.Receipt != b.Receipt || a.Policy != b.Policy || a.Leaf != b.Leaf {
			t.Errorf("%s: the bytes we make have changed", v.Name)
		}
	}
	if file.PolicyDigest != made.PolicyDigest {
		t.Errorf("policy digest %s, made %s", file.PolicyDigest, made.PolicyDigest)
	}
}

func makeReceiptVectors(t *testing.T) receiptVectors {
	nodes, policy := network(t, 4, 3)
	file, err := policy.Text()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := policy.Digest()
	if err != nil {
		t.Fatal(err)
	}
	l, c := newLog(t, 1000)
	text := func(c Checkpoint, at uint64, log []node, cosign ...node) string {
		raw, err := receipt(t, l, c, 640, sign(t, c, at, log, cosign...)).Text()
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	good := text(c, now, nodes[:1], nodes[:3]...)
	forked := c
	forked.Root[0] ^= 1
	minute, second := int64(60_000), int64(1000)
	hashes := strings.Split(good, "\n")
	swapped := strings.Join(append([]string{hashes[0], hashes[1], hashes[3], hashes[2]}, hashes[4:]...), "\n")

	out := receiptVectors{PolicyDigest: hex.EncodeToString(digest[:])}
	add := func(name, expect, policy, receipt string, at uint64, maxAge *int64) {
		out.Cases = append(out.Cases, receiptVector{
			Name: name, Expect: expect, Policy: policy, Leaf: hex.EncodeToString(leafAt(640)),
			Receipt: receipt, Now: at, MaxAgeMillis: maxAge,
		})
	}
	p := string(file)
	add("three of four cosigners", "ok", p, good, now, &minute)
	add("all four", "ok", p, text(c, now, nodes[3:], nodes...), now, &minute)
	add("as old as allowed", "ok", p, good, now+60_000, &minute)
	add("a year old, any age", "ok", p, good, now+364*day, nil)
	add("a clock a minute behind", "ok", p, good, now-60_000, &second)
	add("a millisecond too old", "stale", p, good, now+60_001, &minute)
	add("two cosigners", "too-few-cosigners", p, text(c, now, nodes[:1], nodes[:2]...), now, nil)
	add("a cosigner of another network", "too-few-cosigners", p, text(c, now, nodes[:1], nodes[0], nodes[1], newNode(t, 7)), now, nil)
	add("cosigned in the future", "too-few-cosigners", p, good, now-61_000, nil)
	add("no log signature", "no-log-signature", p, text(c, now, nil, nodes...), now, nil)
	add("policy over", "policy-expired", p, good, now+365*day, nil)
	add("another log", "origin", strings.ReplaceAll(p, origin, "x"), good, now, nil)
	out.Cases[len(out.Cases)-1].Policy = otherOriginPolicy(t)
	add("size changed after signing", "signature", p, strings.Replace(good, "\n1000\n", "\n1001\n", 1), now, nil)
	add("cosignature of another node", "signature", p, misattributed(good, nodes), now, nil)
	add("checkpoint forked by a quorum", "root", p, text(forked, now, nodes[:1], nodes...), now, nil)
	add("another index", "root", p, strings.Replace(good, "\nindex 640\n", "\nindex 641\n", 1), now, nil)
	add("hashes out of order", "root", p, swapped, now, nil)
	add("a hash missing", "root", p, strings.Join(append(hashes[:2:2], hashes[3:]...), "\n"), now, nil)
	add("index with a leading zero", "malformed", p, strings.Replace(good, "\nindex 640\n", "\nindex 0640\n", 1), now, nil)
	add("index past the tree", "malformed", p, strings.Replace(good, "\nindex 640\n", "\nindex 1000\n", 1), now, nil)
	add("policy without an end", "malformed", p[strings.Index(p, "\n")+1:], good, now, nil)
	add("policy without a quorum", "malformed", strings.Replace(p, "quorum nodes", "quorum none", 1), good, now, nil)
	add("another leaf", "root", p, good, now, nil)
	out.Cases[len(out.Cases)-1].Leaf = hex.EncodeToString(leafAt(641))
	return out
}

func otherOriginPolicy(t *testing.T) string {
	l, err := NewLogKey("elsewhere.example/log", key("log 0"))
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, 0)
	p, err := NetworkPolicy([]NetworkNode{{Log: l.Verifier(), Cosigner: n.cos.Verifier()}}, 1, now+day)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Text()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// misattributed puts node 1's cosignature under node 2's name and key id.
func misattributed(text string, nodes []node) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	last := len(lines) - 1
	raw1 := decode(strings.Fields(lines[last-1])[2])
	v := nodes[2].cos.Verifier()
	lines[last] = strings.TrimSuffix(Line(signatureLine(v, []byte(raw1[4:]))), "\n")
	return strings.Join(lines, "\n") + "\n"
}
