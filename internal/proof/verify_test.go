//go:build !js

package proof_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// tampering is one way to lie with an export, and what must be said about it.
type tampering struct {
	name string
	do   func(n *net, p *api.JournalProof)
	want []proof.Code // all of the codes, in the order of their first appearance
}

func entries(p *api.JournalProof) *[]api.Entry { return &p.Journal.Entries }

// at is the place of the k-th entry of a type, from 0.
func at(n *net, p *api.JournalProof, t protocol.ActionType, k int) int {
	n.T.Helper()
	for i, e := range p.Journal.Entries {
		if entryOf(n.T, e).Type == t {
			if k--; k < 0 {
				return i
			}
		}
	}
	n.T.Fatal("no such entry")
	return 0
}

// forge changes an entry's content, as somebody without the log would.
func forge(n *net, p *api.JournalProof, i int, change func(*protocol.Entry)) {
	e := entryOf(n.T, p.Journal.Entries[i])
	change(&e)
	p.Journal.Entries[i].Raw = protocol.Encode(e)
}

func reHead(n *net, j *api.ProvenJournal) {
	h := protocol.Head{}
	for _, e := range j.Entries {
		h = h.Next(protocol.Commit([16]byte(e.Salt), e.Raw))
	}
	j.Head = protocol.Encode(h)
}

var tamperings = []tampering{
	{"an entry removed", func(n *net, p *api.JournalProof) {
		i := at(n, p, protocol.EventContractEnded, 0)
		*entries(p) = slices.Delete(*entries(p), i, i+1)
	}, []proof.Code{proof.CodeGap, proof.CodeIncomplete}},
	{"an entry removed with its envelope", func(n *net, p *api.JournalProof) {
		i := at(n, p, protocol.TypeRequestAccess, 0)
		cause := entryOf(n.T, p.Journal.Entries[i]).Cause
		*entries(p) = slices.Delete(*entries(p), i, i+1)
		p.Envelopes = slices.DeleteFunc(p.Envelopes, func(raw []byte) bool {
			v, err := protocol.VerifyEnvelope(raw)
			return must(n.T, v, err).ID == cause
		})
	}, []proof.Code{proof.CodeGap, proof.CodeIncomplete}},
	{"an entry removed and its envelope left", func(n *net, p *api.JournalProof) {
		i := at(n, p, protocol.TypeRequestAccess, 0)
		*entries(p) = slices.Delete(*entries(p), i, i+1)
	}, []proof.Code{proof.CodeGap, proof.CodeIncomplete, proof.CodeEnvelope}},
	{"the last entry removed", func(n *net, p *api.JournalProof) {
		*entries(p) = (*entries(p))[:len(*entries(p))-1]
	}, []proof.Code{proof.CodeIncomplete, proof.CodeEnvelope}},
	{"the last entry removed and the head adjusted", func(n *net, p *api.JournalProof) {
		*entries(p) = (*entries(p))[:len(*entries(p))-1]
		reHead(n, &p.Journal)
	}, []proof.Code{proof.CodeHead, proof.CodeEnvelope}},
	{"an entry twice", func(n *net, p *api.JournalProof) {
		*entries(p) = slices.Insert(*entries(p), 6, (*entries(p))[5])
	}, []proof.Code{proof.CodeOrder, proof.CodeIncomplete}},
	{"two entries swapped", func(n *net, p *api.JournalProof) {
		e := *entries(p)
		e[8], e[9] = e[9], e[8]
	}, []proof.Code{proof.CodeGap, proof.CodeOrder, proof.CodeChain}},
	{"an entry of another journal inserted", func(n *net, p *api.JournalProof) {
		other := n.prove(n.other.Journal())
		*entries(p) = append(*entries(p), other.Journal.Entries[3])
		p.Envelopes = append(p.Envelopes, other.Envelopes[3])
	}, []proof.Code{proof.CodeForeign, proof.CodeOrder, proof.CodeIncomplete}},
	{"an entry replaced by one of another journal", func(n *net, p *api.JournalProof) {
		i := at(n, p, protocol.TypeRequestAccess, 0)
		(*entries(p))[i] = n.prove(n.other.Journal()).Journal.Entries[3]
	}, []proof.Code{proof.CodeForeign, proof.CodeEnvelope, proof.CodeGap, proof.CodeOrder, proof.CodeChain}},
	{"a refusal turned into a permit", func(n *net, p *api.JournalProof) {
		forge(n, p, at(n, p, protocol.TypeRequestAccess, 0), func(e *protocol.Entry) {
			e.Outcome = protocol.Encode(protocol.AccessOutcome{Permitted: true, Records: []protocol.RecordID{{1}}})
		})
	}, []proof.Code{proof.CodeNotInLog, proof.CodeChain}},
	{"a time changed", func(n *net, p *api.JournalProof) {
		forge(n, p, 4, func(e *protocol.Entry) { e.Time++ })
	}, []proof.Code{proof.CodeNotInLog, proof.CodeChain}},
	{"a purpose changed", func(n *net, p *api.JournalProof) {
		forge(n, p, at(n, p, protocol.TypeRequestAccess, 1), func(e *protocol.Entry) {
			var a protocol.RequestAccess
			if protocol.Decode(e.Action, &a) == nil {
				a.Purpose = protocol.PurposeResearch
				e.Action = protocol.Encode(a)
			}
		})
	}, []proof.Code{proof.CodeNotInLog, proof.CodeEnvelope, proof.CodeChain}},
	{"a salt changed", func(n *net, p *api.JournalProof) {
		(*entries(p))[3].Salt = make([]byte, 16)
	}, []proof.Code{proof.CodeNotInLog, proof.CodeEnvelope, proof.CodeChain}},
	{"an index changed", func(n *net, p *api.JournalProof) {
		(*entries(p))[3].Index++
	}, []proof.Code{proof.CodeNotInLog}},
	{"a seal passed off as an entry", func(n *net, p *api.JournalProof) {
		*entries(p) = append(*entries(p), p.Seal)
	}, []proof.Code{proof.CodeForeign, proof.CodeIncomplete}},
	{"another envelope in the place of one", func(n *net, p *api.JournalProof) {
		p.Envelopes[1] = n.prove(n.other.Journal()).Envelopes[1]
	}, []proof.Code{proof.CodeEnvelope}},
	{"a signature forged", func(n *net, p *api.JournalProof) {
		p.Envelopes[2] = bytes.Clone(p.Envelopes[2])
		p.Envelopes[2][len(p.Envelopes[2])-1] ^= 1
	}, []proof.Code{proof.CodeSignature, proof.CodeEnvelope}},
	{"an envelope twice", func(n *net, p *api.JournalProof) {
		p.Envelopes = append(p.Envelopes, p.Envelopes[0])
	}, []proof.Code{proof.CodeEnvelope}},
	{"an envelope too many", func(n *net, p *api.JournalProof) {
		p.Envelopes = append(p.Envelopes, n.prove(n.other.Journal()).Envelopes[0])
	}, []proof.Code{proof.CodeEnvelope}},
	{"too few cosigners", func(n *net, p *api.JournalProof) {
		p.Checkpoint = string(n.checkpoint(n.Time, 1, 3))
	}, []proof.Code{proof.CodeCosigners}},
	{"cosigners from the future", func(n *net, p *api.JournalProof) {
		p.Checkpoint = string(n.checkpoint(n.Time+1e6, n.all()...))
	}, []proof.Code{proof.CodeCosigners}},
	{"a forked checkpoint", func(n *net, p *api.JournalProof) {
		h := n.L.Head()
		p.Checkpoint = string(n.sign(c2sp.Checkpoint{Origin: proof.Origin(n.L.Chain()), Size: h.Size, Root: c2sp.Hash{9}}, n.Time, n.all()...))
	}, []proof.Code{proof.CodeSeal, proof.CodeNotInLog}},
	{"a checkpoint of another size", func(n *net, p *api.JournalProof) {
		h := n.L.Head()
		p.Checkpoint = string(n.sign(c2sp.Checkpoint{Origin: proof.Origin(n.L.Chain()), Size: h.Size + 1, Root: c2sp.Hash(h.Root)}, n.Time, n.all()...))
	}, []proof.Code{proof.CodeSeal, proof.CodeNotInLog}},
	{"no checkpoint", func(n *net, p *api.JournalProof) { p.Checkpoint = "anamnesis/test-net\n" }, []proof.Code{proof.CodeCheckpoint}},
	{"another policy", func(n *net, p *api.JournalProof) {
		p.Policy = strings.Replace(p.Policy, "nodes 3", "nodes 1", 1)
	}, []proof.Code{proof.CodePolicy}},
	{"no policy", func(n *net, p *api.JournalProof) { p.Policy = "" }, []proof.Code{proof.CodePolicy, proof.CodeNoTrustRoot}},
	{"an older seal", func(n *net, p *api.JournalProof) {
		for i := p.Seal.Index - 1; ; i-- {
			if e := n.entry(i); entryOf(n.T, e).Type == protocol.EventSeal {
				p.Seal = e
				return
			}
		}
	}, []proof.Code{proof.CodeSeal, proof.CodeOrder, proof.CodeHead, proof.CodeMember, proof.CodePractice}},
	{"a salt for the seal", func(n *net, p *api.JournalProof) { p.Seal.Salt = bytes.Repeat([]byte{1}, 16) }, []proof.Code{proof.CodeSeal}},
	{"no seal", func(n *net, p *api.JournalProof) { p.Seal = p.Journal.Entries[0] }, []proof.Code{proof.CodeSeal}},
	{"another journal's head", func(n *net, p *api.JournalProof) {
		other := n.prove(n.other.Journal())
		p.Journal.Head, p.Journal.HeadProof = other.Journal.Head, other.Journal.HeadProof
	}, []proof.Code{proof.CodeHead}},
	{"the constitution cut short", func(n *net, p *api.JournalProof) {
		c := &p.Constitution
		c.Entries = c.Entries[:len(c.Entries)-1]
	}, []proof.Code{proof.CodeIncomplete, proof.CodeMember}},
	{"no constitution", func(n *net, p *api.JournalProof) { p.Constitution.Entries = nil },
		[]proof.Code{proof.CodeGenesis, proof.CodePolicy, proof.CodeIncomplete, proof.CodeSigner, proof.CodeEnvelope, proof.CodeMember}},
	{"a genesis of one's own", func(n *net, p *api.JournalProof) {
		e := entryOf(n.T, p.Constitution.Entries[0])
		var g protocol.Genesis
		if err := protocol.Decode(e.Action, &g); err != nil {
			n.T.Fatal(err)
		}
		g.Members = g.Members[1:]
		e.Action = protocol.Encode(g)
		p.Constitution.Entries[0].Raw = protocol.Encode(e)
	}, []proof.Code{proof.CodePolicy, proof.CodeNotInLog, proof.CodeSigner, proof.CodeChain, proof.CodeMember}},
	{"a member left out", func(n *net, p *api.JournalProof) { p.Members = p.Members[1:] }, nil},
	{"a member's row of another", func(n *net, p *api.JournalProof) { p.Members[0].Row = p.Members[1].Row }, nil},
	{"a practitioner left out", func(n *net, p *api.JournalProof) { p.Practitioners = nil }, []proof.Code{proof.CodePractice}},
	{"a role changed", func(n *net, p *api.JournalProof) {
		var row protocol.PractitionerRow
		if err := protocol.Decode(p.Practitioners[0].Row, &row); err != nil {
			n.T.Fatal(err)
		}
		row.Role = protocol.RoleNurse
		p.Practitioners[0].Row = protocol.Encode(row)
	}, []proof.Code{proof.CodePractice}},
	{"another name", func(n *net, p *api.JournalProof) {
		is := *p.Practitioners[0].Name
		is.Name = "Somebody Else"
		p.Practitioners[0].Name = &is
	}, []proof.Code{proof.CodeName}},
	{"no inclusion proof", func(n *net, p *api.JournalProof) { (*entries(p))[2].Proof = nil }, []proof.Code{proof.CodeNotInLog}},
	{"an empty journal", func(n *net, p *api.JournalProof) { p.Journal.Entries, p.Envelopes = nil, p.Envelopes[:0:0] },
		[]proof.Code{proof.CodeEnvelope, proof.CodeIncomplete, proof.CodePractice}},
}

func TestTampering(t *testing.T) {
	n := story(t, 4)
	good := n.write(n.prove(n.patient.Journal()))
	if r := verify(t, good, n.options()); !r.OK {
		t.Fatal(r.Failures)
	}
	for _, c := range tamperings {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			n.T = t
			p := n.prove(n.patient.Journal())
			c.do(n, p)
			var b bytes.Buffer
			r := proof.Check(p, n.options())
			if err := proof.Write(&b, p, n.open, nil); err == nil {
				r = verify(t, b.Bytes(), n.options())
			}
			if r.OK {
				t.Fatal("it is not noticed")
			}
			if c.want != nil && !slices.Equal(codes(r), c.want) {
				t.Errorf("found %v, want %v\n%v", codes(r), c.want, r.Failures)
			}
		})
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	n := story(t, 4)
	export := n.write(n.prove(n.patient.Journal()))
	policy := []byte(n.prove(n.patient.Journal()).Policy)
	head := n.L.Head()
	seen := n.entrySeal(t)
	grown, err := n.L.Log().Consistency(seen, head.Size)
	must(t, grown, err)
	rootThen, err := n.L.Log().RootAt(seen)
	must(t, rootThen, err)
	var path []protocol.Hash
	for _, h := range grown {
		path = append(path, protocol.Hash(h))
	}
	earlier := &proof.Pin{Size: seen, Root: protocol.Hash(rootThen)}
	for _, c := range []struct {
		name   string
		change func(o *proof.Options)
		want   proof.Code
		pin    string
	}{
		{"nothing", func(*proof.Options) {}, "", ""},
		{"the policy", func(o *proof.Options) { o.Policy = policy }, "", ""},
		{"the policy in another spelling", func(o *proof.Options) { o.Policy = append([]byte("# ours\n\n"), policy...) }, "", ""},
		{"another policy", func(o *proof.Options) {
			o.Policy = bytes.ReplaceAll(policy, []byte("2037-01-15T"), []byte("2036-01-15T"))
		}, proof.CodeWrongPolicy, ""},
		{"no policy", func(o *proof.Options) { o.Policy = []byte("x") }, proof.CodePolicy, ""},
		{"recent", func(o *proof.Options) { o.MaxAge = time.Minute }, "", ""},
		{"stale", func(o *proof.Options) { o.MaxAge, o.Now = time.Minute, n.Time+61_000 }, proof.CodeStale, ""},
		{"old and any age", func(o *proof.Options) { o.Now = n.Time + 1e9 }, "", ""},
		{"the policy's end", func(o *proof.Options) { o.Now = n.Time + 11*366*24*3600_000 }, proof.CodePolicyExpired, ""},
		{"all cosigners", func(o *proof.Options) { o.MinCosigners = 4 }, "", ""},
		{"too many cosigners", func(o *proof.Options) { o.MinCosigners = 5 }, proof.CodeCosigners, ""},
		{"fewer cosigners than the policy", func(o *proof.Options) { o.MinCosigners = 1 }, "", ""},
		{"the journal", func(o *proof.Options) { o.Journal = n.patient.Journal() }, "", ""},
		{"another journal", func(o *proof.Options) { o.Journal = n.other.Journal() }, proof.CodeJournal, ""},
		{"the same pin", func(o *proof.Options) { o.Pin = &proof.Pin{Size: head.Size, Root: head.Root} }, "", "same"},
		{"a fork", func(o *proof.Options) { o.Pin = &proof.Pin{Size: head.Size, Root: protocol.Hash{1}} }, proof.CodeForked, ""},
		{"a rollback", func(o *proof.Options) { o.Pin = &proof.Pin{Size: head.Size + 1} }, proof.CodeRollback, ""},
		{"an earlier pin", func(o *proof.Options) { o.Pin = earlier }, "", "unchecked"},
		{"growth", func(o *proof.Options) { o.Pin = &proof.Pin{Size: earlier.Size, Root: earlier.Root, Proof: path} }, "", "extended"},
		{"a fork before", func(o *proof.Options) { o.Pin = &proof.Pin{Size: earlier.Size, Root: protocol.Hash{1}, Proof: path} }, proof.CodeForked, ""},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			o := n.options()
			c.change(&o)
			r := verify(t, export, o)
			if c.want == "" && !r.OK || c.want != "" && (r.OK || r.Failures[0].Code != c.want) {
				t.Errorf("want %q, got %v", c.want, r.Failures)
			}
			if r.Checkpoint.Pin != c.pin {
				t.Errorf("pin %q, want %q", r.Checkpoint.Pin, c.pin)
			}
			if r.TrustRoot.Given != (o.Policy != nil) || r.TrustRoot.Digest.IsZero() != (c.name == "no policy") {
				t.Errorf("trust root %+v", r.TrustRoot)
			}
		})
	}
}

// entrySeal is the size of the log at some earlier seal.
func (n *net) entrySeal(t *testing.T) uint64 {
	for i := n.L.Head().Size / 2; ; i++ {
		if entryOf(t, n.entry(i)).Type == protocol.EventSeal {
			return i + 1
		}
	}
}

// Files that cannot be had are listed, and damaged ones are not passed off as whole.
func TestMissingFiles(t *testing.T) {
	n := story(t, 4)
	p := n.prove(n.patient.Journal())
	calls := 0
	var b bytes.Buffer
	var steps []int
	err := proof.Write(&b, p, func(h protocol.Hash) (io.ReadCloser, error) {
		switch calls++; calls {
		case 1:
			return nil, fmt.Errorf("gone: %w", fs.ErrNotExist)
		case 2:
			return nil, fmt.Errorf("the patient wished so: %w", proof.ErrErased)
		}
		return io.NopCloser(strings.NewReader("not the file")), nil
	}, func(done, total int) { steps = append(steps, done, total) })
	if err != nil || !slices.Equal(steps, []int{1, 3, 2, 3, 3, 3}) {
		t.Fatal(err, steps)
	}
	r := verify(t, b.Bytes(), n.options())
	var why []string
	for _, m := range r.Missing {
		why = append(why, m.Why)
	}
	// No entry of this journal erases anything: who says so lies, and hides a file.
	if r.OK || len(r.Failures) != 1 || r.Failures[0].Code != proof.CodeFile || r.Counts.Files != 0 || r.Counts.Records != 3 || !slices.Equal(why, []string{proof.Unavailable, proof.Erased, proof.Damaged}) {
		t.Fatalf("%+v", r)
	}
	broken := errors.New("the network broke")
	if err := proof.Write(io.Discard, p, func(protocol.Hash) (io.ReadCloser, error) { return nil, broken }, nil); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if err := proof.Write(io.Discard, p, func(protocol.Hash) (io.ReadCloser, error) {
		return io.NopCloser(iotest.ErrReader(broken)), nil
	}, nil); !errors.Is(err, broken) {
		t.Fatal(err)
	}
}

// Two exports of one proof are the same, in whatever order a gateway gave the envelopes and cosignatures.
func TestDeterministic(t *testing.T) {
	n := story(t, 4)
	p := n.prove(n.patient.Journal())
	one := n.write(p)
	q := n.prove(n.patient.Journal())
	slices.Reverse(q.Envelopes)
	q.Checkpoint = string(n.checkpoint(n.Time, 4, 2, 3, 1))
	if !bytes.Equal(one, n.write(q)) {
		t.Error("the order of envelopes and cosignatures shows")
	}
	if r := proof.Check(q, n.options()); !r.OK {
		t.Error(r.Failures)
	}
}

func TestReaderFails(t *testing.T) {
	n := story(t, 1)
	export := n.write(n.prove(n.patient.Journal()))
	broken := errors.New("the disk broke")
	for _, after := range []int{0, 100, 600, 9000, len(export) - 1} {
		r, err := proof.Verify(io.MultiReader(bytes.NewReader(export[:after]), iotest.ErrReader(broken)), n.options())
		if !errors.Is(err, broken) || r.OK {
			t.Errorf("after %d bytes: %v, %v", after, err, r.OK)
		}
	}
	if r, err := proof.Verify(iotest.OneByteReader(bytes.NewReader(export)), n.options()); err != nil || !r.OK {
		t.Error(err, r.Failures)
	}
}

// What many failures there may be, the report stays short.
func TestFailuresAreBounded(t *testing.T) {
	n := story(t, 4)
	p := n.prove(n.patient.Journal())
	for len(p.Journal.Entries) < 500 {
		p.Journal.Entries = append(p.Journal.Entries, p.Journal.Entries[0])
	}
	r := verify(t, n.write(p), n.options())
	if len(r.Failures) != proof.FailuresMax || r.FailuresMore < 300 {
		t.Fatal(len(r.Failures), r.FailuresMore)
	}
}
