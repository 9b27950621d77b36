package proof_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/proof"
)

// The vectors: an export, a receipt out of the same journal, and what verifying them must find after each of the changes listed.
type vectors struct {
	Comment string   `json:"comment"`
	Now     uint64   `json:"now_ms"`
	Journal string   `json:"journal"`
	Policy  string   `json:"policy"`  // of the network
	Digest  string   `json:"digest"`  // of the policy
	Receipt string   `json:"receipt"` // C2SP tlog-proof
	Cases   []vector `json:"cases"`
}

type vector struct {
	Name    string       `json:"name"`
	Receipt bool         `json:"receipt,omitempty"` // of the receipt, else of the export
	At      int          `json:"at"`                // where Put goes, overwriting; before that, Cut
	Put     string       `json:"put,omitempty"`     // hexadecimal
	Cut     int          `json:"cut,omitempty"`     // bytes left, if not 0
	MaxAge  uint64       `json:"max_age_ms,omitempty"`
	Given   bool         `json:"policy_given,omitempty"`
	Expect  []proof.Code `json:"expect"` // each code once, in the order of the first failures
}

const (
	vectorsFile = "../../docs/spec/vectors/export.json"
	exportFile  = "../../docs/spec/vectors/export.tar"
)

func readVectors(t testing.TB) (v vectors, export []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(vectorsFile))
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err == nil {
		export, err = os.ReadFile(filepath.FromSlash(exportFile))
	}
	if err != nil {
		t.Fatal(err)
	}
	return v, export
}

func (v vectors) failures(t testing.TB, c vector, export []byte) (out []proof.Failure, ok bool) {
	t.Helper()
	file := bytes.Clone(export)
	if c.Receipt {
		file = []byte(v.Receipt)
	}
	put, err := hex.DecodeString(c.Put)
	if err != nil {
		t.Fatal(err)
	}
	if c.Cut > 0 {
		file = file[:c.Cut]
	}
	if over := c.At + len(put) - len(file); over > 0 {
		file = append(file, make([]byte, over)...)
	}
	copy(file[c.At:], put)
	o := proof.Options{Now: v.Now, MaxAge: time.Duration(c.MaxAge) * time.Millisecond}
	if c.Given {
		o.Policy = []byte(v.Policy)
	}
	if c.Receipt {
		r, err := proof.VerifyReceipt(file, o)
		if err != nil {
			t.Fatal(err)
		}
		return r.Failures, r.OK
	}
	r, err := proof.Verify(bytes.NewReader(file), o)
	if err != nil {
		t.Fatal(err)
	}
	return r.Failures, r.OK
}

func kinds(failures []proof.Failure) []proof.Code {
	out := []proof.Code{}
	for _, f := range failures {
		if !slices.Contains(out, f.Code) {
			out = append(out, f.Code)
		}
	}
	return out
}

func TestVectors(t *testing.T) {
	v, export := readVectors(t)
	if len(v.Cases) < 15 {
		t.Fatalf("%d vectors only", len(v.Cases))
	}
	for _, c := range v.Cases {
		t.Run(strings.ReplaceAll(c.Name, " ", "-"), func(t *testing.T) {
			failures, ok := v.failures(t, c, export)
			if got := kinds(failures); !slices.Equal(got, c.Expect) || ok != (len(c.Expect) == 0) {
				t.Errorf("found %v, want %v\n%v", got, c.Expect, failures)
			}
		})
	}
}

// Nothing but the export itself holds, whatever the bytes; and no bytes make the verifier fall over.
func FuzzVerify(f *testing.F) {
	v, export := readVectors(f)
	f.Add(export)
	for _, c := range v.Cases {
		if !c.Receipt && c.Cut > 0 {
			f.Add(export[:c.Cut])
		}
	}
	for i := 0; i < len(export); i += 4000 {
		changed := bytes.Clone(export)
		changed[i] ^= 0x10
		f.Add(changed)
	}
	f.Add(append(bytes.Clone(export), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := proof.Verify(bytes.NewReader(b), proof.Options{Now: v.Now})
		if r.OK && (err != nil || !bytes.Equal(b, export)) {
			t.Fatal("other bytes hold as well")
		}
		if !r.OK && len(r.Failures) == 0 {
			t.Fatal("it does not hold and nobody says why")
		}
		_ = r.Text()
		_, _ = r.Log(proof.LogOptions{})
	})
}

// FuzzReceipt: see FuzzVerify.
func FuzzReceipt(f *testing.F) {
	v, _ := readVectors(f)
	f.Add([]byte(v.Receipt))
	f.Add([]byte(v.Receipt[:len(v.Receipt)/2]))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\nx\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _ := proof.VerifyReceipt(b, proof.Options{Now: v.Now, Policy: []byte(v.Policy)})
		if r.OK && !sameLines(string(b), v.Receipt) {
			t.Fatal("other bytes hold as well")
		}
		_ = r.Text()
	})
}

// sameLines: the signatures of a checkpoint may come in any order, and not all are needed.
func sameLines(a, b string) bool {
	have := strings.Split(b, "\n")
	for _, l := range strings.Split(a, "\n") {
		if !slices.Contains(have, l) {
			return false
		}
	}
	return true
}
