//go:build !js

package proof_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// holder is a patient with a wallet, whose records are sealed for real.
type holder struct {
	*net
	keys      *wallet.JournalKeys
	resources [][]byte
}

func hold(t testing.TB) *holder {
	t.Helper()
	n := found(t, 1)
	w := wallet.New(wallet.Network{Chain: n.L.Chain()})
	j, err := w.AdoptJournal(n.handle, "mine")
	keys, err2 := w.Keys(must(t, j, err).ID)
	h := &holder{net: n, keys: must(t, keys, err2)}
	clinic := n.Members[0]
	n.Must(n.patient, n.patient.Journal(), &protocol.Grant{NotAfter: n.Time + 3600_000,
		Policy: policyOf(t, fmt.Sprintf(`permit(principal in Member::"%s", action == Action::"write", resource);`, clinic.Signer.Member()))})
	for i, class := range []string{"allergies", "labs", "labs"} {
		h.resources = append(h.resources, fmt.Appendf(nil, `{"resourceType":"Observation","id":"%d"}`, i))
		h.add(t, clinic, class, h.resources[i])
	}
	return h
}

func (h *holder) add(t testing.TB, by *ledgertest.Who, class string, resource []byte) {
	t.Helper()
	s, err := wallet.Seal(wallet.SealInput{Chain: h.L.Chain(), Handle: h.handle, Recipient: h.keys.Identity.Recipient(), Custodians: &h.Keys.Public, Class: class,
		Recorded: h.Time, Author: by.Signer, Resources: [][]byte{resource}}, signWith(by))
	must(t, s, err)
	h.files[s.Action.Ciphertext] = s.File
	h.Must(by, h.patient.Journal(), &s.Action)
}

func TestRecordsOpen(t *testing.T) {
	h := hold(t)
	export := h.write(h.prove(h.patient.Journal()))
	w := wallet.New(wallet.Network{})
	j, err := w.OpenJournal("another's")
	other, err2 := w.Keys(must(t, j, err).ID)
	must(t, other, err2)
	open := func(handle *protocol.Handle, who ...*wallet.Identity) (*proof.Report, [][]byte) {
		var got [][]byte
		r, err := proof.OpenRecords(bytes.NewReader(export), h.options(), who, handle, func(_ uint64, r *wallet.Record) error {
			got = append(got, r.Resources...)
			return nil
		})
		return must(t, r, err), got
	}
	r, got := open(&h.handle, other.Identity, h.keys.Identity)
	if !r.OK || !slices.EqualFunc(got, h.resources, bytes.Equal) || r.Counts.Opened != 3 {
		t.Fatalf("%+v %q", r, got)
	}
	if r, got := open(nil, other.Identity); r.OK || len(got) > 0 || !slices.Equal(codes(r), []proof.Code{proof.CodeRecord}) {
		t.Fatalf("opened with another's identity: %+v", r)
	}
	if r, _ := open(nil); r.OK {
		t.Fatal("opened with none")
	}
	foreign := protocol.Handle{Journal: h.handle.Journal, Key: protocol.LabelKey{8}}
	if r, got := open(&foreign, h.keys.Identity); r.OK || len(got) > 0 {
		t.Fatal("labels of another handle")
	}
	full := errors.New("the disk is full")
	if _, err := proof.OpenRecords(bytes.NewReader(export), h.options(), []*wallet.Identity{h.keys.Identity}, nil,
		func(uint64, *wallet.Record) error { return full }); !errors.Is(err, full) {
		t.Fatal(err)
	}
}

// A patient reads the records of an export with stock tools and the wallet's identity.
func TestStockTools(t *testing.T) {
	for _, tool := range []string{"age", "zstd", "tar", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NO %s HERE: opening an export's records with stock tools is not tested", tool)
		}
	}
	h := hold(t)
	dir := t.TempDir()
	for name, data := range map[string][]byte{"export": h.write(h.prove(h.patient.Journal())), "identity": []byte(h.keys.Identity.Reveal() + "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := `set -e; tar xf export; for f in anamnesis-*/records/*.age; do age -d -i identity $f | zstd -qd | tar xO resources/00001.json; echo; done`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.Output()
	lines := bytes.Split(bytes.TrimSpace(must(t, out, err)), []byte("\n"))
	slices.SortFunc(lines, bytes.Compare)
	if !slices.EqualFunc(lines, h.resources, bytes.Equal) {
		t.Fatalf("%s", out)
	}
}
