package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/custodian"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/synth"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

const readRecords = 20

// measureRead times a doctor's read of twenty records, from the request to the plaintext of all, beside the commits of the same network.
func measureRead(ctx context.Context, r *run) error {
	s, err := r.setUp(ctx, 4, 1)
	if err != nil {
		return err
	}
	defer func() { _ = s.net.Stop() }()
	d, err := s.admitDoctor(ctx)
	if err != nil {
		return err
	}
	glass, err := s.admitMedic(ctx, d)
	if err != nil {
		return err
	}
	var reads, emergencies, commits, releases []time.Duration
	for i := range pick(r, 60, 15) {
		start := time.Now()
		contract, err := d.c.Grant(ctx, d.other, protocol.Grant{Policy: d.policy, NotAfter: uint64(start.UnixMilli()) + 3600_000})
		if err != nil {
			return err
		}
		commit := time.Since(start)
		start = time.Now()
		access, err := d.read(ctx)
		if err != nil {
			return err
		}
		read := time.Since(start)
		start = time.Now()
		if _, err := s.net.Nodes[0].Custodian().Release(ctx, custodian.Request{Access: access, Generation: d.c.Network.Generation, Records: d.records, Capsules: d.capsules}); err != nil {
			return err
		}
		release := time.Since(start)
		start = time.Now()
		if err := glass(ctx); err != nil {
			return err
		}
		emergency := time.Since(start)
		if i > 0 {
			emergencies = append(emergencies, emergency)
			reads, commits, releases = append(reads, read), append(commits, commit), append(releases, release)
		}
		if err := d.c.Revoke(ctx, d.other, contract); err != nil {
			return err
		}
	}
	p95 := quantile(commits, 0.95)
	r.add("read, request to plaintext of 20 records, 4 members, p50", quantile(reads, 0.5), "ms", "ms commit p50", quantile(commits, 0.5))
	r.add("read, request to plaintext of 20 records, 4 members, p95", quantile(reads, 0.95), "ms", "ms commit p95", p95)
	r.add("break-glass, request with its sealed reason to plaintext of 20 records, p95", quantile(emergencies, 0.95), "ms", "ms of an ordinary read p95", quantile(reads, 0.95))
	exchange, err := exchanges()
	if err != nil {
		return err
	}
	r.add("custodian releases 20 capsules, p50", quantile(releases, 0.5), "ms", "ms for 20 × X25519", 20e3/exchange)
	r.say("read p50 %.0f p95 %.0f ms; commit p50 %.0f p95 %.0f ms", quantile(reads, 0.5), quantile(reads, 0.95), quantile(commits, 0.5), p95)
	return nil
}

// doctor reads a patient's records under a contract.
type doctor struct {
	c        *client.Client
	who      client.Identity
	patient  *wallet.JournalKeys
	other    *wallet.JournalKeys // of a patient who grants and revokes meanwhile
	policy   []byte
	records  []protocol.RecordID
	capsules [][]byte
}

func (s *stage) admitDoctor(ctx context.Context) (*doctor, error) {
	d := &doctor{c: s.at[0], patient: s.journals[0]}
	id := protocol.PractitionerID(wallet.NewRecordID())
	a := wallet.NewPractitioner(wallet.Network{Chain: s.net.Genesis.Chain, Gateway: s.net.Gateway(0)}, id, "Dr. Bench")
	d.who = client.Actor(a)
	if err := d.c.RegisterPractitioner(ctx, client.Actor(s.net.Member(0)), id, a.Key.Public(), protocol.RolePhysician,
		uint64(time.Now().Add(time.Hour).UnixMilli()), a.Name, "emergency medicine"); err != nil {
		return nil, err
	}
	var err error
	if d.other, err = s.openJournal(ctx, 0); err != nil {
		return nil, err
	}
	if d.policy, _, err = consent.Render("care-team", consent.Params{Grantee: consent.Grantee{Practitioner: id}}); err != nil {
		return nil, err
	}
	if _, err := d.c.GrantTemplate(ctx, d.patient, "care-team", consent.Params{Grantee: consent.Grantee{Practitioner: id}}, 0); err != nil {
		return nil, err
	}
	return d, d.fill(ctx)
}

// fill notes twenty of the records that the members wrote, with their capsules.
func (d *doctor) fill(ctx context.Context) error {
	rows, err := d.c.Records(ctx, d.patient)
	if err != nil {
		return err
	}
	for _, row := range rows[:readRecords] {
		file, err := d.c.File(ctx, d.patient, row.Ciphertext)
		if err != nil {
			return err
		}
		capsule, err := wallet.CapsuleOf(file)
		if err != nil {
			return err
		}
		d.records, d.capsules = append(d.records, row.ID), append(d.capsules, capsule.Bytes())
	}
	return nil
}

// admitMedic lets an emergency physician break the glass for the doctor's records; each call does.
func (s *stage) admitMedic(ctx context.Context, d *doctor) (func(context.Context) error, error) {
	id := protocol.PractitionerID(wallet.NewRecordID())
	a := wallet.NewPractitioner(wallet.Network{Chain: s.net.Genesis.Chain, Gateway: s.net.Gateway(0)}, id, "Dr. Night")
	if err := d.c.RegisterPractitioner(ctx, client.Actor(s.net.Member(0)), id, a.Key.Public(), protocol.RoleEmergencyPhysician,
		uint64(time.Now().Add(time.Hour).UnixMilli()), a.Name, "emergency medicine"); err != nil {
		return nil, err
	}
	if _, err := d.c.GrantTemplate(ctx, d.patient, "emergency-card", consent.Params{Records: d.records}, 0); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		access, _, err := d.c.BreakGlass(ctx, client.Actor(a), protocol.MemberID(s.net.Member(0).ID), client.Emergency{Journal: d.patient.Journal,
			Purpose: protocol.PurposeBreakGlass, Records: d.records, Reason: "Unconscious."})
		if err != nil {
			return err
		}
		read, err := d.c.Read(ctx, access)
		if err == nil && (len(read.Records) != readRecords || len(read.Liars) > 0) {
			err = fmt.Errorf("%w: %d records were read, %d custodians lied", errAnswer, len(read.Records), len(read.Liars))
		}
		return err
	}, nil
}

func (d *doctor) read(ctx context.Context) (protocol.AccessID, error) {
	a, err := d.c.RequestAccess(ctx, d.who, d.patient.Journal, protocol.PurposeTreat, nil, d.records)
	if err != nil {
		return protocol.AccessID{}, err
	}
	read, err := d.c.Read(ctx, a)
	if err != nil {
		return a.Decision.ID, err
	}
	if len(read.Records) != readRecords || len(read.Liars) > 0 {
		return a.Decision.ID, fmt.Errorf("%w: %d records were read, %d custodians lied", errAnswer, len(read.Records), len(read.Liars))
	}
	return a.Decision.ID, nil
}

// measureImport reads a folder of FHIR histories and writes all of it into journals of its patients, on one node.
func measureImport(ctx context.Context, r *run) error {
	paths, what, err := r.histories()
	if err != nil {
		return err
	}
	s, err := r.setUp(ctx, 1, 0)
	if err != nil {
		return err
	}
	defer func() { _ = s.net.Stop() }()
	start, cpu := time.Now(), cpuSeconds()
	data, err := fhir.Load(paths, fhir.Limits{}, nil)
	if err != nil {
		return err
	}
	arranged := data.Arrange(fhir.ArrangeOptions{Member: fhir.Source{ID: "bench", Name: s.net.Genesis.Members[0].Name}})
	parsed := time.Since(start)
	groups := make([][]fhir.Group, len(arranged.Patients))
	for _, g := range arranged.Groups {
		groups[g.Patient] = append(groups[g.Patient], g)
	}
	keys := make([]*wallet.JournalKeys, len(groups))
	opening, openingCPU := time.Now(), cpuSeconds()
	if err := inParallel(32, len(groups), func(i int) (err error) { keys[i], err = s.openJournal(ctx, i); return err }); err != nil {
		return err
	}
	opened, openedCPU := time.Since(opening), cpuSeconds()-openingCPU
	resources, records, err := s.importAll(ctx, keys, groups)
	if err != nil {
		return err
	}
	took := (time.Since(start) - opened).Seconds()
	cpu = cpuSeconds() - cpu - openedCPU
	r.say("import: %d resources of %d patients in %d records, %.1f s (%.1f s of it reading files)", resources, len(groups), records, took, parsed.Seconds())
	r.add("import, 1 node, "+what, float64(resources)/took, "resources/s", "records/s in the same run", float64(records)/took)
	r.add("cpu a resource imported", cpu*1e6/float64(resources), "µs", "", 0)
	return nil
}

// patientsAtOnce is how many patients' records are written side by side, as by so many clinics.
const patientsAtOnce = 4

func (s *stage) importAll(ctx context.Context, keys []*wallet.JournalKeys, groups [][]fhir.Group) (resources, records int, err error) {
	var mu sync.Mutex
	err = inParallel(patientsAtOnce, len(groups), func(i int) error {
		written, failed, err := s.at[0].WriteRecords(ctx, client.Actor(s.net.Member(0)), keys[i].Handle(), groups[i], nil)
		if err != nil {
			return err
		}
		if len(failed) > 0 {
			return fmt.Errorf("%d records were not written: %w", len(failed), failed[0].Err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, w := range written {
			records, resources = records+1, resources+w.Resources
		}
		return nil
	})
	return resources, records, err
}

// histories finds what to import: the folder asked for, shared/data/synthea-load above the working folder, or made-up patients.
func (r *run) histories() (paths []string, what string, err error) {
	if r.Data != "" {
		return []string{r.Data}, filepath.Base(r.Data), nil
	}
	at, err := os.Getwd()
	if err != nil {
		return nil, "", err
	}
	for {
		dir := filepath.Join(at, "shared", "data", "synthea-load")
		files, err := filepath.Glob(filepath.Join(dir, "*.json.gz"))
		if err == nil && len(files) > 0 {
			return files[:pick(r, len(files), min(4, len(files)))], "synthea-load", nil
		}
		up := filepath.Dir(at)
		if up == at {
			break
		}
		at = up
	}
	dir := filepath.Join(r.dir, "synth")
	paths, err = synth.Write(dir, pick(r, 20, 4), 1, nil)
	return paths, "made-up patients (no shared/data/synthea-load found)", errors.Join(err)
}
