package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
	"github.com/anamnesis-health/anamnesis/protocol/c2sp"
)

// The sections of an export, in their order. Each is written from an api.JournalProof by its encode, and read into one by its decode; what
// was read counts only if encode writes the very same bytes, so a section has one spelling.

type section struct {
	name   string
	encode func(*api.JournalProof) ([]byte, error)
	decode func([]byte, *api.JournalProof) error
}

var sections = []section{
	{"README.txt", func(*api.JournalProof) ([]byte, error) { return []byte(readme), nil }, decodeReadme},
	{"policy.txt", func(p *api.JournalProof) ([]byte, error) { return []byte(p.Policy), nil },
		func(b []byte, p *api.JournalProof) error { p.Policy = string(b); return nil }},
	{"checkpoint.txt", func(p *api.JournalProof) ([]byte, error) { return canonicalCheckpoint(p) },
		func(b []byte, p *api.JournalProof) error { p.Checkpoint = string(b); return nil }},
	{"seal.cbor", encodeSeal, decodeSeal},
	{"constitution.cbor", func(p *api.JournalProof) ([]byte, error) { return encodeJournal(&p.Constitution), nil },
		func(b []byte, p *api.JournalProof) error { return decodeJournal(b, &p.Constitution) }},
	{"journal.cbor", func(p *api.JournalProof) ([]byte, error) { return encodeJournal(&p.Journal), nil },
		func(b []byte, p *api.JournalProof) error { return decodeJournal(b, &p.Journal) }},
	{"envelopes.cbor", encodeEnvelopes, decodeEnvelopes},
	{"members.cbor", encodeMembers, decodeMembers},
	{"practitioners.cbor", encodePractitioners, decodePractitioners},
}

// The structures of the items in sections, in canonical CBOR. See docs/spec/export.md.
type (
	headItem struct {
		_         struct{} `cbor:",toarray"`
		ID        protocol.JournalID
		Head      []byte
		HeadProof []byte
	}
	entryItem struct {
		_     struct{} `cbor:",toarray"`
		Index uint64
		Salt  []byte
		Entry []byte
		Proof []protocol.Hash
	}
	rowItem struct {
		_     struct{} `cbor:",toarray"`
		ID    []byte
		Row   []byte
		Proof []byte
		Name  []nameItem // none or one
	}
	nameItem struct {
		_          struct{} `cbor:",toarray"`
		Salt       []byte
		Name       string
		Speciality string
		Licence    string
	}
)

func itemOf(e api.Entry) entryItem {
	return entryItem{Index: e.Index, Salt: e.Salt, Entry: e.Raw, Proof: e.Proof}
}

func (i entryItem) entry() api.Entry {
	return api.Entry{Index: i.Index, Salt: i.Salt, Raw: i.Entry, Proof: i.Proof}
}

// sequence is a CBOR sequence (RFC 8742) of byte strings, in each of which is one item.
type sequence []byte

func (s *sequence) add(item []byte) { *s = append(appendHead(*s, len(item)), item...) }

func appendHead(b []byte, n int) []byte {
	switch {
	case n < 24:
		return append(b, 0x40|byte(n))
	case n < 1<<8:
		return append(b, 0x58, byte(n))
	case n < 1<<16:
		return append(b, 0x59, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0x5a), uint32(n))
}

var errSequence = errors.New("not a sequence of byte strings in their shortest form")

// next cuts the first item off.
func (s *sequence) next() ([]byte, error) {
	b := *s
	var n, head uint64
	switch c := b[0]; {
	case c >= 0x40 && c < 0x58:
		n, head = uint64(c-0x40), 1
	case c == 0x58 && len(b) > 1:
		n, head = uint64(b[1]), 2
	case c == 0x59 && len(b) > 2:
		n, head = uint64(binary.BigEndian.Uint16(b[1:])), 3
	case c == 0x5a && len(b) > 4:
		n, head = uint64(binary.BigEndian.Uint32(b[1:])), 5
	default:
		return nil, errSequence
	}
	switch {
	case n > ItemBytesMax:
		return nil, fmt.Errorf("an item of %d bytes, at most %d", n, ItemBytesMax)
	case n > uint64(len(b))-head:
		return nil, errors.New("it ends within an item")
	}
	*s = b[head+n:]
	return b[head : head+n : head+n], nil
}

// each decodes all items; the error says which one is wrong.
func each[T any](b []byte, do func(i int, item T) error) error {
	s := sequence(b)
	for i := 0; len(s) > 0; i++ {
		raw, err := s.next()
		if err == nil {
			var item T
			if err = protocol.Decode(raw, &item); err == nil {
				err = do(i, item)
			}
		}
		if err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

func decodeReadme(b []byte, _ *api.JournalProof) error {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	if v, ok := bytes.CutPrefix(line, []byte(formatLine)); ok && string(v) != formatVersion {
		return errNewer
	}
	return nil
}

func encodeSeal(p *api.JournalProof) ([]byte, error) {
	var s sequence
	s.add(protocol.Encode(itemOf(p.Seal)))
	return s, nil
}

func decodeSeal(b []byte, p *api.JournalProof) error {
	return each(b, func(i int, item entryItem) error {
		if i > 0 {
			return errors.New("one seal is expected")
		}
		p.Seal = item.entry()
		return nil
	})
}

func encodeJournal(j *api.ProvenJournal) []byte {
	var s sequence
	s.add(protocol.Encode(headItem{ID: j.ID, Head: j.Head, HeadProof: j.HeadProof}))
	for _, e := range j.Entries {
		s.add(protocol.Encode(itemOf(e)))
	}
	return s
}

func decodeJournal(b []byte, j *api.ProvenJournal) error {
	s := sequence(b)
	if len(s) == 0 {
		return errors.New("it is empty")
	}
	raw, err := s.next()
	if err != nil {
		return err
	}
	var h headItem
	if err := protocol.Decode(raw, &h); err != nil {
		return fmt.Errorf("the head: %w", err)
	}
	j.ID, j.Head, j.HeadProof = h.ID, h.Head, h.HeadProof
	return each(s, func(i int, item entryItem) error {
		if i >= JournalEntriesMax {
			return fmt.Errorf("more than %d entries", JournalEntriesMax)
		}
		j.Entries = append(j.Entries, item.entry())
		return nil
	})
}

// encodeEnvelopes writes the envelopes in the order in which the entries first name them, those of the journal before those of the
// constitution. One that no entry names, or that does not hold, stays behind the one before it: it is a failure of its own in a report.
func encodeEnvelopes(p *api.JournalProof) ([]byte, error) {
	place := map[protocol.ActionID]int{}
	for _, j := range []*api.ProvenJournal{&p.Journal, &p.Constitution} {
		for _, e := range j.Entries {
			var entry protocol.Entry
			if protocol.Decode(e.Raw, &entry) != nil || entry.Cause.IsZero() {
				continue
			}
			if _, seen := place[entry.Cause]; !seen {
				place[entry.Cause] = len(place)
			}
		}
	}
	type placed struct {
		at  int
		raw []byte
	}
	ordered := make([]placed, len(p.Envelopes))
	last := 0
	for i, v := range verifyEnvelopes(p.Envelopes) {
		if v.err == nil {
			if at, ok := place[v.ID]; ok {
				last = at
			}
		}
		ordered[i] = placed{last, p.Envelopes[i]}
	}
	slices.SortStableFunc(ordered, func(a, b placed) int { return a.at - b.at })
	var s sequence
	for _, e := range ordered {
		s.add(e.raw)
	}
	return s, nil
}

// opened is an envelope that holds, or why not.
type opened struct {
	*protocol.Verified
	err error
}

func verifyEnvelopes(envelopes [][]byte) []opened {
	out := make([]opened, 0, len(envelopes))
	verifier := protocol.NewVerifier(1024)
	for batch := range slices.Chunk(envelopes, protocol.ParcelEnvelopesMax) {
		list, errs := verifier.Verify(batch)
		for i, v := range list {
			out = append(out, opened{v, errs[i]})
		}
	}
	return out
}

func decodeEnvelopes(b []byte, p *api.JournalProof) error {
	s := sequence(b)
	for i := 0; len(s) > 0; i++ {
		raw, err := s.next()
		if err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
		p.Envelopes = append(p.Envelopes, raw)
	}
	return nil
}

func encodeMembers(p *api.JournalProof) ([]byte, error) {
	var s sequence
	for _, m := range p.Members {
		s.add(protocol.Encode(rowItem{ID: m.ID, Row: m.Row, Proof: m.Proof}))
	}
	return s, nil
}

func decodeMembers(b []byte, p *api.JournalProof) error {
	return each(b, func(_ int, item rowItem) error {
		if len(item.Name) > 0 {
			return errors.New("a member's name is in its row")
		}
		p.Members = append(p.Members, api.ProvenRow{ID: item.ID, Row: item.Row, Proof: item.Proof})
		return nil
	})
}

func encodePractitioners(p *api.JournalProof) ([]byte, error) {
	var s sequence
	for _, x := range p.Practitioners {
		item := rowItem{ID: x.ID, Row: x.Row, Proof: x.Proof}
		if n := x.Name; n != nil {
			item.Name = []nameItem{{Salt: n.Salt, Name: n.Name, Speciality: n.Speciality, Licence: n.Licence}}
		}
		s.add(protocol.Encode(item))
	}
	return s, nil
}

func decodePractitioners(b []byte, p *api.JournalProof) error {
	return each(b, func(_ int, item rowItem) error {
		x := api.ProvenPractitioner{ProvenRow: api.ProvenRow{ID: item.ID, Row: item.Row, Proof: item.Proof}}
		if len(item.Name) > 1 {
			return errors.New("one name is expected")
		}
		for _, n := range item.Name {
			x.Name = &api.PractitionerName{Salt: n.Salt, Name: n.Name, Speciality: n.Speciality, Licence: n.Licence}
		}
		p.Practitioners = append(p.Practitioners, x)
		return nil
	})
}

// canonicalCheckpoint keeps the signatures of the policy's keys, in the policy's order, in strict base64: signed notes leave room for
// signatures that nobody checks and for stray bits in base64, in which a changed byte would hide.
func canonicalCheckpoint(p *api.JournalProof) ([]byte, error) {
	if policy, err := c2sp.ParsePolicy([]byte(p.Policy)); err == nil {
		return canonicalNote([]byte(p.Checkpoint), policy)
	}
	return []byte(p.Checkpoint), nil // the policy is the failure, not this
}

func canonicalNote(signed []byte, policy *c2sp.Policy) ([]byte, error) {
	c, found, err := c2sp.Unverified(signed)
	if err != nil {
		return nil, err
	}
	var kept []c2sp.Signature
	for _, k := range keysOf(policy) {
		at := slices.IndexFunc(found, func(s c2sp.Signature) bool { return s.Name == k.Name && s.Hash == k.ID() })
		if at < 0 {
			continue
		}
		s := found[at]
		if s.Base64, err = strictBase64(s.Base64); err != nil {
			return nil, err
		}
		kept = append(kept, s)
	}
	if len(kept) == 0 {
		return nil, c2sp.ErrNoLogSignature
	}
	return c2sp.Assemble(c, kept...)
}

// strictNote wants nothing on a checkpoint but signatures of the policy's keys, each once, in strict base64; in any order.
func strictNote(signed []byte, policy *c2sp.Policy) error {
	canonical, err := canonicalNote(signed, policy)
	if err != nil {
		return err
	}
	lines := func(note []byte) []string {
		l := strings.Split(string(note), "\n")
		slices.Sort(l)
		return l
	}
	if !slices.Equal(lines(canonical), lines(signed)) {
		return errors.New("it holds something besides signatures of the policy's keys, or one of them in another spelling")
	}
	return nil
}

func strictBase64(s string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(s)
	return base64.StdEncoding.EncodeToString(raw), err
}

func keysOf(p *c2sp.Policy) (keys []c2sp.VerifierKey) {
	for _, l := range p.Logs {
		keys = append(keys, l.Key)
	}
	for _, w := range p.Witnesses {
		keys = append(keys, w.Key)
	}
	return keys
}
