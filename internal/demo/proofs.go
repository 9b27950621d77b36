package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

type contractRow = api.Contract

// breakInFails plays the adversary: members with root on their own nodes, one fewer than the threshold, who take ciphertext from their
// vaults and shares from their disks, and combine them without asking the ledger. And a custodian asked about an access that never was.
func (p *play) breakInFails(ctx context.Context) (string, error) {
	rows, err := p.at[0].Records(ctx, p.lead.keys)
	if err != nil || len(rows) == 0 {
		return "", errors.Join(err, failed("no record to break into"))
	}
	file, err := p.at[0].File(ctx, p.lead.keys, rows[0].Ciphertext)
	if err != nil {
		return "", err
	}
	capsule, err := wallet.CapsuleOf(file)
	if err != nil {
		return "", err
	}
	label := wallet.CapsuleLabel(p.net.Genesis.Chain, rows[0].Generation, p.lead.keys.Journal, rows[0].Label, rows[0].ID)
	verified, err := capsule.Verify(label)
	if err != nil {
		return "", err
	}
	need := threshold.Threshold(len(p.net.Nodes))
	binding := threshold.Binding{Chain: p.net.Genesis.Chain, OneTimeKey: make([]byte, 32)}
	var stolen []*threshold.Partials
	for i := range need - 1 {
		share, err := node.ReadShare(filepath.Join(p.net.Dir, "nodes", p.net.Names[i]), p.net.Passphrase, rows[0].Generation)
		if err != nil {
			return "", err
		}
		partials, err := threshold.Release(rand.Reader, share, []threshold.VerifiedCapsule{verified}, binding)
		if err != nil {
			return "", err
		}
		stolen = append(stolen, partials)
	}
	if _, err := threshold.Combine(need, []*threshold.Capsule{capsule}, stolen); err == nil {
		return "", failed("%d shares opened a record that needs %d", len(stolen), need)
	}
	if need > 2 { // pretend that the coalition is large enough for its own shares
		if secrets, err := threshold.Combine(need-1, []*threshold.Capsule{capsule}, stolen); err == nil || secrets != nil && secrets[0] != nil {
			return "", failed("%d shares opened a record that needs %d", len(stolen), need)
		}
	}
	forged := api.ShareRequest{Generation: rows[0].Generation, Records: []protocol.RecordID{rows[0].ID}, Capsules: [][]byte{capsule.Bytes()}, All: true}
	for _, s := range p.net.Nodes[0].Shares(ctx, protocol.AccessID(wallet.NewRecordID()), forged) {
		if s.Sealed != nil {
			return "", failed("custodian %d gave its share for an access that is not on the ledger", s.Custodian)
		}
	}
	return fmt.Sprintf("%d of %d custodians, with the ciphertext and their shares in hand, could not open a record (%d are needed); no custodian answers for an access that is not on its ledger",
		len(stolen), len(p.net.Nodes), need), nil
}

// showLog shows the lead's access log.
func (p *play) showLog(ctx context.Context) (string, error) {
	jp, err := p.at[0].Proof(ctx, p.lead.keys)
	if err != nil {
		return "", err
	}
	lines, err := logLines(jp, p.lead.keys.Handle())
	if err != nil {
		return "", err
	}
	p.story.log(p.lead.name, lines)
	reads := 0
	for _, l := range lines {
		if l.Read {
			reads++
		}
	}
	if reads == 0 {
		return "", failed("the log shows no read")
	}
	return fmt.Sprintf("%s sees %d reads and refusals among %d entries: who, what, why and when", p.lead.name, reads, len(lines)), nil
}

// receipts fetches a receipt for each entry of the lead's journal that somebody signed, and verifies it offline.
func (p *play) receipts(ctx context.Context) (string, error) {
	jp, err := p.at[0].Proof(ctx, p.lead.keys)
	if err != nil {
		return "", err
	}
	n := 0
	for _, e := range jp.Journal.Entries[max(0, len(jp.Journal.Entries)-40):] {
		text, err := p.at[n%len(p.at)].Receipt(ctx, client.Patient(p.lead.keys), e.Index)
		if err != nil {
			return "", err
		}
		r, err := proof.VerifyReceipt(text, proof.Options{Policy: []byte(jp.Policy), Now: nowMillis(), MaxAge: time.Hour})
		if err != nil || !r.OK {
			return "", failed("the receipt of entry %d does not hold: %v", e.Index, err)
		}
		n++
	}
	p.Receipts += n
	return fmt.Sprintf("%d receipts (C2SP tlog-proof) fetched from all gateways and verified offline", n), nil
}

// completeOffline exports every patient's journal and verifies each file with nothing but the file and the trust policy.
func (p *play) completeOffline(ctx context.Context) (string, error) {
	bar := p.story.bar("journals exported and verified", len(p.cast))
	entries := 0
	for i, pt := range p.cast {
		name := filepath.Join(p.dir, fmt.Sprintf("journal-%d.anamnesis", i+1))
		if err := p.exportTo(ctx, pt, name); err != nil {
			return "", err
		}
		report, err := p.verify(name)
		if err != nil {
			return "", err
		}
		if !report.OK {
			return "", failed("%s's export does not verify: %v", pt.name, report.Failures[0])
		}
		if len(report.Missing) > 0 {
			return "", failed("%s's export lacks %d files", pt.name, len(report.Missing))
		}
		if report.Counts.Records != len(pt.written) {
			return "", failed("%s's export proves %d records of %d", pt.name, report.Counts.Records, len(pt.written))
		}
		p.Receipts += report.Counts.Receipts
		entries += report.Counts.Entries
		if pt == p.lead {
			p.export = name
		}
		bar(1)
	}
	return fmt.Sprintf("%d journals exported; %d entries proven in the log, in order, none left out, each export with nothing but the file and the trust policy", len(p.cast), entries), nil
}

func (p *play) exportTo(ctx context.Context, pt *patient, name string) error {
	jp, err := p.at[0].Proof(ctx, pt.keys)
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	err = proof.Write(f, jp, func(h protocol.Hash) (io.ReadCloser, error) {
		b, err := p.at[0].File(ctx, pt.keys, h)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(b)), nil
	}, nil)
	return errors.Join(err, f.Close())
}

func (p *play) verify(name string) (*proof.Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	policy, err := proof.NetworkPolicy(p.net.Genesis)
	if err != nil {
		return nil, err
	}
	text, err := policy.Text()
	if err != nil {
		return nil, err
	}
	return proof.Verify(f, proof.Options{Policy: text, Now: nowMillis(), MaxAge: time.Hour, Journal: protocol.JournalID{}})
}

// tamperingCaught changes the lead's export in many places, one at a time; the verifier must notice each.
func (p *play) tamperingCaught(context.Context) (string, error) {
	good, err := os.ReadFile(p.export)
	if err != nil {
		return "", err
	}
	name := filepath.Join(p.dir, "tampered.anamnesis")
	defer func() { _ = os.Remove(name) }()
	changes := []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)-len(b)/3] },                // cut off
		func(b []byte) []byte { return append(b, 0) },                       // something added
		func(b []byte) []byte { return append(b[:2048:2048], b[2560:]...) }, // a piece taken out
	}
	const flips = 45
	for i := range flips {
		at := len(good) * i / flips
		changes = append(changes, func(b []byte) []byte { b[at] ^= 0x20; return b })
	}
	bar := p.story.bar("changes tried", len(changes))
	for i, change := range changes {
		bad := change(bytes.Clone(good))
		if bytes.Equal(bad, good) {
			continue
		}
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			return "", err
		}
		report, err := p.verify(name)
		if err == nil && report.OK {
			return "", failed("change %d of the export went unnoticed", i+1)
		}
		p.Tampering++
		bar(1)
	}
	if report, err := p.verify(p.export); err != nil || !report.OK {
		return "", failed("the untouched export no longer verifies")
	}
	return fmt.Sprintf("%d changes to the export, from one flipped bit to a missing piece: each was noticed, and the untouched file still holds", p.Tampering), nil
}

func nowMillis() uint64 { return uint64(time.Now().UnixMilli()) }
