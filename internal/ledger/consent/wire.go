package consent

import (
	"math"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// AppendCanonical implements protocol.Appender.
func (r ContractRow) AppendCanonical(b []byte) []byte {
	b = protocol.AppendBytes(protocol.AppendUint(protocol.AppendArray(b, 13), uint64(r.Template)), r.Policy)
	b = protocol.AppendUint(protocol.AppendUint(b, r.NotBefore), r.NotAfter)
	b = protocol.AppendUint(protocol.AppendUint(b, uint64(r.UsesMax)), uint64(r.Uses))
	b = protocol.AppendUint(protocol.AppendUint(b, uint64(r.State)), r.Granted)
	b = protocol.AppendBytes(protocol.AppendUint(b, r.Over), r.Cause[:])
	b = protocol.AppendBytes(protocol.AppendBytes(b, r.Salt[:]), r.By[:])
	b = protocol.AppendArray(b, len(r.Within))
	for _, l := range r.Within {
		b = protocol.AppendBytes(b, l[:])
	}
	return b
}

// ReadCanonical implements protocol.Canonical.
func (r *ContractRow) ReadCanonical(from *protocol.Reader) {
	from.Array(13)
	r.Template = uint8(from.Uint(math.MaxUint8))
	r.Policy = from.Bytes()
	r.NotBefore, r.NotAfter = from.Uint(math.MaxUint64), from.Uint(math.MaxUint64)
	r.UsesMax, r.Uses = uint32(from.Uint(math.MaxUint32)), uint32(from.Uint(math.MaxUint32))
	r.State = State(from.Uint(math.MaxUint8))
	r.Granted, r.Over = from.Uint(math.MaxUint64), from.Uint(math.MaxUint64)
	from.Fixed(r.Cause[:])
	from.Fixed(r.Salt[:])
	from.Fixed(r.By[:])
	r.Within = make([]protocol.Label, from.Items(protocol.LabelsRequestMax))
	for i := range r.Within {
		from.Fixed(r.Within[i][:])
	}
}
