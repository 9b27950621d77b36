package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// measureErase has a journal of many records erased as a whole: how long until nobody opens any of them, until the ledger has settled what goes, and
// until every node has deleted its copies and attested it. Beside it, what deleting must cost: a tombstone for each copy, made durable.
func measureErase(ctx context.Context, r *run) error {
	s, err := r.setUp(ctx, 4, 1)
	if err != nil {
		return err
	}
	defer func() { _ = s.net.Stop() }()
	keys, err := s.openJournal(ctx, 0)
	if err != nil {
		return err
	}
	n := pick(r, 10_000, 200)
	began := time.Now()
	for done := 0; done < n; {
		var groups []fhir.Group
		for len(groups) < min(500, n-done) {
			i := done + len(groups)
			raw := fmt.Appendf(nil, `{"resourceType":"Observation","id":"o%d","status":"final","code":{"text":"to be forgotten"},"valueInteger":%d}`, i, i)
			groups = append(groups, fhir.Group{Class: classes[i%len(classes)], Source: fhir.Source{ID: "bench", Name: "Bench"},
				Resources: []fhir.Resource{{Raw: raw, Class: classes[i%len(classes)]}}, Bytes: len(raw)})
		}
		member := done / 500 % len(s.at)
		_, failed, err := s.at[member].WriteRecords(ctx, client.Actor(s.net.Member(member)), keys.Handle(), groups, nil)
		if err != nil {
			return err
		}
		if len(failed) > 0 {
			return failed[0].Err
		}
		done += len(groups)
	}
	r.say("%d records written in %.1f s", n, time.Since(began).Seconds())
	durable, err := syncs(s.net.Dir)
	if err != nil {
		return err
	}

	stop, err := r.profile("erase")
	if err != nil {
		return err
	}
	defer stop()
	began = time.Now()
	id, err := s.at[0].Erase(ctx, keys, protocol.Erase{Everything: true})
	if err != nil {
		return err
	}
	closed := time.Since(began)
	var settled time.Duration
	for settled == 0 {
		e, ok, err := s.at[0].Erased(ctx, keys, id)
		if err != nil {
			return err
		}
		if ok && e.Through {
			settled = time.Since(began)
		}
	}
	e, err := s.at[0].AwaitErased(ctx, keys, id, 0)
	if err != nil {
		return err
	}
	attested := time.Since(began)
	if int(e.Count) != n || e.Attested != e.Nodes {
		return fmt.Errorf("%d of %d records erased, %d of %d nodes attest it", e.Count, n, e.Attested, e.Nodes)
	}
	name := fmt.Sprintf("erasing a journal of %d records, 4 members", n)
	r.add(name+", until nobody opens any of them", float64(closed.Microseconds())/1000, "ms", "", 0)
	r.add(name+", until the ledger has settled what goes", float64(settled.Microseconds())/1000, "ms", "", 0)
	copies := float64(3 * n)
	r.add(name+", until all nodes attest that no byte is left", attested.Seconds(), "s", "s for a durable tombstone for each of 3 copies, one after the other", copies/durable)
	r.say("closed after %.0f ms, settled after %.0f ms, attested after %.1f s", float64(closed.Milliseconds()), float64(settled.Milliseconds()), attested.Seconds())
	return nil
}
