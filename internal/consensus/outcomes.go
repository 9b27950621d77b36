package consensus

// outcomes remembers the newest replies by parcel hash, within a count and within bytes of results.
type outcomes struct {
	max   int
	m     map[hash]reply
	order []hash // oldest first
	bytes int
}

func newOutcomes(max int) outcomes { return outcomes{max: max, m: map[hash]reply{}} }

func (o *outcomes) get(h hash) (reply, bool) { r, ok := o.m[h]; return r, ok }

func (o *outcomes) put(h hash, r reply) {
	if _, ok := o.m[h]; ok {
		return // the first outcome stands
	}
	o.m[h] = r
	o.order = append(o.order, h)
	o.bytes += len(r.outcome.Result)
	for len(o.order) > o.max || o.bytes > rememberBytesMax {
		oldest := o.order[0]
		o.bytes -= len(o.m[oldest].outcome.Result)
		delete(o.m, oldest)
		o.order = o.order[1:]
	}
}
