package c2sp

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Policy is a trust root: which keys speak for a log, how many cosigners make
// a checkpoint count, and until when (c2sp.org/tlog-policy, with an end date).
//
// All log keys carry the log's origin as their name; a signature by any one of
// them will do. What counts is the quorum: a witness, or a group of witnesses
// and earlier groups with a threshold. The zero Policy is invalid; make one
// with [ParsePolicy] or [NetworkPolicy].
type Policy struct {
	NotAfter  uint64 // UTC milliseconds, a whole second: from then on it vouches for nothing
	Logs      []PolicyLog
	Witnesses []PolicyWitness
	Groups    []PolicyGroup // a group's members are witnesses or groups before it
	Quorum    string        // name of a witness or group
}

// PolicyLog is a `log` line.
type PolicyLog struct {
	Key VerifierKey // of type KeyEd25519
	URL string      // prefix of the log's tiles; may be empty
}

// PolicyWitness is a `witness` line.
type PolicyWitness struct {
	Name string      // within the policy only
	Key  VerifierKey // of type KeyCosignatureV1
	URL  string      // submission prefix (c2sp.org/tlog-witness); may be empty
}

// PolicyGroup is a `group` line: at least Threshold of Members.
type PolicyGroup struct {
	Name      string
	Threshold int
	Members   []string
}

// Cosigner is a witness of the policy whose cosignature was found valid.
type Cosigner struct {
	Witness string // its name in the policy
	Key     VerifierKey
	Time    uint64 // UTC milliseconds, whole seconds, as the cosigner claims
	Future  bool   // more than ClockSkewMax ahead: not counted
}

// CosignStatus says who signed a checkpoint. It is filled in as far as
// [Policy.Check] came, also when it fails.
type CosignStatus struct {
	LogKeys   []VerifierKey // log keys with a valid signature
	Cosigners []Cosigner    // in the policy's order
	Have      int           // satisfied members of the quorum, at any age
	Need      int
	// QuorumTime is the latest time (UTC milliseconds) at or after which a
	// quorum cosigned: the checkpoint was the log's head then. 0 without quorum.
	QuorumTime uint64
}

// NetworkNode is one node's entry in [NetworkPolicy].
type NetworkNode struct {
	Log      VerifierKey
	Cosigner VerifierKey
	URL      string // prefix of its tiles and, with it, of its add-checkpoint; may be empty
}

// NetworkPolicy is the policy of a network whose nodes each sign and cosign:
// one group of all nodes, named "nodes", with the given threshold.
func NetworkPolicy(nodes []NetworkNode, threshold int, notAfter uint64) (*Policy, error) {
	p := &Policy{NotAfter: notAfter, Quorum: "nodes"}
	g := PolicyGroup{Name: "nodes", Threshold: threshold}
	for _, n := range nodes {
		p.Logs = append(p.Logs, PolicyLog{Key: n.Log, URL: n.URL})
		p.Witnesses = append(p.Witnesses, PolicyWitness{Name: n.Cosigner.Name, Key: n.Cosigner, URL: n.URL})
		g.Members = append(g.Members, n.Cosigner.Name)
	}
	p.Groups = []PolicyGroup{g}
	return p, p.validate()
}

// Origin is the log that the policy speaks for.
func (p *Policy) Origin() string {
	if len(p.Logs) == 0 {
		return ""
	}
	return p.Logs[0].Key.Name
}

// Digest names the policy: SHA-256 of the domain "anamnesis/policy/v1" and the
// canonical text, each after its length (8 bytes, big-endian). Comments and
// spacing of the file it was read from do not change it.
func (p *Policy) Digest() ([32]byte, error) {
	text, err := p.Text()
	if err != nil {
		return [32]byte{}, err
	}
	const domain = "anamnesis/policy/v1"
	b := append(binary.BigEndian.AppendUint64(nil, uint64(len(domain))), domain...)
	b = append(binary.BigEndian.AppendUint64(b, uint64(len(text))), text...)
	return sha256.Sum256(b), nil
}

// Check decides whether a signed checkpoint is to be believed at time now (UTC
// milliseconds): the policy has not ended, the origin is the policy's, a log
// key signed, and a quorum of cosigners did, none longer than maxAge ago
// ([AnyAge] to ask for no recency). The first thing that fails is returned, in
// that order: [ErrPolicyExpired], [ErrMalformed], [ErrOrigin], [ErrSignature],
// [ErrNoLogSignature], [ErrTooFewCosigners], [ErrStale].
//
// It proves nothing about other checkpoints: use [CheckConsistency] to see that
// this one extends what was seen before.
func (p *Policy) Check(signed []byte, now uint64, maxAge time.Duration) (Checkpoint, CosignStatus, error) {
	var status CosignStatus
	if err := p.validate(); err != nil {
		return Checkpoint{}, status, err
	}
	if now >= p.NotAfter {
		return Checkpoint{}, status, ErrPolicyExpired{NotAfter: p.NotAfter, Now: now}
	}
	c, _, err := Unverified(signed)
	if err != nil {
		return Checkpoint{}, status, err
	}
	if c.Origin != p.Origin() {
		return Checkpoint{}, status, ErrOrigin{Have: c.Origin, Want: p.Origin()}
	}
	n, err := openNote(signed, p.keys())
	if err != nil {
		return Checkpoint{}, status, err
	}
	if err := p.gather(&status, n.Sigs, now); err != nil {
		return Checkpoint{}, status, err
	}
	return c, status, p.decide(&status, now, maxAge)
}

func (p *Policy) keys() []VerifierKey {
	var keys []VerifierKey
	for _, l := range p.Logs {
		keys = append(keys, l.Key)
	}
	for _, w := range p.Witnesses {
		keys = append(keys, w.Key)
	}
	return keys
}

// gather sorts verified signatures into the status.
func (p *Policy) gather(status *CosignStatus, sigs []Signature, now uint64) error {
	signedBy := func(k VerifierKey) *Signature {
		id := k.ID()
		i := slices.IndexFunc(sigs, func(s Signature) bool { return s.Name == k.Name && s.Hash == id })
		if i < 0 {
			return nil
		}
		return &sigs[i]
	}
	for _, l := range p.Logs {
		if signedBy(l.Key) != nil {
			status.LogKeys = append(status.LogKeys, l.Key)
		}
	}
	for _, w := range p.Witnesses {
		s := signedBy(w.Key)
		if s == nil {
			continue
		}
		t, err := CosignatureTime(*s)
		if err != nil {
			return err
		}
		future := t > now && t-now > uint64(ClockSkewMax.Milliseconds())
		status.Cosigners = append(status.Cosigners, Cosigner{Witness: w.Name, Key: w.Key, Time: t, Future: future})
	}
	return nil
}

func (p *Policy) decide(status *CosignStatus, now uint64, maxAge time.Duration) error {
	fromFuture := 0
	times := make(map[string]uint64) // name → time at or after which it cosigned
	for _, c := range status.Cosigners {
		if c.Future {
			fromFuture++
			continue
		}
		times[c.Witness] = max(c.Time, 1)
	}
	status.Need = 1
	for _, g := range p.Groups {
		have, t := g.evaluate(times)
		if t > 0 {
			times[g.Name] = t
		}
		if g.Name == p.Quorum {
			status.Have, status.Need = have, g.Threshold
		}
	}
	status.QuorumTime = times[p.Quorum]
	if slices.ContainsFunc(p.Witnesses, func(w PolicyWitness) bool { return w.Name == p.Quorum }) && status.QuorumTime > 0 {
		status.Have = 1
	}
	switch {
	case len(status.LogKeys) == 0:
		return ErrNoLogSignature
	case status.QuorumTime == 0:
		return ErrTooFewCosigners{Have: status.Have, Need: status.Need, FromFuture: fromFuture}
	}
	if age := ageOf(status.QuorumTime, now); age > maxAge {
		return ErrStale{Age: age, Max: maxAge}
	}
	return nil
}

// evaluate says how many members cosigned, and the latest time at or after
// which enough of them did: the Threshold-th latest; 0 when too few did.
func (g PolicyGroup) evaluate(times map[string]uint64) (have int, at uint64) {
	var ts []uint64
	for _, m := range g.Members {
		if t := times[m]; t > 0 {
			ts = append(ts, t)
		}
	}
	if len(ts) < g.Threshold {
		return len(ts), 0
	}
	slices.Sort(ts)
	return len(ts), ts[len(ts)-g.Threshold]
}

func ageOf(t, now uint64) time.Duration {
	if t >= now {
		return 0
	}
	return time.Duration(min(now-t, uint64(AnyAge/time.Millisecond)-1)) * time.Millisecond
}

// ForSigners is the policy with only those log lines whose keys have a signature
// (unverified here) on the checkpoint. Some readers (filippo.io/torchwood up to v0.10) want a signature
// of every log line; they accept this one wherever p itself holds.
func (p *Policy) ForSigners(signed []byte) (*Policy, error) {
	_, sigs, err := Unverified(signed)
	if err != nil {
		return nil, err
	}
	q := *p
	q.Logs = slices.DeleteFunc(slices.Clone(p.Logs), func(l PolicyLog) bool {
		id := l.Key.ID()
		return !slices.ContainsFunc(sigs, func(s Signature) bool { return s.Name == l.Key.Name && s.Hash == id })
	})
	if len(q.Logs) == 0 {
		return nil, ErrNoLogSignature
	}
	return &q, nil
}

// Text writes the policy file in its one canonical form.
func (p *Policy) Text() ([]byte, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n", notAfterPrefix, formatTime(p.NotAfter))
	for _, l := range p.Logs {
		writeFields(&b, "log", l.Key.String(), l.URL)
	}
	for _, w := range p.Witnesses {
		writeFields(&b, "witness", w.Name, w.Key.String(), w.URL)
	}
	for _, g := range p.Groups {
		writeFields(&b, append([]string{"group", g.Name, strconv.Itoa(g.Threshold)}, g.Members...)...)
	}
	writeFields(&b, "quorum", p.Quorum)
	if b.Len() > PolicyBytesMax {
		return nil, malformed("policy", 0, "over %d bytes", PolicyBytesMax)
	}
	return []byte(b.String()), nil
}

func writeFields(b *strings.Builder, fields ...string) {
	b.WriteString(strings.TrimRight(strings.Join(fields, " "), " "))
	b.WriteByte('\n')
}
