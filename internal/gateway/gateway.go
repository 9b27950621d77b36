package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/ledger"
)

// server serves the routes. It is safe for concurrent use, and keeps nothing between requests but its own document, hints, and how many
// streams each journal has.
type server struct {
	Backend
	gates  [gates]chan struct{}
	bodies chan struct{} // large submissions whose bodies are being read
	extra  chan struct{} // envelopes under way beyond the first of their submission

	hints    hints
	streams  streams
	uploads  uploads
	patience time.Duration // how long a request waits for its place
}

// gate is a class of cost: requests of one class wait for nobody of another.
type gate int

const (
	light gate = iota
	submit
	shares
	files
	quorum // inside a request of another kind: it asks the other nodes for cosignatures
	heavy
	lasting // a connection that stays
	gates
)

// New serves a node's gateway. Whatever goes wrong is answered with an api.Problem; a panic is too, and logged.
func New(b Backend) http.Handler {
	s := newServer(b)
	mux := http.NewServeMux()
	allowed := map[string][]string{}
	for _, r := range s.routes() {
		mux.Handle(r.method+" "+r.path, s.guard(r))
		allowed[r.path] = append(allowed[r.path], r.method)
	}
	for path, methods := range allowed {
		mux.Handle(path, s.guard(route{path: path, time: lightTime, serve: wrongMethod(methods)}))
	}
	mux.Handle("/", s.guard(route{path: "/", time: lightTime, serve: func(http.ResponseWriter, *http.Request) error {
		return notFound("no-such-path", "There is nothing at this path", "The paths that there are stand in /v1/openapi.json.")
	}}))
	return mux
}

func newServer(b Backend) *server {
	s := &server{Backend: b, bodies: make(chan struct{}, bodiesAtOnce), extra: make(chan struct{}, extraAtOnce), patience: patience}
	for g, n := range [gates]int{light: lightAtOnce, submit: submitAtOnce, shares: sharesAtOnce, files: filesAtOnce, quorum: quorumAtOnce, heavy: heavyAtOnce, lasting: streamsAtOnce} {
		s.gates[g] = make(chan struct{}, n)
	}
	return s
}

// route is one method of one path, and what it costs.
type route struct {
	method, path string
	serve        func(http.ResponseWriter, *http.Request) error
	gate         gate
	time         time.Duration
	public       bool // the same for everybody: pages of other origins may read it
	doc          operation
}

// Headers that are the same in every answer: nothing is guessed, framed or kept. What may be kept says so by itself.
var (
	headerNoSniff  = []string{"nosniff"}
	headerNoStore  = []string{"no-store"}
	headerPolicy   = []string{"default-src 'none'; frame-ancestors 'none'"}
	headerReferrer = []string{"no-referrer"}
	headerAnyone   = []string{"*"}
	headerJSON     = []string{"application/json"}
	headerCBOR     = []string{"application/cbor"}
)

// guard is what every request goes through: the headers, the gate, the time, the log, and what is said when something fails.
func (s *server) guard(r route) http.Handler {
	gate := s.gates[r.gate]
	return http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		w := &answer{ResponseWriter: out}
		h := out.Header()
		h["X-Content-Type-Options"], h["Cache-Control"] = headerNoSniff, headerNoStore
		h["Content-Security-Policy"], h["Referrer-Policy"] = headerPolicy, headerReferrer
		if r.public {
			h["Access-Control-Allow-Origin"] = headerAnyone
		}
		began := time.Now()
		defer s.finish(w, req, r, began)
		if !s.enter(req.Context(), gate) {
			s.fail(w, req, busy)
			return
		}
		defer func() { <-gate }()
		control := http.NewResponseController(out)
		_ = control.SetReadDeadline(began.Add(r.time + writeGrace)) // not every writer has deadlines; the server's own do
		_ = control.SetWriteDeadline(began.Add(r.time + writeGrace))
		ctx, cancel := context.WithTimeout(req.Context(), r.time)
		defer cancel()
		req = req.WithContext(ctx)
		if err := r.serve(w, req); err != nil {
			s.fail(w, req, err)
		}
	})
}

// enter takes a place, or waits a little for one.
func (s *server) enter(ctx context.Context, gate chan<- struct{}) bool {
	select {
	case gate <- struct{}{}:
		return true
	default:
	}
	wait := time.NewTimer(s.patience)
	defer wait.Stop()
	select {
	case gate <- struct{}{}:
		return true
	case <-wait.C:
	case <-ctx.Done():
	}
	return false
}

// finish recovers from a panic, and logs the request without what it asked for: paths hold ids.
func (s *server) finish(w *answer, req *http.Request, r route, began time.Time) {
	if p := recover(); p != nil {
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		s.Log.Error("gateway: panic", "method", r.method, "route", r.path, "panic", fmt.Sprintf("%.300v", p), "stack", string(debug.Stack()))
		if w.status != 0 {
			panic(http.ErrAbortHandler) // an answer is under way: it must not look whole
		}
		s.fail(w, req, internal)
	}
	if s.Log.Enabled(req.Context(), slog.LevelDebug) {
		s.Log.Debug("gateway", "method", req.Method, "route", r.path, "status", w.status, "took", time.Since(began))
	}
}

// answer remembers whether an answer is under way.
type answer struct {
	http.ResponseWriter
	status int
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

func wrongMethod(methods []string) func(http.ResponseWriter, *http.Request) error {
	allow := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", allow)
		return problem(http.StatusMethodNotAllowed, "method", "This path does not know that method", "It knows "+allow+".")
	}
}

// view opens the ledger at its head for the time of fn.
func (s *server) view(fn func(*ledger.View) error) error {
	v, err := s.Ledger.View()
	if err != nil {
		return err
	}
	defer func() { _ = v.Close() }()
	return fn(v)
}

// time is the later of the clock and the ledger, so that neither a clock that is behind nor an idle ledger keeps open what is over.
func (s *server) time(v *ledger.View) uint64 { return max(s.Now(), v.Head.Time) }
