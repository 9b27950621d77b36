package journal

import (
	"math"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// The rows that every record touches encode themselves; see protocol.Canonical.

// AppendCanonical implements protocol.Appender.
func (r Row) AppendCanonical(b []byte) []byte {
	b = protocol.AppendBytes(protocol.AppendBytes(protocol.AppendArray(b, 6), r.Controller[:]), r.Recipient[:])
	b = protocol.AppendUint(protocol.AppendBytes(b, r.Guardians[:]), uint64(r.LabelEpoch))
	return protocol.AppendUint(protocol.AppendBytes(b, r.Sponsor[:]), r.Opened)
}

// ReadCanonical implements protocol.Canonical.
func (r *Row) ReadCanonical(from *protocol.Reader) {
	from.Array(6)
	from.Fixed(r.Controller[:])
	from.Fixed(r.Recipient[:])
	from.Fixed(r.Guardians[:])
	r.LabelEpoch = uint8(from.Uint(math.MaxUint8))
	from.Fixed(r.Sponsor[:])
	r.Opened = from.Uint(math.MaxUint64)
}

// AppendCanonical implements protocol.Appender.
func (r RecordRow) AppendCanonical(b []byte) []byte {
	b = protocol.AppendUint(protocol.AppendBytes(protocol.AppendArray(b, 12), r.Journal[:]), r.Seq)
	b = protocol.AppendBytes(protocol.AppendBytes(b, r.Label[:]), r.Member[:])
	b = protocol.AppendUint(protocol.AppendBytes(b, r.Practitioner[:]), r.Recorded)
	b = protocol.AppendUint(protocol.AppendBytes(b, r.Ciphertext[:]), r.Size)
	b = protocol.AppendUint(protocol.AppendBytes(b, r.Capsule[:]), uint64(r.Generation))
	return protocol.AppendBytes(protocol.AppendBytes(b, r.Manifest[:]), r.Root[:])
}

// ReadCanonical implements protocol.Canonical.
func (r *RecordRow) ReadCanonical(from *protocol.Reader) {
	from.Array(12)
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
