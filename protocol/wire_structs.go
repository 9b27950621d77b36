package protocol

import (
	"math"
	"slices"
)

// The structures' own encoders and decoders: the fields in their order, as the struct tags have them.

// appendRaw appends an encoded item; none stands as null, which no structure takes back.
func appendRaw(b, item []byte) []byte {
	if len(item) == 0 {
		return append(b, 0xf6)
	}
	return append(b, item...)
}

// AppendCanonical implements Appender.
func (s Signer) AppendCanonical(b []byte) []byte {
	b = AppendUint(AppendArray(b, 3), uint64(s.Kind))
	return AppendBytes(AppendBytes(b, s.ID[:]), s.Key[:])
}

// ReadCanonical implements Canonical.
func (s *Signer) ReadCanonical(r *Reader) {
	r.Array(3)
	s.Kind = ActorKind(r.Uint(math.MaxUint8))
	r.Fixed(s.ID[:])
	r.Fixed(s.Key[:])
}

// AppendCanonical implements Appender.
func (b Body) AppendCanonical(to []byte) []byte {
	to = AppendText(AppendUint(AppendArray(to, 7), uint64(b.Version)), b.Chain)
	to = AppendUint(AppendBytes(to, b.Nonce[:]), b.NotAfter)
	to = AppendBytes(b.Signer.AppendCanonical(to), b.Journal[:])
	to = AppendArray(to, len(b.Actions))
	for _, a := range b.Actions {
		to = appendRaw(AppendUint(AppendArray(to, 2), uint64(a.Type)), a.Body)
	}
	return to
}

// ReadCanonical implements Canonical. The actions share the memory that is read.
func (b *Body) ReadCanonical(r *Reader) {
	r.Array(7)
	b.Version = uint16(r.Uint(math.MaxUint16))
	b.Chain = r.Text()
	r.Fixed(b.Nonce[:])
	b.NotAfter = r.Uint(math.MaxUint64)
	b.Signer.ReadCanonical(r)
	r.Fixed(b.Journal[:])
	b.Actions = make([]RawAction, r.Items(EnvelopeActionsMax))
	for i := range b.Actions {
		r.Array(2)
		b.Actions[i].Type = ActionType(r.Uint(math.MaxUint16))
		b.Actions[i].Body = r.Raw()
	}
}

// AppendCanonical implements Appender.
func (a AddRecord) AppendCanonical(b []byte) []byte {
	b = AppendBytes(AppendBytes(AppendArray(b, 10), a.Record[:]), a.Label[:])
	b = AppendUint(AppendBytes(b, a.Ciphertext[:]), a.Size)
	b = AppendUint(AppendBytes(b, a.Capsule[:]), uint64(a.Generation))
	b = AppendBytes(AppendBytes(b, a.Manifest[:]), a.Root[:])
	return AppendBytes(AppendUint(b, uint64(a.Relation)), a.About[:])
}

// ReadCanonical implements Canonical.
func (a *AddRecord) ReadCanonical(r *Reader) {
	r.Array(10)
	r.Fixed(a.Record[:])
	r.Fixed(a.Label[:])
	r.Fixed(a.Ciphertext[:])
	a.Size = r.Uint(math.MaxUint64)
	r.Fixed(a.Capsule[:])
	a.Generation = uint32(r.Uint(math.MaxUint32))
	r.Fixed(a.Manifest[:])
	r.Fixed(a.Root[:])
	a.Relation = Relation(r.Uint(math.MaxUint8))
	r.Fixed(a.About[:])
}

// AppendCanonical implements Appender.
func (e Entry) AppendCanonical(b []byte) []byte {
	b = slices.Grow(b, 160+len(e.Action)+len(e.Outcome))
	b = AppendUint(AppendArray(b, 10), uint64(e.Type))
	b = AppendUint(AppendUint(b, e.Height), e.Time)
	b = AppendUint(AppendBytes(b, e.Cause[:]), uint64(e.Index))
	b = AppendBytes(e.Signer.AppendCanonical(b), e.Journal[:])
	b = AppendUint(b, e.Seq)
	return appendRaw(appendRaw(b, e.Action), e.Outcome)
}

// ReadCanonical implements Canonical.
func (e *Entry) ReadCanonical(r *Reader) {
	r.Array(10)
	e.Type = ActionType(r.Uint(math.MaxUint16))
	e.Height = r.Uint(math.MaxUint64)
	e.Time = r.Uint(math.MaxUint64)
	r.Fixed(e.Cause[:])
	e.Index = uint16(r.Uint(math.MaxUint16))
	e.Signer.ReadCanonical(r)
	r.Fixed(e.Journal[:])
	e.Seq = r.Uint(math.MaxUint64)
	e.Action = append([]byte{}, r.Raw()...)
	e.Outcome = append([]byte{}, r.Raw()...)
}

// AppendCanonical implements Appender.
func (h Head) AppendCanonical(b []byte) []byte {
	return AppendBytes(AppendUint(AppendArray(b, 2), h.Count), h.Chain[:])
}

// ReadCanonical implements Canonical.
func (h *Head) ReadCanonical(r *Reader) {
	r.Array(2)
	h.Count = r.Uint(math.MaxUint64)
	r.Fixed(h.Chain[:])
}

// AppendCanonical implements Appender.
func (x Result) AppendCanonical(b []byte) []byte {
	b = AppendUint(AppendBytes(AppendArray(b, 4), x.ID[:]), uint64(x.Reason))
	return AppendUint(AppendUint(b, x.Height), x.First)
}

// ReadCanonical implements Canonical.
func (x *Result) ReadCanonical(r *Reader) {
	r.Array(4)
	r.Fixed(x.ID[:])
	x.Reason = Reason(r.Uint(math.MaxUint16))
	x.Height = r.Uint(math.MaxUint64)
	x.First = r.Uint(math.MaxUint64)
}

func appendResults(b []byte, all []Result) []byte {
	b = AppendArray(b, len(all))
	for _, x := range all {
		b = x.AppendCanonical(b)
	}
	return b
}

func readResults(r *Reader) []Result {
	all := make([]Result, r.Items(itemsMax))
	for i := range all {
		all[i].ReadCanonical(r)
	}
	return all
}

// AppendCanonical implements Appender.
func (m Member) AppendCanonical(b []byte) []byte {
	b = AppendText(AppendUint(AppendArray(b, 4), uint64(m.Kind)), m.Name)
	b = AppendArray(AppendBytes(b, m.Key[:]), 4)
	b = AppendBytes(AppendBytes(b, m.Node.Validator[:]), m.Node.Log[:])
	return AppendBytes(AppendBytes(b, m.Node.Cosigner[:]), m.Node.Peer[:])
}

// ReadCanonical implements Canonical.
func (m *Member) ReadCanonical(r *Reader) {
	r.Array(4)
	m.Kind = MemberKind(r.Uint(math.MaxUint8))
	m.Name = r.Text()
	r.Fixed(m.Key[:])
	r.Array(4)
	r.Fixed(m.Node.Validator[:])
	r.Fixed(m.Node.Log[:])
	r.Fixed(m.Node.Cosigner[:])
	r.Fixed(m.Node.Peer[:])
}

// AppendCanonical implements Appender.
func (m MemberRow) AppendCanonical(b []byte) []byte {
	b = AppendUint(m.Member.AppendCanonical(AppendArray(b, 4)), m.Joined)
	return AppendUint(AppendBool(b, m.Removed), uint64(m.Custodian))
}

// ReadCanonical implements Canonical.
func (m *MemberRow) ReadCanonical(r *Reader) {
	r.Array(4)
	m.Member.ReadCanonical(r)
	m.Joined = r.Uint(math.MaxUint64)
	m.Removed = r.Bool()
	m.Custodian = uint16(r.Uint(math.MaxUint16))
}

// AppendCanonical implements Appender.
func (p PractitionerRow) AppendCanonical(b []byte) []byte {
	b = AppendBytes(AppendBytes(AppendArray(b, 6), p.Member[:]), p.Key[:])
	b = AppendUint(AppendUint(b, uint64(p.Role)), uint64(p.Status))
	return AppendBytes(AppendUint(b, p.ValidUntil), p.Commitment[:])
}

// ReadCanonical implements Canonical.
func (p *PractitionerRow) ReadCanonical(r *Reader) {
	r.Array(6)
	r.Fixed(p.Member[:])
	r.Fixed(p.Key[:])
	p.Role = Role(r.Uint(math.MaxUint8))
	p.Status = PractitionerStatus(r.Uint(math.MaxUint8))
	p.ValidUntil = r.Uint(math.MaxUint64)
	r.Fixed(p.Commitment[:])
}

// AppendCanonical implements Appender.
func (r JournalRow) AppendCanonical(b []byte) []byte {
	b = AppendBytes(AppendBytes(AppendArray(b, 10), r.Controller[:]), r.Recipient[:])
	b = AppendUint(AppendBytes(b, r.Guardians[:]), uint64(r.LabelEpoch))
	b = AppendUint(AppendBytes(b, r.Sponsor[:]), r.Opened)
	b = AppendBytes(AppendUint(b, r.Closed), r.Claim[:])
	return AppendUint(AppendUint(b, r.ClaimUntil), r.Due)
}

// ReadCanonical implements Canonical.
func (r *JournalRow) ReadCanonical(from *Reader) {
	from.Array(10)
	from.Fixed(r.Controller[:])
	from.Fixed(r.Recipient[:])
	from.Fixed(r.Guardians[:])
	r.LabelEpoch = uint8(from.Uint(math.MaxUint8))
	from.Fixed(r.Sponsor[:])
	r.Opened = from.Uint(math.MaxUint64)
	r.Closed = from.Uint(math.MaxUint64)
	from.Fixed(r.Claim[:])
	r.ClaimUntil, r.Due = from.Uint(math.MaxUint64), from.Uint(math.MaxUint64)
}
