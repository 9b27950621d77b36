package bench

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// stage is a network with patients, ready to be loaded.
type stage struct {
	net      *node.DevNet
	at       []*client.Client // one for each member's gateway
	journals []*wallet.JournalKeys
	files    []api.Record // records whose files lie in the vaults: what is added under load names one of these
}

// setUp starts a network of so many members, with so many journals into which every member may write, as the demo opens them. Each
// envelope that is submitted by itself is a transaction of its own.
func (r *run) setUp(ctx context.Context, members, journals int) (*stage, error) {
	dir, err := os.MkdirTemp(r.dir, "net-")
	if err != nil {
		return nil, err
	}
	s := &stage{}
	if s.net, err = node.StartDev(node.DevConfig{Dir: dir, Members: members, Listen: "127.0.0.1:0", Alone: true}); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, members, journals); err != nil {
		return nil, errors.Join(err, s.net.Stop())
	}
	return s, nil
}

func (s *stage) prepare(ctx context.Context, members, journals int) error {
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := s.net.Ready(ready); err != nil {
		return err
	}
	for i := range members {
		c, err := client.Dial(ctx, s.net.Gateway(i), s.net.Genesis.Chain)
		if err != nil {
			return err
		}
		if err := c.Ready(ctx); err != nil {
			return err
		}
		s.at = append(s.at, c)
	}
	s.journals = make([]*wallet.JournalKeys, journals)
	if err := inParallel(32, journals, func(i int) (err error) {
		s.journals[i], err = s.openJournal(ctx, i)
		return err
	}); err != nil || journals == 0 {
		return err
	}
	return s.store(ctx)
}

// classes of the records that are added, in turn.
var classes = []fhir.Class{fhir.Allergies, fhir.Medications, fhir.Labs, fhir.Problems, fhir.Vitals, fhir.Imaging, fhir.Procedures, fhir.Encounters}

// store writes a few whole records.
func (s *stage) store(ctx context.Context) (err error) {
	for m, c := range s.at {
		var groups []fhir.Group
		for i, class := range classes {
			raw := fmt.Appendf(nil, `{"resourceType":"Observation","id":"o%d","status":"final","code":{"text":"%s"},"valueString":"%0*d"}`, i, class, 1500, m)
			groups = append(groups, fhir.Group{Class: class, Source: fhir.Source{ID: "bench", Name: "Bench"}, Resources: []fhir.Resource{{Raw: raw, Class: class}}, Bytes: len(raw)})
		}
		_, failed, err := c.WriteRecords(ctx, client.Actor(s.net.Member(m)), s.journals[0].Handle(), groups, nil)
		if err != nil {
			return err
		}
		if len(failed) > 0 {
			return failed[0].Err
		}
	}
	s.files, err = s.at[0].Records(ctx, s.journals[0])
	return err
}

// openJournal makes a patient, through one of the gateways, who lets every member add records.
func (s *stage) openJournal(ctx context.Context, i int) (*wallet.JournalKeys, error) {
	w := wallet.New(wallet.Network{Chain: s.net.Genesis.Chain, Gateway: s.net.Gateway(0)})
	j, err := w.OpenJournal("records")
	if err != nil {
		return nil, err
	}
	keys, err := w.Keys(j.ID)
	if err != nil {
		return nil, err
	}
	c := s.at[i%len(s.at)]
	if err := c.OpenJournal(ctx, keys); err != nil {
		return nil, err
	}
	for _, m := range s.net.Genesis.Members {
		if _, err := c.GrantTemplate(ctx, keys, "contributor", consent.Params{Grantee: consent.Grantee{Member: m.ID()}}, 0); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// inParallel runs do for 0..n-1 on several goroutines, and joins the errors; after one, the rest is left out.
func inParallel(workers, n int, do func(i int) error) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	next := 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && failed == nil
	}
	for range min(workers, n) {
		all.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := do(i); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return failed
}

// author is a member at its gateway who enters records into random journals: one goroutine's.
type author struct {
	s    *stage
	c    *client.Client
	who  client.Identity
	dice *rand.Rand
	fill *rand.ChaCha8
}

func (s *stage) author(member int) *author {
	var seed [32]byte
	_, _ = crand.Read(seed[:])
	fill := rand.NewChaCha8(seed)
	return &author{s: s, c: s.at[member], who: client.Actor(s.net.Member(member)), dice: rand.New(fill), fill: fill}
}

// envelopes signs so many envelopes of one new record each.
func (a *author) envelopes(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		file, keys := a.s.files[a.dice.IntN(len(a.s.files))], a.s.journals[a.dice.IntN(len(a.s.journals))]
		r := &protocol.AddRecord{Label: keys.Handle().Label(string(classes[a.dice.IntN(len(classes))])), Ciphertext: file.Ciphertext, Size: file.Size,
			Capsule: file.Capsule, Generation: file.Generation}
		for _, field := range [][]byte{r.Record[:], r.Manifest[:], r.Root[:]} {
			_, _ = a.fill.Read(field)
		}
		out[i], _ = a.c.Sign(a.who, keys.Journal, r)
	}
	return out
}

// folderBytes is how much the files below folders of all nodes take.
func (s *stage) folderBytes(name string) (total int64, err error) {
	for _, n := range s.net.Names {
		err = errors.Join(err, filepath.WalkDir(filepath.Join(s.net.Dir, "nodes", n, name), func(_ string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			info, err := e.Info()
			if err == nil {
				total += info.Size()
			}
			return err
		}))
	}
	if err != nil {
		return 0, fmt.Errorf("sizes of %s: %w", name, err)
	}
	return total, nil
}
