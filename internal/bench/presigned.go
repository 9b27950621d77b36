package bench

import (
	"errors"
	"os"
	"runtime"
	"sync"
)

// presigned are requests for one gateway, signed before the clock starts: the work of many clients. They lie in a file, as if they came from
// elsewhere; in this process's memory they would weigh on the garbage collector of the nodes that are measured.
type presigned struct {
	contentType string
	envelopes   int
	file        *os.File

	mu   sync.Mutex // guards what follows
	end  int64
	at   []extent
	next int
}

type extent struct{ from, bytes int64 }

// presign makes requests of so many envelopes each, for every member's gateway.
func (r *run) presign(s *stage, requests, envelopes int, form func([][]byte) request) (out []*presigned, err error) {
	each := (requests + len(s.at) - 1) / len(s.at)
	for m := range s.at {
		p := &presigned{envelopes: envelopes}
		if p.file, err = os.CreateTemp(r.dir, "requests-"); err != nil {
			return out, err
		}
		out = append(out, p)
		workers := runtime.GOMAXPROCS(0)
		if err := inParallel(workers, workers, func(w int) error {
			a := s.author(m)
			for i := w; i < each; i += workers {
				if err := p.add(form(a.envelopes(envelopes))); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (p *presigned) add(q request) error {
	p.mu.Lock()
	at := extent{p.end, int64(len(q.body))}
	p.end += at.bytes
	p.contentType = q.contentType
	p.at = append(p.at, at)
	p.mu.Unlock()
	_, err := p.file.WriteAt(q.body, at.from)
	return err
}

// take gives the next request, in room if it fits; ok is false when all are used up.
func (p *presigned) take(room []byte) (q request, ok bool, err error) {
	p.mu.Lock()
	ok = p.next < len(p.at)
	var at extent
	if ok {
		at = p.at[p.next]
		p.next++
	}
	p.mu.Unlock()
	if !ok {
		return q, false, nil
	}
	if int64(cap(room)) < at.bytes {
		room = make([]byte, at.bytes)
	}
	room = room[:at.bytes]
	_, err = p.file.ReadAt(room, at.from)
	return request{p.contentType, room, p.envelopes}, true, err
}

func discard(all []*presigned) (err error) {
	for _, p := range all {
		err = errors.Join(err, p.file.Close(), os.Remove(p.file.Name()))
	}
	return err
}
