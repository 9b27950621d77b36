package ledger

import (
	"bytes"
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/ledger/journal"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Readers is who can read what of a journal at a time.
type Readers struct {
	People []Reader         // by member: the organisation by itself, then its practitioners
	Labels []protocol.Label // that openings speak of one by one, ascending; the zero label is among them and stands for all others
	Whole  bool             // the registry had no more practitioners than were looked at
}

// Reader is somebody whom the contracts of a journal would let read something.
type Reader struct {
	registry.Actor
	Opens []OpenClass // by label; at least one
}

// OpenClass is what a reader could read of a class. Of is 0 where no record is yet, and what comes would open.
type OpenClass struct {
	consent.Opening
	Label   protocol.Label
	Records int // that would open
	Of      int // that there are and are not erased
}

// Readers answers «who can read what now, and by which contract» for a journal: whom of everybody in the registry the contracts would let in
// if they asked at a time. It looks at max practitioners at most. Delegates and devices stand elsewhere.
func (v *View) Readers(in protocol.JournalID, now uint64, max int) (out Readers, err error) {
	contracts, err := consent.Loaded(v, v.Contracts(), in)
	if err != nil {
		return out, err
	}
	labels, groups, counts, err := v.classes(in, contracts, now)
	if err != nil {
		return out, err
	}
	everybody, whole, err := registry.InStanding(v, now, max)
	if err != nil {
		return out, err
	}
	out.Labels, out.Whole = labels, whole
	for _, who := range everybody {
		r := Reader{Actor: who}
		for i, o := range consent.Openings(contracts, principal(who), now, groups) {
			if o.Opens > 0 {
				r.Opens = append(r.Opens, OpenClass{Opening: o, Label: labels[i], Records: min(o.Opens, counts[i]), Of: counts[i]})
			}
		}
		if len(r.Opens) > 0 {
			out.People = append(out.People, r)
		}
	}
	return out, nil
}

// classes are a journal's records by label, as the contracts speak of them. A class that a contract names and that has no record, and all
// others that have none, stand there as a record that may come.
func (v *View) classes(in protocol.JournalID, contracts []consent.Active, now uint64) (labels []protocol.Label, groups [][]consent.Resource, counts []int, err error) {
	row, ok, err := journal.Get(v, in)
	if err != nil || !ok || row.Closed != 0 {
		return nil, nil, nil, err
	}
	rows, err := journal.Records(v, in)
	if err != nil {
		return nil, nil, nil, err
	}
	veil, err := journal.Veil(v, in)
	if err != nil {
		return nil, nil, nil, err
	}
	by := map[protocol.Label][]consent.Resource{}
	for _, n := range rows {
		erased, err := veil.Closed(n)
		if err != nil {
			return nil, nil, nil, err
		}
		labels = append(labels, n.Row.Label)
		if erased {
			continue
		}
		resource, err := Resource(v, n)
		if err != nil {
			return nil, nil, nil, err
		}
		by[n.Row.Label] = append(by[n.Row.Label], resource)
	}
	for _, c := range contracts {
		labels = append(append(labels, c.Policies.Labels()...), c.Within...)
	}
	labels = append(labels, protocol.Label{})
	slices.SortFunc(labels, func(a, b protocol.Label) int { return bytes.Compare(a[:], b[:]) })
	labels = slices.Compact(labels)
	for _, l := range labels {
		group := by[l]
		counts = append(counts, len(group))
		if len(group) == 0 {
			group = []consent.Resource{{Journal: in, Label: l, Recorded: now}}
		}
		groups = append(groups, group)
	}
	return labels, groups, counts, nil
}
