package journal

import (
	"math"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// The rows that every record touches encode themselves; see protocol.Canonical.

// AppendCanonical implements protocol.Appender.
func (r RecordRow) AppendCanonical(b []byte) []byte {
	b = protocol.AppendUint(protocol.AppendBytes(protocol.AppendArray(b, 14), r.Journal[:]), r.Seq)
	b = protocol.AppendBytes(protocol.AppendBytes(b, r.Label[:]), r.Member[:])
	b = protocol.AppendUint(protocol.AppendBytes(b, r.Practitioner[:]), r.Recorded)
	b = protocol.AppendUint(protocol.AppendBytes(b, r.Ciphertext[:]), r.Size)
	b = protocol.AppendUint(protocol.AppendBytes(b, r.Capsule[:]), uint64(r.Generation))
	b = protocol.AppendBytes(protocol.AppendBytes(b, r.Manifest[:]), r.Root[:])
	return protocol.AppendUint(protocol.AppendUint(b, uint64(r.Relation)), r.Erased)
}

// ReadCanonical implements protocol.Canonical.
func (r *RecordRow) ReadCanonical(from *protocol.Reader) {
	from.Array(14)
	from.Fixed(r.Journal[:])
	r.Seq = from.Uint(math.MaxUint64)
	from.Fixed(r.Label[:])
	from.Fixed(r.Member[:])
	from.Fixed(r.Practitioner[:])
	r.Recorded = from.Uint(math.MaxUint64)
	from.Fixed(r.Ciphertext[:])
	r.Size = from.Uint(math.MaxUint64)
	from.Fixed(r.Capsule[:])
	r.Generation = uint32(from.Uint(math.MaxUint32))
	from.Fixed(r.Manifest[:])
	from.Fixed(r.Root[:])
	r.Relation = protocol.Relation(from.Uint(math.MaxUint8))
	r.Erased = from.Uint(math.MaxUint64)
}

// AppendCanonical implements protocol.Appender.
func (l listed) AppendCanonical(b []byte) []byte {
	return protocol.AppendBytes(protocol.AppendArray(b, 1), l.Record[:])
}

// ReadCanonical implements protocol.Canonical.
func (l *listed) ReadCanonical(from *protocol.Reader) {
	from.Array(1)
	from.Fixed(l.Record[:])
}
