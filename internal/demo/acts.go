package demo

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/synth"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// shortWindow is how long the demonstration's grant of allergies lasts.
const shortWindow = 3 * time.Second

// network starts the members' nodes and waits for the custodians' key.
func (p *play) network(ctx context.Context) (string, error) {
	var err error
	if p.dir = p.Keep; p.dir == "" {
		if p.dir, err = os.MkdirTemp("", "anamnesis-demo-"); err != nil {
			return "", err
		}
	}
	if p.net, err = node.StartDev(node.DevConfig{Dir: filepath.Join(p.dir, "network"), Members: p.Members, Listen: "127.0.0.1:0"}); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.net.Ready(ctx); err != nil {
		return "", err
	}
	for i := range p.net.Nodes {
		c, err := client.Dial(ctx, p.net.Gateway(i), p.net.Genesis.Chain)
		if err != nil {
			return "", err
		}
		p.at = append(p.at, c)
	}
	return fmt.Sprintf("%d organisations run %s together; the custodians' key was generated in %d parts, and exists nowhere as a whole",
		len(p.net.Nodes), p.net.Genesis.Chain, len(p.net.Nodes)), nil
}

// enrol reads the data, registers practitioners, and gives every patient a wallet and a journal to which the members may add.
func (p *play) enrol(ctx context.Context) (string, error) {
	if err := p.loadData(); err != nil {
		return "", err
	}
	var err error
	if p.doctor, err = p.practitioner(ctx, 0, "Dr. Ada Moreno", protocol.RoleEmergencyPhysician, "emergency medicine"); err != nil {
		return "", err
	}
	if p.other, err = p.practitioner(ctx, 1%len(p.at), "Dr. Jonas Weil", protocol.RolePhysician, "internal medicine"); err != nil {
		return "", err
	}
	arranged := p.data.Arrange(fhir.ArrangeOptions{Member: fhir.Source{ID: "anamnesis", Name: p.net.Genesis.Members[0].Name}})
	p.ResourcesIn = p.data.Tally.Entries
	p.ResourcesProblem = len(arranged.Problems) + p.data.Tally.Reported
	bar := p.story.bar("wallets and journals", len(arranged.Patients))
	for i, who := range arranged.Patients {
		pt, err := p.open(ctx, i, who.Name)
		if err != nil {
			return "", err
		}
		for _, g := range arranged.Groups {
			if g.Patient == i {
				pt.groups = append(pt.groups, g)
			}
		}
		p.cast = append(p.cast, pt)
		bar(1)
	}
	p.Result.Patients = len(p.cast)
	if p.lead = p.chooseLead(); p.lead == nil {
		return "", failed("no patient in the data has a record")
	}
	return fmt.Sprintf("%d patients opened a journal, each with a wallet of their own; %d resources to import", p.Result.Patients, p.ResourcesIn), nil
}

func (p *play) loadData() error {
	paths := p.Data
	if len(paths) == 0 {
		dir := filepath.Join(p.dir, "histories")
		bar := p.story.bar("making up histories", p.Options.Patients)
		done := 0
		if _, err := synth.Write(dir, p.Options.Patients, p.Seed, func(n int) { bar(n - done); done = n }); err != nil {
			return err
		}
		paths = []string{dir}
	}
	var err error
	p.data, err = fhir.Load(paths, fhir.Limits{}, nil)
	return err
}

func (p *play) practitioner(ctx context.Context, member int, name string, role protocol.Role, speciality string) (*wallet.Actor, error) {
	id := protocol.PractitionerID(wallet.NewRecordID())
	a := wallet.NewPractitioner(wallet.Network{Chain: p.net.Genesis.Chain, Gateway: p.net.Gateway(member)}, id, name)
	valid := uint64(time.Now().AddDate(2, 0, 0).UnixMilli())
	return a, p.at[member].RegisterPractitioner(ctx, client.Actor(p.net.Member(member)), id, a.Key.Public(), role, valid, name, speciality)
}

// open makes a wallet, opens a journal through one of the gateways, and lets every member add to it.
func (p *play) open(ctx context.Context, i int, name string) (*patient, error) {
	pt := &patient{name: name, index: i, wallet: wallet.New(wallet.Network{Chain: p.net.Genesis.Chain, Gateway: p.net.Gateway(0)})}
	j, err := pt.wallet.OpenJournal("my records")
	if err != nil {
		return nil, err
	}
	if pt.keys, err = pt.wallet.Keys(j.ID); err != nil {
		return nil, err
	}
	c := p.at[i%len(p.at)]
	if err := c.OpenJournal(ctx, pt.keys); err != nil {
		return nil, err
	}
	for _, m := range p.net.Genesis.Members {
		if _, err := c.GrantTemplate(ctx, pt.keys, "contributor", consent.Params{Grantee: consent.Grantee{Member: m.ID()}}, 0); err != nil {
			return nil, err
		}
	}
	return pt, nil
}

// chooseLead picks the patient with whom the story can show most: allergies first, then a sensitive class, then most records.
func (p *play) chooseLead() *patient {
	var best *patient
	score := func(pt *patient) (n int) {
		for _, g := range pt.groups {
			if g.Class == "allergies" {
				n += 10_000
				break
			}
		}
		for _, g := range pt.groups {
			if g.Class.Sensitive() {
				n += 1_000
				break
			}
		}
		return n + min(len(pt.groups), 999)
	}
	for _, pt := range p.cast {
		if len(pt.groups) > 0 && (best == nil || score(pt) > score(best)) {
			best = pt
		}
	}
	return best
}

// importAll writes every patient's records, each by the member that stands for its source organisation.
func (p *play) importAll(ctx context.Context) (string, error) {
	resources := 0
	for _, pt := range p.cast {
		for _, g := range pt.groups {
			resources += len(g.Resources)
		}
	}
	bar := p.story.bar("resources sealed and written", resources)
	start := time.Now()
	bytesStored, sources := 0, map[string]bool{}
	for _, pt := range p.cast {
		for m := range p.at {
			var mine []fhir.Group
			for _, g := range pt.groups {
				sources[g.Source.ID] = true
				if p.memberFor(g.Source) == m {
					mine = append(mine, g)
				}
			}
			if len(mine) == 0 {
				continue
			}
			written, bad, err := p.at[m].WriteRecords(ctx, client.Actor(p.net.Member(m)), pt.keys.Handle(), mine, bar)
			if err != nil {
				return "", err
			}
			if len(bad) > 0 {
				return "", failed("%d records could not be written; the first: %s", len(bad), bad[0].Reason)
			}
			pt.written = append(pt.written, written...)
			for _, w := range written {
				bytesStored += w.Bytes
			}
		}
		p.Records += len(pt.written)
	}
	seconds := time.Since(start).Seconds()
	return fmt.Sprintf("%d resources from %d organisations became %d encrypted records (%.1f MB) by %d authors, in %.1f s; %d could not be placed",
		resources, len(sources), p.Records, float64(bytesStored)/1e6, len(p.at), seconds, p.ResourcesProblem), nil
}

func (p *play) memberFor(s fhir.Source) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.ID))
	return int(h.Sum32() % uint32(len(p.at)))
}

// refused asks, expects a refusal for the given reason, and counts it.
func (p *play) refused(ctx context.Context, who *wallet.Actor, class string, want ...protocol.Reason) error {
	_, err := p.at[0].RequestAccess(ctx, client.Actor(who), p.lead.keys.Journal, protocol.PurposeTreat, []protocol.Label{p.lead.keys.Handle().Label(class)}, nil)
	var r *client.Refused
	switch {
	case err == nil:
		p.Reads.Permitted++
		return failed("%s was permitted to read %s", who.Name, class)
	case !errors.As(err, &r):
		return err
	}
	p.Reads.Refused++
	if !slices.Contains(want, r.Decision.Reason) {
		return failed("refused as %q, expected %v", r.Decision.Reason, want)
	}
	return nil
}

// permitted asks and reads.
func (p *play) permitted(ctx context.Context, pt *patient, who *wallet.Actor, classes ...string) ([]*wallet.Record, *client.Access, error) {
	var labels []protocol.Label
	for _, c := range classes {
		labels = append(labels, pt.keys.Handle().Label(c))
	}
	a, err := p.at[0].RequestAccess(ctx, client.Actor(who), pt.keys.Journal, protocol.PurposeTreat, labels, nil)
	if err != nil {
		return nil, nil, err
	}
	p.Reads.Permitted++
	records, err := p.whole(p.at[0].Read(ctx, a))
	return records, a, err
}

func (p *play) refusedWithoutConsent(ctx context.Context) (string, error) {
	if err := p.refused(ctx, p.doctor, p.leadClass(), protocol.NoContract); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s asked for %s and was refused: nobody had granted it; the refusal is in the log", p.doctor.Name, p.leadClass()), nil
}

// leadClass is the class of the short grant: allergies, or the lead's first class if the data has none.
func (p *play) leadClass() string {
	for _, g := range p.lead.groups {
		if g.Class == "allergies" {
			return "allergies"
		}
	}
	return string(p.lead.groups[0].Class)
}

// otherClass is one that the lead has and the short grant does not name: a sensitive one if there is one.
func (p *play) otherClass() string {
	other := ""
	for _, g := range p.lead.groups {
		if string(g.Class) == p.leadClass() {
			continue
		}
		if g.Class.Sensitive() {
			return string(g.Class)
		}
		if other == "" {
			other = string(g.Class)
		}
	}
	return other
}

// grantAndRead grants the doctor one class for a few seconds, and compares what the doctor reads with the input.
func (p *play) grantAndRead(ctx context.Context) (string, error) {
	grantee := consent.Grantee{Practitioner: protocol.PractitionerID(p.doctor.ID)}
	if _, err := p.at[0].GrantTemplate(ctx, p.lead.keys, "emergency-24h", consent.Params{Grantee: grantee,
		Labels: []protocol.Label{p.lead.keys.Handle().Label(p.leadClass())}}, uint64(shortWindow.Milliseconds())); err != nil {
		return "", err
	}
	start := time.Now()
	records, _, err := p.permitted(ctx, p.lead, p.doctor, p.leadClass())
	if err != nil {
		return "", err
	}
	took := time.Since(start)
	n, err := compare(p.lead.groups, p.leadClass(), records)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("granted %s for %s; the doctor read %s in %d ms, equal to the input one by one", p.leadClass(), shortWindow, resources(n), took.Milliseconds()), nil
}

func (p *play) otherClassRefused(ctx context.Context) (string, error) {
	class := p.otherClass()
	if class == "" {
		return "the data has one class only", nil
	}
	if err := p.refused(ctx, p.doctor, class, protocol.NoContract); err != nil {
		return "", err
	}
	return fmt.Sprintf("the same doctor asked for %s, which the grant does not name, and was refused", class), nil
}

// compare holds what was read against the input, resource by resource; class "" is all of them.
func compare(groups []fhir.Group, class string, records []*wallet.Record) (int, error) {
	want := map[string]int{}
	total := 0
	for _, g := range groups {
		if class != "" && string(g.Class) != class {
			continue
		}
		for _, r := range g.Resources {
			want[string(r.Raw)]++
			total++
		}
	}
	got := 0
	for _, r := range records {
		for _, raw := range r.Resources {
			if want[string(raw)] == 0 {
				return 0, failed("a resource was read that is not in the input, or not equal to it")
			}
			want[string(raw)]--
			got++
		}
	}
	if got != total {
		return 0, failed("%d resources were read of %d in the input", got, total)
	}
	return got, nil
}

// readBackEverything lets every patient's care team read all classes, and compares every resource with the input.
func (p *play) readBackEverything(ctx context.Context) (string, error) {
	grantee := consent.Grantee{Practitioner: protocol.PractitionerID(p.other.ID)}
	seen := map[[2]any]bool{}
	bar := p.story.bar("patients read back", len(p.cast))
	start := time.Now()
	for _, pt := range p.cast {
		var err error
		if pt.wide, err = p.at[0].GrantTemplate(ctx, pt.keys, "care-team", consent.Params{Grantee: grantee}, 0); err != nil {
			return "", err
		}
		var classes []string
		for _, g := range pt.groups {
			if !slices.Contains(classes, string(g.Class)) {
				classes = append(classes, string(g.Class))
			}
		}
		if len(classes) == 0 {
			continue
		}
		records, _, err := p.permitted(ctx, pt, p.other, classes...)
		if err != nil {
			return "", fmt.Errorf("%s: %w", pt.name, err)
		}
		if _, err := compare(pt.groups, "", records); err != nil {
			return "", err
		}
		own, err := p.at[0].OpenRecords(ctx, pt.keys, nil)
		if err != nil {
			return "", fmt.Errorf("%s's own copy: %w", pt.name, err)
		}
		if _, err := compare(pt.groups, "", own); err != nil {
			return "", err
		}
		for _, g := range pt.groups {
			for _, r := range g.Resources {
				seen[[2]any{r.File, r.Entry}] = true
			}
		}
		bar(1)
	}
	p.ResourcesRead = len(seen)
	if p.ResourcesRead+p.ResourcesProblem != p.ResourcesIn {
		return "", failed("%d read back and %d reported, of %d in the input", p.ResourcesRead, p.ResourcesProblem, p.ResourcesIn)
	}
	return fmt.Sprintf("all %d resources of %d patients read back by a granted doctor and by the patients themselves, byte for byte, in %.1f s",
		p.ResourcesRead, len(p.cast), time.Since(start).Seconds()), nil
}

// expiresByItself waits, writing nothing, until the ledger itself has written down the end of the short contract; then the doctor is refused.
// Before that entry a request might still be judged by the time of the last block, which is up to a second behind the clock.
func (p *play) expiresByItself(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		rows, err := p.at[0].Contracts(ctx, p.lead.keys)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(rows, func(c contractRow) bool { return c.Template == 1 && c.Over != 0 }) {
			break
		}
		select {
		case <-ctx.Done():
			return "", failed("the contract did not end by itself")
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err := p.refused(ctx, p.doctor, p.leadClass(), protocol.Ended); err != nil {
		return "", err
	}
	return fmt.Sprintf("after %s the ledger ended the grant by itself, and wrote it down; the doctor is refused from then on", shortWindow), nil
}

// revokedAtOnce reads under the wide contract, revokes it while that access is open, and sees both the open access and a new one refused.
func (p *play) revokedAtOnce(ctx context.Context) (string, error) {
	_, open, err := p.permitted(ctx, p.lead, p.other, p.leadClass())
	if err != nil {
		return "", err
	}
	if err := p.at[0].Revoke(ctx, p.lead.keys, p.lead.wide); err != nil {
		return "", err
	}
	if _, err := p.at[0].Read(ctx, open); err == nil {
		return "", failed("an open access went on after the revocation")
	}
	if err := p.refused(ctx, p.other, p.leadClass(), protocol.Withdrawn, protocol.NoContract); err != nil {
		return "", err
	}
	return "the patient revoked a grant: the access that was open ended at once, and the next request was refused", nil
}
