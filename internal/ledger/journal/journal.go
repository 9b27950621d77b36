// Package journal keeps the patients' streams: who controls each, its records, and the head that makes its log provably complete.
package journal

import (
	"cmp"
	"math"
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Row is a journal as it stands; authors read it from proofs, and so it is the protocol's.
type Row = protocol.JournalRow

// RecordRow is a record as the ledger knows it.
type RecordRow struct {
	_            struct{} `cbor:",toarray"`
	Journal      protocol.JournalID
	Seq          uint64 // of its entry in the journal
	Label        protocol.Label
	Member       protocol.MemberID // the author, or the author's member; zero: the patient's own, or a delegate's
	Practitioner protocol.PractitionerID
	Recorded     uint64 // UTC ms, of the block
	Ciphertext   protocol.Hash
	Size         uint64 // bytes
	Capsule      protocol.Hash
	Generation   uint32
	Manifest     protocol.Hash
	Root         protocol.Hash
	Relation     protocol.Relation // to the record that its tie names
	Erased       uint64            // height from which nobody opens it; 0: it was not erased
}

// listed is a row of the index of records by label.
type listed struct {
	_      struct{} `cbor:",toarray"`
	Record protocol.RecordID
}

// tally counts a journal's records of the patient's own.
type tally struct {
	_     struct{} `cbor:",toarray"`
	Count uint32
}

// own tells whether a record is the patient's own: written by them or on their behalf, be it a statement about another's.
func (r RecordRow) own() bool { return r.Member.IsZero() }

// The tables; all are written by this package alone, heads by Chain.
var (
	journals = exec.Table[Row]{Name: "journals", Prefix: 'j'}            // journal id
	heads    = exec.Table[protocol.Head]{Name: "heads", Prefix: 'h'}     // journal id
	records  = exec.Table[RecordRow]{Name: "records", Prefix: 'R'}       // record id
	byLabel  = exec.Table[listed]{Name: "records by label", Prefix: 'L'} // journal id ‖ label ‖ seq; not of erased ones
	owns     = exec.Table[tally]{Name: "own records", Prefix: 'O'}       // journal id; how many that are not erased, statements among them
)

// Open executes the action. It is signed with the new journal's own key, and sponsored by a member, whose key the caller looked up.
func Open(c *exec.Context, a *protocol.OpenJournal, sponsorKey protocol.PublicKey) protocol.Reason {
	if c.Signer.Kind != protocol.ActorPatient || c.Signer.ID != [16]byte(c.Journal) || c.Journal == protocol.ConstitutionJournal(c.Chain) {
		return protocol.NotEntitled
	}
	if _, ok := journals.Get(c, key(c.Journal)); ok {
		return protocol.JournalExists
	}
	if !protocol.VerifySignature(sponsorKey, protocol.SponsorMessage(c.Chain, a.Sponsor, c.Journal, c.Signer.Key), a.Agreement) {
		return protocol.BadProof
	}
	if !a.Claim.IsZero() && a.Recipient != protocol.NobodyRecipient(c.Chain, c.Journal) {
		return protocol.NotNobodys // whoever runs the journal until its claim could read what others seal to a key of theirs
	}
	row := Row{Controller: c.Signer.Key, Recipient: a.Recipient, Guardians: a.Guardians,
		LabelEpoch: a.LabelEpoch, Sponsor: a.Sponsor, Opened: c.Time, Claim: a.Claim}
	if row.Provisional() {
		row.ClaimUntil = c.Time + protocol.ClaimMillis
	}
	journals.Put(c, key(c.Journal), row)
	return protocol.Accepted
}

// Author is who wrote a record.
type Author struct {
	Member       protocol.MemberID       // zero: the patient, or a delegate
	Practitioner protocol.PractitionerID // zero: the member itself
}

// Add executes the action. permitted is the contracts' decision on the new record as a resource, or that the patient signed; generation is the
// custodians' active one.
func Add(c *exec.Context, by Author, a *protocol.AddRecord, permitted bool, generation uint32) protocol.Reason {
	if !permitted {
		return protocol.NotPermitted
	}
	if a.Generation != generation {
		return protocol.WrongGeneration
	}
	recordKey := records.Key(a.Record[:])
	if records.Has(c, recordKey) {
		return protocol.RecordExists
	}
	head, _ := heads.Get(c, protocol.StateKeyHead(c.Journal))
	row := RecordRow{Journal: c.Journal, Seq: head.Count, Label: a.Label, Member: by.Member, Practitioner: by.Practitioner,
		Recorded: c.Time, Ciphertext: a.Ciphertext, Size: a.Size, Capsule: a.Capsule, Generation: a.Generation, Manifest: a.Manifest, Root: a.Root, Relation: a.Relation}
	if row.own() {
		if reason := boundOwn(c, a); reason != protocol.Accepted {
			return reason
		}
	}
	if reason := relate(c, by, a); reason != protocol.Accepted {
		return reason
	}
	if row.own() {
		addOwn(c)
	}
	records.Put(c, recordKey, row)
	byLabel.Put(c, byLabel.Key(c.Journal[:], a.Label[:], exec.Uint64(head.Count)), listed{Record: a.Record})
	return protocol.Accepted
}

// boundOwn bounds what a patient has the members keep, and how much of the records that one access opens it can take up. Delegates leave half
// of it to the patient.
func boundOwn(c *exec.Context, a *protocol.AddRecord) protocol.Reason {
	if a.Size > protocol.OwnRecordBytesMax {
		return protocol.OwnRecordTooLarge
	}
	most := uint32(protocol.OwnRecordsJournalMax)
	if c.Signer.Kind == protocol.ActorDelegate {
		most = protocol.OwnRecordsDelegatesMax
	}
	if kept, _ := owns.Get(c, owns.Key(c.Journal[:])); kept.Count >= most {
		return protocol.TooManyOwnRecords
	}
	return protocol.Accepted
}

func addOwn(c *exec.Context) {
	kept, _ := owns.Get(c, owns.Key(c.Journal[:]))
	kept.Count++
	owns.Put(c, owns.Key(c.Journal[:]), kept)
}

// dropOwn stops counting one that is erased.
func dropOwn(c *exec.Context, in protocol.JournalID) {
	key := owns.Key(in[:])
	kept, ok := owns.Get(c, key)
	switch {
	case !ok || kept.Count == 0:
		exec.Break("journal: %s has own records and no count of them", in)
	case kept.Count == 1:
		owns.Delete(c, key)
	default:
		kept.Count--
		owns.Put(c, key, kept)
	}
}

// Chain adds an entry's leaf to its journal and returns the entry's place. It is the one function through which every entry that names a
// journal passes, so that a journal's count and chain prove that nothing was left out. The place must be taken before the leaf is known.
func Chain(c *exec.Context, id protocol.JournalID) (seq uint64, add func(leaf protocol.Hash)) {
	h, _ := heads.Get(c, protocol.StateKeyHead(id))
	return h.Count, func(leaf protocol.Hash) { heads.Put(c, protocol.StateKeyHead(id), h.Next(leaf)) }
}

// Get reads a journal.
func Get(r state.Reader, id protocol.JournalID) (Row, bool, error) { return journals.Read(r, key(id)) }

// Exists tells whether a journal was opened.
func Exists(r state.Reader, id protocol.JournalID) (bool, error) {
	_, ok, err := r.Get(key(id))
	return ok, err
}

// Head reads a journal's head; a journal without entries has the zero head.
func Head(r state.Reader, id protocol.JournalID) (protocol.Head, error) {
	h, _, err := heads.Read(r, protocol.StateKeyHead(id))
	return h, err
}

// Key is the state map's key of a journal's row, for proofs.
func Key(id protocol.JournalID) []byte { return key(id) }

// RecordKey is the state map's key of a record's row, for proofs.
func RecordKey(id protocol.RecordID) []byte { return records.Key(id[:]) }

// Record reads a record.
func Record(r state.Reader, id protocol.RecordID) (RecordRow, bool, error) {
	return records.Read(r, records.Key(id[:]))
}

// Named is a record with its id.
type Named struct {
	ID  protocol.RecordID
	Row RecordRow
}

// WithLabel lists a journal's records of one label in their order, up to max.
func WithLabel(r state.Reader, id protocol.JournalID, l protocol.Label, max int) ([]Named, error) {
	return list(r, byLabel.Key(id[:], l[:]), max)
}

// Records lists all of a journal's records in their order, the erased ones among them.
func Records(r state.Reader, id protocol.JournalID) ([]Named, error) {
	out, err := list(r, byLabel.Key(id[:]), math.MaxInt)
	if err != nil {
		return nil, err
	}
	erased, err := offShelf(r, id)
	out = append(out, erased...)
	slices.SortFunc(out, func(a, b Named) int { return cmp.Compare(a.Row.Seq, b.Row.Seq) })
	return out, err
}

func list(r state.Reader, prefix []byte, max int) (out []Named, err error) {
	var ids []protocol.RecordID
	err = byLabel.ReadAll(r, prefix, func(_ []byte, l listed) bool { ids = append(ids, l.Record); return len(ids) < max })
	if err != nil {
		return nil, err
	}
	return named(r, ids)
}

func named(r state.Reader, ids []protocol.RecordID) (out []Named, err error) {
	for _, id := range ids {
		row, ok, err := Record(r, id)
		if err == nil && !ok {
			err = exec.Broken{Err: errMissing(id)}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Named{ID: id, Row: row})
	}
	return out, nil
}

type errMissing protocol.RecordID

func (e errMissing) Error() string {
	return "record " + protocol.RecordID(e).String() + " is indexed and has no row"
}

func key(id protocol.JournalID) []byte { return journals.Key(id[:]) }
