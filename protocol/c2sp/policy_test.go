package c2sp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// One fresh cosigner cannot make up for stale ones: the quorum's time is the
// third latest, and a second signature of one key counts once.
func TestQuorumTimeIsTheThresholdthLatest(t *testing.T) {
	nodes, policy := network(t, 4, 3)
	_, c := newLog(t, 3)
	var sigs []Signature
	l, _ := nodes[2].log.Sign(c)
	sigs = append(sigs, l)
	for i, age := range []uint64{1000, 100_000, 50_000, 200_000} {
		s, _ := nodes[i].cos.Cosign(c, now-age)
		sigs = append(sigs, s)
	}
	again, _ := nodes[0].cos.Cosign(c, now)
	signed, err := Assemble(c, append(sigs, again)...)
	if err != nil {
		t.Fatal(err)
	}
	_, status, err := policy.Check(signed, now, time.Minute)
	if want := (ErrStale{Age: 100 * time.Second, Max: time.Minute}); err != want {
		t.Fatalf("got %v, want %v", err, want)
	}
	if status.QuorumTime != now-100_000 || status.Have != 4 || status.Need != 3 || status.Cosigners[0].Time != now {
		t.Fatalf("status %+v", status)
	}
	if len(status.LogKeys) != 1 || status.LogKeys[0] != nodes[2].log.Verifier() {
		t.Fatalf("log keys %v", status.LogKeys)
	}
}

func TestNestedGroups(t *testing.T) {
	nodes, flat := network(t, 5, 3)
	w := func(i int) string { return flat.Witnesses[i].Name }
	text, _ := flat.Text()
	nested := strings.NewReplacer(
		"group nodes 3 "+strings.Join([]string{w(0), w(1), w(2), w(3), w(4)}, " "),
		fmt.Sprintf("group X all %s %s\n\tgroup Y any %s %s\ngroup both all X Y %s", w(0), w(1), w(2), w(3), w(4)),
		"quorum nodes", " quorum\tboth ").Replace(string(text))
	policy, err := ParsePolicy([]byte(nested))
	if err != nil {
		t.Fatal(err)
	}
	_, c := newLog(t, 3)
	for mask := range 32 {
		var who []node
		for i, n := range nodes {
			if mask>>i&1 == 1 {
				who = append(who, n)
			}
		}
		_, _, err := policy.Check(sign(t, c, now, nodes[:1], who...), now, 0)
		if want := mask&3 == 3 && mask&12 != 0 && mask&16 != 0; (err == nil) != want {
			t.Errorf("cosigners %05b: %v", mask, err)
		}
	}
}

func TestPolicyRefuses(t *testing.T) {
	_, policy := network(t, 2, 2)
	raw, _ := policy.Text()
	good := string(raw)
	lines := strings.SplitAfter(good, "\n")
	w0, w1 := lines[3], lines[4]
	renamed, _ := NewVerifierKey("node1.example", KeyCosignatureV1, policy.Witnesses[0].Key.PublicKey())
	logAsCosigner, _ := NewVerifierKey("node1.example", KeyCosignatureV1, policy.Logs[1].Key.PublicKey())
	mutate := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the policy", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, text := range map[string]string{
		"no end date":              strings.Join(lines[1:], ""),
		"two end dates":            lines[0] + good,
		"misspelt end date":        mutate("# anamnesis-not-after ", "# anamnesis-notafter "),
		"end date without a space": mutate("# anamnesis-not-after ", "#anamnesis-not-after "),
		"end date indented":        " " + good,
		"end date without zone":    mutate("Z\n", "\n"),
		"end date in fractions":    mutate("Z\n", ".5Z\n"),
		"no log":                   lines[0] + w0 + w1 + lines[5] + lines[6],
		"no witness in group":      mutate(w0, ""),
		"quorum none":              mutate("quorum nodes", "quorum none"),
		"no quorum":                mutate("quorum nodes\n", ""),
		"two quorums":              good + "quorum nodes\n",
		"undefined quorum":         mutate("quorum nodes", "quorum others"),
		"group before its members": lines[0] + lines[1] + lines[5] + w0 + w1 + lines[6],
		"threshold zero":           mutate("group nodes 2", "group nodes 0"),
		"threshold over members":   mutate("group nodes 2", "group nodes 3"),
		"threshold with zero":      mutate("group nodes 2", "group nodes 02"),
		"member twice":             mutate("node0.example node1.example\n", "node0.example node0.example\n"),
		"group named none":         strings.NewReplacer("group nodes", "group none", "quorum nodes", "quorum none").Replace(good),
		"witness twice":            mutate(w1, w0),
		"same key, other name":     mutate(w1, "witness node1.example "+renamed.String()+"\n"),
		"cosigner key signs too":   mutate(w1, "witness node1.example "+logAsCosigner.String()+"\n"),
		"unknown keyword":          good + "wombat\n",
		"hash inside a line":       mutate("quorum nodes", "quorum nodes # really"),
		"hash in a URL":            mutate("\nwitness", " https://a.example/#1\nwitness"),
		"control character":        mutate("quorum nodes", "quorum nodes\r"),
		"no newline at the end":    strings.TrimSuffix(good, "\n"),
		"log key as witness":       mutate(w1, "witness node1.example "+policy.Logs[1].Key.String()+"\n"),
		"wrong key id":             mutate(fmt.Sprintf("%08x", policy.Logs[0].Key.ID()), "00000000"),
		"empty":                    "",
	} {
		if _, err := ParsePolicy([]byte(text)); err == nil {
			t.Errorf("%s: accepted\n%s", name, text)
		} else if !errors.As(err, new(ErrMalformed)) && !errors.As(err, new(ErrKeyType)) {
			t.Errorf("%s: untyped error %v", name, err)
		}
	}
	var kt ErrKeyType
	pq := VerifierKey{Name: "node9.example", Type: KeyMLDSA44, public: strings.Repeat("k", 1312)}
	if _, err := ParseVerifierKey(pq.String()); !errors.As(err, &kt) || kt.Type != KeyMLDSA44 {
		t.Errorf("ML-DSA-44 key: %v", err)
	}
}

func TestPolicyAllowsWhatTheSpecificationAllows(t *testing.T) {
	_, policy := network(t, 3, 3)
	policy.Logs[1].URL, policy.Witnesses[2].URL = "https://node1.example/log", "https://node2.example/witness"
	raw, err := policy.Text()
	if err != nil {
		t.Fatal(err)
	}
	loose := "\t # a comment — with UTF-8\n\n" + strings.NewReplacer("group nodes 3", "group  nodes\tall", "\nquorum", "\n  \n\tquorum").Replace(string(raw))
	got, err := ParsePolicy([]byte(loose))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := got.Text()
	if string(again) != string(raw) {
		t.Fatalf("canonical form changed:\n%s\n%s", raw, again)
	}
	d1, _ := policy.Digest()
	if d2, _ := got.Digest(); d1 != d2 {
		t.Fatal("spacing changes the digest")
	}
	got.NotAfter += 1000
	if d3, _ := got.Digest(); d1 == d3 {
		t.Fatal("the end date does not change the digest")
	}
}
